/* test_sim_groups.c: the simulator's checks of groups and committed offsets (tests/sim/checks_groups.h): that they see what they are for, and
 * nothing else.
 *
 * Hosts with logs of __consumer_offsets-0 written by hand, a ZooKeeper model with its partition, no daemons. Each case makes a history
 * (sent, acknowledged, fetched, synced), a log, and looks at the verdict.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/wire/cursor.h"
#include "common/zk/zkdata.h"
#include "tests/sim/checks.h"
#include "tests/sim/checks_groups.h"
#include "tests/sim/offsets.h"
#include "tests/unit/unit.h"

enum { BROKERS = 3, OFFSETS_TP = 0, TP = 1, LOG_MAX = 65536 };

static struct sim_host *hosts[BROKERS];
static struct run run;
static struct options options;
static int group;
static uint64_t seed = 1;

/* the log that is being written */
static uint8_t *log_bytes;
static size_t log_len;
static int64_t log_next;

int32_t cluster_broker_id_of(int idx) { return idx + 1; }
int cluster_broker_index_of(int32_t id) { return id >= 1 && id <= BROKERS ? id - 1 : -1; }
struct sim_host *cluster_broker_host(struct run *r, int idx) { (void)r; return hosts[idx]; }
void sim_committers_probe(struct run *r, int32_t tp) { (void)r; (void)tp; }
int64_t sim_consumers_position(struct run *r, int32_t tp) { (void)r; (void)tp; return INT64_MAX; }

void run_violation(struct run *r, const char *check, const char *fmt, ...)
{
	va_list ap;
	if (r->res.outcome)
		return;
	r->res.outcome = OUTCOME_VIOLATION;
	int n = snprintf(r->res.what, sizeof(r->res.what), "%s ", check);
	va_start(ap, fmt);
	vsnprintf(r->res.what + n, sizeof(r->res.what) - (size_t)n, fmt, ap);
	va_end(ap);
}

/* ---- the log ---- */

static uint8_t *put_text(uint8_t *p, const char *s)
{
	p = put_i16(p, (int16_t)strlen(s));
	return put_bytes(p, s, strlen(s));
}

/* One batch with one record. */
static void put(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len)
{
	uint8_t rec[8192], *p = rec, *h = log_bytes + log_len;
	p = put_u8(p, 0);
	p = put_varlong(p, 0);
	p = put_varint(p, 0);
	p = put_varint(p, (int32_t)key_len);
	p = put_bytes(p, key, key_len);
	p = put_varint(p, value ? (int32_t)value_len : -1);
	p = put_bytes(p, value ? value : key, value ? value_len : 0);
	p = put_varint(p, 0);
	uint8_t *end = put_varint(h + 61, (int32_t)(p - rec));
	end = put_bytes(end, rec, (size_t)(p - rec));
	size_t total = (size_t)(end - h);
	memset(h, 0, 61);
	be64_put(h, (uint64_t)log_next++);
	be32_put(h + 8, (uint32_t)(total - 12));
	h[16] = 2;
	be64_put(h + 43, (uint64_t)-1);
	be32_put(h + 57, 1);
	be32_put(h + 17, crc32c(h + 21, total - 21));
	log_len += total;
}

static size_t commit_key(uint8_t *key)
{
	uint8_t *p = put_i16(key, 1);
	p = put_text(p, "g");
	p = put_text(p, "t");
	return (size_t)(put_i32(p, 0) - key);
}

static void put_commit(uint64_t id, int64_t offset, int32_t epoch)
{
	uint8_t key[64], value[64];
	char text[24];
	snprintf(text, sizeof(text), "c%llu", (unsigned long long)id);
	uint8_t *p = put_i16(value, 3);
	p = put_i64(p, offset);
	p = put_i32(p, epoch);
	p = put_text(p, text);
	p = put_i64(p, 77);
	put(key, commit_key(key), value, (size_t)(p - value));
}

static void put_commit_tombstone(void)
{
	uint8_t key[64];
	put(key, commit_key(key), NULL, 0);
}

/* The assignment of partition 0 of t, or of nothing. */
static size_t assignment(uint8_t *out, bool owns)
{
	uint8_t *p = put_i16(out, 0);
	p = put_i32(p, owns);
	if (owns) {
		p = put_text(p, "t");
		p = put_i32(p, 1);
		p = put_i32(p, 0);
	}
	return (size_t)(put_i32(p, -1) - out);
}

