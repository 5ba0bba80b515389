/* slice.h: a borrowed run of bytes, and big-endian access to raw memory. A slice owns nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *ptr; /* NULL = null (differs from empty where Kafka says nullable) */
	size_t len;
};

static inline struct slice slice_make(const void *ptr, size_t len) { return (struct slice){(const uint8_t *)ptr, len}; }
static inline struct slice slice_str(const char *s) { return (struct slice){(const uint8_t *)s, s ? strlen(s) : 0}; }
static inline bool slice_eq(struct slice a, struct slice b) { return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0); }
static inline bool slice_eq_str(struct slice a, const char *s) { return slice_eq(a, slice_str(s)); }
/* <0, 0, >0; bytewise, shorter first */
int slice_cmp(struct slice a, struct slice b);

static inline uint16_t be16_get(const void *p) { const uint8_t *b = p; return (uint16_t)((uint16_t)b[0] << 8 | b[1]); }
static inline uint32_t be32_get(const void *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static inline uint64_t be64_get(const void *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
static inline void be16_put(void *p, uint16_t v) { uint8_t *b = p; b[0] = (uint8_t)(v >> 8); b[1] = (uint8_t)v; }
static inline void be32_put(void *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
static inline void be64_put(void *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }
