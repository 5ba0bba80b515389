/* test_coordinator.c: the shell of the group coordinator in the simulated world: loading, writing, leadership won and lost. */
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <string.h>

#include "brokerd/group/coordinator.h"
#include "brokerd/meta/image.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "proto/klamm/control.pb-c.h"
#include "tests/unit/mini.h"

static struct groups_config groups_config = {
	.min_session_timeout_ms = 6000, .max_session_timeout_ms = 1800000, .max_size = INT32_MAX, .initial_rebalance_delay_ms = 100, .offset_metadata_max_bytes = 4096,
	.offsets_retention_ms = 7LL * 86400 * 1000,
};
static int32_t codec;
static int32_t at_partition; /* of the offsets topic, that calls are for */
static int64_t expiry_interval_ms = 600000;

/* ---- brokers with coordinators ---- */

struct side {
	struct coordinator *c[MINI_LOOPS];
	bool up;
};
static struct side sides[4];

static void attach(struct mini_world *mw, int id)
{
	struct mini *b = &mw->b[id];
	for (uint32_t l = 0; l < MINI_LOOPS; l++) {
		struct coordinator_init ci = {
			.env = b->env, .loop = b->loops[l], .shard = b->shards[l], .idx = l, .shard_count = MINI_LOOPS, .peers = sides[id].c, .config = &groups_config,
			.commit_timeout_ms = 5000, .load_buffer_bytes = 5 << 20, .expiry_interval_ms = expiry_interval_ms, .codec = codec,
		};
		sides[id].c[l] = coordinator_new(&ci);
	}
	sides[id].up = true;
}

static void detach(struct mini *b)
{
	for (uint32_t l = 0; sides[b->id].up && l < MINI_LOOPS; l++)
		coordinator_free(sides[b->id].c[l]);
	sides[b->id].up = false;
}

static void begin(struct mini_world *mw, uint64_t seed, int brokers)
{
	mini_begin(mw, seed, brokers);
	mw->topic = GROUP_TOPIC;
	mw->reap = detach;
	for (int i = 1; i <= brokers; i++)
		attach(mw, i);
}

static void start_broker(struct mini_world *mw, int id)
{
	mini_start(mw, id);
	attach(mw, id);
}

/* ---- calls ---- */

struct call {
	struct group_msg m;
	struct arena arena;
	struct mini_world *mw;
	struct mini *b;
	uint32_t loop; /* that it is posted to */
	bool done;
	struct image *image; /* that it carries; NULL: the broker's */
	struct groups_commit commit;
	struct groups_offset rows[64];
	struct groups_fetch fetch;
	struct groups_fetch_row fetch_row;
	struct kp_join_group_request join;
	struct kp_join_group_request_protocols protocol;
	struct kp_join_group_response joined;
	struct kp_sync_group_request sync;
	struct kp_sync_group_request_assignments assignment;
	struct kp_sync_group_response synced;
	struct kp_heartbeat_request beat;
	struct kp_heartbeat_response beaten;
};

static void call_done(struct group_msg *m)
{
	struct call *k = CONTAINER_OF(m, struct call, m);
	k->done = true;
}

static void call_run(void *ctx)
{
	struct call *k = ctx;
	k->m.image = k->image ? k->image : k->b->image;
	group_post(&k->m);
}

static bool is_done(struct mini_world *mw, void *ctx) { return ((struct call *)ctx)->done; }

static struct call *call_new(struct mini_world *mw, int id, enum group_kind kind)
{
	struct call *k = calloc(1, sizeof(*k));
	arena_init(&k->arena, 0);
	k->mw = mw;
	k->b = &mw->b[id];
	k->m.kind = kind;
	k->m.partition = at_partition;
	k->m.done = call_done;
	k->m.call.arena = &k->arena;
	k->m.call.client_id = slice_str("test");
	k->m.call.client_host = "/127.0.0.1";
	k->loop = mini_owner(mw, k->b);
	return k;
}

static void call_free(struct call *k)
{
	arena_fini(&k->arena);
	free(k);
}

static void post(struct call *k)
{
	k->m.coordinator = sides[k->b->id].c[k->loop];
	sim_process_run(k->b->proc, call_run, k);
}

