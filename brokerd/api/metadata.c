/* metadata.c: Metadata and DescribeCluster: what clients see of the image (facts/client-quirks.md 8). */
#include <stdlib.h>

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"

#define OPERATIONS_NOT_ASKED INT32_MIN
/* No authorizer: every operation that exists for the type, as bits of AclOperation's codes. */
#define TOPIC_OPERATIONS ((1 << 3) | (1 << 4) | (1 << 5) | (1 << 6) | (1 << 7) | (1 << 8) | (1 << 10) | (1 << 11))
#define CLUSTER_OPERATIONS ((1 << 5) | (1 << 7) | (1 << 8) | (1 << 9) | (1 << 10) | (1 << 11) | (1 << 12))

typedef struct kp_metadata_response_topics resp_topic;
typedef struct kp_metadata_response_topics_partitions resp_part;

static bool broker_here(struct api_call *c, int32_t id)
{
	const struct image_broker *b = image_find_broker(c->image, id);
	return b && b->available;
}

/* A client of this listener can be sent there. */
static bool broker_shown(struct api_call *c, int32_t id)
{
	const struct image_broker *b = image_find_broker(c->image, id);
	return b && b->available && image_broker_endpoint(b, c->r->listener);
}

static bool topic_name_ok(struct slice s)
{
	if (s.len == 0 || s.len > 249 || slice_eq_str(s, ".") || slice_eq_str(s, ".."))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t ch = s.ptr[i];
		if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '.' || ch == '_' || ch == '-'))
			return false;
	}
	return true;
}

/* ---- what is in the image ---- */

static int32_t *ids_of(struct api_call *c, const struct image_ids *s, int32_t *ret_count)
{
	*ret_count = s->count;
	int32_t *out = ARENA_ARRAY(&c->r->arena, int32_t, (size_t)s->count + 1);
	if (s->count)
		memcpy(out, s->ids, sizeof(int32_t) * (size_t)s->count);
	return out;
}

static void fill_partition(struct api_call *c, const struct image_topic *t, int32_t idx, resp_part *out)
{
	const struct image_partition *p = &t->partitions[idx];
	kp_metadata_response_topics_partitions_init(out);
	out->partition_index = idx;
	out->leader_epoch = p->leader_epoch;
	out->replica_nodes = ids_of(c, &p->replicas, &out->replica_nodes_count);
	out->isr_nodes = ids_of(c, &p->isr, &out->isr_nodes_count);
	out->offline_replicas = ARENA_ARRAY(&c->r->arena, int32_t, (size_t)p->replicas.count + 1);
	for (int32_t i = 0; i < p->replicas.count; i++)
		if (!broker_here(c, p->replicas.ids[i]) || image_ids_has(&p->offline, p->replicas.ids[i]))
			out->offline_replicas[out->offline_replicas_count++] = p->replicas.ids[i];
	const struct image_broker *leader = image_find_broker(c->image, p->leader);
	if (p->leader < 0 || !leader || !leader->available) {
		out->leader_id = -1;
		out->error_code = KERR_LEADER_NOT_AVAILABLE;
	} else if (!image_broker_endpoint(leader, c->r->listener)) {
		out->leader_id = -1;
		out->error_code = c->version >= 6 ? KERR_LISTENER_NOT_FOUND : KERR_LEADER_NOT_AVAILABLE;
	} else {
		out->leader_id = p->leader;
	}
	if (c->version == 0) {
		/* The oldest clients see replicas that they cannot reach left out, and the error that says so. */
		int32_t n = 0;
		for (int32_t i = 0; i < p->replicas.count; i++)
			if (broker_shown(c, p->replicas.ids[i]))
				out->replica_nodes[n++] = p->replicas.ids[i];
		out->replica_nodes_count = n;
		n = 0;
		for (int32_t i = 0; i < p->isr.count; i++)
			if (broker_shown(c, p->isr.ids[i]))
				out->isr_nodes[n++] = p->isr.ids[i];
		out->isr_nodes_count = n;
		if (out->error_code == KERR_NONE && (out->replica_nodes_count < p->replicas.count || n < p->isr.count))
			out->error_code = KERR_REPLICA_NOT_AVAILABLE;
	}
}

static void fill_topic(struct api_call *c, const struct image_topic *t, bool operations, resp_topic *out)
{
	kp_metadata_response_topics_init(out);
	out->name = slice_str(t->name);
	out->topic_id = t->id;
	out->is_internal = t->internal;
	out->partitions = ARENA_ARRAY(&c->r->arena, resp_part, (size_t)t->partition_count + 1);
	for (int32_t p = 0; p < t->partition_count; p++)
		if (t->partitions[p].replicas.count)
			fill_partition(c, t, p, &out->partitions[out->partitions_count++]);
	out->topic_authorized_operations = operations ? TOPIC_OPERATIONS : OPERATIONS_NOT_ASKED;
}

