/* produce.c: Produce: checks on the connection's loop, one message per owning loop, the answer when all of them are back.
 *
 * Order (protocol.md I3): a connection's requests are checked and posted in the order in which they came. When looking inside is long (large compressed
 * batches), it is done in a job, and the connection hands out nothing more until then. There a batch also gets the codec of its topic (compression.type).
 */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define JOB_BYTES (96 * 1024)  /* compressed bytes in one request from which on they are checked off the loop */
#define RECOMPRESSED_COUNTS 4  /* times as much: compressing is slower than reading */

struct item {
	const struct kp_produce_request_topic_data_partition_data *in;
	struct kp_produce_response_responses_partition_responses *out;
	const struct image_topic *topic;
	struct batch batch;
	struct batch_limits limits;
	struct batch_verdict verdict;
	int8_t codec;    /* of its topic; LOG_CODEC_PRODUCER: as sent */
	int32_t level;
	struct buf *buf; /* the batch in the codec of its topic; NULL: as sent */
	struct slice records;
	bool live;       /* goes to its owner */
};

struct produce {
	struct api_call *c;
	struct kp_produce_response resp;
	struct item *items;
	uint32_t item_count;
	uint32_t waiting; /* messages that are out */
	bool failed;      /* some partition was refused */
	struct job job;
};

void api_batch_limits(struct api *a, const struct image_topic *t, int16_t produce_version, struct batch_limits *ret_lim, struct log_config *ret_cfg)
{
	running_topic_log(a->running, a->image, t, ret_cfg);
	*ret_lim = (struct batch_limits){
		.bytes_max = ret_cfg->max_message_bytes,
		.now_ms = env_wall_ms(a->env),
		.before_max_ms = ret_cfg->timestamp_before_max_ms,
		.after_max_ms = ret_cfg->timestamp_after_max_ms,
		.compacted = ret_cfg->cleanup_compact,
		.log_append_time = ret_cfg->log_append_time,
		.produce_version = produce_version,
		.decompressed_max = 1ull << 30,
	};
}

static void refuse(struct produce *p, struct item *it, int16_t error, const char *message)
{
	it->out->error_code = error;
	it->out->base_offset = -1;
	it->out->log_append_time_ms = -1;
	it->out->log_start_offset = -1;
	if (message)
		it->out->error_message = slice_str(message);
	buf_unref(it->buf);
	it->buf = NULL;
	it->live = false;
	p->failed = true;
}

static void take_verdict(struct produce *p, struct item *it)
{
	const struct batch_verdict *v = &it->verdict;
	if (!v->err)
		return;
	refuse(p, it, shard_log_error(v->err), v->message);
	if (v->record_error_count) {
		struct arena *a = &p->c->r->arena;
		struct kp_produce_response_responses_partition_responses_record_errors *e = ARENA_ARRAY(a, struct kp_produce_response_responses_partition_responses_record_errors, (size_t)v->record_error_count);
		for (int i = 0; i < v->record_error_count; i++) {
			e[i].batch_index = v->record_errors[i].index;
			e[i].batch_index_error_message = slice_str(v->record_errors[i].message);
		}
		it->out->record_errors = e;
		it->out->record_errors_count = v->record_error_count;
	}
}

/* ---- the answer ---- */

static void add_endpoint(struct produce *p, int32_t leader)
{
	struct kp_produce_response *resp = &p->resp;
	const struct image_broker *b;
	const struct image_endpoint *e = api_leader_endpoint(p->c, leader, &b);
	if (!e)
		return;
	for (int32_t i = 0; i < resp->node_endpoints_count; i++)
		if (resp->node_endpoints[i].node_id == leader)
			return;
	if (!resp->node_endpoints)
		resp->node_endpoints = ARENA_ARRAY(&p->c->r->arena, struct kp_produce_response_node_endpoints, image_broker_count(p->c->image) + 1);
	struct kp_produce_response_node_endpoints *o = &resp->node_endpoints[resp->node_endpoints_count++];
	o->node_id = leader;
	o->host = slice_str(e->host);
	o->port = e->port;
	o->rack = b->rack ? slice_str(b->rack) : (struct slice){0};
}

static void finish(struct produce *p)
{
	struct api_call *c = p->c;
	const struct kp_produce_request *q = c->request;
	if (q->acks == 0) {
		/* No answer to acks=0, not even an error: the closed connection tells the client to look for the leader. */
		if (p->failed)
			api_close(c);
		else
			api_silent(c);
		return;
	}
	api_reply(c, &p->resp);
}

