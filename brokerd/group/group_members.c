/* group_members.c: members of a group: their ids, protocols, waiting calls and counts. What changes the group's state is in group_state.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brokerd/group/group_priv.h"

#define ID_MAX (WIRE_STRING_MAX - 64) /* of a client id in a member id: the whole must stay a string */

static uint32_t member_hash(const struct groups *g, const struct group *gr, struct slice id)
{
	return hash_mix(gr->node.hash, group_hash_text(g, id));
}

struct roster *group_roster_get(struct groups *g, struct group *gr)
{
	if (gr->roster)
		return gr->roster;
	struct roster *r = gr->roster = MEM_NEW(struct roster);
	list_init(&r->members);
	list_init(&r->pendings);
	group_due_init(&r->due, DUE_GROUP);
	r->group = gr;
	g->stats.bytes += sizeof(*r);
	return r;
}

void group_roster_drop(struct groups *g, struct group *gr)
{
	struct roster *r = gr->roster;
	if (!r)
		return;
	while (!list_empty(&r->members))
		group_member_remove(g, LIST_ENTRY(r->members.next, struct member, link));
	while (!list_empty(&r->pendings))
		group_member_remove(g, LIST_ENTRY(r->pendings.next, struct member, link));
	group_due_stop(&g->due, &r->due);
	g->stats.bytes -= sizeof(*r);
	mem_free(r);
	gr->roster = NULL;
}

struct member *group_member_find(const struct groups *g, const struct group *gr, struct slice id)
{
	for (struct hnode *n = htable_first(&g->members, member_hash(g, gr, id)); n; n = htable_next(n)) {
		struct member *m = CONTAINER_OF(n, struct member, node);
		if (m->group == gr && slice_eq(member_id(m), id))
			return m;
	}
	return NULL;
}

struct member *group_member_of_instance(const struct groups *g, const struct group *gr, struct slice instance)
{
	for (struct hnode *n = htable_first(&g->instances, member_hash(g, gr, instance)); n; n = htable_next(n)) {
		struct instance *i = CONTAINER_OF(n, struct instance, node);
		if (i->member->group == gr && slice_eq(slice_make(i->text, i->len), instance))
			return i->member;
	}
	return NULL;
}

void group_make_member_id(struct groups *g, struct slice prefix, struct arena *a, struct slice *ret_id)
{
	uint64_t hi = rng_u64(&g->rng), lo = rng_u64(&g->rng);
	size_t len = prefix.len < ID_MAX ? prefix.len : ID_MAX;
	char *p = arena_alloc(a, len + 38);

	hi = (hi & ~0xf000ull) | 0x4000;                  /* version 4 */
	lo = (lo & ~(3ull << 62)) | 2ull << 62;           /* variant 2 */
	if (len)
		memcpy(p, prefix.ptr, len);
	snprintf(p + len, 38, "-%08x-%04x-%04x-%04x-%012llx", (unsigned)(hi >> 32), (unsigned)(hi >> 16 & 0xffff), (unsigned)(hi & 0xffff),
		 (unsigned)(lo >> 48), (unsigned long long)(lo & 0xffffffffffffull));
	*ret_id = slice_make(p, len + 37);
}

/* ---- protocols ---- */

static struct protocol_count *count_find(const struct groups *g, const struct group *gr, uint32_t name)
{
	for (struct hnode *n = htable_first(&g->protocols, hash_mix(gr->node.hash, name)); n; n = htable_next(n)) {
		struct protocol_count *c = CONTAINER_OF(n, struct protocol_count, node);
		if (c->group == gr && c->name == name)
			return c;
	}
	return NULL;
}

static void count_protocols(struct groups *g, struct member *m)
{
	for (uint32_t i = 0; i < m->protocols->count; i++) {
		uint32_t name = m->protocols->items[i].name;
		struct protocol_count *c = count_find(g, m->group, name);
		if (!c) {
			c = MEM_NEW(struct protocol_count);
			c->group = m->group;
			c->name = name;
			group_htable_add(&g->protocols, &c->node, hash_mix(m->group->node.hash, name));
			g->stats.bytes += sizeof(*c);
		}
		c->count++;
	}
}

