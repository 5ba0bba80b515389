/* log_util.h: what the log's tests share: a world of the os backend with one loop, batches made by hand, calls that wait. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/log/log.h"
#include "brokerd/log/log_dir.h"
#include "common/base/buf.h"
#include "common/base/str.h"
#include "common/env/os/os.h"

struct tw { /* test world */
	struct os_world *world;
	struct env *env;
	struct loop *loop;
	struct log_dir dir;
	struct log_config cfg;
	struct writeback *writeback; /* of tw_open; NULL: none */
	int end_moved, start_moved, synced, failed;
};
void tw_init(struct tw *t);
void tw_fini(struct tw *t);
/* A fresh log directory below the test's temporary directory. */
void tw_new_dir(struct tw *t);
void tw_use_dir(struct tw *t, const char *path);
/* Runs the loop until *flag. */
void tw_wait(struct tw *t, bool *flag);
/* Runs that many turns of the loop, 200 us apart: what is ready gets done. */
void tw_turns(struct tw *t, int turns);
void tw_spin(struct tw *t); /* some turns */

struct tw_batch {
	int64_t base_timestamp; /* -1 stays */
	int count;            /* records */
	int value_bytes;
	int codec;
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	bool transactional;
	bool null_keys;
	int64_t base_offset;
	int32_t leader_epoch;
	int control;          /* 0 none, 1 abort, 2 commit */
	int32_t coordinator_epoch;
	int64_t timestamp_step;
	int attributes;       /* more bits */
};
/* Zero fields get defaults: one record of 10 bytes, no producer (then epoch and sequence are -1). */
#define TW_BATCH(...) tw_defaults((struct tw_batch){__VA_ARGS__})
struct tw_batch tw_defaults(struct tw_batch spec);
/* One batch; *ret_len its bytes (cap may be larger). */
struct buf *tw_batch(struct tw_batch spec, size_t *ret_len);
void tw_fix_crc(uint8_t *batch, size_t len);

/* Opening: 0 or the error. recovery point, start, hw: -1 = none. */
int tw_open(struct tw *t, const char *topic, bool create, bool clean, int64_t recovery_point, int64_t start, int64_t hw, struct log **ret_log);
int tw_close(struct tw *t, struct log *log, bool clean);
int tw_delete(struct tw *t, struct log *log);

/* Appends and waits. Results in *a. */
int tw_append(struct tw *t, struct log *log, struct tw_batch spec, int32_t leader_epoch, struct log_append *a);
int tw_append_origin(struct tw *t, struct log *log, struct tw_batch spec, enum log_origin origin, int32_t leader_epoch, struct log_append *a);
/* Whole batches as a replica gets them; takes over buf. */
int tw_append_replica(struct tw *t, struct log *log, struct buf *buf, size_t len, struct log_append *a);
int tw_truncate(struct tw *t, struct log *log, int64_t offset);
int tw_truncate_fully(struct tw *t, struct log *log, int64_t offset);
int tw_sync(struct tw *t, struct log *log);
/* Reads a range; bytes are appended to out (may be NULL). */
int tw_read(struct tw *t, struct log *log, struct log_read *r, struct str *out);
int tw_find_time(struct tw *t, struct log *log, int64_t timestamp, struct log_time_query *q);

void tw_copy_tree(const char *from, const char *to);
char *tw_path(const struct tw *t, const char *fmt, ...) PRINTF_LIKE(2, 3); /* below the log dir; mem_free */
/* Small whole-file helpers; abort the test program on failure. */
void tw_file_write(const char *path, const void *bytes, size_t len);
void tw_file_append(const char *path, const void *bytes, size_t len);
char *tw_file_read(const char *path, size_t *ret_len);
bool tw_file_exists(const char *path);
