/* test_shard.c: shards in the simulated world: life of a partition, produce, replication between brokers, failover, truncation. */
#include "tests/unit/unit.h"

#include <string.h>

#include "brokerd/replica/fetcher_priv.h"
#include "tests/unit/mini.h"

static bool leads(struct mini_world *mw, void *ctx)
{
	struct partition *p = mini_partition(mw, *(int *)ctx);
	return p && p->state == PARTITION_LEADER && p->core.leader_epoch == mw->p.leader_epoch && uuid_eq(&p->topic_id, &mw->topic_id);
}

static bool produced(struct mini_world *mw, void *ctx) { return ((struct mini_produce *)ctx)->done; }

static void expect_leader(struct mini_world *mw, int id)
{
	CU_ASSERT_FATAL(mini_wait(mw, leads, &id, 5000));
}

static int16_t produce(struct mini_world *mw, int id, int16_t acks, int records, int64_t *ret_base)
{
	struct mini_produce p;
	mini_produce(mw, id, &p, acks, 10000, records);
	CU_ASSERT_FATAL(mini_wait(mw, produced, &p, 20000));
	if (ret_base)
		*ret_base = p.base_offset;
	return p.error;
}

static bool same_ends(struct mini_world *mw, void *ctx)
{
	int64_t end = *(int64_t *)ctx;
	for (int i = 1; i <= mw->broker_count; i++) {
		struct log *log = mini_log(mw, i);
		if (!mw->b[i].ready)
			continue;
		if (!log || log_end_offset(log) != end)
			return false;
	}
	return true;
}

static bool isr_is_full(struct mini_world *mw, void *ctx) { return mw->p.isr_count == mw->p.replica_count; }

static void test_single(void)
{
	struct mini_world mw;
	int64_t base = -1;
	mini_begin(&mw, 1, 1);
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, &base), 0);
	CU_ASSERT_EQUAL(base, 0);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 5, &base), 0);
	CU_ASSERT_EQUAL(base, 10);
	CU_ASSERT_EQUAL(produce(&mw, 1, 0, 5, &base), 0);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 1)), 20);
	mini_run_ms(&mw, 10);
	CU_ASSERT_EQUAL(mini_partition(&mw, 1)->high_watermark, 20);
	/* a restart finds it again, without permission to make anything */
	mini_kill(&mw, 1);
	mini_start(&mw, 1);
	mini_set(&mw.p, 1, "1", "1", "");
	mw.p.leader_epoch++;
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 1, &base), 0);
	CU_ASSERT_EQUAL(base, 20);
	mini_end(&mw);
}

/* E1: a log that should be there and is not is never made up. */
static void test_missing(void)
{
	struct mini_world mw;
	mini_begin(&mw, 2, 1);
	mini_set(&mw.p, 1, "1", "1", "");
	mini_publish(&mw, "1", "1");
	mini_run_ms(&mw, 200);
	CU_ASSERT_EQUAL(mini_partition(&mw, 1)->state, PARTITION_ABSENT);
	CU_ASSERT_EQUAL(mw.b[1].missing, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), KERR_NOT_LEADER_OR_FOLLOWER);
	/* the controller lets it begin anew */
	mini_set(&mw.p, 1, "1", "1", "1");
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	mini_end(&mw);
}

static void test_replicates(void)
{
	struct mini_world mw;
	int64_t base = -1, end = 0;
	mini_begin(&mw, 3, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mw.p.min_isr = 2;
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	for (int i = 0; i < 50; i++) {
		CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, &base), 0);
		CU_ASSERT_EQUAL(base, i * 10);
	}
	/* followers hear what is committed with the records, not only when there are none */
	CU_ASSERT(mini_partition(&mw, 2)->high_watermark >= 480);
	CU_ASSERT(mini_partition(&mw, 3)->high_watermark >= 480);
	end = 500;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 1000));
	mini_run_ms(&mw, 1200);
	CU_ASSERT_EQUAL(mini_partition(&mw, 2)->high_watermark, 500);
	CU_ASSERT_EQUAL(mw.proposals, 0);
	/* not the leader: it says who is */
	struct mini_produce p;
	mini_produce(&mw, 2, &p, -1, 10000, 1);
	CU_ASSERT(mini_wait(&mw, produced, &p, 1000));
	CU_ASSERT_EQUAL(p.error, KERR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT_EQUAL(p.part.leader_id, 1);
	CU_ASSERT_EQUAL(p.part.leader_epoch, 0);
	mini_end(&mw);
}

static void test_shrink_expand(void)
{
	struct mini_world mw;
	int64_t end;
	mini_begin(&mw, 4, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mw.p.min_isr = 2;
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_kill(&mw, 3);
	struct mini_produce p;
	mini_produce(&mw, 1, &p, -1, 60000, 10);
	mini_run_ms(&mw, 2000);
	CU_ASSERT(!p.done); /* 3 is in the ISR still */
	CU_ASSERT(mini_wait(&mw, produced, &p, 20000));
	CU_ASSERT_EQUAL(p.error, 0);
	CU_ASSERT_EQUAL(mw.p.isr_count, 2);
	mini_kill(&mw, 2);
	mini_produce(&mw, 1, &p, -1, 30000, 10);
	CU_ASSERT(mini_wait(&mw, produced, &p, 40000));
	/* the ISR falls below the minimum while it waits: the high watermark stands */
	CU_ASSERT_EQUAL(p.error, KERR_REQUEST_TIMED_OUT);
	CU_ASSERT_EQUAL(mw.p.isr_count, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 1, NULL), KERR_NOT_ENOUGH_REPLICAS);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), 0);
	mini_start(&mw, 2);
	mini_start(&mw, 3);
	mini_set(&mw.p, 1, "123", "1", "");
	mw.p.partition_epoch++;
	mini_publish(&mw, "123", "123");
	CU_ASSERT(mini_wait(&mw, isr_is_full, NULL, 5000));
	end = 31;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 2000));
	mini_end(&mw);
}

