/* image.h: the controller's own image: brokers, topics, partitions and configs, as far as ZooKeeper has acknowledged them.
 *
 * Mutable, one owner: the control loop of controllerd. plan/ computes on it, state/ changes it when a write was acknowledged or a
 * node was read, push/ publishes it. Nothing here reads a clock, draws a number or does I/O.
 * Partition states hold what ZooKeeper has; what is wanted but not yet written stands in the marks beside them (ending, lossy_new,
 * offline, elr_clear), so that a decision is always computed anew from acknowledged state (protocol.md C3).
 * Orders: topics in order of insertion (uthash), brokers by id, partitions by number; never by address.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/uuid.h"

/* A small ordered set of broker ids; order is kept (assignment order, ISR order). Zeroed = empty. */
struct plan_ids {
	int32_t *v;
	int32_t n;
};
bool plan_ids_has(const struct plan_ids *s, int32_t id);
bool plan_ids_eq(const struct plan_ids *a, const struct plan_ids *b);
bool plan_ids_same_members(const struct plan_ids *a, const struct plan_ids *b);
void plan_ids_set(struct plan_ids *s, const int32_t *v, int32_t n); /* copies */
void plan_ids_copy(struct plan_ids *s, const struct plan_ids *from);
bool plan_ids_add(struct plan_ids *s, int32_t id);    /* at the end; false if it was there */
bool plan_ids_remove(struct plan_ids *s, int32_t id); /* false if it was not */
void plan_ids_fini(struct plan_ids *s);               /* empty again */

struct plan_state {
	int32_t leader; /* -1 none */
	int32_t leader_epoch, controller_epoch, recovery_state;
	struct plan_ids isr, elr, lossy;
};
void plan_state_copy(struct plan_state *s, const struct plan_state *from);
void plan_state_fini(struct plan_state *s);

struct plan_topic;
struct plan_partition {
	struct plan_topic *topic;
	int32_t idx;
	struct plan_ids replicas; /* n = 0: a hole, no such partition */
	struct plan_ids adding, removing;
	int32_t version;          /* of the state node = partition epoch; -1 = no state node yet */
	int32_t epoch_floor;      /* lowest leader epoch for a state node that is made anew */
	struct plan_state st;     /* acknowledged */
	/* marks: what has to be worked into the next write */
	struct plan_ids ending;    /* brokers whose former life ends: none of them may go on leading in this epoch (D2) */
	struct plan_ids lossy_new; /* of these, the ones that forgot (E1): they leave ISR and elr */
	struct plan_ids offline;   /* brokers whose directory of this replica failed */
	struct plan_ids fresh;     /* replicas that may make an empty log (E1) */
	bool prefer;               /* its preferred leader is asked for */
	bool unclean_once;         /* the next look may elect uncleanly */
	bool elr_clear;            /* min.insync.replicas was lowered (E2) */
	int32_t min_isr;           /* min.insync.replicas as last published; 0 = never */
	int64_t leaderless_since_us;
	/* state/ */
	bool in_flight, again, node_exists, published, rewrite;
	struct list work;          /* waits to be looked at */
	struct list change;        /* waits to be published */
	void *proposal;            /* state/: an AlterPartition that waits */
};

struct plan_config {
	char *key, *value;
};
struct plan_configs {
	struct plan_config *v; /* sorted by key */
	int32_t n;
};
const char *plan_configs_get(const struct plan_configs *c, const char *key); /* NULL if absent */
/* A topic's: as it reads once parsed (" 2 " is 2). False: no value of that key, left out (what stands in ZooKeeper may be anything). */
bool plan_configs_put_topic(struct plan_configs *c, const char *key, const char *value);
void plan_configs_put(struct plan_configs *c, const char *key, const char *value);
void plan_configs_remove(struct plan_configs *c, const char *key); /* harmless if absent */
void plan_configs_fini(struct plan_configs *c);

struct plan_topic {
	char *name;
	struct uuid id;
	int64_t czxid;
	int32_t version; /* of /brokers/topics/T */
	struct plan_partition *partitions;
	int32_t partition_count, partition_cap;
	struct plan_configs config;
	bool has_config_node, partitions_node, admin_node;
	bool deleting, vanished, published, config_changed, loading;
	bool no_id;        /* its node has none, and which logs are its own is not known yet; loading too */
	int64_t no_id_us;  /* since when */
	bool node_busy;    /* /brokers/topics/T is being written */
	bool node_again;   /* somebody else may have written it meanwhile */
	int32_t in_flight; /* writes of its partitions */
	int32_t creating;  /* of these: first states */
	struct list change;
	void *deletion;   /* state/ */
	uint32_t walked; /* push's: the number of the snapshot that it is in */
	UT_hash_handle by_name, by_id;
};

