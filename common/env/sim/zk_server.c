/* zk_server.c: the ensemble: servers, leader, commits, sessions, watches, and the server's side of connections.
 *
 * Quorum: a server follows the leader while both machines run and no way between them is cut; a follower that lost its leader for a
 * while, or a leader that lost its majority, closes its clients' connections. Then somebody who reaches a majority is elected; all
 * sessions start anew with their full timeout, as in ZooKeeper.
 * Expiry: decided at the leader, at a tick boundary, by when a server that follows it heard of the client last.
 */
#include <string.h>

#include "common/env/sim/zk_priv.h"

#define TICK_US 100000
#define LIMBO_US 50000
#define ORPHAN_US 15000000

struct zk_watched {
	char *path;
	struct list watches; /* struct zk_watch, in order of setting */
	UT_hash_handle hh;
};

struct zk_watch {
	struct list of_path, of_link;
	struct zk_watched *at;
	struct zk_link *link;
	int bits;
};

/* ---- requests and queues ---- */

void zk_req_unref(struct zk_req *r)
{
	if (!r || --r->refs > 0)
		return;
	for (size_t i = 0; i < r->ops_n; i++) {
		mem_free((void *)(uintptr_t)r->ops[i].path);
		mem_free((void *)(uintptr_t)r->ops[i].data.ptr);
		if (r->results)
			mem_free((void *)(uintptr_t)r->results[i].path);
	}
	for (size_t i = 0; i < r->rewatch_n; i++)
		mem_free(r->rewatch[i].path);
	for (size_t i = 0; i < r->names_n; i++)
		mem_free(r->names[i]);
	mem_free(r->names);
	mem_free(r->rewatch);
	mem_free(r->results);
	mem_free(r->ops);
	mem_free(r->path);
	buf_unref(r->data);
	mem_free(r);
}

static struct zk_msg *fifo_push(struct zk_fifo *f, enum zk_msg_kind kind, int64_t t)
{
	struct zk_msg *m = MEM_NEW(struct zk_msg);

	m->kind = kind;
	m->t = t > f->last ? t : f->last;
	f->last = m->t;
	if (f->tail)
		f->tail->next = m;
	else
		f->head = m;
	f->tail = m;
	return m;
}

static void msg_free(struct zk_msg *m)
{
	zk_req_unref(m->req);
	mem_free(m->path);
	mem_free(m);
}

static struct zk_msg *fifo_pop(struct zk_fifo *f)
{
	struct zk_msg *m = f->head;

	f->head = m->next;
	if (!f->head)
		f->tail = NULL;
	return m;
}

static void fifo_clear(struct zk_fifo *f)
{
	while (f->head)
		msg_free(fifo_pop(f));
}

/* ---- links ---- */

static void link_up(struct sim_event *e);
static void link_work(struct sim_event *e);
static void link_down(struct sim_event *e);

struct zk_link *zk_link_open(struct sim_zk *zk, struct zk_client *client, struct sim_host *from, struct sim_loop *l, struct zk_server *s)
{
	struct zk_link *k = MEM_NEW(struct zk_link);

	k->zk = zk;
	k->id = zk->next_link++;
	k->client = client;
	k->client_host = from;
	k->server = s;
	k->server_host = s->host;
	list_init(&k->watches);
	list_init(&k->link);
	list_push_back(&zk->links, &k->link);
	sim_event_init(&k->up_ev, NULL, link_up);
	sim_event_init(&k->work_ev, NULL, link_work);
	sim_event_init(&k->down_ev, l, link_down);
	return k;
}

static void watch_free(struct zk_server *s, struct zk_watch *wt)
{
	struct zk_watched *at = wt->at;

	list_remove(&wt->of_path);
	list_remove(&wt->of_link);
	mem_free(wt);
	if (list_empty(&at->watches)) {
		HASH_DEL(s->watched, at);
		mem_free(at->path);
		mem_free(at);
	}
}

