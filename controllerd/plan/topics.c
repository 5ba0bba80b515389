/* topics.c: validation of new topics. See topics.h. */
#include "controllerd/plan/topics.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/config/topic_config.h"
#include "common/wire/kerr.h"
#include "controllerd/plan/assign.h"

enum { REPLICAS_MAX = 1000 };

int16_t plan_topic_name_check(struct slice name, struct str *problem)
{
	return topic_name_check(name, problem) ? KERR_INVALID_TOPIC_EXCEPTION : KERR_NONE;
}

bool plan_topic_internal(struct slice name)
{
	return slice_eq_str(name, "__consumer_offsets") || slice_eq_str(name, "__transaction_state");
}

/* Names that differ only in '.' and '_' would share a metric name in Kafka. */
static const struct plan_topic *collision(const struct plan_image *im, struct slice name)
{
	if (!memchr(name.ptr, '.', name.len) && !memchr(name.ptr, '_', name.len))
		return NULL;
	for (const struct plan_topic *t = im->by_name; t; t = t->by_name.next) {
		if (strlen(t->name) != name.len)
			continue;
		size_t i = 0;
		while (i < name.len && (t->name[i] == '.' ? '_' : t->name[i]) == (name.ptr[i] == '.' ? '_' : name.ptr[i]))
			i++;
		if (i == name.len)
			return t;
	}
	return NULL;
}

static int16_t check_configs(const struct plan_new_topic *t, struct str *problem)
{
	bool null = false;
	for (int32_t i = 0; i < t->config_count; i++) {
		if (t->configs[i].value)
			continue;
		str_printf(problem, "%s%s", null ? "," : "Null value not supported for topic configs: ", t->configs[i].key);
		null = true;
	}
	if (null)
		return KERR_INVALID_CONFIG;
	for (int32_t i = 0; i < t->config_count; i++) {
		if (topic_config_check(t->configs[i].key, t->configs[i].value, plan_topic_internal(t->name), problem))
			return KERR_INVALID_CONFIG;
	}
	return KERR_NONE;
}

static int by_idx(const void *a, const void *b)
{
	int32_t x = ((const struct plan_new_partition *)a)->idx, y = ((const struct plan_new_partition *)b)->idx;
	return x < y ? -1 : x > y;
}

static int16_t take_manual(struct plan_new_topic *t, struct str *problem)
{
	if (t->num_partitions != -1 || t->replication_factor != -1) {
		str_add(problem, "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.");
		return KERR_INVALID_REQUEST;
	}
	t->partitions = mem_zalloc(sizeof(*t->partitions) * (size_t)t->manual_count);
	t->partition_count = t->manual_count;
	for (int32_t i = 0; i < t->manual_count; i++) {
		t->partitions[i].idx = t->manual[i].idx;
		plan_ids_copy(&t->partitions[i].replicas, &t->manual[i].replicas);
	}
	qsort(t->partitions, (size_t)t->partition_count, sizeof(*t->partitions), by_idx);
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct plan_ids *r = &t->partitions[i].replicas;
		if (t->partitions[i].idx != i) {
			str_add(problem, "partitions should be a consecutive 0-based integer sequence");
			return KERR_INVALID_REPLICA_ASSIGNMENT;
		}
		if (r->n == 0 || r->n > REPLICAS_MAX || r->n != t->partitions[0].replicas.n) {
			str_add(problem, "All partitions should have the same number of replicas");
			return KERR_INVALID_REPLICA_ASSIGNMENT;
		}
		for (int32_t k = 0; k < r->n; k++) {
			struct plan_ids before = {r->v, k};
			if (r->v[k] < 0 || plan_ids_has(&before, r->v[k])) {
				str_printf(problem, "Replica assignment of partition %d has a duplicate or negative broker id", i);
				return KERR_INVALID_REPLICA_ASSIGNMENT;
			}
		}
	}
	return KERR_NONE;
}

