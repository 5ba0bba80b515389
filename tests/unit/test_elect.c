/* test_elect.c: election and fenced writes alone, against the model ZooKeeper with its faults. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "common/zk/zkdata.h"
#include "controllerd/elect/elect.h"
#include "controllerd/state/writer.h"
#include "tests/unit/unit.h"

enum { MOST = 3, EPOCHS = 4096, WRITES = 300 };
#define MS(x) ((int64_t)(x) * 1000)

struct bench;
struct node { /* one candidate, in a process of its own */
	struct bench *b;
	int idx;
	struct env *env;
	struct elect e;
	struct writer wr;
	bool reign;
	int next, written, stale;
};
struct bench {
	struct sim_world *sim;
	struct sim_host *hosts[MOST];
	struct sim_process *procs[MOST];
	struct sim_program prog[MOST];
	struct { struct bench *b; int idx; } args[MOST];
	struct str zk;
	struct str ip[MOST];
	int reigns[EPOCHS]; /* by epoch: how often it began */
	int32_t highest;
	bool same_id;            /* all candidates bear the first one's */
	bool foreign;            /* somebody else ruled in between */
	int exits, exit_status;
	bool writing, listening; /* not listening: the kernel refuses, and the active counts as dead at once (A5) */
	int told[WRITES], unknown;
};

static void write_more(struct node *n);

static void on_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct node *n = ctx;
	int idx = (int)(intptr_t)arg;
	n->b->told[idx]++;
	if (err == ERR_STALE) {
		n->stale++;
		return;
	}
	n->b->unknown += err == ERR_UNKNOWN;
	CU_ASSERT(err == 0 || err == ERR_UNKNOWN || err == ERR_EXIST); /* EXIST: an earlier reign's */
	n->written++;
	write_more(n);
}

static void write_more(struct node *n)
{
	if (!n->b->writing || !n->reign || n->next >= WRITES)
		return;
	char path[64];
	snprintf(path, sizeof(path), "/consumers/w%d", n->next);
	struct write *w = write_new(n->next % 2 ? WRITE_FAST : WRITE_BULK, on_written, n, (void *)(intptr_t)n->next);
	write_create(w, path, slice_str("x"));
	n->next++;
	writer_submit(&n->wr, w);
}

static void begin(void *ctx, int32_t epoch, int32_t epoch_version, bool lineage_ok)
{
	struct node *n = ctx;
	CU_ASSERT_FATAL(epoch > 0 && epoch < EPOCHS);
	n->b->reigns[epoch]++;
	CU_ASSERT_EQUAL(n->b->reigns[epoch], 1);      /* an epoch belongs to one */
	CU_ASSERT(epoch > n->b->highest || n->b->highest == 0 || n->b->reigns[epoch] == 1);
	if (epoch > n->b->highest)
		n->b->highest = epoch;
	CU_ASSERT_EQUAL(lineage_ok, !n->b->foreign);
	struct str s = {0};
	struct zk_stat st;
	char text[16];
	snprintf(text, sizeof(text), "%d", epoch);
	if (sim_zk_read(n->b->sim, "/chroot/controller_epoch", &s, &st) == 0 && strcmp(str_cstr(&s), text) == 0) /* else it was overtaken already */
		CU_ASSERT_EQUAL(st.version, epoch_version);
	str_fini(&s);
	n->reign = true;
	writer_start(&n->wr, n->e.zk, epoch_version);
	for (int i = 0; i < 4; i++)
		write_more(n);
}
static void end(void *ctx, const char *why)
{
	struct node *n = ctx;
	n->reign = false;
	writer_stop(&n->wr);
}
static void nobody(void *ctx, int32_t id, int32_t *total, int32_t *deaf) {}
static void phase(void *ctx, enum elect_phase p, const char *reason) {}
static void deposed(void *ctx) { elect_deposed(&((struct node *)ctx)->e); }
static void barrier(void *ctx, void (*fn)(void *, int), void *arg) { elect_barrier(&((struct node *)ctx)->e, fn, arg); }

static void drop_conn(struct listener *ln, struct conn *c, void *ctx) { conn_close(c); }

