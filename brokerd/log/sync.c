/* sync.c: making the log durable: group commit, flush.messages, the recovery point.
 *
 * One round at a time. A round takes the end offset as its target, syncs each file written since the last round (of a segment that
 * ended its indexes as well), waits for background writes that belong to these bytes (.txnindex, leader epochs), then moves the
 * recovery point to the target and answers whoever waited for less. What is written meanwhile is for the next round: one
 * fdatasync covers all appends that were complete when it began.
 */
#include <string.h>

#include "brokerd/log/log_priv.h"

struct sync_waiter {
	struct list link;
	void (*done)(void *ctx, int err);
	void *ctx;
};

static void add_file(struct log *log, struct file *f)
{
	if (!f)
		return;
	MEM_GROW(log->sync_files, log->sync_cap, log->sync_count + 1);
	log->sync_files[log->sync_count++] = file_ref(f);
}

static void add_segment(struct log *log, size_t i)
{
	struct segment *s = log->c.segs[i];

	add_file(log, s->log_file);
	writeback_forget(s);
	s->unsynced = false;
	if (i + 1 == log->c.seg_count || !log->c.segs[i + 1]->ready)
		return;
	/* It takes no more appends: after this round its index files are complete and durable. */
	add_file(log, s->index_file);
	add_file(log, s->time_file);
	MEM_GROW(log->sync_segs, log->sync_seg_cap, log->sync_seg_count + 1);
	log->sync_segs[log->sync_seg_count++] = segment_ref(s);
}

static void sync_next(struct log *log);

static void sync_done(struct file_op *op)
{
	struct log *log = CONTAINER_OF(op, struct log, sync_op);

	if (op->err)
		log_fail(log, op->err);
	sync_next(log);
}

static void drop_files(struct log *log)
{
	for (size_t i = 0; i < log->sync_count; i++)
		file_unref(log->sync_files[i]);
	log->sync_count = log->sync_next = 0;
}

static void round_end(struct log *log);

static void sync_next(struct log *log)
{
	if (log->sync_next < log->sync_count && !log->fail_err) {
		log->sync_op.done = sync_done;
		file_sync(log->loop, log->sync_files[log->sync_next++], &log->sync_op);
		return;
	}
	drop_files(log);
	log->sync_waits = true;
	round_end(log);
}

/* Answers appends at the front whose sync is over; keeps their order. */
static void release_unsynced(struct log *log)
{
	struct list answers, *n;

	list_init(&answers);
	while (!list_empty(&log->unsynced)) {
		struct log_append *a = LIST_ENTRY(log->unsynced.next, struct log_append, link);
		if (a->priv[0] && a->last_offset >= log->c.recovery_point)
			break;
		list_remove(&a->link);
		list_push_back(&answers, &a->link);
	}
	while ((n = list_pop_front(&answers))) {
		struct log_append *a = LIST_ENTRY(n, struct log_append, link);
		buf_unref(a->buf);
		a->buf = NULL;
		a->done(a);
	}
}

static void close_indexes(struct log *log)
{
	for (size_t i = 0; i < log->sync_seg_count; i++) {
		struct segment *s = log->sync_segs[i];
		if (!s->unsynced) {
			file_unref(s->index_file);
			file_unref(s->time_file);
			s->index_file = s->time_file = NULL;
		}
		segment_unref(s);
	}
	log->sync_seg_count = 0;
}

static void answer_waiters(struct log *log, int err)
{
	struct list *n;

	while ((n = list_pop_front(&log->sync_running))) {
		struct sync_waiter *w = LIST_ENTRY(n, struct sync_waiter, link);
		w->done(w->ctx, err);
		mem_free(w);
	}
}

static void round_end(struct log *log)
{
	if (!log->fail_err && (log->epochs_busy || log->epochs_dirty || log->sides > 0))
		return; /* log_sync_try comes back */
	log->sync_waits = false;
	log->sync_busy = false;
	close_indexes(log);
	if (!log->fail_err && log->sync_target > log->c.recovery_point) {
		log->c.recovery_point = log->sync_target;
		log_event_due(log, EV_SYNCED);
	}
	answer_waiters(log, log->fail_err ? LOG_ERR_OFFLINE : 0);
	if (!log->fail_err)
		release_unsynced(log);
	loop_defer(log->loop, &log->pump);
}

void log_sync_wanted(struct log *log)
{
	log->sync_wanted = true;
	loop_defer(log->loop, &log->pump);
}

static void fail_waiters(struct log *log)
{
	struct list *n;

	while ((n = list_pop_front(&log->sync_waiters)))
		list_push_back(&log->sync_running, n);
	answer_waiters(log, LOG_ERR_OFFLINE);
}

void log_sync_try(struct log *log)
{
	struct list *n;

	if (log->sync_busy) {
		if (log->sync_waits)
			round_end(log);
		return;
	}
	if (log->fail_err) {
		fail_waiters(log);
		return;
	}
	if (!log->sync_wanted || log->op_started)
		return;
	log->sync_wanted = false;
	log->sync_busy = true;
	log->sync_target = log->c.end_offset;
	while ((n = list_pop_front(&log->sync_waiters)))
		list_push_back(&log->sync_running, n);
	for (size_t i = 0; i < log->c.seg_count; i++)
		if (log->c.segs[i]->unsynced)
			add_segment(log, i);
	sync_next(log);
}

void log_sync(struct log *log, void (*done)(void *ctx, int err), void *ctx)
{
	loop_assert_owner(log->loop);
	if (done) {
		struct sync_waiter *w = MEM_NEW(struct sync_waiter);
		w->done = done;
		w->ctx = ctx;
		list_init(&w->link);
		list_push_back(&log->sync_waiters, &w->link);
	}
	log->flushed_ms = env_wall_ms(log->env);
	log_sync_wanted(log);
}
