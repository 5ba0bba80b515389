/* shard.h: everything that one data loop owns: its partitions, their delayed requests, its fetchers; and the messages by which others ask it.
 *
 * Thread: a shard belongs to its loop. Everybody else posts one of the messages below (one per shard and request, never one per partition);
 * the message returns to the sender as the reply (protocol.md I4). A message carries the image it was made with; an owner that is behind adopts
 * it first (I2).
 * Kafka error codes appear in the out fields: replication semantics are Kafka's (facts/replication.md).
 */
#pragma once

#include "brokerd/log/log.h"
#include "brokerd/log/log_dir.h"
#include "brokerd/meta/image.h"
#include "common/env/loop.h"

struct shard;
struct replica_config { /* broker-wide, Kafka's keys */
	int32_t broker_id;
	int64_t replica_lag_time_max_ms, replica_fetch_wait_max_ms, replica_fetch_backoff_ms;
	int32_t replica_fetch_min_bytes, replica_fetch_max_bytes, replica_fetch_response_max_bytes, replica_socket_receive_buffer_bytes;
	int32_t fetch_max_bytes;
	int64_t hw_checkpoint_interval_ms, retention_check_interval_ms, flush_check_interval_ms;
	int64_t receive_budget_bytes; /* followers' buffers, broker-wide (I7) */
	int64_t dirty_budget_bytes; /* of each log directory: written and not asked to be written back (G3) */
	const char *inter_broker_listener;
};

struct shard_starts {
	struct msg msg;
	struct shard *shard;
	void *priv[4]; /* the control loop's */
};
void shard_starts_filed(struct shard_starts *q);

/* What a shard needs from the control loop. All are posted: the functions run on the CONTROL loop (the shard posts a message that calls them). */
struct shard_host {
	void *ctx;
	/* An ISR change that a leader proposes (B2, C6). Ends by a state with a higher partition epoch (image), or by shard_proposal_rejected. */
	void (*propose)(void *ctx, const struct image_topic *topic, int32_t partition, int32_t leader_epoch, int32_t partition_epoch,
		const int32_t *isr, int32_t isr_count, int8_t recovery_state);
	/* A log directory failed; may be said more than once. */
	void (*dir_failed)(void *ctx, struct log_dir *dir);
	/* A replica of a removed topic is gone from disk (K1). Runs once per replica. */
	void (*replica_deleted)(void *ctx, const struct uuid *topic_id, const char *topic);
	/* The image wants a replica here that is not on disk and may not be made empty (E1). Said once per replica; may be NULL. */
	void (*replica_missing)(void *ctx, const struct uuid *topic_id, const char *topic, int32_t partition);
	/* Log starts that followers took over have to stand in the checkpoint files: then shard_starts_filed(q). One question a shard at a time.
	 * NULL: they need not. */
	void (*file_starts)(void *ctx, struct shard_starts *q);
};

struct shard_init {
	struct env *env;
	struct loop *loop, *control;
	uint32_t idx, shard_count;
	const struct replica_config *config; /* lives as long as the shard */
	const struct shard_host *host;
	struct log_dirs *dirs;               /* set before the first load; NULL until then */
	/* topic-level log config from an image topic (overrides over the broker's values); on the shard's loop. NULL: Kafka's defaults. Not called
	 * for a directory that no image names yet: it opens with defaults and is reconfigured by the first state. */
	void (*log_config)(void *ctx, const struct image *im, const struct image_topic *t, struct log_config *ret_cfg);
	void *log_config_ctx;
};
struct shard *shard_new(const struct shard_init *init); /* on any thread before the loop serves; activates on its loop by the first message */
void shard_set_dirs(struct shard *s, struct log_dirs *dirs); /* before the first load is posted, when init.dirs was NULL */
void shard_free(struct shard *s); /* after its loop stopped, or when a simulated process died */

/* Somebody on the shard's loop who wants to know which partitions are led here (the group coordinator). Runs inside of the shard's steps: it may
 * take notes, post messages and arm timers, but calls nothing of the shard. led: since leader epoch `leader_epoch`, in which the log began at
 * `end` (the LEO at the election); again for each new epoch. lost: for whatever reason, shutdown and deletion included. */
