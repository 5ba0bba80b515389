/* group.c: klamm group list, describe, delete. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/commands.h"
#include "klamm/group_read.h"
#include "klamm/progress.h"
#include "klamm/table.h"
#include "klamm/when.h"

#define RETRY_MS 100

enum { OPT_ALL = 1, OPT_MEMBERS, OPT_NO_AGES, OPT_STATE, OPT_NAMES, OPT_IF };

struct listed {
	const char *name, *state, *type, *protocol_type;
	int32_t coordinator;
};

struct group_args {
	struct cli *cli;
	struct cluster *cluster;
	const char **names;
	size_t name_count, name_cap;
	const struct listed *listed; /* with --all: of the same groups, to know whom to ask */
	const char *state; /* list: only these, separated by commas */
	bool names_wanted, all, members, no_ages, names_only, lenient;
};

/* "Stable,Empty" holds Empty, in any case */
static bool in_list(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == len && !strncasecmp(p, word, len))
			return true;
	return false;
}

/* Kafka's; the last three are of groups that Klamm does not have. */
static const char states[] = "Stable,Empty,PreparingRebalance,CompletingRebalance,Dead,Assigning,Reconciling,Unknown";

static void parse_states(struct argp_state *state, struct group_args *a, const char *arg)
{
	char word[32];

	for (const char *p = arg; *p; p += strcspn(p, ","), p += *p == ',') {
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(p, ","), p);
		if (!in_list(states, word))
			argp_error(state, "--state %s: there is no such state (--help lists them)", arg);
	}
	a->state = arg;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct group_args *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = a->cli; break;
	case OPT_ALL: a->all = true; break;
	case OPT_MEMBERS: a->members = true; break;
	case OPT_NO_AGES: a->no_ages = true; break;
	case OPT_NAMES: a->names_only = true; break;
	case OPT_IF: a->lenient = true; break;
	case OPT_STATE: parse_states(state, a, arg); break;
	case ARGP_KEY_ARG:
		if (!a->names_wanted)
			argp_error(state, "'%s' is too much", arg);
		MEM_GROW(a->names, a->name_cap, a->name_count + 1);
		a->names[a->name_count++] = arg;
		break;
	case ARGP_KEY_END:
		if (a->names_wanted && !a->name_count == !a->all)
			argp_error(state, a->all ? "--all and names do not go together" : "which group?");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- list ---------------------------------------------------------------------------------------------------------- */

