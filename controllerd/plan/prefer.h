/* prefer.h: elections that somebody asks for: the preferred leader, an unclean one, the balance of leaders (replication.md 13). Pure.
 *
 * The preferred leader is the first of the assignment. It is taken only from the ISR and only in exchange for a leader that works or for
 * none, so nothing is lost by it (protocol.md B1). An unclean election that is asked for by name is the operator's word that loss is
 * accepted: the same as unclean.leader.election.enable, for one look (E3).
 */
#pragma once

#include "controllerd/plan/elect.h"

enum plan_election { PLAN_ELECTION_PREFERRED = 0, PLAN_ELECTION_UNCLEAN = 1 }; /* as in ElectLeaders */

/* 0: it would change the leader now; else Kafka's code: ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE. */
MUST_CHECK int16_t plan_election_check(const struct plan_image *im, const struct plan_partition *p, enum plan_election type);
/* The state with the preferred leader; only after plan_election_check said 0 and plan_partition_next PLAN_NOTHING. */
void plan_prefer(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret);

/* Calls fn for every partition whose preferred leader could lead and does not, of each broker that lacks more than `percentage` of the
 * leaderships that are meant for it (auto.leader.rebalance.enable). */
void plan_imbalance(const struct plan_image *im, int32_t percentage, void (*fn)(void *ctx, struct plan_partition *p), void *ctx);
