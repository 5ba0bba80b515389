/* net.c: frames in, answers out. See net.h. */
#include "brokerd/net/net.h"

#include "common/base/check.h"
#include "common/base/mem.h"

#define SLAB_BYTES (64 * 1024)
#define SLAB_LOW (4 * 1024)            /* a slab with less room than this is replaced */
#define DIRECT_MIN (24 * 1024)         /* frames from this size on are read into a buffer of their own */
#define GROW_FIRST (64 * 1024)         /* first memory for a large frame: what arrived decides the rest */
#define IDLE_CHECK_MS 1000
#define STALLED_FRAME_MS 10000         /* a half frame that stands still this long goes when others wait for memory */

struct net_listener {
	struct net_loop *net;
	struct listener *ln;
	char *name;
	struct list link;
};

struct net_conn {
	struct net_loop *net;
	struct conn *conn;
	struct list link;          /* net->conns, least recently active first */
	struct list wait_link;     /* net->starved, while it waits for memory */
	struct list requests;      /* in flight, oldest first */
	uint32_t inflight;
	int64_t active_us;
	const char *listener;
	uintptr_t word;
	/* receiving */
	struct buf *rx;            /* own buffer: a partial frame, or direct reading; NULL: reads go to the loop's slab */
	size_t rx_start, rx_end;   /* unparsed bytes in rx */
	uint32_t expect;           /* size of the last large frame, 0 = frames are small */
	bool offered_slab;         /* where the last on_space pointed */
	bool stopped;              /* on_space said no */
	bool held, closing, parsing, dead;
};

struct net_loop {
	struct loop *loop;
	uint32_t idx;
	struct net_config cfg;
	net_handler_fn *fn;
	void *ctx;
	struct net_loop **peers;
	uint32_t peer_count;
	struct list conns, starved, listeners;
	struct buf *slab;
	size_t slab_used;
	struct timer idle_timer;
	struct net_stats stats;
	uint32_t move_target;
	_Atomic uint64_t receive_bytes; /* of buffers that live, whoever holds them */
};

/* ---- receive memory ---- */

static void rx_freed(struct buf *b, void *ctx)
{
	struct net_loop *n = ctx;
	atomic_fetch_sub_explicit(&n->receive_bytes, b->cap, memory_order_relaxed);
}

static struct buf *rx_new(struct net_loop *n, size_t cap, bool must)
{
	uint64_t have = atomic_load_explicit(&n->receive_bytes, memory_order_relaxed);
	if (!must && have + cap > n->cfg.receive_bytes_max)
		return NULL;
	struct buf *b = buf_try_new(cap);
	if (!b)
		return NULL;
	b->on_free = rx_freed;
	b->ctx = n;
	atomic_fetch_add_explicit(&n->receive_bytes, b->cap, memory_order_relaxed);
	return b;
}

static bool slab_ready(struct net_loop *n)
{
	if (n->slab && !buf_shared(n->slab))
		n->slab_used = 0;
	if (n->slab && n->slab->cap - n->slab_used >= SLAB_LOW)
		return true;
	buf_unref(n->slab);
	n->slab = rx_new(n, SLAB_BYTES, false);
	n->slab_used = 0;
	return n->slab != NULL;
}

/* ---- requests ---- */

static void request_free(struct net_request *r)
{
	list_remove(&r->link);
	chain_clear(&r->out);
	buf_unref(r->buf);
	arena_fini(&r->arena);
	mem_free(r);
}

static void conn_drop(struct net_conn *c);
static void conn_parse(struct net_conn *c);

/* Sends what is answered, in order. */
static void conn_flush(struct net_conn *c)
{
	struct chain out;
	bool close_after = false;
	chain_init(&out);
	while (!list_empty(&c->requests) && !close_after) {
		struct net_request *r = LIST_ENTRY(c->requests.next, struct net_request, link);
		if (!r->answered)
			break;
		chain_append(&out, &r->out);
		close_after = r->close_after;
		c->inflight--;
		request_free(r);
	}
	if (out.bytes && !c->dead)
		conn_send(c->conn, &out);
	chain_clear(&out);
	if (close_after && !c->closing) {
		c->closing = true;
		/* What the peer sent after a request that closes the connection is dropped (protocol.md I3). */
		conn_shutdown(c->conn);
	}
}

