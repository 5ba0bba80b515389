/* growth.c: topics grow: by request, and by a hand or an older tool that writes /brokers/topics/T (protocol.md H4). See state.h.
 *
 * New partitions join the image and get their first state by the ordinary look. Of what the node says about known partitions nothing is
 * taken: the controller's assignment stands and is written back. One write of a topic node is in flight, conditional on its version.
 *
 * Topic nodes are watched within a budget: a session that moves to another server sends the paths of all of its watches in one packet,
 * which must stay under ZooKeeper's limit. Those beyond the budget are looked at in turn, a few Stats a tick; so is a topic that we made
 * ourselves, once, because its watch came after its node.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

enum { SWEEP_MS = 100, SWEEP_STATS = 50, SWEEP_ROUND_US = 1000000, WATCH_OVERHEAD = 20 }; /* overhead: parent path, length, chroot of usual size */

struct topic_watch {
	struct list link; /* s->sweep */
	int64_t swept_us;
	bool watched;
	UT_hash_handle hh;
	char name[];
};

bool state_topic_busy(const struct plan_topic *t) { return t->node_busy || t->loading; }

/* ---- what the node says ---- */

static void rewrite(struct state *s, struct plan_topic *t);

static bool same_ids(const struct zkd_ids *z, const struct plan_ids *s)
{
	return plan_ids_eq(&(struct plan_ids){(int32_t *)(uintptr_t)z->ids, (int32_t)z->count}, s);
}

/* New partitions join; anything else that differs is ours to say. */
static void adopt(struct state *s, struct plan_topic *t, const struct zkd_topic *z, const struct zk_stat *st)
{
	int32_t known = 0, added = 0;
	bool differs = !z->has_topic_id || !uuid_eq(&z->topic_id, &t->id);
	t->version = st->version;
	t->czxid = st->czxid;
	for (size_t i = 0; i < z->partition_count; i++) {
		const struct zkd_partition *zp = &z->partitions[i];
		struct plan_partition *p = plan_partition_find(t, zp->partition);
		if (p) {
			known++;
			differs |= !same_ids(&zp->replicas, &p->replicas) || !same_ids(&zp->adding, &p->adding) || !same_ids(&zp->removing, &p->removing);
			continue;
		}
		p = plan_partition_add(s->im, t, zp->partition, &(struct plan_ids){(int32_t *)(uintptr_t)zp->replicas.ids, (int32_t)zp->replicas.count});
		if (!p)
			continue;
		plan_ids_set(&p->adding, zp->adding.ids, (int32_t)zp->adding.count);
		plan_ids_set(&p->removing, zp->removing.ids, (int32_t)zp->removing.count);
		p->min_isr = plan_effective_min_isr(s->im, p);
		state_touch(s, p);
		added++;
	}
	for (int32_t i = 0; i < t->partition_count; i++)
		known -= t->partitions[i].replicas.n > 0;
	differs |= known + added != 0;
	if (added || differs)
		LOG_AT(s->env->log, LOG_INFO, "state", "topic.edited", "topic=%s partitions_added=%d rewritten=%d", LOGQ(t->name), added, differs);
	if (differs)
		rewrite(s, t);
}

static bool replaced(const struct plan_topic *t, const struct zkd_topic *z, const struct zk_stat *st)
{
	return t->czxid ? st->czxid != t->czxid : z->has_topic_id && !uuid_eq(&z->topic_id, &t->id);
}

static void take_node(struct state *s, struct plan_topic *t, struct slice data, const struct zk_stat *st)
{
	struct arena a;
	struct zkd_topic z;
	arena_init(&a, 0);
	if (zkd_topic_decode(data, &a, &z)) {
		if (st->version != t->version) {
			LOG_AT(s->env->log, LOG_ERROR, "state", "topic.unreadable", "topic=%s what=\"written by hand; the controller's own assignment is written back\"", LOGQ(t->name));
			t->version = st->version;
			rewrite(s, t);
		}
	} else if (replaced(t, &z, st)) {
		load_topic_replaced(s, t);
	} else if (st->version > t->version) {
		adopt(s, t, &z, st);
	} else {
		t->czxid = st->czxid; /* one that we made: the reply of a multi does not say it */
	}
	arena_fini(&a);
}

static void look(struct state *s, struct plan_topic *t);

static void on_node(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	char *name = arg;
	bool gone = err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active;
	struct plan_topic *t = gone ? NULL : plan_topic_find(s->im, name);
	mem_free(name);
	if (!t || t->deleting || t->vanished || err) /* a node that is gone: the list of topics says so too */
		return;
	if (state_topic_busy(t))
		t->node_again = true;
	else
		take_node(s, t, data, st);
}

