/* sim_priv.h: shared by the files of common/env/sim.
 *
 * The scheduler: everything that will happen is a struct sim_event, in one heap ordered by (time, random key). An event with a
 * loop runs as (part of) a turn of that loop; while the loop is busy or its process stopped, it waits in the loop's backlog, from
 * which a later turn picks at random. Each source (a timer, a pair of loops, a direction of a connection, a file, ...) has one
 * event only and keeps its own queue, so any order of the backlog is legal and order within a source is kept.
 *
 * Ownership: events are embedded in the objects they concern. Objects of a process hang in lists of struct sim_process; when it
 * ends they are detached from the world, and freed after reap().
 */
#pragma once

#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/mem.h"
#include "common/env/env_backend.h"
#include "common/env/sim/sim.h"

enum { EV_IDLE, EV_HEAP, EV_BACKLOG };

struct sim_event {
	int64_t t;
	struct sim_loop *loop; /* NULL: of the world itself */
	void (*fn)(struct sim_event *e);
	uint32_t pos; /* in heap or backlog */
	uint32_t where;
};

struct sim_slot {
	int64_t t;
	uint64_t key;
	struct sim_event *e;
};

/* Messages from one loop to another (or from outside of any loop). */
struct sim_inq {
	struct sim_event ev;
	struct sim_loop *from;
	struct msg *head, *tail;
	int64_t ready_us; /* of the head */
};

struct sim_loop {
	struct loop l; /* first */
	struct sim_world *w;
	struct sim_process *p;
	struct sim_loop *next; /* of the process */
	uint32_t id;
	bool in_turn;
	int64_t turn_us;    /* begin of the running (or last) turn */
	int64_t busy_until;
	struct sim_event wake;
	struct sim_event **backlog;
	size_t backlog_n, backlog_cap;
	struct deferred *defer_head, **defer_tail;
	struct sim_inq **inqs; /* by idx of the sender + 2; 0 = from outside */
	size_t inqs_n;
	char name[32];
};

struct sim_link {
	int64_t base_us, extra_us;
	bool cut;
};

#define SIM_HOSTS_MAX 64

struct sim_inode;
struct sim_disk {
	struct sim_inode *root;
	uint64_t capacity, used, identity;
	double slow;
	int64_t stall_until;
	struct sim_disk_fault *faults;
	uint64_t next_ino;
};

struct sim_host {
	struct sim_world *w;
	uint32_t id;
	bool up;
	char name[32], ip[20];
	char boot_id[ENV_BOOT_ID_LEN + 1];
	int64_t clock_ms; /* added to the wall clock */
	uint32_t boots;
	uint16_t next_port;
	struct list listeners; /* struct sim_listener */
	struct sim_disk disk;
};

struct sim_process {
	struct env env; /* first */
	struct logger log;
	struct sim_world *w;
	struct sim_host *host;
	struct sim_process *next;
	struct sim_program prog;
	char name[48];
	uint32_t id;
	bool dead, paused, exit_pending, started;
	int status;
	char reason[256];
	void *root;
	struct rng rng;
	struct sim_loop *loops; /* control loop first */
	struct sim_loop *control;
	struct sim_event start_ev, calls_ev;
	struct list conns, listeners, files, jobs, zks, https, calls, stalls;
};

struct sim_trace {
	uint8_t *buf;
	size_t len;
	void *md; /* EVP_MD_CTX */
};

struct sim_world {
	struct sim_config cfg;
	struct rng rng, harness_rng;
	int64_t now, spent; /* spent: by blocking calls of the running turn */
	uint64_t events;
	uint32_t seq;
	struct sim_slot *heap;
	size_t heap_n, heap_cap;
	struct sim_trace trace;
	struct sim_host *hosts[SIM_HOSTS_MAX];
	uint32_t hosts_n;
	struct sim_link *links; /* SIM_HOSTS_MAX squared, [from][to] */
	struct sim_process *procs, **procs_tail;
	struct sim_loop *running;
	struct sim_job *job; /* running coroutine */
	struct sim_job_stack *stacks;
	void *main_ctx;      /* ucontext_t */
	void *main_stack;    /* of AddressSanitizer */
	size_t main_stack_bytes;
	struct list garbage; /* connections that are closed: freed after the event */
	uint32_t next_loop, next_proc, next_conn;
	struct sim_zk *zk;
};

