/* loops.c: loops as actors: turns, messages, deferred calls, timers.
 *
 * A turn runs one event of an idle loop, or what piled up while it was busy, in random order (sometimes only a part of it). Then
 * the deferred calls run, and the loop is busy for the cost of the turn.
 */
#include <string.h>

#include "common/env/sim/sim_priv.h"

static void turn_begin(struct sim_loop *l)
{
	ASSERT(!l->in_turn && !l->w->running && !l->w->job);
	l->in_turn = true;
	l->turn_us = l->w->now;
	l->w->running = l;
	atomic_store_explicit(&l->l.turn_began_us, l->turn_us, memory_order_relaxed);
	loop_set_current(&l->l);
}

static void turn_end(struct sim_loop *l)
{
	struct sim_world *w = l->w;

	while (l->defer_head && !l->p->exit_pending) {
		struct deferred *d = l->defer_head;
		l->defer_head = d->next;
		if (!l->defer_head)
			l->defer_tail = &l->defer_head;
		d->next = NULL;
		d->queued = false;
		d->fn(d->ctx);
	}
	int64_t cost = w->spent + sim_draw(w, w->cfg.turn_cost);
	l->in_turn = false;
	l->busy_until = w->now + cost;
	w->running = NULL;
	loop_set_current(NULL);
	atomic_store_explicit(&l->l.turn_began_us, 0, memory_order_relaxed);
	atomic_store_explicit(&l->l.busy_us, atomic_load_explicit(&l->l.busy_us, memory_order_relaxed) + cost, memory_order_relaxed);
	atomic_store_explicit(&l->l.turns, atomic_load_explicit(&l->l.turns, memory_order_relaxed) + 1, memory_order_relaxed);
	if (l->backlog_n)
		sim_loop_wake(l);
	sim_process_settle(l->p); /* l may be gone */
}

void sim_loop_ready(struct sim_loop *l, struct sim_event *e)
{
	if (l->p->paused || l->busy_until > l->w->now) {
		MEM_GROW(l->backlog, l->backlog_cap, l->backlog_n + 1);
		e->pos = (uint32_t)l->backlog_n;
		e->where = EV_BACKLOG;
		l->backlog[l->backlog_n++] = e;
		sim_loop_wake(l);
		return;
	}
	turn_begin(l);
	e->fn(e);
	turn_end(l);
}

void sim_loop_wake(struct sim_loop *l)
{
	if (!l->p->paused && !sim_scheduled(&l->wake) && l->backlog_n)
		sim_schedule(l->w, &l->wake, l->busy_until);
}

static void run_backlog(struct sim_event *e)
{
	struct sim_loop *l = CONTAINER_OF(e, struct sim_loop, wake);
	struct sim_world *w = l->w;

	if (l->p->paused)
		return;
	if (l->busy_until > w->now) {
		sim_loop_wake(l);
		return;
	}
	/* Only what waits now: callbacks add to the heap, never to the backlog. One that is stopped meanwhile leaves it. */
	size_t n = l->backlog_n;
	if (n > 1 && rng_below(&w->rng, 4) == 0)
		n = 1 + rng_below(&w->rng, n);
	turn_begin(l);
	while (n-- > 0 && l->backlog_n && !l->p->exit_pending) {
		struct sim_event *next = l->backlog[l->backlog_n > 1 ? rng_below(&w->rng, l->backlog_n) : 0];
		sim_unschedule(w, next);
		next->fn(next);
	}
	turn_end(l);
}

struct sim_loop *sim_loop_make(struct sim_process *p, int32_t idx, const char *name)
{
	struct sim_loop *l = MEM_NEW(struct sim_loop), **at = &p->loops;

	l->w = p->w;
	l->p = p;
	l->id = p->w->next_loop++;
	l->l.env = &p->env;
	l->l.idx = idx;
	snprintf(l->name, sizeof(l->name), "%s", name);
	l->l.name = l->name;
	l->defer_tail = &l->defer_head;
	sim_event_init(&l->wake, NULL, run_backlog);
	while (*at)
		at = &(*at)->next;
	*at = l;
	return l;
}

void sim_loop_free(struct sim_loop *l)
{
	for (size_t i = 0; i < l->inqs_n; i++)
		mem_free(l->inqs[i]);
	mem_free(l->inqs);
	mem_free(l->backlog);
	mem_free(l);
}

struct loop *sim_loop_new(struct env *env, int32_t idx, const char *name)
{
	return &sim_loop_make(sim_process_of(env), idx, name)->l;
}

int64_t sim_loop_now_us(struct loop *loop)
{
	return sim_loop_of(loop)->turn_us;
}

/* ---- messages ---- */

