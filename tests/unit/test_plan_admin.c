/* test_plan_admin.c: what the controller's pure core makes of everyday admin requests: more partitions, elections on request, the balance of
 * leaders. Codes and sentences are Kafka's. */
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/plan/grow.h"
#include "controllerd/plan/prefer.h"
#include "tests/unit/unit.h"

/* Brokers 1..n and topic t, each partition's replicas as a text: "12" = brokers 1, 2. */
struct fix {
	struct plan_image *im;
	struct plan_topic *t;
	struct str problem;
	struct plan_growth g;
};

static struct plan_ids ids(const char *text)
{
	struct plan_ids s = {0};
	int32_t v[16], n = 0;
	for (; *text; text++)
		v[n++] = *text - '0'; /* twice the same is wanted in places */
	plan_ids_set(&s, v, n);
	return s;
}
static struct fix fix_new(int32_t brokers, int partitions, const char *const *replicas)
{
	struct fix f = {.im = plan_image_new()};
	for (int32_t i = 1; i <= brokers; i++) {
		struct plan_broker *b = plan_broker_get(f.im, i);
		b->registered = b->alive = b->available = b->admitted = true;
	}
	f.t = plan_topic_add(f.im, "t", &(struct uuid){{7}});
	for (int i = 0; i < partitions; i++) {
		struct plan_ids r = ids(replicas[i]);
		if (r.n)
			plan_partition_add(f.im, f.t, i, &r);
		plan_ids_fini(&r);
	}
	return f;
}
static void done(struct fix *f)
{
	plan_growth_fini(&f->g);
	str_fini(&f->problem);
	plan_image_free(f->im);
}
static int16_t grow(struct fix *f, int32_t count, int manual_count, const char *const *manual)
{
	struct plan_ids lists[8] = {{0}};
	for (int i = 0; i < manual_count; i++)
		lists[i] = ids(manual[i]);
	plan_growth_fini(&f->g);
	str_clear(&f->problem);
	f->g = (struct plan_growth){.count = count, .manual = manual ? lists : NULL, .manual_count = manual_count};
	int16_t code = plan_topic_grow(f->im, f->t, &f->g, &f->problem);
	for (int i = 0; i < manual_count; i++)
		plan_ids_fini(&lists[i]);
	f->g.manual = NULL;
	return code;
}
static bool says(const struct fix *f, const char *text) { return strcmp(str_cstr(&f->problem), text) == 0; }
static bool gives(const struct fix *f, int32_t at, int32_t idx, const char *replicas)
{
	struct plan_ids want = ids(replicas);
	bool ok = at < f->g.partition_count && f->g.partitions[at].idx == idx && plan_ids_eq(&f->g.partitions[at].replicas, &want);
	plan_ids_fini(&want);
	return ok;
}
#define LIST(...) (const char *const[]){__VA_ARGS__}

