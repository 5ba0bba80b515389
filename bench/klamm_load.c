/* klamm_load.c: the load generator klamm-load: options, then one of the commands in load_*.c.
 *
 * Raw sockets, one thread, record batches encoded in advance, open loop (latency counts from the intended send time), one
 * JSON object on the last line. Speaks plain Kafka protocol, so the same commands run against Apache Kafka.
 */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"

volatile sig_atomic_t load_stop;

enum {
	OPT_BOOTSTRAP = 1000, OPT_TOPIC, OPT_CPU_PIDS, OPT_CONNECTIONS, OPT_INFLIGHT, OPT_ACKS, OPT_BATCH_BYTES, OPT_RECORD_BYTES,
	OPT_BATCH_RECORDS, OPT_RATE, OPT_SECONDS, OPT_WARMUP, OPT_KEYED, OPT_READERS, OPT_VERIFY, OPT_PARTITIONS, OPT_RF, OPT_PERIOD,
	OPT_TIMEOUT, OPT_FETCH_BYTES, OPT_KEY, OPT_AUTO_CREATE, OPT_DELETE,
};

static const struct argp_option options[] = {
	{"bootstrap", OPT_BOOTSTRAP, "HOST:PORT,...", 0, "brokers to ask first (127.0.0.1:9092)", 0},
	{"topic", OPT_TOPIC, "NAME", 0, "topic (klamm-load)", 0},
	{"cpu-pids", OPT_CPU_PIDS, "PID,...", 0, "broker processes whose CPU time and memory are measured", 0},
	{"seconds", OPT_SECONDS, "S", 0, "length of the measurement (10); probe: 0 = until a signal", 0},
	{"warmup", OPT_WARMUP, "S", 0, "produce, fetch, e2e: the same load before the measurement, not counted (0)", 0},
	{"connections", OPT_CONNECTIONS, "N", 0, "produce, e2e: connections to each leader (4); conns: connections in all (1000)", 1},
	{"inflight", OPT_INFLIGHT, "N", 0, "produce, e2e: requests on their way per connection (4)", 1},
	{"acks", OPT_ACKS, "0|1|all", 0, "acknowledgement asked for (produce, e2e: 1; probe: all)", 1},
	{"batch-bytes", OPT_BATCH_BYTES, "N", 0, "size of a record batch; with --keyed record values per request (16384)", 1},
	{"record-bytes", OPT_RECORD_BYTES, "N", 0, "size of a record's value (1024; probe: 64)", 1},
	{"batch-records", OPT_BATCH_RECORDS, "N", 0, "records in a batch, instead of --batch-bytes", 1},
	{"rate", OPT_RATE, "MB/s", 0, "open loop at this rate of batch bytes, all connections together (produce: closed loop; e2e: 1)", 1},
	{"keyed", OPT_KEYED, NULL, 0, "produce: spread the records of each request over many partitions", 1},
	{"readers", OPT_READERS, "N", 0, "fetch: connections, reader i on partition i modulo the partitions (8)", 2},
	{"fetch-bytes", OPT_FETCH_BYTES, "N", 0, "most bytes of one fetch answer (1048576)", 2},
	{"verify", OPT_VERIFY, NULL, 0, "fetch: check CRCs and offsets; probe: read back what was acknowledged", 2},
	{"partitions", OPT_PARTITIONS, "N", 0, "create: partitions (1); else: use only the first N (all)", 3},
	{"rf", OPT_RF, "R", 0, "create: replication factor (1)", 3},
	{"delete", OPT_DELETE, NULL, 0, "create: delete the topic again, timed too", 3},
	{"period-ms", OPT_PERIOD, "MS", 0, "probe: one record per partition each MS milliseconds (10)", 4},
	{"key", OPT_KEY, "TEXT", 0, "probe: key of its records (none)", 4},
	{"timeout-ms", OPT_TIMEOUT, "MS", 0, "probe: give up on an answer (1000); else: wait for metadata (10000)", 4},
	{"auto-create", OPT_AUTO_CREATE, NULL, 0, "ask for metadata so that a missing topic is created by the broker", 4},
	{0},
};

static const char doc[] =
	"Load for Klamm and for Apache Kafka, measured in the open: one JSON object on the last line.\v"
	"Commands:\n"
	"  produce   throughput, latency and broker CPU of producing\n"
	"  fetch     the same of reading warm data\n"
	"  e2e       time from intended send to receipt by a tailing consumer\n"
	"  probe     longest wait of clients while something happens to the cluster\n"
	"  conns     many silent connections\n"
	"  create    time until a new topic has leaders on every broker\n\n"
	"Exit status: 0 done, 1 refused or records missing, 2 usage, 3 unreachable.";

static double number(struct argp_state *state, const char *arg, double lo, double hi)
{
	char *end;
	double v = strtod(arg, &end);

	if (end == arg || *end || !(v >= lo && v <= hi))
		argp_error(state, "'%s' is not a number from %g to %.15g", arg, lo, hi);
	return v;
}

