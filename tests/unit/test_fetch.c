/* test_fetch.c: fetches at one broker in the simulated world: long polls, limits, sessions (facts/replication.md 5, 6, 10). */
#include "tests/unit/unit.h"

#include <string.h>

#include "tests/unit/mini.h"

static bool produced(struct mini_world *mw, void *ctx) { return ((struct mini_produce *)ctx)->done; }
static bool fetched(struct mini_world *mw, void *ctx) { return ((struct mini_fetch *)ctx)->done; }

static bool all_lead(struct mini_world *mw, void *ctx)
{
	for (int i = 0; i < mw->partitions; i++) {
		struct mini *b = &mw->b[1];
		struct shard *s = b->shards[partition_owner(b->env->hash_seed, &mw->topic_id, slice_str("t"), i, MINI_LOOPS)];
		struct partition *p = shard_find(s, slice_str("t"), i);
		if (!p || p->state != PARTITION_LEADER || p->core.leader_epoch != mw->p.leader_epoch)
			return false;
	}
	return true;
}

static void begin(struct mini_world *mw, uint64_t seed, int partitions)
{
	mini_begin(mw, seed, 1);
	mw->partitions = partitions;
	mini_set(&mw->p, 1, "12", "1", "1");
	mini_publish(mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(mw, all_lead, NULL, 5000));
}

static void produce(struct mini_world *mw, int32_t partition, int records)
{
	struct mini_produce p;
	mw->produce_to = partition;
	mini_produce(mw, 1, &p, -1, 10000, records);
	CU_ASSERT_FATAL(mini_wait(mw, produced, &p, 5000));
	CU_ASSERT_EQUAL(p.error, 0);
}

static int64_t took_ms(const struct mini_fetch *f) { return (f->done_us - f->began_us) / 1000; }

static void test_reads(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 1, 1);
	produce(&mw, 0, 10);
	produce(&mw, 0, 10);
	for (uint32_t loop = 0; loop < MINI_LOOPS; loop++) {
		mini_fetch_init(&f, 0, 500, 1);
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT_EQUAL(f.error, 0);
		CU_ASSERT_EQUAL(f.high_watermark, 20);
		CU_ASSERT(f.bytes > 2000);
		CU_ASSERT(took_ms(&f) < 10);
		/* a limit below the first batch: that is whole; the second one is not there */
		f.part.partition_max_bytes = 100;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT(f.bytes > 1000 && f.bytes < 2000);
		f.part.partition_max_bytes = 0;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT(f.bytes > 1000 && f.bytes < 2000);
		f.req.max_bytes = 0;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT(f.bytes > 1000 && f.bytes < 2000);
		f.req.max_bytes = 50 << 20;
		f.part.partition_max_bytes = 1 << 20;
		f.part.fetch_offset = 21;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT_EQUAL(f.error, KERR_OFFSET_OUT_OF_RANGE);
		CU_ASSERT_EQUAL(f.high_watermark, -1);
		f.part.fetch_offset = 0;
		f.part.current_leader_epoch = 1;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT_EQUAL(f.error, KERR_UNKNOWN_LEADER_EPOCH);
		f.part.current_leader_epoch = 0;
		f.part.partition = 7;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT_EQUAL(f.error, KERR_UNKNOWN_TOPIC_OR_PARTITION);
		f.part.partition = 0;
		f.c.version = 13;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT_EQUAL(f.error, 0);
		CU_ASSERT(f.bytes > 2000);
		mini_fetch_fini(&f);
	}
	mini_end(&mw);
}

static bool opens(struct mini_world *mw, void *ctx)
{
	struct partition *p = mini_partition(mw, 1);
	return p && p->state == PARTITION_OPENING;
}

