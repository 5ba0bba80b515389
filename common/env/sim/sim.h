/* sim.h: the simulated world: virtual time, machines with disks, a network, a ZooKeeper ensemble; one seed, one thread.
 *
 * Production daemons run in it unchanged: a process is started on a host, gets its env and its control loop, and everything that
 * it does through common/env happens here. The harness (tests/sim) steps the world, injects faults and looks at the results.
 *
 * Determinism: the same seed and the same calls of the harness give the same run and the same hash, in any process. Nothing here
 * depends on addresses, real time or uninitialised memory; neither may what runs on it.
 *
 * Time: microseconds since the begin of the world. A loop runs one turn at a time; a turn costs a few virtual microseconds, in
 * which events of that loop pile up and are then taken in seeded random order. Messages between two loops keep their order and have
 * a delay of their own. A job is a coroutine that is left at each blocking file call. Blocking calls outside of a job run at once
 * and make the turn longer.
 *
 * A process that ends (env_exit, sim_process_kill, sim_host_power_cut) is gone between two callbacks: its timers, messages,
 * connections, jobs and file operations stop. Then reap(root) runs once, in which the harness frees the daemon object. The env
 * is dead by then: every call is accepted and does nothing (submissions vanish, blocking calls return ERR_IO), every loop counts
 * as owned, and no callback ever comes. What the daemon had in flight at that moment (messages, requests that only a
 * completion would have freed) is known to nobody and leaks; run a range of seeds in child processes if that matters.
 * Right after reap() the env, its loops, files, connections and sessions are freed.
 *
 * Thread: one world, one thread; several worlds may live side by side as long as they are stepped by the same thread.
 */
#pragma once

#include <stdio.h>

#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/env/conn.h"
#include "common/env/env.h"
#include "common/env/fs.h"
#include "common/env/loop.h"
#include "common/env/zk.h"

struct sim_world;
struct sim_host;
struct sim_process;

struct sim_range {
	int64_t lo_us, hi_us;
};

struct sim_config {
	uint64_t seed;
	/* loops */
	struct sim_range inbox_delay;  /* usual delay of a message between loops */
	double inbox_slow_rate;        /* share of messages (and what queues behind them) that take inbox_slow */
	struct sim_range inbox_slow;
	struct sim_range timer_slack;  /* how late a timer fires */
	struct sim_range turn_cost;    /* virtual CPU time of a turn */
	struct sim_range process_start; /* from sim_process_start until the program runs */
	/* network */
	struct sim_range net_latency;  /* one way; drawn once per ordered pair of hosts */
	struct sim_range net_jitter;   /* added to each segment */
	double net_spike_rate;
	struct sim_range net_spike;
	double net_split_rate;         /* share of sends that arrive in pieces */
	int64_t net_giveup_us;         /* a connection with unacknowledged bytes breaks after this */
	uint64_t net_window_bytes;     /* sent and not yet read */
	/* disks */
	struct sim_range disk_append, disk_read, disk_cold_read, disk_sync, disk_meta;
	double disk_cold_rate;         /* share of reads that miss the page cache */
	double disk_spike_rate;
	struct sim_range disk_spike;
	uint64_t disk_bytes;           /* capacity of each host */
	/* ZooKeeper */
	int zk_servers;                /* 0 = none, else 1, 3 or 5 hosts zk1.. */
	int32_t zk_tick_ms;            /* session timeouts are held within 2..20 ticks */
	struct sim_range zk_commit;    /* a write, from arrival until the quorum has it */
	struct sim_range zk_lag;       /* how far the other servers are behind */
	double zk_lag_spike_rate;
	struct sim_range zk_lag_spike;
	double zk_drop_rate;           /* share of writes whose connection breaks before or after the write is done */
	double zk_slow_reply_rate;
	struct sim_range zk_slow_reply;
	/* output; neither changes the run */
	FILE *trace;                   /* NULL = none; one line per event */
	bool verbose;                  /* log lines to stderr too */
	enum log_level log_level;      /* of log lines in trace and stderr */
	int64_t wall_start_ms;
};
void sim_config_init(struct sim_config *cfg, uint64_t seed); /* usual values, three ZooKeeper servers */

