/* checks_groups.c: bookkeeping of what members and committers were told, and what can be judged at once. See checks_groups.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "tests/sim/checks_groups_priv.h"

void group_checks_init(struct run *r)
{
	struct group_checks *k = MEM_NEW(struct group_checks);
	arena_init(&k->arena, 0);
	r->groups = k;
}

void group_checks_free(struct run *r)
{
	struct group_checks *k = r->groups;
	if (!k)
		return;
	for (int g = 0; g < k->count; g++) {
		for (int t = 0; t < TPS_MAX; t++)
			mem_free(k->groups[g].keys[t].items);
		mem_free(k->groups[g].syncs);
		mem_free(k->groups[g].first_sync_us);
	}
	mem_free(k->commits);
	mem_free(k->ids);
	arena_fini(&k->arena);
	mem_free(k);
	r->groups = NULL;
}

static struct topic *offsets_topic(struct run *r)
{
	for (int32_t i = 0; i < r->topic_count; i++)
		if (r->topics[i].internal)
			return &r->topics[i];
	return NULL;
}

int group_checks_add(struct run *r, const char *name, bool members, bool deletable)
{
	struct group_checks *k = r->groups;
	struct topic *t = offsets_topic(r);
	ASSERT(k->count < GROUPS_MAX && t);
	struct group *g = &k->groups[k->count];
	snprintf(g->name, sizeof(g->name), "%s", name);
	g->members = members;
	g->deletable = deletable;
	g->tp = t->first_tp + offsets_partition_of(name, t->partitions);
	return k->count++;
}

const char *group_checks_name(struct run *r, int group) { return r->groups->groups[group].name; }
int group_checks_count(struct run *r) { return r->groups ? r->groups->count : 0; }
int32_t group_checks_tp(struct run *r, int group) { return r->groups->groups[group].tp; }
bool group_checks_deletable(struct run *r, int group) { return r->groups->groups[group].deletable; }
bool group_checks_has_members(struct run *r, int group) { return r->groups->groups[group].members; }

bool group_checks_tp_lost(struct run *r, int32_t tp)
{
	const struct tp_check *t = &r->checks->tps[tp];
	for (size_t i = 0; i < t->offset_cap; i++)
		for (const struct inst *in = t->offsets[i]; in; in = in->next)
			for (const struct loss *l = in->losses; l; l = l->next)
				if (l->holders == 0 && (l->isr & ~l->lost) == 0)
					return true;
	return false;
}

/* ---- commits and what is read of them ---- */

uint64_t group_checks_commit(struct run *r, int group, int32_t tp, int64_t offset, int32_t leader_epoch, int32_t generation, bool rewound)
{
	struct group_checks *k = r->groups;
	uint64_t id = checks_record(r, -1, k->groups[group].tp, -1, true);
	MEM_GROW(k->commits, k->commit_cap, k->commit_count + 1);
	r->checks->recs[id].commit = (int32_t)k->commit_count;
	k->commits[k->commit_count++] = (struct commit){.id = id, .group = group, .tp = tp, .offset = offset, .leader_epoch = leader_epoch, .generation = generation,
		.sent_us = sim_now_us(r->w), .rewound = rewound};
	return id;
}

struct commit *group_checks_commit_of(struct run *r, uint64_t id)
{
	if (id == 0 || id >= r->checks->rec_count || r->checks->recs[id].commit < 0)
		return NULL;
	return &r->groups->commits[r->checks->recs[id].commit];
}

static struct seen *observe(struct run *r, int group, int32_t tp, uint64_t id, int64_t from_us, bool read)
{
	struct key *key = &r->groups->groups[group].keys[tp];
	MEM_GROW(key->items, key->cap, key->count + 1);
	key->items[key->count++] = (struct seen){.from_us = from_us, .to_us = sim_now_us(r->w), .id = id, .read = read};
	if (from_us >= r->quiet_us)
		key->read_back = read;
	return &key->items[key->count - 1];
}

/* The first time at which a generation above that one was known to be stored; INT64_MAX never. */
static int64_t superseded_us(const struct group *g, int32_t generation)
{
	int64_t t = INT64_MAX;
	for (size_t i = (size_t)generation + 1; i < g->generation_cap; i++)
		if (g->first_sync_us[i] && g->first_sync_us[i] < t)
			t = g->first_sync_us[i];
	return t;
}

void group_checks_forbid(struct run *r, uint64_t id)
{
	group_checks_commit_of(r, id)->forbidden = true;
}

void group_checks_committed(struct run *r, uint64_t id, int64_t sent_us)
{
	struct commit *c = group_checks_commit_of(r, id);
	struct group *g = &r->groups->groups[c->group];
	if (c->forbidden && !group_checks_tp_lost(r, g->tp))
		run_violation(r, "fenced", "group %s: commit %llu, by nobody or of an old generation, was acknowledged", g->name, (unsigned long long)id);
	struct masks m = {.count = 0};
	checks_window(r, g->tp, sent_us, &m);
	r->checks->recs[id].acked = true;
	r->checks->recs[id].isr = m;
	r->res.commits++;
	observe(r, c->group, c->tp, id, sent_us, false);
	if (c->generation < 0 || g->deletable)
		return;
	int64_t over = superseded_us(g, c->generation);
	if (over < sent_us && !group_checks_tp_lost(r, g->tp))
		run_violation(r, "fenced", "group %s: commit %llu of generation %d was acknowledged, sent %lld ms after a newer generation was stored", g->name,
			(unsigned long long)id, c->generation, (long long)(sent_us - over) / 1000);
}

