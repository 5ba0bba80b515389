/* pool.c: the threads for what blocks: file syncs, cold reads, jobs, name resolution.
 *
 * Five queues, each under its own mutex, so that long work never stands before short work (protocol.md G2): IO (default 2
 * threads), LONG (1), LOAD (as many as are asked for), NAMES and WRITEBACK (1 each: asking a busy disk to write can wait as long as a
 * name server); the last three are started with their first task. A finished task goes back to its loop by the loop's task list.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define POOL_THREADS_MAX 64

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct os_task *head, *tail;
	bool stop;
	int threads_wanted, threads_count;
	pthread_t threads[POOL_THREADS_MAX];
	const char *name;
};

struct os_pool {
	struct queue q[OS_POOL_QUEUES];
};

static void *pool_thread(void *arg)
{
	struct queue *q = arg;

	pthread_setname_np(pthread_self(), q->name);
	loop_set_current(NULL);
	for (;;) {
		pthread_mutex_lock(&q->lock);
		while (!q->head && !q->stop)
			pthread_cond_wait(&q->more, &q->lock);
		struct os_task *t = q->stop ? NULL : q->head;
		if (t) {
			q->head = t->next;
			if (!q->head)
				q->tail = NULL;
		}
		pthread_mutex_unlock(&q->lock);
		if (!t)
			return NULL;
		t->next = NULL;
		t->run(t);
		os_loop_task_done(t);
	}
}

static void queue_start(struct queue *q)
{
	while (q->threads_count < q->threads_wanted) {
		if (pthread_create(&q->threads[q->threads_count], NULL, pool_thread, q) != 0)
			os_die("cannot start a thread");
		q->threads_count++;
	}
}

struct os_pool *os_pool_new(struct os_world *w, int io_threads, int long_threads)
{
	static const char *const names[OS_POOL_QUEUES] = {"disk", "jobs", "load", "names", "writeback"};
	int wanted[OS_POOL_QUEUES] = {io_threads > 0 ? io_threads : 2, long_threads > 0 ? long_threads : 1, 1, 1, 1};
	struct os_pool *p = MEM_NEW(struct os_pool);

	for (int i = 0; i < OS_POOL_QUEUES; i++) {
		struct queue *q = &p->q[i];
		pthread_mutex_init(&q->lock, NULL);
		pthread_cond_init(&q->more, NULL);
		q->name = names[i];
		q->threads_wanted = wanted[i] < POOL_THREADS_MAX ? wanted[i] : POOL_THREADS_MAX;
		if (i == OS_POOL_IO || i == OS_POOL_LONG)
			queue_start(q);
	}
	return p;
}

void os_pool_threads(struct os_pool *p, enum os_pool_queue which, int count)
{
	struct queue *q = &p->q[which];

	pthread_mutex_lock(&q->lock);
	if (q->threads_count == 0)
		q->threads_wanted = count < 1 ? 1 : count < POOL_THREADS_MAX ? count : POOL_THREADS_MAX;
	pthread_mutex_unlock(&q->lock);
}

void os_pool_submit(struct os_pool *p, enum os_pool_queue which, struct os_task *t)
{
	struct queue *q = &p->q[which];

	t->next = NULL;
	pthread_mutex_lock(&q->lock);
	if (q->threads_count == 0 && !q->stop)
		queue_start(q);
	if (q->tail)
		q->tail->next = t;
	else
		q->head = t;
	q->tail = t;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
}

void os_pool_free(struct os_pool *p)
{
	for (int i = 0; i < OS_POOL_QUEUES; i++) {
		struct queue *q = &p->q[i];
		pthread_mutex_lock(&q->lock);
		q->stop = true;
		pthread_cond_broadcast(&q->more);
		pthread_mutex_unlock(&q->lock);
		for (int k = 0; k < q->threads_count; k++)
			pthread_join(q->threads[k], NULL);
		os_tasks_drop(q->head);
		pthread_cond_destroy(&q->more);
		pthread_mutex_destroy(&q->lock);
	}
	mem_free(p);
}

/* ---- jobs: a task inside struct job.backend ---- */

_Static_assert(sizeof(struct os_task) <= sizeof(((struct job *)0)->backend), "a task fits into a job");

static void job_run(struct os_task *t)
{
	struct job *j = CONTAINER_OF((void **)t, struct job, backend);

	j->run(j);
}

static void job_done(struct os_task *t)
{
	struct job *j = CONTAINER_OF((void **)t, struct job, backend);

	j->done(j);
}

void os_job_submit(struct loop *l, struct job *j, enum job_class cls)
{
	struct os_task *t = (struct os_task *)j->backend;

	*t = (struct os_task){.run = job_run, .done = job_done, .l = os_loop_of(l)};
	os_pool_submit(os_world_of(l->env)->pool, cls == JOB_LOAD ? OS_POOL_LOAD : cls == JOB_LONG ? OS_POOL_LONG : OS_POOL_IO, t);
}
