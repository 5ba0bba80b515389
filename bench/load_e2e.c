/* load_e2e.c: klamm-load e2e: the time from when a record should have been sent until a tailing consumer has it.
 *
 * Every record carries the intended send time of its batch; one consumer per partition long-polls from the end. Needs
 * --rate (open loop); --batch-records records per batch, --connections producers to each leader.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAMP_MAGIC UINT64_C(0x6b6c616d6d653265) /* "klamme2e" */

struct lane {
	struct e2e *e;
	struct net_conn *conn;
	int32_t broker;
	unsigned inflight;
	uint32_t next_part;
	uint64_t due_ns, opened_ns;
};

struct tail {
	struct e2e *e;
	struct net_conn *conn;
	int32_t broker;
	uint32_t part;
	int64_t offset;
	bool waiting;
	uint64_t opened_ns;
};

struct e2e {
	struct load_opts *o;
	struct net *net;
	struct cluster cluster;
	struct kw_out batch;
	struct lane *lanes;
	unsigned lane_count;
	struct tail *tails;
	uint64_t interval_ns, measure_ns;
	struct hist *lat, *ack;
	uint64_t sent, received, bytes, errors, overdue;
	int16_t first_error;
};

static void failed(struct e2e *e, int16_t error)
{
	e->errors++;
	e->first_error = e->first_error ? e->first_error : error;
	cluster_refresh(&e->cluster);
}

static void on_ack(void *ctx, uint64_t intended, struct slice answer)
{
	struct lane *l = ctx;
	struct load_produced r = {0};

	l->inflight--;
	if (!answer.ptr || !load_produce_parse(answer, &r) || r.errors) {
		failed(l->e, r.first_error);
		return;
	}
	if (intended >= l->e->measure_ns)
		hist_add(l->e->ack, net_now() - intended, 1);
}

/* The next partition that the lane's broker leads, in turn. */
static bool lane_part(struct lane *l, uint32_t *ret)
{
	struct e2e *e = l->e;
	uint32_t n = e->cluster.part_count;

	for (uint32_t tries = 0; tries < n; tries++) {
		*ret = l->next_part++ % n;
		if (e->cluster.parts[*ret].leader == l->broker)
			return true;
	}
	return false;
}

static void lane_send(struct lane *l)
{
	struct e2e *e = l->e;
	uint32_t records = e->o->batch_records;
	uint8_t *copy;
	struct kw_out head = {0};
	uint32_t part;
	uint64_t intended = l->due_ns;
	uint8_t stamp[16];
	struct kw_batch_spec spec = {.records = records, .value_bytes = e->o->record_bytes, .timestamp_ms = load_wall_ms(), .seed = intended,
	                             .stamp = stamp, .stamp_len = sizeof(stamp)};

	l->due_ns += e->interval_ns;
	if (!lane_part(l, &part))
		return;
	be64_put(stamp, STAMP_MAGIC);
	be64_put(stamp + 8, intended);
	e->batch.len = 0;
	kw_batch(&e->batch, &spec);
	copy = malloc(e->batch.len);
	if (!copy)
		abort();
	memcpy(copy, e->batch.data, e->batch.len);
	load_produce_begin(&head, e->o->topic, e->o->acks, 30000, part, e->batch.len);
	l->inflight++;
	e->sent += intended >= e->measure_ns ? records : 0;
	e->bytes += intended >= e->measure_ns ? e->batch.len : 0;
	net_request(l->conn, &head, copy, e->batch.len, true, on_ack, l, intended);
	kw_out_free(&head);
}

static void on_record(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct tail *t = ctx;
	uint64_t intended;

	if (offset < t->offset || value.len < 16 || be64_get(value.ptr) != STAMP_MAGIC)
		return;
	intended = be64_get(value.ptr + 8);
	if (intended < t->e->measure_ns)
		return;
	t->e->received++;
	hist_add(t->e->lat, net_now() - intended, 1);
}

static void on_fetched(void *ctx, uint64_t tag, struct slice answer)
{
	struct tail *t = ctx;
	struct load_fetched got = {0};
	struct kw_batch_view b;

	t->waiting = false;
	if (!answer.ptr || !load_fetch_parse(answer, &got) || got.error) {
		failed(t->e, got.error);
		return;
	}
	while (kw_next_batch(&got.records, &b)) {
		if (b.last_offset < t->offset)
			continue;
		kw_batch_records(&b, on_record, t);
		t->offset = b.last_offset + 1;
	}
}

static bool ready(struct e2e *e, struct net_conn **conn, int32_t broker, uint64_t *opened_ns, uint64_t now)
{
	const struct cluster_addr *a = cluster_broker(&e->cluster, broker);

	if (*conn && net_conn_state(*conn) != NET_CLOSED)
		return true;
	if (!a || now < *opened_ns + 20 * NET_NS_PER_MS)
		return false;
	net_conn_free(*conn);
	*conn = net_conn_new(e->net, a->host, a->port);
	*opened_ns = now;
	return net_conn_state(*conn) != NET_CLOSED;
}

static void tail_turn(struct tail *t, uint64_t now)
{
	struct e2e *e = t->e;
	int32_t leader = e->cluster.parts[t->part].leader;
	struct kw_out out = {0};

	if (t->waiting)
		return;
	if (t->conn && t->broker != leader) {
		net_conn_free(t->conn);
		t->conn = NULL;
	}
	t->broker = leader;
	if (!ready(e, &t->conn, leader, &t->opened_ns, now))
		return;
	load_fetch_encode(&out, e->o->topic, t->part, t->offset, e->o->fetch_bytes, 500);
	t->waiting = true;
	net_request(t->conn, &out, NULL, 0, false, on_fetched, t, 0);
	kw_out_free(&out);
}

