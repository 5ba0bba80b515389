/* test_net.c: brokerd/net over a fake of the seam, in which the test itself is the kernel: it decides which bytes arrive when, and sees
 * every byte that leaves. One loop's calls run at once; nothing waits.
 */
#include <stdlib.h>
#include <string.h>

#include "brokerd/net/net.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/env/env_backend.h"
#include "tests/unit/unit.h"

/* ---- the fake ---- */

struct fake_conn {
	struct conn c;
	struct list link;
	struct str in;       /* sent by the peer, not yet read */
	size_t in_pos;
	struct str out;      /* what the peer got */
	bool paused, closed, shutdown, gone;
	bool unread;         /* the peer does not read: what is sent stays queued */
	size_t piece;        /* bytes per read at most; 0 = as many as fit */
	uint8_t *read_end;   /* where the last read ended */
	uint32_t new_places; /* reads that did not go on where the one before ended */
	struct loop *move_to;
	void (*arrived)(struct conn *c, void *ctx);
};

static struct logger fake_log = {.min_level = LOG_ERROR};
static int64_t fake_now_us;
static struct list fake_conns, fake_timers;
static void (*accept_fn)(struct listener *ln, struct conn *c, void *ctx);
static struct listener *accept_ln[2];
static int listeners;

struct fake_timer {
	struct timer *t;
	struct list link;
};

static int64_t fake_loop_now(struct loop *l) { return fake_now_us; }

static void fake_timer_stop(struct timer *t)
{
	LIST_FOR_SAFE(it, tmp, &fake_timers) {
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
	t->due_us = fake_now_us + (delay_us > 0 ? delay_us : 1);
	list_push_back(&fake_timers, &ft->link);
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
static struct loop loops[2] = {{.env = &fake_env, .idx = 0, .name = "data-0"}, {.env = &fake_env, .idx = 1, .name = "data-1"}};

/* Lets time pass and runs what is due. */
static void fake_sleep_ms(int64_t ms)
{
	int64_t end = fake_now_us + ms * 1000;
	for (;;) {
		struct fake_timer *first = NULL;
		LIST_FOR(it, &fake_timers) {
			struct fake_timer *ft = LIST_ENTRY(it, struct fake_timer, link);
			if (ft->t->due_us <= end && (!first || ft->t->due_us < first->t->due_us))
				first = ft;
		}
		if (!first)
			break;
		struct timer *t = first->t;
		fake_now_us = t->due_us;
		fake_timer_stop(t);
		loop_set_current(t->loop);
		t->fn(t->ctx);
	}
	fake_now_us = end;
	loop_set_current(&loops[0]);
}

/* The kernel offers what has arrived; true if anything was taken. */
static bool pump(struct fake_conn *f)
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
	loop_set_current(&loops[0]);
	return any;
}

static void pump_all(void)
{
	for (bool any = true; any;) {
		any = false;
		LIST_FOR(it, &fake_conns)
			any |= pump(LIST_ENTRY(it, struct fake_conn, link));
	}
}

static struct fake_conn *fake_connect(int loop)
{
	struct fake_conn *f = MEM_NEW(struct fake_conn);
	f->c.loop = &loops[loop];
	list_init(&f->link);
	list_push_back(&fake_conns, &f->link);
	strcpy(f->c.peer, "10.1.2.3");
	loop_set_current(&loops[loop]);
	accept_fn(accept_ln[loop], &f->c, accept_ln[loop]->ctx);
	loop_set_current(&loops[0]);
	return f;
}

/* The peer goes away. */
static void fake_peer_closes(struct fake_conn *f)
{
	CU_ASSERT_FALSE_FATAL(f->closed);
	f->closed = f->gone = true;
	loop_set_current(f->c.loop);
	f->c.handler->on_closed(&f->c, f->c.ctx, ERR_RESET);
	loop_set_current(&loops[0]);
}

static void peer_sends(struct fake_conn *f, const void *bytes, size_t len) { str_add_bytes(&f->in, bytes, len); }

static void frame_add(struct str *s, const void *body, size_t len)
{
	uint8_t size[4];
	be32_put(size, (uint32_t)len);
	str_add_bytes(s, size, 4);
	str_add_bytes(s, body, len);
}

/* ---- the handler under test's user: answers frames by what their first byte says ---- */

enum { ECHO = 'e', KEEP = 'k', CLOSE = 'c', MOVE = 'm', HOLD = 'h', ORDERED = 'o' /* kind, bits of kinds not beside it: kept */ };

#define KEPT_MAX 4096
static struct net_request *kept[KEPT_MAX];
static int kept_count, handed_out, gone_calls;
static struct net_loop *nets[2];
static struct str seen; /* all frames, in the order in which they were handed out */
static int seen_on_loop[2];

static void echo(struct net_request *r)
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
	gone_calls++;
}

