/* record.c: the records inside of a batch. See record.h.
 *
 * One parser for plain and compressed batches: it reads from [ptr, end); when that is used up and the batch is compressed, the next
 * piece is decompressed into the window. The length that a record declares must be consumed exactly.
 */
#include "brokerd/log/record.h"

#include <string.h>

int record_reader_init(struct record_reader *rr, struct slice one_batch, const struct batch *b, uint64_t decompressed_max)
{
	rr->batch = b;
	rr->left = 0;
	rr->streaming = batch_codec(b) != 0;
	rr->ptr = one_batch.ptr + BATCH_HEADER_BYTES;
	rr->end = one_batch.ptr + one_batch.len;
	rr->d = (struct decompressor){0};
	if (!rr->streaming)
		return 0;
	struct slice in = slice_make(rr->ptr, (size_t)(rr->end - rr->ptr));
	rr->ptr = rr->end = rr->window;
	return decompressor_init(&rr->d, (enum codec)batch_codec(b), in, decompressed_max);
}

void record_reader_fini(struct record_reader *rr)
{
	if (rr->streaming)
		decompressor_fini(&rr->d);
}

/* More bytes into the window: ERR_CORRUPT at the end. */
static int refill(struct record_reader *rr)
{
	size_t got = 0;

	if (!rr->streaming)
		return ERR_CORRUPT;
	int err = decompressor_read(&rr->d, rr->window, sizeof(rr->window), &got);
	if (err)
		return err;
	if (got == 0)
		return ERR_CORRUPT;
	rr->ptr = rr->window;
	rr->end = rr->window + got;
	return 0;
}

static inline int read_byte(struct record_reader *rr, uint8_t *ret)
{
	if (rr->ptr == rr->end) {
		int err = refill(rr);
		if (err)
			return err;
	}
	*ret = *rr->ptr++;
	return 0;
}

static int read_varint_long(struct record_reader *rr, int bits, int64_t *ret)
{
	uint64_t v = 0;
	int shift_max = bits == 32 ? 28 : 63;

	for (int shift = 0;; shift += 7) {
		uint8_t b;
		int err = read_byte(rr, &b);
		if (err)
			return err;
		if (rr->left-- == 0)
			return ERR_CORRUPT;
		v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			break;
		if (shift >= shift_max)
			return ERR_CORRUPT;
	}
	if (bits == 32)
		v &= UINT32_MAX;
	*ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
	return 0;
}

/* Most numbers have one byte or two. */
static inline int read_varint(struct record_reader *rr, int bits, int64_t *ret)
{
	if (rr->end - rr->ptr < 2 || rr->left < 2)
		return read_varint_long(rr, bits, ret);
	uint32_t v = rr->ptr[0];
	if (v < 128) {
		rr->ptr++;
		rr->left--;
	} else if (rr->ptr[1] < 128) {
		v = (v & 127) | (uint32_t)rr->ptr[1] << 7;
		rr->ptr += 2;
		rr->left -= 2;
	} else {
		return read_varint_long(rr, bits, ret);
	}
	*ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
	return 0;
}

/* Passes over n bytes; the first few of them are copied to prefix unless it is NULL. */
static int skip(struct record_reader *rr, int64_t n, uint8_t *prefix, size_t prefix_bytes)
{
	if ((uint64_t)n > rr->left)
		return ERR_CORRUPT;
	rr->left -= (uint64_t)n;
	if (n <= rr->end - rr->ptr) {
		if (prefix)
			memcpy(prefix, rr->ptr, (size_t)n < prefix_bytes ? (size_t)n : prefix_bytes);
		rr->ptr += n;
		return 0;
	}
	for (size_t seen = 0; n > 0;) {
		if (rr->ptr == rr->end) {
			int err = refill(rr);
			if (err)
				return err;
		}
		size_t take = (size_t)(rr->end - rr->ptr);
		if ((uint64_t)take > (uint64_t)n)
			take = (size_t)n;
		for (size_t i = 0; prefix && i < take && seen < prefix_bytes; i++)
			prefix[seen++] = rr->ptr[i];
		rr->ptr += take;
		n -= (int64_t)take;
	}
	return 0;
}