/* ---- world ---- */
struct sim_world *sim_world_new(const struct sim_config *cfg);
void sim_world_free(struct sim_world *w); /* ends and reaps every process, without on_exit */
bool sim_world_step(struct sim_world *w); /* one event; false: nothing is scheduled any more */
void sim_world_run_until(struct sim_world *w, int64_t t_us); /* all events up to t_us; now is t_us afterwards */
int64_t sim_now_us(const struct sim_world *w);
struct rng *sim_rng(struct sim_world *w); /* the harness's own stream of the seed */
/* fn runs at t_us (or next, when that is past), outside of every loop. */
void sim_at(struct sim_world *w, int64_t t_us, void (*fn)(struct sim_world *w, void *ctx), void *ctx);
uint64_t sim_events(const struct sim_world *w); /* events run so far */
/* SHA-256 of the trace so far; may be called again later. */
void sim_world_hash(struct sim_world *w, uint8_t out[32]);
void sim_world_hash_hex(struct sim_world *w, char out[65]);
/* The harness's own events become part of hash and trace (faults injected, what clients saw). */
void sim_note(struct sim_world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- hosts ---- */
struct sim_host *sim_host_new(struct sim_world *w, const char *name); /* addresses 10.0.0.1, 10.0.0.2, ... in order of making */
struct sim_host *sim_host_find(struct sim_world *w, const char *name_or_ip);
const char *sim_host_name(const struct sim_host *h);
const char *sim_host_ip(const struct sim_host *h);
bool sim_host_is_up(const struct sim_host *h);
/* Kills all processes and drops what was not synced: of each file's unsynced writes a random prefix stays (the last piece maybe
 * torn, with zeros or garbage), of each directory's unsynced name changes a random prefix. Peers hear nothing. Off until
 * sim_host_power_on; the boot id changes. */
void sim_host_power_cut(struct sim_host *h);
void sim_host_power_on(struct sim_host *h);
void sim_host_clock_jump(struct sim_host *h, int64_t ms); /* wall clock only */

/* ---- processes ---- */
struct sim_program {
	const char *name;
	/* Runs on the control loop. The result is given to reap (also when it called env_exit). */
	void *(*start)(struct env *env, struct loop *control, void *arg);
	void (*reap)(void *root, void *arg); /* see above; may be NULL */
	/* After reap. status as given to env_exit, 137 when killed. Outside of every loop; may start a new process. May be NULL. */
	void (*on_exit)(struct sim_process *p, int status, const char *reason, void *arg);
	void *arg;
};
/* The handle stays valid until sim_world_free. The host must be up. */
struct sim_process *sim_process_start(struct sim_host *h, const struct sim_program *prog);
bool sim_process_alive(const struct sim_process *p);
struct env *sim_process_env(struct sim_process *p);      /* alive only */
struct loop *sim_process_control(struct sim_process *p); /* alive only */
void *sim_process_root(struct sim_process *p);           /* NULL before start ran and after the end */
struct sim_host *sim_process_host(struct sim_process *p);
const char *sim_process_name(const struct sim_process *p);
int sim_process_status(const struct sim_process *p);
/* SIGKILL. Written bytes survive, locks go, peers see their connections closed, the ZooKeeper session lives on until its timeout.
 * Called from within a callback of that process it takes effect when the callback returns. */
void sim_process_kill(struct sim_process *p);
void sim_process_pause(struct sim_process *p); /* SIGSTOP: its kernel goes on, no loop runs */
void sim_process_resume(struct sim_process *p);
bool sim_process_is_paused(const struct sim_process *p);
/* fn(ctx) runs on the control loop as soon as that is free (a signal, an operator's call); several in order. */
void sim_process_run(struct sim_process *p, void (*fn)(void *ctx), void *ctx);
/* The loop (-1 control) is stuck in a turn for that long. */
void sim_process_stall_loop(struct sim_process *p, int32_t idx, int64_t us);

/* ---- network ---- */
void sim_net_cut(struct sim_world *w, struct sim_host *a, struct sim_host *b, bool oneway); /* oneway: a to b only */
void sim_net_heal(struct sim_world *w, struct sim_host *a, struct sim_host *b);             /* both ways, delays too */
void sim_net_heal_all(struct sim_world *w);
void sim_net_isolate(struct sim_world *w, struct sim_host *h);                              /* from all others, both ways */
void sim_net_delay(struct sim_world *w, struct sim_host *a, struct sim_host *b, int64_t extra_us); /* a to b */
/* Breaks every connection between the two hosts as a reset. */
void sim_net_reset(struct sim_world *w, struct sim_host *a, struct sim_host *b);
/* GET on an HTTP server of that process; runs the handler on its loop's behalf, outside of virtual time. ERR_NOENT: none open. */
int sim_http_get(struct sim_process *p, const char *path, struct str *body, int *ret_status);

/* ---- disks ---- */
enum sim_disk_op { SIM_DISK_READ = 1, SIM_DISK_WRITE = 2, SIM_DISK_SYNC = 4, SIM_DISK_META = 8, SIM_DISK_ALL = 15 };
int sim_disk_mkdirs(struct sim_host *h, const char *path); /* durable at once */
int sim_disk_write(struct sim_host *h, const char *path, const void *bytes, size_t len); /* a whole file, durable at once */
int sim_disk_read(struct sim_host *h, const char *path, struct str *out); /* as a process would see it now */
int sim_disk_remove(struct sim_host *h, const char *path); /* with all below it, durable at once */
void sim_disk_list(struct sim_host *h, const char *path, struct str *out); /* names, one a line */
void sim_disk_slow(struct sim_host *h, double factor); /* 1 = usual */
void sim_disk_stall(struct sim_host *h, int64_t us);   /* nothing completes for that long */
/* Operations of the kinds in `ops` on paths that begin with `prefix` fail with ERR_IO: the next `count` (-1: until cleared). */
void sim_disk_fail(struct sim_host *h, int ops, const char *prefix, int64_t count);
void sim_disk_clear_faults(struct sim_host *h); /* speed and errors; not what was lost */
void sim_disk_capacity(struct sim_host *h, uint64_t bytes);
uint64_t sim_disk_used(struct sim_host *h);
int sim_disk_flip_bit(struct sim_host *h, const char *path, uint64_t pos, int bit);
void sim_disk_replace(struct sim_host *h); /* an empty disk in its place (another file system identity); no process may live */

/* ---- ZooKeeper ---- */
/* "10.0.0.1:2181,...CHROOT" */
void sim_zk_connect_string(struct sim_world *w, const char *chroot, struct str *out);
struct sim_host *sim_zk_host(struct sim_world *w, int server);
int sim_zk_leader(struct sim_world *w); /* -1: none */
void sim_zk_stop_server(struct sim_world *w, int server);
void sim_zk_start_server(struct sim_world *w, int server);
void sim_zk_stop_all(struct sim_world *w);
void sim_zk_start_all(struct sim_world *w);
/* The session ends at the servers now; the client hears it when it talks to one. ERR_NOENT: no such session. */
int sim_zk_expire_session(struct sim_world *w, int64_t session_id);
/* Breaks the connection of the session, at the client's side as well. */
int sim_zk_drop_connection(struct sim_world *w, int64_t session_id);
void sim_zk_set_drop_rate(struct sim_world *w, double rate);
void sim_zk_set_lag(struct sim_world *w, int server, int64_t extra_us); /* what this server learns is that much later */
/* The truth, for checkers: absolute paths (chroot included). */
int sim_zk_read(struct sim_world *w, const char *path, struct str *data, struct zk_stat *ret_stat);
typedef void sim_zk_visit_fn(void *ctx, const char *path, struct slice data, const struct zk_stat *stat);
void sim_zk_walk(struct sim_world *w, const char *path, sim_zk_visit_fn *fn, void *ctx); /* depth first, names sorted */
/* Writes as an outside tool would; ERR_TIMEOUT without a quorum. version -1 = any. */
int sim_zk_create(struct sim_world *w, const char *path, struct slice data);
int sim_zk_set(struct sim_world *w, const char *path, struct slice data, int32_t version);
int sim_zk_delete(struct sim_world *w, const char *path, int32_t version);
