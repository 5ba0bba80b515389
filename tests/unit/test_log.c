/* test_log.c: appending, reading, rolling, syncing, truncation, retention, failure, on the os backend. Faults and the order of
 * directory syncs are seen by standing between the log and the backend.
 */
#include "tests/unit/log_spy.h"

/* ---- cases ---- */

static void test_append_read(void)
{
	struct tw t;
	struct log *log;
	struct log_append a;
	struct str out;

	tw_init(&t);
	CU_ASSERT_EQUAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), ERR_NOENT);
	log = open_new(&t, "t");
	CU_ASSERT_EQUAL(log_end_offset(log), 0);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 3), 5, &a), 0);
		CU_ASSERT_EQUAL(a.base_offset, 3 * i);
		CU_ASSERT_EQUAL(a.last_offset, 3 * i + 2);
		CU_ASSERT_EQUAL(a.log_append_time_ms, -1);
	}
	settle(&t, log);
	CU_ASSERT_EQUAL(log_end_offset(log), 60);
	CU_ASSERT_EQUAL(t.end_moved, 20);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 5);
	str_init(&out);
	struct log_read r = {.offset = 4, .offset_max = 60, .bytes_max = 1 << 20};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, &out), 0);
	struct batch b;
	CU_ASSERT_EQUAL(batch_parse(slice_make(out.ptr, out.len), &b), 0);
	CU_ASSERT_EQUAL(b.base_offset, 3);
	CU_ASSERT_EQUAL(b.leader_epoch, 5);
	CU_ASSERT_TRUE(batch_crc_ok(slice_make(out.ptr, (size_t)b.total_bytes)));
	CU_ASSERT_EQUAL(r.next_offset, 60);
	CU_ASSERT_EQUAL(out.len, log_bytes(log) / 20 * 19);
	/* bounds: a batch that reaches beyond offset_max is not given out */
	r = (struct log_read){.offset = 4, .offset_max = 8, .bytes_max = 1 << 20, .whole_first = true};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.next_offset, 6);
	r = (struct log_read){.offset = 4, .offset_max = 5, .bytes_max = 1 << 20, .whole_first = true};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.len, 0);
	r = (struct log_read){.offset = 4, .offset_max = 60, .bytes_max = 10};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.len, 0);
	r = (struct log_read){.offset = 61, .offset_max = 61, .bytes_max = 1};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), LOG_ERR_OFFSET_OUT_OF_RANGE);
	r = (struct log_read){.offset = 60, .offset_max = 60, .bytes_max = 1};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_PTR_NULL(r.file);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 60);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 5);
	str_clear(&out);
	r = (struct log_read){.offset = 4, .offset_max = 60, .bytes_max = 1 << 20};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, &out), 0);
	CU_ASSERT_EQUAL(r.next_offset, 60);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	str_fini(&out);
	tw_fini(&t);
}

