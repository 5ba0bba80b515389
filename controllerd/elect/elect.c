/* elect.c: session, election, reign. See elect.h. */
#include "controllerd/elect/elect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/zk/zkdata.h"

enum { BARRIER_EACH_MS = 1000, RETRY_MS = 50, OP_TIMEOUT_MS = 30000, USURP_BACKOFF_S = 10, USURP_BACKOFF_MAX_S = 160 };

struct waiter {
	struct list link;
	struct elect *e;
	void (*fn)(void *arg, int err);
	void *arg;
	int64_t began_us;
	bool told; /* its reign ended; only the late reply still refers to it */
};

const char *elect_phase_str(enum elect_phase p)
{
	static const char *const names[] = {"waiting", "preparing", "looking", "standing", "active", "standby", "foreign", "refused", "stopping"};
	return names[p];
}

static void set_phase(struct elect *e, enum elect_phase p, const char *reason)
{
	if (e->phase == p && e->reason && strcmp(e->reason, reason) == 0)
		return;
	bool news = e->phase != p;
	e->phase = p;
	snprintf(e->reason_text, sizeof(e->reason_text), "%s", reason);
	e->reason = e->reason_text;
	if (news)
		e->phase_since_us = env_now_us(e->env);
	LOG_AT(e->env->log, LOG_INFO, "elect", elect_phase_str(p), "reason=%s", LOGQ(reason));
	e->host.phase_changed(e->host.ctx, p, e->reason);
}

static void look(struct elect *e);
static void prepare(struct elect *e);
static void stand(struct elect *e, bool usurps);

static void retry_soon(struct elect *e)
{
	if (!timer_armed(&e->retry_timer))
		timer_set_ms(&e->retry_timer, RETRY_MS + (int64_t)env_random_below(e->env, RETRY_MS));
}

static void on_retry(void *p)
{
	struct elect *e = p;
	if (e->phase == ELECT_STOPPING || !e->session)
		return;
	if (!e->prepared)
		prepare(e);
	else
		look(e);
}

/* ---- the reign ---- */

bool elect_has_rights(const struct elect *e)
{
	return e->phase == ELECT_ACTIVE && env_now_us(e->env) - e->barrier_good_us <= (int64_t)e->timeout_ms * 1000 / 3;
}

static void end_waiters(struct elect *e)
{
	struct list now;
	list_init(&now);
	for (struct list *n; (n = list_pop_front(&e->waiters));)
		list_push_back(&now, n);
	for (struct list *n; (n = list_pop_front(&now));) {
		struct waiter *w = LIST_ENTRY(n, struct waiter, link);
		w->told = true;
		w->fn(w->arg, ERR_STALE);
	}
}

static void end_reign(struct elect *e, const char *why)
{
	if (e->phase != ELECT_ACTIVE)
		return;
	LOG_AT(e->env->log, LOG_WARN, "elect", "reign.end", "epoch=%d reason=%s", e->epoch, LOGQ(why));
	timer_stop(&e->barrier_timer);
	e->barrier_running = e->showing = false;
	set_phase(e, ELECT_LOOKING, why);
	e->host.reign_end(e->host.ctx, why);
	end_waiters(e);
}

void elect_deposed(struct elect *e)
{
	if (e->phase != ELECT_ACTIVE)
		return;
	end_reign(e, "deposed: /controller_epoch was changed by another controller");
	look(e);
}

static void barrier_send(struct elect *e, calls_multi_fn *fn, void *arg)
{
	struct zk_op op = {.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->epoch_version};
	calls_multi(&e->calls, &op, 1, fn, arg);
}

static void barrier_good(struct elect *e, int64_t began_us)
{
	if (began_us > e->barrier_good_us)
		e->barrier_good_us = began_us;
}

static bool outcome_open(int err) { return err == ERR_UNKNOWN || err == ERR_TIMEOUT; }

