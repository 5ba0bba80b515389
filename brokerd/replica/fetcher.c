/* fetcher.c: connections to leaders, their fetch sessions and rounds; see fetcher.h. What an answer does to a partition is in follow.c. */
#include <stdio.h>

#include "common/base/version.h"
#include "brokerd/replica/fetcher_priv.h"

#define API_FETCH 1
#define CONNECT_TIMEOUT_MS 10000
#define REQUEST_TIMEOUT_MS 30000
#define FRAME_SLACK (1 << 20)      /* beyond the records: headers of many partitions */
#define LINGER_US 2000000          /* a connection without partitions stays: for deposing fetches, and leaders that come back */
#define RETRY_LEAST_US 50000
#define RETRY_MOST_US 500000
#define OWN_APPENDS_US 1000

static void run(void *ctx);
static void timer_fired(void *ctx);
static void peer_ready(void *ctx);
static void peer_gone(void *ctx, int err);

/* ---- fetchers ---- */

static struct fetcher *find(struct shard *s, int32_t broker)
{
	LIST_FOR(it, &s->fetchers) {
		struct fetcher *f = LIST_ENTRY(it, struct fetcher, link);
		if (f->broker == broker)
			return f;
	}
	return NULL;
}

static struct fetcher *get(struct shard *s, int32_t broker)
{
	struct fetcher *f = find(s, broker);
	if (f)
		return f;
	f = MEM_NEW(struct fetcher);
	f->s = s;
	f->broker = broker;
	snprintf(f->client_id, sizeof(f->client_id), "broker-%d-fetcher-%u", s->config->broker_id, s->idx);
	/* the leader's loop of the same number takes the connection over (I1) */
	snprintf(f->software, sizeof(f->software), KLAMM_VERSION "-loop.%u", s->idx);
	list_init(&f->parts);
	list_init(&f->changed);
	list_init(&f->delayed);
	list_init(&f->forget);
	list_init(&f->deposes);
	for (unsigned i = 0; i < ARRAY_LEN(f->rounds); i++)
		f->rounds[i].f = f;
	timer_init(&f->timer, s->loop, timer_fired, f);
	deferred_init(&f->run, run, f);
	f->idle_since_us = loop_now_us(s->loop);
	list_push_back(&s->fetchers, &f->link);
	return f;
}

static void forget_free(struct forget_item *it)
{
	list_remove(&it->link);
	mem_free(it->topic);
	mem_free(it);
}

static void depose_free(struct depose_item *it)
{
	list_remove(&it->link);
	mem_free(it->topic);
	mem_free(it);
}

static void drop_items(struct fetcher *f)
{
	while (!list_empty(&f->forget))
		forget_free(LIST_ENTRY(f->forget.next, struct forget_item, link));
	while (!list_empty(&f->deposes))
		depose_free(LIST_ENTRY(f->deposes.next, struct depose_item, link));
}

static void fetcher_free(struct fetcher *f)
{
	timer_stop(&f->timer);
	deferred_cancel(f->s->loop, &f->run);
	peer_close(f->peer);
	drop_items(f);
	list_remove(&f->link);
	mem_free(f->host);
	mem_free(f);
}

void fetchers_free(struct shard *s)
{
	while (!list_empty(&s->fetchers)) {
		struct fetcher *f = LIST_ENTRY(s->fetchers.next, struct fetcher, link);
		LIST_FOR(it, &s->all)
			if (LIST_ENTRY(it, struct partition, all_link)->follow.append_fetcher == f)
				LIST_ENTRY(it, struct partition, all_link)->follow.append_fetcher = NULL;
		LIST_FOR(it, &s->old)
			if (LIST_ENTRY(it, struct partition, all_link)->follow.append_fetcher == f)
				LIST_ENTRY(it, struct partition, all_link)->follow.append_fetcher = NULL;
		while (!list_empty(&f->parts)) {
			struct partition *p = LIST_ENTRY(f->parts.next, struct partition, follow.link);
			list_remove(&p->follow.link);
			list_remove(&p->follow.work);
			p->follow.fetcher = NULL;
			p->follow.generation++;
		}
		fetcher_free(f);
	}
}

void fetcher_kick(struct fetcher *f)
{
	loop_defer(f->s->loop, &f->run);
}

static void wake_at(struct fetcher *f, int64_t due_us)
{
	int64_t now = loop_now_us(f->s->loop);
	if (!timer_armed(&f->timer) || f->timer.due_us > due_us)
		timer_set_us(&f->timer, due_us > now ? due_us - now : 0);
}

