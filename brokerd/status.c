/* status.c: what a broker shows of itself: the status node, /health, /metrics (contract.md). */
#include <inttypes.h>
#include <stdio.h>

#include "brokerd/broker_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/conn.h"
#include "common/zk/zkdata.h"

#define STATUS_EVERY_MS 1000
#define TOPICS_EVERY 3 /* of these: the numbers by topic cost a walk over all partitions */

struct shard_stats broker_sum(const struct broker *b)
{
	struct shard_stats t = {0};
	for (uint32_t l = 0; l < b->loop_count; l++) {
		const struct shard_stats *s = &b->loops[l].stats;
		t.partitions += s->partitions;
		t.led += s->led;
		t.under_replicated += s->under_replicated;
		t.offline += s->offline;
		t.under_min_isr += s->under_min_isr;
		t.at_old_format += s->at_old_format;
		t.stray += s->stray;
		t.bytes += s->bytes;
		if (s->max_lag > t.max_lag)
			t.max_lag = s->max_lag;
		t.isr_shrinks += s->isr_shrinks;
		t.isr_expands += s->isr_expands;
		t.leader_changes += s->leader_changes;
		t.truncations += s->truncations;
		t.bytes_in += s->bytes_in;
		t.bytes_out += s->bytes_out;
		t.records_in += s->records_in;
	}
	return t;
}

/* The word of a controller that rules no more says nothing of what its successor will find. */
static bool fenced(const struct broker *b) { return b->phase == PHASE_SERVING && b->fenced && ctl_has_active(b->ctl); }

const char *broker_state(const struct broker *b)
{
	switch (b->phase) {
	case PHASE_STARTING: return "starting";
	case PHASE_RECOVERING: return "recovering";
	case PHASE_JOINING: return "starting";
	case PHASE_STOPPING: return "stopping";
	case PHASE_SERVING: break;
	}
	if (fenced(b))
		return "fenced";
	return ctl_has_active(b->ctl) && registration_connected(b->reg) ? "running" : "degraded";
}

static const char *why(const struct broker *b)
{
	if (b->phase != PHASE_SERVING)
		return b->reason;
	if (fenced(b))
		return "the controller counts this broker as dead";
	bool controller = ctl_has_active(b->ctl), zk = registration_connected(b->reg);
	if (!controller && !zk)
		return "neither ZooKeeper nor a controller can be reached: data is served, nothing about the cluster can change";
	if (!zk)
		return "ZooKeeper cannot be reached: data is served";
	if (!controller)
		return "no controller rules: data is served, ISR changes and admin requests wait";
	if (b->suspended_us)
		return "asleep until lately: acks 0 and 1 wait for the controller's word";
	return "";
}

/* ---- the status node ---- */

static void on_status_set(void *ctx, int err, const struct zk_stat *st)
{
	struct broker *b = ctx;
	(void)st;
	b->status_writing = false;
	if (err) {
		b->status_standing = false;
		str_clear(&b->status_last);
	}
}

static void on_status_created(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct broker *b = ctx;
	(void)path, (void)st;
	b->status_writing = false;
	b->status_standing = err == 0 || err == ERR_EXIST;
	if (err)
		str_clear(&b->status_last);
}

static void write_status(struct broker *b)
{
	struct zk *zk = registration_zk(b->reg);
	if (!zk || !registration_connected(b->reg) || b->status_writing || !b->broker_epoch)
		return;
	struct shard_stats t = broker_sum(b);
	struct zkd_status_broker s = {
		.state = broker_state(b),
		.reason = why(b),
		.incarnation = b->incarnation,
		.led = (int32_t)t.led,
		.under_replicated = (int32_t)t.under_replicated,
		.offline = (int32_t)t.offline,
		.bytes = (int64_t)t.bytes,
		.max_lag = t.max_lag,
	};
	struct str plain, json;
	struct arena a;
	str_init(&plain);
	str_init(&json);
	arena_init(&a, 0);
	zkd_status_broker_encode(&plain, &s); /* without the time: written only when something changed */
	if (!b->status_standing || strcmp(str_cstr(&plain), str_cstr(&b->status_last))) {
		s.updated_ms = env_wall_ms(b->env);
		zkd_status_broker_encode(&json, &s);
		const char *path = zkp_status_broker(&a, b->cfg->broker_id);
		struct slice data = slice_make(str_cstr(&json), json.len);
		str_clear(&b->status_last);
		str_add(&b->status_last, str_cstr(&plain));
		b->status_writing = true;
		if (b->status_standing)
			zk_set(zk, path, data, -1, on_status_set, b);
		else
			zk_create(zk, path, data, ZK_EPHEMERAL, on_status_created, b);
	}
	arena_fini(&a);
	str_fini(&plain);
	str_fini(&json);
}

