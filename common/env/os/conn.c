/* conn.c: stream connections over non-blocking sockets.
 *
 * States: RESOLVING -> CONNECTING -> OPEN; accepted ones begin OPEN; OPEN -> MOVING -> OPEN on another loop. `closed` may be set in
 * each of them and is final: the descriptor is gone, no callback follows, the memory goes at the end of the turn (or when the pool
 * task that points here is back), so that a callback may close its own connection or any other one of its loop.
 *
 * Nothing is reported from inside a call of the user: conn_send may write at once when much is queued, but what comes of it
 * (on_sent, on_closed) is told at the end of the turn, for which the connection is put into the loop's flush list.
 *
 * Reading is level-triggered and goes on within a turn while data fills the space offered, up to READ_TURN_MAX bytes. Writing
 * gathers bytes into one sendmsg and sends file ranges by sendfile. A range that is not in the page cache is read by the pool into
 * a bounded buffer and sent from there (protocol.md G4), so a slow disk stops this connection and not the loop. A range of an older
 * generation, or beyond the end of its file, ends the connection: the frame's length has been promised already.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define READ_TURN_MAX (256 * 1024)
#define WRITE_TURN_MAX (4 * 1024 * 1024)
#define WRITE_NOW_BYTES (256 * 1024) /* more than this queued: conn_send writes at once */
#define IOV_COUNT 64
#define GATHER_MAX (1024 * 1024)
#define RANGE_MAX (256 * 1024) /* one sendfile, one cold read */
#define ADDRS_MAX 8
#define DRAIN_MAX (256 * 1024)

enum conn_state { CONN_RESOLVING, CONN_CONNECTING, CONN_OPEN, CONN_MOVING };

/* What only an outgoing connection needs, until it is open. */
struct dial {
	char *host;
	uint16_t port;
	struct timer timeout;
	struct os_task resolve;
	struct os_addr addrs[ADDRS_MAX];
	size_t addrs_count, next;
	int last_err;
};

struct cold {
	struct os_task task;
	struct file *file;
	struct buf *buf;
	uint64_t pos;
	size_t len, got;
	uint32_t generation;
	int err;
};

struct os_conn {
	struct conn c; /* first */
	struct os_loop *l;
	int fd;
	enum conn_state state;
	bool closed;       /* final */
	bool paused;       /* on_space said no */
	bool closing;      /* conn_shutdown */
	bool blocked;      /* the socket takes no more */
	bool sent_dirty;   /* on_sent is owed */
	bool in_data;      /* inside on_data: conn_move is allowed */
	int fail_err;      /* to be reported at the end of the turn */
	int holds;         /* pool tasks that point here */
	ev_io rd, wr;
	struct list all;   /* loop->conns, or loop->dead once closed */
	struct list flush;
	struct chain out;
	struct dial *dial;
	struct cold *cold; /* a cold read is on its way */
	struct os_loop *move_to;
	void (*arrived)(struct conn *c, void *ctx);
	struct msg move_msg;
};

static void on_readable(struct ev_loop *ev, ev_io *io, int events);
static void on_writable(struct ev_loop *ev, ev_io *io, int events);
static void dial_next(struct os_conn *c);

static struct os_conn *conn_of(struct conn *c) { return (struct os_conn *)c; }

static void flush_later(struct os_conn *c)
{
	if (list_empty(&c->flush))
		list_push_back(&c->l->flush, &c->flush);
}

static void fail_later(struct os_conn *c, int err)
{
	if (c->fail_err == 0)
		c->fail_err = err;
	flush_later(c);
}

static struct os_conn *conn_new(struct os_loop *l)
{
	struct os_conn *c = MEM_NEW(struct os_conn);

	c->c.loop = &l->loop;
	c->l = l;
	c->fd = -1;
	list_init(&c->flush);
	list_init(&c->all);
	list_push_back(&l->conns, &c->all);
	chain_init(&c->out);
	return c;
}

static void watch(struct os_conn *c, int fd)
{
	c->fd = fd;
	ev_io_init(&c->rd, on_readable, fd, EV_READ);
	ev_io_init(&c->wr, on_writable, fd, EV_WRITE);
	c->rd.data = c->wr.data = c;
}

