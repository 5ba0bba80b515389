/* kwire.c: see kwire.h */
#include "bench/kwire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc.h"

static const int16_t versions[] = {
	[KW_PRODUCE] = 7, [KW_FETCH] = 11, [KW_LIST_OFFSETS] = 5, [KW_METADATA] = 7,
	[KW_API_VERSIONS] = 0, [KW_CREATE_TOPICS] = 4, [KW_DELETE_TOPICS] = 1,
};

void kw_out_free(struct kw_out *o)
{
	free(o->data);
	memset(o, 0, sizeof(*o));
}

void kw_raw(struct kw_out *o, const void *bytes, size_t len)
{
	if (o->len + len > o->cap) {
		size_t cap = o->cap ? o->cap : 256;

		while (cap < o->len + len)
			cap *= 2;
		o->data = realloc(o->data, cap);
		if (!o->data)
			abort();
		o->cap = cap;
	}
	if (len)
		memcpy(o->data + o->len, bytes, len);
	o->len += len;
}

void kw_i8(struct kw_out *o, int8_t v)
{
	kw_raw(o, &v, 1);
}

void kw_i16(struct kw_out *o, int16_t v)
{
	uint8_t b[2];

	be16_put(b, (uint16_t)v);
	kw_raw(o, b, 2);
}

void kw_i32(struct kw_out *o, int32_t v)
{
	uint8_t b[4];

	be32_put(b, (uint32_t)v);
	kw_raw(o, b, 4);
}

void kw_i64(struct kw_out *o, int64_t v)
{
	uint8_t b[8];

	be64_put(b, (uint64_t)v);
	kw_raw(o, b, 8);
}

static size_t varint_put(uint8_t *b, int64_t v)
{
	uint64_t u = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
	size_t n = 0;

	while (u >= 0x80) {
		b[n++] = (uint8_t)(u | 0x80);
		u >>= 7;
	}
	b[n++] = (uint8_t)u;
	return n;
}

void kw_varint(struct kw_out *o, int64_t v)
{
	uint8_t b[10];

	kw_raw(o, b, varint_put(b, v));
}

void kw_str(struct kw_out *o, const char *s)
{
	size_t len = s ? strlen(s) : 0;

	kw_i16(o, s ? (int16_t)len : -1);
	kw_raw(o, s, len);
}

void kw_begin(struct kw_out *o, enum kwire_api api)
{
	o->len = 0;
	kw_i32(o, 0);
	kw_i16(o, (int16_t)api);
	kw_i16(o, versions[api]);
	kw_i32(o, 0);
	kw_str(o, "klamm-load");
}

void kw_finish(struct kw_out *o, int32_t correlation_id, size_t extra)
{
	be32_put(o->data, (uint32_t)(o->len - 4 + extra));
	be32_put(o->data + 8, (uint32_t)correlation_id);
}

struct kw_in kw_in_make(struct slice s)
{
	return (struct kw_in){.p = s.ptr, .end = s.ptr + s.len};
}

static const uint8_t *take(struct kw_in *in, size_t n)
{
	const uint8_t *p = in->p;

	if (in->bad || (size_t)(in->end - in->p) < n) {
		in->bad = true;
		return NULL;
	}
	in->p += n;
	return p;
}

int8_t kw_get_i8(struct kw_in *in)
{
	const uint8_t *p = take(in, 1);

	return p ? (int8_t)*p : 0;
}

int16_t kw_get_i16(struct kw_in *in)
{
	const uint8_t *p = take(in, 2);

	return p ? (int16_t)be16_get(p) : 0;
}

int32_t kw_get_i32(struct kw_in *in)
{
	const uint8_t *p = take(in, 4);

	return p ? (int32_t)be32_get(p) : 0;
}

int64_t kw_get_i64(struct kw_in *in)
{
	const uint8_t *p = take(in, 8);

	return p ? (int64_t)be64_get(p) : 0;
}

