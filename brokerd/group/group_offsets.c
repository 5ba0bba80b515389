/* group_offsets.c: the offsets of a group: what is committed, what is on its way; OffsetCommit and OffsetFetch (internal-topics.md 4.4).
 *
 * A group's partitions lie in one array, in order of coming into being (a removal moves the last one into the gap); beyond a few an index of
 * open addressing finds them. An entry lives while something is committed or a commit is on its way. */
#include <stdlib.h>
#include <string.h>

#include "brokerd/group/group_priv.h"

#define INDEX_FROM 8 /* fewer are searched one by one */

/* ---- the array and its index ---- */

static uint32_t hash_of(uint32_t topic, int32_t partition)
{
	return hash_mix(topic, (uint32_t)partition);
}

static void index_put(struct group *gr, uint32_t i)
{
	uint32_t at = hash_of(gr->offsets[i].topic, gr->offsets[i].partition) & gr->index_mask;
	while (gr->offset_index[at])
		at = (at + 1) & gr->index_mask;
	gr->offset_index[at] = i + 1;
}

static void index_build(struct groups *g, struct group *gr)
{
	uint32_t slots = INDEX_FROM * 4;
	while (slots < gr->offset_cap * 2)
		slots *= 2;
	if (gr->offset_index)
		g->stats.bytes -= ((size_t)gr->index_mask + 1) * sizeof(uint32_t);
	mem_free(gr->offset_index);
	gr->offset_index = mem_zalloc(slots * sizeof(uint32_t));
	gr->index_mask = slots - 1;
	g->stats.bytes += slots * sizeof(uint32_t);
	for (uint32_t i = 0; i < gr->offset_count; i++)
		index_put(gr, i);
}

/* The slot that holds entry i. */
static uint32_t index_slot(const struct group *gr, uint32_t i)
{
	uint32_t at = hash_of(gr->offsets[i].topic, gr->offsets[i].partition) & gr->index_mask;
	while (gr->offset_index[at] != i + 1)
		at = (at + 1) & gr->index_mask;
	return at;
}

/* Takes a slot out and moves up what would no longer be found over the gap. */
static void index_remove(struct group *gr, uint32_t at)
{
	uint32_t gap = at;
	gr->offset_index[gap] = 0;
	for (at = (at + 1) & gr->index_mask; gr->offset_index[at]; at = (at + 1) & gr->index_mask) {
		const struct offset *o = &gr->offsets[gr->offset_index[at] - 1];
		uint32_t home = hash_of(o->topic, o->partition) & gr->index_mask;
		if (((at - home) & gr->index_mask) < ((at - gap) & gr->index_mask))
			continue;
		gr->offset_index[gap] = gr->offset_index[at];
		gr->offset_index[at] = 0;
		gap = at;
	}
}

struct offset *group_offset_find(const struct group *gr, uint32_t topic, int32_t partition)
{
	if (!topic || !gr->offset_count)
		return NULL;
	if (!gr->offset_index) {
		for (uint32_t i = 0; i < gr->offset_count; i++)
			if (gr->offsets[i].topic == topic && gr->offsets[i].partition == partition)
				return &gr->offsets[i];
		return NULL;
	}
	for (uint32_t at = hash_of(topic, partition) & gr->index_mask; gr->offset_index[at]; at = (at + 1) & gr->index_mask) {
		struct offset *o = &gr->offsets[gr->offset_index[at] - 1];
		if (o->topic == topic && o->partition == partition)
			return o;
	}
	return NULL;
}

struct offset *group_offset_get(struct groups *g, struct group *gr, uint32_t topic, int32_t partition)
{
	struct offset *o = group_offset_find(gr, topic, partition);
	if (o)
		return o;
	if (gr->offset_count == gr->offset_cap) {
		uint32_t cap = gr->offset_cap < 4 ? gr->offset_cap + 1 : gr->offset_cap + gr->offset_cap / 2;
		g->stats.bytes += (cap - gr->offset_cap) * sizeof(*o);
		gr->offsets = mem_realloc(gr->offsets, cap * sizeof(*o));
		gr->offset_cap = cap;
	}
	o = &gr->offsets[gr->offset_count++];
	*o = (struct offset){.topic = group_name_ref(g, topic), .partition = partition, .leader_epoch = -1, .offset = -1, .log_offset = -1};
	if (gr->offset_index && gr->offset_count * 2 <= gr->index_mask + 1)
		index_put(gr, gr->offset_count - 1);
	else if (gr->offset_count > INDEX_FROM)
		index_build(g, gr);
	return o;
}

void group_offsets_fini(struct groups *g, struct group *gr)
{
	for (uint32_t i = 0; i < gr->offset_count; i++) {
		if (gr->offsets[i].log_offset >= 0)
			g->stats.offsets--;
		group_extra_free(g, gr->offsets[i].extra);
		group_name_drop(g, gr->offsets[i].topic);
	}
	g->stats.bytes -= gr->offset_cap * sizeof(struct offset);
	if (gr->offset_index)
		g->stats.bytes -= ((size_t)gr->index_mask + 1) * sizeof(uint32_t);
	mem_free(gr->offsets);
	mem_free(gr->offset_index);
	gr->offsets = NULL;
	gr->offset_index = NULL;
	gr->offset_count = gr->offset_cap = 0;
}

