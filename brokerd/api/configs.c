/* configs.c: DescribeConfigs: topics and dynamic configs from the image, this broker's own from its file (facts/client-quirks.md 11); and
 * AlterConfigs, IncrementalAlterConfigs, which the controller decides.
 *
 * Synonyms are all places where a setting could come from, strongest first, and as in Kafka the list begins at the first that bears the
 * key's own name: what is in force through another name (log.retention.hours) shows as the value, with the source "default".
 */
#include <stdlib.h>
#include <string.h>

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/config/topic_config.h"

enum resource { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_BROKER_LOGGER = 8 };
enum { SOURCE_TOPIC = 1, SYNONYMS_MAX = 1 + 4 * BROKER_KEY_SYNONYMS_MAX };

typedef struct kp_describe_configs_request_resources req_resource;
typedef struct kp_describe_configs_response_results resp_result;
typedef struct kp_describe_configs_response_results_configs resp_config;
typedef struct kp_describe_configs_response_results_configs_synonyms resp_synonym;

/* What a request names again is answered again, as in Kafka, but not without end: so many keys, then the resource is refused. */
enum { REPEATED_KEYS_MAX = 32768 };

struct describe {
	struct api_call *c;
	resp_config *inherited; /* what every topic gets from this broker, by key: made once for the request; NULL until then */
	const req_resource *r;
	int32_t place; /* of r in the request */
	resp_result *out;
	bool synonyms, docs;
	const bool *again; /* by place in the request: a topic that was named before */
	bool own_done, default_done; /* the two broker resources */
	int32_t repeated; /* keys given to what was named before */
};

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

static int by_text(const void *a, const void *b) { return slice_cmp(*(const struct slice *)a, *(const struct slice *)b); }

/* None named: all of them, as Kafka. The names are sorted in place when the resource's turn comes: nobody else looks at them. */
static bool wanted(const req_resource *r, const char *key)
{
	struct slice name = slice_str(key);
	return r->configuration_keys_count <= 0 || bsearch(&name, r->configuration_keys, (size_t)r->configuration_keys_count, sizeof(name), by_text);
}

static struct slice nullable(const char *s)
{
	return s ? slice_str(s) : (struct slice){0};
}

static void add_synonym(resp_config *o, const char *name, const char *value, int8_t source)
{
	resp_synonym *s = &o->synonyms[o->synonyms_count++];
	s->name = slice_str(name);
	s->value = o->is_sensitive ? (struct slice){0} : nullable(value);
	s->source = source;
}

/* Where the broker's setting `key` may come from; sources that are `cluster_only` leave the file and the defaults out. */
static void add_broker_synonyms(struct api_call *c, resp_config *o, const char *key, bool cluster_only)
{
	const char *names[BROKER_KEY_SYNONYMS_MAX];
	uint32_t n = broker_key_synonyms(key, names);
	bool named = false;
	for (enum config_source s = CONFIG_FROM_BROKER; s <= CONFIG_FROM_DEFAULT; s++)
		for (uint32_t i = 0; i < n; i++) {
			const char *v = running_value_of(c->api->config, c->image, names[i], s);
			named |= v && !strcmp(names[i], key);
			if (v && named && (!cluster_only || s == CONFIG_FROM_CLUSTER))
				add_synonym(o, names[i], v, (int8_t)s);
		}
	if (o->synonyms_count)
		o->config_source = o->synonyms[0].source;
}

static resp_config *add_config(struct describe *d, const char *name, enum config_type type, const char *doc)
{
	resp_config *o = &d->out->configs[d->out->configs_count++];
	kp_describe_configs_response_results_configs_init(o);
	o->name = slice_str(name);
	o->config_source = CONFIG_FROM_DEFAULT;
	o->config_type = wire_type(type);
	o->is_sensitive = type == CONFIG_PASSWORD;
	o->documentation = d->docs ? slice_str(doc) : (struct slice){0};
	return o;
}

/* Room for the synonyms; without them the source has to be found all the same. */
static void begin_synonyms(struct describe *d, resp_config *o) { o->synonyms = ARENA_ARRAY(&d->c->r->arena, resp_synonym, SYNONYMS_MAX); }

