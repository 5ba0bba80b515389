/* test_controller.c: whole controllers in the simulated world, with brokers that are as small as the control link allows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "common/link/link.h"
#include "common/wire/frame.h"
#include "common/wire/kerr.h"
#include "common/zk/zkdata.h"
#include "controllerd/controller.h"
#include "controllerd/push/frame.h"
#include "proto/kafka/kp.h"
#include "tests/unit/unit.h"

enum { CONTROL_PORT = 19090, KAFKA_PORT = 9092, PARTS = 64, BROKERS_MAX = 4, SECOND = 1000000 };
#define MS(x) ((int64_t)(x) * 1000)

struct test_world;

/* ---- a broker with nothing behind it ---- */

struct part_view {
	char topic[64];
	uint8_t id[16];
	int32_t partition, leader, leader_epoch, partition_epoch, min_isr, isr[8], isr_count, fresh;
};
struct fake_link {
	struct fake *f;
	int controller;
	struct link *l;
	bool open;
};
struct fake {
	struct test_world *w;
	struct env *env;
	struct loop *loop;
	int32_t id;
	struct zk *zk;
	struct listener *ln;
	struct timer beat;
	int64_t boot_epoch, broker_epoch;
	bool lossy, mute, registered, admitted, leaving;
	struct fake_link links[2];
	int32_t active, epoch; /* index of the active controller; its epoch */
	uint64_t seq, beats, deltas, snapshots, stale;
	struct part_view parts[PARTS];
	int part_count, removed;
	char reply[65536];
	int reply_len, reply_error;
	uint64_t reply_number;
	int64_t pid_first;
	int shutdown_remaining;
};

struct test_world {
	struct sim_world *sim;
	struct sim_host *controllers[2], *brokers[BROKERS_MAX];
	struct sim_process *cp[2], *bp[BROKERS_MAX];
	struct controller_config cfg[2];
	struct str zk, host[2];
	bool broker_lossy[BROKERS_MAX];
	int64_t boot[BROKERS_MAX];
	struct sim_program cprog[2], bprog[BROKERS_MAX];
	struct { struct test_world *w; int idx; } args[2 + BROKERS_MAX];
	struct part_view disk[BROKERS_MAX][PARTS]; /* what the brokers' logs hold: outlives processes */
	int disk_count[BROKERS_MAX];
};

static void fake_send(struct fake *f, Klamm__Control__Frame *fr)
{
	if (f->active >= 0 && f->links[f->active].open)
		frame_send(f->links[f->active].l, fr);
}

static struct part_view *view(struct fake *f, const char *topic, int32_t partition)
{
	for (int i = 0; i < f->part_count; i++)
		if (f->parts[i].partition == partition && strcmp(f->parts[i].topic, topic) == 0)
			return &f->parts[i];
	return NULL;
}

static void to_disk(struct fake *f)
{
	f->w->disk_count[f->id - 1] = f->part_count;
	memcpy(f->w->disk[f->id - 1], f->parts, sizeof(f->parts));
}

static void take(struct fake *f, const Klamm__Control__Changes *ch)
{
	for (size_t i = 0; i < ch->n_removed_topics; i++)
		for (int k = f->part_count - 1; k >= 0; k--)
			if (memcmp(f->parts[k].id, ch->removed_topics[i]->topic_id.data, 16) == 0) {
				f->parts[k] = f->parts[--f->part_count];
				f->removed++;
			}
	for (size_t i = 0; i < ch->n_topics; i++)
		for (size_t k = 0; k < ch->topics[i]->n_partitions; k++) {
			const Klamm__Control__Partition *p = ch->topics[i]->partitions[k];
			struct part_view *v = view(f, ch->topics[i]->name, p->partition);
			if (!v && f->part_count == PARTS)
				continue;
			if (!v) {
				v = &f->parts[f->part_count++];
				memset(v, 0, sizeof(*v));
			}
			snprintf(v->topic, sizeof(v->topic), "%s", ch->topics[i]->name);
			memcpy(v->id, ch->topics[i]->topic_id.data, 16);
			v->partition = p->partition;
			v->leader = p->leader;
			v->leader_epoch = p->leader_epoch;
			v->partition_epoch = p->partition_epoch;
			v->min_isr = p->min_isr;
			v->fresh = (int32_t)p->n_fresh;
			v->isr_count = (int32_t)p->n_isr;
			for (int32_t n = 0; n < v->isr_count && n < 8; n++)
				v->isr[n] = p->isr[n];
		}
	to_disk(f);
}

static void applied(struct fake *f)
{
	Klamm__Control__Applied m;
	Klamm__Control__Frame fr;
	klamm__control__applied__init(&m);
	klamm__control__frame__init(&fr);
	m.controller_epoch = f->epoch;
	m.seq = f->seq;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_APPLIED;
	fr.applied = &m;
	fake_send(f, &fr);
}

