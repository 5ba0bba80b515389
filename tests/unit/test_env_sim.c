/* test_env_sim.c: the simulated world: determinism, timers and messages, network faults, disks after power cuts, jobs, processes.
 * The ZooKeeper model has its own program (test_zk_sim.c). */
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "tests/unit/unit.h"

/* ---- a world with quiet defaults, and one process whose body is a function ---- */

static struct sim_world *quiet_world(uint64_t seed, int zk_servers)
{
	struct sim_config cfg;

	sim_config_init(&cfg, seed);
	cfg.zk_servers = zk_servers;
	if (getenv("SIM_TRACE"))
		cfg.trace = stderr;
	return sim_world_new(&cfg);
}

struct body {
	void (*run)(struct env *env, struct loop *control, void *arg);
	void *arg;
	int exit_status;
	int reaped;
};

static void *body_start(struct env *env, struct loop *control, void *arg)
{
	struct body *b = arg;

	b->run(env, control, b->arg);
	return b;
}

static void body_reap(void *root, void *arg)
{
	struct body *b = arg;

	b->reaped++;
}

static void body_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
	((struct body *)arg)->exit_status = status;
}

static struct sim_process *run_body(struct sim_host *h, struct body *b)
{
	struct sim_program prog = {.name = "body", .start = body_start, .reap = body_reap, .on_exit = body_exit, .arg = b};

	b->exit_status = -1;
	return sim_process_start(h, &prog);
}

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

/* ---- connections ---- */

struct end {
	struct loop *loop;
	struct conn *c;
	struct listener *ln;
	struct str got;
	uint8_t space[333];
	int opened, closed, err;
	uint64_t left;
	bool echo, stop;
	int64_t closed_us;
	const char *host;
	uint16_t port;
	const char *say;
	size_t say_times;
	int64_t timeout_ms;
	struct env *env;
};

static void end_say(struct end *e, const char *text)
{
	struct chain ch;

	chain_init(&ch);
	chain_add_copy(&ch, text, strlen(text));
	conn_send(e->c, &ch);
}

static bool end_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct end *e = ctx;

	if (e->stop)
		return false;
	*ret_ptr = e->space;
	*ret_len = sizeof(e->space);
	return true;
}

static void end_data(struct conn *c, void *ctx, size_t len)
{
	struct end *e = ctx;

	CU_ASSERT_PTR_EQUAL(loop_current(), c->loop);
	str_add_bytes(&e->got, e->space, len);
	if (e->echo) {
		struct chain ch;
		chain_init(&ch);
		chain_add_copy(&ch, e->space, len);
		conn_send(c, &ch);
	}
}

static void end_sent(struct conn *c, void *ctx, uint64_t left)
{
	((struct end *)ctx)->left = left;
}

static void end_open(struct conn *c, void *ctx)
{
	struct end *e = ctx;

	e->opened++;
	for (size_t i = 0; i < e->say_times; i++)
		end_say(e, e->say);
}

static void end_closed(struct conn *c, void *ctx, int err)
{
	struct end *e = ctx;

	e->closed++;
	e->err = err;
	e->c = NULL;
	e->closed_us = env_now_us(e->env);
}

static const struct conn_handler end_handler = {
	.on_space = end_space, .on_data = end_data, .on_sent = end_sent, .on_open = end_open, .on_closed = end_closed,
};

static void server_accept(struct listener *ln, struct conn *c, void *ctx)
{
	struct end *e = ctx;

	e->opened++;
	e->c = c;
	c->handler = &end_handler;
	c->ctx = e;
	CU_ASSERT_STRING_EQUAL(c->peer, "10.0.0.2");
}

static void server_body(struct env *env, struct loop *control, void *arg)
{
	struct end *e = arg;
	struct listen_config cfg = {.host = "", .port = 9092, .on_accept = server_accept, .ctx = e};

	e->env = env;
	e->loop = control;
	CU_ASSERT_EQUAL(listener_open(control, &cfg, &e->ln), 0);
}

static void client_body(struct env *env, struct loop *control, void *arg)
{
	struct end *e = arg;

	e->env = env;
	e->loop = control;
	e->c = conn_connect(control, e->host, e->port, e->timeout_ms, &end_handler, e);
	CU_ASSERT_PTR_NOT_NULL(e->c);
	CU_ASSERT_EQUAL(e->closed, 0);
}

