/* zk_thread.c: the thread that drives libzookeeper (the single-threaded build; protocol.md H2). It may block: names are resolved and
 * sessions closed here, so no loop ever waits for either.
 *
 * Each turn: take commands; for every session let the library say what it waits for (zookeeper_interest), poll, process until it
 * has nothing more (one call handles one packet), send what waited for the connection.
 *
 * Requests go out only while connected, so ZCONNECTIONLOSS means "sent, outcome unknown"; before that they wait here, in order, up
 * to their deadline. What the library calls back with is a `struct wire`; it outlives the command's answer where need be.
 *
 * Contact: a packet that is read after poll() counts from the moment that poll was entered, when the socket was known to be empty.
 * So a process that was stopped does not take what lay in its socket for news. poll never waits longer than CONTACT_GRAIN_MS.
 *
 * Watches: one record per observed (path, kind), armed again as soon as it fires, before the loop is told to look again; what the
 * loop reads then is behind the new watch on the same connection. The library re-registers armed ones after a reconnect; those whose
 * registration was lost are armed here. Everybody looks again after a reconnect: an exists watch misses create + delete meanwhile.
 * The watch of a children observation includes an exists watch, for the node may be missing.
 *
 * Names: the library gets numeric addresses only. While a session cannot connect, names are resolved again; if they changed, a new
 * handle resumes the session (zoo_set_servers of 3.8.0 uses freed memory).
 */
#define _GNU_SOURCE 1
#include "common/env/os/zk_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <zookeeper/zookeeper.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define CONTACT_GRAIN_MS 100
#define RETRY_MS 1000       /* names that do not resolve, a library that gives no handle */
#define RESOLVE_AGAIN_MS 3000
#define PACKETS_MAX 512     /* read from one session in one turn */
#define ADDRS_MAX 8         /* per name */
#define FAR INT64_MAX

struct os_zk_thread {
	pthread_t thread;
	int wake_fd;
	atomic_bool stop;
	_Atomic(struct zk_cmd *) inbox;
	struct list sessions;
	int64_t poll_entered_us;
	struct pollfd *fds;
	size_t fds_cap;
};

struct wire {
	struct list link; /* sess->wires */
	struct zk_sess *s;
	struct zk_cmd *cmd; /* NULL: arms a watch */
	struct watch *watch;
	bool children;
	/* multi: the library writes here until it calls back */
	zoo_op_t *ops;
	zoo_op_result_t *results;
	struct Stat *stats;
	char **names;
	size_t count;
};

struct watch {
	UT_hash_handle hh;
	struct zk_sess *s;
	enum zk_observe_kind kind;
	bool active;
	bool node_armed, children_armed, missing; /* missing: the children watch found no node; the exists watch will tell */
	bool node_asked, children_asked;          /* request on its way */
	const char *path;                         /* key + 1 */
	char key[];
};

struct zk_sess {
	struct list link;
	struct os_zk_thread *t;
	struct os_zk *zk;      /* NULL once ended */
	struct zk_cmd *ending; /* zk_end_session: this session lives only to be closed */
	zhandle_t *zh;
	char *hosts, *addrs;   /* names as given; numeric as the library has them */
	bool has_names;
	int32_t session_timeout_ms;
	clientid_t id;
	bool have_id;
	bool connected, fresh, expired, moved;
	uint32_t era;
	int fd, interest;
	int64_t retry_us;      /* when to try to make a handle */
	int64_t resolve_us;    /* when to look at the names again, while not connected */
	struct zk_cmd *head, *tail; /* waiting for a connection */
	struct list wires;
	struct watch *watches;
};

/* ---- errors, stats, answers ---- */

