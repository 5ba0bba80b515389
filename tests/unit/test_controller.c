/* test_controller.c: whole controllers in the simulated world (fake_cluster.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "proto/kafka/kp.h"
#include "tests/unit/fake_cluster.h"
#include "tests/unit/unit.h"

static void test_elects_one(void)
{
	struct fake_world *w = fake_cluster(1, 0);
	struct str s = {0};
	struct arena a;
	struct zkd_controller c;
	struct controller_view v0, v1;
	arena_init(&a, 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(fake_active(w, 0, &v0) + fake_active(w, 1, &v1), 1);
	CU_ASSERT_FATAL(fake_zk_text(w, ZKP_CONTROLLER, &s));
	CU_ASSERT_FATAL(zkd_controller_decode(slice_make(s.ptr, s.len), &a, &c) == 0);
	CU_ASSERT(c.has_klamm);
	CU_ASSERT_EQUAL(c.klamm_id, 100 + fake_active_idx(w));
	CU_ASSERT_EQUAL(c.brokerid, c.klamm_id); /* no broker lives (J1) */
	CU_ASSERT(fake_zk_text(w, ZKP_CONTROLLER_EPOCH, &s));
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "1");
	static const char *const must[] = {ZKP_BROKER_IDS, ZKP_TOPICS, ZKP_CLUSTER_ID, ZKP_FEATURE, ZKP_KLAMM_LINEAGE, ZKP_CONFIG_CHANGES, "/klamm/controllers/100",
					   "/klamm/controllers/101", ZKP_KLAMM_STATUS_CONTROLLER};
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		CU_ASSERT(fake_zk_there(w, must[i]));
	int status = 0;
	str_clear(&s);
	CU_ASSERT_EQUAL(sim_http_get(w->cp[0], "/health", &s, &status), 0);
	CU_ASSERT_EQUAL(status, 200);
	CU_ASSERT(strstr(str_cstr(&s), "\"state\":\"running\"") != NULL);
	str_clear(&s);
	CU_ASSERT_EQUAL(sim_http_get(w->cp[1], "/metrics", &s, &status), 0);
	CU_ASSERT(strstr(str_cstr(&s), "klamm_controller_active ") != NULL);
	str_fini(&s);
	arena_fini(&a);
	fake_world_free(w);
}

static void test_takes_over_from_killed(void)
{
	struct fake_world *w = fake_cluster(2, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	struct fake_state before = fake_state_of(w, "t", 0);
	int was = fake_active_idx(w);
	sim_process_kill(w->cp[was]);
	fake_run_ms(w, 1500);
	CU_ASSERT_EQUAL(fake_active_idx(w), 1 - was);
	struct controller_view v;
	CU_ASSERT(fake_active(w, 1 - was, &v));
	CU_ASSERT_EQUAL(v.epoch, 2);
	CU_ASSERT_EQUAL(fake_create(w, "u", 1, 3), KERR_NONE);
	struct fake_state after = fake_state_of(w, "t", 0);
	CU_ASSERT_EQUAL(after.leader_epoch, before.leader_epoch); /* nothing moved */
	CU_ASSERT_EQUAL(after.version, before.version);
	/* back again: a standby, and nothing moves either */
	fake_start_controller(w, was);
	fake_run_ms(w, 3000);
	CU_ASSERT_EQUAL(fake_active_idx(w), 1 - was);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).version, before.version);
	fake_world_free(w);
}

static void test_paused_active_is_replaced_once(void)
{
	struct fake_world *w = fake_cluster(3, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	int was = fake_active_idx(w);
	sim_process_pause(w->cp[was]);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(fake_active_idx(w) == was ? 1 - was : fake_active_idx(w), 1 - was);
	sim_process_resume(w->cp[was]);
	fake_run_ms(w, 5000);
	struct controller_view v;
	CU_ASSERT(fake_active(w, 1 - was, &v));
	CU_ASSERT_EQUAL(v.epoch, 2);
	CU_ASSERT_EQUAL(fake_active(w, was, &v), false);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).leader_epoch, 0);
	fake_world_free(w);
}

