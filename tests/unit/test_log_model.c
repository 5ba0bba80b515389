/* test_log_model.c: random calls with seeds: one after the other against a model (LOG_MODEL_SEEDS), and all at once with a disk that
 * fills up (LOG_STORM_SEEDS). What was written must satisfy the checker of the golden data.
 */
#include "tests/unit/log_spy.h"

/* ---- against a model ---- */

struct model {
	struct { int64_t base, last; uint32_t crc; } batches[4000];
	int count;
	int64_t start, end;
};

static void model_check(struct tw *t, struct log *log, const struct model *m, struct rng *rng)
{
	CU_ASSERT_EQUAL_FATAL(log_end_offset(log), m->end);
	CU_ASSERT_EQUAL_FATAL(log_start_offset(log), m->start);
	int64_t at = m->start;
	int k = 0;
	while (at < m->end) {
		struct log_read r = {.offset = at, .offset_max = m->end, .bytes_max = (uint32_t)rng_between(rng, 1, 3000), .whole_first = true};
		struct str s;
		struct batch b;
		str_init(&s);
		CU_ASSERT_EQUAL_FATAL(tw_read(t, log, &r, &s), 0);
		CU_ASSERT_FATAL(s.len > 0);
		while (m->batches[k].last < at)
			k++;
		for (size_t pos = 0; pos < s.len; pos += (size_t)b.total_bytes, k++) {
			CU_ASSERT_EQUAL_FATAL(batch_parse(slice_make(s.ptr + pos, s.len - pos), &b), 0);
			CU_ASSERT_FATAL(k < m->count);
			CU_ASSERT_EQUAL_FATAL(b.base_offset, m->batches[k].base);
			CU_ASSERT_EQUAL_FATAL(b.crc, m->batches[k].crc);
		}
		at = r.next_offset;
		str_fini(&s);
	}
}

static void model_run(uint64_t seed)
{
	struct tw t;
	struct rng rng;
	struct log *log;
	struct log_append a;
	struct model *m = MEM_NEW(struct model);
	int32_t sequence = 0;

	tw_init(&t);
	t.cfg.retention_ms = -1;
	rng_init(&rng, seed);
	t.cfg.segment_bytes = (int32_t)rng_between(&rng, 1800, 8000);
	t.cfg.index_interval_bytes = (int32_t)rng_between(&rng, 1, 1500);
	t.cfg.flush_messages = rng_chance(&rng, 0.2) ? 1 : INT64_MAX;
	log = open_new(&t, "m");
	for (int step = 0; step < 150; step++) {
		uint64_t what = rng_below(&rng, 100);
		if (what < 75) {
			int n = (int)rng_between(&rng, 1, 5);
			int err = tw_append(&t, log, TW_BATCH(.count = n, .value_bytes = (int)rng_between(&rng, 1, 300),
				.base_timestamp = 1700000000000 + (int64_t)rng_below(&rng, 5000), .producer_id = 4, .base_sequence = sequence), step / 20, &a);
			if (err)
				printf("seed %llu step %d: append gives %d\n", (unsigned long long)seed, step, err);
			CU_ASSERT_EQUAL_FATAL(err, 0);
			sequence += n;
			m->batches[m->count].base = a.base_offset;
			m->batches[m->count].last = a.last_offset;
			m->batches[m->count++].crc = a.batch.crc;
			CU_ASSERT_EQUAL_FATAL(a.base_offset, m->end);
			m->end = a.last_offset + 1;
		} else if (what < 82) {
			int64_t to = rng_between(&rng, m->start, m->end);
			CU_ASSERT_EQUAL_FATAL(tw_truncate(&t, log, to), 0);
			while (m->count > 0 && m->batches[m->count - 1].last >= to)
				m->end = m->batches[--m->count].base;
			if (m->end < m->start)
				m->end = m->start;
			/* the producer goes on where the log ends */
			struct log_producer p;
			sequence = log_producers(log, &p, 1) ? p.last_sequence + 1 : 0;
			if (m->count == 0)
				sequence = log_producers(log, &p, 1) ? p.last_sequence + 1 : sequence;
		} else if (what < 86) {
			log_set_high_watermark(log, m->end);
			m->start = rng_between(&rng, m->start, m->end);
			log_advance_start(log, m->start);
			log_maintain(log, 1700000000000);
			settle(&t, log);
		} else if (what < 90) {
			model_check(&t, log, m, &rng);
		} else if (what < 92) {
			CU_ASSERT_EQUAL_FATAL(tw_sync(&t, log), 0);
			CU_ASSERT_EQUAL(log_synced_offset(log), m->end);
		} else {
			bool clean = rng_chance(&rng, 0.5);
			int64_t rp = log_recovery_point(log);
			CU_ASSERT_EQUAL_FATAL(tw_close(&t, log, clean), 0);
			CU_ASSERT_EQUAL_FATAL(tw_open(&t, "m", false, clean, rng_chance(&rng, 0.5) ? rp : 0, m->start, m->end, &log), 0);
			model_check(&t, log, m, &rng);
		}
	}
	model_check(&t, log, m, &rng);
	CU_ASSERT_EQUAL(tw_close(&t, log, true), 0);
	char cmd[1200];
	snprintf(cmd, sizeof(cmd), "python3 '%s' '%s' > /dev/null 2>&1", unit_golden("check-log.py"), t.dir.path);
	if (system("python3 -c 1 >/dev/null 2>&1") == 0 && (seed % 4) == 0)
		CU_ASSERT_EQUAL(system(cmd), 0);
	mem_free(m);
	tw_fini(&t);
}

