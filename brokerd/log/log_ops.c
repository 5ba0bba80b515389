/* log_ops.c: what must not overlap with appends: truncation, taking back after a full disk, closing, deleting.
 *
 * An op waits until everything before it is over (writes, syncs, background jobs), later appends and ops wait in log->parked. The
 * work is a job that owns its inputs. A truncation changes the files and then loads the directory anew, with the code that a start
 * uses; the loop side swaps the result in. Readers: the end offset goes down before the job begins, files of cut bytes get a new
 * generation (protocol.md G4), scans under way start again.
 */
#include <stdio.h>
#include <string.h>

#include "brokerd/log/log_priv.h"
#include "common/base/str.h"

bool log_quiet(const struct log *log)
{
	return !log->write_busy && !log->create_busy && list_empty(&log->pieces) && list_empty(&log->writing) && list_empty(&log->unsynced)
		&& !log->sync_busy && !log->epochs_busy && log->sides == 0;
}

static bool as_closed(const struct log *log) { return log->c.as_closed && !log->epochs_dirty; }

bool log_cutting(const struct log *log)
{
	return log->op_started && log->op->kind != LOG_OP_CLOSE && log->op->kind != LOG_OP_DELETE;
}

/* ---- job side ---- */

/* Where the batch that holds offset begins in its segment; its base offset. At the end: the segment's end. */
static int find_cut(struct file *f, uint64_t bytes, int64_t base, int64_t offset, uint64_t from, uint64_t *ret_pos, int64_t *ret_offset)
{
	struct scan sc;
	struct batch b;
	uint64_t pos;
	int64_t end = base;
	int err;

	scan_init(&sc, f, from, bytes, base, false);
	*ret_pos = bytes;
	*ret_offset = offset;
	while ((err = scan_next(&sc, &b, &pos)) == 1) {
		if (batch_last_offset(&b) >= offset) {
			*ret_pos = pos;
			*ret_offset = b.base_offset < offset ? b.base_offset : offset;
			break;
		}
		end = batch_last_offset(&b) + 1;
	}
	scan_fini(&sc);
	if (err == 0 && end < *ret_offset)
		*ret_offset = end;
	return err < 0 ? err : 0;
}

static int unlink_snapshots_above(struct env *env, const char *path, int64_t offset)
{
	struct fs_names names;
	int64_t at;

	int err = fs_list(env, path, &names);
	for (size_t i = 0; !err && i < names.count; i++) {
		if (!segment_name_parse(names.names[i], ".snapshot", &at) || at <= offset)
			continue;
		char *p = path_join(path, names.names[i]);
		err = fs_unlink(env, p);
		mem_free(p);
	}
	if (!err)
		fs_names_free(&names);
	return err;
}

/* Cuts files to op->offset. Later segments go first, the last one first: whatever a crash leaves is a prefix. */
static int cut_files(struct log_op *op)
{
	struct env *env = op->open.env;
	size_t i = op->seg_count - 1;
	uint64_t pos, from = 0;
	int64_t end;
	int err = 0;

	while (i > 0 && op->segs[i]->base_offset > op->offset)
		i--;
	struct segment *s = op->segs[i];
	struct file *f = NULL;
	char *p = segment_path(op->path, s->base_offset, segment_suffix[SEG_LOG], "");
	err = fs_open(env, p, FS_WRITE, &f);
	mem_free(p);
	if (!err)
		err = find_cut(f, s->bytes, s->base_offset, op->offset, from, &pos, &end);
	for (size_t k = op->seg_count; !err && k-- > i + 1;)
		err = segment_unlink_now(env, op->path, op->segs[k]->base_offset, "");
	if (!err)
		err = unlink_snapshots_above(env, op->path, end);
	if (!err)
		err = segment_cut_now(env, op->path, s->base_offset, f, end, pos);
	if (!err)
		err = file_sync_now(f);
	file_unref(f);
	/* Leader epochs are cut when the directory is loaded; the file is written only if that changes it: a full disk must not stand
	 * in the way of giving back what was not acknowledged. */
	return err ? err : fs_sync_dir(env, op->path);
}

static int empty_files(struct log_op *op)
{
	struct env *env = op->open.env;
	int err = 0;

	for (size_t k = op->seg_count; !err && k-- > 0;)
		err = segment_unlink_now(env, op->path, op->segs[k]->base_offset, "");
	if (!err)
		err = unlink_snapshots_above(env, op->path, -1);
	if (!err)
		err = epochs_write_now(env, op->path, &op->epochs);
	return err ? err : fs_sync_dir(env, op->path);
}

