/* checks_groups_log.c: the verdict on groups by the logs of the offsets topic, at the end. See checks_groups.h. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sim/checks_groups_priv.h"

/* What became of one key, in the order of the log. State k: after k entries. */
struct entry { uint64_t id; }; /* 0: tombstone */
struct history {
	struct entry *items;
	size_t count, cap;
	/* offsets may only rise from generation to generation */
	int32_t last_generation;
	int64_t last_max, older_max;
};

struct stored { int32_t generation; struct offsets_member *members; int32_t member_count; };
struct group_log {
	struct history keys[TPS_MAX];
	struct stored *stored;
	size_t stored_count, stored_cap;
	int32_t generation; /* of the last record; -1: no group */
};

struct reader {
	struct run *r;
	struct arena arena;
	struct group_log groups[GROUPS_MAX];
};

/* ---- reading a log ---- */

static void history_reset(struct history *h)
{
	h->last_generation = -1;
	h->last_max = h->older_max = -1;
}

static void rises(struct reader *rd, const struct group *g, struct history *h, const struct commit *c)
{
	if (c->generation > h->last_generation) {
		h->older_max = h->last_max > h->older_max ? h->last_max : h->older_max;
		h->last_generation = c->generation;
		h->last_max = -1;
	}
	if (c->rewound)
		h->older_max = -1;
	if (c->offset < h->older_max)
		run_violation(rd->r, "commit-back", "group %s tp %d: commit %llu of generation %d is offset %lld, members before had committed %lld", g->name, c->tp,
			(unsigned long long)c->id, c->generation, (long long)c->offset, (long long)h->older_max);
	h->last_max = c->offset > h->last_max || c->rewound ? c->offset : h->last_max;
}

static void read_commit(struct reader *rd, int group, int64_t offset, const struct offsets_record *rec)
{
	struct group *g = &rd->r->groups->groups[group];
	struct group_log *gl = &rd->groups[group];
	struct topic *t = run_topic_find(rd->r, rec->topic);
	struct commit *c = rec->tombstone ? NULL : group_checks_commit_of(rd->r, rec->id);
	int32_t tp = t && rec->partition >= 0 && rec->partition < t->partitions ? t->first_tp + rec->partition : -1;
	if (tp < 0 && rec->tombstone)
		return; /* of a topic that is gone */
	if (tp < 0 || (!rec->tombstone && (!c || c->group != group || c->tp != tp || c->offset != rec->offset || c->leader_epoch != rec->leader_epoch))) {
		run_violation(rd->r, "commit-value", "group %s: offset %lld of its log holds commit %llu with offset %lld epoch %d, sent was %lld epoch %d", g->name,
			(long long)offset, (unsigned long long)rec->id, (long long)rec->offset, rec->leader_epoch, c ? (long long)c->offset : -1ll, c ? c->leader_epoch : -1);
		return;
	}
	struct history *h = &gl->keys[tp];
	MEM_GROW(h->items, h->cap, h->count + 1);
	h->items[h->count++] = (struct entry){c ? c->id : 0};
	if (!c) {
		history_reset(h);
		return;
	}
	if (c->forbidden && !group_checks_tp_lost(rd->r, g->tp))
		run_violation(rd->r, "fenced", "group %s: offset %lld of its log holds commit %llu, by nobody or of an old generation", g->name, (long long)offset,
			(unsigned long long)c->id);
	if (c->generation < 0)
		return;
	if (c->generation < gl->generation)
		run_violation(rd->r, "fenced", "group %s: offset %lld of its log holds commit %llu of generation %d, the group is in %d there", g->name, (long long)offset,
			(unsigned long long)c->id, c->generation, gl->generation);
	rises(rd, g, h, c);
}

struct share { struct reader *rd; const struct group *g; const struct offsets_record *rec; int member; int owner[TPS_MAX]; };

static void shared(void *ctx, struct slice topic, int32_t partition)
{
	struct share *s = ctx;
	struct topic *t = run_topic_find(s->rd->r, topic);
	if (!t || partition < 0 || partition >= t->partitions)
		return;
	int *o = &s->owner[t->first_tp + partition];
	if (*o)
		run_violation(s->rd->r, "owner", "group %s generation %d: tp %d is stored for '%.*s' and for '%.*s'", s->g->name, s->rec->generation, t->first_tp + partition,
			(int)s->rec->members[*o - 1].id.len, (const char *)s->rec->members[*o - 1].id.ptr, (int)s->rec->members[s->member].id.len,
			(const char *)s->rec->members[s->member].id.ptr);
	*o = s->member + 1;
}

