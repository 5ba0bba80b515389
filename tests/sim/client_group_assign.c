/* client_group_assign.c: subscriptions and assignments of Kafka's consumer protocol, as clients make them: in the manner of the range and the
 * cooperative-sticky assignor. See client_group.h. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "proto/kafka/kp.h"
#include "tests/sim/client_group.h"
#include "tests/sim/offsets.h"

/* ---- bytes ---- */

/* An int16 version in front of the message. */
static struct slice embedded(const struct wire_struct *desc, int16_t version, const void *msg, struct arena *a)
{
	struct chain out;
	chain_init(&out);
	wire_encode(desc, version, msg, &out);
	size_t len = out.bytes;
	uint8_t *p = arena_alloc(a, len + 2);
	be16_put(p, (uint16_t)version);
	chain_flatten(&out, p + 2);
	chain_clear(&out);
	return slice_make(p, len + 2);
}

struct slice assign_subscription(struct member *m, struct arena *a)
{
	struct kp_consumer_protocol_subscription s;
	struct kp_consumer_protocol_subscription_owned_partitions owned[TOPICS_MAX];
	struct slice topics[TOPICS_MAX];
	int32_t indexes[TPS_MAX];
	int32_t at = 0;
	kp_consumer_protocol_subscription_init(&s);
	s.topics = topics;
	s.owned_partitions = owned;
	for (int32_t i = 0; i < m->r->topic_count; i++) {
		struct topic *t = &m->r->topics[i];
		if (!member_subscribes(m, t->first_tp))
			continue;
		topics[s.topics_count++] = slice_str(t->name);
		int32_t first = at;
		for (int32_t p = 0; p < t->partitions; p++)
			if (m->cooperative && m->parts[t->first_tp + p].owned)
				indexes[at++] = p;
		if (at == first)
			continue;
		struct kp_consumer_protocol_subscription_owned_partitions *o = &owned[s.owned_partitions_count++];
		kp_consumer_protocol_subscription_owned_partitions_init(o);
		o->topic = slice_str(t->name);
		o->partitions = &indexes[first];
		o->partitions_count = at - first;
	}
	s.generation_id = m->generation;
	return embedded(&kp_consumer_protocol_subscription_desc, m->subscription_version, &s, a);
}

static struct slice assignment_of(struct member *m, const int *owner, int who, struct arena *a)
{
	struct kp_consumer_protocol_assignment s;
	struct kp_consumer_protocol_assignment_assigned_partitions topics[TOPICS_MAX];
	int32_t indexes[TPS_MAX];
	int32_t at = 0;
	kp_consumer_protocol_assignment_init(&s);
	s.assigned_partitions = topics;
	for (int32_t i = 0; i < m->r->topic_count; i++) {
		struct topic *t = &m->r->topics[i];
		int32_t first = at;
		for (int32_t p = 0; p < t->partitions; p++)
			if (owner[t->first_tp + p] == who)
				indexes[at++] = p;
		if (at == first)
			continue;
		struct kp_consumer_protocol_assignment_assigned_partitions *o = &topics[s.assigned_partitions_count++];
		kp_consumer_protocol_assignment_assigned_partitions_init(o);
		o->topic = slice_str(t->name);
		o->partitions = &indexes[first];
		o->partitions_count = at - first;
	}
	return embedded(&kp_consumer_protocol_assignment_desc, m->subscription_version, &s, a);
}

struct mark { struct member *m; bool *owned; };

static void mark(void *ctx, struct slice topic, int32_t partition)
{
	struct mark *k = ctx;
	struct topic *t = run_topic_find(k->m->r, topic);
	if (t && partition >= 0 && partition < t->partitions)
		k->owned[t->first_tp + partition] = true;
}

bool assign_parse(struct member *m, struct slice assignment, bool *owned)
{
	struct mark k = {m, owned};
	return offsets_assignment(assignment, mark, &k);
}

/* ---- who gets what ---- */

struct plan {
	struct member *m;
	int count;
	int order[JOINED_MAX];          /* of `joined`, sorted by instance or member id: the same whoever leads */
	int owner[TPS_MAX];             /* index of joined, -1 nobody */
	int claimed[TPS_MAX];           /* whose it is now, by what they say; -1 nobody */
	int32_t claimed_in[TPS_MAX];    /* generation of the claim */
};

