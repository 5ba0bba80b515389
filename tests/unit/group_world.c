/* group_world.c: see group_world.h. */
#include "tests/unit/group_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brokerd/group/group_priv.h"
#include "common/base/mem.h"

void world_begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->cfg = (struct groups_config){.min_session_timeout_ms = MIN_SESSION, .max_session_timeout_ms = 1800000, .max_size = INT32_MAX,
		.initial_rebalance_delay_ms = 0, .offset_metadata_max_bytes = 4096, .offsets_retention_ms = 10080ll * 60000};
	w->now = 1700000000000;
	w->auto_write = true;
	list_init(&w->writes);
	groups_out_init(&w->out);
	w->g = groups_new(0, 0, 7, &w->cfg);
	groups_loaded(w->g, w->now, &w->out);
}

static void drop_writes(struct world *w)
{
	for (struct list *it; (it = list_pop_front(&w->writes));)
		groups_write_free(LIST_ENTRY(it, struct groups_write, link));
}

void world_end(struct world *w)
{
	groups_resign(w->g, &w->out);
	world_take(w);
	drop_writes(w);
	groups_free(w->g);
	for (struct gcall *c = w->calls, *next; c; c = next) {
		next = c->next;
		CU_ASSERT(c->answered);
		arena_fini(&c->arena);
		mem_free(c);
	}
	for (uint32_t i = 0; i < w->log_count; i++) {
		mem_free(w->log[i].key);
		mem_free(w->log[i].value);
	}
	mem_free(w->log);
}

static void *dup_bytes(struct slice s)
{
	void *p = mem_alloc(s.len);
	if (s.len)
		memcpy(p, s.ptr, s.len);
	return p;
}

static struct logged *log_add(struct world *w, struct slice key, struct slice value, int64_t producer_id)
{
	MEM_GROW(w->log, w->log_cap, (size_t)w->log_count + 1);
	struct logged *l = &w->log[w->log_count++];
	*l = (struct logged){.key = dup_bytes(key), .value = dup_bytes(value), .key_len = key.len, .value_len = value.len, .tombstone = !value.ptr,
		.offset = w->next_offset++, .producer_id = producer_id};
	return l;
}

void world_written_one(struct world *w, int16_t err)
{
	struct list *it = list_pop_front(&w->writes);
	if (!it)
		return;
	struct groups_write *wr = LIST_ENTRY(it, struct groups_write, link);
	int64_t base = w->next_offset;
	size_t bytes = 0;
	for (uint32_t i = 0; i < wr->count; i++) {
		CU_ASSERT_EQUAL(wr->records[i].tombstone, !wr->records[i].value.ptr);
		bytes += wr->records[i].key.len + wr->records[i].value.len;
		if (!err)
			log_add(w, wr->records[i].key, wr->records[i].value, -1);
	}
	CU_ASSERT_EQUAL(bytes, wr->bytes);
	groups_written(w->g, wr, err, base, w->now, &w->out);
	world_take(w);
}

void world_written(struct world *w, int16_t err)
{
	while (!list_empty(&w->writes))
		world_written_one(w, err);
}

uint32_t world_open_writes(const struct world *w)
{
	uint32_t n = 0;
	LIST_FOR(it, &w->writes)
		n++;
	return n;
}

void world_take(struct world *w)
{
	for (struct list *it; (it = list_pop_front(&w->out.answered));) {
		struct gcall *c = CONTAINER_OF(LIST_ENTRY(it, struct groups_call, link), struct gcall, call);
		CU_ASSERT(!c->answered);
		c->answered = true;
	}
	for (struct list *it; (it = list_pop_front(&w->out.writes));)
		list_push_back(&w->writes, it);
}

static void done(struct world *w)
{
	world_take(w);
	if (w->auto_write)
		world_written(w, 0);
}

void world_tick(struct world *w, int64_t ms)
{
	int64_t end = w->now + ms;
	for (int64_t due; (due = groups_due_ms(w->g)) <= end;) {
		w->now = due > w->now ? due : w->now;
		groups_tick(w->g, w->now, &w->out);
		done(w);
	}
	w->now = end;
}

struct groups *world_replay(struct world *w, int times)
{
	struct groups *g = groups_new(0, w->epoch, 7 + (uint64_t)w->epoch, &w->cfg);
	for (int n = 0; n < times; n++)
		for (uint32_t i = 0; i < w->log_count; i++) {
			const struct logged *l = &w->log[i];
			if (l->marker)
				groups_replay_marker(g, l->producer_id, l->marker == 1, l->offset);
			else
				CU_ASSERT_EQUAL(groups_replay(g, slice_make(l->key, l->key_len), l->tombstone ? slice_make(NULL, 0) : slice_make(l->value, l->value_len),
							      l->offset, l->producer_id), 0);
		}
	return g;
}

