/* test_group.c: the coordinator's core, rule by rule: joins and rebalances (facts/internal-topics.md 4.1, 4.2; each case names its rule). */
#include "tests/unit/group_world.h"

#include <stdio.h>
#include <string.h>

#include "brokerd/group/group_priv.h"

/* ---- the simple consumer ---- */

static void test_commit_waits(void)
{
	/* 4.4: a commit is visible when it is committed, not before; unknown partitions are -1 without error */
	struct world w;
	world_begin(&w);
	w.auto_write = false;
	struct gcall *c = commit(&w, "g", -1, "", "t/0=5 t/1=6");
	CU_ASSERT(!c->answered);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), KERR_UNSTABLE_OFFSET_COMMIT);
	world_written(&w, 0);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->req.commit.rows[1].error, 0);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 5);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 6);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 2), -1);
	CU_ASSERT_EQUAL(fetch(&w, "g", "other", 0), -1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), 0);
	CHECK_TEXT(describe(&w, "g"), "Empty   0");
	world_end(&w);
}

static void test_commit_fails(void)
{
	/* 4.4: append errors; nothing is left behind */
	static const int16_t map[][2] = {{KERR_UNKNOWN_TOPIC_OR_PARTITION, KERR_COORDINATOR_NOT_AVAILABLE}, {KERR_NOT_ENOUGH_REPLICAS, KERR_COORDINATOR_NOT_AVAILABLE},
		{KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, KERR_COORDINATOR_NOT_AVAILABLE}, {KERR_NOT_LEADER_OR_FOLLOWER, KERR_NOT_COORDINATOR},
		{KERR_KAFKA_STORAGE_ERROR, KERR_NOT_COORDINATOR}, {KERR_MESSAGE_TOO_LARGE, KERR_INVALID_COMMIT_OFFSET_SIZE},
		{KERR_RECORD_LIST_TOO_LARGE, KERR_INVALID_COMMIT_OFFSET_SIZE}, {KERR_REQUEST_TIMED_OUT, KERR_REQUEST_TIMED_OUT}};
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		struct world w;
		world_begin(&w);
		w.auto_write = false;
		struct gcall *c = commit(&w, "g", -1, "", "t/0=5");
		world_written(&w, map[i][0]);
		CU_ASSERT(c->answered);
		CU_ASSERT_EQUAL(c->req.commit.rows[0].error, map[i][1]);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
		CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), 0);
		CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
		world_end(&w);
	}
}

/* ---- one member ---- */

static void test_one_member(void)
{
	struct world w;
	world_begin(&w);
	const char *id = stable_of_one(&w, "g");
	CHECK_TEXT(describe(&w, "g"), "Stable consumer range 1");
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 1, id, NULL), 0);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 2, id, NULL), KERR_ILLEGAL_GENERATION);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 1, "nobody", NULL), KERR_UNKNOWN_MEMBER_ID);
	struct gcall *c = commit(&w, "g", 1, id, "t/0=9");
	CU_ASSERT(c->answered && c->req.commit.rows[0].error == 0);
	struct gcall *l = leave(&w, 1, "g", id, NULL);
	CU_ASSERT_EQUAL(l->resp.leave.error_code, 0);
	CHECK_TEXT(describe(&w, "g"), "Empty consumer  0");
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 9);
	world_reload(&w);
	CHECK_TEXT(describe(&w, "g"), "Empty consumer  0");
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 9);
	struct gcall *d = delete_groups(&w, "g h");
	CU_ASSERT(d->answered);
	CU_ASSERT_EQUAL(d->req.delete.errors[0], 0);
	CU_ASSERT_EQUAL(d->req.delete.errors[1], KERR_GROUP_ID_NOT_FOUND);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_reload(&w);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_end(&w);
}

