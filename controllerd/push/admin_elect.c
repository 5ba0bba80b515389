/* admin_elect.c: ElectLeaders. See admin_priv.h.
 *
 * Rows are sorted and each partition stands once. A row is decided when no write of its partition is under way, and answered when the leader that
 * was asked for is in the published image (replication.md 10); what came of the election instead is decided anew until the deadline.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/wire/kerr.h"
#include "controllerd/push/admin_priv.h"

struct elect_row {
	struct slice topic;
	int32_t partition;
	bool open;  /* no result yet */
	bool asked; /* the election was begun */
	int16_t code;
	struct slice message;
};
struct election { /* q->own */
	struct elect_row *rows;
	int32_t count;
	enum plan_election type;
	bool all; /* nothing was named: what needs no election is left out */
};

static int by_name(const void *x, const void *y)
{
	const struct elect_row *a = x, *b = y;
	int c = slice_cmp(a->topic, b->topic);
	return c ? c : (a->partition > b->partition) - (a->partition < b->partition);
}

static void settle(struct elect_row *r, int16_t code, struct slice message)
{
	r->open = false;
	r->code = code;
	r->message = message;
}

static void not_available(struct push_pending *q, struct elect_row *r, int16_t code)
{
	struct str s = {0};
	str_printf(&s, "Failed to elect leader for partition %.*s-%d under strategy %s", (int)r->topic.len, (const char *)r->topic.ptr, r->partition,
		   code == KERR_PREFERRED_LEADER_NOT_AVAILABLE ? "PreferredReplicaPartitionLeaderElectionStrategy" : "OfflinePartitionLeaderElectionStrategy(true)");
	settle(r, code, admin_text(q, &s));
	str_fini(&s);
}

static void decide(struct push_pending *q, struct elect_row *r)
{
	const struct election *own = q->own;
	struct state *s = q->push->st;
	struct plan_topic *t = plan_topic_find_slice(s->im, r->topic);
	struct plan_partition *p = t && !t->vanished ? plan_partition_find(t, r->partition) : NULL;
	if (!p) {
		settle(r, KERR_UNKNOWN_TOPIC_OR_PARTITION, slice_str("The partition does not exist."));
		return;
	}
	if (t->deleting) {
		settle(r, KERR_INVALID_TOPIC_EXCEPTION, slice_str("The topic is being deleted"));
		return;
	}
	int16_t code = plan_election_check(s->im, p, own->type);
	if (code == KERR_ELECTION_NOT_NEEDED && r->asked) { /* it leads: say so when everybody can know */
		if (list_empty(&p->change))
			settle(r, KERR_NONE, (struct slice){NULL, 0});
	} else if (code == KERR_ELECTION_NOT_NEEDED) {
		settle(r, code, slice_str("Leader election not needed for topic partition."));
	} else if (state_election_open(p)) {
		return;
	} else if (code) {
		not_available(q, r, code);
	} else {
		r->asked = true;
		state_elect(s, p, own->type);
	}
}

static int32_t count_named(const struct kp_elect_leaders_request *in)
{
	int32_t n = 0;
	for (int32_t i = 0; i < in->topic_partitions_count; i++)
		n += in->topic_partitions[i].partitions_count;
	return n;
}

static void name_rows(struct push_pending *q, struct election *own, const struct kp_elect_leaders_request *in)
{
	own->rows = ARENA_ARRAY(&q->arena, struct elect_row, (size_t)count_named(in) + 1);
	for (int32_t i = 0; i < in->topic_partitions_count; i++)
		for (int32_t k = 0; k < in->topic_partitions[i].partitions_count; k++)
			own->rows[own->count++] = (struct elect_row){.topic = in->topic_partitions[i].topic, .partition = in->topic_partitions[i].partitions[k], .open = true};
	qsort(own->rows, (size_t)own->count, sizeof(*own->rows), by_name);
	int32_t kept = 0;
	for (int32_t i = 0; i < own->count; i++)
		if (kept == 0 || by_name(&own->rows[kept - 1], &own->rows[i]) != 0)
			own->rows[kept++] = own->rows[i];
	own->count = kept;
}

