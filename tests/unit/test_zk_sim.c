/* test_zk_sim.c: the ZooKeeper model: the script that a real ZooKeeper answers in the same way, and what only the model can be made
 * to do: lag, limbo, lost replies, expiry, a lost quorum. */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "tests/unit/unit.h"
#include "tests/unit/zk_script.h"

static struct sim_world *new_world(uint64_t seed)
{
	struct sim_config cfg;

	sim_config_init(&cfg, seed);
	if (getenv("SIM_TRACE"))
		cfg.trace = stderr;
	return sim_world_new(&cfg);
}

static struct zk_config config(const char *chroot, struct str *connect)
{
	str_add(connect, chroot);
	return (struct zk_config){.connect = str_cstr(connect), .session_timeout_ms = 6000, .op_timeout_ms = 4000};
}

/* ---- the script ---- */

struct script_run {
	struct sim_world *w;
	struct sim_host *h[2];
	struct sim_process *p[2];
	struct loop *loop[2];
	bool done;
};

static void *script_process(struct env *env, struct loop *control, void *arg)
{
	*(struct loop **)arg = control;
	return NULL;
}

static void script_do(void *ctx, int who, void (*fn)(void *arg), void *arg)
{
	struct script_run *r = ctx;

	sim_process_run(r->p[who], fn, arg);
}

static void script_cut(void *ctx, bool on)
{
	struct script_run *r = ctx;

	for (int i = 0; i < 3; i++)
		if (on)
			sim_net_cut(r->w, r->h[0], sim_zk_host(r->w, i), false);
		else
			sim_net_heal(r->w, r->h[0], sim_zk_host(r->w, i));
}

static void script_done(void *ctx)
{
	((struct script_run *)ctx)->done = true;
}

static void script_text(uint64_t seed, struct str *out)
{
	struct script_run r = {.w = new_world(seed)};
	struct str connect;

	str_init(&connect);
	CU_ASSERT_EQUAL(sim_zk_create(r.w, "/script", slice_str("")), 0);
	sim_zk_connect_string(r.w, "/script", &connect);
	for (int i = 0; i < 2; i++) {
		struct sim_program prog = {.name = i ? "b" : "a", .start = script_process, .arg = &r.loop[i]};
		r.h[i] = sim_host_new(r.w, prog.name);
		r.p[i] = sim_process_start(r.h[i], &prog);
	}
	sim_world_run_until(r.w, 1000000);
	struct zk_script_world world = {.loop = {r.loop[0], r.loop[1]}, .connect = {str_cstr(&connect), str_cstr(&connect)},
		.run = script_do, .cut = script_cut, .done = script_done, .ctx = &r};
	struct zk_script *s = zk_script_new(&world);
	zk_script_start(s);
	while (!r.done && sim_now_us(r.w) < 120000000)
		sim_world_step(r.w);
	CU_ASSERT(r.done);
	if (!r.done)
		printf("stuck at %s (seed %llu)\n", zk_script_where(s), (unsigned long long)seed);
	zk_script_text(s, out);
	sim_world_free(r.w);
	zk_script_free(s);
	str_fini(&connect);
}

static void test_script(void)
{
	struct str want;
	char line[1024];
	FILE *f = fopen(unit_golden("zk-script.txt"), "r");

	str_init(&want);
	CU_ASSERT_PTR_NOT_NULL(f);
	while (f && fgets(line, sizeof(line), f))
		str_add(&want, line);
	if (f)
		fclose(f);
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct str got;
		str_init(&got);
		script_text(seed, &got);
		CU_ASSERT_STRING_EQUAL(str_cstr(&got), str_cstr(&want));
		if (getenv("ZK_SCRIPT_PRINT"))
			fputs(str_cstr(&got), stdout);
		str_fini(&got);
	}
	str_fini(&want);
}

/* ---- one client that counts ---- */

struct user {
	struct env *env;
	struct loop *loop;
	struct zk *zk;
	struct str connect;
	struct zk_config cfg;
	int events[4], looks, unknown, ok, failed, last_err;
	int64_t event_us[4];
	struct zk_session_id session;
	struct str data;
	int32_t version;
	int64_t reply_us;
	struct zk_session_id old;
	int ended;
	bool reopen;
};

