/* zk_client.c: the seam's ZooKeeper session (common/env/zk.h) on the model's servers.
 *
 * States and how they are reached:
 *   CONNECTING  zk_open, zk_reopen, or the connection was lost (the session may live)
 *   CONNECTED   a server took the session on
 *   EXPIRED     the server said that it is gone
 *   CLOSING     zk_close
 * Operations go to `sent` (in order of submission) while connected, else to `waiting`. What fails without a server (too large, no
 * session) takes its place in the same queue. When a connection is lost everything in `sent` is UNKNOWN.
 * Observations keep what their server has for them; after a reconnect they are set again relative to the last zxid seen, as
 * libzookeeper does it, and those whose setting was under way are set anew and looked at.
 */
#include <string.h>

#include "common/env/sim/zk_priv.h"

enum client_state { ZKS_CONNECTING, ZKS_CONNECTED, ZKS_EXPIRED, ZKS_CLOSING };

struct zk_obs {
	struct zk_obs *next;
	char *path; /* absolute */
	enum zk_observe_kind kind;
	void (*look_again)(void *ctx, const char *path);
	void *ctx;
	int armed;
	bool fired, look_when_armed;
	struct zk_req *arming; /* one reference */
};

struct ender {
	struct list link;
	struct sim_event ev;
	struct zk_client *z;
	struct zk_session_id id;
	void (*done)(void *ctx, int err);
	void *ctx;
	int64_t deadline;
	int err, server;
	bool decided;
};

struct req_queue {
	struct zk_req *head, *tail;
};

struct zk_client {
	struct zk zk; /* first */
	struct list link; /* of the process */
	struct sim_world *w;
	struct sim_process *p;
	struct sim_loop *l;
	char *chroot; /* "" or "/x/y" */
	struct zk_config cfg;
	int servers[ZK_SERVERS_MAX], servers_n, next_server;
	enum client_state state;
	struct zk_session_id session;
	int32_t timeout_ms;
	bool has_session, rights_lost, fired;
	int64_t last_zxid, heard_us, sent_us, connect_us, attempt_until, close_until;
	struct zk_link *k;
	struct req_queue waiting, sent;
	struct zk_obs *obs, **obs_tail;
	struct sim_event tick, local;
	struct list enders;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

static struct zk_client *client_of(struct zk *zk)
{
	return (struct zk_client *)zk;
}

static void client_free(struct zk_client *z);
static void schedule_tick(struct zk_client *z);
static void client_lost(struct zk_client *z);

/* ---- queues and completion ---- */

static void queue_push(struct req_queue *q, struct zk_req *r)
{
	r->next = NULL;
	if (q->tail)
		q->tail->next = r;
	else
		q->head = r;
	q->tail = r;
}

static struct zk_req *queue_pop(struct req_queue *q)
{
	struct zk_req *r = q->head;

	q->head = r->next;
	if (!q->head)
		q->tail = NULL;
	r->next = NULL;
	return r;
}

static struct zk_req *req_new(struct zk_client *z, enum zk_req_kind kind)
{
	struct zk_req *r = MEM_NEW(struct zk_req);