static void on_waiter(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	struct waiter *w = arg;
	if (w->told || err == ERR_CANCELLED || e->phase != ELECT_ACTIVE) {
		list_remove(&w->link);
		if (!w->told)
			w->fn(w->arg, ERR_STALE);
		mem_free(w);
		return;
	}
	if (outcome_open(err)) {
		w->began_us = env_now_us(e->env);
		barrier_send(e, on_waiter, w);
		return;
	}
	if (err) {
		elect_deposed(e); /* tells this waiter too */
		mem_free(w);
		return;
	}
	barrier_good(e, w->began_us);
	list_remove(&w->link);
	w->fn(w->arg, 0);
	mem_free(w);
}

void elect_barrier(struct elect *e, void (*fn)(void *arg, int err), void *arg)
{
	ASSERT(e->phase == ELECT_ACTIVE);
	struct waiter *w = MEM_NEW(struct waiter);
	*w = (struct waiter){.e = e, .fn = fn, .arg = arg, .began_us = env_now_us(e->env)};
	list_init(&w->link);
	list_push_back(&e->waiters, &w->link);
	barrier_send(e, on_waiter, w);
}

static void on_barrier(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	int64_t *began = arg;
	int64_t began_us = *began;
	mem_free(began);
	if (err == ERR_CANCELLED || e->phase != ELECT_ACTIVE)
		return;
	e->barrier_running = false;
	if (err == 0)
		barrier_good(e, began_us);
	else if (!outcome_open(err) && err != ERR_EXPIRED)
		elect_deposed(e);
}

static void barrier_tick(void *p)
{
	struct elect *e = p;
	if (e->phase != ELECT_ACTIVE)
		return;
	timer_set_ms(&e->barrier_timer, BARRIER_EACH_MS);
	if (e->barrier_running)
		return;
	e->barrier_running = true;
	int64_t *began = mem_alloc(sizeof(*began));
	*began = env_now_us(e->env);
	barrier_send(e, on_barrier, began);
}

static void begin_reign(struct elect *e, int32_t epoch, int32_t epoch_version)
{
	e->epoch = e->known_epoch = epoch;
	e->epoch_version = epoch_version;
	e->shown_broker = e->stand_broker;
	e->barrier_good_us = e->stand_began_us;
	e->barrier_running = false;
	e->node = (struct elect_node){.exists = true, .ours = true, .id = e->cfg.id, .owner = e->session};
	if (e->stand_usurps) {
		e->usurped_us = env_now_us(e->env);
		int64_t next = e->usurp_backoff_us * 2;
		e->usurp_backoff_us = next < (int64_t)USURP_BACKOFF_MAX_S * 1000000 ? next : (int64_t)USURP_BACKOFF_MAX_S * 1000000;
	}
	standby_leave(e);
	set_phase(e, ELECT_ACTIVE, e->stand_usurps ? "took over from a dead controller" : "elected");
	timer_set_ms(&e->barrier_timer, BARRIER_EACH_MS);
	e->host.reign_begin(e->host.ctx, epoch, epoch_version, e->stand_lineage_ok);
}

/* ---- standing ---- */

static void controller_json(struct elect *e, struct str *out, int32_t brokerid)
{
	zkd_controller_encode(out, &(struct zkd_controller){
		.brokerid = brokerid,
		.timestamp_ms = env_wall_ms(e->env),
		.kraft_controller_epoch = -1,
		.has_klamm = true,
		.klamm_id = e->cfg.id,
		.klamm_host = e->cfg.host,
		.klamm_port = e->cfg.port,
		.klamm_version = e->cfg.version,
	});
}

static void stand_lost(struct elect *e, const char *why)
{
	set_phase(e, ELECT_LOOKING, why);
	retry_soon(e);
}

static void on_verify_node(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	/* behind the barrier: what this shows is the outcome of our multi */
	if (err == 0 && st->ephemeral_owner == e->session) {
		e->node.version = st->version;
		begin_reign(e, e->stand_epoch + 1, e->stand_version + 1);
	} else {
		stand_lost(e, "election lost");
	}
}

static void on_verify(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	if (outcome_open(err)) {
		struct zk_op op = {.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->stand_version};
		calls_multi(&e->calls, &op, 1, on_verify, NULL);
	} else if (err == 0) {
		stand_lost(e, "election did not reach ZooKeeper");
	} else {
		calls_get(&e->calls, ZKP_CONTROLLER, on_verify_node, NULL);
	}
}

