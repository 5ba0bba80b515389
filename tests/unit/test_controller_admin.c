/* test_controller_admin.c: everyday admin requests, and what hands write into ZooKeeper, on whole controllers in the simulated world (fake_cluster.h). */
#include <stdio.h>
#include <string.h>

#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "proto/kafka/kp.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/unit.h"

static int16_t grow_topic(struct fake_world *w, const char *topic, int32_t count, bool validate_only, int32_t timeout_ms, const char *problem)
{
	static uint64_t number = 5000;
	struct fake *f = fake_broker(w, 1);
	struct kp_create_partitions_request r;
	struct kp_create_partitions_request_topics t;
	struct kp_create_partitions_response out;
	kp_create_partitions_request_init(&r);
	kp_create_partitions_request_topics_init(&t);
	t.name = slice_str(topic);
	t.count = count;
	t.assignments_count = -1;
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = timeout_ms;
	r.validate_only = validate_only;
	fake_ask(w, 1, KP_API_CREATE_PARTITIONS, 3, &r, ++number);
	for (int i = 0; i < 800 && f->reply_number != number; i++)
		fake_run_ms(w, 10);
	struct slice in = slice_make(f->reply, (size_t)f->reply_len);
	struct arena a;
	arena_init(&a, 0);
	int16_t code = -99;
	if (f->reply_number == number && !f->reply_error && wire_decode(&kp_create_partitions_response_desc, 3, &in, &a, &out) == 0 && out.results_count == 1) {
		code = out.results[0].error_code;
		if (problem)
			CU_ASSERT(slice_eq_str(out.results[0].error_message, problem));
	}
	arena_fini(&a);
	return code;
}

static int32_t node_partitions(struct fake_world *w, const char *topic, bool *ret_id)
{
	struct str s = {0};
	struct arena a;
	struct zkd_topic t;
	arena_init(&a, 0);
	int32_t n = fake_zk_text(w, zkp_topic(&a, topic), &s) && zkd_topic_decode(slice_make(s.ptr, s.len), &a, &t) == 0 ? (int32_t)t.partition_count : -1;
	*ret_id = n >= 0 && t.has_topic_id;
	arena_fini(&a);
	str_fini(&s);
	return n;
}

static void test_creates_partitions(void)
{
	struct fake_world *w = fake_cluster(15, 3);
	bool has_id;
	CU_ASSERT_EQUAL(fake_create(w, "t", 2, 3), KERR_NONE);
	CU_ASSERT_EQUAL(grow_topic(w, "t", 5, true, 10000, NULL), KERR_NONE); /* only asked */
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 2);
	CU_ASSERT_EQUAL(grow_topic(w, "t", 5, false, 10000, NULL), KERR_NONE);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 5);
	CU_ASSERT(has_id);
	for (int i = 2; i < 5; i++) { /* answered once they have leaders, published to the broker that was asked */
		struct part_view *v = fake_view(fake_broker(w, 1), "t", i);
		CU_ASSERT(v && v->leader > 0 && v->isr_count == 3 && v->fresh == 3);
		CU_ASSERT(fake_state_of(w, "t", i).there);
	}
	CU_ASSERT_EQUAL(grow_topic(w, "t", 5, false, 10000, "Topic already has 5 partitions."), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(grow_topic(w, "nope", 5, false, 10000, "The topic 'nope' does not exist."), KERR_UNKNOWN_TOPIC_OR_PARTITION);
	/* groups are found by a hash modulo the number of partitions */
	CU_ASSERT_EQUAL(fake_create(w, "__consumer_offsets", 4, 3), KERR_NONE);
	for (int only = 1; only >= 0; only--)
		CU_ASSERT_EQUAL(grow_topic(w, "__consumer_offsets", 5, only, 10000, "The number of partitions of '__consumer_offsets' cannot be changed."), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(grow_topic(w, "__consumer_offsets", 4, false, 10000, "Topic already has 4 partitions."), KERR_INVALID_PARTITIONS);
	CU_ASSERT_EQUAL(node_partitions(w, "__consumer_offsets", &has_id), 4);
	CU_ASSERT_EQUAL(grow_topic(w, "t", 6, false, 0, NULL), KERR_REQUEST_TIMED_OUT); /* the work goes on */
	fake_run_ms(w, 1000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 6);
	CU_ASSERT(fake_view(fake_broker(w, 2), "t", 5) != NULL);
	/* the next controller has them too */
	int old = fake_active_idx(w);
	sim_process_kill(w->cp[old]);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(grow_topic(w, "t", 7, false, 10000, NULL), KERR_NONE);
	CU_ASSERT(fake_view(fake_broker(w, 3), "t", 6) != NULL);
	fake_world_free(w);
}

static struct slice reply_to(struct fake_world *w, uint64_t number)
{
	struct fake *f = fake_broker(w, 1);
	for (int i = 0; i < 800 && f->reply_number != number; i++)
		fake_run_ms(w, 10);
	CU_ASSERT_FATAL(f->reply_number == number && !f->reply_error);
	return slice_make(f->reply, (size_t)f->reply_len);
}

/* Names "t0" to "t19", each in turn, but "t7" again and again. */
static struct slice *some_names(struct arena *a, int n)
{
	struct slice *names = ARENA_ARRAY(a, struct slice, (size_t)n);
	for (int i = 0; i < n; i++) {
		char *text = arena_alloc(a, 8);
		names[i] = slice_make(text, (size_t)snprintf(text, 8, "t%d", i < 20 ? i : 7));
	}
	return names;
}

static void test_names_again(void)
{
	enum { N = 60 };
	struct fake_world *w = fake_cluster(19, 3);
	struct arena a;
	arena_init(&a, 0);
	struct slice *names = some_names(&a, N), in;
	struct kp_create_topics_request r;
	struct kp_create_topics_response out;
	kp_create_topics_request_init(&r);
	r.topics = ARENA_ARRAY(&a, struct kp_create_topics_request_topics, N);
	r.topics_count = N;
	r.timeout_ms = 10000;
	for (int i = 0; i < N; i++) {
		kp_create_topics_request_topics_init(&r.topics[i]);
		r.topics[i].name = names[i];
		r.topics[i].num_partitions = r.topics[i].replication_factor = 1;
	}
	fake_ask(w, 1, KP_API_CREATE_TOPICS, 7, &r, 7000);
	in = reply_to(w, 7000);
	CU_ASSERT_FATAL(wire_decode(&kp_create_topics_response_desc, 7, &in, &a, &out) == 0 && out.topics_count == N);
	for (int i = 0; i < N; i++)
		CU_ASSERT_EQUAL(out.topics[i].error_code, i == 7 || i >= 20 ? KERR_INVALID_REQUEST : KERR_NONE);
	struct kp_create_partitions_request g;
	struct kp_create_partitions_response grown;
	kp_create_partitions_request_init(&g);
	g.topics = ARENA_ARRAY(&a, struct kp_create_partitions_request_topics, N);
	g.topics_count = N;
	g.timeout_ms = 10000;
	for (int i = 0; i < N; i++) {
		kp_create_partitions_request_topics_init(&g.topics[i]);
		g.topics[i].name = names[i];
		g.topics[i].count = 2;
		g.topics[i].assignments_count = -1;
	}
	fake_ask(w, 1, KP_API_CREATE_PARTITIONS, 3, &g, 7001);
	in = reply_to(w, 7001);
	CU_ASSERT_FATAL(wire_decode(&kp_create_partitions_response_desc, 3, &in, &a, &grown) == 0 && grown.results_count == 20);
	for (int i = 0; i < 20; i++)
		CU_ASSERT(slice_eq(grown.results[i].name, names[i]) && grown.results[i].error_code == (i == 7 ? KERR_INVALID_REQUEST : KERR_NONE));
	arena_fini(&a);
	fake_world_free(w);
}

enum { MANY = 900 };

static void ask_many(struct fake_world *w, struct arena *a, bool create, int32_t timeout_ms, uint64_t number)
{
	struct slice *names = ARENA_ARRAY(a, struct slice, MANY);
	for (int i = 0; i < MANY; i++) {
		char *text = arena_alloc(a, 8);
		names[i] = slice_make(text, (size_t)snprintf(text, 8, "m%d", i));
	}
	if (create) {
		struct kp_create_topics_request r;
		kp_create_topics_request_init(&r);
		r.topics = ARENA_ARRAY(a, struct kp_create_topics_request_topics, MANY);
		r.topics_count = MANY;
		r.timeout_ms = timeout_ms;
		for (int i = 0; i < MANY; i++) {
			kp_create_topics_request_topics_init(&r.topics[i]);
			r.topics[i].name = names[i];
			r.topics[i].num_partitions = r.topics[i].replication_factor = 1;
		}
		fake_ask(w, 1, KP_API_CREATE_TOPICS, 4, &r, number);
	} else {
		struct kp_delete_topics_request r;
		kp_delete_topics_request_init(&r);
		r.topic_names = names;
		r.topic_names_count = MANY;
		r.timeout_ms = timeout_ms;
		fake_ask(w, 1, KP_API_DELETE_TOPICS, 4, &r, number);
	}
}

/* Rows of the answer that have this code. */
static int with_code(struct fake_world *w, struct arena *a, bool create, uint64_t number, int16_t code)
{
	struct kp_create_topics_response made;
	struct kp_delete_topics_response gone;
	struct slice in = reply_to(w, number);
	int n = 0;
	CU_ASSERT_FATAL(wire_decode(create ? &kp_create_topics_response_desc : &kp_delete_topics_response_desc, 4, &in, a, create ? (void *)&made : &gone) == 0);
	CU_ASSERT_FATAL((create ? made.topics_count : gone.responses_count) == MANY);
	for (int i = 0; i < MANY; i++)
		n += (create ? made.topics[i].error_code : gone.responses[i].error_code) == code;
	return n;
}

static int many_there(struct fake_world *w)
{
	char path[64];
	int n = 0;
	for (int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "/brokers/topics/m%d", i);
		n += fake_zk_there(w, path);
	}
	return n;
}

