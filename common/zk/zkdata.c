/* zkdata.c: the JSON codec of every znode that Klamm reads or writes. One pair of functions a node, in the header's order.
 * Field meanings and versions: docs/FORMATS.md. Nothing here keeps state; errors are sticky in struct jin.
 */
#include "common/zk/zkdata.h"

#include <inttypes.h>
#include <string.h>

#include "common/zk/zkjson.h"

/* ---- /brokers/ids/N ---- */

/* What can stand in an endpoint's text and come out of it again. */
static bool host_ok(const char *host, size_t len)
{
	return len <= ZKD_NAME_MAX - 64 && !memchr(host, '[', len) && !memchr(host, ']', len);
}

/* "NAME://host:port", IPv6 hosts in brackets, host may be empty. */
static bool parse_endpoint(struct jin *j, const char *text, struct zkd_endpoint *e)
{
	const char *sep = strstr(text, "://");
	const char *colon = strrchr(text, ':');
	if (!sep || sep == text || !colon || colon < sep + 3)
		return false;
	const char *host = sep + 3, *host_end = colon;
	if (*host == '[') {
		if (host_end - host < 2 || host_end[-1] != ']')
			return false;
		host++;
		host_end--;
	} else if (memchr(host, ':', (size_t)(host_end - host))) {
		return false;
	}
	if (!host_ok(host, (size_t)(host_end - host)) || str_to_i32(colon + 1, &e->port) < 0 || e->port < 0 || e->port > 65535)
		return false;
	e->listener = arena_strndup(j->a, text, (size_t)(sep - text));
	e->protocol = e->listener;
	e->host = arena_strndup(j->a, host, (size_t)(host_end - host));
	return true;
}

static void read_endpoints(struct jin *j, struct zkd_broker *b)
{
	json_t *list = jin_array(j, j->root, "endpoints", J_REQUIRED);
	json_t *map = jin_object(j, j->root, "listener_security_protocol_map", J_OPTIONAL);
	size_t n = list ? json_array_size(list) : 0;
	struct zkd_endpoint *e = ARENA_ARRAY(j->a, struct zkd_endpoint, n);

	if (n == 0)
		j->bad = true;
	for (size_t i = 0; i < n && !j->bad; i++) {
		if (!parse_endpoint(j, jin_str_value(j, json_array_get(list, i), ZKD_NAME_MAX), &e[i]))
			j->bad = true;
		else if (map)
			e[i].protocol = jin_str(j, map, e[i].listener, J_REQUIRED, ZKD_NAME_MAX);
	}
	b->endpoints = e;
	b->endpoint_count = n;
}

static void read_features(struct jin *j, const char *min_key, const char *max_key, struct zkd_feature_range const **ret_f, size_t *ret_count)
{
	json_t *map = jin_object(j, j->root, "features", J_OPTIONAL), *v;
	size_t n = 0;
	const char *key;
	struct zkd_feature_range *f = ARENA_ARRAY(j->a, struct zkd_feature_range, map ? json_object_size(map) : 0);
	json_object_foreach(map, key, v) {
		if (!json_is_object(v) || strlen(key) > ZKD_NAME_MAX) {
			j->bad = true;
			break;
		}
		f[n].name = arena_strndup(j->a, key, strlen(key));
		f[n].min_version = jin_i32(j, v, min_key, J_OPTIONAL, 1);
		f[n].max_version = jin_i32(j, v, max_key, J_REQUIRED, 0);
		n++;
	}
	*ret_f = f;
	*ret_count = n;
}

