/* faults.c: the seeded schedule of faults.
 *
 * Between faults_us and heal_us something happens every few seconds; most of it ends by itself a while later; faults overlap.
 * At heal_us everything ends at once. Each fault has a name for --faults, and becomes part of the trace.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sim/checks.h"

const char *const fault_names[FAULT_KINDS] = {
	[FAULT_CRASH] = "crash", [FAULT_CRASHALL] = "crashall", [FAULT_POWER] = "power", [FAULT_POWERALL] = "powerall", [FAULT_STOP] = "stop",
	[FAULT_CONTROLLER] = "controller", [FAULT_CUT] = "cut", [FAULT_ONEWAY] = "oneway", [FAULT_ISOLATE] = "isolate", [FAULT_ZKCUT] = "zkcut",
	[FAULT_DELAY] = "delay", [FAULT_RESET] = "reset", [FAULT_EXPIRE] = "expire", [FAULT_ZKDROP] = "zkdrop", [FAULT_ZKLAG] = "zklag",
	[FAULT_ZKSERVER] = "zkserver", [FAULT_ZKDOWN] = "zkdown", [FAULT_PAUSE] = "pause", [FAULT_STALL] = "stall", [FAULT_SLOWDISK] = "slowdisk",
	[FAULT_DISKSTALL] = "diskstall", [FAULT_CLOCK] = "clock", [FAULT_TOPICS] = "topics",
	[FAULT_DEPOSE] = "depose", [FAULT_MEMBERS] = "members",
};

/* How often each is drawn, relative to the others. */
static const int weights[FAULT_KINDS] = {
	[FAULT_CRASH] = 16, [FAULT_CRASHALL] = 2, [FAULT_POWER] = 7, [FAULT_POWERALL] = 1, [FAULT_STOP] = 4, [FAULT_CONTROLLER] = 8, [FAULT_CUT] = 8,
	[FAULT_ONEWAY] = 6, [FAULT_ISOLATE] = 6, [FAULT_ZKCUT] = 6, [FAULT_DELAY] = 5, [FAULT_RESET] = 4, [FAULT_EXPIRE] = 5, [FAULT_ZKDROP] = 4,
	[FAULT_ZKLAG] = 3, [FAULT_ZKSERVER] = 4, [FAULT_ZKDOWN] = 3, [FAULT_PAUSE] = 8, [FAULT_STALL] = 4, [FAULT_SLOWDISK] = 3, [FAULT_DISKSTALL] = 3,
	[FAULT_CLOCK] = 2, [FAULT_TOPICS] = 5, [FAULT_DEPOSE] = 14,
	[FAULT_MEMBERS] = 0, /* goes on all the time by itself: client_group.c */
};

struct fault_end {
	struct fault_end *next; /* all of the run, the latest first */
	struct run *r;
	bool armed;
	enum fault_kind kind;
	struct sim_host *a, *b;
	struct sim_process *p;
	int server;
	int64_t back_us; /* DEPOSE: the broker is back that long after its end */
};

struct faults {
	int total_weight;
	struct fault_end *ends;
};

/* ---- ends ---- */

static void end_now(struct fault_end *e)
{
	struct sim_world *w = e->r->w;
	if (!e->armed)
		return;
	e->armed = false;
	switch (e->kind) {
	case FAULT_CUT: case FAULT_ONEWAY: case FAULT_DELAY: case FAULT_ZKCUT: case FAULT_ISOLATE:
		sim_net_heal(w, e->a, e->b);
		break;
	case FAULT_ZKDROP:
		sim_zk_set_drop_rate(w, 0);
		break;
	case FAULT_ZKLAG:
		sim_zk_set_lag(w, e->server, 0);
		break;
	case FAULT_ZKSERVER:
		sim_zk_start_server(w, e->server);
		break;
	case FAULT_ZKDOWN:
		sim_zk_start_all(w);
		break;
	case FAULT_PAUSE:
		if (sim_process_alive(e->p) && sim_process_is_paused(e->p))
			sim_process_resume(e->p);
		break;
	case FAULT_SLOWDISK:
		sim_disk_clear_faults(e->a);
		break;
	case FAULT_DEPOSE:
		cluster_broker_kill(e->r, e->server, e->back_us);
		break;
	default:
		break;
	}
}