/* A request that names very many topics is begun in turns: others go on beside it, and what the client does not wait for is done all the same. */
static void test_many_in_one_request(void)
{
	struct fake_world *w = fake_cluster(20, 3);
	struct arena a;
	arena_init(&a, 0);
	ask_many(w, &a, true, 60000, 8000);
	fake_ask_create(w, 1, "small", 1, 1, 8001, NULL, NULL);
	for (int i = 0; i < 10000 && fake_broker(w, 1)->reply_number < 8000; i++)
		fake_run_ms(w, 1);
	CU_ASSERT_EQUAL(fake_created(w, 1, 8001, 0), KERR_NONE);
	CU_ASSERT_EQUAL(with_code(w, &a, true, 8000, KERR_NONE), MANY);
	CU_ASSERT_EQUAL(many_there(w), MANY);
	ask_many(w, &a, false, 0, 8002);
	CU_ASSERT_EQUAL(with_code(w, &a, false, 8002, KERR_REQUEST_TIMED_OUT), MANY);
	for (int i = 0; i < 100 && many_there(w) > 0; i++)
		fake_run_ms(w, 100);
	CU_ASSERT_EQUAL(many_there(w), 0);
	ask_many(w, &a, true, 0, 8003);
	CU_ASSERT_EQUAL(with_code(w, &a, true, 8003, KERR_REQUEST_TIMED_OUT), MANY);
	for (int i = 0; i < 100 && many_there(w) < MANY; i++)
		fake_run_ms(w, 100);
	CU_ASSERT_EQUAL(many_there(w), MANY);
	/* a controller that dies, or is replaced, in the middle of it */
	ask_many(w, &a, false, 60000, 8004);
	fake_run_ms(w, 10);
	sim_process_kill(w->cp[fake_active_idx(w)]);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(fake_create(w, "after", 1, 1), KERR_NONE);
	arena_fini(&a);
	fake_world_free(w);
}

