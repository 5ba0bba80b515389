/* client_group.c: members of consumer groups, as the usual clients are: JoinGroup, SyncGroup, Heartbeat, LeaveGroup. See client_group.h.
 *
 * Two kinds of groups, by seed: eager (members give everything up when they join) and cooperative (they keep what they have, and give up what
 * the assignment no longer names). Versions, timeouts and static membership differ from member to member. While faults last, members die,
 * leave, hang beyond their session timeout, and come back; all of that is one fault, `members`.
 */
#include "tests/sim/client_group.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/checks.h"
#include "tests/sim/checks_groups.h"

enum { KICK_US = 250000 };

void member_kick_soon(struct member *m, int64_t delay_us)
{
	if (!timer_armed(&m->kick) || m->kick.due_us > env_now_us(m->c.env) + delay_us)
		timer_set_us(&m->kick, delay_us);
}

bool member_subscribes(const struct member *m, int32_t tp)
{
	const struct topic *t = run_topic_of(m->r, tp);
	return run_topic_is_data(t) && !t->churn && (!m->narrow || strcmp(t->name, "orders") == 0);
}

static struct slice instance_of(struct member *m)
{
	return m->instance[0] ? slice_str(m->instance) : (struct slice){0};
}

struct coord_who member_who(struct member *m)
{
	return (struct coord_who){m->generation, slice_str(m->id), m->co.commit_version >= 7 ? instance_of(m) : (struct slice){0}, false};
}

/* ---- losing membership ---- */

static void lost(struct member *m, bool keep_id)
{
	member_drop_partitions(m);
	m->generation = -1;
	if (!keep_id)
		m->id[0] = '\0';
	m->rejoin = false;
	m->state = MEMBER_JOINING;
	member_kick_soon(m, (int64_t)env_random_below(m->c.env, 30000));
}

void member_told(struct member *m, int16_t error, int32_t generation, const char *api)
{
	bool mine = generation == m->generation && m->state == MEMBER_STABLE;
	switch (error) {
	case KERR_REBALANCE_IN_PROGRESS:
		if (mine)
			m->rejoin = true;
		break;
	case KERR_ILLEGAL_GENERATION:
		if (mine)
			lost(m, true);
		break;
	case KERR_UNKNOWN_MEMBER_ID: case KERR_FENCED_INSTANCE_ID:
		if (mine)
			lost(m, false);
		break;
	default:
		run_violation(m->r, "refused", "%s: %s answered with error %d", m->name, api, error);
	}
	member_kick_soon(m, 0);
}

/* ---- JoinGroup ---- */

static void keep_id(struct member *m, struct slice id)
{
	if (id.len == 0 || id.len >= MEMBER_ID_MAX) {
		run_violation(m->r, "refused", "%s: JoinGroup gave a member id of %zu bytes", m->name, id.len);
		return;
	}
	memcpy(m->id, id.ptr, id.len);
	m->id[id.len] = '\0';
	group_checks_member_id(m->r, m->group, id, m->idx * 1000 + m->life);
}

static void take_generation(struct member *m, const struct kp_join_group_response *a)
{
	struct joined joined[JOINED_MAX];
	keep_id(m, a->member_id);
	m->generation = a->generation_id;
	m->leads = slice_eq(a->leader, a->member_id) && !a->skip_assignment;
	m->to_give_count = 0;
	snprintf(m->protocol, sizeof(m->protocol), "%.*s", (int)a->protocol_name.len, (const char *)a->protocol_name.ptr);
	m->state = MEMBER_SYNCING;
	if (!m->leads)
		return;
	int n = a->members_count < JOINED_MAX ? a->members_count : JOINED_MAX;
	bool me = false;
	for (int i = 0; i < n; i++) {
		joined[i] = (struct joined){a->members[i].member_id, a->members[i].group_instance_id, a->members[i].metadata};
		me |= slice_eq(joined[i].id, a->member_id);
	}
	if (!me || !assign_all(m, joined, n))
		run_violation(m->r, "refused", "%s leads generation %d, of which it was given %d members%s", m->name, m->generation, n, me ? "" : " without itself");
}

