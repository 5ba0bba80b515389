/* load_produce.c: klamm-load produce: how many bytes, at what latency, for how much CPU of the broker.
 *
 * Each leader gets --connections connections; the partitions that it leads are dealt out to them and every connection
 * sends to its partitions in turn, --inflight requests at a time. Batches are encoded once. With --rate the load is open
 * loop: each connection has a timetable and latency counts from the time in it, also while the connection has to wait.
 * Without, it is closed loop: latency counts from the send.
 * --keyed: one request carries records for many partitions, as a producer with keys and little linger sends them.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS 4096u

struct body { /* a request encoded in advance */
	struct kw_out head;
	uint8_t *own; /* payload of this body alone */
	const uint8_t *payload;
	size_t payload_len;
	uint64_t batch_bytes, value_bytes, records;
};

struct sent {
	uint64_t intended_ns;
	const struct body *body;
};

struct lane { /* one connection */
	struct producer *p;
	struct net_conn *conn;
	int32_t broker;
	uint32_t *parts, part_count;
	struct body *bodies;
	uint32_t body_count, next_body;
	struct sent *ring;
	unsigned first, inflight;
	uint64_t due_ns;
};

struct producer {
	struct load_opts *o;
	struct net *net;
	struct cluster cluster;
	struct kw_out batch; /* shared by all bodies unless --keyed */
	uint32_t batch_records;
	struct lane *lanes;
	unsigned lane_count;
	uint64_t interval_ns; /* of one lane */
	bool reroute;
	uint64_t routed_ns, routed_generation;
	struct hist *lat;
	uint64_t requests, records, bytes, value_bytes, errors, lost, reroutes;
	int16_t first_error;
	uint64_t measure_ns, window_ns;
	uint64_t window_bytes;
	double window_mb[WINDOWS];
	uint32_t window_count;
};

static void body_plain(struct producer *p, struct body *b, uint32_t part)
{
	load_produce_begin(&b->head, p->o->topic, p->o->acks, 30000, part, p->batch.len);
	b->payload = p->batch.data;
	b->payload_len = p->batch.len;
	b->batch_bytes = p->batch.len;
	b->records = p->batch_records;
	b->value_bytes = (uint64_t)p->batch_records * p->o->record_bytes;
}

/* One request over `count` partitions from `first` on, `records` records to each. */
static void body_keyed(struct producer *p, struct lane *l, struct body *b, uint32_t first, uint32_t count, uint32_t records)
{
	struct kw_out rest = {0};

	kw_begin(&b->head, KW_PRODUCE);
	kw_str(&b->head, NULL);
	kw_i16(&b->head, (int16_t)p->o->acks);
	kw_i32(&b->head, 30000);
	kw_i32(&b->head, 1);
	kw_str(&b->head, p->o->topic);
	kw_i32(&b->head, (int32_t)count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t part = l->parts[(first + i) % l->part_count];
		struct kw_batch_spec spec = {.records = records, .value_bytes = p->o->record_bytes, .timestamp_ms = load_wall_ms(), .seed = part};
		size_t at, len;

		kw_i32(&rest, (int32_t)part);
		at = rest.len;
		kw_i32(&rest, 0);
		len = kw_batch(&rest, &spec);
		be32_put(rest.data + at, (uint32_t)len);
		b->batch_bytes += len;
	}
	b->own = rest.data;
	b->payload = rest.data;
	b->payload_len = rest.len;
	b->records = (uint64_t)records * count;
	b->value_bytes = b->records * p->o->record_bytes;
}

static void lane_bodies(struct producer *p, struct lane *l)
{
	uint32_t all = p->o->batch_bytes / p->o->record_bytes, wide;

	if (!p->o->keyed) {
		l->body_count = l->part_count;
		l->bodies = calloc(l->body_count, sizeof(*l->bodies));
		for (uint32_t i = 0; i < l->part_count && l->bodies; i++)
			body_plain(p, &l->bodies[i], l->parts[i]);
	} else {
		all = all ? all : 1;
		wide = l->part_count < all ? l->part_count : all;
		l->body_count = (l->part_count + wide - 1) / wide;
		l->bodies = calloc(l->body_count, sizeof(*l->bodies));
		for (uint32_t i = 0; i < l->body_count && l->bodies; i++)
			body_keyed(p, l, &l->bodies[i], i * wide, wide, all / wide);
	}
	if (!l->bodies)
		abort();
}

static void lanes_free(struct producer *p)
{
	for (unsigned i = 0; i < p->lane_count; i++) {
		struct lane *l = &p->lanes[i];

		p->lost += l->inflight;
		net_conn_free(l->conn);
		for (uint32_t k = 0; k < l->body_count; k++) {
			kw_out_free(&l->bodies[k].head);
			free(l->bodies[k].own);
		}
		free(l->bodies);
		free(l->parts);
		free(l->ring);
	}
	free(p->lanes);
	p->lanes = NULL;
	p->lane_count = 0;
}

