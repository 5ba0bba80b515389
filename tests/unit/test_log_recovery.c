/* test_log_recovery.c: the decision table of recovery over every combination, forged damaged tails, leftovers of interrupted work,
 * small files, and the log directories themselves (lock, identity, start class, marks).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "brokerd/log/log_priv.h"
#include "common/base/crc.h"
#include "tests/unit/log_spy.h"
#include "tests/unit/unit.h"

static void test_table(void)
{
	int combinations = 0;

	for (int bits = 0; bits < 16; bits++)
		for (int found = 0; found < 4; found++)
			for (int compacted = 0; compacted < 2; compacted++) {
				struct recovery_case rc = {.clean = bits & 1, .flushed = bits & 2, .indexes_ok = bits & 4, .last = bits & 8};
				enum recovery_step step = recovery_first(&rc);
				/* Said in other words than the table's: */
				if (!rc.indexes_ok)
					CU_ASSERT_EQUAL(step, RECOVERY_SCAN); /* nothing without indexes */
				if (!rc.clean && (rc.last || !rc.flushed))
					CU_ASSERT_EQUAL(step, RECOVERY_SCAN); /* nothing unflushed is trusted after a crash */
				if (step == RECOVERY_TRUST)
					CU_ASSERT(!rc.last && rc.indexes_ok && (rc.clean || rc.flushed));
				if (step == RECOVERY_TAIL)
					CU_ASSERT(rc.last && rc.indexes_ok && rc.clean);
				enum recovery_verdict v = recovery_then(&rc, step, (enum recovery_found)found, compacted);
				bool promised = (rc.clean || rc.flushed) && !rc.last;
				switch (found) {
				case FOUND_WHOLE:
					CU_ASSERT_EQUAL(v, step == RECOVERY_SCAN ? RECOVERY_REBUILD : RECOVERY_KEEP);
					break;
				case FOUND_DAMAGED:
					/* never cut records that were said to be safe */
					CU_ASSERT_EQUAL(v == RECOVERY_REFUSE, promised);
					CU_ASSERT_EQUAL(v == RECOVERY_CUT, !promised && step == RECOVERY_SCAN);
					CU_ASSERT_EQUAL(v == RECOVERY_RESCAN, step == RECOVERY_TAIL);
					break;
				case FOUND_OLD_FORMAT:
					CU_ASSERT_EQUAL(v, RECOVERY_REFUSE_OLD);
					break;
				case FOUND_GAP:
					CU_ASSERT_EQUAL(v == RECOVERY_DROP, !rc.clean && !promised && !compacted);
					break;
				}
				combinations++;
			}
	CU_ASSERT_EQUAL(combinations, 128);
}

/* ---- forged tails ---- */

#define BATCHES 30
static char *log_path(struct tw *t, int64_t base)
{
	return tw_path(t, "t-0/%020lld.log", (long long)base);
}

/* 30 batches of 2 in one segment, offsets 0..59, closed as a crash leaves it. Returns where each batch begins. */
static void make_log(struct tw *t, uint64_t *pos)
{
	struct log *log;
	struct log_append a;

	tw_new_dir(t);
	CU_ASSERT_EQUAL_FATAL(tw_open(t, "t", true, true, -1, -1, -1, &log), 0);
	for (int i = 0; i < BATCHES; i++) {
		pos[i] = log_bytes(log);
		CU_ASSERT_EQUAL(tw_append(t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = 2 * i), 1, &a), 0);
	}
	pos[BATCHES] = log_bytes(log);
	CU_ASSERT_EQUAL(tw_close(t, log, false), 0);
}

/* Opens after a crash, checks the end and that producers and appends go on from there; then a clean reopening. */
static void expect_end(struct tw *t, int64_t end, const char *what)
{
	struct log *log;
	struct log_append a;

	int err = tw_open(t, "t", false, false, 0, -1, -1, &log);
	if (err)
		printf("%s: %d\n", what, err);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	if (log_end_offset(log) != end)
		printf("%s: end %lld, expected %lld\n", what, (long long)log_end_offset(log), (long long)end);
	CU_ASSERT_EQUAL(log_end_offset(log), end);
	CU_ASSERT_EQUAL(tw_append(t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = (int32_t)end), 1, &a), 0);
	CU_ASSERT_EQUAL(a.base_offset, end);
	CU_ASSERT_FALSE(a.duplicate);
	if (end > 0) {
		CU_ASSERT_EQUAL(tw_append(t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = (int32_t)end - 2), 1, &a), 0);
		CU_ASSERT_TRUE(a.duplicate);
	}
	CU_ASSERT_EQUAL(tw_close(t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(t, "t", false, true, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), end + 2);
	CU_ASSERT_EQUAL(tw_close(t, log, true), 0);
}

