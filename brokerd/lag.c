/* lag.c: consumer lag for /metrics: how far the committed offsets of the groups that this broker coordinates are behind.
 *
 * A round each few seconds: coordinators name committed offsets (at most LAG_ROWS_MAX, so that cardinality is bounded whatever clients do), the
 * owners of those partitions name their high watermarks, and what is between is added up by group and topic. A partition without a replica on this
 * broker is left out: its end is not known here.
 * Thread: the control loop.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "brokerd/broker_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define LAG_ROWS_MAX 1000

struct lag_row {
	char *group, *topic;
	int64_t lag;
	uint32_t partitions;
};

struct lag_ask { /* to one shard */
	struct offsets_msg m;
	struct lag *lag;
	uint32_t *rows; /* which of lag.found, by question */
};

struct lag {
	struct broker *b;
	bool out;
	uint32_t waiting;
	struct group_msg *msgs; /* per loop */
	struct image *image;
	struct group_offset_row *found;
	uint32_t found_count;
	size_t found_cap;
	struct lag_ask *asks;   /* per loop */
	/* the result of the last round */
	struct lag_row *rows;
	uint32_t row_count;
};

static void rows_drop(struct lag *g)
{
	for (uint32_t i = 0; i < g->row_count; i++) {
		mem_free(g->rows[i].group);
		mem_free(g->rows[i].topic);
	}
	mem_free(g->rows);
	g->rows = NULL;
	g->row_count = 0;
}

static void found_drop(struct lag *g)
{
	for (uint32_t i = 0; i < g->found_count; i++) {
		mem_free(g->found[i].group);
		mem_free(g->found[i].topic);
	}
	g->found_count = 0;
}

static void asks_drop(struct lag *g)
{
	for (uint32_t l = 0; g->asks && l < g->b->loop_count; l++) {
		mem_free(g->asks[l].m.questions);
		mem_free(g->asks[l].rows);
	}
	mem_free(g->asks);
	g->asks = NULL;
}

static int by_group_and_topic(const void *x, const void *y)
{
	const struct lag_row *a = x, *b = y;
	int d = strcmp(a->group, b->group);
	return d ? d : strcmp(a->topic, b->topic);
}

/* found[i].offset is the lag by now, -1 when the end is not known. */
static void add_up(struct lag *g)
{
	uint32_t n = 0, kept = 0;
	rows_drop(g);
	g->rows = mem_zalloc(sizeof(*g->rows) * (g->found_count + 1));
	for (uint32_t i = 0; i < g->found_count; i++)
		if (g->found[i].offset >= 0)
			g->rows[n++] = (struct lag_row){g->found[i].group, g->found[i].topic, g->found[i].offset, 1};
	qsort(g->rows, n, sizeof(*g->rows), by_group_and_topic);
	for (uint32_t i = 0; i < n; i++) {
		if (kept && by_group_and_topic(&g->rows[kept - 1], &g->rows[i]) == 0) {
			g->rows[kept - 1].lag += g->rows[i].lag;
			g->rows[kept - 1].partitions++;
			continue;
		}
		g->rows[kept] = g->rows[i];
		g->rows[kept].group = mem_strdup(g->rows[i].group);
		g->rows[kept].topic = mem_strdup(g->rows[i].topic);
		kept++;
	}
	g->row_count = kept;
}

static void round_over(struct lag *g)
{
	add_up(g);
	found_drop(g);
	asks_drop(g);
	image_unref(g->image);
	g->image = NULL;
	g->out = false;
}

static void ends_known(struct offsets_msg *m)
{
	struct lag_ask *k = CONTAINER_OF(m, struct lag_ask, m);
	struct lag *g = k->lag;
	for (uint32_t i = 0; i < m->count; i++) {
		struct group_offset_row *row = &g->found[k->rows[i]];
		const struct offset_question *q = &m->questions[i];
		row->offset = q->error || q->ret_offset < 0 ? -1 : q->ret_offset > row->offset ? q->ret_offset - row->offset : 0;
	}
	if (--g->waiting == 0)
		round_over(g);
}

