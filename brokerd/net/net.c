/* net.c: frames in, answers out. See net.h.
 *
 * Receive memory comes in blocks of a few sizes (64 KiB to 2 MiB, with a little more for what stands around a batch) that go
 * round: a buffer that nobody holds any more gives its block back, from whatever thread, and the loop takes it again. A block that
 * was used has its pages, so a stream of large frames costs no page faults. What the loop did not need for a second goes back to
 * the system, so an idle broker keeps nothing.
 *
 * A connection whose last frame was large reads the next one into a buffer of that size, ends exactly where the frame ends once its
 * size is known, and therefore copies nothing. A frame that grows beyond that gets memory as it arrives, at most double.
 */
#include "brokerd/net/net.h"

#include "common/base/check.h"
#include "common/base/mem.h"

#define SLAB_BYTES (128 * 1024)
#define SLAB_LOW (4 * 1024)            /* a slab with less room than this is replaced */
#define DIRECT_MIN (24 * 1024)         /* frames from this size on are read into a buffer of their own */
#define GROW_FIRST (64 * 1024)         /* first memory for a large frame: what arrived decides the rest */
#define BLOCK_SIZES 6
#define BLOCK_FIRST ((size_t)64 * 1024)
#define BLOCK_EXTRA ((size_t)8 * 1024) /* batches are powers of two, frames are a little more */
#define BLOCKS_KEPT_MAX ((size_t)8 << 20) /* bytes that one loop keeps for what comes */
#define REQUESTS_KEPT_MAX 64
#define UNSENT_MAX ((uint64_t)256 * 1024) /* a peer that leaves more answers than this unread gets no further request served */
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
	uint16_t unanswered[NET_KINDS]; /* of `requests`, by kind */
	uint16_t under_way;        /* kinds (bits) of which some are unanswered */
	uint16_t waits_for;        /* those of them that must be answered before the next frame is handed out */
	int64_t active_us;
	const char *listener;
	uintptr_t word;
	/* receiving */
	struct buf *rx;            /* own buffer: a partial frame, or direct reading; NULL: reads go to the loop's slab */
	size_t rx_start, rx_end;   /* unparsed bytes in rx */
	uint32_t expect;           /* size of the last large frame, 0 = frames are small */
	bool offered_slab;         /* where the last on_space pointed */
	bool stopped;              /* on_space said no */
	bool in_data;              /* the connection can move to another loop only from there */
	bool held, closing, parsing, dead;
	uint32_t place;            /* in the table of addresses */
};

/* A piece of receive memory that nobody uses. */
struct block {
	struct block *next;
	size_t cap;
};

struct net_loop {
	struct loop *loop;
	uint32_t idx;
	struct net_config cfg;
	struct net_limit_values limits; /* its overrides are ours */
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
	struct block *_Atomic returned; /* blocks that came back, from any thread */
	struct block *blocks[BLOCK_SIZES];
	size_t kept_bytes;              /* of `blocks` */
	size_t kept_least;              /* the least they were since the last look: nobody needed as much */
	int64_t trimmed_us;
	struct list spare_requests;
	uint32_t spare_count;
};

/* ---- receive memory ---- */

static size_t block_cap(unsigned size)
{
	return (BLOCK_FIRST << size) + (size ? BLOCK_EXTRA : 0);
}

/* The smallest of our sizes that holds cap; BLOCK_SIZES if none does. */
static unsigned block_size(size_t cap)
{
	unsigned size = 0;
	while (size < BLOCK_SIZES && block_cap(size) < cap)
		size++;
	return size;
}

static void block_keep(struct net_loop *n, struct block *b)
{
	unsigned size = block_size(b->cap);
	if (n->kept_bytes + b->cap > BLOCKS_KEPT_MAX) {
		mem_free(b);
		return;
	}
	b->next = n->blocks[size];
	n->blocks[size] = b;
	n->kept_bytes += b->cap;
}

static void blocks_collect(struct net_loop *n)
{
	struct block *b = atomic_exchange_explicit(&n->returned, NULL, memory_order_acquire);
	while (b) {
		struct block *next = b->next;
		block_keep(n, b);
		b = next;
	}
}