static void request_settle(struct net_request *r)
{
	struct net_conn *c = r->conn;
	ASSERT(!r->answered);
	r->answered = true;
	r->on_gone = NULL;
	if (!c) {
		request_free(r);
		return;
	}
	if (c->requests.next != &r->link)
		return;
	conn_flush(c);
	bool waiting = c->stopped || (c->rx && c->rx_end > c->rx_start);
	if (waiting && !c->held && !c->closing && c->inflight < c->net->cfg.inflight_max && !c->parsing)
		conn_parse(c);
}

void net_answer(struct net_request *r, struct chain *out)
{
	chain_append(&r->out, out);
	request_settle(r);
}

void net_answer_none(struct net_request *r)
{
	r->silent = true;
	request_settle(r);
}

void net_answer_close(struct net_request *r)
{
	r->close_after = true;
	request_settle(r);
}

void net_request_set_target(struct net_request *r, uint32_t loop_idx)
{
	r->net->move_target = loop_idx;
}

const char *net_request_peer(const struct net_request *r)
{
	return r->conn ? r->conn->conn->peer : "";
}

uintptr_t *net_conn_word(struct net_request *r)
{
	static _Thread_local uintptr_t gone; /* the connection died: writes go nowhere */
	return r->conn ? &r->conn->word : &gone;
}

void net_hold(struct net_request *r)
{
	if (r->conn)
		r->conn->held = true;
}

void net_release(struct net_loop *n, struct net_conn *c)
{
	(void)n;
	if (!c || !c->held)
		return;
	c->held = false;
	if (!c->parsing)
		conn_parse(c);
}

/* ---- connections ---- */

static void touch(struct net_conn *c)
{
	c->active_us = loop_now_us(c->net->loop);
	list_remove(&c->link);
	list_push_back(&c->net->conns, &c->link);
}

/* The connection is gone: requests in flight live on without it. */
static void conn_orphan(struct net_conn *c)
{
	c->dead = true;
	LIST_FOR_SAFE(it, tmp, &c->requests) {
		struct net_request *r = LIST_ENTRY(it, struct net_request, link);
		list_remove(&r->link);
		r->conn = NULL;
		if (r->answered) {
			request_free(r);
			continue;
		}
		if (r->on_gone)
			r->on_gone(r);
	}
	list_remove(&c->link);
	list_remove(&c->wait_link);
	buf_unref(c->rx);
	c->rx = NULL;
	c->net->stats.connections--;
	if (!c->parsing)
		mem_free(c);
}

static void conn_drop(struct net_conn *c)
{
	if (c->dead)
		return;
	conn_close(c->conn);
	conn_orphan(c);
}

static void on_closed(struct conn *conn, void *ctx, int err)
{
	(void)conn, (void)err;
	conn_orphan(ctx);
}

static void resume_starved(struct net_loop *n)
{
	struct list *it = list_pop_front(&n->starved);
	if (it) {
		struct net_conn *c = LIST_ENTRY(it, struct net_conn, wait_link);
		c->stopped = false;
		conn_resume(c->conn);
	}
}

static bool starve(struct net_conn *c)
{
	c->stopped = true;
	list_remove(&c->wait_link);
	list_push_back(&c->net->starved, &c->wait_link);
	return false;
}

static bool keep_rest(struct net_conn *c, struct buf *buf, size_t start, size_t end);