int zkd_broker_decode(struct slice data, struct arena *a, struct zkd_broker *ret_b)
{
	struct jin j;
	struct zkd_broker b = {0};

	jin_begin(&j, data, a);
	b.version = (int32_t)jin_int(&j, j.root, "version", J_REQUIRED, 1, INT32_MAX, 0);
	b.jmx_port = jin_i32(&j, j.root, "jmx_port", J_OPTIONAL, -1);
	b.timestamp_ms = jin_int_text(&j, j.root, "timestamp", J_OPTIONAL, -1);
	if (b.version == 1) {
		struct zkd_endpoint *e = ARENA_NEW(a, struct zkd_endpoint);
		e->listener = e->protocol = "PLAINTEXT";
		e->host = jin_str(&j, j.root, "host", J_REQUIRED, ZKD_NAME_MAX);
		if (!j.bad && !host_ok(e->host, strlen(e->host)))
			j.bad = true;
		e->port = (int32_t)jin_int(&j, j.root, "port", J_REQUIRED, 0, 65535, 0);
		b.endpoints = e;
		b.endpoint_count = 1;
	} else {
		read_endpoints(&j, &b);
	}
	b.rack = jin_str(&j, j.root, "rack", J_OPTIONAL, ZKD_NAME_MAX);
	read_features(&j, "min_version", "max_version", &b.features, &b.feature_count);
	int err = jin_end(&j);
	if (err == 0)
		*ret_b = b;
	return err;
}

static void write_features(struct str *out, const struct zkd_feature_range *f, size_t n, const char *min_key, const char *max_key)
{
	str_add(out, "\"features\":{");
	for (size_t i = 0; i < n; i++) {
		if (i)
			str_add(out, ",");
		jout_str(out, f[i].name);
		str_add(out, ":{");
		if (min_key)
			str_printf(out, "\"%s\":%d,", min_key, f[i].min_version);
		str_printf(out, "\"%s\":%d}", max_key, f[i].max_version);
	}
	str_add(out, "}");
}

static void write_endpoint(struct str *out, const struct zkd_endpoint *e)
{
	struct str text;
	str_init(&text);
	str_printf(&text, strchr(e->host, ':') ? "%s://[%s]:%d" : "%s://%s:%d", e->listener, e->host, e->port);
	jout_str(out, str_cstr(&text));
	str_fini(&text);
}

void zkd_broker_encode(struct str *out, const struct zkd_broker *b)
{
	const struct zkd_endpoint *plain = NULL;
	for (size_t i = 0; i < b->endpoint_count && !plain; i++)
		if (!strcmp(b->endpoints[i].protocol, "PLAINTEXT"))
			plain = &b->endpoints[i];
	str_add(out, "{\"version\":5,\"host\":");
	if (plain)
		jout_str(out, plain->host);
	else
		str_add(out, "null");
	str_printf(out, ",\"port\":%d,\"jmx_port\":%d,\"timestamp\":\"%" PRId64 "\",\"endpoints\":[", plain ? plain->port : -1, b->jmx_port,
		   b->timestamp_ms);
	for (size_t i = 0; i < b->endpoint_count; i++) {
		if (i)
			str_add(out, ",");
		write_endpoint(out, &b->endpoints[i]);
	}
	str_add(out, "],\"listener_security_protocol_map\":{");
	for (size_t i = 0; i < b->endpoint_count; i++) {
		bool named = false; /* a listener may stand at several addresses; a key only once */
		for (size_t k = 0; k < i; k++)
			named |= !strcmp(b->endpoints[k].listener, b->endpoints[i].listener);
		if (named)
			continue;
		if (i)
			str_add(out, ",");
		jout_str(out, b->endpoints[i].listener);
		str_add(out, ":");
		jout_str(out, b->endpoints[i].protocol);
	}
	str_add(out, "},");
	if (b->rack) {
		str_add(out, "\"rack\":");
		jout_str(out, b->rack);
		str_add(out, ",");
	}
	write_features(out, b->features, b->feature_count, "min_version", "max_version");
	str_add(out, "}");
}

/* ---- /brokers/topics/T ---- */

static struct zkd_partition *find_partition(struct zkd_partition *p, size_t n, int32_t partition)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p[mid].partition < partition)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && p[lo].partition == partition ? &p[lo] : NULL;
}

/* adding_replicas, removing_replicas: entries for partitions that do not exist make no sense to anyone and are passed over. */
static void read_moves(struct jin *j, const char *key, struct zkd_partition *p, size_t n, bool adding)
{
	size_t count;
	const struct zkd_partition *moves = jin_assignment(j, jin_object(j, j->root, key, J_OPTIONAL), true, &count);
	for (size_t i = 0; i < count; i++) {
		struct zkd_partition *it = find_partition(p, n, moves[i].partition);
		if (it && adding)
			it->adding = moves[i].replicas;
		else if (it)
			it->removing = moves[i].replicas;
	}
}

