/* batch.h: record batches of the simulated clients: v2, plain, values that begin with the record's id. Written here anew, so that a
 * mistake of the product's batch code is not made twice. Timestamps are virtual; nothing here takes memory but the builder's buffer.
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/slice.h"

struct sim_batch {
	int64_t base_offset, producer_id;
	int32_t leader_epoch, base_sequence, count, total_bytes;
	int16_t producer_epoch, attributes;
};

/* count records with ids first_id.. ; pad more bytes in each value. */
struct buf *sim_batch_build(uint64_t first_id, int32_t count, uint32_t pad, int64_t timestamp_ms, int64_t producer_id, int16_t producer_epoch,
	int32_t base_sequence, size_t *ret_len);
/* Sequence and epoch of a built batch anew (its checksum follows). */
void sim_batch_resequence(struct buf *b, size_t len, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence);

/* The batch at the front of `bytes`: 0 whole and its checksum right; ERR_RANGE: cut short; ERR_CORRUPT. */
int sim_batch_parse(struct slice bytes, struct sim_batch *ret_b);
typedef void sim_record_fn(void *ctx, int64_t offset, struct slice key, struct slice value);
/* Calls fn for each record, ptr NULL: null; false if the records do not parse. */
bool sim_batch_each(struct slice bytes, const struct sim_batch *b, sim_record_fn *fn, void *ctx);
/* As above, with the ids of the values. */
bool sim_batch_records(struct slice bytes, const struct sim_batch *b, void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id), void *ctx);
