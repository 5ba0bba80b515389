/* shard.c: one data loop's partitions: the table, life (load, orders, stop), timers, and what is posted to the control loop. */
#include <stdlib.h>

#include "brokerd/replica/shard.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "brokerd/replica/fetcher.h"
#include "brokerd/replica/shard_priv.h"

#define BUCKETS_FIRST 64
#define MAINTAIN_SLICE 32          /* partitions per turn (G3) */
#define PROPOSING_TICK_MS 250

/* ---- table ---- */

static uint64_t key_hash(const struct shard *s, struct slice topic, int32_t partition)
{
	return XXH64(topic.ptr, topic.len, s->env->hash_seed) + (uint64_t)(uint32_t)partition * 0x9e3779b97f4a7c15u;
}

struct partition *shard_find(struct shard *s, struct slice topic, int32_t partition)
{
	uint64_t h = key_hash(s, topic, partition);
	for (struct partition *p = s->buckets[h & (s->bucket_count - 1)]; p; p = p->hash_next)
		if (p->hash == h && p->partition == partition && p->topic_len == topic.len && memcmp(p->topic, topic.ptr, topic.len) == 0)
			return p;
	return NULL;
}

static bool other_topic(const struct partition *p, const struct uuid *id)
{
	return !uuid_is_zero(&p->topic_id) && !uuid_is_zero(id) && !uuid_eq(&p->topic_id, id);
}

struct partition *shard_find_topic(struct shard *s, const struct image_topic *t, int32_t partition)
{
	struct partition *p = shard_find(s, slice_str(t->name), partition);
	return p && !other_topic(p, &t->id) ? p : NULL;
}

static void grow_table(struct shard *s)
{
	uint32_t n = s->bucket_count * 2;
	struct partition **b = mem_zalloc(n * sizeof(struct partition *));
	for (uint32_t i = 0; i < s->bucket_count; i++)
		for (struct partition *p = s->buckets[i], *next; p; p = next) {
			next = p->hash_next;
			p->hash_next = b[p->hash & (n - 1)];
			b[p->hash & (n - 1)] = p;
		}
	mem_free(s->buckets);
	s->buckets = b;
	s->bucket_count = n;
}

struct partition *shard_add(struct shard *s, struct slice topic, const struct uuid *id, int32_t partition)
{
	struct partition *p = partition_new(s, topic, id, partition);
	if (s->partition_count >= s->bucket_count)
		grow_table(s);
	p->hash = key_hash(s, topic, partition);
	struct partition **slot = &s->buckets[p->hash & (s->bucket_count - 1)];
	p->hash_next = *slot;
	*slot = p;
	s->partition_count++;
	list_push_back(&s->all, &p->all_link);
	return p;
}

void shard_take_out(struct shard *s, struct partition *p)
{
	ASSERT(!p->retired);
	struct partition **slot = &s->buckets[p->hash & (s->bucket_count - 1)];
	while (*slot != p)
		slot = &(*slot)->hash_next;
	*slot = p->hash_next;
	s->partition_count--;
	p->retired = true;
	if (s->maintain_next == p)
		s->maintain_next = NULL;
	list_remove(&p->all_link);
	list_push_back(&s->old, &p->all_link);
}

bool shard_name_taken(const struct shard *s, const struct partition *p)
{
	LIST_FOR(it, &s->old) {
		const struct partition *q = LIST_ENTRY(it, struct partition, all_link);
		if (q != p && q->topic && q->partition == p->partition && q->topic_len == p->topic_len && memcmp(q->topic, p->topic, p->topic_len) == 0)
			return true;
	}
	return false;
}

void shard_name_free(struct shard *s, struct slice topic, int32_t partition)
{
	struct partition *p = shard_find(s, topic, partition);
	if (!p || p->state != PARTITION_ABSENT || !p->want || s->stopping)
		return;
	struct image *im = image_ref(p->want_image);
	partition_apply(p, im, p->want_topic, p->want);
	image_unref(im);
}