static void test_roll(void)
{
	struct tw t;
	struct log_append a;
	int batches;

	tw_init(&t);
	t.cfg.segment_bytes = 4096;
	t.cfg.index_interval_bytes = 300;
	struct log *log = open_new(&t, "t");
	for (int i = 0; i < 400; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .base_timestamp = 1700000000000 + i), 0, &a), 0);
	CU_ASSERT(log_segments(log) > 10);
	CU_ASSERT_EQUAL(tw_sync(&t, log), 0);
	CU_ASSERT_EQUAL(log_synced_offset(log), 800);
	for (int pass = 0; pass < 3; pass++) {
		CU_ASSERT_EQUAL(read_through(&t, log, 0, 1, &batches), 800);
		CU_ASSERT_EQUAL(batches, 400);
		CU_ASSERT_EQUAL(read_through(&t, log, 3, 1000, NULL), 800);
		CU_ASSERT_EQUAL(read_through(&t, log, 0, 1 << 20, NULL), 800);
		for (int64_t at = 0; at < 800; at += 17) {
			struct log_read r = {.offset = at, .offset_max = 800, .bytes_max = 1, .whole_first = true};
			CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
			CU_ASSERT_EQUAL(r.next_offset, at / 2 * 2 + 2);
			struct log_time_query q;
			CU_ASSERT_EQUAL(tw_find_time(&t, log, 1700000000000 + at / 2, &q), 0);
			CU_ASSERT_EQUAL(q.ret_offset, at / 2 * 2);
		}
		CU_ASSERT_EQUAL(tw_close(&t, log, pass != 1), 0);
		CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, pass != 1, 0, -1, -1, &log), 0);
		CU_ASSERT_EQUAL(log_end_offset(log), 800);
	}
	/* a range ends with its segment */
	struct log_read r = {.offset = 0, .offset_max = 800, .bytes_max = 1 << 20};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_TRUE(r.older_segment);
	CU_ASSERT(r.next_offset > 0 && r.next_offset < 100);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_roll_conditions(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	t.cfg.segment_ms = 1000;
	struct log *log = open_new(&t, "time");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 5000), 0, &a), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 6000), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 1);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 6001), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 2);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	/* without timestamps by the clock: an append of the tests is made at 1700000000000 */
	log = open_new(&t, "clock");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = -1), 0, &a), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = -1), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 1);
	log_active(log)->created_ms = 1700000000000 - 1001;
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = -1), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 2);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	/* a segment is filled to the last byte */
	log_config_defaults(&t.cfg);
	log = open_new(&t, "full");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	t.cfg.segment_bytes = 2 * (int32_t)log_bytes(log);
	log_reconfigure(log, &t.cfg);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 1);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 2);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	log_config_defaults(&t.cfg);
	t.cfg.segment_index_bytes = 40; /* five entries */
	t.cfg.index_interval_bytes = 1;
	log = open_new(&t, "index");
	for (int i = 0; i < 30; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 1700000000000 + i), 0, &a), 0);
	CU_ASSERT(log_segments(log) > 5);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	/* relative offsets of an index have 31 bits */
	log_config_defaults(&t.cfg);
	log = open_new(&t, "far");
	CU_ASSERT_EQUAL(tw_truncate_fully(&t, log, INT64_C(9000000000)), 0);
	CU_ASSERT_EQUAL(log_start_offset(log), INT64_C(9000000000));
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 1), 0, &a), 0);
	CU_ASSERT_EQUAL(a.base_offset, INT64_C(9000000000));
	size_t len;
	struct buf *b = tw_batch(TW_BATCH(.base_offset = INT64_C(9000000000) + INT32_MAX + 10), &len);
	CU_ASSERT_EQUAL(tw_append_replica(&t, log, b, len, &a), 0);
	CU_ASSERT_EQUAL(log_segments(log), 2);
	CU_ASSERT_EQUAL(log_end_offset(log), INT64_C(9000000000) + INT32_MAX + 11);
	struct log_read r = {.offset = INT64_C(9000000001), .offset_max = INT64_MAX, .bytes_max = 1000};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.next_offset, log_end_offset(log)); /* over the gap into the next segment */
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "far", false, true, -1, INT64_C(9000000000), -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), INT64_C(9000000000) + INT32_MAX + 11);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	/* a batch larger than a segment */
	t.cfg.segment_bytes = 100;
	log = open_new(&t, "large");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.value_bytes = 200), 0, &a), LOG_ERR_OVER_SEGMENT);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* Several appends at once: done() in order, one gathered write, duplicates behind their originals. */
struct line {
	struct log_append a[8];
	int order[8], count;
	bool all;
	int want;
};

static void line_done(struct log_append *a)
{
	struct line *l = a->ctx;
	l->order[l->count++] = (int)(a - l->a);
	l->all = l->count == l->want;
}

static void line_add(struct line *l, struct log *log, int i, struct tw_batch spec)
{
	size_t len;
	struct buf *b = tw_batch(spec, &len);
	struct log_append *a = &l->a[i];
	*a = (struct log_append){.origin = LOG_ORIGIN_CLIENT, .buf = b, .records = slice_make(b->data, len), .now_ms = 1, .done = line_done, .ctx = l};
	CU_ASSERT_EQUAL(batch_parse(a->records, &a->batch), 0);
	a->max_timestamp = a->batch.max_timestamp;
	log_append(log, a);
	CU_ASSERT_EQUAL(l->count, 0);
}