struct listing {
	struct listed *list;
	size_t count, cap;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

static int list_of_broker(struct cluster *c, int32_t broker, struct listing *to)
{
	uint64_t end = cli_now_ms() + CLUSTER_SETTLE_MS;
	struct kp_list_groups_request req;
	struct kp_list_groups_response resp;
	char what[80];

	kp_list_groups_request_init(&req);
	snprintf(what, sizeof(what), "the groups of broker %d cannot be listed", broker);
	for (;;) {
		int err = cluster_call(c, broker, KP_API_LIST_GROUPS, CLUSTER_CALL_MS, &req, &resp);

		if (err)
			return cluster_fail(c, err, what);
		if (!resp.error_code)
			break;
		if (!cluster_passing(resp.error_code) || cli_now_ms() >= end)
			return cli_fail_kafka(c->cli, resp.error_code, NULL, NULL, what);
		cluster_pause(RETRY_MS);
	}
	for (int i = 0; i < resp.groups_count; i++) {
		const struct kp_list_groups_response_groups *g = &resp.groups[i];

		MEM_GROW(to->list, to->cap, to->count + 1);
		to->list[to->count++] = (struct listed){cluster_text(c, g->group_id), cluster_text(c, g->group_state), cluster_text(c, g->group_type),
		                                        cluster_text(c, g->protocol_type), broker};
	}
	return 0;
}

/* All groups of all brokers, by name. */
static int read_listing(struct group_args *a, struct listing *ret)
{
	int code = cluster_open(a->cli);
	size_t kept = 0;

	a->cluster = a->cli->cluster;
	for (int i = 0; !code && i < a->cluster->broker_count; i++)
		code = list_of_broker(a->cluster, a->cluster->brokers[i].node_id, ret);
	if (ret->count)
		qsort(ret->list, ret->count, sizeof(*ret->list), by_name);
	for (size_t i = 0; i < ret->count; i++) /* a group whose coordinator moves may show twice */
		if (!kept || strcmp(ret->list[kept - 1].name, ret->list[i].name) != 0)
			ret->list[kept++] = ret->list[i];
	ret->count = kept;
	return code;
}

static void print_listing(struct group_args *a, const struct listing *l)
{
	struct cli_table *table = a->cli->json || a->names_only ? NULL : cli_table_new("GROUP|STATE|TYPE|PROTOCOL|>COORDINATOR");
	json_t *json = a->cli->json ? json_array() : NULL;
	char id[16];

	for (size_t i = 0; i < l->count; i++) {
		const struct listed *g = &l->list[i];

		if (a->state && !in_list(a->state, g->state))
			continue;
		snprintf(id, sizeof(id), "%d", g->coordinator);
		if (json)
			json_array_append_new(json, json_pack("{s:s,s:s,s:s,s:s,s:i}", "group", g->name, "state", g->state, "type", g->type, "protocol_type",
			                                      g->protocol_type, "coordinator", g->coordinator));
		else if (table)
			cli_table_row(table, g->name, g->state, g->type, g->protocol_type, id, NULL);
		else
			printf("%s\n", g->name);
	}
	if (json)
		cli_json(json_pack("{s:o}", "groups", json));
	else if (table)
		cli_table_print(table);
}

static const struct argp_option list_options[] = {
	{"state", OPT_STATE, "STATE,...", 0, "only groups in these states: Stable, Empty, PreparingRebalance, CompletingRebalance, Dead", 0},
	{"names", OPT_NAMES, NULL, 0, "only the names, one a line", 0},
	{0},
};
const struct argp group_list_argp = {list_options, parse, "", "Lists the consumer groups of all brokers.", cli_global_child, NULL, NULL};

int group_list(struct cli *cli, int argc, char **argv)
{
	struct group_args a = {.cli = cli};
	struct listing l = {0};
	int code;

	cli_parse(&group_list_argp, "klamm group list", argc, argv, &a);
	code = read_listing(&a, &l);
	if (!code)
		print_listing(&a, &l);
	mem_free(l.list);
	return code;
}

/* --- describe ------------------------------------------------------------------------------------------------------ */

static json_t *known(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

/* Sum of what is known of the rows' lag; ret_known: something is. */
static int64_t total_lag(const struct group_view *g, bool *ret_known)
{
	int64_t sum = 0;

	*ret_known = false;
	for (size_t i = 0; i < g->row_count; i++)
		if (g->rows[i].lag >= 0) {
			sum += g->rows[i].lag;
			*ret_known = true;
		}
	return sum;
}

static json_t *row_json(const struct group_row *r)
{
	json_t *o = json_pack("{s:s,s:i,s:o,s:o,s:o,s:o,s:s?,s:s?,s:s?,s:s?,s:s?}", "topic", r->topic, "partition", r->partition, "committed_offset",
	                      known(r->committed), "end_offset", known(r->end), "lag", known(r->lag), "time_lag_ms", known(r->lag_ms), "metadata",
	                      r->metadata, "member_id", r->member ? r->member->id : NULL, "instance_id", r->member ? r->member->instance_id : NULL,
	                      "client_id", r->member ? r->member->client_id : NULL, "host", r->member ? r->member->host : NULL);

	return o;
}

static json_t *group_json(struct cluster *c, const struct group_view *g)
{
	const struct kp_metadata_response_brokers *b = cluster_broker(c, g->coordinator);
	json_t *members = json_array(), *rows = json_array();
	bool some;
	int64_t sum = total_lag(g, &some);

	for (int i = 0; i < g->member_count; i++)
		json_array_append_new(members, json_pack("{s:s,s:s?,s:s,s:s,s:i}", "member_id", g->members[i].id, "instance_id", g->members[i].instance_id,
		                                         "client_id", g->members[i].client_id, "host", g->members[i].host, "partitions",
		                                         g->members[i].partition_count));
	for (size_t i = 0; i < g->row_count; i++)
		json_array_append_new(rows, row_json(&g->rows[i]));
	return json_pack("{s:s,s:s,s:s,s:s,s:{s:i,s:s?,s:i},s:o,s:o,s:o}", "group", g->name, "state", g->state, "protocol_type", g->protocol_type, "protocol",
	                 g->protocol, "coordinator", "id", g->coordinator, "host", b ? cluster_text(c, b->host) : NULL, "port", b ? b->port : -1, "lag",
	                 some ? json_integer(sum) : json_null(), "members", members, "partitions", rows);
}

static const char *number(char *buf, size_t cap, int64_t v)
{
	if (v < 0)
		return "-";
	snprintf(buf, cap, "%" PRId64, v);
	return buf;
}

static void print_rows(const struct group_view *g)
{
	struct cli_table *table = cli_table_new("TOPIC|>PARTITION|>COMMITTED|>END|>LAG|>TIME LAG|MEMBER|CLIENT|HOST");
	char part[16], a[24], b[24], c[24], age[40];

	for (size_t i = 0; i < g->row_count; i++) {
		const struct group_row *r = &g->rows[i];

		snprintf(part, sizeof(part), "%d", r->partition);
		cli_table_row(table, r->topic, part, number(a, sizeof(a), r->committed), number(b, sizeof(b), r->end), number(c, sizeof(c), r->lag),
		              r->lag_ms < 0 ? "-" : when_age(r->lag_ms, age, sizeof(age)), r->member ? r->member->id : "-",
		              r->member ? r->member->client_id : "-", r->member ? r->member->host : "-", NULL);
	}
	for (int i = 0; i < g->member_count; i++)
		if (!g->members[i].partition_count)
			cli_table_row(table, "-", "-", "-", "-", "-", "-", g->members[i].id, g->members[i].client_id, g->members[i].host, NULL);
	cli_table_print(table);
}

static void print_members(const struct group_view *g)
{
	struct cli_table *table = cli_table_new("MEMBER|INSTANCE|CLIENT|HOST|>PARTITIONS");
	char n[16];

	for (int i = 0; i < g->member_count; i++) {
		snprintf(n, sizeof(n), "%d", g->members[i].partition_count);
		cli_table_row(table, g->members[i].id, g->members[i].instance_id ? g->members[i].instance_id : "-", g->members[i].client_id, g->members[i].host,
		              n, NULL);
	}
	cli_table_print(table);
}

static void print_group(struct group_args *a, const struct group_view *g)
{
	bool some;
	int64_t sum = total_lag(g, &some);

	printf("group %s: %s, %d member%s", g->name, g->state, g->member_count, g->member_count == 1 ? "" : "s");
	if (*g->protocol)
		printf(", %s", g->protocol);
	printf(", coordinator %d", g->coordinator);
	if (some)
		printf(", lag %" PRId64, sum);
	putchar('\n');
	if (a->members)
		print_members(g);
	else if (g->row_count || g->member_count)
		print_rows(g);
}

/* All that is to be known, for all groups at once, so that a leader is asked once. */
static int read_groups(struct group_args *a, struct group_view *groups)
{
	struct progress bar;
	int code = 0;

	progress_start(&bar, a->cli->json, "reading groups", "groups", a->name_count);
	for (size_t i = 0; i < a->name_count; i++)
		groups[i] = (struct group_view){.name = a->names[i], .coordinator = a->listed ? a->listed[i].coordinator : -1};
	code = group_read_many(a->cluster, groups, a->name_count, &bar);
	for (size_t i = 0; !code && i < a->name_count; i++)
		if (!strcmp(groups[i].state, "Dead") && !groups[i].row_count && !a->all) {
			progress_clear(&bar);
			code = cli_fail(a->cli, CLI_NO_SUCH, "klamm group list shows what there is.", "no group %s", a->names[i]);
		}
	progress_end(&bar);
	if (!code)
		code = group_read_ends(a->cluster, groups, a->name_count);
	if (!code && !a->no_ages && !a->members)
		lag_read_ages(a->cli, groups, a->name_count);
	return code;
}

static const struct argp_option describe_options[] = {
	{"all", OPT_ALL, NULL, 0, "all groups", 0},
	{"members", OPT_MEMBERS, NULL, 0, "a line per member instead of one per partition", 0},
	{"no-time-lag", OPT_NO_AGES, NULL, 0, "do not read records for their age", 0},
	{0},
};
const struct argp group_describe_argp = {describe_options, parse, "GROUP...",
                                         "Shows a group's state and per partition what is committed, where the log ends, the lag in records and in time, "
                                         "and whose it is.\v"
                                         "The time lag is the age of the first record that is not committed.",
                                         cli_global_child, NULL, NULL};

int group_describe(struct cli *cli, int argc, char **argv)
{
	struct group_args a = {.cli = cli, .names_wanted = true};
	struct listing l = {0};
	struct group_view *groups;
	json_t *json = NULL;
	int code;

	cli_parse(&group_describe_argp, "klamm group describe", argc, argv, &a);
	code = a.all ? read_listing(&a, &l) : cluster_open(cli);
	a.cluster = cli->cluster;
	a.listed = l.list;
	for (size_t i = 0; i < l.count; i++) {
		MEM_GROW(a.names, a.name_cap, a.name_count + 1);
		a.names[a.name_count++] = l.list[i].name;
	}
	groups = mem_zalloc((a.name_count + 1) * sizeof(*groups));
	if (!code)
		code = read_groups(&a, groups);
	if (!code && cli->json)
		json = json_array();
	for (size_t i = 0; !code && i < a.name_count; i++) {
		if (json) {
			json_array_append_new(json, group_json(a.cluster, &groups[i]));
		} else {
			if (i)
				putchar('\n');
			print_group(&a, &groups[i]);
		}
	}
	if (json)
		cli_json(json_pack("{s:o}", "groups", json));
	for (size_t i = 0; i < a.name_count; i++)
		group_free(&groups[i]);
	mem_free(groups);
	mem_free(a.names);
	mem_free(l.list);
	return code;
}

/* --- delete -------------------------------------------------------------------------------------------------------- */

static int16_t delete_error(const void *resp)
{
	const struct kp_delete_groups_response *r = resp;

	return r->results_count == 1 ? r->results[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
}

/* *ret_there: false when there is no such group, and that is fine. */
static int delete_one(struct group_args *a, const char *name, bool *ret_there)
{
	struct kp_delete_groups_request req;
	struct kp_delete_groups_response resp;
	struct slice group = slice_str(name);
	char what[600];
	int32_t node = -1;
	int16_t error;
	int code;

	kp_delete_groups_request_init(&req);
	req.groups_names = &group;
	req.groups_names_count = 1;
	snprintf(what, sizeof(what), "group %s cannot be deleted", name);
	code = cluster_ask_coordinator(a->cluster, name, &node, KP_API_DELETE_GROUPS, &req, &resp, delete_error, what);
	if (code)
		return code;
	error = delete_error(&resp);
	*ret_there = error != KERR_GROUP_ID_NOT_FOUND;
	if (!*ret_there && a->lenient)
		return 0;
	if (error == KERR_GROUP_ID_NOT_FOUND)
		return cli_fail(a->cli, CLI_NO_SUCH, "klamm group list shows what there is.", "no group %s", name);
	return error ? cli_fail_kafka(a->cli, error, NULL, NULL, what) : 0;
}

static const struct argp_option delete_options[] = {
	{"if-exists", OPT_IF, NULL, 0, "a group that is not there is fine", 0},
	{0},
};
const struct argp group_delete_argp = {delete_options, parse, "GROUP...", "Removes groups with their offsets; they may have no members.", cli_global_child,
                                       NULL, NULL};

int group_delete(struct cli *cli, int argc, char **argv)
{
	struct group_args a = {.cli = cli, .names_wanted = true};
	bool there;
	int code;

	cli_parse(&group_delete_argp, "klamm group delete", argc, argv, &a);
	code = cluster_open(cli);
	a.cluster = cli->cluster;
	for (size_t i = 0; !code && i < a.name_count; i++) {
		code = delete_one(&a, a.names[i], &there);
		if (code)
			break;
		if (cli->json)
			cli_json(json_pack("{s:s,s:b}", "group", a.names[i], "deleted", there));
		else
			printf(there ? "group %s deleted\n" : "there is no group %s\n", a.names[i]);
	}
	mem_free(a.names);
	return code;
}
