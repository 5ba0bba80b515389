/* test_wire.c: the message codec over every message and version that the schemas describe, with fixed seeds.
 *
 * Messages are filled at random by their descriptors (also the members that a version lacks: they must be left out), encoded,
 * decoded, compared and encoded again. Input to the decoder always lies in a malloc of its exact size, so that the sanitizer
 * build sees every read outside.
 */
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/rng.h"
#include "common/wire/api.h"
#include "common/wire/cursor.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/unit/unit.h"

/* One message of any type: room for the largest struct. */
union any_message {
	uint8_t bytes[512];
	uint64_t align;
};

static size_t element_bytes(const struct wire_field *f)
{
	switch (f->type) {
	case WIRE_STRUCT:
		return f->child->size;
	case WIRE_STRING:
	case WIRE_BYTES:
		return sizeof(struct slice);
	case WIRE_BOOL:
	case WIRE_INT8:
		return 1;
	case WIRE_INT16:
	case WIRE_UINT16:
		return 2;
	case WIRE_INT32:
	case WIRE_UINT32:
		return 4;
	case WIRE_UUID:
		return 16;
	default:
		return 8;
	}
}

struct filler {
	struct rng rng;
	struct arena *arena;
	unsigned version;
	int items_max;
	size_t string_max;
};

static void fill_struct(struct filler *r, const struct wire_struct *desc, uint8_t *msg);

static struct slice random_slice(struct filler *r)
{
	size_t len = rng_below(&r->rng, rng_chance(&r->rng, 0.02) ? 400 : r->string_max + 1);
	uint8_t *p = arena_alloc(r->arena, len + 1);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_u64(&r->rng);
	return slice_make(p, len);
}

static void fill_value(struct filler *r, const struct wire_field *f, uint8_t *p)
{
	uint64_t v = rng_chance(&r->rng, 0.3) ? rng_below(&r->rng, 3) - 1 : rng_u64(&r->rng);
	struct slice s;
	switch (f->type) {
	case WIRE_STRUCT:
		fill_struct(r, f->child, p);
		break;
	case WIRE_STRING:
	case WIRE_BYTES:
	case WIRE_RECORDS:
		s = random_slice(r);
		if (!(f->flags & WIRE_ARRAY) && (f->nullable >> r->version & 1) && rng_chance(&r->rng, 0.25))
			s = (struct slice){NULL, 0};
		memcpy(p, &s, sizeof(s));
		break;
	case WIRE_BOOL:
		*p = (uint8_t)(v & 1);
		break;
	case WIRE_UUID:
		for (int i = 0; i < 16; i++)
			p[i] = rng_chance(&r->rng, 0.9) ? (uint8_t)rng_u64(&r->rng) : 0;
		break;
	default:
		memcpy(p, &v, element_bytes(f));
	}
}

static void fill_field(struct filler *r, const struct wire_field *f, uint8_t *msg)
{
	bool may_be_null = f->nullable >> r->version & 1;
	if (f->flags & WIRE_ARRAY) {
		int32_t n = (int32_t)rng_below(&r->rng, (uint64_t)r->items_max + 1);
		size_t step = element_bytes(f);
		uint8_t *items = arena_zalloc(r->arena, step * (size_t)(n + 1));
		if (may_be_null && rng_chance(&r->rng, 0.2))
			n = -1;
		for (int32_t i = 0; i < n; i++)
			fill_value(r, f, items + (size_t)i * step);
		memcpy(msg + f->pos, &items, sizeof(items));
		memcpy(msg + f->count_pos, &n, 4);
	} else if (f->flags & WIRE_POINTER) {
		uint8_t *child = rng_chance(&r->rng, 0.3) ? NULL : arena_zalloc(r->arena, f->child->size);
		if (child)
			fill_struct(r, f->child, child);
		memcpy(msg + f->pos, &child, sizeof(child));
	} else {
		fill_value(r, f, msg + f->pos);
	}
}

/* Every member gets a value, also those that r->version lacks. */
static void fill_struct(struct filler *r, const struct wire_struct *desc, uint8_t *msg)
{
	wire_init(desc, msg);
	for (unsigned i = 0; i < desc->field_count; i++)
		if (rng_chance(&r->rng, 0.85))
			fill_field(r, &desc->fields[i], msg);
}

static void fill(const struct wire_struct *desc, int version, uint64_t seed, int items_max, struct arena *a,
		 union any_message *msg)
{
	struct filler r = {.arena = a, .version = (unsigned)version, .items_max = items_max, .string_max = 6};
	ASSERT(desc->size <= sizeof(*msg));
	rng_init(&r.rng, seed);
	fill_struct(&r, desc, msg->bytes);
}

/* The bytes of a chain in a malloc of that size (at least 1). */
static uint8_t *flatten(struct chain *c, size_t *ret_len)
{
	uint8_t *p = malloc(c->bytes ? c->bytes : 1);
	ASSERT(p);
	*ret_len = c->bytes;
	chain_flatten(c, p);
	chain_clear(c);
	return p;
}

