/* index.c: the sparse offset index in memory. See index.h. */
#include "brokerd/log/index.h"

#include "common/base/mem.h"

void index_fini(struct index *ix)
{
	mem_free(ix->entries);
	*ix = (struct index){0};
}

static void thin(struct index *ix)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < ix->count; i += 2)
		ix->entries[kept++] = ix->entries[i];
	ix->count = kept;
	ix->stride *= 2;
	ix->skipped = 0;
}

void index_add(struct index *ix, uint32_t rel, uint32_t pos)
{
	if (ix->stride == 0)
		ix->stride = 1;
	if (++ix->skipped < ix->stride)
		return;
	ix->skipped = 0;
	if (ix->count == INDEX_ENTRIES_MAX)
		thin(ix);
	if (ix->count == ix->cap) {
		ix->cap = ix->cap ? ix->cap * 2 : 16;
		ix->entries = mem_realloc(ix->entries, ix->cap * sizeof(*ix->entries));
	}
	ix->entries[ix->count++] = (struct index_entry){rel, pos};
}

/* How many entries have rel <= the given one. */
static uint32_t below(const struct index *ix, uint64_t rel)
{
	uint32_t lo = 0, hi = ix->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (ix->entries[mid].rel <= rel)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t index_find(const struct index *ix, uint32_t rel)
{
	uint32_t n = below(ix, rel);

	return n ? ix->entries[n - 1].pos : 0;
}

uint32_t index_floor(const struct index *ix, uint64_t pos_max, uint64_t rel_max)
{
	uint32_t lo = 0, hi = ix->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (ix->entries[mid].pos <= pos_max)
			lo = mid + 1;
		else
			hi = mid;
	}
	uint32_t n = rel_max ? below(ix, rel_max - 1) : 0;
	if (n < lo)
		lo = n;
	return lo ? ix->entries[lo - 1].pos : 0;
}

uint32_t index_ceiling(const struct index *ix, uint32_t rel)
{
	/* The entry at n ends the first set whose last offset is above rel, or is rel: the set that follows it begins behind. */
	uint32_t n = below(ix, rel);

	if (n > 0 && ix->entries[n - 1].rel == rel)
		n--;
	return n + 1 < ix->count ? ix->entries[n + 1].pos : UINT32_MAX;
}
