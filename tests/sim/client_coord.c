/* client_coord.c: see client_coord.h. */
#include "tests/sim/client_coord.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/checks_groups.h"

enum { FIND_TIMEOUT_US = 1500000, CALL_TIMEOUT_US = 4000000, METADATA_MAX = 160 };

void coord_init(struct coord *co, struct client *c, int group, void (*kick)(void *ctx), void *ctx)
{
	*co = (struct coord){.c = c, .group = group, .node = -1, .kick = kick, .ctx = ctx};
	co->find_version = (int16_t)env_random_below(c->env, 7);
	co->commit_version = (int16_t)(1 + env_random_below(c->env, 9));
	co->fetch_version = (int16_t)(1 + env_random_below(c->env, 9));
	co->require_stable = env_random_below(c->env, 2);
	list_init(&co->calls);
}

/* ---- the coordinator ---- */

static void wait_a_little(struct coord *co)
{
	co->retry_us = env_now_us(co->c->env) + (int64_t)(20000 + env_random_below(co->c->env, 80000));
}

static void found(void *ctx, int err, const void *msg)
{
	struct coord *co = ctx;
	struct run *r = co->c->r;
	const struct kp_find_coordinator_response *m = msg;
	co->finding = false;
	wait_a_little(co);
	if (!err) {
		bool list = co->find_version >= 4;
		if (list && (m->coordinators_count != 1 || !slice_eq_str(m->coordinators[0].key, group_checks_name(r, co->group)))) {
			run_violation(r, "refused", "%s: FindCoordinator answered %d keys", co->c->id, m->coordinators_count);
			return;
		}
		int16_t e = list ? m->coordinators[0].error_code : m->error_code;
		if (e == KERR_NONE) {
			co->node = cluster_broker_index_of(list ? m->coordinators[0].node_id : m->node_id);
			co->retry_us = 0;
			if (co->node < 0)
				run_violation(r, "refused", "%s: FindCoordinator named no broker", co->c->id);
		} else if (e != KERR_COORDINATOR_NOT_AVAILABLE && e != KERR_COORDINATOR_LOAD_IN_PROGRESS && e != KERR_REQUEST_TIMED_OUT) {
			run_violation(r, "refused", "%s: FindCoordinator answered with error %d", co->c->id, e);
		}
	}
	co->kick(co->ctx);
}

bool coord_ready(struct coord *co)
{
	struct kp_find_coordinator_request q;
	struct slice key = slice_str(group_checks_name(co->c->r, co->group));
	if (co->retry_us > env_now_us(co->c->env) || co->finding)
		return false;
	if (co->node >= 0)
		return true;
	kp_find_coordinator_request_init(&q);
	q.key = key;
	q.coordinator_keys = &key;
	q.coordinator_keys_count = 1;
	co->finding = client_send(co->c, client_any_node(co->c), wire_api_find(KP_API_FIND_COORDINATOR), co->find_version, &q, FIND_TIMEOUT_US, found, co);
	if (!co->finding)
		wait_a_little(co);
	return false;
}

bool coord_error(struct coord *co, int16_t error)
{
	switch (error) {
	case KERR_NOT_COORDINATOR: case KERR_COORDINATOR_NOT_AVAILABLE: case KERR_NETWORK_EXCEPTION:
		co->node = -1;
		if (env_random_below(co->c->env, 3) == 0) {
			/* what it knows from elsewhere, right or wrong: brokers are asked the moment they begin to lead, and long after they ended */
			co->node = client_any_node(co->c);
			co->retry_us = env_now_us(co->c->env) + (int64_t)env_random_below(co->c->env, 5000);
			return true;
		}
		break;
	case KERR_COORDINATOR_LOAD_IN_PROGRESS: case KERR_REQUEST_TIMED_OUT: case KERR_UNSTABLE_OFFSET_COMMIT:
		break;
	default:
		return false;
	}
	wait_a_little(co);
	return true;
}

