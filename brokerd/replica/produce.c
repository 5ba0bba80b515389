/* produce.c: produce requests at their owner: from the message of a connection's loop to its return.
 *
 * Each part takes a produce_wait through: parked (the partition opens, its leadership is doubted: B4, or earlier ones are parked; at most
 * 100 ms, or 2 s while its log is being made) -> appending -> waiting for the high watermark (acks -1) -> over. A message returns when its last part is over, or when its
 * timeout is: parts that are still waiting then get REQUEST_TIMED_OUT although their data may stay (facts/replication.md 9).
 * Cost: a high watermark that moves touches the waits that it completes, nothing else (protocol.md I5). One timer per shard.
 * Order (I3): parts of one partition are appended in the order of arrival; who comes while others are parked is parked behind them.
 */
#include "brokerd/replica/shard_priv.h"

#define FREE_WAITS_MAX 1024

enum wait_stage { WAIT_PARKED, WAIT_APPENDING, WAIT_COMMIT };

struct produce_wait {
	struct log_append append;
	struct list link;            /* in partition.parked or partition.waits */
	struct list park_link;       /* in shard.park_order */
	struct partition *p;         /* NULL once it is gone (appending) */
	struct produce_msg *m;       /* NULL: answered already, only the append is awaited */
	struct produce_part *part;
	struct shard *shard;
	enum wait_stage stage;
	int64_t park_until_us;
	int64_t need;                /* high watermark that commits it */
	int32_t leader_epoch;
	struct produce_wait *next_free;
};

/* What the shard keeps in produce_msg.priv. */
struct produce_state {
	struct list deadline_link;
	int64_t deadline_us;
	uint32_t left;
	bool over;
};
_Static_assert(sizeof(struct produce_state) <= sizeof(((struct produce_msg *)0)->priv), "produce_msg.priv is too small");

static struct produce_state *state_of(struct produce_msg *m)
{
	return (struct produce_state *)(void *)m->priv;
}

/* ---- pool of waits ---- */

static struct produce_wait *wait_new(struct shard *s)
{
	struct produce_wait *w = s->free_waits;
	if (w) {
		s->free_waits = w->next_free;
		s->free_wait_count--;
		memset(w, 0, sizeof(*w));
	} else {
		w = MEM_NEW(struct produce_wait);
	}
	w->shard = s;
	list_init(&w->link);
	list_init(&w->park_link);
	return w;
}

static void wait_free(struct produce_wait *w)
{
	struct shard *s = w->shard;
	list_remove(&w->link);
	list_remove(&w->park_link);
	if (s->free_wait_count >= FREE_WAITS_MAX) {
		mem_free(w);
		return;
	}
	w->next_free = s->free_waits;
	s->free_waits = w;
	s->free_wait_count++;
}

/* ---- ends ---- */

static void produce_returned(struct msg *msg)
{
	struct produce_msg *m = CONTAINER_OF(msg, struct produce_msg, msg);
	m->done(m);
}

static void message_over(struct produce_msg *m)
{
	struct produce_state *st = state_of(m);
	ASSERT(!st->over);
	st->over = true;
	list_remove(&st->deadline_link);
	m->msg.deliver = produce_returned;
	loop_post(m->msg.from, &m->msg);
}

static void hint(struct produce_part *part, const struct partition *p, struct image *im)
{
	const struct image_partition *ip = image_topic_partition(part->topic, part->partition);
	(void)im;
	if (p && p->core.leader_epoch >= 0 && (!ip || p->core.leader_epoch >= ip->leader_epoch)) {
		part->leader_id = p->core.leader;
		part->leader_epoch = p->core.leader_epoch;
	} else if (ip) {
		part->leader_id = ip->leader;
		part->leader_epoch = ip->leader_epoch;
	}
}

