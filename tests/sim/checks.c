/* checks.c: bookkeeping of what clients were told and what ZooKeeper holds; the checks that can be made at once. See checks.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"
#include "tests/sim/checks_priv.h"

#define POLL_SLACK_US 25000
#define CUT_TOGETHER_US 15000000

void checks_init(struct run *r)
{
	struct checks *k = MEM_NEW(struct checks);
	k->r = r;
	k->rec_count = 1; /* id 0 is none */
	MEM_GROW(k->recs, k->rec_cap, 4096);
	memset(&k->recs[0], 0, sizeof(k->recs[0]));
	arena_init(&k->arena, 0);
	for (int i = 0; i < TPS_MAX; i++)
		k->tps[i] = (struct tp_check){.state_version = -1, .leader = -1, .last_leader = -1, .leader_epoch = -1};
	r->checks = k;
}

void checks_free(struct run *r)
{
	struct checks *k = r->checks;
	if (!k)
		return;
	for (int i = 0; i < TPS_MAX; i++) {
		mem_free(k->tps[i].state_path);
		mem_free(k->tps[i].topic_path);
		mem_free(k->tps[i].changes);
		mem_free(k->tps[i].epoch_leader);
		mem_free(k->tps[i].offsets);
	}
	arena_fini(&k->arena);
	mem_free(k->recs);
	mem_free(k->gaps);
	mem_free(k->cuts);
	mem_free(k);
	r->checks = NULL;
}

/* ---- leaders and ISR in ZooKeeper ---- */

static uint16_t mask_of(const struct zkd_ids *ids)
{
	uint16_t m = 0;
	for (size_t i = 0; i < ids->count; i++) {
		int idx = cluster_broker_index_of(ids->ids[i]);
		if (idx >= 0)
			m |= (uint16_t)(1u << idx);
	}
	return m;
}

void checks_leader(struct run *r, int32_t tp, int32_t epoch, int32_t broker)
{
	struct tp_check *t = &r->checks->tps[tp];
	int idx = cluster_broker_index_of(broker);
	if (epoch < 0 || epoch > 1000000 || idx < 0)
		return;
	if ((size_t)epoch >= t->epoch_cap) {
		size_t had = t->epoch_cap;
		MEM_GROW(t->epoch_leader, t->epoch_cap, (size_t)epoch + 64);
		memset(t->epoch_leader + had, 0, t->epoch_cap - had);
	}
	if (t->epoch_leader[epoch] && t->epoch_leader[epoch] != idx + 1)
		run_violation(r, "one-leader", "tp %d (%s-%d) epoch %d is led by broker %d and by broker %d", tp, run_topic_of(r, tp)->name, run_partition_of(r, tp),
			epoch, cluster_broker_id_of(t->epoch_leader[epoch] - 1), broker);
	t->epoch_leader[epoch] = (int8_t)(idx + 1);
}

static void read_assignment(struct run *r, int32_t tp)
{
	struct tp_check *t = &r->checks->tps[tp];
	struct topic *topic = run_topic_of(r, tp);
	struct zk_stat st;
	struct str data;
	struct arena a;
	struct zkd_topic zt;
	str_init(&data);
	arena_init(&a, 0);
	if (sim_zk_read(r->w, t->topic_path, &data, &st) == 0 && st.mzxid != t->topic_mzxid &&
	    zkd_topic_decode(slice_make(data.ptr, data.len), &a, &zt) == 0 && (uuid_is_zero(&topic->id) || !zt.has_topic_id || uuid_eq(&topic->id, &zt.topic_id))) {
		t->topic_mzxid = st.mzxid;
		topic->id = zt.topic_id;
		for (size_t i = 0; i < zt.partition_count; i++)
			if (zt.partitions[i].partition == run_partition_of(r, tp))
				t->replicas = mask_of(&zt.partitions[i].replicas);
	}
	arena_fini(&a);
	str_fini(&data);
}

static void take_state(struct run *r, int32_t tp, const struct zkd_state *s)
{
	struct tp_check *t = &r->checks->tps[tp];
	uint16_t isr = mask_of(&s->isr);
	const char *name = run_topic_of(r, tp)->name;
	if (s->leader_epoch < t->leader_epoch)
		run_violation(r, "epoch-back", "tp %d (%s-%d): leader epoch %d after %d", tp, name, run_partition_of(r, tp), s->leader_epoch, t->leader_epoch);
	if (s->leader >= 0)
		checks_leader(r, tp, s->leader_epoch, s->leader);
	if (isr == 0 || (t->replicas && (isr & ~t->replicas)) || (s->leader >= 0 && !(isr >> cluster_broker_index_of(s->leader) & 1)))
		run_violation(r, "isr", "tp %d (%s-%d): leader %d isr %#x replicas %#x", tp, name, run_partition_of(r, tp), s->leader, isr, t->replicas);
	if (s->leader >= 0 && s->leader != t->last_leader) {
		if (t->last_leader >= 0)
			r->res.leader_changes++;
		t->last_leader = s->leader;
	}
	if (s->leader >= 0 && s->leader_epoch != t->leader_epoch && run_topic_of(r, tp)->internal)
		sim_committers_probe(r, tp);
	if (run_topic_of(r, tp)->internal)
		run_topic_of(r, tp)->state = TOPIC_LIVE; /* a broker asked for it */
	t->leader = s->leader;
	t->leader_epoch = s->leader_epoch;
	if (isr != t->isr || t->change_count == 0) {
		t->isr = isr;
		MEM_GROW(t->changes, t->change_cap, t->change_count + 1);
		t->changes[t->change_count++] = (struct isr_change){sim_now_us(r->w), isr};
	}
}