static void test_creates_and_deletes(void)
{
	struct fake_world *w = fake_cluster(4, 3);
	CU_ASSERT_EQUAL(fake_create(w, "orders", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "orders", 6, 3), KERR_TOPIC_ALREADY_EXISTS);
	CU_ASSERT_EQUAL(fake_create(w, "bad name", 6, 3), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(fake_create(w, "wide", 1, 4), KERR_INVALID_REPLICATION_FACTOR);
	for (int i = 0; i < 6; i++) {
		struct fake_state s = fake_state_of(w, "orders", i);
		CU_ASSERT(s.there);
		CU_ASSERT_EQUAL(s.isr_count, 3);
		CU_ASSERT_EQUAL(s.leader_epoch, 0);
		for (int id = 1; id <= 3; id++) {
			struct part_view *v = fake_view(fake_broker(w, id), "orders", i);
			CU_ASSERT(v != NULL && v->leader == s.leader && v->isr_count == 3 && v->min_isr == 1 && v->fresh == 3);
		}
	}
	struct kp_delete_topics_request r;
	struct kp_delete_topics_request_topics t;
	kp_delete_topics_request_init(&r);
	kp_delete_topics_request_topics_init(&t);
	t.name = slice_str("orders");
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = 5000;
	fake_ask(w, 2, KP_API_DELETE_TOPICS, 6, &r, 77);
	fake_run_ms(w, 1500);
	CU_ASSERT_EQUAL(fake_broker(w, 2)->reply_number, 77);
	CU_ASSERT(!fake_zk_there(w, "/brokers/topics/orders"));
	CU_ASSERT(!fake_zk_there(w, "/config/topics/orders"));
	CU_ASSERT(fake_view(fake_broker(w, 3), "orders", 0) == NULL);
	CU_ASSERT_EQUAL(fake_broker(w, 3)->removed, 6);
	CU_ASSERT_EQUAL(fake_create(w, "orders", 1, 1), KERR_NONE);
	fake_world_free(w);
}

/* Nodes of the topic that a hand took away, or left: what is there is what is deleted. */
static void test_deletes_what_is_there(void)
{
	struct fake_world *w = fake_cluster(38, 3);
	struct kp_delete_topics_request r;
	struct kp_delete_topics_request_topics t;
	kp_delete_topics_request_init(&r);
	kp_delete_topics_request_topics_init(&t);
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = 3000;
	for (int how = 0; how < 4; how++) {
		char topic[16], path[64];
		snprintf(topic, sizeof(topic), "t%d", how);
		CU_ASSERT_EQUAL(fake_create(w, topic, 3, 3), KERR_NONE);
		if (how == 0 || how == 1) { /* a state; and its parent with it */
			snprintf(path, sizeof(path), "/brokers/topics/t%d/partitions/1/state", how);
			CU_ASSERT_EQUAL(sim_zk_delete(w->sim, path, -1), 0);
		}
		if (how == 1) {
			CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/brokers/topics/t1/partitions/1", -1), 0);
		} else if (how == 2) { /* of a partition that the topic does not have */
			CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t2/partitions/7", (struct slice){NULL, 0}), 0);
			CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/t2/partitions/7/state", slice_str("x")), 0);
		} else if (how == 3) {
			CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/config/topics/t3", -1), 0);
		}
		t.name = slice_str(topic);
		fake_ask(w, 1, KP_API_DELETE_TOPICS, 6, &r, 80 + (uint64_t)how);
		fake_run_ms(w, 1000);
		CU_ASSERT_EQUAL(fake_broker(w, 1)->reply_number, 80 + (uint64_t)how);
		snprintf(path, sizeof(path), "/brokers/topics/t%d", how);
		CU_ASSERT(!fake_zk_there(w, path));
		CU_ASSERT(fake_view(fake_broker(w, 3), topic, 0) == NULL);
	}
	fake_world_free(w);
}

static void test_large_topic(void)
{
	struct fake_world *w = fake_cluster(5, 3);
	int64_t began = sim_now_us(w->sim);
	CU_ASSERT_EQUAL(fake_create(w, "large", 10000, 3), KERR_NONE);
	CU_ASSERT(sim_now_us(w->sim) - began < 8 * SECOND);
	CU_ASSERT(fake_state_of(w, "large", 9999).there);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/large", (struct slice){NULL, 0}), 0);
	for (int i = 0; i < 100 && fake_zk_there(w, "/brokers/topics/large"); i++)
		fake_run_ms(w, 100);
	CU_ASSERT(!fake_zk_there(w, "/brokers/topics/large"));
	CU_ASSERT(!fake_zk_there(w, "/admin/delete_topics/large"));
	fake_world_free(w);
}

static void test_failover_is_fast(void)
{
	struct fake_world *w = fake_cluster(6, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	int dead = fake_state_of(w, "t", 0).leader;
	sim_process_kill(w->bp[dead - 1]);
	fake_run_ms(w, 500);
	for (int i = 0; i < 6; i++) {
		struct fake_state s = fake_state_of(w, "t", i);
		CU_ASSERT_NOT_EQUAL(s.leader, dead);
		CU_ASSERT_EQUAL(s.isr_count, 2);
		for (int k = 0; k < s.isr_count; k++)
			CU_ASSERT_NOT_EQUAL(s.isr[k], dead);
		int other = dead == 1 ? 2 : 1;
		struct part_view *v = fake_view(fake_broker(w, other), "t", i);
		CU_ASSERT(v && v->leader == s.leader && v->leader_epoch == s.leader_epoch && v->partition_epoch == s.version);
	}
	fake_world_free(w);
}

/* A2: silent for long, but its port answers: a closed link alone kills nobody whose process lives. */
static void test_answered_probe_protects(void)
{
	struct fake_world *w = fake_cluster(7, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	fake_broker(w, 2)->mute = true; /* no heartbeats; the listener lives */
	fake_run_ms(w, 4000);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).leader_epoch, 0);
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).isr_count, 3);
	}
	fake_world_free(w);
}