	r->refs = 1;
	r->kind = kind;
	return r;
}

static const char *relative(const struct zk_client *z, const char *path)
{
	size_t n = strlen(z->chroot);

	return path[n] ? path + n : "/";
}

static void complete_multi(struct zk_client *z, struct zk_req *r, int err)
{
	struct zk_op_result *results = NULL;
	size_t n = 0;

	if (r->results) {
		n = r->ops_n;
		results = mem_zalloc((n + 1) * sizeof(*results));
		for (size_t i = 0; i < n; i++) {
			results[i].err = r->results[i].err;
			if (err)
				continue;
			const struct zk_stat *st = &r->results[i].stat;
			results[i].stat = *st;
			if (r->ops[i].kind == ZK_OP_CREATE) /* no more than libzookeeper tells of it */
				results[i].stat = (struct zk_stat){.data_len = st->data_len, .ephemeral_owner = st->ephemeral_owner};
			if (r->results[i].path)
				results[i].path = relative(z, r->results[i].path);
		}
	}
	r->fn.multi(r->ctx, err, results, n);
	mem_free(results);
}

static void complete(struct zk_client *z, struct zk_req *r, int err)
{
	const struct zk_op_result *first = !err && r->results ? &r->results[0] : NULL;

	switch (r->call) {
	case ZKC_GET:
		r->fn.data(r->ctx, err, !err && r->data ? slice_make(r->data->data, r->data_len) : (struct slice){0}, err ? NULL : &r->stat);
		break;
	case ZKC_EXISTS:
		r->fn.stat(r->ctx, err, err ? NULL : &r->stat);
		break;
	case ZKC_CHILDREN: {
		struct zk_names names = {.names = (const char *const *)r->names, .count = r->names_n};
		r->fn.names(r->ctx, err, err ? NULL : &names, err ? NULL : &r->stat);
		break;
	}
	case ZKC_CREATE:
		r->fn.create(r->ctx, err, first && first->path ? relative(z, first->path) : NULL, first ? &first->stat : NULL);
		break;
	case ZKC_SET:
		r->fn.stat(r->ctx, err, first ? &first->stat : NULL);
		break;
	case ZKC_DELETE:
		r->fn.done(r->ctx, err);
		break;
	case ZKC_MULTI:
		complete_multi(z, r, err);
		break;
	case ZKC_NONE:
		break;
	}
	zk_req_unref(r);
}

static void fail_all(struct zk_client *z, struct req_queue *q, int err)
{
	struct req_queue mine = *q;

	*q = (struct req_queue){0};
	while (mine.head) {
		struct zk_req *r = queue_pop(&mine);
		complete(z, r, r->local ? r->err : err);
	}
}

/* Those at the front that need no server. */
static void complete_locals(struct zk_client *z)
{
	while (z->sent.head && z->sent.head->local) {
		struct zk_req *r = queue_pop(&z->sent);
		complete(z, r, r->err);
	}
}

static void run_locals(struct sim_event *e)
{
	complete_locals(CONTAINER_OF(e, struct zk_client, local));
}

static void send_req(struct zk_client *z, struct zk_req *r)
{
	z->sent_us = sim_now(z->w);
	zk_link_send(z->k, r);
}

static void submit(struct zk_client *z, struct zk_req *r, int err)
{
	if (z->p->dead) {
		zk_req_unref(r);
		return;
	}
	ASSERT(z->state != ZKS_CLOSING);
	if (!err && z->state == ZKS_EXPIRED)
		err = ERR_EXPIRED;
	if (err) {
		r->local = true;
		r->err = err;
	}
	if (z->state == ZKS_CONNECTING && err != ERR_EXPIRED) {
		r->deadline = sim_now(z->w) + (int64_t)z->cfg.op_timeout_ms * 1000;
		queue_push(&z->waiting, r);
		schedule_tick(z);
		return;
	}
	queue_push(&z->sent, r);
	if (r->local && z->sent.head == r)
		sim_schedule(z->w, &z->local, sim_now(z->w) + 1);
	else if (!r->local)
		send_req(z, r);
}

/* ---- events ---- */

static void emit(struct zk_client *z, enum zk_event event, bool resumed)
{
	static const char *const names[] = {"connected", "suspended", "rights lost", "expired"};
	struct zk_event_info info = {.event = event, .session = z->session, .timeout_ms = z->timeout_ms, .resumed = resumed};

	sim_rec(z->w, REC_ZK_EVENT, z->p->id, (uint64_t)event, (uint64_t)z->session.id);
	SIM_TEXT(z->w, "zk    %s session %llx %s", z->p->name, (long long)z->session.id, names[event]);
	if (z->cfg.on_event)
		z->cfg.on_event(&z->zk, z->cfg.ctx, &info);
}

static void obs_drop_arming(struct zk_obs *o)
{
	if (!o->arming)
		return;
	o->arming->obs = NULL;
	zk_req_unref(o->arming);
	o->arming = NULL;
}

static void obs_free(struct zk_obs *o)
{
	obs_drop_arming(o);
	mem_free(o->path);
	mem_free(o);
}

static void drop_observations(struct zk_client *z)
{
	while (z->obs) {
		struct zk_obs *o = z->obs;
		z->obs = o->next;
		obs_free(o);
	}
	z->obs_tail = &z->obs;
}

static void obs_arm(struct zk_client *z, struct zk_obs *o, bool look)
{
	struct zk_req *r = req_new(z, ZKR_ARM);

	obs_drop_arming(o);
	o->armed = ZKA_NONE;
	o->look_when_armed = look;
	o->arming = r;
	r->obs = o;
	r->obs_kind = o->kind;
	r->path = mem_strdup(o->path);
	send_req(z, r);
}

/* First thing on a new connection: what the old one had, relative to the last zxid seen; then what it did not have yet. */
static void rearm_all(struct zk_client *z)
{
	struct zk_req *r = req_new(z, ZKR_SET_WATCHES);
	size_t n = 0;

	for (struct zk_obs *o = z->obs; o; o = o->next)
		n += o->armed != ZKA_NONE;
	r->last_zxid = z->last_zxid;
	r->rewatch = mem_zalloc((n + 1) * sizeof(*r->rewatch));
	for (struct zk_obs *o = z->obs; o; o = o->next)
		if (o->armed != ZKA_NONE)
			r->rewatch[r->rewatch_n++] = (struct zk_rewatch){.path = mem_strdup(o->path), .armed = o->armed};
	if (n)
		send_req(z, r);
	zk_req_unref(r);
	for (struct zk_obs *o = z->obs; o; o = o->next)
		if (o->armed == ZKA_NONE)
			obs_arm(z, o, true);
}

static void client_connected(struct zk_client *z, struct zk_req *r)
{
	bool resumed = z->has_session;

	z->state = ZKS_CONNECTED;
	z->session.id = r->session;
	memcpy(z->session.password, r->password, sizeof(r->password));
	z->timeout_ms = r->timeout_ms;
	z->has_session = true;
	z->rights_lost = false;
	z->attempt_until = 0;
	rearm_all(z);
	struct req_queue mine = z->waiting;
	z->waiting = (struct req_queue){0};
	while (mine.head) {
		struct zk_req *next = queue_pop(&mine);
		queue_push(&z->sent, next);
		if (!next->local)
			send_req(z, next);
	}
	if (z->sent.head && z->sent.head->local)
		sim_schedule(z->w, &z->local, sim_now(z->w) + 1);
	schedule_tick(z);
	emit(z, ZK_CONNECTED, resumed);
}

static void heard(struct zk_client *z, int64_t zxid)
{
	z->heard_us = sim_now(z->w);
	if (zxid > z->last_zxid)
		z->last_zxid = zxid;
}

static void obs_armed(struct zk_client *z, struct zk_req *r)
{
	struct zk_obs *o = r->obs;

	if (!o)
		return;
	obs_drop_arming(o);
	o->armed = r->armed;
	if (o->look_when_armed) {
		o->look_when_armed = false;
		o->look_again(o->ctx, relative(z, o->path));
	}
}

static void client_finish_close(struct zk_client *z)
{
	void (*closed)(void *ctx) = z->closed;
	void *ctx = z->closed_ctx;

	fail_all(z, &z->sent, ERR_UNKNOWN);
	fail_all(z, &z->waiting, ERR_CLOSED);
	struct list *n;
	while ((n = list_pop_front(&z->enders))) {
		struct ender *d = LIST_ENTRY(n, struct ender, link);
		sim_unschedule(z->w, &d->ev);
		if (d->done)
			d->done(d->ctx, ERR_CLOSED);
		mem_free(d);
	}
	if (z->k)
		zk_link_client_gone(z->k);
	z->k = NULL;
	list_remove(&z->link);
	client_free(z);
	if (closed)
		closed(ctx);
}

void zk_client_reply(struct zk_client *z, struct zk_req *r, int64_t zxid)
{
	if (r->kind != ZKR_CONNECT)
		heard(z, zxid);
	else
		z->heard_us = sim_now(z->w);
	switch (r->kind) {
	case ZKR_CONNECT:
		client_connected(z, r);
		break;
	case ZKR_CLOSE:
		client_finish_close(z);
		break;
	case ZKR_ARM:
		obs_armed(z, r);
		break;
	case ZKR_PING:
	case ZKR_SET_WATCHES:
		break;
	default:
		ASSERT(z->sent.head == r);
		queue_pop(&z->sent);
		complete(z, r, r->err);
		complete_locals(z);
		break;
	}
}

void zk_client_watch(struct zk_client *z, const char *path, int bits, int64_t zxid)
{
	heard(z, zxid);
	for (struct zk_obs *o = z->obs; o; o = o->next) {
		int mine = o->armed == ZKA_CHILD ? ZKW_CHILD : o->armed != ZKA_NONE ? ZKW_NODE : 0;
		o->fired |= (mine & bits) && !strcmp(o->path, path);
	}
	/* A callback may add and remove observations: look from the front each time. */
	for (;;) {
		struct zk_obs *o = z->obs;
		while (o && !o->fired)
			o = o->next;
		if (!o)
			return;
		o->fired = false;
		if (z->state == ZKS_CONNECTED)
			obs_arm(z, o, false);
		else
			o->armed = ZKA_NONE;
		o->look_again(o->ctx, relative(z, o->path));
	}
}

void zk_client_expired(struct zk_client *z)
{
	zk_link_client_gone(z->k);
	z->k = NULL;
	if (z->state == ZKS_CLOSING) {
		client_finish_close(z);
		return;
	}
	z->state = ZKS_EXPIRED;
	drop_observations(z);
	if (!z->rights_lost) {
		z->rights_lost = true;
		emit(z, ZK_RIGHTS_LOST, false);
	}
	fail_all(z, &z->waiting, ERR_EXPIRED);
	emit(z, ZK_EXPIRED, false);
}

void zk_client_lost(struct zk_client *z)
{
	client_lost(z);
}

static void client_lost(struct zk_client *z)
{
	bool was = z->state == ZKS_CONNECTED;

	zk_link_client_gone(z->k);
	z->k = NULL;
	z->attempt_until = 0;
	if (z->state == ZKS_CLOSING) {
		client_finish_close(z);
		return;
	}
	z->state = ZKS_CONNECTING;
	z->connect_us = sim_now(z->w) + 5000 + (int64_t)rng_below(&z->w->rng, was ? 30000 : 300000);
	for (struct zk_obs *o = z->obs; o; o = o->next)
		obs_drop_arming(o);
	schedule_tick(z);
	if (!was)
		return;
	emit(z, ZK_SUSPENDED, false);
	fail_all(z, &z->sent, ERR_UNKNOWN);
}

/* ---- connecting, time ---- */

static void attempt(struct zk_client *z)
{
	struct sim_world *w = z->w;
	struct zk_server *s = &w->zk->servers[z->servers[z->next_server++ % z->servers_n]];
	int64_t wait = (int64_t)(z->timeout_ms ? z->timeout_ms : z->cfg.session_timeout_ms) * 1000 / 3;

	z->connect_us = 0;
	if (!sim_net_reachable(w, z->p->host, s->host)) {
		z->connect_us = sim_now(w) + wait / z->servers_n; /* no answer at all */
		return;
	}
	if (!s->up) { /* refused */
		z->connect_us = sim_now(w) + 2 * sim_net_latency(w, z->p->host, s->host, 40) + 10000 + (int64_t)rng_below(&w->rng, 200000);
		return;
	}
	struct zk_req *r = req_new(z, ZKR_CONNECT);
	z->k = zk_link_open(w->zk, z, z->p->host, z->l, s);
	r->session = z->has_session ? z->session.id : 0;
	memcpy(r->password, z->session.password, sizeof(r->password));
	r->last_zxid = z->last_zxid;
	r->timeout_ms = z->cfg.session_timeout_ms;
	z->attempt_until = sim_now(w) + wait;
	send_req(z, r);
	zk_req_unref(r);
}

static void expire_waiting(struct zk_client *z, int64_t now)
{
	while (z->waiting.head && z->waiting.head->deadline <= now) {
		struct zk_req *r = queue_pop(&z->waiting);
		complete(z, r, r->local ? r->err : ERR_TIMEOUT);
	}
}

static int64_t rights_until(const struct zk_client *z)
{
	return z->heard_us + (int64_t)z->timeout_ms * 2000 / 3;
}

static void client_tick(struct sim_event *e)
{
	struct zk_client *z = CONTAINER_OF(e, struct zk_client, tick);
	int64_t now = sim_now(z->w);

	if (z->state == ZKS_CLOSING) {
		if (now >= z->close_until)
			client_finish_close(z);
		else
			schedule_tick(z);
		return;
	}
	if (z->state == ZKS_CONNECTED) {
		if (now >= rights_until(z)) {
			client_lost(z);
		} else if (now >= z->sent_us + (int64_t)z->timeout_ms * 1000 / 3) {
			struct zk_req *r = req_new(z, ZKR_PING);
			send_req(z, r);
			zk_req_unref(r);
		}
	} else if (z->state == ZKS_CONNECTING) {
		if (z->k && now >= z->attempt_until)
			client_lost(z);
		else if (!z->k && now >= z->connect_us)
			attempt(z);
	}
	if (z->has_session && !z->rights_lost && z->state == ZKS_CONNECTING && now >= rights_until(z)) {
		z->rights_lost = true;
		emit(z, ZK_RIGHTS_LOST, false);
	}
	expire_waiting(z, now);
	schedule_tick(z);
}

static void schedule_tick(struct zk_client *z)
{
	int64_t at = INT64_MAX;

	if (z->state == ZKS_CLOSING) {
		at = z->close_until;
	} else if (z->state == ZKS_CONNECTED) {
		int64_t ping = z->sent_us + (int64_t)z->timeout_ms * 1000 / 3;
		at = rights_until(z) < ping ? rights_until(z) : ping;
	} else if (z->state == ZKS_CONNECTING) {
		at = z->k ? z->attempt_until : z->connect_us;
		if (z->has_session && !z->rights_lost && rights_until(z) < at)
			at = rights_until(z);
	}
	if (z->waiting.head && z->waiting.head->deadline < at)
		at = z->waiting.head->deadline;
	if (at == INT64_MAX)
		sim_unschedule(z->w, &z->tick);
	else
		sim_schedule(z->w, &z->tick, at);
}

/* ---- calls ---- */

static bool path_ok(const char *path)
{
	size_t n = strlen(path);

	if (path[0] != '/')
		return false;
	if (n == 1)
		return true;
	return path[n - 1] != '/' && !strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../");
}

static char *absolute(const struct zk_client *z, const char *path)
{
	size_t n = strlen(z->chroot), len = strlen(path);

	if (n && !strcmp(path, "/"))
		return mem_strdup(z->chroot);
	char *out = mem_alloc(n + len + 1);
	memcpy(out, z->chroot, n);
	memcpy(out + n, path, len + 1);
	return out;
}

static struct zk_req *read_req(struct zk *zk, const char *path, enum zk_req_kind kind, enum zk_call call, void *ctx)
{
	struct zk_client *z = client_of(zk);
	struct zk_req *r = req_new(z, kind);

