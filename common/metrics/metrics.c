/* metrics.c: histograms, the registry and the Prometheus writer.
 *
 * Registry: rows in order of first use, each with its series in order of registration, each with the values that are added up
 * for it. A series is found by a hash of its label text (uthash), so registering ten thousand partitions costs no square.
 */
#include "common/metrics/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#define uthash_malloc(bytes) mem_alloc(bytes)
#define uthash_free(ptr, bytes) mem_free(ptr)
#define uthash_fatal(text) check_failed(text, __FILE__, __LINE__, __func__)
#include <uthash.h>

#define SERIES_MAX_DEFAULT 1000
#define OTHER "_other"

/* ---- histogram ---- */

#define SUB (1u << HISTOGRAM_SUB_BITS)

uint32_t histogram_bucket(uint64_t value)
{
	if (value < SUB)
		return (uint32_t)value;
	uint32_t top = 63 - (uint32_t)__builtin_clzll(value);
	if (top >= HISTOGRAM_TOP_BITS)
		return HISTOGRAM_BUCKETS - 1;
	uint32_t shift = top - HISTOGRAM_SUB_BITS;
	return ((shift + 1) << HISTOGRAM_SUB_BITS) + (uint32_t)((value >> shift) & (SUB - 1));
}

uint64_t histogram_bucket_max(uint32_t bucket)
{
	ASSERT(bucket < HISTOGRAM_BUCKETS);
	if (bucket < SUB)
		return bucket;
	uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
	uint64_t low = (uint64_t)(SUB + (bucket & (SUB - 1))) << shift;
	return low + ((uint64_t)1 << shift) - 1;
}

static void bump(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

void histogram_record(struct histogram *h, int64_t value)
{
	uint64_t v = value > 0 ? (uint64_t)value : 0;
	bump(&h->buckets[histogram_bucket(v)], 1);
	bump(&h->count, 1);
	bump(&h->sum, v);
	if (v > atomic_load_explicit(&h->max, memory_order_relaxed))
		atomic_store_explicit(&h->max, v, memory_order_relaxed);
}

void histogram_read(const struct histogram *h, struct histogram_view *to)
{
	/* count is taken from the buckets, so that a view is consistent in itself while the owner goes on recording */
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
		to->buckets[i] += n;
		to->count += n;
	}
	to->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
	if (max > to->max)
		to->max = max;
}

uint64_t histogram_quantile(const struct histogram_view *v, double q)
{
	if (v->count == 0)
		return 0;
	double rank = q * (double)v->count;
	uint64_t need = rank < 1 ? 1 : rank >= (double)v->count ? v->count : (uint64_t)rank;
	if (rank > (double)need && need < v->count)
		need++; /* rounds up, without libm */
	uint64_t seen = 0;
	for (uint32_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += v->buckets[i];
		if (seen >= need) {
			uint64_t bound = histogram_bucket_max(i);
			return bound < v->max ? bound : v->max;
		}
	}
	return v->max;
}

/* ---- registry ---- */

struct series;
struct value {
	struct list link;      /* in series.values */
	struct series *series;
	const void *key;       /* what metrics_remove names */
	double (*read)(void *ctx); /* else NULL and ptr is the row's type */
	void *ptr;
	struct value *next_same; /* values registered under the same pointer, e.g. one ctx for several rows */
	UT_hash_handle hh;     /* by key, first of its chain only */
};

struct series {
	struct list link; /* in family.series */
	struct family *family;
	char *labels;     /* a="b",c="d" without braces; "" = none */
	struct list values;
	UT_hash_handle hh; /* by labels, in family.by_labels */
};

struct family {
	struct list link; /* in metrics.families */
	const struct metric_row *row;
	struct list series;
	struct series *by_labels;
	UT_hash_handle hh; /* by row name */
};

struct metrics {
	size_t series_max;
	struct list families;
	struct family *by_name;
	struct value *by_key;
};

struct metrics *metrics_new(size_t series_max)
{
	struct metrics *m = MEM_NEW(struct metrics);
	m->series_max = series_max ? series_max : SERIES_MAX_DEFAULT;
	list_init(&m->families);
	return m;
}

static void series_free(struct series *s)
{
	HASH_DEL(s->family->by_labels, s);
	list_remove(&s->link);
	mem_free(s->labels);
	mem_free(s);
}

static void value_free(struct value *v)
{
	struct series *s = v->series;
	list_remove(&v->link);
	mem_free(v);
	if (list_empty(&s->values))
		series_free(s);
}