/* Whoever is told of a new topic and reads at once, with no time to wait, is not sent away because its log is still being made. */
static void test_opening(void)
{
	int met = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct mini_world mw;
		struct mini_fetch f;
		mini_begin(&mw, seed, 1);
		mini_set(&mw.p, 1, "12", "1", "1");
		mini_publish(&mw, "1", "1");
		if (mini_wait(&mw, opens, NULL, 100)) {
			met++;
			mini_fetch_init(&f, 0, 0, 1);
			f.c.version = seed % 2 ? 12 : 13;
			CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, seed % MINI_LOOPS, &f));
			CU_ASSERT_EQUAL(f.error, 0);
			CU_ASSERT_EQUAL(f.high_watermark, 0);
			CU_ASSERT(took_ms(&f) < 100);
			mini_fetch_fini(&f);
		}
		mini_end(&mw);
	}
	CU_ASSERT(met > 5);
}

/* A poll that waits hears at once that its topic is gone, by name or id. */
static void test_topic_goes(void)
{
	for (int16_t version = 12; version <= 13; version++) {
		struct mini_world mw;
		struct mini_fetch f;
		begin(&mw, 1, 1);
		mini_fetch_init(&f, 0, 5000, 1);
		f.c.version = version;
		mini_fetch(&mw, 1, 0, &f);
		mini_run_ms(&mw, 50);
		CU_ASSERT(!f.done);
		mini_remove_topic(&mw, "1");
		CU_ASSERT_FATAL(mini_wait(&mw, fetched, &f, 100));
		CU_ASSERT_EQUAL(f.error, version < 13 ? KERR_UNKNOWN_TOPIC_OR_PARTITION : KERR_UNKNOWN_TOPIC_ID);
		mini_fetch_fini(&f);
		mini_end(&mw);
	}
}

static void test_long_poll(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 2, 1);
	produce(&mw, 0, 1);
	for (uint32_t loop = 0; loop < MINI_LOOPS; loop++) {
		int64_t end = 1 + loop;
		mini_fetch_init(&f, end, 500, 1);
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, loop, &f));
		CU_ASSERT(took_ms(&f) >= 499 && took_ms(&f) < 520);
		CU_ASSERT_EQUAL(f.bytes, 0);
		CU_ASSERT_EQUAL(f.partitions, 1);
		mini_fetch(&mw, 1, loop, &f);
		mini_run_ms(&mw, 100);
		CU_ASSERT(!f.done);
		produce(&mw, 0, 1);
		CU_ASSERT_FATAL(mini_wait(&mw, fetched, &f, 20));
		CU_ASSERT(f.bytes > 0);
		mini_fetch_fini(&f);
	}
	mini_end(&mw);
}

/* min_bytes over partitions of both loops: summed at the head. */
static void test_min_bytes(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 3, 4);
	mini_fetch_init(&f, 0, 2000, 3000);
	for (int i = 0; i < 4; i++) {
		f.parts[i] = f.part;
		f.parts[i].partition = 3 - i;
	}
	f.topic.partitions = f.parts;
	f.topic.partitions_count = 4;
	mini_fetch(&mw, 1, 1, &f);
	mini_run_ms(&mw, 20);
	produce(&mw, 0, 8);
	produce(&mw, 1, 8);
	mini_run_ms(&mw, 50);
	CU_ASSERT(!f.done);
	produce(&mw, 2, 8);
	mini_run_ms(&mw, 50);
	CU_ASSERT(!f.done);
	produce(&mw, 3, 8);
	CU_ASSERT_FATAL(mini_wait(&mw, fetched, &f, 50));
	CU_ASSERT_EQUAL(f.partitions, 4);
	CU_ASSERT(f.bytes >= 3000);
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(f.order[i], 3 - i); /* the request's order */
	/* max_bytes: the first with data whole, the rest as far as it fits */
	f.req.max_bytes = 10;
	f.req.min_bytes = 1;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT(f.bytes_of[0] > 800);
	CU_ASSERT_EQUAL(f.bytes, f.bytes_of[0]);
	CU_ASSERT_EQUAL(f.partitions, 4);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