	r->call = call;
	r->path = absolute(z, path);
	r->ctx = ctx;
	return r;
}

static void call_get(struct zk *zk, const char *path, zk_data_fn *fn, void *ctx)
{
	struct zk_req *r = read_req(zk, path, ZKR_GET, ZKC_GET, ctx);

	r->fn.data = fn;
	submit(client_of(zk), r, path_ok(path) ? 0 : ERR_INVAL);
}

static void call_exists(struct zk *zk, const char *path, zk_stat_fn *fn, void *ctx)
{
	struct zk_req *r = read_req(zk, path, ZKR_EXISTS, ZKC_EXISTS, ctx);

	r->fn.stat = fn;
	submit(client_of(zk), r, path_ok(path) ? 0 : ERR_INVAL);
}

static void call_children(struct zk *zk, const char *path, zk_names_fn *fn, void *ctx)
{
	struct zk_req *r = read_req(zk, path, ZKR_CHILDREN, ZKC_CHILDREN, ctx);

	r->fn.names = fn;
	submit(client_of(zk), r, path_ok(path) ? 0 : ERR_INVAL);
}

/* A request of n writes; *ret_err: what is wrong with it. */
static struct zk_req *write_req(struct zk_client *z, const struct zk_op *ops, size_t n, enum zk_call call, void *ctx, int *ret_err)
{
	struct zk_req *r = req_new(z, ZKR_MULTI);
	size_t bytes = call == ZKC_MULTI ? ZK_OP_OVERHEAD : 0;
	int err = n ? 0 : ERR_INVAL;

