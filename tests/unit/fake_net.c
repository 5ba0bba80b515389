/* fake_net.c: see fake_net.h. */
#include "tests/unit/fake_net.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/unit.h"

/* ---- the fake ---- */

static struct logger fake_log = {.min_level = LOG_ERROR};
static void (*accept_fn)(struct listener *ln, struct conn *c, void *ctx);
static struct listener *accept_ln[2];
static int listeners;

struct fake_timer {
	struct timer *t;
	struct list link;
};

static int64_t fake_loop_now(struct loop *l) { return fake.now_us; }

static void fake_timer_stop(struct timer *t)
{
	LIST_FOR_SAFE(it, tmp, &fake.timers) {
		struct fake_timer *ft = LIST_ENTRY(it, struct fake_timer, link);
		if (ft->t == t) {
			list_remove(&ft->link);
			mem_free(ft);
		}
	}
	t->due_us = 0;
}

static void fake_timer_set(struct timer *t, int64_t delay_us)
{
	fake_timer_stop(t);
	struct fake_timer *ft = MEM_NEW(struct fake_timer);
	ft->t = t;
	t->due_us = fake.now_us + (delay_us > 0 ? delay_us : 1);
	list_push_back(&fake.timers, &ft->link);
}

static struct fake_conn *fake_of(struct conn *c) { return CONTAINER_OF(c, struct fake_conn, c); }

static void fake_send(struct conn *c, struct chain *chain)
{
	struct fake_conn *f = fake_of(c);
	uint8_t *bytes = mem_alloc(chain->bytes + 1);
	CU_ASSERT_FALSE(f->closed || f->shutdown);
	chain_flatten(chain, bytes);
	str_add_bytes(&f->out, bytes, chain->bytes);
	if (f->unread)
		c->queued += chain->bytes;
	mem_free(bytes);
	chain_clear(chain);
}

static void fake_resume(struct conn *c) { fake_of(c)->paused = false; }

static void fake_close(struct conn *c)
{
	CU_ASSERT_FALSE(fake_of(c)->closed);
	fake_of(c)->closed = true;
}

static void fake_shutdown(struct conn *c) { fake_of(c)->shutdown = true; }

static void fake_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx))
{
	fake_of(c)->move_to = to;
	fake_of(c)->arrived = arrived;
}

static int fake_listen(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln)
{
	struct listener *ln = MEM_NEW(struct listener);
	*ln = (struct listener){.loop = l, .port = 9092, .ctx = cfg->ctx};
	accept_fn = cfg->on_accept;
	accept_ln[listeners++ % 2] = ln;
	*ret_ln = ln;
	return 0;
}

static void fake_listener_close(struct listener *ln) { mem_free(ln); }

static const struct env_ops fake_ops = {
	.loop_now_us = fake_loop_now,
	.timer_set = fake_timer_set,
	.timer_stop = fake_timer_stop,
	.conn_send = fake_send,
	.conn_resume = fake_resume,
	.conn_close = fake_close,
	.conn_shutdown = fake_shutdown,
	.conn_move = fake_move,
	.listener_open = fake_listen,
	.listener_close = fake_listener_close,
};
static struct env fake_env = {.ops = &fake_ops, .log = &fake_log};
struct fake_net fake = {.loops = {{.env = &fake_env, .idx = 0, .name = "data-0"}, {.env = &fake_env, .idx = 1, .name = "data-1"}}};

/* Lets time pass and runs what is due. */
void fake_sleep_ms(int64_t ms)
{
	int64_t end = fake.now_us + ms * 1000;
	for (;;) {
		struct fake_timer *first = NULL;
		LIST_FOR(it, &fake.timers) {
			struct fake_timer *ft = LIST_ENTRY(it, struct fake_timer, link);
			if (ft->t->due_us <= end && (!first || ft->t->due_us < first->t->due_us))
				first = ft;
		}
		if (!first)
			break;
		struct timer *t = first->t;
		fake.now_us = t->due_us;
		fake_timer_stop(t);
		loop_set_current(t->loop);
		t->fn(t->ctx);
	}
	fake.now_us = end;
	loop_set_current(&fake.loops[0]);
}

