/* jobs.c: jobs as coroutines on stacks of their own.
 *
 * A job runs until it makes a blocking call; that call takes virtual time, in which others run. When its process ends it is never
 * entered again: the stack goes back to the pool as it is, what it had allocated is lost (as the stack of a killed thread).
 */
#include <stdint.h>
#include <ucontext.h>

#include "common/env/sim/sim_priv.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifndef SIM_ASAN
#define SIM_ASAN 0
#endif
#if SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES (256u * 1024)

struct sim_job_stack {
	struct sim_job_stack *next; /* in the pool */
	ucontext_t ctx;
	uint8_t *bytes;
};

struct sim_job {
	struct list link; /* of the process */
	struct sim_event ev;
	struct job *j;
	struct sim_world *w;
	struct sim_process *p;
	struct sim_job_stack *stack;
	bool entered, finished, held;
	void *fake_stack;
};

static struct sim_job_stack *stack_get(struct sim_world *w)
{
	struct sim_job_stack *s = w->stacks;

	if (s) {
		w->stacks = s->next;
		return s;
	}
	s = MEM_NEW(struct sim_job_stack);
	s->bytes = mem_alloc(STACK_BYTES);
	return s;
}

static void stack_put(struct sim_world *w, struct sim_job_stack *s)
{
#if SIM_ASAN
	__asan_unpoison_memory_region(s->bytes, STACK_BYTES);
#endif
	s->next = w->stacks;
	w->stacks = s;
}

void sim_jobs_fini(struct sim_world *w)
{
	while (w->stacks) {
		struct sim_job_stack *s = w->stacks;
		w->stacks = s->next;
		mem_free(s->bytes);
		mem_free(s);
	}
	mem_free(w->main_ctx);
	w->main_ctx = NULL;
}

static void job_leave(struct sim_job *job)
{
	struct sim_world *w = job->w;

#if SIM_ASAN
	__sanitizer_start_switch_fiber(job->finished ? NULL : &job->fake_stack, w->main_stack, w->main_stack_bytes);
#endif
	swapcontext(&job->stack->ctx, w->main_ctx);
#if SIM_ASAN
	const void *bottom;
	size_t bytes;
	__sanitizer_finish_switch_fiber(job->fake_stack, &bottom, &bytes);
	w->main_stack = (void *)(uintptr_t)bottom;
	w->main_stack_bytes = bytes;
#endif
}

static void job_main(unsigned hi, unsigned lo)
{
	struct sim_job *job = (struct sim_job *)(((uintptr_t)hi << 32) | (uintptr_t)lo);

#if SIM_ASAN
	const void *bottom;
	size_t bytes;
	__sanitizer_finish_switch_fiber(NULL, &bottom, &bytes);
	job->w->main_stack = (void *)(uintptr_t)bottom;
	job->w->main_stack_bytes = bytes;
#endif
	job->j->run(job->j);
	job->finished = true;
	job_leave(job);
	check_failed("a finished job is never entered", __FILE__, __LINE__, __func__);
}

static void job_deliver(struct sim_event *e)
{
	struct sim_job *job = CONTAINER_OF(e, struct sim_job, ev);
	struct job *j = job->j;

	sim_rec(job->w, REC_JOB, e->loop->id, 2, 0);
	list_remove(&job->link);
	mem_free(job);
	j->done(j);
}

static void job_enter(struct sim_event *e)
{
	struct sim_job *job = CONTAINER_OF(e, struct sim_job, ev);
	struct sim_world *w = job->w;
	struct sim_process *p = job->p;

	if (p->paused) {
		job->held = true;
		return;
	}
	if (!w->main_ctx)
		w->main_ctx = mem_zalloc(sizeof(ucontext_t));
	ASSERT(!w->job && !w->running);
	if (!job->entered) {
		job->entered = true;
		job->stack = stack_get(w);
		getcontext(&job->stack->ctx);
		job->stack->ctx.uc_stack.ss_sp = job->stack->bytes;
		job->stack->ctx.uc_stack.ss_size = STACK_BYTES;
		job->stack->ctx.uc_link = NULL;
		uintptr_t at = (uintptr_t)job;
		makecontext(&job->stack->ctx, (void (*)(void))job_main, 2, (unsigned)(at >> 32), (unsigned)at);
		sim_rec(w, REC_JOB, sim_loop_of(job->j->from)->id, 1, (uint64_t)job->j->cls);
	}
	w->job = job;
	loop_set_current(NULL);
#if SIM_ASAN
	void *fake = NULL;
	__sanitizer_start_switch_fiber(&fake, job->stack->bytes, STACK_BYTES);
#endif
	swapcontext(w->main_ctx, &job->stack->ctx);
#if SIM_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	w->job = NULL;
	w->spent = 0;
	if (job->finished) {
		stack_put(w, job->stack);
		job->stack = NULL;
		sim_event_init(&job->ev, sim_loop_of(job->j->from), job_deliver);
		sim_schedule(w, &job->ev, w->now + sim_draw(w, w->cfg.inbox_delay));
	}
	sim_process_settle(p);
}

void sim_job_submit(struct loop *l, struct job *j, enum job_class cls)
{
	struct sim_loop *sl = sim_loop_of(l);
	struct sim_job *job = MEM_NEW(struct sim_job);

	job->w = sl->w;
	job->p = sl->p;
	job->j = j;
	sim_event_init(&job->ev, NULL, job_enter);
	list_init(&job->link);
	list_push_back(&sl->p->jobs, &job->link);
	sim_schedule(sl->w, &job->ev, sim_now(sl->w) + 1 + sim_draw(sl->w, sl->w->cfg.inbox_delay));
}

void sim_block(struct env *env, int64_t us)
{
	struct sim_process *p = sim_process_of(env);
	struct sim_world *w = p->w;
	struct sim_job *job = w->job;

	if (!job) {
		w->spent += us;
		return;
	}
	ASSERT(job->p == p);
	if (!p->exit_pending)
		sim_schedule(w, &job->ev, w->now + us);
	job_leave(job);
}

void sim_jobs_abandon(struct sim_process *p)
{
	struct list *n;

	while ((n = list_pop_front(&p->jobs))) {
		struct sim_job *job = LIST_ENTRY(n, struct sim_job, link);
		sim_unschedule(p->w, &job->ev);
		if (job->stack)
			stack_put(p->w, job->stack);
		mem_free(job);
	}
}

void sim_jobs_resume(struct sim_process *p)
{
	LIST_FOR (n, &p->jobs) {
		struct sim_job *job = LIST_ENTRY(n, struct sim_job, link);
		if (!job->held)
			continue;
		job->held = false;
		sim_schedule(p->w, &job->ev, p->w->now);
	}
}
