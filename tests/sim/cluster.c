/* cluster.c: the daemons of a run: hosts, configuration texts, start, end, restart.
 *
 * Every daemon is the production object, made from a configuration text as from a file. Each has a host of its own. A daemon that
 * ended comes back after a delay that whoever ended it chose; one that ended by itself comes back after a second or so, and its exit
 * status is judged: 0 after SIGTERM, 75 (lost a fight for an id or a lock) can be told by faults, everything else is a violation.
 */
#include <stdio.h>
#include <string.h>

#include "brokerd/broker.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "controllerd/controller.h"
#include "tests/sim/checks.h"

enum { CONTROLLER_PORT = 9093 };

struct member {
	struct run *r;
	int idx;
	bool is_broker;
	char name[24];
	struct sim_host *host;
	struct sim_process *process;
	struct broker *broker;
	struct controller *controller;
	struct broker_config *broker_cfg;
	struct controller_config *controller_cfg;
	int loops;
	bool restart_due;     /* a start is scheduled */
	int64_t restart_after_us;
	bool stopping;        /* SIGTERM was sent */
	struct logger log, *world_log;
};

struct cluster {
	struct member brokers[BROKERS_MAX];
	struct member controllers[CONTROLLERS_MAX];
	int session_timeout_ms, lag_time_ms, segment_bytes, checkpoint_ms, rebalance_delay_ms;
	struct topic *offsets; /* __consumer_offsets */
};

int32_t cluster_broker_id_of(int idx) { return idx + 1; }
int cluster_broker_index_of(int32_t id) { return id >= 1 && id <= BROKERS_MAX ? id - 1 : -1; }
static int32_t cluster_controller_id_of(int idx) { return 101 + idx; }

const char *cluster_broker_ip(struct run *r, int idx) { return sim_host_ip(r->cluster->brokers[idx].host); }
struct sim_host *cluster_broker_host(struct run *r, int idx) { return r->cluster->brokers[idx].host; }
struct sim_process *cluster_broker_process(struct run *r, int idx) { return r->cluster->brokers[idx].process; }
struct sim_host *cluster_controller_host(struct run *r, int idx) { return r->cluster->controllers[idx].host; }
struct sim_process *cluster_controller_process(struct run *r, int idx) { return r->cluster->controllers[idx].process; }

bool cluster_broker_is_up(struct run *r, int idx)
{
	struct sim_process *p = cluster_broker_process(r, idx);
	return p && sim_process_alive(p) && !sim_process_is_paused(p);
}

/* ---- configuration ---- */

static void config_texts(struct member *m)
{
	struct run *r = m->r;
	struct cluster *cl = r->cluster;
	struct str text, zk, problem, warnings;
	int err;
	str_init(&text);
	str_init(&zk);
	str_init(&problem);
	str_init(&warnings);
	sim_zk_connect_string(r->w, r->chroot, &zk);
	str_printf(&text, "zookeeper.connect=%s\nzookeeper.session.timeout.ms=%d\n", str_cstr(&zk), cl->session_timeout_ms);
	if (m->is_broker) {
		str_printf(&text, "broker.id=%d\nlisteners=PLAINTEXT://%s:%d\nlog.dirs=/data\ndata.loops=%d\n", cluster_broker_id_of(m->idx), sim_host_ip(m->host), BROKER_PORT,
			m->loops);
		str_printf(&text, "replica.lag.time.max.ms=%d\nlog.segment.bytes=%d\nauto.create.topics.enable=false\n", cl->lag_time_ms, cl->segment_bytes);
		str_printf(&text, "default.replication.factor=3\nmin.insync.replicas=%d\nlog.flush.offset.checkpoint.interval.ms=%d\n", cl->offsets->min_isr, cl->checkpoint_ms);
		str_printf(&text, "replica.high.watermark.checkpoint.interval.ms=%d\nlog.dir.reserved.bytes=1048576\n", cl->checkpoint_ms);
		str_printf(&text, "offsets.topic.num.partitions=%d\noffsets.topic.replication.factor=%d\ngroup.min.session.timeout.ms=1000\n", cl->offsets->partitions,
			r->opt->brokers < 3 ? r->opt->brokers : 3);
		str_printf(&text, "group.initial.rebalance.delay.ms=%d\n", cl->rebalance_delay_ms);
		err = broker_config_parse("broker.properties", slice_make(text.ptr, text.len), NULL, 0, &m->broker_cfg, &problem, &warnings);
		if (!err)
			m->broker_cfg->image_slice = (uint32_t)(r->seed % 3); /* images of many turns, meeting deltas and requests */
	} else {
		str_printf(&text, "controller.id=%d\nlisteners=CONTROL://%s:%d\ncontroller.link.allow.remote=true\n", cluster_controller_id_of(m->idx), sim_host_ip(m->host), CONTROLLER_PORT);
		/* leaders go back to their places all the time, under every fault */
		str_printf(&text, "leader.imbalance.check.interval.seconds=%d\nleader.imbalance.per.broker.percentage=%d\n", 3 + (int)(r->seed % 5), (int)(r->seed % 2 * 10));
		err = controller_config_parse("controller.properties", slice_make(text.ptr, text.len), NULL, 0, &m->controller_cfg, &problem, &warnings);
		if (!err)
			m->controller_cfg->snapshot_slice = (int32_t)(r->seed % 4); /* partitions a turn: snapshots of many turns, meeting changes */
	}
	if (err)
		fprintf(stderr, "klamm-sim: %s\n", str_cstr(&problem));
	ASSERT(err == 0);
	str_fini(&text);
	str_fini(&zk);
	str_fini(&problem);
	str_fini(&warnings);
}