static void user_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct user *u = ctx;

	CU_ASSERT_PTR_EQUAL(loop_current(), u->loop);
	u->events[ev->event]++;
	u->event_us[ev->event] = env_now_us(u->env);
	if (ev->event == ZK_CONNECTED)
		u->session = ev->session;
	if (ev->event == ZK_EXPIRED && u->reopen)
		zk_reopen(zk);
}

static void *user_start(struct env *env, struct loop *control, void *arg)
{
	struct user *u = arg;

	u->env = env;
	u->loop = control;
	u->cfg.on_event = user_event;
	u->cfg.ctx = u;
	CU_ASSERT_EQUAL(zk_open(control, &u->cfg, &u->zk), 0);
	return u;
}

static struct sim_process *user_new(struct sim_world *w, const char *host, struct user *u)
{
	struct sim_program prog = {.name = host, .start = user_start, .arg = u};
	struct sim_host *h = sim_host_find(w, host);

	if (!u->cfg.connect) {
		str_init(&u->connect);
		sim_zk_connect_string(w, "", &u->connect);
		u->cfg = config("", &u->connect);
	}
	return sim_process_start(h ? h : sim_host_new(w, host), &prog);
}

static void user_fini(struct user *u)
{
	str_fini(&u->connect);
	str_fini(&u->data);
}

static void count_result(struct user *u, int err)
{
	u->last_err = err;
	u->reply_us = env_now_us(u->env);
	if (!err)
		u->ok++;
	else if (err == ERR_UNKNOWN)
		u->unknown++;
	else
		u->failed++;
}

static void did_create(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	count_result(ctx, err);
}

static void did_set(void *ctx, int err, const struct zk_stat *st)
{
	count_result(ctx, err);
}

static void did_get(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct user *u = ctx;

	count_result(u, err);
	str_clear(&u->data);
	if (err)
		return;
	str_add_bytes(&u->data, data.ptr, data.len);
	CU_ASSERT(st->version >= u->version); /* never back */
	u->version = st->version;
}

static void did_multi(void *ctx, int err, const struct zk_op_result *results, size_t n)
{
	count_result(ctx, err);
}

static void looks(void *ctx, const char *path)
{
	((struct user *)ctx)->looks++;
}

static void create_x(void *ctx) { struct user *u = ctx; zk_create(u->zk, "/x", slice_str("0"), 0, did_create, u); }
static void create_eph(void *ctx) { struct user *u = ctx; zk_create(u->zk, "/eph", slice_str("0"), ZK_EPHEMERAL, did_create, u); }
static void set_x(void *ctx) { struct user *u = ctx; zk_set(u->zk, "/x", slice_str("s"), -1, did_set, u); }
static void get_x(void *ctx) { struct user *u = ctx; zk_get(u->zk, "/x", did_get, u); }
static void observe_x(void *ctx) { struct user *u = ctx; zk_observe(u->zk, "/x", ZK_OBSERVE_NODE, looks, u); }
static void barrier(void *ctx)
{
	struct user *u = ctx;
	struct zk_op op = {.kind = ZK_OP_CHECK, .path = "/x", .version = -1};

	zk_multi(u->zk, &op, 1, did_multi, u);
}

static void run_ms(struct sim_world *w, int64_t ms)
{
	sim_world_run_until(w, sim_now_us(w) + ms * 1000);
}

