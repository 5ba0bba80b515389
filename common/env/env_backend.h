/* env_backend.h: what a backend implements. Included by the files of common/env, common/env/os and common/env/sim only. */
#pragma once

#include "common/env/conn.h"
#include "common/env/env.h"
#include "common/env/fs.h"
#include "common/env/loop.h"
#include "common/env/zk.h"

struct env_ops {
	/* process */
	void (*exit)(struct env *env, int status, const char *reason);
	void (*random)(struct env *env, void *out, size_t bytes);
	int64_t (*wall_ms)(struct env *env);
	int64_t (*now_us)(struct env *env);
	void (*boot_id)(struct env *env, char out[ENV_BOOT_ID_LEN + 1]);
	int64_t (*pid)(struct env *env);
	uint64_t (*resident_bytes)(struct env *env);
	/* loops */
	struct loop *(*loop_new)(struct env *env, int32_t idx, const char *name);
	int64_t (*loop_now_us)(struct loop *l);
	void (*loop_post)(struct loop *to, struct msg *m);
	void (*loop_defer)(struct loop *l, struct deferred *d);
	void (*deferred_cancel)(struct loop *l, struct deferred *d);
	void (*timer_set)(struct timer *t, int64_t delay_us);
	void (*timer_stop)(struct timer *t);
	void (*job_submit)(struct loop *l, struct job *j, enum job_class cls);
	/* connections */
	struct conn *(*conn_connect)(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx);
	void (*conn_send)(struct conn *c, struct chain *chain);
	void (*conn_resume)(struct conn *c);
	void (*conn_close)(struct conn *c);
	void (*conn_shutdown)(struct conn *c);
	void (*conn_move)(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx));
	int (*listener_open)(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln);
	void (*listener_pause)(struct listener *ln, bool paused);
	void (*listener_close)(struct listener *ln);
	int (*http_open)(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port);
	void (*http_close)(struct http *h);
	/* files */
	int (*fs_open)(struct env *env, const char *path, int flags, struct file **ret_f);
	int (*fs_rename)(struct env *env, const char *from, const char *to);
	int (*fs_unlink)(struct env *env, const char *path);
	int (*fs_mkdir)(struct env *env, const char *path, int mode);
	int (*fs_rmdir)(struct env *env, const char *path);
	int (*fs_sync_dir)(struct env *env, const char *path);
	int (*fs_stat)(struct env *env, const char *path, struct fs_stat *ret_st);
	int (*fs_set_mtime)(struct env *env, const char *path, int64_t mtime_ms);
	int (*fs_list)(struct env *env, const char *path, struct fs_names *ret_names);
	int (*fs_space)(struct env *env, const char *path, struct fs_space *ret_space);
	int (*fs_lock)(struct env *env, const char *path, struct file **ret_lock);
	void (*fs_unlock)(struct file *lock);
	/* ZooKeeper */
	int (*zk_open)(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk);
};

struct fs_ops {
	void (*close)(struct file *f); /* last reference gone: close and free */
	int (*read_now)(struct file *f, uint64_t pos, void *out, size_t len, size_t *ret_len);
	int (*write_now)(struct file *f, uint64_t pos, const void *bytes, size_t len);
	int (*sync_now)(struct file *f);
	int (*truncate_now)(struct file *f, uint64_t bytes);
	int (*size_now)(struct file *f, uint64_t *ret_bytes);
	void (*submit)(struct file *f, struct file_op *op); /* append, sync, read, truncate: fields of op say what */
	bool (*resident)(struct file *f, uint64_t pos, uint64_t len);
	void (*writeback)(struct file *f, uint64_t pos, uint64_t len);
};

struct zk_ops {
	void (*reopen)(struct zk *zk);
	void (*close)(struct zk *zk, void (*closed)(void *ctx), void *ctx);
	void (*end_session)(struct zk *zk, const struct zk_session_id *old, void (*done)(void *ctx, int err), void *ctx);
	bool (*connected)(const struct zk *zk);
	int64_t (*last_contact_us)(const struct zk *zk);
	void (*get)(struct zk *zk, const char *path, zk_data_fn *fn, void *ctx);
	void (*exists)(struct zk *zk, const char *path, zk_stat_fn *fn, void *ctx);
	void (*children)(struct zk *zk, const char *path, zk_names_fn *fn, void *ctx);
	void (*create)(struct zk *zk, const char *path, struct slice data, int flags, zk_create_fn *fn, void *ctx);
	void (*set)(struct zk *zk, const char *path, struct slice data, int32_t version, zk_stat_fn *fn, void *ctx);
	void (*del)(struct zk *zk, const char *path, int32_t version, zk_void_fn *fn, void *ctx);
	void (*multi)(struct zk *zk, const struct zk_op *ops, size_t count, zk_multi_fn *fn, void *ctx);
	void (*observe)(struct zk *zk, const char *path, enum zk_observe_kind kind, void (*look_again)(void *ctx, const char *path), void *ctx);
	void (*unobserve)(struct zk *zk, const char *path, enum zk_observe_kind kind);
};

/* Every backend's zk object begins with this. */
struct zk {
	const struct zk_ops *ops;
	struct loop *loop;
};

/* Every backend's http object begins with this. */
struct http {
	struct loop *loop;
};

/* Ends an op that file_append and its kin started: sets err, empties the chain of an append, runs done() (after which op may be
 * gone) and drops the op's reference of the file. Runs on op->loop, never inside submit. */
void file_op_finish(struct file_op *op, int err);

/* Set by the backend around each callback of a loop (thread-local in os, plain in sim). NULL on job threads. */
void loop_set_current(struct loop *l);
/* While on, loop_assert_owner accepts every loop (this thread only): for freeing a daemon whose loops will never run again. */
void loop_set_any_owner(bool on);