/* The leader dies with records that nobody has; it comes back and cuts them. */
static void test_failover_truncates(void)
{
	struct mini_world mw;
	int64_t base, end;
	mini_begin(&mw, 5, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mw.p.min_isr = 2;
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	sim_net_isolate(mw.w, mw.b[1].host);
	struct mini_produce lost;
	mini_produce(&mw, 1, &lost, 1, 1000, 7);
	CU_ASSERT(mini_wait(&mw, produced, &lost, 2000));
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 1)), 17);
	mini_kill(&mw, 1);
	sim_net_heal_all(mw.w);
	mini_set(&mw.p, 2, "123", "23", "");
	mw.p.leader_epoch = 1;
	mw.p.partition_epoch++;
	mini_publish(&mw, "23", "23");
	expect_leader(&mw, 2);
	int64_t t0 = sim_now_us(mw.w);
	CU_ASSERT_EQUAL(produce(&mw, 2, -1, 3, &base), 0);
	CU_ASSERT_EQUAL(base, 10);
	CU_ASSERT(sim_now_us(mw.w) - t0 < 300000); /* B7 */
	mini_start(&mw, 1);
	mini_publish(&mw, "123", "123");
	CU_ASSERT(mini_wait(&mw, isr_is_full, NULL, 5000));
	end = 13;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 2000));
	CU_ASSERT_EQUAL(log_epoch_at(mini_log(&mw, 1), 12), 1);
	CU_ASSERT_EQUAL(mw.b[1].shards[mini_owner(&mw, &mw.b[1])]->truncations, 1);
	/* and leads again, with an epoch of no records in between */
	for (int e = 2; e < 6; e++) {
		mini_set(&mw.p, 1 + e % 3, "123", "123", "");
		mw.p.leader_epoch = e;
		mw.p.partition_epoch++;
		mini_publish(&mw, e % 2 ? "231" : "123", "123");
		mini_run_ms(&mw, e % 2 ? 300 : 3);
	}
	expect_leader(&mw, 3);
	CU_ASSERT_EQUAL(produce(&mw, 3, -1, 1, &base), 0);
	CU_ASSERT_EQUAL(base, 13);
	end = 14;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 5000));
	mini_end(&mw);
}

/* The leader's history of the epoch in which ours parts from it is longer than our own: what we wrote after our end of that epoch goes, although the
 * leader names an offset behind all of it. */
static void test_parts_below_the_leaders_end(void)
{
	struct mini_world mw;
	int64_t base, end = 20;
	mini_begin(&mw, 23, 2);
	mini_set(&mw.p, 2, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 2);
	CU_ASSERT_EQUAL(produce(&mw, 2, -1, 10, NULL), 0);
	mini_run_ms(&mw, 1200);
	sim_net_isolate(mw.w, mw.b[1].host);
	CU_ASSERT_EQUAL(produce(&mw, 2, 1, 10, NULL), 0);
	mini_set(&mw.p, 1, "12", "12", "");
	mw.p.leader_epoch = 1;
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 5, &base), 0);
	CU_ASSERT_EQUAL(base, 10);
	mini_set(&mw.p, 2, "12", "12", "");
	mw.p.leader_epoch = 2;
	mw.p.partition_epoch++;
	mini_publish(&mw, "12", "12");
	sim_net_heal_all(mw.w);
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 5000));
	for (int64_t at = 0; at < 20; at++)
		CU_ASSERT_EQUAL(log_epoch_at(mini_log(&mw, 1), at), 0);
	mini_end(&mw);
}

/* A replica that is far behind, and hears with each answer how far the others are, does not take that for its own. */
static bool hw_above_end(struct mini_world *mw, void *ctx)
{
	struct partition *p = mini_partition(mw, 2);
	if (!p || p->state != PARTITION_FOLLOWER)
		return false;
	*(int *)ctx += p->follow.lag > 0;
	return p->high_watermark > log_end_offset(p->log);
}

static void test_hw_of_laggard(void)
{
	struct mini_world mw;
	int64_t end = 200;
	int behind = 0;
	mini_begin(&mw, 24, 2);
	mw.b[2].config.replica_fetch_max_bytes = 1000;
	mini_set(&mw.p, 1, "12", "1", "12");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_publish(&mw, "12", "12");
	CU_ASSERT(!mini_wait(&mw, hw_above_end, &behind, 3000));
	CU_ASSERT(behind > 0);
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 1000));
	CU_ASSERT_EQUAL(mini_partition(&mw, 2)->high_watermark, 200);
	mini_end(&mw);
}

