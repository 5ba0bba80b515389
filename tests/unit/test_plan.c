/* test_plan.c: the controller's pure core: elections, ISR rules, placement, validation. Each rule a case of its own. */
#include <string.h>

#include "common/base/mem.h"
#include "common/config/topic_config.h"
#include "common/wire/kerr.h"
#include "controllerd/plan/assign.h"
#include "controllerd/plan/configs.h"
#include "controllerd/plan/elect.h"
#include "controllerd/plan/topics.h"
#include "tests/unit/unit.h"

/* A world of brokers 1..4 and one partition, written as short texts: "1,2,3". */
struct fix {
	struct plan_image *im;
	struct plan_topic *t;
	struct plan_partition *p;
	struct plan_next next;
};

static struct plan_ids ids(const char *text)
{
	struct plan_ids s = {0};
	for (; *text; text++)
		if (*text >= '0' && *text <= '9')
			plan_ids_add(&s, *text - '0');
	return s;
}
static void put(struct plan_ids *to, const char *text)
{
	struct plan_ids s = ids(text);
	plan_ids_copy(to, &s);
	plan_ids_fini(&s);
}
static bool is(const struct plan_ids *s, const char *text)
{
	struct plan_ids want = ids(text);
	bool same = plan_ids_eq(s, &want);
	plan_ids_fini(&want);
	return same;
}

static struct fix fix_new(const char *replicas, const char *isr, int32_t leader)
{
	struct fix f = {.im = plan_image_new()};
	struct uuid id = {{7}};
	f.im->controller_epoch = 3;
	for (int32_t i = 1; i <= 4; i++) {
		struct plan_broker *b = plan_broker_get(f.im, i);
		b->registered = b->alive = b->available = b->admitted = b->hello_seen = b->inventory_known = b->life_new = true;
		b->available_us = 100;
	}
	f.t = plan_topic_add(f.im, "t", &id);
	struct plan_ids r = ids(replicas);
	f.p = plan_partition_add(f.im, f.t, 0, &r);
	plan_ids_fini(&r);
	f.p->version = 4;
	f.p->st.leader = leader;
	f.p->st.leader_epoch = 10;
	put(&f.p->st.isr, isr);
	return f;
}
static void min_isr(struct fix *f, const char *v) { plan_configs_put(&f->t->config, "min.insync.replicas", v); }
static void dead(struct fix *f, int32_t id, bool registered)
{
	struct plan_broker *b = plan_broker_find(f->im, id);
	b->alive = b->available = false;
	b->registered = registered;
}
/* Restarted: its former life is being ended, it has not applied the snapshot yet. */
static void restarted(struct fix *f, int32_t id, bool lossy)
{
	plan_broker_find(f->im, id)->available = false;
	plan_ids_add(&f->p->ending, id);
	if (lossy)
		plan_ids_add(&f->p->lossy_new, id);
}
static void back(struct fix *f, int32_t id)
{
	struct plan_broker *b = plan_broker_find(f->im, id);
	b->alive = b->available = b->registered = true;
	plan_ids_remove(&f->p->ending, id);
	plan_ids_remove(&f->p->lossy_new, id);
}
static void holds(struct fix *f, int32_t id, int32_t epoch, int64_t leo, bool lossy)
{
	struct plan_broker *b = plan_broker_find(f->im, id);
	struct plan_inventory row = {.topic_id = f->t->id, .partition = 0, .last_epoch = epoch, .log_end_offset = leo, .lossy = lossy};
	plan_broker_clear_inventory(b);
	plan_broker_add_inventory(b, &row);
	plan_broker_sort_inventory(b);
}
static void step(struct fix *f)
{
	plan_state_fini(&f->next.st);
	plan_partition_next(f->im, f->p, &f->next);
	if (f->next.why != PLAN_NOTHING)
		CU_ASSERT(f->next.st.isr.n > 0); /* never written empty (E3) */
}
/* ZooKeeper acknowledged it. */
static void commit(struct fix *f)
{
	if (f->next.why == PLAN_NOTHING)
		return;
	plan_state_copy(&f->p->st, &f->next.st);
	f->p->version++;
	plan_ids_fini(&f->p->ending);
	plan_ids_fini(&f->p->lossy_new);
}
static void done(struct fix *f)
{
	plan_state_fini(&f->next.st);
	plan_image_free(f->im);
}

static void test_quiet(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	done(&f);
}

/* replication.md 13, as a table. */
static void test_elects_from_isr(void)
{
	static const struct { const char *replicas, *isr; int32_t leader; const char *dead; int32_t want; const char *want_isr; enum plan_why why; } rows[] = {
		{"1,2,3", "1,2,3", 1, "1", 2, "2,3", PLAN_ELECT},
		{"3,2,1", "1,2,3", 3, "3", 2, "1,2", PLAN_ELECT},        /* assignment order, not ISR order */
		{"1,2,3", "1,3", 1, "1", 3, "3", PLAN_ELECT},            /* 2 lives but is not in sync */
		{"1,2,3", "1,2,3", 1, "1,2", 3, "3", PLAN_ELECT},
		{"1,2,3", "1,2,3", 1, "2", 1, "1,3", PLAN_ISR},          /* a follower dies: no new leader epoch */
		{"1,2,3", "1,2,3", 1, "2,3", 1, "1", PLAN_ISR},
		{"1,2,3", "1,2,3", 1, "1,2,3", -1, "1,2,3", PLAN_LEADERLESS}, /* all gone: the ISR stays */
		{"1,2,3", "1", 1, "1", -1, "1", PLAN_LEADERLESS},        /* others live, but may lack what it acknowledged */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct fix f = fix_new(rows[i].replicas, rows[i].isr, rows[i].leader);
		struct plan_ids d = ids(rows[i].dead);
		for (int32_t k = 0; k < d.n; k++)
			dead(&f, d.v[k], false);
		plan_ids_fini(&d);
		step(&f);
		CU_ASSERT_EQUAL(f.next.why, rows[i].why);
		CU_ASSERT_EQUAL(f.next.st.leader, rows[i].want);
		CU_ASSERT(is(&f.next.st.isr, rows[i].want_isr));
		CU_ASSERT_EQUAL(f.next.st.leader_epoch, rows[i].want == rows[i].leader ? 10 : 11);
		CU_ASSERT_EQUAL(f.next.st.controller_epoch, 3);
		done(&f);
	}
}