static void link_free_if_done(struct zk_link *k)
{
	if (k->client || k->server)
		return;
	struct sim_world *w = k->zk->w;
	sim_unschedule(w, &k->up_ev);
	sim_unschedule(w, &k->work_ev);
	sim_unschedule(w, &k->down_ev);
	fifo_clear(&k->up);
	fifo_clear(&k->work);
	fifo_clear(&k->down);
	list_remove(&k->link);
	mem_free(k);
}

struct zk_msg *zk_push_down(struct zk_link *k, enum zk_msg_kind kind, int64_t extra_us)
{
	struct sim_world *w = k->zk->w;
	int64_t t = w->now + extra_us + sim_net_latency(w, k->server->host, k->client_host, 100);
	bool first = !k->down.head;
	struct zk_msg *m = fifo_push(&k->down, kind, t);

	m->zxid = k->server->tree.zxid;
	if (first && k->client)
		sim_schedule(w, &k->down_ev, m->t);
	return m;
}

/* The server lets the connection go; the client hears of it if the network lets it. May free the link. */
static void link_server_close(struct zk_link *k, bool tell)
{
	struct zk_server *s = k->server;

	if (!s)
		return;
	if (tell && k->client)
		zk_push_down(k, ZKM_CLOSED, 0);
	LIST_FOR_SAFE (it, tmp, &k->watches)
		watch_free(s, LIST_ENTRY(it, struct zk_watch, of_link));
	if (k->session && k->session->owner == k)
		k->session->owner = NULL;
	fifo_clear(&k->work);
	fifo_clear(&k->up);
	sim_unschedule(k->zk->w, &k->up_ev);
	sim_unschedule(k->zk->w, &k->work_ev);
	k->server = NULL;
	link_free_if_done(k);
}

void zk_link_client_gone(struct zk_link *k)
{
	k->client = NULL;
	sim_unschedule(k->zk->w, &k->down_ev);
	fifo_clear(&k->down);
	if (!k->server) {
		link_free_if_done(k);
		return;
	}
	/* The server keeps it until it has worked off what is under way, or gives up. */
	k->orphaned_us = k->zk->w->now + 1;
	if (!k->up.head && !k->work.head)
		link_server_close(k, false);
}

void zk_link_send(struct zk_link *k, struct zk_req *r)
{
	struct sim_world *w = k->zk->w;
	bool first = !k->up.head;

	if (!k->server)
		return; /* the server is gone, the client does not know yet */
	struct zk_msg *m = fifo_push(&k->up, ZKM_REQUEST, sim_now(w) + sim_net_latency(w, k->client_host, k->server->host, 200));
	m->req = r;
	r->refs++;
	if (first)
		sim_schedule(w, &k->up_ev, m->t);
}

/* A cut link holds messages back, as retransmission does. */
static bool held_by_cut(struct sim_world *w, struct sim_host *from, struct sim_host *to, struct sim_event *e, int64_t *rto)
{
	if (!sim_net_is_cut(w, from, to)) {
		*rto = 200000;
		return false;
	}
	if (*rto < 200000)
		*rto = 200000;
	sim_schedule(w, e, w->now + *rto);
	*rto = *rto * 2 < 2000000 ? *rto * 2 : 2000000;
	return true;
}

static void link_down(struct sim_event *e)
{
	struct zk_link *k = CONTAINER_OF(e, struct zk_link, down_ev);
	struct sim_world *w = k->zk->w;
	struct zk_client *z = k->client;

	ASSERT(z);
	if (held_by_cut(w, k->server_host, k->client_host, e, &k->rto_down))
		return;
	struct zk_msg *m = fifo_pop(&k->down);
	if (k->down.head)
		sim_schedule(w, e, k->down.head->t);
	sim_rec(w, REC_ZK_REPLY, k->id, (uint64_t)m->kind << 32 | (m->req ? (uint32_t)-m->req->err : 0), (uint64_t)m->zxid);
	switch (m->kind) {
	case ZKM_REPLY:
		zk_client_reply(z, m->req, m->zxid);
		break;
	case ZKM_WATCH:
		zk_client_watch(z, m->path, m->bits, m->zxid);
		break;
	case ZKM_EXPIRED:
		zk_client_expired(z);
		break;
	default:
		zk_client_lost(z);
		break;
	}
	msg_free(m);
}

