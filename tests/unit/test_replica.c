/* test_replica.c: the pure core of a partition replica, rule by rule (facts/replication.md 3, 7, 8; protocol.md B, C6, E2). */
#include "tests/unit/unit.h"

#include <stdarg.h>
#include <string.h>

#include "brokerd/replica/replica.h"
#include "common/wire/kerr.h"

#define LAG 30000

static struct image_ids ids_of(int32_t *store, const char *text)
{
	struct image_ids s = {store, 0};
	for (; *text; text++)
		if (*text >= '0' && *text <= '9')
			store[s.count++] = *text - '0';
	return s;
}

struct world {
	struct replica r;
	struct replica_out out;
	int64_t now;
	struct replica_log log;
	int32_t store[4][16];
};

static bool state(struct world *w, int32_t leader, int32_t epoch, int32_t pepoch, const char *replicas, const char *isr, int32_t min)
{
	struct image_partition ip = {.leader = leader, .leader_epoch = epoch, .partition_epoch = pepoch, .min_isr = min};
	ip.replicas = ids_of(w->store[0], replicas);
	ip.isr = ids_of(w->store[1], isr);
	bool took = replica_on_state(&w->r, &ip, &w->log, w->now, &w->out);
	for (int32_t i = 0; i < ip.replicas.count; i++)
		replica_set_eligible(&w->r, ip.replicas.ids[i], true);
	return took;
}

static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now = 1000000;
	replica_init(&w->r, 1, LAG);
}

static void end(struct world *w, int64_t offset)
{
	w->log.end = w->log.acked_end = w->log.next = offset;
	replica_on_end(&w->r, offset, offset, w->now, &w->out);
}

static void fetch(struct world *w, int32_t id, int64_t offset)
{
	CU_ASSERT(replica_on_fetch(&w->r, id, offset, 0, w->now, 0, &w->out));
}

static bool pending_is(const struct world *w, const char *isr)
{
	int32_t store[16];
	struct image_ids want = ids_of(store, isr);
	if (!w->r.pending || (int32_t)w->r.pending_count != want.count)
		return false;
	for (int32_t i = 0; i < want.count; i++)
		if (w->r.pending_isr[i] != want.ids[i])
			return false;
	return true;
}

static void test_roles(void)
{
	struct world w;
	begin(&w);
	CU_ASSERT(state(&w, 2, 0, 0, "123", "123", 1));
	CU_ASSERT_EQUAL(w.out.acts & (REPLICA_DO_FOLLOW | REPLICA_DO_LEAD | REPLICA_DO_DEPOSE), REPLICA_DO_FOLLOW);
	CU_ASSERT(state(&w, 1, 1, 1, "123", "13", 1));
	CU_ASSERT_EQUAL(w.out.acts & (REPLICA_DO_FOLLOW | REPLICA_DO_LEAD | REPLICA_DO_DEPOSE), REPLICA_DO_LEAD | REPLICA_DO_DEPOSE);
	CU_ASSERT_EQUAL(w.out.depose, 2);
	/* B4: a follower of the next epoch tells the former leader too, not when that is itself */
	CU_ASSERT(state(&w, 3, 2, 2, "123", "13", 1));
	CU_ASSERT_EQUAL(w.out.acts & (REPLICA_DO_LOST | REPLICA_DO_FOLLOW | REPLICA_DO_DEPOSE), REPLICA_DO_LOST | REPLICA_DO_FOLLOW);
	CU_ASSERT(state(&w, -1, 3, 3, "123", "3", 1));
	CU_ASSERT(w.out.acts & REPLICA_DO_STOP);
	CU_ASSERT(state(&w, 3, 4, 4, "23", "3", 1)); /* not assigned any more */
	CU_ASSERT_EQUAL(w.r.role, REPLICA_NONE);
	replica_fini(&w.r);
}