static void unwatch(struct os_conn *c)
{
	if (c->fd >= 0) {
		ev_io_stop(c->l->ev, &c->rd);
		ev_io_stop(c->l->ev, &c->wr);
	}
}

static void close_fd(struct os_conn *c)
{
	if (c->fd >= 0) {
		unwatch(c);
		close(c->fd);
		c->fd = -1;
	}
}

static void dial_free(struct os_conn *c)
{
	struct dial *d = c->dial;

	if (!d || c->holds > 0)
		return; /* the resolver writes into it */
	timer_stop(&d->timeout);
	mem_free(d->host);
	mem_free(d);
	c->dial = NULL;
}

static void cold_free(struct os_conn *c)
{
	struct cold *cold = c->cold;

	if (!cold)
		return;
	file_unref(cold->file);
	buf_unref(cold->buf);
	mem_free(cold);
	c->cold = NULL;
}

/* Final: everything but the memory. */
static void close_now(struct os_conn *c)
{
	ASSERT(!c->closed && c->state != CONN_MOVING);
	c->closed = true;
	close_fd(c);
	if (c->dial)
		timer_stop(&c->dial->timeout);
	chain_clear(&c->out);
	c->c.queued = 0;
	list_remove(&c->flush);
	list_remove(&c->all);
	list_push_back(&c->l->dead, &c->all);
}

static void fail(struct os_conn *c, int err)
{
	close_now(c);
	if (c->c.handler && c->c.handler->on_closed)
		c->c.handler->on_closed(&c->c, c->c.ctx, err);
}

void os_conns_reap(struct os_loop *l)
{
	LIST_FOR_SAFE (it, tmp, &l->dead) {
		struct os_conn *c = LIST_ENTRY(it, struct os_conn, all);
		if (c->holds > 0)
			continue;
		list_remove(&c->all);
		dial_free(c);
		cold_free(c);
		mem_free(c);
	}
}

void os_conns_free(struct os_loop *l)
{
	while (!list_empty(&l->conns))
		close_now(LIST_ENTRY(l->conns.next, struct os_conn, all));
	LIST_FOR (it, &l->dead)
		LIST_ENTRY(it, struct os_conn, all)->holds = 0; /* the pool is gone */
	os_conns_reap(l);
}

/* ---- connecting ---- */

static int err_of_connect(int e)
{
	switch (e) {
	case ECONNREFUSED:
		return ERR_REFUSED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return ERR_LIMIT;
	case ECONNRESET:
	case EPIPE:
		return ERR_RESET;
	default:
		return ERR_UNREACHABLE;
	}
}

static void socket_options(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
}

static void opened(struct os_conn *c)
{
	c->state = CONN_OPEN;
	dial_free(c);
	ev_io_start(c->l->ev, &c->rd);
	if (c->c.handler->on_open)
		c->c.handler->on_open(&c->c, c->c.ctx);
	if (!c->closed && (c->out.head || c->closing))
		flush_later(c);
}

/* Tries one address after the other. Does not call back: a failure is reported at the end of the turn. */
static void dial_next(struct os_conn *c)
{
	struct dial *d = c->dial;

	close_fd(c);
	while (d->next < d->addrs_count) {
		const struct os_addr *a = &d->addrs[d->next++];
		int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0) {
			d->last_err = err_of_connect(errno);
			continue;
		}
		socket_options(fd);
		int rc;
		do
			rc = connect(fd, &a->sa, a->len);
		while (rc < 0 && errno == EINTR);
		if (rc < 0 && errno != EINPROGRESS) {
			d->last_err = err_of_connect(errno);
			close(fd);
			continue;
		}
		os_addr_text(a, c->c.peer, sizeof(c->c.peer), &c->c.peer_port);
		c->state = CONN_CONNECTING;
		watch(c, fd);
		ev_io_start(c->l->ev, &c->wr); /* writable at once if it is connected already */
		return;
	}
	fail_later(c, d->last_err);
}

