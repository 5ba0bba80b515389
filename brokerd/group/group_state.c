/* group_state.c: the state machine of a classic group (internal-topics.md 4).
 *
 *   state        may follow                      means
 *   Empty        Preparing, Dead                 no members (new groups and those loaded without members begin here)
 *   Preparing    Empty, Completing, Stable       waits for the members to join; joins are parked
 *   Completing   Preparing                       the generation is made; waits for the leader's assignment and for it to be written
 *   Stable       Completing                      every member can have its assignment (groups loaded with members begin here)
 *   Dead         Empty                           its tombstones are on their way; Empty again if they cannot be written
 *
 * A group that the coordinator loses goes with all of its memory, in whatever state.
 *
 * The generation grows here before anything is written: that is soft, like the members that make it up. The assignment comes into being by the
 * replay of the record that the leader's sync makes (group_replay.c), never before it is committed. */
#include "brokerd/group/group_priv.h"

const char *group_state_name(enum group_state s)
{
	static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"};
	return names[s];
}

static bool rebalancing(enum group_state s)
{
	return s == GROUP_PREPARING || s == GROUP_COMPLETING;
}

void group_to(struct groups *g, struct group *gr, enum group_state to, int64_t now_ms)
{
	static const uint8_t legal[] = { /* bits of predecessors */
		[GROUP_EMPTY] = 1 << GROUP_PREPARING | 1 << GROUP_DEAD,
		[GROUP_PREPARING] = 1 << GROUP_EMPTY | 1 << GROUP_COMPLETING | 1 << GROUP_STABLE,
		[GROUP_COMPLETING] = 1 << GROUP_PREPARING,
		[GROUP_STABLE] = 1 << GROUP_COMPLETING,
		[GROUP_DEAD] = 1 << GROUP_EMPTY,
	};
	ASSERT(legal[to] >> gr->state & 1);
	g->stats.rebalancing += (uint32_t)rebalancing(to) - (uint32_t)rebalancing(gr->state);
	/* a deletion that failed leaves the group as old as it was: its offsets expire by this time (4.5) */
	if (to != GROUP_DEAD && gr->state != GROUP_DEAD)
		gr->state_ms = now_ms;
	gr->state = (uint8_t)to;
}

/* 4.3, append errors of the group's record */
int16_t group_store_error(int16_t err)
{
	switch (err) {
	case KERR_UNKNOWN_TOPIC_OR_PARTITION:
	case KERR_NOT_ENOUGH_REPLICAS:
	case KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
		return KERR_COORDINATOR_NOT_AVAILABLE;
	case KERR_NOT_LEADER_OR_FOLLOWER:
	case KERR_KAFKA_STORAGE_ERROR:
		return KERR_NOT_COORDINATOR;
	case KERR_REQUEST_TIMED_OUT:
		return KERR_REBALANCE_IN_PROGRESS;
	case KERR_MESSAGE_TOO_LARGE:
	case KERR_RECORD_LIST_TOO_LARGE:
	case KERR_INVALID_FETCH_SIZE:
		return KERR_UNKNOWN_SERVER_ERROR;
	default:
		return err;
	}
}

/* ---- timers ---- */

void group_session_start(struct groups *g, struct member *m, int64_t now_ms)
{
	group_due_arm(&g->due, &m->due, rel_ms(g, now_ms) + m->session_timeout_ms);
}

/* ---- Preparing ---- */

static void fail_syncs(struct groups *g, struct group *gr, int16_t err, int64_t now_ms, struct groups_out *out)
{
	LIST_FOR(it, &gr->roster->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		struct groups_call *c = m->sync_call;
		group_member_set_assignment(g, m, slice_make("", 0));
		if (!c)
			continue;
		m->sync_call = NULL;
		group_answer_sync(g, m, c, err, out);
		group_session_start(g, m, now_ms);
	}
}

static void forget_syncs(struct groups *g, struct roster *r)
{
	group_due_stop(&g->due, &r->due);
	if (!r->unsynced)
		return;
	LIST_FOR(it, &r->members)
		LIST_ENTRY(it, struct member, link)->pending_sync = false;
	r->unsynced = 0;
}

static void wait_for_joins(struct groups *g, struct roster *r, int64_t delay_ms, int64_t now_ms)
{
	group_due_stop(&g->due, &r->due);
	group_due_arm(&g->due, &r->due, rel_ms(g, now_ms) + delay_ms);
}

