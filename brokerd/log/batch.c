/* batch.c: reading, validating and patching record batches of format v2.
 *
 * What is refused and what is not is listed in batch.h. All input is foreign: no assertion looks at it, and nothing is allocated
 * in proportion to what a length field says. Looking inside a compressed batch streams through a window of a few KiB on the stack.
 */
#include "brokerd/log/batch.h"

#include "brokerd/log/record.h"
#include "common/base/check.h"
#include "common/base/crc.h"

/* Where the fields are (facts/ondisk.md 2). */
enum { AT_LENGTH = 8, AT_EPOCH = 12, AT_MAGIC = 16, AT_CRC = 17, AT_ATTRIBUTES = 21, AT_LAST_DELTA = 23, AT_BASE_TIME = 27, AT_MAX_TIME = 35,
	AT_PRODUCER_ID = 43, AT_PRODUCER_EPOCH = 51, AT_BASE_SEQUENCE = 53, AT_COUNT = 57 };
_Static_assert(AT_COUNT + 4 == BATCH_HEADER_BYTES, "batch header");

#define ATTRIBUTE_LOG_APPEND_TIME 8
#define OLD_MESSAGE_BYTES_MIN 14 /* crc, magic, attributes, two lengths */

int batch_parse(struct slice bytes, struct batch *ret_b)
{
	*ret_b = (struct batch){0};
	if (bytes.len < BATCH_LOG_OVERHEAD)
		return ERR_RANGE;
	int64_t base = (int64_t)be64_get(bytes.ptr);
	int32_t length = (int32_t)be32_get(bytes.ptr + AT_LENGTH);
	if (length < OLD_MESSAGE_BYTES_MIN || length > INT32_MAX - BATCH_LOG_OVERHEAD || base < 0)
		return ERR_CORRUPT;
	ret_b->base_offset = base;
	ret_b->total_bytes = length + BATCH_LOG_OVERHEAD;
	if (bytes.len <= AT_MAGIC)
		return ERR_RANGE;
	ret_b->magic = (int8_t)bytes.ptr[AT_MAGIC];
	if (ret_b->magic == 0 || ret_b->magic == 1)
		return LOG_ERR_BAD_MAGIC;
	if (ret_b->magic != 2 || ret_b->total_bytes < BATCH_HEADER_BYTES)
		return ERR_CORRUPT;
	if (bytes.len < BATCH_HEADER_BYTES)
		return ERR_RANGE;
	const uint8_t *p = bytes.ptr;
	ret_b->leader_epoch = (int32_t)be32_get(p + AT_EPOCH);
	ret_b->crc = be32_get(p + AT_CRC);
	ret_b->attributes = (int16_t)be16_get(p + AT_ATTRIBUTES);
	ret_b->last_offset_delta = (int32_t)be32_get(p + AT_LAST_DELTA);
	ret_b->base_timestamp = (int64_t)be64_get(p + AT_BASE_TIME);
	ret_b->max_timestamp = (int64_t)be64_get(p + AT_MAX_TIME);
	ret_b->producer_id = (int64_t)be64_get(p + AT_PRODUCER_ID);
	ret_b->producer_epoch = (int16_t)be16_get(p + AT_PRODUCER_EPOCH);
	ret_b->base_sequence = (int32_t)be32_get(p + AT_BASE_SEQUENCE);
	ret_b->record_count = (int32_t)be32_get(p + AT_COUNT);
	return 0;
}

bool batch_crc_ok(struct slice one_batch)
{
	if (one_batch.len < BATCH_HEADER_BYTES)
		return false;
	return crc32c(one_batch.ptr + AT_ATTRIBUTES, one_batch.len - AT_ATTRIBUTES) == be32_get(one_batch.ptr + AT_CRC);
}

/* ---- validation ---- */

static void refuse(struct batch_verdict *v, int err, const char *message)
{
	v->err = err;
	v->message = message;
}

/* What can be told without looking inside; false = refused. */
static bool check_outside(struct slice records, const struct batch_limits *lim, struct batch *b, struct batch_verdict *v)
{
	if (records.len < BATCH_LOG_OVERHEAD) {
		refuse(v, LOG_ERR_INVALID_RECORD, "a produce request must have one record batch per partition");
		return false;
	}
	int err = batch_parse(records, b);
	if (err == LOG_ERR_BAD_MAGIC) {
		refuse(v, LOG_ERR_BAD_MAGIC, "message format 0 and 1 are not supported: use a client that writes record batches (format 2)");
		return false;
	}
	if (err == ERR_RANGE || (!err && (size_t)b->total_bytes > records.len)) {
		refuse(v, LOG_ERR_INVALID_RECORD, "the record batch is longer than what was sent");
		return false;
	}
	if (err) {
		if (records.len > AT_MAGIC && (uint8_t)(records.ptr[AT_MAGIC]) > 2)
			refuse(v, LOG_ERR_BAD_MAGIC, "unknown message format");
		else
			refuse(v, LOG_ERR_BAD_CRC, "the record batch header makes no sense");
		return false;
	}
	if (batch_codec(b) == RECORD_CODEC_ZSTD && lim->produce_version < 7) {
		refuse(v, LOG_ERR_BAD_CODEC, "zstd needs Produce version 7 or later");
		return false;
	}
	if ((size_t)b->total_bytes != records.len) {
		refuse(v, LOG_ERR_INVALID_RECORD, "a produce request must have exactly one record batch per partition");
		return false;
	}
	if (b->base_offset != 0) {
		refuse(v, LOG_ERR_INVALID_RECORD, "the base offset of a produced record batch must be 0");
		return false;
	}
	if (b->total_bytes > lim->bytes_max) {
		refuse(v, LOG_ERR_TOO_LARGE, "the record batch is larger than max.message.bytes");
		return false;
	}
	if (!batch_crc_ok(records)) {
		refuse(v, LOG_ERR_BAD_CRC, "the checksum of the record batch does not match its content");
		return false;
	}
	if (batch_codec(b) > RECORD_CODEC_ZSTD) {
		refuse(v, LOG_ERR_BAD_CODEC, "unknown compression type");
		return false;
	}
	if (b->last_offset_delta < 0)
		refuse(v, LOG_ERR_INVALID_RECORD, "the record batch has an invalid offset range");
	else if (b->record_count <= 0)
		refuse(v, LOG_ERR_INVALID_RECORD, "the record batch has an invalid record count");
	else if ((int64_t)b->last_offset_delta + 1 != b->record_count)
		refuse(v, LOG_ERR_INVALID_RECORD, "the offset range of the record batch does not agree with its record count");
	else if (batch_is_control(b))
		refuse(v, LOG_ERR_INVALID_RECORD, "clients are not allowed to write control records");
	else if (b->producer_id >= 0 && b->base_sequence < 0)
		refuse(v, LOG_ERR_INVALID_RECORD, "a record batch with a producer id needs a sequence number");
	return v->err == 0;
}

