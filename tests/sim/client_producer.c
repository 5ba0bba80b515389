/* client_producer.c: producing clients.
 *
 * Three kinds, by seed: idempotent (acks=all, up to five batches in flight per partition, kept in order, sent again with the same
 * sequence until acknowledged), plain with acks=all or 1 (one in flight), and acks=0. The rules of sending again are those of the
 * usual clients: after an error only the oldest batch of the partition is in flight until it is through; a sequence error of
 * the oldest batch is real: the producer takes the next producer epoch and numbers what is left anew.
 *
 * States of a batch: WAITING (new, or to be sent again) -> FLYING -> gone (acknowledged, or sent with acks=0); FLYING -> WAITING.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/batch.h"
#include "tests/sim/checks.h"
#include "tests/sim/client.h"

enum { QUEUE_MAX = 8, FLIGHT_MAX = 5 };

struct pbatch {
	struct list link;
	struct buf *bytes;
	size_t len;
	uint64_t first_id;
	int32_t count, sequence;
	bool flying;
	int node;              /* while flying */
	int attempts;
	int64_t made_us, sent_us; /* sent_us: of the first attempt */
};

struct ppart {
	struct producer *p;
	int32_t tp;
	struct list queue;
	int queued, flying;
	bool bump_due;
	int16_t epoch;
	int32_t next_sequence;
	bool bumped;
	uint64_t last_acked_id;
	int64_t retry_us;      /* nothing is sent before */
};

struct produce_call;
struct producer {
	struct run *r;
	int idx;
	char name[24];
	struct client c;
	struct sim_process *process;
	bool started;
	int8_t acks;
	bool idempotent;
	int16_t version;
	int64_t producer_id;
	int16_t producer_epoch;
	bool pid_busy;
	int64_t interval_us, timeout_us;
	int32_t produce_timeout_ms;
	int32_t records_max;
	uint32_t pad_max;
	struct topic *only;    /* a churn topic: only this one; else all that stay */
	struct ppart parts[TPS_MAX];
	struct timer make, pump;
	struct list calls;
	int64_t acked_since_heal;
};

/* One Produce request: what it carries. */
struct produce_call {
	struct list link;
	struct producer *p;
	int node;
	int count;
	struct { struct ppart *part; struct pbatch *b; } items[TPS_MAX];
};

static void pump_soon(struct producer *p, int64_t delay_us)
{
	if (!timer_armed(&p->pump) || p->pump.due_us > env_now_us(p->c.env) + delay_us)
		timer_set_us(&p->pump, delay_us);
}

/* ---- producer id ---- */

static void pid_done(void *ctx, int err, const void *msg)
{
	struct producer *p = ctx;
	const struct kp_init_producer_id_response *m = msg;
	p->pid_busy = false;
	if (!err && m->error_code == KERR_NONE) {
		if (m->producer_id < 0)
			run_violation(p->r, "refused", "%s got producer id %lld", p->name, (long long)m->producer_id);
		p->producer_id = m->producer_id;
		p->producer_epoch = m->producer_epoch;
		for (int i = 0; i < TPS_MAX; i++)
			p->parts[i].epoch = m->producer_epoch;
		for (int i = 0; i < p->r->producer_count; i++) {
			struct producer *o = p->r->producers[i];
			if (o && o != p && o->producer_id == p->producer_id)
				run_violation(p->r, "duplicate", "producer id %lld was given to %s and %s", (long long)p->producer_id, o->name, p->name);
		}
	} else if (!err && m->error_code != KERR_COORDINATOR_LOAD_IN_PROGRESS && m->error_code != KERR_COORDINATOR_NOT_AVAILABLE &&
		   m->error_code != KERR_REQUEST_TIMED_OUT && m->error_code != KERR_NOT_CONTROLLER && m->error_code != KERR_BROKER_NOT_AVAILABLE &&
		   m->error_code != KERR_UNKNOWN_SERVER_ERROR) {
		run_violation(p->r, "refused", "InitProducerId of %s: error %d", p->name, m->error_code);
	}
	pump_soon(p, (int64_t)(10000 + env_random_below(p->c.env, 40000)));
}

