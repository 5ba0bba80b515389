/* test_net_order.c: brokerd/net over a fake of the seam (fake_net.h): the order in which requests are handed out and answers leave, and what ends
 * of connections do to it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/fake_net.h"
#include "tests/unit/unit.h"

/* 500 pipelined requests answered in reverse leave in the order in which they came. */
static void test_answers_in_order(void)
{
	struct net_config cfg = fake_net_config();
	struct str all;
	fake_net_begin(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 500; i++) {
		uint8_t body[5] = {KEEP};
		be32_put(body + 1, i);
		fake_frame_add(&all, body, 5);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 777;
	fake_peer_sends(f, all.ptr, all.len);
	fake_pump_all();
	CU_ASSERT_EQUAL_FATAL(fake.kept_count, 500);
	for (int i = 499; i > 0; i--) {
		fake_echo(fake_take(i));
		CU_ASSERT_EQUAL(f->out.len, 0);
	}
	fake_echo(fake_take(0));
	fake_pump_all();
	CU_ASSERT(fake_got(f, &all));
	str_fini(&all);
	fake_net_end();
}

static void test_inflight_bound(void)
{
	struct net_config cfg = fake_net_config();
	struct str all;
	cfg.inflight_max = 5;
	fake_net_begin(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 100; i++) {
		uint8_t body[200] = {KEEP};
		be32_put(body + 1, i);
		fake_frame_add(&all, body, sizeof(body));
	}
	struct fake_conn *f = fake_connect(0);
	fake_peer_sends(f, all.ptr, all.len);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.kept_count, 5);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_FATAL(fake.kept_count > i);
		CU_ASSERT(fake.kept_count <= i + 5);
		fake_echo(fake_take(i));
		fake_pump_all();
	}
	CU_ASSERT_EQUAL(fake.kept_count, 100);
	CU_ASSERT(fake_got(f, &all));
	str_fini(&all);
	fake_net_end();
}

/* A peer that asks on and reads nothing: its answers do not pile up, its requests wait; once it reads it gets them all, in order. */
static void test_answers_not_read(void)
{
	struct net_config cfg = fake_net_config();
	struct str all;
	fake_net_begin(&cfg);
	str_init(&all);
	for (uint32_t i = 0; i < 500; i++) {
		uint8_t body[9000] = {ECHO};
		be32_put(body + 1, i);
		fake_frame_add(&all, body, sizeof(body));
	}
	struct fake_conn *f = fake_connect(0);
	f->unread = true;
	fake_peer_sends(f, all.ptr, all.len);
	fake_pump_all();
	CU_ASSERT(fake.handed_out > 0);
	size_t most = 0;
	for (int i = 0; i < 500 && !fake_got(f, &all); i++) {
		most = f->c.queued > most ? f->c.queued : most;
		f->c.queued = 0;
		f->c.handler->on_sent(&f->c, f->c.ctx, 0);
		fake_pump_all();
	}
	CU_ASSERT(most < 512 * 1024);
	CU_ASSERT(fake_got(f, &all));
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes < 1 << 20);
	str_fini(&all);
	fake_net_end();
}

static void test_answer_none_keeps_order(void)
{
	struct net_config cfg = fake_net_config();
	struct str want;
	fake_net_begin(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	for (char i = 0; i < 10; i++) {
		char body[2] = {KEEP, i};
		fake_frame_add(&f->in, body, 2);
		if (i % 2)
			fake_frame_add(&want, body, 2);
	}
	fake_pump_all();
	CU_ASSERT_EQUAL_FATAL(fake.kept_count, 10);
	for (int i = 9; i >= 0; i--) {
		if (i % 2)
			fake_echo(fake_take(i));
		else
			net_answer_none(fake_take(i));
	}
	CU_ASSERT(fake_got(f, &want));
	str_fini(&want);
	fake_net_end();
}

/* NET_CLOSE: no answer to it, nothing after it is read, but what came before is still answered. */
static void test_close_after_earlier_answers(void)
{
	struct net_config cfg = fake_net_config();
	struct str want;
	fake_net_begin(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, "k1", 2);
	fake_frame_add(&f->in, "k2", 2);
	fake_frame_add(&f->in, "c3", 2);
	fake_frame_add(&f->in, "e4", 2);
	fake_frame_add(&want, "k1", 2);
	fake_frame_add(&want, "k2", 2);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 3);
	CU_ASSERT_FALSE(f->closed);
	fake_echo(fake_take(1));
	fake_echo(fake_take(0));
	fake_pump_all();
	CU_ASSERT(fake_got(f, &want));
	CU_ASSERT(f->closed && f->gone);
	CU_ASSERT_EQUAL(fake.handed_out, 3);
	str_fini(&want);
	fake_net_end();
}