bool coord_send(struct coord *co, int16_t api, int16_t version, const void *msg, int64_t timeout_us, client_done_fn *done, void *ctx)
{
	if (co->node >= 0 && client_send(co->c, CLIENT_COORDINATOR + co->node, wire_api_find(api), version, msg, timeout_us, done, ctx))
		return true;
	coord_error(co, KERR_NETWORK_EXCEPTION);
	return false;
}

/* ---- calls about offsets ---- */

struct call {
	struct list link;
	struct coord *co;
	int node; /* that was asked */
	int64_t sent_us;
	coord_done_fn *done;
	void *ctx;
	bool all;
	int count;
	struct coord_item items[TPS_MAX];
};

static struct call *call_new(struct coord *co, const struct coord_item *items, int count, coord_done_fn *done, void *ctx)
{
	struct call *call = MEM_NEW(struct call);
	list_init(&call->link);
	call->co = co;
	call->node = co->node;
	call->sent_us = env_now_us(co->c->env);
	call->done = done;
	call->ctx = ctx;
	call->count = count;
	if (count)
		memcpy(call->items, items, sizeof(*items) * (size_t)count);
	return call;
}

static void call_free(struct call *call)
{
	list_remove(&call->link);
	mem_free(call);
}

void coord_fini(struct coord *co)
{
	for (struct list *l; co->c && (l = list_pop_front(&co->calls));)
		mem_free(LIST_ENTRY(l, struct call, link));
	co->c = NULL;
}

static bool call_send(struct call *call, int16_t api, int16_t version, const void *msg, client_done_fn *done)
{
	if (!coord_send(call->co, api, version, msg, CALL_TIMEOUT_US, done, call)) {
		mem_free(call);
		return false;
	}
	list_push_back(&call->co->calls, &call->link);
	return true;
}

static struct coord_item *item_of(struct call *call, struct slice topic, int32_t partition)
{
	for (int i = 0; i < call->count; i++) {
		struct topic *t = run_topic_of(call->co->c->r, call->items[i].tp);
		if (call->items[i].tp - t->first_tp == partition && slice_eq_str(topic, t->name))
			return &call->items[i];
	}
	return NULL;
}

/* Partitions in order of tps, so that a topic's stand together: *ret_n of the topic at items[i]. */
static struct topic *topic_at(struct call *call, int i, int *ret_n)
{
	struct topic *t = run_topic_of(call->co->c->r, call->items[i].tp);
	*ret_n = 0;
	while (i + *ret_n < call->count && run_topic_of(call->co->c->r, call->items[i + *ret_n].tp) == t)
		++*ret_n;
	return t;
}

/* ---- commits ---- */

static void commit_done(void *ctx, int err, const void *msg)
{
	struct call *call = ctx;
	struct coord *co = call->co;
	const struct kp_offset_commit_response *m = msg;
	int answered = 0;
	list_remove(&call->link);
	for (int32_t i = 0; !err && i < m->topics_count; i++) {
		for (int32_t k = 0; k < m->topics[i].partitions_count; k++) {
			struct coord_item *item = item_of(call, m->topics[i].name, m->topics[i].partitions[k].partition_index);
			if (!item)
				continue;
			answered++;
			item->error = m->topics[i].partitions[k].error_code;
			if (item->error == KERR_NONE)
				group_checks_committed(co->c->r, item->id, call->sent_us);
		}
	}
	if (!err && answered != call->count)
		run_violation(co->c->r, "refused", "%s: OffsetCommit of %d partitions was answered for %d", co->c->id, call->count, answered);
	if (err)
		coord_error(co, KERR_NETWORK_EXCEPTION);
	call->done(call->ctx, err ? KERR_NETWORK_EXCEPTION : KERR_NONE, call->items, call->count);
	call_free(call);
	co->kick(co->ctx);
}