static uint8_t *encode(const struct wire_struct *desc, int version, const void *msg, size_t *ret_len)
{
	struct chain c;
	chain_init(&c);
	wire_encode(desc, (int16_t)version, msg, &c);
	return flatten(&c, ret_len);
}

static int decode(const struct wire_struct *desc, int version, const uint8_t *p, size_t len, struct arena *a,
		  union any_message *msg)
{
	struct slice in = slice_make(p, len);
	memset(msg, 0xa5, sizeof(*msg));
	int err = wire_decode(desc, (int16_t)version, &in, a, msg);
	return err ? err : in.len ? 1 : 0;
}

/* Members that the version lacks hold what a fresh message holds. */
static bool absent_are_default(const struct wire_struct *desc, int version, const uint8_t *msg)
{
	union any_message fresh;
	wire_init(desc, &fresh);
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->versions >> version & 1)
			continue;
		if (f->flags & WIRE_ARRAY) {
			if (memcmp(msg + f->pos, fresh.bytes + f->pos, 8) || memcmp(msg + f->count_pos, fresh.bytes + f->count_pos, 4))
				return false;
		} else if (f->type == WIRE_STRING || f->type == WIRE_BYTES || f->type == WIRE_RECORDS) {
			struct slice s, d;
			memcpy(&s, msg + f->pos, sizeof(s));
			memcpy(&d, fresh.bytes + f->pos, sizeof(d));
			if (s.len || !s.ptr != !d.ptr)
				return false;
		} else if (f->type != WIRE_STRUCT && memcmp(msg + f->pos, fresh.bytes + f->pos, element_bytes(f))) {
			return false;
		}
	}
	return true;
}

#define FOR_ALL(desc, v) \
	for (size_t m_ = 0; m_ < kp_message_count; m_++) \
		for (int v = 0; v < 32; v++) \
			for (const struct wire_struct *desc = kp_messages[m_]; desc && wire_has_version(desc, v); desc = NULL)

static void test_round_trip(void)
{
	struct arena a = {0};
	size_t pairs = 0, bad = 0;
	FOR_ALL(desc, v) {
		pairs++;
		for (uint64_t seed = 0; seed < 12; seed++) {
			union any_message x, y;
			size_t len, again_len;
			fill(desc, v, seed * 1000 + (uint64_t)v, 3, &a, &x);
			uint8_t *bytes = encode(desc, v, &x, &len);
			int err = decode(desc, v, bytes, len, &a, &y);
			bool same = err == 0 && wire_size(desc, (int16_t)v, &x) == len && wire_equal(desc, (int16_t)v, &x, &y) &&
				    absent_are_default(desc, v, y.bytes);
			uint8_t *again = same ? encode(desc, v, &y, &again_len) : NULL;
			if (!same || again_len != len || memcmp(bytes, again, len)) {
				fprintf(stderr, "%s v%d seed %d: err %d\n", desc->name, v, (int)seed, err);
				bad++;
			}
			free(again);
			free(bytes);
			arena_reset(&a);
		}
	}
	CU_ASSERT_EQUAL(bad, 0);
	CU_ASSERT(pairs > 600);
	arena_fini(&a);
}

static void test_truncation(void)
{
	struct arena a = {0};
	size_t bad = 0;
	FOR_ALL(desc, v) {
		union any_message x, y;
		size_t len;
		fill(desc, v, 77, 2, &a, &x);
		uint8_t *bytes = encode(desc, v, &x, &len);
		for (size_t cut = 0; cut < len && cut < 600; cut++) {
			uint8_t *part = malloc(cut ? cut : 1);
			memcpy(part, bytes, cut);
			if (decode(desc, v, part, cut, &a, &y) != ERR_CORRUPT) {
				fprintf(stderr, "%s v%d cut at %zu of %zu\n", desc->name, v, cut, len);
				bad++;
			}
			free(part);
		}
		free(bytes);
		arena_reset(&a);
	}
	CU_ASSERT_EQUAL(bad, 0);
	arena_fini(&a);
}

/* Damaged messages: anything but a read outside, and memory within the promise. What decodes encodes to something equal. */
static void test_damage(void)
{
	struct arena a = {0};
	struct rng rng;
	size_t bad = 0;
	rng_init(&rng, 4711);
	FOR_ALL(desc, v) {
		for (int round = 0; round < 12; round++) {
			union any_message x, y, z;
			size_t len, len2;
			fill(desc, v, (uint64_t)round, 4, &a, &x);
			uint8_t *bytes = encode(desc, v, &x, &len);
			for (uint64_t n = rng_below(&rng, 6); len && n < 6; n++)
				bytes[rng_below(&rng, len)] = (uint8_t)(rng_chance(&rng, 0.3) ? 0xff : rng_u64(&rng));
			arena_reset(&a);
			int err = decode(desc, v, bytes, len, &a, &y);
			if (a.bytes_used > WIRE_MEMORY_FACTOR * (len + 16))
				bad++;
			if (err >= 0) {
				uint8_t *bytes2 = encode(desc, v, &y, &len2);
				if (decode(desc, v, bytes2, len2, &a, &z) != 0 || !wire_equal(desc, (int16_t)v, &y, &z))
					bad++;
				free(bytes2);
			}
			free(bytes);
			arena_reset(&a);
		}
	}
	CU_ASSERT_EQUAL(bad, 0);
	arena_fini(&a);
}

