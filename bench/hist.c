/* hist.c: see hist.h */
#include "bench/hist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct hist *hist_new(void)
{
	struct hist *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	return h;
}

void hist_free(struct hist *h)
{
	free(h);
}

void hist_reset(struct hist *h)
{
	memset(h, 0, sizeof(*h));
}

static unsigned bucket_of(uint64_t v)
{
	unsigned shift = 0;

	if (v >= 2 * HIST_SUB)
		shift = 64u - (unsigned)__builtin_clzll(v) - 8u;
	return shift * HIST_SUB + (unsigned)(v >> shift);
}

static uint64_t value_of(unsigned idx)
{
	unsigned shift;

	if (idx < 2 * HIST_SUB)
		return idx;
	shift = idx / HIST_SUB - 1;
	return ((uint64_t)(idx - shift * HIST_SUB) << shift) + ((UINT64_C(1) << shift) >> 1);
}

void hist_add(struct hist *h, uint64_t ns, uint64_t times)
{
	if (!h->count || ns < h->min)
		h->min = ns;
	if (ns > h->max)
		h->max = ns;
	h->count += times;
	h->sum += (double)ns * (double)times;
	h->bucket[bucket_of(ns)] += times;
}

uint64_t hist_at(const struct hist *h, double q)
{
	uint64_t want = (uint64_t)ceil(q * (double)h->count), seen = 0;

	if (!h->count)
		return 0;
	if (q <= 0 || q >= 1)
		return q <= 0 ? h->min : h->max;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= want) {
			uint64_t v = value_of(i);

			return v < h->min ? h->min : v > h->max ? h->max : v;
		}
	}
	return h->max;
}

json_t *hist_round(double v)
{
	return json_real(isfinite(v) ? round(v * 1e4) / 1e4 : 0);
}

json_t *hist_json(const struct hist *h)
{
	json_t *o = json_object();

	json_object_set_new(o, "count", json_integer((json_int_t)h->count));
	json_object_set_new(o, "min", hist_round((double)h->min / 1e6));
	json_object_set_new(o, "p50", hist_round((double)hist_at(h, 0.5) / 1e6));
	json_object_set_new(o, "p90", hist_round((double)hist_at(h, 0.9) / 1e6));
	json_object_set_new(o, "p99", hist_round((double)hist_at(h, 0.99) / 1e6));
	json_object_set_new(o, "p999", hist_round((double)hist_at(h, 0.999) / 1e6));
	json_object_set_new(o, "max", hist_round((double)h->max / 1e6));
	json_object_set_new(o, "mean", hist_round(h->count ? h->sum / (double)h->count / 1e6 : 0));
	return o;
}
