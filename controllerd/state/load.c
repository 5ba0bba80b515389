/* load.c: reading the cluster from ZooKeeper, and noticing what others change there. See state.h.
 *
 * The first load is one pipelined read of everything: lists, then nodes, then partition states; it is over when nothing is outstanding.
 * The election multi of the same session came before, so every earlier controller's write is seen (C2).
 * Watched afterwards: children of /brokers/ids, /brokers/topics, /admin/delete_topics, /config/changes; topic nodes (growth.c). A look
 * again means: read again.
 */
#include <inttypes.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

struct topic_read { /* one topic's nodes on their way in */
	char *name;
	bool first;   /* part of the reign's first load */
	bool no_id;   /* the node has none */
	bool later;   /* it could not be taken: states of the former topic are on their way */
	int32_t left; /* replies to come */
};
struct name_read { /* argument of single reads */
	char *name;
	int32_t idx;
	bool first;
	struct topic_read *topic;
};

static struct name_read *name_read(const char *name, int32_t idx, bool first, struct topic_read *topic)
{
	struct name_read *r = MEM_NEW(struct name_read);
	*r = (struct name_read){name ? mem_strdup(name) : NULL, idx, first, topic};
	return r;
}

static void name_read_free(struct name_read *r)
{
	mem_free(r->name);
	mem_free(r);
}

static bool gone(const struct state *s, int err) { return err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active; }

static void reading(struct state *s, bool first)
{
	if (first)
		s->reads++;
}

static void load_finished(struct state *s);
static void read_done(struct state *s, bool first)
{
	if (first && --s->reads == 0)
		load_finished(s);
}

/* ---- brokers ---- */

static void on_broker(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err)) {
		life_registration(s, r->idx, err == 0, err == 0 ? st->czxid : 0, data);
		read_done(s, r->first);
	}
	name_read_free(r);
}

static void on_broker_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	struct arena a;
	arena_init(&a, 0);
	if (!gone(s, err)) {
		for (struct plan_broker *b = s->im->brokers; b; b = b->hh.next) {
			bool there = false;
			for (size_t i = 0; err == 0 && i < names->count; i++) {
				int32_t id;
				there |= zkp_id(names->names[i], &id) == 0 && id == b->id;
			}
			if (!there && err == 0 && b->registered)
				life_registration(s, b->id, false, 0, (struct slice){NULL, 0});
		}
		for (size_t i = 0; err == 0 && i < names->count; i++) {
			int32_t id;
			if (zkp_id(names->names[i], &id))
				continue;
			reading(s, r->first);
			calls_get(&s->calls, zkp_broker(&a, id), on_broker, name_read(NULL, id, r->first, NULL));
		}
		read_done(s, r->first);
	}
	arena_fini(&a);
	name_read_free(r);
}

static void read_brokers(struct state *s, bool first)
{
	reading(s, first);
	calls_children(&s->calls, ZKP_BROKER_IDS, on_broker_list, name_read(NULL, 0, first, NULL));
}

void load_brokers(struct state *s) { read_brokers(s, false); }

static void on_life(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err)) {
		struct zkd_klamm_broker k;
		if (err == 0) {
			struct plan_broker *b = plan_broker_get(s->im, r->idx);
			b->boot_version = st->version;
			b->boot_epoch = zkd_klamm_broker_decode(data, &k) == 0 ? k.boot_epoch : 0;
		}
		read_done(s, r->first);
	}
	name_read_free(r);
}

static void on_life_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	if (gone(s, err))
		return;
	struct arena a;
	arena_init(&a, 0);
	for (size_t i = 0; err == 0 && i < names->count; i++) {
		int32_t id;
		if (zkp_id(names->names[i], &id))
			continue;
		reading(s, true);
		calls_get(&s->calls, zkp_klamm_broker(&a, id), on_life, name_read(NULL, id, true, NULL));
	}
	arena_fini(&a);
	read_done(s, true);
}

/* ---- configs ---- */

/* What a node of /config says; a node that is gone says nothing. False: it cannot be had or read (then it was said), and what holds goes on holding. */
static bool read_configs(const struct state *s, const char *type, const char *name, int err, struct slice data, struct plan_configs *ret_set)
{
	struct arena a;
	struct zkd_config c = {0};
	arena_init(&a, 0);
	bool good = err == ERR_NOENT || (err == 0 && zkd_config_decode(data, &a, &c) == 0);
	if (err == 0 && !good)
		LOG_AT(s->env->log, LOG_WARN, "config", "unreadable", "type=%s name=%s", type, LOGQ(name));
	for (size_t i = 0; good && i < c.count; i++)
		plan_configs_put(ret_set, c.entries[i].key, c.entries[i].value);
	arena_fini(&a);
	return good;
}

