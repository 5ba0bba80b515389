/* test_identity.c: brokerd/life/identity.c, and what brokerd/log/log_dir.c says of ids, in the simulated world: ZooKeeper's replies late, lost, or
 * not coming; processes and machines that go away at any moment. */
#include <stdio.h>
#include <string.h>

#include "brokerd/life/life.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "tests/unit/unit.h"

#define CLUSTER "AAAAAAAAAAAAAAAAAAAAAA"
#define SEQID "/brokers/seqid"

struct node { /* a broker as far as its id goes */
	struct sim_world *w;
	struct sim_host *host;
	struct sim_process *p;
	int exit_status;   /* -1: it runs */
	struct broker_config cfg;
	struct str connect;
	struct zk *zk;
	struct log_dirs *dirs;
	struct identity *identity;
	int open_err;
	char *open_why;
	int32_t id;        /* -1: not known */
	int known, waits;
	char waits_for[200];
	uint64_t session;
};

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct node *n = ctx;
	if (ev->event == ZK_CONNECTED)
		n->session = (uint64_t)ev->session.id;
	if (ev->event == ZK_EXPIRED)
		zk_reopen(zk);
}

static void on_waiting(void *ctx, const char *for_what)
{
	struct node *n = ctx;
	n->waits += strcmp(n->waits_for, for_what) != 0;
	snprintf(n->waits_for, sizeof(n->waits_for), "%s", for_what);
}

static void on_known(void *ctx, int32_t id)
{
	struct node *n = ctx;
	n->known++;
	n->id = id;
	CU_ASSERT_EQUAL(n->dirs->broker_id, id);
}

static void *node_run(struct env *env, struct loop *control, void *arg)
{
	struct node *n = arg;
	static const char *const paths[] = {"/a", "/b"};
	struct log_dirs_open o = {.env = env, .paths = paths, .count = 2, .broker_id = n->cfg.broker_id};
	struct zk_config zc = {.connect = str_cstr(&n->connect), .session_timeout_ms = 6000, .op_timeout_ms = 4000, .on_event = on_event, .ctx = n};
	struct identity_events ev = {.ctx = n, .waiting = on_waiting, .known = on_known};
	CU_ASSERT_EQUAL(zk_open(control, &zc, &n->zk), 0);
	n->open_err = log_dirs_open_now(&o, &n->dirs, &n->open_why);
	if (!n->open_err && n->cfg.broker_id < 0) {
		n->identity = identity_new(env, control, &n->cfg, n->zk, n->dirs, &ev);
		identity_start(n->identity);
	}
	return n;
}

static void node_reap(void *root, void *arg)
{
	struct node *n = arg;
	(void)root;
	identity_free(n->identity);
	log_dirs_free(n->dirs);
	n->identity = NULL;
	n->dirs = NULL;
}

static void node_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
	(void)p, (void)reason;
	((struct node *)arg)->exit_status = status;
}

static void node_start(struct node *n)
{
	n->id = -1;
	n->known = n->waits = 0;
	n->waits_for[0] = '\0';
	n->exit_status = -1;
	mem_free(n->open_why);
	n->open_why = NULL;
	n->p = sim_process_start(n->host, &(struct sim_program){.name = "node", .start = node_run, .reap = node_reap, .on_exit = node_exit, .arg = n});
}

static void node_init(struct node *n, struct sim_world *w, const char *name)
{
	*n = (struct node){.w = w, .id = -1};
	n->cfg.broker_id = -1;
	n->cfg.reserved_broker_max_id = 1000;
	n->host = sim_host_new(w, name);
	sim_zk_connect_string(w, "", &n->connect);
}

/* Once the world is gone. */
static void node_fini(struct node *n)
{
	mem_free(n->open_why);
	str_fini(&n->connect);
}

static struct sim_world *new_world(uint64_t seed, int zk_servers)
{
	struct sim_config cfg;