/* Replies lost, servers lagging: what was answered with success is there, what is in ZooKeeper gets leaders. */
static void test_creates_partitions_in_bad_weather(void)
{
	bool has_id;
	for (uint64_t seed = 30; seed < 36; seed++) {
		struct fake_world *w = fake_cluster(seed, 3);
		CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
		sim_zk_set_drop_rate(w->sim, 0.05);
		int32_t sure = 1;
		for (int32_t n = 2; n < 12; n++) {
			int16_t code = grow_topic(w, "t", n, false, 3000, NULL);
			if (code == KERR_NONE)
				sure = n;
		}
		sim_zk_set_drop_rate(w->sim, 0);
		fake_run_ms(w, 20000);
		int32_t there = node_partitions(w, "t", &has_id);
		CU_ASSERT(there >= sure);
		for (int32_t i = 0; i < there; i++)
			CU_ASSERT(fake_state_of(w, "t", i).leader > 0);
		fake_world_free(w);
	}
}

/* /brokers/topics/T edited by hand or by an old tool (H4): new partitions are adopted, the rest of the node is written back. */
static void test_partitions_by_hand(void)
{
	struct fake_world *w = fake_cluster(16, 3);
	bool has_id;
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	struct fake_state before = fake_state_of(w, "t", 0);
	/* what 2.7 writes: no topic id, and another assignment for partition 0 */
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("{\"version\":2,\"partitions\":{\"0\":[3],\"1\":[3,2],\"2\":[2,1]},\"adding_replicas\":{},\"removing_replicas\":{}}"), -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 3);
	CU_ASSERT(has_id);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 1).leader, 3);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 2).leader, 2);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).leader, before.leader);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).isr_count, 3);
	struct part_view *v = fake_view(fake_broker(w, 1), "t", 2);
	CU_ASSERT(v && v->leader == 2 && v->fresh == 2);
	CU_ASSERT_EQUAL(grow_topic(w, "t", 4, false, 10000, NULL), KERR_NONE);
	/* partitions taken away, then rubbish: written back */
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[3]}}"), -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 4);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("rubbish"), -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 4);
	CU_ASSERT(has_id);
	/* after a change of controllers, of one that was there already at the start */
	int old = fake_active_idx(w);
	sim_process_kill(w->cp[old]);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"4\":[1]}}"), -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 5);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 4).leader, 1);
	fake_world_free(w);
}

static void set_partitions(struct fake_world *w, const char *topic, int32_t n, bool make)
{
	struct str json = {0};
	struct arena a;
	arena_init(&a, 0);
	str_add(&json, "{\"version\":1,\"partitions\":{");
	for (int32_t i = 0; i < n; i++)
		str_printf(&json, "%s\"%d\":[1,2,3]", i ? "," : "", i);
	str_add(&json, "}}");
	const char *path = zkp_topic(&a, topic);
	struct slice data = slice_make(json.ptr, json.len);
	CU_ASSERT_EQUAL(make ? sim_zk_create(w->sim, path, data) : sim_zk_set(w->sim, path, data, -1), 0);
	arena_fini(&a);
	str_fini(&json);
}

/* A tool writes the node once more while the controller reads it or writes it back: what it adds the second time stays as well. */
static void test_partitions_by_hand_again(void)
{
	struct fake_world *w = fake_cluster(22, 3);
	bool has_id;
	for (int n = 0; n < 60; n++) {
		char topic[16], other[16];
		snprintf(topic, sizeof(topic), "t%d", n);
		snprintf(other, sizeof(other), "new%d", n);
		CU_ASSERT_EQUAL(fake_create(w, topic, 1, 3), KERR_NONE);
		fake_run_ms(w, 200);
		set_partitions(w, topic, 2, false);
		set_partitions(w, other, 1, true);
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 200 * n);
		set_partitions(w, topic, 3, false);
		set_partitions(w, other, 2, false);
		fake_run_ms(w, 1500);
		CU_ASSERT_EQUAL(node_partitions(w, topic, &has_id), 3);
		CU_ASSERT(has_id && fake_state_of(w, topic, 2).leader > 0);
		CU_ASSERT_EQUAL(node_partitions(w, other, &has_id), 2);
		CU_ASSERT(has_id && fake_state_of(w, other, 1).leader > 0);
	}
	fake_world_free(w);
}

/* A state that a hand wrote is found by the next write: that one goes above its epoch (H4). */
static void test_state_by_hand(void)
{
	struct fake_world *w = fake_cluster(23, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	struct fake_state s = fake_state_of(w, "t", 0);
	char json[160];
	snprintf(json, sizeof(json), "{\"controller_epoch\":1,\"leader\":%d,\"version\":1,\"leader_epoch\":100,\"isr\":[1,2,3]}", s.leader);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t/partitions/0/state", slice_str(json), -1), 0);
	sim_process_kill(w->bp[s.leader - 1]);
	fake_run_ms(w, 3000);
	struct fake_state now = fake_state_of(w, "t", 0);
	CU_ASSERT(now.leader > 0 && now.leader != s.leader && now.leader_epoch > 100);
	struct part_view *v = fake_view(fake_broker(w, now.leader), "t", 0);
	CU_ASSERT(v && v->leader == now.leader && v->leader_epoch == now.leader_epoch && v->partition_epoch == now.version);
	fake_world_free(w);
}

/* Topics beyond the budget of watches are looked at in turn. */
static void test_partitions_by_hand_unwatched(void)
{
	struct fake_world *w = fake_world_new(17);
	bool has_id;
	for (int i = 0; i < 2; i++) {
		w->cfg[i].topic_watch_bytes = 1;
		fake_start_controller(w, i);
	}
	for (int id = 1; id <= 3; id++)
		fake_start_broker(w, id);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "u", 1, 3), KERR_NONE);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2,3],\"1\":[3,2]}}"), -1), 0);
	fake_run_ms(w, 3000);
	CU_ASSERT_EQUAL(node_partitions(w, "t", &has_id), 2);
	CU_ASSERT(has_id);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 1).leader, 3);
	CU_ASSERT_EQUAL(node_partitions(w, "u", &has_id), 1);
	set_partitions(w, "t", 3, false);
	fake_run_ms(w, 3000);
	CU_ASSERT(node_partitions(w, "t", &has_id) == 3 && has_id);
	fake_world_free(w);
}

