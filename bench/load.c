/* load.c: helpers that the commands share; see load.h */
#include "bench/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

bool load_connect(struct load_opts *o, struct net *net, struct cluster *c, bool need_topic)
{
	if (!cluster_init(c, net, o->bootstrap, need_topic ? o->topic : NULL)) {
		fprintf(stderr, "klamm-load: --bootstrap %s: want HOST:PORT[,HOST:PORT]\n", o->bootstrap);
		return false;
	}
	c->auto_create = o->auto_create;
	if (cluster_wait(c, need_topic, o->timeout_ms))
		return true;
	fprintf(stderr, "klamm-load: %s%s%s: %s\n", o->bootstrap, need_topic ? ", topic " : "", need_topic ? o->topic : "", cluster_why(c));
	return false;
}

int load_print(struct load_opts *o, json_t *result, int status)
{
	char *text;

	json_object_set_new(result, "command", json_string(o->command));
	json_object_set_new(result, "client_cpu_s", hist_round(load_own_cpu_s()));
	text = json_dumps(result, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(10));
	if (!text)
		abort();
	puts(text);
	fflush(stdout);
	free(text);
	json_decref(result);
	return status;
}

int64_t load_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

double load_own_cpu_s(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static bool offset_of(struct cluster *c, uint32_t part, int64_t timestamp, int64_t *ret)
{
	const struct cluster_addr *a = cluster_broker(c, c->parts[part].leader);
	struct kw_out out = {0};
	struct net_conn *conn;
	uint8_t *bytes = NULL;
	size_t len = 0;
	struct kw_in in;
	bool ok;

	if (!a)
		return false;
	conn = net_conn_new(c->net, a->host, a->port);
	kw_begin(&out, KW_LIST_OFFSETS);
	kw_i32(&out, -1);
	kw_i8(&out, 0);
	kw_i32(&out, 1);
	kw_str(&out, c->topic);
	kw_i32(&out, 1);
	kw_i32(&out, (int32_t)part);
	kw_i32(&out, -1);
	kw_i64(&out, timestamp);
	ok = net_call(conn, &out, 10000, &bytes, &len);
	kw_out_free(&out);
	net_conn_free(conn);
	if (!ok)
		return false;
	in = kw_in_make(slice_make(bytes, len));
	kw_get_i32(&in);
	kw_get_i32(&in);
	kw_get_str(&in);
	kw_get_i32(&in);
	kw_get_i32(&in);
	ok = kw_get_i16(&in) == 0;
	kw_get_i64(&in);
	*ret = kw_get_i64(&in);
	ok = ok && !in.bad;
	free(bytes);
	return ok;
}

bool load_offsets(struct cluster *c, int64_t timestamp, int64_t *ret)
{
	for (uint32_t i = 0; i < c->part_count; i++) {
		bool ok = false;

		for (unsigned tries = 0; tries < 50 && !ok && !load_stop; tries++) {
			ok = offset_of(c, i, timestamp, &ret[i]);
			if (!ok) {
				net_poll(c->net, net_now() + 50 * NET_NS_PER_MS);
				cluster_wait(c, true, 5000);
			}
		}
		if (!ok)
			return false;
	}
	return true;
}

void load_fetch_encode(struct kw_out *out, const char *topic, uint32_t part, int64_t offset, uint32_t max_bytes, uint32_t max_wait_ms)
{
	kw_begin(out, KW_FETCH);
	kw_i32(out, -1);
	kw_i32(out, (int32_t)max_wait_ms);
	kw_i32(out, 1);
	kw_i32(out, (int32_t)max_bytes);
	kw_i8(out, 0);
	kw_i32(out, 0);  /* no session */
	kw_i32(out, -1);
	kw_i32(out, 1);
	kw_str(out, topic);
	kw_i32(out, 1);
	kw_i32(out, (int32_t)part);
	kw_i32(out, -1);
	kw_i64(out, offset);
	kw_i64(out, -1);
	kw_i32(out, (int32_t)max_bytes);
	kw_i32(out, 0);
	kw_str(out, "");
}

bool load_fetch_parse(struct slice answer, struct load_fetched *ret)
{
	struct kw_in in = kw_in_make(answer);
	int32_t aborted;

	kw_get_i32(&in);
	ret->error = kw_get_i16(&in);
	kw_get_i32(&in);
	if (kw_get_i32(&in) != 1)
		return !in.bad && ret->error;
	kw_get_str(&in);
	kw_get_i32(&in);
	kw_get_i32(&in);
	ret->error = kw_get_i16(&in);
	ret->high_watermark = kw_get_i64(&in);
	kw_get_i64(&in);
	kw_get_i64(&in);
	aborted = kw_get_i32(&in);
	kw_skip(&in, aborted > 0 ? (size_t)aborted * 16 : 0);
	kw_get_i32(&in);
	ret->records = kw_get_bytes(&in);
	return !in.bad;
}

void load_produce_begin(struct kw_out *out, const char *topic, int acks, unsigned timeout_ms, uint32_t part, size_t batch_len)
{
	kw_begin(out, KW_PRODUCE);
	kw_str(out, NULL);
	kw_i16(out, (int16_t)acks);
	kw_i32(out, (int32_t)timeout_ms);
	kw_i32(out, 1);
	kw_str(out, topic);
	kw_i32(out, 1);
	kw_i32(out, (int32_t)part);
	kw_i32(out, (int32_t)batch_len);
}

bool load_produce_parse(struct slice answer, struct load_produced *ret)
{
	struct kw_in in = kw_in_make(answer);
	int32_t topics = kw_get_i32(&in);

	*ret = (struct load_produced){.base_offset = -1};
	for (int32_t t = 0; t < topics && !in.bad; t++) {
		int32_t parts;

		kw_get_str(&in);
		parts = kw_get_i32(&in);
		for (int32_t i = 0; i < parts && !in.bad; i++) {
			int16_t error;
			int64_t base;

			kw_get_i32(&in);
			error = kw_get_i16(&in);
			base = kw_get_i64(&in);
			kw_get_i64(&in);
			kw_get_i64(&in);
			if (!ret->partitions++)
				ret->base_offset = base;
			if (error) {
				ret->errors++;
				ret->first_error = ret->first_error ? ret->first_error : error;
			}
		}
	}
	return !in.bad;
}
