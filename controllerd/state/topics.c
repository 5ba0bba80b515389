/* topics.c: topics come and go: creation, ids for topics that tools made, deletion (protocol.md K). See state.h.
 *
 * Creation writes the config and the topic node in one multi; the partitions then have no state node, and the ordinary look makes one
 * for each (bulk lane). So a topic that a tool wrote by hand, or whose creation a dead controller left half done, goes the same way.
 *
 * Deletion: the topic is marked (no looks, no proposals), waits for its writes in flight, then goes in one multi with
 * /klamm/deleted/<id>, which names the replicas that have yet to confirm. A large one first gets its /admin/delete_topics node, so that
 * the next reign goes on, then loses its partitions in batches. Nodes that are not as expected are listed and tried again.
 */
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

enum { ONE_MULTI_PARTITIONS = 300, ID_LOOK_MS = 100, ID_WAIT_US = 30000000 };

/* ---- creation ---- */

struct creation {
	struct state *s;
	struct plan_topic *made; /* not in the image yet: name, id, partitions, config */
	struct plan_image *box;  /* that holds it */
	bool config_exists;
	bool listed;             /* in state.creating: not once the reign is over */
	UT_hash_handle hh;
	state_created_fn *fn;
	void *ctx, *arg;
};

bool state_creating(const struct state *s, struct slice name)
{
	struct creation *c;
	HASH_FIND(hh, s->creating, name.ptr, name.len, c);
	return c != NULL;
}

static void unlist(struct creation *c)
{
	if (c->listed)
		HASH_DEL(c->s->creating, c);
	c->listed = false;
}

static void creation_end(struct creation *c, int err)
{
	unlist(c);
	c->fn(c->ctx, c->arg, err);
	plan_image_free(c->box);
	mem_free(c);
}

void topic_node_json(struct str *out, const struct plan_topic *t, int32_t first, const struct plan_ids *more, int32_t count)
{
	struct zkd_partition *zp = mem_zalloc(sizeof(*zp) * (size_t)(t->partition_count + count + 1));
	struct zkd_topic z = {.version = 3, .has_topic_id = true, .topic_id = t->id, .partitions = zp};
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct plan_partition *p = &t->partitions[i];
		if (!p->replicas.n)
			continue;
		zp[z.partition_count++] = (struct zkd_partition){.partition = i,
								  .replicas = {p->replicas.v, (size_t)p->replicas.n},
								  .adding = {p->adding.v, (size_t)p->adding.n},
								  .removing = {p->removing.v, (size_t)p->removing.n}};
	}
	for (int32_t i = 0; i < count; i++)
		zp[z.partition_count++] = (struct zkd_partition){.partition = first + i, .replicas = {more[i].v, (size_t)more[i].n}};
	zkd_topic_encode(out, &z);
	mem_free(zp);
}

static void creation_take(struct state *s, struct creation *c, int64_t czxid)
{
	struct plan_topic *t = plan_topic_find(s->im, c->made->name);
	if (t) /* read from ZooKeeper meanwhile, after a lost reply */
		return;
	t = plan_topic_add(s->im, c->made->name, &c->made->id);
	t->czxid = czxid;
	t->version = 0;
	t->has_config_node = true;
	for (int32_t i = 0; i < c->made->config.n; i++)
		(void)plan_configs_put_topic(&t->config, c->made->config.v[i].key, c->made->config.v[i].value);
	for (int32_t i = 0; i < c->made->partition_count; i++) {
		struct plan_partition *p = plan_partition_add(s->im, t, i, &c->made->partitions[i].replicas);
		ASSERT(p);
		plan_ids_copy(&p->fresh, &p->replicas);
		p->min_isr = plan_effective_min_isr(s->im, p);
		state_touch(s, p);
	}
	growth_watch(s, t->name, true);
	state_publish_topic(s, t, true);
	LOG_AT(s->env->log, LOG_INFO, "state", "topic.created", "topic=%s partitions=%d replicas=%d", LOGQ(t->name), t->partition_count, t->partitions[0].replicas.n);
}

static void creation_send(struct creation *c);

/* Behind a barrier: is it ours? */
static void on_creation_reread(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct creation *c = arg;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active) {
		creation_end(c, ERR_STALE);
		return;
	}
	struct arena a;
	struct zkd_topic z;
	arena_init(&a, 0);
	bool ours = err == 0 && zkd_topic_decode(data, &a, &z) == 0 && z.has_topic_id && uuid_eq(&z.topic_id, &c->made->id);
	arena_fini(&a);
	if (ours)
		creation_take(s, c, st->czxid);
	if (err == ERR_NOENT)
		creation_send(c);
	else
		creation_end(c, ours ? 0 : ERR_EXIST);
}

