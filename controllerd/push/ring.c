/* ring.c: what was acknowledged becomes deltas; one ring of encoded frames, a cursor per subscriber (protocol.md C7). See push.h.
 *
 * One delta a turn (or a few, when much changed), in which everything is that state/ has queued. A topic is first published as a whole,
 * once the first states of its partitions are written.
 *
 * A snapshot is made once for all who wait for one, in slices (G3): each turn walks some partitions of the image and encodes them. What is published
 * meanwhile (`more`) is encoded again behind the walk, what is removed (`gone`) is named in the last part; brokers, configurations and the cluster stand in the last part alone.
 * The last turn begins with a flush and encodes what is left, so the snapshot stands at exactly p->seq. A part may hold a partition in an older state
 * than a later one: who applies it takes the newest, as with deltas.
 */
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "controllerd/push/push.h"

enum { PARTITIONS_PER_FRAME = 2000, LINK_AHEAD_BYTES = 4 << 20 };
enum {
	SLICE_PARTITIONS = 200, /* of a snapshot, in one turn: well under a millisecond */
	TURNS_MAX = 10000,      /* a snapshot that cannot keep up with what is published is ended in one go */
};

struct out { /* one Changes under construction; arrays in the arena */
	struct arena *a;
	Klamm__Control__Changes ch;
	size_t brokers_cap, removed_brokers_cap, topics_cap, removed_cap, configs_cap;
	int32_t partitions;
};

static void out_init(struct out *o, struct arena *a)
{
	*o = (struct out){.a = a};
	klamm__control__changes__init(&o->ch);
}

static bool out_empty(const struct out *o)
{
	return !o->ch.n_brokers && !o->ch.n_removed_brokers && !o->ch.n_topics && !o->ch.n_removed_topics && !o->ch.n_configs && !o->ch.cluster;
}

/* Room for one more element in an arena array. */
static void *grown(struct arena *a, void *array, size_t *cap, size_t n, size_t bytes)
{
	if (n < *cap)
		return array;
	size_t want = *cap ? *cap * 2 : 16;
	void *bigger = arena_zalloc(a, want * bytes);
	if (n)
		memcpy(bigger, array, n * bytes);
	*cap = want;
	return bigger;
}
#define GROWN(o, field, cap) ((o)->ch.field = grown((o)->a, (o)->ch.field, &(o)->cap, (o)->ch.n_##field, sizeof(*(o)->ch.field)))

static char *unconst(const char *s) { return (char *)(uintptr_t)s; }

static Klamm__Control__ConfigEntry **configs_pb(struct arena *a, const struct plan_configs *c)
{
	Klamm__Control__ConfigEntry **out = ARENA_ARRAY(a, Klamm__Control__ConfigEntry *, (size_t)c->n + 1);
	for (int32_t i = 0; i < c->n; i++) {
		out[i] = ARENA_NEW(a, Klamm__Control__ConfigEntry);
		klamm__control__config_entry__init(out[i]);
		out[i]->key = c->v[i].key;
		out[i]->value = c->v[i].value;
	}
	return out;
}

static void add_broker(struct out *o, const struct plan_broker *b)
{
	Klamm__Control__Broker *m = ARENA_NEW(o->a, Klamm__Control__Broker);
	klamm__control__broker__init(m);
	m->id = b->id;
	m->broker_epoch = b->broker_epoch;
	m->available = b->available;
	m->rack = unconst(b->rack ? b->rack : "");
	m->boot_epoch = b->boot_epoch;
	m->shutting_down = b->shutting_down;
	m->endpoints = ARENA_ARRAY(o->a, Klamm__Control__Endpoint *, (size_t)b->endpoint_count + 1);
	for (int32_t i = 0; i < b->endpoint_count; i++) {
		Klamm__Control__Endpoint *e = ARENA_NEW(o->a, Klamm__Control__Endpoint);
		klamm__control__endpoint__init(e);
		e->listener = b->endpoints[i].listener;
		e->host = b->endpoints[i].host ? b->endpoints[i].host : unconst("");
		e->port = b->endpoints[i].port;
		e->security = b->endpoints[i].security;
		m->endpoints[m->n_endpoints++] = e;
	}
	GROWN(o, brokers, brokers_cap);
	o->ch.brokers[o->ch.n_brokers++] = m;
}