void group_offset_settle(struct groups *g, struct group *gr, struct offset *o)
{
	if (o->log_offset >= 0 || o->pending)
		return;
	uint32_t i = (uint32_t)(o - gr->offsets), last = gr->offset_count - 1;
	if (last == 0) {
		group_offsets_fini(g, gr);
		return;
	}
	if (gr->offset_index) {
		uint32_t slot = i == last ? 0 : index_slot(gr, last);
		index_remove(gr, index_slot(gr, i));
		if (i != last) {
			/* it may have moved up */
			slot = index_slot(gr, last);
			gr->offset_index[slot] = i + 1;
		}
	}
	group_name_drop(g, o->topic);
	if (i != last)
		gr->offsets[i] = gr->offsets[last];
	gr->offset_count = last;
}

struct offset_extra *group_extra_make(struct groups *g, struct slice metadata, int64_t expire_ms)
{
	if (!metadata.len && expire_ms < 0)
		return NULL;
	struct offset_extra *e = mem_alloc(sizeof(*e) + metadata.len);
	e->expire_ms = expire_ms;
	e->len = (uint32_t)metadata.len;
	if (metadata.len)
		memcpy(e->metadata, metadata.ptr, metadata.len);
	g->stats.bytes += sizeof(*e) + e->len;
	return e;
}

void group_extra_free(struct groups *g, struct offset_extra *e)
{
	if (!e)
		return;
	g->stats.bytes -= sizeof(*e) + e->len;
	mem_free(e);
}

void group_offset_clear(struct groups *g, struct group *gr, struct offset *o)
{
	if (o->log_offset >= 0)
		g->stats.offsets--;
	group_extra_free(g, o->extra);
	o->extra = NULL;
	o->offset = o->log_offset = -1;
	o->leader_epoch = -1;
	group_offset_settle(g, gr, o);
}

void group_offset_apply(struct groups *g, struct group *gr, struct offset *v)
{
	struct offset *o = group_offset_get(g, gr, v->topic, v->partition);
	if (o->log_offset > v->log_offset) {
		group_extra_free(g, v->extra);
		return;
	}
	if (o->log_offset < 0)
		g->stats.offsets++;
	group_extra_free(g, o->extra);
	o->offset = v->offset;
	o->log_offset = v->log_offset;
	o->commit_ms = v->commit_ms;
	o->leader_epoch = v->leader_epoch;
	o->extra = v->extra;
}

/* ---- commit ---- */

int16_t group_commit_error(int16_t err)
{
	switch (err) {
	case KERR_NETWORK_EXCEPTION:
		return KERR_COORDINATOR_LOAD_IN_PROGRESS;
	case KERR_UNKNOWN_TOPIC_OR_PARTITION:
	case KERR_NOT_ENOUGH_REPLICAS:
	case KERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
		return KERR_COORDINATOR_NOT_AVAILABLE;
	case KERR_NOT_LEADER_OR_FOLLOWER:
	case KERR_KAFKA_STORAGE_ERROR:
		return KERR_NOT_COORDINATOR;
	case KERR_MESSAGE_TOO_LARGE:
	case KERR_RECORD_LIST_TOO_LARGE:
	case KERR_INVALID_FETCH_SIZE:
		return KERR_INVALID_COMMIT_OFFSET_SIZE;
	default:
		return err;
	}
}

static void finish_commit(struct groups_call *c, int16_t err)
{
	struct groups_commit *req = c->response;
	for (uint32_t i = 0; i < req->count; i++)
		if (req->rows[i].error == RESULT_OPEN)
			req->rows[i].error = err;
}

static void fail_commit(struct groups_call *c, int16_t err, struct groups_out *out)
{
	struct groups_commit *req = c->response;
	for (uint32_t i = 0; i < req->count; i++)
		req->rows[i].error = err;
	answer(out, c);
}

/* offset.metadata.max.bytes counts what Java calls characters: UTF-16 units. */
static bool metadata_fits(struct slice s, int32_t max)
{
	int64_t units = 0;
	if ((int64_t)s.len <= max)
		return true;
	for (size_t i = 0; i < s.len; i++)
		units += ((s.ptr[i] & 0xc0) != 0x80) + (s.ptr[i] >= 0xf0);
	return units <= max;
}

/* 4.4: who may commit. */
static int16_t check_commit(struct groups *g, const struct group *gr, const struct groups_commit *req, int64_t now_ms)
{
	struct member *m;
	if (gr->state == GROUP_DEAD)
		return KERR_COORDINATOR_NOT_AVAILABLE;
	if (req->generation < 0 && gr->state == GROUP_EMPTY)
		return 0;
	if (req->generation < 0 && !req->member.len && !req->instance.ptr)
		return KERR_UNKNOWN_MEMBER_ID;
	int16_t err = group_check_member(g, gr, req->member, req->instance, &m);
	if (err)
		return err;
	if (req->generation != gr->generation)
		return KERR_ILLEGAL_GENERATION;
	if (gr->state == GROUP_COMPLETING)
		return KERR_REBALANCE_IN_PROGRESS;
	group_session_start(g, m, now_ms);
	return 0;
}