int64_t kw_get_varint(struct kw_in *in)
{
	uint64_t u = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t *p = take(in, 1);

		if (!p)
			return 0;
		u |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p & 0x80))
			return (int64_t)(u >> 1) ^ -(int64_t)(u & 1);
	}
	in->bad = true;
	return 0;
}

struct slice kw_get_str(struct kw_in *in)
{
	int16_t len = kw_get_i16(in);
	const uint8_t *p = len < 0 ? NULL : take(in, (size_t)len);

	return slice_make(p, p ? (size_t)len : 0);
}

struct slice kw_get_bytes(struct kw_in *in)
{
	int32_t len = kw_get_i32(in);
	const uint8_t *p = len < 0 ? NULL : take(in, (size_t)len);

	return slice_make(p, p ? (size_t)len : 0);
}

void kw_skip(struct kw_in *in, size_t bytes)
{
	take(in, bytes);
}

/* --- record batches, format v2 ----------------------------------------------------------------------------------- */

static size_t record_len(uint32_t idx, size_t key_len, bool key, uint32_t value_bytes)
{
	uint8_t b[10];

	return 1 + 1 + varint_put(b, idx) + varint_put(b, key ? (int64_t)key_len : -1) + key_len + varint_put(b, value_bytes) +
	       value_bytes + 1;
}

static void put_value(struct kw_out *o, const struct kw_batch_spec *spec, uint32_t idx, uint64_t *x)
{
	size_t at = o->len;
	uint8_t block[64];

	for (uint32_t left = spec->value_bytes; left;) {
		uint32_t n = left < sizeof(block) ? left : (uint32_t)sizeof(block);

		for (uint32_t i = 0; i < n; i++) {
			*x ^= *x << 13;
			*x ^= *x >> 7;
			*x ^= *x << 17;
			block[i] = (uint8_t)("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789"[*x >> 58]);
		}
		kw_raw(o, block, n);
		left -= n;
	}
	if (spec->stamp)
		memcpy(o->data + at, spec->stamp + idx * spec->stamp_step, spec->stamp_len < spec->value_bytes ? spec->stamp_len : spec->value_bytes);
}

size_t kw_batch(struct kw_out *o, const struct kw_batch_spec *spec)
{
	size_t start = o->len, key_len = spec->key ? strlen(spec->key) : 0;
	uint64_t x = spec->seed * 2654435761u + 88172645463325252u;

	kw_i64(o, 0);  /* base offset */
	kw_i32(o, 0);  /* length, below */
	kw_i32(o, -1); /* partition leader epoch */
	kw_i8(o, 2);   /* magic */
	kw_i32(o, 0);  /* crc, below */
	kw_i16(o, 0);  /* attributes */
	kw_i32(o, (int32_t)spec->records - 1);
	kw_i64(o, spec->timestamp_ms);
	kw_i64(o, spec->timestamp_ms);
	kw_i64(o, -1); /* producer id */
	kw_i16(o, -1);
	kw_i32(o, -1);
	kw_i32(o, (int32_t)spec->records);
	for (uint32_t i = 0; i < spec->records; i++) {
		kw_varint(o, (int64_t)record_len(i, key_len, spec->key, spec->value_bytes));
		kw_i8(o, 0);
		kw_varint(o, 0);
		kw_varint(o, i);
		kw_varint(o, spec->key ? (int64_t)key_len : -1);
		kw_raw(o, spec->key, key_len);
		kw_varint(o, spec->value_bytes);
		put_value(o, spec, i, &x);
		kw_varint(o, 0);
	}
	be32_put(o->data + start + 8, (uint32_t)(o->len - start - 12));
	kw_batch_seal(o->data + start, o->len - start);
	return o->len - start;
}