struct pair {
	struct sim_world *w;
	struct sim_host *sh, *ch;
	struct end s, c;
	struct body sb, cb;
	struct sim_process *sp, *cp;
};

static void pair_init(struct pair *p, uint64_t seed)
{
	*p = (struct pair){.w = quiet_world(seed, 0)};
	p->sh = sim_host_new(p->w, "server");
	p->ch = sim_host_new(p->w, "client");
	p->c.host = "server";
	p->c.port = 9092;
	p->c.timeout_ms = 5000;
	p->sb = (struct body){.run = server_body, .arg = &p->s};
	p->cb = (struct body){.run = client_body, .arg = &p->c};
	p->sp = run_body(p->sh, &p->sb);
	sim_world_run_until(p->w, 50000);
	p->cp = run_body(p->ch, &p->cb);
}

static void pair_run(struct pair *p, int64_t us)
{
	sim_world_run_until(p->w, sim_now_us(p->w) + us);
}

static void pair_fini(struct pair *p)
{
	sim_world_free(p->w);
	str_fini(&p->s.got);
	str_fini(&p->c.got);
}

static void test_echo(void)
{
	struct pair p;

	pair_init(&p, 2);
	p.s.echo = true;
	p.c.say = "0123456789abcdefghijklmnopqrstuvwxyz";
	p.c.say_times = 500;
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.c.opened, 1);
	CU_ASSERT_EQUAL(p.s.opened, 1);
	CU_ASSERT_EQUAL(p.s.got.len, 18000);
	CU_ASSERT_EQUAL(p.c.got.len, 18000);
	for (size_t i = 0; i + 36 <= p.c.got.len; i += 36)
		CU_ASSERT(memcmp(p.c.got.ptr + i, p.c.say, 36) == 0);
	CU_ASSERT_EQUAL(p.c.left, 0);
	sim_process_kill(p.sp);
	CU_ASSERT_EQUAL(p.sb.exit_status, 137);
	CU_ASSERT_EQUAL(p.sb.reaped, 1);
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.c.closed, 1);
	CU_ASSERT(p.c.err == ERR_CLOSED || p.c.err == ERR_RESET);
	pair_fini(&p);
}

static void test_connect_errors(void)
{
	struct pair p;

	pair_init(&p, 3);
	p.c.port = 1;
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.c.err, ERR_REFUSED);
	pair_fini(&p);

	pair_init(&p, 4);
	p.c.host = "nowhere";
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.c.err, ERR_UNREACHABLE);
	pair_fini(&p);

	pair_init(&p, 5);
	sim_net_cut(p.w, p.sh, p.ch, true); /* the answers do not come back */
	pair_run(&p, 4900000);
	CU_ASSERT_EQUAL(p.c.closed, 0);
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.c.err, ERR_TIMEOUT);
	CU_ASSERT_EQUAL(p.s.opened, 0);
	pair_fini(&p);
}

static void say_hello(void *ctx)
{
	struct end *e = ctx;

	if (e->c)
		end_say(e, "hello");
}

static void test_cut_and_heal(void)
{
	struct pair p;

	pair_init(&p, 6);
	pair_run(&p, 100000);
	sim_net_cut(p.w, p.ch, p.sh, false);
	sim_process_run(p.cp, say_hello, &p.c);
	pair_run(&p, 8000000);
	CU_ASSERT_EQUAL(p.s.got.len, 0);
	CU_ASSERT_EQUAL(p.c.closed, 0);
	sim_net_heal_all(p.w);
	pair_run(&p, 3000000);
	CU_ASSERT_STRING_EQUAL(str_cstr(&p.s.got), "hello");
	/* Nobody acknowledges for longer than the kernel has patience. */
	sim_net_cut(p.w, p.ch, p.sh, true);
	sim_process_run(p.cp, say_hello, &p.c);
	pair_run(&p, 20000000);
	CU_ASSERT_EQUAL(p.c.err, ERR_TIMEOUT);
	CU_ASSERT_EQUAL(p.s.closed, 0); /* half open */
	CU_ASSERT_EQUAL(p.s.got.len, 5);
	pair_fini(&p);
}

