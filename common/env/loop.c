/* loop.c: loops, messages, timers and jobs, onto the backend's vtable.
 *
 * What is common to both backends is done here: who runs (a thread-local pointer that the backend sets around each callback; the
 * simulator has one thread, so it is a plain variable there), and the sender's stamp of a message.
 */
#include "common/env/env_backend.h"

#include "common/base/check.h"

static _Thread_local struct loop *running;
static _Thread_local bool any_owner;

void loop_set_current(struct loop *l)
{
	running = l;
}

void loop_set_any_owner(bool on)
{
	any_owner = on;
}

struct loop *loop_current(void)
{
	return running;
}

void loop_assert_owner(const struct loop *l)
{
	ASSERT(running == l || any_owner);
}

struct loop *loop_new(struct env *env, int32_t idx, const char *name)
{
	return env->ops->loop_new(env, idx, name);
}

int64_t loop_now_us(struct loop *l)
{
	return l->env->ops->loop_now_us(l);
}

int64_t loop_now_ms(struct loop *l)
{
	return loop_now_us(l) / 1000;
}

void loop_post(struct loop *to, struct msg *m)
{
	m->to = to;
	m->from = running;
	m->posted_us = running ? loop_now_us(running) : env_now_us(to->env);
	to->env->ops->loop_post(to, m);
}

void deferred_init(struct deferred *d, void (*fn)(void *ctx), void *ctx)
{
	*d = (struct deferred){.fn = fn, .ctx = ctx};
}

void loop_defer(struct loop *l, struct deferred *d)
{
	loop_assert_owner(l);
	if (!d->queued)
		l->env->ops->loop_defer(l, d);
}

void deferred_cancel(struct loop *l, struct deferred *d)
{
	if (d->queued)
		l->env->ops->deferred_cancel(l, d);
}

void timer_init(struct timer *t, struct loop *l, void (*fn)(void *ctx), void *ctx)
{
	*t = (struct timer){.fn = fn, .ctx = ctx, .loop = l};
}

void timer_set_us(struct timer *t, int64_t delay_us)
{
	loop_assert_owner(t->loop);
	t->loop->env->ops->timer_set(t, delay_us < 0 ? 0 : delay_us);
}

void timer_stop(struct timer *t)
{
	if (t->due_us != 0)
		t->loop->env->ops->timer_stop(t);
}

void job_submit(struct loop *l, struct job *j, enum job_class cls)
{
	loop_assert_owner(l);
	ASSERT(cls == JOB_IO || cls == JOB_LONG || cls == JOB_LOAD);
	j->from = l;
	j->cls = (int8_t)cls;
	j->next = NULL;
	l->env->ops->job_submit(l, j, cls);
}
