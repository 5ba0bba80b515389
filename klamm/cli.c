/* cli.c: see cli.h */
#include "klamm/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "klamm/cluster.h"

enum { OPT_BOOTSTRAP = 2000, OPT_JSON, OPT_TIMEOUT };

static const struct argp_option global_options[] = {
	{"bootstrap-server", OPT_BOOTSTRAP, "HOST:PORT,...", 0, "brokers to ask first (KLAMM_BOOTSTRAP, else localhost:9092)", -2},
	{"json", OPT_JSON, NULL, 0, "print JSON", -2},
	{"connect-timeout-ms", OPT_TIMEOUT, "MS", 0, "give up when no broker answers (3000)", -2},
	{0},
};

long long cli_number(struct argp_state *state, const char *arg, long long lo, long long hi)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(arg, &end, 10);
	if (end == arg || *end || errno || v < lo || v > hi)
		argp_error(state, "'%s' is not a whole number from %lld to %lld", arg, lo, hi);
	return v;
}

void cli_key_value(struct argp_state *state, const char *option, const char *arg)
{
	if (!strchr(arg, '=') || *arg == '=')
		argp_error(state, "%s %s: want KEY=VALUE", option, arg);
}

static error_t parse_global(int key, char *arg, struct argp_state *state)
{
	struct cli *cli = state->input;

	switch (key) {
	case OPT_BOOTSTRAP:
		if (!*arg)
			argp_error(state, "--bootstrap-server: want HOST:PORT[,HOST:PORT]");
		cli->bootstrap = arg;
		break;
	case OPT_JSON: cli->json = true; break;
	case OPT_TIMEOUT: cli->timeout_ms = (unsigned)cli_number(state, arg, 100, 600000); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const struct argp cli_globals = {.options = global_options, .parser = parse_global};

/* --- errors -------------------------------------------------------------------------------------------------------- */

void cli_json(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12));

	if (!text)
		abort();
	puts(text);
	free(text);
	json_decref(o);
}

int cli_fail(struct cli *cli, enum cli_exit code, const char *next, const char *fmt, ...)
{
	char text[1024];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++) /* names come from others */
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	fflush(stdout);
	len = strlen(text);
	fprintf(stderr, "klamm: %s%s%s%s\n", text, !next || (len && strchr(".!?", text[len - 1])) ? "" : ".", next ? " " : "", next ? next : "");
	if (cli->json)
		cli_json(json_pack("{s:{s:s,s:s?,s:i}}", "error", "message", text, "next", next, "exit", (int)code));
	return (int)code;
}

/* --- usage --------------------------------------------------------------------------------------------------------- */

/* argp and getopt print and end the process by themselves. While they parse, standard error is a file in memory; when they end the process,
 * its first line is told like every other error. */
static struct {
	bool parsing;
	int real, caught; /* standard error; what stands in for it */
	const char *command;
	struct cli cli;   /* for cli_fail: only json counts */
} usage;

static void release(void)
{
	usage.parsing = false;
	dup2(usage.real, STDERR_FILENO);
	close(usage.real);
	close(usage.caught);
}

static void tell(int status, void *arg)
{
	char text[1000], next[200], *line = text;
	ssize_t n;

	if (!usage.parsing)
		return;
	n = pread(usage.caught, text, sizeof(text) - 1, 0);
	release();
	if (status == CLI_DONE || n <= 0)
		return;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	if (!strncmp(line, "klamm", 5) && strstr(line, ": ")) /* "klamm topic create: ...": our name comes anyway */
		line = strstr(line, ": ") + 2;
	snprintf(next, sizeof(next), "%s --help shows the options.", usage.command);
	(void)cli_fail(&usage.cli, CLI_USAGE, next, "%s", line);
	fflush(stdout);
}