/* ---- watches ---- */

static void watch_set(struct zk_server *s, struct zk_link *k, const char *path, int bits)
{
	struct zk_watched *at;

	HASH_FIND_STR(s->watched, path, at);
	if (!at) {
		at = MEM_NEW(struct zk_watched);
		at->path = mem_strdup(path);
		list_init(&at->watches);
		HASH_ADD_KEYPTR(hh, s->watched, at->path, strlen(at->path), at);
	}
	LIST_FOR (it, &at->watches) {
		struct zk_watch *wt = LIST_ENTRY(it, struct zk_watch, of_path);
		if (wt->link == k) {
			wt->bits |= bits;
			return;
		}
	}
	struct zk_watch *wt = MEM_NEW(struct zk_watch);
	wt->at = at;
	wt->link = k;
	wt->bits = bits;
	list_init(&wt->of_path);
	list_init(&wt->of_link);
	list_push_back(&at->watches, &wt->of_path);
	list_push_back(&k->watches, &wt->of_link);
}

static void push_watch(struct zk_link *k, const char *path, int bits)
{
	struct zk_msg *m = zk_push_down(k, ZKM_WATCH, 0);

	m->path = mem_strdup(path);
	m->bits = bits;
}

static void watch_fire(struct zk_server *s, const char *path, int bits)
{
	struct zk_watched *at;

	HASH_FIND_STR(s->watched, path, at);
	if (!at)
		return;
	struct list *it = at->watches.next;
	bool more = it != &at->watches;
	while (more) {
		struct zk_watch *wt = LIST_ENTRY(it, struct zk_watch, of_path);
		it = it->next;
		more = it != &at->watches; /* asked before `at` may go with its last watch */
		int hit = wt->bits & bits;
		if (!hit)
			continue;
		push_watch(wt->link, path, hit);
		wt->bits &= ~hit;
		if (!wt->bits)
			watch_free(s, wt);
	}
}

static void fire_for(struct zk_server *s, const struct zk_change *c)
{
	watch_fire(s, c->path, c->kind == ZK_DELETED ? ZKW_NODE | ZKW_CHILD : ZKW_NODE);
	if (c->kind == ZK_SET)
		return;
	const char *slash = strrchr(c->path, '/');
	char *up = slash == c->path ? mem_strdup("/") : mem_strndup(c->path, (size_t)(slash - c->path));
	watch_fire(s, up, ZKW_CHILD);
	mem_free(up);
}

/* ---- commits ---- */

static bool runs(const struct zk_server *s)
{
	return s->up && s->host->up;
}

static bool follows(struct sim_zk *zk, const struct zk_server *s)
{
	if (zk->leader < 0 || !runs(s))
		return false;
	struct zk_server *l = &zk->servers[zk->leader];
	return s == l || (runs(l) && sim_net_reachable(zk->w, s->host, l->host));
}

static bool has_majority(struct sim_zk *zk, const struct zk_server *l)
{
	int n = 0;

	for (int i = 0; i < zk->n; i++) {
		struct zk_server *s = &zk->servers[i];
		n += runs(s) && (s == l || sim_net_reachable(zk->w, s->host, l->host));
	}
	return n > zk->n / 2;
}

bool zk_can_commit(struct sim_zk *zk)
{
	return zk->leader >= 0 && runs(&zk->servers[zk->leader]) && has_majority(zk, &zk->servers[zk->leader]);
}

static void log_trim(struct sim_zk *zk)
{
	uint64_t low = UINT64_MAX;

	for (int i = 0; i < zk->n; i++)
		low = zk->servers[i].applied < low ? zk->servers[i].applied : low;
	size_t n = (size_t)(low - zk->log_first);
	if (n < 256)
		return;
	for (size_t i = 0; i < n; i++)
		zk_txn_fini(&zk->log[i]);
	memmove(zk->log, zk->log + n, (zk->log_n - n) * sizeof(*zk->log));
	zk->log_n -= n;
	zk->log_first = low;
}