/* ---- world.c ---- */
void sim_event_init(struct sim_event *e, struct sim_loop *loop, void (*fn)(struct sim_event *e));
void sim_schedule(struct sim_world *w, struct sim_event *e, int64_t t); /* moves it when scheduled already */
void sim_unschedule(struct sim_world *w, struct sim_event *e);
static inline bool sim_scheduled(const struct sim_event *e) { return e->where != EV_IDLE; }
void sim_heap_drop_process(struct sim_world *w, struct sim_process *p); /* all events of its loops */
/* The present, as seen by what runs. */
static inline int64_t sim_now(const struct sim_world *w) { return w->now + w->spent; }
int64_t sim_draw(struct sim_world *w, struct sim_range r);
bool sim_chance(struct sim_world *w, double p); /* draws nothing for 0 */

/* ---- trace.c ---- */
enum sim_rec {
	REC_TIMER = 1, REC_MSG, REC_CALL, REC_CONNECT, REC_ACCEPT, REC_DATA, REC_CLOSED, REC_FILE, REC_FS, REC_JOB, REC_PROCESS,
	REC_FAULT, REC_ZK_EVENT, REC_ZK_REQUEST, REC_ZK_REPLY, REC_ZK_WRITE, REC_NOTE, REC_RANDOM,
};
void sim_trace_init(struct sim_trace *tr);
void sim_trace_fini(struct sim_trace *tr);
void sim_rec(struct sim_world *w, enum sim_rec kind, uint32_t who, uint64_t a, uint64_t b);
void sim_rec_bytes(struct sim_world *w, enum sim_rec kind, uint32_t who, uint64_t a, const void *bytes, size_t len);
#define SIM_TEXT(w, ...) \
	do { \
		if ((w)->cfg.trace) \
			sim_text((w), __VA_ARGS__); \
	} while (0)
void sim_text(struct sim_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_fault(struct sim_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3); /* into hash and trace */
void sim_log_sink(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *kv);

/* ---- loops.c ---- */
static inline struct sim_loop *sim_loop_of(struct loop *l) { return (struct sim_loop *)l; }
void sim_loop_ready(struct sim_loop *l, struct sim_event *e); /* the scheduler: e is due */
struct sim_loop *sim_loop_make(struct sim_process *p, int32_t idx, const char *name);
void sim_loop_wake(struct sim_loop *l); /* lets the backlog run when the loop is free */
void sim_loop_free(struct sim_loop *l);
struct loop *sim_loop_new(struct env *env, int32_t idx, const char *name);
int64_t sim_loop_now_us(struct loop *l);
void sim_loop_post(struct loop *to, struct msg *m);
void sim_loop_defer(struct loop *l, struct deferred *d);
void sim_deferred_cancel(struct loop *l, struct deferred *d);
void sim_timer_set(struct timer *t, int64_t delay_us);
void sim_timer_stop(struct timer *t);

/* ---- process.c ---- */
extern const struct env_ops sim_env_ops, sim_dead_ops;
static inline struct sim_process *sim_process_of(struct env *env) { return (struct sim_process *)env; }
void sim_process_settle(struct sim_process *p); /* after a callback: ends it if it asked for that */
void sim_process_end(struct sim_process *p, int status, const char *reason, bool power_cut);
void sim_process_free(struct sim_process *p);

/* ---- jobs.c ---- */
void sim_job_submit(struct loop *l, struct job *j, enum job_class cls);
void sim_jobs_abandon(struct sim_process *p);
void sim_jobs_resume(struct sim_process *p);
void sim_jobs_fini(struct sim_world *w);
/* A blocking call of `env` that takes us: leaves the coroutine, or makes the turn longer. */
void sim_block(struct env *env, int64_t us);

/* ---- net.c ---- */
static inline struct sim_link *sim_link(struct sim_world *w, struct sim_host *from, struct sim_host *to) { return &w->links[from->id * SIM_HOSTS_MAX + to->id]; }
void sim_net_host_added(struct sim_world *w, struct sim_host *h);
int64_t sim_net_latency(struct sim_world *w, struct sim_host *from, struct sim_host *to, size_t bytes);
static inline bool sim_net_is_cut(struct sim_world *w, struct sim_host *from, struct sim_host *to) { return sim_link(w, from, to)->cut; }
/* Both ways open, and the other machine running. */
bool sim_net_reachable(struct sim_world *w, struct sim_host *a, struct sim_host *b);
void sim_net_process_end(struct sim_process *p, bool power_cut);
void sim_net_process_free(struct sim_process *p);
void sim_net_collect(struct sim_world *w);
struct conn *sim_conn_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx);
void sim_conn_send(struct conn *c, struct chain *chain);
void sim_conn_resume(struct conn *c);
void sim_conn_close(struct conn *c);
void sim_conn_shutdown(struct conn *c);
void sim_conn_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx));
int sim_listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln);
void sim_listener_pause(struct listener *ln, bool paused);
void sim_listener_close(struct listener *ln);
int sim_http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port);
void sim_http_close(struct http *h);

