/* partition.c: the shell of one replica: see partition.h for the states. */
#include "brokerd/replica/partition.h"

#include "brokerd/log/log_dir.h"
#include "brokerd/replica/fetcher.h"
#include "brokerd/replica/shard_priv.h"
#include "common/base/plant.h"

#define SUB "replica"
#define CREATING_MAX 2 /* logs that a loop makes at a time: rolls, syncs and cold reads go through the same queue, and a topic may have ten thousand partitions */

static const char *const state_names[] = {
	[PARTITION_ABSENT] = "absent", [PARTITION_OPENING] = "opening", [PARTITION_IDLE] = "idle", [PARTITION_FOLLOWER] = "follower",
	[PARTITION_TRUNCATING] = "truncating", [PARTITION_LEADER] = "leader", [PARTITION_STOPPING] = "stopping",
	[PARTITION_DELETING] = "deleting", [PARTITION_FAILED] = "failed", [PARTITION_OLD_FORMAT] = "old-format",
};
#define S(x) (1u << PARTITION_##x)
static const unsigned legal_before[] = {
	[PARTITION_ABSENT] = S(OPENING),
	[PARTITION_OPENING] = S(ABSENT),
	[PARTITION_IDLE] = S(OPENING) | S(FOLLOWER) | S(LEADER) | S(TRUNCATING),
	[PARTITION_FOLLOWER] = S(IDLE) | S(LEADER) | S(TRUNCATING) | S(FOLLOWER),
	[PARTITION_TRUNCATING] = S(FOLLOWER),
	[PARTITION_LEADER] = S(IDLE) | S(FOLLOWER) | S(LEADER),
	[PARTITION_STOPPING] = S(OPENING) | S(IDLE) | S(FOLLOWER) | S(TRUNCATING) | S(LEADER) | S(OLD_FORMAT),
	[PARTITION_DELETING] = S(ABSENT) | S(OPENING) | S(IDLE) | S(FOLLOWER) | S(TRUNCATING) | S(LEADER) | S(FAILED) | S(OLD_FORMAT),
	[PARTITION_FAILED] = S(OPENING) | S(IDLE) | S(FOLLOWER) | S(TRUNCATING) | S(LEADER),
	[PARTITION_OLD_FORMAT] = S(OPENING),
};
#undef S

const char *partition_state_str(enum partition_state st) { return state_names[st]; }

static void move_to(struct partition *p, enum partition_state st, const char *why)
{
	ASSERT(legal_before[st] & 1u << p->state);
	const struct shard_listener *ln = &p->shard->listener;
	bool lost = p->state == PARTITION_LEADER && st != PARTITION_LEADER;
	LOG_AT(p->shard->env->log, LOG_INFO, SUB, "partition.state", "topic=%s partition=%d from=%s to=%s leader=%d epoch=%d why=%s", p->topic,
	       p->partition, state_names[p->state], state_names[st], p->core.leader, p->core.leader_epoch, why);
	p->state = st;
	if (lost && ln->lost)
		ln->lost(ln->ctx, slice_make(p->topic, p->topic_len), p->partition);
}

struct partition *partition_new(struct shard *s, struct slice topic, const struct uuid *id, int32_t partition)
{
	struct partition *p = MEM_NEW(struct partition);
	p->shard = s;
	p->topic = mem_strndup((const char *)topic.ptr, topic.len);
	p->topic_len = topic.len;
	p->topic_id = *id;
	p->partition = partition;
	replica_init(&p->core, s->config->broker_id, s->config->replica_lag_time_max_ms);
	list_init(&p->all_link);
	list_init(&p->create_link);
	list_init(&p->waits);
	list_init(&p->parked);
	list_init(&p->deletes);
	list_init(&p->watches);
	list_init(&p->proposing_link);
	list_init(&p->starts_link);
	list_init(&p->follow.link);
	list_init(&p->follow.work);
	return p;
}

