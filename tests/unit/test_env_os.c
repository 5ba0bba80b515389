/* test_env_os.c: the os backend of common/env against real sockets and threads; files are test_env_os_files.c's. */
#define _GNU_SOURCE 1
#include "tests/unit/os_body.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/env/conn.h"
#include "common/env/fs.h"
#include "common/env/loop.h"
#include "common/env/os/os.h"

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

/* ---- timers, deferred calls ---- */

static struct timer timers[8];
static int64_t began_us;
static struct deferred late[3];

static void timer_note(void *ctx)
{
	struct timer *t = ctx;

	CU_ASSERT_FALSE(timer_armed(t));
	note((char)('a' + (t - timers)));
	if (t == &timers[0])
		timer_stop(&timers[5]);
	if (t == &timers[4])
		os_world_stop(w, 0);
}

static void test_timers(void)
{
	world_up();
	order_len = 0;
	for (size_t i = 0; i < 8; i++)
		timer_init(&timers[i], ctl, timer_note, &timers[i]);
	began_us = env_now_us(env);
	timer_set_ms(&timers[4], 60);
	timer_set_ms(&timers[3], 30);
	timer_set_ms(&timers[1], 20);
	timer_set_ms(&timers[2], 25);
	timer_set_ms(&timers[5], 50);
	timer_set_us(&timers[0], 0);
	timer_set_ms(&timers[6], 1);
	timer_set_ms(&timers[6], 40); /* set again: later */
	CU_ASSERT_TRUE(timer_armed(&timers[5]));
	world_run();
	CU_ASSERT_STRING_EQUAL(order, "abcdge");
	CU_ASSERT_TRUE(env_now_us(env) - began_us >= 60000);
	CU_ASSERT_TRUE(ctl->turns > 0);
	world_down();
}

static void late_note(void *ctx)
{
	note(*(const char *)ctx);
	if (*(const char *)ctx == 'x') {
		loop_defer(ctl, &late[1]);
		loop_defer(ctl, &late[1]); /* queued already */
		deferred_cancel(ctl, &late[2]);
	} else {
		os_world_stop(w, 0);
	}
}

static void test_deferred(void)
{
	world_up();
	order_len = 0;
	static const char x = 'x', y = 'y', z = 'z';
	deferred_init(&late[0], late_note, (void *)(uintptr_t)&x);
	deferred_init(&late[1], late_note, (void *)(uintptr_t)&y);
	deferred_init(&late[2], late_note, (void *)(uintptr_t)&z);
	loop_defer(ctl, &late[0]);
	loop_defer(ctl, &late[2]);
	CU_ASSERT_EQUAL(order_len, 0);
	world_run();
	CU_ASSERT_STRING_EQUAL(order, "xy");
	world_down();
}

/* ---- messages ---- */

#define MSGS 20000
#define SENDERS 3
struct numbered {
	struct msg m;
	int sender, number;
};
static struct numbered *numbered[SENDERS];
static int next_number[SENDERS];
static int out_of_order, msgs_seen, replies_seen;
static struct msg kick[SENDERS];

static void got_reply(struct msg *m)
{
	if (loop_current() == m->to)
		__atomic_fetch_add(&replies_seen, 1, __ATOMIC_RELAXED);
}

static void got_numbered(struct msg *m)
{
	struct numbered *n = CONTAINER_OF(m, struct numbered, m);

	loop_assert_owner(ctl);
	if (n->number != next_number[n->sender]++)
		out_of_order++;
	struct loop *back = m->from;
	m->deliver = got_reply;
	if (++msgs_seen == MSGS * SENDERS)
		os_world_stop(w, 0);
	else
		loop_post(back, m);
}

static void send_all(struct msg *m)
{
	int sender = (int)(m - kick);

	ASSERT(loop_current()->idx == sender);
	for (int i = 0; i < MSGS; i++)
		loop_post(ctl, &numbered[sender][i].m);
}