static void record_error(struct batch_verdict *v, int32_t idx, int err, const char *message)
{
	/* A bad timestamp wins over a missing key when both occur, as in Kafka. */
	if (v->err != LOG_ERR_BAD_TIMESTAMP)
		refuse(v, err, message);
	if (v->record_error_count < BATCH_RECORD_ERRORS_MAX)
		v->record_errors[v->record_error_count++] = (struct batch_record_error){idx, message};
}

static void check_record(const struct record *r, int32_t idx, const struct batch_limits *lim, struct batch_verdict *v)
{
	if (lim->compacted && r->key_len < 0)
		record_error(v, idx, LOG_ERR_INVALID_RECORD, "Compacted topic cannot accept message without key.");
	if (lim->log_append_time || r->timestamp == -1)
		return;
	/* Subtractions that cannot overflow: the timestamp is foreign. */
	bool late = r->timestamp > lim->now_ms && (uint64_t)r->timestamp - (uint64_t)lim->now_ms > (uint64_t)lim->after_max_ms;
	bool early = r->timestamp < lim->now_ms && (uint64_t)lim->now_ms - (uint64_t)r->timestamp > (uint64_t)lim->before_max_ms;
	if (late || early)
		record_error(v, idx, LOG_ERR_BAD_TIMESTAMP, "Timestamp of message is out of range.");
}

void batch_validate(struct slice records, const struct batch_limits *lim, struct batch *ret_b, struct batch_verdict *ret_v)
{
	*ret_b = (struct batch){0};
	*ret_v = (struct batch_verdict){.max_timestamp = -1};
	if (!check_outside(records, lim, ret_b, ret_v))
		return;

	struct record_reader rr;
	struct record r;
	int err = record_reader_init(&rr, records, ret_b, lim->decompressed_max);
	for (int32_t i = 0; !err && i < ret_b->record_count; i++) {
		err = record_read(&rr, &r);
		if (!err && r.offset_delta != i)
			err = ERR_CORRUPT;
		if (err)
			break;
		if (r.timestamp > ret_v->max_timestamp) {
			ret_v->max_timestamp = r.timestamp;
			ret_v->max_timestamp_offset_delta = i;
		}
		check_record(&r, i, lim, ret_v);
	}
	if (!err)
		err = record_reader_end(&rr);
	ret_v->inside_bytes = rr.streaming ? rr.d.out_bytes : records.len - BATCH_HEADER_BYTES;
	record_reader_fini(&rr);
	/* Damage says more than what single records lack. */
	if (err)
		ret_v->record_error_count = 0;
	if (err == ERR_LIMIT)
		refuse(ret_v, LOG_ERR_TOO_LARGE, "the record batch is too large when decompressed");
	else if (err == ERR_UNSUPPORTED)
		refuse(ret_v, LOG_ERR_BAD_CODEC, "unknown compression type");
	else if (err)
		refuse(ret_v, LOG_ERR_INVALID_RECORD, "the records inside of the record batch are damaged");
	if (lim->log_append_time) {
		ret_v->max_timestamp = lim->now_ms;
		ret_v->max_timestamp_offset_delta = 0;
	}
}

void batch_assign(uint8_t *bytes, struct batch *b, int64_t base_offset, int32_t leader_epoch, bool log_append_time, int64_t now_ms)
{
	b->base_offset = base_offset;
	b->leader_epoch = leader_epoch;
	be64_put(bytes, (uint64_t)base_offset);
	be32_put(bytes + AT_EPOCH, (uint32_t)leader_epoch);

	int16_t attributes = b->attributes;
	if (log_append_time) {
		attributes |= ATTRIBUTE_LOG_APPEND_TIME;
		b->max_timestamp = now_ms;
	} else {
		attributes &= ~ATTRIBUTE_LOG_APPEND_TIME;
	}
	b->attributes = attributes;
	if (be16_get(bytes + AT_ATTRIBUTES) == (uint16_t)attributes && (int64_t)be64_get(bytes + AT_MAX_TIME) == b->max_timestamp)
		return;
	be16_put(bytes + AT_ATTRIBUTES, (uint16_t)attributes);
	be64_put(bytes + AT_MAX_TIME, (uint64_t)b->max_timestamp);
	b->crc = crc32c(bytes + AT_ATTRIBUTES, (size_t)b->total_bytes - AT_ATTRIBUTES);
	be32_put(bytes + AT_CRC, b->crc);
}