static void test_counts(void)
{
	struct fix f = fix_new(3, 3, LIST("12", "23", "31"));
	CU_ASSERT_EQUAL(grow(&f, 2, 0, NULL), KERR_INVALID_PARTITIONS);
	CU_ASSERT(says(&f, "Topic currently has 3 partitions, which is higher than the requested 2."));
	CU_ASSERT_EQUAL(grow(&f, -1, 0, NULL), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(grow(&f, 3, 0, NULL), KERR_INVALID_PARTITIONS);
	CU_ASSERT(says(&f, "Topic already has 3 partitions."));
	CU_ASSERT_EQUAL(grow(&f, PLAN_NEW_PARTITIONS_MAX + 1, 0, NULL), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(f.g.partition_count, 0);
	CU_ASSERT_EQUAL(grow(&f, 4, 0, NULL), KERR_NONE);
	CU_ASSERT_EQUAL(f.g.partition_count, 1);
	done(&f);
}

/* Kafka 3.9 starts at the place of partition 0's first replica, for the shift as well, and counts on from the old number of partitions.
 * By hand, 3 brokers, partition 0 on (1,2): start 0; 3 -> 1 (shift 1), 4 -> 2, 5 -> 3, 6 -> 1 (shift 2). */
static void test_placement_goes_on(void)
{
	struct fix f = fix_new(3, 3, LIST("12", "23", "31"));
	CU_ASSERT_EQUAL(grow(&f, 7, 0, NULL), KERR_NONE);
	CU_ASSERT(gives(&f, 0, 3, "13") && gives(&f, 1, 4, "21") && gives(&f, 2, 5, "32") && gives(&f, 3, 6, "12"));
	done(&f);
	/* partition 0 led by 2: start and shift 1; 1 -> index 2 */
	f = fix_new(3, 1, LIST("23"));
	CU_ASSERT_EQUAL(grow(&f, 3, 0, NULL), KERR_NONE);
	CU_ASSERT(gives(&f, 0, 1, "32") && gives(&f, 1, 2, "13"));
	done(&f);
	/* its broker is away: the next higher one begins; beyond the last: the first */
	f = fix_new(4, 1, LIST("2"));
	plan_broker_find(f.im, 2)->available = false;
	CU_ASSERT_EQUAL(grow(&f, 2, 0, NULL), KERR_NONE);
	CU_ASSERT(gives(&f, 0, 1, "4")); /* brokers 1, 3, 4: start 1, partition 1 */
	done(&f);
	f = fix_new(2, 1, LIST("9"));
	CU_ASSERT_EQUAL(grow(&f, 2, 0, NULL), KERR_NONE);
	CU_ASSERT(gives(&f, 0, 1, "2"));
	done(&f);
}

static void test_placement_fails(void)
{
	struct fix f = fix_new(3, 1, LIST("123"));
	plan_broker_find(f.im, 3)->available = false;
	CU_ASSERT_EQUAL(grow(&f, 2, 0, NULL), KERR_INVALID_REPLICATION_FACTOR);
	CU_ASSERT(says(&f, "Replication factor: 3 larger than available brokers: 2."));
	plan_broker_find(f.im, 3)->available = true;
	plan_broker_find(f.im, 3)->rack = mem_strdup("r");
	CU_ASSERT_EQUAL(grow(&f, 2, 0, NULL), KERR_UNKNOWN_SERVER_ERROR);
	done(&f);
	f = fix_new(3, 2, LIST("", "12")); /* a hole at 0, written by hand */
	CU_ASSERT_EQUAL(grow(&f, 4, 0, NULL), KERR_UNKNOWN_SERVER_ERROR);
	done(&f);
}

static void test_manual(void)
{
	struct fix f = fix_new(3, 1, LIST("12"));
	CU_ASSERT_EQUAL(grow(&f, 3, 2, LIST("31", "21")), KERR_NONE);
	CU_ASSERT(gives(&f, 0, 1, "31") && gives(&f, 1, 2, "21"));
	plan_broker_find(f.im, 3)->available = false; /* registered: Kafka takes it too */
	CU_ASSERT_EQUAL(grow(&f, 2, 1, LIST("31")), KERR_NONE);
	CU_ASSERT_EQUAL(grow(&f, 3, 2, LIST("18", "97")), KERR_INVALID_REPLICA_ASSIGNMENT);
	CU_ASSERT(says(&f, "Unknown broker(s) in replica assignment: 8, 9, 7."));
	CU_ASSERT_EQUAL(grow(&f, 3, 1, LIST("12")), KERR_INVALID_REPLICA_ASSIGNMENT);
	CU_ASSERT(says(&f, "Increasing the number of partitions by 2 but 1 assignments provided."));
	CU_ASSERT_EQUAL(grow(&f, 3, 0, LIST("")), KERR_INVALID_REPLICA_ASSIGNMENT); /* an empty list is not none */
	CU_ASSERT_EQUAL(grow(&f, 2, 1, LIST("")), KERR_INVALID_REPLICA_ASSIGNMENT);
	CU_ASSERT(says(&f, "Cannot have replication factor of 0 for partition id 1."));
	CU_ASSERT_EQUAL(grow(&f, 2, 1, LIST("22")), KERR_INVALID_REPLICA_ASSIGNMENT);
	CU_ASSERT(says(&f, "Duplicate brokers not allowed in replica assignment: 2, 2 for partition id 1."));
	CU_ASSERT_EQUAL(grow(&f, 4, 3, LIST("1", "12", "123")), KERR_INVALID_REPLICA_ASSIGNMENT);
	CU_ASSERT(says(&f, "Inconsistent replication factor between partitions, partition 0 has 2 while partitions [1, 3] have replication factors [1, 3], respectively."));
	CU_ASSERT_EQUAL(f.g.partition_count, 0);
	done(&f);
}

/* ---- elections on request ---- */

static struct plan_partition *with_state(struct fix *f, int32_t idx, int32_t leader, const char *isr)
{
	struct plan_partition *p = &f->t->partitions[idx];
	struct plan_ids s = ids(isr);
	p->version = 3;
	p->st.leader = leader;
	p->st.leader_epoch = 5;
	plan_ids_copy(&p->st.isr, &s);
	plan_ids_fini(&s);
	return p;
}

static void test_preferred(void)
{
	struct fix f = fix_new(3, 1, LIST("123"));
	struct plan_partition *p = with_state(&f, 0, 2, "213");
	struct plan_next next;
	f.im->controller_epoch = 9;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_NONE);
	plan_prefer(f.im, p, &next);
	CU_ASSERT(next.why == PLAN_PREFERRED && next.st.leader == 1 && next.st.leader_epoch == 6 && next.st.controller_epoch == 9);
	CU_ASSERT(plan_ids_eq(&next.st.isr, &p->st.isr)); /* the ISR stays as it is */
	plan_state_fini(&next.st);
	p->st.leader = 1;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_ELECTION_NOT_NEEDED);
	p->st.leader = -1; /* also in exchange for none */
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_NONE);
	p->st.leader = 2;
	plan_ids_remove(&p->st.isr, 1);
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_PREFERRED_LEADER_NOT_AVAILABLE);
	plan_ids_add(&p->st.isr, 1);
	plan_ids_add(&p->lossy_new, 1); /* it forgot something: it is about to leave the ISR */
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_PREFERRED_LEADER_NOT_AVAILABLE);
	plan_ids_remove(&p->lossy_new, 1);
	plan_ids_add(&p->ending, 1); /* its former life is not ended yet (D2) */
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_PREFERRED_LEADER_NOT_AVAILABLE);
	plan_ids_remove(&p->ending, 1);
	plan_broker_find(f.im, 1)->shutting_down = true;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_PREFERRED_LEADER_NOT_AVAILABLE);
	plan_broker_find(f.im, 1)->shutting_down = false;
	plan_broker_find(f.im, 1)->available = false;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_PREFERRED), KERR_PREFERRED_LEADER_NOT_AVAILABLE);
	done(&f);
}