static enum net_verdict on_request(void *ctx, struct net_request *r)
{
	struct net_loop **n = ctx;
	uint8_t what = r->frame.len ? r->frame.ptr[0] : ECHO;
	if (what == MOVE && *n == nets[0]) {
		net_request_set_target(r, 1);
		return NET_MOVE;
	}
	if (what == ORDERED && !net_may_start(r, r->frame.ptr[1], r->frame.ptr[2]))
		return NET_LATER;
	handed_out++;
	seen_on_loop[n - nets]++;
	str_add_bytes(&seen, r->frame.ptr, r->frame.len);
	switch (what) {
	case KEEP:
	case HOLD:
	case ORDERED:
		r->on_gone = on_gone;
		CU_ASSERT_FATAL(kept_count < KEPT_MAX);
		kept[kept_count++] = r;
		if (what == HOLD)
			net_hold(r);
		return NET_TAKEN;
	case CLOSE:
		return NET_CLOSE;
	default:
		echo(r);
		return NET_TAKEN;
	}
}

static struct net_limits *limits;

static void setup(const struct net_config *given)
{
	struct net_config shared = *given, *cfg = &shared;
	cfg->limits = limits = net_limits_new();
	list_init(&fake_conns);
	list_init(&fake_timers);
	fake_now_us = 1000000;
	listeners = kept_count = handed_out = gone_calls = 0;
	seen_on_loop[0] = seen_on_loop[1] = 0;
	str_init(&seen);
	for (int i = 0; i < 2; i++) {
		uint16_t port;
		loop_set_current(&loops[i]);
		nets[i] = net_loop_new(&loops[i], (uint32_t)i, cfg, on_request, &nets[i]);
		net_loop_set_peers(nets[i], nets, 2);
		CU_ASSERT_EQUAL_FATAL(net_listen(nets[i], "PLAINTEXT", "127.0.0.1", 0, 10, &port), 0);
		CU_ASSERT_EQUAL(port, 9092);
	}
	loop_set_current(&loops[0]);
}

static void teardown(void)
{
	for (int i = 0; i < 2; i++) {
		loop_set_current(&loops[i]);
		net_stop_listening(nets[i]);
		net_close_all(nets[i]);
	}
	/* what is in flight must be answered even so; nothing may be sent any more */
	for (int i = 0; i < kept_count; i++)
		if (kept[i])
			net_answer_none(kept[i]);
	for (int i = 0; i < 2; i++) {
		loop_set_current(&loops[i]);
		CU_ASSERT_EQUAL(net_loop_stats(nets[i])->connections, 0);
		net_loop_free(nets[i]);
	}
	CU_ASSERT_EQUAL(net_limits_total(limits), 0);
	net_limits_free(limits);
	struct list *it;
	while ((it = list_pop_front(&fake_conns))) {
		struct fake_conn *f = LIST_ENTRY(it, struct fake_conn, link);
		CU_ASSERT(f->closed);
		str_fini(&f->in);
		str_fini(&f->out);
		mem_free(f);
	}
	CU_ASSERT(list_empty(&fake_timers));
	str_fini(&seen);
	loop_set_current(NULL);
}

static struct net_config usual(void)
{
	return (struct net_config){.frame_bytes_max = 100 << 20, .idle_max_ms = 600000, .inflight_max = 1000,
		.receive_bytes_max = 64 << 20, .connections_max = 1000, .request_arena_max = 1 << 20};
}

static struct net_request *take(int i)
{
	struct net_request *r = kept[i];
	kept[i] = NULL;
	return r;
}

static bool got(const struct fake_conn *f, const struct str *want)
{
	return f->out.len == want->len && (want->len == 0 || memcmp(f->out.ptr, want->ptr, want->len) == 0);
}

