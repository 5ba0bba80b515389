/* replica.c: see replica.h. Nothing in here allocates but the peer list of a new state, as a whole, before anything changes. */
#include "brokerd/replica/replica.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

#define PROPOSAL_REPEAT_MS 1000  /* an open proposal is said again: its message may have died with a link; it names the same epochs */
#define REJECTED_PAUSE_MS 500
#define SUSPENDED_ALONE_MS 2000  /* B4: when nobody confirms, follower contact does, not before this */

void replica_init(struct replica *r, int32_t self, int64_t lag_max_ms)
{
	*r = (struct replica){.self = self, .lag_max_ms = lag_max_ms, .leader = -1, .leader_epoch = -1, .partition_epoch = -1, .seen_epoch = -1};
}

void replica_fini(struct replica *r)
{
	mem_free(r->peers);
	mem_free(r->pending_isr);
	r->peers = NULL;
	r->pending_isr = NULL;
	r->peer_count = 0;
}

static struct replica_peer *peer_of(struct replica *r, int32_t id)
{
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].id == id)
			return &r->peers[i];
	return NULL;
}

const struct replica_peer *replica_peer_find(const struct replica *r, int32_t id)
{
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].id == id)
			return &r->peers[i];
	return NULL;
}

static bool caught_up(const struct replica *r, const struct replica_peer *p, int64_t now_ms)
{
	return p->end == r->end || now_ms - p->caught_up_ms <= r->lag_max_ms;
}

/* Section 8 with B2: the least end of everybody whose copy may count, now or by what the controller may decide meanwhile. */
static void advance_hw(struct replica *r, int64_t now_ms, struct replica_out *out)
{
	/* E2: while the ISR is below the minimum nothing new is promised */
	if (r->role != REPLICA_LEADER || !replica_enough(r))
		return;
	int64_t hw = r->acked_end;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		const struct replica_peer *p = &r->peers[i];
		if (p->id == r->self || p->end >= hw)
			continue;
		/* a removal that is proposed does not show here: the member is in_isr until it is confirmed (B2) */
		bool counts = p->in_isr || p->adding || (p->assigned && p->eligible && caught_up(r, p, now_ms));
		if (counts)
			hw = p->end;
	}
	if (hw > r->high_watermark) {
		r->high_watermark = hw;
		out->acts |= REPLICA_DO_HW;
	}
}

static void end_proposal(struct replica *r)
{
	r->pending = false;
	for (uint32_t i = 0; i < r->peer_count; i++)
		r->peers[i].adding = r->peers[i].removing = false;
}

/* The ISR as flags say, additions at the end in assignment order. */
static void open_proposal(struct replica *r, int64_t now_ms, struct replica_out *out)
{
	ASSERT(!r->pending);
	uint32_t n = 0;
	r->pending_isr = mem_realloc(r->pending_isr, (r->peer_count + 1) * sizeof(int32_t));
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].in_isr && !r->peers[i].removing)
			r->pending_isr[n++] = r->peers[i].id;
	for (uint32_t i = 0; i < r->peer_count; i++)
		if (r->peers[i].adding)
			r->pending_isr[n++] = r->peers[i].id;
	r->pending_count = n;
	r->pending = true;
	r->proposed_ms = now_ms;
	out->acts |= REPLICA_DO_PROPOSE;
}

static bool may_propose(const struct replica *r, int64_t now_ms)
{
	return r->role == REPLICA_LEADER && !r->pending && now_ms >= r->propose_after_ms;
}

/* Section 7, expand: everything committed and this epoch's start are in its log. */
static void consider_joining(struct replica *r, struct replica_peer *p, int64_t now_ms, struct replica_out *out)
{
	if (p->in_isr || !p->assigned || !p->eligible || p->id == r->self || !may_propose(r, now_ms))
		return;
	if (p->end < r->high_watermark || p->end < r->epoch_start)
		return;
	p->adding = true;
	open_proposal(r, now_ms, out);
	out->acts |= REPLICA_DID_EXPAND;
}

/* ---- states ---- */

static void add_peer(struct replica_peer *peers, uint32_t *n, const struct replica *old, int32_t id, bool assigned, bool in_isr)
{
	for (uint32_t i = 0; i < *n; i++)
		if (peers[i].id == id) {
			peers[i].in_isr |= in_isr;
			peers[i].assigned |= assigned;
			return;
		}
	const struct replica_peer *was = replica_peer_find(old, id);
	struct replica_peer *p = &peers[(*n)++];
	*p = was ? *was : (struct replica_peer){.end = -1, .start = -1};
	p->id = id;
	p->assigned = assigned;
	p->in_isr = in_isr;
}

