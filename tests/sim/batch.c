/* batch.c: see batch.h. Layout: facts of Kafka's record format v2 (docs/FORMATS.md). */
#include "tests/sim/batch.h"

#include "common/base/crc.h"
#include "common/base/err.h"
#include "common/wire/cursor.h"

enum { HEADER_BYTES = 61, CRC_FROM = 21, RECORD_BYTES_MAX = 64 };

static void put_producer(uint8_t *b, size_t len, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence)
{
	be64_put(b + 43, (uint64_t)producer_id);
	be16_put(b + 51, (uint16_t)producer_epoch);
	be32_put(b + 53, (uint32_t)base_sequence);
	be32_put(b + 17, crc32c(b + CRC_FROM, len - CRC_FROM));
}

struct buf *sim_batch_build(uint64_t first_id, int32_t count, uint32_t pad, int64_t timestamp_ms, int64_t producer_id, int16_t producer_epoch,
	int32_t base_sequence, size_t *ret_len)
{
	struct buf *b = buf_new(HEADER_BYTES + (size_t)count * (RECORD_BYTES_MAX + pad));
	uint8_t *p = b->data + HEADER_BYTES;
	for (int32_t i = 0; i < count; i++) {
		int32_t value = 8 + (int32_t)pad;
		/* attributes, timestamp delta, offset delta, null key, value, no headers */
		size_t len = 1 + varlong_size(0) + varint_size(i) + varint_size(-1) + varint_size(value) + (size_t)value + varint_size(0);
		p = put_varint(p, (int32_t)len);
		p = put_u8(p, 0);
		p = put_varlong(p, 0);
		p = put_varint(p, i);
		p = put_varint(p, -1);
		p = put_varint(p, value);
		be64_put(p, first_id + (uint64_t)i);
		memset(p + 8, (int)('a' + (first_id + (uint64_t)i) % 26), pad);
		p += value;
		p = put_varint(p, 0);
	}
	size_t len = (size_t)(p - b->data);
	uint8_t *h = b->data;
	be64_put(h, 0);
	be32_put(h + 8, (uint32_t)(len - 12));
	be32_put(h + 12, (uint32_t)-1);
	h[16] = 2;
	be16_put(h + 21, 0);
	be32_put(h + 23, (uint32_t)(count - 1));
	be64_put(h + 27, (uint64_t)timestamp_ms);
	be64_put(h + 35, (uint64_t)timestamp_ms);
	be32_put(h + 57, (uint32_t)count);
	put_producer(h, len, producer_id, producer_epoch, base_sequence);
	*ret_len = len;
	return b;
}

void sim_batch_resequence(struct buf *b, size_t len, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence)
{
	put_producer(b->data, len, producer_id, producer_epoch, base_sequence);
}

int sim_batch_parse(struct slice bytes, struct sim_batch *ret_b)
{
	if (bytes.len < 12)
		return ERR_RANGE;
	const uint8_t *p = bytes.ptr;
	int64_t total = (int64_t)(int32_t)be32_get(p + 8) + 12;
	if (total < HEADER_BYTES)
		return ERR_CORRUPT;
	if ((uint64_t)total > bytes.len)
		return ERR_RANGE;
	if (p[16] != 2 || crc32c(p + CRC_FROM, (size_t)total - CRC_FROM) != be32_get(p + 17))
		return ERR_CORRUPT;
	*ret_b = (struct sim_batch){
		.base_offset = (int64_t)be64_get(p), .total_bytes = (int32_t)total, .leader_epoch = (int32_t)be32_get(p + 12),
		.attributes = (int16_t)be16_get(p + 21), .producer_id = (int64_t)be64_get(p + 43), .producer_epoch = (int16_t)be16_get(p + 51),
		.base_sequence = (int32_t)be32_get(p + 53), .count = (int32_t)be32_get(p + 57),
	};
	return 0;
}

bool sim_batch_each(struct slice bytes, const struct sim_batch *b, sim_record_fn *fn, void *ctx)
{
	struct cursor c = cursor_make(slice_make(bytes.ptr + HEADER_BYTES, (size_t)b->total_bytes - HEADER_BYTES));
	for (int32_t i = 0; i < b->count; i++) {
		int32_t len = cursor_varint(&c);
		struct cursor in = cursor_make(cursor_bytes(&c, len));
		cursor_skip(&in, 1);
		cursor_varlong(&in);
		int32_t delta = cursor_varint(&in);
		int32_t key_len = cursor_varint(&in);
		struct slice key = key_len < 0 ? (struct slice){0} : cursor_bytes(&in, key_len);
		int32_t value_len = cursor_varint(&in);
		struct slice value = value_len < 0 ? (struct slice){0} : cursor_bytes(&in, value_len);
		if (c.bad || in.bad || delta != i)
			return false;
		fn(ctx, b->base_offset + delta, key, value);
	}
	return !c.bad && cursor_left(&c) == 0;
}

struct ids { const struct sim_batch *b; void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id); void *ctx; bool bad; };

static void take_id(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct ids *i = ctx;
	(void)key;
	if (value.len < 8)
		i->bad = true;
	else
		i->fn(i->ctx, offset, i->b->leader_epoch, be64_get(value.ptr));
}

bool sim_batch_records(struct slice bytes, const struct sim_batch *b, void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id), void *ctx)
{
	struct ids i = {b, fn, ctx, false};
	return sim_batch_each(bytes, b, take_id, &i) && !i.bad;
}