static void test_tails(void)
{
	struct tw t;
	uint64_t pos[BATCHES + 1];
	uint8_t junk[5000];
	size_t len;
	struct buf *b;
	char *p;

	tw_init(&t);
	t.cfg.index_interval_bytes = 200;

	make_log(&t, pos);
	expect_end(&t, 60, "nothing wrong");

	for (size_t n = 1; n < 61; n += 6) {
		make_log(&t, pos);
		p = log_path(&t, 0);
		b = tw_batch(TW_BATCH(.base_offset = 60), &len);
		tw_file_append(p, b->data, n);
		buf_unref(b);
		mem_free(p);
		expect_end(&t, 60, "short header");
	}

	make_log(&t, pos);
	p = log_path(&t, 0);
	b = tw_batch(TW_BATCH(.base_offset = 60), &len);
	be32_put(b->data + 8, be32_get(b->data + 8) + 1000); /* promises more than there is */
	tw_file_append(p, b->data, len);
	buf_unref(b);
	mem_free(p);
	expect_end(&t, 60, "lying length");

	make_log(&t, pos);
	p = log_path(&t, 0);
	b = tw_batch(TW_BATCH(.base_offset = 60), &len);
	be32_put(b->data + 8, be32_get(b->data + 8) - 3); /* promises less: the next header is wrong */
	tw_file_append(p, b->data, len);
	buf_unref(b);
	mem_free(p);
	expect_end(&t, 60, "short length");

	make_log(&t, pos);
	p = log_path(&t, 0);
	b = tw_batch(TW_BATCH(.base_offset = 60, .value_bytes = 100), &len);
	b->data[len - 1] ^= 1;
	tw_file_append(p, b->data, len);
	buf_unref(b);
	mem_free(p);
	expect_end(&t, 60, "bad checksum");

	make_log(&t, pos);
	p = log_path(&t, 0);
	memset(junk, 0, sizeof(junk));
	tw_file_append(p, junk, sizeof(junk));
	mem_free(p);
	expect_end(&t, 60, "zeroes");

	make_log(&t, pos);
	p = log_path(&t, 0);
	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)(i * 197 + (i >> 3));
	tw_file_append(p, junk, sizeof(junk));
	mem_free(p);
	expect_end(&t, 60, "garbage");

	make_log(&t, pos);
	p = log_path(&t, 0);
	b = tw_batch(TW_BATCH(.base_offset = 50), &len); /* whole, but its offset was there before */
	tw_file_append(p, b->data, len);
	buf_unref(b);
	mem_free(p);
	expect_end(&t, 60, "lower offset");

	/* torn in the middle of a tail of several batches: everything behind goes, good or not */
	for (int i = 0; i < BATCHES; i += 7) {
		make_log(&t, pos);
		p = log_path(&t, 0);
		char *bytes = tw_file_read(p, &len);
		memset(bytes + pos[i] + 40, 0, (size_t)(pos[i + 1] - pos[i]) - 40);
		tw_file_write(p, bytes, len);
		mem_free(bytes);
		mem_free(p);
		expect_end(&t, 2 * i, "torn batch in the middle");
	}

	/* every cut */
	for (uint64_t cut = 0; cut < 500; cut += 37) {
		int whole = 0;
		make_log(&t, pos);
		while (whole < BATCHES && pos[whole + 1] <= cut)
			whole++;
		p = log_path(&t, 0);
		CU_ASSERT_EQUAL(truncate(p, (off_t)cut), 0);
		mem_free(p);
		expect_end(&t, 2 * whole, "cut");
	}
	tw_fini(&t);
}

/* ---- several segments ---- */

static int64_t make_segments(struct tw *t, int64_t *bases, int *ret_count)
{
	struct log *log;
	struct log_append a;

	tw_new_dir(t);
	CU_ASSERT_EQUAL_FATAL(tw_open(t, "t", true, true, -1, -1, -1, &log), 0);
	for (int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(tw_append(t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = 2 * i), i / 30, &a), 0);
	*ret_count = (int)log_segments(log);
	for (int i = 0; i < *ret_count; i++)
		bases[i] = log->c.segs[i]->base_offset;
	CU_ASSERT_EQUAL(tw_close(t, log, false), 0);
	return 200;
}