static void ask_ends(struct lag *g)
{
	struct broker *b = g->b;
	g->image = image_ref(ctl_image(b->ctl));
	g->asks = mem_zalloc(sizeof(*g->asks) * b->loop_count);
	for (uint32_t l = 0; l < b->loop_count; l++) {
		g->asks[l] = (struct lag_ask){.lag = g, .m = {.shard = b->shards[l], .image = g->image, .done = ends_known}};
		g->asks[l].rows = mem_alloc(sizeof(uint32_t) * (g->found_count + 1));
		g->asks[l].m.questions = mem_zalloc(sizeof(struct offset_question) * (g->found_count + 1));
	}
	for (uint32_t i = 0; i < g->found_count; i++) {
		struct group_offset_row *row = &g->found[i];
		const struct image_topic *t = image_find_topic(g->image, slice_str(row->topic));
		if (!image_topic_partition(t, row->partition)) {
			row->offset = -1;
			continue;
		}
		struct lag_ask *k = &g->asks[partition_owner(b->env->hash_seed, &t->id, slice_str(t->name), row->partition, b->loop_count)];
		k->rows[k->m.count] = i;
		k->m.questions[k->m.count++] = (struct offset_question){.topic = t, .partition = row->partition, .current_leader_epoch = -1, .kind = ASK_TIME, .timestamp = -1, .any_replica = true};
	}
	g->waiting = b->loop_count;
	for (uint32_t l = 0; l < b->loop_count; l++)
		shard_post_offsets(&g->asks[l].m);
}

static void offsets_known(struct group_msg *m)
{
	struct lag *g = m->ctx;
	MEM_GROW(g->found, g->found_cap, g->found_count + m->offset_count + 1);
	if (m->offset_count)
		memcpy(g->found + g->found_count, m->offsets, sizeof(*m->offsets) * m->offset_count);
	g->found_count += m->offset_count;
	mem_free(m->offsets);
	m->offsets = NULL;
	if (--g->waiting == 0)
		ask_ends(g);
}

void lag_round(struct lag *g)
{
	struct broker *b = g->b;
	if (g->out)
		return;
	g->out = true;
	g->waiting = b->loop_count;
	for (uint32_t l = 0; l < b->loop_count; l++) {
		g->msgs[l] = (struct group_msg){.coordinator = b->coordinators[l], .kind = GROUP_LAG, .count = LAG_ROWS_MAX / b->loop_count, .done = offsets_known, .ctx = g};
		group_post(&g->msgs[l]);
	}
}

struct lag *lag_new(struct broker *b)
{
	struct lag *g = MEM_NEW(struct lag);
	g->b = b;
	g->msgs = mem_zalloc(sizeof(*g->msgs) * b->loop_count);
	return g;
}

void lag_free(struct lag *g)
{
	if (!g)
		return;
	for (uint32_t l = 0; l < g->b->loop_count; l++) { /* answers that never arrived */
		for (uint32_t i = 0; i < g->msgs[l].offset_count && g->msgs[l].offsets; i++) {
			mem_free(g->msgs[l].offsets[i].group);
			mem_free(g->msgs[l].offsets[i].topic);
		}
		mem_free(g->msgs[l].offsets);
	}
	rows_drop(g);
	found_drop(g);
	mem_free(g->found);
	asks_drop(g);
	image_unref(g->image);
	mem_free(g->msgs);
	mem_free(g);
}

/* A label's value: whatever a client called its group. */
static void label(struct str *o, const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			str_printf(o, "\\%c", *s);
		else if (*s == '\n')
			str_add(o, "\\n");
		else
			str_add_bytes(o, s, 1);
	}
}

void lag_metrics(const struct lag *g, struct str *o)
{
	str_add(o, "# HELP klamm_consumer_lag Records between committed offsets and ends, of groups coordinated here, over the partitions that have a replica here.\n# TYPE klamm_consumer_lag gauge\n");
	for (uint32_t i = 0; g && i < g->row_count; i++) {
		str_add(o, "klamm_consumer_lag{group=\"");
		label(o, g->rows[i].group);
		str_add(o, "\",topic=\"");
		label(o, g->rows[i].topic);
		str_printf(o, "\"} %" PRId64 "\n", g->rows[i].lag);
	}
}
