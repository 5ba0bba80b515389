/* proposals.c: ISR changes on their way to the controller (protocol.md B2, C6).
 *
 * One per partition; a newer one replaces the older. It ends by a state with a higher partition epoch (or leader epoch), or by a rejection that names
 * exactly its two epochs; until then it is sent again to whoever is active.
 */
#include "brokerd/link/ctl_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define RESEND_MS 1000

static void proposal_free(struct proposal *p)
{
	list_remove(&p->link);
	mem_free(p->topic);
	mem_free(p->isr);
	mem_free(p);
}

void proposals_free(struct ctl *c)
{
	while (!list_empty(&c->proposals))
		proposal_free(LIST_ENTRY(c->proposals.next, struct proposal, link));
	if (c->flush_proposals.fn)
		deferred_cancel(c->loop, &c->flush_proposals);
}

static void flush(void *ctx)
{
	proposals_send(ctx, false);
}

void ctl_propose(void *ctl, const struct image_topic *topic, int32_t partition, int32_t leader_epoch, int32_t partition_epoch, const int32_t *isr, int32_t isr_count, int8_t recovery_state)
{
	struct ctl *c = ctl;
	LIST_FOR_SAFE(it, tmp, &c->proposals) {
		struct proposal *o = LIST_ENTRY(it, struct proposal, link);
		if (o->partition == partition && !strcmp(o->topic, topic->name))
			proposal_free(o);
	}
	struct proposal *p = MEM_NEW(struct proposal);
	p->topic_id = topic->id;
	p->topic = mem_strdup(topic->name);
	p->partition = partition;
	p->leader_epoch = leader_epoch;
	p->partition_epoch = partition_epoch;
	p->isr_count = isr_count;
	p->isr = mem_alloc(sizeof(int32_t) * (size_t)(isr_count + 1));
	memcpy(p->isr, isr, sizeof(int32_t) * (size_t)isr_count);
	p->recovery_state = recovery_state;
	list_init(&p->link);
	list_push_back(&c->proposals, &p->link);
	if (!c->flush_proposals.fn)
		deferred_init(&c->flush_proposals, flush, c);
	loop_defer(c->loop, &c->flush_proposals);
}

void proposals_send(struct ctl *c, bool again)
{
	struct ctl_hello in = {0};
	struct arena a;
	if (!c->active || list_empty(&c->proposals) || !c->ev.hello(c->ev.ctx, &in))
		return;
	int64_t now = env_now_us(c->env);
	uint32_t n = 0;
	LIST_FOR(it, &c->proposals)
		n++;
	arena_init(&a, 0);
	Klamm__Control__AlterPartitionRequest m = KLAMM__CONTROL__ALTER_PARTITION_REQUEST__INIT;
	m.partitions = ARENA_ARRAY(&a, Klamm__Control__PartitionProposal *, n);
	m.number = ++c->next_number;
	m.broker_epoch = in.broker_epoch;
	LIST_FOR(it, &c->proposals) {
		struct proposal *p = LIST_ENTRY(it, struct proposal, link);
		if (!again && p->sent_us && now - p->sent_us < RESEND_MS * 1000)
			continue;
		Klamm__Control__PartitionProposal *o = ARENA_NEW(&a, Klamm__Control__PartitionProposal);
		klamm__control__partition_proposal__init(o);
		o->topic_id.data = p->topic_id.b;
		o->topic_id.len = 16;
		o->topic = p->topic;
		o->partition = p->partition;
		o->leader_epoch = p->leader_epoch;
		o->partition_epoch = p->partition_epoch;
		o->isr = p->isr;
		o->n_isr = (size_t)p->isr_count;
		o->recovery_state = p->recovery_state;
		p->sent_us = now;
		p->number = m.number;
		m.partitions[m.n_partitions++] = o;
	}
	if (m.n_partitions) {
		pb_frame f = KLAMM__CONTROL__FRAME__INIT;
		f.body_case = KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION;
		f.alter_partition = &m;
		ctl_send(c->active, &f);
	}
	arena_fini(&a);
}

void proposals_settle(struct ctl *c)
{
	LIST_FOR_SAFE(it, tmp, &c->proposals) {
		struct proposal *p = LIST_ENTRY(it, struct proposal, link);
		const struct image_topic *t = image_find_topic(c->image, slice_str(p->topic));
		const struct image_partition *s = image_topic_partition(t, p->partition);
		if (!s || !uuid_eq(&t->id, &p->topic_id) || s->leader_epoch > p->leader_epoch || s->partition_epoch > p->partition_epoch)
			proposal_free(p);
	}
}

static void verdict_done(struct shard_verdict *v)
{
	mem_free(v->topic);
	mem_free(v);
}

static void reject(struct ctl *c, struct proposal *p, int16_t error)
{
	struct shard_verdict *v = MEM_NEW(struct shard_verdict);
	uint32_t owner = partition_owner(c->env->hash_seed, &p->topic_id, slice_str(p->topic), p->partition, c->shard_count);
	v->shard = c->shards[owner];
	v->topic_id = p->topic_id;
	v->topic = mem_strdup(p->topic);
	v->partition = p->partition;
	v->leader_epoch = p->leader_epoch;
	v->partition_epoch = p->partition_epoch;
	v->error = error;
	v->done = verdict_done;
	proposal_free(p);
	shard_post_verdict(v);
}

void proposals_reply(struct ctl *c, const Klamm__Control__AlterPartitionReply *r)
{
	if (r->error) {
		/* The whole request failed: all of it is sent again by the next heartbeat, unless the partition moved on by then. */
		LIST_FOR(it, &c->proposals) {
			struct proposal *p = LIST_ENTRY(it, struct proposal, link);
			if (p->number == r->number)
				p->sent_us = 0;
		}
		return;
	}
	for (size_t i = 0; i < r->n_partitions; i++) {
		const Klamm__Control__ProposalResult *x = r->partitions[i];
		LIST_FOR_SAFE(it, tmp, &c->proposals) {
			struct proposal *p = LIST_ENTRY(it, struct proposal, link);
			if (x->topic_id.len == 16 && !memcmp(x->topic_id.data, p->topic_id.b, 16) && x->partition == p->partition && x->error &&
				x->leader_epoch == p->leader_epoch && x->partition_epoch == p->partition_epoch)
				reject(c, p, (int16_t)x->error);
		}
	}
}
