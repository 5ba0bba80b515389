/* log.h: one partition's log in Kafka's on-disk format (facts/ondisk.md), byte for byte.
 *
 * Thread: a log belongs to one data loop. Opening and recovery run in a job (log_open_now) and hand the finished object over.
 * Positions: start offset <= high watermark <= end offset (LEO: below it everything is written) <= next offset (the next one to
 * be assigned; ahead of the LEO while appends are in flight). The high watermark is the replica layer's; it tells the log
 * (log_set_high_watermark) because retention, snapshots of LSO and checkpoints depend on it.
 * Failure: a failed write, sync or rename takes the whole log directory offline (log_dir.h), reported once through on_dir_failed; nothing
 * is retried. Lack of space is met before offsets are assigned (ERR_NOSPACE), or cut back to the last completed append.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/log/batch.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/uuid.h"
#include "common/env/fs.h"
#include "common/env/loop.h"

struct log;
struct log_dir;

#define LOG_CODEC_PRODUCER (-1)
struct log_config {
	int32_t segment_bytes, index_interval_bytes, segment_index_bytes, max_message_bytes;
	int64_t segment_ms, segment_jitter_ms, retention_ms, retention_bytes, file_delete_delay_ms;
	int64_t flush_messages, flush_ms;
	int64_t timestamp_before_max_ms, timestamp_after_max_ms;
	int64_t producer_id_expiration_ms;
	bool log_append_time, cleanup_delete, cleanup_compact;
	bool downconversion; /* message.downconversion.enable: not the log's, but of its readers */
	int8_t codec;        /* compression.type: an enum codec; LOG_CODEC_PRODUCER: as it was sent. Of those who write to a leader, as are the levels */
	int32_t gzip_level, lz4_level, zstd_level;
};
void log_config_defaults(struct log_config *cfg); /* Kafka 3.9's */
int32_t log_config_level(const struct log_config *cfg, int8_t codec); /* for compress.h */

/* ---- opening (job side) ---- */
struct log_open {
	struct env *env;
	struct log_dir *dir;
	const char *topic;
	int32_t partition;
	struct uuid topic_id;      /* zero: unknown (old topic); else must match partition.metadata: ERR_BADVERSION */
	struct log_config config;
	bool create;               /* make an empty log when there is none (protocol.md E1: only when the delta says so); else ERR_NOENT */
	bool clean;                /* the directory was shut down cleanly: trust everything */
	int64_t recovery_point;    /* from the checkpoint; 0 if unknown */
	int64_t log_start_offset;  /* from the checkpoint; -1 if none */
	int64_t high_watermark;    /* from the checkpoint; -1 if none */
	int64_t now_ms;
	_Atomic int64_t *progress_bytes; /* scanned so far, for /health; may be NULL */
};
/* Loads or recovers one partition directory: decision table in recovery.c. Blocking: inside a job. LOG_ERR_OLD_FORMAT: magic 0/1 inside: left untouched. */
MUST_CHECK int log_open_now(const struct log_open *o, struct log **ret_log);

/* ---- owner side ---- */
struct log_events {
	void (*on_end_moved)(void *ctx);              /* LEO grew (appends completed); once per turn at most */
	void (*on_start_moved)(void *ctx);            /* retention or delete-records moved the start */
	void (*on_synced)(void *ctx);                 /* log_synced_offset grew */
	void (*on_dir_failed)(void *ctx, int err);
	void *ctx;
};
/* Before any other owner call. wb: the owner's for the log's directory, alive as long as the log; NULL: no budget for what is not written back. */
struct writeback;
void log_attach(struct log *log, struct loop *owner, struct writeback *wb, const struct log_events *ev);
/* Numbers for the checkpoints are read before: afterwards the log is gone (clean: its recovery point is its end offset). No read and no append
 * may be submitted after it. Flushes, trims indexes, writes the snapshot at the end (clean shutdown) in a job, then frees. done may be NULL. */
void log_close(struct log *log, bool clean, void (*done)(void *ctx, int err), void *ctx);
/* Renames the directory to TOPIC-P.UUID-delete and removes it in the background; readers keep their files. Frees the log. */
void log_delete(struct log *log, void (*done)(void *ctx, int err), void *ctx);
void log_reconfigure(struct log *log, const struct log_config *cfg);
const struct log_config *log_get_config(const struct log *log);

int64_t log_start_offset(const struct log *log);
int64_t log_end_offset(const struct log *log);
int64_t log_next_offset(const struct log *log);
int64_t log_synced_offset(const struct log *log); /* below it everything survives a power cut */
uint64_t log_bytes(const struct log *log);
uint32_t log_segments(const struct log *log);
struct log_dir *log_get_dir(const struct log *log);
int64_t log_high_watermark(const struct log *log);   /* as last set; after opening: the checkpoint's, within the log */
int64_t log_first_segment_base(const struct log *log); /* the log-start checkpoint lists only logs that start above it */
const struct uuid *log_topic_id(const struct log *log); /* of partition.metadata; zero: none */
/* LSO: first offset of the oldest transaction that is open, or whose marker is not below the high watermark; at most the high watermark. */
int64_t log_last_stable_offset(const struct log *log);
void log_set_high_watermark(struct log *log, int64_t high_watermark);

