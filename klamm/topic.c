/* topic.c: klamm topic list, describe: what there is, where it lives, what it takes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/configs.h"
#include "klamm/offsets.h"
#include "klamm/sizes.h"
#include "klamm/table.h"

#define PATIENCE_MS 1000 /* for leaders that are still opening their logs */

enum { OPT_COUNTS = 1, OPT_NAMES };

struct look {
	struct cli *cli;
	struct cluster *cluster;
	const char *name;
	bool name_wanted, counts, names_only;
	struct kp_metadata_response md;
	struct offset_spot *first, *next; /* of every partition, in the order of md */
	struct sizes sizes;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct look *l = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = l->cli; break;
	case OPT_COUNTS: l->counts = true; break;
	case OPT_NAMES: l->names_only = true; break;
	case ARGP_KEY_ARG:
		if (l->name || !l->name_wanted)
			argp_error(state, "'%s' is too much", arg);
		l->name = arg;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct kp_metadata_response_topics *x = a, *y = b;

	return slice_cmp(x->name, y->name);
}

static int by_index(const void *a, const void *b)
{
	const struct kp_metadata_response_topics_partitions *x = a, *y = b;

	return (x->partition_index > y->partition_index) - (x->partition_index < y->partition_index);
}

/* One topic, or all of them by name. */
static int read_topics(struct look *l)
{
	const struct kp_metadata_response_topics *one;
	int code = cluster_open(l->cli);

	if (code)
		return code;
	l->cluster = l->cli->cluster;
	if (l->name) {
		if ((code = cluster_topic(l->cluster, l->name, &one)))
			return code;
		l->md.topics = ARENA_NEW(&l->cluster->arena, struct kp_metadata_response_topics);
		l->md.topics[0] = *one;
		l->md.topics_count = 1;
		return 0;
	}
	if ((code = cluster_metadata(l->cluster, NULL, -1, &l->md)))
		return code;
	if (l->md.topics_count > 0)
		qsort(l->md.topics, (size_t)l->md.topics_count, sizeof(*l->md.topics), by_name);
	for (int i = 0; i < l->md.topics_count; i++)
		if (l->md.topics[i].partitions_count > 0)
			qsort(l->md.topics[i].partitions, (size_t)l->md.topics[i].partitions_count, sizeof(*l->md.topics[i].partitions), by_index);
	return 0;
}

/* First and next offset of every partition, and what the replicas take on disk. */
static int read_amounts(struct look *l)
{
	size_t count = 0, n = 0;
	int code;

	for (int i = 0; i < l->md.topics_count; i++)
		count += (size_t)l->md.topics[i].partitions_count;
	l->first = ARENA_ARRAY(&l->cluster->arena, struct offset_spot, count + 1);
	l->next = ARENA_ARRAY(&l->cluster->arena, struct offset_spot, count + 1);
	for (int i = 0; i < l->md.topics_count; i++) {
		const struct kp_metadata_response_topics *t = &l->md.topics[i];
		const char *name = cluster_text(l->cluster, t->name);

		for (int p = 0; p < t->partitions_count; p++, n++) {
			l->first[n] = (struct offset_spot){.topic = name, .partition = t->partitions[p].partition_index, .time = OFFSETS_EARLIEST};
			l->next[n] = (struct offset_spot){.topic = name, .partition = t->partitions[p].partition_index, .time = OFFSETS_LATEST};
		}
	}
	if ((code = offsets_find(l->cluster, l->next, count, PATIENCE_MS)) || (code = offsets_find(l->cluster, l->first, count, PATIENCE_MS)))
		return code;
	sizes_read(l->cluster, &l->md, &l->sizes);
	return 0;
}

/* --- list ---------------------------------------------------------------------------------------------------------- */

struct totals {
	int under, offline, replicas;
	int64_t records, bytes; /* -1: not known */
};

static void add_up(const struct look *l, const struct kp_metadata_response_topics *t, size_t spot, struct totals *ret)
{
	const char *name = l->counts && t->partitions_count ? l->next[spot].topic : "";

	*ret = (struct totals){.replicas = t->partitions_count ? t->partitions[0].replica_nodes_count : 0};
	for (int i = 0; i < t->partitions_count; i++) {
		const struct kp_metadata_response_topics_partitions *p = &t->partitions[i];

		ret->under += p->isr_nodes_count < p->replica_nodes_count;
		ret->offline += p->leader_id < 0;
		if (!l->counts)
			continue;
		if (ret->records < 0 || l->next[spot + (size_t)i].error || l->first[spot + (size_t)i].error)
			ret->records = -1;
		else
			ret->records += l->next[spot + (size_t)i].offset - l->first[spot + (size_t)i].offset;
		for (int r = 0; r < p->replica_nodes_count; r++) {
			int64_t bytes = sizes_of(&l->sizes, name, p->partition_index, p->replica_nodes[r]);

			ret->bytes = ret->bytes < 0 || bytes < 0 ? -1 : ret->bytes + bytes;
		}
	}
}