static bool read_topic_id(struct jin *j, struct uuid *ret_id)
{
	const char *text = jin_str(j, j->root, "topic_id", J_OPTIONAL, ZKD_NAME_MAX);
	if (!text)
		return false;
	if (uuid_parse(slice_str(text), ret_id) < 0 || uuid_is_zero(ret_id)) {
		j->bad = true;
		return false;
	}
	return true;
}

int zkd_topic_decode(struct slice data, struct arena *a, struct zkd_topic *ret_t)
{
	struct jin j;
	struct zkd_topic t = {0};

	jin_begin(&j, data, a);
	t.version = jin_i32(&j, j.root, "version", J_OPTIONAL, 1);
	struct zkd_partition *p = jin_assignment(&j, jin_object(&j, j.root, "partitions", J_REQUIRED), false, &t.partition_count);
	read_moves(&j, "adding_replicas", p, t.partition_count, true);
	read_moves(&j, "removing_replicas", p, t.partition_count, false);
	t.partitions = p;
	t.has_topic_id = read_topic_id(&j, &t.topic_id);
	int err = jin_end(&j);
	if (err == 0)
		*ret_t = t;
	return err;
}

enum assignment_part { PART_REPLICAS, PART_ADDING, PART_REMOVING };

static void write_assignment(struct str *out, const char *key, const struct zkd_partition *p, size_t n, enum assignment_part part)
{
	bool any = false;
	str_printf(out, "\"%s\":{", key);
	for (size_t i = 0; i < n; i++) {
		struct zkd_ids ids = part == PART_REPLICAS ? p[i].replicas : part == PART_ADDING ? p[i].adding : p[i].removing;
		if (part != PART_REPLICAS && ids.count == 0)
			continue;
		str_printf(out, "%s\"%d\":", any ? "," : "", p[i].partition);
		jout_ids(out, ids);
		any = true;
	}
	str_add(out, "}");
}

void zkd_topic_encode(struct str *out, const struct zkd_topic *t)
{
	str_add(out, "{\"version\":3,");
	write_assignment(out, "partitions", t->partitions, t->partition_count, PART_REPLICAS);
	str_add(out, ",");
	write_assignment(out, "adding_replicas", t->partitions, t->partition_count, PART_ADDING);
	str_add(out, ",");
	write_assignment(out, "removing_replicas", t->partitions, t->partition_count, PART_REMOVING);
	if (t->has_topic_id) {
		char text[UUID_TEXT_LEN + 1];
		uuid_format(&t->topic_id, text);
		str_printf(out, ",\"topic_id\":\"%s\"", text);
	}
	str_add(out, "}");
}

/* ---- .../partitions/P/state ---- */

int zkd_state_decode(struct slice data, struct arena *a, struct zkd_state *ret_s)
{
	struct jin j;
	struct zkd_state s = {0};

	jin_begin(&j, data, a);
	s.leader = (int32_t)jin_int(&j, j.root, "leader", J_REQUIRED, -1, INT32_MAX, 0);
	s.leader_epoch = (int32_t)jin_int(&j, j.root, "leader_epoch", J_REQUIRED, 0, INT32_MAX, 0);
	s.controller_epoch = (int32_t)jin_int(&j, j.root, "controller_epoch", J_REQUIRED, 0, INT32_MAX, 0);
	s.leader_recovery_state = (int32_t)jin_int(&j, j.root, "leader_recovery_state", J_OPTIONAL, 0, 1, 0);
	s.isr = jin_ids(&j, jin_array(&j, j.root, "isr", J_REQUIRED));
	json_t *klamm = jin_object(&j, j.root, "klamm", J_OPTIONAL);
	if (klamm) {
		s.has_klamm = true;
		s.elr = jin_ids(&j, jin_array(&j, klamm, "elr", J_OPTIONAL));
		s.lossy = jin_ids(&j, jin_array(&j, klamm, "lossy", J_OPTIONAL));
	}
	int err = jin_end(&j);
	if (err == 0)
		*ret_s = s;
	return err;
}

