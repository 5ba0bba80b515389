/* test_env_sim.c: the simulated world: determinism, timers and messages, processes. Network, disks and the ZooKeeper model have programs
 * of their own (test_net_sim.c, test_disk_sim.c, test_zk_sim.c). */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "tests/unit/sim_body.h"
#include "tests/unit/unit.h"

/* ---- timers, messages, deferred ---- */

struct order {
	struct loop *control, *data;
	struct timer a, b, stopped;
	struct deferred d1, d2, cancelled;
	struct msg msgs[100];
	int got, fired_a, fired_b, fired_stopped, deferred_ran;
	int64_t set_us, a_us, b_us;
	bool in_order, deferred_after;
};

static void on_a(void *ctx)
{
	struct order *o = ctx;

	o->fired_a++;
	o->a_us = loop_now_us(o->control);
	timer_stop(&o->stopped);
}

static void on_b(void *ctx)
{
	struct order *o = ctx;

	o->fired_b++;
	o->b_us = loop_now_us(o->control);
}

static void on_stopped(void *ctx)
{
	((struct order *)ctx)->fired_stopped++;
}

static void on_deferred(void *ctx)
{
	((struct order *)ctx)->deferred_ran++;
}

static struct order *the_order;

static void on_msg(struct msg *m)
{
	struct order *o = the_order;

	CU_ASSERT_PTR_EQUAL(loop_current(), m->to);
	if (m->to == o->data) {
		o->in_order &= m == &o->msgs[o->got];
		o->got++;
		loop_post(m->from, m);
	} else {
		o->got++;
	}
}

static void order_body(struct env *env, struct loop *control, void *arg)
{
	struct order *o = arg;

	o->control = control;
	o->data = loop_new(env, 0, "data-0");
	timer_init(&o->a, control, on_a, o);
	timer_init(&o->b, control, on_b, o);
	timer_init(&o->stopped, control, on_stopped, o);
	o->set_us = env_now_us(env);
	timer_set_us(&o->b, 2000);
	timer_set_us(&o->a, 900);
	timer_set_us(&o->a, 1000); /* arms anew */
	timer_set_us(&o->stopped, 100000);
	deferred_init(&o->d1, on_deferred, o);
	deferred_init(&o->d2, on_deferred, o);
	deferred_init(&o->cancelled, on_deferred, o);
	loop_defer(control, &o->d1);
	loop_defer(control, &o->cancelled);
	loop_defer(control, &o->d2);
	loop_defer(control, &o->d2);
	deferred_cancel(control, &o->cancelled);
	o->deferred_after = o->deferred_ran == 0;
	o->in_order = true;
	for (size_t i = 0; i < ARRAY_LEN(o->msgs); i++) {
		o->msgs[i].deliver = on_msg;
		loop_post(o->data, &o->msgs[i]);
	}
}

static void test_loops(void)
{
	struct sim_world *w = quiet_world(1, 0);
	struct order o = {0};
	struct body b = {.run = order_body, .arg = &o};

	the_order = &o;
	run_body(sim_host_new(w, "h"), &b);
	sim_world_run_until(w, 1000000);
	CU_ASSERT_EQUAL(o.fired_a, 1);
	CU_ASSERT_EQUAL(o.fired_b, 1);
	CU_ASSERT_EQUAL(o.fired_stopped, 0);
	CU_ASSERT(o.a_us >= o.set_us + 1000 && o.a_us < o.set_us + 10000);
	CU_ASSERT(o.b_us >= o.set_us + 2000 && o.b_us < o.set_us + 10000);
	CU_ASSERT(o.deferred_after);
	CU_ASSERT_EQUAL(o.deferred_ran, 2);
	CU_ASSERT(o.in_order);
	CU_ASSERT_EQUAL(o.got, 200);
	CU_ASSERT_EQUAL(sim_now_us(w), 1000000);
	sim_world_free(w);
	CU_ASSERT_EQUAL(b.reaped, 1);
}

/* ---- processes ---- */