struct log_dir *shard_pick_dir(struct shard *s)
{
	struct log_dirs *dirs = s->init.dirs;
	struct log_dir *best = NULL;
	uint32_t best_count = 0;
	/* Kafka's rule, fewest partitions; each loop starts at another directory so that equals spread */
	for (uint32_t k = 0; dirs && k < dirs->count; k++) {
		struct log_dir *d = dirs->dirs[(k + s->idx) % dirs->count];
		uint32_t n = 0;
		if (atomic_load(&d->offline))
			continue;
		if (dirs->count > 1)
			LIST_FOR(it, &s->all)
				n += LIST_ENTRY(it, struct partition, all_link)->dir == d;
		if (!best || n < best_count) {
			best = d;
			best_count = n;
		}
	}
	return best;
}

/* Made with the first log: the directories may not be known when the shard is made. */
struct writeback *shard_writeback(struct shard *s, const struct log_dir *dir)
{
	const struct log_dirs *dirs = s->init.dirs;
	if (!s->writebacks && dirs) {
		uint32_t loops = s->init.shard_count ? s->init.shard_count : 1;
		s->writebacks = mem_alloc(dirs->count * sizeof(*s->writebacks));
		for (; s->writeback_count < dirs->count; s->writeback_count++)
			writeback_init(&s->writebacks[s->writeback_count], (uint64_t)s->config->dirty_budget_bytes / loops);
	}
	for (uint32_t i = 0; i < s->writeback_count; i++)
		if (dirs->dirs[i] == dir)
			return &s->writebacks[i];
	return NULL;
}

void shard_config_of(struct shard *s, const struct image *im, const struct image_topic *t, struct log_config *ret)
{
	if (s->init.log_config && im && t)
		s->init.log_config(s->init.log_config_ctx, im, t, ret);
	else
		log_config_defaults(ret);
}

int16_t shard_log_error(int err)
{
	switch (err) {
	case 0: return KERR_NONE;
	case LOG_ERR_TOO_LARGE: return KERR_MESSAGE_TOO_LARGE;
	case LOG_ERR_OVER_SEGMENT: return KERR_RECORD_LIST_TOO_LARGE;
	case LOG_ERR_BAD_CRC:
	case ERR_CORRUPT: return KERR_CORRUPT_MESSAGE;
	case LOG_ERR_INVALID_RECORD: return KERR_INVALID_RECORD;
	case LOG_ERR_BAD_TIMESTAMP: return KERR_INVALID_TIMESTAMP;
	case LOG_ERR_BAD_MAGIC:
	case LOG_ERR_OLD_FORMAT: return KERR_UNSUPPORTED_FOR_MESSAGE_FORMAT;
	case LOG_ERR_BAD_CODEC: return KERR_UNSUPPORTED_COMPRESSION_TYPE;
	case LOG_ERR_OUT_OF_ORDER_SEQUENCE: return KERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
	case LOG_ERR_STALE_PRODUCER_EPOCH: return KERR_INVALID_PRODUCER_EPOCH;
	case LOG_ERR_TXN_STATE: return KERR_INVALID_TXN_STATE;
	case LOG_ERR_COORDINATOR_FENCED: return KERR_TRANSACTION_COORDINATOR_FENCED;
	case LOG_ERR_OFFSET_OUT_OF_RANGE: return KERR_OFFSET_OUT_OF_RANGE;
	case LOG_ERR_OFFLINE:
	case ERR_IO:
	case ERR_NOSPACE: return KERR_KAFKA_STORAGE_ERROR;
	case ERR_CLOSED:
	case ERR_CANCELLED: return KERR_NOT_LEADER_OR_FOLLOWER;
	default: return KERR_UNKNOWN_SERVER_ERROR;
	}
}

/* ---- to the control loop ---- */

enum host_call_kind { HOST_PROPOSE, HOST_DIR_FAILED, HOST_DELETED, HOST_MISSING };
struct host_call {
	struct msg msg;
	enum host_call_kind kind;
	const struct shard_host *host;
	struct image *image;
	const struct image_topic *topic;
	int32_t partition, leader_epoch, partition_epoch, isr_count;
	struct log_dir *dir;
	struct uuid topic_id;
	char *name;
	int32_t isr[];
};

