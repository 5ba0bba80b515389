/* test_net.c: brokerd/net over a fake of the seam (fake_net.h): frames out of bytes, memory, moves between loops, limits. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/unit/fake_net.h"
#include "tests/unit/unit.h"

/* Five frames, the empty one included, cut in two at every byte: same frames, same answers. */
static void test_split_at_every_byte(void)
{
	static const size_t sizes[] = {1, 17, 0, 100, 4};
	struct str all;
	uint8_t body[128];
	str_init(&all);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		fake_fill(body, sizes[i], ECHO, (unsigned)i);
		fake_frame_add(&all, body, sizes[i]);
	}
	for (size_t cut = 0; cut <= all.len; cut++) {
		struct net_config cfg = fake_net_config();
		fake_net_begin(&cfg);
		struct fake_conn *f = fake_connect(0);
		fake_peer_sends(f, all.ptr, cut);
		fake_pump_all();
		fake_peer_sends(f, all.ptr + cut, all.len - cut);
		fake_pump_all();
		CU_ASSERT_EQUAL(fake.handed_out, (int)ARRAY_LEN(sizes));
		CU_ASSERT(fake_got(f, &all));
		CU_ASSERT_FALSE(f->closed);
		fake_net_end();
	}
	str_fini(&all);
}

static void test_byte_by_byte(void)
{
	struct net_config cfg = fake_net_config();
	struct str all;
	uint8_t body[3000];
	fake_net_begin(&cfg);
	str_init(&all);
	for (unsigned i = 0; i < 40; i++) {
		fake_fill(body, 1 + i * 70, ECHO, i);
		fake_frame_add(&all, body, 1 + i * 70);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 1;
	fake_peer_sends(f, all.ptr, all.len);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 40);
	CU_ASSERT(fake_got(f, &all));
	str_fini(&all);
	fake_net_end();
}

/* Sizes that no frame may have close the connection, and take no memory. */
static void test_bad_sizes(void)
{
	static const uint32_t sizes[] = {0x7fffffff, 0x80000000, 0xffffffff, (100u << 20) + 1, 0x47455420 /* "GET " */};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct net_config cfg = fake_net_config();
		uint8_t b[64] = {0};
		fake_net_begin(&cfg);
		struct fake_conn *f = fake_connect(0), *other = fake_connect(0);
		be32_put(b, sizes[i]);
		fake_peer_sends(f, b, sizeof(b));
		fake_pump_all();
		CU_ASSERT(f->closed);
		CU_ASSERT_EQUAL(f->out.len, 0);
		CU_ASSERT_EQUAL(fake.handed_out, 0);
		struct str ok;
		str_init(&ok);
		fake_frame_add(&ok, "e", 1);
		fake_peer_sends(other, ok.ptr, ok.len);
		fake_pump_all();
		CU_ASSERT(fake_got(other, &ok));
		str_fini(&ok);
		fake_net_end();
	}
}

#define SLAB_MAX (140 * 1024)

/* A promise of 100 MB of which little arrives holds little. */
static void test_promise_takes_no_memory(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	for (int i = 0; i < 500; i++) {
		uint8_t b[100] = {0};
		struct fake_conn *f = fake_connect(0);
		be32_put(b, 100 << 20);
		fake_peer_sends(f, b, sizeof(b));
	}
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 0);
	/* 500 times the first 64 KiB at most, and the slab */
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes <= 500 * 65536 + SLAB_MAX);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->connections, 500);
	fake_net_end();
}

/* Silent connections hold no receive memory at all. */
static void test_silent_costs_nothing(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	for (int i = 0; i < 900; i++) {
		struct fake_conn *f = fake_connect(0);
		struct str ok;
		str_init(&ok);
		fake_frame_add(&ok, "e", 1);
		fake_peer_sends(f, ok.ptr, ok.len); /* spoke once */
		str_fini(&ok);
	}
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 900);
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes > 0);
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes <= SLAB_MAX);
	fake_net_end();
}

/* Large frames in small reads: equal bytes, memory given back, and not copied again with every read. */
static void test_large_frames(void)
{
	struct net_config cfg = fake_net_config();
	struct str all;
	size_t len = 4 << 20;
	uint8_t *body = mem_alloc(len);
	fake_net_begin(&cfg);
	str_init(&all);
	for (unsigned i = 0; i < 3; i++) {
		fake_fill(body, len - i, ECHO, i);
		fake_frame_add(&all, body, len - i);
	}
	struct fake_conn *f = fake_connect(0);
	f->piece = 4096;
	fake_peer_sends(f, all.ptr, all.len);
	fake_pump_all();
	CU_ASSERT_EQUAL(fake.handed_out, 3);
	CU_ASSERT(fake_got(f, &all));
	/* doubling from 64 KiB to 4 MiB is 7 moves for the first frame; the others are read in place */
	CU_ASSERT(f->new_places <= 16);
	fake_frame_add(&f->in, "e", 1);
	fake_pump_all();
	CU_ASSERT(net_loop_stats(fake.nets[0])->receive_bytes <= SLAB_MAX);
	str_fini(&all);
	mem_free(body);
	fake_net_end();
}

