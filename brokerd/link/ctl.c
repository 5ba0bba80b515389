/* ctl.c: finding controllers, greeting them, following the one that rules. See ctl.h. */
#include "brokerd/link/ctl_priv.h"

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"

#define RETRY_LOW_MS 50
#define RETRY_HIGH_MS 400
#define CONNECT_TIMEOUT_MS 2000
#define SILENCE_MS 3000 /* a controller that says nothing for so long: connect anew */
#define DISCOVER_AGAIN_MS 200
#define INVENTORY_PER_FRAME 1000
#define COMPARED_PER_TURN 1000 /* partitions of a snapshot */
#define DROP_MS 10
#define DELETIONS_MAX 1000 /* confirmations that are remembered for the next reign */

static void peer_connect(struct peer *p);
static void on_compare(void *ctx);
static void deletion_send(struct ctl *c, struct deletion *d);

static void PRINTF_LIKE(4, 5) say(struct ctl *c, enum log_level level, const char *event, const char *fmt, ...)
{
	struct str s;
	va_list ap;
	str_init(&s);
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	LOG_AT(c->env->log, level, "link", event, "%s", str_cstr(&s));
	str_fini(&s);
}

void ctl_send(struct peer *p, pb_frame *f)
{
	size_t len = klamm__control__frame__get_packed_size(f);
	struct buf *b = buf_new(len);
	struct chain out;
	klamm__control__frame__pack(f, b->data);
	chain_init(&out);
	chain_add_buf(&out, b, 0, len);
	link_send(p->stream, &out);
}

/* ---- who rules ---- */

void ctl_active_changed(struct ctl *c)
{
	c->active_since_us = env_now_us(c->env);
	forwards_lost(c);
	if (!c->active)
		return;
	say(c, LOG_INFO, "active", "controller=%d epoch=%d", c->active->id, c->active->controller_epoch);
	proposals_send(c, true);
	forwards_send(c);
	producer_ids_ask(c);
	/* A confirmation may have been lost with the former reign; saying it twice does no harm. */
	LIST_FOR(it, &c->deletions)
		deletion_send(c, LIST_ENTRY(it, struct deletion, link));
}

/* The active is the peer that claims it under the highest epoch heard of; anyone else's commands are dropped (C6). */
static void elect_active(struct ctl *c)
{
	struct peer *best = NULL;
	LIST_FOR(it, &c->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		if (p->controller_epoch > c->highest_epoch)
			c->highest_epoch = p->controller_epoch;
	}
	LIST_FOR(it, &c->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		if (p->open && p->answered && p->active && p->controller_epoch == c->highest_epoch)
			best = p;
	}
	if (best == c->active)
		return;
	c->active = best;
	ctl_active_changed(c);
}

/* ---- peers ---- */

static void drop_snapshot(struct peer *p)
{
	timer_stop(&p->compare);
	image_snapshot_free(p->snapshot);
	p->snapshot = NULL;
	p->snapshot_whole = false;
	for (struct list *it; (it = list_pop_front(&p->held));) {
		struct held_delta *h = LIST_ENTRY(it, struct held_delta, link);
		klamm__control__delta__free_unpacked(h->delta, NULL);
		mem_free(h);
	}
}

static void peer_reset(struct peer *p)
{
	link_free(p->stream);
	p->stream = NULL;
	p->open = p->greeted = p->answered = p->admitted = p->active = false;
	drop_snapshot(p);
}

static void peer_free(struct peer *p)
{
	struct ctl *c = p->ctl;
	timer_stop(&p->retry);
	peer_reset(p);
	list_remove(&p->link);
	mem_free(p->host);
	if (c->active == p) {
		c->active = NULL;
		ctl_active_changed(c);
	}
	mem_free(p);
}

static void peer_retry(struct peer *p)
{
	timer_set_ms(&p->retry, RETRY_LOW_MS + (int64_t)env_random_below(p->ctl->env, RETRY_HIGH_MS - RETRY_LOW_MS));
}

