/* test_bench.c: what klamm-load measures with (bench/hist.c) and sends (bench/kwire.c). */
#include <stdlib.h>
#include <string.h>

#include "bench/cluster.h"
#include "bench/hist.h"
#include "bench/kwire.h"
#include "common/base/crc.h"
#include "tests/unit/unit.h"

static void near(uint64_t got, uint64_t want)
{
	uint64_t diff = got > want ? got - want : want - got;

	CU_ASSERT(diff <= want / 100 + 1);
}

static void test_quantiles(void)
{
	struct hist *h = hist_new();

	CU_ASSERT_EQUAL(hist_at(h, 0.5), 0);
	for (uint64_t i = 1; i <= 1000; i++)
		hist_add(h, i * 1000, 1);
	CU_ASSERT_EQUAL(h->count, 1000);
	near(hist_at(h, 0.5), 500 * 1000);
	near(hist_at(h, 0.99), 990 * 1000);
	CU_ASSERT_EQUAL(hist_at(h, 0), 1000);
	CU_ASSERT_EQUAL(hist_at(h, 1), 1000 * 1000);
	hist_add(h, UINT64_MAX, 1);
	CU_ASSERT_EQUAL(hist_at(h, 1), UINT64_MAX);
	hist_reset(h);
	CU_ASSERT_EQUAL(h->count, 0);
	hist_free(h);
}

static void test_every_value_keeps_its_size(void)
{
	struct hist *h = hist_new();

	for (unsigned shift = 0; shift < 64; shift++)
		for (int d = -1; d <= 1; d++) {
			uint64_t v = (UINT64_C(1) << shift) + (uint64_t)(int64_t)d;

			hist_reset(h);
			hist_add(h, v, 1);
			hist_add(h, v, 2);
			CU_ASSERT_EQUAL(hist_at(h, 0.5), v);
		}
	hist_free(h);
}

struct collected {
	int count;
	int64_t last_offset;
	size_t value_len;
	uint8_t first_bytes[8][4];
};

static void collect(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct collected *c = ctx;

	if (c->count < 8)
		memcpy(c->first_bytes[c->count], value.ptr, 4);
	CU_ASSERT(slice_eq_str(key, "k"));
	c->count++;
	c->last_offset = offset;
	c->value_len = value.len;
}

static void test_batch_reads_back(void)
{
	static const uint8_t stamps[] = "aaaabbbbcccc";
	struct kw_batch_spec spec = {.records = 3, .value_bytes = 100, .key = "k", .timestamp_ms = 1, .stamp = stamps, .stamp_len = 4, .stamp_step = 4};
	struct kw_out out = {0};
	struct kw_batch_view view;
	struct collected c = {0};
	struct slice rest;

	kw_batch(&out, &spec);
	kw_batch(&out, &spec);
	rest = slice_make(out.data, out.len - 1); /* the second one is cut */
	CU_ASSERT_FATAL(kw_next_batch(&rest, &view));
	CU_ASSERT(kw_batch_crc_ok(&view));
	CU_ASSERT_EQUAL(view.count, 3);
	CU_ASSERT_EQUAL(view.last_offset, 2);
	CU_ASSERT(kw_batch_records(&view, collect, &c));
	CU_ASSERT_EQUAL(c.count, 3);
	CU_ASSERT_EQUAL(c.last_offset, 2);
	CU_ASSERT_EQUAL(c.value_len, 100);
	CU_ASSERT(!memcmp(c.first_bytes[0], "aaaa", 4) && !memcmp(c.first_bytes[2], "cccc", 4));
	CU_ASSERT_FALSE(kw_next_batch(&rest, &view));
	out.data[70] ^= 1;
	rest = slice_make(out.data, out.len);
	CU_ASSERT(kw_next_batch(&rest, &view));
	CU_ASSERT_FALSE(kw_batch_crc_ok(&view));
	kw_out_free(&out);
}

static void test_batch_fits(void)
{
	static const uint32_t sizes[] = {100, 1000, 16384, 262144};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct kw_batch_spec spec = {.value_bytes = 70};
		struct kw_out out = {0};

		spec.records = kw_batch_fit(sizes[i], 70);
		kw_batch(&out, &spec);
		CU_ASSERT(out.len <= sizes[i] || spec.records == 1);
		out.len = 0;
		spec.records++;
		kw_batch(&out, &spec);
		CU_ASSERT(out.len > sizes[i]);
		kw_out_free(&out);
	}
}

static void test_lying_batches_end(void)
{
	struct kw_batch_spec spec = {.records = 2, .value_bytes = 10, .key = "k"};
	struct kw_out out = {0};
	struct kw_batch_view view;
	struct collected c = {0};
	struct slice rest;

	kw_batch(&out, &spec);
	be32_put(out.data + 57, 1000); /* says 1,000 records */
	rest = slice_make(out.data, out.len);
	CU_ASSERT(kw_next_batch(&rest, &view));
	CU_ASSERT_FALSE(kw_batch_records(&view, collect, &c));
	be32_put(out.data + 8, 0xfffffff0);
	rest = slice_make(out.data, out.len);
	CU_ASSERT_FALSE(kw_next_batch(&rest, &view));
	kw_out_free(&out);
}

static void test_reader_sticks(void)
{
	static const uint8_t bytes[] = {0, 0, 0, 5, 0, 9, 'x'};
	struct kw_in in = kw_in_make(slice_make(bytes, sizeof(bytes)));

	CU_ASSERT_EQUAL(kw_get_i32(&in), 5);
	CU_ASSERT_PTR_NULL(kw_get_str(&in).ptr); /* promises 9, has 1 */
	CU_ASSERT(in.bad);
	CU_ASSERT_EQUAL(kw_get_i8(&in), 0);
}

static void test_addresses(void)
{
	struct cluster_addr a;

	CU_ASSERT(cluster_split("h:1", 3, &a) && !strcmp(a.host, "h") && a.port == 1);
	CU_ASSERT(cluster_split("[::1]:9092", 10, &a) && !strcmp(a.host, "::1") && a.port == 9092);
	CU_ASSERT_FALSE(cluster_split("h", 1, &a));
	CU_ASSERT_FALSE(cluster_split(":1", 2, &a));
	CU_ASSERT_FALSE(cluster_split("h:", 2, &a));
	CU_ASSERT_FALSE(cluster_split("h:70000", 7, &a));
	CU_ASSERT_FALSE(cluster_split("h:1x", 4, &a));
}

UNIT_MAIN("bench", {"quantiles", test_quantiles}, {"every_value_keeps_its_size", test_every_value_keeps_its_size},
          {"batch_reads_back", test_batch_reads_back}, {"batch_fits", test_batch_fits}, {"lying_batches_end", test_lying_batches_end},
          {"reader_sticks", test_reader_sticks}, {"addresses", test_addresses})