/* A request that lives on (or whoever took a reference of its buffer) keeps its bytes while others come and go. */
static void test_bytes_stay(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct buf *held[300];
	struct slice frames[300];
	struct fake_conn *f = fake_connect(0), *g = fake_connect(0);
	uint8_t body[900];
	for (unsigned i = 0; i < 300; i++) {
		struct str one;
		str_init(&one);
		fake_fill(body, sizeof(body), KEEP, i);
		fake_frame_add(&one, body, sizeof(body));
		fake_peer_sends(i % 2 ? f : g, one.ptr, one.len);
		f->piece = g->piece = 1 + i * 13;
		fake_pump_all();
		CU_ASSERT_EQUAL_FATAL(fake.kept_count, (int)i + 1);
		held[i] = buf_ref(fake.kept[i]->buf);
		frames[i] = fake.kept[i]->frame;
		if (i % 3)
			net_answer_none(fake_take((int)i));
		str_fini(&one);
	}
	for (unsigned i = 0; i < 300; i++) {
		fake_fill(body, sizeof(body), KEEP, i);
		CU_ASSERT(slice_eq(frames[i], slice_make(body, sizeof(body))));
		buf_unref(held[i]);
	}
	fake_net_end();
}

/* 60 connections with frames of 64 KiB, a budget for a few: never above it, and all are served in the end. */
static void test_memory_budget(void)
{
	struct net_config cfg = fake_net_config();
	uint8_t *body = mem_alloc(60000);
	struct fake_conn *f[60];
	uint64_t most = 0;
	cfg.receive_bytes_max = 512 << 10;
	fake_net_begin(&cfg);
	for (unsigned i = 0; i < 60; i++) {
		f[i] = fake_connect(0);
		f[i]->piece = 1000;
		fake_fill(body, 60000, ECHO, i);
		for (int k = 0; k < 3; k++)
			fake_frame_add(&f[i]->in, body, 60000);
	}
	for (int round = 0; round < 2000 && fake.handed_out < 180; round++) {
		fake_pump_all();
		uint64_t now = net_loop_stats(fake.nets[0])->receive_bytes;
		most = now > most ? now : most;
		fake_sleep_ms(20);
	}
	CU_ASSERT_EQUAL(fake.handed_out, 180);
	for (unsigned i = 0; i < 60; i++)
		CU_ASSERT(f[i]->closed || fake_got(f[i], &f[i]->in));
	CU_ASSERT(most > 0 && most <= (512 << 10) + 60 * 4096);
	mem_free(body);
	fake_net_end();
}

/* A connection that moves is served there from the request on that moved it, in order, with its word. */
static void test_move(void)
{
	for (size_t piece = 1; piece < 12; piece++) {
		struct net_config cfg = fake_net_config();
		fake_net_begin(&cfg);
		struct fake_conn *f = fake_connect(0);
		f->piece = piece;
		fake_frame_add(&f->in, "e1", 2);
		fake_frame_add(&f->in, "m2", 2);
		fake_frame_add(&f->in, "e3", 2);
		fake_frame_add(&f->in, "k4", 2);
		fake_frame_add(&f->in, "e5", 2);
		fake_pump_all();
		CU_ASSERT_EQUAL(fake.seen_on_loop[0], 1);
		CU_ASSERT_EQUAL(fake.seen_on_loop[1], 4);
		CU_ASSERT(fake.seen.len == 10 && !memcmp(fake.seen.ptr, "e1m2e3k4e5", 10));
		CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->connections, 0);
		CU_ASSERT_EQUAL(net_loop_stats(fake.nets[1])->connections, 1);
		CU_ASSERT_STRING_EQUAL(net_request_peer(fake.kept[0]), "10.1.2.3");
		loop_set_current(&fake.loops[1]);
		fake_echo(fake_take(0));
		loop_set_current(&fake.loops[0]);
		fake_pump_all();
		CU_ASSERT(fake_got(f, &f->in));
		fake_net_end();
	}
}

/* A connection that still has answers due cannot change its loop: it is closed, whatever it asks for. */
static void test_no_move_in_flight(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *f = fake_connect(0);
	fake_frame_add(&f->in, "k1", 2);
	fake_frame_add(&f->in, "m2", 2);
	fake_pump_all();
	CU_ASSERT(f->closed);
	CU_ASSERT_EQUAL(fake.seen_on_loop[1], 0);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->connections, 0);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[1])->connections, 0);
	CU_ASSERT_EQUAL_FATAL(fake.kept_count, 1);
	fake_echo(fake_take(0));
	fake_pump_all();
	CU_ASSERT_EQUAL(f->out.len, 0);
	fake_net_end();
}

