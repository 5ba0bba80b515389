/* group_join.c: the calls that members make: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (internal-topics.md 4.1 to 4.3). */
#include "brokerd/group/group_priv.h"
#include "common/wire/cursor.h"

#define NEW_MEMBER_MS (5 * 60 * 1000) /* a new member's first join waits at most this long */

/* What a static member was before it was replaced, should the replacement not be written. */
struct static_undo {
	struct groups_call *call;
	int16_t version;
	struct member *member; /* compared only: it may be gone */
	char *old_id, *new_id, *old_leader;
	size_t old_len, new_len, leader_len;
	int32_t generation, rebalance_timeout_ms, session_timeout_ms;
};

/* ---- answers ---- */

/* Texts of an answer go into one piece of its arena: there are thousands of answers at a time. */
static void own(struct arena *a, struct slice **texts, int count)
{
	size_t bytes = 0;
	for (int i = 0; i < count; i++)
		bytes += texts[i]->len;
	uint8_t *p = arena_alloc(a, bytes);
	for (int i = 0; i < count; i++) {
		struct slice s = *texts[i];
		if (s.ptr)
			*texts[i] = slice_make(p, s.len);
		p = put_bytes(p, s.ptr, s.len);
	}
}

void group_join_error(struct groups_call *c, struct slice member, int16_t err, struct groups_out *out)
{
	struct kp_join_group_response *resp = c->response;
	kp_join_group_response_init(resp);
	resp->error_code = err;
	resp->protocol_name = slice_make(NULL, 0);
	resp->member_id = group_copy_to(c->arena, member);
	answer(out, c);
}

static void put_members(const struct groups *g, const struct group *gr, struct groups_call *c)
{
	struct kp_join_group_response *resp = c->response;
	const struct roster *r = gr->roster;
	int32_t n = 0;
	resp->members = arena_alloc(c->arena, sizeof(*resp->members) * ((size_t)r->count + 1));
	LIST_FOR(it, &r->members) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		struct kp_join_group_response_members *to = &resp->members[n++];
		kp_join_group_response_members_init(to);
		to->member_id = member_id(m);
		to->group_instance_id = member_instance(m);
		to->metadata = group_member_metadata(m, gr->protocol);
		own(c->arena, (struct slice *[]){&to->member_id, &to->group_instance_id, &to->metadata}, 3);
	}
	resp->members_count = n;
	(void)g;
}

void group_answer_join(const struct groups *g, const struct member *m, struct groups_call *c, struct slice leader, bool members, bool skip, struct groups_out *out)
{
	struct kp_join_group_response *resp = c->response;
	kp_join_group_response_init(resp);
	resp->generation_id = m->group->generation;
	resp->protocol_type = group_name_text(g, m->group->protocol_type);
	resp->protocol_name = group_name_text(g, m->group->protocol);
	resp->leader = leader;
	resp->member_id = member_id(m);
	own(c->arena, (struct slice *[]){&resp->protocol_type, &resp->protocol_name, &resp->leader, &resp->member_id}, 4);
	resp->skip_assignment = skip;
	if (members)
		put_members(g, m->group, c);
	answer(out, c);
}

static void sync_error(struct groups_call *c, int16_t err, struct groups_out *out)
{
	struct kp_sync_group_response *resp = c->response;
	kp_sync_group_response_init(resp);
	resp->error_code = err;
	answer(out, c);
}

void group_answer_sync(const struct groups *g, const struct member *m, struct groups_call *c, int16_t err, struct groups_out *out)
{
	struct kp_sync_group_response *resp = c->response;
	if (err) {
		sync_error(c, err, out);
		return;
	}
	kp_sync_group_response_init(resp);
	resp->protocol_type = group_name_text(g, m->group->protocol_type);
	resp->protocol_name = group_name_text(g, m->group->protocol);
	resp->assignment = blob_slice(m->assignment);
	own(c->arena, (struct slice *[]){&resp->protocol_type, &resp->protocol_name, &resp->assignment}, 3);
	answer(out, c);
}

/* ---- who calls ---- */