static void add_removed_broker(struct out *o, int32_t id)
{
	GROWN(o, removed_brokers, removed_brokers_cap);
	o->ch.removed_brokers[o->ch.n_removed_brokers++] = id;
}

static void ids_pb(const struct plan_ids *s, int32_t **v, size_t *n)
{
	*v = s->v;
	*n = (size_t)s->n;
}

static Klamm__Control__Partition *partition_pb(struct arena *a, const struct plan_partition *p)
{
	Klamm__Control__Partition *m = ARENA_NEW(a, Klamm__Control__Partition);
	klamm__control__partition__init(m);
	m->partition = p->idx;
	m->leader = p->st.leader;
	m->leader_epoch = p->st.leader_epoch;
	m->partition_epoch = p->version < 0 ? 0 : p->version;
	m->controller_epoch = p->st.controller_epoch;
	m->recovery_state = p->st.recovery_state;
	m->min_isr = p->min_isr;
	ids_pb(&p->replicas, &m->replicas, &m->n_replicas);
	ids_pb(&p->st.isr, &m->isr, &m->n_isr);
	ids_pb(&p->adding, &m->adding, &m->n_adding);
	ids_pb(&p->removing, &m->removing, &m->n_removing);
	ids_pb(&p->st.elr, &m->elr, &m->n_elr);
	ids_pb(&p->st.lossy, &m->lossy, &m->n_lossy);
	ids_pb(&p->fresh, &m->fresh, &m->n_fresh);
	ids_pb(&p->offline, &m->offline, &m->n_offline);
	return m;
}

static Klamm__Control__Topic *add_topic(struct out *o, struct plan_topic *t, bool full, bool config)
{
	Klamm__Control__Topic *m = ARENA_NEW(o->a, Klamm__Control__Topic);
	klamm__control__topic__init(m);
	m->topic_id.data = t->id.b;
	m->topic_id.len = sizeof(t->id.b);
	m->name = t->name;
	m->full = full;
	m->czxid = t->czxid;
	m->assignment_version = t->version;
	if (config) {
		m->config_set = true;
		m->config = configs_pb(o->a, &t->config);
		m->n_config = (size_t)t->config.n;
	}
	m->partitions = ARENA_ARRAY(o->a, Klamm__Control__Partition *, (size_t)t->partition_count + 1);
	GROWN(o, topics, topics_cap);
	o->ch.topics[o->ch.n_topics++] = m;
	return m;
}

static void add_removed_topic(struct out *o, const struct uuid *id, const char *name)
{
	Klamm__Control__RemovedTopic *m = ARENA_NEW(o->a, Klamm__Control__RemovedTopic);
	klamm__control__removed_topic__init(m);
	uint8_t *copy = arena_alloc(o->a, sizeof(id->b));
	memcpy(copy, id->b, sizeof(id->b));
	m->topic_id.data = copy;
	m->topic_id.len = sizeof(id->b);
	m->name = arena_strndup(o->a, name, strlen(name));
	GROWN(o, removed_topics, removed_cap);
	o->ch.removed_topics[o->ch.n_removed_topics++] = m;
}

static void add_entity(struct out *o, const char *entity, const struct plan_configs *c)
{
	Klamm__Control__EntityConfig *m = ARENA_NEW(o->a, Klamm__Control__EntityConfig);
	klamm__control__entity_config__init(m);
	m->entity = arena_strndup(o->a, entity, strlen(entity));
	m->config = configs_pb(o->a, c);
	m->n_config = (size_t)c->n;
	GROWN(o, configs, configs_cap);
	o->ch.configs[o->ch.n_configs++] = m;
}

static void add_cluster(struct push *p, struct out *o)
{
	Klamm__Control__ClusterInfo *m = ARENA_NEW(o->a, Klamm__Control__ClusterInfo);
	klamm__control__cluster_info__init(m);
	m->cluster_id = p->el->cluster_id;
	int32_t id = plan_lowest_live_broker(p->st->im);
	p->published_broker = m->controller_broker_id = id < 0 ? p->cfg.id : id;
	o->ch.cluster = m;
}