	r->call = call;
	r->ctx = ctx;
	r->ops = mem_zalloc((n + 1) * sizeof(*r->ops));
	r->ops_n = n;
	for (size_t i = 0; i < n; i++) {
		r->ops[i] = ops[i];
		r->ops[i].path = absolute(z, ops[i].path);
		r->ops[i].data.ptr = NULL;
		bytes += strlen(r->ops[i].path) + ops[i].data.len + ZK_OP_OVERHEAD;
		if (ops[i].data.ptr) {
			uint8_t *copy = mem_alloc(ops[i].data.len + 1);
			if (ops[i].data.len)
				memcpy(copy, ops[i].data.ptr, ops[i].data.len);
			r->ops[i].data.ptr = copy;
		}
		if (!path_ok(ops[i].path))
			err = ERR_INVAL;
	}
	*ret_err = err ? err : bytes > ZK_REQUEST_BYTES_MAX ? ERR_LIMIT : 0;
	return r;
}

/* Creating "/" under a chroot makes each level of it; the answer is that of the last one. */
static void create_chroot_parents(struct zk_client *z)
{
	for (const char *at = strchr(z->chroot + 1, '/'); at; at = strchr(at + 1, '/')) {
		struct zk_req *r = req_new(z, ZKR_MULTI);
		r->ops = mem_zalloc(sizeof(*r->ops));
		r->ops_n = 1;
		r->ops[0] = (struct zk_op){.kind = ZK_OP_CREATE, .path = mem_strndup(z->chroot, (size_t)(at - z->chroot))};
		submit(z, r, 0);
	}
}

static void call_create(struct zk *zk, const char *path, struct slice data, int flags, zk_create_fn *fn, void *ctx)
{
	struct zk_op op = {.kind = ZK_OP_CREATE, .path = path, .data = data, .flags = flags};
	int err;
	if (!strcmp(path, "/") && client_of(zk)->chroot[0])
		create_chroot_parents(client_of(zk));
	struct zk_req *r = write_req(client_of(zk), &op, 1, ZKC_CREATE, ctx, &err);

	r->fn.create = fn;
	submit(client_of(zk), r, err);
}

static void call_set(struct zk *zk, const char *path, struct slice data, int32_t version, zk_stat_fn *fn, void *ctx)
{
	struct zk_op op = {.kind = ZK_OP_SET, .path = path, .data = data, .version = version};
	int err;
	struct zk_req *r = write_req(client_of(zk), &op, 1, ZKC_SET, ctx, &err);

	r->fn.stat = fn;
	submit(client_of(zk), r, err);
}

static void call_del(struct zk *zk, const char *path, int32_t version, zk_void_fn *fn, void *ctx)
{
	struct zk_op op = {.kind = ZK_OP_DELETE, .path = path, .version = version};
	int err;
	struct zk_req *r = write_req(client_of(zk), &op, 1, ZKC_DELETE, ctx, &err);

	r->fn.done = fn;
	submit(client_of(zk), r, err);
}

static void call_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_multi_fn *fn, void *ctx)
{
	int err;
	struct zk_req *r = write_req(client_of(zk), ops, count, ZKC_MULTI, ctx, &err);

	r->fn.multi = fn;
	submit(client_of(zk), r, err);
}

