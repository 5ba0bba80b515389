/* checks_priv.h: shared by checks.c (what clients and ZooKeeper show) and checks_disk.c (what disks hold, and the verdict). */
#pragma once

#include "common/base/arena.h"
#include "tests/sim/checks.h"

enum { MASKS_MAX = 6, EPOCHS_MAX = 4 };

/* Sets of brokers by index: the ISRs that were in force during some span. */
struct masks {
	uint16_t mask[MASKS_MAX];
	uint8_t count;
};

/* A record that a producer made. Index = id. */
struct rec {
	int16_t producer, tp;
	int8_t acks;
	bool idempotent, acked, resequenced;
	int32_t commit;     /* of an offset (checks_groups.h): its index; -1 a record of a producer */
	struct masks isr;   /* of the acknowledgement */
	int64_t offset;     /* as acknowledged */
};

/* A moment at which one more replica lost a record by a power cut. */
struct loss {
	struct loss *next;
	uint16_t lost;      /* who has lost it so until then */
	uint16_t holders;   /* who has it on disk after that */
	uint16_t isr;       /* in ZooKeeper at that moment */
	int64_t t_us;
};

/* A record at an offset, somewhere seen: on a disk or by a reader. */
struct inst {
	struct inst *next;  /* others at that offset */
	uint64_t id;
	int32_t epochs[EPOCHS_MAX];
	uint8_t epoch_count;
	uint16_t disk;      /* who had it on disk when last looked at */
	uint16_t lost;
	bool read;
	struct masks isr;   /* of the first reading */
	struct loss *losses;
};

struct isr_change { int64_t t_us; uint16_t mask; };

struct tp_check {
	char *state_path, *topic_path;
	int32_t state_version;
	int64_t state_czxid, state_mzxid, topic_mzxid;
	uint16_t replicas, isr;
	int32_t leader, leader_epoch, last_leader; /* broker ids */
	struct isr_change *changes;
	size_t change_count, change_cap;
	int8_t *epoch_leader;  /* by epoch: broker index + 1; 0 unknown */
	size_t epoch_cap;
	struct inst **offsets;
	size_t offset_cap;
};

struct cut { int64_t t_us; int broker; };
struct gap { uint64_t id, last_acked_id; };

struct checks {
	struct run *r;
	struct arena arena; /* instances, losses: live as long as the run */
	struct rec *recs;
	size_t rec_count, rec_cap;
	struct tp_check tps[TPS_MAX];
	struct cut *cuts;   /* power cuts so far */
	size_t cut_count, cut_cap;
	struct gap *gaps;
	size_t gap_count, gap_cap;
};

/* A replica's log on disk: calls fn for each whole, valid batch; stops where it says false. The end offset, -1 no log. */
struct sim_batch;
typedef bool checks_batch_fn(void *ctx, struct slice bytes, const struct sim_batch *b);
int64_t checks_disk_batches(struct run *r, int broker, int32_t tp, checks_batch_fn *fn, void *ctx);
struct inst *checks_find_inst(struct run *r, int32_t tp, int64_t offset, uint64_t id); /* NULL: never seen */
/* Makes it if it is not there; reports another record at that offset and epoch. epoch -1 unknown. */
struct inst *checks_inst(struct run *r, int32_t tp, int64_t offset, int32_t epoch, uint64_t id, const char *where);
bool checks_excused(struct run *r, int32_t tp, const struct inst *in, const struct masks *isr);
void checks_window(struct run *r, int32_t tp, int64_t from_us, struct masks *out);
void checks_poll_tp(struct run *r, int32_t tp);
