/* net.c: the network: links between hosts, connections as byte streams, listeners, the admin HTTP server.
 *
 * A connection is two ends. Sending copies bytes (file ranges too: what sendfile would have read) into segments that arrive at the
 * other end in order after the latency of the link, at most net_window_bytes ahead of the reader; the rest stays in `out`.
 * A cut link holds segments back as retransmission does (200 ms, doubling to 2 s); an end with bytes that nobody acknowledges
 * breaks with ERR_TIMEOUT after net_giveup_us. A machine that lost power says nothing; when it is back, it answers the next
 * retransmission with a reset. Closing with unread input resets, else the peer reads to the end and sees ERR_CLOSED.
 */
#include <string.h>

#include "common/env/sim/sim_priv.h"

#define RTO_MIN_US 200000
#define RTO_MAX_US 2000000
#define SYN_RETRY_US 1000000
#define GIVEUP_STEP_US 1000000
#define SEG_BYTES_MAX 65536u

enum seg_kind { SEG_DATA, SEG_FIN, SEG_RST };

struct seg {
	struct seg *next;
	int64_t t;
	uint32_t len, off;
	enum seg_kind kind;
	uint8_t bytes[];
};

enum conn_state { CONN_CONNECTING, CONN_ACCEPTING, CONN_OPEN, CONN_CLOSED };
enum ctl_what { CTL_NONE, CTL_SYN, CTL_OPENED, CTL_ACCEPT, CTL_CLOSED, CTL_MOVED };

struct sim_listener {
	struct listener ln; /* first */
	struct sim_process *p;
	struct listen_config cfg;
	struct list link, host_link;
	uint16_t port;
	bool paused, closed;
};

struct sim_conn {
	struct conn c; /* first */
	struct sim_world *w;
	struct sim_process *p;
	struct sim_host *host, *peer_host;
	struct list link; /* of the process, or garbage */
	struct sim_conn *peer;
	struct sim_listener *ln; /* ACCEPTING */
	uint32_t id;
	enum conn_state state;
	enum ctl_what ctl_what;
	bool stopped, moving, silent, shutdown, taken;
	bool closing; /* CTL_CLOSED was due when it moved */
	int ctl_err;
	struct chain out;
	uint64_t inflight; /* sent, not read by the peer */
	struct seg *rx_head, *rx_tail;
	int64_t rx_last, rto_us, unacked_since, deadline, syn_wait_us;
	uint16_t port; /* connecting to */
	void (*arrived)(struct conn *c, void *ctx);
	struct sim_event rx, tx, ctl, giveup;
};

static struct sim_conn *conn_of(struct conn *c)
{
	return (struct sim_conn *)c;
}

/* ---- links ---- */

void sim_net_host_added(struct sim_world *w, struct sim_host *h)
{
	for (uint32_t i = 0; i < w->hosts_n; i++) {
		struct sim_host *o = w->hosts[i];
		sim_link(w, h, o)->base_us = o == h ? 8 : sim_draw(w, w->cfg.net_latency);
		sim_link(w, o, h)->base_us = o == h ? 8 : sim_draw(w, w->cfg.net_latency);
	}
}

int64_t sim_net_latency(struct sim_world *w, struct sim_host *from, struct sim_host *to, size_t bytes)
{
	struct sim_link *l = sim_link(w, from, to);

	if (from == to)
		return l->base_us + (int64_t)(bytes / 4000);
	int64_t us = l->base_us + l->extra_us + (int64_t)(bytes / 1000) + sim_draw(w, w->cfg.net_jitter);
	if (sim_chance(w, w->cfg.net_spike_rate))
		us += sim_draw(w, w->cfg.net_spike);
	return us;
}

bool sim_net_reachable(struct sim_world *w, struct sim_host *a, struct sim_host *b)
{
	return b->up && !sim_net_is_cut(w, a, b) && !sim_net_is_cut(w, b, a);
}

/* ---- the life of an end ---- */

static void conn_rx(struct sim_event *e);
static void conn_tx(struct sim_event *e);
static void conn_ctl(struct sim_event *e);
static void conn_giveup(struct sim_event *e);