static void call_unobserve(struct zk *zk, const char *path, enum zk_observe_kind kind)
{
	struct zk_client *z = client_of(zk);
	char *abs = absolute(z, path);

	for (struct zk_obs **at = &z->obs; *at; at = &(*at)->next) {
		struct zk_obs *o = *at;
		if (o->kind != kind || strcmp(o->path, abs))
			continue;
		*at = o->next;
		if (!*at)
			z->obs_tail = at;
		obs_free(o);
		break;
	}
	mem_free(abs);
}

static void call_observe(struct zk *zk, const char *path, enum zk_observe_kind kind, void (*look_again)(void *ctx, const char *path), void *ctx)
{
	struct zk_client *z = client_of(zk);

	if (z->p->dead || z->state == ZKS_CLOSING || z->state == ZKS_EXPIRED || !path_ok(path))
		return;
	call_unobserve(zk, path, kind); /* observing again replaces */
	struct zk_obs *o = MEM_NEW(struct zk_obs);
	o->path = absolute(z, path);
	o->kind = kind;
	o->look_again = look_again;
	o->ctx = ctx;
	*z->obs_tail = o;
	z->obs_tail = &o->next;
	if (z->state == ZKS_CONNECTED)
		obs_arm(z, o, false);
}

static void call_reopen(struct zk *zk)
{
	struct zk_client *z = client_of(zk);

	if (z->p->dead || z->state != ZKS_EXPIRED)
		return;
	z->state = ZKS_CONNECTING;
	z->has_session = z->rights_lost = false;
	z->session = (struct zk_session_id){0};
	z->last_zxid = 0;
	z->connect_us = sim_now(z->w);
	schedule_tick(z);
}

