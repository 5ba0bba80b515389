/* test_net_sim.c: the simulated network: connections, and what cuts, power and pauses do to them. */
#include <string.h>

#include "tests/unit/sim_body.h"
#include "tests/unit/unit.h"

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

UNIT_MAIN("net_sim", {"echo", test_echo}, {"connect_errors", test_connect_errors}, {"cut_and_heal", test_cut_and_heal},
	{"power_cut_is_silent", test_power_cut_is_silent}, {"backpressure", test_backpressure}, {"shutdown", test_shutdown}, {"pause", test_pause},
	{"move", test_move})
