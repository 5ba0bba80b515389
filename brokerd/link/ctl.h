/* ctl.h: the broker's side of the control link: one link to every controllerd, one of them active (protocol.md A1, C6, C7, D).
 *
 * Finds controllers under /klamm/controllers (and keeps the list while ZooKeeper is away), greets each with a hello, takes snapshots and
 * deltas of the highest controller epoch it has heard of, sends heartbeats, carries ISR proposals, forwarded requests, producer ids, deletions,
 * shutdown. The image it builds is handed to the owner by callback, in order.
 *
 * Thread: the control loop. Failure: a link that breaks is connected again with jitter; what was in flight on it is settled as contract and
 * protocol say (forwarded requests: REQUEST_TIMED_OUT, never sent again; proposals: sent again to whoever is active).
 */
#pragma once

#include "brokerd/config/config.h"
#include "brokerd/link/ask.h"
#include "brokerd/meta/image.h"
#include "brokerd/replica/shard.h"
#include "common/env/env.h"
#include "common/env/zk.h"

struct ctl;

struct ctl_replica { /* inventory line of the hello (D1) */
	struct uuid topic_id;
	const char *topic;
	int32_t partition, last_epoch;
	int64_t log_end_offset;
	enum log_start_class start_class;
	bool missing;
	const struct log_dir *dir; /* where it lies */
};

struct ctl_hello {
	const char *cluster_id;  /* "" if never learnt */
	int64_t boot_epoch, broker_epoch;
	struct log_dirs *dirs;
	const struct ctl_replica *inventory;
	uint32_t inventory_count;
};

struct ctl_events {
	void *ctx;
	/* A new image (its reference stays with ctl; take one) and its changes, which the callee may take over (leaving zeroes). */
	void (*image)(void *ctx, struct image *im, struct image_changes *changes, bool snapshot);
	/* A link is open: call ctl_greet as soon as the inventory is as new as the logs (E3 compares by it). */
	void (*link_opened)(void *ctx);
	/* Everything for a hello, written by the owner at the moment of greeting; false: not ready to greet yet. */
	bool (*hello)(void *ctx, struct ctl_hello *ret);
	/* The active controller answered: admitted or not yet. */
	void (*admitted)(void *ctx, bool admitted);
	/* It answered a heartbeat, with rights: whether it counts us as dead. */
	void (*fenced)(void *ctx, bool fenced);
	void (*registration_missing)(void *ctx); /* the controller does not see our ephemeral */
	void (*refused)(void *ctx, const char *why); /* a sentence; tried again later */
	/* A heartbeat that was sent after `since_us` was answered by the active controller and its newest seq is in our image (B4). */
	void (*confirmed)(void *ctx, int64_t sent_us);
};

struct ctl_stall { uint32_t loop_ms, disk_ms; };

struct ctl_init {
	struct env *env;
	struct loop *loop;
	const struct broker_config *config;
	struct shard **shards;
	uint32_t shard_count;
	uint64_t incarnation;
	const char *version;
	struct ctl_events events;
	struct ctl_stall (*stall)(void *ctx); /* for the heartbeat; ctx = events.ctx */
};
struct ctl *ctl_new(const struct ctl_init *init);
void ctl_free(struct ctl *c);
void *ctl_owner(struct ctl *c); /* events.ctx */
/* With a ZooKeeper session: looks for controllers. Called again after each new session. */
void ctl_watch_controllers(struct ctl *c, struct zk *zk);
void ctl_unwatch_controllers(struct ctl *c); /* the session is about to be closed: nothing more is asked of it */
/* Greets the links that were not greeted yet; all: every link, because the hello says something new (registered again). */
void ctl_greet(struct ctl *c, bool all);
/* All shards applied the image up to here: tell the controller (D3). */
void ctl_applied(struct ctl *c, int32_t controller_epoch, uint64_t seq);

struct image *ctl_image(struct ctl *c); /* newest; borrowed */
bool ctl_has_active(const struct ctl *c);
int64_t ctl_active_since_us(const struct ctl *c); /* when the active link was lost or found last */
uint32_t ctl_link_count(const struct ctl *c);

/* shard_host */
void ctl_propose(void *ctl, const struct image_topic *topic, int32_t partition, int32_t leader_epoch, int32_t partition_epoch, const int32_t *isr, int32_t isr_count, int8_t recovery_state);
void ctl_replica_deleted(void *ctl, const struct uuid *topic_id, const char *topic);
/* These replicas lie on directories that failed: told to the active controller, if there is one. */
void ctl_replicas_offline(struct ctl *c, const struct ctl_replica *rows, uint32_t count);
/* ask_services */
void ctl_forward(void *ctl, struct ask_forward *f);
void ctl_producer_ids(void *ctl, struct ask_producer_ids *p);
/* Asks to hand leaderships over; done(error, remaining). Heartbeats say that we are leaving from now on. */
void ctl_controlled_shutdown(struct ctl *c, void (*done)(void *ctx, int16_t error, uint32_t remaining), void *ctx);