static void test_segments(void)
{
	struct tw t;
	struct log *log;
	int64_t bases[64];
	int n;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	t.cfg.index_interval_bytes = 200;

	/* damage in a segment above the recovery point: the log ends there, later segments go */
	make_segments(&t, bases, &n);
	CU_ASSERT_FATAL(n > 6);
	char *p = log_path(&t, bases[3]);
	size_t len;
	char *bytes = tw_file_read(p, &len);
	bytes[len - 1] ^= 1;
	tw_file_write(p, bytes, len);
	mem_free(bytes);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, bases[2], -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_segments(log), 4);
	CU_ASSERT_EQUAL(log_end_offset(log), bases[4] - 2);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	char *later = log_path(&t, bases[4]);
	CU_ASSERT_FALSE(tw_file_exists(later));
	mem_free(later);

	/* below it, and not scanned: nothing is noticed; scanned because the index is gone: refused, and left as it is */
	make_segments(&t, bases, &n);
	mem_free(p);
	p = log_path(&t, bases[3]);
	bytes = tw_file_read(p, &len);
	bytes[len - 1] ^= 1;
	tw_file_write(p, bytes, len);
	mem_free(bytes);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, bases[5], -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 200);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	char *index = tw_path(&t, "t-0/%020lld.index", (long long)bases[3]);
	CU_ASSERT_EQUAL(unlink(index), 0);
	CU_ASSERT_EQUAL(tw_open(&t, "t", false, false, bases[5], -1, -1, &log), ERR_CORRUPT);
	CU_ASSERT_EQUAL(tw_open(&t, "t", false, true, bases[5], -1, -1, &log), ERR_CORRUPT);
	size_t again;
	mem_free(tw_file_read(p, &again));
	CU_ASSERT_EQUAL(again, len);
	mem_free(p);
	mem_free(index);

	/* a segment that lost its end without a trace: what comes after it would leave a hole */
	make_segments(&t, bases, &n);
	p = log_path(&t, bases[3]);
	bytes = tw_file_read(p, &len);
	mem_free(bytes);
	CU_ASSERT_EQUAL(truncate(p, (off_t)(len / 2)), 0);
	struct batch b;
	bytes = tw_file_read(p, &len);
	size_t at = 0;
	while (batch_parse(slice_make(bytes + at, len - at), &b) == 0 && at + (size_t)b.total_bytes <= len)
		at += (size_t)b.total_bytes;
	mem_free(bytes);
	CU_ASSERT_EQUAL(truncate(p, (off_t)at), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, bases[2], -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_segments(log), 4);
	CU_ASSERT(log_end_offset(log) < bases[4] && log_end_offset(log) > bases[3]);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	mem_free(p);

	/* indexes gone, or nonsense: made anew */
	for (int clean = 0; clean < 2; clean++)
		for (int how = 0; how < 3; how++) {
			make_segments(&t, bases, &n);
			CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, 0, -1, -1, &log), 0);
			CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
			for (int i = 0; i < n; i++) {
				size_t was_len, now_len;
				index = tw_path(&t, "t-0/%020lld.index", (long long)bases[i]);
				char *was = tw_file_read(index, &was_len);
				if (how == 0)
					CU_ASSERT_EQUAL(unlink(index), 0);
				if (how == 1)
					tw_file_append(index, "abc", 3);
				if (how == 2) {
					char zero[64] = {0};
					tw_file_append(index, zero, sizeof(zero));
				}
				CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, clean, 0, -1, -1, &log), 0);
				CU_ASSERT_EQUAL(log_end_offset(log), 200);
				CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
				char *now = tw_file_read(index, &now_len);
				CU_ASSERT(was_len == now_len && memcmp(was, now, was_len) == 0);
				mem_free(was);
				mem_free(now);
				mem_free(index);
			}
		}

	/* behind the start that the checkpoint names: start over there */
	make_segments(&t, bases, &n);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, 0, 500, -1, &log), 0);
	CU_ASSERT_EQUAL(log_start_offset(log), 500);
	CU_ASSERT_EQUAL(log_end_offset(log), 500);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	/* snapshots damaged: older ones, or the log itself, tell the same */
	make_segments(&t, bases, &n);
	for (int i = 1; i < n; i++) {
		p = tw_path(&t, "t-0/%020lld.snapshot", (long long)bases[i]);
		CU_ASSERT_TRUE(tw_file_exists(p));
		tw_file_append(p, "x", 1);
		mem_free(p);
	}
	struct log_producer pr;
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, bases[n - 1], -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_producers(log, &pr, 1), 1);
	CU_ASSERT_EQUAL(pr.last_sequence, 199);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 3);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* What a crash must not make of the numbers: nothing that was found counts as synced before it is, leader epochs come back from the records when
 * their file lacks them, and batches before a producer's last one are known as well. */
static void test_after_crash(void)
{
	struct tw t;
	struct log *log;
	struct log_append a;
	int64_t bases[64], end;
	int32_t epoch;
	int n;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	make_segments(&t, bases, &n);
	char *p = tw_path(&t, "t-0/leader-epoch-checkpoint");
	CU_ASSERT_EQUAL(unlink(p), 0);
	spy_on(&t);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_recovery_point(log), bases[n - 1]);
	for (int32_t e = 0; e < 3; e++) {
		log_epoch_end(log, e, &epoch, &end);
		CU_ASSERT(epoch == e && end == 60 * (e + 1));
	}
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = 194), 3, &a), 0);
	CU_ASSERT_TRUE(a.duplicate); /* the third from the end */
	CU_ASSERT_EQUAL(a.base_offset, 194);
	CU_ASSERT_EQUAL(tw_sync(&t, log), 0);
	CU_ASSERT_EQUAL(spy.log_syncs, 1);
	CU_ASSERT_EQUAL(log_recovery_point(log), 200);
	CU_ASSERT_EQUAL(read_through(&t, log, 0, 500, NULL), 200);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	size_t len;
	char *text = tw_file_read(p, &len);
	CU_ASSERT_STRING_EQUAL(text, "0\n4\n0 0\n1 60\n2 120\n3 180\n");
	mem_free(text);
	mem_free(p);
	/* after a stop in good order too, although its snapshot holds only the last batch */
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 3, .base_sequence = 192), 3, &a), 0);
	CU_ASSERT_TRUE(a.duplicate);
	CU_ASSERT_EQUAL(a.base_offset, 192);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* The names of a new partition, and of one that was deleted, are durable when that is said. */
