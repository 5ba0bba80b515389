/* client_admin.c: the client that creates and deletes topics.
 *
 * One question at a time, to any broker, again until it is settled: a topic counts as live when somebody said so (created, or exists
 * already after a lost answer), as gone when somebody said so. Some are created with fewer partitions and get the rest by
 * CreatePartitions before they count as live. flush.messages=1 is tried where the seed wants it; a cluster that
 * does not honour it must refuse it (contract.md), then the topic is created without.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/checks.h"
#include "tests/sim/client.h"

struct admin {
	struct run *r;
	struct client c;
	struct sim_process *process;
	bool started, busy;
	struct topic *asked;
	bool grows;                      /* it exists, and lacks partitions */
	bool asked_flush, asked_before;  /* before: an earlier try of this may have been done */
	int64_t churn_count;
	struct timer step;
};

static void step_soon(struct admin *a, int64_t delay_us)
{
	timer_set_us(&a->step, delay_us);
}

static void again(struct admin *a)
{
	a->busy = false;
	a->asked_before = true;
	step_soon(a, (int64_t)(50000 + env_random_below(a->c.env, 150000)));
}

static void settled(struct admin *a, enum topic_state state)
{
	struct topic *t = a->asked;
	a->busy = false;
	a->asked_before = a->grows = false;
	a->asked = NULL;
	t->state = state;
	t->live_us = env_now_us(a->c.env);
	sim_note(a->r->w, "topic %s is %s", t->name, state == TOPIC_LIVE ? "live" : "gone");
	if (state == TOPIC_LIVE && t->churn)
		sim_producer_for(a->r, t);
	step_soon(a, 1000);
}

static bool may_pass(int16_t e)
{
	return e == KERR_REQUEST_TIMED_OUT || e == KERR_NOT_CONTROLLER || e == KERR_INVALID_REPLICATION_FACTOR || e == KERR_BROKER_NOT_AVAILABLE ||
	       e == KERR_UNKNOWN_SERVER_ERROR || e == KERR_LEADER_NOT_AVAILABLE || e == KERR_COORDINATOR_NOT_AVAILABLE || e == KERR_THROTTLING_QUOTA_EXCEEDED ||
	       e == KERR_STALE_BROKER_EPOCH;
}

static int32_t created_with(const struct topic *t)
{
	return t->grown ? (t->partitions + 1) / 2 : t->partitions;
}

static void created(void *ctx, int err, const void *msg)
{
	struct admin *a = ctx;
	const struct kp_create_topics_response *m = msg;
	if (err || m->topics_count != 1) {
		again(a);
		return;
	}
	int16_t e = m->topics[0].error_code;
	if (e == KERR_NONE || (e == KERR_TOPIC_ALREADY_EXISTS && a->asked_before)) {
		if (e == KERR_NONE && !uuid_is_zero(&m->topics[0].topic_id))
			a->asked->id = m->topics[0].topic_id;
		a->asked->flush = a->asked_flush;
		if (created_with(a->asked) == a->asked->partitions) {
			settled(a, TOPIC_LIVE);
			return;
		}
		a->busy = a->asked_before = false;
		a->grows = true;
		step_soon(a, 1000);
	} else if (e == KERR_INVALID_CONFIG && a->asked_flush) {
		a->asked_flush = false;
		again(a);
		a->asked_before = false;
	} else if (may_pass(e) || (e == KERR_TOPIC_ALREADY_EXISTS && a->asked->churn)) {
		again(a);
	} else {
		run_violation(a->r, "refused", "CreateTopics of %s: error %d", a->asked->name, e);
	}
}

static void grown(void *ctx, int err, const void *msg)
{
	struct admin *a = ctx;
	const struct kp_create_partitions_response *m = msg;
	if (err || m->results_count != 1) {
		again(a);
		return;
	}
	int16_t e = m->results[0].error_code;
	if (e == KERR_NONE || (e == KERR_INVALID_PARTITIONS && a->asked_before))
		settled(a, TOPIC_LIVE);
	else if (may_pass(e) || e == KERR_UNKNOWN_TOPIC_OR_PARTITION)
		again(a);
	else
		run_violation(a->r, "refused", "CreatePartitions of %s: error %d", a->asked->name, e);
}

static void deleted(void *ctx, int err, const void *msg)
{
	struct admin *a = ctx;
	const struct kp_delete_topics_response *m = msg;
	if (err || m->responses_count != 1) {
		again(a);
		return;
	}
	int16_t e = m->responses[0].error_code;
	if (e == KERR_NONE || (e == KERR_UNKNOWN_TOPIC_OR_PARTITION && a->asked_before))
		settled(a, TOPIC_GONE);
	else if (may_pass(e) || e == KERR_UNKNOWN_TOPIC_OR_PARTITION)
		again(a);
	else
		run_violation(a->r, "refused", "DeleteTopics of %s: error %d", a->asked->name, e);
}