/* ---- partitions ---- */

/* What the session does not know is nothing to it any more. */
static void session_reset(struct fetcher *f)
{
	f->session_id = 0;
	f->session_epoch = 0;
	f->session_generation++;
	while (!list_empty(&f->forget))
		forget_free(LIST_ENTRY(f->forget.next, struct forget_item, link));
	LIST_FOR(it, &f->parts) {
		struct partition *p = LIST_ENTRY(it, struct partition, follow.link);
		p->follow.in_session = false;
		if (p->follow.state == FOLLOW_READY && list_empty(&p->follow.work))
			list_push_back(&f->changed, &p->follow.work);
	}
}

static void forget_add(struct fetcher *f, struct slice topic, const struct uuid *topic_id, int32_t partition)
{
	struct forget_item *it = MEM_NEW(struct forget_item);
	it->topic = mem_strndup((const char *)topic.ptr, topic.len);
	it->topic_id = *topic_id;
	it->partition = partition;
	list_push_back(&f->forget, &it->link);
}

static void forget(struct fetcher *f, struct partition *p)
{
	if (!p->follow.in_session)
		return;
	p->follow.in_session = false;
	if (f->session_id != 0)
		forget_add(f, slice_make(p->topic, p->topic_len), &p->topic_id, p->partition);
}

/* The leader's session holds what we do not follow in it: what went while the round that made the session was under way, when there was
 * nothing yet to be forgotten. It would end every round at once, with an error. */
static void forget_unfollowed(struct fetcher *f, const struct kp_fetch_response *resp)
{
	for (int32_t i = 0; i < resp->responses_count; i++) {
		const struct kp_fetch_response_responses *t = &resp->responses[i];
		const struct image_topic *it = f->session_by_id ? image_find_topic_id(f->s->image, &t->topic_id) : NULL;
		struct slice name = it ? slice_str(it->name) : t->topic;
		for (int32_t k = 0; k < t->partitions_count; k++) {
			int32_t partition = t->partitions[k].partition_index;
			const struct partition *p = shard_find(f->s, name, partition);
			if (!p || p->follow.fetcher != f || !p->follow.in_session || (f->session_by_id && !uuid_eq(&p->topic_id, &t->topic_id)))
				forget_add(f, name, &t->topic_id, partition);
		}
	}
}

void fetcher_mark(struct partition *p)
{
	struct follow *fo = &p->follow;
	struct fetcher *f = fo->fetcher;
	if (!f)
		return;
	if (log_next_offset(p->log) != log_end_offset(p->log)) {
		/* we led until now, and what producers gave us then is still being written: where our log ends is known behind it */
		fetcher_delay(p, OWN_APPENDS_US);
		return;
	}
	fo->state = FOLLOW_READY;
	list_remove(&fo->work);
	if (!fo->in_session || fo->sent_offset != log_end_offset(p->log) || fo->sent_epoch != p->core.leader_epoch ||
	    fo->sent_last_epoch != follow_last_epoch(p) || fo->sent_start != partition_filed_start(p))
		list_push_back(&f->changed, &fo->work);
	fetcher_kick(f);
}

void fetcher_start_filed(struct partition *p)
{
	if (p->follow.fetcher && p->follow.state == FOLLOW_READY)
		fetcher_mark(p);
}

void fetcher_delay(struct partition *p, int64_t us)
{
	struct follow *fo = &p->follow;
	fo->state = FOLLOW_DELAYED;
	fo->due_us = loop_now_us(p->shard->loop) + us;
	list_remove(&fo->work);
	list_push_back(&fo->fetcher->delayed, &fo->work);
	forget(fo->fetcher, p);
	wake_at(fo->fetcher, fo->due_us);
}

void fetcher_set_busy(struct partition *p)
{
	p->follow.state = FOLLOW_BUSY;
	list_remove(&p->follow.work);
	forget(p->follow.fetcher, p);
}

void fetcher_set_failed(struct partition *p)
{
	p->follow.state = FOLLOW_FAILED;
	list_remove(&p->follow.work);
	forget(p->follow.fetcher, p);
}

void fetcher_unbusy(struct fetcher *f)
{
	ASSERT(f->busy > 0);
	if (--f->busy == 0)
		fetcher_kick(f);
}