/* Writes what a clean stop leaves: everything synced, producer state at the end. */
static int close_files(struct log_op *op)
{
	struct segment *s = op->segs[op->seg_count - 1];
	char *p = segment_path(op->path, op->offset, ".snapshot", "");
	int err = 0;

	for (size_t i = 0; !err && i < op->seg_count; i++) {
		struct segment *t = op->segs[i];
		if (!t->unsynced && t != s)
			continue;
		struct file *files[] = {t->log_file, t->index_file, t->time_file};
		for (size_t k = 0; !err && k < ARRAY_LEN(files); k++)
			if (files[k])
				err = file_sync_now(files[k]);
	}
	if (!err)
		err = fs_replace_file(op->open.env, p, op->snapshot->data, op->snapshot_len, 0644);
	if (!err)
		err = epochs_write_now(op->open.env, op->path, &op->epochs);
	if (!err)
		err = fs_sync_dir(op->open.env, op->path);
	mem_free(p);
	return err;
}

static int move_away(struct log_op *op)
{
	int err = fs_rename(op->open.env, op->path, op->new_path);

	return err ? err : fs_sync_dir(op->open.env, op->open.dir->path);
}

static void op_run(struct job *j)
{
	struct log_op *op = CONTAINER_OF(j, struct log_op, job);

	switch (op->kind) {
	case LOG_OP_TRUNCATE:
	case LOG_OP_CUT_BACK:
		op->err = cut_files(op);
		break;
	case LOG_OP_TRUNCATE_FULLY:
		op->err = empty_files(op);
		break;
	case LOG_OP_CLOSE:
		op->err = close_files(op);
		return;
	case LOG_OP_DELETE:
		op->err = move_away(op);
		return;
	}
	if (!op->err)
		op->err = log_load_now(&op->open, op->path, &op->core);
	op->have_core = !op->err;
}

/* ---- owner side ---- */

static void op_free(struct log_op *op)
{
	for (size_t i = 0; i < op->seg_count; i++)
		segment_unref(op->segs[i]);
	mem_free(op->segs);
	mem_free(op->path);
	mem_free(op->new_path);
	buf_unref(op->snapshot);
	epochs_fini(&op->epochs);
	if (op->have_core)
		log_core_fini(&op->core);
	mem_free(op);
}

static void unpark(struct log *log)
{
	while (!log->op && !list_empty(&log->parked)) {
		struct list *n = list_pop_front(&log->parked);
		struct log_append *a = LIST_ENTRY(n, struct log_append, link);
		if (a->priv[0] == &log_parked_op_tag)
			log->op = a->ctx;
		else
			log_submit(log, a);
		if (log->op)
			mem_free(a);
	}
}

/* The removal of a renamed directory goes on without the log. */
struct removal {
	struct job job;
	struct env *env;
	char *path;
	int err;
};

static void removal_run(struct job *j)
{
	struct removal *r = CONTAINER_OF(j, struct removal, job);
	r->err = remove_tree_now(r->env, r->path);
}

static void removal_done(struct job *j)
{
	struct removal *r = CONTAINER_OF(j, struct removal, job);

	/* What stays is removed at the next start: its name says what it is. */
	if (r->err)
		LOG_AT(r->env->log, LOG_WARN, "log", "delete.incomplete", "path=%s error=%s", LOGQ(r->path), LOGQ(err_str(r->err)));
	mem_free(r->path);
	mem_free(r);
}

void log_remove_directory(struct loop *loop, const char *path)
{
	struct removal *r = MEM_NEW(struct removal);

	r->env = loop->env;
	r->path = mem_strdup(path);
	r->job.run = removal_run;
	r->job.done = removal_done;
	job_submit(loop, &r->job, JOB_LONG);
}

static void finish_end(struct log *log, struct log_op *op, int err)
{
	void (*done)(void *ctx, int err) = op->done;
	void *ctx = op->ctx;

	if (op->kind == LOG_OP_DELETE && !err)
		log_remove_directory(log->loop, op->new_path);
	log->freeing = true;
	log_events_flush(log);
	op_free(op);
	log->op = NULL;
	log_free_now(log);
	if (done)
		done(ctx, err);
}

