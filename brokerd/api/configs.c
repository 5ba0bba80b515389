/* configs.c: DescribeConfigs: topics from the image, this broker from its file; sources, synonyms, types, documentation (facts/client-quirks.md 11). */
#include <stdio.h>

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/config/topic_config.h"

enum resource { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_BROKER_LOGGER = 8 };
enum source { SOURCE_TOPIC = 1, SOURCE_DYNAMIC_BROKER = 2, SOURCE_DYNAMIC_DEFAULT = 3, SOURCE_STATIC = 4, SOURCE_DEFAULT = 5 };

typedef struct kp_describe_configs_request_resources req_resource;
typedef struct kp_describe_configs_response_results resp_result;
typedef struct kp_describe_configs_response_results_configs resp_config;
typedef struct kp_describe_configs_response_results_configs_synonyms resp_synonym;

static int8_t wire_type(enum config_type t)
{
	switch (t) {
	case CONFIG_BOOLEAN: return 1;
	case CONFIG_STRING: return 2;
	case CONFIG_INT: return 3;
	case CONFIG_SHORT: return 4;
	case CONFIG_LONG: return 5;
	case CONFIG_DOUBLE: return 6;
	case CONFIG_LIST: return 7;
	case CONFIG_CLASS: return 8;
	case CONFIG_PASSWORD: return 9;
	}
	return 0;
}

static int8_t wire_topic_type(enum topic_config_type t)
{
	static const int8_t types[] = {[TOPIC_CONFIG_BOOLEAN] = 1, [TOPIC_CONFIG_STRING] = 2, [TOPIC_CONFIG_INT] = 3, [TOPIC_CONFIG_LONG] = 5, [TOPIC_CONFIG_DOUBLE] = 6, [TOPIC_CONFIG_LIST] = 7};
	return types[t];
}

static bool wanted(const req_resource *r, const char *key)
{
	if (r->configuration_keys_count < 0)
		return true;
	for (int32_t i = 0; i < r->configuration_keys_count; i++)
		if (slice_eq_str(r->configuration_keys[i], key))
			return true;
	return false;
}

static struct slice nullable(const char *s)
{
	return s ? slice_str(s) : (struct slice){0};
}

static void add_synonym(resp_config *c, const char *name, const char *value, enum source source)
{
	resp_synonym *s = &c->synonyms[c->synonyms_count++];
	s->name = slice_str(name);
	s->value = nullable(value);
	s->source = (int8_t)source;
}

/* The milliseconds of the first of log.retention.{ms,minutes,hours} (or log.roll.*) that the file sets. */
static const char *time_value(struct api_call *c, const char *ms_key, const char *minutes_key, const char *hours_key, const char **ret_key)
{
	const struct props *p = &c->api->config->props;
	const char *v = props_get(p, ms_key);
	int64_t n;
	*ret_key = ms_key;
	if (v)
		return v;
	if (minutes_key && (v = props_get(p, minutes_key)) && !str_to_i64(v, &n)) {
		*ret_key = minutes_key;
		return arena_printf(&c->r->arena, "%lld", (long long)(n < 0 ? -1 : n * 60000));
	}
	if ((v = props_get(p, hours_key)) && !str_to_i64(v, &n)) {
		*ret_key = hours_key;
		return arena_printf(&c->r->arena, "%lld", (long long)(n < 0 ? -1 : n * 3600000));
	}
	return NULL;
}

static const char *static_value(struct api_call *c, const struct topic_config_key *k, const char **ret_key)
{
	*ret_key = k->broker_key;
	if (!k->broker_key)
		return NULL;
	if (!strcmp(k->name, "retention.ms"))
		return time_value(c, "log.retention.ms", "log.retention.minutes", "log.retention.hours", ret_key);
	if (!strcmp(k->name, "segment.ms"))
		return time_value(c, "log.roll.ms", NULL, "log.roll.hours", ret_key);
	return props_get(&c->api->config->props, k->broker_key);
}

