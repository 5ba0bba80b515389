/* test_sim_checks.c: the simulator's checks themselves (tests/sim): what they excuse, and that they see what they are for.
 *
 * Three hosts with log directories written by hand, a ZooKeeper model with the partition's nodes, no daemons. Each case makes a
 * history (sent, acknowledged, read, lost) and looks at the verdict.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/zk/zkdata.h"
#include "tests/sim/batch.h"
#include "tests/sim/checks.h"
#include "tests/unit/unit.h"

enum { BROKERS = 3, RECORDS = 5 };

static struct sim_host *hosts[BROKERS];
static struct run run;
static struct options options;
static uint64_t seed = 1;

/* ---- what the checks ask of the rest of the simulator ---- */

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

/* ---- a world ---- */

static void state(const int32_t *isr, size_t count, int32_t epoch)
{
	struct str s;
	struct zkd_state st = {.leader = isr[0], .leader_epoch = epoch, .controller_epoch = 1, .isr = {isr, count}};
	str_init(&s);
	zkd_state_encode(&s, &st);
	if (sim_zk_create(run.w, "/brokers/topics/t/partitions/0/state", slice_make(s.ptr, s.len)))
		(void)!sim_zk_set(run.w, "/brokers/topics/t/partitions/0/state", slice_make(s.ptr, s.len), -1);
	str_fini(&s);
	checks_poll(&run);
}

static void setup(int32_t min_isr, bool flush)
{
	static const int32_t all[] = {1, 2, 3};
	struct sim_config cfg;
	struct zkd_partition part = {.partition = 0, .replicas = {all, 3}};
	struct zkd_topic zt = {.version = 3, .partitions = &part, .partition_count = 1};
	struct str s;
	sim_config_init(&cfg, seed);
	memset(&run, 0, sizeof(run));
	memset(&options, 0, sizeof(options));
	options.brokers = BROKERS;
	run.opt = &options;
	run.chroot = "";
	run.w = sim_world_new(&cfg);
	run.rng = sim_rng(run.w);
	for (int i = 0; i < BROKERS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "b%d", i + 1);
		hosts[i] = sim_host_new(run.w, name);
		sim_disk_mkdirs(hosts[i], "/data/t-0");
	}
	run.topics[0] = (struct topic){.name = "t", .state = TOPIC_LIVE, .partitions = 1, .min_isr = min_isr, .flush = flush};
	run.topic_count = run.tp_count = 1;
	checks_init(&run);
	sim_world_run_until(run.w, 1000000);
	str_init(&s);
	zkd_topic_encode(&s, &zt);
	CU_ASSERT(sim_zk_create(run.w, "/brokers", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/t", slice_make(s.ptr, s.len)) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/t/partitions", slice_str("")) == 0);
	CU_ASSERT(sim_zk_create(run.w, "/brokers/topics/t/partitions/0", slice_str("")) == 0);
	str_fini(&s);
	state(all, 3, 0);
	for (int i = 0; i < RECORDS; i++)
		checks_record(&run, 0, 0, -1, true);
}

static void teardown(void)
{
	sim_world_free(run.w);
	checks_free(&run);
}

#define LOG "/data/t-0/00000000000000000000.log"

/* One batch a record: ids in order from offset 0, of one epoch. */
static struct buf *log_bytes(const uint64_t *ids, int count, int32_t epoch, size_t *ret_len)
{
	struct buf *out = buf_new(4096);
	*ret_len = 0;
	for (int i = 0; i < count; i++) {
		size_t len;
		struct buf *b = sim_batch_build(ids[i], 1, 10, 1, 7, 0, i, &len);
		be64_put(b->data, (uint64_t)i);
		be32_put(b->data + 12, (uint32_t)epoch);
		memcpy(out->data + *ret_len, b->data, len);
		*ret_len += len;
		buf_unref(b);
	}
	return out;
}