static void set_peers(struct replica *r, const struct image_partition *ip)
{
	size_t cap = (size_t)ip->replicas.count + (size_t)ip->isr.count + 1;
	struct replica_peer *peers = mem_alloc(cap * sizeof(*peers));
	uint32_t n = 0;
	for (int32_t i = 0; i < ip->replicas.count; i++)
		add_peer(peers, &n, r, ip->replicas.ids[i], true, false);
	for (int32_t i = 0; i < ip->isr.count; i++)
		add_peer(peers, &n, r, ip->isr.ids[i], false, true);
	for (uint32_t i = 0; i < n; i++) {
		peers[i].offline = false;
		for (int32_t k = 0; k < ip->offline.count; k++)
			peers[i].offline |= ip->offline.ids[k] == peers[i].id;
		peers[i].eligible &= !peers[i].offline;
	}
	mem_free(r->peers);
	r->peers = peers;
	r->peer_count = n;
	r->isr_count = 0;
	for (uint32_t i = 0; i < n; i++)
		r->isr_count += peers[i].in_isr;
}

/* A new leader epoch of ours. What followers had is unknown again: one may have come back with less (D2), and each says it with its
 * first fetch at this epoch. Members of the ISR start as caught up (section 7). */
static void begin_leading(struct replica *r, const struct replica_log *log, int64_t now_ms)
{
	bool was_leader = r->role == REPLICA_LEADER;
	r->role = REPLICA_LEADER;
	r->end = log->end;
	r->acked_end = log->acked_end;
	r->epoch_start = log->next;
	if (!was_leader || log->high_watermark > r->high_watermark)
		r->high_watermark = log->high_watermark;
	r->propose_after_ms = 0;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct replica_peer *p = &r->peers[i];
		p->end = p->start = -1;
		p->adding = p->removing = false;
		p->leader_end_at_fetch = log->end;
		p->caught_up_ms = p->in_isr ? now_ms : INT64_MIN / 4;
		p->fetch_ms = p->caught_up_ms;
		p->contact_ms = 0;
	}
}

static void set_role(struct replica *r, const struct image_partition *ip, int32_t old_leader, bool newer_epoch, const struct replica_log *log,
	int64_t now_ms, struct replica_out *out)
{
	const struct replica_peer *me = replica_peer_find(r, r->self);
	enum replica_role was = r->role;
	enum replica_role role = !me || !me->assigned || ip->leader < 0 ? REPLICA_NONE : ip->leader == r->self ? REPLICA_LEADER : REPLICA_FOLLOWER;

	if (was == REPLICA_LEADER && role != REPLICA_LEADER)
		out->acts |= REPLICA_DO_LOST;
	if (newer_epoch && me && me->assigned && old_leader >= 0 && old_leader != r->self && old_leader != ip->leader) {
		out->acts |= REPLICA_DO_DEPOSE;
		out->depose = old_leader;
	}
	if (role == REPLICA_LEADER) {
		if (newer_epoch || was != REPLICA_LEADER) {
			end_proposal(r);
			begin_leading(r, log, now_ms);
			out->acts |= REPLICA_DO_LEAD;
		}
		return;
	}
	end_proposal(r);
	r->role = role;
	if (role == REPLICA_FOLLOWER && (newer_epoch || was != REPLICA_FOLLOWER || old_leader != ip->leader))
		out->acts |= REPLICA_DO_FOLLOW;
	else if (role == REPLICA_NONE && was != REPLICA_NONE)
		out->acts |= REPLICA_DO_STOP;
}

bool replica_on_state(struct replica *r, const struct image_partition *ip, const struct replica_log *log, int64_t now_ms, struct replica_out *out)
{
	*out = (struct replica_out){0};
	if (ip->leader_epoch < r->leader_epoch || (ip->leader_epoch == r->leader_epoch && ip->partition_epoch < r->partition_epoch))
		return false;
	bool newer_epoch = ip->leader_epoch > r->leader_epoch;
	int32_t old_leader = r->leader;
	bool was_suspended = replica_suspended(r);

	/* C6: a state with a higher partition epoch ends the proposal, whatever it says about it */
	if (r->pending && (ip->partition_epoch > r->partition_epoch || newer_epoch))
		end_proposal(r);
	set_peers(r, ip);
	r->leader = ip->leader;
	r->leader_epoch = ip->leader_epoch;
	r->partition_epoch = ip->partition_epoch;
	r->min_isr = ip->min_isr;
	r->recovery_state = ip->recovery_state;
	out->acts |= REPLICA_DO_ISR;
	set_role(r, ip, old_leader, newer_epoch, log, now_ms, out);
	if (was_suspended && !replica_suspended(r))
		out->acts |= REPLICA_DO_RESUME;
	if (r->role == REPLICA_LEADER) {
		/* section 13: elected uncleanly; the leader says that it is recovered */
		if (r->recovery_state != 0 && may_propose(r, now_ms))
			open_proposal(r, now_ms, out);
		advance_hw(r, now_ms, out);
	}
	return true;
}

void replica_on_unassigned(struct replica *r, struct replica_out *out)
{
	*out = (struct replica_out){0};
	end_proposal(r);
	if (r->role == REPLICA_LEADER)
		out->acts |= REPLICA_DO_LOST;
	if (r->role != REPLICA_NONE)
		out->acts |= REPLICA_DO_STOP;
	r->role = REPLICA_NONE;
}

void replica_set_eligible(struct replica *r, int32_t id, bool eligible)
{
	struct replica_peer *p = peer_of(r, id);
	if (p)
		p->eligible = eligible && !p->offline;
}