static void exit_body(struct env *env, struct loop *control, void *arg)
{
	char boot[ENV_BOOT_ID_LEN + 1];

	env_boot_id(env, boot);
	str_add(arg, boot);
	env_exit(env, 75, "somebody else is here");
	CU_ASSERT(env_pid(env) > 0); /* still here until it returns */
}

static void test_exit_and_boot_id(void)
{
	struct sim_world *w = quiet_world(6, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct str ids;
	struct body b = {.run = exit_body, .arg = &ids};

	str_init(&ids);
	struct sim_process *p = run_body(h, &b);
	sim_world_run_until(w, 1000000);
	CU_ASSERT_EQUAL(b.exit_status, 75);
	CU_ASSERT_EQUAL(b.reaped, 1);
	CU_ASSERT(!sim_process_alive(p));
	run_body(h, &b);
	sim_world_run_until(w, 2000000);
	CU_ASSERT(memcmp(ids.ptr, ids.ptr + ENV_BOOT_ID_LEN, ENV_BOOT_ID_LEN) == 0);
	sim_host_power_cut(h);
	sim_host_power_on(h);
	run_body(h, &b);
	sim_world_run_until(w, 3000000);
	CU_ASSERT(memcmp(ids.ptr, ids.ptr + 2 * ENV_BOOT_ID_LEN, ENV_BOOT_ID_LEN) != 0);
	str_fini(&ids);
	sim_world_free(w);
}

/* Reaping frees with every call of the seam allowed and without effect. */
struct reaped {
	struct file *f;
	struct conn *c;
	struct timer t;
	struct file_op op;
	struct listener *ln;
	struct sim_process *p;
};

static const struct conn_handler reaped_handler = {0}; /* nothing comes any more */

static void *reaped_start(struct env *env, struct loop *control, void *arg)
{
	struct reaped *r = arg;
	struct loop *data = loop_new(env, 0, "data-0");
	struct chain ch;

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &r->f), 0);
	r->c = conn_connect(control, "localhost", 1, 100000, &reaped_handler, r);
	timer_init(&r->t, control, on_stopped, NULL);
	timer_set_ms(&r->t, 1000000);
	CU_ASSERT_EQUAL(listener_open(data, &(struct listen_config){.host = "", .port = 0}, &r->ln), 0);
	chain_init(&ch);
	chain_add_copy(&ch, "pending", 7);
	file_append(control, r->f, &r->op, 0, &ch);
	sim_process_kill(r->p); /* takes effect when this returns */
	return r;
}

static void reaped_reap(void *root, void *arg)
{
	struct reaped *r = root;

	CU_ASSERT_PTR_EQUAL(root, arg);
	timer_stop(&r->t);
	timer_set_ms(&r->t, 1);
	conn_close(r->c);
	listener_close(r->ln); /* belongs to another loop */
	CU_ASSERT_EQUAL(fs_unlink(r->f->env, "/f"), ERR_IO);
	file_unref(r->f);
}

static void test_reap(void)
{
	struct reaped r = {0};
	struct sim_world *w = quiet_world(7, 0);
	struct sim_program prog = {.name = "r", .start = reaped_start, .reap = reaped_reap, .arg = &r};

	r.p = sim_process_start(sim_host_new(w, "h"), &prog);
	sim_world_run_until(w, 1000000);
	CU_ASSERT(!sim_process_alive(r.p));
	CU_ASSERT_EQUAL(sim_process_status(r.p), 137);
	sim_world_free(w);
}

static void health(void *ctx, const char *method, const char *path, struct http_reply *reply)
{
	reply->status = 503;
	str_printf(reply->body, "%s %s", method, path);
}

static void http_body(struct env *env, struct loop *control, void *arg)
{
	struct http *h;
	uint16_t port;

	CU_ASSERT_EQUAL(http_open(control, "127.0.0.1", 8080, health, NULL, &h, &port), 0);
	CU_ASSERT_EQUAL(port, 8080);
	CU_ASSERT_EQUAL(http_open(control, "10.9.9.9", 8081, health, NULL, &h, &port), ERR_INVAL);
}

