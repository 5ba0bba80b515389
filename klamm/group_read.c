/* group_read.c: see group_read.h */
#include "klamm/group_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/offsets.h"
#include "klamm/progress.h"

#define PATIENCE_MS 1000
#define AT_ONCE 100 /* groups that one request asks about */

static int by_place(const void *a, const void *b)
{
	const struct group_row *x = a, *y = b;
	int cmp = strcmp(x->topic, y->topic);

	return cmp ? cmp : (x->partition > y->partition) - (x->partition < y->partition);
}

void group_sort(struct group_view *g)
{
	if (g->row_count)
		qsort(g->rows, g->row_count, sizeof(*g->rows), by_place);
}

struct group_row *group_row_at(struct group_view *g, const char *topic, int32_t partition)
{
	struct group_row key = {.topic = topic, .partition = partition};

	return g->row_count ? bsearch(&key, g->rows, g->row_count, sizeof(*g->rows), by_place) : NULL;
}

struct group_row *group_row_add(struct group_view *g, const char *topic, int32_t partition)
{
	MEM_GROW(g->rows, g->row_cap, g->row_count + 1);
	g->rows[g->row_count] = (struct group_row){.topic = topic, .partition = partition, .committed = -1, .end = -1, .lag = -1, .lag_ms = -1};
	return &g->rows[g->row_count++];
}

void group_free(struct group_view *g)
{
	mem_free(g->rows);
	g->rows = NULL;
	g->row_count = g->row_cap = 0;
}

bool group_idle(const struct group_view *g)
{
	return !strcmp(g->state, "Empty") || !strcmp(g->state, "Dead");
}

/* --- members ------------------------------------------------------------------------------------------------------- */

/* The assignment of a consumer: int16 version, then what that version says; newer versions only add. */
static void take_assignment(struct cluster *c, struct group_view *g, struct group_member *m, struct slice bytes)
{
	struct kp_consumer_protocol_assignment a;
	int16_t version;

	if (bytes.len < 2)
		return;
	version = (int16_t)be16_get(bytes.ptr);
	bytes = slice_make(bytes.ptr + 2, bytes.len - 2);
	if (version < 0 || wire_decode(&kp_consumer_protocol_assignment_desc, version > 3 ? 3 : version, &bytes, &c->arena, &a))
		return;
	for (int t = 0; t < a.assigned_partitions_count; t++) {
		const char *topic = cluster_text(c, a.assigned_partitions[t].topic);

		for (int p = 0; p < a.assigned_partitions[t].partitions_count; p++) {
			group_row_add(g, topic, a.assigned_partitions[t].partitions[p])->member = m;
			m->partition_count++;
		}
	}
}

static void take_members(struct cluster *c, struct group_view *g, const struct kp_describe_groups_response_groups *from)
{
	g->members = ARENA_ARRAY(&c->arena, struct group_member, (size_t)from->members_count + 1);
	g->member_count = from->members_count;
	for (int i = 0; i < from->members_count; i++) {
		struct group_member *m = &g->members[i];

		m->id = cluster_text(c, from->members[i].member_id);
		m->instance_id = cluster_text(c, from->members[i].group_instance_id);
		m->client_id = cluster_text(c, from->members[i].client_id);
		m->host = cluster_text(c, from->members[i].client_host);
		m->host += *m->host == '/'; /* Kafka's way to write an address without a name */
		if (!strcmp(g->protocol_type, "consumer"))
			take_assignment(c, g, m, from->members[i].member_assignment);
	}
}