static void swap_core(struct log *log, struct log_op *op)
{
	int64_t start = log->c.start_offset;
	int64_t recovery_point = log->c.recovery_point < op->core.end_offset ? log->c.recovery_point : op->core.end_offset;

	for (size_t i = 0; i < log->c.seg_count; i++)
		log->c.segs[i]->gone = true;
	op->have_core = false;
	log_set_core(log, &op->core);
	/* The truncated bytes are synced by the job; what was not synced below is not. */
	log->c.recovery_point = op->kind == LOG_OP_TRUNCATE_FULLY ? log->c.end_offset : recovery_point;
	log->c.as_closed = false;
	log_active(log)->unsynced = true;
	log->cut_generation++;
	if (log->c.start_offset != start)
		log_event_due(log, EV_START);
}

static void op_done(struct job *j)
{
	struct log_op *op = CONTAINER_OF(j, struct log_op, job);
	struct log *log = op->log;
	int err = op->err;

	log->op_started = false;
	if (err)
		log_fail(log, err);
	if (op->kind == LOG_OP_CLOSE || op->kind == LOG_OP_DELETE) {
		finish_end(log, op, err);
		return;
	}
	if (!err && op->have_core)
		swap_core(log, op);
	log->op = NULL;
	if (log->epochs_dirty && !log->fail_err)
		log_write_epochs(log);
	/* What waited behind it goes in first: order with appends is that of the calls. */
	unpark(log);
	log_reads_unpark(log);
	if (op->done)
		op->done(op->ctx, err ? LOG_ERR_OFFLINE : 0);
	op_free(op);
	loop_defer(log->loop, &log->pump);
}

/* Nothing to do: offset at or behind the end; a log that is closed as it was opened. */
static bool needless(const struct log *log, const struct log_op *op)
{
	if (op->kind == LOG_OP_CLOSE)
		return !op->clean || as_closed(log);
	return op->kind == LOG_OP_TRUNCATE && op->offset >= log->c.end_offset && log->next_offset == log->c.end_offset;
}

static void prepare(struct log *log, struct log_op *op)
{
	op->log = log;
	log->c.as_closed = false;
	op->path = mem_strdup(log->path);
	op->open = (struct log_open){
		.env = log->env, .dir = log->dir, .topic = log->topic, .partition = log->partition, .topic_id = log->topic_id, .config = log->cfg,
		.clean = true, .create = true, .log_start_offset = log->c.start_offset, .high_watermark = log->high_watermark,
		.now_ms = env_wall_ms(log->env),
	};
	for (size_t i = 0; i < log->c.epochs.count; i++)
		epochs_assign(&op->epochs, log->c.epochs.entries[i].epoch, log->c.epochs.entries[i].start_offset);
	op->segs = mem_zalloc(log->c.seg_count * sizeof(*op->segs));
	for (size_t i = 0; i < log->c.seg_count; i++)
		if (log->c.segs[i]->ready)
			op->segs[op->seg_count++] = segment_ref(log->c.segs[i]);
	for (size_t i = 0; i < log->c.seg_count; i++) {
		struct segment *s = log->c.segs[i];
		bool cut = op->kind == LOG_OP_TRUNCATE_FULLY || (op->kind == LOG_OP_TRUNCATE && s->next_offset > op->offset);
		if (cut && s->log_file)
			file_generation_bump(s->log_file);
	}
	if (op->kind == LOG_OP_CUT_BACK)
		op->offset = log->c.end_offset;
	if (op->kind == LOG_OP_TRUNCATE || op->kind == LOG_OP_CUT_BACK) {
		if (op->offset < log->c.start_offset)
			op->offset = log->c.start_offset;
		log->c.end_offset = log->next_offset = op->offset;
		if (log->high_watermark > op->offset)
			log->high_watermark = op->offset;
		log->cut_generation++;
		log_ring_reset(log);
	}
	if (op->kind == LOG_OP_TRUNCATE_FULLY) {
		epochs_fini(&op->epochs);
		op->open.log_start_offset = op->offset;
		log->high_watermark = op->offset;
		log->c.end_offset = log->next_offset = log->c.start_offset = op->offset;
		log->cut_generation++;
		log_ring_reset(log);
	}
	if (op->kind == LOG_OP_CLOSE) {
		op->offset = log->c.end_offset;
		op->snapshot = producers_snapshot(log->c.producers, &op->snapshot_len);
	}
	if (op->kind == LOG_OP_DELETE) {
		uint64_t id[2] = {env_random_u64(log->env), env_random_u64(log->env)};
		struct str name;
		/* A name may be 255 bytes long: the topic gives way. */
		int room = 255 - 11 - 1 - 32 - 1 - 7;
		str_init(&name);
		str_printf(&name, "%s/%.*s-%d.%016llx%016llx-delete", log->dir->path, room, log->topic, log->partition,
			(unsigned long long)id[0], (unsigned long long)id[1]);
		op->new_path = str_steal(&name);
	}
}

