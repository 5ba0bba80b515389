/* metrics.h: counters, gauges and latency histograms, and their text for Prometheus.
 *
 * A value is a plain struct that lives in its owner (a loop, a partition, a connection set): one thread writes it, anyone reads
 * it, relaxed; so an increment is one load and one store, without a bus lock. Where several loops count the same thing each has
 * its own value, and the same row with the same labels is registered for each: the writer adds them up (counters, gauges,
 * histograms alike).
 *
 * Rows (name, help, type) come from macro tables, one row a fact:
 *
 *   #define BROKER_METRICS(X) X(PRODUCE_BYTES, "klamm_produce_bytes_total", METRIC_COUNTER, "Bytes in record batches received.")
 *   enum { METRIC_ROW_ENUM(BROKER_METRICS) };  static const struct metric_row rows[] = { METRIC_ROW_TABLE(BROKER_METRICS) };
 *
 * The registry is an object of the daemon; registering, removing and writing belong to one loop (the control loop). A value
 * must be removed before its memory goes. Label values are bounded: past series_max per row new ones are counted under the
 * label value "_other".
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

struct counter {
	_Atomic uint64_t v;
};
static inline void counter_add(struct counter *c, uint64_t n)
{
	atomic_store_explicit(&c->v, atomic_load_explicit(&c->v, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void counter_inc(struct counter *c) { counter_add(c, 1); }
static inline uint64_t counter_get(const struct counter *c) { return atomic_load_explicit(&c->v, memory_order_relaxed); }

struct gauge {
	_Atomic int64_t v;
};
static inline void gauge_set(struct gauge *g, int64_t v) { atomic_store_explicit(&g->v, v, memory_order_relaxed); }
static inline int64_t gauge_get(const struct gauge *g) { return atomic_load_explicit(&g->v, memory_order_relaxed); }
static inline void gauge_add(struct gauge *g, int64_t n) { gauge_set(g, gauge_get(g) + n); }

/* Log-linear histogram of microseconds (or any non-negative unit): 8 steps per power of two (error below 1/8), from 0 to 2^36
 * (19 hours in us); larger ones count in the last bucket. About 2.2 KB, no allocation. */
#define HISTOGRAM_SUB_BITS 3
#define HISTOGRAM_TOP_BITS 36
#define HISTOGRAM_BUCKETS ((HISTOGRAM_TOP_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)
struct histogram {
	_Atomic uint64_t count, sum, max;
	_Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};
void histogram_record(struct histogram *h, int64_t value); /* negative counts as 0 */
/* A copy that one thread owns; adding several together. */
struct histogram_view {
	uint64_t count, sum, max;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};
void histogram_read(const struct histogram *h, struct histogram_view *add_to);
/* Upper bound of the bucket that holds the q-quantile (0..1), never above the maximum seen; 0 when empty. */
uint64_t histogram_quantile(const struct histogram_view *v, double q);
uint32_t histogram_bucket(uint64_t value);     /* index */
uint64_t histogram_bucket_max(uint32_t bucket); /* largest value that falls into it */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM /* recorded in us, written in seconds */ };
struct metric_row {
	const char *name; /* Prometheus name, unit last */
	enum metric_type type;
	const char *help;
};
#define METRIC_ROW_ENUM_ONE(id, name, type, help) id,
#define METRIC_ROW_TABLE_ONE(id, name, type, help) {name, type, help},
#define METRIC_ROW_ENUM(TABLE) TABLE(METRIC_ROW_ENUM_ONE)
#define METRIC_ROW_TABLE(TABLE) TABLE(METRIC_ROW_TABLE_ONE)

#define METRIC_LABELS_MAX 4
struct metric_label {
	const char *name;  /* static */
	const char *value; /* copied */
};

struct metrics;
struct metrics *metrics_new(size_t series_max); /* per row; 0 = 1000 */
void metrics_free(struct metrics *m);           /* NULL is fine; values are not touched */

/* Registers a value of the row's type with up to METRIC_LABELS_MAX labels. Past series_max the labels are replaced by "_other". */
void metrics_add_counter(struct metrics *m, const struct metric_row *row, struct counter *c, const struct metric_label *labels, size_t label_count);
void metrics_add_gauge(struct metrics *m, const struct metric_row *row, struct gauge *g, const struct metric_label *labels, size_t label_count);
void metrics_add_histogram(struct metrics *m, const struct metric_row *row, struct histogram *h, const struct metric_label *labels, size_t label_count);
/* A gauge or counter that is computed when it is read, on the loop that calls metrics_write. */
void metrics_add_fn(struct metrics *m, const struct metric_row *row, double (*read)(void *ctx), void *ctx, const struct metric_label *labels, size_t label_count);
/* Takes a value (or fn ctx) out again: what a removed counter or histogram had counted stays in its series only while another
 * value of that series is registered; the series goes with its last value. Unknown pointers are harmless. */
void metrics_remove(struct metrics *m, const void *value);
/* Prometheus text exposition format 0.0.4: rows in order of first registration, series in order of registration. */
void metrics_write(struct metrics *m, struct str *out);