static void test_stale_states(void)
{
	struct world w;
	begin(&w);
	CU_ASSERT(state(&w, 1, 5, 7, "123", "123", 1));
	CU_ASSERT(!state(&w, 2, 4, 9, "123", "2", 1));
	CU_ASSERT(!state(&w, 1, 5, 6, "123", "1", 1));
	CU_ASSERT_EQUAL(w.r.isr_count, 3);
	CU_ASSERT_EQUAL(w.r.leader, 1);
	/* the same state again changes no role */
	CU_ASSERT(state(&w, 1, 5, 7, "123", "123", 2));
	CU_ASSERT(!(w.out.acts & (REPLICA_DO_LEAD | REPLICA_DO_LOST)));
	CU_ASSERT_EQUAL(w.r.min_isr, 2);
	replica_fini(&w.r);
}

static void test_hw_min_of_isr(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "123", 1);
	end(&w, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 0);
	fetch(&w, 2, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 0); /* 3 has said nothing yet */
	fetch(&w, 3, 6);
	CU_ASSERT_EQUAL(w.r.high_watermark, 6);
	CU_ASSERT(w.out.acts & REPLICA_DO_HW);
	fetch(&w, 3, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	/* a follower that steps back never takes it back */
	fetch(&w, 3, 2);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	replica_fini(&w.r);
}

static void test_hw_isr_of_one(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "1", "1", 1);
	end(&w, 5);
	CU_ASSERT_EQUAL(w.r.high_watermark, 5);
	/* E5's place: what is not synced is not vouched for */
	replica_on_end(&w.r, 9, 7, w.now, &w.out);
	CU_ASSERT_EQUAL(w.r.high_watermark, 7);
	replica_fini(&w.r);
}

/* Counting somebody outside the ISR in place of a member loses records at the next election. */
static void test_hw_ignores_outsiders(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "12", 1);
	replica_set_eligible(&w.r, 3, false); /* so that it does not join */
	end(&w, 10);
	fetch(&w, 3, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 0);
	fetch(&w, 2, 4);
	CU_ASSERT_EQUAL(w.r.high_watermark, 4);
	/* an outsider that lags and may not join holds nothing up */
	fetch(&w, 3, 1);
	fetch(&w, 2, 8);
	CU_ASSERT_EQUAL(w.r.high_watermark, 8);
	replica_fini(&w.r);
}

/* A replica whose log directory failed was caught up a moment ago: once the ISR is without it nothing waits for it. */
static void test_hw_passes_offline(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "12", "12", 1);
	fetch(&w, 2, 0);
	end(&w, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 0);
	struct image_partition ip = {.leader = 1, .partition_epoch = 0, .min_isr = 1, .replicas = ids_of(w.store[0], "12"), .isr = ids_of(w.store[1], "12"),
				     .offline = ids_of(w.store[2], "2")};
	CU_ASSERT(replica_on_state(&w.r, &ip, &w.log, w.now, &w.out));
	CU_ASSERT_EQUAL(w.r.high_watermark, 0); /* a member counts (B2) */
	ip.partition_epoch = 1;
	ip.isr = ids_of(w.store[1], "1");
	CU_ASSERT(replica_on_state(&w.r, &ip, &w.log, w.now, &w.out));
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	CU_ASSERT(w.out.acts & REPLICA_DO_HW);
	replica_fini(&w.r);
}

static void test_hw_waits_for_joining(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "12", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	fetch(&w, 3, 10); /* caught up: proposed, and counted from now on */
	CU_ASSERT(pending_is(&w, "123"));
	CU_ASSERT(w.out.acts & REPLICA_DO_PROPOSE);
	end(&w, 20);
	fetch(&w, 2, 20);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10); /* ZooKeeper may hold {1,2,3} already */
	fetch(&w, 3, 15);
	CU_ASSERT_EQUAL(w.r.high_watermark, 15);
	replica_fini(&w.r);
}