static void read_group(struct reader *rd, int group, int64_t offset, const struct offsets_record *rec)
{
	struct group *g = &rd->r->groups->groups[group];
	struct group_log *gl = &rd->groups[group];
	struct share s = {.rd = rd, .g = g, .rec = rec};
	if (rec->tombstone) {
		gl->generation = -1;
		return;
	}
	if (rec->generation < gl->generation)
		run_violation(rd->r, "generation", "group %s: offset %lld of its log holds generation %d behind %d", g->name, (long long)offset, rec->generation,
			gl->generation);
	gl->generation = rec->generation;
	for (s.member = 0; s.member < rec->member_count; s.member++)
		if (!offsets_assignment(rec->members[s.member].assignment, shared, &s))
			run_violation(rd->r, "assignment", "group %s generation %d: a stored assignment does not parse", g->name, rec->generation);
	MEM_GROW(gl->stored, gl->stored_cap, gl->stored_count + 1);
	gl->stored[gl->stored_count++] = (struct stored){rec->generation, rec->members, rec->member_count};
}

static void read_record(void *ctx, int64_t offset, struct slice key, struct slice value)
{
	struct reader *rd = ctx;
	struct offsets_record rec;
	struct slice kept = value.ptr ? slice_make(arena_strndup(&rd->arena, (const char *)value.ptr, value.len), value.len) : value;
	if (!offsets_parse(key, kept, &rd->arena, &rec)) {
		run_violation(rd->r, "commit-value", "offset %lld of the offsets topic: a record that does not parse", (long long)offset);
		return;
	}
	for (int g = 0; g < rd->r->groups->count; g++) {
		if (!slice_eq_str(rec.group, rd->r->groups->groups[g].name))
			continue;
		if (rec.kind == OFFSETS_COMMIT)
			read_commit(rd, g, offset, &rec);
		else if (rec.kind == OFFSETS_GROUP)
			read_group(rd, g, offset, &rec);
	}
}

static bool read_batch(void *ctx, struct slice bytes, const struct sim_batch *b)
{
	return sim_batch_each(bytes, b, read_record, ctx);
}

/* ---- placing what clients saw ---- */

