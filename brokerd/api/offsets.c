/* offsets.c: ListOffsets and OffsetForLeaderEpoch: questions to the owners, one message per loop. */
#include <stdlib.h>

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"

struct asking {
	struct api_call *c;
	uint32_t waiting;
	uint32_t total;
	struct offset_question *questions; /* all, in request order */
	uint32_t *owner;
	void (*finish)(struct asking *s);
	struct kp_list_offsets_response list;
	struct kp_offset_for_leader_epoch_response epochs;
};

#define NOT_ASKED UINT32_MAX

static void asked(struct offsets_msg *m)
{
	struct asking *s = m->ctx;
	uint32_t shard = (uint32_t)(uintptr_t)m->questions[0].priv[3];
	/* The message holds copies, in request order among those of its owner. */
	for (uint32_t i = 0, k = 0; i < s->total; i++)
		if (s->owner[i] == shard)
			s->questions[i] = m->questions[k++];
	image_unref(m->image);
	if (--s->waiting == 0)
		s->finish(s);
}

static void ask(struct asking *s)
{
	struct api_call *c = s->c;
	struct api *a = c->api;
	struct arena *ar = &c->r->arena;
	struct offsets_msg **msgs = ARENA_ARRAY(ar, struct offsets_msg *, a->shard_count);
	for (uint32_t i = 0; i < s->total; i++) {
		uint32_t o = s->owner[i];
		if (o == NOT_ASKED)
			continue;
		if (!msgs[o]) {
			uint32_t n = 0;
			for (uint32_t k = i; k < s->total; k++)
				n += s->owner[k] == o;
			msgs[o] = ARENA_NEW(ar, struct offsets_msg);
			msgs[o]->shard = a->shards[o];
			msgs[o]->image = image_ref(c->image);
			msgs[o]->questions = ARENA_ARRAY(ar, struct offset_question, n);
			msgs[o]->done = asked;
			msgs[o]->ctx = s;
			s->waiting++;
		}
		s->questions[i].priv[3] = (void *)(uintptr_t)o;
		msgs[o]->questions[msgs[o]->count++] = s->questions[i];
	}
	if (!s->waiting) {
		s->finish(s);
		return;
	}
	for (uint32_t o = 0; o < a->shard_count; o++)
		if (msgs[o])
			shard_post_offsets(msgs[o]);
}

static struct asking *asking_new(struct api_call *c, int64_t total)
{
	struct arena *ar = &c->r->arena;
	struct asking *s = ARENA_NEW(ar, struct asking);
	s->c = c;
	s->questions = ARENA_ARRAY(ar, struct offset_question, (size_t)total + 1);
	s->owner = ARENA_ARRAY(ar, uint32_t, (size_t)total + 1);
	return s;
}

/* Sets up the next question; false: answered already with q->error. */
static struct offset_question *next_question(struct asking *s, const struct image_topic *t, int32_t partition, int32_t current_leader_epoch)
{
	struct offset_question *q = &s->questions[s->total];
	*q = (struct offset_question){.topic = t, .partition = partition, .current_leader_epoch = current_leader_epoch, .ret_offset = -1, .ret_timestamp = -1, .ret_epoch = -1};
	if (!image_topic_partition(t, partition)) {
		q->error = KERR_UNKNOWN_TOPIC_OR_PARTITION;
		s->owner[s->total] = NOT_ASKED;
	} else {
		s->owner[s->total] = api_owner(s->c->api, t, partition);
	}
	s->total++;
	return q;
}

static void answer_without_asking(struct asking *s, struct offset_question *q, int16_t error)
{
	q->error = error;
	s->owner[q - s->questions] = NOT_ASKED;
}

/* ---- ListOffsets ---- */

static void list_finish(struct asking *s)
{
	const struct kp_list_offsets_request *q = s->c->request;
	uint32_t n = 0;
	for (int32_t i = 0; i < s->list.topics_count; i++) {
		for (int32_t k = 0; k < s->list.topics[i].partitions_count; k++, n++) {
			const struct offset_question *a = &s->questions[n];
			struct kp_list_offsets_response_topics_partitions *o = &s->list.topics[i].partitions[k];
			o->error_code = a->error;
			if (a->error == KERR_OFFSET_NOT_AVAILABLE && s->c->version < 5)
				o->error_code = KERR_LEADER_NOT_AVAILABLE;
			o->timestamp = a->ret_timestamp;
			o->offset = a->ret_offset;
			o->leader_epoch = a->ret_epoch;
			if (s->c->version == 0) {
				/* The oldest form: a list of offsets, of which we give the one that was found. */
				bool some = !a->error && a->ret_offset >= 0 && q->topics[i].partitions[k].max_num_offsets > 0;
				o->old_style_offsets = ARENA_ARRAY(&s->c->r->arena, int64_t, 1);
				o->old_style_offsets[0] = a->ret_offset;
				o->old_style_offsets_count = some ? 1 : 0;
			}
		}
	}
	api_reply(s->c, &s->list);
}

static bool special_ok(int64_t timestamp, int16_t version)
{
	if (timestamp == -3)
		return version >= 7;
	if (timestamp == -4)
		return version >= 8;
	if (timestamp == -5)
		return version >= 9;
	return timestamp >= -2;
}

struct place {
	struct slice topic;
	int32_t partition;
	uint32_t idx;
};