static void fill(uint8_t *p, size_t len, uint8_t first, unsigned salt)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + salt * 7 + (i >> 8));
	if (len)
		p[0] = first;
}

/* ---- cases ---- */

/* Five frames, the empty one included, cut in two at every byte: same frames, same answers. */
static void test_split_at_every_byte(void)
{
	static const size_t sizes[] = {1, 17, 0, 100, 4};
	struct str all;
	uint8_t body[128];
	str_init(&all);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fill(body, sizes[i], ECHO, (unsigned)i);
		frame_add(&all, body, sizes[i]);
	}
	for (size_t cut = 0; cut <= all.len; cut++) {
		struct net_config cfg = usual();
		setup(&cfg);
		struct fake_conn *f = fake_connect(0);
		peer_sends(f, all.ptr, cut);
		pump_all();
		peer_sends(f, all.ptr + cut, all.len - cut);
		pump_all();
		CU_ASSERT_EQUAL(handed_out, (int)ARRAY_LEN(sizes));
		CU_ASSERT(got(f, &all));
		CU_ASSERT_FALSE(f->closed);
		teardown();
	}
	str_fini(&all);
}

static void test_byte_by_byte(void)
{
	struct net_config cfg = usual();
	struct str all;
	uint8_t body[3000];
	setup(&cfg);
	str_init(&all);
	for (unsigned i = 0; i < 40; i++) {
		fill(body, 1 + i * 70, ECHO, i);
		frame_add(&all, body, 1 + i * 70);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 1;
	peer_sends(f, all.ptr, all.len);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 40);
	CU_ASSERT(got(f, &all));
	str_fini(&all);
	teardown();
}

/* 500 pipelined requests answered in reverse leave in the order in which they came. */
static void test_answers_in_order(void)
{
	struct net_config cfg = usual();
	struct str all;
	setup(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 500; i++) {
		uint8_t body[5] = {KEEP};
		be32_put(body + 1, i);
		frame_add(&all, body, 5);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 777;
	peer_sends(f, all.ptr, all.len);
	pump_all();
	CU_ASSERT_EQUAL_FATAL(kept_count, 500);
	for (int i = 499; i > 0; i--) {
		echo(take(i));
		CU_ASSERT_EQUAL(f->out.len, 0);
	}
	echo(take(0));
	pump_all();
	CU_ASSERT(got(f, &all));
	str_fini(&all);
	teardown();
}

/* Sizes that no frame may have close the connection, and take no memory. */
static void test_bad_sizes(void)
{
	static const uint32_t sizes[] = {0x7fffffff, 0x80000000, 0xffffffff, (100u << 20) + 1, 0x47455420 /* "GET " */};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct net_config cfg = usual();
		uint8_t b[64] = {0};
		setup(&cfg);
		struct fake_conn *f = fake_connect(0), *other = fake_connect(0);
		be32_put(b, sizes[i]);
		peer_sends(f, b, sizeof(b));
		pump_all();
		CU_ASSERT(f->closed);
		CU_ASSERT_EQUAL(f->out.len, 0);
		CU_ASSERT_EQUAL(handed_out, 0);
		struct str ok;
		str_init(&ok);
		frame_add(&ok, "e", 1);
		peer_sends(other, ok.ptr, ok.len);
		pump_all();
		CU_ASSERT(got(other, &ok));
		str_fini(&ok);
		teardown();
	}
}

#define SLAB_MAX (140 * 1024)

/* A promise of 100 MB of which little arrives holds little. */
static void test_promise_takes_no_memory(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	for (int i = 0; i < 500; i++) {
		uint8_t b[100] = {0};
		struct fake_conn *f = fake_connect(0);
		be32_put(b, 100 << 20);
		peer_sends(f, b, sizeof(b));
	}
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 0);
	/* 500 times the first 64 KiB at most, and the slab */
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes <= 500 * 65536 + SLAB_MAX);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->connections, 500);
	teardown();
}

/* Silent connections hold no receive memory at all. */
static void test_silent_costs_nothing(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	for (int i = 0; i < 900; i++) {
		struct fake_conn *f = fake_connect(0);
		struct str ok;
		str_init(&ok);
		frame_add(&ok, "e", 1);
		peer_sends(f, ok.ptr, ok.len); /* spoke once */
		str_fini(&ok);
	}
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 900);
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes > 0);
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes <= SLAB_MAX);
	teardown();
}