static void catch(const char *command, int argc, char **argv)
{
	static bool registered;

	usage.command = command;
	for (int i = 0; i < argc; i++)
		usage.cli.json |= !strcmp(argv[i], "--json");
	usage.caught = memfd_create("usage", MFD_CLOEXEC);
	usage.real = dup(STDERR_FILENO);
	if (usage.caught < 0 || usage.real < 0 || (!registered && on_exit(tell, NULL)))
		return; /* then argp speaks for itself */
	registered = true;
	usage.parsing = true;
	dup2(usage.caught, STDERR_FILENO);
}

void cli_parse_top(const struct argp *argp, int argc, char **argv, void *input)
{
	argp_err_exit_status = CLI_USAGE;
	catch("klamm", argc, argv);
	argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, input);
	if (usage.parsing)
		release();
}

void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
	char **args = calloc((size_t)argc + 2, sizeof(*args));

	if (!args)
		abort();
	args[0] = strdup(name);
	for (int i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	catch(name, argc, argv);
	argp_parse(argp, argc + 1, args, 0, NULL, input);
	if (usage.parsing)
		release();
	free(args[0]);
	free(args);
}

static int fail_unreachable(struct cli *cli)
{
	const char *why = cli->reason[0] ? cli->reason : "no answer";

	return cli_fail(cli, CLI_UNREACHABLE, "Is the address right and a broker up? Give another one with --bootstrap-server or KLAMM_BOOTSTRAP.",
	                "no broker reachable at %s: %s", cli->bootstrap, why);
}

static const char name_rule[] = "A name has 1 to 249 letters, digits, '.', '_' or '-', and may not differ from another in '.' and '_' alone.";

static const struct advice {
	rd_kafka_resp_err_t err;
	enum cli_exit code;
	const char *next;
} advices[] = {
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, CLI_NO_SUCH, "klamm topic list shows what there is; klamm topic create makes a topic."},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, CLI_NO_SUCH, "klamm topic list shows what there is; klamm topic create makes a topic."},
	{RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, CLI_NO_SUCH, "klamm topic describe shows the partitions of a topic."},
	{RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, CLI_REFUSED, "klamm topic describe shows it; choose another name, or delete it first."},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, CLI_REFUSED, "It must be from 1 to the number of brokers that are up: klamm status."},
	{RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, CLI_REFUSED, "Partitions can only be added; klamm topic describe shows how many there are."},
	{RD_KAFKA_RESP_ERR_INVALID_CONFIG, CLI_REFUSED, "klamm config get --all shows the names; check name and value."},
	{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, CLI_REFUSED, name_rule},
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, CLI_REFUSED, "Ask whoever runs the cluster for the right."},
	{RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, CLI_REFUSED, "Ask whoever runs the cluster for the right."},
	{RD_KAFKA_RESP_ERR_NOT_CONTROLLER, CLI_REFUSED, "The controller is changing; try again in a moment (klamm status)."},
	{RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, CLI_REFUSED, "It may still happen: look with klamm topic describe; klamm status shows whether the cluster is well."},
	{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, CLI_REFUSED, "Too few replicas are in sync for acks=all: klamm status shows which."},
	{RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, CLI_REFUSED, "Too few replicas are in sync for acks=all: klamm status shows which."},
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, CLI_REFUSED, "The topic's max.message.bytes bounds a batch: klamm topic describe."},
	{RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, CLI_REFUSED, "A partition has no leader: klamm status shows which."},
	{RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, CLI_REFUSED, "No acknowledgement in time: klamm status shows whether a partition has no leader or too few replicas."},
	{RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, CLI_REFUSED, "klamm topic describe shows the first and the next offset of each partition."},
	{RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, CLI_REFUSED, "klamm topic describe shows the first and the next offset of each partition."},
	{RD_KAFKA_RESP_ERR_TOPIC_DELETION_DISABLED, CLI_REFUSED, "delete.topic.enable is false on the brokers."},
	{RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, CLI_NO_SUCH, "klamm group list shows what there is."},
	{RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, CLI_REFUSED, "Stop its members first: klamm group describe names them."},
	{RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, CLI_REFUSED, "The group has members: stop them first (klamm group describe names them)."},
	{RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, CLI_REFUSED, "The group has members: stop them first (klamm group describe names them)."},
	{RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, CLI_REFUSED, "A group's name may not be empty."},
	{RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, CLI_REFUSED, "Ask whoever runs the cluster for the right."},
	{RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, CLI_REFUSED, "The coordinator is changing; try again in a moment (klamm status)."},
	{RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, CLI_REFUSED, "The coordinator is reading its offsets; try again in a moment."},
	{RD_KAFKA_RESP_ERR_NOT_COORDINATOR, CLI_REFUSED, "The coordinator is changing; try again in a moment (klamm status)."},
	{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, CLI_REFUSED, "The cluster has a policy for this; ask whoever runs it."},
	{RD_KAFKA_RESP_ERR_INVALID_REPLICA_ASSIGNMENT, CLI_REFUSED, "klamm status shows the brokers that are up."},
};