static void test_messages(void)
{
	world_up();
	out_of_order = msgs_seen = replies_seen = 0;
	for (int s = 0; s < SENDERS; s++) {
		struct loop *l = loop_new(env, s, "data");
		numbered[s] = mem_zalloc(MSGS * sizeof(struct numbered));
		next_number[s] = 0;
		for (int i = 0; i < MSGS; i++)
			numbered[s][i] = (struct numbered){.m.deliver = got_numbered, .sender = s, .number = i};
		kick[s].deliver = send_all;
		loop_post(l, &kick[s]);
	}
	world_run();
	CU_ASSERT_EQUAL(msgs_seen, MSGS * SENDERS);
	CU_ASSERT_EQUAL(out_of_order, 0);
	world_down();
	for (int s = 0; s < SENDERS; s++)
		mem_free(numbered[s]);
}

/* ---- jobs ---- */

static struct job jobs[6];
static int jobs_done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void job_run(struct job *j)
{
	CU_ASSERT_PTR_NULL(loop_current());
	if (j->cls == JOB_LONG) {
		pthread_mutex_lock(&gate); /* held until the short ones are done */
		pthread_mutex_unlock(&gate);
	}
}

static void job_done(struct job *j)
{
	loop_assert_owner(ctl);
	note(j->cls == JOB_LONG ? 'L' : 's');
	jobs_done++;
	if (jobs_done == 4)
		pthread_mutex_unlock(&gate);
	if (jobs_done == 6)
		os_world_stop(w, 0);
}

static void test_jobs(void)
{
	world_up();
	order_len = 0;
	jobs_done = 0;
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 6; i++) {
		jobs[i] = (struct job){.run = job_run, .done = job_done};
		job_submit(ctl, &jobs[i], i < 2 ? JOB_LONG : JOB_IO);
	}
	CU_ASSERT_EQUAL(jobs_done, 0);
	world_run();
	CU_ASSERT_STRING_EQUAL(order, "ssssLL");
	world_down();
}

/* As many logs are loaded at a time as were asked for: each of the jobs waits until all of them run. */
static pthread_barrier_t together;
static void load_run(struct job *j) { pthread_barrier_wait(&together); }
static void load_done(struct job *j)
{
	if (++jobs_done == 6)
		os_world_stop(w, 0);
}

static void test_load_jobs(void)
{
	world_up();
	jobs_done = 0;
	os_world_load_threads(w, 3);
	pthread_barrier_init(&together, NULL, 3);
	for (int i = 0; i < 6; i++) {
		jobs[i] = (struct job){.run = load_run, .done = load_done};
		job_submit(ctl, &jobs[i], JOB_LOAD);
	}
	world_run();
	CU_ASSERT_EQUAL(jobs_done, 6);
	world_down();
	pthread_barrier_destroy(&together);
}

/* ---- connections ---- */

/* A peer that echoes, or swallows; and one that sends and checks. */
struct end {
	struct conn *c;
	uint8_t space[64 * 1024];
	uint64_t received, expected, sent;
	int closed_err, opened, on_sents, bad;
	bool echo, stop_when_all, stop_when_closed, refuse_space;
	uint64_t skip; /* pattern of byte i is pattern(i + skip) */
};
static struct end server, client;
static struct listener *ln;
static struct file *big;

static bool end_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct end *e = ctx;

	if (e->refuse_space)
		return false;
	*ret_ptr = e->space;
	*ret_len = sizeof(e->space);
	return true;
}

static void end_data(struct conn *c, void *ctx, size_t len)
{
	struct end *e = ctx;

	CU_ASSERT_PTR_EQUAL(loop_current(), c->loop);
	for (size_t i = 0; i < len; i++)
		e->bad += e->space[i] != pattern(e->received + i + e->skip);
	e->received += len;
	if (e->echo) {
		struct chain ch;
		chain_init(&ch);
		chain_add_copy(&ch, e->space, len);
		conn_send(c, &ch);
		CU_ASSERT_EQUAL(ch.bytes, 0);
	}
	if (e->stop_when_all && e->received >= e->expected)
		os_world_stop(w, 0);
}

static void end_sent(struct conn *c, void *ctx, uint64_t left)
{
	struct end *e = ctx;

	e->on_sents++;
	CU_ASSERT_EQUAL(left, c->queued);
}

static void end_open(struct conn *c, void *ctx)
{
	((struct end *)ctx)->opened++;
}

static void end_closed(struct conn *c, void *ctx, int err)
{
	struct end *e = ctx;

	e->closed_err = err;
	e->c = NULL;
	if (e->stop_when_closed)
		os_world_stop(w, 0);
}

static const struct conn_handler end_handler = {end_space, end_data, end_sent, end_open, end_closed};

