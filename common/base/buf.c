/* buf.c: buffers (header and bytes in one allocation) and chains of pieces.
 *
 * Small bytes are packed: a chain fills the rest of its tail buffer while that buffer is its own (BUF_PACKED) and nobody else
 * holds a reference. The first such buffer of a chain is small (most replies are), the next ones are 4 KiB.
 */
#include "common/base/buf.h"

#include "common/base/check.h"
#include "common/base/mem.h"

#define PACK_FIRST 512
#define PACK_NEXT 4096

static struct buf *buf_setup(struct buf *b, size_t cap)
{
	atomic_init(&b->refs, 1);
	b->flags = 0;
	b->cap = cap;
	b->data = (uint8_t *)(b + 1);
	b->on_free = NULL;
	b->ctx = NULL;
	return b;
}

struct buf *buf_new(size_t cap)
{
	ASSERT(cap < SIZE_MAX / 2);
	return buf_setup(mem_alloc(sizeof(struct buf) + cap), cap);
}

struct buf *buf_try_new(size_t cap)
{
	if (cap >= SIZE_MAX / 2)
		return NULL;
	struct buf *b = mem_try_alloc(sizeof(struct buf) + cap);
	return b ? buf_setup(b, cap) : NULL;
}

struct buf *buf_copy(const void *bytes, size_t len)
{
	struct buf *b = buf_new(len);
	if (len)
		memcpy(b->data, bytes, len);
	return b;
}

void buf_unref(struct buf *b)
{
	if (!b)
		return;
	unsigned before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
	ASSERT(before > 0);
	if (before > 1)
		return;
	if (b->on_free)
		b->on_free(b, b->ctx);
	mem_free(b);
}

void chain_init(struct chain *c)
{
	*c = (struct chain){0};
}

static void item_free(struct chain_item *it)
{
	buf_unref(it->buf);
	if (it->file && it->file_drop)
		it->file_drop(it->file);
	mem_free(it);
}

void chain_clear(struct chain *c)
{
	for (struct chain_item *it = c->head; it;) {
		struct chain_item *next = it->next;
		item_free(it);
		it = next;
	}
	chain_init(c);
}

static void link_item(struct chain *c, struct chain_item *it)
{
	if (c->tail)
		c->tail->next = it;
	else
		c->head = it;
	c->tail = it;
	c->bytes += it->len;
}

void chain_add_buf(struct chain *c, struct buf *b, size_t pos, size_t len)
{
	ASSERT(pos <= b->cap && len <= b->cap - pos);
	struct chain_item *t = c->tail;
	if (len == 0) {
		buf_unref(b);
		return;
	}
	if (t && t->buf == b && t->pos + t->len == pos) {
		t->len += len;
		c->bytes += len;
		buf_unref(b);
		return;
	}
	struct chain_item *it = MEM_NEW(struct chain_item);
	it->buf = b;
	it->pos = pos;
	it->len = len;
	link_item(c, it);
}

/* Bytes that can still be packed behind the tail piece. */
static size_t tail_room(const struct chain *c)
{
	const struct chain_item *t = c->tail;
	if (!t || !t->buf || !(t->buf->flags & BUF_PACKED) || buf_shared(t->buf))
		return 0;
	return t->buf->cap - (size_t)(t->pos + t->len);
}

/* Takes len bytes of the tail's room; len <= tail_room. */
static uint8_t *take_tail(struct chain *c, size_t len)
{
	struct chain_item *t = c->tail;
	uint8_t *p = t->buf->data + t->pos + t->len;
	t->len += len;
	c->bytes += len;
	return p;
}

/* A new packing buffer with at least `least` bytes as an empty tail piece. */
static void add_pack(struct chain *c, size_t least)
{
	size_t cap = c->tail ? PACK_NEXT : PACK_FIRST;
	struct chain_item *it = MEM_NEW(struct chain_item);
	it->buf = buf_new(cap < least ? least : cap);
	it->buf->flags |= BUF_PACKED;
	link_item(c, it);
}

void chain_add_copy(struct chain *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t room = tail_room(c);
	if (room > len)
		room = len;
	if (room) {
		memcpy(take_tail(c, room), p, room);
		p += room;
		len -= room;
	}
	if (len) {
		add_pack(c, len);
		memcpy(take_tail(c, len), p, len);
	}
}

uint8_t *chain_reserve(struct chain *c, size_t len)
{
	ASSERT(len > 0 && len <= PACK_NEXT);
	if (tail_room(c) < len)
		add_pack(c, len);
	return take_tail(c, len);
}

void chain_append(struct chain *to, struct chain *from)
{
	ASSERT(to != from);
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	to->bytes += from->bytes;
	chain_init(from);
}

void chain_consume(struct chain *c, uint64_t bytes)
{
	ASSERT(bytes <= c->bytes);
	c->bytes -= bytes;
	while (bytes > 0) {
		struct chain_item *it = c->head;
		if (bytes < it->len) {
			it->pos += bytes;
			it->len -= bytes;
			return;
		}
		bytes -= it->len;
		c->head = it->next;
		if (!c->head)
			c->tail = NULL;
		item_free(it);
	}
}

void chain_flatten(const struct chain *c, uint8_t *out)
{
	for (const struct chain_item *it = c->head; it; it = it->next) {
		ASSERT(it->buf != NULL);
		memcpy(out, it->buf->data + it->pos, it->len);
		out += it->len;
	}
}