/* The server catches up with the history up to (not including) `end`. */
static void server_apply(struct zk_server *s, uint64_t end)
{
	struct sim_zk *zk = s->zk;

	while (s->applied < end) {
		struct zk_txn *txn = &zk->log[s->applied++ - zk->log_first];
		for (size_t i = 0; i < txn->n; i++) {
			zk_tree_apply(&s->tree, &txn->changes[i], txn->zxid, txn->time_ms);
			if (s->watched)
				fire_for(s, &txn->changes[i]);
		}
		s->tree.zxid = txn->zxid;
	}
}

static uint64_t log_end(const struct sim_zk *zk)
{
	return zk->log_first + zk->log_n;
}

static void server_apply_due(struct sim_event *e)
{
	struct zk_server *s = CONTAINER_OF(e, struct zk_server, apply_ev);

	if (!follows(s->zk, s)) {
		if (s->up)
			sim_schedule(s->zk->w, e, s->zk->w->now + LIMBO_US);
		return;
	}
	server_apply(s, log_end(s->zk));
	log_trim(s->zk);
}

static int64_t next_zxid(struct sim_zk *zk)
{
	return ++zk->zxid;
}

static void commit(struct sim_zk *zk, struct zk_txn *txn)
{
	struct sim_world *w = zk->w;

	sim_rec(w, REC_ZK_WRITE, (uint32_t)txn->n, (uint64_t)txn->zxid, 0);
	for (size_t i = 0; i < txn->n; i++) {
		struct zk_change *c = &txn->changes[i];
		sim_rec_bytes(w, REC_ZK_WRITE, (uint32_t)c->kind, (uint64_t)c->owner, c->path, strlen(c->path));
		if (c->data)
			sim_rec_bytes(w, REC_ZK_WRITE, 9, 0, c->data->data, c->len);
		SIM_TEXT(w, "zk    %llx %s %s %.*s", (long long)txn->zxid, c->kind == ZK_CREATED ? "create" : c->kind == ZK_SET ? "set" : "delete",
			c->path, (int)(c->len > 200 ? 200 : c->len), c->data ? (const char *)c->data->data : "");
	}
	MEM_GROW(zk->log, zk->log_cap, zk->log_n + 1);
	zk->log[zk->log_n++] = *txn;
	for (int i = 0; i < zk->n; i++) {
		struct zk_server *s = &zk->servers[i];
		if (i == zk->leader) {
			server_apply(s, log_end(zk));
		} else if (!sim_scheduled(&s->apply_ev) && s->up) {
			bool spike = sim_chance(w, w->cfg.zk_lag_spike_rate);
			sim_schedule(w, &s->apply_ev, w->now + sim_draw(w, spike ? w->cfg.zk_lag_spike : w->cfg.zk_lag) + s->extra_lag_us);
		}
	}
}

static int64_t wall_ms(struct sim_zk *zk)
{
	return zk->w->cfg.wall_start_ms + zk->w->now / 1000;
}

int zk_write_multi(struct sim_zk *zk, const struct zk_op *ops, size_t n, int64_t session, struct zk_op_result *results)
{
	struct zk_txn txn;
	int err = zk_tree_multi(&zk->truth, ops, n, session, next_zxid(zk), wall_ms(zk), results, &txn);

	if (!err)
		commit(zk, &txn);
	return err;
}

/* ---- sessions ---- */

struct zk_session *zk_session_find(struct sim_zk *zk, int64_t id)
{
	for (struct zk_session *s = zk->sessions; s; s = s->next)
		if (s->id == id && !s->ended)
			return s;
	return NULL;
}

static struct zk_session *session_new(struct sim_zk *zk, int32_t timeout_ms)
{
	struct zk_session *s = MEM_NEW(struct zk_session);
	int32_t lo = 2 * zk->w->cfg.zk_tick_ms, hi = 20 * zk->w->cfg.zk_tick_ms;
	struct zk_txn txn = {.zxid = next_zxid(zk), .time_ms = wall_ms(zk)};