static struct call *commit_start(struct mini_world *mw, int id, const char *group, int32_t partition, int64_t offset, const char *metadata, uint32_t rows)
{
	struct call *k = call_new(mw, id, GROUP_COMMIT);
	k->commit.group = slice_str(group);
	k->commit.member = slice_str("");
	k->commit.generation = -1;
	k->commit.retention_ms = -1;
	k->commit.rows = k->rows;
	k->commit.count = rows;
	for (uint32_t i = 0; i < rows; i++)
		k->rows[i] = (struct groups_offset){.topic = slice_str("topic"), .partition = partition + (int32_t)i, .offset = offset, .leader_epoch = 3,
						    .metadata = slice_str(metadata), .commit_timestamp = -1};
	k->m.call.version = 9;
	k->m.call.request = k->m.call.response = &k->commit;
	post(k);
	return k;
}

static int16_t commit(struct mini_world *mw, int id, const char *group, int32_t partition, int64_t offset)
{
	struct call *k = commit_start(mw, id, group, partition, offset, "m", 1);
	CU_ASSERT_FATAL(mini_wait(mw, is_done, k, 20000));
	int16_t error = k->m.error ? k->m.error : k->rows[0].error;
	call_free(k);
	return error;
}

/* Error of the coordinator, else the committed offset. */
static int16_t fetch(struct mini_world *mw, int id, const char *group, int32_t partition, int64_t *ret_offset)
{
	struct call *k = call_new(mw, id, GROUP_FETCH);
	k->fetch = (struct groups_fetch){.group = slice_str(group), .rows = &k->fetch_row, .count = 1};
	k->fetch_row = (struct groups_fetch_row){.topic = slice_str("topic"), .partition = partition, .offset = -1, .leader_epoch = -1};
	k->m.fetches = &k->fetch;
	k->m.count = 1;
	k->m.call.version = 9;
	post(k);
	CU_ASSERT_FATAL(mini_wait(mw, is_done, k, 20000));
	int16_t error = k->m.error;
	*ret_offset = k->fetch_row.offset;
	if (!error && k->fetch_row.offset >= 0)
		CU_ASSERT_EQUAL(k->fetch_row.leader_epoch, 3);
	call_free(k);
	return error;
}

static bool serves(struct mini_world *mw, void *ctx)
{
	int64_t offset;
	return fetch(mw, *(int *)ctx, "any", 0, &offset) == 0;
}

static void expect_offset(struct mini_world *mw, int id, const char *group, int32_t partition, int64_t want)
{
	int64_t got = -2;
	int16_t error = fetch(mw, id, group, partition, &got);
	CU_ASSERT_EQUAL(error, 0);
	CU_ASSERT_EQUAL(got, want);
}

static struct call *join_start(struct mini_world *mw, int id, const char *group)
{
	struct call *k = call_new(mw, id, GROUP_JOIN);
	kp_join_group_request_init(&k->join);
	k->join.group_id = slice_str(group);
	k->join.session_timeout_ms = 10000;
	k->join.rebalance_timeout_ms = 60000;
	k->join.protocol_type = slice_str("consumer");
	k->protocol.name = slice_str("range");
	k->protocol.metadata = slice_make("\0\0\0\0\0\0\0\0\0\0", 10);
	k->join.protocols = &k->protocol;
	k->join.protocols_count = 1;
	k->m.call.version = 3;
	k->m.call.request = &k->join;
	k->m.call.response = &k->joined;
	post(k);
	return k;
}

/* ---- cases ---- */

static void test_partition_of(void)
{
	/* what Java's String.hashCode gives */
	CU_ASSERT_EQUAL(groups_partition_of(slice_str(""), 50), 0);
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("a"), 50), 97 % 50);
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("hello"), 1000), 99162322 % 1000);
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("polygenelubricants"), 50), 0);        /* INT32_MIN: its abs is 0 here, not its mask */
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("Klamm"), 1000), 72578208 % 1000);
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("test-consumer-group"), 1000), 1793216381 % 1000); /* of a negative hash */
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("\xc3\xa9"), 1000), 0xe9);              /* one code unit */
	CU_ASSERT_EQUAL(groups_partition_of(slice_str("\xf0\x9f\x98\x80"), 1000), 1772899 % 1000); /* two */
	CU_ASSERT(groups_partition_of(slice_str("\xf0\x9f"), 50) >= 0);                       /* cut: anywhere, but no further than its bytes */
}

static void lead_alone(struct mini_world *mw, int id, const char *fresh)
{
	mini_set(&mw->p, id, "1", "1", fresh);
	mini_publish(mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(mw, serves, &id, 10000));
}

static void next_epoch(struct mini_world *mw)
{
	mw->p.leader_epoch++;
	mw->p.partition_epoch++;
}

