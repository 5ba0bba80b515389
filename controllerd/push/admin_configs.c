/* admin_configs.c: AlterConfigs, IncrementalAlterConfigs. See admin_priv.h.
 *
 * Each resource is answered for itself, when its node is written (or was refused). Broker resources name the broker that the client asked.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/push/admin_priv.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_LOGGER = 8, RESOURCE_CLIENT_METRICS = 16, RESOURCE_GROUP = 32 };

/* Both APIs in one shape. */
struct resource {
	struct push_pending *q;
	int8_t type;
	const char *name;
	struct plan_config_changes changes;
	bool twice; /* named more than once */
	/* where the answer goes */
	int16_t *error;
	struct slice *message;
};

static const char *text_of(struct push_pending *q, struct slice s)
{
	return s.ptr ? arena_strndup(&q->arena, (const char *)s.ptr, s.len) : NULL;
}

static void answer_one(struct resource *r, int16_t error, const struct str *problem)
{
	*r->error = error;
	if (!problem)
		return;
	struct str text = {0};
	/* as Kafka words it where a topic's value does not parse */
	if (r->type == RESOURCE_TOPIC && error == KERR_INVALID_CONFIG && !strncmp(str_cstr(problem), "Invalid value ", 14))
		str_printf(&text, "Invalid config value for resource ConfigResource(type=TOPIC, name='%s'): ", r->name);
	str_add_bytes(&text, problem->ptr, problem->len);
	*r->message = admin_text(r->q, &text);
	str_fini(&text);
}

static void PRINTF_LIKE(3, 4) refuse(struct resource *r, int16_t error, const char *fmt, ...)
{
	struct str text = {0};
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	answer_one(r, error, &text);
	str_fini(&text);
}

static void on_altered(void *ctx, void *arg, int16_t error, const struct str *problem)
{
	struct push *p = ctx;
	struct resource *r = arg;
	if (!admin_written(r->q))
		return;
	answer_one(r, error, problem);
	ring_changed(p);
}

static void alter(struct resource *r, enum plan_entity_kind kind, int32_t broker, bool validate_only)
{
	struct push *p = r->q->push;
	struct state_alter a = {.kind = kind, .topic = r->type == RESOURCE_TOPIC ? r->name : NULL, .broker = broker, .changes = r->changes,
				.validate_only = validate_only, .fn = on_altered, .ctx = p, .arg = r};
	r->q->writing++;
	state_alter_config(p->st, &a);
}

static void alter_topic(struct resource *r, bool validate_only)
{
	const struct plan_topic *t = plan_topic_find(r->q->push->st->im, r->name);
	if (!*r->name)
		refuse(r, KERR_INVALID_REQUEST, "Default topic resources are not allowed.");
	else if (!t || t->vanished || t->deleting)
		refuse(r, KERR_UNKNOWN_TOPIC_OR_PARTITION, "The topic '%s' does not exist.", r->name);
	else
		alter(r, plan_topic_internal(slice_str(r->name)) ? PLAN_INTERNAL_TOPIC : PLAN_TOPIC, -1, validate_only);
}

static void alter_broker(struct resource *r, bool validate_only)
{
	const struct push_peer *peer = push_peer_numbered(r->q->push, r->q->peer);
	int32_t id;
	if (!*r->name)
		alter(r, PLAN_ALL_BROKERS, -1, validate_only);
	else if (str_to_i32(r->name, &id))
		refuse(r, KERR_INVALID_REQUEST, "Node id must be an integer, but it is: %s", r->name);
	else if (!peer || id != peer->id)
		refuse(r, KERR_INVALID_REQUEST, "Unexpected broker id, expected %d, but received %s", peer ? peer->id : -1, r->name);
	else
		alter(r, PLAN_BROKER, id, validate_only);
}

static void alter_one(struct resource *r, bool validate_only, bool incremental)
{
	struct str problem = {0};
	int16_t error = r->twice ? KERR_INVALID_REQUEST : plan_config_precheck(&r->changes, &problem);
	if (r->twice)
		str_add(&problem, "Each resource must appear at most once.");
	if (error) {
		answer_one(r, error, &problem);
	} else if (r->type == RESOURCE_TOPIC) {
		alter_topic(r, validate_only);
	} else if (r->type == RESOURCE_BROKER) {
		alter_broker(r, validate_only);
	} else if (r->type == RESOURCE_CLIENT_METRICS || r->type == RESOURCE_GROUP) {
		refuse(r, KERR_INVALID_REQUEST, "AlterConfigs is only supported for topics and brokers, but resource type is %s", r->type == RESOURCE_GROUP ? "GROUP" : "CLIENT_METRICS");
	} else if (r->type == RESOURCE_LOGGER && incremental) {
		refuse(r, KERR_INVALID_REQUEST, "This broker has no loggers whose level could be described or changed");
	} else {
		refuse(r, KERR_INVALID_REQUEST, "Unknown resource type %d", r->type);
	}
	str_fini(&problem);
}

