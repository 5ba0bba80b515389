/* isr.c: AlterPartition: what a leader may make of its ISR (replication.md 16, protocol.md B2, C6). Pure. */
#include "controllerd/plan/elect.h"

#include "common/base/check.h"
#include "common/wire/kerr.h"

static int16_t members_ok(const struct plan_image *im, const struct plan_partition *p, const struct plan_proposal *q)
{
	bool leader = false;
	if (q->isr_count <= 0 || q->isr_count > p->replicas.n)
		return KERR_INVALID_REQUEST;
	for (int32_t i = 0; i < q->isr_count; i++) {
		int32_t id = q->isr[i];
		leader |= id == p->st.leader;
		if (!plan_ids_has(&p->replicas, id))
			return KERR_INVALID_REQUEST;
		for (int32_t k = 0; k < i; k++)
			if (q->isr[k] == id)
				return KERR_INVALID_REQUEST;
	}
	if (!leader)
		return KERR_INVALID_REQUEST;
	for (int32_t i = 0; i < q->isr_count; i++) {
		int32_t id = q->isr[i];
		const struct plan_broker *b = plan_broker_find(im, id);
		if (id == p->st.leader)
			continue;
		/* D3: only an admitted broker that lives may join; a member may stay while it is not judged dead */
		bool member = plan_ids_has(&p->st.isr, id);
		bool fit = member ? b && b->alive && !plan_ids_has(&p->offline, id) : plan_electable(im, p, id) && !b->shutting_down;
		if (!fit)
			return KERR_INELIGIBLE_REPLICA;
	}
	return KERR_NONE;
}

int16_t plan_isr_propose(const struct plan_image *im, const struct plan_partition *p, const struct plan_proposal *q, struct plan_state *ret_st)
{
	if (p->version < 0)
		return KERR_UNKNOWN_TOPIC_OR_PARTITION;
	if (q->partition_epoch > p->version || q->leader_epoch > p->st.leader_epoch)
		return KERR_NOT_CONTROLLER; /* it knows more than we do: we are not the newest */
	if (q->leader_epoch < p->st.leader_epoch || q->broker != p->st.leader)
		return KERR_FENCED_LEADER_EPOCH;
	if (q->partition_epoch < p->version)
		return KERR_INVALID_UPDATE_VERSION;
	if (q->recovery_state < 0 || q->recovery_state > 1 || (q->recovery_state == 1 && (q->isr_count > 1 || p->st.recovery_state == 0)))
		return KERR_INVALID_REQUEST;
	int16_t err = members_ok(im, p, q);
	if (err)
		return err;
	struct plan_state st = {0};
	plan_state_copy(&st, &p->st);
	plan_ids_set(&st.isr, q->isr, q->isr_count);
	plan_ids_fini(&st.lossy);
	plan_elr_next(im, p, &st.isr, &st.lossy, &st.elr);
	if (plan_ids_same_members(&st.elr, &p->st.elr))
		plan_ids_copy(&st.elr, &p->st.elr);
	st.recovery_state = q->recovery_state;
	st.controller_epoch = im->controller_epoch;
	ASSERT(st.isr.n > 0);
	*ret_st = st;
	return KERR_NONE;
}