/* Members "m1".. of which those in `owners` (a bit each) have the partition. */
static void put_group(int32_t generation, int members, int owners)
{
	uint8_t key[64], value[1024];
	uint8_t *k = put_text(put_i16(key, 2), "g");
	uint8_t *p = put_text(put_i16(value, 3), "consumer");
	p = put_i32(p, generation);
	p = put_text(p, "range");
	p = put_text(p, "m1");
	p = put_i64(p, 77);
	p = put_i32(p, members);
	for (int i = 0; i < members; i++) {
		char id[8];
		uint8_t bytes[64];
		size_t len = assignment(bytes, owners >> i & 1);
		snprintf(id, sizeof(id), "m%d", i + 1);
		p = put_text(p, id);
		p = put_i16(p, -1);
		p = put_text(p, "client");
		p = put_text(p, "/10.0.0.9");
		p = put_i32(p, 1000);
		p = put_i32(p, 1000);
		p = put_i32(p, 0);
		p = put_i32(p, (int32_t)len);
		p = put_bytes(p, bytes, len);
	}
	put(key, (size_t)(k - key), value, (size_t)(p - value));
}

static void put_group_tombstone(void)
{
	uint8_t key[64];
	uint8_t *k = put_text(put_i16(key, 2), "g");
	put(key, (size_t)(k - key), NULL, 0);
}

#define DIR "/data/__consumer_offsets-0"
#define LOG DIR "/00000000000000000000.log"

/* ---- a world ---- */

static void tick(void)
{
	sim_world_run_until(run.w, sim_now_us(run.w) + 1000000);
}