static const struct conn_handler *accept_handler = &end_handler;

static void on_accept(struct listener *l, struct conn *c, void *ctx)
{
	CU_ASSERT_STRING_EQUAL(c->peer, "127.0.0.1");
	CU_ASSERT_TRUE(c->peer_port != 0);
	server.c = c;
	c->handler = accept_handler;
	c->ctx = &server;
}

static void net_up(void)
{
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	world_up();
	int err = listener_open(ctl, &(struct listen_config){.host = "127.0.0.1", .backlog = 16, .on_accept = on_accept}, &ln);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	CU_ASSERT_TRUE(ln->port != 0);
}

/* What the kernel thinks of the socket that was accepted on this port. */
static int socket_option(uint16_t port, int option)
{
	for (int fd = 3; fd < 200; fd++) {
		struct sockaddr_in a, peer;
		socklen_t len = sizeof(a), peer_len = sizeof(peer);
		int v;
		if (getsockname(fd, (struct sockaddr *)&a, &len) || a.sin_family != AF_INET || a.sin_port != htons(port) || getpeername(fd, (struct sockaddr *)&peer, &peer_len))
			continue;
		len = sizeof(v);
		return getsockopt(fd, SOL_SOCKET, option, &v, &len) ? -1 : v;
	}
	return -1;
}

static int send_buffer, receive_buffer;
static void accept_and_look(struct listener *l, struct conn *c, void *ctx)
{
	send_buffer = socket_option(l->port, SO_SNDBUF);
	receive_buffer = socket_option(l->port, SO_RCVBUF);
	conn_close(c);
	os_world_stop(w, 0);
}

static void dial(const char *host)
{
	client.c = conn_connect(ctl, host, ln->port, 5000, &end_handler, &client);
}

/* The kernel doubles what it is told. */
static void test_socket_buffers(void)
{
	net_up();
	listener_close(ln);
	struct listen_config cfg = {.host = "127.0.0.1", .on_accept = accept_and_look, .send_buffer_bytes = 20000, .receive_buffer_bytes = 30000};
	CU_ASSERT_EQUAL_FATAL(listener_open(ctl, &cfg, &ln), 0);
	dial("127.0.0.1");
	world_run();
	CU_ASSERT_EQUAL(send_buffer, 40000);
	CU_ASSERT_EQUAL(receive_buffer, 60000);
	listener_close(ln);
	world_down();
}

#define BIG (40u * 1024 * 1024)
static void make_big(uint64_t bytes)
{
	uint8_t *all = mem_alloc(bytes);

	for (uint64_t i = 0; i < bytes; i++)
		all[i] = pattern(i);
	CU_ASSERT_EQUAL_FATAL(fs_open(env, path_of("big"), FS_WRITE | FS_CREATE | FS_TRUNC, &big), 0);
	CU_ASSERT_EQUAL_FATAL(file_write_now(big, 0, all, bytes), 0);
	mem_free(all);
}

/* Bytes [0, bytes) of the pattern in small copies, own buffers and ranges of the file, in turn. */
static void add_mixed(struct chain *ch, uint64_t bytes)
{
	uint64_t pos = 0;

	for (int i = 0; pos < bytes; i++) {
		uint64_t len = i % 3 == 0 ? 11 : i % 3 == 1 ? 9000 : 700001;
		if (len > bytes - pos)
			len = bytes - pos;
		if (i % 3 == 2) {
			chain_add_file(ch, big, pos, len);
		} else {
			struct buf *b = buf_new((size_t)len);
			for (uint64_t k = 0; k < len; k++)
				b->data[k] = pattern(pos + k);
			chain_add_buf(ch, b, 0, (size_t)len);
		}
		pos += len;
	}
}