/* A length and as many bytes; -1 only if nullable. */
static int read_bytes(struct record_reader *rr, bool nullable, int32_t *ret_len, uint8_t *prefix, size_t prefix_bytes)
{
	int64_t len;
	int err = read_varint(rr, 32, &len);
	if (err)
		return err;
	if (len < (nullable ? -1 : 0))
		return ERR_CORRUPT;
	*ret_len = (int32_t)len;
	return len > 0 ? skip(rr, len, prefix, prefix_bytes) : 0;
}

static int read_headers(struct record_reader *rr, struct record *r)
{
	int64_t count;
	int err = read_varint(rr, 32, &count);
	if (!err && (count < 0 || (uint64_t)count > rr->left))
		err = ERR_CORRUPT;
	for (int64_t i = 0; !err && i < count; i++) {
		int32_t len;
		err = read_bytes(rr, false, &len, NULL, 0);
		if (!err)
			err = read_bytes(rr, true, &len, NULL, 0);
	}
	r->headers = err ? 0 : (int32_t)count;
	return err;
}

int record_read(struct record_reader *rr, struct record *ret_r)
{
	int64_t len, time_delta, offset_delta;
	uint8_t attributes;

	rr->left = 5;
	int err = read_varint(rr, 32, &len);
	if (err)
		return err;
	if (len < 0)
		return ERR_CORRUPT;
	if (!rr->streaming && len > rr->end - rr->ptr)
		return ERR_CORRUPT;
	rr->left = (uint64_t)len;
	err = read_byte(rr, &attributes);
	if (err)
		return err;
	if (rr->left-- == 0)
		return ERR_CORRUPT;
	err = read_varint(rr, 64, &time_delta);
	if (!err)
		err = read_varint(rr, 32, &offset_delta);
	if (!err)
		err = read_bytes(rr, true, &ret_r->key_len, ret_r->key_prefix, sizeof(ret_r->key_prefix));
	if (!err)
		err = read_bytes(rr, true, &ret_r->value_len, ret_r->value_prefix, sizeof(ret_r->value_prefix));
	if (!err)
		err = read_headers(rr, ret_r);
	if (!err && rr->left != 0)
		err = ERR_CORRUPT;
	if (err)
		return err;
	ret_r->offset_delta = (int32_t)offset_delta;
	ret_r->timestamp = batch_is_log_append_time(rr->batch) ? rr->batch->max_timestamp
		: (int64_t)((uint64_t)rr->batch->base_timestamp + (uint64_t)time_delta);
	return 0;
}

int record_reader_end(struct record_reader *rr)
{
	if (rr->ptr != rr->end)
		return ERR_CORRUPT;
	if (!rr->streaming)
		return 0;
	size_t got;
	int err = decompressor_read(&rr->d, rr->window, sizeof(rr->window), &got);
	return err ? err : got ? ERR_CORRUPT : 0;
}

int control_parse(struct slice one_batch, const struct batch *b, int *ret_type, int32_t *ret_coordinator_epoch)
{
	struct record_reader rr;
	struct record r;

	int err = record_reader_init(&rr, one_batch, b, 1 << 16);
	if (!err && b->record_count < 1)
		err = ERR_UNSUPPORTED; /* emptied by compaction: no marker any more */
	if (!err)
		err = record_read(&rr, &r);
	record_reader_fini(&rr);
	if (err)
		return err;
	if (r.key_len < 4)
		return ERR_CORRUPT;
	int type = be16_get(r.key_prefix + 2);
	if (type != CONTROL_ABORT && type != CONTROL_COMMIT)
		return ERR_UNSUPPORTED;
	if (r.value_len < 6)
		return ERR_CORRUPT;
	*ret_type = type;
	*ret_coordinator_epoch = (int32_t)be32_get(r.value_prefix + 2);
	return 0;
}
