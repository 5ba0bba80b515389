/* group.c: life of a partition's groups, their table, the way of writes out and back, the timer. See group.h. */
#include "brokerd/group/group.h"

#include <string.h>

#include "brokerd/group/group_priv.h"

#define FIRES_MAX 1000 /* deadlines handled by one tick: the rest is due at once, so that the loop comes round in between */

void groups_out_init(struct groups_out *out)
{
	list_init(&out->answered);
	list_init(&out->writes);
}

struct slice group_copy_to(struct arena *a, struct slice s)
{
	if (!s.ptr)
		return s;
	return s.len ? slice_make(arena_strndup(a, (const char *)s.ptr, s.len), s.len) : slice_make("", 0);
}

/* ---- life ---- */

struct groups *groups_new(int32_t partition, int32_t epoch, uint64_t seed, const struct groups_config *cfg)
{
	struct groups *g = MEM_NEW(struct groups);
	g->partition = partition;
	g->epoch = epoch;
	g->cfg = cfg;
	g->seed = seed;
	rng_init(&g->rng, seed);
	list_init(&g->all);
	list_init(&g->txn_list);
	list_init(&g->ops);
	list_init(&g->tickets);
	list_init(&g->gone);
	list_init(&g->lists);
	arena_init(&g->scratch, 0);
	return g;
}

static void fail_calls_of(struct groups *g, struct group *gr, struct groups_out *out)
{
	if (!gr->roster)
		return;
	LIST_FOR(it, &gr->roster->members) {
		struct member *m = LIST_ENTRY(it, struct member, link);
		struct groups_call *join = group_member_take_join(m), *sync = m->sync_call;
		m->sync_call = NULL;
		if (join)
			group_join_error(join, member_id(m), KERR_NOT_COORDINATOR, out);
		if (sync)
			group_answer_sync(g, m, sync, KERR_NOT_COORDINATOR, out);
	}
}

void groups_resign(struct groups *g, struct groups_out *out)
{
	LIST_FOR(it, &g->all)
		fail_calls_of(g, LIST_ENTRY(it, struct group, link), out);
	for (struct list *it; (it = list_pop_front(&g->ops));) {
		struct op *op = LIST_ENTRY(it, struct op, link);
		op->finish(op->call, KERR_NOT_COORDINATOR);
		answer(out, op->call);
		mem_free(op);
	}
}

static void ticket_free(struct groups *g, struct ticket *t)
{
	list_remove(&t->link);
	group_static_undo_free(g, t->undo);
	mem_free(t->groups);
	mem_free(t);
}

void groups_free(struct groups *g)
{
	if (!g)
		return;
	for (struct list *it; (it = list_pop_front(&g->ops));)
		mem_free(LIST_ENTRY(it, struct op, link));
	group_gone_fini(g);
	for (struct list *it; (it = list_pop_front(&g->lists));)
		LIST_ENTRY(it, struct groups_list, link)->g = NULL;
	while (!list_empty(&g->tickets))
		ticket_free(g, LIST_ENTRY(g->tickets.next, struct ticket, link));
	group_txns_fini(g);
	while (!list_empty(&g->all)) {
		struct group *gr = LIST_ENTRY(g->all.next, struct group, link);
		struct groups_out out;
		groups_out_init(&out);
		fail_calls_of(g, gr, &out); /* a process that dies does not resign */
		group_free(g, gr);
	}
	group_htable_fini(&g->by_id);
	group_htable_fini(&g->members);
	group_htable_fini(&g->instances);
	group_htable_fini(&g->protocols);
	group_htable_fini(&g->txns);
	group_htable_fini(&g->names.by_text);
	mem_free(g->names.by_id);
	mem_free(g->names.spare);
	mem_free(g->due.keys);
	arena_fini(&g->scratch);
	mem_free(g);
}

/* ---- the table ---- */

struct group *group_find(const struct groups *g, struct slice id)
{
	for (struct hnode *n = htable_first(&g->by_id, group_hash_text(g, id)); n; n = htable_next(n)) {
		struct group *gr = CONTAINER_OF(n, struct group, node);
		if (slice_eq(group_id(gr), id))
			return gr;
	}
	return NULL;
}

struct group *group_get(struct groups *g, struct slice id)
{
	struct group *gr = group_find(g, id);
	if (gr)
		return gr;
	gr = mem_zalloc(sizeof(*gr) + id.len);
	gr->id_len = (uint16_t)id.len;
	if (id.len)
		memcpy(gr->id, id.ptr, id.len);
	gr->state_ms = gr->meta_offset = -1;
	list_push_back(&g->all, &gr->link);
	group_htable_add(&g->by_id, &gr->node, group_hash_text(g, id));
	g->stats.groups++;
	g->stats.bytes += sizeof(*gr) + gr->id_len;
	return gr;
}

static void skip_cursor(struct groups *g, struct list **at, struct group *gr)
{
	if (*at == &gr->link)
		*at = gr->link.next == &g->all ? NULL : gr->link.next;
}

void group_free(struct groups *g, struct group *gr)
{
	if (gr->state == GROUP_PREPARING || gr->state == GROUP_COMPLETING)
		g->stats.rebalancing--;
	group_roster_drop(g, gr);
	group_offsets_fini(g, gr);
	group_name_drop(g, gr->protocol_type);
	group_name_drop(g, gr->protocol);
	skip_cursor(g, &g->expire_at, gr);
	skip_cursor(g, &g->sweep_at, gr);
	LIST_FOR(it, &g->lists)
		if (LIST_ENTRY(it, struct groups_list, link)->at == &gr->link)
			LIST_ENTRY(it, struct groups_list, link)->at = gr->link.next;
	list_remove(&gr->link);
	group_htable_remove(&g->by_id, &gr->node);
	g->stats.groups--;
	g->stats.bytes -= sizeof(*gr) + gr->id_len;
	mem_free(gr);
}