/* Input made of nothing but counts, in all sizes of lie: memory stays within the factor of the header. */
static void test_memory_bound(void)
{
	static const uint8_t patterns[][4] = {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {0, 0, 1, 0}, {0, 0, 0, 1}, {0xff, 0xff, 1, 0},
					      {0x80, 0x40, 1, 1}, {1, 0x7f, 1, 1}, {0, 0, 0x20, 0}, {2, 0, 0x40, 0}, {0xff, 0x3f, 1, 1}};
	enum { LEN = 40000 };
	uint8_t *bytes = malloc(LEN);
	size_t worst = 0;
	struct arena a = {0};
	for (size_t k = 0; k < ARRAY_LEN(patterns); k++) {
		for (size_t start = 0; start < 24; start++) {
			memset(bytes, 0, LEN);
			for (size_t i = start; i < LEN; i++)
				bytes[i] = patterns[k][i % 4];
			FOR_ALL(desc, v) {
				if (!wire_has_version(desc, v + 1) || k % 4 == start % 4) {
					union any_message y;
					(void)decode(desc, v, bytes, LEN, &a, &y);
					worst = a.bytes_used > worst ? a.bytes_used : worst;
					arena_reset(&a);
				}
			}
		}
	}
	CU_ASSERT(worst <= (size_t)WIRE_MEMORY_FACTOR * LEN);
	free(bytes);
	arena_fini(&a);
}

/* The same by the descriptors: bytes in C per byte on the wire, for each element of an array. */
static double worst_ratio(const struct wire_struct *desc)
{
	double worst = 1;
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->type == WIRE_STRING && (f->flags & WIRE_ARRAY) && worst < 16)
			worst = 16;
		if (f->type != WIRE_STRUCT)
			continue;
		for (int v = 0; v < 32; v++) {
			if (!(f->versions >> v & 1) || !(f->flags & (WIRE_ARRAY | WIRE_POINTER)))
				continue;
			double r = (double)f->child->size / (f->child->min_bytes[v] + (f->flags & WIRE_POINTER ? 1 : 0));
			worst = r > worst ? r : worst;
		}
		double below = worst_ratio(f->child);
		worst = below > worst ? below : worst;
	}
	return worst;
}

static void test_memory_ratio(void)
{
	for (size_t i = 0; i < kp_message_count; i++)
		CU_ASSERT(worst_ratio(kp_messages[i]) * 3 <= WIRE_MEMORY_FACTOR);
}

static int decode_hex(const struct wire_struct *desc, int version, const char *hex, struct arena *a, union any_message *msg)
{
	size_t len = strlen(hex) / 2;
	uint8_t *bytes = malloc(len + 1);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)strtoul((char[]){hex[2 * i], hex[2 * i + 1], 0}, NULL, 16);
	/* leaks nothing that the message borrows: the arena keeps the copy */
	uint8_t *kept = (uint8_t *)arena_strndup(a, (char *)bytes, len);
	free(bytes);
	return decode(desc, version, kept, len, a, msg);
}

static void test_huge_counts(void)
{
	struct arena a = {0};
	union any_message m;
	static const char *const metadata_v0[] = {"7fffffff", "7fffffff0000", "000000020000", "80000000", "fffffffe", "ffffffff"};
	for (size_t i = 0; i < ARRAY_LEN(metadata_v0); i++) {
		CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 0, metadata_v0[i], &a, &m), ERR_CORRUPT);
		CU_ASSERT(a.bytes_used < 64);
		arena_reset(&a);
	}
	/* compact: 2^32-1 topics, a length of 6 bytes, a name of 2^31 bytes */
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 9, "ffffffff0f00000000", &a, &m), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 9, "ffffffffff0100000000", &a, &m), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 9, "028080808008000000", &a, &m), ERR_CORRUPT);
	/* a name above 32767 bytes that is there */
	uint8_t *big = calloc(1, 40100);
	uint8_t *p = put_uvarint(put_uvarint(big, 2), 40001);
	CU_ASSERT_EQUAL(decode(&kp_metadata_request_desc, 9, big, (size_t)(p - big) + 40000 + 5, &a, &m), ERR_CORRUPT);
	free(big);
	/* fetch v4: one topic whose partition count lies */
	const char *fetch_v4 = "ffffffff00000000000000000000000000" "00000001" "000161" "7fffffff";
	CU_ASSERT_EQUAL(decode_hex(&kp_fetch_request_desc, 4, fetch_v4, &a, &m), ERR_CORRUPT);
	/* a count that could be true (900 elements of 3 bytes, 64 in memory) but is not: paid for as elements decode */
	arena_reset(&a);
	uint8_t lie[3000];
	memset(lie, 0, 6);
	memset(put_uvarint(lie + 6, 901), 0xff, sizeof(lie) - 8);
	CU_ASSERT_EQUAL(decode(&kp_list_groups_response_desc, 3, lie, sizeof(lie), &a, &m), ERR_CORRUPT);
	CU_ASSERT(a.bytes_used <= WIRE_ARRAY_HEADROOM * sizeof(lie) + sizeof(struct kp_list_groups_response_groups));
	arena_fini(&a);
}

