/* server.c: links, hellos and the frames that come in. See push.h. */
#include <inttypes.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "controllerd/push/push.h"

enum { PROTOCOL = 1, HELLO_FRAME_MAX = 16 << 20, ROWS_MAX = 2000000, PEERS_MAX = 2000, BACKLOG = 128 };

static const struct link_handler peer_handler;

bool push_active(const struct push *p) { return p->st->active && p->st->loaded && p->el->phase == ELECT_ACTIVE; }

struct push_peer *push_broker_peer(struct push *p, int32_t id)
{
	struct push_peer *found = NULL;
	LIST_FOR(n, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (peer->greeted && !peer->is_controller && peer->id == id)
			found = peer;
	}
	return found;
}

struct push_peer *push_peer_numbered(struct push *p, uint32_t number)
{
	LIST_FOR(n, &p->peers)
		if (LIST_ENTRY(n, struct push_peer, link)->number == number)
			return LIST_ENTRY(n, struct push_peer, link);
	return NULL;
}

static void peer_free(struct push_peer *peer)
{
	list_remove(&peer->link);
	ring_forget(peer);
	link_free(peer->stream);
	frame_free(peer->hello);
	mem_free(peer->rows);
	mem_free(peer);
}

void push_peer_drop(struct push_peer *peer, const char *why)
{
	struct push *p = peer->push;
	bool broker = peer->greeted && !peer->is_controller;
	int32_t id = peer->id;
	LOG_AT(p->env->log, LOG_INFO, "link", "closed", "peer=%d controller=%d why=%s", id, peer->is_controller, LOGQ(why));
	peer_free(peer);
	if (broker && !push_broker_peer(p, id))
		live_link_closed(p, id);
}

/* ---- hello ---- */

void push_hello_reply(struct push_peer *peer, bool admitted, bool registration_missing, const char *refused)
{
	struct push *p = peer->push;
	Klamm__Control__HelloReply r;
	klamm__control__hello_reply__init(&r);
	bool active = push_active(p);
	r.protocol = PROTOCOL;
	r.controller_id = p->cfg.id;
	r.active = active;
	r.controller_epoch = active ? p->el->epoch : p->el->known_epoch;
	r.cluster_id = p->el->cluster_id;
	r.refused = (char *)(uintptr_t)(refused ? refused : "");
	r.admitted = admitted;
	r.incarnation = p->cfg.incarnation;
	r.registration_missing = registration_missing;
	Klamm__Control__Frame f;
	klamm__control__frame__init(&f);
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HELLO_REPLY;
	f.hello_reply = &r;
	frame_send(peer->stream, &f);
}

static void refuse(struct push_peer *peer, const char *why)
{
	LOG_AT(peer->push->env->log, LOG_WARN, "link", "refused", "peer=%s id=%d why=%s", link_peer(peer->stream), peer->id, LOGQ(why));
	push_hello_reply(peer, false, false, why);
	link_shutdown(peer->stream);
}

static bool loopback(const char *peer)
{
	return strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0 || strncmp(peer, "::ffff:127.", 11) == 0;
}

/* NULL: fine. */
static const char *hello_problem(const struct push_peer *peer, const Klamm__Control__Hello *h)
{
	const struct push *p = peer->push;
	if (h->protocol_min > PROTOCOL || h->protocol_max < PROTOCOL)
		return "no common version of the control protocol: bring both sides to versions next to each other";
	if (!p->cfg.allow_remote && !loopback(link_peer(peer->stream)))
		return "links from other machines need a proof of identity";
	if (*h->cluster_id && p->el->cluster_id[0] && strcmp(h->cluster_id, p->el->cluster_id) != 0)
		return "this is another cluster: its cluster.id differs";
	if (h->id < 0)
		return "an id below 0";
	if (!h->is_controller && h->id == p->cfg.id)
		return "this broker.id is the controller.id of a controller: they must differ";
	return NULL;
}

static bool dir_lossy(const Klamm__Control__Hello *h)
{
	/* rows carry their own class; a directory that is offline or lossy taints only what lies in it, and that is said per row */
	bool all = h->n_dirs > 0;
	for (size_t i = 0; i < h->n_dirs; i++)
		all &= h->dirs[i]->start_class == KLAMM__CONTROL__START_CLASS__LOSSY;
	return all;
}