static int err_of(int rc)
{
	switch (rc) {
	case ZOK: return 0;
	case ZNONODE: return ERR_NOENT;
	case ZNODEEXISTS: return ERR_EXIST;
	case ZBADVERSION: return ERR_BADVERSION;
	case ZNOTEMPTY: return ERR_NOTEMPTY;
	case ZNOCHILDRENFOREPHEMERALS:
	case ZBADARGUMENTS:
	case ZINVALIDACL: return ERR_INVAL;
	case ZSESSIONEXPIRED: return ERR_EXPIRED;
	case ZNOAUTH:
	case ZAUTHFAILED:
	case ZUNIMPLEMENTED:
	case ZNOTREADONLY:
	case ZSESSIONCLOSEDREQUIRESASLAUTH: return ERR_UNSUPPORTED;
	case ZCLOSING: return ERR_CLOSED;
	case ZRUNTIMEINCONSISTENCY: return ERR_ABORTED;
	default: return ERR_UNKNOWN; /* ZCONNECTIONLOSS, ZOPERATIONTIMEOUT, ZSESSIONMOVED and what we do not know */
	}
}

static struct zk_stat stat_of(const struct Stat *st)
{
	return (struct zk_stat){
		.czxid = st->czxid, .mzxid = st->mzxid, .pzxid = st->pzxid, .ctime_ms = st->ctime, .mtime_ms = st->mtime, .version = st->version,
		.cversion = st->cversion, .ephemeral_owner = st->ephemeralOwner, .data_len = st->dataLength, .num_children = st->numChildren,
	};
}

static void answer(struct zk_cmd *c, int err)
{
	c->err = err;
	loop_post(c->zk->zk.loop, &c->msg);
}

static void contact(struct zk_sess *s)
{
	if (s->zk)
		atomic_store_explicit(&s->zk->last_contact_us, s->t->poll_entered_us, memory_order_release);
}

static void note_event(struct zk_sess *s, enum zk_event event, bool resumed)
{
	if (!s->zk)
		return;
	struct zk_note *n = mem_zalloc(sizeof(*n) + 1);
	n->msg.deliver = os_zk_on_note;
	n->zk = s->zk;
	n->era = s->era;
	n->ev.event = event;
	n->ev.resumed = resumed;
	n->ev.session.id = s->id.client_id;
	memcpy(n->ev.session.password, s->id.passwd, sizeof(n->ev.session.password));
	n->ev.timeout_ms = s->zh ? zoo_recv_timeout(s->zh) : s->session_timeout_ms;
	loop_post(s->zk->zk.loop, &n->msg);
}

static void note_look(struct zk_sess *s, const struct watch *w)
{
	if (!s->zk || !w->active)
		return;
	size_t len = strlen(w->path);
	struct zk_note *n = mem_zalloc(sizeof(*n) + len + 1);
	n->msg.deliver = os_zk_on_note;
	n->zk = s->zk;
	n->era = s->era;
	n->look = true;
	n->kind = w->kind;
	memcpy(n->path, w->path, len);
	loop_post(s->zk->zk.loop, &n->msg);
}

/* ---- wires: what the library calls back with ---- */

static struct wire *wire_new(struct zk_sess *s, struct zk_cmd *cmd)
{
	struct wire *x = MEM_NEW(struct wire);

	x->s = s;
	x->cmd = cmd;
	list_init(&x->link);
	list_push_back(&s->wires, &x->link);
	return x;
}

static void wire_free(struct wire *x)
{
	list_remove(&x->link);
	for (size_t i = 0; i < x->count; i++)
		mem_free(x->names[i]);
	mem_free(x->names);
	mem_free(x->ops);
	mem_free(x->results);
	mem_free(x->stats);
	mem_free(x);
}

/* The common end of all completions. */
static void wire_end(struct wire *x, int rc)
{
	struct zk_cmd *c = x->cmd;

	/* The server did nothing, and will do nothing for this connection: make another one. */
	if (rc == ZSESSIONMOVED)
		x->s->moved = true;
	wire_free(x);
	answer(c, err_of(rc));
}

static void done_void(int rc, const void *data)
{
	wire_end((struct wire *)(uintptr_t)data, rc);
}

static void done_stat(int rc, const struct Stat *st, const void *data)
{
	struct wire *x = (struct wire *)(uintptr_t)data;

	if (rc == ZOK)
		x->cmd->stat = stat_of(st);
	wire_end(x, rc);
}

