/* consume.c: klamm consume: prints records of one topic, without a consumer group.
 *
 * Output is one line per record by default; --format and --json choose another shape. Ends with --exit at what was the end
 * of every partition, with --count after so many records, or with a signal.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cli.h"

enum { OPT_BEGINNING = 1, OPT_PARTITION, OPT_OFFSET, OPT_COUNT, OPT_FORMAT, OPT_EXIT, OPT_ISOLATION };

struct consume {
	struct cli *cli;
	const char *topic, *format, *isolation;
	int32_t partition; /* -1 = all */
	int64_t offset;
	uint64_t count, printed;
	bool exit_at_end;
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *queue;
	int part_count, at_end;
	bool *ended;
	int code;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = 1;
}

static int64_t parse_offset(struct argp_state *state, const char *arg)
{
	if (!strcmp(arg, "beginning") || !strcmp(arg, "earliest"))
		return RD_KAFKA_OFFSET_BEGINNING;
	if (!strcmp(arg, "end") || !strcmp(arg, "latest"))
		return RD_KAFKA_OFFSET_END;
	if (*arg == '-')
		return RD_KAFKA_OFFSET_TAIL(cli_number(state, arg + 1, 1, INT32_MAX));
	return cli_number(state, arg, 0, INT64_MAX);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct consume *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = c->cli; break;
	case OPT_BEGINNING: c->offset = RD_KAFKA_OFFSET_BEGINNING; break;
	case OPT_PARTITION: c->partition = (int32_t)cli_number(state, arg, 0, INT32_MAX); break;
	case OPT_OFFSET: c->offset = parse_offset(state, arg); break;
	case OPT_COUNT: c->count = (uint64_t)cli_number(state, arg, 1, INT64_MAX); break;
	case OPT_FORMAT: c->format = arg; break;
	case OPT_EXIT: c->exit_at_end = true; break;
	case OPT_ISOLATION:
		if (strcmp(arg, "read_committed") && strcmp(arg, "read_uncommitted"))
			argp_error(state, "--isolation %s: want read_committed or read_uncommitted", arg);
		c->isolation = arg;
		break;
	case ARGP_KEY_ARG:
		if (c->topic)
			argp_error(state, "'%s' is too much", arg);
		c->topic = arg;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- printing ------------------------------------------------------------------------------------------------------ */

static char *base64(const void *bytes, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *b = bytes;
	char *out = malloc((len + 2) / 3 * 4 + 1), *p = out;

	if (!out)
		abort();
	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < len ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < len ? b[i + 2] : 0);

		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < len ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? digits[v & 63] : '=';
	}
	*p = 0;
	return out;
}

/* name: text, or name_base64 when the bytes are no UTF-8. */
static void put_bytes(json_t *o, const char *name, const void *bytes, size_t len)
{
	json_t *text = bytes ? json_stringn(bytes, len) : json_null();

	if (text) {
		json_object_set_new(o, name, text);
	} else {
		char longer[512], *code = base64(bytes, len);

		snprintf(longer, sizeof(longer), "%s_base64", name);
		json_object_set_new(o, longer, json_string(code));
		free(code);
	}
}

static void print_json(const rd_kafka_message_t *m, const char *topic)
{
	rd_kafka_timestamp_type_t type;
	int64_t ts = rd_kafka_message_timestamp(m, &type);
	rd_kafka_headers_t *headers;
	json_t *o = json_pack("{s:s,s:i,s:I,s:o}", "topic", topic, "partition", (int)m->partition, "offset", (json_int_t)m->offset, "timestamp",
	                      type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? json_null() : json_integer(ts));

	put_bytes(o, "key", m->key, m->key_len);
	put_bytes(o, "value", m->payload, m->len);
	if (!rd_kafka_message_headers(m, &headers)) {
		json_t *list = json_array();
		const char *name;
		const void *value;
		size_t len;

		for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &len); i++) {
			json_t *h = json_object();

			put_bytes(h, "name", name, strlen(name));
			put_bytes(h, "value", value, len);
			json_array_append_new(list, h);
		}
		json_object_set_new(o, "headers", list);
	}
	cli_json(o);
}

static void print_headers(const rd_kafka_message_t *m)
{
	rd_kafka_headers_t *headers;
	const char *name;
	const void *value;
	size_t len;

	if (rd_kafka_message_headers(m, &headers))
		return;
	for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &len); i++) {
		printf("%s%s=", i ? "," : "", name);
		if (value)
			fwrite(value, 1, len, stdout);
	}
}

static void print_escape(char c)
{
	switch (c) {
	case 'n': putchar('\n'); break;
	case 't': putchar('\t'); break;
	case '0': putchar('\0'); break;
	default: putchar(c); break;
	}
}

static void print_format(const rd_kafka_message_t *m, const char *topic, const char *format)
{
	rd_kafka_timestamp_type_t type;

	for (const char *p = format; *p; p++) {
		if (*p == '\\' && p[1]) {
			print_escape(*++p);
		} else if (*p == '%' && p[1]) {
			switch (*++p) {
			case 't': fputs(topic, stdout); break;
			case 'p': printf("%d", (int)m->partition); break;
			case 'o': printf("%lld", (long long)m->offset); break;
			case 'k': fwrite(m->key ? m->key : "", 1, m->key ? m->key_len : 0, stdout); break;
			case 's': fwrite(m->payload ? m->payload : "", 1, m->payload ? m->len : 0, stdout); break;
			case 'K': printf("%lld", m->key ? (long long)m->key_len : -1); break;
			case 'S': printf("%lld", m->payload ? (long long)m->len : -1); break;
			case 'T': printf("%lld", (long long)rd_kafka_message_timestamp(m, &type)); break;
			case 'h': print_headers(m); break;
			case '%': putchar('%'); break;
			default: printf("%%%c", *p); break;
			}
		} else {
			putchar(*p);
		}
	}
}