/* D2: back within the grace, as a new life: a new leader epoch for all it led. */
static void test_new_life_gets_new_epochs(void)
{
	struct fake_world *w = fake_cluster(8, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "alone", 3, 1), KERR_NONE);
	int led = fake_state_of(w, "t", 0).leader, alone = -1;
	for (int i = 0; i < 3; i++)
		if (fake_state_of(w, "alone", i).leader == led)
			alone = i;
	CU_ASSERT_FATAL(alone >= 0);
	sim_process_kill(w->bp[led - 1]);
	fake_start_broker(w, led);
	fake_run_ms(w, 3000);
	CU_ASSERT(fake_broker(w, led)->admitted);
	CU_ASSERT(fake_state_of(w, "t", 0).leader_epoch > 0);
	struct fake_state s = fake_state_of(w, "alone", alone);
	CU_ASSERT_EQUAL(s.leader, led); /* it may win again, in a new epoch */
	CU_ASSERT(s.leader_epoch > 0);
	CU_ASSERT_EQUAL(s.isr_count, 1);
	fake_world_free(w);
}

static void test_topics_by_hand(void)
{
	struct fake_world *w = fake_cluster(9, 3);
	struct str s = {0};
	struct arena a;
	struct zkd_topic t;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/config/topics/hand", slice_str("{\"version\":1,\"config\":{\"min.insync.replicas\":\"2\"}}")), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/hand", slice_str("{\"version\":1,\"partitions\":{\"0\":[2,1,3],\"1\":[3,2,1]}}")), 0);
	fake_run_ms(w, 1500);
	CU_ASSERT_FATAL(fake_zk_text(w, "/brokers/topics/hand", &s));
	CU_ASSERT_FATAL(zkd_topic_decode(slice_make(s.ptr, s.len), &a, &t) == 0);
	CU_ASSERT(t.has_topic_id);
	CU_ASSERT_EQUAL(fake_state_of(w, "hand", 0).leader, 2);
	CU_ASSERT_EQUAL(fake_state_of(w, "hand", 1).leader, 3);
	struct part_view *v = fake_view(fake_broker(w, 1), "hand", 1);
	CU_ASSERT(v && v->leader == 3 && v->min_isr == 2 && v->fresh == 3); /* fresh: or nobody would dare to make the logs */
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/hand", (struct slice){NULL, 0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/unknown", (struct slice){NULL, 0}), 0);
	fake_run_ms(w, 1500);
	CU_ASSERT(!fake_zk_there(w, "/brokers/topics/hand"));
	CU_ASSERT(!fake_zk_there(w, "/admin/delete_topics/hand"));
	CU_ASSERT(!fake_zk_there(w, "/admin/delete_topics/unknown"));
	CU_ASSERT(fake_view(fake_broker(w, 1), "hand", 0) == NULL);
	str_fini(&s);
	arena_fini(&a);
	fake_world_free(w);
}

static void test_alters_isr(void)
{
	struct fake_world *w = fake_cluster(10, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	int leader = fake_state_of(w, "t", 0).leader;
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 500);
	struct fake_state s = fake_state_of(w, "t", 0);
	CU_ASSERT_EQUAL(s.isr_count, 1);
	CU_ASSERT_EQUAL(s.version, 1);
	CU_ASSERT_EQUAL(s.leader_epoch, 0);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, leader), "t", 0)->partition_epoch, 1);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, leader), "t", 0)->fresh, 2); /* who is in sync has its log: it is not made a second time (E1) */
	fake_alter(w, "t", 0, (int32_t[]){leader, leader == 1 ? 2 : 1}, 2);
	fake_run_ms(w, 500);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).isr_count, 2);
	CU_ASSERT_EQUAL(fake_view(fake_broker(w, leader), "t", 0)->fresh, 1);
	fake_world_free(w);
}

/* E1: a log that a broker does not name is missing, and may be made anew, only if the broker can look into all of its directories. */
static void test_offline_is_not_missing(void)
{
	for (int life = 0; life < 2; life++) /* by the hello of the same life on a new link, and by that of a new one */
		for (int offline = 0; offline < 2; offline++) {
			struct fake_world *w = fake_cluster(39, 3);
			CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
			int32_t leader = fake_state_of(w, "t", 0).leader, other = leader % 3 + 1, isr[3] = {1, 2, 3}, fewer[2] = {leader, 6 - leader - other};
			fake_run_ms(w, 100);
			fake_alter(w, "t", 0, isr, 3);
			fake_run_ms(w, 300);
			CU_ASSERT_EQUAL(fake_view(fake_broker(w, leader), "t", 0)->fresh, 0);
			w->broker_dir_offline[other - 1] = offline;
			w->disk_count[other - 1] = 0;
			if (life == 0) {
				sim_net_reset(w->sim, w->controllers[0], w->brokers[other - 1]);
				sim_net_reset(w->sim, w->controllers[1], w->brokers[other - 1]);
			} else {
				sim_process_kill(w->bp[other - 1]);
				fake_start_broker(w, other);
			}
			fake_run_ms(w, 2000);
			if (life == 0) { /* something that is published */
				fake_alter(w, "t", 0, fewer, 2);
				fake_run_ms(w, 300);
			}
			CU_ASSERT_EQUAL(fake_view(fake_broker(w, other), "t", 0)->fresh, !offline);
			fake_world_free(w);
		}
}