static void session_poll(struct mini_fetch *f, int32_t wait_ms)
{
	f->topic.partitions_count = 0;
	f->req.topics_count = 0;
	f->req.forgotten_topics_data_count = 0;
	f->req.session_id = f->session_id;
	f->req.session_epoch++;
	f->req.max_wait_ms = wait_ms;
}

static void session_move(struct mini_fetch *f, int i, int64_t offset)
{
	f->req.topics_count = 1;
	f->parts[f->topic.partitions_count] = f->part;
	f->parts[f->topic.partitions_count].partition = i;
	f->parts[f->topic.partitions_count++].fetch_offset = offset;
}

static void session_begin(struct mini_world *mw, struct mini_fetch *f, uint32_t loop, int count)
{
	mini_fetch_init(f, 0, 0, 1);
	f->topic.partitions = f->parts;
	f->topic.partitions_count = 0;
	for (int i = 0; i < count; i++)
		session_move(f, i, 0);
	f->req.session_id = 0;
	f->req.session_epoch = 0;
	CU_ASSERT_FATAL(mini_fetch_run(mw, 1, loop, f));
}

static void test_session(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 4, 4);
	session_begin(&mw, &f, 0, 4);
	CU_ASSERT(f.session_id != 0);
	CU_ASSERT_EQUAL(f.partitions, 4);
	/* nothing changed: an answer without partitions, after the wait */
	session_poll(&f, 200);
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.top_error, 0);
	CU_ASSERT_EQUAL(f.partitions, 0);
	CU_ASSERT(took_ms(&f) >= 199);
	/* one of four changed; served at another loop than the session's home */
	session_poll(&f, 500);
	mini_fetch(&mw, 1, 1, &f);
	mini_run_ms(&mw, 50);
	produce(&mw, 2, 5);
	CU_ASSERT_FATAL(mini_wait(&mw, fetched, &f, 50));
	CU_ASSERT_EQUAL(f.partitions, 1);
	CU_ASSERT_EQUAL(f.order[0], 2);
	/* not moved on: the same again, at once */
	session_poll(&f, 500);
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.partitions, 1);
	CU_ASSERT(f.bytes > 0);
	session_poll(&f, 100);
	session_move(&f, 2, 5);
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.partitions, 0);
	/* wrong epoch, then unknown id */
	session_poll(&f, 100);
	f.req.session_epoch += 3;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.top_error, KERR_INVALID_FETCH_SESSION_EPOCH);
	f.req.session_epoch -= 3;
	f.c.version = 13;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.top_error, KERR_FETCH_SESSION_TOPIC_ID_ERROR);
	f.c.version = 12;
	f.req.session_id += 2;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.top_error, KERR_FETCH_SESSION_ID_NOT_FOUND);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

static void test_session_forget(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 5, 2);
	session_begin(&mw, &f, 1, 2);
	int32_t id = f.session_id;
	produce(&mw, 0, 1);
	session_poll(&f, 50);
	kp_fetch_request_forgotten_topics_data_init(&f.forget);
	f.forget.topic = slice_str("t");
	f.forget.partitions = f.forget_ids;
	f.forget.partitions_count = 1;
	f.forget_ids[0] = 0;
	f.req.forgotten_topics_data = &f.forget;
	f.req.forgotten_topics_data_count = 1;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 1, &f));
	CU_ASSERT_EQUAL(f.partitions, 0);
	CU_ASSERT_EQUAL(f.session_id, id);
	session_poll(&f, 50);
	f.forget_ids[0] = 1;
	f.req.forgotten_topics_data_count = 1;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 1, &f));
	CU_ASSERT_EQUAL(f.session_id, 0); /* emptied: closed */
	f.session_id = id;
	session_poll(&f, 50);
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 1, &f));
	CU_ASSERT_EQUAL(f.top_error, KERR_FETCH_SESSION_ID_NOT_FOUND);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* Who gave data goes to the end: with a budget for one, partitions take turns. */