static void *node_start(struct env *env, struct loop *control, void *arg)
{
	struct { struct bench *b; int idx; } *a = arg;
	struct node *n = MEM_NEW(struct node);
	n->b = a->b;
	n->idx = a->idx;
	n->env = env;
	struct elect_config ec = {.id = a->b->same_id ? 1 : a->idx + 1, .host = str_cstr(&a->b->ip[a->idx]), .port = 1, .incarnation = env_random_u64(env), .version = "test",
				  .zookeeper_connect = str_cstr(&a->b->zk), .session_timeout_ms = 4000, .silence_ms = 1000};
	struct listener *ln;
	if (a->b->listening)
		CU_ASSERT_EQUAL(listener_open(control, &(struct listen_config){.host = ec.host, .port = 1, .backlog = 8, .on_accept = drop_conn}, &ln), 0);
	elect_init(&n->e, control, &ec, &(struct elect_host){n, begin, end, nobody, phase});
	writer_init(&n->wr, control, &(struct writer_host){n, deposed, barrier});
	CU_ASSERT_EQUAL_FATAL(elect_start(&n->e), 0);
	return n;
}
static void node_reap(void *root, void *arg)
{
	struct node *n = root;
	writer_stop(&n->wr);
	elect_fini(&n->e);
	writer_fini(&n->wr);
	mem_free(n);
}

static void node_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
	struct { struct bench *b; int idx; } *a = arg;
	if (status != 137) {
		a->b->exits++;
		a->b->exit_status = status;
	}
}

static struct bench *bench_new(uint64_t seed, int nodes, bool listening)
{
	struct bench *b = MEM_NEW(struct bench);
	b->listening = listening;
	struct sim_config sc;
	sim_config_init(&sc, seed);
	b->sim = sim_world_new(&sc);
	sim_zk_connect_string(b->sim, "/chroot", &b->zk);
	CU_ASSERT_EQUAL(sim_zk_create(b->sim, "/chroot", (struct slice){NULL, 0}), 0);
	for (int i = 0; i < nodes; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%d", i);
		b->hosts[i] = sim_host_new(b->sim, name);
		str_add(&b->ip[i], sim_host_ip(b->hosts[i]));
		b->args[i].b = b;
		b->args[i].idx = i;
		b->prog[i] = (struct sim_program){.name = "elect", .start = node_start, .reap = node_reap, .on_exit = node_exit, .arg = &b->args[i]};
		b->procs[i] = sim_process_start(b->hosts[i], &b->prog[i]);
	}
	return b;
}
static struct node *node(struct bench *b, int i)
{
	return b->procs[i] && sim_process_alive(b->procs[i]) ? sim_process_root(b->procs[i]) : NULL;
}
static void run_ms(struct bench *b, int64_t ms) { sim_world_run_until(b->sim, sim_now_us(b->sim) + MS(ms)); }
static int reigning(struct bench *b, bool rights)
{
	int n = 0;
	for (int i = 0; i < MOST; i++) {
		struct node *d = node(b, i);
		n += d && d->reign && (!rights || elect_has_rights(&d->e));
	}
	return n;
}
static void bench_free(struct bench *b)
{
	sim_world_free(b->sim);
	str_fini(&b->zk);
	for (int i = 0; i < MOST; i++)
		str_fini(&b->ip[i]);
	mem_free(b);
}

static void test_one_of_three(void)
{
	struct bench *b = bench_new(1, 3, true);
	run_ms(b, 3000);
	CU_ASSERT_EQUAL(reigning(b, true), 1);
	CU_ASSERT_EQUAL(b->highest, 1);
	bench_free(b);
}