static void done_data(int rc, const char *value, int len, const struct Stat *st, const void *data)
{
	struct wire *x = (struct wire *)(uintptr_t)data;
	struct zk_cmd *c = x->cmd;

	if (rc == ZOK) {
		c->stat = stat_of(st);
		c->out_null = len < 0;
		c->out_len = len > 0 ? (size_t)len : 0;
		c->out = mem_alloc(c->out_len + 1);
		memcpy(c->out, value ? value : "", c->out_len);
	}
	wire_end(x, rc);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void done_children(int rc, const struct String_vector *names, const struct Stat *st, const void *data)
{
	struct wire *x = (struct wire *)(uintptr_t)data;
	struct zk_cmd *c = x->cmd;

	if (rc == ZOK) {
		c->stat = stat_of(st);
		c->names_count = names ? (size_t)names->count : 0;
		c->names = mem_alloc((c->names_count + 1) * sizeof(*c->names));
		for (size_t i = 0; i < c->names_count; i++)
			c->names[i] = mem_strdup(names->data[i]);
		qsort(c->names, c->names_count, sizeof(*c->names), compare_names);
	}
	wire_end(x, rc);
}

static void done_create(int rc, const char *path, const struct Stat *st, const void *data)
{
	struct wire *x = (struct wire *)(uintptr_t)data;

	if (rc == ZOK) {
		x->cmd->stat = stat_of(st);
		x->cmd->out_path = mem_strdup(path);
	}
	wire_end(x, rc);
}

/* The server says 0 for ops before the failing one and "runtime inconsistency" for those behind it: both did not happen. */
static void multi_results(struct wire *x, int *rc)
{
	struct zk_cmd *c = x->cmd;
	bool failed = *rc != ZOK;
	size_t bad = x->count;

	for (size_t i = 0; i < x->count && failed && bad == x->count; i++)
		if (x->results[i].err != ZOK && x->results[i].err != ZRUNTIMEINCONSISTENCY)
			bad = i;
	bool whole = err_of(*rc) == ERR_UNKNOWN || *rc == ZCLOSING || *rc == ZSESSIONEXPIRED;
	if (failed && (whole || bad == x->count || err_of(x->results[bad].err) == ERR_UNKNOWN))
		return; /* the request as a whole */
	c->results = mem_zalloc((x->count + 1) * sizeof(*c->results));
	if (failed)
		*rc = x->results[bad].err;
	for (size_t i = 0; i < x->count; i++) {
		if (failed) {
			c->results[i].err = i == bad ? err_of(x->results[i].err) : ERR_ABORTED;
		} else if (c->ops[i].kind == ZK_OP_SET) {
			c->results[i].stat = stat_of(&x->stats[i]);
		} else if (c->ops[i].kind == ZK_OP_CREATE) {
			/* The library's multi returns no Stat of a new node: what is known of it. */
			c->results[i].path = mem_strdup(x->names[i]);
			c->results[i].stat.data_len = (int32_t)c->ops[i].data.len;
			c->results[i].stat.ephemeral_owner = c->ops[i].flags & ZK_EPHEMERAL ? x->s->id.client_id : 0;
		}
	}
}

static void done_multi(int rc, const void *data)
{
	struct wire *x = (struct wire *)(uintptr_t)data;

	multi_results(x, &rc);
	wire_end(x, rc);
}

static int send_multi(struct wire *x, struct zk_cmd *c)
{
	x->count = c->ops_count;
	x->ops = mem_zalloc(x->count * sizeof(*x->ops));
	x->results = mem_zalloc(x->count * sizeof(*x->results));
	x->stats = mem_zalloc(x->count * sizeof(*x->stats));
	x->names = mem_zalloc(x->count * sizeof(*x->names));
	for (size_t i = 0; i < x->count; i++) {
		const struct zk_op *op = &c->ops[i];
		const char *data = (const char *)op->data.ptr;
		int len = data ? (int)op->data.len : -1;
		size_t room = strlen(op->path) + 16;
		switch (op->kind) {
		case ZK_OP_CHECK:
			zoo_check_op_init(&x->ops[i], op->path, op->version);
			break;
		case ZK_OP_CREATE:
			x->names[i] = mem_zalloc(room);
			zoo_create_op_init(&x->ops[i], op->path, data, len, &ZOO_OPEN_ACL_UNSAFE, op->flags, x->names[i], (int)room);
			break;
		case ZK_OP_SET:
			zoo_set_op_init(&x->ops[i], op->path, data, len, op->version, &x->stats[i]);
			break;
		case ZK_OP_DELETE:
			zoo_delete_op_init(&x->ops[i], op->path, op->version);
			break;
		}
	}
	return zoo_amulti(x->s->zh, (int)x->count, x->ops, x->results, done_multi, x);
}

static void send_cmd(struct zk_sess *s, struct zk_cmd *c)
{
	struct wire *x = wire_new(s, c);
	const char *data = (const char *)c->data;
	int len = data ? (int)c->data_len : -1, rc = ZBADARGUMENTS;

	switch (c->kind) {
	case ZKC_GET:
		rc = zoo_aget(s->zh, c->path, 0, done_data, x);
		break;
	case ZKC_EXISTS:
		rc = zoo_aexists(s->zh, c->path, 0, done_stat, x);
		break;
	case ZKC_CHILDREN:
		rc = zoo_aget_children2(s->zh, c->path, 0, done_children, x);
		break;
	case ZKC_CREATE:
		rc = zoo_acreate2(s->zh, c->path, data, len, &ZOO_OPEN_ACL_UNSAFE, c->flags, done_create, x);
		break;
	case ZKC_SET:
		rc = zoo_aset(s->zh, c->path, data, len, c->version, done_stat, x);
		break;
	case ZKC_DELETE:
		rc = zoo_adelete(s->zh, c->path, c->version, done_void, x);
		break;
	case ZKC_MULTI:
		rc = send_multi(x, c);
		break;
	default:
		break;
	}
	if (rc != ZOK) { /* not sent, and no completion follows */
		wire_free(x);
		answer(c, rc == ZINVALIDSTATE && s->expired ? ERR_EXPIRED : err_of(rc));
	}
}

/* ---- watches ---- */

static void arm(struct watch *w);

/* The library calls this for session events too (once per watch): not ours. */
static void on_watch(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
	struct watch *w = ctx;

	if (type == ZOO_SESSION_EVENT)
		return;
	if (type != ZOO_CHILD_EVENT)
		w->node_armed = false;
	if (type == ZOO_CHILD_EVENT || type == ZOO_DELETED_EVENT || type == ZOO_NOTWATCHING_EVENT)
		w->children_armed = false;
	w->missing = false;
	if (!w->active) {
		if (w->kind == ZK_OBSERVE_NODE && !w->node_armed && !w->node_asked) { /* the library has let go of it */
			HASH_DEL(w->s->watches, w);
			mem_free(w);
		}
		return;
	}
	arm(w);
	note_look(w->s, w);
}

static void armed(struct wire *x, int rc)
{
	struct watch *w = x->watch;
	bool children = x->children;

	if (rc == ZSESSIONMOVED)
		x->s->moved = true;
	wire_free(x);
	if (!children) {
		w->node_asked = false;
		w->node_armed = rc == ZOK || rc == ZNONODE;
		return;
	}
	w->children_asked = false;
	w->children_armed = rc == ZOK;
	w->missing = rc == ZNONODE;
}

static void armed_node(int rc, const struct Stat *st, const void *data)
{
	armed((struct wire *)(uintptr_t)data, rc);
}

static void armed_children(int rc, const struct String_vector *names, const void *data)
{
	armed((struct wire *)(uintptr_t)data, rc);
}

/* First the node, then the children: a node made between the two is seen by the first. */
static void arm(struct watch *w)
{
	struct zk_sess *s = w->s;

	if (!s->connected || !w->active)
		return;
	if (!w->node_armed && !w->node_asked) {
		struct wire *x = wire_new(s, NULL);
		x->watch = w;
		w->node_asked = true;
		if (zoo_awexists(s->zh, w->path, on_watch, w, armed_node, x) != ZOK) {
			w->node_asked = false;
			wire_free(x);
		}
	}
	if (w->kind == ZK_OBSERVE_CHILDREN && !w->children_armed && !w->missing && !w->children_asked) {
		struct wire *x = wire_new(s, NULL);
		x->watch = w;
		x->children = true;
		w->children_asked = true;
		if (zoo_awget_children(s->zh, w->path, on_watch, w, armed_children, x) != ZOK) {
			w->children_asked = false;
			wire_free(x);
		}
	}
}

static void observe(struct zk_sess *s, const struct zk_cmd *c)
{
	size_t len = strlen(c->path);
	struct watch *w;
	char *key = mem_alloc(len + 2);

	key[0] = c->flags == ZK_OBSERVE_NODE ? 'n' : 'c';
	memcpy(key + 1, c->path, len + 1);
	HASH_FIND_STR(s->watches, key, w);
	if (!w && c->kind == ZKC_OBSERVE) {
		w = mem_zalloc(sizeof(*w) + len + 2);
		memcpy(w->key, key, len + 2);
		w->path = w->key + 1;
		w->s = s;
		w->kind = (enum zk_observe_kind)c->flags;
		HASH_ADD_STR(s->watches, key, w);
	}
	mem_free(key);
	if (!w)
		return;
	/* The record stays when it is not wanted any more, until it fires: the library may still call it. */
	w->active = c->kind == ZKC_OBSERVE;
	arm(w);
}

static void drop_watches(struct zk_sess *s)
{
	struct watch *w, *tmp;

	HASH_ITER (hh, s->watches, w, tmp) {
		HASH_DEL(s->watches, w);
		mem_free(w);
	}
}

/* ---- sessions ---- */

bool os_zk_hosts_valid(const char *hosts)
{
	const char *at = hosts;

	for (;;) {
		const char *end = strchrnul(at, ',');
		const char *colon = memrchr(at, ':', (size_t)(end - at));
		char digits[8] = "";
		int32_t port;
		if (!colon || colon == at || end - colon - 1 > 5)
			return false;
		memcpy(digits, colon + 1, (size_t)(end - colon - 1));
		if (str_to_i32(digits, &port) || port < 1 || port > 65535)
			return false;
		if (*end == '\0')
			return true;
		at = end + 1;
	}
}

/* The hosts as numeric addresses; "" if none resolves. Caller frees. */
static char *resolve(struct zk_sess *s)
{
	struct str out;
	char *list = mem_strdup(s->hosts), *save = NULL;

	str_init(&out);
	s->has_names = false;
	for (char *host = strtok_r(list, ",", &save); host; host = strtok_r(NULL, ",", &save)) {
		struct os_addr addrs[ADDRS_MAX];
		size_t count = 1;
		char *colon = strrchr(host, ':'), text[64];
		uint16_t port = (uint16_t)atoi(colon + 1);
		*colon = '\0';
		size_t n = strlen(host);
		if (host[0] == '[' && host[n - 1] == ']') {
			host[n - 1] = '\0';
			host++;
		}
		if (!os_addr_numeric(host, port, &addrs[0])) {
			s->has_names = true;
			count = os_addr_resolve(host, port, addrs, ADDRS_MAX);
		}
		for (size_t i = 0; i < count; i++) {
			os_addr_text(&addrs[i], text, sizeof(text), &port);
			str_printf(&out, "%s%s:%u", out.len ? "," : "", text, port);
		}
	}
	mem_free(list);
	return str_steal(&out);
}

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *ctx)
{
	struct zk_sess *s = ctx;

	if (type != ZOO_SESSION_EVENT || s->expired)
		return;
	if (state == ZOO_CONNECTED_STATE) {
		const clientid_t *id = zoo_client_id(zh);
		bool resumed = s->have_id && s->id.client_id == id->client_id;
		s->id = *id;
		s->have_id = true;
		s->connected = s->fresh = true;
		contact(s);
		note_event(s, ZK_CONNECTED, resumed);
	} else if (state == ZOO_EXPIRED_SESSION_STATE || state == ZOO_AUTH_FAILED_STATE) {
		s->connected = false;
		s->expired = true;
		note_event(s, ZK_EXPIRED, false);
	} else if (s->connected) {
		s->connected = false;
		s->resolve_us = os_now_us() + RESOLVE_AGAIN_MS * 1000;
		note_event(s, ZK_SUSPENDED, false);
	}
}