/* ---- disk.c: the model; no time passes here ---- */
struct sim_inode;
void sim_disk_init(struct sim_host *h);
void sim_disk_fini(struct sim_host *h);
void sim_disk_power_cut(struct sim_host *h);
struct sim_inode *sim_inode_find(struct sim_host *h, const char *path);
int sim_inode_create(struct sim_host *h, const char *path, bool is_dir, struct sim_inode **ret_ino);
void sim_inode_open(struct sim_inode *ino);
void sim_inode_close(struct sim_inode *ino);
bool sim_inode_is_dir(const struct sim_inode *ino);
uint64_t sim_inode_id(const struct sim_inode *ino);
uint64_t sim_inode_size(const struct sim_inode *ino);
int64_t *sim_inode_mtime_ms(struct sim_inode *ino);
void **sim_inode_lock(struct sim_inode *ino); /* who holds it */
size_t sim_inode_read(const struct sim_inode *ino, uint64_t pos, void *out, size_t len);
int sim_inode_write(struct sim_inode *ino, uint64_t pos, const void *bytes, size_t len); /* ERR_NOSPACE: a part may be written */
void sim_inode_truncate(struct sim_inode *ino, uint64_t bytes);
void sim_inode_sync(struct sim_inode *ino, bool failed); /* failed: what is dirty now never reaches the disk */
void sim_inode_sync_dir(struct sim_inode *ino);
size_t sim_inode_children(const struct sim_inode *ino);
const char *sim_inode_child(const struct sim_inode *ino, size_t i);
int sim_ns_rename(struct sim_host *h, const char *from, const char *to);
int sim_ns_remove(struct sim_host *h, const char *path, bool dir);
bool sim_disk_faulty(struct sim_host *h, enum sim_disk_op op, const char *path);

/* ---- files.c: the seam's calls on it ---- */
int sim_fs_open(struct env *env, const char *path, int flags, struct file **ret_f);
int sim_fs_rename(struct env *env, const char *from, const char *to);
int sim_fs_unlink(struct env *env, const char *path);
int sim_fs_mkdir(struct env *env, const char *path, int mode);
int sim_fs_rmdir(struct env *env, const char *path);
int sim_fs_sync_dir(struct env *env, const char *path);
int sim_fs_stat(struct env *env, const char *path, struct fs_stat *ret_st);
int sim_fs_set_mtime(struct env *env, const char *path, int64_t mtime_ms);
int sim_fs_list(struct env *env, const char *path, struct fs_names *ret_names);
int sim_fs_space(struct env *env, const char *path, struct fs_space *ret_space);
int sim_fs_lock(struct env *env, const char *path, struct file **ret_lock);
void sim_fs_unlock(struct file *lock);
void sim_files_process_end(struct sim_process *p);
void sim_files_process_free(struct sim_process *p);
/* Bytes of a range, without time: what sendfile would send. Returns bytes read. */
size_t sim_file_peek(struct file *f, uint64_t pos, void *out, size_t len);

/* ---- zk_client.c, zk_server.c ---- */
int sim_zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk);
void sim_zk_process_end(struct sim_process *p);
void sim_zk_process_free(struct sim_process *p);
void sim_zk_init(struct sim_world *w);
void sim_zk_fini(struct sim_world *w);