/* Expired sessions, dropped connections, killed processes: each epoch has one ruler, and at the end somebody rules. */
static void test_contest(void)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct bench *b = bench_new(seed, 3, seed % 2);
		struct rng *r = sim_rng(b->sim);
		sim_zk_set_drop_rate(b->sim, 0.05);
		for (int i = 0; i < 60; i++) {
			run_ms(b, 500);
			int k = (int)rng_below(r, 3);
			struct node *n = node(b, k);
			switch (rng_below(r, 6)) {
			case 0: if (n && n->e.session) (void)sim_zk_expire_session(b->sim, n->e.session); break;
			case 1: if (n && n->e.session) (void)sim_zk_drop_connection(b->sim, n->e.session); break;
			case 2: if (n) sim_process_kill(b->procs[k]); break;
			case 3: (void)sim_zk_delete(b->sim, "/chroot/controller", -1); break;
			default: break;
			}
			if (!node(b, k))
				b->procs[k] = sim_process_start(b->hosts[k], &b->prog[k]);
		}
		sim_zk_set_drop_rate(b->sim, 0);
		run_ms(b, 15000);
		CU_ASSERT_EQUAL(reigning(b, true), 1);
		struct str s = {0};
		struct zk_stat st;
		char want[16];
		snprintf(want, sizeof(want), "%d", b->highest);
		CU_ASSERT_EQUAL(sim_zk_read(b->sim, "/chroot/controller_epoch", &s, &st), 0);
		CU_ASSERT_STRING_EQUAL(str_cstr(&s), want);
		str_fini(&s);
		bench_free(b);
	}
}

/* C5: without ZooKeeper the rights lapse within a third of the session timeout; they come back with it. */
static void test_rights_lapse(void)
{
	struct bench *b = bench_new(3, 1, true);
	run_ms(b, 2500);
	struct node *n = node(b, 0);
	CU_ASSERT(n->reign && elect_has_rights(&n->e));
	sim_zk_stop_all(b->sim);
	run_ms(b, 1400);
	CU_ASSERT(!elect_has_rights(&n->e));
	CU_ASSERT(n->reign); /* suspended, not ended */
	sim_zk_start_all(b->sim);
	run_ms(b, 8000);
	CU_ASSERT_EQUAL(reigning(b, true), 1);
	bench_free(b);
}

/* C2: replies get lost; each write is told once, and what is told as done is there. */
static void test_writes_with_lost_replies(void)
{
	int unknown = 0;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		struct bench *b = bench_new(seed, 1, true);
		b->writing = true;
		sim_zk_set_drop_rate(b->sim, 0.1);
		run_ms(b, 60000);
		sim_zk_set_drop_rate(b->sim, 0);
		run_ms(b, 20000);
		struct node *n = node(b, 0);
		CU_ASSERT(n->reign);
		for (int i = 0; i < n->next; i++)
			CU_ASSERT_EQUAL(b->told[i], 1);
		CU_ASSERT(n->written > 0);
		unknown += b->unknown;
		bench_free(b);
	}
	CU_ASSERT(unknown > 0); /* or the test tests nothing */
}

/* C1: a reign whose epoch was overtaken writes nothing any more. */
static void test_deposed_writes_nothing(void)
{
	struct bench *b = bench_new(9, 1, true);
	run_ms(b, 2500);
	struct node *n = node(b, 0);
	CU_ASSERT_FATAL(n->reign);
	CU_ASSERT_EQUAL(sim_zk_set(b->sim, "/chroot/controller_epoch", slice_str("30"), -1), 0);
	CU_ASSERT_EQUAL(sim_zk_set(b->sim, "/chroot/klamm/lineage", slice_str("{\"version\":1,\"epoch\":30}"), -1), 0);
	b->writing = true;
	n->next = 0;
	sim_process_run(b->procs[0], (void (*)(void *))write_more, n);
	run_ms(b, 20);
	struct str s = {0};
	struct zk_stat st;
	CU_ASSERT_EQUAL(sim_zk_read(b->sim, "/chroot/consumers/w0", &s, &st), ERR_NOENT);
	CU_ASSERT_EQUAL(b->told[0], 1);
	CU_ASSERT_EQUAL(n->stale, 1);
	str_fini(&s);
	bench_free(b);
}

/* C5: the rights count from when a barrier began. One whose reply was read late, because this process stood still, proves nothing of the time between. */
static void test_late_barrier_reply(void)
{
	struct bench *b = bench_new(4, 1, true);
	run_ms(b, 2500);
	struct node *n = node(b, 0);
	CU_ASSERT_FATAL(n->reign);
	while (!n->e.barrier_running)
		sim_world_run_until(b->sim, sim_now_us(b->sim) + 10);
	int64_t stood_us = sim_now_us(b->sim), good_us = n->e.barrier_good_us;
	sim_process_pause(b->procs[0]);
	run_ms(b, 1800); /* above a third of the session timeout; the connection lives */
	sim_process_resume(b->procs[0]);
	for (int i = 0; i < 100000 && n->e.barrier_good_us == good_us; i++)
		sim_world_run_until(b->sim, sim_now_us(b->sim) + 10);
	CU_ASSERT(n->e.barrier_good_us > good_us && n->e.barrier_good_us <= stood_us);
	CU_ASSERT(!elect_has_rights(&n->e));
	run_ms(b, 1500);
	CU_ASSERT(elect_has_rights(&n->e));
	bench_free(b);
}

