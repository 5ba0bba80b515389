/* state.c: looking at partitions and writing their states. See state.h. */
#include "controllerd/state/state.h"

#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"

enum { LOOKS_PER_TURN = 1000, LATER_MS = 200 };

struct state_write { /* one state node on its way */
	struct state *s;
	struct plan_topic *topic;
	int32_t idx, version; /* version: -1 = create */
	enum plan_why why;
	struct plan_state st;
	struct plan_ids ending, lossy;
	bool elr_clear;
	size_t state_op; /* index of the op on the state node */
	int8_t parent_op, node_op; /* index, or -1 */
};

static void work_later(void *p);

/* ---- lists ---- */

void state_publish_partition(struct state *s, struct plan_partition *p)
{
	if (list_empty(&p->change))
		list_push_back(&s->changed_partitions, &p->change);
	s->host.changed(s->host.ctx);
}

void state_publish_topic(struct state *s, struct plan_topic *t, bool config)
{
	t->config_changed |= config;
	if (list_empty(&t->change))
		list_push_back(&s->changed_topics, &t->change);
	s->host.changed(s->host.ctx);
}

void state_publish_broker(struct state *s, struct plan_broker *b)
{
	if (list_empty(&b->change))
		list_push_back(&s->changed_brokers, &b->change);
	s->host.changed(s->host.ctx);
}

void state_touch(struct state *s, struct plan_partition *p)
{
	if (!s->active)
		return;
	if (p->in_flight) {
		p->again = true;
		return;
	}
	list_remove(&p->work);
	list_push_back(&s->work, &p->work);
	if (s->loaded)
		loop_defer(s->loop, &s->work_soon);
}

void state_touch_later(struct state *s, struct plan_partition *p)
{
	if (!s->active || p->in_flight || !list_empty(&p->work))
		return;
	list_push_back(&s->later, &p->work);
	if (!timer_armed(&s->later_timer))
		timer_set_ms(&s->later_timer, LATER_MS);
}

static void on_later(void *ctx)
{
	struct state *s = ctx;
	for (struct list *n; (n = list_pop_front(&s->later));)
		list_push_back(&s->work, n);
	if (s->loaded)
		loop_defer(s->loop, &s->work_soon);
}

void state_touch_all(struct state *s)
{
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++)
			if (t->partitions[i].replicas.n)
				state_touch(s, &t->partitions[i]);
}

void state_touch_broker(struct state *s, int32_t broker)
{
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++)
			if (plan_ids_has(&t->partitions[i].replicas, broker))
				state_touch(s, &t->partitions[i]);
}

bool state_broker_settled(const struct state *s, int32_t broker, uint32_t *ret_led)
{
	bool settled = true;
	uint32_t led = 0;
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++) {
			const struct plan_partition *p = &t->partitions[i];
			if (!plan_ids_has(&p->replicas, broker) || t->deleting)
				continue;
			settled &= !p->in_flight && list_empty(&p->work);
			led += p->st.leader == broker && p->replicas.n > 1;
		}
	*ret_led = led;
	return settled;
}

/* ---- marks ---- */

void state_marks_done(struct state *s, struct plan_partition *p, const struct plan_ids *ending, const struct plan_ids *lossy)
{
	struct plan_ids all = {0};
	for (int32_t i = 0; i < ending->n; i++)
		if (plan_ids_has(&p->ending, ending->v[i]))
			plan_ids_add(&all, ending->v[i]);
	for (int32_t i = 0; i < lossy->n; i++)
		if (plan_ids_has(&p->lossy_new, lossy->v[i]))
			plan_ids_add(&all, lossy->v[i]);
	for (int32_t i = 0; i < all.n; i++) {
		if (plan_ids_has(ending, all.v[i]))
			plan_ids_remove(&p->ending, all.v[i]);
		if (plan_ids_has(lossy, all.v[i]))
			plan_ids_remove(&p->lossy_new, all.v[i]);
	}
	for (int32_t i = 0; i < all.n; i++)
		if (!plan_ids_has(&p->ending, all.v[i]) && !plan_ids_has(&p->lossy_new, all.v[i]))
			life_settled(s, all.v[i]);
	plan_ids_fini(&all);
}