static struct lane *lane_new(struct producer *p, const struct cluster_addr *a)
{
	struct lane *l = &p->lanes[p->lane_count++];

	*l = (struct lane){.p = p, .broker = a->id, .conn = net_conn_new(p->net, a->host, a->port)};
	l->parts = calloc(p->cluster.part_count, sizeof(*l->parts));
	l->ring = calloc(p->o->inflight, sizeof(*l->ring));
	if (!l->parts || !l->ring)
		abort();
	return l;
}

/* Deals the partitions out to fresh connections. */
static void route(struct producer *p, uint64_t now)
{
	unsigned want = p->o->connections;
	uint32_t limit = p->o->partitions && p->o->partitions < p->cluster.part_count ? p->o->partitions : p->cluster.part_count;

	lanes_free(p);
	p->lanes = calloc((size_t)want * (p->cluster.broker_count + 1), sizeof(*p->lanes));
	if (!p->lanes)
		abort();
	for (unsigned b = 0; b < p->cluster.broker_count; b++) {
		const struct cluster_addr *a = &p->cluster.brokers[b];
		unsigned first = p->lane_count, dealt = 0, led = 0;

		for (uint32_t i = 0; i < limit; i++)
			led += p->cluster.parts[i].leader == a->id;
		if (!led)
			continue;
		for (unsigned k = 0; k < want; k++)
			lane_new(p, a);
		for (unsigned k = 0; k < (led > want ? led : want); k++) { /* fewer partitions than connections: share them */
			struct lane *l = &p->lanes[first + k % want];
			unsigned nth = 0;

			for (uint32_t i = 0; i < limit; i++)
				if (p->cluster.parts[i].leader == a->id && nth++ == dealt % led) {
					l->parts[l->part_count++] = i;
					break;
				}
			dealt++;
		}
	}
	for (unsigned i = 0; i < p->lane_count; i++)
		lane_bodies(p, &p->lanes[i]);
	if (p->o->rate_mb > 0 && p->lane_count)
		p->interval_ns = (uint64_t)((double)p->lanes[0].bodies[0].batch_bytes * p->lane_count * 1e3 / p->o->rate_mb);
	for (unsigned i = 0; i < p->lane_count; i++)
		p->lanes[i].due_ns = now + p->interval_ns * i / p->lane_count;
	p->reroute = false;
	p->routed_ns = now;
	p->routed_generation = p->cluster.generation;
}

static void count(struct producer *p, const struct body *b, uint64_t lat_ns)
{
	hist_add(p->lat, lat_ns, 1);
	p->requests++;
	p->records += b->records;
	p->bytes += b->batch_bytes;
	p->value_bytes += b->value_bytes;
	p->window_bytes += b->batch_bytes;
}

static void on_answer(void *ctx, uint64_t tag, struct slice answer)
{
	struct lane *l = ctx;
	struct producer *p = l->p;
	struct sent s = l->ring[l->first];
	struct load_produced r = {0};

	l->first = (l->first + 1) % p->o->inflight;
	l->inflight--;
	if (answer.ptr && load_produce_parse(answer, &r) && !r.errors) {
		count(p, s.body, net_now() - s.intended_ns);
		return;
	}
	p->errors++;
	if (!answer.ptr)
		p->lost++;
	p->first_error = p->first_error ? p->first_error : r.first_error;
	p->reroute = true;
}

static void lane_send(struct lane *l, uint64_t intended)
{
	struct producer *p = l->p;
	struct body *b = &l->bodies[l->next_body];

	l->next_body = (l->next_body + 1) % l->body_count;
	if (p->o->acks == 0) {
		net_request(l->conn, &b->head, b->payload, b->payload_len, false, NULL, NULL, 0);
		count(p, b, net_now() - intended);
		return;
	}
	l->ring[(l->first + l->inflight++) % p->o->inflight] = (struct sent){intended, b};
	net_request(l->conn, &b->head, b->payload, b->payload_len, false, on_answer, l, 0);
}

/* Sends whatever is due; returns when to look again. */
static uint64_t pump(struct producer *p, uint64_t now, uint64_t wake)
{
	for (unsigned i = 0; i < p->lane_count; i++) {
		struct lane *l = &p->lanes[i];
		unsigned burst = 0;

		if (net_conn_state(l->conn) == NET_CLOSED) {
			p->reroute = true;
			continue;
		}
		while (l->inflight < p->o->inflight && (p->o->acks != 0 || (!net_conn_unsent(l->conn) && burst++ < 64))) {
			if (p->interval_ns && l->due_ns > now)
				break;
			lane_send(l, p->interval_ns ? l->due_ns : now);
			l->due_ns += p->interval_ns;
		}
		if (p->interval_ns && l->inflight < p->o->inflight && l->due_ns < wake)
			wake = l->due_ns;
		if (!p->interval_ns && p->o->acks == 0 && !net_conn_unsent(l->conn))
			wake = now;
	}
	return wake;
}

