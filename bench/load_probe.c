/* load_probe.c: klamm-load probe: how long clients wait when something happens to the cluster.
 *
 * One record per partition and --period-ms, on a timetable that never stops (open loop), each partition on a connection
 * of its own, so that one that hangs does not hide another. Records that are due while an answer is outstanding go
 * together in the next batch. The wait of a partition is the longest time from a record's intended send to its
 * acknowledgement, or between two acknowledgements, whichever is longer.
 *
 * What a good client does: a connection that breaks or an answer with an error asks for metadata at once and tries again
 * every few milliseconds; an answer that takes long asks for metadata too and the record moves to the new leader as soon
 * as there is one. A record that was sent twice may be stored twice: duplicates are counted (--verify), not avoided.
 * --verify reads everything back at the end: a record that was acknowledged and is missing makes the exit status 1.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Text, so that a record reads well everywhere and holds no newline: "klamm-probe RUN SEQ INTENDED", numbers in 16 hex digits. */
#define STAMP_WORD "klamm-probe "
#define STAMP 62u
#define STAMP_SEQ 29u
#define BATCH_MAX 64u
#define AGAIN_NS (10 * NET_NS_PER_MS)
#define DRAIN_NS (30 * NET_NS_PER_S)

struct part {
	struct probe *p;
	struct net_conn *conn;
	uint32_t index;
	int32_t broker, first_leader;
	uint64_t t0;             /* intended time of record 0 */
	uint64_t acked;          /* records 0..acked-1 are acknowledged */
	uint32_t flying;         /* records in the request that is out; 0 = none */
	uint64_t sent_ns, again_ns, last_ack_ns, first_ack_ns;
	uint64_t wait_ns, wait_intended_ns;
	uint64_t errors, timeouts, seen, dups, missing;
	uint8_t *found;          /* one bit per record, for --verify */
	int64_t start_offset, read_offset;
};

struct probe {
	struct load_opts *o;
	struct net *net;
	struct cluster cluster;
	struct part *parts;
	uint32_t part_count;
	uint64_t run_id, period_ns, start_ns, end_ns;
	struct hist *lat;
	struct kw_out batch;
	int16_t first_error;
};

static uint64_t intended(const struct part *t, uint64_t seq)
{
	return t->t0 + seq * t->p->period_ns;
}

/* Records that are due by now and were not acknowledged. */
static uint64_t due(const struct part *t, uint64_t now)
{
	uint64_t until = now < t->p->end_ns ? now : t->p->end_ns;

	return until < t->t0 ? 0 : (until - t->t0) / t->p->period_ns + 1 - t->acked;
}

static void waited(struct part *t, uint64_t ns, uint64_t intended_ns)
{
	if (ns <= t->wait_ns)
		return;
	t->wait_ns = ns;
	t->wait_intended_ns = intended_ns;
}

static void acknowledged(struct part *t, uint64_t now)
{
	for (uint32_t i = 0; i < t->flying; i++) {
		uint64_t at = intended(t, t->acked + i);

		hist_add(t->p->lat, now - at, 1);
		waited(t, now - at, at);
	}
	if (t->last_ack_ns)
		waited(t, now - t->last_ack_ns, intended(t, t->acked));
	else
		t->first_ack_ns = now;
	t->last_ack_ns = now;
	t->acked += t->flying;
	t->flying = 0;
}

static void on_answer(void *ctx, uint64_t tag, struct slice answer)
{
	struct part *t = ctx;
	struct load_produced r = {0};
	uint64_t now = net_now();

	if (answer.ptr && load_produce_parse(answer, &r) && !r.errors) {
		acknowledged(t, now);
		return;
	}
	t->flying = 0;
	t->errors++;
	t->p->first_error = t->p->first_error ? t->p->first_error : r.first_error;
	t->again_ns = now + AGAIN_NS;
	cluster_refresh(&t->p->cluster);
}

static void part_send(struct part *t, uint64_t now)
{
	struct probe *p = t->p;
	char stamps[BATCH_MAX * STAMP + 1];
	uint8_t *copy;
	uint64_t want = due(t, now);
	uint32_t n = want < BATCH_MAX ? (uint32_t)want : BATCH_MAX;
	struct kw_batch_spec spec = {.records = n, .value_bytes = p->o->record_bytes, .key = p->o->key, .timestamp_ms = load_wall_ms(),
	                             .stamp = (const uint8_t *)stamps, .stamp_len = STAMP, .stamp_step = STAMP, .seed = t->acked};
	struct kw_out head = {0};

	for (uint32_t i = 0; i < n; i++)
		snprintf(stamps + i * STAMP, STAMP + 1, STAMP_WORD "%016llx %016llx %016llx", (unsigned long long)p->run_id,
		         (unsigned long long)(t->acked + i), (unsigned long long)intended(t, t->acked + i));
	p->batch.len = 0;
	kw_batch(&p->batch, &spec);
	copy = malloc(p->batch.len);
	if (!copy)
		abort();
	memcpy(copy, p->batch.data, p->batch.len);
	load_produce_begin(&head, p->o->topic, p->o->acks, 30000, t->index, p->batch.len);
	t->flying = n;
	t->sent_ns = now;
	net_request(t->conn, &head, copy, p->batch.len, true, on_answer, t, 0);
	kw_out_free(&head);
}

