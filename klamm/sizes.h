/* sizes.h: how much the replicas of topics take on disk: DescribeLogDirs, asked of every broker. */
#pragma once

#include <stdint.h>

#include "klamm/cluster.h"

struct replica_size {
	const char *topic;
	int32_t partition, broker;
	int64_t bytes;
};

struct sizes {
	struct replica_size *list; /* by topic, partition, broker */
	size_t count, cap;
	int unanswered; /* brokers that did not tell */
};

/* Of these topics. Never fails: what cannot be had is not in the list. */
void sizes_read(struct cluster *c, const struct kp_metadata_response *md, struct sizes *ret);
void sizes_free(struct sizes *s);
int64_t sizes_of(const struct sizes *s, const char *topic, int32_t partition, int32_t broker); /* -1: not known */
