/* client_consumer.c: consuming clients.
 *
 * Each reads every partition of every topic that stays, from offset 0, read_uncommitted, with an incremental fetch session per broker,
 * and follows leader changes: on a new epoch it validates its position with OffsetForLeaderEpoch (or lets the broker do it, by
 * sending the epoch of its last record with Fetch 12+), and goes back where that says so. What it gets is told to the checks.
 *
 * States of a partition: VALIDATE (position to be compared with the leader's epochs) -> FETCH; FETCH -> VALIDATE on a new epoch;
 * both -> RESET (out of range: ask where the log is) -> FETCH.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/batch.h"
#include "tests/sim/checks.h"
#include "tests/sim/client.h"

enum cstate { CONSUME_FETCH, CONSUME_VALIDATE, CONSUME_RESET };

struct cpart {
	struct consumer *co;
	int32_t tp;
	enum cstate state;
	bool asking;            /* VALIDATE or RESET is under way */
	int64_t position;
	int32_t last_epoch;     /* of the record before the position; -1 none */
	int32_t epoch;          /* leader epoch that the position was validated in */
	int64_t retry_us;
	uint16_t held;          /* sessions that have it, by node: one that waits for its answer is told later that it went to another */
	/* the session that it is fetched in */
	int node;               /* -1 none */
	int64_t sent_offset;
	int32_t sent_epoch, sent_last_epoch;
	/* high watermark as last seen on one connection in one epoch */
	uint32_t hw_serial;
	int hw_node;
	int32_t hw_epoch;
	int64_t hw;
};

struct session {
	struct consumer *co;
	int node;
	int32_t id, epoch;      /* 0, 0: none */
	uint32_t serial;        /* connection that the request in flight went to */
	bool busy;
	int64_t sent_us;
	int64_t retry_us;
};

struct consumer {
	struct run *r;
	int idx;
	char name[24];
	struct client c;
	struct sim_process *process;
	bool started, paused, use_ofle;
	int16_t version;
	int32_t max_wait_ms, part_bytes;
	struct cpart parts[TPS_MAX];
	struct session sessions[BROKERS_MAX];
	struct timer kick;
	struct list asks;
};

/* A question about one partition in flight. */
struct ask {
	struct list link;
	struct cpart *cp;
	int64_t asked_position;
	int32_t asked_epoch;
};

static void kick_soon(struct consumer *co, int64_t delay_us)
{
	if (!timer_armed(&co->kick) || co->kick.due_us > env_now_us(co->c.env) + delay_us)
		timer_set_us(&co->kick, delay_us);
}

static void backoff(struct cpart *cp)
{
	cp->retry_us = env_now_us(cp->co->c.env) + (int64_t)(10000 + env_random_below(cp->co->c.env, 60000));
	kick_soon(cp->co, 75000);
}

static bool wants(const struct consumer *co, int32_t tp)
{
	const struct topic *t = run_topic_of(co->r, tp);
	return run_topic_is_data(t) && !t->churn;
}

/* ---- records ---- */

struct take { struct cpart *cp; int64_t sent_us; };

static void take_record(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	struct take *t = ctx;
	if (offset < t->cp->position)
		return;
	checks_read(t->cp->co->r, t->cp->tp, offset, epoch, id, t->sent_us);
}

static void take_records(struct cpart *cp, struct slice records, int64_t hw, int64_t sent_us)
{
	struct take t = {cp, sent_us};
	while (records.len) {
		struct sim_batch b;
		int err = sim_batch_parse(records, &b);
		if (err == ERR_RANGE)
			return; /* cut at the limit */
		if (err) {
			run_violation(cp->co->r, "refused", "%s tp %d: a batch at or behind offset %lld is broken", cp->co->name, cp->tp, (long long)cp->position);
			return;
		}
		int64_t next = b.base_offset + b.count;
		if (next > hw)
			run_violation(cp->co->r, "high-watermark", "%s tp %d: batch up to %lld above the high watermark %lld", cp->co->name, cp->tp, (long long)next,
				(long long)hw);
		if (b.base_offset > cp->position)
			run_violation(cp->co->r, "read-gone", "%s tp %d: the log goes on at %lld, expected %lld", cp->co->name, cp->tp, (long long)b.base_offset,
				(long long)cp->position);
		if (!sim_batch_records(records, &b, take_record, &t))
			run_violation(cp->co->r, "refused", "%s tp %d: records at %lld do not parse", cp->co->name, cp->tp, (long long)b.base_offset);
		if (next > cp->position) {
			cp->position = next;
			cp->last_epoch = b.leader_epoch;
		}
		records = slice_make(records.ptr + b.total_bytes, records.len - (size_t)b.total_bytes);
	}
}

