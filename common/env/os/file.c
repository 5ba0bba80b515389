/* file.c: open files of the os backend: reading, writing, and the submit + completion calls (protocol.md G1).
 *
 * Appends run at once on the calling loop: they go to the page cache. Syncs and truncations run in the pool, one at a time per
 * file. Order per file: an append behind a truncation waits for it; an append does not wait for a sync (a sync covers what was
 * appended before it, and more does not hurt); syncs queued behind each other are done by one call. Completions are never told
 * inside submit but in the same turn of the loop, or when the pool is done.
 *
 * Reads run at once if the page cache has all of it (RWF_NOWAIT), else in the pool. They stand outside of the order: a reader
 * that raced with a truncation finds out by the generation.
 *
 * Thread: queue_*, busy, barriers and writeback belong to the owner loop; the hot range is written by whoever appends and read by all.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define IOV_COUNT 256
#define HOT_BYTES_MAX (16u << 20) /* what we trust the kernel to keep of what was just appended */

_Static_assert(sizeof(struct os_task) <= sizeof(((struct file_op *)0)->backend), "a task fits into a file_op");

struct os_file *os_file_new(struct env *env, int fd, const char *path)
{
	struct os_file *f = MEM_NEW(struct os_file);

	f->f.ops = &os_fs_ops;
	f->f.env = env;
	atomic_init(&f->f.refs, 1);
	f->f.path = mem_strdup(path);
	f->fd = fd;
	return f;
}

static void close_file(struct file *file)
{
	struct os_file *f = os_file_of(file);

	/* An error of close means nothing: what had to be durable was synced. */
	close(f->fd);
	mem_free(f->f.path);
	mem_free(f);
}

/* ---- plain calls ---- */

