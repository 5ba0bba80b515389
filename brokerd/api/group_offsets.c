/* group_offsets.c: OffsetCommit, OffsetFetch, OffsetDelete (facts/internal-topics.md 4.4, client-quirks.md 9).
 *
 * Unknown topics and partitions are sorted out here, against the request's image; what is left goes to the coordinator as rows. Version 0 of
 * commit and fetch does not know coordinators: its offsets are in ZooKeeper, under /consumers, which the control loop reads and writes.
 */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"

typedef struct kp_offset_commit_response_topics commit_topic;
typedef struct kp_offset_commit_response_topics_partitions commit_part;
typedef struct kp_offset_fetch_response_topics fetch_topic;
typedef struct kp_offset_fetch_response_topics_partitions fetch_part;
typedef struct kp_offset_fetch_response_groups fetch_group;
typedef struct kp_offset_fetch_response_groups_topics group_topic;
typedef struct kp_offset_fetch_response_groups_topics_partitions group_part_row;

static const struct slice no_metadata = {(const uint8_t *)"", 0};

/* ---- version 0: ZooKeeper ---- */

struct zk_call {
	struct ask_zk_offsets a;
	struct api_call *c;
	int16_t **errors;  /* of the response, by row */
	int64_t **offsets; /* fetch only */
};

static void zk_back(struct msg *m)
{
	struct ask_zk_offsets *a = CONTAINER_OF(m, struct ask_zk_offsets, msg);
	a->done(a);
}

/* On the control loop. */
static void zk_deliver(struct msg *m)
{
	struct ask_zk_offsets *a = CONTAINER_OF(m, struct ask_zk_offsets, msg);
	const struct ask_services *sv = CONTAINER_OF(a, struct zk_call, a)->c->api->services;
	a->msg.deliver = zk_back;
	sv->zk_offsets(sv->zk_ctx, a);
}

static void zk_done(struct ask_zk_offsets *a)
{
	struct zk_call *z = CONTAINER_OF(a, struct zk_call, a);
	for (uint32_t i = 0; i < a->count; i++) {
		*z->errors[i] = a->rows[i].error;
		if (!a->write)
			*z->offsets[i] = a->rows[i].error ? -1 : a->rows[i].offset;
	}
	api_reply(z->c, z->c->state);
}

static struct zk_call *zk_call_new(struct api_call *c, bool write, size_t rows)
{
	struct arena *ar = &c->r->arena;
	struct zk_call *z = ARENA_NEW(ar, struct zk_call);
	z->c = c;
	z->a.write = write;
	z->a.done = zk_done;
	z->a.rows = ARENA_ARRAY(ar, struct ask_zk_offset, rows + 1);
	z->errors = ARENA_ARRAY(ar, int16_t *, rows + 1);
	z->offsets = ARENA_ARRAY(ar, int64_t *, rows + 1);
	return z;
}

static void zk_send(struct zk_call *z)
{
	if (!z->a.count) {
		api_reply(z->c, z->c->state);
		return;
	}
	z->a.msg.deliver = zk_deliver;
	loop_post(z->c->api->services->control, &z->a.msg);
}

/* A group becomes part of a path: a name with a slash in it would be another node's. */
static bool zk_name_ok(struct slice group)
{
	return group.len && !memchr(group.ptr, '/', group.len) && !memchr(group.ptr, 0, group.len) && !slice_eq_str(group, ".") && !slice_eq_str(group, "..");
}

static struct ask_zk_offset *zk_row(struct zk_call *z, struct slice group, struct slice topic, int32_t partition, int16_t *error, int64_t *offset)
{
	struct arena *ar = &z->c->r->arena;
	struct ask_zk_offset *row = &z->a.rows[z->a.count];
	z->errors[z->a.count] = error;
	z->offsets[z->a.count++] = offset;
	row->path = zkp_consumer_offset(ar, arena_strndup(ar, (const char *)group.ptr, group.len), arena_strndup(ar, (const char *)topic.ptr, topic.len), partition);
	return row;
}

/* ---- OffsetCommit ---- */

struct commit {
	struct kp_offset_commit_response resp;
	struct groups_commit rows;
	commit_part **out; /* by row */
};

static void commit_finish(struct api_call *c, int16_t error)
{
	struct commit *k = c->state;
	for (uint32_t i = 0; i < k->rows.count; i++)
		k->out[i]->error_code = error ? error : k->rows.rows[i].error;
	api_reply(c, &k->resp);
}

static bool exists(const struct api_call *c, struct slice topic, int32_t partition)
{
	return image_topic_partition(image_find_topic(c->image, topic), partition) != NULL;
}