/* 4.1, member check. Ids that were given out only are not members. */
int16_t group_check_member(const struct groups *g, const struct group *gr, struct slice member, struct slice instance, struct member **ret_m)
{
	if (instance.ptr) {
		const struct member *owner = group_member_of_instance(g, gr, instance);
		if (!owner)
			return KERR_UNKNOWN_MEMBER_ID;
		if (!slice_eq(member_id(owner), member))
			return KERR_FENCED_INSTANCE_ID;
	}
	struct member *m = group_member_find(g, gr, member);
	if (!m || m->pending)
		return KERR_UNKNOWN_MEMBER_ID;
	*ret_m = m;
	return 0;
}

/* ---- join ---- */

static int32_t rebalance_timeout_of(const struct groups_call *c)
{
	const struct kp_join_group_request *req = c->request;
	return c->version == 0 ? req->session_timeout_ms : req->rebalance_timeout_ms;
}

/* group.max.size (4.2): while joins are collected, those that wait count, so that the last ones to come are refused. */
static bool has_room(const struct groups *g, const struct group *gr, const struct member *m)
{
	const struct roster *r = gr->roster;
	int64_t max = g->cfg->max_size;
	if (r && !m && r->pending_count > max)
		return false;
	switch ((enum group_state)gr->state) {
	case GROUP_PREPARING:
		return (m && m->join_call) || r->joined < max;
	case GROUP_COMPLETING:
	case GROUP_STABLE:
		return (m && !m->pending) || r->count < max;
	default:
		return true;
	}
}

static void add_and_rebalance(struct groups *g, struct group *gr, struct groups_call *c, struct slice id, int64_t now_ms, struct groups_out *out)
{
	const struct kp_join_group_request *req = c->request;
	struct member_spec s = {.id = id, .instance = req->group_instance_id, .client_id = c->client_id, .client_host = slice_str(c->client_host),
		.rebalance_timeout_ms = rebalance_timeout_of(c), .session_timeout_ms = req->session_timeout_ms,
		.protocols = req->protocols, .protocols_count = req->protocols_count};
	struct roster *r = group_roster_get(g, gr);

	/* only a group's first generation is put off again and again */
	if (gr->state == GROUP_PREPARING && gr->generation == 0)
		r->more_joined = true;
	if (r->count == 0) {
		uint32_t type = group_name_get(g, req->protocol_type);
		group_name_drop(g, gr->protocol_type);
		gr->protocol_type = type;
	}
	struct member *m = group_member_add(g, gr, &s);
	m->is_new = true;
	group_member_wait_join(m, c);
	/* it has no id yet and cannot send heartbeats; if it dies meanwhile nobody tells us */
	group_due_arm(&g->due, &m->due, rel_ms(g, now_ms) + NEW_MEMBER_MS);
	group_maybe_rebalance(g, gr, "new member", m, now_ms, out);
}

static void update_member(struct groups *g, struct member *m, struct groups_call *c, struct groups_out *out)
{
	const struct kp_join_group_request *req = c->request;
	struct groups_call *old = group_member_take_join(m);
	if (old)
		group_join_error(old, member_id(m), KERR_REBALANCE_IN_PROGRESS, out); /* its client asked anew */
	group_member_set_protocols(g, m, req->protocols, req->protocols_count);
	m->rebalance_timeout_ms = rebalance_timeout_of(c);
	m->session_timeout_ms = req->session_timeout_ms;
	group_member_wait_join(m, c);
}

static char *dup_slice(struct slice s)
{
	return mem_strndup((const char *)s.ptr, s.len);
}

/* A new process takes the place of a static member (KIP-345). */
static void replace_static(struct groups *g, struct member *old, struct groups_call *c, struct slice id, int64_t now_ms, struct groups_out *out)
{
	struct group *gr = old->group;
	struct roster *r = gr->roster;
	struct groups_call *join = group_member_take_join(old), *sync = old->sync_call;
	struct static_undo u = {.call = c, .version = c->version, .generation = gr->generation,
		.rebalance_timeout_ms = old->rebalance_timeout_ms, .session_timeout_ms = old->session_timeout_ms,
		.old_id = dup_slice(member_id(old)), .old_len = old->id_len, .new_id = dup_slice(id), .new_len = id.len,
		.old_leader = dup_slice(member_id(r->leader)), .leader_len = r->leader->id_len};

	old->sync_call = NULL;
	if (join)
		group_join_error(join, member_id(old), KERR_FENCED_INSTANCE_ID, out);
	if (sync)
		sync_error(sync, KERR_FENCED_INSTANCE_ID, out);
	struct member *m = group_member_rename(g, old, id);
	update_member(g, m, c, out);
	if (m->is_new)
		group_due_arm(&g->due, &m->due, rel_ms(g, now_ms) + NEW_MEMBER_MS);
	else
		group_session_start(g, m, now_ms);
	if (gr->state == GROUP_STABLE && group_roster_vote(g, gr) == gr->protocol) {
		struct static_undo *kept = mem_alloc(sizeof(*kept));
		*kept = u;
		group_store_static(g, m, c, kept, now_ms, out);
		return;
	}
	mem_free(u.old_id);
	mem_free(u.new_id);
	mem_free(u.old_leader);
	/* Completing: the leader may be assigning to the old id */
	group_maybe_rebalance(g, gr, "static member replaced", m, now_ms, out);
}

