/* hist.h: a log-linear histogram of durations in nanoseconds.
 *
 * 128 steps per power of two, so a reported value is within 0.8 % of the true one; 64-bit range, fixed memory (60 KB).
 * Values come from the intended send time of a request, never from when it could be sent: a stalled server shows up in
 * every request that should have been sent meanwhile.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#define HIST_SUB 128u
#define HIST_BUCKETS (58u * HIST_SUB)

struct hist {
	uint64_t count, min, max;
	double sum;
	uint64_t bucket[HIST_BUCKETS];
};

struct hist *hist_new(void);
void hist_free(struct hist *h);
void hist_reset(struct hist *h);
void hist_add(struct hist *h, uint64_t ns, uint64_t times);
/* The value below which a share q (0..1) of the entries lies; 0 when empty. */
uint64_t hist_at(const struct hist *h, double q);
/* {"count","min","p50","p90","p99","p999","max","mean"}, in milliseconds. Caller owns. */
json_t *hist_json(const struct hist *h);
/* A number rounded to what is worth printing (4 decimals). Caller owns. */
json_t *hist_round(double v);