static void on_stood(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	if (err == 0) {
		size_t set = e->stand_usurps ? 3 : 2;
		begin_reign(e, e->stand_epoch + 1, results[set].stat.version);
	} else if (err == ERR_UNKNOWN) {
		on_verify(ctx, NULL, ERR_UNKNOWN, NULL, 0);
	} else if (err != ERR_EXPIRED) {
		stand_lost(e, "election lost");
	}
}

static void stand_multi(struct elect *e)
{
	struct str json = {0}, epoch = {0}, lineage = {0};
	controller_json(e, &json, e->stand_broker);
	zkd_epoch_encode(&epoch, e->stand_epoch + 1);
	zkd_lineage_encode(&lineage, e->stand_epoch + 1);
	struct zk_op ops[5];
	size_t n = 0;
	ops[n++] = (struct zk_op){.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->stand_version};
	if (e->stand_usurps) /* its version too: an active that rewrites its node is alive */
		ops[n++] = (struct zk_op){.kind = ZK_OP_DELETE, .path = ZKP_CONTROLLER, .version = e->node.version};
	ops[n++] = (struct zk_op){.kind = ZK_OP_CREATE, .path = ZKP_CONTROLLER, .data = slice_make(json.ptr, json.len), .flags = ZK_EPHEMERAL};
	ops[n++] = (struct zk_op){.kind = ZK_OP_SET, .path = ZKP_CONTROLLER_EPOCH, .data = slice_make(epoch.ptr, epoch.len), .version = e->stand_version};
	ops[n++] = (struct zk_op){.kind = e->stand_lineage_exists ? ZK_OP_SET : ZK_OP_CREATE, .path = ZKP_KLAMM_LINEAGE,
				  .data = slice_make(lineage.ptr, lineage.len), .version = -1};
	e->stand_began_us = env_now_us(e->env);
	calls_multi(&e->calls, ops, n, on_stood, NULL);
	str_fini(&json);
	str_fini(&epoch);
	str_fini(&lineage);
}

static void on_stand_lineage(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	int32_t epoch = -1;
	e->stand_lineage_exists = err == 0;
	/* a first controller of all (epoch 0, no lineage) continues nothing and breaks nothing */
	e->stand_lineage_ok = err == 0 ? zkd_lineage_decode(data, &epoch) == 0 && epoch == e->stand_epoch : err == ERR_NOENT && e->stand_epoch == 0;
	stand_multi(e);
}

static void on_stand_brokers(void *ctx, void *arg, int err, const struct zk_names *names)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	int32_t lowest = -1, id;
	for (size_t i = 0; err == 0 && i < names->count; i++)
		if (zkp_id(names->names[i], &id) == 0 && (lowest < 0 || id < lowest))
			lowest = id;
	e->stand_broker = lowest < 0 ? e->cfg.id : lowest;
}

static void on_stand_migration(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING || err == ERR_NOENT)
		return;
	set_phase(e, ELECT_REFUSED, "/migration exists: this cluster is being moved to KRaft; remove the node if it is not");
}

static void on_stand_epoch(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st);

static void on_epoch_made(void *ctx, void *arg, int err, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	calls_get(&e->calls, ZKP_CONTROLLER_EPOCH, on_stand_epoch, NULL);
}

static void on_stand_epoch(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_STANDING)
		return;
	if (err == ERR_NOENT) {
		calls_create(&e->calls, ZKP_CONTROLLER_EPOCH, slice_str("0"), ZK_PERSISTENT, on_epoch_made, NULL);
		return;
	}
	if (err || zkd_epoch_decode(data, &e->stand_epoch) || e->stand_epoch == INT32_MAX) {
		LOG_AT(e->env->log, LOG_ERROR, "elect", "epoch.unreadable", "path=%s err=%s", ZKP_CONTROLLER_EPOCH, err_str(err));
		stand_lost(e, "/controller_epoch holds no number; write the last epoch there");
		return;
	}
	e->stand_version = st->version;
	e->known_epoch = e->stand_epoch > e->known_epoch ? e->stand_epoch : e->known_epoch;
	calls_get(&e->calls, ZKP_KLAMM_LINEAGE, on_stand_lineage, NULL);
}

