/* test_link.c: framing of the control link, over a fake backend whose connection is fed by the test. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/env/env_backend.h"
#include "common/link/link.h"

/* ---- a world with one loop and one connection ---- */

struct world {
	struct env env;
	struct loop loop;
	struct conn *conn;
	int64_t now_us;
	struct chain sent;
	int closes, shutdowns;
	bool opened, early_send;
};
static struct world w;

static int64_t fake_now(struct loop *l)
{
	return w.now_us;
}

static struct conn *fake_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx)
{
	struct conn *c = MEM_NEW(struct conn);
	c->loop = l;
	c->handler = h;
	c->ctx = ctx;
	snprintf(c->peer, sizeof(c->peer), "%s", host);
	w.conn = c;
	return c;
}

static void fake_send(struct conn *c, struct chain *chain)
{
	CU_ASSERT_PTR_EQUAL(c, w.conn);
	if (!w.opened)
		w.early_send = true;
	c->queued += chain->bytes;
	chain_append(&w.sent, chain);
}

static void fake_close(struct conn *c)
{
	CU_ASSERT_PTR_EQUAL(c, w.conn);
	w.closes++;
	w.conn = NULL;
	mem_free(c);
}

static void fake_shutdown(struct conn *c)
{
	w.shutdowns++;
}

static const struct env_ops fake_ops = {
	.loop_now_us = fake_now,
	.conn_connect = fake_connect,
	.conn_send = fake_send,
	.conn_close = fake_close,
	.conn_shutdown = fake_shutdown,
};

static void world_init(void)
{
	memset(&w, 0, sizeof(w));
	w.env.ops = &fake_ops;
	w.loop.env = &w.env;
	w.now_us = 1000;
	loop_set_current(&w.loop);
}

/* What the backend does when the peer is gone. */
static void world_end_conn(int err)
{
	struct conn *c = w.conn;
	c->handler->on_closed(c, c->ctx, err);
	w.conn = NULL;
	mem_free(c);
}

/* Feeds bytes in pieces of at most `step`; stops when the connection was closed. Gives the largest space offered. */
static size_t feed(const uint8_t *bytes, size_t len, size_t step)
{
	size_t largest = 0;
	while (len > 0 && w.conn) {
		uint8_t *p;
		size_t room, n;
		CU_ASSERT_TRUE_FATAL(w.conn->handler->on_space(w.conn, w.conn->ctx, &p, &room));
		CU_ASSERT_FATAL(room > 0);
		largest = room > largest ? room : largest;
		n = len < step ? len : step;
		n = n < room ? n : room;
		memcpy(p, bytes, n);
		w.conn->handler->on_data(w.conn, w.conn->ctx, n);
		bytes += n;
		len -= n;
	}
	return largest;
}

/* ---- a user of the link ---- */

struct user {
	struct link *link;
	int opened, frames, closed, close_err, sent;
	int free_at;    /* frees the link within this frame */
	bool keep;      /* keeps each frame's buffer */
	struct buf *kept[64];
	struct slice body[64];
	uint64_t bytes, sum;
};

static void user_opened(struct link *l, void *ctx)
{
	struct user *u = ctx;
	u->opened++;
}

static void user_frame(struct link *l, void *ctx, struct slice body)
{
	struct user *u = ctx;
	CU_ASSERT_PTR_EQUAL(l, u->link);
	if (u->keep) {
		u->kept[u->frames] = link_frame_buf(l);
		u->body[u->frames] = body;
	}
	u->frames++;
	u->bytes += body.len;
	for (size_t i = 0; i < body.len; i++)
		u->sum = u->sum * 31 + body.ptr[i];
	if (u->frames == u->free_at) {
		link_free(l);
		link_free(l); /* twice within a callback is harmless */
	}
}

static void user_closed(struct link *l, void *ctx, int err)
{
	struct user *u = ctx;
	u->closed++;
	u->close_err = err;
	if (u->free_at < 0)
		link_free(l);
}

static void user_sent(struct link *l, void *ctx, uint64_t left)
{
	struct user *u = ctx;
	u->sent++;
}

static const struct link_handler user_handler = {user_opened, user_frame, user_closed, user_sent};

static void user_connect(struct user *u)
{
	world_init();
	u->link = link_connect(&w.loop, "127.0.0.1", 9, 1000, &user_handler, u);
	w.opened = true;
	w.conn->handler->on_open(w.conn, w.conn->ctx);
}

