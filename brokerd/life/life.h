/* life.h: the parts of a broker's life on its control loop, each on its own:
 *   identity      the id of a broker whose file has none
 *   registration  the ZooKeeper session, the ephemeral, cluster id, the old session's end (protocol.md D4, D5)
 *   consumers     committed offsets of version 0 clients, under /consumers
 *   checkpoints   the files of offsets, written from what the shards report (facts/ondisk.md 5)
 *   status        the status node, /health, /metrics
 * They know each other only through their callbacks; brokerd/broker.c wires them. Thread: the control loop.
 */
#pragma once

#include "brokerd/config/config.h"
#include "brokerd/link/ask.h"
#include "brokerd/log/log_dir.h"
#include "brokerd/replica/shard.h"
#include "common/env/zk.h"

#define WAIT_FOR_BASE_PATHS "a controller to create the base paths in ZooKeeper (is controllerd running with the same zookeeper.connect?)"
#define WAIT_FOR_CLUSTER_ID "a controller to create /cluster/id (is controllerd running with the same zookeeper.connect?)"

/* ---- identity: only where broker.id is not configured ---- */
struct identity;
struct identity_events {
	void *ctx;
	void (*waiting)(void *ctx, const char *for_what); /* as below */
	void (*known)(void *ctx, int32_t id);             /* once; the id stands in every directory */
};
/* dirs: opened, and nobody's yet. zk: may be without a session still. */
struct identity *identity_new(struct env *env, struct loop *l, const struct broker_config *cfg, struct zk *zk, struct log_dirs *dirs, const struct identity_events *ev);
void identity_start(struct identity *d);
void identity_free(struct identity *d);
/* Pure. UNREAD: no directory that can be read has an id, and *ret_unread, which cannot, may have one. */
enum identity_source { IDENTITY_STORED, IDENTITY_NEW, IDENTITY_UNREAD };
enum identity_source identity_decide(const struct log_dirs *dirs, const struct log_dir **ret_unread);
/* What a version of /brokers/seqid stands for; ERR_RANGE: no id. */
MUST_CHECK int identity_of_version(int32_t reserved_broker_max_id, int32_t version, int32_t *ret_id);

/* ---- registration ---- */
struct registration;
struct registration_events {
	void *ctx;
	void (*session)(void *ctx, bool connected);      /* for the state shown, and whoever watches nodes */
	void (*new_session)(void *ctx, struct zk *zk);   /* observations have to be set (again) */
	/* The ephemeral stands. first: of this process's life (boot epoch). */
	void (*registered)(void *ctx, int64_t broker_epoch, bool first, const char *cluster_id);
	void (*waiting)(void *ctx, const char *for_what); /* a sentence for /health */
};
struct registration *registration_new(struct env *env, struct loop *l, const struct broker_config *cfg, const struct registration_events *ev);
void registration_start(struct registration *r);                       /* opens the session */
void registration_ready(struct registration *r, struct log_dirs *dirs); /* logs are loaded: register from now on */
void registration_again(struct registration *r);                        /* a controller does not see our node: look and mend */
/* Does the node still stand with our epoch? For B4: fn(ctx, known, stands); known false without ZooKeeper. */
void registration_check(struct registration *r, void (*fn)(void *ctx, bool known, bool stands), void *ctx);
struct zk *registration_zk(struct registration *r);                     /* NULL before the session */
/* Whether the directories belong to another cluster than this one; then the process ends. */
bool registration_other_cluster(struct env *env, const struct log_dirs *dirs, const char *cluster_id);
bool registration_connected(const struct registration *r);
void registration_close(struct registration *r, void (*closed)(void *ctx), void *ctx); /* ends the session: the ephemerals go */
void registration_free(struct registration *r);

/* ---- offsets under /consumers ---- */
/* ask_services.zk_offsets; registration: its ctx. */
void consumers_serve(void *registration, struct ask_zk_offsets *a);

/* ---- checkpoints ---- */
struct checkpoints;
/* rows_seen(ctx, rows, count): every report, for the inventory; may be NULL. */
struct checkpoints *checkpoints_new(struct env *env, struct loop *l, const struct broker_config *cfg, struct log_dirs *dirs, struct shard **shards, uint32_t count,
	void (*rows_seen)(void *ctx, const struct shard_checkpoint_row *rows, uint32_t count), void *ctx);
void checkpoints_start(struct checkpoints *c);
/* Reports now, out of turn: rows_seen runs soon. */
void checkpoints_refresh(struct checkpoints *c);
/* Clean stop: stops the shards, writes what they report, marks the directories clean. */
struct checkpoint_wait {
	struct list link;
	void (*done)(struct checkpoint_wait *w);
};
/* w->done runs when the log starts as they are now are in the files. w is the caller's until then. */
void checkpoints_ask(struct checkpoints *c, struct checkpoint_wait *w);
void checkpoints_file_starts(struct checkpoints *c, struct shard_starts *q); /* the same for a shard: ends in shard_starts_filed */
void checkpoints_final(struct checkpoints *c, void (*done)(void *ctx), void *ctx);
void checkpoints_free(struct checkpoints *c);