/* A4: while its registration lives a leader is not removed without a successor. */
static void test_no_successor_nothing_moves(void)
{
	struct fix f = fix_new("1,2,3", "1", 1);
	dead(&f, 1, true);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	plan_broker_find(f.im, 1)->registered = false;
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_LEADERLESS);
	commit(&f);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	back(&f, 1);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ELECT);
	CU_ASSERT_EQUAL(f.next.st.leader, 1);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 12);
	done(&f);
}

static void test_first_state(void)
{
	struct fix f = fix_new("2,3,1", "", -1);
	f.p->version = -1;
	f.p->st.leader_epoch = 0;
	dead(&f, 2, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_CREATE);
	CU_ASSERT_EQUAL(f.next.st.leader, 3);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 0);
	CU_ASSERT(is(&f.next.st.isr, "3,1"));
	dead(&f, 3, false);
	dead(&f, 1, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING); /* stays new, as Kafka */
	done(&f);
}

/* D2: back within the grace: a new epoch; it may win again, but only when it has applied the snapshot (D3). */
static void test_new_life(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	restarted(&f, 1, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 11);
	CU_ASSERT(is(&f.next.st.isr, "1,2,3")); /* it lost nothing: it stays in sync */
	done(&f);
	f = fix_new("1", "1", 1);
	restarted(&f, 1, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, -1);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 11);
	CU_ASSERT(is(&f.next.st.isr, "1"));
	CU_ASSERT_EQUAL(f.next.st.lossy.n, 0);
	commit(&f);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING); /* not admitted yet */
	back(&f, 1);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 1);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 12);
	done(&f);
}

static void test_lossy_leaves(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	min_isr(&f, "2");
	restarted(&f, 1, true);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2,3"));
	done(&f);
	/* a lossy follower leaves too, and is not eligible */
	f = fix_new("1,2,3", "1,2", 1);
	min_isr(&f, "2");
	plan_ids_add(&f.p->lossy_new, 2);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 1);
	CU_ASSERT_EQUAL(f.next.st.leader_epoch, 10);
	CU_ASSERT(is(&f.next.st.isr, "1"));
	CU_ASSERT(is(&f.next.st.elr, ""));
	done(&f);
}

/* E3: the last one stays, marked; min 1: the last leader, as Kafka. */
static void test_last_one_lossy_min_1(void)
{
	struct fix f = fix_new("1,2,3", "1", 1);
	holds(&f, 1, 10, 50, true);
	holds(&f, 2, 9, 40, false);
	holds(&f, 3, 9, 30, false);
	restarted(&f, 1, true);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, -1);
	CU_ASSERT(is(&f.next.st.isr, "1"));
	CU_ASSERT(is(&f.next.st.lossy, "1"));
	commit(&f);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	back(&f, 1);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ELECT_LOSSY);
	CU_ASSERT_EQUAL(f.next.st.leader, 1);
	CU_ASSERT_EQUAL(f.next.st.recovery_state, 0);
	CU_ASSERT(is(&f.next.st.lossy, ""));
	done(&f);
}

/* min >= 2: all replicas must be there; then the log that holds most. A lossy one with the longer log wins over a lossless shorter one:
 * that one still has the records. */
static void test_all_forgetful_min_2(void)
{
	struct fix f = fix_new("1,2,3", "1", 1);
	min_isr(&f, "2");
	put(&f.p->st.lossy, "1");
	f.p->st.leader = -1;
	holds(&f, 1, 10, 50, true);
	holds(&f, 2, 10, 60, true);
	holds(&f, 3, 10, 40, false);
	dead(&f, 3, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING); /* waits for 3 */
	back(&f, 3);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ELECT_LOSSY);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT_EQUAL(f.next.st.recovery_state, 1);
	CU_ASSERT(is(&f.next.st.isr, "2"));
	CU_ASSERT(is(&f.next.st.elr, ""));
	holds(&f, 3, 10, 60, false); /* as long, and lossless */
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 3);
	holds(&f, 1, 11, 10, true); /* a later epoch beats length */
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 1);
	/* an inventory from before the partition lost its leader proves nothing */
	f.p->leaderless_since_us = 500;
	plan_broker_find(f.im, 2)->inventory_us = 400;
	plan_broker_find(f.im, 1)->inventory_us = plan_broker_find(f.im, 3)->inventory_us = 600;
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	CU_ASSERT_EQUAL(f.next.wants_inventory, 2);
	done(&f);
}

/* E2: members that leave while the ISR is below min stay eligible. */
static void test_eligible(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	min_isr(&f, "2");
	dead(&f, 3, false);
	step(&f);
	CU_ASSERT(is(&f.next.st.elr, "")); /* still min members */
	commit(&f);
	dead(&f, 2, false);
	step(&f);
	CU_ASSERT(is(&f.next.st.isr, "1"));
	CU_ASSERT(is(&f.next.st.elr, "2"));
	commit(&f);
	dead(&f, 1, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, -1);
	commit(&f);
	back(&f, 3);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING); /* 3 may lack records */
	back(&f, 2);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ELECT_ELR);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2"));
	CU_ASSERT(is(&f.next.st.elr, "1"));
	commit(&f);
	/* the ISR is back at min: nobody is eligible any more */
	struct plan_proposal q = {2, f.p->st.leader_epoch, f.p->version, 0, (int32_t[]){2, 3}, 2};
	struct plan_state st = {0};
	CU_ASSERT_EQUAL(plan_isr_propose(f.im, f.p, &q, &st), KERR_NONE);
	CU_ASSERT(is(&st.elr, ""));
	plan_state_fini(&st);
	/* lowering min clears it */
	f.p->elr_clear = true;
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ISR);
	CU_ASSERT(is(&f.next.st.elr, ""));
	done(&f);
}

