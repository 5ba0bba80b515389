/* assign.c: replica placement. See assign.h. */
#include "controllerd/plan/assign.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* Place of the k-th further replica, going round from the first one and never meeting it. */
static int32_t further(int32_t first, int32_t shift, int32_t k, int32_t n)
{
	return (int32_t)((first + 1 + ((int64_t)shift + k) % (n - 1)) % n);
}

static void assign_plain(const struct assign_request *q, int32_t *out)
{
	int32_t n = q->broker_count, shift = q->shift;
	for (int32_t i = 0; i < q->partitions; i++) {
		int32_t p = q->first_partition + i;
		if (p > 0 && p % n == 0)
			shift++;
		int32_t first = (int32_t)(((int64_t)p + q->start) % n);
		*out++ = q->brokers[first].id;
		for (int32_t k = 0; k < q->replication_factor - 1; k++)
			*out++ = q->brokers[further(first, shift, k, n)].id;
	}
}

struct racked {
	int32_t id, rack; /* index into the sorted rack names */
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One broker of each rack in turn, racks in order of their names. Gives the number of racks. */
static int32_t interleave(const struct assign_request *q, struct racked *out)
{
	int32_t n = q->broker_count, racks = 0;
	const char **names = mem_alloc(sizeof(*names) * (size_t)n);
	for (int32_t i = 0; i < n; i++)
		names[i] = q->brokers[i].rack;
	qsort(names, (size_t)n, sizeof(*names), by_text);
	for (int32_t i = 0; i < n; i++)
		if (racks == 0 || strcmp(names[racks - 1], names[i]) != 0)
			names[racks++] = names[i];
	bool *used = mem_zalloc((size_t)n);
	for (int32_t at = 0, rack = 0; at < n; rack = (rack + 1) % racks) {
		for (int32_t i = 0; i < n; i++) {
			if (used[i] || strcmp(q->brokers[i].rack, names[rack]) != 0)
				continue;
			used[i] = true;
			out[at++] = (struct racked){q->brokers[i].id, rack};
			break;
		}
	}
	mem_free(used);
	mem_free(names);
	return racks;
}

static void assign_racked(const struct assign_request *q, int32_t *out)
{
	int32_t n = q->broker_count, shift = q->shift;
	struct racked *list = mem_alloc(sizeof(*list) * (size_t)n);
	int32_t racks = interleave(q, list);
	bool *rack_used = mem_alloc((size_t)racks), *broker_used = mem_alloc((size_t)n);
	for (int32_t i = 0; i < q->partitions; i++) {
		int32_t p = q->first_partition + i;
		if (p > 0 && p % n == 0)
			shift++;
		int32_t first = (int32_t)(((int64_t)p + q->start) % n);
		memset(rack_used, 0, (size_t)racks);
		memset(broker_used, 0, (size_t)n);
		rack_used[list[first].rack] = broker_used[first] = true;
		*out++ = list[first].id;
		int32_t racks_used = 1;
		for (int32_t k = 0, placed = 1; placed < q->replication_factor; k++) {
			/* racks take part in the shift, so that partitions whose first replica shares a broker spread over racks */
			int32_t at = (int32_t)((first + 1 + ((int64_t)shift * racks + k) % (n - 1)) % n);
			if (broker_used[at] || (rack_used[list[at].rack] && racks_used < racks))
				continue;
			broker_used[at] = true;
			if (!rack_used[list[at].rack]) {
				rack_used[list[at].rack] = true;
				racks_used++;
			}
			*out++ = list[at].id;
			placed++;
		}
	}
	mem_free(rack_used);
	mem_free(broker_used);
	mem_free(list);
}

int assign_replicas(const struct assign_request *q, int32_t *ret_ids)
{
	if (q->partitions < 1 || q->replication_factor < 1 || q->first_partition < 0)
		return ERR_INVAL;
	if (q->replication_factor > q->broker_count)
		return ERR_RANGE;
	int32_t with_rack = 0;
	for (int32_t i = 0; i < q->broker_count; i++)
		with_rack += q->brokers[i].rack != NULL;
	if (with_rack != 0 && with_rack != q->broker_count)
		return ERR_INVAL;
	if (with_rack)
		assign_racked(q, ret_ids);
	else
		assign_plain(q, ret_ids);
	return 0;
}