static void inq_deliver(struct sim_event *e)
{
	struct sim_inq *q = CONTAINER_OF(e, struct sim_inq, ev);
	struct sim_loop *to = e->loop;
	struct sim_world *w = to->w;

	/* All that is there now, as one drain of a real inbox; what these callbacks post comes with a later event. */
	struct msg *m = q->head;
	q->head = q->tail = NULL;
	while (m && !to->p->exit_pending) {
		struct msg *next = m->next;
		m->next = NULL;
		sim_rec(w, REC_MSG, to->id, q->from ? q->from->id : UINT32_MAX, (uint64_t)m->posted_us);
		SIM_TEXT(w, "msg   %s/%s from %s", to->p->name, to->name, q->from ? q->from->name : "outside");
		m->deliver(m);
		m = next;
	}
}

static struct sim_inq *inq_of(struct sim_loop *to, struct sim_loop *from)
{
	size_t i = from ? (size_t)(from->l.idx + 2) : 0;

	if (i >= to->inqs_n) {
		size_t n = i + 4;
		to->inqs = mem_realloc(to->inqs, n * sizeof(*to->inqs));
		memset(to->inqs + to->inqs_n, 0, (n - to->inqs_n) * sizeof(*to->inqs));
		to->inqs_n = n;
	}
	if (!to->inqs[i]) {
		to->inqs[i] = MEM_NEW(struct sim_inq);
		sim_event_init(&to->inqs[i]->ev, to, inq_deliver);
		to->inqs[i]->from = from;
	}
	return to->inqs[i];
}

void sim_loop_post(struct loop *loop, struct msg *m)
{
	struct sim_loop *to = sim_loop_of(loop);
	struct sim_world *w = to->w;
	struct sim_loop *from = m->from ? sim_loop_of(m->from) : NULL;

	ASSERT(!from || from->p == to->p); /* processes share no memory */
	struct sim_inq *q = inq_of(to, from);
	m->next = NULL;
	if (q->head)
		q->tail->next = m;
	else
		q->head = m;
	q->tail = m;
	if (sim_scheduled(&q->ev))
		return;
	bool slow = sim_chance(w, w->cfg.inbox_slow_rate);
	sim_schedule(w, &q->ev, sim_now(w) + sim_draw(w, slow ? w->cfg.inbox_slow : w->cfg.inbox_delay));
}

/* ---- deferred ---- */

void sim_loop_defer(struct loop *loop, struct deferred *d)
{
	struct sim_loop *l = sim_loop_of(loop);

	d->queued = true;
	d->next = NULL;
	*l->defer_tail = d;
	l->defer_tail = &d->next;
}

void sim_deferred_cancel(struct loop *loop, struct deferred *d)
{
	struct sim_loop *l = sim_loop_of(loop);

	for (struct deferred **at = &l->defer_head; *at; at = &(*at)->next)
		if (*at == d) {
			*at = d->next;
			if (!*at)
				l->defer_tail = at;
			break;
		}
	d->next = NULL;
	d->queued = false;
}

/* ---- timers ---- */

struct timer_impl {
	struct sim_event ev;
	struct timer *t;
};
_Static_assert(sizeof(struct timer_impl) <= sizeof(((struct timer *)0)->backend), "timer storage");

static struct timer_impl *impl_of(struct timer *t)
{
	return (struct timer_impl *)(void *)t->backend;
}

static void timer_fire(struct sim_event *e)
{
	struct timer *t = CONTAINER_OF(e, struct timer_impl, ev)->t;
	struct sim_loop *l = e->loop;

	sim_rec(l->w, REC_TIMER, l->id, (uint64_t)t->due_us, 0);
	SIM_TEXT(l->w, "timer %s/%s due %lld", l->p->name, l->name, (long long)t->due_us);
	t->due_us = 0;
	t->fn(t->ctx);
}

void sim_timer_set(struct timer *t, int64_t delay_us)
{
	struct sim_loop *l = sim_loop_of(t->loop);
	struct sim_world *w = l->w;
	struct timer_impl *ti = impl_of(t);

	if (ti->t != t) {
		sim_event_init(&ti->ev, l, timer_fire);
		ti->t = t;
	}
	t->due_us = sim_now(w) + delay_us;
	if (t->due_us == 0)
		t->due_us = 1;
	sim_schedule(w, &ti->ev, t->due_us + sim_draw(w, w->cfg.timer_slack));
}

void sim_timer_stop(struct timer *t)
{
	struct timer_impl *ti = impl_of(t);

	if (ti->t == t)
		sim_unschedule(sim_loop_of(t->loop)->w, &ti->ev);
	t->due_us = 0;
}