static void test_power_cut_is_silent(void)
{
	struct pair p;

	pair_init(&p, 7);
	pair_run(&p, 100000);
	CU_ASSERT_EQUAL(p.c.opened, 1);
	sim_host_power_cut(p.sh);
	pair_run(&p, 5000000);
	CU_ASSERT_EQUAL(p.c.closed, 0);
	sim_host_power_on(p.sh);
	sim_process_run(p.cp, say_hello, &p.c);
	pair_run(&p, 5000000);
	CU_ASSERT_EQUAL(p.c.err, ERR_RESET); /* the new kernel knows no such connection */
	pair_fini(&p);
}

static void stop_reading(void *ctx)
{
	((struct end *)ctx)->stop = true;
}

static void read_again(void *ctx)
{
	struct end *e = ctx;

	e->stop = false;
	conn_resume(e->c);
}

static void send_much(void *ctx)
{
	struct end *e = ctx;
	struct chain ch;

	chain_init(&ch);
	for (int i = 0; i < 16; i++) {
		struct buf *b = buf_new(65536);
		memset(b->data, 'a' + i, 65536);
		chain_add_buf(&ch, b, 0, 65536);
	}
	conn_send(e->c, &ch);
	CU_ASSERT_EQUAL(ch.bytes, 0);
}

static void test_backpressure(void)
{
	struct pair p;

	pair_init(&p, 8);
	pair_run(&p, 100000);
	sim_process_run(p.sp, stop_reading, &p.s);
	sim_process_run(p.cp, send_much, &p.c);
	pair_run(&p, 1000000);
	CU_ASSERT_EQUAL(p.s.got.len, 0);
	CU_ASSERT_EQUAL(p.c.left, 16 * 65536 - 262144);
	CU_ASSERT_EQUAL(p.c.c->queued, 16 * 65536 - 262144);
	sim_process_run(p.sp, read_again, &p.s);
	pair_run(&p, 3000000);
	CU_ASSERT_EQUAL(p.s.got.len, 16 * 65536);
	bool right = true;
	for (size_t i = 0; i < p.s.got.len; i++)
		right &= p.s.got.ptr[i] == (char)('a' + i / 65536);
	CU_ASSERT(right);
	CU_ASSERT_EQUAL(p.c.left, 0);
	pair_fini(&p);
}

static void shut(void *ctx)
{
	struct end *e = ctx;

	end_say(e, "last words");
	conn_shutdown(e->c);
}

static void test_shutdown(void)
{
	struct pair p;

	pair_init(&p, 9);
	pair_run(&p, 100000);
	sim_process_run(p.cp, shut, &p.c);
	pair_run(&p, 1000000);
	CU_ASSERT_STRING_EQUAL(str_cstr(&p.s.got), "last words");
	CU_ASSERT_EQUAL(p.s.err, ERR_CLOSED);
	CU_ASSERT_EQUAL(p.c.closed, 1);
	CU_ASSERT_EQUAL(p.c.err, ERR_CLOSED);
	pair_fini(&p);
}

static void test_pause(void)
{
	struct pair p;

	pair_init(&p, 10);
	pair_run(&p, 100000);
	sim_process_pause(p.sp);
	sim_process_run(p.cp, say_hello, &p.c);
	pair_run(&p, 5000000);
	CU_ASSERT_EQUAL(p.s.got.len, 0);
	sim_process_resume(p.sp);
	pair_run(&p, 100000);
	CU_ASSERT_STRING_EQUAL(str_cstr(&p.s.got), "hello");
	pair_fini(&p);
}

/* A second loop takes the connection over in the middle of the stream. */
static struct loop *other_loop;
static int moved;

static void arrived(struct conn *c, void *ctx)
{
	CU_ASSERT_PTR_EQUAL(loop_current(), other_loop);
	moved++;
}

static void move_data(struct conn *c, void *ctx, size_t len)
{
	struct end *e = ctx;

	CU_ASSERT_PTR_EQUAL(loop_current(), c->loop);
	str_add_bytes(&e->got, e->space, len);
	if (c->loop != other_loop)
		conn_move(c, other_loop, arrived);
}

static const struct conn_handler move_handler = {.on_space = end_space, .on_data = move_data, .on_closed = end_closed};

static void move_accept(struct listener *ln, struct conn *c, void *ctx)
{
	c->handler = &move_handler;
	c->ctx = ctx;
}