static void test_in_flight(void)
{
	struct tw t;
	struct line l = {.want = 6};

	tw_init(&t);
	spy_on(&t);
	struct log *log = open_new(&t, "t");
	line_add(&l, log, 0, TW_BATCH(.producer_id = 7, .base_sequence = 0, .count = 2));
	line_add(&l, log, 1, TW_BATCH(.producer_id = 7, .base_sequence = 2));
	line_add(&l, log, 2, TW_BATCH(.producer_id = 7, .base_sequence = 0, .count = 2)); /* again, while the first is in flight */
	line_add(&l, log, 3, TW_BATCH(.producer_id = 7, .base_sequence = 9));             /* a gap */
	line_add(&l, log, 4, TW_BATCH(.count = 3));
	line_add(&l, log, 5, TW_BATCH(.producer_id = 7, .base_sequence = 3));
	CU_ASSERT_EQUAL(log_end_offset(log), 0);
	CU_ASSERT_EQUAL(log_next_offset(log), 7);
	tw_wait(&t, &l.all);
	for (int i = 0; i < 6; i++)
		CU_ASSERT_EQUAL(l.order[i], i);
	CU_ASSERT_EQUAL(spy.log_appends, 1);
	CU_ASSERT_EQUAL(l.a[0].base_offset, 0);
	CU_ASSERT_EQUAL(l.a[1].base_offset, 2);
	CU_ASSERT_TRUE(l.a[2].duplicate);
	CU_ASSERT_EQUAL(l.a[2].base_offset, 0);
	CU_ASSERT_EQUAL(l.a[2].last_offset, 1);
	CU_ASSERT_EQUAL(l.a[3].err, LOG_ERR_OUT_OF_ORDER_SEQUENCE);
	CU_ASSERT_EQUAL(l.a[4].base_offset, 3);
	CU_ASSERT_EQUAL(l.a[5].base_offset, 6);
	CU_ASSERT_EQUAL(log_end_offset(log), 7);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_flush_messages(void)
{
	struct tw t;
	struct line l = {.want = 4};

	tw_init(&t);
	spy_on(&t);
	t.cfg.flush_messages = 1;
	struct log *log = open_new(&t, "t");
	spy.hold = true;
	line_add(&l, log, 0, TW_BATCH(.producer_id = 7, .count = 2));
	line_add(&l, log, 1, TW_BATCH(.producer_id = 7, .base_sequence = 9)); /* a gap: refused, but not before the one in front of it */
	line_add(&l, log, 2, TW_BATCH(.count = 2));
	while (!spy.held)
		tw_turns(&t, 2);
	CU_ASSERT_EQUAL(log_end_offset(log), 4); /* written */
	CU_ASSERT_EQUAL(log_synced_offset(log), 0);
	line_add(&l, log, 3, TW_BATCH(.producer_id = 7, .count = 2)); /* again: as durable as the first one, or it promises too much */
	tw_turns(&t, 20);
	CU_ASSERT_EQUAL(l.count, 0);            /* not answered */
	spy.hold = false;
	spy.real_fs->submit(spy.held->file, spy.held);
	tw_wait(&t, &l.all);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_synced_offset(log), 4);
	CU_ASSERT_EQUAL(spy.log_syncs, 1); /* one for all */
	CU_ASSERT_EQUAL(t.synced, 1);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(l.order[i], i);
	CU_ASSERT_TRUE(l.a[3].duplicate);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* Names of a new segment are durable before the synced offset passes its base. */
static void test_directory_sync(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	spy_on(&t);
	t.cfg.segment_bytes = 1000;
	t.cfg.flush_messages = 1;
	struct log *log = open_new(&t, "t");
	CU_ASSERT_FALSE(spy.names_unsynced);
	for (int i = 0; i < 60; i++) {
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), i / 20, &a), 0);
		/* answered: it survives a power cut, so its file's name does */
		CU_ASSERT_FALSE(spy.names_unsynced);
		CU_ASSERT(log_synced_offset(log) > a.last_offset);
	}
	CU_ASSERT(log_segments(log) > 3);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* One record each: the second one is written while the first is synced, and waits for a sync of its own. */
static void test_flush_each(void)
{
	struct tw t;
	struct line l = {.want = 2};

	tw_init(&t);
	spy_on(&t);
	t.cfg.flush_messages = 1;
	struct log *log = open_new(&t, "t");
	spy.hold = true;
	line_add(&l, log, 0, TW_BATCH(.count = 1));
	while (!spy.held)
		tw_turns(&t, 2);
	line_add(&l, log, 1, TW_BATCH(.count = 1));
	while (log_end_offset(log) < 2)
		tw_turns(&t, 2);
	CU_ASSERT_EQUAL(l.count, 0);
	struct file_op *first = spy.held;
	spy.held = NULL;
	spy.real_fs->submit(first->file, first);
	while (!spy.held)
		tw_turns(&t, 2);
	CU_ASSERT_EQUAL(log_synced_offset(log), 1);
	CU_ASSERT_EQUAL(l.count, 1);
	spy.real_fs->submit(spy.held->file, spy.held);
	tw_wait(&t, &l.all);
	CU_ASSERT_EQUAL(log_synced_offset(log), 2);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void set_flag(void *ctx, int err)
{
	CU_ASSERT_EQUAL(err, 0);
	*(bool *)ctx = true;
}

/* Records count as synced when the leader epochs that belong to them are in their file: recovery does not look for these below the
 * recovery point, and a follower without them cannot tell where its history parts from the leader's. */
static void test_epochs_before_sync(void)
{
	struct tw t;
	struct log_append a;
	bool synced = false;

	tw_init(&t);
	spy_on(&t);
	struct log *log = open_new(&t, "t");
	atomic_store(&spy.hold_rename, true);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 5, &a), 0);
	log_sync(log, set_flag, &synced);
	while (spy.log_syncs == 0)
		tw_turns(&t, 2);
	tw_turns(&t, 20);
	CU_ASSERT_FALSE(synced);
	CU_ASSERT_EQUAL(log_synced_offset(log), 0);
	atomic_store(&spy.hold_rename, false);
	tw_wait(&t, &synced);
	CU_ASSERT_EQUAL(log_synced_offset(log), 2);
	size_t len;
	char *p = tw_path(&t, "t-0/leader-epoch-checkpoint"), *text = tw_file_read(p, &len);
	CU_ASSERT(len == 8 && memcmp(text, "0\n1\n5 0\n", 8) == 0);
	mem_free(text);
	mem_free(p);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* What is still being written when a sync begins is for the next one: the recovery point never passes what is in the file. */
