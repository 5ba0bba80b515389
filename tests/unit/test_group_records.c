/* test_group_records.c: records of __consumer_offsets: those of a real Kafka 3.9.1 (golden/log-3.9), every version that can be read, and bytes
 * that are none (internal-topics.md 2). */
#include "tests/unit/group_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brokerd/group/group_priv.h"
#include "common/wire/cursor.h"

/* ---- the golden partition ---- */

struct batch_head { int64_t base, producer_id; int32_t count; bool control, transactional; };

static bool next_batch(struct cursor *c, struct batch_head *h, struct cursor *ret_body)
{
	if (!cursor_left(c))
		return false;
	h->base = cursor_i64(c);
	struct cursor b = cursor_make(cursor_bytes(c, cursor_i32(c)));
	cursor_skip(&b, 9); /* leader epoch, magic, crc */
	int16_t attributes = cursor_i16(&b);
	CU_ASSERT_EQUAL(attributes & 7, 0);
	h->control = attributes & 32;
	h->transactional = attributes & 16;
	cursor_skip(&b, 20); /* last offset delta, timestamps */
	h->producer_id = cursor_i64(&b);
	cursor_skip(&b, 6);
	h->count = cursor_i32(&b);
	*ret_body = b;
	return !cursor_err(&b);
}

static struct slice varbytes(struct cursor *c)
{
	int32_t n = cursor_varint(c);
	return n < 0 ? slice_make(NULL, 0) : cursor_bytes(c, n);
}

static int64_t next_record(struct cursor *c, struct slice *key, struct slice *value)
{
	struct cursor r = cursor_make(cursor_bytes(c, cursor_varint(c)));
	cursor_skip(&r, 1);
	cursor_varlong(&r);
	int64_t delta = cursor_varint(&r);
	*key = varbytes(&r);
	*value = varbytes(&r);
	CU_ASSERT_EQUAL(cursor_err(&r), 0);
	return delta;
}

/* What we would write for it is the same, byte for byte. */
static void check_same(struct slice key, struct slice value)
{
	struct arena a;
	struct record r;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL_FATAL(group_record_parse(key, value, &a, &r), 0);
	struct pen *p = group_pen_new();
	if (r.type == RECORD_OFFSET) {
		struct offset o = {.partition = r.partition, .leader_epoch = r.offset.leader_epoch, .offset = r.offset.offset, .commit_ms = r.offset.commit_timestamp};
		group_pen_offset(p, r.group, r.topic, &o, r.offset.metadata, r.offset.expire_timestamp);
	} else {
		struct groups_config cfg = {.max_size = INT32_MAX};
		struct groups *g = groups_new(0, 0, 1, &cfg);
		CU_ASSERT_EQUAL(groups_replay(g, key, value, 0, -1), 0);
		group_record(g, group_find(g, r.group), NULL, p);
		groups_free(g);
	}
	struct groups_write *w = group_pen_finish(p);
	CU_ASSERT(slice_eq(w->records[0].key, key));
	CU_ASSERT(slice_eq(w->records[0].value, value));
	groups_write_free(w);
	arena_fini(&a);
}

static size_t read_golden(uint8_t *to, size_t cap)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/data/__consumer_offsets-0/00000000000000000000.log", unit_golden("log-3.9"));
	FILE *f = fopen(path, "rb");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(to, 1, cap, f);
	fclose(f);
	return n;
}