static void test_two_members(void)
{
	struct world w;
	world_begin(&w);
	const char *a = stable_of_one(&w, "g");
	struct gcall *jb = join(&w, 3, "g", "", NULL, "range:subB");
	CU_ASSERT(!jb->answered);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 1, a, NULL), KERR_REBALANCE_IN_PROGRESS);
	struct gcall *ja = join(&w, 3, "g", a, NULL, "range:subA");
	CU_ASSERT(ja->answered && jb->answered);
	CU_ASSERT_EQUAL(ja->resp.join.generation_id, 2);
	CU_ASSERT_EQUAL(ja->resp.join.members_count, 2);
	CU_ASSERT(IS(ja->resp.join.members[0].metadata, "subA"));
	CU_ASSERT(IS(ja->resp.join.members[1].metadata, "subB"));
	CU_ASSERT_EQUAL(jb->resp.join.members_count, 0);
	CU_ASSERT(IS(jb->resp.join.leader, a));
	const char *b = text(&w, jb->resp.join.member_id);
	struct gcall *sb = sync(&w, "g", 2, b, NULL, NULL);
	CU_ASSERT(!sb->answered);
	char as[300];
	snprintf(as, sizeof(as), "%s=pa %s=pb", a, b);
	struct gcall *sa = sync(&w, "g", 2, a, NULL, as);
	CU_ASSERT(sa->answered && sb->answered);
	CU_ASSERT(IS(sa->resp.sync.assignment, "pa"));
	CU_ASSERT(IS(sb->resp.sync.assignment, "pb"));
	world_reload(&w);
	CHECK_TEXT(describe(&w, "g"), "Stable consumer range 2");
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 2, b, NULL), 0);
	/* b goes silent */
	for (int i = 0; i < 3; i++) {
		world_tick(&w, SESSION / 2 + 1);
		heartbeat(&w, "g", 2, a, NULL);
	}
	CHECK_TEXT(describe(&w, "g"), "PreparingRebalance consumer  1");
	world_end(&w);
}

/* ---- 4.2: join ---- */

static void set_timeouts(struct gcall *c, int32_t session_ms, int32_t rebalance_ms)
{
	c->req.join.session_timeout_ms = session_ms;
	c->req.join.rebalance_timeout_ms = rebalance_ms;
}

static const struct member *member_in(const struct world *w, const char *group, const char *id)
{
	return group_member_find(w->g, group_find(w->g, slice_str(group)), slice_str(id));
}

static void test_session_timeout(void)
{
	struct world w;
	static const struct { int32_t ms; int16_t err; } rows[] = {{5999, KERR_INVALID_SESSION_TIMEOUT}, {6000, 0}, {1800000, 0}, {1800001, KERR_INVALID_SESSION_TIMEOUT}, {-1, KERR_INVALID_SESSION_TIMEOUT}};
	world_begin(&w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char group[8];
		snprintf(group, sizeof(group), "g%zu", i);
		struct gcall *c = join_call(&w, 3, group, "", NULL, "range:x");
		c->req.join.session_timeout_ms = rows[i].ms;
		do_join(&w, c);
		CU_ASSERT_EQUAL(c->resp.join.error_code, rows[i].err);
		CU_ASSERT_EQUAL(state_of(&w, group), rows[i].err ? '-' : 'C');
	}
	/* version 0 has one timeout only */
	struct gcall *c = join_call(&w, 0, "v0", "", NULL, "range:x");
	set_timeouts(c, 7777, 9);
	do_join(&w, c);
	CU_ASSERT_EQUAL(member_in(&w, "v0", text(&w, c->resp.join.member_id))->rebalance_timeout_ms, 7777);
	world_end(&w);
}

static void test_timeouts_change(void)
{
	/* a join brings the timeouts that hold from then on */
	struct world w;
	world_begin(&w);
	const char *id = stable_of_one(&w, "g");
	struct gcall *c = join_call(&w, 3, "g", id, NULL, "range:x");
	set_timeouts(c, SESSION * 2, REBALANCE * 2);
	do_join(&w, c);
	CU_ASSERT_EQUAL(c->resp.join.error_code, 0);
	CU_ASSERT_EQUAL(member_in(&w, "g", id)->rebalance_timeout_ms, REBALANCE * 2);
	sync(&w, "g", c->resp.join.generation_id, id, NULL, NULL);
	world_tick(&w, SESSION * 2 - 1);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	world_tick(&w, 1);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	world_end(&w);
}

