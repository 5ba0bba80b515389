/* os_priv.h: the inside of the os backend. For the files of common/env/os only.
 *
 * Threads: the control loop (the thread of os_world_run), one thread per data loop, the pool (pool.c), one thread that drives
 * libzookeeper (zk_thread.c). Between them go only: intrusive lists with atomic heads (os_loop.inbox, os_loop.tasks), the pool's
 * queues under their mutex, and reference counts.
 *
 * A turn of a loop (loop.c): wait, messages and socket events (libev), finished pool tasks, messages, due timers, then rounds of finished
 * file operations and deferred calls, then flushing of connections, then freeing of what was closed in the turn.
 */
#pragma once

#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/env/env_backend.h"
#include "common/env/os/os.h"

/* A killed process keeps its ports and locks until its last thread is gone, which may be a little after the next one was started (its
 * leader is a zombie already): what is taken is tried again for this long before it counts as somebody else's. */
#define OS_TAKEN_WAIT_MS 1000
#define OS_TAKEN_STEP_MS 5

/* Work for a pool thread and its way back. Lives inside what it belongs to: struct job.backend, struct file_op.backend. */
struct os_task {
	struct os_task *next;
	void (*run)(struct os_task *t);  /* on a pool thread */
	void (*done)(struct os_task *t); /* on l */
	struct os_loop *l;
};
/* Names are resolved on a thread of their own: a resolver that hangs must not stop disk work. */
enum os_pool_queue { OS_POOL_IO, OS_POOL_LONG, OS_POOL_LOAD, OS_POOL_NAMES, OS_POOL_WRITEBACK, OS_POOL_QUEUES };

struct os_loop {
	struct loop loop; /* first */
	struct os_world *world;
	struct list link; /* world->loops */
	struct ev_loop *ev;
	ev_async wake;
	ev_check woken;
	ev_timer alarm;
	pthread_t thread;
	bool has_thread;
	atomic_bool stop;
	char name[32];

	/* any thread pushes; the loop takes all at once and turns them round (newest first) */
	_Atomic(struct msg *) inbox;
	_Atomic(struct os_task *) tasks;

	/* the rest belongs to the loop's thread */
	int64_t now_us;
	struct timer **heap; /* binary heap by (due_us, seq) */
	size_t heap_count, heap_cap;
	uint64_t timer_seq;
	struct deferred *defer_head, *defer_tail;
	size_t defer_count;
	struct file_op *done_head, *done_tail; /* file operations that ended inline */
	struct list conns;                     /* all of this loop */
	struct list flush;                     /* conns with something to write or to report */
	struct list dead;                      /* closed ones, freed at the end of the turn */
	struct list listeners;
};

struct os_world {
	struct env env; /* first */
	struct logger log;
	int log_fd;
	struct os_loop *control;
	struct list loops;
	pthread_mutex_t loops_lock;
	struct os_pool *pool;
	struct os_zk_thread *zk; /* made by the first zk_open */
	int signal_fd;
	sigset_t old_signals; /* as it was before us */
	ev_io signal_io;
	void (*on_signal)(void *ctx, int signo);
	void *signal_ctx;
	atomic_int exit_status;
	pthread_mutex_t ports_lock;
	struct os_port {
		struct os_port *next;
		char *host;
		uint16_t port;
		int refs;
	} *ports; /* what this process listens on, see listen.c */
};

static inline struct os_world *os_world_of(struct env *env) { return (struct os_world *)env; }
static inline struct os_loop *os_loop_of(struct loop *l) { return (struct os_loop *)l; }
extern const struct env_ops os_env_ops;

int64_t os_now_us(void);
_Noreturn void os_die(const char *what); /* status 74 with errno's text */

/* loop.c */
struct loop *os_loop_new(struct env *env, int32_t idx, const char *name);
struct os_loop *os_loop_make(struct os_world *w, int32_t idx, const char *name, bool with_thread);
void os_loop_run(struct os_loop *l); /* until l->stop */
void os_loop_wake(struct os_loop *l);
void os_loop_join(struct os_loop *l);
void os_loop_free(struct os_loop *l);
int64_t os_loop_now_us(struct loop *l);
void os_loop_post(struct loop *to, struct msg *m);
void os_loop_defer(struct loop *l, struct deferred *d);
void os_deferred_cancel(struct loop *l, struct deferred *d);
void os_timer_set(struct timer *t, int64_t delay_us);
void os_timer_stop(struct timer *t);
void os_loop_op_done(struct os_loop *l, struct file_op *op, int err); /* completion in this turn or the next one */
/* At the end of a world: frees what tasks that will not be done any more hold of the backend's own. Takes the whole list. */
void os_tasks_drop(struct os_task *list);
void os_loop_task_done(struct os_task *t);                           /* Thread: any; t->done(t) runs on t->l */