static void part_over(struct produce_msg *m, struct produce_part *part, const struct partition *p, int16_t error)
{
	part->error = error;
	if (error == KERR_NOT_LEADER_OR_FOLLOWER)
		hint(part, p, m->image);
	if (error != KERR_NONE && error != KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND)
		part->base_offset = -1;
	if (p && p->log && partition_is_open(p))
		part->log_start_offset = log_start_offset(p->log);
	if (--state_of(m)->left == 0)
		message_over(m);
}

static void wait_over(struct produce_wait *w, int16_t error)
{
	struct produce_msg *m = w->m;
	struct produce_part *part = w->part;
	struct partition *p = w->p;
	wait_free(w);
	if (m)
		part_over(m, part, p, error);
}

/* ---- the timer: deadlines of messages, ends of parking ---- */

static void arm(struct shard *s)
{
	int64_t due = INT64_MAX;
	if (!list_empty(&s->deadlines))
		due = LIST_ENTRY(s->deadlines.next, struct produce_state, deadline_link)->deadline_us;
	if (!list_empty(&s->park_order)) {
		int64_t until = LIST_ENTRY(s->park_order.next, struct produce_wait, park_link)->park_until_us;
		due = until < due ? until : due;
	}
	if (due == INT64_MAX) {
		timer_stop(&s->produce_timer);
		return;
	}
	int64_t now = loop_now_us(s->loop);
	timer_set_us(&s->produce_timer, due > now ? due - now : 0);
}

static void arm_if_earlier(struct shard *s, int64_t due_us)
{
	if (!timer_armed(&s->produce_timer) || s->produce_timer.due_us > due_us)
		arm(s);
}

/* Takes every wait of a message that is still open away from it, with REQUEST_TIMED_OUT. */
static void message_timed_out(struct produce_msg *m)
{
	for (uint32_t i = 0; i < m->count; i++) {
		struct produce_wait *w = m->parts[i].priv[0];
		if (!w)
			continue;
		struct partition *p = w->p;
		m->parts[i].priv[0] = NULL;
		w->m = NULL;
		if (w->stage != WAIT_APPENDING) {
			if (w->stage == WAIT_PARKED)
				buf_unref(m->parts[i].buf);
			wait_free(w);
		}
		part_over(m, &m->parts[i], p, KERR_REQUEST_TIMED_OUT);
	}
}

static void timer_fired(void *ctx)
{
	struct shard *s = ctx;
	int64_t now = loop_now_us(s->loop);
	while (!list_empty(&s->park_order)) {
		struct produce_wait *w = LIST_ENTRY(s->park_order.next, struct produce_wait, park_link);
		if (w->park_until_us > now)
			break;
		w->part->priv[0] = NULL;
		buf_unref(w->part->buf);
		wait_over(w, KERR_NOT_LEADER_OR_FOLLOWER);
	}
	while (!list_empty(&s->deadlines)) {
		struct produce_state *st = LIST_ENTRY(s->deadlines.next, struct produce_state, deadline_link);
		if (st->deadline_us > now)
			break;
		struct produce_msg *m = (struct produce_msg *)(void *)((char *)st - offsetof(struct produce_msg, priv));
		list_remove(&st->deadline_link);
		message_timed_out(m);
	}
	arm(s);
}

/* Most timeouts are equal: the place is found from the end. */
static void add_deadline(struct shard *s, struct produce_state *st)
{
	struct list *pos = &s->deadlines;
	while (pos->prev != &s->deadlines && LIST_ENTRY(pos->prev, struct produce_state, deadline_link)->deadline_us > st->deadline_us)
		pos = pos->prev;
	list_insert_before(pos, &st->deadline_link);
	arm_if_earlier(s, st->deadline_us);
}

/* ---- append ---- */

/* acks 0/1 while the leadership is in doubt (B4, B5). */
static bool in_doubt(struct partition *p, int16_t acks)
{
	struct shard *s = p->shard;
	if (replica_suspended(&p->core))
		return true;
	if (acks == -1 || !s->acks01_suspended)
		return false;
	partition_count_idle_followers(p);
	return !replica_in_contact(&p->core, s->acks01_suspended_ms);
}

