/* mini.h: small brokers for the tests of brokerd/replica and brokerd/fetch: data loops with shards and fetch homes in the simulated world,
 * a Kafka port that serves Fetch and ListOffsets, and a controller that is a few lines of the test. */
#pragma once

#include "brokerd/fetch/fetch.h"
#include "brokerd/replica/shard_priv.h"
#include "common/env/sim/sim.h"

#define MINI_LOOPS 2
#define MINI_PARTITIONS 16
#define MINI_PORT 9092

struct mini_world;
struct mini {
	struct mini_world *mw;
	int32_t id;
	struct sim_host *host;
	struct sim_process *proc;
	struct env *env;
	struct loop *control, *loops[MINI_LOOPS];
	struct shard *shards[MINI_LOOPS];
	struct fetch_home *homes[MINI_LOOPS];
	struct log_dirs *dirs;
	struct image *image;
	struct image *old_images[512]; /* requests under way may borrow them */
	int old_count;
	struct shard_host shard_host;
	struct replica_config config;
	int loading, deleted, missing;
	bool ready;
};

struct mini_partition { /* what the test's controller has decided */
	int32_t leader, leader_epoch, partition_epoch, min_isr;
	int32_t replicas[4], isr[4], fresh[4];
	int replica_count, isr_count, fresh_count;
};

struct mini_world {
	struct sim_world *w;
	struct mini b[4]; /* by id; 0 unused */
	int broker_count;
	int32_t controller_epoch;
	uint64_t seq;
	const char *topic;       /* "t" unless set before the first publish */
	struct mini_partition p; /* of the topic, all its partitions */
	struct mini_partition first; /* of its partition 0, once leader_epoch is more than p's */
	int partitions;          /* 1 unless set before the first publish; at most MINI_PARTITIONS */
	int32_t produce_to;      /* partition */
	struct uuid topic_id;
	bool accept_proposals;
	int proposals;
	int64_t lag_max_ms;
	void (*log_config)(struct log_config *cfg); /* over the defaults; may be NULL */
	void (*reap)(struct mini *b); /* before a dead broker's shards are freed; may be NULL */
	int64_t broker_epoch[4], boot_epoch[4]; /* as published; by id */
};

void mini_begin(struct mini_world *mw, uint64_t seed, int brokers);
void mini_end(struct mini_world *mw);
void mini_start(struct mini_world *mw, int id);  /* runs until it has loaded its directories */
void mini_kill(struct mini_world *mw, int id);
void mini_set(struct mini_partition *p, int32_t leader, const char *replicas, const char *isr, const char *fresh);
/* Tells the given brokers ("123") the state of p; every broker in `alive` is available. */
void mini_publish(struct mini_world *mw, const char *to, const char *alive);
void mini_remove_topic(struct mini_world *mw, const char *to);
void mini_run_ms(struct mini_world *mw, int64_t ms);
bool mini_wait(struct mini_world *mw, bool (*cond)(struct mini_world *mw, void *ctx), void *ctx, int64_t ms);

uint32_t mini_owner(struct mini_world *mw, struct mini *b);
struct partition *mini_partition(struct mini_world *mw, int id);
struct log *mini_log(struct mini_world *mw, int id);

/* One batch of `records` records. */
struct buf *mini_batch(int records, int value_bytes, int64_t producer_id, int16_t epoch, int32_t sequence, struct batch *ret_b);
struct mini_produce {
	struct produce_msg m;
	struct produce_part part;
	struct mini *b;
	bool done;
	int16_t error;
	int64_t base_offset, done_us;
};
/* From the control loop of broker `id`. */
void mini_produce(struct mini_world *mw, int id, struct mini_produce *p, int16_t acks, int32_t timeout_ms, int records);

struct mini_fetch {
	struct fetch_call c;
	struct kp_fetch_request req;
	struct kp_fetch_request_topics topic;
	struct kp_fetch_request_topics_partitions part, parts[4]; /* part: the first; parts: when topic.partitions says so */
	struct kp_fetch_request_forgotten_topics_data forget;
	int32_t forget_ids[4];
	struct arena arena;
	struct mini *b;
	uint32_t loop;
	bool done;
	int64_t began_us, done_us;
	int64_t bytes, high_watermark;
	int16_t error, top_error;
	int32_t session_id, partitions;
	int32_t order[8];          /* partitions of the answer */
	int64_t bytes_of[8];
	int32_t diverging_epoch;
	int64_t diverging_end;
};
void mini_fetch_init(struct mini_fetch *f, int64_t offset, int32_t max_wait_ms, int32_t min_bytes);
void mini_fetch(struct mini_world *mw, int id, uint32_t loop, struct mini_fetch *f);
void mini_fetch_fini(struct mini_fetch *f);
bool mini_fetch_run(struct mini_world *mw, int id, uint32_t loop, struct mini_fetch *f); /* and waits for it */