static void commit_to_zk(struct api_call *c, struct commit *k, size_t total)
{
	const struct kp_offset_commit_request *q = c->request;
	struct zk_call *z = zk_call_new(c, true, total);
	c->state = &k->resp;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_commit_request_topics *t = &q->topics[i];
		for (int32_t n = 0; n < t->partitions_count; n++) {
			const struct kp_offset_commit_request_topics_partitions *p = &t->partitions[n];
			commit_part *out = &k->resp.topics[i].partitions[n];
			if (!exists(c, t->name, p->partition_index))
				out->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
			else if (!zk_name_ok(q->group_id))
				out->error_code = KERR_INVALID_GROUP_ID;
			else if (p->committed_metadata.len > (size_t)c->api->config->groups.offset_metadata_max_bytes)
				out->error_code = KERR_OFFSET_METADATA_TOO_LARGE;
			else
				zk_row(z, q->group_id, t->name, p->partition_index, &out->error_code, NULL)->offset = p->committed_offset;
		}
	}
	zk_send(z);
}

void api_do_offset_commit(struct api_call *c)
{
	const struct kp_offset_commit_request *q = c->request;
	struct arena *ar = &c->r->arena;
	struct commit *k = ARENA_NEW(ar, struct commit);
	size_t total = 0;
	kp_offset_commit_response_init(&k->resp);
	k->resp.topics = ARENA_ARRAY(ar, commit_topic, (size_t)q->topics_count + 1);
	k->resp.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_commit_request_topics *t = &q->topics[i];
		commit_topic *out = &k->resp.topics[i];
		kp_offset_commit_response_topics_init(out);
		out->name = t->name;
		out->partitions = ARENA_ARRAY(ar, commit_part, (size_t)t->partitions_count + 1);
		out->partitions_count = t->partitions_count;
		total += (size_t)t->partitions_count;
		for (int32_t n = 0; n < t->partitions_count; n++) {
			kp_offset_commit_response_topics_partitions_init(&out->partitions[n]);
			out->partitions[n].partition_index = t->partitions[n].partition_index;
		}
	}
	if (c->version == 0) {
		commit_to_zk(c, k, total);
		return;
	}
	k->rows.group = q->group_id;
	k->rows.member = q->member_id;
	k->rows.instance = c->version >= 7 ? q->group_instance_id : (struct slice){0};
	k->rows.generation = q->generation_id_or_member_epoch;
	k->rows.retention_ms = c->version >= 2 && c->version <= 4 ? q->retention_time_ms : -1;
	k->rows.rows = ARENA_ARRAY(ar, struct groups_offset, total + 1);
	k->out = ARENA_ARRAY(ar, commit_part *, total + 1);
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_commit_request_topics *t = &q->topics[i];
		for (int32_t n = 0; n < t->partitions_count; n++) {
			const struct kp_offset_commit_request_topics_partitions *p = &t->partitions[n];
			commit_part *out = &k->resp.topics[i].partitions[n];
			if (!exists(c, t->name, p->partition_index)) {
				out->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
				continue;
			}
			k->out[k->rows.count] = out;
			k->rows.rows[k->rows.count++] = (struct groups_offset){
				.topic = t->name, .partition = p->partition_index, .offset = p->committed_offset,
				.leader_epoch = c->version >= 6 ? p->committed_leader_epoch : -1, .metadata = p->committed_metadata,
				.commit_timestamp = c->version == 1 ? p->commit_timestamp : -1,
			};
		}
	}
	c->state = k;
	if (k->rows.count || !total)
		api_group_call(c, GROUP_COMMIT, q->group_id, &k->rows, &k->rows, commit_finish);
	else
		api_reply(c, &k->resp); /* nothing of it exists */
}

/* ---- OffsetFetch ---- */

static size_t asked_count(const struct kp_offset_fetch_request_topics *t, int32_t count)
{
	size_t n = 0;
	for (int32_t i = 0; i < count; i++)
		n += (size_t)t[i].partition_indexes_count;
	return n;
}

static void no_row(struct groups_fetch_row *row, struct slice topic, int32_t partition)
{
	*row = (struct groups_fetch_row){.topic = topic, .partition = partition, .offset = -1, .leader_epoch = -1, .metadata = no_metadata};
}

/* How many rows from `at` on are of one topic. */
static uint32_t same_topic(const struct groups_fetch *f, uint32_t at)
{
	uint32_t n = 1;
	while (at + n < f->count && slice_eq(f->rows[at].topic, f->rows[at + n].topic))
		n++;
	return n;
}

