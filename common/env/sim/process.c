/* process.c: processes: their env, their start, their end, and the env of a dead one.
 *
 * A process ends outside of every callback. Its events are taken out of the scheduler first, its ends of connections, locks and
 * sessions are let go as its kernel would, then reap() frees what the daemon holds, then the objects of this folder go.
 */
#include <string.h>

#include "common/env/sim/sim_priv.h"

/* ---- calls of a live one ---- */

static void env_exit_live(struct env *env, int status, const char *reason)
{
	struct sim_process *p = sim_process_of(env);

	if (p->exit_pending)
		return;
	p->exit_pending = true;
	p->status = status;
	snprintf(p->reason, sizeof(p->reason), "%s", reason ? reason : "");
	/* Outside of any callback of its own (the harness called): at once is as good. */
	if (!p->w->job && !(p->w->running && p->w->running->p == p))
		sim_process_settle(p);
}

static void env_random_live(struct env *env, void *out, size_t bytes)
{
	struct sim_process *p = sim_process_of(env);
	uint8_t *at = out;

	while (bytes) {
		uint64_t v = rng_u64(&p->rng);
		size_t n = bytes < 8 ? bytes : 8;
		be64_put(&v, v);
		memcpy(at, &v, n);
		at += n;
		bytes -= n;
	}
}

static int64_t wall_ms_live(struct env *env)
{
	struct sim_process *p = sim_process_of(env);

	return p->w->cfg.wall_start_ms + p->host->clock_ms + sim_now(p->w) / 1000;
}

static int64_t now_us_live(struct env *env)
{
	return sim_now(sim_process_of(env)->w);
}

static void boot_id_live(struct env *env, char out[ENV_BOOT_ID_LEN + 1])
{
	memcpy(out, sim_process_of(env)->host->boot_id, ENV_BOOT_ID_LEN + 1);
}

static int64_t pid_live(struct env *env)
{
	return 1000 + sim_process_of(env)->id;
}

static uint64_t resident_bytes_live(struct env *env)
{
	return 0;
}

const struct env_ops sim_env_ops = {
	.exit = env_exit_live, .random = env_random_live, .wall_ms = wall_ms_live, .now_us = now_us_live,
	.boot_id = boot_id_live, .pid = pid_live, .resident_bytes = resident_bytes_live,
	.loop_new = sim_loop_new, .loop_now_us = sim_loop_now_us, .loop_post = sim_loop_post,
	.loop_defer = sim_loop_defer, .deferred_cancel = sim_deferred_cancel,
	.timer_set = sim_timer_set, .timer_stop = sim_timer_stop, .job_submit = sim_job_submit,
	.conn_connect = sim_conn_connect, .conn_send = sim_conn_send, .conn_resume = sim_conn_resume, .conn_close = sim_conn_close,
	.conn_shutdown = sim_conn_shutdown, .conn_move = sim_conn_move,
	.listener_open = sim_listener_open, .listener_pause = sim_listener_pause, .listener_close = sim_listener_close,
	.http_open = sim_http_open, .http_close = sim_http_close,
	.fs_open = sim_fs_open, .fs_rename = sim_fs_rename, .fs_unlink = sim_fs_unlink, .fs_mkdir = sim_fs_mkdir, .fs_rmdir = sim_fs_rmdir,
	.fs_sync_dir = sim_fs_sync_dir, .fs_stat = sim_fs_stat, .fs_set_mtime = sim_fs_set_mtime, .fs_list = sim_fs_list,
	.fs_space = sim_fs_space, .fs_lock = sim_fs_lock, .fs_unlock = sim_fs_unlock,
	.zk_open = sim_zk_open,
};

/* ---- calls of a dead one: nothing happens, whatever is asked for fails ---- */