void checks_poll_tp(struct run *r, int32_t tp)
{
	struct tp_check *t = &r->checks->tps[tp];
	struct topic *topic = run_topic_of(r, tp);
	struct zk_stat st;
	struct str data;
	if (topic->state != TOPIC_LIVE && !topic->internal)
		return;
	if (!t->state_path) {
		struct str p;
		str_init(&p);
		str_printf(&p, "%s/brokers/topics/%s/partitions/%d/state", r->chroot, topic->name, run_partition_of(r, tp));
		t->state_path = str_steal(&p);
		str_init(&p);
		str_printf(&p, "%s/brokers/topics/%s", r->chroot, topic->name);
		t->topic_path = str_steal(&p);
	}
	if (uuid_is_zero(&topic->id) || !t->replicas)
		read_assignment(r, tp);
	str_init(&data);
	if (sim_zk_read(r->w, t->state_path, &data, &st) == 0 && (st.mzxid != t->state_mzxid || st.czxid != t->state_czxid)) {
		struct arena a;
		struct zkd_state s;
		arena_init(&a, 0);
		t->state_mzxid = st.mzxid;
		t->state_czxid = st.czxid;
		if (zkd_state_decode(slice_make(data.ptr, data.len), &a, &s) == 0)
			take_state(r, tp, &s);
		else
			run_violation(r, "isr", "%s does not decode", t->state_path);
		arena_fini(&a);
	}
	str_fini(&data);
}

void checks_poll(struct run *r)
{
	for (int32_t tp = 0; tp < r->tp_count && !run_over(r); tp++)
		checks_poll_tp(r, tp);
}

void checks_window(struct run *r, int32_t tp, int64_t from_us, struct masks *out)
{
	struct tp_check *t = &r->checks->tps[tp];
	checks_poll_tp(r, tp);
	for (size_t i = t->change_count; i-- > 0;) {
		bool known = false;
		for (int k = 0; k < out->count; k++)
			known |= out->mask[k] == t->changes[i].mask;
		if (!known && out->count < MASKS_MAX)
			out->mask[out->count++] = t->changes[i].mask;
		if (t->changes[i].t_us <= from_us - POLL_SLACK_US)
			break; /* in force when it began */
	}
}

bool checks_available(struct run *r, struct str *what)
{
	for (int32_t i = 0; i < r->topic_count; i++) {
		if (r->topics[i].state == TOPIC_WANTED || r->topics[i].state == TOPIC_DELETING) {
			str_printf(what, "topic %s is still being %s", r->topics[i].name, r->topics[i].state == TOPIC_WANTED ? "created" : "deleted");
			return false;
		}
	}
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		struct tp_check *t = &r->checks->tps[tp];
		if (run_topic_of(r, tp)->state != TOPIC_LIVE)
			continue;
		if (t->leader < 0 || t->isr != t->replicas) {
			str_printf(what, "tp %d (%s-%d) has leader %d, isr %#x of replicas %#x, epoch %d", tp, run_topic_of(r, tp)->name, run_partition_of(r, tp), t->leader,
				t->isr, t->replicas, t->leader_epoch);
			return false;
		}
	}
	return true;
}

/* ---- records ---- */

uint64_t checks_record(struct run *r, int producer, int32_t tp, int8_t acks, bool idempotent)
{
	struct checks *k = r->checks;
	MEM_GROW(k->recs, k->rec_cap, k->rec_count + 1);
	k->recs[k->rec_count] = (struct rec){.producer = (int16_t)producer, .tp = (int16_t)tp, .acks = acks, .idempotent = idempotent, .commit = -1, .offset = -1};
	return k->rec_count++;
}

void checks_resequenced(struct run *r, uint64_t id)
{
	r->checks->recs[id].resequenced = true;
}

void checks_acked(struct run *r, int32_t tp, uint64_t first_id, int32_t count, int64_t base_offset, int64_t sent_us)
{
	struct checks *k = r->checks;
	struct masks m = {.count = 0};
	checks_window(r, tp, sent_us, &m);
	for (int32_t i = 0; i < count; i++) {
		struct rec *rec = &k->recs[first_id + (uint64_t)i];
		rec->acked = true;
		rec->offset = base_offset + i;
		rec->isr = m;
	}
	r->res.acked += count;
}

