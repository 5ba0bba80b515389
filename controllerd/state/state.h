/* state.h: the cluster state of a reign: read from ZooKeeper, changed by fenced writes, handed on for publication.
 *
 * A reign begins with an empty image and a pipelined read of everything (F2 without a journal); once loaded it is kept true by watches
 * on a handful of directories and by our own acknowledged writes. Partitions that need a look are queued; each look asks plan/ what the
 * state should be and writes it; one write is in flight per node, and events meanwhile cause another look (C3).
 * Nothing reaches the lists of what is to be published before ZooKeeper has acknowledged it (C1).
 * Files: state.c (looks, partition writes), load.c (reading, watching), life.c (brokers: admission, death), topics.c (creation and
 * deletion), growth.c (more partitions, by request or by hand), configs.c (configs of topics and brokers),
 * prefer.c (elections on request), pids.c (producer id blocks).
 * Thread: the control loop. Failure: the end of the reign (state_end) drops all of it.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/env/loop.h"
#include "controllerd/elect/elect.h"
#include "controllerd/plan/configs.h"
#include "controllerd/plan/elect.h"
#include "controllerd/plan/grow.h"
#include "controllerd/plan/image.h"
#include "controllerd/plan/prefer.h"
#include "controllerd/plan/topics.h"
#include "controllerd/state/calls.h"
#include "controllerd/state/writer.h"

struct state_host {
	void *ctx;
	void (*loaded)(void *ctx);
	void (*changed)(void *ctx); /* one of the publication lists got something */
	/* Answers to state_hello. */
	void (*admitted)(void *ctx, int32_t broker);
	void (*registration_missing)(void *ctx, int32_t broker);
	void (*refused)(void *ctx, int32_t broker, const char *why);
	void (*want_hello)(void *ctx, int32_t broker);  /* its inventory is too old for a decision (E3) */
	void (*registered)(void *ctx, int32_t broker, bool there); /* the ephemeral came or went */
	void (*reject)(void *ctx, int32_t broker, uint64_t number, const struct plan_topic *t, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch);
};

struct state_proposal { /* an AlterPartition of a leader that waits for its look */
	int32_t broker, leader_epoch, partition_epoch, recovery_state;
	uint64_t number;
	int32_t isr_count;
	int32_t isr[];
};

struct state_deleted { /* a removed topic whose replicas are not all gone yet (K1) */
	UT_hash_handle hh;
	struct uuid id;
	char *name;
	struct plan_ids brokers; /* that have not confirmed */
	int32_t *left;           /* per broker: replicas not confirmed; loaded ones: 1 */
	bool removing;
};
struct state_removed { /* to be published */
	struct uuid id;
	char *name;
};
struct state_note { /* a config notification that lies in ZooKeeper */
	int64_t seq, ctime_ms;
};
struct state_failover {
	bool any;
	int32_t broker, partitions;
	char reason[48];
	int64_t began_us, took_ms;
	int32_t pending;
};
struct state_pids_waiter {
	struct list link;
	void (*fn)(void *ctx, void *arg, int16_t error, int64_t first, int32_t count);
	void *ctx, *arg;
	int32_t broker;
};

#define STATE_WATCH_BYTES_MAX ((size_t)400 << 10) /* of paths that are watched (H4) */

