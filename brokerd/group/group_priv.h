/* group_priv.h: what the files of the coordinator's core share; group.h is the contract.
 *
 *   group.c          life, the table of groups, writes and their outcome, the timer
 *   group_due.c      deadlines: a binary heap with lazy keys
 *   group_table.c    hash tables, interned names
 *   group_members.c  members and the protocols they vote for
 *   group_state.c    the state machine: rebalance, generations, storing the assignment
 *   group_join.c     the calls of members: join, sync, heartbeat, leave
 *   group_offsets.c  committed and pending offsets of a group; commit and fetch
 *   group_delete.c   deletions: by request, by expiry, of a topic
 *   group_records.c  records of __consumer_offsets
 *   group_replay.c   records -> durable state; transactions
 *   group_describe.c reads
 *
 * Everything belongs to one struct groups and its loop. Times in here are relative to groups.base_ms, so that members loaded from the log can
 * be given their deadlines before the end of loading is known.
 */
#pragma once

#include "brokerd/group/group.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/wire/kerr.h"

/* ---- hash tables: intrusive, chained; never iterated, so that no order depends on them ---- */

struct hnode { struct hnode *next; uint32_t hash; };
struct htable { struct hnode **buckets; uint32_t mask, count; };
void group_htable_fini(struct htable *t);
void group_htable_add(struct htable *t, struct hnode *n, uint32_t hash);
void group_htable_remove(struct htable *t, struct hnode *n);
static inline struct hnode *htable_first(const struct htable *t, uint32_t hash)
{
	struct hnode *n = t->buckets ? t->buckets[hash & t->mask] : NULL;
	while (n && n->hash != hash)
		n = n->next;
	return n;
}
static inline struct hnode *htable_next(const struct hnode *from)
{
	struct hnode *n = from->next;
	while (n && n->hash != from->hash)
		n = n->next;
	return n;
}
static inline uint32_t hash_mix(uint32_t a, uint32_t b)
{
	uint64_t x = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(x >> 32 ^ x);
}
uint32_t group_hash_text(const struct groups *g, struct slice text);

/* ---- interned names: topics, protocols, client ids and hosts are stored once; a name is a number, 0 is none ---- */

struct name {
	struct hnode node;
	uint32_t refs, id, len;
	int64_t gone_below; /* of a topic: commits of lower log offset are a deleted topic's */
	uint8_t text[];
};
struct names { struct htable by_text; struct name **by_id; size_t cap; uint32_t count; uint32_t *spare; size_t spare_cap; uint32_t spare_count; };
uint32_t group_name_get(struct groups *g, struct slice text); /* with a reference */
uint32_t group_name_find(const struct groups *g, struct slice text);
uint32_t group_name_ref(struct groups *g, uint32_t id);
void group_name_drop(struct groups *g, uint32_t id);
struct slice group_name_text(const struct groups *g, uint32_t id); /* of 0: null */

/* ---- deadlines ---- */

enum due_kind { DUE_MEMBER, DUE_GROUP };
/* at: when it is due. The heap may hold it under an earlier key: a heartbeat only writes `at`. */
struct due { int64_t at; uint32_t slot; uint8_t kind; };
struct due_key { int64_t at; uint64_t seq; struct due *due; };
struct due_heap { struct due_key *keys; size_t cap; uint32_t count; uint64_t seq; };
void group_due_init(struct due *d, enum due_kind kind);
static inline bool due_armed(const struct due *d) { return d->slot != UINT32_MAX; }
void group_due_arm(struct due_heap *h, struct due *d, int64_t at);
void group_due_stop(struct due_heap *h, struct due *d);
/* The first one that is due at `now`, taken out; NULL. */
struct due *group_due_pop(struct due_heap *h, int64_t now);

/* ---- a group ---- */

/* What may follow what: group_state.c. */
enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE, GROUP_DEAD };

struct offset_extra { int64_t expire_ms; uint32_t len; uint8_t metadata[]; }; /* expire_ms -1: none */
/* One partition of a group: what is committed (log_offset >= 0: the record's), and how many commits are on their way. */
struct offset {
	uint32_t topic; /* name */
	int32_t partition;
	int32_t leader_epoch;
	uint32_t pending : 31, doomed : 1; /* doomed: scratch of a deletion */
	int64_t offset, log_offset, commit_ms;
	struct offset_extra *extra; /* NULL: no metadata, no expiry of its own */
};