struct shard_listener {
	void *ctx;
	void (*led)(void *ctx, struct slice topic, int32_t partition, int32_t leader_epoch, int64_t end);
	void (*lost)(void *ctx, struct slice topic, int32_t partition);
};
void shard_set_listener(struct shard *s, const struct shard_listener *listener); /* before the loop serves; one at most */
/* For the same: the log of a partition that is led at exactly this epoch, else NULL. Good for this turn. */
struct log *shard_led_log(struct shard *s, struct slice topic, int32_t partition, int32_t leader_epoch);
/* Of the same; -1: not led. */
int64_t shard_led_high_watermark(struct shard *s, struct slice topic, int32_t partition, int32_t leader_epoch);
/* Adopts the image of a message when it is newer (I2). True when the partition is led here as far as is known now. */
bool shard_leads(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition);
/* After it said no: the image names this broker, whose log is about to be opened or made; it leads in a moment. */
bool shard_leads_soon(struct shard *s, const struct image_topic *t, int32_t partition);
struct image *shard_image(const struct shard *s); /* the newest seen, borrowed; NULL before the first */

/* enum log_err and enum err -> Kafka's code, for shards and the API layer alike. */
int16_t shard_log_error(int err);

/* ---- life ---- */
struct shard_load { /* start: open one directory found on disk, assigned or not */
	struct msg msg;          /* deliver = shard_on_load */
	struct shard *shard;
	struct log_dir *dir;
	const struct log_found *found;
	_Atomic int64_t *progress_bytes;
	void (*done)(struct shard_load *m); /* on the sender's loop */
	void *ctx;
	int err;                 /* out; LOG_ERR_OLD_FORMAT etc. keep the partition known but unserved */
	int32_t last_epoch;      /* out, for the inventory */
	int64_t log_end_offset;
};
void shard_post_load(struct shard_load *m);

struct shard_apply { /* a new image and those of its changes that this shard owns */
	struct msg msg;
	struct shard *shard;
	struct image *image;     /* one reference, taken over */
	struct image_change *changes; /* their topics are held by the sender until done */
	uint32_t change_count;
	bool more;               /* further changes of the same image follow in a message of their own: a turn has its bounds (G3) */
	bool configs_changed, brokers_changed; /* with the last of them */
	void (*done)(struct shard_apply *m);
	void *ctx;
};
void shard_post_apply(struct shard_apply *m);

struct shard_verdict { /* the controller rejected a proposal: names exactly its current two epochs (C6) */
	struct msg msg;
	struct shard *shard;
	struct uuid topic_id;
	char *topic;
	int32_t partition, leader_epoch, partition_epoch;
	int16_t error;
	void (*done)(struct shard_verdict *m);
	void *ctx;
};
void shard_post_verdict(struct shard_verdict *m);

enum shard_order { /* sent by the control loop */
	SHARD_SUSPEND_ACKS01, /* our loop slept or the controller link is gone (B4, B5): acks 0/1 wait or are refused until ... */
	SHARD_RESUME_ACKS01,
	SHARD_STOP,           /* clean stop: fetchers stop, logs are flushed and closed */
	SHARD_CHECKPOINT,     /* report numbers for the checkpoint files */
	SHARD_STATS,
	SHARD_LOST,           /* name the replicas on directories that failed; these serve nothing from now on */
};
struct shard_stats {
	uint32_t partitions, led, under_replicated, offline, under_min_isr, at_old_format, stray;
	uint64_t bytes;
	int64_t max_lag;      /* records, of followed partitions */
	uint64_t isr_shrinks, isr_expands, leader_changes, truncations;
	uint64_t bytes_in, bytes_out, records_in;
	int64_t oldest_disk_op_us; /* age */
};
/* Numbers of one topic on one loop; counters since the start of the process. */
struct shard_topic_row {
	char *topic;
	uint64_t bytes_in, records_in, bytes_out, records_out, log_bytes;
	uint32_t partitions, led, under_replicated, offline;
	int64_t max_lag;
};
#define SHARD_TOPIC_ROWS_MAX 1000 /* topics that are told apart; the rest count in the totals alone */
struct shard_checkpoint_row {
	char *topic;
	int32_t partition;
	struct log_dir *dir;
	int64_t recovery_point, log_start_offset, high_watermark;
	bool log_start_past_first_segment;
	struct uuid topic_id;     /* these three for the inventory of a hello (protocol.md D1) */
	int32_t last_epoch;
	int64_t log_end_offset;
};
struct shard_order_msg {
	struct msg msg;
	struct shard *shard;
	enum shard_order order;
	void (*done)(struct shard_order_msg *m);
	void *ctx;
	int err;
	struct shard_stats stats;           /* SHARD_STATS */
	bool want_topics;                   /* SHARD_STATS: also by topic, sorted by name */
	struct shard_topic_row *topics;     /* mem_free rows and names */
	uint32_t topic_count;
	struct shard_checkpoint_row *rows;  /* SHARD_CHECKPOINT, SHARD_STOP, SHARD_LOST: mem_free rows and topics */
	uint32_t row_count;
};
void shard_post_order(struct shard_order_msg *m);