static int by_resource(const void *a, const void *b)
{
	const struct resource *x = *(struct resource *const *)a, *y = *(struct resource *const *)b;
	return x->type != y->type ? (x->type < y->type ? -1 : 1) : strcmp(x->name, y->name);
}

static void mark_twice(struct push_pending *q, struct resource *rs, int32_t n)
{
	struct resource **sorted = ARENA_ARRAY(&q->arena, struct resource *, (size_t)n + 1);
	for (int32_t i = 0; i < n; i++)
		sorted[i] = &rs[i];
	qsort(sorted, (size_t)n, sizeof(struct resource *), by_resource);
	for (int32_t i = 1; i < n; i++)
		if (by_resource(&sorted[i - 1], &sorted[i]) == 0)
			sorted[i - 1]->twice = sorted[i]->twice = true;
}

static struct plan_config_change *changes_of(struct push_pending *q, struct resource *r, int32_t n, bool replace)
{
	struct plan_config_change *v = ARENA_ARRAY(&q->arena, struct plan_config_change, (size_t)n + 1);
	r->changes = (struct plan_config_changes){v, n, replace};
	return v;
}

struct alteration { /* q->own */
	struct resource *resources;
	bool validate_only, incremental;
};

static void plan_these(struct push_pending *q, struct resource *rs, int32_t n, bool validate_only, bool incremental)
{
	struct alteration *own = q->own = ARENA_NEW(&q->arena, struct alteration);
	*own = (struct alteration){rs, validate_only, incremental};
	mark_twice(q, rs, n);
	q->rows = n;
}

static void plan_one(struct push_pending *q, int32_t row)
{
	const struct alteration *own = q->own;
	alter_one(&own->resources[row], own->validate_only, own->incremental);
}

/* ---- the two APIs ---- */

static void alter_start(struct push_pending *q, const void *request)
{
	const struct kp_alter_configs_request *in = request;
	struct kp_alter_configs_response *out = q->response;
	struct resource *rs = ARENA_ARRAY(&q->arena, struct resource, (size_t)in->resources_count + 1);
	out->responses_count = in->resources_count;
	out->responses = ARENA_ARRAY(&q->arena, struct kp_alter_configs_response_responses, (size_t)in->resources_count + 1);
	for (int32_t i = 0; i < in->resources_count; i++) {
		const struct kp_alter_configs_request_resources *r = &in->resources[i];
		struct kp_alter_configs_response_responses *o = &out->responses[i];
		kp_alter_configs_response_responses_init(o);
		o->resource_type = r->resource_type;
		o->resource_name = r->resource_name;
		o->error_message = (struct slice){NULL, 0};
		rs[i] = (struct resource){.q = q, .type = r->resource_type, .name = text_of(q, r->resource_name), .error = &o->error_code, .message = &o->error_message};
		struct plan_config_change *v = changes_of(q, &rs[i], r->configs_count, true);
		for (int32_t k = 0; k < r->configs_count; k++)
			v[k] = (struct plan_config_change){text_of(q, r->configs[k].name), text_of(q, r->configs[k].value), PLAN_CONFIG_SET};
	}
	plan_these(q, rs, in->resources_count, in->validate_only, false);
}

static void incremental_start(struct push_pending *q, const void *request)
{
	const struct kp_incremental_alter_configs_request *in = request;
	struct kp_incremental_alter_configs_response *out = q->response;
	struct resource *rs = ARENA_ARRAY(&q->arena, struct resource, (size_t)in->resources_count + 1);
	out->responses_count = in->resources_count;
	out->responses = ARENA_ARRAY(&q->arena, struct kp_incremental_alter_configs_response_responses, (size_t)in->resources_count + 1);
	for (int32_t i = 0; i < in->resources_count; i++) {
		const struct kp_incremental_alter_configs_request_resources *r = &in->resources[i];
		struct kp_incremental_alter_configs_response_responses *o = &out->responses[i];
		kp_incremental_alter_configs_response_responses_init(o);
		o->resource_type = r->resource_type;
		o->resource_name = r->resource_name;
		o->error_message = (struct slice){NULL, 0};
		rs[i] = (struct resource){.q = q, .type = r->resource_type, .name = text_of(q, r->resource_name), .error = &o->error_code, .message = &o->error_message};
		struct plan_config_change *v = changes_of(q, &rs[i], r->configs_count, false);
		for (int32_t k = 0; k < r->configs_count; k++)
			v[k] = (struct plan_config_change){text_of(q, r->configs[k].name), text_of(q, r->configs[k].value), r->configs[k].config_operation};
	}
	plan_these(q, rs, in->resources_count, in->validate_only, true);
}

const struct admin_call admin_alter_configs = {KP_API_ALTER_CONFIGS, alter_start, plan_one, NULL, NULL};
const struct admin_call admin_incremental_alter_configs = {KP_API_INCREMENTAL_ALTER_CONFIGS, incremental_start, plan_one, NULL, NULL};
