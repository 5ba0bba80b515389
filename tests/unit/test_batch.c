/* test_batch.c: what a leader refuses and why; patching; every prefix and every flipped bit of a batch. */
#include <stdio.h>
#include <string.h>

#include "brokerd/log/downconvert.h"
#include "brokerd/log/record.h"
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/compress/compress.h"
#include "tests/unit/log_util.h"
#include "tests/unit/unit.h"

static struct batch_limits limits(void)
{
	return (struct batch_limits){.bytes_max = 1 << 20, .now_ms = 1700000000000, .before_max_ms = INT64_MAX, .after_max_ms = INT64_MAX,
		.produce_version = 9, .decompressed_max = 1 << 24};
}

static struct batch got;
static struct batch_verdict v;

static int check_bytes(const struct buf *b, size_t len, const struct batch_limits *lim)
{
	/* a copy of exact size: reading past the end is seen by the sanitizer */
	uint8_t *exact = mem_alloc(len ? len : 1);
	memcpy(exact, b->data, len);
	batch_validate(slice_make(exact, len), lim, &got, &v);
	mem_free(exact);
	return v.err;
}

static int check(struct tw_batch spec, const struct batch_limits *lim)
{
	size_t len;
	struct buf *b = tw_batch(spec, &len);
	int err = check_bytes(b, len, lim);
	buf_unref(b);
	return err;
}

static void test_good(void)
{
	struct batch_limits lim = limits();

	for (int codec = 0; codec < 5; codec++)
		for (int n = 1; n < 300; n += 37) {
			CU_ASSERT_EQUAL(check(TW_BATCH(.codec = codec, .count = n, .value_bytes = 100, .timestamp_step = 3), &lim), 0);
			CU_ASSERT_EQUAL(got.record_count, n);
			CU_ASSERT_EQUAL(v.max_timestamp, 1700000000000 + 3 * (n - 1));
			CU_ASSERT_EQUAL(v.max_timestamp_offset_delta, n - 1);
		}
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = -5), &lim), 0);
	CU_ASSERT_EQUAL(v.max_timestamp, 1700000000000);
	CU_ASSERT_EQUAL(v.max_timestamp_offset_delta, 0);
	CU_ASSERT_EQUAL(check(TW_BATCH(.producer_id = 5, .base_sequence = 0, .null_keys = true), &lim), 0);
}

typedef void change(uint8_t *p, size_t *len);
static void c_size(uint8_t *p, size_t *len) { be32_put(p + 8, be32_get(p + 8) + 1); }
static void c_huge(uint8_t *p, size_t *len) { be32_put(p + 8, 0x7ffffff0); }
static void c_negative(uint8_t *p, size_t *len) { be32_put(p + 8, 0x80000000); }
static void c_small(uint8_t *p, size_t *len) { be32_put(p + 8, 20); }
static void c_base(uint8_t *p, size_t *len) { be64_put(p, 5); }
static void c_magic0(uint8_t *p, size_t *len) { p[16] = 0; }
static void c_magic1(uint8_t *p, size_t *len) { p[16] = 1; }
static void c_magic3(uint8_t *p, size_t *len) { p[16] = 3; }
static void c_crc(uint8_t *p, size_t *len) { p[70] ^= 1; }
static void c_crc_field(uint8_t *p, size_t *len) { p[17] ^= 1; }
static void c_codec(uint8_t *p, size_t *len) { p[22] = 5; tw_fix_crc(p, *len); }
static void c_count0(uint8_t *p, size_t *len) { be32_put(p + 57, 0); tw_fix_crc(p, *len); }
static void c_count_up(uint8_t *p, size_t *len) { be32_put(p + 57, 4); tw_fix_crc(p, *len); }
static void c_both_up(uint8_t *p, size_t *len) { be32_put(p + 57, 4); be32_put(p + 23, 3); tw_fix_crc(p, *len); }
static void c_both_down(uint8_t *p, size_t *len) { be32_put(p + 57, 2); be32_put(p + 23, 1); tw_fix_crc(p, *len); }
static void c_both_huge(uint8_t *p, size_t *len) { be32_put(p + 57, 0x7fffffff); be32_put(p + 23, 0x7ffffffe); tw_fix_crc(p, *len); }
static void c_delta(uint8_t *p, size_t *len) { be32_put(p + 23, 0xffffffff); tw_fix_crc(p, *len); }
static void c_delta_up(uint8_t *p, size_t *len) { be32_put(p + 23, 7); tw_fix_crc(p, *len); } /* offsets that no record has */
static void c_control(uint8_t *p, size_t *len) { p[22] |= 32; tw_fix_crc(p, *len); }
static void c_pid(uint8_t *p, size_t *len) { be64_put(p + 43, 9); tw_fix_crc(p, *len); }
static void c_record(uint8_t *p, size_t *len) { p[61] += 2; tw_fix_crc(p, *len); }
static void c_offset(uint8_t *p, size_t *len) { p[64] += 2; tw_fix_crc(p, *len); }
static void c_tail(uint8_t *p, size_t *len) { *len += 1; }
static void c_cut(uint8_t *p, size_t *len) { *len -= 1; }
static void c_head(uint8_t *p, size_t *len) { *len = 60; }
static void c_empty(uint8_t *p, size_t *len) { *len = 0; }

