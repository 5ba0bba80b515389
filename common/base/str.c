/* str.c: growing strings, and strict readers of numbers. */
#include "common/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/check.h"
#include "common/base/mem.h"

void str_init(struct str *s)
{
	*s = (struct str){0};
}

void str_fini(struct str *s)
{
	mem_free(s->ptr);
	str_init(s);
}

void str_clear(struct str *s)
{
	s->len = 0;
	if (s->ptr)
		s->ptr[0] = 0;
}

/* Room for `more` bytes and the NUL. */
static void reserve(struct str *s, size_t more)
{
	ASSERT(more < SIZE_MAX / 4);
	if (s->cap < s->len + more + 1) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		if (cap < s->len + more + 1)
			cap = s->len + more + 1;
		s->ptr = mem_realloc(s->ptr, cap);
		s->cap = cap;
	}
}

void str_add_bytes(struct str *s, const void *bytes, size_t len)
{
	reserve(s, len);
	if (len)
		memcpy(s->ptr + s->len, bytes, len);
	s->len += len;
	s->ptr[s->len] = 0;
}

void str_add(struct str *s, const char *text)
{
	str_add_bytes(s, text, strlen(text));
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	size_t room = s->cap - s->len;
	int n = vsnprintf(s->ptr ? s->ptr + s->len : NULL, s->ptr ? room : 0, fmt, ap);
	ASSERT(n >= 0);
	if (!s->ptr || (size_t)n >= room) {
		reserve(s, (size_t)n);
		vsnprintf(s->ptr + s->len, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	s->len += (size_t)n;
}

void str_printf(struct str *s, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	str_vprintf(s, fmt, ap);
	va_end(ap);
}

char *str_steal(struct str *s)
{
	char *p = s->ptr ? s->ptr : mem_zalloc(1);
	str_init(s);
	return p;
}

int str_to_i64(const char *s, int64_t *ret_v)
{
	char *end;
	if (!(isdigit((unsigned char)s[0]) || ((s[0] == '-' || s[0] == '+') && isdigit((unsigned char)s[1]))))
		return ERR_INVAL;
	errno = 0;
	long long v = strtoll(s, &end, 10);
	if (errno || *end)
		return ERR_INVAL;
	*ret_v = v;
	return 0;
}

int str_to_i32(const char *s, int32_t *ret_v)
{
	int64_t v;
	if (str_to_i64(s, &v) < 0 || v < INT32_MIN || v > INT32_MAX)
		return ERR_INVAL;
	*ret_v = (int32_t)v;
	return 0;
}

int str_to_double(const char *s, double *ret_v)
{
	char *end;
	/* strtod alone would take blanks, hexadecimal, "inf" and "nan" */
	if (!s[0] || strspn(s, "0123456789+-.eE") != strlen(s))
		return ERR_INVAL;
	errno = 0;
	double v = strtod(s, &end);
	if (*end || end == s || !isfinite(v))
		return ERR_INVAL;
	*ret_v = v;
	return 0;
}

int str_to_bool(const char *s, bool *ret_v)
{
	bool yes = !strcasecmp(s, "true");
	if (!yes && strcasecmp(s, "false") != 0)
		return ERR_INVAL;
	*ret_v = yes;
	return 0;
}