static void host_call_run(struct msg *m)
{
	struct host_call *c = CONTAINER_OF(m, struct host_call, msg);
	const struct shard_host *h = c->host;
	switch (c->kind) {
	case HOST_PROPOSE:
		h->propose(h->ctx, c->topic, c->partition, c->leader_epoch, c->partition_epoch, c->isr, c->isr_count, 0);
		break;
	case HOST_DIR_FAILED: h->dir_failed(h->ctx, c->dir); break;
	case HOST_DELETED: h->replica_deleted(h->ctx, &c->topic_id, c->name); break;
	case HOST_MISSING:
		if (h->replica_missing)
			h->replica_missing(h->ctx, &c->topic_id, c->name, c->partition);
		break;
	}
	image_unref(c->image);
	mem_free(c->name);
	mem_free(c);
}

static struct host_call *host_call_new(struct shard *s, enum host_call_kind kind, uint32_t isr_count)
{
	struct host_call *c = mem_zalloc(sizeof(*c) + isr_count * sizeof(int32_t));
	c->msg.deliver = host_call_run;
	c->kind = kind;
	c->host = s->init.host;
	return c;
}

void shard_host_propose(struct shard *s, struct partition *p)
{
	const struct image_topic *t = s->image ? image_find_topic(s->image, slice_make(p->topic, p->topic_len)) : NULL;
	if (!t || other_topic(p, &t->id))
		return;
	struct host_call *c = host_call_new(s, HOST_PROPOSE, p->core.pending_count);
	c->image = image_ref(s->image);
	c->topic = t;
	c->partition = p->partition;
	c->leader_epoch = p->core.leader_epoch;
	c->partition_epoch = p->core.partition_epoch;
	c->isr_count = (int32_t)p->core.pending_count;
	memcpy(c->isr, p->core.pending_isr, p->core.pending_count * sizeof(int32_t));
	char text[200];
	size_t n = 0;
	text[0] = 0;
	for (uint32_t i = 0; i < p->core.pending_count && n < sizeof(text) - 16; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d", i ? "," : "", p->core.pending_isr[i]);
	LOG_AT(s->env->log, LOG_INFO, "replica", "isr.propose", "topic=%s partition=%d isr=%s epoch=%d partition_epoch=%d", p->topic, p->partition, text,
	       c->leader_epoch, c->partition_epoch);
	loop_post(s->init.control, &c->msg);
}

void shard_host_dir_failed(struct shard *s, struct log_dir *dir)
{
	struct host_call *c = host_call_new(s, HOST_DIR_FAILED, 0);
	c->dir = dir;
	loop_post(s->init.control, &c->msg);
}

void shard_host_deleted(struct shard *s, const struct partition *p)
{
	struct host_call *c = host_call_new(s, HOST_DELETED, 0);
	c->topic_id = p->topic_id;
	c->name = mem_strdup(p->topic);
	loop_post(s->init.control, &c->msg);
}

void shard_host_missing(struct shard *s, const struct partition *p)
{
	struct host_call *c = host_call_new(s, HOST_MISSING, 0);
	c->topic_id = p->topic_id;
	c->name = mem_strdup(p->topic);
	c->partition = p->partition;
	loop_post(s->init.control, &c->msg);
}

/* ---- timers ---- */

static void proposing_tick(void *ctx)
{
	struct shard *s = ctx;
	int64_t now = shard_now_ms(s);
	LIST_FOR_SAFE(it, tmp, &s->proposing) {
		struct partition *p = LIST_ENTRY(it, struct partition, proposing_link);
		struct replica_out out;
		partition_count_idle_followers(p);
		replica_on_tick(&p->core, false, now, &out);
		/* after a rejection it stays until it may propose again: idle followers were counted above */
		if (!p->core.pending && !replica_suspended(&p->core) && now >= p->core.propose_after_ms)
			list_remove(&p->proposing_link);
		partition_do(p, &out);
	}
	if (!list_empty(&s->proposing))
		timer_set_ms(&s->proposing_timer, PROPOSING_TICK_MS);
}

void shard_watch_proposal(struct shard *s, struct partition *p)
{
	if (p->proposing_link.next == &p->proposing_link)
		list_push_back(&s->proposing, &p->proposing_link);
	if (!timer_armed(&s->proposing_timer))
		timer_set_ms(&s->proposing_timer, PROPOSING_TICK_MS);
}

static void lag_tick(void *ctx)
{
	struct shard *s = ctx;
	int64_t now = shard_now_ms(s);
	LIST_FOR_SAFE(it, tmp, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		struct replica_out out;
		if (p->dir && atomic_load(&p->dir->offline))
			partition_dir_failed(p, LOG_ERR_OFFLINE);
		if (!partition_is_leader(p))
			continue;
		partition_count_idle_followers(p);
		replica_on_tick(&p->core, true, now, &out);
		partition_do(p, &out);
	}
	timer_set_ms(&s->lag_timer, s->config->replica_lag_time_max_ms / 2);
}

static void maintain_tick(void *ctx)
{
	struct shard *s = ctx;
	int64_t wall = env_wall_ms(s->env);
	struct list *it = s->maintain_next ? &s->maintain_next->all_link : s->all.next;
	for (int n = 0; n < MAINTAIN_SLICE && it != &s->all; n++) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		it = it->next;
		if (partition_is_open(p) && p->state != PARTITION_TRUNCATING)
			log_maintain(p->log, wall);
	}
	s->maintain_next = it == &s->all ? NULL : LIST_ENTRY(it, struct partition, all_link);
	timer_set_ms(&s->maintain_timer, s->maintain_next ? 0 : s->config->retention_check_interval_ms);
}

