/* mini.c: small brokers in the simulated world for tests; see mini.h. */
#include "tests/unit/mini.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crc.h"
#include "common/wire/cursor.h"
#include "common/wire/frame.h"
#include "proto/klamm/control.pb-c.h"

#define TOPIC "t"

/* ---- a Kafka port ---- */

struct served {
	struct conn *c;
	struct mini *b;
	uint32_t loop;
	uint8_t size[4];
	size_t got;
	uint8_t *frame;
	size_t len;
	int pending;
	bool gone;
	struct list calls; /* answers leave in the order of the questions */
};
struct served_call {
	struct served *s;
	struct list link;
	struct chain out;
	bool answered;
	struct wire_request_header h;
	uint8_t *frame;
	struct arena arena;
	struct fetch_call fetch;
	struct kp_fetch_request fetch_req;
	struct kp_list_offsets_request lo_req;
	struct offsets_msg offsets;
	struct offset_question question;
};

static void served_reply(struct served_call *k, const void *resp)
{
	struct served *s = k->s;
	chain_init(&k->out);
	wire_response_encode(wire_api_find(k->h.api_key), k->h.api_version, k->h.correlation_id, resp, &k->out);
	k->answered = true;
	while (!list_empty(&s->calls)) {
		struct served_call *head = LIST_ENTRY(s->calls.next, struct served_call, link);
		if (!head->answered)
			break;
		list_remove(&head->link);
		if (s->gone)
			chain_clear(&head->out);
		else
			conn_send(s->c, &head->out);
		arena_fini(&head->arena);
		mem_free(head->frame);
		mem_free(head);
		s->pending--;
	}
	if (s->pending == 0 && s->gone)
		mem_free(s);
}

static void served_fetched(struct fetch_call *c)
{
	served_reply(c->ctx, &c->response);
}

static void served_offsets(struct offsets_msg *m)
{
	struct served_call *k = m->ctx;
	struct kp_list_offsets_response r;
	struct kp_list_offsets_response_topics t;
	struct kp_list_offsets_response_topics_partitions p;
	kp_list_offsets_response_init(&r);
	kp_list_offsets_response_topics_init(&t);
	kp_list_offsets_response_topics_partitions_init(&p);
	r.topics = &t;
	r.topics_count = 1;
	t.name = slice_str(k->s->b->mw->topic);
	t.partitions = &p;
	t.partitions_count = 1;
	p.error_code = k->question.error;
	p.offset = k->question.ret_offset;
	served_reply(k, &r);
}

static void served_frame(struct served *s, uint8_t *frame, size_t len)
{
	struct served_call *k = MEM_NEW(struct served_call);
	struct slice in = slice_make(frame, len);
	k->s = s;
	k->frame = frame;
	s->pending++;
	list_push_back(&s->calls, &k->link);
	arena_init(&k->arena, 0);
	ASSERT(wire_request_header_decode(&in, &k->h) == 0);
	if (k->h.api_key == 18) {
		struct kp_api_versions_response r;
		struct kp_api_versions_response_api_keys keys[3] = {{1, 0, 17}, {2, 0, 9}, {18, 0, 4}};
		kp_api_versions_response_init(&r);
		r.api_keys = keys;
		r.api_keys_count = 3;
		served_reply(k, &r);
	} else if (k->h.api_key == 1) {
		ASSERT(wire_decode(&kp_fetch_request_desc, k->h.api_version, &in, &k->arena, &k->fetch_req) == 0);
		k->fetch.version = k->h.api_version;
		k->fetch.request = &k->fetch_req;
		k->fetch.image = s->b->image;
		k->fetch.arena = &k->arena;
		k->fetch.from_broker = true;
		k->fetch.done = served_fetched;
		k->fetch.ctx = k;
		fetch_submit(s->b->homes[s->loop], &k->fetch);
	} else {
		ASSERT(k->h.api_key == 2);
		ASSERT(wire_decode(&kp_list_offsets_request_desc, k->h.api_version, &in, &k->arena, &k->lo_req) == 0);
		k->question = (struct offset_question){
			.topic = image_find_topic(s->b->image, slice_str(s->b->mw->topic)), .partition = 0, .kind = ASK_TIME, .from_follower = true,
			.current_leader_epoch = k->lo_req.topics[0].partitions[0].current_leader_epoch, .timestamp = k->lo_req.topics[0].partitions[0].timestamp,
		};
		k->offsets = (struct offsets_msg){
			.shard = s->b->shards[mini_owner(s->b->mw, s->b)], .image = s->b->image, .questions = &k->question, .count = 1,
			.done = served_offsets, .ctx = k,
		};
		shard_post_offsets(&k->offsets);
	}
}

