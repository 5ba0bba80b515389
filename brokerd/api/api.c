/* api.c: the table of offered APIs; decoding, dispatch, answering. */
#include "brokerd/api/api.h"

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

/* Within what Kafka 3.9 offers (common/wire/api.h). Produce is listed from 0 although magic 0/1 is refused: older librdkafka looks for an overlap
 * with its feature table and would lose compression otherwise (KAFKA-18659). */
const struct api_row api_rows[] = {
	{KP_API_PRODUCE, 0, 11, API_APPEND, api_do_produce},
	{KP_API_FETCH, 0, 17, API_POLL, api_do_fetch},
	{KP_API_LIST_OFFSETS, 0, 9, API_READ, api_do_list_offsets},
	{KP_API_METADATA, 0, 12, API_READ, api_do_metadata},
	{KP_API_OFFSET_COMMIT, 0, 9, API_CHANGE, api_do_offset_commit},
	{KP_API_OFFSET_FETCH, 0, 9, API_READ, api_do_offset_fetch},
	{KP_API_FIND_COORDINATOR, 0, 6, API_READ, api_do_find_coordinator},
	{KP_API_JOIN_GROUP, 0, 9, API_CHANGE, api_do_join_group},
	{KP_API_HEARTBEAT, 0, 4, API_READ, api_do_heartbeat},
	{KP_API_LEAVE_GROUP, 0, 5, API_CHANGE, api_do_leave_group},
	{KP_API_SYNC_GROUP, 0, 5, API_CHANGE, api_do_sync_group},
	{KP_API_DESCRIBE_GROUPS, 0, 5, API_READ, api_do_describe_groups},
	{KP_API_LIST_GROUPS, 0, 5, API_READ, api_do_list_groups},
	{KP_API_API_VERSIONS, 0, 4, API_FREE, api_do_api_versions},
	{KP_API_CREATE_TOPICS, 0, 7, API_CHANGE, api_do_create_topics},
	{KP_API_DELETE_TOPICS, 0, 6, API_CHANGE, api_do_delete_topics},
	{KP_API_INIT_PRODUCER_ID, 0, 5, API_CHANGE, api_do_init_producer_id},
	{KP_API_OFFSET_FOR_LEADER_EPOCH, 0, 4, API_READ, api_do_offset_for_leader_epoch},
	{KP_API_DELETE_RECORDS, 0, 2, API_CHANGE, api_do_delete_records},
	{KP_API_DESCRIBE_LOG_DIRS, 0, 4, API_READ, api_do_describe_log_dirs},
	{KP_API_DESCRIBE_PRODUCERS, 0, 0, API_READ, api_do_describe_producers},
	{KP_API_CREATE_PARTITIONS, 0, 3, API_CHANGE, api_do_create_partitions},
	{KP_API_ELECT_LEADERS, 0, 2, API_CHANGE, api_do_elect_leaders},
	{KP_API_DESCRIBE_CONFIGS, 0, 4, API_READ, api_do_describe_configs},
	{KP_API_DELETE_GROUPS, 0, 2, API_CHANGE, api_do_delete_groups},
	{KP_API_ALTER_CONFIGS, 0, 2, API_CHANGE, api_do_alter_configs},
	{KP_API_INCREMENTAL_ALTER_CONFIGS, 0, 1, API_CHANGE, api_do_incremental_alter_configs},
	{KP_API_LIST_PARTITION_REASSIGNMENTS, 0, 0, API_READ, api_do_list_partition_reassignments},
	{KP_API_OFFSET_DELETE, 0, 0, API_CHANGE, api_do_offset_delete},
	{KP_API_DESCRIBE_CLUSTER, 0, 1, API_READ, api_do_describe_cluster},
};
const uint32_t api_row_count = ARRAY_LEN(api_rows);

/* Which orders must not be under way before one of each order. */
static const uint32_t not_beside[] = {
	[API_FREE] = 0,
	[API_APPEND] = 1 << API_CHANGE,
	[API_READ] = 1 << API_APPEND | 1 << API_CHANGE,
	[API_POLL] = 1 << API_APPEND | 1 << API_CHANGE,
	[API_CHANGE] = 1 << API_APPEND | 1 << API_READ | 1 << API_CHANGE,
};

static const struct api_row *row_find(int16_t key)
{
	for (uint32_t i = 0; i < api_row_count; i++)
		if (api_rows[i].key == key)
			return &api_rows[i];
	return NULL;
}