static void put_log(int broker, const uint64_t *ids, int count, int32_t epoch)
{
	size_t len;
	struct buf *b = log_bytes(ids, count, epoch, &len);
	CU_ASSERT(sim_disk_write(hosts[broker], LOG, b->data, len) == 0);
	buf_unref(b);
}

/* As put_log, by a process that does not sync. */
struct unsynced { const uint8_t *bytes; size_t len; };

static void *write_unsynced(struct env *env, struct loop *control, void *arg)
{
	struct unsynced *u = arg;
	struct file *f;
	(void)control;
	CU_ASSERT_FATAL(fs_open(env, LOG, FS_WRITE | FS_CREATE, &f) == 0);
	CU_ASSERT(file_write_now(f, 0, u->bytes, u->len) == 0);
	file_unref(f);
	return NULL;
}

static void put_unsynced(int broker, const uint64_t *ids, int count, int32_t epoch)
{
	struct unsynced u;
	struct buf *b = log_bytes(ids, count, epoch, &u.len);
	u.bytes = b->data;
	struct sim_process *p = sim_process_start(hosts[broker], &(struct sim_program){.name = "writer", .start = write_unsynced, .arg = &u});
	sim_world_run_until(run.w, sim_now_us(run.w) + 100000);
	sim_process_kill(p);
	buf_unref(b);
}

static const uint64_t ids12345[] = {1, 2, 3, 4, 5};

static bool violated(const char *check)
{
	checks_final(&run);
	if (!check)
		return run.res.outcome == OUTCOME_CLEAN;
	return run.res.outcome == OUTCOME_VIOLATION && strncmp(run.res.what, check, strlen(check)) == 0;
}

/* ---- cases ---- */

static void test_batches(void)
{
	size_t len;
	struct buf *b = sim_batch_build(41, 3, 20, 5, 9, 2, 11, &len);
	struct sim_batch got;
	CU_ASSERT(sim_batch_parse(slice_make(b->data, len), &got) == 0);
	CU_ASSERT(got.count == 3 && got.base_sequence == 11 && got.producer_id == 9 && got.producer_epoch == 2 && (size_t)got.total_bytes == len);
	CU_ASSERT(sim_batch_parse(slice_make(b->data, len - 1), &got) == ERR_RANGE);
	b->data[len - 1] ^= 1;
	CU_ASSERT(sim_batch_parse(slice_make(b->data, len), &got) == ERR_CORRUPT);
	buf_unref(b);
}

static void test_all_there(void)
{
	setup(2, false);
	for (int i = 0; i < BROKERS; i++)
		put_log(i, ids12345, 5, 0);
	checks_acked(&run, 0, 1, 5, 0, sim_now_us(run.w));
	CU_ASSERT(violated(NULL));
	CU_ASSERT(run.res.acked == 5);
	teardown();
}

static void test_lost(void)
{
	setup(2, false);
	for (int i = 0; i < BROKERS; i++)
		put_log(i, ids12345, 4, 0);
	checks_acked(&run, 0, 1, 5, 0, sim_now_us(run.w));
	CU_ASSERT(violated("durability"));
	teardown();
}

static void ignore(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	(void)ctx; (void)offset; (void)epoch; (void)id;
}

/* Brokers 1 and 2 are the ISR, have the records unsynced, and lose power, one or both. False: the disk kept something. */
static bool power_try(int32_t min_isr, bool flush, int cuts, int32_t later_isr, const char *expect)
{
	static const int32_t two[] = {1, 2};
	bool lost = true;
	setup(min_isr, flush);
	state(two, 2, 1);
	sim_world_run_until(run.w, sim_now_us(run.w) + 1000000);
	put_unsynced(0, ids12345, 5, 1);
	put_unsynced(1, ids12345, 5, 1);
	checks_acked(&run, 0, 1, 5, 0, sim_now_us(run.w));
	sim_world_run_until(run.w, sim_now_us(run.w) + 1000000);
	if (later_isr)
		state(&later_isr, 1, 2);
	for (int i = 0; i < cuts; i++) {
		sim_world_run_until(run.w, sim_now_us(run.w) + 1000000);
		checks_power_cut(&run, i);
		lost &= checks_disk_log(&run, i, 0, ignore, NULL) <= 0;
	}
	for (int i = 0; i < BROKERS; i++) {
		sim_host_power_on(hosts[i]);
		sim_disk_remove(hosts[i], LOG);
		put_log(i, ids12345, 0, 2);
	}
	if (lost)
		CU_ASSERT(violated(expect));
	teardown();
	return lost;
}

