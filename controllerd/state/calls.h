/* calls.h: ZooKeeper requests that know their owner: each is in the owner's list until it completes, so that a reign that ends (or an
 * object that is freed) takes back all of its requests at once.
 *
 * Each callback runs exactly once: with the reply, or with ERR_CANCELLED from calls_cancel. After calls_cancel the late reply of
 * ZooKeeper is dropped. Reads whose reply was lost, or that waited too long for a connection, are sent again: they change nothing.
 * Thread: the control loop.
 */
#pragma once

#include <stdint.h>

#include "common/base/list.h"
#include "common/env/zk.h"

struct calls {
	struct zk *zk;    /* set by the owner before the first call */
	void *ctx;        /* first argument of every callback */
	struct list all;  /* waiting for a reply */
	struct list lost; /* taken back; the reply may still come */
	int64_t count;
};
typedef void calls_data_fn(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st);
typedef void calls_stat_fn(void *ctx, void *arg, int err, const struct zk_stat *st);
typedef void calls_names_fn(void *ctx, void *arg, int err, const struct zk_names *names);
typedef void calls_multi_fn(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count);
typedef void calls_create_fn(void *ctx, void *arg, int err, const struct zk_stat *st);

void calls_init(struct calls *c, void *ctx);
void calls_cancel(struct calls *c);
/* As calls_cancel, and frees what late replies would need: only when none can come any more (session closed, process dead). */
void calls_fini(struct calls *c);

void calls_get(struct calls *c, const char *path, calls_data_fn *fn, void *arg);
void calls_exists(struct calls *c, const char *path, calls_stat_fn *fn, void *arg);
void calls_children(struct calls *c, const char *path, calls_names_fn *fn, void *arg);
/* Not repeated by themselves: ERR_UNKNOWN is told. */
void calls_create(struct calls *c, const char *path, struct slice data, int flags, calls_create_fn *fn, void *arg);
void calls_multi(struct calls *c, const struct zk_op *ops, size_t count, calls_multi_fn *fn, void *arg);