static void marks_clear(struct state *s, struct plan_partition *p)
{
	p->elr_clear = false;
	if (!p->ending.n && !p->lossy_new.n)
		return;
	struct plan_ids ending = {0}, lossy = {0};
	plan_ids_copy(&ending, &p->ending);
	plan_ids_copy(&lossy, &p->lossy_new);
	state_marks_done(s, p, &ending, &lossy);
	plan_ids_fini(&ending);
	plan_ids_fini(&lossy);
}

/* ---- writing one state ---- */

static void write_free(struct state_write *w)
{
	plan_state_fini(&w->st);
	plan_ids_fini(&w->ending);
	plan_ids_fini(&w->lossy);
	mem_free(w);
}

static void failover_count(struct state *s, const struct state_write *w, int32_t old_leader)
{
	struct state_failover *f = &s->failover;
	if (!f->any || f->pending == 0 || old_leader != f->broker || w->st.leader == old_leader)
		return;
	f->partitions++;
	if (--f->pending == 0)
		f->took_ms = (env_now_us(s->env) - f->began_us) / 1000;
}

static void state_acknowledged(struct state *s, struct plan_partition *p, struct state_write *w, int32_t version)
{
	struct plan_topic *t = p->topic;
	int32_t old_leader = p->version < 0 ? -1 : p->st.leader;
	failover_count(s, w, old_leader);
	s->leader_changes += w->st.leader != old_leader;
	s->isr_changes += !plan_ids_same_members(&w->st.isr, &p->st.isr);
	if (w->st.leader < 0 && old_leader >= 0)
		p->leaderless_since_us = env_now_us(s->env);
	plan_state_copy(&p->st, &w->st);
	p->version = version;
	p->node_exists = true;
	p->rewrite = false;
	for (int32_t i = 0; i < p->st.isr.n; i++) /* a member has its log, unless it could only be kept as the last one */
		if (!plan_ids_has(&p->st.lossy, p->st.isr.v[i]) && w->why == PLAN_PROPOSAL)
			plan_ids_remove(&p->fresh, p->st.isr.v[i]);
	if (w->elr_clear) {
		p->elr_clear = false;
		p->min_isr = plan_effective_min_isr(s->im, p);
	}
	LOG_AT(s->env->log, w->why == PLAN_CREATE ? LOG_DEBUG : LOG_INFO, "state", plan_why_str(w->why), "topic=%s partition=%d leader=%d leader_epoch=%d isr_size=%d version=%d",
	       LOGQ(t->name), p->idx, p->st.leader, p->st.leader_epoch, p->st.isr.n, p->version);
	state_publish_partition(s, p);
}

bool state_topic_writing(const struct plan_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++)
		if (t->partitions[i].in_flight)
			return true;
	return false;
}

static void end_flight(struct state *s, struct plan_partition *p, bool again)
{
	p->in_flight = false;
	p->topic->in_flight--;
	if (p->topic->deleting) {
		marks_clear(s, p);
		state_deletion_step(s, p->topic);
		return;
	}
	if (p->topic->vanished && !state_topic_writing(p->topic)) /* another topic of its name could not be taken until now */
		load_topics(s);
	if (again || p->again || p->proposal || p->prefer)
		state_touch(s, p);
}

static bool same_state(const struct zkd_state *z, const struct plan_state *st)
{
	struct plan_ids isr = {(int32_t *)(uintptr_t)z->isr.ids, (int32_t)z->isr.count}, elr = {(int32_t *)(uintptr_t)z->elr.ids, (int32_t)z->elr.count};
	return z->leader == st->leader && z->leader_epoch == st->leader_epoch && z->controller_epoch == st->controller_epoch && plan_ids_eq(&isr, &st->isr) &&
	       plan_ids_eq(&elr, &st->elr);
}

