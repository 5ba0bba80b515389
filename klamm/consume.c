/* consume.c: klamm consume: prints records of a topic, of chosen partitions and ranges, or of topics as a member of a group.
 *
 * Without a group each partition is a part with a start, and perhaps an end, both fixed before the first record is read (times are
 * turned into offsets by the brokers). It ends when every part has ended, with --max after so many records, with
 * --exit at what is the end of each partition, or with a signal. With a group the coordinator hands out partitions; what was printed is
 * committed, at the latest when it ends: a record is never committed before it was handed to standard output, and nothing more is once that broke.
 * An end that was reached is committed too, as Kafka's consumers do: of a partition without records the group would else begin at the
 * end of another day and miss what came in between.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/format.h"
#include "klamm/offsets.h"
#include "klamm/progress.h"
#include "klamm/when.h"

#define PATIENCE_MS 5000
#define BATCH 1000
#define COMMIT_EVERY_MS 1000

enum {
	OPT_BEGINNING = 1, OPT_PARTITION, OPT_OFFSET, OPT_COUNT, OPT_EXIT, OPT_ISOLATION, OPT_FROM_TIME, OPT_TO_TIME, OPT_UNTIL, OPT_GROUP, OPT_NO_COMMIT,
	OPT_FORMAT = 'f',
};

struct part {
	const char *topic; /* one of consume's */
	int32_t id;
	int64_t start; /* or one of librdkafka's logical offsets */
	int64_t end;   /* stop before this offset; -1: never */
	int64_t next;  /* group: to be committed; -1: nothing */
	bool over;
};

struct consume {
	struct cli *cli;
	const char **topics; /* several only in a group */
	size_t topic_count, topic_cap;
	const char *text, *isolation, *group;
	enum format_kind format;
	const char *partitions; /* "0,2"; NULL: all */
	int64_t offset, until, from_ms, to_ms; /* the last three: -1 = not given */
	int64_t tail; /* so many before the end instead of offset; 0: no */
	bool offset_given, beginning, exit_at_end, no_commit;
	uint64_t max, printed;
	struct part *parts; /* without a group: all of them; with one: what is assigned */
	int part_count, over, latest; /* latest: where the last record's was found */
	bool assigned; /* the group has handed out partitions at least once */
	bool leaving;  /* the group; what could not be committed was said */
	int broken;    /* errno of standard output, once it failed */
	rd_kafka_topic_t *rkt;
	rd_kafka_queue_t *queue;
	struct str out;
	struct progress bar;
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
	return cli_number(state, arg, 0, INT64_MAX);
}

static int64_t parse_time(struct argp_state *state, const char *option, const char *arg)
{
	int64_t ms = 0;

	if (when_parse(arg, cli_wall_ms(), &ms))
		argp_error(state, "%s %s: want 2026-01-31T23:59:59.000 (UTC, or with +02:00), ms since 1970, or -90m for 90 minutes ago", option, arg);
	return ms;
}

static void parse_format(struct argp_state *state, struct consume *c, const char *arg)
{
	const char *bad;

	if (format_parse(arg, &c->format, &bad))
		argp_error(state, "--format %s: '%.2s' is no field (--help lists them)", arg, bad);
	c->text = arg;
}

static void add_topic(struct consume *c, const char *topic)
{
	for (size_t i = 0; i < c->topic_count; i++)
		if (!strcmp(c->topics[i], topic))
			return;
	MEM_GROW(c->topics, c->topic_cap, c->topic_count + 1);
	c->topics[c->topic_count++] = topic;
}

