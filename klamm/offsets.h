/* offsets.h: where partitions begin, end, and stand at a time: ListOffsets, one request per leader. */
#pragma once

#include <stdint.h>

#include "klamm/cluster.h"

enum { OFFSETS_LATEST = -1, OFFSETS_EARLIEST = -2 };

struct offset_spot {
	const char *topic;
	int32_t partition;
	int64_t time;   /* what is asked: OFFSETS_LATEST, OFFSETS_EARLIEST, or ms: the first record at or after */
	int64_t offset; /* the answer; -1: none (no record that late, or error) */
	int64_t timestamp;
	int16_t error; /* KERR_; KERR_UNKNOWN_TOPIC_OR_PARTITION: no such partition */
	int32_t leader;
};

/* Fills in every spot; each partition at most once in the list, in any order (it is not reordered). Leaders that are changing are asked
 * again for at most patience_ms. Returns an exit code only if nothing could be asked at all (said); what one leader did not
 * answer is an error of its spots (KERR_NETWORK_EXCEPTION). */
MUST_CHECK int offsets_find(struct cluster *c, struct offset_spot *spots, size_t count, unsigned patience_ms);