static void protocols_free(struct groups *g, struct member *m)
{
	struct protocols *p = m->protocols;
	if (!p)
		return;
	for (uint32_t i = 0; i < p->count; i++) {
		struct protocol_count *c = count_find(g, m->group, p->items[i].name);
		if (--c->count == 0) {
			group_htable_remove(&g->protocols, &c->node);
			mem_free(c);
			g->stats.bytes -= sizeof(*c);
		}
		group_name_drop(g, p->items[i].name);
	}
	g->stats.bytes -= sizeof(*p) + p->count * sizeof(p->items[0]) + p->bytes;
	mem_free(p);
	m->protocols = NULL;
}

static const uint8_t *protocol_bytes(const struct protocols *p, uint32_t i)
{
	return (const uint8_t *)&p->items[p->count] + p->items[i].pos;
}

void group_member_set_protocols(struct groups *g, struct member *m, const struct kp_join_group_request_protocols *from, int32_t count)
{
	size_t bytes = 0, n = count > 0 ? (size_t)count : 0;
	for (size_t i = 0; i < n; i++)
		bytes += from[i].metadata.len;
	struct protocols *p = mem_alloc(sizeof(*p) + n * sizeof(p->items[0]) + bytes);
	p->count = (uint32_t)n;
	p->bytes = (uint32_t)bytes;
	uint32_t pos = 0;
	for (size_t i = 0; i < n; i++) {
		p->items[i] = (struct protocol){group_name_get(g, from[i].name), pos, (uint32_t)from[i].metadata.len};
		if (from[i].metadata.len)
			memcpy((uint8_t *)&p->items[n] + pos, from[i].metadata.ptr, from[i].metadata.len);
		pos += (uint32_t)from[i].metadata.len;
	}
	protocols_free(g, m);
	m->protocols = p;
	count_protocols(g, m);
	g->stats.bytes += sizeof(*p) + n * sizeof(p->items[0]) + bytes;
}

bool group_member_matches(const struct groups *g, const struct member *m, const struct kp_join_group_request_protocols *p, int32_t count)
{
	const struct protocols *own = m->protocols;
	if (count < 0 || own->count != (uint32_t)count)
		return false;
	for (uint32_t i = 0; i < own->count; i++)
		if (!slice_eq(group_name_text(g, own->items[i].name), p[i].name) ||
		    !slice_eq(slice_make(protocol_bytes(own, i), own->items[i].len), p[i].metadata))
			return false;
	return true;
}

struct slice group_member_metadata(const struct member *m, uint32_t protocol)
{
	const struct protocols *p = m->protocols;
	for (uint32_t i = 0; p && i < p->count; i++)
		if (p->items[i].name == protocol)
			return slice_make(protocol_bytes(p, i), p->items[i].len);
	return slice_make("", 0);
}

bool group_roster_supports(const struct groups *g, const struct group *gr, struct slice type, const struct kp_join_group_request_protocols *p, int32_t count)
{
	if (gr->state == GROUP_EMPTY)
		return type.len > 0 && count > 0;
	if (!gr->protocol_type || !slice_eq(group_name_text(g, gr->protocol_type), type))
		return false;
	uint32_t members = gr->roster ? gr->roster->count : 0;
	for (int32_t i = 0; i < count; i++) {
		uint32_t name = group_name_find(g, p[i].name);
		const struct protocol_count *c = name ? count_find(g, gr, name) : NULL;
		if ((c ? c->count : 0) == members)
			return true;
	}
	return false;
}

/* What m votes for: the first of its protocols that everybody knows. */
static struct protocol_count *vote_of(const struct groups *g, const struct member *m)
{
	for (uint32_t i = 0; i < m->protocols->count; i++) {
		struct protocol_count *c = count_find(g, m->group, m->protocols->items[i].name);
		if (c->count == m->group->roster->count)
			return c;
	}
	return NULL;
}