static void peer_lost(struct peer *p, const char *why)
{
	struct ctl *c = p->ctl;
	if (p->open)
		say(c, LOG_WARN, "closed", "controller=%d why=\"%s\"", p->id, why);
	peer_reset(p);
	if (c->active == p)
		elect_active(c);
	if (p->gone) {
		peer_free(p);
		return;
	}
	peer_retry(p);
}

/* ---- hello ---- */

static void pb_uuid(ProtobufCBinaryData *d, const struct uuid *u)
{
	d->data = (uint8_t *)(uintptr_t)u->b;
	d->len = 16;
}

static void hello_config(struct ctl *c, struct arena *a, Klamm__Control__Hello *h)
{
	h->static_config = ARENA_ARRAY(a, Klamm__Control__ConfigEntry *, broker_hello_key_count);
	for (uint32_t i = 0; i < broker_hello_key_count; i++) {
		bool from_file;
		const char *v = broker_config_value(c->config, broker_key_find(broker_hello_keys[i]), &from_file);
		if (!v || !from_file)
			continue; /* Kafka's default: the controller knows it */
		Klamm__Control__ConfigEntry *e = ARENA_NEW(a, Klamm__Control__ConfigEntry);
		klamm__control__config_entry__init(e);
		e->key = (char *)(uintptr_t)broker_hello_keys[i];
		e->value = (char *)(uintptr_t)v;
		h->static_config[h->n_static_config++] = e;
	}
}

static void hello_places(struct ctl *c, struct arena *a, const struct ctl_hello *in, Klamm__Control__Hello *h)
{
	h->dirs = ARENA_ARRAY(a, Klamm__Control__LogDir *, in->dirs->count);
	for (uint32_t i = 0; i < in->dirs->count; i++) {
		struct log_dir *d = in->dirs->dirs[i];
		Klamm__Control__LogDir *m = ARENA_NEW(a, Klamm__Control__LogDir);
		klamm__control__log_dir__init(m);
		pb_uuid(&m->directory_id, &d->directory_id);
		m->start_class = (Klamm__Control__StartClass)d->start_class;
		m->offline = atomic_load(&d->offline);
		h->dirs[h->n_dirs++] = m;
	}
	h->endpoints = ARENA_ARRAY(a, Klamm__Control__Endpoint *, c->config->advertised_count);
	for (uint32_t i = 0; i < c->config->advertised_count; i++) {
		const struct config_listener *l = &c->config->advertised[i];
		Klamm__Control__Endpoint *m = ARENA_NEW(a, Klamm__Control__Endpoint);
		klamm__control__endpoint__init(m);
		m->listener = l->name;
		m->host = l->host;
		m->port = l->port;
		m->security = l->security;
		h->endpoints[h->n_endpoints++] = m;
	}
}

static Klamm__Control__Replica *hello_replica(struct arena *a, const struct ctl_replica *r)
{
	Klamm__Control__Replica *m = ARENA_NEW(a, Klamm__Control__Replica);
	klamm__control__replica__init(m);
	pb_uuid(&m->topic_id, &r->topic_id);
	m->topic = (char *)(uintptr_t)r->topic;
	m->partition = r->partition;
	m->last_epoch = r->last_epoch;
	m->log_end_offset = r->log_end_offset;
	m->start_class = (Klamm__Control__StartClass)r->start_class;
	m->missing = r->missing;
	return m;
}

