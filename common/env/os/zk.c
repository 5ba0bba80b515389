/* zk.c: the ZooKeeper session as its loop sees it: operations in submission order, events, rights, observers, the chroot.
 *
 * Session states (of `established, connected, rights_lost, expired`), each with how it is reached:
 *   new        from zk_open or zk_reopen
 *   connected  from new, suspended, lost: the thread says CONNECTED
 *   suspended  from connected: the thread says so
 *   lost       from connected or suspended: no contact for 2/3 of the negotiated timeout, by our own timer here, because the thread
 *              may be the one that is stuck. Contact alone brings connected back when the connection never broke (CONNECTED,
 *              resumed).
 *   expired    from any: the server said so; RIGHTS_LOST is told before if it was not yet
 *
 * The chroot is put in front and taken off here, libzookeeper knows nothing of it. Creating "/" under a chroot makes each level of
 * the chroot (existing ones are fine; the answer is that of the last level).
 */
#define _GNU_SOURCE 1
#include "common/env/os/zk_priv.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define REQUEST_BYTES_MAX 1000000 /* the server's limit is 1 MiB less a few; beyond it, it just closes the connection */
#define OP_OVERHEAD 100
#define LOST_POLL_MS 100

struct zk_observer {
	UT_hash_handle hh;
	void (*look_again)(void *ctx, const char *path);
	void *ctx;
	char key[]; /* kind as one character, full path */
};

static const struct zk_ops ops;

static struct os_zk *zk_of(struct zk *zk) { return (struct os_zk *)zk; }

/* ---- commands ---- */

static void cmd_free(struct zk_cmd *c)
{
	mem_free(c->path);
	mem_free(c->data);
	for (size_t i = 0; i < c->ops_count; i++) {
		mem_free((char *)(uintptr_t)c->ops[i].path);
		mem_free((void *)(uintptr_t)c->ops[i].data.ptr);
		if (c->results)
			mem_free((char *)(uintptr_t)c->results[i].path);
	}
	mem_free(c->ops);
	mem_free(c->results);
	mem_free(c->out);
	mem_free(c->out_path);
	for (size_t i = 0; i < c->names_count; i++)
		mem_free(c->names[i]);
	mem_free(c->names);
	mem_free(c);
}

/* "/x" -> "/chroot/x", "/" -> "/chroot" or "/". NULL: no path at all. */
static char *full_path(const struct os_zk *zk, const char *path)
{
	if (!path || path[0] != '/')
		return NULL;
	size_t n = strlen(zk->chroot), m = strlen(path);
	if (n > 0 && m == 1)
		m = 0;
	char *full = mem_alloc(n + m + 1);
	memcpy(full, zk->chroot, n);
	memcpy(full + n, path, m);
	full[n + m] = '\0';
	return full;
}

static const char *shown_path(const struct os_zk *zk, const char *full)
{
	size_t n = strlen(zk->chroot);

	if (!full)
		return NULL;
	if (n == 0 || strncmp(full, zk->chroot, n) != 0)
		return full;
	return full[n] ? full + n : "/";
}

static void *copy_bytes(struct slice data)
{
	if (!data.ptr)
		return NULL;
	uint8_t *p = mem_alloc(data.len + 1); /* empty differs from null */
	memcpy(p, data.ptr, data.len);
	return p;
}

