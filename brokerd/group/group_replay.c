/* group_replay.c: records -> durable state, at load and at run time alike; and transactions, whose commits wait here for their marker.
 *
 * At load a group's record replaces the group. At run time the live group made the record, and may have gone on since: the record then only
 * fixes what it promised, the assignment of its generation. */
#include "brokerd/group/group_priv.h"

/* ---- transactions ---- */

static struct txn *txn_find(const struct groups *g, int64_t producer_id)
{
	for (struct hnode *n = htable_first(&g->txns, hash_mix((uint32_t)(producer_id >> 32), (uint32_t)producer_id)); n; n = htable_next(n)) {
		struct txn *t = CONTAINER_OF(n, struct txn, node);
		if (t->producer_id == producer_id)
			return t;
	}
	return NULL;
}

static struct txn *txn_get(struct groups *g, int64_t producer_id)
{
	struct txn *t = txn_find(g, producer_id);
	if (t)
		return t;
	t = MEM_NEW(struct txn);
	t->producer_id = producer_id;
	list_init(&t->rows);
	list_push_back(&g->txn_list, &t->link);
	group_htable_add(&g->txns, &t->node, hash_mix((uint32_t)(producer_id >> 32), (uint32_t)producer_id));
	return t;
}

static void txn_free(struct groups *g, struct txn *t)
{
	group_htable_remove(&g->txns, &t->node);
	list_remove(&t->link);
	mem_free(t);
}

/* The row's hold on its partition ends. */
static void row_free(struct groups *g, struct txn_row *row)
{
	struct offset *o = group_offset_find(row->group, row->value.topic, row->value.partition);
	o->pending--;
	group_offset_settle(g, row->group, o);
	group_name_drop(g, row->value.topic);
	list_remove(&row->link);
	mem_free(row);
}

static struct txn_row *row_find(const struct txn *t, const struct group *gr, uint32_t topic, int32_t partition)
{
	LIST_FOR(it, &t->rows) {
		struct txn_row *row = LIST_ENTRY(it, struct txn_row, link);
		if (row->group == gr && row->value.topic == topic && row->value.partition == partition)
			return row;
	}
	return NULL;
}

void group_txns_forget(struct groups *g, const struct group *gr, const struct offset *o, int64_t below)
{
	uint32_t topic = o->topic;
	int32_t partition = o->partition;
	LIST_FOR_SAFE(it, next, &g->txn_list) {
		struct txn *t = LIST_ENTRY(it, struct txn, link);
		struct txn_row *row = row_find(t, gr, topic, partition);
		if (row && row->value.log_offset < below) {
			group_extra_free(g, row->value.extra);
			row_free(g, row);
		}
		if (list_empty(&t->rows))
			txn_free(g, t);
	}
}

void group_txns_fini(struct groups *g)
{
	while (!list_empty(&g->txn_list)) {
		struct txn *t = LIST_ENTRY(g->txn_list.next, struct txn, link);
		while (!list_empty(&t->rows)) {
			struct txn_row *row = LIST_ENTRY(t->rows.next, struct txn_row, link);
			group_extra_free(g, row->value.extra);
			row_free(g, row);
		}
		txn_free(g, t);
	}
}

void groups_replay_marker(struct groups *g, int64_t producer_id, bool committed, int64_t offset)
{
	struct txn *t = txn_find(g, producer_id);
	if (!t)
		return;
	LIST_FOR_SAFE(it, next, &t->rows) {
		struct txn_row *row = LIST_ENTRY(it, struct txn_row, link);
		struct group *gr = row->group;
		if (row->value.log_offset > offset)
			continue; /* of a later transaction: this marker was seen before */
		if (committed)
			group_offset_apply(g, gr, &row->value);
		else
			group_extra_free(g, row->value.extra);
		row_free(g, row);
		group_settle(g, gr);
	}
	if (list_empty(&t->rows))
		txn_free(g, t);
}

/* ---- offsets ---- */

static void replay_in_txn(struct groups *g, struct group *gr, struct offset *v, bool tombstone, int64_t producer_id)
{
	struct txn *t = txn_get(g, producer_id);
	const struct offset *o = group_offset_find(gr, v->topic, v->partition);
	struct txn_row *row = o && o->pending ? row_find(t, gr, v->topic, v->partition) : NULL;
	if (tombstone) {
		if (row) {
			group_extra_free(g, row->value.extra);
			row_free(g, row);
		}
		if (list_empty(&t->rows))
			txn_free(g, t);
		return;
	}
	if (row) {
		group_extra_free(g, row->value.extra);
		list_remove(&row->link);
	} else {
		row = MEM_NEW(struct txn_row);
		row->group = gr;
		group_name_ref(g, v->topic);
		group_offset_get(g, gr, v->topic, v->partition)->pending++;
	}
	row->value = *v;
	list_push_back(&t->rows, &row->link);
}

static void replay_offset(struct groups *g, const struct record *r, int64_t offset, int64_t producer_id)
{
	struct group *gr = r->tombstone ? group_find(g, r->group) : group_get(g, r->group);
	if (!gr)
		return;
	uint32_t topic = group_name_get(g, r->topic);
	struct offset v = {.topic = topic, .partition = r->partition, .log_offset = offset};
	if (!r->tombstone) {
		v.offset = r->offset.offset;
		v.leader_epoch = r->offset.leader_epoch;
		v.commit_ms = r->offset.commit_timestamp;
		v.extra = group_extra_make(g, r->offset.metadata, r->offset.expire_timestamp);
	}
	struct offset *o = group_offset_find(gr, topic, r->partition);
	if (producer_id >= 0) {
		replay_in_txn(g, gr, &v, r->tombstone, producer_id);
	} else if (!r->tombstone) {
		group_offset_apply(g, gr, &v);
	} else if (o) {
		if (o->pending) {
			o->pending++; /* so that it stays where it is */
			group_txns_forget(g, gr, o, offset);
			o = group_offset_find(gr, topic, r->partition);
			o->pending--;
		}
		if (o->log_offset < offset)
			group_offset_clear(g, gr, o);
	}
	group_name_drop(g, topic);
	group_settle(g, gr);
}

