/* running.c: the configuration in force. See running.h. */
#include "brokerd/config/running.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

/* Whether a value that somebody wrote to ZooKeeper counts. */
static bool usable(const char *key, const char *value, bool per_broker)
{
	const struct config_key *k = broker_key_find(key);
	struct str why = {0};
	enum config_mode mode = k ? broker_key_mode(k) : CONFIG_READ_ONLY;
	bool ok = mode != CONFIG_READ_ONLY && (per_broker || mode != CONFIG_PER_BROKER) && broker_key_check(k, value, &why) == 0;
	str_fini(&why);
	return ok;
}

const char *running_value_of(const struct broker_config *cfg, const struct image *im, const char *key, enum config_source source)
{
	char entity[32];
	const char *v = NULL;
	switch (source) {
	case CONFIG_FROM_BROKER:
		snprintf(entity, sizeof(entity), "brokers/%d", cfg->broker_id);
		v = im ? image_entity_config(im, entity, key) : NULL;
		return v && usable(key, v, true) ? v : NULL;
	case CONFIG_FROM_CLUSTER:
		v = im ? image_entity_config(im, "brokers/<default>", key) : NULL;
		return v && usable(key, v, false) ? v : NULL;
	case CONFIG_FROM_FILE: return props_get(&cfg->props, key);
	case CONFIG_FROM_DEFAULT: break;
	}
	const struct config_key *k = broker_key_find(key);
	return k ? k->default_value : NULL;
}

const char *running_value(const struct broker_config *cfg, const struct image *im, const char *key, const char **ret_name, enum config_source *ret_source)
{
	const char *names[BROKER_KEY_SYNONYMS_MAX];
	uint32_t n = broker_key_synonyms(key, names);
	for (enum config_source s = CONFIG_FROM_BROKER; s <= CONFIG_FROM_DEFAULT; s++)
		for (uint32_t i = 0; i < n; i++) {
			const char *v = running_value_of(cfg, im, names[i], s);
			if (!v)
				continue;
			if (ret_name)
				*ret_name = names[i];
			if (ret_source)
				*ret_source = s;
			return v;
		}
	return NULL;
}

int64_t running_ms(const struct broker_config *cfg, const struct image *im, const char *key, int64_t unset)
{
	const char *name;
	int64_t n;
	const char *v = running_value(cfg, im, key, &name, NULL);
	return v && broker_key_ms(name, v, &n) == 0 ? n : unset;
}

static int64_t number(const struct broker_config *cfg, const struct image *im, const char *key)
{
	int64_t n = 0;
	const char *v = running_value(cfg, im, key, NULL, NULL);
	return v && config_i64(v, &n) == 0 ? n : 0;
}

/* ZooKeeper may hold anything: what is no flag leaves *out as it is. */
static void flag(const char *value, bool *out)
{
	bool on;
	if (value && config_bool(value, &on) == 0)
		*out = on;
}

static bool append_time(const char *value)
{
	size_t len = 0;
	value = value ? config_trim(value, &len) : "";
	return len == strlen("LogAppendTime") && memcmp(value, "LogAppendTime", len) == 0;
}