static void test_model(void)
{
	const char *text = getenv("LOG_MODEL_SEEDS");
	int n = text ? atoi(text) : 6;
	for (int i = 1; i <= n; i++)
		model_run((uint64_t)i);
}

/* ---- everything at once ---- */

struct storm {
	struct tw *t;
	struct log *log;
	int open;      /* calls under way */
	int appended, refused, reads, read_bad, truncated, synced, queries;
	int64_t serial_submitted, serial_done;
	bool idle;
};

static void storm_end(struct storm *s)
{
	s->idle = --s->open == 0;
}

struct storm_append {
	struct log_append a;
	struct storm *s;
	int64_t serial;
};

static void storm_appended(struct log_append *a)
{
	struct storm_append *x = a->ctx;
	CU_ASSERT(x->serial > x->s->serial_done); /* in order */
	x->s->serial_done = x->serial;
	if (a->err) {
		CU_ASSERT_EQUAL(a->err, ERR_NOSPACE);
		x->s->refused++;
	} else {
		x->s->appended++;
	}
	storm_end(x->s);
	mem_free(x);
}

struct storm_read {
	struct log_read r;
	struct storm *s;
	int64_t offset;
	uint32_t bytes_max;
};

static void storm_read_done(struct log_read *r)
{
	struct storm_read *x = r->ctx;
	struct storm *s = x->s;

	CU_ASSERT(r->err == 0 || r->err == LOG_ERR_OFFSET_OUT_OF_RANGE);
	if (r->file) {
		uint8_t *bytes = mem_alloc(r->len);
		size_t got, at = 0;
		int64_t next = -1;
		bool good = file_read_now(r->file, r->pos, bytes, r->len, &got) == 0 && got == r->len;
		while (good && at < got) {
			struct batch b;
			good = batch_parse(slice_make(bytes + at, got - at), &b) == 0 && at + (size_t)b.total_bytes <= got
				&& batch_crc_ok(slice_make(bytes + at, (size_t)b.total_bytes)) && (next < 0 || b.base_offset == next)
				&& (next >= 0 || (b.base_offset <= x->offset && batch_last_offset(&b) >= x->offset));
			next = batch_last_offset(&b) + 1;
			at += (size_t)b.total_bytes;
		}
		if (good)
			CU_ASSERT_EQUAL(next, r->next_offset);
		/* bytes may only be wrong if the file says so */
		if (!good)
			s->read_bad++;
		CU_ASSERT(good || file_generation(r->file) != r->generation);
		mem_free(bytes);
		file_unref(r->file);
		s->reads++;
	}
	storm_end(s);
	mem_free(x);
}

static void storm_truncated(void *ctx, int err)
{
	struct storm *s = ctx;
	CU_ASSERT_EQUAL(err, 0);
	s->truncated++;
	storm_end(s);
}

static void storm_synced(void *ctx, int err)
{
	struct storm *s = ctx;
	CU_ASSERT_EQUAL(err, 0);
	s->synced++;
	storm_end(s);
}

static void storm_found(struct log_time_query *q)
{
	struct storm *s = q->ctx;
	CU_ASSERT_EQUAL(q->err, 0);
	s->queries++;
	storm_end(s);
	mem_free(q);
}

