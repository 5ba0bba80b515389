/* link.c: cutting a byte stream into frames, and putting frames onto it.
 *
 * Receiving: one buffer `rx` per link with the unread bytes at [start, end). Frames are handed out in place. When the buffer is
 * full it is compacted or doubled, up to what the frame at its head needs; if somebody kept a reference (link_frame_buf), a new
 * one is taken instead of moving bytes under him. Large buffers go as soon as they are empty.
 * Failure model: a length above the limit, or the end of the stream within a frame, ends the link; nothing partial is delivered.
 */
#include "common/link/link.h"

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/loop.h"

#define RX_FIRST 4096
#define RX_KEEP (64 * 1024)
#define COPY_MAX 448 /* a body up to here shares the header's piece */

struct link {
	struct conn *conn; /* NULL once closed */
	struct loop *loop;
	const struct link_handler *handler;
	void *ctx;
	uint32_t frame_max;
	bool connecting;
	bool shutting; /* link_shutdown was called while connecting */
	bool doomed;   /* link_free was called within a callback */
	unsigned depth; /* callbacks of ours that are running */
	struct buf *rx;
	size_t start, end;
	struct chain pending; /* sent while connecting */
	struct link_stats stats;
};

static void destroy(struct link *l)
{
	ASSERT(l->depth == 0 && !l->conn);
	buf_unref(l->rx);
	chain_clear(&l->pending);
	mem_free(l);
}

static void enter(struct link *l)
{
	l->depth++;
}

/* Behind each callback. True: the link is gone. */
static bool leave(struct link *l)
{
	if (--l->depth > 0 || !l->doomed)
		return l->doomed;
	destroy(l);
	return true;
}

static void fail(struct link *l, int err)
{
	l->conn = NULL;
	l->connecting = false;
	chain_clear(&l->pending);
	buf_unref(l->rx);
	l->rx = NULL;
	l->start = l->end = 0;
	enter(l);
	if (!l->doomed)
		l->handler->closed(l, l->ctx, err);
	leave(l);
}

/* ---- receiving ---- */

/* Bytes that the unread part must be able to hold for the frame at its head to be complete. */
static uint64_t head_need(const struct link *l)
{
	size_t have = l->end - l->start;
	return have < LINK_HEADER_BYTES ? LINK_HEADER_BYTES : (uint64_t)LINK_HEADER_BYTES + be32_get(l->rx->data + l->start);
}

static void make_room(struct link *l)
{
	size_t have = l->end - l->start;
	if (!l->rx) {
		l->rx = buf_new(RX_FIRST);
		return;
	}
	if (have == 0 && !buf_shared(l->rx)) {
		l->start = l->end = 0;
		return;
	}
	/* full, and the head frame is not complete: so it needs more than have */
	uint64_t need = head_need(l);
	size_t cap = have * 2 < RX_FIRST ? RX_FIRST : have * 2;
	if (cap > need)
		cap = need < RX_FIRST ? RX_FIRST : (size_t)need;
	if (l->start > 0 && cap <= l->rx->cap && !buf_shared(l->rx)) {
		memmove(l->rx->data, l->rx->data + l->start, have);
	} else {
		struct buf *b = buf_new(cap);
		memcpy(b->data, l->rx->data + l->start, have);
		buf_unref(l->rx);
		l->rx = b;
	}
	l->start = 0;
	l->end = have;
}

static bool on_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct link *l = ctx;
	(void)c;
	if (!l->rx || l->end == l->rx->cap)
		make_room(l);
	*ret_ptr = l->rx->data + l->end;
	*ret_len = l->rx->cap - l->end;
	return true;
}

static void rx_release_large(struct link *l)
{
	if (l->conn && l->rx && l->start == l->end && (l->rx->cap > RX_KEEP || buf_shared(l->rx))) {
		buf_unref(l->rx);
		l->rx = NULL;
		l->start = l->end = 0;
	}
}

static void on_data(struct conn *c, void *ctx, size_t len)
{
	struct link *l = ctx;
	l->end += len;
	ASSERT(l->end <= l->rx->cap);
	l->stats.bytes_in += len;
	l->stats.last_receive_us = loop_now_us(l->loop);
	while (l->conn && l->end - l->start >= LINK_HEADER_BYTES) {
		uint32_t body = be32_get(l->rx->data + l->start);
		if (body > l->frame_max) {
			conn_close(c);
			fail(l, ERR_LIMIT);
			return;
		}
		if (l->end - l->start - LINK_HEADER_BYTES < body)
			break;
		struct slice s = slice_make(l->rx->data + l->start + LINK_HEADER_BYTES, body);
		l->start += LINK_HEADER_BYTES + (size_t)body;
		l->stats.frames_in++;
		enter(l);
		l->handler->frame(l, l->ctx, s);
		if (leave(l))
			return;
	}
	rx_release_large(l);
}

