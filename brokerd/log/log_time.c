/* log_time.c: timestamp -> offset (ListOffsets).
 *
 * The segment is chosen from what is known in memory (its largest timestamp); the search inside runs in a job of its own over the
 * time index, the offset index and the batches, so a search through old data delays nobody. If the segment was cut or deleted
 * meanwhile, the search starts again.
 */
#include <string.h>

#include "brokerd/log/load.h"
#include "brokerd/log/log_priv.h"
#include "brokerd/log/record.h"

#define DECOMPRESSED_MAX ((uint64_t)1 << 30)

struct time_search {
	struct job job;
	struct log *log;
	struct log_time_query *q;
	struct segment *seg;
	char *path;
	int64_t base_offset, timestamp, start_offset;
	uint64_t bytes;
	bool largest;            /* the record that holds `timestamp`, which is the segment's largest */
	uint32_t cut_generation;
	int err;
	int64_t ret_timestamp, ret_offset;
	int32_t ret_epoch;
};

/* ---- job side ---- */

/* Greatest time index entry below the timestamp; its offset. */
static int time_index_floor(struct env *env, const struct time_search *t, int64_t *ret_offset)
{
	char *p = segment_path(t->path, t->base_offset, segment_suffix[SEG_TIME], "");
	struct file *f = NULL;
	uint64_t bytes;

	*ret_offset = t->base_offset;
	int err = fs_open(env, p, FS_READ, &f);
	mem_free(p);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	err = file_size_now(f, &bytes);
	uint64_t lo = 0, hi = err ? 0 : bytes / 12;
	while (!err && lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		uint8_t e[12];
		size_t got = 0;
		err = file_read_now(f, mid * 12, e, sizeof(e), &got);
		if (err || got < sizeof(e))
			break;
		if ((int64_t)be64_get(e) < t->timestamp) {
			*ret_offset = t->base_offset + (int64_t)be32_get(e + 8);
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	file_unref(f);
	return err;
}

/* The first record in this batch that answers. True if there is one. */
static bool search_batch(struct time_search *t, struct slice raw, const struct batch *b)
{
	struct record_reader rr;
	struct record r;
	bool found = false;

	if (batch_is_control(b))
		return false;
	int err = record_reader_init(&rr, raw, b, DECOMPRESSED_MAX);
	for (int32_t i = 0; !err && !found && i < b->record_count; i++) {
		err = record_read(&rr, &r);
		if (err)
			break;
		int64_t offset = b->base_offset + r.offset_delta;
		found = (t->largest ? r.timestamp == t->timestamp : r.timestamp >= t->timestamp) && offset >= t->start_offset;
		if (found) {
			t->ret_offset = offset;
			t->ret_timestamp = r.timestamp;
			t->ret_epoch = b->leader_epoch;
		}
	}
	record_reader_fini(&rr);
	return found;
}

static void search_run(struct job *j)
{
	struct time_search *t = CONTAINER_OF(j, struct time_search, job);
	struct env *env = j->from->env;
	struct segment *s = segment_new(t->base_offset, 0);
	struct scan sc;
	struct batch b;
	uint64_t pos;
	int64_t from;

	t->err = time_index_floor(env, t, &from);
	if (from < t->start_offset)
		from = t->start_offset;
	if (!t->err && segment_load_index_now(env, t->path, s, t->bytes, &pos) == 0 && from > t->base_offset)
		pos = index_find(&s->index, (uint32_t)(from - t->base_offset));
	else
		pos = 0;
	char *p = segment_path(t->path, t->base_offset, segment_suffix[SEG_LOG], "");
	if (!t->err)
		t->err = fs_open(env, p, FS_READ, &s->log_file);
	mem_free(p);
	if (!t->err) {
		scan_init(&sc, s->log_file, pos, t->bytes, t->base_offset, false);
		int rc;
		while ((rc = scan_next(&sc, &b, &pos)) == 1) {
			if (b.max_timestamp < t->timestamp || batch_last_offset(&b) < t->start_offset)
				continue;
			struct slice raw;
			rc = scan_raw(&sc, &b, pos, &raw);
			if (rc || search_batch(t, raw, &b))
				break;
		}
		scan_fini(&sc);
		t->err = rc < 0 ? rc : 0;
	}
	segment_unref(s);
}

/* ---- owner side ---- */

static void search(struct log *log, struct log_time_query *q, size_t from);

static void finish(struct log *log, struct log_time_query *q, int err)
{
	log->reads_busy--;
	q->err = err;
	q->done(q);
	if (log->op)
		loop_defer(log->loop, &log->pump);
}

static void search_done(struct job *j)
{
	struct time_search *t = CONTAINER_OF(j, struct time_search, job);
	struct log *log = t->log;
	struct log_time_query *q = t->q;
	bool again = t->seg->gone || t->cut_generation != log->cut_generation || log_cutting(log);
	int err = t->err;

	if (!again && !err && t->ret_offset >= 0 && t->ret_offset < q->offset_max) {
		q->ret_timestamp = t->ret_timestamp;
		q->ret_offset = t->ret_offset;
		q->ret_epoch = t->ret_epoch;
	}
	size_t next = log_find_segment(log, t->base_offset) + 1;
	bool found = t->ret_offset >= 0 || t->largest;
	segment_unref(t->seg);
	mem_free(t->path);
	mem_free(t);
	if (again)
		search(log, q, 0);
	else if (err || found)
		finish(log, q, err == ERR_NOENT ? ERR_IO : err);
	else
		search(log, q, next); /* the largest timestamp was below the start offset, or of a control record */
}

/* Ends at the end of the turn: completions never run inside of the call. */
struct empty {
	struct deferred later;
	struct log *log;
	struct log_time_query *q;
};

static void empty_done(void *ctx)
{
	struct empty *e = ctx;
	struct log *log = e->log;
	struct log_time_query *q = e->q;

	mem_free(e);
	finish(log, q, log->fail_err ? LOG_ERR_OFFLINE : 0);
}

static void answer_none(struct log *log, struct log_time_query *q)
{
	struct empty *e = MEM_NEW(struct empty);

	e->log = log;
	e->q = q;
	deferred_init(&e->later, empty_done, e);
	loop_defer(log->loop, &e->later);
}

static void search(struct log *log, struct log_time_query *q, size_t from)
{
	struct segment *s = NULL;
	bool largest = q->timestamp == -3;

	for (size_t i = from; i < log->c.seg_count; i++) {
		struct segment *t = log->c.segs[i];
		if (t->bytes == 0 || t->max_timestamp < 0)
			continue;
		if (largest ? !s || t->max_timestamp > s->max_timestamp : t->max_timestamp >= q->timestamp)
			s = t;
		if (s && !largest)
			break;
	}
	if (!s || log->fail_err) {
		answer_none(log, q);
		return;
	}
	struct time_search *t = MEM_NEW(struct time_search);
	t->log = log;
	t->q = q;
	t->seg = segment_ref(s);
	t->path = mem_strdup(log->path);
	t->base_offset = s->base_offset;
	t->timestamp = largest ? s->max_timestamp : q->timestamp;
	t->largest = largest;
	t->start_offset = log->c.start_offset;
	t->bytes = s->bytes;
	t->cut_generation = log->cut_generation;
	t->ret_offset = -1;
	t->job.run = search_run;
	t->job.done = search_done;
	job_submit(log->loop, &t->job, JOB_LONG);
}

void log_find_time(struct log *log, struct log_time_query *q)
{
	loop_assert_owner(log->loop);
	q->err = 0;
	q->ret_timestamp = q->ret_offset = -1;
	q->ret_epoch = -1;
	log->reads_busy++;
	search(log, q, 0);
}