static void remove_topic_by_hand(struct fake_world *w, const char *topic, int32_t partitions)
{
	struct arena a;
	arena_init(&a, 0);
	for (int32_t i = 0; i < partitions; i++) {
		CU_ASSERT_EQUAL(sim_zk_delete(w->sim, zkp_state(&a, topic, i), -1), 0);
		CU_ASSERT_EQUAL(sim_zk_delete(w->sim, zkp_partition(&a, topic, i), -1), 0);
	}
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, zkp_partitions(&a, topic), -1), 0);
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, zkp_topic(&a, topic), -1), 0);
	arena_fini(&a);
}

static bool node_id(struct fake_world *w, const char *topic, struct uuid *ret)
{
	struct str s = {0};
	struct arena a;
	struct zkd_topic t;
	arena_init(&a, 0);
	bool has = fake_zk_text(w, zkp_topic(&a, topic), &s) && zkd_topic_decode(slice_make(s.ptr, s.len), &a, &t) == 0 && t.has_topic_id;
	if (has)
		*ret = t.topic_id;
	arena_fini(&a);
	str_fini(&s);
	return has;
}

/* An edit or a deletion that comes while a reign loads, wherever between the reading of the node and the end of the load. */
static void test_edited_while_loading(void)
{
	struct fake_world *w = fake_cluster(21, 3);
	struct str json = {0}, epoch = {0}, now = {0};
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	struct uuid id;
	CU_ASSERT(node_id(w, "t", &id));
	struct zkd_partition zp[64];
	int32_t all[] = {1, 2, 3};
	for (int32_t n = 1; n < 60; n++) {
		int old = fake_active_idx(w);
		char gone[16];
		snprintf(gone, sizeof(gone), "gone%d", n);
		CU_ASSERT_EQUAL(fake_create(w, gone, 1, 1), KERR_NONE);
		CU_ASSERT(fake_zk_text(w, ZKP_CONTROLLER_EPOCH, &epoch));
		sim_process_kill(w->cp[old]);
		for (int i = 0; i < 600000 && fake_zk_text(w, ZKP_CONTROLLER_EPOCH, &now) && !strcmp(str_cstr(&epoch), str_cstr(&now)); i++)
			sim_world_run_until(w->sim, sim_now_us(w->sim) + 100);
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 100 * (n - 1));
		for (int32_t i = 0; i <= n; i++)
			zp[i] = (struct zkd_partition){.partition = i, .replicas = {all, 3}};
		str_clear(&json);
		zkd_topic_encode(&json, &(struct zkd_topic){.version = 3, .has_topic_id = true, .topic_id = id, .partitions = zp, .partition_count = (size_t)n + 1});
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_make(json.ptr, json.len), -1), 0);
		remove_topic_by_hand(w, gone, 1);
		fake_run_ms(w, 1500);
		CU_ASSERT(fake_state_of(w, "t", n).leader > 0);
		struct part_view *v = fake_view(fake_broker(w, 1), gone, 0);
		CU_ASSERT(!v || v->leader < 0);
		fake_start_controller(w, old);
		fake_run_ms(w, 500);
	}
	/* a node that cannot be read at the start, and is put right later */
	int last = fake_active_idx(w);
	sim_process_kill(w->cp[last]);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/u", slice_str("rubbish")), 0);
	fake_run_ms(w, 15000);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/u", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2,3]}}"), -1), 0);
	fake_run_ms(w, 1500);
	CU_ASSERT(fake_state_of(w, "u", 0).leader > 0);
	str_fini(&json);
	str_fini(&epoch);
	str_fini(&now);
	fake_world_free(w);
}

/* Another topic of the same name, by a hand, while states of the old one are on their way: some wait to be sent again because an earlier
 * one of their multi failed. It is read once the last of them has ended. */
static void test_replaced_by_hand_under_writes(void)
{
	static const uint8_t id[16] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0x4c, 0xfe, 0x80, 1, 2, 3, 4, 5, 6, 7};
	struct fake_world *w = fake_cluster(18, 3);
	struct str json = {0};
	CU_ASSERT_EQUAL(fake_create(w, "t", 24, 3), KERR_NONE);
	for (int32_t i = 0; i < 24; i++) {
		int32_t leader = fake_state_of(w, "t", i).leader;
		fake_alter(w, "t", i, &leader, 1);
	}
	remove_topic_by_hand(w, "t", 24);
	struct zkd_partition zp = {.partition = 0, .replicas = {(int32_t[]){2, 3}, 2}};
	struct zkd_topic z = {.version = 3, .has_topic_id = true, .partitions = &zp, .partition_count = 1};
	memcpy(z.topic_id.b, id, sizeof(id));
	zkd_topic_encode(&json, &z);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t", slice_make(json.ptr, json.len)), 0);
	fake_run_ms(w, 3000);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).leader, 2);
	struct part_view *v = fake_view(fake_broker(w, 3), "t", 0);
	CU_ASSERT(v && v->leader == 2 && memcmp(v->id, id, sizeof(id)) == 0);
	str_fini(&json);
	fake_world_free(w);
}