int os_pread_full(int fd, uint64_t pos, void *out, size_t len, size_t *ret_len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = pread(fd, (uint8_t *)out + got, len - got, (off_t)(pos + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_from_errno(errno);
		if (n == 0)
			break;
		got += (size_t)n;
	}
	*ret_len = got;
	return 0;
}

static int read_now(struct file *f, uint64_t pos, void *out, size_t len, size_t *ret_len)
{
	return os_pread_full(os_file_of(f)->fd, pos, out, len, ret_len);
}

static int write_now(struct file *f, uint64_t pos, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;

	while (len > 0) {
		ssize_t n = pwrite(os_file_of(f)->fd, p, len, (off_t)pos);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_from_errno(errno) : ERR_IO;
		p += n;
		len -= (size_t)n;
		pos += (uint64_t)n;
	}
	return 0;
}

static int sync_now(struct file *f)
{
	return fdatasync(os_file_of(f)->fd) < 0 ? err_from_errno(errno) : 0;
}

/* The hot range never reaches beyond the end. */
static void hot_cut(struct os_file *f, uint64_t bytes)
{
	if (atomic_load_explicit(&f->hot_end, memory_order_relaxed) > bytes)
		atomic_store_explicit(&f->hot_end, bytes, memory_order_relaxed);
}

static int truncate_now(struct file *f, uint64_t bytes)
{
	int rc;

	do
		rc = ftruncate(os_file_of(f)->fd, (off_t)bytes);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return err_from_errno(errno);
	hot_cut(os_file_of(f), bytes);
	return 0;
}

static int size_now(struct file *f, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(os_file_of(f)->fd, &st) < 0)
		return err_from_errno(errno);
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/* ---- appending ---- */

static void hot_extend(struct os_file *f, uint64_t pos, uint64_t len)
{
	uint64_t begin = atomic_load_explicit(&f->hot_begin, memory_order_relaxed);
	uint64_t end = pos + len;

	if (atomic_load_explicit(&f->hot_end, memory_order_relaxed) != pos)
		begin = pos;
	if (end - begin > HOT_BYTES_MAX)
		begin = end - HOT_BYTES_MAX;
	atomic_store_explicit(&f->hot_begin, begin, memory_order_relaxed);
	atomic_store_explicit(&f->hot_end, end, memory_order_relaxed);
}

static int append_run(struct os_file *f, struct file_op *op)
{
	struct iovec iov[IOV_COUNT];
	struct chain_item *it = op->chain.head;
	uint64_t pos = op->pos;
	size_t skip = 0; /* bytes of `it` that are written already */

	while (it) {
		int count = 0;
		size_t bytes = 0;
		for (struct chain_item *at = it; at && count < IOV_COUNT; at = at->next, count++) {
			ASSERT(at->buf);
			size_t from = at == it ? skip : 0;
			iov[count] = (struct iovec){at->buf->data + at->pos + from, (size_t)at->len - from};
			bytes += iov[count].iov_len;
		}
		ssize_t n = pwritev(f->fd, iov, count, (off_t)pos);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_from_errno(errno);
		if (n == 0 && bytes > 0)
			return ERR_IO;
		pos += (uint64_t)n;
		/* A short write goes on; the next one tells why it was short. */
		for (size_t left = (size_t)n; it && (left > 0 || it->len == skip);) {
			size_t rest = (size_t)it->len - skip;
			if (left < rest) {
				skip += left;
				break;
			}
			left -= rest;
			it = it->next;
			skip = 0;
		}
	}
	hot_extend(f, op->pos, op->len);
	return 0;
}

/* ---- order per file ---- */

static void pump(struct os_file *f);

static void queue_add(struct os_file *f, struct file_op *op)
{
	op->next = NULL;
	if (f->queue_tail)
		f->queue_tail->next = op;
	else
		f->queue_head = op;
	f->queue_tail = op;
}

static struct file_op *queue_take(struct os_file *f)
{
	struct file_op *op = f->queue_head;

	f->queue_head = op->next;
	if (!f->queue_head)
		f->queue_tail = NULL;
	op->next = NULL;
	return op;
}

static void pool_run(struct os_task *t)
{
	struct file_op *op = CONTAINER_OF((void **)t, struct file_op, backend);

	op->err = op->kind == FILE_SYNC ? sync_now(op->file) : truncate_now(op->file, op->pos);
}

static void pool_done(struct os_task *t)
{
	struct file_op *op = CONTAINER_OF((void **)t, struct file_op, backend);
	struct os_file *f = os_file_of(op->file);
	struct file *held = file_ref(op->file);

	f->busy = false;
	if (op->kind == FILE_TRUNCATE)
		f->barriers--;
	pump(f);
	/* One call did it for all syncs that were queued together (linked by next). */
	while (op) {
		struct file_op *next = op->next;
		int err = op->err;
		if (next)
			next->err = err;
		op->next = NULL;
		file_op_finish(op, err);
		op = next;
	}
	file_unref(held);
}

static void pool_start(struct os_file *f, struct file_op *op)
{
	struct os_task *t = (struct os_task *)op->backend;

	f->busy = true;
	*t = (struct os_task){.run = pool_run, .done = pool_done, .l = os_loop_of(op->loop)};
	os_pool_submit(os_world_of(f->f.env)->pool, OS_POOL_IO, t);
}

/* Starts what may start. */
static void pump(struct os_file *f)
{
	while (f->queue_head && !f->busy) {
		struct file_op *op = queue_take(f);
		if (op->kind == FILE_APPEND) {
			f->barriers--;
			os_loop_op_done(os_loop_of(op->loop), op, append_run(f, op));
			continue;
		}
		struct file_op *last = op;
		while (op->kind == FILE_SYNC && f->queue_head && f->queue_head->kind == FILE_SYNC) {
			last->next = queue_take(f);
			last = last->next;
		}
		pool_start(f, op);
	}
}

/* ---- reading ---- */

static void read_run(struct os_task *t)
{
	struct file_op *op = CONTAINER_OF((void **)t, struct file_op, backend);
	size_t got = 0;

	op->err = os_pread_full(os_file_of(op->file)->fd, op->pos, op->buf->data + op->buf_pos, (size_t)op->len, &got);
	op->len = op->err ? 0 : got;
}

static void read_done(struct os_task *t)
{
	struct file_op *op = CONTAINER_OF((void **)t, struct file_op, backend);

	file_op_finish(op, op->err);
}

/* Whether all of it came from the page cache (up to the end of the file). */
static bool read_inline(struct os_file *f, struct file_op *op)
{
	uint64_t bytes;
	struct iovec iov = {op->buf->data + op->buf_pos, (size_t)op->len};

	if (op->len == 0)
		return true;
	if (f->no_nowait)
		return false;
	ssize_t n = preadv2(f->fd, &iov, 1, (off_t)op->pos, RWF_NOWAIT);
	if (n < 0) {
		f->no_nowait = errno == EOPNOTSUPP;
		return false;
	}
	if ((uint64_t)n < op->len && (size_now(&f->f, &bytes) != 0 || op->pos + (uint64_t)n < bytes))
		return false;
	op->len = (uint64_t)n;
	return true;
}

static void read_submit(struct os_file *f, struct file_op *op)
{
	struct os_loop *l = os_loop_of(op->loop);

	if (read_inline(f, op)) {
		os_loop_op_done(l, op, 0);
		return;
	}
	struct os_task *t = (struct os_task *)op->backend;
	*t = (struct os_task){.run = read_run, .done = read_done, .l = l};
	os_pool_submit(l->world->pool, OS_POOL_IO, t);
}

static void submit(struct file *file, struct file_op *op)
{
	struct os_file *f = os_file_of(file);

	switch (op->kind) {
	case FILE_READ:
		read_submit(f, op);
		return;
	case FILE_APPEND:
		if (f->barriers == 0) {
			os_loop_op_done(os_loop_of(op->loop), op, append_run(f, op));
			return;
		}
		f->barriers++;
		break;
	case FILE_TRUNCATE:
		f->barriers++;
		break;
	case FILE_SYNC:
		break;
	}
	queue_add(f, op);
	pump(f);
}

/* ---- hints ---- */

static bool byte_resident(struct os_file *f, uint64_t pos)
{
	uint8_t b;
	struct iovec iov = {&b, 1};
	ssize_t n = preadv2(f->fd, &iov, 1, (off_t)pos, RWF_NOWAIT);

	/* Other errors, and the end of the file: the one who reads will see. Without RWF_NOWAIT nobody can say. */
	return n >= 0 || errno != EAGAIN;
}

static bool resident(struct file *file, uint64_t pos, uint64_t len)
{
	struct os_file *f = os_file_of(file);

	if (len == 0)
		return true;
	uint64_t hot_begin = atomic_load_explicit(&f->hot_begin, memory_order_relaxed);
	if (pos >= hot_begin && pos + len <= atomic_load_explicit(&f->hot_end, memory_order_relaxed))
		return true;
	/* The kernel reads ahead and evicts in runs: both ends speak for what is between them. */
	return byte_resident(f, pos) && byte_resident(f, pos + len - 1);
}

/* Asking for writeback allocates blocks and fills the queue of the disk, and waits when that is full: not a thing for a loop. */
struct os_writeback {
	struct os_task task;
	struct file *file;
	uint64_t pos, end;           /* what is asked for now */
	uint64_t next_pos, next_end; /* what came meanwhile; empty if equal */
};

static void writeback_run(struct os_task *t)
{
	struct os_writeback *w = CONTAINER_OF(t, struct os_writeback, task);
	int ignored = sync_file_range(os_file_of(w->file)->fd, (off64_t)w->pos, (off64_t)(w->end - w->pos), SYNC_FILE_RANGE_WRITE);

	(void)ignored; /* a hint: errors come out of the sync */
}

static void writeback_done(struct os_task *t)
{
	struct os_writeback *w = CONTAINER_OF(t, struct os_writeback, task);

	if (w->next_pos == w->next_end) {
		os_file_of(w->file)->writeback = NULL;
		file_unref(w->file);
		mem_free(w);
		return;
	}
	w->pos = w->next_pos;
	w->end = w->next_end;
	w->next_pos = w->next_end = 0;
	os_pool_submit(w->task.l->world->pool, OS_POOL_WRITEBACK, &w->task);
}

void os_tasks_drop(struct os_task *list)
{
	while (list) {
		struct os_task *next = list->next;
		if (list->run == writeback_run) { /* the others belong to whoever submitted them */
			struct os_writeback *w = CONTAINER_OF(list, struct os_writeback, task);
			os_file_of(w->file)->writeback = NULL;
			file_unref(w->file);
			mem_free(w);
		}
		list = next;
	}
}

static void writeback(struct file *file, uint64_t pos, uint64_t len)
{
	struct os_file *f = os_file_of(file);
	struct os_writeback *w = f->writeback;

	if (len == 0)
		return;
	if (w) {
		bool none = w->next_pos == w->next_end;
		w->next_pos = none || pos < w->next_pos ? pos : w->next_pos;
		w->next_end = none || pos + len > w->next_end ? pos + len : w->next_end;
		return;
	}
	struct os_loop *l = os_loop_of(loop_current());
	w = f->writeback = MEM_NEW(struct os_writeback);
	w->task = (struct os_task){.run = writeback_run, .done = writeback_done, .l = l};
	w->file = file_ref(file);
	w->pos = pos;
	w->end = pos + len;
	os_pool_submit(l->world->pool, OS_POOL_WRITEBACK, &w->task);
}

const struct fs_ops os_fs_ops = {
	.close = close_file,
	.read_now = read_now,
	.write_now = write_now,
	.sync_now = sync_now,
	.truncate_now = truncate_now,
	.size_now = size_now,
	.submit = submit,
	.resident = resident,
	.writeback = writeback,
};
