/* test_producer_state.c: the five-batch window, epochs, sequence wrap, transactions, snapshots. */
#include <string.h>

#include "brokerd/log/producers.h"
#include "brokerd/log/record.h"
#include "common/base/mem.h"
#include "tests/unit/unit.h"

static int64_t first, last, ts;
static int refusal;

static struct batch data(int64_t pid, int16_t epoch, int32_t seq, int32_t count, int64_t offset)
{
	return (struct batch){.base_offset = offset, .magic = 2, .last_offset_delta = count - 1, .producer_id = pid, .producer_epoch = epoch,
		.base_sequence = seq, .record_count = count, .max_timestamp = 1000 + offset};
}

static enum producer_verdict ask(const struct producers *ps, int64_t pid, int16_t epoch, int32_t seq, int32_t count)
{
	struct batch b = data(pid, epoch, seq, count, 0);
	refusal = 0;
	return producers_check(ps, &b, true, false, -1, &first, &last, &ts, &refusal);
}

static void put(struct producers *ps, int64_t pid, int16_t epoch, int32_t seq, int32_t count, int64_t offset)
{
	struct producer_aborted a;
	struct batch b = data(pid, epoch, seq, count, offset);
	CU_ASSERT_FALSE(producers_apply(ps, &b, -1, -1, &a));
	CU_ASSERT_EQUAL(producers_end(ps), offset + count);
}

static bool mark(struct producers *ps, int64_t pid, int16_t epoch, int type, int32_t coordinator, int64_t offset, struct producer_aborted *a)
{
	struct batch b = data(pid, epoch, -1, 1, offset);
	b.attributes = 48;
	return producers_apply(ps, &b, type, coordinator, a);
}

static void test_window(void)
{
	struct producers *ps = producers_new();

	CU_ASSERT_EQUAL(ask(ps, -1, -1, -1, 1), PRODUCER_OK);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 77, 3), PRODUCER_OK); /* unknown: anywhere */
	for (int i = 0; i < 6; i++)
		put(ps, 1, 0, 10 * i, 10, 100 + 10 * i);
	/* exactly five are remembered */
	for (int i = 1; i < 6; i++) {
		CU_ASSERT_EQUAL(ask(ps, 1, 0, 10 * i, 10), PRODUCER_DUPLICATE);
		CU_ASSERT_EQUAL(first, 100 + 10 * i);
		CU_ASSERT_EQUAL(last, 109 + 10 * i);
		CU_ASSERT_EQUAL(ts, 1100 + 10 * i);
	}
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 0, 10), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(refusal, LOG_ERR_OUT_OF_ORDER_SEQUENCE);
	/* first and last must both agree */
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 50, 9), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 51, 9), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 61, 1), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 60, 1), PRODUCER_OK);
	producers_free(ps);
}

static void test_epochs(void)
{
	struct producers *ps = producers_new();

	put(ps, 1, 5, 0, 10, 0);
	CU_ASSERT_EQUAL(ask(ps, 1, 4, 10, 1), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(refusal, LOG_ERR_STALE_PRODUCER_EPOCH);
	CU_ASSERT_EQUAL(ask(ps, 1, 6, 10, 1), PRODUCER_REFUSED); /* a new epoch begins at 0 */
	CU_ASSERT_EQUAL(refusal, LOG_ERR_OUT_OF_ORDER_SEQUENCE);
	CU_ASSERT_EQUAL(ask(ps, 1, 6, 0, 10), PRODUCER_OK);
	put(ps, 1, 6, 0, 10, 10);
	CU_ASSERT_EQUAL(ask(ps, 1, 6, 0, 10), PRODUCER_DUPLICATE);
	CU_ASSERT_EQUAL(first, 10); /* the window of the old epoch is gone */
	CU_ASSERT_EQUAL(ask(ps, 1, 5, 0, 10), PRODUCER_REFUSED);
	producers_free(ps);
}

static void test_wrap(void)
{
	struct producers *ps = producers_new();

	put(ps, 1, 0, INT32_MAX - 4, 5, 0);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 0, 5), PRODUCER_OK);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 1, 5), PRODUCER_REFUSED);
	put(ps, 2, 0, INT32_MAX - 1, 5, 5); /* ends at 2 */
	CU_ASSERT_EQUAL(ask(ps, 2, 0, INT32_MAX - 1, 5), PRODUCER_DUPLICATE);
	CU_ASSERT_EQUAL(ask(ps, 2, 0, 3, 1), PRODUCER_OK);
	CU_ASSERT_EQUAL(ask(ps, 2, 0, 4, 1), PRODUCER_REFUSED);
	producers_free(ps);
}