void checks_gap(struct run *r, uint64_t id, uint64_t last_acked_id)
{
	struct checks *k = r->checks;
	MEM_GROW(k->gaps, k->gap_cap, k->gap_count + 1);
	k->gaps[k->gap_count++] = (struct gap){id, last_acked_id};
	sim_note(r->w, "gap reported in front of record %llu", (unsigned long long)id);
}

struct inst *checks_inst(struct run *r, int32_t tp, int64_t offset, int32_t epoch, uint64_t id, const char *where)
{
	struct checks *k = r->checks;
	struct tp_check *t = &k->tps[tp];
	ASSERT(offset >= 0 && offset < 100000000);
	if ((size_t)offset >= t->offset_cap) {
		size_t had = t->offset_cap;
		MEM_GROW(t->offsets, t->offset_cap, (size_t)offset + 256);
		memset(t->offsets + had, 0, (t->offset_cap - had) * sizeof(t->offsets[0]));
	}
	struct inst *found = NULL;
	for (struct inst *in = t->offsets[offset]; in; in = in->next) {
		if (in->id == id) {
			found = in;
			continue;
		}
		for (int i = 0; i < in->epoch_count && epoch >= 0; i++)
			if (in->epochs[i] == epoch)
				run_violation(r, "log-matching", "tp %d (%s-%d) offset %lld epoch %d: record %llu %s, and record %llu elsewhere", tp, run_topic_of(r, tp)->name,
					run_partition_of(r, tp), (long long)offset, epoch, (unsigned long long)id, where, (unsigned long long)in->id);
	}
	if (!found) {
		found = ARENA_NEW(&k->arena, struct inst);
		found->id = id;
		found->next = t->offsets[offset];
		t->offsets[offset] = found;
	}
	bool known = epoch < 0;
	for (int i = 0; i < found->epoch_count; i++)
		known |= found->epochs[i] == epoch;
	if (!known && found->epoch_count < EPOCHS_MAX)
		found->epochs[found->epoch_count++] = epoch;
	return found;
}

static bool excused_by(const struct loss *l, uint16_t isr)
{
	return isr && (isr & ~l->lost) == 0 && (isr & l->holders) == 0;
}

/* Brokers that lost power about then. */
static uint16_t cut_around(const struct checks *k, int64_t t_us)
{
	uint16_t m = 0;
	for (size_t i = 0; i < k->cut_count; i++)
		if (k->cuts[i].t_us >= t_us - CUT_TOGETHER_US && k->cuts[i].t_us <= t_us + CUT_TOGETHER_US)
			m |= (uint16_t)(1u << k->cuts[i].broker);
	return m;
}

/* min.insync.replicas=1, protocol.md E3: when all of the ISR is lossy, the last leader is taken as Kafka does. So a record that some
 * replica lost may go when the whole ISR of that moment lost power about then, or when the ISR was, then or later, made of replicas
 * that had lost it. */
static bool excused_min_one(const struct run *r, int32_t tp, const struct inst *in, const struct loss *l)
{
	const struct tp_check *t = &r->checks->tps[tp];
	if (l->isr && (l->isr & ~cut_around(r->checks, l->t_us)) == 0)
		return true;
	for (size_t i = t->change_count; i-- > 0;) {
		if ((t->changes[i].mask & ~in->lost) == 0)
			return true;
		if (t->changes[i].t_us <= l->t_us)
			break; /* in force when it was lost */
	}
	return false;
}

bool checks_excused(struct run *r, int32_t tp, const struct inst *in, const struct masks *isr)
{
	const struct topic *t = run_topic_of(r, tp);
	if (!in || t->flush)
		return false;
	for (const struct loss *l = in->losses; l; l = l->next) {
		for (int i = 0; i < isr->count; i++)
			if (excused_by(l, isr->mask[i]))
				return true;
		if (t->min_isr == 1 && excused_min_one(r, tp, in, l))
			return true;
	}
	return false;
}

void checks_read(struct run *r, int32_t tp, int64_t offset, int32_t epoch, uint64_t id, int64_t sent_us)
{
	struct checks *k = r->checks;
	if (id == 0 || id >= k->rec_count || k->recs[id].tp != tp) {
		run_violation(r, "read-gone", "tp %d offset %lld holds record %llu, which nobody sent there", tp, (long long)offset, (unsigned long long)id);
		return;
	}
	struct inst *in = checks_inst(r, tp, offset, epoch, id, "was read");
	if (in->read)
		return;
	in->read = true;
	r->res.read++;
	checks_window(r, tp, sent_us, &in->isr);
	for (struct inst *o = k->tps[tp].offsets[offset]; o; o = o->next)
		if (o != in && o->read && !checks_excused(r, tp, o, &o->isr) && !checks_excused(r, tp, o, &k->recs[o->id].isr))
			run_violation(r, "read-gone", "tp %d (%s-%d) offset %lld: record %llu was read before, now record %llu (epoch %d)", tp, run_topic_of(r, tp)->name,
				run_partition_of(r, tp), (long long)offset, (unsigned long long)o->id, (unsigned long long)id, epoch);
}