static bool on_space(struct conn *conn, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct net_conn *c = ctx;
	struct net_loop *n = c->net;
	(void)conn;
	if (c->held || c->closing || c->inflight >= n->cfg.inflight_max) {
		c->stopped = true;
		return false;
	}
	if (!c->rx && c->expect) {
		/* The last frame was large: read the next one straight into its own buffer. */
		c->rx = rx_new(n, c->expect + 4 + 512, false);
		c->rx_start = c->rx_end = 0;
	}
	if (c->rx) {
		if (c->rx_end == c->rx->cap && !keep_rest(c, c->rx, c->rx_start, c->rx_end))
			return starve(c); /* memory was short when the frame wanted to grow, and still is */
		*ret_ptr = c->rx->data + c->rx_end;
		*ret_len = c->rx->cap - c->rx_end;
		c->offered_slab = false;
		return true;
	}
	if (!slab_ready(n))
		return starve(c);
	*ret_ptr = n->slab->data + n->slab_used;
	*ret_len = n->slab->cap - n->slab_used;
	c->offered_slab = true;
	return true;
}

static enum net_verdict hand_out(struct net_conn *c, struct buf *buf, struct slice frame)
{
	struct net_loop *n = c->net;
	struct net_request *r = MEM_NEW(struct net_request);
	r->conn = c;
	r->net = n;
	r->buf = buf_ref(buf);
	r->frame = frame;
	r->received_us = loop_now_us(n->loop);
	r->listener = c->listener;
	arena_init(&r->arena, n->cfg.request_arena_max + frame.len * 8);
	chain_init(&r->out);
	list_init(&r->link);
	list_push_back(&c->requests, &r->link);
	c->inflight++;
	n->stats.requests++;
	enum net_verdict v = n->fn(n->ctx, r);
	if (v != NET_TAKEN) {
		if (!c->dead)
			c->inflight--;
		request_free(r);
	}
	return v;
}

static void on_arrived(struct conn *conn, void *ctx);

/* Hands out the frames in [start, end) of buf; returns the bytes used. */
static size_t parse_frames(struct net_conn *c, struct buf *buf, size_t start, size_t end, bool *ret_moved)
{
	struct net_loop *n = c->net;
	size_t pos = start;
	*ret_moved = false;
	while (!c->dead && !c->held && !c->closing && c->inflight < n->cfg.inflight_max && end - pos >= 4) {
		int32_t size = (int32_t)be32_get(buf->data + pos);
		if (size < 0 || size > n->cfg.frame_bytes_max) {
			conn_drop(c);
			break;
		}
		if (end - pos - 4 < (size_t)size)
			break;
		enum net_verdict v = hand_out(c, buf, slice_make(buf->data + pos + 4, (size_t)size));
		if (c->dead)
			break;
		if (v == NET_CLOSE) {
			/* answers to what came before are still sent */
			if (list_empty(&c->requests))
				conn_drop(c);
			else
				LIST_ENTRY(c->requests.prev, struct net_request, link)->close_after = true;
			c->held = true;
			break;
		}
		if (v == NET_MOVE) {
			*ret_moved = true;
			break; /* the frame stays unparsed: it is served first on the other loop */
		}
		c->expect = size >= DIRECT_MIN ? (uint32_t)size : 0;
		pos += 4 + (size_t)size;
	}
	return pos - start;
}

/* Keeps [start, end) of buf, a partial frame (or frames that wait), as the connection's own. */
static bool keep_rest(struct net_conn *c, struct buf *buf, size_t start, size_t end)
{
	size_t have = end - start;
	size_t want = have + 512;
	if (have >= 4) {
		uint32_t size = be32_get(buf->data + start);
		size_t whole = (size_t)size + 4;
		/* Room for the whole frame only as far as what arrived justifies: at most double. */
		size_t cap = have * 2 > GROW_FIRST ? have * 2 : GROW_FIRST;
		want = whole > have ? (whole < cap ? whole : cap) : have + 512;
	}
	if (c->rx == buf && start == 0 && end < buf->cap) { /* grown only when full, so that doubling stays doubling */
		c->rx_start = 0;
		c->rx_end = end;
		return true;
	}
	if (c->rx == buf && !buf_shared(buf) && want <= buf->cap) {
		memmove(buf->data, buf->data + start, have);
		c->rx_start = 0;
		c->rx_end = have;
		return true;
	}
	struct buf *own = rx_new(c->net, want, want <= SLAB_LOW);
	if (!own)
		return false;
	memcpy(own->data, buf->data + start, have);
	buf_unref(c->rx);
	c->rx = own;
	c->rx_start = 0;
	c->rx_end = have;
	return true;
}

