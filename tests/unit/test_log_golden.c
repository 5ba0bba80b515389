/* test_log_golden.c: directories that Kafka 3.9.1 wrote: opened clean and after a crash with damaged tails, read back, compared with
 * what a Kafka consumer saw; closed again, and still accepted by the checker of the golden data.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/compress/compress.h"
#include "tests/unit/log_util.h"
#include "tests/unit/unit.h"

struct expect {
	const char *topic;
	int partition;
	int64_t start, end, lso, end_unclean;
	int last_epoch;
};
static const struct expect expects[] = {
	{"codec-none", 0, 0, 200, 200, 220, 0}, {"codec-gzip", 0, 0, 200, 200, 200, 0}, {"codec-snappy", 0, 0, 200, 200, 200, 0},
	{"codec-lz4", 0, 0, 200, 200, 200, 0}, {"codec-zstd", 0, 0, 200, 200, 260, 0}, {"keyed", 0, 0, 31, 31, 31, 0}, {"keyed", 1, 0, 48, 48, 48, 0},
	{"keyed", 2, 0, 41, 41, 41, 0}, {"headers", 0, 0, 12, 12, 12, 0}, {"logappend", 0, 0, 20, 20, 20, 0}, {"trimmed", 0, 60, 100, 100, 100, 0},
	{"compacted", 0, 0, 440, 440, 440, 0}, {"txn", 0, 0, 32, 32, 40, 0}, {"txn", 1, 0, 32, 32, 40, 0}, {"txn-open", 0, 0, 7, 4, 7, 0},
	{"epochs", 0, 0, 40, 40, 40, 3},
};
#define EXPECTS (sizeof(expects) / sizeof(expects[0]))

static int64_t varint(const uint8_t **p, const uint8_t *end)
{
	uint64_t v = 0;
	for (int shift = 0; *p < end; shift += 7) {
		uint8_t b = *(*p)++;
		v |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			break;
	}
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static void print_bytes(struct str *out, const uint8_t **p, const uint8_t *end)
{
	int64_t n = varint(p, end);
	str_printf(out, "|%lld|", (long long)n);
	if (n > 0) {
		str_add_bytes(out, *p, (size_t)n);
		*p += n;
	}
}

/* One line per record at or above start, as in expected/. */
static void print_batch(struct str *out, struct slice raw, const struct batch *b, int64_t start)
{
	struct buf *plain;
	size_t len;
	if (batch_is_control(b))
		return;
	CU_ASSERT_EQUAL_FATAL(decompress_once((enum codec)batch_codec(b), slice_make(raw.ptr + 61, raw.len - 61), 1 << 24, &plain, &len), 0);
	const uint8_t *p = plain->data, *end = p + len;
	for (int32_t i = 0; i < b->record_count; i++) {
		int64_t bytes = varint(&p, end);
		const uint8_t *next = p + bytes;
		p++;
		int64_t ts = b->base_timestamp + varint(&p, end);
		int64_t offset = b->base_offset + varint(&p, end);
		if (batch_is_log_append_time(b))
			ts = b->max_timestamp;
		if (b->attributes & 64) /* delete horizon: the deltas are relative to it */
			ts = b->base_timestamp + (ts - b->base_timestamp);
		if (offset >= start) {
			str_printf(out, "%lld|%lld", (long long)offset, (long long)ts);
			print_bytes(out, &p, end);
			print_bytes(out, &p, end);
			str_add(out, "|");
			int64_t headers = varint(&p, end);
			for (int64_t h = 0; h < headers; h++) {
				int64_t n = varint(&p, end);
				str_printf(out, "%s%.*s=", h ? "," : "", (int)n, (const char *)p);
				p += n;
				n = varint(&p, end);
				if (n < 0)
					str_add(out, "NULL");
				else
					str_add_bytes(out, p, (size_t)n);
				p += n > 0 ? n : 0;
			}
			str_add(out, "\n");
		}
		p = next;
	}
	buf_unref(plain);
}