static void greet(struct peer *p)
{
	struct ctl *c = p->ctl;
	struct ctl_hello in = {0};
	struct arena a;
	if (!p->open || !c->ev.hello(c->ev.ctx, &in))
		return;
	arena_init(&a, 0);
	Klamm__Control__Hello h = KLAMM__CONTROL__HELLO__INIT;
	h.protocol_min = 1;
	h.protocol_max = 1;
	h.cluster_id = (char *)(uintptr_t)in.cluster_id;
	h.id = c->config->broker_id;
	h.boot_epoch = in.boot_epoch;
	h.broker_epoch = in.broker_epoch;
	h.incarnation = c->incarnation;
	h.version = (char *)(uintptr_t)c->version;
	if (c->config->rack)
		h.rack = c->config->rack;
	h.known_controller_epoch = image_controller_epoch(c->image);
	h.known_seq = image_seq(c->image);
	hello_config(c, &a, &h);
	hello_places(c, &a, &in, &h);
	uint32_t sent = 0;
	for (bool first = true; first || sent < in.inventory_count; first = false) {
		uint32_t n = in.inventory_count - sent < INVENTORY_PER_FRAME ? in.inventory_count - sent : INVENTORY_PER_FRAME;
		Klamm__Control__Replica **rows = ARENA_ARRAY(&a, Klamm__Control__Replica *, n + 1);
		for (uint32_t i = 0; i < n; i++)
			rows[i] = hello_replica(&a, &in.inventory[sent + i]);
		sent += n;
		pb_frame f = KLAMM__CONTROL__FRAME__INIT;
		Klamm__Control__ReplicaInventory more = KLAMM__CONTROL__REPLICA_INVENTORY__INIT;
		if (first) {
			h.inventory = rows;
			h.n_inventory = n;
			h.inventory_more = sent < in.inventory_count;
			f.body_case = KLAMM__CONTROL__FRAME__BODY_HELLO;
			f.hello = &h;
		} else {
			more.inventory = rows;
			more.n_inventory = n;
			more.more = sent < in.inventory_count;
			f.body_case = KLAMM__CONTROL__FRAME__BODY_INVENTORY;
			f.inventory = &more;
		}
		ctl_send(p, &f);
	}
	p->greeted = true;
	arena_fini(&a);
}

void ctl_greet(struct ctl *c, bool all)
{
	LIST_FOR(it, &c->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		if (all || !p->greeted)
			greet(p);
	}
}

/* ---- metadata ---- */

static void on_drop(void *ctx)
{
	struct ctl *c = ctx;
	bool gone = image_drop_some(c->former[0], COMPARED_PER_TURN);
	if (gone)
		memmove(c->former, c->former + 1, sizeof(c->former[0]) * --c->former_count);
	if (c->former_count)
		timer_set_ms(&c->drop, DROP_MS);
}

static void part_with(struct ctl *c, struct image *im, bool snapshot)
{
	if (!snapshot || c->former_count == FORMER_IMAGES) { /* after a delta the next one has most of it */
		image_unref(im);
		return;
	}
	c->former[c->former_count++] = im;
	if (!timer_armed(&c->drop))
		timer_set_ms(&c->drop, DROP_MS);
}

static void take_image(struct ctl *c, struct image *im, struct image_changes *ch, bool snapshot)
{
	part_with(c, c->image, snapshot);
	c->image = im;
	proposals_settle(c);
	c->ev.image(c->ev.ctx, im, ch, snapshot);
	image_changes_free(ch);
}

static bool apply_delta(struct peer *p, const Klamm__Control__Delta *d)
{
	struct ctl *c = p->ctl;
	struct image *im;
	struct image_changes ch;
	int32_t epoch = image_controller_epoch(c->image);
	if (d->controller_epoch < epoch || (d->controller_epoch == epoch && d->seq <= image_seq(c->image)))
		return true; /* had it */
	if (d->controller_epoch != epoch || d->seq != image_seq(c->image) + 1)
		return false; /* a hole: greet again and get what is missing */
	Klamm__Control__Changes none = KLAMM__CONTROL__CHANGES__INIT;
	int err = image_apply(c->image, d->controller_epoch, d->seq, d->changes ? d->changes : &none, &im, &ch);
	if (err)
		return false;
	take_image(c, im, &ch, false);
	return true;
}

/* The deltas behind a snapshot, in their order. */
static bool apply_held(struct peer *p)
{
	bool fine = true;
	for (struct list *it; fine && (it = list_pop_front(&p->held));) {
		struct held_delta *h = LIST_ENTRY(it, struct held_delta, link);
		fine = apply_delta(p, h->delta);
		klamm__control__delta__free_unpacked(h->delta, NULL);
		mem_free(h);
	}
	return fine;
}

