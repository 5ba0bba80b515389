/* topic.c: klamm topic create, list, describe, delete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cli.h"

#define CONFIGS_MAX 100
#define ADMIN_TIMEOUT_MS 30000

enum { OPT_PARTITIONS = 1, OPT_RF, OPT_CONFIG, OPT_IF };

struct topic_args {
	struct cli *cli;
	const char *name;
	int partitions, rf;
	const char *configs[CONFIGS_MAX];
	int config_count;
	bool lenient, name_wanted;
};

static const struct argp_child global_child[] = {{.argp = &cli_globals}, {0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct topic_args *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = a->cli; break;
	case OPT_PARTITIONS: a->partitions = (int)cli_number(state, arg, 1, 100000); break;
	case OPT_RF: a->rf = (int)cli_number(state, arg, 1, 32767); break;
	case OPT_IF: a->lenient = true; break;
	case OPT_CONFIG:
		if (!strchr(arg, '=') || *arg == '=')
			argp_error(state, "--config %s: want KEY=VALUE", arg);
		if (a->config_count == CONFIGS_MAX)
			argp_error(state, "more than %d --config", CONFIGS_MAX);
		a->configs[a->config_count++] = arg;
		break;
	case ARGP_KEY_ARG:
		if (a->name || !a->name_wanted)
			argp_error(state, "'%s' is too much", arg);
		a->name = arg;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- create, delete ------------------------------------------------------------------------------------------------ */

static rd_kafka_AdminOptions_t *admin_options(struct cli *cli, rd_kafka_admin_op_t op)
{
	rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(cli->rk, op);
	char text[256];

	if (rd_kafka_AdminOptions_set_request_timeout(o, ADMIN_TIMEOUT_MS, text, sizeof(text)))
		abort();
	if ((op == RD_KAFKA_ADMIN_OP_CREATETOPICS || op == RD_KAFKA_ADMIN_OP_DELETETOPICS) &&
	    rd_kafka_AdminOptions_set_operation_timeout(o, ADMIN_TIMEOUT_MS - 5000, text, sizeof(text)))
		abort();
	return o;
}

/* Waits for the result of an admin call, and serves error callbacks meanwhile. Exit code; *ret is to be destroyed. */
static int admin_wait(struct cli *cli, rd_kafka_queue_t *q, const char *what, rd_kafka_event_t **ret)
{
	rd_kafka_event_t *ev = NULL;

	for (int waited = 0; !ev && waited < ADMIN_TIMEOUT_MS + 5000; waited += 100) {
		ev = rd_kafka_queue_poll(q, 100);
		rd_kafka_poll(cli->rk, 0);
	}
	if (ev && !rd_kafka_event_error(ev)) {
		*ret = ev;
		return 0;
	}
	if (ev) {
		int code = cli_fail_kafka(cli, rd_kafka_event_error(ev), rd_kafka_event_error_string(ev), NULL, what);

		rd_kafka_event_destroy(ev);
		return code;
	}
	return cli_fail_kafka(cli, RD_KAFKA_RESP_ERR__TIMED_OUT, NULL, NULL, what);
}

static int topic_result(struct cli *cli, const rd_kafka_topic_result_t *r, const struct topic_args *a, const char *what,
                        rd_kafka_resp_err_t fine)
{
	rd_kafka_resp_err_t err = rd_kafka_topic_result_error(r);

	if (!err || (a->lenient && err == fine))
		return 0;
	return cli_fail_kafka(cli, err, rd_kafka_topic_result_error_string(r), a->name, what);
}