void partition_free(struct partition *p)
{
	if (!p)
		return;
	list_remove(&p->starts_link);
	while (!list_empty(&p->watches)) {
		struct partition_watch *w = LIST_ENTRY(p->watches.next, struct partition_watch, link);
		list_remove(&w->link);
		w->partition = NULL;
		if (w->news)
			w->news(w, NEWS_STATE);
	}
	if (p->shard->maintain_next == p)
		p->shard->maintain_next = p->all_link.next == &p->shard->all ? NULL : LIST_ENTRY(p->all_link.next, struct partition, all_link);
	list_remove(&p->all_link);
	list_remove(&p->create_link);
	list_remove(&p->proposing_link);
	list_remove(&p->follow.link);
	list_remove(&p->follow.work);
	image_unref(p->want_image);
	replica_fini(&p->core);
	mem_free(p->topic);
	mem_free(p);
}

bool partition_serves_soon(const struct partition *p)
{
	if (!p || p->retired || p->shard->stopping)
		return false;
	if (p->state == PARTITION_ABSENT)
		return p->want && (!list_empty(&p->create_link) || shard_name_taken(p->shard, p));
	return p->state == PARTITION_OPENING || p->want;
}

int32_t partition_soon_ms(const struct partition *p)
{
	return p && (p->state == PARTITION_OPENING || p->state == PARTITION_ABSENT) ? PARK_OPENING_MS : PARK_MS;
}

int16_t partition_hosting_error(const struct partition *p)
{
	if (!p || p->retired)
		return KERR_UNKNOWN_TOPIC_OR_PARTITION;
	switch (p->state) {
	case PARTITION_FAILED: return KERR_KAFKA_STORAGE_ERROR;
	case PARTITION_OLD_FORMAT: return KERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
	case PARTITION_IDLE:
	case PARTITION_FOLLOWER:
	case PARTITION_TRUNCATING:
	case PARTITION_LEADER: return KERR_NONE;
	default: return KERR_NOT_LEADER_OR_FOLLOWER;
	}
}

/* ---- what the log says ---- */

void partition_tell(struct partition *p, unsigned news)
{
	LIST_FOR_SAFE(it, tmp, &p->watches) {
		struct partition_watch *w = LIST_ENTRY(it, struct partition_watch, link);
		w->news(w, news);
	}
	if ((news & NEWS_STATE) && !list_empty(&p->shard->questions))
		loop_defer(p->shard->loop, &p->shard->questions_look);
}

void partition_set_hw(struct partition *p, int64_t high_watermark)
{
	if (high_watermark == p->high_watermark)
		return;
	p->high_watermark = high_watermark;
	log_set_high_watermark(p->log, high_watermark);
	partition_tell(p, NEWS_HW);
}

bool partition_follower_counts(const struct partition *p, int32_t id, int64_t epoch, int64_t polled_ms)
{
	const struct replica_peer *peer = replica_peer_find(&p->core, id);
	if (!peer || !peer->boot_epoch)
		return true;
	return epoch >= 0 ? epoch >= peer->boot_epoch : polled_ms > peer->life_ms;
}

void partition_count_idle_followers(struct partition *p)
{
	struct replica_out out;
	if (!partition_is_leader(p))
		return;
	LIST_FOR(it, &p->watches) {
		struct partition_watch *w = LIST_ENTRY(it, struct partition_watch, link);
		if (w->follower < 0 || !w->at_end || !partition_follower_counts(p, w->follower, *w->polled_epoch, *w->polled_ms))
			continue;
		if (replica_on_fetch(&p->core, w->follower, w->offset, w->start, *w->polled_ms, *w->contact_ms, &out))
			partition_do(p, &out);
	}
}

/* E5's place: with flush.messages=1 only what is synced may be vouched for. */
static int64_t acked_end(const struct partition *p)
{
	int64_t end = log_end_offset(p->log);
	if (log_get_config(p->log)->flush_messages != 1)
		return end;
	int64_t synced = log_synced_offset(p->log);
	return synced < end ? synced : end;
}

