/* admin.c: clients' admin requests that brokers forward: dispatch, waiting, answers. See push.h and admin_priv.h.
 *
 * A forwarded request is the client's own, header included, authorized at the broker; it is answered once, with the body of the response.
 * Who waits for something to become true is asked again at each publication; answers wait for rights (C5).
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "controllerd/push/admin_priv.h"

enum { ARENA_MAX = 256 << 20, PLAN_US = 500, PLAN_ROWS = 200, WRITES_MS = 1000 };

static const struct admin_call *const calls[] = {
	&admin_alter_configs, &admin_incremental_alter_configs, &admin_create_partitions, &admin_create_topics, &admin_delete_topics, &admin_elect_leaders,
	&admin_list_partition_reassignments,
};

struct push_pending *admin_pending_new(struct push_peer *peer, const struct admin_call *call, uint64_t number)
{
	struct push_pending *q = MEM_NEW(struct push_pending);
	q->push = peer->push;
	q->call = call;
	q->peer = peer->number;
	q->number = number;
	q->deadline_us = INT64_MAX;
	arena_init(&q->arena, ARENA_MAX);
	list_init(&q->link);
	list_init(&q->planning);
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

void admin_timeout(struct push_pending *q, int32_t timeout_ms)
{
	q->deadline_us = env_now_us(q->push->env) + (int64_t)timeout_ms * 1000;
}

bool admin_written(struct push_pending *q)
{
	q->writing--;
	if (!q->dead)
		return true;
	if (q->writing == 0)
		pending_free(q);
	return false;
}

struct slice admin_text(struct push_pending *q, const struct str *s)
{
	return s->len ? slice_make(arena_strndup(&q->arena, s->ptr, s->len), s->len) : (struct slice){NULL, 0};
}

struct named { struct slice name; int32_t at; };

static int by_name(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	int d = slice_cmp(a->name, b->name);
	return d ? d : a->at < b->at ? -1 : a->at > b->at;
}

const int32_t *admin_first_named(struct push_pending *q, const struct slice *names, int32_t count)
{
	struct named *sorted = ARENA_ARRAY(&q->arena, struct named, (size_t)count + 1);
	int32_t *first = ARENA_ARRAY(&q->arena, int32_t, (size_t)count + 1);
	for (int32_t i = 0; i < count; i++)
		sorted[i] = (struct named){names[i], i};
	if (count > 0)
		qsort(sorted, (size_t)count, sizeof(*sorted), by_name);
	for (int32_t i = 0; i < count; i++)
		first[sorted[i].at] = i > 0 && slice_eq(sorted[i].name, sorted[i - 1].name) ? first[sorted[i - 1].at] : sorted[i].at;
	return first;
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

static void answer(struct push_pending *q, int16_t error)
{
	if (q->call->answer) {
		q->call->answer(q, error);
	} else if (error) {
		forward_reply(q->push, q->peer, q->number, error, NULL);
	} else {
		struct chain body;
		chain_init(&body);
		wire_encode(wire_api_find(q->call->key)->response, q->version, q->response, &body);
		forward_reply(q->push, q->peer, q->number, KERR_NONE, &body);
		chain_clear(&body);
	}
	pending_free(q);
}

/* Some rows of a request; true when all of them are planned. In sim no time goes by within a turn: the number bounds it. */
static bool plan_some(struct push_pending *q)
{
	struct env *env = q->push->env;
	int64_t began = env_now_us(env);
	for (int32_t n = 0; q->planned < q->rows && n < PLAN_ROWS; n++) {
		q->call->plan(q, q->planned++);
		if (env_now_us(env) - began >= PLAN_US)
			break;
	}
	return q->planned == q->rows;
}

static void planning_over(struct push_pending *q)
{
	struct push *p = q->push;
	list_remove(&q->planning);
	if (admin_written(q))
		ring_changed(p);
}