void zkd_state_encode(struct str *out, const struct zkd_state *s)
{
	str_printf(out, "{\"version\":1,\"leader\":%d,\"leader_epoch\":%d,\"controller_epoch\":%d,\"isr\":", s->leader, s->leader_epoch,
		   s->controller_epoch);
	jout_ids(out, s->isr);
	if (s->leader_recovery_state)
		str_printf(out, ",\"leader_recovery_state\":%d", s->leader_recovery_state);
	if (s->elr.count || s->lossy.count) {
		str_add(out, ",\"klamm\":{\"elr\":");
		jout_ids(out, s->elr);
		str_add(out, ",\"lossy\":");
		jout_ids(out, s->lossy);
		str_add(out, "}");
	}
	str_add(out, "}");
}

/* ---- /controller, /controller_epoch, /cluster/id, /feature ---- */

int zkd_controller_decode(struct slice data, struct arena *a, struct zkd_controller *ret_c)
{
	struct jin j;
	struct zkd_controller c = {0};

	jin_begin(&j, data, a);
	c.brokerid = jin_i32(&j, j.root, "brokerid", J_REQUIRED, -1);
	c.timestamp_ms = jin_int_text(&j, j.root, "timestamp", J_OPTIONAL, -1);
	c.kraft_controller_epoch = jin_i32(&j, j.root, "kraftControllerEpoch", J_OPTIONAL, -1);
	json_t *klamm = jin_object(&j, j.root, "klamm", J_OPTIONAL);
	if (klamm) {
		c.has_klamm = true;
		c.klamm_id = (int32_t)jin_int(&j, klamm, "id", J_REQUIRED, 0, INT32_MAX, 0);
		c.klamm_host = jin_str(&j, klamm, "host", J_REQUIRED, ZKD_NAME_MAX);
		c.klamm_port = (int32_t)jin_int(&j, klamm, "port", J_REQUIRED, 0, 65535, 0);
		c.klamm_version = jin_str(&j, klamm, "version", J_REQUIRED, ZKD_NAME_MAX);
		c.klamm_incarnation = jin_hex(&j, klamm, "incarnation");
	}
	int err = jin_end(&j);
	if (err == 0)
		*ret_c = c;
	return err;
}

void zkd_controller_encode(struct str *out, const struct zkd_controller *c)
{
	str_printf(out, "{\"version\":2,\"brokerid\":%d,\"timestamp\":\"%" PRId64 "\",\"kraftControllerEpoch\":%d", c->brokerid, c->timestamp_ms,
		   c->kraft_controller_epoch);
	if (c->has_klamm) {
		str_printf(out, ",\"klamm\":{\"id\":%d,\"host\":", c->klamm_id);
		jout_str(out, c->klamm_host);
		str_printf(out, ",\"port\":%d,\"version\":", c->klamm_port);
		jout_str(out, c->klamm_version);
		if (c->klamm_incarnation)
			str_printf(out, ",\"incarnation\":\"%016" PRIx64 "\"", c->klamm_incarnation);
		str_add(out, "}");
	}
	str_add(out, "}");
}

int zkd_epoch_decode(struct slice data, int32_t *ret_epoch)
{
	char text[12];
	if (data.len == 0 || data.len >= sizeof(text) || memchr(data.ptr, 0, data.len))
		return ERR_CORRUPT;
	memcpy(text, data.ptr, data.len);
	text[data.len] = 0;
	return zkp_id(text, ret_epoch) < 0 ? ERR_CORRUPT : 0;
}

void zkd_epoch_encode(struct str *out, int32_t epoch)
{
	str_printf(out, "%d", epoch);
}

int zkd_cluster_id_decode(struct slice data, struct arena *a, const char **ret_id)
{
	struct jin j;
	jin_begin(&j, data, a);
	const char *id = jin_str(&j, j.root, "id", J_REQUIRED, ZKD_NAME_MAX);
	if (!id[0])
		j.bad = true;
	int err = jin_end(&j);
	if (err == 0)
		*ret_id = id;
	return err;
}

void zkd_cluster_id_encode(struct str *out, const char *id)
{
	str_add(out, "{\"version\":\"1\",\"id\":");
	jout_str(out, id);
	str_add(out, "}");
}