static void on_entity(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err)) {
		struct plan_configs set = {0};
		if (read_configs(s, "brokers", r->name, err, data, &set))
			state_take_entity(s, r->name, &set);
		read_done(s, r->first);
	}
	name_read_free(r);
}

static void read_entity(struct state *s, const char *name, bool first)
{
	struct arena a;
	arena_init(&a, 0);
	reading(s, first);
	calls_get(&s->calls, zkp_child(&a, ZKP_CONFIG_BROKERS, name), on_entity, name_read(name, 0, first, NULL));
	arena_fini(&a);
}

static void on_entity_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	if (gone(s, err))
		return;
	for (size_t i = 0; err == 0 && i < names->count; i++)
		read_entity(s, names->names[i], true);
	read_done(s, true);
}

static void on_topic_config(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err)) {
		struct plan_topic *t = plan_topic_find(s->im, r->name);
		struct plan_configs set = {0};
		if (t && read_configs(s, "topics", r->name, err, data, &set))
			state_take_topic_config(s, t, &set, err == 0);
	}
	name_read_free(r);
}

void load_topic_config(struct state *s, const char *topic)
{
	struct arena a;
	arena_init(&a, 0);
	calls_get(&s->calls, zkp_config_topic(&a, topic), on_topic_config, name_read(topic, 0, false, NULL));
	arena_fini(&a);
}

/* ---- config notifications ---- */

static void on_change(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	struct arena a;
	struct zkd_entity e;
	arena_init(&a, 0);
	if (!gone(s, err) && err == 0) {
		int64_t seq;
		if (state_note_old(s, st->ctime_ms))
			state_note_drop(s, r->name);
		else if (zkp_sequence(r->name, ZKP_CONFIG_CHANGE_PREFIX, &seq) == 0)
			state_note_seen(s, seq, st->ctime_ms);
		if (!r->first && zkd_config_change_decode(data, &a, &e) == 0) {
			if (e.kind == ZKD_ENTITY_TOPIC && e.name)
				load_topic_config(s, e.name);
			else if (e.kind == ZKD_ENTITY_BROKER)
				read_entity(s, e.name ? e.name : ZKD_DEFAULT_ENTITY, false);
		}
	}
	arena_fini(&a);
	name_read_free(r);
}

/* first: everything was read in full anyway; only the numbers and the old ones matter. */
static void on_change_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	struct arena a;
	arena_init(&a, 0);
	if (!gone(s, err)) {
		int64_t highest = s->config_seq, seq;
		state_notes_purge(s);
		for (size_t i = 0; err == 0 && i < names->count; i++) {
			if (zkp_sequence(names->names[i], ZKP_CONFIG_CHANGE_PREFIX, &seq) || seq <= s->config_seq)
				continue;
			highest = seq > highest ? seq : highest;
			calls_get(&s->calls, zkp_config_change_node(&a, names->names[i]), on_change, name_read(names->names[i], 0, r->first, NULL));
		}
		s->config_seq = highest;
		read_done(s, r->first);
	}
	arena_fini(&a);
	name_read_free(r);
}

static void read_changes(struct state *s, bool first)
{
	reading(s, first);
	calls_children(&s->calls, ZKP_CONFIG_CHANGES, on_change_list, name_read(NULL, 0, first, NULL));
}

/* ---- topics ---- */

static void topic_ready(struct state *s, struct topic_read *tr)
{
	if (--tr->left > 0)
		return;
	struct plan_topic *t = plan_topic_find(s->im, tr->name);
	plan_configs_remove(&s->reading, tr->name);
	if (tr->later && t && t->vanished && !state_topic_writing(t)) /* it ended before this, and what it had read passed over a name being read */
		load_topics(s);
	if (t && t->loading) {
		t->loading = false;
		if (tr->no_id)
			state_give_id(s, t);
		for (int32_t i = 0; i < t->partition_count; i++)
			if (t->partitions[i].replicas.n)
				state_touch(s, &t->partitions[i]);
		state_publish_topic(s, t, true);
		if (t->deleting)
			state_deletion_step(s, t);
		else
			growth_settled(s, t);
		LOG_AT(s->env->log, tr->first ? LOG_DEBUG : LOG_INFO, "state", "topic.read", "topic=%s partitions=%d", LOGQ(t->name), t->partition_count);
	}
	read_done(s, tr->first);
	mem_free(tr->name);
	mem_free(tr);
}