/* Some of a whole snapshot is compared in each turn (G3); at the end it is applied as one, at the seq that its last part named. */
static bool compare_some(struct peer *p)
{
	struct ctl *c = p->ctl;
	struct image *im;
	struct image_changes ch;
	if (p->snapshot_epoch < c->highest_epoch) { /* another one rules by now (C6) */
		drop_snapshot(p);
		return true;
	}
	if (!image_snapshot_compare(p->snapshot, c->image, c->config->image_slice ? c->config->image_slice : COMPARED_PER_TURN)) {
		timer_set_us(&p->compare, 0);
		return true;
	}
	int err = image_snapshot_take(p->snapshot, p->snapshot_epoch, p->snapshot_seq, &im, &ch);
	image_snapshot_free(p->snapshot);
	p->snapshot = NULL;
	p->snapshot_whole = false;
	if (!err) {
		say(c, LOG_INFO, "snapshot", "epoch=%d seq=%llu topics=%u changes=%u", p->snapshot_epoch, (unsigned long long)p->snapshot_seq, image_topic_count(im), ch.count);
		take_image(c, im, &ch, true);
	}
	return apply_held(p);
}

static void on_compare(void *ctx)
{
	struct peer *p = ctx;
	if (!compare_some(p))
		peer_lost(p, "a hole in the stream");
}

static bool on_snapshot(struct peer *p, const Klamm__Control__Snapshot *s)
{
	if (s->first) {
		drop_snapshot(p);
		p->snapshot = image_snapshot_new();
		p->snapshot_epoch = s->controller_epoch;
	}
	if (!p->snapshot || p->snapshot_whole || p->snapshot_epoch != s->controller_epoch || (s->changes && image_snapshot_add(p->snapshot, s->changes)))
		return false;
	if (!s->last)
		return true;
	p->snapshot_seq = s->seq;
	p->snapshot_whole = true;
	return compare_some(p);
}

static bool on_delta(struct peer *p, pb_frame *f)
{
	if (!p->snapshot_whole)
		return apply_delta(p, f->delta);
	struct held_delta *h = MEM_NEW(struct held_delta);
	h->delta = f->delta;
	f->delta = NULL; /* ours now */
	f->body_case = KLAMM__CONTROL__FRAME__BODY__NOT_SET;
	list_init(&h->link);
	list_push_back(&p->held, &h->link);
	return true;
}

/* ---- frames ---- */

static bool on_hello_reply(struct peer *p, const Klamm__Control__HelloReply *r)
{
	struct ctl *c = p->ctl;
	if (r->refused && *r->refused) {
		c->ev.refused(c->ev.ctx, r->refused);
		return false;
	}
	p->answered = true;
	p->active = r->active;
	p->admitted = r->admitted;
	p->controller_epoch = r->controller_epoch;
	p->incarnation = r->incarnation;
	elect_active(c);
	if (r->registration_missing)
		c->ev.registration_missing(c->ev.ctx);
	if (c->active == p)
		c->ev.admitted(c->ev.ctx, r->admitted);
	return true;
}

static void on_heartbeat_reply(struct peer *p, const Klamm__Control__HeartbeatReply *r)
{
	struct ctl *c = p->ctl;
	bool was = p->active;
	p->active = r->active;
	if (r->controller_epoch > p->controller_epoch || r->active != was) {
		if (r->controller_epoch > p->controller_epoch)
			p->controller_epoch = r->controller_epoch;
		elect_active(c);
	}
	if (c->active != p || r->suspended)
		return;
	c->ev.fenced(c->ev.ctx, r->fenced);
	if (r->registration_missing)
		c->ev.registration_missing(c->ev.ctx);
	bool as_new = r->controller_epoch == image_controller_epoch(c->image) && r->seq <= image_seq(c->image);
	if (as_new && !r->fenced && r->number + 16 > p->heartbeat_number)
		c->ev.confirmed(c->ev.ctx, p->heartbeat_sent_us[r->number % 16]);
}