static void test_bad(void)
{
	static const struct { const char *name; change *fn; int err; } cases[] = {
		{"size", c_size, LOG_ERR_INVALID_RECORD}, {"huge", c_huge, LOG_ERR_INVALID_RECORD}, {"negative", c_negative, LOG_ERR_BAD_CRC},
		{"small", c_small, LOG_ERR_BAD_CRC}, {"base", c_base, LOG_ERR_INVALID_RECORD}, {"magic0", c_magic0, LOG_ERR_BAD_MAGIC},
		{"magic1", c_magic1, LOG_ERR_BAD_MAGIC}, {"magic3", c_magic3, LOG_ERR_BAD_MAGIC}, {"crc", c_crc, LOG_ERR_BAD_CRC},
		{"crc field", c_crc_field, LOG_ERR_BAD_CRC}, {"codec", c_codec, LOG_ERR_BAD_CODEC}, {"count 0", c_count0, LOG_ERR_INVALID_RECORD},
		{"count up", c_count_up, LOG_ERR_INVALID_RECORD}, {"both up", c_both_up, LOG_ERR_INVALID_RECORD}, {"both down", c_both_down, LOG_ERR_INVALID_RECORD},
		{"both huge", c_both_huge, LOG_ERR_INVALID_RECORD}, {"delta", c_delta, LOG_ERR_INVALID_RECORD}, {"delta up", c_delta_up, LOG_ERR_INVALID_RECORD}, {"control", c_control, LOG_ERR_INVALID_RECORD},
		{"pid", c_pid, LOG_ERR_INVALID_RECORD}, {"record", c_record, LOG_ERR_INVALID_RECORD}, {"offset", c_offset, LOG_ERR_INVALID_RECORD},
		{"tail", c_tail, LOG_ERR_INVALID_RECORD}, {"cut", c_cut, LOG_ERR_INVALID_RECORD}, {"head", c_head, LOG_ERR_INVALID_RECORD},
		{"empty", c_empty, LOG_ERR_INVALID_RECORD},
	};
	struct batch_limits lim = limits();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len;
		struct buf *b = tw_batch(TW_BATCH(.count = 3), &len), *room = buf_new(len + 8);
		memset(room->data, 0, len + 8);
		memcpy(room->data, b->data, len);
		cases[i].fn(room->data, &len);
		int err = check_bytes(room, len, &lim);
		if (err != cases[i].err)
			printf("%s: %d, expected %d (%s)\n", cases[i].name, err, cases[i].err, v.message ? v.message : "");
		CU_ASSERT_EQUAL(err, cases[i].err);
		CU_ASSERT_PTR_NOT_NULL(v.message);
		buf_unref(b);
		buf_unref(room);
	}
	/* two batches */
	size_t len;
	struct buf *b = tw_batch(TW_BATCH(.count = 3), &len), *two = buf_new(2 * len);
	memcpy(two->data, b->data, len);
	memcpy(two->data + len, b->data, len);
	CU_ASSERT_EQUAL(check_bytes(two, 2 * len, &lim), LOG_ERR_INVALID_RECORD);
	buf_unref(b);
	buf_unref(two);
	/* size comes before the checksum */
	lim.bytes_max = 100;
	b = tw_batch(TW_BATCH(.count = 30), &len);
	b->data[100] ^= 1;
	CU_ASSERT_EQUAL(check_bytes(b, len, &lim), LOG_ERR_TOO_LARGE);
	b->data[100] ^= 1;
	lim.bytes_max = (int32_t)len; /* the limit itself is allowed */
	CU_ASSERT_EQUAL(check_bytes(b, len, &lim), 0);
	lim.bytes_max--;
	CU_ASSERT_EQUAL(check_bytes(b, len, &lim), LOG_ERR_TOO_LARGE);
	buf_unref(b);
	/* zstd needs version 7 */
	lim = limits();
	lim.produce_version = 6;
	CU_ASSERT_EQUAL(check(TW_BATCH(.codec = 4), &lim), LOG_ERR_BAD_CODEC);
	CU_ASSERT_EQUAL(check(TW_BATCH(.codec = 3), &lim), 0);
	/* a bomb */
	lim = limits();
	lim.decompressed_max = 100000;
	CU_ASSERT_EQUAL(check(TW_BATCH(.codec = 4, .count = 1, .value_bytes = 200000), &lim), LOG_ERR_TOO_LARGE);
	CU_ASSERT_EQUAL(check(TW_BATCH(.codec = 4, .count = 1, .value_bytes = 90000), &lim), 0);
}

