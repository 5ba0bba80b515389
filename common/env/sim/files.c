/* files.c: the seam's file calls on the model of disk.c: what they cost, in which order they complete, when they fail.
 *
 * Blocking calls take effect before or after their time has passed, by chance: a process that is killed meanwhile may have done
 * the thing or not. Submitted operations of one file run one after the other; the one under way when the process is killed is done,
 * done in part (a write), or not done.
 */
#include <string.h>

#include "common/env/sim/sim_priv.h"

struct sim_file {
	struct file f; /* first */
	struct sim_process *p;
	struct sim_inode *ino;
	struct list link;
	struct file_op *head, *tail; /* head is under way */
	bool writable, lock;
};

struct op_impl {
	struct sim_event ev;
};
_Static_assert(sizeof(struct op_impl) <= sizeof(((struct file_op *)0)->backend), "storage of a file operation");

static struct sim_file *file_of(struct file *f)
{
	return (struct sim_file *)f;
}

/* ---- time ---- */

static int64_t cost_of(struct sim_host *h, struct sim_range r)
{
	struct sim_world *w = h->w;
	int64_t us = sim_draw(w, r);

	if (sim_chance(w, w->cfg.disk_spike_rate))
		us += sim_draw(w, w->cfg.disk_spike);
	if (h->disk.slow > 1)
		us = (int64_t)((double)us * h->disk.slow);
	int64_t stalled = h->disk.stall_until - sim_now(w);
	return stalled > 0 ? us + stalled : us;
}

struct block {
	struct env *env;
	int64_t us;
	bool early;
};

static struct block block_begin(struct env *env, struct sim_range r)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = {.env = env, .us = cost_of(p->host, r)};

	b.early = rng_u64(&p->w->rng) & 1;
	if (!b.early)
		sim_block(env, b.us);
	return b;
}

static int block_end(struct block *b, uint32_t what, uint64_t id, int err)
{
	struct sim_process *p = sim_process_of(b->env);

	sim_rec(p->w, REC_FS, p->id, (uint64_t)what << 56 | id, (uint64_t)(int64_t)err);
	if (b->early)
		sim_block(b->env, b->us);
	return err;
}

enum { WHAT_OPEN = 1, WHAT_RENAME, WHAT_UNLINK, WHAT_MKDIR, WHAT_RMDIR, WHAT_SYNC_DIR, WHAT_STAT, WHAT_LIST, WHAT_READ, WHAT_WRITE, WHAT_SYNC, WHAT_TRUNCATE };

static void text(struct sim_process *p, const char *what, const char *path, uint64_t a, uint64_t b, int err)
{
	SIM_TEXT(p->w, "disk  %s %s %s %llu %llu: %s", p->name, what, path, (unsigned long long)a, (unsigned long long)b, err_str(err));
}

/* ---- one effect each; no time ---- */

static int do_read(struct sim_file *f, uint64_t pos, void *out, size_t len, size_t *ret_len)
{
	if (sim_disk_faulty(f->p->host, SIM_DISK_READ, f->f.path))
		return ERR_IO;
	*ret_len = sim_inode_read(f->ino, pos, out, len);
	return 0;
}

static int do_write(struct sim_file *f, uint64_t pos, const void *bytes, size_t len)
{
	if (!f->writable)
		return ERR_INVAL;
	if (sim_disk_faulty(f->p->host, SIM_DISK_WRITE, f->f.path)) {
		/* What a failing disk takes is anybody's guess. */
		int err = sim_inode_write(f->ino, pos, bytes, (size_t)rng_below(&f->p->w->rng, len + 1));
		return err ? err : ERR_IO;
	}
	return sim_inode_write(f->ino, pos, bytes, len);
}

static int do_sync(struct sim_file *f)
{
	bool failed = sim_disk_faulty(f->p->host, SIM_DISK_SYNC, f->f.path);

	sim_inode_sync(f->ino, failed);
	return failed ? ERR_IO : 0;
}

static int do_truncate(struct sim_file *f, uint64_t bytes)
{
	if (!f->writable)
		return ERR_INVAL;
	if (sim_disk_faulty(f->p->host, SIM_DISK_WRITE, f->f.path))
		return ERR_IO;
	sim_inode_truncate(f->ino, bytes);
	return 0;
}

/* ---- blocking, on an open file ---- */

static int read_now(struct file *base, uint64_t pos, void *out, size_t len, size_t *ret_len)
{
	struct sim_file *f = file_of(base);
	struct sim_world *w = f->p->w;

	if (f->p->dead)
		return ERR_IO;
	struct block b = block_begin(base->env, sim_chance(w, w->cfg.disk_cold_rate) ? w->cfg.disk_cold_read : w->cfg.disk_read);
	int err = do_read(f, pos, out, len, ret_len);
	text(f->p, "read", base->path, pos, len, err);
	return block_end(&b, WHAT_READ, sim_inode_id(f->ino), err);
}