static uint64_t lanes_turn(struct e2e *e, uint64_t now, uint64_t end, uint64_t wake)
{
	for (unsigned i = 0; i < e->lane_count; i++) {
		struct lane *l = &e->lanes[i];

		if (!ready(e, &l->conn, l->broker, &l->opened_ns, now))
			continue;
		while (l->due_ns <= now && l->due_ns < end && l->inflight < e->o->inflight)
			lane_send(l);
		if (l->due_ns < wake && l->inflight < e->o->inflight)
			wake = l->due_ns;
	}
	return wake;
}

static void setup(struct e2e *e, uint64_t now, const int64_t *latest)
{
	struct load_opts *o = e->o;
	struct kw_batch_spec spec = {.records = o->batch_records, .value_bytes = o->record_bytes};

	e->lanes = calloc((size_t)e->cluster.broker_count * o->connections, sizeof(*e->lanes));
	e->tails = calloc(e->cluster.part_count, sizeof(*e->tails));
	if (!e->lanes || !e->tails)
		abort();
	for (unsigned b = 0; b < e->cluster.broker_count; b++) {
		bool leads = false;

		for (uint32_t i = 0; i < e->cluster.part_count; i++)
			leads |= e->cluster.parts[i].leader == e->cluster.brokers[b].id;
		for (unsigned k = 0; k < o->connections && leads; k++)
			e->lanes[e->lane_count++] = (struct lane){.e = e, .broker = e->cluster.brokers[b].id, .next_part = k};
	}
	for (uint32_t i = 0; i < e->cluster.part_count; i++)
		e->tails[i] = (struct tail){.e = e, .part = i, .offset = latest[i], .broker = -1};
	kw_batch(&e->batch, &spec);
	e->interval_ns = (uint64_t)((double)e->batch.len * e->lane_count * 1e3 / o->rate_mb);
	for (unsigned i = 0; i < e->lane_count; i++)
		e->lanes[i].due_ns = now + 100 * NET_NS_PER_MS + e->interval_ns * i / e->lane_count;
}

static int print(struct e2e *e, double seconds)
{
	json_t *r = json_object();
	int status = e->received && e->received >= e->sent ? 0 : 1;

	json_object_set_new(r, "seconds", hist_round(seconds));
	json_object_set_new(r, "rate_mb", hist_round(e->o->rate_mb));
	json_object_set_new(r, "records_sent", json_integer((json_int_t)e->sent));
	json_object_set_new(r, "records_received", json_integer((json_int_t)e->received));
	json_object_set_new(r, "mb_per_s", hist_round((double)e->bytes / 1e6 / seconds));
	json_object_set_new(r, "latency_ms", hist_json(e->lat));
	json_object_set_new(r, "ack_latency_ms", hist_json(e->ack));
	json_object_set_new(r, "errors", json_integer((json_int_t)e->errors));
	if (e->first_error)
		json_object_set_new(r, "first_error", json_string(kw_error_name(e->first_error)));
	json_object_set_new(r, "broker", procstat_json(&e->o->procs, (double)e->bytes / 1e9, 0));
	return load_print(e->o, r, status);
}

static int run(struct e2e *e)
{
	struct load_opts *o = e->o;
	uint64_t now = net_now(), end, last_end;
	bool measuring = false;
	double seconds;

	e->measure_ns = now + 100 * NET_NS_PER_MS + (uint64_t)(o->warmup_s * 1e9);
	end = e->measure_ns + (uint64_t)(o->seconds * 1e9);
	last_end = end + 5 * NET_NS_PER_S; /* what is on its way may take that long */
	while ((now < end || e->received < e->sent) && now < last_end && !load_stop) {
		uint64_t wake = now + 5 * NET_NS_PER_MS;

		if (!measuring && now >= e->measure_ns) {
			measuring = true;
			procstat_start(&o->procs, now);
		}
		for (uint32_t i = 0; i < e->cluster.part_count; i++)
			tail_turn(&e->tails[i], now);
		wake = lanes_turn(e, now, end, wake);
		cluster_tick(&e->cluster, now);
		net_poll(e->net, wake);
		now = net_now();
		if (measuring)
			procstat_tick(&o->procs, now);
	}
	procstat_stop(&o->procs);
	seconds = (double)((now < end ? now : end) - e->measure_ns) / 1e9;
	return print(e, seconds);
}

int load_e2e(struct load_opts *o)
{
	struct e2e e = {.o = o, .net = net_new(), .lat = hist_new(), .ack = hist_new()};
	int64_t *latest = NULL;
	int status = 3;

	if (o->rate_mb <= 0)
		o->rate_mb = 1;
	if (!o->batch_records)
		o->batch_records = 10;
	if (o->record_bytes < 16)
		o->record_bytes = 16;
	if (load_connect(o, e.net, &e.cluster, true)) {
		latest = calloc(e.cluster.part_count, sizeof(*latest));
		if (!latest)
			abort();
		if (load_offsets(&e.cluster, -1, latest)) {
			setup(&e, net_now(), latest);
			status = run(&e);
		} else {
			fprintf(stderr, "klamm-load: the offsets of %s cannot be had; see klamm topic describe %s\n", o->topic, o->topic);
		}
	}
	for (unsigned i = 0; i < e.lane_count; i++)
		net_conn_free(e.lanes[i].conn);
	for (uint32_t i = 0; e.tails && i < e.cluster.part_count; i++)
		net_conn_free(e.tails[i].conn);
	cluster_fini(&e.cluster);
	net_free(e.net);
	hist_free(e.lat);
	hist_free(e.ack);
	kw_out_free(&e.batch);
	free(e.lanes);
	free(e.tails);
	free(latest);
	return status;
}
