/* test_compress.c: the five codecs; truncation at each byte, damage, bombs. */
#include "tests/unit/unit.h"

#include <snappy-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/compress/compress.h"

#define NO_LIMIT ((uint64_t)1 << 30)

/* Half text, half noise, as records are. */
static uint8_t *make_data(size_t len)
{
	uint8_t *p = mem_alloc(len);
	struct rng r;
	rng_init(&r, len);
	for (size_t i = 0; i < len; i++)
		p[i] = i % 200 < 100 ? (uint8_t)("the quick brown fox "[i % 20]) : (uint8_t)rng_u64(&r);
	return p;
}

static uint8_t *compress(enum codec codec, int32_t level, const void *bytes, size_t len, size_t *ret_len)
{
	struct chain c;
	chain_init(&c);
	CU_ASSERT_EQUAL_FATAL(compress_once(codec, level, slice_make(bytes, len), &c), 0);
	uint8_t *out = mem_alloc(c.bytes);
	chain_flatten(&c, out);
	*ret_len = c.bytes;
	chain_clear(&c);
	return out;
}

/* Reads to the end in pieces of `step`; gives the error or 0. */
static int read_all(enum codec codec, const void *bytes, size_t len, uint64_t max, size_t step, uint8_t *out, size_t *ret_len)
{
	struct decompressor d;
	size_t n = 0, total = 0;
	int err = decompressor_init(&d, codec, slice_make(bytes, len), max);
	uint8_t *piece = mem_alloc(step);
	while (err == 0) {
		err = decompressor_read(&d, piece, step, &n);
		if (err < 0) {
			CU_ASSERT_EQUAL(decompressor_read(&d, piece, step, &n), err); /* it sticks */
			break;
		}
		if (out)
			memcpy(out + total, piece, n);
		total += n;
		if (n < step)
			break;
	}
	decompressor_fini(&d);
	decompressor_fini(&d);
	mem_free(piece);
	*ret_len = total;
	return err;
}

static void test_round_trip(void)
{
	static const size_t sizes[] = {0, 1, 100, 32768, 32769, 65536, 65537, 1000000};
	static const size_t steps[] = {1, 777, 65536, 2000000};
	for (int codec = 0; codec < CODEC_COUNT; codec++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *data = make_data(sizes[i] + 1), *back = mem_alloc(sizes[i] + 1);
			size_t len, got = 0;
			uint8_t *z = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, data, sizes[i], &len);
			for (size_t k = 0; k < 4; k++) {
				if (steps[k] == 1 && sizes[i] > 40000)
					continue;
				CU_ASSERT_EQUAL(read_all((enum codec)codec, z, len, NO_LIMIT, steps[k], back, &got), 0);
				CU_ASSERT_EQUAL(got, sizes[i]);
				CU_ASSERT_EQUAL(memcmp(back, data, sizes[i]), 0);
			}
			struct buf *b = NULL;
			CU_ASSERT_EQUAL(decompress_once((enum codec)codec, slice_make(z, len), sizes[i], &b, &got), 0);
			CU_ASSERT(got == sizes[i] && b && memcmp(b->data, data, got) == 0);
			buf_unref(b);
			if (sizes[i]) { /* one byte too small a limit */
				CU_ASSERT_EQUAL(decompress_once((enum codec)codec, slice_make(z, len), sizes[i] - 1, &b, &got), ERR_LIMIT);
				CU_ASSERT_EQUAL(read_all((enum codec)codec, z, len, sizes[i] - 1, 4096, NULL, &got), ERR_LIMIT);
				CU_ASSERT(got <= sizes[i] - 1);
			}
			mem_free(z);
			mem_free(data);
			mem_free(back);
		}
	}
}

static void test_levels(void)
{
	static const int32_t levels[] = {-200000, -1, 1, 5, 9, 12, 17, 100};
	uint8_t *data = make_data(50000);
	for (int codec = 0; codec < CODEC_COUNT; codec++) {
		for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
			size_t len, got;
			uint8_t *z = compress((enum codec)codec, levels[i], data, 50000, &len);
			CU_ASSERT_EQUAL(read_all((enum codec)codec, z, len, 50000, 60000, NULL, &got), 0);
			CU_ASSERT_EQUAL(got, 50000);
			mem_free(z);
		}
	}
	mem_free(data);
}

static void test_truncated(void)
{
	const size_t size = 40000;
	uint8_t *data = make_data(size), *back = mem_alloc(size);
	for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
		size_t len, got;
		uint8_t *z = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, data, size, &len);
		size_t step = len / 400 + 1;
		for (size_t cut = 0; cut < len; cut += cut < 64 || len - cut < 64 ? 1 : step) {
			/* memory of just that size, so that a sanitizer sees a byte too far */
			uint8_t *part = mem_alloc(cut);
			memcpy(part, z, cut);
			int err = read_all((enum codec)codec, part, cut, NO_LIMIT, 50000, NULL, &got);
			/* xerial blocks have no end mark: a cut between two of them is a shorter, valid stream */
			bool at_block_end = codec == CODEC_SNAPPY && err == 0 && (got == 0 || got == 32768);
			CU_ASSERT(err == ERR_CORRUPT || at_block_end);
			mem_free(part);
		}
		/* bytes behind the end */
		uint8_t *more = mem_zalloc(len + 3);
		memcpy(more, z, len);
		CU_ASSERT_EQUAL(read_all((enum codec)codec, more, len + 3, NO_LIMIT, 50000, NULL, &got), ERR_CORRUPT);
		mem_free(more);
		mem_free(z);
	}
	mem_free(data);
	mem_free(back);
}

