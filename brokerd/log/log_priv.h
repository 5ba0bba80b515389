/* log_priv.h: the inside of a log, for the files of brokerd/log and their tests.
 *
 * How the parts fit:
 *   log.c        submission (checks, offsets, roll decision), the pieces queue, one gathered write in flight, completion, syncs
 *   log_ops.c    what must not overlap with appends: truncation, close, delete (struct log_op); one at a time, in order with appends
 *   log_read.c   offset -> file range;  log_time.c: timestamp -> offset (in a job)
 *   segment.c    one segment: its files, index writing, sealing;  index.c: the sparse index in memory
 *   retention.c  deletion of old segments, renaming, the timed work
 *   recovery.c   loading a directory: decision table;  scan.c: walking batches of a file in a job
 *
 * Order of things at an append: state that decides about later appends (producer state, epochs, next_offset, the segment) moves at
 * submission; what readers see (end_offset, segment->bytes, index, ring) moves at completion. When a write fails for lack of
 * space, everything that was submitted and not completed is refused and the log is cut back to end_offset, which brings the
 * submission side back in line (log_ops.c, LOG_OP_CUT_BACK).
 */
#pragma once

#include "brokerd/log/epochs.h"
#include "brokerd/log/index.h"
#include "brokerd/log/log.h"
#include "brokerd/log/log_dir.h"
#include "brokerd/log/producers.h"
#include "brokerd/log/writeback.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define SEGMENT_NAME_BYTES 40 /* 20 digits, suffixes */
enum segment_file { SEG_LOG, SEG_INDEX, SEG_TIME, SEG_TXN, SEG_FILES };
extern const char *const segment_suffix[SEG_FILES]; /* ".log", ... */

/* Index entries that are not in the files yet: the end of what index_bytes and time_bytes count. */
#define INDEX_TAIL_ENTRIES 32
struct index_tail {
	uint16_t index_len, time_len; /* bytes */
	uint8_t index[INDEX_TAIL_ENTRIES * 8];
	uint8_t time[INDEX_TAIL_ENTRIES * 12];
};

/* One segment. Owned by the log; readers hold references while they scan. Loop side only, unless a job made it and has not handed it over. */
struct segment {
	uint32_t refs;
	int64_t base_offset;
	int64_t next_offset;         /* behind the last batch written; base_offset when empty */
	uint64_t bytes;              /* written */
	uint64_t bytes_submitted;    /* and in flight */
	uint64_t bytes_written_back; /* writeback was asked up to here */
	struct writeback *writeback; /* that counts bytes_dirty of it; NULL: nothing is counted */
	struct list dirty_link;
	uint64_t bytes_dirty;
	int64_t max_timestamp, max_timestamp_offset; /* of what is written; -1 */
	int64_t first_timestamp;     /* max timestamp of the first batch; -1 empty */
	int64_t created_ms, mtime_ms, used_ms;
	struct file *log_file, *index_file, *time_file; /* the latter two only while it is active or not synced */
	uint64_t index_bytes, time_bytes; /* with what is in tail */
	struct index_tail *tail;     /* NULL: all of it is written */
	int64_t time_last;           /* last timestamp in .timeindex; -1 */
	uint64_t bytes_since_index;
	struct index index;          /* when index_loaded */
	struct producer_aborted *aborted; /* .txnindex */
	size_t aborted_count, aborted_cap;
	bool index_loaded, loading;
	bool ready;                  /* its files exist */
	bool unsynced;               /* written since the last sync began */
	struct buf *snapshot;        /* producer state at base_offset, until its files are made */
	size_t snapshot_len;
	bool gone;                   /* out of the log: readers give up or go on with their file */
	struct list waiters;         /* struct log_read that wait for loading */
};
struct segment *segment_new(int64_t base_offset, int64_t now_ms);
static inline struct segment *segment_ref(struct segment *s) { s->refs++; return s; }
void segment_unref(struct segment *s);
void segment_name(char out[SEGMENT_NAME_BYTES], int64_t base_offset, const char *suffix);
/* "DIR/00..0SUFFIX" + more; caller frees. */
char *segment_path(const char *dir, int64_t base_offset, const char *suffix, const char *more);
char *path_join(const char *dir, const char *name);
/* True and the number if name is 20 digits + suffix. */
bool segment_name_parse(const char *name, const char *suffix, int64_t *ret_base);
void segment_add_aborted(struct segment *s, const struct producer_aborted *a);
#define TXN_ENTRY_BYTES 34
void txn_entry_put(uint8_t out[TXN_ENTRY_BYTES], const struct producer_aborted *a);
bool txn_entry_get(const uint8_t in[TXN_ENTRY_BYTES], struct producer_aborted *ret_a);

