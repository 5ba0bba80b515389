/* client_committer.c: committers without membership (generation -1), each with a group of its own, and what an administrator does with groups:
 * DescribeGroups, ListGroups, OffsetDelete, DeleteGroups.
 *
 * A committer commits offsets that it makes up, of a few partitions at a time, and reads back what is committed; one call of each kind at a
 * time. After the quiet nothing is committed any more, and everything is read once more, of all groups.
 */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/checks.h"
#include "tests/sim/checks_groups.h"
#include "tests/sim/checks_priv.h"
#include "tests/sim/client_coord.h"

enum { PROBES = 40, PROBE_US = 4000 };

struct committer {
	struct run *r;
	int idx, group;
	char name[24];
	struct client c;
	struct coord co;
	struct coord audits[GROUPS_MAX]; /* of every group, for reading back; its own calls about groups of others go here too */
	struct sim_process *process;
	bool started, committing, fetching, deleting, listing;
	bool auditing[GROUPS_MAX];
	int16_t describe_version, list_version, delete_version;
	int64_t interval_us;
	int64_t delete_sent_us;
	int deleted_group;
	int32_t deleted_tp;
	struct timer step;
	/* asking the next coordinator of its group: see sim_committers_probe */
	struct coord to_probe;
	bool probing;
	int probes_left;
	struct timer probe;
};

static void step_soon(struct committer *k, int64_t delay_us)
{
	if (!timer_armed(&k->step) || k->step.due_us > env_now_us(k->c.env) + delay_us)
		timer_set_us(&k->step, delay_us);
}

/* ---- commits, reads ---- */

static void committed(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct committer *k = ctx;
	k->committing = false;
	for (int i = 0; !error && i < count; i++)
		if (items[i].error && items[i].error != KERR_UNKNOWN_TOPIC_OR_PARTITION && !coord_error(&k->co, items[i].error))
			run_violation(k->r, "refused", "%s: OffsetCommit of tp %d answered with error %d", k->name, items[i].tp, items[i].error);
}

static int some_partitions(struct committer *k, struct coord_item *items)
{
	int n = 0;
	for (int32_t tp = 0; tp < k->r->tp_count; tp++) {
		const struct topic *t = run_topic_of(k->r, tp);
		if (run_topic_is_data(t) && !t->churn && env_random_below(k->c.env, 3) == 0)
			items[n++] = (struct coord_item){.tp = tp, .offset = (int64_t)env_random_below(k->c.env, 1000000), .leader_epoch = (int32_t)env_random_below(k->c.env, 5) - 1};
	}
	return n;
}

static void fetched(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct committer *k = ctx;
	(void)error;
	(void)items;
	(void)count;
	k->fetching = false;
}

static void audited(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	bool *busy = ctx;
	(void)error;
	(void)items;
	(void)count;
	*busy = false;
}

/* ---- a coordinator that begins ---- */

static void probed(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct committer *k = ctx;
	(void)items;
	(void)count;
	k->probing = false;
	if (!error)
		k->probes_left = 0; /* it serves */
}

static void probe(void *ctx)
{
	struct committer *k = ctx;
	int leader = k->r->checks->tps[group_checks_tp(k->r, k->group)].leader;
	if (k->probes_left-- <= 0 || leader < 0)
		return;
	timer_set_us(&k->probe, PROBE_US / 2 + (int64_t)env_random_below(k->c.env, PROBE_US));
	k->to_probe.node = cluster_broker_index_of(leader);
	k->to_probe.retry_us = 0;
	if (!k->probing && !k->r->quiet)
		k->probing = coord_fetch(&k->to_probe, NULL, 0, true, probed, k);
}

static void probe_begin(void *ctx)
{
	struct committer *k = ctx;
	k->probes_left = PROBES;
	timer_set_us(&k->probe, 0);
}

void sim_committers_probe(struct run *r, int32_t tp)
{
	for (int i = 0; i < r->committer_count; i++) {
		struct committer *k = r->committers[i];
		if (group_checks_tp(r, k->group) == tp && k->started && sim_process_alive(k->process))
			sim_process_run(k->process, probe_begin, k);
	}
}

/* ---- the administrator ---- */

static void described(void *ctx, int err, const void *msg)
{
	static const char *const states[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", ""};
	struct coord *co = ctx;
	const struct kp_describe_groups_response *a = msg;
	bool known = false;
	if (err) {
		coord_error(co, KERR_NETWORK_EXCEPTION);
		return;
	}
	if (a->groups_count != 1) {
		run_violation(co->c->r, "refused", "%s: DescribeGroups answered %d groups", co->c->id, a->groups_count);
		return;
	}
	if (a->groups[0].error_code) {
		if (!coord_error(co, a->groups[0].error_code))
			run_violation(co->c->r, "refused", "%s: DescribeGroups answered with error %d", co->c->id, a->groups[0].error_code);
		return;
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]) - 1; i++)
		known |= slice_eq_str(a->groups[0].group_state, states[i]);
	if (!known || a->groups[0].members_count > MEMBERS_MAX * 2 + 2)
		run_violation(co->c->r, "refused", "%s: group %s is in state '%.*s' with %d members", co->c->id, group_checks_name(co->c->r, co->group),
			(int)a->groups[0].group_state.len, (const char *)a->groups[0].group_state.ptr, a->groups[0].members_count);
}

