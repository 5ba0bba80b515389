/* live.c: heartbeats, suspicion, probes, fencing (protocol.md A1, A2). See push.h.
 *
 * A broker is judged dead when (a) its registration is gone and no link of it lives; or (b) it is suspected (link closed for the grace
 * time, or silent), a barrier of ours succeeded since, and of the probes of one round by up to three live brokers at least one was refused
 * or stayed unanswered and none was answered. Our own pauses restart all clocks: what we did not see while we slept proves nothing.
 */
#include "common/base/check.h"
#include "common/base/mem.h"
#include "controllerd/push/push.h"

enum { TICK_MS = 50, SLEPT_MS = 200, PROBE_MS = 250, ROUND_PAUSE_MS = 100, NEW_REIGN_MS = 1000, STALL_MS = 2000 };

void live_init(struct push *p) { timer_init(&p->tick, p->loop, live_tick, p); }

static struct push_live *live_find(struct push *p, int32_t id)
{
	for (int32_t i = 0; i < p->live_count; i++)
		if (p->lives[i].id == id)
			return &p->lives[i];
	return NULL;
}

static struct push_live *live_get(struct push *p, int32_t id)
{
	struct push_live *l = live_find(p, id);
	if (l)
		return l;
	MEM_GROW(p->lives, p->live_cap, (size_t)p->live_count + 1);
	l = &p->lives[p->live_count++];
	*l = (struct push_live){.id = id};
	return l;
}

static void calm(struct push_live *l)
{
	l->since_us = 0;
	l->barrier_good = l->barrier_sent = false;
	l->round = 0;
}

/* ---- the barrier since ---- */

static void after_barrier(void *arg, int err)
{
	struct push_barrier b = *(struct push_barrier *)arg;
	mem_free(arg);
	if (err)
		return;
	struct push_live *l = live_find(b.push, b.id);
	if (l && l->since_us == b.since_us)
		l->barrier_good = true;
}

static void send_barrier(struct push *p, struct push_live *l)
{
	struct push_barrier *b = MEM_NEW(struct push_barrier);
	*b = (struct push_barrier){p, l->id, l->since_us};
	l->barrier_sent = true;
	elect_barrier(p->el, after_barrier, b);
}

/* ---- probes ---- */

static void probe_round(struct push *p, struct push_live *l, int64_t now)
{
	const struct plan_broker *b = plan_broker_find(p->st->im, l->id);
	if (!b || b->endpoint_count == 0 || now < l->next_round_us)
		return;
	l->round = ++p->rounds;
	l->asked = l->answered = l->refused = l->unanswered = 0;
	l->round_us = now;
	LIST_FOR(n, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		const struct push_live *other = live_find(p, peer->id);
		if (l->asked == PROBERS_MAX)
			break;
		if (!peer->greeted || peer->is_controller || peer->id == l->id || (other && other->since_us) || !peer->subscribed)
			continue;
		Klamm__Control__Probe m;
		Klamm__Control__Frame f;
		klamm__control__probe__init(&m);
		klamm__control__frame__init(&f);
		m.number = l->round;
		m.target = l->id;
		m.host = b->endpoints[0].host;
		m.port = b->endpoints[0].port;
		m.timeout_ms = PROBE_MS;
		f.body_case = KLAMM__CONTROL__FRAME__BODY_PROBE;
		f.probe = &m;
		frame_send(peer->stream, &f);
		l->asked++;
	}
}

static bool round_speaks(const struct push_live *l, int64_t now)
{
	int32_t heard = l->answered + l->refused + l->unanswered;
	bool over = heard >= l->asked || now - l->round_us > (PROBE_MS + ROUND_PAUSE_MS) * 1000;
	return l->round && l->asked && over;
}

static void fence(struct push *p, struct push_live *l, const char *why)
{
	p->fenced++;
	calm(l);
	state_dead(p->st, l->id, why);
}

static void judge(struct push *p, struct push_live *l, bool ripe, int64_t now)
{
	if (!l->barrier_sent)
		send_barrier(p, l);
	if (!l->round) {
		probe_round(p, l, now);
		return;
	}
	bool over = now - l->round_us > (PROBE_MS + ROUND_PAUSE_MS) * 1000;
	bool says_dead = round_speaks(l, now) && l->answered == 0 && l->refused + l->unanswered > 0;
	if (says_dead && ripe && l->barrier_good) {
		fence(p, l, l->refused ? "link lost and probes refused" : "silent and probes unanswered");
	} else if (l->answered || (over && !says_dead)) {
		l->round = 0;
		l->next_round_us = now + ROUND_PAUSE_MS * 1000;
	}
}

void live_probe_reply(struct push *p, const Klamm__Control__ProbeReply *r)
{
	struct push_live *l = live_find(p, r->target);
	if (!l || !l->since_us || r->number != l->round)
		return;
	if (r->result == KLAMM__CONTROL__PROBE_RESULT__ANSWERED)
		l->answered++;
	else if (r->result == KLAMM__CONTROL__PROBE_RESULT__REFUSED)
		l->refused++;
	else
		l->unanswered++;
}

/* ---- the clock ---- */