static void call_back(struct os_zk *zk, struct zk_cmd *c)
{
	const struct zk_stat *st = c->err ? NULL : &c->stat;

	if (!c->fn.none)
		return;
	switch (c->kind) {
	case ZKC_GET:
		c->fn.data(c->ctx, c->err, (struct slice){c->out_null ? NULL : c->out, c->out_len}, st);
		break;
	case ZKC_EXISTS:
	case ZKC_SET:
		c->fn.stat(c->ctx, c->err, st);
		break;
	case ZKC_CHILDREN: {
		struct zk_names names = {(const char *const *)c->names, c->names_count};
		c->fn.names(c->ctx, c->err, c->err ? NULL : &names, st);
		break;
	}
	case ZKC_CREATE:
		c->fn.create(c->ctx, c->err, c->err ? NULL : shown_path(zk, c->out_path), st);
		break;
	case ZKC_DELETE:
	case ZKC_END_SESSION:
		c->fn.none(c->ctx, c->err);
		break;
	case ZKC_MULTI: {
		struct zk_op_result *shown = mem_zalloc((c->ops_count + 1) * sizeof(*shown));
		for (size_t i = 0; i < c->ops_count; i++) {
			if (c->results)
				shown[i] = c->results[i];
			else
				shown[i].err = c->err; /* the request as a whole */
			shown[i].path = shown_path(zk, shown[i].path);
		}
		c->fn.multi(c->ctx, c->err, shown, c->ops_count);
		mem_free(shown);
		break;
	}
	default:
		break;
	}
}

static void zk_free(struct os_zk *zk)
{
	struct zk_observer *o, *tmp;

	timer_stop(&zk->rights);
	HASH_ITER (hh, zk->observers, o, tmp) {
		HASH_DEL(zk->observers, o);
		mem_free(o);
	}
	mem_free(zk->chroot);
	mem_free(zk->hosts);
	mem_free(zk);
}

/* An answer is here: everything from the oldest command on that has its answer is told. */
static void on_answer(struct msg *m)
{
	struct zk_cmd *c = CONTAINER_OF(m, struct zk_cmd, msg);
	struct os_zk *zk = c->zk;

	c->answered = true;
	while (!list_empty(&zk->fifo)) {
		c = LIST_ENTRY(zk->fifo.next, struct zk_cmd, fifo);
		if (!c->answered)
			return;
		list_remove(&c->fifo);
		if (c->kind == ZKC_CLOSE) {
			void (*closed)(void *ctx) = c->fn.closed;
			void *ctx = c->ctx;
			cmd_free(c);
			zk_free(zk);
			if (closed)
				closed(ctx);
			return;
		}
		call_back(zk, c);
		cmd_free(c);
	}
}

static void on_answer_unordered(struct msg *m)
{
	struct zk_cmd *c = CONTAINER_OF(m, struct zk_cmd, msg);

	call_back(c->zk, c);
	cmd_free(c);
}

static struct zk_cmd *cmd_new(struct os_zk *zk, enum zk_cmd_kind kind)
{
	struct zk_cmd *c = MEM_NEW(struct zk_cmd);

	ASSERT(!zk->closing);
	c->zk = zk;
	c->kind = kind;
	c->msg.deliver = on_answer;
	list_init(&c->fifo);
	return c;
}

/* In submission order with the others. A request that we refuse ourselves comes back by message, too. */
static void submit(struct zk_cmd *c, size_t bytes, bool valid)
{
	struct os_zk *zk = c->zk;

	list_push_back(&zk->fifo, &c->fifo);
	c->deadline_us = env_now_us(zk->zk.loop->env) + (int64_t)zk->op_timeout_ms * 1000;
	c->err = !valid ? ERR_INVAL : bytes > REQUEST_BYTES_MAX ? ERR_LIMIT : 0;
	if (c->err)
		loop_post(zk->zk.loop, &c->msg);
	else
		os_zk_thread_submit(zk->thread, c);
}

static struct zk_cmd *path_cmd(struct os_zk *zk, enum zk_cmd_kind kind, const char *path, void *ctx)
{
	struct zk_cmd *c = cmd_new(zk, kind);

	c->path = full_path(zk, path);
	c->ctx = ctx;
	return c;
}

static void submit_path(struct zk_cmd *c)
{
	submit(c, c->path ? strlen(c->path) + c->data_len + OP_OVERHEAD : 0, c->path != NULL);
}

static void op_get(struct zk *zk, const char *path, zk_data_fn *fn, void *ctx)
{
	struct zk_cmd *c = path_cmd(zk_of(zk), ZKC_GET, path, ctx);

	c->fn.data = fn;
	submit_path(c);
}