static void test_sync_of_written(void)
{
	struct tw t;
	struct line l = {.want = 1};
	struct log_append a;
	bool synced = false;

	tw_init(&t);
	spy_on(&t);
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	spy.hold_append = true;
	line_add(&l, log, 0, TW_BATCH(.count = 2));
	log_sync(log, set_flag, &synced);
	tw_wait(&t, &synced);
	CU_ASSERT_PTR_NOT_NULL_FATAL(spy.held_append);
	CU_ASSERT_EQUAL(log_synced_offset(log), 2);
	spy.real_fs->submit(spy.held_append->file, spy.held_append);
	tw_wait(&t, &l.all);
	CU_ASSERT_EQUAL(log_synced_offset(log), 2);
	CU_ASSERT_EQUAL(tw_sync(&t, log), 0);
	CU_ASSERT_EQUAL(log_synced_offset(log), 4);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

/* A segment that ends is synced with its indexes, without anybody asking, and the recovery point goes on to the next one: else a crash
 * would scan it again, and a power cut could take entries out of an index that is trusted. */
static void test_ended_segment(void)
{
	for (int busy = 0; busy < 2; busy++) {
		struct tw t;
		struct line l = {.want = 4};

		tw_init(&t);
		spy_on(&t);
		t.cfg.index_interval_bytes = 1;
		t.cfg.segment_bytes = 250; /* three batches of one record */
		struct log *log = open_new(&t, "t");
		atomic_store(&spy.hold_rename, busy);
		for (int i = 0; i < 4; i++)
			line_add(&l, log, i, TW_BATCH(.count = 1));
		if (busy) { /* a round that begins while the new segment is made takes the old one for the active one */
			while (log_end_offset(log) < 3)
				tw_turns(&t, 2);
			log_sync(log, NULL, NULL);
			while (spy.log_syncs == 0)
				tw_turns(&t, 2);
			atomic_store(&spy.hold_rename, false);
		}
		tw_wait(&t, &l.all);
		settle(&t, log);
		CU_ASSERT_EQUAL(log_segments(log), 2);
		CU_ASSERT(log_recovery_point(log) >= log->c.segs[1]->base_offset);
		CU_ASSERT_EQUAL(spy.index_syncs, 1);
		CU_ASSERT_PTR_NULL(log->c.segs[0]->index_file); /* complete: let go */
		spy_off(&t);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
		tw_fini(&t);
	}
}

static void test_no_space(void)
{
	struct tw t;
	struct line l = {.want = 3};
	struct log_append a;

	tw_init(&t);
	spy_on(&t);
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 7, .count = 2), 0, &a), 0);
	spy.fail_appends = 1;
	spy.fail_err = ERR_NOSPACE;
	line_add(&l, log, 0, TW_BATCH(.producer_id = 7, .base_sequence = 2));
	line_add(&l, log, 1, TW_BATCH(.producer_id = 7, .base_sequence = 3));
	line_add(&l, log, 2, TW_BATCH(.producer_id = 8, .base_sequence = 0));
	tw_wait(&t, &l.all);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(l.a[i].err, ERR_NOSPACE);
	/* the same batches go in again: their sequence was taken back */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 7, .base_sequence = 2), 0, &a), 0);
	CU_ASSERT_FALSE(a.duplicate);
	CU_ASSERT_EQUAL(a.base_offset, 2);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 7, .base_sequence = 4), 0, &a), LOG_ERR_OUT_OF_ORDER_SEQUENCE);
	CU_ASSERT_EQUAL(log_end_offset(log), 3);
	CU_ASSERT_EQUAL(t.failed, 0);
	/* met before offsets are assigned */
	atomic_store(&t.dir.bytes_free, 10);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 7, .base_sequence = 3), 0, &a), ERR_NOSPACE);
	CU_ASSERT_EQUAL(log_next_offset(log), 3);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, log, false), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, 0, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 3);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_failure(void)
{
	for (int how = 0; how < 2; how++) {
		struct tw t;
		struct line l = {.want = 3};
		struct log_append a;

		tw_init(&t);
		spy_on(&t);
		t.cfg.flush_messages = how ? 1 : INT64_MAX;
		struct log *log = open_new(&t, "t");
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
		spy.fail_appends = how ? 0 : 1;
		spy.fail_err = ERR_IO;
		spy.fail_sync = how;
		for (int i = 0; i < 3; i++)
			line_add(&l, log, i, TW_BATCH(.count = 2));
		tw_wait(&t, &l.all);
		for (int i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(l.a[i].err, LOG_ERR_OFFLINE);
			CU_ASSERT_EQUAL(l.order[i], i);
		}
		settle(&t, log);
		CU_ASSERT_EQUAL(t.failed, 1);
		CU_ASSERT_TRUE(atomic_load(&t.dir.offline));
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), LOG_ERR_OFFLINE);
		struct log_read r = {.offset = 0, .offset_max = 2, .bytes_max = 1000};
		CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), LOG_ERR_OFFLINE);
		CU_ASSERT_EQUAL(tw_sync(&t, log), LOG_ERR_OFFLINE);
		CU_ASSERT_EQUAL(tw_truncate(&t, log, 0), LOG_ERR_OFFLINE);
		CU_ASSERT_EQUAL(t.failed, 1);
		spy_off(&t);
		(void)tw_close(&t, log, true);
		tw_fini(&t);
	}
}

