/* test_group_size.c: how large and how fast: 100,000 groups, 5,000 members in one group. As a test with tenths of that and generous bounds;
 * GROUP_SIZE=full prints the figures of docs/reports/groups.md.
 *
 * Bytes are what malloc says is in use; with a sanitizer they are not looked at. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "brokerd/group/group_priv.h"
#include "tests/unit/unit.h"

#define NOW 1700000000000

struct caller {
	struct groups_call call;
	struct arena arena;
	bool answered;
	union {
		struct kp_join_group_response join;
		struct kp_sync_group_response sync;
		struct kp_heartbeat_response heartbeat;
	} resp;
};

static struct groups_config cfg = {.min_session_timeout_ms = 6000, .max_session_timeout_ms = 1800000, .max_size = INT32_MAX, .offset_metadata_max_bytes = 4096, .offsets_retention_ms = 604800000};
static int64_t log_end;
static double scale;

/* Of this thread's processor time: others who use the machine do not count. */
static double seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double bytes_now(void)
{
	return (double)mallinfo2().uordblks;
}

static uint32_t scaled(uint32_t n)
{
	return (uint32_t)(n * scale);
}

/* Answers are marked, writes are committed at once; gives the number of answers. */
static uint32_t settle(struct groups *g, struct groups_out *out)
{
	uint32_t n = 0;
	while (!list_empty(&out->answered) || !list_empty(&out->writes)) {
		for (struct list *it; (it = list_pop_front(&out->answered)); n++)
			CONTAINER_OF(LIST_ENTRY(it, struct groups_call, link), struct caller, call)->answered = true;
		struct list *it = list_pop_front(&out->writes);
		if (!it)
			break;
		struct groups_write *w = LIST_ENTRY(it, struct groups_write, link);
		int64_t base = log_end;
		log_end += w->count;
		groups_written(g, w, 0, base, NOW, out);
	}
	return n;
}

static void caller_init(struct caller *c, const void *request, void *response)
{
	arena_reset(&c->arena);
	c->answered = false;
	c->call = (struct groups_call){.arena = &c->arena, .version = 3, .client_id = slice_str("consumer-1"), .client_host = "/127.0.0.1", .request = request, .response = response};
}

static void commit_one(struct groups *g, struct groups_out *out, struct caller *c, uint32_t group)
{
	char name[32];
	struct groups_offset row = {.topic = slice_str("orders"), .partition = (int32_t)(group % 12), .offset = group, .leader_epoch = 3, .metadata = slice_str(""), .commit_timestamp = -1};
	struct groups_commit req = {.group = slice_make(name, (size_t)snprintf(name, sizeof(name), "application-%06u", group)), .member = slice_str(""), .generation = -1,
		.retention_ms = -1, .rows = &row, .count = 1};
	caller_init(c, &req, &req);
	groups_commit(g, &c->call, NOW, out);
	settle(g, out);
	CU_ASSERT(c->answered && row.error == 0);
}

static void print(const char *what, double value, const char *unit)
{
	if (scale == 1)
		printf("    %-58s %10.1f %s\n", what, value, unit);
}

static void count_row(void *ctx, const struct groups_list_row *row)
{
	*(uint32_t *)ctx += row->group.len > 0;
}

static void test_offsets(void)
{
	uint32_t n = scaled(100000);
	struct groups_out out;
	struct caller c = {0};
	double before = bytes_now(), t = seconds();
	groups_out_init(&out);
	struct groups *g = groups_new(0, 0, 1, &cfg);
	groups_loaded(g, NOW, &out);
	for (uint32_t i = 0; i < n; i++)
		commit_one(g, &out, &c, i);
	print("commit of a new group", (seconds() - t) / n * 1e9, "ns");
	t = seconds();
	for (uint32_t i = 0; i < n; i++)
		commit_one(g, &out, &c, i);
	print("commit", (seconds() - t) / n * 1e9, "ns");
	arena_fini(&c.arena);
	double each = (bytes_now() - before) / n;
	print("group with one offset and no members", each, "bytes");
	print("  of these counted by groups_stats", (double)groups_stats(g).bytes / n, "bytes");
#ifndef KLAMM_ASAN
	CU_ASSERT(each < 400);
#endif
	t = seconds();
	while (!groups_expire(g, NOW, 100, &out))
		;
	print("expiry: one round, per group", (seconds() - t) / n * 1e9, "ns");
	struct groups_list l = {0};
	uint32_t listed = 0;
	t = seconds();
	groups_list_begin(g, &l);
	while (!groups_list(&l, 32, count_row, &listed))
		;
	groups_list_end(&l);
	print("list of all groups without encoding, per group", (seconds() - t) / n * 1e9, "ns");
	CU_ASSERT_EQUAL(listed, n);
	groups_free(g);
}