static void on_created(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct creation *c = arg;
	struct arena a;
	if (err == ERR_STALE || !s->active) {
		creation_end(c, ERR_STALE);
	} else if (err == 0) {
		creation_take(s, c, results[1].stat.czxid);
		creation_end(c, 0);
	} else if (failed == 0 && (err == ERR_EXIST || err == ERR_NOENT)) { /* a config node is left over, or went */
		c->config_exists = err == ERR_EXIST;
		creation_send(c);
	} else if (err == ERR_UNKNOWN) {
		arena_init(&a, 0);
		calls_get(&s->calls, zkp_topic(&a, c->made->name), on_creation_reread, c);
		arena_fini(&a);
	} else {
		creation_end(c, err);
	}
}

static void creation_send(struct creation *c)
{
	struct state *s = c->s;
	struct arena a;
	struct str topic = {0}, config = {0};
	arena_init(&a, 0);
	topic_node_json(&topic, c->made, 0, NULL, 0);
	struct zkd_config_entry *e = ARENA_ARRAY(&a, struct zkd_config_entry, (size_t)c->made->config.n + 1);
	for (int32_t i = 0; i < c->made->config.n; i++)
		e[i] = (struct zkd_config_entry){c->made->config.v[i].key, c->made->config.v[i].value};
	zkd_config_encode(&config, &(struct zkd_config){e, (size_t)c->made->config.n});
	struct write *w = write_new(WRITE_BULK, on_created, s, c);
	const char *config_path = zkp_config_topic(&a, c->made->name);
	if (c->config_exists)
		write_set(w, config_path, slice_make(config.ptr, config.len), -1);
	else
		write_create(w, config_path, slice_make(config.ptr, config.len));
	write_create(w, zkp_topic(&a, c->made->name), slice_make(topic.ptr, topic.len));
	writer_submit(&s->wr, w);
	str_fini(&topic);
	str_fini(&config);
	arena_fini(&a);
}

static void random_id(struct env *env, struct uuid *ret)
{
	uint8_t bytes[16];
	do
		env_random(env, bytes, sizeof(bytes));
	while (uuid_from_random(bytes, ret));
}

void state_create_topic(struct state *s, const struct plan_new_topic *n, state_created_fn *fn, void *ctx, void *arg)
{
	struct creation *c = MEM_NEW(struct creation);
	struct uuid id;
	char *name = mem_strndup((const char *)n->name.ptr, n->name.len);
	random_id(s->env, &id);
	*c = (struct creation){.s = s, .box = plan_image_new(), .fn = fn, .ctx = ctx, .arg = arg};
	c->made = plan_topic_add(c->box, name, &id);
	for (int32_t i = n->partition_count - 1; i >= 0; i--)
		plan_partition_add(c->box, c->made, n->partitions[i].idx, &n->partitions[i].replicas);
	for (int32_t i = 0; i < n->config_count; i++)
		plan_configs_put(&c->made->config, n->configs[i].key, n->configs[i].value);
	mem_free(name);
	c->listed = true;
	HASH_ADD_KEYPTR(hh, s->creating, c->made->name, strlen(c->made->name), c);
	creation_send(c);
}

/* ---- a topic id for what tools of 2.8 wrote ---- */

struct id_write {
	char *name;
	struct uuid id;
};

static void on_id_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct id_write *w = arg;
	struct plan_topic *t = err == ERR_STALE || !s->active ? NULL : plan_topic_find(s->im, w->name);
	if (t && err == 0) {
		t->version = results[0].stat.version;
		t->loading = false;
		state_publish_topic(s, t, true);
		for (int32_t i = 0; i < t->partition_count; i++)
			if (t->partitions[i].replicas.n)
				state_touch(s, &t->partitions[i]);
		if (t->admin_node && !t->deleting)
			state_delete_topic(s, t);
		else if (t->deleting)
			state_deletion_step(s, t);
		else
			growth_settled(s, t);
	} else if (t && !state_topic_writing(t)) { /* changed under us: forget it, and read it again */
		plan_topic_remove(s->im, t);
		load_topics(s);
	} else if (t) { /* as above, when the states of its former life are written */
		t->loading = false;
		load_topic_replaced(s, t);
	}
	mem_free(w->name);
	mem_free(w);
}