static void check(struct consume *c, struct argp_state *state)
{
	if (!c->topic_count)
		argp_error(state, "which topic?");
	if (c->topic_count > 1 && !c->group)
		argp_error(state, "'%s' is too much: several topics go with --group", c->topics[1]);
	if (c->beginning + c->offset_given + (c->from_ms >= 0) > 1 && !(c->beginning && c->group))
		argp_error(state, "one start only: --from-beginning, --offset or --from-time");
	if (c->group && (c->partitions || c->offset_given || c->from_ms >= 0 || c->to_ms >= 0 || c->until >= 0))
		argp_error(state, "a group decides where it reads: klamm group reset-offsets moves it");
	if (c->no_commit && !c->group)
		argp_error(state, "--no-commit goes with --group");
	if (c->cli->json)
		c->format = FORMAT_JSON;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct consume *c = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = c->cli; break;
	case OPT_BEGINNING: c->beginning = true; break;
	case OPT_PARTITION:
		if (!*arg || arg[strspn(arg, "0123456789,")])
			argp_error(state, "--partition %s: want P or P,P,...", arg);
		c->partitions = arg;
		break;
	case OPT_OFFSET:
		if (*arg == '-')
			c->tail = cli_number(state, arg + 1, 1, INT32_MAX);
		else
			c->offset = parse_offset(state, arg);
		c->offset_given = true;
		break;
	case OPT_UNTIL: c->until = cli_number(state, arg, 0, INT64_MAX); break;
	case OPT_FROM_TIME: c->from_ms = parse_time(state, "--from-time", arg); break;
	case OPT_TO_TIME: c->to_ms = parse_time(state, "--to-time", arg); break;
	case OPT_COUNT: c->max = (uint64_t)cli_number(state, arg, 1, INT64_MAX); break;
	case OPT_FORMAT: parse_format(state, c, arg); break;
	case OPT_EXIT: c->exit_at_end = true; break;
	case OPT_GROUP:
		if (!*arg)
			argp_error(state, "--group: a group's name may not be empty");
		c->group = arg;
		break;
	case OPT_NO_COMMIT: c->no_commit = true; break;
	case OPT_ISOLATION:
		if (strcmp(arg, "read_committed") && strcmp(arg, "read_uncommitted"))
			argp_error(state, "--isolation %s: want read_committed or read_uncommitted", arg);
		c->isolation = arg;
		break;
	case ARGP_KEY_ARG:
		add_topic(c, arg);
		break;
	case ARGP_KEY_END: check(c, state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- printing ------------------------------------------------------------------------------------------------------ */

/* Whether all that was printed has left us. The first failure is what counts: with it printing ends. */
static bool flushed(struct consume *c)
{
	errno = 0;
	if (!c->broken && (fflush(stdout) || ferror(stdout)))
		c->broken = errno ? errno : EIO;
	return !c->broken;
}

static void print(struct consume *c, const struct part *p, const rd_kafka_message_t *m)
{
	struct record_header headers[RECORD_HEADERS_MAX];
	rd_kafka_headers_t *list;
	rd_kafka_timestamp_type_t type;
	int64_t ms = rd_kafka_message_timestamp(m, &type);
	struct record r = {.topic = p->topic, .partition = m->partition, .offset = m->offset, .headers = headers,
	                   .timestamp = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : ms,
	                   .key = slice_make(m->key, m->key ? m->key_len : 0), .value = slice_make(m->payload, m->payload ? m->len : 0)};
	const char *name;
	const void *value;
	size_t len;

	if (!rd_kafka_message_headers(m, &list))
		while (r.header_count < RECORD_HEADERS_MAX && !rd_kafka_header_get_all(list, r.header_count, &name, &value, &len))
			headers[r.header_count++] = (struct record_header){slice_str(name), slice_make(value, value ? len : 0)};
	str_clear(&c->out);
	format_record(c->format, c->text, &r, &c->out);
	errno = 0;
	if (fwrite(str_cstr(&c->out), 1, c->out.len, stdout) < c->out.len && !c->broken)
		c->broken = errno ? errno : EIO;
	c->printed++;
}

/* --- parts --------------------------------------------------------------------------------------------------------- */

static struct part *part_of(struct consume *c, const char *topic, int32_t id)
{
	for (int i = 0; i < c->part_count; i++) { /* many records of one partition come in a row */
		struct part *p = &c->parts[(c->latest + i) % c->part_count];

		if (p->id == id && !strcmp(p->topic, topic)) {
			c->latest = (c->latest + i) % c->part_count;
			return p;
		}
	}
	return NULL;
}

static void end_part(struct consume *c, struct part *p)
{
	if (!p->over) {
		p->over = true;
		c->over++;
	}
}

static void take(struct consume *c, const rd_kafka_message_t *m)
{
	const char *topic = m->rkt ? rd_kafka_topic_name(m->rkt) : c->topics[0];
	struct part *p = part_of(c, topic, m->partition);
	char what[320];

	if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
		if (p && c->group)
			p->next = m->offset;
		if (p && (c->exit_at_end || (p->end >= 0 && m->offset >= p->end)))
			end_part(c, p);
		return;
	}
	if (m->err) {
		snprintf(what, sizeof(what), "topic %s cannot be read", topic);
		/* connections come back by themselves; what the cluster refuses does not */
		if (m->err != RD_KAFKA_RESP_ERR__TRANSPORT && m->err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && m->err != RD_KAFKA_RESP_ERR__TIMED_OUT &&
		    m->err != RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED) {
			progress_clear(&c->bar);
			c->code = cli_fail_kafka(c->cli, m->err, rd_kafka_message_errstr(m), topic, what);
		}
		return;
	}
	if (!p || (p->over && !c->group) || (c->max && c->printed >= c->max))
		return;
	if (p->end >= 0 && m->offset >= p->end) {
		end_part(c, p);
		return;
	}
	if (p->over) { /* group: records have come after what was the end */
		p->over = false;
		c->over--;
	}
	print(c, p, m);
	p->next = m->offset + 1;
	if (p->end >= 0 && m->offset + 1 >= p->end)
		end_part(c, p);
}

static bool finished(const struct consume *c)
{
	if (c->code || interrupted || (c->max && c->printed >= c->max) || c->broken)
		return true;
	if (c->group)
		return c->exit_at_end && c->assigned && c->over == c->part_count;
	return c->over == c->part_count;
}

/* --- without a group ----------------------------------------------------------------------------------------------- */

enum goal { START, END, BEFORE_END };

/* The offsets of all parts at a time: start or end of each. A time behind the last record is the end of the partition. BEFORE_END: so many records
 * before the end as --offset says, but none before `time`, which is the first. */
static int ask(struct consume *c, int64_t time, enum goal goal)
{
	struct offset_spot *spots = mem_zalloc((size_t)c->part_count * sizeof(*spots)), *ends = mem_zalloc((size_t)c->part_count * sizeof(*spots));
	int code;

	for (int i = 0; i < c->part_count; i++) {
		spots[i] = (struct offset_spot){.topic = c->topics[0], .partition = c->parts[i].id, .time = time};
		ends[i] = (struct offset_spot){.topic = c->topics[0], .partition = c->parts[i].id, .time = OFFSETS_LATEST};
	}
	code = offsets_find(c->cli->cluster, spots, (size_t)c->part_count, PATIENCE_MS);
	if (!code)
		code = offsets_find(c->cli->cluster, ends, (size_t)c->part_count, PATIENCE_MS);
	for (int i = 0; !code && i < c->part_count; i++) {
		int64_t at = spots[i].offset >= 0 ? spots[i].offset : ends[i].offset;

		if (spots[i].error || ends[i].error) {
			char what[320];

			snprintf(what, sizeof(what), "the offsets of topic %s partition %d cannot be had", c->topics[0], (int)c->parts[i].id);
			code = cli_fail_kafka(c->cli, spots[i].error ? spots[i].error : ends[i].error, NULL, NULL, what);
		} else if (goal == END) {
			c->parts[i].end = at;
		} else {
			int64_t tail = ends[i].offset - c->tail;

			c->parts[i].start = goal == BEFORE_END && tail > at ? tail : at;
		}
	}
	mem_free(spots);
	mem_free(ends);
	return code;
}

static int choose_parts(struct consume *c, const struct kp_metadata_response_topics *t)
{
	c->parts = mem_zalloc((size_t)t->partitions_count * sizeof(*c->parts));
	for (int i = 0; i < t->partitions_count && !c->partitions; i++)
		c->parts[c->part_count++] = (struct part){.topic = c->topics[0], .id = t->partitions[i].partition_index};
	for (const char *p = c->partitions; p && *p; p += strcspn(p, ","), p += *p == ',') {
		long id = strtol(p, NULL, 10);
		bool twice = false;

		if (!cluster_partition(t, id < INT32_MAX ? (int32_t)id : -1))
			return cli_fail(c->cli, CLI_NO_SUCH, "klamm topic describe shows the partitions.", "topic %s has no partition %ld: they go from 0 to %d",
			                c->topics[0], id, t->partitions_count - 1);
		for (int i = 0; i < c->part_count; i++)
			twice |= c->parts[i].id == id;
		if (!twice)
			c->parts[c->part_count++] = (struct part){.topic = c->topics[0], .id = (int32_t)id};
	}
	return 0;
}

/* Start and end of every part. */
static int set_ranges(struct consume *c)
{
	int code = 0;

	for (int i = 0; i < c->part_count; i++) {
		c->parts[i].start = c->offset;
		c->parts[i].end = c->until;
	}
	if (c->from_ms >= 0)
		code = ask(c, c->from_ms, START);
	else if (c->tail)
		code = ask(c, OFFSETS_EARLIEST, BEFORE_END); /* librdkafka would go before the first record, and fail */
	if (!code && c->to_ms >= 0) {
		code = ask(c, c->to_ms, END);
		for (int i = 0; i < c->part_count && c->until >= 0; i++)
			if (c->parts[i].end > c->until)
				c->parts[i].end = c->until;
	}
	for (int i = 0; !code && i < c->part_count; i++)
		if (c->parts[i].end == 0 || (c->parts[i].start >= 0 && c->parts[i].end >= 0 && c->parts[i].start >= c->parts[i].end))
			end_part(c, &c->parts[i]);
	return code;
}

static int start_parts(struct consume *c)
{
	c->queue = rd_kafka_queue_new(c->cli->rk);
	c->rkt = rd_kafka_topic_new(c->cli->rk, c->topics[0], NULL);
	for (int i = 0; i < c->part_count; i++)
		if (!c->parts[i].over && rd_kafka_consume_start_queue(c->rkt, c->parts[i].id, c->parts[i].start, c->queue))
			return cli_fail_kafka(c->cli, rd_kafka_last_error(), NULL, c->topics[0], "cannot read");
	return 0;
}

static void read_parts(struct consume *c)
{
	rd_kafka_message_t *batch[BATCH];

	c->code = start_parts(c);
	while (!finished(c)) {
		ssize_t n = rd_kafka_consume_batch_queue(c->queue, 100, batch, BATCH);

		for (ssize_t i = 0; i < n; i++) {
			if (!c->code)
				take(c, batch[i]);
			rd_kafka_message_destroy(batch[i]);
		}
		if (n <= 0)
			(void)flushed(c);
		rd_kafka_poll(c->cli->rk, 0);
		progress_step(&c->bar, c->printed);
	}
	for (int i = 0; c->rkt && i < c->part_count; i++)
		rd_kafka_consume_stop(c->rkt, c->parts[i].id);
	if (c->rkt)
		rd_kafka_topic_destroy(c->rkt);
	if (c->queue)
		rd_kafka_queue_destroy(c->queue);
}

/* --- in a group ---------------------------------------------------------------------------------------------------- */

/* Commits what was printed. Not when standard output broke: then nobody knows what arrived. False: not done, records may come again. */
static bool commit(struct consume *c)
{
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;

	if (c->no_commit)
		return true;
	if (!flushed(c))
		return false;
	list = rd_kafka_topic_partition_list_new(16);
	for (int i = 0; i < c->part_count; i++)
		if (c->parts[i].next >= 0)
			rd_kafka_topic_partition_list_add(list, c->parts[i].topic, c->parts[i].id)->offset = c->parts[i].next;
	if (list->cnt)
		err = rd_kafka_commit(c->cli->rk, list, 0);
	for (int i = 0; !err && i < list->cnt; i++)
		part_of(c, list->elems[i].topic, list->elems[i].partition)->next = -1;
	rd_kafka_topic_partition_list_destroy(list);
	return !err;
}

static void set_parts(struct consume *c, const rd_kafka_topic_partition_list_t *list, bool add)
{
	for (int i = 0; i < list->cnt; i++) {
		int32_t id = list->elems[i].partition;
		struct part *p = part_of(c, list->elems[i].topic, id);
		const char *topic = NULL;

		for (size_t t = 0; t < c->topic_count; t++)
			if (!strcmp(c->topics[t], list->elems[i].topic))
				topic = c->topics[t];

		if (add && !p && topic) {
			c->parts = mem_realloc(c->parts, (size_t)(c->part_count + 1) * sizeof(*c->parts));
			c->parts[c->part_count++] = (struct part){.topic = topic, .id = id, .end = -1, .next = -1};
		} else if (!add && p) {
			c->over -= p->over;
			*p = c->parts[--c->part_count];
		}
	}
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list, void *opaque)
{
	struct cli *cli = opaque;
	struct consume *c = cli->ctx;
	bool add = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;

	if (!add && (rd_kafka_assignment_lost(rk) || !commit(c)) && !c->no_commit && !c->leaving)
		fprintf(stderr, "klamm: partitions went to another member before all offsets were committed; some records come again there.\n");
	set_parts(c, list, add);
	c->assigned |= add;
	rd_kafka_assign(rk, add ? list : NULL);
}

static void read_group(struct consume *c)
{
	rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new((int)c->topic_count);
	uint64_t committed_ms = cli_now_ms();
	rd_kafka_resp_err_t err;

	rd_kafka_poll_set_consumer(c->cli->rk);
	for (size_t i = 0; i < c->topic_count; i++)
		rd_kafka_topic_partition_list_add(topics, c->topics[i], RD_KAFKA_PARTITION_UA);
	err = rd_kafka_subscribe(c->cli->rk, topics);
	rd_kafka_topic_partition_list_destroy(topics);
	if (err)
		c->code = cli_fail_kafka(c->cli, err, NULL, c->topics[0], "the group cannot be joined");
	while (!finished(c)) {
		rd_kafka_message_t *m = rd_kafka_consumer_poll(c->cli->rk, 100);

		if (m) {
			take(c, m);
			rd_kafka_message_destroy(m);
		} else {
			(void)flushed(c);
		}
		if (cli_now_ms() >= committed_ms + COMMIT_EVERY_MS) {
			(void)commit(c); /* tried again */
			committed_ms = cli_now_ms();
		}
		progress_step(&c->bar, c->printed);
	}
	if (!commit(c) && !c->code && !c->broken)
		c->code = cli_fail(c->cli, CLI_REFUSED, "klamm group describe shows where the group stands.",
		                   "the last offsets of group %s could not be committed: some records will come again", c->group);
	c->leaving = true;
	rd_kafka_consumer_close(c->cli->rk); /* leaves the group in order */
}

static int open_consumer(struct consume *c)
{
	const char *props[] = {"enable.partition.eof", "true", "isolation.level", c->isolation, "enable.auto.commit", "false", "auto.offset.reset",
	                       c->group ? c->beginning ? "earliest" : "latest" : "error", "fetch.wait.max.ms", "100", "reconnect.backoff.ms", "50",
	                       "reconnect.backoff.max.ms", "1000", c->group ? "group.id" : NULL, c->group, NULL};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[512];

	if (c->group)
		rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
	for (const char **p = props; p[0]; p += 2)
		if (rd_kafka_conf_set(conf, p[0], p[1], text, sizeof(text))) {
			rd_kafka_conf_destroy(conf);
			return cli_fail(c->cli, CLI_USAGE, NULL, "%s", text);
		}
	return cli_open_conf(c->cli, RD_KAFKA_CONSUMER, conf);
}

/* Who went away is not told; any other failure is. */
static int output_broke(struct consume *c)
{
	if (c->broken == EPIPE) {
		signal(SIGPIPE, SIG_DFL);
		raise(SIGPIPE);
	}
	return cli_fail(c->cli, CLI_REFUSED, c->group && !c->no_commit ? "What was not committed comes again." : "Make room where it goes, and read again.",
	                "standard output took not all records: %s", strerror(c->broken));
}

static int run(struct consume *c)
{
	const struct kp_metadata_response_topics *t;
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART}; /* a record is not cut in its middle */
	char label[300];
	int code = cluster_open(c->cli);

	for (size_t i = 0; !code && i < c->topic_count; i++)
		code = cluster_topic(c->cli->cluster, c->topics[i], &t);
	if (code)
		return code;
	if (!c->group && ((code = choose_parts(c, t)) || (code = set_ranges(c))))
		return code;
	if ((code = open_consumer(c)))
		return code;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (c->group)
		signal(SIGPIPE, SIG_IGN); /* a reader that goes is no reason to leave the group waiting for us */
	if (c->topic_count > 1)
		snprintf(label, sizeof(label), "reading %zu topics", c->topic_count);
	else
		snprintf(label, sizeof(label), "reading %s", c->topics[0]);
	progress_start(&c->bar, c->cli->json || isatty(STDOUT_FILENO), label, "records", c->max);
	if (c->group)
		read_group(c);
	else
		read_parts(c);
	progress_end(&c->bar);
	if (!flushed(c) && !c->code)
		c->code = output_broke(c);
	return c->code;
}

