/* loop.h: an owner: one thread with one event loop (os), or one actor with one queue (sim).
 *
 * Everything that belongs to a loop (connections, partitions, timers, ...) is touched only while that loop runs.
 * Others post messages. There are no locks above this file.
 */
#pragma once

#include "common/env/env.h"

struct loop {
	struct env *env;
	int32_t idx;      /* -1 the control loop; 0.. data loops */
	const char *name; /* for logs */
	/* statistics, read by anyone (relaxed) */
	_Atomic int64_t turn_began_us; /* when the running turn began; 0 while idle */
	_Atomic int64_t busy_us;       /* time spent in turns, total */
	_Atomic int64_t turns;
};

/* Makes a loop. The control loop (idx -1) is made by the world before the daemon starts; data loops are made by the daemon at
 * start. They begin to run at once. Loops live as long as the process. */
struct loop *loop_new(struct env *env, int32_t idx, const char *name);
/* The loop that is running this code, NULL on a job thread. */
struct loop *loop_current(void);
/* ASSERTs that the caller runs on `l`. */
void loop_assert_owner(const struct loop *l);
/* Time at the begin of this turn, microseconds (same clock as env_now_us): cheap. */
int64_t loop_now_us(struct loop *l);
int64_t loop_now_ms(struct loop *l);

/* ---- messages ---- */

/* An intrusive message. It is linked nowhere while it is not posted, and returns to the sender as the reply (protocol.md I4):
 * posting can therefore never fail. Order is kept between each pair of loops, and a loop takes what was posted before a request was sent before it reads that
 * request (os): what one loop answered after telling the others, they know when the client turns to them. */
struct msg {
	struct msg *next;                        /* backend's */
	void (*deliver)(struct msg *m);          /* runs on the receiving loop */
	struct loop *to, *from;                  /* set by loop_post */
	int64_t posted_us;
};
void loop_post(struct loop *to, struct msg *m); /* Thread: any loop, or a job */

/* Runs fn(ctx) once at the end of the current turn of the calling loop, before it sleeps: for batching. Intrusive. */
struct deferred {
	struct deferred *next;
	void (*fn)(void *ctx);
	void *ctx;
	bool queued;
};
void deferred_init(struct deferred *d, void (*fn)(void *ctx), void *ctx);
void loop_defer(struct loop *l, struct deferred *d); /* no effect while queued already */
void deferred_cancel(struct loop *l, struct deferred *d);

/* ---- timers ---- */

struct timer {
	void (*fn)(void *ctx);
	void *ctx;
	struct loop *loop;
	int64_t due_us;  /* 0 = not armed */
	void *backend[12]; /* storage of the backend; no allocation per timer */
};
void timer_init(struct timer *t, struct loop *l, void (*fn)(void *ctx), void *ctx);
void timer_set_us(struct timer *t, int64_t delay_us); /* (re)arms; fires once, not before the delay is over; 0 = next turn */
void timer_stop(struct timer *t);                     /* harmless when not armed */
static inline bool timer_armed(const struct timer *t) { return t->due_us != 0; }
static inline void timer_set_ms(struct timer *t, int64_t delay_ms) { timer_set_us(t, delay_ms * 1000); }

/* ---- jobs (protocol.md G2) ---- */

/* Long work as straight-line code: runs on a pool thread (os) or as a coroutine that may be interleaved or abandoned at each
 * file call (sim). It owns its inputs, touches no loop and no shared state, and may use the blocking calls of fs.h.
 * done() then runs on the loop that submitted. */
struct job {
	struct job *next; /* backend's */
	void (*run)(struct job *j);
	void (*done)(struct job *j);
	struct loop *from;
	int8_t cls; /* enum job_class */
	void *backend[4];
};
/* Classes, so that long work never delays short work: JOB_IO for single file operations (sync, cold read, open), JOB_LONG for
 * compaction, truncation, validation of large frames, JOB_LOAD for what is done to every log at start and at stop (recovery, flush and
 * close): as many at a time as the operator says. */
enum job_class { JOB_IO, JOB_LONG, JOB_LOAD };
void job_submit(struct loop *l, struct job *j, enum job_class cls);