static void fill_missing(struct api_call *c, struct slice name, bool may_create, bool operations, resp_topic *out)
{
	kp_metadata_response_topics_init(out);
	out->name = name;
	out->is_internal = slice_eq_str(name, "__consumer_offsets") || slice_eq_str(name, "__transaction_state");
	out->topic_authorized_operations = operations ? TOPIC_OPERATIONS : OPERATIONS_NOT_ASKED;
	out->partitions = ARENA_ARRAY(&c->r->arena, resp_part, 1);
	if (!topic_name_ok(name)) {
		out->error_code = KERR_INVALID_TOPIC_EXCEPTION;
		return;
	}
	out->error_code = may_create ? api_auto_create(c, name) : KERR_UNKNOWN_TOPIC_OR_PARTITION;
}

struct all_topics {
	struct api_call *c;
	struct kp_metadata_response *resp;
	bool operations;
};

static bool add_topic(void *ctx, const struct image_topic *t)
{
	struct all_topics *all = ctx;
	fill_topic(all->c, t, all->operations, &all->resp->topics[all->resp->topics_count++]);
	return true;
}

static void fill_brokers(struct api_call *c, struct kp_metadata_response *resp)
{
	uint32_t n = image_broker_count(c->image);
	resp->brokers = ARENA_ARRAY(&c->r->arena, struct kp_metadata_response_brokers, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		const struct image_broker *b = image_broker_at(c->image, i);
		const struct image_endpoint *e = image_broker_endpoint(b, c->r->listener);
		if (!b->available || !e)
			continue;
		struct kp_metadata_response_brokers *o = &resp->brokers[resp->brokers_count++];
		kp_metadata_response_brokers_init(o);
		o->node_id = b->id;
		o->host = slice_str(e->host);
		o->port = e->port;
		o->rack = b->rack ? slice_str(b->rack) : (struct slice){0};
	}
}

static bool asks_by_id(const struct kp_metadata_request *q)
{
	for (int32_t i = 0; i < q->topics_count; i++)
		if (!uuid_is_zero(&q->topics[i].topic_id))
			return true;
	return false;
}

/* Versions 10 and 11 have a field for ids that is not to be used yet, and no version may name a topic by nothing at all: the whole request is
 * refused, brokers and all (Kafka, which stumbles over the latter and has no code for it). */
static bool refuse_ids(struct api_call *c)
{
	const struct kp_metadata_request *q = c->request;
	bool bad = false, by_id = asks_by_id(q);
	for (int32_t i = 0; i < q->topics_count; i++)
		bad |= c->version < 12 ? !q->topics[i].name.ptr || !uuid_is_zero(&q->topics[i].topic_id) : !by_id && !q->topics[i].name.ptr;
	if (!bad)
		return false;
	struct kp_metadata_response resp;
	kp_metadata_response_init(&resp);
	resp.cluster_id = (struct slice){0};
	resp.topics_count = q->topics_count;
	resp.topics = ARENA_ARRAY(&c->r->arena, resp_topic, (size_t)q->topics_count + 1);
	for (int32_t i = 0; i < q->topics_count; i++) {
		kp_metadata_response_topics_init(&resp.topics[i]);
		resp.topics[i].name = q->topics[i].name.ptr ? q->topics[i].name : slice_str("");
		resp.topics[i].topic_id = q->topics[i].topic_id;
		resp.topics[i].error_code = c->version < 12 ? KERR_INVALID_REQUEST : KERR_UNKNOWN_SERVER_ERROR;
	}
	api_reply(c, &resp);
	return true;
}

static void fill_unknown_id(struct api_call *c, const struct uuid *id, resp_topic *out)
{
	fill_missing(c, slice_str(""), false, false, out);
	out->error_code = KERR_UNKNOWN_TOPIC_ID;
	out->name = (struct slice){0};
	out->topic_id = *id;
}

struct asked { /* a topic that the request names, for sorting */
	const struct kp_metadata_request_topics *t;
	int32_t place;
};

static int by_topic(const void *x, const void *y)
{
	const struct asked *a = x, *b = y;
	int d = memcmp(&a->t->topic_id, &b->t->topic_id, sizeof(a->t->topic_id));
	if (!d)
		d = slice_cmp(a->t->name, b->t->name);
	return d ? d : a->place - b->place;
}