static void stand(struct elect *e, bool usurps)
{
	e->stand_usurps = usurps;
	set_phase(e, ELECT_STANDING, usurps ? "taking over" : "no controller: standing for election");
	/* answered in this order */
	calls_get(&e->calls, ZKP_MIGRATION, on_stand_migration, NULL);
	calls_children(&e->calls, ZKP_BROKER_IDS, on_stand_brokers, NULL);
	calls_get(&e->calls, ZKP_CONTROLLER_EPOCH, on_stand_epoch, NULL);
}

void elect_usurp(struct elect *e, const char *why)
{
	int64_t now = env_now_us(e->env);
	if (e->phase != ELECT_STANDBY || !e->node.exists || !e->node.ours)
		return;
	if (e->usurped_us && now - e->usurped_us < e->usurp_backoff_us)
		return;
	if (now - e->usurped_us > 10 * (int64_t)USURP_BACKOFF_MAX_S * 1000000)
		e->usurp_backoff_us = (int64_t)USURP_BACKOFF_S * 1000000;
	LOG_AT(e->env->log, LOG_WARN, "elect", "usurp", "of=%d reason=%s", e->node.id, LOGQ(why));
	stand(e, true);
}

/* ---- J1: the broker that is shown as controller ---- */

static void show_send(struct elect *e);
static void on_shown(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	int32_t shown = *(int32_t *)arg;
	mem_free(arg);
	if (err == ERR_CANCELLED || e->phase != ELECT_ACTIVE)
		return;
	e->showing = false;
	if (err && results && results[0].err && results[0].err != ERR_ABORTED)
		elect_deposed(e);
	else if (err)
		look(e); /* gone, or its outcome is unknown: see what is there */
	else if (shown != e->shown_broker)
		show_send(e);
}

static void show_send(struct elect *e)
{
	struct str json = {0};
	controller_json(e, &json, e->shown_broker);
	struct zk_op ops[2] = {
		{.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->epoch_version},
		{.kind = ZK_OP_SET, .path = ZKP_CONTROLLER, .data = slice_make(json.ptr, json.len), .version = -1},
	};
	int32_t *shown = mem_alloc(sizeof(*shown));
	*shown = e->shown_broker;
	e->showing = true;
	calls_multi(&e->calls, ops, 2, on_shown, shown);
	str_fini(&json);
}

void elect_show_broker(struct elect *e, int32_t broker_id)
{
	if (e->phase != ELECT_ACTIVE)
		return;
	int32_t show = broker_id < 0 ? e->cfg.id : broker_id;
	if (show == e->shown_broker)
		return;
	e->shown_broker = show;
	if (!e->showing)
		show_send(e);
}

static void on_restored(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase != ELECT_ACTIVE)
		return;
	if (err && results && results[0].err && results[0].err != ERR_ABORTED)
		elect_deposed(e);
	else if (err)
		retry_soon(e);
}

/* /controller deleted by hand: the active simply stands again (A5); its epoch is untouched, so its reign is. */
static void restore_node(struct elect *e)
{
	struct str json = {0};
	controller_json(e, &json, e->shown_broker);
	struct zk_op ops[2] = {
		{.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->epoch_version},
		{.kind = ZK_OP_CREATE, .path = ZKP_CONTROLLER, .data = slice_make(json.ptr, json.len), .flags = ZK_EPHEMERAL},
	};
	calls_multi(&e->calls, ops, 2, on_restored, NULL);
	str_fini(&json);
}

/* ---- looking ---- */

static void node_take(struct elect *e, const struct zkd_controller *c, const struct zk_stat *st)
{
	e->node = (struct elect_node){.exists = true, .ours = c->has_klamm, .id = c->klamm_id, .version = st->version, .czxid = st->czxid,
				      .owner = st->ephemeral_owner, .port = (uint16_t)c->klamm_port};
	if (c->has_klamm && c->klamm_host)
		snprintf(e->node.host, sizeof(e->node.host), "%s", c->klamm_host);
}