/* Somebody who was about to join and fell silent: producers wait for him as long as he may still count as caught up, not until the next
 * thing happens to the partition. */
static void test_hw_leaves_the_silent(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 3, 8, "123", "12", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	fetch(&w, 3, 10);
	replica_on_rejected(&w.r, 3, 8, w.now, &w.out);
	end(&w, 20);
	fetch(&w, 2, 20);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	w.now += LAG;
	replica_on_tick(&w.r, false, w.now, &w.out);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	w.now++;
	replica_on_tick(&w.r, false, w.now, &w.out);
	CU_ASSERT_EQUAL(w.r.high_watermark, 20);
	CU_ASSERT(w.out.acts & REPLICA_DO_HW);
	replica_fini(&w.r);
}

/* Who led, followed somebody and was truncated, leads again with the high watermark of its log, not with that of its former reign: what
 * is produced then would wait for offsets that are far away. */
static void test_hw_of_former_reign(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "12", "12", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	state(&w, 2, 1, 1, "12", "12", 1);
	w.log = (struct replica_log){.end = 5, .acked_end = 5, .next = 5, .high_watermark = 5};
	state(&w, 1, 2, 2, "12", "12", 1);
	CU_ASSERT_EQUAL(w.r.high_watermark, 5);
	end(&w, 6);
	fetch(&w, 2, 6);
	CU_ASSERT_EQUAL(w.r.high_watermark, 6);
	CU_ASSERT(w.out.acts & REPLICA_DO_HW);
	/* a new epoch of a reign that goes on takes nothing back */
	w.log.high_watermark = 5;
	w.log.end = w.log.acked_end = w.log.next = 6;
	state(&w, 1, 3, 3, "12", "12", 1);
	CU_ASSERT_EQUAL(w.r.high_watermark, 6);
	replica_fini(&w.r);
}

/* B2: a removal counts until it is confirmed: the controller may elect the member meanwhile. */
static void test_pending_removal_counts(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "123", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	fetch(&w, 3, 10);
	end(&w, 20);
	w.now += LAG + 1000;
	fetch(&w, 2, 20);
	replica_on_tick(&w.r, true, w.now, &w.out);
	CU_ASSERT(pending_is(&w, "12"));
	CU_ASSERT(w.out.acts & REPLICA_DID_SHRINK);
	end(&w, 30);
	fetch(&w, 2, 30);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	CU_ASSERT_EQUAL(w.r.isr_count, 3);
	state(&w, 1, 0, 1, "123", "12", 1);
	CU_ASSERT(!w.r.pending);
	CU_ASSERT_EQUAL(w.r.high_watermark, 30);
	replica_fini(&w.r);
}

/* C6 */
static void test_rejections(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 3, 8, "123", "12", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	fetch(&w, 3, 10);
	CU_ASSERT(w.r.pending);
	replica_on_rejected(&w.r, 3, 7, w.now, &w.out);
	CU_ASSERT(w.r.pending);
	replica_on_rejected(&w.r, 2, 8, w.now, &w.out);
	CU_ASSERT(w.r.pending);
	/* the same state again (a snapshot) does not end it either */
	state(&w, 1, 3, 8, "123", "12", 1);
	CU_ASSERT(pending_is(&w, "123"));
	replica_on_rejected(&w.r, 3, 8, w.now, &w.out);
	CU_ASSERT(!w.r.pending);
	/* and it is not proposed again at once */
	fetch(&w, 3, 10);
	CU_ASSERT(!w.r.pending);
	w.now += 1000;
	fetch(&w, 3, 10);
	CU_ASSERT(pending_is(&w, "123"));
	replica_fini(&w.r);
}

static void test_proposal_repeats(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "12", "1", 1);
	end(&w, 1);
	fetch(&w, 2, 1);
	CU_ASSERT(w.r.pending);
	replica_on_tick(&w.r, false, w.now + 500, &w.out);
	CU_ASSERT(!(w.out.acts & REPLICA_DO_PROPOSE));
	replica_on_tick(&w.r, false, w.now + 1000, &w.out);
	CU_ASSERT(w.out.acts & REPLICA_DO_PROPOSE);
	CU_ASSERT(pending_is(&w, "12"));
	replica_fini(&w.r);
}