void fetcher_add(struct partition *p)
{
	struct follow *fo = &p->follow;
	struct shard *s = p->shard;
	ASSERT(!fo->fetcher);
	if (s->stopping)
		return;
	struct fetcher *f = get(s, p->core.leader);
	fo->fetcher = f;
	fo->generation++;
	fo->in_session = false;
	fo->since_us = loop_now_us(s->loop);
	fo->lag = 0;
	list_push_back(&f->parts, &fo->link);
	f->part_count++;
	fo->without_id = uuid_is_zero(&p->topic_id);
	f->no_id_count += fo->without_id;
	fo->state = FOLLOW_BUSY;
	fetcher_kick(f);
	/* an append of the former leader's answer is still being written: append_done goes on */
	if (!fo->appending)
		follow_start(p);
}

void fetcher_remove(struct partition *p)
{
	struct follow *fo = &p->follow;
	struct fetcher *f = fo->fetcher;
	if (!f)
		return;
	forget(f, p);
	fo->fetcher = NULL;
	fo->generation++;
	list_remove(&fo->link);
	list_remove(&fo->work);
	f->part_count--;
	f->no_id_count -= fo->without_id;
	if (f->part_count == 0)
		f->idle_since_us = loop_now_us(f->s->loop);
	fetcher_kick(f);
}

void fetcher_truncated(struct partition *p)
{
	if (!p->follow.fetcher)
		return;
	fetcher_mark(p);
}

void fetcher_depose(struct shard *s, int32_t old_leader, const struct partition *p)
{
	if (s->stopping || !p->log)
		return;
	struct fetcher *f = get(s, old_leader);
	struct depose_item *it = MEM_NEW(struct depose_item);
	it->topic = mem_strndup(p->topic, p->topic_len);
	it->topic_id = p->topic_id;
	it->partition = p->partition;
	it->epoch = p->core.leader_epoch;
	it->last_epoch = follow_last_epoch(p);
	it->offset = log_end_offset(p->log);
	it->log_start = log_start_offset(p->log);
	list_push_back(&f->deposes, &it->link);
	if (f->part_count == 0)
		f->idle_since_us = loop_now_us(s->loop);
	fetcher_kick(f);
}

/* ---- connection ---- */

static int64_t jitter(struct fetcher *f, int64_t lo, int64_t hi)
{
	return lo + (int64_t)env_random_below(f->s->env, (uint64_t)(hi - lo));
}

static void connect_now(struct fetcher *f)
{
	static const struct peer_events events = {peer_ready, peer_gone};
	struct shard *s = f->s;
	const struct image_broker *b = s->image ? image_find_broker(s->image, f->broker) : NULL;
	const struct image_endpoint *ep = b ? image_broker_endpoint(b, s->config->inter_broker_listener) : NULL;
	if (!ep) {
		/* the image will say where it is */
		f->retry_due_us = loop_now_us(s->loop) + RETRY_MOST_US;
		wake_at(f, f->retry_due_us);
		return;
	}
	mem_free(f->host);
	f->host = mem_strdup(ep->host);
	f->broker_epoch = b->broker_epoch;
	f->port = ep->port;
	struct peer_config cfg = {
		.host = f->host, .port = f->port, .client_id = f->client_id, .software_version = f->software, .connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.frame_bytes_max = (uint32_t)s->config->replica_fetch_response_max_bytes + (uint32_t)s->config->replica_fetch_max_bytes + FRAME_SLACK * 16u,
		.budget = s->budget,
	};
	f->peer = peer_open(s->loop, &cfg, &events, f);
}

static void peer_ready(void *ctx)
{
	struct fetcher *f = ctx;
	f->ready = true;
	LOG_AT(f->s->env->log, LOG_INFO, "fetcher", "connected", "leader=%d loop=%u host=%s port=%u partitions=%u", f->broker, f->s->idx, LOGQ(f->host),
	       f->port, f->part_count);
	fetcher_kick(f);
}

static void lost(struct fetcher *f)
{
	f->peer = NULL;
	f->ready = false;
	f->in_flight = 0;
	f->rounds[0].in_use = f->rounds[1].in_use = false;
	session_reset(f);
	drop_items(f);
	f->retry_due_us = loop_now_us(f->s->loop) + jitter(f, RETRY_LEAST_US, RETRY_MOST_US);
	wake_at(f, f->retry_due_us);
}