static void test_conn_echo(void)
{
	struct chain ch;

	net_up();
	make_big(BIG);
	server.echo = true;
	client.expected = BIG;
	client.stop_when_all = true;
	dial("127.0.0.1");
	chain_init(&ch);
	add_mixed(&ch, BIG);
	conn_send(client.c, &ch); /* before it is open */
	CU_ASSERT_EQUAL(client.c->queued, BIG);
	CU_ASSERT_EQUAL(client.opened, 0);
	world_run();
	CU_ASSERT_EQUAL(client.received, BIG);
	CU_ASSERT_EQUAL(client.bad + server.bad, 0);
	CU_ASSERT_EQUAL(client.opened, 1);
	CU_ASSERT_TRUE(client.on_sents > 0);
	CU_ASSERT_EQUAL(client.c->queued, 0);
	/* close: the other side sees the end of the stream, we hear nothing */
	client.closed_err = 1;
	server.stop_when_closed = true;
	conn_close(client.c);
	world_run();
	CU_ASSERT_EQUAL(server.closed_err, ERR_CLOSED);
	CU_ASSERT_EQUAL(client.closed_err, 1);
	file_unref(big);
	world_down();
}

/* A file that is not in the page cache goes through the pool. */
static void test_conn_cold_range(void)
{
	struct chain ch;

	net_up();
	make_big(8u << 20);
	CU_ASSERT_EQUAL(file_sync_now(big), 0);
	int fd = open(path_of("big"), O_RDONLY);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	server.expected = 8u << 20;
	server.stop_when_all = true;
	dial("localhost");
	chain_init(&ch);
	chain_add_file(&ch, big, 0, 8u << 20);
	conn_send(client.c, &ch);
	world_run();
	CU_ASSERT_EQUAL(server.received, 8u << 20);
	CU_ASSERT_EQUAL(server.bad, 0);
	file_unref(big);
	world_down();
}

static void bump(void *ctx)
{
	file_generation_bump(big);
	server.refuse_space = false;
	conn_resume(server.c);
}

/* A range of an old generation is not sent (protocol.md G4). */
static void test_conn_generation(void)
{
	struct chain ch;
	struct timer t;

	net_up();
	make_big(BIG);
	server.refuse_space = true;
	client.stop_when_closed = true;
	dial("127.0.0.1");
	chain_init(&ch);
	add_mixed(&ch, BIG);
	conn_send(client.c, &ch);
	timer_init(&t, ctl, bump, NULL);
	timer_set_ms(&t, 100); /* the socket is full by then, or soon: either way most is not sent */
	world_run();
	CU_ASSERT_EQUAL(client.closed_err, ERR_IO);
	CU_ASSERT_TRUE(server.received < BIG);
	file_unref(big);
	world_down();
}

static void test_conn_short_file(void)
{
	struct chain ch;

	net_up();
	make_big(100000);
	client.stop_when_closed = true;
	dial("127.0.0.1");
	chain_init(&ch);
	chain_add_file(&ch, big, 50000, 60000);
	conn_send(client.c, &ch);
	world_run();
	CU_ASSERT_EQUAL(client.closed_err, ERR_IO);
	file_unref(big);
	world_down();
}

static void test_conn_shutdown(void)
{
	struct chain ch;

	net_up();
	make_big(BIG);
	client.stop_when_closed = false;
	server.stop_when_closed = true;
	dial("127.0.0.1");
	chain_init(&ch);
	add_mixed(&ch, BIG);
	conn_send(client.c, &ch);
	conn_shutdown(client.c);
	world_run();
	CU_ASSERT_EQUAL(server.received, BIG);
	CU_ASSERT_EQUAL(server.bad, 0);
	CU_ASSERT_EQUAL(server.closed_err, ERR_CLOSED);
	CU_ASSERT_EQUAL(client.closed_err, ERR_CLOSED);
	file_unref(big);
	world_down();
}

static void test_conn_failures(void)
{
	net_up();
	client.stop_when_closed = true;
	uint16_t port = ln->port;
	listener_close(ln);
	client.c = conn_connect(ctl, "127.0.0.1", port, 5000, &end_handler, &client);
	CU_ASSERT_EQUAL(client.closed_err, 0); /* never from inside the call */
	world_run();
	CU_ASSERT_EQUAL(client.closed_err, ERR_REFUSED);
	client.c = conn_connect(ctl, "no-such-host.invalid", port, 5000, &end_handler, &client);
	world_run(); /* a machine without a name server may not know before the time is over */
	CU_ASSERT_TRUE(client.closed_err == ERR_UNREACHABLE || client.closed_err == ERR_TIMEOUT);
	/* a listener that accepts nothing, its backlog full: no answer */
	int fd = socket(AF_INET, SOCK_STREAM, 0), fill[4];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	listen(fd, 0);
	getsockname(fd, (struct sockaddr *)&a, &len);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	client.c = conn_connect(ctl, "127.0.0.1", ntohs(a.sin_port), 150, &end_handler, &client);
	world_run();
	CU_ASSERT_EQUAL(client.closed_err, ERR_TIMEOUT);
	close(fd);
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	/* closed by ourselves while a name is being looked up, or before it is open: nothing follows */
	conn_close(conn_connect(ctl, "no-such-host.invalid", port, 20000, &end_handler, &client));
	conn_close(conn_connect(ctl, "127.0.0.1", port, 20000, &end_handler, &client));
	world_down();
}

