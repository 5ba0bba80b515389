/* client.c: connections, requests and metadata of the simulated clients. See client.h. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/link.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"
#include "tests/sim/checks.h"
#include "tests/sim/client.h"

#define TICK_MS 200
#define CONNECT_MS 1500

struct request {
	struct list link;
	int32_t correlation;
	const struct wire_api *api;
	int16_t version;
	int64_t deadline_us;
	client_done_fn *done;
	void *ctx;
};

struct sim_process *client_process(struct run *r, const char *host, const struct sim_program *prog)
{
	struct sim_host *h = sim_host_find(r->w, host);
	return sim_process_start(h ? h : sim_host_new(r->w, host), prog);
}

/* ---- connections ---- */

static void fail_all(struct client_node *n, int err)
{
	/* what callbacks send goes to a new connection and is not meant */
	struct list failed;
	list_init(&failed);
	for (struct list *l; (l = list_pop_front(&n->requests));)
		list_push_back(&failed, l);
	for (struct list *l; (l = list_pop_front(&failed));) {
		struct request *q = LIST_ENTRY(l, struct request, link);
		q->done(q->ctx, err, NULL);
		mem_free(q);
	}
}

static void node_closed(struct client_node *n, int err)
{
	struct client *c = n->client;
	link_free(n->link);
	n->link = NULL;
	n->retry_us = env_now_us(c->env) + (int64_t)(20000 + env_random_below(c->env, 80000));
	fail_all(n, err);
	client_refresh(c);
}

static void on_closed(struct link *l, void *ctx, int err)
{
	(void)l;
	node_closed(ctx, err);
}

void client_drop(struct client *c, int node)
{
	if (c->nodes[node].link)
		node_closed(&c->nodes[node], ERR_TIMEOUT);
}

static void on_frame(struct link *l, void *ctx, struct slice body)
{
	struct client_node *n = ctx;
	struct client *c = n->client;
	(void)l;
	if (list_empty(&n->requests)) {
		run_violation(c->r, "refused", "%s got an answer from broker %d that nobody asked for", c->id, cluster_broker_id_of(n->idx));
		return;
	}
	struct request *q = LIST_ENTRY(list_pop_front(&n->requests), struct request, link);
	int32_t correlation;
	int err = wire_response_header_decode(q->api, q->version, &body, &correlation);
	if (err || correlation != q->correlation) {
		run_violation(c->r, "refused", "%s: answers of broker %d out of order: %s got %d instead of %d", c->id, cluster_broker_id_of(n->idx), q->api->name,
			correlation, q->correlation);
		mem_free(q);
		return;
	}
	/* the largest answer of all is Fetch's */
	void *msg = mem_zalloc(q->api->response->size);
	c->arena_depth++;
	err = wire_decode(q->api->response, q->version, &body, &c->arena, msg);
	if (err || body.len) {
		run_violation(c->r, "refused", "%s: %s v%d answer of broker %d does not decode: %s, %zu bytes left", c->id, q->api->name, q->version,
			cluster_broker_id_of(n->idx), err_str(err), body.len);
	} else {
		q->done(q->ctx, 0, msg);
	}
	if (--c->arena_depth == 0)
		arena_reset(&c->arena);
	mem_free(msg);
	mem_free(q);
}

static const struct link_handler node_handler = {.frame = on_frame, .closed = on_closed};

bool client_send(struct client *c, int node, const struct wire_api *api, int16_t version, const void *msg, int64_t timeout_us, client_done_fn *done, void *ctx)
{
	struct client_node *n = &c->nodes[node];
	int64_t now = env_now_us(c->env);
	if (!n->link) {
		if (now < n->retry_us)
			return false;
		n->serial++;
		n->link = link_connect(c->loop, cluster_broker_ip(c->r, n->idx), BROKER_PORT, CONNECT_MS, &node_handler, n);
	}
	struct chain out;
	chain_init(&out);
	int32_t correlation = n->next_correlation++;
	wire_request_encode(api, version, correlation, slice_str(c->id), msg, &out);
	chain_consume(&out, 4); /* the link writes the size */
	if (done) {
		struct request *q = MEM_NEW(struct request);
		*q = (struct request){.correlation = correlation, .api = api, .version = version, .deadline_us = now + timeout_us, .done = done, .ctx = ctx};
		list_init(&q->link);
		list_push_back(&n->requests, &q->link);
	}
	link_send(n->link, &out);
	return true;
}

static void tick(void *ctx)
{
	struct client *c = ctx;
	int64_t now = env_now_us(c->env);
	for (int i = 0; i < 2 * BROKERS_MAX; i++) {
		struct client_node *n = &c->nodes[i];
		LIST_FOR(l, &n->requests) {
			if (LIST_ENTRY(l, struct request, link)->deadline_us <= now) {
				client_drop(c, i);
				break;
			}
		}
	}
	timer_set_ms(&c->tick, TICK_MS);
}