static void test_protocols(void)
{
	/* empty, other type, none in common: 23. A group that is empty takes any type */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	CU_ASSERT_EQUAL(join(&w, 3, "g", "", NULL, "")->resp.join.error_code, KERR_INCONSISTENT_GROUP_PROTOCOL);
	struct gcall *c = join_call(&w, 3, "g", "", NULL, "range:x");
	c->req.join.protocol_type = slice_str("");
	CU_ASSERT_EQUAL(do_join(&w, c)->resp.join.error_code, KERR_INCONSISTENT_GROUP_PROTOCOL);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	stable_of(&w, "g", ids, 2, "range:x rr:y");
	CU_ASSERT_EQUAL(join(&w, 3, "g", "", NULL, "sticky:x")->resp.join.error_code, KERR_INCONSISTENT_GROUP_PROTOCOL);
	c = join_call(&w, 3, "g", "", NULL, "range:x");
	c->req.join.protocol_type = slice_str("connect");
	CU_ASSERT_EQUAL(do_join(&w, c)->resp.join.error_code, KERR_INCONSISTENT_GROUP_PROTOCOL);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	/* in common with all: rr; a member that only knows rr narrows it */
	struct gcall *n = join(&w, 3, "g", "", NULL, "rr:z");
	CU_ASSERT(!n->answered);
	join(&w, 3, "g", ids[0], NULL, "range:x rr:y");
	join(&w, 3, "g", ids[1], NULL, "range:x rr:y");
	CU_ASSERT(n->answered && IS(n->resp.join.protocol_name, "rr"));
	CU_ASSERT_EQUAL(join(&w, 3, "g", "", NULL, "range:x")->resp.join.error_code, KERR_INCONSISTENT_GROUP_PROTOCOL);
	leave(&w, 1, "g", ids[0], NULL);
	leave(&w, 1, "g", ids[1], NULL);
	leave(&w, 1, "g", text(&w, n->resp.join.member_id), NULL);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	c = join_call(&w, 3, "g", "", NULL, "default:x");
	c->req.join.protocol_type = slice_str("connect");
	do_join(&w, c);
	CU_ASSERT(c->answered && IS(c->resp.join.protocol_type, "connect"));
	world_end(&w);
}