static void test_arena_limit(void)
{
	union any_message x, y;
	struct arena a = {0}, small;
	size_t len;
	fill(&kp_fetch_request_desc, 11, 5, 8, &a, &x);
	((struct kp_fetch_request *)&x)->topics_count = 0;
	struct kp_fetch_request_topics topics[50];
	for (int i = 0; i < 50; i++)
		kp_fetch_request_topics_init(&topics[i]);
	((struct kp_fetch_request *)&x)->topics = topics;
	((struct kp_fetch_request *)&x)->topics_count = 50;
	uint8_t *bytes = encode(&kp_fetch_request_desc, 11, &x, &len);
	arena_init(&small, 100);
	CU_ASSERT_EQUAL(decode(&kp_fetch_request_desc, 11, bytes, len, &small, &y), ERR_LIMIT);
	struct kp_fetch_request *f = (struct kp_fetch_request *)&y;
	CU_ASSERT_EQUAL(f->topics_count, 0); /* defaults after an error */
	CU_ASSERT_EQUAL(f->replica_id, -1);
	arena_fini(&small);
	arena_init(&small, 100000);
	CU_ASSERT_EQUAL(decode(&kp_fetch_request_desc, 11, bytes, len, &small, &y), 0);
	arena_fini(&small);
	arena_fini(&a);
	free(bytes);
}

/* A message of defaults ends with an empty tag section in every flexible version: put others in its place. */
static int decode_with_tags(const struct wire_struct *desc, int v, const void *tags, size_t tags_len, struct arena *a)
{
	union any_message x, y;
	size_t len;
	wire_init(desc, &x);
	uint8_t *bytes = encode(desc, v, &x, &len);
	CU_ASSERT_EQUAL(bytes[len - 1], 0);
	bytes = realloc(bytes, len - 1 + tags_len);
	memcpy(bytes + len - 1, tags, tags_len);
	int err = decode(desc, v, bytes, len - 1 + tags_len, a, &y);
	if (!err && !wire_equal(desc, (int16_t)v, &x, &y))
		err = 2;
	free(bytes);
	return err;
}

static void test_unknown_tags(void)
{
	static const uint8_t two[] = {2, 0x64, 3, 'a', 'b', 'c', 0xff, 0x7f, 0}, twice[] = {2, 0x64, 0, 0x64, 0},
			     order[] = {2, 0x64, 0, 0x63, 0},
			     long_one[] = {1, 0x64, 4, 'a', 'b', 'c'}, missing[] = {2, 0x64, 0}, many[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0x64, 0};
	struct arena a = {0};
	FOR_ALL(desc, v) {
		if (!(desc->flexible >> v & 1))
			continue;
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, two, sizeof(two), &a), 0);
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, twice, sizeof(twice), &a), ERR_CORRUPT);
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, order, sizeof(order), &a), ERR_CORRUPT);
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, long_one, sizeof(long_one), &a), ERR_CORRUPT);
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, missing, sizeof(missing), &a), ERR_CORRUPT);
		CU_ASSERT_EQUAL(decode_with_tags(desc, v, many, sizeof(many), &a), ERR_CORRUPT);
		arena_reset(&a);
	}
	/* a known tag (fetch v15, replica_state: two numbers and a tag section = 13 bytes) has to be used up and no more */
	uint8_t whole[16] = {1, 1, 13}, longer[17] = {1, 1, 14}, shorter[15] = {1, 1, 12};
	memset(whole + 3, 0xff, 12);
	memset(longer + 3, 0xff, 12);
	memset(shorter + 3, 0xff, 12);
	CU_ASSERT_EQUAL(decode_with_tags(&kp_fetch_request_desc, 15, whole, sizeof(whole), &a), 0); /* -1, -1 are the defaults */
	CU_ASSERT_EQUAL(decode_with_tags(&kp_fetch_request_desc, 15, longer, sizeof(longer), &a), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_with_tags(&kp_fetch_request_desc, 15, shorter, sizeof(shorter), &a), ERR_CORRUPT);
	arena_fini(&a);
}