static void joined(void *ctx, int err, const void *msg)
{
	struct member *m = ctx;
	const struct kp_join_group_response *a = msg;
	m->busy = false;
	if (m->state != MEMBER_JOINING)
		return; /* it left meanwhile */
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->error_code;
	sim_note(m->r->w, "%s joined: error %d generation %d", m->name, e, e ? -1 : a->generation_id);
	switch (e) {
	case KERR_NONE:
		take_generation(m, a);
		break;
	case KERR_MEMBER_ID_REQUIRED:
		keep_id(m, a->member_id);
		break;
	case KERR_UNKNOWN_MEMBER_ID: case KERR_FENCED_INSTANCE_ID:
		lost(m, false);
		return;
	case KERR_REBALANCE_IN_PROGRESS:
		break;
	default:
		if (!coord_error(&m->co, e))
			run_violation(m->r, "refused", "%s: JoinGroup answered with error %d", m->name, e);
	}
	member_kick_soon(m, 0);
}

static void send_join(struct member *m)
{
	/* eager members list two that do the same, in an order of their own: the group votes */
	static const char *const eager[2] = {"range", "roundrobin"};
	struct kp_join_group_request q;
	struct kp_join_group_request_protocols protocols[2];
	struct arena a;
	arena_init(&a, 0);
	kp_join_group_request_init(&q);
	q.group_id = slice_str(group_checks_name(m->r, m->group));
	q.session_timeout_ms = m->session_ms;
	q.rebalance_timeout_ms = m->rebalance_ms;
	q.member_id = slice_str(m->id);
	q.group_instance_id = instance_of(m);
	q.protocol_type = slice_str("consumer");
	q.protocols = protocols;
	q.protocols_count = m->cooperative ? 1 : 2;
	for (int i = 0; i < q.protocols_count; i++) {
		kp_join_group_request_protocols_init(&protocols[i]);
		protocols[i].name = slice_str(m->cooperative ? "cooperative-sticky" : eager[(m->idx + i) % 2]);
		protocols[i].metadata = assign_subscription(m, &a);
	}
	int32_t most = m->join_version == 0 ? m->session_ms : m->rebalance_ms;
	m->busy = coord_send(&m->co, KP_API_JOIN_GROUP, m->join_version, &q, (most + 5000) * 1000ll, joined, m);
	arena_fini(&a);
}

/* ---- SyncGroup ---- */

static void take_assignment(struct member *m, struct slice assignment)
{
	bool owned[TPS_MAX] = {0};
	bool gave_up = false;
	group_checks_synced(m->r, m->group, m->generation, slice_str(m->id), slice_str(m->instance), assignment);
	if (!assign_parse(m, assignment, owned))
		run_violation(m->r, "assignment", "%s: the assignment of generation %d does not parse", m->name, m->generation);
	m->state = MEMBER_STABLE;
	m->rejoin = false;
	for (int t = 0; t < TPS_MAX; t++)
		gave_up |= m->parts[t].owned && !owned[t];
	if (gave_up)
		member_commit_now(m);
	m->round++;
	for (int t = 0; t < TPS_MAX; t++) {
		if (owned[t] && !m->parts[t].owned)
			m->parts[t] = (struct mpart){.position = -1, .committed = -1, .last_epoch = -1};
		m->parts[t].owned = owned[t];
	}
	/* What it gave up is nobody's until the next generation. A static member that comes back gets what it had, without a rebalance; had it died between
	 * giving up and joining for that, nobody would: the usual clients leave it at that, ours joins once more. */
	m->rejoin = gave_up || (m->cooperative && m->instance[0] && !m->synced_once);
	m->synced_once = true;
}

static void synced(void *ctx, int err, const void *msg)
{
	struct member *m = ctx;
	const struct kp_sync_group_response *a = msg;
	m->busy = false;
	if (m->state != MEMBER_SYNCING)
		return;
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->error_code;
	sim_note(m->r->w, "%s synced: error %d generation %d", m->name, e, m->generation);
	switch (e) {
	case KERR_NONE:
		take_assignment(m, a->assignment);
		break;
	case KERR_REBALANCE_IN_PROGRESS: case KERR_INCONSISTENT_GROUP_PROTOCOL:
		m->state = MEMBER_JOINING;
		break;
	case KERR_ILLEGAL_GENERATION: case KERR_UNKNOWN_MEMBER_ID: case KERR_FENCED_INSTANCE_ID:
		lost(m, e == KERR_ILLEGAL_GENERATION);
		return;
	default:
		if (!coord_error(&m->co, e))
			run_violation(m->r, "refused", "%s: SyncGroup answered with error %d", m->name, e);
		m->state = MEMBER_JOINING;
	}
	member_kick_soon(m, 0);
}

