/* elect.c: leader and ISR decisions. See elect.h. */
#include "controllerd/plan/elect.h"

#include <string.h>

#include "common/base/check.h"

const char *plan_why_str(enum plan_why why)
{
	static const char *const names[] = {"nothing", "create", "elect", "elect_elr", "elect_unclean", "elect_lossy", "leaderless", "hand_over", "isr", "proposal", "preferred"};
	return names[why];
}

bool plan_electable(const struct plan_image *im, const struct plan_partition *p, int32_t id)
{
	const struct plan_broker *b = plan_broker_find(im, id);
	return b && b->available && !plan_ids_has(&p->offline, id) && !plan_ids_has(&p->ending, id);
}

/* A process that may hold on to what it has: not fenced, its directory works. It need not be admitted yet. */
static bool lives(const struct plan_image *im, const struct plan_partition *p, int32_t id)
{
	const struct plan_broker *b = plan_broker_find(im, id);
	return b && b->alive && !plan_ids_has(&p->offline, id);
}

bool plan_leaving(const struct plan_image *im, int32_t id)
{
	const struct plan_broker *b = plan_broker_find(im, id);
	return b && (b->shutting_down || b->stalled);
}

static bool shutting_down(const struct plan_image *im, int32_t id)
{
	const struct plan_broker *b = plan_broker_find(im, id);
	return b && b->shutting_down;
}

static bool registered(const struct plan_image *im, int32_t id)
{
	const struct plan_broker *b = plan_broker_find(im, id);
	return b && b->registered;
}

/* First of `among` in assignment order that is electable and not lossy; one that is not about to leave comes first. -1 none. */
static int32_t first_electable(const struct plan_image *im, const struct plan_partition *p, const struct plan_ids *among, const struct plan_ids *lossy, bool may_leave)
{
	int32_t second = -1;
	for (int32_t i = 0; i < p->replicas.n; i++) {
		int32_t id = p->replicas.v[i];
		if (!plan_ids_has(among, id) || plan_ids_has(lossy, id) || !plan_electable(im, p, id))
			continue;
		if (!plan_leaving(im, id))
			return id;
		if (second < 0)
			second = id;
	}
	return may_leave ? second : -1;
}

/* Logs of one partition are prefixes of each other in the order (last epoch, LEO): the greatest holds whatever any of them holds. A
 * lossless one wins a tie only: preferring it over a longer log would throw away records that the longer one still has. */
static bool log_before(const struct plan_inventory *a, bool a_lossy, const struct plan_inventory *b, bool b_lossy)
{
	if (a->last_epoch != b->last_epoch)
		return a->last_epoch < b->last_epoch;
	if (a->log_end_offset != b->log_end_offset)
		return a->log_end_offset < b->log_end_offset;
	return a_lossy && !b_lossy;
}

/* What its hello said of its log is still true: nothing could be fetched since. */
static bool inventory_holds(const struct plan_broker *b, const struct plan_partition *p)
{
	return b->inventory_known && (b->inventory_us >= p->leaderless_since_us || (b->life_new && b->available_us >= p->leaderless_since_us));
}

static int32_t most_complete(const struct plan_image *im, const struct plan_partition *p, const struct plan_ids *lossy, bool need_all, struct plan_next *ret)
{
	static const struct plan_inventory nothing = {.last_epoch = -1};
	const struct plan_inventory *best = NULL;
	int32_t leader = -1;
	for (int32_t i = 0; i < p->replicas.n; i++) {
		int32_t id = p->replicas.v[i];
		const struct plan_broker *b = plan_broker_find(im, id);
		if (!plan_electable(im, p, id)) {
			if (need_all)
				return -1;
			continue;
		}
		if (!inventory_holds(b, p)) {
			ret->wants_inventory = id;
			return -1;
		}
		const struct plan_inventory *row = plan_broker_inventory(b, &p->topic->id, p->idx);
		row = row ? row : &nothing;
		bool forgot = row->lossy || plan_ids_has(lossy, id);
		if (!best || log_before(best, leader == -1 ? false : (best->lossy || plan_ids_has(lossy, leader)), row, forgot)) {
			best = row;
			leader = id;
		}
	}
	return leader;
}