static void test_vote(void)
{
	/* each member votes for its first candidate; most votes win; of equal ones the earliest member's */
	static const struct { const char *p[3]; const char *want; } rows[] = {
		{{"a:1 b:1", "b:2 a:2", "b:3 a:3"}, "b"}, {{"a:1 b:1", "b:2 a:2", "a:3 b:3"}, "a"}, {{"a:1 b:1 c:1", "b:2 c:2 a:2", "c:3 b:3 a:3"}, "a"},
		{{"x:1 a:1 b:1", "y:2 b:2 a:2", "z:3 b:3 a:3"}, "b"}, {{"a:1 b:1", "b:2", "a:3 b:3"}, "b"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world w;
		struct gcall *j[3];
		world_begin(&w);
		w.cfg.initial_rebalance_delay_ms = 1000;
		for (int k = 0; k < 3; k++)
			j[k] = join(&w, 3, "g", "", NULL, rows[i].p[k]);
		world_tick(&w, 2001);
		CU_ASSERT(j[0]->answered);
		CU_ASSERT(IS(j[2]->resp.join.protocol_name, rows[i].want));
		/* the leader has everybody's metadata of that protocol */
		CU_ASSERT_EQUAL(j[0]->resp.join.members_count, 3);
		CU_ASSERT(IS(j[0]->resp.join.members[1].metadata, "2"));
		CU_ASSERT_EQUAL(j[1]->resp.join.members_count, 0);
		world_end(&w);
	}
}

static void test_vote_again(void)
{
	/* each generation votes anew: what members wanted before does not count */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	stable_of(&w, "g", ids, 3, "a:1 b:1");
	struct gcall *j = join(&w, 3, "g", ids[0], NULL, "b:1 a:1");
	join(&w, 3, "g", ids[1], NULL, "b:1 a:1");
	join(&w, 3, "g", ids[2], NULL, "a:1 b:1");
	CU_ASSERT_FATAL(j->answered);
	CU_ASSERT(IS(j->resp.join.protocol_name, "b"));
	world_end(&w);
}

static void test_member_id_required(void)
{
	/* KIP-394 */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	struct gcall *c = join(&w, 4, "g", "", NULL, "range:x");
	CU_ASSERT_EQUAL(c->resp.join.error_code, KERR_MEMBER_ID_REQUIRED);
	CU_ASSERT_EQUAL(c->resp.join.member_id.len, strlen("client-") + 36);
	CU_ASSERT(memcmp(c->resp.join.member_id.ptr, "client-", 7) == 0);
	const char *id = text(&w, c->resp.join.member_id);
	/* an id that was given out is no member */
	CU_ASSERT_EQUAL(heartbeat(&w, "g", 0, id, NULL), KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(sync(&w, "g", 0, id, NULL, NULL)->resp.sync.error_code, KERR_UNKNOWN_MEMBER_ID);
	c = join(&w, 4, "g", id, NULL, "range:x");
	CU_ASSERT(c->answered && c->resp.join.error_code == 0 && IS(c->resp.join.member_id, id));
	leave(&w, 4, "g", id, NULL);
	/* it lasts one session timeout; then the group that was made for it is gone */
	c = join(&w, 4, "h", "", NULL, "range:x");
	id = text(&w, c->resp.join.member_id);
	world_tick(&w, SESSION - 1);
	CU_ASSERT_EQUAL(state_of(&w, "h"), 'E');
	world_tick(&w, 1);
	CU_ASSERT_EQUAL(state_of(&w, "h"), '-');
	CU_ASSERT_EQUAL(join(&w, 4, "h", id, NULL, "range:x")->resp.join.error_code, KERR_UNKNOWN_MEMBER_ID);
	/* a rebalance waits for it */
	stable_of(&w, "k", ids, 2, "range:x");
	c = join(&w, 4, "k", "", NULL, "range:x");
	id = text(&w, c->resp.join.member_id);
	struct gcall *a = join(&w, 3, "k", ids[0], NULL, "range:x"), *b = join(&w, 3, "k", ids[1], NULL, "range:x");
	CU_ASSERT(!a->answered && !b->answered);
	c = join(&w, 4, "k", id, NULL, "range:x");
	CU_ASSERT(a->answered && b->answered && c->answered);
	CU_ASSERT_EQUAL(a->resp.join.members_count, 3);
	/* or until it leaves */
	c = join(&w, 4, "k", "", NULL, "range:x");
	id = text(&w, c->resp.join.member_id);
	const char *third = ids[0];
	a = join(&w, 3, "k", third, NULL, "range:y");
	b = join(&w, 3, "k", ids[1], NULL, "range:y");
	struct group *gr = group_find(w.g, slice_str("k"));
	const char *last = text(&w, member_id(LIST_ENTRY(gr->roster->members.prev, struct member, link)));
	struct gcall *l = join(&w, 3, "k", last, NULL, "range:y");
	CU_ASSERT(!a->answered && !b->answered && !l->answered);
	CU_ASSERT_EQUAL(leave(&w, 4, "k", id, NULL)->resp.leave.members[0].error_code, 0);
	CU_ASSERT(a->answered && b->answered && l->answered);
	world_end(&w);
}

static void test_max_size(void)
{
	/* GROUP_MAX_SIZE_REACHED; while Preparing those who wait count, so that the last ones to come are refused */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	w.cfg.max_size = 3;
	int32_t generation = stable_of(&w, "g", ids, 3, "range:x");
	struct gcall *c = join(&w, 3, "g", "", NULL, "range:x");
	CU_ASSERT_EQUAL(c->resp.join.error_code, KERR_GROUP_MAX_SIZE_REACHED);
	CU_ASSERT_EQUAL(c->resp.join.member_id.len, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[2], NULL), 0);
	/* the limit falls: at the next rebalance the last to come back has no place */
	w.cfg.max_size = 2;
	struct gcall *a = join(&w, 3, "g", ids[0], NULL, "range:y"), *b = join(&w, 3, "g", ids[1], NULL, "range:y");
	CU_ASSERT(!a->answered && !b->answered);
	c = join(&w, 3, "g", ids[2], NULL, "range:y");
	CU_ASSERT_EQUAL(c->resp.join.error_code, KERR_GROUP_MAX_SIZE_REACHED);
	CU_ASSERT(a->answered && b->answered);
	CU_ASSERT_EQUAL(a->resp.join.members_count, 2);
	/* KIP-394: ids are given out beyond the size, joins decide; but not without end */
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(join(&w, 4, "k", "", NULL, "range:x")->resp.join.error_code, KERR_MEMBER_ID_REQUIRED);
	CU_ASSERT_EQUAL(join(&w, 4, "k", "", NULL, "range:x")->resp.join.error_code, KERR_GROUP_MAX_SIZE_REACHED);
	world_end(&w);
}

static void test_max_size_at_load(void)
{
	struct world w;
	const char *ids[3];
	world_begin(&w);
	stable_of(&w, "g", ids, 3, "range:x");
	stable_of(&w, "h", ids, 2, "range:x");
	w.cfg.max_size = 2;
	world_reload(&w);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT_EQUAL(state_of(&w, "h"), 'S');
	world_end(&w);
}

static void test_initial_delay(void)
{
	/* From Empty: the delay, again while members keep coming, at most the rebalance timeout in all; only for the first generation */
	struct world w;
	world_begin(&w);
	w.cfg.initial_rebalance_delay_ms = 3000;
	struct gcall *a = join(&w, 3, "g", "", NULL, "range:x");
	world_tick(&w, 2999);
	CU_ASSERT(!a->answered);
	world_tick(&w, 1);
	CU_ASSERT(a->answered);
	struct gcall *first = join_call(&w, 3, "h", "", NULL, "range:x");
	set_timeouts(first, SESSION, 7000);
	do_join(&w, first);
	for (int i = 0; i < 3; i++) {
		world_tick(&w, 2000); /* at 2, 4, 6 s: 3 + 3 + 1 s in all */
		struct gcall *more = join_call(&w, 3, "h", "", NULL, "range:x");
		set_timeouts(more, SESSION, 7000);
		do_join(&w, more);
	}
	CU_ASSERT(!first->answered);
	world_tick(&w, 999);
	CU_ASSERT(!first->answered);
	world_tick(&w, 1);
	CU_ASSERT(first->answered);
	CU_ASSERT_EQUAL(first->resp.join.members_count, 4);
	/* all leave while it waits: nothing happens before its end; then it is empty, of generation 1 */
	struct gcall *id = join(&w, 4, "k", "", NULL, "range:x");
	const char *k = text(&w, id->resp.join.member_id);
	struct gcall *j = join(&w, 4, "k", k, NULL, "range:x");
	leave(&w, 4, "k", k, NULL);
	CU_ASSERT_EQUAL(j->resp.join.error_code, KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(state_of(&w, "k"), 'P');
	world_tick(&w, 3000);
	CU_ASSERT_EQUAL(state_of(&w, "k"), 'E');
	/* a later generation is put off once only */
	j = join(&w, 3, "k", "", NULL, "range:x");
	world_tick(&w, 2000);
	join(&w, 3, "k", "", NULL, "range:x");
	world_tick(&w, 1000);
	CU_ASSERT(j->answered && j->resp.join.generation_id == 2);
	world_end(&w);
}

static void test_rebalance_timeout(void)
{
	/* dynamic members that do not come back are removed at the longest rebalance timeout; static ones stay; the leader is one who is here */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 3, "range:x");
	struct gcall *c = join(&w, 3, "g", ids[1], NULL, "range:y");
	for (int i = 0; i < 6; i++) {
		world_tick(&w, REBALANCE / 6 - 1);
		CU_ASSERT(!c->answered);
		heartbeat(&w, "g", generation, ids[0], NULL); /* alive, and never joins */
		heartbeat(&w, "g", generation, ids[2], NULL);
	}
	world_tick(&w, 6);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->resp.join.generation_id, generation + 1);
	CU_ASSERT_EQUAL(c->resp.join.members_count, 1);
	CU_ASSERT(IS(c->resp.join.leader, ids[1]));
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation + 1, ids[0], NULL), KERR_UNKNOWN_MEMBER_ID);
	world_end(&w);
}