static void describe(struct committer *k, int group)
{
	struct kp_describe_groups_request q;
	struct slice name = slice_str(group_checks_name(k->r, group));
	struct coord *co = &k->audits[group];
	if (!coord_ready(co))
		return;
	kp_describe_groups_request_init(&q);
	q.groups = &name;
	q.groups_count = 1;
	(void)coord_send(co, KP_API_DESCRIBE_GROUPS, k->describe_version, &q, 2000000, described, co);
}

static void listed(void *ctx, int err, const void *msg)
{
	struct committer *k = ctx;
	const struct kp_list_groups_response *a = msg;
	k->listing = false;
	if (!err && a->error_code && a->error_code != KERR_COORDINATOR_LOAD_IN_PROGRESS && a->error_code != KERR_COORDINATOR_NOT_AVAILABLE)
		run_violation(k->r, "refused", "%s: ListGroups answered with error %d", k->name, a->error_code);
	for (int32_t i = 0; !err && i < a->groups_count; i++) {
		bool known = false;
		for (int g = 0; g < group_checks_count(k->r); g++)
			known |= slice_eq_str(a->groups[i].group_id, group_checks_name(k->r, g));
		if (!known)
			run_violation(k->r, "refused", "%s: ListGroups names group '%.*s'", k->name, (int)a->groups[i].group_id.len, (const char *)a->groups[i].group_id.ptr);
	}
}

static void list(struct committer *k)
{
	struct kp_list_groups_request q;
	kp_list_groups_request_init(&q);
	k->listing = client_send(&k->c, client_any_node(&k->c), wire_api_find(KP_API_LIST_GROUPS), k->list_version, &q, 2000000, listed, k);
}