static void end_synonyms(struct describe *d, resp_config *o)
{
	if (!d->synonyms)
		o->synonyms_count = 0;
}

static void refuse(struct describe *d, int16_t error, const char *message)
{
	d->out->error_code = error;
	d->out->error_message = slice_str(message);
}

/* Whether there is no room for what was named before. */
static bool too_often(struct describe *d, bool again, uint32_t keys)
{
	if (!again)
		return false;
	if (d->repeated + (int32_t)keys <= REPEATED_KEYS_MAX) {
		d->repeated += (int32_t)keys;
		return false;
	}
	refuse(d, KERR_INVALID_REQUEST, "The request names this resource, and others, too many times.");
	return true;
}

/* ---- topics ---- */

/* Kafka shows a value in force as its parser left it, and the synonyms that lead to it as somebody wrote them. */
static const char *as_parsed(struct api_call *c, enum config_type type, const char *value)
{
	struct str text = {0};
	config_value_normal(type, value, &text);
	const char *shown = arena_strndup(&c->r->arena, str_cstr(&text), text.len);
	str_fini(&text);
	return shown;
}

/* What a topic without the override gets from its broker. */
static const char *inherited(struct api_call *c, const struct topic_config_key *k)
{
	const char *name;
	const char *v = k->broker_key ? running_value(c->api->config, c->image, k->broker_key, &name, NULL) : NULL;
	int64_t ms;
	if (v && strcmp(name, k->broker_key) != 0 && broker_key_ms(name, v, &ms) == 0) /* in hours or minutes */
		return arena_printf(&c->r->arena, "%lld", (long long)ms);
	return as_parsed(c, k->type, v ? v : k->default_value);
}

static void inherit(struct describe *d)
{
	resp_result all = {.configs = ARENA_ARRAY(&d->c->r->arena, resp_config, topic_config_key_count)};
	struct describe everything = *d;
	everything.out = &all;
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const struct topic_config_key *k = &topic_config_keys[i];
		resp_config *o = add_config(&everything, k->name, k->type, k->meaning);
		o->value = slice_str(inherited(d->c, k));
		begin_synonyms(d, o);
		if (k->broker_key)
			add_broker_synonyms(d->c, o, k->broker_key, false);
		end_synonyms(d, o);
	}
	d->inherited = all.configs;
}

/* The topic's own value before what it would inherit. */
static void override(struct describe *d, resp_config *o, const char *value)
{
	const resp_synonym *rest = o->synonyms;
	int32_t count = o->synonyms_count;
	o->value = slice_str(value);
	o->config_source = SOURCE_TOPIC;
	if (!d->synonyms)
		return;
	o->synonyms = ARENA_ARRAY(&d->c->r->arena, resp_synonym, (size_t)count + 1);
	o->synonyms[0] = (resp_synonym){.name = o->name, .value = o->value, .source = SOURCE_TOPIC};
	for (int32_t i = 0; i < count; i++)
		o->synonyms[i + 1] = rest[i];
	o->synonyms_count = count + 1;
}

static void describe_topic(struct describe *d, const struct image_topic *t)
{
	if (too_often(d, d->again[d->place], (uint32_t)topic_config_key_count))
		return;
	if (!d->inherited)
		inherit(d);
	d->out->configs = ARENA_ARRAY(&d->c->r->arena, resp_config, topic_config_key_count);
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const char *key = topic_config_keys[i].name, *over = image_topic_config(t, key);
		if (!wanted(d->r, key))
			continue;
		resp_config *o = &d->out->configs[d->out->configs_count++];
		*o = d->inherited[i];
		if (over)
			override(d, o, over);
	}
}

/* ---- brokers ---- */

/* A key of the file that nobody knows: Kafka names it, and hides the value, since it might be a plugin's password. */
static void describe_stranger(struct describe *d, const struct prop *p)
{
	if (broker_key_find(p->key) || !wanted(d->r, p->key))
		return;
	resp_config *o = add_config(d, p->key, CONFIG_STRING, "");
	o->config_type = 0; /* unknown */
	o->value = (struct slice){0};
	o->is_sensitive = o->read_only = true;
	o->documentation = (struct slice){0};
	o->config_source = CONFIG_FROM_FILE;
	begin_synonyms(d, o);
	add_synonym(o, p->key, p->value, CONFIG_FROM_FILE);
	end_synonyms(d, o);
}

