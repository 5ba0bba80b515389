/* client_group.h: one member of a group, shared by client_group.c (membership), client_group_read.c (records, commits) and client_group_assign.c
 * (subscriptions and assignments, which brokers do not look into).
 *
 * States:
 *   MEMBER_AWAY      not in the group: before its time, or left; from any
 *   MEMBER_JOINING   JoinGroup is to be sent or under way; from AWAY, SYNCING, STABLE
 *   MEMBER_SYNCING   SyncGroup is to be sent or under way; from JOINING
 *   MEMBER_STABLE    it has an assignment; from SYNCING
 * A process that dies loses all of it, and begins anew as AWAY; a static one (group.instance.id) comes back under its name.
 */
#pragma once

#include "tests/sim/client_coord.h"

enum member_state { MEMBER_AWAY, MEMBER_JOINING, MEMBER_SYNCING, MEMBER_STABLE };
enum { MEMBER_ID_MAX = 128, JOINED_MAX = MEMBERS_MAX * 2 };

struct mpart {
	bool owned;
	bool rewound;           /* it was out of range, so what is committed may be lower than before */
	int64_t position;       /* -1: to be asked for */
	int64_t committed;      /* acknowledged, or read; -1 none */
	int32_t last_epoch;     /* of the record before the position */
	int out_of_range;       /* in a row */
	int64_t retry_us;
};

/* A Fetch under way to one broker. */
struct mfetch {
	struct member *m;
	int node;
	bool busy;
	int64_t sent_us;
	uint32_t round;         /* of the member, when it was sent */
	int64_t offsets[TPS_MAX]; /* by tp; -1 not asked */
};

struct member {
	struct run *r;
	int idx, group, life;
	char name[24], instance[24]; /* instance: "" dynamic */
	struct client c;
	struct coord co;
	struct sim_process *process;
	bool started;
	int64_t away_until_us;
	/* its kind */
	bool cooperative, narrow; /* narrow: subscribes one topic only */
	int16_t join_version, sync_version, heartbeat_version, leave_version, read_version, subscription_version;
	int32_t session_ms, rebalance_ms;
	int64_t heartbeat_us, commit_us;
	int32_t max_wait_ms, min_bytes;
	/* membership */
	enum member_state state;
	char id[MEMBER_ID_MAX];  /* "" none */
	int32_t generation;      /* -1 none */
	int32_t beat_generation;
	bool busy, beating, rejoin, leads, synced_once;
	char protocol[24];
	struct { char id[MEMBER_ID_MAX]; struct slice assignment; } to_give[JOINED_MAX]; /* what the leader worked out; memory: given */
	int to_give_count;
	struct arena given;
	/* reading */
	struct mpart parts[TPS_MAX];
	uint32_t round;          /* counts changes of what is owned */
	bool asking_offsets, committing;
	uint32_t asked_round, committed_round;
	int32_t committed_generation;
	struct mfetch fetches[BROKERS_MAX];
	struct timer kick, beat, commit;
};

void member_kick_soon(struct member *m, int64_t delay_us);
bool member_subscribes(const struct member *m, int32_t tp);
struct coord_who member_who(struct member *m);
/* An answer to a request of that generation said that membership is not what the member thinks; other errors are violations. */
void member_told(struct member *m, int16_t error, int32_t generation, const char *api);

/* ---- client_group_read.c ---- */
void member_read_step(struct member *m); /* asks for positions and records of what it owns */
/* What was read and not committed yet; only of what is owned. False: nothing to do, or not now. */
bool member_commit_now(struct member *m);
void member_drop_partitions(struct member *m);
/* Commits as one who must be refused: itself in the generation before, or somebody who never joined. */
void member_intrude(struct member *m);

/* ---- client_group_assign.c; bytes are made in the arena ---- */
struct slice assign_subscription(struct member *m, struct arena *a);
/* One of those who joined. */
struct joined { struct slice id, instance, metadata; };
/* As the leader: fills to_give. False: a subscription does not parse. */
bool assign_all(struct member *m, const struct joined *joined, int count);
/* Marks what the bytes name in owned (by tp). False: they do not parse. */
bool assign_parse(struct member *m, struct slice assignment, bool *owned);