static void test_close_at_once(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, "c", 1);
	fake_frame_add(&f->in, "e", 1);
	fake_pump_all();
	CU_ASSERT(f->closed);
	CU_ASSERT_EQUAL(f->out.len, 0);
	CU_ASSERT_EQUAL(fake.handed_out, 1);
	fake_net_end();
}

/* net_answer_close in the middle: earlier answers leave, later ones are dropped. */
static void test_answer_close(void)
{
	struct net_config cfg = fake_net_config();
	struct str want;
	fake_net_begin(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	for (char i = 0; i < 4; i++) {
		char body[2] = {KEEP, i};
		fake_frame_add(&f->in, body, 2);
		if (i < 2)
			fake_frame_add(&want, body, 2);
	}
	fake_pump_all();
	fake_echo(fake_take(3));
	net_answer_close(fake_take(2));
	fake_echo(fake_take(1));
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_echo(fake_take(0));
	fake_pump_all();
	CU_ASSERT(fake_got(f, &want));
	CU_ASSERT(f->closed);
	str_fini(&want);
	fake_net_end();
}

/* The peer goes while requests are in flight: each is told once, its answer is accepted and goes nowhere. */
static void test_peer_gone(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f = fake_connect(0);
	for (int i = 0; i < 5; i++)
		fake_frame_add(&f->in, "k", 1);
	fake_pump_all();
	CU_ASSERT_EQUAL_FATAL(fake.kept_count, 5);
	fake_echo(fake_take(2));
	fake_peer_closes(f);
	CU_ASSERT_EQUAL(fake.gone_calls, 4);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->connections, 0);
	CU_ASSERT_STRING_EQUAL(net_request_peer(fake.kept[0]), "");
	*net_conn_word(fake.kept[0]) = 7; /* goes nowhere */
	fake_echo(fake_take(0));
	net_answer_close(fake_take(1));
	net_answer_none(fake_take(3));
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_net_end();
}

/* The broker stops: answers that were given leave before the connection ends, whatever waits behind them. */
static void test_shut_all(void)
{
	struct net_config cfg = fake_net_config();
	struct str want;
	fake_net_begin(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0), *silent = fake_connect(0);
	for (int i = 0; i < 3; i++)
		fake_frame_add(&f->in, "k", 1);
	fake_frame_add(&want, "k", 1);
	fake_pump_all();
	fake_echo(fake_take(0));
	fake_echo(fake_take(2));
	fake_frame_add(&f->in, "e", 1);
	net_shut_all(fake.nets[0]);
	CU_ASSERT(f->shutdown && !f->closed && silent->shutdown && !silent->closed);
	CU_ASSERT_EQUAL(fake.gone_calls, 1);
	fake_echo(fake_take(1)); /* too late */
	net_shut_all(fake.nets[0]);
	fake_pump_all();
	CU_ASSERT(fake_got(f, &want));
	CU_ASSERT(f->gone && silent->gone);
	CU_ASSERT_EQUAL(fake.handed_out, 3);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->connections, 0);
	str_fini(&want);
	fake_net_end();
}

static void test_hold_and_release(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, "h1", 2);
	fake_frame_add(&f->in, "e2", 2);
	fake_frame_add(&f->in, "h3", 2);
	fake_frame_add(&f->in, "e4", 2);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 1);
	struct net_conn *c = fake.kept[0]->conn;
	net_release(fake.nets[0], c);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 3); /* the second one waits for the first one's answer to leave, not to be served */
	net_release(fake.nets[0], c);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 4);
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_echo(fake_take(0));
	fake_echo(fake_take(1));
	CU_ASSERT(fake_got(f, &f->in));
	fake_net_end();
}

/* Kinds as the API's: 1 may run beside 1 and 2, 2 only beside 2, 3 waits for 1 and nobody waits for it. */
#define FRAME_1 "o\1\0"
#define FRAME_2 "o\2\2"
#define FRAME_3 "o\3\2"

static void test_order_of_kinds(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, FRAME_1, 3);
	fake_frame_add(&f->in, FRAME_1, 3);
	fake_frame_add(&f->in, FRAME_2, 3);
	fake_frame_add(&f->in, "e", 1);
	fake_frame_add(&f->in, FRAME_1, 3);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 2); /* what is behind the one that waits waits, too */
	fake_echo(fake_take(1));
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 2);
	fake_echo(fake_take(0));
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 5);
	fake_echo(fake_take(3));
	fake_echo(fake_take(2));
	CU_ASSERT(fake_got(f, &f->in));
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->requests, 5);
	fake_net_end();
}