static void hello(struct fake_link *fl)
{
	struct fake *f = fl->f;
	Klamm__Control__Hello h;
	Klamm__Control__Frame fr;
	klamm__control__hello__init(&h);
	klamm__control__frame__init(&fr);
	h.protocol_min = h.protocol_max = 1;
	h.id = f->id;
	h.boot_epoch = f->boot_epoch;
	h.broker_epoch = f->broker_epoch;
	h.incarnation = 1;
	h.known_controller_epoch = f->epoch;
	h.known_seq = f->seq;
	/* it holds whatever it has heard of, up to offset 100 */
	Klamm__Control__Replica rows[PARTS], *ptr[PARTS];
	struct part_view *disk = f->w->disk[f->id - 1];
	int held = f->w->disk_count[f->id - 1];
	for (int i = 0; i < held; i++) {
		klamm__control__replica__init(&rows[i]);
		rows[i].topic_id.data = disk[i].id;
		rows[i].topic_id.len = 16;
		rows[i].partition = disk[i].partition;
		rows[i].last_epoch = disk[i].leader_epoch;
		rows[i].log_end_offset = 100;
		rows[i].start_class = f->lossy ? KLAMM__CONTROL__START_CLASS__LOSSY : KLAMM__CONTROL__START_CLASS__CRASHED;
		ptr[i] = &rows[i];
	}
	h.inventory = ptr;
	h.n_inventory = (size_t)held;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_HELLO;
	fr.hello = &h;
	frame_send(fl->l, &fr);
}

struct prober {
	struct fake *f;
	int64_t number;
	int32_t target;
	uint8_t scratch[16];
};

static void probed(struct prober *p, Klamm__Control__ProbeResult result)
{
	Klamm__Control__ProbeReply m;
	Klamm__Control__Frame fr;
	klamm__control__probe_reply__init(&m);
	klamm__control__frame__init(&fr);
	m.number = (uint64_t)p->number;
	m.target = p->target;
	m.result = result;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_PROBE_REPLY;
	fr.probe_reply = &m;
	fake_send(p->f, &fr);
	mem_free(p);
}
static void probe_open(struct conn *c, void *ctx) { conn_close(c); probed(ctx, KLAMM__CONTROL__PROBE_RESULT__ANSWERED); }
static bool probe_space(struct conn *c, void *ctx, uint8_t **p, size_t *n) { *p = ((struct prober *)ctx)->scratch; *n = 16; return true; }
static void probe_data(struct conn *c, void *ctx, size_t n) {}
static void probe_closed(struct conn *c, void *ctx, int err)
{
	probed(ctx, err == ERR_REFUSED ? KLAMM__CONTROL__PROBE_RESULT__REFUSED : KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
}
static const struct conn_handler probe_handler = {.on_open = probe_open, .on_space = probe_space, .on_data = probe_data, .on_closed = probe_closed};

static void probe(struct fake *f, const Klamm__Control__Probe *m)
{
	struct prober *p = MEM_NEW(struct prober);
	p->f = f;
	p->number = (int64_t)m->number;
	p->target = m->target;
	conn_connect(f->loop, m->host, (uint16_t)m->port, m->timeout_ms, &probe_handler, p);
}

static void on_reply(struct fake *f, const Klamm__Control__ForwardReply *r)
{
	f->reply_number = r->number;
	f->reply_error = r->error;
	f->reply_len = (int)(r->response.len < sizeof(f->reply) ? r->response.len : sizeof(f->reply));
	if (f->reply_len)
		memcpy(f->reply, r->response.data, (size_t)f->reply_len);
}

static void on_frame(struct link *l, void *ctx, struct slice body)
{
	struct fake_link *fl = ctx;
	struct fake *f = fl->f;
	Klamm__Control__Frame *fr = frame_decode(body);
	CU_ASSERT_FATAL(fr != NULL);
	switch (fr->body_case) {
	case KLAMM__CONTROL__FRAME__BODY_HELLO_REPLY:
		if (fr->hello_reply->active && fr->hello_reply->controller_epoch >= f->epoch)
			f->active = fl->controller;
		if (fr->hello_reply->active)
			f->admitted = fr->hello_reply->admitted;
		break;
	case KLAMM__CONTROL__FRAME__BODY_SNAPSHOT:
		if (fr->snapshot->first)
			f->part_count = 0;
		if (fr->snapshot->changes)
			take(f, fr->snapshot->changes);
		if (fr->snapshot->last) {
			f->active = fl->controller;
			f->epoch = fr->snapshot->controller_epoch;
			f->seq = fr->snapshot->seq;
			f->snapshots++;
			applied(f);
		}
		break;
	case KLAMM__CONTROL__FRAME__BODY_DELTA:
		if (fr->delta->controller_epoch == f->epoch && fr->delta->seq <= f->seq)
			break;
		CU_ASSERT_EQUAL(fr->delta->controller_epoch, f->epoch);
		CU_ASSERT_EQUAL(fr->delta->seq, f->seq + 1);
		f->seq = fr->delta->seq;
		f->deltas++;
		take(f, fr->delta->changes);
		applied(f);
		break;
	case KLAMM__CONTROL__FRAME__BODY_PROBE: probe(f, fr->probe); break;
	case KLAMM__CONTROL__FRAME__BODY_FORWARD_REPLY: on_reply(f, fr->forward_reply); break;
	case KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS_REPLY: f->pid_first = fr->producer_ids_reply->error ? -2 : fr->producer_ids_reply->first; break;
	case KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN_REPLY: f->shutdown_remaining = (int)fr->controlled_shutdown_reply->remaining; break;
	default: break;
	}
	frame_free(fr);
}
static void on_opened(struct link *l, void *ctx) { struct fake_link *fl = ctx; fl->open = true; hello(fl); }
static void on_closed(struct link *l, void *ctx, int err)
{
	struct fake_link *fl = ctx;
	link_free(l);
	fl->l = NULL;
	fl->open = false;
	if (fl->f->active == fl->controller)
		fl->f->active = -1;
}
static const struct link_handler fake_handler = {.opened = on_opened, .frame = on_frame, .closed = on_closed};

static void beat(void *ctx)
{
	struct fake *f = ctx;
	timer_set_ms(&f->beat, 100);
	for (int i = 0; i < 2 && f->registered; i++) {
		struct fake_link *fl = &f->links[i];
		if (!fl->l)
			fl->l = link_connect(f->loop, sim_host_ip(f->w->controllers[i]), CONTROL_PORT, 1000, &fake_handler, fl);
		if (!fl->open || f->mute)
			continue;
		Klamm__Control__Heartbeat h;
		Klamm__Control__HeardController heard[2], *ptr[2];
		Klamm__Control__Frame fr;
		klamm__control__heartbeat__init(&h);
		klamm__control__frame__init(&fr);
		for (int k = 0; k < 2; k++) {
			klamm__control__heard_controller__init(&heard[k]);
			heard[k].id = 100 + k;
			heard[k].connected = f->links[k].open;
			heard[k].silent_ms = f->links[k].l ? (uint32_t)((loop_now_us(f->loop) - link_stats(f->links[k].l)->last_receive_us) / 1000) : 9999;
			ptr[k] = &heard[k];
		}
		h.heard = ptr;
		h.n_heard = 2;
		h.id = f->id;
		h.broker_epoch = f->broker_epoch;
		h.number = ++f->beats;
		h.applied_controller_epoch = f->epoch;
		h.applied_seq = f->seq;
		h.wants_shutdown = f->leaving;
		fr.body_case = KLAMM__CONTROL__FRAME__BODY_HEARTBEAT;
		fr.heartbeat = &h;
		frame_send(fl->l, &fr);
	}
}

static void do_register(struct fake *f);
static void on_deleted(void *ctx, int err) { do_register(ctx); }
static void on_registered(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct fake *f = ctx;
	if (err == ERR_EXIST) {
		struct arena a;
		arena_init(&a, 0);
		zk_delete(f->zk, zkp_broker(&a, f->id), -1, on_deleted, f);
		arena_fini(&a);
		return;
	}
	if (err) {
		do_register(f);
		return;
	}
	f->broker_epoch = st->czxid;
	if (!f->boot_epoch)
		f->boot_epoch = st->czxid;
	f->registered = true;
}
static void do_register(struct fake *f)
{
	struct str json = {0};
	struct arena a;
	arena_init(&a, 0);
	struct zkd_endpoint ep = {"PLAINTEXT", "PLAINTEXT", sim_host_ip(f->w->brokers[f->id - 1]), KAFKA_PORT};
	zkd_broker_encode(&json, &(struct zkd_broker){.version = 5, .jmx_port = -1, .timestamp_ms = 1, .endpoints = &ep, .endpoint_count = 1});
	zk_create(f->zk, zkp_broker(&a, f->id), slice_make(json.ptr, json.len), ZK_EPHEMERAL, on_registered, f);
	str_fini(&json);
	arena_fini(&a);
}
static void fake_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct fake *f = ctx;
	if (ev->event == ZK_CONNECTED && !ev->resumed)
		do_register(f);
	if (ev->event == ZK_EXPIRED)
		zk_reopen(zk);
}
static void fake_accept(struct listener *ln, struct conn *c, void *ctx) { conn_close(c); }