/* Old tools write topic nodes without an id. While no controller lives nobody writes it back; the logs know it. */
static void test_id_from_logs(void)
{
	struct fake_world *w = fake_cluster(19, 3);
	struct uuid before, after;
	CU_ASSERT_EQUAL(fake_create(w, "t", 2, 3), KERR_NONE);
	CU_ASSERT(node_id(w, "t", &before));
	for (int i = 0; i < 2; i++)
		sim_process_kill(w->cp[i]);
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2,3],\"1\":[2,3,1],\"2\":[3,1,2]}}"), -1), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/made", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2]}}")), 0);
	for (int id = 1; id <= 3; id++) /* brokers come later than the controller, and one by one */
		sim_process_kill(w->bp[id - 1]);
	fake_run_ms(w, 10000);
	fake_start_controller(w, 0);
	fake_run_ms(w, 10000);
	CU_ASSERT(!node_id(w, "t", &after)); /* whoever may know is away */
	fake_start_broker(w, 3);
	fake_run_ms(w, 3000);
	CU_ASSERT(node_id(w, "t", &after) && uuid_eq(&before, &after));
	CU_ASSERT(!node_id(w, "made", &after));
	fake_start_broker(w, 1);
	fake_start_broker(w, 2);
	fake_run_ms(w, 3000);
	for (int32_t i = 0; i < 3; i++) {
		struct fake_state st = fake_state_of(w, "t", i);
		struct part_view *v = fake_view(fake_broker(w, 1), "t", i);
		CU_ASSERT(st.leader > 0 && st.isr_count >= 1);
		CU_ASSERT(v && v->leader > 0 && memcmp(v->id, before.b, sizeof(before.b)) == 0);
	}
	struct str state = {0}; /* the first one back had its log: it leads by right, not as one that forgot */
	CU_ASSERT(fake_zk_text(w, "/brokers/topics/t/partitions/0/state", &state) && !strstr(str_cstr(&state), "\"lossy\":[3]"));
	CU_ASSERT(strstr(str_cstr(&state), "\"leader_recovery_state\":1") == NULL);
	str_fini(&state);
	CU_ASSERT(node_id(w, "made", &after) && !uuid_eq(&before, &after));
	CU_ASSERT(fake_state_of(w, "made", 0).leader > 0);
	/* the node is made again by a hand, without an id: the same topic still */
	remove_topic_by_hand(w, "t", 3);
	fake_run_ms(w, 1000);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2,3]}}")), 0);
	fake_run_ms(w, 1000);
	CU_ASSERT(node_id(w, "t", &after) && uuid_eq(&before, &after));
	fake_world_free(w);
}

/* Nobody alive has logs of it, one of its replicas is away for long: a new id. */
static void test_id_without_logs(void)
{
	struct fake_world *w = fake_cluster(20, 3);
	struct uuid id;
	sim_process_kill(w->bp[1]);
	fake_run_ms(w, 8000);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2]}}")), 0);
	fake_run_ms(w, 40000);
	CU_ASSERT(node_id(w, "t", &id));
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).leader, 1);
	fake_world_free(w);
}

/* ---- DeleteTopics by id ---- */

struct deleted_row {
	int16_t code; /* -99: no answer */
	char name[64]; /* "-": null */
	struct uuid id;
};

static void ask_delete(struct fake_world *w, const char *name, const struct uuid *id, uint64_t number)
{
	struct kp_delete_topics_request r;
	struct kp_delete_topics_request_topics t;
	kp_delete_topics_request_init(&r);
	kp_delete_topics_request_topics_init(&t);
	t.name = name ? slice_str(name) : (struct slice){NULL, 0};
	t.topic_id = *id;
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = 5000;
	fake_ask(w, 1, KP_API_DELETE_TOPICS, 6, &r, number);
}

static struct deleted_row delete_reply(struct fake_world *w, uint64_t number)
{
	struct fake *f = fake_broker(w, 1);
	struct deleted_row row = {.code = -99, .name = "-"};
	struct kp_delete_topics_response out;
	struct slice in = slice_make(f->reply, (size_t)f->reply_len);
	struct arena a;
	arena_init(&a, 0);
	if (f->reply_number == number && !f->reply_error && wire_decode(&kp_delete_topics_response_desc, 6, &in, &a, &out) == 0 && out.responses_count == 1) {
		row.code = out.responses[0].error_code;
		row.id = out.responses[0].topic_id;
		if (out.responses[0].name.ptr)
			snprintf(row.name, sizeof(row.name), "%.*s", (int)out.responses[0].name.len, (const char *)out.responses[0].name.ptr);
	}
	arena_fini(&a);
	return row;
}

static struct deleted_row delete_topic(struct fake_world *w, const char *name, const struct uuid *id)
{
	static uint64_t number = 9000;
	ask_delete(w, name, id, ++number);
	for (int i = 0; i < 800 && fake_broker(w, 1)->reply_number != number; i++)
		fake_run_ms(w, 10);
	return delete_reply(w, number);
}

static void test_deletes_by_id(void)
{
	static const struct uuid none, unknown = {{0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0x4c, 0xfe, 0x80, 1, 2, 3, 4, 5, 6, 7}};
	struct fake_world *w = fake_cluster(44, 3);
	struct uuid id, other;
	CU_ASSERT_EQUAL(fake_create(w, "t", 2, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "other", 2, 3), KERR_NONE);
	CU_ASSERT(node_id(w, "t", &id) && node_id(w, "other", &other));
	struct deleted_row r = delete_topic(w, NULL, &unknown);
	CU_ASSERT(r.code == KERR_UNKNOWN_TOPIC_ID && !strcmp(r.name, "-") && uuid_eq(&r.id, &unknown));
	r = delete_topic(w, NULL, &none);
	CU_ASSERT(r.code == KERR_UNKNOWN_TOPIC_ID && !strcmp(r.name, "-") && uuid_is_zero(&r.id));
	r = delete_topic(w, "t", &id);
	CU_ASSERT(r.code == KERR_INVALID_REQUEST && !strcmp(r.name, "t") && uuid_eq(&r.id, &id));
	CU_ASSERT(fake_zk_there(w, "/brokers/topics/t"));
	r = delete_topic(w, NULL, &id);
	CU_ASSERT(r.code == KERR_NONE && !strcmp(r.name, "t") && uuid_eq(&r.id, &id));
	CU_ASSERT(!fake_zk_there(w, "/brokers/topics/t") && !fake_zk_there(w, "/config/topics/t"));
	CU_ASSERT_EQUAL(delete_topic(w, NULL, &id).code, KERR_UNKNOWN_TOPIC_ID);
	CU_ASSERT_EQUAL(delete_topic(w, "t", &none).code, KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT(node_id(w, "other", &id) && uuid_eq(&id, &other));
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 1), KERR_NONE); /* another topic: the old id is not its */
	CU_ASSERT_EQUAL(delete_topic(w, NULL, &r.id).code, KERR_UNKNOWN_TOPIC_ID);
	CU_ASSERT(fake_zk_there(w, "/brokers/topics/t"));
	fake_world_free(w);
}