/* ---- events of a leader ---- */

void replica_on_end(struct replica *r, int64_t end, int64_t acked_end, int64_t now_ms, struct replica_out *out)
{
	*out = (struct replica_out){0};
	if (r->role != REPLICA_LEADER)
		return;
	ASSERT(end >= r->end && acked_end <= end);
	r->end = end;
	r->acked_end = acked_end;
	advance_hw(r, now_ms, out);
}

bool replica_on_fetch(struct replica *r, int32_t id, int64_t offset, int64_t start, int64_t now_ms, int64_t contact_ms, struct replica_out *out)
{
	*out = (struct replica_out){0};
	struct replica_peer *p = peer_of(r, id);
	if (!p || !p->assigned || id == r->self)
		return false;
	if (r->role != REPLICA_LEADER)
		return true;
	int64_t before = p->end;
	if (start != p->start)
		out->acts |= REPLICA_DO_START;
	/* section 7: caught up now, or as of the previous fetch when it has what we had then */
	if (offset >= r->end) {
		if (now_ms > p->caught_up_ms)
			p->caught_up_ms = now_ms;
	} else if (offset >= p->leader_end_at_fetch && p->fetch_ms > p->caught_up_ms) {
		p->caught_up_ms = p->fetch_ms;
	}
	p->end = offset;
	p->start = start;
	p->fetch_ms = now_ms;
	p->leader_end_at_fetch = r->end;
	if (contact_ms > p->contact_ms)
		p->contact_ms = contact_ms;
	consider_joining(r, p, now_ms, out);
	if (before != offset)
		advance_hw(r, now_ms, out);
	return true;
}

int64_t replica_low_watermark(const struct replica *r, int64_t own_start)
{
	int64_t low = own_start;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		const struct replica_peer *p = &r->peers[i];
		if (p->id != r->self && p->assigned && p->eligible && p->start < low)
			low = p->start;
	}
	return low;
}

void replica_on_higher_epoch(struct replica *r, int32_t from, int32_t epoch, int64_t now_ms)
{
	const struct replica_peer *p = replica_peer_find(r, from);
	if (r->role != REPLICA_LEADER || !p || !p->assigned || epoch <= r->leader_epoch)
		return;
	if (!replica_suspended(r))
		r->suspended_ms = now_ms;
	if (epoch > r->seen_epoch)
		r->seen_epoch = epoch;
}

void replica_on_confirmed(struct replica *r, struct replica_out *out)
{
	*out = (struct replica_out){0};
	if (!replica_suspended(r))
		return;
	r->seen_epoch = r->leader_epoch;
	out->acts |= REPLICA_DO_RESUME;
}

void replica_on_rejected(struct replica *r, int32_t leader_epoch, int32_t partition_epoch, int64_t now_ms, struct replica_out *out)
{
	*out = (struct replica_out){0};
	if (!r->pending || leader_epoch != r->leader_epoch || partition_epoch != r->partition_epoch)
		return;
	end_proposal(r);
	r->propose_after_ms = now_ms + REJECTED_PAUSE_MS;
	advance_hw(r, now_ms, out);
}

void replica_on_tick(struct replica *r, bool look_for_lag, int64_t now_ms, struct replica_out *out)
{
	*out = (struct replica_out){0};
	if (r->role != REPLICA_LEADER)
		return;
	if (replica_suspended(r) && now_ms - r->suspended_ms >= SUSPENDED_ALONE_MS && replica_in_contact(r, r->suspended_ms)) {
		r->seen_epoch = r->leader_epoch;
		out->acts |= REPLICA_DO_RESUME;
	}
	if (r->pending && now_ms - r->proposed_ms >= PROPOSAL_REPEAT_MS) {
		r->proposed_ms = now_ms;
		out->acts |= REPLICA_DO_PROPOSE;
	}
	if (look_for_lag && may_propose(r, now_ms)) {
		bool any = false;
		for (uint32_t i = 0; i < r->peer_count; i++) {
			struct replica_peer *p = &r->peers[i];
			p->removing = p->in_isr && p->id != r->self && !caught_up(r, p, now_ms);
			any |= p->removing;
		}
		if (any) {
			open_proposal(r, now_ms, out);
			out->acts |= REPLICA_DID_SHRINK;
		}
	}
	/* somebody we waited for may not be joining any more */
	advance_hw(r, now_ms, out);
}

bool replica_in_contact(const struct replica *r, int64_t since_ms)
{
	bool alone = true;
	for (uint32_t i = 0; i < r->peer_count; i++) {
		const struct replica_peer *p = &r->peers[i];
		if (p->id == r->self || !(p->in_isr || p->adding))
			continue;
		alone = false;
		if (p->contact_ms > 0 && p->contact_ms >= since_ms)
			return true;
	}
	return alone;
}

int16_t replica_check_epoch(const struct replica *r, int32_t request_epoch)
{
	if (request_epoch == -1 || request_epoch == r->leader_epoch)
		return KERR_NONE;
	return request_epoch < r->leader_epoch ? KERR_FENCED_LEADER_EPOCH : KERR_UNKNOWN_LEADER_EPOCH;
}
