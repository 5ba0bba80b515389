/* net.c: see net.h */
#include "bench/net.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX (256u << 20)
#define OUT_IOV 16

struct out_item {
	struct out_item *next;
	const uint8_t *payload;
	uint8_t *owned;
	size_t head_len, payload_len, pos;
	uint8_t head[];
};

struct pending {
	int32_t correlation_id;
	net_answer_fn fn;
	void *ctx;
	uint64_t tag;
};

struct net_conn {
	struct net *net;
	struct net_conn *dead_next;
	char *host;
	int port, fd;
	enum net_state state;
	bool want_write, freed;
	uint8_t *in;
	size_t in_len, in_cap;
	struct out_item *out_head, *out_tail;
	struct pending *pend; /* ring */
	uint32_t pend_first, pend_count, pend_cap;
	int32_t next_correlation_id;
};

struct net {
	int epfd;
	struct net_conn *dead; /* freed during a turn; the memory goes at its end */
};

uint64_t net_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NET_NS_PER_S + (uint64_t)ts.tv_nsec;
}

struct net *net_new(void)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (n->epfd < 0) {
		perror("klamm-load: epoll_create1");
		exit(1);
	}
	return n;
}

static void reap(struct net *n)
{
	while (n->dead) {
		struct net_conn *c = n->dead;

		n->dead = c->dead_next;
		free(c->host);
		free(c->in);
		free(c->pend);
		free(c);
	}
}

void net_free(struct net *n)
{
	if (!n)
		return;
	reap(n);
	close(n->epfd);
	free(n);
}

static void item_free(struct out_item *it)
{
	if (it)
		free(it->owned);
	free(it);
}

static void drop(struct net_conn *c, bool call_back)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = NET_CLOSED;
	c->want_write = false;
	c->in_len = 0;
	while (c->out_head) {
		struct out_item *it = c->out_head;

		c->out_head = it->next;
		item_free(it);
	}
	c->out_tail = NULL;
	/* A callback may open the connection again and send: only what is pending now ends. */
	for (uint32_t n = c->pend_count; n; n--) {
		struct pending p = c->pend[c->pend_first];

		c->pend_first = (c->pend_first + 1) % c->pend_cap;
		c->pend_count--;
		if (call_back && p.fn)
			p.fn(p.ctx, p.tag, slice_make(NULL, 0));
	}
}

static void arm(struct net_conn *c, bool write)
{
	struct epoll_event ev = {.events = EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};

	if (write == c->want_write)
		return;
	c->want_write = write;
	epoll_ctl(c->net->epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

void net_conn_open(struct net_conn *c)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *ai = NULL;
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
	char port[16];
	int one = 1;

	if (c->state != NET_CLOSED)
		return;
	snprintf(port, sizeof(port), "%d", c->port);
	if (getaddrinfo(c->host, port, &hints, &ai))
		return;
	c->fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd >= 0) {
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if ((connect(c->fd, ai->ai_addr, ai->ai_addrlen) == 0 || errno == EINPROGRESS) &&
		    epoll_ctl(c->net->epfd, EPOLL_CTL_ADD, c->fd, &ev) == 0) {
			c->state = NET_CONNECTING;
			c->want_write = true;
		} else {
			close(c->fd);
			c->fd = -1;
		}
	}
	freeaddrinfo(ai);
}

struct net_conn *net_conn_new(struct net *n, const char *host, int port)
{
	struct net_conn *c = calloc(1, sizeof(*c));

	if (!c || !(c->host = strdup(host)))
		abort();
	c->net = n;
	c->port = port;
	c->fd = -1;
	net_conn_open(c);
	return c;
}

void net_conn_free(struct net_conn *c)
{
	if (!c || c->freed)
		return;
	drop(c, false);
	c->freed = true;
	c->dead_next = c->net->dead;
	c->net->dead = c;
}

void net_conn_close(struct net_conn *c)
{
	drop(c, true);
}

enum net_state net_conn_state(const struct net_conn *c)
{
	return c->state;
}

unsigned net_conn_pending(const struct net_conn *c)
{
	return c->pend_count;
}

bool net_conn_unsent(const struct net_conn *c)
{
	return c->out_head != NULL;
}

bool net_conn_is(const struct net_conn *c, const char *host, int port)
{
	return c->port == port && !strcmp(c->host, host);
}

static unsigned gather(const struct net_conn *c, struct iovec *iov)
{
	unsigned n = 0;

	for (struct out_item *it = c->out_head; it && n + 2 <= OUT_IOV; it = it->next) {
		if (it->pos < it->head_len)
			iov[n++] = (struct iovec){it->head + it->pos, it->head_len - it->pos};
		if (it->payload_len) {
			size_t at = it->pos > it->head_len ? it->pos - it->head_len : 0;

			iov[n++] = (struct iovec){(void *)(uintptr_t)(it->payload + at), it->payload_len - at};
		}
	}
	return n;
}

/* Sends what goes; sent items without owner are freed, the others are held by their pending entry. False: broken. */
static bool flush(struct net_conn *c)
{
	while (c->out_head) {
		struct iovec iov[OUT_IOV];
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = gather(c, iov)};
		ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				return false;
			arm(c, true);
			return true;
		}
		while (n > 0) {
			struct out_item *it = c->out_head;
			size_t left = it->head_len + it->payload_len - it->pos;

			if ((size_t)n < left) {
				it->pos += (size_t)n;
				break;
			}
			n -= (ssize_t)left;
			c->out_head = it->next;
			if (!c->out_head)
				c->out_tail = NULL;
			item_free(it);
		}
	}
	arm(c, false);
	return true;
}

