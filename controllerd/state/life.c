/* life.c: brokers: registration, admission of a new life, death (protocol.md A2, D). See state.h.
 *
 * A broker's way in: registered (ephemeral seen, same czxid as in its hello) -> its former life ended in every partition that it led or
 * may have forgotten (D2) -> its boot epoch written to /klamm/brokers/<id> -> admitted: gets the snapshot -> applied it: available.
 * The same boot epoch again is a renewal: nothing moves (D4).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/zk/zkdata.h"
#include "controllerd/state/state.h"

struct hello_check {
	struct state *s;
	struct state_hello h;
};

static void settle_hello(struct state *s, const struct state_hello *h);

/* ---- registration ---- */

static void take_endpoints(struct plan_broker *b, const struct zkd_broker *z)
{
	plan_broker_clear_endpoints(b);
	b->endpoints = mem_zalloc(sizeof(*b->endpoints) * (z->endpoint_count + 1));
	b->endpoint_count = (int32_t)z->endpoint_count;
	for (size_t i = 0; i < z->endpoint_count; i++)
		b->endpoints[i] = (struct plan_endpoint){mem_strdup(z->endpoints[i].listener), mem_strdup(z->endpoints[i].host), mem_strdup(z->endpoints[i].protocol),
							 (uint16_t)z->endpoints[i].port};
	mem_free(b->rack);
	b->rack = z->rack && *z->rack ? mem_strdup(z->rack) : NULL;
}

void life_registration(struct state *s, int32_t id, bool there, int64_t czxid, struct slice data)
{
	struct plan_broker *b = there ? plan_broker_get(s->im, id) : plan_broker_find(s->im, id);
	if (!b)
		return;
	bool was = b->registered, news = there != was || czxid != b->broker_epoch;
	b->registered = there;
	if (there) {
		struct arena a;
		struct zkd_broker z;
		arena_init(&a, 0);
		b->broker_epoch = czxid;
		if (zkd_broker_decode(data, &a, &z) == 0) {
			bool moved = b->endpoint_count != (int32_t)z.endpoint_count;
			for (int32_t i = 0; !moved && i < b->endpoint_count; i++)
				moved = strcmp(b->endpoints[i].host, z.endpoints[i].host) || b->endpoints[i].port != z.endpoints[i].port;
			take_endpoints(b, &z);
			news |= moved;
		}
		arena_fini(&a);
	}
	if (news)
		LOG_AT(s->env->log, LOG_INFO, "broker", there ? "registered" : "unregistered", "broker=%d epoch=%" PRId64, id, czxid);
	if (there && news && b->published)
		state_publish_broker(s, b);
	if (!there && was && s->loaded && !b->alive)
		state_touch_broker(s, id); /* what nobody could take over from it has no leader from now on (A4) */
	if (s->loaded && (there != was || news))
		s->host.registered(s->host.ctx, id, there);
}

/* ---- admission ---- */

static void admit(struct state *s, struct plan_broker *b)
{
	b->alive = b->admitted = true;
	state_publish_broker(s, b);
	state_min_isr_changed(s);
	LOG_AT(s->env->log, LOG_INFO, "broker", "admitted", "broker=%d boot_epoch=%" PRId64 " broker_epoch=%" PRId64, b->id, b->boot_epoch, b->broker_epoch);
	s->host.admitted(s->host.ctx, b->id);
}

static void life_write(struct state *s, struct plan_broker *b);

static void on_life_reread(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	int32_t id = (int32_t)(intptr_t)arg;
	if (err == ERR_CANCELLED || err == ERR_EXPIRED || !s->active)
		return;
	struct plan_broker *b = plan_broker_find(s->im, id);
	struct zkd_klamm_broker k;
	b->life_writing = false;
	b->boot_version = err == 0 ? st->version : -1;
	b->boot_epoch = err == 0 && zkd_klamm_broker_decode(data, &k) == 0 ? k.boot_epoch : 0;
	if (b->boot_epoch == b->life_boot && b->life_pending == 0)
		admit(s, b);
	else if (b->life_pending == 0)
		life_write(s, b);
}

static void on_life_written(void *ctx, void *arg, int err, size_t failed, const struct zk_op_result *results)
{
	struct state *s = ctx;
	int32_t id = (int32_t)(intptr_t)arg;
	if (err == ERR_STALE || !s->active)
		return;
	struct plan_broker *b = plan_broker_find(s->im, id);
	if (err) {
		struct arena a;
		arena_init(&a, 0);
		calls_get(&s->calls, zkp_klamm_broker(&a, id), on_life_reread, arg);
		arena_fini(&a);
		return;
	}
	b->life_writing = false;
	b->boot_version = b->boot_version < 0 ? 0 : results[0].stat.version;
	b->boot_epoch = b->life_boot;
	if (b->life_pending == 0)
		admit(s, b);
}

