/* test_group_offsets.c: committed offsets: who may commit, what is read, what expires, what deletes (facts/internal-topics.md 4.4, 4.5; 2 for
 * transactions). */
#include "tests/unit/group_world.h"

#include <stdio.h>
#include <string.h>

#include "brokerd/group/group_priv.h"
#include "common/base/rng.h"

#define HOUR 3600000ll

static void expire(struct world *w)
{
	while (!groups_expire(w->g, w->now, 1, &w->out))
		world_take(w);
	world_take(w);
	if (w->auto_write)
		world_written(w, 0);
}

/* A stable group of one member that subscribes to topics: its id. */
static const char *subscribed(struct world *w, const char *group, const char *type, const char *topics)
{
	struct gcall *j = join_call(w, 3, group, "", NULL, "range:");
	j->req.join.protocol_type = slice_str(type);
	j->req.join.protocols[0].metadata = topics ? subscription(w, topics) : slice_str("garbage");
	do_join(w, j);
	CU_ASSERT(j->answered && j->resp.join.error_code == 0);
	const char *id = text(w, j->resp.join.member_id);
	sync(w, group, j->resp.join.generation_id, id, NULL, "x=y");
	CU_ASSERT_EQUAL(state_of(w, group), 'S');
	return id;
}

/* Members that heartbeat while the clock moves on. */
static void keep_alive(struct world *w, const char *group, const char *id, int64_t ms)
{
	for (int64_t end = w->now + ms; w->now < end;) {
		int64_t step = end - w->now < SESSION / 2 ? end - w->now : SESSION / 2;
		world_tick(w, step);
		heartbeat(w, group, 1, id, NULL);
	}
}

/* ---- commit ---- */

static void test_metadata_size(void)
{
	/* more than offset.metadata.max.bytes characters, as Java counts them: that partition only */
	struct world w;
	world_begin(&w);
	w.cfg.offset_metadata_max_bytes = 4;
	static const struct { const char *text; int16_t err; } rows[] = {{"", 0}, {"abcd", 0}, {"abcde", 12}, {"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4", 0},
		{"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4x", 12}, {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 0}, {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80x", 12}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gcall *c = commit_call(&w, "g", -1, "", "t/0=1 t/1=2");
		c->req.commit.rows[0].metadata = slice_str(rows[i].text);
		groups_commit(w.g, &c->call, w.now, &w.out);
		world_take(&w);
		world_written(&w, 0);
		CU_ASSERT(c->answered);
		CU_ASSERT_EQUAL(c->req.commit.rows[0].error, rows[i].err);
		CU_ASSERT_EQUAL(c->req.commit.rows[1].error, 0);
	}
	/* all too large: nothing is written */
	struct gcall *c = commit_call(&w, "h", -1, "", "t/0=1");
	c->req.commit.rows[0].metadata = slice_str("abcde");
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->req.commit.rows[0].error, KERR_OFFSET_METADATA_TOO_LARGE);
	CU_ASSERT_EQUAL(world_open_writes(&w), 0);
	CU_ASSERT_EQUAL(state_of(&w, "h"), '-');
	world_end(&w);
}

static void test_in_flight(void)
{
	/* several commits of one partition on their way: each counts; the log's order decides */
	struct world w;
	world_begin(&w);
	w.auto_write = false;
	commit(&w, "g", -1, "", "t/0=1");
	commit(&w, "g", -1, "", "t/0=2");
	commit(&w, "g", -1, "", "t/0=3");
	world_written_one(&w, 0);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), KERR_UNSTABLE_OFFSET_COMMIT);
	world_written_one(&w, KERR_NOT_ENOUGH_REPLICAS);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), KERR_UNSTABLE_OFFSET_COMMIT);
	world_written_one(&w, 0);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 3);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), 0);
	world_end(&w);
}

static void test_v1_timestamp(void)
{
	/* v1: the commit's time as given, -1 now; the expiry goes by it */
	struct world w;
	world_begin(&w);
	struct gcall *c = commit_call(&w, "g", -1, "", "t/0=1 t/1=1");
	c->req.commit.rows[0].commit_timestamp = w.now - w.cfg.offsets_retention_ms;
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 1);
	world_end(&w);
}

