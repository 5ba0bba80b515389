/* groups.c: FindCoordinator and the calls of consumer groups: to the data loop that coordinates the group, and back (facts/internal-topics.md 4,
 * client-quirks.md 9).
 *
 * A call that names one group uses the request's memory on both loops, one after the other. A call that names several is split by partition of
 * __consumer_offsets; each part has an arena of its own, since several loops fill them at once.
 * JoinGroup and SyncGroup wait at the coordinator; it answers each of them, at the latest when its leadership ends.
 */
#include <stdlib.h>

#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/cursor.h"

#define OPERATIONS_NOT_ASKED INT32_MIN
#define GROUP_OPERATIONS ((1 << 3) | (1 << 6) | (1 << 8)) /* no authorizer: read, delete, describe */

#define ROWS_US 600       /* of a turn, for encoding an answer of many groups */
#define ROWS_MAX 2000     /* also where time stands still while code runs */

enum coordinator_type { COORDINATOR_GROUP = 0, COORDINATOR_TRANSACTION = 1 };

/* ---- FindCoordinator ---- */

static const char not_available[] = "The coordinator is not available.";

static void find_one(struct api_call *c, struct slice key, int8_t type, struct kp_find_coordinator_response_coordinators *out)
{
	kp_find_coordinator_response_coordinators_init(out);
	out->key = key;
	out->node_id = out->port = -1;
	if (type == COORDINATOR_TRANSACTION) {
		out->error_code = KERR_UNSUPPORTED_VERSION;
		out->error_message = slice_str("transactions are not served yet");
		return;
	}
	if (type != COORDINATOR_GROUP) {
		out->error_code = KERR_INVALID_REQUEST;
		out->error_message = slice_str("there is no coordinator of this type");
		return;
	}
	const struct image_topic *t = image_find_topic(c->image, slice_str(GROUP_TOPIC));
	const struct image_partition *p = t ? image_topic_partition(t, groups_partition_of(key, t->partition_count)) : NULL;
	const struct image_broker *b;
	const struct image_endpoint *e = p && p->leader >= 0 ? api_leader_endpoint(c, p->leader, &b) : NULL;
	if (!t)
		(void)api_create_offsets_topic(c); /* made or not: the client asks again */
	if (!e) {
		out->error_code = KERR_COORDINATOR_NOT_AVAILABLE;
		out->error_message = slice_str(c->version < 4 ? not_available : "");
		return;
	}
	out->node_id = p->leader;
	out->host = slice_str(e->host);
	out->port = e->port;
	out->error_message = slice_str(c->version < 4 ? "NONE" : "");
}

void api_do_find_coordinator(struct api_call *c)
{
	const struct kp_find_coordinator_request *q = c->request;
	struct kp_find_coordinator_response resp;
	kp_find_coordinator_response_init(&resp);
	if (c->version >= 4) {
		resp.coordinators = ARENA_ARRAY(&c->r->arena, struct kp_find_coordinator_response_coordinators, (size_t)q->coordinator_keys_count + 1);
		resp.coordinators_count = q->coordinator_keys_count;
		for (int32_t i = 0; i < q->coordinator_keys_count; i++)
			find_one(c, q->coordinator_keys[i], q->key_type, &resp.coordinators[i]);
	} else {
		struct kp_find_coordinator_response_coordinators one;
		find_one(c, q->key, c->version >= 1 ? q->key_type : COORDINATOR_GROUP, &one);
		resp.error_code = one.error_code;
		resp.error_message = one.error_message;
		resp.node_id = one.node_id;
		resp.host = one.host;
		resp.port = one.port;
	}
	api_reply(c, &resp);
}

/* ---- to the coordinators ---- */

/* The partition of a group and its loop; -1 when there is no offsets topic. */
static int32_t place(struct api_call *c, struct slice group, uint32_t *ret_owner)
{
	const struct image_topic *t = image_find_topic(c->image, slice_str(GROUP_TOPIC));
	if (!t || t->partition_count <= 0)
		return -1;
	int32_t p = groups_partition_of(group, t->partition_count);
	*ret_owner = api_owner(c->api, t, p);
	return p;
}

static void fill_call(struct api_call *c, struct group_msg *m, struct arena *arena)
{
	const char *peer = net_request_peer(c->r);
	m->image = image_ref(c->image);
	m->call.arena = arena;
	m->call.version = c->version;
	m->call.client_id = c->client_id;
	m->call.client_host = arena_printf(&c->r->arena, "/%s", peer);
}