static void drop_key(struct metrics *m, struct value *first)
{
	HASH_DEL(m->by_key, first);
	for (struct value *v = first; v;) {
		struct value *next = v->next_same;
		value_free(v);
		v = next;
	}
}

void metrics_remove(struct metrics *m, const void *key)
{
	struct value *v;
	HASH_FIND(hh, m->by_key, &key, sizeof(key), v);
	if (v)
		drop_key(m, v);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	while (m->by_key)
		drop_key(m, m->by_key);
	LIST_FOR_SAFE (it, tmp, &m->families) {
		struct family *f = LIST_ENTRY(it, struct family, link);
		HASH_DEL(m->by_name, f);
		mem_free(f);
	}
	mem_free(m);
}

static struct family *family_of(struct metrics *m, const struct metric_row *row)
{
	struct family *f;
	HASH_FIND_STR(m->by_name, row->name, f);
	if (!f) {
		f = MEM_NEW(struct family);
		f->row = row;
		list_init(&f->series);
		list_push_back(&m->families, &f->link);
		HASH_ADD_KEYPTR(hh, m->by_name, row->name, strlen(row->name), f);
	}
	ASSERT(f->row->type == row->type);
	return f;
}

static void add_escaped(struct str *out, const char *text, bool quote)
{
	for (; *text; text++) {
		if (*text == '\\')
			str_add(out, "\\\\");
		else if (*text == '\n')
			str_add(out, "\\n");
		else if (*text == '"' && quote)
			str_add(out, "\\\"");
		else
			str_add_bytes(out, text, 1);
	}
}

static void label_text(struct str *out, const struct metric_label *labels, size_t n, bool other)
{
	for (size_t i = 0; i < n; i++) {
		str_printf(out, "%s%s=\"", i ? "," : "", labels[i].name);
		add_escaped(out, other ? OTHER : labels[i].value, true);
		str_add(out, "\"");
	}
}

static struct series *series_of(struct metrics *m, struct family *f, const struct metric_label *labels, size_t n)
{
	struct str text;
	struct series *s;

	str_init(&text);
	label_text(&text, labels, n, false);
	HASH_FIND_STR(f->by_labels, str_cstr(&text), s);
	if (!s && n && HASH_COUNT(f->by_labels) >= m->series_max) {
		str_clear(&text);
		label_text(&text, labels, n, true);
		HASH_FIND_STR(f->by_labels, str_cstr(&text), s);
	}
	if (!s) {
		s = MEM_NEW(struct series);
		s->family = f;
		s->labels = str_steal(&text);
		list_init(&s->values);
		list_push_back(&f->series, &s->link);
		HASH_ADD_KEYPTR(hh, f->by_labels, s->labels, strlen(s->labels), s);
	}
	str_fini(&text);
	return s;
}

static void add_value(struct metrics *m, const struct metric_row *row, void *ptr, double (*read)(void *ctx), const struct metric_label *labels, size_t n)
{
	struct value *first;
	ASSERT(n <= METRIC_LABELS_MAX);
	struct value *v = MEM_NEW(struct value);
	v->series = series_of(m, family_of(m, row), labels, n);
	v->key = ptr;
	v->ptr = ptr;
	v->read = read;
	list_push_back(&v->series->values, &v->link);
	HASH_FIND(hh, m->by_key, &v->key, sizeof(v->key), first);
	if (first) {
		v->next_same = first->next_same;
		first->next_same = v;
	} else {
		HASH_ADD(hh, m->by_key, key, sizeof(v->key), v);
	}
}

void metrics_add_counter(struct metrics *m, const struct metric_row *row, struct counter *c, const struct metric_label *labels, size_t n)
{
	ASSERT(row->type == METRIC_COUNTER);
	add_value(m, row, c, NULL, labels, n);
}

void metrics_add_gauge(struct metrics *m, const struct metric_row *row, struct gauge *g, const struct metric_label *labels, size_t n)
{
	ASSERT(row->type == METRIC_GAUGE);
	add_value(m, row, g, NULL, labels, n);
}

void metrics_add_histogram(struct metrics *m, const struct metric_row *row, struct histogram *h, const struct metric_label *labels, size_t n)
{
	ASSERT(row->type == METRIC_HISTOGRAM);
	add_value(m, row, h, NULL, labels, n);
}

void metrics_add_fn(struct metrics *m, const struct metric_row *row, double (*read)(void *ctx), void *ctx, const struct metric_label *labels, size_t n)
{
	ASSERT(row->type != METRIC_HISTOGRAM);
	add_value(m, row, ctx, read, labels, n);
}