static void end_event(struct sim_world *w, void *ctx)
{
	struct fault_end *e = ctx;
	if (e->armed)
		sim_note(w, "%s ends", fault_names[e->kind]);
	end_now(e);
}

static struct fault_end *ends_in(struct run *r, enum fault_kind kind, int64_t us)
{
	struct faults *f = r->faults;
	struct fault_end *e = MEM_NEW(struct fault_end);
	*e = (struct fault_end){.next = f->ends, .r = r, .armed = true, .kind = kind};
	f->ends = e;
	sim_at(r->w, sim_now_us(r->w) + us, end_event, e);
	return e;
}

/* ---- victims ---- */

static int some_broker(struct run *r)
{
	return (int)rng_below(r->rng, (uint64_t)r->opt->brokers);
}

/* A daemon's host. */
static struct sim_host *some_host(struct run *r)
{
	uint64_t i = rng_below(r->rng, (uint64_t)(r->opt->brokers + r->opt->controllers));
	return i < (uint64_t)r->opt->brokers ? cluster_broker_host(r, (int)i) : cluster_controller_host(r, (int)i - r->opt->brokers);
}

static struct sim_process *some_process(struct run *r)
{
	uint64_t i = rng_below(r->rng, (uint64_t)(r->opt->brokers + r->opt->controllers));
	struct sim_process *p = i < (uint64_t)r->opt->brokers ? cluster_broker_process(r, (int)i) : cluster_controller_process(r, (int)i - r->opt->brokers);
	return p && sim_process_alive(p) ? p : NULL;
}

static int64_t log_uniform(struct run *r, int64_t lo, int64_t hi)
{
	int64_t v = lo;
	while (v < hi && rng_chance(r->rng, 0.7))
		v *= 2;
	return rng_between(r->rng, v / 2 + 1, v < hi ? v : hi);
}

/* ---- the faults; each says whether it happened ---- */

static bool fault_power(struct run *r)
{
	cluster_broker_power_cut(r, some_broker(r), log_uniform(r, 200000, 15000000));
	return true;
}

static bool fault_all(struct run *r, bool power)
{
	/* one after the other, within nothing or within a second */
	for (int i = 0; i < r->opt->brokers; i++) {
		int64_t back = log_uniform(r, 100000, 5000000);
		if (power)
			cluster_broker_power_cut(r, i, back);
		else
			cluster_broker_kill(r, i, back);
	}
	for (int i = 0; i < r->opt->controllers && rng_chance(r->rng, 0.5); i++)
		cluster_controller_kill(r, i, log_uniform(r, 50000, 5000000));
	return true;
}

static void cut_pair(struct run *r, enum fault_kind kind, struct sim_host *a, struct sim_host *b, bool oneway, int64_t us)
{
	sim_net_cut(r->w, a, b, oneway);
	struct fault_end *e = ends_in(r, kind, us);
	e->a = a;
	e->b = b;
}

static bool fault_cut(struct run *r, enum fault_kind kind)
{
	struct sim_host *a = some_host(r), *b = some_host(r);
	int64_t us = log_uniform(r, 100000, 12000000);
	if (a == b)
		return false;
	if (kind == FAULT_DELAY) {
		sim_net_delay(r->w, a, b, log_uniform(r, 1000, 1500000));
		struct fault_end *e = ends_in(r, kind, us);
		e->a = a;
		e->b = b;
	} else {
		cut_pair(r, kind, a, b, kind == FAULT_ONEWAY, us);
	}
	return true;
}