int zkd_feature_decode(struct slice data, struct arena *a, struct zkd_feature *ret_f)
{
	struct jin j;
	struct zkd_feature f = {0};
	jin_begin(&j, data, a);
	f.version = (int32_t)jin_int(&j, j.root, "version", J_REQUIRED, 1, INT32_MAX, 0);
	f.status = (int32_t)jin_int(&j, j.root, "status", J_REQUIRED, 0, 1, 0);
	read_features(&j, "min_version_level", "max_version_level", &f.features, &f.feature_count);
	int err = jin_end(&j);
	if (err == 0)
		*ret_f = f;
	return err;
}

void zkd_feature_encode(struct str *out, const struct zkd_feature *f)
{
	str_printf(out, "{\"version\":%d,\"status\":%d,", f->version, f->status);
	write_features(out, f->features, f->feature_count, f->version == 1 ? "min_version_level" : NULL, "max_version_level");
	str_add(out, "}");
}

/* ---- /config ---- */

int zkd_config_decode(struct slice data, struct arena *a, struct zkd_config *ret_c)
{
	struct jin j;
	size_t n = 0;
	const char *key;
	json_t *v;

	jin_begin(&j, data, a);
	json_t *map = json_object_get(j.root, "config");
	if (!json_is_object(map))
		map = NULL;
	struct zkd_config_entry *e = ARENA_ARRAY(a, struct zkd_config_entry, map ? json_object_size(map) : 0);
	json_object_foreach(map, key, v) {
		e[n].key = arena_strndup(a, key, strlen(key));
		e[n++].value = jin_str_value(&j, v, ZKD_BYTES_MAX);
	}
	int err = jin_end(&j);
	if (err == 0)
		*ret_c = (struct zkd_config){e, n};
	return err;
}

void zkd_config_encode(struct str *out, const struct zkd_config *c)
{
	str_add(out, "{\"version\":1,\"config\":{");
	for (size_t i = 0; i < c->count; i++) {
		if (i)
			str_add(out, ",");
		jout_str(out, c->entries[i].key);
		str_add(out, ":");
		jout_str(out, c->entries[i].value);
	}
	str_add(out, "}}");
}

const char *zkd_config_get(const struct zkd_config *c, const char *key)
{
	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(c->entries[i].key, key))
			return c->entries[i].value;
	return NULL;
}

int zkd_config_change_decode(struct slice data, struct arena *a, struct zkd_entity *ret_e)
{
	struct jin j;
	const char *path = NULL, *type = NULL, *name = NULL;

	jin_begin(&j, data, a);
	int64_t version = jin_int(&j, j.root, "version", J_REQUIRED, 1, 2, 0);
	if (version == 2) {
		path = jin_str(&j, j.root, "entity_path", J_REQUIRED, ZKD_BYTES_MAX);
	} else {
		type = jin_str(&j, j.root, "entity_type", J_REQUIRED, ZKD_NAME_MAX);
		name = jin_str(&j, j.root, "entity_name", J_REQUIRED, ZKD_BYTES_MAX);
	}
	int err = jin_end(&j);
	if (err < 0)
		return err;
	if (version == 1) {
		if (strcmp(type, "topics") != 0 && strcmp(type, "clients") != 0)
			return ERR_UNSUPPORTED;
		if (strchr(name, '/'))
			return ERR_CORRUPT;
		path = arena_printf(a, "%s/%s", type, name);
	}
	return zkp_entity_parse(a, slice_str(path), ret_e);
}

void zkd_config_change_encode(struct str *out, const struct zkd_entity *e)
{
	struct arena a;
	arena_init(&a, 0);
	str_add(out, "{\"version\":2,\"entity_path\":");
	jout_str(out, zkp_entity(&a, e));
	str_add(out, "}");
	arena_fini(&a);
}

/* ---- requests of tools and old brokers ---- */