static void looked_while_active(struct elect *e, int err, bool ours)
{
	if (err == ERR_NOENT) {
		restore_node(e);
	} else if (!ours) {
		/* somebody stood against us; the epoch decides */
		barrier_tick(e);
		retry_soon(e);
	}
}

static void on_look(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED || e->phase == ELECT_STOPPING || e->phase == ELECT_STANDING || err == ERR_EXPIRED)
		return;
	if (e->phase == ELECT_ACTIVE) {
		looked_while_active(e, err, err == 0 && st->ephemeral_owner == e->session);
		return;
	}
	struct zkd_controller c;
	arena_reset(&e->scratch);
	if (err == ERR_NOENT) {
		e->node.exists = false;
		standby_leave(e);
		stand(e, false);
	} else if (err) {
		retry_soon(e);
	} else if (zkd_controller_decode(data, &e->scratch, &c)) {
		standby_leave(e);
		set_phase(e, ELECT_FOREIGN, "/controller holds something that is not a controller's registration: hands off");
	} else if (c.kraft_controller_epoch > 0) {
		standby_leave(e);
		set_phase(e, ELECT_REFUSED, "/controller names a KRaft controller: this cluster is being moved to KRaft");
	} else if (!c.has_klamm) {
		node_take(e, &c, st);
		standby_leave(e);
		char text[128];
		snprintf(text, sizeof(text), "a Kafka broker rules: brokerid %d in /controller", c.brokerid);
		set_phase(e, ELECT_FOREIGN, text);
	} else {
		node_take(e, &c, st);
		bool self = c.klamm_id == e->cfg.id;
		set_phase(e, ELECT_STANDBY, self ? "our own former life is still registered" : "another controller is active");
		if (self) /* it died and is back, its old reign with it: it stands again itself (A5) */
			stand(e, true);
		else
			standby_follow(e);
	}
}

static void look(struct elect *e)
{
	calls_get(&e->calls, ZKP_CONTROLLER, on_look, NULL);
}

static void on_controller_changed(void *ctx, const char *path)
{
	struct elect *e = ctx;
	if (e->prepared && e->phase != ELECT_STOPPING)
		look(e);
}

/* ---- preparing ---- */

static void prepared_one(struct elect *e, int err)
{
	if (err && err != ERR_EXIST)
		e->prepare_failed = err;
	if (--e->prepare_left > 0)
		return;
	if (e->prepare_failed || !e->cluster_id[0]) {
		LOG_AT(e->env->log, LOG_WARN, "elect", "prepare.failed", "err=%s", err_str(e->prepare_failed));
		retry_soon(e);
		return;
	}
	e->prepared = true;
	zk_observe(e->zk, ZKP_CONTROLLER, ZK_OBSERVE_NODE, on_controller_changed, e);
	set_phase(e, ELECT_LOOKING, "looking for the active controller");
	look(e);
}

static void on_made(void *ctx, void *arg, int err, const struct zk_stat *st)
{
	if (err != ERR_CANCELLED)
		prepared_one(ctx, err);
}

static void on_cluster_id(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED)
		return;
	const char *id = NULL;
	arena_reset(&e->scratch);
	if (!err)
		err = zkd_cluster_id_decode(data, &e->scratch, &id);
	if (!err && strlen(id) < sizeof(e->cluster_id))
		snprintf(e->cluster_id, sizeof(e->cluster_id), "%s", id);
	prepared_one(e, err);
}

static void make_cluster_id(struct elect *e)
{
	struct uuid id;
	uint8_t bytes[16];
	char text[UUID_TEXT_LEN + 1];
	do
		env_random(e->env, bytes, sizeof(bytes));
	while (uuid_from_random(bytes, &id));
	uuid_format(&id, text);
	struct str json = {0};
	zkd_cluster_id_encode(&json, text);
	calls_create(&e->calls, ZKP_CLUSTER_ID, slice_make(json.ptr, json.len), ZK_PERSISTENT, on_made, NULL);
	str_fini(&json);
}