static void test_inflight_bound(void)
{
	struct net_config cfg = usual();
	struct str all;
	cfg.inflight_max = 5;
	setup(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 100; i++) {
		uint8_t body[200] = {KEEP};
		be32_put(body + 1, i);
		frame_add(&all, body, sizeof(body));
	}
	struct fake_conn *f = fake_connect(0);
	peer_sends(f, all.ptr, all.len);
	pump_all();
	CU_ASSERT_EQUAL(kept_count, 5);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_FATAL(kept_count > i);
		CU_ASSERT(kept_count <= i + 5);
		echo(take(i));
		pump_all();
	}
	CU_ASSERT_EQUAL(kept_count, 100);
	CU_ASSERT(got(f, &all));
	str_fini(&all);
	teardown();
}

/* A peer that asks on and reads nothing: its answers do not pile up, its requests wait; once it reads it gets them all, in order. */
static void test_answers_not_read(void)
{
	struct net_config cfg = usual();
	struct str all;
	setup(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 500; i++) {
		uint8_t body[9000] = {ECHO};
		be32_put(body + 1, i);
		frame_add(&all, body, sizeof(body));
	}
	struct fake_conn *f = fake_connect(0);
	f->unread = true;
	peer_sends(f, all.ptr, all.len);
	pump_all();
	CU_ASSERT(handed_out > 0);
	size_t most = 0;
	for (int i = 0; i < 500 && !got(f, &all); i++) {
		most = f->c.queued > most ? f->c.queued : most;
		f->c.queued = 0;
		f->c.handler->on_sent(&f->c, f->c.ctx, 0);
		pump_all();
	}
	CU_ASSERT(most < 512 * 1024);
	CU_ASSERT(got(f, &all));
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes < 1 << 20);
	str_fini(&all);
	teardown();
}

/* Large frames in small reads: equal bytes, memory given back, and not copied again with every read. */
static void test_large_frames(void)
{
	struct net_config cfg = usual();
	struct str all;
	size_t len = 4 << 20;
	uint8_t *body = mem_alloc(len);
	setup(&cfg);
	str_init(&all);
	for (unsigned i = 0; i < 3; i++) {
		fill(body, len - i, ECHO, i);
		frame_add(&all, body, len - i);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 4096;
	peer_sends(f, all.ptr, all.len);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 3);
	CU_ASSERT(got(f, &all));
	/* doubling from 64 KiB to 4 MiB is 7 moves for the first frame; the others are read in place */
	CU_ASSERT(f->new_places <= 16);
	frame_add(&f->in, "e", 1);
	pump_all();
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes <= SLAB_MAX);
	str_fini(&all);
	mem_free(body);
	teardown();
}

/* A request that lives on (or whoever took a reference of its buffer) keeps its bytes while others come and go. */
static void test_bytes_stay(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct buf *held[300];
	struct slice frames[300];
	struct fake_conn *f = fake_connect(0), *g = fake_connect(0);
	uint8_t body[900];
	for (unsigned i = 0; i < 300; i++) {
		struct str one;
		str_init(&one);
		fill(body, sizeof(body), KEEP, i);
		frame_add(&one, body, sizeof(body));
		peer_sends(i % 2 ? f : g, one.ptr, one.len);
		f->piece = g->piece = 1 + i * 13;
		pump_all();
		CU_ASSERT_EQUAL_FATAL(kept_count, (int)i + 1);
		held[i] = buf_ref(kept[i]->buf);
		frames[i] = kept[i]->frame;
		if (i % 3)
			net_answer_none(take((int)i));
		str_fini(&one);
	}
	for (unsigned i = 0; i < 300; i++) {
		fill(body, sizeof(body), KEEP, i);
		CU_ASSERT(slice_eq(frames[i], slice_make(body, sizeof(body))));
		buf_unref(held[i]);
	}
	teardown();
}

