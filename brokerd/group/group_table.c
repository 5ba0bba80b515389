/* group_table.c: hash tables with intrusive nodes, and the interned names. Tables double when they are full and never shrink: they belong to a
 * struct groups, which goes with the leadership. */
#include <string.h>
#include <xxhash.h>

#include "brokerd/group/group_priv.h"

#define FIRST_BUCKETS 16

void group_htable_fini(struct htable *t)
{
	mem_free(t->buckets);
	*t = (struct htable){0};
}

static void grow(struct htable *t)
{
	uint32_t buckets = t->buckets ? (t->mask + 1) * 2 : FIRST_BUCKETS;
	struct hnode **old = t->buckets;
	uint32_t old_count = old ? t->mask + 1 : 0;
	t->buckets = mem_zalloc(buckets * sizeof(*t->buckets));
	t->mask = buckets - 1;
	for (uint32_t i = 0; i < old_count; i++)
		for (struct hnode *n = old[i], *next; n; n = next) {
			next = n->next;
			n->next = t->buckets[n->hash & t->mask];
			t->buckets[n->hash & t->mask] = n;
		}
	mem_free(old);
}

void group_htable_add(struct htable *t, struct hnode *n, uint32_t hash)
{
	if (!t->buckets || t->count > t->mask)
		grow(t);
	n->hash = hash;
	n->next = t->buckets[hash & t->mask];
	t->buckets[hash & t->mask] = n;
	t->count++;
}

void group_htable_remove(struct htable *t, struct hnode *n)
{
	struct hnode **at = &t->buckets[n->hash & t->mask];
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	t->count--;
}

uint32_t group_hash_text(const struct groups *g, struct slice text)
{
	return (uint32_t)XXH3_64bits_withSeed(text.len ? (const void *)text.ptr : "", text.len, g->seed);
}

/* ---- names ---- */

uint32_t group_name_find(const struct groups *g, struct slice text)
{
	for (struct hnode *n = htable_first(&g->names.by_text, group_hash_text(g, text)); n; n = htable_next(n)) {
		const struct name *name = CONTAINER_OF(n, struct name, node);
		if (slice_eq(slice_make(name->text, name->len), text))
			return name->id;
	}
	return 0;
}

uint32_t group_name_ref(struct groups *g, uint32_t id)
{
	if (id)
		g->names.by_id[id]->refs++;
	return id;
}

uint32_t group_name_get(struct groups *g, struct slice text)
{
	struct names *t = &g->names;
	uint32_t id = group_name_find(g, text);
	if (id)
		return group_name_ref(g, id);
	struct name *n = mem_alloc(sizeof(*n) + text.len);
	n->refs = 1;
	n->gone_below = 0;
	n->len = (uint32_t)text.len;
	if (text.len)
		memcpy(n->text, text.ptr, text.len);
	n->id = t->spare_count ? t->spare[--t->spare_count] : ++t->count;
	MEM_GROW(t->by_id, t->cap, (size_t)t->count + 1);
	t->by_id[n->id] = n;
	group_htable_add(&t->by_text, &n->node, group_hash_text(g, text));
	g->stats.bytes += sizeof(*n) + n->len;
	return n->id;
}

void group_name_drop(struct groups *g, uint32_t id)
{
	struct names *t = &g->names;
	if (!id || --t->by_id[id]->refs > 0)
		return;
	struct name *n = t->by_id[id];
	MEM_GROW(t->spare, t->spare_cap, (size_t)t->spare_count + 1);
	t->spare[t->spare_count++] = id;
	t->by_id[id] = NULL;
	g->stats.bytes -= sizeof(*n) + n->len;
	group_htable_remove(&t->by_text, &n->node);
	mem_free(n);
}

struct slice group_name_text(const struct groups *g, uint32_t id)
{
	return id ? slice_make(g->names.by_id[id]->text, g->names.by_id[id]->len) : slice_make(NULL, 0);
}