/* C1: the epoch moves under the active one; nothing that it tries afterwards may land. Fails if a write goes without the check. */
static void test_no_write_without_epoch(void)
{
	for (uint64_t seed = 20; seed < 24; seed++) {
		struct fake_world *w = fake_cluster(seed, 3);
		CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
		struct fake_state before = fake_state_of(w, "t", 0);
		int leader = before.leader;
		fake_ask_create(w, 1, "late", 1, 3, 9, NULL, NULL);
		fake_alter(w, "t", 0, &leader, 1);
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, ZKP_CONTROLLER_EPOCH, slice_str("50"), -1), 0);
		fake_run_ms(w, 5000);
		CU_ASSERT(!fake_zk_there(w, "/brokers/topics/late"));
		CU_ASSERT(!fake_zk_there(w, "/config/topics/late"));
		struct fake_state after = fake_state_of(w, "t", 0);
		/* the proposal may have come late enough for the next reign */
		CU_ASSERT(after.version == before.version || after.controller_epoch >= 51);
		struct controller_view v;
		CU_ASSERT(fake_active(w, fake_active_idx(w), &v));
		CU_ASSERT(v.epoch >= 51); /* they stood again, above it */
		fake_world_free(w);
	}
}

static void test_producer_ids_and_shutdown(void)
{
	struct fake_world *w = fake_cluster(11, 3);
	for (int id = 1; id <= 3; id++)
		sim_process_run(w->bp[id - 1], fake_ask_pids, fake_broker(w, id));
	fake_run_ms(w, 500);
	int64_t sum = 0;
	for (int id = 1; id <= 3; id++) {
		CU_ASSERT(fake_broker(w, id)->pid_first % 1000 == 0);
		sum += fake_broker(w, id)->pid_first;
	}
	CU_ASSERT_EQUAL(sum, 3000); /* 0, 1000, 2000 */
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "alone", 3, 1), KERR_NONE);
	sim_process_run(w->bp[0], fake_ask_shutdown, fake_broker(w, 1));
	fake_run_ms(w, 500);
	CU_ASSERT_EQUAL(fake_broker(w, 1)->shutdown_remaining, 0);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_NOT_EQUAL(fake_state_of(w, "t", i).leader, 1);
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).isr_count, 2);
	}
	fake_world_free(w);
}

/* A lost reply leaves open whether a block was taken: no id is handed out twice, whatever became of it. */
static void test_producer_ids_once(void)
{
	for (uint64_t seed = 60; seed < 66; seed++) {
		struct fake_world *w = fake_cluster(seed, 3);
		int64_t got[300];
		int n = 0;
		sim_zk_set_drop_rate(w->sim, 0.1);
		for (int round = 0; round < 100; round++) {
			for (int id = 1; id <= 3; id++) {
				fake_broker(w, id)->pid_first = -1;
				sim_process_run(w->bp[id - 1], fake_ask_pids, fake_broker(w, id));
			}
			fake_run_ms(w, 200);
			for (int id = 1; id <= 3; id++)
				if (fake_broker(w, id)->pid_first >= 0)
					got[n++] = fake_broker(w, id)->pid_first;
		}
		CU_ASSERT(n > 100);
		for (int i = 0; i < n; i++)
			for (int k = 0; k < i; k++)
				CU_ASSERT(got[i] != got[k] && got[i] % 1000 == 0);
		fake_world_free(w);
	}
}

/* A5: the standby's own trouble, and that of half of the brokers, takes nothing over. */
static void test_own_trouble_usurps_nobody(void)
{
	struct fake_world *w = fake_cluster(26, 2);
	int active = fake_active_idx(w);
	sim_net_cut(w->sim, w->controllers[0], w->controllers[1], false);
	fake_run_ms(w, 20000);
	CU_ASSERT_EQUAL(fake_active_idx(w), active);
	sim_net_cut(w->sim, w->controllers[active], w->brokers[0], false);
	fake_run_ms(w, 20000);
	CU_ASSERT_EQUAL(fake_active_idx(w), active);
	struct controller_view v;
	CU_ASSERT(fake_active(w, active, &v));
	CU_ASSERT_EQUAL(v.epoch, 1);
	sim_net_cut(w->sim, w->controllers[active], w->brokers[1], false); /* all of them: then it is */
	fake_run_ms(w, 5000);
	CU_ASSERT(fake_active(w, 1 - active, &v));
	CU_ASSERT_EQUAL(v.epoch, 2);
	fake_world_free(w);
}