static void test_names_of_partitions(void)
{
	struct tw t;

	tw_init(&t);
	spy_on(&t);
	spy.watch = t.dir.path;
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(atomic_load(&spy.watched), 1);
	settle(&t, log);
	CU_ASSERT_EQUAL(tw_delete(&t, log), 0);
	CU_ASSERT_EQUAL(atomic_load(&spy.watched), 2);
	spy_off(&t);
	tw_spin(&t);
	tw_fini(&t);
}

/* ---- reading what is not in memory ---- */

/* What is not committed is not given out, nor promised, wherever the batches lie: the first one asked for, or one in the middle of a range. */
static void test_cold_bounds(void)
{
	struct tw t;
	struct log *log;
	int64_t bases[64];
	int n;

	tw_init(&t);
	t.cfg.index_interval_bytes = 200;
	make_segments(&t, bases, &n);
	CU_ASSERT_EQUAL_FATAL(n, 1);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, 0, -1, -1, &log), 0);
	uint64_t one = log_bytes(log) / 100;
	for (int64_t max = 1; max < 200; max += 3) {
		for (int64_t at = 0; at < max; at += 5) {
			struct log_read r = {.offset = at, .offset_max = max, .bytes_max = 1 << 20, .whole_first = true};
			CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
			int64_t whole = max / 2 - at / 2; /* batches of two records */
			CU_ASSERT_EQUAL(r.len, whole > 0 ? (uint64_t)whole * one : 0);
			CU_ASSERT_EQUAL(r.next_offset, whole > 0 ? max / 2 * 2 : at);
			if (r.len)
				CU_ASSERT_EQUAL(r.generation, file_generation(log_active(log)->log_file));
		}
		CU_ASSERT(log_available_bytes(log, 0, max, UINT64_MAX) <= (uint64_t)(max / 2) * one);
	}
	CU_ASSERT_EQUAL(log_available_bytes(log, 190, 900, UINT64_MAX), log_available_bytes(log, 190, 200, UINT64_MAX));
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void time_over(struct log_time_query *q) { *(bool *)q->ctx = true; }

static struct log_time_query time_of(struct tw *t, struct log *log, int64_t timestamp, int64_t offset_max)
{
	struct log_time_query q = {.timestamp = timestamp, .offset_max = offset_max};
	bool done = false;
	q.done = time_over;
	q.ctx = &done;
	log_find_time(log, &q);
	tw_wait(t, &done);
	CU_ASSERT_EQUAL(q.err, 0);
	return q;
}

/* Times go back and forth: the first record that is late enough answers, not below the log's start, not above what its asker may see, never a marker. */
static void test_times(void)
{
	struct tw t;
	struct log_append a;
	struct log_time_query q;

	tw_init(&t);
	t.cfg.index_interval_bytes = 1;
	t.cfg.segment_bytes = 400;
	struct log *log = open_new(&t, "t");
	static const int64_t times[] = {100, 300, 200, 500, 400, 500, 450, 460};
	for (int i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .base_timestamp = times[i]), i, &a), 0);
	CU_ASSERT(log_segments(log) > 2);
	CU_ASSERT_EQUAL(tw_append_origin(&t, log, TW_BATCH(.producer_id = 1, .base_timestamp = 900, .control = 2), LOG_ORIGIN_COORDINATOR, 8, &a), 0); /* 16 */
	for (int pass = 0; pass < 2; pass++) {
		static const struct { int64_t asked, max, offset, time; int32_t epoch; } cases[] = {
			{1, 17, 0, 100, 0}, {100, 17, 0, 100, 0}, {101, 17, 2, 300, 1}, {300, 17, 2, 300, 1}, {301, 17, 6, 500, 3}, {500, 17, 6, 500, 3},
			{301, 6, -1, -1, -1}, {301, 7, 6, 500, 3}, {501, 17, -1, -1, -1},
		};
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			q = time_of(&t, log, cases[i].asked, cases[i].max);
			CU_ASSERT_EQUAL(q.ret_offset, cases[i].offset);
			CU_ASSERT_EQUAL(q.ret_timestamp, cases[i].time);
			CU_ASSERT_EQUAL(q.ret_epoch, cases[i].epoch);
		}
		if (pass == 0) {
			CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
			CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, 0, -1, 17, &log), 0);
		}
	}
	/* within a batch and below the start */
	log_set_high_watermark(log, 16);
	log_advance_start(log, 7);
	q = time_of(&t, log, 100, 17);
	CU_ASSERT(q.ret_offset == 7 && q.ret_timestamp == 500 && q.ret_epoch == 3);
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 16), 0);
	q = time_of(&t, log, -3, 17);
	CU_ASSERT(q.ret_offset == 7 && q.ret_timestamp == 500);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* ---- what a log does by the clock ---- */

