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
	end = 500;
	CU_ASSERT(mini_wait(&mw, same_ends, &end, 1000));
	mini_run_ms(&mw, 1200);
	CU_ASSERT_EQUAL(mini_partition(&mw, 2)->high_watermark, 500);
	CU_ASSERT_EQUAL(mw.proposals, 0);
	/* not the leader */
	CU_ASSERT_EQUAL(produce(&mw, 2, -1, 1, NULL), KERR_NOT_LEADER_OR_FOLLOWER);
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
	struct mini *b = &a->mw->b[1];
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

UNIT_MAIN("shard", {"single", test_single}, {"asked_while_opening", test_asked_while_opening}, {"missing", test_missing}, {"replicates", test_replicates}, {"shrink_expand", test_shrink_expand},
	  {"failover_truncates", test_failover_truncates}, {"empty_epoch", test_empty_epoch}, {"deposed", test_deposed}, {"former_life", test_former_life}, {"idle_joins", test_idle_joins},
	  {"moves_before_the_session", test_moves_before_the_session}, {"timeout", test_timeout},
	  {"stale_states", test_stale_states}, {"recreate", test_recreate}, {"orders", test_orders}, {"suspended_acks", test_suspended_acks},
	  {"deletes_records", test_deletes_records})