/* E1: a broker that is back without its logs has forgotten them: it leaves every ISR, and stays marked where it is the last. */
static void test_wiped_logs_leave(void)
{
	struct fake_world *w = fake_cluster(27, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "alone", 3, 1), KERR_NONE);
	int32_t mine = 0;
	while (fake_state_of(w, "alone", mine).leader != 2)
		mine++;
	sim_process_kill(w->bp[1]);
	w->disk_count[1] = 0;
	fake_start_broker(w, 2); /* within the grace: nobody has taken it for dead */
	fake_run_ms(w, 3000);
	CU_ASSERT(fake_broker(w, 2)->admitted);
	for (int i = 0; i < 6; i++) {
		struct fake_state st = fake_state_of(w, "t", i);
		CU_ASSERT(st.leader > 0 && st.leader != 2);
		CU_ASSERT_EQUAL(st.isr_count, 2);
		for (int k = 0; k < st.isr_count; k++)
			CU_ASSERT_NOT_EQUAL(st.isr[k], 2);
	}
	struct fake_state st = fake_state_of(w, "alone", mine);
	CU_ASSERT(st.isr_count == 1 && st.isr[0] == 2 && st.leader_epoch > 0);
	fake_world_free(w);
}

/* C3: what happens while a state is on its way causes another look at its end. A leader that wants to go, just when its ISR is written, is let go. */
static void test_event_during_a_write(void)
{
	for (int n = 0; n < 30; n++) {
		struct fake_world *w = fake_cluster(300 + (uint64_t)n, 3);
		CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
		int32_t leader = fake_state_of(w, "t", 0).leader, isr[2] = {leader, leader % 3 + 1};
		fake_alter(w, "t", 0, isr, 2);
		sim_world_run_until(w->sim, sim_now_us(w->sim) + 200 * n);
		sim_process_run(w->bp[leader - 1], fake_ask_shutdown, fake_broker(w, leader));
		fake_run_ms(w, 1000);
		CU_ASSERT_EQUAL(fake_broker(w, leader)->shutdown_remaining, 0);
		for (int i = 0; i < 6; i++) {
			struct fake_state s = fake_state_of(w, "t", i);
			CU_ASSERT(s.leader > 0 && s.leader != leader);
			for (int k = 0; k < s.isr_count; k++)
				CU_ASSERT_NOT_EQUAL(s.isr[k], leader);
		}
		fake_world_free(w);
	}
}

/* Whoever asks under another registration than its own newest one is of the past: nothing is done for it. */
static void test_former_registration(void)
{
	struct fake_world *w = fake_cluster(28, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 3, 3), KERR_NONE);
	int32_t leader = fake_state_of(w, "t", 0).leader;
	struct fake *f = fake_broker(w, leader);
	f->broker_epoch--;
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 300);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).isr_count, 3);
	sim_process_run(w->bp[leader - 1], fake_ask_pids, f);
	fake_run_ms(w, 300);
	CU_ASSERT_EQUAL(f->pid_first, -2);
	sim_process_run(w->bp[leader - 1], fake_ask_shutdown, f);
	fake_run_ms(w, 300);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).leader, leader);
	f->broker_epoch++;
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 300);
	CU_ASSERT_EQUAL(fake_state_of(w, "t", 0).isr_count, 1);
	fake_world_free(w);
}

/* D4 and B6: ZooKeeper away for long: sessions expire, processes and links live: nothing moves. */
static void test_zookeeper_outage_moves_nothing(void)
{
	struct fake_world *w = fake_cluster(12, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	sim_zk_stop_all(w->sim);
	fake_run_ms(w, 60000);
	int status = 0;
	struct str s = {0};
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(sim_http_get(w->cp[i], "/health", &s, &status), 0);
		CU_ASSERT_EQUAL(status, 503);
	}
	str_fini(&s);
	sim_zk_start_all(w->sim);
	fake_run_ms(w, 20000);
	CU_ASSERT(fake_active_idx(w) >= 0);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).leader_epoch, 0);
		CU_ASSERT_EQUAL(fake_state_of(w, "t", i).isr_count, 3);
	}
	CU_ASSERT_EQUAL(fake_create(w, "u", 1, 3), KERR_NONE);
	fake_world_free(w);
}

/* C5: without a quorum the reign is suspended a third of the session timeout later, and from then on says nothing that no epoch fences: rejections, answers
 * of admin requests, heartbeats' confirmations. */