/* The commits of the write are no longer on their way. */
static void on_committed(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out)
{
	struct group *gr = t->groups[0];
	struct groups_commit *req = t->op->call->response;
	(void)err;
	(void)now_ms;
	(void)out;
	for (uint32_t i = 0; i < req->count; i++) {
		if (req->rows[i].error != RESULT_OPEN)
			continue;
		struct offset *o = group_offset_find(gr, group_name_find(g, req->rows[i].topic), req->rows[i].partition);
		o->pending--;
		group_offset_settle(g, gr, o);
	}
}

static uint32_t mark_rows(struct groups *g, struct groups_commit *req)
{
	uint32_t open = 0;
	for (uint32_t i = 0; i < req->count; i++) {
		if (req->rows[i].error)
			continue;
		bool fits = metadata_fits(req->rows[i].metadata, g->cfg->offset_metadata_max_bytes);
		req->rows[i].error = fits ? RESULT_OPEN : KERR_OFFSET_METADATA_TOO_LARGE;
		open += fits;
	}
	return open;
}

static void write_commit(struct groups *g, struct group *gr, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	struct groups_commit *req = c->response;
	struct pen *p = group_pen_new();
	int64_t expire_ms = req->retention_ms < 0 ? -1 : req->retention_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + req->retention_ms;

	for (uint32_t i = 0; i < req->count; i++) {
		const struct groups_offset *row = &req->rows[i];
		if (row->error != RESULT_OPEN)
			continue;
		uint32_t topic = group_name_get(g, row->topic);
		group_offset_get(g, gr, topic, row->partition)->pending++;
		group_name_drop(g, topic);
		struct offset v = {.partition = row->partition, .leader_epoch = row->leader_epoch, .offset = row->offset,
			.commit_ms = row->commit_timestamp == -1 ? now_ms : row->commit_timestamp};
		group_pen_offset(p, group_id(gr), row->topic, &v, row->metadata, expire_ms);
	}
	struct ticket *t = group_ticket_new(g, on_committed, group_op_new(g, c, finish_commit));
	group_ticket_pin(t, gr);
	group_give_write(group_pen_finish(p), t, out);
}

void groups_commit(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	struct groups_commit *req = c->response;
	struct group *gr = group_find(g, req->group);

	list_init(&c->link);
	if (!gr && req->generation >= 0) {
		fail_commit(c, KERR_ILLEGAL_GENERATION, out);
		return;
	}
	int16_t err = gr ? check_commit(g, gr, req, now_ms) : 0;
	if (err) {
		fail_commit(c, err, out);
		return;
	}
	if (!mark_rows(g, req)) {
		answer(out, c);
		return;
	}
	write_commit(g, gr ? gr : group_get(g, req->group), c, now_ms, out);
}

/* ---- fetch ---- */

static void fetch_one(const struct groups *g, const struct group *gr, struct groups_fetch_row *row, bool stable, struct arena *a)
{
	const struct offset *o = gr ? group_offset_find(gr, group_name_find(g, row->topic), row->partition) : NULL;
	row->offset = -1;
	row->leader_epoch = -1;
	row->metadata = slice_make("", 0);
	row->error = stable && o && o->pending ? KERR_UNSTABLE_OFFSET_COMMIT : 0;
	if (row->error || !o || !offset_shown(g, o))
		return;
	row->offset = o->offset;
	row->leader_epoch = o->leader_epoch;
	row->metadata = group_copy_to(a, offset_metadata(o));
}

static int by_place(const void *x, const void *y)
{
	const struct groups_fetch_row *a = x, *b = y;
	int d = slice_cmp(a->topic, b->topic);
	return d ? d : a->partition < b->partition ? -1 : a->partition > b->partition;
}

void groups_fetch(const struct groups *g, struct groups_fetch *f, struct arena *arena)
{
	const struct group *gr = group_find(g, f->group);
	if (f->all) {
		uint32_t most = gr ? gr->offset_count : 0;
		f->rows = ARENA_ARRAY(arena, struct groups_fetch_row, most);
		f->count = 0;
		for (uint32_t i = 0; i < most; i++)
			if (offset_shown(g, &gr->offsets[i]))
				f->rows[f->count++] = (struct groups_fetch_row){.topic = group_name_text(g, gr->offsets[i].topic), .partition = gr->offsets[i].partition};
		if (f->count)
			qsort(f->rows, f->count, sizeof(*f->rows), by_place);
	}
	for (uint32_t i = 0; i < f->count; i++) {
		fetch_one(g, gr, &f->rows[i], f->require_stable, arena);
		if (f->all)
			f->rows[i].topic = group_copy_to(arena, f->rows[i].topic);
	}
}