static void call_close(struct zk *zk, void (*closed)(void *ctx), void *ctx)
{
	struct zk_client *z = client_of(zk);

	if (z->p->dead || z->state == ZKS_CLOSING)
		return;
	bool connected = z->state == ZKS_CONNECTED;
	z->closed = closed;
	z->closed_ctx = ctx;
	z->state = ZKS_CLOSING;
	z->close_until = sim_now(z->w) + (connected ? 2000000 : 1);
	drop_observations(z);
	if (connected) {
		struct zk_req *r = req_new(z, ZKR_CLOSE);
		send_req(z, r);
		zk_req_unref(r);
	}
	schedule_tick(z);
}

static bool call_connected(const struct zk *zk)
{
	const struct zk_client *z = (const struct zk_client *)zk;

	return z->state == ZKS_CONNECTED && !z->p->dead;
}

static int64_t call_last_contact(const struct zk *zk)
{
	return ((const struct zk_client *)zk)->heard_us;
}

/* ---- ending the session of a former life ---- */

static void ender_step(struct sim_event *e)
{
	struct ender *d = CONTAINER_OF(e, struct ender, ev);
	struct zk_client *z = d->z;
	struct sim_world *w = z->w;
	int64_t now = sim_now(w);

	if (!d->decided) {
		struct zk_server *s = &w->zk->servers[z->servers[d->server++ % z->servers_n]];
		d->err = zk_server_end_session(s, z->p->host, &d->id);
		if (d->err == ERR_AGAIN && now >= d->deadline)
			d->err = ERR_TIMEOUT;
		d->decided = d->err != ERR_AGAIN;
		sim_schedule(w, e, now + (d->decided ? 2 * sim_net_latency(w, s->host, z->p->host, 100) : 200000));
		return;
	}
	struct ender copy = *d;
	list_remove(&d->link);
	mem_free(d);
	if (copy.done)
		copy.done(copy.ctx, copy.err);
}