static void on_own_node(void *ctx, void *arg, int err, const struct zk_stat *st);
static void register_self(struct elect *e)
{
	struct str json = {0};
	zkd_klamm_controller_encode(&json, &(struct zkd_klamm_controller){.id = e->cfg.id, .host = e->cfg.host, .port = e->cfg.port,
									 .incarnation = e->cfg.incarnation});
	arena_reset(&e->scratch);
	calls_create(&e->calls, zkp_klamm_controller(&e->scratch, e->cfg.id), slice_make(json.ptr, json.len), ZK_EPHEMERAL, on_own_node, NULL);
	str_fini(&json);
}

static void on_own_deleted(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED)
		return;
	if (err == 0 || err == ERR_NOENT)
		register_self(e);
	else
		prepared_one(e, err);
}

/* A node of our id from another session: an earlier life of this process (we hold its listener now), or a second process elsewhere. */
static void on_own_read(void *ctx, void *arg, int err, struct slice data, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED)
		return;
	struct zkd_klamm_controller c;
	arena_reset(&e->scratch);
	if (err || zkd_klamm_controller_decode(data, &e->scratch, &c)) {
		if (err == ERR_NOENT)
			register_self(e);
		else
			prepared_one(e, err ? err : ERR_CORRUPT);
		return;
	}
	if (st->ephemeral_owner == e->session) {
		prepared_one(e, 0);
		return;
	}
	if (c.host && strcmp(c.host, e->cfg.host) == 0 && c.port == e->cfg.port) {
		struct zk_op op = {.kind = ZK_OP_DELETE, .path = zkp_klamm_controller(&e->scratch, e->cfg.id), .version = st->version};
		calls_multi(&e->calls, &op, 1, on_own_deleted, NULL);
		return;
	}
	char text[200];
	snprintf(text, sizeof(text), "another controllerd with controller.id=%d is registered at %.64s:%d: give this one an id of its own", e->cfg.id,
		 c.host ? c.host : "?", c.port);
	env_exit(e->env, 75, text);
}

static void on_own_node(void *ctx, void *arg, int err, const struct zk_stat *st)
{
	struct elect *e = ctx;
	if (err == ERR_CANCELLED)
		return;
	if (err == ERR_EXIST) {
		arena_reset(&e->scratch);
		calls_get(&e->calls, zkp_klamm_controller(&e->scratch, e->cfg.id), on_own_read, NULL);
	} else {
		prepared_one(e, err);
	}
}

/* Pipelined; ZooKeeper answers in order, so parents are there before children, and the cluster id is read after it was offered. */
static void prepare(struct elect *e)
{
	set_phase(e, ELECT_PREPARING, "creating the base paths");
	e->prepare_failed = 0;
	/* one for this function, one for the chroot itself (J4) */
	e->prepare_left = 2;
	calls_create(&e->calls, "/", (struct slice){NULL, 0}, ZK_PERSISTENT, on_made, NULL);
	for (const char *const *p = zkp_base_paths; *p; p++) {
		e->prepare_left++;
		calls_create(&e->calls, *p, (struct slice){NULL, 0}, ZK_PERSISTENT, on_made, NULL);
	}
	e->prepare_left += 4;
	make_cluster_id(e);
	calls_get(&e->calls, ZKP_CLUSTER_ID, on_cluster_id, NULL);
	struct str json = {0};
	zkd_feature_encode(&json, &(struct zkd_feature){.version = 2, .status = 1});
	calls_create(&e->calls, ZKP_FEATURE, slice_make(json.ptr, json.len), ZK_PERSISTENT, on_made, NULL);
	str_fini(&json);
	register_self(e);
	prepared_one(e, 0);
}