int client_any_node(struct client *c)
{
	return (int)env_random_below(c->env, (uint64_t)c->r->opt->brokers);
}

/* ---- metadata ---- */

static void take_topic(struct client *c, const struct kp_metadata_response_topics *t)
{
	struct topic *mine = run_topic_find(c->r, t->name);
	if (!mine || t->error_code)
		return;
	if (!uuid_eq(&mine->id, &t->topic_id))
		return; /* an earlier one of that name; or the checks have not seen it in ZooKeeper yet */
	for (int32_t i = 0; i < t->partitions_count; i++) {
		const struct kp_metadata_response_topics_partitions *p = &t->partitions[i];
		if (p->partition_index < 0 || p->partition_index >= mine->partitions)
			continue;
		int32_t tp = mine->first_tp + p->partition_index;
		struct client_partition *cp = &c->parts[tp];
		if (p->leader_epoch < cp->epoch)
			continue; /* an older image (KIP-320) */
		if (p->leader_id >= 0)
			checks_leader(c->r, tp, p->leader_epoch, p->leader_id);
		cp->epoch = p->leader_epoch;
		cp->leader = p->error_code == 0 ? cluster_broker_index_of(p->leader_id) : -1;
	}
}

static void meta_done(void *ctx, int err, const void *msg)
{
	struct client *c = ctx;
	c->meta_busy = false;
	if (err) {
		client_refresh(c);
		return;
	}
	const struct kp_metadata_response *m = msg;
	for (int32_t i = 0; i < m->topics_count; i++)
		take_topic(c, &m->topics[i]);
	c->meta_us = env_now_us(c->env);
	timer_set_ms(&c->meta_timer, (int64_t)(1000 + env_random_below(c->env, 2000)));
	if (c->meta_again) {
		c->meta_again = false;
		client_refresh(c);
	}
	c->on_metadata(c->ctx);
}

static void meta_send(void *ctx)
{
	struct client *c = ctx;
	struct kp_metadata_request q;
	struct kp_metadata_request_topics topics[TOPICS_MAX];
	kp_metadata_request_init(&q);
	q.allow_auto_topic_creation = false;
	int32_t n = 0;
	for (int32_t i = 0; i < c->r->topic_count; i++) {
		struct topic *t = &c->r->topics[i];
		if (t->state != TOPIC_LIVE)
			continue;
		kp_metadata_request_topics_init(&topics[n]);
		topics[n++].name = slice_str(t->name);
	}
	q.topics = topics;
	q.topics_count = n;
	timer_set_ms(&c->meta_timer, (int64_t)(30 + env_random_below(c->env, 120)));
	if (c->meta_busy)
		return;
	if (client_send(c, client_any_node(c), wire_api_find(KP_API_METADATA), c->meta_version, &q, 1500000, meta_done, c)) {
		c->meta_busy = true;
		timer_stop(&c->meta_timer);
	}
}

void client_refresh(struct client *c)
{
	if (c->meta_busy) {
		c->meta_again = true;
		return;
	}
	int64_t delay = (int64_t)(20000 + env_random_below(c->env, 80000));
	if (!timer_armed(&c->meta_timer) || c->meta_timer.due_us > env_now_us(c->env) + delay)
		timer_set_us(&c->meta_timer, delay);
}

void client_init(struct client *c, struct run *r, struct env *env, struct loop *loop, const char *id, void (*on_metadata)(void *ctx), void *ctx)
{
	memset(c, 0, sizeof(*c));
	c->r = r;
	c->env = env;
	c->loop = loop;
	snprintf(c->id, sizeof(c->id), "%s", id);
	c->on_metadata = on_metadata;
	c->ctx = ctx;
	c->meta_version = (int16_t)(10 + env_random_below(env, 3));
	arena_init(&c->arena, 0);
	for (int i = 0; i < 2 * BROKERS_MAX; i++) {
		c->nodes[i].client = c;
		c->nodes[i].idx = i % BROKERS_MAX;
		list_init(&c->nodes[i].requests);
	}
	for (int i = 0; i < TPS_MAX; i++)
		c->parts[i] = (struct client_partition){.leader = -1, .epoch = -1};
	timer_init(&c->tick, loop, tick, c);
	timer_init(&c->meta_timer, loop, meta_send, c);
	timer_set_ms(&c->tick, TICK_MS);
	timer_set_ms(&c->meta_timer, 1);
}

void client_fini(struct client *c)
{
	for (int i = 0; i < 2 * BROKERS_MAX; i++) {
		if (c->nodes[i].link)
			link_free(c->nodes[i].link);
		for (struct list *l; (l = list_pop_front(&c->nodes[i].requests));)
			mem_free(LIST_ENTRY(l, struct request, link));
	}
	arena_fini(&c->arena);
}