static int16_t describe_error(const void *resp)
{
	const struct kp_describe_groups_response *r = resp;

	return r->groups_count == 1 ? r->groups[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
}

static void take_group(struct cluster *c, struct group_view *to, const struct kp_describe_groups_response_groups *g)
{
	to->state = g->error_code ? "Dead" : cluster_text(c, g->group_state);
	to->protocol_type = cluster_text(c, g->protocol_type);
	to->protocol = cluster_text(c, g->protocol_data);
	take_members(c, to, g);
	group_sort(to);
}

int group_read(struct cluster *c, const char *name, int32_t coordinator, struct group_view *ret)
{
	struct kp_describe_groups_request req;
	struct kp_describe_groups_response resp;
	const struct kp_describe_groups_response_groups *g;
	struct slice group = slice_str(name);
	char what[600];
	int code;

	*ret = (struct group_view){.name = name, .coordinator = coordinator};
	kp_describe_groups_request_init(&req);
	req.groups = &group;
	req.groups_count = 1;
	snprintf(what, sizeof(what), "group %s cannot be described", name);
	code = cluster_ask_coordinator(c, name, &ret->coordinator, KP_API_DESCRIBE_GROUPS, &req, &resp, describe_error, what);
	if (code)
		return code;
	if (resp.groups_count != 1)
		return cli_fail(c->cli, CLI_REFUSED, NULL, "%s: the answer is about something else", what);
	g = &resp.groups[0];
	if (g->error_code && g->error_code != KERR_GROUP_ID_NOT_FOUND)
		return cli_fail_kafka(c->cli, g->error_code, cluster_text(c, g->error_message), NULL, what);
	take_group(c, ret, g);
	return 0;
}

/* --- offsets ------------------------------------------------------------------------------------------------------- */

/* The forms of both versions as one: `from` of groups (v8 and newer), or, when it is NULL, the answer itself. */
static void take_committed(struct cluster *c, struct group_view *g, const struct kp_offset_fetch_response *r,
                           const struct kp_offset_fetch_response_groups *from)
{
	size_t known = g->row_count;

	for (int t = 0; t < (from ? from->topics_count : r->topics_count); t++) {
		const char *topic = cluster_text(c, from ? from->topics[t].name : r->topics[t].name);
		int count = from ? from->topics[t].partitions_count : r->topics[t].partitions_count;

		for (int p = 0; p < count; p++) {
			int32_t idx = from ? from->topics[t].partitions[p].partition_index : r->topics[t].partitions[p].partition_index;
			int64_t offset = from ? from->topics[t].partitions[p].committed_offset : r->topics[t].partitions[p].committed_offset;
			struct slice metadata = from ? from->topics[t].partitions[p].metadata : r->topics[t].partitions[p].metadata;
			struct group_view assigned = {.rows = g->rows, .row_count = known};
			struct group_row *row;

			if (offset < 0)
				continue;
			row = group_row_at(&assigned, topic, idx); /* the rows in front are sorted */
			if (!row)
				row = group_row_add(g, topic, idx);
			row->committed = offset;
			row->metadata = cluster_text(c, metadata);
		}
	}
	group_sort(g);
	g->committed_read = true;
}

static int16_t fetch_error(const void *resp)
{
	const struct kp_offset_fetch_response *r = resp;

	return r->groups_count == 1 ? r->groups[0].error_code : r->error_code;
}

int group_read_committed(struct cluster *c, struct group_view *g)
{
	struct kp_offset_fetch_request req;
	struct kp_offset_fetch_request_groups group;
	struct kp_offset_fetch_response resp;
	char what[600];
	int code;

	kp_offset_fetch_request_init(&req);
	kp_offset_fetch_request_groups_init(&group);
	req.group_id = group.group_id = slice_str(g->name);
	req.topics_count = group.topics_count = -1; /* all */
	req.groups = &group;
	req.groups_count = 1;
	snprintf(what, sizeof(what), "the offsets of group %s cannot be had", g->name);
	code = cluster_ask_coordinator(c, g->name, &g->coordinator, KP_API_OFFSET_FETCH, &req, &resp, fetch_error, what);
	if (code)
		return code;
	if (fetch_error(&resp))
		return cli_fail_kafka(c->cli, fetch_error(&resp), NULL, NULL, what);
	take_committed(c, g, &resp, resp.groups_count == 1 ? &resp.groups[0] : NULL);
	return 0;
}

/* --- many groups --------------------------------------------------------------------------------------------------- */

static struct group_view *named(struct group_view **some, size_t count, struct slice name)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(slice_str(some[i]->name), name))
			return some[i];
	return NULL;
}

/* One request about groups of one coordinator. What it does not answer for, be it that it moved, is left to be asked for singly. */
static void describe_some(struct cluster *c, struct group_view **some, size_t count)
{
	struct kp_describe_groups_request req;
	struct kp_describe_groups_response resp;
	struct slice *names = ARENA_ARRAY(&c->arena, struct slice, count);

	for (size_t i = 0; i < count; i++)
		names[i] = slice_str(some[i]->name);
	kp_describe_groups_request_init(&req);
	req.groups = names;
	req.groups_count = (int32_t)count;
	if (cluster_call(c, some[0]->coordinator, KP_API_DESCRIBE_GROUPS, CLUSTER_CALL_MS, &req, &resp))
		return;
	for (int i = 0; i < resp.groups_count; i++) {
		struct group_view *g = named(some, count, resp.groups[i].group_id);

		if (g && !g->state && (!resp.groups[i].error_code || resp.groups[i].error_code == KERR_GROUP_ID_NOT_FOUND))
			take_group(c, g, &resp.groups[i]);
	}
}