/* 60 connections with frames of 64 KiB, a budget for a few: never above it, and all are served in the end. */
static void test_memory_budget(void)
{
	struct net_config cfg = usual();
	uint8_t *body = mem_alloc(60000);
	struct fake_conn *f[60];
	uint64_t most = 0;
	cfg.receive_bytes_max = 512 << 10;
	setup(&cfg);
	for (unsigned i = 0; i < 60; i++) {
		f[i] = fake_connect(0);
		f[i]->piece = 1000;
		fill(body, 60000, ECHO, i);
		for (int k = 0; k < 3; k++)
			frame_add(&f[i]->in, body, 60000);
	}
	for (int round = 0; round < 2000 && handed_out < 180; round++) {
		pump_all();
		uint64_t now = net_loop_stats(nets[0])->receive_bytes;
		most = now > most ? now : most;
		fake_sleep_ms(20);
	}
	CU_ASSERT_EQUAL(handed_out, 180);
	for (unsigned i = 0; i < 60; i++)
		CU_ASSERT(f[i]->closed || got(f[i], &f[i]->in));
	CU_ASSERT(most > 0 && most <= (512 << 10) + 60 * 4096);
	mem_free(body);
	teardown();
}

static void test_answer_none_keeps_order(void)
{
	struct net_config cfg = usual();
	struct str want;
	setup(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	for (char i = 0; i < 10; i++) {
		char body[2] = {KEEP, i};
		frame_add(&f->in, body, 2);
		if (i % 2)
			frame_add(&want, body, 2);
	}
	pump_all();
	CU_ASSERT_EQUAL_FATAL(kept_count, 10);
	for (int i = 9; i >= 0; i--) {
		if (i % 2)
			echo(take(i));
		else
			net_answer_none(take(i));
	}
	CU_ASSERT(got(f, &want));
	str_fini(&want);
	teardown();
}

/* NET_CLOSE: no answer to it, nothing after it is read, but what came before is still answered. */
static void test_close_after_earlier_answers(void)
{
	struct net_config cfg = usual();
	struct str want;
	setup(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, "k1", 2);
	frame_add(&f->in, "k2", 2);
	frame_add(&f->in, "c3", 2);
	frame_add(&f->in, "e4", 2);
	frame_add(&want, "k1", 2);
	frame_add(&want, "k2", 2);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 3);
	CU_ASSERT_FALSE(f->closed);
	echo(take(1));
	echo(take(0));
	pump_all();
	CU_ASSERT(got(f, &want));
	CU_ASSERT(f->closed && f->gone);
	CU_ASSERT_EQUAL(handed_out, 3);
	str_fini(&want);
	teardown();
}

static void test_close_at_once(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, "c", 1);
	frame_add(&f->in, "e", 1);
	pump_all();
	CU_ASSERT(f->closed);
	CU_ASSERT_EQUAL(f->out.len, 0);
	CU_ASSERT_EQUAL(handed_out, 1);
	teardown();
}

/* net_answer_close in the middle: earlier answers leave, later ones are dropped. */
static void test_answer_close(void)
{
	struct net_config cfg = usual();
	struct str want;
	setup(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	for (char i = 0; i < 4; i++) {
		char body[2] = {KEEP, i};
		frame_add(&f->in, body, 2);
		if (i < 2)
			frame_add(&want, body, 2);
	}
	pump_all();
	echo(take(3));
	net_answer_close(take(2));
	echo(take(1));
	CU_ASSERT_EQUAL(f->out.len, 0);
	echo(take(0));
	pump_all();
	CU_ASSERT(got(f, &want));
	CU_ASSERT(f->closed);
	str_fini(&want);
	teardown();
}

/* The peer goes while requests are in flight: each is told once, its answer is accepted and goes nowhere. */
static void test_peer_gone(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f = fake_connect(0);
	for (int i = 0; i < 5; i++)
		frame_add(&f->in, "k", 1);
	pump_all();
	CU_ASSERT_EQUAL_FATAL(kept_count, 5);
	echo(take(2));
	fake_peer_closes(f);
	CU_ASSERT_EQUAL(gone_calls, 4);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->connections, 0);
	CU_ASSERT_STRING_EQUAL(net_request_peer(kept[0]), "");
	*net_conn_word(kept[0]) = 7; /* goes nowhere */
	echo(take(0));
	net_answer_close(take(1));
	net_answer_none(take(3));
	CU_ASSERT_EQUAL(f->out.len, 0);
	teardown();
}

