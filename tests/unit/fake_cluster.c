/* fake_cluster.c: see fake_cluster.h. */
#include "tests/unit/fake_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/link/link.h"
#include "common/wire/frame.h"
#include "common/zk/zkdata.h"
#include "controllerd/push/frame.h"
#include "proto/kafka/kp.h"
#include "tests/unit/unit.h"

#define MS(x) ((int64_t)(x) * 1000)

static void fake_send(struct fake *f, Klamm__Control__Frame *fr)
{
	if (f->active >= 0 && f->links[f->active].open)
		frame_send(f->links[f->active].l, fr);
}

struct part_view *fake_view(struct fake *f, const char *topic, int32_t partition)
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

static bool node_of(struct fake_world *w, const char *topic, const uint8_t *id)
{
	struct str s = {0};
	struct arena a;
	struct zkd_topic t;
	arena_init(&a, 0);
	bool is = fake_zk_text(w, zkp_topic(&a, topic), &s) && zkd_topic_decode(slice_make(s.ptr, s.len), &a, &t) == 0 && t.has_topic_id && memcmp(t.topic_id.b, id, 16) == 0;
	arena_fini(&a);
	str_fini(&s);
	return is;
}

/* C1: who leads by what a broker is told leads by what ZooKeeper has. Only of the newest state there can more be said than that it is there. */
static void check_written(struct fake *f, const Klamm__Control__Topic *t, const Klamm__Control__Partition *p)
{
	struct fake_state s = fake_state_of(f->w, t->name, p->partition);
	if (p->leader < 0 || !s.there || p->partition_epoch < s.version)
		return;
	bool same = p->partition_epoch == s.version && p->leader == s.leader && p->leader_epoch == s.leader_epoch && (int32_t)p->n_isr == s.isr_count;
	for (int32_t i = 0; same && i < s.isr_count && i < 8; i++)
		same = p->isr[i] == s.isr[i];
	CU_ASSERT(same || !node_of(f->w, t->name, t->topic_id.data)); /* else of a topic that went */
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
			struct part_view *v = fake_view(f, ch->topics[i]->name, p->partition);
			check_written(f, ch->topics[i], p);
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
	if (f->w->cluster_id)
		h.cluster_id = (char *)(uintptr_t)f->w->cluster_id;
	h.boot_epoch = f->boot_epoch;
	h.broker_epoch = f->broker_epoch;
	h.incarnation = 1;
	h.known_controller_epoch = f->epoch;
	h.known_seq = f->seq;
	/* it holds whatever it has heard of, up to offset 100 */
	Klamm__Control__Replica rows[PARTS], *ptr[PARTS];
	struct part_view *disk = f->w->disk[f->id - 1];
	bool offline = f->w->broker_dir_offline[f->id - 1];
	int held = offline ? 0 : f->w->disk_count[f->id - 1];
	Klamm__Control__LogDir dir, *dirs = &dir;
	klamm__control__log_dir__init(&dir);
	dir.offline = offline;
	h.dirs = &dirs;
	h.n_dirs = offline;
	for (int i = 0; i < held; i++) {
		klamm__control__replica__init(&rows[i]);
		rows[i].topic_id.data = disk[i].id;
		rows[i].topic_id.len = 16;
		rows[i].partition = disk[i].partition;
		rows[i].topic = disk[i].topic;
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
	f->reply_seq = f->seq;
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
		snprintf(f->refused, sizeof(f->refused), "%s", fr->hello_reply->refused);
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
	case KLAMM__CONTROL__FRAME__BODY_HEARTBEAT_REPLY:
		if (fl->controller != f->active)
			break;
		f->suspended = fr->heartbeat_reply->suspended;
		f->confirmed += fr->heartbeat_reply->seq > 0;
		break;
	case KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION_REPLY: f->rejections++; break;
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
		h.loop_stall_ms = f->stall_ms;
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
	struct { struct fake_world *w; int idx; } *a = arg;
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
	struct { struct fake_world *w; int idx; } *a = arg;
	struct controller *c = controller_new(env, control, &a->w->cfg[a->idx]);
	CU_ASSERT_EQUAL_FATAL(controller_start(c), 0);
	return c;
}
static void controller_reap(void *root, void *arg) { controller_free(root); }

/* ---- the world ---- */

struct fake_world *fake_world_new(uint64_t seed)
{
	struct fake_world *w = MEM_NEW(struct fake_world);
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

void fake_start_controller(struct fake_world *w, int i) { w->cp[i] = sim_process_start(w->controllers[i], &w->cprog[i]); }
void fake_start_broker(struct fake_world *w, int id) { w->bp[id - 1] = sim_process_start(w->brokers[id - 1], &w->bprog[id - 1]); }
void fake_run_ms(struct fake_world *w, int64_t ms) { sim_world_run_until(w->sim, sim_now_us(w->sim) + MS(ms)); }
struct fake *fake_broker(struct fake_world *w, int id) { return sim_process_root(w->bp[id - 1]); }

void fake_world_free(struct fake_world *w)
{
	sim_world_free(w->sim);
	str_fini(&w->zk);
	for (int i = 0; i < 2; i++)
		str_fini(&w->host[i]);
	mem_free(w);
}

bool fake_active(struct fake_world *w, int i, struct controller_view *v)
{
	struct controller *c = w->cp[i] && sim_process_alive(w->cp[i]) ? sim_process_root(w->cp[i]) : NULL;
	if (!c)
		return false;
	controller_look(c, v);
	return v->active;
}

int fake_active_idx(struct fake_world *w)
{
	struct controller_view v;
	int found = -1;
	for (int i = 0; i < 2; i++)
		if (fake_active(w, i, &v))
			found = i;
	return found;
}

static int fake_wait_active(struct fake_world *w)
{
	for (int i = 0; i < 200 && fake_active_idx(w) < 0; i++)
		fake_run_ms(w, 50);
	return fake_active_idx(w);
}

static bool fake_available(struct fake_world *w, int brokers)
{
	for (int id = 1; id <= brokers; id++) {
		struct fake *f = w->bp[id - 1] && sim_process_alive(w->bp[id - 1]) ? fake_broker(w, id) : NULL;
		if (!f || !f->admitted)
			return false;
	}
	return true;
}

struct fake_world *fake_cluster(uint64_t seed, int brokers)
{
	struct fake_world *w = fake_world_new(seed);
	fake_start_controller(w, 0);
	fake_start_controller(w, 1);
	for (int id = 1; id <= brokers; id++)
		fake_start_broker(w, id);
	CU_ASSERT_FATAL(fake_wait_active(w) >= 0);
	for (int i = 0; i < 100 && !fake_available(w, brokers); i++)
		fake_run_ms(w, 50);
	CU_ASSERT(fake_available(w, brokers));
	fake_run_ms(w, 300);
	return w;
}

bool fake_zk_text(struct fake_world *w, const char *path, struct str *out)
{
	struct zk_stat st;
	str_clear(out);
	return sim_zk_read(w->sim, path, out, &st) == 0;
}
bool fake_zk_there(struct fake_world *w, const char *path)
{
	struct str s = {0};
	bool there = fake_zk_text(w, path, &s);
	str_fini(&s);
	return there;
}

struct fake_state fake_state_of(struct fake_world *w, const char *topic, int32_t partition)
{
	struct fake_state v = {.leader = -9};
	struct str s = {0};
	struct arena a;
	struct zkd_state z;
	struct zk_stat st;
	arena_init(&a, 0);
	if (sim_zk_read(w->sim, zkp_state(&a, topic, partition), &s, &st) == 0 && zkd_state_decode(slice_make(s.ptr, s.len), &a, &z) == 0) {
		v = (struct fake_state){z.leader, z.leader_epoch, z.controller_epoch, st.version, {0}, (int32_t)z.isr.count, true};
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
void fake_ask(struct fake_world *w, int id, int16_t api, int16_t version, const void *msg, uint64_t number)
{
	struct ask *q = MEM_NEW(struct ask);
	q->f = fake_broker(w, id);
	q->number = number;
	chain_init(&q->bytes);
	wire_request_encode(wire_api_find(api), version, 1, slice_str("test"), msg, &q->bytes);
	sim_process_run(w->bp[id - 1], do_ask, q);
}
void fake_ask_create(struct fake_world *w, int id, const char *topic, int32_t partitions, int16_t rf, uint64_t number, const char *key, const char *value)
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
	fake_ask(w, id, KP_API_CREATE_TOPICS, 7, &r, number);
}
int16_t fake_created(struct fake_world *w, int id, uint64_t number, int64_t within_ms)
{
	struct fake *f = fake_broker(w, id);
	for (int64_t i = 0; i < within_ms / 10 && f->reply_number != number; i++)
		fake_run_ms(w, 10);
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
int16_t fake_create(struct fake_world *w, const char *topic, int32_t partitions, int16_t rf)
{
	static uint64_t number = 1000;
	fake_ask_create(w, 1, topic, partitions, rf, ++number, NULL, NULL);
	return fake_created(w, 1, number, 8000);
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
void fake_alter(struct fake_world *w, const char *topic, int32_t partition, const int32_t *isr, int32_t n)
{
	int leader = fake_state_of(w, topic, partition).leader;
	struct alter *q = MEM_NEW(struct alter);
	q->f = fake_broker(w, leader);
	q->v = *fake_view(q->f, topic, partition);
	memcpy(q->isr, isr, sizeof(int32_t) * (size_t)n);
	q->n = n;
	sim_process_run(w->bp[leader - 1], do_alter, q);
}

struct deletion_done { struct fake *f; struct uuid id; };
static void do_deletion_done(void *ctx)
{
	struct deletion_done *q = ctx;
	Klamm__Control__DeletionDone m;
	Klamm__Control__RemovedTopic t, *tp = &t;
	Klamm__Control__Frame fr;
	klamm__control__deletion_done__init(&m);
	klamm__control__removed_topic__init(&t);
	klamm__control__frame__init(&fr);
	m.broker_epoch = q->f->broker_epoch;
	m.topics = &tp;
	m.n_topics = 1;
	t.topic_id.data = q->id.b;
	t.topic_id.len = sizeof(q->id.b);
	fr.body_case = KLAMM__CONTROL__FRAME__BODY_DELETION_DONE;
	fr.deletion_done = &m;
	fake_send(q->f, &fr);
	mem_free(q);
}
void fake_deletion_done(struct fake_world *w, int id, const struct uuid *topic)
{
	struct deletion_done *q = MEM_NEW(struct deletion_done);
	*q = (struct deletion_done){fake_broker(w, id), *topic};
	sim_process_run(w->bp[id - 1], do_deletion_done, q);
}

void fake_ask_pids(void *ctx)
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
void fake_ask_shutdown(void *ctx)
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