static int files_with(struct tw *t, const char *suffix)
{
	struct fs_names names;
	int count = 0;
	char *p = tw_path(t, "t-0");

	CU_ASSERT_EQUAL_FATAL(fs_list(t->env, p, &names), 0);
	for (size_t i = 0; i < names.count; i++) {
		size_t at = strlen(names.names[i]), m = strlen(suffix);
		count += at >= m && strcmp(names.names[i] + at - m, suffix) == 0;
	}
	fs_names_free(&names);
	mem_free(p);
	return count;
}

/* flush.ms counts from the last sync, or from the start. */
static void test_flush_ms(void)
{
	struct tw t;
	struct log_append a;
	const int64_t now = 1700000000000;

	tw_init(&t);
	t.cfg.flush_ms = 500;
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	log_maintain(log, now + 499);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_recovery_point(log), 0);
	log_maintain(log, now + 500);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_recovery_point(log), 2);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	log_maintain(log, now + 999);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_recovery_point(log), 2);
	log_maintain(log, now + 1000);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_recovery_point(log), 4);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_upkeep(void)
{
	struct tw t;
	struct log *log;
	struct log_append a;
	const int64_t now = 1700000000000;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	t.cfg.file_delete_delay_ms = 0;
	t.cfg.cleanup_delete = false;
	t.cfg.cleanup_compact = true;
	t.cfg.retention_ms = 1000;
	t.cfg.retention_bytes = 1000;
	t.cfg.producer_id_expiration_ms = 2000;
	spy_on(&t);
	log = open_new(&t, "t");
	for (int i = 0; i < 60; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 7, .base_sequence = 2 * i), i / 20, &a), 0);
	log_set_high_watermark(log, 120);
	settle(&t, log);
	/* what is compacted is not deleted for its age or size */
	CU_ASSERT_EQUAL(log_producers(log, NULL, 0), 1);
	log_maintain(log, now + 1999);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_start_offset(log), 0);
	CU_ASSERT_EQUAL(log_producers(log, NULL, 0), 1);
	log_maintain(log, now + 2000);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_producers(log, NULL, 0), 0);
	/* deleted: leader epochs begin where the log does, and nothing of the old segments stays */
	t.cfg.cleanup_delete = true;
	t.cfg.cleanup_compact = false;
	t.cfg.retention_ms = -1;
	log_reconfigure(log, &t.cfg);
	spy.watch = log->path;
	log_maintain(log, now + 2000);
	settle(&t, log);
	CU_ASSERT_EQUAL(atomic_load(&spy.watched), 2); /* for the epochs' new file, and that what is deleted does not come back by a power cut */
	spy.watch = NULL;
	int64_t start = log_start_offset(log);
	CU_ASSERT(start > 80);
	CU_ASSERT(log->c.epochs.count == 1 && log->c.epochs.entries[0].start_offset == start);
	CU_ASSERT_EQUAL(log_epoch_at(log, start - 1), -1);
	log_advance_start(log, start + 3);
	CU_ASSERT_EQUAL(log->c.epochs.entries[0].start_offset, start + 3);
	settle(&t, log);
	log_maintain(log, INT64_C(1) << 50);
	settle(&t, log);
	CU_ASSERT_EQUAL(files_with(&t, ".deleted"), 0);
	CU_ASSERT_EQUAL(files_with(&t, ".log"), (int)log_segments(log));
	CU_ASSERT(files_with(&t, ".snapshot") <= (int)log_segments(log));
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_leftovers(void)
{
	struct tw t;
	struct log *log;
	int64_t bases[64];
	int n;
	static const char *const names[] = {"t-0/00000000000000000000.log.deleted", "t-0/00000000000000000007.log.cleaned", "t-0/00000000000000000900.index",
		"t-0/leader-epoch-checkpoint.tmp", "t-0/00000000000000000009.log.swap", "t-0/00000000000000000999.snapshot"};

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	make_segments(&t, bases, &n);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *p = tw_path(&t, "%s", names[i]);
		tw_file_write(p, "", 0);
		mem_free(p);
	}
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 200);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *p = tw_path(&t, "%s", names[i]);
		CU_ASSERT_FALSE(tw_file_exists(p));
		mem_free(p);
	}
	/* a complete .swap takes the place of what it was made from */
	make_segments(&t, bases, &n);
	for (int i = 1; i < 3; i++) {
		char *log_file = log_path(&t, bases[i]), *swap = tw_path(&t, "t-0/%020lld.log.swap", (long long)bases[i]);
		CU_ASSERT_EQUAL(rename(log_file, swap), 0);
		mem_free(log_file);
		mem_free(swap);
	}
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 200);
	CU_ASSERT_EQUAL((int)log_segments(log), n);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_topic_id(void)
{
	struct tw t;
	struct log *log;
	struct uuid id = {{1, 2, 3}}, other = {{4, 5, 6}};
	struct log_events ev = {0};

	tw_init(&t);
	struct log_open o = {.env = t.env, .dir = &t.dir, .topic = "t", .partition = 4, .topic_id = id, .config = t.cfg, .create = true, .clean = true,
		.log_start_offset = -1, .high_watermark = -1, .now_ms = 1};
	CU_ASSERT_EQUAL_FATAL(log_open_now(&o, &log), 0);
	log_attach(log, t.loop, NULL, &ev);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	size_t len;
	char *p = tw_path(&t, "t-4/partition.metadata"), *text = tw_file_read(p, &len);
	CU_ASSERT_EQUAL(len, 43);
	CU_ASSERT_EQUAL(strncmp(text, "version: 0\ntopic_id: AQID", 25), 0);
	mem_free(text);
	mem_free(p);
	o.topic_id = other;
	CU_ASSERT_EQUAL(log_open_now(&o, &log), ERR_BADVERSION);
	o.topic_id = (struct uuid){0};
	CU_ASSERT_EQUAL_FATAL(log_open_now(&o, &log), 0);
	CU_ASSERT_TRUE(uuid_eq(log_topic_id(log), &id));
	log_close(log, false, NULL, NULL); /* never attached */
	tw_fini(&t);
}

