/* group_reset.c: klamm group reset-offsets: where a group shall go on. Without --execute it only shows what would happen. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/commands.h"
#include "klamm/group_read.h"
#include "klamm/offsets.h"
#include "klamm/reset_plan.h"
#include "klamm/table.h"
#include "klamm/when.h"

#define TOPICS_MAX 1000
#define PATIENCE_MS 5000

enum { OPT_TOPIC = 1, OPT_ALL, OPT_EARLIEST, OPT_LATEST, OPT_OFFSET, OPT_TIME, OPT_SHIFT, OPT_DURATION, OPT_CURRENT, OPT_FILE, OPT_EXPORT, OPT_EXECUTE };

struct reset {
	struct cli *cli;
	struct cluster *cluster;
	const char *group, *file;
	const char *topics[TOPICS_MAX]; /* T or T:p,p */
	int topic_count;
	bool all, export, execute;
	enum reset_to to;
	int64_t value;
	struct group_view view;
	struct reset_row *rows;
	size_t count, cap;
};

static void destination(struct argp_state *state, enum reset_to to, int64_t value)
{
	struct reset *r = state->input;

	if (r->to != RESET_NONE)
		argp_error(state, "one destination only: --to-earliest, --to-latest, --to-offset, --to-time, --by-duration, --shift-by, --to-current or --from-file");
	r->to = to;
	r->value = value;
}

static int64_t instant(struct argp_state *state, const char *arg)
{
	int64_t ms = 0;

	if (when_parse(arg, cli_wall_ms(), &ms))
		argp_error(state, "--to-time %s: want 2026-01-31T23:59:59.000 (UTC, or with +02:00), or milliseconds since 1970", arg);
	return ms;
}

static int64_t ago(struct argp_state *state, const char *arg)
{
	int64_t ms = 0;

	if (when_parse_duration(arg, &ms))
		argp_error(state, "--by-duration %s: want P1DT2H30M or 26h30m", arg);
	return cli_wall_ms() - ms;
}