/* E3, last part: everybody of ISR + elr is lossy or away. min 1: as soon as the last leader (the ISR's member) is back; else only when
 * every replica is there to be compared. */
static int32_t elect_forgetful(const struct plan_image *im, const struct plan_partition *p, const struct plan_state *st, struct plan_next *ret)
{
	if (plan_effective_min_isr(im, p) <= 1) {
		bool back = false;
		for (int32_t i = 0; i < st->isr.n; i++) {
			if (!plan_ids_has(&st->lossy, st->isr.v[i]))
				return -1; /* it lost nothing: wait for it */
			back |= plan_electable(im, p, st->isr.v[i]);
		}
		return back ? most_complete(im, p, &st->lossy, false, ret) : -1;
	}
	return most_complete(im, p, &st->lossy, true, ret);
}

void plan_elr_next(const struct plan_image *im, const struct plan_partition *p, const struct plan_ids *isr_new, const struct plan_ids *lossy, struct plan_ids *ret_elr)
{
	plan_ids_fini(ret_elr);
	if (isr_new->n >= plan_effective_min_isr(im, p) || p->elr_clear)
		return;
	for (int32_t i = 0; i < p->replicas.n; i++) {
		int32_t id = p->replicas.v[i];
		bool was = plan_ids_has(&p->st.elr, id) || plan_ids_has(&p->st.isr, id);
		if (was && !plan_ids_has(isr_new, id) && !plan_ids_has(lossy, id) && !plan_ids_has(&p->st.lossy, id) && !plan_ids_has(&p->lossy_new, id))
			plan_ids_add(ret_elr, id);
	}
}

/* A partition without a state node: as Kafka, first live replica leads, all live ones are in sync. */
static void first_state(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret)
{
	struct plan_state *st = &ret->st;
	for (int pass = 0; pass < 2 && st->isr.n == 0; pass++)
		for (int32_t i = 0; i < p->replicas.n; i++)
			if (plan_electable(im, p, p->replicas.v[i]) && (pass || !shutting_down(im, p->replicas.v[i])))
				plan_ids_add(&st->isr, p->replicas.v[i]);
	if (st->isr.n == 0)
		return;
	int32_t leader = first_electable(im, p, &st->isr, &p->lossy_new, true);
	st->leader = leader >= 0 ? leader : st->isr.v[0];
	st->leader_epoch = p->epoch_floor;
	st->controller_epoch = im->controller_epoch;
	ret->why = PLAN_CREATE;
}

/* Lossy replicas leave; the last one stays, marked. */
static void drop_lossy(const struct plan_partition *p, struct plan_state *st)
{
	for (int32_t i = 0; i < p->lossy_new.n; i++) {
		int32_t id = p->lossy_new.v[i];
		plan_ids_remove(&st->elr, id);
		if (!plan_ids_has(&st->isr, id))
			continue;
		if (st->isr.n > 1)
			plan_ids_remove(&st->isr, id);
		else
			plan_ids_add(&st->lossy, id);
	}
}

static void take_lead(struct plan_state *st, int32_t id)
{
	st->leader = id;
	st->leader_epoch++;
	plan_ids_remove(&st->lossy, id);
}

static void lead_alone(struct plan_state *st, int32_t id, int32_t recovery_state)
{
	take_lead(st, id);
	plan_ids_set(&st->isr, &id, 1);
	plan_ids_fini(&st->lossy);
	if (recovery_state)
		st->recovery_state = recovery_state;
}