static const char *number_text(char *buf, size_t cap, int64_t v)
{
	if (v < 0)
		return "?";
	snprintf(buf, cap, "%" PRId64, v);
	return buf;
}

static void list_one(const struct look *l, const struct kp_metadata_response_topics *t, size_t spot, json_t *json, struct cli_table *table)
{
	struct totals sum;
	const char *name = cluster_text(l->cluster, t->name);
	char a[24], b[24], c[24], d[24], e[24], f[24];

	add_up(l, t, spot, &sum);
	if (json) {
		json_t *o = json_pack("{s:s,s:i,s:i,s:i,s:i,s:b}", "name", name, "partitions", t->partitions_count, "replication_factor", sum.replicas,
		                      "under_replicated", sum.under, "offline", sum.offline, "internal", (int)t->is_internal);

		if (l->counts) {
			json_object_set_new(o, "records", sum.records < 0 ? json_null() : json_integer(sum.records));
			json_object_set_new(o, "size_on_disk", sum.bytes < 0 ? json_null() : json_integer(sum.bytes));
		}
		json_array_append_new(json, o);
		return;
	}
	number_text(a, sizeof(a), t->partitions_count);
	number_text(b, sizeof(b), sum.replicas);
	number_text(c, sizeof(c), sum.under);
	number_text(d, sizeof(d), sum.offline);
	if (l->counts)
		cli_table_row(table, name, a, b, c, d, number_text(e, sizeof(e), sum.records), number_text(f, sizeof(f), sum.bytes), NULL);
	else
		cli_table_row(table, name, a, b, c, d, NULL);
}

static const struct argp_option list_options[] = {
	{"counts", OPT_COUNTS, NULL, 0, "also records (next minus first offset) and bytes on disk over all replicas", 0},
	{"names", OPT_NAMES, NULL, 0, "only the names, one a line", 0},
	{0},
};
const struct argp topic_list_argp = {list_options, parse, "", "Lists the topics.", cli_global_child, NULL, NULL};

int topic_list(struct cli *cli, int argc, char **argv)
{
	struct look l = {.cli = cli};
	struct cli_table *table = NULL;
	json_t *json = NULL;
	size_t spot = 0;
	int code;

	cli_parse(&topic_list_argp, "klamm topic list", argc, argv, &l);
	if ((code = read_topics(&l)) || (l.counts && (code = read_amounts(&l))))
		return code;
	if (l.names_only && !cli->json) {
		for (int i = 0; i < l.md.topics_count; i++)
			printf("%s\n", cluster_text(l.cluster, l.md.topics[i].name));
		return 0;
	}
	if (cli->json)
		json = json_array();
	else
		table = cli_table_new(l.counts ? "TOPIC|>PARTITIONS|>REPLICAS|>UNDER-REPLICATED|>OFFLINE|>RECORDS|>BYTES"
		                               : "TOPIC|>PARTITIONS|>REPLICAS|>UNDER-REPLICATED|>OFFLINE");
	for (int i = 0; i < l.md.topics_count; i++) {
		list_one(&l, &l.md.topics[i], spot, json, table);
		spot += (size_t)l.md.topics[i].partitions_count;
	}
	if (json)
		cli_json(json_pack("{s:o}", "topics", json));
	else
		cli_table_print(table);
	sizes_free(&l.sizes);
	return 0;
}

/* --- describe ------------------------------------------------------------------------------------------------------ */

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