static void add_entities(struct push *p, struct out *o)
{
	const struct plan_image *im = p->st->im;
	add_entity(o, "brokers/<default>", &im->default_config);
	for (const struct plan_entity *e = im->entities; e; e = e->next)
		add_entity(o, arena_printf(o->a, "brokers/%d", e->id), &e->config);
}

/* ---- the ring ---- */

static void ring_drop_first(struct push *p)
{
	struct ring_entry *e = &p->ring[p->first % RING_ENTRIES];
	p->ring_bytes -= e->len;
	buf_unref(e->buf);
	*e = (struct ring_entry){NULL, 0};
	p->first++;
}

static void making_end(struct push *p);

void ring_clear(struct push *p)
{
	making_end(p);
	while (p->first <= p->seq)
		ring_drop_first(p);
	p->seq = 0;
	p->first = 1;
}

static void ring_append(struct push *p, struct out *o)
{
	Klamm__Control__Delta d;
	Klamm__Control__Frame f;
	klamm__control__delta__init(&d);
	klamm__control__frame__init(&f);
	d.controller_epoch = p->el->epoch;
	d.seq = p->seq + 1;
	d.changes = &o->ch;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_DELTA;
	f.delta = &d;
	struct ring_entry e;
	e.buf = frame_encode(&f, &e.len);
	while (p->first <= p->seq && (p->seq - p->first + 1 >= RING_ENTRIES || p->ring_bytes + e.len > RING_BYTES_MAX))
		ring_drop_first(p);
	p->seq++;
	p->ring[p->seq % RING_ENTRIES] = e;
	p->ring_bytes += e.len;
	p->deltas++;
	out_init(o, o->a);
}

static void want_snapshot(struct push_peer *peer);
static bool snapshot_pump(struct push_peer *peer);

void ring_pump(struct push_peer *peer)
{
	struct push *p = peer->push;
	if (peer->snapshot_due || !snapshot_pump(peer))
		return;
	while (peer->subscribed && peer->cursor < p->seq && link_queued(peer->stream) < LINK_AHEAD_BYTES) {
		if (peer->cursor + 1 < p->first) {
			want_snapshot(peer);
			return;
		}
		struct ring_entry *e = &p->ring[(peer->cursor + 1) % RING_ENTRIES];
		frame_send_buf(peer->stream, e->buf, e->len);
		peer->cursor++;
	}
}

/* ---- while a snapshot is made ---- */

static void published_meanwhile(struct push *p, const struct uuid *topic, int32_t partition)
{
	struct snapshot_making *k = &p->making;
	if (!k->out)
		return;
	MEM_GROW(k->more, k->more_cap, k->more_count + 1);
	k->more[k->more_count++] = (struct snapshot_more){*topic, partition};
}

static void removed_meanwhile(struct push *p, const struct uuid *topic, const char *name)
{
	struct snapshot_making *k = &p->making;
	if (!k->out)
		return;
	MEM_GROW(k->gone, k->gone_cap, k->gone_count + 1);
	k->gone[k->gone_count++] = (struct snapshot_gone){*topic, mem_strdup(name)};
}

/* ---- deltas ---- */

static void add_brokers(struct push *p, struct out *o)
{
	struct state *s = p->st;
	for (struct list *n; (n = list_pop_front(&s->changed_brokers));) {
		struct plan_broker *b = LIST_ENTRY(n, struct plan_broker, change);
		bool there = b->registered || b->alive;
		if (there)
			add_broker(o, b);
		else if (b->published)
			add_removed_broker(o, b->id);
		b->published = there;
	}
}

/* Every partition that can have a state has it, acknowledged. */
static bool topic_settled(const struct plan_topic *t)
{
	if (t->loading || t->creating || t->deleting || uuid_is_zero(&t->id))
		return false;
	bool any = false;
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct plan_partition *p = &t->partitions[i];
		if (!p->replicas.n)
			continue;
		if (p->version < 0 && (p->in_flight || !list_empty(&p->work)))
			return false;
		any |= p->version >= 0;
	}
	return any;
}