/* Drops the connection without counting an error; what was out is sent again. */
static void part_leave(struct part *t)
{
	net_conn_free(t->conn);
	t->conn = NULL;
	t->flying = 0;
}

static void part_connect(struct part *t, uint64_t now)
{
	struct cluster *c = &t->p->cluster;
	int32_t leader = c->parts[t->index].leader;
	const struct cluster_addr *a = cluster_broker(c, leader);

	if (t->conn && (t->broker != leader || net_conn_state(t->conn) == NET_CLOSED))
		part_leave(t);
	if (t->conn || now < t->again_ns)
		return;
	t->again_ns = now + AGAIN_NS;
	if (!a) {
		cluster_refresh(c);
		return;
	}
	t->broker = leader;
	t->conn = net_conn_new(t->p->net, a->host, a->port);
	if (net_conn_state(t->conn) == NET_CLOSED)
		cluster_refresh(c);
}

static uint64_t part_turn(struct part *t, uint64_t now, uint64_t wake)
{
	struct probe *p = t->p;
	uint64_t next;

	if (t->flying && p->cluster.parts[t->index].leader != t->broker)
		part_leave(t);
	if (t->flying && now > t->sent_ns + p->o->timeout_ms * NET_NS_PER_MS) {
		t->timeouts++;
		part_leave(t);
	}
	if (t->flying) {
		if (now > t->sent_ns + 100 * NET_NS_PER_MS && now > p->cluster.last_answer_ns + 30 * NET_NS_PER_MS)
			cluster_refresh(&p->cluster);
		return wake;
	}
	part_connect(t, now);
	if (!due(t, now)) {
		next = intended(t, t->acked);
		return next < wake ? next : wake;
	}
	if (!t->conn || net_conn_state(t->conn) == NET_CLOSED || (t->errors && now < t->again_ns && t->last_ack_ns + AGAIN_NS < now)) {
		if (now > p->cluster.last_answer_ns + AGAIN_NS)
			cluster_refresh(&p->cluster);
		return t->again_ns < wake && t->again_ns > now ? t->again_ns : wake;
	}
	part_send(t, now);
	return wake;
}

static bool all_acked(const struct probe *p)
{
	for (uint32_t i = 0; i < p->part_count; i++)
		if (due(&p->parts[i], p->end_ns))
			return false;
	return true;
}