static void test_suspended_says_nothing(void)
{
	struct fake_world *w = fake_cluster(29, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	int32_t leader = fake_state_of(w, "t", 0).leader;
	struct fake *f = fake_broker(w, leader);
	f->broker_epoch--; /* what it proposes is rejected */
	fake_alter(w, "t", 0, &leader, 1);
	fake_run_ms(w, 100);
	CU_ASSERT_EQUAL(f->rejections, 1);
	sim_zk_stop_all(w->sim);
	fake_run_ms(w, 4000);
	CU_ASSERT(fake_active_idx(w) >= 0 && f->suspended);
	uint64_t confirmed = f->confirmed;
	fake_alter(w, "t", 0, &leader, 1);
	struct kp_delete_topics_request r;
	struct kp_delete_topics_request_topics t;
	kp_delete_topics_request_init(&r);
	kp_delete_topics_request_topics_init(&t);
	t.name = slice_str("nope");
	r.topics = &t;
	r.topics_count = 1;
	fake_ask(w, leader, KP_API_DELETE_TOPICS, 6, &r, 55);
	fake_run_ms(w, 1000);
	CU_ASSERT(f->rejections == 1 && f->reply_number != 55 && f->confirmed == confirmed);
	fake_world_free(w);
}

static int64_t metric_of(struct fake_world *w, const char *name)
{
	struct str s = {0};
	char line[96];
	int status;
	CU_ASSERT_EQUAL(sim_http_get(w->cp[fake_active_idx(w)], "/metrics", &s, &status), 0);
	snprintf(line, sizeof(line), "\n%s ", name);
	const char *at = strstr(str_cstr(&s), line);
	int64_t v = at ? strtoll(at + strlen(line), NULL, 10) : -1;
	str_fini(&s);
	return v;
}

/* What an operator looks at: /metrics, /klamm/status/controller, the broker that is shown as controller (J1). */
static void test_shows_what_is_wrong(void)
{
	struct fake_world *w = fake_cluster(30, 3);
	struct str s = {0};
	struct arena a;
	struct zkd_status_controller st;
	struct zkd_controller c;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(fake_create(w, "alone", 3, 1), KERR_NONE);
	fake_run_ms(w, 1000);
	CU_ASSERT(metric_of(w, "klamm_controller_under_replicated_partitions") == 0 && metric_of(w, "klamm_controller_offline_partitions") == 0);
	CU_ASSERT(metric_of(w, "klamm_controller_partitions") == 9 && metric_of(w, "klamm_controller_topics") == 2);
	CU_ASSERT(fake_zk_text(w, ZKP_CONTROLLER, &s) && zkd_controller_decode(slice_make(s.ptr, s.len), &a, &c) == 0 && c.brokerid == 1);
	sim_process_kill(w->bp[0]);
	fake_run_ms(w, 20000);
	CU_ASSERT_EQUAL(metric_of(w, "klamm_controller_under_replicated_partitions"), 6);
	CU_ASSERT_EQUAL(metric_of(w, "klamm_controller_offline_partitions"), 1);
	CU_ASSERT(metric_of(w, "klamm_controller_fenced_total") == 1 && metric_of(w, "klamm_controller_leader_changes_total") >= 2);
	CU_ASSERT(fake_zk_text(w, ZKP_KLAMM_STATUS_CONTROLLER, &s) && zkd_status_controller_decode(slice_make(s.ptr, s.len), &a, &st) == 0);
	CU_ASSERT(st.id == 100 + fake_active_idx(w) && st.epoch == 1);
	CU_ASSERT(fake_zk_text(w, ZKP_CONTROLLER, &s) && zkd_controller_decode(slice_make(s.ptr, s.len), &a, &c) == 0 && c.brokerid == 2);
	fake_start_broker(w, 1);
	fake_run_ms(w, 3000);
	CU_ASSERT_EQUAL(metric_of(w, "klamm_controller_offline_partitions"), 0);
	CU_ASSERT(fake_zk_text(w, ZKP_CONTROLLER, &s) && zkd_controller_decode(slice_make(s.ptr, s.len), &a, &c) == 0 && c.brokerid == 1);
	str_fini(&s);
	arena_fini(&a);
	fake_world_free(w);
}

/* A failover: whose, why, how many partitions, how long it took. */
static void test_shows_the_last_failover(void)
{
	struct fake_world *w = fake_cluster(31, 3);
	struct str s = {0};
	struct arena a;
	struct zkd_status_controller st;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	sim_process_kill(w->bp[1]);
	fake_run_ms(w, 2000);
	CU_ASSERT(fake_zk_text(w, ZKP_KLAMM_STATUS_CONTROLLER, &s) && zkd_status_controller_decode(slice_make(s.ptr, s.len), &a, &st) == 0);
	CU_ASSERT(st.has_failover && st.failover_broker == 2 && st.failover_partitions == 2 && !strcmp(st.state, "active"));
	CU_ASSERT(st.failover_took_ms >= 0 && st.failover_took_ms < 1000);
	CU_ASSERT(strlen(st.failover_reason) > 0 && st.updated_ms > 0);
	str_fini(&s);
	arena_fini(&a);
	fake_world_free(w);
}

/* Who is not let in, and hears why. */
static void test_refuses_hellos(void)
{
	for (int how = 0; how < 3; how++) {
		struct fake_world *w = fake_world_new(32 + (uint64_t)how);
		if (how == 0)
			w->cluster_id = "another-cluster-of-22-c";
		else if (how == 1)
			w->cfg[0].id = w->cfg[1].id = 2;
		else
			w->cfg[0].link_allow_remote = false;
		fake_start_controller(w, 0);
		for (int id = 1; id <= 2; id++)
			fake_start_broker(w, id);
		fake_run_ms(w, 5000);
		CU_ASSERT_EQUAL(fake_broker(w, 1)->admitted, how == 1);
		CU_ASSERT(!fake_broker(w, 2)->admitted);
		CU_ASSERT(strstr(fake_broker(w, 2)->refused, how == 0 ? "another cluster" : how == 1 ? "must differ" : "proof of identity") != NULL);
		fake_world_free(w);
	}
}

/* What is about to leave gets nothing new: no partitions by request, no place in the first ISR of those that a hand gave it. */
static void test_leaving_gets_nothing_new(void)
{
	struct fake_world *w = fake_cluster(37, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 1, 3), KERR_NONE);
	sim_process_run(w->bp[2], fake_ask_shutdown, fake_broker(w, 3));
	fake_run_ms(w, 500);
	CU_ASSERT_EQUAL(fake_create(w, "three", 1, 3), KERR_INVALID_REPLICATION_FACTOR);
	CU_ASSERT_EQUAL(fake_create(w, "two", 12, 2), KERR_NONE);
	for (int i = 0; i < 12; i++)
		for (int k = 0; k < 2; k++)
			CU_ASSERT_NOT_EQUAL(fake_state_of(w, "two", i).isr[k], 3);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/hand", slice_str("{\"version\":1,\"partitions\":{\"0\":[3,2,1],\"1\":[3]}}")), 0);
	fake_run_ms(w, 1500);
	struct fake_state s = fake_state_of(w, "hand", 0);
	CU_ASSERT(s.leader == 2 && s.isr_count == 2 && s.isr[0] != 3 && s.isr[1] != 3);
	CU_ASSERT_EQUAL(fake_state_of(w, "hand", 1).leader, 3); /* there is nobody else */
	fake_world_free(w);
}