static void note_leader(struct push *p, const struct plan_partition *part)
{
	if (part->st.leader >= 0)
		plan_ids_add(&p->new_leaders, part->st.leader);
}

static void add_one(struct push *p, struct out *o, Klamm__Control__Topic *m, struct plan_partition *part)
{
	m->partitions[m->n_partitions++] = partition_pb(o->a, part);
	part->published = true;
	note_leader(p, part);
	published_meanwhile(p, &part->topic->id, part->idx);
	if (++o->partitions >= PARTITIONS_PER_FRAME)
		o->partitions = PARTITIONS_PER_FRAME;
}

static void add_topics(struct push *p, struct out *o)
{
	struct state *s = p->st;
	struct list wait;
	list_init(&wait);
	for (struct list *n; (n = list_pop_front(&s->changed_topics));) {
		struct plan_topic *t = LIST_ENTRY(n, struct plan_topic, change);
		if (!t->published && !topic_settled(t)) {
			if (!t->deleting)
				list_push_back(&wait, n);
			continue;
		}
		bool first = !t->published, config = t->config_changed || first;
		if (!first && !config)
			continue;
		Klamm__Control__Topic *m = add_topic(o, t, first, config);
		t->published = true;
		t->config_changed = false;
		published_meanwhile(p, &t->id, -1);
		for (int32_t i = 0; first && i < t->partition_count; i++) {
			list_remove(&t->partitions[i].change);
			if (t->partitions[i].version >= 0)
				add_one(p, o, m, &t->partitions[i]);
		}
	}
	for (struct list *n; (n = list_pop_front(&wait));)
		list_push_back(&s->changed_topics, n);
}

static void add_partitions(struct push *p, struct out *o)
{
	struct state *s = p->st;
	struct plan_topic *last = NULL;
	Klamm__Control__Topic *m = NULL;
	for (struct list *n; (n = list_pop_front(&s->changed_partitions));) {
		struct plan_partition *part = LIST_ENTRY(n, struct plan_partition, change);
		struct plan_topic *t = part->topic;
		if (!t->published) { /* goes with its topic */
			if (list_empty(&t->change))
				list_push_back(&s->changed_topics, &t->change);
			continue;
		}
		if (part->version < 0 && !t->vanished)
			continue;
		if (t != last) {
			if (o->partitions >= PARTITIONS_PER_FRAME) {
				ring_append(p, o);
				o->partitions = 0;
			}
			m = add_topic(o, t, false, false);
			last = t;
		}
		add_one(p, o, m, part);
	}
}

void ring_changed(struct push *p)
{
	if (push_active(p))
		loop_defer(p->loop, &p->flush);
}

static void pump_all(struct push *p)
{
	LIST_FOR(n, &p->peers) { /* new leaders first: they have to stop parking produce requests (B7) */
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (peer->subscribed && !peer->is_controller && plan_ids_has(&p->new_leaders, peer->id))
			ring_pump(peer);
	}
	LIST_FOR(n, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (peer->subscribed)
			ring_pump(peer);
	}
	plan_ids_fini(&p->new_leaders);
}

void ring_flush(struct push *p)
{
	if (!push_active(p))
		return;
	struct state *s = p->st;
	struct out o;
	arena_reset(&p->scratch);
	out_init(&o, &p->scratch);
	for (size_t i = 0; i < s->removed_count; i++) {
		add_removed_topic(&o, &s->removed[i].id, s->removed[i].name);
		removed_meanwhile(p, &s->removed[i].id, s->removed[i].name);
		mem_free(s->removed[i].name);
	}
	s->removed_count = 0;
	add_brokers(p, &o);
	add_topics(p, &o);
	add_partitions(p, &o);
	if (!list_empty(&s->changed_topics))
		add_topics(p, &o);
	if (s->configs_changed)
		add_entities(p, &o);
	s->configs_changed = false;
	int32_t lowest = plan_lowest_live_broker(s->im);
	if (s->cluster_changed && (lowest < 0 ? p->cfg.id : lowest) != p->published_broker)
		add_cluster(p, &o);
	s->cluster_changed = false;
	if (!out_empty(&o))
		ring_append(p, &o);
	pump_all(p);
	admin_check(p);
}

/* ---- snapshots ---- */

