/* test_group_sync.c: the coordinator's core, rule by rule: what comes after the join: sync, heartbeat, leave, and what others see (facts/internal-topics.md
 * 4.3; each case names its rule). */
#include "tests/unit/group_world.h"

#include <stdio.h>
#include <string.h>

#include "brokerd/group/group_priv.h"

/* ---- 4.3: sync, heartbeat, leave ---- */

static void test_sync_checks(void)
{
	/* v5 names protocol type and protocol */
	struct world w;
	const char *ids[1];
	static const struct { const char *type, *name; int16_t err; } rows[] = {{"consumer", "range", 0}, {NULL, NULL, 0}, {"connect", "range", 23}, {"consumer", "rr", 23}, {"consumer", NULL, 0}};
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 1, "range:x");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gcall *c = new_call(&w, 5);
		kp_sync_group_request_init(&c->req.sync);
		c->req.sync.group_id = slice_str("g");
		c->req.sync.member_id = slice_str(ids[0]);
		c->req.sync.generation_id = generation;
		c->req.sync.protocol_type = slice_str(rows[i].type);
		c->req.sync.protocol_name = slice_str(rows[i].name);
		groups_sync(w.g, &c->call, w.now, &w.out);
		world_take(&w);
		CU_ASSERT_EQUAL(c->resp.sync.error_code, rows[i].err);
		if (!rows[i].err)
			CU_ASSERT(IS(c->resp.sync.protocol_type, "consumer") && IS(c->resp.sync.protocol_name, "range") && IS(c->resp.sync.assignment, "part0"));
	}
	world_end(&w);
}

/* Two members whose leader has synced; the write is out. */
static struct gcall *storing(struct world *w, const char **ids, int32_t *generation, struct gcall **follower)
{
	*generation = 1 + stable_of(w, "g", ids, 2, "range:x");
	join(w, 3, "g", ids[0], NULL, "range:y");
	join(w, 3, "g", ids[1], NULL, "range:y");
	w->auto_write = false;
	*follower = sync(w, "g", *generation, ids[1], NULL, NULL);
	char as[300];
	snprintf(as, sizeof(as), "%s=mine", ids[0]);
	return sync(w, "g", *generation, ids[0], NULL, as);
}

static void test_store_waits(void)
{
	/* nobody has an assignment before it is written; who is left out has an empty one; the leader asking again writes nothing twice */
	struct world w;
	const char *ids[2];
	int32_t generation;
	struct gcall *f;
	world_begin(&w);
	struct gcall *l = storing(&w, ids, &generation, &f);
	CU_ASSERT(!l->answered && !f->answered);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	struct gcall *again = sync(&w, "g", generation, ids[0], NULL, "x=other");
	CU_ASSERT(l->answered && l->resp.sync.error_code == KERR_REBALANCE_IN_PROGRESS);
	CU_ASSERT_EQUAL(world_open_writes(&w), 1);
	world_written(&w, 0);
	CU_ASSERT(again->answered && f->answered);
	CU_ASSERT(IS(again->resp.sync.assignment, "mine"));
	CU_ASSERT_EQUAL(f->resp.sync.assignment.len, 0);
	CU_ASSERT_EQUAL(f->resp.sync.error_code, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	world_end(&w);
}

static void test_store_fails(void)
{
	static const int16_t map[][2] = {{KERR_UNKNOWN_TOPIC_OR_PARTITION, KERR_COORDINATOR_NOT_AVAILABLE}, {KERR_NOT_ENOUGH_REPLICAS, KERR_COORDINATOR_NOT_AVAILABLE},
		{KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, KERR_COORDINATOR_NOT_AVAILABLE}, {KERR_NOT_LEADER_OR_FOLLOWER, KERR_NOT_COORDINATOR},
		{KERR_KAFKA_STORAGE_ERROR, KERR_NOT_COORDINATOR}, {KERR_REQUEST_TIMED_OUT, KERR_REBALANCE_IN_PROGRESS}, {KERR_MESSAGE_TOO_LARGE, KERR_UNKNOWN_SERVER_ERROR},
		{KERR_RECORD_LIST_TOO_LARGE, KERR_UNKNOWN_SERVER_ERROR}};
	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
		struct world w;
		const char *ids[2];
		int32_t generation;
		struct gcall *f;
		world_begin(&w);
		struct gcall *l = storing(&w, ids, &generation, &f);
		world_written(&w, map[i][0]);
		CU_ASSERT(l->answered && f->answered);
		CU_ASSERT_EQUAL(l->resp.sync.error_code, map[i][1]);
		CU_ASSERT_EQUAL(f->resp.sync.error_code, map[i][1]);
		CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
		CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[0], NULL), KERR_REBALANCE_IN_PROGRESS);
		world_end(&w);
	}
}