/* A broker whose loops stand still keeps its place, and hands its leaderships on (A1). */
static void test_stalled_hands_over(void)
{
	struct fake_world *w = fake_cluster(36, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	fake_broker(w, 2)->stall_ms = 1900;
	fake_run_ms(w, 1000);
	int32_t led = 0;
	for (int i = 0; i < 6; i++)
		led += fake_state_of(w, "t", i).leader == 2;
	CU_ASSERT_EQUAL(led, 2);
	fake_broker(w, 2)->stall_ms = 2500;
	fake_run_ms(w, 1000);
	for (int i = 0; i < 6; i++) {
		struct fake_state s = fake_state_of(w, "t", i);
		CU_ASSERT(s.leader > 0 && s.leader != 2 && s.isr_count == 3);
	}
	fake_world_free(w);
}

static void test_foreign_controller_is_left_alone(void)
{
	struct fake_world *w = fake_world_new(13);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/controller", slice_str("{\"version\":2,\"brokerid\":7,\"timestamp\":\"1\",\"kraftControllerEpoch\":-1}")), 0);
	fake_start_controller(w, 0);
	fake_run_ms(w, 5000);
	CU_ASSERT_EQUAL(fake_active_idx(w), -1);
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/controller", -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(fake_active_idx(w), 0);
	/* deleted by hand: the active simply stands again (A5) */
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/controller", -1), 0);
	fake_run_ms(w, 2000);
	CU_ASSERT_EQUAL(fake_active_idx(w), 0);
	CU_ASSERT(fake_zk_there(w, "/controller"));
	fake_world_free(w);
}

/* kill -9 of everything, again and again: every partition has a leader of its ISR afterwards. */
static void test_everything_killed(void)
{
	struct fake_world *w = fake_cluster(14, 3);
	CU_ASSERT_EQUAL(fake_create(w, "t", 6, 3), KERR_NONE);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 2; i++)
			sim_process_kill(w->cp[i]);
		for (int id = 1; id <= 3; id++)
			sim_process_kill(w->bp[id - 1]);
		for (int i = 0; i < 2; i++)
			fake_start_controller(w, i);
		for (int id = 1; id <= 3; id++)
			fake_start_broker(w, id);
		fake_run_ms(w, 12000);
		CU_ASSERT_FATAL(fake_active_idx(w) >= 0);
		for (int i = 0; i < 6; i++) {
			struct fake_state s = fake_state_of(w, "t", i);
			CU_ASSERT(s.leader > 0);
			CU_ASSERT(s.isr_count > 0);
		}
	}
	fake_world_free(w);
}

static void ask_delete(struct fake_world *w, const char *topic, uint64_t number)
{
	struct kp_delete_topics_request r;
	struct kp_delete_topics_request_topics t;
	kp_delete_topics_request_init(&r);
	kp_delete_topics_request_topics_init(&t);
	t.name = slice_str(topic);
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = 5000;
	fake_ask(w, 1, KP_API_DELETE_TOPICS, 6, &r, number);
}

/* The leader proposes itself alone, or one more. */
static void toggle_isr(struct fake_world *w, const char *topic, int32_t partition)
{
	struct fake_state s = fake_state_of(w, topic, partition);
	struct part_view *v = s.leader > 0 && s.leader != 3 ? fake_view(fake_broker(w, s.leader), topic, partition) : NULL;
	int32_t isr[2] = {s.leader, s.leader == 1 ? 2 : 1};
	if (v)
		fake_alter(w, topic, partition, isr, s.isr_count > 1 ? 1 : 2);
}

