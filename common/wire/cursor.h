/* cursor.h: reading bytes that somebody else wrote, and writing the same forms to raw memory.
 *
 * struct cursor runs over a borrowed buffer with a sticky error: after the first bad read every read gives zero (null slice)
 * and `bad` stays set, so that a decoder reads all its fields and asks once. It never reads outside [p, end).
 * The put functions write big-endian numbers and varints and give the place behind; the caller made room.
 * varint/varlong are zigzag (record batches), uvarint is unsigned (lengths and tags of flexible versions).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/slice.h"

struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct cursor cursor_make(struct slice in)
{
	return (struct cursor){in.ptr, in.len ? in.ptr + in.len : in.ptr, false};
}
static inline size_t cursor_left(const struct cursor *c) { return (size_t)(c->end - c->p); }
static inline void cursor_fail(struct cursor *c) { c->bad = true; c->p = c->end; }
MUST_CHECK static inline int cursor_err(const struct cursor *c) { return c->bad ? ERR_CORRUPT : 0; }
/* What has not been read yet. */
static inline struct slice cursor_rest(const struct cursor *c) { return slice_make(c->p, cursor_left(c)); }

/* n bytes of the input, or NULL (and the error). */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;
	if (__builtin_expect(n > cursor_left(c), 0)) {
		cursor_fail(c);
		return NULL;
	}
	if (n)
		c->p = p + n;
	return p;
}

static inline uint8_t cursor_u8(struct cursor *c) { const uint8_t *p = cursor_take(c, 1); return p ? *p : 0; }
static inline int8_t cursor_i8(struct cursor *c) { return (int8_t)cursor_u8(c); }
static inline uint16_t cursor_u16(struct cursor *c) { const uint8_t *p = cursor_take(c, 2); return p ? be16_get(p) : 0; }
static inline int16_t cursor_i16(struct cursor *c) { return (int16_t)cursor_u16(c); }
static inline uint32_t cursor_u32(struct cursor *c) { const uint8_t *p = cursor_take(c, 4); return p ? be32_get(p) : 0; }
static inline int32_t cursor_i32(struct cursor *c) { return (int32_t)cursor_u32(c); }
static inline uint64_t cursor_u64(struct cursor *c) { const uint8_t *p = cursor_take(c, 8); return p ? be64_get(p) : 0; }
static inline int64_t cursor_i64(struct cursor *c) { return (int64_t)cursor_u64(c); }

uint32_t cursor_uvarint_slow(struct cursor *c);
/* At most 5 bytes and 32 bits. */
static inline uint32_t cursor_uvarint(struct cursor *c)
{
	if (__builtin_expect(c->p < c->end && *c->p < 0x80, 1))
		return *c->p++;
	return cursor_uvarint_slow(c);
}
/* At most 10 bytes and 64 bits. */
uint64_t cursor_uvarlong(struct cursor *c);
static inline int32_t cursor_varint(struct cursor *c)
{
	uint32_t v = cursor_uvarint(c);
	return (int32_t)((v >> 1) ^ (~(v & 1) + 1));
}
static inline int64_t cursor_varlong(struct cursor *c)
{
	uint64_t v = cursor_uvarlong(c);
	return (int64_t)((v >> 1) ^ (~(v & 1) + 1));
}

/* n bytes as a slice; never a null pointer when it succeeds (also with n = 0). n < 0 is an error. */
struct slice cursor_bytes(struct cursor *c, int64_t n);
/* int16 length and bytes; -1 = null slice (an error when !nullable). */
struct slice cursor_string(struct cursor *c, bool nullable);
/* int32 length and bytes; -1 = null slice (an error when !nullable). */
struct slice cursor_bytes32(struct cursor *c, bool nullable);
void cursor_skip(struct cursor *c, size_t n);

static inline uint8_t *put_u8(uint8_t *p, uint8_t v) { *p = v; return p + 1; }
static inline uint8_t *put_i16(uint8_t *p, int16_t v) { be16_put(p, (uint16_t)v); return p + 2; }
static inline uint8_t *put_i32(uint8_t *p, int32_t v) { be32_put(p, (uint32_t)v); return p + 4; }
static inline uint8_t *put_i64(uint8_t *p, int64_t v) { be64_put(p, (uint64_t)v); return p + 8; }
static inline uint8_t *put_bytes(uint8_t *p, const void *bytes, size_t len)
{
	if (len)
		memcpy(p, bytes, len);
	return p + len;
}
static inline uint8_t *put_uvarlong(uint8_t *p, uint64_t v)
{
	while (v >= 0x80) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}
static inline uint8_t *put_uvarint(uint8_t *p, uint32_t v) { return put_uvarlong(p, v); }
static inline uint32_t varint_zigzag(int32_t v) { return ((uint32_t)v << 1) ^ (uint32_t)-(v < 0); }
static inline uint64_t varlong_zigzag(int64_t v) { return ((uint64_t)v << 1) ^ (uint64_t) - (int64_t)(v < 0); }
static inline uint8_t *put_varint(uint8_t *p, int32_t v) { return put_uvarlong(p, varint_zigzag(v)); }
static inline uint8_t *put_varlong(uint8_t *p, int64_t v) { return put_uvarlong(p, varlong_zigzag(v)); }
/* Bytes that the put functions above write. */
static inline size_t uvarlong_size(uint64_t v) { return (size_t)(70 - __builtin_clzll(v | 1)) / 7; }
static inline size_t uvarint_size(uint32_t v) { return uvarlong_size(v); }
static inline size_t varint_size(int32_t v) { return uvarlong_size(varint_zigzag(v)); }
static inline size_t varlong_size(int64_t v) { return uvarlong_size(varlong_zigzag(v)); }