/* What comes damaged is not stored, and fetched again: damage on the way, or on the leader's disk until somebody mends it, ends no replica. */
static void test_damaged_on_the_way(void)
{
	struct mini_world mw;
	int64_t end = 10;
	mini_begin(&mw, 25, 2);
	mini_set(&mw.p, 1, "12", "1", "12");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	CU_ASSERT_EQUAL(sim_disk_flip_bit(mw.b[1].host, "/data/t-0/00000000000000000000.log", 100, 3), 0);
	mini_publish(&mw, "12", "12");
	mini_run_ms(&mw, 3000);
	CU_ASSERT_EQUAL_FATAL(mini_partition(&mw, 2)->state, PARTITION_FOLLOWER);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 2)), 0);
	CU_ASSERT_EQUAL(mw.p.isr_count, 1);
	CU_ASSERT_EQUAL(sim_disk_flip_bit(mw.b[1].host, "/data/t-0/00000000000000000000.log", 100, 3), 0);
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 3000));
	mini_end(&mw);
}

/* An epoch without records that the next leader never heard of. */
static void test_empty_epoch(void)
{
	struct mini_world mw;
	int64_t base, end;
	mini_begin(&mw, 9, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_run_ms(&mw, 1000);
	/* epoch 1 begins at 1 alone, epoch 2 at 2 */
	mw.p.leader_epoch = 1;
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "12");
	mini_run_ms(&mw, 20);
	mini_set(&mw.p, 2, "12", "12", "");
	mw.p.leader_epoch = 2;
	mw.p.partition_epoch++;
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 2);
	CU_ASSERT_EQUAL(produce(&mw, 2, -1, 1, &base), 0);
	CU_ASSERT_EQUAL(base, 10);
	end = 11;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 2000));
	mini_end(&mw);
}

/* B4: the follower of the next epoch tells the old leader, which the controller does not reach. */
static void test_deposed(void)
{
	struct mini_world mw;
	mini_begin(&mw, 6, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mw.accept_proposals = false;
	mini_set(&mw.p, 2, "123", "23", "");
	mw.p.leader_epoch = 1;
	mw.p.partition_epoch++;
	mini_publish(&mw, "23", "123");
	expect_leader(&mw, 2);
	mini_run_ms(&mw, 50);
	CU_ASSERT(replica_suspended(&mini_partition(&mw, 1)->core));
	struct mini_produce p;
	int64_t t0 = sim_now_us(mw.w);
	mini_produce(&mw, 1, &p, 1, 10000, 1);
	CU_ASSERT(mini_wait(&mw, produced, &p, 2000));
	CU_ASSERT_EQUAL(p.error, KERR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT(sim_now_us(mw.w) - t0 >= 90000);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 1)), 10);
	mini_publish(&mw, "1", "123");
	CU_ASSERT_EQUAL(produce(&mw, 2, -1, 1, NULL), 0);
	mini_end(&mw);
}

/* D2: the fetch of a follower waits at the leader; its machine loses power, and nobody hears of it; it is back with less, taken out of the ISR and
 * available again. The fetch that still waits is of a former life: it does not let it join. A registration that was only renewed (D4), which the
 * follower has not heard of itself, changes nothing. */
static void test_former_life(void)
{
	for (int renewed = 0; renewed < 2; renewed++) {
		struct mini_world mw;
		mini_begin(&mw, 17, 2);
		mw.broker_epoch[2] = mw.boot_epoch[2] = 100;
		mini_set(&mw.p, 1, "12", "12", "12");
		mini_publish(&mw, "12", "12");
		expect_leader(&mw, 1);
		CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
		mini_run_ms(&mw, 2000);
		mw.broker_epoch[2] = 200;
		if (!renewed) {
			sim_host_power_cut(mw.b[2].host);
			mw.boot_epoch[2] = 200;
		}
		mw.p.partition_epoch++;
		mini_set(&mw.p, 1, "12", "1", "");
		mini_publish(&mw, "1", "1");
		mini_run_ms(&mw, 50);
		mini_publish(&mw, "1", "12");
		mini_run_ms(&mw, 100);
		CU_ASSERT_EQUAL(mw.proposals, renewed);
		CU_ASSERT_EQUAL(mw.p.isr_count, 1 + renewed);
		mini_end(&mw);
	}
}

/* A follower that waits at the end of an idle log, whose broker becomes available only then. */
static void test_idle_joins(void)
{
	struct mini_world mw;
	mini_begin(&mw, 13, 2);
	mini_set(&mw.p, 1, "12", "1", "12");
	mini_publish(&mw, "12", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_run_ms(&mw, 2000);
	CU_ASSERT_EQUAL(mw.p.isr_count, 1);
	mini_publish(&mw, "12", "12");
	CU_ASSERT(mini_wait(&mw, isr_is_full, NULL, 200));
	mini_end(&mw);
}

/* Who waits at the end of a log in which nothing happened for longer than the lag that is allowed has all of it until then: it is not thrown
 * out at once when it cannot fetch what is new. */
static void test_idle_stays(void)
{
	struct mini_world mw;
	mini_begin(&mw, 14, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_run_ms(&mw, 3 * mw.lag_max_ms);
	sim_net_isolate(mw.w, mw.b[2].host);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), 0);
	mini_run_ms(&mw, mw.lag_max_ms - 1000);
	CU_ASSERT_EQUAL(mw.proposals, 0);
	mini_run_ms(&mw, mw.lag_max_ms);
	CU_ASSERT_EQUAL(mw.p.isr_count, 1);
	mini_end(&mw);
}

