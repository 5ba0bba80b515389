/* replica.h: the pure core of one partition replica: (state, event, now) -> (state, actions).
 *
 * Who leads, what the ISR is, when the high watermark moves, when an ISR change is proposed, which epochs are refused. No I/O, no clock,
 * no log: the shell (partition.c) feeds events with numbers and executes the actions. Rules: facts/replication.md 3, 7, 8 and
 * protocol.md B, C6, E2; each is cited where it is applied.
 *
 * Words: end = LEO; acked end = what this replica may vouch for (the LEO, or the synced end with flush.messages=1: E5); ISR = the
 * committed one, as the newest state that we applied has it; maximal ISR = ISR plus additions that are proposed and not decided (B2).
 * Invariants: the high watermark never goes back while leading and never passes the end of a member of the maximal ISR; at most one
 * proposal is open; the state applied never goes back in (leader epoch, partition epoch).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/meta/image.h"

enum replica_role {
	REPLICA_NONE,     /* no state yet, no leader, or not assigned */
	REPLICA_FOLLOWER,
	REPLICA_LEADER,
};

struct replica_peer {
	int32_t id;
	bool assigned;            /* in replicas (a member of the ISR that is not is kept and counted: B2) */
	bool in_isr;              /* committed */
	bool adding, removing;    /* by the open proposal */
	bool eligible;            /* may join: its broker is available and not shutting down, its log directory works */
	bool offline;             /* its log directory failed */
	int64_t boot_epoch;       /* the life of its broker, as the image has it; 0 unknown */
	int64_t life_ms;          /* when we learned of it */
	int64_t end, start;       /* as its last fetch said; -1 unknown in this leader epoch */
	int64_t caught_up_ms;     /* when it last had everything */
	int64_t fetch_ms;         /* its last fetch */
	int64_t leader_end_at_fetch;
	int64_t contact_ms;       /* when we sent the answer that its last fetch follows (B5); 0 never */
};

struct replica {
	int32_t self;
	int64_t lag_max_ms;
	enum replica_role role;
	int32_t leader, leader_epoch, partition_epoch, min_isr;
	int8_t recovery_state;
	struct replica_peer *peers; /* all of replicas and ISR, ourselves included, in assignment order */
	uint32_t peer_count;
	uint32_t isr_count;
	/* leading */
	int64_t end, acked_end, high_watermark;
	int64_t epoch_start;        /* end when this leader epoch began */
	bool pending;               /* a proposal is open; it names the two epochs above (C6) */
	int32_t *pending_isr;
	uint32_t pending_count;
	int64_t proposed_ms;        /* last time it was said */
	int64_t propose_after_ms;   /* after a rejection: not before */
	/* suspension (B4) */
	int32_t seen_epoch;         /* the highest epoch that a broker named to us; above leader_epoch = we are deposed or lag */
	int64_t suspended_ms;
};

/* What the shell has to do after a step, in this order. */
enum replica_do {
	REPLICA_DO_LOST = 1,     /* we led and do not any more: delayed produce fails with NOT_LEADER_OR_FOLLOWER */
	REPLICA_DO_DEPOSE = 2,   /* send one Fetch at the new epoch to out->depose (B4) */
	REPLICA_DO_STOP = 4,     /* no role: stop following */
	REPLICA_DO_LEAD = 8,     /* lead at leader_epoch: stop following first (B3), begin the epoch in the log */
	REPLICA_DO_FOLLOW = 16,  /* follow `leader` at leader_epoch */
	REPLICA_DO_HW = 32,      /* high_watermark moved: complete delayed produce, wake readers */
	REPLICA_DO_PROPOSE = 64, /* say pending_isr with recovery state 0 and the two epochs to the controller */
	REPLICA_DO_RESUME = 128, /* a suspension ended */
	REPLICA_DO_ISR = 256,    /* the committed ISR or min_isr changed */
	REPLICA_DO_START = 2048, /* a follower's log start moved: the low watermark may have */
	REPLICA_DID_SHRINK = 512, REPLICA_DID_EXPAND = 1024, /* what the new proposal is, for statistics */
};
struct replica_out {
	uint32_t acts;
	int32_t depose;
};

struct replica_log { int64_t end, acked_end, next, high_watermark; };

void replica_init(struct replica *r, int32_t self, int64_t lag_max_ms);
void replica_fini(struct replica *r);

/* A state from an image. False and no effect when it is older than what we have (C6). `log` is looked at when we begin to lead. */
bool replica_on_state(struct replica *r, const struct image_partition *ip, const struct replica_log *log, int64_t now_ms, struct replica_out *out);
/* The image does not name the partition any more (K2: that is no removal): no role, whatever the epochs. */
void replica_on_unassigned(struct replica *r, struct replica_out *out);
/* A broker became (un)available. Follow up with replica_on_tick or any event: the high watermark is looked at there. */
void replica_set_eligible(struct replica *r, int32_t id, bool eligible);
/* The local end or acknowledged end moved (leader). */
void replica_on_end(struct replica *r, int64_t end, int64_t acked_end, int64_t now_ms, struct replica_out *out);
/* A fetch of follower `id` at our leader epoch, read for the first time and not diverging. contact_ms: when we sent the answer that it
 * follows, 0 if none. False: not in the assignment. */
bool replica_on_fetch(struct replica *r, int32_t id, int64_t offset, int64_t start, int64_t now_ms, int64_t contact_ms, struct replica_out *out);
/* A broker of the assignment named a leader epoch above ours (B4): we are suspended until our state is as new. */
void replica_on_higher_epoch(struct replica *r, int32_t from, int32_t epoch, int64_t now_ms);
/* Somebody who knows (the controller, B4) confirmed that our state is the newest. */
void replica_on_confirmed(struct replica *r, struct replica_out *out);
/* The controller refused the proposal that names these two epochs; others are ignored (C6). */
void replica_on_rejected(struct replica *r, int32_t leader_epoch, int32_t partition_epoch, int64_t now_ms, struct replica_out *out);
/* Every replica.lag.time.max.ms/2: shrink (section 7); also repeats an open proposal after 1 s and ends suspensions. */
void replica_on_tick(struct replica *r, bool look_for_lag, int64_t now_ms, struct replica_out *out);

const struct replica_peer *replica_peer_find(const struct replica *r, int32_t id);
/* The lowest log start among ourselves and the replicas whose brokers are alive; -1 while one of these is unknown. */
int64_t replica_low_watermark(const struct replica *r, int64_t own_start);
static inline bool replica_suspended(const struct replica *r) { return r->seen_epoch > r->leader_epoch; }
/* acks=all may be taken (section 9). */
static inline bool replica_enough(const struct replica *r) { return (int64_t)r->isr_count >= r->min_isr; }
/* B5's contact: our ISR is ourselves alone, or a member was in contact at or after `since`. */
bool replica_in_contact(const struct replica *r, int64_t since_ms);
/* Epoch of a request against ours (section 3): 0, KERR_FENCED_LEADER_EPOCH or KERR_UNKNOWN_LEADER_EPOCH. -1: no check. */
int16_t replica_check_epoch(const struct replica *r, int32_t request_epoch);