static void fetch_from_zk(struct api_call *c)
{
	const struct kp_offset_fetch_request *q = c->request;
	struct arena *ar = &c->r->arena;
	struct kp_offset_fetch_response *resp = ARENA_NEW(ar, struct kp_offset_fetch_response);
	struct zk_call *z = zk_call_new(c, false, asked_count(q->topics, q->topics_count));
	kp_offset_fetch_response_init(resp);
	c->state = resp;
	resp->topics = ARENA_ARRAY(ar, fetch_topic, (size_t)q->topics_count + 1);
	resp->topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_fetch_request_topics *t = &q->topics[i];
		fetch_topic *out = &resp->topics[i];
		kp_offset_fetch_response_topics_init(out);
		out->name = t->name;
		out->partitions = ARENA_ARRAY(ar, fetch_part, (size_t)t->partition_indexes_count + 1);
		out->partitions_count = t->partition_indexes_count;
		for (int32_t n = 0; n < t->partition_indexes_count; n++) {
			fetch_part *p = &out->partitions[n];
			kp_offset_fetch_response_topics_partitions_init(p);
			p->partition_index = t->partition_indexes[n];
			p->committed_offset = -1;
			p->metadata = no_metadata;
			if (!exists(c, t->name, p->partition_index) || !zk_name_ok(q->group_id))
				p->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
			else
				zk_row(z, q->group_id, t->name, p->partition_index, &p->error_code, &p->committed_offset);
		}
	}
	zk_send(z);
}

/* Versions 1 to 7: one group. Below 2 there is no place for the group's error but at each partition. */
static void fetch_finish(struct api_call *c, int16_t error)
{
	const struct groups_fetch *f = c->state;
	struct arena *ar = &c->r->arena;
	struct kp_offset_fetch_response resp;
	kp_offset_fetch_response_init(&resp);
	resp.error_code = c->version >= 2 ? error : KERR_NONE;
	uint32_t count = error && c->version >= 2 ? 0 : f->count;
	resp.topics = ARENA_ARRAY(ar, fetch_topic, (size_t)count + 1);
	for (uint32_t i = 0; i < count;) {
		uint32_t n = same_topic(f, i);
		fetch_topic *t = &resp.topics[resp.topics_count++];
		kp_offset_fetch_response_topics_init(t);
		t->name = f->rows[i].topic;
		t->partitions = ARENA_ARRAY(ar, fetch_part, n);
		t->partitions_count = (int32_t)n;
		for (uint32_t k = 0; k < n; k++, i++) {
			fetch_part *p = &t->partitions[k];
			kp_offset_fetch_response_topics_partitions_init(p);
			p->partition_index = f->rows[i].partition;
			p->committed_offset = f->rows[i].offset;
			p->committed_leader_epoch = f->rows[i].leader_epoch;
			p->metadata = f->rows[i].metadata;
			p->error_code = error ? error : f->rows[i].error;
		}
	}
	api_reply(c, &resp);
}

static void fetch_one(struct api_call *c)
{
	const struct kp_offset_fetch_request *q = c->request;
	struct groups_fetch *f = ARENA_NEW(&c->r->arena, struct groups_fetch);
	f->group = q->group_id;
	f->all = c->version >= 2 && q->topics_count < 0;
	f->require_stable = c->version >= 7 && q->require_stable;
	f->rows = ARENA_ARRAY(&c->r->arena, struct groups_fetch_row, asked_count(q->topics, q->topics_count) + 1);
	for (int32_t i = 0; i < q->topics_count; i++)
		for (int32_t n = 0; n < q->topics[i].partition_indexes_count; n++)
			no_row(&f->rows[f->count++], q->topics[i].name, q->topics[i].partition_indexes[n]);
	c->state = f;
	api_group_call(c, GROUP_FETCH, q->group_id, NULL, f, fetch_finish);
}

/* Versions 8 and 9: several groups. */
static void fill_group(struct api_call *c, const struct groups_fetch *f, fetch_group *out)
{
	struct arena *ar = &c->r->arena;
	out->topics = ARENA_ARRAY(ar, group_topic, (size_t)f->count + 1);
	for (uint32_t i = 0; i < f->count;) {
		uint32_t n = same_topic(f, i);
		group_topic *t = &out->topics[out->topics_count++];
		kp_offset_fetch_response_groups_topics_init(t);
		t->name = f->rows[i].topic;
		t->partitions = ARENA_ARRAY(ar, group_part_row, n);
		t->partitions_count = (int32_t)n;
		for (uint32_t k = 0; k < n; k++, i++) {
			group_part_row *p = &t->partitions[k];
			kp_offset_fetch_response_groups_topics_partitions_init(p);
			p->partition_index = f->rows[i].partition;
			p->committed_offset = f->rows[i].offset;
			p->committed_leader_epoch = f->rows[i].leader_epoch;
			p->metadata = f->rows[i].metadata;
			p->error_code = f->rows[i].error;
		}
	}
}

