/* offsets.c: see offsets.h. */
#include "tests/sim/offsets.h"

#include "common/wire/cursor.h"

enum { KEY_COMMIT_0 = 0, KEY_COMMIT_1 = 1, KEY_GROUP = 2 };

uint64_t offsets_id_of(struct slice metadata)
{
	uint64_t id = 0;
	if (metadata.len < 2 || metadata.ptr[0] != 'c')
		return 0;
	for (size_t i = 1; i < metadata.len && metadata.ptr[i] >= '0' && metadata.ptr[i] <= '9'; i++)
		id = id * 10 + (uint64_t)(metadata.ptr[i] - '0');
	return id & (OFFSETS_OTHER - 1);
}

static bool parse_commit(struct cursor *v, struct offsets_record *r)
{
	int16_t version = cursor_i16(v);
	if (version < 0 || version > 3)
		return false;
	r->offset = cursor_i64(v);
	r->leader_epoch = version >= 3 ? cursor_i32(v) : -1;
	r->id = offsets_id_of(cursor_string(v, false));
	cursor_i64(v); /* commit timestamp */
	if (version == 1)
		cursor_i64(v); /* expiry */
	return !v->bad && cursor_left(v) == 0;
}

static bool parse_group(struct cursor *v, struct arena *a, struct offsets_record *r)
{
	int16_t version = cursor_i16(v);
	if (version < 0 || version > 3)
		return false;
	r->protocol_type = cursor_string(v, false);
	r->generation = cursor_i32(v);
	r->protocol = cursor_string(v, true);
	r->leader = cursor_string(v, true);
	if (version >= 2)
		cursor_i64(v); /* since when it is in its state */
	int32_t n = cursor_i32(v);
	if (v->bad || n < 0 || (size_t)n > cursor_left(v))
		return false;
	r->members = ARENA_ARRAY(a, struct offsets_member, (size_t)n + 1);
	for (int32_t i = 0; i < n; i++) {
		r->members[i].id = cursor_string(v, false);
		r->members[i].instance = version >= 3 ? cursor_string(v, true) : (struct slice){0};
		cursor_string(v, false); /* client id */
		cursor_string(v, false); /* client host */
		if (version >= 1)
			cursor_i32(v); /* rebalance timeout */
		cursor_i32(v); /* session timeout */
		cursor_bytes32(v, false); /* subscription */
		r->members[i].assignment = cursor_bytes32(v, false);
	}
	r->member_count = n;
	return !v->bad && cursor_left(v) == 0;
}

bool offsets_parse(struct slice key, struct slice value, struct arena *a, struct offsets_record *ret_rec)
{
	struct cursor k = cursor_make(key), v = cursor_make(value);
	int16_t type = cursor_i16(&k);
	*ret_rec = (struct offsets_record){.kind = OFFSETS_UNKNOWN, .tombstone = !value.ptr};
	if (type != KEY_COMMIT_0 && type != KEY_COMMIT_1 && type != KEY_GROUP)
		return !k.bad;
	ret_rec->group = cursor_string(&k, false);
	if (type == KEY_GROUP) {
		ret_rec->kind = OFFSETS_GROUP;
	} else {
		ret_rec->kind = OFFSETS_COMMIT;
		ret_rec->topic = cursor_string(&k, false);
		ret_rec->partition = cursor_i32(&k);
	}
	if (k.bad || cursor_left(&k))
		return false;
	if (ret_rec->tombstone)
		return true;
	return type == KEY_GROUP ? parse_group(&v, a, ret_rec) : parse_commit(&v, ret_rec);
}

static uint64_t hash(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.ptr[i]) * 1099511628211ull;
	return (h ^ (s.ptr ? 1 : 2)) * 1099511628211ull;
}

uint64_t offsets_record_id(struct slice key, struct slice value)
{
	struct offsets_record r;
	uint64_t id = 0;
	if (key.len > 2 && key.ptr[1] <= KEY_COMMIT_1 && value.ptr && offsets_parse(key, value, NULL, &r))
		id = r.id;
	return id ? id : (hash(hash(14695981039346656037ull, key), value) & (OFFSETS_OTHER - 1)) | OFFSETS_OTHER;
}

int32_t offsets_partition_of(const char *group, int32_t partitions)
{
	uint32_t h = 0;
	for (const char *p = group; *p; p++) /* ASCII */
		h = h * 31 + (uint8_t)*p;
	int64_t v = (int32_t)h;
	v = v < 0 ? -v : v;
	return v == 2147483648ll ? 0 : (int32_t)(v % partitions);
}

bool offsets_assignment(struct slice bytes, void (*fn)(void *ctx, struct slice topic, int32_t partition), void *ctx)
{
	struct cursor c = cursor_make(bytes);
	if (bytes.len == 0)
		return true;
	int16_t version = cursor_i16(&c);
	int32_t topics = cursor_i32(&c);
	for (int32_t i = 0; i < topics && !c.bad; i++) {
		struct slice topic = cursor_string(&c, false);
		int32_t n = cursor_i32(&c);
		for (int32_t k = 0; k < n && !c.bad; k++) {
			int32_t partition = cursor_i32(&c);
			if (!c.bad)
				fn(ctx, topic, partition);
		}
	}
	cursor_bytes32(&c, true); /* user data */
	return !c.bad && version >= 0 && cursor_left(&c) == 0;
}

struct ids { const struct sim_batch *b; void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id); void *ctx; };

static void take_id(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct ids *i = ctx;
	i->fn(i->ctx, offset, i->b->leader_epoch, offsets_record_id(key, value));
}

bool offsets_batch_records(struct slice bytes, const struct sim_batch *b, void (*fn)(void *ctx, int64_t offset, int32_t epoch, uint64_t id), void *ctx)
{
	struct ids i = {b, fn, ctx};
	return sim_batch_each(bytes, b, take_id, &i);
}
