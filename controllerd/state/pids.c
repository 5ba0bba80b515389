/* pids.c: blocks of producer ids: /latest_producer_id_block, one compare-and-set at a time. See state.h. */
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

enum { BLOCK_IDS = 1000 };

static void next_block(struct state *s);

static void answer(struct state *s, int16_t error, int64_t first)
{
	struct list *n = list_pop_front(&s->pids);
	s->pids_busy = false;
	if (n) {
		struct state_pids_waiter *w = LIST_ENTRY(n, struct state_pids_waiter, link);
		w->fn(w->ctx, w->arg, error, first, error ? 0 : BLOCK_IDS);
		mem_free(w);
	}
	next_block(s);
}

struct block {
	int64_t first;
};

static void on_block(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct block *b = arg;
	int64_t first = b->first;
	mem_free(b);
	if (err == ERR_STALE || !s->active)
		return;
	s->pids_busy = false;
	if (err) /* somebody else took it, or nobody knows: a fresh block, an unused one is no loss */
		next_block(s);
	else
		answer(s, KERR_NONE, first);
}

static void on_latest(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active)
		return;
	struct zkd_producer_ids last = {.block_end = -1};
	int dec = err ? err : zkd_producer_ids_decode(data, &last);
	if ((dec && dec != ERR_NOENT) || last.block_end < -1 || last.block_end > INT64_MAX - BLOCK_IDS || list_empty(&s->pids)) {
		answer(s, KERR_UNKNOWN_SERVER_ERROR, 0); /* unreadable: handing out ids twice would be worse */
		return;
	}
	if (dec == ERR_NOENT)
		last.block_end = -1;
	struct block *b = MEM_NEW(struct block);
	b->first = last.block_end + 1;
	struct zkd_producer_ids next = {LIST_ENTRY(s->pids.next, struct state_pids_waiter, link)->broker, b->first, b->first + BLOCK_IDS - 1};
	struct str json = {0};
	zkd_producer_ids_encode(&json, &next);
	struct write *w = write_new(WRITE_FAST, on_block, s, b);
	if (err == ERR_NOENT)
		write_create(w, ZKP_PRODUCER_IDS, slice_make(json.ptr, json.len));
	else
		write_set(w, ZKP_PRODUCER_IDS, slice_make(json.ptr, json.len), st->version);
	writer_submit(&s->wr, w);
	str_fini(&json);
}

static void next_block(struct state *s)
{
	if (s->pids_busy || list_empty(&s->pids) || !s->active)
		return;
	s->pids_busy = true;
	calls_get(&s->calls, ZKP_PRODUCER_IDS, on_latest, NULL);
}

void state_producer_ids(struct state *s, int32_t broker, void (*fn)(void *ctx, void *arg, int16_t error, int64_t first, int32_t count), void *ctx, void *arg)
{
	struct state_pids_waiter *w = MEM_NEW(struct state_pids_waiter);
	*w = (struct state_pids_waiter){.fn = fn, .ctx = ctx, .arg = arg, .broker = broker};
	list_init(&w->link);
	list_push_back(&s->pids, &w->link);
	next_block(s);
}

void pids_end(struct state *s)
{
	for (struct list *n; (n = list_pop_front(&s->pids));) {
		struct state_pids_waiter *w = LIST_ENTRY(n, struct state_pids_waiter, link);
		w->fn(w->ctx, w->arg, KERR_NOT_CONTROLLER, 0, 0);
		mem_free(w);
	}
	s->pids_busy = false;
}
