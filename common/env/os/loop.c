/* loop.c: the loops of the os backend: turns, messages, deferred calls, timers.
 *
 * One libev loop per thread does the waiting; the order inside a turn is ours (os_priv.h). Messages come through a lock-free list:
 * posting is one compare-and-swap, and only the post that finds the list empty wakes the loop. Taking the whole list and turning
 * it round keeps the order of every sender.
 *
 * Timers are a binary heap over intrusive timers (no allocation per timer); one ev_timer stands for the earliest. Time is
 * CLOCK_BOOTTIME; the alarm never waits longer than a second because libev counts CLOCK_MONOTONIC, which stands still while the
 * machine sleeps.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define ALARM_MAX_US 1000000
#define ROUNDS_MAX 4 /* of completions, deferred calls and what they post to their own loop, in one turn */

_Static_assert(sizeof(ev_tstamp) == 8, "libev built with double time stamps");

/* ---- timers: heap, slot kept in timer.backend[0], sequence in backend[1] ---- */

static bool earlier(const struct timer *a, const struct timer *b)
{
	if (a->due_us != b->due_us)
		return a->due_us < b->due_us;
	return (uintptr_t)a->backend[1] < (uintptr_t)b->backend[1];
}

static void heap_place(struct os_loop *l, size_t slot, struct timer *t)
{
	l->heap[slot] = t;
	t->backend[0] = (void *)(uintptr_t)slot;
}

static void heap_up(struct os_loop *l, size_t slot, struct timer *t)
{
	while (slot > 0) {
		size_t parent = (slot - 1) / 2;
		if (!earlier(t, l->heap[parent]))
			break;
		heap_place(l, slot, l->heap[parent]);
		slot = parent;
	}
	heap_place(l, slot, t);
}

static void heap_down(struct os_loop *l, size_t slot, struct timer *t)
{
	for (;;) {
		size_t child = slot * 2 + 1;
		if (child >= l->heap_count)
			break;
		if (child + 1 < l->heap_count && earlier(l->heap[child + 1], l->heap[child]))
			child++;
		if (!earlier(l->heap[child], t))
			break;
		heap_place(l, slot, l->heap[child]);
		slot = child;
	}
	heap_place(l, slot, t);
}

static void heap_remove(struct os_loop *l, struct timer *t)
{
	size_t slot = (size_t)(uintptr_t)t->backend[0];

	ASSERT(slot < l->heap_count && l->heap[slot] == t);
	struct timer *last = l->heap[--l->heap_count];
	if (last != t) {
		if (slot > 0 && earlier(last, l->heap[(slot - 1) / 2]))
			heap_up(l, slot, last);
		else
			heap_down(l, slot, last);
	}
	t->due_us = 0;
}

void os_timer_set(struct timer *t, int64_t delay_us)
{
	struct os_loop *l = os_loop_of(t->loop);

	if (t->due_us != 0)
		heap_remove(l, t);
	/* From now, not from the begin of the turn: never fires early. At least the next turn: its time is past now_us. */
	int64_t due = os_now_us() + delay_us;
	t->due_us = due > l->now_us ? due : l->now_us + 1;
	t->backend[1] = (void *)(uintptr_t)l->timer_seq++;
	MEM_GROW(l->heap, l->heap_cap, l->heap_count + 1);
	heap_up(l, l->heap_count++, t);
}

void os_timer_stop(struct timer *t)
{
	heap_remove(os_loop_of(t->loop), t);
}

static void run_timers(struct os_loop *l)
{
	while (l->heap_count > 0 && l->heap[0]->due_us <= l->now_us) {
		struct timer *t = l->heap[0];
		heap_remove(l, t);
		t->fn(t->ctx);
	}
}

/* ---- messages and pool tasks ---- */

static void wake(struct os_loop *l)
{
	ev_async_send(l->ev, &l->wake);
}

void os_loop_wake(struct os_loop *l)
{
	wake(l);
}

void os_loop_post(struct loop *to, struct msg *m)
{
	struct os_loop *l = os_loop_of(to);
	struct msg *old = atomic_load_explicit(&l->inbox, memory_order_relaxed);

	do
		m->next = old;
	while (!atomic_compare_exchange_weak_explicit(&l->inbox, &old, m, memory_order_release, memory_order_relaxed));
	/* A loop looks at its own inbox before it sleeps. m may be gone by now. */
	if (!old && loop_current() != to)
		wake(l);
}