/* ---- processes ---- */

static void member_start(struct member *m);

static void start_event(struct sim_world *w, void *ctx)
{
	struct member *m = ctx;
	(void)w;
	m->restart_due = false;
	if (m->process && sim_process_alive(m->process))
		return;
	if (!sim_host_is_up(m->host))
		sim_host_power_on(m->host);
	member_start(m);
}

static void start_in(struct member *m, int64_t delay_us)
{
	if (m->restart_due)
		return;
	m->restart_due = true;
	sim_at(m->r->w, sim_now_us(m->r->w) + delay_us, start_event, m);
}

/* In front of the world's sink: counts what the daemons report about themselves. */
static void sink(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *kv)
{
	struct member *m = l->ctx;
	if (strcmp(event, "log.truncate") == 0)
		m->r->res.truncations++;
	if (level >= m->world_log->min_level)
		m->world_log->sink(m->world_log, level, subsystem, event, kv);
}

static void *member_run(struct env *env, struct loop *control, void *arg)
{
	struct member *m = arg;
	m->world_log = env->log;
	m->log = (struct logger){.min_level = env->log->min_level < LOG_INFO ? env->log->min_level : LOG_INFO, .sink = sink, .ctx = m};
	env->log = &m->log;
	if (m->is_broker) {
		m->broker = broker_new(env, control, m->broker_cfg);
		broker_start(m->broker);
	} else {
		m->controller = controller_new(env, control, m->controller_cfg);
		int err = controller_start(m->controller);
		if (err)
			env_exit(env, 74, err_str(err));
	}
	return m;
}

static void member_reap(void *root, void *arg)
{
	struct member *m = arg;
	(void)root;
	if (m->broker)
		broker_free(m->broker);
	if (m->controller)
		controller_free(m->controller);
	m->broker = NULL;
	m->controller = NULL;
}

static void member_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
	struct member *m = arg;
	int64_t delay = m->restart_after_us;
	(void)p;
	if (status != 137 && status != 75 && !(status == 0 && m->stopping))
		run_violation(m->r, "daemon-exit", "%s ended with status %d: %s", m->name, status, reason ? reason : "-");
	m->stopping = false;
	if (delay < 0)
		delay = rng_between(m->r->rng, 200000, 2000000);
	m->restart_after_us = -1;
	start_in(m, delay);
}

static void member_start(struct member *m)
{
	m->stopping = false;
	m->restart_after_us = -1;
	m->process = sim_process_start(m->host,
		&(struct sim_program){.name = m->name, .start = member_run, .reap = member_reap, .on_exit = member_exit, .arg = m});
}

static void member_init(struct run *r, struct member *m, bool is_broker, int idx)
{
	m->r = r;
	m->idx = idx;
	m->is_broker = is_broker;
	m->restart_after_us = -1;
	/* two loops usually; some seeds explore others (protocol.md I6) */
	m->loops = r->opt->loops ? r->opt->loops : rng_chance(r->rng, 0.5) ? 2 : (int)rng_between(r->rng, 1, 4);
	snprintf(m->name, sizeof(m->name), "%s%d", is_broker ? "broker" : "controller", is_broker ? cluster_broker_id_of(idx) : cluster_controller_id_of(idx));
	m->host = sim_host_new(r->w, m->name);
}