/* ---- produce ---- */
struct produce_part {
	/* in */
	const struct image_topic *topic; /* of the message's image */
	int32_t partition;
	struct buf *buf;                 /* one reference, taken over; records lie in it and are patched in place */
	struct slice records;
	struct batch batch;
	int64_t max_timestamp;
	/* out */
	int16_t error;
	int64_t base_offset, log_append_time_ms, log_start_offset;
	int32_t leader_id, leader_epoch; /* hint with NOT_LEADER_OR_FOLLOWER (KIP-951), else -1 */
	struct produce_part *next;       /* shard's */
	void *priv[4];
};
struct produce_msg {
	struct msg msg;
	struct shard *shard;
	struct image *image;             /* one reference, dropped by the sender after done */
	enum log_origin origin;          /* CLIENT, or COORDINATOR for the broker's own batches */
	int16_t acks;
	int32_t timeout_ms;
	struct produce_part *parts;
	uint32_t count;
	void (*done)(struct produce_msg *m); /* on the sender's loop, when acks is satisfied for every part or the timeout is over */
	void *ctx;
	void *priv[16];
};
void shard_post_produce(struct produce_msg *m);

/* ---- DeleteRecords ---- */
struct delete_part {
	/* in */
	const struct image_topic *topic; /* of the message's image */
	int32_t partition;
	int64_t offset;        /* the first one to stay; -1: the high watermark */
	/* out */
	int16_t error;
	int64_t low_watermark; /* lowest log start among live replicas; -1 with an error */
	/* shard's */
	int64_t need;
	struct delete_msg *m;
	struct list link;
};
struct delete_msg {
	struct msg msg;
	struct shard *shard;
	struct image *image;             /* one reference, dropped by the sender after done */
	int32_t timeout_ms;
	struct delete_part *parts;
	uint32_t count;
	void (*done)(struct delete_msg *m); /* when all live replicas have moved their starts, or the timeout is over */
	void *ctx;
	/* shard's */
	uint32_t left;
	int64_t deadline_us;
	struct list open_link;
};
void shard_post_delete(struct delete_msg *m);

/* ---- about the logs that lie here ---- */
struct logs_row {
	struct slice topic;
	int32_t partition;
	const struct log_dir *dir;
	uint64_t bytes;
	int64_t lag;           /* high watermark above the end; -1: no replica of ours any more */
};
struct logs_msg {
	struct msg msg;
	struct shard *shard;
	void (*done)(struct logs_msg *m);
	void *ctx;
	/* out, in arena: the sender ends it */
	struct arena arena;
	struct logs_row *rows;
	uint32_t count;
};
void shard_post_logs(struct logs_msg *m);

struct producers_question {
	const struct image_topic *topic; /* in */
	int32_t partition;
	int16_t error;                   /* out */
	struct log_producer *rows;
	uint32_t count;
};
struct producers_msg {
	struct msg msg;
	struct shard *shard;
	struct image *image;             /* one reference, dropped by the sender after done */
	struct producers_question *questions;
	uint32_t question_count;
	void (*done)(struct producers_msg *m);
	void *ctx;
	struct arena arena;              /* of the rows: the sender ends it */
};
void shard_post_producers(struct producers_msg *m);

/* ---- small questions: ListOffsets, OffsetForLeaderEpoch ---- */
struct offset_question {
	/* in */
	const struct image_topic *topic;
	int32_t partition, current_leader_epoch; /* -1: no check */
	enum { ASK_TIME, ASK_EPOCH_END } kind;
	int64_t timestamp;       /* ASK_TIME: also -1 latest, -2 earliest, -3 max timestamp, -4 earliest local, -5 latest tiered (answered -1) */
	bool read_committed;
	bool any_replica;        /* replica id -2 */
	bool from_follower;
	int32_t epoch;           /* ASK_EPOCH_END */
	/* out */
	int16_t error;
	int64_t ret_timestamp, ret_offset;
	int32_t ret_epoch;
	void *priv[4];
};
struct offsets_msg {
	struct msg msg;
	struct shard *shard;
	struct image *image;
	struct offset_question *questions;
	uint32_t count;
	void (*done)(struct offsets_msg *m);
	void *ctx;
	uint32_t left; /* shard's */
};
void shard_post_offsets(struct offsets_msg *m);