static const char *check_format(const char *format)
{
	for (const char *p = format; *p; p++) {
		if (*p == '\\' && p[1])
			p++;
		else if (*p == '%' && (!p[1] || !strchr("tpoksKSTh%", *++p)))
			return p;
	}
	return NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static void take(struct consume *c, const rd_kafka_message_t *m)
{
	char what[320];

	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		int i = c->partition >= 0 ? 0 : m->partition;

		if (i < c->part_count && !c->ended[i]) {
			c->ended[i] = true;
			c->at_end++;
		}
		return;
	}
	if (m->err) {
		snprintf(what, sizeof(what), "topic %s cannot be read", c->topic);
		/* connections come back by themselves; what the cluster refuses does not */
		if (m->err != RD_KAFKA_RESP_ERR__TRANSPORT && m->err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && m->err != RD_KAFKA_RESP_ERR__TIMED_OUT)
			c->code = cli_fail_kafka(c->cli, m->err, rd_kafka_message_errstr(m), c->topic, what);
		return;
	}
	if (c->count && c->printed >= c->count)
		return;
	if (c->cli->json)
		print_json(m, c->topic);
	else
		print_format(m, c->topic, c->format);
	c->printed++;
}

static int start(struct consume *c)
{
	int first = c->partition >= 0 ? c->partition : 0, last = c->partition >= 0 ? c->partition : c->part_count - 1;

	c->ended = calloc((size_t)c->part_count, sizeof(*c->ended));
	if (!c->ended)
		abort();
	c->queue = rd_kafka_queue_new(c->cli->rk);
	c->rkt = rd_kafka_topic_new(c->cli->rk, c->topic, NULL);
	for (int i = first; i <= last; i++)
		if (rd_kafka_consume_start_queue(c->rkt, i, c->offset, c->queue))
			return cli_fail_kafka(c->cli, rd_kafka_last_error(), NULL, c->topic, "cannot read");
	return 0;
}

static int run(struct consume *c)
{
	const char *props[] = {"enable.partition.eof", "true", "isolation.level", c->isolation, "enable.auto.commit", "false",
	                       "auto.offset.reset", "error", "fetch.wait.max.ms", "100", "reconnect.backoff.ms", "50",
	                       "reconnect.backoff.max.ms", "1000", NULL};
	const struct rd_kafka_metadata *md;
	struct sigaction sa = {.sa_handler = on_signal};
	int code, wanted;

	if ((code = cli_open(c->cli, RD_KAFKA_CONSUMER, props)) || (code = cli_metadata(c->cli, c->topic, &md)))
		return code;
	c->part_count = md->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(md);
	if (c->partition >= c->part_count)
		return cli_fail(c->cli, CLI_NO_SUCH, "klamm topic describe shows the partitions.", "topic %s has no partition %d: they go from 0 to %d",
		                c->topic, (int)c->partition, c->part_count - 1);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	c->code = start(c);
	wanted = c->partition >= 0 ? 1 : c->part_count;
	while (!c->code && !interrupted && !(c->count && c->printed >= c->count) && !(c->exit_at_end && c->at_end == wanted) && !ferror(stdout)) {
		rd_kafka_message_t *m = rd_kafka_consume_queue(c->queue, 100);

		if (m) {
			take(c, m);
			rd_kafka_message_destroy(m);
		} else {
			fflush(stdout);
		}
		rd_kafka_poll(c->cli->rk, 0);
	}
	fflush(stdout);
	for (int i = 0; c->rkt && i < wanted; i++)
		rd_kafka_consume_stop(c->rkt, c->partition >= 0 ? c->partition : i);
	rd_kafka_topic_destroy(c->rkt);
	rd_kafka_queue_destroy(c->queue);
	free(c->ended);
	return c->code;
}

int consume_run(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"from-beginning", OPT_BEGINNING, NULL, 0, "start at the first record (default: only new ones)", 0},
		{"partition", OPT_PARTITION, "P", 0, "only this partition", 0},
		{"offset", OPT_OFFSET, "N|-N|beginning|end", 0, "start there; -N: N before the end", 0},
		{"count", OPT_COUNT, "N", 0, "stop after N records", 0},
		{"exit", OPT_EXIT, NULL, 0, "stop at the end of every partition", 0},
		{"format", OPT_FORMAT, "TEXT", 0,
	         "%t topic, %p partition, %o offset, %k key, %s value, %K and %S their lengths, %T timestamp, %h headers, \\n, \\t (default: %s\\n)", 1},
		{"isolation", OPT_ISOLATION, "LEVEL", 0, "read_committed or read_uncommitted (read_committed)", 1},
		{0},
	};
	static const struct argp_child children[] = {{.argp = &cli_globals}, {0}};
	static const struct argp argp = {options, parse, "TOPIC", "Prints records.", children, NULL, NULL};
	struct consume c = {.cli = cli, .partition = -1, .offset = RD_KAFKA_OFFSET_END, .format = "%s\\n", .isolation = "read_committed"};

	cli_parse(&argp, "klamm consume", argc, argv, &c);
	if (!c.topic)
		return cli_fail(cli, CLI_USAGE, "klamm consume TOPIC --from-beginning", "which topic?");
	if (check_format(c.format))
		return cli_fail(cli, CLI_USAGE, "klamm consume --help lists them.", "--format %s: unknown field at the end of '%.*s'", c.format,
		                (int)(check_format(c.format) - c.format + 1), c.format);
	return run(&c);
}