static void test_golden(void)
{
	static uint8_t bytes[8192];
	struct cursor c = cursor_make(slice_make(bytes, read_golden(bytes, sizeof(bytes)))), body;
	struct batch_head h;
	struct slice key, value;
	struct world w;
	int records = 0;

	world_begin(&w);
	groups_free(w.g);
	w.g = groups_new(0, 0, 1, &w.cfg);
	while (next_batch(&c, &h, &body)) {
		for (int32_t i = 0; i < h.count; i++) {
			int64_t offset = h.base + next_record(&body, &key, &value);
			if (h.control) {
				groups_replay_marker(w.g, h.producer_id, be16_get(key.ptr + 2) == 1, offset);
				continue;
			}
			records++;
			check_same(key, value);
			CU_ASSERT_EQUAL(groups_replay(w.g, key, value, offset, h.transactional ? h.producer_id : -1), 0);
			if (h.transactional) /* pending until its marker */
				CU_ASSERT_EQUAL(fetch(&w, "golden-txn-group", "codec-none", 0), -1);
		}
	}
	CU_ASSERT_EQUAL(records, 3);
	groups_loaded(w.g, w.now, &w.out);
	CU_ASSERT_EQUAL(fetch(&w, "golden-txn-group", "codec-none", 0), 77);
	CU_ASSERT_EQUAL(fetch(&w, "golden-group", "codec-none", 0), 42);
	CU_ASSERT_EQUAL(fetch(&w, "golden-group", "keyed", 1), 7);
	struct arena a;
	arena_init(&a, 0);
	struct groups_fetch f = {.group = slice_str("golden-group"), .all = true};
	groups_fetch(w.g, &f, &a);
	CU_ASSERT_EQUAL_FATAL(f.count, 2);
	CU_ASSERT(IS(f.rows[0].topic, "codec-none") && IS(f.rows[1].topic, "keyed"));
	CU_ASSERT(IS(f.rows[0].metadata, "meta"));
	CU_ASSERT_EQUAL(f.rows[0].leader_epoch, 0);
	CU_ASSERT_EQUAL(f.rows[1].leader_epoch, -1);
	arena_fini(&a);
	world_end(&w);
}

/* ---- versions ---- */

static int replay_message(struct groups *g, const struct wire_struct *kd, int16_t kv, const void *key, const struct wire_struct *vd, int16_t vv, const void *value, int64_t offset)
{
	uint8_t k[512], v[2048];
	struct chain c;
	chain_init(&c);
	be16_put(k, (uint16_t)kv);
	wire_encode(kd, kv, key, &c);
	size_t kn = (size_t)c.bytes + 2, vn;
	chain_flatten(&c, k + 2);
	chain_clear(&c);
	be16_put(v, (uint16_t)vv);
	wire_encode(vd, vv, value, &c);
	vn = (size_t)c.bytes + 2;
	chain_flatten(&c, v + 2);
	chain_clear(&c);
	return groups_replay(g, slice_make(k, kn), slice_make(v, vn), offset, -1);
}

static void test_offset_versions(void)
{
	/* keys 0 and 1, values 0 to 4 */
	for (int16_t kv = 0; kv <= 1; kv++)
		for (int16_t vv = 0; vv <= 4; vv++) {
			struct world w;
			world_begin(&w);
			struct kp_offset_commit_key k = {slice_str("g"), slice_str("t"), 3};
			struct kp_offset_commit_value v;
			kp_offset_commit_value_init(&v);
			v.offset = 100 + vv;
			v.leader_epoch = 8;
			v.metadata = slice_str("m");
			v.commit_timestamp = 5;
			v.expire_timestamp = 6;
			CU_ASSERT_EQUAL(replay_message(w.g, &kp_offset_commit_key_desc, kv, &k, &kp_offset_commit_value_desc, vv, &v, 1), 0);
			struct groups_fetch_row row = {.topic = slice_str("t"), .partition = 3};
			struct groups_fetch f = {.group = slice_str("g"), .rows = &row, .count = 1};
			struct arena a;
			arena_init(&a, 0);
			groups_fetch(w.g, &f, &a);
			CU_ASSERT_EQUAL(row.offset, 100 + vv);
			CU_ASSERT_EQUAL(row.leader_epoch, vv >= 3 ? 8 : -1);
			CU_ASSERT(IS(row.metadata, "m"));
			arena_fini(&a);
			world_end(&w);
		}
}

