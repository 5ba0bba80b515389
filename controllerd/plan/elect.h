/* elect.h: who leads, who counts: the next state of one partition (protocol.md A4, B, D2, E2, E3; replication.md 13, 15, 16).
 *
 * Pure: (image, partition) -> next state. Level-triggered: it looks at what is, not at what happened, so an event that comes while a
 * write is in flight is found by looking again afterwards (C3). The ISR is never empty in what it gives.
 * Where Klamm differs from Kafka's ZooKeeper controller: taking a dead follower out of the ISR does not raise the leader epoch (the
 * partition epoch fences the leader's view); leader changes always do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "controllerd/plan/image.h"

enum plan_why {
	PLAN_NOTHING,       /* the state is as it should be */
	PLAN_CREATE,        /* first state of a new partition */
	PLAN_ELECT,         /* leader from the ISR */
	PLAN_ELECT_ELR,     /* leader from the eligible list */
	PLAN_ELECT_UNCLEAN, /* unclean.leader.election.enable */
	PLAN_ELECT_LOSSY,   /* everybody of ISR and elr forgot something: the most complete log (E3) */
	PLAN_LEADERLESS,    /* the leader is gone or its life ended, and nobody may follow it yet */
	PLAN_HAND_OVER,     /* shutting down or stalled: successor first (A4) */
	PLAN_ISR,           /* members left, marks changed */
	PLAN_PROPOSAL,      /* AlterPartition */
	PLAN_PREFERRED,     /* the preferred leader, on request */
};
const char *plan_why_str(enum plan_why why);

struct plan_next {
	struct plan_state st;     /* plan_state_fini by the caller; empty when PLAN_NOTHING */
	enum plan_why why;
	int32_t wants_inventory;  /* a broker whose inventory must be fresh before E3 can choose; -1 none */
};
/* ret is always written. */
void plan_partition_next(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret);

/* Whether this broker may be made leader of p, marks of loss aside. */
bool plan_electable(const struct plan_image *im, const struct plan_partition *p, int32_t id);

bool plan_leaving(const struct plan_image *im, int32_t id); /* shutting down or stalled: it should not get more to lead */
/* The leader of st is there and may go on. */
bool plan_leader_holds(const struct plan_image *im, const struct plan_partition *p, const struct plan_state *st);

/* An ISR change that the leader asks for. */
struct plan_proposal {
	int32_t broker, leader_epoch, partition_epoch, recovery_state;
	const int32_t *isr;
	int32_t isr_count;
};
/* A Kafka error code (replication.md 16), 0 = it may be written; then ret_st is the state to write (plan_state_fini). */
MUST_CHECK int16_t plan_isr_propose(const struct plan_image *im, const struct plan_partition *p, const struct plan_proposal *q, struct plan_state *ret_st);

/* The elr that goes with isr_new (E2). */
void plan_elr_next(const struct plan_image *im, const struct plan_partition *p, const struct plan_ids *isr_new, const struct plan_ids *lossy, struct plan_ids *ret_elr);