struct plan_endpoint {
	char *listener, *host, *security;
	uint16_t port;
};
struct plan_inventory {
	struct uuid topic_id;
	uint64_t name_hash; /* of the directory's topic: for topics whose node lost its id */
	int32_t partition, last_epoch;
	int64_t log_end_offset;
	bool lossy;
};
struct plan_broker {
	int32_t id;
	/* registration (/brokers/ids) */
	bool registered;
	int64_t broker_epoch;
	char *rack; /* NULL none */
	struct plan_endpoint *endpoints;
	int32_t endpoint_count;
	/* life (/klamm/brokers) */
	int64_t boot_epoch; /* the admitted one; 0 none */
	int32_t boot_version; /* of the node; -1 = there is none */
	/* judgement */
	bool alive;         /* neither fenced nor gone */
	bool available;     /* alive, admitted, snapshot applied: electable, shown to clients (D3) */
	bool shutting_down;
	bool stalled;       /* one of its loops is stuck (A1): it leads only where nobody else can */
	bool hello_seen;    /* statics and inventory hold what its last hello said */
	struct plan_configs statics; /* the cluster-wide keys of its file (D1) */
	/* inventory of its hello, sorted by (topic id, partition) */
	struct plan_inventory *inventory;
	size_t inventory_count, inventory_cap;
	bool inventory_known;
	bool dir_offline;     /* one of its log directories cannot be looked into: what the inventory lacks may lie there */
	int64_t inventory_us; /* when it was taken */
	int64_t available_us; /* since when it may fetch */
	bool life_new;        /* its hello began a new life: nothing was fetched between inventory and available_us */
	/* admission, state/life.c: the life that wants in */
	int64_t life_boot;    /* its boot epoch; 0 none */
	int32_t life_pending; /* partitions whose marks for the former life are not settled */
	bool life_writing, admitted;
	bool published;
	struct list change;
	UT_hash_handle hh;
};

struct plan_image {
	int32_t controller_epoch;
	struct plan_topic *by_name, *by_id;
	struct plan_broker *brokers; /* kept sorted by id */
	struct plan_configs default_config; /* /config/brokers/<default> */
	struct plan_entity *entities;       /* /config/brokers/ID */
	int32_t default_min_isr;            /* E2: without a topic override */
	int32_t partition_count, topic_count;
};
struct plan_entity {
	int32_t id;
	struct plan_configs config;
	struct plan_entity *next; /* ascending ids */
};

struct plan_image *plan_image_new(void);
void plan_image_free(struct plan_image *im); /* NULL is fine */

struct plan_broker *plan_broker_find(const struct plan_image *im, int32_t id); /* NULL if unknown */
struct plan_broker *plan_broker_get(struct plan_image *im, int32_t id);        /* makes it */
void plan_broker_clear_endpoints(struct plan_broker *b);
void plan_broker_clear_inventory(struct plan_broker *b);
void plan_broker_add_inventory(struct plan_broker *b, const struct plan_inventory *row);
void plan_broker_sort_inventory(struct plan_broker *b);
const struct plan_inventory *plan_broker_inventory(const struct plan_broker *b, const struct uuid *topic_id, int32_t partition);
bool plan_broker_holds(const struct plan_broker *b, const struct uuid *topic_id); /* any partition of it */
uint64_t plan_name_hash(const char *topic);
int32_t plan_lowest_live_broker(const struct plan_image *im); /* -1 if none is available (J1) */

struct plan_topic *plan_topic_find(const struct plan_image *im, const char *name);
struct plan_topic *plan_topic_find_slice(const struct plan_image *im, struct slice name);
struct plan_topic *plan_topic_find_id(const struct plan_image *im, const struct uuid *id);
struct plan_topic *plan_topic_add(struct plan_image *im, const char *name, const struct uuid *id); /* the name must be new */
void plan_topic_set_id(struct plan_image *im, struct plan_topic *t, const struct uuid *id);
void plan_topic_remove(struct plan_image *im, struct plan_topic *t); /* unlinks and frees; nothing of it may be queued by others */
/* Makes room for partition idx and gives it its replicas; an existing partition keeps its own. NULL if idx is over the bound. */
#define PLAN_PARTITION_MAX 200000
bool plan_topic_make_room(struct plan_topic *t, int32_t idx); /* the room alone: a number without replicas. False if idx is over the bound */
struct plan_partition *plan_partition_add(struct plan_image *im, struct plan_topic *t, int32_t idx, const struct plan_ids *replicas);
struct plan_partition *plan_partition_find(const struct plan_topic *t, int32_t idx); /* NULL if none */

struct plan_entity *plan_entity_get(struct plan_image *im, int32_t id);
/* min.insync.replicas (E2): topic config, else /config/brokers, else the largest static value among live brokers' hellos. */
int32_t plan_topic_min_isr(const struct plan_image *im, const struct plan_topic *t);
int32_t plan_default_min_isr(const struct plan_image *im); /* computed anew; keeps default_min_isr when no broker lives */
/* As it counts for one partition: never above its number of replicas. */
int32_t plan_effective_min_isr(const struct plan_image *im, const struct plan_partition *p);
/* A key of the brokers' files that must agree: topic config or NULL, /config/brokers/<default>, the first live broker that has it, else def. */
const char *plan_cluster_config(const struct plan_image *im, const struct plan_topic *t, const char *topic_key, const char *broker_key, const char *def);
/* What brokers start from, under whichever of its names (log.retention.ms, .minutes, .hours): *ret_name. NULL: nobody says anything. */
const char *plan_cluster_setting(const struct plan_image *im, const char *broker_key, const char **ret_name);
bool plan_unclean_allowed(const struct plan_image *im, const struct plan_topic *t);
