/* standby.c: a standby's link to the active controller, and the judgement that it is dead (protocol.md A5).
 *
 * Taken for dead: at once, when the process named in /controller refuses the connection or answers as another incarnation; else when
 * our own link is closed or silent and most of the brokers that we hear say the same of it. What is only our own trouble takes nothing
 * over. Wrongly taken over costs a reign, never a record: epochs decide.
 */
#include <string.h>

#include "common/base/check.h"
#include "common/link/link.h"
#include "controllerd/elect/elect.h"
#include "controllerd/push/frame.h"

enum { TICK_MS = 100, BEAT_MS = 200, CONNECT_MS = 1000, AGAIN_MS = 100, CLOSED_MS = 300 };

static const struct link_handler standby_handler;

static void send_hello(struct elect *e)
{
	Klamm__Control__Hello h;
	klamm__control__hello__init(&h);
	h.protocol_min = h.protocol_max = 1;
	h.cluster_id = e->cluster_id;
	h.is_controller = true;
	h.id = e->cfg.id;
	h.incarnation = e->cfg.incarnation;
	h.known_controller_epoch = e->standby.epoch;
	h.known_seq = e->standby.seq;
	h.version = (char *)(uintptr_t)e->cfg.version;
	h.host = (char *)(uintptr_t)e->cfg.host;
	h.port = e->cfg.port;
	Klamm__Control__Frame f;
	klamm__control__frame__init(&f);
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HELLO;
	f.hello = &h;
	frame_send(e->standby.link, &f);
}

static void send_beat(struct elect *e)
{
	Klamm__Control__Heartbeat h;
	klamm__control__heartbeat__init(&h);
	h.id = e->cfg.id;
	h.number = e->standby.beats;
	h.applied_controller_epoch = e->standby.epoch;
	h.applied_seq = e->standby.seq;
	Klamm__Control__Frame f;
	klamm__control__frame__init(&f);
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HEARTBEAT;
	f.heartbeat = &h;
	frame_send(e->standby.link, &f);
}

static void on_opened(struct link *l, void *ctx)
{
	struct elect *e = ctx;
	e->standby.last_heard_us = env_now_us(e->env);
	e->standby.closed_us = 0;
	send_hello(e);
	send_beat(e);
}

static void heard_epoch(struct elect *e, int32_t epoch)
{
	if (epoch > e->known_epoch)
		e->known_epoch = epoch;
}

static void on_hello_reply(struct elect *e, const Klamm__Control__HelloReply *r)
{
	struct elect_standby *s = &e->standby;
	heard_epoch(e, r->controller_epoch);
	if (r->controller_id != e->node.id) { /* somebody else listens there now */
		elect_usurp(e, "the address of the active controller belongs to another one");
		return;
	}
	if (s->incarnation && r->incarnation != s->incarnation) {
		elect_usurp(e, "the active controller died and is back as another incarnation");
		return;
	}
	if (r->active) {
		s->incarnation = r->incarnation;
		s->hello_done = true;
	}
}

static void on_frame(struct link *l, void *ctx, struct slice body)
{
	struct elect *e = ctx;
	struct elect_standby *s = &e->standby;
	s->last_heard_us = env_now_us(e->env);
	Klamm__Control__Frame *f = frame_decode(body);
	if (!f)
		return;
	switch (f->body_case) {
	case KLAMM__CONTROL__FRAME__BODY_HELLO_REPLY:
		on_hello_reply(e, f->hello_reply);
		break;
	case KLAMM__CONTROL__FRAME__BODY_SNAPSHOT:
		if (f->snapshot->last) {
			s->epoch = f->snapshot->controller_epoch;
			s->seq = f->snapshot->seq;
			heard_epoch(e, s->epoch);
		}
		break;
	case KLAMM__CONTROL__FRAME__BODY_DELTA:
		s->epoch = f->delta->controller_epoch;
		s->seq = f->delta->seq;
		break;
	case KLAMM__CONTROL__FRAME__BODY_HEARTBEAT_REPLY:
		heard_epoch(e, f->heartbeat_reply->controller_epoch);
		break;
	default:
		break;
	}
	frame_free(f);
}

static void on_closed(struct link *l, void *ctx, int err)
{
	struct elect *e = ctx;
	struct elect_standby *s = &e->standby;
	int64_t now = env_now_us(e->env);
	link_free(l);
	s->link = NULL;
	s->next_try_us = now + AGAIN_MS * 1000;
	if (!s->closed_us)
		s->closed_us = now;
	if (err == ERR_REFUSED)
		elect_usurp(e, "the active controller's host refuses the connection");
}

static const struct link_handler standby_handler = {.opened = on_opened, .frame = on_frame, .closed = on_closed};

static bool most_brokers_agree(struct elect *e)
{
	int32_t total = 0, deaf = 0;
	e->host.brokers_say(e->host.ctx, e->node.id, &total, &deaf);
	return total > 0 && deaf * 2 > total;
}

static void standby_tick(void *p)
{
	struct elect *e = p;
	struct elect_standby *s = &e->standby;
	if (e->phase != ELECT_STANDBY)
		return;
	timer_set_ms(&e->standby_timer, TICK_MS);
	int64_t now = env_now_us(e->env), silence_us = (int64_t)e->cfg.silence_ms * 1000;
	if (!s->link && now >= s->next_try_us)
		s->link = link_connect(e->loop, e->node.host, e->node.port, CONNECT_MS, &standby_handler, e);
	else if (s->link && s->hello_done && s->beats++ % (BEAT_MS / TICK_MS) == 0)
		send_beat(e);
	bool silent = now - s->last_heard_us > silence_us;
	bool closed = s->closed_us && now - s->closed_us > CLOSED_MS * 1000;
	if ((silent || closed) && most_brokers_agree(e))
		elect_usurp(e, s->link ? "the active controller is silent, and most brokers say so" : "the link to the active controller is closed, and most brokers say so");
}

void standby_init(struct elect *e)
{
	timer_init(&e->standby_timer, e->loop, standby_tick, e);
}

void standby_follow(struct elect *e)
{
	struct elect_standby *s = &e->standby;
	if (timer_armed(&e->standby_timer)) {
		return; /* the same one still: its node was rewritten (J1) */
	}
	*s = (struct elect_standby){.last_heard_us = env_now_us(e->env)};
	timer_set_us(&e->standby_timer, 0);
}

void standby_leave(struct elect *e)
{
	timer_stop(&e->standby_timer);
	if (e->standby.link)
		link_free(e->standby.link);
	e->standby = (struct elect_standby){0};
}