static void *fake_start(struct env *env, struct loop *control, void *arg)
{
	struct { struct test_world *w; int idx; } *a = arg;
	struct fake *f = MEM_NEW(struct fake);
	f->w = a->w;
	f->env = env;
	f->loop = control;
	f->id = a->idx + 1;
	f->active = -1;
	f->lossy = a->w->broker_lossy[a->idx];
	f->pid_first = f->shutdown_remaining = -1;
	for (int i = 0; i < 2; i++)
		f->links[i] = (struct fake_link){f, i, NULL, false};
	timer_init(&f->beat, control, beat, f);
	timer_set_ms(&f->beat, 10);
	struct listen_config lc = {.host = sim_host_ip(a->w->brokers[a->idx]), .port = KAFKA_PORT, .backlog = 8, .on_accept = fake_accept, .ctx = f};
	CU_ASSERT_EQUAL_FATAL(listener_open(control, &lc, &f->ln), 0);
	struct zk_config zc = {.connect = str_cstr(&a->w->zk), .session_timeout_ms = 6000, .op_timeout_ms = 30000, .on_event = fake_event, .ctx = f};
	CU_ASSERT_EQUAL_FATAL(zk_open(control, &zc, &f->zk), 0);
	return f;
}
static void fake_reap(void *root, void *arg)
{
	struct fake *f = root;
	for (int i = 0; i < 2; i++)
		link_free(f->links[i].l);
	mem_free(f);
}

/* ---- controllers ---- */

static void *controller_begin(struct env *env, struct loop *control, void *arg)
{
	struct { struct test_world *w; int idx; } *a = arg;
	struct controller *c = controller_new(env, control, &a->w->cfg[a->idx]);
	CU_ASSERT_EQUAL_FATAL(controller_start(c), 0);
	return c;
}
static void controller_reap(void *root, void *arg) { controller_free(root); }

/* ---- the world ---- */