static void send_sync(struct member *m)
{
	struct kp_sync_group_request q;
	struct kp_sync_group_request_assignments given[JOINED_MAX];
	kp_sync_group_request_init(&q);
	q.group_id = slice_str(group_checks_name(m->r, m->group));
	q.generation_id = m->generation;
	q.member_id = slice_str(m->id);
	q.group_instance_id = instance_of(m);
	q.protocol_type = slice_str("consumer");
	q.protocol_name = slice_str(m->protocol);
	q.assignments = given;
	q.assignments_count = m->to_give_count;
	for (int i = 0; i < m->to_give_count; i++) {
		kp_sync_group_request_assignments_init(&given[i]);
		given[i].member_id = slice_str(m->to_give[i].id);
		given[i].assignment = m->to_give[i].assignment;
	}
	m->busy = coord_send(&m->co, KP_API_SYNC_GROUP, m->sync_version, &q, (m->rebalance_ms + 5000) * 1000ll, synced, m);
}

/* ---- Heartbeat, LeaveGroup ---- */

static void beaten(void *ctx, int err, const void *msg)
{
	struct member *m = ctx;
	const struct kp_heartbeat_response *a = msg;
	m->beating = false;
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->error_code;
	if (e && !coord_error(&m->co, e))
		member_told(m, e, m->beat_generation, "Heartbeat");
}

static void beat(void *ctx)
{
	struct member *m = ctx;
	struct kp_heartbeat_request q;
	timer_set_us(&m->beat, m->heartbeat_us);
	if (m->state != MEMBER_STABLE || m->beating || !coord_ready(&m->co))
		return;
	kp_heartbeat_request_init(&q);
	q.group_id = slice_str(group_checks_name(m->r, m->group));
	q.generation_id = m->beat_generation = m->generation;
	q.member_id = slice_str(m->id);
	q.group_instance_id = instance_of(m);
	m->beating = coord_send(&m->co, KP_API_HEARTBEAT, m->heartbeat_version, &q, 2000000, beaten, m);
}

