/* fs.c: files and directories, onto the backend's vtable; and what can be said in terms of it (whole small files, ranges).
 *
 * file_append and its kin fill in the op and take a reference of the file, file_op_finish (for backends) gives it back after
 * done() ran.
 */
#include "common/env/env_backend.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

/* ---- open files ---- */

struct file *file_ref(struct file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void file_unref(struct file *f)
{
	if (f && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
		f->ops->close(f);
}

void chain_add_file(struct chain *c, struct file *f, uint64_t pos, uint64_t len)
{
	if (len == 0)
		return;
	struct chain_item *it = MEM_NEW(struct chain_item);
	it->file = file_ref(f);
	it->file_drop = file_unref;
	it->pos = pos;
	it->len = len;
	it->generation = file_generation(f);
	/* Moved in by way of a chain of one, so that only buf.c knows how chains are linked. */
	struct chain one = {.head = it, .tail = it, .bytes = len};
	chain_append(c, &one);
}

int file_read_now(struct file *f, uint64_t pos, void *out, size_t len, size_t *ret_len)
{
	return f->ops->read_now(f, pos, out, len, ret_len);
}

int file_write_now(struct file *f, uint64_t pos, const void *bytes, size_t len)
{
	return f->ops->write_now(f, pos, bytes, len);
}

int file_sync_now(struct file *f)
{
	return f->ops->sync_now(f);
}

int file_truncate_now(struct file *f, uint64_t bytes)
{
	return f->ops->truncate_now(f, bytes);
}

int file_size_now(struct file *f, uint64_t *ret_bytes)
{
	return f->ops->size_now(f, ret_bytes);
}

/* ---- blocking calls by name ---- */

int fs_open(struct env *env, const char *path, int flags, struct file **ret_f)
{
	return env->ops->fs_open(env, path, flags, ret_f);
}

int fs_rename(struct env *env, const char *from, const char *to)
{
	return env->ops->fs_rename(env, from, to);
}

int fs_unlink(struct env *env, const char *path)
{
	return env->ops->fs_unlink(env, path);
}

int fs_mkdir(struct env *env, const char *path, int mode)
{
	return env->ops->fs_mkdir(env, path, mode);
}

int fs_rmdir(struct env *env, const char *path)
{
	return env->ops->fs_rmdir(env, path);
}

int fs_sync_dir(struct env *env, const char *path)
{
	return env->ops->fs_sync_dir(env, path);
}

int fs_stat(struct env *env, const char *path, struct fs_stat *ret_st)
{
	return env->ops->fs_stat(env, path, ret_st);
}

int fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms)
{
	return env->ops->fs_set_mtime(env, path, mtime_ms);
}

int fs_list(struct env *env, const char *path, struct fs_names *ret_names)
{
	return env->ops->fs_list(env, path, ret_names);
}

void fs_names_free(struct fs_names *n)
{
	for (size_t i = 0; i < n->count; i++)
		mem_free(n->names[i]);
	mem_free(n->names);
	*n = (struct fs_names){0};
}

int fs_space(struct env *env, const char *path, struct fs_space *ret_space)
{
	return env->ops->fs_space(env, path, ret_space);
}

int fs_lock(struct env *env, const char *path, struct file **ret_lock)
{
	return env->ops->fs_lock(env, path, ret_lock);
}

void fs_unlock(struct file *lock)
{
	if (lock)
		lock->env->ops->fs_unlock(lock);
}

int fs_read_file(struct env *env, const char *path, size_t bytes_max, char **ret_bytes, size_t *ret_len)
{
	struct file *f;
	uint64_t bytes;
	size_t got;
	char *text = NULL;

	int err = fs_open(env, path, FS_READ, &f);
	if (err)
		return err;
	err = file_size_now(f, &bytes);
	if (err)
		goto out;
	/* Files of /proc have no size: what counts is what can be read. */
	if (bytes > bytes_max) {
		err = ERR_LIMIT;
		goto out;
	}
	size_t room = (bytes ? (size_t)bytes : bytes_max) + 1;
	text = mem_try_alloc(room + 1);
	if (!text) {
		err = ERR_LIMIT;
		goto out;
	}
	err = file_read_now(f, 0, text, room, &got);
	if (!err && got > bytes_max)
		err = ERR_LIMIT;
	if (err)
		goto out;
	text[got] = '\0';
	*ret_bytes = text;
	*ret_len = got;
	text = NULL;
out:
	mem_free(text);
	file_unref(f);
	return err;
}

/* The directory that holds path; caller frees. */
static char *dir_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int fs_replace_file(struct env *env, const char *path, const void *bytes, size_t len, int mode)
{
	size_t n = strlen(path);
	char *tmp = mem_alloc(n + 5);
	struct file *f = NULL;

	memcpy(tmp, path, n);
	memcpy(tmp + n, ".tmp", 5);
	int err = fs_open(env, tmp, FS_WRITE | FS_CREATE | FS_TRUNC | FS_MODE(mode), &f);
	if (!err)
		err = file_write_now(f, 0, bytes, len);
	if (!err)
		err = file_sync_now(f);
	file_unref(f);
	if (!err)
		err = fs_rename(env, tmp, path);
	mem_free(tmp);
	return err;
}

int fs_write_file(struct env *env, const char *path, const void *bytes, size_t len, int mode)
{
	char *dir = dir_of(path);
	int err = fs_replace_file(env, path, bytes, len, mode);

	if (!err)
		err = fs_sync_dir(env, dir);
	mem_free(dir);
	return err;
}

/* ---- submit + completion ---- */

static void op_start(struct loop *l, struct file *f, struct file_op *op, enum file_op_kind kind, uint64_t pos, uint64_t len)
{
	loop_assert_owner(l);
	op->next = NULL;
	op->kind = kind;
	op->file = file_ref(f);
	op->loop = l;
	op->err = 0;
	op->pos = pos;
	op->len = len;
	memset(op->backend, 0, sizeof(op->backend));
	chain_init(&op->chain);
}

void file_op_finish(struct file_op *op, int err)
{
	struct file *f = op->file;

	op->err = err;
	if (op->kind == FILE_APPEND)
		chain_clear(&op->chain);
	op->done(op); /* may free op */
	file_unref(f);
}

void file_append(struct loop *l, struct file *f, struct file_op *op, uint64_t pos, struct chain *chain)
{
	op_start(l, f, op, FILE_APPEND, pos, chain->bytes);
	chain_append(&op->chain, chain);
	f->ops->submit(f, op);
}

void file_sync(struct loop *l, struct file *f, struct file_op *op)
{
	op_start(l, f, op, FILE_SYNC, 0, 0);
	f->ops->submit(f, op);
}

void file_read(struct loop *l, struct file *f, struct file_op *op, uint64_t pos, uint64_t len, struct buf *into, size_t buf_pos)
{
	ASSERT(buf_pos <= into->cap && len <= into->cap - buf_pos);
	op_start(l, f, op, FILE_READ, pos, len);
	op->buf = into;
	op->buf_pos = buf_pos;
	f->ops->submit(f, op);
}

void file_truncate(struct loop *l, struct file *f, struct file_op *op, uint64_t bytes)
{
	op_start(l, f, op, FILE_TRUNCATE, bytes, 0);
	f->ops->submit(f, op);
}

bool file_resident(struct file *f, uint64_t pos, uint64_t len)
{
	return f->ops->resident(f, pos, len);
}

void file_writeback(struct file *f, uint64_t pos, uint64_t len)
{
	f->ops->writeback(f, pos, len);
}