static void resolve_run(struct os_task *t)
{
	struct dial *d = CONTAINER_OF(t, struct dial, resolve);

	d->addrs_count = os_addr_resolve(d->host, d->port, d->addrs, ADDRS_MAX);
}


static void resolve_done(struct os_task *t)
{
	struct dial *d = CONTAINER_OF(t, struct dial, resolve);
	struct os_conn *c = d->timeout.ctx;

	c->holds--;
	if (!c->closed)
		dial_next(c);
}

static void connect_timeout(void *ctx)
{
	fail(ctx, ERR_TIMEOUT);
}

struct conn *os_conn_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h,
			     void *ctx)
{
	struct os_loop *l = os_loop_of(loop);
	struct os_conn *c = conn_new(l);
	struct dial *d = MEM_NEW(struct dial);

	c->c.handler = h;
	c->c.ctx = ctx;
	c->dial = d;
	snprintf(c->c.peer, sizeof(c->c.peer), "%.63s", host);
	c->c.peer_port = port;
	d->port = port;
	d->last_err = ERR_UNREACHABLE;
	timer_init(&d->timeout, loop, connect_timeout, c);
	timer_set_ms(&d->timeout, timeout_ms);
	if (os_addr_numeric(host, port, &d->addrs[0])) {
		d->addrs_count = 1;
		dial_next(c);
	} else {
		c->state = CONN_RESOLVING;
		d->host = mem_strdup(host);
		d->resolve = (struct os_task){.run = resolve_run, .done = resolve_done, .l = l};
		c->holds++;
		os_pool_submit(l->world->pool, OS_POOL_NAMES, &d->resolve);
	}
	return &c->c;
}

/* ---- accepted ---- */

struct conn *os_conn_accepted(struct os_loop *l, int fd, const struct os_addr *peer)
{
	struct os_conn *c = conn_new(l);

	c->state = CONN_OPEN;
	os_addr_text(peer, c->c.peer, sizeof(c->c.peer), &c->c.peer_port);
	socket_options(fd);
	watch(c, fd);
	return &c->c;
}

bool os_conn_start(struct conn *conn)
{
	struct os_conn *c = conn_of(conn);

	if (c->closed)
		return false;
	ASSERT(c->c.handler);
	if (!c->paused && !c->closing)
		ev_io_start(c->l->ev, &c->rd);
	return true;
}

/* ---- reading ---- */

static void move_send(struct os_conn *c);

static void on_readable(struct ev_loop *ev, ev_io *io, int events)
{
	struct os_conn *c = io->data;
	size_t total = 0;

	while (total < READ_TURN_MAX) {
		uint8_t *ptr;
		size_t len = 0;
		if (!c->c.handler->on_space(&c->c, c->c.ctx, &ptr, &len)) {
			if (!c->closed) {
				c->paused = true;
				ev_io_stop(c->l->ev, &c->rd);
			}
			return;
		}
		if (c->closed)
			return;
		ASSERT(len > 0);
		ssize_t n = recv(c->fd, ptr, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0) {
			fail(c, n == 0 ? ERR_CLOSED : ERR_RESET);
			return;
		}
		total += (size_t)n;
		c->in_data = true;
		c->c.handler->on_data(&c->c, c->c.ctx, (size_t)n);
		c->in_data = false;
		if (c->state == CONN_MOVING) {
			move_send(c);
			return;
		}
		if (c->closed || c->closing || (size_t)n < len)
			return;
	}
}

void os_conn_resume(struct conn *conn)
{
	struct os_conn *c = conn_of(conn);

	if (c->closed || !c->paused)
		return;
	c->paused = false;
	if (c->state == CONN_OPEN && !c->closing)
		ev_io_start(c->l->ev, &c->rd);
}

/* ---- writing ---- */

static int err_of_send(int e)
{
	return e == EAGAIN || e == EWOULDBLOCK ? ERR_AGAIN : ERR_RESET;
}