void os_loop_task_done(struct os_task *t)
{
	struct os_loop *l = t->l;
	struct os_task *old = atomic_load_explicit(&l->tasks, memory_order_relaxed);

	do
		t->next = old;
	while (!atomic_compare_exchange_weak_explicit(&l->tasks, &old, t, memory_order_release, memory_order_relaxed));
	if (!old)
		wake(l);
}

static void run_tasks(struct os_loop *l)
{
	struct os_task *taken = atomic_exchange_explicit(&l->tasks, NULL, memory_order_acquire), *first = NULL;

	while (taken) {
		struct os_task *next = taken->next;
		taken->next = first;
		first = taken;
		taken = next;
	}
	while (first) {
		struct os_task *t = first;
		first = t->next;
		t->next = NULL;
		t->done(t);
	}
}

static void run_inbox(struct os_loop *l)
{
	struct msg *taken = atomic_exchange_explicit(&l->inbox, NULL, memory_order_acquire), *first = NULL;

	while (taken) {
		struct msg *next = taken->next;
		taken->next = first;
		first = taken;
		taken = next;
	}
	while (first) {
		struct msg *m = first;
		first = m->next;
		m->next = NULL;
		m->deliver(m);
	}
}

/* ---- deferred calls and inline completions ---- */

void os_loop_defer(struct loop *loop, struct deferred *d)
{
	struct os_loop *l = os_loop_of(loop);

	d->queued = true;
	d->next = NULL;
	if (l->defer_tail)
		l->defer_tail->next = d;
	else
		l->defer_head = d;
	l->defer_tail = d;
	l->defer_count++;
}

void os_deferred_cancel(struct loop *loop, struct deferred *d)
{
	struct os_loop *l = os_loop_of(loop);
	struct deferred *before = NULL, *it = l->defer_head;

	while (it && it != d) {
		before = it;
		it = it->next;
	}
	ASSERT(it == d);
	if (before)
		before->next = d->next;
	else
		l->defer_head = d->next;
	if (l->defer_tail == d)
		l->defer_tail = before;
	l->defer_count--;
	d->queued = false;
}

void os_loop_op_done(struct os_loop *l, struct file_op *op, int err)
{
	op->err = err;
	op->next = NULL;
	if (l->done_tail)
		l->done_tail->next = op;
	else
		l->done_head = op;
	l->done_tail = op;
}

static void run_completions(struct os_loop *l)
{
	struct file_op *op = l->done_head;

	l->done_head = l->done_tail = NULL;
	while (op) {
		struct file_op *next = op->next;
		op->next = NULL;
		file_op_finish(op, op->err);
		op = next;
	}
}

static void run_deferred(struct os_loop *l)
{
	/* Only as many as there are now: one that defers itself again waits for the next round. */
	for (size_t left = l->defer_count; left > 0 && l->defer_head; left--) {
		struct deferred *d = l->defer_head;
		os_deferred_cancel(&l->loop, d);
		d->fn(d->ctx);
	}
}

/* ---- turns ---- */

static void on_wake(struct ev_loop *ev, ev_async *w, int events)
{
}

static void on_alarm(struct ev_loop *ev, ev_timer *w, int events)
{
}

/* The first thing after the wait: the turn begins. Messages come before sockets: what was posted here before another loop answered a client is
 * known when that client's next request is read here (a topic that was just made, a limit that was just set). */
static void on_woken(struct ev_loop *ev, ev_check *w, int events)
{
	struct os_loop *l = w->data;

	l->now_us = os_now_us();
	atomic_store_explicit(&l->loop.turn_began_us, l->now_us, memory_order_relaxed);
	if (atomic_load_explicit(&l->inbox, memory_order_relaxed))
		run_inbox(l);
}

static bool work_waits(struct os_loop *l)
{
	return l->defer_head || l->done_head || !list_empty(&l->flush) || atomic_load_explicit(&l->inbox, memory_order_relaxed) ||
	       atomic_load_explicit(&l->tasks, memory_order_relaxed);
}