/* ---- scanning a segment's bytes in a job (scan.c) ---- */
struct scan {
	struct file *file;      /* borrowed */
	uint64_t pos, bytes;    /* next batch; end */
	int64_t offset_min;     /* the next batch must not begin below */
	bool check_crc;
	uint8_t *buf;
	size_t cap, have;       /* buf holds [buf_pos, buf_pos + have) of the file */
	uint64_t buf_pos;
	_Atomic int64_t *progress;
};
void scan_init(struct scan *sc, struct file *f, uint64_t pos, uint64_t bytes, int64_t offset_min, bool check_crc);
void scan_fini(struct scan *sc);
/* 1: *ret_b is the batch at *ret_pos; 0: end, nothing left; ERR_CORRUPT: what is at sc->pos is no batch (torn, garbage, wrong CRC,
 * lower offset); LOG_ERR_OLD_FORMAT: a whole magic 0/1 message; else an I/O error. */
MUST_CHECK int scan_next(struct scan *sc, struct batch *ret_b, uint64_t *ret_pos);
/* The bytes of the batch that scan_next just gave; valid until the next call. Costs memory if the batch is larger than the window. */
MUST_CHECK int scan_raw(struct scan *sc, const struct batch *b, uint64_t pos, struct slice *ret_raw);

/* ---- loading (recovery.c) ---- */
struct log_core { /* what a log is made of, as found on disk */
	struct segment **segs;
	size_t seg_count, seg_cap;
	struct producers *producers;
	struct epochs epochs;
	int64_t *snapshots;      /* offsets of snapshot files, ascending */
	size_t snapshot_count, snapshot_cap;
	int64_t start_offset, end_offset, recovery_point;
	struct uuid topic_id;
	bool as_closed;          /* but for leader epochs, which are written when they change, the directory is what a clean stop left */
};
void log_core_fini(struct log_core *c);
/* `path` is the partition directory. */
MUST_CHECK int log_load_now(const struct log_open *o, const char *path, struct log_core *ret_core);
/* Makes an empty segment's files (and nothing durable yet). */
MUST_CHECK int segment_create_now(struct env *env, const char *path, struct segment *s);
/* These two are durable once the caller synced the directory. */
MUST_CHECK int snapshot_write_now(struct env *env, const char *path, int64_t offset, const struct producers *ps);
MUST_CHECK int epochs_write_now(struct env *env, const char *path, const struct epochs *e);
/* Removes all files of a segment, the log last; a name that is not there is fine. */
MUST_CHECK int segment_unlink_now(struct env *env, const char *path, int64_t base_offset, const char *more);
/* Brings .index, .timeindex and .txnindex of an uncut segment in line with new_end (batches at or above it are gone). */
MUST_CHECK int segment_cut_now(struct env *env, const char *path, int64_t base_offset, struct file *log_file, int64_t new_end, uint64_t new_bytes);
int remove_tree_now(struct env *env, const char *path);