/* What was committed is read back, by the same coordinator and by the next one, whatever the codec of the batches. */
static void test_restart(void)
{
	static char text[4001];
	memset(text, 'x', sizeof(text) - 1);
	for (codec = 0; codec <= 4; codec++) {
		struct mini_world mw;
		int64_t offset;
		begin(&mw, 10 + (uint64_t)codec, 1);
		lead_alone(&mw, 1, "1");
		for (int i = 0; i < 30; i++)
			CU_ASSERT_EQUAL(commit(&mw, 1, "g", i % 3, i), 0);
		struct call *big = commit_start(&mw, 1, "other", 0, 7, text, 64); /* a batch that is inflated in several pieces */
		CU_ASSERT_FATAL(mini_wait(&mw, is_done, big, 5000));
		call_free(big);
		expect_offset(&mw, 1, "g", 0, 27);
		expect_offset(&mw, 1, "nobody", 0, -1);
		mini_kill(&mw, 1);
		start_broker(&mw, 1);
		CU_ASSERT_EQUAL(fetch(&mw, 1, "g", 0, &offset), KERR_NOT_COORDINATOR); /* it has heard of nothing yet */
		next_epoch(&mw);
		lead_alone(&mw, 1, "");
		for (int i = 0; i < 3; i++)
			expect_offset(&mw, 1, "g", i, 27 + i);
		expect_offset(&mw, 1, "other", 63, 7);
		mini_end(&mw);
	}
	codec = 0;
}

/* Asked while the log of its partition is still being made, by who heard of it a little earlier: it loads. There are clients that give up after
 * a few NOT_COORDINATOR in a row. */
static void test_made(void)
{
	struct mini_world mw;
	int64_t offset;
	int loading = 0;
	int16_t error;
	begin(&mw, 15, 1);
	CU_ASSERT_EQUAL(fetch(&mw, 1, "g", 0, &offset), KERR_NOT_COORDINATOR);
	mini_set(&mw.p, 1, "1", "1", "1");
	mini_publish(&mw, "1", "1");
	while ((error = fetch(&mw, 1, "g", 0, &offset)) == KERR_COORDINATOR_LOAD_IN_PROGRESS && loading < 100000)
		loading++;
	CU_ASSERT_EQUAL(error, 0);
	CU_ASSERT_NOT_EQUAL(loading, 0);
	mini_end(&mw);
}

/* A message that came to another loop than the partition's finds its way. */
static void test_forwarded(void)
{
	struct mini_world mw;
	begin(&mw, 20, 1);
	lead_alone(&mw, 1, "1");
	struct call *k = call_new(&mw, 1, GROUP_HEARTBEAT);
	kp_heartbeat_request_init(&k->beat);
	k->beat.group_id = slice_str("nobody");
	k->beat.member_id = slice_str("m");
	k->m.call.version = 3;
	k->m.call.request = &k->beat;
	k->m.call.response = &k->beaten;
	k->loop = 1 - k->loop;
	post(k);
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, k, 1000));
	CU_ASSERT_EQUAL(k->m.error, 0);
	CU_ASSERT_EQUAL(k->beaten.error_code, KERR_UNKNOWN_MEMBER_ID);
	call_free(k);
	mini_end(&mw);
}

/* While the log is read, calls are told so; and a load is given up when the leadership goes. */
static void test_loading(void)
{
	struct mini_world mw;
	int64_t offset;
	int one = 1;
	begin(&mw, 21, 1);
	lead_alone(&mw, 1, "1");
	for (int i = 0; i < 300; i++) {
		struct call *k = commit_start(&mw, 1, "g", 0, i, "m", 64);
		CU_ASSERT_FATAL(mini_wait(&mw, is_done, k, 5000));
		call_free(k);
	}
	mini_kill(&mw, 1);
	start_broker(&mw, 1);
	next_epoch(&mw);
	mini_publish(&mw, "1", "1");
	int16_t first = fetch(&mw, 1, "g", 0, &offset);
	CU_ASSERT_EQUAL(first, KERR_COORDINATOR_LOAD_IN_PROGRESS);
	/* another reign begins in the middle of it: from the start again */
	next_epoch(&mw);
	mini_publish(&mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	for (int i = 0; i < 64; i++)
		expect_offset(&mw, 1, "g", i, 299);
	mini_end(&mw);
}

/* The leadership goes: joins that wait are answered, and the other broker has what was committed. */
static void test_moves(void)
{
	struct mini_world mw;
	int one = 1, two = 2;
	int64_t offset;
	begin(&mw, 22, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 42), 0);
	CU_ASSERT_EQUAL(fetch(&mw, 2, "g", 0, &offset), KERR_NOT_COORDINATOR);
	struct call *join = join_start(&mw, 1, "waits");
	mini_run_ms(&mw, 50);
	CU_ASSERT(!join->done); /* the initial delay */
	next_epoch(&mw);
	mini_set(&mw.p, 2, "12", "12", "");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, join, 1000));
	CU_ASSERT_EQUAL(join->m.error ? join->m.error : join->joined.error_code, KERR_NOT_COORDINATOR);
	call_free(join);
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &two, 10000));
	expect_offset(&mw, 2, "g", 0, 42);
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 43), KERR_NOT_COORDINATOR);
	CU_ASSERT_EQUAL(commit(&mw, 2, "g", 0, 43), 0);
	expect_offset(&mw, 2, "g", 0, 43);
	mini_end(&mw);
}

