/* admin.c: what the controller decides (forwarded whole, answered with its body), and producer ids. */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

/* ---- CreateTopics, DeleteTopics, CreatePartitions, ElectLeaders, ListPartitionReassignments ---- */

#define NO_ANSWER "no controller answered; the request may have been carried out: look before sending it again"

static int16_t retriable(int16_t error)
{
	return error ? error : KERR_UNKNOWN_SERVER_ERROR;
}

static void create_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	const struct kp_create_topics_request *q = c->request;
	struct kp_create_topics_response resp;
	kp_create_topics_response_init(&resp);
	resp.topics = ARENA_ARRAY(&c->r->arena, struct kp_create_topics_response_topics, (size_t)q->topics_count + 1);
	resp.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		kp_create_topics_response_topics_init(&resp.topics[i]);
		resp.topics[i].name = q->topics[i].name;
		resp.topics[i].error_code = retriable(error);
		resp.topics[i].error_message = slice_str(NO_ANSWER);
	}
	api_reply(c, &resp);
}

void api_do_create_topics(struct api_call *c)
{
	api_forward_call(c, ((const struct kp_create_topics_request *)c->request)->timeout_ms, create_done);
}

static void delete_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	const struct kp_delete_topics_request *q = c->request;
	struct kp_delete_topics_response resp;
	bool by_struct = c->version >= 6;
	int32_t n = by_struct ? q->topics_count : q->topic_names_count;
	kp_delete_topics_response_init(&resp);
	resp.responses = ARENA_ARRAY(&c->r->arena, struct kp_delete_topics_response_responses, (size_t)n + 1);
	resp.responses_count = n;
	for (int32_t i = 0; i < n; i++) {
		kp_delete_topics_response_responses_init(&resp.responses[i]);
		resp.responses[i].name = by_struct ? q->topics[i].name : q->topic_names[i];
		if (by_struct)
			resp.responses[i].topic_id = q->topics[i].topic_id;
		resp.responses[i].error_code = retriable(error);
	}
	api_reply(c, &resp);
}

void api_do_delete_topics(struct api_call *c)
{
	api_forward_call(c, ((const struct kp_delete_topics_request *)c->request)->timeout_ms, delete_done);
}

static void create_partitions_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	const struct kp_create_partitions_request *q = c->request;
	struct kp_create_partitions_response resp;
	kp_create_partitions_response_init(&resp);
	resp.results = ARENA_ARRAY(&c->r->arena, struct kp_create_partitions_response_results, (size_t)q->topics_count + 1);
	resp.results_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		kp_create_partitions_response_results_init(&resp.results[i]);
		resp.results[i].name = q->topics[i].name;
		resp.results[i].error_code = retriable(error);
		resp.results[i].error_message = slice_str(NO_ANSWER);
	}
	api_reply(c, &resp);
}

void api_do_create_partitions(struct api_call *c)
{
	api_forward_call(c, ((const struct kp_create_partitions_request *)c->request)->timeout_ms, create_partitions_done);
}

/* The whole request fails: each partition as it was named. */
static void refuse_election(struct api_call *c, int16_t error, struct slice message)
{
	const struct kp_elect_leaders_request *q = c->request;
	struct arena *a = &c->r->arena;
	struct kp_elect_leaders_response resp;
	kp_elect_leaders_response_init(&resp);
	resp.error_code = error;
	resp.replica_election_results_count = q->topic_partitions_count > 0 ? q->topic_partitions_count : 0;
	resp.replica_election_results = ARENA_ARRAY(a, struct kp_elect_leaders_response_replica_election_results, (size_t)resp.replica_election_results_count + 1);
	for (int32_t i = 0; i < resp.replica_election_results_count; i++) {
		struct kp_elect_leaders_response_replica_election_results *t = &resp.replica_election_results[i];
		kp_elect_leaders_response_replica_election_results_init(t);
		t->topic = q->topic_partitions[i].topic;
		t->partition_result_count = q->topic_partitions[i].partitions_count;
		t->partition_result = ARENA_ARRAY(a, struct kp_elect_leaders_response_replica_election_results_partition_result, (size_t)t->partition_result_count + 1);
		for (int32_t k = 0; k < t->partition_result_count; k++) {
			kp_elect_leaders_response_replica_election_results_partition_result_init(&t->partition_result[k]);
			t->partition_result[k].partition_id = q->topic_partitions[i].partitions[k];
			t->partition_result[k].error_code = error;
			t->partition_result[k].error_message = message;
		}
	}
	api_reply(c, &resp);
}

