/* zkpath.c: paths, names of children, and entity names. */
#include "common/zk/zkdata.h"

#include <inttypes.h>
#include <string.h>

const char *const zkp_base_paths[] = {
	ZKP_CONSUMERS,
	ZKP_BROKERS,
	ZKP_BROKER_IDS,
	ZKP_TOPICS,
	ZKP_CONFIG,
	ZKP_CONFIG_CHANGES,
	ZKP_ADMIN,
	ZKP_DELETE_TOPICS,
	ZKP_BROKER_SEQID,
	ZKP_ISR_CHANGES,
	ZKP_PRODUCER_IDS,
	ZKP_LOG_DIR_EVENTS,
	ZKP_CONFIG_TOPICS,
	ZKP_CONFIG_CLIENTS,
	ZKP_CONFIG_USERS,
	ZKP_CONFIG_BROKERS,
	ZKP_CONFIG_IPS,
	ZKP_CLUSTER,
	ZKP_KLAMM,
	ZKP_KLAMM_BROKERS,
	ZKP_KLAMM_CONTROLLERS,
	ZKP_KLAMM_STATUS,
	ZKP_KLAMM_STATUS_BROKERS,
	ZKP_KLAMM_DELETED,
	ZKP_KLAMM_JOURNAL,
	NULL,
};

const char *zkp_broker(struct arena *a, int32_t id)
{
	return arena_printf(a, ZKP_BROKER_IDS "/%d", id);
}

const char *zkp_topic(struct arena *a, const char *topic)
{
	return arena_printf(a, ZKP_TOPICS "/%s", topic);
}

const char *zkp_partitions(struct arena *a, const char *topic)
{
	return arena_printf(a, ZKP_TOPICS "/%s/partitions", topic);
}

const char *zkp_partition(struct arena *a, const char *topic, int32_t partition)
{
	return arena_printf(a, ZKP_TOPICS "/%s/partitions/%d", topic, partition);
}

const char *zkp_state(struct arena *a, const char *topic, int32_t partition)
{
	return arena_printf(a, ZKP_TOPICS "/%s/partitions/%d/state", topic, partition);
}

const char *zkp_delete_topic(struct arena *a, const char *topic)
{
	return arena_printf(a, ZKP_DELETE_TOPICS "/%s", topic);
}

const char *zkp_config_topic(struct arena *a, const char *topic)
{
	return arena_printf(a, ZKP_CONFIG_TOPICS "/%s", topic);
}

const char *zkp_config_change(struct arena *a)
{
	return arena_printf(a, ZKP_CONFIG_CHANGES "/" ZKP_CONFIG_CHANGE_PREFIX);
}

const char *zkp_config_change_node(struct arena *a, const char *name)
{
	return zkp_child(a, ZKP_CONFIG_CHANGES, name);
}

const char *zkp_consumer_offset(struct arena *a, const char *group, const char *topic, int32_t partition)
{
	return arena_printf(a, ZKP_CONSUMERS "/%s/offsets/%s/%d", group, topic, partition);
}

const char *zkp_klamm_broker(struct arena *a, int32_t id)
{
	return arena_printf(a, ZKP_KLAMM_BROKERS "/%d", id);
}

const char *zkp_klamm_controller(struct arena *a, int32_t id)
{
	return arena_printf(a, ZKP_KLAMM_CONTROLLERS "/%d", id);
}

const char *zkp_status_broker(struct arena *a, int32_t id)
{
	return arena_printf(a, ZKP_KLAMM_STATUS_BROKERS "/%d", id);
}

const char *zkp_deleted(struct arena *a, const struct uuid *topic_id)
{
	char text[UUID_TEXT_LEN + 1];
	uuid_format(topic_id, text);
	return arena_printf(a, ZKP_KLAMM_DELETED "/%s", text);
}

const char *zkp_journal(struct arena *a, int64_t seq)
{
	return arena_printf(a, ZKP_KLAMM_JOURNAL "/%u", (unsigned)((uint64_t)seq % ZKD_JOURNAL_SLOTS));
}

const char *zkp_child(struct arena *a, const char *parent, const char *name)
{
	return arena_printf(a, "%s/%s", parent, name);
}

int zkp_sequence(const char *name, const char *prefix, int64_t *ret_seq)
{
	size_t n = strlen(prefix);
	if (strncmp(name, prefix, n) != 0 || name[n] == '+')
		return ERR_INVAL;
	/* ZooKeeper's counter is an int: past 2^31 it goes on below zero */
	return str_to_i64(name + n, ret_seq);
}

int zkp_id(const char *name, int32_t *ret_id)
{
	int32_t id;
	if (name[0] == '+' || name[0] == '-' || (name[0] == '0' && name[1]))
		return ERR_INVAL;
	int err = str_to_i32(name, &id);
	if (err == 0)
		*ret_id = id;
	return err;
}

