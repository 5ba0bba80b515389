/* coordinator.h: the shell around group.h: which groups this data loop coordinates, loading, writing, timers, messages.
 *
 * One struct coordinator per data loop. For each partition of __consumer_offsets that the loop's shard leads there is one struct groups;
 * group -> partition is groups_partition_of. Becoming leader starts loading: the log is read up to its end at the election, in slices of at
 * most 1 ms per turn, given up when the leader epoch changes (protocol.md L); until it is through, calls get COORDINATOR_LOAD_IN_PROGRESS.
 * Losing the leadership answers what waits with NOT_COORDINATOR and drops the state; a broker that stops loses them all by coordinator_resign,
 * while its connections are still open.
 * Writes are batches of origin LOG_ORIGIN_COORDINATOR through the ordinary produce path with acks=-1 and offsets.commit.timeout.ms, so
 * min.insync.replicas, high watermark and epochs count for them as for any client; their outcomes reach the core in the order in which it gave
 * them out. A batch of commits is bounded by the topic's max.message.bytes, as a client's; one that holds a group's members only by segment.bytes,
 * so that a group may have thousands of members.
 * LIST, FETCH and DESCRIBE may concern any number of groups: they take as many turns as they need, at most a millisecond each (protocol.md G3), and give
 * each group as it was in one of them.
 * Time: the core is given one clock that never goes back and never jumps: the wall clock at the start, which follows later changes of the wall
 * clock by at most a tenth of the time that passes. A clock that is set thus neither expires every session nor stops expiry.
 *
 * Thread: the shard's loop. Others post group_msg, which returns as the reply; a message that reaches another loop than the partition's is
 * passed on (protocol.md I1).
 * Failure: a partition whose log cannot be read stays loading, is tried again each second and said aloud; a record that makes no sense is
 * counted and skipped.
 */
#pragma once

#include "brokerd/group/group.h"
#include "brokerd/replica/shard.h"

#define GROUP_TOPIC "__consumer_offsets"

/* abs(Java's String.hashCode) mod n, abs(INT32_MIN) = 0 (internal-topics.md 1). group: UTF-8. */
int32_t groups_partition_of(struct slice group, int32_t partitions);

struct coordinator;
struct coordinator_init {
	struct env *env;
	struct loop *loop;
	struct shard *shard;
	uint32_t idx, shard_count;
	struct coordinator **peers;     /* one per data loop, in order; filled before the loops serve */
	const struct groups_config *config;
	int32_t commit_timeout_ms;      /* offsets.commit.timeout.ms */
	int32_t load_buffer_bytes;      /* offsets.load.buffer.size: most that is read at a time */
	int64_t expiry_interval_ms;     /* offsets.retention.check.interval.ms */
	int32_t codec;                  /* offsets.topic.compression.codec: enum codec */
};
/* On any thread before the loop serves; becomes the shard's listener. */
struct coordinator *coordinator_new(const struct coordinator_init *init);
void coordinator_free(struct coordinator *c); /* before its shard; NULL is fine */

/* On the coordinator's loop: the broker has a new image, in which these topics were removed: their offsets go, in steps. A commit is of the topic that
 * its message's image knows: it gets UNKNOWN_TOPIC_OR_PARTITION while that is another one than here, so that none of a deleted topic comes after
 * the deletion, and none of its successor before it. */
void coordinator_image(struct coordinator *c, struct image *im, const char *const *deleted, uint32_t count);
/* On the coordinator's loop: every leadership ends here, and none begins any more; until the end calls get NOT_COORDINATOR. All answers were posted
 * when it returns. */
void coordinator_resign(struct coordinator *c);

/* One call for one partition of the offsets topic. Every kind but GROUP_LIST and GROUP_LAG names a partition; the owner answers
 * NOT_COORDINATOR when it does not lead it, COORDINATOR_LOAD_IN_PROGRESS while loading, and while the log is opened or made before. */
enum group_kind {
	GROUP_JOIN, GROUP_SYNC, GROUP_HEARTBEAT, GROUP_LEAVE, GROUP_COMMIT, GROUP_DELETE_OFFSETS, GROUP_DELETE,
	GROUP_FETCH, GROUP_DESCRIBE,
	GROUP_LIST,           /* all partitions of this coordinator */
	GROUP_LAG,            /* committed offsets, for metrics */
};
struct group_describe { struct slice group; struct kp_describe_groups_response_groups ret; };
struct group_offset_row { char *group, *topic; int32_t partition; int64_t offset; };
struct group_msg {
	struct msg msg;
	struct coordinator *coordinator;
	struct image *image;       /* one reference, dropped by the sender after done (protocol.md I2); may be NULL where no partition is named */
	enum group_kind kind;
	int32_t partition;         /* of the offsets topic */
	struct groups_call call;   /* JOIN .. DELETE: as group.h says; the others: its arena and version */
	struct groups_fetch *fetches; /* FETCH */
	struct group_describe *describes; /* DESCRIBE */
	uint32_t count;            /* of fetches, describes */
	struct groups_list list;   /* LIST: states and state_count */
	struct chain body;         /* LIST, out: row_count rows of a ListGroups answer of the call's version; the sender's to clear */
	uint32_t row_count;
	struct group_offset_row *offsets; /* LAG, out: mem_free rows and texts; at most `count` of them */
	uint32_t offset_count;
	int16_t error;             /* out: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS or 0 (then each answer has its own). LIST: some partition loads, or the broker stops */
	void (*done)(struct group_msg *m); /* on the sender's loop */
	void *ctx;
	/* coordinator's */
	struct loop *sender;
	struct list link;
	int32_t at;                /* LIST: partition; FETCH, DESCRIBE: which of them is next */
};
void group_post(struct group_msg *m);

struct coordinator_stats {
	uint32_t partitions, loading; /* of the offsets topic that are led here */
	struct groups_stats groups;   /* of all that are loaded; counters since the start of the process */
};
/* On the coordinator's loop. */
struct coordinator_stats coordinator_stats(const struct coordinator *c);