struct api *api_new(const struct api_init *init)
{
	struct api *a = MEM_NEW(struct api);
	a->env = init->env;
	a->loop = init->loop;
	a->idx = init->idx;
	a->shard_count = init->shard_count;
	a->shards = init->shards;
	a->coordinators = init->coordinators;
	a->fetch = init->fetch;
	a->config = init->config;
	a->running = init->running;
	a->services = init->services;
	a->image = image_empty();
	a->latency = mem_zalloc(sizeof(*a->latency) * api_row_count);
	list_init(&a->pid_waiting);
	list_init(&a->creating);
	list_init(&a->group_calls);
	list_init(&a->group_answers);
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	api_creating_free(a);
	api_groups_free(a);
	image_unref(a->image);
	mem_free(a->latency);
	mem_free(a);
}

void api_set_image(struct api *a, struct image *im)
{
	image_unref(a->image);
	a->image = im;
}

uint32_t api_stats(const struct api *a, struct api_stats_row *out, uint32_t cap)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < api_row_count && n < cap; i++)
		out[n++] = (struct api_stats_row){wire_api_find(api_rows[i].key)->name, a->counts[api_rows[i].key], &a->latency[i]};
	return n;
}

static void call_end(struct api_call *c)
{
	for (uint32_t i = 0; i < api_row_count; i++)
		if (api_rows[i].key == c->wire->key)
			histogram_record(&c->api->latency[i], loop_now_us(c->api->loop) - c->r->received_us);
	image_unref(c->image);
	c->image = NULL;
}

void api_reply(struct api_call *c, const void *response)
{
	struct chain out;
	chain_init(&out);
	wire_response_encode(c->wire, c->version, c->r->correlation_id, response, &out);
	call_end(c);
	net_answer(c->r, &out);
}

void api_reply_chain(struct api_call *c, struct chain *body)
{
	struct chain out;
	uint8_t head[9];
	size_t head_len = wire_response_header_version(c->wire, c->version) ? 5 : 4;
	chain_init(&out);
	be32_put(head, (uint32_t)(head_len + body->bytes));
	be32_put(head + 4, (uint32_t)c->r->correlation_id);
	head[8] = 0; /* no tags */
	chain_add_copy(&out, head, 4 + head_len);
	chain_append(&out, body);
	call_end(c);
	net_answer(c->r, &out);
}

void api_reply_body(struct api_call *c, const uint8_t *body, size_t len)
{
	struct chain all;
	chain_init(&all);
	chain_add_copy(&all, body, len);
	api_reply_chain(c, &all);
}

void api_close(struct api_call *c)
{
	call_end(c);
	net_answer_close(c->r);
}

void api_silent(struct api_call *c)
{
	call_end(c);
	net_answer_none(c->r);
}

uint32_t api_owner(const struct api *a, const struct image_topic *t, int32_t partition)
{
	return partition_owner(a->env->hash_seed, &t->id, slice_str(t->name), partition, a->shard_count);
}

const struct image_topic *api_topic(struct api_call *c, struct slice name, const struct uuid *id, bool by_id, int16_t *ret_error)
{
	const struct image_topic *t = by_id ? image_find_topic_id(c->image, id) : image_find_topic(c->image, name);
	*ret_error = t ? KERR_NONE : by_id ? KERR_UNKNOWN_TOPIC_ID : KERR_UNKNOWN_TOPIC_OR_PARTITION;
	return t;
}

const struct image_endpoint *api_leader_endpoint(struct api_call *c, int32_t leader_id, const struct image_broker **ret_broker)
{
	const struct image_broker *b = image_find_broker(c->image, leader_id);
	const struct image_endpoint *e = b && b->available ? image_broker_endpoint(b, c->r->listener) : NULL;
	*ret_broker = b;
	return e;
}

/* ---- requests for the controller ---- */

struct forward_state {
	struct ask_forward f;
	struct api_call *c;
	void (*done)(struct api_call *c, int16_t error, const uint8_t *body, size_t len);
};

static void forward_back(struct msg *m)
{
	struct ask_forward *f = CONTAINER_OF(m, struct ask_forward, msg);
	f->done(f);
}

static void forward_done(struct ask_forward *f)
{
	struct forward_state *s = CONTAINER_OF(f, struct forward_state, f);
	s->done(s->c, f->error, f->response, f->response_len);
	mem_free(f->response);
	buf_unref(f->buf);
	mem_free(s);
}