void world_reload(struct world *w)
{
	groups_resign(w->g, &w->out);
	world_take(w);
	drop_writes(w);
	groups_free(w->g);
	w->epoch++;
	w->g = world_replay(w, 1);
	groups_loaded(w->g, w->now, &w->out);
	done(w);
}

void world_marker(struct world *w, int64_t producer_id, bool committed)
{
	struct logged *l = log_add(w, slice_make("", 0), slice_make("", 0), producer_id);
	l->marker = committed ? 1 : 2;
	groups_replay_marker(w->g, producer_id, committed, l->offset);
}

void world_txn_commit(struct world *w, int64_t producer_id, const char *group, const char *topic, int32_t partition, int64_t offset)
{
	struct kp_offset_commit_key k = {slice_str(group), slice_str(topic), partition};
	struct kp_offset_commit_value v;
	uint8_t bytes[2][512] = {{0, 1}, {0, 3}};
	struct chain c;
	size_t n[2];

	kp_offset_commit_value_init(&v);
	v.offset = offset;
	v.leader_epoch = -1;
	v.commit_timestamp = w->now;
	chain_init(&c);
	wire_encode(&kp_offset_commit_key_desc, 1, &k, &c);
	n[0] = (size_t)c.bytes + 2;
	chain_flatten(&c, bytes[0] + 2);
	chain_clear(&c);
	wire_encode(&kp_offset_commit_value_desc, 3, &v, &c);
	n[1] = (size_t)c.bytes + 2;
	chain_flatten(&c, bytes[1] + 2);
	chain_clear(&c);
	struct logged *l = log_add(w, slice_make(bytes[0], n[0]), slice_make(bytes[1], n[1]), producer_id);
	CU_ASSERT_EQUAL(groups_replay(w->g, slice_make(bytes[0], n[0]), slice_make(bytes[1], n[1]), l->offset, producer_id), 0);
}

/* ---- calls ---- */

struct gcall *new_call(struct world *w, int16_t version)
{
	struct gcall *c = MEM_NEW(struct gcall);
	c->next = w->calls;
	w->calls = c;
	arena_init(&c->arena, 0);
	c->call = (struct groups_call){.arena = &c->arena, .version = version, .client_id = slice_str("client"), .client_host = "/127.0.0.1", .request = &c->req, .response = &c->resp};
	return c;
}

static struct slice own(struct gcall *c, const char *s)
{
	return s ? slice_make(arena_strndup(&c->arena, s, strlen(s)), strlen(s)) : slice_make(NULL, 0);
}

/* "a:b c:d" -> pairs; gives the count */
static int32_t pairs(struct gcall *c, const char *s, char sep, struct slice (*ret)[2], int32_t max)
{
	int32_t n = 0;
	char *p = arena_strndup(&c->arena, s, strlen(s));
	for (char *save, *tok = strtok_r(p, " ", &save); tok && n < max; tok = strtok_r(NULL, " ", &save)) {
		char *at = strchr(tok, sep);
		ret[n][0] = slice_make(tok, at ? (size_t)(at - tok) : strlen(tok));
		ret[n++][1] = at ? slice_str(at + 1) : slice_make("", 0);
	}
	return n;
}

struct gcall *join_call(struct world *w, int16_t version, const char *group, const char *member, const char *instance, const char *protocols)
{
	struct gcall *c = new_call(w, version);
	struct slice p[16][2];
	struct kp_join_group_request *r = &c->req.join;
	kp_join_group_request_init(r);
	r->group_id = own(c, group);
	r->member_id = own(c, member);
	r->group_instance_id = own(c, instance);
	r->protocol_type = slice_str("consumer");
	r->session_timeout_ms = SESSION;
	r->rebalance_timeout_ms = REBALANCE;
	r->protocols_count = pairs(c, protocols, ':', p, 16);
	r->protocols = ARENA_ARRAY(&c->arena, struct kp_join_group_request_protocols, 16);
	for (int32_t i = 0; i < r->protocols_count; i++)
		r->protocols[i] = (struct kp_join_group_request_protocols){p[i][0], p[i][1]};
	return c;
}

struct gcall *do_join(struct world *w, struct gcall *c)
{
	groups_join(w->g, &c->call, w->now, &w->out);
	done(w);
	return c;
}

struct gcall *join(struct world *w, int16_t version, const char *group, const char *member, const char *instance, const char *protocols)
{
	return do_join(w, join_call(w, version, group, member, instance, protocols));
}