/* ---- life ---- */

struct shard *shard_new(const struct shard_init *init)
{
	struct shard *s = MEM_NEW(struct shard);
	s->init = *init;
	s->env = init->env;
	s->loop = init->loop;
	s->idx = init->idx;
	s->config = init->config;
	s->bucket_count = BUCKETS_FIRST;
	s->buckets = mem_zalloc(BUCKETS_FIRST * sizeof(struct partition *));
	list_init(&s->all);
	list_init(&s->to_create);
	list_init(&s->starts_due);
	list_init(&s->starts_asked);
	list_init(&s->old);
	list_init(&s->fetchers);
	list_init(&s->proposing);
	s->budget = recv_budget_new(init->config->receive_budget_bytes / (init->shard_count ? init->shard_count : 1));
	produce_init(s);
	offsets_init(s);
	delete_init(s);
	return s;
}

void shard_set_dirs(struct shard *s, struct log_dirs *dirs)
{
	s->init.dirs = dirs;
}

void shard_set_listener(struct shard *s, const struct shard_listener *listener)
{
	s->listener = *listener;
}

struct log *shard_led_log(struct shard *s, struct slice topic, int32_t partition, int32_t leader_epoch)
{
	struct partition *p = shard_find(s, topic, partition);
	return p && partition_is_leader(p) && p->core.leader_epoch == leader_epoch && !s->stopping ? p->log : NULL;
}

int64_t shard_led_high_watermark(struct shard *s, struct slice topic, int32_t partition, int32_t leader_epoch)
{
	return shard_led_log(s, topic, partition, leader_epoch) ? shard_find(s, topic, partition)->core.high_watermark : -1;
}

bool shard_leads(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition)
{
	struct partition *p = shard_adopt(s, im, t, partition);
	return p && partition_is_leader(p);
}

bool shard_leads_soon(struct shard *s, const struct image_topic *t, int32_t partition)
{
	const struct image_partition *ip = image_topic_partition(t, partition);
	const struct partition *p = shard_find_topic(s, t, partition);
	return ip && p && ip->leader == s->config->broker_id && partition_serves_soon(p);
}

struct image *shard_image(const struct shard *s)
{
	return s->image;
}