static void take_state(struct state *s, struct plan_partition *p, const struct zkd_state *z, int32_t version)
{
	int32_t floor = p->epoch_floor;
	p->version = version;
	p->node_exists = p->topic->partitions_node = true;
	p->st.leader = z->leader;
	p->st.leader_epoch = z->leader_epoch;
	p->st.controller_epoch = z->controller_epoch;
	p->st.recovery_state = z->leader_recovery_state;
	plan_ids_set(&p->st.isr, z->isr.ids, (int32_t)z->isr.count);
	plan_ids_set(&p->st.lossy, z->lossy.ids, (int32_t)z->lossy.count);
	if (s->lineage_ok) /* E4: Kafka may have ruled in between, and it does not keep the eligible list true */
		plan_ids_set(&p->st.elr, z->elr.ids, (int32_t)z->elr.count);
	else if (z->elr.count)
		p->rewrite = true;
	for (int32_t i = p->st.isr.n - 1; i >= 0; i--) /* foreign data */
		if (!plan_ids_has(&p->replicas, p->st.isr.v[i]))
			plan_ids_remove(&p->st.isr, p->st.isr.v[i]);
	if (floor > p->st.leader_epoch || (z->leader >= 0 && !plan_ids_has(&p->st.isr, z->leader)))
		p->rewrite = true;
	if (floor > p->st.leader_epoch)
		p->st.leader_epoch = floor;
	p->leaderless_since_us = env_now_us(s->env);
	p->min_isr = plan_effective_min_isr(s->im, p);
}

static void on_state(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (gone(s, err)) {
		if (--r->topic->left == 0) {
			mem_free(r->topic->name);
			mem_free(r->topic);
		}
		name_read_free(r);
		return;
	}
	struct plan_topic *t = plan_topic_find(s->im, r->topic->name);
	struct plan_partition *p = t ? plan_partition_find(t, r->idx) : NULL;
	struct arena a;
	struct zkd_state z;
	arena_init(&a, 0);
	if (p && err == 0) {
		if (zkd_state_decode(data, &a, &z) == 0) {
			take_state(s, p, &z, st->version);
		} else { /* garbage: overwritten by a new election among all replicas */
			p->version = st->version;
			p->node_exists = t->partitions_node = p->rewrite = true;
			p->leaderless_since_us = env_now_us(s->env);
		}
	}
	arena_fini(&a);
	topic_ready(s, r->topic);
	name_read_free(r);
}

/* New partitions of the node join the image; known ones keep the assignment that the controller gave them (H4). */
static void take_topic(struct state *s, const char *name, const struct zkd_topic *z, const struct zk_stat *st, struct topic_read *tr)
{
	struct plan_topic *t = plan_topic_find(s->im, name);
	if (t && t->vanished && z->has_topic_id && !uuid_eq(&t->id, &z->topic_id)) { /* another topic of the same name */
		if (state_topic_writing(t)) { /* the end of the last write has the topics read again */
			tr->later = true;
			return;
		}
		plan_topic_remove(s->im, t);
		t = NULL;
	}
	if (!t)
		t = plan_topic_add(s->im, name, z->has_topic_id ? &z->topic_id : NULL);
	bool back = t->vanished;
	t->vanished = t->deleting = false;
	t->loading = true;
	t->version = st->version;
	t->czxid = st->czxid;
	tr->no_id = !z->has_topic_id;
	struct arena a;
	arena_init(&a, 0);
	for (size_t i = 0; i < z->partition_count; i++) {
		const struct zkd_partition *zp = &z->partitions[i];
		struct plan_ids replicas = {(int32_t *)(uintptr_t)zp->replicas.ids, (int32_t)zp->replicas.count};
		bool known = plan_partition_find(t, zp->partition) != NULL;
		struct plan_partition *p = plan_partition_add(s->im, t, zp->partition, &replicas);
		if (!p || (known && !back))
			continue;
		plan_ids_set(&p->adding, zp->adding.ids, (int32_t)zp->adding.count);
		plan_ids_set(&p->removing, zp->removing.ids, (int32_t)zp->removing.count);
		tr->left++;
		calls_get(&s->calls, zkp_state(&a, name, zp->partition), on_state, name_read(NULL, zp->partition, tr->first, tr));
	}
	arena_fini(&a);
}

static void on_topic(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct topic_read *tr = arg;
	if (gone(s, err)) {
		if (--tr->left == 0) {
			mem_free(tr->name);
			mem_free(tr);
		}
		return;
	}
	struct arena a;
	struct zkd_topic z;
	arena_init(&a, 0);
	if (err == 0 && zkd_topic_decode(data, &a, &z) == 0)
		take_topic(s, tr->name, &z, st, tr);
	else if (err == 0)
		LOG_AT(s->env->log, LOG_ERROR, "state", "topic.unreadable", "topic=%s", LOGQ(tr->name));
	arena_fini(&a);
	topic_ready(s, tr);
}