static void peer_gone(void *ctx, int err)
{
	struct fetcher *f = ctx;
	LOG_AT(f->s->env->log, LOG_INFO, "fetcher", "disconnected", "leader=%d loop=%u err=%s partitions=%u", f->broker, f->s->idx, err_str(err), f->part_count);
	lost(f);
}

void fetchers_brokers_changed(struct shard *s)
{
	LIST_FOR(it, &s->fetchers) {
		struct fetcher *f = LIST_ENTRY(it, struct fetcher, link);
		const struct image_broker *b = image_find_broker(s->image, f->broker);
		const struct image_endpoint *ep = b ? image_broker_endpoint(b, s->config->inter_broker_listener) : NULL;
		/* another life of it: what we are connected to is gone, whether the network tells us or not */
		if (f->peer && ep && (strcmp(ep->host, f->host) != 0 || ep->port != f->port || b->broker_epoch > f->broker_epoch)) {
			peer_close(f->peer);
			lost(f);
			f->retry_due_us = 0;
		}
		if (!f->peer && ep)
			f->retry_due_us = 0; /* it may just have come back */
		fetcher_kick(f);
	}
}

/* ---- requests ---- */

struct builder {
	struct arena arena;
	struct kp_fetch_request req;
	struct kp_fetch_request_topics *topics;
	int32_t topic_count;
	bool by_id;
};

static void build_begin(struct builder *b, struct fetcher *f, bool by_id)
{
	const struct replica_config *cfg = f->s->config;
	arena_init(&b->arena, 0);
	kp_fetch_request_init(&b->req);
	const struct image_broker *me = f->s->image ? image_find_broker(f->s->image, cfg->broker_id) : NULL;
	b->req.replica_id = b->req.replica_state.replica_id = cfg->broker_id;
	b->req.replica_state.replica_epoch = me ? me->broker_epoch : -1;
	b->req.max_wait_ms = (int32_t)cfg->replica_fetch_wait_max_ms;
	b->req.min_bytes = cfg->replica_fetch_min_bytes;
	b->req.max_bytes = cfg->replica_fetch_response_max_bytes;
	b->by_id = by_id;
}

/* Partitions of one topic that follow each other share an entry. */
static struct kp_fetch_request_topics_partitions *build_add(struct builder *b, struct kp_fetch_request_topics *topics,
	struct kp_fetch_request_topics_partitions *parts, int32_t n, const char *topic, const struct uuid *id)
{
	struct slice name = slice_str(topic);
	struct kp_fetch_request_topics *t = b->topic_count ? &topics[b->topic_count - 1] : NULL;
	if (!t || !(b->by_id ? uuid_eq(&t->topic_id, id) : slice_eq(t->topic, name))) {
		t = &topics[b->topic_count++];
		kp_fetch_request_topics_init(t);
		t->topic = name;
		t->topic_id = *id;
		t->partitions = &parts[n];
	}
	t->partitions_count++;
	kp_fetch_request_topics_partitions_init(&parts[n]);
	return &parts[n];
}

static int32_t list_count(const struct list *l)
{
	int32_t n = 0;
	LIST_FOR(it, l)
		n++;
	return n;
}

static void build_changed(struct builder *b, struct fetcher *f)
{
	int32_t n = list_count(&f->changed), i = 0;
	struct kp_fetch_request_topics *topics = arena_alloc(&b->arena, ((size_t)n + 1) * sizeof(*topics));
	struct kp_fetch_request_topics_partitions *parts = arena_alloc(&b->arena, ((size_t)n + 1) * sizeof(*parts));
	while (!list_empty(&f->changed)) {
		struct partition *p = LIST_ENTRY(list_pop_front(&f->changed), struct partition, follow.work);
		struct follow *fo = &p->follow;
		struct kp_fetch_request_topics_partitions *rp = build_add(b, topics, parts, i++, p->topic, &p->topic_id);
		rp->partition = p->partition;
		rp->current_leader_epoch = fo->sent_epoch = p->core.leader_epoch;
		rp->fetch_offset = fo->sent_offset = log_end_offset(p->log);
		rp->last_fetched_epoch = fo->sent_last_epoch = follow_last_epoch(p);
		rp->log_start_offset = fo->sent_start = partition_filed_start(p);
		rp->partition_max_bytes = f->s->config->replica_fetch_max_bytes;
		fo->sent_round = f->round_number;
		fo->in_session = true;
	}
	b->req.topics = topics;
	b->req.topics_count = b->topic_count;
}