void shard_activate(struct shard *s)
{
	loop_assert_owner(s->loop);
	if (s->active)
		return;
	s->active = true;
	timer_init(&s->proposing_timer, s->loop, proposing_tick, s);
	timer_init(&s->lag_timer, s->loop, lag_tick, s);
	timer_init(&s->maintain_timer, s->loop, maintain_tick, s);
	timer_set_ms(&s->lag_timer, s->config->replica_lag_time_max_ms / 2);
	timer_set_ms(&s->maintain_timer, s->config->retention_check_interval_ms);
}

void shard_free(struct shard *s)
{
	if (!s)
		return;
	s->stopping = true;
	produce_fini(s);
	offsets_fini(s);
	delete_fini(s);
	fetchers_free(s);
	struct list *lists[] = {&s->all, &s->old};
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		while (!list_empty(lists[i])) {
			struct partition *p = LIST_ENTRY(lists[i]->next, struct partition, all_link);
			/* a log that is still open died with its loop; a job under way keeps its own memory; watches belong to fetch heads, whose memory may be gone already */
			list_init(&p->watches);
			partition_free(p);
		}
	for (uint32_t i = 0; i < s->writeback_count; i++)
		writeback_fini(&s->writebacks[i]);
	mem_free(s->writebacks);
	recv_budget_unref(s->budget);
	image_unref(s->image);
	mem_free(s->buckets);
	mem_free(s);
}

/* ---- load ---- */

static void load_returned(struct msg *msg)
{
	struct shard_load *m = CONTAINER_OF(msg, struct shard_load, msg);
	m->done(m);
}

static void shard_on_load(struct msg *msg)
{
	struct shard_load *m = CONTAINER_OF(msg, struct shard_load, msg);
	struct shard *s = m->shard;
	shard_activate(s);
	struct slice topic = slice_str(m->found->topic);
	struct partition *p = shard_find(s, topic, m->found->partition);
	if ((p && p->state != PARTITION_ABSENT) || s->stopping) {
		/* the same partition in two directories: the second one is left alone */
		m->err = ERR_EXIST;
		m->msg.deliver = load_returned;
		loop_post(msg->from, &m->msg);
		return;
	}
	if (!p)
		p = shard_add(s, topic, &m->found->topic_id, m->found->partition);
	partition_open(p, m->dir, false, m);
}

void shard_post_load(struct shard_load *m)
{
	m->msg.deliver = shard_on_load;
	loop_post(m->shard->loop, &m->msg);
}

/* ---- orders ---- */

static void order_returned(struct msg *msg)
{
	struct shard_order_msg *m = CONTAINER_OF(msg, struct shard_order_msg, msg);
	m->done(m);
}

static void order_reply(struct shard_order_msg *m)
{
	m->msg.deliver = order_returned;
	loop_post(m->msg.from, &m->msg);
}

static void add_row(struct shard_order_msg *m, size_t *cap, const struct partition *p)
{
	size_t c = *cap;
	MEM_GROW(m->rows, c, m->row_count + 1);
	*cap = c;
	m->rows[m->row_count++] = (struct shard_checkpoint_row){
		.topic = mem_strdup(p->topic), .partition = p->partition, .dir = p->dir, .recovery_point = log_recovery_point(p->log),
		.log_start_offset = log_start_offset(p->log), .high_watermark = p->high_watermark,
		.log_start_past_first_segment = log_start_offset(p->log) > log_first_segment_base(p->log),
		.topic_id = p->topic_id, .last_epoch = log_latest_epoch(p->log), .log_end_offset = log_end_offset(p->log),
	};
}

static void order_checkpoint(struct shard *s, struct shard_order_msg *m)
{
	size_t cap = 0;
	m->rows = NULL;
	m->row_count = 0;
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		if (partition_is_open(p))
			add_row(m, &cap, p);
	}
}