/* E2 */
static void test_min_isr(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "12", 2);
	end(&w, 10);
	fetch(&w, 2, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	state(&w, 1, 0, 1, "123", "1", 2);
	CU_ASSERT(!replica_enough(&w.r));
	replica_set_eligible(&w.r, 2, false);
	end(&w, 20);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	/* an addition that is only proposed does not count for the minimum */
	replica_set_eligible(&w.r, 2, true);
	fetch(&w, 2, 20);
	CU_ASSERT(pending_is(&w, "12"));
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	state(&w, 1, 0, 2, "123", "12", 2);
	CU_ASSERT_EQUAL(w.r.high_watermark, 20);
	/* lowering the minimum lets it go on */
	state(&w, 1, 0, 3, "123", "1", 2);
	replica_set_eligible(&w.r, 2, false);
	end(&w, 30);
	CU_ASSERT_EQUAL(w.r.high_watermark, 20);
	state(&w, 1, 0, 4, "123", "1", 1);
	replica_set_eligible(&w.r, 2, false);
	replica_on_tick(&w.r, false, w.now + LAG + 1, &w.out);
	CU_ASSERT_EQUAL(w.r.high_watermark, 30);
	replica_fini(&w.r);
}

static void test_expand_conditions(void)
{
	struct world w;
	begin(&w);
	w.log = (struct replica_log){50, 50, 50, 40};
	state(&w, 1, 2, 5, "1234", "12", 1);
	fetch(&w, 2, 50);
	CU_ASSERT_EQUAL(w.r.high_watermark, 50);
	fetch(&w, 3, 49); /* below the start of this epoch and the high watermark */
	CU_ASSERT(!w.r.pending);
	CU_ASSERT(!replica_on_fetch(&w.r, 9, 50, 0, w.now, 0, &w.out)); /* not in the assignment */
	replica_set_eligible(&w.r, 3, false);
	fetch(&w, 3, 50);
	CU_ASSERT(!w.r.pending);
	replica_set_eligible(&w.r, 3, true);
	fetch(&w, 3, 50);
	CU_ASSERT(pending_is(&w, "123"));
	fetch(&w, 4, 50); /* one change in flight */
	CU_ASSERT(pending_is(&w, "123"));
	state(&w, 1, 2, 6, "1234", "123", 1);
	fetch(&w, 4, 50);
	CU_ASSERT(pending_is(&w, "1234"));
	replica_fini(&w.r);
}

/* HW at the high watermark is not enough: what the new leader has of its epoch's start must be there too. */
static void test_expand_needs_epoch_start(void)
{
	struct world w;
	begin(&w);
	w.log = (struct replica_log){50, 50, 50, 10};
	state(&w, 1, 2, 5, "123", "12", 1);
	fetch(&w, 3, 20);
	CU_ASSERT(!w.r.pending);
	fetch(&w, 3, 50);
	CU_ASSERT(pending_is(&w, "123"));
	replica_fini(&w.r);
}

/* Section 7: caught up is judged by the time of the fetch before, when it had all that was there then. */
static void test_caught_up(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "12", "12", 1);
	int64_t t0 = w.now;
	end(&w, 100);
	/* each fetch takes what was there at the one before: never at the end, never out */
	for (int i = 1; i <= 10; i++) {
		w.now = t0 + i * (LAG / 2);
		fetch(&w, 2, 100 * i);
		end(&w, 100 * (i + 1));
		replica_on_tick(&w.r, true, w.now, &w.out);
		CU_ASSERT(!w.r.pending);
	}
	/* slower than the log grows */
	for (int i = 11; i <= 13; i++) {
		w.now = t0 + i * (LAG / 2);
		fetch(&w, 2, 1000 + i);
		end(&w, 100 * (i + 1));
	}
	replica_on_tick(&w.r, true, w.now, &w.out);
	CU_ASSERT(pending_is(&w, "1"));
	replica_fini(&w.r);
}