/* Consumers fail on a header without a key, each time that they come to it. */
static void test_header_keys(void)
{
	static const struct { uint8_t key_len, value_len; int err; } cases[] = {
		{0, 1, 0}, {0, 0, 0}, {1, 1, LOG_ERR_INVALID_RECORD}, {0, 3, LOG_ERR_INVALID_RECORD}, {3, 0, LOG_ERR_INVALID_RECORD},
	};
	struct batch_limits lim = limits();
	size_t len;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* length 8, attributes, two deltas, no key, no value, one header; numbers are zigzag: 1 is -1, 3 is -2 */
		const uint8_t record[9] = {16, 0, 0, 0, 1, 1, 2, cases[i].key_len, cases[i].value_len};
		struct buf *b = tw_batch(TW_BATCH(.count = 1), &len);
		CU_ASSERT_FATAL(len > BATCH_HEADER_BYTES + sizeof(record));
		len = BATCH_HEADER_BYTES + sizeof(record);
		memcpy(b->data + BATCH_HEADER_BYTES, record, sizeof(record));
		be32_put(b->data + 8, (uint32_t)len - 12);
		tw_fix_crc(b->data, len);
		CU_ASSERT_EQUAL(check_bytes(b, len, &lim), cases[i].err);
		buf_unref(b);
	}
}

static void test_record_errors(void)
{
	struct batch_limits lim = limits();

	lim.compacted = true;
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3), &lim), 0);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 20, .null_keys = true, .codec = 1), &lim), LOG_ERR_INVALID_RECORD);
	CU_ASSERT_EQUAL(v.record_error_count, BATCH_RECORD_ERRORS_MAX);
	CU_ASSERT_EQUAL(v.record_errors[3].index, 3);
	lim.before_max_ms = 1000;
	lim.after_max_ms = 10;
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = 5), &lim), 0);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = 6), &lim), LOG_ERR_BAD_TIMESTAMP);
	CU_ASSERT_EQUAL(v.record_error_count, 1);
	CU_ASSERT_EQUAL(v.record_errors[0].index, 2);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = -500), &lim), 0); /* what lies behind has its own limit */
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = -501), &lim), LOG_ERR_BAD_TIMESTAMP);
	CU_ASSERT_EQUAL(v.record_error_count, 1);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 1, .base_timestamp = INT64_MIN), &lim), LOG_ERR_BAD_TIMESTAMP);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 1, .base_timestamp = INT64_MAX), &lim), LOG_ERR_BAD_TIMESTAMP);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 1, .base_timestamp = -1), &lim), 0);
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = 6, .null_keys = true), &lim), LOG_ERR_BAD_TIMESTAMP);
	lim.log_append_time = true;
	CU_ASSERT_EQUAL(check(TW_BATCH(.count = 3, .timestamp_step = 6), &lim), 0);
	CU_ASSERT_EQUAL(v.max_timestamp, lim.now_ms);
}