static int partition_list_decode(struct slice data, struct arena *a, bool with_replicas, struct zkd_partition_list *ret_l)
{
	struct jin j;

	jin_begin(&j, data, a);
	(void)jin_int(&j, j.root, "version", J_OPTIONAL, 1, INT32_MAX, 1);
	const json_t *list = jin_array(&j, j.root, "partitions", J_REQUIRED);
	size_t n = list ? json_array_size(list) : 0;
	struct zkd_partition_ref *r = ARENA_ARRAY(a, struct zkd_partition_ref, n);
	for (size_t i = 0; i < n && !j.bad; i++) {
		json_t *it = json_array_get(list, i);
		r[i].topic = jin_str(&j, it, "topic", J_REQUIRED, ZKD_NAME_MAX);
		r[i].partition = (int32_t)jin_int(&j, it, "partition", J_REQUIRED, 0, INT32_MAX, 0);
		if (with_replicas)
			r[i].replicas = jin_ids(&j, jin_array(&j, it, "replicas", J_REQUIRED));
	}
	int err = jin_end(&j);
	if (err == 0)
		*ret_l = (struct zkd_partition_list){r, n};
	return err;
}

static void partition_list_encode(struct str *out, bool with_replicas, const struct zkd_partition_list *l)
{
	str_add(out, "{\"version\":1,\"partitions\":[");
	for (size_t i = 0; i < l->count; i++) {
		str_add(out, i ? ",{\"topic\":" : "{\"topic\":");
		jout_str(out, l->items[i].topic);
		str_printf(out, ",\"partition\":%d", l->items[i].partition);
		if (with_replicas) {
			str_add(out, ",\"replicas\":");
			jout_ids(out, l->items[i].replicas);
		}
		str_add(out, "}");
	}
	str_add(out, "]}");
}

int zkd_reassign_decode(struct slice data, struct arena *a, struct zkd_partition_list *ret_l)
{
	return partition_list_decode(data, a, true, ret_l);
}

void zkd_reassign_encode(struct str *out, const struct zkd_partition_list *l)
{
	partition_list_encode(out, true, l);
}

int zkd_partitions_decode(struct slice data, struct arena *a, struct zkd_partition_list *ret_l)
{
	return partition_list_decode(data, a, false, ret_l);
}

void zkd_partitions_encode(struct str *out, const struct zkd_partition_list *l)
{
	partition_list_encode(out, false, l);
}

int zkd_log_dir_event_decode(struct slice data, struct zkd_log_dir_event *ret_e)
{
	struct jin j;
	struct zkd_log_dir_event e;
	jin_begin(&j, data, NULL);
	e.broker = (int32_t)jin_int(&j, j.root, "broker", J_REQUIRED, 0, INT32_MAX, 0);
	e.event = jin_i32(&j, j.root, "event", J_REQUIRED, 0);
	int err = jin_end(&j);
	if (err == 0)
		*ret_e = e;
	return err;
}

int zkd_producer_ids_decode(struct slice data, struct zkd_producer_ids *ret_p)
{
	struct jin j;
	struct zkd_producer_ids p;
	if (data.len == 0)
		return ERR_NOENT;
	jin_begin(&j, data, NULL);
	p.broker = jin_i32(&j, j.root, "broker", J_REQUIRED, -1);
	p.block_start = jin_int_text(&j, j.root, "block_start", J_REQUIRED, 0);
	p.block_end = jin_int_text(&j, j.root, "block_end", J_REQUIRED, 0);
	if (p.block_start < 0 || p.block_end < p.block_start)
		j.bad = true;
	int err = jin_end(&j);
	if (err == 0)
		*ret_p = p;
	return err;
}

void zkd_producer_ids_encode(struct str *out, const struct zkd_producer_ids *p)
{
	str_printf(out, "{\"version\":1,\"broker\":%d,\"block_start\":\"%" PRId64 "\",\"block_end\":\"%" PRId64 "\"}", p->broker, p->block_start,
		   p->block_end);
}

/* ---- /klamm ---- */

int zkd_klamm_broker_decode(struct slice data, struct zkd_klamm_broker *ret_b)
{
	struct jin j;
	struct zkd_klamm_broker b;
	jin_begin(&j, data, NULL);
	b.boot_epoch = jin_int(&j, j.root, "boot_epoch", J_REQUIRED, INT64_MIN, INT64_MAX, 0);
	int err = jin_end(&j);
	if (err == 0)
		*ret_b = b;
	return err;
}