/* own: this broker with everything; else what is set for all brokers. */
static void describe_broker(struct describe *d, bool own)
{
	struct api_call *c = d->c;
	bool *done = own ? &d->own_done : &d->default_done;
	if (too_often(d, *done, broker_key_count))
		return;
	*done = true;
	d->out->configs = ARENA_ARRAY(&c->r->arena, resp_config, broker_key_count + (own ? c->api->config->props.count : 0));
	for (uint32_t i = 0; i < broker_key_count; i++) {
		const struct config_key *k = &broker_keys[i];
		const struct broker_config *file = c->api->config;
		enum config_mode mode = broker_key_mode(k);
		const char *v = NULL;
		bool there = false;
		for (enum config_source s = own ? CONFIG_FROM_BROKER : CONFIG_FROM_CLUSTER; s <= CONFIG_FROM_DEFAULT && !v && (own || s == CONFIG_FROM_CLUSTER); s++) {
			v = running_value_of(file, c->image, k->name, s);
			there |= v && s != CONFIG_FROM_DEFAULT;
		}
		if (!wanted(d->r, k->name) || (!there && (!own || mode == CONFIG_DYNAMIC_ONLY || broker_key_unlisted(k))))
			continue;
		resp_config *o = add_config(d, k->name, k->type, k->doc);
		o->value = o->is_sensitive ? (struct slice){0} : nullable(v && own ? as_parsed(c, k->type, v) : v);
		o->read_only = mode == CONFIG_READ_ONLY;
		begin_synonyms(d, o);
		add_broker_synonyms(c, o, k->name, !own);
		end_synonyms(d, o);
	}
	for (size_t i = 0; own && i < c->api->config->props.count; i++)
		describe_stranger(d, &c->api->config->props.items[i]);
}

static void describe_named_topic(struct describe *d)
{
	struct str why = {0};
	const struct image_topic *t = image_find_topic(d->c->image, d->r->resource_name);
	if (t)
		describe_topic(d, t);
	else if (topic_name_check(d->r->resource_name, &why))
		refuse(d, KERR_INVALID_TOPIC_EXCEPTION, arena_strndup(&d->c->r->arena, why.ptr, why.len));
	else
		d->out->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
	str_fini(&why);
}

static bool names_this_broker(struct describe *d)
{
	struct arena *a = &d->c->r->arena;
	const char *name = arena_strndup(a, (const char *)d->r->resource_name.ptr, d->r->resource_name.len);
	bool logger = d->r->resource_type == RESOURCE_BROKER_LOGGER;
	int32_t id, own = d->c->api->config->broker_id;
	if (str_to_i32(name, &id)) {
		refuse(d, KERR_INVALID_REQUEST, arena_printf(a, "Broker id must be an integer, but it is: %s", name));
		return false;
	}
	if (id == own)
		return true;
	refuse(d, KERR_INVALID_REQUEST, arena_printf(a, "Unexpected broker id, expected %d%s but received %s", own, logger ? "" : " or empty string,", name));
	return false;
}

static void describe(struct describe *d)
{
	const req_resource *r = d->r;
	kp_describe_configs_response_results_init(d->out);
	d->out->resource_type = r->resource_type;
	d->out->resource_name = r->resource_name;
	d->out->error_message = slice_make("", 0);
	switch (r->resource_type) {
	case RESOURCE_TOPIC: describe_named_topic(d); return;
	case RESOURCE_BROKER:
		if (r->resource_name.len == 0)
			describe_broker(d, false);
		else if (names_this_broker(d))
			describe_broker(d, true);
		return;
	case RESOURCE_BROKER_LOGGER:
		if (r->resource_name.len == 0)
			refuse(d, KERR_INVALID_REQUEST, "Broker id must not be empty");
		else if (names_this_broker(d)) /* one stream, one level: there are no loggers by name */
			refuse(d, KERR_INVALID_REQUEST, "This broker has no loggers whose level could be described or changed");
		return;
	default:
		refuse(d, KERR_INVALID_REQUEST, arena_printf(&d->c->r->arena, "Unsupported resource type: %d", r->resource_type));
	}
}

