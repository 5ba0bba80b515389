/* admin.c: what brokers ask: ISR changes, shutdown, producer ids, and clients' admin requests that they forward. See push.h.
 *
 * A forwarded request is the client's own, header included, authorized at the broker; it is answered once, with the body of the response.
 * CreateTopics is answered when every partition has a leader in the published image, DeleteTopics when the topic left it, or by timeout;
 * the work goes on either way (replication.md 10). Answers wait for rights (C5).
 */
#include <inttypes.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/config/topic_config.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "controllerd/push/push.h"
#include "proto/kafka/kp.h"

enum { ARENA_MAX = 256 << 20 };
enum pending_kind { PENDING_CREATE, PENDING_DELETE, PENDING_LIST, PENDING_SHUTDOWN };

struct push_pending {
	struct list link;
	struct push *push;
	enum pending_kind kind;
	uint32_t peer;        /* number of the link that asked */
	uint64_t number;
	int16_t version;
	int64_t deadline_us;
	struct arena arena;   /* the response, its texts, a copy of the request */
	struct kp_create_topics_response create;
	struct kp_delete_topics_response delete;
	struct uuid *waits;   /* per response row: topic id that is waited for; zero = settled */
	int32_t writing;      /* topic nodes on their way */
	bool dead;            /* answered; freed when the last write comes back */
	int32_t broker;       /* shutdown */
};

static struct push_pending *pending_new(struct push_peer *peer, enum pending_kind kind, uint64_t number)
{
	struct push_pending *q = MEM_NEW(struct push_pending);
	q->push = peer->push;
	q->kind = kind;
	q->peer = peer->number;
	q->number = number;
	arena_init(&q->arena, ARENA_MAX);
	list_init(&q->link);
	list_push_back(&peer->push->pending, &q->link);
	return q;
}

static void pending_free(struct push_pending *q)
{
	list_remove(&q->link);
	if (q->writing > 0) {
		q->dead = true;
		return;
	}
	arena_fini(&q->arena);
	mem_free(q);
}

static void forward_reply(struct push *p, uint32_t peer_number, uint64_t number, int16_t error, struct chain *body)
{
	struct push_peer *peer = push_peer_numbered(p, peer_number);
	if (!peer)
		return;
	Klamm__Control__ForwardReply r;
	Klamm__Control__Frame f;
	klamm__control__forward_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	uint8_t *flat = NULL;
	if (body) {
		flat = mem_alloc(body->bytes + 1);
		chain_flatten(body, flat);
		r.response.data = flat;
		r.response.len = body->bytes;
	}
	f.body_case = KLAMM__CONTROL__FRAME__BODY_FORWARD_REPLY;
	f.forward_reply = &r;
	frame_send(peer->stream, &f);
	mem_free(flat);
}

static void answer(struct push_pending *q)
{
	struct chain body;
	chain_init(&body);
	if (q->kind == PENDING_CREATE) {
		wire_encode(&kp_create_topics_response_desc, q->version, &q->create, &body);
	} else if (q->kind == PENDING_DELETE) {
		wire_encode(&kp_delete_topics_response_desc, q->version, &q->delete, &body);
	} else {
		struct kp_list_partition_reassignments_response r;
		kp_list_partition_reassignments_response_init(&r);
		r.error_message = (struct slice){NULL, 0};
		wire_encode(&kp_list_partition_reassignments_response_desc, q->version, &r, &body);
	}
	forward_reply(q->push, q->peer, q->number, KERR_NONE, &body);
	chain_clear(&body);
	pending_free(q);
}

/* ---- CreateTopics ---- */

static struct slice text_in(struct arena *a, const struct str *s)
{
	return s->len ? slice_make(arena_strndup(a, s->ptr, s->len), s->len) : (struct slice){NULL, 0};
}