struct protocol { uint32_t name, pos, len; };
struct protocols { uint32_t count, bytes; struct protocol items[]; }; /* the metadata's bytes follow the items */
struct blob { uint32_t len; uint8_t bytes[]; };

struct instance { struct hnode node; struct member *member; uint32_t len; uint8_t text[]; };

/* A member; or, with `pending`, an id that was given out and has not joined yet (KIP-394), of which only id and deadline are used. */
struct member {
	struct list link; /* of roster.members or .pendings, in order of joining */
	struct hnode node;
	struct due due;   /* session */
	struct group *group;
	struct instance *instance; /* NULL: dynamic */
	struct protocols *protocols;
	struct blob *assignment;   /* NULL: empty */
	struct groups_call *join_call, *sync_call;
	uint32_t client_id, client_host;
	int32_t rebalance_timeout_ms, session_timeout_ms;
	uint32_t ordinal; /* scratch of a store */
	bool pending, is_new, pending_sync;
	uint16_t id_len;
	uint8_t id[];
};

/* How many members of a group know a protocol. */
struct protocol_count { struct hnode node; struct group *group; uint32_t name, count, votes, first; }; /* votes, first voter: of the last vote */

/* Of a group that has members, or ids given out, or is rebalancing. */
struct roster {
	struct list members, pendings;
	struct member *leader;
	struct due due;             /* Preparing: end of waiting for joins; Completing, Stable: end of waiting for syncs */
	int64_t initial_delay_ms, initial_left_ms;
	uint32_t count, pending_count, joined, unsynced;
	int32_t storing;            /* generation whose assignment is being written; 0 none */
	bool initial, more_joined;  /* initial rebalance delay; a member came during it */
	struct group *group;
};

struct group {
	struct hnode node;
	struct list link; /* of groups.all */
	struct offset *offsets;
	uint32_t *offset_index; /* NULL while there are few */
	uint32_t offset_count, offset_cap, index_mask, tickets;
	struct roster *roster;
	int64_t state_ms;       /* currentStateTimestamp, absolute; -1 unknown */
	int64_t meta_offset;    /* of the GroupMetadata record that was replayed last; -1 */
	int32_t generation;
	uint32_t protocol_type, protocol; /* names */
	uint8_t state;
	uint16_t id_len;
	uint8_t id[];
};

/* ---- transactions: commits that wait for their marker ---- */

struct txn_row { struct list link; struct group *group; struct offset value; };
struct txn { struct hnode node; struct list link; int64_t producer_id; struct list rows; };

/* ---- writes ---- */

/* A call that waits for writes. Results that wait are marked with RESULT_OPEN in the request; finish() puts the outcome there. */
#define RESULT_OPEN INT16_MIN
struct op {
	struct list link;
	struct groups_call *call;
	void (*finish)(struct groups_call *c, int16_t err);
	uint32_t outstanding;
	int16_t err;
};
/* A topic that was deleted while writes were under way that may hold commits for it, until they are over. */
struct gone {
	struct list link;
	struct ticket *after; /* of the last of them; NULL: loading */
	size_t len;
	uint8_t topic[];
};

/* What is to be done when a write's outcome is known; keeps its groups from being freed. */
struct ticket {
	struct list link;
	void (*done)(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out); /* NULL: nothing */
	struct op *op;            /* or NULL */
	struct group **groups;
	uint32_t group_count;
	int32_t generation;       /* of a store */
	struct static_undo *undo; /* of a static member's replacement */
};
struct pen; /* collects records of a write: group_records.c */

struct groups {
	int32_t partition, epoch;
	const struct groups_config *cfg;
	uint64_t seed;
	struct rng rng;
	int64_t base_ms;
	bool loaded;
	uint32_t largest; /* members of the largest group that was loaded */
	struct list all;  /* groups, in order of coming into being */
	struct htable by_id, members, instances, protocols, txns;
	struct list txn_list;
	struct names names;
	struct due_heap due;
	struct list ops, tickets;
	struct list *expire_at, *sweep_at; /* where the walks go on; NULL: from the front */
	struct list lists; /* struct groups_list that are under way */
	struct list gone;
	bool sweep_wanted, sweeping;
	int64_t end;      /* above the log offset of everything that was replayed */
	struct arena scratch;
	struct groups_stats stats;
	void (*on_event)(void *ctx, const struct groups_event *e);
	void *event_ctx;
};