/* The directory fails while a write is under way: what waits behind it was never written and is not acknowledged. */
static void test_failure_behind_write(void)
{
	struct tw t;
	struct line l = {.want = 2};

	tw_init(&t);
	spy_on(&t);
	struct log *log = open_new(&t, "t");
	spy.hold_append = true;
	line_add(&l, log, 0, TW_BATCH(.count = 2));
	while (!spy.held_append)
		tw_turns(&t, 2);
	line_add(&l, log, 1, TW_BATCH(.count = 2));
	tw_turns(&t, 2);
	log_fail(log, ERR_IO);
	spy.real_fs->submit(spy.held_append->file, spy.held_append);
	tw_wait(&t, &l.all);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(l.order[i], i);
		CU_ASSERT_EQUAL(l.a[i].err, LOG_ERR_OFFLINE);
	}
	settle(&t, log);
	spy_off(&t);
	(void)tw_close(&t, log, true);
	tw_fini(&t);
}

static void test_log_append_time(void)
{
	struct tw t;
	struct log_append a;
	struct str s;
	struct batch b;

	tw_init(&t);
	t.cfg.log_append_time = true;
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 5), 0, &a), 0);
	CU_ASSERT_EQUAL(a.log_append_time_ms, 1700000000000);
	str_init(&s);
	struct log_read r = {.offset = 0, .offset_max = 1, .bytes_max = 1000};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, &s), 0);
	CU_ASSERT_EQUAL(batch_parse(slice_make(s.ptr, s.len), &b), 0);
	CU_ASSERT_TRUE(batch_is_log_append_time(&b));
	CU_ASSERT_EQUAL(b.max_timestamp, 1700000000000);
	CU_ASSERT_TRUE(batch_crc_ok(slice_make(s.ptr, s.len)));
	/* a client's own claim to that bit is taken back */
	t.cfg.log_append_time = false;
	log_reconfigure(log, &t.cfg);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.base_timestamp = 5, .attributes = 8), 0, &a), 0);
	str_clear(&s);
	r = (struct log_read){.offset = 1, .offset_max = 2, .bytes_max = 1000};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, &s), 0);
	CU_ASSERT_EQUAL(batch_parse(slice_make(s.ptr, s.len), &b), 0);
	CU_ASSERT_FALSE(batch_is_log_append_time(&b));
	CU_ASSERT_EQUAL(b.max_timestamp, 5);
	CU_ASSERT_TRUE(batch_crc_ok(slice_make(s.ptr, s.len)));
	str_fini(&s);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static struct buf *concat(const struct tw_batch *specs, int count, size_t *ret_len)
{
	struct str s;

	str_init(&s);
	for (int i = 0; i < count; i++) {
		size_t len;
		struct buf *b = tw_batch(specs[i], &len);
		str_add_bytes(&s, b->data, len);
		buf_unref(b);
	}
	struct buf *all = buf_copy(s.ptr, s.len);
	*ret_len = s.len;
	str_fini(&s);
	return all;
}