/* ---- log directories ---- */

struct fence {
	struct job job;
	bool passed;
};

static void fence_run(struct job *j)
{
	(void)j;
}

static void fence_done(struct job *j)
{
	CONTAINER_OF(j, struct fence, job)->passed = true;
}

static void test_dirs(void)
{
	struct tw t;
	struct log_dirs *dirs, *second;
	struct log *log;
	char *why = NULL;
	uint8_t password[16], back[16];
	int64_t id;

	tw_init(&t);
	char *a = tw_path(&t, "deep/a"), *b = tw_path(&t, "b");
	const char *paths[] = {a, b};
	struct log_dirs_open o = {.env = t.env, .paths = paths, .count = 2, .broker_id = 7, .bytes_reserved = 1000};
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->count, 2);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_LOSSY);
	CU_ASSERT_TRUE(log_dir_has_room(dirs->dirs[0], 1));
	CU_ASSERT_FALSE(log_dir_has_room(dirs->dirs[0], UINT64_MAX / 2));
	uint64_t bytes_free = atomic_exchange(&dirs->dirs[0]->bytes_free, 999); /* less than what is kept in reserve */
	CU_ASSERT_FALSE(log_dir_has_room(dirs->dirs[0], 1));
	atomic_store(&dirs->dirs[0]->bytes_free, bytes_free);
	CU_ASSERT_EQUAL(log_dirs_open_now(&o, &second, &why), ERR_LOCKED);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, a));
	mem_free(why);
	CU_ASSERT_EQUAL(log_dirs_confirm_now(dirs, 7, "abcdefghijklmnopqrstuv"), 0);
	CU_ASSERT_EQUAL(log_dirs_load_session_now(dirs, &id, back), ERR_NOENT);
	for (int i = 0; i < 16; i++)
		password[i] = (uint8_t)(i * 17);
	CU_ASSERT_EQUAL(log_dirs_save_session_now(dirs, -5, password), 0);
	char *p = path_join(a, ".klamm_session");
	struct stat st;
	CU_ASSERT_EQUAL(stat(p, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	mem_free(p);
	log_dirs_free(dirs);

	/* the process died: same kernel, same file system */
	o.broker_id = -1;
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_CRASHED);
	CU_ASSERT_EQUAL(dirs->broker_id, 7);
	CU_ASSERT_STRING_EQUAL(dirs->cluster_id, "abcdefghijklmnopqrstuv");
	CU_ASSERT_EQUAL(log_dirs_load_session_now(dirs, &id, back), 0);
	CU_ASSERT_EQUAL(id, -5);
	CU_ASSERT_EQUAL(memcmp(password, back, 16), 0);
	struct uuid first = dirs->dirs[0]->directory_id;
	CU_ASSERT_EQUAL(log_dir_mark_clean_now(dirs->dirs[0]), 0);
	CU_ASSERT_EQUAL(log_dir_mark_failed_now(dirs->dirs[1]), 0);
	CU_ASSERT_EQUAL(log_dirs_confirm_now(dirs, 8, "abcdefghijklmnopqrstuv"), ERR_INVAL);
	log_dirs_free(dirs);

	/* clean in one, failed in the other */
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_CLEAN);
	CU_ASSERT_EQUAL(dirs->dirs[1]->start_class, LOG_START_LOSSY);
	CU_ASSERT_TRUE(uuid_eq(&first, &dirs->dirs[0]->directory_id));
	p = path_join(a, ".kafka_cleanshutdown");
	CU_ASSERT_FALSE(tw_file_exists(p)); /* counts once */
	mem_free(p);
	log_dirs_free(dirs);

	/* another boot */
	p = path_join(a, ".klamm_boot");
	tw_file_write(p, "version=1\nboot.id=x\nfs.identity=0\n", 35);
	mem_free(p);
	/* partitions, marks, checkpoints */
	tw_use_dir(&t, a);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "my-topic", true, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	static const char *const more[] = {"x-1.0123456789abcdef0123456789abcdef-delete", "x-2.0123456789abcdef0123456789abcdef-future",
		"x-3.0123456789abcdef0123456789abcdef-stray", "lost+found", "delete-9"};
	for (int i = 0; i < 5; i++) {
		char *d = path_join(a, more[i]);
		CU_ASSERT_EQUAL(mkdir(d, 0755), 0);
		mem_free(d);
	}
	struct checkpoint_entry entries[] = {{"my-topic", 0, 77}, {"gone", 3, 5}};
	static const char *const files[] = {"recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"};
	for (int i = 0; i < 3; i++) {
		p = path_join(a, files[i]);
		entries[0].offset = 77 + i;
		CU_ASSERT_EQUAL(checkpoint_write_now(t.env, p, entries, 2), 0);
		mem_free(p);
	}
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_LOSSY);
	CU_ASSERT_EQUAL_FATAL(dirs->dirs[0]->found_count, 2);
	CU_ASSERT_STRING_EQUAL(dirs->dirs[0]->found[0].topic, "delete");
	CU_ASSERT_STRING_EQUAL(dirs->dirs[0]->found[1].topic, "my-topic");
	CU_ASSERT_EQUAL(dirs->dirs[0]->found[1].recovery_point, 77);
	CU_ASSERT_EQUAL(dirs->dirs[0]->found[1].log_start_offset, 78);
	CU_ASSERT_EQUAL(dirs->dirs[0]->found[1].high_watermark, 79);
	CU_ASSERT_EQUAL(dirs->dirs[0]->found[0].log_start_offset, -1);
	CU_ASSERT_EQUAL(dirs->dirs[0]->deleted_count, 1);
	log_dirs_remove_deleted(dirs, t.loop);
	char *gone = path_join(a, more[0]), *stays = path_join(a, more[1]), *stray = path_join(a, more[2]);
	while (tw_file_exists(gone))
		tw_spin(&t);
	/* the removal's own end comes back to the loop after that; long jobs end in order */
	struct fence f = {.job = {.run = fence_run, .done = fence_done}};
	job_submit(t.loop, &f.job, JOB_LONG);
	tw_wait(&t, &f.passed);
	CU_ASSERT_TRUE(tw_file_exists(stays));
	CU_ASSERT_TRUE(tw_file_exists(stray));
	mem_free(gone);
	mem_free(stays);
	mem_free(stray);
	CU_ASSERT_TRUE(log_dir_fail(dirs->dirs[1], ERR_IO));
	CU_ASSERT_FALSE(log_dir_fail(dirs->dirs[1], ERR_NOSPACE));
	CU_ASSERT_EQUAL(dirs->dirs[1]->offline_err, ERR_IO);
	CU_ASSERT_NOT_EQUAL(log_dir_mark_clean_now(dirs->dirs[1]), 0);
	log_dirs_free(dirs);
	mem_free(a);
	mem_free(b);
	tw_fini(&t);
}