static int write_now(struct file *base, uint64_t pos, const void *bytes, size_t len)
{
	struct sim_file *f = file_of(base);

	if (f->p->dead)
		return ERR_IO;
	struct block b = block_begin(base->env, f->p->w->cfg.disk_append);
	int err = do_write(f, pos, bytes, len);
	text(f->p, "write", base->path, pos, len, err);
	return block_end(&b, WHAT_WRITE, sim_inode_id(f->ino), err);
}

static int sync_now(struct file *base)
{
	struct sim_file *f = file_of(base);

	if (f->p->dead)
		return ERR_IO;
	struct block b = block_begin(base->env, f->p->w->cfg.disk_sync);
	int err = do_sync(f);
	text(f->p, "sync", base->path, 0, 0, err);
	return block_end(&b, WHAT_SYNC, sim_inode_id(f->ino), err);
}

static int truncate_now(struct file *base, uint64_t bytes)
{
	struct sim_file *f = file_of(base);

	if (f->p->dead)
		return ERR_IO;
	struct block b = block_begin(base->env, f->p->w->cfg.disk_meta);
	int err = do_truncate(f, bytes);
	text(f->p, "truncate", base->path, bytes, 0, err);
	return block_end(&b, WHAT_TRUNCATE, sim_inode_id(f->ino), err);
}

static int size_now(struct file *base, uint64_t *ret_bytes)
{
	struct sim_file *f = file_of(base);

	if (f->p->dead)
		return ERR_IO;
	*ret_bytes = sim_inode_size(f->ino);
	return 0;
}

static void file_close(struct file *base)
{
	struct sim_file *f = file_of(base);

	ASSERT(!f->head || f->p->dead);
	list_remove(&f->link);
	if (f->ino) /* of a dead process the kernel has closed it */
		sim_inode_close(f->ino);
	mem_free(base->path);
	mem_free(f);
}

static bool resident(struct file *base, uint64_t pos, uint64_t len)
{
	struct sim_world *w = file_of(base)->p->w;

	return !sim_chance(w, w->cfg.disk_cold_rate);
}

static void writeback(struct file *f, uint64_t pos, uint64_t len)
{
}

size_t sim_file_peek(struct file *base, uint64_t pos, void *out, size_t len)
{
	struct sim_file *f = file_of(base);

	if (!f->ino || sim_disk_faulty(f->p->host, SIM_DISK_READ, base->path))
		return 0;
	return sim_inode_read(f->ino, pos, out, len);
}

/* ---- submit + completion ---- */

static struct op_impl *impl_of(struct file_op *op)
{
	return (struct op_impl *)(void *)op->backend;
}

static int append_pieces(struct sim_file *f, struct file_op *op, uint64_t bytes)
{
	uint64_t pos = op->pos;
	int err = 0;

	for (struct chain_item *it = op->chain.head; it && bytes > 0 && !err; it = it->next) {
		ASSERT(it->buf);
		uint64_t part = it->len < bytes ? it->len : bytes;
		err = do_write(f, pos, it->buf->data + it->pos, (size_t)part);
		pos += part;
		bytes -= part;
	}
	return err;
}

static int op_apply(struct sim_file *f, struct file_op *op)
{
	size_t got;
	int err;

	switch (op->kind) {
	case FILE_APPEND:
		return append_pieces(f, op, op->len);
	case FILE_SYNC:
		return do_sync(f);
	case FILE_READ:
		err = do_read(f, op->pos, op->buf->data + op->buf_pos, (size_t)op->len, &got);
		op->len = err ? 0 : got;
		return err;
	case FILE_TRUNCATE:
		return do_truncate(f, op->pos);
	}
	return ERR_INVAL;
}

static void op_begin(struct sim_file *f);

static void op_due(struct sim_event *e)
{
	struct file_op *op = (struct file_op *)(void *)((char *)e - offsetof(struct file_op, backend));
	static const char *const names[] = {"append", "sync", "read", "truncate"};
	struct sim_file *f = file_of(op->file);
	struct sim_world *w = f->p->w;

	uint64_t len = op->len;
	int err = op_apply(f, op);
	sim_rec(w, REC_FILE, f->p->id, (uint64_t)op->kind << 56 | sim_inode_id(f->ino), op->pos << 8 | (uint8_t)-err);
	text(f->p, names[op->kind], op->file->path, op->pos, len, err);
	f->head = op->next;
	if (!f->head)
		f->tail = NULL;
	else
		op_begin(f);
	op->next = NULL;
	file_op_finish(op, err);
}

