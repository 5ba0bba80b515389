/* writeback.h: when the kernel is asked to write back what logs appended (protocol.md G3).
 *
 * Each file is asked for after every MiB. That alone bounds nothing where thousands of partitions hold less than a MiB each: so what one loop wrote to one
 * disk and has not asked for is counted, and above the budget the segments that have been dirty the longest are asked for until it is met again. A sync
 * takes its segments out. Left to itself the kernel would wait for its own limits, and then hold up whoever writes or syncs.
 * Thread: the loop.
 */
#pragma once

#include <stdint.h>

#include "common/base/list.h"

#define WRITEBACK_BYTES ((uint64_t)1 << 20)

struct segment;
/* The dirty segments of one loop in one log directory. */
struct writeback {
	struct list dirty;      /* struct segment, longest dirty first */
	uint64_t bytes, budget; /* bytes: the sum of what they have to be asked for */
	uint64_t asked;         /* times that the kernel was */
};
void writeback_init(struct writeback *wb, uint64_t budget);
void writeback_fini(struct writeback *wb); /* segments may outlive it */

/* seg->bytes grew. wb may be NULL: no budget. */
void writeback_wrote(struct writeback *wb, struct segment *seg);
/* A sync of it begins, or it goes: nothing of it has to be asked for. */
void writeback_forget(struct segment *seg);
