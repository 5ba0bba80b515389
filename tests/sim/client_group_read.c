/* client_group_read.c: what a member does with the partitions it owns: where to begin (OffsetFetch, else the beginning), Fetch, OffsetCommit.
 * See client_group.h. */
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/batch.h"
#include "tests/sim/checks.h"
#include "tests/sim/client_group.h"

enum { FETCH_BYTES = 32768, BACKOFF_US = 60000 };

void member_drop_partitions(struct member *m)
{
	for (int t = 0; t < TPS_MAX; t++)
		m->parts[t].owned = false;
	m->round++;
}

/* ---- where to begin ---- */

static void positions(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct member *m = ctx;
	m->asking_offsets = false;
	if (error || m->asked_round != m->round)
		return; /* of partitions that may have been somebody else's meanwhile: asked again */
	for (int i = 0; i < count; i++) {
		struct mpart *p = &m->parts[items[i].tp];
		if (!p->owned || p->position >= 0)
			continue;
		p->position = items[i].offset < 0 ? 0 : items[i].offset;
		p->committed = items[i].offset;
		p->last_epoch = items[i].offset < 0 ? -1 : items[i].leader_epoch;
		sim_note(m->r->w, "%s begins tp %d at %lld", m->name, items[i].tp, (long long)p->position);
	}
}

static void ask_positions(struct member *m)
{
	struct coord_item items[TPS_MAX];
	int n = 0;
	for (int32_t tp = 0; tp < m->r->tp_count; tp++)
		if (m->parts[tp].owned && m->parts[tp].position < 0)
			items[n++] = (struct coord_item){.tp = tp};
	if (!n || m->asking_offsets || m->state != MEMBER_STABLE || !coord_ready(&m->co))
		return;
	m->asked_round = m->round;
	m->asking_offsets = coord_fetch(&m->co, items, n, env_random_below(m->c.env, 8) == 0, positions, m);
}

/* ---- records ---- */

struct take { struct member *m; int32_t tp; int64_t from, sent_us; };

static void take_record(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	struct take *t = ctx;
	if (offset >= t->from)
		checks_read(t->m->r, t->tp, offset, epoch, id, t->sent_us);
}

static void take_records(struct member *m, int32_t tp, struct slice records, int64_t hw, int64_t sent_us)
{
	struct mpart *p = &m->parts[tp];
	struct take t = {m, tp, p->position, sent_us};
	while (records.len) {
		struct sim_batch b;
		int err = sim_batch_parse(records, &b);
		if (err == ERR_RANGE)
			return; /* cut at the limit */
		if (err || !sim_batch_records(records, &b, take_record, &t)) {
			run_violation(m->r, "refused", "%s tp %d: a batch at or behind offset %lld is broken", m->name, tp, (long long)p->position);
			return;
		}
		int64_t next = b.base_offset + b.count;
		if (next > hw)
			run_violation(m->r, "high-watermark", "%s tp %d: batch up to %lld above the high watermark %lld", m->name, tp, (long long)next, (long long)hw);
		if (b.base_offset > p->position)
			run_violation(m->r, "read-gone", "%s tp %d: the log goes on at %lld, expected %lld", m->name, tp, (long long)b.base_offset, (long long)p->position);
		if (next > p->position) {
			p->position = t.from = next;
			p->last_epoch = b.leader_epoch;
		}
		records = slice_make(records.ptr + b.total_bytes, records.len - (size_t)b.total_bytes);
	}
}

static void take_partition(struct mfetch *f, int32_t tp, const struct kp_fetch_response_responses_partitions *a)
{
	struct member *m = f->m;
	struct mpart *p = &m->parts[tp];
	if (!p->owned || f->offsets[tp] < 0 || f->offsets[tp] != p->position)
		return;
	switch (a->error_code) {
	case KERR_NONE:
		p->out_of_range = 0;
		take_records(m, tp, a->records.bytes, a->high_watermark, f->sent_us);
		return;
	case KERR_OFFSET_OUT_OF_RANGE:
		/* a deposed leader that does not know it yet; or what was read was lost to a power cut: then from the beginning */
		sim_note(m->r->w, "%s tp %d: offset %lld is out of range", m->name, tp, (long long)p->position);
		p->out_of_range++;
		p->retry_us = env_now_us(m->c.env) + BACKOFF_US * 5;
		client_refresh(&m->c);
		if (p->out_of_range >= 8) {
			p->out_of_range = 0;
			p->position = 0;
			p->rewound = true;
		}
		return;
	case KERR_UNKNOWN_TOPIC_OR_PARTITION: case KERR_NOT_LEADER_OR_FOLLOWER: case KERR_LEADER_NOT_AVAILABLE: case KERR_REPLICA_NOT_AVAILABLE:
	case KERR_FENCED_LEADER_EPOCH: case KERR_UNKNOWN_LEADER_EPOCH: case KERR_KAFKA_STORAGE_ERROR: case KERR_OFFSET_NOT_AVAILABLE:
		client_refresh(&m->c);
		p->retry_us = env_now_us(m->c.env) + BACKOFF_US;
		return;
	default:
		run_violation(m->r, "refused", "%s tp %d: Fetch answered with error %d", m->name, tp, a->error_code);
	}
}

static void fetched(void *ctx, int err, const void *msg)
{
	struct mfetch *f = ctx;
	struct member *m = f->m;
	const struct kp_fetch_response *a = msg;
	f->busy = false;
	if (err) {
		member_kick_soon(m, BACKOFF_US);
		return;
	}
	for (int32_t i = 0; i < a->responses_count && f->round == m->round; i++) {
		struct topic *t = run_topic_find(m->r, a->responses[i].topic);
		for (int32_t k = 0; t && k < a->responses[i].partitions_count; k++) {
			int32_t partition = a->responses[i].partitions[k].partition_index;
			if (partition >= 0 && partition < t->partitions)
				take_partition(f, t->first_tp + partition, &a->responses[i].partitions[k]);
		}
	}
	member_kick_soon(m, 0);
}