/* The broker stops: answers that were given leave before the connection ends, whatever waits behind them. */
static void test_shut_all(void)
{
	struct net_config cfg = usual();
	struct str want;
	setup(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0), *silent = fake_connect(0);
	for (int i = 0; i < 3; i++)
		frame_add(&f->in, "k", 1);
	frame_add(&want, "k", 1);
	pump_all();
	echo(take(0));
	echo(take(2));
	frame_add(&f->in, "e", 1);
	net_shut_all(nets[0]);
	CU_ASSERT(f->shutdown && !f->closed && silent->shutdown && !silent->closed);
	CU_ASSERT_EQUAL(gone_calls, 1);
	echo(take(1)); /* too late */
	net_shut_all(nets[0]);
	pump_all();
	CU_ASSERT(got(f, &want));
	CU_ASSERT(f->gone && silent->gone);
	CU_ASSERT_EQUAL(handed_out, 3);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->connections, 0);
	str_fini(&want);
	teardown();
}

static void test_hold_and_release(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, "h1", 2);
	frame_add(&f->in, "e2", 2);
	frame_add(&f->in, "h3", 2);
	frame_add(&f->in, "e4", 2);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 1);
	struct net_conn *c = kept[0]->conn;
	net_release(nets[0], c);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 3); /* the second one waits for the first one's answer to leave, not to be served */
	net_release(nets[0], c);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 4);
	CU_ASSERT_EQUAL(f->out.len, 0);
	echo(take(0));
	echo(take(1));
	CU_ASSERT(got(f, &f->in));
	teardown();
}

/* Kinds as the API's: 1 may run beside 1 and 2, 2 only beside 2, 3 waits for 1 and nobody waits for it. */
#define FRAME_1 "o\1\0"
#define FRAME_2 "o\2\2"
#define FRAME_3 "o\3\2"

static void test_order_of_kinds(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, FRAME_1, 3);
	frame_add(&f->in, FRAME_1, 3);
	frame_add(&f->in, FRAME_2, 3);
	frame_add(&f->in, "e", 1);
	frame_add(&f->in, FRAME_1, 3);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 2); /* what is behind the one that waits waits, too */
	echo(take(1));
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 2);
	echo(take(0));
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 5);
	echo(take(3));
	echo(take(2));
	CU_ASSERT(got(f, &f->in));
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->requests, 5);
	teardown();
}

/* What is waited for ends when it is answered, not when its answer leaves: one in front of it may take longer. No answer is an answer. */
static void test_order_behind_a_slow_one(void)
{
	struct net_config cfg = usual();
	struct str want;
	setup(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, FRAME_3, 3);
	frame_add(&f->in, FRAME_1, 3);
	frame_add(&f->in, FRAME_2, 3);
	frame_add(&want, FRAME_3, 3);
	frame_add(&want, FRAME_2, 3);
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 2);
	net_answer_none(take(1));
	pump_all();
	CU_ASSERT_EQUAL_FATAL(handed_out, 3);
	CU_ASSERT_EQUAL(f->out.len, 0);
	echo(take(2));
	CU_ASSERT_EQUAL(f->out.len, 0);
	echo(take(0));
	CU_ASSERT(got(f, &want));
	str_fini(&want);
	teardown();
}

/* A connection that ends, by us or by the peer, drops what waits; one that waits is not read any further. */
static void test_order_and_ends(void)
{
	static uint8_t lot[1 << 20];
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f[2];
	for (int i = 0; i < 2; i++) {
		f[i] = fake_connect(0);
		frame_add(&f[i]->in, FRAME_1, 3);
		frame_add(&f[i]->in, FRAME_2, 3);
		for (int k = 0; k < 8; k++)
			frame_add(&f[i]->in, lot, sizeof(lot));
	}
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 2);
	CU_ASSERT(f[0]->in_pos < 1 << 20);
	CU_ASSERT(net_loop_stats(nets[0])->receive_bytes < 1 << 20);
	net_answer_close(take(0));
	fake_peer_closes(f[1]);
	net_answer_none(take(1));
	pump_all();
	CU_ASSERT_EQUAL(handed_out, 2);
	CU_ASSERT(f[0]->closed && f[1]->closed);
	teardown();
}

