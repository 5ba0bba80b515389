/* str.h: a growing string. Always NUL terminated. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/slice.h"

struct str {
	char *ptr; /* NULL while empty; str_cstr gives "" then */
	size_t len, cap;
};

void str_init(struct str *s);
void str_fini(struct str *s);
void str_clear(struct str *s);
void str_add(struct str *s, const char *text);
void str_add_bytes(struct str *s, const void *bytes, size_t len);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_vprintf(struct str *s, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
static inline const char *str_cstr(const struct str *s) { return s->ptr ? s->ptr : ""; }
char *str_steal(struct str *s); /* caller frees with mem_free; never NULL */

/* Strict decimal: whole text, no blanks, in range; ERR_INVAL else. */
MUST_CHECK int str_to_i64(const char *s, int64_t *ret_v);
MUST_CHECK int str_to_i32(const char *s, int32_t *ret_v);
MUST_CHECK int str_to_double(const char *s, double *ret_v);
MUST_CHECK int str_to_bool(const char *s, bool *ret_v); /* "true" or "false", any case */