static bool fault_isolate(struct run *r)
{
	struct sim_host *h = some_host(r);
	int64_t us = log_uniform(r, 100000, 12000000);
	bool zk_too = rng_chance(r->rng, 0.5), clients_too = rng_chance(r->rng, 0.5);
	for (int i = 0; i < r->opt->brokers; i++)
		if (cluster_broker_host(r, i) != h)
			cut_pair(r, FAULT_ISOLATE, h, cluster_broker_host(r, i), false, us);
	for (int i = 0; i < r->opt->controllers; i++)
		if (cluster_controller_host(r, i) != h)
			cut_pair(r, FAULT_ISOLATE, h, cluster_controller_host(r, i), false, us);
	for (int i = 0; zk_too && i < 3; i++)
		cut_pair(r, FAULT_ISOLATE, h, sim_zk_host(r->w, i), false, us);
	for (int i = 0; clients_too && i < r->producer_count + r->member_count; i++) {
		char name[24];
		bool producer = i < r->producer_count;
		snprintf(name, sizeof(name), "%s%d", producer ? "producer" : "member", producer ? i : i - r->producer_count);
		cut_pair(r, FAULT_ISOLATE, h, sim_host_find(r->w, name), false, us);
	}
	return true;
}

/* A broker that nobody copies from while clients still reach it, then dies: what it took alone must be cut off when it is back. Long enough
 * for somebody else to lead meanwhile. */
static bool fault_depose(struct run *r)
{
	int idx = some_broker(r);
	struct sim_host *h = cluster_broker_host(r, idx);
	int64_t us = rng_between(r->rng, 50000, 600000);
	for (int i = 0; i < r->opt->brokers; i++)
		if (i != idx)
			cut_pair(r, FAULT_CUT, h, cluster_broker_host(r, i), false, us);
	struct fault_end *e = ends_in(r, FAULT_DEPOSE, us);
	e->server = idx;
	e->back_us = rng_between(r->rng, 700000, 4000000);
	return true;
}

static bool fault_zkcut(struct run *r)
{
	struct sim_host *h = some_host(r);
	int64_t us = log_uniform(r, 200000, 15000000);
	bool all = rng_chance(r->rng, 0.5), oneway = rng_chance(r->rng, 0.3), reverse = rng_chance(r->rng, 0.5);
	for (int i = 0; i < 3; i++) {
		struct sim_host *z = sim_zk_host(r->w, i);
		if (all || rng_chance(r->rng, 0.5))
			cut_pair(r, FAULT_ZKCUT, reverse ? z : h, reverse ? h : z, oneway, us);
	}
	return true;
}

static bool fault_expire(struct run *r)
{
	char path[96];
	struct str data;
	struct zk_stat st = {0};
	int err;
	if (rng_chance(r->rng, 0.3))
		snprintf(path, sizeof(path), "%s/controller", r->chroot);
	else
		snprintf(path, sizeof(path), "%s/brokers/ids/%d", r->chroot, cluster_broker_id_of(some_broker(r)));
	str_init(&data);
	err = sim_zk_read(r->w, path, &data, &st);
	str_fini(&data);
	if (err || !st.ephemeral_owner)
		return false;
	return sim_zk_expire_session(r->w, st.ephemeral_owner) == 0;
}

static bool fault_zk(struct run *r, enum fault_kind kind)
{
	int server = (int)rng_below(r->rng, 3);
	int64_t us = log_uniform(r, 500000, kind == FAULT_ZKDOWN ? 25000000 : 10000000);
	if (kind == FAULT_ZKDROP)
		sim_zk_set_drop_rate(r->w, 0.02 + (double)rng_below(r->rng, 30) / 100);
	else if (kind == FAULT_ZKLAG)
		sim_zk_set_lag(r->w, server, log_uniform(r, 10000, 3000000));
	else if (kind == FAULT_ZKSERVER)
		sim_zk_stop_server(r->w, server);
	else
		sim_zk_stop_all(r->w);
	ends_in(r, kind, us)->server = server;
	return true;
}

static bool fault_pause(struct run *r, enum fault_kind kind)
{
	struct sim_process *p = some_process(r);
	if (!p || sim_process_is_paused(p))
		return false;
	if (kind == FAULT_STALL) {
		sim_process_stall_loop(p, (int32_t)rng_between(r->rng, -1, 0), log_uniform(r, 100000, 6000000));
		return true;
	}
	sim_process_pause(p);
	ends_in(r, kind, log_uniform(r, 50000, 12000000))->p = p;
	return true;
}

static bool fault_disk(struct run *r, enum fault_kind kind)
{
	struct sim_host *h = cluster_broker_host(r, some_broker(r));
	if (kind == FAULT_DISKSTALL) {
		sim_disk_stall(h, log_uniform(r, 50000, 5000000));
		return true;
	}
	sim_disk_slow(h, (double)log_uniform(r, 2, 200));
	ends_in(r, kind, log_uniform(r, 500000, 10000000))->a = h;
	return true;
}