static void test_replica(void)
{
	struct tw t;
	struct log_append a;
	struct tw_batch specs[40];
	size_t len;
	int batches;

	tw_init(&t);
	t.cfg.segment_bytes = 1000; /* one append, several segments */
	struct log *log = open_new(&t, "t");
	for (int i = 0; i < 40; i++)
		specs[i] = TW_BATCH(.base_offset = 3 * i, .count = 3, .leader_epoch = i / 10, .producer_id = 9, .base_sequence = 3 * i);
	struct buf *b = concat(specs, 40, &len);
	CU_ASSERT_EQUAL(tw_append_replica(&t, log, b, len - 5, &a), 0); /* the last one is cut short */
	CU_ASSERT_EQUAL(a.base_offset, 0);
	CU_ASSERT_EQUAL(a.last_offset, 116);
	CU_ASSERT_EQUAL(log_end_offset(log), 117);
	CU_ASSERT(log_segments(log) > 3);
	CU_ASSERT_EQUAL(read_through(&t, log, 0, 500, &batches), 117);
	CU_ASSERT_EQUAL(batches, 39);
	int32_t epoch;
	int64_t end;
	log_epoch_end(log, 1, &epoch, &end);
	CU_ASSERT(epoch == 1 && end == 60);
	/* not at the end; damaged; a leader continues the follower's sequences */
	b = concat(specs + 20, 2, &len);
	CU_ASSERT_EQUAL(tw_append_replica(&t, log, b, len, &a), LOG_ERR_NOT_CONTIGUOUS);
	b = concat(specs + 39, 1, &len);
	b->data[len - 1] ^= 1;
	CU_ASSERT_EQUAL(tw_append_replica(&t, log, b, len, &a), LOG_ERR_BAD_CRC);
	CU_ASSERT_EQUAL(log_end_offset(log), 117);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 9, .base_sequence = 117, .count = 3), 4, &a), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 9, .base_sequence = 3 * 37, .count = 3), 4, &a), 0);
	CU_ASSERT_TRUE(a.duplicate);
	CU_ASSERT_EQUAL(a.base_offset, 3 * 37);
	log_begin_epoch(log, 9);
	log_epoch_end(log, 4, &epoch, &end);
	CU_ASSERT(epoch == 4 && end == 120);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	char *p = tw_path(&t, "t-0/00000000000000000120.snapshot"); /* the next start need not read the log for it */
	CU_ASSERT_TRUE(tw_file_exists(p));
	mem_free(p);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	log_epoch_end(log, 4, &epoch, &end);
	CU_ASSERT(epoch == 4 && end == 120);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_transactions(void)
{
	struct tw t;
	struct log_append a;
	struct arena ar;

	tw_init(&t);
	arena_init(&ar, 0);
	struct log *log = open_new(&t, "t");
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 5), 0, &a), 0);                                                          /* 0-4 */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 1, .transactional = true, .count = 2), 0, &a), 0);                 /* 5-6 */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 2, .transactional = true, .count = 2), 0, &a), 0);                 /* 7-8 */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.producer_id = 1, .base_sequence = 2, .count = 2), 0, &a), LOG_ERR_TXN_STATE);
	log_set_high_watermark(log, 9);
	CU_ASSERT_EQUAL(log_last_stable_offset(log), 5);
	CU_ASSERT_EQUAL(tw_append_origin(&t, log, TW_BATCH(.producer_id = 1, .control = 1, .coordinator_epoch = 3), LOG_ORIGIN_COORDINATOR, 0, &a), 0); /* 9 */
	CU_ASSERT_EQUAL(log_last_stable_offset(log), 5); /* the marker is not below the high watermark */
	log_set_high_watermark(log, 10);
	CU_ASSERT_EQUAL(log_last_stable_offset(log), 7);
	CU_ASSERT_EQUAL(tw_append_origin(&t, log, TW_BATCH(.producer_id = 2, .control = 2, .coordinator_epoch = 3), LOG_ORIGIN_COORDINATOR, 0, &a), 0); /* 10 */
	CU_ASSERT_EQUAL(tw_append_origin(&t, log, TW_BATCH(.producer_id = 2, .control = 2, .coordinator_epoch = 2), LOG_ORIGIN_COORDINATOR, 0, &a),
		LOG_ERR_COORDINATOR_FENCED);
	log_set_high_watermark(log, 11);
	CU_ASSERT_EQUAL(log_last_stable_offset(log), 11);
	for (int pass = 0; pass < 3; pass++) {
		struct log_read r = {.offset = 0, .offset_max = 11, .bytes_max = 1 << 20, .want_aborted = true, .arena = &ar};
		CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
		CU_ASSERT_EQUAL(r.aborted_count, 1);
		CU_ASSERT(r.aborted_count == 1 && r.aborted[0].producer_id == 1 && r.aborted[0].first_offset == 5);
		CU_ASSERT_EQUAL(tw_close(&t, log, pass == 0), 0);
		CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, pass == 0, 0, -1, 11, &log), 0);
		CU_ASSERT_EQUAL(log_last_stable_offset(log), 11);
	}
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 9), 0);
	log_set_high_watermark(log, 9);
	CU_ASSERT_EQUAL(log_last_stable_offset(log), 5); /* both open again */
	struct log_read r = {.offset = 0, .offset_max = 9, .bytes_max = 1 << 20, .want_aborted = true, .arena = &ar};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	CU_ASSERT_EQUAL(r.aborted_count, 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	arena_fini(&ar);
	tw_fini(&t);
}