/* Lost replies: what was UNKNOWN happened in some runs and not in others. */
static void test_lost_replies(void)
{
	int happened = 0, not = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct sim_world *w = new_world(seed);
		struct user u = {0};
		struct sim_process *p = user_new(w, "h", &u);

		run_ms(w, 2000);
		sim_zk_set_drop_rate(w, 1);
		sim_process_run(p, create_x, &u);
		run_ms(w, 2000);
		CU_ASSERT_EQUAL(u.ok, 0);
		CU_ASSERT_EQUAL(u.unknown, 1);
		sim_zk_set_drop_rate(w, 0);
		if (sim_zk_read(w, "/x", NULL, NULL) == 0)
			happened++;
		else
			not ++;
		CU_ASSERT_EQUAL(u.events[ZK_SUSPENDED], 1);
		CU_ASSERT_EQUAL(u.events[ZK_EXPIRED], 0);
		sim_world_free(w);
		user_fini(&u);
	}
	CU_ASSERT(happened > 5);
	CU_ASSERT(not > 5);
}

/* A plain read of a lagging server is stale, a read behind a barrier is not; no session ever sees time go back. */
static void test_stale_reads(void)
{
	int stale = 0;

	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct sim_world *w = new_world(seed);
		struct user u = {0};
		struct sim_process *p = user_new(w, "h", &u);

		run_ms(w, 2000);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/x", slice_str("0")), 0);
		run_ms(w, 1000);
		for (int i = 0; i < 3; i++)
			sim_zk_set_lag(w, i, 300000);
		CU_ASSERT_EQUAL(sim_zk_set(w, "/x", slice_str("new"), 0), 0);
		CU_ASSERT_EQUAL(sim_zk_set(w, "/x", slice_str("new"), 0), ERR_BADVERSION);
		sim_process_run(p, get_x, &u);
		run_ms(w, 250);
		stale += !strcmp(str_cstr(&u.data), "0");
		sim_process_run(p, barrier, &u);
		sim_process_run(p, get_x, &u);
		run_ms(w, 500);
		CU_ASSERT_STRING_EQUAL(str_cstr(&u.data), "new");
		sim_world_free(w);
		user_fini(&u);
	}
	CU_ASSERT(stale > 5 && stale < 30); /* some are connected to the leader */
}

/* Expiry is decided by the servers; the client hears it when it comes back, and has given up its rights before. */
static void test_expiry(void)
{
	struct sim_world *w = new_world(5);
	struct user u = {0};
	struct sim_process *p = user_new(w, "h", &u);
	struct zk_stat st;

	run_ms(w, 2000);
	sim_process_run(p, create_eph, &u);
	run_ms(w, 100);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, &st), 0);
	CU_ASSERT_EQUAL(st.ephemeral_owner, u.session.id);
	int64_t cut_us = sim_now_us(w);
	sim_net_isolate(w, sim_host_find(w, "h"));
	run_ms(w, 5000);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), 0);
	CU_ASSERT_EQUAL(u.events[ZK_SUSPENDED], 1);
	CU_ASSERT_EQUAL(u.events[ZK_RIGHTS_LOST], 1);
	CU_ASSERT(u.event_us[ZK_RIGHTS_LOST] <= cut_us + 4300000);
	run_ms(w, 5000);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), ERR_NOENT);
	CU_ASSERT_EQUAL(u.events[ZK_EXPIRED], 0);
	CU_ASSERT(!zk_connected(u.zk));
	sim_net_heal_all(w);
	run_ms(w, 5000);
	CU_ASSERT_EQUAL(u.events[ZK_EXPIRED], 1);
	CU_ASSERT_EQUAL(u.events[ZK_RIGHTS_LOST], 1);
	sim_process_run(p, get_x, &u);
	run_ms(w, 100);
	CU_ASSERT_EQUAL(u.last_err, ERR_EXPIRED);
	sim_world_free(w);
	user_fini(&u);
}

/* A killed process: its session lives on until the timeout, unless its successor ends it. */
static void did_end(void *ctx, int err)
{
	struct user *u = ctx;

	CU_ASSERT_EQUAL(err, 0);
	u->ended++;
}

static void end_old(void *ctx)
{
	struct user *u = ctx;

	zk_end_session(u->zk, &u->old, did_end, u);
}