void group_static_undo_free(struct groups *g, struct static_undo *u)
{
	(void)g;
	if (!u)
		return;
	mem_free(u->old_id);
	mem_free(u->new_id);
	mem_free(u->old_leader);
	mem_free(u);
}

static void on_static_stored(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out)
{
	struct group *gr = t->groups[0];
	const struct static_undo *u = t->undo;
	struct member *m = group_member_find(g, gr, slice_make(u->new_id, u->new_len));

	/* if the group went on meanwhile, the call is one of a rebalance like any other */
	if (!m || m->join_call != u->call || gr->state != GROUP_STABLE || gr->generation != u->generation)
		return;
	struct groups_call *c = group_member_take_join(m);
	struct slice old_leader = slice_make(u->old_leader, u->leader_len);
	if (err) {
		struct kp_join_group_response *resp = c->response;
		group_tell(g, gr, GROUPS_NOT_WRITTEN, m, "static member replaced", err);
		group_answer_join(g, m, c, old_leader, false, false, out);
		resp->member_id = slice_make("", 0);
		resp->error_code = group_store_error(err);
		m = group_member_rename(g, m, slice_make(u->old_id, u->old_len));
		m->rebalance_timeout_ms = u->rebalance_timeout_ms;
		m->session_timeout_ms = u->session_timeout_ms;
		group_session_start(g, m, now_ms);
		return;
	}
	bool leads = gr->roster->leader == m;
	group_session_start(g, m, now_ms);
	if (u->version >= 9)
		group_answer_join(g, m, c, member_id(gr->roster->leader), leads, leads, out);
	else
		group_answer_join(g, m, c, old_leader, false, false, out); /* so that it does not think that it leads: nobody would hear its assignment */
}

void group_store_static(struct groups *g, struct member *m, struct groups_call *c, struct static_undo *undo, int64_t now_ms, struct groups_out *out)
{
	struct pen *p = group_pen_new();
	(void)c;
	(void)now_ms;
	group_record(g, m->group, NULL, p);
	struct ticket *t = group_ticket_new(g, on_static_stored, NULL);
	t->undo = undo;
	t->generation = m->group->generation;
	group_ticket_pin(t, m->group);
	group_give_write(group_pen_finish(p), t, out);
}

static void join_new(struct groups *g, struct group *gr, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_join_group_request *req = c->request;
	struct slice none = slice_make("", 0), id;

	if (gr->state == GROUP_DEAD) {
		group_join_error(c, none, KERR_COORDINATOR_NOT_AVAILABLE, out);
		return;
	}
	if (!group_roster_supports(g, gr, req->protocol_type, req->protocols, req->protocols_count)) {
		group_join_error(c, none, KERR_INCONSISTENT_GROUP_PROTOCOL, out);
		return;
	}
	bool is_static = req->group_instance_id.ptr;
	group_make_member_id(g, is_static ? req->group_instance_id : c->client_id, c->arena, &id);
	struct member *known = is_static ? group_member_of_instance(g, gr, req->group_instance_id) : NULL;
	if (known) {
		replace_static(g, known, c, id, now_ms, out);
	} else if (!is_static && c->version >= 4) {
		struct member *m = group_member_add_pending(g, gr, id);
		group_due_arm(&g->due, &m->due, rel_ms(g, now_ms) + req->session_timeout_ms);
		group_join_error(c, id, KERR_MEMBER_ID_REQUIRED, out);
	} else {
		add_and_rebalance(g, gr, c, id, now_ms, out);
	}
}