static bool served_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct served *s = ctx;
	if (s->got < 4) {
		*ret_ptr = s->size + s->got;
		*ret_len = 4 - s->got;
	} else {
		*ret_ptr = s->frame + (s->got - 4);
		*ret_len = s->len - (s->got - 4);
	}
	return true;
}

static void served_data(struct conn *c, void *ctx, size_t len)
{
	struct served *s = ctx;
	bool head = s->got < 4;
	s->got += len;
	if (head && s->got == 4) {
		s->len = be32_get(s->size);
		s->frame = mem_alloc(s->len);
	} else if (s->got >= 4 && s->got - 4 == s->len) {
		s->got = 0;
		served_frame(s, s->frame, s->len);
	}
}

static void served_closed(struct conn *c, void *ctx, int err)
{
	struct served *s = ctx;
	s->gone = true;
	if (s->got >= 4)
		mem_free(s->frame);
	if (s->pending == 0)
		mem_free(s);
}

static const struct conn_handler served_handler = {.on_space = served_space, .on_data = served_data, .on_closed = served_closed};

struct port {
	struct msg msg;
	struct mini *b;
	uint32_t loop;
};

static void accepted(struct listener *ln, struct conn *c, void *ctx)
{
	struct port *po = ctx;
	struct served *s = MEM_NEW(struct served);
	s->c = c;
	list_init(&s->calls);
	s->b = po->b;
	s->loop = po->loop;
	c->handler = &served_handler;
	c->ctx = s;
}

static void port_open(struct msg *m)
{
	struct port *po = CONTAINER_OF(m, struct port, msg);
	struct listen_config cfg = {.host = "", .port = MINI_PORT, .backlog = 16, .on_accept = accepted, .ctx = po};
	struct listener *ln;
	ASSERT(listener_open(po->b->loops[po->loop], &cfg, &ln) == 0);
}

/* ---- a broker ---- */

static void mini_propose(void *ctx, const struct image_topic *topic, int32_t partition, int32_t leader_epoch, int32_t partition_epoch,
	const int32_t *isr, int32_t isr_count, int8_t recovery_state)
{
	struct mini *b = ctx;
	struct mini_world *mw = b->mw;
	mw->proposals++;
	if (!mw->accept_proposals || leader_epoch != mw->p.leader_epoch || partition_epoch != mw->p.partition_epoch || b->id != mw->p.leader)
		return;
	mw->p.partition_epoch++;
	mw->p.isr_count = isr_count;
	memcpy(mw->p.isr, isr, sizeof(int32_t) * (size_t)isr_count);
	char all[8] = "";
	for (int i = 1; i <= mw->broker_count; i++)
		if (mw->b[i].ready)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%d", i);
	mini_publish(mw, all, all);
}

static void mini_dir_failed(void *ctx, struct log_dir *dir) {}
static void mini_deleted(void *ctx, const struct uuid *id, const char *topic) { ((struct mini *)ctx)->deleted++; }
static void mini_missing(void *ctx, const struct uuid *id, const char *topic, int32_t p) { ((struct mini *)ctx)->missing++; }

static void mini_log_config(void *ctx, const struct image *im, const struct image_topic *t, struct log_config *ret)
{
	const struct mini *b = ctx;
	(void)im, (void)t;
	log_config_defaults(ret);
	if (b->mw->log_config)
		b->mw->log_config(ret);
}