static void test_rotation(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	int seen = 0;
	begin(&mw, 6, 4);
	for (int i = 0; i < 4; i++)
		produce(&mw, i, 20);
	session_begin(&mw, &f, 0, 4);
	CU_ASSERT_EQUAL(f.partitions, 4);
	f.req.max_bytes = 100;
	for (int k = 0; k < 4; k++) {
		session_poll(&f, 100);
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
		CU_ASSERT_EQUAL_FATAL(f.partitions, 1);
		CU_ASSERT(f.bytes > 0);
		seen |= 1 << f.order[0];
	}
	CU_ASSERT_EQUAL(seen, 15);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

static void test_session_limit(void)
{
	struct mini_world mw;
	struct mini_fetch f, g;
	begin(&mw, 7, 2);
	/* four slots, two a loop */
	session_begin(&mw, &f, 0, 2);
	CU_ASSERT(f.session_id != 0);
	session_begin(&mw, &g, 0, 2);
	CU_ASSERT(g.session_id != 0);
	mini_fetch_fini(&g);
	session_begin(&mw, &g, 0, 2);
	CU_ASSERT_EQUAL(g.session_id, 0); /* no room: full answers without one */
	CU_ASSERT_EQUAL(g.partitions, 2);
	/* a follower takes a consumer's place */
	mini_fetch_fini(&g);
	mini_fetch_init(&g, 0, 0, 1);
	g.req.replica_id = 2;
	g.c.from_broker = true;
	g.req.session_epoch = 0;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &g));
	CU_ASSERT(g.session_id != 0);
	mini_fetch_fini(&g);
	/* unused for two minutes: anybody */
	mini_run_ms(&mw, 121000);
	session_begin(&mw, &g, 0, 1);
	CU_ASSERT(g.session_id != 0);
	mini_fetch_fini(&g);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* A client that begins its session anew gives the old one back: it does not use up everybody's slots. */
static void test_session_anew(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 11, 1);
	mini_fetch_init(&f, 0, 0, 1);
	f.req.session_epoch = 0;
	for (int i = 0; i < 8; i++) { /* more than there are slots */
		int32_t old = f.req.session_id;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
		CU_ASSERT(f.session_id != 0 && f.session_id != old);
		f.req.session_id = f.session_id;
	}
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* Clients before version 6 do not know the error of a failed directory; to them the leader has moved, and they look for it. */
static void test_storage_error(void)
{
	struct mini_world mw;
	struct mini_produce p;
	struct mini_fetch f;
	begin(&mw, 12, 1);
	produce(&mw, 0, 10);
	sim_disk_fail(mw.b[1].host, SIM_DISK_WRITE, "/data", INT64_MAX);
	mini_produce(&mw, 1, &p, -1, 10000, 1);
	CU_ASSERT_FATAL(mini_wait(&mw, produced, &p, 5000));
	CU_ASSERT_EQUAL(p.error, KERR_KAFKA_STORAGE_ERROR);
	mini_fetch_init(&f, 0, 100, 1);
	for (int16_t version = 5; version <= 6; version++) {
		f.c.version = version;
		CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
		CU_ASSERT_EQUAL(f.error, version < 6 ? KERR_NOT_LEADER_OR_FOLLOWER : KERR_KAFKA_STORAGE_ERROR);
	}
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* A client that calls itself a replica is none: what it says that it has moves no high watermark. */
static void test_would_be_follower(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 13, 1);
	produce(&mw, 0, 10);
	mini_fetch_init(&f, 10, 0, 1);
	f.req.replica_id = 2;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, 0);
	CU_ASSERT_EQUAL(replica_peer_find(&mini_partition(&mw, 1)->core, 2)->end, -1);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* A second request of a waiting session ends the first one, each gets its answer. */