static void pid_ask(struct producer *p)
{
	struct kp_init_producer_id_request q;
	kp_init_producer_id_request_init(&q);
	q.transactional_id = (struct slice){0};
	q.transaction_timeout_ms = 60000;
	if (p->pid_busy)
		return;
	p->pid_busy = client_send(&p->c, client_any_node(&p->c), wire_api_find(KP_API_INIT_PRODUCER_ID), 3, &q, 3000000, pid_done, p);
	if (!p->pid_busy)
		pump_soon(p, 50000);
}

/* ---- sending ---- */

static void batch_free(struct ppart *pp, struct pbatch *b)
{
	list_remove(&b->link);
	pp->queued--;
	buf_unref(b->bytes);
	mem_free(b);
}

/* The next producer epoch for this partition: everything that is left is numbered anew. Nothing is in flight. */
static void bump(struct ppart *pp)
{
	struct producer *p = pp->p;
	pp->bump_due = false;
	pp->bumped = true;
	pp->epoch++;
	pp->next_sequence = 0;
	sim_note(p->r->w, "%s tp %d takes producer epoch %d", p->name, pp->tp, pp->epoch);
	LIST_FOR(l, &pp->queue) {
		struct pbatch *b = LIST_ENTRY(l, struct pbatch, link);
		b->sequence = pp->next_sequence;
		pp->next_sequence += b->count;
		b->attempts = 0;
		sim_batch_resequence(b->bytes, b->len, p->producer_id, pp->epoch, b->sequence);
		for (int32_t i = 0; i < b->count; i++)
			checks_resequenced(p->r, b->first_id + (uint64_t)i);
	}
}

/* The batch of this partition that may be sent to this broker now, or NULL. What is in flight to a former leader is waited for: a new
 * leader that knows nothing of this producer takes any first sequence (as Kafka does), and what was sent before would not fit. */
static struct pbatch *next_batch(struct ppart *pp, int node)
{
	struct producer *p = pp->p;
	int limit = p->idempotent ? FLIGHT_MAX : 1;
	if (pp->bump_due) {
		if (pp->flying)
			return NULL;
		bump(pp);
	}
	if (pp->flying >= limit)
		return NULL;
	int ahead = 0;
	LIST_FOR(l, &pp->queue) {
		struct pbatch *b = LIST_ENTRY(l, struct pbatch, link);
		if (!b->flying) {
			/* one that is sent again goes alone; and nothing overtakes one that is to be sent again */
			return b->attempts > 0 && ahead > 0 ? NULL : b;
		}
		if (b->attempts > 1 || b->node != node)
			return NULL;
		ahead++;
	}
	return NULL;
}

static bool done_with_zero(struct producer *p, struct produce_call *call)
{
	if (p->acks != 0)
		return false;
	for (int i = 0; i < call->count; i++) {
		call->items[i].part->flying--;
		batch_free(call->items[i].part, call->items[i].b);
	}
	return true;
}

static void produce_done(void *ctx, int err, const void *msg);