static void test_fetch_all(void)
{
	/* sorted by topic and partition; many partitions of many topics; what is not committed is not in it */
	struct world w;
	struct rng rng;
	int64_t want[7][40];
	memset(want, 0xff, sizeof(want));
	rng_init(&rng, 5);
	world_begin(&w);
	for (int i = 0; i < 3000; i++) {
		int t = (int)rng_below(&rng, 7), p = (int)rng_below(&rng, 40);
		char row[60];
		snprintf(row, sizeof(row), "topic%d/%d=%d", t, p, i);
		if (rng_chance(&rng, 0.4)) {
			delete_offsets(&w, "g", row);
			want[t][p] = -1;
		} else {
			commit(&w, "g", -1, "", row);
			want[t][p] = i;
		}
		if (i % 100)
			continue;
		struct groups_fetch f = {.group = slice_str("g"), .all = true};
		struct gcall *c = new_call(&w, 0);
		c->answered = true;
		groups_fetch(w.g, &f, &c->arena);
		uint32_t n = 0;
		for (t = 0; t < 7; t++)
			for (p = 0; p < 40; p++) {
				snprintf(row, sizeof(row), "topic%d", t);
				CU_ASSERT_EQUAL(fetch(&w, "g", row, p), want[t][p]);
				if (want[t][p] < 0)
					continue;
				CU_ASSERT_FATAL(n < f.count);
				CU_ASSERT(IS(f.rows[n].topic, row) && f.rows[n].partition == p && f.rows[n].offset == want[t][p]);
				n++;
			}
		CU_ASSERT_EQUAL(n, f.count);
		CU_ASSERT_EQUAL(groups_stats(w.g).offsets, n);
	}
	world_end(&w);
}

static uint32_t seen;
static void count_offset(void *ctx, struct slice group, struct slice topic, int32_t partition, int64_t offset)
{
	(void)ctx;
	CU_ASSERT(IS(group, "g") && IS(topic, "t") && offset == partition + 10);
	seen++;
}

static void test_each_offset(void)
{
	struct world w;
	world_begin(&w);
	commit(&w, "g", -1, "", "t/0=10 t/1=11 t/2=12");
	seen = 0;
	groups_each_offset(w.g, 100, count_offset, NULL);
	CU_ASSERT_EQUAL(seen, 3);
	groups_each_offset(w.g, 2, count_offset, NULL);
	CU_ASSERT_EQUAL(seen, 5);
	world_end(&w);
}

/* ---- transactions ---- */

static void test_transactions(void)
{
	/* pending until the marker; then applied if of a higher offset than what is committed; an abort drops it; at load and live alike */
	struct world w;
	world_begin(&w);
	commit(&w, "g", -1, "", "t/0=1");
	world_txn_commit(&w, 5, "g", "t", 0, 10);
	world_txn_commit(&w, 5, "g", "t", 1, 11);
	world_txn_commit(&w, 6, "g", "t", 2, 12);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 0), KERR_UNSTABLE_OFFSET_COMMIT);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 1), KERR_UNSTABLE_OFFSET_COMMIT);
	commit(&w, "g", -1, "", "t/1=99"); /* later than the transaction's */
	world_marker(&w, 5, true);
	world_marker(&w, 6, false);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 10);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 99);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 2), -1);
	CU_ASSERT_EQUAL(fetch_stable(&w, "g", "t", 2), 0);
	/* the same partition twice in a transaction: the last one; two producers at once */
	world_txn_commit(&w, 5, "g", "t", 0, 20);
	world_txn_commit(&w, 6, "g", "t", 0, 30);
	world_txn_commit(&w, 5, "g", "t", 0, 21);
	world_marker(&w, 6, true);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 30);
	world_marker(&w, 5, true);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 21);
	world_txn_commit(&w, 7, "only", "t", 0, 40);
	world_marker(&w, 99, true);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 21);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 99);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 2), -1);
		CU_ASSERT_EQUAL(fetch(&w, "only", "t", 0), -1);
		CU_ASSERT_EQUAL(fetch_stable(&w, "only", "t", 0), KERR_UNSTABLE_OFFSET_COMMIT);
		world_reload(&w);
	}
	world_marker(&w, 7, true); /* the marker comes after the load */
	CU_ASSERT_EQUAL(fetch(&w, "only", "t", 0), 40);
	world_end(&w);
}