static bool commands(struct peer *p, int32_t controller_epoch)
{
	struct ctl *c = p->ctl;
	if (controller_epoch > p->controller_epoch) {
		p->controller_epoch = controller_epoch;
		p->active = true; /* only a reign sends what asks this question */
		elect_active(c);
	}
	return controller_epoch >= c->highest_epoch;
}

static bool on_frame_body(struct peer *p, pb_frame *f)
{
	struct ctl *c = p->ctl;
	switch (f->body_case) {
	case KLAMM__CONTROL__FRAME__BODY_HELLO_REPLY:
		return on_hello_reply(p, f->hello_reply);
	case KLAMM__CONTROL__FRAME__BODY_SNAPSHOT:
		return !commands(p, f->snapshot->controller_epoch) || on_snapshot(p, f->snapshot);
	case KLAMM__CONTROL__FRAME__BODY_DELTA:
		return !commands(p, f->delta->controller_epoch) || on_delta(p, f);
	case KLAMM__CONTROL__FRAME__BODY_HEARTBEAT_REPLY:
		on_heartbeat_reply(p, f->heartbeat_reply);
		return true;
	case KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION_REPLY:
		if (commands(p, f->alter_partition_reply->controller_epoch))
			proposals_reply(c, f->alter_partition_reply);
		return true;
	case KLAMM__CONTROL__FRAME__BODY_FORWARD_REPLY:
		forwards_reply(c, f->forward_reply);
		return true;
	case KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS_REPLY:
		producer_ids_reply(c, f->producer_ids_reply);
		return true;
	case KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN_REPLY:
		if (c->shutdown_done) {
			void (*done)(void *, int16_t, uint32_t) = c->shutdown_done;
			c->shutdown_done = NULL;
			done(c->shutdown_ctx, (int16_t)f->controlled_shutdown_reply->error, f->controlled_shutdown_reply->remaining);
		}
		return true;
	case KLAMM__CONTROL__FRAME__BODY_PROBE:
		probe_start(p, f->probe);
		return true;
	default:
		return true; /* a newer controller may say more than we know */
	}
}

static void on_opened(struct link *l, void *ctx)
{
	struct peer *p = ctx;
	(void)l;
	p->open = true;
	p->heard_us = env_now_us(p->ctl->env);
	p->ctl->ev.link_opened(p->ctl->ev.ctx);
}

static void on_frame(struct link *l, void *ctx, struct slice body)
{
	struct peer *p = ctx;
	(void)l;
	p->heard_us = env_now_us(p->ctl->env);
	pb_frame *f = klamm__control__frame__unpack(NULL, body.len, body.ptr);
	bool fine = f && on_frame_body(p, f);
	if (f)
		klamm__control__frame__free_unpacked(f, NULL);
	if (!fine)
		peer_lost(p, f ? "refused, or a hole in the stream" : "a frame that does not parse");
}

static void on_link_closed(struct link *l, void *ctx, int err)
{
	(void)l;
	peer_lost(ctx, err_str(err));
}

static const struct link_handler peer_handler = {.opened = on_opened, .frame = on_frame, .closed = on_link_closed};

static void peer_connect(struct peer *p)
{
	p->stream = link_connect(p->ctl->loop, p->host, p->port, CONNECT_TIMEOUT_MS, &peer_handler, p);
}

static void on_retry(void *ctx)
{
	struct peer *p = ctx;
	if (!p->stream)
		peer_connect(p);
}

/* ---- discovery ---- */

/* A read whose reply was lost, or that came to no server in time. Nothing changes by that, so nobody tells us to look again. What is not there is
 * an answer, and the end of the session brings a new one. */
static void unanswered(struct ctl *c, int err)
{
	if (c->zk && err != ERR_NOENT && err != ERR_EXPIRED)
		timer_set_ms(&c->discover, DISCOVER_AGAIN_MS);
}

static struct peer *peer_find(struct ctl *c, int32_t id)
{
	LIST_FOR(it, &c->peers)
		if (LIST_ENTRY(it, struct peer, link)->id == id)
			return LIST_ENTRY(it, struct peer, link);
	return NULL;
}