static void commits_of_some(struct cluster *c, struct group_view **some, size_t count)
{
	struct kp_offset_fetch_request req;
	struct kp_offset_fetch_response resp;
	struct kp_offset_fetch_request_groups *groups = ARENA_ARRAY(&c->arena, struct kp_offset_fetch_request_groups, count);

	if (!cluster_offers(c, some[0]->coordinator, KP_API_OFFSET_FETCH, 8))
		return;
	kp_offset_fetch_request_init(&req);
	for (size_t i = 0; i < count; i++) {
		kp_offset_fetch_request_groups_init(&groups[i]);
		groups[i].group_id = slice_str(some[i]->name);
		groups[i].topics_count = -1; /* all */
	}
	req.groups = groups;
	req.groups_count = (int32_t)count;
	if (cluster_call(c, some[0]->coordinator, KP_API_OFFSET_FETCH, CLUSTER_CALL_MS, &req, &resp))
		return;
	for (int i = 0; i < resp.groups_count; i++) {
		struct group_view *g = named(some, count, resp.groups[i].group_id);

		if (g && g->state && !g->committed_read && !resp.groups[i].error_code)
			take_committed(c, g, &resp, &resp.groups[i]);
	}
}

static int by_coordinator(const void *a, const void *b)
{
	const struct group_view *x = *(struct group_view *const *)a, *y = *(struct group_view *const *)b;

	return (x->coordinator > y->coordinator) - (x->coordinator < y->coordinator);
}

int group_read_many(struct cluster *c, struct group_view *groups, size_t count, struct progress *bar)
{
	struct group_view **order = mem_zalloc((count + 1) * sizeof(struct group_view *));
	int code = 0;

	for (size_t i = 0; i < count; i++)
		order[i] = &groups[i];
	qsort(order, count, sizeof(*order), by_coordinator);
	for (size_t i = 0, n; !code && i < count; i += n) {
		for (n = 1; i + n < count && n < AT_ONCE && order[i + n]->coordinator == order[i]->coordinator && order[i]->coordinator >= 0;)
			n++;
		if (n > 1) {
			describe_some(c, order + i, n);
			commits_of_some(c, order + i, n);
		}
		for (size_t k = i; !code && k < i + n; k++) {
			if (!order[k]->state)
				code = group_read(c, order[k]->name, order[k]->coordinator, order[k]);
			if (!code && !order[k]->committed_read)
				code = group_read_committed(c, order[k]);
		}
		progress_step(bar, i + n);
	}
	mem_free(order);
	return code;
}

static int spot_order(const void *a, const void *b)
{
	const struct offset_spot *x = a, *y = b;
	int cmp = strcmp(x->topic, y->topic);

	return cmp ? cmp : (x->partition > y->partition) - (x->partition < y->partition);
}

int group_read_ends(struct cluster *c, struct group_view *groups, size_t count)
{
	struct offset_spot *spots, *found, key;
	size_t n = 0, unique = 0;
	int code;

	for (size_t i = 0; i < count; i++)
		n += groups[i].row_count;
	spots = mem_zalloc((n + 1) * sizeof(*spots));
	n = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t r = 0; r < groups[i].row_count; r++)
			spots[n++] = (struct offset_spot){.topic = groups[i].rows[r].topic, .partition = groups[i].rows[r].partition, .time = OFFSETS_LATEST};
	qsort(spots, n, sizeof(*spots), spot_order);
	for (size_t i = 0; i < n; i++) /* groups share partitions; each is asked once */
		if (!unique || spot_order(&spots[unique - 1], &spots[i]) != 0)
			spots[unique++] = spots[i];
	code = offsets_find(c, spots, unique, PATIENCE_MS);
	for (size_t i = 0; !code && i < count; i++)
		for (size_t r = 0; r < groups[i].row_count; r++) {
			struct group_row *row = &groups[i].rows[r];

			key = (struct offset_spot){.topic = row->topic, .partition = row->partition};
			found = bsearch(&key, spots, unique, sizeof(*spots), spot_order);
			if (!found || found->offset < 0)
				continue;
			row->end = found->offset;
			if (row->committed >= 0)
				row->lag = row->committed < row->end ? row->end - row->committed : 0;
			if (row->lag == 0)
				row->lag_ms = 0;
		}
	mem_free(spots);
	return code;
}