static void send_to(struct producer *p, int node)
{
	struct kp_produce_request q;
	struct kp_produce_request_topic_data topics[TOPICS_MAX];
	struct kp_produce_request_topic_data_partition_data parts[TPS_MAX];
	struct produce_call *call = MEM_NEW(struct produce_call);
	int64_t now = env_now_us(p->c.env);
	int32_t tn = 0, pn = 0;
	kp_produce_request_init(&q);
	call->p = p;
	call->node = node;
	list_init(&call->link);
	for (int32_t t = 0; t < p->r->topic_count; t++) {
		struct topic *topic = &p->r->topics[t];
		int32_t first = pn;
		for (int32_t i = 0; i < topic->partitions; i++) {
			struct ppart *pp = &p->parts[topic->first_tp + i];
			if (list_empty(&pp->queue) || p->c.parts[pp->tp].leader != node || pp->retry_us > now || topic->state != TOPIC_LIVE)
				continue;
			struct pbatch *b = next_batch(pp, node);
			if (!b)
				continue;
			kp_produce_request_topic_data_partition_data_init(&parts[pn]);
			parts[pn].index = i;
			parts[pn++].records.bytes = slice_make(b->bytes->data, b->len);
			call->items[call->count].part = pp;
			call->items[call->count++].b = b;
		}
		if (pn > first) {
			kp_produce_request_topic_data_init(&topics[tn]);
			topics[tn].name = slice_str(topic->name);
			topics[tn].partition_data = parts + first;
			topics[tn++].partition_data_count = pn - first;
		}
	}
	q.transactional_id = (struct slice){0};
	q.acks = p->acks;
	q.timeout_ms = p->produce_timeout_ms;
	q.topic_data = topics;
	q.topic_data_count = tn;
	if (!call->count || !client_send(&p->c, node, wire_api_find(KP_API_PRODUCE), p->version, &q, p->timeout_us, p->acks ? produce_done : NULL, call)) {
		mem_free(call);
		return;
	}
	for (int i = 0; i < call->count; i++) {
		struct pbatch *b = call->items[i].b;
		b->flying = true;
		b->node = node;
		b->attempts++;
		if (!b->sent_us)
			b->sent_us = now;
		call->items[i].part->flying++;
	}
	if (done_with_zero(p, call))
		mem_free(call);
	else
		list_push_back(&p->calls, &call->link);
}

static void pump(void *ctx)
{
	struct producer *p = ctx;
	if (p->idempotent && p->producer_id < 0) {
		pid_ask(p);
		return;
	}
	for (int n = 0; n < p->r->opt->brokers; n++)
		send_to(p, n);
	/* what waits for its time, for a leader or for a connection */
	for (int t = 0; t < p->r->tp_count; t++) {
		if (p->parts[t].queued > p->parts[t].flying) {
			pump_soon(p, 40000);
			break;
		}
	}
}

/* ---- answers ---- */

static bool is_retriable(int16_t e)
{
	switch (e) {
	case KERR_UNKNOWN_TOPIC_OR_PARTITION: case KERR_LEADER_NOT_AVAILABLE: case KERR_NOT_LEADER_OR_FOLLOWER: case KERR_REQUEST_TIMED_OUT:
	case KERR_NOT_ENOUGH_REPLICAS: case KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND: case KERR_KAFKA_STORAGE_ERROR: case KERR_NETWORK_EXCEPTION:
		return true;
	default:
		return false;
	}
}

static void again(struct ppart *pp, struct pbatch *b)
{
	struct producer *p = pp->p;
	struct topic *t = run_topic_of(p->r, pp->tp);
	b->flying = false;
	pp->flying--;
	pp->retry_us = env_now_us(p->c.env) + (int64_t)(5000 + env_random_below(p->c.env, 60000));
	if (t->state == TOPIC_GONE)
		batch_free(pp, b);
}

static void acked(struct ppart *pp, struct pbatch *b, int64_t base_offset)
{
	struct producer *p = pp->p;
	pp->flying--;
	checks_acked(p->r, pp->tp, b->first_id, b->count, base_offset, b->sent_us);
	if (p->r->healed)
		p->acked_since_heal += b->count;
	pp->last_acked_id = b->first_id + (uint64_t)b->count - 1;
	batch_free(pp, b);
}