static struct test_world *world_new(uint64_t seed)
{
	struct test_world *w = MEM_NEW(struct test_world);
	struct sim_config sc;
	sim_config_init(&sc, seed);
	if (getenv("VERBOSE")) {
		sc.verbose = true;
		sc.log_level = LOG_DEBUG;
	}
	w->sim = sim_world_new(&sc);
	sim_zk_connect_string(w->sim, "", &w->zk);
	for (int i = 0; i < 2; i++) {
		char name[16];
		snprintf(name, sizeof(name), "c%d", i);
		w->controllers[i] = sim_host_new(w->sim, name);
		str_add(&w->host[i], sim_host_ip(w->controllers[i]));
		w->cfg[i] = (struct controller_config){.id = 100 + i, .listen_host = w->host[i].ptr, .listen_port = CONTROL_PORT, .zookeeper_connect = w->zk.ptr,
			.zookeeper_session_timeout_ms = 6000, .admin = true, .admin_host = w->host[i].ptr, .admin_port = 8080, .link_closed_grace_ms = 300,
			.link_silence_ms = 1000, .link_allow_remote = true, .delete_topic_enable = true};
		w->args[i].w = w;
		w->args[i].idx = i;
		w->cprog[i] = (struct sim_program){.name = "controllerd", .start = controller_begin, .reap = controller_reap, .arg = &w->args[i]};
	}
	for (int i = 0; i < BROKERS_MAX; i++) {
		char name[16];
		snprintf(name, sizeof(name), "b%d", i + 1);
		w->brokers[i] = sim_host_new(w->sim, name);
		w->args[2 + i].w = w;
		w->args[2 + i].idx = i;
		w->bprog[i] = (struct sim_program){.name = "broker", .start = fake_start, .reap = fake_reap, .arg = &w->args[2 + i]};
	}
	return w;
}

static void start_controller(struct test_world *w, int i) { w->cp[i] = sim_process_start(w->controllers[i], &w->cprog[i]); }
static void start_broker(struct test_world *w, int id) { w->bp[id - 1] = sim_process_start(w->brokers[id - 1], &w->bprog[id - 1]); }
static void run_ms(struct test_world *w, int64_t ms) { sim_world_run_until(w->sim, sim_now_us(w->sim) + MS(ms)); }
static struct fake *broker(struct test_world *w, int id) { return sim_process_root(w->bp[id - 1]); }

static void world_free(struct test_world *w)
{
	sim_world_free(w->sim);
	str_fini(&w->zk);
	for (int i = 0; i < 2; i++)
		str_fini(&w->host[i]);
	mem_free(w);
}

static bool active(struct test_world *w, int i, struct controller_view *v)
{
	struct controller *c = w->cp[i] && sim_process_alive(w->cp[i]) ? sim_process_root(w->cp[i]) : NULL;
	if (!c)
		return false;
	controller_look(c, v);
	return v->active;
}

static int active_idx(struct test_world *w)
{
	struct controller_view v;
	int found = -1;
	for (int i = 0; i < 2; i++)
		if (active(w, i, &v))
			found = i;
	return found;
}

static int wait_active(struct test_world *w)
{
	for (int i = 0; i < 200 && active_idx(w) < 0; i++)
		run_ms(w, 50);
	return active_idx(w);
}

static bool available(struct test_world *w, int brokers)
{
	for (int id = 1; id <= brokers; id++) {
		struct fake *f = w->bp[id - 1] && sim_process_alive(w->bp[id - 1]) ? broker(w, id) : NULL;
		if (!f || !f->admitted)
			return false;
	}
	return true;
}

static struct test_world *cluster(uint64_t seed, int brokers)
{
	struct test_world *w = world_new(seed);
	start_controller(w, 0);
	start_controller(w, 1);
	for (int id = 1; id <= brokers; id++)
		start_broker(w, id);
	CU_ASSERT_FATAL(wait_active(w) >= 0);
	for (int i = 0; i < 100 && !available(w, brokers); i++)
		run_ms(w, 50);
	CU_ASSERT(available(w, brokers));
	run_ms(w, 300);
	return w;
}

static bool zk_text(struct test_world *w, const char *path, struct str *out)
{
	struct zk_stat st;
	str_clear(out);
	return sim_zk_read(w->sim, path, out, &st) == 0;
}
static bool zk_there(struct test_world *w, const char *path)
{
	struct str s = {0};
	bool there = zk_text(w, path, &s);
	str_fini(&s);
	return there;
}

struct state_view { int32_t leader, leader_epoch, controller_epoch, version, isr[8], isr_count; bool there; };
static struct state_view state_of(struct test_world *w, const char *topic, int32_t partition)
{
	struct state_view v = {.leader = -9};
	struct str s = {0};
	struct arena a;
	struct zkd_state z;
	struct zk_stat st;
	arena_init(&a, 0);
	if (sim_zk_read(w->sim, zkp_state(&a, topic, partition), &s, &st) == 0 && zkd_state_decode(slice_make(s.ptr, s.len), &a, &z) == 0) {
		v = (struct state_view){z.leader, z.leader_epoch, z.controller_epoch, st.version, {0}, (int32_t)z.isr.count, true};
		for (int32_t i = 0; i < v.isr_count && i < 8; i++)
			v.isr[i] = z.isr.ids[i];
	}
	arena_fini(&a);
	str_fini(&s);
	return v;
}

/* ---- requests of clients ---- */

