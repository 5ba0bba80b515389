/* offsets.c: ListOffsets and OffsetForLeaderEpoch at the owner (facts/replication.md 3, 4, client-quirks.md 7).
 *
 * A question about a partition that is just being made waits for that, PARK_OPENING_MS at most: whoever was told that a topic exists may ask at once.
 */
#include "brokerd/replica/shard_priv.h"

/* A search by time under way; waits for the log's answer. */
struct time_search {
	struct log_time_query q;
	struct offsets_msg *m;
	struct offset_question *question;
	bool not_available; /* the epoch start is not committed yet: "none" cannot be told from "not yet" */
};

static void offsets_returned(struct msg *msg)
{
	struct offsets_msg *m = CONTAINER_OF(msg, struct offsets_msg, msg);
	m->done(m);
}

static void question_over(struct offsets_msg *m)
{
	if (--m->left)
		return;
	m->msg.deliver = offsets_returned;
	loop_post(m->msg.from, &m->msg);
}

static void time_found(struct log_time_query *q)
{
	struct time_search *ts = CONTAINER_OF(q, struct time_search, q);
	struct offset_question *oq = ts->question;
	struct offsets_msg *m = ts->m;
	if (q->err) {
		oq->error = shard_log_error(q->err);
	} else if (q->ret_offset >= 0) {
		oq->ret_timestamp = q->ret_timestamp;
		oq->ret_offset = q->ret_offset;
		oq->ret_epoch = q->ret_epoch;
	} else if (ts->not_available) {
		oq->error = KERR_OFFSET_NOT_AVAILABLE;
	}
	mem_free(ts);
	question_over(m);
}

static void ask_time(struct partition *p, struct offsets_msg *m, struct offset_question *q)
{
	struct log *log = p->log;
	/* how far the asker may see: a follower everything, a consumer what is committed, or stable */
	int64_t end = q->from_follower ? log_end_offset(log) : q->read_committed ? log_last_stable_offset(log) : p->high_watermark;
	bool not_available = partition_is_leader(p) && !q->from_follower && end < p->core.epoch_start;

	if (q->timestamp == -1) {
		if (not_available) {
			q->error = KERR_OFFSET_NOT_AVAILABLE;
		} else {
			q->ret_offset = end;
			q->ret_epoch = p->core.leader_epoch;
		}
	} else if (q->timestamp == -2 || q->timestamp == -4) {
		q->ret_offset = log_start_offset(log);
		q->ret_epoch = log_epoch_at(log, q->ret_offset);
	} else if (q->timestamp == -5) {
		; /* nothing is tiered: -1 */
	} else if (q->timestamp < -3) {
		q->error = KERR_UNSUPPORTED_VERSION;
	} else {
		struct time_search *ts = MEM_NEW(struct time_search);
		ts->m = m;
		ts->question = q;
		ts->not_available = not_available;
		ts->q.timestamp = q->timestamp;
		ts->q.offset_max = end;
		ts->q.done = time_found;
		ts->q.ctx = ts;
		log_find_time(log, &ts->q);
		return;
	}
	question_over(m);
}

/* Section 4. */
static void ask_epoch_end(struct partition *p, struct offset_question *q)
{
	if (q->epoch < 0)
		return;
	if (q->epoch == p->core.leader_epoch && partition_is_leader(p)) {
		q->ret_epoch = q->epoch;
		q->ret_offset = log_end_offset(p->log);
		return;
	}
	log_epoch_end(p->log, q->epoch, &q->ret_epoch, &q->ret_offset);
}

struct parked_question {
	struct list link; /* in shard.questions */
	struct offsets_msg *m;
	struct offset_question *q;
	int64_t until_us;
};

static void park(struct shard *s, const struct partition *p, struct offsets_msg *m, struct offset_question *q)
{
	struct parked_question *w = MEM_NEW(struct parked_question);
	w->m = m;
	w->q = q;
	w->until_us = loop_now_us(s->loop) + (int64_t)partition_soon_ms(p) * 1000;
	list_init(&w->link);
	struct list *pos = &s->questions;
	while (pos->prev != &s->questions && LIST_ENTRY(pos->prev, struct parked_question, link)->until_us > w->until_us)
		pos = pos->prev;
	list_insert_before(pos, &w->link);
	if (!timer_armed(&s->questions_timer) || s->questions_timer.due_us > w->until_us)
		timer_set_us(&s->questions_timer, w->until_us - loop_now_us(s->loop));
}

static void ask(struct shard *s, struct offsets_msg *m, struct offset_question *q, bool may_wait)
{
	q->error = 0;
	q->ret_timestamp = q->ret_offset = -1;
	q->ret_epoch = -1;
	struct partition *p = shard_adopt(s, m->image, q->topic, q->partition);
	int16_t error = KERR_NONE;
	if (may_wait && partition_serves_soon(p)) {
		park(s, p, m, q);
		return;
	}
	if (!p)
		error = image_topic_partition(q->topic, q->partition) ? KERR_NOT_LEADER_OR_FOLLOWER : KERR_UNKNOWN_TOPIC_OR_PARTITION;
	else
		error = partition_hosting_error(p);
	if (!error)
		error = replica_check_epoch(&p->core, q->current_leader_epoch);
	if (!error && !q->any_replica && !partition_is_leader(p))
		error = KERR_NOT_LEADER_OR_FOLLOWER;
	if (error) {
		q->error = error;
		question_over(m);
		return;
	}
	if (q->kind == ASK_TIME) {
		ask_time(p, m, q);
		return;
	}
	ask_epoch_end(p, q);
	question_over(m);
}

/* A partition changed, or the time of some is over. */
static void questions_look(void *ctx)
{
	struct shard *s = ctx;
	int64_t now = loop_now_us(s->loop);
	LIST_FOR_SAFE(it, tmp, &s->questions) {
		struct parked_question *w = LIST_ENTRY(it, struct parked_question, link);
		if (w->until_us > now && partition_serves_soon(shard_find_topic(s, w->q->topic, w->q->partition)))
			continue;
		list_remove(&w->link);
		ask(s, w->m, w->q, false);
		mem_free(w);
	}
	if (list_empty(&s->questions))
		timer_stop(&s->questions_timer);
	else
		timer_set_us(&s->questions_timer, LIST_ENTRY(s->questions.next, struct parked_question, link)->until_us - now);
}

void offsets_init(struct shard *s)
{
	list_init(&s->questions);
	timer_init(&s->questions_timer, s->loop, questions_look, s);
	deferred_init(&s->questions_look, questions_look, s);
}

/* Messages belong to their senders. */
void offsets_fini(struct shard *s)
{
	struct list *it;
	while ((it = list_pop_front(&s->questions)))
		mem_free(LIST_ENTRY(it, struct parked_question, link));
	timer_stop(&s->questions_timer);
	deferred_cancel(s->loop, &s->questions_look);
}

static void shard_on_offsets(struct msg *msg)
{
	struct offsets_msg *m = CONTAINER_OF(msg, struct offsets_msg, msg);
	shard_activate(m->shard);
	m->left = m->count + 1;
	for (uint32_t i = 0; i < m->count; i++)
		ask(m->shard, m, &m->questions[i], true);
	question_over(m);
}

void shard_post_offsets(struct offsets_msg *m)
{
	m->msg.deliver = shard_on_offsets;
	loop_post(m->shard->loop, &m->msg);
}