/* E1, D2: a start that forgot, stopped in good order before the controller heard of it, is followed by another lossy one. */
static void test_lossy_until_confirmed(void)
{
	struct tw t;
	struct log_dirs *dirs;
	char *why = NULL;

	tw_init(&t);
	char *a = tw_path(&t, "a");
	const char *paths[] = {a};
	struct log_dirs_open o = {.env = t.env, .paths = paths, .count = 1, .broker_id = 7};
	for (int confirmed = 0; confirmed < 2; confirmed++) {
		CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
		CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_LOSSY);
		if (confirmed)
			CU_ASSERT_EQUAL(log_dirs_confirm_now(dirs, 7, "abcdefghijklmnopqrstuv"), 0);
		CU_ASSERT_EQUAL(log_dir_mark_clean_now(dirs->dirs[0]), 0);
		log_dirs_free(dirs);
	}
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_CLEAN);
	log_dirs_free(dirs);
	mem_free(a);
	tw_fini(&t);
}

/* What a follower, or a client, hears about an epoch; what is cut at either end (facts/replication.md 4). */
static void test_epochs(void)
{
	static const struct { int32_t asked, epoch; int64_t end; } answers[] = {
		{-1, -1, -1}, {1, 1, 10}, {2, 2, 20}, {3, 2, 20}, {4, 2, 20}, {5, 5, 30}, {6, 5, 30}, {7, 7, 44}, {8, -1, -1},
	};
	struct epochs e = {0};
	int32_t epoch;
	int64_t end;

	epochs_lookup(&e, 0, 5, &epoch, &end);
	CU_ASSERT(epoch == -1 && end == -1);
	CU_ASSERT_EQUAL(epochs_parse(&e, "0\n3\n2 10\n5 20\n7 30\n"), 0);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		epochs_lookup(&e, answers[i].asked, 44, &epoch, &end);
		CU_ASSERT_EQUAL(epoch, answers[i].epoch);
		CU_ASSERT_EQUAL(end, answers[i].end);
	}
	CU_ASSERT(epochs_at(&e, 9) == -1 && epochs_at(&e, 10) == 2 && epochs_at(&e, 19) == 2 && epochs_at(&e, 20) == 5 && epochs_at(&e, 99) == 7);
	/* a start that is an epoch's own: the one before it has no record left */
	CU_ASSERT_FALSE(epochs_truncate_from_start(&e, 10));
	CU_ASSERT_TRUE(epochs_truncate_from_start(&e, 20));
	CU_ASSERT(e.count == 2 && e.entries[0].epoch == 5 && e.entries[0].start_offset == 20);
	epochs_fini(&e);
}