static struct sim_conn *conn_make(struct sim_process *p, struct sim_loop *l, struct sim_host *peer_host)
{
	struct sim_world *w = p->w;
	struct sim_conn *c = MEM_NEW(struct sim_conn);

	c->w = w;
	c->p = p;
	c->host = p->host;
	c->peer_host = peer_host;
	c->id = w->next_conn++;
	c->c.loop = &l->l;
	c->rto_us = RTO_MIN_US;
	chain_init(&c->out);
	sim_event_init(&c->rx, l, conn_rx);
	sim_event_init(&c->tx, l, conn_tx);
	sim_event_init(&c->ctl, l, conn_ctl);
	sim_event_init(&c->giveup, l, conn_giveup);
	list_init(&c->link);
	list_push_back(&p->conns, &c->link);
	if (peer_host)
		snprintf(c->c.peer, sizeof(c->c.peer), "%s", peer_host == p->host ? "127.0.0.1" : peer_host->ip);
	return c;
}

static void drop_segs(struct sim_conn *c)
{
	while (c->rx_head) {
		struct seg *s = c->rx_head;
		c->rx_head = s->next;
		mem_free(s);
	}
	c->rx_tail = NULL;
}

/* Takes the end out of the world; its memory goes at the end of the event (or with the process). */
static void conn_retire(struct sim_conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	c->state = CONN_CLOSED;
	if (c->peer) {
		c->peer->peer = NULL;
		c->peer = NULL;
	}
	drop_segs(c);
	chain_clear(&c->out);
	c->c.queued = 0;
	sim_unschedule(c->w, &c->rx);
	sim_unschedule(c->w, &c->tx);
	sim_unschedule(c->w, &c->ctl);
	sim_unschedule(c->w, &c->giveup);
	list_remove(&c->link);
	list_push_back(&c->w->garbage, &c->link);
}

void sim_net_collect(struct sim_world *w)
{
	struct list *n;

	while ((n = list_pop_front(&w->garbage)))
		mem_free(LIST_ENTRY(n, struct sim_conn, link));
}

/* The end is gone for reasons of its own or of the network: the last call. */
static void conn_gone(struct sim_conn *c, int err)
{
	struct conn *base = &c->c;
	const struct conn_handler *h = base->handler;
	void *ctx = base->ctx;

	sim_rec(c->w, REC_CLOSED, c->id, (uint64_t)(int64_t)err, 0);
	SIM_TEXT(c->w, "net   #%u of %s closed: %s", c->id, c->p->name, err_str(err));
	conn_retire(c);
	if (h && h->on_closed)
		h->on_closed(base, ctx, err);
}

static void conn_gone_later(struct sim_conn *c, int err, int64_t t)
{
	sim_unschedule(c->w, &c->ctl);
	c->ctl_what = CTL_CLOSED;
	c->ctl_err = err;
	c->ctl.loop = sim_loop_of(c->c.loop);
	sim_schedule(c->w, &c->ctl, t);
}

static void arm_giveup(struct sim_conn *c)
{
	if (c->unacked_since || c->state == CONN_CLOSED)
		return;
	c->unacked_since = sim_now(c->w) + 1;
	sim_schedule(c->w, &c->giveup, c->unacked_since + GIVEUP_STEP_US);
}

static bool link_broken(struct sim_conn *c)
{
	return c->silent || !sim_net_reachable(c->w, c->host, c->peer_host);
}

static void conn_giveup(struct sim_event *e)
{
	struct sim_conn *c = CONTAINER_OF(e, struct sim_conn, giveup);
	struct sim_world *w = c->w;

	if (!link_broken(c)) {
		c->unacked_since = 0;
		return;
	}
	if (c->silent && sim_net_reachable(w, c->host, c->peer_host)) {
		conn_gone(c, ERR_RESET); /* the new kernel knows nothing of it */
		return;
	}
	if (w->now - c->unacked_since >= w->cfg.net_giveup_us) {
		/* The other end, if there is one, learns nothing: it is half open until it sends. */
		if (c->peer)
			c->peer->silent = true;
		conn_gone(c, ERR_TIMEOUT);
		return;
	}
	sim_schedule(w, e, w->now + GIVEUP_STEP_US);
}

