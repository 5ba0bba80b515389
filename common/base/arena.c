/* arena.c: bump allocation in growing blocks.
 *
 * head is the block that cur..end lies in; an object too large to share a block gets one of its own, linked behind head, so that
 * the rest of the current block is not wasted. Blocks double from 1 KiB to 64 KiB: a short request costs one small block.
 */
#include "common/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define BLOCK_FIRST 1024
#define BLOCK_MAX (64 * 1024)
#define KEEP_MAX 4096

struct arena_block {
	struct arena_block *next;
	size_t bytes; /* of data */
	uint8_t data[];
};

void arena_init(struct arena *a, size_t bytes_max)
{
	*a = (struct arena){.bytes_max = bytes_max};
}

static void free_blocks(struct arena_block *b)
{
	while (b) {
		struct arena_block *next = b->next;
		mem_free(b);
		b = next;
	}
}

void arena_fini(struct arena *a)
{
	free_blocks(a->head);
	*a = (struct arena){.bytes_max = a->bytes_max};
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL;
#ifndef KLAMM_ASAN
	struct arena_block **link = &a->head;
	while (*link && ((*link)->bytes > KEEP_MAX || (*link)->bytes < BLOCK_FIRST))
		link = &(*link)->next;
	if (*link) {
		keep = *link;
		*link = keep->next;
		keep->next = NULL;
	}
#endif
	free_blocks(a->head);
	a->head = keep;
	a->cur = keep ? keep->data : NULL;
	a->end = keep ? keep->data + keep->bytes : NULL;
	a->bytes_used = 0;
}

static struct arena_block *block_new(size_t bytes)
{
	struct arena_block *b = mem_alloc(sizeof(*b) + bytes);
	b->bytes = bytes;
	b->next = NULL;
	return b;
}

static void *alloc_own_block(struct arena *a, size_t bytes)
{
	struct arena_block *b = block_new(bytes);
	if (a->head) {
		b->next = a->head->next;
		a->head->next = b;
	} else {
		a->head = b;
		a->cur = a->end = b->data + bytes;
	}
	return b->data;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
	ASSERT(bytes < SIZE_MAX / 2);
#ifdef KLAMM_ASAN
	a->bytes_used += (bytes + 7) & ~(size_t)7;
	return alloc_own_block(a, bytes);
#else
	bytes = (bytes + 7) & ~(size_t)7;
	a->bytes_used += bytes;
	if (bytes > (size_t)(a->end - a->cur)) {
		size_t next = a->head && a->head->bytes >= BLOCK_FIRST / 2 ? a->head->bytes * 2 : BLOCK_FIRST;
		if (next > BLOCK_MAX)
			next = BLOCK_MAX;
		if (bytes > next / 4)
			return alloc_own_block(a, bytes);
		struct arena_block *b = block_new(next);
		b->next = a->head;
		a->head = b;
		a->cur = b->data;
		a->end = b->data + next;
	}
	void *p = a->cur;
	a->cur += bytes;
	return p;
#endif
}

void *arena_zalloc(struct arena *a, size_t bytes)
{
	void *p = arena_alloc(a, bytes);
	memset(p, 0, bytes);
	return p;
}

void *arena_try_alloc(struct arena *a, size_t bytes)
{
	if (bytes >= SIZE_MAX / 4)
		return NULL;
	if (a->bytes_max && (a->bytes_used > a->bytes_max || bytes > a->bytes_max - a->bytes_used))
		return NULL;
	return arena_zalloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);
	if (len)
		memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	ASSERT(fmt != NULL);
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	ASSERT(n >= 0);
	char *p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return p;
}
