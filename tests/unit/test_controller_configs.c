/* test_controller_configs.c: AlterConfigs and what stock tools write below /config, on whole controllers in the simulated world (fake_cluster.h). */
#include <stdio.h>
#include <string.h>

#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "proto/kafka/kp.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/unit.h"

/* Sends a change of one key of one resource to broker `id`. */
static void ask_alter(struct fake_world *w, int id, int8_t type, const char *name, const char *key, const char *value, bool validate_only, uint64_t number)
{
	struct kp_incremental_alter_configs_request r;
	struct kp_incremental_alter_configs_request_resources res;
	struct kp_incremental_alter_configs_request_resources_configs c;
	kp_incremental_alter_configs_request_init(&r);
	kp_incremental_alter_configs_request_resources_init(&res);
	kp_incremental_alter_configs_request_resources_configs_init(&c);
	c.name = slice_str(key);
	c.value = value ? slice_str(value) : (struct slice){NULL, 0};
	c.config_operation = value ? 0 : 1;
	res.resource_type = type;
	res.resource_name = slice_str(name);
	res.configs = &c;
	res.configs_count = 1;
	r.resources = &res;
	r.resources_count = 1;
	r.validate_only = validate_only;
	fake_ask(w, id, KP_API_INCREMENTAL_ALTER_CONFIGS, 1, &r, number);
}

/* And waits: the code of its row. */
static int16_t alter_config(struct fake_world *w, int id, int8_t type, const char *name, const char *key, const char *value, bool validate_only)
{
	static uint64_t number = 5000;
	ask_alter(w, id, type, name, key, value, validate_only, ++number);
	struct fake *f = fake_broker(w, id);
	for (int i = 0; i < 500 && f->reply_number != number; i++)
		fake_run_ms(w, 10);
	CU_ASSERT_EQUAL(f->reply_number, number);
	struct arena a;
	struct kp_incremental_alter_configs_response out;
	struct slice in = slice_make(f->reply, (size_t)f->reply_len);
	arena_init(&a, 0);
	int16_t code = f->reply_error ? (int16_t)f->reply_error : -98;
	if (!f->reply_error && wire_decode(&kp_incremental_alter_configs_response_desc, 1, &in, &a, &out) == 0 && out.responses_count == 1)
		code = out.responses[0].error_code;
	arena_fini(&a);
	return code;
}

static void count_node(void *ctx, const char *path, struct slice data, const struct zk_stat *stat) { ++*(int *)ctx; }
static int notes(struct fake_world *w)
{
	int n = 0;
	sim_zk_walk(w->sim, ZKP_CONFIG_CHANGES, count_node, &n);
	return n - 1;
}

static bool text_is(struct fake_world *w, const char *path, const char *want)
{
	struct str s = {0};
	bool same = fake_zk_text(w, path, &s) && strcmp(str_cstr(&s), want) == 0;
	if (!same)
		printf("    %s: %s\n", path, str_cstr(&s));
	str_fini(&s);
	return same;
}

/* The nodes are Kafka's to the byte, the brokers hear of it before the client does, and old notifications go. */
static void test_configs(void)
{
	struct fake_world *w = fake_cluster(21, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, 2), "t", 0)->min_isr, 1);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "min.insync.replicas", "2", true), 0); /* only looked at */
	CU_ASSERT_EQUAL(notes(w), 0);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "min.insync.replicas", "2", false), 0);
	CU_ASSERT(text_is(w, "/config/topics/t", "{\"version\":1,\"config\":{\"min.insync.replicas\":\"2\"}}"));
	CU_ASSERT(text_is(w, "/config/changes/config_change_0000000000", "{\"version\":2,\"entity_path\":\"topics/t\"}"));
	fake_run_ms(w, 100);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, 2), "t", 0)->min_isr, 2);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "min.insync.replicas", "0", false), KERR_INVALID_CONFIG);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "nosuch", "retention.ms", "1", false), KERR_UNKNOWN_TOPIC_OR_PARTITION);
	CU_ASSERT_EQUAL(alter_config(w, 2, 4, "2", "log.retention.ms", "5", false), 0);
	CU_ASSERT_EQUAL(alter_config(w, 2, 4, "1", "log.retention.ms", "5", false), KERR_INVALID_REQUEST); /* not the broker that was asked */
	CU_ASSERT(text_is(w, "/config/brokers/2", "{\"version\":1,\"config\":{\"log.retention.ms\":\"5\"}}"));
	CU_ASSERT_EQUAL(alter_config(w, 3, 4, "", "min.insync.replicas", "3", false), 0);
	CU_ASSERT(text_is(w, "/config/brokers/<default>", "{\"version\":1,\"config\":{\"min.insync.replicas\":\"3\"}}"));
	CU_ASSERT(text_is(w, "/config/changes/config_change_0000000002", "{\"version\":2,\"entity_path\":\"brokers/<default>\"}"));
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "min.insync.replicas", NULL, false), 0);
	fake_run_ms(w, 100);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, 1), "t", 0)->min_isr, 3);
	/* as a tool of 2.8 does it: the node, then a notification in the old form */
	CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/config/topics/t", slice_str("{\"version\":1,\"config\":{\"min.insync.replicas\":\"1\"}}"), -1), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/config/changes/config_change_0000000004", slice_str("{\"version\":1,\"entity_type\":\"topics\",\"entity_name\":\"t\"}")), 0);
	fake_run_ms(w, 1900);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, 1), "t", 0)->min_isr, 1);
	CU_ASSERT_EQUAL(notes(w), 5);
	fake_run_ms(w, 10 * 60 * 1000);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "retention.ms", "8", false), 0);
	fake_run_ms(w, 1000);
	CU_ASSERT_EQUAL(notes(w), 6); /* whoever reads them has a quarter of an hour */
	fake_run_ms(w, 16 * 60 * 1000);
	CU_ASSERT_EQUAL(notes(w), 6); /* the next one finds them */
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "retention.ms", "9", false), 0);
	fake_run_ms(w, 1000);
	CU_ASSERT_EQUAL(notes(w), 1);
	CU_ASSERT(text_is(w, "/config/topics/t", "{\"version\":1,\"config\":{\"min.insync.replicas\":\"1\",\"retention.ms\":\"9\"}}"));
	fake_world_free(w);
}