	s->id = 0x100000000000000 + ++zk->next_session;
	be64_put(s->password, rng_u64(&zk->w->rng));
	be64_put(s->password + 8, rng_u64(&zk->w->rng));
	s->timeout_ms = timeout_ms < lo ? lo : timeout_ms > hi ? hi : timeout_ms;
	s->heard_us = zk->w->now;
	s->next = zk->sessions;
	zk->sessions = s;
	zk->truth.zxid = txn.zxid;
	commit(zk, &txn);
	return s;
}

/* The session object stays until nothing refers to it: until the end of the world, there are few. */
void zk_session_end(struct sim_zk *zk, struct zk_session *s, const char *why)
{
	struct zk_txn txn;
	struct zk_link *owner = s->owner;

	s->ended = true;
	SIM_TEXT(zk->w, "zk    session %llx ends: %s", (long long)s->id, why);
	zk_tree_end_session(&zk->truth, s->id, next_zxid(zk), wall_ms(zk), &txn);
	commit(zk, &txn);
	s->owner = NULL;
	if (owner && owner->server)
		link_server_close(owner, true);
}

static bool expired_by(struct sim_zk *zk, const struct zk_session *s, int64_t now)
{
	int64_t tick = (int64_t)zk->w->cfg.zk_tick_ms * 1000;
	int64_t at = s->heard_us + (int64_t)s->timeout_ms * 1000;

	return now >= (at / tick + 1) * tick;
}

/* ---- what a server does with a request ---- */

static int arm(struct zk_server *s, struct zk_link *k, const char *path, enum zk_observe_kind kind)
{
	struct zk_node *n = zk_tree_find(&s->tree, path);

	watch_set(s, k, path, kind == ZK_OBSERVE_CHILDREN && n ? ZKW_CHILD : ZKW_NODE);
	return !n ? ZKA_EXIST : kind == ZK_OBSERVE_CHILDREN ? ZKA_CHILD : ZKA_DATA;
}

/* SetWatches: what the client missed fires at once; a node that came and went again is not noticed. */
static void set_watches(struct zk_server *s, struct zk_link *k, const struct zk_req *r)
{
	for (size_t i = 0; i < r->rewatch_n; i++) {
		const struct zk_rewatch *rw = &r->rewatch[i];
		struct zk_node *n = zk_tree_find(&s->tree, rw->path);
		bool missed = rw->armed == ZKA_EXIST ? n != NULL : !n || (rw->armed == ZKA_DATA ? n->mzxid : n->pzxid) > r->last_zxid;
		int bits = rw->armed == ZKA_CHILD ? ZKW_CHILD : ZKW_NODE;
		if (missed)
			push_watch(k, rw->path, bits);
		else
			watch_set(s, k, rw->path, bits);
	}
}

static void serve_read(struct zk_server *s, struct zk_link *k, struct zk_req *r)
{
	if (r->kind == ZKR_SET_WATCHES) {
		set_watches(s, k, r);
		return;
	}
	if (r->kind == ZKR_ARM) {
		r->armed = arm(s, k, r->path, r->obs_kind);
		return;
	}
	if (r->kind == ZKR_PING)
		return;
	struct zk_node *n = zk_tree_find(&s->tree, r->path);
	r->err = n ? 0 : ERR_NOENT;
	if (!n)
		return;
	zk_node_stat(n, &r->stat);
	if (r->kind == ZKR_GET && n->data) {
		r->data = buf_ref(n->data);
		r->data_len = n->data_len;
	}
	if (r->kind == ZKR_CHILDREN && n->kids_n) {
		r->names = mem_alloc(n->kids_n * sizeof(*r->names));
		for (size_t i = 0; i < n->kids_n; i++)
			r->names[i] = mem_strdup(n->kids[i]->name);
		r->names_n = n->kids_n;
	}
}

static bool is_write(const struct zk_req *r)
{
	return r->kind == ZKR_MULTI || r->kind == ZKR_CONNECT || r->kind == ZKR_CLOSE;
}