/* A small one is cut at every single byte and read a byte at a time. */
static void test_truncated_small(void)
{
	for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
		size_t len, got;
		uint8_t *z = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, "hello hello hello hello", 23, &len);
		for (size_t cut = 0; cut < len; cut++) {
			int err = read_all((enum codec)codec, z, cut, NO_LIMIT, 1, NULL, &got);
			CU_ASSERT(err == ERR_CORRUPT || (codec == CODEC_SNAPPY && cut == 16 && got == 0));
		}
		CU_ASSERT_EQUAL(read_all((enum codec)codec, z, len, NO_LIMIT, 1, NULL, &got), 0);
		CU_ASSERT_EQUAL(got, 23);
		mem_free(z);
	}
}

static void test_damaged(void)
{
	uint8_t *data = make_data(3000);
	struct rng r;
	rng_init(&r, 5);
	for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
		size_t len, got;
		uint8_t *z = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, data, 3000, &len);
		uint8_t *bad = mem_alloc(len);
		for (int i = 0; i < 2000; i++) {
			memcpy(bad, z, len);
			for (uint64_t n = 1 + rng_below(&r, 4); n > 0; n--)
				bad[rng_below(&r, i % 2 ? len : 32)] ^= (uint8_t)(1 + rng_below(&r, 255));
			int err = read_all((enum codec)codec, bad, len, 100000, 5000, NULL, &got);
			CU_ASSERT(err == 0 || err == ERR_CORRUPT || err == ERR_LIMIT);
			CU_ASSERT(got <= 100000);
		}
		mem_free(bad);
		mem_free(z);
	}
	mem_free(data);
}

static void test_bombs(void)
{
	const size_t size = 64 << 20;
	uint8_t *zeroes = mem_zalloc(size);
	for (int codec = CODEC_GZIP; codec < CODEC_COUNT; codec++) {
		size_t len, got;
		uint8_t *z = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, zeroes, size, &len);
		CU_ASSERT_EQUAL(read_all((enum codec)codec, z, len, 1 << 20, 65536, NULL, &got), ERR_LIMIT);
		CU_ASSERT(got <= 1 << 20);
		if (codec == CODEC_ZSTD) { /* by ratio, with no other limit: some 8,000 bytes */
			CU_ASSERT(len < 10000);
			CU_ASSERT_EQUAL(read_all(CODEC_ZSTD, z, len, UINT64_MAX, 65536, NULL, &got), ERR_LIMIT);
			CU_ASSERT(got <= len * DECOMPRESS_RATIO_MAX + DECOMPRESS_ALLOWANCE);
		}
		mem_free(z);
	}
	mem_free(zeroes);
	/* a snappy block that claims 4 GiB and holds nothing */
	static const uint8_t claim[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x'};
	size_t got;
	CU_ASSERT_EQUAL(read_all(CODEC_SNAPPY, claim, sizeof(claim), UINT64_MAX, 100, NULL, &got), ERR_CORRUPT);
	/* a zstd frame with a window of 2 GiB */
	static const uint8_t window[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x03, 0, 0, 0, 0, 0};
	CU_ASSERT_EQUAL(read_all(CODEC_ZSTD, window, sizeof(window), UINT64_MAX, 100, NULL, &got), ERR_CORRUPT);
}