static void test_tagged_values(void)
{
	struct kp_fetch_request x, *y;
	union any_message m;
	struct arena a = {0};
	size_t len, plain;
	kp_fetch_request_init(&x);
	free(encode(&kp_fetch_request_desc, 17, &x, &plain));
	x.cluster_id = slice_str("");
	x.replica_state.replica_epoch = 7;
	uint8_t *bytes = encode(&kp_fetch_request_desc, 17, &x, &len);
	CU_ASSERT_EQUAL(len, plain + 3 + 15); /* tag 0: number, size, length 0+1; tag 1: number, size, 4 + 8 + 1 */
	CU_ASSERT_EQUAL(bytes[plain - 1], 2);
	CU_ASSERT_EQUAL(decode(&kp_fetch_request_desc, 17, bytes, len, &a, &m), 0);
	y = (struct kp_fetch_request *)&m;
	CU_ASSERT(y->cluster_id.ptr != NULL && y->cluster_id.len == 0);
	CU_ASSERT_EQUAL(y->replica_state.replica_id, -1);
	CU_ASSERT_EQUAL(y->replica_state.replica_epoch, 7);
	CU_ASSERT_EQUAL(y->replica_id, -1); /* not in 17 */
	free(bytes);
	arena_fini(&a);
}

static void test_null_rules(void)
{
	struct arena a = {0};
	union any_message m;
	size_t len;
	struct kp_metadata_request *md = (struct kp_metadata_request *)&m;
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 1, "ffffffff", &a, &m), 0);
	CU_ASSERT_EQUAL(md->topics_count, -1);
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 0, "ffffffff", &a, &m), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 1, "fffffffe", &a, &m), ERR_CORRUPT);
	/* topic name: no null before 10 */
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 1, "00000001ffff", &a, &m), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_hex(&kp_metadata_request_desc, 9, "0200000000000000", &a, &m), ERR_CORRUPT);
	/* find coordinator: an element of an array of strings is never null */
	CU_ASSERT_EQUAL(decode_hex(&kp_find_coordinator_request_desc, 4, "000200" "00", &a, &m), ERR_CORRUPT);
	CU_ASSERT_EQUAL(decode_hex(&kp_find_coordinator_request_desc, 4, "000201" "00", &a, &m), 0);
	CU_ASSERT(((struct kp_find_coordinator_request *)&m)->coordinator_keys[0].ptr != NULL);
	/* nulls of ours where the version has none go out as empty: zeroed structs are safe to send */
	FOR_ALL(desc, v) {
		union any_message zero = {{0}}, y;
		for (unsigned i = 0; i < desc->field_count; i++)
			if (desc->fields[i].flags & WIRE_ARRAY)
				memcpy(zero.bytes + desc->fields[i].count_pos, &(int32_t){-1}, 4);
		uint8_t *bytes = encode(desc, v, &zero, &len);
		CU_ASSERT_EQUAL(decode(desc, v, bytes, len, &a, &y), 0);
		CU_ASSERT(wire_equal(desc, (int16_t)v, &zero, &y));
		free(bytes);
	}
	/* a nullable struct: consumer group heartbeat response */
	struct kp_consumer_group_heartbeat_response hb;
	struct kp_consumer_group_heartbeat_response_assignment as;
	kp_consumer_group_heartbeat_response_init(&hb);
	CU_ASSERT(hb.assignment == NULL);
	kp_consumer_group_heartbeat_response_assignment_init(&as);
	hb.assignment = &as;
	uint8_t *bytes = encode(&kp_consumer_group_heartbeat_response_desc, 0, &hb, &len);
	CU_ASSERT_EQUAL(decode(&kp_consumer_group_heartbeat_response_desc, 0, bytes, len, &a, &m), 0);
	CU_ASSERT(((struct kp_consumer_group_heartbeat_response *)&m)->assignment != NULL);
	free(bytes);
	arena_fini(&a);
}

static void test_defaults(void)
{
	struct arena a = {0};
	union any_message m;
	struct kp_fetch_request *f = (struct kp_fetch_request *)&m;
	const char *fetch_v0 = "000000010000000200000003" "00000001" "000161" "00000001" "00000005" "0000000000000006" "00000007";
	CU_ASSERT_EQUAL(decode_hex(&kp_fetch_request_desc, 0, fetch_v0, &a, &m), 0);
	CU_ASSERT_EQUAL(f->replica_id, 1);
	CU_ASSERT_EQUAL(f->max_bytes, 2147483647);
	CU_ASSERT_EQUAL(f->session_epoch, -1);
	CU_ASSERT(f->cluster_id.ptr == NULL && f->rack_id.ptr != NULL);
	CU_ASSERT_EQUAL(f->topics_count, 1);
	CU_ASSERT(slice_eq_str(f->topics[0].topic, "a"));
	CU_ASSERT_EQUAL(f->topics[0].partitions_count, 1);
	CU_ASSERT_EQUAL(f->topics[0].partitions[0].fetch_offset, 6);
	CU_ASSERT_EQUAL(f->topics[0].partitions[0].partition_max_bytes, 7);
	CU_ASSERT_EQUAL(f->topics[0].partitions[0].high_watermark, INT64_MAX);
	CU_ASSERT_EQUAL(f->topics[0].partitions[0].current_leader_epoch, -1);
	/* the generated X_init and the interpreter agree */
	struct kp_fetch_request x;
	kp_fetch_request_init(&x);
	wire_init(&kp_fetch_request_desc, &m);
	CU_ASSERT(wire_equal(&kp_fetch_request_desc, 0, &x, &m) && wire_equal(&kp_fetch_request_desc, 18, &x, &m));
	struct kp_create_topics_response_topics t;
	kp_create_topics_response_topics_init(&t);
	CU_ASSERT_EQUAL(t.num_partitions, -1);
	CU_ASSERT_EQUAL(t.replication_factor, -1);
	CU_ASSERT_EQUAL(decode(&kp_fetch_request_desc, 19, (const uint8_t *)"", 0, &a, &m), ERR_UNSUPPORTED);
	CU_ASSERT_EQUAL(decode(&kp_fetch_request_desc, -1, (const uint8_t *)"", 0, &a, &m), ERR_UNSUPPORTED);
	arena_fini(&a);
}