static void all_rows(struct push_pending *q, struct election *own)
{
	const struct plan_image *im = q->push->st->im;
	own->all = true;
	own->rows = ARENA_ARRAY(&q->arena, struct elect_row, (size_t)im->partition_count + 1);
	for (const struct plan_topic *t = im->by_name; t; t = t->by_name.next) {
		if (!t->published || t->vanished)
			continue;
		struct slice name = slice_make(arena_strndup(&q->arena, t->name, strlen(t->name)), strlen(t->name));
		for (int32_t i = 0; i < t->partition_count; i++)
			if (plan_partition_find(t, i))
				own->rows[own->count++] = (struct elect_row){.topic = name, .partition = i, .open = true};
	}
	qsort(own->rows, (size_t)own->count, sizeof(*own->rows), by_name);
}

static void election_start(struct push_pending *q, const void *request)
{
	const struct kp_elect_leaders_request *in = request;
	struct election *own = ARENA_NEW(&q->arena, struct election);
	q->own = own;
	own->type = in->election_type == 1 ? PLAN_ELECTION_UNCLEAN : PLAN_ELECTION_PREFERRED;
	admin_timeout(q, in->timeout_ms);
	if (in->topic_partitions_count >= 0)
		name_rows(q, own, in);
	else
		all_rows(q, own);
	bool known = in->election_type == 0 || in->election_type == 1;
	if (!known)
		((struct kp_elect_leaders_response *)q->response)->error_code = KERR_UNKNOWN_SERVER_ERROR; /* as Kafka, which has no code for it */
	for (int32_t i = 0; i < own->count; i++) {
		if (known)
			decide(q, &own->rows[i]);
		else
			settle(&own->rows[i], KERR_UNKNOWN_SERVER_ERROR, (struct slice){NULL, 0});
	}
}

static void fill(struct push_pending *q)
{
	struct election *own = q->own;
	struct kp_elect_leaders_response *response = q->response;
	response->replica_election_results = ARENA_ARRAY(&q->arena, struct kp_elect_leaders_response_replica_election_results, (size_t)own->count + 1);
	struct kp_elect_leaders_response_replica_election_results_partition_result *parts =
		ARENA_ARRAY(&q->arena, struct kp_elect_leaders_response_replica_election_results_partition_result, (size_t)own->count + 1);
	struct kp_elect_leaders_response_replica_election_results *t = NULL;
	for (int32_t i = 0; i < own->count; i++) {
		const struct elect_row *r = &own->rows[i];
		if (own->all && r->code == KERR_ELECTION_NOT_NEEDED)
			continue;
		if (!t || !slice_eq(t->topic, r->topic)) {
			t = &response->replica_election_results[response->replica_election_results_count++];
			kp_elect_leaders_response_replica_election_results_init(t);
			t->topic = r->topic;
			t->partition_result = parts;
		}
		kp_elect_leaders_response_replica_election_results_partition_result_init(parts);
		parts->partition_id = r->partition;
		parts->error_code = r->code;
		parts->error_message = r->message;
		parts++;
		t->partition_result_count++;
	}
}

static bool election_settled(struct push_pending *q, bool late)
{
	struct election *own = q->own;
	bool settled = true;
	for (int32_t i = 0; i < own->count; i++) {
		struct elect_row *r = &own->rows[i];
		if (r->open)
			decide(q, r);
		if (r->open && late)
			settle(r, KERR_REQUEST_TIMED_OUT, (struct slice){NULL, 0});
		settled &= !r->open;
	}
	if (settled)
		fill(q);
	return settled;
}

const struct admin_call admin_elect_leaders = {KP_API_ELECT_LEADERS, election_start, NULL, election_settled, NULL};