static void look_at(struct push *p, struct plan_broker *b, int64_t now)
{
	struct push_live *l = live_get(p, b->id);
	struct push_peer *peer = push_broker_peer(p, b->id);
	bool new_reign = now - p->active_us < NEW_REIGN_MS * 1000;
	if (!b->alive) {
		calm(l);
		return;
	}
	if (!peer && !b->registered) {
		if (l->seen || !new_reign)
			fence(p, l, "registration and link are gone");
		return;
	}
	int64_t heard_us = peer ? peer->heard_us : l->closed_us ? l->closed_us : p->active_us;
	bool closed = !peer && l->closed_us;
	bool silent = now - heard_us > (int64_t)p->cfg.silence_ms * 1000;
	if (!closed && !silent) {
		calm(l);
		return;
	}
	if (!l->since_us)
		l->since_us = now;
	judge(p, l, silent || now - l->closed_us >= (int64_t)p->cfg.closed_grace_ms * 1000, now);
}

static void look_at_all(struct push *p)
{
	int64_t now = env_now_us(p->env);
	for (struct plan_broker *b = p->st->im->brokers; b; b = b->hh.next) {
		look_at(p, b, now);
		if (!push_active(p))
			return;
	}
}

void live_tick(void *ctx)
{
	struct push *p = ctx;
	int64_t now = env_now_us(p->env);
	bool slept = now - p->tick_us > (SLEPT_MS + TICK_MS) * 1000;
	p->tick_us = now;
	timer_set_ms(&p->tick, TICK_MS);
	if (slept) {
		LOG_AT(p->env->log, LOG_WARN, "live", "slept", "what=\"this process did not run for a while: all suspicions start anew\"");
		LIST_FOR(n, &p->peers)
			LIST_ENTRY(n, struct push_peer, link)->heard_us = now;
		for (int32_t i = 0; i < p->live_count; i++) {
			calm(&p->lives[i]);
			if (p->lives[i].closed_us)
				p->lives[i].closed_us = now;
		}
		p->active_us = now;
	}
	if (!push_active(p))
		return;
	look_at_all(p);
	ring_flush(p); /* answers go with it: what is published first, so that whoever is told finds it */
}

/* ---- events ---- */

void live_loaded(struct push *p)
{
	p->live_count = 0;
	p->active_us = env_now_us(p->env);
}

void live_link_closed(struct push *p, int32_t broker)
{
	if (!push_active(p))
		return;
	struct push_live *l = live_get(p, broker);
	l->seen = true;
	l->closed_us = env_now_us(p->env);
	struct plan_broker *b = plan_broker_find(p->st->im, broker);
	if (b)
		look_at(p, b, l->closed_us);
}

void live_hello(struct push *p, int32_t broker)
{
	if (!push_active(p))
		return;
	struct push_live *l = live_get(p, broker);
	l->seen = true;
	l->closed_us = 0;
	calm(l);
}

void live_registered(struct push *p, int32_t broker, bool there)
{
	struct push_peer *peer = push_broker_peer(p, broker);
	struct plan_broker *b = plan_broker_find(p->st->im, broker);
	if (!there && peer) /* the process is there: it has to register again, nothing moves (D4) */
		push_hello_reply(peer, b && b->admitted, true, NULL);
	if (b && push_active(p))
		look_at(p, b, env_now_us(p->env));
}

void live_heartbeat(struct push_peer *peer, const Klamm__Control__Heartbeat *h)
{
	struct push *p = peer->push;
	bool active = push_active(p), rights = active && elect_has_rights(p->el);
	peer->heard_count = 0;
	for (size_t i = 0; i < h->n_heard && i < HEARD_MAX; i++)
		peer->heard[peer->heard_count++] = (struct push_heard){h->heard[i]->id, h->heard[i]->silent_ms, h->heard[i]->connected};
	peer->loop_stall_ms = h->loop_stall_ms;
	const struct plan_broker *b = active && !peer->is_controller ? plan_broker_find(p->st->im, peer->id) : NULL;
	Klamm__Control__HeartbeatReply r;
	Klamm__Control__Frame f;
	klamm__control__heartbeat_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = h->number;
	r.controller_id = p->cfg.id;
	r.active = active;
	r.controller_epoch = active ? p->el->epoch : p->el->known_epoch;
	r.suspended = active && !rights;
	if (rights) { /* past its rights a reign says only that it is suspended (C5) */
		r.seq = p->seq;
		r.fenced = b && !b->alive;
		r.registration_missing = b && !b->registered;
	}
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HEARTBEAT_REPLY;
	f.heartbeat_reply = &r;
	frame_send(peer->stream, &f);
	if (!b)
		return;
	if (!b->alive && b->registered && b->life_pending == 0 && !b->life_writing)
		push_readmit(peer, h->broker_epoch);
	live_applied(peer, h->applied_controller_epoch, h->applied_seq);
	if (h->loop_stall_ms > STALL_MS || b->stalled)
		state_stalled(p->st, peer->id, h->loop_stall_ms > STALL_MS / 2);
	if (h->wants_shutdown)
		state_shutting_down(p->st, peer->id, true);
}

void live_applied(struct push_peer *peer, int32_t epoch, uint64_t seq)
{
	struct push *p = peer->push;
	if (push_active(p) && peer->subscribed && !peer->is_controller && epoch == p->el->epoch && seq >= peer->admit_seq)
		state_applied(p->st, peer->id);
}
