/* log_read.c: offset -> file range.
 *
 *   tail        the ring of recent batches: no file is touched
 *   elsewhere   a hint (where an earlier read ended), else the segment's sparse index, then batch headers are read from there;
 *               a segment that was not used lately is opened and its index loaded by a job first
 * A range ends at a batch boundary, in one segment. Readers hold their segment and file: deletion does not disturb them. After a
 * truncation (log->cut_generation) a scan starts again from the beginning; while one runs, reads wait.
 */
#include <string.h>

#include "brokerd/log/load.h"
#include "brokerd/log/log_priv.h"

#define SCAN_BYTES ((size_t)8 << 10)

/* One walk over headers. Pooled. */
struct walk {
	struct list link;
	struct file_op op;
	struct buf *buf;
	struct log *log;
	struct log_read *r;
	struct segment *seg;
	uint64_t pos, have;     /* buf holds [pos, pos + have) */
	uint64_t start;         /* of the range, once found */
	uint32_t cut_generation;
	bool found;
};

/* ---- the ring ---- */

void log_ring_reset(struct log *log)
{
	log->ring_head = log->ring_count = 0;
	log->ring_seg = NULL;
	for (size_t i = 0; i < HINTS; i++)
		log->hints[i].offset = -1;
}

void log_ring_push(struct log *log, const struct segment *seg, const struct batch *b, uint64_t pos)
{
	if (!log->ring)
		log->ring = mem_alloc(RING_ENTRIES * sizeof(*log->ring));
	if (log->ring_seg != seg)
		log->ring_head = log->ring_count = 0;
	log->ring_seg = seg;
	log->ring[log->ring_head] = (struct ring_entry){b->base_offset, batch_last_offset(b) + 1, pos, (uint32_t)b->total_bytes};
	log->ring_head = (log->ring_head + 1) % RING_ENTRIES;
	if (log->ring_count < RING_ENTRIES)
		log->ring_count++;
}

/* i-th oldest */
static const struct ring_entry *ring_at(const struct log *log, uint32_t i)
{
	return &log->ring[(log->ring_head + RING_ENTRIES - log->ring_count + i) % RING_ENTRIES];
}