/* ---- bytes ---- */

static void seg_deliver(struct sim_conn *to, struct seg *s, int64_t t)
{
	s->next = NULL;
	s->t = t < to->rx_last ? to->rx_last : t;
	to->rx_last = s->t;
	if (to->rx_tail)
		to->rx_tail->next = s;
	else
		to->rx_head = s;
	to->rx_tail = s;
	if (to->rx_head == s && !to->stopped && !to->moving && to->state != CONN_ACCEPTING)
		sim_schedule(to->w, &to->rx, s->t);
}

/* The peer's application sees the end of the stream, or a reset, after what was sent before. */
static void send_end(struct sim_conn *c, enum seg_kind kind)
{
	struct sim_conn *to = c->peer;

	if (!to || to->state == CONN_CLOSED)
		return;
	int64_t t = sim_now(c->w) + sim_net_latency(c->w, c->host, c->peer_host, 40);
	if (kind == SEG_RST && sim_net_is_cut(c->w, c->host, c->peer_host)) {
		to->silent = true; /* a reset is not sent twice */
		return;
	}
	struct seg *s = mem_zalloc(sizeof(*s));
	s->kind = kind;
	seg_deliver(to, s, t);
	if (kind == SEG_RST && to->stopped) {
		to->stopped = false;
		sim_schedule(c->w, &to->rx, s->t);
	}
}

/* Copies n bytes from the front of the chain. False: a file range cannot be sent. */
static bool gather(struct chain *out, uint8_t *to, size_t n)
{
	for (struct chain_item *it = out->head; n > 0; it = it->next) {
		size_t part = it->len < n ? (size_t)it->len : n;
		if (it->file) {
			if (it->generation != file_generation(it->file) || sim_file_peek(it->file, it->pos, to, part) != part)
				return false;
		} else {
			memcpy(to, it->buf->data + it->pos, part);
		}
		to += part;
		n -= part;
	}
	return true;
}

/* Hands over to the network what the window allows. */
static void conn_flush(struct sim_conn *c)
{
	struct sim_world *w = c->w;

	while (c->out.bytes && c->inflight < w->cfg.net_window_bytes) {
		uint64_t room = w->cfg.net_window_bytes - c->inflight;
		size_t n = c->out.bytes < room ? (size_t)c->out.bytes : (size_t)room;
		if (n > SEG_BYTES_MAX)
			n = SEG_BYTES_MAX;
		if (n > 1 && sim_chance(w, w->cfg.net_split_rate))
			n = 1 + rng_below(&w->rng, n - 1);
		struct seg *s = mem_alloc(sizeof(*s) + n);
		*s = (struct seg){.len = (uint32_t)n, .kind = SEG_DATA};
		if (!gather(&c->out, s->bytes, n)) {
			mem_free(s);
			conn_gone_later(c, ERR_IO, sim_now(w));
			send_end(c, SEG_RST);
			return;
		}
		chain_consume(&c->out, n);
		c->c.queued = c->out.bytes;
		c->taken = true;
		if (link_broken(c))
			arm_giveup(c);
		if (!c->peer || c->silent) {
			mem_free(s);
			if (c->silent)
				c->inflight += n;
			continue;
		}
		c->inflight += n;
		seg_deliver(c->peer, s, sim_now(w) + sim_net_latency(w, c->host, c->peer_host, n));
	}
	if (c->shutdown && c->out.bytes == 0 && c->ctl_what != CTL_CLOSED) {
		send_end(c, SEG_FIN);
		conn_gone_later(c, ERR_CLOSED, sim_now(w));
	}
}

static void conn_tx(struct sim_event *e)
{
	struct sim_conn *c = CONTAINER_OF(e, struct sim_conn, tx);

	conn_flush(c);
	if (c->taken && c->c.handler && c->c.handler->on_sent) {
		c->taken = false;
		c->c.handler->on_sent(&c->c, c->c.ctx, c->out.bytes);
	}
}