static void test_interrupt(void)
{
	struct mini_world mw;
	struct mini_fetch f, g;
	begin(&mw, 8, 2);
	session_begin(&mw, &f, 0, 1);
	session_poll(&f, 5000);
	mini_fetch(&mw, 1, 0, &f);
	mini_run_ms(&mw, 50);
	CU_ASSERT(!f.done);
	mini_fetch_init(&g, 0, 300, 1);
	g.part.partition = 1;
	g.req.session_id = f.session_id;
	g.req.session_epoch = 2;
	mini_fetch(&mw, 1, 0, &g);
	mini_run_ms(&mw, 20);
	CU_ASSERT(f.done);
	CU_ASSERT_EQUAL(f.partitions, 0);
	CU_ASSERT_FATAL(mini_wait(&mw, fetched, &g, 1000));
	CU_ASSERT_EQUAL(g.top_error, 0);
	CU_ASSERT_EQUAL(g.partitions, 1);
	CU_ASSERT_EQUAL(g.order[0], 1);
	mini_fetch_fini(&f);
	mini_fetch_fini(&g);
	mini_end(&mw);
}

static void cancel_here(struct msg *m);
struct cancel {
	struct msg msg;
	struct mini_fetch *f;
};
static void cancel_post(void *ctx)
{
	struct cancel *c = ctx;
	c->msg.deliver = cancel_here;
	loop_post(c->f->b->loops[c->f->loop], &c->msg);
}
static void cancel_here(struct msg *m)
{
	struct cancel *c = CONTAINER_OF(m, struct cancel, msg);
	fetch_cancel(c->f->b->homes[c->f->loop], &c->f->c);
}

static void test_cancel(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	struct cancel c = {.f = &f};
	begin(&mw, 9, 2);
	mini_fetch_init(&f, 0, 5000, 1);
	mini_fetch(&mw, 1, 0, &f);
	mini_run_ms(&mw, 20);
	CU_ASSERT(!f.done);
	sim_process_run(f.b->proc, cancel_post, &c);
	mini_run_ms(&mw, 20);
	CU_ASSERT(f.done);
	CU_ASSERT_EQUAL(f.partitions, 0);
	mini_fetch_fini(&f);
	/* of a session, from a loop that is not its home */
	session_begin(&mw, &f, 0, 1);
	session_poll(&f, 5000);
	mini_fetch(&mw, 1, 1, &f);
	mini_run_ms(&mw, 20);
	CU_ASSERT(!f.done);
	sim_process_run(f.b->proc, cancel_post, &c);
	mini_run_ms(&mw, 20);
	CU_ASSERT(f.done);
	/* the session lives on */
	f.session_id = f.req.session_id;
	session_poll(&f, 0);
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 1, &f));
	CU_ASSERT_EQUAL(f.top_error, 0);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* Followers: state, divergence, a newer epoch parks (B7) and suspends (B4), who is not assigned. */