static void fill_configs(struct push_pending *q, struct kp_create_topics_response_topics *row, const struct plan_config *set, int32_t set_count)
{
	if (q->version < 5)
		return;
	const struct plan_image *im = q->push->st->im;
	row->configs = ARENA_ARRAY(&q->arena, struct kp_create_topics_response_topics_configs, topic_config_key_count);
	row->configs_count = (int32_t)topic_config_key_count;
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const struct topic_config_key *k = &topic_config_keys[i];
		struct kp_create_topics_response_topics_configs *c = &row->configs[i];
		kp_create_topics_response_topics_configs_init(c);
		const char *v = k->broker_key ? plan_cluster_config(im, NULL, NULL, k->broker_key, NULL) : NULL;
		c->config_source = v ? 4 : 5; /* static broker config, default */
		v = v ? v : k->default_value;
		for (int32_t n = 0; n < set_count; n++)
			if (strcmp(set[n].key, k->name) == 0) {
				v = set[n].value;
				c->config_source = 1; /* topic */
			}
		c->name = slice_str(k->name);
		c->value = slice_str(arena_strndup(&q->arena, v, strlen(v)));
	}
}

struct create_arg {
	struct push_pending *q;
	int32_t row;
};

static void on_topic_written(void *ctx, void *arg, int err)
{
	struct create_arg *ca = arg;
	struct push_pending *q = ca->q;
	int32_t row = ca->row;
	mem_free(ca);
	q->writing--;
	if (q->dead) {
		if (q->writing == 0)
			pending_free(q);
		return;
	}
	struct kp_create_topics_response_topics *r = &q->create.topics[row];
	if (err) {
		q->waits[row] = (struct uuid){{0}};
		r->error_code = err == ERR_EXIST ? KERR_TOPIC_ALREADY_EXISTS : err == ERR_STALE ? KERR_NOT_CONTROLLER : err == ERR_LIMIT ? KERR_INVALID_PARTITIONS : KERR_UNKNOWN_SERVER_ERROR;
		r->error_message = slice_str(err == ERR_EXIST ? "Topic was created by somebody else at the same time." : err == ERR_STALE ? "This controller was replaced." : "ZooKeeper refused the topic.");
		return;
	}
	const struct plan_topic *t = plan_topic_find_slice(q->push->st->im, r->name);
	if (t)
		r->topic_id = q->waits[row] = t->id;
}

static bool named_twice(const struct kp_create_topics_request *in, int32_t at)
{
	for (int32_t i = 0; i < in->topics_count; i++)
		if (i != at && slice_eq(in->topics[i].name, in->topics[at].name))
			return true;
	return false;
}