static const struct argp_option consume_options[] = {
	{"from-beginning", OPT_BEGINNING, NULL, 0, "start at the first record (default: only new ones); with --group: where nothing is committed", 0},
	{"partition", OPT_PARTITION, "P,...", 0, "only these partitions", 0},
	{"offset", OPT_OFFSET, "N|-N|beginning|end", 0, "start there; -N: N before the end", 0},
	{"from-time", OPT_FROM_TIME, "TIME", 0, "start at the first record at or after it: 2026-01-31T23:59:59.000 (UTC, or with +02:00), ms since 1970, or -90m", 0},
	{"until-offset", OPT_UNTIL, "N", 0, "stop before this offset, in each partition", 0},
	{"to-time", OPT_TO_TIME, "TIME", 0, "stop before the first record at or after it; at the end of what there is now if there is none", 0},
	{"max", OPT_COUNT, "N", 0, "stop after N records", 0},
	{"count", OPT_COUNT, NULL, OPTION_ALIAS, NULL, 0},
	{"exit", OPT_EXIT, NULL, 0, "stop at the end of every partition", 0},
	{"group", OPT_GROUP, "GROUP", 0, "read as a member of this group and commit what was printed", 1},
	{"no-commit", OPT_NO_COMMIT, NULL, 0, "with --group: commit nothing", 1},
	{"isolation", OPT_ISOLATION, "read_committed|read_uncommitted", 0, "whether records of open and aborted transactions are shown (read_committed)", 1},
	{"format", OPT_FORMAT, "raw|json|hex|TEMPLATE", 0,
	 "raw: values, one a line (default); json: an object a line, as --json; hex: partition, offset, key, value; or a template: "
	 "%t topic, %p partition, %o offset, %k key, %v or %s value, %K and %V their lengths (-1: null), %R length of the value in 4 bytes, "
	 "%T timestamp, %D the same as ISO 8601, %h headers, %%, \\n, \\r, \\t, \\0, \\xHH",
	 2},
	{0},
};
const struct argp consume_argp = {consume_options, parse, "TOPIC...", "Prints records of a topic, or of several as a member of a group.", cli_global_child, NULL, NULL};

int consume_run(struct cli *cli, int argc, char **argv)
{
	static struct consume c;
	int code;

	c = (struct consume){.cli = cli, .offset = RD_KAFKA_OFFSET_END, .until = -1, .from_ms = -1, .to_ms = -1, .format = FORMAT_RAW, .text = "raw",
	                     .isolation = "read_committed"};
	cli->ctx = &c;
	cli_parse(&consume_argp, "klamm consume", argc, argv, &c);
	/* a range without a start begins at the beginning */
	if (c.beginning || (!c.offset_given && c.from_ms < 0 && (c.until >= 0 || c.to_ms >= 0)))
		c.offset = RD_KAFKA_OFFSET_BEGINNING;
	code = run(&c);
	mem_free(c.parts);
	mem_free(c.topics);
	str_fini(&c.out);
	return code;
}