/* The decision table of recovery: what to do with a segment. */
struct recovery_case {
	bool clean;        /* the directory was shut down cleanly */
	bool flushed;      /* the segment ends at or below the recovery point */
	bool indexes_ok;   /* present and plausible */
	bool last;
};
enum recovery_step { RECOVERY_TRUST, RECOVERY_TAIL, RECOVERY_SCAN };
enum recovery_step recovery_first(const struct recovery_case *rc);
enum recovery_found { FOUND_WHOLE, FOUND_DAMAGED, FOUND_OLD_FORMAT, FOUND_GAP /* begins above the end of the one before */ };
enum recovery_verdict {
	RECOVERY_KEEP,     /* indexes as they are */
	RECOVERY_REBUILD,  /* write the indexes anew */
	RECOVERY_RESCAN,   /* the tail of a clean log is damaged: scan all of it */
	RECOVERY_CUT,      /* cut at the first bad byte, drop later segments */
	RECOVERY_DROP,     /* drop this one and later ones */
	RECOVERY_REFUSE,   /* damage where everything was said to be safe: leave it untouched, ERR_CORRUPT */
	RECOVERY_REFUSE_OLD,
};
enum recovery_verdict recovery_then(const struct recovery_case *rc, enum recovery_step step, enum recovery_found found, bool compacted);

/* ---- the log ---- */

/* A run of bytes of one append that goes into one segment. Pooled. */
struct piece {
	struct list link;
	struct log_append *a;
	struct segment *seg;     /* NULL: nothing to write (refused, duplicate) */
	uint64_t pos;
	size_t from, len;        /* within a->records */
	int64_t next_offset;     /* LEO after it */
	bool last;               /* of its append */
};

struct ring_entry {
	int64_t base_offset, next_offset;
	uint64_t pos;
	uint32_t bytes;
};
#define RING_ENTRIES 128
#define HINTS 8
struct read_hint {
	int64_t offset, base_offset; /* the batch that holds `offset` begins at pos of the segment with this base; -1 free */
	uint64_t pos;
};

enum log_op_kind { LOG_OP_TRUNCATE, LOG_OP_TRUNCATE_FULLY, LOG_OP_CUT_BACK, LOG_OP_CLOSE, LOG_OP_DELETE };
struct log_op {
	struct list link;
	struct job job;
	struct log *log;
	enum log_op_kind kind;
	int64_t offset;
	bool clean, sealed;
	void (*done)(void *ctx, int err);
	void *ctx;
	/* of the job */
	int err;
	struct log_open open;
	char *path, *new_path;
	struct log_core core;
	bool have_core;
	struct segment **segs;   /* referenced */
	size_t seg_count;
	struct buf *snapshot;
	size_t snapshot_len;
	struct epochs epochs;    /* as it is before the cut */
};

/* Background work that must be over before an op runs, or before a sync counts. */
struct side {
	struct job job;
	struct log *log;
	void (*run)(struct side *s);
	void (*finish)(struct side *s);
	int err;
	struct env *env;
	char *path;              /* partition directory */
	int64_t base_offset;
	struct buf *bytes;
	size_t len;
	uint64_t pos;
	struct segment *seg;
	struct segment **segs;   /* referenced */
	size_t count;
	int64_t *offsets;
	size_t offset_count;
	int64_t due_ms;
	struct list link;
};

struct aborted_due { /* an abort marker that is submitted */
	struct list link;
	struct segment *seg;
	struct producer_aborted a;
};

enum { EV_END = 1, EV_START = 2, EV_SYNCED = 4, EV_FAILED = 8 };

struct log {
	struct env *env;
	struct loop *loop;
	struct log_events ev;
	struct log_dir *dir;
	struct writeback *writeback; /* the loop's in dir; NULL: no budget */
	char *topic, *path;
	int32_t partition;
	struct uuid topic_id;
	struct log_config cfg;
	int64_t jitter_ms;
	int fail_err;            /* not 0: the directory failed */

	struct log_core c;       /* c.segs' last one takes appends; c.end_offset is the LEO; c.recovery_point the synced offset */
	int64_t next_offset, high_watermark;
	int64_t flushed_ms;

