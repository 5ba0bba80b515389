/* group.h: the group coordinator of one partition of __consumer_offsets, as a pure state machine (facts: internal-topics.md 2 to 4).
 *
 * Classic groups (JoinGroup, SyncGroup, ...) and committed offsets, as Kafka 3.9 has them. No I/O, no clock, no loop, no randomness of its
 * own: (state, call or event, now) -> (state, answers, records to write). The shell (coordinator.h) appends the records to the partition,
 * says what became of them, keeps the one timer and carries answers back.
 *
 * Durable and soft. What is in the partition's records (offsets; a group's protocol, generation, members, assignment) is changed by
 * groups_replay alone: at load for every record found, at run time for every record of a write once it is committed (below the high
 * watermark). A handler never changes it ahead of that: it gives records, and what it promised waits in the write. Soft state (members that
 * joined since, calls that wait, timers, pending commits) is the handlers'; it ends with the leadership.
 *
 * Bounds: members per group by group.max.size; a member's metadata and assignment by the size of the request that brought them; offset
 * metadata by offset.metadata.max.bytes; ids that were given out and did not come back with a join (KIP-394): at most group.max.size + 1.
 * Cost: a join, heartbeat, commit or expiry is O(log members) or better whatever the size of the group, a rebalance O(members); nothing walks
 * all groups but groups_list, groups_expire and groups_sweep, which go in steps. 100,000 groups and 5,000 members in one group are normal sizes.
 * Iteration orders are those of insertion, never of addresses.
 *
 * Thread: the data loop that owns the partition. Failure: records that could not be written answer what waited for them by
 * internal-topics.md 4.3 and 4.4; memory is never exhausted by a peer (see Bounds).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/slice.h"
#include "proto/kafka/kp.h"

struct groups;

struct groups_config { /* Kafka's keys, as they are in force; read at each use, so they may change */
	int32_t min_session_timeout_ms, max_session_timeout_ms; /* group.min.session.timeout.ms, group.max.session.timeout.ms */
	int32_t max_size;                                       /* group.max.size */
	int32_t initial_rebalance_delay_ms;                     /* group.initial.rebalance.delay.ms */
	int32_t offset_metadata_max_bytes;                      /* offset.metadata.max.bytes */
	int64_t offsets_retention_ms;                           /* offsets.retention.minutes */
};

/* ---- what the core gives out ---- */

/* A request on its way through the coordinator. Its memory (arena, request, response) is the core's from the handler on until it is
 * listed in groups_out.answered. */
struct groups_call {
	/* in */
	struct arena *arena;      /* of the request; answers are made in it */
	int16_t version;
	struct slice client_id;
	const char *client_host;  /* as Kafka shows it: "/127.0.0.1" */
	const void *request;      /* see each handler */
	void *response;           /* initialised by the core */
	/* core's */
	struct list link;
	void *priv[4];
};

struct groups_record { struct slice key, value; bool tombstone; };
/* Records to be appended as one batch, acks=all; its outcome goes to groups_written, in the order in which writes were given out. */
struct groups_write {
	struct list link;
	struct arena arena;             /* holds the records */
	struct groups_record *records;
	uint32_t count;
	size_t bytes;                   /* keys and values */
	void *priv[6];                  /* core's */
};

/* Filled by every call that takes it; the caller empties it before the next one. */
struct groups_out {
	struct list answered; /* struct groups_call, by link, in the order in which they came about */
	struct list writes;   /* struct groups_write, by link, to be appended in this order */
};
void groups_out_init(struct groups_out *out);

/* ---- life ---- */

/* epoch: leader epoch of the partition = coordinator epoch. seed: for member ids (uuid text), so that the simulator repeats them. cfg lives
 * as long as the groups. */
struct groups *groups_new(int32_t partition, int32_t epoch, uint64_t seed, const struct groups_config *cfg);
/* The leadership ended: every call that waits is answered NOT_COORDINATOR; writes that are out are forgotten (do not report them). */
void groups_resign(struct groups *g, struct groups_out *out);
void groups_free(struct groups *g); /* after groups_resign, or when the process dies; NULL is fine */

/* ---- loading ---- */

/* One record, in log order. Unknown key types and versions are skipped (ERR_UNSUPPORTED), what cannot be parsed too (ERR_CORRUPT): the
 * caller counts and logs, and goes on. value.ptr NULL: tombstone. producer_id >= 0: part of a transaction: the commit is pending until its
 * marker. offset: of the record (a commit is superseded only by one with a higher offset). */
MUST_CHECK int groups_replay(struct groups *g, struct slice key, struct slice value, int64_t offset, int64_t producer_id);
/* An end-of-transaction marker at `offset`. */
void groups_replay_marker(struct groups *g, int64_t producer_id, bool committed, int64_t offset);
/* Everything up to the end at election was replayed: members of loaded groups get their session timers; a group over group.max.size
 * rebalances. From now on the handlers may be called. */
void groups_loaded(struct groups *g, int64_t now_ms, struct groups_out *out);

/* ---- events ---- */

/* The write was committed (err 0; base_offset of its first record): its records are replayed, then what waited is answered. Else err is
 * Kafka's code of the append (kerr.h): mapped as 4.3, 4.4 say. Takes the write over and frees it. */