struct ask { struct fake *f; struct chain bytes; uint64_t number; };
static void do_ask(void *ctx)
{
	struct ask *q = ctx;
	uint8_t *flat = mem_alloc(q->bytes.bytes);
	size_t len = q->bytes.bytes;
	chain_flatten(&q->bytes, flat);
	Klamm__Control__Forward m;
	Klamm__Control__Frame fr;
	klamm__control__forward__init(&m);
	klamm__control__frame__init(&fr);
	m.number = q->number;
	m.request.data = flat + 4; /* without the size */
	m.request.len = len - 4;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_FORWARD;
	fr.forward = &m;
	fake_send(q->f, &fr);
	mem_free(flat);
	chain_clear(&q->bytes);
	mem_free(q);
}
static void ask(struct test_world *w, int id, int16_t api, int16_t version, const void *msg, uint64_t number)
{
	struct ask *q = MEM_NEW(struct ask);
	q->f = broker(w, id);
	q->number = number;
	chain_init(&q->bytes);
	wire_request_encode(wire_api_find(api), version, 1, slice_str("test"), msg, &q->bytes);
	sim_process_run(w->bp[id - 1], do_ask, q);
}
static void ask_create(struct test_world *w, int id, const char *topic, int32_t partitions, int16_t rf, uint64_t number, const char *key, const char *value)
{
	struct kp_create_topics_request r;
	struct kp_create_topics_request_topics t;
	struct kp_create_topics_request_topics_configs c;
	kp_create_topics_request_init(&r);
	kp_create_topics_request_topics_init(&t);
	kp_create_topics_request_topics_configs_init(&c);
	t.name = slice_str(topic);
	t.num_partitions = partitions;
	t.replication_factor = rf;
	c.name = slice_str(key);
	c.value = slice_str(value);
	t.configs = &c;
	t.configs_count = key ? 1 : 0;
	r.topics = &t;
	r.topics_count = 1;
	r.timeout_ms = 10000;
	ask(w, id, KP_API_CREATE_TOPICS, 7, &r, number);
}
static int16_t created(struct test_world *w, int id, uint64_t number, int64_t within_ms)
{
	struct fake *f = broker(w, id);
	for (int64_t i = 0; i < within_ms / 10 && f->reply_number != number; i++)
		run_ms(w, 10);
	CU_ASSERT_EQUAL(f->reply_number, number);
	if (f->reply_number != number || f->reply_error)
		return (int16_t)(f->reply_error ? f->reply_error : -99);
	struct arena a;
	struct kp_create_topics_response r;
	struct slice in = slice_make(f->reply, (size_t)f->reply_len);
	arena_init(&a, 0);
	int16_t code = -98;
	if (wire_decode(&kp_create_topics_response_desc, 7, &in, &a, &r) == 0 && r.topics_count == 1 && in.len == 0)
		code = r.topics[0].error_code;
	arena_fini(&a);
	return code;
}
static int16_t create(struct test_world *w, const char *topic, int32_t partitions, int16_t rf)
{
	static uint64_t number = 1000;
	ask_create(w, 1, topic, partitions, rf, ++number, NULL, NULL);
	return created(w, 1, number, 8000);
}

/* ---- cases ---- */

static void test_elects_one(void)
{
	struct test_world *w = cluster(1, 0);
	struct str s = {0};
	struct arena a;
	struct zkd_controller c;
	struct controller_view v0, v1;
	arena_init(&a, 0);
	run_ms(w, 2000);
	CU_ASSERT_EQUAL(active(w, 0, &v0) + active(w, 1, &v1), 1);
	CU_ASSERT_FATAL(zk_text(w, ZKP_CONTROLLER, &s));
	CU_ASSERT_FATAL(zkd_controller_decode(slice_make(s.ptr, s.len), &a, &c) == 0);
	CU_ASSERT(c.has_klamm);
	CU_ASSERT_EQUAL(c.klamm_id, 100 + active_idx(w));
	CU_ASSERT_EQUAL(c.brokerid, c.klamm_id); /* no broker lives (J1) */
	CU_ASSERT(zk_text(w, ZKP_CONTROLLER_EPOCH, &s));
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "1");
	static const char *const must[] = {ZKP_BROKER_IDS, ZKP_TOPICS, ZKP_CLUSTER_ID, ZKP_FEATURE, ZKP_KLAMM_LINEAGE, ZKP_CONFIG_CHANGES, "/klamm/controllers/100",
					   "/klamm/controllers/101", ZKP_KLAMM_STATUS_CONTROLLER};
	for (size_t i = 0; i < sizeof(must) / sizeof(must[0]); i++)
		CU_ASSERT(zk_there(w, must[i]));
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
	world_free(w);
}

static void test_takes_over_from_killed(void)
{
	struct test_world *w = cluster(2, 3);
	CU_ASSERT_EQUAL(create(w, "t", 3, 3), KERR_NONE);
	struct state_view before = state_of(w, "t", 0);
	int was = active_idx(w);
	sim_process_kill(w->cp[was]);
	run_ms(w, 1500);
	CU_ASSERT_EQUAL(active_idx(w), 1 - was);
	struct controller_view v;
	CU_ASSERT(active(w, 1 - was, &v));
	CU_ASSERT_EQUAL(v.epoch, 2);
	CU_ASSERT_EQUAL(create(w, "u", 1, 3), KERR_NONE);
	struct state_view after = state_of(w, "t", 0);
	CU_ASSERT_EQUAL(after.leader_epoch, before.leader_epoch); /* nothing moved */
	CU_ASSERT_EQUAL(after.version, before.version);
	/* back again: a standby, and nothing moves either */
	start_controller(w, was);
	run_ms(w, 3000);
	CU_ASSERT_EQUAL(active_idx(w), 1 - was);
	CU_ASSERT_EQUAL(state_of(w, "t", 0).version, before.version);
	world_free(w);
}