static void test_transactions(void)
{
	struct producers *ps = producers_new();
	struct producer_aborted a = {0};
	struct batch b;

	CU_ASSERT_EQUAL(producers_first_unstable(ps), INT64_MAX);
	b = data(1, 0, 0, 2, 10);
	b.attributes = 16;
	producers_apply(ps, &b, -1, -1, &a);
	b = data(2, 0, 0, 2, 12);
	b.attributes = 16;
	producers_apply(ps, &b, -1, -1, &a);
	CU_ASSERT_EQUAL(producers_first_unstable(ps), 10);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 2, 1), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(refusal, LOG_ERR_TXN_STATE);
	CU_ASSERT_TRUE(mark(ps, 1, 0, CONTROL_ABORT, 7, 14, &a));
	CU_ASSERT(a.producer_id == 1 && a.first_offset == 10 && a.last_offset == 14 && a.last_stable_offset == 12);
	CU_ASSERT_EQUAL(producers_first_unstable(ps), 10); /* until the marker is below the high watermark */
	producers_on_high_watermark(ps, 14);
	CU_ASSERT_EQUAL(producers_first_unstable(ps), 10);
	producers_on_high_watermark(ps, 15);
	CU_ASSERT_EQUAL(producers_first_unstable(ps), 12);
	CU_ASSERT_FALSE(mark(ps, 2, 0, CONTROL_COMMIT, 7, 15, &a));
	producers_on_high_watermark(ps, 16);
	CU_ASSERT_EQUAL(producers_first_unstable(ps), INT64_MAX);
	/* the marker kept the window; its own sequence does not count */
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 0, 2), PRODUCER_DUPLICATE);
	CU_ASSERT_EQUAL(ask(ps, 1, 0, 2, 2), PRODUCER_OK);
	/* a marker without data, of a newer epoch: data begins at 0 then */
	CU_ASSERT_FALSE(mark(ps, 1, 3, CONTROL_ABORT, 8, 16, &a));
	CU_ASSERT_EQUAL(ask(ps, 1, 3, 2, 2), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(ask(ps, 1, 3, 0, 2), PRODUCER_OK);
	b = data(1, 3, -1, 1, 0);
	b.attributes = 48;
	CU_ASSERT_EQUAL(producers_check(ps, &b, false, true, 7, &first, &last, &ts, &refusal), PRODUCER_REFUSED);
	CU_ASSERT_EQUAL(refusal, LOG_ERR_COORDINATOR_FENCED);
	CU_ASSERT_EQUAL(producers_check(ps, &b, false, true, 8, &first, &last, &ts, &refusal), PRODUCER_OK);
	producers_free(ps);
}

static void test_snapshot(void)
{
	struct producers *ps = producers_new(), *back = producers_new();
	struct producer_aborted a;
	struct producer_info in[4], out[4];
	size_t len;

	put(ps, 1, 2, 10, 5, 100);
	struct batch b = data(2, 0, 0, 3, 105);
	b.attributes = 16;
	producers_apply(ps, &b, -1, -1, &a);
	mark(ps, 3, 1, CONTROL_COMMIT, 9, 108, &a);
	struct buf *snap = producers_snapshot(ps, &len);
	CU_ASSERT_EQUAL(len, 10 + 3 * 46);
	CU_ASSERT_EQUAL_FATAL(producers_load(back, slice_make(snap->data, len), 109, 1200, 1000), 0);
	CU_ASSERT_EQUAL(producers_end(back), 109);
	CU_ASSERT_EQUAL(producers_list(ps, in, 4), 3);
	CU_ASSERT_EQUAL_FATAL(producers_list(back, out, 4), 3);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(in[i].producer_id, out[i].producer_id);
		CU_ASSERT_EQUAL(in[i].epoch, out[i].epoch);
		CU_ASSERT_EQUAL(in[i].last_sequence, out[i].last_sequence);
		CU_ASSERT_EQUAL(in[i].last_offset, out[i].last_offset);
		CU_ASSERT_EQUAL(in[i].last_timestamp, out[i].last_timestamp);
		CU_ASSERT_EQUAL(in[i].coordinator_epoch, out[i].coordinator_epoch);
		CU_ASSERT_EQUAL(in[i].txn_first_offset, out[i].txn_first_offset);
	}
	CU_ASSERT_EQUAL(producers_first_unstable(back), 105);
	CU_ASSERT_EQUAL(ask(back, 1, 2, 10, 5), PRODUCER_DUPLICATE); /* the last batch is kept */
	CU_ASSERT_EQUAL(first, 100);
	CU_ASSERT_EQUAL(ask(back, 1, 2, 15, 5), PRODUCER_OK);
	producers_free(back);
	/* expired ones are not loaded, but for an open transaction */
	back = producers_new();
	CU_ASSERT_EQUAL(producers_load(back, slice_make(snap->data, len), 109, 99999, 1000), 0);
	CU_ASSERT_EQUAL(producers_count(back), 1);
	producers_free(back);
	producers_expire(ps, 99999, 1000);
	CU_ASSERT_EQUAL(producers_count(ps), 1);
	/* damage */
	for (size_t i = 0; i < len; i++) {
		back = producers_new();
		snap->data[i] ^= 4;
		CU_ASSERT_EQUAL(producers_load(back, slice_make(snap->data, len), 109, 0, 1000), ERR_CORRUPT);
		snap->data[i] ^= 4;
		CU_ASSERT_EQUAL(producers_load(back, slice_make(snap->data, i), 109, 0, 1000), ERR_CORRUPT);
		producers_free(back);
	}
	buf_unref(snap);
	producers_free(ps);
	ps = producers_new();
	snap = producers_snapshot(ps, &len);
	CU_ASSERT_EQUAL(len, 10);
	CU_ASSERT_EQUAL(producers_load(ps, slice_make(snap->data, len), 0, 0, 1), 0);
	buf_unref(snap);
	producers_free(ps);
}

UNIT_MAIN("producer_state", {"window", test_window}, {"epochs", test_epochs}, {"wrap", test_wrap}, {"transactions", test_transactions}, {"snapshot", test_snapshot})
