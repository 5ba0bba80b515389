/* group_delete.c: what makes offsets and groups go: OffsetDelete, DeleteGroups (internal-topics.md 4.4), expiry and deleted topics (4.5).
 *
 * All of them write tombstones; the offsets go when those are committed. A group whose last record is on its way out is Dead meanwhile. Records
 * are spread over several writes so that none grows past what the topic takes. */
#include <string.h>

#include "brokerd/group/group_priv.h"

#define WRITE_RECORDS 2000
#define WRITE_BYTES (256 * 1024)

/* Tombstones of one call or of one walk. */
struct sweep {
	struct groups *g;
	struct groups_out *out;
	struct op *op; /* that waits for them; NULL: nobody */
	struct pen *pen;
	struct ticket *ticket;
};

/* The groups that were on their way out are out; or, if that failed, back. */
static void on_swept(struct groups *g, struct ticket *t, int16_t err, int64_t now_ms, struct groups_out *out)
{
	(void)out;
	for (uint32_t i = 0; i < t->group_count; i++) {
		struct group *gr = t->groups[i];
		if (gr->state == GROUP_DEAD && (err || gr->tickets == 1))
			group_to(g, gr, GROUP_EMPTY, now_ms);
	}
}

static void sweep_flush(struct sweep *s)
{
	if (s->pen)
		group_give_write(group_pen_finish(s->pen), s->ticket, s->out);
	s->pen = NULL;
	s->ticket = NULL;
}

static struct pen *sweep_pen(struct sweep *s, struct group *gr)
{
	if (s->pen && (group_pen_count(s->pen) >= WRITE_RECORDS || group_pen_bytes(s->pen) >= WRITE_BYTES))
		sweep_flush(s);
	if (!s->pen) {
		s->pen = group_pen_new();
		s->ticket = group_ticket_new(s->g, on_swept, s->op);
	}
	if (!s->ticket->group_count || s->ticket->groups[s->ticket->group_count - 1] != gr)
		group_ticket_pin(s->ticket, gr);
	return s->pen;
}

/* Nobody and nothing is left once the doomed offsets are gone. */
static bool will_be_bare(const struct group *gr, uint32_t doomed)
{
	return gr->state == GROUP_EMPTY && doomed == gr->offset_count && !(gr->roster && gr->roster->pending_count);
}

/* Writes tombstones for the group's doomed offsets, and for the group if nothing is left of it. */
static void sweep_doomed(struct sweep *s, struct group *gr)
{
	uint32_t doomed = 0;
	for (uint32_t i = 0; i < gr->offset_count; i++) {
		struct offset *o = &gr->offsets[i];
		if (!o->doomed)
			continue;
		o->doomed = 0;
		doomed++;
		group_pen_offset_tombstone(sweep_pen(s, gr), group_id(gr), group_name_text(s->g, o->topic), o->partition);
	}
	if (!will_be_bare(gr, doomed))
		return;
	bool recorded = gr->generation > 0 || gr->meta_offset >= 0;
	if (recorded)
		group_pen_group_tombstone(sweep_pen(s, gr), group_id(gr));
	if (recorded || doomed)
		group_to(s->g, gr, GROUP_DEAD, gr->state_ms);
}

static void doom_all(struct group *gr)
{
	for (uint32_t i = 0; i < gr->offset_count; i++)
		gr->offsets[i].doomed = 1;
}

/* ---- DeleteGroups ---- */

static void finish_delete(struct groups_call *c, int16_t err)
{
	struct groups_delete *req = c->response;
	for (uint32_t i = 0; i < req->count; i++)
		if (req->errors[i] == RESULT_OPEN)
			req->errors[i] = err;
}

static int16_t delete_one(struct sweep *s, struct slice id)
{
	struct group *gr = group_find(s->g, id);
	if (!gr)
		return KERR_GROUP_ID_NOT_FOUND;
	if (gr->state == GROUP_DEAD)
		return KERR_COORDINATOR_NOT_AVAILABLE; /* it is gone once that is committed, not before: whoever reads meanwhile still finds it */
	if (gr->state != GROUP_EMPTY)
		return KERR_NON_EMPTY_GROUP;
	group_roster_drop(s->g, gr); /* ids that were given out go with it */
	doom_all(gr);
	sweep_doomed(s, gr);
	group_settle(s->g, gr);
	return RESULT_OPEN;
}