static void on_sent(struct conn *c, void *ctx, uint64_t left)
{
	struct link *l = ctx;
	(void)c;
	if (!l->handler->sent)
		return;
	enter(l);
	l->handler->sent(l, l->ctx, left);
	leave(l);
}

static void on_open(struct conn *c, void *ctx)
{
	struct link *l = ctx;
	l->connecting = false;
	l->stats.last_receive_us = loop_now_us(l->loop);
	if (l->pending.bytes)
		conn_send(c, &l->pending);
	if (l->shutting) {
		conn_shutdown(c);
		return;
	}
	if (!l->handler->opened)
		return;
	enter(l);
	l->handler->opened(l, l->ctx);
	leave(l);
}

static void on_closed(struct conn *c, void *ctx, int err)
{
	(void)c;
	fail(ctx, err);
}

static const struct conn_handler handler = {
	.on_space = on_space,
	.on_data = on_data,
	.on_sent = on_sent,
	.on_open = on_open,
	.on_closed = on_closed,
};

/* ---- making ---- */

static struct link *link_new(struct loop *loop, const struct link_handler *h, void *ctx)
{
	struct link *l = MEM_NEW(struct link);
	ASSERT(h->frame && h->closed);
	l->loop = loop;
	l->handler = h;
	l->ctx = ctx;
	l->frame_max = LINK_FRAME_MAX;
	l->stats.last_receive_us = loop_now_us(loop);
	chain_init(&l->pending);
	return l;
}

struct link *link_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms, const struct link_handler *h, void *ctx)
{
	struct link *l = link_new(loop, h, ctx);
	l->connecting = true;
	l->conn = conn_connect(loop, host, port, timeout_ms, &handler, l);
	return l;
}

struct link *link_accept(struct conn *c, const struct link_handler *h, void *ctx)
{
	struct link *l = link_new(c->loop, h, ctx);
	l->conn = c;
	c->handler = &handler;
	c->ctx = l;
	return l;
}

void link_set_handler(struct link *l, const struct link_handler *h, void *ctx)
{
	ASSERT(h->frame && h->closed);
	l->handler = h;
	l->ctx = ctx;
}

void link_set_frame_max(struct link *l, uint32_t bytes_max)
{
	ASSERT(bytes_max <= LINK_FRAME_MAX);
	l->frame_max = bytes_max;
}

/* ---- sending ---- */

static bool all_bytes(const struct chain *c)
{
	for (const struct chain_item *it = c->head; it; it = it->next)
		if (!it->buf)
			return false;
	return true;
}

void link_send(struct link *l, struct chain *body)
{
	struct chain out;
	uint8_t header[LINK_HEADER_BYTES];

	ASSERT(body->bytes <= LINK_FRAME_MAX);
	if (!link_is_open(l)) {
		chain_clear(body);
		return;
	}
	be32_put(header, (uint32_t)body->bytes);
	l->stats.bytes_out += LINK_HEADER_BYTES + body->bytes;
	l->stats.frames_out++;
	chain_init(&out);
	chain_add_copy(&out, header, sizeof(header));
	if (body->bytes <= COPY_MAX && all_bytes(body)) {
		for (const struct chain_item *it = body->head; it; it = it->next)
			chain_add_copy(&out, it->buf->data + it->pos, it->len);
		chain_clear(body);
	} else {
		chain_append(&out, body);
	}
	if (l->connecting)
		chain_append(&l->pending, &out);
	else
		conn_send(l->conn, &out);
}

void link_send_bytes(struct link *l, const void *bytes, size_t len)
{
	struct chain c;
	chain_init(&c);
	chain_add_copy(&c, bytes, len);
	link_send(l, &c);
}

/* ---- asking, ending ---- */

bool link_is_open(const struct link *l)
{
	return l->conn && !l->shutting;
}

uint64_t link_queued(const struct link *l)
{
	return l->pending.bytes + (l->conn ? l->conn->queued : 0);
}

const char *link_peer(const struct link *l)
{
	return l->conn ? l->conn->peer : "";
}

const struct link_stats *link_stats(const struct link *l)
{
	return &l->stats;
}

struct buf *link_frame_buf(struct link *l)
{
	ASSERT(l->depth > 0 && l->rx);
	return buf_ref(l->rx);
}

void link_free(struct link *l)
{
	if (!l || l->doomed)
		return;
	if (l->conn) {
		conn_close(l->conn);
		l->conn = NULL;
	}
	if (l->depth > 0)
		l->doomed = true;
	else
		destroy(l);
}

void link_shutdown(struct link *l)
{
	if (!link_is_open(l))
		return;
	l->shutting = true;
	if (!l->connecting)
		conn_shutdown(l->conn);
}