static void call_end_session(struct zk *zk, const struct zk_session_id *old, void (*done)(void *ctx, int err), void *ctx)
{
	struct zk_client *z = client_of(zk);
	struct sim_world *w = z->w;

	if (z->p->dead)
		return;
	struct ender *d = MEM_NEW(struct ender);
	d->z = z;
	d->id = *old;
	d->done = done;
	d->ctx = ctx;
	d->server = z->next_server;
	d->deadline = sim_now(w) + (int64_t)z->cfg.op_timeout_ms * 1000;
	sim_event_init(&d->ev, z->l, ender_step);
	list_init(&d->link);
	list_push_back(&z->enders, &d->link);
	/* connecting, resuming the session, closing it */
	struct sim_host *s = w->zk->servers[z->servers[d->server % z->servers_n]].host;
	sim_schedule(w, &d->ev, sim_now(w) + 5 * sim_net_latency(w, z->p->host, s, 100) + 2 * sim_draw(w, w->cfg.zk_commit));
}

static const struct zk_ops client_ops = {
	.reopen = call_reopen, .close = call_close, .end_session = call_end_session, .connected = call_connected,
	.last_contact_us = call_last_contact, .get = call_get, .exists = call_exists, .children = call_children, .create = call_create,
	.set = call_set, .del = call_del, .multi = call_multi, .observe = call_observe, .unobserve = call_unobserve,
};

