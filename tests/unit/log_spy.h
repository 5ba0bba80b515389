/* log_spy.h: stands between a log and the os backend: faults of writes and syncs, syncs that wait, the order of directory syncs; and
 * helpers of the tests that look at a whole log. Included by one file per program (static state).
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "brokerd/log/log_priv.h"
#include "common/base/rng.h"
#include "common/env/env_backend.h"
#include "tests/unit/log_util.h"
#include "tests/unit/unit.h"

/* ---- between the log and the backend ---- */

static struct {
	const struct env_ops *real;
	const struct fs_ops *real_fs;
	struct env_ops ops;
	struct fs_ops fs;
	bool names_unsynced;   /* a name was made or renamed since the last sync of its directory */
	int unsynced_at_sync;  /* file syncs of .log files that were counted while names were not durable */
	int fail_appends;      /* the next appends to .log files fail */
	int fail_err;
	bool fail_sync;
	int log_appends, log_syncs, index_syncs;
	bool hold;             /* syncs wait */
	struct file_op *held;
	bool hold_append;      /* the next append waits */
	struct file_op *held_append;
	bool hold_read;        /* the next read waits */
	struct file_op *held_read;
	const char *watch;     /* a directory, whose syncs are counted */
	atomic_int watched;
	_Atomic bool hold_rename; /* whoever gives a file its name waits (a job's thread) */
} spy;

static bool ends_in(const struct file *f, const char *suffix)
{
	size_t n = strlen(f->path), m = strlen(suffix);
	return n > m && strcmp(f->path + n - m, suffix) == 0;
}

static bool is_log(const struct file *f) { return ends_in(f, ".log"); }

struct failing {
	struct deferred d;
	struct file_op *op;
	int err;
};

static void fail_now(void *ctx)
{
	struct failing *x = ctx;
	struct file_op *op = x->op;
	int err = x->err;
	mem_free(x);
	file_op_finish(op, err);
}

static void fail_later(struct file_op *op, int err)
{
	struct failing *x = MEM_NEW(struct failing);
	x->op = op;
	x->err = err;
	deferred_init(&x->d, fail_now, x);
	loop_defer(op->loop, &x->d);
}

static void spy_submit(struct file *f, struct file_op *op)
{
	if (op->kind == FILE_APPEND && is_log(f)) {
		spy.log_appends++;
		if (spy.hold_append) {
			spy.hold_append = false;
			spy.held_append = op;
			return;
		}
		if (spy.fail_appends > 0) {
			spy.fail_appends--;
			/* part of it arrives */
			size_t n = op->chain.bytes;
			uint8_t *bytes = mem_alloc(n);
			chain_flatten(&op->chain, bytes);
			CU_ASSERT_EQUAL(spy.real_fs->write_now(f, op->pos, bytes, n / 2), 0);
			mem_free(bytes);
			fail_later(op, spy.fail_err);
			return;
		}
	}
	if (op->kind == FILE_READ && spy.hold_read) {
		spy.hold_read = false;
		spy.held_read = op;
		return;
	}
	if (op->kind == FILE_SYNC && ends_in(f, ".index"))
		spy.index_syncs++;
	if (op->kind == FILE_SYNC && is_log(f)) {
		spy.log_syncs++;
		if (spy.fail_sync) {
			fail_later(op, ERR_IO);
			return;
		}
		if (spy.hold) {
			spy.held = op;
			return;
		}
	}
	spy.real_fs->submit(f, op);
}

static int spy_open(struct env *env, const char *path, int flags, struct file **ret_f)
{
	int err = spy.real->fs_open(env, path, flags, ret_f);
	if (!err) {
		if (flags & FS_CREATE)
			spy.names_unsynced = true;
		spy.real_fs = (*ret_f)->ops;
		spy.fs = *spy.real_fs;
		spy.fs.submit = spy_submit;
		(*ret_f)->ops = &spy.fs;
	}
	return err;
}

static int spy_rename(struct env *env, const char *from, const char *to)
{
	while (atomic_load(&spy.hold_rename))
		usleep(100);
	spy.names_unsynced = true;
	return spy.real->fs_rename(env, from, to);
}

static int spy_sync_dir(struct env *env, const char *path)
{
	spy.names_unsynced = false;
	if (spy.watch && strcmp(path, spy.watch) == 0)
		atomic_fetch_add(&spy.watched, 1);
	return spy.real->fs_sync_dir(env, path);
}

static void spy_on(struct tw *t)
{
	memset(&spy, 0, sizeof(spy));
	spy.real = t->env->ops;
	spy.ops = *t->env->ops;
	spy.ops.fs_open = spy_open;
	spy.ops.fs_rename = spy_rename;
	spy.ops.fs_sync_dir = spy_sync_dir;
	t->env->ops = &spy.ops;
}

static void spy_off(struct tw *t)
{
	t->env->ops = spy.real;
}

/* ---- helpers ---- */

/* Base offsets of all batches from `offset` on, read piecewise; checks that they are contiguous. Returns the end. */
static int64_t read_through(struct tw *t, struct log *log, int64_t offset, uint32_t bytes_max, int *ret_batches)
{
	int batches = 0;

	while (offset < log_end_offset(log)) {
		struct log_read r = {.offset = offset, .offset_max = log_end_offset(log), .bytes_max = bytes_max, .whole_first = true};
		struct str s;
		str_init(&s);
		CU_ASSERT_EQUAL_FATAL(tw_read(t, log, &r, &s), 0);
		CU_ASSERT_FATAL(s.len > 0);
		struct batch b;
		bool first = true;
		for (size_t at = 0; at < s.len; at += (size_t)b.total_bytes) {
			CU_ASSERT_EQUAL_FATAL(batch_parse(slice_make(s.ptr + at, s.len - at), &b), 0);
			CU_ASSERT_TRUE_FATAL(batch_crc_ok(slice_make(s.ptr + at, (size_t)b.total_bytes)));
			if (first)
				CU_ASSERT(b.base_offset <= offset && batch_last_offset(&b) >= offset);
			if (!first)
				CU_ASSERT_EQUAL(b.base_offset, offset);
			CU_ASSERT(first || at + (size_t)b.total_bytes <= bytes_max);
			first = false;
			offset = batch_last_offset(&b) + 1;
			batches++;
		}
		CU_ASSERT_EQUAL(offset, r.next_offset);
		str_fini(&s);
	}
	if (ret_batches)
		*ret_batches = batches;
	return offset;
}

/* Until nothing of the log is under way. */
static void settle(struct tw *t, struct log *log)
{
	do
		tw_turns(t, 2);
	while (!log_quiet(log) || log->op || log->events_due || log->sync_wanted);
}

static struct log *open_new(struct tw *t, const char *topic)
{
	struct log *log = NULL;
	int err = tw_open(t, topic, true, true, -1, -1, -1, &log);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	return log;
}