static void test_retention(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	t.cfg.retention_ms = -1;
	t.cfg.retention_bytes = 3000;
	t.cfg.file_delete_delay_ms = 0;
	struct log *log = open_new(&t, "size");
	for (int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .base_timestamp = 1700000000000 + i), 3, &a), 0);
	uint64_t before = log_bytes(log);
	log_maintain(log, 1700000001000);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_bytes(log), before); /* nothing is below the high watermark yet */
	log_set_high_watermark(log, 200);
	log_maintain(log, 1700000001000);
	settle(&t, log);
	CU_ASSERT(log_bytes(log) >= 3000 && log_bytes(log) < 4100);
	CU_ASSERT(log_start_offset(log) > 100);
	CU_ASSERT_EQUAL(t.start_moved, 1);
	int64_t start = log_start_offset(log);
	CU_ASSERT_EQUAL(read_through(&t, log, start, 500, NULL), 200);
	struct log_read r = {.offset = start - 1, .offset_max = 200, .bytes_max = 100};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), LOG_ERR_OFFSET_OUT_OF_RANGE);
	char *p = tw_path(&t, "size-0/00000000000000000000.log.deleted");
	CU_ASSERT_TRUE(tw_file_exists(p));
	log_maintain(log, INT64_C(1) << 50); /* the delay is over */
	settle(&t, log);
	CU_ASSERT_FALSE(tw_file_exists(p));
	mem_free(p);
	/* the start within a segment; then that segment's predecessors go */
	log_advance_start(log, start + 25);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_start_offset(log), start + 25);
	CU_ASSERT_EQUAL(t.start_moved, 2);
	log_maintain(log, 1700000001000);
	settle(&t, log);
	CU_ASSERT_EQUAL(log_start_offset(log), start + 25);
	CU_ASSERT(log_first_segment_base(log) > start && log_first_segment_base(log) <= start + 25);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);

	/* by time: all of it, the active segment included */
	t.cfg.retention_bytes = -1;
	t.cfg.retention_ms = 1000;
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "size", false, true, -1, start + 25, 200, &log), 0);
	for (int i = 0; i < 4; i++) {
		log_maintain(log, 1700000010000);
		settle(&t, log);
	}
	CU_ASSERT_EQUAL(log_start_offset(log), 200);
	CU_ASSERT_EQUAL(log_segments(log), 1);
	CU_ASSERT_EQUAL(log_bytes(log), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 3, &a), 0);
	CU_ASSERT_EQUAL(a.base_offset, 200);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "size", false, true, -1, -1, 200, &log), 0);
	CU_ASSERT_EQUAL(log_start_offset(log), 200);
	CU_ASSERT_EQUAL(log_end_offset(log), 202);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void test_truncate(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	struct log *log = open_new(&t, "t");
	for (int i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 5, .base_sequence = 2 * i), i / 10, &a), 0);
	struct log_read r = {.offset = 50, .offset_max = 100, .bytes_max = 500};
	bool done = false;
	(void)done;
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 100), 0);
	CU_ASSERT_EQUAL(log_end_offset(log), 100);
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 41), 0); /* in the middle of 40..41 */
	CU_ASSERT_EQUAL(log_end_offset(log), 40);
	CU_ASSERT_EQUAL(log_next_offset(log), 40);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 1);
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), LOG_ERR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(read_through(&t, log, 0, 300, NULL), 40);
	/* producer state is as of the cut */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 5, .base_sequence = 42), 9, &a), LOG_ERR_OUT_OF_ORDER_SEQUENCE);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 5, .base_sequence = 40), 9, &a), 0);
	CU_ASSERT_EQUAL(a.base_offset, 40);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 5, .base_sequence = 38), 9, &a), 0);
	CU_ASSERT_TRUE(a.duplicate);
	CU_ASSERT_EQUAL(tw_truncate_fully(&t, log, 1000), 0);
	CU_ASSERT_EQUAL(log_start_offset(log), 1000);
	CU_ASSERT_EQUAL(log_end_offset(log), 1000);
	CU_ASSERT_EQUAL(log_latest_epoch(log), -1);
	CU_ASSERT_EQUAL(log_producers(log, NULL, 0), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 5, .base_sequence = 77), 9, &a), 0);
	CU_ASSERT_EQUAL(a.base_offset, 1000);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_start_offset(log), 1000);
	CU_ASSERT_EQUAL(log_end_offset(log), 1002);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void count_truncated(void *ctx, int err)
{
	*(int *)ctx += err ? 100 : 1;
}

/* Order with appends is that of the calls; a range handed out before a truncation is not sent after it. */
static void test_truncate_order(void)
{
	struct tw t;
	struct line l = {.want = 4};
	int truncated = 0;

	tw_init(&t);
	struct log *log = open_new(&t, "t");
	line_add(&l, log, 0, TW_BATCH(.count = 2));
	line_add(&l, log, 1, TW_BATCH(.count = 2));
	log_truncate(log, 2, count_truncated, &truncated);
	line_add(&l, log, 2, TW_BATCH(.count = 2));
	log_truncate(log, 4, count_truncated, &truncated); /* needless */
	line_add(&l, log, 3, TW_BATCH(.count = 2));
	tw_wait(&t, &l.all);
	CU_ASSERT_EQUAL(truncated, 2);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(l.order[i], i);
	CU_ASSERT_EQUAL(l.a[1].base_offset, 2);
	CU_ASSERT_EQUAL(l.a[2].base_offset, 2);
	CU_ASSERT_EQUAL(l.a[3].base_offset, 4);
	CU_ASSERT_EQUAL(log_end_offset(log), 6);
	struct log_read r = {.offset = 0, .offset_max = 6, .bytes_max = 1000};
	CU_ASSERT_EQUAL(tw_read(&t, log, &r, NULL), 0);
	/* tw_read dropped its reference: take another one */
	struct file *f = file_ref(log_active(log)->log_file);
	uint32_t generation = file_generation(f);
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 4), 0);
	CU_ASSERT_NOT_EQUAL(file_generation(f), generation);
	file_unref(f);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static void read_back(struct log_read *r) { *(bool *)r->ctx = true; }