static void quiet(const char *message)
{
}

/* Closes the handle; an established and connected session is ended at the server. Everything outstanding is called back. */
static void close_handle(struct zk_sess *s)
{
	struct watch *w, *tmp;

	if (!s->zh)
		return;
	zookeeper_close(s->zh);
	s->zh = NULL;
	s->fd = -1;
	s->connected = false;
	while (!list_empty(&s->wires)) {
		struct wire *x = LIST_ENTRY(s->wires.next, struct wire, link);
		if (x->cmd)
			wire_end(x, ZCLOSING);
		else
			wire_free(x);
	}
	/* They lived in the handle. */
	HASH_ITER (hh, s->watches, w, tmp)
		w->node_armed = w->children_armed = w->missing = w->node_asked = w->children_asked = false;
}

static void open_handle(struct zk_sess *s, int64_t now)
{
	char *addrs = resolve(s);

	s->resolve_us = os_now_us() + RESOLVE_AGAIN_MS * 1000;
	if (s->zh) { /* a second look at the names */
		if (addrs[0] == '\0' || strcmp(addrs, s->addrs) == 0) {
			mem_free(addrs);
			return;
		}
		close_handle(s); /* not connected: the session goes on */
	}
	mem_free(s->addrs);
	s->addrs = addrs;
	s->fd = -1;
	if (addrs[0] != '\0')
		s->zh = zookeeper_init2(addrs, on_session, s->session_timeout_ms, s->have_id ? &s->id : NULL, s, ZOO_NO_LOG_CLIENTENV, quiet);
	if (s->zh)
		zoo_set_servers_resolution_delay(s->zh, -1); /* numeric: nothing to look up */
	else
		s->retry_us = now + RETRY_MS * 1000;
}

