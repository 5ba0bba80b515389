/* registration.c: the broker's session and its two ephemerals' foundation. See life.h.
 *
 * Steps, each waiting for what it needs and saying so: session -> former session ended (by id and password, protocol.md D5) -> this session saved ->
 * base paths there -> cluster id agreed -> node created (one multi, as Kafka: create, then set, so that the data version is 1).
 * A lost reply is settled by reading the node back: it is ours if its owner is our session.
 */
#include "brokerd/life/life.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/conn.h"
#include "common/zk/zkdata.h"

#define RETRY_MS 200
#define STATUS_LOST_FIGHT 75
#define STATUS_CONFIG 78

enum step { IDLE, ENDING_FORMER, SAVING, FINDING_CLUSTER, CREATING, SETTLING, PROBING, STANDING };

struct registration {
	struct env *env;
	struct loop *loop;
	const struct broker_config *cfg;
	struct registration_events ev;
	struct zk *zk;
	struct log_dirs *dirs;
	struct timer retry;
	enum step step;
	bool connected, former_ended, closing;
	struct zk_session_id session;
	int32_t session_timeout_ms;
	int64_t broker_epoch;    /* czxid of the standing node; 0 none */
	bool ever;
	char cluster_id[64];
	int64_t blocked_since_us; /* another registration holds our id */
	uint64_t turn;            /* bumped by each new start: late answers of a former one are ignored */
	struct zk_session_id former, saving;
	struct job job;
	int job_err;
	bool job_out;     /* the job runs: nothing else may use it */
	bool begin_again; /* another session began meanwhile */
};

static void step_on(struct registration *r);

static void job_begin(struct registration *r, void (*run)(struct job *j), void (*done)(struct job *j))
{
	ASSERT(!r->job_out);
	r->job_out = true;
	r->job.run = run;
	r->job.done = done;
	job_submit(r->loop, &r->job, JOB_IO);
}

/* False: what the job was for is over. */
static bool job_end(struct registration *r)
{
	r->job_out = false;
	if (r->closing)
		return false;
	if (r->begin_again) {
		r->begin_again = false;
		r->step = IDLE;
		step_on(r);
		return false;
	}
	return true;
}

static void wait_for(struct registration *r, const char *what)
{
	r->ev.waiting(r->ev.ctx, what);
	timer_set_ms(&r->retry, RETRY_MS);
}

/* ---- creating the node ---- */

static void encode_node(struct registration *r, struct arena *a, struct str *out)
{
	const struct broker_config *cfg = r->cfg;
	struct zkd_endpoint *ends = ARENA_ARRAY(a, struct zkd_endpoint, cfg->advertised_count);
	for (uint32_t i = 0; i < cfg->advertised_count; i++)
		ends[i] = (struct zkd_endpoint){cfg->advertised[i].name, cfg->advertised[i].security, cfg->advertised[i].host, cfg->advertised[i].port};
	struct zkd_broker b = {
		.version = 5,
		.jmx_port = -1,
		.timestamp_ms = env_wall_ms(r->env),
		.rack = cfg->rack,
		.endpoints = ends,
		.endpoint_count = cfg->advertised_count,
	};
	zkd_broker_encode(out, &b);
}

static void standing(struct registration *r, int64_t czxid)
{
	bool first = !r->ever;
	r->step = STANDING;
	r->broker_epoch = czxid;
	r->ever = true;
	r->blocked_since_us = 0;
	LOG_AT(r->env->log, LOG_INFO, "zk", "registered", "broker=%d epoch=%lld", r->cfg->broker_id, (long long)czxid);
	r->ev.registered(r->ev.ctx, czxid, first, r->cluster_id);
}

struct probing {
	struct registration *r;
	uint64_t turn;
	uint8_t scratch[64];
};

static bool probe_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct probing *p = ctx;
	(void)c;
	*ret_ptr = p->scratch;
	*ret_len = sizeof(p->scratch);
	return true;
}

static void probe_data(struct conn *c, void *ctx, size_t len)
{
	(void)c, (void)ctx, (void)len;
}

