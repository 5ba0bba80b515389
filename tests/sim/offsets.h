/* offsets.h: the records of __consumer_offsets as the checks read them from disks. Parsed here anew (internal-topics.md 2), so that a mistake of the
 * product's codec is not made twice; for the same reason the group -> partition function is repeated.
 *
 * A commit is known by the number that the simulated client put into its metadata ("c17", then anything); every other record by a
 * hash of its bytes with OFFSETS_OTHER set, so that replicas can be compared.
 */
#pragma once

#include "common/base/arena.h"
#include "tests/sim/batch.h"

#define OFFSETS_OTHER (1ull << 62)

enum offsets_kind { OFFSETS_COMMIT, OFFSETS_GROUP, OFFSETS_UNKNOWN };

struct offsets_member { struct slice id, instance, assignment; };

struct offsets_record {
	enum offsets_kind kind;
	bool tombstone;
	struct slice group;
	/* OFFSETS_COMMIT */
	struct slice topic;
	int32_t partition, leader_epoch;
	int64_t offset;
	uint64_t id;             /* 0: metadata without a number */
	/* OFFSETS_GROUP */
	int32_t generation;
	struct slice protocol_type, protocol, leader;
	struct offsets_member *members; /* in the arena */
	int32_t member_count;
};

/* Slices point into key and value. False: not as Kafka 3.9 writes it. */
bool offsets_parse(struct slice key, struct slice value, struct arena *a, struct offsets_record *ret_rec);
/* The number in a commit's metadata; 0 none. */
uint64_t offsets_id_of(struct slice metadata);
/* By this a record is known: see above. */
uint64_t offsets_record_id(struct slice key, struct slice value);
int32_t offsets_partition_of(const char *group, int32_t partitions);

/* Calls fn for each partition of a consumer's assignment; false: it does not parse. Empty bytes: none. */
bool offsets_assignment(struct slice bytes, void (*fn)(void *ctx, struct slice topic, int32_t partition), void *ctx);

/* As sim_batch_records: each record with its id. */
bool offsets_batch_records(struct slice bytes, const struct sim_batch *b, void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id), void *ctx);
