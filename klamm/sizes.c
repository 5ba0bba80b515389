/* sizes.c: see sizes.h */
#include "klamm/sizes.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

static int by_place(const void *a, const void *b)
{
	const struct replica_size *x = a, *y = b;
	int cmp = strcmp(x->topic, y->topic);

	if (cmp)
		return cmp;
	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	return (x->broker > y->broker) - (x->broker < y->broker);
}

static void take(struct cluster *c, struct sizes *s, int32_t broker, const struct kp_describe_log_dirs_response *resp)
{
	for (int d = 0; d < resp->results_count; d++) {
		if (resp->results[d].error_code)
			s->unanswered++;
		for (int t = 0; t < resp->results[d].topics_count; t++) {
			const struct kp_describe_log_dirs_response_results_topics *topic = &resp->results[d].topics[t];
			const char *name = cluster_text(c, topic->name);

			for (int p = 0; p < topic->partitions_count; p++) {
				if (topic->partitions[p].is_future_key) /* a copy on its way to another directory */
					continue;
				MEM_GROW(s->list, s->cap, s->count + 1);
				s->list[s->count++] = (struct replica_size){name, topic->partitions[p].partition_index, broker, topic->partitions[p].partition_size};
			}
		}
	}
}

void sizes_read(struct cluster *c, const struct kp_metadata_response *md, struct sizes *ret)
{
	struct kp_describe_log_dirs_request req;
	struct kp_describe_log_dirs_response resp;

	*ret = (struct sizes){0};
	kp_describe_log_dirs_request_init(&req);
	req.topics = ARENA_ARRAY(&c->arena, struct kp_describe_log_dirs_request_topics, (size_t)md->topics_count + 1);
	req.topics_count = md->topics_count;
	for (int i = 0; i < md->topics_count; i++) {
		const struct kp_metadata_response_topics *t = &md->topics[i];

		kp_describe_log_dirs_request_topics_init(&req.topics[i]);
		req.topics[i].topic = t->name;
		req.topics[i].partitions = ARENA_ARRAY(&c->arena, int32_t, (size_t)t->partitions_count + 1);
		for (int p = 0; p < t->partitions_count; p++)
			req.topics[i].partitions[req.topics[i].partitions_count++] = t->partitions[p].partition_index;
	}
	for (int i = 0; i < c->broker_count; i++) {
		int err = cluster_call(c, c->brokers[i].node_id, KP_API_DESCRIBE_LOG_DIRS, CLUSTER_LOOK_MS, &req, &resp);

		if (err || resp.error_code)
			ret->unanswered++;
		else
			take(c, ret, c->brokers[i].node_id, &resp);
	}
	if (ret->count)
		qsort(ret->list, ret->count, sizeof(*ret->list), by_place);
}

int64_t sizes_of(const struct sizes *s, const char *topic, int32_t partition, int32_t broker)
{
	struct replica_size key = {topic, partition, broker, 0}, *found;

	found = s->count ? bsearch(&key, s->list, s->count, sizeof(*s->list), by_place) : NULL;
	return found ? found->bytes : -1;
}

void sizes_free(struct sizes *s)
{
	mem_free(s->list);
	*s = (struct sizes){0};
}