static void on_controller_node(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct ctl *c = ctx;
	struct arena a;
	struct zkd_klamm_controller k;
	(void)st;
	if (err) {
		unanswered(c, err);
		return;
	}
	arena_init(&a, 0);
	if (!zkd_klamm_controller_decode(data, &a, &k)) {
		struct peer *p = peer_find(c, k.id);
		bool moved = p && (strcmp(p->host, k.host) || p->port != k.port);
		if (moved) {
			peer_free(p);
			p = NULL;
		}
		if (!p) {
			p = MEM_NEW(struct peer);
			p->ctl = c;
			p->id = k.id;
			p->host = mem_strdup(k.host);
			p->port = (uint16_t)k.port;
			p->incarnation = k.incarnation;
			list_init(&p->link);
			list_push_back(&c->peers, &p->link);
			list_init(&p->held);
			timer_init(&p->retry, c->loop, on_retry, p);
			timer_init(&p->compare, c->loop, on_compare, p);
			say(c, LOG_INFO, "controller.found", "controller=%d at=%s:%d", k.id, k.host, k.port);
			peer_connect(p);
		}
		p->gone = false;
	}
	arena_fini(&a);
}

static void on_controllers(void *ctx, int err, const struct zk_names *names, const struct zk_stat *st)
{
	struct ctl *c = ctx;
	struct arena a;
	(void)st;
	if (err || !c->zk) { /* without the list the known ones are kept */
		unanswered(c, err);
		return;
	}
	LIST_FOR_SAFE(it, tmp, &c->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		bool listed = false;
		for (size_t i = 0; i < names->count; i++) {
			int32_t id;
			listed |= !zkp_id(names->names[i], &id) && id == p->id;
		}
		/* A controller without registration is left only once its link is down: its session may just be slow. */
		p->gone = !listed;
		if (!listed && !p->open)
			peer_free(p);
	}
	arena_init(&a, 0);
	for (size_t i = 0; i < names->count; i++) {
		int32_t id;
		if (!zkp_id(names->names[i], &id))
			zk_get(c->zk, zkp_klamm_controller(&a, id), on_controller_node, c);
	}
	arena_fini(&a);
}

static void discover(void *ctx)
{
	struct ctl *c = ctx;
	if (c->zk)
		zk_children(c->zk, ZKP_KLAMM_CONTROLLERS, on_controllers, c);
}

static void look_again(void *ctx, const char *path)
{
	(void)path;
	discover(ctx);
}

void ctl_unwatch_controllers(struct ctl *c)
{
	c->zk = NULL;
	timer_stop(&c->discover);
}

void ctl_watch_controllers(struct ctl *c, struct zk *zk)
{
	c->zk = zk;
	zk_observe(zk, ZKP_KLAMM_CONTROLLERS, ZK_OBSERVE_CHILDREN, look_again, c);
	discover(c);
}

/* ---- heartbeats ---- */

static void heartbeat_to(struct peer *p, struct ctl_stall stall)
{
	struct ctl *c = p->ctl;
	struct ctl_hello in = {0};
	if (!p->greeted || !c->ev.hello(c->ev.ctx, &in))
		return;
	Klamm__Control__HeardController heard[8], *ptrs[8];
	Klamm__Control__Heartbeat h = KLAMM__CONTROL__HEARTBEAT__INIT;
	int64_t now = env_now_us(c->env);
	LIST_FOR(it, &c->peers) {
		struct peer *o = LIST_ENTRY(it, struct peer, link);
		if (h.n_heard == ARRAY_LEN(heard))
			break;
		Klamm__Control__HeardController *m = &heard[h.n_heard];
		klamm__control__heard_controller__init(m);
		m->id = o->id;
		m->incarnation = o->incarnation;
		m->silent_ms = (uint32_t)((now - o->heard_us) / 1000);
		m->connected = o->open;
		m->controller_epoch = o->controller_epoch;
		ptrs[h.n_heard++] = m;
	}
	h.heard = ptrs;
	h.id = c->config->broker_id;
	h.broker_epoch = in.broker_epoch;
	h.loop_stall_ms = stall.loop_ms;
	h.disk_stall_ms = stall.disk_ms;
	h.applied_controller_epoch = c->applied_epoch;
	h.applied_seq = c->applied_seq;
	h.wants_shutdown = c->leaving;
	h.number = ++p->heartbeat_number;
	p->heartbeat_sent_us[h.number % 16] = now;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HEARTBEAT;
	f.heartbeat = &h;
	ctl_send(p, &f);
}