static void test_idle(void)
{
	struct net_config cfg = fake_net_config();
	cfg.idle_max_ms = 5000;
	fake_net_begin(&cfg);
	struct fake_conn *silent = fake_connect(0), *waiting = fake_connect(0), *active = fake_connect(0);
	fake_frame_add(&waiting->in, "k", 1);
	fake_pump_all();
	for (int i = 0; i < 10; i++) {
		fake_sleep_ms(1000);
		fake_frame_add(&active->in, "e", 1);
		fake_pump_all();
	}
	CU_ASSERT(silent->closed);
	CU_ASSERT_FALSE(waiting->closed);
	CU_ASSERT_FALSE(active->closed);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->closed_idle, 1);
	fake_net_end();
}

static void test_too_many_connections(void)
{
	struct net_config cfg = fake_net_config();
	cfg.connections_max = 3;
	fake_net_begin(&cfg);
	struct fake_conn *f[4];
	for (int i = 0; i < 4; i++)
		f[i] = fake_connect(0);
	CU_ASSERT_FALSE(f[2]->closed);
	CU_ASSERT(f[3]->closed);
	CU_ASSERT_EQUAL(net_loop_stats(fake.nets[0])->refused, 1);
	fake_peer_closes(f[0]);
	struct fake_conn *again = fake_connect(0);
	CU_ASSERT_FALSE(again->closed);
	fake_net_end();
}

/* Over all fake.loops, by address, with exceptions; what is over a limit leaves no trace. */
static void test_limits(void)
{
	struct net_ip_limit over[] = {{net_address_hash("10.0.0.9"), 3}, {net_address_hash("::1"), 0}};
	struct net_limit_values v = {.total = 6, .per_ip = 2, .overrides = over, .override_count = 2};
	struct net_limits *l = net_limits_new();
	uint32_t place[8], extra;
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[0]));
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[1]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.1", false, &extra));
	for (int i = 2; i < 5; i++)
		CU_ASSERT(net_limits_enter(l, &v, "10.0.0.9", false, &place[i]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.9", false, &extra));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "::1", false, &extra));
	CU_ASSERT_EQUAL(net_limits_total(l), 5);
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.2", false, &place[5]));
	CU_ASSERT_FALSE(net_limits_enter(l, &v, "10.0.0.3", false, &extra)); /* six in all */
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.3", true, &place[6]));      /* a broker */
	net_limits_leave(l, place[0]);
	net_limits_leave(l, place[6]);
	CU_ASSERT(net_limits_enter(l, &v, "10.0.0.1", false, &place[0]));
	for (int i = 0; i < 6; i++)
		net_limits_leave(l, place[i]);
	CU_ASSERT_EQUAL(net_limits_total(l), 0);
	v.total = UINT32_MAX;
	v.per_ip = 1; /* more addresses than there are places: nobody is mistaken for another one */
	for (int i = 0; i < 40000; i++) {
		char address[24];
		snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
		CU_ASSERT(net_limits_enter(l, &v, address, false, &extra));
	}
	CU_ASSERT_EQUAL(net_limits_total(l), 40000);
	net_limits_free(l);
}

static void test_limits_change(void)
{
	struct net_config cfg = fake_net_config();
	fake_net_begin(&cfg);
	struct fake_conn *a = fake_connect(0), *b = fake_connect(1);
	struct net_limit_values v = {.total = 2, .per_ip = 100};
	net_loop_limit(fake.nets[0], &v);
	CU_ASSERT(fake_connect(0)->closed); /* both fake.loops' connections count */
	CU_ASSERT_FALSE(a->closed || b->closed); /* who is there stays */
	v = (struct net_limit_values){.total = 100, .per_ip = 2};
	net_loop_limit(fake.nets[0], &v);
	CU_ASSERT(fake_connect(0)->closed);
	fake_peer_closes(b);
	CU_ASSERT_FALSE(fake_connect(0)->closed);
	fake_net_end();
}

UNIT_MAIN("net", {"split_at_every_byte", test_split_at_every_byte}, {"byte_by_byte", test_byte_by_byte}, {"bad_sizes", test_bad_sizes},
	{"promise_takes_no_memory", test_promise_takes_no_memory}, {"silent_costs_nothing", test_silent_costs_nothing},
	{"large_frames", test_large_frames}, {"bytes_stay", test_bytes_stay}, {"memory_budget", test_memory_budget}, {"move", test_move},
	{"no_move_in_flight", test_no_move_in_flight}, {"idle", test_idle}, {"too_many_connections", test_too_many_connections},
	{"limits", test_limits}, {"limits_change", test_limits_change})