void groups_delete(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	struct groups_delete *req = c->response;
	struct sweep s = {.g = g, .out = out, .op = group_op_new(g, c, finish_delete)};
	(void)now_ms;
	list_init(&c->link);
	for (uint32_t i = 0; i < req->count; i++)
		req->errors[i] = delete_one(&s, req->groups[i]);
	sweep_flush(&s);
	group_op_settle(s.op, out);
}

/* ---- OffsetDelete ---- */

static void finish_delete_offsets(struct groups_call *c, int16_t err)
{
	struct groups_offset_delete *req = c->response;
	for (uint32_t i = 0; i < req->count; i++)
		if (req->rows[i].error == RESULT_OPEN)
			req->rows[i].error = err;
}

/* Members keep what they subscribe to. The topics get names first: a subscription counts also where nothing is committed. */
static void doom_unsubscribed(struct groups *g, struct group *gr, struct groups_offset_delete *req)
{
	uint32_t *names = mem_alloc(req->count * sizeof(*names)), *topics = NULL;
	size_t count = 0;
	for (uint32_t i = 0; i < req->count; i++)
		names[i] = group_name_get(g, req->rows[i].topic);
	bool active = gr->state != GROUP_EMPTY, known = active && group_roster_subscribed(g, gr, &topics, &count);
	for (uint32_t i = 0; i < req->count; i++) {
		struct groups_offset *row = &req->rows[i];
		struct offset *o = group_offset_find(gr, names[i], row->partition);
		if (active && (!known || group_topics_have(topics, count, names[i]))) {
			row->error = KERR_GROUP_SUBSCRIBED_TO_TOPIC;
			continue;
		}
		row->error = o ? RESULT_OPEN : 0;
		if (o)
			o->doomed = 1;
	}
	for (uint32_t i = 0; i < req->count; i++)
		group_name_drop(g, names[i]);
	mem_free(names);
	mem_free(topics);
}

void groups_delete_offsets(struct groups *g, struct groups_call *c, int64_t now_ms, struct groups_out *out)
{
	struct groups_offset_delete *req = c->response;
	struct group *gr = req->group.len ? group_find(g, req->group) : NULL;
	(void)now_ms;
	list_init(&c->link);
	req->error = 0;
	if (!req->group.len)
		req->error = KERR_INVALID_GROUP_ID;
	else if (!gr)
		req->error = KERR_GROUP_ID_NOT_FOUND;
	else if (gr->state == GROUP_DEAD)
		req->error = KERR_COORDINATOR_NOT_AVAILABLE;
	else if (gr->state != GROUP_EMPTY && !slice_eq_str(group_name_text(g, gr->protocol_type), "consumer"))
		req->error = KERR_NON_EMPTY_GROUP;
	if (req->error || !req->count) {
		answer(out, c);
		return;
	}
	struct sweep s = {.g = g, .out = out, .op = group_op_new(g, c, finish_delete_offsets)};
	doom_unsubscribed(g, gr, req);
	sweep_doomed(&s, gr);
	sweep_flush(&s);
	group_op_settle(s.op, out);
	group_settle(g, gr);
}

/* ---- walks ---- */

/* Calls fn for up to `budget` groups from *at on. fn may free the group that it is given, no other. */
static bool walk(struct groups *g, struct list **at, uint32_t budget, void (*fn)(struct sweep *s, struct group *gr, const void *arg), struct sweep *s, const void *arg)
{
	struct list *it = *at ? *at : g->all.next, *next;
	for (; budget > 0 && it != &g->all; budget--, it = next) {
		next = it->next;
		fn(s, LIST_ENTRY(it, struct group, link), arg);
	}
	*at = it == &g->all ? NULL : it;
	sweep_flush(s);
	return !*at;
}

