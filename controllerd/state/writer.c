/* writer.c: fenced, packed writes. See writer.h. */
#include "controllerd/state/writer.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"

enum { OP_OVERHEAD = 64, MULTI_OPS_MAX = 2000, RETRY_MS = 20 };

struct write {
	struct list link;
	enum write_lane lane;
	write_done_fn *done;
	void *ctx, *arg;
	struct zk_op *ops; /* path and data are ours */
	size_t count, cap, bytes;
	size_t first; /* index of its first op in the multi */
};

struct batch {
	struct list link;
	struct writer *wr;
	enum write_lane lane;
	struct list writes;
	size_t bytes;
};

struct write *write_new(enum write_lane lane, write_done_fn *done, void *ctx, void *arg)
{
	struct write *w = MEM_NEW(struct write);
	list_init(&w->link);
	w->lane = lane;
	w->done = done;
	w->ctx = ctx;
	w->arg = arg;
	return w;
}

static void write_add(struct write *w, enum zk_op_kind kind, const char *path, struct slice data, int32_t version)
{
	MEM_GROW(w->ops, w->cap, w->count + 1);
	struct zk_op *op = &w->ops[w->count++];
	*op = (struct zk_op){.kind = kind, .path = mem_strdup(path), .version = version};
	if (data.ptr)
		op->data = slice_make(mem_strndup((const char *)data.ptr, data.len), data.len);
	w->bytes += strlen(path) + data.len + OP_OVERHEAD;
}

void write_create(struct write *w, const char *path, struct slice data) { write_add(w, ZK_OP_CREATE, path, data, -1); }
void write_create_sequential(struct write *w, const char *prefix, struct slice data)
{
	write_add(w, ZK_OP_CREATE, prefix, data, -1);
	w->ops[w->count - 1].flags = ZK_SEQUENTIAL;
}
void write_set(struct write *w, const char *path, struct slice data, int32_t version) { write_add(w, ZK_OP_SET, path, data, version); }
void write_delete(struct write *w, const char *path, int32_t version) { write_add(w, ZK_OP_DELETE, path, (struct slice){NULL, 0}, version); }
size_t write_ops(const struct write *w) { return w->count; }

static void write_free(struct write *w)
{
	list_remove(&w->link);
	for (size_t i = 0; i < w->count; i++) {
		mem_free((char *)(uintptr_t)w->ops[i].path);
		mem_free((void *)(uintptr_t)w->ops[i].data.ptr);
	}
	mem_free(w->ops);
	mem_free(w);
}

static void write_end(struct write *w, int err, size_t failed, const struct zk_op_result *results)
{
	list_remove(&w->link);
	w->done(w->ctx, w->arg, err, failed, results);
	write_free(w);
}

static void writer_flush(void *p);
static void on_retry(void *p)
{
	struct writer *wr = p;
	if (wr->running)
		loop_defer(wr->loop, &wr->flush);
}

void writer_init(struct writer *wr, struct loop *l, const struct writer_host *host)
{
	*wr = (struct writer){.env = l->env, .loop = l, .host = *host};
	calls_init(&wr->calls, wr);
	for (int i = 0; i < WRITE_LANES; i++)
		list_init(&wr->lanes[i]);
	list_init(&wr->batches);
	deferred_init(&wr->flush, writer_flush, wr);
	timer_init(&wr->retry, l, on_retry, wr);
}

void writer_start(struct writer *wr, struct zk *zk, int32_t epoch_version)
{
	ASSERT(!wr->running);
	wr->calls.zk = zk;
	wr->epoch_version = epoch_version;
	wr->running = true;
}

static void batch_free(struct batch *b)
{
	if (b->lane == WRITE_BULK)
		b->wr->bulk_bytes -= b->bytes;
	list_remove(&b->link);
	mem_free(b);
}

static void end_all(struct list *writes, int err)
{
	for (struct list *n; (n = list_pop_front(writes));)
		write_end(LIST_ENTRY(n, struct write, link), err, 0, NULL);
}

void writer_stop(struct writer *wr)
{
	if (!wr->running)
		return;
	wr->running = false;
	deferred_cancel(wr->loop, &wr->flush);
	timer_stop(&wr->retry);
	calls_cancel(&wr->calls); /* ends the batches that wait for a reply */
	while (!list_empty(&wr->batches)) { /* the ones that wait for a barrier */
		struct batch *b = LIST_ENTRY(wr->batches.next, struct batch, link);
		end_all(&b->writes, ERR_STALE);
		list_remove(&b->link); /* freed by the barrier's answer */
	}
	for (int i = 0; i < WRITE_LANES; i++)
		end_all(&wr->lanes[i], ERR_STALE);
}

void writer_fini(struct writer *wr)
{
	if (!wr->loop)
		return;
	writer_stop(wr);
	calls_fini(&wr->calls);
}

/* What was in a failed multi and not at fault goes back to the front of its lane, in its order. */
static void requeue(struct writer *wr, struct batch *b)
{
	while (!list_empty(&b->writes)) {
		struct list *n = b->writes.prev;
		list_remove(n);
		list_push_front(&wr->lanes[b->lane], n);
	}
	batch_free(b);
	if (wr->running && !timer_armed(&wr->retry))
		timer_set_ms(&wr->retry, RETRY_MS);
}

static void after_barrier(void *p, int err)
{
	struct batch *b = p;
	end_all(&b->writes, err ? ERR_STALE : ERR_UNKNOWN);
	batch_free(b);
}

