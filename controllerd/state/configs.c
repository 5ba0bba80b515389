/* configs.c: configs of topics and brokers: changes by request, and what becomes of what ZooKeeper has. See state.h.
 *
 * A change reads the node, computes the new set on what was read (plan/configs.h), and writes it on exactly that version together with its
 * notification under /config/changes, as Kafka's brokers and tools write and watch them; whoever was faster makes it start again. One
 * change of an entity at a time, further ones wait in its line (C3). The image takes the set when the write is acknowledged (C1).
 * Notifications older than 15 minutes go when the next one comes, as in Kafka.
 */
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/broker_key.h"
#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

enum { CHANGE_AGE_MS = 15 * 60 * 1000, TRIES = 20 };

/* ---- the image ---- */

static bool same(const struct plan_configs *a, const struct plan_configs *b)
{
	if (a->n != b->n)
		return false;
	for (int32_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].key, b->v[i].key) != 0 || strcmp(a->v[i].value, b->v[i].value) != 0)
			return false;
	return true;
}

void state_parse_topic_config(const struct state *s, const char *topic, const struct plan_configs *set, struct plan_configs *ret_parsed)
{
	for (int32_t i = 0; i < set->n; i++)
		if (!plan_configs_put_topic(ret_parsed, set->v[i].key, set->v[i].value))
			LOG_AT(s->env->log, LOG_WARN, "config", "bad value", "topic=%s key=%s value=%s", LOGQ(topic), LOGQ(set->v[i].key), LOGQ(set->v[i].value));
}

void state_take_topic_config(struct state *s, struct plan_topic *t, struct plan_configs *set, bool node)
{
	struct plan_configs parsed = {0};
	t->has_config_node = node;
	state_parse_topic_config(s, t->name, set, &parsed);
	plan_configs_fini(set);
	if (same(&t->config, &parsed)) {
		plan_configs_fini(&parsed);
		return;
	}
	plan_configs_fini(&t->config);
	t->config = parsed;
	state_publish_topic(s, t, true);
	for (int32_t i = 0; i < t->partition_count; i++) /* min.insync.replicas, unclean.leader.election.enable */
		if (t->partitions[i].replicas.n)
			state_touch(s, &t->partitions[i]);
}

/* What tools wrote and no broker will do: said once, when it comes. */
static void warn_of(const struct state *s, const char *entity, const struct plan_configs *set)
{
	for (int32_t i = 0; i < set->n; i++) {
		const struct config_key *k = broker_key_find(set->v[i].key);
		if (!k)
			LOG_AT(s->env->log, LOG_WARN, "config", "unknown key", "entity=%s key=%s", LOGQ(entity), LOGQ(set->v[i].key));
		else if (!broker_key_live(k) && !broker_key_same_as_default(k, set->v[i].value))
			LOG_AT(s->env->log, LOG_WARN, "config", "has no effect", "entity=%s key=%s", LOGQ(entity), k->name);
	}
}

void state_take_entity(struct state *s, const char *name, struct plan_configs *set)
{
	int32_t id;
	struct plan_configs *to = NULL;
	if (strcmp(name, ZKD_DEFAULT_ENTITY) == 0)
		to = &s->im->default_config;
	else if (zkp_id(name, &id) == 0)
		to = &plan_entity_get(s->im, id)->config;
	if (!to || same(to, set)) {
		plan_configs_fini(set);
		return;
	}
	plan_configs_fini(to);
	*to = *set;
	*set = (struct plan_configs){0};
	warn_of(s, name, to);
	s->configs_changed = true;
	if (s->loaded) {
		state_min_isr_changed(s);
		state_touch_all(s); /* unclean election may be allowed now */
		s->host.changed(s->host.ctx);
	}
}

/* ---- notifications ---- */

void state_note_seen(struct state *s, int64_t seq, int64_t ctime_ms)
{
	MEM_GROW(s->notes, s->note_cap, s->note_count + 1);
	s->notes[s->note_count++] = (struct state_note){seq, ctime_ms};
}

static void on_note_gone(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results) {}

bool state_note_old(const struct state *s, int64_t ctime_ms) { return env_wall_ms(s->env) - ctime_ms > CHANGE_AGE_MS; }

void state_note_drop(struct state *s, const char *name)
{
	struct arena a;
	arena_init(&a, 0);
	struct write *w = write_new(WRITE_BULK, on_note_gone, s, NULL);
	write_delete(w, zkp_config_change_node(&a, name), -1);
	writer_submit(&s->wr, w);
	arena_fini(&a);
}

