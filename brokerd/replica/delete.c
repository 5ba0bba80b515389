/* delete.c: DeleteRecords at the owner: the leader moves its log start, and waits until every live replica has moved its own
 * (facts/replication.md 10; the followers take it from fetch answers).
 *
 * A part waits in partition.deletes until the low watermark has reached what it asked for, the leadership ends, or the message's time is over;
 * what was begun goes on then.
 */
#include "brokerd/replica/shard_priv.h"

static void delete_returned(struct msg *msg)
{
	struct delete_msg *m = CONTAINER_OF(msg, struct delete_msg, msg);
	m->done(m);
}

static void message_step(struct delete_msg *m)
{
	if (--m->left)
		return;
	list_remove(&m->open_link);
	m->msg.deliver = delete_returned;
	loop_post(m->msg.from, &m->msg);
}

static void part_over(struct delete_part *part, int16_t error, int64_t low_watermark)
{
	part->error = error;
	part->low_watermark = low_watermark;
	list_remove(&part->link);
	message_step(part->m);
}

void delete_on_start(struct partition *p)
{
	if (list_empty(&p->deletes) || !partition_is_leader(p))
		return;
	int64_t low = replica_low_watermark(&p->core, log_start_offset(p->log));
	LIST_FOR_SAFE(it, tmp, &p->deletes) {
		struct delete_part *part = LIST_ENTRY(it, struct delete_part, link);
		if (low >= part->need)
			part_over(part, KERR_NONE, low);
	}
}

void delete_fail(struct partition *p, int16_t error)
{
	while (!list_empty(&p->deletes))
		part_over(LIST_ENTRY(p->deletes.next, struct delete_part, link), error, -1);
}

static int16_t begin(struct partition *p, struct delete_part *part)
{
	int64_t to = part->offset == -1 ? p->high_watermark : part->offset;
	if (!partition_is_leader(p) || replica_suspended(&p->core)) /* in doubt it is not for us to throw anything away (B4) */
		return KERR_NOT_LEADER_OR_FOLLOWER;
	if (!log_get_config(p->log)->cleanup_delete)
		return KERR_POLICY_VIOLATION;
	if (to < 0 || to > p->high_watermark)
		return KERR_OFFSET_OUT_OF_RANGE;
	part->need = to;
	log_advance_start(p->log, to);
	return KERR_NONE;
}

static void submit(struct shard *s, struct delete_msg *m, struct delete_part *part)
{
	struct partition *p = shard_adopt(s, m->image, part->topic, part->partition);
	int16_t error = KERR_NONE;
	part->m = m;
	list_init(&part->link);
	if (!p)
		error = image_topic_partition(part->topic, part->partition) ? KERR_NOT_LEADER_OR_FOLLOWER : KERR_UNKNOWN_TOPIC_OR_PARTITION;
	else
		error = partition_hosting_error(p);
	if (!error)
		error = begin(p, part);
	if (error) {
		part_over(part, error, -1);
		return;
	}
	list_push_back(&p->deletes, &part->link);
	delete_on_start(p);
}

static void arm(struct shard *s)
{
	int64_t due = INT64_MAX, now = loop_now_us(s->loop);
	LIST_FOR(it, &s->deletes) {
		const struct delete_msg *m = LIST_ENTRY(it, struct delete_msg, open_link);
		due = m->deadline_us < due ? m->deadline_us : due;
	}
	if (due == INT64_MAX)
		timer_stop(&s->delete_timer);
	else
		timer_set_us(&s->delete_timer, due > now ? due - now : 0);
}

static void timed_out(void *ctx)
{
	struct shard *s = ctx;
	int64_t now = loop_now_us(s->loop);
	LIST_FOR_SAFE(it, tmp, &s->deletes) {
		struct delete_msg *m = LIST_ENTRY(it, struct delete_msg, open_link);
		if (m->deadline_us > now)
			continue;
		m->left++; /* it stays ours until the last part is looked at */
		for (uint32_t i = 0; i < m->count; i++) {
			struct delete_part *part = &m->parts[i];
			if (list_empty(&part->link))
				continue;
			struct partition *p = shard_find_topic(s, part->topic, part->partition);
			int64_t low = p && partition_is_leader(p) ? replica_low_watermark(&p->core, log_start_offset(p->log)) : -1;
			part_over(part, KERR_REQUEST_TIMED_OUT, low);
		}
		message_step(m);
	}
	arm(s);
}

static void shard_on_delete(struct msg *msg)
{
	struct delete_msg *m = CONTAINER_OF(msg, struct delete_msg, msg);
	struct shard *s = m->shard;
	shard_activate(s);
	m->left = m->count + 1;
	m->deadline_us = loop_now_us(s->loop) + (int64_t)(m->timeout_ms > 0 ? m->timeout_ms : 0) * 1000;
	list_init(&m->open_link);
	list_push_back(&s->deletes, &m->open_link);
	for (uint32_t i = 0; i < m->count; i++)
		submit(s, m, &m->parts[i]);
	message_step(m);
	arm(s);
}

void shard_post_delete(struct delete_msg *m)
{
	m->msg.deliver = shard_on_delete;
	loop_post(m->shard->loop, &m->msg);
}

void delete_init(struct shard *s)
{
	list_init(&s->deletes);
	timer_init(&s->delete_timer, s->loop, timed_out, s);
}

void delete_fini(struct shard *s)
{
	timer_stop(&s->delete_timer);
}
