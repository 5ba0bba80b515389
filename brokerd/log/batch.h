/* batch.h: record batch v2 (facts/ondisk.md 2): reading headers, validating what producers send, patching what leaders assign.
 * Pure: bytes in, verdict out. Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/log/log_err.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

#define BATCH_HEADER_BYTES 61 /* up to the first record */
#define BATCH_LOG_OVERHEAD 12 /* baseOffset + batchLength */

struct batch {
	int64_t base_offset;
	int32_t total_bytes; /* batchLength + 12 */
	int32_t leader_epoch;
	int8_t magic;
	uint32_t crc;
	int16_t attributes;
	int32_t last_offset_delta;
	int64_t base_timestamp, max_timestamp;
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t record_count;
};

static inline int batch_codec(const struct batch *b) { return b->attributes & 7; }
static inline bool batch_is_log_append_time(const struct batch *b) { return b->attributes & 8; }
static inline bool batch_is_transactional(const struct batch *b) { return b->attributes & 16; }
static inline bool batch_is_control(const struct batch *b) { return b->attributes & 32; }
static inline int64_t batch_last_offset(const struct batch *b) { return b->base_offset + b->last_offset_delta; }
static inline int32_t batch_last_sequence(const struct batch *b)
{
	return (int32_t)(((int64_t)b->base_sequence + b->last_offset_delta) % ((int64_t)INT32_MAX + 1));
}

/* Parses the header at the front of `bytes`. ERR_RANGE: too short to tell (more bytes needed: *ret->total_bytes is valid when
 * bytes.len >= 12, else 0). ERR_CORRUPT: lengths that cannot be. Magic 0/1: LOG_ERR_BAD_MAGIC with base_offset, total_bytes, magic set.
 * Does not look at the CRC. */
MUST_CHECK int batch_parse(struct slice bytes, struct batch *ret_b);
/* CRC-32C over byte 21.. of exactly one batch. */
bool batch_crc_ok(struct slice one_batch);

struct batch_limits {
	int32_t bytes_max;             /* max.message.bytes */
	int64_t now_ms;
	int64_t before_max_ms, after_max_ms; /* message.timestamp.*.max.ms */
	bool compacted;                /* records need keys */
	bool log_append_time;
	int16_t produce_version;       /* zstd needs 7 */
	uint64_t decompressed_max;     /* bound for looking inside */
};
struct batch_record_error { int32_t index; const char *message; };
#define BATCH_RECORD_ERRORS_MAX 16
struct batch_verdict {
	int err;                       /* 0 or enum log_err */
	const char *message;           /* static */
	struct batch_record_error record_errors[BATCH_RECORD_ERRORS_MAX];
	int record_error_count;
	uint64_t inside_bytes;         /* of the records, decompressed */
	int64_t max_timestamp;         /* as found inside */
	int32_t max_timestamp_offset_delta; /* of the first record that holds it */
};
/* What is checked, in this order (the first failure answers for the whole batch):
 *   one batch    there is a whole one, nothing in front of it or behind it (a cut or second batch: INVALID_RECORD; Kafka trims a cut
 *                second batch, we refuse it), magic 2 (0, 1 and unknown ones: BAD_MAGIC), zstd only from Produce version 7 (BAD_CODEC),
 *                base offset 0
 *   size         at most max.message.bytes (TOO_LARGE); segment.bytes is looked at when it is appended (OVER_SEGMENT)
 *   checksum     CRC-32C over all of it but base offset, length, leader epoch (BAD_CRC)
 *   header       codec 0..4 (BAD_CODEC); offset range not empty, record count > 0 and equal to it; no control batch; a producer id needs a
 *                sequence (INVALID_RECORD)
 *   inside       plain and compressed alike (streamed, at most decompressed_max bytes: TOO_LARGE): each record's lengths fit and are
 *                used up exactly, offset deltas are 0..n-1 (Kafka renumbers them in a compressed batch, we refuse), there are exactly n
 *                records and no byte is left over (INVALID_RECORD). Text of header keys is not looked at.
 *   per record   a key on compacted topics (INVALID_RECORD), the timestamp within message.timestamp.*.max.ms unless it is -1 or the topic has
 *                LogAppendTime (BAD_TIMESTAMP, which wins over a missing key); both list the records
 * Not checked but put right when the batch is appended: maximum timestamp and timestamp type in the header. Unknown attribute bits pass.
 * Sequences and transactions: producers.h. */
/* All that a leader checks before offsets are assigned (Kafka 3.9 LogValidator; list in docs/ARCHITECTURE.md): exactly one batch, size,
 * magic, CRC, codec, counts, control bit, producer fields, and inside (plain and compressed): record structure, offset deltas 0..n-1,
 * timestamps, keys on compacted topics, nothing left over. Order of checks is Kafka's. `records` is one partition's field. */
void batch_validate(struct slice records, const struct batch_limits *lim, struct batch *ret_b, struct batch_verdict *ret_v);

/* Leader: patches base offset and leader epoch (outside the CRC); with LogAppendTime also max timestamp, attribute bit and CRC. */
void batch_assign(uint8_t *bytes, struct batch *b, int64_t base_offset, int32_t leader_epoch, bool log_append_time, int64_t now_ms);

struct batch_target {
	int8_t codec;          /* 0..4 */
	int32_t level;         /* compress.h */
	uint64_t inside_bytes; /* from the verdict */
	int32_t bytes_max;     /* max.message.bytes */
};
/* A validated batch in another codec (compression.type, as Kafka's leaders do it): a new buffer with the same records, sequence and times; *b becomes its
 * header. The records pass through a window of 64 KiB. LOG_ERR_TOO_LARGE: over bytes_max; LOG_ERR_INVALID_RECORD: it was not validated. */
MUST_CHECK int batch_recompress(struct slice one_batch, const struct batch_target *target, struct batch *b, struct buf **ret_buf, size_t *ret_len);