static bool add_rows(struct push_peer *peer, Klamm__Control__Replica **in, size_t n)
{
	bool all_lossy = dir_lossy(peer->hello->hello);
	if (peer->row_count + n > ROWS_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		const Klamm__Control__Replica *r = in[i];
		struct plan_inventory row = {.partition = r->partition, .last_epoch = r->last_epoch, .log_end_offset = r->log_end_offset};
		if (r->missing || r->topic_id.len != sizeof(row.topic_id.b))
			continue; /* a missing one has no row: that is how it is known (E1) */
		memcpy(row.topic_id.b, r->topic_id.data, sizeof(row.topic_id.b));
		row.name_hash = plan_name_hash(r->topic);
		row.lossy = all_lossy || r->start_class == KLAMM__CONTROL__START_CLASS__LOSSY;
		MEM_GROW(peer->rows, peer->row_cap, peer->row_count + 1);
		peer->rows[peer->row_count++] = row;
	}
	return true;
}

/* The hello of a broker is handed to the reign: now, or when it has loaded. */
static void hello_to_state(struct push_peer *peer)
{
	struct push *p = peer->push;
	const Klamm__Control__Hello *h = peer->hello->hello;
	struct plan_broker *b = plan_broker_get(p->st->im, peer->id);
	plan_configs_fini(&b->statics);
	for (size_t i = 0; i < h->n_static_config; i++)
		plan_configs_put(&b->statics, h->static_config[i]->key, h->static_config[i]->value);
	plan_broker_clear_inventory(b);
	for (size_t i = 0; i < peer->row_count; i++)
		plan_broker_add_inventory(b, &peer->rows[i]);
	plan_broker_sort_inventory(b);
	b->inventory_us = peer->hello_us;
	b->dir_offline = peer->any_offline;
	b->hello_seen = true;
	ring_forget(peer);
	state_hello(p->st, &(struct state_hello){peer->id, h->boot_epoch, h->broker_epoch});
}

/* A fenced broker that is heard again, same process: a false alarm is over (D4). */
void push_readmit(struct push_peer *peer, int64_t broker_epoch)
{
	struct push *p = peer->push;
	Klamm__Control__Hello *h = peer->hello->hello;
	h->broker_epoch = broker_epoch;
	state_hello(p->st, &(struct state_hello){peer->id, h->boot_epoch, broker_epoch});
}

static void hello_complete(struct push_peer *peer)
{
	struct push *p = peer->push;
	const Klamm__Control__Hello *h = peer->hello->hello;
	peer->greeted = true;
	peer->hello_us = peer->heard_us = env_now_us(p->env);
	LOG_AT(p->env->log, LOG_INFO, "link", "hello", "%s=%d boot_epoch=%" PRId64 " broker_epoch=%" PRId64 " replicas=%zu version=%s",
	       h->is_controller ? "controller" : "broker", h->id, (int64_t)h->boot_epoch, (int64_t)h->broker_epoch, peer->row_count, LOGQ(h->version));
	LIST_FOR_SAFE(n, tmp, &p->peers) { /* an older link of the same process, or of its former life */
		struct push_peer *o = LIST_ENTRY(n, struct push_peer, link);
		if (o != peer && o->greeted && o->id == peer->id && o->is_controller == peer->is_controller)
			push_peer_drop(o, "replaced by a newer link");
	}
	push_hello_reply(peer, false, false, NULL);
	if (peer->is_controller) {
		if (push_active(p))
			ring_subscribe(peer, h->known_controller_epoch, h->known_seq);
		return;
	}
	live_hello(p, peer->id);
	if (push_active(p))
		hello_to_state(peer);
}

static void on_hello(struct push_peer *peer, Klamm__Control__Frame *f)
{
	const Klamm__Control__Hello *h = f->hello;
	frame_free(peer->hello);
	peer->hello = f;
	peer->greeted = false;
	peer->id = h->id;
	peer->is_controller = h->is_controller;
	peer->row_count = 0;
	peer->any_offline = false;
	const char *problem = hello_problem(peer, h);
	if (problem) {
		refuse(peer, problem);
		return;
	}
	for (size_t i = 0; i < h->n_dirs; i++)
		peer->any_offline |= h->dirs[i]->offline;
	link_set_frame_max(peer->stream, LINK_FRAME_MAX);
	if (!add_rows(peer, h->inventory, h->n_inventory))
		refuse(peer, "more replicas than a broker can have");
	else if (!h->inventory_more)
		hello_complete(peer);
}

static void on_inventory(struct push_peer *peer, const Klamm__Control__ReplicaInventory *m)
{
	if (!peer->hello || peer->greeted)
		return;
	if (!add_rows(peer, m->inventory, m->n_inventory))
		refuse(peer, "more replicas than a broker can have");
	else if (!m->more)
		hello_complete(peer);
}