static const struct seen *sorting;
static int by_from(const void *a, const void *b)
{
	const struct seen *x = &sorting[*(const uint32_t *)a], *y = &sorting[*(const uint32_t *)b];
	return x->from_us != y->from_us ? (x->from_us > y->from_us) - (x->from_us < y->from_us) : (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}
static int by_to(const void *a, const void *b)
{
	const struct seen *x = &sorting[*(const uint32_t *)a], *y = &sorting[*(const uint32_t *)b];
	return x->to_us != y->to_us ? (x->to_us > y->to_us) - (x->to_us < y->to_us) : (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

/* The first state from `least` on that shows the value, and holds nothing that was sent later than `to_us`; SIZE_MAX none. */
static size_t state_with(struct run *r, const struct history *h, size_t least, uint64_t id, int64_t to_us)
{
	for (size_t k = least; k <= h->count; k++) {
		uint64_t at = k == 0 ? 0 : h->items[k - 1].id;
		if (at == id)
			return k;
		if (k >= 1 && at && group_checks_commit_of(r, at)->sent_us > to_us)
			break;
	}
	return SIZE_MAX;
}

static bool commit_excused(struct run *r, uint64_t id)
{
	struct rec *rec = &r->checks->recs[id];
	struct masks all = {.count = 0};
	const struct inst *in = checks_find_inst(r, rec->tp, rec->offset, id);
	if (checks_excused(r, rec->tp, in, &rec->isr))
		return true;
	checks_window(r, rec->tp, 0, &all); /* read, not acknowledged to anybody: any ISR there was */
	return !rec->acked && checks_excused(r, rec->tp, in, &all);
}

/* Nothing fits from `least` on: which rule that breaks, or why not. */
static void judge_seen(struct run *r, int group, int32_t tp, const struct history *h, const struct seen *s, size_t least)
{
	struct group *g = &r->groups->groups[group];
	uint64_t before = least ? h->items[least - 1].id : 0;
	const char *what = s->read ? "OffsetFetch gave" : "it was acknowledged:";
	if (s->id == 0) {
		if (!group_checks_tp_lost(r, g->tp))
			run_violation(r, "commit-gone", "group %s tp %d t=%lld..%lld: %s nothing, but commit %llu stood", g->name, tp, (long long)s->from_us / 1000,
				(long long)s->to_us / 1000, s->read ? what : "it was deleted:", (unsigned long long)before);
		return;
	}
	if (state_with(r, h, 0, s->id, INT64_MAX) != SIZE_MAX) {
		run_violation(r, "commit-back", "group %s tp %d t=%lld..%lld: %s commit %llu, but commit %llu stood before", g->name, tp, (long long)s->from_us / 1000,
			(long long)s->to_us / 1000, what, (unsigned long long)s->id, (unsigned long long)before);
		return;
	}
	if (commit_excused(r, s->id)) {
		r->res.lost_excused += !s->read;
		return;
	}
	run_violation(r, s->read ? "commit-gone" : "commit-lost", "group %s tp %d t=%lld..%lld: %s commit %llu, which is not in the log", g->name, tp,
		(long long)s->from_us / 1000, (long long)s->to_us / 1000, what, (unsigned long long)s->id);
}

static void judge_key(struct run *r, int group, int32_t tp, const struct history *h)
{
	struct key *key = &r->groups->groups[group].keys[tp];
	uint32_t *from = mem_alloc(sizeof(uint32_t) * (key->count + 1)), *to = mem_alloc(sizeof(uint32_t) * (key->count + 1));
	size_t *at = mem_zalloc(sizeof(size_t) * (key->count + 1));
	size_t least = 0, ended = 0;
	for (uint32_t i = 0; i < key->count; i++)
		from[i] = to[i] = i;
	sorting = key->items;
	qsort(from, key->count, sizeof(from[0]), by_from);
	qsort(to, key->count, sizeof(to[0]), by_to);
	for (size_t i = 0; i < key->count && !run_over(r); i++) {
		const struct seen *s = &key->items[from[i]];
		for (; key->items[to[ended]].to_us < s->from_us; ended++)
			least = at[to[ended]] > least ? at[to[ended]] : least;
		size_t k = state_with(r, h, s->deposed ? 0 : least, s->id, s->to_us);
		if (k == SIZE_MAX)
			judge_seen(r, group, tp, h, s, least);
		else
			at[from[i]] = k;
	}
	mem_free(from);
	mem_free(to);
	mem_free(at);
}

static bool is_stored(const struct group_log *gl, const struct sync *s)
{
	for (size_t i = 0; i < gl->stored_count; i++) {
		if (gl->stored[i].generation != s->generation)
			continue;
		for (int32_t m = 0; m < gl->stored[i].member_count; m++)
			if (slice_eq(gl->stored[i].members[m].id, s->member) && slice_eq(gl->stored[i].members[m].assignment, s->assignment))
				return true;
	}
	return false;
}

static void judge_group(struct run *r, int group, struct group_log *gl)
{
	struct group *g = &r->groups->groups[group];
	for (int32_t tp = 0; tp < r->tp_count && !run_over(r); tp++)
		judge_key(r, group, tp, &gl->keys[tp]);
	for (size_t i = 0; i < g->sync_count && !run_over(r); i++)
		if (!is_stored(gl, &g->syncs[i]) && !group_checks_tp_lost(r, g->tp))
			run_violation(r, "assignment", "group %s t=%lld: '%.*s' was given an assignment of generation %d that is not stored", g->name,
				(long long)g->syncs[i].t_us / 1000, (int)g->syncs[i].member.len, (const char *)g->syncs[i].member.ptr, g->syncs[i].generation);
}

void group_checks_final(struct run *r)
{
	struct reader *rd = MEM_NEW(struct reader);
	rd->r = r;
	arena_init(&rd->arena, 0);
	for (int g = 0; g < GROUPS_MAX; g++) {
		rd->groups[g].generation = -1;
		for (int t = 0; t < TPS_MAX; t++)
			history_reset(&rd->groups[g].keys[t]);
	}
	for (int32_t tp = 0; tp < r->tp_count && !run_over(r); tp++)
		if (run_topic_of(r, tp)->internal && r->checks->tps[tp].replicas)
			checks_disk_batches(r, __builtin_ctz(r->checks->tps[tp].replicas), tp, read_batch, rd);
	for (int g = 0; g < r->groups->count && !run_over(r); g++)
		judge_group(r, g, &rd->groups[g]);
	for (int g = 0; g < GROUPS_MAX; g++) {
		for (int t = 0; t < TPS_MAX; t++)
			mem_free(rd->groups[g].keys[t].items);
		mem_free(rd->groups[g].stored);
	}
	arena_fini(&rd->arena);
	mem_free(rd);
}