/* On the control loop. */
static void forward_deliver(struct msg *m)
{
	struct ask_forward *f = CONTAINER_OF(m, struct ask_forward, msg);
	struct forward_state *s = CONTAINER_OF(f, struct forward_state, f);
	const struct ask_services *sv = s->c->api->services;
	f->msg.deliver = forward_back;
	sv->forward(sv->ctx, f);
}

void api_forward_call(struct api_call *c, int32_t timeout_ms, void (*done)(struct api_call *c, int16_t error, const uint8_t *body, size_t len))
{
	struct forward_state *s = MEM_NEW(struct forward_state);
	s->c = c;
	s->done = done;
	s->f.buf = buf_ref(c->r->buf);
	s->f.request = c->r->frame;
	s->f.listener = c->r->listener;
	s->f.timeout_ms = timeout_ms == API_NO_TIMEOUT ? -1 : timeout_ms < 0 ? 0 : timeout_ms;
	s->f.done = forward_done;
	strncpy(s->f.client_host, net_request_peer(c->r), sizeof(s->f.client_host) - 1);
	s->f.msg.deliver = forward_deliver;
	loop_post(c->api->services->control, &s->f.msg);
}

/* ---- dispatch ---- */

static void api_versions_unsupported(struct net_request *r, int32_t correlation_id)
{
	/* The one API that answers a version it does not know: in the form of version 0, naming itself, so that clients can step down. */
	struct kp_api_versions_response resp;
	struct kp_api_versions_response_api_keys row = {.api_key = KP_API_API_VERSIONS, .min_version = 0, .max_version = 4};
	struct chain out;
	kp_api_versions_response_init(&resp);
	resp.error_code = KERR_UNSUPPORTED_VERSION;
	resp.api_keys = &row;
	resp.api_keys_count = 1;
	chain_init(&out);
	wire_response_encode(wire_api_find(KP_API_API_VERSIONS), 0, correlation_id, &resp, &out);
	net_answer(r, &out);
}

enum net_verdict api_handle(void *ctx, struct net_request *r)
{
	struct api *a = ctx;
	struct wire_request_header h;
	struct slice in = r->frame;
	int err = wire_request_header_decode(&in, &h);
	const struct api_row *row = row_find(h.api_key);
	if (err == ERR_CORRUPT)
		return NET_CLOSE;
	r->api_key = h.api_key;
	r->api_version = h.api_version;
	r->correlation_id = h.correlation_id;
	if (!row || h.api_version < row->min_version || h.api_version > row->max_version || err) {
		if (h.api_key != KP_API_API_VERSIONS || h.api_version < 0)
			return NET_CLOSE; /* as Kafka: no answer to what we do not speak */
		api_versions_unsupported(r, h.correlation_id);
		return NET_TAKEN;
	}
	if (!net_may_start(r, (uint8_t)row->order, not_beside[row->order]))
		return NET_LATER;
	const struct wire_api *wire = wire_api_find(h.api_key);
	struct api_call *c = ARENA_NEW(&r->arena, struct api_call);
	*c = (struct api_call){.api = a, .r = r, .wire = wire, .version = h.api_version, .client_id = h.client_id};
	c->request = arena_try_alloc(&r->arena, wire->request->size);
	/* What stands behind the body is passed over, as Kafka does: librdkafka 2.16 leaves three bytes there when it asks for all topics. */
	if (!c->request || wire_decode(wire->request, h.api_version, &in, &r->arena, c->request))
		return NET_CLOSE;
	if (h.api_key == KP_API_API_VERSIONS && h.api_version >= 3) {
		/* A follower's connection asks to be served by the loop of its own number (protocol.md I1). */
		const struct kp_api_versions_request *q = c->request;
		const char tag[] = "-loop.";
		int32_t idx = -1;
		if (slice_eq_str(q->client_software_name, "klamm-broker")) {
			char *v = arena_strndup(&r->arena, (const char *)q->client_software_version.ptr, q->client_software_version.len);
			char *at = strstr(v, tag);
			if (!at || str_to_i32(at + sizeof(tag) - 1, &idx))
				idx = -1;
			*net_conn_word(r) = 1;
		}
		if (idx >= 0 && (uint32_t)idx % a->shard_count != a->idx) {
			net_request_set_target(r, (uint32_t)idx % a->shard_count);
			return NET_MOVE;
		}
	}
	c->image = image_ref(a->image);
	a->counts[h.api_key]++;
	row->handle(c);
	return NET_TAKEN;
}