static void test_pending_keeps(void)
{
	/* 4.5: pending commits keep an offset, and a group */
	struct world w;
	world_begin(&w);
	commit(&w, "g", -1, "", "t/0=1");
	world_txn_commit(&w, 5, "g", "t", 0, 2);
	world_txn_commit(&w, 5, "h", "t", 0, 3);
	w.now += w.cfg.offsets_retention_ms * 2;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	world_marker(&w, 5, false);
	CU_ASSERT_EQUAL(state_of(&w, "h"), '-');
	expire(&w);
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	world_end(&w);
}

/* ---- 4.5: expiry ---- */

static void test_expiry_simple(void)
{
	/* no protocol type: retention after the commit */
	struct world w;
	world_begin(&w);
	commit(&w, "g", -1, "", "t/0=1 t/1=1");
	w.now += HOUR;
	commit(&w, "g", -1, "", "t/1=2");
	w.now += w.cfg.offsets_retention_ms - HOUR - 1;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	w.now++;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 2);
	CU_ASSERT_EQUAL(groups_stats(w.g).expired_offsets, 1);
	w.now += HOUR;
	uint32_t before = w.log_count;
	expire(&w);
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	/* generation 0: no record of the group, so no tombstone of it */
	CU_ASSERT_EQUAL(w.log_count, before + 1);
	world_reload(&w);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_end(&w);
}

static void test_expiry_empty(void)
{
	/* with protocol type and Empty: retention after it became empty, however old the commit; then the group goes too */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "g", "consumer", "t");
	commit(&w, "g", 1, id, "t/0=1");
	keep_alive(&w, "g", id, HOUR);
	leave(&w, 1, "g", id, NULL);
	world_reload(&w); /* the time is in the record */
	w.now += w.cfg.offsets_retention_ms - 1;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	w.now++;
	w.auto_write = false;
	expire(&w);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'D');
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1); /* until it is committed */
	CU_ASSERT_EQUAL(world_open_writes(&w), 1);
	/* it cannot be written: as before; the next time it is tried again */
	world_written(&w, KERR_NOT_ENOUGH_REPLICAS);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	expire(&w);
	world_written(&w, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	world_reload(&w);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_end(&w);
}

static void test_expiry_stable(void)
{
	/* Stable consumer group: only topics that it does not subscribe to, retention after the commit. Subscription unknown, or another type: never */
	struct world w;
	static const struct { const char *type, *topics; int64_t sub, other; } rows[] = {{"consumer", "t", 1, -1}, {"consumer", "t u", 1, 2}, {"consumer", NULL, 1, 2}, {"connect", "t", 1, 2}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world_begin(&w);
		w.cfg.offsets_retention_ms = HOUR;
		const char *id = subscribed(&w, "g", rows[i].type, rows[i].topics);
		commit(&w, "g", 1, id, "t/0=1 u/0=2");
		keep_alive(&w, "g", id, HOUR - 1);
		expire(&w);
		CU_ASSERT_EQUAL(fetch(&w, "g", "u", 0), 2);
		keep_alive(&w, "g", id, 1);
		expire(&w);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), rows[i].sub);
		CU_ASSERT_EQUAL(fetch(&w, "g", "u", 0), rows[i].other);
		CU_ASSERT_EQUAL(state_of(&w, "g"), 'S');
		world_end(&w);
	}
	/* while it rebalances: never */
	world_begin(&w);
	w.cfg.offsets_retention_ms = HOUR;
	const char *id = subscribed(&w, "g", "consumer", "t");
	commit(&w, "g", 1, id, "u/0=2");
	struct gcall *c = join_call(&w, 3, "g", "", NULL, "range:");
	c->req.join.rebalance_timeout_ms = 10 * (int32_t)HOUR;
	c->req.join.protocols[0].metadata = subscription(&w, "t");
	do_join(&w, c);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'P');
	w.now += 2 * HOUR;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "u", 0), 2);
	world_end(&w);
}

static void test_expiry_own(void)
{
	/* retention given with the commit (v2 to v4): at that time, over a load too */
	struct world w;
	world_begin(&w);
	struct gcall *c = commit_call(&w, "g", -1, "", "t/0=1");
	c->req.commit.retention_ms = HOUR;
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	commit(&w, "g", -1, "", "t/1=1");
	world_reload(&w);
	w.now += HOUR - 1;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	w.now++;
	expire(&w);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1), 1);
	world_end(&w);
}