static void move_body(struct env *env, struct loop *control, void *arg)
{
	struct end *e = arg;
	struct listen_config cfg = {.host = "0.0.0.0", .port = 9092, .on_accept = move_accept, .ctx = e};

	e->env = env;
	other_loop = loop_new(env, 0, "data-0");
	CU_ASSERT_EQUAL(listener_open(control, &cfg, &e->ln), 0);
}

static void test_move(void)
{
	struct pair p;

	moved = 0;
	pair_init(&p, 11);
	sim_process_kill(p.sp);
	p.sb = (struct body){.run = move_body, .arg = &p.s};
	p.sp = run_body(p.sh, &p.sb);
	pair_run(&p, 100000);
	for (int i = 0; i < 10; i++) {
		if (!p.c.c) /* the first try may have been too early */
			client_body(p.c.env, p.c.loop, &p.c);
		sim_process_run(p.cp, say_hello, &p.c);
		pair_run(&p, 10000);
	}
	CU_ASSERT_EQUAL(moved, 1);
	CU_ASSERT(p.s.got.len >= 5 && p.s.got.len % 5 == 0);
	pair_fini(&p);
}

/* ---- disks ---- */

struct disk {
	struct env *env;
	struct loop *loop;
	struct file *f;
	struct file_op ops[64];
	int done[64], n, order_bad, last_err;
	struct job job;
	int step;
};

static struct disk *the_disk;

static void op_done(struct file_op *op)
{
	struct disk *d = the_disk;
	int i = (int)(op - d->ops);

	d->order_bad += i != d->n;
	d->done[i]++;
	d->n++;
	d->last_err = op->err ? op->err : d->last_err;
}

static void append_text(struct disk *d, int i, uint64_t pos, const char *text)
{
	struct chain ch;

	chain_init(&ch);
	chain_add_copy(&ch, text, strlen(text));
	d->ops[i].done = op_done;
	file_append(d->loop, d->f, &d->ops[i], pos, &ch);
	CU_ASSERT_EQUAL(ch.bytes, 0);
	CU_ASSERT_EQUAL(d->done[i], 0); /* never before it returns */
}

static void disk_body(struct env *env, struct loop *control, void *arg)
{
	struct disk *d = arg;

	d->env = env;
	d->loop = control;
	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), 0);
	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), ERR_EXIST);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(fs_open(env, "/data/absent", FS_READ, &d->f), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_open(env, "/data/log", FS_WRITE | FS_CREATE | FS_EXCL, &d->f), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/data"), 0);
	for (int i = 0; i < 10; i++)
		append_text(d, i, (uint64_t)i * 10, "0123456789");
	d->ops[10].done = op_done;
	file_sync(control, d->f, &d->ops[10]);
	for (int i = 11; i < 31; i++)
		append_text(d, i, (uint64_t)(i - 1) * 10, "abcdefghij");
}

static void read_body(struct env *env, struct loop *control, void *arg)
{
	struct str *out = arg;
	char *bytes;
	size_t len;

	str_clear(out);
	if (fs_read_file(env, "/data/log", 100000, &bytes, &len))
		return;
	str_add_bytes(out, bytes, len);
	mem_free(bytes);
}

/* Killing loses nothing that was written; a power cut keeps at least what was synced, and a prefix or torn end of the rest. */
static void test_disk_crash(void)
{
	int short_ones = 0, torn = 0, whole = 0;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim_world *w = quiet_world(seed, 0);
		struct sim_host *h = sim_host_new(w, "h");
		struct disk d = {0};
		struct body b = {.run = disk_body, .arg = &d};
		struct str got;

		the_disk = &d;
		str_init(&got);
		struct sim_process *p = run_body(h, &b);
		sim_world_run_until(w, 2000000);
		CU_ASSERT_EQUAL(d.n, 31);
		CU_ASSERT_EQUAL(d.order_bad, 0);
		CU_ASSERT_EQUAL(d.last_err, 0);
		struct body r = {.run = read_body, .arg = &got};
		sim_process_kill(p);
		run_body(h, &r);
		sim_world_run_until(w, 3000000);
		CU_ASSERT_EQUAL(got.len, 300);
		sim_host_power_cut(h);
		sim_world_run_until(w, 4000000);
		sim_host_power_on(h);
		run_body(h, &r);
		sim_world_run_until(w, 5000000);
		CU_ASSERT(got.len >= 100 && got.len <= 300);
		bool right = got.len >= 100;
		for (size_t i = 0; i < 100 && right; i++)
			right = got.ptr[i] == "0123456789"[i % 10];
		CU_ASSERT(right);
		bool prefix = true;
		for (size_t i = 100; i < got.len; i++)
			prefix &= got.ptr[i] == "abcdefghij"[i % 10];
		short_ones += got.len < 300;
		torn += !prefix;
		whole += got.len == 300 && prefix;
		str_fini(&got);
		sim_world_free(w);
	}
	CU_ASSERT(short_ones > 5);
	CU_ASSERT(torn > 3);
	CU_ASSERT(whole > 3);
}