	sim_config_init(&cfg, seed);
	cfg.zk_servers = zk_servers;
	return sim_world_new(&cfg);
}

static void run_ms(struct sim_world *w, int64_t ms)
{
	sim_world_run_until(w, sim_now_us(w) + ms * 1000);
}

/* What controllerd makes before it stands for election. */
static void make_base(struct sim_world *w)
{
	CU_ASSERT_EQUAL(sim_zk_create(w, "/brokers", (struct slice){0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w, SEQID, (struct slice){0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w, "/cluster", (struct slice){0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w, "/cluster/id", slice_str("{\"version\":\"1\",\"id\":\"" CLUSTER "\"}")), 0);
}

static int32_t version_of(struct sim_world *w)
{
	struct str data = {0};
	struct zk_stat st;
	int err = sim_zk_read(w, SEQID, &data, &st);
	CU_ASSERT_EQUAL(err, 0);
	CU_ASSERT_EQUAL(data.len, 0);
	str_fini(&data);
	return err ? -1 : st.version;
}

static void write_meta(struct node *n, const char *dir, const char *text)
{
	char path[64];
	snprintf(path, sizeof(path), "%s/meta.properties", dir);
	CU_ASSERT_EQUAL(sim_disk_mkdirs(n->host, dir), 0);
	CU_ASSERT_EQUAL(sim_disk_write(n->host, path, text, strlen(text)), 0);
}

static bool meta_has(struct node *n, const char *dir, const char *line)
{
	struct str text = {0};
	char path[64], whole[100];
	snprintf(path, sizeof(path), "%s/meta.properties", dir);
	snprintf(whole, sizeof(whole), "\n%s\n", line);
	bool has = sim_disk_read(n->host, path, &text) == 0 && strstr(str_cstr(&text), whole) != NULL;
	str_fini(&text);
	return has;
}

/* The id that is known is in both directories. */
static bool meta_is(struct node *n, int32_t id)
{
	char line[40];
	snprintf(line, sizeof(line), "broker.id=%d", id);
	return meta_has(n, "/a", line) && meta_has(n, "/b", line);
}

/* ---- cases ---- */

static void test_decide(void)
{
	struct log_dir d[2] = {0};
	struct log_dir *ptrs[2] = {&d[0], &d[1]};
	struct log_dirs dirs = {.dirs = ptrs, .count = 2, .broker_id = -1};
	const struct log_dir *unread = NULL;
	int32_t id = -7;

	CU_ASSERT_EQUAL(identity_decide(&dirs, &unread), IDENTITY_NEW);
	atomic_store(&d[1].offline, true);
	CU_ASSERT_EQUAL(identity_decide(&dirs, &unread), IDENTITY_UNREAD);
	CU_ASSERT_PTR_EQUAL(unread, &d[1]);
	dirs.broker_id = 0;
	CU_ASSERT_EQUAL(identity_decide(&dirs, &unread), IDENTITY_STORED);

	CU_ASSERT_EQUAL(identity_of_version(1000, 1, &id), 0);
	CU_ASSERT_EQUAL(id, 1001);
	CU_ASSERT_EQUAL(identity_of_version(0, 1, &id), 0);
	CU_ASSERT_EQUAL(id, 1);
	CU_ASSERT_EQUAL(identity_of_version(1000, INT32_MAX - 1000, &id), 0);
	CU_ASSERT_EQUAL(id, INT32_MAX);
	CU_ASSERT_EQUAL(identity_of_version(1000, INT32_MAX - 999, &id), ERR_RANGE);
	CU_ASSERT_EQUAL(identity_of_version(INT32_MAX, 1, &id), ERR_RANGE);
	CU_ASSERT_EQUAL(identity_of_version(1000, 0, &id), ERR_RANGE); /* nobody has set it */
	CU_ASSERT_EQUAL(identity_of_version(1000, INT32_MIN, &id), ERR_RANGE); /* ZooKeeper's count went round */
	CU_ASSERT_EQUAL(id, INT32_MAX);
}

/* Two at the same time: two ids; each in both directories, with the cluster's; and the same after a restart, without a further number. */
static void test_generated(void)
{
	struct sim_world *w = new_world(1, 3);
	struct node n[2];
	make_base(w);
	for (int i = 0; i < 2; i++) {
		node_init(&n[i], w, i ? "two" : "one");
		node_start(&n[i]);
	}
	run_ms(w, 3000);
	int32_t first = n[0].id, second = n[1].id;
	CU_ASSERT((first == 1001 && second == 1002) || (first == 1002 && second == 1001));
	CU_ASSERT_EQUAL(version_of(w), 2);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(n[i].known, 1);
		CU_ASSERT(meta_is(&n[i], n[i].id));
		CU_ASSERT(meta_has(&n[i], "/a", "cluster.id=" CLUSTER) && meta_has(&n[i], "/b", "version=0"));
		sim_process_kill(n[i].p);
		node_start(&n[i]);
	}
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n[0].id, first);
	CU_ASSERT_EQUAL(n[1].id, second);
	CU_ASSERT_EQUAL(version_of(w), 2);
	sim_world_free(w);
	for (int i = 0; i < 2; i++)
		node_fini(&n[i]);
}

/* An id in one directory is everybody's, and needs no ZooKeeper. */
static void test_stored(void)
{
	struct sim_world *w = new_world(1, 3);
	struct node n;
	node_init(&n, w, "one");
	write_meta(&n, "/b", "#\n#Thu Nov 26 14:38:54 UTC 2026\nbroker.id=1001\nversion=0\ncluster.id=" CLUSTER "\n");
	sim_zk_stop_all(w);
	node_start(&n);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(n.id, 1001);
	CU_ASSERT_EQUAL(n.waits, 0);
	CU_ASSERT(meta_is(&n, 1001));
	CU_ASSERT(meta_has(&n, "/a", "cluster.id=" CLUSTER));
	CU_ASSERT(meta_has(&n, "/b", "#Thu Nov 26 14:38:54 UTC 2026")); /* what was whole is left alone */
	sim_world_free(w);
	node_fini(&n);
}

/* Nothing is there at first: ZooKeeper, the base paths, then (taken away by a hand) the node itself. Each is waited for, and said once. */
static void test_waits(void)
{
	struct sim_world *w = new_world(3, 3);
	struct node n, late;
	node_init(&n, w, "one");
	sim_zk_stop_all(w);
	node_start(&n);
	run_ms(w, 60000);
	CU_ASSERT_EQUAL(n.known, 0);
	CU_ASSERT_EQUAL(n.waits, 1);
	CU_ASSERT_STRING_EQUAL(n.waits_for, "ZooKeeper to give this broker an id");
	CU_ASSERT_EQUAL(n.exit_status, -1);
	sim_zk_start_all(w);
	run_ms(w, 20000);
	CU_ASSERT_EQUAL(n.known, 0);
	CU_ASSERT_EQUAL(n.waits, 2);
	CU_ASSERT_STRING_EQUAL(n.waits_for, WAIT_FOR_CLUSTER_ID);
	CU_ASSERT_FALSE(meta_has(&n, "/a", "version=0"));
	make_base(w);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.id, 1001);
	CU_ASSERT_EQUAL(version_of(w), 1);

	CU_ASSERT_EQUAL(sim_zk_delete(w, SEQID, -1), 0);
	CU_ASSERT_EQUAL(sim_zk_delete(w, "/brokers", -1), 0);
	node_init(&late, w, "two");
	node_start(&late);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(late.known, 0);
	CU_ASSERT_STRING_EQUAL(late.waits_for, WAIT_FOR_BASE_PATHS);
	CU_ASSERT_EQUAL(sim_zk_create(w, "/brokers", (struct slice){0}), 0);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(late.known, 1);
	CU_ASSERT_EQUAL(version_of(w), 1); /* made, and set once */
	sim_world_free(w);
	node_fini(&n);
	node_fini(&late);
}

