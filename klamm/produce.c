/* produce.c: klamm produce: one record per line of standard input, as text or as JSON (what consume --json prints).
 *
 * Memory is bounded by librdkafka's queue: when it is full, reading waits. Exit 0 only when every line was acknowledged
 * (acks=0: handed over). The first failures are named with their line.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/progress.h"
#include "klamm/record.h"

#define HEADERS_MAX 64
#define NAMED_FAILURES 5

enum { OPT_KEY_SEPARATOR = 1, OPT_HEADER, OPT_ACKS, OPT_COMPRESSION, OPT_NO_IDEMPOTENCE, OPT_PARTITION, OPT_NULL_EMPTY, OPT_TIMEOUT, OPT_KEY, OPT_INPUT, OPT_SPREAD };

struct produce {
	struct cli *cli;
	const char *topic, *key, *key_separator, *acks, *compression, *timeout_ms;
	struct record_header headers[HEADERS_MAX]; /* of every record */
	int header_count;
	int32_t partition, partition_count;
	bool plain, null_empty, json_input, spread;
	rd_kafka_topic_t *rkt;
	uint64_t sent, acked, failed, bytes, read, start_ms;
	rd_kafka_resp_err_t first_err;
	uint64_t first_line;
	struct progress bar;
	struct record_text text;
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
		p->headers[p->header_count].name = slice_make(arg, strcspn(arg, "="));
		p->headers[p->header_count++].value = slice_str(strchr(arg, '=') + 1);
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
	case OPT_KEY: p->key = arg; break;
	case OPT_SPREAD: p->spread = true; break;
	case OPT_INPUT:
		if (strcmp(arg, "lines") && strcmp(arg, "json"))
			argp_error(state, "--input %s: want lines or json", arg);
		p->json_input = !strcmp(arg, "json");
		break;
	case OPT_TIMEOUT:
		cli_number(state, arg, 1, INT32_MAX);
		p->timeout_ms = arg;
		break;
	case ARGP_KEY_ARG:
		if (p->topic)
			argp_error(state, "'%s' is too much", arg);
		p->topic = arg;
		break;
	case ARGP_KEY_END:
		if (!p->topic)
			argp_error(state, "which topic?");
		if (p->json_input && (p->key || p->key_separator || p->null_empty))
			argp_error(state, "--key, --key-separator and --null-empty are for --input lines");
		if (p->key && p->key_separator)
			argp_error(state, "either --key or --key-separator");
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
	progress_clear(&p->bar);
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

static void show_progress(struct produce *p)
{
	progress_step(&p->bar, p->bar.total ? p->read : p->acked);
}

static rd_kafka_vu_t header_of(const struct record_header *h)
{
	/* librdkafka takes the name as text: the bytes before a NUL */
	char *name = strndup((const char *)h->name.ptr, h->name.len);

	if (!name)
		abort();
	return (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADER, .u.header = {.name = name, .val = h->value.ptr, .size = (ssize_t)h->value.len}};
}

static rd_kafka_resp_err_t hand_over(struct produce *p, const struct record *r, uint64_t line)
{
	rd_kafka_vu_t vus[8 + HEADERS_MAX + RECORD_HEADERS_MAX];
	size_t n = 0, first_header;
	rd_kafka_error_t *error;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = p->rkt};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = r->partition >= 0 ? r->partition : RD_KAFKA_PARTITION_UA};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {.ptr = (void *)(uintptr_t)r->key.ptr, .size = r->key.len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {.ptr = (void *)(uintptr_t)r->value.ptr, .size = r->value.len}};
	vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = (void *)(uintptr_t)line};
	if (r->timestamp >= 0)
		vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = r->timestamp};
	first_header = n;
	for (size_t i = 0; i < r->header_count; i++)
		vus[n++] = header_of(&r->headers[i]);
	for (int i = 0; i < p->header_count; i++)
		vus[n++] = header_of(&p->headers[i]);
	error = rd_kafka_produceva(p->cli->rk, vus, n);
	if (error) {
		err = rd_kafka_error_code(error);
		rd_kafka_error_destroy(error);
	}
	while (n-- > first_header)
		free((void *)(uintptr_t)vus[n].u.header.name);
	return err;
}