static void loaded(struct shard_load *m)
{
	struct mini *b = m->ctx;
	ASSERT(m->err == 0);
	if (--b->loading == 0)
		b->ready = true;
	mem_free(m);
}

static void *mini_main(struct env *env, struct loop *control, void *arg)
{
	struct mini *b = arg;
	static const char *const paths[] = {"/data"};
	struct log_dirs_open o = {.env = env, .paths = paths, .count = 1, .broker_id = b->id};
	char *why = NULL;
	b->env = env;
	b->control = control;
	b->ready = false;
	b->image = image_empty();
	b->config = (struct replica_config){
		.broker_id = b->id, .replica_lag_time_max_ms = b->mw->lag_max_ms, .replica_fetch_wait_max_ms = 500, .replica_fetch_backoff_ms = 1000,
		.replica_fetch_min_bytes = 1, .replica_fetch_max_bytes = 1 << 20, .replica_fetch_response_max_bytes = 10 << 20, .fetch_max_bytes = 55 << 20,
		.retention_check_interval_ms = 300000, .flush_check_interval_ms = 1000, .hw_checkpoint_interval_ms = 5000,
		.receive_budget_bytes = 32 << 20, .dirty_budget_bytes = 256 << 20, .inter_broker_listener = "PLAINTEXT",
	};
	b->shard_host = (struct shard_host){b, mini_propose, mini_dir_failed, mini_deleted, mini_missing};
	ASSERT(log_dirs_open_now(&o, &b->dirs, &why) == 0);
	static const struct fetch_homes_config hc = {.slots_max = 4, .evict_ms = 120000, .fetch_max_bytes = 55 << 20};
	for (uint32_t i = 0; i < MINI_LOOPS; i++) {
		b->loops[i] = loop_new(env, (int32_t)i, "data");
		struct shard_init si = {.env = env, .loop = b->loops[i], .control = control, .idx = i, .shard_count = MINI_LOOPS, .config = &b->config,
					.host = &b->shard_host, .dirs = b->dirs, .log_config = mini_log_config, .log_config_ctx = b};
		b->shards[i] = shard_new(&si);
	}
	for (uint32_t i = 0; i < MINI_LOOPS; i++) {
		b->homes[i] = fetch_home_new(b->loops[i], i, b->shards, b->homes, MINI_LOOPS, &hc);
		struct port *po = MEM_NEW(struct port);
		po->b = b;
		po->loop = i;
		po->msg.deliver = port_open;
		loop_post(b->loops[i], &po->msg);
	}
	struct log_dir *d = b->dirs->dirs[0];
	b->loading = (int)d->found_count;
	b->ready = b->loading == 0;
	for (uint32_t i = 0; i < d->found_count; i++) {
		struct shard_load *m = MEM_NEW(struct shard_load);
		m->shard = b->shards[partition_owner(env->hash_seed, &d->found[i].topic_id, slice_str(d->found[i].topic), d->found[i].partition, MINI_LOOPS)];
		m->dir = d;
		m->found = &d->found[i];
		m->done = loaded;
		m->ctx = b;
		shard_post_load(m);
	}
	return b;
}

static void mini_reap(void *root, void *arg)
{
	struct mini *b = arg;
	b->ready = false;
	if (b->mw->reap)
		b->mw->reap(b);
	for (uint32_t i = 0; i < MINI_LOOPS; i++)
		fetch_home_free(b->homes[i]);
	for (uint32_t i = 0; i < MINI_LOOPS; i++)
		shard_free(b->shards[i]);
	log_dirs_free(b->dirs);
	image_unref(b->image);
	b->image = NULL;
	while (b->old_count)
		image_unref(b->old_images[--b->old_count]);
}

void mini_start(struct mini_world *mw, int id)
{
	struct mini *b = &mw->b[id];
	struct sim_program prog = {.name = "mini", .start = mini_main, .reap = mini_reap, .arg = b};
	b->proc = sim_process_start(b->host, &prog);
	for (int i = 0; i < 2000 && !b->ready; i++)
		mini_run_ms(mw, 10);
	ASSERT(b->ready);
}