static void produce_done(struct produce_msg *m)
{
	struct produce *p = m->ctx;
	for (uint32_t i = 0; i < m->count; i++) {
		struct produce_part *part = &m->parts[i];
		struct item *it = part->priv[3];
		it->out->error_code = part->error;
		it->out->base_offset = part->base_offset;
		it->out->log_append_time_ms = part->log_append_time_ms;
		it->out->log_start_offset = part->log_start_offset;
		if (part->error != KERR_NONE) {
			p->failed = true;
			it->out->base_offset = -1;
			it->out->log_append_time_ms = -1;
		}
		if (part->error == KERR_KAFKA_STORAGE_ERROR && p->c->version < 4)
			it->out->error_code = KERR_NOT_LEADER_OR_FOLLOWER;
		if (part->error == KERR_NOT_LEADER_OR_FOLLOWER && part->leader_id >= 0) {
			it->out->current_leader.leader_id = part->leader_id;
			it->out->current_leader.leader_epoch = part->leader_epoch;
			add_endpoint(p, part->leader_id);
		}
	}
	image_unref(m->image);
	if (--p->waiting == 0)
		finish(p);
}

/* ---- to the owners ---- */

static void dispatch(struct produce *p)
{
	struct api_call *c = p->c;
	struct api *a = c->api;
	const struct kp_produce_request *q = c->request;
	struct arena *ar = &c->r->arena;
	uint32_t *counts = ARENA_ARRAY(ar, uint32_t, a->shard_count);
	struct produce_msg **msgs = ARENA_ARRAY(ar, struct produce_msg *, a->shard_count);

	for (uint32_t i = 0; i < p->item_count; i++)
		if (p->items[i].live)
			counts[api_owner(a, p->items[i].topic, p->items[i].in->index)]++;
	for (uint32_t s = 0; s < a->shard_count; s++) {
		if (!counts[s])
			continue;
		struct produce_msg *m = ARENA_NEW(ar, struct produce_msg);
		m->shard = a->shards[s];
		m->image = image_ref(c->image);
		m->acks = q->acks;
		m->timeout_ms = q->timeout_ms;
		m->parts = ARENA_ARRAY(ar, struct produce_part, counts[s]);
		m->done = produce_done;
		m->ctx = p;
		msgs[s] = m;
		p->waiting++;
	}
	for (uint32_t i = 0; i < p->item_count; i++) {
		struct item *it = &p->items[i];
		if (!it->live)
			continue;
		struct produce_msg *m = msgs[api_owner(a, it->topic, it->in->index)];
		struct produce_part *part = &m->parts[m->count++];
		part->topic = it->topic;
		part->partition = it->in->index;
		part->buf = it->buf ? it->buf : buf_ref(c->r->buf);
		part->records = it->records;
		part->batch = it->batch;
		part->max_timestamp = it->verdict.max_timestamp;
		part->leader_id = part->leader_epoch = -1;
		part->priv[3] = it;
	}
	if (!p->waiting) {
		finish(p);
		return;
	}
	for (uint32_t s = 0; s < a->shard_count; s++)
		if (msgs[s])
			shard_post_produce(msgs[s]);
}

static bool other_codec(const struct item *it, int codec)
{
	return it->codec != LOG_CODEC_PRODUCER && it->codec != codec;
}

/* *left: bytes that batches of this request may still take in their topics' codecs: as many as one request may send, so that a small one of batches that
 * decompress well does not take memory without end. */
static void recompress(struct item *it, int64_t *left)
{
	int32_t max = it->limits.bytes_max < *left ? it->limits.bytes_max : (int32_t)*left;
	struct batch_target target = {.codec = it->codec, .level = it->level, .inside_bytes = it->verdict.inside_bytes, .bytes_max = max};
	size_t len = 0;
	int err = batch_recompress(it->records, &target, &it->batch, &it->buf, &len);
	if (err) {
		it->verdict.err = err;
		it->verdict.message = err == LOG_ERR_TOO_LARGE ? "the record batch is larger than max.message.bytes in the codec of its topic" : "the record batch cannot be read again";
		return;
	}
	it->records = slice_make(it->buf->data, len);
	*left -= (int64_t)len;
}

static void check_all(struct produce *p)
{
	int64_t left = p->c->api->config->socket_request_max_bytes;
	for (uint32_t i = 0; i < p->item_count; i++) {
		struct item *it = &p->items[i];
		if (!it->live)
			continue;
		batch_validate(it->records, &it->limits, &it->batch, &it->verdict);
		if (!it->verdict.err && other_codec(it, batch_codec(&it->batch)))
			recompress(it, &left);
	}
}