static void test_lossy_is_not_eligible(void)
{
	struct fix f = fix_new("1,2,3", "1", -1);
	min_isr(&f, "2");
	put(&f.p->st.elr, "2");
	dead(&f, 1, false);
	plan_ids_add(&f.p->lossy_new, 2);
	plan_broker_find(f.im, 2)->available = false;
	step(&f);
	CU_ASSERT(is(&f.next.st.elr, ""));
	commit(&f);
	back(&f, 2);
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING); /* 1 lost nothing: it is waited for */
	done(&f);
}

static void test_unclean(void)
{
	struct fix f = fix_new("1,2,3", "1", 1);
	dead(&f, 1, false);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, -1);
	plan_configs_put(&f.t->config, "unclean.leader.election.enable", "true");
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_ELECT_UNCLEAN);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2"));
	CU_ASSERT_EQUAL(f.next.st.recovery_state, 1);
	done(&f);
}

/* replication.md 15. */
static void test_shutdown(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	plan_broker_find(f.im, 1)->shutting_down = true;
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_HAND_OVER);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2,3"));
	done(&f);
	f = fix_new("1,2,3", "1,2,3", 2); /* a follower that leaves */
	plan_broker_find(f.im, 1)->shutting_down = true;
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2,3"));
	done(&f);
	f = fix_new("1,2", "1", 1); /* nobody may follow it */
	plan_broker_find(f.im, 1)->shutting_down = true;
	step(&f);
	CU_ASSERT_EQUAL(f.next.why, PLAN_NOTHING);
	done(&f);
	f = fix_new("1,2,3", "1,2,3", 1); /* stalled (A1): hands over, stays in sync */
	plan_broker_find(f.im, 1)->stalled = true;
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "1,2,3"));
	done(&f);
}

static void test_failed_directory(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	plan_ids_add(&f.p->offline, 1);
	step(&f);
	CU_ASSERT_EQUAL(f.next.st.leader, 2);
	CU_ASSERT(is(&f.next.st.isr, "2,3"));
	done(&f);
}

/* replication.md 16, in its order. */
static void test_proposals(void)
{
	struct fix f = fix_new("1,2,3", "1,2", 1);
	struct plan_state st = {0};
	plan_broker_find(f.im, 4)->available = false;
	static const struct { int32_t broker, leader_epoch, partition_epoch, recovery; const char *isr; int16_t want; } rows[] = {
		{1, 10, 4, 0, "1,2,3", KERR_NONE},
		{1, 10, 4, 0, "1", KERR_NONE},
		{1, 10, 4, 0, "1,2", KERR_NONE},
		{1, 11, 4, 0, "1", KERR_NOT_CONTROLLER},
		{1, 10, 5, 0, "1", KERR_NOT_CONTROLLER},
		{1, 9, 4, 0, "1", KERR_FENCED_LEADER_EPOCH},
		{2, 10, 4, 0, "2", KERR_FENCED_LEADER_EPOCH},       /* not the leader */
		{1, 10, 3, 0, "1", KERR_INVALID_UPDATE_VERSION},
		{1, 10, 4, 0, "2,3", KERR_INVALID_REQUEST},          /* the leader never leaves */
		{1, 10, 4, 0, "1,4", KERR_INVALID_REQUEST},          /* not a replica */
		{1, 10, 4, 0, "", KERR_INVALID_REQUEST},             /* never empty */
		{1, 10, 4, 1, "1", KERR_INVALID_REQUEST},            /* recovered does not go back */
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct plan_ids isr = ids(rows[i].isr);
		struct plan_proposal q = {rows[i].broker, rows[i].leader_epoch, rows[i].partition_epoch, rows[i].recovery, isr.v, isr.n};
		int16_t code = plan_isr_propose(f.im, f.p, &q, &st);
		CU_ASSERT_EQUAL(code, rows[i].want);
		if (!code) {
			CU_ASSERT(is(&st.isr, rows[i].isr));
			CU_ASSERT_EQUAL(st.leader_epoch, 10); /* only the partition epoch moves */
		}
		plan_state_fini(&st);
		plan_ids_fini(&isr);
	}
	struct plan_proposal join = {1, 10, 4, 0, (int32_t[]){1, 2, 3}, 3};
	plan_broker_find(f.im, 3)->available = false; /* not admitted (D3) */
	CU_ASSERT_EQUAL(plan_isr_propose(f.im, f.p, &join, &st), KERR_INELIGIBLE_REPLICA);
	plan_broker_find(f.im, 3)->available = true;
	plan_broker_find(f.im, 3)->shutting_down = true;
	CU_ASSERT_EQUAL(plan_isr_propose(f.im, f.p, &join, &st), KERR_INELIGIBLE_REPLICA);
	f.p->version = -1;
	CU_ASSERT_EQUAL(plan_isr_propose(f.im, f.p, &join, &st), KERR_UNKNOWN_TOPIC_OR_PARTITION);
	done(&f);
}

/* E2: topic config, else /config/brokers, else the largest of the live brokers' files. */
static void test_min_isr(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 1);
	plan_configs_put(&plan_broker_find(f.im, 2)->statics, "min.insync.replicas", "2");
	plan_configs_put(&plan_broker_find(f.im, 3)->statics, "min.insync.replicas", "3");
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 3);
	dead(&f, 3, false);
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 2);
	f.im->default_min_isr = 2;
	for (int32_t i = 1; i <= 4; i++)
		dead(&f, i, false);
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 2); /* nobody lives: as it was */
	plan_configs_put(&f.im->default_config, "min.insync.replicas", "4");
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 4);
	f.im->default_min_isr = 4;
	CU_ASSERT_EQUAL(plan_effective_min_isr(f.im, f.p), 3); /* never above the replicas */
	min_isr(&f, "1");
	CU_ASSERT_EQUAL(plan_effective_min_isr(f.im, f.p), 1);
	done(&f);
}