static void on_heartbeat(void *ctx)
{
	struct ctl *c = ctx;
	struct ctl_stall stall = c->stall(c->ev.ctx);
	int64_t now = env_now_us(c->env);
	LIST_FOR_SAFE(it, tmp, &c->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		if (!p->open)
			continue;
		if (now - p->heard_us > SILENCE_MS * 1000)
			peer_lost(p, "silent");
		else
			heartbeat_to(p, stall);
	}
	forwards_tick(c);
	proposals_send(c, false);
	timer_set_ms(&c->heartbeat, HEARTBEAT_MS);
}

void ctl_applied(struct ctl *c, int32_t controller_epoch, uint64_t seq)
{
	if (controller_epoch < c->applied_epoch || (controller_epoch == c->applied_epoch && seq <= c->applied_seq))
		return;
	c->applied_epoch = controller_epoch;
	c->applied_seq = seq;
	if (!c->active)
		return;
	Klamm__Control__Applied m = KLAMM__CONTROL__APPLIED__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.controller_epoch = controller_epoch;
	m.seq = seq;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_APPLIED;
	f.applied = &m;
	ctl_send(c->active, &f);
}

/* ---- one-way reports ---- */

static void deletion_send(struct ctl *c, struct deletion *d)
{
	struct ctl_hello in = {0};
	if (!c->active || !c->ev.hello(c->ev.ctx, &in))
		return;
	Klamm__Control__RemovedTopic t = KLAMM__CONTROL__REMOVED_TOPIC__INIT, *tp = &t;
	Klamm__Control__DeletionDone m = KLAMM__CONTROL__DELETION_DONE__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	pb_uuid(&t.topic_id, &d->topic_id);
	t.name = d->topic;
	m.broker_epoch = in.broker_epoch;
	m.topics = &tp;
	m.n_topics = 1;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_DELETION_DONE;
	f.deletion_done = &m;
	ctl_send(c->active, &f);
}

static void deletion_free(struct deletion *d)
{
	list_remove(&d->link);
	mem_free(d->topic);
	mem_free(d);
}

void ctl_replica_deleted(void *ctl, const struct uuid *topic_id, const char *topic)
{
	struct ctl *c = ctl;
	LIST_FOR(it, &c->deletions) {
		struct deletion *d = LIST_ENTRY(it, struct deletion, link);
		if (uuid_eq(&d->topic_id, topic_id)) {
			deletion_send(c, d);
			return;
		}
	}
	if (++c->deletion_count > DELETIONS_MAX) { /* the controller learns of older ones by the next hello's inventory */
		deletion_free(LIST_ENTRY(c->deletions.next, struct deletion, link));
		c->deletion_count--;
	}
	struct deletion *d = MEM_NEW(struct deletion);
	d->topic_id = *topic_id;
	d->topic = mem_strdup(topic);
	list_init(&d->link);
	list_push_back(&c->deletions, &d->link);
	deletion_send(c, d);
}

