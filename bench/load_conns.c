/* load_conns.c: klamm-load conns: many silent connections, and what they cost the broker.
 *
 * Opens --connections connections to the brokers in turn (at most 500 on their way at a time), holds them for --seconds
 * without a byte, reports how many stood at the end and what the memory of --cpu-pids grew by.
 */
#include "bench/load.h"

#include <stdlib.h>
#include <sys/resource.h>

#define OPENING 500u

static double rss_all(const struct procstat *ps)
{
	double sum = 0;

	for (int i = 0; i < ps->pid_count; i++) {
		double rss = procstat_rss_of(ps->pids[i]);

		sum += rss > 0 ? rss : 0;
	}
	return sum;
}

static unsigned count(struct net_conn **conns, unsigned n, enum net_state state)
{
	unsigned found = 0;

	for (unsigned i = 0; i < n; i++)
		found += net_conn_state(conns[i]) == state;
	return found;
}

/* Opens them all; returns the seconds it took. */
static double open_all(struct load_opts *o, struct net *net, struct cluster *c, struct net_conn **conns)
{
	uint64_t start = net_now(), now = start, end = start + 60 * NET_NS_PER_S;
	unsigned opened = 0, settled = 0;

	while (settled < o->connections && now < end && !load_stop) {
		while (opened < o->connections && opened - settled < OPENING) {
			const struct cluster_addr *a = c->broker_count ? &c->brokers[opened % c->broker_count] : &c->boot[opened % c->boot_count];

			conns[opened++] = net_conn_new(net, a->host, a->port);
		}
		net_poll(net, now + 2 * NET_NS_PER_MS);
		while (settled < opened && net_conn_state(conns[settled]) != NET_CONNECTING)
			settled++;
		now = net_now();
	}
	for (; opened < o->connections; opened++)
		conns[opened] = net_conn_new(net, "", 0);
	return (double)(now - start) / 1e9;
}

int load_conns(struct load_opts *o)
{
	struct rlimit rl;
	struct net *net;
	struct cluster c;
	struct net_conn **conns;
	double before, after, took;
	unsigned first, last;
	uint64_t end;
	json_t *r;

	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	net = net_new();
	conns = calloc(o->connections, sizeof(*conns));
	if (!conns)
		abort();
	if (!load_connect(o, net, &c, false)) {
		free(conns);
		net_free(net);
		return 3;
	}
	before = rss_all(&o->procs);
	procstat_start(&o->procs, net_now());
	took = open_all(o, net, &c, conns);
	first = count(conns, o->connections, NET_OPEN);
	for (end = net_now() + (uint64_t)(o->seconds * 1e9); net_now() < end && !load_stop;) {
		net_poll(net, net_now() + 50 * NET_NS_PER_MS);
		procstat_tick(&o->procs, net_now());
	}
	last = count(conns, o->connections, NET_OPEN);
	procstat_stop(&o->procs);
	after = rss_all(&o->procs);
	r = json_object();
	json_object_set_new(r, "wanted", json_integer(o->connections));
	json_object_set_new(r, "opened", json_integer(first));
	json_object_set_new(r, "open_at_end", json_integer(last));
	json_object_set_new(r, "opening_s", hist_round(took));
	json_object_set_new(r, "held_s", hist_round(o->seconds));
	if (o->procs.pid_count) {
		json_object_set_new(r, "rss_before_mb", hist_round(before));
		json_object_set_new(r, "rss_after_mb", hist_round(after));
		json_object_set_new(r, "rss_growth_mb", hist_round(after - before));
	}
	json_object_set_new(r, "broker", procstat_json(&o->procs, 0, 0));
	for (unsigned i = 0; i < o->connections; i++)
		net_conn_free(conns[i]);
	free(conns);
	cluster_fini(&c);
	net_free(net);
	return load_print(o, r, first == o->connections && last == first ? 0 : 1);
}