static void create_one(struct push_pending *q, const struct kp_create_topics_request *in, int32_t at)
{
	struct push *p = q->push;
	struct arena *a = &q->arena;
	const struct kp_create_topics_request_topics *t = &in->topics[at];
	struct kp_create_topics_response_topics *row = &q->create.topics[at];
	kp_create_topics_response_topics_init(row);
	row->name = slice_make(arena_strndup(a, (const char *)t->name.ptr, t->name.len), t->name.len);
	row->error_message = (struct slice){NULL, 0};
	row->configs_count = -1;
	struct plan_new_partition *manual = ARENA_ARRAY(a, struct plan_new_partition, (size_t)(t->assignments_count > 0 ? t->assignments_count : 0) + 1);
	for (int32_t i = 0; i < t->assignments_count; i++)
		manual[i] = (struct plan_new_partition){t->assignments[i].partition_index, {t->assignments[i].broker_ids, t->assignments[i].broker_ids_count}};
	struct plan_config *configs = ARENA_ARRAY(a, struct plan_config, (size_t)(t->configs_count > 0 ? t->configs_count : 0) + 1);
	for (int32_t i = 0; i < t->configs_count; i++)
		configs[i] = (struct plan_config){arena_strndup(a, (const char *)t->configs[i].name.ptr, t->configs[i].name.len),
						  t->configs[i].value.ptr ? arena_strndup(a, (const char *)t->configs[i].value.ptr, t->configs[i].value.len) : NULL};
	struct plan_new_topic n = {.name = row->name, .num_partitions = t->num_partitions, .replication_factor = t->replication_factor,
				   .manual = t->assignments_count > 0 ? manual : NULL, .manual_count = t->assignments_count, .configs = configs,
				   .config_count = t->configs_count > 0 ? t->configs_count : 0, .random = env_random_u64(p->env)};
	struct str problem = {0};
	if (named_twice(in, at)) {
		str_add(&problem, "Duplicate topic name.");
		row->error_code = KERR_INVALID_REQUEST;
	} else if (state_creating(p->st, row->name)) {
		str_printf(&problem, "Topic '%.*s' already exists.", (int)row->name.len, (const char *)row->name.ptr);
		row->error_code = KERR_TOPIC_ALREADY_EXISTS;
	} else {
		row->error_code = plan_topic_validate(p->st->im, &n, &problem);
	}
	row->error_message = text_in(a, &problem);
	str_fini(&problem);
	if (row->error_code)
		return;
	row->num_partitions = n.partition_count;
	row->replication_factor = (int16_t)n.partitions[0].replicas.n;
	fill_configs(q, row, configs, n.config_count);
	if (!in->validate_only) {
		struct create_arg *ca = MEM_NEW(struct create_arg);
		*ca = (struct create_arg){q, at};
		q->writing++;
		memset(&q->waits[at], 0xff, sizeof(q->waits[at])); /* its id is known once it is written */
		state_create_topic(p->st, &n, on_topic_written, p, ca);
	}
	plan_new_topic_fini(&n);
}

static void create_topics(struct push_pending *q, const struct kp_create_topics_request *in)
{
	q->create.topics_count = in->topics_count;
	q->create.topics = ARENA_ARRAY(&q->arena, struct kp_create_topics_response_topics, (size_t)in->topics_count + 1);
	q->waits = ARENA_ARRAY(&q->arena, struct uuid, (size_t)in->topics_count + 1);
	q->deadline_us = env_now_us(q->push->env) + (int64_t)in->timeout_ms * 1000;
	for (int32_t i = 0; i < in->topics_count; i++)
		create_one(q, in, i);
}

static bool all_led(const struct plan_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct plan_partition *p = &t->partitions[i];
		if (p->replicas.n && (!p->published || p->st.leader < 0))
			return false;
	}
	return t->published;
}

static bool create_settled(struct push_pending *q, bool late)
{
	static const struct uuid open = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	bool settled = true;
	for (int32_t i = 0; i < q->create.topics_count; i++) {
		if (uuid_is_zero(&q->waits[i]))
			continue;
		bool written = !uuid_eq(&q->waits[i], &open);
		const struct plan_topic *t = written ? plan_topic_find_id(q->push->st->im, &q->waits[i]) : NULL;
		if (written && (!t || all_led(t))) {
			q->waits[i] = (struct uuid){{0}};
		} else if (late) {
			q->create.topics[i].error_code = KERR_REQUEST_TIMED_OUT;
			q->create.topics[i].error_message = slice_str("The topic is being created, but its leaders were not known in time.");
		} else {
			settled = false;
		}
	}
	return settled;
}

/* ---- DeleteTopics ---- */