void mini_kill(struct mini_world *mw, int id)
{
	sim_process_kill(mw->b[id].proc);
	mini_run_ms(mw, 1);
}

void mini_begin(struct mini_world *mw, uint64_t seed, int brokers)
{
	struct sim_config cfg;
	memset(mw, 0, sizeof(*mw));
	sim_config_init(&cfg, seed);
	cfg.zk_servers = 0;
	cfg.verbose = getenv("MINI_VERBOSE") != NULL; /* log lines of the brokers on stderr */
	mw->w = sim_world_new(&cfg);
	mw->broker_count = brokers;
	mw->controller_epoch = 1;
	mw->accept_proposals = true;
	mw->lag_max_ms = 10000;
	mw->partitions = 1;
	mw->topic = TOPIC;
	memset(mw->topic_id.b, 7, 16);
	for (int i = 1; i <= brokers; i++) {
		char name[8];
		snprintf(name, sizeof(name), "b%d", i);
		mw->b[i].mw = mw;
		mw->b[i].id = i;
		mw->b[i].host = sim_host_new(mw->w, name);
		mini_start(mw, i);
	}
}

void mini_end(struct mini_world *mw)
{
	mini_run_ms(mw, 20); /* messages that are under way come back and are freed */
	sim_world_free(mw->w);
}

void mini_run_ms(struct mini_world *mw, int64_t ms)
{
	sim_world_run_until(mw->w, sim_now_us(mw->w) + ms * 1000);
}

bool mini_wait(struct mini_world *mw, bool (*cond)(struct mini_world *mw, void *ctx), void *ctx, int64_t ms)
{
	int64_t end = sim_now_us(mw->w) + ms * 1000;
	while (!cond(mw, ctx)) {
		if (sim_now_us(mw->w) >= end)
			return false;
		sim_world_run_until(mw->w, sim_now_us(mw->w) + 500);
	}
	return true;
}

uint32_t mini_owner(struct mini_world *mw, struct mini *b)
{
	return partition_owner(b->env->hash_seed, &mw->topic_id, slice_str(mw->topic), 0, MINI_LOOPS);
}

struct partition *mini_partition(struct mini_world *mw, int id)
{
	return mw->b[id].ready ? shard_find(mw->b[id].shards[mini_owner(mw, &mw->b[id])], slice_str(mw->topic), 0) : NULL;
}

struct log *mini_log(struct mini_world *mw, int id)
{
	struct partition *p = mini_partition(mw, id);
	return p ? p->log : NULL;
}

/* ---- the controller ---- */

static int digits(const char *text, int32_t *out)
{
	int n = 0;
	for (; *text; text++)
		out[n++] = *text - '0';
	return n;
}

void mini_set(struct mini_partition *p, int32_t leader, const char *replicas, const char *isr, const char *fresh)
{
	p->leader = leader;
	p->replica_count = digits(replicas, p->replicas);
	p->isr_count = digits(isr, p->isr);
	p->fresh_count = digits(fresh, p->fresh);
	if (p->min_isr == 0)
		p->min_isr = 1;
}

struct publish {
	struct mini *b;
	Klamm__Control__Changes changes;
	Klamm__Control__Topic topic, *topics[1];
	Klamm__Control__Partition part[MINI_PARTITIONS], *parts[MINI_PARTITIONS];
	Klamm__Control__Broker brokers[4], *broker_list[4];
	Klamm__Control__Endpoint endpoints[4], *endpoint_list[4];
	Klamm__Control__RemovedTopic removed, *removed_list[1];
	struct mini_partition p[MINI_PARTITIONS];
	uint8_t id[16];
	uint64_t seq;
	int32_t epoch;
	struct image_changes ch;
	struct shard_apply apply[MINI_LOOPS];
	struct image_change items[MINI_LOOPS][MINI_PARTITIONS];
	int left;
};

static void applied(struct shard_apply *m)
{
	struct publish *pu = m->ctx;
	if (--pu->left == 0) {
		image_changes_free(&pu->ch);
		mem_free(pu);
	}
}