static int create(struct topic_args *a)
{
	struct cli *cli = a->cli;
	char text[512], what[320];
	rd_kafka_NewTopic_t *nt = rd_kafka_NewTopic_new(a->name, a->partitions, a->rf, text, sizeof(text));
	rd_kafka_AdminOptions_t *options;
	rd_kafka_queue_t *q;
	rd_kafka_event_t *ev = NULL;
	size_t n;
	int code;

	if (!nt)
		return cli_fail(cli, CLI_USAGE, NULL, "topic %s: %s", a->name, text);
	for (int i = 0; i < a->config_count; i++) {
		const char *eq = strchr(a->configs[i], '=');
		char *key = strndup(a->configs[i], (size_t)(eq - a->configs[i]));

		if (!key)
			abort();
		rd_kafka_NewTopic_set_config(nt, key, eq + 1);
		free(key);
	}
	options = admin_options(cli, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	q = rd_kafka_queue_new(cli->rk);
	rd_kafka_CreateTopics(cli->rk, &nt, 1, options, q);
	snprintf(what, sizeof(what), "topic %s cannot be created", a->name);
	code = admin_wait(cli, q, what, &ev);
	if (!code) {
		code = topic_result(cli, rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n)[0], a, what,
		                    RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS);
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy(nt);
	return code;
}

int topic_create(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"partitions", OPT_PARTITIONS, "N", 0, "partitions (default: the brokers' num.partitions)", 0},
		{"replication-factor", OPT_RF, "R", 0, "replicas of each (default: the brokers' default.replication.factor)", 0},
		{"config", OPT_CONFIG, "KEY=VALUE", 0, "configuration of the topic; may be repeated", 0},
		{"if-not-exists", OPT_IF, NULL, 0, "a topic that is there already is fine", 0},
		{0},
	};
	static const struct argp argp = {options, parse, "TOPIC", "Makes a topic.", global_child, NULL, NULL};
	struct topic_args a = {.cli = cli, .partitions = -1, .rf = -1, .name_wanted = true};
	const struct rd_kafka_metadata *md;
	int code;

	cli_parse(&argp, "klamm topic create", argc, argv, &a);
	if (!a.name)
		return cli_fail(cli, CLI_USAGE, "klamm topic create TOPIC --partitions N --replication-factor R", "which topic?");
	if ((code = cli_open(cli, RD_KAFKA_PRODUCER, NULL)) || (code = cli_metadata(cli, NULL, &md)))
		return code;
	rd_kafka_metadata_destroy(md);
	if ((code = create(&a)))
		return code;
	if (cli->json)
		cli_json(json_pack("{s:s,s:b}", "topic", a.name, "created", 1));
	else
		printf("topic %s created\n", a.name);
	return 0;
}

int topic_delete(struct cli *cli, int argc, char **argv)
{
	static const struct argp_option options[] = {
		{"if-exists", OPT_IF, NULL, 0, "a topic that is not there is fine", 0},
		{0},
	};
	static const struct argp argp = {options, parse, "TOPIC", "Removes a topic with its data.", global_child, NULL, NULL};
	struct topic_args a = {.cli = cli, .name_wanted = true};
	const struct rd_kafka_metadata *md;
	rd_kafka_AdminOptions_t *o;
	rd_kafka_DeleteTopic_t *dt;
	rd_kafka_queue_t *q;
	rd_kafka_event_t *ev = NULL;
	char what[320];
	size_t n;
	int code;

	cli_parse(&argp, "klamm topic delete", argc, argv, &a);
	if (!a.name)
		return cli_fail(cli, CLI_USAGE, "klamm topic delete TOPIC", "which topic?");
	if ((code = cli_open(cli, RD_KAFKA_PRODUCER, NULL)) || (code = cli_metadata(cli, NULL, &md)))
		return code;
	rd_kafka_metadata_destroy(md);
	o = admin_options(cli, RD_KAFKA_ADMIN_OP_DELETETOPICS);
	q = rd_kafka_queue_new(cli->rk);
	dt = rd_kafka_DeleteTopic_new(a.name);
	rd_kafka_DeleteTopics(cli->rk, &dt, 1, o, q);
	snprintf(what, sizeof(what), "topic %s cannot be deleted", a.name);
	code = admin_wait(cli, q, what, &ev);
	if (!code) {
		code = topic_result(cli, rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n)[0], &a, what,
		                    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
		rd_kafka_event_destroy(ev);
	}
	rd_kafka_DeleteTopic_destroy(dt);
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(o);
	if (code)
		return code;
	if (cli->json)
		cli_json(json_pack("{s:s,s:b}", "topic", a.name, "deleted", 1));
	else
		printf("topic %s deleted\n", a.name);
	return 0;
}