/* ---- open, and the end of the process ---- */

/* host:port,host:port/chroot */
static int parse_connect(struct zk_client *z, const char *text)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char *hosts = mem_strndup(text, n), *save = NULL;
	int err = 0;

	z->chroot = mem_strdup(slash && slash[1] ? slash : "");
	if (z->chroot[0] && !path_ok(z->chroot))
		err = ERR_INVAL;
	for (char *h = strtok_r(hosts, ",", &save); h && !err; h = strtok_r(NULL, ",", &save)) {
		int32_t port;
		char *colon = strrchr(h, ':');
		if (!colon || str_to_i32(colon + 1, &port) || port < 1 || port > 65535) {
			err = ERR_INVAL;
			break;
		}
		*colon = '\0';
		struct sim_host *host = sim_host_find(z->w, h);
		for (int i = 0; i < z->w->zk->n; i++)
			if (z->w->zk->servers[i].host == host && z->servers_n < ZK_SERVERS_MAX)
				z->servers[z->servers_n++] = i;
	}
	mem_free(hosts);
	return err ? err : z->servers_n ? 0 : ERR_INVAL;
}

static void client_free(struct zk_client *z)
{
	sim_unschedule(z->w, &z->tick);
	sim_unschedule(z->w, &z->local);
	drop_observations(z);
	mem_free(z->chroot);
	mem_free(z);
}

int sim_zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk)
{
	struct sim_process *p = sim_process_of(l->env);
	struct zk_client *z = MEM_NEW(struct zk_client);

	z->zk.ops = &client_ops;
	z->zk.loop = l;
	z->w = p->w;
	z->p = p;
	z->l = sim_loop_of(l);
	z->cfg = *cfg;
	z->cfg.connect = NULL;
	z->obs_tail = &z->obs;
	list_init(&z->enders);
	list_init(&z->link);
	sim_event_init(&z->tick, z->l, client_tick);
	sim_event_init(&z->local, z->l, run_locals);
	int err = parse_connect(z, cfg->connect);
	if (err) {
		client_free(z);
		return err;
	}
	z->next_server = (int)rng_below(&z->w->rng, (uint64_t)z->servers_n);
	z->connect_us = sim_now(z->w);
	list_push_back(&p->zks, &z->link);
	schedule_tick(z);
	*ret_zk = &z->zk;
	return 0;
}

void sim_zk_process_end(struct sim_process *p)
{
	LIST_FOR (it, &p->zks) {
		struct zk_client *z = LIST_ENTRY(it, struct zk_client, link);
		if (z->k)
			zk_link_client_gone(z->k);
		z->k = NULL;
	}
}

static void drop_queue(struct req_queue *q)
{
	while (q->head)
		zk_req_unref(queue_pop(q));
}

void sim_zk_process_free(struct sim_process *p)
{
	struct list *n;

	while ((n = list_pop_front(&p->zks))) {
		struct zk_client *z = LIST_ENTRY(n, struct zk_client, link);
		drop_queue(&z->waiting);
		drop_queue(&z->sent);
		while ((n = list_pop_front(&z->enders)))
			mem_free(LIST_ENTRY(n, struct ender, link));
		client_free(z);
	}
}