static void flush_each(struct log_config *cfg) { cfg->flush_messages = 1; }

/* flush.messages=1: nobody reads what a power cut could still take away. */
static bool shows_unsynced(struct mini_world *mw, void *ctx)
{
	struct log *log = mini_log(mw, 1);
	*(int *)ctx += log_end_offset(log) > log_synced_offset(log);
	return mini_partition(mw, 1)->high_watermark > log_synced_offset(log);
}

static void test_shows_what_is_synced(void)
{
	struct mini_world mw;
	struct mini_produce p;
	int met = 0;
	mini_begin(&mw, 15, 1);
	mw.log_config = flush_each;
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	sim_disk_slow(mw.b[1].host, 50);
	mini_produce(&mw, 1, &p, 1, 10000, 10);
	CU_ASSERT_FALSE(mini_wait(&mw, shows_unsynced, &met, 2000));
	CU_ASSERT(met > 0);
	CU_ASSERT(p.done && p.error == 0);
	CU_ASSERT_EQUAL(mini_partition(&mw, 1)->high_watermark, 10);
	mini_end(&mw);
}

/* A directory that fails takes all replicas in it along, not only the one that met the failure. */
static void test_directory_fails(void)
{
	struct mini_world mw;
	struct mini_produce p;
	int failed = 0, all = 0;
	mini_begin(&mw, 16, 1);
	mw.partitions = 8;
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	mini_run_ms(&mw, 1000);
	sim_disk_fail(mw.b[1].host, SIM_DISK_WRITE, "/data", INT64_MAX);
	mini_produce(&mw, 1, &p, 1, 10000, 1);
	CU_ASSERT_FATAL(mini_wait(&mw, produced, &p, 2000));
	CU_ASSERT_EQUAL(p.error, KERR_KAFKA_STORAGE_ERROR);
	mini_run_ms(&mw, 10);
	LIST_FOR(it, &mw.b[1].shards[mini_owner(&mw, &mw.b[1])]->all) {
		all++;
		failed += LIST_ENTRY(it, struct partition, all_link)->state == PARTITION_FAILED;
	}
	CU_ASSERT_EQUAL(all, 4);
	CU_ASSERT_EQUAL(failed, 4);
	mini_end(&mw);
}

/* A start takes high watermark and log start from the checkpoints: without one of the first nothing counts as committed; and a follower goes
 * on naming a start that stands in its file, else DeleteRecords would wait for it for good. */
static void test_checkpoints(void)
{
	struct mini_world mw;
	mini_begin(&mw, 18, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_run_ms(&mw, 1000);
	mini_kill(&mw, 2);
	mini_start(&mw, 2);
	CU_ASSERT_EQUAL_FATAL(mini_partition(&mw, 2)->state, PARTITION_IDLE);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 2)), 20);
	CU_ASSERT_EQUAL(mini_partition(&mw, 2)->high_watermark, 0);
	static const char *const texts[][2] = {{"/data/replication-offset-checkpoint", "0\n1\nt 0 15\n"}, {"/data/log-start-offset-checkpoint", "0\n1\nt 0 3\n"}};
	mini_kill(&mw, 2);
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(sim_disk_write(mw.b[2].host, texts[i][0], texts[i][1], strlen(texts[i][1])), 0);
	mini_start(&mw, 2);
	CU_ASSERT_EQUAL(mini_partition(&mw, 2)->high_watermark, 15);
	CU_ASSERT_EQUAL(log_start_offset(mini_log(&mw, 2)), 3);
	CU_ASSERT_EQUAL(partition_filed_start(mini_partition(&mw, 2)), 3);
	mini_end(&mw);
}

/* Of the loop of partition 0. */
static struct fetcher *only_fetcher(struct mini_world *mw, int id)
{
	const struct list *all = &mw->b[id].shards[mini_owner(mw, &mw->b[id])]->fetchers;
	return list_empty(all) ? NULL : LIST_ENTRY(all->next, struct fetcher, link);
}

/* The first fetch, that is to make the session, waits at the leader. */
static bool session_under_way(struct mini_world *mw, void *ctx)
{
	struct fetcher *f = only_fetcher(mw, 2);
	return f && f->rounds[0].in_use && f->rounds[0].full;
}

/* Meanwhile one of its partitions gets another leader, or its topic is made anew: the session that the leader makes then holds what nobody
 * follows there. It is told to forget it, else each round would be answered at once, with an error. */
static void test_moves_before_the_session(void)
{
	for (int made_anew = 0; made_anew < 2; made_anew++) {
		struct mini_world mw;
		mini_begin(&mw, 21, 2);
		mw.partitions = 4;
		mini_set(&mw.p, 1, "12", "12", "12");
		mini_publish(&mw, "12", "12");
		expect_leader(&mw, 1);
		CU_ASSERT_FATAL(mini_wait(&mw, session_under_way, NULL, 1000));
		if (made_anew) {
			mini_remove_topic(&mw, "12");
			memset(mw.topic_id.b, 9, 16);
		} else {
			mw.first = mw.p;
			mw.first.leader_epoch = 1;
			mini_set(&mw.first, 2, "12", "12", "");
		}
		mini_publish(&mw, "12", "12");
		mini_run_ms(&mw, 1000);
		struct fetcher *f = only_fetcher(&mw, 2);
		CU_ASSERT_FATAL(f && f->part_count > 0 && f->session_id != 0);
		uint64_t before = f->round_number;
		mini_run_ms(&mw, 5000);
		CU_ASSERT(f->round_number - before <= 11); /* two a second: replica.fetch.wait.max.ms */
		mini_end(&mw);
	}
}