static void test_store_overtaken(void)
{
	/* a rebalance begins while the assignment is being written: the record changes nothing that lives */
	struct world w;
	const char *ids[2];
	int32_t generation;
	struct gcall *f;
	world_begin(&w);
	struct gcall *l = storing(&w, ids, &generation, &f);
	struct gcall *n = join(&w, 3, "g", "", NULL, "range:z");
	CU_ASSERT(l->answered && l->resp.sync.error_code == KERR_REBALANCE_IN_PROGRESS);
	CU_ASSERT(f->answered && f->resp.sync.error_code == KERR_REBALANCE_IN_PROGRESS);
	join(&w, 3, "g", ids[0], NULL, "range:y");
	join(&w, 3, "g", ids[1], NULL, "range:y");
	CU_ASSERT(n->answered);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	world_written(&w, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	l = sync(&w, "g", generation + 1, ids[0], NULL, "x=y");
	CU_ASSERT_EQUAL(world_open_writes(&w), 1);
	world_written(&w, 0);
	CU_ASSERT(l->answered && l->resp.sync.error_code == 0);
	world_end(&w);
}

static void test_sync_timeout(void)
{
	/* KAFKA-9752: who joined and does not sync within the rebalance timeout is removed, whatever heartbeats it sends */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	int32_t generation = 1 + stable_of(&w, "g", ids, 3, "range:x");
	for (int i = 0; i < 3; i++)
		join(&w, 3, "g", ids[i], NULL, "range:y");
	sync(&w, "g", generation, ids[0], NULL, "x=y");
	sync(&w, "g", generation, ids[1], NULL, NULL);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
		for (int k = 0; k < 3; k++)
			CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[k], NULL), 0);
		world_tick(&w, 5000);
	}
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[2], NULL), KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], NULL), KERR_REBALANCE_IN_PROGRESS);
	world_end(&w);
}

static void test_sessions(void)
{
	/* heartbeat and commit keep a session; silence ends it and the group rebalances; who waits in a sync is not silent */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 2, "range:x");
	for (int i = 0; i < 4; i++) {
		world_tick(&w, SESSION - 1);
		CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[0], NULL), 0);
		CU_ASSERT_EQUAL(commit(&w, "g", generation, ids[1], "t/0=1")->req.commit.rows[0].error, 0);
	}
	world_tick(&w, SESSION - 1);
	heartbeat(&w, "g", generation, ids[0], NULL);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	world_tick(&w, 1);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], NULL), KERR_UNKNOWN_MEMBER_ID);
	join(&w, 3, "g", ids[0], NULL, "range:x");
	struct gcall *n = join(&w, 3, "g", "", NULL, "range:x");
	join(&w, 3, "g", ids[0], NULL, "range:x");
	const char *b = text(&w, n->resp.join.member_id);
	struct gcall *s = sync(&w, "g", generation + 2, b, NULL, NULL);
	world_tick(&w, SESSION / 2);
	heartbeat(&w, "g", generation + 2, ids[0], NULL);
	world_tick(&w, SESSION / 2 + 1);
	CU_ASSERT(!s->answered);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'C');
	sync(&w, "g", generation + 2, ids[0], NULL, "x=y");
	CU_ASSERT(s->answered && s->resp.sync.error_code == 0);
	/* its session runs again from the answer on */
	world_tick(&w, SESSION - 1);
	heartbeat(&w, "g", generation + 2, ids[0], NULL);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	world_tick(&w, 1);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	world_end(&w);
}