struct stop { struct msg msg; struct mini *b; uint32_t loop; };

static void stop_deliver(struct msg *m)
{
	const struct stop *s = CONTAINER_OF(m, struct stop, msg);
	coordinator_resign(sides[s->b->id].c[s->loop]);
}

static void stop_post(void *ctx)
{
	struct stop *s = ctx;
	s->msg.deliver = stop_deliver;
	loop_post(s->b->loops[s->loop], &s->msg);
}

/* The broker stops: what waits is answered, and so is what comes until the end. */
static void test_resign(void)
{
	struct mini_world mw;
	int one = 1, two = 2;
	int64_t offset;
	begin(&mw, 28, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 42), 0);
	struct call *join = join_start(&mw, 1, "waits");
	mini_run_ms(&mw, 50);
	CU_ASSERT(!join->done);
	struct stop stops[MINI_LOOPS];
	for (uint32_t l = 0; l < MINI_LOOPS; l++) {
		stops[l] = (struct stop){.b = &mw.b[1], .loop = l};
		sim_process_run(mw.b[1].proc, stop_post, &stops[l]);
	}
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, join, 100));
	CU_ASSERT_EQUAL(join->m.error ? join->m.error : join->joined.error_code, KERR_NOT_COORDINATOR);
	call_free(join);
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 43), KERR_NOT_COORDINATOR);
	CU_ASSERT_EQUAL(fetch(&mw, 1, "g", 0, &offset), KERR_NOT_COORDINATOR);
	struct call *list = call_new(&mw, 1, GROUP_LIST);
	post(list);
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, list, 100));
	CU_ASSERT_EQUAL(list->m.error, KERR_COORDINATOR_NOT_AVAILABLE);
	call_free(list);
	/* the cluster has not heard of it: another reign does not begin */
	next_epoch(&mw);
	mini_publish(&mw, "12", "12");
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 43), KERR_NOT_COORDINATOR);
	next_epoch(&mw);
	mini_set(&mw.p, 2, "12", "12", "");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &two, 10000));
	expect_offset(&mw, 2, "g", 0, 42);
	mini_end(&mw);
}

/* A commit whose leadership ends before it is replicated is answered, and its late outcome touches nothing. */
static void test_lost_under_write(void)
{
	struct mini_world mw;
	int one = 1;
	begin(&mw, 23, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mw.p.min_isr = 2;
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 1), 0);
	mini_kill(&mw, 2);
	struct call *a = commit_start(&mw, 1, "g", 0, 2, "m", 1);
	mini_run_ms(&mw, 200);
	CU_ASSERT(!a->done);
	int64_t offset;
	CU_ASSERT_EQUAL(fetch(&mw, 1, "g", 0, &offset), 0);
	CU_ASSERT_EQUAL(offset, 1); /* not before it is committed */
	next_epoch(&mw);
	mini_set(&mw.p, -1, "12", "12", "");
	mini_publish(&mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, a, 2000));
	CU_ASSERT_EQUAL(a->m.error ? a->m.error : a->rows[0].error, KERR_NOT_COORDINATOR);
	call_free(a);
	mini_run_ms(&mw, 6000);
	mini_end(&mw);
}

/* What a new leader has in its log and others have not is not shown before they have it: it may still be lost. */
static void test_shows_what_is_committed(void)
{
	struct mini_world mw;
	int one = 1;
	int64_t offset;
	begin(&mw, 26, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 1), 0);
	mini_kill(&mw, 2);
	struct call *a = commit_start(&mw, 1, "g", 0, 2, "m", 1);
	mini_run_ms(&mw, 200);
	next_epoch(&mw);
	mini_publish(&mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, a, 2000));
	call_free(a);
	mini_run_ms(&mw, 1000);
	CU_ASSERT_EQUAL(fetch(&mw, 1, "g", 0, &offset), KERR_COORDINATOR_LOAD_IN_PROGRESS);
	start_broker(&mw, 2);
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	expect_offset(&mw, 1, "g", 0, 2);
	mini_end(&mw);
}

