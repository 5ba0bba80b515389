/* admin_partitions.c: CreatePartitions. See admin_priv.h.
 *
 * Answered when the new partitions have leaders in the published image, or by timeout; the work goes on either way (replication.md 10). A row
 * whose topic node is just being read or written waits for that: what may be done is decided on acknowledged state (protocol.md C3).
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/plan/grow.h"
#include "controllerd/push/admin_priv.h"

enum grow_step { GROW_DONE, GROW_OPEN /* not looked at yet */, GROW_BUSY /* not decided yet */, GROW_WRITING, GROW_LEADERS };

struct grow_row {
	const struct kp_create_partitions_request_topics *in;
	enum grow_step step;
	struct uuid topic;
	int32_t first, end; /* new partitions */
};
struct grow { /* q->own; one row per row of the response */
	struct grow_row *rows;
	bool validate_only;
};

struct grow_arg {
	struct push_pending *q;
	int32_t row;
};

static struct kp_create_partitions_response_results *result_of(struct push_pending *q, int32_t row)
{
	struct kp_create_partitions_response *response = q->response;
	return &response->results[row];
}

static void on_grown(void *ctx, void *arg, int err)
{
	struct push_pending *q = ((struct grow_arg *)arg)->q;
	int32_t row = ((struct grow_arg *)arg)->row;
	mem_free(arg);
	if (!admin_written(q))
		return;
	struct kp_create_partitions_response_results *r = result_of(q, row);
	struct grow_row *g = &((struct grow *)q->own)->rows[row];
	g->step = err == 0 ? GROW_LEADERS : err == ERR_AGAIN ? GROW_BUSY : GROW_DONE;
	q->undecided += g->step == GROW_BUSY;
	if (err == ERR_NOENT) {
		r->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
		r->error_message = slice_str("The topic was deleted at the same time.");
	} else if (err == ERR_LIMIT) {
		r->error_code = KERR_INVALID_PARTITIONS;
		r->error_message = slice_str("ZooKeeper refused the topic: its assignment is too large.");
	} else if (g->step == GROW_DONE) {
		r->error_code = KERR_NOT_CONTROLLER;
		r->error_message = slice_str("This controller was replaced.");
	}
	ring_changed(q->push);
}

static int16_t decide(struct push_pending *q, int32_t row, struct str *problem)
{
	struct push *p = q->push;
	struct grow *own = q->own;
	struct grow_row *g = &own->rows[row];
	const struct kp_create_partitions_request_topics *in = g->in;
	struct plan_topic *t = plan_topic_find_slice(p->st->im, in->name);
	g->step = GROW_DONE;
	if (t && t->deleting) {
		str_add(problem, "The topic is queued for deletion.");
		return KERR_INVALID_TOPIC_EXCEPTION;
	}
	if (!t || t->vanished) {
		str_printf(problem, "The topic '%.*s' does not exist.", (int)in->name.len, (const char *)in->name.ptr);
		return KERR_UNKNOWN_TOPIC_OR_PARTITION;
	}
	if (state_topic_busy(t)) {
		g->step = GROW_BUSY;
		return KERR_NONE;
	}
	struct plan_ids *manual = NULL;
	if (in->assignments_count >= 0) {
		manual = ARENA_ARRAY(&q->arena, struct plan_ids, (size_t)in->assignments_count + 1);
		for (int32_t i = 0; i < in->assignments_count; i++)
			manual[i] = (struct plan_ids){in->assignments[i].broker_ids, in->assignments[i].broker_ids_count};
	}
	struct plan_growth growth = {.count = in->count, .manual = manual, .manual_count = manual ? in->assignments_count : 0};
	int16_t code = plan_topic_grow(p->st->im, t, &growth, problem);
	if (code)
		return code;
	if (plan_topic_internal(in->name)) {
		/* what is kept in it is found by a hash modulo the number of partitions: groups would be looked for where nothing is known of them */
		plan_growth_fini(&growth);
		str_printf(problem, "The number of partitions of '%s' cannot be changed.", t->name);
		return KERR_INVALID_PARTITIONS;
	}
	if (!own->validate_only) {
		struct grow_arg *arg = MEM_NEW(struct grow_arg);
		*arg = (struct grow_arg){q, row};
		g->step = GROW_WRITING;
		g->topic = t->id;
		g->first = growth.partitions[0].idx;
		g->end = g->first + growth.partition_count;
		q->writing++;
		state_grow_topic(p->st, t, &growth, on_grown, p, arg);
	}
	plan_growth_fini(&growth);
	return KERR_NONE;
}