static void test_static_join(void)
{
	struct world w;
	const char *ids[3];
	world_begin(&w);
	int32_t generation = stable_static(&w, "g", ids, 3);
	CU_ASSERT(memcmp(ids[0], "i0-", 3) == 0);
	/* 4.1: another id for the name is fenced, an unknown name or member is unknown */
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i0"), KERR_FENCED_INSTANCE_ID);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i9"), KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i1"), 0);
	CU_ASSERT_EQUAL(sync(&w, "g", generation, ids[1], "i0", NULL)->resp.sync.error_code, KERR_FENCED_INSTANCE_ID);
	CU_ASSERT_EQUAL(join(&w, 5, "g", ids[1], "i0", "range:x rr:y")->resp.join.error_code, KERR_FENCED_INSTANCE_ID);
	struct gcall *co = commit_call(&w, "g", generation, ids[1], "t/0=1");
	co->req.commit.instance = slice_str("i0");
	groups_commit(w.g, &co->call, w.now, &w.out);
	world_take(&w);
	CU_ASSERT_EQUAL(co->req.commit.rows[0].error, KERR_FENCED_INSTANCE_ID);
	CU_ASSERT_EQUAL(leave(&w, 3, "g", ids[1], "i0")->resp.leave.members[0].error_code, KERR_FENCED_INSTANCE_ID);
	/* a follower comes back, v5 and v9: no rebalance, its assignment is there, the old id is fenced */
	struct gcall *c = join(&w, 5, "g", "", "i1", "range:x rr:y");
	CU_ASSERT(c->answered && c->resp.join.error_code == 0);
	CU_ASSERT_EQUAL(c->resp.join.generation_id, generation);
	CU_ASSERT(!IS(c->resp.join.member_id, ids[1]));
	CU_ASSERT(IS(c->resp.join.leader, ids[0]));
	CU_ASSERT_EQUAL(c->resp.join.members_count, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i1"), KERR_FENCED_INSTANCE_ID);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], NULL), KERR_UNKNOWN_MEMBER_ID);
	struct gcall *s = sync(&w, "g", generation, text(&w, c->resp.join.member_id), "i1", NULL);
	CU_ASSERT(IS(s->resp.sync.assignment, "part1"));
	/* the leader below v9: told the old leader's id, no members; it must not assign */
	c = join(&w, 8, "g", "", "i0", "range:x rr:y");
	CU_ASSERT(IS(c->resp.join.leader, ids[0]));
	CU_ASSERT(!IS(c->resp.join.member_id, ids[0]));
	CU_ASSERT_EQUAL(c->resp.join.members_count, 0);
	CU_ASSERT(!c->resp.join.skip_assignment);
	/* from v9 on: that it leads, with all members, but is not to assign */
	c = join(&w, 9, "g", "", "i0", "range:x rr:y");
	CU_ASSERT(slice_eq(c->resp.join.leader, c->resp.join.member_id));
	CU_ASSERT_EQUAL(c->resp.join.members_count, 3);
	CU_ASSERT(IS(c->resp.join.members[0].group_instance_id, "i0"));
	CU_ASSERT(c->resp.join.skip_assignment);
	c = join(&w, 9, "g", "", "i2", "range:x rr:y");
	CU_ASSERT(!c->resp.join.skip_assignment);
	CU_ASSERT_EQUAL(c->resp.join.members_count, 0);
	const char *last = text(&w, c->resp.join.member_id);
	/* what was written is what comes back */
	world_reload(&w);
	CHECK_TEXT(describe(&w, "g"), "Stable consumer range 3");
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, last, "i2"), 0);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[2], "i2"), KERR_FENCED_INSTANCE_ID);
	world_end(&w);
}