/* Nothing that a single bit or a cut can do is taken for a good batch, and nothing reads beyond the bytes. */
static void test_damage(void)
{
	struct batch_limits lim = limits();

	for (int codec = 0; codec < 5; codec++) {
		size_t len;
		struct buf *b = tw_batch(TW_BATCH(.count = 5, .codec = codec, .value_bytes = 30), &len);
		for (size_t i = 0; i < len; i++) {
			CU_ASSERT_NOT_EQUAL(check_bytes(b, i, &lim), 0);
			for (int bit = 0; bit < 8; bit++) {
				b->data[i] ^= (uint8_t)(1 << bit);
				bool epoch = i >= 12 && i < 16; /* not covered, and overwritten */
				CU_ASSERT_EQUAL(check_bytes(b, len, &lim) == 0, epoch);
				/* and with a right checksum nothing crashes */
				if (i >= 21) {
					tw_fix_crc(b->data, len);
					(void)check_bytes(b, len, &lim);
				}
				b->data[i] ^= (uint8_t)(1 << bit);
				tw_fix_crc(b->data, len);
			}
		}
		CU_ASSERT_EQUAL(check_bytes(b, len, &lim), 0);
		buf_unref(b);
	}
}

static void test_assign(void)
{
	size_t len;
	struct batch b, again;
	struct buf *buf = tw_batch(TW_BATCH(.count = 3), &len);

	CU_ASSERT_EQUAL(batch_parse(slice_make(buf->data, len), &b), 0);
	uint32_t crc = b.crc;
	batch_assign(buf->data, &b, INT64_C(123456789012), 17, false, 0);
	CU_ASSERT_EQUAL(batch_parse(slice_make(buf->data, len), &again), 0);
	CU_ASSERT_EQUAL(again.base_offset, INT64_C(123456789012));
	CU_ASSERT_EQUAL(again.leader_epoch, 17);
	CU_ASSERT_EQUAL(again.crc, crc);
	batch_assign(buf->data, &b, 1, 18, true, 99);
	CU_ASSERT_EQUAL(batch_parse(slice_make(buf->data, len), &again), 0);
	CU_ASSERT_TRUE(batch_is_log_append_time(&again));
	CU_ASSERT_EQUAL(again.max_timestamp, 99);
	CU_ASSERT_NOT_EQUAL(again.crc, crc);
	CU_ASSERT_TRUE(batch_crc_ok(slice_make(buf->data, len)));
	buf_unref(buf);
	/* what the records say is put over what their client says of them: searches by time go by it */
	buf = tw_batch(TW_BATCH(.count = 3), &len);
	be64_put(buf->data + 35, 5);
	tw_fix_crc(buf->data, len);
	CU_ASSERT_EQUAL(batch_parse(slice_make(buf->data, len), &b), 0);
	b.max_timestamp = 1700000000000;
	batch_assign(buf->data, &b, 0, 0, false, 0);
	CU_ASSERT_EQUAL(batch_parse(slice_make(buf->data, len), &again), 0);
	CU_ASSERT_EQUAL(again.max_timestamp, 1700000000000);
	CU_ASSERT_TRUE(batch_crc_ok(slice_make(buf->data, len)));
	buf_unref(buf);
}

static void test_parse(void)
{
	struct batch b;
	uint8_t head[61] = {0};

	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 11), &b), ERR_RANGE);
	CU_ASSERT_EQUAL(b.total_bytes, 0);
	be32_put(head + 8, 1000);
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 12), &b), ERR_RANGE);
	CU_ASSERT_EQUAL(b.total_bytes, 1012);
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 17), &b), LOG_ERR_BAD_MAGIC);
	head[16] = 2;
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 60), &b), ERR_RANGE);
	CU_ASSERT_EQUAL(b.total_bytes, 1012);
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 61), &b), 0);
	be32_put(head + 8, 48);
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 61), &b), ERR_CORRUPT);
	be32_put(head + 8, 0x7ffffff4); /* with the bytes before it it is more than a number of ours holds */
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 12), &b), ERR_CORRUPT);
	memset(head, 0, sizeof(head));
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 61), &b), ERR_CORRUPT);
	memset(head, 255, sizeof(head));
	CU_ASSERT_EQUAL(batch_parse(slice_make(head, 61), &b), ERR_CORRUPT);
}