static void fetch_fill(struct group_split *s, uint32_t i, void *ret_row)
{
	const struct kp_offset_fetch_request *q = s->c->request;
	const struct group_place *at = &s->places[i];
	fetch_group *out = ret_row;
	kp_offset_fetch_response_groups_init(out);
	out->group_id = q->groups[i].group_id;
	out->error_code = at->part ? at->part->m.error : KERR_NOT_COORDINATOR;
	if (!out->error_code)
		fill_group(s->c, &at->part->m.fetches[at->i], out);
}

static void fetch_many_finish(struct group_split *s)
{
	api_group_rows(s, &kp_offset_fetch_response_groups_desc, fetch_fill);
}

static struct slice fetched_group(const void *request, uint32_t i)
{
	return ((const struct kp_offset_fetch_request *)request)->groups[i].group_id;
}

static void set_up_group(struct api_call *c, const struct kp_offset_fetch_request_groups *g, bool stable, struct groups_fetch *f)
{
	size_t total = 0;
	for (int32_t i = 0; i < g->topics_count; i++)
		total += (size_t)g->topics[i].partition_indexes_count;
	f->group = g->group_id;
	f->all = g->topics_count < 0;
	f->require_stable = stable;
	f->rows = ARENA_ARRAY(&c->r->arena, struct groups_fetch_row, total + 1);
	for (int32_t i = 0; i < g->topics_count; i++)
		for (int32_t n = 0; n < g->topics[i].partition_indexes_count; n++)
			no_row(&f->rows[f->count++], g->topics[i].name, g->topics[i].partition_indexes[n]);
}

void api_do_offset_fetch(struct api_call *c)
{
	const struct kp_offset_fetch_request *q = c->request;
	if (c->version == 0) {
		fetch_from_zk(c);
		return;
	}
	if (c->version < 8) {
		fetch_one(c);
		return;
	}
	struct group_split *s = api_group_split(c, GROUP_FETCH, (uint32_t)q->groups_count, fetched_group);
	for (uint32_t k = 0; k < s->part_count; k++) {
		struct group_part *p = s->parts[k];
		p->m.fetches = ARENA_ARRAY(&c->r->arena, struct groups_fetch, p->m.count);
		for (uint32_t i = 0; i < p->m.count; i++)
			set_up_group(c, &q->groups[p->groups[i]], q->require_stable, &p->m.fetches[i]);
	}
	api_group_send(s, fetch_many_finish);
}

/* ---- OffsetDelete ---- */

typedef struct kp_offset_delete_response_topics delete_topic;
typedef struct kp_offset_delete_response_topics_partitions delete_part;

struct deletion {
	struct kp_offset_delete_response resp;
	struct groups_offset_delete rows;
	delete_part **out;
};

static void offset_delete_finish(struct api_call *c, int16_t error)
{
	struct deletion *d = c->state;
	d->resp.error_code = error ? error : d->rows.error;
	if (d->resp.error_code)
		d->resp.topics_count = 0;
	for (uint32_t i = 0; i < d->rows.count; i++)
		d->out[i]->error_code = d->rows.rows[i].error;
	api_reply(c, &d->resp);
}

void api_do_offset_delete(struct api_call *c)
{
	const struct kp_offset_delete_request *q = c->request;
	struct arena *ar = &c->r->arena;
	struct deletion *d = ARENA_NEW(ar, struct deletion);
	size_t total = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		total += (size_t)q->topics[i].partitions_count;
	kp_offset_delete_response_init(&d->resp);
	d->resp.topics = ARENA_ARRAY(ar, delete_topic, (size_t)q->topics_count + 1);
	d->resp.topics_count = q->topics_count;
	d->rows.group = q->group_id;
	d->rows.rows = ARENA_ARRAY(ar, struct groups_offset, total + 1);
	d->out = ARENA_ARRAY(ar, delete_part *, total + 1);
	c->state = d;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_offset_delete_request_topics *t = &q->topics[i];
		delete_topic *out = &d->resp.topics[i];
		kp_offset_delete_response_topics_init(out);
		out->name = t->name;
		out->partitions = ARENA_ARRAY(ar, delete_part, (size_t)t->partitions_count + 1);
		out->partitions_count = t->partitions_count;
		for (int32_t n = 0; n < t->partitions_count; n++) {
			delete_part *p = &out->partitions[n];
			kp_offset_delete_response_topics_partitions_init(p);
			p->partition_index = t->partitions[n].partition_index;
			if (!exists(c, t->name, p->partition_index)) {
				p->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
				continue;
			}
			d->out[d->rows.count] = p;
			d->rows.rows[d->rows.count++] = (struct groups_offset){.topic = t->name, .partition = p->partition_index};
		}
	}
	if (!q->group_id.len)
		offset_delete_finish(c, KERR_INVALID_GROUP_ID);
	else /* even if nothing of it exists: the group's own error is told before those of partitions */
		api_group_call(c, GROUP_DELETE_OFFSETS, q->group_id, &d->rows, &d->rows, offset_delete_finish);
}