void zkd_klamm_broker_encode(struct str *out, const struct zkd_klamm_broker *b)
{
	str_printf(out, "{\"version\":1,\"boot_epoch\":%" PRId64 "}", b->boot_epoch);
}

int zkd_klamm_controller_decode(struct slice data, struct arena *a, struct zkd_klamm_controller *ret_c)
{
	struct jin j;
	struct zkd_klamm_controller c;
	jin_begin(&j, data, a);
	c.id = jin_i32(&j, j.root, "id", J_REQUIRED, 0);
	c.host = jin_str(&j, j.root, "host", J_REQUIRED, ZKD_NAME_MAX);
	c.port = (int32_t)jin_int(&j, j.root, "port", J_REQUIRED, 1, 65535, 0);
	c.incarnation = jin_hex(&j, j.root, "incarnation");
	int err = jin_end(&j);
	if (err == 0)
		*ret_c = c;
	return err;
}

void zkd_klamm_controller_encode(struct str *out, const struct zkd_klamm_controller *c)
{
	str_printf(out, "{\"version\":1,\"id\":%" PRId32 ",\"host\":", c->id);
	jout_str(out, c->host);
	str_printf(out, ",\"port\":%" PRId32 ",\"incarnation\":\"%016" PRIx64 "\"}", c->port, c->incarnation);
}

int zkd_deleted_decode(struct slice data, struct arena *a, struct zkd_deleted *ret_d)
{
	struct jin j;
	struct zkd_deleted d = {0};
	jin_begin(&j, data, a);
	d.topic = jin_str(&j, j.root, "topic", J_REQUIRED, ZKD_NAME_MAX);
	d.partitions = jin_assignment(&j, jin_object(&j, j.root, "partitions", J_REQUIRED), true, &d.partition_count);
	int err = jin_end(&j);
	if (err == 0)
		*ret_d = d;
	return err;
}

void zkd_deleted_encode(struct str *out, const struct zkd_deleted *d)
{
	str_add(out, "{\"version\":1,\"topic\":");
	jout_str(out, d->topic);
	str_add(out, ",");
	write_assignment(out, "partitions", d->partitions, d->partition_count, PART_REPLICAS);
	str_add(out, "}");
}

int zkd_lineage_decode(struct slice data, int32_t *ret_epoch)
{
	struct jin j;
	jin_begin(&j, data, NULL);
	int32_t epoch = (int32_t)jin_int(&j, j.root, "epoch", J_REQUIRED, 0, INT32_MAX, 0);
	int err = jin_end(&j);
	if (err == 0)
		*ret_epoch = epoch;
	return err;
}

void zkd_lineage_encode(struct str *out, int32_t epoch)
{
	str_printf(out, "{\"version\":1,\"epoch\":%d}", epoch);
}

int zkd_journal_decode(struct slice data, struct arena *a, struct zkd_journal *ret_j)
{
	struct jin j;
	struct zkd_journal r = {0};
	jin_begin(&j, data, a);
	r.epoch = (int32_t)jin_int(&j, j.root, "epoch", J_REQUIRED, 0, INT32_MAX, 0);
	r.seq = jin_int(&j, j.root, "seq", J_REQUIRED, 0, INT64_MAX, 0);
	const json_t *list = jin_array(&j, j.root, "nodes", J_REQUIRED);
	r.node_count = list ? json_array_size(list) : 0;
	const char **nodes = ARENA_ARRAY(a, const char *, r.node_count);
	for (size_t i = 0; i < r.node_count; i++) {
		nodes[i] = jin_str_value(&j, json_array_get(list, i), ZKD_BYTES_MAX);
		if (nodes[i][0] != '/')
			j.bad = true;
	}
	r.nodes = nodes;
	int err = jin_end(&j);
	if (err == 0)
		*ret_j = r;
	return err;
}

void zkd_journal_encode(struct str *out, const struct zkd_journal *j)
{
	str_printf(out, "{\"version\":1,\"epoch\":%d,\"seq\":%" PRId64 ",\"nodes\":[", j->epoch, j->seq);
	for (size_t i = 0; i < j->node_count; i++) {
		if (i)
			str_add(out, ",");
		jout_str(out, j->nodes[i]);
	}
	str_add(out, "]}");
}

