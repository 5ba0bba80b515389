/* grow.h: what CreatePartitions may do: counts and assignments of partitions that a topic gets (replication.md 19). Pure.
 */
#pragma once

#include "controllerd/plan/topics.h"

struct plan_growth {
	/* in */
	int32_t count;                  /* partitions that the topic is to have */
	const struct plan_ids *manual;  /* replicas of each new partition in order; NULL = place them */
	int32_t manual_count;
	/* out */
	struct plan_new_partition *partitions; /* the new ones, ascending from the topic's present count */
	int32_t partition_count;
};
/* A Kafka error code and a sentence in `problem`; 0 = partitions hold the assignment (plan_growth_fini). Placement goes on where the
 * creation of a topic whose first partition begins with that broker would, as Kafka's: no random. */
MUST_CHECK int16_t plan_topic_grow(const struct plan_image *im, const struct plan_topic *t, struct plan_growth *g, struct str *problem);
void plan_growth_fini(struct plan_growth *g);
