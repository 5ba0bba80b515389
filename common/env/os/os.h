/* os.h: the real world: what main.c of a daemon builds and runs, and tools and tests alike.
 *
 *   struct os_world *w = os_world_new(&(struct os_world_config){.min_level = LOG_INFO});
 *   struct env *env = os_world_env(w);
 *   ... broker_new(env, os_world_control_loop(w), config): the calling thread counts as the control loop from os_world_new on ...
 *   return os_world_run(w);      until os_world_stop, or env_exit
 *
 * One world a process. os_world_new ignores SIGPIPE and blocks SIGTERM, SIGINT and SIGHUP, which then arrive as a callback on the
 * control loop (os_world_on_signal).
 */
#pragma once

#include "common/env/env.h"
#include "common/env/loop.h"

struct os_world;

struct os_world_config {
	enum log_level min_level;
	int log_fd;       /* 0 = stderr */
	int io_threads;   /* JOB_IO; 0 = 2 */
	int long_threads; /* JOB_LONG; 0 = 1 */
};

/* How many jobs of class JOB_LOAD run at a time; else 1. Before the first of them. */
void os_world_load_threads(struct os_world *w, int count);
/* NULL cfg = all defaults, LOG_INFO. Ends the process (status 74, one sentence) if the kernel refuses what it needs. */
struct os_world *os_world_new(const struct os_world_config *cfg);
struct env *os_world_env(struct os_world *w);
struct loop *os_world_control_loop(struct os_world *w);
/* Runs the control loop on the calling thread; returns the status given to os_world_stop. May be called again. */
int os_world_run(struct os_world *w);
/* Makes os_world_run return after the current turn. Thread: any. */
void os_world_stop(struct os_world *w, int status);
/* fn(ctx, signo) runs on the control loop. One handler for SIGTERM, SIGINT and SIGHUP;
 * without one they end the process (status 128 + signo). */
void os_world_on_signal(struct os_world *w, void (*fn)(void *ctx, int signo), void *ctx);
/* Stops all threads and frees everything, without any callback. A daemon may as well just exit; tests want clean sanitizers. */
void os_world_free(struct os_world *w);

/* CPUs that this process may run on (what taskset, cpusets and containers leave); at least 1. */
unsigned os_cpus(void);
/* Raises the limit of open files to the hard limit; writes what there was and what there is. */
void os_raise_nofile(uint64_t *ret_before, uint64_t *ret_now);
