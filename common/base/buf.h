/* buf.h: refcounted byte buffers and output chains.
 *
 * struct buf is one allocation whose bytes may be shared between loops; the count is atomic, the bytes are written only by
 * whoever filled it before sharing (or by the one owner of a disjoint range, as the partition owner does when it patches
 * offsets into a batch).
 *
 * struct chain is what a connection sends and a file appends: a list of pieces, each either bytes of a buf or a range of
 * a file (sent with sendfile). A chain belongs to one thread; handing it over (conn_send, file_append) moves its pieces.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/slice.h"

struct buf {
	atomic_uint refs;
	uint32_t flags;
	size_t cap;  /* bytes available in data */
	uint8_t *data;
	void (*on_free)(struct buf *b, void *ctx); /* before the memory goes, e.g. to return bytes to a budget; any thread; may be NULL */
	void *ctx;
};

/* buf.flags: made by a chain for its own small pieces, so that what lies behind the last piece is free to fill. */
#define BUF_PACKED 0x80000000u

struct buf *buf_new(size_t cap);                       /* refs = 1, not zeroed */
struct buf *buf_try_new(size_t cap);                   /* NULL on shortage */
struct buf *buf_copy(const void *bytes, size_t len);
static inline struct buf *buf_ref(struct buf *b) { atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed); return b; }
void buf_unref(struct buf *b);                         /* NULL is fine */
static inline bool buf_shared(struct buf *b) { return atomic_load_explicit(&b->refs, memory_order_acquire) > 1; }

struct file; /* common/env/fs.h */

struct chain_item {
	struct chain_item *next;
	struct buf *buf;     /* owns one reference, or NULL for a file range */
	struct file *file;   /* owns one reference, or NULL for bytes */
	void (*file_drop)(struct file *f);
	uint64_t pos;        /* byte in the buf or the file */
	uint64_t len;        /* bytes */
	uint32_t generation; /* of the file when the range was made; an older one is not sent (protocol.md G4) */
};

struct chain {
	struct chain_item *head, *tail;
	uint64_t bytes; /* sum of len */
};

void chain_init(struct chain *c);
void chain_clear(struct chain *c);                                           /* drops all pieces */
void chain_add_buf(struct chain *c, struct buf *b, size_t pos, size_t len);  /* takes over one reference */
void chain_add_copy(struct chain *c, const void *bytes, size_t len);         /* small bytes; packs into the tail when there is room */
void chain_append(struct chain *to, struct chain *from);                     /* moves all pieces; from is empty afterwards */
void chain_consume(struct chain *c, uint64_t bytes);                         /* drops from the front */
void chain_flatten(const struct chain *c, uint8_t *out);                     /* copies; bytes only (asserts on file ranges) */
/* Space for len bytes at the end, written by the caller at once; len <= 4096. */
uint8_t *chain_reserve(struct chain *c, size_t len);