void broker_status_new_session(struct broker *b)
{
	b->status_standing = false;
	str_clear(&b->status_last);
	write_status(b);
}

void broker_topics_drop(struct data_loop *d)
{
	for (uint32_t i = 0; i < d->topic_count; i++)
		mem_free(d->topics[i].topic);
	mem_free(d->topics);
	d->topics = NULL;
	d->topic_count = 0;
}

static void stats_done(struct shard_order_msg *m)
{
	struct data_loop *d = m->ctx;
	d->stats = m->stats;
	if (m->want_topics) {
		broker_topics_drop(d);
		d->topics = m->topics;
		d->topic_count = m->topic_count;
	}
	d->stats_out = false;
}

static void space_run(struct job *j)
{
	struct broker *b = CONTAINER_OF(j, struct broker, space_job);
	for (uint32_t i = 0; i < b->dirs->count; i++)
		if (!atomic_load(&b->dirs->dirs[i]->offline) && log_dir_poll_space_now(b->dirs->dirs[i]))
			log_dir_fail(b->dirs->dirs[i], ERR_IO);
}

static void space_done(struct job *j)
{
	CONTAINER_OF(j, struct broker, space_job)->space_out = false;
}

void broker_status_tick(struct broker *b)
{
	int64_t now = env_wall_ms(b->env);
	const char *state = broker_state(b);
	if (strcmp(state, b->shown)) {
		snprintf(b->shown, sizeof(b->shown), "%s", state);
		b->shown_since_ms = now;
		LOG_AT(b->env->log, LOG_INFO, "broker", "state", "state=%s reason=\"%s\"", state, why(b));
	} else if (now - b->status_written_ms < STATUS_EVERY_MS && now >= b->status_written_ms) {
		return;
	}
	b->status_written_ms = now;
	write_status(b);
	if (!b->dirs || b->phase == PHASE_STOPPING)
		return;
	bool want_topics = b->status_turn++ % TOPICS_EVERY == 0;
	if (want_topics && b->phase == PHASE_SERVING)
		lag_round(b->lag);
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct data_loop *d = &b->loops[l];
		if (d->stats_out)
			continue;
		d->stats_out = true;
		d->stats_order = (struct shard_order_msg){.shard = d->shard, .order = SHARD_STATS, .want_topics = want_topics, .done = stats_done, .ctx = d};
		shard_post_order(&d->stats_order);
	}
	if (!b->space_out) {
		b->space_out = true;
		b->space_job.run = space_run;
		b->space_job.done = space_done;
		job_submit(b->control, &b->space_job, JOB_IO);
	}
}

/* ---- HTTP ---- */

static void json_text(struct str *out, const char *s)
{
	str_add(out, "\"");
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			str_printf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			str_printf(out, "\\u%04x", *s);
		else
			str_add_bytes(out, s, 1);
	}
	str_add(out, "\"");
}

static void health(struct broker *b, struct http_reply *r)
{
	const char *state = broker_state(b);
	bool serving = b->phase == PHASE_SERVING && !fenced(b);
	r->status = serving ? 200 : 503;
	r->content_type = "application/json";
	str_printf(r->body, "{\"state\":\"%s\",\"reason\":", state);
	json_text(r->body, why(b));
	str_printf(r->body, ",\"since_ms\":%" PRId64 ",\"broker\":%d,\"broker_epoch\":%" PRId64 ",\"controller_epoch\":%d", b->shown_since_ms, b->cfg->broker_id, b->broker_epoch,
		image_controller_epoch(ctl_image(b->ctl)));
	if (b->phase == PHASE_RECOVERING)
		str_printf(r->body, ",\"progress\":{\"logs\":%u,\"logs_total\":%u,\"bytes\":%" PRId64 "}", b->loads_total - b->loads_left, b->loads_total, (int64_t)b->recovered_bytes);
	str_add(r->body, "}\n");
}

static void metric(struct str *out, const char *name, const char *type, const char *help, double value)
{
	str_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", name, help, name, type, name, value);
}

static void request_latencies(const struct broker *b, struct str *o)
{
	static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
	struct histogram_view *v = mem_alloc(sizeof(*v));
	str_add(o, "# HELP klamm_request_seconds From the whole request to its answer, by API.\n# TYPE klamm_request_seconds summary\n");
	for (uint32_t i = 0; b->loop_count && i < b->loops[0].count_rows; i++) {
		const char *name = b->loops[0].counts[i].name;
		memset(v, 0, sizeof(*v));
		for (uint32_t l = 0; l < b->loop_count; l++)
			if (i < b->loops[l].count_rows)
				histogram_read(b->loops[l].counts[i].latency, v);
		for (size_t q = 0; q < ARRAY_LEN(quantiles); q++)
			str_printf(o, "klamm_request_seconds{api=\"%s\",quantile=\"%g\"} %.6f\n", name, quantiles[q], (double)histogram_quantile(v, quantiles[q]) / 1e6);
		str_printf(o, "klamm_request_seconds_sum{api=\"%s\"} %.6f\nklamm_request_seconds_count{api=\"%s\"} %" PRIu64 "\n", name, (double)v->sum / 1e6, name, v->count);
	}
	mem_free(v);
}

