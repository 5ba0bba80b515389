/* peer.c: see peer.h. An answer that does not fit (wrong correlation id, broken header, a size above the limit) ends the connection:
 * the peer is not what we think it is.
 */
#include "brokerd/replica/peer.h"

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"

#define BUDGET_RETRY_US 2000
#define VERSIONS_MAX 128 /* API keys that are remembered */

struct recv_budget {
	atomic_uint refs;
	_Atomic int64_t used;
	int64_t max;
};

struct peer {
	struct loop *loop;
	struct conn *conn;
	struct peer_events ev;
	void *ctx;
	const char *client_id, *software_version;
	uint32_t frame_bytes_max;
	struct recv_budget *budget;
	struct list requests;      /* in the order sent */
	struct timer timer;        /* connect, then the first request's end */
	struct timer budget_timer;
	int64_t ready_due_us;
	int32_t next_correlation_id;
	bool ready, dead;
	int busy;                  /* inside a callback: freeing waits */
	uint8_t size_bytes[4];
	size_t size_got;
	struct buf *frame;
	size_t frame_len, frame_got;
	struct peer_request hello;
	int16_t max_versions[VERSIONS_MAX], min_versions[VERSIONS_MAX];
};

struct recv_budget *recv_budget_new(int64_t max)
{
	struct recv_budget *b = MEM_NEW(struct recv_budget);
	atomic_init(&b->refs, 1);
	b->max = max;
	return b;
}

void recv_budget_unref(struct recv_budget *b)
{
	if (b && atomic_fetch_sub(&b->refs, 1) == 1)
		mem_free(b);
}

static void budget_buf_freed(struct buf *buf, void *ctx)
{
	struct recv_budget *b = ctx;
	atomic_fetch_sub(&b->used, (int64_t)buf->cap);
	recv_budget_unref(b);
}

struct buf *recv_budget_buf(struct recv_budget *b, size_t bytes)
{
	int64_t used = atomic_load(&b->used);
	if (used > 0 && used + (int64_t)bytes > b->max)
		return NULL;
	struct buf *buf = buf_try_new(bytes);
	if (!buf)
		return NULL;
	atomic_fetch_add(&b->used, (int64_t)buf->cap);
	atomic_fetch_add(&b->refs, 1);
	buf->on_free = budget_buf_freed;
	buf->ctx = b;
	return buf;
}

/* ---- ends ---- */

static void release(struct peer *p)
{
	if (!p->dead || p->busy > 0)
		return;
	timer_stop(&p->timer);
	timer_stop(&p->budget_timer);
	buf_unref(p->frame);
	mem_free(p);
}

static void drop_conn(struct peer *p)
{
	if (p->conn)
		conn_close(p->conn);
	p->conn = NULL;
}

void peer_close(struct peer *p)
{
	if (!p || p->dead)
		return;
	p->dead = true;
	drop_conn(p);
	timer_stop(&p->timer);
	timer_stop(&p->budget_timer);
	while (list_pop_front(&p->requests))
		;
	release(p);
}

/* The connection is over: tells everybody. */
static void fail(struct peer *p, int err)
{
	if (p->dead)
		return;
	drop_conn(p);
	p->busy++;
	timer_stop(&p->timer);
	timer_stop(&p->budget_timer);
	while (!p->dead && !list_empty(&p->requests)) {
		struct peer_request *r = LIST_ENTRY(list_pop_front(&p->requests), struct peer_request, link);
		if (r != &p->hello)
			r->done(r, err, slice_make(NULL, 0), NULL);
	}
	if (!p->dead) {
		p->dead = true;
		p->ev.on_closed(p->ctx, err);
	}
	p->busy--;
	release(p);
}

static void arm(struct peer *p)
{
	int64_t now = loop_now_us(p->loop), due = 0;
	if (!p->ready)
		due = p->ready_due_us;
	else if (!list_empty(&p->requests))
		due = LIST_ENTRY(p->requests.next, struct peer_request, link)->due_us;
	if (due)
		timer_set_us(&p->timer, due > now ? due - now : 0);
	else
		timer_stop(&p->timer);
}

static void timer_fired(void *ctx)
{
	fail(ctx, ERR_TIMEOUT);
}

/* ---- requests ---- */

void peer_send(struct peer *p, struct peer_request *r, int16_t api_key, int16_t version, const void *msg, int64_t timeout_ms)
{
	struct chain out;
	ASSERT(!p->dead && p->conn);
	list_init(&r->link);
	r->api = wire_api_find(api_key);
	r->version = version;
	r->correlation_id = p->next_correlation_id++;
	r->due_us = loop_now_us(p->loop) + timeout_ms * 1000;
	chain_init(&out);
	wire_request_encode(r->api, version, r->correlation_id, slice_str(p->client_id), msg, &out);
	list_push_back(&p->requests, &r->link);
	conn_send(p->conn, &out);
	if (p->requests.next == &r->link)
		arm(p);
}