static void test_paused_active_is_replaced_once(void)
{
	struct test_world *w = cluster(3, 3);
	CU_ASSERT_EQUAL(create(w, "t", 3, 3), KERR_NONE);
	int was = active_idx(w);
	sim_process_pause(w->cp[was]);
	run_ms(w, 5000);
	CU_ASSERT_EQUAL(active_idx(w) == was ? 1 - was : active_idx(w), 1 - was);
	sim_process_resume(w->cp[was]);
	run_ms(w, 5000);
	struct controller_view v;
	CU_ASSERT(active(w, 1 - was, &v));
	CU_ASSERT_EQUAL(v.epoch, 2);
	CU_ASSERT_EQUAL(active(w, was, &v), false);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(state_of(w, "t", i).leader_epoch, 0);
	world_free(w);
}

static void test_creates_and_deletes(void)
{
	struct test_world *w = cluster(4, 3);
	CU_ASSERT_EQUAL(create(w, "orders", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(create(w, "orders", 6, 3), KERR_TOPIC_ALREADY_EXISTS);
	CU_ASSERT_EQUAL(create(w, "bad name", 6, 3), KERR_INVALID_TOPIC_EXCEPTION);
	CU_ASSERT_EQUAL(create(w, "wide", 1, 4), KERR_INVALID_REPLICATION_FACTOR);
	for (int i = 0; i < 6; i++) {
		struct state_view s = state_of(w, "orders", i);
		CU_ASSERT(s.there);
		CU_ASSERT_EQUAL(s.isr_count, 3);
		CU_ASSERT_EQUAL(s.leader_epoch, 0);
		for (int id = 1; id <= 3; id++) {
			struct part_view *v = view(broker(w, id), "orders", i);
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
	ask(w, 2, KP_API_DELETE_TOPICS, 6, &r, 77);
	run_ms(w, 1500);
	CU_ASSERT_EQUAL(broker(w, 2)->reply_number, 77);
	CU_ASSERT(!zk_there(w, "/brokers/topics/orders"));
	CU_ASSERT(!zk_there(w, "/config/topics/orders"));
	CU_ASSERT(view(broker(w, 3), "orders", 0) == NULL);
	CU_ASSERT_EQUAL(broker(w, 3)->removed, 6);
	CU_ASSERT_EQUAL(create(w, "orders", 1, 1), KERR_NONE);
	world_free(w);
}

static void test_large_topic(void)
{
	struct test_world *w = cluster(5, 3);
	int64_t began = sim_now_us(w->sim);
	CU_ASSERT_EQUAL(create(w, "large", 10000, 3), KERR_NONE);
	CU_ASSERT(sim_now_us(w->sim) - began < 8 * SECOND);
	CU_ASSERT(state_of(w, "large", 9999).there);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/large", (struct slice){NULL, 0}), 0);
	for (int i = 0; i < 100 && zk_there(w, "/brokers/topics/large"); i++)
		run_ms(w, 100);
	CU_ASSERT(!zk_there(w, "/brokers/topics/large"));
	CU_ASSERT(!zk_there(w, "/admin/delete_topics/large"));
	world_free(w);
}

static void test_failover_is_fast(void)
{
	struct test_world *w = cluster(6, 3);
	CU_ASSERT_EQUAL(create(w, "t", 6, 3), KERR_NONE);
	int dead = state_of(w, "t", 0).leader;
	sim_process_kill(w->bp[dead - 1]);
	run_ms(w, 500);
	for (int i = 0; i < 6; i++) {
		struct state_view s = state_of(w, "t", i);
		CU_ASSERT_NOT_EQUAL(s.leader, dead);
		CU_ASSERT_EQUAL(s.isr_count, 2);
		for (int k = 0; k < s.isr_count; k++)
			CU_ASSERT_NOT_EQUAL(s.isr[k], dead);
		int other = dead == 1 ? 2 : 1;
		struct part_view *v = view(broker(w, other), "t", i);
		CU_ASSERT(v && v->leader == s.leader && v->leader_epoch == s.leader_epoch && v->partition_epoch == s.version);
	}
	world_free(w);
}

/* A2: silent for long, but its port answers: a closed link alone kills nobody whose process lives. */
static void test_answered_probe_protects(void)
{
	struct test_world *w = cluster(7, 3);
	CU_ASSERT_EQUAL(create(w, "t", 3, 3), KERR_NONE);
	broker(w, 2)->mute = true; /* no heartbeats; the listener lives */
	run_ms(w, 4000);
	for (int i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(state_of(w, "t", i).leader_epoch, 0);
		CU_ASSERT_EQUAL(state_of(w, "t", i).isr_count, 3);
	}
	world_free(w);
}

/* D2: back within the grace, as a new life: a new leader epoch for all it led. */
static void test_new_life_gets_new_epochs(void)
{
	struct test_world *w = cluster(8, 3);
	CU_ASSERT_EQUAL(create(w, "t", 3, 3), KERR_NONE);
	CU_ASSERT_EQUAL(create(w, "alone", 3, 1), KERR_NONE);
	int led = state_of(w, "t", 0).leader, alone = -1;
	for (int i = 0; i < 3; i++)
		if (state_of(w, "alone", i).leader == led)
			alone = i;
	CU_ASSERT_FATAL(alone >= 0);
	sim_process_kill(w->bp[led - 1]);
	start_broker(w, led);
	run_ms(w, 3000);
	CU_ASSERT(broker(w, led)->admitted);
	CU_ASSERT(state_of(w, "t", 0).leader_epoch > 0);
	struct state_view s = state_of(w, "alone", alone);
	CU_ASSERT_EQUAL(s.leader, led); /* it may win again, in a new epoch */
	CU_ASSERT(s.leader_epoch > 0);
	CU_ASSERT_EQUAL(s.isr_count, 1);
	world_free(w);
}

static void test_topics_by_hand(void)
{
	struct test_world *w = cluster(9, 3);
	struct str s = {0};
	struct arena a;
	struct zkd_topic t;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/config/topics/hand", slice_str("{\"version\":1,\"config\":{\"min.insync.replicas\":\"2\"}}")), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/brokers/topics/hand", slice_str("{\"version\":1,\"partitions\":{\"0\":[2,1,3],\"1\":[3,2,1]}}")), 0);
	run_ms(w, 1500);
	CU_ASSERT_FATAL(zk_text(w, "/brokers/topics/hand", &s));
	CU_ASSERT_FATAL(zkd_topic_decode(slice_make(s.ptr, s.len), &a, &t) == 0);
	CU_ASSERT(t.has_topic_id);
	CU_ASSERT_EQUAL(state_of(w, "hand", 0).leader, 2);
	CU_ASSERT_EQUAL(state_of(w, "hand", 1).leader, 3);
	struct part_view *v = view(broker(w, 1), "hand", 1);
	CU_ASSERT(v && v->leader == 3 && v->min_isr == 2 && v->fresh == 3); /* fresh: or nobody would dare to make the logs */
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/hand", (struct slice){NULL, 0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/admin/delete_topics/unknown", (struct slice){NULL, 0}), 0);
	run_ms(w, 1500);
	CU_ASSERT(!zk_there(w, "/brokers/topics/hand"));
	CU_ASSERT(!zk_there(w, "/admin/delete_topics/hand"));
	CU_ASSERT(!zk_there(w, "/admin/delete_topics/unknown"));
	CU_ASSERT(view(broker(w, 1), "hand", 0) == NULL);
	str_fini(&s);
	arena_fini(&a);
	world_free(w);
}