struct state {
	struct env *env;
	struct loop *loop;
	struct elect *el;
	struct writer wr;
	struct calls calls;
	struct state_host host;
	struct plan_image *im; /* NULL between reigns */
	bool active, loaded, lineage_ok, delete_enabled;
	int32_t reads;          /* outstanding of the first load */
	struct list work;       /* partitions that need a look */
	struct list later;      /* the same, after a pause */
	struct deferred work_soon;
	struct timer work_timer, later_timer;
	/* publication (drained by push) */
	struct list changed_partitions, changed_topics, changed_brokers;
	struct state_removed *removed;
	size_t removed_count, removed_cap;
	int32_t *removed_brokers;
	size_t removed_broker_count, removed_broker_cap;
	bool cluster_changed, configs_changed;
	/* topics */
	struct state_deleted *deleted; /* by id, oldest first */
	struct creation *creating;    /* by name */
	struct plan_configs reading;  /* names whose nodes are being read */
	bool topics_reading, topics_again, admin_after;
	struct timer ids_timer; /* topics without an id wait */
	bool ids_wait;
	/* configs */
	int64_t config_seq;     /* last notification seen; -1 none */
	struct state_note *notes;
	size_t note_count, note_cap;
	struct state_config_line *config_lines; /* by entity: changes under way */
	/* topic nodes, growth.c */
	struct topic_watch *watches; /* by name */
	struct list sweep;      /* of these: the ones to be looked at in turn */
	struct timer sweep_timer;
	size_t watch_bytes, watch_bytes_max;
	int32_t sweep_left;     /* replies to come */
	/* elections on request, prefer.c */
	struct state_balance {
		bool enabled;
		int32_t interval_s, percentage;
	} balance;               /* auto.leader.rebalance.enable and its keys */
	struct timer balance_timer, election_timer;
	struct state_election_row *election; /* what the node asks for and was not looked at yet */
	size_t election_count;
	int32_t election_version;
	int64_t loaded_us;
	bool election_busy, election_again;
	uint64_t balanced;
	/* producer ids */
	struct list pids;
	bool pids_busy;
	struct state_failover failover;
	uint64_t leader_changes, isr_changes;
};

void state_init(struct state *s, struct loop *l, struct elect *el, const struct state_host *host, bool delete_enabled);
void state_begin(struct state *s, struct zk *zk, int32_t epoch, int32_t epoch_version, bool lineage_ok);
void state_end(struct state *s);
void state_fini(struct state *s); /* no callbacks */

/* ---- state.c ---- */
void state_touch(struct state *s, struct plan_partition *p);       /* look at it */
void state_touch_later(struct state *s, struct plan_partition *p); /* after a pause */
void state_touch_broker(struct state *s, int32_t broker);          /* all partitions that it replicates */
void state_touch_all(struct state *s);
void state_publish_partition(struct state *s, struct plan_partition *p);
void state_publish_topic(struct state *s, struct plan_topic *t, bool config);
void state_publish_broker(struct state *s, struct plan_broker *b);
/* Takes over q (mem_alloc'ed). ERR_NOENT: no such partition (q is freed). */
MUST_CHECK int state_propose(struct state *s, const struct uuid *topic_id, int32_t partition, struct state_proposal *q);
void state_min_isr_changed(struct state *s);
bool state_topic_writing(const struct plan_topic *t); /* a state of its partitions is on its way */
bool state_broker_settled(const struct state *s, int32_t broker, uint32_t *ret_led); /* no look or write of its partitions is open */
/* Marks of `broker` in p are dealt with. */
void state_marks_done(struct state *s, struct plan_partition *p, const struct plan_ids *ending, const struct plan_ids *lossy);

/* ---- load.c ---- */
void load_begin(struct state *s);
void load_brokers(struct state *s);
void load_topics(struct state *s);
void load_topic_config(struct state *s, const char *topic);
void load_topic_replaced(struct state *s, struct plan_topic *t); /* its node is another one than it was */

/* ---- life.c ---- */
struct state_hello {
	int32_t broker;
	int64_t boot_epoch, broker_epoch;
};
/* Statics and inventory stand in the image's broker already. The answer comes by one of the callbacks. Only while loaded. */
void state_hello(struct state *s, const struct state_hello *h);
void state_applied(struct state *s, int32_t broker);                       /* it has the snapshot: electable from now on (D3) */
void state_dead(struct state *s, int32_t broker, const char *reason);      /* fenced, or gone */
void state_shutting_down(struct state *s, int32_t broker, bool on);
void state_stalled(struct state *s, int32_t broker, bool on);
void state_replica_offline(struct state *s, int32_t broker, const struct uuid *topic_id, int32_t partition);
void life_settled(struct state *s, int32_t broker);
void life_registration(struct state *s, int32_t id, bool there, int64_t czxid, struct slice data);