/* A search for an offset is under way while the log is cut and written anew: what it would have found is not there any more, or is another. */
static void test_truncate_under_read(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	for (int longer = 0; longer < 2; longer++) {
		bool done = false;
		struct log *log = open_new(&t, longer ? "u" : "t");
		for (int i = 0; i < 50; i++)
			CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
		spy_on(&t);
		CU_ASSERT_EQUAL_FATAL(tw_open(&t, longer ? "u" : "t", false, true, -1, -1, -1, &log), 0); /* nothing in memory: files are read */
		spy.hold_read = true;
		struct log_read r = {.offset = 60, .offset_max = 100, .bytes_max = 1000, .whole_first = true, .done = read_back, .ctx = &done};
		log_read(log, &r);
		while (!spy.held_read)
			tw_turns(&t, 2);
		CU_ASSERT_EQUAL(tw_truncate(&t, log, 40), 0);
		for (int i = 0; longer && i < 30; i++)
			CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 1, .value_bytes = 300), 1, &a), 0);
		spy.real_fs->submit(spy.held_read->file, spy.held_read);
		tw_wait(&t, &done);
		CU_ASSERT_EQUAL(r.err, longer ? 0 : LOG_ERR_OFFSET_OUT_OF_RANGE);
		if (longer) {
			struct batch b;
			uint8_t head[BATCH_HEADER_BYTES];
			size_t got;
			CU_ASSERT_FATAL(r.file && r.len > sizeof(head));
			CU_ASSERT_EQUAL(file_read_now(r.file, r.pos, head, sizeof(head), &got), 0);
			CU_ASSERT_EQUAL(batch_parse(slice_make(head, got), &b), 0);
			CU_ASSERT(b.base_offset == 60 && b.leader_epoch == 1);
		}
		file_unref(r.file);
		spy_off(&t);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	tw_fini(&t);
}

static void test_delete(void)
{
	struct tw t;
	struct log_append a;
	struct fs_names names;

	tw_init(&t);
	t.cfg.segment_bytes = 1000;
	struct log *log = open_new(&t, "t");
	for (int i = 0; i < 50; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	CU_ASSERT_EQUAL(tw_delete(&t, log), 0);
	bool gone = false;
	while (!gone) {
		tw_spin(&t);
		CU_ASSERT_EQUAL_FATAL(fs_list(t.env, t.dir.path, &names), 0);
		gone = names.count == 0;
		fs_names_free(&names);
	}
	tw_fini(&t);
}

static void test_available(void)
{
	struct tw t;
	struct log_append a;

	tw_init(&t);
	t.cfg.segment_bytes = 20000;
	t.cfg.index_interval_bytes = 500;
	struct log *log = open_new(&t, "t");
	for (int i = 0; i < 600; i++)
		CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2), 0, &a), 0);
	uint64_t one = log_bytes(log) / 600;
	for (int64_t from = 0; from < 1200; from += 37)
		for (int64_t to = from; to <= 1200; to += 53) {
			uint64_t exact = (uint64_t)(to / 2 - from / 2) * one, told = log_available_bytes(log, from, to, UINT64_MAX);
			CU_ASSERT(told <= exact);
			CU_ASSERT(told + 25000 > exact || told > 0);
		}
	CU_ASSERT_EQUAL(log_available_bytes(log, 1190, 1200, UINT64_MAX), 5 * one);
	CU_ASSERT_EQUAL(log_available_bytes(log, 1190, 1200, 7), 7);
	CU_ASSERT_EQUAL(log_available_bytes(log, 1200, 1200, 7), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

UNIT_MAIN("log", {"append_read", test_append_read}, {"roll", test_roll}, {"roll_conditions", test_roll_conditions},
	  {"in_flight", test_in_flight}, {"flush_messages", test_flush_messages}, {"flush_each", test_flush_each},
	  {"directory_sync", test_directory_sync}, {"epochs_before_sync", test_epochs_before_sync}, {"sync_of_written", test_sync_of_written},
	  {"ended_segment", test_ended_segment}, {"no_space", test_no_space}, {"failure", test_failure},
	  {"failure_behind_write", test_failure_behind_write}, {"log_append_time", test_log_append_time}, {"replica", test_replica},
	  {"transactions", test_transactions}, {"retention", test_retention}, {"truncate", test_truncate}, {"truncate_order", test_truncate_order},
	  {"truncate_under_read", test_truncate_under_read},
	  {"delete", test_delete}, {"available", test_available})