static void test_static_protocol_change(void)
{
	/* its new protocols would change the choice: the group rebalances */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	stable_static(&w, "g", ids, 2);
	struct gcall *c = join(&w, 5, "g", "", "i1", "rr:y");
	CU_ASSERT(!c->answered);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	struct gcall *a = join(&w, 5, "g", ids[0], "i0", "range:x rr:y");
	CU_ASSERT(a->answered && c->answered);
	CU_ASSERT(IS(a->resp.join.protocol_name, "rr"));
	world_end(&w);
}

static void test_static_completing(void)
{
	/* while the leader assigns: to the old id; so everybody joins again. A call of the old one that waits is fenced */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_static(&w, "g", ids, 2);
	join(&w, 5, "g", ids[0], "i0", "range:z rr:y");
	join(&w, 5, "g", ids[1], "i1", "range:z rr:y");
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	struct gcall *s = sync(&w, "g", generation + 1, ids[1], "i1", NULL);
	CU_ASSERT(!s->answered);
	struct gcall *c = join(&w, 5, "g", "", "i1", "range:z rr:y");
	CU_ASSERT(s->answered && s->resp.sync.error_code == KERR_FENCED_INSTANCE_ID);
	CU_ASSERT(!c->answered);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	/* and once more, while it waits in a join */
	struct gcall *d = join(&w, 5, "g", "", "i1", "range:z rr:y");
	CU_ASSERT(c->answered && c->resp.join.error_code == KERR_FENCED_INSTANCE_ID);
	join(&w, 5, "g", ids[0], "i0", "range:z rr:y");
	CU_ASSERT(d->answered && d->resp.join.error_code == 0);
	world_end(&w);
}

