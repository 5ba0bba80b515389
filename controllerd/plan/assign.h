/* assign.h: replica placement of new partitions, as Kafka places them (replication.md 19): same inputs, same answer. Pure: the random
 * start and shift are given in.
 */
#pragma once

#include <stdint.h>

#include "common/base/err.h"

struct assign_broker {
	int32_t id;
	const char *rack; /* NULL none */
};
struct assign_request {
	const struct assign_broker *brokers; /* ascending ids */
	int32_t broker_count;
	int32_t first_partition; /* > 0 when partitions are added */
	int32_t partitions, replication_factor;
	int32_t start, shift;    /* random, each in [0, broker_count) */
};
/* Writes partitions * replication_factor ids, one partition after the other. ERR_RANGE: more replicas than brokers; ERR_INVAL: some
 * brokers have a rack and some have none, or counts below 1. */
MUST_CHECK int assign_replicas(const struct assign_request *q, int32_t *ret_ids);