static void follow_leaders(struct producer *p, uint64_t now)
{
	cluster_tick(&p->cluster, now);
	if (!p->reroute || now < p->routed_ns + 50 * NET_NS_PER_MS)
		return;
	if (p->cluster.generation == p->routed_generation) {
		cluster_refresh(&p->cluster);
		return;
	}
	p->reroutes++;
	route(p, now);
}

static void window(struct producer *p, uint64_t now)
{
	if (now < p->window_ns + NET_NS_PER_S || !p->window_ns)
		return;
	if (p->window_count < WINDOWS)
		p->window_mb[p->window_count++] = (double)p->window_bytes / 1e6 / ((double)(now - p->window_ns) / 1e9);
	p->window_bytes = 0;
	p->window_ns = now;
}

static void measure_from(struct producer *p, uint64_t now)
{
	hist_reset(p->lat);
	p->requests = p->records = p->bytes = p->value_bytes = p->errors = p->lost = p->reroutes = p->window_bytes = 0;
	p->measure_ns = p->window_ns = now;
	procstat_start(&p->o->procs, now);
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static json_t *result(struct producer *p, double seconds)
{
	json_t *r = json_object(), *w = json_object();
	uint32_t n = p->window_count;

	qsort(p->window_mb, n, sizeof(p->window_mb[0]), cmp_double);
	json_object_set_new(r, "seconds", hist_round(seconds));
	json_object_set_new(r, "requests", json_integer((json_int_t)p->requests));
	json_object_set_new(r, "records", json_integer((json_int_t)p->records));
	json_object_set_new(r, "bytes", json_integer((json_int_t)p->bytes));
	json_object_set_new(r, "requests_per_s", hist_round((double)p->requests / seconds));
	json_object_set_new(r, "records_per_s", hist_round((double)p->records / seconds));
	json_object_set_new(r, "mb_per_s", hist_round((double)p->bytes / 1e6 / seconds));
	json_object_set_new(r, "value_mb_per_s", hist_round((double)p->value_bytes / 1e6 / seconds));
	json_object_set_new(w, "min", hist_round(n ? p->window_mb[0] : 0));
	json_object_set_new(w, "median", hist_round(n ? p->window_mb[n / 2] : 0));
	json_object_set_new(w, "max", hist_round(n ? p->window_mb[n - 1] : 0));
	json_object_set_new(r, "mb_per_s_by_second", w);
	json_object_set_new(r, "latency_ms", hist_json(p->lat));
	json_object_set_new(r, "errors", json_integer((json_int_t)p->errors));
	json_object_set_new(r, "unanswered", json_integer((json_int_t)p->lost));
	if (p->first_error)
		json_object_set_new(r, "first_error", json_string(kw_error_name(p->first_error)));
	json_object_set_new(r, "reroutes", json_integer((json_int_t)p->reroutes));
	json_object_set_new(r, "connections", json_integer(p->lane_count));
	json_object_set_new(r, "broker", procstat_json(&p->o->procs, (double)p->bytes / 1e9, (double)p->requests));
	return r;
}

static int run(struct producer *p)
{
	struct load_opts *o = p->o;
	uint64_t now = net_now(), start = now, end = now + (uint64_t)((o->warmup_s + o->seconds) * 1e9), last;
	bool measuring = false;
	int status;

	route(p, now);
	while (now < end && !load_stop) {
		uint64_t wake = now + 5 * NET_NS_PER_MS;

		if (!measuring && now >= start + (uint64_t)(o->warmup_s * 1e9)) {
			measure_from(p, now);
			measuring = true;
		}
		wake = pump(p, now, wake);
		net_poll(p->net, wake < end ? wake : end);
		now = net_now();
		follow_leaders(p, now);
		window(p, now);
		if (measuring)
			procstat_tick(&o->procs, now);
	}
	procstat_stop(&o->procs);
	last = net_now();
	if (!measuring)
		p->measure_ns = start;
	status = p->requests ? 0 : 1;
	return load_print(o, result(p, (double)(last - p->measure_ns) / 1e9), status);
}

int load_produce(struct load_opts *o)
{
	struct producer p = {.o = o, .net = net_new(), .lat = hist_new()};
	struct kw_batch_spec spec = {.value_bytes = o->record_bytes, .timestamp_ms = load_wall_ms(), .seed = 1};
	int status = 3;

	spec.records = p.batch_records = o->batch_records ? o->batch_records : kw_batch_fit(o->batch_bytes, o->record_bytes);
	kw_batch(&p.batch, &spec);
	if (load_connect(o, p.net, &p.cluster, true))
		status = run(&p);
	lanes_free(&p);
	cluster_fini(&p.cluster);
	net_free(p.net);
	hist_free(p.lat);
	kw_out_free(&p.batch);
	return status;
}
