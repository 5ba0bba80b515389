/* controller.c: wires election, state and links into one controller; status node, /health, /metrics. See controller.h. */
#include "controllerd/controller.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/zk/zkdata.h"
#include "controllerd/elect/elect.h"
#include "controllerd/push/push.h"
#include "controllerd/state/state.h"

enum { STATUS_EACH_MS = 500, STATUS_ANYWAY_MS = 30000, STOP_MS = 2000 };

struct controller {
	struct env *env;
	struct loop *loop;
	struct controller_config cfg;
	struct elect elect;
	struct state state;
	struct push push;
	struct http *http;
	uint16_t admin_port;
	struct timer status_timer, stop_timer;
	/* /klamm/status/controller */
	struct str status_written; /* without its time */
	int64_t status_us;
	bool status_busy, status_exists;
	int64_t since_ms; /* wall clock of the last change of state */
	char said[32];
	int64_t started_us;
	uint64_t reigns;
	void (*stopped)(void *ctx);
	void *stopped_ctx;
	bool stopping;
};

/* ---- what it is ---- */

static const char *health(const struct controller *c, const char **ret_reason)
{
	const struct elect *e = &c->elect;
	*ret_reason = e->reason ? e->reason : "starting";
	switch (e->phase) {
	case ELECT_ACTIVE:
		if (!c->state.loaded) {
			*ret_reason = "elected: reading the cluster from ZooKeeper";
			return "recovering";
		}
		if (!elect_has_rights(e)) {
			*ret_reason = "reign suspended: no ZooKeeper quorum has confirmed it lately; brokers go on serving";
			return "degraded";
		}
		*ret_reason = "active";
		return "running";
	case ELECT_STANDBY:
		if (!e->connected) {
			*ret_reason = "standby, without ZooKeeper";
			return "degraded";
		}
		return "running";
	case ELECT_FOREIGN:
	case ELECT_REFUSED:
		return "degraded";
	case ELECT_STOPPING:
		return "stopping";
	default:
		return c->reigns || e->prepared ? "degraded" : "starting";
	}
}

void controller_look(const struct controller *c, struct controller_view *ret)
{
	*ret = (struct controller_view){.active = push_active(&c->push), .rights = elect_has_rights(&c->elect), .epoch = c->elect.epoch, .seq = c->push.seq,
					.port = c->push.port, .admin_port = c->admin_port};
	ret->state = health(c, &ret->reason);
	if (c->state.im) {
		ret->topics = c->state.im->topic_count;
		ret->partitions = c->state.im->partition_count;
	}
	LIST_FOR(n, &c->push.peers)
		ret->links += LIST_ENTRY(n, struct push_peer, link)->greeted;
}

static void json_text(struct str *out, const char *s)
{
	str_add(out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			str_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			str_printf(out, "\\u%04x", (unsigned)(unsigned char)*s);
		else
			str_add_bytes(out, s, 1);
	}
	str_add(out, "\"");
}

static void http_health(struct controller *c, struct http_reply *reply)
{
	struct controller_view v;
	controller_look(c, &v);
	str_add(reply->body, "{\"state\":");
	json_text(reply->body, v.state);
	str_add(reply->body, ",\"reason\":");
	json_text(reply->body, v.reason);
	str_printf(reply->body, ",\"since_ms\":%" PRId64 ",\"role\":", c->since_ms);
	json_text(reply->body, elect_phase_str(c->elect.phase));
	str_printf(reply->body, ",\"id\":%d,\"epoch\":%d,\"seq\":%" PRIu64 ",\"links\":%d,\"topics\":%d,\"partitions\":%d", c->cfg.id,
		   v.active ? v.epoch : c->elect.known_epoch, v.active ? v.seq : c->elect.standby.seq, v.links, v.topics, v.partitions);
	if (c->elect.phase == ELECT_ACTIVE && !c->state.loaded)
		str_printf(reply->body, ",\"progress\":{\"reads_left\":%d}", c->state.reads);
	str_add(reply->body, "}\n");
	reply->content_type = "application/json";
	reply->status = strcmp(v.state, "running") == 0 ? 200 : 503;
}