static void test_end_session(void)
{
	struct sim_world *w = new_world(6);
	struct user u = {0}, next = {0};
	struct sim_process *p = user_new(w, "h", &u);

	run_ms(w, 2000);
	sim_process_run(p, create_eph, &u);
	run_ms(w, 100);
	sim_process_kill(p);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), 0);
	next.old = u.session;
	p = user_new(w, "h", &next);
	run_ms(w, 500);
	next.old.password[3] ^= 1; /* somebody who does not know the password ends nothing */
	sim_process_run(p, end_old, &next);
	run_ms(w, 200);
	CU_ASSERT_EQUAL(next.ended, 1);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), 0);
	next.old.password[3] ^= 1;
	sim_process_run(p, end_old, &next);
	run_ms(w, 200);
	CU_ASSERT_EQUAL(next.ended, 2);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), ERR_NOENT);
	sim_world_free(w);
	user_fini(&u);
	user_fini(&next);
}

/* The ensemble goes away for a minute: nobody expires, operations wait and time out, all goes on afterwards. */
static void test_ensemble_away(void)
{
	struct sim_world *w = new_world(7);
	struct user u = {0};
	struct sim_process *p = user_new(w, "h", &u);

	run_ms(w, 2000);
	sim_process_run(p, create_eph, &u);
	run_ms(w, 100);
	sim_zk_stop_all(w);
	CU_ASSERT_EQUAL(sim_zk_leader(w), -1);
	CU_ASSERT_EQUAL(sim_zk_set(w, "/eph", slice_str("x"), -1), ERR_TIMEOUT);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(u.events[ZK_SUSPENDED], 1);
	sim_process_run(p, get_x, &u);
	run_ms(w, 60000);
	CU_ASSERT_EQUAL(u.last_err, ERR_TIMEOUT);
	sim_process_run(p, get_x, &u);
	run_ms(w, 1000);
	sim_zk_start_all(w);
	run_ms(w, 2500);
	CU_ASSERT_EQUAL(u.last_err, ERR_NOENT); /* waited and was sent */
	CU_ASSERT_EQUAL(u.events[ZK_CONNECTED], 2);
	CU_ASSERT_EQUAL(u.events[ZK_EXPIRED], 0);
	CU_ASSERT_EQUAL(sim_zk_read(w, "/eph", NULL, NULL), 0);
	sim_world_free(w);
	user_fini(&u);
}

/* Two of three servers gone: no write is acknowledged; a write in limbo may still happen when they are back. */
static void test_limbo(void)
{
	int happened = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_world *w = new_world(seed);
		struct user u = {0};
		struct sim_process *p = user_new(w, "h", &u);

		run_ms(w, 2000);
		int leader = sim_zk_leader(w);
		struct sim_host *l = sim_zk_host(w, leader);
		for (int i = 0; i < 3; i++)
			if (i != leader)
				sim_net_cut(w, l, sim_zk_host(w, i), false);
		sim_process_run(p, create_x, &u);
		run_ms(w, 300);
		CU_ASSERT_EQUAL(u.ok, 0);
		CU_ASSERT_EQUAL(sim_zk_read(w, "/x", NULL, NULL), ERR_NOENT);
		sim_net_heal_all(w);
		run_ms(w, 8000);
		CU_ASSERT_EQUAL(u.ok + u.unknown, 1);
		int there = sim_zk_read(w, "/x", NULL, NULL) == 0;
		CU_ASSERT(there || !u.ok);
		happened += there;
		/* The other two elect somebody when the leader stays away. */
		for (int i = 0; i < 3; i++)
			if (i != leader)
				sim_net_cut(w, l, sim_zk_host(w, i), false);
		run_ms(w, 10000);
		CU_ASSERT(sim_zk_leader(w) >= 0 && sim_zk_leader(w) != leader);
		u.ok = 0;
		sim_process_run(p, there ? set_x : create_x, &u);
		run_ms(w, 1000);
		CU_ASSERT_EQUAL(u.ok, 1);
		sim_world_free(w);
		user_fini(&u);
	}
	CU_ASSERT(happened > 5);
}