void groups_written(struct groups *g, struct groups_write *w, int16_t err, int64_t base_offset, int64_t now_ms, struct groups_out *out);
/* A write that is not reported (after groups_resign, at the end of the process): frees it, before or after groups_free. */
void groups_write_free(struct groups_write *w);
/* Earliest time at which groups_tick has something to do; INT64_MAX none. */
int64_t groups_due_ms(const struct groups *g);
void groups_tick(struct groups *g, int64_t now_ms, struct groups_out *out);
/* Expiry of offsets and of empty groups (4.5): looks at up to `budget` groups, goes on where it stopped; true when it came round. */
bool groups_expire(struct groups *g, int64_t now_ms, uint32_t budget, struct groups_out *out);
/* A topic was deleted. What is committed for it, or on its way as a write, is for nobody any more: it is not shown, and groups_sweep removes it. What
 * is committed from now on is another topic's of that name, and stays. In order with the calls: the caller knows which topic a commit means.
 * Also while loading: everything that is loaded is then of the former topic.
 * Soft state: what the leadership's end leaves unswept shows again, and goes when it expires (4.5), as in Kafka, which cleans up once, in memory, too. */
void groups_topic_gone(struct groups *g, struct slice topic);
/* Removes offsets of topics that are gone, up to `budget` groups a call, as above; true when there is nothing more to be done now. */
bool groups_sweep(struct groups *g, uint32_t budget, struct groups_out *out);
bool groups_sweeping(const struct groups *g); /* it has something to do */

/* ---- calls that may wait: answered through out, at once or later ---- */

/* request/response: kp_join_group_request/_response */
void groups_join(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);
void groups_sync(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);      /* kp_sync_group_* */
void groups_heartbeat(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out); /* kp_heartbeat_* */
void groups_leave(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);     /* kp_leave_group_*, version 0-2 and 3+ */

/* Commits, deletions of offsets and of groups come as rows: the API layer has dealt with unknown topics and with groups of other
 * partitions. request and response point to the struct itself (results are written into it). */
struct groups_offset {
	struct slice topic;
	int32_t partition;
	int64_t offset;
	int32_t leader_epoch;     /* -1 none */
	struct slice metadata;    /* ptr NULL is "" */
	int64_t commit_timestamp; /* v1: as given, -1 now */
	int16_t error;            /* out. Of a commit also in: a row that has one is not committed and keeps it */
};
struct groups_commit {
	struct slice group, member, instance; /* instance.ptr NULL: none */
	int32_t generation;                   /* -1: simple consumer */
	int64_t retention_ms;                 /* v2-4; -1 the broker's: offsets are written with an expiry of their own otherwise */
	struct groups_offset *rows;
	uint32_t count;
};
void groups_commit(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);
struct groups_offset_delete {
	struct slice group;
	struct groups_offset *rows; /* topic, partition, error */
	uint32_t count;
	int16_t error; /* out: of the whole group */
};
void groups_delete_offsets(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);
struct groups_delete {
	struct slice *groups;
	int16_t *errors; /* out, per group */
	uint32_t count;
};
void groups_delete(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out);

/* ---- reads: answered at once ---- */

struct groups_fetch_row {
	struct slice topic;
	int32_t partition;
	int64_t offset;        /* -1 none */
	int32_t leader_epoch;
	struct slice metadata; /* in the arena */
	int16_t error;         /* UNSTABLE_OFFSET_COMMIT with require_stable */
};
struct groups_fetch {
	struct slice group;
	bool all;              /* rows and count are made by the core, in the arena, sorted by topic and partition */
	bool require_stable;
	struct groups_fetch_row *rows;
	uint32_t count;
};
void groups_fetch(const struct groups *g, struct groups_fetch *f, struct arena *arena);
void groups_describe(const struct groups *g, struct slice group, int16_t version, struct arena *arena, struct kp_describe_groups_response_groups *ret);
/* A list of groups, over several turns: those that are there all the while come once, in order of coming into being; others once or not at all. */
struct groups_list {
	const struct slice *states; /* groups in one of these (lower case compared); count 0: all */
	int32_t state_count;
	/* core's, between groups_list_begin and groups_list_end */
	struct list link;
	struct list *at;
	struct groups *g;           /* NULL: freed meanwhile */
};
struct groups_list_row { struct slice group, protocol_type; const char *state; }; /* good during the call */
void groups_list_begin(struct groups *g, struct groups_list *l);
/* Looks at up to `budget` groups; true when through. */
bool groups_list(struct groups_list *l, uint32_t budget, void (*fn)(void *ctx, const struct groups_list_row *row), void *ctx);
void groups_list_end(struct groups_list *l);

/* What happened to a group, for the shell's log. Texts are gone after the call; `why` is a literal. */
enum groups_event_kind {
	GROUPS_REBALANCE,   /* a rebalance begins; why; member whose doing it is, if it is one's */
	GROUPS_GENERATION,  /* joins are complete: generation, members, protocol */
	GROUPS_STABLE,      /* its assignment is committed */
	GROUPS_EMPTY,       /* nobody is left */
	GROUPS_NOT_WRITTEN, /* the group's record was refused: error */
	GROUPS_MEMBER_OUT,  /* a member is removed; why */
};
struct groups_event {
	enum groups_event_kind kind;
	struct slice group, member, protocol;
	int32_t generation;
	uint32_t members;
	const char *why;
	int16_t error;
};
/* Calls fn for each from now on, in the middle of handlers: it must not call the core. */
void groups_on_event(struct groups *g, void (*fn)(void *ctx, const struct groups_event *e), void *ctx);

struct groups_stats { uint32_t groups, members, rebalancing; uint64_t offsets, bytes; uint64_t rebalances, expired_offsets; };
struct groups_stats groups_stats(const struct groups *g);
/* For lag metrics: calls fn per committed offset, at most `max` of them. */
void groups_each_offset(const struct groups *g, uint32_t max, void (*fn)(void *ctx, struct slice group, struct slice topic, int32_t partition, int64_t offset), void *ctx);