/* Every write's connection breaks for a while, before or after the write was done; then the session goes too. Numbers get lost, no id is given twice,
 * and what is known is what ZooKeeper's count was at some set. */
static void test_lost_replies(void)
{
	int lost = 0, none_lost = 0;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct sim_world *w = new_world(seed, 3);
		struct node n[3];
		make_base(w);
		sim_zk_set_drop_rate(w, 1);
		for (int i = 0; i < 3; i++) {
			node_init(&n[i], w, i == 0 ? "one" : i == 1 ? "two" : "three");
			node_start(&n[i]);
		}
		run_ms(w, 500 + (int64_t)seed * 50);
		for (int i = 0; i < 3; i++)
			CU_ASSERT_EQUAL(n[i].known, 0);
		if (seed % 2)
			(void)sim_zk_expire_session(w, (int64_t)n[0].session);
		sim_zk_set_drop_rate(w, 0);
		run_ms(w, 30000);
		int32_t version = version_of(w);
		CU_ASSERT(version >= 3);
		lost += version > 3;
		none_lost += version == 3;
		for (int i = 0; i < 3; i++) {
			CU_ASSERT_EQUAL(n[i].known, 1);
			CU_ASSERT(n[i].id > 1000 && n[i].id <= 1000 + version);
			CU_ASSERT(meta_is(&n[i], n[i].id));
			for (int k = 0; k < i; k++)
				CU_ASSERT_NOT_EQUAL(n[i].id, n[k].id);
		}
		sim_world_free(w);
		for (int i = 0; i < 3; i++)
			node_fini(&n[i]);
	}
	CU_ASSERT(lost > 0);
	CU_ASSERT(none_lost < 40);
}