void cluster_init(struct run *r)
{
	struct cluster *cl = MEM_NEW(struct cluster);
	r->cluster = cl;
	cl->session_timeout_ms = (int)rng_between(r->rng, 4000, 9000);
	cl->lag_time_ms = (int)rng_between(r->rng, 2000, 10000);
	cl->segment_bytes = (int)rng_between(r->rng, 16384, 131072);
	cl->checkpoint_ms = (int)rng_between(r->rng, 1000, 20000);
	cl->rebalance_delay_ms = (int)rng_between(r->rng, 0, 800);
	cl->offsets = run_topic_new(r, "__consumer_offsets", (int32_t)rng_between(r->rng, 1, PARTITIONS_MAX), r->opt->brokers < 2 ? 1 : 2, false, false);
	cl->offsets->internal = true;
	for (int i = 0; i < r->opt->brokers; i++)
		member_init(r, &cl->brokers[i], true, i);
	for (int i = 0; i < r->opt->controllers; i++)
		member_init(r, &cl->controllers[i], false, i);
	for (int i = 0; i < r->opt->brokers; i++) {
		config_texts(&cl->brokers[i]);
		start_in(&cl->brokers[i], rng_between(r->rng, 0, 1000000));
	}
	for (int i = 0; i < r->opt->controllers; i++) {
		config_texts(&cl->controllers[i]);
		start_in(&cl->controllers[i], rng_between(r->rng, 0, 1000000));
	}
}

void cluster_free(struct run *r)
{
	struct cluster *cl = r->cluster;
	if (!cl)
		return;
	for (int i = 0; i < BROKERS_MAX; i++)
		broker_config_free(cl->brokers[i].broker_cfg);
	for (int i = 0; i < CONTROLLERS_MAX; i++)
		controller_config_free(cl->controllers[i].controller_cfg);
	mem_free(cl);
	r->cluster = NULL;
}

static bool running(struct member *m)
{
	return m->process && sim_process_alive(m->process);
}

static void member_kill(struct member *m, int64_t restart_after_us)
{
	if (!running(m))
		return;
	m->restart_after_us = restart_after_us;
	sim_process_kill(m->process);
}

void cluster_broker_kill(struct run *r, int idx, int64_t restart_after_us)
{
	member_kill(&r->cluster->brokers[idx], restart_after_us);
}

void cluster_controller_kill(struct run *r, int idx, int64_t restart_after_us)
{
	member_kill(&r->cluster->controllers[idx], restart_after_us);
}

void cluster_broker_power_cut(struct run *r, int idx, int64_t restart_after_us)
{
	struct member *m = &r->cluster->brokers[idx];
	if (!sim_host_is_up(m->host))
		return;
	m->restart_after_us = restart_after_us;
	checks_power_cut(r, idx);
	if (!m->restart_due)
		start_in(m, restart_after_us);
}

static void stop_now(void *ctx)
{
	struct member *m = ctx;
	if (m->broker)
		broker_stop(m->broker);
}

void cluster_broker_term(struct run *r, int idx, int64_t restart_after_us)
{
	struct member *m = &r->cluster->brokers[idx];
	if (!running(m) || m->stopping)
		return;
	m->stopping = true;
	m->restart_after_us = restart_after_us;
	sim_process_run(m->process, stop_now, m);
}

static void heal(struct member *m)
{
	if (running(m) && sim_process_is_paused(m->process))
		sim_process_resume(m->process);
	if (!running(m) && !m->restart_due)
		start_in(m, rng_between(m->r->rng, 0, 1000000));
}

void cluster_heal(struct run *r)
{
	for (int i = 0; i < r->opt->brokers; i++)
		heal(&r->cluster->brokers[i]);
	for (int i = 0; i < r->opt->controllers; i++)
		heal(&r->cluster->controllers[i]);
}

void cluster_describe(struct run *r, struct str *out)
{
	for (int i = 0; i < r->opt->brokers; i++) {
		struct member *m = &r->cluster->brokers[i];
		str_printf(out, "%s%s: %s", i ? ", " : "", m->name, !running(m) ? "down" : sim_process_is_paused(m->process) ? "paused" : m->broker ? broker_state(m->broker) : "-");
	}
	for (int i = 0; i < r->opt->controllers; i++) {
		struct member *m = &r->cluster->controllers[i];
		str_printf(out, ", %s: %s", m->name, !running(m) ? "down" : sim_process_is_paused(m->process) ? "paused" : "up");
	}
}