static void names_body(struct env *env, struct loop *control, void *arg)
{
	struct file *f;

	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/data/kept", "one", 3, 0600), 0); /* durable on return */
	CU_ASSERT_EQUAL(fs_open(env, "/data/new", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "two", 3), 0);
	CU_ASSERT_EQUAL(file_sync_now(f), 0); /* the bytes, not the name */
	file_unref(f);
	if (arg)
		CU_ASSERT_EQUAL(fs_sync_dir(env, "/data"), 0);
}

static void test_names_need_directory_sync(void)
{
	int lost = 0;

	for (uint64_t seed = 1; seed <= 40; seed++)
		for (int sync = 0; sync < 2; sync++) {
			struct sim_world *w = quiet_world(seed, 0);
			struct sim_host *h = sim_host_new(w, "h");
			struct body b = {.run = names_body, .arg = sync ? &lost : NULL};
			struct str s;

			str_init(&s);
			run_body(h, &b);
			sim_world_run_until(w, 1000000);
			sim_host_power_cut(h);
			CU_ASSERT_EQUAL(sim_disk_read(h, "/data/kept", &s), 0);
			CU_ASSERT_STRING_EQUAL(str_cstr(&s), "one");
			str_clear(&s);
			int err = sim_disk_read(h, "/data/new", &s);
			if (sync)
				CU_ASSERT_EQUAL(err, 0);
			if (!err)
				CU_ASSERT_STRING_EQUAL(str_cstr(&s), "two");
			lost += !sync && err == ERR_NOENT;
			str_fini(&s);
			sim_world_free(w);
		}
	CU_ASSERT(lost > 5 && lost < 40);
}

static void renames_body(struct env *env, struct loop *control, void *arg)
{
	struct fs_names names;
	struct fs_stat st;

	CU_ASSERT_EQUAL(fs_mkdir(env, "/d", 0700), 0);
	CU_ASSERT_EQUAL(fs_mkdir(env, "/d/t-0", 0700), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/t-0/a", "A", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/b", "B", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/c", "C", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_rename(env, "/d/c", "/d/b"), 0);
	CU_ASSERT_EQUAL(fs_rename(env, "/d/t-0", "/d/t-0-delete"), 0);
	CU_ASSERT_EQUAL(fs_stat(env, "/d/t-0/a", &st), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_stat(env, "/d/t-0-delete/a", &st), 0);
	CU_ASSERT(st.bytes == 1 && !st.is_dir && st.mtime_ms > 1700000000000);
	CU_ASSERT_EQUAL(fs_rmdir(env, "/d/t-0-delete"), ERR_NOTEMPTY);
	CU_ASSERT_EQUAL(fs_list(env, "/d", &names), 0);
	CU_ASSERT_EQUAL(names.count, 2);
	CU_ASSERT_STRING_EQUAL(names.names[0], "b");
	CU_ASSERT_STRING_EQUAL(names.names[1], "t-0-delete");
	fs_names_free(&names);
	CU_ASSERT_EQUAL(fs_unlink(env, "/d/t-0-delete/a"), 0);
	CU_ASSERT_EQUAL(fs_rmdir(env, "/d/t-0-delete"), 0);
	CU_ASSERT_EQUAL(fs_unlink(env, "/d/x"), ERR_NOENT);
	struct file *lock, *again;
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &lock), 0);
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &again), ERR_LOCKED);
	fs_unlock(lock);
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &lock), 0);
}

static void lock_body(struct env *env, struct loop *control, void *arg)
{
	struct file *lock;

	*(int *)arg = fs_lock(env, "/d/.lock", &lock);
}