static struct block *block_take(struct net_loop *n, unsigned size)
{
	if (!n->blocks[size])
		blocks_collect(n);
	struct block *b = n->blocks[size];
	if (b) {
		n->blocks[size] = b->next;
		n->kept_bytes -= b->cap;
		if (n->kept_bytes < n->kept_least)
			n->kept_least = n->kept_bytes;
		return b;
	}
	b = mem_try_alloc(block_cap(size));
	if (b)
		b->cap = block_cap(size);
	return b;
}

/* Frees blocks that make up at least `bytes`, or all. */
static void blocks_give_up(struct net_loop *n, size_t bytes)
{
	for (unsigned size = BLOCK_SIZES; size-- > 0;)
		while (n->blocks[size] && bytes > 0) {
			struct block *b = n->blocks[size];
			n->blocks[size] = b->next;
			n->kept_bytes -= b->cap;
			bytes -= b->cap < bytes ? b->cap : bytes;
			mem_free(b);
		}
}

/* Once in a while: what was not needed since the last time goes. */
static void blocks_trim(struct net_loop *n)
{
	blocks_collect(n);
	if (n->kept_bytes && n->kept_least)
		blocks_give_up(n, n->kept_least);
	n->kept_least = n->kept_bytes;
}

static void rx_freed(struct buf *b, void *ctx)
{
	struct net_loop *n = ctx;
	atomic_fetch_sub_explicit(&n->receive_bytes, b->cap, memory_order_relaxed);
	if (b->data == (uint8_t *)(b + 1))
		return;
	struct block *blk = (void *)b->data;
	blk->cap = b->cap;
	blk->next = atomic_load_explicit(&n->returned, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&n->returned, &blk->next, blk, memory_order_release, memory_order_relaxed))
		;
}