/* ---- questions about one partition ---- */

static struct ask *ask_new(struct cpart *cp)
{
	struct ask *a = MEM_NEW(struct ask);
	*a = (struct ask){.cp = cp, .asked_position = cp->position, .asked_epoch = cp->co->c.parts[cp->tp].epoch};
	list_init(&a->link);
	return a;
}

static void ask_free(struct ask *a)
{
	list_remove(&a->link);
	mem_free(a);
}

static void rewind_to(struct cpart *cp, int64_t offset, const char *why)
{
	sim_note(cp->co->r->w, "%s tp %d goes from %lld to %lld: %s", cp->co->name, cp->tp, (long long)cp->position, (long long)offset, why);
	cp->position = offset;
	cp->last_epoch = -1;
}

static void validated(void *ctx, int err, const void *msg)
{
	struct ask *a = ctx;
	struct cpart *cp = a->cp;
	const struct kp_offset_for_leader_epoch_response *m = msg;
	int32_t asked_epoch = a->asked_epoch;
	ask_free(a);
	cp->asking = false;
	if (err || m->topics_count != 1 || m->topics[0].partitions_count != 1) {
		backoff(cp);
		return;
	}
	const struct kp_offset_for_leader_epoch_response_topics_partitions *p = &m->topics[0].partitions[0];
	if (p->error_code) {
		client_refresh(&cp->co->c);
		backoff(cp);
		return;
	}
	if (p->end_offset < 0)
		rewind_to(cp, 0, "the leader knows no epoch");
	else if (p->end_offset < cp->position)
		rewind_to(cp, p->end_offset, "the leader's log ends there in that epoch");
	cp->epoch = asked_epoch;
	cp->state = CONSUME_FETCH;
	kick_soon(cp->co, 0);
}

static void ask_epoch(struct cpart *cp, int node)
{
	struct consumer *co = cp->co;
	struct topic *t = run_topic_of(co->r, cp->tp);
	struct kp_offset_for_leader_epoch_request q;
	struct kp_offset_for_leader_epoch_request_topics qt;
	struct kp_offset_for_leader_epoch_request_topics_partitions qp;
	if (cp->position == 0 || cp->last_epoch < 0 || !co->use_ofle) {
		cp->epoch = co->c.parts[cp->tp].epoch;
		cp->state = CONSUME_FETCH;
		return;
	}
	kp_offset_for_leader_epoch_request_init(&q);
	kp_offset_for_leader_epoch_request_topics_init(&qt);
	kp_offset_for_leader_epoch_request_topics_partitions_init(&qp);
	q.replica_id = -1;
	q.topics = &qt;
	q.topics_count = 1;
	qt.topic = slice_str(t->name);
	qt.partitions = &qp;
	qt.partitions_count = 1;
	qp.partition = run_partition_of(co->r, cp->tp);
	qp.current_leader_epoch = co->c.parts[cp->tp].epoch;
	qp.leader_epoch = cp->last_epoch;
	struct ask *a = ask_new(cp);
	if (client_send(&co->c, node, wire_api_find(KP_API_OFFSET_FOR_LEADER_EPOCH), 3, &q, 2000000, validated, a)) {
		cp->asking = true;
		list_push_back(&co->asks, &a->link);
	} else {
		mem_free(a);
		backoff(cp);
	}
}

static void reset_done(void *ctx, int err, const void *msg)
{
	struct ask *a = ctx;
	struct cpart *cp = a->cp;
	const struct kp_list_offsets_response *m = msg;
	ask_free(a);
	cp->asking = false;
	if (err || m->topics_count != 1 || m->topics[0].partitions_count != 1 || m->topics[0].partitions[0].error_code) {
		client_refresh(&cp->co->c);
		backoff(cp);
		return;
	}
	int64_t end = m->topics[0].partitions[0].offset;
	if (end < cp->position)
		rewind_to(cp, end, "out of range");
	cp->state = CONSUME_VALIDATE;
	kick_soon(cp->co, 0);
}