static void test_http(void)
{
	struct sim_world *w = quiet_world(8, 0);
	struct body b = {.run = http_body};
	struct sim_process *p = run_body(sim_host_new(w, "h"), &b);
	struct str s;
	int status = 0;

	str_init(&s);
	CU_ASSERT_EQUAL(sim_http_get(p, "/health", &s, &status), ERR_NOENT);
	sim_world_run_until(w, 1000000);
	CU_ASSERT_EQUAL(sim_http_get(p, "/health", &s, &status), 0);
	CU_ASSERT_EQUAL(status, 503);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "GET /health");
	str_fini(&s);
	sim_world_free(w);
}

/* ---- a loop that is stuck shows it ---- */

static void test_stall(void)
{
	struct order o = {0};
	struct sim_world *w = quiet_world(9, 0);
	struct body b = {.run = order_body, .arg = &o};

	the_order = &o;
	struct sim_process *p = run_body(sim_host_new(w, "h"), &b);
	sim_world_run_until(w, 500000);
	CU_ASSERT_EQUAL(o.control->turn_began_us, 0);
	sim_process_stall_loop(p, -1, 3000000);
	sim_world_run_until(w, 2000000);
	CU_ASSERT_EQUAL(o.control->turn_began_us, 500000);
	sim_world_run_until(w, 4000000);
	CU_ASSERT_EQUAL(o.control->turn_began_us, 0);
	sim_world_free(w);
}

/* ---- determinism: nodes that talk, write and use ZooKeeper, with faults ---- */

struct node {
	struct env *env;
	struct loop *control, *data;
	struct zk *zk;
	struct timer t;
	struct conn *c;
	struct listener *ln;
	struct file *f;
	struct file_op op;
	struct msg m;
	uint8_t space[4096];
	uint64_t pos, sent, got;
	bool appending, posted;
	int idx;
	char peer[16];
};

static bool node_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct node *n = ctx;

	*ret_ptr = n->space;
	*ret_len = sizeof(n->space);
	return true;
}

static void node_in(struct conn *c, void *ctx, size_t len)
{
	((struct node *)ctx)->got += len;
}

static void node_gone(struct conn *c, void *ctx, int err)
{
	struct node *n = ctx;

	if (n->c == c)
		n->c = NULL;
}

static const struct conn_handler node_handler = {.on_space = node_space, .on_data = node_in, .on_closed = node_gone};

static void node_accept(struct listener *ln, struct conn *c, void *ctx)
{
	c->handler = &node_handler;
	c->ctx = ctx;
}

static void node_appended(struct file_op *op)
{
	struct node *n = CONTAINER_OF(op, struct node, op);

	n->appending = false;
	n->pos += op->len;
}

static void node_set(void *ctx, int err, const struct zk_stat *st)
{
}

static void node_created(void *ctx, int err, const char *path, const struct zk_stat *st)
{
}

static void node_msg(struct msg *m)
{
	struct node *n = CONTAINER_OF(m, struct node, m);

	if (m->to == n->data)
		loop_post(n->control, m);
	else
		n->posted = false;
}

static void node_beat(void *ctx)
{
	struct node *n = ctx;
	char text[64];
	struct chain ch;

	timer_set_us(&n->t, 1000 + (int64_t)env_random_below(n->env, 5000));
	if (!n->c)
		n->c = conn_connect(n->control, n->peer, 9092, 1000, &node_handler, n);
	snprintf(text, sizeof(text), "node %d beat %llu", n->idx, (unsigned long long)n->sent++);
	chain_init(&ch);
	chain_add_copy(&ch, text, strlen(text));
	if (n->c->queued < 100000)
		conn_send(n->c, &ch);
	if (!n->appending) {
		n->appending = true;
		n->op.done = node_appended;
		chain_add_copy(&ch, text, strlen(text));
		file_append(n->control, n->f, &n->op, n->pos, &ch);
	}
	chain_clear(&ch);
	if (!n->posted) {
		n->posted = true;
		n->m.deliver = node_msg;
		loop_post(n->data, &n->m);
	}
	if (n->sent % 20 == 0)
		zk_set(n->zk, "/shared", slice_str(text), -1, node_set, NULL);
}