static void probe_open(struct conn *c, void *ctx)
{
	struct probing *p = ctx;
	struct registration *r = p->r;
	conn_close(c);
	mem_free(p);
	/* Somebody listens where the other registration says: it lives, and it was first. */
	struct str why;
	str_init(&why);
	str_printf(&why, "broker.id %d is in use by a live broker: give this one another broker.id (and log.dirs of its own), or stop the other", r->cfg->broker_id);
	env_exit(r->env, STATUS_LOST_FIGHT, str_cstr(&why));
	str_fini(&why);
}

static void probe_closed(struct conn *c, void *ctx, int err)
{
	struct probing *p = ctx;
	struct registration *r = p->r;
	(void)c, (void)err;
	bool current = p->turn == r->turn;
	mem_free(p);
	if (!current || r->closing)
		return;
	/* Nobody there: a former life whose session has not ended yet. */
	r->step = CREATING;
	wait_for(r, "the registration of a former life of this broker id to expire");
}

static const struct conn_handler probe_handler = {.on_space = probe_space, .on_data = probe_data, .on_open = probe_open, .on_closed = probe_closed};

static void on_rival(struct registration *r, struct slice data)
{
	struct arena a;
	struct zkd_broker b;
	int64_t now = env_now_us(r->env);
	if (!r->blocked_since_us)
		r->blocked_since_us = now;
	if (now - r->blocked_since_us > 3 * (int64_t)r->cfg->zookeeper_session_timeout_ms * 1000) {
		env_exit(r->env, STATUS_LOST_FIGHT, "another session keeps registering this broker.id: give this broker another id, or stop the other process");
		return;
	}
	arena_init(&a, 0);
	if (zkd_broker_decode(data, &a, &b) || b.endpoint_count == 0) {
		r->step = CREATING;
		wait_for(r, "a foreign registration under this broker id to go");
	} else {
		struct probing *p = MEM_NEW(struct probing);
		p->r = r;
		p->turn = r->turn;
		r->step = PROBING;
		conn_connect(r->loop, b.endpoints[0].host, (uint16_t)b.endpoints[0].port, 1000, &probe_handler, p);
	}
	arena_fini(&a);
}

static void on_settled(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct registration *r = ctx;
	if (r->closing || r->step != SETTLING)
		return;
	if (!err && st->ephemeral_owner == r->session.id) {
		standing(r, st->czxid);
		return;
	}
	if (!err) {
		on_rival(r, data);
		return;
	}
	r->step = CREATING;
	wait_for(r, "ZooKeeper to answer");
}

static void settle(struct registration *r)
{
	struct arena a;
	arena_init(&a, 0);
	r->step = SETTLING;
	zk_get(r->zk, zkp_broker(&a, r->cfg->broker_id), on_settled, r);
	arena_fini(&a);
}

static void on_created(void *ctx, int err, const struct zk_op_result *results, size_t count)
{
	struct registration *r = ctx;
	(void)results, (void)count;
	if (r->closing || r->step != CREATING)
		return;
	if (err == ERR_NOENT) {
		wait_for(r, WAIT_FOR_BASE_PATHS);
		return;
	}
	if (err == ERR_EXPIRED)
		return; /* the event starts over */
	settle(r); /* created, exists, or unknown: the node itself says whose it is */
}

static void create_node(struct registration *r)
{
	struct arena a;
	struct str json;
	arena_init(&a, 0);
	str_init(&json);
	encode_node(r, &a, &json);
	const char *path = zkp_broker(&a, r->cfg->broker_id);
	struct zk_op ops[2] = {
		{.kind = ZK_OP_CREATE, .path = path, .flags = ZK_EPHEMERAL},
		{.kind = ZK_OP_SET, .path = path, .data = slice_make(str_cstr(&json), json.len), .version = 0},
	};
	r->step = CREATING;
	zk_multi(r->zk, ops, 2, on_created, r);
	str_fini(&json);
	arena_fini(&a);
}

/* ---- cluster id ---- */

