/* rng.h: a seeded generator (xoshiro256**): same seed, same numbers, everywhere. Not for secrets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);              /* [0, n), n > 0 */
int64_t rng_between(struct rng *r, int64_t lo, int64_t hi); /* [lo, hi] */
bool rng_chance(struct rng *r, double p);