void sim_conn_send(struct conn *base, struct chain *chain)
{
	struct sim_conn *c = conn_of(base);

	if (c->state == CONN_CLOSED || c->shutdown || chain->bytes == 0) {
		chain_clear(chain);
		return;
	}
	chain_append(&c->out, chain);
	c->c.queued = c->out.bytes;
	if (c->state != CONN_OPEN)
		return;
	conn_flush(c);
	if (c->taken && base->handler && base->handler->on_sent && !sim_scheduled(&c->tx))
		sim_schedule(c->w, &c->tx, sim_now(c->w) + (int64_t)rng_below(&c->w->rng, 30));
}

static void reader_took(struct sim_conn *c, size_t n)
{
	struct sim_conn *from = c->peer;

	if (!from)
		return;
	from->inflight -= n < from->inflight ? n : from->inflight;
	if (from->out.bytes && !sim_scheduled(&from->tx))
		sim_schedule(c->w, &from->tx, sim_now(c->w) + sim_net_latency(c->w, c->host, c->peer_host, 40));
}

/* Fills the handler's space from what has arrived; a random part of it now and then. */
static size_t fill(struct sim_conn *c, uint8_t *to, size_t len)
{
	struct sim_world *w = c->w;
	size_t n = 0;

	if (len > 1 && sim_chance(w, w->cfg.net_split_rate / 4))
		len = 1 + rng_below(&w->rng, len - 1);
	while (n < len && c->rx_head && c->rx_head->t <= w->now && c->rx_head->kind == SEG_DATA) {
		struct seg *s = c->rx_head;
		size_t part = s->len - s->off < len - n ? s->len - s->off : len - n;
		memcpy(to + n, s->bytes + s->off, part);
		s->off += (uint32_t)part;
		n += part;
		if (s->off == s->len) {
			c->rx_head = s->next;
			if (!c->rx_head)
				c->rx_tail = NULL;
			mem_free(s);
		}
	}
	return n;
}

static bool held_by_cut(struct sim_conn *c)
{
	struct sim_world *w = c->w;

	if (!sim_net_is_cut(w, c->peer_host, c->host)) {
		c->rto_us = RTO_MIN_US;
		return false;
	}
	sim_schedule(w, &c->rx, w->now + c->rto_us);
	c->rto_us = c->rto_us * 2 < RTO_MAX_US ? c->rto_us * 2 : RTO_MAX_US;
	return true;
}

static void conn_rx(struct sim_event *e)
{
	struct sim_conn *c = CONTAINER_OF(e, struct sim_conn, rx);
	struct sim_world *w = c->w;

	if (c->stopped || c->moving || c->state != CONN_OPEN || held_by_cut(c))
		return;
	while (c->rx_head && c->rx_head->t <= w->now) {
		if (c->rx_head->kind != SEG_DATA) {
			conn_gone(c, c->rx_head->kind == SEG_FIN ? ERR_CLOSED : ERR_RESET);
			return;
		}
		uint8_t *ptr;
		size_t len;
		if (c->shutdown) { /* reads nothing more */
			struct seg *s = c->rx_head;
			c->rx_head = s->next;
			if (!c->rx_head)
				c->rx_tail = NULL;
			reader_took(c, s->len - s->off);
			mem_free(s);
			continue;
		}
		if (!c->c.handler->on_space(&c->c, c->c.ctx, &ptr, &len)) {
			if (c->state == CONN_OPEN)
				c->stopped = true;
			return;
		}
		if (c->state != CONN_OPEN)
			return;
		ASSERT(len > 0);
		size_t n = fill(c, ptr, len);
		sim_rec_bytes(w, REC_DATA, c->id, 0, ptr, n);
		SIM_TEXT(w, "net   #%u of %s got %zu bytes from %s", c->id, c->p->name, n, c->peer_host->name);
		reader_took(c, n);
		c->c.handler->on_data(&c->c, c->c.ctx, n);
		if (c->state != CONN_OPEN || c->moving || c->p->exit_pending)
			return;
	}
	if (c->rx_head)
		sim_schedule(w, &c->rx, c->rx_head->t);
}