static void send_fetch(struct member *m, struct mfetch *f)
{
	struct kp_fetch_request q;
	struct kp_fetch_request_topics topics[TOPICS_MAX];
	struct kp_fetch_request_topics_partitions parts[TPS_MAX];
	int64_t now = env_now_us(m->c.env);
	int32_t n = 0;
	kp_fetch_request_init(&q);
	q.topics = topics;
	for (int32_t i = 0; i < m->r->topic_count; i++) {
		struct topic *t = &m->r->topics[i];
		int32_t first = n;
		for (int32_t k = 0; k < t->partitions; k++) {
			int32_t tp = t->first_tp + k;
			struct mpart *p = &m->parts[tp];
			f->offsets[tp] = -1;
			if (!p->owned || p->position < 0 || p->retry_us > now || m->c.parts[tp].leader != f->node)
				continue;
			if (m->c.parts[tp].epoch < p->last_epoch) { /* a leader of before what was committed (KIP-320) */
				client_refresh(&m->c);
				continue;
			}
			f->offsets[tp] = p->position;
			kp_fetch_request_topics_partitions_init(&parts[n]);
			parts[n].partition = k;
			parts[n].current_leader_epoch = m->c.parts[tp].epoch;
			parts[n].fetch_offset = p->position;
			parts[n++].partition_max_bytes = FETCH_BYTES;
		}
		if (n == first)
			continue;
		kp_fetch_request_topics_init(&topics[q.topics_count]);
		topics[q.topics_count].topic = slice_str(t->name);
		topics[q.topics_count].partitions = &parts[first];
		topics[q.topics_count++].partitions_count = n - first;
	}
	if (!n)
		return;
	q.max_wait_ms = m->max_wait_ms;
	q.min_bytes = m->min_bytes;
	q.max_bytes = 1 << 20;
	q.session_id = 0;
	q.session_epoch = -1;
	f->round = m->round;
	f->sent_us = now;
	f->busy = client_send(&m->c, f->node, wire_api_find(KP_API_FETCH), m->read_version, &q, (m->max_wait_ms + 2000) * 1000, fetched, f);
}

void member_read_step(struct member *m)
{
	ask_positions(m);
	for (int n = 0; n < m->r->opt->brokers; n++)
		if (!m->fetches[n].busy)
			send_fetch(m, &m->fetches[n]);
}

/* ---- commits ---- */

static void committed(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct member *m = ctx;
	m->committing = false;
	for (int i = 0; !error && i < count; i++) {
		struct mpart *p = &m->parts[items[i].tp];
		if (items[i].error == KERR_NONE) {
			if (p->owned && m->committed_round == m->round)
				p->committed = items[i].offset;
			continue;
		}
		if (items[i].error != KERR_UNKNOWN_TOPIC_OR_PARTITION && !coord_error(&m->co, items[i].error))
			member_told(m, items[i].error, m->committed_generation, "OffsetCommit");
	}
}

bool member_commit_now(struct member *m)
{
	struct coord_item items[TPS_MAX];
	struct coord_who who = member_who(m);
	int n = 0;
	for (int32_t tp = 0; tp < m->r->tp_count; tp++) {
		struct mpart *p = &m->parts[tp];
		if (p->owned && p->position >= 0 && p->position != p->committed && !(p->position == 0 && p->committed < 0))
			items[n++] = (struct coord_item){.tp = tp, .offset = p->position, .leader_epoch = p->last_epoch, .rewound = p->rewound};
	}
	if (!n || m->committing || !m->id[0] || m->generation < 0 || !coord_ready(&m->co))
		return false;
	m->committed_round = m->round;
	m->committed_generation = m->generation;
	m->committing = coord_commit(&m->co, &who, items, n, committed, m);
	return m->committing;
}

static void refused(void *ctx, int16_t error, const struct coord_item *items, int count)
{
	struct member *m = ctx;
	for (int i = 0; !error && i < count; i++) {
		switch (items[i].error) {
		case KERR_NONE: /* the checks have it */
		case KERR_ILLEGAL_GENERATION: case KERR_UNKNOWN_MEMBER_ID: case KERR_FENCED_INSTANCE_ID: case KERR_UNKNOWN_TOPIC_OR_PARTITION:
			break;
		default:
			if (!coord_error(&m->co, items[i].error))
				run_violation(m->r, "refused", "%s: a commit that must be refused got error %d", m->name, items[i].error);
		}
	}
}

void member_intrude(struct member *m)
{
	struct coord_item item = {.tp = -1, .leader_epoch = -1};
	struct coord_who who = member_who(m);
	bool old = m->generation > 0 && env_random_below(m->c.env, 2);
	for (int32_t tp = 0; tp < m->r->tp_count; tp++)
		if (member_subscribes(m, tp) && (item.tp < 0 || env_random_below(m->c.env, 2)))
			item.tp = tp;
	if (item.tp < 0 || m->generation < 0 || !coord_ready(&m->co))
		return;
	item.offset = (int64_t)env_random_below(m->c.env, 1000000);
	who.forbidden = true;
	if (old) {
		who.generation--;
	} else {
		who.member = slice_str("nobody");
		who.instance = (struct slice){0};
	}
	(void)coord_commit(&m->co, &who, &item, 1, refused, m);
}