static void test_names_and_locks(void)
{
	struct sim_world *w = quiet_world(3, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = renames_body};
	int err = 1;
	struct body second = {.run = lock_body, .arg = &err};
	struct str s;

	str_init(&s);
	struct sim_process *p = run_body(h, &b);
	sim_world_run_until(w, 1000000);
	sim_disk_list(h, "/d", &s);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), ".lock\nb\n");
	str_clear(&s);
	CU_ASSERT_EQUAL(sim_disk_read(h, "/d/b", &s), 0);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "C");
	run_body(h, &second);
	sim_world_run_until(w, 2000000);
	CU_ASSERT_EQUAL(err, ERR_LOCKED);
	sim_process_kill(p); /* lets the lock go */
	run_body(h, &second);
	sim_world_run_until(w, 3000000);
	CU_ASSERT_EQUAL(err, 0);
	str_fini(&s);
	sim_world_free(w);
}

static void faulty_body(struct env *env, struct loop *control, void *arg)
{
	struct sim_host *h = arg;
	struct fs_space space;
	struct file *f;
	char buf[8];
	size_t got;
	static const char big[100000];

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "12345678", 8), 0);
	sim_disk_fail(h, SIM_DISK_READ, "/f", 1);
	CU_ASSERT_EQUAL(file_read_now(f, 0, buf, 8, &got), ERR_IO);
	CU_ASSERT_EQUAL(file_read_now(f, 4, buf, 8, &got), 0);
	CU_ASSERT_EQUAL(got, 4);
	CU_ASSERT(memcmp(buf, "5678", 4) == 0);
	CU_ASSERT_EQUAL(sim_disk_flip_bit(h, "/f", 0, 1), 0);
	CU_ASSERT_EQUAL(file_read_now(f, 0, buf, 1, &got), 0);
	CU_ASSERT_EQUAL(buf[0], '1' ^ 2);
	sim_disk_fail(h, SIM_DISK_SYNC, "/", 1);
	CU_ASSERT_EQUAL(file_sync_now(f), ERR_IO);
	sim_disk_fail(h, SIM_DISK_WRITE, "/f", -1);
	CU_ASSERT_EQUAL(file_write_now(f, 8, "x", 1), ERR_IO);
	CU_ASSERT_EQUAL(file_write_now(f, 8, "x", 1), ERR_IO);
	sim_disk_clear_faults(h);
	sim_disk_capacity(h, 50000);
	CU_ASSERT_EQUAL(file_write_now(f, 8, big, sizeof(big)), ERR_NOSPACE);
	CU_ASSERT_EQUAL(fs_space(env, "/", &space), 0);
	CU_ASSERT(space.bytes_total == 50000 && space.bytes_free < 4096);
	CU_ASSERT_EQUAL(file_truncate_now(f, 8), 0);
	CU_ASSERT_EQUAL(fs_space(env, "/", &space), 0);
	CU_ASSERT(space.bytes_free > 40000);
	/* sparse: prealloc reads as zeros and costs nothing */
	CU_ASSERT_EQUAL(file_truncate_now(f, 10000000), 0);
	CU_ASSERT_EQUAL(file_read_now(f, 9000000, buf, 8, &got), 0);
	CU_ASSERT(got == 8 && buf[0] == 0 && buf[7] == 0);
	CU_ASSERT(sim_disk_used(h) < 10000);
	file_unref(f);
	CU_ASSERT_EQUAL(fs_unlink(env, "/f"), 0);
	CU_ASSERT_EQUAL(sim_disk_used(h), 0);
}

static void test_disk_faults(void)
{
	struct sim_world *w = quiet_world(4, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = faulty_body, .arg = h};

	run_body(h, &b);
	sim_world_run_until(w, 5000000);
	CU_ASSERT_EQUAL(b.reaped, 0);
	sim_world_free(w);
}

/* After a failed sync the bytes are lost in a power cut, whatever later syncs say. */
static void failed_sync_body(struct env *env, struct loop *control, void *arg)
{
	struct file *f;

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "12345678", 8), 0);
	sim_disk_fail(arg, SIM_DISK_SYNC, "/f", 1);
	CU_ASSERT_EQUAL(file_sync_now(f), ERR_IO);
	CU_ASSERT_EQUAL(file_sync_now(f), 0);
	file_unref(f);
}