static void join_known(struct groups *g, struct group *gr, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_join_group_request *req = c->request;
	struct member *m = group_member_find(g, gr, req->member_id);

	if (gr->state == GROUP_DEAD) {
		group_join_error(c, req->member_id, KERR_COORDINATOR_NOT_AVAILABLE, out);
		return;
	}
	if (!group_roster_supports(g, gr, req->protocol_type, req->protocols, req->protocols_count)) {
		group_join_error(c, req->member_id, KERR_INCONSISTENT_GROUP_PROTOCOL, out);
		return;
	}
	if (m && m->pending && !req->group_instance_id.ptr) {
		add_and_rebalance(g, gr, c, req->member_id, now_ms, out);
		return;
	}
	int16_t err = group_check_member(g, gr, req->member_id, req->group_instance_id, &m);
	if (err) {
		group_join_error(c, req->member_id, err, out);
		return;
	}
	bool leads = gr->roster->leader == m, same = group_member_matches(g, m, req->protocols, req->protocols_count);
	switch ((enum group_state)gr->state) {
	case GROUP_PREPARING:
		update_member(g, m, c, out);
		return;
	case GROUP_COMPLETING: /* it may not have got the answer */
	case GROUP_STABLE:     /* the leader asks for a rebalance in this way; followers by other metadata */
		if (same && !(leads && gr->state == GROUP_STABLE)) {
			group_answer_join(g, m, c, member_id(gr->roster->leader), leads, false, out);
			return;
		}
		update_member(g, m, c, out);
		group_maybe_rebalance(g, gr, same ? "leader joined again" : "member changed", m, now_ms, out);
		return;
	default:
		group_join_error(c, req->member_id, KERR_UNKNOWN_MEMBER_ID, out);
	}
}

void groups_join(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_join_group_request *req = c->request;
	bool unknown = req->member_id.len == 0;

	list_init(&c->link);
	if (!req->group_id.len) {
		group_join_error(c, req->member_id, KERR_INVALID_GROUP_ID, out);
		return;
	}
	if (req->session_timeout_ms < g->cfg->min_session_timeout_ms || req->session_timeout_ms > g->cfg->max_session_timeout_ms) {
		group_join_error(c, req->member_id, KERR_INVALID_SESSION_TIMEOUT, out);
		return;
	}
	struct group *gr = unknown ? group_get(g, req->group_id) : group_find(g, req->group_id);
	if (!gr) {
		group_join_error(c, req->member_id, KERR_UNKNOWN_MEMBER_ID, out);
		return;
	}
	struct member *m = unknown ? NULL : group_member_find(g, gr, req->member_id);
	if (!has_room(g, gr, m)) {
		if (m && !m->pending)
			group_tell(g, gr, GROUPS_MEMBER_OUT, m, "group.max.size", 0);
		if (m)
			group_member_remove(g, m); /* it goes for good: not joined, as room is made for those who are */
		group_join_error(c, slice_make("", 0), KERR_GROUP_MAX_SIZE_REACHED, out);
	} else if (unknown) {
		join_new(g, gr, c, now_ms, out);
	} else {
		join_known(g, gr, c, now_ms, out);
	}
	group_try_complete_join(g, gr, now_ms, out);
	group_settle(g, gr);
}

/* ---- sync ---- */

static int16_t check_sync(const struct groups *g, const struct group *gr, const struct kp_sync_group_request *req, struct member **ret_m)
{
	if (!gr)
		return KERR_UNKNOWN_MEMBER_ID;
	if (gr->state == GROUP_DEAD)
		return KERR_COORDINATOR_NOT_AVAILABLE;
	int16_t err = group_check_member(g, gr, req->member_id, req->group_instance_id, ret_m);
	if (err)
		return err;
	if (req->generation_id != gr->generation)
		return KERR_ILLEGAL_GENERATION;
	if (req->protocol_type.ptr && !slice_eq(req->protocol_type, group_name_text(g, gr->protocol_type)))
		return KERR_INCONSISTENT_GROUP_PROTOCOL;
	if (req->protocol_name.ptr && !slice_eq(req->protocol_name, group_name_text(g, gr->protocol)))
		return KERR_INCONSISTENT_GROUP_PROTOCOL;
	return gr->state == GROUP_PREPARING ? KERR_REBALANCE_IN_PROGRESS : 0;
}

