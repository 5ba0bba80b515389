/* shard_priv.h: the inside of a shard, for brokerd/replica and the owner side of brokerd/fetch. Thread: the shard's loop. */
#pragma once

#include "brokerd/log/writeback.h"
#include "brokerd/replica/partition.h"
#include "brokerd/replica/peer.h"
#include "brokerd/replica/shard.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

struct shard {
	struct shard_init init;
	struct env *env;
	struct loop *loop;
	uint32_t idx;
	const struct replica_config *config;
	struct image *image; /* the newest seen */
	bool active, stopping;
	struct list starts_due, starts_asked; /* partitions whose log start is to be filed; is being filed */
	struct shard_starts starts;
	bool starts_out;
	bool applying; /* not all changes of that image are through */
	struct shard_listener listener; /* functions NULL: nobody */

	struct partition **buckets;
	uint32_t bucket_count, partition_count;
	struct list all, old;
	struct list to_create; /* struct partition, in order */
	uint32_t creating;     /* logs that are being made */

	/* produce */
	struct list deadlines; /* struct produce_state, by deadline */
	struct list park_order; /* struct produce_wait, by deadline */
	struct timer produce_timer;
	struct produce_wait *free_waits;
	uint32_t free_wait_count;
	/* questions (offsets.c) whose partition is about to open: struct parked_question, by deadline */
	struct list questions;
	struct timer questions_timer;
	struct deferred questions_look;
	/* DeleteRecords (delete.c) */
	struct list deletes; /* struct delete_msg that are open */
	struct timer delete_timer;
	bool acks01_suspended;
	int64_t acks01_suspended_ms;

	struct list fetchers;
	struct recv_budget *budget;
	struct writeback *writebacks; /* one per directory of init.dirs */
	uint32_t writeback_count;
	struct list proposing;
	struct timer proposing_timer, lag_timer, maintain_timer;
	struct partition *maintain_next;
	struct shard_order_msg *stop_order;
	size_t stop_rows_cap;

	/* statistics */
	uint64_t isr_shrinks, isr_expands, leader_changes, truncations, bytes_in, bytes_out, records_in;
};

/* table */
struct partition *shard_find(struct shard *s, struct slice topic, int32_t partition);
/* NULL too when what we have under the name is another topic (ids differ). */
struct partition *shard_find_topic(struct shard *s, const struct image_topic *t, int32_t partition);
struct partition *shard_add(struct shard *s, struct slice topic, const struct uuid *id, int32_t partition);
void shard_take_out(struct shard *s, struct partition *p); /* out of the table, into s->old */
/* A partition that had given up its name is gone: its successor may open now. */
void shard_name_free(struct shard *s, struct slice topic, int32_t partition);
bool shard_name_taken(const struct shard *s, const struct partition *p); /* an older one still has the directory name */
void shard_activate(struct shard *s);
/* Keeps the newest image. */
void shard_see_image(struct shard *s, struct image *im);
/* The partition as the message's image has it (I2): adopts it when it is newer, makes the entry when we should host it. */
struct partition *shard_adopt(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition);
/* A state from an image for a partition of ours, made if need be. */
void shard_apply_partition(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition);
struct log_dir *shard_pick_dir(struct shard *s);
struct writeback *shard_writeback(struct shard *s, const struct log_dir *dir); /* NULL: not one of ours */
void shard_partition_stopped(struct shard *s, struct partition *p, int err);
void shard_config_of(struct shard *s, const struct image *im, const struct image_topic *t, struct log_config *ret);
static inline int64_t shard_now_ms(const struct shard *s) { return loop_now_ms(s->loop); }

/* the host: posted to the control loop */
void shard_host_propose(struct shard *s, struct partition *p);
/* starts.c */
int64_t partition_filed_start(const struct partition *p); /* of an open log */
void starts_file(struct partition *p);                    /* its start was raised */
void shard_host_dir_failed(struct shard *s, struct log_dir *dir);
void shard_host_deleted(struct shard *s, const struct partition *p);
void shard_host_missing(struct shard *s, const struct partition *p);
void shard_watch_proposal(struct shard *s, struct partition *p);

/* offsets.c */
void offsets_init(struct shard *s);
void offsets_fini(struct shard *s);

#define PARK_MS 100          /* how long a request waits for a partition that is about to serve (B4, B7) */
#define PARK_OPENING_MS 2000 /* while its log is being made: the topic was promised to the client already */

/* delete.c */
void delete_init(struct shard *s);
void delete_fini(struct shard *s);
void delete_on_start(struct partition *p); /* a log start, ours or a follower's, or who is alive changed */
void delete_fail(struct partition *p, int16_t error);

/* produce.c */
void produce_init(struct shard *s);
void produce_fini(struct shard *s);
void produce_on_hw(struct partition *p);
void produce_fail(struct partition *p, int16_t error);  /* everything that waits for or is parked at the partition */
void produce_unpark(struct partition *p);                /* looks at what is parked again */