/* T, or T:p,p */
static void add_topic(struct argp_state *state, const char *arg)
{
	struct reset *r = state->input;
	const char *colon = strchr(arg, ':');

	if (!*arg || colon == arg || (colon && (!colon[1] || colon[1 + strspn(colon + 1, "0123456789,")])))
		argp_error(state, "--topic %s: want TOPIC or TOPIC:PARTITION,...", arg);
	if (r->topic_count == TOPICS_MAX)
		argp_error(state, "more than %d --topic", TOPICS_MAX);
	r->topics[r->topic_count++] = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct reset *r = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = r->cli; break;
	case OPT_TOPIC: add_topic(state, arg); break;
	case OPT_ALL: r->all = true; break;
	case OPT_EARLIEST: destination(state, RESET_EARLIEST, 0); break;
	case OPT_LATEST: destination(state, RESET_LATEST, 0); break;
	case OPT_CURRENT: destination(state, RESET_CURRENT, 0); break;
	case OPT_OFFSET: destination(state, RESET_OFFSET, cli_number(state, arg, 0, INT64_MAX)); break;
	case OPT_SHIFT: destination(state, RESET_SHIFT, cli_number(state, arg, -INT64_MAX, INT64_MAX)); break;
	case OPT_TIME: destination(state, RESET_TIME, instant(state, arg)); break;
	case OPT_DURATION: destination(state, RESET_TIME, ago(state, arg)); break;
	case OPT_FILE:
		destination(state, RESET_FILE, 0);
		r->file = arg;
		break;
	case OPT_EXPORT: r->export = true; break;
	case OPT_EXECUTE: r->execute = true; break;
	case ARGP_KEY_ARG:
		if (r->group)
			argp_error(state, "'%s' is too much", arg);
		r->group = arg;
		break;
	case ARGP_KEY_END:
		if (!r->group)
			argp_error(state, "which group?");
		if (r->to == RESET_NONE)
			argp_error(state, "where to? --to-earliest, --to-latest, --to-offset, --to-time, --by-duration, --shift-by, --to-current or --from-file");
		if (r->to == RESET_FILE ? r->topic_count || r->all : !r->topic_count == !r->all)
			argp_error(state, r->to == RESET_FILE ? "--from-file names the partitions itself" : "give either --topic TOPIC[:PARTITION,...] or --all-topics");
		if (r->export && r->cli->json)
			argp_error(state, "--export prints CSV, --json JSON: one of them");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- which partitions ---------------------------------------------------------------------------------------------- */

static struct reset_row *add_row(struct reset *r, const char *topic, int32_t partition)
{
	MEM_GROW(r->rows, r->cap, r->count + 1);
	r->rows[r->count] = (struct reset_row){.topic = topic, .partition = partition, .current = -1, .first = -1, .end = -1, .at_time = -1, .given = -1};
	return &r->rows[r->count++];
}

static int add_named(struct reset *r, const char *arg)
{
	const char *colon = strchr(arg, ':'), *name = arena_strndup(&r->cluster->arena, arg, colon ? (size_t)(colon - arg) : strlen(arg));
	const struct kp_metadata_response_topics *t;
	int code = cluster_topic(r->cluster, name, &t);

	for (int i = 0; !code && !colon && i < t->partitions_count; i++)
		add_row(r, name, t->partitions[i].partition_index);
	for (const char *p = colon; !code && p && *p; p += strcspn(p, ",")) {
		long id = strtol(++p, NULL, 10);

		if (!cluster_partition(t, id < INT32_MAX ? (int32_t)id : -1))
			return cli_fail(r->cli, CLI_NO_SUCH, "klamm topic describe shows the partitions.", "topic %s has no partition %ld", name, id);
		add_row(r, name, (int32_t)id);
	}
	return code;
}

static int add_from_file(struct reset *r)
{
	FILE *f = strcmp(r->file, "-") ? fopen(r->file, "re") : stdin;
	char *line = NULL, *group, *topic;
	size_t cap = 0, number = 0;
	int32_t partition;
	int64_t offset;
	int code = 0;

	if (!f)
		return cli_fail(r->cli, CLI_USAGE, "Give a file of lines TOPIC,PARTITION,OFFSET.", "%s: %m", r->file);
	while (!code && (errno = 0, getline(&line, &cap, f) >= 0)) {
		number++;
		if (!line[strspn(line, " \t\r\n")])
			continue;
		if (reset_csv_line(line, &group, &topic, &partition, &offset))
			code = cli_fail(r->cli, CLI_USAGE, "Want TOPIC,PARTITION,OFFSET or GROUP,TOPIC,PARTITION,OFFSET.", "%s line %zu is no such line", r->file, number);
		else if (!group || !strcmp(group, r->group))
			add_row(r, arena_strndup(&r->cluster->arena, topic, strlen(topic)), partition)->given = offset;
	}
	if (!code && ferror(f))
		code = cli_fail(r->cli, CLI_USAGE, "Give a file of lines TOPIC,PARTITION,OFFSET.", "%s: %m", r->file);
	free(line);
	if (f != stdin)
		fclose(f);
	if (!code && !r->count)
		code = cli_fail(r->cli, CLI_USAGE, "--export writes such a file.", "%s names no partition of group %s", r->file, r->group);
	return code;
}

static int by_place(const void *a, const void *b)
{
	const struct reset_row *x = a, *y = b;
	int cmp = strcmp(x->topic, y->topic);

	return cmp ? cmp : (x->partition > y->partition) - (x->partition < y->partition);
}

/* By place, each once; a file that names a partition twice means the larger offset. */
static void sort_rows(struct reset *r)
{
	size_t kept = 0;

	qsort(r->rows, r->count, sizeof(*r->rows), by_place);
	for (size_t i = 0; i < r->count; i++) {
		if (kept && !by_place(&r->rows[kept - 1], &r->rows[i])) {
			if (r->rows[i].given > r->rows[kept - 1].given)
				r->rows[kept - 1].given = r->rows[i].given;
			continue;
		}
		r->rows[kept++] = r->rows[i];
	}
	r->count = kept;
}

static int choose_rows(struct reset *r)
{
	int code = r->file ? add_from_file(r) : 0;

	for (int i = 0; !code && i < r->topic_count; i++)
		code = add_named(r, r->topics[i]);
	for (size_t i = 0; r->all && i < r->view.row_count; i++)
		add_row(r, r->view.rows[i].topic, r->view.rows[i].partition);
	if (!code && !r->count)
		code = cli_fail(r->cli, CLI_NO_SUCH, "Name topics with --topic.", "group %s has committed nothing", r->group);
	if (!code)
		sort_rows(r);
	for (size_t i = 0; !code && i < r->count; i++) {
		const struct group_row *row = group_row_at(&r->view, r->rows[i].topic, r->rows[i].partition);

		r->rows[i].current = row ? row->committed : -1;
	}
	return code;
}

/* --- where to ------------------------------------------------------------------------------------------------------ */

/* Asks all partitions for the offset at this time (OFFSETS_EARLIEST, ...) and stores it at `member` of each row. */
static int ask(struct reset *r, int64_t time, size_t member)
{
	struct offset_spot *spots = mem_zalloc(r->count * sizeof(*spots));
	int code;

	for (size_t i = 0; i < r->count; i++)
		spots[i] = (struct offset_spot){.topic = r->rows[i].topic, .partition = r->rows[i].partition, .time = time};
	code = offsets_find(r->cluster, spots, r->count, PATIENCE_MS);
	for (size_t i = 0; !code && i < r->count; i++) {
		*(int64_t *)(void *)((char *)&r->rows[i] + member) = spots[i].offset;
		r->rows[i].absent |= spots[i].error == KERR_UNKNOWN_TOPIC_OR_PARTITION;
	}
	mem_free(spots);
	return code;
}

static int plan(struct reset *r)
{
	int code = ask(r, OFFSETS_EARLIEST, offsetof(struct reset_row, first));

	if (!code)
		code = ask(r, OFFSETS_LATEST, offsetof(struct reset_row, end));
	if (!code && r->to == RESET_TIME)
		code = ask(r, r->value, offsetof(struct reset_row, at_time));
	if (code)
		return code;
	for (size_t i = 0; i < r->count; i++)
		reset_plan(r->to, r->value, &r->rows[i]);
	return 0;
}

/* --- doing it ------------------------------------------------------------------------------------------------------ */

static void fill(struct reset *r, struct kp_offset_commit_request *req)
{
	struct kp_offset_commit_request_topics *t = NULL;

	kp_offset_commit_request_init(req); /* generation -1, no member: a commit from outside */
	req->group_id = slice_str(r->group);
	req->topics = ARENA_ARRAY(&r->cluster->arena, struct kp_offset_commit_request_topics, r->count);
	for (size_t i = 0; i < r->count; i++) {
		struct kp_offset_commit_request_topics_partitions *p;

		if (!t || !slice_eq_str(t->name, r->rows[i].topic)) {
			size_t n = i;

			while (n < r->count && !strcmp(r->rows[n].topic, r->rows[i].topic))
				n++;
			t = &req->topics[req->topics_count++];
			kp_offset_commit_request_topics_init(t);
			t->name = slice_str(r->rows[i].topic);
			t->partitions = ARENA_ARRAY(&r->cluster->arena, struct kp_offset_commit_request_topics_partitions, n - i);
		}
		p = &t->partitions[t->partitions_count++];
		kp_offset_commit_request_topics_partitions_init(p);
		p->partition_index = r->rows[i].partition;
		p->committed_offset = r->rows[i].next;
		p->committed_metadata = slice_str("");
	}
}

/* The first partition that was refused, or NULL; ret_topic: its topic. */
static const struct kp_offset_commit_response_topics_partitions *first_refused(const struct kp_offset_commit_response *r, struct slice *ret_topic)
{
	for (int t = 0; t < r->topics_count; t++)
		for (int p = 0; p < r->topics[t].partitions_count; p++)
			if (r->topics[t].partitions[p].error_code) {
				*ret_topic = r->topics[t].name;
				return &r->topics[t].partitions[p];
			}
	return NULL;
}

static int16_t commit_error(const void *resp)
{
	struct slice topic;
	const struct kp_offset_commit_response_topics_partitions *p = first_refused(resp, &topic);

	return p ? p->error_code : 0;
}

static int commit(struct reset *r)
{
	const struct kp_offset_commit_response_topics_partitions *refused;
	struct kp_offset_commit_request req;
	struct kp_offset_commit_response resp;
	struct slice topic;
	char what[900];
	int code;

	fill(r, &req);
	snprintf(what, sizeof(what), "the offsets of group %s cannot be reset", r->group);
	code = cluster_ask_coordinator(r->cluster, r->group, &r->view.coordinator, KP_API_OFFSET_COMMIT, &req, &resp, commit_error, what);
	if (code)
		return code;
	refused = first_refused(&resp, &topic);
	if (!refused)
		return 0;
	snprintf(what, sizeof(what), "the offsets of group %s cannot be reset: topic %s partition %d", r->group, cluster_text(r->cluster, topic),
	         refused->partition_index);
	return cli_fail_kafka(r->cli, refused->error_code, NULL, NULL, what);
}

/* --- showing it ---------------------------------------------------------------------------------------------------- */

static json_t *known(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

static const char *number(char *buf, size_t cap, int64_t v)
{
	if (v < 0)
		return "-";
	snprintf(buf, cap, "%" PRId64, v);
	return buf;
}

static const char *note(const struct reset_row *row, char *buf, size_t cap)
{
	if (row->problem)
		return row->problem;
	if (row->wanted == row->next)
		return "";
	snprintf(buf, cap, "%" PRId64 " is %s", row->wanted, row->wanted > row->end ? "behind the end" : "no longer there");
	return buf;
}

static void show_json(const struct reset *r)
{
	json_t *list = json_array();
	char text[80];

	for (size_t i = 0; i < r->count; i++) {
		const struct reset_row *row = &r->rows[i];
		const char *n = note(row, text, sizeof(text));

		json_array_append_new(list, json_pack("{s:s,s:i,s:o,s:o,s:o,s:o,s:s?}", "topic", row->topic, "partition", row->partition, "current_offset",
		                                      known(row->current), "new_offset", known(row->next), "first_offset", known(row->first), "end_offset",
		                                      known(row->end), "note", *n ? n : NULL));
	}
	cli_json(json_pack("{s:s,s:b,s:o}", "group", r->group, "executed", (int)r->execute, "offsets", list));
}

static void show(const struct reset *r)
{
	struct cli_table *table;
	char part[16], a[24], b[24], c[24], d[24], e[80];

	if (r->cli->json) {
		show_json(r);
		return;
	}
	if (r->export) {
		for (size_t i = 0; i < r->count; i++)
			printf("%s,%d,%" PRId64 "\n", r->rows[i].topic, r->rows[i].partition, r->rows[i].next);
		return;
	}
	table = cli_table_new("TOPIC|>PARTITION|>COMMITTED|>NEW|>FIRST|>END|NOTE");
	for (size_t i = 0; i < r->count; i++) {
		const struct reset_row *row = &r->rows[i];

		snprintf(part, sizeof(part), "%d", row->partition);
		cli_table_row(table, row->topic, part, number(a, sizeof(a), row->current), number(b, sizeof(b), row->next), number(c, sizeof(c), row->first),
		              number(d, sizeof(d), row->end), note(row, e, sizeof(e)), NULL);
	}
	cli_table_print(table);
}

static int run(struct reset *r)
{
	int code = cluster_open(r->cli);

	r->cluster = r->cli->cluster;
	if (code || (code = group_read(r->cluster, r->group, -1, &r->view)))
		return code;
	if (!group_idle(&r->view))
		return cli_fail(r->cli, CLI_REFUSED, "Stop its members first: klamm group describe names them.",
		                "the offsets of group %s cannot be reset: it is in use (%s, %d member%s)", r->group, r->view.state, r->view.member_count,
		                r->view.member_count == 1 ? "" : "s");
	if ((code = group_read_committed(r->cluster, &r->view)) || (code = choose_rows(r)) || (code = plan(r)))
		return code;
	for (size_t i = 0; i < r->count; i++)
		if (r->rows[i].problem)
			return cli_fail(r->cli, r->rows[i].absent ? CLI_NO_SUCH : CLI_REFUSED, "Leave it out with --topic TOPIC:PARTITION,...; nothing was changed.",
			                "topic %s partition %d of group %s cannot be reset: %s", r->rows[i].topic, r->rows[i].partition, r->group, r->rows[i].problem);
	if (r->execute && (code = commit(r)))
		return code;
	show(r);
	if (!r->execute && !r->cli->json) {
		fflush(stdout);
		fprintf(stderr, "klamm: nothing was changed; --execute does it.\n");
	}
	return 0;
}

static const struct argp_option reset_options[] = {
	{"topic", OPT_TOPIC, "TOPIC[:P,...]", 0, "all partitions of a topic, or these; may be repeated", 0},
	{"all-topics", OPT_ALL, NULL, 0, "every partition that the group has committed to", 0},
	{"to-earliest", OPT_EARLIEST, NULL, 0, "to the first record", 1},
	{"to-latest", OPT_LATEST, NULL, 0, "behind the last record", 1},
	{"to-offset", OPT_OFFSET, "N", 0, "to this offset", 1},
	{"to-time", OPT_TIME, "TIME", 0, "to the first record at or after it: 2026-01-31T23:59:59.000 (UTC, or with +02:00), or ms since 1970", 1},
	{"by-duration", OPT_DURATION, "DURATION", 0, "to the first record of the last P1DT2H30M, or 26h30m", 1},
	{"shift-by", OPT_SHIFT, "N", 0, "by N records, back if negative", 1},
	{"to-current", OPT_CURRENT, NULL, 0, "to what is committed (with --export: writes it down)", 1},
	{"from-file", OPT_FILE, "FILE", 0, "as lines TOPIC,PARTITION,OFFSET say (- = standard input)", 1},
	{"export", OPT_EXPORT, NULL, 0, "print the new offsets as such lines", 2},
	{"execute", OPT_EXECUTE, NULL, 0, "do it; without this nothing is changed", 2},
	{0},
};
const struct argp group_reset_argp = {reset_options, parse, "GROUP",
                                      "Says where a group goes on reading. The group may have no members. Without --execute it only shows what would happen.\v"
                                      "Offsets outside of what a partition holds become its first offset or its end.",
                                      cli_global_child, NULL, NULL};

int group_reset(struct cli *cli, int argc, char **argv)
{
	static struct reset r;
	int code;

	r.cli = cli;
	cli_parse(&group_reset_argp, "klamm group reset-offsets", argc, argv, &r);
	code = run(&r);
	mem_free(r.rows);
	group_free(&r.view);
	return code;
}
