/* produce.c: klamm produce: one record per line of standard input.
 *
 * Memory is bounded by librdkafka's queue: when it is full, reading waits. Exit 0 only when every line was acknowledged
 * (acks=0: handed over). The first failures are named with their line.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "klamm/cli.h"

#define HEADERS_MAX 64
#define NAMED_FAILURES 5

enum { OPT_KEY_SEPARATOR = 1, OPT_HEADER, OPT_ACKS, OPT_COMPRESSION, OPT_NO_IDEMPOTENCE, OPT_PARTITION, OPT_NULL_EMPTY, OPT_TIMEOUT };

struct produce {
	struct cli *cli;
	const char *topic, *key_separator, *acks, *compression, *timeout_ms;
	const char *headers[HEADERS_MAX];
	int header_count;
	int32_t partition;
	bool plain, null_empty;
	rd_kafka_topic_t *rkt;
	uint64_t sent, acked, failed, bytes, start_ms, shown_ms;
	rd_kafka_resp_err_t first_err;
	uint64_t first_line;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct produce *p = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = p->cli; break;
	case OPT_KEY_SEPARATOR:
		if (!*arg)
			argp_error(state, "--key-separator: want at least one character");
		p->key_separator = arg;
		break;
	case OPT_HEADER:
		if (!strchr(arg, '=') || *arg == '=')
			argp_error(state, "--header %s: want NAME=VALUE", arg);
		if (p->header_count == HEADERS_MAX)
			argp_error(state, "more than %d --header", HEADERS_MAX);
		p->headers[p->header_count++] = arg;
		break;
	case OPT_ACKS:
		if (strcmp(arg, "0") && strcmp(arg, "1") && strcmp(arg, "all") && strcmp(arg, "-1"))
			argp_error(state, "--acks %s: want 0, 1 or all", arg);
		p->acks = arg;
		break;
	case OPT_COMPRESSION:
		if (strcmp(arg, "none") && strcmp(arg, "gzip") && strcmp(arg, "snappy") && strcmp(arg, "lz4") && strcmp(arg, "zstd"))
			argp_error(state, "--compression %s: want none, gzip, snappy, lz4 or zstd", arg);
		p->compression = arg;
		break;
	case OPT_NO_IDEMPOTENCE: p->plain = true; break;
	case OPT_PARTITION: p->partition = (int32_t)cli_number(state, arg, 0, INT32_MAX); break;
	case OPT_NULL_EMPTY: p->null_empty = true; break;
	case OPT_TIMEOUT:
		cli_number(state, arg, 1, INT32_MAX);
		p->timeout_ms = arg;
		break;
	case ARGP_KEY_ARG:
		if (p->topic)
			argp_error(state, "'%s' is too much", arg);
		p->topic = arg;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static void failed(struct produce *p, uint64_t line, rd_kafka_resp_err_t err)
{
	if (!p->failed++) {
		p->first_err = err;
		p->first_line = line;
	}
	if (p->failed <= NAMED_FAILURES)
		fprintf(stderr, "klamm: line %llu was not stored: %s\n", (unsigned long long)line, rd_kafka_err2str(err));
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct cli *cli = opaque;
	struct produce *p = cli->ctx;

	if (m->err)
		failed(p, (uint64_t)(uintptr_t)m->_private, m->err);
	else
		p->acked++;
}

static void progress(struct produce *p, bool last)
{
	uint64_t now = cli_now_ms();
	double s = (double)(now - p->start_ms) / 1e3;

	if (!isatty(STDERR_FILENO) || p->cli->json || (!last && now < p->shown_ms + 200))
		return;
	p->shown_ms = now;
	fprintf(stderr, "\r%llu lines, %llu acknowledged, %.1f MB, %.1f MB/s   %s", (unsigned long long)p->sent, (unsigned long long)p->acked,
	        (double)p->bytes / 1e6, s > 0 ? (double)p->bytes / 1e6 / s : 0, last ? "\n" : "");
}

static rd_kafka_resp_err_t hand_over(struct produce *p, const char *key, size_t key_len, const char *value, size_t value_len, uint64_t line)
{
	rd_kafka_vu_t vus[8 + HEADERS_MAX];
	size_t n = 0;
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = p->rkt};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = p->partition};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.ptr = (void *)(uintptr_t)key, .size = key_len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.ptr = (void *)(uintptr_t)value, .size = value_len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)line};
	for (int i = 0; i < p->header_count; i++) {
		const char *eq = strchr(p->headers[i], '=');

		vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER,
		                           .u.header = {.name = strndupa(p->headers[i], (size_t)(eq - p->headers[i])), .val = eq + 1,
		                                        .size = (ssize_t)strlen(eq + 1)}};
	}
	error = rd_kafka_produceva(p->cli->rk, vus, n);
	if (error) {
		err = rd_kafka_error_code(error);
		rd_kafka_error_destroy(error);
	}
	return err;
}

static void send_line(struct produce *p, char *line, size_t len, uint64_t number)
{
	const char *key = NULL, *value = line, *at;
	size_t key_len = 0;
	rd_kafka_resp_err_t err;

	if (p->key_separator && (at = memmem(line, len, p->key_separator, strlen(p->key_separator)))) {
		key = line;
		key_len = (size_t)(at - line);
		value = at + strlen(p->key_separator);
		len -= (size_t)(value - line);
	}
	if (!len && p->null_empty)
		value = NULL;
	while ((err = hand_over(p, key, key_len, value, len, number)) == RD_KAFKA_RESP_ERR__QUEUE_FULL && !interrupted) {
		rd_kafka_poll(p->cli->rk, 100);
		progress(p, false);
	}
	if (err) {
		failed(p, number, err);
		return;
	}
	p->sent++;
	p->bytes += key_len + len;
}

static int finish(struct produce *p)
{
	double s;
	char what[320];

	while (rd_kafka_flush(p->cli->rk, 200) == RD_KAFKA_RESP_ERR__TIMED_OUT)
		progress(p, false);
	rd_kafka_poll(p->cli->rk, 0);
	progress(p, true);
	s = (double)(cli_now_ms() - p->start_ms) / 1e3;
	if (p->failed) {
		if (p->failed > NAMED_FAILURES)
			fprintf(stderr, "klamm: ... and %llu more lines\n", (unsigned long long)(p->failed - NAMED_FAILURES));
		snprintf(what, sizeof(what), "%llu of %llu lines were not stored in %s", (unsigned long long)p->failed,
		         (unsigned long long)(p->acked + p->failed), p->topic);
		return cli_fail_kafka(p->cli, p->first_err, NULL, p->topic, what);
	}
	if (p->cli->json)
		cli_json(json_pack("{s:s,s:I,s:I,s:f}", "topic", p->topic, "records", (json_int_t)p->acked, "bytes", (json_int_t)p->bytes, "seconds", s));
	else if (!isatty(STDERR_FILENO))
		fprintf(stderr, "klamm: %llu records stored in %s\n", (unsigned long long)p->acked, p->topic);
	return interrupted ? CLI_REFUSED : CLI_DONE;
}

static int open_producer(struct produce *p)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	bool idempotent = !p->plain && (!strcmp(p->acks, "all") || !strcmp(p->acks, "-1"));
	char text[256];
	const char *props[] = {"acks", p->acks, "compression.codec", p->compression, "enable.idempotence", idempotent ? "true" : "false",
	                       "linger.ms", "5", "message.timeout.ms", p->timeout_ms, "retry.backoff.ms", "50",
	                       "topic.metadata.refresh.fast.interval.ms", "50", "reconnect.backoff.ms", "50", "reconnect.backoff.max.ms", "1000",
	                       "message.max.bytes", "100000000", "batch.size", "1000000"};

	for (size_t i = 0; i < sizeof(props) / sizeof(props[0]); i += 2)
		if (rd_kafka_conf_set(conf, props[i], props[i + 1], text, sizeof(text))) {
			rd_kafka_conf_destroy(conf);
			return cli_fail(p->cli, CLI_USAGE, NULL, "%s", text);
		}
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	return cli_open_conf(p->cli, RD_KAFKA_PRODUCER, conf);
}

static int run(struct produce *p)
{
	const struct rd_kafka_metadata *md;
	struct sigaction sa = {.sa_handler = on_signal};
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	uint64_t number = 0;
	int code, parts;

	if ((code = open_producer(p)) || (code = cli_metadata(p->cli, p->topic, &md)))
		return code;
	parts = md->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(md);
	if (p->partition >= parts)
		return cli_fail(p->cli, CLI_NO_SUCH, "klamm topic describe shows the partitions.", "topic %s has no partition %d: they go from 0 to %d",
		                p->topic, (int)p->partition, parts - 1);
	p->rkt = rd_kafka_topic_new(p->cli->rk, p->topic, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	p->start_ms = cli_now_ms();
	while (!interrupted && (len = getline(&line, &cap, stdin)) >= 0) {
		if (len && line[len - 1] == '\n')
			len--;
		send_line(p, line, (size_t)len, ++number);
		rd_kafka_poll(p->cli->rk, 0);
		progress(p, false);
	}
	free(line);
	code = finish(p);
	rd_kafka_topic_destroy(p->rkt);
	return code;
}

int produce_run(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"key-separator", OPT_KEY_SEPARATOR, "TEXT", 0, "what stands before the first TEXT in a line is the key", 0},
		{"header", OPT_HEADER, "NAME=VALUE", 0, "header of every record; may be repeated", 0},
		{"partition", OPT_PARTITION, "P", 0, "send to this partition (default: by key, else spread)", 0},
		{"null-empty", OPT_NULL_EMPTY, NULL, 0, "an empty value is a null value (a delete marker)", 0},
		{"acks", OPT_ACKS, "0|1|all", 0, "what counts as stored (all)", 1},
		{"compression", OPT_COMPRESSION, "CODEC", 0, "none, gzip, snappy, lz4 or zstd (none)", 1},
		{"no-idempotence", OPT_NO_IDEMPOTENCE, NULL, 0, "allow duplicates and reordering on retries (always so with acks 0 and 1)", 1},
		{"timeout-ms", OPT_TIMEOUT, "MS", 0, "give up on a record after this time (30000)", 1},
		{0},
	};
	static const struct argp_child children[] = {{.argp = &cli_globals}, {0}};
	static const struct argp argp = {options, parse, "TOPIC", "Sends each line of standard input as one record.", children, NULL, NULL};
	struct produce p = {.cli = cli, .acks = "all", .compression = "none", .timeout_ms = "30000", .partition = RD_KAFKA_PARTITION_UA};

	cli_parse(&argp, "klamm produce", argc, argv, &p);
	if (!p.topic)
		return cli_fail(cli, CLI_USAGE, "klamm produce TOPIC < FILE", "which topic?");
	cli->ctx = &p;
	return run(&p);
}
