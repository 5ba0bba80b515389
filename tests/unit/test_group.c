/* test_group.c: the coordinator's core, rule by rule (facts/internal-topics.md 4.1 to 4.5; each case names its rule). */
#include "tests/unit/group_world.h"

#include <string.h>

/* A stable group of one dynamic member: its id. */
static const char *stable_of_one(struct world *w, const char *group)
{
	struct gcall *j = join(w, 3, group, "", NULL, "range:sub");
	const char *id = text(w, j->resp.join.member_id);
	CU_ASSERT(j->answered && j->resp.join.error_code == 0);
	char as[200];
	snprintf(as, sizeof(as), "%s=part", id);
	struct gcall *s = sync(w, group, j->resp.join.generation_id, id, NULL, as);
	CU_ASSERT(s->answered && s->resp.sync.error_code == 0);
	return id;
}

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

UNIT_MAIN("group", {"commit_waits", test_commit_waits}, {"commit_fails", test_commit_fails}, {"one_member", test_one_member}, {"two_members", test_two_members})