static void ask_end(struct cpart *cp, int node)
{
	struct consumer *co = cp->co;
	struct topic *t = run_topic_of(co->r, cp->tp);
	struct kp_list_offsets_request q;
	struct kp_list_offsets_request_topics qt;
	struct kp_list_offsets_request_topics_partitions qp;
	kp_list_offsets_request_init(&q);
	kp_list_offsets_request_topics_init(&qt);
	kp_list_offsets_request_topics_partitions_init(&qp);
	q.replica_id = -1;
	q.topics = &qt;
	q.topics_count = 1;
	qt.name = slice_str(t->name);
	qt.partitions = &qp;
	qt.partitions_count = 1;
	qp.partition_index = run_partition_of(co->r, cp->tp);
	qp.current_leader_epoch = co->c.parts[cp->tp].epoch;
	qp.timestamp = -1;
	struct ask *a = ask_new(cp);
	if (client_send(&co->c, node, wire_api_find(KP_API_LIST_OFFSETS), 5, &q, 2000000, reset_done, a)) {
		cp->asking = true;
		list_push_back(&co->asks, &a->link);
	} else {
		mem_free(a);
		backoff(cp);
	}
}

/* ---- fetching ---- */

static void session_reset(struct session *s)
{
	s->id = 0;
	s->epoch = 0;
	for (int t = 0; t < TPS_MAX; t++) {
		s->co->parts[t].held &= (uint16_t)~(1u << s->node);
		if (s->co->parts[t].node == s->node)
			s->co->parts[t].node = -1;
	}
}

static void check_hw(struct cpart *cp, struct session *s, int64_t hw)
{
	if (cp->hw_node == s->node && cp->hw_serial == s->serial && cp->hw_epoch == cp->sent_epoch && hw < cp->hw)
		run_violation(cp->co->r, "high-watermark", "%s tp %d: from %lld back to %lld in epoch %d of broker %d", cp->co->name, cp->tp, (long long)cp->hw,
			(long long)hw, cp->hw_epoch, cluster_broker_id_of(s->node));
	cp->hw_node = s->node;
	cp->hw_serial = s->serial;
	cp->hw_epoch = cp->sent_epoch;
	cp->hw = hw;
}

static void take_partition(struct session *s, struct cpart *cp, const struct kp_fetch_response_responses_partitions *p)
{
	struct consumer *co = s->co;
	if (cp->node != s->node || cp->sent_offset != cp->position || cp->state != CONSUME_FETCH)
		return; /* it moved on meanwhile */
	switch (p->error_code) {
	case KERR_NONE:
		break;
	case KERR_OFFSET_OUT_OF_RANGE:
		cp->state = CONSUME_RESET;
		return;
	case KERR_UNKNOWN_TOPIC_OR_PARTITION: case KERR_NOT_LEADER_OR_FOLLOWER: case KERR_LEADER_NOT_AVAILABLE: case KERR_REPLICA_NOT_AVAILABLE:
	case KERR_FENCED_LEADER_EPOCH: case KERR_UNKNOWN_LEADER_EPOCH: case KERR_KAFKA_STORAGE_ERROR: case KERR_UNKNOWN_TOPIC_ID:
	case KERR_INCONSISTENT_TOPIC_ID: case KERR_OFFSET_NOT_AVAILABLE:
		client_refresh(&co->c);
		backoff(cp);
		return;
	default:
		run_violation(co->r, "refused", "%s tp %d: Fetch answered with error %d", co->name, cp->tp, p->error_code);
		return;
	}
	if (p->diverging_epoch.end_offset >= 0) {
		rewind_to(cp, p->diverging_epoch.end_offset < cp->position ? p->diverging_epoch.end_offset : cp->position, "diverging epoch");
		return;
	}
	if (p->high_watermark >= 0)
		check_hw(cp, s, p->high_watermark);
	take_records(cp, p->records.bytes, p->high_watermark, s->sent_us);
}

static struct cpart *part_of(struct consumer *co, const struct kp_fetch_response_responses *t, int32_t partition)
{
	for (int32_t i = 0; i < co->r->topic_count; i++) {
		struct topic *mine = &co->r->topics[i];
		bool same = co->version >= 13 ? uuid_eq(&mine->id, &t->topic_id) : slice_eq_str(t->topic, mine->name) && mine->state == TOPIC_LIVE;
		if (same && partition >= 0 && partition < mine->partitions)
			return &co->parts[mine->first_tp + partition];
	}
	return NULL;
}