static void left(void *ctx, int err, const void *msg)
{
	struct member *m = ctx;
	const struct kp_leave_group_response *a = msg;
	int16_t e = err ? KERR_NETWORK_EXCEPTION : a->error_code;
	if (!e && m->leave_version >= 3)
		e = a->members_count == 1 ? a->members[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
	if (e && !coord_error(&m->co, e) && e != KERR_UNKNOWN_MEMBER_ID && e != KERR_FENCED_INSTANCE_ID)
		run_violation(m->r, "refused", "%s: LeaveGroup answered with error %d", m->name, e);
}

/* In good order: what it read is committed, then it says goodbye. */
static void leave(void *ctx)
{
	struct member *m = ctx;
	struct kp_leave_group_request q;
	struct kp_leave_group_request_members one;
	if (m->state == MEMBER_AWAY)
		return;
	if (m->id[0] && coord_ready(&m->co)) {
		member_commit_now(m);
		kp_leave_group_request_init(&q);
		kp_leave_group_request_members_init(&one);
		q.group_id = slice_str(group_checks_name(m->r, m->group));
		q.member_id = one.member_id = slice_str(m->id);
		one.group_instance_id = instance_of(m);
		q.members = &one;
		q.members_count = 1;
		(void)coord_send(&m->co, KP_API_LEAVE_GROUP, m->leave_version, &q, 2000000, left, m);
	}
	lost(m, false);
	m->state = MEMBER_AWAY;
}

/* ---- steps ---- */

static bool topics_are_there(struct member *m)
{
	bool all = true;
	for (int32_t i = 0; i < m->r->topic_count; i++)
		all &= m->r->topics[i].churn || m->r->topics[i].internal || m->r->topics[i].state == TOPIC_LIVE;
	return all;
}

static void kick(void *ctx)
{
	struct member *m = ctx;
	member_kick_soon(m, KICK_US);
	if (m->state == MEMBER_AWAY) {
		if (env_now_us(m->c.env) < m->away_until_us || !topics_are_there(m))
			return;
		m->state = MEMBER_JOINING;
	}
	if (m->state == MEMBER_STABLE && m->rejoin) {
		m->rejoin = false;
		member_commit_now(m);
		if (!m->cooperative)
			member_drop_partitions(m);
		m->state = MEMBER_JOINING;
	}
	if (m->state == MEMBER_JOINING && !m->busy && coord_ready(&m->co))
		send_join(m);
	else if (m->state == MEMBER_SYNCING && !m->busy && coord_ready(&m->co))
		send_sync(m);
	if ((m->state == MEMBER_JOINING || m->state == MEMBER_SYNCING) && !m->busy)
		member_kick_soon(m, 30000);
	member_read_step(m);
}

static void commit(void *ctx)
{
	struct member *m = ctx;
	timer_set_us(&m->commit, m->commit_us / 2 + (int64_t)env_random_below(m->c.env, (uint64_t)m->commit_us));
	if (m->state == MEMBER_STABLE) {
		if (env_random_below(m->c.env, 4) == 0)
			member_intrude(m);
		member_commit_now(m);
	}
}

static void kick_now(void *ctx)
{
	member_kick_soon(ctx, 0);
}

static void *start(struct env *env, struct loop *control, void *arg)
{
	struct member *m = arg;
	client_init(&m->c, m->r, env, control, m->name, kick_now, m);
	coord_init(&m->co, &m->c, m->group, kick_now, m);
	m->life++;
	m->state = MEMBER_AWAY;
	m->id[0] = '\0';
	m->generation = -1;
	m->synced_once = m->busy = m->beating = m->rejoin = m->asking_offsets = m->committing = false;
	member_drop_partitions(m);
	for (int n = 0; n < BROKERS_MAX; n++)
		m->fetches[n] = (struct mfetch){.m = m, .node = n};
	timer_init(&m->kick, control, kick, m);
	timer_init(&m->beat, control, beat, m);
	timer_init(&m->commit, control, commit, m);
	timer_set_us(&m->kick, 1000);
	timer_set_us(&m->beat, m->heartbeat_us);
	timer_set_us(&m->commit, m->commit_us);
	m->started = true;
	return m;
}

static void reap(void *root, void *arg)
{
	struct member *m = root ? root : arg;
	if (m->started) {
		client_fini(&m->c);
		coord_fini(&m->co);
	}
	m->started = false;
}

/* ---- members come and go ---- */

static void process_start(struct sim_world *w, void *ctx)
{
	struct member *m = ctx;
	(void)w;
	if (m->process && sim_process_alive(m->process))
		return;
	m->process = client_process(m->r, m->name, &(struct sim_program){.name = m->name, .start = start, .reap = reap, .arg = m});
}

static void process_resume(struct sim_world *w, void *ctx)
{
	struct member *m = ctx;
	(void)w;
	if (sim_process_alive(m->process) && sim_process_is_paused(m->process))
		sim_process_resume(m->process);
}

static void something_happens(struct sim_world *w, void *ctx)
{
	struct run *r = ctx;
	struct member *m = r->members[rng_below(r->rng, (uint64_t)r->member_count)];
	int64_t now = sim_now_us(w);
	if (r->healed || run_over(r))
		return;
	sim_at(w, now + rng_between(r->rng, 300000, 5000000), something_happens, r);
	if (!m->started || !sim_process_alive(m->process) || sim_process_is_paused(m->process))
		return;
	switch (rng_below(r->rng, 8)) {
	case 0: case 1: case 2:
		sim_note(w, "%s dies", m->name);
		sim_process_kill(m->process);
		sim_at(w, now + rng_between(r->rng, 50000, 7000000), process_start, m);
		break;
	case 3: case 4:
		sim_note(w, "%s leaves", m->name);
		m->away_until_us = now + rng_between(r->rng, 50000, 6000000);
		sim_process_run(m->process, leave, m);
		break;
	default:
		sim_note(w, "%s hangs", m->name);
		sim_process_pause(m->process);
		sim_at(w, now + rng_between(r->rng, 100000, 9000000), process_resume, m);
	}
}

void sim_members_heal(struct run *r)
{
	for (int i = 0; i < r->member_count; i++) {
		struct member *m = r->members[i];
		m->away_until_us = 0;
		if (!m->process || !sim_process_alive(m->process))
			process_start(r->w, m);
		else
			process_resume(r->w, m);
	}
}

static void member_new(struct run *r, int group, bool cooperative, bool narrow)
{
	struct member *m = MEM_NEW(struct member);
	m->r = r;
	m->idx = r->member_count;
	m->group = group;
	m->cooperative = cooperative;
	m->narrow = narrow;
	snprintf(m->name, sizeof(m->name), "member%d", m->idx);
	arena_init(&m->given, 0);
	m->join_version = (int16_t)rng_between(r->rng, 0, 9);
	m->sync_version = (int16_t)rng_between(r->rng, 0, 5);
	m->heartbeat_version = (int16_t)rng_between(r->rng, 0, 4);
	m->leave_version = (int16_t)rng_between(r->rng, 0, 5);
	m->read_version = (int16_t)rng_between(r->rng, 4, 11);
	m->subscription_version = (int16_t)rng_between(r->rng, cooperative ? 1 : 0, 3);
	if (rng_chance(r->rng, 0.3)) {
		snprintf(m->instance, sizeof(m->instance), "instance%d", m->idx);
		m->join_version = (int16_t)rng_between(r->rng, 5, 9);
		m->sync_version = (int16_t)rng_between(r->rng, 3, 5);
		m->heartbeat_version = (int16_t)rng_between(r->rng, 3, 4);
		m->leave_version = (int16_t)rng_between(r->rng, 3, 5);
		m->subscription_version = (int16_t)rng_between(r->rng, 2, 3); /* with the generation: no two are equal */
	}
	m->session_ms = (int32_t)rng_between(r->rng, 1500, 5000);
	m->rebalance_ms = (int32_t)rng_between(r->rng, 2000, 6000);
	m->heartbeat_us = m->session_ms * 1000ll / rng_between(r->rng, 3, 6);
	m->commit_us = rng_between(r->rng, 300000, 1500000);
	m->max_wait_ms = (int32_t)rng_between(r->rng, 200, 600);
	m->min_bytes = (int32_t)rng_between(r->rng, 1, rng_chance(r->rng, 0.3) ? 1 : 3000);
	r->members[r->member_count++] = m;
	/* the host is there from the begin: network faults name it */
	(void)sim_host_new(r->w, m->name);
	sim_at(r->w, sim_now_us(r->w) + rng_between(r->rng, 0, 2000000), process_start, m);
}

void sim_members_init(struct run *r)
{
	bool second = rng_chance(r->rng, 0.3);
	for (int g = 0; g < 1 + second; g++) {
		int group = group_checks_add(r, g ? "watchers" : "readers", true, g == 1);
		bool cooperative = rng_chance(r->rng, 0.5), narrow = g == 1;
		for (int n = g ? (int)rng_between(r->rng, 1, 2) : (int)rng_between(r->rng, 2, 4); n > 0; n--)
			member_new(r, group, cooperative, narrow);
	}
	if (r->opt->faults >> FAULT_MEMBERS & 1)
		sim_at(r->w, r->faults_us, something_happens, r);
}

void sim_members_free(struct run *r)
{
	for (int i = 0; i < r->member_count; i++) {
		arena_fini(&r->members[i]->given);
		mem_free(r->members[i]);
		r->members[i] = NULL;
	}
}

static bool group_settled(struct run *r, int group, struct str *what)
{
	int owners[TPS_MAX] = {0};
	struct member *first = NULL;
	for (int i = 0; i < r->member_count; i++) {
		struct member *m = r->members[i];
		if (m->group != group)
			continue;
		first = first ? first : m;
		if (m->state != MEMBER_STABLE || m->rejoin || m->generation != first->generation) {
			str_printf(what, "%s is in state %d of generation %d, %s of %d: the rebalance does not end", m->name, m->state, m->generation, first->name, first->generation);
			return false;
		}
		for (int32_t tp = 0; tp < r->tp_count; tp++) {
			const struct mpart *p = &m->parts[tp];
			int64_t end = sim_consumers_position(r, tp);
			if (!p->owned)
				continue;
			owners[tp]++;
			if (p->position != end || (p->committed != end && !(end == 0 && p->committed < 0))) {
				str_printf(what, "%s is at %lld of tp %d, which ends at %lld; committed is %lld", m->name, (long long)p->position, tp, (long long)end,
					(long long)p->committed);
				return false;
			}
		}
	}
	for (int32_t tp = 0; first && tp < r->tp_count; tp++) {
		if (member_subscribes(first, tp) && owners[tp] != 1) {
			str_printf(what, "group %s: tp %d has %d owners in generation %d", group_checks_name(r, group), tp, owners[tp], first->generation);
			return false;
		}
	}
	return true;
}

bool sim_members_settled(struct run *r, struct str *what)
{
	for (int g = 0; g < group_checks_count(r); g++)
		if (group_checks_has_members(r, g) && !group_settled(r, g, what))
			return false;
	return true;
}