/* A topic goes while states of its partitions are on their way: it waits for them, and nothing of it is made again behind it. */
static void test_deleted_under_writes(void)
{
	static const struct uuid none;
	struct fake_world *w = fake_cluster(49, 3);
	for (int n = 0; n < 40; n++) {
		char topic[16];
		struct arena a;
		arena_init(&a, 0);
		snprintf(topic, sizeof(topic), "t%d", n);
		CU_ASSERT_EQUAL(fake_create(w, topic, 6, 3), KERR_NONE);
		fake_run_ms(w, 200); /* all brokers know of it */
		for (int32_t i = 0; i < 6; i++) {
			int32_t leader = fake_state_of(w, topic, i).leader;
			fake_alter(w, topic, i, &leader, 1);
		}
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 100 * n);
		CU_ASSERT_EQUAL(delete_topic(w, topic, &none).code, KERR_NONE);
		fake_run_ms(w, 300);
		CU_ASSERT(!fake_zk_there(w, zkp_topic(&a, topic)) && !fake_zk_there(w, zkp_config_topic(&a, topic)));
		CU_ASSERT(!fake_view(fake_broker(w, 2), topic, 0));
		arena_fini(&a);
	}
	CU_ASSERT_EQUAL(fake_create(w, "last", 1, 3), KERR_NONE);
	fake_world_free(w);
}

/* What a former topic of its name left below /config is not the new one's. */
static void test_config_left_over(void)
{
	struct fake_world *w = fake_cluster(50, 3);
	struct str s = {0};
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/config/topics/t", slice_str("{\"version\":1,\"config\":{\"min.insync.replicas\":\"3\"}}")), 0);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	CU_ASSERT(fake_zk_text(w, "/config/topics/t", &s) && !strcmp(str_cstr(&s), "{\"version\":1,\"config\":{}}"));
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, 1), "t", 0)->min_isr, 1);
	str_fini(&s);
	fake_world_free(w);
}

/* K1: the brokers that have yet to remove a topic stand in ZooKeeper until the last replica of each is gone: confirmed, or missing when the broker
 * is back as a new life. What may lie in a directory that cannot be looked into is not missing. */
static void test_deletion_is_confirmed(void)
{
	static const struct uuid none;
	struct fake_world *w = fake_cluster(48, 3);
	struct str s = {0};
	struct arena a;
	struct uuid id;
	struct zkd_deleted d;
	arena_init(&a, 0);
	for (int round = 0; round < 2; round++) {
		CU_ASSERT_EQUAL(fake_create(w, "t", 2, 3), KERR_NONE);
		CU_ASSERT(node_id(w, "t", &id));
		CU_ASSERT_EQUAL(delete_topic(w, "t", &none).code, KERR_NONE);
		const char *mark = zkp_deleted(&a, &id);
		CU_ASSERT_FATAL(fake_zk_text(w, mark, &s) && zkd_deleted_decode(slice_make(s.ptr, s.len), &a, &d) == 0);
		CU_ASSERT(!strcmp(d.topic, "t") && d.partition_count == 2 && d.partitions[1].replicas.count == 3);
		for (int i = 0; i < 2 && round == 1; i++) { /* the next reign reads it */
			sim_process_kill(w->cp[i]);
			fake_start_controller(w, i);
		}
		fake_run_ms(w, 8000);
		for (int broker = 1; broker <= 3; broker++) {
			CU_ASSERT(fake_zk_there(w, mark));
			if (round == 0) {
				fake_deletion_done(w, broker, &id);
				fake_run_ms(w, 100);
				CU_ASSERT(fake_zk_there(w, mark)); /* one of two replicas */
				fake_deletion_done(w, broker, &id);
			} else {
				for (int offline = broker == 3; offline >= 0; offline--) {
					w->broker_dir_offline[broker - 1] = offline;
					sim_process_kill(w->bp[broker - 1]);
					fake_start_broker(w, broker);
					fake_run_ms(w, 2000);
					CU_ASSERT(!offline || fake_zk_there(w, mark));
				}
			}
			fake_run_ms(w, 100);
		}
		CU_ASSERT(!fake_zk_there(w, mark));
	}
	str_fini(&s);
	arena_fini(&a);
	fake_world_free(w);
}

/* A tool took the id out of the topic's node while no controller lived; the next one reads the node, finds the id in the first hello, and writes it
 * back. The topic can be deleted all the while: by its id, which clients know, or by a node. */
static void test_deleted_while_read(void)
{
	struct fake_world *w = fake_cluster(45, 3);
	for (int n = 0; n < 80; n++) {
		char topic[16];
		struct uuid id;
		struct arena a;
		arena_init(&a, 0);
		snprintf(topic, sizeof(topic), "t%d", n);
		const char *node = zkp_topic(&a, topic), *request = zkp_delete_topic(&a, topic);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, topic, 2, 3), KERR_NONE);
		CU_ASSERT_FATAL(node_id(w, topic, &id));
		for (int i = 0; i < 2; i++)
			sim_process_kill(w->cp[i]);
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, node, slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2,3],\"1\":[2,3,1]}}"), -1), 0);
		fake_run_ms(w, 500);
		fake_start_controller(w, 0);
		for (int i = 0; i < 200000 && (fake_active_idx(w) < 0 || fake_broker(w, 1)->active < 0); i++)
			sim_world_run_until(w->sim, sim_now_us(w->sim) + 100);
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 200 * (n / 2));
		if (n % 2) {
			CU_ASSERT_EQUAL(sim_zk_create(w->sim, request, (struct slice){NULL, 0}), 0);
		} else {
			ask_delete(w, NULL, &id, 8000 + (uint64_t)n);
		}
		fake_run_ms(w, 3000);
		CU_ASSERT(n % 2 || delete_reply(w, 8000 + (uint64_t)n).code == KERR_NONE);
		CU_ASSERT(!fake_zk_there(w, node) && !fake_zk_there(w, request));
		CU_ASSERT(!fake_view(fake_broker(w, 2), topic, 0));
		fake_start_controller(w, 1);
		fake_run_ms(w, 500);
		arena_fini(&a);
	}
	fake_world_free(w);
}

