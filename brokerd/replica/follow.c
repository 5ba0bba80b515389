/* follow.c: what the leader's answers do to a follower: append, high watermark, truncation, reactions to errors
 * (facts/replication.md 2, 4; protocol.md B3, B7).
 *
 * A part of an answer counts only while the partition is where it was when it was asked: same leader epoch, same end, nothing under way.
 */
#include "brokerd/replica/fetcher_priv.h"

#define API_LIST_OFFSETS 2
#define FAST_LEAST_US 10000
#define FAST_MOST_US 50000
#define FAST_FOR_US 10000000 /* how long a leader counts as new (B7) */
#define QUESTION_TIMEOUT_MS 30000

static void append_done(struct log_append *a);

/* What the leader compares with its own history is the epoch of our last record, not of our last reign: a reign without records says
 * nothing about what is in the log, and there would be nothing to cut away when the next leader never heard of it. */
int32_t follow_last_epoch(const struct partition *p)
{
	int64_t end = log_end_offset(p->log);
	return end > log_start_offset(p->log) ? log_epoch_at(p->log, end - 1) : -1;
}

/* The first step with a new leader: section 2, start offset. */
void follow_start(struct partition *p)
{
	int64_t hw = p->high_watermark;
	if (follow_last_epoch(p) < 0 && log_end_offset(p->log) > hw) {
		/* without any epoch the leader cannot tell where histories part: only what is committed is kept */
		partition_truncate(p, hw, false);
		return;
	}
	fetcher_mark(p);
}

int64_t follow_retry_us(const struct partition *p, int16_t error)
{
	bool young = loop_now_us(p->shard->loop) - p->follow.since_us < FAST_FOR_US;
	switch (error) {
	case KERR_NOT_LEADER_OR_FOLLOWER:
	case KERR_FENCED_LEADER_EPOCH:
	case KERR_UNKNOWN_LEADER_EPOCH:
	case KERR_UNKNOWN_TOPIC_OR_PARTITION:
	case KERR_UNKNOWN_TOPIC_ID:
		/* B7: the leader is about to learn what we know */
		if (young)
			return FAST_LEAST_US + (int64_t)env_random_below(p->shard->env, FAST_MOST_US - FAST_LEAST_US);
		break;
	default:
		break;
	}
	return p->shard->config->replica_fetch_backoff_ms * 1000;
}

/* ---- OFFSET_OUT_OF_RANGE: asks the leader where its log begins and ends ---- */

struct question {
	struct peer_request req;
	struct shard *s;
	struct fetcher *f;
	char *topic;
	int32_t partition;
	uint32_t generation;
	int64_t timestamp;
};

static void ask_offset(struct partition *p, int64_t timestamp);

static void answered(struct partition *p, const struct question *q, int64_t offset)
{
	int64_t end = log_end_offset(p->log);
	if (q->timestamp == -1) {
		if (offset < end)
			partition_truncate(p, offset, false);
		else
			ask_offset(p, -2);
		return;
	}
	if (offset > end)
		partition_truncate(p, offset, true);
	else
		fetcher_mark(p);
}

static void question_done(struct peer_request *r, int err, struct slice body, struct buf *frame)
{
	struct question *q = CONTAINER_OF(r, struct question, req);
	struct kp_list_offsets_response resp;
	struct arena a;
	(void)frame;
	arena_init(&a, 1 << 20);
	int16_t error = KERR_UNKNOWN_SERVER_ERROR;
	int64_t offset = -1;
	if (!err)
		err = wire_decode(&kp_list_offsets_response_desc, r->version, &body, &a, &resp);
	if (!err && resp.topics_count == 1 && resp.topics[0].partitions_count == 1) {
		error = resp.topics[0].partitions[0].error_code;
		offset = resp.topics[0].partitions[0].offset;
	}
	arena_fini(&a);
	struct partition *p = shard_find(q->s, slice_str(q->topic), q->partition);
	if (p && p->follow.fetcher && p->follow.generation == q->generation && p->state == PARTITION_FOLLOWER && p->follow.state == FOLLOW_BUSY) {
		if (error || offset < 0)
			fetcher_delay(p, follow_retry_us(p, error));
		else
			answered(p, q, offset);
	}
	mem_free(q->topic);
	mem_free(q);
}