int cli_fail_kafka(struct cli *cli, int err, const char *text, const char *topic, const char *what)
{
	if (!text || !*text)
		text = rd_kafka_err2str((rd_kafka_resp_err_t)err);
	if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || err == RD_KAFKA_RESP_ERR__RESOLVE)
		return fail_unreachable(cli);
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE) {
		if (cli->down)
			return fail_unreachable(cli);
		return cli_fail(cli, CLI_REFUSED, "It may still happen: look with klamm topic describe; klamm status shows whether the cluster is well.",
		                "%s: no answer in time", what);
	}
	if ((err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC) && topic)
		return cli_fail(cli, CLI_NO_SUCH, advices[0].next, "no topic %s", topic);
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++)
		if (advices[i].err == err)
			return cli_fail(cli, advices[i].code, advices[i].next, "%s: %s", what, text);
	return cli_fail(cli, CLI_REFUSED, "klamm status shows whether the cluster is well.", "%s: %s", what, text);
}

/* --- connection ---------------------------------------------------------------------------------------------------- */

static void on_error(rd_kafka_t *rk, int err, const char *reason, void *opaque)
{
	struct cli *cli = opaque;
	const char *p = strstr(reason, ": Connect to ");

	if (err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		cli->down = true;
		return;
	}
	/* "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)" */
	if (p && (p = strstr(p, "failed: ")))
		reason = p + strlen("failed: ");
	snprintf(cli->reason, sizeof(cli->reason), "%.*s", (int)strcspn(reason, "("), reason);
	for (size_t n = strlen(cli->reason); n && cli->reason[n - 1] == ' ';)
		cli->reason[--n] = 0;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	/* what matters comes through on_error and through results */
}

int cli_open_conf(struct cli *cli, rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
	char text[512] = "";

	rd_kafka_conf_set_opaque(conf, cli);
	rd_kafka_conf_set_error_cb(conf, on_error);
	rd_kafka_conf_set_log_cb(conf, on_log);
	if (rd_kafka_conf_set(conf, "bootstrap.servers", cli->bootstrap, text, sizeof(text)) ||
	    rd_kafka_conf_set(conf, "client.id", "klamm", text, sizeof(text)) ||
	    rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", text, sizeof(text)) ||
	    !(cli->rk = rd_kafka_new(type, conf, text, sizeof(text)))) {
		rd_kafka_conf_destroy(conf);
		return cli_fail(cli, CLI_USAGE, "klamm --help shows the options.", "%s", text);
	}
	return 0;
}

int cli_open(struct cli *cli, rd_kafka_type_t type, const char *const *props)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[512];

	for (; props && props[0]; props += 2)
		if (rd_kafka_conf_set(conf, props[0], props[1], text, sizeof(text))) {
			rd_kafka_conf_destroy(conf);
			return cli_fail(cli, CLI_USAGE, NULL, "%s", text);
		}
	return cli_open_conf(cli, type, conf);
}

void cli_close(struct cli *cli)
{
	cluster_close(cli);
	if (cli->rk)
		rd_kafka_destroy(cli->rk);
	cli->rk = NULL;
}

int64_t cli_wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t cli_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}