/* Too few in the ISR, too slow, too large: each with its own answer, and in the order in which they came. */
static void test_refused(void)
{
	struct mini_world mw;
	int one = 1;
	begin(&mw, 24, 2);
	mini_set(&mw.p, 1, "12", "12", "12");
	mini_publish(&mw, "12", "12");
	CU_ASSERT_FATAL(mini_wait(&mw, serves, &one, 10000));
	mini_kill(&mw, 2);
	static char large[40000];
	memset(large, 'x', sizeof(large) - 1);
	groups_config.offset_metadata_max_bytes = 1 << 20;
	struct call *slow = commit_start(&mw, 1, "g", 0, 2, "m", 1);
	struct call *too_large = commit_start(&mw, 1, "g", 0, 3, large, 64);
	mini_run_ms(&mw, 1000);
	CU_ASSERT(!slow->done);
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, too_large, 20000));
	CU_ASSERT(slow->done);
	CU_ASSERT_EQUAL(slow->rows[0].error, KERR_REQUEST_TIMED_OUT);
	CU_ASSERT_EQUAL(too_large->rows[0].error, KERR_INVALID_COMMIT_OFFSET_SIZE);
	call_free(slow);
	call_free(too_large);
	groups_config.offset_metadata_max_bytes = 4096;
	mini_set(&mw.p, 1, "12", "1", "");
	mw.p.min_isr = 2;
	mw.p.partition_epoch++;
	mini_publish(&mw, "1", "1");
	mini_run_ms(&mw, 100);
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 4), KERR_COORDINATOR_NOT_AVAILABLE);
	mini_end(&mw);
}

static bool all_loaded(struct mini_world *mw, void *ctx)
{
	uint32_t led = 0, loading = 0;
	(void)mw;
	(void)ctx;
	for (uint32_t l = 0; l < MINI_LOOPS; l++) {
		struct coordinator_stats st = coordinator_stats(sides[1].c[l]);
		led += st.partitions;
		loading += st.loading;
	}
	return led == MINI_PARTITIONS && !loading;
}

/* More partitions at once than are loaded at a time: each has its turn. */
static void test_many_partitions(void)
{
	struct mini_world mw;
	begin(&mw, 29, 1);
	mw.partitions = MINI_PARTITIONS;
	lead_alone(&mw, 1, "1");
	CU_ASSERT_FATAL(mini_wait(&mw, all_loaded, NULL, 5000));
	for (at_partition = 0; at_partition < MINI_PARTITIONS; at_partition++)
		CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, at_partition), 0);
	at_partition = 0;
	mini_kill(&mw, 1);
	start_broker(&mw, 1);
	next_epoch(&mw);
	lead_alone(&mw, 1, "");
	CU_ASSERT_FATAL(mini_wait(&mw, all_loaded, NULL, 5000));
	for (at_partition = 0; at_partition < MINI_PARTITIONS; at_partition++)
		expect_offset(&mw, 1, "g", 0, at_partition);
	at_partition = 0;
	mini_end(&mw);
}

static size_t file_size(struct mini_world *mw, const char *path)
{
	struct str s;
	str_init(&s);
	CU_ASSERT_EQUAL(sim_disk_read(mw->b[1].host, path, &s), 0);
	size_t n = s.len;
	str_fini(&s);
	return n;
}

/* A batch that rotted on the disk is passed over when it is loaded, and what follows it is not. */
static void test_damaged(void)
{
	static const char path[] = "/data/__consumer_offsets-0/00000000000000000000.log";
	struct mini_world mw;
	begin(&mw, 31, 1);
	lead_alone(&mw, 1, "1");
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 0, 1), 0);
	size_t first = file_size(&mw, path);
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 1, 2), 0);
	size_t second = file_size(&mw, path);
	CU_ASSERT_EQUAL(commit(&mw, 1, "g", 2, 3), 0);
	CU_ASSERT_FATAL(first > 0 && second > first);
	CU_ASSERT_EQUAL(sim_disk_flip_bit(mw.b[1].host, path, second - 17, 3), 0); /* the offset that was committed */
	next_epoch(&mw);
	lead_alone(&mw, 1, "");
	expect_offset(&mw, 1, "g", 0, 1);
	expect_offset(&mw, 1, "g", 1, -1);
	expect_offset(&mw, 1, "g", 2, 3);
	mini_end(&mw);
}