/* What is waited for ends when it is answered, not when its answer leaves: one in front of it may take longer. No answer is an answer. */
static void test_order_behind_a_slow_one(void)
{
	struct net_config cfg = fake_net_config();
	struct str want;
	fake_net_begin(&cfg);
	str_init(&want);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, FRAME_3, 3);
	fake_frame_add(&f->in, FRAME_1, 3);
	fake_frame_add(&f->in, FRAME_2, 3);
	fake_frame_add(&want, FRAME_3, 3);
	fake_frame_add(&want, FRAME_2, 3);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 2);
	net_answer_none(fake_take(1));
	fake_pump_all();
	CU_ASSERT_EQUAL_FATAL(fake.handed_out, 3);
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_echo(fake_take(2));
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_echo(fake_take(0));
	CU_ASSERT(fake_got(f, &want));
	str_fini(&want);
	fake_net_end();
}

/* A connection that ends, by us or by the peer, drops what waits; one that waits is not read any further. */
static void test_order_and_ends(void)
{
	static uint8_t lot[1 << 20];
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f[2];
	for (int i = 0; i < 2; i++) {
		f[i] = fake_connect(0);
		fake_frame_add(&f[i]->in, FRAME_1, 3);
		fake_frame_add(&f[i]->in, FRAME_2, 3);
		for (int k = 0; k < 8; k++)
			fake_frame_add(&f[i]->in, lot, sizeof(lot));
	}
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 2);
	CU_ASSERT(f[0]->in_pos < 1 << 20);
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes < 1 << 20);
	net_answer_close(fake_take(0));
	fake_peer_closes(f[1]);
	net_answer_none(fake_take(1));
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 2);
	CU_ASSERT(f[0]->closed && f[1]->closed);
	fake_net_end();
}

/* Any mixture, any order of answers, any pieces: never beside what they exclude, all served, answers in order. */
static void test_order_any(void)
{
	static const uint8_t not_beside[5] = {0, 1 << 4, 1 << 1 | 1 << 4, 1 << 1 | 1 << 4, 1 << 1 | 1 << 2 | 1 << 4};
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct net_config cfg = fake_net_config();
		fake_net_begin(&cfg);
		srand(seed);
		struct fake_conn *f = fake_connect(0);
		for (int i = 0; i < 300; i++) {
			uint8_t body[600] = {ORDERED};
			body[1] = (uint8_t)(rand() % (seed % 3 ? 5 : 3));
			body[2] = not_beside[body[1]];
			fake_frame_add(&f->in, body, 3 + (size_t)(rand() % 500));
		}
		f->piece = seed % 4 ? (size_t)(1 + rand() % 3000) : 0;
		int checked = 0;
		for (int answered = 0; answered < 300; answered++) {
			fake_pump_all();
			for (; checked < fake.kept_count; checked++)
				for (int i = 0; i < checked; i++)
					CU_ASSERT_FALSE(fake.kept[i] && fake.kept[checked]->frame.ptr[2] & 1u << fake.kept[i]->frame.ptr[1]);
			int open[KEPT_MAX], n = 0;
			for (int i = 0; i < fake.kept_count; i++)
				if (fake.kept[i])
					open[n++] = i;
			CU_ASSERT_FATAL(n > 0);
			fake_echo(fake_take(open[rand() % n]));
		}
		CU_ASSERT_EQUAL(fake.handed_out, 300);
		CU_ASSERT(fake_got(f, &f->in));
		fake_net_end();
	}
}

UNIT_MAIN("net_order", {"answers_in_order", test_answers_in_order}, {"inflight_bound", test_inflight_bound},
	{"answers_not_read", test_answers_not_read}, {"answer_none_keeps_order", test_answer_none_keeps_order},
	{"close_after_earlier_answers", test_close_after_earlier_answers}, {"close_at_once", test_close_at_once},
	{"answer_close", test_answer_close}, {"peer_gone", test_peer_gone}, {"shut_all", test_shut_all},
	{"hold_and_release", test_hold_and_release}, {"order_of_kinds", test_order_of_kinds},
	{"order_behind_a_slow_one", test_order_behind_a_slow_one}, {"order_and_ends", test_order_and_ends}, {"order_any", test_order_any})