/* First entry that ends above offset; ring_count if none. */
static uint32_t ring_find(const struct log *log, int64_t offset)
{
	uint32_t lo = 0, hi = log->ring_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (ring_at(log, mid)->next_offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool ring_covers(const struct log *log, int64_t offset)
{
	return log->ring_count && ring_at(log, 0)->base_offset <= offset;
}

/* ---- answering ---- */

static void deliver_later(struct log *log, struct log_read *r)
{
	list_push_back(&log->reads_done, &r->link);
	loop_defer(log->loop, &log->read_pump);
}

void log_reads_deliver(void *ctx)
{
	struct log *log = ctx;
	struct list now, *n;

	list_init(&now);
	while ((n = list_pop_front(&log->reads_done)))
		list_push_back(&now, n);
	log->reads_busy++; /* the log stays while answers run */
	while ((n = list_pop_front(&now))) {
		struct log_read *r = LIST_ENTRY(n, struct log_read, link);
		r->done(r);
	}
	log->reads_busy--;
	if (log->op)
		loop_defer(log->loop, &log->pump);
}

static void add_hint(struct log *log, int64_t offset, int64_t base_offset, uint64_t pos)
{
	for (size_t i = 0; i < HINTS; i++)
		if (log->hints[i].offset == offset)
			return;
	log->hints[log->hint_next] = (struct read_hint){offset, base_offset, pos};
	log->hint_next = (log->hint_next + 1) % HINTS;
}

/* Aborted transactions that overlap [from, to): walking segments until one says that nothing later matters. */
static void collect_aborted(struct log *log, struct log_read *r, int64_t from, int64_t to)
{
	size_t count = 0;
	struct log_aborted *out = NULL;

	for (int pass = 0; pass < 2; pass++) {
		bool over = false;
		count = 0;
		for (size_t i = log_find_segment(log, from); i < log->c.seg_count && !over; i++) {
			const struct segment *s = log->c.segs[i];
			for (size_t k = 0; k < s->aborted_count && !over; k++) {
				const struct producer_aborted *a = &s->aborted[k];
				if (a->last_offset >= from && a->first_offset < to) {
					if (out)
						out[count] = (struct log_aborted){a->producer_id, a->first_offset};
					count++;
				}
				over = a->last_stable_offset >= to;
			}
		}
		if (pass == 0 && count)
			out = arena_alloc(r->arena, count * sizeof(*out));
	}
	r->aborted = out;
	r->aborted_count = (int32_t)count;
}

static void read_found(struct log *log, struct log_read *r, const struct segment *s, uint64_t pos, uint64_t end, int64_t next_offset)
{
	r->err = 0;
	if (end > pos) {
		r->file = file_ref(s->log_file);
		r->generation = file_generation(s->log_file);
		r->pos = pos;
		r->len = end - pos;
		r->next_offset = next_offset;
		r->older_segment = end == s->bytes && s != log_active(log) && next_offset < r->offset_max;
		if (r->want_aborted)
			collect_aborted(log, r, r->offset, next_offset);
		if (s->gone)
			return;
		if (end < s->bytes)
			add_hint(log, next_offset, s->base_offset, end);
	}
}

/* All from the ring; false: not there. */
static bool read_from_ring(struct log *log, struct log_read *r)
{
	if (!ring_covers(log, r->offset))
		return false;
	uint32_t first = ring_find(log, r->offset), i = first;
	if (i == log->ring_count)
		return false;
	uint64_t start = ring_at(log, i)->pos, end = start;
	int64_t next = r->offset;
	for (; i < log->ring_count; i++) {
		const struct ring_entry *e = ring_at(log, i);
		bool fits = e->pos + e->bytes - start <= r->bytes_max || (i == first && r->whole_first);
		if (e->next_offset > r->offset_max || !fits)
			break;
		end = e->pos + e->bytes;
		next = e->next_offset;
	}
	read_found(log, r, log->ring_seg, start, end, next);
	return true;
}

/* ---- walking ---- */

static struct walk *walk_new(struct log *log, struct log_read *r)
{
	struct list *n = list_pop_front(&log->free_scans);
	struct walk *w = n ? LIST_ENTRY(n, struct walk, link) : NULL;

	if (!w) {
		w = MEM_NEW(struct walk);
		list_init(&w->link);
		w->buf = buf_new(SCAN_BYTES);
	}
	w->log = log;
	w->r = r;
	w->seg = NULL;
	w->have = 0;
	w->found = false;
	w->cut_generation = log->cut_generation;
	return w;
}

static void walk_free(struct log *log, struct walk *w)
{
	segment_unref(w->seg);
	w->seg = NULL;
	list_push_front(&log->free_scans, &w->link);
}

void log_scans_free(struct log *log)
{
	struct list *n;

	while ((n = list_pop_front(&log->free_scans))) {
		struct walk *w = LIST_ENTRY(n, struct walk, link);
		buf_unref(w->buf);
		mem_free(w);
	}
}

static void resolve(struct log *log, struct log_read *r);

static void walk_end(struct walk *w, int err)
{
	struct log *log = w->log;
	struct log_read *r = w->r;

	r->err = err;
	walk_free(log, w);
	log->reads_busy--;
	deliver_later(log, r);
}

static void walk_read(struct walk *w);

static void walk_restart(struct walk *w)
{
	struct log *log = w->log;
	struct log_read *r = w->r;

	walk_free(log, w);
	log->reads_busy--;
	resolve(log, r);
}

/* The bytes of the range are known up to `end`. */
static void walk_done(struct walk *w, uint64_t end, int64_t next_offset)
{
	read_found(w->log, w->r, w->seg, w->start, end, next_offset);
	walk_end(w, 0);
}

/* The segment is used up without a batch for the offset (compaction took it): the next one begins behind the gap. */
static void walk_next_segment(struct walk *w)
{
	struct log *log = w->log;
	size_t i = log_find_segment(log, w->seg->base_offset);

	if (w->seg->gone || i >= log->c.seg_count || log->c.segs[i] != w->seg) {
		walk_restart(w);
		return;
	}
	if (i + 1 >= log->c.seg_count || log->c.segs[i + 1]->base_offset >= w->r->offset_max) {
		walk_end(w, 0);
		return;
	}
	/* Same answer as a read at its base, which the caller's offset stands for. */
	w->r->priv[0] = log->c.segs[i + 1];
	walk_restart(w);
}

/* Works through what is in the buffer. True: more must be read at w->pos (moved on). */
static bool walk_step(struct walk *w)
{
	struct log_read *r = w->r;
	uint64_t at = w->pos, window = w->pos + w->have;
	struct batch b;

	for (;;) {
		if (at >= w->seg->bytes) {
			if (w->found)
				walk_done(w, at, w->seg->next_offset);
			else
				walk_next_segment(w);
			return false;
		}
		if (at >= window || (window - at < BATCH_HEADER_BYTES && window < w->seg->bytes)) {
			w->pos = at;
			w->have = 0;
			return true;
		}
		int err = batch_parse(slice_make(w->buf->data + (at - w->pos), (size_t)(window - at)), &b);
		if (err || (uint64_t)b.total_bytes > w->seg->bytes - at || b.last_offset_delta < 0) {
			walk_end(w, ERR_CORRUPT);
			return false;
		}
		uint64_t end = at + (uint64_t)b.total_bytes;
		int64_t next = batch_last_offset(&b) + 1;
		if (!w->found) {
			if (next <= r->offset) {
				at = end;
				continue;
			}
			w->found = true;
			w->start = at;
			if (next > r->offset_max || (!r->whole_first && (uint64_t)b.total_bytes > r->bytes_max)) {
				walk_end(w, 0);
				return false;
			}
			/* Batch boundaries that the index knows need not be walked to. */
			uint64_t rel = r->offset_max - w->seg->base_offset > UINT32_MAX ? UINT32_MAX : (uint64_t)(r->offset_max - w->seg->base_offset);
			uint64_t skip = index_floor(&w->seg->index, w->start + r->bytes_max, rel);
			at = skip > end ? skip : end;
			continue;
		}
		if (next > r->offset_max || end - w->start > r->bytes_max) {
			walk_done(w, at, b.base_offset);
			return false;
		}
		at = end;
	}
}

static void walk_ready(struct file_op *op)
{
	struct walk *w = CONTAINER_OF(op, struct walk, op);

	if (w->cut_generation != w->log->cut_generation) {
		walk_restart(w);
		return;
	}
	if (op->err || (op->len == 0 && w->pos < w->seg->bytes)) {
		walk_end(w, op->err ? op->err : ERR_CORRUPT);
		return;
	}
	w->have = op->len;
	if (w->pos + w->have > w->seg->bytes)
		w->have = w->seg->bytes - w->pos;
	if (walk_step(w))
		walk_read(w);
}

static void walk_read(struct walk *w)
{
	uint64_t len = w->seg->bytes - w->pos;

	if (len > SCAN_BYTES)
		len = SCAN_BYTES;
	w->op.done = walk_ready;
	file_read(w->log->loop, w->seg->log_file, &w->op, w->pos, len, w->buf, 0);
}

/* ---- loading old segments ---- */

struct segment_load {
	struct job job;
	struct log *log;
	struct segment *seg;
	struct segment *fresh; /* what the job fills */
	char *path;
	uint64_t bytes;
	int err;
};

static void segment_load_run(struct job *j)
{
	struct segment_load *sl = CONTAINER_OF(j, struct segment_load, job);
	struct env *env = j->from->env;
	char *p = segment_path(sl->path, sl->fresh->base_offset, segment_suffix[SEG_LOG], "");
	uint64_t pos;

	sl->err = fs_open(env, p, FS_READ, &sl->fresh->log_file);
	mem_free(p);
	/* Without an index reading takes longer; that is all. */
	if (!sl->err && segment_load_index_now(env, sl->path, sl->fresh, sl->bytes, &pos) != 0)
		index_fini(&sl->fresh->index);
}

static void segment_load_done(struct job *j)
{
	struct segment_load *sl = CONTAINER_OF(j, struct segment_load, job);
	struct segment *s = sl->seg;
	struct log *log = sl->log;
	struct list waiters, *n;

	s->loading = false;
	if (!sl->err && !s->log_file) {
		s->log_file = sl->fresh->log_file;
		sl->fresh->log_file = NULL;
	}
	if (!sl->err && !s->index_loaded) {
		s->index = sl->fresh->index;
		sl->fresh->index = (struct index){0};
		s->index_loaded = true;
	}
	list_init(&waiters);
	while ((n = list_pop_front(&s->waiters)))
		list_push_back(&waiters, n);
	/* The name may have gone to retention meanwhile: the answer is then another one. A file that should be there is a failure. */
	bool moved = s->gone || log_cutting(log);
	if (sl->err && !moved && sl->err != ERR_NOENT)
		log_fail(log, sl->err);
	while ((n = list_pop_front(&waiters))) {
		struct log_read *r = LIST_ENTRY(n, struct log_read, link);
		log->reads_busy--;
		if (sl->err && !moved) {
			r->err = ERR_IO;
			deliver_later(log, r);
		} else {
			resolve(log, r);
		}
	}
	segment_unref(sl->fresh);
	segment_unref(s);
	mem_free(sl->path);
	mem_free(sl);
	log->reads_busy--;
	loop_defer(log->loop, &log->pump);
}

static void wait_for_segment(struct log *log, struct segment *s, struct log_read *r)
{
	list_push_back(&s->waiters, &r->link);
	log->reads_busy++;
	if (s->loading)
		return;
	struct segment_load *sl = MEM_NEW(struct segment_load);
	s->loading = true;
	log->reads_busy++;
	sl->log = log;
	sl->seg = segment_ref(s);
	sl->fresh = segment_new(s->base_offset, 0);
	sl->path = mem_strdup(log->path);
	sl->bytes = s->bytes;
	sl->job.run = segment_load_run;
	sl->job.done = segment_load_done;
	job_submit(log->loop, &sl->job, JOB_IO);
}

/* ---- resolving ---- */

static uint64_t start_pos(const struct log *log, const struct segment *s, int64_t offset)
{
	for (size_t i = 0; i < HINTS; i++)
		if (log->hints[i].offset == offset && log->hints[i].base_offset == s->base_offset)
			return log->hints[i].pos;
	if (offset <= s->base_offset)
		return 0;
	return index_find(&s->index, (uint32_t)(offset - s->base_offset));
}

static void resolve(struct log *log, struct log_read *r)
{
	struct segment *jump = r->priv[0];

	r->priv[0] = NULL;
	if (log->fail_err) {
		r->err = LOG_ERR_OFFLINE;
		deliver_later(log, r);
		return;
	}
	if (log_cutting(log)) {
		list_push_back(&log->reads_parked, &r->link);
		return;
	}
	if (r->offset_max > log->c.end_offset)
		r->offset_max = log->c.end_offset;
	if (r->offset < log->c.start_offset || r->offset > log->c.end_offset) {
		r->err = LOG_ERR_OFFSET_OUT_OF_RANGE;
		deliver_later(log, r);
		return;
	}
	if (r->offset >= r->offset_max || (!jump && read_from_ring(log, r))) {
		deliver_later(log, r);
		return;
	}
	size_t i = log_find_segment(log, r->offset);
	ASSERT(i < log->c.seg_count);
	struct segment *s = log->c.segs[i];
	/* Past a gap at the end of a segment: the next one, if it is still in the log. */
	for (size_t k = i + 1; jump && k < log->c.seg_count; k++)
		if (log->c.segs[k] == jump)
			s = jump;
	if (!s->log_file || !s->index_loaded) {
		r->priv[0] = s == jump ? jump : NULL;
		wait_for_segment(log, s, r);
		return;
	}
	struct walk *w = walk_new(log, r);
	w->seg = segment_ref(s);
	w->pos = start_pos(log, s, r->offset);
	s->used_ms = loop_now_ms(log->loop);
	log->reads_busy++;
	if (w->pos >= s->bytes)
		walk_next_segment(w);
	else
		walk_read(w);
}

void log_read(struct log *log, struct log_read *r)
{
	loop_assert_owner(log->loop);
	r->err = 0;
	r->file = NULL;
	r->pos = r->len = 0;
	r->generation = 0;
	r->next_offset = r->offset;
	r->older_segment = false;
	r->aborted = NULL;
	r->aborted_count = 0;
	r->priv[0] = NULL;
	list_init(&r->link);
	if (atomic_load_explicit(&log->dir->offline, memory_order_relaxed)) {
		r->err = LOG_ERR_OFFLINE;
		deliver_later(log, r);
		return;
	}
	resolve(log, r);
}

void log_reads_unpark(struct log *log)
{
	struct list now, *n;

	list_init(&now);
	while ((n = list_pop_front(&log->reads_parked)))
		list_push_back(&now, n);
	while ((n = list_pop_front(&now)))
		resolve(log, LIST_ENTRY(n, struct log_read, link));
}

/* ---- cheap estimate ---- */

/* A position that is surely not below the one of offset's batch (upper), or surely not above it. */
static uint64_t estimate_pos(const struct log *log, const struct segment *s, int64_t offset, bool upper)
{
	if (offset <= s->base_offset)
		return 0;
	if (offset >= s->next_offset)
		return s->bytes;
	if (s == log->ring_seg && ring_covers(log, offset)) {
		uint32_t i = ring_find(log, offset);
		return i < log->ring_count ? ring_at(log, i)->pos : s->bytes;
	}
	uint32_t rel = (uint32_t)(offset - s->base_offset);
	if (!upper)
		return index_find(&s->index, rel);
	uint64_t pos = index_ceiling(&s->index, rel);
	return pos < s->bytes ? pos : s->bytes;
}

uint64_t log_available_bytes(const struct log *log, int64_t offset, int64_t offset_max, uint64_t cap)
{
	uint64_t sum = 0;

	if (offset_max > log->c.end_offset)
		offset_max = log->c.end_offset;
	if (offset >= offset_max || offset < log->c.start_offset)
		return 0;
	for (size_t i = log_find_segment(log, offset); i < log->c.seg_count && sum < cap; i++) {
		const struct segment *s = log->c.segs[i];
		if (s->base_offset >= offset_max)
			break;
		uint64_t from = estimate_pos(log, s, offset, true), to = estimate_pos(log, s, offset_max, false);
		if (to > from)
			sum += to - from;
	}
	return sum < cap ? sum : cap;
}