struct gcall *sync(struct world *w, const char *group, int32_t generation, const char *member, const char *instance, const char *assignments)
{
	struct gcall *c = new_call(w, 5);
	struct slice p[16][2];
	struct kp_sync_group_request *r = &c->req.sync;
	kp_sync_group_request_init(r);
	r->group_id = own(c, group);
	r->generation_id = generation;
	r->member_id = own(c, member);
	r->group_instance_id = own(c, instance);
	r->assignments_count = assignments ? pairs(c, assignments, '=', p, 16) : 0;
	r->assignments = ARENA_ARRAY(&c->arena, struct kp_sync_group_request_assignments, 16);
	for (int32_t i = 0; i < r->assignments_count; i++)
		r->assignments[i] = (struct kp_sync_group_request_assignments){p[i][0], p[i][1]};
	groups_sync(w->g, &c->call, w->now, &w->out);
	done(w);
	return c;
}

int16_t heartbeat(struct world *w, const char *group, int32_t generation, const char *member, const char *instance)
{
	struct gcall *c = new_call(w, 4);
	c->req.heartbeat = (struct kp_heartbeat_request){own(c, group), generation, own(c, member), own(c, instance)};
	groups_heartbeat(w->g, &c->call, w->now, &w->out);
	done(w);
	CU_ASSERT(c->answered);
	return c->resp.heartbeat.error_code;
}

struct gcall *leave(struct world *w, int16_t version, const char *group, const char *member, const char *instance)
{
	struct gcall *c = new_call(w, version);
	struct kp_leave_group_request *r = &c->req.leave;
	kp_leave_group_request_init(r);
	r->group_id = own(c, group);
	if (version < 3) {
		r->member_id = own(c, member);
	} else {
		r->members = ARENA_NEW(&c->arena, struct kp_leave_group_request_members);
		r->members_count = 1;
		r->members[0] = (struct kp_leave_group_request_members){.member_id = own(c, member), .group_instance_id = own(c, instance)};
	}
	groups_leave(w->g, &c->call, w->now, &w->out);
	done(w);
	CU_ASSERT(c->answered);
	return c;
}

static struct groups_offset *rows_of(struct gcall *c, const char *rows, uint32_t *ret_count)
{
	struct slice p[64][2];
	uint32_t n = (uint32_t)pairs(c, rows, '=', p, 64);
	struct groups_offset *o = ARENA_ARRAY(&c->arena, struct groups_offset, n);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *slash = memchr(p[i][0].ptr, '/', p[i][0].len);
		o[i] = (struct groups_offset){.topic = slice_make(p[i][0].ptr, (size_t)(slash - p[i][0].ptr)), .partition = atoi((const char *)slash + 1),
			.offset = p[i][1].len ? atoll((const char *)p[i][1].ptr) : -1, .leader_epoch = -1, .commit_timestamp = -1, .error = 99};
	}
	*ret_count = n;
	return o;
}

struct gcall *commit_call(struct world *w, const char *group, int32_t generation, const char *member, const char *rows)
{
	struct gcall *c = new_call(w, 8);
	struct groups_commit *r = &c->req.commit;
	*r = (struct groups_commit){.group = own(c, group), .member = own(c, member), .generation = generation, .retention_ms = -1};
	r->rows = rows_of(c, rows, &r->count);
	for (uint32_t i = 0; i < r->count; i++)
		r->rows[i].error = 0; /* none of them is refused */
	c->call.response = r;
	return c;
}

struct gcall *commit(struct world *w, const char *group, int32_t generation, const char *member, const char *rows)
{
	struct gcall *c = commit_call(w, group, generation, member, rows);
	groups_commit(w->g, &c->call, w->now, &w->out);
	done(w);
	return c;
}

struct gcall *delete_groups(struct world *w, const char *groups)
{
	struct gcall *c = new_call(w, 2);
	struct slice p[16][2];
	struct groups_delete *r = &c->req.delete;
	r->count = (uint32_t)pairs(c, groups, '\n', p, 16);
	r->groups = ARENA_ARRAY(&c->arena, struct slice, 16);
	r->errors = ARENA_ARRAY(&c->arena, int16_t, 16);
	for (uint32_t i = 0; i < r->count; i++)
		r->groups[i] = p[i][0];
	c->call.response = r;
	groups_delete(w->g, &c->call, w->now, &w->out);
	done(w);
	return c;
}

struct gcall *delete_offsets(struct world *w, const char *group, const char *rows)
{
	struct gcall *c = new_call(w, 0);
	struct groups_offset_delete *r = &c->req.offset_delete;
	r->group = own(c, group);
	r->rows = rows_of(c, rows, &r->count);
	c->call.response = r;
	groups_delete_offsets(w->g, &c->call, w->now, &w->out);
	done(w);
	return c;
}

/* ---- reads ---- */