struct alter { struct fake *f; struct part_view v; int32_t isr[3]; int32_t n; };
static void do_alter(void *ctx)
{
	struct alter *q = ctx;
	Klamm__Control__AlterPartitionRequest m;
	Klamm__Control__PartitionProposal p, *pp = &p;
	Klamm__Control__Frame fr;
	klamm__control__alter_partition_request__init(&m);
	klamm__control__partition_proposal__init(&p);
	klamm__control__frame__init(&fr);
	m.number = 5;
	m.broker_epoch = q->f->broker_epoch;
	m.partitions = &pp;
	m.n_partitions = 1;
	p.topic_id.data = q->v.id;
	p.topic_id.len = 16;
	p.partition = q->v.partition;
	p.leader_epoch = q->v.leader_epoch;
	p.partition_epoch = q->v.partition_epoch;
	p.isr = q->isr;
	p.n_isr = (size_t)q->n;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION;
	fr.alter_partition = &m;
	fake_send(q->f, &fr);
	mem_free(q);
}
static void alter(struct test_world *w, const char *topic, int32_t partition, const int32_t *isr, int32_t n)
{
	int leader = state_of(w, topic, partition).leader;
	struct alter *q = MEM_NEW(struct alter);
	q->f = broker(w, leader);
	q->v = *view(q->f, topic, partition);
	memcpy(q->isr, isr, sizeof(int32_t) * (size_t)n);
	q->n = n;
	sim_process_run(w->bp[leader - 1], do_alter, q);
}

static void test_alters_isr(void)
{
	struct test_world *w = cluster(10, 3);
	CU_ASSERT_EQUAL(create(w, "t", 1, 3), KERR_NONE);
	int leader = state_of(w, "t", 0).leader;
	alter(w, "t", 0, &leader, 1);
	run_ms(w, 500);
	struct state_view s = state_of(w, "t", 0);
	CU_ASSERT_EQUAL(s.isr_count, 1);
	CU_ASSERT_EQUAL(s.version, 1);
	CU_ASSERT_EQUAL(s.leader_epoch, 0);
	CU_ASSERT_EQUAL(view(broker(w, leader), "t", 0)->partition_epoch, 1);
	alter(w, "t", 0, (int32_t[]){leader, leader == 1 ? 2 : 1}, 2);
	run_ms(w, 500);
	CU_ASSERT_EQUAL(state_of(w, "t", 0).isr_count, 2);
	world_free(w);
}

/* C1: the epoch moves under the active one; nothing that it tries afterwards may land. Fails if a write goes without the check. */
static void test_no_write_without_epoch(void)
{
	for (uint64_t seed = 20; seed < 24; seed++) {
		struct test_world *w = cluster(seed, 3);
		CU_ASSERT_EQUAL(create(w, "t", 1, 3), KERR_NONE);
		struct state_view before = state_of(w, "t", 0);
		int leader = before.leader;
		ask_create(w, 1, "late", 1, 3, 9, NULL, NULL);
		alter(w, "t", 0, &leader, 1);
		CU_ASSERT_EQUAL(sim_zk_set(w->sim, ZKP_CONTROLLER_EPOCH, slice_str("50"), -1), 0);
		run_ms(w, 5000);
		CU_ASSERT(!zk_there(w, "/brokers/topics/late"));
		CU_ASSERT(!zk_there(w, "/config/topics/late"));
		struct state_view after = state_of(w, "t", 0);
		CU_ASSERT_EQUAL(after.version, before.version);
		struct controller_view v;
		CU_ASSERT(active(w, active_idx(w), &v));
		CU_ASSERT(v.epoch >= 51); /* they stood again, above it */
		world_free(w);
	}
}

