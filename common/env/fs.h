/* fs.h: files and directories.
 *
 * Two sets of calls:
 *   fs_*, and file_*_now: blocking. Only inside a job (loop.h), or in a daemon's start before its loops serve anybody.
 *   file_append, file_sync, file_read, ...: submit + completion, from a loop; in order per file (protocol.md G1).
 * What a crash keeps: bytes survive a process death once the write call returned. They survive a power cut only if the file was
 * synced afterwards; a new, renamed or removed name only if its directory was synced (fs_sync_dir).
 * A failed write or sync is final for its directory: callers take it offline, nobody retries (design.md 3, protocol.md G1).
 */
#pragma once

#include <sys/types.h>

#include "common/base/buf.h"
#include "common/env/env.h"
#include "common/env/loop.h"

struct fs_ops;

/* An open file. Refcounted; closed when the last reference goes. Any thread may hold and drop references and make ranges of it;
 * reading calls may run from any loop; appends and truncation come from one owner. */
struct file {
	const struct fs_ops *ops;
	struct env *env;
	atomic_uint refs;
	atomic_uint generation; /* bumped when bytes below the end change or go (truncation, compaction swap) */
	char *path;
};
struct file *file_ref(struct file *f);
void file_unref(struct file *f); /* NULL is fine */
static inline uint32_t file_generation(struct file *f) { return atomic_load(&f->generation); }
static inline void file_generation_bump(struct file *f) { atomic_fetch_add(&f->generation, 1); }
/* Adds the range to a chain for conn_send; takes its own reference. */
void chain_add_file(struct chain *c, struct file *f, uint64_t pos, uint64_t len);

/* ---- blocking ---- */

enum fs_open_flags {
	FS_READ = 0,
	FS_WRITE = 1,   /* read and write */
	FS_CREATE = 2,  /* with FS_WRITE: make if absent (0600) */
	FS_EXCL = 4,    /* with FS_CREATE: ERR_EXIST if present */
	FS_TRUNC = 8,
};
/* Or'ed to the flags: permission bits of a file that FS_CREATE makes, instead of 0600. */
#define FS_MODE(mode) ((mode) << 16)
MUST_CHECK int fs_open(struct env *env, const char *path, int flags, struct file **ret_f);
/* Reads exactly len bytes unless the file ends before; *ret_len says how many. */
MUST_CHECK int file_read_now(struct file *f, uint64_t pos, void *out, size_t len, size_t *ret_len);
MUST_CHECK int file_write_now(struct file *f, uint64_t pos, const void *bytes, size_t len); /* all or an error */
MUST_CHECK int file_sync_now(struct file *f);                     /* fdatasync; size included */
MUST_CHECK int file_truncate_now(struct file *f, uint64_t bytes);
MUST_CHECK int file_size_now(struct file *f, uint64_t *ret_bytes);
MUST_CHECK int fs_rename(struct env *env, const char *from, const char *to); /* atomic replace */
MUST_CHECK int fs_unlink(struct env *env, const char *path);
MUST_CHECK int fs_mkdir(struct env *env, const char *path, int mode); /* ERR_EXIST; parents must exist */
MUST_CHECK int fs_rmdir(struct env *env, const char *path);
MUST_CHECK int fs_sync_dir(struct env *env, const char *path);

struct fs_stat {
	uint64_t bytes;
	int64_t mtime_ms;
	bool is_dir;
};
MUST_CHECK int fs_stat(struct env *env, const char *path, struct fs_stat *ret_st);
MUST_CHECK int fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms);
/* Names in a directory, sorted bytewise, without . and .. ; free with fs_list_free. */
struct fs_names {
	char **names;
	size_t count;
};
MUST_CHECK int fs_list(struct env *env, const char *path, struct fs_names *ret_names);
void fs_names_free(struct fs_names *n);
/* Whole small file (at most bytes_max, else ERR_LIMIT) into memory, NUL terminated; free with mem_free. */
MUST_CHECK int fs_read_file(struct env *env, const char *path, size_t bytes_max, char **ret_bytes, size_t *ret_len);
/* PATH.tmp, write, fdatasync, rename, fsync of the directory: all or nothing, durable on return. */
MUST_CHECK int fs_write_file(struct env *env, const char *path, const void *bytes, size_t len, int mode);
/* The same without the last step: all or nothing, durable once the caller synced the directory. */
MUST_CHECK int fs_replace_file(struct env *env, const char *path, const void *bytes, size_t len, int mode);

struct fs_space {
	uint64_t bytes_total, bytes_free; /* free for us */
	uint64_t identity;                /* of the file system; changes when another one is mounted there */
};
MUST_CHECK int fs_space(struct env *env, const char *path, struct fs_space *ret_space);
/* Exclusive lock on a file (made if absent), held until the process ends or fs_unlock. ERR_LOCKED: another process has it. */
MUST_CHECK int fs_lock(struct env *env, const char *path, struct file **ret_lock);
void fs_unlock(struct file *lock);

/* ---- submit + completion ---- */

enum file_op_kind { FILE_APPEND, FILE_SYNC, FILE_READ, FILE_TRUNCATE };

/* Owned by the caller until done() runs. */
struct file_op {
	struct file_op *next; /* backend's */
	enum file_op_kind kind;
	struct file *file;    /* referenced by the op while it runs */
	struct loop *loop;
	void (*done)(struct file_op *op); /* look at err (and len for reads) */
	int err;
	uint64_t pos, len;
	struct chain chain; /* FILE_APPEND: the bytes; emptied at completion */
	struct buf *buf;    /* FILE_READ: filled from buf_pos on */
	size_t buf_pos;
	void *backend[6];
};

/* Writes the chain (bytes only) at pos, which is the owner's idea of the end. The op's chain takes over `chain`'s pieces. In order
 * with other ops on this file. ERR_NOSPACE leaves nothing beyond pos that counts: the owner cuts back to pos. */
void file_append(struct loop *l, struct file *f, struct file_op *op, uint64_t pos, struct chain *chain);
void file_sync(struct loop *l, struct file *f, struct file_op *op);
/* Reads up to len bytes at pos into op->buf (which must have room at buf_pos); op->len = bytes read. Runs inline from the page cache where possible. */
void file_read(struct loop *l, struct file *f, struct file_op *op, uint64_t pos, uint64_t len, struct buf *into, size_t buf_pos);
void file_truncate(struct loop *l, struct file *f, struct file_op *op, uint64_t bytes);
/* Whether the range can be sent without waiting for the disk (page cache); a hint. */
bool file_resident(struct file *f, uint64_t pos, uint64_t len);
/* Hint: start writeback of this range (sync_file_range in os, off the loop). Thread: the loop that appends. */
void file_writeback(struct file *f, uint64_t pos, uint64_t len);