static void log_end_moved(void *ctx)
{
	struct partition *p = ctx;
	struct replica_out out;
	if (partition_is_leader(p)) {
		partition_count_idle_followers(p);
		replica_on_end(&p->core, log_end_offset(p->log), acked_end(p), shard_now_ms(p->shard), &out);
		partition_do(p, &out);
	}
	partition_tell(p, NEWS_END);
}

static void log_was_synced(void *ctx)
{
	struct partition *p = ctx;
	struct replica_out out;
	if (!partition_is_leader(p))
		return;
	replica_on_end(&p->core, log_end_offset(p->log), acked_end(p), shard_now_ms(p->shard), &out);
	partition_do(p, &out);
}

static void log_start_moved(void *ctx)
{
	partition_tell(ctx, NEWS_START);
}

static void log_dir_lost(void *ctx, int err)
{
	struct partition *p = ctx;
	struct shard *s = p->shard;
	struct log_dir *dir = p->dir;
	log_dir_fail(dir, err);
	shard_host_dir_failed(s, dir);
	LIST_FOR_SAFE(it, tmp, &s->all) {
		struct partition *q = LIST_ENTRY(it, struct partition, all_link);
		if (q->dir == dir)
			partition_dir_failed(q, err);
	}
}

/* ---- failing ---- */

static void fail_waiting(struct partition *p, int16_t error)
{
	produce_fail(p, error);
	delete_fail(p, error);
}

static void leave_roles(struct partition *p)
{
	fetcher_remove(p);
	fail_waiting(p, p->state == PARTITION_FAILED ? KERR_KAFKA_STORAGE_ERROR : KERR_NOT_LEADER_OR_FOLLOWER);
	list_remove(&p->proposing_link);
}

void partition_fail(struct partition *p, const char *why)
{
	if (p->state == PARTITION_FAILED || p->state == PARTITION_DELETING || p->state == PARTITION_STOPPING || p->state == PARTITION_ABSENT)
		return;
	LOG_AT(p->shard->env->log, LOG_ERROR, SUB, "partition.failed", "topic=%s partition=%d why=%s", p->topic, p->partition, why);
	move_to(p, PARTITION_FAILED, "failure");
	leave_roles(p);
	partition_tell(p, NEWS_STATE);
}

void partition_dir_failed(struct partition *p, int err)
{
	if (p->state == PARTITION_OPENING)
		return; /* the job will say so */
	partition_fail(p, err_str(err));
}

/* ---- opening ---- */

struct open_job {
	struct job job;
	struct partition *p;
	struct log_open open;
	struct shard_load *load;
	struct log *log;
	int err;
};

static void open_run(struct job *j)
{
	struct open_job *o = CONTAINER_OF(j, struct open_job, job);
	o->err = log_open_now(&o->open, &o->log);
}

static void settle(struct partition *p);

static void create_next(struct shard *s)
{
	struct list *n;
	while (s->creating < CREATING_MAX && !s->stopping && (n = list_pop_front(&s->to_create)))
		settle(LIST_ENTRY(n, struct partition, create_link));
}

static void load_returned(struct msg *msg)
{
	struct shard_load *m = CONTAINER_OF(msg, struct shard_load, msg);
	m->done(m);
}