void group_prepare_rebalance(struct groups *g, struct group *gr, const char *why, const struct member *m, int64_t now_ms, struct groups_out *out)
{
	struct roster *r = group_roster_get(g, gr);
	int64_t timeout_ms = group_roster_rebalance_timeout_ms(r), delay_ms = timeout_ms;

	if (gr->state == GROUP_COMPLETING)
		fail_syncs(g, gr, KERR_REBALANCE_IN_PROGRESS, now_ms, out);
	forget_syncs(g, r);
	r->initial = gr->state == GROUP_EMPTY;
	r->more_joined = false;
	if (r->initial) {
		delay_ms = r->initial_delay_ms = g->cfg->initial_rebalance_delay_ms > 0 ? g->cfg->initial_rebalance_delay_ms : 0;
		r->initial_left_ms = timeout_ms > delay_ms ? timeout_ms - delay_ms : 0;
	}
	group_to(g, gr, GROUP_PREPARING, now_ms);
	group_tell(g, gr, GROUPS_REBALANCE, m, why, 0);
	g->stats.rebalances++;
	wait_for_joins(g, r, delay_ms, now_ms);
	if (r->initial && delay_ms == 0)
		group_on_group_due(g, gr, now_ms, out);
	else
		group_try_complete_join(g, gr, now_ms, out);
}

void group_maybe_rebalance(struct groups *g, struct group *gr, const char *why, const struct member *m, int64_t now_ms, struct groups_out *out)
{
	if (gr->state == GROUP_EMPTY || gr->state == GROUP_COMPLETING || gr->state == GROUP_STABLE)
		group_prepare_rebalance(g, gr, why, m, now_ms, out);
}

/* ---- Preparing -> Completing or Empty ---- */

static void drop_absent(struct groups *g, struct roster *r)
{
	LIST_FOR_SAFE(it, next, &r->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		if (m->join_call || m->instance)
			continue;
		group_tell(g, m->group, GROUPS_MEMBER_OUT, m, "did not join again", 0);
		group_member_remove(g, m);
	}
}

/* The leader must be among those that joined. */
static bool elect_leader(struct roster *r)
{
	if (r->leader->join_call)
		return true;
	LIST_FOR(it, &r->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		if (m->join_call) {
			r->leader = m;
			return true;
		}
	}
	return false;
}

static void on_empty_stored(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out)
{
	(void)now_ms;
	(void)out;
	if (err)
		group_tell(g, t->groups[0], GROUPS_NOT_WRITTEN, NULL, "empty generation", err);
}

/* The record of an empty generation: nobody waits for it. If it is lost, the generation before comes back at the next load, without anybody in
 * it who answers. */
static void become_empty(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	struct pen *p = group_pen_new();
	group_name_drop(g, gr->protocol);
	gr->protocol = 0;
	group_to(g, gr, GROUP_EMPTY, now_ms);
	group_tell(g, gr, GROUPS_EMPTY, NULL, NULL, 0);
	group_due_stop(&g->due, &gr->roster->due);
	group_record(g, gr, NULL, p);
	struct ticket *t = group_ticket_new(g, on_empty_stored, NULL);
	group_ticket_pin(t, gr);
	group_give_write(group_pen_finish(p), t, out);
	if (!gr->roster->pending_count)
		group_roster_drop(g, gr);
}

static void begin_generation(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	struct roster *r = gr->roster;
	uint32_t protocol = group_name_ref(g, group_roster_vote(g, gr));
	group_name_drop(g, gr->protocol);
	gr->protocol = protocol;
	group_to(g, gr, GROUP_COMPLETING, now_ms);
	group_tell(g, gr, GROUPS_GENERATION, r->leader, NULL, 0);
	r->unsynced = r->count;
	int32_t timeout_ms = 0;
	LIST_FOR(it, &r->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		struct groups_call *c = group_member_take_join(m);
		timeout_ms = m->rebalance_timeout_ms > timeout_ms ? m->rebalance_timeout_ms : timeout_ms;
		m->is_new = false;
		m->pending_sync = true;
		group_session_start(g, m, now_ms);
		if (c)
			group_answer_join(g, m, c, member_id(r->leader), m == r->leader, false, out);
	}
	/* KAFKA-9752: who does not sync in time goes */
	wait_for_joins(g, r, timeout_ms, now_ms);
}

static void complete_join(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	struct roster *r = gr->roster;
	r->initial = false;
	drop_absent(g, r);
	if (r->count && !elect_leader(r)) {
		/* only static members, none of them here: their sessions decide */
		wait_for_joins(g, r, group_roster_rebalance_timeout_ms(r), now_ms);
		return;
	}
	gr->generation = gr->generation == INT32_MAX ? 1 : gr->generation + 1;
	if (r->count)
		begin_generation(g, gr, now_ms, out);
	else
		become_empty(g, gr, now_ms, out);
}

void group_try_complete_join(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	const struct roster *r = gr->roster;
	if (gr->state == GROUP_PREPARING && !r->initial && r->joined == r->count && !r->pending_count)
		complete_join(g, gr, now_ms, out);
}

/* ---- members go ---- */