/* Reads everything as a consumer does and prints it. */
static void print_log(struct tw *t, struct log *log, uint32_t bytes_max, struct str *out)
{
	int64_t offset = log_start_offset(log);

	while (offset < log_end_offset(log)) {
		struct log_read r = {.offset = offset, .offset_max = log_end_offset(log), .bytes_max = bytes_max, .whole_first = true};
		struct str bytes;
		str_init(&bytes);
		CU_ASSERT_EQUAL_FATAL(tw_read(t, log, &r, &bytes), 0);
		if (bytes.len == 0) {
			str_fini(&bytes);
			CU_FAIL("nothing to read below the end");
			return;
		}
		for (size_t at = 0; at < bytes.len;) {
			struct batch b;
			CU_ASSERT_EQUAL_FATAL(batch_parse(slice_make(bytes.ptr + at, bytes.len - at), &b), 0);
			CU_ASSERT_FATAL(at + (size_t)b.total_bytes <= bytes.len);
			struct slice one = slice_make(bytes.ptr + at, (size_t)b.total_bytes);
			CU_ASSERT_TRUE(batch_crc_ok(one));
			print_batch(out, one, &b, offset);
			at += (size_t)b.total_bytes;
		}
		CU_ASSERT_FATAL(r.next_offset > offset);
		offset = r.next_offset;
		str_fini(&bytes);
	}
}

static int open_one(struct tw *t, const struct expect *e, bool clean, int64_t recovery_point, struct log **ret)
{
	struct log_open o = {
		.env = t->env, .dir = &t->dir, .topic = e->topic, .partition = e->partition, .config = t->cfg, .clean = clean,
		.recovery_point = recovery_point, .log_start_offset = strcmp(e->topic, "trimmed") ? -1 : 60, .high_watermark = INT64_MAX, .now_ms = 1700000000000,
	};
	o.config.cleanup_compact = strcmp(e->topic, "compacted") == 0;
	o.config.index_interval_bytes = 512;
	struct log_events ev = {0};
	int err = log_open_now(&o, ret);
	if (!err)
		log_attach(*ret, t->loop, NULL, &ev);
	return err;
}

static void compare(struct tw *t, struct log *log, const struct expect *e, const char *expected_dir, uint32_t bytes_max)
{
	char name[256];
	size_t len;
	struct str got;

	snprintf(name, sizeof(name), "%s/expected/%s-%d.txt", expected_dir, e->topic, e->partition);
	if (!tw_file_exists(unit_golden(name)))
		snprintf(name, sizeof(name), "log-3.9/expected/%s-%d.txt", e->topic, e->partition);
	char *want = tw_file_read(unit_golden(name), &len);
	str_init(&got);
	print_log(t, log, bytes_max, &got);
	if (got.len != len || memcmp(got.ptr, want, len) != 0) {
		printf("%s differs: %zu bytes, expected %zu\n", name, got.len, len);
		CU_FAIL("records differ");
	}
	str_fini(&got);
	mem_free(want);
}

static int64_t recovery_point_of(struct tw *t, const struct expect *e)
{
	struct checkpoint_entry *entries;
	struct arena a;
	uint32_t count;
	int64_t found = 0;
	char *p = tw_path(t, "recovery-point-offset-checkpoint");

	arena_init(&a, 0);
	CU_ASSERT_EQUAL(checkpoint_read_now(t->env, p, &a, &entries, &count), 0);
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(entries[i].topic, e->topic) && entries[i].partition == e->partition)
			found = entries[i].offset;
	arena_fini(&a);
	mem_free(p);
	return found;
}

static void check_directory(struct tw *t)
{
	char cmd[1200];

	if (system("python3 -c 1 >/dev/null 2>&1") != 0)
		return;
	snprintf(cmd, sizeof(cmd), "python3 '%s' '%s' > '%s/check.out' 2>&1", unit_golden("check-log.py"), t->dir.path, unit_tmpdir());
	int rc = system(cmd);
	if (rc)
		printf("check-log.py refuses %s: see %s/check.out\n", t->dir.path, unit_tmpdir());
	CU_ASSERT_EQUAL(rc, 0);
}

static void copy_golden(struct tw *t, const char *name)
{
	char from[128];

	snprintf(from, sizeof(from), "%s/data", name);
	tw_new_dir(t);
	tw_copy_tree(unit_golden(from), t->dir.path);
}