static void delete_one(struct push_pending *q, int32_t at, struct slice name, const struct uuid *id)
{
	struct push *p = q->push;
	struct kp_delete_topics_response_responses *row = &q->delete.responses[at];
	kp_delete_topics_response_responses_init(row);
	row->error_message = (struct slice){NULL, 0};
	row->name = name.ptr ? slice_make(arena_strndup(&q->arena, (const char *)name.ptr, name.len), name.len) : name;
	row->topic_id = *id;
	struct plan_topic *t = name.ptr ? plan_topic_find_slice(p->st->im, name) : plan_topic_find_id(p->st->im, id);
	if (name.ptr && !uuid_is_zero(id)) {
		row->error_code = KERR_INVALID_REQUEST;
		row->error_message = slice_str("Topic name and topic id can not both be set.");
	} else if (!p->st->delete_enabled) {
		row->error_code = q->version < 3 ? KERR_INVALID_REQUEST : KERR_TOPIC_DELETION_DISABLED;
	} else if (!t || t->vanished) {
		row->error_code = name.ptr ? KERR_UNKNOWN_TOPIC_OR_PARTITION : KERR_UNKNOWN_TOPIC_ID;
	} else {
		row->name = slice_make(arena_strndup(&q->arena, t->name, strlen(t->name)), strlen(t->name));
		row->topic_id = q->waits[at] = t->id;
		if (!t->deleting)
			state_delete_topic(p->st, t);
	}
}

static void delete_topics(struct push_pending *q, const struct kp_delete_topics_request *in)
{
	static const struct uuid none;
	bool by_row = q->version >= 6;
	int32_t n = by_row ? in->topics_count : in->topic_names_count;
	n = n > 0 ? n : 0;
	q->delete.responses_count = n;
	q->delete.responses = ARENA_ARRAY(&q->arena, struct kp_delete_topics_response_responses, (size_t)n + 1);
	q->waits = ARENA_ARRAY(&q->arena, struct uuid, (size_t)n + 1);
	q->deadline_us = env_now_us(q->push->env) + (int64_t)in->timeout_ms * 1000;
	for (int32_t i = 0; i < n; i++) {
		if (by_row)
			delete_one(q, i, in->topics[i].name, &in->topics[i].topic_id);
		else
			delete_one(q, i, in->topic_names[i].ptr ? in->topic_names[i] : slice_make("", 0), &none);
	}
}

static bool delete_settled(struct push_pending *q, bool late)
{
	bool settled = true;
	for (int32_t i = 0; i < q->delete.responses_count; i++) {
		if (uuid_is_zero(&q->waits[i]))
			continue;
		if (!plan_topic_find_id(q->push->st->im, &q->waits[i])) {
			q->waits[i] = (struct uuid){{0}};
		} else if (late) {
			q->delete.responses[i].error_code = KERR_REQUEST_TIMED_OUT;
		} else {
			settled = false;
		}
	}
	return settled;
}

/* ---- shutdown ---- */

static void shutdown_reply(struct push *p, uint32_t peer_number, uint64_t number, int16_t error, uint32_t remaining)
{
	struct push_peer *peer = push_peer_numbered(p, peer_number);
	if (!peer)
		return;
	Klamm__Control__ControlledShutdownReply r;
	Klamm__Control__Frame f;
	klamm__control__controlled_shutdown_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	r.remaining = remaining;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN_REPLY;
	f.controlled_shutdown_reply = &r;
	frame_send(peer->stream, &f);
}

void admin_shutdown(struct push_peer *peer, const Klamm__Control__ControlledShutdown *c)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || !b->admitted) {
		shutdown_reply(p, peer->number, c->number, KERR_BROKER_NOT_AVAILABLE, 0);
		return;
	}
	if (c->broker_epoch < b->broker_epoch) {
		shutdown_reply(p, peer->number, c->number, KERR_STALE_BROKER_EPOCH, 0);
		return;
	}
	state_shutting_down(p->st, peer->id, true);
	struct push_pending *q = pending_new(peer, PENDING_SHUTDOWN, c->number);
	q->broker = peer->id;
	q->deadline_us = INT64_MAX;
	ring_changed(p);
}

/* ---- waiting ---- */

static bool settled(struct push_pending *q, int64_t now)
{
	bool late = now >= q->deadline_us;
	uint32_t led = 0;
	switch (q->kind) {
	case PENDING_CREATE: return create_settled(q, late);
	case PENDING_DELETE: return delete_settled(q, late);
	case PENDING_LIST: return true;
	case PENDING_SHUTDOWN: return state_broker_settled(q->push->st, q->broker, &led);
	}
	return true;
}