/* False: refused, the link is closed (and may be gone). */
static bool serve_connect(struct zk_server *s, struct zk_link *k, struct zk_req *r)
{
	struct sim_zk *zk = s->zk;

	if (!s->serving || s->tree.zxid < r->last_zxid) { /* it has seen more than this server has */
		link_server_close(k, true);
		return false;
	}
	struct zk_session *old = r->session ? zk_session_find(zk, r->session) : NULL;
	if (r->session && (!old || memcmp(old->password, r->password, sizeof(old->password)))) {
		zk_push_down(k, ZKM_EXPIRED, 0);
		link_server_close(k, true);
		return false;
	}
	struct zk_session *ses = old ? old : session_new(zk, r->timeout_ms);
	server_apply(s, log_end(zk));
	ses->owner = k; /* whoever had it cannot write for it any more */
	ses->heard_us = zk->w->now;
	k->session = ses;
	r->session = ses->id;
	memcpy(r->password, ses->password, sizeof(r->password));
	r->timeout_ms = ses->timeout_ms;
	return true;
}

/* False: the link is closed. */
static bool serve_write(struct zk_server *s, struct zk_link *k, struct zk_req *r)
{
	struct sim_zk *zk = s->zk;
	struct zk_session *ses = k->session;

	if (r->kind == ZKR_CONNECT)
		return serve_connect(s, k, r);
	if (!ses || ses->ended || ses->owner != k) { /* expired, or moved to another server */
		link_server_close(k, true);
		return false;
	}
	bool drop = sim_chance(zk->w, zk->drop_rate), before = drop && (rng_u64(&zk->w->rng) & 1);
	if (before) {
		sim_fault(zk->w, "zk connection %u breaks before a write", k->id);
		link_server_close(k, true);
		return false;
	}
	if (r->kind == ZKR_CLOSE) {
		ses->owner = NULL;
		zk_session_end(zk, ses, "closed by its client");
		server_apply(s, log_end(zk));
		return true;
	}
	struct zk_op_result *results = mem_zalloc((r->ops_n + 1) * sizeof(*results));
	r->err = zk_write_multi(zk, r->ops, r->ops_n, ses->id, results);
	r->results = results;
	if (drop) {
		sim_fault(zk->w, "zk connection %u breaks before the reply of a write", k->id);
		link_server_close(k, true);
		return false;
	}
	server_apply(s, log_end(zk)); /* it answers when it has applied it */
	return true;
}

static void link_work(struct sim_event *e)
{
	struct zk_link *k = CONTAINER_OF(e, struct zk_link, work_ev);
	struct zk_server *s = k->server;
	struct sim_zk *zk = k->zk;
	struct sim_world *w = zk->w;
	struct zk_msg *m = k->work.head;
	struct zk_req *r = m->req;

	if (!k->client && w->now - k->orphaned_us > ORPHAN_US) {
		link_server_close(k, false);
		return;
	}
	if (is_write(r) && (!follows(zk, s) || !zk_can_commit(zk))) {
		if (r->kind == ZKR_CONNECT && !s->serving)
			link_server_close(k, true);
		else
			sim_schedule(w, e, w->now + LIMBO_US);
		return;
	}
	fifo_pop(&k->work);
	sim_rec(w, REC_ZK_REQUEST, k->id, (uint64_t)r->kind, (uint64_t)s->idx);
	bool open = true;
	if (is_write(r))
		open = serve_write(s, k, r);
	else
		serve_read(s, k, r);
	if (open) {
		if (k->client) {
			bool slow = sim_chance(w, w->cfg.zk_slow_reply_rate);
			struct zk_msg *reply = zk_push_down(k, ZKM_REPLY, slow ? sim_draw(w, w->cfg.zk_slow_reply) : 0);
			reply->req = r;
			r->refs++;
		}
		if (k->work.head)
			sim_schedule(w, e, k->work.head->t);
		else if (!k->client && !k->up.head)
			link_server_close(k, false);
	}
	msg_free(m);
}