static void wait_for_commit(struct produce_wait *w)
{
	struct partition *p = w->p;
	if (p->high_watermark >= w->need) {
		w->part->priv[0] = NULL;
		wait_over(w, replica_enough(&p->core) ? KERR_NONE : KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
		return;
	}
	/* duplicates of old batches need less than those before them */
	struct list *pos = &p->waits;
	while (pos->prev != &p->waits && LIST_ENTRY(pos->prev, struct produce_wait, link)->need > w->need)
		pos = pos->prev;
	w->stage = WAIT_COMMIT;
	list_remove(&w->link);
	list_insert_before(pos, &w->link);
}

static void append_done(struct log_append *a)
{
	struct produce_wait *w = CONTAINER_OF(a, struct produce_wait, append);
	struct partition *p = w->p;
	struct shard *s = w->shard;
	if (a->err == LOG_ERR_OFFLINE && p)
		partition_dir_failed(p, a->err);
	if (a->err == 0 && !a->duplicate) {
		s->bytes_in += a->records.len;
		s->records_in += (uint64_t)a->batch.record_count;
		if (p) {
			p->bytes_in += a->records.len;
			p->records_in += (uint64_t)a->batch.record_count;
		}
	}
	if (!w->m) {
		wait_free(w);
		return;
	}
	struct produce_part *part = w->part;
	if (a->err) {
		part->priv[0] = NULL;
		wait_over(w, shard_log_error(a->err));
		return;
	}
	part->base_offset = a->base_offset;
	part->log_append_time_ms = a->log_append_time_ms;
	/* leadership lost while it was written: nobody knows whether it stays */
	if (!p || !partition_is_leader(p)) {
		part->priv[0] = NULL;
		wait_over(w, KERR_NOT_LEADER_OR_FOLLOWER);
		return;
	}
	w->need = a->last_offset + 1;
	if (w->m->acks == -1) {
		wait_for_commit(w);
		return;
	}
	part->priv[0] = NULL;
	wait_over(w, KERR_NONE);
}

static void start_append(struct produce_wait *w)
{
	struct produce_part *part = w->part;
	struct partition *p = w->p;
	struct shard *s = p->shard;
	list_remove(&w->link);
	list_remove(&w->park_link);
	int16_t error = partition_hosting_error(p);
	if (!error && !partition_is_leader(p))
		error = KERR_NOT_LEADER_OR_FOLLOWER;
	if (!error && w->m->acks == -1 && !replica_enough(&p->core))
		error = KERR_NOT_ENOUGH_REPLICAS;
	if (error) {
		part->priv[0] = NULL;
		buf_unref(part->buf);
		wait_over(w, error);
		return;
	}
	w->stage = WAIT_APPENDING;
	w->leader_epoch = p->core.leader_epoch;
	w->append.origin = w->m->origin;
	w->append.buf = part->buf;
	w->append.records = part->records;
	w->append.batch = part->batch;
	w->append.max_timestamp = part->max_timestamp;
	w->append.leader_epoch = p->core.leader_epoch;
	w->append.now_ms = env_wall_ms(s->env);
	w->append.done = append_done;
	w->append.ctx = w;
	log_append(p->log, &w->append);
}

static bool must_park(struct partition *p, int16_t acks)
{
	if (partition_serves_soon(p))
		return true; /* it may be the leader in a moment */
	return partition_is_leader(p) && (!list_empty(&p->parked) || in_doubt(p, acks));
}

static void submit_part(struct shard *s, struct produce_msg *m, struct produce_part *part)
{
	struct partition *p = shard_adopt(s, m->image, part->topic, part->partition);
	if (!p) {
		buf_unref(part->buf);
		part_over(m, part, NULL, image_topic_partition(part->topic, part->partition) ? KERR_NOT_LEADER_OR_FOLLOWER : KERR_UNKNOWN_TOPIC_OR_PARTITION);
		return;
	}
	struct produce_wait *w = wait_new(s);
	w->p = p;
	w->m = m;
	w->part = part;
	part->priv[0] = w;
	if (!must_park(p, m->acks)) {
		start_append(w);
		return;
	}
	w->stage = WAIT_PARKED;
	w->park_until_us = loop_now_us(s->loop) + (int64_t)partition_soon_ms(p) * 1000;
	list_push_back(&p->parked, &w->link);
	struct list *pos = &s->park_order; /* by deadline: most are equal */
	while (pos->prev != &s->park_order && LIST_ENTRY(pos->prev, struct produce_wait, park_link)->park_until_us > w->park_until_us)
		pos = pos->prev;
	list_insert_before(pos, &w->park_link);
	arm_if_earlier(s, w->park_until_us);
}

static void shard_on_produce(struct msg *msg)
{
	struct produce_msg *m = CONTAINER_OF(msg, struct produce_msg, msg);
	struct shard *s = m->shard;
	struct produce_state *st = state_of(m);
	shard_activate(s);
	*st = (struct produce_state){.left = m->count + 1};
	list_init(&st->deadline_link);
	for (uint32_t i = 0; i < m->count; i++) {
		struct produce_part *part = &m->parts[i];
		part->error = 0;
		part->base_offset = part->log_append_time_ms = part->log_start_offset = -1;
		part->leader_id = part->leader_epoch = -1;
		part->priv[0] = NULL;
		submit_part(s, m, part);
	}
	/* appends end after this turn at the earliest: those that are still under way need the timer only for acks -1 */
	if (--st->left == 0) {
		message_over(m);
		return;
	}
	if (m->acks == -1) {
		st->deadline_us = loop_now_us(s->loop) + (int64_t)(m->timeout_ms > 0 ? m->timeout_ms : 0) * 1000;
		add_deadline(s, st);
	}
}

void shard_post_produce(struct produce_msg *m)
{
	m->msg.deliver = shard_on_produce;
	loop_post(m->shard->loop, &m->msg);
}

/* ---- events of a partition ---- */

void produce_on_hw(struct partition *p)
{
	while (!list_empty(&p->waits)) {
		struct produce_wait *w = LIST_ENTRY(p->waits.next, struct produce_wait, link);
		if (w->need > p->high_watermark)
			return;
		w->part->priv[0] = NULL;
		wait_over(w, replica_enough(&p->core) ? KERR_NONE : KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
	}
}

void produce_fail(struct partition *p, int16_t error)
{
	struct list *lists[] = {&p->waits, &p->parked};
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		while (!list_empty(lists[i])) {
			struct produce_wait *w = LIST_ENTRY(lists[i]->next, struct produce_wait, link);
			w->part->priv[0] = NULL;
			if (w->stage == WAIT_PARKED)
				buf_unref(w->part->buf);
			wait_over(w, error);
		}
}

void produce_unpark(struct partition *p)
{
	while (!list_empty(&p->parked)) {
		struct produce_wait *w = LIST_ENTRY(p->parked.next, struct produce_wait, link);
		if (partition_serves_soon(p) || (partition_is_leader(p) && in_doubt(p, w->m->acks)))
			return;
		start_append(w);
	}
}

void produce_init(struct shard *s)
{
	list_init(&s->deadlines);
	list_init(&s->park_order);
	timer_init(&s->produce_timer, s->loop, timer_fired, s);
}

/* Messages belong to their senders, who are gone too; only what is ours is freed. Appends under way were dropped with the logs' process. */
void produce_fini(struct shard *s)
{
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		struct list *lists[] = {&p->waits, &p->parked};
		for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
			while (!list_empty(lists[i]))
				wait_free(LIST_ENTRY(lists[i]->next, struct produce_wait, link));
	}
	for (struct produce_wait *w = s->free_waits, *next; w; w = next) {
		next = w->next_free;
		mem_free(w);
	}
	s->free_waits = NULL;
	if (timer_armed(&s->produce_timer))
		timer_stop(&s->produce_timer);
}