/* ---- text ---- */

static void write_number(struct str *out, double v)
{
	if (v != v)
		str_add(out, "NaN");
	else if (v - v != 0)
		str_add(out, v > 0 ? "+Inf" : "-Inf");
	else if (v > -1e15 && v < 1e15 && v == (double)(int64_t)v)
		str_printf(out, "%.0f", v);
	else
		str_printf(out, "%.9g", v);
}

static void write_name(struct str *out, const char *name, const char *suffix, const char *labels, const char *le)
{
	str_printf(out, "%s%s", name, suffix);
	if (labels[0] || le)
		str_printf(out, "{%s%s%s%s%s}", labels, labels[0] && le ? "," : "", le ? "le=\"" : "", le ? le : "", le ? "\"" : "");
	str_add(out, " ");
}

static void write_sum(struct str *out, const struct series *s)
{
	const struct metric_row *row = s->family->row;
	uint64_t count = 0; /* counters and gauges are integers and are added as such: a double would lose bytes past 2^53 */
	int64_t level = 0;
	double computed = 0;
	bool any_fn = false;
	LIST_FOR (it, &s->values) {
		const struct value *v = LIST_ENTRY(it, struct value, link);
		if (v->read) {
			computed += v->read(v->ptr);
			any_fn = true;
		} else if (row->type == METRIC_COUNTER) {
			count += counter_get(v->ptr);
		} else {
			level += gauge_get(v->ptr);
		}
	}
	write_name(out, row->name, "", s->labels, NULL);
	if (any_fn)
		write_number(out, computed + (double)count + (double)level);
	else if (row->type == METRIC_COUNTER)
		str_printf(out, "%" PRIu64, count);
	else
		str_printf(out, "%" PRId64, level);
	str_add(out, "\n");
}

/* Bucket bounds of the text, microseconds: few enough to scrape for each API, fine where it matters. Each is written with what
 * lies at or below it, as far as the log-linear buckets tell (within 1/8). */
static const struct {
	uint64_t us;
	const char *le;
} bounds[] = {
	{100, "0.0001"},  {250, "0.00025"},  {500, "0.0005"},  {1000, "0.001"},   {2500, "0.0025"},   {5000, "0.005"},   {10000, "0.01"},  {25000, "0.025"},
	{50000, "0.05"},  {100000, "0.1"},   {250000, "0.25"}, {500000, "0.5"},   {1000000, "1"},     {2500000, "2.5"},  {5000000, "5"},   {10000000, "10"},
	{30000000, "30"}, {60000000, "60"},
};

static void write_histogram(struct str *out, const struct series *s)
{
	struct histogram_view *view = MEM_NEW(struct histogram_view);
	const char *name = s->family->row->name;
	uint64_t below = 0;
	uint32_t at = 0;

	LIST_FOR (it, &s->values)
		histogram_read(LIST_ENTRY(it, struct value, link)->ptr, view);
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		for (; at < histogram_bucket(bounds[i].us); at++)
			below += view->buckets[at];
		/* the bucket that holds the bound itself counts only if it ends there */
		uint64_t here = histogram_bucket_max(at) == bounds[i].us ? view->buckets[at] : 0;
		write_name(out, name, "_bucket", s->labels, bounds[i].le);
		str_printf(out, "%" PRIu64 "\n", below + here);
	}
	write_name(out, name, "_bucket", s->labels, "+Inf");
	str_printf(out, "%" PRIu64 "\n", view->count);
	write_name(out, name, "_sum", s->labels, NULL);
	write_number(out, (double)view->sum / 1e6);
	str_add(out, "\n");
	write_name(out, name, "_count", s->labels, NULL);
	str_printf(out, "%" PRIu64 "\n", view->count);
	mem_free(view);
}

void metrics_write(struct metrics *m, struct str *out)
{
	static const char *const types[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
	LIST_FOR (it, &m->families) {
		const struct family *f = LIST_ENTRY(it, struct family, link);
		if (list_empty(&f->series))
			continue;
		str_printf(out, "# HELP %s ", f->row->name);
		add_escaped(out, f->row->help, false);
		str_printf(out, "\n# TYPE %s %s\n", f->row->name, types[f->row->type]);
		LIST_FOR (si, &f->series) {
			const struct series *s = LIST_ENTRY(si, struct series, link);
			if (f->row->type == METRIC_HISTOGRAM)
				write_histogram(out, s);
			else
				write_sum(out, s);
		}
	}
}
