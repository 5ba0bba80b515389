/* test_metrics.c: histograms, registry, Prometheus text. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/metrics/metrics.h"

#define ROWS(X) \
	X(BYTES_IN, "k_bytes_total", METRIC_COUNTER, "Bytes in.\nSecond \\ line \"q\"") \
	X(OPEN, "k_open", METRIC_GAUGE, "Open things.") \
	X(LATENCY, "k_latency_seconds", METRIC_HISTOGRAM, "Time.") \
	X(RATIO, "k_ratio", METRIC_GAUGE, "Computed.")
enum { METRIC_ROW_ENUM(ROWS) };
static const struct metric_row rows[] = {METRIC_ROW_TABLE(ROWS)};

static void test_buckets(void)
{
	uint64_t before = 0;
	for (uint32_t b = 0; b < HISTOGRAM_BUCKETS; b++) {
		uint64_t max = histogram_bucket_max(b);
		CU_ASSERT_EQUAL(histogram_bucket(max), b);
		CU_ASSERT_EQUAL(histogram_bucket(b ? before + 1 : 0), b);
		if (b > 8)
			CU_ASSERT((max - before) * 8 <= before + 1);
		before = max;
	}
	CU_ASSERT_EQUAL(before, ((uint64_t)1 << HISTOGRAM_TOP_BITS) - 1);
	CU_ASSERT_EQUAL(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
	CU_ASSERT(sizeof(struct histogram) < 2400);
}

static void test_quantile(void)
{
	struct histogram h = {0};
	struct histogram_view *v = MEM_NEW(struct histogram_view);
	CU_ASSERT_EQUAL(histogram_quantile(v, 0.5), 0);
	for (int64_t i = 1; i <= 100000; i++)
		histogram_record(&h, i);
	histogram_read(&h, v);
	static const double q[] = {0, 0.01, 0.5, 0.9, 0.99, 0.999, 1};
	for (size_t i = 0; i < ARRAY_LEN(q); i++) {
		double exact = q[i] * 100000 < 1 ? 1 : q[i] * 100000;
		double got = (double)histogram_quantile(v, q[i]);
		CU_ASSERT(got >= exact && got <= exact * 1.126);
	}
	CU_ASSERT_EQUAL(histogram_quantile(v, 1), 100000);
	CU_ASSERT_EQUAL(v->sum, (uint64_t)100000 * 100001 / 2);
	histogram_read(&h, v); /* a second one is added */
	CU_ASSERT_EQUAL(v->count, 200000);
	struct histogram edge = {0};
	histogram_record(&edge, -5);
	histogram_record(&edge, INT64_MAX);
	memset(v, 0, sizeof(*v));
	histogram_read(&edge, v);
	CU_ASSERT_EQUAL(v->buckets[0], 1);
	CU_ASSERT_EQUAL(histogram_quantile(v, 1), INT64_MAX);
	mem_free(v);
}

static double read_half(void *ctx)
{
	return *(int *)ctx / 2.0;
}