static void publish_run(void *ctx)
{
	struct publish *pu = ctx;
	struct mini *b = pu->b;
	struct image *next = NULL;
	if (image_apply(b->image, pu->epoch, pu->seq, &pu->changes, &next, &pu->ch) != 0) {
		mem_free(pu);
		return;
	}
	ASSERT(b->old_count < 512);
	b->old_images[b->old_count++] = b->image;
	b->image = next;
	pu->left = MINI_LOOPS;
	for (uint32_t i = 0; i < MINI_LOOPS; i++) {
		struct shard_apply *a = &pu->apply[i];
		a->shard = b->shards[i];
		a->image = image_ref(next);
		a->changes = pu->items[i];
		for (uint32_t k = 0; k < pu->ch.count; k++)
			if (partition_owner(b->env->hash_seed, &pu->ch.items[k].topic->id, slice_str(pu->ch.items[k].topic->name), pu->ch.items[k].partition, MINI_LOOPS) == i)
				a->changes[a->change_count++] = pu->ch.items[k];
		a->brokers_changed = pu->ch.brokers_changed;
		a->done = applied;
		a->ctx = pu;
		shard_post_apply(a);
	}
}

static struct publish *publish_new(struct mini_world *mw, int to, const char *alive)
{
	struct publish *pu = MEM_NEW(struct publish);
	pu->b = &mw->b[to];
	pu->epoch = mw->controller_epoch;
	pu->seq = mw->seq;
	memcpy(pu->id, mw->topic_id.b, 16);
	klamm__control__changes__init(&pu->changes);
	for (int i = 1; i <= mw->broker_count; i++) {
		static char listener[] = "PLAINTEXT";
		klamm__control__broker__init(&pu->brokers[i]);
		klamm__control__endpoint__init(&pu->endpoints[i]);
		pu->endpoints[i].listener = pu->endpoints[i].security = listener;
		pu->endpoints[i].host = (char *)(uintptr_t)sim_host_ip(mw->b[i].host);
		pu->endpoints[i].port = MINI_PORT;
		pu->endpoint_list[i] = &pu->endpoints[i];
		pu->brokers[i].id = i;
		pu->brokers[i].broker_epoch = mw->broker_epoch[i];
		pu->brokers[i].boot_epoch = mw->boot_epoch[i];
		pu->brokers[i].available = strchr(alive, '0' + i) != NULL;
		pu->brokers[i].endpoints = &pu->endpoint_list[i];
		pu->brokers[i].n_endpoints = 1;
		pu->broker_list[i - 1] = &pu->brokers[i];
	}
	pu->changes.brokers = pu->broker_list;
	pu->changes.n_brokers = (size_t)mw->broker_count;
	return pu;
}

void mini_publish(struct mini_world *mw, const char *to, const char *alive)
{
	mw->seq++;
	for (; *to; to++) {
		struct publish *pu = publish_new(mw, *to - '0', alive);
		klamm__control__topic__init(&pu->topic);
		pu->topic.topic_id.data = pu->id;
		pu->topic.topic_id.len = 16;
		pu->topic.name = (char *)(uintptr_t)mw->topic;
		pu->topic.full = true;
		pu->topic.partitions = pu->parts;
		pu->topic.n_partitions = (size_t)mw->partitions;
		for (int i = 0; i < mw->partitions; i++) {
			Klamm__Control__Partition *cp = &pu->part[i];
			struct mini_partition *p = &pu->p[i];
			*p = i == 0 && mw->first.leader_epoch > mw->p.leader_epoch ? mw->first : mw->p;
			klamm__control__partition__init(cp);
			pu->parts[i] = cp;
			cp->partition = i;
			cp->leader = p->leader;
			cp->leader_epoch = p->leader_epoch;
			cp->partition_epoch = p->partition_epoch;
			cp->min_isr = p->min_isr;
			cp->replicas = p->replicas;
			cp->n_replicas = (size_t)p->replica_count;
			cp->isr = p->isr;
			cp->n_isr = (size_t)p->isr_count;
			cp->fresh = p->fresh;
			cp->n_fresh = (size_t)p->fresh_count;
		}
		pu->topics[0] = &pu->topic;
		pu->changes.topics = pu->topics;
		pu->changes.n_topics = 1;
		if (sim_process_alive(pu->b->proc) && pu->b->ready)
			sim_process_run(pu->b->proc, publish_run, pu);
		else
			mem_free(pu);
	}
}

