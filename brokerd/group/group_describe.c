/* group_describe.c: reads: DescribeGroups, ListGroups, all offsets. A Dead group is on its way out and reads as one that is not there. */
#include "brokerd/group/group_priv.h"

static void describe_members(const struct groups *g, const struct group *gr, struct arena *a, struct kp_describe_groups_response_groups *ret)
{
	const struct roster *r = gr->roster;
	bool stable = gr->state == GROUP_STABLE;
	int32_t n = 0;
	ret->members = ARENA_ARRAY(a, struct kp_describe_groups_response_groups_members, r->count);
	LIST_FOR(it, &r->members) {
		const struct member *m = LIST_ENTRY(it, struct member, link);
		struct kp_describe_groups_response_groups_members *to = &ret->members[n++];
		kp_describe_groups_response_groups_members_init(to);
		to->member_id = group_copy_to(a, member_id(m));
		to->group_instance_id = group_copy_to(a, member_instance(m));
		to->client_id = group_copy_to(a, group_name_text(g, m->client_id));
		to->client_host = group_copy_to(a, group_name_text(g, m->client_host));
		if (!stable)
			continue;
		to->member_metadata = group_copy_to(a, group_member_metadata(m, gr->protocol));
		to->member_assignment = group_copy_to(a, blob_slice(m->assignment));
	}
	ret->members_count = n;
}

void groups_describe(const struct groups *g, struct slice group, int16_t version, struct arena *arena, struct kp_describe_groups_response_groups *ret)
{
	const struct group *gr = group_find(g, group);
	kp_describe_groups_response_groups_init(ret);
	ret->group_id = group_copy_to(arena, group);
	if (!gr || gr->state == GROUP_DEAD) {
		ret->group_state = slice_str("Dead");
		if (version < 6)
			return;
		ret->error_code = KERR_GROUP_ID_NOT_FOUND;
		ret->error_message = slice_str(arena_printf(arena, "Group %.*s not found.", (int)group.len, (const char *)group.ptr));
		return;
	}
	ret->group_state = slice_str(group_state_name((enum group_state)gr->state));
	if (gr->protocol_type)
		ret->protocol_type = group_copy_to(arena, group_name_text(g, gr->protocol_type));
	if (gr->state == GROUP_STABLE && gr->protocol)
		ret->protocol_data = group_copy_to(arena, group_name_text(g, gr->protocol));
	if (gr->roster)
		describe_members(g, gr, arena, ret);
}

static bool same_text(struct slice s, const char *text)
{
	size_t i = 0;
	for (; i < s.len && text[i]; i++) {
		uint8_t a = s.ptr[i], b = (uint8_t)text[i];
		a = a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
		b = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
		if (a != b)
			return false;
	}
	return i == s.len && !text[i];
}

static bool wanted(const struct group *gr, const struct slice *states, int32_t count)
{
	if (gr->state == GROUP_DEAD)
		return false;
	for (int32_t i = 0; i < count; i++)
		if (same_text(states[i], group_state_name((enum group_state)gr->state)))
			return true;
	return count <= 0;
}

void groups_list_begin(struct groups *g, struct groups_list *l)
{
	l->g = g;
	l->at = g->all.next;
	list_init(&l->link);
	list_push_back(&g->lists, &l->link);
}

void groups_list_end(struct groups_list *l)
{
	list_remove(&l->link);
	l->g = NULL;
}

bool groups_list(struct groups_list *l, uint32_t budget, void (*fn)(void *ctx, const struct groups_list_row *row), void *ctx)
{
	const struct groups *g = l->g;
	for (; budget > 0 && l->at != &g->all; budget--, l->at = l->at->next) {
		const struct group *gr = LIST_ENTRY(l->at, struct group, link);
		if (!wanted(gr, l->states, l->state_count))
			continue;
		struct slice type = gr->protocol_type ? group_name_text(g, gr->protocol_type) : slice_make("", 0);
		fn(ctx, &(struct groups_list_row){group_id(gr), type, group_state_name((enum group_state)gr->state)});
	}
	return l->at == &g->all;
}

void groups_each_offset(const struct groups *g, uint32_t max, void (*fn)(void *ctx, struct slice group, struct slice topic, int32_t partition, int64_t offset), void *ctx)
{
	LIST_FOR(it, &g->all) {
		const struct group *gr = LIST_ENTRY(it, struct group, link);
		for (uint32_t i = 0; i < gr->offset_count; i++) {
			const struct offset *o = &gr->offsets[i];
			if (!offset_shown(g, o))
				continue;
			if (max-- == 0)
				return;
			fn(ctx, group_id(gr), group_name_text(g, o->topic), o->partition, o->offset);
		}
	}
}