static void on_first_config(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct topic_read *tr = arg;
	if (gone(s, err)) {
		if (--tr->left == 0) {
			mem_free(tr->name);
			mem_free(tr);
		}
		return;
	}
	struct plan_topic *t = plan_topic_find(s->im, tr->name);
	struct plan_configs set = {0};
	if (t && read_configs(s, "topics", tr->name, err, data, &set)) {
		plan_configs_fini(&t->config);
		state_parse_topic_config(s, tr->name, &set, &t->config);
	}
	plan_configs_fini(&set);
	if (t)
		t->has_config_node = err == 0;
	topic_ready(s, tr);
}

static void read_topic(struct state *s, const char *name, bool first)
{
	struct topic_read *tr = MEM_NEW(struct topic_read);
	struct arena a;
	arena_init(&a, 0);
	*tr = (struct topic_read){.name = mem_strdup(name), .first = first, .left = 2};
	plan_configs_put(&s->reading, name, "");
	reading(s, first);
	growth_watch(s, name, false);
	calls_get(&s->calls, zkp_topic(&a, name), on_topic, tr);
	calls_get(&s->calls, zkp_config_topic(&a, name), on_first_config, tr);
	arena_fini(&a);
}

/* /brokers/topics/T removed by hand: its partitions are offline, its logs stay where they are (H4, K2). */
static void vanish(struct state *s, struct plan_topic *t)
{
	LOG_AT(s->env->log, LOG_ERROR, "state", "topic.vanished", "topic=%s what=\"its node was removed by hand: partitions are offline, logs are kept\"", LOGQ(t->name));
	t->vanished = true;
	t->version = -1;
	t->partitions_node = t->has_config_node = false;
	for (int32_t i = 0; i < t->partition_count; i++) {
		struct plan_partition *p = &t->partitions[i];
		if (!p->replicas.n)
			continue;
		p->node_exists = false;
		p->st.leader = -1;
		p->st.leader_epoch++;
		p->epoch_floor = p->st.leader_epoch + 1;
		if (p->published)
			state_publish_partition(s, p);
		p->version = -1;
	}
}

static void admin_read(struct state *s, bool first);
static void read_topics(struct state *s, bool first);

static void on_topic_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err) && err == 0) {
		for (struct plan_topic *t = s->im->by_name; t && !r->first; t = t->by_name.next) {
			bool there = false;
			size_t lo = 0, hi = names->count;
			while (lo < hi && !there) {
				size_t mid = (lo + hi) / 2;
				int c = strcmp(names->names[mid], t->name);
				there = c == 0;
				if (c < 0)
					lo = mid + 1;
				else
					hi = mid;
			}
			if (!there && !t->deleting && !t->vanished && !t->loading)
				vanish(s, t);
		}
		for (size_t i = 0; i < names->count; i++) {
			const struct plan_topic *t = plan_topic_find(s->im, names->names[i]);
			if ((!t || t->vanished) && !state_creating(s, slice_str(names->names[i])) && !plan_configs_get(&s->reading, names->names[i]))
				read_topic(s, names->names[i], r->first);
		}
	}
	if (!gone(s, err)) {
		s->topics_reading = false;
		if (s->topics_again) {
			s->topics_again = false;
			read_topics(s, false);
		} else if (s->admin_after) {
			s->admin_after = false;
			admin_read(s, false);
		}
		read_done(s, r->first);
	}
	name_read_free(r);
}

static void read_topics(struct state *s, bool first)
{
	if (s->topics_reading) {
		s->topics_again = true;
		return;
	}
	s->topics_reading = true;
	reading(s, first);
	calls_children(&s->calls, ZKP_TOPICS, on_topic_list, name_read(NULL, 0, first, NULL));
}

void load_topics(struct state *s) { read_topics(s, false); }

void load_topic_replaced(struct state *s, struct plan_topic *t)
{
	vanish(s, t);
	read_topics(s, false);
}

/* ---- /admin/delete_topics ---- */

static void on_admin_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	if (gone(s, err) || err)
		return;
	for (size_t i = 0; i < names->count; i++) {
		struct plan_topic *t = plan_topic_find(s->im, names->names[i]);
		if (t && t->loading && !t->no_id) { /* its nodes are being read: look once more when they are in */
			s->admin_after = true;
			read_topics(s, false);
			continue;
		}
		if (!t || t->vanished || !s->delete_enabled) {
			state_admin_node_delete(s, names->names[i]);
			continue;
		}
		t->admin_node = true;
		if (!t->deleting && !t->no_id) /* else once it has its id */
			state_delete_topic(s, t);
	}
}