void mini_remove_topic(struct mini_world *mw, const char *to)
{
	mw->seq++;
	for (; *to; to++) {
		struct publish *pu = publish_new(mw, *to - '0', "123");
			klamm__control__removed_topic__init(&pu->removed);
		pu->removed.name = (char *)(uintptr_t)mw->topic;
		pu->removed.topic_id.data = pu->id;
		pu->removed.topic_id.len = 16;
		pu->removed_list[0] = &pu->removed;
		pu->changes.removed_topics = pu->removed_list;
		pu->changes.n_removed_topics = 1;
		sim_process_run(pu->b->proc, publish_run, pu);
	}
}

/* ---- clients ---- */

struct buf *mini_batch(int records, int value_bytes, int64_t producer_id, int16_t epoch, int32_t sequence, struct batch *ret_b)
{
	struct buf *b = buf_new((size_t)(BATCH_HEADER_BYTES + records * (value_bytes + 32)));
	uint8_t *p = b->data + BATCH_HEADER_BYTES;
	for (int i = 0; i < records; i++) {
		size_t len = 1 + 1 + varint_size(i) + varint_size(-1) + varint_size(value_bytes) + (size_t)value_bytes + 1;
		p = put_varint(p, (int32_t)len);
		p = put_u8(p, 0);
		p = put_varlong(p, 0);
		p = put_varint(p, i);
		p = put_varint(p, -1);
		p = put_varint(p, value_bytes);
		memset(p, 'a' + i % 26, (size_t)value_bytes);
		p += value_bytes;
		p = put_varint(p, 0);
	}
	size_t total = (size_t)(p - b->data);
	memset(b->data, 0, BATCH_HEADER_BYTES);
	be32_put(b->data + 8, (uint32_t)(total - 12));
	b->data[16] = 2;
	be32_put(b->data + 23, (uint32_t)(records - 1));
	be64_put(b->data + 27, 1700000000000u);
	be64_put(b->data + 35, 1700000000000u);
	be64_put(b->data + 43, (uint64_t)producer_id);
	be16_put(b->data + 51, (uint16_t)epoch);
	be32_put(b->data + 53, (uint32_t)sequence);
	be32_put(b->data + 57, (uint32_t)records);
	be32_put(b->data + 17, crc32c(b->data + 21, total - 21));
	ASSERT(batch_parse(slice_make(b->data, total), ret_b) == 0);
	b->cap = total;
	return b;
}

static void produced(struct produce_msg *m)
{
	struct mini_produce *p = CONTAINER_OF(m, struct mini_produce, m);
	p->done = true;
	p->error = p->part.error;
	p->base_offset = p->part.base_offset;
	p->done_us = env_now_us(p->b->env);
}

static void produce_run(void *ctx)
{
	struct mini_produce *p = ctx;
	p->m.image = p->b->image;
	p->part.topic = image_find_topic(p->b->image, slice_str(p->b->mw->topic));
	p->m.shard = p->b->shards[partition_owner(p->b->env->hash_seed, &p->b->mw->topic_id, slice_str(p->b->mw->topic), p->part.partition, MINI_LOOPS)];
	shard_post_produce(&p->m);
}

void mini_produce(struct mini_world *mw, int id, struct mini_produce *p, int16_t acks, int32_t timeout_ms, int records)
{
	memset(p, 0, sizeof(*p));
	p->b = &mw->b[id];
	p->m.acks = acks;
	p->m.timeout_ms = timeout_ms;
	p->m.parts = &p->part;
	p->m.count = 1;
	p->m.done = produced;
	p->part.buf = mini_batch(records, 100, -1, -1, -1, &p->part.batch);
	p->part.records = slice_make(p->part.buf->data, p->part.buf->cap);
	p->part.max_timestamp = p->part.batch.max_timestamp;
	p->part.partition = mw->produce_to;
	sim_process_run(p->b->proc, produce_run, p);
}