static void send_offline(struct ctl *c, const struct ctl_hello *in, const struct ctl_replica *rows, uint32_t count)
{
	struct arena a;
	Klamm__Control__DirFailure m = KLAMM__CONTROL__DIR_FAILURE__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	arena_init(&a, 0);
	m.broker_epoch = in->broker_epoch;
	m.directory_ids = ARENA_ARRAY(&a, ProtobufCBinaryData, in->dirs->count);
	for (uint32_t i = 0; i < in->dirs->count; i++)
		if (atomic_load(&in->dirs->dirs[i]->offline))
			pb_uuid(&m.directory_ids[m.n_directory_ids++], &in->dirs->dirs[i]->directory_id);
	m.replicas = ARENA_ARRAY(&a, Klamm__Control__Replica *, count);
	for (uint32_t i = 0; i < count; i++)
		m.replicas[m.n_replicas++] = hello_replica(&a, &rows[i]);
	f.body_case = KLAMM__CONTROL__FRAME__BODY_DIR_FAILURE;
	f.dir_failure = &m;
	ctl_send(c->active, &f);
	arena_fini(&a);
}

void ctl_replicas_offline(struct ctl *c, const struct ctl_replica *rows, uint32_t count)
{
	struct ctl_hello in = {0};
	if (!c->active || !c->ev.hello(c->ev.ctx, &in))
		return;
	for (uint32_t i = 0; i < count; i += INVENTORY_PER_FRAME)
		send_offline(c, &in, rows + i, count - i < INVENTORY_PER_FRAME ? count - i : INVENTORY_PER_FRAME);
}

void ctl_controlled_shutdown(struct ctl *c, void (*done)(void *ctx, int16_t error, uint32_t remaining), void *ctx)
{
	struct ctl_hello in = {0};
	c->leaving = true;
	if (!c->active || !c->ev.hello(c->ev.ctx, &in)) {
		done(ctx, KERR_NOT_CONTROLLER, 0);
		return;
	}
	Klamm__Control__ControlledShutdown m = KLAMM__CONTROL__CONTROLLED_SHUTDOWN__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.number = ++c->next_number;
	m.broker_epoch = in.broker_epoch;
	c->shutdown_done = done;
	c->shutdown_ctx = ctx;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN;
	f.controlled_shutdown = &m;
	ctl_send(c->active, &f);
}

/* ---- life ---- */

struct ctl *ctl_new(const struct ctl_init *init)
{
	struct ctl *c = MEM_NEW(struct ctl);
	c->env = init->env;
	c->loop = init->loop;
	c->config = init->config;
	c->shards = init->shards;
	c->shard_count = init->shard_count;
	c->incarnation = init->incarnation;
	c->version = init->version;
	c->ev = init->events;
	c->stall = init->stall;
	c->image = image_empty();
	c->active_since_us = env_now_us(c->env);
	list_init(&c->peers);
	list_init(&c->proposals);
	list_init(&c->forward_waiting);
	list_init(&c->forward_sent);
	list_init(&c->pid_waiting);
	list_init(&c->deletions);
	timer_init(&c->heartbeat, c->loop, on_heartbeat, c);
	timer_set_ms(&c->heartbeat, HEARTBEAT_MS);
	timer_init(&c->drop, c->loop, on_drop, c);
	timer_init(&c->discover, c->loop, discover, c);
	return c;
}

void ctl_free(struct ctl *c)
{
	if (!c)
		return;
	timer_stop(&c->heartbeat);
	timer_stop(&c->discover);
	c->active = NULL;
	while (!list_empty(&c->peers))
		peer_free(LIST_ENTRY(c->peers.next, struct peer, link));
	proposals_free(c);
	forwards_free(c);
	while (!list_empty(&c->deletions))
		deletion_free(LIST_ENTRY(c->deletions.next, struct deletion, link));
	timer_stop(&c->drop);
	for (uint32_t i = 0; i < c->former_count; i++)
		image_unref(c->former[i]);
	image_unref(c->image);
	mem_free(c);
}

void *ctl_owner(struct ctl *c) { return c->ev.ctx; }
struct image *ctl_image(struct ctl *c) { return c->image; }
bool ctl_has_active(const struct ctl *c) { return c->active != NULL; }
int64_t ctl_active_since_us(const struct ctl *c) { return c->active_since_us; }

uint32_t ctl_link_count(const struct ctl *c)
{
	uint32_t n = 0;
	LIST_FOR(it, &c->peers)
		n += LIST_ENTRY(it, struct peer, link)->open;
	return n;
}