static bool send_create(struct admin *a, struct topic *t)
{
	struct kp_create_topics_request q;
	struct kp_create_topics_request_topics qt;
	struct kp_create_topics_request_topics_configs cfg[2];
	char min_isr[8];
	kp_create_topics_request_init(&q);
	kp_create_topics_request_topics_init(&qt);
	snprintf(min_isr, sizeof(min_isr), "%d", t->min_isr);
	cfg[0].name = slice_str("min.insync.replicas");
	cfg[0].value = slice_str(min_isr);
	cfg[1].name = slice_str("flush.messages");
	cfg[1].value = slice_str("1");
	qt.name = slice_str(t->name);
	qt.num_partitions = created_with(t);
	qt.replication_factor = (int16_t)(a->r->opt->brokers < 3 ? a->r->opt->brokers : 3);
	qt.configs = cfg;
	qt.configs_count = a->asked_flush ? 2 : 1;
	q.topics = &qt;
	q.topics_count = 1;
	q.timeout_ms = 5000;
	return client_send(&a->c, client_any_node(&a->c), wire_api_find(KP_API_CREATE_TOPICS), 7, &q, 7000000, created, a);
}

static bool send_grow(struct admin *a, struct topic *t)
{
	struct kp_create_partitions_request q;
	struct kp_create_partitions_request_topics qt;
	kp_create_partitions_request_init(&q);
	kp_create_partitions_request_topics_init(&qt);
	qt.name = slice_str(t->name);
	qt.count = t->partitions;
	qt.assignments_count = -1;
	q.topics = &qt;
	q.topics_count = 1;
	q.timeout_ms = 5000;
	return client_send(&a->c, client_any_node(&a->c), wire_api_find(KP_API_CREATE_PARTITIONS), 3, &q, 7000000, grown, a);
}

static bool send_delete(struct admin *a, struct topic *t)
{
	struct kp_delete_topics_request q;
	struct slice name = slice_str(t->name);
	kp_delete_topics_request_init(&q);
	q.topic_names = &name;
	q.topic_names_count = 1;
	q.timeout_ms = 5000;
	return client_send(&a->c, client_any_node(&a->c), wire_api_find(KP_API_DELETE_TOPICS), 5, &q, 7000000, deleted, a);
}

static void step(void *ctx)
{
	struct admin *a = ctx;
	struct run *r = a->r;
	if (a->busy)
		return;
	if (!a->asked) {
		for (int32_t i = 0; i < r->topic_count && !a->asked; i++) {
			if (!r->topics[i].internal && (r->topics[i].state == TOPIC_WANTED || r->topics[i].state == TOPIC_DELETING)) {
				a->asked = &r->topics[i];
				a->asked_flush = a->asked->flush;
			}
		}
	}
	if (!a->asked) {
		step_soon(a, 500000);
		return;
	}
	if (a->asked->state != TOPIC_WANTED)
		a->busy = send_delete(a, a->asked);
	else
		a->busy = a->grows ? send_grow(a, a->asked) : send_create(a, a->asked);
	if (!a->busy)
		step_soon(a, 50000);
}

static void on_metadata(void *ctx)
{
	(void)ctx;
}

static void *start(struct env *env, struct loop *control, void *arg)
{
	struct admin *a = arg;
	client_init(&a->c, a->r, env, control, "admin", on_metadata, a);
	timer_init(&a->step, control, step, a);
	step_soon(a, 500000);
	a->started = true;
	return a;
}

static void reap(void *root, void *arg)
{
	struct admin *a = root ? root : arg;
	if (a->started)
		client_fini(&a->c);
	a->started = false;
}

/* min.insync.replicas 2, in some seeds 1; flush.messages=1 in some. */
static void topic_by_seed(struct run *r, const char *name, bool churn)
{
	int32_t min_isr = rng_chance(r->rng, 0.15) ? 1 : 2;
	int32_t partitions = (int32_t)rng_between(r->rng, churn ? 1 : 3, churn ? 2 : PARTITIONS_MAX);
	struct topic *t = run_topic_new(r, name, partitions, min_isr < r->opt->brokers ? min_isr : r->opt->brokers, rng_chance(r->rng, 0.15), churn);
	t->grown = ((uint64_t)r->topic_count ^ r->seed) & 1;
}

void admin_init(struct run *r)
{
	struct admin *a = MEM_NEW(struct admin);
	a->r = r;
	r->admin = a;
	topic_by_seed(r, "orders", false);
	topic_by_seed(r, "events", false);
	a->process = client_process(r, "admin", &(struct sim_program){.name = "admin", .start = start, .reap = reap, .arg = a});
}

void admin_free(struct run *r)
{
	mem_free(r->admin);
	r->admin = NULL;
}

bool admin_idle(struct run *r)
{
	return !r->admin->asked;
}

void admin_churn(struct run *r)
{
	struct topic *live[TOPICS_MAX];
	uint64_t n = 0;
	for (int32_t i = 0; i < r->topic_count; i++)
		if (r->topics[i].churn && r->topics[i].state == TOPIC_LIVE)
			live[n++] = &r->topics[i];
	if (n && rng_chance(r->rng, 0.6)) {
		struct topic *t = live[rng_below(r->rng, n)];
		t->state = TOPIC_DELETING;
		sim_note(r->w, "topic %s is to be deleted", t->name);
		return;
	}
	if (r->topic_count == TOPICS_MAX)
		return;
	/* three names, so that some come back after they were deleted */
	char name[24];
	snprintf(name, sizeof(name), "churn%d", (int)rng_below(r->rng, 3));
	if (!run_topic_find(r, slice_str(name)))
		topic_by_seed(r, name, true);
}