static struct zk_sess *sess_new(struct os_zk_thread *t, struct os_zk *zk)
{
	struct zk_sess *s = MEM_NEW(struct zk_sess);

	s->t = t;
	s->zk = zk;
	s->hosts = mem_strdup(zk->hosts);
	s->session_timeout_ms = zk->session_timeout_ms;
	s->fd = -1;
	list_init(&s->wires);
	list_init(&s->link);
	list_push_back(&t->sessions, &s->link);
	return s;
}

static void fail_waiting(struct zk_sess *s, int err)
{
	while (s->head) {
		struct zk_cmd *c = s->head;
		s->head = c->next;
		answer(c, err);
	}
	s->tail = NULL;
}

static void sess_free(struct zk_sess *s)
{
	fail_waiting(s, ERR_CLOSED);
	close_handle(s);
	drop_watches(s);
	list_remove(&s->link);
	mem_free(s->hosts);
	mem_free(s->addrs);
	mem_free(s);
}

/* ---- commands ---- */

static void cmd_end_session(struct os_zk_thread *t, struct zk_cmd *c)
{
	struct zk_sess *s = sess_new(t, c->zk);

	s->zk = NULL;
	s->ending = c;
	s->id.client_id = c->session.id;
	memcpy(s->id.passwd, c->session.password, sizeof(s->id.passwd));
	s->have_id = true;
}

