/* admin_broker.c: what brokers ask for themselves: shutdown, producer ids, ISR changes. See push.h.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/push/admin_priv.h"

/* ---- shutdown ---- */

static void shutdown_reply(struct push *p, uint32_t peer_number, uint64_t number, int16_t error, uint32_t remaining)
{
	struct push_peer *peer = push_peer_numbered(p, peer_number);
	if (!peer)
		return;
	Klamm__Control__ControlledShutdownReply r;
	Klamm__Control__Frame f;
	klamm__control__controlled_shutdown_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	r.remaining = remaining;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN_REPLY;
	f.controlled_shutdown_reply = &r;
	frame_send(peer->stream, &f);
}

/* q->own: the broker's id. */
static bool shutdown_settled(struct push_pending *q, bool late)
{
	uint32_t led = 0;
	return state_broker_settled(q->push->st, *(const int32_t *)q->own, &led);
}

static void shutdown_answer(struct push_pending *q, int16_t error)
{
	uint32_t led = 0;
	if (!error)
		(void)state_broker_settled(q->push->st, *(const int32_t *)q->own, &led);
	shutdown_reply(q->push, q->peer, q->number, error == KERR_REQUEST_TIMED_OUT ? KERR_NOT_CONTROLLER : error, led);
}

static const struct admin_call call_shutdown = {-1, NULL, NULL, shutdown_settled, shutdown_answer};

void admin_shutdown(struct push_peer *peer, const Klamm__Control__ControlledShutdown *c)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || !b->admitted) {
		shutdown_reply(p, peer->number, c->number, KERR_BROKER_NOT_AVAILABLE, 0);
		return;
	}
	if (c->broker_epoch < b->broker_epoch) {
		shutdown_reply(p, peer->number, c->number, KERR_STALE_BROKER_EPOCH, 0);
		return;
	}
	state_shutting_down(p->st, peer->id, true);
	struct push_pending *q = admin_pending_new(peer, &call_shutdown, c->number);
	int32_t *broker = ARENA_NEW(&q->arena, int32_t);
	*broker = peer->id;
	q->own = broker;
	ring_changed(p);
}

/* ---- producer ids ---- */

struct pid_arg {
	struct push *push;
	uint32_t peer;
	uint64_t number;
};

static void pids_reply(struct push *p, uint32_t peer_number, uint64_t number, int16_t error, int64_t first, int32_t count)
{
	struct push_peer *peer = push_peer_numbered(p, peer_number);
	if (!peer)
		return;
	Klamm__Control__ProducerIdsReply r;
	Klamm__Control__Frame f;
	klamm__control__producer_ids_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	r.first = first;
	r.count = count;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS_REPLY;
	f.producer_ids_reply = &r;
	frame_send(peer->stream, &f);
}

static void on_pids(void *ctx, void *arg, int16_t error, int64_t first, int32_t count)
{
	struct pid_arg a = *(struct pid_arg *)arg;
	mem_free(arg);
	pids_reply(a.push, a.peer, a.number, error, first, count);
}

void admin_producer_ids(struct push_peer *peer, const Klamm__Control__ProducerIdsRequest *r)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || b->broker_epoch != r->broker_epoch) {
		pids_reply(p, peer->number, r->number, KERR_STALE_BROKER_EPOCH, 0, 0);
		return;
	}
	struct pid_arg *a = MEM_NEW(struct pid_arg);
	*a = (struct pid_arg){p, peer->number, r->number};
	state_producer_ids(p->st, peer->id, on_pids, p, a);
}

/* ---- AlterPartition ---- */

static void alter_reply(struct push_peer *peer, uint64_t number, int16_t error, Klamm__Control__ProposalResult *one)
{
	struct push *p = peer->push;
	if (!elect_has_rights(p->el)) /* a rejection is fenced by nothing (C5); the leader asks again */
		return;
	Klamm__Control__AlterPartitionReply r;
	Klamm__Control__Frame f;
	klamm__control__alter_partition_reply__init(&r);
	klamm__control__frame__init(&f);
	r.number = number;
	r.controller_epoch = p->el->epoch;
	r.error = error;
	if (one) {
		r.partitions = &one;
		r.n_partitions = 1;
	}
	f.body_case = KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION_REPLY;
	f.alter_partition_reply = &r;
	frame_send(peer->stream, &f);
}

static void reject_one(struct push_peer *peer, uint64_t number, const struct uuid *id, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch)
{
	Klamm__Control__ProposalResult x;
	klamm__control__proposal_result__init(&x);
	uint8_t bytes[16];
	memcpy(bytes, id->b, sizeof(bytes));
	x.topic_id.data = bytes;
	x.topic_id.len = sizeof(bytes);
	x.partition = partition;
	x.error = error;
	x.leader_epoch = leader_epoch;
	x.partition_epoch = partition_epoch;
	alter_reply(peer, number, KERR_NONE, &x);
}

void admin_reject(void *ctx, int32_t broker, uint64_t number, const struct plan_topic *t, int32_t partition, int16_t error, int32_t leader_epoch, int32_t partition_epoch)
{
	struct push_peer *peer = push_broker_peer(ctx, broker);
	if (peer)
		reject_one(peer, number, &t->id, partition, error, leader_epoch, partition_epoch);
}

void admin_alter_partition(struct push_peer *peer, const Klamm__Control__AlterPartitionRequest *r)
{
	struct push *p = peer->push;
	const struct plan_broker *b = plan_broker_find(p->st->im, peer->id);
	if (!b || !b->admitted || b->broker_epoch != r->broker_epoch) {
		alter_reply(peer, r->number, KERR_STALE_BROKER_EPOCH, NULL);
		return;
	}
	for (size_t i = 0; i < r->n_partitions; i++) {
		const Klamm__Control__PartitionProposal *in = r->partitions[i];
		struct uuid id = {{0}};
		if (in->topic_id.len == sizeof(id.b))
			memcpy(id.b, in->topic_id.data, sizeof(id.b));
		if (in->n_isr > 1000)
			continue;
		struct state_proposal *q = mem_zalloc(sizeof(*q) + sizeof(int32_t) * in->n_isr);
		*q = (struct state_proposal){.broker = peer->id, .leader_epoch = in->leader_epoch, .partition_epoch = in->partition_epoch,
					     .recovery_state = in->recovery_state, .number = r->number, .isr_count = (int32_t)in->n_isr};
		if (in->n_isr)
			memcpy(q->isr, in->isr, sizeof(int32_t) * in->n_isr);
		if (state_propose(p->st, &id, in->partition, q))
			reject_one(peer, r->number, &id, in->partition, KERR_UNKNOWN_TOPIC_ID, in->leader_epoch, in->partition_epoch);
	}
}
