/* coordinator_priv.h: for the files of brokerd/group's shell. Thread: the shard's loop. */
#pragma once

#include "brokerd/group/coordinator.h"
#include "brokerd/log/record.h"
#include "common/env/fs.h"
#include "common/wire/cursor.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

/* Loading of one partition: see coordinator_load.c for the stages. */
enum load_stage { LOAD_WAITING, LOAD_LOOKUP, LOAD_READING, LOAD_BATCHES, LOAD_PAUSED, LOAD_COMMITTING };
struct load {
	struct list link;          /* in coordinator.loads */
	struct coordinator *c;
	struct owned *o;           /* NULL: cancelled, an answer of the log or the file is still awaited */
	enum load_stage stage;
	struct timer turn;
	int64_t next, end;         /* offsets: read up to next, all of it when next >= end */
	struct log_read lookup;
	struct file_op read;
	struct file *file;
	uint32_t generation;
	struct buf *buf;
	size_t len, at;            /* bytes in buf; where the next batch is */
	/* of the batch at hand */
	bool in_batch, inflating;
	struct batch batch;
	struct slice whole;        /* its bytes */
	struct cursor records;     /* what is not replayed yet */
	int32_t left;              /* records in it */
	struct decompressor inflater;
	uint8_t *plain;            /* of a compressed one */
	size_t plain_len, plain_cap;
	/* for the log line */
	int64_t began_us;
	uint64_t records_read, unknown, corrupt, bytes;
};

/* One partition of __consumer_offsets that is led here, from the election on. */
struct owned {
	struct list link;        /* in coordinator.owned */
	struct coordinator *c;
	int32_t partition, epoch;
	bool loaded;
	struct groups *g;
	struct load *load;       /* until it is loaded */
	struct list writes;      /* struct writing, in the order of the core */
	bool expiring;           /* a round of expiry is under way */
	bool handing_out;        /* outcomes of writes are being told */
};

struct coordinator {
	struct coordinator_init init;
	struct env *env;
	struct loop *loop;
	struct shard *shard;
	bool active, stopped;    /* serving; resigned for good */
	struct image *image;     /* the last one that the broker told of; one reference; NULL before */
	struct list owned;       /* in the order in which they came */
	struct owned **by_partition;
	size_t by_partition_cap;
	struct timer due_timer, steps_timer, expiry_timer;
	struct list reads;       /* struct group_msg of many groups, by link: the first one has the next turn */
	int64_t due_ms;          /* what due_timer is set for */
	struct list loads;       /* struct load, in order; the first ones run */
	struct list forgotten;   /* struct writing whose leadership ended: the produce path still has them */
	int64_t mono_ms, ahead_ms; /* the clock: see coordinator_now */
	struct groups_stats past; /* counters of what was resigned */
};

/* Milliseconds since 1970, never going back (see coordinator.h). */
int64_t coordinator_now(struct coordinator *c);
struct owned *coordinator_find(const struct coordinator *c, int32_t partition);
/* Carries away what the core gave out, and sets the timer. After every call of the core. */
void coordinator_take(struct owned *o, struct groups_out *out);

/* coordinator_load.c */
void load_start(struct owned *o, int64_t end); /* ends in coordinator_loaded, unless cancelled */
void load_cancel(struct load *l);
void load_drop(struct load *l);                /* the process is dead: nothing comes back any more */
void coordinator_loaded(struct owned *o);

/* coordinator_write.c */
void write_start(struct owned *o, struct groups_write *w);
void write_forget_all(struct owned *o);
void write_drop_all(struct coordinator *c, struct list *writes);