static void test_clean(void)
{
	struct tw t;
	struct log *log;

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	for (size_t i = 0; i < EXPECTS; i++) {
		const struct expect *e = &expects[i];
		int err = open_one(&t, e, true, 0, &log);
		CU_ASSERT_EQUAL(err, 0);
		if (err) {
			printf("%s-%d: %d\n", e->topic, e->partition, err);
			continue;
		}
		CU_ASSERT_EQUAL(log_start_offset(log), e->start);
		CU_ASSERT_EQUAL(log_end_offset(log), e->end);
		CU_ASSERT_EQUAL(log_synced_offset(log), e->end);
		CU_ASSERT_EQUAL(log_last_stable_offset(log), e->lso);
		CU_ASSERT_EQUAL(log_latest_epoch(log), e->last_epoch);
		compare(&t, log, e, "log-3.9", 1 << 20);
		compare(&t, log, e, "log-3.9", 1);
		compare(&t, log, e, "log-3.9", 700);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	check_directory(&t);
	tw_fini(&t);
}

static void test_clean_is_untouched(void)
{
	/* A clean open and close changes no byte of what Kafka wrote (snapshots at the end are written anew, in another order perhaps). */
	struct tw t;
	struct log *log;
	char cmd[1200], from[600];

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	for (size_t i = 0; i < EXPECTS; i++) {
		CU_ASSERT_EQUAL_FATAL(open_one(&t, &expects[i], true, 0, &log), 0);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	snprintf(from, sizeof(from), "%s", unit_golden("log-3.9/data"));
	snprintf(cmd, sizeof(cmd), "diff -rq '%s' '%s' >%s/diff.out", from, t.dir.path, unit_tmpdir());
	int rc = system(cmd);
	if (rc) {
		snprintf(cmd, sizeof(cmd), "cat %s/diff.out", unit_tmpdir());
		(void)!system(cmd);
	}
	CU_ASSERT_EQUAL(rc, 0);
	tw_fini(&t);
}

static void test_epochs(void)
{
	struct tw t;
	struct log *log;
	int32_t epoch;
	int64_t end;

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	CU_ASSERT_EQUAL_FATAL(open_one(&t, &expects[EXPECTS - 1], true, 0, &log), 0);
	static const struct { int32_t ask, epoch; int64_t end; } cases[] = {{-1, -1, -1}, {0, 0, 10}, {1, 1, 20}, {2, 2, 30}, {3, 3, 40}, {4, -1, -1}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_epoch_end(log, cases[i].ask, &epoch, &end);
		CU_ASSERT_EQUAL(epoch, cases[i].epoch);
		CU_ASSERT_EQUAL(end, cases[i].end);
	}
	CU_ASSERT_EQUAL(log_epoch_at(log, 19), 1);
	CU_ASSERT_EQUAL(tw_truncate(&t, log, 25), 0);
	/* 20..29 are one batch: it goes entirely, and its epoch with it */
	CU_ASSERT_EQUAL(log_latest_epoch(log), 1);
	CU_ASSERT_EQUAL(log_end_offset(log), 20);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	CU_ASSERT_EQUAL_FATAL(open_one(&t, &expects[EXPECTS - 1], true, 0, &log), 0);
	CU_ASSERT_EQUAL(log_latest_epoch(log), 1);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	check_directory(&t);
	tw_fini(&t);
}

/* Aborted transactions: the records that a read_committed consumer must drop are those of the listed producers. */
static void test_aborted(void)
{
	struct tw t;
	struct log *log;
	struct arena a;

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	arena_init(&a, 0);
	for (int p = 0; p < 2; p++) {
		CU_ASSERT_EQUAL_FATAL(open_one(&t, &expects[12 + p], true, 0, &log), 0);
		int committed = 0;
		int64_t offset = 0;
		while (offset < 32) {
			struct log_read r = {.offset = offset, .offset_max = 32, .bytes_max = 1, .whole_first = true, .want_aborted = true, .arena = &a};
			struct str bytes;
			struct batch b;
			str_init(&bytes);
			CU_ASSERT_EQUAL_FATAL(tw_read(&t, log, &r, &bytes), 0);
			CU_ASSERT_EQUAL_FATAL(batch_parse(slice_make(bytes.ptr, bytes.len), &b), 0);
			bool aborted = false;
			for (int32_t i = 0; i < r.aborted_count; i++)
				aborted |= r.aborted[i].producer_id == b.producer_id && r.aborted[i].first_offset <= b.base_offset;
			if (!batch_is_control(&b) && !aborted)
				committed += b.record_count;
			offset = r.next_offset;
			str_fini(&bytes);
		}
		CU_ASSERT_EQUAL(committed, 15);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	arena_fini(&a);
	tw_fini(&t);
}

static void unclean(bool no_checkpoint)
{
	struct tw t;
	struct log *log;

	tw_init(&t);
	copy_golden(&t, "log-3.9-unclean");
	for (size_t i = 0; i < EXPECTS; i++) {
		const struct expect *e = &expects[i];
		int64_t lso = e->lso == e->end ? e->end_unclean : e->lso;
		int err = open_one(&t, e, false, no_checkpoint ? 0 : recovery_point_of(&t, e), &log);
		CU_ASSERT_EQUAL(err, 0);
		if (err) {
			printf("%s-%d: %d\n", e->topic, e->partition, err);
			continue;
		}
		CU_ASSERT_EQUAL(log_start_offset(log), e->start);
		CU_ASSERT_EQUAL(log_end_offset(log), e->end_unclean);
		CU_ASSERT_EQUAL(log_last_stable_offset(log), lso);
		CU_ASSERT_EQUAL(log_latest_epoch(log), e->last_epoch);
		compare(&t, log, e, "log-3.9-unclean", 900);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
		/* And what was written by the recovery can be opened clean. */
		CU_ASSERT_EQUAL_FATAL(open_one(&t, e, true, 0, &log), 0);
		CU_ASSERT_EQUAL(log_end_offset(log), e->end_unclean);
		CU_ASSERT_EQUAL(log_last_stable_offset(log), lso);
		compare(&t, log, e, "log-3.9-unclean", 900);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	check_directory(&t);
	tw_fini(&t);
}

static void test_unclean(void)
{
	unclean(false);
}

static void test_unclean_without_checkpoint(void)
{
	unclean(true);
}

/* Producers as Kafka's own snapshot at the end has them, although they are replayed from the log. */
static void test_producers(void)
{
	struct tw t;
	struct log *log;
	static const size_t which[] = {1, 4, 12, 13, 14, 15};

	tw_init(&t);
	for (size_t k = 0; k < sizeof(which) / sizeof(which[0]); k++) {
		const struct expect *e = &expects[which[k]];
		struct log_producer clean[8], replayed[8];
		copy_golden(&t, "log-3.9");
		CU_ASSERT_EQUAL_FATAL(open_one(&t, e, true, 0, &log), 0);
		uint32_t n = log_producers(log, clean, 8);
		CU_ASSERT(n > 0 && n <= 8);
		CU_ASSERT_EQUAL(tw_close(&t, log, false), 0);
		copy_golden(&t, "log-3.9");
		CU_ASSERT_EQUAL_FATAL(open_one(&t, e, false, 0, &log), 0);
		CU_ASSERT_EQUAL_FATAL(log_producers(log, replayed, 8), n);
		for (uint32_t i = 0; i < n; i++) {
			const struct log_producer *a = &clean[i], *b = NULL;
			for (uint32_t j = 0; j < n; j++)
				if (replayed[j].producer_id == a->producer_id)
					b = &replayed[j];
			CU_ASSERT_PTR_NOT_NULL_FATAL(b);
			CU_ASSERT_EQUAL(a->epoch, b->epoch);
			CU_ASSERT_EQUAL(a->last_sequence, b->last_sequence);
			CU_ASSERT_EQUAL(a->last_offset, b->last_offset);
			CU_ASSERT_EQUAL(a->last_timestamp, b->last_timestamp);
			CU_ASSERT_EQUAL(a->coordinator_epoch, b->coordinator_epoch);
			CU_ASSERT_EQUAL(a->current_txn_first_offset, b->current_txn_first_offset);
		}
		CU_ASSERT_EQUAL(tw_close(&t, log, false), 0);
	}
	tw_fini(&t);
}

static void test_old_formats(void)
{
	struct tw t;
	struct log *log;
	char cmd[1200];

	tw_init(&t);
	for (int clean = 0; clean < 2; clean++)
		for (int m = 0; m < 2; m++) {
			struct expect e = {.topic = m ? "magic1" : "magic0"};
			copy_golden(&t, clean ? "log-3.9" : "log-3.9-unclean");
			CU_ASSERT_EQUAL(open_one(&t, &e, clean, 0, &log), LOG_ERR_OLD_FORMAT);
			snprintf(cmd, sizeof(cmd), "diff -rq '%s/magic%d-0' '%s/magic%d-0' >/dev/null",
				unit_golden(clean ? "log-3.9/data" : "log-3.9-unclean/data"), m, t.dir.path, m);
			CU_ASSERT_EQUAL(system(cmd), 0);
		}
	tw_fini(&t);
}

static void test_times(void)
{
	struct tw t;
	struct log *log;
	struct log_time_query q;
	static const size_t which[] = {0, 1, 2, 3, 4};

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	for (size_t k = 0; k < sizeof(which) / sizeof(which[0]); k++) {
		CU_ASSERT_EQUAL_FATAL(open_one(&t, &expects[which[k]], true, 0, &log), 0);
		for (int i = 0; i < 200; i += 13) {
			CU_ASSERT_EQUAL(tw_find_time(&t, log, 1700000000000 + i, &q), 0);
			CU_ASSERT_EQUAL(q.ret_offset, i);
			CU_ASSERT_EQUAL(q.ret_timestamp, 1700000000000 + i);
			CU_ASSERT_EQUAL(q.ret_epoch, 0);
		}
		CU_ASSERT_EQUAL(tw_find_time(&t, log, 0, &q), 0);
		CU_ASSERT_EQUAL(q.ret_offset, 0);
		CU_ASSERT_EQUAL(tw_find_time(&t, log, 1700000000200, &q), 0);
		CU_ASSERT_EQUAL(q.ret_offset, -1);
		CU_ASSERT_EQUAL(tw_find_time(&t, log, -3, &q), 0);
		CU_ASSERT_EQUAL(q.ret_offset, 199);
		CU_ASSERT_EQUAL(q.ret_timestamp, 1700000000199);
		CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	}
	tw_fini(&t);
}

static void test_directories(void)
{
	struct tw t;
	struct log_dirs *dirs;
	char *why = NULL;

	tw_init(&t);
	copy_golden(&t, "log-3.9");
	const char *paths[] = {t.dir.path};
	struct log_dirs_open o = {.env = t.env, .paths = paths, .count = 1, .broker_id = -1};
	CU_ASSERT_EQUAL_FATAL(log_dirs_open_now(&o, &dirs, &why), 0);
	CU_ASSERT_EQUAL(dirs->broker_id, 1);
	CU_ASSERT_STRING_EQUAL(dirs->cluster_id, "8WUbxzztRBS1v87HlMsv_A");
	CU_ASSERT_EQUAL(dirs->dirs[0]->found_count, 20);
	CU_ASSERT_EQUAL(dirs->dirs[0]->start_class, LOG_START_CLEAN); /* it holds Kafka's mark */
	for (uint32_t i = 0; i < dirs->dirs[0]->found_count; i++) {
		const struct log_found *f = &dirs->dirs[0]->found[i];
		CU_ASSERT_FALSE(uuid_is_zero(&f->topic_id));
		if (strcmp(f->topic, "trimmed") == 0) {
			CU_ASSERT_EQUAL(f->log_start_offset, 60);
			CU_ASSERT_EQUAL(f->high_watermark, 100);
			CU_ASSERT_EQUAL(f->recovery_point, 100);
		}
	}
	log_dirs_free(dirs);
	o.broker_id = 2;
	CU_ASSERT_EQUAL(log_dirs_open_now(&o, &dirs, &why), ERR_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "broker.id=1"));
	mem_free(why);
	tw_fini(&t);
}

UNIT_MAIN("log_golden", {"clean", test_clean}, {"clean_is_untouched", test_clean_is_untouched}, {"epochs", test_epochs}, {"aborted", test_aborted},
	  {"unclean", test_unclean}, {"unclean_without_checkpoint", test_unclean_without_checkpoint}, {"producers", test_producers},
	  {"old_formats", test_old_formats}, {"times", test_times}, {"directories", test_directories})