static void test_group_versions(void)
{
	/* GroupMetadata values 0 to 4; version 0 has no rebalance timeout: it is the session timeout */
	for (int16_t vv = 0; vv <= 4; vv++) {
		struct world w;
		world_begin(&w);
		groups_free(w.g);
		w.g = groups_new(0, 0, 1, &w.cfg);
		struct kp_group_metadata_key k = {slice_str("g")};
		struct kp_group_metadata_value_members m[2];
		struct kp_group_metadata_value v;
		kp_group_metadata_value_init(&v);
		v.protocol_type = slice_str("consumer");
		v.generation = 7;
		v.protocol = slice_str("range");
		v.leader = slice_str("m1");
		v.current_state_timestamp = 99;
		v.members = m;
		v.members_count = 2;
		for (int i = 0; i < 2; i++) {
			kp_group_metadata_value_members_init(&m[i]);
			m[i].member_id = slice_str(i ? "m1" : "m0");
			m[i].group_instance_id = i ? slice_str("i1") : slice_make(NULL, 0);
			m[i].client_id = slice_str("c");
			m[i].client_host = slice_str("/h");
			m[i].session_timeout = 10000;
			m[i].rebalance_timeout = 20000;
			m[i].subscription = slice_str("sub");
			m[i].assignment = slice_str(i ? "a1" : "a0");
		}
		CU_ASSERT_EQUAL(replay_message(w.g, &kp_group_metadata_key_desc, 2, &k, &kp_group_metadata_value_desc, vv, &v, 1), 0);
		groups_loaded(w.g, w.now, &w.out);
		CHECK_TEXT(describe(&w, "g"), "Stable consumer range 2");
		CU_ASSERT_EQUAL(heartbeat(&w, "g", 7, "m0", NULL), 0);
		CU_ASSERT_EQUAL(heartbeat(&w, "g", 7, "m1", "i1"), vv >= 3 ? 0 : KERR_UNKNOWN_MEMBER_ID);
		struct gcall *s = sync(&w, "g", 7, "m1", NULL, NULL);
		CU_ASSERT(IS(s->resp.sync.assignment, "a1"));
		const struct member *mm = group_member_find(w.g, group_find(w.g, slice_str("g")), slice_str("m0"));
		CU_ASSERT_EQUAL(mm->rebalance_timeout_ms, vv == 0 ? 10000 : 20000);
		/* the leader is the record's: it can ask for a rebalance by joining again */
		struct gcall *f = join(&w, 3, "g", "m0", NULL, "range:sub");
		CU_ASSERT(f->answered && f->resp.join.generation_id == 7);
		struct gcall *l = join(&w, 3, "g", "m1", NULL, "range:sub");
		CU_ASSERT(!l->answered);
		/* an empty group of that version */
		v.members_count = 0;
		k.group = slice_str("e");
		w.g = (groups_resign(w.g, &w.out), world_take(&w), groups_free(w.g), groups_new(0, 0, 1, &w.cfg));
		CU_ASSERT_EQUAL(replay_message(w.g, &kp_group_metadata_key_desc, 2, &k, &kp_group_metadata_value_desc, vv, &v, 1), 0);
		CHECK_TEXT(describe(&w, "e"), "Empty consumer  0");
		world_end(&w);
	}
}

static void test_old_groups_expire(void)
{
	/* 4.5: records before version 2 do not say since when a group is empty: the time of the commit counts, and no other */
	for (int16_t vv = 1; vv <= 2; vv++) {
		struct world w;
		world_begin(&w);
		groups_free(w.g);
		w.g = groups_new(0, 0, 1, &w.cfg);
		struct kp_group_metadata_key gk = {slice_str("g")};
		struct kp_group_metadata_value gv;
		struct kp_offset_commit_key k = {slice_str("g"), slice_str("t"), 0};
		struct kp_offset_commit_value v;
		kp_group_metadata_value_init(&gv);
		kp_offset_commit_value_init(&v);
		gv.protocol_type = slice_str("consumer");
		gv.generation = 3;
		gv.protocol = slice_make(NULL, 0);
		gv.leader = slice_make(NULL, 0);
		gv.current_state_timestamp = w.now;
		v.offset = 5;
		v.commit_timestamp = w.now - 1000;
		CU_ASSERT_EQUAL(replay_message(w.g, &kp_offset_commit_key_desc, 1, &k, &kp_offset_commit_value_desc, 3, &v, 1), 0);
		CU_ASSERT_EQUAL(replay_message(w.g, &kp_group_metadata_key_desc, 2, &gk, &kp_group_metadata_value_desc, vv, &gv, 2), 0);
		groups_loaded(w.g, w.now, &w.out);
		w.now += w.cfg.offsets_retention_ms - 1000;
		CU_ASSERT(groups_expire(w.g, w.now, 10, &w.out));
		world_take(&w);
		CU_ASSERT_EQUAL(world_open_writes(&w), vv < 2);
		w.now += 1000;
		CU_ASSERT(groups_expire(w.g, w.now, 10, &w.out));
		world_take(&w);
		CU_ASSERT_EQUAL(world_open_writes(&w), 1);
		/* its offset and the group itself: both have records */
		const struct groups_write *wr = LIST_ENTRY(w.writes.next, struct groups_write, link);
		CU_ASSERT_EQUAL(wr->count, 2);
		CU_ASSERT(wr->records[0].tombstone && wr->records[1].tombstone);
		CU_ASSERT_EQUAL(be16_get(wr->records[1].key.ptr), 2);
		world_end(&w);
	}
}