static void conn_move_away(struct net_conn *c)
{
	struct net_loop *to = c->net->peers[c->net->move_target];
	list_remove(&c->link);
	list_remove(&c->wait_link);
	c->net->stats.connections--;
	c->net = to;
	conn_move(c->conn, to->loop, on_arrived);
}

/* Hands out what can be handed out of the connection's own buffer, then lets it read on. */
static void conn_parse(struct net_conn *c)
{
	bool moved = false;
	c->parsing = true;
	if (c->rx && c->rx_end > c->rx_start) {
		struct buf *buf = buf_ref(c->rx);
		size_t end = c->rx_end;
		size_t used = parse_frames(c, buf, c->rx_start, end, &moved);
		if (!c->dead) {
			size_t start = c->rx_start + used;
			if (start == end) {
				buf_unref(c->rx);
				c->rx = NULL;
			} else {
				c->rx_start = start;
				buf_unref(buf); /* so that keep_rest sees whether anybody else holds it */
				struct buf *rx = c->rx;
				if (!c->held && !keep_rest(c, rx, start, end)) {
					c->parsing = false;
					starve(c);
					return;
				}
				buf = NULL;
			}
		}
		buf_unref(buf);
	}
	c->parsing = false;
	if (c->dead) {
		mem_free(c);
		return;
	}
	if (moved) {
		conn_move_away(c);
		return;
	}
	if (c->stopped && !c->held && !c->closing && c->inflight < c->net->cfg.inflight_max) {
		c->stopped = false;
		conn_resume(c->conn);
	}
}

static void on_data(struct conn *conn, void *ctx, size_t len)
{
	struct net_conn *c = ctx;
	struct net_loop *n = c->net;
	(void)conn;
	touch(c);
	if (!c->offered_slab) {
		c->rx_end += len;
		conn_parse(c);
		return;
	}
	bool moved = false;
	size_t start = n->slab_used, end = start + len;
	struct buf *slab = buf_ref(n->slab);
	n->slab_used = end;
	c->parsing = true;
	size_t used = parse_frames(c, slab, start, end, &moved);
	c->parsing = false;
	if (c->dead) {
		mem_free(c);
	} else {
		if (start + used < end && !keep_rest(c, slab, start + used, end))
			conn_drop(c); /* no memory even for what arrived: the peer retries */
		else if (moved)
			conn_move_away(c);
	}
	buf_unref(slab);
}

static void on_sent(struct conn *conn, void *ctx, uint64_t left)
{
	struct net_conn *c = ctx;
	(void)conn, (void)left;
	touch(c);
}

static const struct conn_handler net_conn_handler = {
	.on_space = on_space,
	.on_data = on_data,
	.on_sent = on_sent,
	.on_closed = on_closed,
};

static void on_accept(struct listener *ln, struct conn *conn, void *ctx)
{
	struct net_listener *nl = ctx;
	struct net_loop *n = nl->net;
	(void)ln;
	if (n->stats.connections >= n->cfg.connections_max) {
		n->stats.refused++;
		conn_close(conn);
		return;
	}
	struct net_conn *c = MEM_NEW(struct net_conn);
	c->net = n;
	c->conn = conn;
	c->listener = nl->name;
	c->active_us = loop_now_us(n->loop);
	list_init(&c->link);
	list_init(&c->wait_link);
	list_init(&c->requests);
	list_push_back(&n->conns, &c->link);
	conn->handler = &net_conn_handler;
	conn->ctx = c;
	n->stats.connections++;
	n->stats.accepted++;
}

static void on_arrived(struct conn *conn, void *ctx)
{
	struct net_conn *c = ctx;
	(void)conn;
	c->net->stats.connections++;
	list_push_back(&c->net->conns, &c->link);
	c->active_us = loop_now_us(c->net->loop);
	c->stopped = true; /* so that conn_parse lets it read on */
	conn_parse(c);
}