/* What the only member of a group assigns to itself; its error. */
static int16_t sync_alone(struct mini_world *mw, int id, const char *group, const struct call *join, struct slice assignment)
{
	struct call *k = call_new(mw, id, GROUP_SYNC);
	kp_sync_group_request_init(&k->sync);
	k->sync.group_id = slice_str(group);
	k->sync.generation_id = join->joined.generation_id;
	k->sync.member_id = k->assignment.member_id = join->joined.member_id;
	k->assignment.assignment = assignment;
	k->sync.assignments = &k->assignment;
	k->sync.assignments_count = 1;
	k->m.call.version = 3;
	k->m.call.request = &k->sync;
	k->m.call.response = &k->synced;
	post(k);
	CU_ASSERT_FATAL(mini_wait(mw, is_done, k, 10000));
	int16_t err = k->synced.error_code;
	CU_ASSERT(err || k->synced.assignment.len == assignment.len);
	call_free(k);
	return err;
}

/* A group's record may be larger than max.message.bytes lets clients write: a group of thousands is one record. */
static void test_large_group(void)
{
	static uint8_t large[3 << 20];
	struct mini_world mw;
	begin(&mw, 27, 1);
	lead_alone(&mw, 1, "1");
	CU_ASSERT(log_get_config(mini_log(&mw, 1))->max_message_bytes < (int32_t)sizeof(large));
	struct call *join = join_start(&mw, 1, "g");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, join, 2000));
	CU_ASSERT_EQUAL(sync_alone(&mw, 1, "g", join, slice_make(large, sizeof(large))), 0);
	call_free(join);
	mini_end(&mw);
}

/* A wall clock that is set ends no session, and keeps none. */
static void test_clock_set(void)
{
	struct mini_world mw;
	begin(&mw, 28, 1);
	lead_alone(&mw, 1, "1");
	struct call *join = join_start(&mw, 1, "g");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, join, 2000));
	CU_ASSERT_EQUAL(sync_alone(&mw, 1, "g", join, slice_str("x")), 0);
	uint32_t owner = mini_owner(&mw, &mw.b[1]);
	sim_host_clock_jump(mw.b[1].host, 3600 * 1000);
	CU_ASSERT_EQUAL(commit(&mw, 1, "other", 0, 1), 0); /* a call that looks at the clock */
	mini_run_ms(&mw, 5000);
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[owner]).groups.members, 1);
	sim_host_clock_jump(mw.b[1].host, -7200 * 1000);
	mini_run_ms(&mw, 8000); /* 10 s by a clock that is at most a tenth too slow */
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[owner]).groups.members, 0);
	call_free(join);
	mini_end(&mw);
}

/* A member joins, is timed out when it is silent: the one timer works. */
static void test_timer(void)
{
	struct mini_world mw;
	begin(&mw, 25, 1);
	lead_alone(&mw, 1, "1");
	struct call *join = join_start(&mw, 1, "g");
	CU_ASSERT_FATAL(mini_wait(&mw, is_done, join, 2000));
	CU_ASSERT_EQUAL(join->joined.error_code, 0);
	CU_ASSERT_EQUAL(join->joined.generation_id, 1);
	uint32_t owner = mini_owner(&mw, &mw.b[1]);
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[owner]).groups.members, 1);
	mini_run_ms(&mw, 9000);
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[owner]).groups.members, 1);
	mini_run_ms(&mw, 61000); /* it never synced: its session, or the end of waiting for syncs */
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[owner]).groups.members, 0);
	call_free(join);
	mini_end(&mw);
}