static int differences(struct fake_world *w, const char *topic, int32_t partitions, bool there)
{
	int n = 0;
	for (int32_t i = 0; i < partitions; i++) {
		struct fake_state s = fake_state_of(w, topic, i);
		struct part_view *v = fake_view(fake_broker(w, 3), topic, i);
		if (!there)
			n += s.there || v != NULL;
		else
			n += !s.there || !v || v->leader != s.leader || v->leader_epoch != s.leader_epoch || v->partition_epoch != s.version || v->isr_count != s.isr_count;
	}
	return n;
}

/* G3: a snapshot that is made in many turns, while topics come, go, come again and change: what arrives is the state at its end. */
static void test_snapshot_in_slices(void)
{
	for (uint64_t seed = 100; seed < 124; seed++) {
		struct fake_world *w = fake_world_new(seed);
		for (int i = 0; i < 2; i++) {
			w->cfg[i].snapshot_slice = (int32_t)(seed % 3) + 1;
			fake_start_controller(w, i);
		}
		for (int id = 1; id <= 3; id++)
			fake_start_broker(w, id);
		fake_run_ms(w, 5000);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, "wide", 20, 2), KERR_NONE);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, "gone", 6, 3), KERR_NONE);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, "again", 6, 3), KERR_NONE);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, "bulk", 500, 1), KERR_NONE);
		CU_ASSERT_EQUAL_FATAL(fake_create(w, "last", 6, 2), KERR_NONE);
		/* broker 3 leaves and is back: it is admitted, gets a snapshot, and meanwhile ... */
		sim_process_kill(w->bp[2]);
		fake_run_ms(w, 3000);
		fake_start_broker(w, 3);
		for (int ms = 0; ms < 3000 && !(fake_broker(w, 3) && fake_broker(w, 3)->admitted); ms++)
			fake_run_ms(w, 1);
		for (int ms = 0; ms < 20; ms++) {
			for (int i = 0; i < 20; i++) /* each once, so that no later change hides what was missed */
				if (ms == i % 10) {
					toggle_isr(w, "wide", i);
					toggle_isr(w, "last", i);
				}
			if (ms == (int)(seed % 8)) {
				ask_delete(w, "gone", 1);
				ask_delete(w, "again", 2);
				fake_ask_create(w, 2, "new", 4, 2, 3, NULL, NULL);
			}
			if (ms == (int)(seed % 8) + 6)
				fake_ask_create(w, 2, "again", 3, 3, 4, NULL, NULL);
			fake_run_ms(w, 1);
		}
		fake_run_ms(w, 5000);
		if (!fake_zk_there(w, "/brokers/topics/again"))
			CU_ASSERT_EQUAL(fake_create(w, "again", 3, 3), KERR_NONE); /* it came before the deletion was through */
		fake_run_ms(w, 2000);
		CU_ASSERT(fake_broker(w, 3)->snapshots > 0);
		CU_ASSERT_EQUAL(differences(w, "wide", 20, true), 0);
		CU_ASSERT_EQUAL(differences(w, "last", 6, true), 0);
		CU_ASSERT_EQUAL(differences(w, "new", 4, true), 0);
		CU_ASSERT_EQUAL(differences(w, "again", 3, true), 0);
		CU_ASSERT_EQUAL(differences(w, "gone", 6, false), 0);
		fake_world_free(w);
	}
}

UNIT_MAIN("controller", {"elects_one", test_elects_one}, {"takes_over_from_killed", test_takes_over_from_killed},
	  {"paused_active_is_replaced_once", test_paused_active_is_replaced_once}, {"creates_and_deletes", test_creates_and_deletes}, {"deletes_what_is_there", test_deletes_what_is_there}, {"large_topic", test_large_topic},
	  {"failover_is_fast", test_failover_is_fast}, {"answered_probe_protects", test_answered_probe_protects}, {"new_life_gets_new_epochs", test_new_life_gets_new_epochs},
	  {"topics_by_hand", test_topics_by_hand}, {"alters_isr", test_alters_isr}, {"offline_is_not_missing", test_offline_is_not_missing}, {"no_write_without_epoch", test_no_write_without_epoch},
	  {"producer_ids_and_shutdown", test_producer_ids_and_shutdown}, {"producer_ids_once", test_producer_ids_once}, {"event_during_a_write", test_event_during_a_write}, {"former_registration", test_former_registration},
	  {"own_trouble_usurps_nobody", test_own_trouble_usurps_nobody}, {"wiped_logs_leave", test_wiped_logs_leave}, {"zookeeper_outage_moves_nothing", test_zookeeper_outage_moves_nothing},
	  {"suspended_says_nothing", test_suspended_says_nothing}, {"shows_what_is_wrong", test_shows_what_is_wrong},
	  {"shows_the_last_failover", test_shows_the_last_failover}, {"refuses_hellos", test_refuses_hellos}, {"stalled_hands_over", test_stalled_hands_over}, {"leaving_gets_nothing_new", test_leaving_gets_nothing_new},
	  {"foreign_controller_is_left_alone", test_foreign_controller_is_left_alone}, {"everything_killed", test_everything_killed}, {"snapshot_in_slices", test_snapshot_in_slices})