/* A reply that takes longer than anything else is still the reply: one number. */
static void test_late_reply(void)
{
	struct sim_world *w = new_world(5, 1);
	struct node n;
	make_base(w);
	node_init(&n, w, "one");
	node_start(&n);
	sim_net_delay(w, sim_zk_host(w, 0), n.host, 1500000);
	while (version_of(w) == 0 && sim_now_us(w) < 60000000)
		sim_world_step(w);
	CU_ASSERT_EQUAL(n.known, 0);
	run_ms(w, 10000);
	CU_ASSERT_EQUAL(n.id, 1001);
	CU_ASSERT_EQUAL(version_of(w), 1);
	sim_world_free(w);
	node_fini(&n);
}

/* The process is killed, or its machine loses power, at any moment of the start: each time costs one number at most, and an id that was known stays. */
static void test_deaths(void)
{
	int between = 0; /* set, and not written */
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim_world *w = new_world(seed, 3);
		struct node n;
		int32_t known = -1;
		make_base(w);
		node_init(&n, w, "one");
		for (int life = 1; life <= 6; life++) {
			node_start(&n);
			sim_world_run_until(w, sim_now_us(w) + (int64_t)rng_between(sim_rng(w), 0, 60000));
			if (n.known)
				known = n.id;
			between += !n.known && known < 0 && version_of(w) == life;
			if (rng_chance(sim_rng(w), 0.5)) {
				sim_process_kill(n.p);
			} else {
				sim_host_power_cut(n.host);
				sim_host_power_on(n.host);
			}
			CU_ASSERT(version_of(w) <= life);
			if (known >= 0)
				CU_ASSERT(meta_is(&n, known));
		}
		node_start(&n);
		run_ms(w, 3000);
		CU_ASSERT_EQUAL(n.known, 1);
		CU_ASSERT(meta_is(&n, n.id));
		if (known >= 0)
			CU_ASSERT_EQUAL(n.id, known);
		sim_world_free(w);
		node_fini(&n);
	}
	CU_ASSERT(between > 0);
}