static void test_leave(void)
{
	/* v3: a list, each with its own error; by name without id. Below: one, its error at the top */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	stable_static(&w, "g", ids, 2);
	struct gcall *c = new_call(&w, 4);
	struct kp_leave_group_request_members m[] = {{slice_str("ghost"), slice_make(NULL, 0), slice_make(NULL, 0)}, {slice_str(""), slice_str("i1"), slice_make(NULL, 0)},
		{slice_str(""), slice_str("i9"), slice_make(NULL, 0)}, {slice_str(""), slice_make(NULL, 0), slice_make(NULL, 0)}, {slice_str(ids[0]), slice_str("i1"), slice_make(NULL, 0)}};
	static const int16_t want[] = {KERR_UNKNOWN_MEMBER_ID, 0, KERR_UNKNOWN_MEMBER_ID, KERR_UNKNOWN_MEMBER_ID, KERR_UNKNOWN_MEMBER_ID};
	kp_leave_group_request_init(&c->req.leave);
	c->req.leave.group_id = slice_str("g");
	c->req.leave.members = m;
	c->req.leave.members_count = 5;
	groups_leave(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	CU_ASSERT_EQUAL(c->resp.leave.error_code, 0);
	CU_ASSERT_EQUAL_FATAL(c->resp.leave.members_count, 5);
	for (int i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(c->resp.leave.members[i].error_code, want[i]);
	CU_ASSERT(IS(c->resp.leave.members[1].group_instance_id, "i1"));
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT_EQUAL(leave(&w, 4, "nogroup", "x", NULL)->resp.leave.members[0].error_code, KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(leave(&w, 0, "g", "ghost", NULL)->resp.leave.error_code, KERR_UNKNOWN_MEMBER_ID);
	CU_ASSERT_EQUAL(leave(&w, 0, "g", ids[0], NULL)->resp.leave.error_code, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	world_end(&w);
}

/* ---- life ---- */

static void test_empty_not_written(void)
{
	/* nobody waits for the record of an empty generation; lost, the generation before comes back at the load, and times out */
	struct world w;
	const char *ids[1];
	world_begin(&w);
	stable_of(&w, "g", ids, 1, "range:x");
	w.auto_write = false;
	struct gcall *l = leave(&w, 1, "g", ids[0], NULL);
	CU_ASSERT_EQUAL(l->resp.leave.error_code, 0);
	world_written(&w, KERR_NOT_ENOUGH_REPLICAS);
	CHECK_TEXT(describe(&w, "g"), "Empty consumer  0");
	w.auto_write = true;
	world_reload(&w);
	CHECK_TEXT(describe(&w, "g"), "Stable consumer range 1");
	world_tick(&w, SESSION);
	CHECK_TEXT(describe(&w, "g"), "Empty consumer  0");
	world_reload(&w);
	CHECK_TEXT(describe(&w, "g"), "Empty consumer  0");
	world_end(&w);
}

static void test_resign(void)
{
	/* 1: everything that waits is answered NOT_COORDINATOR */
	struct world w;
	const char *ids[2];
	int32_t generation;
	struct gcall *f;
	world_begin(&w);
	commit(&w, "m", -1, "", "t/0=1");
	struct gcall *l = storing(&w, ids, &generation, &f);
	struct gcall *c = commit(&w, "h", -1, "", "t/0=1"), *d = delete_groups(&w, "m");
	w.cfg.initial_rebalance_delay_ms = 3000;
	struct gcall *j = join(&w, 3, "k", "", NULL, "range:x");
	CU_ASSERT(!l->answered && !f->answered && !c->answered && !d->answered && !j->answered);
	groups_resign(w.g, &w.out);
	world_take(&w);
	CU_ASSERT(l->answered && l->resp.sync.error_code == KERR_NOT_COORDINATOR);
	CU_ASSERT(f->answered && f->resp.sync.error_code == KERR_NOT_COORDINATOR);
	CU_ASSERT(c->answered && c->req.commit.rows[0].error == KERR_NOT_COORDINATOR);
	CU_ASSERT(j->answered && j->resp.join.error_code == KERR_NOT_COORDINATOR);
	CU_ASSERT(d->answered && d->req.delete.errors[0] == KERR_NOT_COORDINATOR);
	world_end(&w);
}

static void test_loaded_sessions(void)
{
	/* loaded members have their whole session from the end of loading on */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 2, "range:x");
	w.now += 1000000;
	world_reload(&w);
	CU_ASSERT_EQUAL(groups_due_ms(w.g), w.now + SESSION);
	world_tick(&w, SESSION - 1);
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[0], NULL), 0);
	world_tick(&w, 1);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[1], NULL), KERR_UNKNOWN_MEMBER_ID);
	world_end(&w);
}

