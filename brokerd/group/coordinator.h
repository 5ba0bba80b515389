/* coordinator.h: the shell around group.h: which groups this data loop coordinates, loading, writing, timers, messages.
 *
 * One struct coordinator per data loop. For each partition of __consumer_offsets that the loop's shard leads there is one struct groups;
 * group -> partition is groups_partition_of. Becoming leader starts loading: the log is read up to its end at the election, in slices of at
 * most 1 ms per turn, given up when the leader epoch changes (protocol.md L); until it is through, calls get COORDINATOR_LOAD_IN_PROGRESS.
 * Losing the leadership answers what waits with NOT_COORDINATOR and drops the state.
 * Writes are batches of origin LOG_ORIGIN_COORDINATOR through the ordinary produce path with acks=-1 (offsets.commit.required.acks,
 * offsets.commit.timeout.ms), so min.insync.replicas, high watermark and epochs count for them as for any client.
 *
 * Thread: the shard's loop. Others post group_msg, which returns as the reply.
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
	const struct groups_config *config;
	int16_t commit_acks;            /* offsets.commit.required.acks */
	int32_t commit_timeout_ms;      /* offsets.commit.timeout.ms */
	int32_t load_buffer_bytes;      /* offsets.load.buffer.size */
	int64_t expiry_interval_ms;     /* offsets.retention.check.interval.ms */
};
struct coordinator *coordinator_new(const struct coordinator_init *init);
void coordinator_free(struct coordinator *c);

/* One call for one partition of the offsets topic. Every kind but GROUP_LIST names a partition; the owner answers NOT_COORDINATOR when it
 * does not lead it, COORDINATOR_LOAD_IN_PROGRESS while loading (Heartbeat and SyncGroup as internal-topics.md 4.1 says). */
enum group_kind { GROUP_JOIN, GROUP_SYNC, GROUP_HEARTBEAT, GROUP_LEAVE, GROUP_COMMIT, GROUP_DELETE_OFFSETS, GROUP_DELETE, GROUP_FETCH, GROUP_DESCRIBE, GROUP_LIST };
struct group_msg {
	struct msg msg;
	struct coordinator *coordinator;
	struct image *image;       /* one reference, dropped by the sender after done (protocol.md I2) */
	enum group_kind kind;
	int32_t partition;         /* of the offsets topic */
	struct groups_call call;   /* JOIN .. DELETE: as group.h says */
	struct groups_fetch *fetches; /* FETCH */
	struct { struct slice group; struct kp_describe_groups_response_groups *ret; } *describes; /* DESCRIBE */
	uint32_t count;            /* of fetches, describes */
	const struct slice *states; /* LIST */
	int32_t state_count;
	struct groups_list_row *rows; /* LIST, out */
	uint32_t row_count;
	int16_t error;             /* out: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS or 0 (then each answer has its own) */
	void (*done)(struct group_msg *m); /* on the sender's loop */
	void *ctx;
	void *priv[4];             /* coordinator's */
};
void group_post(struct group_msg *m);