/* Its node is made again by a hand, and read: deleted meanwhile, it is gone as soon as what is being read is in. */
static void test_deleted_while_made_again(void)
{
	struct fake_world *w = fake_cluster(46, 3);
	int done = 0, vanished = 0;
	for (int n = 0; n < 120; n++) {
		char topic[16];
		struct uuid id;
		struct str json = {0};
		struct arena a;
		arena_init(&a, 0);
		snprintf(topic, sizeof(topic), "t%d", n);
		const char *node = zkp_topic(&a, topic), *request = zkp_delete_topic(&a, topic);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, topic, 2, 3), KERR_NONE);
		CU_ASSERT_FATAL(node_id(w, topic, &id) && fake_zk_text(w, node, &json));
		remove_topic_by_hand(w, topic, 2);
		fake_run_ms(w, 500);
		CU_ASSERT_EQUAL(sim_zk_create(w->sim, node, slice_make(json.ptr, json.len)), 0);
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 100 * (n / 2));
		if (n % 2) {
			CU_ASSERT_EQUAL(sim_zk_create(w->sim, request, (struct slice){NULL, 0}), 0);
		} else {
			ask_delete(w, NULL, &id, 8000 + (uint64_t)n);
		}
		fake_run_ms(w, 3000);
		int16_t code = n % 2 ? KERR_NONE : delete_reply(w, 8000 + (uint64_t)n).code;
		CU_ASSERT(code == KERR_NONE || code == KERR_UNKNOWN_TOPIC_ID); /* it came before the node was seen */
		CU_ASSERT(!fake_zk_there(w, request));
		if (n % 2 == 0) {
			CU_ASSERT_EQUAL(fake_zk_there(w, node), code != KERR_NONE);
			done += code == KERR_NONE;
			vanished += code != KERR_NONE;
		}
		str_fini(&json);
		arena_fini(&a);
	}
	CU_ASSERT(done > 0 && vanished > 0);
	fake_world_free(w);
}

/* One that has no id yet is not known to any client; a tool's node deletes it once it has one. */
static void test_deleted_without_id(void)
{
	static const struct uuid none;
	struct fake_world *w = fake_cluster(47, 3);
	struct uuid id;
	sim_process_kill(w->bp[1]); /* it may have logs of it, and this reign has not heard it */
	for (int i = 0; i < 2; i++)
		sim_process_kill(w->cp[i]);
	fake_start_controller(w, 0);
	fake_run_ms(w, 8000);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t", slice_str("{\"version\":1,\"partitions\":{\"0\":[1,2]}}")), 0);
	fake_run_ms(w, 1000);
	CU_ASSERT_EQUAL(delete_topic(w, "t", &none).code, KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT(fake_zk_there(w, "/brokers/topics/t") && !node_id(w, "t", &id));
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/t", (struct slice){NULL, 0}), 0);
	fake_run_ms(w, 1000);
	CU_ASSERT(fake_zk_there(w, "/brokers/topics/t"));
	fake_run_ms(w, 40000);
	CU_ASSERT(!fake_zk_there(w, "/brokers/topics/t") && !fake_zk_there(w, "/admin/delete_topics/t"));
	fake_world_free(w);
}

/* ---- elections on request ---- */

/* Code of the one row, -1000 if there is none; the whole cluster when topic is NULL. */
static int16_t elect(struct fake_world *w, const char *topic, int32_t partition, int8_t type)
{
	static uint64_t number = 7000;
	struct fake *f = fake_broker(w, 1);
	struct kp_elect_leaders_request r;
	struct kp_elect_leaders_request_topic_partitions t;
	struct kp_elect_leaders_response out;
	kp_elect_leaders_request_init(&r);
	kp_elect_leaders_request_topic_partitions_init(&t);
	t.topic = slice_str(topic ? topic : "");
	t.partitions = &partition;
	t.partitions_count = 1;
	r.topic_partitions = topic ? &t : NULL;
	r.topic_partitions_count = topic ? 1 : -1;
	r.election_type = type;
	r.timeout_ms = 5000;
	fake_ask(w, 1, KP_API_ELECT_LEADERS, 2, &r, ++number);
	for (int i = 0; i < 800 && f->reply_number != number; i++)
		fake_run_ms(w, 10);
	struct slice in = slice_make(f->reply, (size_t)f->reply_len);
	struct arena a;
	arena_init(&a, 0);
	int16_t code = -999;
	if (f->reply_number == number && !f->reply_error && wire_decode(&kp_elect_leaders_response_desc, 2, &in, &a, &out) == 0)
		code = out.replica_election_results_count == 0 ? -1000 : out.replica_election_results[0].partition_result[0].error_code;
	arena_fini(&a);
	return code;
}

/* Every replica is in sync again (the fake brokers do not ask by themselves). */
static void all_in_sync(struct fake_world *w, const char *topic, int32_t partitions)
{
	for (int32_t i = 0; i < partitions; i++) {
		int32_t leader = fake_state_of(w, topic, i).leader, isr[3] = {leader, leader % 3 + 1, (leader + 1) % 3 + 1};
		fake_alter(w, topic, i, isr, 3);
		fake_run_ms(w, 300);
		CU_ASSERT_EQUAL(fake_state_of(w, topic, i).isr_count, 3);
	}
}

static int32_t led_by(struct fake_world *w, const char *topic, int32_t partitions, int32_t id)
{
	int32_t n = 0;
	for (int32_t i = 0; i < partitions; i++)
		n += fake_state_of(w, topic, i).leader == id;
	return n;
}

static void lose_and_return(struct fake_world *w, int id, const char *topic, int32_t partitions)
{
	sim_process_kill(w->bp[id - 1]);
	fake_run_ms(w, 4000);
	CU_ASSERT_EQUAL(led_by(w, topic, partitions, id), 0);
	fake_start_broker(w, id);
	fake_run_ms(w, 4000);
}