void sim_conn_resume(struct conn *base)
{
	struct sim_conn *c = conn_of(base);

	if (!c->stopped || c->state == CONN_CLOSED)
		return;
	c->stopped = false;
	if (c->rx_head && !c->moving)
		sim_schedule(c->w, &c->rx, c->rx_head->t > c->w->now ? c->rx_head->t : c->w->now);
}

void sim_conn_close(struct conn *base)
{
	struct sim_conn *c = conn_of(base);

	if (c->state == CONN_CLOSED)
		return;
	SIM_TEXT(c->w, "net   #%u of %s closes", c->id, c->p->name);
	send_end(c, c->rx_head && c->rx_head->kind == SEG_DATA && c->rx_head->t <= c->w->now ? SEG_RST : SEG_FIN);
	conn_retire(c);
}

void sim_conn_shutdown(struct conn *base)
{
	struct sim_conn *c = conn_of(base);

	if (c->shutdown || c->state == CONN_CLOSED)
		return;
	c->shutdown = true;
	sim_conn_resume(base);
	if (c->state == CONN_OPEN)
		conn_flush(c);
}

/* ---- connecting ---- */

static struct sim_listener *find_listener(struct sim_world *w, struct sim_host *h, uint16_t port)
{
	struct sim_listener *found = NULL;
	uint32_t n = 0;

	LIST_FOR (it, &h->listeners) {
		struct sim_listener *ln = LIST_ENTRY(it, struct sim_listener, host_link);
		if (ln->port == port && rng_below(&w->rng, ++n) == 0) /* any of them with the same chance */
			found = ln;
	}
	return found;
}

static void conn_syn(struct sim_conn *c)
{
	struct sim_world *w = c->w;

	if (!sim_net_reachable(w, c->host, c->peer_host)) {
		int64_t next = w->now + c->syn_wait_us;
		c->syn_wait_us *= 2;
		if (next >= c->deadline)
			conn_gone_later(c, ERR_TIMEOUT, c->deadline);
		else
			sim_schedule(w, &c->ctl, next);
		return;
	}
	int64_t back = w->now + sim_net_latency(w, c->peer_host, c->host, 40);
	struct sim_listener *ln = find_listener(w, c->peer_host, c->port);
	if (back > c->deadline) {
		conn_gone_later(c, ERR_TIMEOUT, c->deadline);
	} else if (!ln) {
		conn_gone_later(c, ERR_REFUSED, back);
	} else {
		struct sim_conn *s = conn_make(ln->p, sim_loop_of(ln->ln.loop), c->host);
		s->state = CONN_ACCEPTING;
		s->ln = ln;
		s->peer = c;
		s->c.peer_port = c->host->next_port++;
		if (c->host->next_port < 40000)
			c->host->next_port = 40000;
		c->peer = s;
		s->ctl_what = CTL_ACCEPT;
		if (!ln->paused)
			sim_schedule(w, &s->ctl, w->now);
		c->ctl_what = CTL_OPENED;
		c->ctl.loop = sim_loop_of(c->c.loop);
		sim_schedule(w, &c->ctl, back);
	}
}

static void conn_accept(struct sim_conn *c)
{
	struct sim_listener *ln = c->ln;

	if (ln->paused)
		return; /* listener_pause(false) schedules it again */
	c->ln = NULL;
	c->state = CONN_OPEN;
	sim_rec(c->w, REC_ACCEPT, c->id, ln->port, 0);
	SIM_TEXT(c->w, "net   #%u accepted by %s:%u from %s", c->id, c->p->name, ln->port, c->peer_host->name);
	ln->cfg.on_accept(&ln->ln, &c->c, ln->cfg.ctx);
	if (c->state == CONN_OPEN && c->rx_head && !c->stopped && !c->moving)
		sim_schedule(c->w, &c->rx, c->rx_head->t);
}