static void turn(struct os_loop *l)
{
	bool wait = !work_waits(l);

	if (wait && l->heap_count > 0) {
		/* libev counts from the time that it read last, which is (nearly) the begin of the turn. */
		int64_t after = l->heap[0]->due_us - l->now_us;
		if (after > ALARM_MAX_US)
			after = ALARM_MAX_US;
		ev_timer_stop(l->ev, &l->alarm);
		ev_timer_set(&l->alarm, after > 0 ? (double)after / 1e6 : 0., 0.);
		ev_timer_start(l->ev, &l->alarm);
	}
	ev_run(l->ev, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
	run_tasks(l);
	run_inbox(l);
	run_timers(l);
	/* So that a request whose partition is ours is answered in the turn in which it came, without another look at the sockets. */
	for (int i = 0; i < ROUNDS_MAX && (l->done_head || l->defer_head); i++) {
		run_completions(l);
		run_deferred(l);
		if (atomic_load_explicit(&l->inbox, memory_order_relaxed))
			run_inbox(l);
	}
	os_conns_flush(l);
	os_conns_reap(l);

	int64_t spent = os_now_us() - l->now_us;
	atomic_store_explicit(&l->loop.busy_us, atomic_load_explicit(&l->loop.busy_us, memory_order_relaxed) + spent, memory_order_relaxed);
	atomic_store_explicit(&l->loop.turns, atomic_load_explicit(&l->loop.turns, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&l->loop.turn_began_us, 0, memory_order_relaxed);
}

void os_loop_run(struct os_loop *l)
{
	loop_set_current(&l->loop);
	ev_now_update(l->ev);
	l->now_us = os_now_us();
	while (!atomic_load_explicit(&l->stop, memory_order_acquire))
		turn(l);
}

int64_t os_loop_now_us(struct loop *l)
{
	return os_loop_of(l)->now_us;
}

/* ---- life ---- */

static void *loop_thread(void *arg)
{
	struct os_loop *l = arg;

	pthread_setname_np(pthread_self(), l->name);
	os_loop_run(l);
	return NULL;
}

struct os_loop *os_loop_make(struct os_world *w, int32_t idx, const char *name, bool with_thread)
{
	struct os_loop *l = MEM_NEW(struct os_loop);

	snprintf(l->name, sizeof(l->name), "%.15s", name); /* the kernel keeps 15 characters */
	l->loop.env = &w->env;
	l->loop.idx = idx;
	l->loop.name = l->name;
	l->world = w;
	l->now_us = os_now_us();
	list_init(&l->conns);
	list_init(&l->flush);
	list_init(&l->dead);
	list_init(&l->listeners);
	list_init(&l->link);
	l->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
	if (!l->ev)
		os_die("cannot make an event loop");
	ev_async_init(&l->wake, on_wake);
	ev_async_start(l->ev, &l->wake);
	ev_check_init(&l->woken, on_woken);
	ev_set_priority(&l->woken, EV_MAXPRI);
	l->woken.data = l;
	ev_check_start(l->ev, &l->woken);
	ev_init(&l->alarm, on_alarm);
	pthread_mutex_lock(&w->loops_lock);
	list_push_back(&w->loops, &l->link);
	pthread_mutex_unlock(&w->loops_lock);
	if (with_thread) {
		l->has_thread = true;
		if (pthread_create(&l->thread, NULL, loop_thread, l) != 0)
			os_die("cannot start a thread");
	}
	return l;
}

struct loop *os_loop_new(struct env *env, int32_t idx, const char *name)
{
	return &os_loop_make(os_world_of(env), idx, name, true)->loop;
}

void os_loop_join(struct os_loop *l)
{
	if (!l->has_thread)
		return;
	atomic_store_explicit(&l->stop, true, memory_order_release);
	wake(l);
	pthread_join(l->thread, NULL);
	l->has_thread = false;
}

void os_loop_free(struct os_loop *l)
{
	loop_set_current(&l->loop);
	os_tasks_drop(atomic_exchange(&l->tasks, NULL));
	os_listeners_free(l);
	os_conns_free(l);
	loop_set_current(NULL);
	ev_loop_destroy(l->ev);
	mem_free(l->heap);
	list_remove(&l->link);
	mem_free(l);
}