/* Frames of many sizes, as one stream. */
static uint8_t *make_stream(size_t *ret_len, int *ret_frames, uint64_t *ret_sum)
{
	static const uint32_t sizes[] = {0, 1, 5, 100, 4092, 4093, 0, 5000, 300000, 3, 8192, 0};
	size_t len = 0;
	uint64_t sum = 0;
	struct rng r;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		len += 4 + sizes[i];
	uint8_t *s = mem_alloc(len), *p = s;
	rng_init(&r, 3);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		be32_put(p, sizes[i]);
		p += 4;
		for (uint32_t k = 0; k < sizes[i]; k++) {
			*p = (uint8_t)rng_u64(&r);
			sum = sum * 31 + *p++;
		}
	}
	*ret_len = len;
	*ret_frames = ARRAY_LEN(sizes);
	*ret_sum = sum;
	return s;
}

static void test_frames(void)
{
	static const size_t steps[] = {1, 3, 7, 4096, 100000, SIZE_MAX};
	size_t len;
	int frames;
	uint64_t sum;
	uint8_t *s = make_stream(&len, &frames, &sum);
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		for (int keep = 0; keep < 2; keep++) {
			struct user u = {.keep = keep};
			user_connect(&u);
			CU_ASSERT_EQUAL(u.opened, 1);
			w.now_us = 5000 + (int64_t)i;
			feed(s, len, steps[i]);
			CU_ASSERT_EQUAL(u.frames, frames);
			CU_ASSERT_EQUAL(u.sum, sum);
			const struct link_stats *st = link_stats(u.link);
			CU_ASSERT_EQUAL(st->bytes_in, len);
			CU_ASSERT_EQUAL(st->frames_in, (uint64_t)frames);
			CU_ASSERT_EQUAL(st->last_receive_us, 5000 + (int64_t)i);
			/* what was kept is still what came */
			uint64_t again = 0;
			for (int k = 0; keep && k < frames; k++) {
				for (size_t b = 0; b < u.body[k].len; b++)
					again = again * 31 + u.body[k].ptr[b];
				buf_unref(u.kept[k]);
			}
			if (keep)
				CU_ASSERT_EQUAL(again, sum);
			link_free(u.link);
			CU_ASSERT_EQUAL(w.closes, 1);
			CU_ASSERT_EQUAL(u.closed, 0);
		}
	}
	mem_free(s);
}

/* A peer that announces much and sends little makes us hold little. */
static void test_memory(void)
{
	struct user u = {0};
	uint8_t head[4];
	static uint8_t some[20000];
	user_connect(&u);
	be32_put(head, LINK_FRAME_MAX);
	feed(head, 4, 4);
	size_t largest = feed(some, sizeof(some), 1000);
	CU_ASSERT(largest <= 2 * sizeof(some));
	CU_ASSERT_EQUAL(u.frames, 0);
	link_free(u.link);
}

static void test_limit(void)
{
	struct user u = {0};
	uint8_t head[4];
	user_connect(&u);
	be32_put(head, LINK_FRAME_MAX + 1);
	feed(head, 4, 1);
	CU_ASSERT_EQUAL(u.closed, 1);
	CU_ASSERT_EQUAL(u.close_err, ERR_LIMIT);
	CU_ASSERT_EQUAL(w.closes, 1);
	CU_ASSERT_FALSE(link_is_open(u.link));
	CU_ASSERT_STRING_EQUAL(link_peer(u.link), "");
	link_send_bytes(u.link, "x", 1); /* dropped */
	CU_ASSERT_EQUAL(w.sent.bytes, 0);
	link_shutdown(u.link);
	link_free(u.link);
	CU_ASSERT_EQUAL(w.closes, 1);

	struct user v = {.free_at = -1}; /* frees within closed */
	user_connect(&v);
	link_set_frame_max(v.link, 10);
	be32_put(head, 10);
	feed(head, 4, 4);
	feed((const uint8_t *)"0123456789", 10, 3);
	CU_ASSERT_EQUAL(v.frames, 1);
	be32_put(head, 11);
	feed(head, 4, 4);
	CU_ASSERT_EQUAL(v.close_err, ERR_LIMIT);
}

static void test_free_in_frame(void)
{
	struct user u = {.free_at = 2};
	size_t len;
	int frames;
	uint64_t sum;
	uint8_t *s = make_stream(&len, &frames, &sum);
	user_connect(&u);
	feed(s, len, 1 << 20);
	CU_ASSERT_EQUAL(u.frames, 2);
	CU_ASSERT_EQUAL(u.closed, 0);
	CU_ASSERT_EQUAL(w.closes, 1);
	mem_free(s);
}