int zkp_parse_state(struct arena *a, const char *path, const char **ret_topic, int32_t *ret_partition)
{
	static const char head[] = ZKP_TOPICS "/", mid[] = "/partitions/", tail[] = "/state";
	size_t len = strlen(path);
	int32_t partition = 0;

	if (strncmp(path, head, sizeof(head) - 1) != 0)
		return ERR_INVAL;
	const char *topic = path + sizeof(head) - 1;
	const char *end = strchr(topic, '/');
	if (!end || end == topic || strncmp(end, mid, sizeof(mid) - 1) != 0)
		return ERR_INVAL;
	const char *number = end + sizeof(mid) - 1;
	if (len < (size_t)(number - path) + sizeof(tail) || strcmp(path + len - (sizeof(tail) - 1), tail) != 0)
		return ERR_INVAL;
	char text[12];
	size_t digits = len - (sizeof(tail) - 1) - (size_t)(number - path);
	if (digits >= sizeof(text))
		return ERR_INVAL;
	memcpy(text, number, digits);
	text[digits] = 0;
	if (zkp_id(text, &partition) < 0)
		return ERR_INVAL;
	*ret_topic = arena_strndup(a, topic, (size_t)(end - topic));
	*ret_partition = partition;
	return 0;
}

static bool unreserved(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

const char *zkp_sanitise(struct arena *a, const char *name)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = arena_alloc(a, 3 * strlen(name) + 1);
	char *p = out;
	for (const uint8_t *s = (const uint8_t *)name; *s; s++) {
		if (unreserved(*s)) {
			*p++ = (char)*s;
			continue;
		}
		*p++ = '%';
		*p++ = hex[*s >> 4];
		*p++ = hex[*s & 15];
	}
	*p = 0;
	return out;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int zkp_unsanitise(struct arena *a, struct slice text, const char **ret_name)
{
	char *out = arena_alloc(a, text.len + 1);
	size_t n = 0;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];
		if (c == '+') {
			c = ' ';
		} else if (c == '%') {
			if (text.len - i < 3)
				return ERR_CORRUPT;
			int hi = hex_value(text.ptr[i + 1]), lo = hex_value(text.ptr[i + 2]);
			if (hi < 0 || lo < 0)
				return ERR_CORRUPT;
			c = (uint8_t)(hi << 4 | lo);
			i += 2;
		}
		if (c == 0)
			return ERR_CORRUPT;
		out[n++] = (char)c;
	}
	out[n] = 0;
	*ret_name = out;
	return 0;
}

/* ---- entities ---- */

static const char *const entity_types[] = {
	[ZKD_ENTITY_TOPIC] = "topics", [ZKD_ENTITY_BROKER] = "brokers",     [ZKD_ENTITY_CLIENT] = "clients",
	[ZKD_ENTITY_USER] = "users",   [ZKD_ENTITY_USER_CLIENT] = "users", [ZKD_ENTITY_IP] = "ips",
};

static const char *entity_part(struct arena *a, const char *name)
{
	return name ? zkp_sanitise(a, name) : ZKD_DEFAULT_ENTITY;
}

const char *zkp_entity(struct arena *a, const struct zkd_entity *e)
{
	const char *first = entity_part(a, e->name);
	if (e->kind == ZKD_ENTITY_USER_CLIENT)
		return arena_printf(a, "users/%s/clients/%s", first, entity_part(a, e->client));
	return arena_printf(a, "%s/%s", entity_types[e->kind], first);
}

const char *zkp_config_entity(struct arena *a, const struct zkd_entity *e)
{
	return arena_printf(a, ZKP_CONFIG "/%s", zkp_entity(a, e));
}

/* Cuts what lies before the next '/' (or the end) off `rest`. */
static struct slice cut(struct slice *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->ptr, '/', rest->len) : NULL;
	struct slice part = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};
	size_t used = part.len + (end ? 1 : 0);
	rest->ptr += used;
	rest->len -= used;
	return part;
}

static int read_part(struct arena *a, struct slice part, const char **ret_name)
{
	if (part.len == 0)
		return ERR_CORRUPT;
	if (slice_eq_str(part, ZKD_DEFAULT_ENTITY)) {
		*ret_name = NULL;
		return 0;
	}
	return zkp_unsanitise(a, part, ret_name);
}

int zkp_entity_parse(struct arena *a, struct slice rest, struct zkd_entity *ret_e)
{
	struct zkd_entity e = {0};
	if (!rest.ptr || rest.len == 0 || rest.len > ZKD_BYTES_MAX)
		return ERR_CORRUPT;
	struct slice type = cut(&rest);
	static const enum zkd_entity_kind kinds[] = {ZKD_ENTITY_TOPIC, ZKD_ENTITY_BROKER, ZKD_ENTITY_CLIENT, ZKD_ENTITY_USER, ZKD_ENTITY_IP};
	size_t i = 0;
	while (i < sizeof(kinds) / sizeof(kinds[0]) && !slice_eq_str(type, entity_types[kinds[i]]))
		i++;
	if (i == sizeof(kinds) / sizeof(kinds[0]))
		return ERR_UNSUPPORTED;
	e.kind = kinds[i];
	int err = read_part(a, cut(&rest), &e.name);
	if (err < 0)
		return err;
	if (rest.len > 0) {
		if (e.kind != ZKD_ENTITY_USER || !slice_eq_str(cut(&rest), "clients"))
			return ERR_CORRUPT;
		e.kind = ZKD_ENTITY_USER_CLIENT;
		err = read_part(a, cut(&rest), &e.client);
		if (err < 0)
			return err;
		if (rest.len > 0)
			return ERR_CORRUPT;
	}
	if (e.kind == ZKD_ENTITY_TOPIC && !e.name)
		return ERR_CORRUPT;
	*ret_e = e;
	return 0;
}
