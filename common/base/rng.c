/* rng.c: xoshiro256** (Blackman, Vigna), seeded through splitmix64 so that near seeds give unrelated streams. Written from the
 * published definition; only integer arithmetic decides, so that streams are equal on every machine.
 */
#include "common/base/rng.h"

#include "common/base/check.h"

static uint64_t rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15u;
		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
		z = (z ^ z >> 27) * 0x94d049bb133111ebu;
		r->s[i] = z ^ z >> 31;
	}
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	ASSERT(n > 0);
	/* multiply and shift; the few low products that would make small results likelier are drawn again */
	uint64_t least = -n % n;
	for (;;) {
		__extension__ unsigned __int128 m = (unsigned __int128)rng_u64(r) * n;
		if ((uint64_t)m >= least)
			return (uint64_t)(m >> 64);
	}
}

int64_t rng_between(struct rng *r, int64_t lo, int64_t hi)
{
	ASSERT(lo <= hi);
	uint64_t span = (uint64_t)hi - (uint64_t)lo + 1;
	uint64_t v = span ? rng_below(r, span) : rng_u64(r);
	return (int64_t)((uint64_t)lo + v);
}

bool rng_chance(struct rng *r, double p)
{
	/* always one draw, so that the stream does not depend on p */
	double u = (double)(rng_u64(r) >> 11) * 0x1.0p-53;
	return u < p;
}