/* Any mixture, any order of answers, any pieces: never beside what they exclude, all served, answers in order. */
static void test_order_any(void)
{
	static const uint8_t not_beside[5] = {0, 1 << 4, 1 << 1 | 1 << 4, 1 << 1 | 1 << 4, 1 << 1 | 1 << 2 | 1 << 4};
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct net_config cfg = usual();
		setup(&cfg);
		srand(seed);
		struct fake_conn *f = fake_connect(0);
		for (int i = 0; i < 300; i++) {
			uint8_t body[600] = {ORDERED};
			body[1] = (uint8_t)(rand() % (seed % 3 ? 5 : 3));
			body[2] = not_beside[body[1]];
			frame_add(&f->in, body, 3 + (size_t)(rand() % 500));
		}
		f->piece = seed % 4 ? (size_t)(1 + rand() % 3000) : 0;
		int checked = 0;
		for (int answered = 0; answered < 300; answered++) {
			pump_all();
			for (; checked < kept_count; checked++)
				for (int i = 0; i < checked; i++)
					CU_ASSERT_FALSE(kept[i] && kept[checked]->frame.ptr[2] & 1u << kept[i]->frame.ptr[1]);
			int open[KEPT_MAX], n = 0;
			for (int i = 0; i < kept_count; i++)
				if (kept[i])
					open[n++] = i;
			CU_ASSERT_FATAL(n > 0);
			echo(take(open[rand() % n]));
		}
		CU_ASSERT_EQUAL(handed_out, 300);
		CU_ASSERT(got(f, &f->in));
		teardown();
	}
}

/* A connection that moves is served there from the request on that moved it, in order, with its word. */
static void test_move(void)
{
	for (size_t piece = 1; piece < 12; piece++) {
		struct net_config cfg = usual();
		setup(&cfg);
		struct fake_conn *f = fake_connect(0);
		f->piece = piece;
		frame_add(&f->in, "e1", 2);
		frame_add(&f->in, "m2", 2);
		frame_add(&f->in, "e3", 2);
		frame_add(&f->in, "k4", 2);
		frame_add(&f->in, "e5", 2);
		pump_all();
		CU_ASSERT_EQUAL(seen_on_loop[0], 1);
		CU_ASSERT_EQUAL(seen_on_loop[1], 4);
		CU_ASSERT(seen.len == 10 && !memcmp(seen.ptr, "e1m2e3k4e5", 10));
		CU_ASSERT_EQUAL(net_loop_stats(nets[0])->connections, 0);
		CU_ASSERT_EQUAL(net_loop_stats(nets[1])->connections, 1);
		CU_ASSERT_STRING_EQUAL(net_request_peer(kept[0]), "10.1.2.3");
		loop_set_current(&loops[1]);
		echo(take(0));
		loop_set_current(&loops[0]);
		pump_all();
		CU_ASSERT(got(f, &f->in));
		teardown();
	}
}

/* A connection that still has answers due cannot change its loop: it is closed, whatever it asks for. */
static void test_no_move_in_flight(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *f = fake_connect(0);
	frame_add(&f->in, "k1", 2);
	frame_add(&f->in, "m2", 2);
	pump_all();
	CU_ASSERT(f->closed);
	CU_ASSERT_EQUAL(seen_on_loop[1], 0);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->connections, 0);
	CU_ASSERT_EQUAL(net_loop_stats(nets[1])->connections, 0);
	CU_ASSERT_EQUAL_FATAL(kept_count, 1);
	echo(take(0));
	pump_all();
	CU_ASSERT_EQUAL(f->out.len, 0);
	teardown();
}

static void test_idle(void)
{
	struct net_config cfg = usual();
	cfg.idle_max_ms = 5000;
	setup(&cfg);
	struct fake_conn *silent = fake_connect(0), *waiting = fake_connect(0), *active = fake_connect(0);
	frame_add(&waiting->in, "k", 1);
	pump_all();
	for (int i = 0; i < 10; i++) {
		fake_sleep_ms(1000);
		frame_add(&active->in, "e", 1);
		pump_all();
	}
	CU_ASSERT(silent->closed);
	CU_ASSERT_FALSE(waiting->closed);
	CU_ASSERT_FALSE(active->closed);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->closed_idle, 1);
	teardown();
}