static void dead_exit(struct env *env, int status, const char *reason) {}
static void dead_post(struct loop *to, struct msg *m) {}
static void dead_deferred(struct loop *l, struct deferred *d) { d->queued = false; }
static void dead_timer_set(struct timer *t, int64_t delay_us) { t->due_us = 0; }
static void dead_timer_stop(struct timer *t) { t->due_us = 0; }
static void dead_job(struct loop *l, struct job *j, enum job_class cls) {}
static void dead_send(struct conn *c, struct chain *chain) { chain_clear(chain); }
static void dead_conn(struct conn *c) {}
static void dead_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx)) {}
static int dead_listen(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln) { return ERR_CLOSED; }
static void dead_pause(struct listener *ln, bool paused) {}
static void dead_listener(struct listener *ln) {}
static int dead_http(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port) { return ERR_CLOSED; }
static void dead_http_close(struct http *h) {}
static int dead_open(struct env *env, const char *path, int flags, struct file **ret_f) { return ERR_IO; }
static int dead_rename(struct env *env, const char *from, const char *to) { return ERR_IO; }
static int dead_path(struct env *env, const char *path) { return ERR_IO; }
static int dead_mkdir(struct env *env, const char *path, int mode) { return ERR_IO; }
static int dead_stat(struct env *env, const char *path, struct fs_stat *ret_st) { return ERR_IO; }
static int dead_mtime(struct env *env, const char *path, int64_t mtime_ms) { return ERR_IO; }
static int dead_list(struct env *env, const char *path, struct fs_names *ret_names) { return ERR_IO; }
static int dead_space(struct env *env, const char *path, struct fs_space *ret_space) { return ERR_IO; }
static int dead_lock(struct env *env, const char *path, struct file **ret_lock) { return ERR_IO; }
static void dead_unlock(struct file *lock) {}
static int dead_zk(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk) { return ERR_CLOSED; }

const struct env_ops sim_dead_ops = {
	.exit = dead_exit, .random = env_random_live, .wall_ms = wall_ms_live, .now_us = now_us_live,
	.boot_id = boot_id_live, .pid = pid_live, .resident_bytes = resident_bytes_live,
	.loop_new = sim_loop_new, .loop_now_us = sim_loop_now_us, .loop_post = dead_post,
	.loop_defer = dead_deferred, .deferred_cancel = dead_deferred,
	.timer_set = dead_timer_set, .timer_stop = dead_timer_stop, .job_submit = dead_job,
	.conn_connect = sim_conn_connect, .conn_send = dead_send, .conn_resume = dead_conn, .conn_close = dead_conn,
	.conn_shutdown = dead_conn, .conn_move = dead_move,
	.listener_open = dead_listen, .listener_pause = dead_pause, .listener_close = dead_listener,
	.http_open = dead_http, .http_close = dead_http_close,
	.fs_open = dead_open, .fs_rename = dead_rename, .fs_unlink = dead_path, .fs_mkdir = dead_mkdir, .fs_rmdir = dead_path,
	.fs_sync_dir = dead_path, .fs_stat = dead_stat, .fs_set_mtime = dead_mtime, .fs_list = dead_list,
	.fs_space = dead_space, .fs_lock = dead_lock, .fs_unlock = dead_unlock,
	.zk_open = dead_zk,
};

/* ---- calls from outside, in order ---- */

struct process_call {
	struct list link;
	void (*fn)(void *ctx);
	void *ctx;
};

static void process_run_calls(struct sim_event *e)
{
	struct sim_process *p = CONTAINER_OF(e, struct sim_process, calls_ev);
	struct list *n;

	while (!p->exit_pending && (n = list_pop_front(&p->calls))) {
		struct process_call *c = LIST_ENTRY(n, struct process_call, link), copy = *c;
		sim_rec(p->w, REC_CALL, p->id, 0, 0);
		mem_free(c);
		copy.fn(copy.ctx);
	}
}

