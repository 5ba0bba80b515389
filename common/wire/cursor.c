/* cursor.c: the slower half of cursor.h. */
#include "common/wire/cursor.h"

uint32_t cursor_uvarint_slow(struct cursor *c)
{
	uint32_t v = 0;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		const uint8_t *p = cursor_take(c, 1);
		if (!p)
			return 0;
		if (shift == 28 && *p > 0x0f)
			break; /* a 33rd bit, or a sixth byte */
		v |= (uint32_t)(*p & 0x7f) << shift;
		if (*p < 0x80)
			return v;
	}
	cursor_fail(c);
	return 0;
}

uint64_t cursor_uvarlong(struct cursor *c)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		const uint8_t *p = cursor_take(c, 1);
		if (!p)
			return 0;
		if (shift == 63 && *p > 1)
			break;
		v |= (uint64_t)(*p & 0x7f) << shift;
		if (*p < 0x80)
			return v;
	}
	cursor_fail(c);
	return 0;
}

struct slice cursor_bytes(struct cursor *c, int64_t n)
{
	if (n < 0 || (uint64_t)n > cursor_left(c)) {
		cursor_fail(c);
		return (struct slice){NULL, 0};
	}
	const uint8_t *p = cursor_take(c, (size_t)n);
	return slice_make(p ? (const void *)p : "", (size_t)n);
}

static struct slice read_nullable(struct cursor *c, int64_t n, bool nullable)
{
	if (n == -1 && nullable && !c->bad)
		return (struct slice){NULL, 0};
	return cursor_bytes(c, n);
}

struct slice cursor_string(struct cursor *c, bool nullable)
{
	int16_t n = cursor_i16(c);
	return c->bad ? (struct slice){NULL, 0} : read_nullable(c, n, nullable);
}

struct slice cursor_bytes32(struct cursor *c, bool nullable)
{
	int32_t n = cursor_i32(c);
	return c->bad ? (struct slice){NULL, 0} : read_nullable(c, n, nullable);
}

void cursor_skip(struct cursor *c, size_t n)
{
	(void)cursor_take(c, n);
}