static void drive(struct probe *p)
{
	uint64_t now = net_now();
	bool stopped = false;

	procstat_start(&p->o->procs, now);
	for (;;) {
		uint64_t wake = now + 10 * NET_NS_PER_MS;

		if (load_stop && !stopped) {
			stopped = true;
			p->end_ns = now < p->end_ns ? now : p->end_ns;
		}
		if (now >= p->end_ns && (all_acked(p) || now > p->end_ns + DRAIN_NS))
			break;
		for (uint32_t i = 0; i < p->part_count; i++)
			wake = part_turn(&p->parts[i], now, wake);
		cluster_tick(&p->cluster, now);
		procstat_tick(&p->o->procs, now);
		net_poll(p->net, wake);
		now = net_now();
	}
	procstat_stop(&p->o->procs);
	for (uint32_t i = 0; i < p->part_count; i++) /* what never came counts as a wait until now */
		if (due(&p->parts[i], p->end_ns))
			waited(&p->parts[i], now - intended(&p->parts[i], p->parts[i].acked), intended(&p->parts[i], p->parts[i].acked));
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

static void on_record(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct part *t = ctx;
	uint64_t seq, sent = t->acked + due(t, t->p->end_ns);
	char mine[STAMP_SEQ + 1], number[17] = "";

	snprintf(mine, sizeof(mine), STAMP_WORD "%016llx ", (unsigned long long)t->p->run_id);
	if (offset < t->read_offset || value.len < STAMP || memcmp(value.ptr, mine, STAMP_SEQ))
		return;
	memcpy(number, value.ptr + STAMP_SEQ, 16);
	seq = strtoull(number, NULL, 16);
	if (seq >= sent)
		return;
	t->seen++;
	if (t->found[seq / 8] & (1u << (seq % 8)))
		t->dups++;
	t->found[seq / 8] |= (uint8_t)(1u << (seq % 8));
}

/* One fetch of the partition; false: to be tried again. */
static bool read_some(struct part *t)
{
	struct probe *p = t->p;
	const struct cluster_addr *a = cluster_broker(&p->cluster, p->cluster.parts[t->index].leader);
	struct load_fetched got = {0};
	struct kw_batch_view b;
	struct kw_out out = {0};
	uint8_t *bytes = NULL;
	size_t len;
	bool ok = false;

	if (!a)
		return false;
	if (!t->conn || !net_conn_is(t->conn, a->host, a->port) || net_conn_state(t->conn) == NET_CLOSED) {
		net_conn_free(t->conn);
		t->conn = net_conn_new(p->net, a->host, a->port);
	}
	load_fetch_encode(&out, p->o->topic, t->index, t->read_offset, p->o->fetch_bytes, 100);
	if (net_call(t->conn, &out, 5000, &bytes, &len) && load_fetch_parse(slice_make(bytes, len), &got) && !got.error) {
		ok = true;
		while (kw_next_batch(&got.records, &b)) {
			if (!kw_batch_records(&b, on_record, t) && !(b.attributes & 7))
				ok = false;
			t->read_offset = b.last_offset + 1;
		}
	}
	free(bytes);
	kw_out_free(&out);
	return ok;
}

static bool read_back(struct probe *p)
{
	int64_t *latest = calloc(p->part_count, sizeof(*latest));
	bool ok = latest && cluster_wait(&p->cluster, true, 10000) && load_offsets(&p->cluster, -1, latest);

	for (uint32_t i = 0; i < p->part_count && ok; i++) {
		struct part *t = &p->parts[i];
		unsigned failures = 0;

		t->found = calloc(1, (t->acked + due(t, p->end_ns)) / 8 + 1);
		if (!t->found)
			abort();
		t->read_offset = t->start_offset;
		while (t->read_offset < latest[i] && failures < 50)
			if (!read_some(t)) {
				failures++;
				cluster_wait(&p->cluster, true, 1000);
			}
		ok = t->read_offset >= latest[i];
		for (uint64_t seq = 0; seq < t->acked; seq++)
			t->missing += !(t->found[seq / 8] & (1u << (seq % 8)));
		part_leave(t);
	}
	free(latest);
	return ok;
}

/* --- result ------------------------------------------------------------------------------------------------------- */

static json_t *part_json(const struct part *t)
{
	const struct probe *p = t->p;
	json_t *j = json_object();

	json_object_set_new(j, "partition", json_integer(t->index));
	json_object_set_new(j, "first_leader", json_integer(t->first_leader));
	json_object_set_new(j, "leader", json_integer(p->cluster.parts[t->index].leader));
	json_object_set_new(j, "acked", json_integer((json_int_t)t->acked));
	json_object_set_new(j, "unacked", json_integer((json_int_t)due(t, p->end_ns)));
	json_object_set_new(j, "wait_max_ms", hist_round((double)t->wait_ns / 1e6));
	json_object_set_new(j, "wait_at_s", hist_round(t->wait_ns ? (double)(t->wait_intended_ns - p->start_ns) / 1e9 : 0));
	json_object_set_new(j, "first_ack_ms", hist_round(t->first_ack_ns ? (double)(t->first_ack_ns - p->o->start_ns) / 1e6 : -1));
	json_object_set_new(j, "errors", json_integer((json_int_t)t->errors));
	json_object_set_new(j, "timeouts", json_integer((json_int_t)t->timeouts));
	if (p->o->verify) {
		json_object_set_new(j, "missing", json_integer((json_int_t)t->missing));
		json_object_set_new(j, "duplicates", json_integer((json_int_t)t->dups));
	}
	return j;
}

static int print(struct probe *p, bool verified)
{
	json_t *r = json_object(), *list = json_array();
	uint64_t acked = 0, unacked = 0, errors = 0, timeouts = 0, missing = 0, dups = 0, first = 0, last_first = 0;
	struct hist *waits = hist_new();
	bool every = true;

	for (uint32_t i = 0; i < p->part_count; i++) {
		const struct part *t = &p->parts[i];

		json_array_append_new(list, part_json(t));
		hist_add(waits, t->wait_ns, 1);
		acked += t->acked;
		unacked += due(t, p->end_ns);
		errors += t->errors;
		timeouts += t->timeouts;
		missing += t->missing;
		dups += t->dups;
		every &= t->first_ack_ns != 0;
		if (t->first_ack_ns && (!first || t->first_ack_ns < first))
			first = t->first_ack_ns;
		if (t->first_ack_ns > last_first)
			last_first = t->first_ack_ns;
	}
	json_object_set_new(r, "seconds", hist_round((double)(p->end_ns - p->start_ns) / 1e9));
	json_object_set_new(r, "period_ms", json_integer(p->o->period_ms));
	json_object_set_new(r, "acked", json_integer((json_int_t)acked));
	json_object_set_new(r, "unacked", json_integer((json_int_t)unacked));
	json_object_set_new(r, "errors", json_integer((json_int_t)errors));
	if (p->first_error)
		json_object_set_new(r, "first_error", json_string(kw_error_name(p->first_error)));
	json_object_set_new(r, "timeouts", json_integer((json_int_t)timeouts));
	json_object_set_new(r, "wait_ms", hist_json(waits));
	json_object_set_new(r, "wait_max_ms", hist_round((double)waits->max / 1e6));
	json_object_set_new(r, "latency_ms", hist_json(p->lat));
	json_object_set_new(r, "first_ack_ms", hist_round(first ? (double)(first - p->o->start_ns) / 1e6 : -1));
	json_object_set_new(r, "all_acked_ms", hist_round(every ? (double)(last_first - p->o->start_ns) / 1e6 : -1));
	if (p->o->verify) {
		json_object_set_new(r, "verified", json_boolean(verified));
		json_object_set_new(r, "missing", json_integer((json_int_t)missing));
		json_object_set_new(r, "duplicates", json_integer((json_int_t)dups));
	}
	json_object_set_new(r, "broker", procstat_json(&p->o->procs, 0, (double)acked));
	json_object_set_new(r, "partitions", list);
	hist_free(waits);
	return load_print(p->o, r, acked && !unacked && !missing && verified ? 0 : 1);
}

static bool setup(struct probe *p)
{
	struct load_opts *o = p->o;
	uint64_t now;
	int64_t *latest;

	p->part_count = o->partitions && o->partitions < p->cluster.part_count ? o->partitions : p->cluster.part_count;
	p->parts = calloc(p->part_count, sizeof(*p->parts));
	latest = calloc(p->cluster.part_count, sizeof(*latest));
	if (!p->parts || !latest)
		abort();
	if (o->verify && !load_offsets(&p->cluster, -1, latest)) {
		fprintf(stderr, "klamm-load: the offsets of %s cannot be had; see klamm topic describe %s\n", o->topic, o->topic);
		free(latest);
		return false;
	}
	now = net_now();
	p->period_ns = o->period_ms * NET_NS_PER_MS;
	p->run_id = (uint64_t)load_wall_ms() << 22 ^ (uint64_t)getpid();
	p->start_ns = now;
	p->end_ns = o->seconds > 0 ? now + (uint64_t)(o->seconds * 1e9) : UINT64_MAX / 2;
	for (uint32_t i = 0; i < p->part_count; i++)
		p->parts[i] = (struct part){.p = p, .index = i, .broker = -1, .first_leader = p->cluster.parts[i].leader, .start_offset = latest[i],
		                            .t0 = now + p->period_ns * i / p->part_count};
	free(latest);
	return true;
}

int load_probe(struct load_opts *o)
{
	struct probe p = {.o = o, .net = net_new(), .lat = hist_new()};
	bool verified = true;
	int status = 3;
	unsigned request_timeout = o->timeout_ms;

	if (o->record_bytes < STAMP)
		o->record_bytes = STAMP;
	o->timeout_ms = o->seconds > 0 ? (unsigned)(o->seconds * 1000) : 60000; /* the broker may still be starting */
	if (load_connect(o, p.net, &p.cluster, true) && setup(&p)) {
		o->timeout_ms = request_timeout;
		drive(&p);
		for (uint32_t i = 0; i < p.part_count; i++)
			net_conn_free(p.parts[i].conn), p.parts[i].conn = NULL;
		load_stop = 0; /* a second signal ends the reading back too */
		if (o->verify)
			verified = read_back(&p);
		status = print(&p, verified);
	}
	for (uint32_t i = 0; i < p.part_count && p.parts; i++) {
		net_conn_free(p.parts[i].conn);
		free(p.parts[i].found);
	}
	cluster_fini(&p.cluster);
	net_free(p.net);
	hist_free(p.lat);
	kw_out_free(&p.batch);
	free(p.parts);
	return status;
}