	/* appends */
	struct list parked;      /* struct log_append or struct log_op (tagged) that wait for an op to be over */
	struct list pieces;      /* struct piece, in order */
	struct list free_pieces;
	struct file_op write_op;
	struct segment *write_seg;
	struct list writing;     /* pieces of the write in flight */
	struct deferred pump;
	bool write_busy, create_busy;
	bool space_out;          /* a write found the disk full: see log_out_of_space */
	struct list unsynced;    /* struct log_append that are written and wait for a sync */
	struct list aborted_due;

	/* syncs */
	struct file_op sync_op;
	struct file **sync_files;
	size_t sync_count, sync_cap, sync_next;
	struct segment **sync_segs; /* whose index files can be closed afterwards; referenced */
	size_t sync_seg_count, sync_seg_cap;
	int64_t sync_target;
	bool sync_busy, sync_waits, sync_wanted;
	struct list sync_waiters; /* struct sync_waiter */
	struct list sync_running; /* those whom the running round will satisfy */

	/* epochs file */
	bool epochs_dirty, epochs_busy;
	bool epochs_unwritten;   /* one has begun and has no record yet */
	uint32_t sides;          /* background jobs that run */
	struct list to_delete;   /* struct side: renamed segments that wait for file.delete.delay.ms */

	/* ops */
	struct log_op *op;       /* running */
	bool op_started, freeing;

	/* reading */
	struct ring_entry *ring;
	const struct segment *ring_seg; /* whose batches the ring holds: one of c.segs */
	uint32_t ring_head, ring_count; /* newest at head - 1 */
	struct read_hint hints[HINTS];
	uint32_t hint_next;
	struct list reads_parked; /* struct log_read that came while a truncation runs */
	struct list reads_done;  /* struct log_read: done() at the end of the turn */
	struct list free_scans;
	struct deferred read_pump;
	uint32_t reads_busy;     /* walks, loads, time queries under way: the log stays as long */
	uint32_t cut_generation; /* counts truncations: scans start again */

	struct deferred events;
	uint32_t events_due;
};

static inline struct segment *log_active(const struct log *log) { return log->c.segs[log->c.seg_count - 1]; }
/* Tags of what sits in log->parked, in log_append.priv[0]. */
extern char log_parked_op_tag;

void log_fail(struct log *log, int err);
void log_events_flush(struct log *log);
void log_reads_deliver(void *ctx);
void log_event_due(struct log *log, uint32_t ev);
void log_pump(struct log *log);            /* starts what can start, at the end of the turn */
void log_submit(struct log *log, struct log_append *a);
void log_write_epochs(struct log *log);
void log_sync_wanted(struct log *log);
void log_sync_try(struct log *log);
void log_side_start(struct log *log, struct side *s, enum job_class cls);
void log_side_free(struct side *s);
void log_set_core(struct log *log, struct log_core *c);
/* index of the segment that holds offset; seg_count if none */
size_t log_find_segment(const struct log *log, int64_t offset);
void log_ring_reset(struct log *log);
void log_ring_push(struct log *log, const struct segment *seg, const struct batch *b, uint64_t pos);
void log_refuse_all(struct log *log, int err);
void log_out_of_space(struct log *log);
void log_cut_back(struct log *log);
void log_remove_directory(struct loop *loop, const char *path);
struct segment *log_roll(struct log *log, int64_t base_offset, int64_t now_ms);
void log_create_active(struct log *log);
void log_scans_free(struct log *log);
void log_free_now(struct log *log);
/* ops */
void log_op_submit(struct log *log, struct log_op *op);
void log_op_try(struct log *log);
bool log_quiet(const struct log *log);
/* segments on the owner side */
void segment_written(struct log *log, struct segment *s, const struct batch *b, uint64_t pos);
void segment_seal(struct log *log, struct segment *s);
void segment_flush_tail(struct log *log, struct segment *s); /* submits what the index files lack */
bool segment_index_full(const struct segment *s, const struct log_config *cfg);
void log_delete_segments(struct log *log, size_t count);
void log_reads_unpark(struct log *log);
bool log_cutting(const struct log *log); /* a truncation runs: files are not what memory says */