static void op_exists(struct zk *zk, const char *path, zk_stat_fn *fn, void *ctx)
{
	struct zk_cmd *c = path_cmd(zk_of(zk), ZKC_EXISTS, path, ctx);

	c->fn.stat = fn;
	submit_path(c);
}

static void op_children(struct zk *zk, const char *path, zk_names_fn *fn, void *ctx)
{
	struct zk_cmd *c = path_cmd(zk_of(zk), ZKC_CHILDREN, path, ctx);

	c->fn.names = fn;
	submit_path(c);
}

/* The levels of the chroot above the last one; what they answer does not matter. */
static void create_chroot_parents(struct os_zk *zk)
{
	for (const char *at = strchr(zk->chroot + 1, '/'); at; at = strchr(at + 1, '/')) {
		struct zk_cmd *c = cmd_new(zk, ZKC_CREATE);
		c->path = mem_strndup(zk->chroot, (size_t)(at - zk->chroot));
		submit_path(c);
	}
}

static void op_create(struct zk *z, const char *path, struct slice data, int flags, zk_create_fn *fn, void *ctx)
{
	struct os_zk *zk = zk_of(z);

	if (path && strcmp(path, "/") == 0 && zk->chroot[0])
		create_chroot_parents(zk);
	struct zk_cmd *c = path_cmd(zk, ZKC_CREATE, path, ctx);
	c->data = copy_bytes(data);
	c->data_len = data.len;
	c->flags = flags;
	c->fn.create = fn;
	submit_path(c);
}

static void op_set(struct zk *zk, const char *path, struct slice data, int32_t version, zk_stat_fn *fn, void *ctx)
{
	struct zk_cmd *c = path_cmd(zk_of(zk), ZKC_SET, path, ctx);

	c->data = copy_bytes(data);
	c->data_len = data.len;
	c->version = version;
	c->fn.stat = fn;
	submit_path(c);
}

static void op_delete(struct zk *zk, const char *path, int32_t version, zk_void_fn *fn, void *ctx)
{
	struct zk_cmd *c = path_cmd(zk_of(zk), ZKC_DELETE, path, ctx);

	c->version = version;
	c->fn.none = fn;
	submit_path(c);
}

static void op_multi(struct zk *z, const struct zk_op *list, size_t count, zk_multi_fn *fn, void *ctx)
{
	struct os_zk *zk = zk_of(z);
	struct zk_cmd *c = cmd_new(zk, ZKC_MULTI);
	size_t bytes = OP_OVERHEAD;
	bool valid = count > 0;

	c->ctx = ctx;
	c->fn.multi = fn;
	c->ops = mem_zalloc((count + 1) * sizeof(*c->ops));
	c->ops_count = count;
	for (size_t i = 0; i < count; i++) {
		c->ops[i] = list[i];
		c->ops[i].path = full_path(zk, list[i].path);
		c->ops[i].data.ptr = copy_bytes(list[i].data);
		valid = valid && c->ops[i].path;
		bytes += OP_OVERHEAD + list[i].data.len + (c->ops[i].path ? strlen(c->ops[i].path) : 0);
	}
	submit(c, bytes, valid);
}

/* ---- observers ---- */

static char *observer_key(char kind, const char *full, char *out)
{
	out[0] = kind;
	memcpy(out + 1, full, strlen(full) + 1);
	return out;
}

static struct zk_observer *find_observer(struct os_zk *zk, enum zk_observe_kind kind, const char *full)
{
	struct zk_observer *o;
	char *key = mem_alloc(strlen(full) + 2);

	observer_key(kind == ZK_OBSERVE_NODE ? 'n' : 'c', full, key);
	HASH_FIND_STR(zk->observers, key, o);
	mem_free(key);
	return o;
}

static void tell_thread(struct os_zk *zk, enum zk_cmd_kind what, enum zk_observe_kind kind, char *full)
{
	struct zk_cmd *c = cmd_new(zk, what);

	c->path = full;
	c->flags = (int)kind;
	submit(c, 0, true);
}