static void test_expiry_far(void)
{
	/* times at the ends of what the fields hold: a retention that the clock cannot be added to is for ever, a commit of long ago is over, one of the
	 * far future is not */
	static const struct { int64_t retention_ms, timestamp; bool stays; } rows[] = {
		{INT64_MAX, -1, true}, {INT64_MAX - 1, -1, true}, {INT64_MAX - 2000000000000, -1, true}, {0, -1, false},
		{-1, INT64_MAX, true}, {-1, INT64_MAX - 1, true}, {-1, INT64_MIN, false}, {-1, INT64_MIN + 1, false}, {-1, -2, false}, {-1, 0, false},
		{INT64_MIN, -1, false}, {INT64_MAX, INT64_MIN, true},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world w;
		world_begin(&w);
		CU_ASSERT(w.now > 1000000000000);
		struct gcall *c = commit_call(&w, "g", -1, "", "t/0=1");
		c->req.commit.retention_ms = rows[i].retention_ms;
		c->req.commit.rows[0].commit_timestamp = rows[i].timestamp;
		groups_commit(w.g, &c->call, w.now, &w.out);
		world_take(&w);
		world_written(&w, 0);
		CU_ASSERT_EQUAL(c->req.commit.rows[0].error, 0);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
		w.now += w.cfg.offsets_retention_ms * 2;
		world_reload(&w);
		expire(&w);
		CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), rows[i].stays ? 1 : -1);
		world_end(&w);
	}
}

static void test_expiry_steps(void)
{
	/* in steps, each group once, also when groups go meanwhile; a bare group that was consumer goes at once, ids given out keep it */
	struct world w;
	world_begin(&w);
	for (int i = 0; i < 50; i++) {
		char group[16];
		snprintf(group, sizeof(group), "g%d", i);
		commit(&w, group, -1, "", "t/0=1");
	}
	w.now += w.cfg.offsets_retention_ms;
	int calls = 0;
	for (bool round = false; !round; calls++) {
		round = groups_expire(w.g, w.now, 7, &w.out);
		world_take(&w);
		CU_ASSERT(world_open_writes(&w) <= 1);
		world_written(&w, 0);
	}
	CU_ASSERT_EQUAL(calls, 8);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	CU_ASSERT(groups_expire(w.g, w.now, 7, &w.out));
	const char *id = subscribed(&w, "b", "consumer", "t");
	leave(&w, 1, "b", id, NULL);
	CU_ASSERT_EQUAL(state_of(&w, "b"), 'E');
	join(&w, 4, "b", "", NULL, "range:x");
	expire(&w);
	CU_ASSERT_EQUAL(state_of(&w, "b"), 'E');
	world_tick(&w, SESSION);
	expire(&w);
	CU_ASSERT_EQUAL(state_of(&w, "b"), '-');
	world_end(&w);
}

/* ---- deletion ---- */

static void test_offset_delete(void)
{
	struct world w;
	world_begin(&w);
	CU_ASSERT_EQUAL(delete_offsets(&w, "none", "t/0")->req.offset_delete.error, KERR_GROUP_ID_NOT_FOUND);
	/* an active consumer group: only what it does not subscribe to, whether or not something is committed there */
	const char *id = subscribed(&w, "g", "consumer", "t empty");
	commit(&w, "g", 1, id, "t/0=1 u/0=2");
	struct gcall *c = delete_offsets(&w, "g", "t/0 u/0 u/9 empty/0");
	CU_ASSERT(c->answered);
	static const int16_t want[] = {KERR_GROUP_SUBSCRIBED_TO_TOPIC, 0, 0, KERR_GROUP_SUBSCRIBED_TO_TOPIC};
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(c->req.offset_delete.rows[i].error, want[i]);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	CU_ASSERT_EQUAL(fetch(&w, "g", "u", 0), -1);
	/* another type */
	subscribed(&w, "k", "connect", "t");
	CU_ASSERT_EQUAL(delete_offsets(&w, "k", "t/0")->req.offset_delete.error, KERR_NON_EMPTY_GROUP);
	/* empty: all; with the last offset goes the group. The answer waits for the write */
	leave(&w, 1, "g", id, NULL);
	w.auto_write = false;
	c = delete_offsets(&w, "g", "t/0 t/0 x/1");
	CU_ASSERT(!c->answered);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), 1);
	world_written(&w, KERR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->req.offset_delete.rows[0].error, KERR_NOT_COORDINATOR);
	CU_ASSERT_EQUAL(c->req.offset_delete.rows[2].error, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	c = delete_offsets(&w, "g", "t/0");
	world_written(&w, 0);
	CU_ASSERT_EQUAL(c->req.offset_delete.rows[0].error, 0);
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	world_end(&w);
}