void group_checks_fetched(struct run *r, int group, int32_t broker, int32_t tp, int64_t offset, int32_t leader_epoch, struct slice metadata, int64_t sent_us)
{
	struct group *g = &r->groups->groups[group];
	uint64_t id = offsets_id_of(metadata);
	struct commit *c = group_checks_commit_of(r, id);
	bool deposed = r->checks->tps[g->tp].leader != broker;
	if (offset < 0) {
		observe(r, group, tp, 0, sent_us, true)->deposed = deposed;
		return;
	}
	if (!c || c->group != group || c->tp != tp || c->offset != offset || (leader_epoch != -2 && c->leader_epoch != leader_epoch)) {
		run_violation(r, "commit-value", "group %s tp %d: OffsetFetch gave offset %lld epoch %d metadata '%.*s', committed was %lld epoch %d", g->name, tp,
			(long long)offset, leader_epoch, (int)metadata.len, (const char *)metadata.ptr, c ? (long long)c->offset : -1ll, c ? c->leader_epoch : -1);
		return;
	}
	observe(r, group, tp, id, sent_us, true)->deposed = deposed;
}

void group_checks_deleted(struct run *r, int group, int32_t tp, int64_t sent_us)
{
	observe(r, group, tp, 0, sent_us, false);
}

bool group_checks_read_back(struct run *r, int group, struct str *what)
{
	struct group *g = &r->groups->groups[group];
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		if (g->keys[tp].count && !g->keys[tp].read_back) {
			str_printf(what, "group %s: OffsetFetch of tp %d was not answered since the quiet", g->name, tp);
			return false;
		}
	}
	return true;
}

/* ---- membership ---- */

void group_checks_member_id(struct run *r, int group, struct slice id, int process)
{
	struct group_checks *k = r->groups;
	for (size_t i = 0; i < k->id_count; i++) {
		struct holder *h = &k->ids[i];
		if (h->group != group || !slice_eq(h->id, id))
			continue;
		if (h->process != process)
			run_violation(r, "member-id", "group %s: member id '%.*s' was given twice", k->groups[group].name, (int)id.len, (const char *)id.ptr);
		return;
	}
	MEM_GROW(k->ids, k->id_cap, k->id_count + 1);
	k->ids[k->id_count++] = (struct holder){group, process, slice_make(arena_strndup(&k->arena, (const char *)id.ptr, id.len), id.len)};
}

struct claim { struct run *r; struct group *g; struct slice member, instance; int32_t generation; };

/* One partition of an assignment that was given out. */
static void claim(void *ctx, struct slice topic, int32_t partition)
{
	struct claim *c = ctx;
	struct topic *t = run_topic_find(c->r, topic);
	if (!t || partition < 0 || partition >= t->partitions)
		return;
	struct owner *o = &c->g->owners[t->first_tp + partition];
	bool same = !o->member.ptr || slice_eq(o->member, c->member) || (o->instance.len && slice_eq(o->instance, c->instance));
	if (!same && !group_checks_tp_lost(c->r, c->g->tp))
		run_violation(c->r, "owner", "group %s generation %d: tp %d was given to '%.*s' and to '%.*s'", c->g->name, c->generation, t->first_tp + partition,
			(int)o->member.len, (const char *)o->member.ptr, (int)c->member.len, (const char *)c->member.ptr);
	o->member = c->member;
	o->instance = c->instance;
}

static struct slice keep(struct arena *a, struct slice s)
{
	return s.ptr ? slice_make(arena_strndup(a, (const char *)s.ptr, s.len), s.len) : s;
}

void group_checks_synced(struct run *r, int group, int32_t generation, struct slice member, struct slice instance, struct slice assignment)
{
	struct group_checks *k = r->groups;
	struct group *g = &k->groups[group];
	struct claim c = {r, g, keep(&k->arena, member), keep(&k->arena, instance), generation};
	if (generation < 0 || generation > 1000000) {
		run_violation(r, "generation", "group %s: SyncGroup in generation %d", g->name, generation);
		return;
	}
	if ((size_t)generation >= g->generation_cap) {
		size_t had = g->generation_cap;
		MEM_GROW(g->first_sync_us, g->generation_cap, (size_t)generation + 16);
		memset(g->first_sync_us + had, 0, (g->generation_cap - had) * sizeof(g->first_sync_us[0]));
	}
	if (!g->first_sync_us[generation]) {
		g->first_sync_us[generation] = sim_now_us(r->w);
		r->res.rebalances++;
	}
	if (generation > g->owners_generation) {
		g->owners_generation = generation;
		memset(g->owners, 0, sizeof(g->owners));
	}
	MEM_GROW(g->syncs, g->sync_cap, g->sync_count + 1);
	g->syncs[g->sync_count++] = (struct sync){.generation = generation, .member = c.member, .assignment = keep(&k->arena, assignment), .t_us = sim_now_us(r->w)};
	if (generation == g->owners_generation && !g->deletable && !offsets_assignment(assignment, claim, &c))
		run_violation(r, "assignment", "group %s generation %d: the assignment of '%.*s' does not parse", g->name, generation, (int)member.len,
			(const char *)member.ptr);
}