/* pool.c */
void os_pool_threads(struct os_pool *p, enum os_pool_queue which, int count); /* before the first task of that queue */
struct os_pool *os_pool_new(struct os_world *w, int io_threads, int long_threads);
void os_pool_submit(struct os_pool *p, enum os_pool_queue q, struct os_task *t);
void os_pool_free(struct os_pool *p); /* waits for what runs, drops what waits */
void os_job_submit(struct loop *l, struct job *j, enum job_class cls);

/* addr.c */
struct os_addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage any;
	};
	socklen_t len;
};
bool os_addr_numeric(const char *host, uint16_t port, struct os_addr *ret_a); /* "localhost" counts as 127.0.0.1 */
size_t os_addr_resolve(const char *host, uint16_t port, struct os_addr *ret_as, size_t max); /* blocks; 0 = not resolved */
void os_addr_text(const struct os_addr *a, char *out, size_t out_bytes, uint16_t *ret_port); /* IPv4 in IPv6 shown as IPv4 */

/* conn.c */
struct conn *os_conn_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx);
void os_conn_send(struct conn *c, struct chain *chain);
void os_conn_resume(struct conn *c);
void os_conn_close(struct conn *c);
void os_conn_shutdown(struct conn *c);
void os_conn_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx));
struct conn *os_conn_accepted(struct os_loop *l, int fd, const struct os_addr *peer);
bool os_conn_start(struct conn *c); /* after on_accept; false if it was closed there */
void os_conns_flush(struct os_loop *l);
void os_conns_reap(struct os_loop *l);
void os_conns_free(struct os_loop *l);

/* listen.c */
int os_listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln);
void os_listener_pause(struct listener *ln, bool paused);
void os_listener_close(struct listener *ln);
void os_listeners_free(struct os_loop *l);
int os_listen_socket(struct os_world *w, const char *host, uint16_t port, int backlog, bool shared, int *ret_fd, uint16_t *ret_port);

/* http.c */
int os_http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port);
void os_http_close(struct http *h);

/* file.c */
struct os_file {
	struct file f; /* first */
	int fd;
	atomic_bool no_nowait; /* file system without RWF_NOWAIT */
	/* what we appended last and the kernel holds in memory, most likely */
	_Atomic uint64_t hot_begin, hot_end;
	/* operations that wait for the pool; belongs to the loop that submits (the owner) */
	struct file_op *queue_head, *queue_tail;
	bool busy;        /* a sync or truncate of this file is in the pool */
	uint32_t barriers; /* appends and truncations that are not done: appends behind them queue up */
	struct os_writeback *writeback; /* one is with the pool */
};
extern const struct fs_ops os_fs_ops;
static inline struct os_file *os_file_of(struct file *f) { return (struct os_file *)f; }
int os_pread_full(int fd, uint64_t pos, void *out, size_t len, size_t *ret_len);
struct os_file *os_file_new(struct env *env, int fd, const char *path);

/* fs.c */
int os_fs_open(struct env *env, const char *path, int flags, struct file **ret_f);
int os_fs_rename(struct env *env, const char *from, const char *to);
int os_fs_unlink(struct env *env, const char *path);
int os_fs_mkdir(struct env *env, const char *path, int mode);
int os_fs_rmdir(struct env *env, const char *path);
int os_fs_sync_dir(struct env *env, const char *path);
int os_fs_stat(struct env *env, const char *path, struct fs_stat *ret_st);
int os_fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms);
int os_fs_list(struct env *env, const char *path, struct fs_names *ret_names);
int os_fs_space(struct env *env, const char *path, struct fs_space *ret_space);
int os_fs_lock(struct env *env, const char *path, struct file **ret_lock);
void os_fs_unlock(struct file *lock);

/* zk.c, zk_thread.c */
int os_zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk);
void os_zk_thread_free(struct os_zk_thread *t);