static void test_forms(void)
{
	size_t len, len2, got;
	uint8_t back[200];
	static const char text[] = "abcabcabcabcabcabcabcabcabcabcabcabc";
	const size_t n = sizeof(text) - 1;
	/* a bare snappy block */
	char block[200];
	size_t block_len = sizeof(block);
	CU_ASSERT_EQUAL(snappy_compress(text, n, block, &block_len), SNAPPY_OK);
	CU_ASSERT_EQUAL(read_all(CODEC_SNAPPY, block, block_len, 1000, 7, back, &got), 0);
	CU_ASSERT(got == n && !memcmp(back, text, n));
	/* two streams in a row: gzip members, zstd frames, xerial streams */
	static const enum codec joins[] = {CODEC_GZIP, CODEC_ZSTD, CODEC_SNAPPY};
	for (size_t i = 0; i < 3; i++) {
		uint8_t *a = compress(joins[i], COMPRESS_LEVEL_DEFAULT, text, n, &len);
		uint8_t *b = compress(joins[i], COMPRESS_LEVEL_DEFAULT, "tail", 4, &len2);
		uint8_t *both = mem_alloc(len + len2);
		memcpy(both, a, len);
		memcpy(both + len, b, len2);
		CU_ASSERT_EQUAL(read_all(joins[i], both, len + len2, 1000, 200, back, &got), 0);
		CU_ASSERT(got == n + 4 && !memcmp(back, text, n) && !memcmp(back + n, "tail", 4));
		mem_free(a);
		mem_free(b);
		mem_free(both);
	}
	/* an lz4 header checksum over the magic too, and one that is simply wrong */
	uint8_t *z = compress(CODEC_LZ4, COMPRESS_LEVEL_DEFAULT, text, n, &len);
	CU_ASSERT_EQUAL(z[4] & 8, 0);
	CU_ASSERT_EQUAL(z[5], 0x40);       /* 64 KiB blocks */
	CU_ASSERT_EQUAL(z[4] & 0x20, 0x20); /* independent */
	z[6] = (uint8_t)(XXH32(z, 6, 0) >> 8);
	CU_ASSERT_EQUAL(read_all(CODEC_LZ4, z, len, 1000, 200, back, &got), 0);
	CU_ASSERT(got == n && !memcmp(back, text, n));
	z[6] ^= 1;
	CU_ASSERT_EQUAL(read_all(CODEC_LZ4, z, len, 1000, 200, back, &got), ERR_CORRUPT);
	mem_free(z);
	/* what we write begins as Kafka's does */
	z = compress(CODEC_SNAPPY, COMPRESS_LEVEL_DEFAULT, text, n, &len);
	CU_ASSERT_EQUAL(memcmp(z, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16), 0);
	mem_free(z);
	struct decompressor d;
	CU_ASSERT_EQUAL(decompressor_init(&d, (enum codec)7, slice_str("x"), 10), ERR_UNSUPPORTED);
	struct chain c;
	chain_init(&c);
	CU_ASSERT_EQUAL(compress_once((enum codec)5, 1, slice_str("x"), &c), ERR_UNSUPPORTED);
}

static void test_names(void)
{
	enum codec c = CODEC_NONE;
	for (int i = 0; i < CODEC_COUNT; i++) {
		CU_ASSERT_EQUAL(codec_parse(codec_name((enum codec)i), &c), 0);
		CU_ASSERT_EQUAL((int)c, i);
	}
	CU_ASSERT(codec_parse("uncompressed", &c) == 0 && c == CODEC_NONE);
	CU_ASSERT_EQUAL(codec_parse("lzma", &c), ERR_INVAL);
	CU_ASSERT_STRING_EQUAL(codec_name((enum codec)6), "unknown");
}

/* In pieces of any size what comes out is what comes out at once; the head stays free, the bound holds. */
static void test_streams(void)
{
	static const size_t steps[] = {1, 1000, 32768, 65537, 300000};
	size_t n = 300000, len, got;
	uint8_t *data = make_data(n), *back = mem_alloc(n);
	for (int codec = 0; codec < CODEC_COUNT; codec++) {
		uint8_t *once = compress((enum codec)codec, COMPRESS_LEVEL_DEFAULT, data, n, &len);
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
			for (size_t less = 0; less < 2; less++) {
				struct compressor c;
				struct buf *b = NULL;
				size_t out = 0;
				int err = 0;
				struct compress_bounds bounds = {.head = 61, .size = i == 1 ? COMPRESS_SIZE_UNKNOWN : n, .bytes_max = less ? len / 2 : SIZE_MAX};
				CU_ASSERT_EQUAL_FATAL(compressor_init(&c, (enum codec)codec, COMPRESS_LEVEL_DEFAULT, &bounds), 0);
				for (size_t at = 0; at < n && !err; at += steps[i])
					err = compressor_write(&c, data + at, n - at < steps[i] ? n - at : steps[i]);
				CU_ASSERT(!c.out || c.out->cap < 4 * len); /* what is too much is not kept on writing */
				if (!err)
					err = compressor_end(&c, &b, &out);
				CU_ASSERT_EQUAL(err, less ? ERR_LIMIT : 0);
				if (less)
					CU_ASSERT_EQUAL(compressor_end(&c, &b, &out), ERR_LIMIT);
				compressor_fini(&c);
				compressor_fini(&c);
				if (!less) {
					CU_ASSERT_EQUAL(read_all((enum codec)codec, b->data + 61, out - 61, NO_LIMIT, 65536, back, &got), 0);
					CU_ASSERT(got == n && !memcmp(back, data, n));
				}
				buf_unref(b);
			}
		}
		mem_free(once);
	}
	struct compressor c;
	CU_ASSERT_EQUAL(compressor_init(&c, (enum codec)5, 1, &(struct compress_bounds){.bytes_max = 1}), ERR_UNSUPPORTED);
	mem_free(data);
	mem_free(back);
}

UNIT_MAIN("compress", {"round_trip", test_round_trip}, {"levels", test_levels}, {"truncated", test_truncated}, {"truncated_small", test_truncated_small},
	  {"damaged", test_damaged}, {"bombs", test_bombs}, {"forms", test_forms}, {"names", test_names}, {"streams", test_streams})