static void test_unclean(void)
{
	struct fix f = fix_new(3, 1, LIST("123"));
	struct plan_partition *p = with_state(&f, 0, 1, "1");
	struct plan_next next;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_UNCLEAN), KERR_ELECTION_NOT_NEEDED);
	struct plan_broker *b = plan_broker_find(f.im, 1);
	b->alive = b->available = b->registered = false;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_UNCLEAN), KERR_NONE);
	plan_partition_next(f.im, p, &next);
	CU_ASSERT(next.why == PLAN_LEADERLESS && next.st.leader == -1); /* by itself: nobody (min 1) */
	plan_state_fini(&next.st);
	p->unclean_once = true;
	plan_partition_next(f.im, p, &next);
	CU_ASSERT(next.why == PLAN_ELECT_UNCLEAN && next.st.leader == 2 && next.st.isr.n == 1 && next.st.recovery_state == 1);
	plan_state_fini(&next.st);
	for (int i = 2; i <= 3; i++)
		plan_broker_find(f.im, i)->available = false;
	CU_ASSERT_EQUAL(plan_election_check(f.im, p, PLAN_ELECTION_UNCLEAN), KERR_ELIGIBLE_LEADERS_NOT_AVAILABLE);
	done(&f);
}

static void count(void *ctx, struct plan_partition *p) { *(int *)ctx = *(int *)ctx * 10 + p->idx; }

static void test_imbalance(void)
{
	struct fix f = fix_new(3, 6, LIST("12", "12", "12", "12", "21", "31"));
	int moved = 0;
	for (int i = 0; i < 6; i++)
		with_state(&f, i, f.t->partitions[i].replicas.v[0], i == 4 ? "21" : i == 5 ? "31" : "12");
	plan_imbalance(f.im, 0, count, &moved);
	CU_ASSERT_EQUAL(moved, 0);
	f.t->partitions[1].st.leader = 2; /* 1 of the 4 of broker 1 */
	plan_imbalance(f.im, 25, count, &moved);
	CU_ASSERT_EQUAL(moved, 0); /* exactly 25 % is not more than 25 % */
	plan_imbalance(f.im, 24, count, &moved);
	CU_ASSERT_EQUAL(moved, 1);
	f.t->partitions[3].st.leader = 2;
	plan_ids_remove(&f.t->partitions[3].st.isr, 1); /* counts, and cannot be moved */
	moved = 0;
	plan_imbalance(f.im, 49, count, &moved);
	CU_ASSERT_EQUAL(moved, 1);
	f.t->partitions[5].st.leader = 1; /* all that is meant for 3 */
	moved = 0;
	plan_imbalance(f.im, 50, count, &moved);
	CU_ASSERT_EQUAL(moved, 5);
	f.t->deleting = true;
	moved = 0;
	plan_imbalance(f.im, 0, count, &moved);
	CU_ASSERT_EQUAL(moved, 0);
	done(&f);
}

UNIT_MAIN("plan_admin", {"counts", test_counts}, {"placement_goes_on", test_placement_goes_on}, {"placement_fails", test_placement_fails}, {"manual", test_manual},
	  {"preferred", test_preferred}, {"unclean", test_unclean}, {"imbalance", test_imbalance})
