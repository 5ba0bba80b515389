/* cluster.c: see cluster.h */
#include "bench/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_NS (250 * NET_NS_PER_MS)
#define RETRY_NS (15 * NET_NS_PER_MS)

bool cluster_split(const char *text, size_t len, struct cluster_addr *ret)
{
	const char *colon = NULL, *host = text;
	size_t host_len;
	long port;
	char *end;

	for (size_t i = 0; i < len; i++)
		if (text[i] == ':')
			colon = text + i;
	if (!colon || colon == text || (size_t)(colon - text) + 1 >= len)
		return false;
	host_len = (size_t)(colon - text);
	if (host_len > 2 && host[0] == '[' && host[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	}
	port = strtol(colon + 1, &end, 10);
	if (end != text + len || port < 1 || port > 65535 || host_len >= sizeof(ret->host))
		return false;
	memcpy(ret->host, host, host_len);
	ret->host[host_len] = 0;
	ret->port = (int)port;
	ret->id = -1;
	return true;
}

bool cluster_init(struct cluster *c, struct net *net, const char *bootstrap, const char *topic)
{
	memset(c, 0, sizeof(*c));
	c->net = net;
	c->topic = topic;
	while (*bootstrap) {
		size_t len = strcspn(bootstrap, ",");

		if (c->boot_count == CLUSTER_ADDRS || !cluster_split(bootstrap, len, &c->boot[c->boot_count]))
			return false;
		c->boot_count++;
		bootstrap += len;
		bootstrap += *bootstrap == ',';
	}
	return c->boot_count > 0;
}

void cluster_fini(struct cluster *c)
{
	net_conn_free(c->conn);
	free(c->parts);
	c->conn = NULL;
	c->parts = NULL;
}

const struct cluster_addr *cluster_broker(const struct cluster *c, int32_t id)
{
	for (unsigned i = 0; i < c->broker_count; i++)
		if (c->brokers[i].id == id)
			return &c->brokers[i];
	return NULL;
}

void cluster_encode(const struct cluster *c, struct kw_out *out)
{
	kw_begin(out, KW_METADATA);
	kw_i32(out, c->topic ? 1 : 0);
	if (c->topic)
		kw_str(out, c->topic);
	kw_i8(out, c->auto_create);
}

static void read_part(struct cluster *c, struct kw_in *in)
{
	struct cluster_part p;
	int32_t idx;

	p.error = kw_get_i16(in);
	idx = kw_get_i32(in);
	p.leader = kw_get_i32(in);
	p.epoch = kw_get_i32(in);
	p.replicas = (uint32_t)kw_get_i32(in);
	kw_skip(in, (size_t)p.replicas * 4);
	p.isr = (uint32_t)kw_get_i32(in);
	kw_skip(in, (size_t)p.isr * 4);
	kw_skip(in, (size_t)(uint32_t)kw_get_i32(in) * 4);
	if (!in->bad && idx >= 0 && (uint32_t)idx < c->part_count && p.epoch >= c->parts[idx].epoch)
		c->parts[idx] = p;
}

static void read_topic(struct cluster *c, struct kw_in *in)
{
	int16_t error = kw_get_i16(in);
	struct slice name = kw_get_str(in);
	int32_t count;

	kw_get_i8(in);
	count = kw_get_i32(in);
	if (in->bad || count < 0 || (size_t)count > (size_t)(in->end - in->p))
		return;
	if (c->topic && slice_eq_str(name, c->topic)) {
		c->topic_error = error;
		if ((uint32_t)count > c->part_count) {
			c->parts = realloc(c->parts, (size_t)count * sizeof(*c->parts));
			if (!c->parts)
				abort();
			for (uint32_t i = c->part_count; i < (uint32_t)count; i++)
				c->parts[i] = (struct cluster_part){.leader = -1, .epoch = -1};
			c->part_count = (uint32_t)count;
		}
	}
	for (int32_t i = 0; i < count && !in->bad; i++)
		read_part(c, in);
}

bool cluster_apply(struct cluster *c, struct slice answer)
{
	struct kw_in in = kw_in_make(answer);
	int32_t count;
	unsigned n = 0;

	kw_get_i32(&in); /* throttle */
	count = kw_get_i32(&in);
	for (int32_t i = 0; i < count && !in.bad; i++) {
		struct cluster_addr a = {.id = kw_get_i32(&in)};
		struct slice host = kw_get_str(&in);

		a.port = kw_get_i32(&in);
		kw_get_str(&in); /* rack */
		if (in.bad || host.len >= sizeof(a.host) || n == CLUSTER_ADDRS)
			continue;
		memcpy(a.host, host.ptr, host.len);
		c->brokers[n++] = a;
	}
	if (n)
		c->broker_count = n; /* a broker without a view of its own yet answers none: keep what we had */
	kw_get_str(&in); /* cluster id */
	kw_get_i32(&in); /* controller */
	count = kw_get_i32(&in);
	for (int32_t i = 0; i < count && !in.bad; i++)
		read_topic(c, &in);
	if (in.bad)
		return false;
	c->generation++;
	c->last_answer_ns = net_now();
	return true;
}

static void on_metadata(void *ctx, uint64_t tag, struct slice answer)
{
	struct cluster *c = ctx;

	c->asked = false;
	if (answer.ptr && cluster_apply(c, answer))
		return;
	c->next_addr++;
	c->retry_ns = net_now() + RETRY_NS;
	if (answer.ptr)
		net_conn_close(c->conn);
}

void cluster_refresh(struct cluster *c)
{
	struct kw_out out = {0};

	if (c->asked || net_now() < c->retry_ns)
		return;
	if (!c->conn || net_conn_state(c->conn) == NET_CLOSED) {
		unsigned all = c->boot_count + c->broker_count, i = c->next_addr % all;
		const struct cluster_addr *a = i < c->broker_count ? &c->brokers[i] : &c->boot[i - c->broker_count];

		net_conn_free(c->conn);
		c->conn = net_conn_new(c->net, a->host, a->port);
	}
	cluster_encode(c, &out);
	c->asked = true;
	c->asked_ns = net_now();
	net_request(c->conn, &out, NULL, 0, false, on_metadata, c, 0);
	kw_out_free(&out);
}

void cluster_tick(struct cluster *c, uint64_t now)
{
	if (c->asked && now > c->asked_ns + ANSWER_NS)
		net_conn_close(c->conn); /* calls on_metadata, which moves on to the next address */
}

bool cluster_wait(struct cluster *c, bool need_leaders, unsigned timeout_ms)
{
	uint64_t now = net_now(), end = now + timeout_ms * NET_NS_PER_MS, gen = c->generation;

	for (; now < end; now = net_now()) {
		bool ok = c->generation > gen;

		if (ok && need_leaders) {
			ok = c->part_count > 0 && c->topic_error == 0;
			for (uint32_t i = 0; i < c->part_count && ok; i++)
				ok = c->parts[i].leader >= 0 && cluster_broker(c, c->parts[i].leader);
		}
		if (ok)
			return true;
		if (!c->asked && (c->generation == gen || now > c->last_answer_ns + 20 * NET_NS_PER_MS))
			cluster_refresh(c);
		cluster_tick(c, now);
		net_poll(c->net, now + 5 * NET_NS_PER_MS);
	}
	return false;
}

const char *cluster_why(const struct cluster *c)
{
	if (!c->generation)
		return "no broker answered; is the bootstrap address right and the broker up?";
	if (c->topic_error == 3 || (c->topic && !c->part_count))
		return "no such topic; create it first (klamm topic create, or klamm-load create)";
	if (c->topic_error)
		return kw_error_name(c->topic_error);
	return "some partition has no leader; see klamm topic describe";
}