static void send_record(struct produce *p, struct record *r, uint64_t number)
{
	rd_kafka_resp_err_t err;

	if (p->partition >= 0 || p->spread)
		r->partition = p->partition;
	while ((err = r->partition >= p->partition_count ? RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION : hand_over(p, r, number)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
	       !interrupted) {
		rd_kafka_poll(p->cli->rk, 100);
		show_progress(p);
	}
	if (err) {
		failed(p, number, err);
		return;
	}
	p->sent++;
	p->bytes += r->key.len + r->value.len;
}

static void send_line(struct produce *p, char *line, size_t len, uint64_t number)
{
	struct record r = {.partition = -1, .timestamp = -1, .key = slice_str(p->key), .value = slice_make(line, len)};
	const char *at;

	if (p->key_separator && (at = memmem(line, len, p->key_separator, strlen(p->key_separator)))) {
		r.key = slice_make(line, (size_t)(at - line));
		at += strlen(p->key_separator);
		r.value = slice_make(at, len - (size_t)(at - line));
	}
	if (!r.value.len && p->null_empty)
		r.value = slice_make(NULL, 0);
	send_record(p, &r, number);
}

/* False: the line is no record; what came before it is sent. */
static bool send_json(struct produce *p, const char *line, size_t len, uint64_t number)
{
	char why[200];
	bool fine;

	if (!len)
		return true;
	fine = !record_from_json(line, len, &p->text, why, sizeof(why));
	if (fine) {
		send_record(p, &p->text.record, number);
	} else {
		progress_clear(&p->bar);
		(void)cli_fail(p->cli, CLI_USAGE, "Nothing behind it was sent; klamm consume --json prints such lines.", "line %llu is no record: %s",
		               (unsigned long long)number, why);
	}
	record_text_free(&p->text);
	return fine;
}

/* Waits for what is under way, and says how it went (fine = all lines could be read and were records; else that was said already). */
static int finish(struct produce *p, bool fine)
{
	double s;
	char what[320];

	while (rd_kafka_flush(p->cli->rk, 200) == RD_KAFKA_RESP_ERR__TIMED_OUT)
		show_progress(p);
	rd_kafka_poll(p->cli->rk, 0);
	progress_end(&p->bar);
	s = (double)(cli_now_ms() - p->start_ms) / 1e3;
	if (p->failed) {
		if (p->failed > NAMED_FAILURES)
			fprintf(stderr, "klamm: ... and %llu more lines\n", (unsigned long long)(p->failed - NAMED_FAILURES));
		snprintf(what, sizeof(what), "%llu of %llu lines were not stored in %s", (unsigned long long)p->failed,
		         (unsigned long long)(p->acked + p->failed), p->topic);
		return cli_fail_kafka(p->cli, p->first_err, NULL, p->topic, what);
	}
	if (!fine)
		return CLI_USAGE;
	if (p->cli->json)
		cli_json(json_pack("{s:s,s:I,s:I,s:f}", "topic", p->topic, "records", (json_int_t)p->acked, "bytes", (json_int_t)p->bytes, "seconds", s));
	else
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

/* Bytes of standard input, if it is a file: then progress has an end. */
static uint64_t input_size(void)
{
	struct stat st;

	return fstat(STDIN_FILENO, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ? 0 : (uint64_t)st.st_size;
}

static bool send_input(struct produce *p)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	uint64_t number = 0;
	bool fine = true;

	while (fine && !interrupted && (len = getline(&line, &cap, stdin)) >= 0) {
		p->read += (uint64_t)len;
		if (len && line[len - 1] == '\n')
			len--;
		number++;
		if (p->json_input)
			fine = send_json(p, line, (size_t)len, number);
		else
			send_line(p, line, (size_t)len, number);
		rd_kafka_poll(p->cli->rk, 0);
		show_progress(p);
	}
	if (fine && !interrupted && ferror(stdin)) {
		int why = errno;

		progress_clear(&p->bar);
		(void)cli_fail(p->cli, CLI_USAGE, "What was read before was sent.", "standard input cannot be read: %s", strerror(why));
		fine = false;
	}
	free(line);
	return fine;
}

static int run(struct produce *p)
{
	const struct kp_metadata_response_topics *t;
	struct sigaction sa = {.sa_handler = on_signal};
	char label[300];
	int code;
	bool fine;

	if ((code = cluster_open(p->cli)) || (code = cluster_topic(p->cli->cluster, p->topic, &t)))
		return code;
	p->partition_count = t->partitions_count;
	if (p->partition >= p->partition_count)
		return cli_fail(p->cli, CLI_NO_SUCH, "klamm topic describe shows the partitions.", "topic %s has no partition %d: they go from 0 to %d",
		                p->topic, (int)p->partition, p->partition_count - 1);
	if ((code = open_producer(p)))
		return code;
	p->rkt = rd_kafka_topic_new(p->cli->rk, p->topic, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	p->start_ms = cli_now_ms();
	snprintf(label, sizeof(label), "writing %s", p->topic);
	progress_start(&p->bar, p->cli->json || isatty(STDIN_FILENO), label, input_size() ? "bytes" : "records", input_size());
	fine = send_input(p);
	code = finish(p, fine);
	rd_kafka_topic_destroy(p->rkt);
	return fine ? code : CLI_USAGE;
}

static const struct argp_option produce_options[] = {
	{"input", OPT_INPUT, "lines|json", 0, "lines: each is a value (default); json: each is a record as consume --json prints it", 0},
	{"key", OPT_KEY, "TEXT", 0, "key of every record", 0},
	{"key-separator", OPT_KEY_SEPARATOR, "TEXT", 0, "what stands before the first TEXT in a line is the key", 0},
	{"header", OPT_HEADER, "NAME=VALUE", 0, "header of every record; may be repeated", 0},
	{"partition", OPT_PARTITION, "P", 0, "send to this partition (default: as JSON says, else by key, else spread)", 0},
	{"repartition", OPT_SPREAD, NULL, 0, "with --input json: by key, whatever partition the line names", 0},
	{"null-empty", OPT_NULL_EMPTY, NULL, 0, "an empty value is a null value (a delete marker)", 0},
	{"acks", OPT_ACKS, "0|1|all", 0, "what counts as stored (all)", 1},
	{"compression", OPT_COMPRESSION, "none|gzip|snappy|lz4|zstd", 0, "codec of the batches (none)", 1},
	{"no-idempotence", OPT_NO_IDEMPOTENCE, NULL, 0, "allow duplicates and reordering on retries (always so with acks 0 and 1)", 1},
	{"timeout-ms", OPT_TIMEOUT, "MS", 0, "give up on a record after this time (30000)", 1},
	{0},
};
const struct argp produce_argp = {produce_options, parse, "TOPIC", "Sends each line of standard input as one record.", cli_global_child, NULL, NULL};

int produce_run(struct cli *cli, int argc, char **argv)
{
	static struct produce p;

	p = (struct produce){.cli = cli, .acks = "all", .compression = "none", .timeout_ms = "30000", .partition = -1};
	cli->ctx = &p;
	cli_parse(&produce_argp, "klamm produce", argc, argv, &p);
	return run(&p);
}