static void join_alone(struct groups *g, struct groups_out *out, struct caller *c, uint32_t group, char id[80])
{
	char name[32];
	struct kp_join_group_request_protocols p[2] = {{slice_str("range"), slice_str("0123456789012345678901234567890123456789")},
		{slice_str("cooperative-sticky"), slice_str("0123456789012345678901234567890123456789")}};
	struct kp_join_group_request req;
	kp_join_group_request_init(&req);
	req.group_id = slice_make(name, (size_t)snprintf(name, sizeof(name), "application-%06u", group));
	req.session_timeout_ms = 45000;
	req.rebalance_timeout_ms = 300000;
	req.protocol_type = slice_str("consumer");
	req.protocols = p;
	req.protocols_count = 2;
	caller_init(c, &req, &c->resp.join);
	groups_join(g, &c->call, NOW, out);
	settle(g, out);
	CU_ASSERT(c->answered && c->resp.join.error_code == 0);
	snprintf(id, 80, "%.*s", (int)c->resp.join.member_id.len, (const char *)c->resp.join.member_id.ptr);
	struct kp_sync_group_request_assignments as = {slice_str(id), slice_str("0123456789012345678901234567890123456789")};
	struct kp_sync_group_request sreq;
	kp_sync_group_request_init(&sreq);
	sreq.group_id = req.group_id;
	sreq.generation_id = 1;
	sreq.member_id = slice_str(id);
	sreq.assignments = &as;
	sreq.assignments_count = 1;
	caller_init(c, &sreq, &c->resp.sync);
	groups_sync(g, &c->call, NOW, out);
	settle(g, out);
	CU_ASSERT(c->answered && c->resp.sync.error_code == 0);
}

static void test_groups_of_one(void)
{
	uint32_t n = scaled(100000);
	struct groups_out out;
	struct caller c = {0};
	char(*ids)[80] = malloc(n * sizeof(*ids));
	double before = bytes_now(), t = seconds();
	groups_out_init(&out);
	struct groups *g = groups_new(0, 0, 1, &cfg);
	groups_loaded(g, NOW, &out);
	for (uint32_t i = 0; i < n; i++)
		join_alone(g, &out, &c, i, ids[i]);
	print("join and sync of a group's only member", (seconds() - t) / n * 1e9, "ns");
	double each = (bytes_now() - before) / n;
	print("group with one member (40 bytes each of metadata and plan)", each, "bytes");
	print("  of these counted by groups_stats", (double)groups_stats(g).bytes / n, "bytes");
#ifndef KLAMM_ASAN
	CU_ASSERT(each < 1300);
#endif
	t = seconds();
	for (uint32_t i = 0; i < n; i++) {
		char name[32];
		struct kp_heartbeat_request req = {slice_make(name, (size_t)snprintf(name, sizeof(name), "application-%06u", i)), 1, slice_str(ids[i]), slice_make(NULL, 0)};
		caller_init(&c, &req, &c.resp.heartbeat);
		groups_heartbeat(g, &c.call, NOW + 30000, &out);
		settle(g, &out);
		CU_ASSERT_EQUAL(c.resp.heartbeat.error_code, 0);
	}
	print("heartbeat", (seconds() - t) / n * 1e9, "ns");
	/* the first keys come up: all are put right, nobody goes */
	t = seconds();
	while (groups_due_ms(g) <= NOW + 45000)
		groups_tick(g, NOW + 45000, &out);
	settle(g, &out);
	print("deadline that was put off, per member and session timeout", (seconds() - t) / n * 1e9, "ns");
	CU_ASSERT_EQUAL(groups_stats(g).members, n);
	t = seconds();
	while (groups_due_ms(g) <= NOW + 75000)
		groups_tick(g, NOW + 75000, &out), settle(g, &out);
	print("session that ends: member out, group empty and written", (seconds() - t) / n * 1e9, "ns");
	CU_ASSERT_EQUAL(groups_stats(g).members, 0);
	arena_fini(&c.arena);
	groups_free(g);
	free(ids);
}