struct one_group {
	struct group_msg m;
	struct api_call *c;
	void (*finish)(struct api_call *c, int16_t error);
};

static void one_done(struct group_msg *m)
{
	struct one_group *o = CONTAINER_OF(m, struct one_group, m);
	image_unref(m->image);
	o->finish(o->c, m->error);
}

void api_group_call(struct api_call *c, enum group_kind kind, struct slice group, const void *request, void *response, void (*finish)(struct api_call *c, int16_t error))
{
	uint32_t owner;
	int32_t partition = place(c, group, &owner);
	if (partition < 0) {
		finish(c, KERR_NOT_COORDINATOR);
		return;
	}
	struct one_group *o = ARENA_NEW(&c->r->arena, struct one_group);
	o->c = c;
	o->finish = finish;
	o->m.coordinator = c->api->coordinators[owner];
	o->m.kind = kind;
	o->m.partition = partition;
	o->m.done = one_done;
	fill_call(c, &o->m, &c->r->arena);
	o->m.call.request = request;
	o->m.call.response = response;
	if (kind == GROUP_FETCH) {
		o->m.fetches = response;
		o->m.count = 1;
	}
	group_post(&o->m);
}

static void part_free(struct group_part *p)
{
	list_remove(&p->link);
	image_unref(p->m.image);
	chain_clear(&p->m.body);
	arena_fini(&p->arena);
	mem_free(p);
}

void api_groups_free(struct api *a)
{
	LIST_FOR(it, &a->group_answers)
		chain_clear(&LIST_ENTRY(it, struct group_split, link)->body);
	while (!list_empty(&a->group_calls))
		part_free(LIST_ENTRY(a->group_calls.next, struct group_part, link));
}

static struct group_part *part_new(struct group_split *s, enum group_kind kind, uint32_t owner, int32_t partition)
{
	struct api_call *c = s->c;
	struct group_part *p = MEM_NEW(struct group_part);
	arena_init(&p->arena, 0);
	p->split = s;
	p->m.coordinator = c->api->coordinators[owner];
	p->m.kind = kind;
	p->m.partition = partition;
	chain_init(&p->m.body);
	fill_call(c, &p->m, &p->arena);
	list_init(&p->link);
	list_push_back(&c->api->group_calls, &p->link);
	s->parts[s->part_count++] = p;
	return p;
}

static struct group_split *split_new(struct api_call *c, uint32_t part_max)
{
	struct group_split *s = ARENA_NEW(&c->r->arena, struct group_split);
	s->c = c;
	s->parts = ARENA_ARRAY(&c->r->arena, struct group_part *, (size_t)part_max + 1);
	list_init(&s->link);
	chain_init(&s->body);
	return s;
}

struct group_split *api_group_split(struct api_call *c, enum group_kind kind, uint32_t count, struct slice (*group_at)(const void *request, uint32_t i))
{
	struct arena *ar = &c->r->arena;
	const struct image_topic *t = image_find_topic(c->image, slice_str(GROUP_TOPIC));
	int32_t partitions = t ? t->partition_count : 0;
	struct group_split *s = split_new(c, (uint32_t)partitions < count ? (uint32_t)partitions : count);
	s->count = count;
	s->places = ARENA_ARRAY(ar, struct group_place, (size_t)count + 1);
	if (partitions <= 0)
		return s;
	struct group_part **of_partition = ARENA_ARRAY(ar, struct group_part *, (size_t)partitions);
	for (uint32_t i = 0; i < count; i++) {
		int32_t p = groups_partition_of(group_at(c->request, i), partitions);
		if (!of_partition[p])
			of_partition[p] = part_new(s, kind, api_owner(c->api, t, p), p);
		s->places[i] = (struct group_place){of_partition[p], of_partition[p]->m.count++};
	}
	for (uint32_t k = 0; k < s->part_count; k++)
		s->parts[k]->groups = ARENA_ARRAY(ar, uint32_t, s->parts[k]->m.count);
	for (uint32_t i = 0; i < count; i++)
		s->places[i].part->groups[s->places[i].i] = i;
	return s;
}