static int send_bytes(struct os_conn *c, uint64_t *ret_n)
{
	struct iovec iov[IOV_COUNT];
	size_t count = 0, total = 0;
	struct chain_item *it = c->out.head;

	for (; it && it->buf && count < IOV_COUNT && total < GATHER_MAX; it = it->next) {
		iov[count++] = (struct iovec){it->buf->data + it->pos, it->len};
		total += it->len;
	}
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t n;
	do
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | (it ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_of_send(errno);
	*ret_n = (uint64_t)n;
	return 0;
}

static void cold_run(struct os_task *t)
{
	struct cold *cold = CONTAINER_OF(t, struct cold, task);

	cold->err = os_pread_full(os_file_of(cold->file)->fd, cold->pos, cold->buf->data, cold->len, &cold->got);
}

static void cold_done(struct os_task *t)
{
	struct cold *cold = CONTAINER_OF(t, struct cold, task);
	struct os_conn *c = cold->buf->ctx;
	struct chain ready;

	c->holds--;
	if (c->closed)
		return; /* reaped at the end of the turn */
	if (cold->err || cold->got < cold->len || cold->generation != file_generation(cold->file)) {
		fail(c, ERR_IO);
		return;
	}
	chain_init(&ready);
	chain_consume(&c->out, cold->len);
	chain_add_buf(&ready, buf_ref(cold->buf), 0, cold->len);
	chain_append(&ready, &c->out);
	chain_append(&c->out, &ready);
	cold_free(c);
	flush_later(c);
}

static void cold_start(struct os_conn *c, const struct chain_item *it, size_t len)
{
	struct cold *cold = MEM_NEW(struct cold);

	c->cold = cold;
	c->holds++;
	cold->file = file_ref(it->file);
	cold->generation = it->generation;
	cold->pos = it->pos;
	cold->len = len;
	cold->buf = buf_new(len);
	cold->buf->ctx = c; /* on_free is not set: the pointer is ours to use */
	cold->task = (struct os_task){.run = cold_run, .done = cold_done, .l = c->l};
	os_pool_submit(c->l->world->pool, OS_POOL_IO, &cold->task);
}

static int send_range(struct os_conn *c, uint64_t *ret_n)
{
	const struct chain_item *it = c->out.head;
	size_t len = it->len < RANGE_MAX ? (size_t)it->len : RANGE_MAX;
	off_t pos = (off_t)it->pos;
	ssize_t n;

	if (it->generation != file_generation(it->file))
		return ERR_IO;
	if (!file_resident(it->file, it->pos, len)) {
		cold_start(c, it, len);
		return ERR_AGAIN;
	}
	do
		n = sendfile(c->fd, os_file_of(it->file)->fd, &pos, len);
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno == EIO || errno == EINVAL || errno == EBADF || errno == EOVERFLOW)
			return ERR_IO;
		return err_of_send(errno);
	}
	/* Changed while it was read: what went out may be neither the old bytes nor the new ones. */
	if (n == 0 || it->generation != file_generation(it->file))
		return ERR_IO;
	*ret_n = (uint64_t)n;
	return 0;
}

/* Writes what the socket takes. Does not call back. 0 or the error that ends the connection. */
static int write_out(struct os_conn *c)
{
	uint64_t total = 0, n;

	while (c->out.head && !c->blocked && !c->cold) {
		if (total >= WRITE_TURN_MAX) {
			flush_later(c);
			break;
		}
		int err = c->out.head->buf ? send_bytes(c, &n) : send_range(c, &n);
		if (err == ERR_AGAIN) {
			if (!c->cold) {
				c->blocked = true;
				ev_io_start(c->l->ev, &c->wr);
			}
			break;
		}
		if (err)
			return err;
		chain_consume(&c->out, n);
		c->sent_dirty = true;
		total += n;
	}
	c->c.queued = c->out.bytes;
	return 0;
}

/* Closing with unread input in the socket would make the kernel send a reset, which can overtake what we just sent. */
static void drain_and_finish(struct os_conn *c)
{
	uint8_t waste[4096];

	if (c->fd >= 0) {
		shutdown(c->fd, SHUT_WR);
		for (size_t total = 0; total < DRAIN_MAX;) {
			ssize_t n = recv(c->fd, waste, sizeof(waste), 0);
			if (n <= 0)
				break;
			total += (size_t)n;
		}
	}
	fail(c, ERR_CLOSED);
}