static void pend_push(struct net_conn *c, struct pending p)
{
	if (c->pend_count == c->pend_cap) {
		uint32_t cap = c->pend_cap ? c->pend_cap * 2 : 8;
		struct pending *ring = malloc(cap * sizeof(*ring));

		if (!ring)
			abort();
		for (uint32_t i = 0; i < c->pend_count; i++)
			ring[i] = c->pend[(c->pend_first + i) % c->pend_cap];
		free(c->pend);
		c->pend = ring;
		c->pend_cap = cap;
		c->pend_first = 0;
	}
	c->pend[(c->pend_first + c->pend_count++) % c->pend_cap] = p;
}

void net_request(struct net_conn *c, struct kw_out *head, const uint8_t *payload, size_t len, bool owned, net_answer_fn fn, void *ctx,
                 uint64_t tag)
{
	struct out_item *it;
	int32_t id = c->next_correlation_id++;

	if (c->state == NET_CLOSED) {
		if (owned)
			free((void *)(uintptr_t)payload);
		if (fn)
			fn(ctx, tag, slice_make(NULL, 0));
		return;
	}
	kw_finish(head, id, len);
	it = malloc(sizeof(*it) + head->len);
	if (!it)
		abort();
	*it = (struct out_item){.payload = payload, .owned = owned ? (uint8_t *)(uintptr_t)payload : NULL, .head_len = head->len, .payload_len = len};
	memcpy(it->head, head->data, head->len);
	if (c->out_tail)
		c->out_tail->next = it;
	else
		c->out_head = it;
	c->out_tail = it;
	if (fn)
		pend_push(c, (struct pending){.correlation_id = id, .fn = fn, .ctx = ctx, .tag = tag});
	/* A broken pipe shows in the next poll: callbacks never run inside of a request. */
	if (c->state == NET_OPEN && !c->want_write && !flush(c))
		arm(c, true);
}

static bool take_frames(struct net_conn *c)
{
	size_t at = 0;

	while (c->in_len - at >= 8) {
		uint32_t size = be32_get(c->in + at);
		struct pending p;

		if (size < 4 || size > FRAME_MAX)
			return false;
		if (c->in_len - at < 4 + (size_t)size) {
			if (c->in_cap < 4 + (size_t)size) {
				c->in_cap = 4 + (size_t)size + 65536;
				c->in = realloc(c->in, c->in_cap);
				if (!c->in)
					abort();
			}
			break;
		}
		if (!c->pend_count)
			return false;
		p = c->pend[c->pend_first];
		if (p.correlation_id != (int32_t)be32_get(c->in + at + 4))
			return false;
		c->pend_first = (c->pend_first + 1) % c->pend_cap;
		c->pend_count--;
		p.fn(p.ctx, p.tag, slice_make(c->in + at + 8, size - 4));
		if (c->state != NET_OPEN)
			return true; /* the callback closed it */
		at += 4 + (size_t)size;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	return true;
}

static bool receive(struct net_conn *c)
{
	if (!c->in) {
		c->in_cap = 65536;
		c->in = malloc(c->in_cap);
		if (!c->in)
			abort();
	}
	for (;;) {
		ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
		bool full;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		c->in_len += (size_t)n;
		full = c->in_len == c->in_cap;
		if (!take_frames(c))
			return false;
		if (c->state != NET_OPEN || !full)
			return true;
	}
}

static void on_event(struct net_conn *c, uint32_t events)
{
	if (c->state == NET_CONNECTING) {
		int err = 0;
		socklen_t len = sizeof(err);

		if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) || err) {
			drop(c, true);
			return;
		}
		if (!(events & EPOLLOUT))
			return;
		c->state = NET_OPEN;
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !receive(c)) {
		drop(c, true);
		return;
	}
	if (c->state == NET_OPEN && (events & EPOLLOUT) && !flush(c))
		drop(c, true);
}

void net_poll(struct net *n, uint64_t then_ns)
{
	struct epoll_event ev[256];
	uint64_t now = net_now(), wait = then_ns > now ? then_ns - now : 0;
	struct timespec ts = {(time_t)(wait / NET_NS_PER_S), (long)(wait % NET_NS_PER_S)};
	int count = epoll_pwait2(n->epfd, ev, 256, &ts, NULL);

	for (int i = 0; i < count; i++) {
		struct net_conn *c = ev[i].data.ptr;

		if (!c->freed && c->state != NET_CLOSED)
			on_event(c, ev[i].events);
	}
	reap(n);
}

struct call {
	bool done, failed;
	uint8_t *bytes;
	size_t len;
};

static void on_call(void *ctx, uint64_t tag, struct slice answer)
{
	struct call *k = ctx;

	k->done = true;
	k->failed = !answer.ptr;
	if (k->failed)
		return;
	k->len = answer.len;
	k->bytes = malloc(answer.len ? answer.len : 1);
	if (!k->bytes)
		abort();
	memcpy(k->bytes, answer.ptr, answer.len);
}

bool net_call(struct net_conn *c, struct kw_out *head, unsigned timeout_ms, uint8_t **ret_answer, size_t *ret_len)
{
	struct call k = {0};
	uint64_t end = net_now() + timeout_ms * NET_NS_PER_MS;

	net_request(c, head, NULL, 0, false, on_call, &k, 0);
	while (!k.done && net_now() < end)
		net_poll(c->net, end);
	if (!k.done)
		net_conn_close(c); /* calls back, so that k is not used after this */
	if (k.failed)
		return false;
	*ret_answer = k.bytes;
	*ret_len = k.len;
	return true;
}