/* ---- frames ---- */

static void on_deletion_done(struct push_peer *peer, const Klamm__Control__DeletionDone *d)
{
	for (size_t i = 0; i < d->n_topics; i++) {
		struct uuid id;
		if (d->topics[i]->topic_id.len != sizeof(id.b))
			continue;
		memcpy(id.b, d->topics[i]->topic_id.data, sizeof(id.b));
		state_deletion_done(peer->push->st, peer->id, &id, false);
	}
}

static void on_dir_failure(struct push_peer *peer, const Klamm__Control__DirFailure *d)
{
	struct push *p = peer->push;
	LOG_AT(p->env->log, LOG_WARN, "broker", "dir.failed", "broker=%d dirs=%zu replicas=%zu", peer->id, d->n_directory_ids, d->n_replicas);
	for (size_t i = 0; i < d->n_replicas; i++) {
		struct uuid id;
		if (d->replicas[i]->topic_id.len != sizeof(id.b))
			continue;
		memcpy(id.b, d->replicas[i]->topic_id.data, sizeof(id.b));
		state_replica_offline(p->st, peer->id, &id, d->replicas[i]->partition);
	}
}

/* Brokers' requests count only under a reign that has loaded. */
static void on_broker_frame(struct push_peer *peer, const Klamm__Control__Frame *f)
{
	switch (f->body_case) {
	case KLAMM__CONTROL__FRAME__BODY_APPLIED:
		live_applied(peer, f->applied->controller_epoch, f->applied->seq);
		break;
	case KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION:
		admin_alter_partition(peer, f->alter_partition);
		break;
	case KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN:
		admin_shutdown(peer, f->controlled_shutdown);
		break;
	case KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS:
		admin_producer_ids(peer, f->producer_ids);
		break;
	case KLAMM__CONTROL__FRAME__BODY_FORWARD:
		admin_forward(peer, f->forward);
		break;
	case KLAMM__CONTROL__FRAME__BODY_PROBE_REPLY:
		live_probe_reply(peer->push, f->probe_reply);
		break;
	case KLAMM__CONTROL__FRAME__BODY_DIR_FAILURE:
		on_dir_failure(peer, f->dir_failure);
		break;
	case KLAMM__CONTROL__FRAME__BODY_DELETION_DONE:
		on_deletion_done(peer, f->deletion_done);
		break;
	default:
		break; /* a newer peer may say more than we know */
	}
}

static void on_frame(struct link *l, void *ctx, struct slice body)
{
	struct push_peer *peer = ctx;
	struct push *p = peer->push;
	Klamm__Control__Frame *f = frame_decode(body);
	if (!f) {
		push_peer_drop(peer, "a frame that does not parse");
		return;
	}
	peer->heard_us = env_now_us(p->env);
	if (f->body_case == KLAMM__CONTROL__FRAME__BODY_HELLO) {
		on_hello(peer, f); /* keeps it */
		return;
	}
	if (f->body_case == KLAMM__CONTROL__FRAME__BODY_INVENTORY)
		on_inventory(peer, f->inventory);
	else if (f->body_case == KLAMM__CONTROL__FRAME__BODY_HEARTBEAT && peer->greeted)
		live_heartbeat(peer, f->heartbeat);
	else if (peer->greeted && !peer->is_controller && push_active(p))
		on_broker_frame(peer, f);
	frame_free(f);
}

static void on_closed(struct link *l, void *ctx, int err) { push_peer_drop(ctx, err_str(err)); }

static void on_sent(struct link *l, void *ctx, uint64_t left)
{
	struct push_peer *peer = ctx;
	if (peer->subscribed)
		ring_pump(peer);
}

static const struct link_handler peer_handler = {.frame = on_frame, .closed = on_closed, .sent = on_sent};

static void on_accept(struct listener *ln, struct conn *c, void *ctx)
{
	struct push *p = ctx;
	int32_t count = 0;
	LIST_FOR(n, &p->peers)
		count++;
	if (count >= PEERS_MAX) {
		conn_close(c);
		return;
	}
	struct push_peer *peer = MEM_NEW(struct push_peer);
	peer->push = p;
	peer->id = -1;
	peer->number = ++p->next_peer;
	peer->heard_us = env_now_us(p->env);
	list_init(&peer->link);
	list_push_back(&p->peers, &peer->link);
	peer->stream = link_accept(c, &peer_handler, peer);
	link_set_frame_max(peer->stream, HELLO_FRAME_MAX);
}

/* ---- what state/ tells ---- */