void group_settle(struct groups *g, struct group *gr)
{
	if (gr->state != GROUP_EMPTY || gr->tickets || gr->offset_count || gr->generation || gr->meta_offset >= 0)
		return;
	if (gr->roster && (gr->roster->count || gr->roster->pending_count))
		return;
	group_free(g, gr);
}

/* ---- writes ---- */

struct ticket *group_ticket_new(struct groups *g, void (*done)(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out), struct op *op)
{
	struct ticket *t = MEM_NEW(struct ticket);
	t->done = done;
	t->op = op;
	if (op)
		op->outstanding++;
	list_push_back(&g->tickets, &t->link);
	return t;
}

void group_ticket_pin(struct ticket *t, struct group *gr)
{
	if ((t->group_count & (t->group_count - 1)) == 0)
		t->groups = mem_realloc(t->groups, sizeof(*t->groups) * (t->group_count ? t->group_count * 2 : 1));
	t->groups[t->group_count++] = gr;
	gr->tickets++;
}

struct op *group_op_new(struct groups *g, struct groups_call *c, void (*finish)(struct groups_call *c, int16_t err))
{
	struct op *op = MEM_NEW(struct op);
	op->call = c;
	op->finish = finish;
	list_push_back(&g->ops, &op->link);
	return op;
}

void group_op_settle(struct op *op, struct groups_out *out)
{
	if (op->outstanding)
		return;
	op->finish(op->call, op->err);
	answer(out, op->call);
	list_remove(&op->link);
	mem_free(op);
}

void group_give_write(struct groups_write *w, struct ticket *t, struct groups_out *out)
{
	w->priv[0] = t;
	list_push_back(&out->writes, &w->link);
}

void groups_write_free(struct groups_write *w)
{
	arena_fini(&w->arena);
	mem_free(w);
}

void groups_written(struct groups *g, struct groups_write *w, int16_t err, int64_t base_offset, int64_t now_ms, struct groups_out *out)
{
	struct ticket *t = w->priv[0];
	struct op *op = t->op;

	for (uint32_t i = 0; !err && i < w->count; i++) {
		const struct groups_record *r = &w->records[i];
		int bad = groups_replay(g, r->key, r->value, base_offset + i, -1);
		ASSERT(bad == 0); /* our own records */
	}
	if (t->done)
		t->done(g, t, err, now_ms, out);
	if (op) {
		if (err && !op->err)
			op->err = group_commit_error(err);
		op->outstanding--;
		group_op_settle(op, out);
	}
	for (uint32_t i = 0; i < t->group_count; i++) {
		t->groups[i]->tickets--;
		group_settle(g, t->groups[i]);
	}
	group_gone_after(g, t);
	ticket_free(g, t);
	groups_write_free(w);
}

/* ---- the timer ---- */

void groups_loaded(struct groups *g, int64_t now_ms, struct groups_out *out)
{
	/* from now on the deadlines that loading gave count from here */
	g->base_ms = now_ms;
	g->loaded = true;
	group_gone_after(g, NULL);
	if ((int64_t)g->largest <= g->cfg->max_size)
		return;
	LIST_FOR(it, &g->all) {
		struct group *gr = LIST_ENTRY(it, struct group, link);
		if (gr->roster && (int64_t)gr->roster->count > g->cfg->max_size)
			group_prepare_rebalance(g, gr, "more members than group.max.size", NULL, now_ms, out);
	}
}

int64_t groups_due_ms(const struct groups *g)
{
	return g->due.count && g->loaded ? g->base_ms + g->due.keys[0].at : INT64_MAX;
}

void groups_tick(struct groups *g, int64_t now_ms, struct groups_out *out)
{
	for (int i = 0; i < FIRES_MAX; i++) {
		struct due *d = group_due_pop(&g->due, rel_ms(g, now_ms));
		if (!d)
			return;
		struct group *gr;
		if (d->kind == DUE_GROUP) {
			gr = CONTAINER_OF(d, struct roster, due)->group;
			group_on_group_due(g, gr, now_ms, out);
		} else {
			struct member *m = CONTAINER_OF(d, struct member, due);
			gr = m->group;
			group_on_member_due(g, m, now_ms, out);
		}
		group_settle(g, gr);
	}
}

/* ---- for the log ---- */

void groups_on_event(struct groups *g, void (*fn)(void *ctx, const struct groups_event *e), void *ctx)
{
	g->on_event = fn;
	g->event_ctx = ctx;
}

void group_tell(const struct groups *g, const struct group *gr, enum groups_event_kind kind, const struct member *m, const char *why, int16_t err)
{
	if (!g->on_event)
		return;
	struct groups_event e = {.kind = kind, .group = group_id(gr), .member = m ? member_id(m) : slice_make(NULL, 0), .protocol = group_name_text(g, gr->protocol),
		.generation = gr->generation, .members = gr->roster ? gr->roster->count : 0, .why = why, .error = err};
	g->on_event(g->event_ctx, &e);
}

struct groups_stats groups_stats(const struct groups *g)
{
	return g->stats;
}