static void do_pids(void *ctx)
{
	struct fake *f = ctx;
	Klamm__Control__ProducerIdsRequest m;
	Klamm__Control__Frame fr;
	klamm__control__producer_ids_request__init(&m);
	klamm__control__frame__init(&fr);
	m.broker_epoch = f->broker_epoch;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS;
	fr.producer_ids = &m;
	fake_send(f, &fr);
}
static void do_shutdown(void *ctx)
{
	struct fake *f = ctx;
	Klamm__Control__ControlledShutdown m;
	Klamm__Control__Frame fr;
	klamm__control__controlled_shutdown__init(&m);
	klamm__control__frame__init(&fr);
	m.broker_epoch = f->broker_epoch;
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_CONTROLLED_SHUTDOWN;
	fr.controlled_shutdown = &m;
	fake_send(f, &fr);
}

static void test_producer_ids_and_shutdown(void)
{
	struct test_world *w = cluster(11, 3);
	for (int id = 1; id <= 3; id++)
		sim_process_run(w->bp[id - 1], do_pids, broker(w, id));
	run_ms(w, 500);
	int64_t sum = 0;
	for (int id = 1; id <= 3; id++) {
		CU_ASSERT(broker(w, id)->pid_first % 1000 == 0);
		sum += broker(w, id)->pid_first;
	}
	CU_ASSERT_EQUAL(sum, 3000); /* 0, 1000, 2000 */
	CU_ASSERT_EQUAL(create(w, "t", 6, 3), KERR_NONE);
	CU_ASSERT_EQUAL(create(w, "alone", 3, 1), KERR_NONE);
	sim_process_run(w->bp[0], do_shutdown, broker(w, 1));
	run_ms(w, 500);
	CU_ASSERT_EQUAL(broker(w, 1)->shutdown_remaining, 0);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_NOT_EQUAL(state_of(w, "t", i).leader, 1);
		CU_ASSERT_EQUAL(state_of(w, "t", i).isr_count, 2);
	}
	world_free(w);
}

/* D4 and B6: ZooKeeper away for long: sessions expire, processes and links live: nothing moves. */
static void test_zookeeper_outage_moves_nothing(void)
{
	struct test_world *w = cluster(12, 3);
	CU_ASSERT_EQUAL(create(w, "t", 6, 3), KERR_NONE);
	sim_zk_stop_all(w->sim);
	run_ms(w, 60000);
	int status = 0;
	struct str s = {0};
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(sim_http_get(w->cp[i], "/health", &s, &status), 0);
		CU_ASSERT_EQUAL(status, 503);
	}
	str_fini(&s);
	sim_zk_start_all(w->sim);
	run_ms(w, 20000);
	CU_ASSERT(active_idx(w) >= 0);
	for (int i = 0; i < 6; i++) {
		CU_ASSERT_EQUAL(state_of(w, "t", i).leader_epoch, 0);
		CU_ASSERT_EQUAL(state_of(w, "t", i).isr_count, 3);
	}
	CU_ASSERT_EQUAL(create(w, "u", 1, 3), KERR_NONE);
	world_free(w);
}

static void test_foreign_controller_is_left_alone(void)
{
	struct test_world *w = world_new(13);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/controller", slice_str("{\"version\":2,\"brokerid\":7,\"timestamp\":\"1\",\"kraftControllerEpoch\":-1}")), 0);
	start_controller(w, 0);
	run_ms(w, 5000);
	CU_ASSERT_EQUAL(active_idx(w), -1);
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/controller", -1), 0);
	run_ms(w, 2000);
	CU_ASSERT_EQUAL(active_idx(w), 0);
	/* deleted by hand: the active simply stands again (A5) */
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/controller", -1), 0);
	run_ms(w, 2000);
	CU_ASSERT_EQUAL(active_idx(w), 0);
	CU_ASSERT(zk_there(w, "/controller"));
	world_free(w);
}

/* kill -9 of everything, again and again: every partition has a leader of its ISR afterwards. */
static void test_everything_killed(void)
{
	struct test_world *w = cluster(14, 3);
	CU_ASSERT_EQUAL(create(w, "t", 6, 3), KERR_NONE);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 2; i++)
			sim_process_kill(w->cp[i]);
		for (int id = 1; id <= 3; id++)
			sim_process_kill(w->bp[id - 1]);
		for (int i = 0; i < 2; i++)
			start_controller(w, i);
		for (int id = 1; id <= 3; id++)
			start_broker(w, id);
		run_ms(w, 12000);
		CU_ASSERT_FATAL(active_idx(w) >= 0);
		for (int i = 0; i < 6; i++) {
			struct state_view s = state_of(w, "t", i);
			CU_ASSERT(s.leader > 0);
			CU_ASSERT(s.isr_count > 0);
		}
	}
	world_free(w);
}

UNIT_MAIN("controller", {"elects_one", test_elects_one}, {"takes_over_from_killed", test_takes_over_from_killed},
	  {"paused_active_is_replaced_once", test_paused_active_is_replaced_once}, {"creates_and_deletes", test_creates_and_deletes}, {"large_topic", test_large_topic},
	  {"failover_is_fast", test_failover_is_fast}, {"answered_probe_protects", test_answered_probe_protects}, {"new_life_gets_new_epochs", test_new_life_gets_new_epochs},
	  {"topics_by_hand", test_topics_by_hand}, {"alters_isr", test_alters_isr}, {"no_write_without_epoch", test_no_write_without_epoch},
	  {"producer_ids_and_shutdown", test_producer_ids_and_shutdown}, {"zookeeper_outage_moves_nothing", test_zookeeper_outage_moves_nothing},
	  {"foreign_controller_is_left_alone", test_foreign_controller_is_left_alone}, {"everything_killed", test_everything_killed})