/* It counts in the image at once, so that inventories are read by it; nobody else hears of it before it is written (C1). */
static void write_id(struct state *s, struct plan_topic *t, const struct uuid *id)
{
	struct id_write *iw = MEM_NEW(struct id_write);
	struct str json = {0};
	struct arena a;
	arena_init(&a, 0);
	iw->name = mem_strdup(t->name);
	iw->id = *id;
	t->loading = true; /* no looks before it has its identity */
	t->no_id = false;
	plan_topic_set_id(s->im, t, id);
	topic_node_json(&json, t, 0, NULL, 0);
	struct write *w = write_new(WRITE_BULK, on_id_written, s, iw);
	write_set(w, zkp_topic(&a, t->name), slice_make(json.ptr, json.len), t->version);
	writer_submit(&s->wr, w);
	str_fini(&json);
	arena_fini(&a);
}

static bool id_free(const struct state *s, const struct uuid *id)
{
	if (uuid_is_zero(id) || plan_topic_find_id(s->im, id))
		return false;
	return !state_deleted_find(s, id); /* logs of a topic that was deleted */
}

/* The id of the longest log (last epoch, end) that a broker holds under the topic's name; false: nobody says that it has one. */
static bool id_of_logs(const struct state *s, const struct plan_topic *t, struct uuid *ret)
{
	const struct plan_inventory *best = NULL;
	uint64_t hash = plan_name_hash(t->name);
	for (const struct plan_broker *b = s->im->brokers; b; b = b->hh.next)
		for (size_t i = 0; i < b->inventory_count; i++) {
			const struct plan_inventory *r = &b->inventory[i];
			if (r->name_hash != hash || !plan_partition_find(t, r->partition) || !id_free(s, &r->topic_id))
				continue;
			if (!best || r->last_epoch > best->last_epoch || (r->last_epoch == best->last_epoch && r->log_end_offset > best->log_end_offset))
				best = r;
		}
	if (best)
		*ret = best->topic_id;
	return best != NULL;
}

/* all: every broker that has a replica of it said hello; else: one did. */
static bool heard(const struct state *s, const struct plan_topic *t, bool all)
{
	for (int32_t i = 0; i < t->partition_count; i++)
		for (int32_t k = 0; k < t->partitions[i].replicas.n; k++) {
			const struct plan_broker *b = plan_broker_find(s->im, t->partitions[i].replicas.v[k]);
			if ((b && b->inventory_known && !(all && b->dir_offline)) != all)
				return !all;
		}
	return all;
}

static void find_id(struct state *s, struct plan_topic *t)
{
	struct uuid id;
	char text[UUID_TEXT_LEN + 1];
	bool late = env_now_us(s->env) - t->no_id_us > ID_WAIT_US;
	bool found = id_of_logs(s, t, &id);
	if (!found && !heard(s, t, true) && !(late && heard(s, t, false)))
		return;
	if (!found)
		random_id(s->env, &id);
	uuid_format(&id, text);
	LOG_AT(s->env->log, found ? LOG_WARN : LOG_INFO, "state", found ? "topic.id_restored" : "topic.id_new", "topic=%s id=%s what=\"%s\"", LOGQ(t->name), text,
	       found ? "its node had none: that of the logs under its name" : "its node had none, and no broker that answers has logs of it");
	write_id(s, t, &id);
}

void state_ids_look(struct state *s)
{
	bool open = false;
	if (!s->active || !s->loaded || !s->ids_wait)
		return;
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next) {
		if (t->no_id)
			find_id(s, t);
		open |= t->no_id;
	}
	s->ids_wait = open;
	if (open && !timer_armed(&s->ids_timer))
		timer_set_ms(&s->ids_timer, ID_LOOK_MS);
}

static void on_ids_timer(void *ctx) { state_ids_look(ctx); }

void topics_init(struct state *s) { timer_init(&s->ids_timer, s->loop, on_ids_timer, s); }

void topics_end(struct state *s)
{
	struct creation *c, *next;
	HASH_ITER(hh, s->creating, c, next)
		unlist(c);
	timer_stop(&s->ids_timer);
	s->ids_wait = false;
}

