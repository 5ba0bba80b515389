/* create.c: topics that come into being because somebody uses them: auto-creation on Metadata, and the internal topic of consumer groups.
 *
 * The broker asks the controller as a client would (CreateTopics, forwarded), once per name and loop at a time; of several brokers or loops that
 * ask at once, one succeeds and the others hear TOPIC_ALREADY_EXISTS, which is as good. The asker is told to come again.
 * __consumer_offsets is made with settings of its own (internal-topics.md 1), and not at all while fewer brokers live than its replication factor.
 */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define CREATING_MAX 100 /* creations of one loop that may be under way */

struct creating {
	struct list link;
	struct api *api;
	char *name;
	struct ask_forward f;
};

static void creating_free(struct creating *k)
{
	list_remove(&k->link);
	buf_unref(k->f.buf);
	mem_free(k->f.response);
	mem_free(k->name);
	mem_free(k);
}

void api_creating_free(struct api *a)
{
	while (!list_empty(&a->creating))
		creating_free(LIST_ENTRY(a->creating.next, struct creating, link));
}

static void creating_done(struct ask_forward *f)
{
	/* The topic shows up by metadata, or the client asks again: nothing to tell anybody. */
	creating_free(CONTAINER_OF(f, struct creating, f));
}

static void creating_back(struct msg *m)
{
	struct ask_forward *f = CONTAINER_OF(m, struct ask_forward, msg);
	f->done(f);
}

static void creating_deliver(struct msg *m)
{
	struct ask_forward *f = CONTAINER_OF(m, struct ask_forward, msg);
	struct creating *k = CONTAINER_OF(f, struct creating, f);
	f->msg.deliver = creating_back;
	k->api->services->forward(k->api->services->ctx, f);
}

/* Whether the creation is under way, asked for now or before. False: too many others are; the client asks again. */
static bool ask_controller(struct api_call *c, const struct kp_create_topics_request_topics *t)
{
	struct api *a = c->api;
	uint32_t under_way = 0;
	LIST_FOR(it, &a->creating) {
		if (slice_eq_str(t->name, LIST_ENTRY(it, struct creating, link)->name))
			return true;
		under_way++;
	}
	if (under_way >= CREATING_MAX)
		return false;
	struct creating *k = MEM_NEW(struct creating);
	struct kp_create_topics_request q;
	struct kp_create_topics_request_topics topic = *t;
	struct chain frame;
	k->api = a;
	k->name = mem_strndup((const char *)t->name.ptr, t->name.len);
	list_init(&k->link);
	list_push_back(&a->creating, &k->link);
	kp_create_topics_request_init(&q);
	q.topics = &topic;
	q.topics_count = 1;
	q.timeout_ms = 30000;
	chain_init(&frame);
	wire_request_encode(wire_api_find(KP_API_CREATE_TOPICS), 7, 0, slice_str("klamm-auto-create"), &q, &frame);
	k->f.buf = buf_new(frame.bytes);
	chain_flatten(&frame, k->f.buf->data);
	k->f.request = slice_make(k->f.buf->data + 4, frame.bytes - 4);
	chain_clear(&frame);
	k->f.listener = c->r->listener;
	k->f.timeout_ms = q.timeout_ms;
	k->f.done = creating_done;
	strncpy(k->f.client_host, net_request_peer(c->r), sizeof(k->f.client_host) - 1);
	k->f.msg.deliver = creating_deliver;
	loop_post(a->services->control, &k->f.msg);
	return true;
}

static int32_t brokers_here(struct api_call *c)
{
	int32_t n = 0;
	for (uint32_t i = 0; i < image_broker_count(c->image); i++)
		n += image_broker_at(c->image, i)->available;
	return n;
}

bool api_create_offsets_topic(struct api_call *c)
{
	const struct broker_config *cfg = c->api->config;
	struct kp_create_topics_request_topics t;
	struct kp_create_topics_request_topics_configs set[3];
	if (brokers_here(c) < cfg->offsets.replication_factor)
		return false;
	kp_create_topics_request_topics_init(&t);
	t.name = slice_str(GROUP_TOPIC);
	t.num_partitions = cfg->offsets.partitions;
	t.replication_factor = cfg->offsets.replication_factor;
	for (size_t i = 0; i < ARRAY_LEN(set); i++)
		kp_create_topics_request_topics_configs_init(&set[i]);
	set[0].name = slice_str("cleanup.policy");
	set[0].value = slice_str("compact");
	set[1].name = slice_str("segment.bytes");
	set[1].value = slice_str(arena_printf(&c->r->arena, "%d", cfg->offsets.segment_bytes));
	set[2].name = slice_str("compression.type");
	set[2].value = slice_str("producer");
	t.configs = set;
	t.configs_count = ARRAY_LEN(set);
	return ask_controller(c, &t);
}

int16_t api_auto_create(struct api_call *c, struct slice name)
{
	const struct broker_config *cfg = c->api->config;
	bool offsets = slice_eq_str(name, GROUP_TOPIC), controller = image_controller_broker(c->image) == cfg->broker_id, asked;
	if (slice_eq_str(name, "__transaction_state"))
		return KERR_UNKNOWN_TOPIC_OR_PARTITION; /* transactions are not served yet: it would be an ordinary topic */
	if (brokers_here(c) < (offsets ? cfg->offsets.replication_factor : cfg->default_replication_factor)) {
		if (controller)
			return KERR_INVALID_REPLICATION_FACTOR;
		if (offsets)
			return KERR_UNKNOWN_TOPIC_OR_PARTITION;
	}
	if (offsets) {
		asked = api_create_offsets_topic(c);
	} else {
		struct kp_create_topics_request_topics t;
		kp_create_topics_request_topics_init(&t);
		t.name = name;
		t.num_partitions = -1;
		t.replication_factor = -1;
		asked = ask_controller(c, &t);
	}
	return asked && controller ? KERR_LEADER_NOT_AVAILABLE : KERR_UNKNOWN_TOPIC_OR_PARTITION;
}