static void fetched(void *ctx, int err, const void *msg)
{
	struct session *s = ctx;
	struct consumer *co = s->co;
	const struct kp_fetch_response *m = msg;
	s->busy = false;
	if (err) {
		session_reset(s);
		s->retry_us = env_now_us(co->c.env) + 50000;
		kick_soon(co, 50000);
		return;
	}
	if (m->error_code) {
		if (m->error_code != KERR_FETCH_SESSION_ID_NOT_FOUND && m->error_code != KERR_INVALID_FETCH_SESSION_EPOCH &&
		    m->error_code != KERR_FETCH_SESSION_TOPIC_ID_ERROR && m->error_code != KERR_UNKNOWN_TOPIC_ID && m->error_code != KERR_INCONSISTENT_TOPIC_ID)
			run_violation(co->r, "refused", "%s: Fetch answered with error %d", co->name, m->error_code);
		session_reset(s);
		s->retry_us = env_now_us(co->c.env) + 20000;
		kick_soon(co, 20000);
		return;
	}
	for (int32_t i = 0; i < m->responses_count; i++) {
		for (int32_t k = 0; k < m->responses[i].partitions_count; k++) {
			struct cpart *cp = part_of(co, &m->responses[i], m->responses[i].partitions[k].partition_index);
			if (cp)
				take_partition(s, cp, &m->responses[i].partitions[k]);
		}
	}
	if (m->session_id == 0)
		session_reset(s);
	else if (s->id == 0 || s->id == m->session_id) {
		s->id = m->session_id;
		s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
	} else {
		session_reset(s);
	}
	kick_soon(co, 0);
}

/* Whether the partition is to be fetched from this node now. */
static bool fetchable(struct consumer *co, struct cpart *cp, int node, int64_t now)
{
	return wants(co, cp->tp) && cp->state == CONSUME_FETCH && !cp->asking && co->c.parts[cp->tp].leader == node && cp->epoch == co->c.parts[cp->tp].epoch &&
	       cp->retry_us <= now && (co->version < 13 || !uuid_is_zero(&run_topic_of(co->r, cp->tp)->id));
}

struct fetch_build {
	struct kp_fetch_request_topics topics[TOPICS_MAX];
	struct kp_fetch_request_topics_partitions parts[TPS_MAX];
	struct kp_fetch_request_forgotten_topics_data forgotten[TOPICS_MAX];
	int32_t forgotten_parts[TPS_MAX];
	int32_t topics_n, parts_n, forgotten_n, forgotten_parts_n, wanted;
};

static void build_part(struct session *s, struct cpart *cp, struct fetch_build *f, int64_t now)
{
	struct consumer *co = s->co;
	int32_t partition = run_partition_of(co->r, cp->tp);
	if (!fetchable(co, cp, s->node, now)) {
		if (cp->held >> s->node & 1 && s->id)
			f->forgotten_parts[f->forgotten_parts_n++] = partition;
		cp->held &= (uint16_t)~(1u << s->node);
		if (cp->node == s->node)
			cp->node = -1;
		return;
	}
	cp->held |= (uint16_t)(1u << s->node);
	f->wanted++;
	int32_t last_epoch = co->use_ofle ? -1 : cp->last_epoch;
	bool same = cp->node == s->node && s->id && cp->sent_offset == cp->position && cp->sent_epoch == cp->epoch && cp->sent_last_epoch == last_epoch;
	cp->node = s->node;
	cp->sent_offset = cp->position;
	cp->sent_epoch = cp->epoch;
	cp->sent_last_epoch = last_epoch;
	if (same)
		return;
	struct kp_fetch_request_topics_partitions *p = &f->parts[f->parts_n++];
	kp_fetch_request_topics_partitions_init(p);
	p->partition = partition;
	p->current_leader_epoch = cp->epoch;
	p->fetch_offset = cp->position;
	p->last_fetched_epoch = last_epoch;
	p->partition_max_bytes = co->part_bytes;
}

static void fetch_send(struct consumer *co, struct session *s, int64_t now)
{
	static struct fetch_build f; /* one thread; used within this call only */
	struct kp_fetch_request q;
	f.topics_n = f.parts_n = f.forgotten_n = f.forgotten_parts_n = f.wanted = 0;
	for (int32_t i = 0; i < co->r->topic_count; i++) {
		struct topic *t = &co->r->topics[i];
		int32_t first = f.parts_n, first_forgotten = f.forgotten_parts_n;
		for (int32_t k = 0; k < t->partitions; k++)
			build_part(s, &co->parts[t->first_tp + k], &f, now);
		if (f.parts_n > first) {
			struct kp_fetch_request_topics *ft = &f.topics[f.topics_n++];
			kp_fetch_request_topics_init(ft);
			ft->topic = slice_str(t->name);
			ft->topic_id = t->id;
			ft->partitions = f.parts + first;
			ft->partitions_count = f.parts_n - first;
		}
		if (f.forgotten_parts_n > first_forgotten) {
			struct kp_fetch_request_forgotten_topics_data *ff = &f.forgotten[f.forgotten_n++];
			kp_fetch_request_forgotten_topics_data_init(ff);
			ff->topic = slice_str(t->name);
			ff->topic_id = t->id;
			ff->partitions = f.forgotten_parts + first_forgotten;
			ff->partitions_count = f.forgotten_parts_n - first_forgotten;
		}
	}
	if (!f.wanted) {
		if (s->id)
			session_reset(s);
		return;
	}
	kp_fetch_request_init(&q);
	q.max_wait_ms = co->max_wait_ms;
	q.min_bytes = 1;
	q.max_bytes = 1 << 20;
	q.session_id = s->id;
	q.session_epoch = s->epoch;
	q.topics = f.topics;
	q.topics_count = f.topics_n;
	q.forgotten_topics_data = f.forgotten;
	q.forgotten_topics_data_count = f.forgotten_n;
	s->sent_us = now;
	if (client_send(&co->c, s->node, wire_api_find(KP_API_FETCH), co->version, &q, (co->max_wait_ms + 2000) * 1000, fetched, s)) {
		s->busy = true;
		s->serial = co->c.nodes[s->node].serial;
	} else {
		session_reset(s);
		s->retry_us = now + 50000;
		kick_soon(co, 50000);
	}
}