/* Replicas on directories that failed, and what is assigned, not found and not new while a directory cannot be looked into. */
static void order_lost(struct shard *s, struct shard_order_msg *m)
{
	const struct log_dirs *dirs = s->init.dirs;
	bool any = false;
	size_t cap = 0;
	for (uint32_t i = 0; i < dirs->count; i++)
		any |= atomic_load(&dirs->dirs[i]->offline);
	LIST_FOR_SAFE(it, tmp, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		bool there = p->dir && atomic_load(&p->dir->offline);
		if (there)
			partition_dir_failed(p, LOG_ERR_OFFLINE);
		if (!(there && p->state == PARTITION_FAILED) && !(any && p->state == PARTITION_ABSENT && p->missing))
			continue;
		MEM_GROW(m->rows, cap, m->row_count + 1);
		m->rows[m->row_count++] = (struct shard_checkpoint_row){.topic = mem_strdup(p->topic), .partition = p->partition, .dir = p->dir, .topic_id = p->topic_id};
	}
}

static int by_topic_name(const void *a, const void *b)
{
	return strcmp(((const struct shard_topic_row *)a)->topic, ((const struct shard_topic_row *)b)->topic);
}

/* One row a partition, sorted, then neighbours of the same topic added up. */
static void topic_rows(struct shard *s, struct shard_order_msg *m)
{
	uint32_t n = 0, kept = 0;
	struct shard_topic_row *rows = mem_zalloc(sizeof(*rows) * (s->partition_count + 1));
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		if (n == s->partition_count)
			break;
		uint32_t assigned = 0;
		for (uint32_t i = 0; i < p->core.peer_count; i++)
			assigned += p->core.peers[i].assigned;
		rows[n++] = (struct shard_topic_row){
			.topic = p->topic, .bytes_in = p->bytes_in, .records_in = p->records_in, .bytes_out = p->bytes_out, .records_out = p->records_out,
			.log_bytes = partition_is_open(p) ? log_bytes(p->log) : 0, .partitions = 1, .led = partition_is_leader(p),
			.under_replicated = partition_is_leader(p) && p->core.isr_count < assigned,
			.offline = p->state == PARTITION_FAILED || (p->core.leader_epoch >= 0 && p->core.leader < 0),
			.max_lag = p->follow.fetcher ? p->follow.lag : 0,
		};
	}
	qsort(rows, n, sizeof(*rows), by_topic_name);
	for (uint32_t i = 0; i < n; i++) {
		struct shard_topic_row *to = kept ? &rows[kept - 1] : NULL;
		if (!to || strcmp(to->topic, rows[i].topic)) {
			if (kept == SHARD_TOPIC_ROWS_MAX)
				break;
			rows[kept] = rows[i];
			rows[kept].topic = mem_strdup(rows[i].topic);
			kept++;
			continue;
		}
		to->bytes_in += rows[i].bytes_in;
		to->records_in += rows[i].records_in;
		to->bytes_out += rows[i].bytes_out;
		to->records_out += rows[i].records_out;
		to->log_bytes += rows[i].log_bytes;
		to->partitions++;
		to->led += rows[i].led;
		to->under_replicated += rows[i].under_replicated;
		to->offline += rows[i].offline;
		if (rows[i].max_lag > to->max_lag)
			to->max_lag = rows[i].max_lag;
	}
	m->topics = rows;
	m->topic_count = kept;
}

static void order_stats(struct shard *s, struct shard_order_msg *m)
{
	m->topics = NULL;
	m->topic_count = 0;
	if (m->want_topics)
		topic_rows(s, m);
	struct shard_stats *st = &m->stats;
	*st = (struct shard_stats){
		.isr_shrinks = s->isr_shrinks, .isr_expands = s->isr_expands, .leader_changes = s->leader_changes, .truncations = s->truncations,
		.bytes_in = s->bytes_in, .bytes_out = s->bytes_out, .records_in = s->records_in,
	};
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		uint32_t assigned = 0;
		for (uint32_t i = 0; i < p->core.peer_count; i++)
			assigned += p->core.peers[i].assigned;
		st->partitions++;
		st->at_old_format += p->state == PARTITION_OLD_FORMAT;
		st->offline += p->state == PARTITION_FAILED || (p->core.leader_epoch >= 0 && p->core.leader < 0);
		st->stray += p->state == PARTITION_IDLE && p->core.leader_epoch < 0;
		if (partition_is_open(p))
			st->bytes += log_bytes(p->log);
		if (partition_is_leader(p)) {
			st->led++;
			st->under_replicated += p->core.isr_count < assigned;
			st->under_min_isr += !replica_enough(&p->core);
		} else if (p->follow.fetcher && p->follow.lag > st->max_lag) {
			st->max_lag = p->follow.lag;
		}
	}
	LIST_FOR(it, &s->old)
		st->stray++;
}