void state_notes_purge(struct state *s)
{
	struct arena a;
	size_t kept = 0;
	arena_init(&a, 0);
	for (size_t i = 0; i < s->note_count; i++) {
		if (state_note_old(s, s->notes[i].ctime_ms))
			state_note_drop(s, arena_printf(&a, ZKP_CONFIG_CHANGE_PREFIX "%010lld", (long long)s->notes[i].seq));
		else
			s->notes[kept++] = s->notes[i];
	}
	s->note_count = kept;
	arena_fini(&a);
}

/* ---- changes ---- */

struct alter {
	struct list link; /* of its line */
	struct state *s;
	struct state_config_line *line;
	struct state_alter q;
	struct arena arena;
	struct str wanted; /* what was written last */
	struct plan_configs set;
	int tries;
	bool exists;       /* the node, when it was read */
};

struct state_config_line {
	UT_hash_handle hh;
	struct list waiting; /* the first is under way */
	struct zkd_entity entity;
	char *path, *name; /* name: of the entity; NULL the default one */
};

static void alter_read(struct alter *al);

/* Its callback, then the next of its line. */
static void alter_end(struct alter *al, int16_t error, const struct str *problem)
{
	struct state *s = al->s;
	struct state_config_line *line = al->line;
	list_remove(&al->link);
	al->q.fn(al->q.ctx, al->q.arg, error, problem);
	str_fini(&al->wanted);
	plan_configs_fini(&al->set);
	arena_fini(&al->arena);
	mem_free(al);
	if (!list_empty(&line->waiting)) {
		if (s->active)
			alter_read(LIST_ENTRY(line->waiting.next, struct alter, link));
		return;
	}
	HASH_DEL(s->config_lines, line);
	mem_free(line->path);
	mem_free(line->name);
	mem_free(line);
}

static void alter_fail(struct alter *al, int16_t error, const char *text)
{
	struct str problem = {0};
	str_add(&problem, text);
	alter_end(al, error, &problem);
	str_fini(&problem);
}

static struct plan_topic *topic_of(const struct alter *al)
{
	struct plan_topic *t = plan_topic_find(al->s->im, al->q.topic);
	return t && !t->vanished && !t->deleting ? t : NULL;
}

static void alter_taken(struct alter *al)
{
	struct state *s = al->s;
	struct plan_topic *t = al->q.topic ? topic_of(al) : NULL;
	if (t)
		state_take_topic_config(s, t, &al->set, true);
	else if (!al->q.topic)
		state_take_entity(s, al->line->name ? al->line->name : ZKD_DEFAULT_ENTITY, &al->set);
	LOG_AT(s->env->log, LOG_INFO, "config", "changed", "entity=%s", LOGQ(al->line->path));
	alter_end(al, KERR_NONE, NULL);
}

static void on_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct alter *al = arg;
	int64_t seq;
	if (err == ERR_STALE || !s->active) {
		alter_fail(al, KERR_NOT_CONTROLLER, "This controller was replaced.");
	} else if (err == 0) {
		const char *name = results[1].path ? strrchr(results[1].path, '/') : NULL;
		if (name && zkp_sequence(name + 1, ZKP_CONFIG_CHANGE_PREFIX, &seq) == 0 && seq == s->config_seq + 1) { /* ours: it need not be read */
			s->config_seq = seq;
			state_note_seen(s, seq, env_wall_ms(s->env));
		}
		alter_taken(al);
	} else if (err == ERR_UNKNOWN || ((err == ERR_BADVERSION || err == ERR_EXIST || err == ERR_NOENT) && failed == 0)) {
		if (++al->tries < TRIES)
			alter_read(al);
		else
			alter_fail(al, KERR_REQUEST_TIMED_OUT, "The configuration keeps changing under this request.");
	} else {
		alter_fail(al, err == ERR_LIMIT ? KERR_INVALID_CONFIG : KERR_UNKNOWN_SERVER_ERROR, err == ERR_LIMIT ? "The configuration is too large for ZooKeeper." : "ZooKeeper refused the configuration.");
	}
}