/* The answer goes out, and with it the request's memory; then what the parts had. */
static void split_end(struct group_split *s, const void *response, struct chain *body)
{
	struct api_call *c = s->c;
	uint32_t n = s->part_count;
	struct group_part **parts = mem_alloc(sizeof(*parts) * ((size_t)n + 1));
	if (n)
		memcpy(parts, s->parts, sizeof(*parts) * n);
	list_remove(&s->link);
	if (body)
		api_reply_chain(c, body);
	else
		api_reply(c, response);
	for (uint32_t i = 0; i < n; i++)
		part_free(parts[i]);
	mem_free(parts);
}

void api_group_reply(struct group_split *s, const void *response)
{
	split_end(s, response, NULL);
}

/* What stands around rows that are encoded already: they are the last field. */
static void reply_rows(struct group_split *s, const int16_t *error, uint32_t count, struct chain *rows)
{
	const struct api_call *c = s->c;
	const struct wire_struct *response = c->wire->response;
	bool flexible = response->flexible >> c->version & 1;
	uint8_t head[16], *p = head;
	struct chain body;
	if (response->fields[0].versions >> c->version & 1)
		p = put_i32(p, 0); /* throttle_time_ms */
	if (error)
		p = put_i16(p, *error);
	p = flexible ? put_uvarint(p, count + 1) : put_i32(p, (int32_t)count);
	chain_init(&body);
	chain_add_copy(&body, head, (size_t)(p - head));
	chain_append(&body, rows);
	if (flexible)
		chain_add_copy(&body, "", 1); /* no tags */
	split_end(s, NULL, &body);
}

static void rows_turn(void *ctx)
{
	struct group_split *s = ctx;
	const struct api_call *c = s->c;
	int64_t until = env_now_us(c->api->env) + ROWS_US;
	void *row = arena_alloc(&c->r->arena, s->row->size);
	for (int n = 0; s->next < s->count; n++, s->next++) {
		if (n == ROWS_MAX || (n && env_now_us(c->api->env) >= until)) { /* a row may be a group of thousands of members */
			timer_set_us(&s->turn, 0);
			return;
		}
		s->fill(s, s->next, row);
		wire_encode(s->row, c->version, row, &s->body);
	}
	reply_rows(s, NULL, s->count, &s->body);
}

void api_group_rows(struct group_split *s, const struct wire_struct *row, void (*fill)(struct group_split *s, uint32_t i, void *ret_row))
{
	s->row = row;
	s->fill = fill;
	list_push_back(&s->c->api->group_answers, &s->link);
	timer_init(&s->turn, s->c->api->loop, rows_turn, s);
	rows_turn(s);
}

static void part_done(struct group_msg *m)
{
	struct group_split *s = CONTAINER_OF(m, struct group_part, m)->split;
	if (--s->waiting == 0)
		s->finish(s);
}

void api_group_send(struct group_split *s, void (*finish)(struct group_split *s))
{
	s->finish = finish;
	s->waiting = s->part_count;
	if (!s->waiting) {
		finish(s);
		return;
	}
	for (uint32_t i = 0, n = s->part_count; i < n; i++) {
		s->parts[i]->m.done = part_done;
		group_post(&s->parts[i]->m);
	}
}

/* ---- members ---- */

static void join_failed(struct api_call *c, int16_t error)
{
	const struct kp_join_group_request *q = c->request;
	struct kp_join_group_response resp;
	kp_join_group_response_init(&resp);
	resp.error_code = error;
	resp.member_id = q->member_id;
	resp.protocol_name = c->version >= 7 ? (struct slice){0} : slice_str("");
	api_reply(c, &resp);
}

static void join_finish(struct api_call *c, int16_t error)
{
	if (error)
		join_failed(c, error);
	else
		api_reply(c, c->state);
}

void api_do_join_group(struct api_call *c)
{
	const struct kp_join_group_request *q = c->request;
	if (!q->group_id.len) {
		join_failed(c, KERR_INVALID_GROUP_ID);
		return;
	}
	c->state = ARENA_NEW(&c->r->arena, struct kp_join_group_response);
	api_group_call(c, GROUP_JOIN, q->group_id, q, c->state, join_finish);
}

static void sync_failed(struct api_call *c, int16_t error)
{
	struct kp_sync_group_response resp;
	kp_sync_group_response_init(&resp);
	/* the assignment may be among what is being loaded: the member joins again, and then it is known */
	resp.error_code = error == KERR_COORDINATOR_LOAD_IN_PROGRESS ? KERR_REBALANCE_IN_PROGRESS : error;
	api_reply(c, &resp);
}

static void sync_finish(struct api_call *c, int16_t error)
{
	if (error)
		sync_failed(c, error);
	else
		api_reply(c, c->state);
}