/* ---- session ---- */

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct elect *e = ctx;
	if (e->phase == ELECT_STOPPING)
		return;
	switch (ev->event) {
	case ZK_CONNECTED:
		e->connected = true;
		e->timeout_ms = ev->timeout_ms;
		if (ev->session.id != e->session || !ev->resumed) {
			e->session = ev->session.id;
			e->prepared = false;
			LOG_AT(e->env->log, LOG_INFO, "zk", "session", "id=%" PRIx64 " timeout_ms=%d", (uint64_t)e->session, e->timeout_ms);
			prepare(e);
		} else if (e->prepared && e->phase == ELECT_ACTIVE && !e->barrier_running) {
			barrier_tick(e); /* rights come back as soon as they can */
		}
		break;
	case ZK_SUSPENDED:
		e->connected = false;
		LOG_AT(e->env->log, LOG_WARN, "zk", "suspended", "session=%" PRIx64, (uint64_t)e->session);
		break;
	case ZK_RIGHTS_LOST: /* rights lapse by the barrier's age alone (C5) */
		LOG_AT(e->env->log, LOG_WARN, "zk", "rights_lost", "session=%" PRIx64, (uint64_t)e->session);
		break;
	case ZK_EXPIRED:
		e->connected = e->prepared = false;
		e->session = 0;
		end_reign(e, "ZooKeeper session expired");
		standby_leave(e);
		calls_cancel(&e->calls);
		timer_stop(&e->retry_timer);
		set_phase(e, ELECT_WAITING, "ZooKeeper session expired");
		zk_reopen(zk);
		break;
	}
}

void elect_init(struct elect *e, struct loop *l, const struct elect_config *cfg, const struct elect_host *host)
{
	*e = (struct elect){.env = l->env, .loop = l, .cfg = *cfg, .host = *host, .timeout_ms = cfg->session_timeout_ms, .shown_broker = -1};
	calls_init(&e->calls, e);
	arena_init(&e->scratch, 0);
	list_init(&e->waiters);
	e->usurp_backoff_us = (int64_t)USURP_BACKOFF_S * 1000000 / 2; /* doubled by the first one */
	timer_init(&e->barrier_timer, l, barrier_tick, e);
	timer_init(&e->retry_timer, l, on_retry, e);
	standby_init(e);
}

int elect_start(struct elect *e)
{
	e->phase = ELECT_WAITING;
	e->reason = "connecting to ZooKeeper";
	e->phase_since_us = env_now_us(e->env);
	struct zk_config zc = {.connect = e->cfg.zookeeper_connect, .session_timeout_ms = e->cfg.session_timeout_ms, .op_timeout_ms = OP_TIMEOUT_MS,
			       .on_event = on_event, .ctx = e};
	int err = zk_open(e->loop, &zc, &e->zk);
	e->calls.zk = e->zk;
	return err;
}

static void on_zk_closed(void *ctx)
{
	struct elect *e = ctx;
	e->zk = NULL;
	if (e->closed)
		e->closed(e->closed_ctx);
}

static void on_resigned(void *ctx, void *arg, int err, const struct zk_op_result *results, size_t count)
{
	struct elect *e = ctx;
	timer_stop(&e->retry_timer);
	if (err != ERR_CANCELLED && e->zk) {
		calls_cancel(&e->calls);
		zk_close(e->zk, on_zk_closed, e);
	}
}

void elect_stop(struct elect *e, void (*closed)(void *ctx), void *ctx)
{
	e->closed = closed;
	e->closed_ctx = ctx;
	bool active = e->phase == ELECT_ACTIVE;
	standby_leave(e);
	end_reign(e, "stopping");
	set_phase(e, ELECT_STOPPING, "stopping");
	calls_cancel(&e->calls);
	if (!e->zk) {
		if (closed)
			closed(ctx);
		return;
	}
	if (!active || !zk_connected(e->zk)) {
		zk_close(e->zk, on_zk_closed, e);
		return;
	}
	struct zk_op ops[2] = {
		{.kind = ZK_OP_CHECK, .path = ZKP_CONTROLLER_EPOCH, .version = e->epoch_version},
		{.kind = ZK_OP_DELETE, .path = ZKP_CONTROLLER, .version = -1},
	};
	calls_multi(&e->calls, ops, 2, on_resigned, NULL);
}

void elect_fini(struct elect *e)
{
	if (!e->loop)
		return;
	e->phase = ELECT_STOPPING;
	timer_stop(&e->barrier_timer);
	timer_stop(&e->retry_timer);
	standby_leave(e);
	calls_fini(&e->calls);
	arena_fini(&e->scratch);
}