static void conn_ctl(struct sim_event *e)
{
	struct sim_conn *c = CONTAINER_OF(e, struct sim_conn, ctl);
	enum ctl_what what = c->ctl_what;

	if (what == CTL_SYN) {
		conn_syn(c);
		return;
	}
	c->ctl_what = CTL_NONE;
	switch (what) {
	case CTL_ACCEPT:
		c->ctl_what = CTL_ACCEPT;
		conn_accept(c);
		if (c->ctl_what == CTL_ACCEPT && c->state == CONN_OPEN)
			c->ctl_what = CTL_NONE;
		break;
	case CTL_OPENED:
		c->state = CONN_OPEN;
		sim_rec(c->w, REC_CONNECT, c->id, c->port, 0);
		SIM_TEXT(c->w, "net   #%u %s connected to %s:%u", c->id, c->p->name, c->peer_host->name, c->port);
		if (c->c.handler->on_open)
			c->c.handler->on_open(&c->c, c->c.ctx);
		if (c->state != CONN_OPEN)
			break;
		conn_flush(c);
		if (c->taken && c->c.handler->on_sent && !sim_scheduled(&c->tx))
			sim_schedule(c->w, &c->tx, c->w->now);
		if (c->rx_head)
			sim_schedule(c->w, &c->rx, c->rx_head->t);
		break;
	case CTL_CLOSED:
		conn_gone(c, c->ctl_err);
		break;
	case CTL_MOVED:
		c->moving = false;
		if (c->closing)
			conn_gone_later(c, c->ctl_err, c->w->now);
		c->arrived(&c->c, c->c.ctx);
		if (c->state == CONN_OPEN && !c->moving && !c->stopped && c->rx_head)
			sim_schedule(c->w, &c->rx, c->rx_head->t > c->w->now ? c->rx_head->t : c->w->now);
		break;
	default:
		break;
	}
}

struct conn *sim_conn_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx)
{
	struct sim_process *p = sim_process_of(l->env);
	struct sim_world *w = p->w;
	bool local = !strcmp(host, "localhost") || !strcmp(host, "127.0.0.1") || !strcmp(host, "::1");
	struct sim_host *to = local ? p->host : sim_host_find(w, host);
	struct sim_conn *c = conn_make(p, sim_loop_of(l), to);

	c->c.handler = h;
	c->c.ctx = ctx;
	c->c.peer_port = c->port = port;
	if (p->dead)
		return &c->c;
	if (!to) {
		c->peer_host = p->host;
		conn_gone_later(c, ERR_UNREACHABLE, sim_now(w) + 200);
		return &c->c;
	}
	c->deadline = sim_now(w) + timeout_ms * 1000;
	c->syn_wait_us = SYN_RETRY_US;
	c->ctl_what = CTL_SYN;
	c->ctl.loop = NULL; /* the kernel's part runs outside of the loop */
	sim_schedule(w, &c->ctl, sim_now(w) + sim_net_latency(w, p->host, to, 40));
	return &c->c;
}

void sim_conn_move(struct conn *base, struct loop *to, void (*arrived)(struct conn *c, void *ctx))
{
	struct sim_conn *c = conn_of(base);
	struct sim_world *w = c->w;
	struct sim_loop *l = sim_loop_of(to);

	ASSERT(c->state == CONN_OPEN && c->out.bytes == 0 && l->p == c->p);
	sim_unschedule(w, &c->rx);
	sim_unschedule(w, &c->tx);
	sim_unschedule(w, &c->giveup);
	sim_unschedule(w, &c->ctl);
	c->closing = c->ctl_what == CTL_CLOSED;
	c->taken = false;
	c->stopped = false;
	c->moving = true;
	c->arrived = arrived;
	c->c.loop = to;
	c->rx.loop = c->tx.loop = c->ctl.loop = c->giveup.loop = l;
	if (c->unacked_since)
		sim_schedule(w, &c->giveup, sim_now(w) + GIVEUP_STEP_US);
	c->ctl_what = CTL_MOVED;
	sim_schedule(w, &c->ctl, sim_now(w) + sim_draw(w, w->cfg.inbox_delay));
}

/* ---- listeners ---- */

static int listen_port(struct sim_host *h, struct sim_process *p, uint16_t want, uint16_t *ret_port)
{
	uint16_t port = want ? want : 30000;

	for (;; port++) {
		bool taken = false;
		LIST_FOR (it, &h->listeners) {
			struct sim_listener *o = LIST_ENTRY(it, struct sim_listener, host_link);
			taken |= o->port == port && (want == 0 || o->p != p);
		}
		if (!taken)
			break;
		if (want)
			return ERR_EXIST;
	}
	*ret_port = port;
	return 0;
}