uint32_t group_roster_vote(struct groups *g, struct group *gr)
{
	struct protocol_count *best = NULL;
	const struct protocols *all = LIST_ENTRY(gr->roster->members.next, struct member, link)->protocols;
	uint32_t voter = 0;
	/* what everybody knows, the first one does */
	for (uint32_t i = 0; i < all->count; i++)
		count_find(g, gr, all->items[i].name)->votes = 0;
	LIST_FOR(it, &gr->roster->members) {
		struct protocol_count *c = vote_of(g, LIST_ENTRY(it, struct member, link));
		voter++;
		if (c && c->votes++ == 0)
			c->first = voter;
	}
	/* of equal ones the one that the earliest member wants */
	for (uint32_t i = 0; i < all->count; i++) {
		struct protocol_count *c = count_find(g, gr, all->items[i].name);
		if (c->count == gr->roster->count && c->votes && (!best || c->votes > best->votes || (c->votes == best->votes && c->first < best->first)))
			best = c;
	}
	return best ? best->name : 0;
}

/* ---- members ---- */

static struct member *member_alloc(struct groups *g, struct group *gr, struct slice id)
{
	struct member *m = mem_zalloc(sizeof(*m) + id.len);
	group_due_init(&m->due, DUE_MEMBER);
	m->group = gr;
	m->id_len = (uint16_t)id.len;
	if (id.len)
		memcpy(m->id, id.ptr, id.len);
	group_htable_add(&g->members, &m->node, member_hash(g, gr, id));
	g->stats.bytes += sizeof(*m) + id.len;
	return m;
}

struct member *group_member_add_pending(struct groups *g, struct group *gr, struct slice id)
{
	struct roster *r = group_roster_get(g, gr);
	struct member *m = member_alloc(g, gr, id);
	m->pending = true;
	list_push_back(&r->pendings, &m->link);
	r->pending_count++;
	return m;
}

static void set_instance(struct groups *g, struct member *m, struct slice text)
{
	struct instance *i = mem_alloc(sizeof(*i) + text.len);
	i->member = m;
	i->len = (uint32_t)text.len;
	if (text.len)
		memcpy(i->text, text.ptr, text.len);
	m->instance = i;
	group_htable_add(&g->instances, &i->node, member_hash(g, m->group, text));
	g->stats.bytes += sizeof(*i) + i->len;
}

struct member *group_member_add(struct groups *g, struct group *gr, const struct member_spec *s)
{
	struct roster *r = group_roster_get(g, gr);
	struct member *m = group_member_find(g, gr, s->id);
	if (m) {
		ASSERT(m->pending);
		group_member_remove(g, m);
	}
	m = member_alloc(g, gr, s->id);
	if (s->instance.ptr)
		set_instance(g, m, s->instance);
	m->client_id = group_name_get(g, s->client_id);
	m->client_host = group_name_get(g, s->client_host);
	m->rebalance_timeout_ms = s->rebalance_timeout_ms;
	m->session_timeout_ms = s->session_timeout_ms;
	list_push_back(&r->members, &m->link);
	r->count++;
	g->stats.members++;
	if (!r->leader)
		r->leader = m;
	group_member_set_protocols(g, m, s->protocols, s->protocols_count);
	return m;
}

static void instance_free(struct groups *g, struct member *m)
{
	if (!m->instance)
		return;
	group_htable_remove(&g->instances, &m->instance->node);
	g->stats.bytes -= sizeof(*m->instance) + m->instance->len;
	mem_free(m->instance);
	m->instance = NULL;
}

static void member_free(struct groups *g, struct member *m)
{
	group_htable_remove(&g->members, &m->node);
	group_due_stop(&g->due, &m->due);
	list_remove(&m->link);
	g->stats.bytes -= sizeof(*m) + m->id_len;
	mem_free(m);
}

void group_member_remove(struct groups *g, struct member *m)
{
	struct roster *r = m->group->roster;
	ASSERT(!m->join_call && !m->sync_call);
	if (m->pending) {
		r->pending_count--;
		member_free(g, m);
		return;
	}
	protocols_free(g, m);
	instance_free(g, m);
	group_name_drop(g, m->client_id);
	group_name_drop(g, m->client_host);
	group_member_set_assignment(g, m, slice_make("", 0));
	if (m->pending_sync)
		r->unsynced--;
	r->count--;
	g->stats.members--;
	bool led = r->leader == m;
	member_free(g, m);
	if (led)
		r->leader = list_empty(&r->members) ? NULL : LIST_ENTRY(r->members.next, struct member, link);
}