static void admin_read(struct state *s, bool first)
{
	calls_children(&s->calls, ZKP_DELETE_TOPICS, on_admin_list, NULL);
}

/* ---- /klamm/deleted ---- */

static void on_deleted(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct name_read *r = arg;
	if (!gone(s, err)) {
		struct arena a;
		struct zkd_deleted d;
		struct uuid id;
		arena_init(&a, 0);
		if (err == 0 && uuid_parse(slice_str(r->name), &id) == 0 && zkd_deleted_decode(data, &a, &d) == 0) {
			struct plan_ids brokers = {0};
			for (size_t i = 0; i < d.partition_count; i++)
				for (size_t k = 0; k < d.partitions[i].replicas.count; k++)
					plan_ids_add(&brokers, d.partitions[i].replicas.ids[k]);
			(void)state_deleted_add(s, &id, d.topic, &brokers, NULL);
			plan_ids_fini(&brokers);
		}
		arena_fini(&a);
		read_done(s, true);
	}
	name_read_free(r);
}

static void on_deleted_list(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	if (gone(s, err))
		return;
	struct arena a;
	arena_init(&a, 0);
	for (size_t i = 0; err == 0 && i < names->count; i++) {
		reading(s, true);
		calls_get(&s->calls, zkp_child(&a, ZKP_KLAMM_DELETED, names->names[i]), on_deleted, name_read(names->names[i], 0, true, NULL));
	}
	arena_fini(&a);
	read_done(s, true);
}

/* ---- all of it ---- */

static void look_brokers(void *ctx, const char *path)
{
	struct state *s = ctx;
	if (s->active)
		read_brokers(s, false);
}

static void look_topics(void *ctx, const char *path)
{
	struct state *s = ctx;
	if (s->active)
		read_topics(s, false);
}

static void look_admin(void *ctx, const char *path)
{
	struct state *s = ctx;
	if (!s->active || !s->loaded)
		return;
	s->admin_after = true; /* topics first: a name may be newer than our list */
	read_topics(s, false);
}

static void look_changes(void *ctx, const char *path)
{
	struct state *s = ctx;
	if (s->active)
		read_changes(s, false);
}

static void load_finished(struct state *s)
{
	s->loaded = true;
	/* Innocent until judged: whoever may be leading or in sync lives, until its registration and its link are known to be gone. */
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++)
			for (int32_t k = 0; k < t->partitions[i].replicas.n; k++)
				plan_broker_get(s->im, t->partitions[i].replicas.v[k])->alive = true;
	for (struct plan_broker *b = s->im->brokers; b; b = b->hh.next) {
		b->alive |= b->registered;
		if (b->registered)
			state_publish_broker(s, b);
	}
	s->im->default_min_isr = plan_default_min_isr(s->im);
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++)
			t->partitions[i].min_isr = plan_effective_min_isr(s->im, &t->partitions[i]);
	LOG_AT(s->env->log, LOG_INFO, "state", "loaded", "epoch=%d topics=%d partitions=%d", s->im->controller_epoch, s->im->topic_count, s->im->partition_count);
	s->host.loaded(s->host.ctx);
	if (!s->active)
		return;
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		growth_settled(s, t); /* what was written after its node was read */
	admin_read(s, false);
	prefer_loaded(s);
	loop_defer(s->loop, &s->work_soon);
}

void load_begin(struct state *s)
{
	struct zk *zk = s->calls.zk;
	s->reads = 1;
	zk_observe(zk, ZKP_BROKER_IDS, ZK_OBSERVE_CHILDREN, look_brokers, s);
	zk_observe(zk, ZKP_TOPICS, ZK_OBSERVE_CHILDREN, look_topics, s);
	zk_observe(zk, ZKP_DELETE_TOPICS, ZK_OBSERVE_CHILDREN, look_admin, s);
	zk_observe(zk, ZKP_CONFIG_CHANGES, ZK_OBSERVE_CHILDREN, look_changes, s);
	reading(s, true);
	calls_children(&s->calls, ZKP_KLAMM_BROKERS, on_life_list, NULL);
	read_brokers(s, true);
	reading(s, true);
	calls_children(&s->calls, ZKP_CONFIG_BROKERS, on_entity_list, NULL);
	read_changes(s, true);
	reading(s, true);
	calls_children(&s->calls, ZKP_KLAMM_DELETED, on_deleted_list, NULL);
	read_topics(s, true);
	read_done(s, true);
}
