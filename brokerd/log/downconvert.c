/* downconvert.c: format v2 to message sets. See downconvert.h; the formats: facts/ondisk.md 2, 3. */
#include "brokerd/log/downconvert.h"

#include "brokerd/log/batch.h"
#include "common/base/crc.h"
#include "common/compress/compress.h"

#define MESSAGE_HEAD_MAX 34 /* offset, size, crc, magic, attributes, timestamp, length of the key; that of the value */

/* Zigzag varint; ERR_CORRUPT when it does not end or is too long. */
static int varint(struct slice *in, int64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && in->len; shift += 7) {
		uint8_t b = *in->ptr;
		*in = slice_make(in->ptr + 1, in->len - 1);
		v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128)) {
			*ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
			return 0;
		}
	}
	return ERR_CORRUPT;
}

/* Key or value: *ret_ptr NULL for null. */
static int blob(struct slice *in, struct slice *ret)
{
	int64_t len;
	int err = varint(in, &len);
	if (err)
		return err;
	if (len < -1 || len > (int64_t)in->len)
		return ERR_CORRUPT;
	*ret = len < 0 ? (struct slice){0} : slice_make(in->ptr, (size_t)len);
	if (len > 0)
		*in = slice_make(in->ptr + len, in->len - (size_t)len);
	return 0;
}

static size_t put_blob_len(uint8_t *at, struct slice s)
{
	be32_put(at, s.ptr ? (uint32_t)s.len : UINT32_MAX);
	return 4;
}

static void add_message(struct str *out, const struct downconvert *how, const struct batch *b, int64_t offset, int64_t timestamp, struct slice key, struct slice value)
{
	uint8_t head[MESSAGE_HEAD_MAX], tail[4];
	size_t n = 16; /* behind the CRC */
	head[n++] = (uint8_t)how->magic;
	head[n++] = how->magic && batch_is_log_append_time(b) ? 8 : 0;
	if (how->magic) {
		be64_put(head + n, (uint64_t)timestamp);
		n += 8;
	}
	n += put_blob_len(head + n, key);
	put_blob_len(tail, value);
	be64_put(head, (uint64_t)offset);
	be32_put(head + 8, (uint32_t)(n - 12 + key.len + 4 + value.len));
	size_t start = out->len;
	str_add_bytes(out, head, n);
	if (key.len)
		str_add_bytes(out, key.ptr, key.len);
	str_add_bytes(out, tail, 4);
	if (value.len)
		str_add_bytes(out, value.ptr, value.len);
	be32_put(out->ptr + start + 12, crc32z_update(0, out->ptr + start + 16, out->len - start - 16));
}

/* One record at the front of *in. */
static int convert_record(struct slice *in, const struct downconvert *how, const struct batch *b, struct str *out)
{
	int64_t len, timestamp_delta, offset_delta;
	struct slice key, value;
	int err = varint(in, &len);
	if (err)
		return err;
	if (len < 1 || len > (int64_t)in->len)
		return ERR_CORRUPT;
	struct slice r = slice_make(in->ptr + 1, (size_t)len - 1); /* behind the attributes */
	*in = slice_make(in->ptr + len, in->len - (size_t)len);
	if ((err = varint(&r, &timestamp_delta)) || (err = varint(&r, &offset_delta)) || (err = blob(&r, &key)) || (err = blob(&r, &value)))
		return err;
	if (offset_delta < 0 || offset_delta > b->last_offset_delta)
		return ERR_CORRUPT;
	int64_t offset = b->base_offset + offset_delta;
	if (offset < how->from_offset || (out->len && out->len >= how->bytes_max))
		return 0;
	int64_t timestamp = batch_is_log_append_time(b) ? b->max_timestamp : b->base_timestamp < 0 ? -1 : b->base_timestamp + timestamp_delta;
	add_message(out, how, b, offset, timestamp, key, value);
	return 0;
}

static int convert_batch(struct slice one, const struct downconvert *how, const struct batch *b, struct str *out)
{
	struct slice in = slice_make(one.ptr + BATCH_HEADER_BYTES, one.len - BATCH_HEADER_BYTES);
	struct buf *plain = NULL;
	int err = 0;
	if (batch_codec(b) == CODEC_ZSTD)
		return LOG_ERR_BAD_CODEC;
	if (batch_codec(b)) {
		size_t len;
		err = decompress_once((enum codec)batch_codec(b), in, how->decompressed_max, &plain, &len);
		if (err)
			return err;
		in = slice_make(plain->data, len);
	}
	for (int32_t i = 0; i < b->record_count && !err; i++)
		err = convert_record(&in, how, b, out);
	buf_unref(plain);
	return err;
}

int log_downconvert(struct slice batches, const struct downconvert *how, struct str *out)
{
	while (out->len == 0 || out->len < how->bytes_max) {
		struct batch b;
		int err = batch_parse(batches, &b);
		if (err == ERR_RANGE || (!err && (size_t)b.total_bytes > batches.len))
			return 0; /* the end, or a batch that was cut */
		struct slice one = err ? (struct slice){0} : slice_make(batches.ptr, (size_t)b.total_bytes);
		if (!err && !batch_crc_ok(one))
			err = ERR_CORRUPT;
		size_t before = out->len;
		if (!err && !batch_is_control(&b) && batch_last_offset(&b) >= how->from_offset)
			err = convert_batch(one, how, &b, out);
		if (err) {
			out->len = before;
			return before ? 0 : err;
		}
		batches = slice_make(batches.ptr + b.total_bytes, batches.len - (size_t)b.total_bytes);
	}
	return 0;
}