void state_give_id(struct state *s, struct plan_topic *t)
{
	if (!uuid_is_zero(&t->id)) {
		struct uuid id = t->id;
		write_id(s, t, &id);
		return;
	}
	t->loading = t->no_id = s->ids_wait = true;
	t->no_id_us = env_now_us(s->env);
	if (!timer_armed(&s->ids_timer))
		timer_set_ms(&s->ids_timer, s->loaded ? 0 : ID_LOOK_MS);
}

/* ---- /klamm/deleted ---- */

struct state_deleted *state_deleted_find(const struct state *s, const struct uuid *id)
{
	struct state_deleted *d;
	HASH_FIND(hh, s->deleted, id, sizeof(*id), d);
	return d;
}

void state_deleted_remove(struct state *s, struct state_deleted *d)
{
	HASH_DEL(s->deleted, d);
	plan_ids_fini(&d->brokers);
	mem_free(d->left);
	mem_free(d->name);
	mem_free(d);
}

struct state_deleted *state_deleted_add(struct state *s, const struct uuid *id, const char *name, const struct plan_ids *brokers, const int32_t *left)
{
	struct state_deleted *d = state_deleted_find(s, id);
	if (d)
		state_deleted_remove(s, d);
	d = MEM_NEW(struct state_deleted);
	d->id = *id;
	d->name = mem_strdup(name);
	plan_ids_copy(&d->brokers, brokers);
	d->left = mem_alloc(sizeof(int32_t) * (size_t)(brokers->n + 1));
	for (int32_t i = 0; i < brokers->n; i++)
		d->left[i] = left ? left[i] : 1;
	HASH_ADD(hh, s->deleted, id, sizeof(d->id), d);
	return d;
}

static void on_deleted_gone(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct uuid *id = arg;
	struct state_deleted *d = err == ERR_STALE ? NULL : state_deleted_find(s, id);
	if (d)
		state_deleted_remove(s, d); /* gone, or gone already, or the next reign asks once more */
	mem_free(id);
}

static void deleted_settle(struct state *s, struct state_deleted *d)
{
	if (d->brokers.n || d->removing)
		return;
	char text[UUID_TEXT_LEN + 1];
	struct arena a;
	arena_init(&a, 0);
	struct uuid *id = MEM_NEW(struct uuid);
	*id = d->id;
	uuid_format(id, text);
	LOG_AT(s->env->log, LOG_INFO, "state", "topic.removed_everywhere", "topic=%s id=%s", LOGQ(d->name), text);
	struct write *w = write_new(WRITE_BULK, on_deleted_gone, s, id);
	write_delete(w, zkp_deleted(&a, id), -1);
	d->removing = true;
	writer_submit(&s->wr, w);
	arena_fini(&a);
}

void state_deletion_done(struct state *s, int32_t broker, const struct uuid *id, bool all)
{
	struct state_deleted *d = state_deleted_find(s, id);
	if (!d)
		return;
	for (int32_t i = 0; i < d->brokers.n; i++) {
		if (d->brokers.v[i] != broker)
			continue;
		if (!all && --d->left[i] > 0)
			return;
		memmove(d->left + i, d->left + i + 1, sizeof(int32_t) * (size_t)(d->brokers.n - i - 1));
		plan_ids_remove(&d->brokers, broker);
		break;
	}
	deleted_settle(s, d);
}

/* ---- deletion ---- */

static void on_admin_gone(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results) {}

void state_admin_node_delete(struct state *s, const char *name)
{
	struct arena a;
	arena_init(&a, 0);
	struct write *w = write_new(WRITE_BULK, on_admin_gone, s, NULL);
	write_delete(w, zkp_delete_topic(&a, name), -1);
	writer_submit(&s->wr, w);
	arena_fini(&a);
}

struct deletion {
	struct plan_topic *topic;
	int32_t busy;      /* writes and reads under way */
	bool rescan;       /* something was not as expected */
	bool gone;         /* the topic node is not there any more */
};

static struct deletion *deletion_of(struct plan_topic *t)
{
	if (!t->deletion) {
		struct deletion *d = MEM_NEW(struct deletion);
		d->topic = t;
		t->deletion = d;
	}
	return t->deletion;
}