/* Somebody writes the node between our read and our write: nothing of either is lost. */
static void test_configs_contended(void)
{
	struct fake_world *w = fake_cluster(22, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	for (int i = 0; i < 40; i++) {
		char text[96], value[16];
		snprintf(text, sizeof(text), "{\"version\":1,\"config\":{\"flush.ms\":\"%d\"}}", 1000 + i);
		snprintf(value, sizeof(value), "%d", 1 + i);
		ask_alter(w, 1, 2, "t", "retention.ms", value, false, (uint64_t)(9000 + i));
		sim_world_run_until(w->sim, sim_now_us(w->sim) + i * 250); /* somewhere between the read and the write */
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/config/topics/t", slice_str(text), -1), 0);
		for (int k = 0; k < 300 && fake_broker(w, 1)->reply_number != (uint64_t)(9000 + i); k++)
			fake_run_ms(w, 10);
		struct str s = {0};
		snprintf(value, sizeof(value), "\"%d\"", 1000 + i);
		CU_ASSERT(fake_zk_text(w, "/config/topics/t", &s));
		CU_ASSERT(strstr(str_cstr(&s), value) != NULL); /* the tool wrote last, or we built on what it wrote */
		str_fini(&s);
	}
	fake_world_free(w);
}

/* A broker answers its client by the image that it has: the change is in it before the reply is. Also when the controller stood still for a
 * moment, and finds the end of a write and its own clock in one turn. */
static void test_configs_told_first(void)
{
	struct fake_world *w = fake_cluster(24, 3);
	struct fake *f = fake_broker(w, 1);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	struct sim_process *active = w->cp[fake_active_idx(w)];
	for (int i = 0; i < 200; i++) {
		char value[16];
		snprintf(value, sizeof(value), "%d", 1000 + i);
		fake_run_ms(w, 200);
		uint64_t before = f->seq;
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 130 * i);
		ask_alter(w, 1, 2, "t", "retention.ms", value, false, (uint64_t)(7000 + i));
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 1000 + 10 * i);
		sim_process_pause(active);
		fake_run_ms(w, 70);
		sim_process_resume(active);
		for (int k = 0; k < 300 && f->reply_number != (uint64_t)(7000 + i); k++)
			fake_run_ms(w, 10);
		CU_ASSERT(f->reply_number == (uint64_t)(7000 + i) && f->reply_seq > before);
	}
	fake_world_free(w);
}

/* Replies are lost and the connection with them: what was said to be done is there, and nothing is done by halves. */
static void test_configs_lost_replies(void)
{
	struct fake_world *w = fake_cluster(23, 3);
	struct str s = {0};
	int done = 0;
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	sim_zk_set_drop_rate(w->sim, 0.02);
	for (int i = 0; i < 60; i++) {
		char value[16], want[32];
		snprintf(value, sizeof(value), "%d", 1000 + i);
		snprintf(want, sizeof(want), "\"%d\"", 1000 + i);
		int16_t code = alter_config(w, 1, 2, "t", "retention.ms", value, false);
		if (code)
			fake_run_ms(w, 500);
		CU_ASSERT(code == 0 || code == KERR_NOT_CONTROLLER || code == KERR_REQUEST_TIMED_OUT);
		done += code == 0;
		s.len = 0;
		CU_ASSERT(fake_zk_text(w, "/config/topics/t", &s));
		if (code == 0)
			CU_ASSERT(strstr(str_cstr(&s), want) != NULL);
	}
	CU_ASSERT(done > 30);
	str_fini(&s);
	fake_world_free(w);
}