struct crowd {
	struct groups *g;
	struct groups_out out;
	struct caller *c;
	struct kp_join_group_request *joins;
	struct kp_sync_group_request *syncs;
	char (*ids)[80];
	uint32_t n;
	struct kp_join_group_request_protocols p[2];
};

static void crowd_join(struct crowd *k, uint32_t i, const char *id)
{
	struct kp_join_group_request *req = &k->joins[i];
	kp_join_group_request_init(req);
	req->group_id = slice_str("crowd");
	req->session_timeout_ms = 45000;
	req->rebalance_timeout_ms = 300000;
	req->member_id = slice_str(id);
	req->protocol_type = slice_str("consumer");
	req->protocols = k->p;
	req->protocols_count = 2;
	caller_init(&k->c[i], req, &k->c[i].resp.join);
	groups_join(k->g, &k->c[i].call, NOW, &k->out);
	settle(k->g, &k->out);
}

static void crowd_sync(struct crowd *k, uint32_t i, int32_t generation, struct kp_sync_group_request_assignments *as, uint32_t count)
{
	struct kp_sync_group_request *req = &k->syncs[i];
	kp_sync_group_request_init(req);
	req->group_id = slice_str("crowd");
	req->generation_id = generation;
	req->member_id = slice_str(k->ids[i]);
	req->assignments = as;
	req->assignments_count = (int32_t)count;
	caller_init(&k->c[i], req, &k->c[i].resp.sync);
	groups_sync(k->g, &k->c[i].call, NOW, &k->out);
}

static void crowd_sync_all(struct crowd *k, int32_t generation)
{
	static const char plan[] = "0123456789012345678901234567890123456789012345678901234567890123456789";
	struct kp_sync_group_request_assignments *as = malloc(k->n * sizeof(*as));
	for (uint32_t i = 0; i < k->n; i++)
		as[i] = (struct kp_sync_group_request_assignments){slice_str(k->ids[i]), slice_str(plan)};
	for (uint32_t i = 1; i < k->n; i++)
		crowd_sync(k, i, generation, NULL, 0);
	settle(k->g, &k->out);
	double t = seconds();
	crowd_sync(k, 0, generation, as, k->n);
	print("  leader's sync: the record is made", (seconds() - t) * 1e3, "ms");
	t = seconds();
	CU_ASSERT_EQUAL(settle(k->g, &k->out), k->n);
	print("  record committed: replayed, all answered", (seconds() - t) * 1e3, "ms");
	free(as);
}