static struct groups_fetch_row fetch_row(struct world *w, const char *group, const char *topic, int32_t partition, bool stable)
{
	struct arena a;
	struct groups_fetch_row row = {.topic = slice_str(topic), .partition = partition, .offset = 12345};
	struct groups_fetch f = {.group = slice_str(group), .require_stable = stable, .rows = &row, .count = 1};
	arena_init(&a, 0);
	groups_fetch(w->g, &f, &a);
	row.metadata = slice_make(NULL, 0);
	arena_fini(&a);
	return row;
}

int64_t fetch(struct world *w, const char *group, const char *topic, int32_t partition)
{
	return fetch_row(w, group, topic, partition, false).offset;
}

int16_t fetch_stable(struct world *w, const char *group, const char *topic, int32_t partition)
{
	return fetch_row(w, group, topic, partition, true).error;
}

const char *describe(struct world *w, const char *group)
{
	struct gcall *c = new_call(w, 5);
	struct kp_describe_groups_response_groups d;
	c->answered = true;
	groups_describe(w->g, slice_str(group), 5, &c->arena, &d);
	return arena_printf(&c->arena, "%.*s %.*s %.*s %d", (int)d.group_state.len, (const char *)d.group_state.ptr, (int)d.protocol_type.len,
			    (const char *)d.protocol_type.ptr, (int)d.protocol_data.len, (const char *)d.protocol_data.ptr, d.members_count);
}

char *text(struct world *w, struct slice s)
{
	struct gcall *c = new_call(w, 0);
	c->answered = true;
	return arena_strndup(&c->arena, (const char *)s.ptr, s.len);
}

struct slice subscription(struct world *w, const char *topics)
{
	struct gcall *c = new_call(w, 0);
	struct slice p[16][2], names[16];
	struct kp_consumer_protocol_subscription s;
	struct chain ch;
	c->answered = true;
	kp_consumer_protocol_subscription_init(&s);
	s.topics = names;
	s.topics_count = pairs(c, topics, ':', p, 16);
	for (int32_t i = 0; i < s.topics_count; i++)
		names[i] = p[i][0];
	chain_init(&ch);
	wire_encode(&kp_consumer_protocol_subscription_desc, 0, &s, &ch);
	size_t len = (size_t)ch.bytes + 2;
	uint8_t *bytes = arena_zalloc(&c->arena, len);
	chain_flatten(&ch, bytes + 2);
	chain_clear(&ch);
	return slice_make(bytes, len);
}

/* ---- groups that are there ---- */

char state_of(const struct world *w, const char *group)
{
	const struct group *gr = group_find(w->g, slice_str(group));
	return gr ? "EPCSD"[gr->state] : '-';
}

/* A stable group of one dynamic member: its id. */
const char *stable_of_one(struct world *w, const char *group)
{
	struct gcall *j = join(w, 3, group, "", NULL, "range:sub");
	const char *id = text(w, j->resp.join.member_id);
	CU_ASSERT(j->answered && j->resp.join.error_code == 0);
	char as[200];
	snprintf(as, sizeof(as), "%s=part", id);
	struct gcall *s = sync(w, group, j->resp.join.generation_id, id, NULL, as);
	CU_ASSERT(s->answered && s->resp.sync.error_code == 0);
	return id;
}

/* Members in one Stable generation; ids[0] leads. names: of static ones, or NULL. */
static int32_t stable_with(struct world *w, const char *group, const char **ids, int n, int16_t version, const char *const *names, const char *protocols)
{
	struct gcall *j[8] = {0};
	w->cfg.initial_rebalance_delay_ms = 1000;
	for (int i = 0; i < n; i++)
		j[i] = join(w, version, group, "", names ? names[i] : NULL, protocols);
	world_tick(w, 2001);
	for (int i = 0; i < n; i++) {
		CU_ASSERT(j[i]->answered && j[i]->resp.join.error_code == 0);
		ids[i] = text(w, j[i]->resp.join.member_id);
	}
	int32_t generation = j[0]->resp.join.generation_id;
	for (int i = n - 1; i >= 0; i--) {
		char as[600];
		int len = 0;
		for (int k = 0; k < n; k++)
			len += snprintf(as + len, sizeof(as) - (size_t)len, "%s=part%d ", ids[k], k);
		sync(w, group, generation, ids[i], names ? names[i] : NULL, i ? NULL : as);
	}
	CU_ASSERT_EQUAL(state_of(w, group), 'S');
	w->cfg.initial_rebalance_delay_ms = 0;
	return generation;
}

/* Dynamic ones, of v3. */
int32_t stable_of(struct world *w, const char *group, const char **ids, int n, const char *protocols)
{
	return stable_with(w, group, ids, n, 3, NULL, protocols);
}

/* Static members i0, i1, ...: joined with v5, ids as answered. */
int32_t stable_static(struct world *w, const char *group, const char **ids, int n)
{
	static const char *const names[] = {"i0", "i1", "i2"};
	return stable_with(w, group, ids, n, 5, names, "range:x rr:y");
}