static void answer(struct ppart *pp, struct pbatch *b, int16_t e, int64_t base_offset)
{
	struct producer *p = pp->p;
	struct topic *t = run_topic_of(p->r, pp->tp);
	bool head = pp->queue.next == &b->link;
	if (e == KERR_NONE) {
		if (base_offset < 0)
			run_violation(p->r, "refused", "%s tp %d: acknowledged with offset %lld", p->name, pp->tp, (long long)base_offset);
		acked(pp, b, base_offset);
		return;
	}
	if (t->state != TOPIC_LIVE) {
		again(pp, b);
		return;
	}
	sim_note(p->r->w, "%s tp %d record %llu sequence %d epoch %d attempt %d: error %d", p->name, pp->tp, (unsigned long long)b->first_id, b->sequence, pp->epoch,
		b->attempts, e);
	if (p->idempotent && e == KERR_OUT_OF_ORDER_SEQUENCE_NUMBER) {
		if (head && !pp->bump_due) {
			checks_gap(p->r, b->first_id, pp->bumped && b->sequence == 0 ? 0 : pp->last_acked_id);
			pp->bump_due = true;
		}
	} else if (p->idempotent && e == KERR_INVALID_PRODUCER_EPOCH && pp->bumped) {
		pp->bump_due = true;
	} else if (!is_retriable(e)) {
		run_violation(p->r, "refused", "%s tp %d: Produce answered with error %d", p->name, pp->tp, e);
	}
	if (e == KERR_NOT_LEADER_OR_FOLLOWER || e == KERR_LEADER_NOT_AVAILABLE || e == KERR_UNKNOWN_TOPIC_OR_PARTITION)
		client_refresh(&p->c);
	again(pp, b);
}

static void produce_done(void *ctx, int err, const void *msg)
{
	struct produce_call *call = ctx;
	struct producer *p = call->p;
	const struct kp_produce_response *m = msg;
	list_remove(&call->link);
	for (int i = 0; i < call->count; i++) {
		struct ppart *pp = call->items[i].part;
		struct pbatch *b = call->items[i].b;
		if (err) {
			again(pp, b);
			continue;
		}
		struct topic *t = run_topic_of(p->r, pp->tp);
		const struct kp_produce_response_responses_partition_responses *found = NULL;
		for (int32_t k = 0; k < m->responses_count; k++) {
			if (!slice_eq_str(m->responses[k].name, t->name))
				continue;
			for (int32_t j = 0; j < m->responses[k].partition_responses_count; j++)
				if (m->responses[k].partition_responses[j].index == pp->tp - t->first_tp)
					found = &m->responses[k].partition_responses[j];
		}
		if (!found) {
			run_violation(p->r, "refused", "%s: Produce answer lacks tp %d", p->name, pp->tp);
			again(pp, b);
			continue;
		}
		answer(pp, b, found->error_code, found->base_offset);
	}
	mem_free(call);
	pump_soon(p, err ? 30000 : 0);
}

/* ---- making records ---- */

static void make(void *ctx)
{
	struct producer *p = ctx;
	struct run *r = p->r;
	int32_t tps[TPS_MAX];
	int32_t n = 0;
	if (r->quiet)
		return;
	timer_set_us(&p->make, p->interval_us / 2 + (int64_t)env_random_below(p->c.env, (uint64_t)p->interval_us));
	for (int32_t t = 0; t < r->topic_count; t++) {
		struct topic *topic = &r->topics[t];
		if (!run_topic_is_data(topic) || (p->only ? topic != p->only : topic->churn))
			continue;
		for (int32_t i = 0; i < topic->partitions; i++)
			tps[n++] = topic->first_tp + i;
	}
	if (!n || (p->idempotent && p->producer_id < 0)) {
		pump_soon(p, 1000);
		return;
	}
	struct ppart *pp = &p->parts[tps[env_random_below(p->c.env, (uint64_t)n)]];
	if (pp->queued < QUEUE_MAX) {
		int32_t count = 1 + (int32_t)env_random_below(p->c.env, (uint64_t)p->records_max);
		struct pbatch *b = MEM_NEW(struct pbatch);
		list_init(&b->link);
		b->count = count;
		for (int32_t i = 0; i < count; i++) {
			uint64_t id = checks_record(r, p->idx, pp->tp, p->acks, p->idempotent);
			if (i == 0)
				b->first_id = id;
		}
		b->sequence = p->idempotent ? pp->next_sequence : -1;
		pp->next_sequence += count;
		b->bytes = sim_batch_build(b->first_id, count, (uint32_t)env_random_below(p->c.env, p->pad_max), env_wall_ms(p->c.env), p->idempotent ? p->producer_id : -1,
			p->idempotent ? pp->epoch : -1, b->sequence, &b->len);
		b->made_us = env_now_us(p->c.env);
		list_push_back(&pp->queue, &b->link);
		pp->queued++;
	}
	pump_soon(p, 0);
	for (int32_t i = 0; i < n; i++)
		if (p->c.parts[tps[i]].leader < 0)
			client_refresh(&p->c);
}