static void describe_topic(struct api_call *c, const req_resource *r, const struct image_topic *t, bool synonyms, bool docs, resp_result *out)
{
	struct arena *a = &c->r->arena;
	out->configs = ARENA_ARRAY(a, resp_config, topic_config_key_count);
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const struct topic_config_key *k = &topic_config_keys[i];
		if (!wanted(r, k->name))
			continue;
		resp_config *o = &out->configs[out->configs_count++];
		kp_describe_configs_response_results_configs_init(o);
		const char *broker_key, *over = image_topic_config(t, k->name), *stat = static_value(c, k, &broker_key);
		o->name = slice_str(k->name);
		o->value = slice_str(over ? over : stat ? stat : k->default_value);
		o->config_source = over ? SOURCE_TOPIC : stat ? SOURCE_STATIC : SOURCE_DEFAULT;
		o->is_default = !over;
		o->config_type = wire_topic_type(k->type);
		if (docs)
			o->documentation = slice_str(k->meaning);
		if (!synonyms)
			continue;
		o->synonyms = ARENA_ARRAY(a, resp_synonym, 3);
		if (over)
			add_synonym(o, k->name, over, SOURCE_TOPIC);
		if (stat)
			add_synonym(o, broker_key, stat, SOURCE_STATIC);
		if (k->broker_key)
			add_synonym(o, k->broker_key, k->default_value, SOURCE_DEFAULT);
	}
}

static void describe_broker(struct api_call *c, const req_resource *r, bool synonyms, bool docs, resp_result *out)
{
	struct arena *a = &c->r->arena;
	out->configs = ARENA_ARRAY(a, resp_config, broker_key_count);
	for (uint32_t i = 0; i < broker_key_count; i++) {
		const struct config_key *k = &broker_keys[i];
		bool from_file;
		if (!wanted(r, k->name))
			continue;
		resp_config *o = &out->configs[out->configs_count++];
		kp_describe_configs_response_results_configs_init(o);
		const char *v = broker_config_value(c->api->config, k, &from_file);
		bool secret = k->type == CONFIG_PASSWORD;
		o->name = slice_str(k->name);
		o->value = secret ? (struct slice){0} : nullable(v);
		o->read_only = true; /* dynamic broker configs are not built yet */
		o->is_sensitive = secret;
		o->config_source = from_file ? SOURCE_STATIC : SOURCE_DEFAULT;
		o->is_default = !from_file;
		o->config_type = wire_type(k->type);
		if (docs)
			o->documentation = slice_str(k->doc);
		if (!synonyms)
			continue;
		o->synonyms = ARENA_ARRAY(a, resp_synonym, 2);
		if (from_file)
			add_synonym(o, k->name, secret ? NULL : v, SOURCE_STATIC);
		if (k->default_value)
			add_synonym(o, k->name, k->default_value, SOURCE_DEFAULT);
	}
}

static void describe(struct api_call *c, const req_resource *r, bool synonyms, bool docs, resp_result *out)
{
	kp_describe_configs_response_results_init(out);
	out->resource_type = r->resource_type;
	out->resource_name = r->resource_name;
	if (r->resource_type == RESOURCE_TOPIC) {
		const struct image_topic *t = image_find_topic(c->image, r->resource_name);
		if (t) {
			describe_topic(c, r, t, synonyms, docs, out);
		} else {
			out->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
			out->error_message = slice_str("This server does not host this topic-partition.");
		}
	} else if (r->resource_type == RESOURCE_BROKER) {
		char own[16];
		snprintf(own, sizeof(own), "%d", c->api->config->broker_id);
		if (r->resource_name.len == 0) {
			/* cluster-wide dynamic defaults: there are none */
			out->configs = ARENA_ARRAY(&c->r->arena, resp_config, 1);
		} else if (slice_eq_str(r->resource_name, own)) {
			describe_broker(c, r, synonyms, docs, out);
		} else {
			out->error_code = KERR_INVALID_REQUEST;
			out->error_message = slice_str(arena_printf(&c->r->arena, "Unexpected broker id, expected %s or empty string, but received %.*s", own, (int)r->resource_name.len, (const char *)r->resource_name.ptr));
		}
	} else {
		out->error_code = KERR_INVALID_REQUEST;
		out->error_message = slice_str(arena_printf(&c->r->arena, "Unsupported resource type: %d", r->resource_type));
	}
}

void api_do_describe_configs(struct api_call *c)
{
	const struct kp_describe_configs_request *q = c->request;
	struct kp_describe_configs_response resp;
	kp_describe_configs_response_init(&resp);
	resp.results = ARENA_ARRAY(&c->r->arena, resp_result, (size_t)q->resources_count + 1);
	resp.results_count = q->resources_count;
	for (int32_t i = 0; i < q->resources_count; i++)
		describe(c, &q->resources[i], q->include_synonyms, q->include_documentation, &resp.results[i]);
	api_reply(c, &resp);
}