static void cancel_endings(struct os_zk_thread *t, const struct os_zk *zk)
{
	LIST_FOR_SAFE (it, tmp, &t->sessions) {
		struct zk_sess *s = LIST_ENTRY(it, struct zk_sess, link);
		struct zk_cmd *c = s->ending;
		if (c && c->zk == zk) {
			sess_free(s);
			answer(c, ERR_CLOSED);
		}
	}
}

static void cmd_reopen(struct zk_sess *s)
{
	close_handle(s);
	drop_watches(s);
	fail_waiting(s, ERR_EXPIRED);
	s->have_id = s->expired = s->fresh = false;
	memset(&s->id, 0, sizeof(s->id));
	s->retry_us = 0;
	s->era++;
}

static void take(struct os_zk_thread *t, struct zk_cmd *c)
{
	struct zk_sess *s = c->zk->sess;

	switch (c->kind) {
	case ZKC_OPEN:
		c->zk->sess = sess_new(t, c->zk);
		answer(c, 0);
		return;
	case ZKC_CLOSE:
		cancel_endings(t, c->zk);
		sess_free(s);
		answer(c, 0);
		return;
	case ZKC_REOPEN:
		cmd_reopen(s);
		answer(c, 0);
		return;
	case ZKC_OBSERVE:
	case ZKC_UNOBSERVE:
		/* Registrations overtake requests that wait for a connection: earlier is as good. */
		observe(s, c);
		answer(c, 0);
		return;
	case ZKC_END_SESSION:
		cmd_end_session(t, c);
		return;
	default:
		break;
	}
	if (s->expired) {
		answer(c, ERR_EXPIRED);
		return;
	}
	c->next = NULL;
	if (s->tail)
		s->tail->next = c;
	else
		s->head = c;
	s->tail = c;
}

