/* ctl_priv.h: for the files of brokerd/link. */
#pragma once

#include "brokerd/link/ctl.h"
#include "common/base/list.h"
#include "common/link/link.h"
#include "common/wire/kerr.h"
#include "proto/klamm/control.pb-c.h"

#define HEARTBEAT_MS 200
#define FORWARD_WAIT_MS 5000     /* a request waits this long for an active controller, then NOT_CONTROLLER (it was never sent) */
#define FORWARD_ANSWER_MS 30000  /* an answer to a request without a timeout of its own is waited for this long */
#define FORWARD_MOST_MS 120000   /* and longer than this for none: no client waits so long */
#define FORWARD_GRACE_MS 2000    /* past a request's own timeout, at which the controller answers if it may say anything (protocol.md C5) */
#define PRODUCER_IDS_CHUNK 100
#define FORMER_IMAGES 4

typedef Klamm__Control__Frame pb_frame;

struct peer { /* one controllerd */
	struct list link;
	struct ctl *ctl;
	int32_t id;
	char *host;
	uint16_t port;
	uint64_t incarnation;   /* as registered, then as its hello reply says */
	struct link *stream;    /* NULL: not connected */
	bool open, greeted, answered, admitted, active, gone;
	int32_t controller_epoch; /* what it said last */
	int64_t heard_us;
	struct timer retry;
	/* a snapshot on its way */
	struct image_snapshot *snapshot;
	int32_t snapshot_epoch;
	uint64_t snapshot_seq;
	bool snapshot_whole;    /* all parts are here: being compared */
	struct timer compare;
	struct list held;       /* deltas behind it */
	uint64_t heartbeat_number;
	int64_t heartbeat_sent_us[16]; /* by number mod 16 */
};

struct held_delta {
	struct list link;
	Klamm__Control__Delta *delta;
};

struct proposal {
	struct list link;
	struct uuid topic_id;
	char *topic;
	int32_t partition, leader_epoch, partition_epoch, isr_count;
	int32_t *isr;
	int8_t recovery_state;
	int64_t sent_us; /* 0 = not sent to the present active */
	uint64_t number;
};

struct forwarded {
	struct list link;
	struct ask_forward *f;
	uint64_t number;
	int64_t since_us;
};

struct pid_request {
	struct list link;
	struct ask_producer_ids *p;
};

struct ctl {
	struct env *env;
	struct loop *loop;
	const struct broker_config *config;
	struct shard **shards;
	uint32_t shard_count;
	uint64_t incarnation;
	const char *version;
	struct ctl_events ev;
	struct ctl_stall (*stall)(void *ctx);
	struct zk *zk;
	struct timer discover;  /* what ZooKeeper did not answer is asked again */
	struct list peers;
	struct peer *active;    /* commands: highest epoch heard, link open, answered our hello as active */
	int64_t active_since_us;
	int32_t highest_epoch;  /* of any controller ever heard (C6) */
	struct image *image;
	struct image *former[FORMER_IMAGES]; /* of before a snapshot: freed some at a time once no loop holds them */
	uint32_t former_count;
	struct timer drop;
	int32_t applied_epoch;
	uint64_t applied_seq;
	struct timer heartbeat;
	uint64_t next_number;
	/* proposals */
	struct list proposals;
	struct deferred flush_proposals;
	/* forwarded requests: waiting for an active, and sent */
	struct list forward_waiting, forward_sent;
	struct list pid_waiting;
	int64_t pid_next, pid_end;   /* the block in hand */
	bool pid_asked;
	/* shutdown */
	bool leaving;
	void (*shutdown_done)(void *ctx, int16_t error, uint32_t remaining);
	void *shutdown_ctx;
	/* deletions to confirm, until the active has taken them */
	struct list deletions;
	uint32_t deletion_count;
};

struct deletion {
	struct list link;
	struct uuid topic_id;
	char *topic;
};

void ctl_send(struct peer *p, pb_frame *f);
void ctl_active_changed(struct ctl *c);

void proposals_send(struct ctl *c, bool again);
void proposals_settle(struct ctl *c); /* after a new image */
void proposals_reply(struct ctl *c, const Klamm__Control__AlterPartitionReply *r);
void proposals_free(struct ctl *c);

void forwards_send(struct ctl *c);
void forwards_reply(struct ctl *c, const Klamm__Control__ForwardReply *r);
void forwards_lost(struct ctl *c);  /* the link they were sent on is gone */
void forwards_tick(struct ctl *c);
void forwards_free(struct ctl *c);
void producer_ids_ask(struct ctl *c);
void producer_ids_reply(struct ctl *c, const Klamm__Control__ProducerIdsReply *r);

void probe_start(struct peer *p, const Klamm__Control__Probe *m);