/* The leadership goes while a batch is being written: nobody knows whether it stays, so nobody says that it does. */
static void test_lost_under_write(void)
{
	for (int16_t acks = -1; acks <= 1; acks += 2) {
		struct mini_world mw;
		struct mini_produce p;
		mini_begin(&mw, 26, 2);
		mini_set(&mw.p, 1, "12", "12", "12");
		mini_publish(&mw, "12", "12");
		expect_leader(&mw, 1);
		CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
		sim_disk_stall(mw.b[1].host, 1000000);
		mini_produce(&mw, 1, &p, acks, 30000, 5);
		mini_run_ms(&mw, 10);
		CU_ASSERT_FATAL(log_next_offset(mini_log(&mw, 1)) == 15 && log_end_offset(mini_log(&mw, 1)) == 10);
		mini_set(&mw.p, 2, "12", "12", "");
		mw.p.leader_epoch = 1;
		mw.p.partition_epoch++;
		mini_publish(&mw, "12", "12");
		CU_ASSERT(mini_wait(&mw, produced, &p, 20000));
		CU_ASSERT_EQUAL(p.error, KERR_NOT_LEADER_OR_FOLLOWER);
		mini_end(&mw);
	}
}

static void test_timeout(void)
{
	struct mini_world mw;
	mini_begin(&mw, 7, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 1, NULL), 0);
	sim_net_isolate(mw.w, mw.b[2].host);
	struct mini_produce p;
	int64_t t0 = sim_now_us(mw.w);
	mini_produce(&mw, 1, &p, -1, 700, 1);
	CU_ASSERT(mini_wait(&mw, produced, &p, 3000));
	CU_ASSERT_EQUAL(p.error, KERR_REQUEST_TIMED_OUT);
	CU_ASSERT(sim_now_us(mw.w) - t0 >= 700000 && sim_now_us(mw.w) - t0 < 800000);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 1)), 2);
	mini_end(&mw);
}

static void test_stale_states(void)
{
	struct mini_world mw;
	mini_begin(&mw, 8, 1);
	mini_set(&mw.p, 1, "1", "1", "1");
	mw.p.leader_epoch = 5;
	mw.p.partition_epoch = 5;
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	mini_set(&mw.p, -1, "1", "1", "");
	mw.p.leader_epoch = 4;
	mini_publish(&mw, "1", "1");
	mini_run_ms(&mw, 100);
	CU_ASSERT_EQUAL(mini_partition(&mw, 1)->state, PARTITION_LEADER);
	mini_end(&mw);
}

static bool no_partition(struct mini_world *mw, void *ctx) { return !mini_partition(mw, 1) && mw->b[1].deleted > 0; }

/* Deleted and made again under its name: another topic id, nothing of the old one. */
static void test_recreate(void)
{
	struct mini_world mw;
	int64_t base;
	mini_begin(&mw, 10, 1);
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	struct mini_produce late;
	mini_produce(&mw, 1, &late, 1, 1000, 1); /* crosses the removal */
	mini_remove_topic(&mw, "1");
	memset(mw.topic_id.b, 9, 16);
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(mw.b[1].deleted, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 1, &base), 0);
	CU_ASSERT_EQUAL(base, 0);
	CU_ASSERT(mini_wait(&mw, produced, &late, 2000));
	mini_remove_topic(&mw, "1");
	mw.b[1].deleted = 0;
	CU_ASSERT(mini_wait(&mw, no_partition, NULL, 3000));
	mini_end(&mw);
}

/* ---- questions ---- */

struct asked {
	struct offsets_msg m;
	struct offset_question q;
	struct mini_world *mw;
	int id; /* of the broker; 0 is 1 */
	bool done;
};
static void asked_done(struct offsets_msg *m)
{
	struct asked *a = m->ctx;
	image_unref(m->image);
	a->done = true;
}
static void asked_run(void *ctx)
{
	struct asked *a = ctx;
	struct mini *b = &a->mw->b[a->id ? a->id : 1];
	a->m = (struct offsets_msg){.shard = b->shards[mini_owner(a->mw, b)], .image = image_ref(b->image), .questions = &a->q, .count = 1, .done = asked_done, .ctx = a};
	a->q.topic = image_find_topic(b->image, slice_str("t"));
	shard_post_offsets(&a->m);
}
static bool asked_over(struct mini_world *mw, void *ctx) { return ((struct asked *)ctx)->done; }

static bool opens(struct mini_world *mw, void *ctx)
{
	struct partition *p = mini_partition(mw, 1);
	return p && p->state == PARTITION_OPENING;
}