/* The last member of the ISR is away: once unclean election is allowed, while everything runs, another one leads. */
static void test_unclean_by_config(void)
{
	struct fake_world *w = fake_cluster(24, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	int32_t leader = fake_state_of(w, "t", 0).leader;
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 500);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).isr_count, 1);
	sim_process_kill(w->bp[leader - 1]);
	fake_run_ms(w, 20000);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).leader, -1);
	int asked = leader == 1 ? 2 : 1;
	CU_ASSERT_EQUAL(alter_config(w, asked, 2, "t", "unclean.leader.election.enable", "true", false), 0);
	fake_run_ms(w, 500);
	struct fake_state now = fake_state_of(w, "t", 0);
	CU_ASSERT(now.leader > 0 && now.leader != leader);
	fake_world_free(w);
}

static void highest_note(void *ctx, const char *path, struct slice data, const struct zk_stat *stat)
{
	int64_t seq;
	const char *name = strrchr(path, '/') + 1;
	if (zkp_sequence(name, ZKP_CONFIG_CHANGE_PREFIX, &seq) == 0 && seq > *(int64_t *)ctx)
		*(int64_t *)ctx = seq;
}

/* A tool's notification next to one of ours: it is read, whichever of the two comes first. */
static void test_note_of_a_tool(void)
{
	struct fake_world *w = fake_cluster(26, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	CU_ASSERT_EQUAL(fake_create(w, "u", 1, 3), 0);
	for (int i = 0; i < 60; i++) {
		char text[96], path[64];
		int64_t seq = -1;
		int min = 1 + (i + 1) % 2;
		snprintf(text, sizeof(text), "%d", 1000 + i);
		ask_alter(w, 1, 2, "t", "retention.ms", text, false, (uint64_t)(7000 + i));
		sim_world_run_until(w->sim, sim_now_us(w->sim) + i * 150);
		snprintf(text, sizeof(text), "{\"version\":1,\"config\":{\"min.insync.replicas\":\"%d\"}}", min);
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, "/config/topics/u", slice_str(text), -1), 0);
		sim_zk_walk(w->sim, ZKP_CONFIG_CHANGES, highest_note, &seq);
		snprintf(path, sizeof(path), ZKP_CONFIG_CHANGES "/" ZKP_CONFIG_CHANGE_PREFIX "%010d", (int)seq + 1);
		CU_ASSERT_EQUAL(sim_zk_create(w->sim, path, slice_str("{\"version\":2,\"entity_path\":\"topics/u\"}")), 0);
		fake_run_ms(w, 1000);
		CU_ASSERT_EQUAL(fake_view(fake_broker(w, 2), "u", 0)->min_isr, min);
		CU_ASSERT_EQUAL(fake_broker(w, 1)->reply_number, (uint64_t)(7000 + i));
	}
	fake_world_free(w);
}

/* E2: a lower minimum counts when no replica is eligible any more by ZooKeeper: else one that has less would be elected by the list of the old one. */
static void test_min_lowered_in_order(void)
{
	struct fake_world *w = fake_cluster(25, 3);
	struct str s = {0};
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), 0);
	CU_ASSERT_EQUAL(alter_config(w, 1, 2, "t", "min.insync.replicas", "2", false), 0);
	int32_t leader = fake_state_of(w, "t", 0).leader;
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 500);
	CU_ASSERT(fake_zk_text(w, "/brokers/topics/t/partitions/0/state", &s) && strstr(str_cstr(&s), "\"elr\":[") && !strstr(str_cstr(&s), "\"elr\":[]"));
	ask_alter(w, 1, 2, "t", "min.insync.replicas", "1", false, 6000);
	for (int i = 0; i < 20000 && fake_view(fake_broker(w, leader), "t", 0)->min_isr != 1; i++)
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 100);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, leader), "t", 0)->min_isr, 1);
	CU_ASSERT(fake_zk_text(w, "/brokers/topics/t/partitions/0/state", &s) && !strstr(str_cstr(&s), "elr"));
	str_fini(&s);
	fake_world_free(w);
}

UNIT_MAIN("controller_configs", {"configs", test_configs}, {"contended", test_configs_contended}, {"told_first", test_configs_told_first},
	{"lost_replies", test_configs_lost_replies}, {"unclean_by_config", test_unclean_by_config}, {"min_lowered_in_order", test_min_lowered_in_order},
	{"note_of_a_tool", test_note_of_a_tool})
