/* answer.c: from the results of the parts to one response (facts/replication.md 5, 6; client-quirks.md 6).
 *
 * Order: the session's, or the request's. Byte limits: the owners looked ranges up independently, each with the whole budget; here the
 * first partition with data keeps its range whatever its size (a first batch is sent whole), later ones only as far as they fit;
 * what does not fit stays dirty at its owner and, since partitions that gave data move to the end, comes first next time.
 */
#include <stdlib.h>

#include "brokerd/fetch/fetch_priv.h"

static void drop_file(struct fetch_answer *a)
{
	file_unref(a->file);
	a->file = NULL;
	a->len = 0;
}

static void each_result(struct fetch_head *h, void (*fn)(struct fetch_entry *e, void *ctx), void *ctx)
{
	for (uint32_t i = 0; i < h->part_count; i++) {
		struct fetch_part *p = h->parts[i];
		if (!p)
			continue;
		while (!list_empty(&p->results)) {
			struct fetch_entry *e = LIST_ENTRY(p->results.next, struct fetch_entry, result_link);
			list_remove(&e->result_link);
			fn(e, ctx);
		}
	}
}

static void drop_one(struct fetch_entry *e, void *ctx)
{
	(void)ctx;
	drop_file(&e->answer);
}

static void reset_arenas(struct fetch_head *h)
{
	for (uint32_t i = 0; i < h->part_count; i++)
		if (h->parts[i] && h->parts[i]->arena.bytes_used)
			arena_reset(&h->parts[i]->arena);
}

void fetch_answer_drop(struct fetch_head *h)
{
	each_result(h, drop_one, NULL);
	reset_arenas(h);
}

void fetch_answer_error(struct fetch_call *c, int16_t error)
{
	kp_fetch_response_init(&c->response);
	c->response.error_code = error;
}

struct gather {
	struct fetch_entry **list;
	size_t count, cap;
};

static void gather_one(struct fetch_entry *e, void *ctx)
{
	struct gather *g = ctx;
	MEM_GROW(g->list, g->cap, g->count + 1);
	g->list[g->count++] = e;
}