/* An exists watch misses a node that comes and goes while disconnected; anything that is still different is noticed. */
static void test_watches_across_reconnect(void)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		for (int stays = 0; stays < 2; stays++) {
			struct sim_world *w = new_world(seed);
			struct user u = {0};
			struct sim_process *p = user_new(w, "h", &u);

			run_ms(w, 2000);
			sim_process_run(p, observe_x, &u);
			run_ms(w, 100);
			sim_net_isolate(w, sim_host_find(w, "h"));
			run_ms(w, 4500);
			CU_ASSERT_EQUAL(u.events[ZK_SUSPENDED], 1);
			CU_ASSERT_EQUAL(sim_zk_create(w, "/x", slice_str("0")), 0);
			if (!stays)
				CU_ASSERT_EQUAL(sim_zk_delete(w, "/x", -1), 0);
			run_ms(w, 100);
			sim_net_heal_all(w);
			run_ms(w, 1300);
			if (u.events[ZK_EXPIRED] == 0 && u.events[ZK_CONNECTED] == 2) {
				run_ms(w, 1000);
				CU_ASSERT_EQUAL(u.looks, stays);
				CU_ASSERT_EQUAL(stays ? sim_zk_set(w, "/x", slice_str("1"), -1) : sim_zk_create(w, "/x", slice_str("1")), 0);
				run_ms(w, 1000);
				CU_ASSERT_EQUAL(u.looks, stays + 1); /* set again */
			}
			sim_world_free(w);
			user_fini(&u);
		}
}

/* The connection breaks in the middle of it all, again and again; each operation completes once. */
static void test_each_completes_once(void)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct sim_world *w = new_world(seed);
		struct user u = {.reopen = true};
		struct sim_process *p = user_new(w, "h", &u);
		struct rng *r = sim_rng(w);
		int asked = 0;

		CU_ASSERT_EQUAL(sim_zk_create(w, "/x", slice_str("0")), 0);
		run_ms(w, 2000);
		sim_zk_set_drop_rate(w, 0.02);
		for (int i = 0; i < 1500; i++) {
			static void (*const calls[])(void *ctx) = {set_x, get_x, barrier, observe_x};
			uint64_t which = rng_below(r, 4);
			asked += which < 3;
			sim_process_run(p, calls[which], &u);
			run_ms(w, (int64_t)rng_below(r, 20));
			if (rng_below(r, 100) == 0)
				sim_zk_drop_connection(w, u.session.id);
			if (rng_below(r, 300) == 0)
				sim_zk_expire_session(w, u.session.id);
			if (rng_below(r, 200) == 0)
				sim_zk_stop_server(w, (int)rng_below(r, 3));
			if (rng_below(r, 100) == 0)
				sim_zk_start_all(w);
		}
		sim_zk_start_all(w);
		run_ms(w, 10000);
		CU_ASSERT_EQUAL(u.ok + u.unknown + u.failed, asked);
		CU_ASSERT(u.ok > 500);
		CU_ASSERT(u.unknown > 0);
		CU_ASSERT(u.looks > 0);
		CU_ASSERT(zk_connected(u.zk));
		sim_world_free(w);
		user_fini(&u);
	}
}

static void test_bad_connect(void)
{
	struct sim_world *w = new_world(1);
	struct user u = {0};
	struct zk *zk;

	user_new(w, "h", &u);
	run_ms(w, 1000);
	static const char *const bad[] = {"", "10.0.0.1", "10.0.0.1:x", "10.0.0.1:2181/a//b", "10.9.9.9:2181"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct zk_config cfg = {.connect = bad[i], .session_timeout_ms = 6000};
		CU_ASSERT_EQUAL(zk_open(u.loop, &cfg, &zk), ERR_INVAL);
	}
	sim_world_free(w);
	user_fini(&u);
}

UNIT_MAIN("zk_sim", {"script", test_script}, {"lost_replies", test_lost_replies}, {"stale_reads", test_stale_reads}, {"expiry", test_expiry},
	{"end_session", test_end_session}, {"ensemble_away", test_ensemble_away}, {"limbo", test_limbo},
	{"watches_across_reconnect", test_watches_across_reconnect}, {"each_completes_once", test_each_completes_once}, {"bad_connect", test_bad_connect})
