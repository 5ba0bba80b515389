/* test_log_close.c: what a log leaves to be done for its disk: writeback while it runs, files when it is closed. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "brokerd/log/log_priv.h"
#include "tests/unit/log_util.h"
#include "tests/unit/unit.h"

static struct log *open_new(struct tw *t, const char *topic)
{
	struct log *log = NULL;
	CU_ASSERT_EQUAL_FATAL(tw_open(t, topic, true, true, -1, -1, -1, &log), 0);
	return log;
}

/* Of a file of partition t-0; 0: it is not there. What is written anew can be written to again. */
static mode_t mode_of(const struct tw *t, const char *name)
{
	char path[600];
	struct stat st;
	snprintf(path, sizeof(path), "%s/t-0/%s", t->dir.path, name);
	return stat(path, &st) ? 0 : st.st_mode & 0777;
}

static void mark(const struct tw *t, const char *name)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/t-0/%s", t->dir.path, name);
	CU_ASSERT_EQUAL(chmod(path, 0444), 0);
}

/* A log that nobody wrote to since a clean stop is closed without a single write: thousands of them must not keep a stop waiting. */
static void test_close_untouched(void)
{
	struct tw t;
	struct log *log;
	struct log_append a;

	tw_init(&t);
	for (int clean = 0; clean < 2; clean++) { /* made, whatever the directory's start was, and never written to */
		CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", !clean, clean, -1, -1, -1, &log), 0);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
		CU_ASSERT_EQUAL(mode_of(&t, "00000000000000000000.snapshot"), 0);
		CU_ASSERT_NOT_EQUAL(mode_of(&t, "leader-epoch-checkpoint"), 0); /* Kafka has it from the beginning */
	}
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 3, .producer_id = 7, .base_sequence = 0), 2, &a), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_TRUE(mode_of(&t, "00000000000000000003.snapshot") & 0200);
	mark(&t, "00000000000000000003.snapshot");
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
		CU_ASSERT_EQUAL(log_end_offset(log), 3);
		if (i == 1)
			log_begin_epoch(log, 5); /* it has no record, so nothing of it is written */
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
		CU_ASSERT_EQUAL(mode_of(&t, "00000000000000000003.snapshot"), 0444);
	}
	/* an unclean start is touched by itself; so is what is appended */
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, false, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_TRUE(mode_of(&t, "00000000000000000003.snapshot") & 0200);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 2); /* no record came in epoch 5: it is cut at the end, as Kafka does */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 7, .base_sequence = 3), 6, &a), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_NOT_EQUAL(mode_of(&t, "00000000000000000005.snapshot"), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	/* what a truncation leaves was not synced since it was written, as far as the log knows */
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 7, .base_sequence = 5), 6, &a), 0);
	mark(&t, "00000000000000000005.snapshot");
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 5), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_TRUE(mode_of(&t, "00000000000000000005.snapshot") & 0200);
	/* nor are indexes that the start made anew */
	mark(&t, "00000000000000000005.snapshot");
	char *index = tw_path(&t, "t-0/00000000000000000000.index");
	CU_ASSERT_EQUAL(unlink(index), 0);
	mem_free(index);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_TRUE(mode_of(&t, "00000000000000000005.snapshot") & 0200);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "t", false, true, -1, -1, -1, &log), 0);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 6);
	CU_ASSERT_EQUAL(tw_append(&t, log, TW_BATCH(.count = 2, .producer_id = 7, .base_sequence = 3), 6, &a), 0);
	CU_ASSERT_TRUE(a.duplicate);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	tw_fini(&t);
}

static uint64_t dirty_of(const struct log *log)
{
	return log_active(log)->bytes_dirty;
}

/* G3: many logs of less than a MiB each do not add up to more than the budget; who has been dirty the longest goes first. */
static void test_writeback(void)
{
	struct tw t;
	struct writeback wb;
	struct log *a, *b;
	struct log_append done;
	uint64_t one;

	tw_init(&t);
	writeback_init(&wb, 0);
	t.writeback = &wb;
	a = open_new(&t, "a");
	b = open_new(&t, "b");
	CU_ASSERT_EQUAL(tw_append(&t, a, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(wb.asked, 1);
	CU_ASSERT_EQUAL(wb.bytes, 0);
	one = log_bytes(a);
	wb.budget = 3 * one + one / 2;
	CU_ASSERT_EQUAL(tw_append(&t, a, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(tw_append(&t, b, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(tw_append(&t, a, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(wb.bytes, 3 * one);
	CU_ASSERT_EQUAL(wb.asked, 1);
	CU_ASSERT_EQUAL(tw_append(&t, b, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(wb.asked, 2);
	CU_ASSERT_EQUAL(dirty_of(a), 0);
	CU_ASSERT_EQUAL(dirty_of(b), 2 * one);
	CU_ASSERT_EQUAL(wb.bytes, 2 * one);
	/* what a sync writes nobody has to ask for */
	CU_ASSERT_EQUAL(tw_sync(&t, b), 0);
	CU_ASSERT_EQUAL(wb.bytes, 0);
	CU_ASSERT_EQUAL(wb.asked, 2);
	/* a file alone is asked for after a MiB, whatever the budget */
	wb.budget = 1 << 30;
	for (int i = 0; i < 12; i++)
		CU_ASSERT_EQUAL(tw_append(&t, a, TW_BATCH(.count = 1, .value_bytes = 100000), 0, &done), 0);
	CU_ASSERT_EQUAL(wb.asked, 3);
	CU_ASSERT_EQUAL(wb.bytes, dirty_of(a));
	CU_ASSERT_TRUE(wb.bytes > 0 && wb.bytes < WRITEBACK_BYTES);
	/* what goes counts no longer */
	CU_ASSERT_EQUAL(tw_append(&t, b, TW_BATCH(.count = 1, .value_bytes = 1000), 0, &done), 0);
	CU_ASSERT_EQUAL(tw_truncate(&t, a, 2), 0);
	CU_ASSERT_EQUAL(wb.bytes, one);
	CU_ASSERT_EQUAL(tw_close(&t, a, true), 0);
	CU_ASSERT_EQUAL(tw_close(&t, b, false), 0);
	CU_ASSERT_EQUAL(wb.bytes, 0);
	CU_ASSERT_TRUE(list_empty(&wb.dirty));
	writeback_fini(&wb);
	tw_fini(&t);
}

UNIT_MAIN("log_close", {"writeback", test_writeback}, {"close_untouched", test_close_untouched})