bool registration_other_cluster(struct env *env, const struct log_dirs *dirs, const char *cluster_id)
{
	struct str why;
	if (!dirs->cluster_id[0] || !strcmp(dirs->cluster_id, cluster_id))
		return false;
	str_init(&why);
	str_printf(&why, "meta.properties belongs to cluster %s, ZooKeeper holds cluster %s: check zookeeper.connect and log.dirs", dirs->cluster_id, cluster_id);
	env_exit(env, STATUS_CONFIG, str_cstr(&why));
	str_fini(&why);
	return true;
}

static void on_cluster_id(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct registration *r = ctx;
	struct arena a;
	const char *id;
	(void)st;
	if (r->closing || r->step != FINDING_CLUSTER)
		return;
	arena_init(&a, 0);
	if (err || zkd_cluster_id_decode(data, &a, &id) || strlen(id) >= sizeof(r->cluster_id)) {
		wait_for(r, err == ERR_NOENT ? WAIT_FOR_CLUSTER_ID : "ZooKeeper to answer");
	} else {
		strcpy(r->cluster_id, id);
		if (!registration_other_cluster(r->env, r->dirs, id))
			create_node(r);
	}
	arena_fini(&a);
}

/* ---- sessions ---- */

static void save_run(struct job *j)
{
	struct registration *r = CONTAINER_OF(j, struct registration, job);
	r->job_err = log_dirs_save_session_now(r->dirs, r->saving.id, r->saving.password);
}

static void save_done(struct job *j)
{
	struct registration *r = CONTAINER_OF(j, struct registration, job);
	if (!job_end(r))
		return;
	if (r->job_err) /* only a restart would be slower: said, and gone on */
		LOG_AT(r->env->log, LOG_WARN, "zk", "session.unsaved", "err=\"%s\"", err_str(r->job_err));
	r->step = FINDING_CLUSTER;
	step_on(r);
}

static void former_done(void *ctx, int err)
{
	struct registration *r = ctx;
	if (r->closing || r->step != ENDING_FORMER)
		return;
	if (err)
		LOG_AT(r->env->log, LOG_WARN, "zk", "former.session", "err=\"%s\"", err_str(err));
	r->former_ended = true;
	r->step = SAVING;
	step_on(r);
}

static void load_run(struct job *j)
{
	struct registration *r = CONTAINER_OF(j, struct registration, job);
	r->job_err = log_dirs_load_session_now(r->dirs, &r->former.id, r->former.password);
}

static void load_done(struct job *j)
{
	struct registration *r = CONTAINER_OF(j, struct registration, job);
	if (!job_end(r))
		return;
	if (r->job_err || r->former.id == r->session.id)
		former_done(r, 0);
	else
		zk_end_session(r->zk, &r->former, former_done, r);
}

/* Does what the present step needs; called when it becomes possible or when a wait is over. */
static void step_on(struct registration *r)
{
	if (!r->connected || !r->dirs || r->closing || r->job_out)
		return;
	switch (r->step) {
	case IDLE:
		if (!r->former_ended) {
			r->step = ENDING_FORMER;
			job_begin(r, load_run, load_done);
			break;
		}
		r->step = SAVING;
		/* fall through */
	case SAVING:
		r->saving = r->session;
		job_begin(r, save_run, save_done);
		break;
	case FINDING_CLUSTER:
		zk_get(r->zk, ZKP_CLUSTER_ID, on_cluster_id, r);
		break;
	case CREATING:
		create_node(r);
		break;
	default:
		break; /* an answer is under way */
	}
}