/* While a log is being made, questions about it wait; if it is gone before, they are answered even so. */
static void test_asked_while_opening(void)
{
	int met = 0;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct mini_world mw;
		mini_begin(&mw, seed, 1);
		mini_set(&mw.p, 1, "1", "1", "1");
		mini_publish(&mw, "1", "1");
		if (mini_wait(&mw, opens, NULL, 100)) {
			struct asked a = {.mw = &mw, .q = {.kind = ASK_TIME, .timestamp = -1, .current_leader_epoch = -1}};
			met++;
			sim_process_run(mw.b[1].proc, asked_run, &a);
			if (seed % 4 == 0)
				mini_remove_topic(&mw, "1");
			CU_ASSERT_FATAL(mini_wait(&mw, asked_over, &a, PARK_OPENING_MS + 100));
			if (seed % 4)
				CU_ASSERT(a.q.error == 0 && a.q.ret_offset == 0 && a.q.ret_epoch == 0);
		}
		mini_end(&mw);
	}
	CU_ASSERT(met > 10);
}

static struct offset_question ask(struct mini_world *mw, int id, struct offset_question q)
{
	struct asked a = {.mw = mw, .id = id, .q = q};
	sim_process_run(mw->b[id].proc, asked_run, &a);
	CU_ASSERT_FATAL(mini_wait(mw, asked_over, &a, 1000));
	return a.q;
}

/* A new leader does not know yet what its predecessor had told as committed: until it does, it says so instead of letting the end go back.
 * What is below its high watermark is known, and followers see everything. */
static void test_asked_of_new_leader(void)
{
	struct mini_world mw;
	struct offset_question q;
	mini_begin(&mw, 22, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	mini_run_ms(&mw, 1200);
	sim_net_isolate(mw.w, mw.b[3].host);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 10, NULL), 0);
	mini_run_ms(&mw, 1200);
	CU_ASSERT_EQUAL_FATAL(log_end_offset(mini_log(&mw, 2)), 20);
	CU_ASSERT_EQUAL_FATAL(mini_partition(&mw, 2)->high_watermark, 10);
	mini_set(&mw.p, 2, "123", "123", "");
	mw.p.leader_epoch++;
	mw.p.partition_epoch++;
	mini_publish(&mw, "12", "123");
	expect_leader(&mw, 2);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = -1, .current_leader_epoch = -1});
	CU_ASSERT(q.error == KERR_OFFSET_NOT_AVAILABLE && q.ret_offset == -1);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = INT64_MAX, .current_leader_epoch = 1});
	CU_ASSERT_EQUAL(q.error, KERR_OFFSET_NOT_AVAILABLE); /* none, or not yet */
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = 1, .current_leader_epoch = 1});
	CU_ASSERT(q.error == 0 && q.ret_offset == 0 && q.ret_epoch == 0);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = -2, .current_leader_epoch = 1});
	CU_ASSERT(q.error == 0 && q.ret_offset == 0 && q.ret_epoch == 0);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = -1, .current_leader_epoch = 1, .from_follower = true});
	CU_ASSERT(q.error == 0 && q.ret_offset == 20 && q.ret_epoch == 1);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_EPOCH_END, .epoch = 0, .current_leader_epoch = 1});
	CU_ASSERT(q.error == 0 && q.ret_offset == 20 && q.ret_epoch == 0);
	/* epochs of the asker: of the past, of the future; at a follower */
	for (int kind = 0; kind < 2; kind++) {
		struct offset_question base = {.kind = kind ? ASK_TIME : ASK_EPOCH_END, .timestamp = -2, .epoch = 0};
		q = base;
		q.current_leader_epoch = 0;
		CU_ASSERT_EQUAL(ask(&mw, 2, q).error, KERR_FENCED_LEADER_EPOCH);
		q.current_leader_epoch = 2;
		CU_ASSERT_EQUAL(ask(&mw, 2, q).error, KERR_UNKNOWN_LEADER_EPOCH);
		q.current_leader_epoch = -1;
		CU_ASSERT_EQUAL(ask(&mw, 1, q).error, KERR_NOT_LEADER_OR_FOLLOWER);
		q.any_replica = true;
		CU_ASSERT_EQUAL(ask(&mw, 1, q).error, 0);
	}
	/* everybody has it */
	sim_net_heal_all(mw.w);
	mini_publish(&mw, "3", "123");
	mini_run_ms(&mw, 3000);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = -1, .current_leader_epoch = 1});
	CU_ASSERT(q.error == 0 && q.ret_offset == 20 && q.ret_epoch == 1);
	q = ask(&mw, 2, (struct offset_question){.kind = ASK_TIME, .timestamp = INT64_MAX, .current_leader_epoch = 1});
	CU_ASSERT(q.error == 0 && q.ret_offset == -1);
	mini_end(&mw);
}

/* ---- orders ---- */

struct order {
	struct shard_order_msg m;
	bool done;
};
static void order_done(struct shard_order_msg *m) { CONTAINER_OF(m, struct order, m)->done = true; }
static void order_run(void *ctx) { shard_post_order(&((struct order *)ctx)->m); }
static bool order_over(struct mini_world *mw, void *ctx) { return ((struct order *)ctx)->done; }

static struct shard_order_msg *order(struct mini_world *mw, struct order *o, enum shard_order what)
{
	memset(o, 0, sizeof(*o));
	o->m.shard = mw->b[1].shards[mini_owner(mw, &mw->b[1])];
	o->m.order = what;
	o->m.done = order_done;
	sim_process_run(mw->b[1].proc, order_run, o);
	CU_ASSERT(mini_wait(mw, order_over, o, 5000));
	return &o->m;
}