static void count_partitions(const struct controller *c, int64_t *under, int64_t *offline)
{
	for (const struct plan_topic *t = c->state.im ? c->state.im->by_name : NULL; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++) {
			const struct plan_partition *p = &t->partitions[i];
			if (!p->replicas.n || p->version < 0)
				continue;
			*under += p->st.isr.n < p->replicas.n - p->adding.n;
			*offline += p->st.leader < 0;
		}
}

static void metric(struct str *out, const char *name, const char *type, const char *help, int64_t value)
{
	str_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRId64 "\n", name, help, name, type, name, value);
}

static void http_metrics(struct controller *c, struct http_reply *reply)
{
	struct str *out = reply->body;
	struct controller_view v;
	int64_t under = 0, offline = 0;
	controller_look(c, &v);
	count_partitions(c, &under, &offline);
	metric(out, "klamm_controller_active", "gauge", "1 while this controller rules.", v.active);
	metric(out, "klamm_controller_suspended", "gauge", "1 while its reign is suspended.", v.active && !v.rights);
	metric(out, "klamm_controller_epoch", "gauge", "Epoch of its last reign.", v.epoch);
	metric(out, "klamm_controller_reigns_total", "counter", "Elections won.", (int64_t)c->reigns);
	metric(out, "klamm_controller_seq", "gauge", "Newest delta published.", (int64_t)v.seq);
	metric(out, "klamm_controller_links", "gauge", "Brokers and controllers with a link.", v.links);
	metric(out, "klamm_controller_topics", "gauge", "Topics.", v.topics);
	metric(out, "klamm_controller_partitions", "gauge", "Partitions.", v.partitions);
	metric(out, "klamm_controller_under_replicated_partitions", "gauge", "Partitions with fewer in-sync replicas than replicas.", under);
	metric(out, "klamm_controller_offline_partitions", "gauge", "Partitions without a leader.", offline);
	metric(out, "klamm_controller_leader_changes_total", "counter", "Leader changes written.", (int64_t)c->state.leader_changes);
	metric(out, "klamm_controller_isr_changes_total", "counter", "ISR changes written.", (int64_t)c->state.isr_changes);
	metric(out, "klamm_controller_fenced_total", "counter", "Brokers judged dead.", (int64_t)c->push.fenced);
	metric(out, "klamm_controller_deltas_total", "counter", "Deltas published.", (int64_t)c->push.deltas);
	metric(out, "klamm_controller_snapshots_total", "counter", "Snapshots sent.", (int64_t)c->push.snapshots);
	metric(out, "klamm_controller_zookeeper_multis_total", "counter", "Multis sent to ZooKeeper.", (int64_t)c->state.wr.multis);
	metric(out, "klamm_controller_zookeeper_writes_total", "counter", "Writes inside them.", (int64_t)c->state.wr.writes);
	metric(out, "klamm_controller_resident_bytes", "gauge", "Resident memory.", (int64_t)env_resident_bytes(c->env));
	metric(out, "klamm_loop_busy_microseconds_total", "counter", "Time the control loop was busy.", atomic_load(&c->loop->busy_us));
	reply->content_type = "text/plain; version=0.0.4";
	reply->status = 200;
}

static void on_http(void *ctx, const char *method, const char *path, struct http_reply *reply)
{
	struct controller *c = ctx;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		reply->status = 405;
		reply->content_type = "text/plain";
		str_add(reply->body, "only GET\n");
	} else if (strcmp(path, "/health") == 0) {
		http_health(c, reply);
	} else if (strcmp(path, "/metrics") == 0) {
		http_metrics(c, reply);
	} else {
		reply->status = 404;
		reply->content_type = "text/plain";
		str_add(reply->body, "there are /health and /metrics\n");
	}
}

/* ---- /klamm/status/controller ---- */

static void on_status_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct controller *c = ctx;
	c->status_busy = false;
	if (err == 0) {
		c->status_exists = true;
		return;
	}
	str_clear(&c->status_written); /* again at the next tick */
	c->status_exists = err == ERR_EXIST ? true : err == ERR_NOENT ? false : c->status_exists;
}