/* More groups than a turn reads: all of them once; and the leadership may end in the middle. */
static void test_many(void)
{
	enum { MANY = 1200 };
	struct mini_world mw;
	struct call *last[MANY];
	static char names[MANY][16];
	begin(&mw, 30, 1);
	lead_alone(&mw, 1, "1");
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "many%d", i);
		last[i] = commit_start(&mw, 1, names[i], 0, i, "m", 1);
	}
	for (int i = 0; i < MANY; i++) {
		CU_ASSERT_FATAL(mini_wait(&mw, is_done, last[i], 20000));
		CU_ASSERT_EQUAL(last[i]->rows[0].error, 0);
		call_free(last[i]);
	}
	for (int end = 0; end < 2; end++) {
		struct call *list = call_new(&mw, 1, GROUP_LIST), *describe = call_new(&mw, 1, GROUP_DESCRIBE);
		struct group_describe *d = calloc(MANY, sizeof(*d));
		for (int i = 0; i < MANY; i++)
			d[i].group = slice_str(names[i]);
		chain_init(&list->m.body);
		list->m.call.version = 5;
		describe->m.call.version = 5;
		describe->m.describes = d;
		describe->m.count = MANY;
		post(list);
		post(describe);
		if (end) {
			struct stop stops[MINI_LOOPS];
			for (uint32_t l = 0; l < MINI_LOOPS; l++) {
				stops[l] = (struct stop){.b = &mw.b[1], .loop = l};
				sim_process_run(mw.b[1].proc, stop_post, &stops[l]);
			}
			CU_ASSERT_FATAL(mini_wait(&mw, is_done, list, 1000) && mini_wait(&mw, is_done, describe, 1000));
			CU_ASSERT(list->m.row_count < MANY ? list->m.error == KERR_COORDINATOR_NOT_AVAILABLE : list->m.error == 0);
			CU_ASSERT(describe->m.error == 0 || describe->m.error == KERR_NOT_COORDINATOR);
		} else {
			CU_ASSERT_FATAL(mini_wait(&mw, is_done, list, 1000) && mini_wait(&mw, is_done, describe, 1000));
			CU_ASSERT_EQUAL(list->m.error, 0);
			CU_ASSERT_EQUAL(list->m.row_count, MANY);
			CU_ASSERT_EQUAL(describe->m.error, 0);
			for (int i = 0; i < MANY; i++)
				CU_ASSERT(slice_eq_str(d[i].ret.group_id, names[i]) && slice_eq_str(d[i].ret.group_state, "Empty"));
		}
		chain_clear(&list->m.body);
		call_free(list);
		call_free(describe);
		free(d);
	}
	mini_end(&mw);
}

/* Tells all loops of broker 1 of an image; `deleted`: of a topic that it removed, or NULL. */
struct news { struct msg msg; struct mini *b; uint32_t loop; const char *deleted; struct image *image; };

static void news_deliver(struct msg *m)
{
	const struct news *n = CONTAINER_OF(m, struct news, msg);
	coordinator_image(sides[n->b->id].c[n->loop], n->image, &n->deleted, n->deleted ? 1 : 0);
}

static void news_post(void *ctx)
{
	struct news *n = ctx;
	n->msg.deliver = news_deliver;
	loop_post(n->b->loops[n->loop], &n->msg);
}

static void tell(struct mini_world *mw, struct image *im, const char *deleted)
{
	struct news news[MINI_LOOPS];
	for (uint32_t l = 0; l < MINI_LOOPS; l++) {
		news[l] = (struct news){.b = &mw->b[1], .loop = l, .deleted = deleted, .image = im};
		sim_process_run(mw->b[1].proc, news_post, &news[l]);
	}
	mini_run_ms(mw, 20);
}

/* Offsets of a deleted topic go, and stay away. */
static void test_topic_deleted(void)
{
	struct mini_world mw;
	begin(&mw, 26, 1);
	lead_alone(&mw, 1, "1");
	char group[16];
	for (int i = 0; i < 500; i++) {
		snprintf(group, sizeof(group), "g%d", i);
		CU_ASSERT_EQUAL(commit(&mw, 1, group, 0, i), 0);
	}
	tell(&mw, mw.b[1].image, "topic");
	mini_run_ms(&mw, 1000);
	for (int i = 0; i < 500; i += 50) {
		snprintf(group, sizeof(group), "g%d", i);
		expect_offset(&mw, 1, group, 0, -1);
	}
	mini_kill(&mw, 1);
	start_broker(&mw, 1);
	next_epoch(&mw);
	lead_alone(&mw, 1, "");
	expect_offset(&mw, 1, "g250", 0, -1);
	mini_end(&mw);
}

/* The image and one more topic: "topic", with this id. */
static struct image *with_topic(struct image *base, uint8_t id)
{
	uint8_t bytes[16] = {id};
	int32_t replicas[] = {1};
	Klamm__Control__Partition p, *parts[] = {&p};
	Klamm__Control__Topic t, *topics[] = {&t};
	Klamm__Control__Changes ch;
	struct image *im;
	struct image_changes changes;
	klamm__control__partition__init(&p);
	p.leader = 1;
	p.replicas = p.isr = replicas;
	p.n_replicas = p.n_isr = 1;
	klamm__control__topic__init(&t);
	t.topic_id.data = bytes;
	t.topic_id.len = sizeof(bytes);
	t.name = (char *)(uintptr_t)"topic";
	t.full = true;
	t.partitions = parts;
	t.n_partitions = 1;
	klamm__control__changes__init(&ch);
	ch.topics = topics;
	ch.n_topics = 1;
	CU_ASSERT_EQUAL_FATAL(image_apply(base, image_controller_epoch(base), image_seq(base) + 1, &ch, &im, &changes), 0);
	image_changes_free(&changes);
	return im;
}