void api_do_sync_group(struct api_call *c)
{
	const struct kp_sync_group_request *q = c->request;
	if (c->version >= 5 && (!q->protocol_type.ptr || !q->protocol_name.ptr)) {
		sync_failed(c, KERR_INCONSISTENT_GROUP_PROTOCOL); /* nullable in the schema, and yet asked for (KIP-559) */
		return;
	}
	if (!q->group_id.len) {
		sync_failed(c, KERR_INVALID_GROUP_ID);
		return;
	}
	c->state = ARENA_NEW(&c->r->arena, struct kp_sync_group_response);
	api_group_call(c, GROUP_SYNC, q->group_id, q, c->state, sync_finish);
}

static void heartbeat_finish(struct api_call *c, int16_t error)
{
	struct kp_heartbeat_response *resp = c->state;
	if (error) {
		kp_heartbeat_response_init(resp);
		resp->error_code = error == KERR_COORDINATOR_LOAD_IN_PROGRESS ? KERR_NONE : error;
	}
	api_reply(c, resp);
}

void api_do_heartbeat(struct api_call *c)
{
	const struct kp_heartbeat_request *q = c->request;
	c->state = ARENA_NEW(&c->r->arena, struct kp_heartbeat_response);
	if (!q->group_id.len)
		heartbeat_finish(c, KERR_INVALID_GROUP_ID);
	else
		api_group_call(c, GROUP_HEARTBEAT, q->group_id, q, c->state, heartbeat_finish);
}

static void leave_finish(struct api_call *c, int16_t error)
{
	struct kp_leave_group_response *resp = c->state;
	if (error) {
		kp_leave_group_response_init(resp);
		resp->error_code = error;
	}
	api_reply(c, resp);
}

void api_do_leave_group(struct api_call *c)
{
	const struct kp_leave_group_request *q = c->request;
	c->state = ARENA_NEW(&c->r->arena, struct kp_leave_group_response);
	if (!q->group_id.len)
		leave_finish(c, KERR_INVALID_GROUP_ID);
	else
		api_group_call(c, GROUP_LEAVE, q->group_id, q, c->state, leave_finish);
}

/* ---- DescribeGroups ---- */

typedef struct kp_describe_groups_response_groups described;

static struct slice described_group(const void *request, uint32_t i)
{
	return ((const struct kp_describe_groups_request *)request)->groups[i];
}

static void describe_fill(struct group_split *s, uint32_t i, void *ret_row)
{
	const struct api_call *c = s->c;
	const struct kp_describe_groups_request *q = c->request;
	const struct group_place *at = &s->places[i];
	described *out = ret_row;
	int16_t error = at->part ? at->part->m.error : KERR_NOT_COORDINATOR;
	if (!error) {
		*out = at->part->m.describes[at->i].ret;
	} else {
		kp_describe_groups_response_groups_init(out);
		out->group_id = q->groups[i];
		out->error_code = error;
	}
	out->authorized_operations = !out->error_code && c->version >= 3 && q->include_authorized_operations ? GROUP_OPERATIONS : OPERATIONS_NOT_ASKED;
}

static void describe_finish(struct group_split *s)
{
	api_group_rows(s, &kp_describe_groups_response_groups_desc, describe_fill);
}

void api_do_describe_groups(struct api_call *c)
{
	const struct kp_describe_groups_request *q = c->request;
	struct group_split *s = api_group_split(c, GROUP_DESCRIBE, (uint32_t)q->groups_count, described_group);
	for (uint32_t k = 0; k < s->part_count; k++) {
		struct group_part *p = s->parts[k];
		p->m.describes = ARENA_ARRAY(&c->r->arena, struct group_describe, p->m.count);
		for (uint32_t i = 0; i < p->m.count; i++)
			p->m.describes[i].group = q->groups[p->groups[i]];
	}
	api_group_send(s, describe_finish);
}

/* ---- DeleteGroups ---- */

static struct slice deleted_group(const void *request, uint32_t i)
{
	return ((const struct kp_delete_groups_request *)request)->groups_names[i];
}