static void test_zero_copy(void)
{
	uint8_t payload[3000];
	for (size_t i = 0; i < sizeof(payload); i++)
		payload[i] = (uint8_t)i;
	for (int v = 0; v <= 17; v++) {
		struct kp_fetch_response_responses_partitions parts[3];
		struct kp_fetch_response_responses topic;
		struct kp_fetch_response x;
		struct chain records, out;
		struct arena a = {0};
		union any_message m;
		size_t plain_len, len;
		for (int i = 0; i < 3; i++) {
			kp_fetch_response_responses_partitions_init(&parts[i]);
			parts[i].records.bytes = slice_make(payload + i, (size_t)i * 1400);
		}
		kp_fetch_response_responses_init(&topic);
		topic.topic = slice_str("t");
		topic.partitions = parts;
		topic.partitions_count = 3;
		kp_fetch_response_init(&x);
		x.responses = &topic;
		x.responses_count = 1;
		uint8_t *plain = encode(&kp_fetch_response_desc, v, &x, &plain_len);
		/* the same with the middle one as a chain of two pieces of one buffer */
		struct buf *b = buf_copy(payload + 1, 1400);
		chain_init(&records);
		chain_add_buf(&records, buf_ref(b), 0, 900);
		chain_add_copy(&records, payload + 901, 500);
		parts[1].records = (struct wire_records){{NULL, 0}, &records};
		CU_ASSERT_EQUAL(wire_size(&kp_fetch_response_desc, (int16_t)v, &x), plain_len);
		chain_init(&out);
		wire_encode(&kp_fetch_response_desc, (int16_t)v, &x, &out);
		CU_ASSERT_EQUAL(records.bytes, 0);
		CU_ASSERT(records.head == NULL);
		bool shares = false;
		for (struct chain_item *it = out.head; it; it = it->next)
			shares |= it->buf == b;
		CU_ASSERT(shares);
		uint8_t *moved = flatten(&out, &len);
		CU_ASSERT(len == plain_len && memcmp(moved, plain, len) == 0);
		CU_ASSERT_EQUAL(decode(&kp_fetch_response_desc, v, moved, len, &a, &m), 0);
		struct slice r = ((struct kp_fetch_response *)&m)->responses[0].partitions[2].records.bytes;
		CU_ASSERT(r.ptr >= moved && r.ptr + r.len <= moved + len && r.len == 2800);
		buf_unref(b);
		free(moved);
		free(plain);
		arena_fini(&a);
	}
}

static void test_long_string(void)
{
	struct kp_find_coordinator_request x;
	union any_message m;
	struct arena a = {0};
	char *text = calloc(1, 40000);
	memset(text, 'k', 39999);
	for (int v = 0; v <= 3; v += 3) {
		size_t len;
		kp_find_coordinator_request_init(&x);
		x.key = slice_str(text);
		uint8_t *bytes = encode(&kp_find_coordinator_request_desc, v, &x, &len);
		CU_ASSERT_EQUAL(decode(&kp_find_coordinator_request_desc, v, bytes, len, &a, &m), 0);
		CU_ASSERT_EQUAL(((struct kp_find_coordinator_request *)&m)->key.len, WIRE_STRING_MAX);
		free(bytes);
	}
	free(text);
	arena_fini(&a);
}