static void test_member_ids(void)
{
	/* different ones, and the same ones for the same seed */
	char first[2][64];
	for (int i = 0; i < 2; i++) {
		struct world w;
		world_begin(&w);
		struct gcall *a = join(&w, 4, "g", "", NULL, "range:x"), *b = join(&w, 4, "g", "", NULL, "range:x");
		CU_ASSERT(!slice_eq(a->resp.join.member_id, b->resp.join.member_id));
		CU_ASSERT_EQUAL(a->resp.join.member_id.ptr[7 + 14], '4');
		snprintf(first[i], sizeof(first[i]), "%.*s", (int)a->resp.join.member_id.len, (const char *)a->resp.join.member_id.ptr);
		world_end(&w);
	}
	CU_ASSERT_STRING_EQUAL(first[0], first[1]);
}

static char told[2000];
static void on_event(void *ctx, const struct groups_event *e)
{
	static const char *const names[] = {"rebalance", "generation", "stable", "empty", "not written", "out"};
	size_t n = strlen(told);
	(void)ctx;
	CU_ASSERT(IS(e->group, "g"));
	snprintf(told + n, sizeof(told) - n, "%s %d %u %.*s%s%s %d\n", names[e->kind], e->generation, e->members, (int)e->protocol.len, e->protocol.ptr ? (const char *)e->protocol.ptr : "",
		 e->why ? " " : "", e->why ? e->why : "", e->error);
}

static void test_events(void)
{
	/* what a log is to say */
	struct world w;
	world_begin(&w);
	told[0] = 0;
	groups_on_event(w.g, on_event, NULL);
	const char *a = stable_of_one(&w, "g");
	struct gcall *j = join(&w, 3, "g", "", NULL, "range:x");
	join(&w, 3, "g", a, NULL, "range:x");
	w.auto_write = false;
	sync(&w, "g", 2, a, NULL, "x=y");
	world_written(&w, KERR_NOT_ENOUGH_REPLICAS);
	leave(&w, 1, "g", text(&w, j->resp.join.member_id), NULL);
	world_tick(&w, SESSION);
	world_written(&w, KERR_REQUEST_TIMED_OUT);
	CHECK_TEXT(told, "rebalance 0 1  new member 0\ngeneration 1 1 range 0\nstable 1 1 range 0\nrebalance 1 2 range new member 0\ngeneration 2 2 range 0\n"
		"not written 2 2 range assignment 19\nrebalance 2 2 range assignment not written 0\nout 2 2 range left 0\nout 2 1 range session ended 0\nempty 3 0  0\n"
		"not written 3 0  empty generation 7\n");
	world_end(&w);
}

static void add_listed(void *ctx, const struct groups_list_row *row)
{
	char *to = ctx;
	size_t n = strlen(to);
	snprintf(to + n, 200 - n, "%.*s/%.*s/%c ", (int)row->group.len, (const char *)row->group.ptr, (int)row->protocol_type.len, (const char *)row->protocol_type.ptr, row->state[0]);
}

/* Some groups more, into to[200]. */
static bool list_some(struct groups_list *l, uint32_t budget, char *to)
{
	return groups_list(l, budget, add_listed, to);
}

static const char *listed(struct world *w, const struct slice *states, int32_t count)
{
	static char text[200];
	struct groups_list l = {.states = states, .state_count = count};
	text[0] = 0;
	groups_list_begin(w->g, &l);
	CU_ASSERT(list_some(&l, 100, text));
	groups_list_end(&l);
	return text;
}

static void test_list_steps(void)
{
	/* groups come and go between the steps: who is there all the while comes once */
	struct world w;
	struct groups_list l = {0}, other = {0};
	char got[200] = "", all[200] = "";
	world_begin(&w);
	for (const char *g = "abcdefgh"; *g; g++)
		commit(&w, (char[]){*g, 0}, -1, "", "t/0=1");
	groups_list_begin(w.g, &other);
	groups_list_begin(w.g, &l);
	CU_ASSERT(!list_some(&l, 3, got));
	CHECK_TEXT(got, "a//E b//E c//E ");
	delete_groups(&w, "b"); /* listed before */
	delete_groups(&w, "d"); /* the next one */
	delete_groups(&w, "e"); /* then the next one */
	delete_groups(&w, "g");
	commit(&w, "b", -1, "", "t/0=1"); /* another one of the name */
	CU_ASSERT(!list_some(&l, 1, got));
	delete_groups(&w, "h");
	delete_groups(&w, "b"); /* so that none is left */
	CU_ASSERT(list_some(&l, 3, got));
	CHECK_TEXT(got, "a//E b//E c//E f//E ");
	CU_ASSERT(list_some(&l, 3, got));
	groups_list_end(&l);
	CU_ASSERT(list_some(&other, 10, all));
	CHECK_TEXT(all, "a//E c//E f//E ");
	world_reload(&w); /* the groups go in the middle of it */
	CU_ASSERT_PTR_NULL(other.g);
	groups_list_end(&other);
	world_end(&w);
}