static void test_closed(void)
{
	struct user u = {0};
	user_connect(&u);
	feed((const uint8_t *)"\0\0\0\5ab", 6, 6); /* the end comes within a frame */
	world_end_conn(ERR_RESET);
	CU_ASSERT_EQUAL(u.closed, 1);
	CU_ASSERT_EQUAL(u.close_err, ERR_RESET);
	CU_ASSERT_EQUAL(u.frames, 0);
	link_free(u.link);
	CU_ASSERT_EQUAL(w.closes, 0);
	link_free(NULL);
}

static void test_send(void)
{
	struct user u = {0};
	struct chain c;
	static uint8_t big[5000], got[6000];
	world_init();
	u.link = link_connect(&w.loop, "127.0.0.1", 9, 1000, &user_handler, &u);
	CU_ASSERT_TRUE(link_is_open(u.link));
	link_send_bytes(u.link, "early", 5);
	CU_ASSERT_EQUAL(link_queued(u.link), 9);
	CU_ASSERT_EQUAL(w.sent.bytes, 0);
	w.opened = true;
	w.conn->handler->on_open(w.conn, w.conn->ctx);
	CU_ASSERT_EQUAL(w.sent.bytes, 9);
	CU_ASSERT_EQUAL(link_queued(u.link), 9);
	memset(big, 'b', sizeof(big));
	chain_init(&c);
	chain_add_copy(&c, big, sizeof(big));
	link_send(u.link, &c);
	CU_ASSERT_EQUAL(c.bytes, 0);
	link_send_bytes(u.link, NULL, 0);
	CU_ASSERT_EQUAL(w.sent.bytes, 9 + 5004 + 4);
	chain_flatten(&w.sent, got);
	CU_ASSERT_EQUAL(memcmp(got, "\0\0\0\5early\0\0\x13\x88" "bbb", 16), 0);
	CU_ASSERT_EQUAL(memcmp(got + 9 + 5004, "\0\0\0\0", 4), 0);
	CU_ASSERT_EQUAL(link_stats(u.link)->frames_out, 3);
	CU_ASSERT_EQUAL(link_stats(u.link)->bytes_out, 9 + 5004 + 4);
	w.conn->handler->on_sent(w.conn, w.conn->ctx, 0);
	CU_ASSERT_EQUAL(u.sent, 1);
	CU_ASSERT_FALSE(w.early_send);
	link_shutdown(u.link);
	CU_ASSERT_EQUAL(w.shutdowns, 1);
	CU_ASSERT_FALSE(link_is_open(u.link));
	world_end_conn(ERR_CLOSED);
	CU_ASSERT_EQUAL(u.close_err, ERR_CLOSED);
	chain_clear(&w.sent);
	link_free(u.link);
}

static void test_shutdown_while_connecting(void)
{
	struct user u = {0};
	world_init();
	u.link = link_connect(&w.loop, "127.0.0.1", 9, 1000, &user_handler, &u);
	link_send_bytes(u.link, "bye", 3);
	link_shutdown(u.link);
	CU_ASSERT_EQUAL(w.shutdowns, 0);
	w.opened = true;
	w.conn->handler->on_open(w.conn, w.conn->ctx);
	CU_ASSERT_EQUAL(w.sent.bytes, 7);
	CU_ASSERT_EQUAL(w.shutdowns, 1);
	CU_ASSERT_EQUAL(u.opened, 0);
	world_end_conn(ERR_CLOSED);
	CU_ASSERT_EQUAL(u.closed, 1);
	chain_clear(&w.sent);
	link_free(u.link);
}

static void test_accept(void)
{
	struct user u = {0};
	world_init();
	w.opened = true;
	struct conn *c = fake_connect(&w.loop, "::1", 1, 0, NULL, NULL);
	u.link = link_accept(c, &user_handler, &u);
	CU_ASSERT_STRING_EQUAL(link_peer(u.link), "::1");
	struct user other = {.link = u.link};
	feed((const uint8_t *)"\0\0\0\1a", 5, 5);
	link_set_handler(u.link, &user_handler, &other);
	feed((const uint8_t *)"\0\0\0\1b", 5, 5);
	CU_ASSERT_EQUAL(u.frames, 1);
	CU_ASSERT_EQUAL(other.frames, 1);
	link_free(u.link);
}

UNIT_MAIN("link", {"frames", test_frames}, {"memory", test_memory}, {"limit", test_limit}, {"free_in_frame", test_free_in_frame}, {"closed", test_closed},
	  {"send", test_send}, {"shutdown_while_connecting", test_shutdown_while_connecting}, {"accept", test_accept})
