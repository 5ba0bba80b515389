/* status.c: klamm status: brokers, controller, partitions that need help; exit 5 when there are any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cli.h"

#define SHOWN_MAX 20 /* partitions listed as text; JSON has them all */

struct health {
	int partitions, under, offline, shown;
	json_t *problems;
	struct cli_table *table;
	int32_t *dead; /* brokers that hold replicas and are not up */
	int dead_count;
};

static bool is_up(const struct rd_kafka_metadata *md, int32_t id)
{
	for (int i = 0; i < md->broker_cnt; i++)
		if (md->brokers[i].id == id)
			return true;
	return false;
}

static void note_dead(struct health *h, int32_t id)
{
	for (int i = 0; i < h->dead_count; i++)
		if (h->dead[i] == id)
			return;
	h->dead = realloc(h->dead, (size_t)(h->dead_count + 1) * sizeof(*h->dead));
	if (!h->dead)
		abort();
	h->dead[h->dead_count++] = id;
}

static void problem(struct health *h, const char *topic, const struct rd_kafka_metadata_partition *p)
{
	json_t *replicas = json_array(), *isr = json_array();
	char part[16], leader[16], a[256] = "", b[256] = "";
	size_t n = 0, m = 0;

	for (int i = 0; i < p->replica_cnt; i++) {
		json_array_append_new(replicas, json_integer(p->replicas[i]));
		if (n + 16 < sizeof(a))
			n += (size_t)snprintf(a + n, sizeof(a) - n, "%s%d", i ? "," : "", p->replicas[i]);
	}
	for (int i = 0; i < p->isr_cnt; i++) {
		json_array_append_new(isr, json_integer(p->isrs[i]));
		if (m + 16 < sizeof(b))
			m += (size_t)snprintf(b + m, sizeof(b) - m, "%s%d", i ? "," : "", p->isrs[i]);
	}
	if (h->shown++ < SHOWN_MAX) {
		snprintf(part, sizeof(part), "%d", p->id);
		snprintf(leader, sizeof(leader), p->leader < 0 ? "none" : "%d", p->leader);
		cli_table_row(h->table, topic, part, leader, a, b, p->leader < 0 ? "offline" : "under-replicated", NULL);
	}
	json_array_append_new(h->problems, json_pack("{s:s,s:i,s:s,s:i,s:o,s:o}", "topic", topic, "partition", p->id, "problem",
	                                             p->leader < 0 ? "offline" : "under-replicated", "leader", p->leader, "replicas", replicas,
	                                             "isr", isr));
}

static void look(const struct rd_kafka_metadata *md, struct health *h)
{
	for (int t = 0; t < md->topic_cnt; t++)
		for (int i = 0; i < md->topics[t].partition_cnt; i++) {
			const struct rd_kafka_metadata_partition *p = &md->topics[t].partitions[i];
			bool under = p->isr_cnt < p->replica_cnt, offline = p->leader < 0;

			h->partitions++;
			h->under += under;
			h->offline += offline;
			for (int r = 0; r < p->replica_cnt; r++)
				if (!is_up(md, p->replicas[r]))
					note_dead(h, p->replicas[r]);
			if (under || offline)
				problem(h, md->topics[t].topic, p);
		}
}

static void print_json(struct cli *cli, const struct rd_kafka_metadata *md, struct health *h, int32_t controller, const char *cluster)
{
	json_t *brokers = json_array(), *dead = json_array();

	for (int i = 0; i < md->broker_cnt; i++)
		json_array_append_new(brokers, json_pack("{s:i,s:s,s:i}", "id", md->brokers[i].id, "host", md->brokers[i].host, "port",
		                                         md->brokers[i].port));
	for (int i = 0; i < h->dead_count; i++)
		json_array_append_new(dead, json_integer(h->dead[i]));
	cli_json(json_pack("{s:b,s:s?,s:i,s:o,s:o,s:i,s:i,s:i,s:i,s:O}", "healthy", !h->under && !h->offline, "cluster_id", cluster, "controller",
	                   controller, "brokers", brokers, "brokers_down", dead, "topics", md->topic_cnt, "partitions", h->partitions,
	                   "under_replicated", h->under, "offline", h->offline, "problems", h->problems));
}

static void print_text(const struct rd_kafka_metadata *md, struct health *h, int32_t controller, const char *cluster)
{
	struct cli_table *brokers = cli_table_new(">BROKER|ADDRESS|STATE");
	char id[16], address[300];

	printf("cluster %s: %s\n", cluster ? cluster : "?", h->offline ? "partitions are OFFLINE" : h->under ? "UNDER-REPLICATED" : "healthy");
	for (int i = 0; i < md->broker_cnt; i++) {
		snprintf(id, sizeof(id), "%d", md->brokers[i].id);
		snprintf(address, sizeof(address), "%s:%d", md->brokers[i].host, md->brokers[i].port);
		cli_table_row(brokers, id, address, md->brokers[i].id == controller ? "up, controller" : "up", NULL);
	}
	for (int i = 0; i < h->dead_count; i++) {
		snprintf(id, sizeof(id), "%d", h->dead[i]);
		cli_table_row(brokers, id, "-", "down", NULL);
	}
	cli_table_print(brokers);
	printf("%d topics, %d partitions, %d under-replicated, %d offline\n", md->topic_cnt, h->partitions, h->under, h->offline);
	if (!h->shown)
		return;
	cli_table_print(h->table);
	h->table = NULL;
	if (h->shown > SHOWN_MAX)
		printf("... and %d more (--json shows all)\n", h->shown - SHOWN_MAX);
	if (h->dead_count)
		printf("Start the brokers that are down; their replicas catch up by themselves.\n");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = state->input; break;
	case ARGP_KEY_ARG: argp_error(state, "'%s' is too much", arg); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

int status_run(struct cli *cli, int argc, char **argv)
{
	static const struct argp_child children[] = {{.argp = &cli_globals}, {0}};
	static const struct argp argp = {NULL, parse, "", "Is the cluster well? Exit status 5 if something is offline or under-replicated.",
	                                 children, NULL, NULL};
	const struct rd_kafka_metadata *md;
	struct health h = {0};
	int32_t controller;
	char *cluster;
	int code;

	cli_parse(&argp, "klamm status", argc, argv, cli);
	if ((code = cli_open(cli, RD_KAFKA_CONSUMER, NULL)) || (code = cli_metadata(cli, NULL, &md)))
		return code;
	controller = rd_kafka_controllerid(cli->rk, 1000);
	cluster = rd_kafka_clusterid(cli->rk, 1000);
	h.problems = json_array();
	h.table = cli_table_new("TOPIC|>PARTITION|>LEADER|REPLICAS|IN SYNC|STATE");
	look(md, &h);
	if (cli->json)
		print_json(cli, md, &h, controller, cluster);
	else
		print_text(md, &h, controller, cluster);
	if (h.table)
		cli_table_free(h.table);
	json_decref(h.problems);
	free(h.dead);
	if (cluster)
		rd_kafka_mem_free(cli->rk, cluster);
	rd_kafka_metadata_destroy(md);
	return h.under || h.offline ? CLI_UNHEALTHY : CLI_DONE;
}