bool coord_commit(struct coord *co, const struct coord_who *who, const struct coord_item *items, int count, coord_done_fn *done, void *ctx)
{
	static char texts[TPS_MAX][METADATA_MAX]; /* one thread; used within this call only */
	struct kp_offset_commit_request q;
	struct kp_offset_commit_request_topics topics[TOPICS_MAX];
	struct kp_offset_commit_request_topics_partitions parts[TPS_MAX];
	struct call *call = call_new(co, items, count, done, ctx);
	struct run *r = co->c->r;
	kp_offset_commit_request_init(&q);
	q.group_id = slice_str(group_checks_name(r, co->group));
	q.generation_id_or_member_epoch = who->generation;
	q.member_id = who->member;
	q.group_instance_id = who->instance;
	q.topics = topics;
	for (int i = 0; i < count; i++) {
		struct coord_item *item = &call->items[i];
		if (co->commit_version < 6)
			item->leader_epoch = -1;
		item->id = group_checks_commit(r, co->group, item->tp, item->offset, item->leader_epoch, who->generation, item->rewound);
		if (who->forbidden)
			group_checks_forbid(r, item->id);
		int len = snprintf(texts[i], METADATA_MAX, "c%llu", (unsigned long long)item->id);
		int pad = env_random_below(co->c->env, 10) == 0 ? (int)env_random_below(co->c->env, 100) : 0;
		snprintf(texts[i] + len, METADATA_MAX - (size_t)len, " %*s", pad, "");
		kp_offset_commit_request_topics_partitions_init(&parts[i]);
		parts[i].partition_index = run_partition_of(r, item->tp);
		parts[i].committed_offset = item->offset;
		parts[i].committed_leader_epoch = item->leader_epoch;
		parts[i].committed_metadata = slice_str(texts[i]);
	}
	for (int i = 0, n; i < count; i += n) {
		struct kp_offset_commit_request_topics *t = &topics[q.topics_count++];
		kp_offset_commit_request_topics_init(t);
		t->name = slice_str(topic_at(call, i, &n)->name);
		t->partitions = &parts[i];
		t->partitions_count = n;
	}
	return call_send(call, KP_API_OFFSET_COMMIT, co->commit_version, &q, commit_done);
}

/* ---- fetches ---- */

static void take_fetched(struct call *call, struct slice topic, int32_t partition, int64_t offset, int32_t epoch, struct slice metadata, int16_t error)
{
	struct coord_item *item = item_of(call, topic, partition);
	struct run *r = call->co->c->r;
	if (!item) {
		struct topic *t = run_topic_find(r, topic);
		if (t && !t->churn)
			run_violation(r, "refused", "%s: OffsetFetch gave %.*s-%d, which was not asked for", call->co->c->id, (int)topic.len, (const char *)topic.ptr, partition);
		return;
	}
	item->error = error;
	item->offset = offset;
	item->leader_epoch = epoch;
	if (!error)
		group_checks_fetched(r, call->co->group, cluster_broker_id_of(call->node), item->tp, offset, call->co->fetch_version < 5 ? -2 : epoch, metadata, call->sent_us);
}

