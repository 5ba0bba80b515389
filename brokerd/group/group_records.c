/* group_records.c: records of __consumer_offsets, as Kafka 3.9 writes them (internal-topics.md 2): an int16 that says key type or value version,
 * then the fields. Written: OffsetCommit key 1 with value 3 (1 when it has an expiry of its own), GroupMetadata key 2 with value 3. Read: all
 * versions that there are. */
#include <string.h>

#include "brokerd/group/group_priv.h"

#define KEY_OFFSET 1
#define KEY_GROUP 2
#define VALUE_OFFSET 3
#define VALUE_OFFSET_EXPIRING 1
#define VALUE_GROUP 3

/* Keys and values lie in one chain, one behind the other; the slices know only their lengths until it is flattened. */
struct pen {
	struct chain chain;
	struct groups_record *records;
	size_t cap;
	uint32_t count;
};

struct pen *group_pen_new(void)
{
	struct pen *p = MEM_NEW(struct pen);
	chain_init(&p->chain);
	return p;
}

void group_pen_free(struct pen *p)
{
	chain_clear(&p->chain);
	mem_free(p->records);
	mem_free(p);
}

static size_t put_message(struct pen *p, int16_t prefix, const struct wire_struct *desc, int16_t version, const void *msg)
{
	uint64_t before = p->chain.bytes;
	uint8_t head[2];
	be16_put(head, (uint16_t)prefix);
	chain_add_copy(&p->chain, head, 2);
	wire_encode(desc, version, msg, &p->chain);
	return (size_t)(p->chain.bytes - before);
}

static struct groups_record *new_record(struct pen *p)
{
	MEM_GROW(p->records, p->cap, (size_t)p->count + 1);
	struct groups_record *r = &p->records[p->count++];
	*r = (struct groups_record){.tombstone = true};
	return r;
}

static struct groups_record *offset_key(struct pen *p, struct slice group, struct slice topic, int32_t partition)
{
	struct groups_record *r = new_record(p);
	struct kp_offset_commit_key k = {.group = group, .topic = topic, .partition = partition};
	r->key.len = put_message(p, KEY_OFFSET, &kp_offset_commit_key_desc, KEY_OFFSET, &k);
	return r;
}

void group_pen_offset(struct pen *p, struct slice group, struct slice topic, const struct offset *o, struct slice metadata, int64_t expire_ms)
{
	struct groups_record *r = offset_key(p, group, topic, o->partition);
	int16_t version = expire_ms >= 0 ? VALUE_OFFSET_EXPIRING : VALUE_OFFSET;
	struct kp_offset_commit_value v;
	kp_offset_commit_value_init(&v);
	v.offset = o->offset;
	v.leader_epoch = o->leader_epoch;
	v.metadata = metadata;
	v.commit_timestamp = o->commit_ms;
	v.expire_timestamp = expire_ms;
	r->value.len = put_message(p, version, &kp_offset_commit_value_desc, version, &v);
	r->tombstone = false;
}

void group_pen_offset_tombstone(struct pen *p, struct slice group, struct slice topic, int32_t partition)
{
	offset_key(p, group, topic, partition);
}

static struct groups_record *group_key(struct pen *p, struct slice group)
{
	struct groups_record *r = new_record(p);
	struct kp_group_metadata_key k = {.group = group};
	r->key.len = put_message(p, KEY_GROUP, &kp_group_metadata_key_desc, KEY_GROUP, &k);
	return r;
}

void group_pen_group(struct pen *p, struct slice group, const struct kp_group_metadata_value *v)
{
	struct groups_record *r = group_key(p, group);
	r->value.len = put_message(p, VALUE_GROUP, &kp_group_metadata_value_desc, VALUE_GROUP, v);
	r->tombstone = false;
}

void group_pen_group_tombstone(struct pen *p, struct slice group)
{
	group_key(p, group);
}

uint32_t group_pen_count(const struct pen *p)
{
	return p->count;
}

size_t group_pen_bytes(const struct pen *p)
{
	return (size_t)p->chain.bytes;
}