static void test_cursor(void)
{
	static const int64_t values[] = {0,    1,    -1,	 63,	   64,		 -64,	    -65,       127,
					 128,  8191, 8192, INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN};
	uint8_t b[16];
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		int64_t v = values[i];
		size_t n = (size_t)(put_varlong(b, v) - b);
		struct cursor c = cursor_make(slice_make(b, n));
		CU_ASSERT_EQUAL(cursor_varlong(&c), v);
		CU_ASSERT(!c.bad && cursor_left(&c) == 0 && varlong_size(v) == n);
		c = cursor_make(slice_make(b, n - 1));
		CU_ASSERT_EQUAL(cursor_varlong(&c), 0);
		CU_ASSERT_EQUAL(cursor_err(&c), ERR_CORRUPT);
		if (v < INT32_MIN || v > INT32_MAX)
			continue;
		n = (size_t)(put_varint(b, (int32_t)v) - b);
		c = cursor_make(slice_make(b, n));
		CU_ASSERT_EQUAL(cursor_varint(&c), v);
		CU_ASSERT(cursor_err(&c) == 0 && varint_size((int32_t)v) == n);
	}
	/* too long, too large */
	static const uint8_t over32[] = {0xff, 0xff, 0xff, 0xff, 0x1f}, six[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0},
			     over64[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2};
	struct cursor c = cursor_make(slice_make(over32, sizeof(over32)));
	CU_ASSERT_EQUAL(cursor_uvarint(&c), 0);
	CU_ASSERT(c.bad);
	c = cursor_make(slice_make(six, sizeof(six)));
	CU_ASSERT_EQUAL(cursor_uvarint(&c), 0);
	CU_ASSERT(c.bad);
	c = cursor_make(slice_make(over64, sizeof(over64)));
	CU_ASSERT_EQUAL(cursor_uvarlong(&c), 0);
	CU_ASSERT(c.bad);
	/* the error sticks */
	c = cursor_make(slice_make("\0\1\2", 3));
	CU_ASSERT_EQUAL(cursor_i32(&c), 0);
	CU_ASSERT_EQUAL(cursor_i8(&c), 0);
	CU_ASSERT(cursor_bytes(&c, 0).len == 0 && c.bad);
	/* strings: null, empty, short, negative */
	c = cursor_make(slice_make("\xff\xff\0\0\0\1a", 7));
	CU_ASSERT(cursor_string(&c, true).ptr == NULL && !c.bad);
	CU_ASSERT(cursor_string(&c, false).ptr != NULL && !c.bad);
	CU_ASSERT(slice_eq_str(cursor_string(&c, false), "a"));
	CU_ASSERT(cursor_err(&c) == 0 && cursor_left(&c) == 0);
	c = cursor_make(slice_make("\xff\xff", 2));
	CU_ASSERT(cursor_string(&c, false).ptr == NULL && c.bad);
	c = cursor_make(slice_make("\xff\xff\xff\xfe", 4));
	CU_ASSERT(cursor_bytes32(&c, true).ptr == NULL && c.bad);
	c = cursor_make((struct slice){NULL, 0});
	CU_ASSERT_EQUAL(cursor_u8(&c), 0);
	CU_ASSERT(c.bad);
}

static void test_headers(void)
{
	static const uint8_t v1[] = {0, 3, 0, 4, 0, 0, 0, 9, 0, 1, 'c', 0xee}, shutdown_v0[] = {0, 7, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1},
			     v2[] = {0, 3, 0, 12, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 1, 0, 0xee}, unknown[] = {0x12, 0x34, 0, 0, 0, 0, 0, 9, 0, 1, 'c'},
			     too_new[] = {0, 18, 0, 99, 0, 0, 0, 9, 0, 9, 'c'}, short_client[] = {0, 3, 0, 4, 0, 0, 0, 9, 0, 5, 'c'};
	struct wire_request_header h;
	struct slice in = slice_make(v1, sizeof(v1));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), 0);
	CU_ASSERT(h.api_key == 3 && h.api_version == 4 && h.correlation_id == 9 && slice_eq_str(h.client_id, "c") && in.len == 1);
	in = slice_make(shutdown_v0, sizeof(shutdown_v0));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), 0);
	CU_ASSERT(h.client_id.ptr == NULL && in.len == 4);
	in = slice_make(v2, sizeof(v2));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), 0);
	CU_ASSERT(h.client_id.ptr == NULL && in.len == 1 && *in.ptr == 0xee);
	in = slice_make(unknown, sizeof(unknown));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), ERR_UNSUPPORTED);
	CU_ASSERT(h.api_key == 0x1234 && h.correlation_id == 9 && slice_eq_str(h.client_id, "c") && in.len == sizeof(unknown));
	in = slice_make(too_new, sizeof(too_new));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), ERR_UNSUPPORTED);
	CU_ASSERT(h.api_key == 18 && h.api_version == 99 && h.client_id.ptr == NULL);
	in = slice_make(short_client, sizeof(short_client));
	CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), ERR_CORRUPT);
	CU_ASSERT_EQUAL(h.correlation_id, 9);
	for (size_t len = 0; len < 8; len++) {
		in = slice_make(v1, len);
		CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), ERR_CORRUPT);
	}
}