static void ask_offset(struct partition *p, int64_t timestamp)
{
	struct fetcher *f = p->follow.fetcher;
	int16_t version = f->ready ? peer_version(f->peer, API_LIST_OFFSETS, 7) : -1;
	if (version < 4) {
		fetcher_delay(p, p->shard->config->replica_fetch_backoff_ms * 1000);
		return;
	}
	struct kp_list_offsets_request req;
	struct kp_list_offsets_request_topics topic;
	struct kp_list_offsets_request_topics_partitions part;
	kp_list_offsets_request_init(&req);
	kp_list_offsets_request_topics_init(&topic);
	kp_list_offsets_request_topics_partitions_init(&part);
	req.replica_id = p->shard->config->broker_id;
	req.topics = &topic;
	req.topics_count = 1;
	topic.name = slice_make(p->topic, p->topic_len);
	topic.partitions = &part;
	topic.partitions_count = 1;
	part.partition_index = p->partition;
	part.current_leader_epoch = p->core.leader_epoch;
	part.timestamp = timestamp;
	struct question *q = MEM_NEW(struct question);
	q->s = p->shard;
	q->f = f;
	q->topic = mem_strndup(p->topic, p->topic_len);
	q->partition = p->partition;
	q->generation = p->follow.generation;
	q->timestamp = timestamp;
	q->req.done = question_done;
	peer_send(f->peer, &q->req, API_LIST_OFFSETS, version, &req, QUESTION_TIMEOUT_MS);
}

/* ---- errors ---- */

static void on_error(struct partition *p, int16_t error)
{
	LOG_AT(p->shard->env->log, LOG_DEBUG, "fetcher", "partition.error", "topic=%s partition=%d leader=%d epoch=%d error=%s", p->topic, p->partition,
	       p->core.leader, p->core.leader_epoch, kerr_name(error));
	if (error == KERR_OFFSET_OUT_OF_RANGE) {
		fetcher_set_busy(p);
		ask_offset(p, -1);
		return;
	}
	fetcher_delay(p, follow_retry_us(p, error));
}

/* Section 4: the leader's history of what we asked ends at (E, O). */
static void on_divergence(struct partition *p, int32_t epoch, int64_t offset)
{
	int64_t end = log_end_offset(p->log), own_end = -1, to;
	int32_t own_epoch = -1;
	if (offset < 0) {
		to = p->high_watermark;
	} else if (epoch < 0) {
		to = offset;
	} else {
		log_epoch_end(p->log, epoch, &own_epoch, &own_end);
		if (own_epoch < 0 || own_end < 0)
			to = offset;
		else if (own_epoch == epoch)
			to = own_end < offset ? own_end : offset;
		else
			to = own_end; /* and asks again with the epoch that is the last one then */
	}
	if (to > end)
		to = end;
	if (to < log_start_offset(p->log))
		to = log_start_offset(p->log);
	fetcher_set_busy(p);
	partition_truncate(p, to, false);
}

/* ---- records ---- */

static void move_hw(struct partition *p, int64_t leader_hw)
{
	int64_t end = log_end_offset(p->log);
	int64_t hw = leader_hw < end ? leader_hw : end;
	if (hw > p->high_watermark)
		partition_set_hw(p, hw);
	p->follow.lag = leader_hw > end ? leader_hw - end : 0;
}

static void raise_start(struct partition *p, int64_t leader_start)
{
	int64_t to = leader_start < p->high_watermark ? leader_start : p->high_watermark;
	if (to <= log_start_offset(p->log))
		return;
	log_advance_start(p->log, to);
	starts_file(p);
}

static void on_records(struct partition *p, struct slice records, struct buf *frame)
{
	struct follow *fo = &p->follow;
	struct batch first;
	int err = batch_parse(records, &first);
	if (err == LOG_ERR_BAD_MAGIC) {
		LOG_AT(p->shard->env->log, LOG_ERROR, "fetcher", "records.old-format", "topic=%s partition=%d", p->topic, p->partition);
		fetcher_set_failed(p);
		return;
	}
	if (err == ERR_RANGE || (!err && ((size_t)first.total_bytes > records.len || batch_last_offset(&first) < log_end_offset(p->log)))) {
		/* no whole batch, or an answer that crossed the one that brought these: nothing new */
		fetcher_mark(p);
		return;
	}
	if (err) {
		LOG_AT(p->shard->env->log, LOG_WARN, "fetcher", "records.corrupt", "topic=%s partition=%d offset=%lld", p->topic, p->partition,
		       (long long)fo->sent_offset);
		fetcher_delay(p, p->shard->config->replica_fetch_backoff_ms * 1000);
		return;
	}
	/* structure and checksums of all batches are the log's check; a cut last one is left out there */
	fo->state = FOLLOW_BUSY;
	fo->appending = true;
	list_remove(&fo->work);
	fo->append = (struct log_append){
		.origin = LOG_ORIGIN_REPLICA, .buf = buf_ref(frame), .records = records, .batch = first, .leader_epoch = p->core.leader_epoch,
		.now_ms = env_wall_ms(p->shard->env), .done = append_done, .ctx = p,
	};
	fo->append_generation = fo->generation;
	fo->append_fetcher = fo->fetcher;
	fo->fetcher->busy++;
	log_append(p->log, &fo->append);
}

