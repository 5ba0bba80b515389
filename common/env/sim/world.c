/* world.c: the scheduler (a heap of events), hosts, and the harness's own events. See sim_priv.h for the model. */
#include <string.h>

#include "common/env/sim/sim_priv.h"

void sim_config_init(struct sim_config *cfg, uint64_t seed)
{
	*cfg = (struct sim_config){
		.seed = seed,
		.inbox_delay = {1, 30}, .inbox_slow_rate = 0.005, .inbox_slow = {200, 4000},
		.timer_slack = {0, 150}, .turn_cost = {1, 25}, .process_start = {2000, 20000},
		.net_latency = {50, 400}, .net_jitter = {0, 60}, .net_spike_rate = 0.003, .net_spike = {1000, 20000},
		.net_split_rate = 0.05, .net_giveup_us = 15000000, .net_window_bytes = 262144,
		.disk_append = {3, 40}, .disk_read = {3, 30}, .disk_cold_read = {200, 8000}, .disk_sync = {300, 4000}, .disk_meta = {20, 400},
		.disk_cold_rate = 0.02, .disk_spike_rate = 0.002, .disk_spike = {5000, 60000},
		.disk_bytes = 1ull << 40,
		.zk_servers = 3, .zk_tick_ms = 2000,
		.zk_commit = {500, 3000}, .zk_lag = {100, 2500}, .zk_lag_spike_rate = 0.01, .zk_lag_spike = {10000, 400000},
		.zk_drop_rate = 0, .zk_slow_reply_rate = 0.01, .zk_slow_reply = {5000, 200000},
		.log_level = LOG_INFO,
		.wall_start_ms = 1767225600000, /* 2026-01-01 */
	};
}

/* ---- the heap: four children a node, the earliest first ---- */

static bool before(const struct sim_slot *a, const struct sim_slot *b)
{
	return a->t < b->t || (a->t == b->t && a->key < b->key);
}

static void heap_set(struct sim_world *w, size_t i, struct sim_slot s)
{
	w->heap[i] = s;
	s.e->pos = (uint32_t)i;
}

static void heap_up(struct sim_world *w, size_t i, struct sim_slot s)
{
	while (i > 0) {
		size_t parent = (i - 1) / 4;
		if (!before(&s, &w->heap[parent]))
			break;
		heap_set(w, i, w->heap[parent]);
		i = parent;
	}
	heap_set(w, i, s);
}

static void heap_down(struct sim_world *w, size_t i, struct sim_slot s)
{
	for (;;) {
		size_t first = 4 * i + 1, least = first;
		if (first >= w->heap_n)
			break;
		size_t end = first + 4 < w->heap_n ? first + 4 : w->heap_n;
		for (size_t k = first + 1; k < end; k++)
			if (before(&w->heap[k], &w->heap[least]))
				least = k;
		if (!before(&w->heap[least], &s))
			break;
		heap_set(w, i, w->heap[least]);
		i = least;
	}
	heap_set(w, i, s);
}

static void heap_remove(struct sim_world *w, size_t i)
{
	w->heap[i].e->where = EV_IDLE;
	struct sim_slot last = w->heap[--w->heap_n];
	if (i == w->heap_n)
		return;
	if (i > 0 && before(&last, &w->heap[(i - 1) / 4]))
		heap_up(w, i, last);
	else
		heap_down(w, i, last);
}

void sim_event_init(struct sim_event *e, struct sim_loop *loop, void (*fn)(struct sim_event *e))
{
	*e = (struct sim_event){.loop = loop, .fn = fn};
}

void sim_schedule(struct sim_world *w, struct sim_event *e, int64_t t)
{
	sim_unschedule(w, e);
	e->t = t < w->now ? w->now : t;
	e->where = EV_HEAP;
	/* A random key orders events of one moment; the count behind it makes all keys different. */
	struct sim_slot s = {.t = e->t, .key = (rng_u64(&w->rng) & ~0xffffffffull) | w->seq++, .e = e};
	MEM_GROW(w->heap, w->heap_cap, w->heap_n + 1);
	heap_up(w, w->heap_n++, s);
}

void sim_unschedule(struct sim_world *w, struct sim_event *e)
{
	if (e->where == EV_HEAP) {
		heap_remove(w, e->pos);
	} else if (e->where == EV_BACKLOG) {
		struct sim_loop *l = e->loop;
		struct sim_event *last = l->backlog[--l->backlog_n];
		l->backlog[e->pos] = last;
		last->pos = e->pos;
		e->where = EV_IDLE;
	}
}

void sim_heap_drop_process(struct sim_world *w, struct sim_process *p)
{
	size_t n = 0;

	for (size_t i = 0; i < w->heap_n; i++) {
		struct sim_slot s = w->heap[i];
		if (s.e->loop && s.e->loop->p == p)
			s.e->where = EV_IDLE;
		else
			heap_set(w, n++, s);
	}
	w->heap_n = n;
	/* What is left keeps its order, but not the shape: build the heap anew from the last parent up. */
	if (n > 1)
		for (size_t i = (n - 2) / 4 + 1; i-- > 0;)
			heap_down(w, i, w->heap[i]);
}

int64_t sim_draw(struct sim_world *w, struct sim_range r)
{
	return r.hi_us > r.lo_us ? rng_between(&w->rng, r.lo_us, r.hi_us) : r.lo_us;
}

bool sim_chance(struct sim_world *w, double p)
{
	return p > 0 && rng_chance(&w->rng, p);
}

/* ---- the world ---- */

struct sim_world *sim_world_new(const struct sim_config *cfg)
{
	struct sim_world *w = MEM_NEW(struct sim_world);