/* What a request names more than once is answered once; where it names an id, it is a request by id, and names are not looked at (Kafka). */
static bool *topics_to_skip(struct api_call *c, const struct kp_metadata_request *q, bool by_id)
{
	bool *skip = ARENA_ARRAY(&c->r->arena, bool, (size_t)q->topics_count + 1);
	struct asked *all = ARENA_ARRAY(&c->r->arena, struct asked, (size_t)q->topics_count + 1);
	for (int32_t i = 0; i < q->topics_count; i++) {
		all[i] = (struct asked){&q->topics[i], i};
		skip[i] = by_id && uuid_is_zero(&q->topics[i].topic_id);
	}
	qsort(all, (size_t)q->topics_count, sizeof(*all), by_topic);
	for (int32_t i = 1; i < q->topics_count; i++) {
		const struct kp_metadata_request_topics *a = all[i - 1].t, *b = all[i].t;
		bool same_id = uuid_eq(&a->topic_id, &b->topic_id);
		skip[all[i].place] |= same_id && (!uuid_is_zero(&a->topic_id) || slice_eq(a->name, b->name));
	}
	return skip;
}

static void fill_named(struct api_call *c, bool operations, struct kp_metadata_response *resp)
{
	const struct kp_metadata_request *q = c->request;
	bool may_create = c->api->config->auto_create_topics && (c->version < 4 || q->allow_auto_topic_creation), by_id = asks_by_id(q);
	const bool *skip = topics_to_skip(c, q, by_id);
	resp->topics = ARENA_ARRAY(&c->r->arena, resp_topic, (size_t)q->topics_count + 1);
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_metadata_request_topics *t = &q->topics[i];
		if (skip[i])
			continue;
		resp_topic *out = &resp->topics[resp->topics_count++];
		const struct image_topic *it = by_id ? image_find_topic_id(c->image, &t->topic_id) : image_find_topic(c->image, t->name);
		if (it)
			fill_topic(c, it, operations, out);
		else if (by_id)
			fill_unknown_id(c, &t->topic_id, out);
		else
			fill_missing(c, t->name, may_create, operations, out);
	}
}

void api_do_metadata(struct api_call *c)
{
	const struct kp_metadata_request *q = c->request;
	struct kp_metadata_response resp;
	if (refuse_ids(c))
		return;
	kp_metadata_response_init(&resp);
	fill_brokers(c, &resp);
	resp.controller_id = broker_here(c, image_controller_broker(c->image)) ? image_controller_broker(c->image) : -1;
	const char *cluster = image_cluster_id(c->image);
	resp.cluster_id = *cluster ? slice_str(cluster) : (struct slice){0};
	resp.cluster_authorized_operations = c->version >= 8 && q->include_cluster_authorized_operations ? CLUSTER_OPERATIONS : OPERATIONS_NOT_ASKED;
	bool operations = c->version >= 8 && q->include_topic_authorized_operations;
	if (q->topics_count < 0 || (c->version == 0 && q->topics_count == 0)) {
		resp.topics = ARENA_ARRAY(&c->r->arena, resp_topic, image_topic_count(c->image) + 1);
		struct all_topics ctx = {c, &resp, operations};
		image_each_topic(c->image, add_topic, &ctx);
	} else {
		fill_named(c, operations, &resp);
	}
	api_reply(c, &resp);
}

void api_do_describe_cluster(struct api_call *c)
{
	const struct kp_describe_cluster_request *q = c->request;
	struct kp_describe_cluster_response resp;
	kp_describe_cluster_response_init(&resp);
	resp.cluster_id = slice_str(image_cluster_id(c->image));
	resp.controller_id = broker_here(c, image_controller_broker(c->image)) ? image_controller_broker(c->image) : -1;
	resp.cluster_authorized_operations = q->include_cluster_authorized_operations ? CLUSTER_OPERATIONS : OPERATIONS_NOT_ASKED;
	if (c->version >= 1 && q->endpoint_type != 1) { /* 1 = brokers; controllers are not Kafka nodes here */
		resp.error_code = q->endpoint_type == 2 ? KERR_MISMATCHED_ENDPOINT_TYPE : KERR_UNSUPPORTED_ENDPOINT_TYPE;
		resp.error_message = slice_str("this is a broker: it knows endpoint type 1, the brokers");
		resp.cluster_id = slice_str("");
		resp.controller_id = -1;
		resp.endpoint_type = 1;
		api_reply(c, &resp);
		return;
	}
	resp.endpoint_type = 1;
	uint32_t n = image_broker_count(c->image);
	resp.brokers = ARENA_ARRAY(&c->r->arena, struct kp_describe_cluster_response_brokers, n + 1);
	for (uint32_t i = 0; i < n; i++) {
		const struct image_broker *b = image_broker_at(c->image, i);
		const struct image_endpoint *e = image_broker_endpoint(b, c->r->listener);
		if (!b->available || !e)
			continue;
		struct kp_describe_cluster_response_brokers *o = &resp.brokers[resp.brokers_count++];
		kp_describe_cluster_response_brokers_init(o);
		o->broker_id = b->id;
		o->host = slice_str(e->host);
		o->port = e->port;
		o->rack = b->rack ? slice_str(b->rack) : (struct slice){0};
	}
	api_reply(c, &resp);
}