static void setup(bool deletable)
{
	static const int32_t all[] = {1, 2, 3};
	struct sim_config cfg;
	struct zkd_partition part = {.partition = 0, .replicas = {all, 3}};
	struct zkd_topic zt = {.version = 3, .partitions = &part, .partition_count = 1};
	struct zkd_state st = {.leader = 1, .leader_epoch = 0, .controller_epoch = 1, .isr = {all, 3}};
	struct str s;
	sim_config_init(&cfg, seed);
	memset(&run, 0, sizeof(run));
	memset(&options, 0, sizeof(options));
	options.brokers = BROKERS;
	run.opt = &options;
	run.chroot = "";
	run.w = sim_world_new(&cfg);
	run.rng = sim_rng(run.w);
	run.quiet_us = INT64_MAX;
	for (int i = 0; i < BROKERS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "b%d", i + 1);
		hosts[i] = sim_host_new(run.w, name);
		sim_disk_mkdirs(hosts[i], DIR);
	}
	run_topic_new(&run, "__consumer_offsets", 1, 2, false, false)->internal = true;
	run_topic_new(&run, "t", 1, 2, false, false)->state = TOPIC_LIVE;
	checks_init(&run);
	group_checks_init(&run);
	group = group_checks_add(&run, "g", true, deletable);
	tick();
	str_init(&s);
	zkd_topic_encode(&s, &zt);
	CU_ASSERT(sim_zk_create(run.w, "/brokers", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/__consumer_offsets", slice_make(s.ptr, s.len)) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/__consumer_offsets/partitions", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/__consumer_offsets/partitions/0", slice_str("")) == 0);
	str_clear(&s);
	zkd_state_encode(&s, &st);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/__consumer_offsets/partitions/0/state", slice_make(s.ptr, s.len)) == 0);
	str_fini(&s);
	checks_poll(&run);
	CU_ASSERT(run.topics[0].state == TOPIC_LIVE);
	log_bytes = mem_alloc(LOG_MAX);
	log_len = 0;
	log_next = 0;
}

static void teardown(void)
{
	sim_world_free(run.w);
	group_checks_free(&run);
	checks_free(&run);
	mem_free(log_bytes);
}

static bool is(const char *check)
{
	if (!check)
		return run.res.outcome == OUTCOME_CLEAN;
	return run.res.outcome == OUTCOME_VIOLATION && strncmp(run.res.what, check, strlen(check)) == 0 && run.res.what[strlen(check)] == ' ';
}

/* All replicas have the log; the verdict. */
static bool verdict(const char *check)
{
	for (int i = 0; i < BROKERS; i++) {
		sim_disk_remove(hosts[i], LOG);
		CU_ASSERT(sim_disk_write(hosts[i], LOG, log_bytes, log_len) == 0);
	}
	checks_final(&run);
	bool ok = is(check);
	if (!ok)
		printf("    expected %s, got %s\n", check ? check : "nothing", run.res.what);
	return ok;
}

static uint64_t commit(int64_t offset, int32_t generation)
{
	return group_checks_commit(&run, group, TP, offset, 4, generation, false);
}

/* Sent, acknowledged a moment later, and in the log. */
static uint64_t committed(int64_t offset, int32_t generation)
{
	uint64_t id = commit(offset, generation);
	int64_t sent = sim_now_us(run.w);
	tick();
	put_commit(id, offset, 4);
	group_checks_committed(&run, id, sent);
	tick();
	return id;
}

enum { LEADER = 1, FORMER_LEADER = 2 };
static void fetched_from(int32_t broker, uint64_t id, int64_t offset, int64_t sent_us)
{
	char text[24];
	snprintf(text, sizeof(text), "c%llu ", (unsigned long long)id);
	group_checks_fetched(&run, group, broker, TP, id ? offset : -1, id ? 4 : -1, slice_str(id ? text : ""), sent_us);
}

static void fetched_since(uint64_t id, int64_t offset, int64_t sent_us)
{
	fetched_from(LEADER, id, offset, sent_us);
}

static void fetched(uint64_t id, int64_t offset)
{
	int64_t sent = sim_now_us(run.w);
	tick();
	fetched_since(id, offset, sent);
	tick();
}

static void synced(int32_t generation, const char *member, bool owns)
{
	uint8_t bytes[64];
	size_t len = assignment(bytes, owns);
	group_checks_synced(&run, group, generation, slice_str(member), (struct slice){0}, slice_make(bytes, len));
	tick();
}

/* ---- cases ---- */

static void test_well(void)
{
	setup(false);
	fetched(0, 0);
	put_group(1, 2, 1);
	synced(1, "m1", true);
	synced(1, "m2", false);
	uint64_t a = committed(10, 1), b = committed(20, 1);
	fetched(b, 20);
	uint64_t unknown = commit(30, 1); /* nobody was told; it stands */
	put_commit(unknown, 30, 4);
	fetched(b, 20);
	fetched(unknown, 30);
	commit(40, 1); /* nobody was told; it does not stand */
	put_group(2, 1, 1);
	synced(2, "m1", true);
	committed(30, 2);
	CU_ASSERT(a && run.res.commits == 3 && run.res.rebalances == 2);
	CU_ASSERT(verdict(NULL));
	teardown();
}

static void test_commit_lost(void)
{
	setup(false);
	put_group(1, 1, 1);
	uint64_t a = committed(10, 1), b = commit(20, 1);
	group_checks_committed(&run, b, sim_now_us(run.w));
	CU_ASSERT(a && verdict("commit-lost"));
	teardown();
	/* a later one of the same key does not hide it */
	setup(false);
	put_group(1, 1, 1);
	b = commit(20, 1);
	group_checks_committed(&run, b, sim_now_us(run.w));
	committed(30, 1);
	CU_ASSERT(verdict("commit-lost"));
	teardown();
}

static void test_commit_gone(void)
{
	setup(false);
	put_group(1, 1, 1);
	committed(10, 1);
	fetched(0, 0);
	CU_ASSERT(verdict("commit-gone"));
	teardown();
	setup(false);
	put_group(1, 1, 1);
	fetched(commit(10, 1), 10); /* read, then gone */
	CU_ASSERT(verdict("commit-gone"));
	teardown();
}

static void test_commit_back(void)
{
	setup(false);
	put_group(1, 1, 1);
	uint64_t a = committed(10, 1);
	committed(20, 1);
	fetched(a, 10);
	CU_ASSERT(verdict("commit-back"));
	teardown();
	/* at the same time either may be seen; afterwards only what was seen, or later */
	for (int again = 0; again < 2; again++) {
		setup(false);
		put_group(1, 1, 1);
		a = committed(10, 1);
		int64_t sent = sim_now_us(run.w);
		uint64_t b = committed(20, 1);
		fetched_since(a, 10, sent);
		fetched(b, 20);
		if (again)
			fetched(a, 10);
		CU_ASSERT(verdict(again ? "commit-back" : NULL));
		teardown();
	}
	/* who was deposed and does not know it may show what stood once, and nothing else; it takes nothing back for those who ask the leader */
	for (int what = 0; what < 3; what++) {
		setup(false);
		put_group(1, 1, 1);
		a = committed(10, 1);
		uint64_t b = committed(20, 1), never = commit(30, 1);
		fetched_from(FORMER_LEADER, what == 1 ? never : a, what == 1 ? 30 : 10, sim_now_us(run.w));
		fetched(what == 2 ? a : b, what == 2 ? 10 : 20);
		CU_ASSERT(verdict(what == 0 ? NULL : what == 1 ? "commit-gone" : "commit-back"));
		teardown();
	}
	/* a member of a later generation goes on below its predecessor */
	for (int rewound = 0; rewound < 2; rewound++) {
		setup(false);
		put_group(1, 1, 1);
		committed(20, 1);
		put_group(2, 1, 1);
		a = group_checks_commit(&run, group, TP, 15, 4, 2, rewound);
		put_commit(a, 15, 4);
		CU_ASSERT(verdict(rewound ? NULL : "commit-back"));
		teardown();
	}
}

static void test_commit_value(void)
{
	setup(false);
	put_group(1, 1, 1);
	fetched(committed(10, 1), 11);
	CU_ASSERT(is("commit-value"));
	teardown();
	setup(false);
	fetched(99, 10);
	CU_ASSERT(is("commit-value"));
	teardown();
	setup(false);
	put_group(1, 1, 1);
	put_commit(commit(10, 1), 12, 4);
	CU_ASSERT(verdict("commit-value"));
	teardown();
}

static void test_deleted(void)
{
	for (int stands = 0; stands < 2; stands++) {
		setup(true);
		committed(10, -1);
		int64_t sent = sim_now_us(run.w);
		tick();
		if (!stands)
			put_commit_tombstone();
		group_checks_deleted(&run, group, TP, sent);
		tick();
		fetched(0, 0);
		committed(5, -1);
		CU_ASSERT(verdict(stands ? "commit-gone" : NULL));
		teardown();
	}
}

static void test_fenced(void)
{
	/* as the log has it */
	setup(false);
	put_group(1, 1, 1);
	uint64_t late = commit(20, 1);
	put_group(2, 1, 1);
	put_commit(late, 20, 4);
	CU_ASSERT(verdict("fenced"));
	teardown();
	/* as clients see it: the commit is sent after the newer generation was there */
	for (int newer = 0; newer < 2; newer++) {
		setup(false);
		put_group(1, 1, 1);
		synced(1, "m1", true);
		if (newer)
			synced(2, "m1", true);
		committed(20, 1);
		CU_ASSERT(is(newer ? "fenced" : NULL));
		teardown();
	}
	/* a group that was deleted begins anew */
	setup(true);
	put_group(7, 1, 1);
	committed(20, 7);
	put_group_tombstone();
	put_commit_tombstone();
	put_group(1, 1, 1);
	committed(10, 1);
	CU_ASSERT(verdict(NULL));
	teardown();
}

static void test_forbidden(void)
{
	/* one that must be refused is acknowledged */
	setup(false);
	put_group(2, 1, 1);
	synced(2, "m1", true);
	uint64_t id = commit(20, 2);
	group_checks_forbid(&run, id);
	tick();
	CU_ASSERT(is(NULL));
	group_checks_committed(&run, id, sim_now_us(run.w) - 1);
	CU_ASSERT(is("fenced"));
	teardown();
	/* or it is not, and stands in the log all the same; refused it is nothing */
	for (int in_log = 0; in_log < 2; in_log++) {
		setup(false);
		put_group(2, 1, 1);
		committed(10, 2);
		id = commit(20, 2);
		group_checks_forbid(&run, id);
		if (in_log)
			put_commit(id, 20, 4);
		CU_ASSERT(verdict(in_log ? "fenced" : NULL));
		teardown();
	}
}

static void test_owner(void)
{
	setup(false);
	put_group(1, 2, 3);
	CU_ASSERT(verdict("owner"));
	teardown();
	setup(false);
	synced(1, "m1", true);
	synced(2, "m2", true);
	CU_ASSERT(is(NULL));
	synced(2, "m1", true);
	CU_ASSERT(is("owner"));
	teardown();
}

static void test_membership(void)
{
	setup(false);
	group_checks_member_id(&run, group, slice_str("m1"), 1);
	group_checks_member_id(&run, group, slice_str("m1"), 1);
	group_checks_member_id(&run, group, slice_str("m2"), 2);
	CU_ASSERT(is(NULL));
	group_checks_member_id(&run, group, slice_str("m1"), 2);
	CU_ASSERT(is("member-id"));
	teardown();
	setup(false);
	put_group(3, 1, 1);
	put_group(2, 1, 1);
	CU_ASSERT(verdict("generation"));
	teardown();
	setup(false);
	put_group(1, 2, 1);
	synced(1, "m2", true);
	CU_ASSERT(verdict("assignment"));
	teardown();
}

static void ignore(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	(void)ctx; (void)offset; (void)epoch; (void)id;
}

static void *write_unsynced(struct env *env, struct loop *control, void *arg)
{
	struct file *f;
	(void)control;
	(void)arg;
	CU_ASSERT_FATAL(fs_open(env, LOG, FS_WRITE | FS_CREATE, &f) == 0);
	CU_ASSERT(file_write_now(f, 0, log_bytes, log_len) == 0);
	file_unref(f);
	return NULL;
}

/* Nobody has synced it, and so many lose power. False: some disk kept it. */
static bool unsynced_try(int cuts)
{
	bool lost = true;
	setup(false);
	uint64_t a = committed(10, -1);
	for (int i = 0; i < BROKERS; i++) {
		struct sim_process *p = sim_process_start(hosts[i], &(struct sim_program){.name = "writer", .start = write_unsynced});
		tick();
		sim_process_kill(p);
	}
	for (int i = 0; i < cuts; i++) {
		tick();
		checks_power_cut(&run, i);
		lost &= checks_disk_log(&run, i, OFFSETS_TP, ignore, NULL) <= 0;
		sim_host_power_on(hosts[i]);
	}
	if (lost) {
		log_len = 0;
		fetched(0, 0);
		CU_ASSERT(a && verdict(cuts == BROKERS ? NULL : "commit-lost"));
		CU_ASSERT(cuts < BROKERS || run.res.lost_excused == 1);
	}
	teardown();
	return lost;
}

static void test_power(void)
{
	for (int cuts = BROKERS - 1; cuts <= BROKERS; cuts++) {
		bool tried = false;
		for (seed = 1; seed < 200 && !tried; seed++)
			tried = unsynced_try(cuts);
		seed = 1;
		CU_ASSERT(tried);
	}
}

static void test_parse(void)
{
	struct arena a;
	struct offsets_record rec;
	uint8_t key[] = {0, 3, 0, 1, 'g'}, broken[] = {0, 1, 0, 9, 'g'};
	arena_init(&a, 0);
	CU_ASSERT(offsets_parse(slice_make(key, sizeof(key)), slice_str("anything"), &a, &rec) && rec.kind == OFFSETS_UNKNOWN);
	CU_ASSERT(!offsets_parse(slice_make(broken, sizeof(broken)), slice_str("x"), &a, &rec));
	CU_ASSERT(offsets_id_of(slice_str("c17  ")) == 17 && offsets_id_of(slice_str("")) == 0 && offsets_id_of(slice_str("x17")) == 0);
	/* Java's String.hashCode: of this one it is the smallest int, whose abs is itself */
	CU_ASSERT(offsets_partition_of("polygenelubricants", 50) == 0);
	CU_ASSERT(offsets_partition_of("a", 50) == 97 % 50 && offsets_partition_of("ab", 50) == (97 * 31 + 98) % 50);
	arena_fini(&a);
}

UNIT_MAIN("sim_groups",
	{"well", test_well},
	{"commit lost", test_commit_lost},
	{"commit gone", test_commit_gone},
	{"commit back", test_commit_back},
	{"commit value", test_commit_value},
	{"deleted", test_deleted},
	{"fenced", test_fenced}, {"forbidden", test_forbidden},
	{"owner", test_owner},
	{"membership", test_membership},
	{"power cuts", test_power},
	{"parse", test_parse})