/* Ids that contradict each other: the sentence names the files, and the ids, and what to do. */
static void test_contradictions(void)
{
	struct sim_world *w = new_world(1, 1);
	struct node n;
	node_init(&n, w, "one");
	write_meta(&n, "/a", "broker.id=1001\nversion=0\n");
	write_meta(&n, "/b", "broker.id=1002\nversion=0\n");
	node_start(&n);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(n.open_err, ERR_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(n.open_why, "/b/meta.properties says broker.id=1002, /a/meta.properties says broker.id=1001"));
	CU_ASSERT_PTR_NOT_NULL(strstr(n.open_why, "log.dirs"));
	sim_process_kill(n.p);

	n.cfg.broker_id = 7;
	write_meta(&n, "/b", "broker.id=7\nversion=0\n");
	node_start(&n);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(n.open_err, ERR_INVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(n.open_why, "/a/meta.properties says broker.id=1001, but 7 is configured"));
	sim_process_kill(n.p);

	write_meta(&n, "/a", "broker.id=7\nversion=0\n");
	node_start(&n);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(n.open_err, 0);
	sim_world_free(w);
	node_fini(&n);
}

/* A directory that cannot be read may hold the id: no second one is taken. With the id in the other it does not matter. */
static void test_unread(void)
{
	struct sim_world *w = new_world(1, 1);
	struct node n;
	make_base(w);
	node_init(&n, w, "one");
	CU_ASSERT_EQUAL(sim_disk_mkdirs(n.host, "/b"), 0);
	sim_disk_fail(n.host, SIM_DISK_ALL, "/b", -1);
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.exit_status, 74);
	CU_ASSERT_EQUAL(version_of(w), 0);
	write_meta(&n, "/a", "broker.id=5\nversion=0\n");
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.id, 5);
	sim_world_free(w);
	node_fini(&n);
}

/* A directory that fails under the write is offline; when all do, the broker ends. */
static void test_unwritable(void)
{
	struct sim_world *w = new_world(1, 1);
	struct node n;
	make_base(w);
	node_init(&n, w, "one");
	write_meta(&n, "/a", "broker.id=1001\nversion=0\ncluster.id=" CLUSTER "\n");
	sim_disk_fail(n.host, SIM_DISK_SYNC, "/b/meta.properties", -1);
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.id, 1001);
	CU_ASSERT_FALSE(atomic_load(&n.dirs->dirs[0]->offline));
	CU_ASSERT(atomic_load(&n.dirs->dirs[1]->offline));
	sim_process_kill(n.p);
	CU_ASSERT_EQUAL(sim_disk_remove(n.host, "/a/meta.properties"), 0);
	sim_disk_fail(n.host, SIM_DISK_SYNC, "/a/meta.properties", -1);
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.known, 0);
	CU_ASSERT_EQUAL(n.exit_status, 74);
	sim_world_free(w);
	node_fini(&n);
}

static void test_refused(void)
{
	struct sim_world *w = new_world(1, 1);
	struct node n;
	make_base(w);
	node_init(&n, w, "one");
	n.cfg.reserved_broker_max_id = INT32_MAX;
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.exit_status, 78);
	n.cfg.reserved_broker_max_id = 1000;
	write_meta(&n, "/b", "version=0\ncluster.id=BBBBBBBBBBBBBBBBBBBBBB\n"); /* another cluster's */
	node_start(&n);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(n.exit_status, 78);
	CU_ASSERT_EQUAL(version_of(w), 1);
	sim_world_free(w);
	node_fini(&n);
}

UNIT_MAIN("identity", {"decide", test_decide}, {"generated", test_generated}, {"stored", test_stored}, {"waits", test_waits}, {"lost_replies", test_lost_replies},
	  {"late_reply", test_late_reply}, {"deaths", test_deaths}, {"contradictions", test_contradictions}, {"unread", test_unread}, {"unwritable", test_unwritable},
	  {"refused", test_refused})