static void test_checkpoints(void)
{
	struct tw t;
	struct checkpoint_entry *got;
	struct arena a;
	uint32_t n;
	static const struct { const char *text; int err; uint32_t count; } cases[] = {
		{"0\n0\n", 0, 0}, {"0\n1\nt 0 5\n", 0, 1}, {"0\n1\nt 0 5", 0, 1}, {"0\n2\nt 0 5\nu 1 6\n", 0, 2},
		{"1\n1\nt 0 5\n", ERR_CORRUPT, 0}, {"0\n2\nt 0 5\n", ERR_CORRUPT, 0}, {"0\n1\nt 0 5\nu 0 6\n", ERR_CORRUPT, 0},
		{"0\n1\nt 0\n", ERR_CORRUPT, 0}, {"0\n1\nt 0 5 6\n", ERR_CORRUPT, 0}, {"0\n1\nt x 5\n", ERR_CORRUPT, 0}, {"", ERR_CORRUPT, 0},
		{"0\n", ERR_CORRUPT, 0}, {"0\n-1\n", ERR_CORRUPT, 0}, {"0\n1\nt -1 5\n", ERR_CORRUPT, 0},
	};

	tw_init(&t);
	arena_init(&a, 0);
	char *p = tw_path(&t, "cp");
	CU_ASSERT_EQUAL(checkpoint_read_now(t.env, p, &a, &got, &n), ERR_NOENT);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tw_file_write(p, cases[i].text, strlen(cases[i].text));
		CU_ASSERT_EQUAL(checkpoint_read_now(t.env, p, &a, &got, &n), cases[i].err);
		CU_ASSERT_EQUAL(n, cases[i].count);
	}
	struct checkpoint_entry out[] = {{"a.b-c", 3, INT64_MAX}, {"x", 0, 0}};
	CU_ASSERT_EQUAL(checkpoint_write_now(t.env, p, out, 2), 0);
	CU_ASSERT_EQUAL(checkpoint_read_now(t.env, p, &a, &got, &n), 0);
	CU_ASSERT(n == 2 && strcmp(got[0].topic, "a.b-c") == 0 && got[0].partition == 3 && got[0].offset == INT64_MAX);
	mem_free(p);
	arena_fini(&a);
	/* leader epochs */
	struct epochs e = {0};
	CU_ASSERT_EQUAL(epochs_parse(&e, "0\n2\n0 0\n3 10\n"), 0);
	CU_ASSERT_EQUAL(e.count, 2);
	CU_ASSERT_FALSE(epochs_assign(&e, 3, 20));
	CU_ASSERT_TRUE(epochs_assign(&e, 5, 10)); /* a reign without a record gives way */
	CU_ASSERT(e.count == 2 && e.entries[1].epoch == 5);
	CU_ASSERT_TRUE(epochs_assign(&e, 6, 30));
	CU_ASSERT_FALSE(epochs_truncate_from_end(&e, 31));
	CU_ASSERT_TRUE(epochs_truncate_from_end(&e, 30));
	CU_ASSERT_EQUAL(epochs_latest(&e), 5);
	CU_ASSERT_TRUE(epochs_truncate_from_start(&e, 15));
	CU_ASSERT(e.count == 1 && e.entries[0].epoch == 5 && e.entries[0].start_offset == 15);
	CU_ASSERT_EQUAL(epochs_parse(&e, "0\n2\n0 0\n"), ERR_CORRUPT);
	CU_ASSERT_EQUAL(e.count, 0);
	epochs_fini(&e);
	tw_fini(&t);
}

UNIT_MAIN("log_recovery", {"table", test_table}, {"tails", test_tails}, {"segments", test_segments}, {"after_crash", test_after_crash},
	  {"names_of_partitions", test_names_of_partitions}, {"cold_bounds", test_cold_bounds}, {"times", test_times}, {"flush_ms", test_flush_ms},
	  {"upkeep", test_upkeep}, {"leftovers", test_leftovers}, {"topic_id", test_topic_id}, {"dirs", test_dirs},
	  {"lossy_until_confirmed", test_lossy_until_confirmed}, {"epochs", test_epochs}, {"checkpoints", test_checkpoints})
