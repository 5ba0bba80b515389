/* records.c: DeleteRecords: asked of the owners, one message per loop, and answered when the moved log starts stand in the checkpoint file: what
 * was said to be gone does not come back by a kill -9.
 */
#include "brokerd/api/api_priv.h"

struct deleting {
	struct api_call *c;
	uint32_t waiting;
	struct delete_part *parts; /* all, in request order */
	uint32_t total;
	struct delete_part **asked; /* per part: where its owner put the answer; NULL: not asked */
	struct kp_delete_records_response resp;
	struct ask_checkpoint checkpoint;
};

static void answer(struct deleting *s)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < s->resp.topics_count; i++)
		for (int32_t k = 0; k < s->resp.topics[i].partitions_count; k++, n++) {
			const struct delete_part *part = s->asked[n] ? s->asked[n] : &s->parts[n];
			s->resp.topics[i].partitions[k].error_code = part->error;
			s->resp.topics[i].partitions[k].low_watermark = part->low_watermark;
		}
	api_reply(s->c, &s->resp);
}

static void checkpoint_done(struct ask_checkpoint *k) { answer(k->ctx); }

/* On the control loop. */
static void checkpoint_deliver(struct msg *msg)
{
	struct ask_checkpoint *k = CONTAINER_OF(msg, struct ask_checkpoint, msg);
	struct deleting *s = k->ctx;
	const struct ask_services *sv = s->c->api->services;
	sv->checkpoint(sv->broker, k);
}

static void finish(struct deleting *s)
{
	bool moved = false;
	for (uint32_t i = 0; i < s->total; i++)
		moved |= s->asked[i] && (s->asked[i]->error == KERR_NONE || s->asked[i]->error == KERR_REQUEST_TIMED_OUT);
	if (!moved) {
		answer(s);
		return;
	}
	s->checkpoint.done = checkpoint_done;
	s->checkpoint.ctx = s;
	s->checkpoint.msg.deliver = checkpoint_deliver;
	loop_post(s->c->api->services->control, &s->checkpoint.msg);
}

static void deleted(struct delete_msg *m)
{
	struct deleting *s = m->ctx;
	image_unref(m->image);
	if (--s->waiting == 0)
		finish(s);
}

static void ask(struct deleting *s, int32_t timeout_ms)
{
	struct api_call *c = s->c;
	struct arena *ar = &c->r->arena;
	struct delete_msg *msgs = ARENA_ARRAY(ar, struct delete_msg, c->api->shard_count);
	for (uint32_t i = 0; i < s->total; i++)
		if (!s->parts[i].error)
			msgs[api_owner(c->api, s->parts[i].topic, s->parts[i].partition)].count++;
	for (uint32_t o = 0; o < c->api->shard_count; o++) {
		struct delete_msg *m = &msgs[o];
		s->waiting += m->count > 0;
		m->parts = ARENA_ARRAY(ar, struct delete_part, m->count + 1);
		m->shard = c->api->shards[o];
		m->timeout_ms = timeout_ms;
		m->done = deleted;
		m->ctx = s;
		m->count = 0;
	}
	for (uint32_t i = 0; i < s->total; i++) {
		if (s->parts[i].error)
			continue;
		struct delete_msg *m = &msgs[api_owner(c->api, s->parts[i].topic, s->parts[i].partition)];
		m->parts[m->count] = s->parts[i];
		s->asked[i] = &m->parts[m->count++];
	}
	if (!s->waiting) {
		finish(s);
		return;
	}
	for (uint32_t o = 0; o < c->api->shard_count; o++) {
		if (!msgs[o].count)
			continue;
		msgs[o].image = image_ref(c->image);
		shard_post_delete(&msgs[o]);
	}
}

void api_do_delete_records(struct api_call *c)
{
	const struct kp_delete_records_request *q = c->request;
	struct arena *ar = &c->r->arena;
	struct deleting *s = ARENA_NEW(ar, struct deleting);
	size_t total = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		total += (size_t)q->topics[i].partitions_count;
	s->c = c;
	s->parts = ARENA_ARRAY(ar, struct delete_part, total + 1);
	s->asked = ARENA_ARRAY(ar, struct delete_part *, total + 1);
	kp_delete_records_response_init(&s->resp);
	s->resp.topics = ARENA_ARRAY(ar, struct kp_delete_records_response_topics, (size_t)q->topics_count + 1);
	s->resp.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_delete_records_request_topics *t = &q->topics[i];
		const struct image_topic *topic = image_find_topic(c->image, t->name);
		struct kp_delete_records_response_topics *o = &s->resp.topics[i];
		kp_delete_records_response_topics_init(o);
		o->name = t->name;
		o->partitions_count = t->partitions_count;
		o->partitions = ARENA_ARRAY(ar, struct kp_delete_records_response_topics_partitions, (size_t)t->partitions_count + 1);
		for (int32_t k = 0; k < t->partitions_count; k++) {
			struct delete_part *part = &s->parts[s->total++];
			int32_t partition = t->partitions[k].partition_index;
			kp_delete_records_response_topics_partitions_init(&o->partitions[k]);
			o->partitions[k].partition_index = partition;
			*part = (struct delete_part){.topic = topic, .partition = partition, .offset = t->partitions[k].offset, .low_watermark = -1};
			part->error = !image_topic_partition(topic, partition) ? KERR_UNKNOWN_TOPIC_OR_PARTITION : topic->internal ? KERR_INVALID_TOPIC_EXCEPTION : KERR_NONE;
		}
	}
	ask(s, q->timeout_ms);
}