static bool happens(struct run *r, enum fault_kind kind)
{
	switch (kind) {
	case FAULT_CRASH: cluster_broker_kill(r, some_broker(r), log_uniform(r, 20000, 15000000)); return true;
	case FAULT_CRASHALL: return fault_all(r, false);
	case FAULT_POWER: return fault_power(r);
	case FAULT_POWERALL: return fault_all(r, true);
	case FAULT_STOP: cluster_broker_term(r, some_broker(r), log_uniform(r, 50000, 8000000)); return true;
	case FAULT_CONTROLLER: cluster_controller_kill(r, (int)rng_below(r->rng, (uint64_t)r->opt->controllers), log_uniform(r, 20000, 10000000)); return true;
	case FAULT_CUT: case FAULT_ONEWAY: case FAULT_DELAY: return fault_cut(r, kind);
	case FAULT_ISOLATE: return fault_isolate(r);
	case FAULT_ZKCUT: return fault_zkcut(r);
	case FAULT_RESET: sim_net_reset(r->w, some_host(r), some_host(r)); return true;
	case FAULT_EXPIRE: return fault_expire(r);
	case FAULT_ZKDROP: case FAULT_ZKLAG: case FAULT_ZKSERVER: case FAULT_ZKDOWN: return fault_zk(r, kind);
	case FAULT_PAUSE: case FAULT_STALL: return fault_pause(r, kind);
	case FAULT_SLOWDISK: case FAULT_DISKSTALL: return fault_disk(r, kind);
	case FAULT_CLOCK: sim_host_clock_jump(some_host(r), rng_between(r->rng, -3600000, 3600000)); return true;
	case FAULT_TOPICS: admin_churn(r); return true;
	case FAULT_DEPOSE: return fault_depose(r);
	case FAULT_MEMBERS: case FAULT_KINDS: break;
	}
	return false;
}

static enum fault_kind draw(struct run *r)
{
	int at = (int)rng_below(r->rng, (uint64_t)r->faults->total_weight);
	for (int k = 0; k < FAULT_KINDS; k++) {
		if (!(r->opt->faults >> k & 1))
			continue;
		if (at < weights[k])
			return (enum fault_kind)k;
		at -= weights[k];
	}
	return FAULT_CRASH;
}

static void next_fault(struct sim_world *w, void *ctx)
{
	struct run *r = ctx;
	if (r->healed || run_over(r))
		return;
	enum fault_kind kind = draw(r);
	sim_note(w, "fault %s", fault_names[kind]);
	if (happens(r, kind))
		r->res.faults++;
	/* in bursts: sometimes at once, else after a while */
	int64_t pause = rng_chance(r->rng, 0.25) ? rng_between(r->rng, 0, 400000) : rng_between(r->rng, 500000, 7000000);
	sim_at(w, sim_now_us(w) + pause, next_fault, r);
}

void faults_init(struct run *r)
{
	struct faults *f = MEM_NEW(struct faults);
	r->faults = f;
	for (int k = 0; k < FAULT_KINDS; k++)
		if (r->opt->faults >> k & 1)
			f->total_weight += weights[k];
	if (f->total_weight)
		sim_at(r->w, r->faults_us, next_fault, r);
}

void faults_heal(struct run *r)
{
	for (struct fault_end *e = r->faults->ends; e; e = e->next)
		end_now(e);
	sim_net_heal_all(r->w);
	sim_zk_set_drop_rate(r->w, 0);
	for (int i = 0; i < 3; i++)
		sim_zk_set_lag(r->w, i, 0);
	sim_zk_start_all(r->w);
	for (int i = 0; i < r->opt->brokers; i++)
		sim_disk_clear_faults(cluster_broker_host(r, i));
	cluster_heal(r);
}

void faults_free(struct run *r)
{
	for (struct fault_end *e = r->faults->ends, *next; e; e = next) {
		next = e->next;
		mem_free(e);
	}
	mem_free(r->faults);
	r->faults = NULL;
}