enum topic_column { BYTES_IN, RECORDS_IN, BYTES_OUT, RECORDS_OUT, LOG_BYTES, LED, UNDER_REPLICATED, OFFLINE, COLUMNS };
static const struct {
	const char *name, *type, *help;
} topic_columns[COLUMNS] = {
	{"klamm_topic_produce_bytes_total", "counter", "Bytes of record batches taken from producers."},
	{"klamm_topic_produce_records_total", "counter", "Records taken from producers."},
	{"klamm_topic_fetch_bytes_total", "counter", "Bytes of record batches handed out."},
	{"klamm_topic_fetch_records_total", "counter", "Offsets handed out."},
	{"klamm_topic_log_bytes", "gauge", "Bytes in the logs of this broker."},
	{"klamm_topic_partitions_led", "gauge", "Partitions that this broker leads."},
	{"klamm_topic_under_replicated_partitions", "gauge", "Led partitions whose ISR is smaller than their assignment."},
	{"klamm_topic_offline_partitions", "gauge", "Replicas here that cannot be served."},
};

static uint64_t topic_value(const struct shard_topic_row *r, enum topic_column c)
{
	switch (c) {
	case BYTES_IN: return r->bytes_in;
	case RECORDS_IN: return r->records_in;
	case BYTES_OUT: return r->bytes_out;
	case RECORDS_OUT: return r->records_out;
	case LOG_BYTES: return r->log_bytes;
	case LED: return r->led;
	case UNDER_REPLICATED: return r->under_replicated;
	case OFFLINE: return r->offline;
	case COLUMNS: break;
	}
	return 0;
}

/* A topic's partitions lie on several loops, whose rows are sorted by name: merged as they are written. At most SHARD_TOPIC_ROWS_MAX topics. */
static void topic_metrics(const struct broker *b, struct str *o)
{
	uint32_t *at = mem_alloc(sizeof(*at) * (b->loop_count + 1));
	for (int c = 0; c < COLUMNS; c++) {
		str_printf(o, "# HELP %s %s\n# TYPE %s %s\n", topic_columns[c].name, topic_columns[c].help, topic_columns[c].name, topic_columns[c].type);
		memset(at, 0, sizeof(*at) * b->loop_count);
		for (uint32_t written = 0; written < SHARD_TOPIC_ROWS_MAX; written++) {
			const char *next = NULL;
			uint64_t sum = 0;
			for (uint32_t l = 0; l < b->loop_count; l++)
				if (at[l] < b->loops[l].topic_count && (!next || strcmp(b->loops[l].topics[at[l]].topic, next) < 0))
					next = b->loops[l].topics[at[l]].topic;
			if (!next)
				break;
			for (uint32_t l = 0; l < b->loop_count; l++)
				if (at[l] < b->loops[l].topic_count && !strcmp(b->loops[l].topics[at[l]].topic, next))
					sum += topic_value(&b->loops[l].topics[at[l]++], (enum topic_column)c);
			str_printf(o, "%s{topic=\"%s\"} %" PRIu64 "\n", topic_columns[c].name, next, sum);
		}
	}
	mem_free(at);
}

static void group_metrics(const struct broker *b, struct str *o)
{
	struct coordinator_stats t = {0};
	for (uint32_t l = 0; l < b->loop_count; l++) {
		const struct coordinator_stats *s = &b->loops[l].groups;
		t.partitions += s->partitions;
		t.loading += s->loading;
		t.groups.groups += s->groups.groups;
		t.groups.members += s->groups.members;
		t.groups.rebalancing += s->groups.rebalancing;
		t.groups.offsets += s->groups.offsets;
		t.groups.bytes += s->groups.bytes;
		t.groups.rebalances += s->groups.rebalances;
		t.groups.expired_offsets += s->groups.expired_offsets;
	}
	metric(o, "klamm_coordinator_partitions", "gauge", "Partitions of __consumer_offsets that this broker leads.", t.partitions);
	metric(o, "klamm_coordinator_loading", "gauge", "Of these, partitions that are still being read.", t.loading);
	metric(o, "klamm_groups", "gauge", "Consumer groups coordinated here.", t.groups.groups);
	metric(o, "klamm_group_members", "gauge", "Members of them.", t.groups.members);
	metric(o, "klamm_groups_rebalancing", "gauge", "Groups whose members are joining or waiting for their assignment.", t.groups.rebalancing);
	metric(o, "klamm_group_offsets", "gauge", "Committed offsets of them.", (double)t.groups.offsets);
	metric(o, "klamm_group_bytes", "gauge", "Memory of groups, members and offsets.", (double)t.groups.bytes);
	metric(o, "klamm_group_rebalances_total", "counter", "Generations begun.", (double)t.groups.rebalances);
	metric(o, "klamm_group_expired_offsets_total", "counter", "Offsets removed because they were old.", (double)t.groups.expired_offsets);
	lag_metrics(b->lag, o);
}