static int by_place(const void *x, const void *y)
{
	const struct place *a = x, *b = y;
	int d = slice_cmp(a->topic, b->topic);
	if (d)
		return d;
	return a->partition != b->partition ? (a->partition < b->partition ? -1 : 1) : 0;
}

/* Partitions that the request names more than once are refused, each time (Kafka). */
static void refuse_repeated(struct asking *s, const struct kp_list_offsets_request *q)
{
	struct place *all = ARENA_ARRAY(&s->c->r->arena, struct place, s->total + 1);
	uint32_t n = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		for (int32_t k = 0; k < q->topics[i].partitions_count; k++, n++)
			all[n] = (struct place){q->topics[i].name, q->topics[i].partitions[k].partition_index, n};
	qsort(all, n, sizeof(*all), by_place);
	for (uint32_t i = 0; i + 1 < n; i++)
		if (!by_place(&all[i], &all[i + 1])) {
			answer_without_asking(s, &s->questions[all[i].idx], KERR_INVALID_REQUEST);
			answer_without_asking(s, &s->questions[all[i + 1].idx], KERR_INVALID_REQUEST);
		}
}

void api_do_list_offsets(struct api_call *c)
{
	const struct kp_list_offsets_request *q = c->request;
	struct arena *ar = &c->r->arena;
	int64_t total = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		total += q->topics[i].partitions_count;
	struct asking *s = asking_new(c, total);
	kp_list_offsets_response_init(&s->list);
	s->finish = list_finish;
	s->list.topics = ARENA_ARRAY(ar, struct kp_list_offsets_response_topics, (size_t)q->topics_count + 1);
	s->list.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_list_offsets_request_topics *t = &q->topics[i];
		struct kp_list_offsets_response_topics *o = &s->list.topics[i];
		const struct image_topic *topic = image_find_topic(c->image, t->name);
		kp_list_offsets_response_topics_init(o);
		o->name = t->name;
		o->partitions = ARENA_ARRAY(ar, struct kp_list_offsets_response_topics_partitions, (size_t)t->partitions_count + 1);
		o->partitions_count = t->partitions_count;
		for (int32_t k = 0; k < t->partitions_count; k++) {
			const struct kp_list_offsets_request_topics_partitions *p = &t->partitions[k];
			kp_list_offsets_response_topics_partitions_init(&o->partitions[k]);
			o->partitions[k].partition_index = p->partition_index;
			struct offset_question *a = next_question(s, topic, p->partition_index, p->current_leader_epoch);
			a->kind = ASK_TIME;
			a->timestamp = p->timestamp;
			a->read_committed = c->version >= 2 && q->isolation_level == 1;
			a->any_replica = q->replica_id == -2;
			a->from_follower = q->replica_id >= 0;
			if (!special_ok(p->timestamp, c->version))
				answer_without_asking(s, a, KERR_UNSUPPORTED_VERSION);
		}
	}
	if (c->version >= 1)
		refuse_repeated(s, q);
	ask(s);
}

/* ---- OffsetForLeaderEpoch ---- */

static void epochs_finish(struct asking *s)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < s->epochs.topics_count; i++) {
		for (int32_t k = 0; k < s->epochs.topics[i].partitions_count; k++, n++) {
			const struct offset_question *a = &s->questions[n];
			struct kp_offset_for_leader_epoch_response_topics_partitions *o = &s->epochs.topics[i].partitions[k];
			o->error_code = a->error;
			o->leader_epoch = a->ret_epoch;
			o->end_offset = a->ret_offset;
		}
	}
	api_reply(s->c, &s->epochs);
}

void api_do_offset_for_leader_epoch(struct api_call *c)
{
	const struct kp_offset_for_leader_epoch_request *q = c->request;
	struct arena *ar = &c->r->arena;
	int64_t total = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		total += q->topics[i].partitions_count;
	struct asking *s = asking_new(c, total);
	kp_offset_for_leader_epoch_response_init(&s->epochs);
	s->finish = epochs_finish;
	s->epochs.topics = ARENA_ARRAY(ar, struct kp_offset_for_leader_epoch_response_topics, (size_t)q->topics_count + 1);
	s->epochs.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_for_leader_epoch_request_topics *t = &q->topics[i];
		struct kp_offset_for_leader_epoch_response_topics *o = &s->epochs.topics[i];
		const struct image_topic *topic = image_find_topic(c->image, t->topic);
		kp_offset_for_leader_epoch_response_topics_init(o);
		o->topic = t->topic;
		o->partitions = ARENA_ARRAY(ar, struct kp_offset_for_leader_epoch_response_topics_partitions, (size_t)t->partitions_count + 1);
		o->partitions_count = t->partitions_count;
		for (int32_t k = 0; k < t->partitions_count; k++) {
			const struct kp_offset_for_leader_epoch_request_topics_partitions *p = &t->partitions[k];
			kp_offset_for_leader_epoch_response_topics_partitions_init(&o->partitions[k]);
			o->partitions[k].partition = p->partition;
			struct offset_question *a = next_question(s, topic, p->partition, p->current_leader_epoch);
			a->kind = ASK_EPOCH_END;
			a->epoch = p->leader_epoch;
			a->any_replica = c->version >= 3 && q->replica_id == -2;
			a->from_follower = c->version >= 3 && q->replica_id >= 0;
		}
	}
	ask(s);
}