struct member *group_member_rename(struct groups *g, struct member *m, struct slice id)
{
	struct roster *r = m->group->roster;
	ASSERT(!m->join_call && !m->sync_call);
	struct member *n = member_alloc(g, m->group, id);
	n->instance = m->instance;
	n->protocols = m->protocols;
	n->assignment = m->assignment;
	n->client_id = m->client_id;
	n->client_host = m->client_host;
	n->rebalance_timeout_ms = m->rebalance_timeout_ms;
	n->session_timeout_ms = m->session_timeout_ms;
	n->is_new = m->is_new;
	n->pending_sync = m->pending_sync;
	if (n->instance)
		n->instance->member = n;
	if (r->leader == m)
		r->leader = n;
	list_insert_before(&m->link, &n->link);
	member_free(g, m);
	return n;
}

void group_member_set_assignment(struct groups *g, struct member *m, struct slice assignment)
{
	if (m->assignment) {
		g->stats.bytes -= sizeof(*m->assignment) + m->assignment->len;
		mem_free(m->assignment);
		m->assignment = NULL;
	}
	if (!assignment.len)
		return;
	m->assignment = mem_alloc(sizeof(*m->assignment) + assignment.len);
	m->assignment->len = (uint32_t)assignment.len;
	memcpy(m->assignment->bytes, assignment.ptr, assignment.len);
	g->stats.bytes += sizeof(*m->assignment) + assignment.len;
}

void group_member_wait_join(struct member *m, struct groups_call *c)
{
	ASSERT(!m->join_call);
	m->join_call = c;
	m->group->roster->joined++;
}

struct groups_call *group_member_take_join(struct member *m)
{
	struct groups_call *c = m->join_call;
	if (c)
		m->group->roster->joined--;
	m->join_call = NULL;
	return c;
}

void group_member_synced(struct groups *g, struct member *m)
{
	struct roster *r = m->group->roster;
	if (!m->pending_sync)
		return;
	m->pending_sync = false;
	if (--r->unsynced == 0)
		group_due_stop(&g->due, &r->due);
}

int32_t group_roster_rebalance_timeout_ms(const struct roster *r)
{
	int32_t most = 0;
	LIST_FOR(it, &r->members) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		if (m->rebalance_timeout_ms > most)
			most = m->rebalance_timeout_ms;
	}
	return most;
}

/* ---- subscriptions ---- */

static int by_number(const void *x, const void *y)
{
	uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
	return a < b ? -1 : a > b;
}

/* The topics of a subscription that have a name here: of others nothing is committed. Read as version 0, which begins all versions
 * (internal-topics.md 3). */
static bool add_topics(struct groups *g, struct slice metadata, uint32_t **topics, size_t *count, size_t *cap)
{
	struct kp_consumer_protocol_subscription s;
	if (metadata.len < 2)
		return false;
	struct slice body = slice_make(metadata.ptr + 2, metadata.len - 2);
	arena_reset(&g->scratch);
	if (wire_decode(&kp_consumer_protocol_subscription_desc, 0, &body, &g->scratch, &s))
		return false;
	for (int32_t i = 0; i < s.topics_count; i++) {
		uint32_t name = group_name_find(g, s.topics[i]);
		if (!name)
			continue;
		MEM_GROW(*topics, *cap, *count + 1);
		(*topics)[(*count)++] = name;
	}
	return true;
}

bool group_roster_subscribed(struct groups *g, const struct group *gr, uint32_t **ret_topics, size_t *ret_count)
{
	uint32_t *topics = NULL;
	size_t count = 0, cap = 0;
	bool known = gr->protocol_type && slice_eq_str(group_name_text(g, gr->protocol_type), "consumer");
	uint32_t members = gr->roster ? gr->roster->count : 0;

	if (known && members && !gr->protocol)
		known = false;
	for (struct list *it = members ? gr->roster->members.next : NULL; known && it && it != &gr->roster->members; it = it->next)
		known = add_topics(g, group_member_metadata(LIST_ENTRY(it, struct member, link), gr->protocol), &topics, &count, &cap);
	if (!known) {
		mem_free(topics);
		return false;
	}
	if (count)
		qsort(topics, count, sizeof(*topics), by_number);
	*ret_topics = topics;
	*ret_count = count;
	return true;
}

bool group_topics_have(const uint32_t *topics, size_t count, uint32_t topic)
{
	return count && bsearch(&topic, topics, count, sizeof(*topics), by_number);
}