static void op_observe(struct zk *z, const char *path, enum zk_observe_kind kind, void (*look_again)(void *ctx, const char *path),
		       void *ctx)
{
	struct os_zk *zk = zk_of(z);
	char *full = full_path(zk, path);

	ASSERT(full); /* our own constant, never foreign text */
	struct zk_observer *o = find_observer(zk, kind, full);
	if (!o) {
		o = mem_zalloc(sizeof(*o) + strlen(full) + 2);
		observer_key(kind == ZK_OBSERVE_NODE ? 'n' : 'c', full, o->key);
		HASH_ADD_STR(zk->observers, key, o);
	}
	o->look_again = look_again;
	o->ctx = ctx;
	tell_thread(zk, ZKC_OBSERVE, kind, full);
}

static void op_unobserve(struct zk *z, const char *path, enum zk_observe_kind kind)
{
	struct os_zk *zk = zk_of(z);
	char *full = full_path(zk, path);

	ASSERT(full);
	struct zk_observer *o = find_observer(zk, kind, full);
	if (!o) {
		mem_free(full);
		return;
	}
	HASH_DEL(zk->observers, o);
	mem_free(o);
	tell_thread(zk, ZKC_UNOBSERVE, kind, full);
}

/* ---- events and rights ---- */

static int64_t contact_us(const struct os_zk *zk)
{
	return atomic_load_explicit(&zk->last_contact_us, memory_order_acquire);
}

static void emit(struct os_zk *zk, enum zk_event event, bool resumed)
{
	zk->last.event = event;
	zk->last.resumed = resumed;
	struct zk_event_info ev = zk->last;
	zk->on_event(&zk->zk, zk->ctx, &ev);
}

static void check_rights(void *ctx)
{
	struct os_zk *zk = ctx;
	int64_t now = env_now_us(zk->zk.loop->env);
	int64_t timeout_us = (int64_t)zk->last.timeout_ms * 1000;
	int64_t due = contact_us(zk) + timeout_us * 2 / 3;

	if (!zk->established || zk->expired || zk->closing)
		return;
	if (zk->rights_lost) {
		timer_set_ms(&zk->rights, LOST_POLL_MS);
		if (zk->connected && now - contact_us(zk) < timeout_us / 3) {
			zk->rights_lost = false;
			emit(zk, ZK_CONNECTED, true);
		}
	} else if (now >= due) {
		zk->rights_lost = true;
		timer_set_ms(&zk->rights, LOST_POLL_MS);
		emit(zk, ZK_RIGHTS_LOST, false);
	} else {
		timer_set_us(&zk->rights, due - now);
	}
}

static void on_event_note(struct os_zk *zk, const struct zk_note *n)
{
	zk->last.session = n->ev.session;
	zk->last.timeout_ms = n->ev.timeout_ms;
	switch (n->ev.event) {
	case ZK_CONNECTED:
		zk->established = zk->connected = true;
		zk->rights_lost = false;
		timer_set_us(&zk->rights, 0);
		break;
	case ZK_SUSPENDED:
		zk->connected = false;
		break;
	case ZK_EXPIRED:
		zk->connected = false;
		zk->expired = true;
		timer_stop(&zk->rights);
		if (zk->established && !zk->rights_lost) {
			zk->rights_lost = true;
			emit(zk, ZK_RIGHTS_LOST, false);
		}
		break;
	case ZK_RIGHTS_LOST:
		break;
	}
	emit(zk, n->ev.event, n->ev.resumed);
}

/* How a note of the thread arrives. */
void os_zk_on_note(struct msg *m)
{
	struct zk_note *n = CONTAINER_OF(m, struct zk_note, msg);
	struct os_zk *zk = n->zk;

	if (n->era == zk->era && !zk->closing) {
		if (n->look) {
			struct zk_observer *o = find_observer(zk, n->kind, n->path);
			if (o)
				o->look_again(o->ctx, shown_path(zk, n->path));
		} else {
			on_event_note(zk, n);
		}
	}
	mem_free(n);
}