static void free_rows(struct shard_order_msg *m)
{
	for (uint32_t i = 0; i < m->row_count; i++)
		mem_free(m->rows[i].topic);
	mem_free(m->rows);
}

static void test_orders(void)
{
	struct mini_world mw;
	struct order o;
	mini_begin(&mw, 11, 1);
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	struct shard_order_msg *m = order(&mw, &o, SHARD_STATS);
	CU_ASSERT_EQUAL(m->stats.partitions, 1);
	CU_ASSERT_EQUAL(m->stats.led, 1);
	CU_ASSERT_EQUAL(m->stats.records_in, 10);
	CU_ASSERT(m->stats.bytes > 1000);
	m = order(&mw, &o, SHARD_CHECKPOINT);
	CU_ASSERT_EQUAL_FATAL(m->row_count, 1);
	CU_ASSERT_EQUAL(m->rows[0].high_watermark, 10);
	free_rows(m);
	/* alone in its ISR: goes on although suspended */
	order(&mw, &o, SHARD_SUSPEND_ACKS01);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), 0);
	order(&mw, &o, SHARD_RESUME_ACKS01);
	m = order(&mw, &o, SHARD_STOP);
	CU_ASSERT_EQUAL(m->err, 0);
	CU_ASSERT_EQUAL_FATAL(m->row_count, 1);
	CU_ASSERT_EQUAL(m->rows[0].recovery_point, 11);
	free_rows(m);
	mini_end(&mw);
}

/* B4, B5: in doubt, acks 0/1 need contact that is younger than the doubt; acks -1 does not. */
static void test_suspended_acks(void)
{
	struct mini_world mw;
	struct order o;
	mini_begin(&mw, 12, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	expect_leader(&mw, 1);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	sim_net_isolate(mw.w, mw.b[2].host);
	mini_run_ms(&mw, 100);
	order(&mw, &o, SHARD_SUSPEND_ACKS01);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), KERR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT_EQUAL(log_end_offset(mini_log(&mw, 1)), 10);
	sim_net_heal_all(mw.w);
	mini_run_ms(&mw, 3000);
	CU_ASSERT_EQUAL(produce(&mw, 1, 1, 1, NULL), 0);
	mini_end(&mw);
}

struct deletion {
	struct delete_msg m;
	struct delete_part part;
	struct mini *b;
	bool done;
};

static void deletion_done(struct delete_msg *m)
{
	image_unref(m->image);
	CONTAINER_OF(m, struct deletion, m)->done = true;
}

static void deletion_run(void *ctx)
{
	struct deletion *d = ctx;
	d->m.image = image_ref(d->b->image);
	d->part.topic = image_find_topic(d->b->image, slice_str("t"));
	d->m.shard = d->b->shards[mini_owner(d->b->mw, d->b)];
	shard_post_delete(&d->m);
}

static void delete_records(struct mini_world *mw, int id, struct deletion *d, int64_t offset, int32_t timeout_ms)
{
	*d = (struct deletion){.b = &mw->b[id]};
	d->part.offset = offset;
	d->m = (struct delete_msg){.timeout_ms = timeout_ms, .parts = &d->part, .count = 1, .done = deletion_done};
	sim_process_run(d->b->proc, deletion_run, d);
}

static bool is_deleted(struct mini_world *mw, void *ctx) { return ((struct deletion *)ctx)->done; }

static int16_t deleted(struct mini_world *mw, int id, int64_t offset, int64_t *ret_low)
{
	struct deletion d;
	delete_records(mw, id, &d, offset, 10000);
	CU_ASSERT_FATAL(mini_wait(mw, is_deleted, &d, 20000));
	if (ret_low)
		*ret_low = d.part.low_watermark;
	return d.part.error;
}