static void test_text(void)
{
	struct metrics *m = metrics_new(0);
	struct counter a = {0}, b = {0}, other = {0};
	struct gauge g = {0};
	struct str out;
	int three = 3;
	str_init(&out);
	metrics_write(m, &out);
	CU_ASSERT_EQUAL(out.len, 0);
	const struct metric_label t[] = {{"topic", "a\"b\\c\nd"}, {"loop", "0"}};
	const struct metric_label u[] = {{"topic", "u"}, {"loop", "1"}};
	metrics_add_counter(m, &rows[BYTES_IN], &a, t, 2);
	metrics_add_counter(m, &rows[BYTES_IN], &b, t, 2); /* the same series from another loop */
	metrics_add_counter(m, &rows[BYTES_IN], &other, u, 2);
	metrics_add_gauge(m, &rows[OPEN], &g, NULL, 0);
	metrics_add_fn(m, &rows[RATIO], read_half, &three, NULL, 0);
	counter_add(&a, 1);
	counter_add(&b, UINT64_C(9007199254740993));
	counter_inc(&other);
	gauge_set(&g, 5);
	gauge_add(&g, -12);
	metrics_write(m, &out);
	CU_ASSERT_STRING_EQUAL(str_cstr(&out), "# HELP k_bytes_total Bytes in.\\nSecond \\\\ line \"q\"\n"
					       "# TYPE k_bytes_total counter\n"
					       "k_bytes_total{topic=\"a\\\"b\\\\c\\nd\",loop=\"0\"} 9007199254740994\n"
					       "k_bytes_total{topic=\"u\",loop=\"1\"} 1\n"
					       "# HELP k_open Open things.\n# TYPE k_open gauge\nk_open -7\n"
					       "# HELP k_ratio Computed.\n# TYPE k_ratio gauge\nk_ratio 1.5\n");
	metrics_remove(m, &b);
	metrics_remove(m, &other);
	metrics_remove(m, &other);
	metrics_remove(m, &three);
	metrics_remove(m, &g);
	str_clear(&out);
	metrics_write(m, &out);
	CU_ASSERT_PTR_NOT_NULL(strstr(str_cstr(&out), "loop=\"0\"} 1\n"));
	CU_ASSERT_PTR_NULL(strstr(str_cstr(&out), "\"u\""));
	CU_ASSERT_PTR_NULL(strstr(str_cstr(&out), "k_open"));
	metrics_free(m);
	metrics_free(NULL);
	str_fini(&out);
}

static void test_histogram_text(void)
{
	struct metrics *m = metrics_new(0);
	struct histogram h = {0}, h2 = {0};
	struct str out;
	const struct metric_label api[] = {{"api", "Produce"}};
	str_init(&out);
	metrics_add_histogram(m, &rows[LATENCY], &h, api, 1);
	metrics_add_histogram(m, &rows[LATENCY], &h2, api, 1);
	histogram_record(&h, 50);
	histogram_record(&h2, 800);
	histogram_record(&h, 2000000);
	histogram_record(&h, 90000000);
	metrics_write(m, &out);
	const char *s = str_cstr(&out);
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "# TYPE k_latency_seconds histogram\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"0.0001\"} 1\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"0.001\"} 2\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"1\"} 2\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"2.5\"} 3\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"60\"} 3\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_bucket{api=\"Produce\",le=\"+Inf\"} 4\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_sum{api=\"Produce\"} 92.00085\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(s, "k_latency_seconds_count{api=\"Produce\"} 4\n"));
	metrics_free(m);
	str_fini(&out);
}

static void test_bounded(void)
{
	struct metrics *m = metrics_new(10);
	static struct counter c[1000];
	struct str out;
	char name[16];
	str_init(&out);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "t%d", i);
		metrics_add_counter(m, &rows[BYTES_IN], &c[i], (struct metric_label[]){{"topic", name}}, 1);
		counter_inc(&c[i]);
	}
	metrics_write(m, &out);
	CU_ASSERT_PTR_NOT_NULL(strstr(str_cstr(&out), "{topic=\"t9\"} 1\n"));
	CU_ASSERT_PTR_NULL(strstr(str_cstr(&out), "{topic=\"t10\"}"));
	CU_ASSERT_PTR_NOT_NULL(strstr(str_cstr(&out), "{topic=\"_other\"} 990\n"));
	/* a freed place is given out again */
	metrics_remove(m, &c[3]);
	for (int i = 10; i < 1000; i++)
		metrics_remove(m, &c[i]);
	metrics_add_counter(m, &rows[BYTES_IN], &c[500], (struct metric_label[]){{"topic", "late"}}, 1);
	str_clear(&out);
	metrics_write(m, &out);
	CU_ASSERT_PTR_NOT_NULL(strstr(str_cstr(&out), "{topic=\"late\"} 1\n"));
	CU_ASSERT_PTR_NULL(strstr(str_cstr(&out), "_other"));
	metrics_free(m);
	str_fini(&out);
}

UNIT_MAIN("metrics", {"buckets", test_buckets}, {"quantile", test_quantile}, {"text", test_text}, {"histogram_text", test_histogram_text},
	  {"bounded", test_bounded})