static void test_unknown(void)
{
	/* unknown key types and value versions are skipped, broken bytes too; neither changes anything */
	static const struct { const char *key; size_t kn; const char *value; size_t vn; int want; } rows[] = {
		{"\0\3\0\1g", 5, "\0\0\0\0\0\1", 6, ERR_UNSUPPORTED}, {"\0\17\0\1g", 5, "", 0, ERR_UNSUPPORTED}, {"\377\377", 2, "", 0, ERR_UNSUPPORTED},
		{"\0", 1, "", 0, ERR_CORRUPT}, {"", 0, "", 0, ERR_CORRUPT}, {"\0\1\0\1g", 5, "", 0, ERR_CORRUPT},
		{"\0\1\0\1g\0\1t\0\0\0\0", 12, "\0\5xxxx", 6, ERR_UNSUPPORTED}, {"\0\1\0\1g\0\1t\0\0\0\0", 12, "\0", 1, ERR_CORRUPT},
		{"\0\1\0\1g\0\1t\0\0\0\0", 12, "\0\3\0\0\0\0", 6, ERR_CORRUPT}, {"\0\2\0\1g", 5, "\0\3\0\1", 4, ERR_CORRUPT}, {"\0\2\0\1g", 5, "\0\11\0\1", 4, ERR_UNSUPPORTED},
	};
	struct world w;
	world_begin(&w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_EQUAL(groups_replay(w.g, slice_make(rows[i].key, rows[i].kn), slice_make(rows[i].value, rows[i].vn), 1, -1), rows[i].want);
	CU_ASSERT_EQUAL(groups_replay(w.g, slice_make(NULL, 0), slice_make("", 0), 1, -1), ERR_CORRUPT);
	CU_ASSERT_EQUAL(groups_stats(w.g).groups, 0);
	world_end(&w);
}

static void test_group_cut(void)
{
	/* a group's value that ends anywhere before its end, or promises more members than it has, is skipped whole */
	struct world w;
	const char *ids[2];
	world_begin(&w);
	stable_of(&w, "g", ids, 2, "range:meta");
	const struct logged *l = &w.log[w.log_count - 1];
	struct slice key = slice_make(l->key, l->key_len);
	for (int version = 0; version <= 3; version++) {
		for (size_t n = 0; n < l->value_len; n++) {
			uint8_t *cut = malloc(n + 1); /* so that a byte too much is seen */
			memcpy(cut, l->value, n);
			if (n > 1)
				cut[1] = (uint8_t)version;
			struct groups *g = groups_new(0, 0, 1, &w.cfg);
			int err = groups_replay(g, key, slice_make(cut, n), 1, -1);
			if (version == 3)
				CU_ASSERT_EQUAL(err, ERR_CORRUPT);
			CU_ASSERT_EQUAL(groups_stats(g).groups, err ? 0 : 1);
			groups_free(g);
			free(cut);
		}
	}
	size_t count_at = 2 + 2 + 8 + 4 + 2 + 5 + 2 + strlen(ids[0]) + 8;
	CU_ASSERT_EQUAL(be32_get(l->value + count_at), 2);
	for (int i = 0; i < 4; i++) {
		static const uint32_t counts[] = {3, 0x7fffffff, 0x80000000, 0xffffffff};
		struct groups *g = groups_new(0, 0, 1, &w.cfg);
		be32_put(l->value + count_at, counts[i]);
		CU_ASSERT_EQUAL(groups_replay(g, key, slice_make(l->value, l->value_len), 1, -1), ERR_CORRUPT);
		CU_ASSERT_EQUAL(groups_stats(g).groups, 0);
		groups_free(g);
	}
	world_end(&w);
}

/* The last record of the log is a group's, and the schema would have written the same. */
static void as_by_schema(const struct world *w)
{
	const struct logged *l = &w->log[w->log_count - 1];
	struct slice in = slice_make(l->value + 2, l->value_len - 2);
	struct kp_group_metadata_value v;
	struct chain again;
	struct arena a;
	uint8_t *bytes = malloc(l->value_len);
	arena_init(&a, 0);
	chain_init(&again);
	CU_ASSERT_EQUAL(be16_get(l->key), 2);
	CU_ASSERT_EQUAL(be16_get(l->value), 3);
	CU_ASSERT_EQUAL_FATAL(wire_decode(&kp_group_metadata_value_desc, 3, &in, &a, &v), 0);
	CU_ASSERT_EQUAL(in.len, 0);
	wire_encode(&kp_group_metadata_value_desc, 3, &v, &again);
	CU_ASSERT_EQUAL_FATAL(again.bytes, l->value_len - 2);
	chain_flatten(&again, bytes);
	CU_ASSERT(memcmp(bytes, l->value + 2, l->value_len - 2) == 0);
	chain_clear(&again);
	arena_fini(&a);
	free(bytes);
}

static void test_group_written(void)
{
	/* a group's record, written by hand: members with and without names of their own, an empty generation, a static member's replacement */
	struct world w;
	const char *ids[3];
	world_begin(&w);
	int32_t generation = stable_of(&w, "g", ids, 3, "range:meta roundrobin:other");
	as_by_schema(&w);
	for (int i = 0; i < 3; i++)
		leave(&w, 3, "g", ids[i], NULL);
	CU_ASSERT_EQUAL(state_of(&w, "g"), 'E');
	as_by_schema(&w); /* nobody, no protocol, no leader */
	stable_static(&w, "s", ids, 2);
	as_by_schema(&w);
	join(&w, 9, "s", "", "i0", "range:x rr:y"); /* its instance comes back */
	as_by_schema(&w);
	world_reload(&w);
	CHECK_TEXT(describe(&w, "s"), "Stable consumer range 2");
	CU_ASSERT(generation > 0);
	world_end(&w);
}

static void test_written(void)
{
	/* what a commit writes: key 1, value 3; with a retention of its own value 1 */
	struct world w;
	world_begin(&w);
	struct gcall *c = commit_call(&w, "grp", -1, "", "top/2=77");
	c->req.commit.rows[0].leader_epoch = 4;
	c->req.commit.rows[0].metadata = slice_str("x");
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	c = commit_call(&w, "grp", -1, "", "top/2=78");
	c->req.commit.retention_ms = 1000;
	groups_commit(w.g, &c->call, w.now, &w.out);
	world_take(&w);
	world_written(&w, 0);
	CU_ASSERT_EQUAL_FATAL(w.log_count, 2);
	CU_ASSERT(slice_eq(slice_make(w.log[0].key, w.log[0].key_len), slice_make("\0\1\0\3grp\0\3top\0\0\0\2", 16)));
	CU_ASSERT(slice_eq(slice_make(w.log[0].value, 14), slice_make("\0\3\0\0\0\0\0\0\0\115\0\0\0\4", 14)));
	CU_ASSERT(slice_eq(slice_make(w.log[0].value + 14, 3), slice_make("\0\1x", 3)));
	CU_ASSERT_EQUAL(be64_get(w.log[0].value + 17), (uint64_t)w.now);
	CU_ASSERT_EQUAL(w.log[0].value_len, 25);
	CU_ASSERT_EQUAL(be16_get(w.log[1].value), 1);
	CU_ASSERT_EQUAL(be64_get(w.log[1].value + w.log[1].value_len - 8), (uint64_t)w.now + 1000);
	world_end(&w);
}

UNIT_MAIN("group_records", {"golden", test_golden}, {"offset_versions", test_offset_versions}, {"group_versions", test_group_versions},
	{"old_groups_expire", test_old_groups_expire}, {"unknown", test_unknown}, {"written", test_written}, {"group_written", test_group_written}, {"group_cut", test_group_cut})