static int by_order(const void *x, const void *y)
{
	const struct fetch_entry *a = *(struct fetch_entry *const *)x, *b = *(struct fetch_entry *const *)y;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Orphans (unknown topic ids) are part of every answer. */
static void gather_orphans(struct fetch_head *h, struct gather *g)
{
	LIST_FOR(it, &h->orphans) {
		struct fetch_entry *e = LIST_ENTRY(it, struct fetch_entry, in_link);
		e->answer = (struct fetch_answer){
			.error = h->by_id ? KERR_UNKNOWN_TOPIC_ID : KERR_UNKNOWN_TOPIC_OR_PARTITION, .high_watermark = -1, .last_stable_offset = -1,
			.log_start_offset = -1, .diverging_epoch = -1, .diverging_end = -1, .leader_id = -1, .leader_epoch = -1,
		};
		gather_one(e, g);
	}
}

/* Section 5: sizes, in order. */
static void apply_budget(struct gather *g, uint64_t budget)
{
	bool any = false;
	for (size_t i = 0; i < g->count; i++) {
		struct fetch_answer *a = &g->list[i]->answer;
		if (a->len == 0)
			continue;
		uint64_t most = (uint64_t)(g->list[i]->bytes_max > 0 ? g->list[i]->bytes_max : 0);
		most = most < budget ? most : budget;
		if (a->len > most && any) {
			drop_file(a);
			continue;
		}
		any = true;
		budget -= a->len < budget ? a->len : budget;
	}
}

static void set_aborted(struct kp_fetch_response_responses_partitions *out, const struct fetch_answer *a, struct arena *arena, bool committed)
{
	out->aborted_transactions_count = -1; /* null for read_uncommitted */
	if (!committed || a->error)
		return;
	out->aborted_transactions_count = a->len ? a->aborted_count : 0;
	size_t n = (size_t)out->aborted_transactions_count;
	out->aborted_transactions = arena_zalloc(arena, (n + 1) * sizeof(*out->aborted_transactions));
	for (size_t i = 0; i < n; i++) {
		out->aborted_transactions[i].producer_id = a->aborted[i].producer_id;
		out->aborted_transactions[i].first_offset = a->aborted[i].first_offset;
	}
}

static void fill_partition(struct kp_fetch_response_responses_partitions *out, struct fetch_entry *e, struct arena *arena, bool committed)
{
	struct fetch_answer *a = &e->answer;
	kp_fetch_response_responses_partitions_init(out);
	out->partition_index = e->partition;
	out->error_code = a->error;
	out->high_watermark = a->high_watermark;
	out->last_stable_offset = a->last_stable_offset;
	out->log_start_offset = a->log_start_offset;
	out->diverging_epoch.epoch = a->diverging_epoch;
	out->diverging_epoch.end_offset = a->diverging_end;
	out->current_leader.leader_id = a->leader_id;
	out->current_leader.leader_epoch = a->leader_epoch;
	set_aborted(out, a, arena, committed);
	out->records.bytes = slice_make("", 0); /* never null: some clients fail the whole answer on it */
	if (a->len == 0)
		return;
	out->records.chain = arena_alloc(arena, sizeof(struct chain));
	chain_init(out->records.chain);
	chain_add_file(out->records.chain, a->file, a->pos, a->len);
	out->records.chain->tail->generation = a->generation;
}

static bool same_topic(const struct fetch_entry *a, const struct fetch_entry *b, bool by_id)
{
	if (by_id)
		return uuid_eq(&a->topic_id, &b->topic_id);
	return slice_eq(slice_make(a->topic, a->topic_len), slice_make(b->topic, b->topic_len));
}

static void fill_topics(struct fetch_head *h, struct fetch_call *c, const struct gather *g, bool committed)
{
	struct kp_fetch_response *r = &c->response;
	size_t topics = 0;
	for (size_t i = 0; i < g->count; i++)
		topics += i == 0 || !same_topic(g->list[i - 1], g->list[i], h->by_id);
	r->responses = arena_zalloc(c->arena, (topics + 1) * sizeof(*r->responses));
	struct kp_fetch_response_responses_partitions *parts = arena_alloc(c->arena, (g->count + 1) * sizeof(*parts));
	for (size_t i = 0; i < g->count; i++) {
		struct fetch_entry *e = g->list[i];
		if (i == 0 || !same_topic(g->list[i - 1], e, h->by_id)) {
			struct kp_fetch_response_responses *t = &r->responses[r->responses_count++];
			kp_fetch_response_responses_init(t);
			/* a copy: the answer of a session may be encoded on another loop, after the session moved on */
			t->topic = h->by_id ? slice_make("", 0) : slice_make(arena_strndup(c->arena, e->topic, e->topic_len), e->topic_len);
			t->topic_id = e->topic_id;
			t->partitions = &parts[i];
		}
		r->responses[r->responses_count - 1].partitions_count++;
		fill_partition(&parts[i], e, c->arena, committed);
	}
}

/* What the session's next answers are compared with; who gave data goes to the end. */
static void remember(struct fetch_head *h, struct gather *g)
{
	for (size_t i = 0; i < g->count; i++) {
		struct fetch_entry *e = g->list[i];
		if (e->answer.error) {
			e->sent_hw = e->sent_start = -1;
		} else {
			e->sent_hw = e->answer.high_watermark;
			e->sent_start = e->answer.log_start_offset;
		}
		if (e->answer.len)
			e->order = ++h->order_next;
	}
}

/* In an incremental answer a partition needs a reason: records, a moved high watermark or start, divergence, an error. */
static void keep_news(struct gather *g)
{
	size_t n = 0;
	for (size_t i = 0; i < g->count; i++) {
		struct fetch_entry *e = g->list[i];
		const struct fetch_answer *a = &e->answer;
		if (a->len || a->error || a->diverging_epoch >= 0 || a->high_watermark != e->sent_hw || a->log_start_offset != e->sent_start)
			g->list[n++] = e;
	}
	g->count = n;
}

void fetch_answer_build(struct fetch_head *h, struct fetch_call *c)
{
	struct gather g = {0};
	bool full = !h->session || c->version < 7 || c->request->session_epoch <= 0;
	bool committed = h->follower < 0 && c->request->isolation_level == 1;
	each_result(h, gather_one, &g);
	gather_orphans(h, &g);
	if (g.count > 1)
		qsort(g.list, g.count, sizeof(*g.list), by_order);
	apply_budget(&g, (uint64_t)h->max_bytes);
	if (!full)
		keep_news(&g);
	kp_fetch_response_init(&c->response);
	c->response.session_id = h->session && !h->closed ? h->id : 0;
	fill_topics(h, c, &g, committed);
	for (size_t i = 0; i < g.count; i++) {
		file_unref(g.list[i]->answer.file);
		g.list[i]->answer.file = NULL;
	}
	if (h->session)
		remember(h, &g);
	mem_free(g.list);
	reset_arenas(h);
}