static void fail_one(struct writer *wr, struct batch *b, int err, size_t failed)
{
	struct write *at_fault = NULL;
	LIST_FOR(n, &b->writes) {
		struct write *w = LIST_ENTRY(n, struct write, link);
		if (failed >= w->first && failed < w->first + w->count)
			at_fault = w;
	}
	if (at_fault)
		list_remove(&at_fault->link);
	requeue(wr, b);
	if (at_fault)
		write_end(at_fault, err, failed - at_fault->first, NULL);
	if (wr->running)
		loop_defer(wr->loop, &wr->flush);
}

static size_t failed_index(const struct zk_op_result *results, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (results[i].err && results[i].err != ERR_ABORTED)
			return i;
	return count;
}

static void on_multi(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct writer *wr = ctx;
	struct batch *b = arg;
	if (!wr->running || err == ERR_CANCELLED || err == ERR_EXPIRED) {
		end_all(&b->writes, ERR_STALE);
		batch_free(b);
		return;
	}
	if (err == 0) {
		for (struct list *n; (n = list_pop_front(&b->writes));) {
			struct write *w = LIST_ENTRY(n, struct write, link);
			write_end(w, 0, 0, results + w->first);
		}
		batch_free(b);
		if (wr->running)
			loop_defer(wr->loop, &wr->flush);
		return;
	}
	if (err == ERR_UNKNOWN) {
		wr->host.barrier(wr->host.ctx, after_barrier, b);
		return;
	}
	if (err == ERR_TIMEOUT) { /* never sent */
		requeue(wr, b);
		return;
	}
	size_t failed = results ? failed_index(results, count) : count;
	if (failed == 0) {
		end_all(&b->writes, ERR_STALE);
		batch_free(b);
		wr->host.deposed(wr->host.ctx);
		return;
	}
	if (failed < count) {
		fail_one(wr, b, err, failed);
		return;
	}
	/* refused as a whole (too large, or a server's limit): each on its own then, and a single one has to hear it */
	if (b->writes.next->next == &b->writes) {
		struct write *w = LIST_ENTRY(b->writes.next, struct write, link);
		write_end(w, err, 0, NULL);
		batch_free(b);
		return;
	}
	LIST_FOR(n, &b->writes)
		LIST_ENTRY(n, struct write, link)->bytes += WRITER_MULTI_MAX; /* not packed with others again */
	requeue(wr, b);
}

static void send_batch(struct writer *wr, struct batch *b)
{
	size_t count = 1;
	LIST_FOR(n, &b->writes)
		count += LIST_ENTRY(n, struct write, link)->count;
	struct zk_op *ops = mem_alloc(sizeof(*ops) * count);
	ops[0] = (struct zk_op){.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = wr->epoch_version};
	size_t at = 1;
	LIST_FOR(n, &b->writes) {
		struct write *w = LIST_ENTRY(n, struct write, link);
		w->first = at;
		memcpy(ops + at, w->ops, sizeof(*ops) * w->count);
		at += w->count;
		wr->writes++;
	}
	wr->multis++;
	list_push_back(&wr->batches, &b->link);
	calls_multi(&wr->calls, ops, count, on_multi, b);
	mem_free(ops);
}

/* Takes writes from the front of a lane as long as they fit into one multi. */
static struct batch *pack(struct writer *wr, enum write_lane lane, size_t bytes_max)
{
	struct batch *b = MEM_NEW(struct batch);
	b->wr = wr;
	b->lane = lane;
	list_init(&b->link);
	list_init(&b->writes);
	size_t ops = 1;
	while (!list_empty(&wr->lanes[lane])) {
		struct write *w = LIST_ENTRY(wr->lanes[lane].next, struct write, link);
		if (!list_empty(&b->writes) && (b->bytes + w->bytes > bytes_max || ops + w->count > MULTI_OPS_MAX))
			break;
		list_remove(&w->link);
		list_push_back(&b->writes, &w->link);
		b->bytes += w->bytes;
		ops += w->count;
	}
	if (lane == WRITE_BULK)
		wr->bulk_bytes += b->bytes;
	return b;
}

static void writer_flush(void *p)
{
	struct writer *wr = p;
	if (!wr->running)
		return;
	while (!list_empty(&wr->lanes[WRITE_FAST]))
		send_batch(wr, pack(wr, WRITE_FAST, WRITER_MULTI_MAX));
	while (!list_empty(&wr->lanes[WRITE_BULK])) {
		/* one alone may be larger than the whole allowance: the node of a large topic */
		const struct write *w = LIST_ENTRY(wr->lanes[WRITE_BULK].next, struct write, link);
		if (wr->bulk_bytes && wr->bulk_bytes + w->bytes > WRITER_BULK_MAX)
			break;
		send_batch(wr, pack(wr, WRITE_BULK, WRITER_BULK_MAX / 2));
	}
}

void writer_submit(struct writer *wr, struct write *w)
{
	ASSERT(w->count > 0);
	if (!wr->running) {
		write_end(w, ERR_STALE, 0, NULL);
		return;
	}
	list_push_back(&wr->lanes[w->lane], &w->link);
	loop_defer(wr->loop, &wr->flush);
}

bool writer_idle(const struct writer *wr)
{
	return list_empty(&wr->batches) && list_empty(&wr->lanes[WRITE_FAST]) && list_empty(&wr->lanes[WRITE_BULK]);
}