	w->cfg = *cfg;
	rng_init(&w->rng, cfg->seed);
	rng_init(&w->harness_rng, cfg->seed ^ 0x9e3779b97f4a7c15ull);
	w->procs_tail = &w->procs;
	list_init(&w->garbage);
	w->links = mem_zalloc(sizeof(*w->links) * SIM_HOSTS_MAX * SIM_HOSTS_MAX);
	sim_trace_init(&w->trace);
	sim_rec(w, REC_NOTE, 0, cfg->seed, 0);
	sim_zk_init(w);
	return w;
}

struct harness_event {
	struct sim_event ev;
	struct sim_world *w;
	void (*fn)(struct sim_world *w, void *ctx);
	void *ctx;
};

static void harness_run(struct sim_event *e)
{
	struct harness_event *h = CONTAINER_OF(e, struct harness_event, ev);
	struct harness_event copy = *h;

	mem_free(h);
	copy.fn(copy.w, copy.ctx);
}

void sim_at(struct sim_world *w, int64_t t_us, void (*fn)(struct sim_world *w, void *ctx), void *ctx)
{
	struct harness_event *h = MEM_NEW(struct harness_event);

	sim_event_init(&h->ev, NULL, harness_run);
	h->w = w;
	h->fn = fn;
	h->ctx = ctx;
	sim_schedule(w, &h->ev, t_us);
}

void sim_world_free(struct sim_world *w)
{
	if (!w)
		return;
	for (struct sim_process *p = w->procs, *next; p; p = next) {
		next = p->next;
		p->prog.on_exit = NULL;
		if (!p->dead)
			sim_process_end(p, 137, "the world ends", true);
	}
	for (struct sim_process *p = w->procs, *next; p; p = next) {
		next = p->next;
		mem_free(p);
	}
	sim_zk_fini(w);
	for (size_t i = 0; i < w->heap_n; i++)
		if (w->heap[i].e->fn == harness_run)
			mem_free(CONTAINER_OF(w->heap[i].e, struct harness_event, ev));
	sim_jobs_fini(w);
	for (uint32_t i = 0; i < w->hosts_n; i++) {
		sim_disk_fini(w->hosts[i]);
		mem_free(w->hosts[i]);
	}
	sim_trace_fini(&w->trace);
	mem_free(w->links);
	mem_free(w->heap);
	mem_free(w);
}

bool sim_world_step(struct sim_world *w)
{
	if (w->heap_n == 0)
		return false;
	struct sim_event *e = w->heap[0].e;
	ASSERT(e->t >= w->now);
	w->now = e->t;
	w->spent = 0;
	w->events++;
	heap_remove(w, 0);
	if (e->loop)
		sim_loop_ready(e->loop, e);
	else
		e->fn(e);
	w->spent = 0;
	if (!list_empty(&w->garbage))
		sim_net_collect(w);
	return true;
}

void sim_world_run_until(struct sim_world *w, int64_t t_us)
{
	while (w->heap_n && w->heap[0].t <= t_us)
		sim_world_step(w);
	if (w->now < t_us)
		w->now = t_us;
}

int64_t sim_now_us(const struct sim_world *w)
{
	return sim_now(w);
}

struct rng *sim_rng(struct sim_world *w)
{
	return &w->harness_rng;
}

uint64_t sim_events(const struct sim_world *w)
{
	return w->events;
}

/* ---- hosts ---- */

static void new_boot_id(struct sim_host *h)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < ENV_BOOT_ID_LEN; i++)
		h->boot_id[i] = i == 8 || i == 13 || i == 18 || i == 23 ? '-' : digits[rng_below(&h->w->rng, 16)];
	h->boot_id[ENV_BOOT_ID_LEN] = '\0';
	h->boots++;
}

struct sim_host *sim_host_new(struct sim_world *w, const char *name)
{
	ASSERT(w->hosts_n < SIM_HOSTS_MAX);
	struct sim_host *h = MEM_NEW(struct sim_host);

	h->w = w;
	h->id = w->hosts_n;
	h->up = true;
	h->next_port = 40000;
	snprintf(h->name, sizeof(h->name), "%s", name);
	snprintf(h->ip, sizeof(h->ip), "10.0.0.%u", h->id + 1);
	list_init(&h->listeners);
	w->hosts[w->hosts_n++] = h;
	new_boot_id(h);
	sim_disk_init(h);
	sim_net_host_added(w, h);
	return h;
}

struct sim_host *sim_host_find(struct sim_world *w, const char *name_or_ip)
{
	for (uint32_t i = 0; i < w->hosts_n; i++)
		if (!strcmp(w->hosts[i]->ip, name_or_ip) || !strcmp(w->hosts[i]->name, name_or_ip))
			return w->hosts[i];
	return NULL;
}

const char *sim_host_name(const struct sim_host *h)
{
	return h->name;
}

const char *sim_host_ip(const struct sim_host *h)
{
	return h->ip;
}

bool sim_host_is_up(const struct sim_host *h)
{
	return h->up;
}

void sim_host_power_cut(struct sim_host *h)
{
	struct sim_world *w = h->w;

	ASSERT(!w->running && !w->job);
	if (!h->up)
		return;
	sim_fault(w, "power cut %s", h->name);
	h->up = false;
	for (struct sim_process *p = w->procs; p; p = p->next)
		if (p->host == h && !p->dead)
			sim_process_end(p, 137, "power cut", true);
	sim_disk_power_cut(h);
}

void sim_host_power_on(struct sim_host *h)
{
	if (h->up)
		return;
	sim_fault(h->w, "power on %s", h->name);
	h->up = true;
	new_boot_id(h);
}

void sim_host_clock_jump(struct sim_host *h, int64_t ms)
{
	sim_fault(h->w, "clock of %s jumps by %lld ms", h->name, (long long)ms);
	h->clock_ms += ms;
}