static void snapshot_unref(struct push_snapshot *s)
{
	if (!s || --s->refs)
		return;
	for (size_t i = 0; i < s->count; i++)
		buf_unref(s->parts[i].buf);
	mem_free(s->parts);
	mem_free(s);
}

static void making_end(struct push *p)
{
	struct snapshot_making *k = &p->making;
	timer_stop(&k->turn);
	snapshot_unref(k->out);
	k->out = NULL;
	for (size_t i = 0; i < k->gone_count; i++)
		mem_free(k->gone[i].name);
	mem_free(k->gone);
	mem_free(k->more);
	*k = (struct snapshot_making){.number = k->number, .turn = k->turn};
}

static void part_done(struct push *p, struct out *o, bool last)
{
	struct push_snapshot *out = p->making.out;
	Klamm__Control__Snapshot s;
	Klamm__Control__Frame f;
	klamm__control__snapshot__init(&s);
	klamm__control__frame__init(&f);
	s.controller_epoch = p->el->epoch;
	s.seq = p->seq; /* that of the last part counts */
	s.first = out->count == 0;
	s.last = last;
	s.changes = &o->ch;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_SNAPSHOT;
	f.snapshot = &s;
	MEM_GROW(out->parts, out->cap, out->count + 1);
	struct ring_entry *e = &out->parts[out->count++];
	e->buf = frame_encode(&f, &e->len);
}

/* Where the walk goes on. The topic that it stood at may be gone: from the beginning then, without what was walked. */
static struct plan_topic *walk_at(struct push *p)
{
	struct snapshot_making *k = &p->making;
	struct plan_topic *t = uuid_is_zero(&k->topic) ? NULL : plan_topic_find_id(p->st->im, &k->topic);
	if (t)
		return t;
	k->partition = 0;
	return p->st->im->by_name;
}

/* Adds up to `left` partitions of the image; true when it is at the end. */
static bool walk(struct push *p, struct out *o, int32_t left)
{
	struct snapshot_making *k = &p->making;
	struct plan_topic *t = walk_at(p);
	for (; t; t = t->by_name.next, k->partition = 0) {
		if (!t->published || t->walked == k->number)
			continue;
		if (left <= 0) {
			k->topic = t->id;
			return false;
		}
		Klamm__Control__Topic *m = add_topic(o, t, true, true);
		for (; k->partition < t->partition_count; k->partition++) {
			struct plan_partition *part = &t->partitions[k->partition];
			if (!part->published)
				continue;
			if (left-- <= 0) {
				k->topic = t->id;
				return false;
			}
			m->partitions[m->n_partitions++] = partition_pb(o->a, part);
		}
		t->walked = k->number;
		left--; /* a topic without many counts as well */
	}
	return true;
}

/* Adds up to `left` of what was published meanwhile, as it is now. */
static void catch_up(struct push *p, struct out *o, int32_t left)
{
	struct snapshot_making *k = &p->making;
	const struct plan_topic *last = NULL;
	Klamm__Control__Topic *m = NULL;
	size_t room = 0;
	for (; k->more_done < k->more_count && left > 0; k->more_done++, left--) {
		const struct snapshot_more *r = &k->more[k->more_done];
		struct plan_topic *t = plan_topic_find_id(p->st->im, &r->topic);
		if (!t || !t->published || r->partition >= t->partition_count)
			continue;
		if (t != last || r->partition < 0 || m->n_partitions == room) {
			m = add_topic(o, t, true, true);
			last = t;
			room = (size_t)t->partition_count;
		}
		if (r->partition >= 0 && t->partitions[r->partition].published)
			m->partitions[m->n_partitions++] = partition_pb(o->a, &t->partitions[r->partition]);
	}
}

static void add_rest(struct push *p, struct out *o)
{
	struct state *s = p->st;
	struct snapshot_making *k = &p->making;
	add_cluster(p, o);
	add_entities(p, o);
	for (const struct plan_broker *b = s->im->brokers; b; b = b->hh.next)
		if (b->published)
			add_broker(o, b);
	for (const struct state_deleted *d = s->deleted; d; d = d->hh.next)
		add_removed_topic(o, &d->id, d->name);
	for (size_t i = 0; i < k->gone_count; i++)
		if (!state_deleted_find(s, &k->gone[i].topic))
			add_removed_topic(o, &k->gone[i].topic, k->gone[i].name);
}