static void settle_checks(struct produce *p)
{
	for (uint32_t i = 0; i < p->item_count; i++) {
		struct item *it = &p->items[i];
		if (!it->live)
			continue;
		take_verdict(p, it);
		/* Transactions are not served yet, so no partition can have been added to one (KIP-890's check would refuse it, too). */
		if (it->live && batch_is_transactional(&it->batch))
			refuse(p, it, KERR_INVALID_TXN_STATE, "transactions are not served");
	}
	dispatch(p);
}

static void check_run(struct job *j)
{
	check_all(CONTAINER_OF(j, struct produce, job));
}

static void check_done(struct job *j)
{
	struct produce *p = CONTAINER_OF(j, struct produce, job);
	struct net_loop *net = p->c->r->net;
	struct net_conn *conn = p->c->r->conn;
	settle_checks(p); /* may free p */
	net_release(net, conn);
}

static void set_up_item(struct produce *p, struct item *it, const struct image_topic *t, int16_t topic_error, struct log_config *cfg)
{
	const struct kp_produce_request *q = p->c->request;
	it->topic = t;
	it->live = true;
	it->records = it->in->records.bytes;
	it->codec = LOG_CODEC_PRODUCER;
	if (topic_error)
		refuse(p, it, topic_error, NULL);
	else if (!image_topic_partition(t, it->in->index))
		refuse(p, it, KERR_UNKNOWN_TOPIC_OR_PARTITION, NULL);
	else if (q->acks < -1 || q->acks > 1)
		refuse(p, it, KERR_INVALID_REQUIRED_ACKS, NULL);
	else if (t->internal && !slice_eq_str(p->c->client_id, "__admin_client"))
		refuse(p, it, KERR_INVALID_TOPIC_EXCEPTION, "internal topics are written by the broker alone");
	if (!it->live)
		return;
	api_batch_limits(p->c->api, t, p->c->version, &it->limits, cfg);
	it->codec = cfg->codec;
	it->level = log_config_level(cfg, cfg->codec);
}

/* Bytes whose checking takes time. */
static uint64_t long_bytes(const struct item *it)
{
	if (!it->live || it->records.len < BATCH_HEADER_BYTES)
		return 0;
	int codec = it->records.ptr[22] & 7;
	return (codec ? it->records.len : 0) + (other_codec(it, codec) ? RECOMPRESSED_COUNTS * it->records.len : 0);
}

void api_do_produce(struct api_call *c)
{
	const struct kp_produce_request *q = c->request;
	struct arena *ar = &c->r->arena;
	struct produce *p = ARENA_NEW(ar, struct produce);
	uint64_t slow = 0;
	p->c = c;
	kp_produce_response_init(&p->resp);
	int64_t total = 0;
	for (int32_t i = 0; i < q->topic_data_count; i++)
		total += q->topic_data[i].partition_data_count;
	p->items = ARENA_ARRAY(ar, struct item, (size_t)total + 1);
	p->resp.responses = ARENA_ARRAY(ar, struct kp_produce_response_responses, (size_t)q->topic_data_count + 1);
	p->resp.responses_count = q->topic_data_count;
	for (int32_t i = 0; i < q->topic_data_count; i++) {
		const struct kp_produce_request_topic_data *t = &q->topic_data[i];
		struct kp_produce_response_responses *o = &p->resp.responses[i];
		struct log_config cfg;
		int16_t error;
		const struct image_topic *topic = api_topic(c, t->name, &t->topic_id, false, &error);
		kp_produce_response_responses_init(o);
		o->name = t->name;
		o->partition_responses = ARENA_ARRAY(ar, struct kp_produce_response_responses_partition_responses, (size_t)t->partition_data_count + 1);
		o->partition_responses_count = t->partition_data_count;
		for (int32_t k = 0; k < t->partition_data_count; k++) {
			struct item *it = &p->items[p->item_count++];
			kp_produce_response_responses_partition_responses_init(&o->partition_responses[k]);
			it->in = &t->partition_data[k];
			it->out = &o->partition_responses[k];
			it->out->index = it->in->index;
			set_up_item(p, it, topic, error, &cfg);
			slow += long_bytes(it);
		}
	}
	if (q->transactional_id.ptr) {
		/* A transactional producer got no producer id from us, so this one is not ours. */
		for (uint32_t i = 0; i < p->item_count; i++)
			if (p->items[i].live)
				refuse(p, &p->items[i], KERR_INVALID_TXN_STATE, "transactions are not served");
	}
	if (slow > JOB_BYTES) {
		p->job.run = check_run;
		p->job.done = check_done;
		net_hold(c->r);
		job_submit(c->api->loop, &p->job, JOB_LONG);
		return;
	}
	check_all(p);
	settle_checks(p);
}