int sim_listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln)
{
	struct sim_process *p = sim_process_of(l->env);
	const char *host = cfg->host ? cfg->host : "";
	uint16_t port;

	if (strcmp(host, "") && strcmp(host, "0.0.0.0") && strcmp(host, "::") && strcmp(host, "localhost") && strcmp(host, "127.0.0.1") &&
	    strcmp(host, p->host->ip) && strcmp(host, p->host->name))
		return ERR_INVAL;
	int err = listen_port(p->host, p, cfg->port, &port);
	if (err)
		return err;
	struct sim_listener *ln = MEM_NEW(struct sim_listener);
	ln->p = p;
	ln->cfg = *cfg;
	ln->port = port;
	ln->ln.loop = l;
	ln->ln.port = port;
	ln->ln.ctx = cfg->ctx;
	list_init(&ln->link);
	list_init(&ln->host_link);
	list_push_back(&p->listeners, &ln->link);
	list_push_back(&p->host->listeners, &ln->host_link);
	*ret_ln = &ln->ln;
	return 0;
}

void sim_listener_pause(struct listener *base, bool paused)
{
	struct sim_listener *ln = (struct sim_listener *)base;

	ln->paused = paused;
	if (paused)
		return;
	LIST_FOR (it, &ln->p->conns) {
		struct sim_conn *c = LIST_ENTRY(it, struct sim_conn, link);
		if (c->ln == ln && !sim_scheduled(&c->ctl))
			sim_schedule(c->w, &c->ctl, c->w->now);
	}
}

void sim_listener_close(struct listener *base)
{
	struct sim_listener *ln = (struct sim_listener *)base;

	LIST_FOR_SAFE (it, tmp, &ln->p->conns) {
		struct sim_conn *c = LIST_ENTRY(it, struct sim_conn, link);
		if (c->ln != ln)
			continue;
		send_end(c, SEG_RST);
		conn_retire(c);
	}
	list_remove(&ln->host_link);
	list_remove(&ln->link);
	mem_free(ln);
}

/* ---- the end of a process ---- */

void sim_net_process_end(struct sim_process *p, bool power_cut)
{
	struct sim_world *w = p->w;

	LIST_FOR (it, &p->conns) {
		struct sim_conn *c = LIST_ENTRY(it, struct sim_conn, link);
		sim_unschedule(w, &c->ctl); /* a connect under way belongs to no loop */
		if (power_cut && c->peer)
			c->peer->silent = true;
		else
			send_end(c, c->state == CONN_ACCEPTING || (c->rx_head && c->rx_head->kind == SEG_DATA) ? SEG_RST : SEG_FIN);
		if (c->peer) {
			if (power_cut && (c->peer->inflight || c->peer->out.bytes))
				arm_giveup(c->peer);
			c->peer->peer = NULL;
			c->peer = NULL;
		}
		drop_segs(c);
		chain_clear(&c->out);
		c->c.queued = 0;
		c->state = CONN_CLOSED;
	}
	LIST_FOR (it, &p->listeners)
		list_remove(&LIST_ENTRY(it, struct sim_listener, link)->host_link);
}

struct sim_http {
	struct http h; /* first */
	struct list link;
	http_fn *fn;
	void *ctx;
	struct listener *ln;
};

void sim_net_process_free(struct sim_process *p)
{
	struct list *n;

	while ((n = list_pop_front(&p->conns)))
		mem_free(LIST_ENTRY(n, struct sim_conn, link));
	while ((n = list_pop_front(&p->listeners)))
		mem_free(LIST_ENTRY(n, struct sim_listener, link));
	while ((n = list_pop_front(&p->https)))
		mem_free(LIST_ENTRY(n, struct sim_http, link));
}

/* ---- faults ---- */

/* Ends on either side that wait for an acknowledgement start to count. */
static void count_unacked(struct sim_world *w)
{
	for (struct sim_process *p = w->procs; p; p = p->next)
		LIST_FOR (it, &p->conns) {
			struct sim_conn *c = LIST_ENTRY(it, struct sim_conn, link);
			if (c->state == CONN_OPEN && link_broken(c) && (c->inflight || c->out.bytes))
				arm_giveup(c);
		}
}

