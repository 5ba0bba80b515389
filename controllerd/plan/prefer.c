/* prefer.c: elections on request, and the balance of leaders. See prefer.h. */
#include "controllerd/plan/prefer.h"

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

static bool preferred_ready(const struct plan_image *im, const struct plan_partition *p)
{
	int32_t id = p->replicas.v[0];
	return p->version >= 0 && plan_electable(im, p, id) && !plan_leaving(im, id) && plan_ids_has(&p->st.isr, id) && !plan_ids_has(&p->st.lossy, id) &&
	       !plan_ids_has(&p->lossy_new, id);
}

static bool anyone_electable(const struct plan_image *im, const struct plan_partition *p)
{
	for (int32_t i = 0; i < p->replicas.n; i++)
		if (plan_electable(im, p, p->replicas.v[i]))
			return true;
	return false;
}

int16_t plan_election_check(const struct plan_image *im, const struct plan_partition *p, enum plan_election type)
{
	if (type == PLAN_ELECTION_PREFERRED) {
		if (p->version >= 0 && p->st.leader == p->replicas.v[0])
			return KERR_ELECTION_NOT_NEEDED;
		return preferred_ready(im, p) ? KERR_NONE : KERR_PREFERRED_LEADER_NOT_AVAILABLE;
	}
	if (plan_leader_holds(im, p, &p->st))
		return KERR_ELECTION_NOT_NEEDED;
	return p->version >= 0 && anyone_electable(im, p) ? KERR_NONE : KERR_ELIGIBLE_LEADERS_NOT_AVAILABLE;
}

void plan_prefer(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret)
{
	ASSERT(preferred_ready(im, p));
	*ret = (struct plan_next){.why = PLAN_PREFERRED, .wants_inventory = -1};
	plan_state_copy(&ret->st, &p->st);
	ret->st.leader = p->replicas.v[0];
	ret->st.leader_epoch++;
	ret->st.controller_epoch = im->controller_epoch;
}

struct share { /* of one broker */
	int32_t id, meant, missed;
};

static struct share *share_of(struct share **list, size_t *count, size_t *cap, int32_t id)
{
	for (size_t i = 0; i < *count; i++)
		if ((*list)[i].id == id)
			return &(*list)[i];
	MEM_GROW(*list, *cap, *count + 1);
	(*list)[*count] = (struct share){.id = id};
	return &(*list)[(*count)++];
}

void plan_imbalance(const struct plan_image *im, int32_t percentage, void (*fn)(void *ctx, struct plan_partition *p), void *ctx)
{
	struct share *list = NULL;
	size_t count = 0, cap = 0;
	for (int pass = 0; pass < 2; pass++)
		for (struct plan_topic *t = im->by_name; t; t = t->by_name.next) {
			if (t->deleting || t->vanished || t->loading)
				continue;
			for (int32_t i = 0; i < t->partition_count; i++) {
				struct plan_partition *p = &t->partitions[i];
				if (!p->replicas.n || p->version < 0)
					continue;
				struct share *s = share_of(&list, &count, &cap, p->replicas.v[0]);
				bool missed = p->st.leader != s->id;
				if (pass == 0) {
					s->meant++;
					s->missed += missed;
				} else if (missed && (int64_t)s->missed * 100 > (int64_t)percentage * s->meant && preferred_ready(im, p)) {
					fn(ctx, p);
				}
			}
		}
	mem_free(list);
}