int zkd_status_broker_decode(struct slice data, struct arena *a, struct zkd_status_broker *ret_s)
{
	struct jin j;
	struct zkd_status_broker s = {0};
	jin_begin(&j, data, a);
	s.state = jin_str(&j, j.root, "state", J_REQUIRED, ZKD_NAME_MAX);
	s.reason = jin_str(&j, j.root, "reason", J_OPTIONAL, ZKD_BYTES_MAX);
	if (!s.reason)
		s.reason = "";
	s.incarnation = jin_hex(&j, j.root, "incarnation");
	s.led = jin_i32(&j, j.root, "led", J_OPTIONAL, 0);
	s.under_replicated = jin_i32(&j, j.root, "under_replicated", J_OPTIONAL, 0);
	s.offline = jin_i32(&j, j.root, "offline", J_OPTIONAL, 0);
	s.bytes = jin_int(&j, j.root, "bytes", J_OPTIONAL, INT64_MIN, INT64_MAX, 0);
	s.max_lag = jin_int(&j, j.root, "max_lag", J_OPTIONAL, INT64_MIN, INT64_MAX, 0);
	s.updated_ms = jin_int(&j, j.root, "updated_ms", J_OPTIONAL, INT64_MIN, INT64_MAX, 0);
	int err = jin_end(&j);
	if (err == 0)
		*ret_s = s;
	return err;
}

void zkd_status_broker_encode(struct str *out, const struct zkd_status_broker *s)
{
	str_add(out, "{\"version\":1,\"state\":");
	jout_str(out, s->state);
	str_add(out, ",\"reason\":");
	jout_str(out, s->reason ? s->reason : "");
	str_printf(out, ",\"incarnation\":\"%016" PRIx64 "\",\"led\":%d,\"under_replicated\":%d,\"offline\":%d", s->incarnation, s->led,
		   s->under_replicated, s->offline);
	str_printf(out, ",\"bytes\":%" PRId64 ",\"max_lag\":%" PRId64 ",\"updated_ms\":%" PRId64 "}", s->bytes, s->max_lag, s->updated_ms);
}

int zkd_status_controller_decode(struct slice data, struct arena *a, struct zkd_status_controller *ret_s)
{
	struct jin j;
	struct zkd_status_controller s = {0};
	jin_begin(&j, data, a);
	s.id = jin_i32(&j, j.root, "id", J_REQUIRED, 0);
	s.epoch = jin_i32(&j, j.root, "epoch", J_REQUIRED, 0);
	s.state = jin_str(&j, j.root, "state", J_REQUIRED, ZKD_NAME_MAX);
	json_t *f = jin_object(&j, j.root, "last_failover", J_OPTIONAL);
	if (f) {
		s.has_failover = true;
		s.failover_broker = jin_i32(&j, f, "broker", J_REQUIRED, 0);
		s.failover_reason = jin_str(&j, f, "reason", J_REQUIRED, ZKD_BYTES_MAX);
		s.failover_partitions = jin_i32(&j, f, "partitions", J_OPTIONAL, 0);
		s.failover_took_ms = jin_int(&j, f, "took_ms", J_OPTIONAL, INT64_MIN, INT64_MAX, 0);
	}
	s.updated_ms = jin_int(&j, j.root, "updated_ms", J_OPTIONAL, INT64_MIN, INT64_MAX, 0);
	int err = jin_end(&j);
	if (err == 0)
		*ret_s = s;
	return err;
}

void zkd_status_controller_encode(struct str *out, const struct zkd_status_controller *s)
{
	str_printf(out, "{\"version\":1,\"id\":%d,\"epoch\":%d,\"state\":", s->id, s->epoch);
	jout_str(out, s->state);
	str_add(out, ",\"last_failover\":");
	if (s->has_failover) {
		str_printf(out, "{\"broker\":%d,\"reason\":", s->failover_broker);
		jout_str(out, s->failover_reason);
		str_printf(out, ",\"partitions\":%d,\"took_ms\":%" PRId64 "}", s->failover_partitions, s->failover_took_ms);
	} else {
		str_add(out, "null");
	}
	str_printf(out, ",\"updated_ms\":%" PRId64 "}", s->updated_ms);
}