/* Counts the messages; each whole, its CRC right, offsets one after the other from `first`. */
static int messages(const struct str *out, int magic, int64_t first)
{
	const uint8_t *p = (const uint8_t *)out->ptr, *end = p + out->len;
	int n = 0;
	for (; p < end; n++) {
		CU_ASSERT_FATAL(end - p >= 26);
		uint32_t size = be32_get(p + 8);
		CU_ASSERT_FATAL((size_t)(end - p) >= size + 12);
		CU_ASSERT_EQUAL(be64_get(p), (uint64_t)(first + n));
		CU_ASSERT_EQUAL(be32_get(p + 12), crc32z_update(0, p + 16, size - 4));
		CU_ASSERT_EQUAL(p[16], magic);
		CU_ASSERT_EQUAL(p[17], 0);
		if (magic)
			CU_ASSERT_EQUAL(be64_get(p + 18), (uint64_t)(1700000000000 + 3 * ((first + n) % 20)));
		p += size + 12;
	}
	return n;
}

/* Converts a copy of exact size, so that the sanitizer sees a step beyond it. */
static int downconvert(const void *bytes, size_t len, const struct downconvert *how, struct str *out)
{
	uint8_t *exact = mem_alloc(len ? len : 1);
	memcpy(exact, bytes, len);
	str_clear(out);
	int err = log_downconvert(slice_make(exact, len), how, out);
	mem_free(exact);
	return err;
}

static void test_downconvert(void)
{
	struct str log, out;
	str_init(&log);
	str_init(&out);
	for (int codec = 0; codec < 5; codec++) {
		size_t ends[3] = {0};
		str_clear(&log);
		for (int i = 0; i < 3; i++) {
			size_t len;
			struct buf *b = tw_batch(TW_BATCH(.codec = codec, .count = 20, .value_bytes = 50, .timestamp_step = 3, .base_offset = 20 * i), &len);
			str_add_bytes(&log, b->data, len);
			ends[i] = log.len;
			buf_unref(b);
		}
		for (int8_t magic = 0; magic < 2; magic++) {
			struct downconvert how = {.magic = magic, .bytes_max = 1 << 20, .decompressed_max = 1 << 20};
			if (codec == 4) {
				CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), LOG_ERR_BAD_CODEC);
				CU_ASSERT_EQUAL(out.len, 0);
				continue;
			}
			CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), 0);
			CU_ASSERT_EQUAL(messages(&out, magic, 0), 60);
			how.from_offset = 25;
			CU_ASSERT_EQUAL(downconvert(log.ptr + ends[0], log.len - ends[0], &how, &out), 0);
			CU_ASSERT_EQUAL(messages(&out, magic, 25), 35);
			how.bytes_max = 0; /* one message in any case, then no more */
			CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), 0);
			CU_ASSERT_EQUAL(messages(&out, magic, 25), 1);
			how.bytes_max = 1000;
			CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), 0);
			CU_ASSERT(out.len >= 1000 && out.len < 1100);
			/* cut anywhere: what is whole comes */
			how = (struct downconvert){.magic = magic, .bytes_max = 1 << 20, .decompressed_max = 1 << 20};
			for (size_t len = 0; len < log.len; len += 7) {
				CU_ASSERT_EQUAL(downconvert(log.ptr, len, &how, &out), 0);
				CU_ASSERT_EQUAL(messages(&out, magic, 0), len < ends[0] ? 0 : len < ends[1] ? 20 : 40);
			}
			how.decompressed_max = 100;
			if (codec)
				CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), ERR_LIMIT);
			/* damage in the second batch ends the output in front of it, in the first it is told; with a right CRC too */
			how.decompressed_max = 1 << 20;
			for (size_t at = 61; at < ends[0]; at++)
				for (int fix = 0; fix < 2; fix++) {
					log.ptr[at] ^= 0x55;
					if (fix)
						tw_fix_crc((uint8_t *)log.ptr, ends[0]);
					int err = downconvert(log.ptr, log.len, &how, &out);
					CU_ASSERT(fix ? err == 0 || err == ERR_CORRUPT || err == ERR_LIMIT : err == ERR_CORRUPT && out.len == 0);
					log.ptr[at] ^= 0x55;
					tw_fix_crc((uint8_t *)log.ptr, ends[0]);
				}
			log.ptr[ends[0] + 70] ^= 1;
			CU_ASSERT_EQUAL(downconvert(log.ptr, log.len, &how, &out), 0);
			CU_ASSERT_EQUAL(messages(&out, magic, 0), 20);
			log.ptr[ends[0] + 70] ^= 1;
		}
	}
	str_fini(&log);
	str_fini(&out);
}