/* ---- topics.c ---- */
typedef void state_created_fn(void *ctx, void *arg, int err);
/* The validated assignment of t becomes a topic with a new id; fn(0) once the topic node is written. */
void state_create_topic(struct state *s, const struct plan_new_topic *t, state_created_fn *fn, void *ctx, void *arg);
bool state_creating(const struct state *s, struct slice name);
void state_delete_topic(struct state *s, struct plan_topic *t); /* starts, or goes on */
void state_deletion_step(struct state *s, struct plan_topic *t);
void state_deletion_done(struct state *s, int32_t broker, const struct uuid *id, bool all);
struct state_deleted *state_deleted_add(struct state *s, const struct uuid *id, const char *name, const struct plan_ids *brokers, const int32_t *left);
struct state_deleted *state_deleted_find(const struct state *s, const struct uuid *id);
void state_deleted_remove(struct state *s, struct state_deleted *d);
void state_admin_node_delete(struct state *s, const char *name);
/* A topic node that tools or a hand wrote has no id. One that the image knows is written back; else that of the logs which brokers hold under its
 * name, once they say so; else, when nobody is left who may have some, a new one. No looks before that. */
void state_give_id(struct state *s, struct plan_topic *t);
void topics_init(struct state *s);
void topics_end(struct state *s);
void state_ids_look(struct state *s); /* a hello brought an inventory */

/* Content of /brokers/topics/T, with `count` more partitions from number `first` on. */
void topic_node_json(struct str *out, const struct plan_topic *t, int32_t first, const struct plan_ids *more, int32_t count);

/* ---- growth.c ---- */
/* The validated partitions join the topic; fn(0) once its node is written. ERR_AGAIN: the node was not what we took it for and has been
 * read again, decide anew. ERR_LIMIT: too large for ZooKeeper; ERR_NOENT: the topic is gone; ERR_STALE: so is the reign.
 * Not while state_topic_busy. */
void state_grow_topic(struct state *s, struct plan_topic *t, const struct plan_growth *g, state_created_fn *fn, void *ctx, void *arg);
bool state_topic_busy(const struct plan_topic *t); /* its node is being read or written */
void growth_init(struct state *s);
void growth_watch(struct state *s, const char *topic, bool made); /* before its node is read, or once we have made it */
void growth_unwatch(struct state *s, const char *topic); /* before the node is deleted */
void growth_settled(struct state *s, struct plan_topic *t); /* it is not busy any more */
void growth_end(struct state *s);

/* ---- configs.c ---- */
struct state_alter { /* a change of one entity's configs; what it points to lives until fn ran */
	enum plan_entity_kind kind;
	const char *topic; /* NULL: a broker */
	int32_t broker;    /* -1: all brokers */
	struct plan_config_changes changes;
	bool validate_only;
	void (*fn)(void *ctx, void *arg, int16_t error, const struct str *problem); /* once; problem: NULL with 0 */
	void *ctx, *arg;
};
void state_alter_config(struct state *s, const struct state_alter *q);
/* What ZooKeeper has is this set (taken over): into the image, and published if it is another one. node: /config/topics/T is there. */
/* What of a node's set holds; what does not is logged. */
void state_parse_topic_config(const struct state *s, const char *topic, const struct plan_configs *set, struct plan_configs *ret_parsed);
void state_take_topic_config(struct state *s, struct plan_topic *t, struct plan_configs *set, bool node);
void state_take_entity(struct state *s, const char *name, struct plan_configs *set); /* a child of /config/brokers */
void state_note_seen(struct state *s, int64_t seq, int64_t ctime_ms);
bool state_note_old(const struct state *s, int64_t ctime_ms);
void state_note_drop(struct state *s, const char *name);
void state_notes_purge(struct state *s);
void configs_end(struct state *s);

/* ---- prefer.c ---- */
void state_elect(struct state *s, struct plan_partition *p, enum plan_election type); /* at its next look, once */
bool state_election_open(const struct plan_partition *p); /* a look or write of it is to come: what became of an election is not known yet */
void prefer_look(struct state *s); /* /admin/preferred_replica_election */
void prefer_init(struct state *s);
void prefer_loaded(struct state *s);
void prefer_end(struct state *s);

/* ---- pids.c ---- */
void state_producer_ids(struct state *s, int32_t broker, void (*fn)(void *ctx, void *arg, int16_t error, int64_t first, int32_t count), void *ctx, void *arg);
void pids_end(struct state *s);