/* Everything that can happen, in a long seeded walk: no state without members, leaders from the ISR, epochs never back. */
static void test_walk(void)
{
	uint64_t x = 88172645463325252ULL;
	for (int round = 0; round < 300; round++) {
		struct fix f = fix_new("1,2,3", "1,2,3", 1);
		if (round % 3)
			min_isr(&f, round % 3 == 1 ? "2" : "3");
		for (int i = 0; i < 60; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			int32_t id = (int32_t)(x % 3) + 1;
			holds(&f, id, f.p->st.leader_epoch, (int64_t)(x >> 20) % 100, false);
			switch ((x >> 8) % 6) {
			case 0: dead(&f, id, true); break;
			case 1: dead(&f, id, false); break;
			case 2: plan_broker_find(f.im, id)->alive = true; restarted(&f, id, (x >> 16) & 1); break;
			case 3: back(&f, id); break;
			case 4: plan_broker_find(f.im, id)->shutting_down = (x >> 16) & 1; break;
			default: break;
			}
			struct plan_state was = {0};
			plan_state_copy(&was, &f.p->st);
			step(&f);
			if (f.next.why != PLAN_NOTHING) {
				const struct plan_state *st = &f.next.st;
				CU_ASSERT(st->isr.n > 0);
				CU_ASSERT(st->leader < 0 || plan_ids_has(&st->isr, st->leader));
				CU_ASSERT(st->leader_epoch >= was.leader_epoch);
				CU_ASSERT(st->leader == was.leader || st->leader_epoch > was.leader_epoch);
				for (int32_t k = 0; k < st->isr.n; k++) { /* the controller alone adds no member (B2), an eligible leader aside */
					bool known = plan_ids_has(&was.isr, st->isr.v[k]) || plan_ids_has(&was.elr, st->isr.v[k]) || f.next.why == PLAN_ELECT_LOSSY;
					CU_ASSERT(known);
				}
			}
			commit(&f);
			plan_state_fini(&was);
		}
		done(&f);
	}
}

/* ---- placement ---- */

static void test_places(void)
{
	static const struct assign_broker five[] = {{0, NULL}, {1, NULL}, {2, NULL}, {3, NULL}, {4, NULL}};
	struct assign_request q = {five, 5, 0, 10, 3, 0, 0};
	int32_t out[36];
	/* Kafka's own example: 10 partitions, 5 brokers, start 0, shift 0 */
	static const int32_t want[30] = {0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 0, 4, 0, 1, 0, 2, 3, 1, 3, 4, 2, 4, 0, 3, 0, 1, 4, 1, 2};
	CU_ASSERT_EQUAL(assign_replicas(&q, out), 0);
	CU_ASSERT(memcmp(out, want, sizeof(want)) == 0);
	/* partitions that are added go on where the first ones ended, with the same start; the shift grew with them */
	struct assign_request more = {five, 5, 5, 5, 3, 0, 0};
	CU_ASSERT_EQUAL(assign_replicas(&more, out), 0);
	CU_ASSERT(memcmp(out, want + 15, 15 * sizeof(int32_t)) == 0);
	q.replication_factor = 6;
	CU_ASSERT_EQUAL(assign_replicas(&q, out), ERR_RANGE);
	q.replication_factor = 0;
	CU_ASSERT_EQUAL(assign_replicas(&q, out), ERR_INVAL);
}

static void test_places_by_rack(void)
{
	static const struct assign_broker six[] = {{0, "rack1"}, {1, "rack3"}, {2, "rack3"}, {3, "rack2"}, {4, "rack2"}, {5, "rack1"}};
	struct assign_request q = {six, 6, 0, 6, 3, 0, 0};
	int32_t out[18];
	static const int32_t want[18] = {0, 3, 1, 3, 1, 5, 1, 5, 4, 5, 4, 2, 4, 2, 0, 2, 0, 3}; /* Kafka's example of KIP-36 */
	CU_ASSERT_EQUAL(assign_replicas(&q, out), 0);
	CU_ASSERT(memcmp(out, want, sizeof(want)) == 0);
	struct assign_broker mixed[2] = {{0, "a"}, {1, NULL}};
	struct assign_request bad = {mixed, 2, 0, 1, 1, 0, 0};
	CU_ASSERT_EQUAL(assign_replicas(&bad, out), ERR_INVAL);
}

/* ---- new topics ---- */

static int16_t validate(struct plan_image *im, const char *name, int32_t partitions, int32_t rf, const char *key, const char *value, int32_t *ret_partitions)
{
	struct plan_config c = {(char *)(uintptr_t)key, (char *)(uintptr_t)value};
	struct plan_new_topic t = {.name = slice_str(name), .num_partitions = partitions, .replication_factor = rf, .configs = &c, .config_count = key ? 1 : 0, .random = 12345};
	struct str problem = {0};
	int16_t code = plan_topic_validate(im, &t, &problem);
	CU_ASSERT(code == 0 || problem.len > 0);
	if (ret_partitions)
		*ret_partitions = t.partition_count;
	plan_new_topic_fini(&t);
	str_fini(&problem);
	return code;
}