static void deletion_finished(struct state *s, struct plan_topic *t)
{
	struct plan_ids brokers = {0};
	int32_t most = 1;
	for (int32_t i = 0; i < t->partition_count; i++)
		most += t->partitions[i].replicas.n;
	int32_t *left = mem_zalloc(sizeof(int32_t) * (size_t)most);
	for (int32_t i = 0; i < t->partition_count; i++)
		for (int32_t k = 0; k < t->partitions[i].replicas.n; k++) {
			int32_t id = t->partitions[i].replicas.v[k], at = 0;
			plan_ids_add(&brokers, id);
			while (brokers.v[at] != id)
				at++;
			left[at]++;
		}
	struct state_deleted *d = state_deleted_add(s, &t->id, t->name, &brokers, left);
	mem_free(left);
	plan_ids_fini(&brokers);
	MEM_GROW(s->removed, s->removed_cap, s->removed_count + 1);
	s->removed[s->removed_count++] = (struct state_removed){t->id, mem_strdup(t->name)};
	LOG_AT(s->env->log, LOG_INFO, "state", "topic.deleted", "topic=%s partitions=%d", LOGQ(t->name), t->partition_count);
	mem_free(t->deletion);
	t->deletion = NULL;
	growth_unwatch(s, t->name);
	plan_topic_remove(s->im, t);
	deleted_settle(s, d);
	s->host.changed(s->host.ctx);
}

struct part_delete {
	struct plan_topic *topic;
	int32_t idx; /* -1: the last multi; -2: the marker */
};

static void deletion_rescan(struct state *s, struct plan_topic *t);
static void on_deleted_part(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct part_delete pd = *(struct part_delete *)arg;
	mem_free(arg);
	if (err == ERR_STALE || !s->active)
		return;
	struct deletion *d = deletion_of(pd.topic);
	d->busy--;
	if (err == 0 && pd.idx == -1) {
		deletion_finished(s, pd.topic);
		return;
	}
	if (err == 0 && pd.idx == -2) {
		pd.topic->admin_node = true;
	} else if (err == 0) {
		pd.topic->partitions[pd.idx].version = -1;
		pd.topic->partitions[pd.idx].node_exists = false;
	} else if (pd.idx == -2 && err == ERR_EXIST) {
		pd.topic->admin_node = true;
	} else {
		d->rescan = true;
	}
	state_deletion_step(s, pd.topic);
}

static struct write *part_write(struct state *s, struct plan_topic *t, int32_t idx)
{
	struct part_delete *pd = MEM_NEW(struct part_delete);
	*pd = (struct part_delete){t, idx};
	deletion_of(t)->busy++;
	return write_new(WRITE_BULK, on_deleted_part, s, pd);
}

static void delete_partition(struct arena *a, struct write *w, const struct plan_partition *p)
{
	if (p->version >= 0)
		write_delete(w, zkp_state(a, p->topic->name, p->idx), -1);
	if (p->node_exists)
		write_delete(w, zkp_partition(a, p->topic->name, p->idx), -1);
}

static int32_t partition_nodes(const struct plan_topic *t)
{
	int32_t n = 0;
	for (int32_t i = 0; i < t->partition_count; i++)
		n += t->partitions[i].node_exists;
	return n;
}

static void deleted_json(struct str *out, const struct plan_topic *t)
{
	struct zkd_partition *zp = mem_zalloc(sizeof(*zp) * (size_t)(t->partition_count + 1));
	struct zkd_deleted z = {.topic = t->name, .partitions = zp};
	for (int32_t i = 0; i < t->partition_count; i++)
		if (t->partitions[i].replicas.n)
			zp[z.partition_count++] = (struct zkd_partition){.partition = i, .replicas = {t->partitions[i].replicas.v, (size_t)t->partitions[i].replicas.n}};
	zkd_deleted_encode(out, &z);
	mem_free(zp);
}

static void delete_last(struct state *s, struct plan_topic *t)
{
	struct arena a;
	struct str json = {0};
	arena_init(&a, 0);
	struct write *w = part_write(s, t, -1);
	deleted_json(&json, t);
	write_create(w, zkp_deleted(&a, &t->id), slice_make(json.ptr, json.len));
	for (int32_t i = 0; i < t->partition_count; i++)
		delete_partition(&a, w, &t->partitions[i]);
	if (t->partitions_node)
		write_delete(w, zkp_partitions(&a, t->name), -1);
	growth_unwatch(s, t->name);
	write_delete(w, zkp_topic(&a, t->name), -1);
	if (t->has_config_node)
		write_delete(w, zkp_config_topic(&a, t->name), -1);
	if (t->admin_node)
		write_delete(w, zkp_delete_topic(&a, t->name), -1);
	writer_submit(&s->wr, w);
	str_fini(&json);
	arena_fini(&a);
}