static void kick(void *ctx)
{
	struct consumer *co = ctx;
	int64_t now = env_now_us(co->c.env);
	for (int t = 0; t < co->r->tp_count; t++) {
		struct cpart *cp = &co->parts[t];
		const struct client_partition *m = &co->c.parts[t];
		if (!wants(co, t) || cp->asking || m->leader < 0 || cp->retry_us > now)
			continue;
		if (cp->state == CONSUME_FETCH && cp->epoch != m->epoch)
			cp->state = CONSUME_VALIDATE;
		if (cp->state == CONSUME_VALIDATE)
			ask_epoch(cp, m->leader);
		else if (cp->state == CONSUME_RESET)
			ask_end(cp, m->leader);
	}
	for (int n = 0; n < co->r->opt->brokers; n++)
		if (!co->sessions[n].busy && co->sessions[n].retry_us <= now)
			fetch_send(co, &co->sessions[n], now);
	kick_soon(co, 200000);
}

static void on_metadata(void *ctx)
{
	kick_soon(ctx, 0);
}

static void *start(struct env *env, struct loop *control, void *arg)
{
	struct consumer *co = arg;
	client_init(&co->c, co->r, env, control, co->name, on_metadata, co);
	timer_init(&co->kick, control, kick, co);
	timer_set_us(&co->kick, 1000);
	co->started = true;
	return co;
}

static void reap(void *root, void *arg)
{
	struct consumer *co = root ? root : arg;
	if (co->started)
		client_fini(&co->c);
	co->started = false;
}

static void consumer_new(struct run *r)
{
	struct consumer *co = MEM_NEW(struct consumer);
	co->r = r;
	co->idx = r->consumer_count;
	snprintf(co->name, sizeof(co->name), "consumer%d", co->idx);
	list_init(&co->asks);
	co->use_ofle = rng_chance(r->rng, 0.6);
	co->version = (int16_t)(co->use_ofle ? rng_between(r->rng, 11, 16) : rng_between(r->rng, 12, 16));
	co->max_wait_ms = (int32_t)rng_between(r->rng, 100, 700);
	co->part_bytes = (int32_t)(rng_chance(r->rng, 0.3) ? 700 : 65536);
	for (int i = 0; i < TPS_MAX; i++)
		co->parts[i] = (struct cpart){.co = co, .tp = i, .state = CONSUME_VALIDATE, .last_epoch = -1, .epoch = -1, .node = -1, .hw_node = -1};
	for (int i = 0; i < BROKERS_MAX; i++)
		co->sessions[i] = (struct session){.co = co, .node = i};
	r->consumers[r->consumer_count++] = co;
	co->process = client_process(r, co->name, &(struct sim_program){.name = co->name, .start = start, .reap = reap, .arg = co});
}

void sim_consumers_init(struct run *r)
{
	int n = (int)rng_between(r->rng, 1, 2);
	for (int i = 0; i < n; i++)
		consumer_new(r);
}

void sim_consumers_audit(struct run *r)
{
	consumer_new(r);
}

void sim_consumers_free(struct run *r)
{
	for (int i = 0; i < r->consumer_count; i++) {
		for (struct list *l; (l = list_pop_front(&r->consumers[i]->asks));)
			mem_free(LIST_ENTRY(l, struct ask, link));
		mem_free(r->consumers[i]);
		r->consumers[i] = NULL;
	}
}

int64_t sim_consumers_position(struct run *r, int32_t tp)
{
	int64_t least = INT64_MAX;
	for (int i = 0; i < r->consumer_count; i++)
		if (wants(r->consumers[i], tp) && r->consumers[i]->parts[tp].position < least)
			least = r->consumers[i]->parts[tp].position;
	return least;
}