/* The bytes of the records inside. */
static struct buf *inside(struct slice batch, size_t *ret_len)
{
	struct batch b;
	struct buf *plain = NULL;
	CU_ASSERT_EQUAL_FATAL(batch_parse(batch, &b), 0);
	CU_ASSERT_EQUAL_FATAL(decompress_once((enum codec)batch_codec(&b), slice_make(batch.ptr + BATCH_HEADER_BYTES, batch.len - BATCH_HEADER_BYTES), 1 << 24, &plain, ret_len), 0);
	return plain;
}

static void check_recompressed(struct slice from, int8_t codec)
{
	struct batch_limits lim = limits();
	struct batch b, again;
	struct batch_verdict was, is;
	struct buf *to = NULL;
	size_t len = 0, plain_len, plain_len2;
	batch_validate(from, &lim, &b, &was);
	CU_ASSERT_EQUAL_FATAL(was.err, 0);
	struct buf *plain = inside(from, &plain_len);
	CU_ASSERT_EQUAL(was.inside_bytes, plain_len);
	struct batch_target target = {.codec = codec, .level = COMPRESS_LEVEL_DEFAULT, .inside_bytes = was.inside_bytes, .bytes_max = 1 << 20};
	CU_ASSERT_EQUAL_FATAL(batch_recompress(from, &target, &b, &to, &len), 0);
	/* a good batch of the same records, and the header that was given back is its own */
	lim.produce_version = 9;
	batch_validate(slice_make(to->data, len), &lim, &again, &is);
	CU_ASSERT_EQUAL(is.err, 0);
	CU_ASSERT_EQUAL(memcmp(&again, &b, sizeof(b)), 0);
	CU_ASSERT_EQUAL(batch_codec(&b), codec);
	CU_ASSERT(is.max_timestamp == was.max_timestamp && is.inside_bytes == was.inside_bytes);
	struct buf *plain2 = inside(slice_make(to->data, len), &plain_len2);
	CU_ASSERT(plain_len2 == plain_len && memcmp(plain->data, plain2->data, plain_len) == 0);
	/* nothing of the header but length, checksum, codec is another */
	CU_ASSERT_EQUAL(memcmp(to->data, from.ptr, 8), 0);
	CU_ASSERT_EQUAL(memcmp(to->data + 23, from.ptr + 23, BATCH_HEADER_BYTES - 23), 0);
	CU_ASSERT_EQUAL(to->data[22] & ~7, from.ptr[22] & ~7);
	/* exactly what it takes is enough, one byte less is not */
	struct buf *tight = NULL;
	size_t tight_len = 0;
	batch_validate(from, &lim, &b, &was);
	target.bytes_max = (int32_t)len;
	CU_ASSERT_EQUAL(batch_recompress(from, &target, &b, &tight, &tight_len), 0);
	buf_unref(tight);
	tight = NULL;
	batch_validate(from, &lim, &b, &was);
	target.bytes_max = (int32_t)len - 1;
	CU_ASSERT_EQUAL(batch_recompress(from, &target, &b, &tight, &tight_len), LOG_ERR_TOO_LARGE);
	CU_ASSERT_PTR_NULL(tight);
	buf_unref(plain);
	buf_unref(plain2);
	buf_unref(to);
}

static void test_recompress(void)
{
	static const int counts[] = {1, 7, 3000};
	for (int from = 0; from < CODEC_COUNT; from++)
		for (int to = 0; to < CODEC_COUNT; to++)
			for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
				size_t len;
				struct buf *b = tw_batch(TW_BATCH(.codec = from, .count = counts[i], .value_bytes = 90, .timestamp_step = 5, .producer_id = 77, .producer_epoch = 2,
					.base_sequence = 40, .transactional = i == 1), &len);
				check_recompressed(slice_make(b->data, len), (int8_t)to);
				buf_unref(b);
			}
}

UNIT_MAIN("batch", {"good", test_good}, {"bad", test_bad}, {"header_keys", test_header_keys}, {"record_errors", test_record_errors}, {"damage", test_damage}, {"assign", test_assign},
	  {"parse", test_parse}, {"downconvert", test_downconvert}, {"recompress", test_recompress})
