/* arena.h: memory with the lifetime of a request. Everything is freed at once by arena_reset/arena_fini.
 *
 * Thread: one owner at a time. Under AddressSanitizer each object is one malloc, so that overruns are seen.
 * A limit guards against what a peer may make us hold: past it arena_try_alloc gives NULL (arena_alloc ignores it).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct arena_block;
struct arena {
	struct arena_block *head;
	uint8_t *cur, *end;
	size_t bytes_used;
	size_t bytes_max; /* 0 = no limit */
};

void arena_init(struct arena *a, size_t bytes_max);
void arena_reset(struct arena *a); /* keeps one small block for reuse */
void arena_fini(struct arena *a);  /* zeroed struct is accepted */

void *arena_alloc(struct arena *a, size_t bytes) __attribute__((returns_nonnull));  /* 8-byte aligned, not zeroed */
void *arena_zalloc(struct arena *a, size_t bytes) __attribute__((returns_nonnull));
void *arena_try_alloc(struct arena *a, size_t bytes); /* NULL when the limit would be passed; zeroed */
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define ARENA_ARRAY(a, type, n) ((type *)arena_zalloc((a), sizeof(type) * (n)))