static void test_follower(void)
{
	struct mini_world mw;
	struct mini_fetch f;
	begin(&mw, 10, 1);
	produce(&mw, 0, 10);
	mw.accept_proposals = false;
	struct partition *p = mini_partition(&mw, 1);
	mini_fetch_init(&f, 10, 300, 1);
	f.req.replica_id = 2;
	f.c.from_broker = true;
	f.part.current_leader_epoch = 0;
	f.part.last_fetched_epoch = 0;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, 0);
	CU_ASSERT_EQUAL(replica_peer_find(&p->core, 2)->end, 10);
	CU_ASSERT_EQUAL(mw.proposals, 0); /* its broker is not available */
	f.part.fetch_offset = 13; /* more than we have in that epoch */
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, 0);
	CU_ASSERT_EQUAL(f.diverging_epoch, 0);
	CU_ASSERT_EQUAL(f.diverging_end, 10);
	CU_ASSERT_EQUAL(replica_peer_find(&p->core, 2)->end, 10);
	CU_ASSERT(took_ms(&f) < 20);
	f.part.fetch_offset = 10;
	f.req.replica_id = 3;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, KERR_UNKNOWN_LEADER_EPOCH);
	f.req.replica_id = 1; /* the leader itself is nobody's follower */
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, KERR_UNKNOWN_LEADER_EPOCH);
	f.part.current_leader_epoch = -1;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, KERR_NOT_LEADER_OR_FOLLOWER);
	f.req.replica_id = 2;
	f.part.current_leader_epoch = 1;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, KERR_UNKNOWN_LEADER_EPOCH);
	CU_ASSERT(took_ms(&f) >= 99 && took_ms(&f) < 120);
	CU_ASSERT(replica_suspended(&p->core));
	/* our metadata comes while it is parked */
	mini_fetch(&mw, 1, 0, &f);
	mini_run_ms(&mw, 50);
	CU_ASSERT(!f.done);
	mw.p.leader_epoch = 1;
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "1");
	/* its offset counts as soon as the epochs agree, not with its next fetch: the high watermark of a new leader may hang on it */
	mini_run_ms(&mw, 20);
	CU_ASSERT_EQUAL(replica_peer_find(&p->core, 2)->end, 10);
	CU_ASSERT_FATAL(mini_wait(&mw, fetched, &f, 1000));
	CU_ASSERT_EQUAL(f.error, 0);
	CU_ASSERT(!replica_suspended(&p->core));
	f.part.current_leader_epoch = 0;
	CU_ASSERT_FATAL(mini_fetch_run(&mw, 1, 0, &f));
	CU_ASSERT_EQUAL(f.error, KERR_FENCED_LEADER_EPOCH);
	mini_fetch_fini(&f);
	mini_end(&mw);
}

/* Every kind of poll on both loops in a row under many seeds: nothing is lost, no wake-up is missed. */
static void test_seeds(void)
{
	for (uint64_t seed = 100; seed < 120; seed++) {
		struct mini_world mw;
		struct mini_fetch f[4];
		begin(&mw, seed, 4);
		for (int i = 0; i < 4; i++) {
			mini_fetch_init(&f[i], 0, 60000, 1);
			for (int k = 0; k < 4; k++) {
				f[i].parts[k] = f[i].part;
				f[i].parts[k].partition = k;
			}
			f[i].topic.partitions = f[i].parts;
			f[i].topic.partitions_count = i == 3 ? 1 : 4;
			f[i].req.session_epoch = i == 2 ? 0 : -1;
			mini_fetch(&mw, 1, (uint32_t)i % MINI_LOOPS, &f[i]);
		}
		if (seed % 2)
			mini_run_ms(&mw, (int64_t)(seed % 7));
		produce(&mw, (int32_t)(seed % 4), 1);
		mini_run_ms(&mw, 30);
		for (int i = 0; i < 3; i++) {
			CU_ASSERT(f[i].done);
			CU_ASSERT(f[i].bytes > 0);
		}
		if (!f[3].done) {
			produce(&mw, 0, 1);
			mini_run_ms(&mw, 30);
		}
		CU_ASSERT(f[3].done);
		for (int i = 0; i < 4; i++)
			mini_fetch_fini(&f[i]);
		mini_end(&mw);
	}
}

UNIT_MAIN("fetch", {"reads", test_reads}, {"opening", test_opening}, {"topic_goes", test_topic_goes}, {"long_poll", test_long_poll},
	  {"min_bytes", test_min_bytes}, {"session", test_session}, {"session_forget", test_session_forget}, {"rotation", test_rotation},
	  {"session_limit", test_session_limit}, {"session_anew", test_session_anew}, {"storage_error", test_storage_error},
	  {"would_be_follower", test_would_be_follower}, {"interrupt", test_interrupt}, {"cancel", test_cancel}, {"follower", test_follower},
	  {"seeds", test_seeds})