void shard_partition_stopped(struct shard *s, struct partition *p, int err)
{
	struct shard_order_msg *m = s->stop_order;
	if (!m)
		return;
	if (err && !m->err)
		m->err = err;
	/* the log is gone: its row says that everything was flushed */
	if (p && p->log) {
		p->log = NULL;
		for (uint32_t i = 0; i < m->row_count; i++)
			if (m->rows[i].partition == p->partition && m->rows[i].dir == p->dir && !strcmp(m->rows[i].topic, p->topic) && err)
				m->rows[i] = m->rows[--m->row_count];
	}
	ASSERT(m->stats.partitions > 0);
	if (--m->stats.partitions == 0) {
		s->stop_order = NULL;
		order_reply(m);
	}
}

static void order_stop(struct shard *s, struct shard_order_msg *m)
{
	s->stopping = true;
	s->stop_order = m;
	timer_stop(&s->lag_timer);
	timer_stop(&s->maintain_timer);
	timer_stop(&s->proposing_timer);
	timer_stop(&s->produce_timer);
	order_checkpoint(s, m);
	for (uint32_t i = 0; i < m->row_count; i++) {
		struct partition *p = shard_find(s, slice_str(m->rows[i].topic), m->rows[i].partition);
		m->rows[i].recovery_point = log_end_offset(p->log);
	}
	/* stats.partitions counts those that are left; one more for ourselves, so that it ends once */
	m->stats.partitions = 1;
	LIST_FOR(it, &s->all)
		m->stats.partitions++;
	LIST_FOR(it, &s->old)
		m->stats.partitions++;
	LIST_FOR_SAFE(it, tmp, &s->all)
		partition_stop(LIST_ENTRY(it, struct partition, all_link));
	LIST_FOR_SAFE(it, tmp, &s->old)
		partition_stop(LIST_ENTRY(it, struct partition, all_link));
	fetchers_free(s);
	shard_partition_stopped(s, NULL, 0);
}

static void suspend_acks01(struct shard *s, bool suspended)
{
	if (suspended && !s->acks01_suspended)
		s->acks01_suspended_ms = shard_now_ms(s);
	s->acks01_suspended = suspended;
	if (suspended)
		return;
	LIST_FOR_SAFE(it, tmp, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		struct replica_out out;
		replica_on_confirmed(&p->core, &out);
		partition_do(p, &out);
		if (!out.acts && !list_empty(&p->parked))
			produce_unpark(p);
	}
}

static void shard_on_order(struct msg *msg)
{
	struct shard_order_msg *m = CONTAINER_OF(msg, struct shard_order_msg, msg);
	struct shard *s = m->shard;
	shard_activate(s);
	m->err = 0;
	switch (m->order) {
	case SHARD_SUSPEND_ACKS01: suspend_acks01(s, true); break;
	case SHARD_RESUME_ACKS01: suspend_acks01(s, false); break;
	case SHARD_CHECKPOINT: order_checkpoint(s, m); break;
	case SHARD_STATS: order_stats(s, m); break;
	case SHARD_LOST: order_lost(s, m); break;
	case SHARD_STOP:
		if (!s->stopping) {
			order_stop(s, m);
			return;
		}
		break;
	}
	order_reply(m);
}

void shard_post_order(struct shard_order_msg *m)
{
	m->msg.deliver = shard_on_order;
	loop_post(m->shard->loop, &m->msg);
}