/* The node is not what we took it for: lost reply, hand edit, or created by somebody else. Behind a barrier where the reply was lost. */
static void on_reread(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct state_write *w = arg;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active) {
		write_free(w);
		return;
	}
	struct plan_partition *p = &w->topic->partitions[w->idx];
	if (w->why == PLAN_CREATE)
		p->topic->creating--;
	struct arena a;
	arena_init(&a, 0);
	struct zkd_state z;
	bool later = false;
	if (err == 0 && zkd_state_decode(data, &a, &z) == 0) {
		p->node_exists = true;
		if (same_state(&z, &w->st)) { /* it was done, only the reply was lost */
			state_acknowledged(s, p, w, st->version);
			state_marks_done(s, p, &w->ending, &w->lossy);
		} else {
			/* somebody wrote it: our view is kept, above every epoch that may have been seen */
			p->version = st->version;
			if (z.leader_epoch > p->st.leader_epoch)
				p->st.leader_epoch = z.leader_epoch;
			if (p->st.isr.n == 0)
				plan_ids_set(&p->st.isr, z.isr.ids, (int32_t)z.isr.count);
			p->rewrite = true;
		}
	} else if (err == 0) {
		p->version = st->version;
		p->node_exists = p->rewrite = true;
	} else if (err == ERR_NOENT) {
		if (p->version >= 0)
			p->epoch_floor = p->st.leader_epoch + 1;
		p->version = -1;
		p->node_exists = p->topic->partitions_node = false; /* made again; EXIST corrects us */
		later = true;
	} else {
		later = true;
	}
	arena_fini(&a);
	write_free(w);
	end_flight(s, p, !later);
	if (later)
		state_touch_later(s, p);
}

static void on_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	struct state_write *w = arg;
	if (err == ERR_STALE || !s->active) {
		write_free(w);
		return;
	}
	struct plan_partition *p = &w->topic->partitions[w->idx];
	if (err == 0) {
		if (w->why == PLAN_CREATE)
			p->topic->creating--;
		state_acknowledged(s, p, w, w->version < 0 ? 0 : results[w->state_op].stat.version);
		state_marks_done(s, p, &w->ending, &w->lossy);
		write_free(w);
		end_flight(s, p, false);
		return;
	}
	bool parent = err == ERR_EXIST && (int)failed == w->parent_op, node = err == ERR_EXIST && (int)failed == w->node_op;
	if (parent || node) { /* somebody made the empty parents already */
		p->topic->partitions_node = true;
		p->node_exists |= node;
		if (w->why == PLAN_CREATE)
			p->topic->creating--;
		write_free(w);
		end_flight(s, p, true);
		return;
	}
	struct arena a;
	arena_init(&a, 0);
	calls_get(&s->calls, zkp_state(&a, w->topic->name, w->idx), on_reread, w);
	arena_fini(&a);
}

static struct zkd_ids zk_ids(const struct plan_ids *s) { return (struct zkd_ids){s->v, (size_t)s->n}; }

static void write_state(struct state *s, struct plan_partition *p, struct plan_state *st, enum plan_why why)
{
	struct plan_topic *t = p->topic;
	struct state_write *w = MEM_NEW(struct state_write);
	*w = (struct state_write){.s = s, .topic = t, .idx = p->idx, .version = p->version, .why = why, .st = *st, .elr_clear = p->elr_clear, .parent_op = -1, .node_op = -1};
	plan_ids_copy(&w->ending, &p->ending);
	plan_ids_copy(&w->lossy, &p->lossy_new);
	struct str json = {0};
	struct zkd_state z = {.leader = st->leader, .leader_epoch = st->leader_epoch, .controller_epoch = st->controller_epoch,
			      .leader_recovery_state = st->recovery_state, .isr = zk_ids(&st->isr), .has_klamm = true, .elr = zk_ids(&st->elr), .lossy = zk_ids(&st->lossy)};
	zkd_state_encode(&json, &z);
	struct arena a;
	arena_init(&a, 0);
	struct write *out = write_new(p->version < 0 || why == PLAN_PREFERRED ? WRITE_BULK : WRITE_FAST, on_written, s, w); /* C4 */
	if (p->version < 0) {
		if (p->epoch_floor == 0) /* a partition that never was: all of its logs are made now (E1) */
			plan_ids_copy(&p->fresh, &p->replicas);
		if (!t->partitions_node) {
			w->parent_op = (int8_t)write_ops(out);
			write_create(out, zkp_partitions(&a, t->name), (struct slice){NULL, 0});
			t->partitions_node = true; /* the later ones follow in order */
		}
		if (!p->node_exists) {
			w->node_op = (int8_t)write_ops(out);
			write_create(out, zkp_partition(&a, t->name, p->idx), (struct slice){NULL, 0});
		}
		w->state_op = write_ops(out);
		write_create(out, zkp_state(&a, t->name, p->idx), slice_make(json.ptr, json.len));
		t->creating++;
	} else {
		write_set(out, zkp_state(&a, t->name, p->idx), slice_make(json.ptr, json.len), p->version);
	}
	arena_fini(&a);
	str_fini(&json);
	p->in_flight = true;
	p->again = false;
	t->in_flight++;
	if (why != PLAN_CREATE)
		w->why = why;
	if (w->version < 0)
		w->why = PLAN_CREATE;
	writer_submit(&s->wr, out);
}

