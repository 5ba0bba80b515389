/* index.h: the sparse offset index of one segment in memory: (relative last offset of a batch, position where it begins).
 *
 * Bounded: when it holds INDEX_ENTRIES_MAX entries every second one goes, and from then on only every second, fourth, ... is kept.
 * What is thinned out costs a longer scan, never a wrong answer. The file on disk is not thinned.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define INDEX_ENTRIES_MAX 4096
struct index_entry {
	uint32_t rel, pos;
};
struct index {
	struct index_entry *entries;
	uint32_t count, cap, stride, skipped;
};

void index_fini(struct index *ix);
void index_add(struct index *ix, uint32_t rel, uint32_t pos);
/* Greatest position at which scanning for rel may begin (0 if below the first entry). */
uint32_t index_find(const struct index *ix, uint32_t rel);
/* Greatest entry position <= pos_max whose batch lies wholly below rel_max (exclusive); 0 if none: a batch boundary in any case. */
uint32_t index_floor(const struct index *ix, uint64_t pos_max, uint64_t rel_max);
/* Smallest known boundary at or behind the batch that holds rel; UINT32_MAX if unknown. */
uint32_t index_ceiling(const struct index *ix, uint32_t rel);