struct fetch_post {
	struct msg msg;
	struct mini_fetch *f;
};

static void fetched(struct fetch_call *c)
{
	struct mini_fetch *f = CONTAINER_OF(c, struct mini_fetch, c);
	f->done = true;
	f->done_us = env_now_us(f->b->env);
	f->top_error = c->response.error_code;
	f->session_id = c->response.session_id;
	f->bytes = 0;
	f->partitions = 0;
	f->error = 0;
	for (int32_t i = 0; i < c->response.responses_count; i++)
		for (int32_t k = 0; k < c->response.responses[i].partitions_count; k++) {
			struct kp_fetch_response_responses_partitions *rp = &c->response.responses[i].partitions[k];
			if (f->partitions < 8) {
				f->order[f->partitions] = rp->partition_index;
				f->bytes_of[f->partitions] = rp->records.chain ? (int64_t)rp->records.chain->bytes : 0;
			}
			f->partitions++;
			ASSERT(rp->records.chain || rp->records.bytes.ptr); /* never null */
			f->diverging_epoch = rp->diverging_epoch.epoch;
			f->diverging_end = rp->diverging_epoch.end_offset;
			f->error = rp->error_code;
			f->high_watermark = rp->high_watermark;
			if (rp->records.chain) {
				f->bytes += (int64_t)rp->records.chain->bytes;
				chain_clear(rp->records.chain);
			}
		}
}

static void fetch_post_run(struct msg *m)
{
	struct fetch_post *fp = CONTAINER_OF(m, struct fetch_post, msg);
	struct mini_fetch *f = fp->f;
	mem_free(fp);
	f->c.image = f->b->image;
	f->began_us = env_now_us(f->b->env);
	fetch_submit(f->b->homes[f->loop], &f->c);
}

static void fetch_run(void *ctx)
{
	struct mini_fetch *f = ctx;
	struct fetch_post *fp = MEM_NEW(struct fetch_post);
	fp->f = f;
	fp->msg.deliver = fetch_post_run;
	loop_post(f->b->loops[f->loop], &fp->msg);
}

void mini_fetch_init(struct mini_fetch *f, int64_t offset, int32_t max_wait_ms, int32_t min_bytes)
{
	memset(f, 0, sizeof(*f));
	arena_init(&f->arena, 0);
	kp_fetch_request_init(&f->req);
	kp_fetch_request_topics_init(&f->topic);
	kp_fetch_request_topics_partitions_init(&f->part);
	f->req.max_wait_ms = max_wait_ms;
	f->req.min_bytes = min_bytes;
	f->req.topics = &f->topic;
	f->req.topics_count = 1;
	f->topic.topic = slice_str(TOPIC);
	f->topic.partitions = &f->part;
	f->topic.partitions_count = 1;
	f->part.fetch_offset = offset;
	f->part.partition_max_bytes = 1 << 20;
	f->c.version = 12;
	f->c.request = &f->req;
	f->c.arena = &f->arena;
	f->c.done = fetched;
}

void mini_fetch(struct mini_world *mw, int id, uint32_t loop, struct mini_fetch *f)
{
	f->b = &mw->b[id];
	f->loop = loop;
	f->done = false;
	arena_reset(&f->arena);
	memcpy(f->topic.topic_id.b, mw->topic_id.b, 16);
	sim_process_run(f->b->proc, fetch_run, f);
}

void mini_fetch_fini(struct mini_fetch *f)
{
	arena_fini(&f->arena);
}

static bool fetch_is_done(struct mini_world *mw, void *ctx) { return ((struct mini_fetch *)ctx)->done; }

bool mini_fetch_run(struct mini_world *mw, int id, uint32_t loop, struct mini_fetch *f)
{
	mini_fetch(mw, id, loop, f);
	return mini_wait(mw, fetch_is_done, f, 20000);
}