static void build_forget(struct builder *b, struct fetcher *f)
{
	int32_t n = list_count(&f->forget), i = 0;
	struct kp_fetch_request_forgotten_topics_data *t = arena_zalloc(&b->arena, ((size_t)n + 1) * sizeof(*t));
	while (!list_empty(&f->forget)) {
		struct forget_item *it = LIST_ENTRY(f->forget.next, struct forget_item, link);
		/* named again in this very request: the leader would add it and forget it */
		struct partition *p = shard_find(f->s, slice_str(it->topic), it->partition);
		if (!p || p->follow.fetcher != f || !p->follow.in_session || (b->by_id && !uuid_eq(&p->topic_id, &it->topic_id))) {
			kp_fetch_request_forgotten_topics_data_init(&t[i]);
			t[i].topic = slice_make(arena_strndup(&b->arena, it->topic, strlen(it->topic)), strlen(it->topic));
			t[i].topic_id = it->topic_id;
			t[i].partitions = arena_alloc(&b->arena, sizeof(int32_t));
			t[i].partitions[0] = it->partition;
			t[i].partitions_count = 1;
			i++;
		}
		forget_free(it);
	}
	b->req.forgotten_topics_data = t;
	b->req.forgotten_topics_data_count = i;
}

static void round_done(struct peer_request *r, int err, struct slice body, struct buf *frame);

static void send_round(struct fetcher *f, int16_t version)
{
	struct fetch_round *round = f->rounds[0].in_use ? &f->rounds[1] : &f->rounds[0];
	struct builder b = {0};
	ASSERT(!round->in_use);
	if (f->session_id && f->session_by_id != (version >= 13))
		session_reset(f);
	round->full = f->session_id == 0;
	round->number = ++f->round_number;
	build_begin(&b, f, version >= 13);
	build_changed(&b, f);
	if (!round->full)
		build_forget(&b, f);
	b.req.session_id = f->session_id;
	b.req.session_epoch = round->full ? 0 : f->session_epoch;
	if (!round->full)
		f->session_epoch = f->session_epoch == INT32_MAX ? 1 : f->session_epoch + 1;
	f->session_by_id = version >= 13;
	round->in_use = true;
	round->session_generation = f->session_generation;
	round->req.done = round_done;
	round->req.ctx = round;
	f->in_flight++;
	peer_send(f->peer, &round->req, API_FETCH, version, &b.req, REQUEST_TIMEOUT_MS + b.req.max_wait_ms);
	arena_fini(&b.arena);
}

struct depose_round {
	struct peer_request req;
};

static void depose_done(struct peer_request *r, int err, struct slice body, struct buf *frame)
{
	(void)err, (void)body, (void)frame;
	mem_free(CONTAINER_OF(r, struct depose_round, req));
}

/* Sessionless, wants nothing, waits for nothing: only the epochs matter. */
static void send_deposes(struct fetcher *f, int16_t version)
{
	struct builder b = {0};
	int32_t n = list_count(&f->deposes), i = 0;
	build_begin(&b, f, version >= 13);
	struct kp_fetch_request_topics *topics = arena_alloc(&b.arena, ((size_t)n + 1) * sizeof(*topics));
	struct kp_fetch_request_topics_partitions *parts = arena_alloc(&b.arena, ((size_t)n + 1) * sizeof(*parts));
	while (!list_empty(&f->deposes)) {
		struct depose_item *it = LIST_ENTRY(f->deposes.next, struct depose_item, link);
		const char *topic = arena_strndup(&b.arena, it->topic, strlen(it->topic));
		struct kp_fetch_request_topics_partitions *rp = build_add(&b, topics, parts, i++, topic, &it->topic_id);
		rp->partition = it->partition;
		rp->current_leader_epoch = it->epoch;
		rp->fetch_offset = it->offset;
		rp->last_fetched_epoch = it->last_epoch;
		rp->log_start_offset = it->log_start;
		rp->partition_max_bytes = 0;
		depose_free(it);
	}
	b.req.topics = topics;
	b.req.topics_count = b.topic_count;
	b.req.max_wait_ms = b.req.min_bytes = 0;
	b.req.session_epoch = -1;
	struct depose_round *round = MEM_NEW(struct depose_round);
	round->req.done = depose_done;
	peer_send(f->peer, &round->req, API_FETCH, version, &b.req, REQUEST_TIMEOUT_MS);
	arena_fini(&b.arena);
}

/* ---- rounds ---- */

