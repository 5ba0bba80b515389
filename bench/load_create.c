/* load_create.c: klamm-load create: how long until a new topic can be used everywhere.
 *
 * Sends CreateTopics, then asks every broker for its metadata until each of them shows a leader for all partitions.
 * --delete removes the topic again and waits until no broker shows it.
 */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t patience_ns = 300 * NET_NS_PER_S;

/* Sends the request to one broker after the other until one is not refusing as "not the controller". Returns the error code, -1 = no answer. */
static int admin(struct load_opts *o, struct cluster *c, bool remove_it)
{
	int result = -1;

	for (unsigned i = 0; i < c->broker_count && (result < 0 || result == 41); i++) {
		struct net_conn *conn = net_conn_new(c->net, c->brokers[i].host, c->brokers[i].port);
		struct kw_out out = {0};
		uint8_t *bytes = NULL;
		size_t len;

		kw_begin(&out, remove_it ? KW_DELETE_TOPICS : KW_CREATE_TOPICS);
		kw_i32(&out, 1);
		kw_str(&out, o->topic);
		if (!remove_it) {
			kw_i32(&out, (int32_t)o->partitions);
			kw_i16(&out, (int16_t)o->rf);
			kw_i32(&out, 0);
			kw_i32(&out, 0);
		}
		kw_i32(&out, 120000);
		if (!remove_it)
			kw_i8(&out, 0);
		if (net_call(conn, &out, 125000, &bytes, &len)) {
			struct kw_in in = kw_in_make(slice_make(bytes, len));

			kw_get_i32(&in); /* throttle */
			kw_get_i32(&in);
			kw_get_str(&in);
			result = kw_get_i16(&in);
			if (in.bad)
				result = -1;
			free(bytes);
		}
		kw_out_free(&out);
		net_conn_free(conn);
	}
	return result;
}

/* True when this broker shows the topic with all leaders (or, gone, not at all). */
static bool shows(struct load_opts *o, struct cluster *c, struct net_conn *conn, bool gone)
{
	struct cluster view = {.topic = o->topic};
	struct kw_out out = {0};
	uint8_t *bytes = NULL;
	size_t len;
	bool ok = false;

	cluster_encode(&view, &out);
	if (net_call(conn, &out, 30000, &bytes, &len)) {
		ok = cluster_apply(&view, slice_make(bytes, len));
		if (gone)
			ok = ok && view.topic_error == 3;
		else
			ok = ok && view.part_count == o->partitions && !view.topic_error;
		for (uint32_t i = 0; i < view.part_count && ok && !gone; i++)
			ok = view.parts[i].leader >= 0 && view.parts[i].isr == view.parts[i].replicas;
		free(bytes);
	}
	kw_out_free(&out);
	free(view.parts);
	return ok;
}

static bool wait_everywhere(struct load_opts *o, struct cluster *c, bool gone, uint64_t since)
{
	for (unsigned i = 0; i < c->broker_count; i++) {
		struct net_conn *conn = net_conn_new(c->net, c->brokers[i].host, c->brokers[i].port);
		bool ok;

		while (!(ok = shows(o, c, conn, gone)) && net_now() < since + patience_ns && !load_stop) {
			net_poll(c->net, net_now() + 5 * NET_NS_PER_MS);
			net_conn_open(conn);
		}
		net_conn_free(conn);
		if (!ok)
			return false;
	}
	return true;
}

static int step(struct load_opts *o, struct cluster *c, bool gone, json_t *r)
{
	uint64_t start = net_now();
	int error = admin(o, c, gone);
	double answered = (double)(net_now() - start) / 1e9;
	bool ok = error == 0 && wait_everywhere(o, c, gone, start);

	json_object_set_new(r, gone ? "delete_answer_s" : "answer_s", hist_round(answered));
	json_object_set_new(r, gone ? "gone_everywhere_s" : "leaders_everywhere_s", hist_round(ok ? (double)(net_now() - start) / 1e9 : -1));
	if (error)
		json_object_set_new(r, "error", json_string(error < 0 ? "no answer" : kw_error_name((int16_t)error)));
	return ok ? 0 : error < 0 ? 3 : 1;
}

int load_create(struct load_opts *o)
{
	struct net *net = net_new();
	struct cluster c;
	json_t *r;
	int status = 3;

	if (!o->partitions)
		o->partitions = 1;
	if (load_connect(o, net, &c, false)) {
		r = json_object();
		json_object_set_new(r, "topic", json_string(o->topic));
		json_object_set_new(r, "partitions", json_integer(o->partitions));
		json_object_set_new(r, "replication_factor", json_integer(o->rf));
		json_object_set_new(r, "brokers", json_integer(c.broker_count));
		procstat_start(&o->procs, net_now());
		status = step(o, &c, false, r);
		if (!status && o->remove)
			status = step(o, &c, true, r);
		procstat_stop(&o->procs);
		json_object_set_new(r, "broker", procstat_json(&o->procs, 0, 0));
		status = load_print(o, r, status);
	}
	cluster_fini(&c);
	net_free(net);
	return status;
}