static void life_write(struct state *s, struct plan_broker *b)
{
	if (b->life_writing)
		return;
	struct str json = {0};
	struct arena a;
	arena_init(&a, 0);
	zkd_klamm_broker_encode(&json, &(struct zkd_klamm_broker){.boot_epoch = b->life_boot});
	struct write *w = write_new(WRITE_FAST, on_life_written, s, (void *)(intptr_t)b->id);
	if (b->boot_version < 0)
		write_create(w, zkp_klamm_broker(&a, b->id), slice_make(json.ptr, json.len));
	else
		write_set(w, zkp_klamm_broker(&a, b->id), slice_make(json.ptr, json.len), b->boot_version);
	b->life_writing = true;
	writer_submit(&s->wr, w);
	str_fini(&json);
	arena_fini(&a);
}

/* The marks of one partition for the former life of `broker` are dealt with. */
void life_settled(struct state *s, int32_t broker)
{
	struct plan_broker *b = plan_broker_find(s->im, broker);
	if (b && b->life_pending > 0 && --b->life_pending == 0 && b->life_boot && b->life_boot != b->boot_epoch)
		life_write(s, b);
}

static void mark_partition(struct state *s, struct plan_broker *b, struct plan_partition *p)
{
	const struct plan_inventory *row = plan_broker_inventory(b, &p->topic->id, p->idx);
	bool marked = plan_ids_has(&p->ending, b->id) || plan_ids_has(&p->lossy_new, b->id);
	if (plan_ids_remove(&p->offline, b->id) && p->published) /* it says so again where that is still true */
		state_publish_partition(s, p);
	if (row)
		plan_ids_remove(&p->fresh, b->id);
	else if (!b->dir_offline) /* else it may lie where the broker cannot look, and is not made a second time */
		plan_ids_add(&p->fresh, b->id); /* accounted for by the mark below: it may begin anew (E1) */
	if (p->version < 0 && !p->in_flight)
		return;
	bool forgot = row ? row->lossy : true;
	bool leads = p->in_flight || p->st.leader == b->id;
	bool counts = p->in_flight || plan_ids_has(&p->st.isr, b->id) || plan_ids_has(&p->st.elr, b->id);
	if (leads)
		plan_ids_add(&p->ending, b->id);
	if (forgot && counts)
		plan_ids_add(&p->lossy_new, b->id);
	if (!marked && (leads || (forgot && counts)))
		b->life_pending++;
	if (leads || (forgot && counts))
		state_touch(s, p);
}

/* What of removed topics it does not hold (any more) needs no confirmation (K1), unless it may lie where the broker cannot look. */
static void settle_deletions(struct state *s, struct plan_broker *b)
{
	struct state_deleted *d, *next;
	if (b->dir_offline)
		return;
	HASH_ITER(hh, s->deleted, d, next)
		if (!plan_broker_holds(b, &d->id))
			state_deletion_done(s, b->id, &d->id, true);
}

static void end_former_life(struct state *s, struct plan_broker *b, int64_t boot_epoch)
{
	LOG_AT(s->env->log, LOG_INFO, "broker", "new_life", "broker=%d former=%" PRId64 " new=%" PRId64, b->id, b->boot_epoch, boot_epoch);
	b->life_boot = boot_epoch;
	b->life_new = true;
	b->alive = true;      /* the process is there: only what it forgot leaves ISRs */
	b->available = b->admitted = b->shutting_down = b->stalled = false;
	if (b->published)
		state_publish_broker(s, b);
	settle_deletions(s, b);
	b->life_pending++; /* held until all partitions were looked at here */
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next) {
		if (t->deleting || t->vanished)
			continue;
		for (int32_t i = 0; i < t->partition_count; i++)
			if (plan_ids_has(&t->partitions[i].replicas, b->id))
				mark_partition(s, b, &t->partitions[i]);
	}
	life_settled(s, b->id);
}

static void note_missing(struct state *s, struct plan_broker *b)
{
	if (b->dir_offline)
		return;
	for (struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++) {
			struct plan_partition *p = &t->partitions[i];
			if (plan_ids_has(&p->replicas, b->id) && !plan_broker_inventory(b, &t->id, i))
				plan_ids_add(&p->fresh, b->id);
		}
}

static void settle_hello(struct state *s, const struct state_hello *h)
{
	struct plan_broker *b = plan_broker_get(s->im, h->broker);
	if (h->boot_epoch == b->boot_epoch) { /* renewal (D4) */
		b->life_boot = h->boot_epoch;
		b->life_new = false;
		note_missing(s, b);
		admit(s, b);
		return;
	}
	if (h->boot_epoch < b->boot_epoch) {
		s->host.refused(s->host.ctx, h->broker, "a newer process with this broker id was admitted: this one is of the past");
		return;
	}
	if (b->life_boot == h->boot_epoch && (b->life_pending || b->life_writing))
		return; /* under way */
	end_former_life(s, b, h->boot_epoch);
}

