/* forward.c: clients' admin requests for the controller, and blocks of producer ids.
 *
 * A request is sent once. While no controller rules it waits a little, then NOT_CONTROLLER is answered (it was never sent, so clients may try
 * again). Once sent, a lost link leaves it unknown: REQUEST_TIMED_OUT, never sent again (protocol.md L); so does a controller that says nothing until
 * the request's own timeout is over: one whose reign is suspended may not (C5). What it says later is nobody's.
 */
#include "brokerd/link/ctl_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

static void settle(struct forwarded *w, int16_t error)
{
	struct ask_forward *f = w->f;
	list_remove(&w->link);
	mem_free(w);
	f->error = error;
	loop_post(f->msg.from, &f->msg);
}

void ctl_forward(void *ctl, struct ask_forward *f)
{
	struct ctl *c = ctl;
	struct forwarded *w = MEM_NEW(struct forwarded);
	w->f = f;
	w->since_us = env_now_us(c->env);
	list_init(&w->link);
	list_push_back(&c->forward_waiting, &w->link);
	forwards_send(c);
}

void forwards_send(struct ctl *c)
{
	struct list *it;
	while (c->active && (it = list_pop_front(&c->forward_waiting))) {
		struct forwarded *w = LIST_ENTRY(it, struct forwarded, link);
		Klamm__Control__Forward m = KLAMM__CONTROL__FORWARD__INIT;
		pb_frame f = KLAMM__CONTROL__FRAME__INIT;
		w->number = m.number = ++c->next_number;
		w->since_us = env_now_us(c->env);
		m.request.data = (uint8_t *)(uintptr_t)w->f->request.ptr;
		m.request.len = w->f->request.len;
		m.principal = (char *)(uintptr_t)"User:ANONYMOUS";
		m.client_host = w->f->client_host;
		m.listener = (char *)(uintptr_t)w->f->listener;
		f.body_case = KLAMM__CONTROL__FRAME__BODY_FORWARD;
		f.forward = &m;
		list_push_back(&c->forward_sent, &w->link);
		ctl_send(c->active, &f);
	}
}

void forwards_reply(struct ctl *c, const Klamm__Control__ForwardReply *r)
{
	LIST_FOR_SAFE(it, tmp, &c->forward_sent) {
		struct forwarded *w = LIST_ENTRY(it, struct forwarded, link);
		if (w->number != r->number)
			continue;
		if (!r->error) {
			w->f->response_len = r->response.len;
			w->f->response = mem_alloc(r->response.len + 1);
			memcpy(w->f->response, r->response.data, r->response.len);
		}
		settle(w, (int16_t)r->error);
		return;
	}
}

void forwards_lost(struct ctl *c)
{
	while (!list_empty(&c->forward_sent))
		settle(LIST_ENTRY(c->forward_sent.next, struct forwarded, link), KERR_REQUEST_TIMED_OUT);
	c->pid_asked = false;
	if (c->shutdown_done) {
		void (*done)(void *, int16_t, uint32_t) = c->shutdown_done;
		c->shutdown_done = NULL;
		done(c->shutdown_ctx, KERR_NOT_CONTROLLER, 0);
	}
}

static int64_t patience_ms(const struct ask_forward *f)
{
	int64_t own = f->timeout_ms < 0 ? FORWARD_ANSWER_MS : (int64_t)f->timeout_ms + FORWARD_GRACE_MS;
	return own < FORWARD_MOST_MS ? own : FORWARD_MOST_MS;
}

void forwards_tick(struct ctl *c)
{
	int64_t now = env_now_us(c->env);
	LIST_FOR_SAFE(it, tmp, &c->forward_waiting) {
		struct forwarded *w = LIST_ENTRY(it, struct forwarded, link);
		if (now - w->since_us > FORWARD_WAIT_MS * 1000 || (w->f->timeout_ms >= 0 && now - w->since_us > (int64_t)w->f->timeout_ms * 1000))
			settle(w, KERR_NOT_CONTROLLER);
	}
	LIST_FOR_SAFE(it, tmp, &c->forward_sent) {
		struct forwarded *w = LIST_ENTRY(it, struct forwarded, link);
		if (now - w->since_us > patience_ms(w->f) * 1000)
			settle(w, KERR_REQUEST_TIMED_OUT);
	}
	if (!list_empty(&c->pid_waiting))
		producer_ids_ask(c);
}

void forwards_free(struct ctl *c)
{
	/* The loops that wait are gone with us: only our own nodes are freed. */
	struct list *it;
	while ((it = list_pop_front(&c->forward_waiting)))
		mem_free(LIST_ENTRY(it, struct forwarded, link));
	while ((it = list_pop_front(&c->forward_sent)))
		mem_free(LIST_ENTRY(it, struct forwarded, link));
	while ((it = list_pop_front(&c->pid_waiting)))
		mem_free(LIST_ENTRY(it, struct pid_request, link));
}

/* ---- producer ids: a block of 1000 in hand, handed to the loops in chunks; the next one is fetched before it is needed ---- */

static void hand_out(struct ctl *c)
{
	while (!list_empty(&c->pid_waiting) && c->pid_next < c->pid_end) {
		struct pid_request *w = LIST_ENTRY(list_pop_front(&c->pid_waiting), struct pid_request, link);
		int64_t left = c->pid_end - c->pid_next;
		w->p->first = c->pid_next;
		w->p->count = (int32_t)(left < PRODUCER_IDS_CHUNK ? left : PRODUCER_IDS_CHUNK);
		w->p->error = KERR_NONE;
		c->pid_next += w->p->count;
		loop_post(w->p->msg.from, &w->p->msg);
		mem_free(w);
	}
}

void ctl_producer_ids(void *ctl, struct ask_producer_ids *p)
{
	struct ctl *c = ctl;
	struct pid_request *w = MEM_NEW(struct pid_request);
	w->p = p;
	list_init(&w->link);
	list_push_back(&c->pid_waiting, &w->link);
	hand_out(c);
	producer_ids_ask(c);
}

void producer_ids_ask(struct ctl *c)
{
	struct ctl_hello in = {0};
	if (c->pid_asked || c->pid_next < c->pid_end || !c->active || !c->ev.hello(c->ev.ctx, &in))
		return;
	Klamm__Control__ProducerIdsRequest m = KLAMM__CONTROL__PRODUCER_IDS_REQUEST__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.number = ++c->next_number;
	m.broker_epoch = in.broker_epoch;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS;
	f.producer_ids = &m;
	c->pid_asked = true;
	ctl_send(c->active, &f);
}

void producer_ids_reply(struct ctl *c, const Klamm__Control__ProducerIdsReply *r)
{
	if (!c->pid_asked)
		return; /* an answer to a question of a former link */
	c->pid_asked = false;
	if (r->error || r->count <= 0 || r->first < 0) {
		/* Nobody can say more now: clients retry. */
		struct list *it;
		while ((it = list_pop_front(&c->pid_waiting))) {
			struct pid_request *w = LIST_ENTRY(it, struct pid_request, link);
			w->p->error = KERR_COORDINATOR_LOAD_IN_PROGRESS;
			loop_post(w->p->msg.from, &w->p->msg);
			mem_free(w);
		}
		return;
	}
	c->pid_next = r->first;
	c->pid_end = r->first + r->count;
	hand_out(c);
	producer_ids_ask(c);
}