static void alter_write(struct alter *al, int32_t version)
{
	struct arena a;
	struct str note = {0};
	arena_init(&a, 0);
	struct zkd_config_entry *e = ARENA_ARRAY(&a, struct zkd_config_entry, (size_t)al->set.n + 1);
	for (int32_t i = 0; i < al->set.n; i++)
		e[i] = (struct zkd_config_entry){al->set.v[i].key, al->set.v[i].value};
	str_fini(&al->wanted);
	zkd_config_encode(&al->wanted, &(struct zkd_config){e, (size_t)al->set.n});
	zkd_config_change_encode(&note, &al->line->entity);
	struct write *w = write_new(WRITE_BULK, on_written, al->s, al);
	if (al->exists)
		write_set(w, al->line->path, slice_make(al->wanted.ptr, al->wanted.len), version);
	else
		write_create(w, al->line->path, slice_make(al->wanted.ptr, al->wanted.len));
	write_create_sequential(w, zkp_config_change(&a), slice_make(note.ptr, note.len));
	writer_submit(&al->s->wr, w);
	str_fini(&note);
	arena_fini(&a);
}

static void on_read(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct alter *al = arg;
	struct arena a;
	struct zkd_config c = {0};
	struct plan_configs now = {0};
	struct str problem = {0};
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active) {
		alter_fail(al, KERR_NOT_CONTROLLER, "This controller was replaced.");
		return;
	}
	if (err && err != ERR_NOENT) {
		alter_fail(al, KERR_UNKNOWN_SERVER_ERROR, "ZooKeeper did not give the configuration.");
		return;
	}
	arena_init(&a, 0);
	al->exists = err == 0;
	if (err == 0 && zkd_config_decode(data, &a, &c)) /* garbage counts as nothing, and is overwritten */
		c.count = 0;
	for (size_t i = 0; i < c.count; i++)
		plan_configs_put(&now, c.entries[i].key, c.entries[i].value);
	plan_configs_fini(&al->set);
	int16_t error = plan_config_alter(al->q.kind, &al->q.changes, &now, &al->set, &problem);
	bool written = al->tries && al->exists && slice_eq(data, slice_make(al->wanted.ptr, al->wanted.len)); /* the lost reply was a yes */
	if (al->q.topic && !topic_of(al)) {
		str_clear(&problem);
		str_printf(&problem, "The topic '%s' does not exist.", al->q.topic);
		alter_end(al, KERR_UNKNOWN_TOPIC_OR_PARTITION, &problem);
	} else if (error || al->q.validate_only) {
		alter_end(al, error, error ? &problem : NULL);
	} else if (written) {
		alter_taken(al);
	} else {
		alter_write(al, al->exists ? st->version : -1);
	}
	plan_configs_fini(&now);
	str_fini(&problem);
	arena_fini(&a);
}

static void alter_read(struct alter *al) { calls_get(&al->s->calls, al->line->path, on_read, al); }

static struct state_config_line *line_of(struct state *s, struct alter *al)
{
	struct state_config_line *line;
	struct zkd_entity e = {.kind = al->q.topic ? ZKD_ENTITY_TOPIC : ZKD_ENTITY_BROKER, .name = al->q.topic};
	if (!al->q.topic && al->q.broker >= 0)
		e.name = arena_printf(&al->arena, "%d", al->q.broker);
	const char *path = zkp_config_entity(&al->arena, &e);
	HASH_FIND_STR(s->config_lines, path, line);
	if (!line) {
		line = MEM_NEW(struct state_config_line);
		list_init(&line->waiting);
		line->path = mem_strdup(path);
		line->name = e.name ? mem_strdup(e.name) : NULL;
		line->entity = (struct zkd_entity){.kind = e.kind, .name = line->name};
		HASH_ADD_KEYPTR(hh, s->config_lines, line->path, strlen(line->path), line);
	}
	return line;
}

void state_alter_config(struct state *s, const struct state_alter *q)
{
	struct alter *al = MEM_NEW(struct alter);
	arena_init(&al->arena, 0);
	al->s = s;
	al->q = *q;
	al->line = line_of(s, al);
	list_init(&al->link);
	bool first = list_empty(&al->line->waiting);
	list_push_back(&al->line->waiting, &al->link);
	if (first)
		alter_read(al);
}

void configs_end(struct state *s)
{
	/* those under way were told when their call was cancelled or their write refused; the rest of each line is told here */
	struct state_config_line *line, *next;
	HASH_ITER(hh, s->config_lines, line, next) {
		bool last = false;
		while (!last) {
			struct alter *al = LIST_ENTRY(line->waiting.next, struct alter, link);
			last = line->waiting.next == line->waiting.prev;
			alter_fail(al, KERR_NOT_CONTROLLER, "This controller was replaced.");
		}
	}
	s->note_count = 0;
}