static bool is_expired(const struct groups *g, const struct group *gr, const struct offset *o, int64_t now_ms)
{
	bool emptied = gr->protocol_type && gr->state == GROUP_EMPTY;
	int64_t since = emptied && gr->state_ms != -1 ? gr->state_ms : o->commit_ms;
	if (o->log_offset < 0)
		return false;
	if (offset_expire_ms(o) >= 0)
		return now_ms >= offset_expire_ms(o);
	return since <= now_ms - g->cfg->offsets_retention_ms; /* since is whatever somebody once wrote: nothing is taken off it */
}

static void expire_one(struct sweep *s, struct group *gr, const void *arg)
{
	struct groups *g = s->g;
	int64_t now_ms = *(const int64_t *)arg;
	uint32_t *topics = NULL;
	size_t count = 0;

	if (gr->state == GROUP_DEAD)
		return;
	bool expires = !gr->protocol_type || gr->state == GROUP_EMPTY ||
		(gr->state == GROUP_STABLE && gr->offset_count && group_roster_subscribed(g, gr, &topics, &count));
	for (uint32_t i = 0; i < gr->offset_count; i++) {
		struct offset *o = &gr->offsets[i];
		/* what a sweep had to leave, as a commit was under way, goes here */
		o->doomed = !o->pending && (offset_gone(g, o) || (expires && is_expired(g, gr, o, now_ms) && !group_topics_have(topics, count, o->topic)));
		g->stats.expired_offsets += o->doomed;
	}
	mem_free(topics);
	sweep_doomed(s, gr);
	group_settle(g, gr);
}

bool groups_expire(struct groups *g, int64_t now_ms, uint32_t budget, struct groups_out *out)
{
	struct sweep s = {.g = g, .out = out};
	return walk(g, &g->expire_at, budget, expire_one, &s, &now_ms);
}

/* ---- deleted topics ---- */

static void gone_free(struct gone *e)
{
	list_remove(&e->link);
	mem_free(e);
}

void group_gone_fini(struct groups *g)
{
	while (!list_empty(&g->gone))
		gone_free(LIST_ENTRY(g->gone.next, struct gone, link));
}

/* What is committed now is what there was. */
static void gone_now(struct groups *g, struct slice topic)
{
	uint32_t name = group_name_find(g, topic);
	if (!name)
		return;
	g->names.by_id[name]->gone_below = g->end;
	g->sweep_wanted = true;
}

void group_gone_after(struct groups *g, const struct ticket *t)
{
	while (!list_empty(&g->gone)) {
		struct gone *e = LIST_ENTRY(g->gone.next, struct gone, link);
		if (e->after != t)
			return;
		gone_now(g, slice_make(e->topic, e->len));
		gone_free(e);
	}
}

void groups_topic_gone(struct groups *g, struct slice topic)
{
	if (g->loaded && list_empty(&g->tickets)) {
		gone_now(g, topic);
		return;
	}
	struct gone *e = mem_zalloc(sizeof(*e) + topic.len);
	e->len = topic.len;
	if (topic.len)
		memcpy(e->topic, topic.ptr, topic.len);
	if (g->loaded)
		e->after = LIST_ENTRY(g->tickets.prev, struct ticket, link);
	list_init(&e->link);
	list_push_back(&g->gone, &e->link);
}

bool groups_sweeping(const struct groups *g)
{
	return g->sweep_wanted || g->sweeping;
}

/* Where a commit of the new topic is under way the record of the former one is left to it: a tombstone would come behind it in the log, and take it
 * along. If that commit fails, expiry finds what is left. */
static void drop_gone(struct sweep *s, struct group *gr, const void *arg)
{
	uint32_t doomed = 0;
	(void)arg;
	if (gr->state == GROUP_DEAD)
		return;
	for (uint32_t i = 0; i < gr->offset_count; i++) {
		struct offset *o = &gr->offsets[i];
		o->doomed = !o->pending && offset_gone(s->g, o);
		doomed += o->doomed;
	}
	if (doomed)
		sweep_doomed(s, gr);
}

bool groups_sweep(struct groups *g, uint32_t budget, struct groups_out *out)
{
	struct sweep s = {.g = g, .out = out};
	if (!groups_sweeping(g))
		return true;
	if (!g->sweeping)
		g->sweep_wanted = false; /* what is deleted from now on takes another round */
	g->sweeping = !walk(g, &g->sweep_at, budget, drop_gone, &s, NULL);
	return !groups_sweeping(g);
}