static bool reads_in_the_way(const struct log *log, const struct log_op *op)
{
	return (op->kind == LOG_OP_CLOSE || op->kind == LOG_OP_DELETE) && (log->reads_busy > 0 || !list_empty(&log->reads_done));
}

/* Starts the waiting op when all before it is over. */
void log_op_try(struct log *log)
{
	struct log_op *op = log->op;

	if (!op || op->log || log->fail_err) {
		if (op && !op->log && log->fail_err && log_quiet(log) && !reads_in_the_way(log, op)) {
			/* The directory failed: nothing is to be written any more. */
			op->log = log;
			op->err = LOG_ERR_OFFLINE;
			op_done(&op->job);
		}
		return;
	}
	if (op->kind == LOG_OP_CLOSE && op->clean && !as_closed(log) && !op->sealed && log_quiet(log)) {
		op->sealed = true;
		segment_seal(log, log_active(log));
	}
	if (op->kind == LOG_OP_TRUNCATE && log_quiet(log))
		segment_flush_tail(log, log_active(log)); /* not quiet then, until it is written */
	if (!log_quiet(log) || reads_in_the_way(log, op))
		return;
	if (needless(log, op)) {
		op->log = log;
		op_done(&op->job);
		return;
	}
	prepare(log, op);
	log->op_started = true;
	op->job.run = op_run;
	op->job.done = op_done;
	job_submit(log->loop, &op->job, op->kind == LOG_OP_CLOSE ? JOB_LOAD : JOB_LONG);
}

void log_op_submit(struct log *log, struct log_op *op)
{
	loop_assert_owner(log->loop);
	if (log->op || !list_empty(&log->parked)) {
		struct log_append *a = MEM_NEW(struct log_append);
		a->priv[0] = &log_parked_op_tag;
		a->ctx = op;
		list_init(&a->link);
		list_push_back(&log->parked, &a->link);
	} else {
		log->op = op;
	}
	loop_defer(log->loop, &log->pump);
}

static struct log_op *op_new(enum log_op_kind kind, int64_t offset, void (*done)(void *ctx, int err), void *ctx)
{
	struct log_op *op = MEM_NEW(struct log_op);

	op->kind = kind;
	op->offset = offset;
	op->done = done;
	op->ctx = ctx;
	return op;
}

/* In front of everything that waits: what was submitted is void. */
void log_cut_back(struct log *log)
{
	struct log_op *waiting = log->op;

	if (waiting) {
		ASSERT(!log->op_started);
		if (waiting->kind == LOG_OP_CUT_BACK)
			return;
		struct log_append *a = MEM_NEW(struct log_append);
		a->priv[0] = &log_parked_op_tag;
		a->ctx = waiting;
		list_init(&a->link);
		list_push_front(&log->parked, &a->link);
	}
	log->op = op_new(LOG_OP_CUT_BACK, 0, NULL, NULL);
	loop_defer(log->loop, &log->pump);
}

void log_truncate(struct log *log, int64_t offset, void (*done)(void *ctx, int err), void *ctx)
{
	log_op_submit(log, op_new(LOG_OP_TRUNCATE, offset, done, ctx));
}

void log_truncate_fully(struct log *log, int64_t offset, void (*done)(void *ctx, int err), void *ctx)
{
	log_op_submit(log, op_new(LOG_OP_TRUNCATE_FULLY, offset, done, ctx));
}

void log_close(struct log *log, bool clean, void (*done)(void *ctx, int err), void *ctx)
{
	if (!log->loop) {
		log_free_now(log);
		if (done)
			done(ctx, 0);
		return;
	}
	struct log_op *op = op_new(LOG_OP_CLOSE, 0, done, ctx);
	op->clean = clean;
	log_op_submit(log, op);
}

void log_delete(struct log *log, void (*done)(void *ctx, int err), void *ctx)
{
	log_op_submit(log, op_new(LOG_OP_DELETE, 0, done, ctx));
}
