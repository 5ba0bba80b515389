/* writer.h: every write of the active controller: fenced, packed, in two lanes (protocol.md C1 to C4).
 *
 * A write is one or more ZooKeeper operations that happen together. Writes are packed into multis, each of which begins with
 * check(/controller_epoch, version of this reign): a deposed controller cannot change anything. There is no other way to write.
 * Lanes: FAST (failover, ISR) overtakes BULK (creation, deletion) at the end of each turn; at most WRITER_BULK_MAX bytes of bulk are
 * in flight. The caller keeps to one write in flight per node.
 *
 * Outcomes, told exactly once per write (unless writer_fini):
 *   0            done; results of its own operations
 *   definite     one of its own operations failed (ret_failed says which); nothing of it happened. Others in that multi are sent again.
 *   ERR_UNKNOWN  the reply was lost, and a barrier has succeeded since: what a read shows now is the outcome
 *   ERR_LIMIT    too large for ZooKeeper
 *   ERR_STALE    the reign is over (deposed or ended): the outcome does not concern us any more
 * Thread: the control loop. Failure model: session loss ends the reign from outside (writer_stop).
 */
#pragma once

#include "common/base/list.h"
#include "common/env/loop.h"
#include "common/env/zk.h"
#include "controllerd/state/calls.h"

#define WRITER_MULTI_MAX ((size_t)400 << 10)
#define WRITER_BULK_MAX ((size_t)256 << 10)

enum write_lane { WRITE_FAST, WRITE_BULK, WRITE_LANES };

struct write;
typedef void write_done_fn(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results);
struct write *write_new(enum write_lane lane, write_done_fn *done, void *ctx, void *arg);
/* path and data are copied; data.ptr NULL = null data. */
void write_create(struct write *w, const char *path, struct slice data);
void write_create_sequential(struct write *w, const char *prefix, struct slice data); /* ten digits follow; its result names it */
void write_set(struct write *w, const char *path, struct slice data, int32_t version);
void write_delete(struct write *w, const char *path, int32_t version);
size_t write_ops(const struct write *w);

struct writer_host {
	void *ctx;
	void (*deposed)(void *ctx); /* the check failed */
	/* Asks for a barrier that begins now; fn(arg, 0) once one succeeded; other codes: the reign is over. */
	void (*barrier)(void *ctx, void (*fn)(void *arg, int err), void *arg);
};
struct writer {
	struct env *env;
	struct loop *loop;
	struct calls calls;
	struct writer_host host;
	int32_t epoch_version; /* of /controller_epoch in this reign */
	bool running;
	struct list lanes[WRITE_LANES];
	struct list batches; /* in flight, or waiting for a barrier */
	size_t bulk_bytes;   /* in flight */
	struct deferred flush;
	struct timer retry;
	uint64_t multis, writes;
};
void writer_init(struct writer *wr, struct loop *l, const struct writer_host *host);
void writer_start(struct writer *wr, struct zk *zk, int32_t epoch_version);
/* Ends the reign: every write is told ERR_STALE. */
void writer_stop(struct writer *wr);
void writer_fini(struct writer *wr); /* no callbacks */
/* Takes w over. Not running: done(ERR_STALE) at once. */
void writer_submit(struct writer *wr, struct write *w);
bool writer_idle(const struct writer *wr);