/* True when everything is sent and deltas may follow. */
static bool snapshot_pump(struct push_peer *peer)
{
	struct push_snapshot *s = peer->snapshot;
	if (!s)
		return true;
	while (peer->snapshot_sent < s->count) {
		if (link_queued(peer->stream) >= LINK_AHEAD_BYTES)
			return false;
		const struct ring_entry *e = &s->parts[peer->snapshot_sent++];
		frame_send_buf(peer->stream, e->buf, e->len);
	}
	peer->cursor = s->seq;
	peer->snapshot = NULL;
	snapshot_unref(s);
	return true;
}

static void snapshot_ready(struct push *p)
{
	struct push_snapshot *s = p->making.out;
	s->seq = p->seq;
	p->making.out = NULL;
	making_end(p);
	LIST_FOR(n, &p->peers) {
		struct push_peer *peer = LIST_ENTRY(n, struct push_peer, link);
		if (!peer->snapshot_due)
			continue;
		peer->snapshot_due = false;
		peer->snapshot = s;
		peer->snapshot_sent = 0;
		s->refs++;
		p->snapshots++;
		LOG_AT(p->env->log, LOG_INFO, "push", "snapshot", "%s=%d epoch=%d seq=%llu parts=%zu", peer->is_controller ? "controller" : "broker", peer->id, p->el->epoch,
		       (unsigned long long)s->seq, s->count);
		ring_pump(peer);
	}
	snapshot_unref(s);
}

static void making_turn(void *ctx)
{
	struct push *p = ctx;
	struct snapshot_making *k = &p->making;
	int32_t left = p->cfg.snapshot_slice > 0 ? p->cfg.snapshot_slice : SLICE_PARTITIONS;
	bool hurry = ++k->turns > TURNS_MAX;
	struct arena a;
	struct out o;
	arena_init(&a, 0);
	out_init(&o, &a);
	if (!k->walked)
		k->walked = walk(p, &o, left);
	else
		catch_up(p, &o, left);
	bool more = !out_empty(&o);
	if (more)
		part_done(p, &o, false);
	arena_reset(&a);
	out_init(&o, &a);
	if (!more || hurry) {
		ring_flush(p); /* then image and seq agree */
		if (k->out && (hurry || k->more_count - k->more_done <= (size_t)left)) {
			while (hurry && !k->walked)
				k->walked = walk(p, &o, INT32_MAX);
			catch_up(p, &o, INT32_MAX);
			add_rest(p, &o);
			part_done(p, &o, true);
			snapshot_ready(p);
		}
	}
	arena_fini(&a);
	if (k->out)
		timer_set_us(&k->turn, 0);
}

static void want_snapshot(struct push_peer *peer)
{
	struct push *p = peer->push;
	struct snapshot_making *k = &p->making;
	snapshot_unref(peer->snapshot);
	peer->snapshot = NULL;
	peer->snapshot_due = true;
	if (k->out)
		return;
	k->out = MEM_NEW(struct push_snapshot);
	k->out->refs = 1;
	k->number++;
	timer_set_us(&k->turn, 0);
}

void ring_init(struct push *p)
{
	timer_init(&p->making.turn, p->loop, making_turn, p);
}

void ring_forget(struct push_peer *peer)
{
	peer->subscribed = peer->snapshot_due = false;
	snapshot_unref(peer->snapshot);
	peer->snapshot = NULL;
}

void ring_subscribe(struct push_peer *peer, int32_t known_epoch, uint64_t known_seq)
{
	struct push *p = peer->push;
	ring_flush(p); /* then image and seq agree */
	if (peer->subscribed) { /* readmitted on the same link: its cursor stands */
		ring_pump(peer);
		return;
	}
	peer->subscribed = true;
	if (known_epoch == p->el->epoch && known_seq && known_seq <= p->seq && known_seq + 1 >= p->first) {
		peer->cursor = known_seq;
		ring_pump(peer);
	} else {
		want_snapshot(peer);
	}
}
