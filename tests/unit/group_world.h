/* group_world.h: a world for the coordinator's core: calls with memory of their own, a log that writes go to when a test says so, a clock that
 * stands still. */
#pragma once

#include "brokerd/group/group.h"
#include "common/wire/kerr.h"
#include "tests/unit/unit.h"

struct logged { uint8_t *key, *value; size_t key_len, value_len; bool tombstone; int64_t offset, producer_id; int marker; }; /* marker: 0 record, 1 commit, 2 abort */

struct gcall {
	struct groups_call call;
	struct gcall *next;
	struct arena arena;
	bool answered;
	union {
		struct kp_join_group_request join;
		struct kp_sync_group_request sync;
		struct kp_heartbeat_request heartbeat;
		struct kp_leave_group_request leave;
		struct groups_commit commit;
		struct groups_offset_delete offset_delete;
		struct groups_delete delete;
	} req;
	union {
		struct kp_join_group_response join;
		struct kp_sync_group_response sync;
		struct kp_heartbeat_response heartbeat;
		struct kp_leave_group_response leave;
	} resp;
};

struct world {
	struct groups *g;
	struct groups_config cfg;
	struct groups_out out;
	struct list writes; /* given out, not yet reported */
	struct gcall *calls;
	int64_t now;
	struct logged *log;
	size_t log_cap;
	uint32_t log_count;
	int64_t next_offset;
	int32_t epoch;
	bool auto_write; /* every write is committed at once */
};

#define MIN_SESSION 6000
#define SESSION 10000
#define REBALANCE 30000

void world_begin(struct world *w);
void world_end(struct world *w);
/* Takes what the core gave out. */
void world_take(struct world *w);
/* Reports all writes that are out: err 0 puts them into the log first. */
void world_written(struct world *w, int16_t err);
void world_written_one(struct world *w, int16_t err);
uint32_t world_open_writes(const struct world *w);
void world_tick(struct world *w, int64_t ms); /* time passes, deadline by deadline */
/* Crash: a new coordinator that has read the log, up to `count` of its entries, `times` times. */
void world_reload(struct world *w);
struct groups *world_replay(struct world *w, int times);
void world_marker(struct world *w, int64_t producer_id, bool committed);
void world_txn_commit(struct world *w, int64_t producer_id, const char *group, const char *topic, int32_t partition, int64_t offset);

struct gcall *new_call(struct world *w, int16_t version);
/* protocols: "range:meta roundrobin:other"; instance NULL: dynamic. */
struct gcall *join_call(struct world *w, int16_t version, const char *group, const char *member, const char *instance, const char *protocols);
struct gcall *do_join(struct world *w, struct gcall *c);
struct gcall *join(struct world *w, int16_t version, const char *group, const char *member, const char *instance, const char *protocols);
/* assignments: "member=bytes member=bytes", NULL: none. */
struct gcall *sync(struct world *w, const char *group, int32_t generation, const char *member, const char *instance, const char *assignments);
int16_t heartbeat(struct world *w, const char *group, int32_t generation, const char *member, const char *instance);
struct gcall *leave(struct world *w, int16_t version, const char *group, const char *member, const char *instance);
/* rows: "topic/partition=offset ..." */
struct gcall *commit_call(struct world *w, const char *group, int32_t generation, const char *member, const char *rows);
struct gcall *commit(struct world *w, const char *group, int32_t generation, const char *member, const char *rows);
struct gcall *delete_groups(struct world *w, const char *groups); /* by blanks */
struct gcall *delete_offsets(struct world *w, const char *group, const char *rows);
int64_t fetch(struct world *w, const char *group, const char *topic, int32_t partition);
int16_t fetch_stable(struct world *w, const char *group, const char *topic, int32_t partition);
/* "State generation-less summary": "Stable consumer range 2" = state, type, protocol, members; of an absent group "Dead   0". */
const char *describe(struct world *w, const char *group);
char *text(struct world *w, struct slice s);
/* A consumer subscription of version 0 to topics "a b". */
struct slice subscription(struct world *w, const char *topics);

char state_of(const struct world *w, const char *group); /* 'E'mpty, 'P'reparing, 'C'ompleting, 'S'table, 'D'ead; '-' none */
/* Stable groups: of one dynamic member (its id); of members of version 3; of static members a, b, ... Their generation; ids[0] leads. */
const char *stable_of_one(struct world *w, const char *group);
int32_t stable_of(struct world *w, const char *group, const char **ids, int n, const char *protocols);
int32_t stable_static(struct world *w, const char *group, const char **ids, int n);

#define IS(slice, str) slice_eq_str((slice), (str))
#define CHECK_TEXT(is, want) do { const char *is_ = (is); if (strcmp(is_, want)) printf("    is \"%s\", not \"%s\"\n", is_, want); CU_ASSERT_STRING_EQUAL(is_, want); } while (0)