/* A commit whose sender knows of this image. */
static int16_t commit_as_of(struct mini_world *mw, struct image *im, const char *group, int64_t offset)
{
	struct call *k = call_new(mw, 1, GROUP_COMMIT);
	k->image = im;
	k->commit = (struct groups_commit){.group = slice_str(group), .member = slice_str(""), .generation = -1, .retention_ms = -1, .rows = k->rows, .count = 1};
	k->rows[0] = (struct groups_offset){.topic = slice_str("topic"), .offset = offset, .leader_epoch = 3, .commit_timestamp = -1};
	k->m.call.version = 9;
	k->m.call.request = k->m.call.response = &k->commit;
	post(k);
	CU_ASSERT_FATAL(mini_wait(mw, is_done, k, 20000));
	int16_t error = k->m.error ? k->m.error : k->rows[0].error;
	call_free(k);
	return error;
}

/* A topic is deleted and at once there again: loops hear of it at different times, and a commit is never taken for one of the other topic. */
static void test_topic_anew(void)
{
	struct mini_world mw;
	begin(&mw, 29, 1);
	lead_alone(&mw, 1, "1");
	struct image *old = with_topic(mw.b[1].image, 1), *new = with_topic(mw.b[1].image, 2);
	tell(&mw, old, NULL);
	CU_ASSERT_EQUAL(commit_as_of(&mw, old, "g", 10), 0);
	CU_ASSERT_EQUAL(commit_as_of(&mw, old, "h", 11), 0);
	CU_ASSERT_EQUAL(commit_as_of(&mw, new, "g", 20), KERR_UNKNOWN_TOPIC_OR_PARTITION); /* the sender is ahead */
	expect_offset(&mw, 1, "g", 0, 10);
	tell(&mw, new, "topic");
	CU_ASSERT_EQUAL(commit_as_of(&mw, old, "h", 12), KERR_UNKNOWN_TOPIC_OR_PARTITION); /* the sender is behind */
	CU_ASSERT_EQUAL(commit_as_of(&mw, new, "g", 21), 0);
	mini_run_ms(&mw, 1000);
	expect_offset(&mw, 1, "g", 0, 21);
	expect_offset(&mw, 1, "h", 0, -1);
	mini_kill(&mw, 1);
	image_unref(old);
	image_unref(new);
	start_broker(&mw, 1);
	next_epoch(&mw);
	lead_alone(&mw, 1, "");
	expect_offset(&mw, 1, "g", 0, 21);
	expect_offset(&mw, 1, "h", 0, -1);
	mini_end(&mw);
}

/* Old offsets of groups without members go, in the time that was set; others stay. */
static void test_expiry(void)
{
	struct mini_world mw;
	expiry_interval_ms = 10000;
	groups_config.offsets_retention_ms = 60000;
	begin(&mw, 27, 1);
	lead_alone(&mw, 1, "1");
	CU_ASSERT_EQUAL(commit(&mw, 1, "old", 0, 1), 0);
	mini_run_ms(&mw, 40000);
	CU_ASSERT_EQUAL(commit(&mw, 1, "young", 0, 2), 0);
	expect_offset(&mw, 1, "old", 0, 1);
	mini_run_ms(&mw, 35000);
	expect_offset(&mw, 1, "old", 0, -1);
	expect_offset(&mw, 1, "young", 0, 2);
	mini_kill(&mw, 1);
	start_broker(&mw, 1);
	next_epoch(&mw);
	lead_alone(&mw, 1, "");
	expect_offset(&mw, 1, "old", 0, -1); /* its tombstone is in the log */
	expect_offset(&mw, 1, "young", 0, 2);
	CU_ASSERT_EQUAL(coordinator_stats(sides[1].c[mini_owner(&mw, &mw.b[1])]).groups.groups, 1);
	mini_end(&mw);
	expiry_interval_ms = 600000;
	groups_config.offsets_retention_ms = 7LL * 86400 * 1000;
}

UNIT_MAIN("coordinator",
	{"partition_of", test_partition_of}, {"restart", test_restart}, {"made", test_made}, {"forwarded", test_forwarded}, {"loading", test_loading},
	{"many_partitions", test_many_partitions}, {"damaged", test_damaged}, {"moves", test_moves}, {"resign", test_resign},
	{"lost_under_write", test_lost_under_write}, {"shows_what_is_committed", test_shows_what_is_committed}, {"refused", test_refused},
	{"large_group", test_large_group}, {"timer", test_timer}, {"clock_set", test_clock_set}, {"many", test_many},
	{"topic_deleted", test_topic_deleted}, {"topic_anew", test_topic_anew}, {"expiry", test_expiry})