/* The kernel offers what has arrived; true if anything was taken. */
bool fake_pump(struct fake_conn *f)
{
	bool any = false;
	while (!f->paused && !f->closed && !f->shutdown && !f->move_to && f->in_pos < f->in.len) {
		uint8_t *ptr;
		size_t len;
		loop_set_current(f->c.loop);
		if (!f->c.handler->on_space(&f->c, f->c.ctx, &ptr, &len)) {
			f->paused = true;
			break;
		}
		CU_ASSERT_FATAL(len > 0);
		size_t n = f->in.len - f->in_pos;
		if (n > len)
			n = len;
		if (f->piece && n > f->piece)
			n = f->piece;
		f->new_places += ptr != f->read_end;
		memcpy(ptr, f->in.ptr + f->in_pos, n);
		f->read_end = ptr + n;
		f->in_pos += n;
		any = true;
		f->c.handler->on_data(&f->c, f->c.ctx, n);
	}
	if (f->move_to) {
		f->c.loop = f->move_to;
		f->move_to = NULL;
		loop_set_current(f->c.loop);
		f->paused = true;
		f->arrived(&f->c, f->c.ctx);
		any = true;
	}
	if (f->shutdown && !f->closed && !f->gone) {
		f->gone = f->closed = true;
		f->c.handler->on_closed(&f->c, f->c.ctx, ERR_CLOSED);
	}
	loop_set_current(&fake.loops[0]);
	return any;
}

void fake_pump_all(void)
{
	for (bool any = true; any;) {
		any = false;
		LIST_FOR(it, &fake.conns)
			any |= fake_pump(LIST_ENTRY(it, struct fake_conn, link));
	}
}

struct fake_conn *fake_connect(int loop)
{
	struct fake_conn *f = MEM_NEW(struct fake_conn);
	f->c.loop = &fake.loops[loop];
	list_init(&f->link);
	list_push_back(&fake.conns, &f->link);
	strcpy(f->c.peer, "10.1.2.3");
	loop_set_current(&fake.loops[loop]);
	accept_fn(accept_ln[loop], &f->c, accept_ln[loop]->ctx);
	loop_set_current(&fake.loops[0]);
	return f;
}

/* The peer goes away. */
void fake_peer_closes(struct fake_conn *f)
{
	CU_ASSERT_FALSE_FATAL(f->closed);
	f->closed = f->gone = true;
	loop_set_current(f->c.loop);
	f->c.handler->on_closed(&f->c, f->c.ctx, ERR_RESET);
	loop_set_current(&fake.loops[0]);
}

void fake_peer_sends(struct fake_conn *f, const void *bytes, size_t len) { str_add_bytes(&f->in, bytes, len); }

void fake_frame_add(struct str *s, const void *body, size_t len)
{
	uint8_t size[4];
	be32_put(size, (uint32_t)len);
	str_add_bytes(s, size, 4);
	str_add_bytes(s, body, len);
}

/* ---- the handler under test's user: answers frames by what their first byte says ---- */

void fake_echo(struct net_request *r)
{
	struct chain out;
	uint8_t size[4];
	chain_init(&out);
	be32_put(size, (uint32_t)r->frame.len);
	chain_add_copy(&out, size, 4);
	chain_add_buf(&out, buf_ref(r->buf), (size_t)(r->frame.ptr - r->buf->data), r->frame.len);
	net_answer(r, &out);
}

static void on_gone(struct net_request *r)
{
	CU_ASSERT_PTR_NULL(r->conn);
	fake.gone_calls++;
}