static void test_elects_preferred(void)
{
	struct fake_world *w = fake_cluster(40, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(led_by(w, "t", 6, 3), 2);
	int32_t mine = 0;
	while (fake_state_of(w, "t", mine).leader != 3)
		mine++;
	CU_ASSERT_EQUAL(elect(w, "t", mine, 0), KERR_ELECTION_NOT_NEEDED);
	CU_ASSERT_EQUAL(elect(w, "t", 6, 0), KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(elect(w, "nope", 0, 0), KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(elect(w, "t", mine, 2), KERR_UNKNOWN_SERVER_ERROR);
	CU_ASSERT_EQUAL(elect(w, NULL, 0, 0), -1000); /* nothing to do: nothing to say */
	lose_and_return(w, 3, "t", 6);
	CU_ASSERT_EQUAL(elect(w, "t", mine, 0), KERR_PREFERRED_LEADER_NOT_AVAILABLE); /* not in the ISR yet */
	all_in_sync(w, "t", 6);
	struct fake_state before = fake_state_of(w, "t", mine);
	CU_ASSERT_EQUAL(elect(w, "t", mine, 0), KERR_NONE);
	struct fake_state after = fake_state_of(w, "t", mine);
	CU_ASSERT(after.leader == 3 && after.leader_epoch == before.leader_epoch + 1 && after.isr_count == 3);
	struct part_view *v = fake_view(fake_broker(w, 1), "t", mine);
	CU_ASSERT(v && v->leader == 3); /* whoever was asked knows it already */
	CU_ASSERT_EQUAL(elect(w, NULL, 0, 0), KERR_NONE); /* the other one */
	CU_ASSERT_EQUAL(led_by(w, "t", 6, 3), 2);
	CU_ASSERT_EQUAL(elect(w, "t", mine, 1), KERR_ELECTION_NOT_NEEDED);
	fake_world_free(w);
}

static void test_elects_by_node(void)
{
	struct fake_world *w = fake_cluster(41, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	lose_and_return(w, 2, "t", 3);
	all_in_sync(w, "t", 3);
	CU_ASSERT_EQUAL(led_by(w, "t", 3, 2), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, ZKP_PREFERRED_ELECTION, slice_str("{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0},{\"topic\":\"t\",\"partition\":1},"
		"{\"topic\":\"t\",\"partition\":2},{\"topic\":\"nope\",\"partition\":7}]}")), 0);
	fake_run_ms(w, 1500);
	CU_ASSERT_EQUAL(led_by(w, "t", 3, 2), 1);
	CU_ASSERT(!fake_zk_there(w, ZKP_PREFERRED_ELECTION));
	/* one that cannot be read, and one that waited for a controller */
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, ZKP_PREFERRED_ELECTION, slice_str("rubbish")), 0);
	fake_run_ms(w, 1500);
	CU_ASSERT(!fake_zk_there(w, ZKP_PREFERRED_ELECTION));
	lose_and_return(w, 2, "t", 3);
	all_in_sync(w, "t", 3);
	for (int i = 0; i < 2; i++)
		sim_process_kill(w->cp[i]);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, ZKP_PREFERRED_ELECTION, slice_str("{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0},{\"topic\":\"t\",\"partition\":1},"
		"{\"topic\":\"t\",\"partition\":2}]}")), 0);
	fake_start_controller(w, 0);
	fake_run_ms(w, 25000);
	CU_ASSERT_EQUAL(led_by(w, "t", 3, 2), 1);
	CU_ASSERT(!fake_zk_there(w, ZKP_PREFERRED_ELECTION));
	fake_world_free(w);
}

/* The last replica is gone, registration and all: no leader; an outdated one leads when it is told to. */
static void test_elects_uncleanly(void)
{
	struct fake_world *w = fake_cluster(43, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 2, 3), KERR_NONE);
	int32_t p = fake_state_of(w, "t", 0).leader == 1; /* not the partition of broker 1, through which requests go */
	int32_t first = fake_state_of(w, "t", p).leader, alone[1] = {first};
	fake_alter(w, "t", p, alone, 1);
	fake_run_ms(w, 500);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", p).isr_count, 1);
	CU_ASSERT_EQUAL(elect(w, "t", p, 1), KERR_ELECTION_NOT_NEEDED);
	sim_process_kill(w->bp[first - 1]);
	fake_run_ms(w, 25000);
	struct fake_state s = fake_state_of(w, "t", p);
	CU_ASSERT_EQUAL(s.leader, -1);
	CU_ASSERT_EQUAL(s.isr_count, 1);
	CU_ASSERT_EQUAL(elect(w, "t", p, 1), KERR_NONE);
	s = fake_state_of(w, "t", p);
	CU_ASSERT(s.leader > 0 && s.leader != first);
	fake_world_free(w);
}

static void test_balances_leaders(void)
{
	struct fake_world *w = fake_world_new(42);
	for (int i = 0; i < 2; i++) {
		w->cfg[i].leader_rebalance = true;
		w->cfg[i].leader_imbalance_check_s = 20;
		w->cfg[i].leader_imbalance_percentage = 10;
		fake_start_controller(w, i);
	}
	for (int id = 1; id <= 3; id++)
		fake_start_broker(w, id);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	lose_and_return(w, 1, "t", 6);
	all_in_sync(w, "t", 6);
	fake_run_ms(w, 25000);
	CU_ASSERT_EQUAL(led_by(w, "t", 6, 1), 2);
	fake_world_free(w);
}

UNIT_MAIN("controller_admin", {"creates_partitions", test_creates_partitions}, {"creates_partitions_in_bad_weather", test_creates_partitions_in_bad_weather},
	  {"names_again", test_names_again}, {"many_in_one_request", test_many_in_one_request}, {"partitions_by_hand", test_partitions_by_hand}, {"partitions_by_hand_unwatched", test_partitions_by_hand_unwatched},
	  {"partitions_by_hand_again", test_partitions_by_hand_again}, {"state_by_hand", test_state_by_hand},
	  {"replaced_by_hand_under_writes", test_replaced_by_hand_under_writes},
	  {"edited_while_loading", test_edited_while_loading}, {"id_from_logs", test_id_from_logs}, {"id_without_logs", test_id_without_logs},
	  {"deletes_by_id", test_deletes_by_id}, {"deletion_is_confirmed", test_deletion_is_confirmed}, {"deleted_under_writes", test_deleted_under_writes}, {"config_left_over", test_config_left_over},
	  {"deleted_while_read", test_deleted_while_read}, {"deleted_while_made_again", test_deleted_while_made_again},
	  {"deleted_without_id", test_deleted_without_id},
	  {"elects_preferred", test_elects_preferred}, {"elects_by_node", test_elects_by_node}, {"elects_uncleanly", test_elects_uncleanly}, {"balances_leaders", test_balances_leaders})