static void pause_round(struct fetcher *f)
{
	f->retry_due_us = loop_now_us(f->s->loop) + jitter(f, RETRY_LEAST_US, RETRY_MOST_US);
	wake_at(f, f->retry_due_us);
}

static void round_done(struct peer_request *r, int err, struct slice body, struct buf *frame)
{
	struct fetch_round *round = CONTAINER_OF(r, struct fetch_round, req);
	struct fetcher *f = round->f;
	struct kp_fetch_response resp;
	struct arena a;
	round->in_use = false;
	if (err)
		return; /* the connection is gone: peer_gone follows */
	f->in_flight--;
	arena_init(&a, 64u << 20);
	err = wire_decode(&kp_fetch_response_desc, r->version, &body, &a, &resp);
	if (err || resp.error_code) {
		LOG_AT(f->s->env->log, LOG_INFO, "fetcher", "round.failed", "leader=%d loop=%u error=%s", f->broker, f->s->idx,
		       err ? err_str(err) : kerr_name(resp.error_code));
		if (round->session_generation == f->session_generation)
			session_reset(f);
		/* 70, 71: the session is gone, which a full fetch mends at once (section 6) */
		if (err || (resp.error_code != KERR_FETCH_SESSION_ID_NOT_FOUND && resp.error_code != KERR_INVALID_FETCH_SESSION_EPOCH))
			pause_round(f);
	} else {
		f->retry_due_us = 0;
		bool current = round->session_generation == f->session_generation;
		if (current && round->full) {
			f->session_id = resp.session_id;
			f->session_epoch = 1;
		}
		if (current && resp.session_id != 0)
			forget_unfollowed(f, &resp);
		follow_response(f, round->number, &resp, frame);
		/* no room for a session there, or it was emptied by forgets: the next round is a full one */
		if (current && resp.session_id == 0)
			session_reset(f);
	}
	arena_fini(&a);
	fetcher_kick(f);
}

static bool anything_followed(const struct fetcher *f)
{
	LIST_FOR(it, &f->parts)
		if (LIST_ENTRY(it, struct partition, follow.link)->follow.in_session)
			return true;
	return !list_empty(&f->forget);
}

static void run_rounds(struct fetcher *f, int64_t now)
{
	int16_t most = f->no_id_count || peer_version(f->peer, API_FETCH, 17) < 13 ? 12 : 17;
	int16_t version = peer_version(f->peer, API_FETCH, most);
	if (version < 12) {
		/* older leaders cannot tell where histories part: never guessed (section 4) */
		LOG_AT(f->s->env->log, LOG_ERROR, "fetcher", "unsupported", "leader=%d fetch_version=%d", f->broker, version);
		peer_close(f->peer);
		lost(f);
		return;
	}
	if (!list_empty(&f->deposes))
		send_deposes(f, version);
	if (f->busy > 0 || now < f->retry_due_us)
		return;
	if (f->in_flight == 0) {
		if (!list_empty(&f->changed) || anything_followed(f))
			send_round(f, version);
	} else if (f->in_flight == 1 && !list_empty(&f->changed) && f->session_id) {
		send_round(f, version); /* does not wait for what waits at the leader */
	}
}

static void end_delays(struct fetcher *f, int64_t now)
{
	int64_t next = INT64_MAX;
	LIST_FOR_SAFE(it, tmp, &f->delayed) {
		struct partition *p = LIST_ENTRY(it, struct partition, follow.work);
		if (p->follow.due_us <= now)
			fetcher_mark(p);
		else if (p->follow.due_us < next)
			next = p->follow.due_us;
	}
	if (next != INT64_MAX)
		wake_at(f, next);
}

static void run(void *ctx)
{
	struct fetcher *f = ctx;
	int64_t now = loop_now_us(f->s->loop);
	end_delays(f, now);
	if (f->part_count == 0 && f->busy == 0 && (list_empty(&f->deposes) || !f->peer)) {
		if (now - f->idle_since_us >= LINGER_US) {
			fetcher_free(f);
			return;
		}
		wake_at(f, f->idle_since_us + LINGER_US);
		if (list_empty(&f->deposes))
			return;
	}
	if (!f->peer) {
		if (now >= f->retry_due_us)
			connect_now(f);
		else
			wake_at(f, f->retry_due_us);
		return;
	}
	if (f->ready)
		run_rounds(f, now);
}

static void timer_fired(void *ctx)
{
	run(ctx);
}