static void test_shrink_only_on_lag(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "123", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	fetch(&w, 3, 10);
	/* at the end of the log nobody lags, however silent */
	w.now += 10 * LAG;
	replica_on_tick(&w.r, true, w.now, &w.out);
	CU_ASSERT(!w.r.pending);
	end(&w, 11);
	replica_on_tick(&w.r, true, w.now, &w.out);
	CU_ASSERT(pending_is(&w, "1"));
	replica_fini(&w.r);
}

/* A new epoch of the same leader: what followers had is unknown again (one may be back with less). */
static void test_new_epoch_forgets(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "12", "12", 1);
	end(&w, 10);
	fetch(&w, 2, 10);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	w.log.high_watermark = 10;
	state(&w, 1, 1, 1, "12", "12", 1);
	CU_ASSERT(w.out.acts & REPLICA_DO_LEAD);
	end(&w, 20);
	CU_ASSERT_EQUAL(w.r.high_watermark, 10);
	fetch(&w, 2, 20);
	CU_ASSERT_EQUAL(w.r.high_watermark, 20);
	replica_fini(&w.r);
}

static void test_epochs(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 4, 0, "12", "12", 1);
	CU_ASSERT_EQUAL(replica_check_epoch(&w.r, -1), 0);
	CU_ASSERT_EQUAL(replica_check_epoch(&w.r, 4), 0);
	CU_ASSERT_EQUAL(replica_check_epoch(&w.r, -2), KERR_FENCED_LEADER_EPOCH); /* -1 alone means that none was sent */
	CU_ASSERT_EQUAL(replica_check_epoch(&w.r, 3), KERR_FENCED_LEADER_EPOCH);
	CU_ASSERT_EQUAL(replica_check_epoch(&w.r, 5), KERR_UNKNOWN_LEADER_EPOCH);
	replica_fini(&w.r);
}

/* B4 */
static void test_suspension(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 4, 0, "123", "123", 1);
	replica_on_higher_epoch(&w.r, 9, 5, w.now); /* not one of ours */
	CU_ASSERT(!replica_suspended(&w.r));
	replica_on_higher_epoch(&w.r, 2, 4, w.now);
	CU_ASSERT(!replica_suspended(&w.r));
	replica_on_higher_epoch(&w.r, 2, 6, w.now);
	CU_ASSERT(replica_suspended(&w.r));
	state(&w, 1, 5, 1, "123", "123", 1);
	CU_ASSERT(replica_suspended(&w.r)); /* not as new yet */
	state(&w, 1, 6, 2, "123", "123", 1);
	CU_ASSERT(!replica_suspended(&w.r));
	CU_ASSERT(w.out.acts & REPLICA_DO_RESUME);
	/* nobody confirms: follower contact does, after 2 s, and only contact that began later */
	replica_on_higher_epoch(&w.r, 2, 7, w.now);
	replica_on_tick(&w.r, false, w.now + 3000, &w.out);
	CU_ASSERT(replica_suspended(&w.r));
	CU_ASSERT(replica_on_fetch(&w.r, 3, 0, 0, w.now + 3000, w.now + 100, &w.out));
	replica_on_tick(&w.r, false, w.now + 3000, &w.out);
	CU_ASSERT(!replica_suspended(&w.r));
	replica_fini(&w.r);
}