/* group.c */
struct group *group_find(const struct groups *g, struct slice id);
struct group *group_get(struct groups *g, struct slice id); /* makes an empty one */
static inline struct slice group_id(const struct group *gr) { return slice_make(gr->id, gr->id_len); }
/* Frees it when nothing is known of it any more. */
void group_settle(struct groups *g, struct group *gr);
void group_free(struct groups *g, struct group *gr);
static inline void answer(struct groups_out *out, struct groups_call *c) { list_push_back(&out->answered, &c->link); }
struct slice group_copy_to(struct arena *a, struct slice s);
static inline int64_t rel_ms(const struct groups *g, int64_t now_ms) { return now_ms - g->base_ms; }
struct ticket *group_ticket_new(struct groups *g, void (*done)(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out), struct op *op);
void group_ticket_pin(struct ticket *t, struct group *gr);
struct op *group_op_new(struct groups *g, struct groups_call *c, void (*finish)(struct groups_call *c, int16_t err));
/* Answers if no write is outstanding. */
void group_op_settle(struct op *op, struct groups_out *out);
void group_give_write(struct groups_write *w, struct ticket *t, struct groups_out *out);

/* group_members.c */
struct roster *group_roster_get(struct groups *g, struct group *gr);
void group_roster_drop(struct groups *g, struct group *gr); /* with all its members; calls must have been answered */
struct member *group_member_find(const struct groups *g, const struct group *gr, struct slice id); /* pending ones too */
struct member *group_member_of_instance(const struct groups *g, const struct group *gr, struct slice instance);
static inline struct slice member_id(const struct member *m) { return slice_make(m->id, m->id_len); }
static inline struct slice member_instance(const struct member *m) { return m->instance ? slice_make(m->instance->text, m->instance->len) : slice_make(NULL, 0); }
static inline struct slice blob_slice(const struct blob *b) { return b ? slice_make(b->bytes, b->len) : slice_make("", 0); }
struct member_spec {
	struct slice id, instance, client_id, client_host;
	int32_t rebalance_timeout_ms, session_timeout_ms;
	const struct kp_join_group_request_protocols *protocols;
	int32_t protocols_count;
};
struct member *group_member_add(struct groups *g, struct group *gr, const struct member_spec *s);
struct member *group_member_add_pending(struct groups *g, struct group *gr, struct slice id);
void group_member_remove(struct groups *g, struct member *m);
/* The same member under a new id; the old one's calls must have been answered. */
struct member *group_member_rename(struct groups *g, struct member *m, struct slice id);
void group_member_set_protocols(struct groups *g, struct member *m, const struct kp_join_group_request_protocols *p, int32_t count);
bool group_member_matches(const struct groups *g, const struct member *m, const struct kp_join_group_request_protocols *p, int32_t count);
void group_member_set_assignment(struct groups *g, struct member *m, struct slice assignment);
struct slice group_member_metadata(const struct member *m, uint32_t protocol);
void group_member_wait_join(struct member *m, struct groups_call *c);
struct groups_call *group_member_take_join(struct member *m);
void group_member_synced(struct groups *g, struct member *m);
int32_t group_roster_rebalance_timeout_ms(const struct roster *r);
bool group_roster_supports(const struct groups *g, const struct group *gr, struct slice type, const struct kp_join_group_request_protocols *p, int32_t count);
uint32_t group_roster_vote(struct groups *g, struct group *gr); /* the protocol that wins */
void group_make_member_id(struct groups *g, struct slice prefix, struct arena *a, struct slice *ret_id);
/* Sorted names of the topics that the members subscribe to; false: not known. Freed by the caller. */
bool group_roster_subscribed(struct groups *g, const struct group *gr, uint32_t **ret_topics, size_t *ret_count);
bool group_topics_have(const uint32_t *topics, size_t count, uint32_t topic);

/* group_state.c */
const char *group_state_name(enum group_state s);
void group_to(struct groups *g, struct group *gr, enum group_state to, int64_t now_ms);
void group_session_start(struct groups *g, struct member *m, int64_t now_ms);
/* why: for the log; m: whose doing it is, or NULL */
void group_prepare_rebalance(struct groups *g, struct group *gr, const char *why, const struct member *m, int64_t now_ms, struct groups_out *out);
void group_maybe_rebalance(struct groups *g, struct group *gr, const char *why, const struct member *m, int64_t now_ms, struct groups_out *out);
void group_try_complete_join(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out);
void group_remove_and_update(struct groups *g, struct member *m, const char *why, int64_t now_ms, struct groups_out *out);
void group_tell(const struct groups *g, const struct group *gr, enum groups_event_kind kind, const struct member *m, const char *why, int16_t err);
void group_store_assignment(struct groups *g, struct group *gr, const struct kp_sync_group_request *req, int64_t now_ms, struct groups_out *out);
void group_on_group_due(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out);
void group_on_member_due(struct groups *g, struct member *m, int64_t now_ms, struct groups_out *out);
int16_t group_store_error(int16_t err);
int16_t group_commit_error(int16_t err);