static void look(struct state *s, struct plan_topic *t)
{
	struct arena a;
	if (state_topic_busy(t) || !s->loaded) {
		t->node_again = true;
		return;
	}
	t->node_again = false;
	arena_init(&a, 0);
	calls_get(&s->calls, zkp_topic(&a, t->name), on_node, mem_strdup(t->name));
	arena_fini(&a);
}

void growth_settled(struct state *s, struct plan_topic *t)
{
	if (t->node_again && !t->deleting && !state_topic_busy(t))
		look(s, t);
}

/* ---- writing it ---- */

struct growth {
	struct uuid id;
	struct plan_ids *replicas; /* of the new partitions; none: the image's own content is written back */
	int32_t first, count;
	state_created_fn *fn;      /* NULL nobody waits */
	void *ctx, *arg;
};

/* The node is free again. */
static void busy_end(struct plan_topic *t)
{
	t->node_busy = false;
	t->in_flight--;
}

static void growth_told(struct state *s, struct growth *g, int err)
{
	struct uuid id = g->id;
	if (g->fn)
		g->fn(g->ctx, g->arg, err);
	for (int32_t i = 0; i < g->count; i++)
		plan_ids_fini(&g->replicas[i]);
	mem_free(g->replicas);
	mem_free(g);
	struct plan_topic *t = s->active ? plan_topic_find_id(s->im, &id) : NULL;
	if (t && t->deleting)
		state_deletion_step(s, t);
	else if (t)
		growth_settled(s, t);
}

static void join(struct state *s, struct plan_topic *t, const struct growth *g)
{
	for (int32_t i = 0; i < g->count; i++) {
		struct plan_partition *p = plan_partition_add(s->im, t, g->first + i, &g->replicas[i]);
		if (!p)
			continue;
		p->min_isr = plan_effective_min_isr(s->im, p);
		state_touch(s, p);
	}
	if (g->count)
		LOG_AT(s->env->log, LOG_INFO, "state", "topic.grown", "topic=%s partitions=%d", LOGQ(t->name), t->partition_count);
}

static bool joined(const struct plan_topic *t, const struct growth *g)
{
	for (int32_t i = 0; i < g->count; i++) {
		const struct plan_partition *p = plan_partition_find(t, g->first + i);
		if (!p || !plan_ids_eq(&p->replicas, &g->replicas[i]))
			return false;
	}
	return true;
}

static struct plan_topic *topic_of(struct state *s, int err, const struct growth *g)
{
	bool over = err == ERR_CANCELLED || err == ERR_EXPIRED || err == ERR_STALE || !s->active;
	return over ? NULL : plan_topic_find_id(s->im, &g->id);
}

/* Behind a barrier where the reply was lost (C2): what the node says now is the outcome. */
static void on_reread(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct growth *g = arg;
	struct plan_topic *t = topic_of(s, err, g);
	if (!t) {
		growth_told(s, g, ERR_STALE);
		return;
	}
	busy_end(t);
	if (err == 0 && !t->deleting && !t->vanished)
		take_node(s, t, data, st);
	growth_told(s, g, err || t->deleting || t->vanished ? ERR_NOENT : joined(t, g) ? 0 : ERR_AGAIN);
}

static void on_node_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct growth *g = arg;
	struct plan_topic *t = topic_of(s, err, g);
	if (!t) {
		growth_told(s, g, ERR_STALE);
	} else if (err == 0 || err == ERR_LIMIT) {
		busy_end(t);
		if (err == 0) {
			t->version = results[0].stat.version;
			join(s, t, g);
		}
		growth_told(s, g, err);
	} else {
		struct arena a;
		arena_init(&a, 0);
		calls_get(&s->calls, zkp_topic(&a, t->name), on_reread, g);
		arena_fini(&a);
	}
}

static void send_node(struct state *s, struct plan_topic *t, struct growth *g)
{
	struct arena a;
	struct str json = {0};
	arena_init(&a, 0);
	topic_node_json(&json, t, g->first, g->replicas, g->count);
	struct write *w = write_new(WRITE_BULK, on_node_written, s, g);
	write_set(w, zkp_topic(&a, t->name), slice_make(json.ptr, json.len), t->version);
	t->node_busy = true;
	t->in_flight++;
	writer_submit(&s->wr, w);
	str_fini(&json);
	arena_fini(&a);
}

static void rewrite(struct state *s, struct plan_topic *t)
{
	struct growth *g = MEM_NEW(struct growth);
	g->id = t->id;
	send_node(s, t, g);
}