static void test_delete_group(void)
{
	/* what is on its way is deleted with the rest; Dead until it is written; then a new group of that name is new */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "g", "consumer", "t");
	commit(&w, "g", 1, id, "t/0=1");
	CU_ASSERT_EQUAL(delete_groups(&w, "g")->req.delete.errors[0], KERR_NON_EMPTY_GROUP);
	leave(&w, 1, "g", id, NULL);
	w.auto_write = false;
	struct gcall *late = commit(&w, "g", -1, "", "t/5=5");
	world_txn_commit(&w, 3, "g", "t", 7, 7);
	struct gcall *d = delete_groups(&w, "g");
	/* not "it does not exist": whoever reads it still finds it, and the write may fail */
	CU_ASSERT_EQUAL(delete_groups(&w, "g")->req.delete.errors[0], KERR_COORDINATOR_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(delete_offsets(&w, "g", "t/0")->req.offset_delete.error, KERR_COORDINATOR_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'D');
	CHECK_TEXT(describe(&w, "g"), "Dead   0");
	world_written(&w, 0);
	CU_ASSERT(late->answered && d->answered);
	CU_ASSERT_EQUAL(d->req.delete.errors[0], 0);
	CU_ASSERT_EQUAL(delete_groups(&w, "g")->req.delete.errors[0], KERR_GROUP_ID_NOT_FOUND);
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	world_marker(&w, 3, true); /* nothing of it comes back */
	CU_ASSERT_EQUAL(state_of(&w, "g"), '-');
	w.auto_write = true;
	world_reload(&w);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	subscribed(&w, "g", "consumer", "t");
	CHECK_TEXT(describe(&w, "g"), "Stable consumer range 1");
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 0), -1);
	world_end(&w);
}

static void test_delete_large(void)
{
	/* a group of many offsets goes in several writes; one of them fails: the rest is gone, the group is not, and can be deleted again */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "g", "consumer", "x");
	for (int i = 0; i < 5000; i += 50) {
		char rows[2000];
		int n = 0;
		for (int k = i; k < i + 50; k++)
			n += snprintf(rows + n, sizeof(rows) - (size_t)n, "t/%d=%d ", k, k);
		commit(&w, "g", 1, id, rows);
	}
	leave(&w, 1, "g", id, NULL);
	w.auto_write = false;
	struct gcall *d = delete_groups(&w, "g");
	CU_ASSERT_EQUAL(world_open_writes(&w), 3);
	world_written_one(&w, KERR_NOT_ENOUGH_REPLICAS);
	world_written_one(&w, 0);
	CU_ASSERT(!d->answered);
	world_written_one(&w, 0);
	CU_ASSERT(d->answered);
	CU_ASSERT_EQUAL(d->req.delete.errors[0], KERR_COORDINATOR_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(groups_stats(w.g).offsets, 2000);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 1999), 1999);
	CU_ASSERT_EQUAL(fetch(&w, "g", "t", 2000), -1);
	d = delete_groups(&w, "g");
	world_written(&w, 0);
	CU_ASSERT_EQUAL(d->req.delete.errors[0], 0);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_end(&w);
}

/* Sweeps until nothing is left; how many steps it took. */
static int sweep(struct world *w, uint32_t budget)
{
	int steps = 1;
	for (; !groups_sweep(w->g, budget, &w->out); steps++)
		world_take(w);
	world_take(w);
	return steps;
}

