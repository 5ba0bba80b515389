/* group_records.c: records of __consumer_offsets, as Kafka 3.9 writes them (internal-topics.md 2): an int16 that says key type or value version,
 * then the fields. Written: OffsetCommit key 1 with value 3 (1 when it has an expiry of its own), GroupMetadata key 2 with value 3. Read: all
 * versions that there are. */
#include <string.h>

#include "brokerd/group/group_priv.h"
#include "common/wire/cursor.h"

#define KEY_OFFSET 1
#define KEY_GROUP 2
#define VALUE_OFFSET 3
#define VALUE_OFFSET_EXPIRING 1
#define VALUE_GROUP 3

/* Records are written where the write will have them: that of a large group is more than a megabyte. */
struct pen {
	struct arena arena;
	struct groups_record *records;
	size_t cap;
	uint32_t count;
	size_t bytes;
};

struct pen *group_pen_new(void)
{
	struct pen *p = MEM_NEW(struct pen);
	arena_init(&p->arena, 0);
	return p;
}

void group_pen_free(struct pen *p)
{
	arena_fini(&p->arena);
	mem_free(p->records);
	mem_free(p);
}

static struct slice message(struct pen *p, int16_t prefix, const struct wire_struct *desc, int16_t version, const void *msg)
{
	size_t len = 2 + wire_size(desc, version, msg);
	uint8_t *bytes = arena_alloc(&p->arena, len);
	be16_put(bytes, (uint16_t)prefix);
	uint8_t *end = wire_write(desc, version, msg, bytes + 2);
	ASSERT(end == bytes + len);
	p->bytes += len;
	return slice_make(bytes, len);
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
	r->key = message(p, KEY_OFFSET, &kp_offset_commit_key_desc, KEY_OFFSET, &k);
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
	r->value = message(p, version, &kp_offset_commit_value_desc, version, &v);
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
	r->key = message(p, KEY_GROUP, &kp_group_metadata_key_desc, KEY_GROUP, &k);
	return r;
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
	return p->bytes;
}

struct groups_write *group_pen_finish(struct pen *p)
{
	struct groups_write *w = MEM_NEW(struct groups_write);
	list_init(&w->link);
	w->arena = p->arena;
	arena_init(&p->arena, 0);
	w->count = p->count;
	w->bytes = p->bytes;
	w->records = ARENA_ARRAY(&w->arena, struct groups_record, p->count);
	memcpy(w->records, p->records, sizeof(*w->records) * p->count);
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

/* Version 0 knows no rebalance timeout: it was the session timeout. */
static void read_member(struct cursor *c, int16_t version, struct kp_group_metadata_value_members *m)
{
	m->member_id = cursor_string(c, false);
	m->group_instance_id = version >= 3 ? cursor_string(c, true) : slice_make(NULL, 0);
	m->client_id = cursor_string(c, false);
	m->client_host = cursor_string(c, false);
	m->rebalance_timeout = version >= 1 ? cursor_i32(c) : -1;
	m->session_timeout = cursor_i32(c);
	if (version == 0)
		m->rebalance_timeout = m->session_timeout;
	m->subscription = cursor_bytes32(c, false);
	m->assignment = cursor_bytes32(c, false);
}

/* Versions up to 3 are read by hand, as they are written, and without an array of members: a group may have thousands. */
static int parse_group_value(struct slice value, struct arena *a, struct record *r)
{
	struct kp_group_metadata_value *v = &r->value;
	struct kp_group_metadata_value_members m;
	struct cursor c = cursor_make(value);
	r->version = cursor_i16(&c);
	if (c.bad || r->version < 0 || r->version > VALUE_GROUP)
		return parse_value(value, &kp_group_metadata_value_desc, a, v);
	kp_group_metadata_value_init(v);
	v->protocol_type = cursor_string(&c, false);
	v->generation = cursor_i32(&c);
	v->protocol = cursor_string(&c, true);
	v->leader = cursor_string(&c, true);
	if (r->version >= 2)
		v->current_state_timestamp = cursor_i64(&c);
	v->members_count = cursor_i32(&c);
	if (c.bad || v->members_count < 0)
		return ERR_CORRUPT;
	r->members = cursor_rest(&c);
	for (int32_t i = 0; i < v->members_count && !c.bad; i++)
		read_member(&c, r->version, &m);
	return c.bad ? ERR_CORRUPT : 0;
}

void group_record_member(const struct record *r, int32_t i, struct slice *at, struct kp_group_metadata_value_members *ret_m)
{
	if (r->version > VALUE_GROUP) {
		*ret_m = r->value.members[i];
		return;
	}
	struct cursor c = cursor_make(*at);
	read_member(&c, r->version, ret_m);
	*at = cursor_rest(&c);
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

/* ---- the group's record ---- */

static size_t text_bytes(struct slice s) { return 2 + s.len; }
static uint8_t *put_text(uint8_t *p, struct slice s) { return put_bytes(put_i16(p, (int16_t)s.len), s.ptr, s.len); }
static uint8_t *put_text_or_null(uint8_t *p, struct slice s) { return s.ptr ? put_text(p, s) : put_i16(p, -1); }
static uint8_t *put_bytes32(uint8_t *p, struct slice s) { return put_bytes(put_i32(p, (int32_t)s.len), s.ptr, s.len); }

/* By hand, and not by the schema: in a group of thousands this is most of what a rebalance costs, and the interpreter takes five times as long
 * (docs/reports/groups.md). A test compares. */
void group_record(struct groups *g, const struct group *gr, const struct slice *assignments, struct pen *p)
{
	const struct roster *r = gr->roster;
	struct slice type = group_name_text(g, gr->protocol_type), protocol = group_name_text(g, gr->protocol);
	struct slice leader = r && r->leader ? member_id(r->leader) : slice_make(NULL, 0);
	size_t bytes = 2 + text_bytes(type) + 4 + text_bytes(protocol) + text_bytes(leader) + 8 + 4;

	for (struct list *it = r ? r->members.next : NULL; it && it != &r->members; it = it->next) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		bytes += text_bytes(member_id(m)) + text_bytes(member_instance(m)) + text_bytes(group_name_text(g, m->client_id)) + text_bytes(group_name_text(g, m->client_host)) + 4 + 4 +
			4 + group_member_metadata(m, gr->protocol).len + 4 + (assignments ? assignments[m->ordinal] : blob_slice(m->assignment)).len;
	}
	struct groups_record *rec = group_key(p, group_id(gr));
	uint8_t *begin = arena_alloc(&p->arena, bytes), *to = put_i16(begin, VALUE_GROUP);
	to = put_text(to, type);
	to = put_i32(to, gr->generation);
	to = put_text_or_null(to, protocol);
	to = put_text_or_null(to, leader);
	to = put_i64(to, gr->state_ms);
	to = put_i32(to, r ? (int32_t)r->count : 0);
	for (struct list *it = r ? r->members.next : NULL; it && it != &r->members; it = it->next) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		to = put_text(to, member_id(m));
		to = put_text_or_null(to, member_instance(m));
		to = put_text(to, group_name_text(g, m->client_id));
		to = put_text(to, group_name_text(g, m->client_host));
		to = put_i32(to, m->rebalance_timeout_ms);
		to = put_i32(to, m->session_timeout_ms);
		to = put_bytes32(to, group_member_metadata(m, gr->protocol));
		to = put_bytes32(to, assignments ? assignments[m->ordinal] : blob_slice(m->assignment));
	}
	ASSERT(to == begin + bytes);
	rec->value = slice_make(begin, bytes);
	rec->tombstone = false;
	p->bytes += bytes;
}