void state_grow_topic(struct state *s, struct plan_topic *t, const struct plan_growth *from, state_created_fn *fn, void *ctx, void *arg)
{
	struct growth *g = MEM_NEW(struct growth);
	*g = (struct growth){.id = t->id, .first = from->partitions[0].idx, .count = from->partition_count, .fn = fn, .ctx = ctx, .arg = arg};
	g->replicas = mem_zalloc(sizeof(*g->replicas) * (size_t)g->count);
	for (int32_t i = 0; i < g->count; i++)
		plan_ids_copy(&g->replicas[i], &from->partitions[i].replicas);
	send_node(s, t, g);
}

/* ---- watching ---- */

static void look_again(void *ctx, const char *path)
{
	struct state *s = ctx;
	struct plan_topic *t = s->active ? plan_topic_find(s->im, path + strlen(ZKP_TOPICS "/")) : NULL;
	if (t && !t->deleting && !t->vanished)
		look(s, t);
	else if (s->active && s->loaded && !t) /* one that could not be read */
		load_topics(s);
}

static void on_stat(void *ctx, void *arg, int err, const struct zk_stat *st)
{
	struct state *s = ctx;
	char *name = arg;
	bool gone = err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active;
	struct plan_topic *t = gone ? NULL : plan_topic_find(s->im, name);
	mem_free(name);
	if (gone)
		return;
	s->sweep_left--;
	if (!t || err || t->deleting || t->vanished || state_topic_busy(t))
		return;
	if (st->version != t->version || (t->czxid && st->czxid != t->czxid))
		look(s, t);
	else
		t->czxid = st->czxid;
}

static void on_sweep(void *p)
{
	struct state *s = p;
	struct arena a;
	int64_t now = env_now_us(s->env);
	arena_init(&a, 0);
	for (int i = 0; s->sweep_left < SWEEP_STATS && i < SWEEP_STATS && !list_empty(&s->sweep); i++) {
		struct topic_watch *w = LIST_ENTRY(s->sweep.next, struct topic_watch, link);
		if (w->swept_us && now - w->swept_us < SWEEP_ROUND_US)
			break;
		w->swept_us = now;
		list_remove(&w->link);
		if (!w->watched)
			list_push_back(&s->sweep, &w->link);
		s->sweep_left++;
		calls_exists(&s->calls, zkp_topic(&a, w->name), on_stat, mem_strdup(w->name));
	}
	arena_fini(&a);
	if (!list_empty(&s->sweep))
		timer_set_ms(&s->sweep_timer, SWEEP_MS);
}

static struct topic_watch *find_watch(const struct state *s, const char *topic)
{
	struct topic_watch *w;
	HASH_FIND_STR(s->watches, topic, w);
	return w;
}

void growth_watch(struct state *s, const char *topic, bool made)
{
	struct topic_watch *w = find_watch(s, topic);
	struct arena a;
	size_t len = strlen(topic), bytes = len + WATCH_OVERHEAD;
	if (!w) {
		w = mem_zalloc(sizeof(*w) + len + 1);
		memcpy(w->name, topic, len + 1);
		list_init(&w->link);
		HASH_ADD_STR(s->watches, name, w);
		w->watched = s->watch_bytes + bytes <= s->watch_bytes_max;
		s->watch_bytes += w->watched ? bytes : 0;
	}
	if (w->watched) {
		arena_init(&a, 0);
		zk_observe(s->calls.zk, zkp_topic(&a, topic), ZK_OBSERVE_NODE, look_again, s);
		arena_fini(&a);
	}
	if ((made || !w->watched) && list_empty(&w->link))
		list_push_back(&s->sweep, &w->link);
	if (!list_empty(&s->sweep) && !timer_armed(&s->sweep_timer))
		timer_set_ms(&s->sweep_timer, SWEEP_MS);
}

static void watch_free(struct state *s, struct topic_watch *w)
{
	struct arena a;
	if (w->watched) {
		s->watch_bytes -= strlen(w->name) + WATCH_OVERHEAD;
		arena_init(&a, 0);
		zk_unobserve(s->calls.zk, zkp_topic(&a, w->name), ZK_OBSERVE_NODE);
		arena_fini(&a);
	}
	list_remove(&w->link);
	HASH_DEL(s->watches, w);
	mem_free(w);
}

void growth_unwatch(struct state *s, const char *topic)
{
	struct topic_watch *w = find_watch(s, topic);
	if (w)
		watch_free(s, w);
}

void growth_init(struct state *s)
{
	s->watch_bytes_max = STATE_WATCH_BYTES_MAX;
	list_init(&s->sweep);
	timer_init(&s->sweep_timer, s->loop, on_sweep, s);
}

void growth_end(struct state *s)
{
	timer_stop(&s->sweep_timer);
	while (s->watches)
		watch_free(s, s->watches);
	s->sweep_left = 0;
}