static void test_frames(void)
{
	struct arena a = {0};
	for (size_t i = 0; i < wire_api_count(); i++) {
		const struct wire_api *api = wire_api_at(i);
		for (int16_t v = api->min_version; v <= api->max_version; v++) {
			union any_message x, y;
			struct wire_request_header h;
			struct chain c;
			size_t len;
			int32_t correlation_id;
			chain_init(&c);
			fill(api->request, v, 3, 2, &a, &x);
			wire_request_encode(api, v, 1234567, slice_str("cl"), &x, &c);
			uint8_t *bytes = flatten(&c, &len);
			CU_ASSERT_EQUAL(be32_get(bytes), len - 4);
			struct slice in = slice_make(bytes + 4, len - 4);
			CU_ASSERT_EQUAL(wire_request_header_decode(&in, &h), 0);
			CU_ASSERT(h.api_key == api->key && h.api_version == v && h.correlation_id == 1234567);
			CU_ASSERT(api->key == KP_API_CONTROLLED_SHUTDOWN && v == 0 ? !h.client_id.ptr : slice_eq_str(h.client_id, "cl"));
			CU_ASSERT(wire_decode(api->request, v, &in, &a, &y) == 0 && in.len == 0 && wire_equal(api->request, v, &x, &y));
			free(bytes);
			fill(api->response, v, 4, 2, &a, &x);
			wire_response_encode(api, v, -5, &x, &c);
			bytes = flatten(&c, &len);
			CU_ASSERT_EQUAL(be32_get(bytes), len - 4);
			in = slice_make(bytes + 4, len - 4);
			CU_ASSERT_EQUAL(wire_response_header_decode(api, v, &in, &correlation_id), 0);
			CU_ASSERT_EQUAL(correlation_id, -5);
			CU_ASSERT(wire_decode(api->response, v, &in, &a, &y) == 0 && in.len == 0 && wire_equal(api->response, v, &x, &y));
			free(bytes);
			arena_reset(&a);
		}
	}
	arena_fini(&a);
}

static void test_apis(void)
{
	CU_ASSERT_EQUAL(wire_api_count(), 62);
	CU_ASSERT(wire_api_find(-1) == NULL && wire_api_find(INT16_MAX) == NULL && wire_api_find(INT16_MIN) == NULL);
	CU_ASSERT(wire_api_find(52) == NULL && wire_api_find(70) == NULL);
	for (size_t i = 0; i < wire_api_count(); i++) {
		const struct wire_api *api = wire_api_at(i);
		CU_ASSERT(wire_api_find(api->key) == api);
		CU_ASSERT(i == 0 || wire_api_at(i - 1)->key < api->key);
		for (int16_t v = 0; v <= api->max_version; v++) {
			bool flexible = api->request->flexible >> v & 1;
			CU_ASSERT_EQUAL(flexible, api->first_flexible_version >= 0 && v >= api->first_flexible_version);
			CU_ASSERT_EQUAL(wire_response_header_version(api, v), flexible && api->key != KP_API_API_VERSIONS);
			if (!(api->key == KP_API_CONTROLLED_SHUTDOWN && v == 0))
				CU_ASSERT_EQUAL(wire_request_header_version(api, v), flexible ? 2 : 1);
		}
	}
	CU_ASSERT_STRING_EQUAL(wire_api_find(KP_API_LIST_OFFSETS)->name, "ListOffsets");
	CU_ASSERT_EQUAL(wire_request_header_version(wire_api_find(KP_API_CONTROLLED_SHUTDOWN), 0), 0);
}

static void test_error_codes(void)
{
	CU_ASSERT_STRING_EQUAL(kerr_name(KERR_UNKNOWN_SERVER_ERROR), "UNKNOWN_SERVER_ERROR");
	CU_ASSERT_STRING_EQUAL(kerr_name(0), "NONE");
	CU_ASSERT_STRING_EQUAL(kerr_name(3), "UNKNOWN_TOPIC_OR_PARTITION");
	CU_ASSERT_STRING_EQUAL(kerr_name(1000), "UNKNOWN_ERROR_CODE");
	CU_ASSERT_STRING_EQUAL(kerr_name(INT16_MIN), "UNKNOWN_ERROR_CODE");
	CU_ASSERT(kerr_retriable(KERR_NOT_LEADER_OR_FOLLOWER) && !kerr_retriable(KERR_MESSAGE_TOO_LARGE) && !kerr_retriable(INT16_MAX));
	CU_ASSERT(kerr_known(-1) && kerr_known(KERR_FENCED_LEADER_EPOCH) && !kerr_known(-2) && !kerr_known(INT16_MAX));
	CU_ASSERT(strlen(kerr_message(KERR_NOT_ENOUGH_REPLICAS)) > 10);
	CU_ASSERT_STRING_EQUAL(kerr_message(-99), "");
	for (int16_t c = -1; c < 134; c++)
		CU_ASSERT(kerr_known(c));
}

UNIT_MAIN("wire", {"cursor", test_cursor}, {"round_trip", test_round_trip}, {"truncation", test_truncation},
	  {"damage", test_damage},
	  {"memory_bound", test_memory_bound}, {"memory_ratio", test_memory_ratio}, {"huge_counts", test_huge_counts},
	  {"arena_limit", test_arena_limit}, {"unknown_tags", test_unknown_tags}, {"tagged_values", test_tagged_values},
	  {"null_rules", test_null_rules}, {"defaults", test_defaults}, {"zero_copy", test_zero_copy}, {"long_string", test_long_string},
	  {"headers", test_headers}, {"frames", test_frames}, {"apis", test_apis}, {"error_codes", test_error_codes})