void sim_process_run(struct sim_process *p, void (*fn)(void *ctx), void *ctx)
{
	if (p->dead)
		return;
	struct process_call *c = MEM_NEW(struct process_call);
	c->fn = fn;
	c->ctx = ctx;
	list_init(&c->link);
	list_push_back(&p->calls, &c->link);
	if (!sim_scheduled(&p->calls_ev))
		sim_schedule(p->w, &p->calls_ev, sim_now(p->w));
}

/* ---- start ---- */

static void process_run_start(struct sim_event *e)
{
	struct sim_process *p = CONTAINER_OF(e, struct sim_process, start_ev);

	sim_rec(p->w, REC_PROCESS, p->id, 1, 0);
	SIM_TEXT(p->w, "start %s on %s", p->name, p->host->name);
	p->started = true;
	void *root = p->prog.start(&p->env, &p->control->l, p->prog.arg);
	p->root = root;
}

struct sim_process *sim_process_start(struct sim_host *h, const struct sim_program *prog)
{
	struct sim_world *w = h->w;
	struct sim_process *p = MEM_NEW(struct sim_process);

	ASSERT(h->up);
	p->w = w;
	p->host = h;
	p->id = ++w->next_proc;
	p->prog = *prog;
	snprintf(p->name, sizeof(p->name), "%s", prog->name);
	p->prog.name = p->name;
	p->env.ops = &sim_env_ops;
	p->env.log = &p->log;
	p->env.hash_seed = 0x4b6c616d6d53696dull;
	bool quiet = !w->cfg.trace && !w->cfg.verbose;
	p->log = (struct logger){.min_level = quiet ? (enum log_level)(LOG_ERROR + 1) : w->cfg.log_level, .sink = sim_log_sink, .ctx = p};
	rng_init(&p->rng, rng_u64(&w->rng));
	struct list *lists[] = {&p->conns, &p->listeners, &p->files, &p->jobs, &p->zks, &p->https, &p->calls, &p->stalls};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	*w->procs_tail = p;
	w->procs_tail = &p->next;
	p->control = sim_loop_make(p, -1, "control");
	sim_event_init(&p->start_ev, p->control, process_run_start);
	sim_event_init(&p->calls_ev, p->control, process_run_calls);
	sim_schedule(w, &p->start_ev, sim_now(w) + sim_draw(w, w->cfg.process_start));
	return p;
}

/* ---- end ---- */

void sim_process_settle(struct sim_process *p)
{
	if (p->exit_pending && !p->dead)
		sim_process_end(p, p->status, p->reason, false);
}

/* A loop that is stuck: an event of that loop, due when it is free again, ends the turn in the eyes of others. */
struct stall {
	struct sim_event ev;
	struct list link;
};

/* Nothing of the process will run again. */
static void process_silence(struct sim_process *p)
{
	sim_heap_drop_process(p->w, p);
	for (struct sim_loop *l = p->loops; l; l = l->next) {
		for (size_t i = 0; i < l->backlog_n; i++)
			l->backlog[i]->where = EV_IDLE;
		l->backlog_n = 0;
		sim_unschedule(p->w, &l->wake);
		l->defer_head = NULL;
		l->defer_tail = &l->defer_head;
	}
	struct list *n;
	while ((n = list_pop_front(&p->calls)))
		mem_free(LIST_ENTRY(n, struct process_call, link));
	while ((n = list_pop_front(&p->stalls)))
		mem_free(LIST_ENTRY(n, struct stall, link));
}