struct groups_write *group_pen_finish(struct pen *p)
{
	struct groups_write *w = MEM_NEW(struct groups_write);
	list_init(&w->link);
	arena_init(&w->arena, 0);
	w->count = p->count;
	w->bytes = (size_t)p->chain.bytes;
	w->records = ARENA_ARRAY(&w->arena, struct groups_record, p->count);
	uint8_t *bytes = arena_alloc(&w->arena, w->bytes);
	chain_flatten(&p->chain, bytes);
	for (uint32_t i = 0; i < p->count; i++) {
		struct groups_record *r = &w->records[i];
		*r = p->records[i];
		r->key.ptr = bytes;
		bytes += r->key.len;
		r->value.ptr = r->tombstone ? NULL : bytes;
		bytes += r->value.len;
	}
	group_pen_free(p);
	return w;
}

/* ---- reading ---- */

static bool take_i16(struct slice *s, int16_t *ret)
{
	if (s->len < 2)
		return false;
	*ret = (int16_t)be16_get(s->ptr);
	*s = slice_make(s->ptr + 2, s->len - 2);
	return true;
}

static int parse_value(struct slice value, const struct wire_struct *desc, struct arena *a, void *ret_msg)
{
	int16_t version;
	if (!take_i16(&value, &version))
		return ERR_CORRUPT;
	if (!wire_has_version(desc, version))
		return ERR_UNSUPPORTED;
	return wire_decode(desc, version, &value, a, ret_msg);
}

static int parse_group_value(struct slice value, struct arena *a, struct record *r)
{
	int16_t version = value.len >= 2 ? (int16_t)be16_get(value.ptr) : -1;
	int err = parse_value(value, &kp_group_metadata_value_desc, a, &r->members);
	if (err || version > 0)
		return err;
	/* version 0 knows no rebalance timeout: it was the session timeout */
	for (int32_t i = 0; i < r->members.members_count; i++)
		r->members.members[i].rebalance_timeout = r->members.members[i].session_timeout;
	return 0;
}

int group_record_parse(struct slice key, struct slice value, struct arena *a, struct record *ret_r)
{
	int16_t type;
	int err;

	if (!key.ptr || !take_i16(&key, &type))
		return ERR_CORRUPT;
	*ret_r = (struct record){.tombstone = !value.ptr};
	if (type == 0 || type == KEY_OFFSET) {
		struct kp_offset_commit_key k;
		err = wire_decode(&kp_offset_commit_key_desc, type, &key, a, &k);
		if (err)
			return err;
		ret_r->type = RECORD_OFFSET;
		ret_r->group = k.group;
		ret_r->topic = k.topic;
		ret_r->partition = k.partition;
		return ret_r->tombstone ? 0 : parse_value(value, &kp_offset_commit_value_desc, a, &ret_r->offset);
	}
	if (type == KEY_GROUP) {
		struct kp_group_metadata_key k;
		err = wire_decode(&kp_group_metadata_key_desc, KEY_GROUP, &key, a, &k);
		if (err)
			return err;
		ret_r->type = RECORD_GROUP;
		ret_r->group = k.group;
		return ret_r->tombstone ? 0 : parse_group_value(value, a, ret_r);
	}
	return ERR_UNSUPPORTED;
}

void group_record(struct groups *g, const struct group *gr, const struct slice *assignments, struct pen *p)
{
	struct kp_group_metadata_value v;
	const struct roster *r = gr->roster;
	int32_t n = 0;

	kp_group_metadata_value_init(&v);
	v.protocol_type = gr->protocol_type ? group_name_text(g, gr->protocol_type) : slice_make("", 0);
	v.generation = gr->generation;
	v.protocol = group_name_text(g, gr->protocol);
	v.leader = r && r->leader ? member_id(r->leader) : slice_make(NULL, 0);
	v.current_state_timestamp = gr->state_ms;
	arena_reset(&g->scratch);
	if (r && r->count)
		v.members = ARENA_ARRAY(&g->scratch, struct kp_group_metadata_value_members, r->count);
	for (struct list *it = r ? r->members.next : NULL; it && it != &r->members; it = it->next) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		struct kp_group_metadata_value_members *mv = &v.members[n++];
		kp_group_metadata_value_members_init(mv);
		mv->member_id = member_id(m);
		mv->group_instance_id = member_instance(m);
		mv->client_id = group_name_text(g, m->client_id);
		mv->client_host = group_name_text(g, m->client_host);
		mv->rebalance_timeout = m->rebalance_timeout_ms;
		mv->session_timeout = m->session_timeout_ms;
		mv->subscription = group_member_metadata(m, gr->protocol);
		mv->assignment = assignments ? assignments[m->ordinal] : blob_slice(m->assignment);
	}
	v.members_count = n;
	group_pen_group(p, group_id(gr), &v);
}