static void test_validates(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	char long_name[252];
	int32_t n;
	memset(long_name, 'a', 250);
	long_name[250] = 0;
	CU_ASSERT_EQUAL(validate(f.im, "ok", 3, 3, NULL, NULL, &n), 0);
	CU_ASSERT_EQUAL(n, 3);
	CU_ASSERT_EQUAL(validate(f.im, "t", 3, 3, NULL, NULL, NULL), KERR_TOPIC_ALREADY_EXISTS);
	CU_ASSERT_EQUAL(validate(f.im, "", 3, 3, NULL, NULL, NULL), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(validate(f.im, "..", 3, 3, NULL, NULL, NULL), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(validate(f.im, "a/b", 3, 3, NULL, NULL, NULL), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(validate(f.im, long_name, 3, 3, NULL, NULL, NULL), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(validate(f.im, "x", 0, 3, NULL, NULL, NULL), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 0, NULL, NULL, NULL), KERR_INVALID_REPLICATION_FACTOR);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 5, NULL, NULL, NULL), KERR_INVALID_REPLICATION_FACTOR);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "no.such.key", "1", NULL), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "retention.ms", "soon", NULL), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "retention.ms", NULL, NULL), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "retention.ms", "1000", NULL), 0);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "preallocate", "true", NULL), KERR_INVALID_CONFIG); /* without effect yet */
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "preallocate", "false", NULL), 0);
	CU_ASSERT_EQUAL(validate(f.im, "x", 1, 1, "cleanup.policy", "compact", NULL), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(validate(f.im, "__consumer_offsets", 1, 1, "cleanup.policy", "compact", NULL), 0);
	/* -1: the cluster's defaults */
	plan_configs_put(&plan_broker_find(f.im, 2)->statics, "num.partitions", "7");
	CU_ASSERT_EQUAL(validate(f.im, "x", -1, -1, NULL, NULL, &n), 0);
	CU_ASSERT_EQUAL(n, 7);
	struct uuid id = {{9}};
	plan_topic_add(f.im, "a.b", &id);
	CU_ASSERT_EQUAL(validate(f.im, "a_b", 1, 1, NULL, NULL, NULL), KERR_INVALID_TOPIC_EXCEPTION);
	done(&f);
}

static void test_manual_assignment(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	struct plan_new_partition rows[2] = {{1, ids("3,9")}, {0, ids("1,2")}}; /* unknown brokers are not checked, as in Kafka */
	struct plan_new_topic t = {.name = slice_str("m"), .num_partitions = -1, .replication_factor = -1, .manual = rows, .manual_count = 2};
	struct str problem = {0};
	CU_ASSERT_EQUAL(plan_topic_validate(f.im, &t, &problem), 0);
	CU_ASSERT_EQUAL(t.partition_count, 2);
	CU_ASSERT(is(&t.partitions[0].replicas, "1,2"));
	plan_new_topic_fini(&t);
	t.num_partitions = 2;
	CU_ASSERT_EQUAL(plan_topic_validate(f.im, &t, &problem), KERR_INVALID_REQUEST);
	t.num_partitions = -1;
	rows[0].idx = 5;
	CU_ASSERT_EQUAL(plan_topic_validate(f.im, &t, &problem), KERR_INVALID_REPLICA_ASSIGNMENT);
	rows[0].idx = 0;
	CU_ASSERT_EQUAL(plan_topic_validate(f.im, &t, &problem), KERR_INVALID_REPLICA_ASSIGNMENT);
	plan_ids_fini(&rows[0].replicas);
	plan_ids_fini(&rows[1].replicas);
	str_fini(&problem);
	done(&f);
}

static void test_topic_config_table(void)
{
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const struct topic_config_key *k = &topic_config_keys[i];
		CU_ASSERT(i == 0 || strcmp(topic_config_keys[i - 1].name, k->name) < 0); /* found by bisection */
		CU_ASSERT_PTR_EQUAL(topic_config_find(k->name), k);
		CU_ASSERT_EQUAL(topic_config_check(k->name, k->default_value, false, NULL), 0); /* a default is always taken */
	}
	CU_ASSERT_EQUAL(topic_config_key_count, 36);
}

/* ---- changes of configs ---- */

struct change_row {
	enum plan_entity_kind kind;
	const char *key, *value;
	int8_t op;
	int16_t error;
	const char *text; /* the sentence, or the value that stands there afterwards; NULL: none */
};

static void check_change(const struct change_row *r, const struct plan_configs *now)
{
	struct plan_config_change c = {r->key, r->value, r->op};
	struct plan_config_changes all = {&c, 1, false};
	struct plan_configs set = {0};
	struct str problem = {0};
	int16_t error = plan_config_precheck(&all, &problem);
	if (!error)
		error = plan_config_alter(r->kind, &all, now, &set, &problem);
	const char *got = error ? str_cstr(&problem) : plan_configs_get(&set, r->key);
	bool good = error == r->error && (r->text && got ? strcmp(r->text, got) == 0 : r->text == got);
	CU_ASSERT(good);
	if (!good)
		printf("    %s=%s: %d `%s`\n", r->key, r->value ? r->value : "(null)", error, got ? got : "(none)");
	plan_configs_fini(&set);
	str_fini(&problem);
}