static enum net_verdict on_request(void *ctx, struct net_request *r)
{
	struct net_loop **n = ctx;
	uint8_t what = r->frame.len ? r->frame.ptr[0] : ECHO;
	if (what == MOVE && *n == fake.nets[0]) {
		net_request_set_target(r, 1);
		return NET_MOVE;
	}
	if (what == ORDERED && !net_may_start(r, r->frame.ptr[1], r->frame.ptr[2]))
		return NET_LATER;
	fake.handed_out++;
	fake.seen_on_loop[n - fake.nets]++;
	str_add_bytes(&fake.seen, r->frame.ptr, r->frame.len);
	switch (what) {
	case KEEP:
	case HOLD:
	case ORDERED:
		r->on_gone = on_gone;
		CU_ASSERT_FATAL(fake.kept_count < KEPT_MAX);
		fake.kept[fake.kept_count++] = r;
		if (what == HOLD)
			net_hold(r);
		return NET_TAKEN;
	case CLOSE:
		return NET_CLOSE;
	default:
		fake_echo(r);
		return NET_TAKEN;
	}
}

void fake_net_begin(const struct net_config *given)
{
	struct net_config shared = *given, *cfg = &shared;
	cfg->limits = fake.limits = net_limits_new();
	list_init(&fake.conns);
	list_init(&fake.timers);
	fake.now_us = 1000000;
	listeners = fake.kept_count = fake.handed_out = fake.gone_calls = 0;
	fake.seen_on_loop[0] = fake.seen_on_loop[1] = 0;
	str_init(&fake.seen);
	for (int i = 0; i < 2; i++) {
		uint16_t port;
		loop_set_current(&fake.loops[i]);
		fake.nets[i] = net_loop_new(&fake.loops[i], (uint32_t)i, cfg, on_request, &fake.nets[i]);
		net_loop_set_peers(fake.nets[i], fake.nets, 2);
		CU_ASSERT_EQUAL_FATAL(net_listen(fake.nets[i], "PLAINTEXT", "127.0.0.1", 0, 10, &port), 0);
		CU_ASSERT_EQUAL(port, 9092);
	}
	loop_set_current(&fake.loops[0]);
}

void fake_net_end(void)
{
	for (int i = 0; i < 2; i++) {
		loop_set_current(&fake.loops[i]);
		net_stop_listening(fake.nets[i]);
		net_close_all(fake.nets[i]);
	}
	/* what is in flight must be answered even so; nothing may be sent any more */
	for (int i = 0; i < fake.kept_count; i++)
		if (fake.kept[i])
			net_answer_none(fake.kept[i]);
	for (int i = 0; i < 2; i++) {
		loop_set_current(&fake.loops[i]);
		CU_ASSERT_EQUAL(net_loop_stats(fake.nets[i])->connections, 0);
		net_loop_free(fake.nets[i]);
	}
	CU_ASSERT_EQUAL(net_limits_total(fake.limits), 0);
	net_limits_free(fake.limits);
	struct list *it;
	while ((it = list_pop_front(&fake.conns))) {
		struct fake_conn *f = LIST_ENTRY(it, struct fake_conn, link);
		CU_ASSERT(f->closed);
		str_fini(&f->in);
		str_fini(&f->out);
		mem_free(f);
	}
	CU_ASSERT(list_empty(&fake.timers));
	str_fini(&fake.seen);
	loop_set_current(NULL);
}

struct net_config fake_net_config(void)
{
	return (struct net_config){.frame_bytes_max = 100 << 20, .idle_max_ms = 600000, .inflight_max = 1000,
		.receive_bytes_max = 64 << 20, .connections_max = 1000, .request_arena_max = 1 << 20};
}

struct net_request *fake_take(int i)
{
	struct net_request *r = fake.kept[i];
	fake.kept[i] = NULL;
	return r;
}

bool fake_got(const struct fake_conn *f, const struct str *want)
{
	return f->out.len == want->len && (want->len == 0 || memcmp(f->out.ptr, want->ptr, want->len) == 0);
}

void fake_fill(uint8_t *p, size_t len, uint8_t first, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + salt * 7 + (i >> 8));
	if (len)
		p[0] = first;
}
