/* topics.h: what CreateTopics and DeleteTopics may do: names, counts, assignments, configs (client-quirks.md, replication.md 19). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/str.h"
#include "controllerd/plan/image.h"

#define PLAN_NEW_PARTITIONS_MAX 100000 /* what a request may ask for; data written by hand: PLAN_PARTITION_MAX */

struct plan_new_partition {
	int32_t idx;
	struct plan_ids replicas;
};
struct plan_new_topic {
	/* in */
	struct slice name;
	int32_t num_partitions, replication_factor; /* -1 = the cluster's default, or with a manual assignment */
	const struct plan_new_partition *manual;    /* NULL = place them */
	int32_t manual_count;
	const struct plan_config *configs;          /* value NULL = null */
	int32_t config_count;
	uint64_t random;                            /* start and shift of the placement */
	/* out */
	struct plan_new_partition *partitions;      /* ascending 0..count-1 */
	int32_t partition_count;
};
/* A Kafka error code and a sentence in `problem`; 0 = partitions hold the assignment (plan_new_topic_fini). */
MUST_CHECK int16_t plan_topic_validate(const struct plan_image *im, struct plan_new_topic *t, struct str *problem);
void plan_new_topic_fini(struct plan_new_topic *t);

/* 0, or INVALID_TOPIC_EXCEPTION and a sentence. */
MUST_CHECK int16_t plan_topic_name_check(struct slice name, struct str *problem);
bool plan_topic_internal(struct slice name);