static void offset_deleted(void *ctx, int err, const void *msg)
{
	struct committer *k = ctx;
	const struct kp_offset_delete_response *a = msg;
	k->deleting = false;
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->error_code;
	if (!e)
		e = a->topics_count == 1 && a->topics[0].partitions_count == 1 ? a->topics[0].partitions[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
	if (e == KERR_NONE || e == KERR_GROUP_ID_NOT_FOUND)
		group_checks_deleted(k->r, k->group, k->deleted_tp, k->delete_sent_us);
	else if (!coord_error(&k->co, e) && e != KERR_UNKNOWN_TOPIC_OR_PARTITION)
		run_violation(k->r, "refused", "%s: OffsetDelete answered with error %d", k->name, e);
}

static void delete_offset(struct committer *k)
{
	struct kp_offset_delete_request q;
	struct kp_offset_delete_request_topics topic;
	struct kp_offset_delete_request_topics_partitions part;
	struct coord_item items[TPS_MAX];
	if (!some_partitions(k, items))
		return;
	kp_offset_delete_request_init(&q);
	kp_offset_delete_request_topics_init(&topic);
	kp_offset_delete_request_topics_partitions_init(&part);
	q.group_id = slice_str(group_checks_name(k->r, k->group));
	q.topics = &topic;
	q.topics_count = 1;
	topic.name = slice_str(run_topic_of(k->r, items[0].tp)->name);
	topic.partitions = &part;
	topic.partitions_count = 1;
	part.partition_index = run_partition_of(k->r, items[0].tp);
	k->deleted_tp = items[0].tp;
	k->delete_sent_us = env_now_us(k->c.env);
	k->deleting = coord_send(&k->co, KP_API_OFFSET_DELETE, 0, &q, 4000000, offset_deleted, k);
}

static void group_deleted(void *ctx, int err, const void *msg)
{
	struct committer *k = ctx;
	const struct kp_delete_groups_response *a = msg;
	struct coord *co = &k->audits[k->deleted_group];
	k->deleting = false;
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->results_count == 1 ? a->results[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
	sim_note(k->r->w, "%s deleted group %s: error %d", k->name, group_checks_name(k->r, k->deleted_group), e);
	if (e == KERR_NONE || e == KERR_GROUP_ID_NOT_FOUND) {
		for (int32_t tp = 0; tp < k->r->tp_count; tp++)
			if (run_topic_is_data(run_topic_of(k->r, tp)) && !run_topic_of(k->r, tp)->churn)
				group_checks_deleted(k->r, k->deleted_group, tp, k->delete_sent_us);
	} else if (!coord_error(co, e) && !(e == KERR_NON_EMPTY_GROUP && group_checks_has_members(k->r, k->deleted_group))) {
		run_violation(k->r, "refused", "%s: DeleteGroups answered with error %d", k->name, e);
	}
}

static void delete_group(struct committer *k, int group)
{
	struct kp_delete_groups_request q;
	struct slice name = slice_str(group_checks_name(k->r, group));
	struct coord *co = &k->audits[group];
	if (!coord_ready(co))
		return;
	kp_delete_groups_request_init(&q);
	q.groups_names = &name;
	q.groups_names_count = 1;
	k->deleted_group = group;
	k->delete_sent_us = env_now_us(k->c.env);
	k->deleting = coord_send(co, KP_API_DELETE_GROUPS, k->delete_version, &q, 4000000, group_deleted, k);
}

static void administer(struct committer *k)
{
	int group = (int)env_random_below(k->c.env, (uint64_t)group_checks_count(k->r));
	switch (env_random_below(k->c.env, 8)) {
	case 0: case 1: case 2:
		describe(k, group);
		break;
	case 3: case 4:
		if (!k->listing)
			list(k);
		break;
	case 5: case 6:
		if (!k->deleting && coord_ready(&k->co))
			delete_offset(k);
		break;
	default:
		if (!k->deleting && group_checks_deletable(k->r, group))
			delete_group(k, group);
	}
}

/* ---- steps ---- */

/* Every group is read as long as it takes for what was committed to be seen once more. */
static void audit(struct committer *k)
{
	struct str what;
	str_init(&what);
	for (int g = 0; g < group_checks_count(k->r); g++) {
		if (k->auditing[g] || group_checks_read_back(k->r, g, &what) || !coord_ready(&k->audits[g]))
			continue;
		k->auditing[g] = coord_fetch(&k->audits[g], NULL, 0, true, audited, &k->auditing[g]);
	}
	str_fini(&what);
	step_soon(k, 300000);
}

static void step(void *ctx)
{
	struct committer *k = ctx;
	struct coord_item items[TPS_MAX];
	static const struct coord_who nobody = {.generation = -1, .member = {(const uint8_t *)"", 0}};
	if (k->r->quiet) {
		audit(k);
		return;
	}
	step_soon(k, k->interval_us / 2 + (int64_t)env_random_below(k->c.env, (uint64_t)k->interval_us));
	if (env_random_below(k->c.env, 12) == 0)
		administer(k);
	int n = some_partitions(k, items);
	if (n && !k->committing && coord_ready(&k->co))
		k->committing = coord_commit(&k->co, &nobody, items, n, committed, k);
	n = some_partitions(k, items);
	if (n && !k->fetching && coord_ready(&k->co))
		k->fetching = coord_fetch(&k->co, items, n, env_random_below(k->c.env, 4) == 0, fetched, k);
}

static void kick(void *ctx)
{
	(void)ctx; /* its own timer is quick enough */
}

static void *start(struct env *env, struct loop *control, void *arg)
{
	struct committer *k = arg;
	client_init(&k->c, k->r, env, control, k->name, kick, k);
	coord_init(&k->co, &k->c, k->group, kick, k);
	coord_init(&k->to_probe, &k->c, k->group, kick, k);
	timer_init(&k->probe, control, probe, k);
	for (int g = 0; g < GROUPS_MAX; g++)
		coord_init(&k->audits[g], &k->c, g, kick, k);
	timer_init(&k->step, control, step, k);
	step_soon(k, k->interval_us);
	k->started = true;
	return k;
}

static void reap(void *root, void *arg)
{
	struct committer *k = root ? root : arg;
	if (k->started) {
		client_fini(&k->c);
		coord_fini(&k->co);
		coord_fini(&k->to_probe);
		for (int g = 0; g < GROUPS_MAX; g++)
			coord_fini(&k->audits[g]);
	}
	k->started = false;
}

void sim_committers_init(struct run *r)
{
	int n = (int)rng_between(r->rng, 1, 2);
	for (int i = 0; i < n; i++) {
		struct committer *k = MEM_NEW(struct committer);
		char name[24];
		k->r = r;
		k->idx = i;
		snprintf(k->name, sizeof(k->name), "committer%d", i);
		snprintf(name, sizeof(name), "batch%d", i);
		k->group = group_checks_add(r, name, false, true);
		k->describe_version = (int16_t)rng_between(r->rng, 0, 5);
		k->list_version = (int16_t)rng_between(r->rng, 0, 5);
		k->delete_version = (int16_t)rng_between(r->rng, 0, 2);
		k->interval_us = rng_between(r->rng, 150000, 600000);
		r->committers[r->committer_count++] = k;
		k->process = client_process(r, k->name, &(struct sim_program){.name = k->name, .start = start, .reap = reap, .arg = k});
	}
}

void sim_committers_free(struct run *r)
{
	for (int i = 0; i < r->committer_count; i++) {
		mem_free(r->committers[i]);
		r->committers[i] = NULL;
	}
}

bool sim_committers_settled(struct run *r, struct str *what)
{
	for (int g = 0; g < group_checks_count(r); g++)
		if (!group_checks_read_back(r, g, what))
			return false;
	return true;
}