static void on_registration(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct state *s = ctx;
	struct hello_check *hc = arg;
	if (err != ERR_CANCELLED && err != ERR_EXPIRED && s->active) {
		life_registration(s, hc->h.broker, err == 0, err == 0 ? st->czxid : 0, data);
		const struct plan_broker *b = plan_broker_find(s->im, hc->h.broker);
		if (b && b->registered && b->broker_epoch == hc->h.broker_epoch)
			settle_hello(s, &hc->h);
		else
			s->host.registration_missing(s->host.ctx, hc->h.broker);
	}
	mem_free(hc);
}

static void after_barrier(void *arg, int err)
{
	struct hello_check *hc = arg;
	if (err || !hc->s->active) {
		mem_free(hc);
		return;
	}
	struct arena a;
	arena_init(&a, 0);
	calls_get(&hc->s->calls, zkp_broker(&a, hc->h.broker), on_registration, hc);
	arena_fini(&a);
}

void state_hello(struct state *s, const struct state_hello *h)
{
	ASSERT(s->loaded);
	state_ids_look(s); /* before its replicas are looked up by topic id */
	struct plan_broker *b = plan_broker_find(s->im, h->broker);
	if (b && b->registered && b->broker_epoch == h->broker_epoch) {
		settle_hello(s, h);
		return;
	}
	/* our server may lag: read what a quorum write has made certain (C2) */
	struct hello_check *hc = MEM_NEW(struct hello_check);
	*hc = (struct hello_check){s, *h};
	elect_barrier(s->el, after_barrier, hc);
}

void state_applied(struct state *s, int32_t broker)
{
	struct plan_broker *b = plan_broker_find(s->im, broker);
	if (!b || !b->admitted || b->available || !b->alive)
		return;
	b->available = true;
	b->available_us = env_now_us(s->env);
	state_publish_broker(s, b);
	s->cluster_changed = true;
	LOG_AT(s->env->log, LOG_INFO, "broker", "available", "broker=%d", broker);
	state_touch_broker(s, broker);
	elect_show_broker(s->el, plan_lowest_live_broker(s->im));
}

/* ---- leaving ---- */

static int32_t count_led(const struct state *s, int32_t broker)
{
	int32_t n = 0;
	for (const struct plan_topic *t = s->im->by_name; t; t = t->by_name.next)
		for (int32_t i = 0; i < t->partition_count; i++)
			n += t->partitions[i].version >= 0 && t->partitions[i].st.leader == broker;
	return n;
}

void state_dead(struct state *s, int32_t broker, const char *reason)
{
	struct plan_broker *b = plan_broker_find(s->im, broker);
	if (!b || !b->alive)
		return;
	LOG_AT(s->env->log, LOG_WARN, "broker", "dead", "broker=%d registered=%d reason=%s", broker, b->registered, LOGQ(reason));
	b->alive = b->available = b->admitted = b->stalled = false;
	struct state_failover *f = &s->failover;
	*f = (struct state_failover){.any = true, .broker = broker, .began_us = env_now_us(s->env), .pending = count_led(s, broker)};
	snprintf(f->reason, sizeof(f->reason), "%s", reason);
	state_publish_broker(s, b);
	s->cluster_changed = true;
	state_min_isr_changed(s);
	state_touch_broker(s, broker);
	elect_show_broker(s->el, plan_lowest_live_broker(s->im));
}

void state_shutting_down(struct state *s, int32_t broker, bool on)
{
	struct plan_broker *b = plan_broker_find(s->im, broker);
	if (!b || b->shutting_down == on)
		return;
	b->shutting_down = on;
	LOG_AT(s->env->log, LOG_INFO, "broker", on ? "shutting_down" : "staying", "broker=%d", broker);
	state_publish_broker(s, b);
	state_touch_broker(s, broker);
}

void state_stalled(struct state *s, int32_t broker, bool on)
{
	struct plan_broker *b = plan_broker_find(s->im, broker);
	if (!b || b->stalled == on)
		return;
	b->stalled = on;
	LOG_AT(s->env->log, LOG_WARN, "broker", on ? "stalled" : "moving_again", "broker=%d", broker);
	if (on)
		state_touch_broker(s, broker);
}

void state_replica_offline(struct state *s, int32_t broker, const struct uuid *topic_id, int32_t partition)
{
	struct plan_topic *t = plan_topic_find_id(s->im, topic_id);
	struct plan_partition *p = t ? plan_partition_find(t, partition) : NULL;
	if (!p || !plan_ids_has(&p->replicas, broker) || !plan_ids_add(&p->offline, broker))
		return;
	LOG_AT(s->env->log, LOG_WARN, "broker", "replica.offline", "broker=%d topic=%s partition=%d", broker, LOGQ(t->name), partition);
	plan_ids_remove(&p->fresh, broker); /* there is a log */
	if (p->published)
		state_publish_partition(s, p);
	state_touch(s, p);
}