static void append_done(struct log_append *a)
{
	struct partition *p = a->ctx;
	struct follow *fo = &p->follow;
	struct fetcher *f = fo->append_fetcher;
	bool current = fo->fetcher && fo->generation == fo->append_generation;
	fo->appending = false;
	fo->append_fetcher = NULL;
	if (f)
		fetcher_unbusy(f);
	if (a->err == LOG_ERR_OFFLINE || a->err == ERR_IO) {
		partition_dir_failed(p, a->err);
		return;
	}
	if (!fo->fetcher || p->state != PARTITION_FOLLOWER)
		return;
	if (!current) {
		follow_start(p);
		return;
	}
	if (a->err == ERR_NOSPACE || a->err == LOG_ERR_BAD_CRC) {
		fetcher_delay(p, p->shard->config->replica_fetch_backoff_ms * 1000);
		return;
	}
	if (a->err) {
		LOG_AT(p->shard->env->log, LOG_ERROR, "fetcher", "append.refused", "topic=%s partition=%d offset=%lld err=%d", p->topic, p->partition,
		       (long long)fo->sent_offset, a->err);
		fetcher_set_failed(p); /* until the next state */
		return;
	}
	move_hw(p, fo->leader_hw);
	raise_start(p, fo->leader_start);
	fetcher_mark(p);
}

/* ---- answers ---- */

static void on_partition(struct fetcher *f, uint64_t round, struct partition *p, const struct kp_fetch_response_responses_partitions *rp, struct buf *frame)
{
	struct follow *fo = &p->follow;
	/* Used only when nothing changed since it was asked (section 2). An answer to an earlier round than the one that named it last may
	 * come from before a change of epoch, even from a former life of the leader: its records could fit and be of another history. */
	if (round < fo->sent_round)
		return;
	if (fo->fetcher != f || fo->state != FOLLOW_READY || p->state != PARTITION_FOLLOWER || !fo->in_session || fo->appending)
		return;
	if (fo->sent_epoch != p->core.leader_epoch || fo->sent_offset != log_end_offset(p->log)) {
		fetcher_mark(p); /* named anew: the leader would send the same again and again */
		return;
	}
	if (rp->error_code) {
		on_error(p, rp->error_code);
		return;
	}
	if (rp->diverging_epoch.epoch >= 0 || rp->diverging_epoch.end_offset >= 0) {
		on_divergence(p, rp->diverging_epoch.epoch, rp->diverging_epoch.end_offset);
		return;
	}
	fo->leader_hw = rp->high_watermark;
	fo->leader_start = rp->log_start_offset;
	if (rp->records.bytes.len > 0) {
		on_records(p, rp->records.bytes, frame);
		return;
	}
	move_hw(p, rp->high_watermark);
	raise_start(p, rp->log_start_offset);
	fetcher_mark(p);
}

void follow_response(struct fetcher *f, uint64_t round, const struct kp_fetch_response *resp, struct buf *frame)
{
	struct shard *s = f->s;
	for (int32_t i = 0; i < resp->responses_count; i++) {
		const struct kp_fetch_response_responses *t = &resp->responses[i];
		struct slice name = t->topic;
		if (f->session_by_id) {
			const struct image_topic *it = image_find_topic_id(s->image, &t->topic_id);
			if (!it)
				continue;
			name = slice_str(it->name);
		}
		for (int32_t k = 0; k < t->partitions_count; k++) {
			struct partition *p = shard_find(s, name, t->partitions[k].partition_index);
			if (p && (!f->session_by_id || uuid_eq(&p->topic_id, &t->topic_id)))
				on_partition(f, round, p, &t->partitions[k], frame);
		}
	}
}