static void status_json(struct controller *c, struct str *out, int64_t updated_ms)
{
	const struct state_failover *f = &c->state.failover;
	zkd_status_controller_encode(out, &(struct zkd_status_controller){
		.id = c->cfg.id,
		.epoch = c->elect.epoch,
		.state = "active",
		.has_failover = f->any && f->pending == 0,
		.failover_broker = f->broker,
		.failover_reason = f->reason,
		.failover_partitions = f->partitions,
		.failover_took_ms = f->took_ms,
		.updated_ms = updated_ms,
	});
}

static void write_status(struct controller *c)
{
	int64_t now = env_now_us(c->env);
	struct str still = {0};
	status_json(c, &still, 0);
	bool news = strcmp(str_cstr(&still), str_cstr(&c->status_written)) != 0 || now - c->status_us > (int64_t)STATUS_ANYWAY_MS * 1000;
	if (news && !c->status_busy && push_active(&c->push)) {
		struct str json = {0};
		status_json(c, &json, env_wall_ms(c->env));
		struct write *w = write_new(WRITE_BULK, on_status_written, c, NULL);
		if (c->status_exists)
			write_set(w, ZKP_KLAMM_STATUS_CONTROLLER, slice_make(json.ptr, json.len), -1);
		else
			write_create(w, ZKP_KLAMM_STATUS_CONTROLLER, slice_make(json.ptr, json.len));
		str_fini(&json);
		str_clear(&c->status_written);
		str_add(&c->status_written, str_cstr(&still));
		c->status_us = now;
		c->status_busy = true;
		writer_submit(&c->state.wr, w);
	}
	str_fini(&still);
}

static void on_status_tick(void *ctx)
{
	struct controller *c = ctx;
	const char *reason, *now = health(c, &reason);
	timer_set_ms(&c->status_timer, STATUS_EACH_MS);
	if (strcmp(now, c->said) != 0) {
		snprintf(c->said, sizeof(c->said), "%s", now);
		c->since_ms = env_wall_ms(c->env);
		LOG_AT(c->env->log, LOG_INFO, "controller", now, "reason=%s", LOGQ(reason));
	}
	if (push_active(&c->push))
		write_status(c);
}

/* ---- wiring ---- */

static void on_reign_begin(void *ctx, int32_t epoch, int32_t epoch_version, bool lineage_ok)
{
	struct controller *c = ctx;
	c->reigns++;
	c->status_busy = false;
	c->status_exists = true;
	str_clear(&c->status_written);
	LOG_AT(c->env->log, LOG_INFO, "controller", "reign.begin", "id=%d epoch=%d lineage=%s", c->cfg.id, epoch, lineage_ok ? "ours" : "broken");
	state_begin(&c->state, c->elect.zk, epoch, epoch_version, lineage_ok);
}

static void on_reign_end(void *ctx, const char *why)
{
	struct controller *c = ctx;
	push_reign_end(&c->push);
	state_end(&c->state);
}

static void on_brokers_say(void *ctx, int32_t id, int32_t *ret_total, int32_t *ret_deaf)
{
	struct controller *c = ctx;
	push_brokers_say(&c->push, id, ret_total, ret_deaf);
}

static void on_phase(void *ctx, enum elect_phase p, const char *reason) {}

static void copy_config(struct controller_config *to, const struct controller_config *from)
{
	*to = *from;
	to->listen_host = mem_strdup(from->listen_host ? from->listen_host : "");
	to->advertised_host = mem_strdup(from->advertised_host ? from->advertised_host : to->listen_host);
	to->advertised_port = from->advertised_port ? from->advertised_port : from->listen_port;
	to->zookeeper_connect = mem_strdup(from->zookeeper_connect);
	to->admin_host = mem_strdup(from->admin_host ? from->admin_host : "");
}

static void on_stop_late(void *ctx);

