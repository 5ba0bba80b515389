/* zkjson.c: reading JSON with a sticky error, writing it with fixed bytes. */
#include "common/zk/zkjson.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* jansson's hash tables would be seeded at random; lookups never show the order, but equal runs shall do equal work */
#define HASH_SEED 0x6b6c616d

void jin_begin(struct jin *j, struct slice data, struct arena *a)
{
	json_error_t e;
	*j = (struct jin){.a = a};
	if (!data.ptr || data.len == 0 || data.len > ZKD_BYTES_MAX) {
		j->bad = true;
		return;
	}
	json_object_seed(HASH_SEED);
	j->root = json_loadb((const char *)data.ptr, data.len, 0, &e);
	if (!json_is_object(j->root))
		j->bad = true;
}

int jin_end(struct jin *j)
{
	json_decref(j->root);
	j->root = NULL;
	return j->bad ? ERR_CORRUPT : 0;
}

static json_t *member(struct jin *j, json_t *obj, const char *key, int required)
{
	json_t *v = j->bad ? NULL : json_object_get(obj, key);
	if (!v || json_is_null(v)) {
		if (required)
			j->bad = true;
		return NULL;
	}
	return v;
}

json_t *jin_object(struct jin *j, json_t *obj, const char *key, int required)
{
	json_t *v = member(j, obj, key, required);
	if (v && !json_is_object(v)) {
		j->bad = true;
		return NULL;
	}
	return v;
}

json_t *jin_array(struct jin *j, json_t *obj, const char *key, int required)
{
	json_t *v = member(j, obj, key, required);
	if (v && !json_is_array(v)) {
		j->bad = true;
		return NULL;
	}
	return v;
}

int64_t jin_int_value(struct jin *j, const json_t *v, int64_t lo, int64_t hi)
{
	if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi) {
		j->bad = true;
		return lo;
	}
	return json_integer_value(v);
}

int64_t jin_int(struct jin *j, json_t *obj, const char *key, int required, int64_t lo, int64_t hi, int64_t absent)
{
	const json_t *v = member(j, obj, key, required);
	return v ? jin_int_value(j, v, lo, hi) : absent;
}

int32_t jin_i32(struct jin *j, json_t *obj, const char *key, int required, int32_t absent)
{
	return (int32_t)jin_int(j, obj, key, required, INT32_MIN, INT32_MAX, absent);
}

int64_t jin_int_text(struct jin *j, json_t *obj, const char *key, int required, int64_t absent)
{
	const json_t *v = member(j, obj, key, required);
	int64_t n = absent;
	if (json_is_integer(v))
		return json_integer_value(v);
	if (v && (!json_is_string(v) || str_to_i64(json_string_value(v), &n) < 0))
		j->bad = true;
	return n;
}

const char *jin_str_value(struct jin *j, const json_t *v, size_t len_max)
{
	if (!json_is_string(v) || json_string_length(v) > len_max) {
		j->bad = true;
		return "";
	}
	return arena_strndup(j->a, json_string_value(v), json_string_length(v));
}

const char *jin_str(struct jin *j, json_t *obj, const char *key, int required, size_t len_max)
{
	const json_t *v = member(j, obj, key, required);
	if (!v)
		return required ? "" : NULL;
	return jin_str_value(j, v, len_max);
}

uint64_t jin_hex(struct jin *j, json_t *obj, const char *key)
{
	const json_t *v = member(j, obj, key, J_OPTIONAL);
	uint64_t n = 0;
	if (!v)
		return 0;
	const char *s = json_string_value(v);
	if (!s || strlen(s) != 16 || strspn(s, "0123456789abcdef") != 16) {
		j->bad = true;
		return 0;
	}
	for (; *s; s++)
		n = n << 4 | (uint64_t)(*s <= '9' ? *s - '0' : *s - 'a' + 10);
	return n;
}

static int compare_ids(const void *a, const void *b)
{
	int32_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

static bool all_different(const int32_t *ids, size_t n)
{
	/* nearly always a handful; a hostile long list must not cost a square */
	if (n <= 16) {
		for (size_t i = 1; i < n; i++)
			for (size_t k = 0; k < i; k++)
				if (ids[i] == ids[k])
					return false;
		return true;
	}
	int32_t *sorted = mem_alloc(n * sizeof(*sorted));
	bool ok = true;
	memcpy(sorted, ids, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_ids);
	for (size_t i = 1; i < n && ok; i++)
		ok = sorted[i] != sorted[i - 1];
	mem_free(sorted);
	return ok;
}

struct zkd_ids jin_ids(struct jin *j, const json_t *array)
{
	if (j->bad || !array)
		return (struct zkd_ids){0};
	if (!json_is_array(array)) {
		j->bad = true;
		return (struct zkd_ids){0};
	}
	size_t n = json_array_size(array);
	int32_t *ids = ARENA_ARRAY(j->a, int32_t, n);
	for (size_t i = 0; i < n; i++)
		ids[i] = (int32_t)jin_int_value(j, json_array_get(array, i), 0, INT32_MAX);
	if (!j->bad && !all_different(ids, n))
		j->bad = true;
	return (struct zkd_ids){ids, n};
}

static int compare_partitions(const void *a, const void *b)
{
	const struct zkd_partition *x = a, *y = b;
	return (x->partition > y->partition) - (x->partition < y->partition);
}

struct zkd_partition *jin_assignment(struct jin *j, json_t *map, bool allow_empty, size_t *ret_count)
{
	const char *key;
	json_t *v;
	size_t n = 0;

	*ret_count = 0;
	if (j->bad || !map)
		return NULL;
	struct zkd_partition *p = ARENA_ARRAY(j->a, struct zkd_partition, json_object_size(map));
	json_object_foreach(map, key, v) {
		if (zkp_id(key, &p[n].partition) < 0 || !json_is_array(v) || (!allow_empty && json_array_size(v) == 0)) {
			j->bad = true;
			return NULL;
		}
		p[n].replicas = jin_ids(j, v);
		n++;
	}
	if (n > 1) /* keys are canonical numbers, so no two are equal */
		qsort(p, n, sizeof(*p), compare_partitions);
	*ret_count = n;
	return p;
}

/* Length of the UTF-8 sequence at s, 0 if it is none (overlong, surrogate, too large, cut short). */
static size_t utf8_len(const uint8_t *s)
{
	if (s[0] < 0x80)
		return 1;
	/* a NUL is no continuation byte, so that reading stops at the end of the text */
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return (s[1] & 0xc0) == 0x80 ? 2 : 0;
	if ((s[0] & 0xf0) == 0xe0) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if ((s[1] & 0xc0) != 0x80 || (s[2] & 0xc0) != 0x80 || (s[3] & 0xc0) != 0x80)
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
			return 0;
		return 4;
	}
	return 0;
}

void jout_str(struct str *out, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	str_add(out, "\"");
	while (*s) {
		size_t n = utf8_len(s);
		if (n == 0) {
			str_add(out, "\xef\xbf\xbd");
			s++;
			continue;
		}
		if (*s == '"' || *s == '\\')
			str_printf(out, "\\%c", *s);
		else if (*s < ' ' || *s == 0x7f)
			str_printf(out, "\\u%04x", *s);
		else
			str_add_bytes(out, s, n);
		s += n;
	}
	str_add(out, "\"");
}

void jout_ids(struct str *out, struct zkd_ids ids)
{
	str_add(out, "[");
	for (size_t i = 0; i < ids.count; i++)
		str_printf(out, "%s%d", i ? "," : "", ids.ids[i]);
	str_add(out, "]");
}