/* The model keeps some of what was not synced, by seed: the first seed that keeps nothing. */
static void power_case(int32_t min_isr, bool flush, int cuts, int32_t later_isr, const char *expect)
{
	bool tried = false;
	for (seed = 1; seed < 100 && !tried; seed++)
		tried = power_try(min_isr, flush, cuts, later_isr, expect);
	seed = 1;
	CU_ASSERT(tried);
}

static void test_power(void)
{
	power_case(2, false, 2, 0, NULL);
	power_case(2, false, 1, 0, "durability");
	power_case(2, true, 2, 0, "durability");
	/* min 1: the last leader is taken, with what it lost */
	power_case(1, false, 1, 1, NULL);
	power_case(2, false, 1, 1, "durability");
}

static void test_duplicate_and_order(void)
{
	static const uint64_t twice[] = {1, 2, 2, 3}, swapped[] = {2, 1, 3};
	setup(2, false);
	put_log(0, twice, 4, 0);
	CU_ASSERT(violated("duplicate"));
	teardown();
	setup(2, false);
	put_log(0, swapped, 3, 0);
	CU_ASSERT(violated("order"));
	teardown();
}

static void test_reads(void)
{
	static const uint64_t other[] = {1, 3};
	setup(2, false);
	put_log(0, other, 2, 1);
	checks_read(&run, 0, 0, 0, 1, sim_now_us(run.w));
	checks_read(&run, 0, 1, 0, 2, sim_now_us(run.w));
	CU_ASSERT(violated("read-gone"));
	teardown();
	setup(2, false);
	checks_read(&run, 0, 1, 0, 2, sim_now_us(run.w));
	checks_read(&run, 0, 1, 0, 3, sim_now_us(run.w));
	CU_ASSERT(strncmp(run.res.what, "log-matching", 12) == 0);
	teardown();
}

static void test_leaders(void)
{
	static const int32_t two[] = {2, 3};
	struct str what;
	setup(2, false);
	checks_leader(&run, 0, 0, 2);
	CU_ASSERT(strncmp(run.res.what, "one-leader", 10) == 0);
	teardown();
	setup(2, false);
	state(two, 2, 3);
	str_init(&what);
	CU_ASSERT(!checks_available(&run, &what));
	state(two, 2, 2);
	CU_ASSERT(strncmp(run.res.what, "epoch-back", 10) == 0);
	str_fini(&what);
	teardown();
}

static void test_prefix(void)
{
	static const uint64_t other[] = {1, 2, 4};
	struct str what;
	setup(2, false);
	str_init(&what);
	put_log(0, ids12345, 3, 0);
	put_log(1, ids12345, 3, 0);
	put_log(2, ids12345, 3, 0);
	CU_ASSERT(checks_converged(&run, &what));
	put_log(2, other, 3, 1);
	CU_ASSERT(!checks_converged(&run, &what));
	CU_ASSERT(strstr(str_cstr(&what), "differ at offset 0") != NULL);
	str_fini(&what);
	teardown();
}

UNIT_MAIN("sim_checks",
	{"batches", test_batches},
	{"all there", test_all_there},
	{"lost", test_lost},
	{"power cuts", test_power},
	{"duplicate and order", test_duplicate_and_order},
	{"reads", test_reads},
	{"leaders", test_leaders},
	{"prefix", test_prefix})
