/* grow.c: more partitions for a topic. See grow.h. */
#include "controllerd/plan/grow.h"

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/plan/assign.h"

static void list_ids(struct str *out, const struct plan_ids *s)
{
	for (int32_t i = 0; i < s->n; i++)
		str_printf(out, "%s%d", i ? ", " : "", s->v[i]);
}

/* In Kafka's order: brokers nobody knows, their number, each list by itself, then all of them against partition 0. */
static int16_t check_manual(const struct plan_image *im, const struct plan_ids *first, int32_t old_count, const struct plan_growth *g, struct str *problem)
{
	struct plan_ids unknown = {0};
	for (int32_t i = 0; i < g->manual_count; i++)
		for (int32_t k = 0; k < g->manual[i].n; k++) {
			const struct plan_broker *b = plan_broker_find(im, g->manual[i].v[k]);
			if (!b || !b->registered)
				plan_ids_add(&unknown, g->manual[i].v[k]);
		}
	if (unknown.n) {
		str_add(problem, "Unknown broker(s) in replica assignment: ");
		list_ids(problem, &unknown);
		str_add(problem, ".");
		plan_ids_fini(&unknown);
		return KERR_INVALID_REPLICA_ASSIGNMENT;
	}
	if (g->manual_count != g->count - old_count) {
		str_printf(problem, "Increasing the number of partitions by %d but %d assignments provided.", g->count - old_count, g->manual_count);
		return KERR_INVALID_REPLICA_ASSIGNMENT;
	}
	struct str odd = {0}, factors = {0};
	int16_t code = KERR_NONE;
	for (int32_t i = 0; i < g->manual_count && !code; i++) {
		const struct plan_ids *r = &g->manual[i];
		bool twice = false;
		for (int32_t k = 0; k < r->n; k++)
			twice |= plan_ids_has(&(struct plan_ids){r->v, k}, r->v[k]);
		if (r->n == 0) {
			str_printf(problem, "Cannot have replication factor of 0 for partition id %d.", old_count + i);
			code = KERR_INVALID_REPLICA_ASSIGNMENT;
		} else if (twice) {
			str_add(problem, "Duplicate brokers not allowed in replica assignment: ");
			list_ids(problem, r);
			str_printf(problem, " for partition id %d.", old_count + i);
			code = KERR_INVALID_REPLICA_ASSIGNMENT;
		} else if (r->n != first->n) {
			str_printf(&odd, "%s%d", odd.len ? ", " : "", old_count + i);
			str_printf(&factors, "%s%d", factors.len ? ", " : "", r->n);
		}
	}
	if (!code && odd.len) {
		str_printf(problem, "Inconsistent replication factor between partitions, partition 0 has %d while partitions [%s] have replication factors [%s], respectively.",
			   first->n, str_cstr(&odd), str_cstr(&factors));
		code = KERR_INVALID_REPLICA_ASSIGNMENT;
	}
	str_fini(&odd);
	str_fini(&factors);
	return code;
}

static void take(struct plan_growth *g, int32_t at, int32_t idx, const int32_t *ids, int32_t n)
{
	g->partitions[at].idx = idx;
	plan_ids_set(&g->partitions[at].replicas, ids, n);
}

static int16_t place(const struct plan_image *im, const struct plan_ids *first, int32_t old_count, struct plan_growth *g, struct str *problem)
{
	struct assign_broker *brokers = mem_zalloc(sizeof(*brokers) * ((size_t)HASH_COUNT(im->brokers) + 1));
	struct assign_request q = {.brokers = brokers, .first_partition = old_count, .partitions = g->count - old_count, .replication_factor = first->n};
	int32_t start = -1;
	for (const struct plan_broker *b = im->brokers; b; b = b->hh.next) {
		if (!b->available || b->shutting_down)
			continue;
		if (start < 0 && b->id >= first->v[0])
			start = q.broker_count;
		brokers[q.broker_count++] = (struct assign_broker){b->id, b->rack};
	}
	q.start = q.shift = start < 0 ? 0 : start;
	int32_t *ids = mem_alloc(sizeof(int32_t) * (size_t)q.partitions * (size_t)first->n);
	int err = assign_replicas(&q, ids);
	int16_t code = err == 0 ? KERR_NONE : err == ERR_RANGE ? KERR_INVALID_REPLICATION_FACTOR : KERR_UNKNOWN_SERVER_ERROR;
	if (err == ERR_RANGE)
		str_printf(problem, "Replication factor: %d larger than available brokers: %d.", first->n, q.broker_count);
	else if (err)
		str_add(problem, "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.");
	for (int32_t i = 0; !err && i < q.partitions; i++)
		take(g, i, old_count + i, ids + (size_t)i * (size_t)first->n, first->n);
	mem_free(ids);
	mem_free(brokers);
	return code;
}

int16_t plan_topic_grow(const struct plan_image *im, const struct plan_topic *t, struct plan_growth *g, struct str *problem)
{
	int32_t old_count = t->partition_count;
	const struct plan_partition *first = plan_partition_find(t, 0);
	g->partitions = NULL;
	g->partition_count = 0;
	if (g->count < old_count) {
		str_printf(problem, "Topic currently has %d partitions, which is higher than the requested %d.", old_count, g->count);
		return KERR_INVALID_PARTITIONS;
	}
	if (g->count == old_count) {
		str_printf(problem, "Topic already has %d partitions.", old_count);
		return KERR_INVALID_PARTITIONS;
	}
	if (g->count > PLAN_NEW_PARTITIONS_MAX) {
		str_printf(problem, "Number of partitions %d is above the limit of %d", g->count, PLAN_NEW_PARTITIONS_MAX);
		return KERR_INVALID_PARTITIONS;
	}
	if (!first) { /* written so by hand */
		str_printf(problem, "Unexpected existing replica assignment for topic '%s', partition id 0 is missing.", t->name);
		return KERR_UNKNOWN_SERVER_ERROR;
	}
	int16_t code = g->manual ? check_manual(im, &first->replicas, old_count, g, problem) : KERR_NONE;
	if (code)
		return code;
	g->partition_count = g->count - old_count;
	g->partitions = mem_zalloc(sizeof(*g->partitions) * (size_t)g->partition_count);
	for (int32_t i = 0; g->manual && i < g->partition_count; i++)
		take(g, i, old_count + i, g->manual[i].v, g->manual[i].n);
	if (!g->manual)
		code = place(im, &first->replicas, old_count, g, problem);
	if (code)
		plan_growth_fini(g);
	return code;
}

void plan_growth_fini(struct plan_growth *g)
{
	for (int32_t i = 0; i < g->partition_count; i++)
		plan_ids_fini(&g->partitions[i].replicas);
	mem_free(g->partitions);
	g->partitions = NULL;
	g->partition_count = 0;
}