struct named {
	struct slice name;
	int32_t place;
};

static int by_named(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	int d = slice_cmp(a->name, b->name);
	return d ? d : a->place - b->place;
}

static const bool *topics_again(struct api_call *c, const struct kp_describe_configs_request *q)
{
	int32_t n = 0;
	bool *again = ARENA_ARRAY(&c->r->arena, bool, (size_t)q->resources_count + 1);
	struct named *all = ARENA_ARRAY(&c->r->arena, struct named, (size_t)q->resources_count + 1);
	for (int32_t i = 0; i < q->resources_count; i++)
		if (q->resources[i].resource_type == RESOURCE_TOPIC)
			all[n++] = (struct named){q->resources[i].resource_name, i};
	qsort(all, (size_t)n, sizeof(*all), by_named);
	for (int32_t i = 1; i < n; i++)
		again[all[i].place] = slice_eq(all[i - 1].name, all[i].name);
	return again;
}

void api_do_describe_configs(struct api_call *c)
{
	const struct kp_describe_configs_request *q = c->request;
	struct kp_describe_configs_response resp;
	kp_describe_configs_response_init(&resp);
	resp.results = ARENA_ARRAY(&c->r->arena, resp_result, (size_t)q->resources_count + 1);
	resp.results_count = q->resources_count;
	struct describe d = {.c = c, .synonyms = q->include_synonyms, .docs = q->include_documentation, .again = topics_again(c, q)};
	for (int32_t i = 0; i < q->resources_count; i++) {
		d.r = &q->resources[i];
		d.place = i;
		if (d.r->configuration_keys_count > 1)
			qsort(d.r->configuration_keys, (size_t)d.r->configuration_keys_count, sizeof(struct slice), by_text);
		d.out = &resp.results[i];
		describe(&d);
	}
	api_reply(c, &resp);
}

/* ---- changes ---- */

#define NO_CONTROLLER "no controller answered; the change may have been made: look before sending it again"

static void alter_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	const struct kp_alter_configs_request *q = c->request;
	struct kp_alter_configs_response resp;
	kp_alter_configs_response_init(&resp);
	resp.responses = ARENA_ARRAY(&c->r->arena, struct kp_alter_configs_response_responses, (size_t)q->resources_count + 1);
	resp.responses_count = q->resources_count;
	for (int32_t i = 0; i < q->resources_count; i++) {
		struct kp_alter_configs_response_responses *o = &resp.responses[i];
		kp_alter_configs_response_responses_init(o);
		o->error_code = error;
		o->error_message = slice_str(NO_CONTROLLER);
		o->resource_type = q->resources[i].resource_type;
		o->resource_name = q->resources[i].resource_name;
	}
	api_reply(c, &resp);
}

void api_do_alter_configs(struct api_call *c)
{
	api_forward_call(c, API_NO_TIMEOUT, alter_done);
}

static void incremental_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	const struct kp_incremental_alter_configs_request *q = c->request;
	struct kp_incremental_alter_configs_response resp;
	kp_incremental_alter_configs_response_init(&resp);
	resp.responses = ARENA_ARRAY(&c->r->arena, struct kp_incremental_alter_configs_response_responses, (size_t)q->resources_count + 1);
	resp.responses_count = q->resources_count;
	for (int32_t i = 0; i < q->resources_count; i++) {
		struct kp_incremental_alter_configs_response_responses *o = &resp.responses[i];
		kp_incremental_alter_configs_response_responses_init(o);
		o->error_code = error;
		o->error_message = slice_str(NO_CONTROLLER);
		o->resource_type = q->resources[i].resource_type;
		o->resource_name = q->resources[i].resource_name;
	}
	api_reply(c, &resp);
}

void api_do_incremental_alter_configs(struct api_call *c)
{
	api_forward_call(c, API_NO_TIMEOUT, incremental_done);
}