static void close_in_data(struct conn *c, void *ctx, size_t len)
{
	conn_close(c);
	conn_close(client.c); /* another one, from inside a callback */
	os_world_stop(w, 0);
}

static void test_conn_close_inside(void)
{
	static const struct conn_handler closing = {end_space, close_in_data, end_sent, end_open, end_closed};
	struct chain ch;

	net_up();
	server.closed_err = client.closed_err = 1;
	dial("127.0.0.1");
	chain_init(&ch);
	chain_add_copy(&ch, "hello", 5);
	conn_send(client.c, &ch);
	accept_handler = &closing;
	world_run();
	accept_handler = &end_handler;
	CU_ASSERT_EQUAL(server.closed_err, 1);
	CU_ASSERT_EQUAL(client.closed_err, 1);
	world_down();
}

/* ---- moving ---- */

static struct loop *other;
static struct end moved;

static void moved_data(struct conn *c, void *ctx, size_t len)
{
	CU_ASSERT_PTR_EQUAL(loop_current(), other);
	end_data(c, ctx, len);
}

static const struct conn_handler moved_handler = {end_space, moved_data, end_sent, end_open, end_closed};

static void move_arrived(struct conn *c, void *ctx)
{
	CU_ASSERT_PTR_EQUAL(loop_current(), other);
	CU_ASSERT_PTR_EQUAL(c->loop, other);
	moved.received = server.received;
	moved.echo = true;
	c->handler = &moved_handler;
	c->ctx = &moved;
}

static bool tiny_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	*ret_ptr = server.space;
	*ret_len = 1000;
	return true;
}

static void move_data(struct conn *c, void *ctx, size_t len)
{
	server.received += len;
	conn_move(c, other, move_arrived);
}

static void accept_and_move(struct listener *l, struct conn *c, void *ctx)
{
	static const struct conn_handler h = {tiny_space, move_data, NULL, NULL, end_closed};
	c->handler = &h;
	c->ctx = &server;
}

static void test_conn_move(void)
{
	struct chain ch;

	net_up();
	memset(&moved, 0, sizeof(moved));
	listener_close(ln);
	int err = listener_open(ctl, &(struct listen_config){.host = "127.0.0.1", .on_accept = accept_and_move}, &ln);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	other = loop_new(env, 0, "data-0");
	make_big(1 << 20);
	client.expected = (1 << 20) - 1000;
	client.skip = 1000;
	client.stop_when_all = true;
	dial("127.0.0.1");
	chain_init(&ch);
	chain_add_file(&ch, big, 0, 1 << 20);
	conn_send(client.c, &ch);
	world_run();
	CU_ASSERT_EQUAL(server.received, 1000);
	CU_ASSERT_EQUAL(client.received, (1 << 20) - 1000);
	CU_ASSERT_EQUAL(client.bad + moved.bad, 0);
	file_unref(big);
	world_down();
}

/* ---- messages before sockets ---- */

static struct msg early;

static void early_note(struct msg *m)
{
	note('m');
}

static void data_note(struct conn *c, void *ctx, size_t len)
{
	note('d');
	os_world_stop(w, 0);
}

static const struct conn_handler note_handler = {end_space, data_note, end_sent, end_open, end_closed};

static void post_and_write(void *ctx)
{
	if (!server.c) {
		timer_set_ms(&timers[0], 1);
		return;
	}
	loop_post(ctl, &early);
	CU_ASSERT_EQUAL(write(*(int *)ctx, "x", 1), 1);
}