static void test_static_not_written(void)
{
	/* the replacement cannot be written: error, and the old id is the member again */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_static(&w, "g", ids, 2);
	w.auto_write = false;
	struct gcall *c = join(&w, 5, "g", "", "i1", "range:x rr:y");
	CU_ASSERT(!c->answered);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i1"), KERR_FENCED_INSTANCE_ID);
	world_written(&w, KERR_NOT_ENOUGH_REPLICAS);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->resp.join.error_code, KERR_COORDINATOR_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i1"), 0);
	/* a rebalance meanwhile: the join is one of it, whatever becomes of the write */
	c = join(&w, 5, "g", "", "i1", "range:x rr:y");
	struct gcall *a = join(&w, 5, "g", ids[0], "i0", "range:q rr:y");
	CU_ASSERT(a->answered && c->answered);
	CU_ASSERT_EQUAL(c->resp.join.error_code, 0);
	CU_ASSERT_EQUAL(c->resp.join.generation_id, generation + 1);
	world_written(&w, KERR_NOT_ENOUGH_REPLICAS);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	world_end(&w);
}

static void test_static_stay(void)
{
	/* only static members, none of them back at the rebalance timeout: one more timeout, until their sessions end */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_static(&w, "g", ids, 2);
	struct gcall *c = join(&w, 3, "g", "", NULL, "range:x rr:y");
	leave(&w, 3, "g", text(&w, member_id(LIST_ENTRY(group_find(w.g, slice_str("g"))->roster->members.prev, struct member, link))), NULL);
	CU_ASSERT(c->answered && c->resp.join.error_code == KERR_UNKNOWN_MEMBER_ID);
	for (int i = 0; i < 7; i++) {
		world_tick(&w, 5000);
		CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[0], "i0"), KERR_REBALANCE_IN_PROGRESS);
		CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], "i1"), KERR_REBALANCE_IN_PROGRESS);
	}
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	/* one comes back: at the next timeout the generation is made, with the other one in it */
	c = join(&w, 5, "g", ids[1], "i1", "range:x rr:y");
	for (int i = 0; i < 6; i++) {
		heartbeat(&w, "g", generation, ids[0], "i0");
		world_tick(&w, 5000);
	}
	CU_ASSERT(c->answered);
	CU_ASSERT(IS(c->resp.join.leader, ids[1]));
	CU_ASSERT_EQUAL(c->resp.join.members_count, 2);
	world_end(&w);
}

static void test_new_member_waits(void)
{
	/* a new member's session does not run while it waits in its first join; but five minutes are the end */
	struct world w;
	const char *ids[1];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 1, "range:x");
	struct gcall *old = join_call(&w, 3, "g", ids[0], NULL, "range:x");
	set_timeouts(old, SESSION, 20 * 60000);
	do_join(&w, old);
	sync(&w, "g", ++generation, ids[0], NULL, NULL);
	struct gcall *c = join(&w, 3, "g", "", NULL, "range:x");
	for (int i = 0; i < 59; i++) {
		world_tick(&w, 5000);
		heartbeat(&w, "g", generation, ids[0], NULL);
	}
	CU_ASSERT(!c->answered);
	world_tick(&w, 5000);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->resp.join.error_code, KERR_UNKNOWN_MEMBER_ID);
	world_end(&w);
}