uint32_t kw_batch_fit(uint32_t batch_bytes, uint32_t value_bytes)
{
	size_t used = KW_BATCH_HEADER;
	uint32_t n = 0;

	for (;;) {
		uint8_t b[10];
		size_t len = record_len(n, 0, false, value_bytes);

		used += len + varint_put(b, (int64_t)len);
		if (n && used > batch_bytes)
			return n;
		n++;
		if (used > batch_bytes)
			return n;
	}
}

void kw_batch_seal(uint8_t *batch, size_t len)
{
	be32_put(batch + 17, crc32c(batch + 21, len - 21));
}

bool kw_next_batch(struct slice *records, struct kw_batch_view *ret)
{
	const uint8_t *p = records->ptr;
	size_t len;

	if (records->len < KW_BATCH_HEADER)
		return false;
	len = (size_t)be32_get(p + 8) + 12;
	if (len < KW_BATCH_HEADER || len > records->len)
		return false;
	ret->bytes = slice_make(p, len);
	ret->base_offset = (int64_t)be64_get(p);
	ret->attributes = (int16_t)be16_get(p + 21);
	ret->last_offset = ret->base_offset + (int32_t)be32_get(p + 23);
	ret->count = (int32_t)be32_get(p + 57);
	records->ptr += len;
	records->len -= len;
	return true;
}

bool kw_batch_crc_ok(const struct kw_batch_view *b)
{
	return b->bytes.ptr[16] == 2 && be32_get(b->bytes.ptr + 17) == crc32c(b->bytes.ptr + 21, b->bytes.len - 21);
}

static struct slice get_var_bytes(struct kw_in *in)
{
	int64_t len = kw_get_varint(in);
	const uint8_t *p = len < 0 ? NULL : take(in, (size_t)len);

	return slice_make(p, p ? (size_t)len : 0);
}

bool kw_batch_records(const struct kw_batch_view *b, void (*fn)(void *ctx, int64_t offset, struct slice key, struct slice value), void *ctx)
{
	struct kw_in in = kw_in_make(b->bytes);

	if (b->attributes & 7)
		return false;
	kw_skip(&in, KW_BATCH_HEADER);
	for (int32_t i = 0; i < b->count; i++) {
		int64_t len = kw_get_varint(&in), delta;
		const uint8_t *body = len > 0 ? take(&in, (size_t)len) : NULL;
		struct kw_in rec;
		struct slice key, value;

		if (!body)
			return false;
		rec = kw_in_make(slice_make(body, (size_t)len));
		kw_get_i8(&rec);
		kw_get_varint(&rec);
		delta = kw_get_varint(&rec);
		key = get_var_bytes(&rec);
		value = get_var_bytes(&rec);
		if (rec.bad)
			return false;
		fn(ctx, b->base_offset + delta, key, value);
	}
	return !in.bad;
}

const char *kw_error_name(int16_t code)
{
	static char other[24];

	switch (code) {
	case 0: return "NONE";
	case 1: return "OFFSET_OUT_OF_RANGE";
	case 2: return "CORRUPT_MESSAGE";
	case 3: return "UNKNOWN_TOPIC_OR_PARTITION";
	case 5: return "LEADER_NOT_AVAILABLE";
	case 6: return "NOT_LEADER_OR_FOLLOWER";
	case 7: return "REQUEST_TIMED_OUT";
	case 10: return "MESSAGE_TOO_LARGE";
	case 17: return "INVALID_TOPIC_EXCEPTION";
	case 19: return "NOT_ENOUGH_REPLICAS";
	case 20: return "NOT_ENOUGH_REPLICAS_AFTER_APPEND";
	case 35: return "UNSUPPORTED_VERSION";
	case 36: return "TOPIC_ALREADY_EXISTS";
	case 37: return "INVALID_PARTITIONS";
	case 38: return "INVALID_REPLICATION_FACTOR";
	case 41: return "NOT_CONTROLLER";
	case 56: return "KAFKA_STORAGE_ERROR";
	case 87: return "INVALID_RECORD";
	default: snprintf(other, sizeof(other), "ERROR_%d", code); return other;
	}
}
