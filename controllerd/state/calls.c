/* calls.c: ZooKeeper requests with an owner. See calls.h. */
#include "controllerd/state/calls.h"

#include "common/base/check.h"
#include "common/base/mem.h"

enum call_kind { CALL_GET, CALL_EXISTS, CALL_CHILDREN, CALL_CREATE, CALL_MULTI };
struct call {
	struct list link;
	struct calls *calls;
	enum call_kind kind;
	char *path; /* reads: to send again */
	void *arg;
	union {
		calls_data_fn *data;
		calls_stat_fn *stat;
		calls_names_fn *names;
		calls_create_fn *create;
		calls_multi_fn *multi;
	} fn;
	bool lost;
};

void calls_init(struct calls *c, void *ctx)
{
	*c = (struct calls){.ctx = ctx};
	list_init(&c->all);
	list_init(&c->lost);
}

static struct call *call_new(struct calls *c, enum call_kind kind, const char *path, void *arg)
{
	struct call *q = MEM_NEW(struct call);
	q->calls = c;
	q->kind = kind;
	q->path = path ? mem_strdup(path) : NULL;
	q->arg = arg;
	list_push_back(&c->all, &q->link);
	c->count++;
	return q;
}

static void call_free(struct call *q)
{
	list_remove(&q->link);
	if (!q->lost)
		q->calls->count--;
	mem_free(q->path);
	mem_free(q);
}

static void call_cancel(struct call *q)
{
	void *ctx = q->calls->ctx;
	switch (q->kind) {
	case CALL_GET: q->fn.data(ctx, q->arg, ERR_CANCELLED, (struct slice){NULL, 0}, NULL); break;
	case CALL_EXISTS: q->fn.stat(ctx, q->arg, ERR_CANCELLED, NULL); break;
	case CALL_CHILDREN: q->fn.names(ctx, q->arg, ERR_CANCELLED, NULL); break;
	case CALL_CREATE: q->fn.create(ctx, q->arg, ERR_CANCELLED, NULL); break;
	case CALL_MULTI: q->fn.multi(ctx, q->arg, ERR_CANCELLED, NULL, 0); break;
	}
}

void calls_cancel(struct calls *c)
{
	struct list now;
	list_init(&now);
	for (struct list *n; (n = list_pop_front(&c->all));)
		list_push_back(&now, n);
	for (struct list *n; (n = list_pop_front(&now));) {
		struct call *q = LIST_ENTRY(n, struct call, link);
		q->lost = true;
		c->count--;
		list_push_back(&c->lost, &q->link);
		call_cancel(q);
	}
}

void calls_fini(struct calls *c)
{
	if (!c->all.next)
		return;
	calls_cancel(c);
	while (!list_empty(&c->lost))
		call_free(LIST_ENTRY(c->lost.next, struct call, link));
}

static bool again(struct call *q, int err)
{
	return !q->lost && (err == ERR_UNKNOWN || err == ERR_TIMEOUT);
}

static void on_data(void *p, int err, struct slice data, const struct zk_stat *st)
{
	struct call *q = p;
	if (again(q, err)) {
		zk_get(q->calls->zk, q->path, on_data, q);
		return;
	}
	bool lost = q->lost;
	calls_data_fn *fn = q->fn.data;
	void *ctx = q->calls->ctx, *arg = q->arg;
	call_free(q);
	if (!lost)
		fn(ctx, arg, err, data, st);
}

static void on_stat(void *p, int err, const struct zk_stat *st)
{
	struct call *q = p;
	if (again(q, err)) {
		zk_exists(q->calls->zk, q->path, on_stat, q);
		return;
	}
	bool lost = q->lost;
	calls_stat_fn *fn = q->fn.stat;
	void *ctx = q->calls->ctx, *arg = q->arg;
	call_free(q);
	if (!lost)
		fn(ctx, arg, err, st);
}

static void on_names(void *p, int err, const struct zk_names *names, const struct zk_stat *st)
{
	struct call *q = p;
	if (again(q, err)) {
		zk_children(q->calls->zk, q->path, on_names, q);
		return;
	}
	bool lost = q->lost;
	calls_names_fn *fn = q->fn.names;
	void *ctx = q->calls->ctx, *arg = q->arg;
	call_free(q);
	if (!lost)
		fn(ctx, arg, err, names);
}

static void on_create(void *p, int err, const char *path, const struct zk_stat *st)
{
	struct call *q = p;
	bool lost = q->lost;
	calls_create_fn *fn = q->fn.create;
	void *ctx = q->calls->ctx, *arg = q->arg;
	call_free(q);
	if (!lost)
		fn(ctx, arg, err, st);
}

static void on_multi(void *p, int err, const struct zk_op_result *results, size_t count)
{
	struct call *q = p;
	bool lost = q->lost;
	calls_multi_fn *fn = q->fn.multi;
	void *ctx = q->calls->ctx, *arg = q->arg;
	call_free(q);
	if (!lost)
		fn(ctx, arg, err, results, count);
}

void calls_get(struct calls *c, const char *path, calls_data_fn *fn, void *arg)
{
	struct call *q = call_new(c, CALL_GET, path, arg);
	q->fn.data = fn;
	zk_get(c->zk, path, on_data, q);
}

void calls_exists(struct calls *c, const char *path, calls_stat_fn *fn, void *arg)
{
	struct call *q = call_new(c, CALL_EXISTS, path, arg);
	q->fn.stat = fn;
	zk_exists(c->zk, path, on_stat, q);
}

void calls_children(struct calls *c, const char *path, calls_names_fn *fn, void *arg)
{
	struct call *q = call_new(c, CALL_CHILDREN, path, arg);
	q->fn.names = fn;
	zk_children(c->zk, path, on_names, q);
}

void calls_create(struct calls *c, const char *path, struct slice data, int flags, calls_create_fn *fn, void *arg)
{
	struct call *q = call_new(c, CALL_CREATE, NULL, arg);
	q->fn.create = fn;
	zk_create(c->zk, path, data, flags, on_create, q);
}

void calls_multi(struct calls *c, const struct zk_op *ops, size_t count, calls_multi_fn *fn, void *arg)
{
	struct call *q = call_new(c, CALL_MULTI, NULL, arg);
	q->fn.multi = fn;
	zk_multi(c->zk, ops, count, on_multi, q);
}