void admin_check(struct push *p)
{
	if (list_empty(&p->pending) || !push_active(p) || !elect_has_rights(p->el))
		return;
	int64_t now = env_now_us(p->env);
	LIST_FOR_SAFE(n, tmp, &p->pending) {
		struct push_pending *q = LIST_ENTRY(n, struct push_pending, link);
		if (!settled(q, now))
			continue;
		if (q->kind == PENDING_SHUTDOWN) {
			uint32_t led = 0;
			(void)state_broker_settled(p->st, q->broker, &led);
			shutdown_reply(p, q->peer, q->number, KERR_NONE, led);
			pending_free(q);
		} else {
			answer(q);
		}
	}
}

/* The reign is over: what was asked is answered by nobody; brokers tell their clients so (protocol.md L). */
void admin_end(struct push *p)
{
	while (!list_empty(&p->pending)) {
		struct push_pending *q = LIST_ENTRY(p->pending.next, struct push_pending, link);
		if (q->kind == PENDING_SHUTDOWN)
			shutdown_reply(p, q->peer, q->number, KERR_NOT_CONTROLLER, 0);
		else
			forward_reply(p, q->peer, q->number, KERR_REQUEST_TIMED_OUT, NULL);
		pending_free(q);
	}
}

/* ---- forwarded requests ---- */

void admin_forward(struct push_peer *peer, const Klamm__Control__Forward *f)
{
	struct push *p = peer->push;
	struct slice in = slice_make(f->request.data, f->request.len);
	struct wire_request_header h;
	int err = wire_request_header_decode(&in, &h);
	if (err) {
		forward_reply(p, peer->number, f->number, err == ERR_UNSUPPORTED ? KERR_UNSUPPORTED_VERSION : KERR_INVALID_REQUEST, NULL);
		return;
	}
	union {
		struct kp_create_topics_request create;
		struct kp_delete_topics_request delete;
		struct kp_list_partition_reassignments_request list;
	} msg;
	const struct wire_api *api = wire_api_find(h.api_key);
	enum pending_kind kind;
	switch (h.api_key) {
	case KP_API_CREATE_TOPICS: kind = PENDING_CREATE; break;
	case KP_API_DELETE_TOPICS: kind = PENDING_DELETE; break;
	case KP_API_LIST_PARTITION_REASSIGNMENTS: kind = PENDING_LIST; break;
	default:
		forward_reply(p, peer->number, f->number, KERR_UNSUPPORTED_VERSION, NULL);
		return;
	}
	struct push_pending *q = pending_new(peer, kind, f->number);
	q->version = h.api_version;
	if (wire_decode(api->request, h.api_version, &in, &q->arena, &msg)) {
		forward_reply(p, peer->number, f->number, KERR_INVALID_REQUEST, NULL);
		pending_free(q);
		return;
	}
	q->arena.bytes_max = 0; /* the limit was for what the client sent */
	LOG_AT(p->env->log, LOG_INFO, "admin", api->name, "version=%d broker=%d principal=%s client=%s", h.api_version, peer->id, LOGQ(f->principal), LOGQ(f->client_host));
	if (kind == PENDING_CREATE)
		create_topics(q, &msg.create);
	else if (kind == PENDING_DELETE)
		delete_topics(q, &msg.delete);
	ring_changed(p);
}

/* ---- producer ids ---- */

struct pid_arg {
	struct push *push;
	uint32_t peer;
	uint64_t number;
};

static void pids_reply(struct push *p, uint32_t peer_number, uint64_t number, int16_t error, int64_t first, int32_t count)
{
	struct push_peer *peer = push_peer_numbered(p, peer_number);
	if (!peer)
		return;
	Klamm__Control__ProducerIdsReply r;
	Klamm__Control__Frame f;
	klamm__control__producer_ids_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	r.first = first;
	r.count = count;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS_REPLY;
	f.producer_ids_reply = &r;
	frame_send(peer->stream, &f);
}