struct controller *controller_new(struct env *env, struct loop *control, const struct controller_config *cfg)
{
	struct controller *c = MEM_NEW(struct controller);
	c->env = env;
	c->loop = control;
	copy_config(&c->cfg, cfg);
	c->started_us = env_now_us(env);
	c->since_ms = env_wall_ms(env);
	snprintf(c->said, sizeof(c->said), "starting");
	timer_init(&c->status_timer, control, on_status_tick, c);
	timer_init(&c->stop_timer, control, on_stop_late, c);
	uint64_t incarnation = env_random_u64(env);
	struct push_config pc = {.id = c->cfg.id, .incarnation = incarnation, .version = KLAMM_VERSION, .host = c->cfg.listen_host, .port = c->cfg.listen_port,
				 .closed_grace_ms = c->cfg.link_closed_grace_ms, .silence_ms = c->cfg.link_silence_ms, .allow_remote = c->cfg.link_allow_remote,
				 .snapshot_slice = c->cfg.snapshot_slice};
	push_init(&c->push, control, &pc, &c->state, &c->elect);
	struct state_host sh;
	push_state_host(&c->push, &sh);
	state_init(&c->state, control, &c->elect, &sh, c->cfg.delete_topic_enable);
	c->state.balance = (struct state_balance){c->cfg.leader_rebalance, c->cfg.leader_imbalance_check_s, c->cfg.leader_imbalance_percentage};
	if (cfg->topic_watch_bytes)
		c->state.watch_bytes_max = cfg->topic_watch_bytes;
	struct elect_config ec = {.id = c->cfg.id, .host = c->cfg.advertised_host, .port = c->cfg.advertised_port, .incarnation = incarnation, .version = KLAMM_VERSION,
				  .zookeeper_connect = c->cfg.zookeeper_connect, .session_timeout_ms = c->cfg.zookeeper_session_timeout_ms, .silence_ms = c->cfg.link_silence_ms};
	struct elect_host eh = {.ctx = c, .reign_begin = on_reign_begin, .reign_end = on_reign_end, .brokers_say = on_brokers_say, .phase_changed = on_phase};
	elect_init(&c->elect, control, &ec, &eh);
	return c;
}

int controller_start(struct controller *c)
{
	int err = push_listen(&c->push);
	if (!err && c->cfg.advertised_port == 0)
		c->elect.cfg.port = c->push.port;
	if (!err && c->cfg.admin)
		err = http_open(c->loop, c->cfg.admin_host, c->cfg.admin_port, on_http, c, &c->http, &c->admin_port);
	if (!err)
		err = elect_start(&c->elect);
	if (!err)
		timer_set_ms(&c->status_timer, STATUS_EACH_MS);
	LOG_AT(c->env->log, err ? LOG_ERROR : LOG_INFO, "controller", "start", "id=%d port=%d err=%s", c->cfg.id, c->push.port, err_str(err));
	return err;
}

static void stopped(void *ctx)
{
	struct controller *c = ctx;
	if (!c->stopped)
		return;
	void (*done)(void *) = c->stopped;
	c->stopped = NULL;
	timer_stop(&c->stop_timer);
	done(c->stopped_ctx);
}

static void on_stop_late(void *ctx) { stopped(ctx); }

void controller_stop(struct controller *c, void (*done)(void *ctx), void *ctx)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->stopped = done;
	c->stopped_ctx = ctx;
	timer_stop(&c->status_timer);
	timer_set_ms(&c->stop_timer, STOP_MS);
	LOG_AT(c->env->log, LOG_INFO, "controller", "stop", "id=%d", c->cfg.id);
	elect_stop(&c->elect, stopped, c);
}

void controller_free(struct controller *c)
{
	if (!c)
		return;
	timer_stop(&c->status_timer);
	timer_stop(&c->stop_timer);
	if (c->http)
		http_close(c->http);
	push_fini(&c->push);
	state_end(&c->state);
	elect_fini(&c->elect);
	state_fini(&c->state);
	str_fini(&c->status_written);
	mem_free(c->cfg.listen_host);
	mem_free(c->cfg.advertised_host);
	mem_free(c->cfg.zookeeper_connect);
	mem_free(c->cfg.admin_host);
	mem_free(c);
}