static void test_crowd(void)
{
	struct crowd k = {.n = scaled(5000), .p = {{slice_str("range"), slice_str("01234567890123456789012345678901234567890123456789")},
		{slice_str("cooperative-sticky"), slice_str("01234567890123456789012345678901234567890123456789")}}};
	k.c = calloc(k.n, sizeof(*k.c));
	k.joins = calloc(k.n, sizeof(*k.joins));
	k.syncs = calloc(k.n, sizeof(*k.syncs));
	k.ids = calloc(k.n, sizeof(*k.ids));
	groups_out_init(&k.out);
	cfg.initial_rebalance_delay_ms = 3000;
	k.g = groups_new(0, 0, 1, &cfg);
	groups_loaded(k.g, NOW, &k.out);
	double t = seconds();
	for (uint32_t i = 0; i < k.n; i++)
		crowd_join(&k, i, "");
	print("join of a new member into the crowd", (seconds() - t) / k.n * 1e9, "ns");
	for (int64_t at = NOW; !k.c[0].answered; at += 1000) {
		groups_tick(k.g, at, &k.out);
		settle(k.g, &k.out);
	}
	for (uint32_t i = 0; i < k.n; i++) {
		struct slice id = k.c[i].resp.join.member_id;
		CU_ASSERT(k.c[i].answered && k.c[i].resp.join.error_code == 0);
		snprintf(k.ids[i], 80, "%.*s", (int)id.len, (const char *)id.ptr);
	}
	CU_ASSERT_EQUAL(k.c[0].resp.join.members_count, (int32_t)k.n);
	crowd_sync_all(&k, 1);
	print("member (50 + 50 bytes of metadata, 70 of plan)", (double)groups_stats(k.g).bytes / k.n, "bytes");

	/* a full rebalance: everybody joins again, the leader last, so that one call finishes it */
	double begin = seconds();
	crowd_join(&k, 0, k.ids[0]);
	for (uint32_t i = 1; i + 1 < k.n; i++)
		crowd_join(&k, i, k.ids[i]);
	t = seconds();
	crowd_join(&k, k.n - 1, k.ids[k.n - 1]);
	print("  last join: generation made, all answered", (seconds() - t) * 1e3, "ms");
	CU_ASSERT_EQUAL(k.c[0].resp.join.generation_id, 2);
	CU_ASSERT_EQUAL(k.c[0].resp.join.members_count, (int32_t)k.n);
	crowd_sync_all(&k, 2);
	double whole = seconds() - begin;
	print("full rebalance: all joins, all syncs", whole * 1e3, "ms");
	CU_ASSERT(whole < 5);
	for (uint32_t i = 0; i < k.n; i++)
		CU_ASSERT_EQUAL(k.c[i].resp.sync.assignment.len, 70);
	/* one leaves, everybody else is silent: they go one by one */
	t = seconds();
	while (groups_due_ms(k.g) < NOW + 60000)
		groups_tick(k.g, NOW + 60000, &k.out), settle(k.g, &k.out);
	print("everybody's session ends", (seconds() - t) * 1e3, "ms");
	CU_ASSERT_EQUAL(groups_stats(k.g).members, 0);
	groups_resign(k.g, &k.out);
	groups_free(k.g);
	for (uint32_t i = 0; i < k.n; i++)
		arena_fini(&k.c[i].arena);
	free(k.c);
	free(k.joins);
	free(k.syncs);
	free(k.ids);
	cfg.initial_rebalance_delay_ms = 0;
}

/* Loading: records of 100,000 groups with ten commits each of one partition, as a log before compaction has them. */
static void test_load(void)
{
	uint32_t n = scaled(100000);
	struct groups_out out;
	struct groups *g = groups_new(0, 0, 1, &cfg);
	groups_out_init(&out);
	double t = seconds(), spent = 0;
	int64_t offset = 0;
	for (int round = 0; round < 10; round++)
		for (uint32_t i = 0; i < n; i++) {
			char name[32];
			struct offset o = {.partition = 1, .leader_epoch = 1, .offset = offset, .commit_ms = NOW};
			struct pen *p = group_pen_new();
			group_pen_offset(p, slice_make(name, (size_t)snprintf(name, sizeof(name), "application-%06u", i)), slice_str("orders"), &o, slice_str(""), -1);
			struct groups_write *w = group_pen_finish(p);
			t = seconds();
			CU_ASSERT_EQUAL(groups_replay(g, w->records[0].key, w->records[0].value, offset++, -1), 0);
			spent += seconds() - t;
			groups_write_free(w);
		}
	print("replay of a commit, at load", spent / (double)offset * 1e9, "ns");
	t = seconds();
	groups_loaded(g, NOW, &out);
	print("end of loading", (seconds() - t) * 1e6, "us");
	CU_ASSERT_EQUAL(groups_stats(g).offsets, n);
	groups_free(g);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {{"offsets", test_offsets}, {"groups_of_one", test_groups_of_one}, {"crowd", test_crowd}, {"load", test_load}};
	const char *size = getenv("GROUP_SIZE");
	scale = size && strcmp(size, "full") == 0 ? 1 : 0.1;
	return unit_run("group_size", cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