int16_t peer_version(const struct peer *p, int16_t api_key, int16_t most)
{
	const struct wire_api *api = wire_api_find(api_key);
	if (!api || api_key < 0 || api_key >= VERSIONS_MAX || p->max_versions[api_key] < 0)
		return -1;
	int16_t v = p->max_versions[api_key] < most ? p->max_versions[api_key] : most;
	return v >= p->min_versions[api_key] ? v : -1;
}

static int take_versions(struct peer *p, struct slice body)
{
	struct kp_api_versions_response resp;
	struct arena a;
	arena_init(&a, 1 << 20);
	int err = wire_decode(&kp_api_versions_response_desc, 3, &body, &a, &resp);
	if (!err && resp.error_code)
		err = ERR_UNSUPPORTED;
	for (int32_t i = 0; !err && i < resp.api_keys_count; i++) {
		int16_t key = resp.api_keys[i].api_key;
		if (key < 0 || key >= VERSIONS_MAX)
			continue;
		p->min_versions[key] = resp.api_keys[i].min_version;
		p->max_versions[key] = resp.api_keys[i].max_version;
	}
	arena_fini(&a);
	return err;
}

static void frame_complete(struct peer *p)
{
	struct buf *frame = p->frame;
	struct slice in = slice_make(frame->data, p->frame_len);
	int32_t id = 0;
	p->frame = NULL;
	p->size_got = p->frame_got = 0;
	if (list_empty(&p->requests)) {
		buf_unref(frame);
		fail(p, ERR_CORRUPT);
		return;
	}
	struct peer_request *r = LIST_ENTRY(p->requests.next, struct peer_request, link);
	int err = wire_response_header_decode(r->api, r->version, &in, &id);
	if (!err && id != r->correlation_id)
		err = ERR_CORRUPT;
	if (!err && r == &p->hello)
		err = take_versions(p, in);
	if (err) {
		buf_unref(frame);
		fail(p, err);
		return;
	}
	list_remove(&r->link);
	if (r == &p->hello) {
		p->ready = true;
		arm(p);
		p->ev.on_ready(p->ctx);
	} else {
		arm(p);
		r->done(r, 0, in, frame);
	}
	buf_unref(frame);
}

/* ---- connection ---- */

static bool take_frame_memory(struct peer *p)
{
	p->frame = p->budget ? recv_budget_buf(p->budget, p->frame_len) : buf_try_new(p->frame_len);
	return p->frame != NULL;
}

static void budget_again(void *ctx)
{
	struct peer *p = ctx;
	if (!p->dead && p->conn)
		conn_resume(p->conn);
}

static bool on_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct peer *p = ctx;
	(void)c;
	if (p->size_got < 4) {
		*ret_ptr = p->size_bytes + p->size_got;
		*ret_len = 4 - p->size_got;
		return true;
	}
	if (!p->frame && !take_frame_memory(p)) {
		timer_set_us(&p->budget_timer, BUDGET_RETRY_US);
		return false;
	}
	*ret_ptr = p->frame->data + p->frame_got;
	*ret_len = p->frame_len - p->frame_got;
	return true;
}

static void on_data(struct conn *c, void *ctx, size_t len)
{
	struct peer *p = ctx;
	(void)c;
	p->busy++;
	if (p->size_got < 4) {
		p->size_got += len;
		if (p->size_got == 4) {
			p->frame_len = be32_get(p->size_bytes);
			if (p->frame_len < 4 || p->frame_len > p->frame_bytes_max)
				fail(p, ERR_LIMIT);
		}
	} else {
		p->frame_got += len;
		if (p->frame_got == p->frame_len)
			frame_complete(p);
	}
	p->busy--;
	release(p);
}

static void on_open(struct conn *c, void *ctx)
{
	struct peer *p = ctx;
	struct kp_api_versions_request req;
	(void)c;
	kp_api_versions_request_init(&req);
	req.client_software_name = slice_str("klamm-broker");
	req.client_software_version = slice_str(p->software_version);
	peer_send(p, &p->hello, 18, 3, &req, 0);
	arm(p);
}

static void on_closed(struct conn *c, void *ctx, int err)
{
	struct peer *p = ctx;
	(void)c;
	p->conn = NULL;
	fail(p, err);
}

struct peer *peer_open(struct loop *l, const struct peer_config *cfg, const struct peer_events *ev, void *ctx)
{
	static const struct conn_handler handler = {.on_space = on_space, .on_data = on_data, .on_open = on_open, .on_closed = on_closed};
	struct peer *p = MEM_NEW(struct peer);
	p->loop = l;
	p->ev = *ev;
	p->ctx = ctx;
	p->client_id = cfg->client_id;
	p->software_version = cfg->software_version;
	p->frame_bytes_max = cfg->frame_bytes_max;
	p->budget = cfg->budget;
	list_init(&p->requests);
	list_init(&p->hello.link);
	for (int i = 0; i < VERSIONS_MAX; i++)
		p->max_versions[i] = -1;
	timer_init(&p->timer, l, timer_fired, p);
	timer_init(&p->budget_timer, l, budget_again, p);
	p->ready_due_us = loop_now_us(l) + cfg->connect_timeout_ms * 1000;
	p->conn = conn_connect(l, cfg->host, cfg->port, cfg->connect_timeout_ms, &handler, p);
	arm(p);
	return p;
}