void group_remove_and_update(struct groups *g, struct member *m, const char *why, int64_t now_ms, struct groups_out *out)
{
	struct group *gr = m->group;
	struct groups_call *join = group_member_take_join(m), *sync = m->sync_call;
	m->sync_call = NULL;
	if (join)
		group_join_error(join, slice_make("", 0), KERR_UNKNOWN_MEMBER_ID, out);
	if (sync)
		group_answer_sync(g, m, sync, KERR_UNKNOWN_MEMBER_ID, out);
	bool pending = m->pending;
	if (!pending)
		group_tell(g, gr, GROUPS_MEMBER_OUT, m, why, 0);
	group_member_remove(g, m);
	if (pending || gr->state == GROUP_PREPARING)
		group_try_complete_join(g, gr, now_ms, out);
	else if (gr->state == GROUP_STABLE || gr->state == GROUP_COMPLETING)
		group_maybe_rebalance(g, gr, why, NULL, now_ms, out);
	if (gr->state == GROUP_EMPTY && gr->roster && !gr->roster->count && !gr->roster->pending_count)
		group_roster_drop(g, gr);
}

/* ---- deadlines ---- */

static void end_of_syncs(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	LIST_FOR_SAFE(it, next, &gr->roster->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		if (!m->pending_sync || m->join_call)
			continue; /* a static member that began anew meanwhile, and whose record is being written, joins the next generation */
		group_tell(g, gr, GROUPS_MEMBER_OUT, m, "did not sync", 0);
		group_member_remove(g, m);
	}
	group_prepare_rebalance(g, gr, "members did not sync", NULL, now_ms, out);
}

void group_on_group_due(struct groups *g, struct group *gr, int64_t now_ms, struct groups_out *out)
{
	struct roster *r = gr->roster;
	if (gr->state == GROUP_COMPLETING || gr->state == GROUP_STABLE) {
		if (r->unsynced)
			end_of_syncs(g, gr, now_ms, out);
		return;
	}
	if (gr->state != GROUP_PREPARING)
		return;
	if (r->initial && r->more_joined && r->initial_left_ms > 0) {
		int64_t was = r->initial_delay_ms, most = g->cfg->initial_rebalance_delay_ms;
		r->more_joined = false;
		r->initial_delay_ms = most < r->initial_left_ms ? most : r->initial_left_ms;
		r->initial_left_ms = r->initial_left_ms > was ? r->initial_left_ms - was : 0;
		wait_for_joins(g, r, r->initial_delay_ms, now_ms);
		return;
	}
	complete_join(g, gr, now_ms, out);
}

/* Who waits in a join or sync is alive as far as can be known, except that a new member's first join may have lost its client (4.2). */
void group_on_member_due(struct groups *g, struct member *m, int64_t now_ms, struct groups_out *out)
{
	if (!m->pending && !m->is_new && (m->join_call || m->sync_call))
		return;
	group_remove_and_update(g, m, "session ended", now_ms, out);
}

/* ---- Completing -> Stable ---- */

static void on_stored(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out)
{
	struct group *gr = t->groups[0];
	struct roster *r = gr->roster;

	if (r && r->storing == t->generation)
		r->storing = 0;
	if (gr->generation != t->generation || !r)
		return; /* it went on without it */
	if (err) {
		group_tell(g, gr, GROUPS_NOT_WRITTEN, NULL, "assignment", err);
		if (gr->state == GROUP_COMPLETING) {
			fail_syncs(g, gr, group_store_error(err), now_ms, out);
			group_prepare_rebalance(g, gr, "assignment not written", NULL, now_ms, out);
		}
		return;
	}
	/* the replay made it Stable */
	if (gr->state != GROUP_STABLE)
		return;
	group_tell(g, gr, GROUPS_STABLE, NULL, NULL, 0);
	LIST_FOR(it, &r->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		struct groups_call *c = m->sync_call;
		if (!c)
			continue;
		m->sync_call = NULL;
		group_answer_sync(g, m, c, 0, out);
		group_session_start(g, m, now_ms);
	}
}

void group_store_assignment(struct groups *g, struct group *gr, const struct kp_sync_group_request *req, int64_t now_ms, struct groups_out *out)
{
	struct roster *r = gr->roster;
	struct slice *assignments = mem_alloc(sizeof(*assignments) * r->count);
	uint32_t n = 0;

	(void)now_ms;
	if (r->storing == gr->generation) {
		mem_free(assignments);
		return; /* the leader asks again while the first one is being written */
	}
	LIST_FOR(it, &r->members) {
		LIST_ENTRY(it, struct member, link)->ordinal = n;
		assignments[n++] = slice_make("", 0); /* who is left out has nothing */
	}
	for (int32_t i = 0; i < req->assignments_count; i++) {
		const struct member *m = group_member_find(g, gr, req->assignments[i].member_id);
		if (m && !m->pending)
			assignments[m->ordinal] = req->assignments[i].assignment;
	}
	struct pen *p = group_pen_new();
	group_record(g, gr, assignments, p);
	mem_free(assignments);
	r->storing = gr->generation;
	struct ticket *t = group_ticket_new(g, on_stored, NULL);
	t->generation = gr->generation;
	group_ticket_pin(t, gr);
	group_give_write(group_pen_finish(p), t, out);
}