static struct buf *rx_new(struct net_loop *n, size_t cap, bool must)
{
	unsigned size = cap > BLOCK_FIRST / 2 ? block_size(cap) : BLOCK_SIZES;
	if (size < BLOCK_SIZES)
		cap = block_cap(size);
	uint64_t have = atomic_load_explicit(&n->receive_bytes, memory_order_relaxed);
	if (!must && have + cap > n->cfg.receive_bytes_max)
		return NULL;
	struct buf *b;
	if (size < BLOCK_SIZES) {
		struct block *blk = block_take(n, size);
		if (!blk)
			return NULL;
		b = buf_new(0);
		b->data = (uint8_t *)blk;
		b->cap = cap;
	} else {
		b = buf_try_new(cap);
		if (!b)
			return NULL;
	}
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

static struct net_request *request_new(struct net_loop *n)
{
	struct list *it = list_pop_front(&n->spare_requests);
	if (!it)
		return MEM_NEW(struct net_request);
	struct net_request *r = LIST_ENTRY(it, struct net_request, link);
	struct arena arena = r->arena;
	n->spare_count--;
	*r = (struct net_request){.arena = arena};
	return r;
}

/* The struct stays for the next request, with the first block of its arena. */
static void request_free(struct net_request *r)
{
	struct net_loop *n = r->net;
	list_remove(&r->link);
	chain_clear(&r->out);
	buf_unref(r->buf);
	if (n->spare_count >= REQUESTS_KEPT_MAX) {
		arena_fini(&r->arena);
		mem_free(r);
		return;
	}
	arena_reset(&r->arena);
	n->spare_count++;
	list_push_front(&n->spare_requests, &r->link);
}

static void conn_drop(struct net_conn *c);
static void conn_parse(struct net_conn *c);

/* Another request may be handed out. Answers that the peer does not read must not pile up: they count as bytes, not as requests. */
static bool may_serve(const struct net_conn *c)
{
	return !c->dead && !c->held && !c->closing && !c->waits_for && c->inflight < c->net->cfg.inflight_max && c->conn->queued <= UNSENT_MAX;
}

/* Goes on with what had to wait. */
static void serve_on(struct net_conn *c)
{
	bool waiting = c->stopped || (c->rx && c->rx_end > c->rx_start);
	if (waiting && !c->parsing && may_serve(c))
		conn_parse(c);
}

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

/* The request is no longer under way; true if the next frame waited for that. */
static bool uncount(struct net_conn *c, struct net_request *r)
{
	if (!r->kind || --c->unanswered[r->kind])
		return false;
	uint16_t bit = (uint16_t)(1u << r->kind);
	bool waited = c->waits_for & bit;
	c->under_way &= (uint16_t)~bit;
	c->waits_for &= (uint16_t)~bit;
	return waited && !c->waits_for;
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
	bool go_on = uncount(c, r);
	if (c->requests.next == &r->link) {
		conn_flush(c);
		go_on = true;
	}
	if (go_on)
		serve_on(c);
}

bool net_may_start(struct net_request *r, uint8_t kind, uint32_t not_beside)
{
	struct net_conn *c = r->conn;
	ASSERT(c && kind < NET_KINDS && !r->kind);
	c->waits_for = (uint16_t)(c->under_way & not_beside);
	if (c->waits_for)
		return false;
	r->kind = kind;
	if (kind) {
		c->unanswered[kind]++;
		c->under_way |= (uint16_t)(1u << kind);
	}
	return true;
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

/* Requests in flight live on without the connection. */
static void requests_orphan(struct net_conn *c)
{
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
}

/* The connection is gone. */
static void conn_orphan(struct net_conn *c)
{
	c->dead = true;
	requests_orphan(c);
	list_remove(&c->link);
	list_remove(&c->wait_link);
	buf_unref(c->rx);
	c->rx = NULL;
	c->net->stats.connections--;
	net_limits_leave(c->net->cfg.limits, c->place);
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

/* How much to read behind rx_end: to the end of a large frame and no further, so that the next one begins in its own buffer. */
static size_t wanted(const struct net_conn *c)
{
	size_t room = c->rx->cap - c->rx_end, have = c->rx_end - c->rx_start, whole = (size_t)c->expect + 4;
	if (have >= 4)
		whole = (size_t)be32_get(c->rx->data + c->rx_start) + 4;
	return whole >= DIRECT_MIN && whole > have && whole - have < room ? whole - have : room;
}

static bool on_space(struct conn *conn, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct net_conn *c = ctx;
	struct net_loop *n = c->net;
	(void)conn;
	if (!may_serve(c)) {
		c->stopped = true;
		return false;
	}
	if (!c->rx && c->expect) {
		/* The last frame was large: read the next one straight into its own buffer. */
		c->rx = rx_new(n, (size_t)c->expect + 4, false);
		c->rx_start = c->rx_end = 0;
	}
	if (c->rx) {
		if (c->rx_end == c->rx->cap && !keep_rest(c, c->rx, c->rx_start, c->rx_end))
			return starve(c); /* memory was short when the frame wanted to grow, and still is */
		*ret_ptr = c->rx->data + c->rx_end;
		*ret_len = wanted(c);
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
	struct net_request *r = request_new(n);
	r->conn = c;
	r->net = n;
	r->buf = buf_ref(buf);
	r->frame = frame;
	r->received_us = loop_now_us(n->loop);
	r->listener = c->listener;
	r->arena.bytes_max = n->cfg.request_arena_max + frame.len * 8;
	chain_init(&r->out);
	list_init(&r->link);
	list_push_back(&c->requests, &r->link);
	c->inflight++;
	n->stats.requests++;
	enum net_verdict v = n->fn(n->ctx, r);
	if (v != NET_TAKEN) {
		if (!c->dead) {
			c->inflight--;
			uncount(c, r);
		}
		n->stats.requests -= v == NET_LATER;
		request_free(r);
	}
	return v;
}

static void on_arrived(struct conn *conn, void *ctx);

/* What the next frame may need: as the largest lately, forgotten slowly; small ones go by the slab. */
static void expect_like(struct net_conn *c, uint32_t size)
{
	uint32_t fading = c->expect - c->expect / 8;
	c->expect = size < DIRECT_MIN ? 0 : size > fading ? size : fading;
}

/* Hands out the frames in [start, end) of buf; returns the bytes used. */
static size_t parse_frames(struct net_conn *c, struct buf *buf, size_t start, size_t end, bool *ret_moved)
{
	struct net_loop *n = c->net;
	size_t pos = start;
	bool may_move = c->in_data;
	c->in_data = false;
	*ret_moved = false;
	while (may_serve(c) && end - pos >= 4) {
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
		if (v == NET_LATER)
			break;
		if (v == NET_MOVE) {
			/* Only a fresh connection: answers on their way would be given on a loop that it left. Followers ask first of all. */
			if (!may_move || c->inflight > 0 || c->conn->queued > 0) {
				conn_drop(c);
				break;
			}
			*ret_moved = true;
			break; /* the frame stays unparsed: it is served first on the other loop */
		}
		expect_like(c, (uint32_t)size);
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
		/* Room for the whole frame only as far as what arrived justifies: at most double, or as large as the ones before. */
		size_t cap = have * 2 > GROW_FIRST ? have * 2 : GROW_FIRST;
		if (cap < (size_t)c->expect + 4)
			cap = (size_t)c->expect + 4;
		want = whole > have ? (whole < cap ? whole : cap) : have + 512;
	} else if (c->expect) {
		want = (size_t)c->expect + 4;
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
				if (!c->held && !c->waits_for && !keep_rest(c, rx, start, end)) {
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
	if (c->stopped && may_serve(c)) {
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
	c->in_data = true;
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
	serve_on(c);
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
	uint32_t place;
	bool exempt = n->cfg.free_listener && strcmp(n->cfg.free_listener, nl->name) == 0;
	if (!net_limits_enter(n->cfg.limits, &n->limits, conn->peer, exempt, &place)) {
		n->stats.refused++;
		conn_close(conn);
		return;
	}
	struct net_conn *c = MEM_NEW(struct net_conn);
	c->net = n;
	c->conn = conn;
	c->listener = nl->name;
	c->place = place;
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
	if (now - n->trimmed_us >= IDLE_CHECK_MS * 1000) {
		n->trimmed_us = now;
		blocks_trim(n);
	}
	timer_set_ms(&n->idle_timer, list_empty(&n->starved) ? IDLE_CHECK_MS : 10);
}

struct net_loop *net_loop_new(struct loop *l, uint32_t idx, const struct net_config *cfg, net_handler_fn *fn, void *ctx)
{
	struct net_loop *n = MEM_NEW(struct net_loop);
	n->loop = l;
	n->idx = idx;
	n->cfg = *cfg;
	n->limits = (struct net_limit_values){.total = cfg->connections_max, .per_ip = UINT32_MAX};
	n->fn = fn;
	n->ctx = ctx;
	list_init(&n->conns);
	list_init(&n->starved);
	list_init(&n->listeners);
	list_init(&n->spare_requests);
	timer_init(&n->idle_timer, l, on_idle_timer, n);
	return n;
}

void net_loop_limit(struct net_loop *n, const struct net_limit_values *v)
{
	struct net_ip_limit *copy = mem_alloc(sizeof(*copy) * (v->override_count + 1));
	if (v->override_count)
		memcpy(copy, v->overrides, sizeof(*copy) * v->override_count);
	mem_free((struct net_ip_limit *)(uintptr_t)n->limits.overrides);
	n->limits = *v;
	n->limits.overrides = copy;
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
	struct listen_config lc = {.host = host, .port = port, .backlog = backlog, .on_accept = on_accept, .ctx = nl,
		.send_buffer_bytes = n->cfg.send_buffer_bytes, .receive_buffer_bytes = n->cfg.receive_buffer_bytes};
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

void net_shut_all(struct net_loop *n)
{
	LIST_FOR_SAFE(it, tmp, &n->conns) {
		struct net_conn *c = LIST_ENTRY(it, struct net_conn, link);
		requests_orphan(c);
		if (c->closing)
			continue;
		c->closing = true;
		conn_shutdown(c->conn);
	}
	timer_stop(&n->idle_timer);
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
	while ((it = list_pop_front(&n->spare_requests))) {
		struct net_request *r = LIST_ENTRY(it, struct net_request, link);
		arena_fini(&r->arena);
		mem_free(r);
	}
	buf_unref(n->slab);
	blocks_collect(n);
	blocks_give_up(n, SIZE_MAX);
	mem_free((struct net_ip_limit *)(uintptr_t)n->limits.overrides);
	mem_free(n);
}

const struct net_stats *net_loop_stats(struct net_loop *n)
{
	n->stats.receive_bytes = atomic_load_explicit(&n->receive_bytes, memory_order_relaxed);
	return &n->stats;
}