static void op_begin(struct sim_file *f)
{
	struct sim_world *w = f->p->w;
	struct file_op *op = f->head;
	struct sim_range r = w->cfg.disk_append;

	if (op->kind == FILE_SYNC)
		r = w->cfg.disk_sync;
	else if (op->kind == FILE_READ)
		r = sim_chance(w, w->cfg.disk_cold_rate) ? w->cfg.disk_cold_read : w->cfg.disk_read;
	sim_event_init(&impl_of(op)->ev, sim_loop_of(op->loop), op_due);
	sim_schedule(w, &impl_of(op)->ev, sim_now(w) + cost_of(f->p->host, r));
}

static void submit(struct file *base, struct file_op *op)
{
	struct sim_file *f = file_of(base);

	if (f->p->dead) {
		chain_clear(&op->chain);
		return;
	}
	op->next = NULL;
	if (f->tail) {
		f->tail->next = op;
		f->tail = op;
		return;
	}
	f->head = f->tail = op;
	op_begin(f);
}

static const struct fs_ops file_ops = {
	.close = file_close, .read_now = read_now, .write_now = write_now, .sync_now = sync_now, .truncate_now = truncate_now,
	.size_now = size_now, .submit = submit, .resident = resident, .writeback = writeback,
};

/* ---- by name ---- */

static struct file *file_make(struct sim_process *p, const char *path, struct sim_inode *ino, bool writable)
{
	struct sim_file *f = MEM_NEW(struct sim_file);

	f->f.ops = &file_ops;
	f->f.env = &p->env;
	atomic_init(&f->f.refs, 1);
	f->f.path = mem_strdup(path);
	f->p = p;
	f->ino = ino;
	f->writable = writable;
	sim_inode_open(ino);
	list_init(&f->link);
	list_push_back(&p->files, &f->link);
	return &f->f;
}

static int open_inode(struct sim_process *p, const char *path, int flags, struct sim_inode **ret_ino)
{
	struct sim_inode *ino = sim_inode_find(p->host, path);

	if (sim_disk_faulty(p->host, SIM_DISK_META, path))
		return ERR_IO;
	if (!ino) {
		if (!(flags & FS_CREATE))
			return ERR_NOENT;
		int err = sim_inode_create(p->host, path, false, &ino);
		if (err)
			return err;
	} else if (flags & FS_EXCL) {
		return ERR_EXIST;
	}
	if (sim_inode_is_dir(ino))
		return ERR_INVAL;
	if (flags & FS_TRUNC)
		sim_inode_truncate(ino, 0);
	*ret_ino = ino;
	return 0;
}

int sim_fs_open(struct env *env, const char *path, int flags, struct file **ret_f)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_meta);
	struct sim_inode *ino = NULL;
	struct file *f = NULL;

	int err = open_inode(p, path, flags, &ino);
	if (!err)
		f = file_make(p, path, ino, flags & FS_WRITE);
	text(p, "open", path, (uint64_t)flags, 0, err);
	err = block_end(&b, WHAT_OPEN, ino ? sim_inode_id(ino) : 0, err);
	if (!err)
		*ret_f = f;
	return err;
}

int sim_fs_rename(struct env *env, const char *from, const char *to)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_meta);
	int err = sim_disk_faulty(p->host, SIM_DISK_META, from) ? ERR_IO : sim_ns_rename(p->host, from, to);

	SIM_TEXT(p->w, "disk  %s rename %s %s: %s", p->name, from, to, err_str(err));
	return block_end(&b, WHAT_RENAME, 0, err);
}

static int remove_name(struct env *env, const char *path, bool dir)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_meta);
	int err = sim_disk_faulty(p->host, SIM_DISK_META, path) ? ERR_IO : sim_ns_remove(p->host, path, dir);

	text(p, dir ? "rmdir" : "unlink", path, 0, 0, err);
	return block_end(&b, dir ? WHAT_RMDIR : WHAT_UNLINK, 0, err);
}

int sim_fs_unlink(struct env *env, const char *path)
{
	return remove_name(env, path, false);
}

int sim_fs_rmdir(struct env *env, const char *path)
{
	return remove_name(env, path, true);
}

int sim_fs_mkdir(struct env *env, const char *path, int mode)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_meta);
	struct sim_inode *ino;
	int err = sim_inode_find(p->host, path) ? ERR_EXIST : sim_disk_faulty(p->host, SIM_DISK_META, path) ? ERR_IO :
		sim_inode_create(p->host, path, true, &ino);

	text(p, "mkdir", path, 0, 0, err);
	return block_end(&b, WHAT_MKDIR, 0, err);
}