static int16_t take_fetch_answer(struct call *call, const struct kp_offset_fetch_response *m)
{
	struct coord *co = call->co;
	int16_t top = co->fetch_version >= 8 ? (m->groups_count == 1 ? m->groups[0].error_code : KERR_UNKNOWN_SERVER_ERROR) : m->error_code;
	for (int i = 0; i < call->count; i++)
		call->items[i].error = call->all ? KERR_NONE : KERR_NETWORK_EXCEPTION, call->items[i].offset = -1;
	if (top)
		return top;
	if (co->fetch_version >= 8) {
		for (int32_t i = 0; i < m->groups[0].topics_count; i++) {
			const struct kp_offset_fetch_response_groups_topics *t = &m->groups[0].topics[i];
			for (int32_t k = 0; k < t->partitions_count; k++)
				take_fetched(call, t->name, t->partitions[k].partition_index, t->partitions[k].committed_offset, t->partitions[k].committed_leader_epoch,
					t->partitions[k].metadata, t->partitions[k].error_code);
		}
	} else {
		for (int32_t i = 0; i < m->topics_count; i++) {
			const struct kp_offset_fetch_response_topics *t = &m->topics[i];
			for (int32_t k = 0; k < t->partitions_count; k++)
				take_fetched(call, t->name, t->partitions[k].partition_index, t->partitions[k].committed_offset, t->partitions[k].committed_leader_epoch,
					t->partitions[k].metadata, t->partitions[k].error_code);
		}
	}
	for (int i = 0; i < call->count; i++)
		if (call->all && call->items[i].offset < 0 && !call->items[i].error)
			group_checks_fetched(co->c->r, co->group, cluster_broker_id_of(call->node), call->items[i].tp, -1, -1, (struct slice){0}, call->sent_us);
	return KERR_NONE;
}

static void fetch_done(void *ctx, int err, const void *msg)
{
	struct call *call = ctx;
	struct coord *co = call->co;
	list_remove(&call->link);
	int16_t error = err ? KERR_NETWORK_EXCEPTION : take_fetch_answer(call, msg);
	for (int i = 0; !error && i < call->count; i++)
		if (call->items[i].error)
			error = call->items[i].error; /* version 1 has no other place for it; pending ones are asked again, all of them */
	if (error && !coord_error(co, error))
		run_violation(co->c->r, "refused", "%s: OffsetFetch answered with error %d", co->c->id, error);
	call->done(call->ctx, error, call->items, call->count);
	call_free(call);
	co->kick(co->ctx);
}

static int every_partition(struct run *r, struct coord_item *items)
{
	int n = 0;
	for (int32_t tp = 0; tp < r->tp_count; tp++)
		if (run_topic_is_data(run_topic_of(r, tp)) && !run_topic_of(r, tp)->churn)
			items[n++] = (struct coord_item){.tp = tp};
	return n;
}

bool coord_fetch(struct coord *co, const struct coord_item *items, int count, bool all, coord_done_fn *done, void *ctx)
{
	struct kp_offset_fetch_request q;
	struct kp_offset_fetch_request_groups g;
	struct kp_offset_fetch_request_topics old[TOPICS_MAX];
	struct kp_offset_fetch_request_groups_topics topics[TOPICS_MAX];
	int32_t indexes[TPS_MAX];
	struct call *call = call_new(co, items, all ? 0 : count, done, ctx);
	int32_t topics_n = 0;
	if (all)
		call->count = every_partition(co->c->r, call->items);
	call->all = all && co->fetch_version >= 2; /* version 1 names them */
	kp_offset_fetch_request_init(&q);
	kp_offset_fetch_request_groups_init(&g);
	for (int i = 0, n; i < call->count; i += n, topics_n++) {
		struct topic *t = topic_at(call, i, &n);
		for (int k = 0; k < n; k++)
			indexes[i + k] = run_partition_of(co->c->r, call->items[i + k].tp);
		kp_offset_fetch_request_topics_init(&old[topics_n]);
		kp_offset_fetch_request_groups_topics_init(&topics[topics_n]);
		old[topics_n].name = topics[topics_n].name = slice_str(t->name);
		old[topics_n].partition_indexes = topics[topics_n].partition_indexes = &indexes[i];
		old[topics_n].partition_indexes_count = topics[topics_n].partition_indexes_count = n;
	}
	q.group_id = g.group_id = slice_str(group_checks_name(co->c->r, co->group));
	g.member_id = (struct slice){0};
	q.topics = old;
	g.topics = topics;
	q.topics_count = g.topics_count = call->all ? -1 : topics_n;
	q.groups = &g;
	q.groups_count = 1;
	q.require_stable = co->require_stable;
	return call_send(call, KP_API_OFFSET_FETCH, co->fetch_version, &q, fetch_done);
}