/* Writes and then tells: called at the top of the stack only. */
static void process(struct os_conn *c)
{
	if (c->fail_err == 0 && c->state == CONN_OPEN)
		c->fail_err = write_out(c);
	if (c->fail_err) {
		fail(c, c->fail_err);
		return;
	}
	if (c->sent_dirty) {
		c->sent_dirty = false;
		if (c->c.handler->on_sent)
			c->c.handler->on_sent(&c->c, c->c.ctx, c->out.bytes);
		if (c->closed)
			return;
	}
	if (c->closing && !c->out.head && !c->cold)
		drain_and_finish(c);
}

void os_conns_flush(struct os_loop *l)
{
	struct list now;

	if (list_empty(&l->flush))
		return;
	list_init(&now);
	while (!list_empty(&l->flush))
		list_push_back(&now, list_pop_front(&l->flush));
	/* Callbacks may close any of them (which unlinks it from `now`) and queue any (for the next turn). */
	struct list *it;
	while ((it = list_pop_front(&now)))
		process(LIST_ENTRY(it, struct os_conn, flush));
}

static void on_writable(struct ev_loop *ev, ev_io *io, int events)
{
	struct os_conn *c = io->data;

	ev_io_stop(c->l->ev, &c->wr);
	if (c->state == CONN_CONNECTING) {
		int e = 0;
		socklen_t len = sizeof(e);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
		if (e == 0) {
			opened(c);
		} else {
			c->dial->last_err = err_of_connect(e);
			dial_next(c);
		}
		return;
	}
	c->blocked = false;
	process(c);
}

void os_conn_send(struct conn *conn, struct chain *chain)
{
	struct os_conn *c = conn_of(conn);

	ASSERT(!c->closed && c->state != CONN_MOVING);
	if (c->closing || c->fail_err) {
		chain_clear(chain);
		return;
	}
	chain_append(&c->out, chain);
	c->c.queued = c->out.bytes;
	if (!c->out.head)
		return;
	if (c->state == CONN_OPEN && c->out.bytes > WRITE_NOW_BYTES && !c->blocked) {
		int err = write_out(c);
		if (err)
			fail_later(c, err);
	}
	if (c->state == CONN_OPEN && !c->blocked)
		flush_later(c);
	else if (c->sent_dirty)
		flush_later(c);
}

/* ---- ends ---- */

void os_conn_close(struct conn *conn)
{
	struct os_conn *c = conn_of(conn);

	if (!c->closed)
		close_now(c);
}

void os_conn_shutdown(struct conn *conn)
{
	struct os_conn *c = conn_of(conn);

	if (c->closed || c->closing)
		return;
	c->closing = true;
	if (c->state == CONN_OPEN)
		ev_io_stop(c->l->ev, &c->rd);
	flush_later(c);
}

/* ---- moving ---- */

static void move_arrived(struct msg *m)
{
	struct os_conn *c = CONTAINER_OF(m, struct os_conn, move_msg);

	c->state = CONN_OPEN;
	list_push_back(&c->l->conns, &c->all);
	c->arrived(&c->c, c->c.ctx);
	if (!c->closed && !c->paused && !c->closing)
		ev_io_start(c->l->ev, &c->rd);
}

/* on_data is over: from the post on the other loop owns it. */
static void move_send(struct os_conn *c)
{
	unwatch(c);
	list_remove(&c->all);
	list_remove(&c->flush);
	c->sent_dirty = false;
	c->l = c->move_to;
	c->c.loop = &c->move_to->loop;
	watch(c, c->fd);
	c->move_msg.deliver = move_arrived;
	loop_post(&c->move_to->loop, &c->move_msg);
}

void os_conn_move(struct conn *conn, struct loop *to, void (*arrived)(struct conn *c, void *ctx))
{
	struct os_conn *c = conn_of(conn);

	ASSERT(c->in_data && !c->closed && !c->closing && !c->out.head && c->state == CONN_OPEN && !c->fail_err);
	c->state = CONN_MOVING;
	c->move_to = os_loop_of(to);
	c->arrived = arrived;
}