void groups_sync(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_sync_group_request *req = c->request;
	struct member *m = NULL;

	list_init(&c->link);
	if (!req->group_id.len) {
		sync_error(c, KERR_INVALID_GROUP_ID, out);
		return;
	}
	struct group *gr = group_find(g, req->group_id);
	int16_t err = check_sync(g, gr, req, &m);
	if (err) {
		sync_error(c, err, out);
		return;
	}
	group_member_synced(g, m);
	if (gr->state == GROUP_STABLE) {
		group_answer_sync(g, m, c, 0, out);
		group_session_start(g, m, now_ms);
		return;
	}
	if (m->sync_call)
		sync_error(m->sync_call, KERR_REBALANCE_IN_PROGRESS, out); /* its client asked anew */
	m->sync_call = c;
	if (gr->roster->leader == m)
		group_store_assignment(g, gr, req, now_ms, out);
}

/* ---- heartbeat ---- */

static int16_t heartbeat(struct groups *g, const struct kp_heartbeat_request *req, int64_t now_ms)
{
	if (!req->group_id.len)
		return KERR_INVALID_GROUP_ID;
	const struct group *gr = group_find(g, req->group_id);
	if (!gr)
		return KERR_UNKNOWN_MEMBER_ID;
	if (gr->state == GROUP_DEAD)
		return KERR_COORDINATOR_NOT_AVAILABLE;
	struct member *m;
	int16_t err = group_check_member(g, gr, req->member_id, req->group_instance_id, &m);
	if (err)
		return err;
	if (req->generation_id != gr->generation)
		return KERR_ILLEGAL_GENERATION;
	group_session_start(g, m, now_ms);
	return gr->state == GROUP_PREPARING ? KERR_REBALANCE_IN_PROGRESS : 0;
}

void groups_heartbeat(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	struct kp_heartbeat_response *resp = c->response;
	list_init(&c->link);
	kp_heartbeat_response_init(resp);
	resp->error_code = heartbeat(g, c->request, now_ms);
	answer(out, c);
}

/* ---- leave ---- */

static int16_t leave_one(struct groups *g, struct group *gr, struct slice id, struct slice instance, int64_t now_ms, struct groups_out *out)
{
	struct member *m;
	if (!id.len) {
		/* an administrator removes a static member by its name */
		m = instance.ptr ? group_member_of_instance(g, gr, instance) : NULL;
		if (!m)
			return KERR_UNKNOWN_MEMBER_ID;
	} else {
		m = group_member_find(g, gr, id);
		if (!m || !m->pending) {
			int16_t err = group_check_member(g, gr, id, instance, &m);
			if (err)
				return err;
		}
	}
	group_remove_and_update(g, m, id.len ? "left" : "removed by name", now_ms, out);
	return 0;
}

static void leave_members(struct groups *g, struct group *gr, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_leave_group_request *req = c->request;
	struct kp_leave_group_response *resp = c->response;
	resp->members_count = req->members_count > 0 ? req->members_count : 0;
	resp->members = ARENA_ARRAY(c->arena, struct kp_leave_group_response_members, (size_t)resp->members_count);
	for (int32_t i = 0; i < resp->members_count; i++) {
		const struct kp_leave_group_request_members *m = &req->members[i];
		resp->members[i].member_id = group_copy_to(c->arena, m->member_id);
		resp->members[i].group_instance_id = group_copy_to(c->arena, m->group_instance_id);
		resp->members[i].error_code = gr ? leave_one(g, gr, m->member_id, m->group_instance_id, now_ms, out) : KERR_UNKNOWN_MEMBER_ID;
	}
}

void groups_leave(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	const struct kp_leave_group_request *req = c->request;
	struct kp_leave_group_response *resp = c->response;

	list_init(&c->link);
	kp_leave_group_response_init(resp);
	struct group *gr = req->group_id.len ? group_find(g, req->group_id) : NULL;
	if (!req->group_id.len)
		resp->error_code = KERR_INVALID_GROUP_ID;
	else if (gr && gr->state == GROUP_DEAD)
		resp->error_code = KERR_COORDINATOR_NOT_AVAILABLE;
	else if (c->version >= 3)
		leave_members(g, gr, c, now_ms, out);
	else
		resp->error_code = gr ? leave_one(g, gr, req->member_id, slice_make(NULL, 0), now_ms, out) : KERR_UNKNOWN_MEMBER_ID;
	if (gr)
		group_settle(g, gr);
	answer(out, c);
}