static int32_t cluster_number(const struct plan_image *im, const char *key)
{
	int64_t v;
	return config_i64(plan_cluster_config(im, NULL, NULL, key, "1"), &v) == 0 && v >= 1 && v <= INT32_MAX ? (int32_t)v : 1;
}

static int16_t place(const struct plan_image *im, struct plan_new_topic *t, struct str *problem)
{
	int32_t partitions = t->num_partitions == -1 ? cluster_number(im, "num.partitions") : t->num_partitions;
	int32_t rf = t->replication_factor == -1 ? cluster_number(im, "default.replication.factor") : t->replication_factor;
	if (partitions < 1) {
		str_printf(problem, "Number of partitions must be larger than 0.");
		return KERR_INVALID_PARTITIONS;
	}
	if (rf < 1) {
		str_printf(problem, "Replication factor must be larger than 0.");
		return KERR_INVALID_REPLICATION_FACTOR;
	}
	if (partitions > PLAN_NEW_PARTITIONS_MAX) {
		str_printf(problem, "Number of partitions %d is above the limit of %d", partitions, PLAN_NEW_PARTITIONS_MAX);
		return KERR_INVALID_PARTITIONS;
	}
	size_t brokers_cap = HASH_COUNT(im->brokers);
	struct assign_broker *brokers = mem_zalloc(sizeof(*brokers) * (brokers_cap + 1));
	struct assign_request q = {.brokers = brokers, .partitions = partitions, .replication_factor = rf};
	for (const struct plan_broker *b = im->brokers; b; b = b->hh.next)
		if (b->available && !b->shutting_down)
			brokers[q.broker_count++] = (struct assign_broker){b->id, b->rack};
	int16_t code = KERR_NONE;
	if (rf > q.broker_count) {
		str_printf(problem, "Replication factor: %d larger than available brokers: %d.", rf, q.broker_count);
		code = KERR_INVALID_REPLICATION_FACTOR;
	} else {
		int32_t *ids = mem_alloc(sizeof(int32_t) * (size_t)partitions * (size_t)rf);
		q.start = (int32_t)((t->random & 0xffffffff) % (uint32_t)q.broker_count);
		q.shift = (int32_t)((t->random >> 32) % (uint32_t)q.broker_count);
		if (assign_replicas(&q, ids)) {
			str_add(problem, "Not all brokers have rack information for replica rack aware assignment.");
			code = KERR_UNKNOWN_SERVER_ERROR;
		} else {
			t->partitions = mem_zalloc(sizeof(*t->partitions) * (size_t)partitions);
			t->partition_count = partitions;
			for (int32_t i = 0; i < partitions; i++) {
				t->partitions[i].idx = i;
				plan_ids_set(&t->partitions[i].replicas, ids + (size_t)i * (size_t)rf, rf);
			}
		}
		mem_free(ids);
	}
	mem_free(brokers);
	return code;
}

int16_t plan_topic_validate(const struct plan_image *im, struct plan_new_topic *t, struct str *problem)
{
	t->partitions = NULL;
	t->partition_count = 0;
	int16_t code = plan_topic_name_check(t->name, problem);
	if (code)
		return code;
	if (plan_topic_find_slice(im, t->name)) {
		str_printf(problem, "Topic '%.*s' already exists.", (int)t->name.len, (const char *)t->name.ptr);
		return KERR_TOPIC_ALREADY_EXISTS;
	}
	const struct plan_topic *other = collision(im, t->name);
	if (other) {
		str_printf(problem, "Topic '%.*s' collides with existing topics: %s", (int)t->name.len, (const char *)t->name.ptr, other->name);
		return KERR_INVALID_TOPIC_EXCEPTION;
	}
	code = check_configs(t, problem);
	if (!code)
		code = t->manual ? take_manual(t, problem) : place(im, t, problem);
	if (code)
		plan_new_topic_fini(t);
	return code;
}

void plan_new_topic_fini(struct plan_new_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++)
		plan_ids_fini(&t->partitions[i].replicas);
	mem_free(t->partitions);
	t->partitions = NULL;
	t->partition_count = 0;
}
