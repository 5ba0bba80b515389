/* run.c: one seed: builds the world, lets it run, heals it, and waits until everything is well again.
 *
 * Phases: start (everything comes up, topics are created), faults (faults_us..heal_us), healing, quiet (from quiet_us on no new records
 * are made), the end: as soon as nothing is owed any more, at the latest GRACE_US after end_us (then: no progress), and IDLE_US more.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/checks.h"
#include "tests/sim/checks_groups.h"

enum { POLL_US = 10000, SETTLE_US = 250000, GRACE_US = 30000000, IDLE_US = 2000000 };

static void outcome(struct run *r, enum outcome o, const char *text)
{
	if (run_over(r))
		return;
	r->res.outcome = o;
	r->res.t_ms = sim_now_us(r->w) / 1000;
	snprintf(r->res.what, sizeof(r->res.what), "%s", text);
	sim_note(r->w, "%s %s", o == OUTCOME_VIOLATION ? "VIOLATION" : "NO PROGRESS", text);
}

void run_violation(struct run *r, const char *check, const char *fmt, ...)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "%s ", check);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	outcome(r, OUTCOME_VIOLATION, text);
}

static void poll_event(struct sim_world *w, void *ctx)
{
	struct run *r = ctx;
	checks_poll(r);
	sim_at(w, sim_now_us(w) + POLL_US, poll_event, r);
}

static void heal_event(struct sim_world *w, void *ctx)
{
	struct run *r = ctx;
	sim_note(w, "healing");
	r->healed = true;
	faults_heal(r);
	sim_consumers_audit(r);
	sim_members_heal(r);
}

static void quiet_event(struct sim_world *w, void *ctx)
{
	struct run *r = ctx;
	sim_note(w, "quiet");
	r->quiet = true;
}

static bool all_well(struct run *r, struct str *what)
{
	str_clear(what);
	return checks_available(r, what) && sim_producers_settled(r, what) && checks_converged(r, what) && sim_members_settled(r, what) &&
	       sim_committers_settled(r, what);
}

static void step_until(struct run *r, int64_t t_us)
{
	int64_t slice = 100000;
	for (int64_t t = sim_now_us(r->w); t < t_us && !run_over(r);) {
		t = t + slice < t_us ? t + slice : t_us;
		*r->progress_us = t;
		while (sim_now_us(r->w) < t && !run_over(r)) {
			/* violations stop the run at the event that showed them */
			sim_world_run_until(r->w, sim_now_us(r->w) + 10000 < t ? sim_now_us(r->w) + 10000 : t);
		}
	}
}

/* Nothing is owed to anybody: what goes on now are long polls and heartbeats, about 700 events a second and broker. A request that is answered
 * at once and sent again would be ten times that. */
static void idle(struct run *r)
{
	uint64_t before = sim_events(r->w), most = 4000 + 2000 * (uint64_t)r->opt->brokers;
	step_until(r, sim_now_us(r->w) + IDLE_US);
	if (!run_over(r) && sim_events(r->w) - before > most)
		run_violation(r, "idle", "%" PRIu64 " events in %d ms in which there was nothing to do", sim_events(r->w) - before, IDLE_US / 1000);
}

static void settle(struct run *r)
{
	struct str what;
	str_init(&what);
	step_until(r, r->end_us);
	while (!run_over(r) && !all_well(r, &what)) {
		if (sim_now_us(r->w) >= r->end_us + GRACE_US) {
			if (strstr(str_cstr(&what), " differ at ")) {
				run_violation(r, "prefix", "%s", str_cstr(&what));
				break;
			}
			str_add(&what, "; ");
			cluster_describe(r, &what);
			outcome(r, OUTCOME_NO_PROGRESS, str_cstr(&what));
			break;
		}
		step_until(r, sim_now_us(r->w) + SETTLE_US);
	}
	if (!run_over(r))
		idle(r);
	if (!run_over(r))
		checks_final(r);
	str_fini(&what);
}

static void times(struct run *r)
{
	int64_t total = r->opt->seconds * 1000000;
	r->faults_us = total > 30000000 ? 6000000 : total / 5;
	r->heal_us = total > 30000000 ? total - 15000000 : total / 2;
	r->quiet_us = total > 30000000 ? total - 6000000 : total * 4 / 5;
	r->end_us = total;
}

void run_seed(const struct options *opt, uint64_t seed, volatile int64_t *progress_us, struct result *ret_res)
{
	static struct run run; /* one at a time */
	struct run *r = &run;
	struct sim_config cfg;
	memset(r, 0, sizeof(*r));
	sim_config_init(&cfg, seed);
	cfg.verbose = opt->verbose;
	if (opt->trace_file)
		cfg.trace = strcmp(opt->trace_file, "-") == 0 ? stdout : fopen(opt->trace_file, "w");
	r->opt = opt;
	r->progress_us = progress_us;
	r->seed = seed;
	r->w = sim_world_new(&cfg);
	r->rng = sim_rng(r->w);
	r->chroot = rng_chance(r->rng, 0.5) ? "/a/b" : "";
	times(r);
	checks_init(r);
	group_checks_init(r);
	cluster_init(r);
	admin_init(r);
	sim_producers_init(r);
	sim_consumers_init(r);
	sim_members_init(r);
	sim_committers_init(r);
	faults_init(r);
	sim_at(r->w, POLL_US, poll_event, r);
	sim_at(r->w, r->heal_us, heal_event, r);
	sim_at(r->w, r->quiet_us, quiet_event, r);
	settle(r);
	r->res.virtual_us = sim_now_us(r->w);
	r->res.events = sim_events(r->w);
	sim_world_hash(r->w, r->res.hash);
	sim_world_free(r->w);
	cluster_free(r);
	sim_producers_free(r);
	sim_consumers_free(r);
	sim_members_free(r);
	sim_committers_free(r);
	admin_free(r);
	faults_free(r);
	group_checks_free(r);
	checks_free(r);
	if (cfg.trace && cfg.trace != stdout)
		fclose(cfg.trace);
	r->res.done = true;
	*ret_res = r->res;
}