int sim_fs_sync_dir(struct env *env, const char *path)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_sync);
	struct sim_inode *ino = sim_inode_find(p->host, path);
	int err = !ino ? ERR_NOENT : !sim_inode_is_dir(ino) ? ERR_INVAL : sim_disk_faulty(p->host, SIM_DISK_SYNC, path) ? ERR_IO : 0;

	if (!err)
		sim_inode_sync_dir(ino);
	text(p, "sync_dir", path, 0, 0, err);
	return block_end(&b, WHAT_SYNC_DIR, ino ? sim_inode_id(ino) : 0, err);
}

int sim_fs_stat(struct env *env, const char *path, struct fs_stat *ret_st)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_read);
	struct sim_inode *ino = sim_inode_find(p->host, path);
	int err = sim_disk_faulty(p->host, SIM_DISK_META, path) ? ERR_IO : ino ? 0 : ERR_NOENT;

	if (!err)
		*ret_st = (struct fs_stat){.bytes = sim_inode_size(ino), .mtime_ms = *sim_inode_mtime_ms(ino), .is_dir = sim_inode_is_dir(ino)};
	return block_end(&b, WHAT_STAT, ino ? sim_inode_id(ino) : 0, err);
}

int sim_fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_read);
	struct sim_inode *ino = sim_inode_find(p->host, path);

	if (ino)
		*sim_inode_mtime_ms(ino) = mtime_ms;
	return block_end(&b, WHAT_STAT, ino ? sim_inode_id(ino) : 0, ino ? 0 : ERR_NOENT);
}

int sim_fs_list(struct env *env, const char *path, struct fs_names *ret_names)
{
	struct sim_process *p = sim_process_of(env);
	struct block b = block_begin(env, p->w->cfg.disk_meta);
	struct sim_inode *ino = sim_inode_find(p->host, path);
	int err = !ino ? ERR_NOENT : !sim_inode_is_dir(ino) ? ERR_INVAL : sim_disk_faulty(p->host, SIM_DISK_META, path) ? ERR_IO : 0;
	struct fs_names names = {0};

	if (!err && sim_inode_children(ino)) {
		names.count = sim_inode_children(ino);
		names.names = mem_alloc(names.count * sizeof(*names.names));
		for (size_t i = 0; i < names.count; i++)
			names.names[i] = mem_strdup(sim_inode_child(ino, i));
	}
	text(p, "list", path, names.count, 0, err);
	err = block_end(&b, WHAT_LIST, ino ? sim_inode_id(ino) : 0, err);
	if (!err)
		*ret_names = names;
	return err;
}

int sim_fs_space(struct env *env, const char *path, struct fs_space *ret_space)
{
	struct sim_disk *d = &sim_process_of(env)->host->disk;

	if (!sim_inode_find(sim_process_of(env)->host, path))
		return ERR_NOENT;
	*ret_space = (struct fs_space){.bytes_total = d->capacity, .bytes_free = d->used < d->capacity ? d->capacity - d->used : 0, .identity = d->identity};
	return 0;
}

int sim_fs_lock(struct env *env, const char *path, struct file **ret_lock)
{
	struct sim_process *p = sim_process_of(env);
	struct sim_inode *ino;
	int err = open_inode(p, path, FS_WRITE | FS_CREATE, &ino);

	if (err)
		return err;
	if (*sim_inode_lock(ino))
		return ERR_LOCKED;
	struct file *f = file_make(p, path, ino, true);
	*sim_inode_lock(ino) = f;
	file_of(f)->lock = true;
	*ret_lock = f;
	return 0;
}

void sim_fs_unlock(struct file *base)
{
	struct sim_file *f = file_of(base);

	ASSERT(f->lock && *sim_inode_lock(f->ino) == base);
	*sim_inode_lock(f->ino) = NULL;
	f->lock = false;
	file_unref(base);
}

/* ---- the end of a process ---- */

void sim_files_process_end(struct sim_process *p)
{
	struct rng *r = &p->w->rng;

	LIST_FOR (it, &p->files) {
		struct sim_file *f = LIST_ENTRY(it, struct sim_file, link);
		struct file_op *op = f->head;
		if (op && rng_below(r, 2) == 0) {
			if (op->kind == FILE_APPEND)
				(void)append_pieces(f, op, rng_below(r, 2) ? op->len : rng_below(r, op->len + 1));
			else if (op->kind == FILE_TRUNCATE)
				(void)do_truncate(f, op->pos);
		}
		for (; op; op = op->next)
			chain_clear(&op->chain);
		f->head = f->tail = NULL;
		if (f->lock)
			*sim_inode_lock(f->ino) = NULL;
		sim_inode_close(f->ino);
		f->ino = NULL;
	}
}

void sim_files_process_free(struct sim_process *p)
{
	struct list *n;

	while ((n = list_pop_front(&p->files))) {
		struct sim_file *f = LIST_ENTRY(n, struct sim_file, link);
		mem_free(f->f.path);
		mem_free(f);
	}
}
