/* offsets.c: see offsets.h */
#include "klamm/offsets.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define RETRY_MS 50

static int by_topic(const void *a, const void *b)
{
	const struct offset_spot *const *x = a, *const *y = b;
	int cmp = strcmp((*x)->topic, (*y)->topic);

	return cmp ? cmp : ((*x)->partition > (*y)->partition) - ((*x)->partition < (*y)->partition);
}

static int by_leader(const void *a, const void *b)
{
	const struct offset_spot *const *x = a, *const *y = b;

	return (*x)->leader != (*y)->leader ? ((*x)->leader > (*y)->leader) - ((*x)->leader < (*y)->leader) : by_topic(a, b);
}

static int by_name(const void *a, const void *b)
{
	return slice_cmp(((const struct kp_metadata_response_topics *)a)->name, ((const struct kp_metadata_response_topics *)b)->name);
}

/* md->topics is sorted by name */
static const struct kp_metadata_response_topics *topic_named(const struct kp_metadata_response *md, const char *name)
{
	struct kp_metadata_response_topics key = {.name = slice_str(name)};

	return md->topics_count > 0 ? bsearch(&key, md->topics, (size_t)md->topics_count, sizeof(*md->topics), by_name) : NULL;
}

/* Names the leader of each open spot; the list is sorted by topic. */
static int find_leaders(struct cluster *c, struct offset_spot **open, size_t count)
{
	const char **topics = ARENA_ARRAY(&c->arena, const char *, count);
	struct kp_metadata_response md;
	const struct kp_metadata_response_topics *t = NULL;
	int n = 0, code;

	for (size_t i = 0; i < count; i++)
		if (!n || strcmp(topics[n - 1], open[i]->topic) != 0)
			topics[n++] = open[i]->topic;
	if ((code = cluster_metadata(c, topics, n, &md)))
		return code;
	if (md.topics_count > 0)
		qsort(md.topics, (size_t)md.topics_count, sizeof(*md.topics), by_name);
	for (size_t i = 0; i < count; i++) {
		const struct kp_metadata_response_topics_partitions *p;

		if (!i || strcmp(open[i]->topic, open[i - 1]->topic) != 0)
			t = topic_named(&md, open[i]->topic);
		p = t && !t->error_code ? cluster_partition(t, open[i]->partition) : NULL;
		open[i]->leader = p ? p->leader_id : -1;
		open[i]->error = !t || !p ? (t && t->error_code ? t->error_code : KERR_UNKNOWN_TOPIC_OR_PARTITION)
		                          : p->leader_id < 0 ? KERR_LEADER_NOT_AVAILABLE : 0;
	}
	return 0;
}

/* How many at the front have the topic of the first. */
static size_t same_topic(struct offset_spot **spots, size_t count)
{
	size_t n = 1;

	while (n < count && !strcmp(spots[n]->topic, spots[0]->topic))
		n++;
	return n;
}

/* One request: spots of one leader, sorted by topic. */
static void ask_leader(struct cluster *c, struct offset_spot **spots, size_t count)
{
	struct kp_list_offsets_request req;
	struct kp_list_offsets_response resp;
	struct kp_list_offsets_request_topics *t = NULL;
	size_t s = 0;

	kp_list_offsets_request_init(&req);
	req.replica_id = -1;
	req.topics = ARENA_ARRAY(&c->arena, struct kp_list_offsets_request_topics, count);
	for (size_t i = 0; i < count; i++) {
		struct kp_list_offsets_request_topics_partitions *p;

		spots[i]->error = KERR_NETWORK_EXCEPTION;
		if (!t || !slice_eq_str(t->name, spots[i]->topic)) {
			t = &req.topics[req.topics_count++];
			kp_list_offsets_request_topics_init(t);
			t->name = slice_str(spots[i]->topic);
			t->partitions = ARENA_ARRAY(&c->arena, struct kp_list_offsets_request_topics_partitions, same_topic(spots + i, count - i));
		}
		p = &t->partitions[t->partitions_count++];
		kp_list_offsets_request_topics_partitions_init(p);
		p->partition_index = spots[i]->partition;
		p->timestamp = spots[i]->time;
	}
	if (cluster_call(c, spots[0]->leader, KP_API_LIST_OFFSETS, CLUSTER_LOOK_MS, &req, &resp))
		return;
	for (int i = 0; i < resp.topics_count; i++)
		for (int j = 0; j < resp.topics[i].partitions_count; j++) {
			const struct kp_list_offsets_response_topics_partitions *p = &resp.topics[i].partitions[j];

			/* answers come in the order of the questions; a search from where we are costs nothing then */
			for (size_t k = 0; k < count; k++, s++) {
				struct offset_spot *spot = spots[s % count];

				if (spot->partition != p->partition_index || !slice_eq_str(resp.topics[i].name, spot->topic))
					continue;
				spot->error = p->error_code;
				spot->offset = p->error_code ? -1 : p->old_style_offsets_count > 0 ? p->old_style_offsets[0] : p->offset;
				spot->timestamp = p->timestamp;
				break;
			}
		}
}

static void ask_leaders(struct cluster *c, struct offset_spot **open, size_t count)
{
	qsort(open, count, sizeof(*open), by_leader);
	for (size_t i = 0; i < count;) {
		size_t n = 1;

		while (i + n < count && open[i + n]->leader == open[i]->leader)
			n++;
		if (open[i]->leader >= 0)
			ask_leader(c, open + i, n);
		i += n;
	}
}

int offsets_find(struct cluster *c, struct offset_spot *spots, size_t count, unsigned patience_ms)
{
	uint64_t end = cli_now_ms() + patience_ms;
	struct offset_spot **open = mem_alloc((count + 1) * sizeof(struct offset_spot *));
	size_t left = count;
	int code = 0;

	for (size_t i = 0; i < count; i++) {
		spots[i].offset = spots[i].timestamp = -1;
		open[i] = &spots[i];
	}
	while (left) {
		size_t again = 0;

		qsort(open, left, sizeof(*open), by_topic);
		if ((code = find_leaders(c, open, left)))
			break;
		ask_leaders(c, open, left);
		for (size_t i = 0; i < left; i++)
			if (cluster_passing(open[i]->error))
				open[again++] = open[i];
		left = again;
		if (!left || cli_now_ms() >= end)
			break;
		cluster_pause(RETRY_MS);
	}
	mem_free(open);
	return code;
}