void sim_process_end(struct sim_process *p, int status, const char *reason, bool power_cut)
{
	struct sim_world *w = p->w;
	char why[sizeof(p->reason)];

	ASSERT(!p->dead && !w->job && !(w->running && w->running->p == p));
	snprintf(why, sizeof(why), "%s", reason ? reason : "");
	memcpy(p->reason, why, sizeof(why));
	p->status = status;
	sim_rec(w, REC_PROCESS, p->id, 2, (uint64_t)(int64_t)status);
	SIM_TEXT(w, "end   %s on %s status %d: %s", p->name, p->host->name, status, p->reason);
	process_silence(p);
	p->dead = true;
	p->env.ops = &sim_dead_ops;
	sim_jobs_abandon(p);
	sim_files_process_end(p);
	sim_net_process_end(p, power_cut);
	sim_zk_process_end(p);
	struct loop *current = loop_current();
	loop_set_any_owner(true);
	loop_set_current(&p->control->l);
	if (p->prog.reap && p->started)
		p->prog.reap(p->root, p->prog.arg);
	loop_set_current(current);
	loop_set_any_owner(false);
	p->root = NULL;
	sim_process_free(p);
	if (p->prog.on_exit)
		p->prog.on_exit(p, status, p->reason, p->prog.arg);
}

void sim_process_free(struct sim_process *p)
{
	sim_zk_process_free(p);
	sim_net_process_free(p);
	sim_files_process_free(p);
	for (struct sim_loop *l = p->loops, *next; l; l = next) {
		next = l->next;
		sim_loop_free(l);
	}
	p->loops = p->control = NULL;
}

/* ---- what the harness asks and does ---- */

bool sim_process_alive(const struct sim_process *p)
{
	return !p->dead;
}

struct env *sim_process_env(struct sim_process *p)
{
	return &p->env;
}

struct loop *sim_process_control(struct sim_process *p)
{
	ASSERT(p->control);
	return &p->control->l;
}

void *sim_process_root(struct sim_process *p)
{
	return p->root;
}

struct sim_host *sim_process_host(struct sim_process *p)
{
	return p->host;
}

const char *sim_process_name(const struct sim_process *p)
{
	return p->name;
}

int sim_process_status(const struct sim_process *p)
{
	return p->status;
}

void sim_process_kill(struct sim_process *p)
{
	if (p->dead || p->exit_pending)
		return;
	sim_fault(p->w, "kill %s on %s", p->name, p->host->name);
	p->exit_pending = true;
	p->status = 137;
	snprintf(p->reason, sizeof(p->reason), "killed");
	if (!p->w->job && !(p->w->running && p->w->running->p == p))
		sim_process_settle(p);
}

void sim_process_pause(struct sim_process *p)
{
	if (p->dead || p->paused)
		return;
	sim_fault(p->w, "pause %s on %s", p->name, p->host->name);
	p->paused = true;
}

void sim_process_resume(struct sim_process *p)
{
	if (p->dead || !p->paused)
		return;
	sim_fault(p->w, "resume %s on %s", p->name, p->host->name);
	p->paused = false;
	for (struct sim_loop *l = p->loops; l; l = l->next)
		sim_loop_wake(l);
	sim_jobs_resume(p);
}

bool sim_process_is_paused(const struct sim_process *p)
{
	return p->paused;
}

static void stall_over(struct sim_event *e)
{
	struct stall *st = CONTAINER_OF(e, struct stall, ev);

	list_remove(&st->link);
	mem_free(st); /* the turn in which this runs ends the long one */
}

void sim_process_stall_loop(struct sim_process *p, int32_t idx, int64_t us)
{
	if (p->dead)
		return;
	for (struct sim_loop *l = p->loops; l; l = l->next) {
		if (l->l.idx != idx || l->in_turn)
			continue;
		sim_fault(p->w, "loop %s of %s is stuck for %lld us", l->name, p->name, (long long)us);
		int64_t until = p->w->now + us;
		if (until > l->busy_until)
			l->busy_until = until;
		atomic_store_explicit(&l->l.turn_began_us, p->w->now, memory_order_relaxed);
		struct stall *st = MEM_NEW(struct stall);
		sim_event_init(&st->ev, l, stall_over);
		list_init(&st->link);
		list_push_back(&p->stalls, &st->link);
		sim_schedule(p->w, &st->ev, until);
		return;
	}
}