static void storm_step(struct storm *s, struct rng *rng)
{
	uint64_t what = rng_below(rng, 100);

	s->open++;
	s->idle = false;
	if (what < 55) {
		struct storm_append *x = MEM_NEW(struct storm_append);
		size_t len;
		struct buf *b = tw_batch(TW_BATCH(.count = (int)rng_between(rng, 1, 4), .value_bytes = (int)rng_between(rng, 1, 200),
			.base_timestamp = 1700000000000 + (int64_t)rng_below(rng, 1000)), &len);
		x->s = s;
		x->serial = ++s->serial_submitted;
		x->a = (struct log_append){.buf = b, .records = slice_make(b->data, len), .leader_epoch = (int32_t)(s->serial_submitted / 50),
			.now_ms = 1700000000000, .done = storm_appended, .ctx = x};
		CU_ASSERT_EQUAL(batch_parse(x->a.records, &x->a.batch), 0);
		x->a.max_timestamp = x->a.batch.max_timestamp;
		log_append(s->log, &x->a);
	} else if (what < 85) {
		struct storm_read *x = MEM_NEW(struct storm_read);
		x->s = s;
		x->offset = rng_between(rng, log_start_offset(s->log), log_end_offset(s->log));
		x->r = (struct log_read){.offset = x->offset, .offset_max = log_end_offset(s->log), .bytes_max = (uint32_t)rng_between(rng, 1, 3000),
			.whole_first = true, .done = storm_read_done, .ctx = x};
		log_read(s->log, &x->r);
	} else if (what < 88) {
		log_truncate(s->log, rng_between(rng, log_start_offset(s->log), log_end_offset(s->log)), storm_truncated, s);
	} else if (what < 91) {
		log_sync(s->log, storm_synced, s);
	} else if (what < 94) {
		struct log_time_query *q = MEM_NEW(struct log_time_query);
		*q = (struct log_time_query){.timestamp = 1700000000000 + (int64_t)rng_below(rng, 1000), .offset_max = INT64_MAX, .done = storm_found, .ctx = s};
		log_find_time(s->log, q);
	} else {
		if (what < 97)
			log_set_high_watermark(s->log, log_end_offset(s->log));
		else if (what == 98)
			spy.fail_appends = 1;
		else
			log_maintain(s->log, 1700000000000);
		s->open--;
		s->idle = s->open == 0;
	}
}

static void storm_run(uint64_t seed)
{
	struct tw t;
	struct rng rng;
	struct storm s = {.t = &t};

	tw_init(&t);
	spy_on(&t);
	spy.fail_err = ERR_NOSPACE;
	rng_init(&rng, seed);
	t.cfg.segment_bytes = (int32_t)rng_between(&rng, 1200, 4000);
	t.cfg.index_interval_bytes = 200;
	t.cfg.retention_ms = -1;
	t.cfg.retention_bytes = 15000;
	t.cfg.file_delete_delay_ms = 0;
	t.cfg.flush_messages = seed % 3 == 0 ? 1 : seed % 3 == 1 ? 7 : INT64_MAX;
	s.log = open_new(&t, "s");
	/* More of them where the jobs are so slow that most appends are refused behind a write that failed. */
	for (int i = 0; i < 600 || (i < 100000 && (s.appended <= 50 || s.reads <= 20)); i++) {
		storm_step(&s, &rng);
		if (i >= 600 || rng_chance(&rng, 0.1))
			tw_turns(&t, (int)rng_between(&rng, 1, 8));
	}
	if (s.open)
		tw_wait(&t, &s.idle);
	spy.fail_appends = 0;
	CU_ASSERT_EQUAL(t.failed, 0);
	/* The last step may have been a refused append whose cut-back still runs. */
	for (int i = 0; i < 20000 && log_next_offset(s.log) != log_end_offset(s.log); i++)
		tw_turns(&t, 1);
	CU_ASSERT_EQUAL(log_next_offset(s.log), log_end_offset(s.log));
	int64_t end = log_end_offset(s.log), start = log_start_offset(s.log);
	CU_ASSERT_EQUAL(read_through(&t, s.log, start, 2000, NULL), end);
	spy_off(&t);
	CU_ASSERT_EQUAL(tw_close(&t, s.log, seed % 2), 0);
	CU_ASSERT_EQUAL_FATAL(tw_open(&t, "s", false, seed % 2, 0, start, -1, &s.log), 0);
	CU_ASSERT_EQUAL(log_end_offset(s.log), end);
	CU_ASSERT_EQUAL(read_through(&t, s.log, start, 2000, NULL), end);
	CU_ASSERT_EQUAL(tw_close(&t, s.log, true), 0);
	char cmd[1200];
	snprintf(cmd, sizeof(cmd), "python3 '%s' '%s' > '%s/check.out' 2>&1", unit_golden("check-log.py"), t.dir.path, unit_tmpdir());
	if (system("python3 -c 1 >/dev/null 2>&1") == 0) {
		int rc = system(cmd);
		if (rc)
			printf("seed %llu: check-log.py refuses %s\n", (unsigned long long)seed, t.dir.path);
		CU_ASSERT_EQUAL(rc, 0);
	}
	CU_ASSERT(s.appended > 50 && s.reads > 20);
	tw_fini(&t);
}

static void test_storm(void)
{
	const char *text = getenv("LOG_STORM_SEEDS");
	int n = text ? atoi(text) : 4;
	for (int i = 1; i <= n; i++)
		storm_run((uint64_t)i);
}

UNIT_MAIN("log_model", {"model", test_model}, {"storm", test_storm})