/* ---- the loop's part ---- */

static void on_idle_timer(void *ctx)
{
	struct net_loop *n = ctx;
	int64_t now = loop_now_us(n->loop);
	while (n->cfg.idle_max_ms > 0 && !list_empty(&n->conns)) {
		struct net_conn *c = LIST_ENTRY(n->conns.next, struct net_conn, link);
		if (now - c->active_us < n->cfg.idle_max_ms * 1000)
			break;
		if (c->inflight) { /* waiting for us, not idle */
			touch(c);
			continue;
		}
		n->stats.closed_idle++;
		conn_drop(c);
	}
	if (!list_empty(&n->starved)) {
		/* Memory is short and some wait for it: a half frame that stands still gives its part back. */
		LIST_FOR_SAFE(it, tmp, &n->conns) {
			struct net_conn *c = LIST_ENTRY(it, struct net_conn, link);
			if (now - c->active_us < STALLED_FRAME_MS * 1000)
				break;
			if (c->rx && c->rx->cap > SLAB_LOW && !c->inflight)
				conn_drop(c);
		}
		resume_starved(n);
	}
	timer_set_ms(&n->idle_timer, list_empty(&n->starved) ? IDLE_CHECK_MS : 10);
}

struct net_loop *net_loop_new(struct loop *l, uint32_t idx, const struct net_config *cfg, net_handler_fn *fn, void *ctx)
{
	struct net_loop *n = MEM_NEW(struct net_loop);
	n->loop = l;
	n->idx = idx;
	n->cfg = *cfg;
	n->fn = fn;
	n->ctx = ctx;
	list_init(&n->conns);
	list_init(&n->starved);
	list_init(&n->listeners);
	timer_init(&n->idle_timer, l, on_idle_timer, n);
	return n;
}

void net_loop_set_peers(struct net_loop *n, struct net_loop **peers, uint32_t count)
{
	n->peers = peers;
	n->peer_count = count;
}

int net_listen(struct net_loop *n, const char *name, const char *host, uint16_t port, int backlog, uint16_t *ret_port)
{
	loop_assert_owner(n->loop);
	struct net_listener *nl = MEM_NEW(struct net_listener);
	nl->net = n;
	nl->name = mem_strdup(name);
	list_init(&nl->link);
	struct listen_config lc = {.host = host, .port = port, .backlog = backlog, .on_accept = on_accept, .ctx = nl};
	int err = listener_open(n->loop, &lc, &nl->ln);
	if (err) {
		mem_free(nl->name);
		mem_free(nl);
		return err;
	}
	list_push_back(&n->listeners, &nl->link);
	*ret_port = nl->ln->port;
	if (!timer_armed(&n->idle_timer))
		timer_set_ms(&n->idle_timer, IDLE_CHECK_MS);
	return 0;
}

void net_stop_listening(struct net_loop *n)
{
	LIST_FOR(it, &n->listeners) {
		struct net_listener *nl = LIST_ENTRY(it, struct net_listener, link);
		if (nl->ln)
			listener_close(nl->ln);
		nl->ln = NULL; /* the name stays: connections point to it */
	}
}

void net_close_all(struct net_loop *n)
{
	while (!list_empty(&n->conns))
		conn_drop(LIST_ENTRY(n->conns.next, struct net_conn, link));
	timer_stop(&n->idle_timer);
}

void net_loop_free(struct net_loop *n)
{
	if (!n)
		return;
	net_stop_listening(n);
	net_close_all(n);
	struct list *it;
	while ((it = list_pop_front(&n->listeners))) {
		struct net_listener *nl = LIST_ENTRY(it, struct net_listener, link);
		mem_free(nl->name);
		mem_free(nl);
	}
	buf_unref(n->slab);
	mem_free(n);
}

const struct net_stats *net_loop_stats(struct net_loop *n)
{
	n->stats.receive_bytes = atomic_load_explicit(&n->receive_bytes, memory_order_relaxed);
	return &n->stats;
}