/* F2: an epoch that no lineage of ours names: a foreign controller ruled, and what only we keep true is void. */
static void test_foreign_reign_between(void)
{
	struct bench *b = bench_new(5, 1, true);
	run_ms(b, 2500);
	CU_ASSERT_FATAL(node(b, 0)->reign);
	b->foreign = true;
	CU_ASSERT_EQUAL(sim_zk_set(b->sim, "/chroot/controller_epoch", slice_str("30"), -1), 0);
	run_ms(b, 1500);
	CU_ASSERT(node(b, 0)->reign);
	CU_ASSERT_EQUAL(b->highest, 31);
	bench_free(b);
}

/* A second process with a controller.id that lives elsewhere leaves (75); the first one rules on. */
static void test_same_id_elsewhere(void)
{
	struct bench *b = bench_new(6, 1, true);
	run_ms(b, 2500);
	b->same_id = true;
	b->hosts[1] = sim_host_new(b->sim, "n1");
	str_add(&b->ip[1], sim_host_ip(b->hosts[1]));
	b->args[1].b = b;
	b->args[1].idx = 1;
	b->prog[1] = (struct sim_program){.name = "elect", .start = node_start, .reap = node_reap, .on_exit = node_exit, .arg = &b->args[1]};
	b->procs[1] = sim_process_start(b->hosts[1], &b->prog[1]);
	run_ms(b, 3000);
	CU_ASSERT(!node(b, 1));
	CU_ASSERT_EQUAL(b->exits, 1);
	CU_ASSERT_EQUAL(b->exit_status, 75);
	CU_ASSERT(node(b, 0)->reign);
	CU_ASSERT_EQUAL(b->highest, 1);
	bench_free(b);
}

/* Two standbys find the active one dead at the same time: the epoch that both have read belongs to one of them. */
static void test_two_usurp_at_once(void)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct bench *b = bench_new(seed, 3, true);
		run_ms(b, 2500);
		for (int i = 0; i < MOST; i++)
			if (node(b, i)->reign)
				sim_process_kill(b->procs[i]);
		run_ms(b, 3000);
		CU_ASSERT_EQUAL(reigning(b, true), 1);
		CU_ASSERT(b->highest >= 2);
		bench_free(b);
	}
}

static void usurp(void *ctx) { elect_usurp(&((struct node *)ctx)->e, "told so by the test"); }
static void show(void *ctx) { elect_show_broker(&((struct node *)ctx)->e, 7); }

/* A5: an active one that rewrites its node is alive, whatever its standby believes. */
static void test_living_is_not_usurped(void)
{
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct bench *b = bench_new(seed, 2, true);
		run_ms(b, 2500);
		int active = node(b, 1)->reign;
		sim_process_run(b->procs[!active], usurp, node(b, !active));
		sim_process_run(b->procs[active], show, node(b, active));
		run_ms(b, 3000);
		CU_ASSERT(node(b, active)->reign);
		CU_ASSERT_EQUAL(b->highest, 1);
		bench_free(b);
	}
}

UNIT_MAIN("elect", {"one_of_three", test_one_of_three}, {"contest", test_contest}, {"rights_lapse", test_rights_lapse},
	  {"writes_with_lost_replies", test_writes_with_lost_replies}, {"deposed_writes_nothing", test_deposed_writes_nothing}, {"two_usurp_at_once", test_two_usurp_at_once},
	  {"living_is_not_usurped", test_living_is_not_usurped}, {"late_barrier_reply", test_late_barrier_reply}, {"foreign_reign_between", test_foreign_reign_between},
	  {"same_id_elsewhere", test_same_id_elsewhere})