static void test_topic_deleted(void)
{
	/* its offsets go, those on their way too, of active groups as well; a group that had nothing else goes */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "act", "consumer", "t");
	commit(&w, "act", 1, id, "t/0=1 u/0=2");
	commit(&w, "a", -1, "", "t/0=1 t/1=2 u/1=3");
	commit(&w, "b", -1, "", "t/0=1");
	commit(&w, "c", -1, "", "u/0=1");
	w.auto_write = false;
	struct gcall *late = commit(&w, "c", -1, "", "t/3=3");
	groups_topic_gone(w.g, slice_str("t"));
	groups_topic_gone(w.g, slice_str("unknown"));
	CU_ASSERT(!groups_sweeping(w.g)); /* it waits for what is on its way */
	CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), 1);
	world_written(&w, 0);
	CU_ASSERT(late->answered && late->req.commit.rows[0].error == 0);
	CU_ASSERT(groups_sweeping(w.g));
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(fetch(&w, "act", "t", 0), -1);
		CU_ASSERT_EQUAL(fetch(&w, "act", "u", 0), 2);
		CU_ASSERT_EQUAL(fetch(&w, "a", "t", 1), -1);
		CU_ASSERT_EQUAL(fetch(&w, "a", "u", 1), 3);
		CU_ASSERT_EQUAL(fetch(&w, "c", "t", 3), -1);
		if (i == 0) /* not shown; now removed */
			CU_ASSERT_EQUAL(sweep(&w, 3), 2);
		w.auto_write = true;
		world_written(&w, 0);
		CU_ASSERT_EQUAL(state_of(&w, "b"), '-');
		CU_ASSERT_EQUAL(sweep(&w, 1), 1);
		world_reload(&w);
	}
	world_end(&w);
}

static void test_topic_anew(void)
{
	/* deleted, and at once there again under the same name: what is committed from then on stays, whenever the rest is removed */
	struct world w;
	world_begin(&w);
	commit(&w, "a", -1, "", "t/0=1 t/1=2 t/2=3");
	commit(&w, "b", -1, "", "t/0=4");
	w.auto_write = false;
	struct gcall *old = commit(&w, "a", -1, "", "t/0=10 t/3=11");
	groups_topic_gone(w.g, slice_str("t"));
	struct gcall *new = commit(&w, "a", -1, "", "t/0=20");
	world_written_one(&w, 0);
	CU_ASSERT(old->answered && !new->answered);
	CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "b", "t", 0), -1);
	struct groups_fetch all = {.group = slice_str("a"), .all = true};
	struct arena arena;
	arena_init(&arena, 0);
	groups_fetch(w.g, &all, &arena);
	CU_ASSERT_EQUAL(all.count, 0);
	arena_fini(&arena);
	CU_ASSERT_EQUAL(sweep(&w, 1), 2); /* while a commit for t/0 is on its way */
	commit(&w, "a", -1, "", "t/1=21");
	world_written(&w, 0);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), 20);
		CU_ASSERT_EQUAL(fetch(&w, "a", "t", 1), 21);
		CU_ASSERT_EQUAL(fetch(&w, "a", "t", 2), -1);
		CU_ASSERT_EQUAL(fetch(&w, "a", "t", 3), -1);
		CU_ASSERT_EQUAL(fetch(&w, "b", "t", 0), -1);
		world_reload(&w);
	}
	world_end(&w);
}

static void test_topic_anew_fails(void)
{
	/* the new topic's commit was under way during the sweep, and was not written: expiry removes the old one */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "act", "consumer", "t");
	commit(&w, "act", 1, id, "t/0=1 t/1=2");
	w.auto_write = false;
	groups_topic_gone(w.g, slice_str("t"));
	struct gcall *new = commit(&w, "act", 1, id, "t/0=20");
	sweep(&w, 10);
	world_written_one(&w, KERR_NOT_ENOUGH_REPLICAS);
	world_written(&w, 0);
	CU_ASSERT_EQUAL(new->req.commit.rows[0].error, KERR_COORDINATOR_NOT_AVAILABLE);
	CU_ASSERT_EQUAL(fetch(&w, "act", "t", 0), -1);
	CU_ASSERT(groups_expire(w.g, w.now, 10, &w.out));
	world_take(&w);
	world_written(&w, 0);
	world_reload(&w);
	CU_ASSERT_EQUAL(fetch(&w, "act", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "act", "t", 1), -1);
	world_end(&w);
}

