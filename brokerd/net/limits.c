/* limits.c: how many connections a broker takes. See limits.h. */
#include "brokerd/net/limits.h"

#include <stdatomic.h>

#include "common/base/mem.h"

enum { PLACES = 1 << 14, PROBES = 32, NO_PLACE = PLACES, COUNT_BITS = 24 };
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)

struct net_limits {
	atomic_uint total;
	_Atomic uint64_t places[PLACES]; /* hash << COUNT_BITS | connections */
};

uint64_t net_address_hash(const char *address)
{
	uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a, folded to the bits that a place has for it */
	for (const char *p = address; *p; p++)
		h = (h ^ (uint8_t)*p) * UINT64_C(1099511628211);
	h = (h ^ h >> (64 - COUNT_BITS)) & (UINT64_MAX >> COUNT_BITS);
	return h ? h : 1;
}

struct net_limits *net_limits_new(void) { return MEM_NEW(struct net_limits); }
void net_limits_free(struct net_limits *l) { mem_free(l); }
uint32_t net_limits_total(const struct net_limits *l) { return atomic_load_explicit(&((struct net_limits *)(uintptr_t)l)->total, memory_order_relaxed); }

static _Atomic uint64_t *place_of(struct net_limits *l, uint64_t hash, uint32_t probe, uint32_t *ret)
{
	*ret = (uint32_t)(hash + probe) % PLACES;
	return &l->places[*ret];
}

/* Counts one at a place that bears this hash already. */
static bool join(struct net_limits *l, uint64_t hash, uint32_t *ret_place)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		_Atomic uint64_t *p = place_of(l, hash, i, ret_place);
		uint64_t word = atomic_load(p);
		while (word >> COUNT_BITS == hash && (word & COUNT_MASK))
			if (atomic_compare_exchange_weak(p, &word, word + 1))
				return true;
	}
	return false;
}

static bool begin(struct net_limits *l, uint64_t hash, uint32_t *ret_place)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		_Atomic uint64_t *p = place_of(l, hash, i, ret_place);
		uint64_t word = atomic_load(p);
		while (!(word & COUNT_MASK))
			if (atomic_compare_exchange_weak(p, &word, hash << COUNT_BITS | 1))
				return true;
	}
	return false;
}

static uint64_t connections_of(struct net_limits *l, uint64_t hash)
{
	uint64_t n = 0;
	uint32_t place;
	for (uint32_t i = 0; i < PROBES; i++) {
		uint64_t word = atomic_load(place_of(l, hash, i, &place));
		n += word >> COUNT_BITS == hash ? word & COUNT_MASK : 0;
	}
	return n;
}

static uint32_t most_of(const struct net_limit_values *v, uint64_t hash)
{
	for (uint32_t i = 0; i < v->override_count; i++)
		if (v->overrides[i].address == hash)
			return v->overrides[i].most;
	return v->per_ip;
}

bool net_limits_enter(struct net_limits *l, const struct net_limit_values *v, const char *address, bool free_of_total, uint32_t *ret_place)
{
	uint64_t hash = net_address_hash(address);
	bool counted = join(l, hash, ret_place) || begin(l, hash, ret_place);
	if (!counted)
		*ret_place = NO_PLACE;
	uint32_t others = atomic_fetch_add(&l->total, 1);
	if ((free_of_total || others < v->total) && (!counted || connections_of(l, hash) <= most_of(v, hash)))
		return true;
	net_limits_leave(l, *ret_place);
	return false;
}

void net_limits_leave(struct net_limits *l, uint32_t place)
{
	atomic_fetch_sub(&l->total, 1);
	if (place != NO_PLACE)
		atomic_fetch_sub(&l->places[place], 1);
}