static void range(struct plan *p)
{
	struct run *r = p->m->r;
	for (int32_t i = 0; i < r->topic_count; i++) {
		struct topic *t = &r->topics[i];
		if (!member_subscribes(p->m, t->first_tp))
			continue;
		int32_t each = t->partitions / p->count, more = t->partitions % p->count, at = 0;
		for (int k = 0; k < p->count; k++)
			for (int32_t n = each + (k < more); n > 0; n--)
				p->owner[t->first_tp + at++] = p->order[k];
	}
}

static int least_loaded(const struct plan *p, const int *load)
{
	int best = p->order[0];
	for (int k = 1; k < p->count; k++)
		if (load[p->order[k]] < load[best])
			best = p->order[k];
	return best;
}

/* Balanced, with as little moved as may be; what moves is given to nobody yet: its owner gives it up first, and joins again for that. */
static void cooperative(struct plan *p)
{
	struct run *r = p->m->r;
	int load[JOINED_MAX] = {0};
	int32_t total = 0;
	for (int32_t tp = 0; tp < r->tp_count; tp++)
		total += member_subscribes(p->m, tp);
	int32_t most = (total + p->count - 1) / p->count;
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		int c = p->claimed[tp];
		if (c >= 0 && member_subscribes(p->m, tp) && load[c] < most) {
			p->owner[tp] = c;
			load[c]++;
		}
	}
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		if (!member_subscribes(p->m, tp) || p->owner[tp] >= 0)
			continue;
		int to = least_loaded(p, load);
		load[to]++;
		if (p->claimed[tp] < 0)
			p->owner[tp] = to;
	}
}

static bool claims(struct plan *p, const struct joined *joined, int idx)
{
	struct kp_consumer_protocol_subscription s;
	struct slice in = joined[idx].metadata;
	struct arena a;
	if (in.len < 2)
		return false;
	int16_t version = (int16_t)be16_get(in.ptr);
	in = slice_make(in.ptr + 2, in.len - 2);
	arena_init(&a, 0);
	int err = wire_decode(&kp_consumer_protocol_subscription_desc, version, &in, &a, &s);
	for (int32_t i = 0; !err && i < s.owned_partitions_count; i++) {
		struct topic *t = run_topic_find(p->m->r, s.owned_partitions[i].topic);
		for (int32_t k = 0; t && k < s.owned_partitions[i].partitions_count; k++) {
			int32_t partition = s.owned_partitions[i].partitions[k];
			if (partition < 0 || partition >= t->partitions)
				continue;
			int32_t tp = t->first_tp + partition;
			/* two claims: the later generation has it; of the same one, nobody */
			if (p->claimed[tp] >= 0 && p->claimed_in[tp] == s.generation_id)
				p->claimed[tp] = -1;
			else if (p->claimed[tp] < 0 || s.generation_id > p->claimed_in[tp])
				p->claimed[tp] = idx;
			p->claimed_in[tp] = s.generation_id > p->claimed_in[tp] ? s.generation_id : p->claimed_in[tp];
		}
	}
	arena_fini(&a);
	return !err;
}

static void sort_members(struct plan *p, const struct joined *joined)
{
	for (int i = 0; i < p->count; i++) {
		int at = i;
		struct slice key = joined[i].instance.len ? joined[i].instance : joined[i].id;
		for (; at > 0; at--) {
			const struct joined *before = &joined[p->order[at - 1]];
			if (slice_cmp(before->instance.len ? before->instance : before->id, key) <= 0)
				break;
			p->order[at] = p->order[at - 1];
		}
		p->order[at] = i;
	}
}

bool assign_all(struct member *m, const struct joined *joined, int count)
{
	struct plan p = {.m = m, .count = count};
	bool parsed = true;
	m->to_give_count = 0;
	arena_reset(&m->given);
	if (count == 0 || count > JOINED_MAX)
		return false;
	for (int t = 0; t < TPS_MAX; t++) {
		p.owner[t] = p.claimed[t] = -1;
		p.claimed_in[t] = -1;
	}
	for (int i = 0; i < count; i++)
		parsed &= claims(&p, joined, i);
	sort_members(&p, joined);
	if (m->cooperative)
		cooperative(&p);
	else
		range(&p);
	for (int i = 0; i < count; i++) {
		size_t len = joined[i].id.len < MEMBER_ID_MAX ? joined[i].id.len : MEMBER_ID_MAX - 1;
		memcpy(m->to_give[i].id, joined[i].id.ptr, len);
		m->to_give[i].id[len] = '\0';
		m->to_give[i].assignment = assignment_of(m, p.owner, i, &m->given);
	}
	m->to_give_count = count;
	return parsed;
}
