/* status.c: klamm status: brokers, controller, partitions that need help; exit 5 when there are any. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/table.h"

#define SHOWN_MAX 20 /* partitions listed as text; JSON has them all */

struct health {
	int partitions, under, offline, shown;
	json_t *problems;
	struct cli_table *table;
	int32_t *dead; /* brokers that hold replicas and are not up */
	int dead_count;
};

static void note_dead(struct health *h, int32_t id)
{
	for (int i = 0; i < h->dead_count; i++)
		if (h->dead[i] == id)
			return;
	h->dead = mem_realloc(h->dead, (size_t)(h->dead_count + 1) * sizeof(*h->dead));
	h->dead[h->dead_count++] = id;
}

static void problem(struct health *h, const char *topic, const struct kp_metadata_response_topics_partitions *p)
{
	json_t *replicas = json_array(), *isr = json_array();
	char part[16], leader[16], a[256] = "", b[256] = "";
	size_t n = 0, m = 0;

	for (int i = 0; i < p->replica_nodes_count; i++) {
		json_array_append_new(replicas, json_integer(p->replica_nodes[i]));
		if (n + 16 < sizeof(a))
			n += (size_t)snprintf(a + n, sizeof(a) - n, "%s%d", i ? "," : "", p->replica_nodes[i]);
	}
	for (int i = 0; i < p->isr_nodes_count; i++) {
		json_array_append_new(isr, json_integer(p->isr_nodes[i]));
		if (m + 16 < sizeof(b))
			m += (size_t)snprintf(b + m, sizeof(b) - m, "%s%d", i ? "," : "", p->isr_nodes[i]);
	}
	if (h->shown++ < SHOWN_MAX) {
		snprintf(part, sizeof(part), "%d", p->partition_index);
		snprintf(leader, sizeof(leader), p->leader_id < 0 ? "none" : "%d", p->leader_id);
		cli_table_row(h->table, topic, part, leader, a, b, p->leader_id < 0 ? "offline" : "under-replicated", NULL);
	}
	json_array_append_new(h->problems, json_pack("{s:s,s:i,s:s,s:i,s:o,s:o}", "topic", topic, "partition", p->partition_index, "problem",
	                                             p->leader_id < 0 ? "offline" : "under-replicated", "leader", p->leader_id, "replicas", replicas,
	                                             "isr", isr));
}

static void look(struct cluster *c, const struct kp_metadata_response *md, struct health *h)
{
	for (int t = 0; t < md->topics_count; t++)
		for (int i = 0; i < md->topics[t].partitions_count; i++) {
			const struct kp_metadata_response_topics_partitions *p = &md->topics[t].partitions[i];
			bool under = p->isr_nodes_count < p->replica_nodes_count, offline = p->leader_id < 0;

			h->partitions++;
			h->under += under;
			h->offline += offline;
			for (int r = 0; r < p->replica_nodes_count; r++)
				if (!cluster_broker(c, p->replica_nodes[r]))
					note_dead(h, p->replica_nodes[r]);
			if (under || offline)
				problem(h, cluster_text(c, md->topics[t].name), p);
		}
}

static void print_json(struct cluster *c, int topics, struct health *h)
{
	json_t *brokers = json_array(), *dead = json_array();

	for (int i = 0; i < c->broker_count; i++)
		json_array_append_new(brokers, json_pack("{s:i,s:s,s:i,s:s?}", "id", c->brokers[i].node_id, "host", cluster_text(c, c->brokers[i].host), "port",
		                                         c->brokers[i].port, "rack", cluster_text(c, c->brokers[i].rack)));
	for (int i = 0; i < h->dead_count; i++)
		json_array_append_new(dead, json_integer(h->dead[i]));
	cli_json(json_pack("{s:b,s:s?,s:i,s:o,s:o,s:i,s:i,s:i,s:i,s:O}", "healthy", !h->under && !h->offline, "cluster_id", cluster_text(c, c->cluster_id),
	                   "controller", c->controller, "brokers", brokers, "brokers_down", dead, "topics", topics, "partitions", h->partitions,
	                   "under_replicated", h->under, "offline", h->offline, "problems", h->problems));
}

static void print_text(struct cluster *c, int topics, struct health *h)
{
	struct cli_table *brokers = cli_table_new(">BROKER|ADDRESS|RACK|STATE");
	const char *cluster = cluster_text(c, c->cluster_id);
	char id[16], address[300];

	printf("cluster %s: %s\n", cluster ? cluster : "?", h->offline ? "partitions are OFFLINE" : h->under ? "UNDER-REPLICATED" : "healthy");
	for (int i = 0; i < c->broker_count; i++) {
		snprintf(id, sizeof(id), "%d", c->brokers[i].node_id);
		snprintf(address, sizeof(address), "%s:%d", cluster_text(c, c->brokers[i].host), c->brokers[i].port);
		cli_table_row(brokers, id, address, cluster_text(c, c->brokers[i].rack), c->brokers[i].node_id == c->controller ? "up, controller" : "up", NULL);
	}
	for (int i = 0; i < h->dead_count; i++) {
		snprintf(id, sizeof(id), "%d", h->dead[i]);
		cli_table_row(brokers, id, "-", "", "down", NULL);
	}
	cli_table_print(brokers);
	printf("%d topics, %d partitions, %d under-replicated, %d offline\n", topics, h->partitions, h->under, h->offline);
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

const struct argp status_argp = {NULL, parse, "", "Is the cluster well? Exit status 5 if something is offline or under-replicated.", cli_global_child,
                                 NULL, NULL};

int status_run(struct cli *cli, int argc, char **argv)
{
	struct kp_metadata_response md;
	struct health h = {0};
	int code;

	cli_parse(&status_argp, "klamm status", argc, argv, cli);
	if ((code = cluster_open(cli)) || (code = cluster_metadata(cli->cluster, NULL, -1, &md)))
		return code;
	h.problems = json_array();
	h.table = cli_table_new("TOPIC|>PARTITION|>LEADER|REPLICAS|IN SYNC|STATE");
	look(cli->cluster, &md, &h);
	if (cli->json)
		print_json(cli->cluster, md.topics_count, &h);
	else
		print_text(cli->cluster, md.topics_count, &h);
	if (h.table)
		cli_table_free(h.table);
	json_decref(h.problems);
	mem_free(h.dead);
	return h.under || h.offline ? CLI_UNHEALTHY : CLI_DONE;
}
