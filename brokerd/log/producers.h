/* producers.h: what a partition remembers of each producer (facts/ondisk.md 3, 5): the last five batches, the epoch, the open
 * transaction; and from the transactions of all of them the first unstable offset.
 *
 * Pure state, no I/O: snapshots are bytes. Owned by whoever owns the log (the data loop, or the job that loads it).
 * The state belongs to an offset (producers_end): everything below it has been taken into account, exactly once and in order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/log/batch.h"
#include "common/base/buf.h"
#include "common/base/slice.h"

struct producers;
#define PRODUCER_WINDOW 5 /* batches by which a retry is recognized */

struct producers *producers_new(void);
void producers_free(struct producers *ps); /* NULL is fine */

enum producer_verdict { PRODUCER_OK, PRODUCER_DUPLICATE, PRODUCER_REFUSED };
/* What a leader says to a batch before offsets are assigned. DUPLICATE: first and last offset and timestamp of the original. REFUSED: *ret_err.
 * check_sequence: false for the coordinator's own batches. marker: coordinator_epoch counts instead of sequences. */
enum producer_verdict producers_check(const struct producers *ps, const struct batch *b, bool check_sequence, bool marker, int32_t coordinator_epoch,
	int64_t *ret_first, int64_t *ret_last, int64_t *ret_timestamp, int *ret_err);

/* A transaction that an abort marker ended. */
struct producer_aborted {
	int64_t producer_id, first_offset, last_offset, last_stable_offset;
};
/* Takes a batch into account whose offsets are final. marker_type: CONTROL_COMMIT/ABORT, -1 for anything else. True: *ret_aborted is to be
 * recorded in the transaction index. */
bool producers_apply(struct producers *ps, const struct batch *b, int marker_type, int32_t coordinator_epoch, struct producer_aborted *ret_aborted);

/* After producers_load, for batches below its end in ascending order: a snapshot keeps one batch of each producer, this brings the
 * older ones of the window back. What does not fit to what is known (other epoch, not older) has no effect. */
void producers_recall(struct producers *ps, const struct batch *b);

int64_t producers_end(const struct producers *ps);
void producers_set_end(struct producers *ps, int64_t offset);
/* First offset that is not stable while the high watermark is at hw; INT64_MAX: none. */
int64_t producers_first_unstable(const struct producers *ps);
void producers_on_high_watermark(struct producers *ps, int64_t hw);
void producers_expire(struct producers *ps, int64_t now_ms, int64_t expiration_ms);
uint32_t producers_count(const struct producers *ps);

struct producer_info {
	int64_t producer_id, last_timestamp, txn_first_offset, last_offset;
	int16_t epoch;
	int32_t last_sequence, coordinator_epoch;
};
uint32_t producers_list(const struct producers *ps, struct producer_info *out, uint32_t cap);

/* A snapshot file's bytes (also when empty). */
struct buf *producers_snapshot(const struct producers *ps, size_t *ret_len);
/* Loads into an empty object; expired ones are dropped. ERR_CORRUPT. */
MUST_CHECK int producers_load(struct producers *ps, struct slice bytes, int64_t end_offset, int64_t now_ms, int64_t expiration_ms);