static void on_retry(void *ctx)
{
	step_on(ctx);
}

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct registration *r = ctx;
	switch (ev->event) {
	case ZK_CONNECTED:
		r->connected = true;
		r->session = ev->session;
		r->session_timeout_ms = ev->timeout_ms;
		if (!ev->resumed) {
			r->ev.new_session(r->ev.ctx, zk);
			r->turn++;
			if (r->job_out)
				r->begin_again = true;
			else if (r->step != ENDING_FORMER) /* that one answers by itself, and saves whatever session there is then */
				r->step = IDLE;
		}
		step_on(r); /* whatever waited for a connection */
		r->ev.session(r->ev.ctx, true);
		break;
	case ZK_SUSPENDED:
		r->connected = false;
		r->ev.session(r->ev.ctx, false);
		break;
	case ZK_RIGHTS_LOST:
		LOG_AT(r->env->log, LOG_WARN, "zk", "rights.lost", "session=%llx", (unsigned long long)r->session.id);
		break;
	case ZK_EXPIRED:
		LOG_AT(r->env->log, LOG_WARN, "zk", "session.expired", "session=%llx", (unsigned long long)r->session.id);
		r->connected = false;
		r->ev.session(r->ev.ctx, false);
		zk_reopen(zk);
		break;
	}
}

struct registration *registration_new(struct env *env, struct loop *l, const struct broker_config *cfg, const struct registration_events *ev)
{
	struct registration *r = MEM_NEW(struct registration);
	r->env = env;
	r->loop = l;
	r->cfg = cfg;
	r->ev = *ev;
	timer_init(&r->retry, l, on_retry, r);
	return r;
}

void registration_start(struct registration *r)
{
	struct zk_config zc = {
		.connect = r->cfg->zookeeper_connect,
		.session_timeout_ms = r->cfg->zookeeper_session_timeout_ms,
		.op_timeout_ms = 10000,
		.on_event = on_event,
		.ctx = r,
	};
	if (zk_open(r->loop, &zc, &r->zk))
		env_exit(r->env, STATUS_CONFIG, "zookeeper.connect does not parse: host:port[,host:port...][/chroot] is expected");
}

void registration_ready(struct registration *r, struct log_dirs *dirs)
{
	r->dirs = dirs;
	step_on(r);
}

static void on_looked(void *ctx, int err, const struct zk_stat *st)
{
	struct registration *r = ctx;
	if (r->closing || r->step != STANDING)
		return;
	if (!err && st->ephemeral_owner == r->session.id) {
		if (st->czxid != r->broker_epoch)
			standing(r, st->czxid);
		return;
	}
	if (err == ERR_NOENT || !err) { /* deleted by hand, or somebody else's: a new registration of the same life (D4) */
		r->step = CREATING;
		step_on(r);
	}
}

void registration_again(struct registration *r)
{
	struct arena a;
	if (r->step != STANDING || !r->connected)
		return;
	arena_init(&a, 0);
	zk_exists(r->zk, zkp_broker(&a, r->cfg->broker_id), on_looked, r);
	arena_fini(&a);
}

struct checking {
	struct registration *r;
	void (*fn)(void *ctx, bool known, bool stands);
	void *ctx;
};

static void on_checked(void *ctx, int err, const struct zk_stat *st)
{
	struct checking *c = ctx;
	bool known = !err || err == ERR_NOENT;
	c->fn(c->ctx, known, !err && st->czxid == c->r->broker_epoch);
	mem_free(c);
}

void registration_check(struct registration *r, void (*fn)(void *ctx, bool known, bool stands), void *ctx)
{
	struct arena a;
	if (!r->connected || r->step != STANDING) {
		fn(ctx, false, false);
		return;
	}
	struct checking *c = MEM_NEW(struct checking);
	*c = (struct checking){r, fn, ctx};
	arena_init(&a, 0);
	zk_exists(r->zk, zkp_broker(&a, r->cfg->broker_id), on_checked, c);
	arena_fini(&a);
}

struct zk *registration_zk(struct registration *r) { return r->zk; }
bool registration_connected(const struct registration *r) { return r->connected; }

void registration_close(struct registration *r, void (*closed)(void *ctx), void *ctx)
{
	r->closing = true;
	timer_stop(&r->retry);
	struct zk *zk = r->zk;
	r->zk = NULL;
	r->connected = false;
	if (zk)
		zk_close(zk, closed, ctx);
	else
		closed(ctx);
}

void registration_free(struct registration *r)
{
	if (!r)
		return;
	timer_stop(&r->retry);
	if (r->zk)
		zk_close(r->zk, NULL, NULL);
	mem_free(r);
}