static int parse_acks(struct argp_state *state, const char *arg)
{
	if (!strcmp(arg, "all") || !strcmp(arg, "-1"))
		return -1;
	if (strcmp(arg, "0") && strcmp(arg, "1"))
		argp_error(state, "--acks %s: want 0, 1 or all", arg);
	return arg[0] - '0';
}

static error_t parse_sizes(int key, char *arg, struct argp_state *state)
{
	struct load_opts *o = state->input;

	switch (key) {
	case OPT_CONNECTIONS: o->connections = (unsigned)number(state, arg, 1, 200000); break;
	case OPT_INFLIGHT: o->inflight = (unsigned)number(state, arg, 1, 100000); break;
	case OPT_BATCH_BYTES: o->batch_bytes = (uint32_t)number(state, arg, 70, 100e6); break;
	case OPT_RECORD_BYTES: o->record_bytes = (uint32_t)number(state, arg, 1, 100e6); break;
	case OPT_BATCH_RECORDS: o->batch_records = (uint32_t)number(state, arg, 1, 1e6); break;
	case OPT_FETCH_BYTES: o->fetch_bytes = (uint32_t)number(state, arg, 1, 200e6); break;
	case OPT_READERS: o->readers = (unsigned)number(state, arg, 1, 10000); break;
	case OPT_PARTITIONS: o->partitions = (unsigned)number(state, arg, 1, 1e6); break;
	case OPT_RF: o->rf = (unsigned)number(state, arg, 1, 1000); break;
	case OPT_PERIOD: o->period_ms = (unsigned)number(state, arg, 1, 1e6); break;
	case OPT_TIMEOUT: o->timeout_ms = (unsigned)number(state, arg, 1, 1e7); break;
	case OPT_RATE: o->rate_mb = number(state, arg, 0, 1e6); break;
	case OPT_SECONDS: o->seconds = number(state, arg, 0, 1e7); break;
	case OPT_WARMUP: o->warmup_s = number(state, arg, 0, 1e6); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct load_opts *o = state->input;

	switch (key) {
	case OPT_BOOTSTRAP: o->bootstrap = arg; break;
	case OPT_TOPIC:
		if (!*arg || strlen(arg) > 249)
			argp_error(state, "--topic: a name of 1 to 249 characters");
		o->topic = arg;
		break;
	case OPT_CPU_PIDS:
		if (!procstat_parse(&o->procs, arg))
			argp_error(state, "--cpu-pids %s: want up to %d process ids, separated by commas", arg, PROCSTAT_PIDS);
		break;
	case OPT_ACKS: o->acks = parse_acks(state, arg); break;
	case OPT_KEY: o->key = arg; break;
	case OPT_KEYED: o->keyed = true; break;
	case OPT_VERIFY: o->verify = true; break;
	case OPT_AUTO_CREATE: o->auto_create = true; break;
	case OPT_DELETE: o->remove = true; break;
	case ARGP_KEY_ARG:
		if (o->command)
			argp_error(state, "one command at a time: '%s' is too much", arg);
		o->command = arg;
		break;
	case ARGP_KEY_NO_ARGS: argp_error(state, "which command? produce, fetch, e2e, probe, conns or create"); break;
	default: return parse_sizes(key, arg, state);
	}
	return 0;
}

static const struct command {
	const char *name;
	int (*run)(struct load_opts *o);
} commands[] = {
	{"produce", load_produce}, {"fetch", load_fetch}, {"e2e", load_e2e},
	{"probe", load_probe},     {"conns", load_conns}, {"create", load_create},
};

static void on_signal(int sig)
{
	load_stop = 1;
}

static void defaults(struct load_opts *o)
{
	bool probe = !strcmp(o->command, "probe");

	if (!o->connections)
		o->connections = strcmp(o->command, "conns") ? 4 : 1000;
	if (!o->record_bytes)
		o->record_bytes = probe ? 64 : 1024;
	if (!o->timeout_ms)
		o->timeout_ms = probe ? 1000 : 10000;
	if (o->acks == -2)
		o->acks = probe ? -1 : 1;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, parse, "COMMAND", doc, NULL, NULL, NULL};
	struct sigaction sa = {.sa_handler = on_signal};
	struct load_opts o = {.bootstrap = "127.0.0.1:9092", .topic = "klamm-load", .inflight = 4, .readers = 8, .rf = 1, .acks = -2,
	                      .batch_bytes = 16384, .fetch_bytes = 1 << 20, .seconds = 10, .period_ms = 10, .start_ns = net_now()};

	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	defaults(&o);
	if (o.acks == 0 && !strcmp(o.command, "probe")) {
		fprintf(stderr, "klamm-load: probe measures acknowledgements: --acks 1 or all\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, o.command))
			return commands[i].run(&o);
	fprintf(stderr, "klamm-load: no command '%s': produce, fetch, e2e, probe, conns or create\n", o.command);
	return 2;
}