static void link_up(struct sim_event *e)
{
	struct zk_link *k = CONTAINER_OF(e, struct zk_link, up_ev);
	struct zk_server *s = k->server;
	struct sim_zk *zk = k->zk;
	struct sim_world *w = zk->w;

	if (!k->client && w->now - k->orphaned_us > ORPHAN_US) {
		link_server_close(k, false);
		return;
	}
	if (held_by_cut(w, k->client_host, s->host, e, &k->rto_up))
		return;
	struct zk_msg *m = fifo_pop(&k->up);
	if (k->up.head)
		sim_schedule(w, e, k->up.head->t);
	if (k->session && follows(zk, s))
		k->session->heard_us = w->now;
	int64_t ready = w->now + 10 + (int64_t)rng_below(&w->rng, 80);
	if (is_write(m->req)) {
		ready += sim_draw(w, w->cfg.zk_commit);
		if (zk->leader >= 0 && zk->leader != s->idx)
			ready += 2 * sim_net_latency(w, s->host, zk->servers[zk->leader].host, 200);
	}
	bool first = !k->work.head;
	struct zk_msg *job = fifo_push(&k->work, ZKM_REQUEST, ready);
	job->req = m->req;
	m->req = NULL;
	msg_free(m);
	if (first)
		sim_schedule(w, &k->work_ev, job->t);
}

int zk_server_end_session(struct zk_server *s, struct sim_host *from, const struct zk_session_id *id)
{
	struct sim_zk *zk = s->zk;

	if (!runs(s) || !s->serving || !sim_net_reachable(zk->w, from, s->host) || !follows(zk, s) || !zk_can_commit(zk))
		return ERR_AGAIN;
	struct zk_session *ses = zk_session_find(zk, id->id);
	if (ses && memcmp(ses->password, id->password, sizeof(ses->password)) == 0) {
		zk_session_end(zk, ses, "closed by its successor");
		server_apply(s, log_end(zk));
	}
	return 0;
}

/* ---- the ensemble ---- */

void zk_server_drop_clients(struct zk_server *s)
{
	LIST_FOR_SAFE (it, tmp, &s->zk->links) {
		struct zk_link *k = LIST_ENTRY(it, struct zk_link, link);
		if (k->server == s)
			link_server_close(k, s->host->up);
	}
}

static void depose(struct sim_zk *zk)
{
	SIM_TEXT(zk->w, "zk    no leader");
	zk->leader = -1;
	zk->elect_us = 0;
	for (int i = 0; i < zk->n; i++)
		if (zk->servers[i].serving) {
			zk->servers[i].serving = false;
			zk_server_drop_clients(&zk->servers[i]);
		}
}

void zk_check_leader(struct sim_zk *zk)
{
	struct sim_world *w = zk->w;
	struct zk_server *l = zk->leader >= 0 ? &zk->servers[zk->leader] : NULL;

	if (l && !runs(l)) {
		depose(zk);
	} else if (l && !has_majority(zk, l)) {
		if (!l->lost_us)
			l->lost_us = w->now + 500000 + (int64_t)rng_below(&w->rng, 2500000);
		else if (w->now >= l->lost_us)
			depose(zk);
	} else if (l) {
		l->lost_us = 0;
	}
	if (zk->leader >= 0)
		return;
	struct zk_server *best = NULL;
	for (int i = 0; i < zk->n; i++) {
		struct zk_server *s = &zk->servers[i];
		if (runs(s) && has_majority(zk, s) && (!best || s->tree.zxid > best->tree.zxid))
			best = s;
	}
	if (!best) {
		zk->elect_us = 0;
		return;
	}
	if (!zk->elect_us) {
		zk->elect_us = w->now + 200000 + (int64_t)rng_below(&w->rng, 600000);
		return;
	}
	if (w->now < zk->elect_us)
		return;
	/* Whatever was committed is known to one of its majority. */
	zk->leader = best->idx;
	zk->zxid = (int64_t)++zk->epoch << 32;
	best->lost_us = 0;
	server_apply(best, log_end(zk));
	best->serving = true;
	SIM_TEXT(w, "zk    server %d leads epoch %u", best->idx + 1, zk->epoch);
	sim_rec(w, REC_ZK_EVENT, (uint32_t)best->idx, zk->epoch, 0);
	for (struct zk_session *s = zk->sessions; s; s = s->next)
		s->heard_us = w->now;
}