static void test_failed_sync(void)
{
	int lost = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_world *w = quiet_world(seed, 0);
		struct sim_host *h = sim_host_new(w, "h");
		struct body b = {.run = failed_sync_body, .arg = h};
		struct str s;

		str_init(&s);
		run_body(h, &b);
		sim_world_run_until(w, 1000000);
		sim_host_power_cut(h);
		CU_ASSERT_EQUAL(sim_disk_read(h, "/f", &s), 0);
		lost += strcmp(str_cstr(&s), "12345678") != 0;
		str_fini(&s);
		sim_world_free(w);
	}
	CU_ASSERT(lost > 5);
}

/* ---- jobs ---- */

static void job_run(struct job *j)
{
	struct disk *d = CONTAINER_OF(j, struct disk, job);
	struct file *f;

	CU_ASSERT_PTR_NULL(loop_current());
	d->step = 1;
	CU_ASSERT_EQUAL(fs_open(d->env, "/j", FS_WRITE | FS_CREATE, &f), 0);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(file_write_now(f, (uint64_t)i * 4, "abcd", 4), 0);
		d->step = 2 + i;
	}
	CU_ASSERT_EQUAL(file_sync_now(f), 0);
	file_unref(f);
	d->step = 1000;
}

static void job_done(struct job *j)
{
	struct disk *d = CONTAINER_OF(j, struct disk, job);

	CU_ASSERT_PTR_EQUAL(loop_current(), d->loop);
	d->n++;
}

static void job_body(struct env *env, struct loop *control, void *arg)
{
	struct disk *d = arg;

	d->env = env;
	d->loop = control;
	d->job = (struct job){.run = job_run, .done = job_done};
	job_submit(control, &d->job, JOB_LONG);
	CU_ASSERT_EQUAL(d->step, 0);
}

static void test_jobs(void)
{
	struct disk d = {0};
	struct sim_world *w = quiet_world(5, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = job_body, .arg = &d};

	struct sim_process *p = run_body(h, &b);
	sim_world_run_until(w, 2000000);
	CU_ASSERT_EQUAL(d.step, 1000);
	CU_ASSERT_EQUAL(d.n, 1);
	sim_process_kill(p);
	/* Killed on the way: the job stops at a call and is never done; what it wrote is there. */
	d.step = d.n = 0;
	p = run_body(h, &b);
	while (d.step < 20)
		CU_ASSERT_FATAL(sim_world_step(w));
	sim_process_pause(p);
	int at = d.step;
	sim_world_run_until(w, sim_now_us(w) + 1000000);
	CU_ASSERT_EQUAL(d.step, at);
	sim_process_resume(p);
	while (d.step < 40)
		CU_ASSERT_FATAL(sim_world_step(w));
	sim_process_kill(p);
	at = d.step;
	sim_world_run_until(w, sim_now_us(w) + 1000000);
	CU_ASSERT_EQUAL(d.step, at);
	CU_ASSERT_EQUAL(d.n, 0);
	struct str s;
	str_init(&s);
	CU_ASSERT_EQUAL(sim_disk_read(h, "/j", &s), 0);
	CU_ASSERT(s.len >= 38 * 4);
	str_fini(&s);
	sim_world_free(w);
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

static void *reaped_start(struct env *env, struct loop *control, void *arg)
{
	struct reaped *r = arg;
	struct loop *data = loop_new(env, 0, "data-0");
	struct chain ch;

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &r->f), 0);
	r->c = conn_connect(control, "localhost", 1, 100000, &end_handler, r);
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

UNIT_MAIN("env_sim", {"loops", test_loops}, {"echo", test_echo}, {"connect_errors", test_connect_errors}, {"cut_and_heal", test_cut_and_heal},
	{"power_cut_is_silent", test_power_cut_is_silent}, {"backpressure", test_backpressure}, {"shutdown", test_shutdown}, {"pause", test_pause},
	{"move", test_move}, {"disk_crash", test_disk_crash}, {"names_need_directory_sync", test_names_need_directory_sync},
	{"names_and_locks", test_names_and_locks}, {"disk_faults", test_disk_faults}, {"failed_sync", test_failed_sync}, {"jobs", test_jobs},
	{"exit_and_boot_id", test_exit_and_boot_id}, {"reap", test_reap}, {"http", test_http}, {"stall", test_stall},
	{"determinism", test_determinism})
