/* mem.c: the allocator's only callers. Shortage of memory for sizes of our own choice ends the process here (status 74): nothing
 * that runs above could go on in a defined way. Thread: any.
 */
#include "common/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"

#define EXIT_ENVIRONMENT 74

static _Noreturn void out_of_memory(size_t bytes)
{
	char text[200];
	int n = snprintf(text, sizeof(text),
			 "FATAL: out of memory (%zu bytes wanted): give the process more memory or lower its buffer limits\n", bytes);
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(EXIT_ENVIRONMENT);
	_exit(EXIT_ENVIRONMENT);
}

void *mem_try_alloc(size_t bytes)
{
	return malloc(bytes ? bytes : 1);
}

void *mem_alloc(size_t bytes)
{
	void *p = malloc(bytes ? bytes : 1);
	if (!p)
		out_of_memory(bytes);
	return p;
}

void *mem_zalloc(size_t bytes)
{
	void *p = calloc(1, bytes ? bytes : 1);
	if (!p)
		out_of_memory(bytes);
	return p;
}

void *mem_realloc(void *old, size_t bytes)
{
	void *p = realloc(old, bytes ? bytes : 1);
	if (!p)
		out_of_memory(bytes);
	return p;
}

char *mem_strndup(const char *s, size_t len)
{
	char *p = mem_alloc(len + 1);
	if (len)
		memcpy(p, s, len);
	p[len] = 0;
	return p;
}

char *mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

void mem_free(void *p)
{
	free(p);
}

void mem_grow(void **array, size_t *cap, size_t need, size_t elem_bytes)
{
	if (need <= *cap)
		return;
	ASSERT(elem_bytes > 0 && need <= SIZE_MAX / 2 / elem_bytes);
	size_t n = *cap ? *cap : 8;
	while (n < need)
		n *= 2;
	*array = mem_realloc(*array, n * elem_bytes);
	*cap = n;
}
