/* group_due.c: the deadlines of members and groups: a binary heap, ordered by time and then by order of arming.
 *
 * A deadline that moves later leaves the heap alone: its key is then too early, and is put right when it comes up. So a heartbeat costs a store
 * to memory, and the heap is touched about once per member and session timeout. */
#include "brokerd/group/group_priv.h"

void group_due_init(struct due *d, enum due_kind kind)
{
	*d = (struct due){.slot = UINT32_MAX, .kind = (uint8_t)kind};
}

static bool before(const struct due_key *a, const struct due_key *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void place(struct due_heap *h, uint32_t slot, struct due_key k)
{
	h->keys[slot] = k;
	k.due->slot = slot;
}

static void sift_up(struct due_heap *h, uint32_t slot, struct due_key k)
{
	while (slot > 0 && before(&k, &h->keys[(slot - 1) / 2])) {
		place(h, slot, h->keys[(slot - 1) / 2]);
		slot = (slot - 1) / 2;
	}
	place(h, slot, k);
}

static void sift_down(struct due_heap *h, uint32_t slot, struct due_key k)
{
	for (;;) {
		uint32_t child = slot * 2 + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && before(&h->keys[child + 1], &h->keys[child]))
			child++;
		if (!before(&h->keys[child], &k))
			break;
		place(h, slot, h->keys[child]);
		slot = child;
	}
	place(h, slot, k);
}

static void put(struct due_heap *h, uint32_t slot, struct due_key k)
{
	if (slot > 0 && before(&k, &h->keys[(slot - 1) / 2]))
		sift_up(h, slot, k);
	else
		sift_down(h, slot, k);
}

void group_due_arm(struct due_heap *h, struct due *d, int64_t at)
{
	d->at = at;
	if (!due_armed(d)) {
		MEM_GROW(h->keys, h->cap, (size_t)h->count + 1);
		sift_up(h, h->count++, (struct due_key){at, h->seq++, d});
	} else if (at < h->keys[d->slot].at) {
		sift_up(h, d->slot, (struct due_key){at, h->seq++, d});
	}
}

void group_due_stop(struct due_heap *h, struct due *d)
{
	if (!due_armed(d))
		return;
	uint32_t slot = d->slot;
	struct due_key last = h->keys[--h->count];
	d->slot = UINT32_MAX;
	if (slot < h->count)
		put(h, slot, last);
}

struct due *group_due_pop(struct due_heap *h, int64_t now)
{
	while (h->count > 0 && h->keys[0].at <= now) {
		struct due *d = h->keys[0].due;
		if (d->at <= h->keys[0].at) {
			group_due_stop(h, d);
			return d;
		}
		sift_down(h, 0, (struct due_key){d->at, h->seq++, d});
	}
	return NULL;
}