static void on_metadata(void *ctx)
{
	pump_soon(ctx, 0);
}

static void reap(void *root, void *arg)
{
	struct producer *p = root ? root : arg;
	if (p->started)
		client_fini(&p->c);
	p->started = false;
}

static void *start(struct env *env, struct loop *control, void *arg)
{
	struct producer *p = arg;
	client_init(&p->c, p->r, env, control, p->name, on_metadata, p);
	timer_init(&p->make, control, make, p);
	timer_init(&p->pump, control, pump, p);
	timer_set_us(&p->make, p->interval_us);
	p->started = true;
	return p;
}

static void producer_new(struct run *r, struct topic *only)
{
	if (r->producer_count == PRODUCERS_MAX)
		return;
	struct producer *p = MEM_NEW(struct producer);
	p->r = r;
	p->idx = r->producer_count;
	snprintf(p->name, sizeof(p->name), "producer%d", p->idx);
	p->only = only;
	list_init(&p->calls);
	/* the first is always idempotent; the others by seed */
	uint64_t kind = p->idx == 0 || only ? 0 : rng_below(r->rng, 10);
	p->idempotent = kind < 4;
	p->acks = kind < 6 ? -1 : kind < 9 ? 1 : 0;
	p->version = (int16_t)rng_between(r->rng, 7, 11);
	p->producer_id = -1;
	p->interval_us = p->acks == 0 ? 300000 : rng_between(r->rng, 60000, 200000);
	p->records_max = (int32_t)rng_between(r->rng, 1, 8);
	p->pad_max = (uint32_t)rng_between(r->rng, 1, rng_chance(r->rng, 0.2) ? 1500 : 120);
	p->produce_timeout_ms = (int32_t)rng_between(r->rng, 500, 5000);
	p->timeout_us = (p->produce_timeout_ms + rng_between(r->rng, 200, 2000)) * 1000;
	for (int i = 0; i < TPS_MAX; i++) {
		p->parts[i].p = p;
		p->parts[i].tp = i;
		list_init(&p->parts[i].queue);
	}
	r->producers[r->producer_count++] = p;
	p->process = client_process(r, p->name, &(struct sim_program){.name = p->name, .start = start, .reap = reap, .arg = p});
}

void sim_producers_init(struct run *r)
{
	int n = (int)rng_between(r->rng, 3, 5);
	for (int i = 0; i < n; i++)
		producer_new(r, NULL);
}

void sim_producer_for(struct run *r, struct topic *only)
{
	producer_new(r, only);
}

void sim_producers_free(struct run *r)
{
	for (int i = 0; i < r->producer_count; i++) {
		struct producer *p = r->producers[i];
		for (int t = 0; t < TPS_MAX; t++)
			while (!list_empty(&p->parts[t].queue))
				batch_free(&p->parts[t], LIST_ENTRY(p->parts[t].queue.next, struct pbatch, link));
		for (struct list *l; (l = list_pop_front(&p->calls));)
			mem_free(LIST_ENTRY(l, struct produce_call, link));
		mem_free(p);
		r->producers[i] = NULL;
	}
}

bool sim_producers_settled(struct run *r, struct str *what)
{
	for (int i = 0; i < r->producer_count; i++) {
		struct producer *p = r->producers[i];
		for (int t = 0; t < r->tp_count; t++) {
			if (p->parts[t].queued && run_topic_of(r, t)->state == TOPIC_LIVE) {
				str_printf(what, "%s has %d batches for tp %d (%s-%d) that nobody takes", p->name, p->parts[t].queued, t, run_topic_of(r, t)->name,
					run_partition_of(r, t));
				return false;
			}
		}
		if (!p->only && p->acks != 0 && p->acked_since_heal == 0) {
			str_printf(what, "%s got nothing acknowledged since the healing", p->name);
			return false;
		}
	}
	return true;
}