/* DeleteRecords: every live replica has moved its start when it is answered. */
static void test_deletes_records(void)
{
	struct mini_world mw;
	int64_t low = -5;
	mini_begin(&mw, 21, 3);
	mini_set(&mw.p, 1, "123", "123", "123");
	mini_publish(&mw, "123", "123");
	expect_leader(&mw, 1);
	for (int i = 0; i < 10; i++)
		CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	CU_ASSERT_EQUAL(deleted(&mw, 2, 5, NULL), KERR_NOT_LEADER_OR_FOLLOWER);
	CU_ASSERT_EQUAL(deleted(&mw, 1, 101, &low), KERR_OFFSET_OUT_OF_RANGE);
	CU_ASSERT_EQUAL(low, -1);
	CU_ASSERT_EQUAL(deleted(&mw, 1, -2, NULL), KERR_OFFSET_OUT_OF_RANGE);
	int64_t began = sim_now_us(mw.w);
	CU_ASSERT_EQUAL(deleted(&mw, 1, 33, &low), 0);
	CU_ASSERT_EQUAL(low, 33);
	CU_ASSERT(sim_now_us(mw.w) - began < 50000); /* followers that wait at the end are told at once */
	for (int i = 1; i <= 3; i++)
		CU_ASSERT_EQUAL(log_start_offset(mini_log(&mw, i)), 33);
	CU_ASSERT_EQUAL(deleted(&mw, 1, 20, &low), 0); /* below it: nothing to do */
	CU_ASSERT_EQUAL(low, 33);
	CU_ASSERT_EQUAL(deleted(&mw, 1, -1, &low), 0);
	CU_ASSERT_EQUAL(low, 100);
	CU_ASSERT_EQUAL(produce(&mw, 1, -1, 10, NULL), 0);
	/* a follower that does not answer is waited for, until it counts as dead */
	sim_net_isolate(mw.w, mw.b[3].host);
	struct deletion d, short_one;
	delete_records(&mw, 1, &d, 105, 60000);
	delete_records(&mw, 1, &short_one, 105, 500);
	mini_run_ms(&mw, 1000);
	CU_ASSERT(!d.done);
	CU_ASSERT(short_one.done);
	CU_ASSERT_EQUAL(short_one.part.error, KERR_REQUEST_TIMED_OUT);
	CU_ASSERT_EQUAL(short_one.part.low_watermark, 100);
	CU_ASSERT_EQUAL(log_start_offset(mini_log(&mw, 1)), 105);
	mini_publish(&mw, "12", "12");
	CU_ASSERT(mini_wait(&mw, is_deleted, &d, 1000));
	CU_ASSERT_EQUAL(d.part.error, 0);
	CU_ASSERT_EQUAL(d.part.low_watermark, 105);
	/* leadership lost while waiting */
	mini_publish(&mw, "12", "123");
	delete_records(&mw, 1, &d, 107, 60000);
	mini_run_ms(&mw, 300);
	CU_ASSERT(!d.done);
	mini_set(&mw.p, 2, "123", "123", "");
	mw.p.leader_epoch++;
	mw.p.partition_epoch++;
	mini_publish(&mw, "12", "123");
	CU_ASSERT(mini_wait(&mw, is_deleted, &d, 1000));
	CU_ASSERT_EQUAL(d.part.error, KERR_NOT_LEADER_OR_FOLLOWER);
	mini_end(&mw);
}

/* G2: the logs of a large topic are made a few at a time; what else waits for a file does not wait for all of them. */
static void test_creates_in_turn(void)
{
	struct mini_world mw;
	uint32_t most = 0;
	int leaders = 0;
	bool waited = false;
	mini_begin(&mw, 27, 1);
	mw.partitions = MINI_PARTITIONS;
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	for (int ms = 0; ms < 5000 && leaders < MINI_PARTITIONS; ms++) {
		leaders = 0;
		for (int i = 0; i < MINI_LOOPS; i++) {
			struct shard *s = mw.b[1].shards[i];
			most = s->creating > most ? s->creating : most;
			waited |= !list_empty(&s->to_create);
			LIST_FOR(it, &s->to_create) /* who asks for it may wait, too */
				CU_ASSERT(partition_serves_soon(LIST_ENTRY(it, struct partition, create_link)));
			LIST_FOR(it, &s->all)
				leaders += LIST_ENTRY(it, struct partition, all_link)->state == PARTITION_LEADER;
		}
		mini_run_ms(&mw, 1);
	}
	CU_ASSERT_EQUAL(leaders, MINI_PARTITIONS);
	CU_ASSERT_EQUAL(most, 2);
	CU_ASSERT(waited);
	for (int i = 0; i < MINI_LOOPS; i++)
		CU_ASSERT(mw.b[1].shards[i]->creating == 0 && list_empty(&mw.b[1].shards[i]->to_create));
	/* a topic that goes while most of it is still to be made */
	mini_remove_topic(&mw, "1");
	mini_run_ms(&mw, 2000);
	mw.topic_id.b[0]++;
	mini_publish(&mw, "1", "1");
	mini_run_ms(&mw, 1);
	mini_remove_topic(&mw, "1");
	mini_run_ms(&mw, 2000);
	for (int i = 0; i < MINI_LOOPS; i++) {
		struct shard *s = mw.b[1].shards[i];
		CU_ASSERT(s->creating == 0 && list_empty(&s->to_create) && list_empty(&s->all) && list_empty(&s->old));
	}
	mini_end(&mw);
}

UNIT_MAIN("shard", {"single", test_single}, {"asked_while_opening", test_asked_while_opening},
	  {"asked_of_new_leader", test_asked_of_new_leader}, {"missing", test_missing}, {"replicates", test_replicates},
	  {"shrink_expand", test_shrink_expand}, {"failover_truncates", test_failover_truncates},
	  {"parts_below_the_leaders_end", test_parts_below_the_leaders_end}, {"hw_of_laggard", test_hw_of_laggard},
	  {"damaged_on_the_way", test_damaged_on_the_way}, {"empty_epoch", test_empty_epoch}, {"deposed", test_deposed},
	  {"former_life", test_former_life}, {"idle_joins", test_idle_joins}, {"checkpoints", test_checkpoints},
	  {"directory_fails", test_directory_fails}, {"shows_what_is_synced", test_shows_what_is_synced}, {"idle_stays", test_idle_stays},
	  {"moves_before_the_session", test_moves_before_the_session}, {"lost_under_write", test_lost_under_write}, {"timeout", test_timeout},
	  {"stale_states", test_stale_states}, {"recreate", test_recreate}, {"orders", test_orders}, {"suspended_acks", test_suspended_acks},
	  {"deletes_records", test_deletes_records}, {"creates_in_turn", test_creates_in_turn})