static json_t *known(int64_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

/* What the topic's own configuration sets, NULL if it cannot be had. */
static json_t *own_configs(struct cluster *c, const char *topic)
{
	struct kp_describe_configs_response_results r;
	json_t *result;

	if (configs_read(c, CONFIGS_TOPIC, topic, false, CLUSTER_LOOK_MS, &r) || r.error_code)
		return NULL;
	result = json_object();
	for (int i = 0; i < r.configs_count; i++) {
		const char *value = cluster_text(c, r.configs[i].value);

		if (r.configs[i].config_source == CONFIGS_FROM_TOPIC)
			json_object_set_new(result, cluster_text(c, r.configs[i].name), value ? json_string(value) : json_null());
	}
	return result;
}

/* Bytes per replica; ret_total: over all, -1 if one is not known. */
static json_t *replica_sizes(const struct look *l, const char *topic, const struct kp_metadata_response_topics_partitions *p, int64_t *ret_total)
{
	json_t *o = json_object();
	char id[16];

	*ret_total = 0;
	for (int i = 0; i < p->replica_nodes_count; i++) {
		int64_t bytes = sizes_of(&l->sizes, topic, p->partition_index, p->replica_nodes[i]);

		snprintf(id, sizeof(id), "%d", p->replica_nodes[i]);
		json_object_set_new(o, id, known(bytes));
		*ret_total = *ret_total < 0 || bytes < 0 ? -1 : *ret_total + bytes;
	}
	return o;
}

static void describe_partition(const struct look *l, const struct kp_metadata_response_topics_partitions *p, size_t spot, int64_t *total, json_t *json,
                               struct cli_table *table)
{
	const struct offset_spot *first = &l->first[spot], *next = &l->next[spot];
	bool under = p->isr_nodes_count < p->replica_nodes_count, offline = p->leader_id < 0;
	int64_t all, leader_bytes = sizes_of(&l->sizes, next->topic, p->partition_index, p->leader_id);
	json_t *sizes = replica_sizes(l, next->topic, p, &all);
	char part[16], leader[16], replicas[256], isr[256], low[24], high[24], bytes[24];

	*total = *total < 0 || all < 0 ? -1 : *total + all;
	if (json) {
		json_array_append_new(json, json_pack("{s:i,s:i,s:o,s:o,s:b,s:b,s:o,s:o,s:o,s:o}", "partition", p->partition_index, "leader", p->leader_id,
		                                      "replicas", ids_json(p->replica_nodes, p->replica_nodes_count), "isr",
		                                      ids_json(p->isr_nodes, p->isr_nodes_count), "under_replicated", (int)under, "offline", (int)offline,
		                                      "first_offset", known(first->offset), "next_offset", known(next->offset), "size_on_disk", known(all),
		                                      "replica_sizes", sizes));
		return;
	}
	json_decref(sizes);
	snprintf(part, sizeof(part), "%d", p->partition_index);
	snprintf(leader, sizeof(leader), offline ? "none" : "%d", p->leader_id);
	cli_table_row(table, part, leader, ids_text(p->replica_nodes, p->replica_nodes_count, replicas, sizeof(replicas)),
	              ids_text(p->isr_nodes, p->isr_nodes_count, isr, sizeof(isr)), number_text(low, sizeof(low), first->offset),
	              number_text(high, sizeof(high), next->offset), number_text(bytes, sizeof(bytes), leader_bytes),
	              offline ? "offline" : under ? "under-replicated" : "", NULL);
}

static void describe_one(const struct look *l, const struct kp_metadata_response_topics *t, size_t spot, json_t *topics)
{
	const char *name = cluster_text(l->cluster, t->name), *key;
	json_t *parts = topics ? json_array() : NULL, *configs = own_configs(l->cluster, name), *value;
	struct cli_table *table = topics ? NULL : cli_table_new(">PARTITION|>LEADER|REPLICAS|IN SYNC|>FIRST|>NEXT|>BYTES|STATE");
	int replicas = t->partitions_count ? t->partitions[0].replica_nodes_count : 0;
	int64_t total = 0;
	char id[UUID_TEXT_LEN + 1], bytes[24];

	for (int i = 0; i < t->partitions_count; i++)
		describe_partition(l, &t->partitions[i], spot + (size_t)i, &total, parts, table);
	uuid_format(&t->topic_id, id);
	if (topics) {
		json_array_append_new(topics, json_pack("{s:s,s:s,s:b,s:i,s:o,s:o,s:o}", "name", name, "topic_id", id, "internal", (int)t->is_internal,
		                                        "replication_factor", replicas, "configs", configs ? configs : json_null(), "size_on_disk",
		                                        known(total), "partitions", parts));
		return;
	}
	printf("topic %s: %d partitions, %d replicas, %s bytes on disk%s, id %s\n", name, t->partitions_count, replicas,
	       number_text(bytes, sizeof(bytes), total), t->is_internal ? ", internal" : "", id);
	json_object_foreach(configs, key, value)
		printf("  %s=%s\n", key, json_string_value(value) ? json_string_value(value) : "");
	cli_table_print(table);
	json_decref(configs);
}

const struct argp topic_describe_argp = {NULL, parse, "[TOPIC]", "Shows partitions, replicas, offsets, sizes and configuration of one topic, or of all.",
                                         cli_global_child, NULL, NULL};

int topic_describe(struct cli *cli, int argc, char **argv)
{
	struct look l = {.cli = cli, .name_wanted = true};
	json_t *topics;
	size_t spot = 0;
	int code;

	cli_parse(&topic_describe_argp, "klamm topic describe", argc, argv, &l);
	if ((code = read_topics(&l)) || (code = read_amounts(&l)))
		return code;
	topics = cli->json ? json_array() : NULL;
	for (int i = 0; i < l.md.topics_count; i++) {
		if (i && !topics)
			putchar('\n');
		describe_one(&l, &l.md.topics[i], spot, topics);
		spot += (size_t)l.md.topics[i].partitions_count;
	}
	if (topics)
		cli_json(json_pack("{s:o}", "topics", topics));
	sizes_free(&l.sizes);
	return 0;
}
