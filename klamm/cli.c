/* cli.c: see cli.h */
#include "klamm/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS_MAX 12

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

void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input)
{
	char **args = calloc((size_t)argc + 2, sizeof(*args));

	if (!args)
		abort();
	args[0] = strdup(name);
	for (int i = 0; i < argc; i++)
		args[i + 1] = argv[i];
	argp_parse(argp, argc + 1, args, 0, NULL, input);
	free(args[0]);
	free(args);
}

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
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "klamm: %s\n", text);
	if (next)
		fprintf(stderr, "       %s\n", next);
	if (cli->json)
		cli_json(json_pack("{s:{s:s,s:s?,s:i}}", "error", "message", text, "next", next, "exit", (int)code));
	return (int)code;
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
	{RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, CLI_REFUSED, "Ask for at least one partition."},
	{RD_KAFKA_RESP_ERR_INVALID_CONFIG, CLI_REFUSED, "Check the names and values given with --config."},
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
};

int cli_fail_kafka(struct cli *cli, rd_kafka_resp_err_t err, const char *text, const char *topic, const char *what)
{
	if (!text || !*text)
		text = rd_kafka_err2str(err);
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
	if (cli->rk)
		rd_kafka_destroy(cli->rk);
	cli->rk = NULL;
}

uint64_t cli_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int cli_metadata(struct cli *cli, const char *topic, const struct rd_kafka_metadata **ret)
{
	rd_kafka_topic_t *rkt = topic ? rd_kafka_topic_new(cli->rk, topic, NULL) : NULL;
	const struct rd_kafka_metadata *md = NULL;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TRANSPORT;
	uint64_t end = cli_now_ms() + cli->timeout_ms;
	char what[320];

	if (topic && !rkt)
		return cli_fail(cli, CLI_USAGE, name_rule, "'%s' cannot be the name of a topic", topic);
	/* Short tries: librdkafka does not end a wait when every connection was refused. */
	for (uint64_t now = cli_now_ms(); now < end; now = cli_now_ms()) {
		err = rd_kafka_metadata(cli->rk, !topic, rkt, &md, end - now < 700 ? (int)(end - now) : 700);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR && (!topic || md->topics[0].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || now + 700 >= end))
			break;
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
			rd_kafka_metadata_destroy(md);
			md = NULL;
			err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
		}
		rd_kafka_poll(cli->rk, 50);
	}
	rd_kafka_poll(cli->rk, 0);
	if (rkt)
		rd_kafka_topic_destroy(rkt);
	if (err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT)
		return fail_unreachable(cli);
	snprintf(what, sizeof(what), topic ? "topic %s" : "metadata%.0s", topic ? topic : "");
	if (!err && topic && md->topics[0].err && md->topics[0].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
		err = md->topics[0].err;
	if (err) {
		if (md)
			rd_kafka_metadata_destroy(md);
		return cli_fail_kafka(cli, err, NULL, topic, what);
	}
	*ret = md;
	return 0;
}

/* --- tables -------------------------------------------------------------------------------------------------------- */

struct cli_table {
	char *head;
	const char *names[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX], columns, rows, cap;
	char **cells;
};

struct cli_table *cli_table_new(const char *columns)
{
	struct cli_table *t = calloc(1, sizeof(*t));
	char *save = NULL;

	if (!t || !(t->head = strdup(columns)))
		abort();
	for (char *p = strtok_r(t->head, "|", &save); p && t->columns < COLUMNS_MAX; p = strtok_r(NULL, "|", &save)) {
		t->right[t->columns] = *p == '>';
		t->names[t->columns] = p + (*p == '>');
		t->width[t->columns] = strlen(t->names[t->columns]);
		t->columns++;
	}
	return t;
}

void cli_table_row(struct cli_table *t, ...)
{
	va_list ap;

	if (t->rows == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->cells = realloc(t->cells, t->cap * t->columns * sizeof(*t->cells));
		if (!t->cells)
			abort();
	}
	va_start(ap, t);
	for (size_t i = 0; i < t->columns; i++) {
		const char *text = va_arg(ap, const char *);
		char *copy = strdup(text ? text : "");

		if (!copy)
			abort();
		t->cells[t->rows * t->columns + i] = copy;
		if (strlen(copy) > t->width[i])
			t->width[i] = strlen(copy);
	}
	va_end(ap);
	t->rows++;
}

static void fit(struct cli_table *t)
{
	struct winsize ws;
	size_t total = 0, widest = 0;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) || !ws.ws_col)
		return;
	for (size_t i = 0; i < t->columns; i++) {
		total += t->width[i] + (i ? 2 : 0);
		if (t->width[i] > t->width[widest])
			widest = i;
	}
	if (total > ws.ws_col && t->width[widest] > total - ws.ws_col + 8)
		t->width[widest] -= total - ws.ws_col;
}

static void print_cell(const struct cli_table *t, size_t i, const char *text)
{
	size_t len = strlen(text), width = t->width[i];
	bool last = i + 1 == t->columns;

	if (i)
		fputs("  ", stdout);
	if (len > width)
		printf("%.*s~", (int)width - 1, text);
	else if (t->right[i])
		printf("%*s", (int)width, text);
	else
		printf("%-*s", last ? 0 : (int)width, text);
}

void cli_table_print(struct cli_table *t)
{
	fit(t);
	for (size_t i = 0; i < t->columns; i++)
		print_cell(t, i, t->names[i]);
	putchar('\n');
	for (size_t r = 0; r < t->rows; r++) {
		for (size_t i = 0; i < t->columns; i++)
			print_cell(t, i, t->cells[r * t->columns + i]);
		putchar('\n');
	}
	cli_table_free(t);
}

void cli_table_free(struct cli_table *t)
{
	for (size_t i = 0; i < t->rows * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->head);
	free(t);
}
