/* push.h: the control link's server side: who is connected, what they are told, what they ask.
 *
 * Peers are brokers and the other controllers; each has one link with a hello. Publication (C1, C7): what state/ has had acknowledged
 * becomes deltas in one ring of encoded frames; every subscriber is a cursor into it, with no queue of its own; who fell off the ring
 * gets a snapshot. New leaders are served first (B7).
 * Judgement (A2): a closed or silent link is a suspicion; probes by other brokers and a barrier of our own make it a fact.
 * What ZooKeeper does not fence is said only with rights (C5).
 * Files: server.c (listener, links, hello), ring.c (deltas, snapshots), live.c (heartbeats, probes, fencing), admin*.c (requests).
 * Thread: the control loop.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/env/conn.h"
#include "common/env/loop.h"
#include "common/link/link.h"
#include "controllerd/elect/elect.h"
#include "controllerd/push/frame.h"
#include "controllerd/state/state.h"

struct push_config {
	int32_t id;
	uint64_t incarnation;
	const char *version, *host; /* where to listen */
	uint16_t port;
	int32_t closed_grace_ms, silence_ms;
	bool allow_remote; /* links from other machines, without a proof of identity */
	int32_t snapshot_slice; /* partitions of a snapshot that one turn encodes; 0 = the usual number */
};

enum { HEARD_MAX = 8, RING_ENTRIES = 8192, PROBERS_MAX = 3 };
#define RING_BYTES_MAX ((size_t)64 << 20)

struct push_heard {
	int32_t id;
	uint32_t silent_ms;
	bool connected;
};
struct push_peer {
	struct list link;
	struct push *push;
	struct link *stream;
	Klamm__Control__Frame *hello; /* the last one; NULL before */
	bool greeted;                 /* hello and inventory are complete */
	bool is_controller;
	int32_t id;
	struct plan_inventory *rows;
	size_t row_count, row_cap;
	bool any_offline;
	int64_t hello_us, heard_us;
	uint32_t number;              /* of this link, for requests that outlive it */
	/* subscription */
	bool subscribed;
	uint64_t cursor;              /* seq sent last */
	bool snapshot_due;            /* it gets the next snapshot; no deltas before */
	struct push_snapshot *snapshot; /* of which parts are still to be sent; one reference */
	size_t snapshot_sent;
	uint64_t admit_seq;           /* once it applied this much, it is available */
	/* heartbeats */
	struct push_heard heard[HEARD_MAX];
	int32_t heard_count;
	uint32_t loop_stall_ms;
};
struct push_live { /* what we think of one broker's life */
	int32_t id;
	int64_t closed_us;  /* link closed since; 0 = open or never seen */
	int64_t since_us;   /* suspicion began; 0 none */
	bool seen, barrier_good, barrier_sent;
	uint64_t round;     /* of probes; 0 none */
	int32_t asked, answered, refused, unanswered;
	int64_t round_us, next_round_us;
};
struct push_barrier { /* argument of a barrier for a suspicion */
	struct push *push;
	int32_t id;
	int64_t since_us;
};
struct ring_entry {
	struct buf *buf;
	size_t len;
};
struct push_snapshot { /* encoded; shared by those that it is sent to */
	uint32_t refs;
	uint64_t seq;
	size_t count, cap;
	struct ring_entry *parts;
};
struct snapshot_more { /* published while a snapshot is made: goes into it behind what was walked */
	struct uuid topic;
	int32_t partition; /* -1: the topic itself */
};
struct snapshot_gone {
	struct uuid topic;
	char *name;
};
/* The snapshot that is being made (ring.c). */
struct snapshot_making {
	struct push_snapshot *out; /* NULL: none is */
	uint32_t number;
	bool walked;
	struct uuid topic;         /* where the walk goes on; zero: at the beginning */
	int32_t partition;
	struct snapshot_more *more;
	size_t more_count, more_done, more_cap;
	struct snapshot_gone *gone;
	size_t gone_count, gone_cap;
	uint32_t turns;
	struct timer turn;
};
struct push_pending;

struct push {
	struct env *env;
	struct loop *loop;
	struct push_config cfg;
	struct state *st;
	struct elect *el;
	struct listener *listener;
	uint16_t port;
	struct list peers;
	uint32_t next_peer;
	int32_t published_broker; /* J1, last published */
	/* ring */
	struct ring_entry ring[RING_ENTRIES];
	uint64_t seq, first; /* newest; oldest kept (first > seq: empty) */
	size_t ring_bytes;
	struct deferred flush;
	struct snapshot_making making;
	struct plan_ids new_leaders;
	/* live */
	struct push_live *lives;
	int32_t live_count;
	size_t live_cap;
	struct timer tick;
	int64_t tick_us, active_us; /* last tick; when the reign was loaded */
	uint64_t rounds;
	/* requests that wait */
	struct list pending;
	struct list planning; /* those of which rows are to be planned, answered ones too: in turns */
	struct timer plan_turn;
	struct arena scratch;
	uint64_t deltas, snapshots, fenced;
};

void push_init(struct push *p, struct loop *l, const struct push_config *cfg, struct state *st, struct elect *el);
MUST_CHECK int push_listen(struct push *p); /* ERR_EXIST: port in use; ERR_INVAL */
void push_fini(struct push *p);
void push_state_host(struct push *p, struct state_host *ret); /* the callbacks that state/ wants */
void push_reign_end(struct push *p);
void push_brokers_say(struct push *p, int32_t controller, int32_t *ret_total, int32_t *ret_deaf);
bool push_active(const struct push *p); /* loaded: commands */

/* server.c, for the others */
struct push_peer *push_broker_peer(struct push *p, int32_t id); /* newest greeted link of a broker; NULL */
struct push_peer *push_peer_numbered(struct push *p, uint32_t number);
void push_hello_reply(struct push_peer *peer, bool admitted, bool registration_missing, const char *refused);
void push_readmit(struct push_peer *peer, int64_t broker_epoch);
void push_peer_drop(struct push_peer *peer, const char *why);
/* ring.c */
void ring_changed(struct push *p);
void ring_flush(struct push *p);
void ring_subscribe(struct push_peer *peer, int32_t known_epoch, uint64_t known_seq);
void ring_pump(struct push_peer *peer);
void ring_forget(struct push_peer *peer); /* it is not subscribed any more */
void ring_init(struct push *p);
void ring_clear(struct push *p);
/* live.c */
void live_init(struct push *p);
void live_tick(void *p);
void live_heartbeat(struct push_peer *peer, const Klamm__Control__Heartbeat *h);
void live_applied(struct push_peer *peer, int32_t epoch, uint64_t seq);
void live_link_closed(struct push *p, int32_t broker);
void live_hello(struct push *p, int32_t broker);
void live_registered(struct push *p, int32_t broker, bool there);
void live_probe_reply(struct push *p, const Klamm__Control__ProbeReply *r);
void live_loaded(struct push *p);
/* admin.c, admin_broker.c */
void admin_forward(struct push_peer *peer, const Klamm__Control__Forward *f);
void admin_shutdown(struct push_peer *peer, const Klamm__Control__ControlledShutdown *c);
void admin_producer_ids(struct push_peer *peer, const Klamm__Control__ProducerIdsRequest *r);
void admin_alter_partition(struct push_peer *peer, const Klamm__Control__AlterPartitionRequest *r);
void admin_reject(void *push, int32_t broker, uint64_t number, const struct plan_topic *t, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch);
void admin_check(struct push *p); /* something was published, or time went by */
void admin_begin(struct push *p);
void admin_end(struct push *p);
