/* env.h: the seam. Everything of Klamm that touches the outside goes through common/env.
 *
 * A daemon is an object that is given a `struct env`: its view of one process's world. There are two backends:
 *   os   libev loops and threads, sockets, a disk pool, libzookeeper, the real clock        (common/env/os)
 *   sim  virtual time, modelled network, disks and ZooKeeper, one seed, one thread          (common/env/sim)
 * Nothing outside common/env/os may read a clock, draw a random number, open a file or a socket, or start a thread
 * (`make check-seam` proves it with nm). Whatever runs above must not depend on addresses or on unspecified orders.
 *
 * Contract of every asynchronous call in this directory: submission never runs the completion before it returns; each
 * completion runs exactly once, on the loop that submitted, unless the process ends before.
 *
 * One indirect call per operation: the objects carry the vtable of their backend.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/log.h"

struct env;
struct loop;
struct msg;
struct timer;
struct conn;
struct conn_config;
struct listener;
struct listen_config;
struct chain;
struct file;
struct fs_stat;
struct file_op;
struct job;
struct zk;
struct zk_config;
struct http_handler;

struct env_ops; /* env_backend.h: for the two backends only */

struct env {
	const struct env_ops *ops;
	struct logger *log;
	uint64_t hash_seed; /* fixed (same in every process): seeds of hash tables and the partition -> loop hash */
};

/* ---- process ---- */

/* Ends this process now, without flushing or closing anything more; `reason` is one sentence that says what to do.
 * status: 0, 70 bug, 74 I/O, 75 lost a fight for an id or lock, 78 configuration (contract.md). In sim the process is
 * gone when the current callback returns; so return at once after calling it. */
void env_exit(struct env *env, int status, const char *reason);

/* Random bytes for ids and jitter (getrandom in os, the seed in sim). Thread: any. */
void env_random(struct env *env, void *out, size_t bytes);
uint64_t env_random_u64(struct env *env);
uint64_t env_random_below(struct env *env, uint64_t n);

/* Wall clock, milliseconds since 1970. May jump. Thread: any. */
int64_t env_wall_ms(struct env *env);
/* CLOCK_BOOTTIME read fresh, microseconds. Never goes back; runs on while the machine sleeps. Thread: any. */
int64_t env_now_us(struct env *env);

/* Identity of the running kernel (/proc/sys/kernel/random/boot_id); in sim it changes with a power cut. */
#define ENV_BOOT_ID_LEN 36
void env_boot_id(struct env *env, char out[ENV_BOOT_ID_LEN + 1]);
/* Own process id and resident bytes, for logs and metrics; 0 where unknown. */
int64_t env_pid(struct env *env);
uint64_t env_resident_bytes(struct env *env);