static void node_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	if (ev->event == ZK_EXPIRED)
		zk_reopen(zk);
	if (ev->event == ZK_CONNECTED && !ev->resumed)
		zk_create(zk, "/shared", slice_str("x"), 0, node_created, NULL);
}

static void *node_start(struct env *env, struct loop *control, void *arg)
{
	struct node *n = MEM_NEW(struct node);
	struct listen_config lc = {.host = "", .port = 9092, .on_accept = node_accept, .ctx = n};
	struct zk_config zc = {.connect = "10.0.0.1:2181,10.0.0.2:2181,10.0.0.3:2181", .session_timeout_ms = 6000, .op_timeout_ms = 3000,
		.on_event = node_event, .ctx = n};

	n->env = env;
	n->control = control;
	n->idx = (int)(intptr_t)arg;
	snprintf(n->peer, sizeof(n->peer), "10.0.0.%d", 4 + (n->idx + 1) % 3);
	n->data = loop_new(env, 0, "data-0");
	ASSERT(listener_open(control, &lc, &n->ln) == 0);
	int err = fs_open(env, "/log", FS_WRITE | FS_CREATE, &n->f);
	ASSERT(err == 0 && file_size_now(n->f, &n->pos) == 0);
	ASSERT(zk_open(control, &zc, &n->zk) == 0);
	timer_init(&n->t, control, node_beat, n);
	timer_set_ms(&n->t, 1);
	return n;
}

static void node_reap(void *root, void *arg)
{
	struct node *n = root;

	file_unref(n->f);
	zk_close(n->zk, NULL, NULL);
	mem_free(n);
}

static uint64_t cluster_hash(uint64_t seed, char hash[65])
{
	struct sim_world *w = quiet_world(seed, 3);
	struct sim_host *h[3];
	struct sim_process *p[3];
	struct sim_program prog = {.name = "node", .start = node_start, .reap = node_reap};
	struct rng *r = sim_rng(w);

	for (intptr_t i = 0; i < 3; i++) {
		char name[8];
		snprintf(name, sizeof(name), "n%d", (int)i);
		h[i] = sim_host_new(w, name);
		prog.arg = (void *)i;
		p[i] = sim_process_start(h[i], &prog);
	}
	for (int step = 0; step < 20; step++) {
		sim_world_run_until(w, sim_now_us(w) + 500000);
		uint64_t i = rng_below(r, 3), k = (i + 1) % 3;
		switch (rng_below(r, 5)) {
		case 0:
			sim_process_kill(p[i]);
			break;
		case 1:
			sim_host_power_cut(h[i]);
			sim_host_power_on(h[i]);
			break;
		case 2:
			sim_net_cut(w, h[i], h[k], rng_below(r, 2));
			break;
		case 3:
			sim_net_heal_all(w);
			sim_zk_start_all(w);
			break;
		default:
			sim_zk_stop_server(w, (int)rng_below(r, 3));
			break;
		}
		for (intptr_t n = 0; n < 3; n++)
			if (!sim_process_alive(p[n])) {
				prog.arg = (void *)n;
				p[n] = sim_process_start(h[n], &prog);
			}
	}
	uint64_t events = sim_events(w);
	sim_world_hash_hex(w, hash);
	sim_world_free(w);
	return events;
}

static void test_determinism(void)
{
	char first[65], again[65], other[65];

	for (uint64_t seed = 100; seed < 110; seed++) {
		uint64_t events = cluster_hash(seed, first);
		/* Another layout of the heap must make no difference. */
		void *gap = malloc(12345 + seed);
		CU_ASSERT_EQUAL(cluster_hash(seed, again), events);
		free(gap);
		CU_ASSERT_STRING_EQUAL(first, again);
		cluster_hash(seed + 1000, other);
		CU_ASSERT_STRING_NOT_EQUAL(first, other);
		CU_ASSERT(events > 10000);
	}
}

UNIT_MAIN("env_sim", {"loops", test_loops}, {"exit_and_boot_id", test_exit_and_boot_id}, {"reap", test_reap}, {"http", test_http},
	{"stall", test_stall}, {"determinism", test_determinism})