/* A loop sees what was posted to it before a request came: who was answered by one loop may go on at another. */
static void test_messages_first(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	net_up();
	accept_handler = &note_handler;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(ln->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	order_len = 0;
	early = (struct msg){.deliver = early_note};
	timer_init(&timers[0], ctl, post_and_write, &fd);
	timer_set_ms(&timers[0], 1);
	world_run();
	CU_ASSERT_STRING_EQUAL(order, "md");
	accept_handler = &end_handler;
	close(fd);
	world_down();
}

/* ---- listeners ---- */

#define CONNS 64
static int accepted_by[3], accepted_all;

static void count_accept(struct listener *l, struct conn *c, void *ctx)
{
	__atomic_fetch_add(&accepted_by[l->loop->idx], 1, __ATOMIC_RELAXED);
	conn_close(c);
	if (__atomic_add_fetch(&accepted_all, 1, __ATOMIC_RELAXED) == CONNS)
		os_world_stop(w, 0);
}

static void test_listeners(void)
{
	struct listener *lns[3], *refused;
	uint16_t port = 0;

	world_up();
	accepted_all = 0;
	memset(accepted_by, 0, sizeof(accepted_by));
	for (int i = 0; i < 3; i++) {
		struct loop *l = loop_new(env, i, "data");
		struct listen_config cfg = {.host = "", .port = port, .on_accept = count_accept};
		CU_ASSERT_EQUAL_FATAL(listener_open(l, &cfg, &lns[i]), 0);
		port = lns[i]->port;
	}
	/* another process, even of the same user and willing to share, may not have the port */
	int fd = socket(AF_INET6, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CU_ASSERT_NOT_EQUAL(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	CU_ASSERT_EQUAL(listener_open(ctl, &(struct listen_config){.host = "not an address"}, &refused), ERR_INVAL);
	memset(&client, 0, sizeof(client));
	for (int i = 0; i < CONNS; i++)
		conn_connect(ctl, i % 2 ? "127.0.0.1" : "::1", port, 5000, &end_handler, &client);
	world_run();
	world_down();
	CU_ASSERT_EQUAL(accepted_all, CONNS);
	CU_ASSERT_TRUE(accepted_by[0] > 0 && accepted_by[1] > 0 && accepted_by[2] > 0);
	/* taken by somebody who does not share: in use */
	world_up();
	fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in b = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(b);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&b, sizeof(b)), 0);
	listen(fd, 1);
	getsockname(fd, (struct sockaddr *)&b, &len);
	struct listen_config cfg = {.host = "127.0.0.1", .port = ntohs(b.sin_port), .on_accept = count_accept};
	CU_ASSERT_EQUAL(listener_open(ctl, &cfg, &refused), ERR_EXIST);
	close(fd);
	world_down();
}

/* Out of descriptors: accepting pauses and goes on by itself. */
static void free_fds(void *ctx)
{
	setrlimit(RLIMIT_NOFILE, ctx);
}

static void test_accept_emfile(void)
{
	struct rlimit old, tight;
	struct timer t;

	net_up();
	env->log->min_level = LOG_ERROR + 1; /* its one warning is not for the test's output */
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(ln->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	getrlimit(RLIMIT_NOFILE, &old);
	tight = old;
	tight.rlim_cur = (rlim_t)fd + 1;
	setrlimit(RLIMIT_NOFILE, &tight);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	server.stop_when_all = true;
	server.expected = 1;
	uint8_t first = pattern(0);
	CU_ASSERT_EQUAL(write(fd, &first, 1), 1);
	timer_init(&t, ctl, free_fds, &old);
	timer_set_ms(&t, 50);
	world_run();
	CU_ASSERT_EQUAL(server.received, 1);
	CU_ASSERT_TRUE(ctl->turns < 200); /* it did not spin */
	close(fd);
	world_down();
}

UNIT_MAIN("env_os", {"timers", test_timers}, {"deferred", test_deferred}, {"messages", test_messages}, {"jobs", test_jobs}, {"load_jobs", test_load_jobs}, {"socket_buffers", test_socket_buffers},
	  {"conn_echo", test_conn_echo}, {"conn_cold_range", test_conn_cold_range}, {"conn_generation", test_conn_generation},
	  {"conn_short_file", test_conn_short_file}, {"conn_shutdown", test_conn_shutdown}, {"conn_failures", test_conn_failures},
	  {"conn_close_inside", test_conn_close_inside}, {"conn_move", test_conn_move}, {"messages_first", test_messages_first}, {"listeners", test_listeners},
	  {"accept_emfile", test_accept_emfile})
