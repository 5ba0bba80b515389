/* retention.c: what a log does by the clock: retention by size and time, removal of files, producer expiry, flush.ms, letting go of
 * files and indexes that nobody reads.
 *
 * A segment leaves the log at once (readers that hold it go on); its files are renamed to .deleted by a job and removed after
 * file.delete.delay.ms. The active segment may go too: a new one is made at the end first, and the old one goes the next time.
 * Rules: facts/ondisk.md 8. A segment whose end is above the high watermark stays.
 */
#include <string.h>

#include "brokerd/log/log_priv.h"

#define IDLE_MS 300000

/* ---- files of segments that left ---- */

static void rename_run(struct side *s)
{
	for (size_t i = 0; !s->err && i < s->offset_count; i++)
		for (int k = 0; !s->err && k < SEG_FILES + 1; k++) {
			const char *suffix = k < SEG_FILES ? segment_suffix[k] : ".snapshot";
			char *from = segment_path(s->path, s->offsets[i], suffix, "");
			char *to = segment_path(s->path, s->offsets[i], suffix, ".deleted");
			s->err = fs_rename(s->env, from, to);
			if (s->err == ERR_NOENT)
				s->err = 0;
			mem_free(from);
			mem_free(to);
		}
	if (!s->err)
		s->err = fs_sync_dir(s->env, s->path);
}

static void rename_finish(struct side *s)
{
	if (!s->err)
		list_push_back(&s->log->to_delete, &s->link);
}

static void unlink_run(struct side *s)
{
	for (size_t i = 0; !s->err && i < s->offset_count; i++) {
		s->err = segment_unlink_now(s->env, s->path, s->offsets[i], ".deleted");
		char *p = segment_path(s->path, s->offsets[i], ".snapshot", ".deleted");
		if (!s->err)
			s->err = fs_unlink(s->env, p);
		if (s->err == ERR_NOENT)
			s->err = 0;
		mem_free(p);
	}
}

static void unlink_due(struct log *log, int64_t now_ms)
{
	while (!list_empty(&log->to_delete)) {
		struct side *s = LIST_ENTRY(log->to_delete.next, struct side, link);
		if (s->due_ms > now_ms)
			break;
		list_remove(&s->link);
		s->run = unlink_run;
		s->finish = NULL;
		log_side_start(log, s, JOB_LONG);
	}
}

/* The oldest `count` segments leave; not the active one. */
void log_delete_segments(struct log *log, size_t count)
{
	struct log_core *c = &log->c;

	ASSERT(count < c->seg_count);
	if (count == 0)
		return;
	c->as_closed = false;
	struct side *side = MEM_NEW(struct side);
	side->offsets = mem_alloc(count * sizeof(*side->offsets));
	side->segs = mem_alloc(count * sizeof(*side->segs));
	for (size_t i = 0; i < count; i++) {
		struct segment *s = c->segs[i];
		s->gone = true;
		if (s == log->ring_seg)
			log_ring_reset(log);
		side->offsets[side->offset_count++] = s->base_offset;
		segment_unref(s);
	}
	memmove(c->segs, c->segs + count, (c->seg_count - count) * sizeof(*c->segs));
	c->seg_count -= count;
	size_t kept = 0;
	for (size_t i = 0; i < c->snapshot_count; i++)
		if (c->snapshots[i] >= c->segs[0]->base_offset)
			c->snapshots[kept++] = c->snapshots[i];
	c->snapshot_count = kept;
	if (c->start_offset < c->segs[0]->base_offset) {
		c->start_offset = c->segs[0]->base_offset;
		if (epochs_truncate_from_start(&c->epochs, c->start_offset))
			log_write_epochs(log);
		log_event_due(log, EV_START);
	}
	side->run = rename_run;
	side->finish = rename_finish;
	side->due_ms = env_wall_ms(log->env) + log->cfg.file_delete_delay_ms;
	log_side_start(log, side, JOB_IO);
}

/* ---- rules ---- */

static int64_t segment_age_ms(const struct segment *s, int64_t now_ms)
{
	return now_ms - (s->max_timestamp >= 0 ? s->max_timestamp : s->mtime_ms);
}

static bool deletable(const struct log *log, size_t i, uint64_t total, int64_t now_ms)
{
	const struct log_config *cfg = &log->cfg;
	const struct segment *s = log->c.segs[i];
	bool active = i + 1 == log->c.seg_count;
	int64_t end = active ? log->next_offset : log->c.segs[i + 1]->base_offset;

	if (end > log->high_watermark || (active && s->bytes_submitted == 0))
		return false;
	if (end <= log->c.start_offset && !active)
		return true;
	if (!cfg->cleanup_delete)
		return false;
	if (cfg->retention_ms >= 0 && segment_age_ms(s, now_ms) > cfg->retention_ms)
		return true;
	return cfg->retention_bytes >= 0 && total - s->bytes >= (uint64_t)cfg->retention_bytes;
}

static void retain(struct log *log, int64_t now_ms)
{
	uint64_t total = log_bytes(log);
	size_t n = 0;

	while (n < log->c.seg_count && deletable(log, n, total, now_ms)) {
		total -= log->c.segs[n]->bytes;
		n++;
	}
	if (n == log->c.seg_count) {
		/* All of it: a new segment at the end first. It goes when nothing is in flight, so that no write is left without its segment. */
		if (log_quiet(log)) {
			log_roll(log, log->next_offset, now_ms);
			log_create_active(log);
		}
		n = log->c.seg_count > 1 ? log->c.seg_count - 1 : 0;
		if (!log_active(log)->ready)
			n = n > 0 ? n - 1 : 0; /* the last full one when the new one is there */
	}
	/* Never one that still has writes coming. */
	while (n > 0 && (log->c.segs[n - 1]->bytes != log->c.segs[n - 1]->bytes_submitted || !log->c.segs[n]->ready))
		n--;
	log_delete_segments(log, n);
}

/* ---- timed work ---- */

static void let_go(struct log *log, int64_t now_ms)
{
	for (size_t i = 0; i + 1 < log->c.seg_count; i++) {
		struct segment *s = log->c.segs[i];
		if (!s->ready || !s->log_file || s->unsynced || s->index_file || s->loading || s->bytes != s->bytes_submitted || now_ms - s->used_ms < IDLE_MS)
			continue;
		if (s == log->ring_seg)
			log_ring_reset(log);
		file_unref(s->log_file);
		s->log_file = NULL;
		index_fini(&s->index);
		s->index_loaded = false;
	}
}

void log_maintain(struct log *log, int64_t now_ms)
{
	loop_assert_owner(log->loop);
	if (log->fail_err || log->op || log->freeing)
		return;
	producers_expire(log->c.producers, now_ms, log->cfg.producer_id_expiration_ms);
	if (log->epochs_dirty)
		log_write_epochs(log); /* the disk was full when it was tried */
	unlink_due(log, now_ms);
	retain(log, now_ms);
	let_go(log, loop_now_ms(log->loop));
	if (log->cfg.flush_ms < INT64_MAX && log->c.end_offset > log->c.recovery_point && now_ms - log->flushed_ms >= log->cfg.flush_ms) {
		log->flushed_ms = now_ms;
		log_sync_wanted(log);
	}
}

void log_advance_start(struct log *log, int64_t offset)
{
	loop_assert_owner(log->loop);
	if (offset > log->c.end_offset)
		offset = log->c.end_offset;
	if (offset <= log->c.start_offset)
		return;
	log->c.start_offset = offset;
	if (epochs_truncate_from_start(&log->c.epochs, offset))
		log_write_epochs(log);
	log_event_due(log, EV_START);
}