static void test_join_again(void)
{
	/* the same member's second join, the first one still waiting: only one can be answered with the generation */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	stable_of(&w, "g", ids, 2, "range:x");
	struct gcall *one = join(&w, 3, "g", ids[0], NULL, "range:y"), *two = join(&w, 3, "g", ids[0], NULL, "range:z");
	CU_ASSERT(one->answered && !two->answered);
	CU_ASSERT_EQUAL(one->resp.join.error_code, KERR_REBALANCE_IN_PROGRESS);
	join(&w, 3, "g", ids[1], NULL, "range:y");
	CU_ASSERT(two->answered);
	CU_ASSERT(IS(two->resp.join.members[0].metadata, "z"));
	world_end(&w);
}

static void test_leader(void)
{
	/* the first that joined an empty group leads, over rebalances; when it goes, the next oldest */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	stable_of(&w, "g", ids, 3, "range:x");
	for (int round = 0; round < 2; round++) {
		struct gcall *j[3];
		for (int i = 2; i >= 0; i--)
			j[i] = join(&w, 3, "g", ids[i], NULL, round ? "range:y" : "range:z");
		for (int i = 0; i < 3; i++) {
			CU_ASSERT(j[i]->answered && IS(j[i]->resp.join.leader, ids[0]));
			CU_ASSERT_EQUAL(j[i]->resp.join.members_count, i ? 0 : 3);
		}
	}
	leave(&w, 1, "g", ids[0], NULL);
	join(&w, 3, "g", ids[2], NULL, "range:y");
	struct gcall *c = join(&w, 3, "g", ids[1], NULL, "range:y");
	CU_ASSERT(c->answered && IS(c->resp.join.leader, ids[1]));
	world_end(&w);
}

static void test_cooperative(void)
{
	/* cooperative rebalancing is two rebalances in a row: after the first one the members that gave something up join again with what they own;
	 * metadata that changed is enough, and who has nothing to say is told to join by its heartbeat */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 2, "cooperative-sticky:owns-ab");
	struct gcall *n = join(&w, 3, "g", "", NULL, "cooperative-sticky:owns-");
	join(&w, 3, "g", ids[0], NULL, "cooperative-sticky:owns-ab");
	join(&w, 3, "g", ids[1], NULL, "cooperative-sticky:owns-cd");
	CU_ASSERT(n->answered && n->resp.join.generation_id == generation + 1);
	const char *id = text(&w, n->resp.join.member_id);
	sync(&w, "g", generation + 1, ids[1], NULL, NULL);
	sync(&w, "g", generation + 1, id, NULL, NULL);
	sync(&w, "g", generation + 1, ids[0], NULL, "x=y");
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	/* ids[1] gave up d */
	struct gcall *b = join(&w, 3, "g", ids[1], NULL, "cooperative-sticky:owns-c");
	CU_ASSERT(!b->answered);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation + 1, ids[0], NULL), KERR_REBALANCE_IN_PROGRESS);
	/* commits of what is kept go on */
	CU_ASSERT_EQUAL(commit(&w, "g", generation + 1, ids[0], "t/0=7")->req.commit.rows[0].error, 0);
	join(&w, 3, "g", id, NULL, "cooperative-sticky:owns-");
	struct gcall *a = join(&w, 3, "g", ids[0], NULL, "cooperative-sticky:owns-ab");
	CU_ASSERT(a->answered && b->answered);
	CU_ASSERT_EQUAL(a->resp.join.generation_id, generation + 2);
	CU_ASSERT(IS(a->resp.join.members[1].metadata, "owns-c"));
	world_end(&w);
}

UNIT_MAIN("group",
	{"commit_waits", test_commit_waits}, {"commit_fails", test_commit_fails}, {"one_member", test_one_member},
	{"two_members", test_two_members}, {"session_timeout", test_session_timeout}, {"timeouts_change", test_timeouts_change}, {"protocols", test_protocols},
	{"vote", test_vote}, {"vote_again", test_vote_again}, {"member_id_required", test_member_id_required}, {"max_size", test_max_size}, {"max_size_at_load", test_max_size_at_load},
	{"initial_delay", test_initial_delay}, {"rebalance_timeout", test_rebalance_timeout}, {"static_join", test_static_join},
	{"static_protocol_change", test_static_protocol_change}, {"static_completing", test_static_completing},
	{"static_not_written", test_static_not_written}, {"static_stay", test_static_stay}, {"new_member_waits", test_new_member_waits},
	{"join_again", test_join_again}, {"leader", test_leader}, {"cooperative", test_cooperative})