/* compression.type; what is no codec leaves *out as it is. */
static void codec(const char *value, int8_t *out)
{
	static const char *const names[] = {"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}; /* -1, 0, 1, ... */
	size_t len = 0;
	value = value ? config_trim(value, &len) : "";
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (len == strlen(names[i]) && memcmp(value, names[i], len) == 0)
			*out = (int8_t)(LOG_CODEC_PRODUCER + (int)i);
}

/* The old key speaks where the newer one is at its default, "no bound". */
static int64_t timestamp_bound(int64_t bound, int64_t difference)
{
	return bound == INT64_MAX ? difference : bound;
}

void running_log_defaults(const struct broker_config *cfg, const struct image *im, struct log_config *l)
{
	log_config_defaults(l);
	l->segment_bytes = (int32_t)number(cfg, im, "log.segment.bytes");
	l->segment_ms = running_ms(cfg, im, "log.roll.ms", l->segment_ms);
	if (l->segment_ms < 1)
		l->segment_ms = 1;
	l->segment_jitter_ms = running_ms(cfg, im, "log.roll.jitter.ms", 0);
	if (l->segment_jitter_ms < 0)
		l->segment_jitter_ms = 0;
	l->index_interval_bytes = (int32_t)number(cfg, im, "log.index.interval.bytes");
	l->segment_index_bytes = (int32_t)number(cfg, im, "log.index.size.max.bytes");
	l->max_message_bytes = (int32_t)number(cfg, im, "message.max.bytes");
	l->retention_ms = running_ms(cfg, im, "log.retention.ms", -1);
	l->retention_bytes = number(cfg, im, "log.retention.bytes");
	l->file_delete_delay_ms = number(cfg, im, "log.segment.delete.delay.ms");
	l->flush_messages = number(cfg, im, "log.flush.interval.messages");
	l->flush_ms = number(cfg, im, "log.flush.interval.ms");
	l->producer_id_expiration_ms = number(cfg, im, "producer.id.expiration.ms");
	int64_t difference = number(cfg, im, "log.message.timestamp.difference.max.ms");
	l->timestamp_before_max_ms = timestamp_bound(number(cfg, im, "log.message.timestamp.before.max.ms"), difference);
	l->timestamp_after_max_ms = timestamp_bound(number(cfg, im, "log.message.timestamp.after.max.ms"), difference);
	l->log_append_time = append_time(running_value(cfg, im, "log.message.timestamp.type", NULL, NULL));
	l->downconversion = true;
	flag(running_value(cfg, im, "log.message.downconversion.enable", NULL, NULL), &l->downconversion);
	codec(running_value(cfg, im, "compression.type", NULL, NULL), &l->codec);
	l->gzip_level = (int32_t)number(cfg, im, "compression.gzip.level");
	l->lz4_level = (int32_t)number(cfg, im, "compression.lz4.level");
	l->zstd_level = (int32_t)number(cfg, im, "compression.zstd.level");
	const char *policy = running_value(cfg, im, "log.cleanup.policy", NULL, NULL);
	l->cleanup_delete = policy && strstr(policy, "delete");
	l->cleanup_compact = policy && strstr(policy, "compact");
}

const struct running *running_of(struct running_seat *seat, const struct image *im)
{
	struct running *r = &seat->now;
	if (seat->taken && r->version >= image_configs_version(im))
		return r;
	seat->taken = true;
	r->version = image_configs_version(im);
	running_log_defaults(seat->file, im, &r->log);
	r->timestamp_before_max_ms = number(seat->file, im, "log.message.timestamp.before.max.ms");
	r->timestamp_after_max_ms = number(seat->file, im, "log.message.timestamp.after.max.ms");
	r->timestamp_difference_max_ms = number(seat->file, im, "log.message.timestamp.difference.max.ms");
	r->max_connections = (int32_t)number(seat->file, im, "max.connections");
	r->max_connections_per_ip = (int32_t)number(seat->file, im, "max.connections.per.ip");
	mem_free(r->per_ip_overrides);
	r->per_ip_overrides = mem_strdup(running_value(seat->file, im, "max.connections.per.ip.overrides", NULL, NULL));
	return r;
}

void running_seat_fini(struct running_seat *seat)
{
	mem_free(seat->now.per_ip_overrides);
}

/* ---- topics ---- */

static void override_i64(const struct image_topic *t, const char *key, int64_t *out)
{
	const char *v = image_topic_config(t, key);
	int64_t n;
	if (v && !config_i64(v, &n)) /* ZooKeeper may hold anything: what does not parse keeps the broker's value */
		*out = n;
}

static void override_i32(const struct image_topic *t, const char *key, int32_t *out)
{
	int64_t n = *out;
	override_i64(t, key, &n);
	if (n >= INT32_MIN && n <= INT32_MAX)
		*out = (int32_t)n;
}

static void override_timestamps(const struct running *r, const struct image_topic *t, struct log_config *ret)
{
	int64_t before = r->timestamp_before_max_ms, after = r->timestamp_after_max_ms, difference = r->timestamp_difference_max_ms;
	override_i64(t, "message.timestamp.before.max.ms", &before);
	override_i64(t, "message.timestamp.after.max.ms", &after);
	override_i64(t, "message.timestamp.difference.max.ms", &difference);
	ret->timestamp_before_max_ms = timestamp_bound(before, difference);
	ret->timestamp_after_max_ms = timestamp_bound(after, difference);
	const char *tt = image_topic_config(t, "message.timestamp.type");
	if (tt)
		ret->log_append_time = append_time(tt);
}

void running_topic_log(void *seat, const struct image *im, const struct image_topic *t, struct log_config *ret)
{
	const struct running *r = running_of(seat, im);
	*ret = r->log;
	if (!t->config_count)
		return;
	override_i32(t, "segment.bytes", &ret->segment_bytes);
	override_i64(t, "segment.ms", &ret->segment_ms);
	override_i64(t, "segment.jitter.ms", &ret->segment_jitter_ms);
	override_i32(t, "index.interval.bytes", &ret->index_interval_bytes);
	override_i32(t, "segment.index.bytes", &ret->segment_index_bytes);
	override_i32(t, "max.message.bytes", &ret->max_message_bytes);
	override_i64(t, "retention.ms", &ret->retention_ms);
	override_i64(t, "retention.bytes", &ret->retention_bytes);
	override_i64(t, "file.delete.delay.ms", &ret->file_delete_delay_ms);
	override_i64(t, "flush.messages", &ret->flush_messages);
	override_i64(t, "flush.ms", &ret->flush_ms);
	override_timestamps(r, t, ret);
	flag(image_topic_config(t, "message.downconversion.enable"), &ret->downconversion);
	codec(image_topic_config(t, "compression.type"), &ret->codec);
	override_i32(t, "compression.gzip.level", &ret->gzip_level);
	override_i32(t, "compression.lz4.level", &ret->lz4_level);
	override_i32(t, "compression.zstd.level", &ret->zstd_level);
	const char *cp = image_topic_config(t, "cleanup.policy");
	if (cp) {
		ret->cleanup_delete = strstr(cp, "delete") != NULL;
		ret->cleanup_compact = strstr(cp, "compact") != NULL;
	}
	if (ret->segment_bytes < 14)
		ret->segment_bytes = 14;
	if (ret->flush_messages < 1)
		ret->flush_messages = 1;
}