static void metrics_text(struct broker *b, struct http_reply *r)
{
	struct str *o = r->body;
	struct shard_stats t = broker_sum(b);
	r->status = 200;
	r->content_type = "text/plain; version=0.0.4";
	metric(o, "klamm_partitions", "gauge", "Replicas on this broker.", t.partitions);
	metric(o, "klamm_partitions_led", "gauge", "Partitions that this broker leads.", t.led);
	metric(o, "klamm_under_replicated_partitions", "gauge", "Led partitions whose ISR is smaller than their assignment.", t.under_replicated);
	metric(o, "klamm_under_min_isr_partitions", "gauge", "Led partitions whose ISR is below min.insync.replicas.", t.under_min_isr);
	metric(o, "klamm_offline_partitions", "gauge", "Replicas here that cannot be served.", t.offline);
	metric(o, "klamm_stray_partitions", "gauge", "Directories that no assignment names; kept.", t.stray);
	metric(o, "klamm_log_bytes", "gauge", "Bytes in the logs of this broker.", (double)t.bytes);
	metric(o, "klamm_replica_max_lag", "gauge", "Largest lag, in records, of a replica followed here.", (double)t.max_lag);
	metric(o, "klamm_isr_shrinks_total", "counter", "ISR shrinks proposed.", (double)t.isr_shrinks);
	metric(o, "klamm_isr_expands_total", "counter", "ISR expansions proposed.", (double)t.isr_expands);
	metric(o, "klamm_leader_changes_total", "counter", "Leaderships begun here.", (double)t.leader_changes);
	metric(o, "klamm_truncations_total", "counter", "Logs cut back after a leader change.", (double)t.truncations);
	metric(o, "klamm_produce_bytes_total", "counter", "Bytes of record batches taken from producers.", (double)t.bytes_in);
	metric(o, "klamm_produce_records_total", "counter", "Records taken from producers.", (double)t.records_in);
	metric(o, "klamm_fetch_bytes_total", "counter", "Bytes of record batches handed out.", (double)t.bytes_out);
	metric(o, "klamm_resident_bytes", "gauge", "Resident memory of the process.", (double)env_resident_bytes(b->env));
	uint64_t connections = 0, receive = 0;
	for (uint32_t l = 0; l < b->loop_count; l++) {
		connections += b->loops[l].net_stats.connections;
		receive += b->loops[l].net_stats.receive_bytes;
	}
	metric(o, "klamm_connections", "gauge", "Client and replica connections.", (double)connections);
	metric(o, "klamm_receive_bytes", "gauge", "Memory of receive buffers.", (double)receive);
	str_add(o, "# HELP klamm_requests_total Requests by API.\n# TYPE klamm_requests_total counter\n");
	for (uint32_t i = 0; b->loop_count && i < b->loops[0].count_rows; i++) {
		uint64_t n = 0;
		for (uint32_t l = 0; l < b->loop_count; l++)
			n += i < b->loops[l].count_rows ? b->loops[l].counts[i].count : 0;
		str_printf(o, "klamm_requests_total{api=\"%s\"} %" PRIu64 "\n", b->loops[0].counts[i].name, n);
	}
	request_latencies(b, o);
	topic_metrics(b, o);
	group_metrics(b, o);
	str_add(o, "# HELP klamm_loop_busy_seconds_total Time that each loop spent working.\n# TYPE klamm_loop_busy_seconds_total counter\n");
	str_printf(o, "klamm_loop_busy_seconds_total{loop=\"control\"} %.6f\n", (double)atomic_load(&b->control->busy_us) / 1e6);
	for (uint32_t l = 0; l < b->loop_count; l++)
		if (b->loops[l].loop)
			str_printf(o, "klamm_loop_busy_seconds_total{loop=\"%u\"} %.6f\n", l, (double)atomic_load(&b->loops[l].loop->busy_us) / 1e6);
}

void broker_http(void *broker, const char *method, const char *path, struct http_reply *reply)
{
	if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
		reply->status = 405;
		reply->content_type = "text/plain";
		str_add(reply->body, "only GET\n");
	} else if (!strcmp(path, "/health")) {
		health(broker, reply);
	} else if (!strcmp(path, "/metrics")) {
		metrics_text(broker, reply);
	} else {
		reply->status = 404;
		reply->content_type = "text/plain";
		str_add(reply->body, "there are /health and /metrics\n");
	}
}
