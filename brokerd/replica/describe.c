/* describe.c: what a shard says of its logs: sizes and places (DescribeLogDirs), producers (DescribeProducers). Any replica answers, not the
 * leader alone: it is about the log that lies here. */
#include "brokerd/replica/shard_priv.h"

static void logs_returned(struct msg *msg)
{
	struct logs_msg *m = CONTAINER_OF(msg, struct logs_msg, msg);
	m->done(m);
}

static void shard_on_logs(struct msg *msg)
{
	struct logs_msg *m = CONTAINER_OF(msg, struct logs_msg, msg);
	struct shard *s = m->shard;
	shard_activate(s);
	arena_init(&m->arena, 0);
	m->rows = ARENA_ARRAY(&m->arena, struct logs_row, s->partition_count + 1);
	m->count = 0;
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		if (!partition_is_open(p) || p->retired || m->count == s->partition_count)
			continue;
		int64_t behind = p->high_watermark - log_end_offset(p->log);
		bool stray = p->state == PARTITION_IDLE;
		m->rows[m->count++] = (struct logs_row){.topic = slice_make(arena_strndup(&m->arena, p->topic, p->topic_len), p->topic_len), .partition = p->partition,
							.dir = p->dir, .bytes = log_bytes(p->log), .lag = stray ? -1 : behind > 0 ? behind : 0};
	}
	m->msg.deliver = logs_returned;
	loop_post(m->msg.from, &m->msg);
}

void shard_post_logs(struct logs_msg *m)
{
	m->msg.deliver = shard_on_logs;
	loop_post(m->shard->loop, &m->msg);
}

static void producers_returned(struct msg *msg)
{
	struct producers_msg *m = CONTAINER_OF(msg, struct producers_msg, msg);
	m->done(m);
}

static void look(struct shard *s, struct producers_msg *m, struct producers_question *q)
{
	struct partition *p = shard_adopt(s, m->image, q->topic, q->partition);
	if (!p) {
		q->error = image_topic_partition(q->topic, q->partition) ? KERR_NOT_LEADER_OR_FOLLOWER : KERR_UNKNOWN_TOPIC_OR_PARTITION;
		return;
	}
	q->error = partition_hosting_error(p);
	if (q->error)
		return;
	uint32_t count = log_producers(p->log, NULL, 0);
	q->rows = ARENA_ARRAY(&m->arena, struct log_producer, count + 1);
	q->count = log_producers(p->log, q->rows, count);
	q->count = q->count < count ? q->count : count;
}

static void shard_on_producers(struct msg *msg)
{
	struct producers_msg *m = CONTAINER_OF(msg, struct producers_msg, msg);
	shard_activate(m->shard);
	arena_init(&m->arena, 0);
	for (uint32_t i = 0; i < m->question_count; i++)
		look(m->shard, m, &m->questions[i]);
	m->msg.deliver = producers_returned;
	loop_post(m->msg.from, &m->msg);
}

void shard_post_producers(struct producers_msg *m)
{
	m->msg.deliver = shard_on_producers;
	loop_post(m->shard->loop, &m->msg);
}