static void on_pids(void *ctx, void *arg, int16_t error, int64_t first, int32_t count)
{
	struct pid_arg a = *(struct pid_arg *)arg;
	mem_free(arg);
	pids_reply(a.push, a.peer, a.number, error, first, count);
}

void admin_producer_ids(struct push_peer *peer, const Klamm__Control__ProducerIdsRequest *r)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || b->broker_epoch != r->broker_epoch) {
		pids_reply(p, peer->number, r->number, KERR_STALE_BROKER_EPOCH, 0, 0);
		return;
	}
	struct pid_arg *a = MEM_NEW(struct pid_arg);
	*a = (struct pid_arg){p, peer->number, r->number};
	state_producer_ids(p->st, peer->id, on_pids, p, a);
}

/* ---- AlterPartition ---- */

static void alter_reply(struct push_peer *peer, uint64_t number, int16_t error, Klamm__Control__ProposalResult *one)
{
	struct push *p = peer->push;
	if (!elect_has_rights(p->el)) /* a rejection is fenced by nothing (C5); the leader asks again */
		return;
	Klamm__Control__AlterPartitionReply r;
	Klamm__Control__Frame f;
	klamm__control__alter_partition_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	if (one) {
		r.partitions = &one;
		r.n_partitions = 1;
	}
	f.body_case = KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION_REPLY;
	f.alter_partition_reply = &r;
	frame_send(peer->stream, &f);
}

static void reject_one(struct push_peer *peer, uint64_t number, const struct uuid *id, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch)
{
	Klamm__Control__ProposalResult x;
	klamm__control__proposal_result__init(&x);
	uint8_t bytes[16];
	memcpy(bytes, id->b, sizeof(bytes));
	x.topic_id.data = bytes;
	x.topic_id.len = sizeof(bytes);
	x.partition = partition;
	x.error = error;
	x.leader_epoch = leader_epoch;
	x.partition_epoch = partition_epoch;
	alter_reply(peer, number, KERR_NONE, &x);
}

void admin_reject(void *ctx, int32_t broker, uint64_t number, const struct plan_topic *t, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch)
{
	struct push_peer *peer = push_broker_peer(ctx, broker);
	if (peer)
		reject_one(peer, number, &t->id, partition, error, leader_epoch, partition_epoch);
}

void admin_alter_partition(struct push_peer *peer, const Klamm__Control__AlterPartitionRequest *r)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || !b->admitted || b->broker_epoch != r->broker_epoch) {
		alter_reply(peer, r->number, KERR_STALE_BROKER_EPOCH, NULL);
		return;
	}
	for (size_t i = 0; i < r->n_partitions; i++) {
		const Klamm__Control__PartitionProposal *in = r->partitions[i];
		struct uuid id = {{0}};
		if (in->topic_id.len == sizeof(id.b))
			memcpy(id.b, in->topic_id.data, sizeof(id.b));
		if (in->n_isr > 1000)
			continue;
		struct state_proposal *q = mem_zalloc(sizeof(*q) + sizeof(int32_t) * in->n_isr);
		*q = (struct state_proposal){.broker = peer->id, .leader_epoch = in->leader_epoch, .partition_epoch = in->partition_epoch,
					     .recovery_state = in->recovery_state, .number = r->number, .isr_count = (int32_t)in->n_isr};
		if (in->n_isr)
			memcpy(q->isr, in->isr, sizeof(int32_t) * in->n_isr);
		if (state_propose(p->st, &id, in->partition, q))
			reject_one(peer, r->number, &id, in->partition, KERR_UNKNOWN_TOPIC_ID, in->leader_epoch, in->partition_epoch);
	}
}