static void test_topic_deleted_loading(void)
{
	/* everything that is loaded is of the topic that was deleted meanwhile */
	struct world w;
	world_begin(&w);
	commit(&w, "a", -1, "", "t/0=1 u/0=2");
	struct groups *g = groups_new(0, 2, 1, &w.cfg);
	for (uint32_t i = 0; i < w.log_count; i++) {
		const struct logged *l = &w.log[i];
		groups_topic_gone(g, slice_str("t"));
		CU_ASSERT_EQUAL(groups_replay(g, slice_make(l->key, l->key_len), slice_make(l->value, l->value_len), l->offset, -1), 0);
	}
	CU_ASSERT(!groups_sweeping(g));
	groups_loaded(g, w.now, &w.out);
	groups_free(w.g);
	w.g = g;
	CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), -1);
	sweep(&w, 10);
	commit(&w, "a", -1, "", "t/0=5");
	world_reload(&w);
	CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), 5);
	CU_ASSERT_EQUAL(fetch(&w, "a", "u", 0), 2);
	world_end(&w);
}

static void test_refused_rows(void)
{
	/* a row that the caller refused keeps its error and is not committed; the others are */
	struct world w;
	world_begin(&w);
	struct gcall *c = commit_call(&w, "a", -1, "", "t/0=1 u/0=2");
	c->req.commit.rows[0].error = KERR_UNKNOWN_TOPIC_OR_PARTITION;
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	CU_ASSERT(c->answered);
	CU_ASSERT_EQUAL(c->req.commit.rows[0].error, KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(c->req.commit.rows[1].error, 0);
	CU_ASSERT_EQUAL(fetch(&w, "a", "t", 0), -1);
	CU_ASSERT_EQUAL(fetch(&w, "a", "u", 0), 2);
	world_end(&w);
}

static void test_memory(void)
{
	/* what came goes: the count of bytes is back at zero when everything is deleted */
	struct world w;
	world_begin(&w);
	const char *id = subscribed(&w, "g", "consumer", "t");
	struct gcall *c = commit_call(&w, "g", 1, id, "t/0=1 t/1=2 t/2=3 t/3=3 t/4=3 t/5=3 t/6=3 t/7=3 t/8=3 t/9=3");
	for (uint32_t i = 0; i < 10; i++)
		c->req.commit.rows[i].metadata = slice_str("meta");
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	world_txn_commit(&w, 1, "g", "t", 4, 9);
	join(&w, 5, "h", "", "i1", "range:x rr:y");
	join(&w, 4, "k", "", NULL, "range:x rr:y");
	CU_ASSERT(groups_stats(w.g).bytes > 1000);
	CU_ASSERT_EQUAL(groups_stats(w.g).members, 2);
	world_tick(&w, 2 * REBALANCE);
	world_marker(&w, 1, true);
	delete_groups(&w, "g h");
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	CU_ASSERT_EQUAL(groups_stats(w.g).members, 0);
	CU_ASSERT_EQUAL(groups_stats(w.g).offsets, 0);
	CU_ASSERT_EQUAL(groups_stats(w.g).bytes, 0);
	CU_ASSERT_EQUAL(groups_due_ms(w.g), INT64_MAX);
	world_end(&w);
}

UNIT_MAIN("group_offsets",
	{"metadata_size", test_metadata_size}, {"in_flight", test_in_flight}, {"v1_timestamp", test_v1_timestamp}, {"fetch_all", test_fetch_all},
	{"each_offset", test_each_offset}, {"transactions", test_transactions}, {"pending_keeps", test_pending_keeps}, {"expiry_simple", test_expiry_simple},
	{"expiry_empty", test_expiry_empty}, {"expiry_stable", test_expiry_stable}, {"expiry_own", test_expiry_own}, {"expiry_far", test_expiry_far}, {"expiry_steps", test_expiry_steps},
	{"offset_delete", test_offset_delete}, {"delete_group", test_delete_group}, {"delete_large", test_delete_large}, {"topic_deleted", test_topic_deleted},
	{"topic_anew", test_topic_anew}, {"topic_anew_fails", test_topic_anew_fails}, {"topic_deleted_loading", test_topic_deleted_loading}, {"refused_rows", test_refused_rows},
	{"memory", test_memory})