static void check_followers(struct sim_zk *zk)
{
	struct sim_world *w = zk->w;

	for (int i = 0; i < zk->n; i++) {
		struct zk_server *s = &zk->servers[i];
		if (i == zk->leader || !runs(s)) {
			if (s->serving && !runs(s)) {
				s->serving = false; /* its machine lost power */
				zk_server_drop_clients(s);
			}
			continue;
		}
		if (!follows(zk, s)) {
			s->joins_us = 0;
			if (!s->lost_us)
				s->lost_us = w->now + 500000 + (int64_t)rng_below(&w->rng, 3500000);
			if (s->serving && w->now >= s->lost_us) {
				s->serving = false;
				zk_server_drop_clients(s);
			}
			continue;
		}
		s->lost_us = 0;
		if (s->serving)
			continue;
		if (!s->joins_us)
			s->joins_us = w->now + 50000 + (int64_t)rng_below(&w->rng, 300000);
		if (w->now >= s->joins_us) {
			server_apply(s, log_end(zk));
			s->serving = true;
		}
	}
}

static void zk_tick(struct sim_event *e)
{
	struct sim_zk *zk = CONTAINER_OF(e, struct sim_zk, tick);
	struct sim_world *w = zk->w;

	zk_check_leader(zk);
	check_followers(zk);
	if (zk_can_commit(zk))
		for (struct zk_session *s = zk->sessions; s; s = s->next)
			if (!s->ended && expired_by(zk, s, w->now))
				zk_session_end(zk, s, "expired");
	sim_schedule(w, e, w->now + TICK_US);
}

void sim_zk_init(struct sim_world *w)
{
	struct sim_zk *zk = MEM_NEW(struct sim_zk);

	ASSERT(w->cfg.zk_servers >= 0 && w->cfg.zk_servers <= ZK_SERVERS_MAX);
	w->zk = zk;
	zk->w = w;
	zk->n = w->cfg.zk_servers;
	zk->leader = -1;
	zk->drop_rate = w->cfg.zk_drop_rate;
	list_init(&zk->links);
	zk_tree_init(&zk->truth);
	sim_event_init(&zk->tick, NULL, zk_tick);
	for (int i = 0; i < zk->n; i++) {
		struct zk_server *s = &zk->servers[i];
		char name[16];
		snprintf(name, sizeof(name), "zk%d", i + 1);
		s->zk = zk;
		s->idx = i;
		s->host = sim_host_new(w, name);
		s->up = true;
		zk_tree_init(&s->tree);
		sim_event_init(&s->apply_ev, NULL, server_apply_due);
	}
	if (!zk->n)
		return;
	/* It has been there before the world begins. */
	zk->leader = (int)rng_below(&w->rng, (uint64_t)zk->n);
	zk->zxid = (int64_t)++zk->epoch << 32;
	for (int i = 0; i < zk->n; i++)
		zk->servers[i].serving = true;
	sim_schedule(w, &zk->tick, TICK_US);
}

void sim_zk_fini(struct sim_world *w)
{
	struct sim_zk *zk = w->zk;

	for (int i = 0; i < zk->n; i++)
		zk_server_drop_clients(&zk->servers[i]);
	ASSERT(list_empty(&zk->links)); /* every client is gone by now */
	for (int i = 0; i < zk->n; i++) {
		sim_unschedule(w, &zk->servers[i].apply_ev);
		zk_tree_fini(&zk->servers[i].tree);
	}
	sim_unschedule(w, &zk->tick);
	zk_tree_fini(&zk->truth);
	for (size_t i = 0; i < zk->log_n; i++)
		zk_txn_fini(&zk->log[i]);
	mem_free(zk->log);
	while (zk->sessions) {
		struct zk_session *s = zk->sessions;
		zk->sessions = s->next;
		mem_free(s);
	}
	mem_free(zk);
	w->zk = NULL;
}