static void decide_row(struct push_pending *q, int32_t row)
{
	struct kp_create_partitions_response_results *r = result_of(q, row);
	struct str problem = {0};
	r->error_code = decide(q, row, &problem);
	r->error_message = admin_text(q, &problem);
	str_fini(&problem);
	q->undecided += ((struct grow *)q->own)->rows[row].step == GROW_BUSY;
}

static void grow_start(struct push_pending *q, const void *request)
{
	const struct kp_create_partitions_request *in = request;
	struct kp_create_partitions_response *response = q->response;
	struct grow *own = ARENA_NEW(&q->arena, struct grow);
	own->validate_only = in->validate_only;
	own->rows = ARENA_ARRAY(&q->arena, struct grow_row, (size_t)in->topics_count + 1);
	response->results = ARENA_ARRAY(&q->arena, struct kp_create_partitions_response_results, (size_t)in->topics_count + 1);
	q->own = own;
	admin_timeout(q, in->timeout_ms);
	struct slice *names = ARENA_ARRAY(&q->arena, struct slice, (size_t)in->topics_count + 1);
	int32_t *row = ARENA_ARRAY(&q->arena, int32_t, (size_t)in->topics_count + 1);
	for (int32_t i = 0; i < in->topics_count; i++)
		names[i] = in->topics[i].name;
	const int32_t *first = admin_first_named(q, names, in->topics_count);
	for (int32_t i = 0; i < in->topics_count; i++) {
		if (first[i] != i) { /* a name that stands twice is answered once, and nothing is done */
			response->results[row[first[i]]].error_code = KERR_INVALID_REQUEST;
			response->results[row[first[i]]].error_message = slice_str("Duplicate topic in request.");
			continue;
		}
		row[i] = response->results_count++;
		struct kp_create_partitions_response_results *r = &response->results[row[i]];
		kp_create_partitions_response_results_init(r);
		r->name = in->topics[i].name;
		r->error_message = (struct slice){NULL, 0};
		own->rows[row[i]] = (struct grow_row){.in = &in->topics[i], .step = GROW_OPEN};
	}
	for (int32_t i = 0; i < response->results_count; i++)
		if (response->results[i].error_code)
			own->rows[i].step = GROW_DONE;
	q->rows = response->results_count;
}

static void grow_one(struct push_pending *q, int32_t row)
{
	if (((struct grow *)q->own)->rows[row].step == GROW_OPEN)
		decide_row(q, row);
}

static bool led(struct push_pending *q, const struct grow_row *g)
{
	const struct plan_topic *t = plan_topic_find_id(q->push->st->im, &g->topic);
	for (int32_t i = g->first; t && i < g->end; i++) {
		const struct plan_partition *p = plan_partition_find(t, i);
		if (p && (!p->published || p->st.leader < 0))
			return false;
	}
	return true; /* also when it was deleted meanwhile: it did get them */
}

static bool grow_settled(struct push_pending *q, bool late)
{
	struct kp_create_partitions_response *response = q->response;
	struct grow *own = q->own;
	bool settled = true; /* so far: leaders are asked for at each publication, and no further than to the first row that waits for its own */
	for (int32_t i = 0; i < response->results_count; i++) {
		struct grow_row *g = &own->rows[i];
		if (g->step == GROW_BUSY) {
			q->undecided--;
			decide_row(q, i);
		}
		if (g->step == GROW_LEADERS && settled && led(q, g))
			g->step = GROW_DONE;
		if (g->step == GROW_DONE)
			continue;
		if (!late) {
			settled = false;
			continue;
		}
		response->results[i].error_code = KERR_REQUEST_TIMED_OUT;
		response->results[i].error_message = g->step == GROW_BUSY ? slice_str("The topic was being changed by others all the time.") : (struct slice){NULL, 0};
	}
	return settled;
}

const struct admin_call admin_create_partitions = {KP_API_CREATE_PARTITIONS, grow_start, grow_one, grow_settled, NULL};