/* The one that has waited longest, then behind the others. */
static void on_plan_turn(void *ctx)
{
	struct push *p = ctx;
	struct list *n = list_pop_front(&p->planning);
	if (!n)
		return;
	struct push_pending *q = LIST_ENTRY(n, struct push_pending, planning);
	list_push_back(&p->planning, n);
	if (plan_some(q))
		planning_over(q);
	if (!list_empty(&p->planning))
		timer_set_us(&p->plan_turn, 0);
}

static void plan_begin(struct push_pending *q)
{
	struct push *p = q->push;
	if (!q->call->plan)
		return;
	q->writing++;
	list_push_back(&p->planning, &q->planning);
	if (plan_some(q))
		planning_over(q);
	else if (!timer_armed(&p->plan_turn))
		timer_set_us(&p->plan_turn, 0);
}

void admin_begin(struct push *p)
{
	list_init(&p->pending);
	list_init(&p->planning);
	timer_init(&p->plan_turn, p->loop, on_plan_turn, p);
}

/* A timeout bounds the wait for what follows from a request; what it asks for is written before it is answered, as in Kafka, whose writes to ZooKeeper nobody
 * can time out: with a timeout of 0, too, a client may go on with the topic that it made. A ZooKeeper that is slow is not waited for (the broker has a patience of 2 s). */
static bool is_late(const struct push_pending *q, int64_t now)
{
	int64_t more = q->writing > 0 || q->undecided > 0 ? (int64_t)WRITES_MS * 1000 : 0;
	return q->deadline_us != INT64_MAX && now >= q->deadline_us + more;
}

void admin_check(struct push *p)
{
	if (list_empty(&p->pending) || !push_active(p) || !elect_has_rights(p->el))
		return;
	int64_t now = env_now_us(p->env);
	LIST_FOR_SAFE(n, tmp, &p->pending) {
		struct push_pending *q = LIST_ENTRY(n, struct push_pending, link);
		if (q->call->settled ? q->call->settled(q, is_late(q, now)) : q->writing == 0)
			answer(q, KERR_NONE);
	}
}

/* The reign is over: what was asked is answered by nobody; brokers tell their clients so (protocol.md L). */
void admin_end(struct push *p)
{
	while (!list_empty(&p->pending))
		answer(LIST_ENTRY(p->pending.next, struct push_pending, link), KERR_REQUEST_TIMED_OUT);
	while (!list_empty(&p->planning))
		planning_over(LIST_ENTRY(p->planning.next, struct push_pending, planning));
	timer_stop(&p->plan_turn);
}

static const struct admin_call *call_of(int16_t key)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (calls[i]->key == key)
			return calls[i];
	return NULL;
}

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
	const struct admin_call *call = call_of(h.api_key);
	if (!call) {
		forward_reply(p, peer->number, f->number, KERR_UNSUPPORTED_VERSION, NULL);
		return;
	}
	const struct wire_api *api = wire_api_find(h.api_key);
	struct push_pending *q = admin_pending_new(peer, call, f->number);
	q->version = h.api_version;
	if (in.len) /* the decoded request points into the copy, which lives as long as the answer is owed */
		in.ptr = memcpy(arena_alloc(&q->arena, in.len), in.ptr, in.len);
	void *request = arena_zalloc(&q->arena, api->request->size);
	if (wire_decode(api->request, h.api_version, &in, &q->arena, request)) {
		forward_reply(p, peer->number, f->number, KERR_INVALID_REQUEST, NULL);
		pending_free(q);
		return;
	}
	q->arena.bytes_max = 0; /* the limit was for what the client sent */
	q->response = arena_alloc(&q->arena, api->response->size);
	wire_init(api->response, q->response);
	LOG_AT(p->env->log, LOG_INFO, "admin", api->name, "version=%d broker=%d principal=%s client=%s", h.api_version, peer->id, LOGQ(f->principal), LOGQ(f->client_host));
	q->request = request;
	call->start(q, request);
	plan_begin(q);
	ring_changed(p);
}