static void elect_leaders_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (error)
		refuse_election(c, retriable(error), slice_str(NO_ANSWER));
	else
		api_reply_body(c, body, len);
}

void api_do_elect_leaders(struct api_call *c)
{
	const struct kp_elect_leaders_request *q = c->request;
	if (c->version >= 1 && q->election_type != 0 && q->election_type != 1) /* Kafka has no code for it */
		refuse_election(c, KERR_UNKNOWN_SERVER_ERROR, (struct slice){0});
	else
		api_forward_call(c, q->timeout_ms, elect_leaders_done);
}

static void reassignments_done(struct api_call *c, int16_t error, const uint8_t *body, size_t len)
{
	if (!error) {
		api_reply_body(c, body, len);
		return;
	}
	struct kp_list_partition_reassignments_response resp;
	kp_list_partition_reassignments_response_init(&resp);
	resp.error_code = retriable(error);
	resp.error_message = slice_str("no controller answered");
	api_reply(c, &resp);
}

void api_do_list_partition_reassignments(struct api_call *c)
{
	api_forward_call(c, ((const struct kp_list_partition_reassignments_request *)c->request)->timeout_ms, reassignments_done);
}

/* ---- InitProducerId ---- */

struct pid_wait {
	struct list link;
	struct api_call *c;
};

static void pid_answer(struct api_call *c, int16_t error, int64_t id)
{
	struct kp_init_producer_id_response resp;
	kp_init_producer_id_response_init(&resp);
	resp.error_code = error;
	resp.producer_id = error ? -1 : id;
	resp.producer_epoch = error ? -1 : 0;
	api_reply(c, &resp);
}

struct pid_ask {
	struct ask_producer_ids p;
	struct api *api;
};

static void pid_ask(struct api *a);

static void pid_done(struct ask_producer_ids *p)
{
	struct pid_ask *k = CONTAINER_OF(p, struct pid_ask, p);
	struct api *a = k->api;
	struct list *it;
	a->pid_asked = false;
	if (!p->error) {
		a->pid_next = p->first;
		a->pid_end = p->first + p->count;
	}
	while ((it = list_pop_front(&a->pid_waiting))) {
		struct pid_wait *w = LIST_ENTRY(it, struct pid_wait, link);
		if (p->error) {
			pid_answer(w->c, p->error, -1);
		} else if (a->pid_next < a->pid_end) {
			pid_answer(w->c, KERR_NONE, a->pid_next++);
		} else {
			list_push_front(&a->pid_waiting, &w->link);
			break;
		}
	}
	mem_free(k);
	if (!list_empty(&a->pid_waiting))
		pid_ask(a);
}

static void pid_back(struct msg *m)
{
	struct ask_producer_ids *p = CONTAINER_OF(m, struct ask_producer_ids, msg);
	p->done(p);
}

static void pid_deliver(struct msg *m)
{
	struct ask_producer_ids *p = CONTAINER_OF(m, struct ask_producer_ids, msg);
	struct pid_ask *k = CONTAINER_OF(p, struct pid_ask, p);
	p->msg.deliver = pid_back;
	k->api->services->producer_ids(k->api->services->ctx, p);
}

static void pid_ask(struct api *a)
{
	if (a->pid_asked)
		return;
	struct pid_ask *k = MEM_NEW(struct pid_ask);
	a->pid_asked = true;
	k->api = a;
	k->p.done = pid_done;
	k->p.msg.deliver = pid_deliver;
	loop_post(a->services->control, &k->p.msg);
}

void api_do_init_producer_id(struct api_call *c)
{
	const struct kp_init_producer_id_request *q = c->request;
	struct api *a = c->api;
	if ((q->producer_id == -1) != (q->producer_epoch == -1)) {
		pid_answer(c, KERR_INVALID_REQUEST, -1); /* both name a producer, or none does */
		return;
	}
	if (q->transactional_id.ptr) {
		pid_answer(c, KERR_UNSUPPORTED_VERSION, -1); /* transactions are not served yet */
		return;
	}
	if (a->pid_next < a->pid_end && list_empty(&a->pid_waiting)) {
		pid_answer(c, KERR_NONE, a->pid_next++);
		return;
	}
	struct pid_wait *w = ARENA_NEW(&c->r->arena, struct pid_wait);
	w->c = c;
	list_init(&w->link);
	list_push_back(&a->pid_waiting, &w->link);
	pid_ask(a);
}