void sim_net_cut(struct sim_world *w, struct sim_host *a, struct sim_host *b, bool oneway)
{
	if (a == b)
		return;
	sim_fault(w, "cut %s %s %s", a->name, oneway ? "->" : "<->", b->name);
	sim_link(w, a, b)->cut = true;
	if (!oneway)
		sim_link(w, b, a)->cut = true;
	count_unacked(w);
}

void sim_net_heal(struct sim_world *w, struct sim_host *a, struct sim_host *b)
{
	struct sim_link *ab = sim_link(w, a, b), *ba = sim_link(w, b, a);

	if (!ab->cut && !ba->cut && !ab->extra_us && !ba->extra_us)
		return;
	sim_fault(w, "heal %s <-> %s", a->name, b->name);
	ab->cut = ba->cut = false;
	ab->extra_us = ba->extra_us = 0;
}

void sim_net_heal_all(struct sim_world *w)
{
	for (uint32_t i = 0; i < w->hosts_n; i++)
		for (uint32_t k = i + 1; k < w->hosts_n; k++)
			sim_net_heal(w, w->hosts[i], w->hosts[k]);
}

void sim_net_isolate(struct sim_world *w, struct sim_host *h)
{
	for (uint32_t i = 0; i < w->hosts_n; i++)
		sim_net_cut(w, h, w->hosts[i], false);
}

void sim_net_delay(struct sim_world *w, struct sim_host *a, struct sim_host *b, int64_t extra_us)
{
	sim_fault(w, "delay %s -> %s %lld us", a->name, b->name, (long long)extra_us);
	sim_link(w, a, b)->extra_us = extra_us;
}

void sim_net_reset(struct sim_world *w, struct sim_host *a, struct sim_host *b)
{
	sim_fault(w, "reset connections %s - %s", a->name, b->name);
	for (struct sim_process *p = w->procs; p; p = p->next) {
		if (p->host != a && p->host != b)
			continue;
		LIST_FOR (it, &p->conns) {
			struct sim_conn *c = LIST_ENTRY(it, struct sim_conn, link);
			if (c->state != CONN_OPEN || c->peer_host != (c->host == a ? b : a))
				continue;
			if (c->peer)
				c->peer->peer = NULL;
			c->peer = NULL;
			if (c->ctl_what != CTL_CLOSED)
				conn_gone_later(c, ERR_RESET, w->now + (int64_t)rng_below(&w->rng, 1000));
		}
	}
}

/* ---- HTTP ---- */

static void http_refuse(struct listener *ln, struct conn *c, void *ctx)
{
	conn_close(c); /* sim_http_get is the way in; the port is taken all the same */
}

int sim_http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port)
{
	struct sim_process *p = sim_process_of(l->env);
	struct listener *ln;
	int err = sim_listener_open(l, &(struct listen_config){.host = host, .port = port, .on_accept = http_refuse}, &ln);

	if (err)
		return err;
	struct sim_http *h = MEM_NEW(struct sim_http);
	h->h.loop = l;
	h->fn = fn;
	h->ctx = ctx;
	h->ln = ln;
	list_init(&h->link);
	list_push_back(&p->https, &h->link);
	*ret_http = &h->h;
	*ret_port = ln->port;
	return 0;
}

void sim_http_close(struct http *base)
{
	struct sim_http *h = (struct sim_http *)base;

	sim_listener_close(h->ln);
	list_remove(&h->link);
	mem_free(h);
}

int sim_http_get(struct sim_process *p, const char *path, struct str *body, int *ret_status)
{
	if (p->dead || list_empty(&p->https))
		return ERR_NOENT;
	struct sim_http *h = LIST_ENTRY(p->https.next, struct sim_http, link);
	struct http_reply reply = {.status = 200, .content_type = "text/plain", .body = body};
	struct loop *current = loop_current();
	loop_set_current(h->h.loop);
	h->fn(h->ctx, "GET", path, &reply);
	loop_set_current(current);
	*ret_status = reply.status;
	return 0;
}