/* --- list, describe ------------------------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
	const struct rd_kafka_metadata_topic *const *x = a, *const *y = b;

	return strcmp((*x)->topic, (*y)->topic);
}

static const struct rd_kafka_metadata_topic **sorted(const struct rd_kafka_metadata *md)
{
	const struct rd_kafka_metadata_topic **list = calloc((size_t)md->topic_cnt + 1, sizeof(*list));

	if (!list)
		abort();
	for (int i = 0; i < md->topic_cnt; i++)
		list[i] = &md->topics[i];
	qsort(list, (size_t)md->topic_cnt, sizeof(*list), by_name);
	return list;
}

static const struct rd_kafka_metadata_partition *partition_at(const struct rd_kafka_metadata_topic *t, int id)
{
	for (int i = 0; i < t->partition_cnt; i++)
		if (t->partitions[(i + id) % t->partition_cnt].id == id)
			return &t->partitions[(i + id) % t->partition_cnt];
	return NULL;
}

static void list_one(const struct rd_kafka_metadata_topic *t, json_t *json, struct cli_table *table)
{
	int rf = t->partition_cnt ? t->partitions[0].replica_cnt : 0, under = 0, offline = 0;
	char a[16], b[16], c[16], d[16];

	for (int i = 0; i < t->partition_cnt; i++) {
		under += t->partitions[i].isr_cnt < t->partitions[i].replica_cnt;
		offline += t->partitions[i].leader < 0;
	}
	if (json) {
		json_array_append_new(json, json_pack("{s:s,s:i,s:i,s:i,s:i}", "name", t->topic, "partitions", t->partition_cnt, "replication_factor",
		                                      rf, "under_replicated", under, "offline", offline));
		return;
	}
	snprintf(a, sizeof(a), "%d", t->partition_cnt);
	snprintf(b, sizeof(b), "%d", rf);
	snprintf(c, sizeof(c), "%d", under);
	snprintf(d, sizeof(d), "%d", offline);
	cli_table_row(table, t->topic, a, b, c, d, NULL);
}

int topic_list(struct cli *cli, int argc, char **argv)
{
	static const struct argp argp = {NULL, parse, "", "Lists the topics.", global_child, NULL, NULL};
	struct topic_args a = {.cli = cli};
	const struct rd_kafka_metadata *md;
	const struct rd_kafka_metadata_topic **list;
	struct cli_table *table = NULL;
	json_t *json = NULL;
	int code;

	cli_parse(&argp, "klamm topic list", argc, argv, &a);
	if ((code = cli_open(cli, RD_KAFKA_CONSUMER, NULL)) || (code = cli_metadata(cli, NULL, &md)))
		return code;
	list = sorted(md);
	if (cli->json)
		json = json_array();
	else
		table = cli_table_new("TOPIC|>PARTITIONS|>REPLICAS|>UNDER-REPLICATED|>OFFLINE");
	for (int i = 0; i < md->topic_cnt; i++)
		list_one(list[i], json, table);
	if (json)
		cli_json(json_pack("{s:o}", "topics", json));
	else
		cli_table_print(table);
	free(list);
	rd_kafka_metadata_destroy(md);
	return 0;
}

static json_t *ids_json(const int32_t *ids, int n)
{
	json_t *a = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(a, json_integer(ids[i]));
	return a;
}

static const char *ids_text(const int32_t *ids, int n, char *buf, size_t cap)
{
	size_t at = 0;

	buf[0] = 0;
	for (int i = 0; i < n && at + 16 < cap; i++)
		at += (size_t)snprintf(buf + at, cap - at, "%s%d", i ? "," : "", ids[i]);
	return buf;
}

/* What the topic's own configuration sets (source: topic), NULL if it cannot be had. */
static json_t *own_configs(struct cli *cli, const char *topic)
{
	rd_kafka_ConfigResource_t *cr = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(cli->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_queue_t *q = rd_kafka_queue_new(cli->rk);
	rd_kafka_event_t *ev;
	json_t *result = NULL;
	char text[256];

	rd_kafka_AdminOptions_set_request_timeout(o, 5000, text, sizeof(text));
	rd_kafka_DescribeConfigs(cli->rk, &cr, 1, o, q);
	ev = rd_kafka_queue_poll(q, 6000);
	if (ev && !rd_kafka_event_error(ev)) {
		size_t n, entries;
		const rd_kafka_ConfigResource_t **r =
			rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);

		if (n && !rd_kafka_ConfigResource_error(r[0])) {
			const rd_kafka_ConfigEntry_t **e = rd_kafka_ConfigResource_configs(r[0], &entries);

			result = json_object();
			for (size_t i = 0; i < entries; i++) {
				const char *value = rd_kafka_ConfigEntry_value(e[i]);

				if (rd_kafka_ConfigEntry_source(e[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG)
					json_object_set_new(result, rd_kafka_ConfigEntry_name(e[i]), value ? json_string(value) : json_null());
			}
		}
	}
	if (ev)
		rd_kafka_event_destroy(ev);
	rd_kafka_queue_destroy(q);
	rd_kafka_AdminOptions_destroy(o);
	rd_kafka_ConfigResource_destroy(cr);
	return result;
}

/* First and next offset. A leader that has just been named may still be opening its log: asked again for a while, in all at most a second
 * per command, because a topic that is being deleted answers in the same way. */
static bool offsets_of(struct cli *cli, const char *topic, int id, int64_t *ret_low, int64_t *ret_high)
{
	if (!cli->patience_ends_ms)
		cli->patience_ends_ms = cli_now_ms() + 1000;
	for (;;) {
		rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(cli->rk, topic, id, ret_low, ret_high, 5000);

		if (!err)
			return true;
		if ((err != RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION && err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE &&
		     err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && err != RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE) || cli_now_ms() >= cli->patience_ends_ms)
			return false;
		rd_kafka_poll(cli->rk, 20);
	}
}

static void describe_partition(struct cli *cli, const struct rd_kafka_metadata_topic *t, int id, json_t *json, struct cli_table *table)
{
	const struct rd_kafka_metadata_partition *p = partition_at(t, id);
	int64_t low = -1, high = -1;
	char part[16], leader[16], replicas[256], isr[256], first[24], next[24];
	bool known;

	if (!p)
		return;
	known = p->leader >= 0 && offsets_of(cli, t->topic, id, &low, &high);
	if (json) {
		json_array_append_new(json, json_pack("{s:i,s:i,s:o,s:o,s:b,s:b,s:o,s:o}", "partition", id, "leader", p->leader, "replicas",
		                                      ids_json(p->replicas, p->replica_cnt), "isr", ids_json(p->isrs, p->isr_cnt), "under_replicated",
		                                      p->isr_cnt < p->replica_cnt, "offline", p->leader < 0, "first_offset",
		                                      known ? json_integer(low) : json_null(), "next_offset", known ? json_integer(high) : json_null()));
		return;
	}
	snprintf(part, sizeof(part), "%d", id);
	snprintf(leader, sizeof(leader), p->leader < 0 ? "none" : "%d", p->leader);
	snprintf(first, sizeof(first), known ? "%lld" : "?", (long long)low);
	snprintf(next, sizeof(next), known ? "%lld" : "?", (long long)high);
	cli_table_row(table, part, leader, ids_text(p->replicas, p->replica_cnt, replicas, sizeof(replicas)),
	              ids_text(p->isrs, p->isr_cnt, isr, sizeof(isr)), first, next,
	              p->leader < 0 ? "offline" : p->isr_cnt < p->replica_cnt ? "under-replicated" : "", NULL);
}

static void describe_one(struct cli *cli, const struct rd_kafka_metadata_topic *t, json_t *topics)
{
	json_t *parts = topics ? json_array() : NULL, *configs = own_configs(cli, t->topic), *value;
	struct cli_table *table = topics ? NULL : cli_table_new(">PARTITION|>LEADER|REPLICAS|IN SYNC|>FIRST|>NEXT|STATE");
	const char *key;

	if (table) {
		printf("topic %s: %d partitions, %d replicas\n", t->topic, t->partition_cnt, t->partition_cnt ? t->partitions[0].replica_cnt : 0);
		json_object_foreach(configs, key, value)
			printf("  %s=%s\n", key, json_string_value(value) ? json_string_value(value) : "");
	}
	for (int i = 0; i < t->partition_cnt; i++)
		describe_partition(cli, t, i, parts, table);
	if (table) {
		cli_table_print(table);
		json_decref(configs);
		return;
	}
	json_array_append_new(topics, json_pack("{s:s,s:i,s:o,s:o}", "name", t->topic, "replication_factor",
	                                        t->partition_cnt ? t->partitions[0].replica_cnt : 0, "configs", configs ? configs : json_null(),
	                                        "partitions", parts));
}

int topic_describe(struct cli *cli, int argc, char **argv)
{
	static const struct argp argp = {NULL, parse, "[TOPIC]", "Shows partitions, replicas, offsets and configuration of one topic, or of all.",
	                                 global_child, NULL, NULL};
	struct topic_args a = {.cli = cli, .name_wanted = true};
	const struct rd_kafka_metadata *md;
	const struct rd_kafka_metadata_topic **list;
	json_t *topics;
	int code;

	cli_parse(&argp, "klamm topic describe", argc, argv, &a);
	if ((code = cli_open(cli, RD_KAFKA_CONSUMER, NULL)) || (code = cli_metadata(cli, a.name, &md)))
		return code;
	list = sorted(md);
	topics = cli->json ? json_array() : NULL;
	for (int i = 0; i < md->topic_cnt; i++)
		describe_one(cli, list[i], topics);
	if (topics)
		cli_json(json_pack("{s:o}", "topics", topics));
	free(list);
	rd_kafka_metadata_destroy(md);
	return 0;
}