static void test_contact(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 0, 0, "123", "12", 1);
	CU_ASSERT(!replica_in_contact(&w.r, w.now - 1000));
	CU_ASSERT(replica_on_fetch(&w.r, 3, 0, 0, w.now, w.now, &w.out)); /* joining: may be a member in ZooKeeper */
	CU_ASSERT(replica_in_contact(&w.r, w.now - 1000));
	CU_ASSERT(!replica_in_contact(&w.r, w.now + 1));
	state(&w, 1, 0, 1, "123", "1", 1);
	CU_ASSERT(replica_in_contact(&w.r, w.now + 1000)); /* alone */
	replica_fini(&w.r);
}

static void test_recovery_state(void)
{
	struct world w;
	begin(&w);
	int32_t one[1] = {1}, two[2] = {1, 2};
	struct image_partition ip = {.leader = 1, .leader_epoch = 3, .partition_epoch = 3, .min_isr = 1, .recovery_state = 1, .replicas = {two, 2}, .isr = {one, 1}};
	CU_ASSERT(replica_on_state(&w.r, &ip, &w.log, w.now, &w.out));
	CU_ASSERT(w.out.acts & REPLICA_DO_PROPOSE);
	CU_ASSERT(pending_is(&w, "1"));
	ip.partition_epoch = 4;
	ip.recovery_state = 0;
	CU_ASSERT(replica_on_state(&w.r, &ip, &w.log, w.now, &w.out));
	CU_ASSERT(!w.r.pending);
	replica_fini(&w.r);
}

/* Lowest start among the living replicas; nobody who was not heard of in this epoch is taken for moved. */
static void test_low_watermark(void)
{
	struct world w;
	begin(&w);
	state(&w, 1, 1, 1, "123", "123", 1);
	end(&w, 100);
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 50), -1);
	CU_ASSERT(replica_on_fetch(&w.r, 2, 100, 0, w.now, 0, &w.out));
	CU_ASSERT(w.out.acts & REPLICA_DO_START);
	CU_ASSERT(replica_on_fetch(&w.r, 3, 100, 50, w.now, 0, &w.out));
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 50), 0);
	CU_ASSERT(replica_on_fetch(&w.r, 2, 100, 0, w.now, 0, &w.out));
	CU_ASSERT(!(w.out.acts & REPLICA_DO_START));
	CU_ASSERT(replica_on_fetch(&w.r, 2, 100, 40, w.now, 0, &w.out));
	CU_ASSERT(w.out.acts & REPLICA_DO_START);
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 50), 40);
	replica_set_eligible(&w.r, 2, false); /* dead: not waited for */
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 50), 50);
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 45), 45);
	replica_set_eligible(&w.r, 2, true);
	state(&w, 1, 2, 2, "123", "123", 1); /* a new epoch: heard anew */
	CU_ASSERT_EQUAL(replica_low_watermark(&w.r, 50), -1);
	replica_fini(&w.r);
}

UNIT_MAIN("replica", {"roles", test_roles}, {"stale_states", test_stale_states}, {"hw_min_of_isr", test_hw_min_of_isr},
	  {"hw_isr_of_one", test_hw_isr_of_one}, {"hw_ignores_outsiders", test_hw_ignores_outsiders}, {"hw_passes_offline", test_hw_passes_offline},
	  {"hw_waits_for_joining", test_hw_waits_for_joining}, {"hw_leaves_the_silent", test_hw_leaves_the_silent},
	  {"hw_of_former_reign", test_hw_of_former_reign}, {"pending_removal_counts", test_pending_removal_counts}, {"rejections", test_rejections},
	  {"proposal_repeats", test_proposal_repeats}, {"min_isr", test_min_isr}, {"expand_conditions", test_expand_conditions},
	  {"expand_needs_epoch_start", test_expand_needs_epoch_start}, {"caught_up", test_caught_up}, {"shrink_only_on_lag", test_shrink_only_on_lag},
	  {"new_epoch_forgets", test_new_epoch_forgets}, {"epochs", test_epochs}, {"suspension", test_suspension}, {"contact", test_contact},
	  {"recovery_state", test_recovery_state}, {"low_watermark", test_low_watermark})