static void test_list(void)
{
	struct world w;
	const char *ids[1];
	struct gcall *c;
	world_begin(&w);
	stable_of(&w, "s", ids, 1, "range:x");
	commit(&w, "e", -1, "", "t/0=1");
	c = new_call(&w, 0);
	c->answered = true;
	struct slice states[] = {slice_str("sTaBLe"), slice_str("nothing")};
	CHECK_TEXT(listed(&w, NULL, 0), "s/consumer/S e//E ");
	CHECK_TEXT(listed(&w, states, 2), "s/consumer/S ");
	CHECK_TEXT(listed(&w, states + 1, 1), "");
	struct kp_describe_groups_response_groups d;
	groups_describe(w.g, slice_str("none"), 6, &c->arena, &d);
	CU_ASSERT_EQUAL(d.error_code, KERR_GROUP_ID_NOT_FOUND);
	CU_ASSERT(IS(d.error_message, "Group none not found."));
	groups_describe(w.g, slice_str("s"), 5, &c->arena, &d);
	CU_ASSERT(IS(d.members[0].client_host, "/127.0.0.1") && IS(d.members[0].client_id, "client"));
	CU_ASSERT(IS(d.members[0].member_metadata, "x") && IS(d.members[0].member_assignment, "part0"));
	/* metadata and assignment only of a stable group */
	join(&w, 3, "s", "", NULL, "range:x");
	groups_describe(w.g, slice_str("s"), 5, &c->arena, &d);
	CU_ASSERT(IS(d.group_state, "PreparingRebalance") && IS(d.protocol_data, ""));
	CU_ASSERT_EQUAL(d.members[0].member_metadata.len + d.members[0].member_assignment.len, 0);
	CU_ASSERT_EQUAL(groups_stats(w.g).rebalancing, 1);
	world_end(&w);
}

static void test_anew_at_sync_timeout(void)
{
	/* a static member that did not sync began anew, and its record is still being written when the time for syncs is over: its call waits on */
	struct world w;
	const char *ids[1];
	world_begin(&w);
	int32_t generation = 1 + stable_of(&w, "g", ids, 1, "range:x");
	struct gcall *s = join(&w, 5, "g", "", "i", "range:x");
	join(&w, 3, "g", ids[0], NULL, "range:x");
	CU_ASSERT_FATAL(s->answered && s->resp.join.error_code == 0 && s->resp.join.generation_id == generation);
	sync(&w, "g", generation, ids[0], NULL, "x=y");
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
	w.auto_write = false;
	s = join(&w, 5, "g", "", "i", "range:x");
	CU_ASSERT(!s->answered);
	CU_ASSERT_EQUAL(world_open_writes(&w), 1);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL(heartbeat(&w, "g", generation, ids[0], NULL), 0);
		world_tick(&w, 5000);
	}
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	CU_ASSERT(!s->answered);
	world_written(&w, 0);
	CU_ASSERT(!s->answered);
	join(&w, 3, "g", ids[0], NULL, "range:x");
	CU_ASSERT(s->answered && s->resp.join.error_code == 0 && s->resp.join.generation_id == generation + 1);
	world_end(&w);
}

UNIT_MAIN("group_sync",
	{"sync_checks", test_sync_checks}, {"store_waits", test_store_waits}, {"store_fails", test_store_fails},
	{"store_overtaken", test_store_overtaken}, {"sync_timeout", test_sync_timeout},
	{"anew_at_sync_timeout", test_anew_at_sync_timeout}, {"sessions", test_sessions}, {"leave", test_leave},
	{"empty_not_written", test_empty_not_written}, {"resign", test_resign}, {"loaded_sessions", test_loaded_sessions},
	{"member_ids", test_member_ids}, {"events", test_events}, {"list", test_list}, {"list_steps", test_list_steps})