/* ---- looking ---- */

/* Marks of elections on request are taken up once. */
static void election_marks_clear(struct plan_partition *p) { p->prefer = p->unclean_once = false; }

static void proposal_drop(struct plan_partition *p)
{
	mem_free(p->proposal);
	p->proposal = NULL;
}

static void look_at_proposal(struct state *s, struct plan_partition *p)
{
	struct state_proposal *q = p->proposal;
	struct plan_proposal in = {q->broker, q->leader_epoch, q->partition_epoch, q->recovery_state, q->isr, q->isr_count};
	struct plan_state st;
	int16_t code = plan_isr_propose(s->im, p, &in, &st);
	if (code == KERR_NONE)
		write_state(s, p, &st, PLAN_PROPOSAL);
	else if (q->leader_epoch == p->st.leader_epoch && q->partition_epoch == p->version)
		s->host.reject(s->host.ctx, q->broker, q->number, p->topic, p->idx, code, q->leader_epoch, q->partition_epoch);
	/* else: it is behind, and the state that put it behind reaches it as a delta (C6) */
	proposal_drop(p);
}

/* E2: a lower min counts only once elr is empty in ZooKeeper; a higher one at once. */
static void look_at_min(struct state *s, struct plan_partition *p)
{
	int32_t min = plan_effective_min_isr(s->im, p);
	if (min == p->min_isr)
		return;
	if (p->min_isr && min < p->min_isr && p->st.elr.n) {
		p->elr_clear = true;
		return;
	}
	p->min_isr = min;
	if (p->published)
		state_publish_partition(s, p);
}

static void look(struct state *s, struct plan_partition *p)
{
	struct plan_topic *t = p->topic;
	if (t->deleting || t->vanished || t->loading) {
		marks_clear(s, p);
		election_marks_clear(p);
		proposal_drop(p);
		return;
	}
	look_at_min(s, p);
	struct plan_next next;
	plan_partition_next(s->im, p, &next);
	p->unclean_once = false;
	if (next.wants_inventory >= 0)
		s->host.want_hello(s->host.ctx, next.wants_inventory);
	if (next.why == PLAN_NOTHING && p->rewrite && p->version >= 0 && p->st.isr.n) {
		plan_state_copy(&next.st, &p->st);
		next.st.leader_epoch++;
		next.st.controller_epoch = s->im->controller_epoch;
		next.why = PLAN_ISR;
	}
	if (next.why == PLAN_NOTHING && p->prefer) {
		if (plan_election_check(s->im, p, PLAN_ELECTION_PREFERRED) == KERR_NONE)
			plan_prefer(s->im, p, &next);
		p->prefer = false;
	}
	if (next.why != PLAN_NOTHING) {
		write_state(s, p, &next.st, next.why);
		return;
	}
	plan_state_fini(&next.st);
	marks_clear(s, p);
	if (next.wants_inventory >= 0)
		state_touch_later(s, p);
	if (p->proposal)
		look_at_proposal(s, p);
	/* the wish for an inventory may have come too soon after a hello: it is said again until it is met */
	if (next.wants_inventory >= 0 && !p->in_flight)
		state_touch_later(s, p);
}