/* ---- groups ---- */

static void set_names(struct groups *g, struct group *gr, const struct kp_group_metadata_value *v)
{
	uint32_t type = v->protocol_type.len ? group_name_get(g, v->protocol_type) : 0;
	uint32_t protocol = v->protocol.ptr ? group_name_get(g, v->protocol) : 0;
	group_name_drop(g, gr->protocol_type);
	group_name_drop(g, gr->protocol);
	gr->protocol_type = type;
	gr->protocol = protocol;
}

static void load_member(struct groups *g, struct group *gr, const struct kp_group_metadata_value *v, const struct kp_group_metadata_value_members *mv)
{
	struct kp_join_group_request_protocols protocol = {.name = v->protocol.ptr ? v->protocol : slice_make("", 0), .metadata = mv->subscription};
	struct member_spec s = {.id = mv->member_id, .instance = mv->group_instance_id, .client_id = mv->client_id, .client_host = mv->client_host,
		.rebalance_timeout_ms = mv->rebalance_timeout, .session_timeout_ms = mv->session_timeout, .protocols = &protocol, .protocols_count = 1};
	if (group_member_find(g, gr, s.id) || (s.instance.ptr && group_member_of_instance(g, gr, s.instance)))
		return; /* nobody wrote it twice */
	struct member *m = group_member_add(g, gr, &s);
	group_member_set_assignment(g, m, mv->assignment);
	if (v->leader.ptr && slice_eq(v->leader, s.id))
		gr->roster->leader = m;
	group_session_start(g, m, g->base_ms); /* from the end of loading on */
}

static void load_group(struct groups *g, struct group *gr, const struct record *r)
{
	const struct kp_group_metadata_value *v = &r->value;
	struct kp_group_metadata_value_members mv;
	struct slice at = r->members;
	group_roster_drop(g, gr);
	set_names(g, gr, v);
	gr->generation = v->generation;
	gr->state_ms = v->current_state_timestamp;
	gr->state = v->members_count > 0 ? GROUP_STABLE : GROUP_EMPTY;
	for (int32_t i = 0; i < v->members_count; i++) {
		group_record_member(r, i, &at, &mv);
		load_member(g, gr, v, &mv);
	}
	if (gr->roster && gr->roster->count > g->largest)
		g->largest = gr->roster->count;
}

/* The live group wrote it: its assignment holds from now on. */
static void adopt_group(struct groups *g, struct group *gr, const struct record *r)
{
	const struct kp_group_metadata_value *v = &r->value;
	struct kp_group_metadata_value_members mv;
	struct slice bytes = r->members;
	if (gr->generation != v->generation || (gr->state != GROUP_COMPLETING && gr->state != GROUP_STABLE))
		return;
	/* the record has them in the order of the roster; if nobody went since, that is still it */
	struct list *at = gr->roster->members.next;
	for (int32_t i = 0; i < v->members_count; i++) {
		struct member *m = at == &gr->roster->members ? NULL : LIST_ENTRY(at, struct member, link);
		group_record_member(r, i, &bytes, &mv);
		if (m && slice_eq(member_id(m), mv.member_id))
			at = at->next;
		else
			m = group_member_find(g, gr, mv.member_id);
		if (m && !m->pending)
			group_member_set_assignment(g, m, mv.assignment);
	}
	if (gr->state == GROUP_COMPLETING)
		group_to(g, gr, GROUP_STABLE, v->current_state_timestamp);
}

static void forget_group(struct groups *g, struct group *gr)
{
	gr->meta_offset = -1;
	if (gr->roster && gr->roster->count && g->loaded)
		return; /* members came after it */
	if (!g->loaded || gr->state == GROUP_DEAD || gr->state == GROUP_EMPTY) {
		group_roster_drop(g, gr);
		set_names(g, gr, &(struct kp_group_metadata_value){.protocol_type = slice_make("", 0)});
		gr->generation = 0;
		gr->state_ms = -1;
		gr->state = GROUP_EMPTY;
	}
}

static void replay_group(struct groups *g, const struct record *r, int64_t offset)
{
	struct group *gr = r->tombstone ? group_find(g, r->group) : group_get(g, r->group);
	if (!gr || offset <= gr->meta_offset)
		return;
	if (r->tombstone) {
		forget_group(g, gr);
	} else {
		gr->meta_offset = offset;
		if (g->loaded)
			adopt_group(g, gr, r);
		else
			load_group(g, gr, r);
	}
	group_settle(g, gr);
}

int groups_replay(struct groups *g, struct slice key, struct slice value, int64_t offset, int64_t producer_id)
{
	struct record r;
	struct arena a;
	arena_init(&a, 0);
	if (offset >= g->end)
		g->end = offset + 1;
	int err = group_record_parse(key, value, &a, &r);
	if (!err && r.type == RECORD_OFFSET)
		replay_offset(g, &r, offset, producer_id);
	else if (!err)
		replay_group(g, &r, offset);
	arena_fini(&a);
	return err;
}
