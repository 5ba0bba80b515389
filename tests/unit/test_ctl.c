/* test_ctl.c: brokerd/link/ctl.c in the simulated world: how a broker finds its controllers. */
#include <string.h>

#include "brokerd/link/ctl_priv.h"
#include "common/env/sim/sim.h"
#include "tests/unit/unit.h"

struct node { /* a broker as far as its controllers go */
	struct broker_config cfg;
	struct str connect;
	struct zk *zk;
	struct ctl *ctl;
	int64_t session;
};

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct node *n = ctx;
	if (ev->event == ZK_CONNECTED && !ev->resumed) {
		n->session = ev->session.id;
		ctl_watch_controllers(n->ctl, zk);
	}
	if (ev->event == ZK_EXPIRED)
		zk_reopen(zk);
}

static struct ctl_stall no_stall(void *ctx)
{
	return (struct ctl_stall){0};
}

static void *node_run(struct env *env, struct loop *control, void *arg)
{
	struct node *n = arg;
	struct zk_config zc = {.connect = str_cstr(&n->connect), .session_timeout_ms = 6000, .op_timeout_ms = 4000, .on_event = on_event, .ctx = n};
	struct ctl_init ci = {.env = env, .loop = control, .config = &n->cfg, .version = "1", .events = {.ctx = n}, .stall = no_stall};
	n->ctl = ctl_new(&ci);
	CU_ASSERT_EQUAL(zk_open(control, &zc, &n->zk), 0);
	return n;
}

static void node_reap(void *root, void *arg)
{
	struct node *n = arg;
	(void)root;
	ctl_free(n->ctl);
	n->ctl = NULL;
}

static void node_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
}

/* The connection to ZooKeeper breaks at some moment of the first look, with replies on their way; the controller stays as it is, so that nothing
 * tells the broker to look again. */
static void test_found_after_a_loss(void)
{
	for (int64_t after_us = 0; after_us <= 6000; after_us += 100) {
		struct sim_config cfg;
		struct node n = {.cfg.broker_id = 1};
		sim_config_init(&cfg, 5);
		cfg.zk_servers = 1;
		struct sim_world *w = sim_world_new(&cfg);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm", (struct slice){0}), 0);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm/controllers", (struct slice){0}), 0);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm/controllers/101", slice_str("{\"version\":1,\"id\":101,\"host\":\"10.0.0.99\",\"port\":9093,\"incarnation\":\"0000000000000001\"}")), 0);
		sim_zk_connect_string(w, "", &n.connect);
		sim_process_start(sim_host_new(w, "broker"), &(struct sim_program){.name = "node", .start = node_run, .reap = node_reap, .on_exit = node_exit, .arg = &n});
		while (!n.session && sim_now_us(w) < 5000000)
			sim_world_run_until(w, sim_now_us(w) + 50);
		sim_world_run_until(w, sim_now_us(w) + after_us);
		(void)sim_zk_drop_connection(w, n.session);
		sim_world_run_until(w, sim_now_us(w) + 8000000);
		CU_ASSERT(n.ctl && !list_empty(&n.ctl->peers));
		sim_world_free(w);
		str_fini(&n.connect);
	}
}

UNIT_MAIN("ctl", {"found_after_a_loss", test_found_after_a_loss})