static void delete_finish(struct group_split *s)
{
	struct api_call *c = s->c;
	const struct kp_delete_groups_request *q = c->request;
	struct kp_delete_groups_response resp;
	kp_delete_groups_response_init(&resp);
	resp.results_count = q->groups_names_count;
	resp.results = ARENA_ARRAY(&c->r->arena, struct kp_delete_groups_response_results, (size_t)q->groups_names_count + 1);
	for (int32_t i = 0; i < q->groups_names_count; i++) {
		kp_delete_groups_response_results_init(&resp.results[i]);
		resp.results[i].group_id = q->groups_names[i];
		resp.results[i].error_code = KERR_NOT_COORDINATOR;
	}
	for (uint32_t k = 0; k < s->part_count; k++) {
		const struct group_part *p = s->parts[k];
		const struct groups_delete *d = p->m.call.request;
		for (uint32_t i = 0; i < p->m.count; i++)
			resp.results[p->groups[i]].error_code = p->m.error ? p->m.error : d->errors[i];
	}
	api_group_reply(s, &resp);
}

struct named { struct slice name; int32_t at; };

static int by_name(const void *x, const void *y)
{
	const struct named *a = x, *b = y;
	int d = slice_cmp(a->name, b->name);
	return d ? d : a->at < b->at ? -1 : a->at > b->at;
}

/* A group that is named again counts once, as in Kafka. */
static void keep_distinct(struct api_call *c, struct kp_delete_groups_request *q)
{
	struct arena *ar = &c->r->arena;
	int32_t n = q->groups_names_count, kept = 0;
	struct named *sorted = ARENA_ARRAY(ar, struct named, (size_t)n + 1);
	bool *again = ARENA_ARRAY(ar, bool, (size_t)n + 1);
	for (int32_t i = 0; i < n; i++)
		sorted[i] = (struct named){q->groups_names[i], i};
	qsort(sorted, (size_t)n, sizeof(*sorted), by_name);
	for (int32_t i = 1; i < n; i++)
		again[sorted[i].at] = slice_eq(sorted[i].name, sorted[i - 1].name);
	for (int32_t i = 0; i < n; i++)
		if (!again[i])
			q->groups_names[kept++] = q->groups_names[i];
	q->groups_names_count = kept;
}

void api_do_delete_groups(struct api_call *c)
{
	struct kp_delete_groups_request *q = c->request;
	struct arena *ar = &c->r->arena;
	keep_distinct(c, q);
	struct group_split *s = api_group_split(c, GROUP_DELETE, (uint32_t)q->groups_names_count, deleted_group);
	for (uint32_t k = 0; k < s->part_count; k++) {
		struct group_part *p = s->parts[k];
		struct groups_delete *d = ARENA_NEW(ar, struct groups_delete);
		d->count = p->m.count;
		d->groups = ARENA_ARRAY(ar, struct slice, d->count);
		d->errors = ARENA_ARRAY(ar, int16_t, d->count);
		for (uint32_t i = 0; i < d->count; i++)
			d->groups[i] = q->groups_names[p->groups[i]];
		p->m.call.request = p->m.call.response = d;
	}
	api_group_send(s, delete_finish);
}

/* ---- ListGroups ---- */

static bool wants_classic(const struct api_call *c, const struct kp_list_groups_request *q)
{
	if (c->version < 5 || q->types_filter_count <= 0)
		return true;
	for (int32_t i = 0; i < q->types_filter_count; i++) {
		static const char classic[] = "classic";
		struct slice t = q->types_filter[i];
		size_t k = 0;
		while (k < t.len && k < sizeof(classic) - 1 && (t.ptr[k] | 0x20) == (uint8_t)classic[k])
			k++;
		if (k == sizeof(classic) - 1 && t.len == k)
			return true;
	}
	return false;
}

static void list_finish(struct group_split *s)
{
	struct chain rows;
	uint32_t count = 0;
	int16_t error = KERR_NONE;
	chain_init(&rows);
	for (uint32_t k = 0; k < s->part_count; k++) {
		struct group_msg *m = &s->parts[k]->m;
		if (m->error)
			error = m->error; /* with what is known */
		count += m->row_count;
		chain_append(&rows, &m->body);
	}
	reply_rows(s, &error, count, &rows);
}

void api_do_list_groups(struct api_call *c)
{
	const struct kp_list_groups_request *q = c->request;
	struct group_split *s = split_new(c, c->api->shard_count);
	for (uint32_t l = 0; wants_classic(c, q) && l < c->api->shard_count; l++) {
		struct group_part *p = part_new(s, GROUP_LIST, l, -1);
		p->m.list.states = q->states_filter;
		p->m.list.state_count = c->version >= 4 && q->states_filter_count > 0 ? q->states_filter_count : 0;
	}
	api_group_send(s, list_finish);
}