static void host_loaded(void *ctx)
{
	struct push *p = ctx;
	live_loaded(p);
	LIST_FOR_SAFE(n, tmp, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (!peer->greeted)
			continue;
		push_hello_reply(peer, false, false, NULL);
		if (peer->is_controller)
			ring_subscribe(peer, 0, 0);
		else
			hello_to_state(peer);
	}
	p->st->cluster_changed = true;
	ring_changed(p);
}

static void host_admitted(void *ctx, int32_t broker)
{
	struct push *p = ctx;
	struct push_peer *peer = push_broker_peer(p, broker);
	if (!peer) /* its link went meanwhile; it says hello again */
		return;
	const Klamm__Control__Hello *h = peer->hello->hello;
	push_hello_reply(peer, true, false, NULL);
	ring_subscribe(peer, h->known_controller_epoch, h->known_seq);
	peer->admit_seq = p->seq;
}

static void host_registration_missing(void *ctx, int32_t broker)
{
	struct push_peer *peer = push_broker_peer(ctx, broker);
	if (peer)
		push_hello_reply(peer, false, true, NULL);
}

static void host_refused(void *ctx, int32_t broker, const char *why)
{
	struct push_peer *peer = push_broker_peer(ctx, broker);
	if (peer)
		refuse(peer, why);
}

static void host_want_hello(void *ctx, int32_t broker)
{
	struct push *p = ctx;
	struct push_peer *peer = push_broker_peer(p, broker);
	if (peer && env_now_us(p->env) - peer->hello_us > 1000000)
		push_peer_drop(peer, "its inventory must be taken anew");
}

static void host_registered(void *ctx, int32_t broker, bool there) { live_registered(ctx, broker, there); }
static void host_changed(void *ctx) { ring_changed(ctx); }

void push_state_host(struct push *p, struct state_host *ret)
{
	*ret = (struct state_host){
		.ctx = p,
		.loaded = host_loaded,
		.changed = host_changed,
		.admitted = host_admitted,
		.registration_missing = host_registration_missing,
		.refused = host_refused,
		.want_hello = host_want_hello,
		.registered = host_registered,
		.reject = admin_reject,
	};
}

/* ---- life ---- */

static void on_flush(void *ctx) { ring_flush(ctx); }

void push_init(struct push *p, struct loop *l, const struct push_config *cfg, struct state *st, struct elect *el)
{
	*p = (struct push){.env = l->env, .loop = l, .cfg = *cfg, .st = st, .el = el, .published_broker = -1, .first = 1};
	list_init(&p->peers);
	admin_begin(p);
	arena_init(&p->scratch, 0);
	deferred_init(&p->flush, on_flush, p);
	ring_init(p);
	live_init(p);
}

int push_listen(struct push *p)
{
	struct listen_config lc = {.host = p->cfg.host, .port = p->cfg.port, .backlog = BACKLOG, .on_accept = on_accept, .ctx = p};
	int err = listener_open(p->loop, &lc, &p->listener);
	if (err)
		return err;
	p->port = p->listener->port;
	p->tick_us = env_now_us(p->env);
	timer_set_ms(&p->tick, 50);
	return 0;
}

void push_reign_end(struct push *p)
{
	admin_end(p);
	ring_clear(p);
	LIST_FOR(n, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		ring_forget(peer);
		if (peer->greeted)
			push_hello_reply(peer, false, false, NULL);
	}
	p->live_count = 0;
}

void push_fini(struct push *p)
{
	if (!p->loop)
		return;
	timer_stop(&p->tick);
	deferred_cancel(p->loop, &p->flush);
	if (p->listener)
		listener_close(p->listener);
	p->listener = NULL;
	admin_end(p);
	while (!list_empty(&p->peers))
		peer_free(LIST_ENTRY(p->peers.next, struct push_peer, link));
	ring_clear(p);
	plan_ids_fini(&p->new_leaders);
	mem_free(p->lives);
	arena_fini(&p->scratch);
}

void push_brokers_say(struct push *p, int32_t controller, int32_t *ret_total, int32_t *ret_deaf)
{
	int64_t now = env_now_us(p->env);
	LIST_FOR(n, &p->peers) {
		const struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (!peer->greeted || peer->is_controller || now - peer->heard_us > (int64_t)p->cfg.silence_ms * 1000)
			continue;
		bool hears = false;
		for (int32_t i = 0; i < peer->heard_count; i++)
			hears |= peer->heard[i].id == controller && peer->heard[i].connected && peer->heard[i].silent_ms < (uint32_t)p->cfg.silence_ms;
		++*ret_total;
		*ret_deaf += !hears;
	}
}