/* group_join.c */
void group_join_error(struct groups_call *c, struct slice member, int16_t err, struct groups_out *out);
/* The current generation as an answer to a join. leader: as m is to see it. */
void group_answer_join(const struct groups *g, const struct member *m, struct groups_call *c, struct slice leader, bool members, bool skip, struct groups_out *out);
void group_answer_sync(const struct groups *g, const struct member *m, struct groups_call *c, int16_t err, struct groups_out *out);
int16_t group_check_member(const struct groups *g, const struct group *gr, struct slice member, struct slice instance, struct member **ret_m);
void group_store_static(struct groups *g, struct member *m, struct groups_call *c, struct static_undo *undo, int64_t now_ms, struct groups_out *out);
void group_static_undo_free(struct groups *g, struct static_undo *u);

/* group_offsets.c */
struct offset *group_offset_find(const struct group *gr, uint32_t topic, int32_t partition);
struct offset *group_offset_get(struct groups *g, struct group *gr, uint32_t topic, int32_t partition);
void group_offset_settle(struct groups *g, struct group *gr, struct offset *o); /* removes it when it holds nothing */
struct offset_extra *group_extra_make(struct groups *g, struct slice metadata, int64_t expire_ms);
void group_extra_free(struct groups *g, struct offset_extra *e);
static inline struct slice offset_metadata(const struct offset *o) { return o->extra ? slice_make(o->extra->metadata, o->extra->len) : slice_make("", 0); }
static inline int64_t offset_expire_ms(const struct offset *o) { return o->extra ? o->extra->expire_ms : -1; }
/* Puts what v holds if no later record was put; v's extra is taken over. */
void group_offset_apply(struct groups *g, struct group *gr, struct offset *v);
void group_offset_clear(struct groups *g, struct group *gr, struct offset *o); /* nothing committed any more */
void group_offsets_fini(struct groups *g, struct group *gr);

/* Committed, for a topic that is deleted. */
static inline bool offset_gone(const struct groups *g, const struct offset *o) { return o->log_offset >= 0 && o->log_offset < g->names.by_id[o->topic]->gone_below; }
static inline bool offset_shown(const struct groups *g, const struct offset *o) { return o->log_offset >= 0 && !offset_gone(g, o); }

/* group_delete.c */
void group_gone_after(struct groups *g, const struct ticket *t); /* the write is over; NULL: loading is */
void group_gone_fini(struct groups *g);

/* group_records.c */
struct pen *group_pen_new(void);
void group_pen_free(struct pen *p);
void group_pen_offset(struct pen *p, struct slice group, struct slice topic, const struct offset *o, struct slice metadata, int64_t expire_ms);
void group_pen_offset_tombstone(struct pen *p, struct slice group, struct slice topic, int32_t partition);
void group_pen_group_tombstone(struct pen *p, struct slice group);
uint32_t group_pen_count(const struct pen *p);
size_t group_pen_bytes(const struct pen *p);
struct groups_write *group_pen_finish(struct pen *p); /* frees the pen */
enum record_type { RECORD_OFFSET, RECORD_GROUP };
struct record {
	enum record_type type;
	bool tombstone;
	struct slice group, topic;
	int32_t partition;
	struct kp_offset_commit_value offset;
	struct kp_group_metadata_value value; /* of a group; its members_count members by group_record_member */
	int16_t version;
	struct slice members;                 /* their bytes */
};
MUST_CHECK int group_record_parse(struct slice key, struct slice value, struct arena *a, struct record *ret_r);
/* The i-th member, one after the other; *at is r->members before the first. They have been read once: none is broken. */
void group_record_member(const struct record *r, int32_t i, struct slice *at, struct kp_group_metadata_value_members *ret_m);
/* The group's record as it stands; assignments: by member.ordinal, NULL: the members' own. */
void group_record(struct groups *g, const struct group *gr, const struct slice *assignments, struct pen *p);

/* group_replay.c */
void group_txns_forget(struct groups *g, const struct group *gr, const struct offset *o, int64_t below);
void group_txns_fini(struct groups *g);