static void elect(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret)
{
	struct plan_state *st = &ret->st;
	int32_t id = first_electable(im, p, &st->isr, &st->lossy, true);
	if (id >= 0) {
		take_lead(st, id);
		ret->why = PLAN_ELECT;
		return;
	}
	id = first_electable(im, p, &st->elr, &st->lossy, true);
	if (id >= 0) {
		lead_alone(st, id, 0);
		ret->why = PLAN_ELECT_ELR;
		return;
	}
	if (plan_unclean_allowed(im, p->topic) || p->unclean_once) {
		id = first_electable(im, p, &p->replicas, &st->lossy, true);
		if (id < 0)
			id = first_electable(im, p, &p->replicas, &(struct plan_ids){NULL, 0}, true);
		if (id >= 0) {
			lead_alone(st, id, 1);
			plan_ids_fini(&st->elr);
			ret->why = PLAN_ELECT_UNCLEAN;
			return;
		}
	}
	id = elect_forgetful(im, p, st, ret);
	if (id >= 0) {
		bool last_leader = plan_effective_min_isr(im, p) <= 1 && plan_ids_has(&st->isr, id);
		lead_alone(st, id, last_leader ? 0 : 1);
		plan_ids_fini(&st->elr);
		ret->why = PLAN_ELECT_LOSSY;
		return;
	}
	/* Nobody. While the leader's registration lives, and its life goes on, nothing moves (A4): it may still be there. */
	if (st->leader >= 0 && (plan_ids_has(&p->ending, st->leader) || plan_ids_has(&p->offline, st->leader) || !registered(im, st->leader))) {
		st->leader = -1;
		st->leader_epoch++;
		ret->why = PLAN_LEADERLESS;
	}
}

bool plan_leader_holds(const struct plan_image *im, const struct plan_partition *p, const struct plan_state *st)
{
	return st->leader >= 0 && lives(im, p, st->leader) && !plan_ids_has(&p->ending, st->leader) && plan_ids_has(&p->replicas, st->leader);
}

static bool state_differs(const struct plan_state *a, const struct plan_state *b)
{
	return a->leader != b->leader || a->leader_epoch != b->leader_epoch || a->recovery_state != b->recovery_state || !plan_ids_eq(&a->isr, &b->isr) ||
	       !plan_ids_eq(&a->elr, &b->elr) || !plan_ids_eq(&a->lossy, &b->lossy);
}

/* With a leader that is there: whoever is dead or on its way out leaves the ISR, the leader never. */
static void shrink(const struct plan_image *im, const struct plan_partition *p, struct plan_state *st)
{
	for (int32_t i = st->isr.n - 1; i >= 0; i--) {
		int32_t id = st->isr.v[i];
		if (id != st->leader && (!lives(im, p, id) || shutting_down(im, id)))
			plan_ids_remove(&st->isr, id);
	}
}

void plan_partition_next(const struct plan_image *im, const struct plan_partition *p, struct plan_next *ret)
{
	*ret = (struct plan_next){.why = PLAN_NOTHING, .wants_inventory = -1};
	if (p->version < 0) {
		first_state(im, p, ret);
		return;
	}
	struct plan_state *st = &ret->st;
	plan_state_copy(st, &p->st);
	drop_lossy(p, st);
	if (st->isr.n == 0 && p->replicas.n) /* foreign data: Kafka could not elect from it either; the assignment is all there is */
		plan_ids_copy(&st->isr, &p->replicas);
	if (!plan_leader_holds(im, p, st)) {
		elect(im, p, ret);
	} else if (plan_leaving(im, st->leader)) {
		int32_t id = first_electable(im, p, &st->isr, &st->lossy, false);
		if (id >= 0) {
			take_lead(st, id);
			ret->why = PLAN_HAND_OVER;
		}
	}
	if (st->leader >= 0 && lives(im, p, st->leader) && !plan_ids_has(&p->ending, st->leader))
		shrink(im, p, st);
	ASSERT(st->isr.n > 0);
	/* marks of loss are kept for members only */
	for (int32_t i = st->lossy.n - 1; i >= 0; i--)
		if (!plan_ids_has(&st->isr, st->lossy.v[i]))
			plan_ids_remove(&st->lossy, st->lossy.v[i]);
	bool forget_elr = ret->why == PLAN_ELECT_UNCLEAN || ret->why == PLAN_ELECT_LOSSY;
	if (forget_elr)
		plan_ids_fini(&st->elr);
	else
		plan_elr_next(im, p, &st->isr, &st->lossy, &st->elr);
	if (plan_ids_same_members(&st->elr, &p->st.elr))
		plan_ids_copy(&st->elr, &p->st.elr);
	if (!state_differs(st, &p->st)) {
		plan_state_fini(st);
		ret->why = PLAN_NOTHING;
		return;
	}
	st->controller_epoch = im->controller_epoch;
	if (ret->why == PLAN_NOTHING)
		ret->why = PLAN_ISR;
}