static void delete_batches(struct state *s, struct plan_topic *t)
{
	struct arena a;
	arena_init(&a, 0);
	if (!t->admin_node) { /* so that the next reign goes on where we stop */
		struct write *w = part_write(s, t, -2);
		write_create(w, zkp_delete_topic(&a, t->name), (struct slice){NULL, 0});
		writer_submit(&s->wr, w);
	} else {
		for (int32_t i = 0; i < t->partition_count; i++) {
			if (!t->partitions[i].node_exists)
				continue;
			struct write *w = part_write(s, t, i);
			delete_partition(&a, w, &t->partitions[i]);
			writer_submit(&s->wr, w);
		}
	}
	arena_fini(&a);
}

void state_deletion_step(struct state *s, struct plan_topic *t)
{
	struct deletion *d = deletion_of(t);
	if (!s->active || t->in_flight > 0 || d->busy > 0 || t->loading)
		return;
	if (d->rescan) {
		d->rescan = false;
		deletion_rescan(s, t);
	} else if (partition_nodes(t) > ONE_MULTI_PARTITIONS) {
		delete_batches(s, t);
	} else {
		delete_last(s, t);
	}
}

void state_delete_topic(struct state *s, struct plan_topic *t)
{
	if (!t->deleting)
		LOG_AT(s->env->log, LOG_INFO, "state", "topic.deleting", "topic=%s", LOGQ(t->name));
	t->deleting = true;
	for (int32_t i = 0; i < t->partition_count; i++)
		if (t->partitions[i].replicas.n)
			state_touch(s, &t->partitions[i]); /* settles marks and proposals */
	state_deletion_step(s, t);
}

/* ---- what is really there ---- */

struct scan {
	struct plan_topic *topic;
	int32_t idx;
	int what; /* 0 topic node, 1 config node, 2 admin node, 3 state node */
};

static void scan_done(struct state *s, struct plan_topic *t)
{
	deletion_of(t)->busy--;
	state_deletion_step(s, t);
}

static void on_scan_node(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct scan sc = *(struct scan *)arg;
	mem_free(arg);
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active)
		return;
	struct plan_topic *t = sc.topic;
	if (sc.what == 0 && err == ERR_NOENT) { /* the lost reply was a yes, or a hand was faster */
		t->version = -1;
		deletion_of(t)->gone = true;
	} else if (sc.what == 1) {
		t->has_config_node = err == 0;
	} else if (sc.what == 2) {
		t->admin_node = err == 0;
	} else if (sc.what == 3) {
		t->partitions[sc.idx].version = err == 0 ? st->version : -1;
	}
	if (--deletion_of(t)->busy > 0)
		return;
	if (deletion_of(t)->gone)
		deletion_finished(s, t);
	else
		state_deletion_step(s, t);
}

static void scan_node(struct state *s, struct plan_topic *t, const char *path, int what, int32_t idx)
{
	struct scan *sc = MEM_NEW(struct scan);
	*sc = (struct scan){t, idx, what};
	deletion_of(t)->busy++;
	calls_get(&s->calls, path, on_scan_node, sc);
}

static void on_scan_partitions(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct state *s = ctx;
	struct plan_topic *t = arg;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active)
		return;
	struct arena a;
	arena_init(&a, 0);
	t->partitions_node = err == 0;
	for (int32_t i = 0; i < t->partition_count; i++) {
		t->partitions[i].node_exists = false;
		t->partitions[i].version = -1; /* said anew for those that are there */
	}
	for (size_t i = 0; err == 0 && i < names->count; i++) {
		int32_t idx;
		if (zkp_id(names->names[i], &idx) || !plan_topic_make_room(t, idx)) /* a hand may have left one that the topic does not have */
			continue;
		t->partitions[idx].node_exists = true;
		scan_node(s, t, zkp_state(&a, t->name, idx), 3, idx);
	}
	scan_node(s, t, zkp_config_topic(&a, t->name), 1, 0);
	scan_node(s, t, zkp_delete_topic(&a, t->name), 2, 0);
	scan_node(s, t, zkp_topic(&a, t->name), 0, 0);
	arena_fini(&a);
	scan_done(s, t);
}

static void deletion_rescan(struct state *s, struct plan_topic *t)
{
	struct arena a;
	arena_init(&a, 0);
	deletion_of(t)->busy++;
	calls_children(&s->calls, zkp_partitions(&a, t->name), on_scan_partitions, t);
	arena_fini(&a);
}