static void test_too_many_connections(void)
{
	struct net_config cfg = usual();
	cfg.connections_max = 3;
	setup(&cfg);
	struct fake_conn *f[4];
	for (int i = 0; i < 4; i++)
		f[i] = fake_connect(0);
	CU_ASSERT_FALSE(f[2]->closed);
	CU_ASSERT(f[3]->closed);
	CU_ASSERT_EQUAL(net_loop_stats(nets[0])->refused, 1);
	fake_peer_closes(f[0]);
	struct fake_conn *again = fake_connect(0);
	CU_ASSERT_FALSE(again->closed);
	teardown();
}

/* Over all loops, by address, with exceptions; what is over a limit leaves no trace. */
static void test_limits(void)
{
	struct net_ip_limit over[] = {{net_address_hash("10.0.0.9"), 3}, {net_address_hash("::1"), 0}};
	struct net_limit_values v = {.total = 6, .per_ip = 2, .overrides = over, .override_count = 2};
	struct net_limits *l = net_limits_new();
	uint32_t place[8], extra;
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[0]));
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[1]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.1", false, &extra));
	for (int i = 2; i < 5; i++)
		CU_ASSERT(net_limits_enter(l, &v, "10.0.0.9", false, &place[i]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.9", false, &extra));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "::1", false, &extra));
	CU_ASSERT_EQUAL(net_limits_total(l), 5);
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.2", false, &place[5]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.3", false, &extra)); /* six in all */
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.3", true, &place[6]));      /* a broker */
	net_limits_leave(l, place[0]);
	net_limits_leave(l, place[6]);
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[0]));
	for (int i = 0; i < 6; i++)
		net_limits_leave(l, place[i]);
	CU_ASSERT_EQUAL(net_limits_total(l), 0);
	v.total = UINT32_MAX;
	v.per_ip = 1; /* more addresses than there are places: nobody is mistaken for another one */
	for (int i = 0; i < 40000; i++) {
		char address[24];
		snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		CU_ASSERT(net_limits_enter(l, &v, address, false, &extra));
	}
	CU_ASSERT_EQUAL(net_limits_total(l), 40000);
	net_limits_free(l);
}

static void test_limits_change(void)
{
	struct net_config cfg = usual();
	setup(&cfg);
	struct fake_conn *a = fake_connect(0), *b = fake_connect(1);
	struct net_limit_values v = {.total = 2, .per_ip = 100};
	net_loop_limit(nets[0], &v);
	CU_ASSERT(fake_connect(0)->closed); /* both loops' connections count */
	CU_ASSERT_FALSE(a->closed || b->closed); /* who is there stays */
	v = (struct net_limit_values){.total = 100, .per_ip = 2};
	net_loop_limit(nets[0], &v);
	CU_ASSERT(fake_connect(0)->closed);
	fake_peer_closes(b);
	CU_ASSERT_FALSE(fake_connect(0)->closed);
	teardown();
}

UNIT_MAIN("net", {"split_at_every_byte", test_split_at_every_byte}, {"byte_by_byte", test_byte_by_byte},
	{"answers_in_order", test_answers_in_order}, {"bad_sizes", test_bad_sizes}, {"promise_takes_no_memory", test_promise_takes_no_memory},
	{"silent_costs_nothing", test_silent_costs_nothing}, {"inflight_bound", test_inflight_bound},
	{"answers_not_read", test_answers_not_read}, {"large_frames", test_large_frames},
	{"bytes_stay", test_bytes_stay}, {"memory_budget", test_memory_budget}, {"answer_none_keeps_order", test_answer_none_keeps_order},
	{"close_after_earlier_answers", test_close_after_earlier_answers}, {"close_at_once", test_close_at_once},
	{"answer_close", test_answer_close}, {"peer_gone", test_peer_gone}, {"shut_all", test_shut_all}, {"hold_and_release", test_hold_and_release}, {"move", test_move},
	{"no_move_in_flight", test_no_move_in_flight}, {"order_of_kinds", test_order_of_kinds},
	{"order_behind_a_slow_one", test_order_behind_a_slow_one}, {"order_and_ends", test_order_and_ends}, {"order_any", test_order_any}, {"limits", test_limits}, {"limits_change", test_limits_change},
	{"idle", test_idle}, {"too_many_connections", test_too_many_connections})