/* Codes and sentences are what Kafka 3.9.1 was seen to answer; where it would go on, the reason why Klamm does not. */
static void test_config_changes(void)
{
	static const struct change_row rows[] = {
		{PLAN_TOPIC, "retention.ms", "700000", 0, 0, "700000"},
		{PLAN_TOPIC, "nosuch.key", "1", 0, KERR_INVALID_CONFIG, "Unknown topic config name: nosuch.key"},
		{PLAN_TOPIC, "retention.ms", "abc", 0, KERR_INVALID_CONFIG, "Invalid value abc for configuration retention.ms: Not a number of type LONG"},
		{PLAN_TOPIC, "retention.ms", "-7", 0, KERR_INVALID_CONFIG, "Invalid value -7 for configuration retention.ms: Value must be at least -1"},
		{PLAN_TOPIC, "segment.bytes", "2147483648", 0, KERR_INVALID_CONFIG, "Invalid value 2147483648 for configuration segment.bytes: Not a number of type INT"},
		{PLAN_TOPIC, "min.cleanable.dirty.ratio", "1.5", 0, KERR_INVALID_CONFIG, "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
		{PLAN_TOPIC, "cleanup.policy", "delete,bogus", 0, KERR_INVALID_CONFIG, "Invalid value bogus for configuration cleanup.policy: String must be one of: compact, delete"},
		{PLAN_TOPIC, "message.timestamp.type", "bogus", 0, KERR_INVALID_CONFIG,
			"Invalid value bogus for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
		{PLAN_TOPIC, "unclean.leader.election.enable", "maybe", 0, KERR_INVALID_CONFIG,
			"Invalid value maybe for configuration unclean.leader.election.enable: Expected value to be either true or false"},
		{PLAN_TOPIC, "retention.ms", NULL, 0, KERR_INVALID_REQUEST, "Null value not supported for : retention.ms"},
		{PLAN_TOPIC, "retention.ms", "1", 2, KERR_INVALID_CONFIG, "Config value append is not allowed for config key: retention.ms"},
		{PLAN_TOPIC, "retention.ms", "1", 3, KERR_INVALID_CONFIG, "Config value subtract is not allowed for config key: retention.ms"},
		{PLAN_TOPIC, "retention.ms", "1", 9, KERR_INVALID_REQUEST, "Unknown operations type 9"},
		{PLAN_TOPIC, "nosuch", "x", 2, KERR_INVALID_CONFIG, "Unknown config name: nosuch"},
		{PLAN_TOPIC, "nosuch", NULL, 1, 0, NULL},
		{PLAN_TOPIC, "cleanup.policy", "delete", 2, 0, "delete"}, /* the default is what is appended to */
		{PLAN_TOPIC, "cleanup.policy", "delete", 3, 0, ""},
		{PLAN_TOPIC, "cleanup.policy", "compact", 2, KERR_INVALID_CONFIG, "Configuration cleanup.policy: compaction is not in this version yet: only delete is taken"},
		{PLAN_INTERNAL_TOPIC, "cleanup.policy", "compact", 2, 0, "delete,compact"},
		{PLAN_TOPIC, "preallocate", "true", 0, KERR_INVALID_CONFIG, "Configuration preallocate has no effect in this version yet: only its default false is taken"},
		{PLAN_TOPIC, "preallocate", "false", 0, 0, "false"},
		{PLAN_TOPIC, "compression.type", "gzip", 0, 0, "gzip"},
		{PLAN_TOPIC, "compression.type", "none", 0, KERR_INVALID_CONFIG, "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{PLAN_TOPIC, "compression.type", "producer ", 0, 0, "producer "}, /* kept as written, as in Kafka */
		{PLAN_TOPIC, "compression.gzip.level", "0", 0, KERR_INVALID_CONFIG, "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		/* what Kafka takes without ever doing something with it */
		{PLAN_TOPIC, "delete.retention.ms", "900", 0, 0, "900"},
		{PLAN_TOPIC, "local.retention.ms", " 5 ", 0, 0, " 5 "},
		{PLAN_TOPIC, "local.retention.bytes", "-3", 0, KERR_INVALID_CONFIG, "Invalid value -3 for configuration local.retention.bytes: Value must be at least -2"},
		{PLAN_TOPIC, "message.format.version", "2.0", 0, 0, "2.0"},
		{PLAN_TOPIC, "message.format.version", "0.10.0-IV1", 0, 0, "0.10.0-IV1"},
		{PLAN_TOPIC, "message.format.version", "3.9.1", 0, 0, "3.9.1"},
		{PLAN_TOPIC, "message.format.version", "4.0-IV0", 0, 0, "4.0-IV0"},
		{PLAN_TOPIC, "message.format.version", "4.0", 0, KERR_INVALID_CONFIG, "Invalid value 4.0 for configuration message.format.version: Version 4.0 is not a valid version"},
		{PLAN_TOPIC, "message.format.version", "2.0-IV9", 0, KERR_INVALID_CONFIG, "Invalid value 2.0-IV9 for configuration message.format.version: Version 2.0-IV9 is not a valid version"},
		{PLAN_TOPIC, "message.format.version", "10.0", 0, KERR_INVALID_CONFIG, "Invalid value 10.0 for configuration message.format.version: Version 10.0 is not a valid version"},
		{PLAN_TOPIC, "message.format.version", "", 0, KERR_INVALID_CONFIG, "Invalid value  for configuration message.format.version: Version  is not a valid version"},
		{PLAN_TOPIC, "leader.replication.throttled.replicas", "*", 0, 0, "*"},
		{PLAN_TOPIC, "follower.replication.throttled.replicas", "0:1, 1:2,", 0, 0, "0:1, 1:2,"},
		{PLAN_TOPIC, "leader.replication.throttled.replicas", "0:1,*", 0, KERR_INVALID_CONFIG, "Invalid value [0:1, *] for configuration leader.replication.throttled.replicas: "
			"leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
		{PLAN_TOPIC, "leader.replication.throttled.replicas", "0:1", 2, 0, "0:1"},
		{PLAN_BROKER, "leader.replication.throttled.rate", "5", 0, KERR_INVALID_CONFIG, "Configuration leader.replication.throttled.rate has no effect in this version yet"},
		{PLAN_TOPIC, "flush.ms", "7", 0, 0, "7"}, /* stands there already */
		{PLAN_TOPIC, "compression.zstd.level", "99", 0, 0, "99"}, /* likewise, though nobody would take it anew */
		{PLAN_TOPIC, "flush.ms", NULL, 1, 0, NULL},
		{PLAN_BROKER, "log.retention.ms", "5", 0, 0, "5"},
		{PLAN_ALL_BROKERS, "log.retention.ms", "5", 0, 0, "5"},
		{PLAN_ALL_BROKERS, "compression.type", "lz4", 0, 0, "lz4"},
		{PLAN_BROKER, "compression.type", "rar", 0, KERR_INVALID_REQUEST,
			"Invalid value rar for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{PLAN_BROKER, "compression.gzip.level", "5", 0, 0, "5"},
		{PLAN_BROKER, "log.retention.hours", "5", 0, KERR_INVALID_REQUEST, "Cannot update these configs dynamically: Set(log.retention.hours)"},
		{PLAN_ALL_BROKERS, "listeners", "PLAINTEXT://:1", 0, KERR_INVALID_REQUEST,
			"Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)"},
		{PLAN_BROKER, "listeners", "PLAINTEXT://:1", 0, KERR_INVALID_CONFIG, "Configuration listeners is read when the broker starts: change its file"},
		{PLAN_BROKER, "log.segment.bytes", "1", 0, KERR_INVALID_REQUEST, "Invalid value 1 for configuration log.segment.bytes: Value must be at least 14"},
		{PLAN_BROKER, "log.message.timestamp.type", "x", 0, KERR_INVALID_REQUEST,
			"Invalid value x for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
		{PLAN_BROKER, "num.io.threads", "16", 0, KERR_INVALID_CONFIG, "Configuration num.io.threads has no effect in this version yet"},
		{PLAN_BROKER, "num.recovery.threads.per.data.dir", "4", 0, KERR_INVALID_CONFIG, "Configuration num.recovery.threads.per.data.dir is read when the broker starts: change its file"},
		{PLAN_BROKER, "unclean.leader.election.enable", "true", 0, KERR_INVALID_CONFIG,
			"Configuration unclean.leader.election.enable is decided for the cluster, not by one broker: set it without a broker id"},
		{PLAN_ALL_BROKERS, "unclean.leader.election.enable", "true", 0, 0, "true"},
		{PLAN_BROKER, "num.io.threads", "8", 0, 0, "8"},
		{PLAN_BROKER, "log.cleanup.policy", "compact", 0, KERR_INVALID_CONFIG, "Configuration log.cleanup.policy: compaction is not in this version yet: only delete is taken"},
		{PLAN_BROKER, "ssl.keystore.location", "/x", 0, KERR_INVALID_REQUEST,
			"These security configs can be dynamically updated only per-listener using the listener prefix: HashSet(ssl.keystore.location)"},
		{PLAN_BROKER, "listener.name.x.ssl.keystore.location", "/x", 0, KERR_INVALID_CONFIG, "Settings of a listener (listener.name.x.ssl.keystore.location) are not in this version yet"},
		{PLAN_BROKER, "ssl.client.auth", "none", 0, 0, "none"},
		{PLAN_BROKER, "ssl.keymanager.algorithm", "SunX509", 0, 0, "SunX509"},
		{PLAN_BROKER, "ssl.client.auth", "required", 0, KERR_INVALID_CONFIG, "Configuration ssl.client.auth has no effect in this version yet"},
		{PLAN_BROKER, "ssl.key.password", "x", 0, KERR_INVALID_REQUEST,
			"These security configs can be dynamically updated only per-listener using the listener prefix: HashSet(ssl.key.password)"},
		{PLAN_BROKER, "max.connections", " 0", 0, KERR_INVALID_REQUEST, "Invalid max.connections  0"},
		{PLAN_BROKER, "max.connections.per.ip", "0", 0, KERR_INVALID_REQUEST,
			"requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."},
		{PLAN_BROKER, "log.roll.ms", "0", 0, KERR_INVALID_REQUEST, "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{PLAN_BROKER, "log.roll.jitter.ms", "-1", 0, KERR_INVALID_REQUEST, "requirement failed: log.roll.jitter.ms must be greater than or equal to 0"},
		{PLAN_ALL_BROKERS, "log.retention.ms", "0", 0, KERR_INVALID_REQUEST, "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{PLAN_BROKER, "log.retention.ms", "-2", 0, 0, "-2"},
		{PLAN_TOPIC, "retention.ms", "0", 0, 0, "0"}, /* a topic may */
		{PLAN_BROKER, "nosuch.key", "1", 0, KERR_INVALID_CONFIG, "Unknown broker config name: nosuch.key"},
		{PLAN_BROKER, "nosuch.key", NULL, 1, 0, NULL},
	};
	struct plan_configs now = {0};
	plan_configs_put(&now, "flush.ms", "7");
	plan_configs_put(&now, "compression.zstd.level", "99");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_change(&rows[i], &now);
	plan_configs_fini(&now);
}

static void test_config_change_sets(void)
{
	struct plan_config_change v[2] = {{"retention.ms", "1", PLAN_CONFIG_SET}, {"segment.bytes", "1000", PLAN_CONFIG_SET}};
	struct plan_config_changes c = {v, 2, false};
	struct plan_configs now = {0}, set = {0};
	struct str problem = {0};
	plan_configs_put(&now, "flush.ms", "7");
	CU_ASSERT_EQUAL(plan_config_alter(PLAN_TOPIC, &c, &now, &set, &problem), 0);
	CU_ASSERT_EQUAL(set.n, 3);
	plan_configs_fini(&set);
	c.replace = true; /* AlterConfigs: flush.ms was not named */
	CU_ASSERT_EQUAL(plan_config_alter(PLAN_TOPIC, &c, &now, &set, &problem), 0);
	CU_ASSERT_EQUAL(set.n, 2);
	CU_ASSERT_PTR_NULL(plan_configs_get(&set, "flush.ms"));
	plan_configs_fini(&set);
	struct plan_config_change ips[2] = {{"max.connections.per.ip", "0", PLAN_CONFIG_SET}, {"max.connections.per.ip.overrides", "127.0.0.1:9", PLAN_CONFIG_SET}};
	struct plan_config_changes both = {ips, 2, false}, unset = {ips + 1, 1, false};
	struct plan_configs limited = {0};
	CU_ASSERT_EQUAL(plan_config_alter(PLAN_BROKER, &both, &now, &limited, &problem), 0); /* with overrides it may be 0 */
	ips[1].op = PLAN_CONFIG_DELETE;
	CU_ASSERT_EQUAL(plan_config_alter(PLAN_BROKER, &unset, &limited, &set, &problem), KERR_INVALID_REQUEST); /* which cannot go then */
	plan_configs_fini(&limited);
	str_clear(&problem);
	v[1].value = "x"; /* one bad key: nothing of it happens */
	CU_ASSERT_EQUAL(plan_config_alter(PLAN_TOPIC, &c, &now, &set, &problem), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(set.n, 0);
	v[1].key = "retention.ms";
	str_clear(&problem);
	CU_ASSERT_EQUAL(plan_config_precheck(&c, &problem), KERR_INVALID_REQUEST);
	CU_ASSERT_STRING_EQUAL(str_cstr(&problem), "Error due to duplicate config keys");
	plan_configs_fini(&now);
	str_fini(&problem);
}

/* Kafka parses before it looks: what it takes in spite of blanks and capitals counts here as well, whoever wrote it where. */
static void test_configs_with_blanks(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	CU_ASSERT(plan_configs_put_topic(&f.t->config, "min.insync.replicas", " 2 "));
	CU_ASSERT(plan_configs_put_topic(&f.t->config, "unclean.leader.election.enable", "TRUE"));
	CU_ASSERT(plan_configs_put_topic(&f.t->config, "no.such.key", " x "));
	CU_ASSERT_STRING_EQUAL(plan_configs_get(&f.t->config, "min.insync.replicas"), "2");
	CU_ASSERT_STRING_EQUAL(plan_configs_get(&f.t->config, "unclean.leader.election.enable"), "true");
	CU_ASSERT_STRING_EQUAL(plan_configs_get(&f.t->config, "no.such.key"), " x ");
	CU_ASSERT_EQUAL(plan_topic_min_isr(f.im, f.t), 2);
	/* what no request could have set does not hold, whatever it would do to the topic */
	CU_ASSERT_FALSE(plan_configs_put_topic(&f.t->config, "segment.bytes", "5"));
	CU_ASSERT_FALSE(plan_configs_put_topic(&f.t->config, "max.message.bytes", "x"));
	CU_ASSERT_FALSE(plan_configs_put_topic(&f.t->config, "message.timestamp.type", "logappendtime"));
	CU_ASSERT_FALSE(plan_configs_put_topic(&f.t->config, "min.insync.replicas", "0"));
	CU_ASSERT_PTR_NULL(plan_configs_get(&f.t->config, "segment.bytes"));
	CU_ASSERT_STRING_EQUAL(plan_configs_get(&f.t->config, "min.insync.replicas"), "2");
	plan_configs_fini(&f.t->config);
	plan_configs_put(&f.im->default_config, "min.insync.replicas", " 3");
	plan_configs_put(&f.im->default_config, "unclean.leader.election.enable", " true ");
	CU_ASSERT_EQUAL(plan_default_min_isr(f.im), 3);
	CU_ASSERT(plan_unclean_allowed(f.im, f.t));
	plan_configs_put(&plan_broker_find(f.im, 2)->statics, "num.partitions", " 7 ");
	int32_t n;
	CU_ASSERT_EQUAL(validate(f.im, "x", -1, 1, NULL, NULL, &n), 0);
	CU_ASSERT_EQUAL(n, 7);
	done(&f);
}

/* What brokers start from: the dynamic default, else the file of the first live broker, under whichever name it gives it. */
static void test_cluster_setting(void)
{
	struct fix f = fix_new("1,2,3", "1,2,3", 1);
	const char *name;
	CU_ASSERT_PTR_NULL(plan_cluster_setting(f.im, "log.retention.ms", &name));
	plan_configs_put(&plan_broker_get(f.im, 1)->statics, "log.retention.hours", "5");
	CU_ASSERT_STRING_EQUAL(plan_cluster_setting(f.im, "log.retention.ms", &name), "5");
	CU_ASSERT_STRING_EQUAL(name, "log.retention.hours");
	plan_configs_put(&plan_broker_get(f.im, 1)->statics, "log.retention.minutes", "6");
	CU_ASSERT_STRING_EQUAL(plan_cluster_setting(f.im, "log.retention.ms", &name), "6");
	plan_configs_put(&f.im->default_config, "log.retention.ms", "7");
	CU_ASSERT_STRING_EQUAL(plan_cluster_setting(f.im, "log.retention.ms", &name), "7");
	CU_ASSERT_STRING_EQUAL(name, "log.retention.ms");
	done(&f);
}

UNIT_MAIN("plan", {"quiet", test_quiet}, {"elects_from_isr", test_elects_from_isr}, {"no_successor_nothing_moves", test_no_successor_nothing_moves},
	  {"first_state", test_first_state}, {"new_life", test_new_life}, {"lossy_leaves", test_lossy_leaves}, {"last_one_lossy_min_1", test_last_one_lossy_min_1},
	  {"all_forgetful_min_2", test_all_forgetful_min_2}, {"eligible", test_eligible}, {"lossy_is_not_eligible", test_lossy_is_not_eligible}, {"unclean", test_unclean},
	  {"shutdown", test_shutdown}, {"failed_directory", test_failed_directory}, {"proposals", test_proposals}, {"min_isr", test_min_isr}, {"walk", test_walk},
	  {"places", test_places}, {"places_by_rack", test_places_by_rack}, {"validates", test_validates}, {"manual_assignment", test_manual_assignment},
	  {"topic_config_table", test_topic_config_table}, {"configs_with_blanks", test_configs_with_blanks}, {"cluster_setting", test_cluster_setting}, {"config_changes", test_config_changes},
	  {"config_change_sets", test_config_change_sets})
