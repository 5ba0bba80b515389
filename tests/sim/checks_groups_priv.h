/* checks_groups_priv.h: shared by checks_groups.c (what clients were told) and checks_groups_log.c (the verdict by the offsets topic's logs). */
#pragma once

#include "tests/sim/checks_groups.h"
#include "tests/sim/checks_priv.h"
#include "tests/sim/offsets.h"

struct commit {
	uint64_t id;
	int group;
	int32_t tp, leader_epoch, generation;
	int64_t offset, sent_us;
	bool rewound, forbidden;
};

/* At some moment of that span the key had that value; id 0: none. */
struct seen {
	int64_t from_us, to_us;
	uint64_t id;
	bool read; /* by OffsetFetch; else acknowledged */
	bool deposed; /* read from a broker that did not lead the partition any more */
};

struct key {
	struct seen *items;
	size_t count, cap;
	bool read_back;
};

/* SyncGroup was answered with it. */
struct sync {
	int32_t generation;
	struct slice member, assignment; /* in the arena */
	int64_t t_us;
};

struct owner { struct slice member, instance; };
struct holder { int group, process; struct slice id; };

struct group {
	char name[24];
	bool members, deletable;
	int32_t tp;             /* its partition of the offsets topic */
	struct key keys[TPS_MAX];
	struct sync *syncs;
	size_t sync_count, sync_cap;
	int64_t *first_sync_us; /* by generation; 0 none */
	size_t generation_cap;
	int32_t owners_generation;
	struct owner owners[TPS_MAX]; /* of that generation, by tp */
};

struct group_checks {
	struct arena arena;
	struct group groups[GROUPS_MAX];
	int count;
	struct commit *commits;
	size_t commit_count, commit_cap;
	struct holder *ids;
	size_t id_count, id_cap;
};

struct commit *group_checks_commit_of(struct run *r, uint64_t id); /* NULL: no such commit */
/* At some power cut all of an ISR lost something of this partition, and nobody had it any more. */
bool group_checks_tp_lost(struct run *r, int32_t tp);