static bool op_connected(const struct zk *z)
{
	const struct os_zk *zk = (const struct os_zk *)z;

	return zk->connected && !zk->rights_lost && !zk->expired;
}

static int64_t op_last_contact_us(const struct zk *z)
{
	return contact_us((const struct os_zk *)z);
}

/* ---- life ---- */

static void op_reopen(struct zk *z)
{
	struct os_zk *zk = zk_of(z);
	struct zk_observer *o, *tmp;

	HASH_ITER (hh, zk->observers, o, tmp) {
		HASH_DEL(zk->observers, o);
		mem_free(o);
	}
	zk->era++;
	zk->established = zk->connected = zk->rights_lost = zk->expired = false;
	timer_stop(&zk->rights);
	submit(cmd_new(zk, ZKC_REOPEN), 0, true);
}

static void op_close(struct zk *z, void (*closed)(void *ctx), void *ctx)
{
	struct os_zk *zk = zk_of(z);
	struct zk_cmd *c = cmd_new(zk, ZKC_CLOSE);

	c->fn.closed = closed;
	c->ctx = ctx;
	zk->closing = true;
	timer_stop(&zk->rights);
	submit(c, 0, true);
}

static void op_end_session(struct zk *z, const struct zk_session_id *old, void (*done)(void *ctx, int err), void *ctx)
{
	struct os_zk *zk = zk_of(z);
	struct zk_cmd *c = cmd_new(zk, ZKC_END_SESSION);

	c->session = *old;
	c->fn.none = done;
	c->ctx = ctx;
	c->msg.deliver = on_answer_unordered;
	c->deadline_us = env_now_us(zk->zk.loop->env) + (int64_t)zk->op_timeout_ms * 1000;
	os_zk_thread_submit(zk->thread, c);
}

static const struct zk_ops ops = {
	.reopen = op_reopen,
	.close = op_close,
	.end_session = op_end_session,
	.connected = op_connected,
	.last_contact_us = op_last_contact_us,
	.get = op_get,
	.exists = op_exists,
	.children = op_children,
	.create = op_create,
	.set = op_set,
	.del = op_delete,
	.multi = op_multi,
	.observe = op_observe,
	.unobserve = op_unobserve,
};

int os_zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk)
{
	struct os_world *w = os_world_of(l->env);
	const char *slash = cfg->connect ? strchr(cfg->connect, '/') : NULL;
	size_t hosts_len = slash ? (size_t)(slash - cfg->connect) : cfg->connect ? strlen(cfg->connect) : 0;

	loop_assert_owner(l);
	char *hosts = mem_strndup(cfg->connect ? cfg->connect : "", hosts_len);
	if (slash && slash[1] == '\0')
		slash = NULL; /* host:port/ */
	size_t n = slash ? strlen(slash) : 0;
	bool chroot_valid = n == 0 || (slash[n - 1] != '/' && !strstr(slash, "//"));
	if (!os_zk_hosts_valid(hosts) || !chroot_valid || cfg->session_timeout_ms <= 0 || cfg->op_timeout_ms <= 0) {
		mem_free(hosts);
		return ERR_INVAL;
	}
	if (!w->zk)
		w->zk = os_zk_thread_new();
	struct os_zk *zk = MEM_NEW(struct os_zk);
	zk->zk = (struct zk){.ops = &ops, .loop = l};
	zk->hosts = hosts;
	zk->chroot = mem_strdup(slash ? slash : "");
	zk->session_timeout_ms = cfg->session_timeout_ms;
	zk->op_timeout_ms = cfg->op_timeout_ms;
	zk->on_event = cfg->on_event;
	zk->ctx = cfg->ctx;
	zk->thread = w->zk;
	list_init(&zk->fifo);
	timer_init(&zk->rights, l, check_rights, zk);
	submit(cmd_new(zk, ZKC_OPEN), 0, true);
	*ret_zk = &zk->zk;
	return 0;
}