/* Leader epochs (facts/replication.md 4). */
int32_t log_latest_epoch(const struct log *log);             /* -1 none */
void log_begin_epoch(struct log *log, int32_t epoch);        /* on becoming leader: entry (epoch, next offset); in its file once it has a record */
/* OffsetForLeaderEpoch's lookup; *ret_epoch -1 and *ret_end -1 when undefined. */
void log_epoch_end(const struct log *log, int32_t epoch, int32_t *ret_epoch, int64_t *ret_end);
int32_t log_epoch_at(const struct log *log, int64_t offset); /* -1 unknown */

/* ---- append ---- */
enum log_origin { LOG_ORIGIN_CLIENT, LOG_ORIGIN_COORDINATOR, LOG_ORIGIN_REPLICA };
/* One submitted append. Owned by the caller until done runs. Completions of one log come in order. */
struct log_append {
	/* in */
	enum log_origin origin;
	struct buf *buf;       /* one reference is taken over; client batches are patched in place */
	struct slice records;  /* within buf. CLIENT/COORDINATOR: one validated batch. REPLICA: whole batches, contiguous, offsets and epochs kept */
	struct batch batch;    /* CLIENT/COORDINATOR: as validated */
	int64_t max_timestamp; /* CLIENT: from the verdict */
	int32_t leader_epoch;  /* CLIENT/COORDINATOR */
	int64_t now_ms;
	void (*done)(struct log_append *a);
	void *ctx;
	/* out, valid in done() */
	int err;               /* 0, enum log_err, ERR_NOSPACE, LOG_ERR_OFFLINE */
	bool duplicate;        /* idempotent retry: offsets are the original's */
	int64_t base_offset, last_offset;
	int64_t log_append_time_ms; /* -1 with CreateTime */
	/* private */
	struct list link;
	void *priv[2];
};
/* Checks producer state, assigns offsets, rolls when due, writes. done() never runs inside the call, even for refusals. */
void log_append(struct log *log, struct log_append *a);

/* ---- read ---- */
struct log_aborted { int64_t producer_id, first_offset; };
/* Owned by the caller until done runs. Resolves an offset to a file range; the bytes themselves are not read. */
struct log_read {
	/* in */
	int64_t offset;
	int64_t offset_max;    /* exclusive: LEO for followers, HW or LSO for consumers; batches at or above it are not returned */
	uint32_t bytes_max;
	bool whole_first;      /* return the first batch even if larger than bytes_max */
	bool want_aborted;     /* read_committed */
	struct arena *arena;   /* for aborted[] */
	void (*done)(struct log_read *r);
	void *ctx;
	/* out */
	int err;               /* 0, LOG_ERR_OFFSET_OUT_OF_RANGE, LOG_ERR_OFFLINE, ERR_IO, ERR_CORRUPT (stored bytes are no batches) */
	struct file *file;     /* one reference for the caller; NULL when there is nothing to read */
	uint64_t pos, len;
	uint32_t generation;
	int64_t next_offset;   /* after the last batch in the range */
	bool older_segment;    /* the range ends because its segment ends, although offset_max is further */
	struct log_aborted *aborted;
	int32_t aborted_count;
	/* private */
	struct list link;
	void *priv[8];
};
void log_read(struct log *log, struct log_read *r);
/* Exact bytes that a read of [offset, offset_max) would have available at least (cheap estimate from segment positions, for min_bytes): never more than there is. */
uint64_t log_available_bytes(const struct log *log, int64_t offset, int64_t offset_max, uint64_t cap);

struct log_time_query {
	int64_t timestamp;     /* first record with timestamp >= this; -3: record of the largest timestamp */
	int64_t offset_max;
	void (*done)(struct log_time_query *q);
	void *ctx;
	int err;
	int64_t ret_timestamp, ret_offset; /* -1, -1 none */
	int32_t ret_epoch;
	struct list link;
	void *priv[8];
};
void log_find_time(struct log *log, struct log_time_query *q);

/* ---- maintenance: each keeps order with appends ---- */
/* Cuts to `offset` (rounded up to a batch start never: batches that hold it go entirely); producer state and epochs follow. Readers of cut bytes are aborted by generation. */
/* The recovery point goes down with it: the owner rewrites the recovery-point checkpoint soon, else a later power cut could find one that is
 * above bytes that were written after the truncation. */
void log_truncate(struct log *log, int64_t offset, void (*done)(void *ctx, int err), void *ctx);
/* Empties the log and starts at `offset`. */
void log_truncate_fully(struct log *log, int64_t offset, void (*done)(void *ctx, int err), void *ctx);
/* Moves the start (DeleteRecords, follower: leader's start); bounded by the high watermark by the caller. */
void log_advance_start(struct log *log, int64_t offset);
void log_sync(struct log *log, void (*done)(void *ctx, int err), void *ctx); /* flush; moves synced offset and recovery point */
/* Retention by size and time, file deletion, roll by time, producer expiry: called on a timer by the owner. */
void log_maintain(struct log *log, int64_t now_ms);
int64_t log_recovery_point(const struct log *log);

struct log_producer {
	int64_t producer_id, last_timestamp, current_txn_first_offset;
	int16_t epoch;
	int32_t last_sequence, coordinator_epoch;
	int64_t last_offset;
};
uint32_t log_producers(const struct log *log, struct log_producer *out, uint32_t cap); /* count; copies up to cap */
