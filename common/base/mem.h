/* mem.h: allocation. Sizes of ours abort on shortage in one place; sizes that a peer chose use mem_try_* under a byte budget. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t bytes) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull)); /* result is NUL terminated */
void *mem_try_alloc(size_t bytes) __attribute__((malloc)); /* NULL on shortage */
void mem_free(void *p);                                    /* NULL is fine */

#define MEM_NEW(type) ((type *)mem_zalloc(sizeof(type)))

/* Grows *array (of *cap elements of elem_bytes) to hold at least `need`; doubles. */
void mem_grow(void **array, size_t *cap, size_t need, size_t elem_bytes);
#define MEM_GROW(arr, cap, need) mem_grow((void **)&(arr), &(cap), (need), sizeof(*(arr)))
