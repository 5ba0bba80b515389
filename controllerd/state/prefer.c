/* prefer.c: elections that somebody asks for: marks that the next look at a partition takes up; /admin/preferred_replica_election, which tools
 * of 2.8 write; the balance of leaders (auto.leader.rebalance.enable). See state.h.
 *
 * A mark is taken up once, whether it can be met or not: who asked looks at what became of it, and asks again. The node is deleted when the
 * looks that it caused are over, so a controller that dies in between leaves it for the next one.
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

enum { FIRST_BALANCE_MS = 5000, NODE_CHECK_MS = 50, BROKERS_BACK_MS = 5000 };

struct state_election_row {
	struct uuid topic;
	int32_t idx;
};

void state_elect(struct state *s, struct plan_partition *p, enum plan_election type)
{
	if (type == PLAN_ELECTION_UNCLEAN)
		p->unclean_once = true;
	else
		p->prefer = true;
	state_touch(s, p);
}

bool state_election_open(const struct plan_partition *p)
{
	return p->in_flight || p->prefer || p->unclean_once || !list_empty(&p->work);
}

/* ---- /admin/preferred_replica_election ---- */

static void on_node_gone(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	s->election_busy = false;
	mem_free(s->election);
	s->election = NULL;
	if (s->active && (s->election_again || (err && err != ERR_NOENT)))
		prefer_look(s);
}

static void node_delete(struct state *s)
{
	struct write *w = write_new(WRITE_BULK, on_node_gone, s, NULL);
	write_delete(w, ZKP_PREFERRED_ELECTION, s->election_version);
	writer_submit(&s->wr, w);
}

/* A new reign knows the brokers from ZooKeeper before they have said hello; until then none of them can be elected. */
static bool brokers_back(const struct state *s)
{
	for (const struct plan_broker *b = s->im->brokers; b; b = b->hh.next)
		if (b->registered && !b->available)
			return env_now_us(s->env) - s->loaded_us > (int64_t)BROKERS_BACK_MS * 1000;
	return true;
}

/* All that the node asks for was looked at. */
static void node_check(void *p)
{
	struct state *s = p;
	if (!s->election) {
		prefer_look(s);
		return;
	}
	while (s->election_count > 0) {
		const struct state_election_row *r = &s->election[s->election_count - 1];
		const struct plan_topic *t = plan_topic_find_id(s->im, &r->topic);
		const struct plan_partition *part = t && !t->deleting && !t->vanished ? plan_partition_find(t, r->idx) : NULL;
		if (part && state_election_open(part)) {
			timer_set_ms(&s->election_timer, NODE_CHECK_MS);
			return;
		}
		s->election_count--;
	}
	node_delete(s);
}

static void on_node(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active)
		return;
	if (err) { /* deleted since */
		on_node_gone(s, NULL, err, 0, NULL);
		return;
	}
	struct arena a;
	struct zkd_partition_list l = {NULL, 0};
	int32_t begun = 0;
	arena_init(&a, 0);
	if (zkd_partitions_decode(data, &a, &l))
		LOG_AT(s->env->log, LOG_ERROR, "state", "election.unreadable", "path=%s", ZKP_PREFERRED_ELECTION);
	s->election = mem_realloc(s->election, sizeof(*s->election) * (l.count + 1));
	s->election_count = 0;
	s->election_version = st->version;
	for (size_t i = 0; i < l.count; i++) {
		struct plan_topic *t = plan_topic_find(s->im, l.items[i].topic);
		struct plan_partition *p = t && !t->deleting && !t->vanished ? plan_partition_find(t, l.items[i].partition) : NULL;
		if (!p)
			continue;
		s->election[s->election_count++] = (struct state_election_row){t->id, p->idx};
		begun++;
		state_elect(s, p, PLAN_ELECTION_PREFERRED);
	}
	arena_fini(&a);
	LOG_AT(s->env->log, LOG_INFO, "state", "election.asked", "path=%s partitions=%d unknown=%d", ZKP_PREFERRED_ELECTION, begun, (int)l.count - begun);
	node_check(s);
}

void prefer_look(struct state *s)
{
	if (s->election_busy) {
		s->election_again = true;
		return;
	}
	if (!brokers_back(s)) {
		timer_set_ms(&s->election_timer, NODE_CHECK_MS);
		return;
	}
	s->election_busy = true;
	s->election_again = false;
	calls_get(&s->calls, ZKP_PREFERRED_ELECTION, on_node, NULL);
}

static void look_again(void *ctx, const char *path)
{
	struct state *s = ctx;
	if (s->active && s->loaded)
		prefer_look(s);
}

/* ---- the balance of leaders ---- */

static void balance_one(void *ctx, struct plan_partition *p)
{
	struct state *s = ctx;
	s->balanced++;
	state_elect(s, p, PLAN_ELECTION_PREFERRED);
}

static void on_balance(void *ctx)
{
	struct state *s = ctx;
	uint64_t before = s->balanced;
	plan_imbalance(s->im, s->balance.percentage, balance_one, s);
	if (s->balanced != before)
		LOG_AT(s->env->log, LOG_INFO, "state", "balance", "partitions=%llu", (unsigned long long)(s->balanced - before));
	timer_set_ms(&s->balance_timer, (int64_t)s->balance.interval_s * 1000);
}

/* ---- reign ---- */

void prefer_init(struct state *s)
{
	timer_init(&s->election_timer, s->loop, node_check, s);
	timer_init(&s->balance_timer, s->loop, on_balance, s);
}

void prefer_loaded(struct state *s)
{
	s->loaded_us = env_now_us(s->env);
	zk_observe(s->calls.zk, ZKP_PREFERRED_ELECTION, ZK_OBSERVE_NODE, look_again, s);
	prefer_look(s);
	if (s->balance.enabled)
		timer_set_ms(&s->balance_timer, FIRST_BALANCE_MS);
}

void prefer_end(struct state *s)
{
	timer_stop(&s->election_timer);
	timer_stop(&s->balance_timer);
	s->election_busy = s->election_again = false;
	s->election_count = 0;
	mem_free(s->election);
	s->election = NULL;
}
