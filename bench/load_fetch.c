/* load_fetch.c: klamm-load fetch: reads warm data as fast as it comes.
 *
 * --readers connections, reader i on partition i modulo the partitions, from the earliest offset; at the end of the
 * partition it starts again. Answers are discarded after their batch headers were looked at (the next offset stands
 * there); --verify checks every CRC and that offsets have no hole.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>

struct reader {
	struct fetcher *f;
	struct net_conn *conn;
	int32_t broker;
	uint32_t part;
	int64_t offset;
	uint64_t sent_ns;
	bool waiting;
	uint64_t rounds;
};

struct fetcher {
	struct load_opts *o;
	struct net *net;
	struct cluster cluster;
	int64_t *earliest;
	struct reader *readers;
	struct hist *lat;
	uint64_t fetches, bytes, records, errors, bad_crc, holes, empty;
	int16_t first_error;
};

static void take_records(struct reader *r, struct slice records)
{
	struct fetcher *f = r->f;
	struct kw_batch_view b;

	while (kw_next_batch(&records, &b)) {
		if (b.last_offset < r->offset)
			continue;
		if (f->o->verify) {
			f->bad_crc += !kw_batch_crc_ok(&b);
			f->holes += b.base_offset > r->offset;
		}
		f->bytes += b.bytes.len;
		f->records += (uint64_t)(uint32_t)b.count;
		r->offset = b.last_offset + 1;
	}
}

static void on_answer(void *ctx, uint64_t tag, struct slice answer)
{
	struct reader *r = ctx;
	struct fetcher *f = r->f;
	struct load_fetched got = {0};
	int64_t before = r->offset;

	r->waiting = false;
	if (!answer.ptr || !load_fetch_parse(answer, &got) || got.error) {
		f->errors++;
		f->first_error = f->first_error ? f->first_error : got.error;
		if (got.error == 1)
			r->offset = f->earliest[r->part];
		cluster_refresh(&f->cluster);
		return;
	}
	f->fetches++;
	hist_add(f->lat, net_now() - r->sent_ns, 1);
	take_records(r, got.records);
	f->empty += r->offset == before;
	if (r->offset >= got.high_watermark) {
		r->offset = f->earliest[r->part];
		r->rounds++;
	}
}

static void reader_send(struct reader *r, uint64_t now)
{
	struct fetcher *f = r->f;
	int32_t leader = f->cluster.parts[r->part].leader;
	const struct cluster_addr *a = cluster_broker(&f->cluster, leader);
	struct kw_out out = {0};

	if (!a)
		return;
	if (!r->conn || r->broker != leader || net_conn_state(r->conn) == NET_CLOSED) {
		net_conn_free(r->conn);
		r->conn = net_conn_new(f->net, a->host, a->port);
		r->broker = leader;
	}
	load_fetch_encode(&out, f->o->topic, r->part, r->offset, f->o->fetch_bytes, 100);
	r->waiting = true;
	r->sent_ns = now;
	net_request(r->conn, &out, NULL, 0, false, on_answer, r, 0);
	kw_out_free(&out);
}

static void turn(struct fetcher *f, uint64_t now, uint64_t end)
{
	bool idle = false;

	for (unsigned i = 0; i < f->o->readers; i++) {
		struct reader *r = &f->readers[i];

		if (!r->waiting && !(r->conn && net_conn_state(r->conn) == NET_CLOSED && now < r->sent_ns + 20 * NET_NS_PER_MS))
			reader_send(r, now);
		idle |= !r->waiting;
	}
	cluster_tick(&f->cluster, now);
	net_poll(f->net, idle && now + 5 * NET_NS_PER_MS < end ? now + 5 * NET_NS_PER_MS : now + 50 * NET_NS_PER_MS);
}

static int run(struct fetcher *f)
{
	struct load_opts *o = f->o;
	uint64_t now = net_now(), start = now + (uint64_t)(o->warmup_s * 1e9), end = start + (uint64_t)(o->seconds * 1e9);
	bool measuring = false;
	double seconds;
	json_t *r;

	for (; now < end && !load_stop; now = net_now()) {
		if (!measuring && now >= start) {
			measuring = true;
			start = now;
			hist_reset(f->lat);
			f->fetches = f->bytes = f->records = f->errors = f->empty = 0;
			procstat_start(&o->procs, now);
		}
		turn(f, now, end);
		if (measuring)
			procstat_tick(&o->procs, now);
	}
	procstat_stop(&o->procs);
	seconds = (double)(net_now() - start) / 1e9;
	r = json_object();
	json_object_set_new(r, "seconds", hist_round(seconds));
	json_object_set_new(r, "fetches", json_integer((json_int_t)f->fetches));
	json_object_set_new(r, "records", json_integer((json_int_t)f->records));
	json_object_set_new(r, "bytes", json_integer((json_int_t)f->bytes));
	json_object_set_new(r, "mb_per_s", hist_round((double)f->bytes / 1e6 / seconds));
	json_object_set_new(r, "latency_ms", hist_json(f->lat));
	json_object_set_new(r, "empty", json_integer((json_int_t)f->empty));
	json_object_set_new(r, "errors", json_integer((json_int_t)f->errors));
	if (f->first_error)
		json_object_set_new(r, "first_error", json_string(kw_error_name(f->first_error)));
	if (o->verify) {
		json_object_set_new(r, "bad_crc", json_integer((json_int_t)f->bad_crc));
		json_object_set_new(r, "holes", json_integer((json_int_t)f->holes));
	}
	json_object_set_new(r, "broker", procstat_json(&o->procs, (double)f->bytes / 1e9, (double)f->fetches));
	return load_print(o, r, f->fetches && !f->bad_crc && !f->holes ? 0 : 1);
}

int load_fetch(struct load_opts *o)
{
	struct fetcher f = {.o = o, .net = net_new(), .lat = hist_new()};
	int status = 3;

	f.readers = calloc(o->readers, sizeof(*f.readers));
	if (!f.readers)
		abort();
	if (load_connect(o, f.net, &f.cluster, true)) {
		f.earliest = calloc(f.cluster.part_count, sizeof(*f.earliest));
		if (!f.earliest)
			abort();
		if (load_offsets(&f.cluster, -2, f.earliest)) {
			for (unsigned i = 0; i < o->readers; i++) {
				uint32_t limit = o->partitions && o->partitions < f.cluster.part_count ? o->partitions : f.cluster.part_count;

				f.readers[i] = (struct reader){.f = &f, .part = i % limit};
				f.readers[i].offset = f.earliest[f.readers[i].part];
			}
			status = run(&f);
		} else {
			fprintf(stderr, "klamm-load: the offsets of %s cannot be had; see klamm topic describe %s\n", o->topic, o->topic);
		}
	}
	for (unsigned i = 0; i < o->readers; i++)
		net_conn_free(f.readers[i].conn);
	cluster_fini(&f.cluster);
	net_free(f.net);
	hist_free(f.lat);
	free(f.readers);
	free(f.earliest);
	return status;
}