static void do_work(void *ctx)
{
	struct state *s = ctx;
	if (!s->active || !s->loaded)
		return;
	for (int i = 0; i < LOOKS_PER_TURN; i++) {
		struct list *n = list_pop_front(&s->work);
		if (!n)
			break;
		struct plan_partition *p = LIST_ENTRY(n, struct plan_partition, work);
		if (!p->in_flight)
			look(s, p);
	}
	if (!list_empty(&s->work) && !timer_armed(&s->work_timer))
		timer_set_us(&s->work_timer, 0);
	s->host.changed(s->host.ctx);
}

static void work_later(void *ctx) { do_work(ctx); }

int state_propose(struct state *s, const struct uuid *topic_id, int32_t partition, struct state_proposal *q)
{
	struct plan_topic *t = plan_topic_find_id(s->im, topic_id);
	struct plan_partition *p = t && !t->deleting && !t->vanished ? plan_partition_find(t, partition) : NULL;
	if (!p) {
		mem_free(q);
		return ERR_NOENT;
	}
	proposal_drop(p);
	p->proposal = q;
	state_touch(s, p);
	return 0;
}

void state_min_isr_changed(struct state *s)
{
	int32_t v = plan_default_min_isr(s->im);
	if (v == s->im->default_min_isr)
		return;
	s->im->default_min_isr = v;
	state_touch_all(s);
}

/* ---- reign ---- */

static void host_barrier(void *ctx, void (*fn)(void *arg, int err), void *arg)
{
	struct state *s = ctx;
	elect_barrier(s->el, fn, arg);
}

static void host_deposed(void *ctx)
{
	struct state *s = ctx;
	elect_deposed(s->el);
}

void state_init(struct state *s, struct loop *l, struct elect *el, const struct state_host *host, bool delete_enabled)
{
	*s = (struct state){.env = l->env, .loop = l, .el = el, .host = *host, .delete_enabled = delete_enabled};
	calls_init(&s->calls, s);
	writer_init(&s->wr, l, &(struct writer_host){.ctx = s, .deposed = host_deposed, .barrier = host_barrier});
	list_init(&s->work);
	list_init(&s->later);
	list_init(&s->changed_partitions);
	list_init(&s->changed_topics);
	list_init(&s->changed_brokers);
	list_init(&s->pids);
	deferred_init(&s->work_soon, do_work, s);
	timer_init(&s->work_timer, l, work_later, s);
	timer_init(&s->later_timer, l, on_later, s);
	growth_init(s);
	topics_init(s);
	prefer_init(s);
}

void state_begin(struct state *s, struct zk *zk, int32_t epoch, int32_t epoch_version, bool lineage_ok)
{
	ASSERT(!s->active);
	s->im = plan_image_new();
	s->im->controller_epoch = epoch;
	s->active = true;
	s->loaded = false;
	s->lineage_ok = lineage_ok;
	s->config_seq = -1;
	s->topics_reading = s->topics_again = s->admin_after = s->pids_busy = false;
	s->cluster_changed = s->configs_changed = false;
	s->calls.zk = zk;
	writer_start(&s->wr, zk, epoch_version);
	load_begin(s);
}

void state_end(struct state *s)
{
	if (!s->active)
		return;
	s->active = s->loaded = false;
	deferred_cancel(s->loop, &s->work_soon);
	timer_stop(&s->work_timer);
	timer_stop(&s->later_timer);
	writer_stop(&s->wr);
	calls_cancel(&s->calls);
	configs_end(s);
	pids_end(s);
	growth_end(s);
	topics_end(s);
	prefer_end(s);
	while (s->deleted)
		state_deleted_remove(s, s->deleted);
	for (size_t i = 0; i < s->removed_count; i++)
		mem_free(s->removed[i].name);
	s->removed_count = s->removed_broker_count = 0;
	plan_configs_fini(&s->reading);
	for (struct plan_broker *b = s->im->brokers; b; b = b->hh.next)
		list_remove(&b->change);
	plan_image_free(s->im);
	s->im = NULL;
}

void state_fini(struct state *s)
{
	if (!s->loop)
		return;
	state_end(s);
	writer_fini(&s->wr);
	calls_fini(&s->calls);
	mem_free(s->removed);
	mem_free(s->removed_brokers);
	mem_free(s->notes);
}