static void take_all(struct os_zk_thread *t)
{
	struct zk_cmd *taken = atomic_exchange_explicit(&t->inbox, NULL, memory_order_acquire), *first = NULL;

	while (taken) {
		struct zk_cmd *next = taken->next;
		taken->next = first;
		first = taken;
		taken = next;
	}
	while (first) {
		struct zk_cmd *c = first;
		first = c->next;
		take(t, c);
	}
}

/* ---- turns ---- */

static void send_waiting(struct zk_sess *s, int64_t now)
{
	if (s->expired)
		fail_waiting(s, ERR_EXPIRED);
	while (s->head) {
		struct zk_cmd *c = s->head;
		bool late = c->deadline_us <= now;
		if (!s->connected && !late)
			return;
		s->head = c->next;
		if (!s->head)
			s->tail = NULL;
		if (s->connected)
			send_cmd(s, c);
		else
			answer(c, ERR_TIMEOUT);
	}
}

/* After the library ran: what its callbacks left to do. True if the session is gone. */
static bool settle(struct zk_sess *s, int64_t now)
{
	struct watch *w, *tmp;

	if (s->ending && (s->expired || now >= s->ending->deadline_us)) {
		struct zk_cmd *c = s->ending;
		int err = s->expired ? 0 : ERR_TIMEOUT;
		sess_free(s);
		answer(c, err);
		return true;
	}
	if (s->ending && s->connected) {
		/* This ends it, unless its former owner lives and took it back just now: only "expired" proves it, so ask again. */
		close_handle(s);
		return false;
	}
	if (s->fresh && s->connected) {
		s->fresh = false;
		HASH_ITER (hh, s->watches, w, tmp) {
			if (w->kind == ZK_OBSERVE_CHILDREN && w->missing)
				w->missing = false;
			arm(w);
			note_look(s, w);
		}
	}
	if (s->moved && s->fd >= 0) {
		s->moved = false;
		shutdown(s->fd, SHUT_RDWR); /* the library sees a lost connection and goes to the next server */
	}
	send_waiting(s, now);
	return false;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Lets the library do what is due and say what it waits for; returns when it wants to be asked again. */
static int64_t prepare(struct zk_sess *s, int64_t now)
{
	struct timeval tv = {0};

	s->fd = -1;
	s->interest = 0;
	if (s->expired)
		return FAR;
	if (!s->zh && now >= s->retry_us)
		open_handle(s, now);
	else if (s->zh && !s->connected && s->has_names && now >= s->resolve_us)
		open_handle(s, now);
	if (!s->zh)
		return s->retry_us;
	int rc = zookeeper_interest(s->zh, &s->fd, &s->interest, &tv);
	int64_t wait_us = (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
	if (rc != ZOK || s->fd < 0) {
		s->fd = -1;
		if (wait_us < 10000)
			wait_us = 10000; /* it failed at once: no spinning */
	}
	return now + wait_us;
}

static void process(struct zk_sess *s, int revents)
{
	bool broken = revents & (POLLERR | POLLHUP | POLLNVAL);

	if (s->interest & ZOOKEEPER_WRITE && (broken || revents & POLLOUT))
		if (zookeeper_process(s->zh, ZOOKEEPER_WRITE) != ZOK)
			return;
	if (!broken && !(revents & POLLIN))
		return;
	/* One packet a call. After ZOK the socket was read and something came: contact. */
	for (int i = 0; i < PACKETS_MAX && !s->expired; i++) {
		if (zookeeper_process(s->zh, ZOOKEEPER_READ) != ZOK)
			break;
		contact(s);
	}
}

static void turn(struct os_zk_thread *t)
{
	int64_t now = os_now_us(), until = now + 60 * 1000000;
	size_t count = 1;
	bool connected = false;

	LIST_FOR_SAFE (it, tmp, &t->sessions) {
		struct zk_sess *s = LIST_ENTRY(it, struct zk_sess, link);
		if (settle(s, now))
			continue;
		until = earlier(until, prepare(s, now));
		if (s->head)
			until = earlier(until, s->head->deadline_us);
		if (s->ending)
			until = earlier(until, s->ending->deadline_us);
		connected = connected || s->connected;
		count++;
	}
	MEM_GROW(t->fds, t->fds_cap, count);
	t->fds[0] = (struct pollfd){.fd = t->wake_fd, .events = POLLIN};
	size_t at = 1;
	LIST_FOR (it, &t->sessions) {
		struct zk_sess *s = LIST_ENTRY(it, struct zk_sess, link);
		int events = (s->interest & ZOOKEEPER_READ ? POLLIN : 0) | (s->interest & ZOOKEEPER_WRITE ? POLLOUT : 0);
		t->fds[at++] = (struct pollfd){.fd = s->fd, .events = (short)events}; /* -1 is skipped */
	}
	t->poll_entered_us = os_now_us();
	int64_t wait_ms = (until - t->poll_entered_us + 999) / 1000;
	if (connected && wait_ms > CONTACT_GRAIN_MS)
		wait_ms = CONTACT_GRAIN_MS;
	poll(t->fds, at, wait_ms > 0 ? (int)wait_ms : 0);
	if (t->fds[0].revents) {
		uint64_t waste;
		ssize_t ignored = read(t->wake_fd, &waste, sizeof(waste));
		(void)ignored;
	}
	at = 1;
	now = os_now_us();
	LIST_FOR_SAFE (it, tmp, &t->sessions) {
		struct zk_sess *s = LIST_ENTRY(it, struct zk_sess, link);
		int revents = t->fds[at++].revents;
		if (s->zh && s->fd >= 0 && revents)
			process(s, revents);
		settle(s, now);
	}
	take_all(t);
}

static void *zk_main(void *arg)
{
	struct os_zk_thread *t = arg;

	pthread_setname_np(pthread_self(), "zookeeper");
	loop_set_current(NULL);
	while (!atomic_load_explicit(&t->stop, memory_order_acquire))
		turn(t);
	return NULL;
}

void os_zk_thread_submit(struct os_zk_thread *t, struct zk_cmd *c)
{
	struct zk_cmd *old = atomic_load_explicit(&t->inbox, memory_order_relaxed);

	do
		c->next = old;
	while (!atomic_compare_exchange_weak_explicit(&t->inbox, &old, c, memory_order_release, memory_order_relaxed));
	if (!old) {
		uint64_t one = 1;
		ssize_t ignored = write(t->wake_fd, &one, sizeof(one));
		(void)ignored;
	}
}

struct os_zk_thread *os_zk_thread_new(void)
{
	struct os_zk_thread *t = MEM_NEW(struct os_zk_thread);

	zoo_set_debug_level((ZooLogLevel)0);
	list_init(&t->sessions);
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->wake_fd < 0)
		os_die("eventfd");
	if (pthread_create(&t->thread, NULL, zk_main, t) != 0)
		os_die("cannot start a thread");
	return t;
}

void os_zk_thread_free(struct os_zk_thread *t)
{
	uint64_t one = 1;

	atomic_store_explicit(&t->stop, true, memory_order_release);
	ssize_t ignored = write(t->wake_fd, &one, sizeof(one));
	(void)ignored;
	pthread_join(t->thread, NULL);
	while (!list_empty(&t->sessions))
		sess_free(LIST_ENTRY(t->sessions.next, struct zk_sess, link));
	close(t->wake_fd);
	mem_free(t->fds);
	mem_free(t);
}