static void load_reply(struct shard_load *m, struct partition *p, int err)
{
	m->err = err;
	m->log_end_offset = p->log ? log_end_offset(p->log) : 0;
	/* of the last record: a reign without records, or whose records were lost, must not win an election of the lossy (E3) */
	m->last_epoch = p->log && m->log_end_offset > log_start_offset(p->log) ? log_epoch_at(p->log, m->log_end_offset - 1) : -1;
	m->msg.deliver = load_returned;
	loop_post(m->msg.from, &m->msg);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

static void opened(struct partition *p, const struct open_job *o)
{
	static const struct log_events events = {log_end_moved, log_start_moved, log_was_synced, log_dir_lost, NULL};
	struct log_events ev = events;
	ev.ctx = p;
	p->log = o->log;
	log_attach(p->log, p->shard->loop, shard_writeback(p->shard, p->dir), &ev);
	/* section 8: the checkpoint, bounded by the log; 0 without one */
	p->start_filed = log_start_offset(p->log);
	p->high_watermark = clamp(o->open.high_watermark, log_start_offset(p->log), log_end_offset(p->log));
	log_set_high_watermark(p->log, p->high_watermark);
	move_to(p, PARTITION_IDLE, o->open.create ? "created" : "opened");
}

static void open_done(struct job *j)
{
	struct open_job *o = CONTAINER_OF(j, struct open_job, job);
	struct partition *p = o->p;
	p->job = NULL;
	if (o->err == 0) {
		opened(p, o);
	} else if (o->err == ERR_NOENT && o->load) {
		/* a directory without a log: we died while making it. A replica that is not there (E1): made anew when the image says so */
		move_to(p, PARTITION_ABSENT, "no log in it");
	} else if (o->err == LOG_ERR_OLD_FORMAT) {
		move_to(p, PARTITION_OLD_FORMAT, "record format 0 or 1 on disk");
	} else {
		LOG_AT(p->shard->env->log, LOG_ERROR, SUB, "log.open", "topic=%s partition=%d dir=%s err=%d", p->topic, p->partition, LOGQ(p->dir->path),
		       o->err);
		move_to(p, PARTITION_FAILED, "open");
		fail_waiting(p, KERR_KAFKA_STORAGE_ERROR);
		if (atomic_load(&p->dir->offline))
			shard_host_dir_failed(p->shard, p->dir);
	}
	if (o->load)
		load_reply(o->load, p, o->err);
	struct shard *s = p->shard;
	s->creating -= o->open.create;
	mem_free(o);
	settle(p);
	create_next(s);
}

void partition_open(struct partition *p, struct log_dir *dir, bool create, struct shard_load *load)
{
	struct shard *s = p->shard;
	struct open_job *o = MEM_NEW(struct open_job);
	p->dir = dir;
	p->job = o;
	o->p = p;
	o->load = load;
	o->open = (struct log_open){
		.env = s->env, .dir = dir, .topic = p->topic, .partition = p->partition, .topic_id = p->topic_id, .create = create,
		.clean = dir->start_class == LOG_START_CLEAN, .recovery_point = 0, .log_start_offset = -1, .high_watermark = -1,
		.now_ms = env_wall_ms(s->env),
	};
	if (load) {
		o->open.recovery_point = load->found->recovery_point;
		o->open.log_start_offset = load->found->log_start_offset;
		o->open.high_watermark = load->found->high_watermark;
		o->open.progress_bytes = load->progress_bytes;
	}
	const struct image_topic *t = p->want_topic;
	if (!t && s->image)
		t = image_find_topic(s->image, slice_make(p->topic, p->topic_len));
	shard_config_of(s, p->want_image ? p->want_image : s->image, t, &o->open.config);
	move_to(p, PARTITION_OPENING, create ? "new" : "found");
	o->job.run = open_run;
	o->job.done = open_done;
	job_submit(s->loop, &o->job, create ? JOB_IO : JOB_LOAD);
}

/* ---- states from images ---- */

static void look_at_brokers(struct partition *p)
{
	for (uint32_t i = 0; i < p->core.peer_count; i++) {
		struct replica_peer *peer = &p->core.peers[i];
		const struct image_broker *b = image_find_broker(p->shard->image, peer->id);
		peer->eligible = b && b->available && !b->shutting_down && !peer->offline;
		if (b && b->boot_epoch != peer->boot_epoch) {
			peer->boot_epoch = b->boot_epoch;
			peer->life_ms = shard_now_ms(p->shard);
		}
	}
}

static void feed(struct partition *p, struct image *im, const struct image_topic *t, const struct image_partition *ip)
{
	struct shard *s = p->shard;
	struct replica_out out;
	struct replica_log log = {log_end_offset(p->log), acked_end(p), log_next_offset(p->log), p->high_watermark};
	(void)im;
	if (uuid_is_zero(&p->topic_id))
		p->topic_id = t->id;
	if (!replica_on_state(&p->core, ip, &log, shard_now_ms(s), &out))
		return;
	look_at_brokers(p);
	partition_do(p, &out);
}

void partition_refresh_eligible(struct partition *p)
{
	struct replica_out out;
	look_at_brokers(p);
	/* who waits at the end of an idle log may join now: no fetch of it would be looked at before something changes */
	partition_count_idle_followers(p);
	replica_on_tick(&p->core, false, shard_now_ms(p->shard), &out);
	partition_do(p, &out);
	delete_on_start(p); /* the dead are not waited for */
}

static void drop_want(struct partition *p)
{
	image_unref(p->want_image);
	p->want_image = NULL;
	p->want = NULL;
	p->want_topic = NULL;
}

static void begin_deleting(struct partition *p);

/* Something that states waited for is over: go on with what is wanted. May free p. */
static void settle(struct partition *p)
{
	struct shard *s = p->shard;
	list_remove(&p->create_link);
	if (s->stopping && p->state != PARTITION_STOPPING) {
		partition_stop(p);
		return;
	}
	if (p->removed) {
		begin_deleting(p);
		return;
	}
	if (!p->want)
		return;
	bool assigned = image_ids_has(&p->want->replicas, s->config->broker_id);
	if (p->state == PARTITION_ABSENT) {
		/* E1: an empty log is made only when the state says that this replica is new */
		if (!assigned || p->retired || shard_name_taken(s, p))
			return;
		if (!image_ids_has(&p->want->fresh, s->config->broker_id)) {
			if (!p->missing) {
				p->missing = true;
				LOG_AT(s->env->log, LOG_WARN, SUB, "replica.missing", "topic=%s partition=%d", p->topic, p->partition);
				shard_host_missing(s, p);
			}
			return;
		}
		struct log_dir *dir = p->dir && !atomic_load(&p->dir->offline) ? p->dir : shard_pick_dir(s);
		if (!dir)
			return;
		p->missing = false;
		if (s->creating >= CREATING_MAX) {
			list_push_back(&s->to_create, &p->create_link);
			return;
		}
		s->creating++;
		partition_open(p, dir, true, NULL);
		return;
	}
	if (p->state != PARTITION_IDLE && p->state != PARTITION_FOLLOWER && p->state != PARTITION_LEADER)
		return;
	struct image *im = p->want_image;
	const struct image_partition *ip = p->want;
	const struct image_topic *t = p->want_topic;
	p->want_image = NULL;
	p->want = NULL;
	p->want_topic = NULL;
	feed(p, im, t, ip);
	image_unref(im);
}

static bool older(const struct image_partition *a, const struct image_partition *b)
{
	return a->leader_epoch < b->leader_epoch || (a->leader_epoch == b->leader_epoch && a->partition_epoch < b->partition_epoch);
}

void partition_apply(struct partition *p, struct image *im, const struct image_topic *t, const struct image_partition *ip)
{
	if (p->removed || p->state == PARTITION_STOPPING || p->state == PARTITION_DELETING || p->shard->stopping)
		return;
	if (p->want && older(ip, p->want))
		return;
	drop_want(p);
	p->want_image = image_ref(im);
	p->want_topic = t;
	p->want = ip;
	settle(p);
}

static bool still_open(const struct partition *p, enum partition_state st)
{
	return p->state == st;
}

static void lead(struct partition *p)
{
	fetcher_remove(p);
	log_begin_epoch(p->log, p->core.leader_epoch);
	move_to(p, PARTITION_LEADER, "state");
	p->shard->leader_changes++;
	const struct shard_listener *ln = &p->shard->listener;
	if (ln->led) /* to the next offset: what a former leader sent and is still being written was there at the election */
		ln->led(ln->ctx, slice_make(p->topic, p->topic_len), p->partition, p->core.leader_epoch,
			PLANT(group_load_short) ? p->core.high_watermark : log_next_offset(p->log));
}

void partition_do(struct partition *p, const struct replica_out *out)
{
	struct shard *s = p->shard;
	unsigned acts = out->acts;
	if (!acts)
		return;
	if (acts & REPLICA_DO_LOST)
		fail_waiting(p, KERR_NOT_LEADER_OR_FOLLOWER);
	if (acts & REPLICA_DO_DEPOSE)
		fetcher_depose(s, out->depose, p);
	if (acts & REPLICA_DO_STOP) {
		fetcher_remove(p);
		if (p->state == PARTITION_FOLLOWER || p->state == PARTITION_LEADER)
			move_to(p, PARTITION_IDLE, "state");
	}
	if (acts & REPLICA_DO_LEAD)
		lead(p);
	if (acts & REPLICA_DO_FOLLOW) {
		fetcher_remove(p);
		move_to(p, PARTITION_FOLLOWER, "state");
		fetcher_add(p);
	}
	if ((acts & REPLICA_DO_HW) && still_open(p, PARTITION_LEADER)) {
		partition_set_hw(p, p->core.high_watermark);
		produce_on_hw(p);
	}
	if (acts & REPLICA_DO_START)
		delete_on_start(p);
	if (acts & (REPLICA_DO_STOP | REPLICA_DO_LEAD | REPLICA_DO_FOLLOW)) {
		partition_tell(p, NEWS_STATE);
		produce_unpark(p);
	} else if (acts & REPLICA_DO_RESUME) {
		produce_unpark(p);
	}
	if (acts & REPLICA_DO_PROPOSE) {
		s->isr_shrinks += !!(acts & REPLICA_DID_SHRINK);
		s->isr_expands += !!(acts & REPLICA_DID_EXPAND);
		shard_host_propose(s, p);
		shard_watch_proposal(s, p);
	}
}

/* ---- truncation ---- */

static void truncated(void *ctx, int err)
{
	struct partition *p = ctx;
	struct shard *s = p->shard;
	if (p->state != PARTITION_TRUNCATING)
		return;
	if (err) {
		partition_fail(p, "truncation");
		settle(p);
		return;
	}
	s->truncations++;
	partition_set_hw(p, clamp(p->high_watermark, log_start_offset(p->log), log_end_offset(p->log)));
	move_to(p, PARTITION_FOLLOWER, "truncated");
	if (p->core.role != REPLICA_FOLLOWER)
		move_to(p, PARTITION_IDLE, "unassigned meanwhile");
	if (p->want || p->removed || s->stopping) {
		uint32_t generation = p->follow.generation;
		bool gone = p->removed || s->stopping;
		settle(p);
		if (gone || p->state != PARTITION_FOLLOWER || p->follow.generation != generation || !p->follow.fetcher)
			return;
	}
	partition_tell(p, NEWS_STATE);
	fetcher_truncated(p);
}

void partition_truncate(struct partition *p, int64_t offset, bool fully)
{
	ASSERT(p->state == PARTITION_FOLLOWER);
	LOG_AT(p->shard->env->log, LOG_INFO, SUB, "log.truncate", "topic=%s partition=%d to=%lld end=%lld hw=%lld fully=%d", p->topic, p->partition,
	       (long long)offset, (long long)log_end_offset(p->log), (long long)p->high_watermark, fully);
	move_to(p, PARTITION_TRUNCATING, "diverged");
	/* section 4: the high watermark goes down with it */
	if (p->high_watermark > offset)
		partition_set_hw(p, offset);
	if (fully)
		log_truncate_fully(p->log, offset, truncated, p);
	else
		log_truncate(p->log, offset, truncated, p);
}

/* ---- the end of a replica ---- */

static void deleted(void *ctx, int err)
{
	struct partition *p = ctx;
	struct shard *s = p->shard;
	if (err) {
		LOG_AT(s->env->log, LOG_ERROR, SUB, "log.delete", "topic=%s partition=%d err=%s", p->topic, p->partition, err_str(err));
	} else {
		LOG_AT(s->env->log, LOG_INFO, SUB, "log.deleted", "topic=%s partition=%d", p->topic, p->partition);
		shard_host_deleted(s, p);
	}
	char *topic = p->topic;
	int32_t partition = p->partition;
	size_t len = p->topic_len;
	p->topic = NULL;
	p->log = NULL;
	partition_free(p);
	shard_name_free(s, slice_make(topic, len), partition);
	mem_free(topic);
	if (s->stopping)
		shard_partition_stopped(s, NULL, 0);
}

static void begin_deleting(struct partition *p)
{
	if (p->state == PARTITION_OPENING || p->state == PARTITION_TRUNCATING || p->state == PARTITION_DELETING || p->state == PARTITION_STOPPING)
		return; /* settle comes back here */
	bool failed = p->state == PARTITION_FAILED;
	move_to(p, PARTITION_DELETING, "removed");
	leave_roles(p);
	partition_tell(p, NEWS_STATE);
	drop_want(p);
	if (p->log && !failed) {
		struct log *log = p->log;
		p->log = NULL;
		log_delete(log, deleted, p);
	} else if (p->log || failed) {
		/* its directory is offline: the deletion is settled after a restart (K1) */
		if (p->log)
			log_close(p->log, false, NULL, NULL);
		p->log = NULL;
		deleted(p, ERR_IO);
	} else {
		deleted(p, 0);
	}
}

void partition_remove(struct partition *p)
{
	if (p->removed)
		return;
	p->removed = true;
	if (!p->retired)
		shard_take_out(p->shard, p);
	begin_deleting(p);
}

void partition_unassign(struct partition *p)
{
	struct replica_out out;
	drop_want(p);
	replica_on_unassigned(&p->core, &out);
	partition_do(p, &out);
	fail_waiting(p, KERR_UNKNOWN_TOPIC_OR_PARTITION);
}

void partition_retire(struct partition *p)
{
	if (p->retired)
		return;
	char id[UUID_TEXT_LEN + 1];
	uuid_format(&p->topic_id, id);
	LOG_AT(p->shard->env->log, LOG_ERROR, SUB, "replica.stray", "topic=%s partition=%d id=%s dir=%s what=\"logs of another topic of this name: they are kept, and no replica of "
	       "the present one is made here until they are moved away, or topic_id in /brokers/topics/%s is set to theirs while no controllerd runs\"",
	       p->topic, p->partition, id, p->dir ? LOGQ(p->dir->path) : "", p->topic);
	shard_take_out(p->shard, p);
	drop_want(p);
	leave_roles(p);
	if (p->state == PARTITION_FOLLOWER || p->state == PARTITION_LEADER)
		move_to(p, PARTITION_IDLE, "name taken by a newer topic");
	partition_tell(p, NEWS_STATE);
}

static void stopped(void *ctx, int err)
{
	struct partition *p = ctx;
	shard_partition_stopped(p->shard, p, err);
}

void partition_stop(struct partition *p)
{
	if (p->state == PARTITION_OPENING || p->state == PARTITION_TRUNCATING || p->state == PARTITION_DELETING || p->state == PARTITION_STOPPING)
		return; /* settle or deleted comes back */
	if (p->state == PARTITION_ABSENT || p->state == PARTITION_FAILED || p->state == PARTITION_OLD_FORMAT) {
		leave_roles(p);
		if (p->log)
			log_close(p->log, false, NULL, NULL);
		p->log = NULL;
		stopped(p, p->state == PARTITION_FAILED ? ERR_IO : 0);
		return;
	}
	move_to(p, PARTITION_STOPPING, "clean stop");
	leave_roles(p);
	partition_tell(p, NEWS_STATE);
	log_close(p->log, true, stopped, p);
}
