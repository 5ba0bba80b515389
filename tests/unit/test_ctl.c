/* test_ctl.c: brokerd/link in the simulated world: how a broker finds its controllers, whom of them it obeys, and what it asks them. */
#include <stdio.h>
#include <string.h>

#include "brokerd/link/ctl_priv.h"
#include "common/base/mem.h"
#include "common/env/sim/sim.h"
#include "tests/unit/unit.h"

struct node { /* a broker as far as its controllers go */
	struct broker_config cfg;
	struct str connect;
	struct zk *zk;
	struct ctl *ctl;
	int64_t session;
};

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct node *n = ctx;
	if (ev->event == ZK_CONNECTED && !ev->resumed) {
		n->session = ev->session.id;
		ctl_watch_controllers(n->ctl, zk);
	}
	if (ev->event == ZK_EXPIRED)
		zk_reopen(zk);
}

static struct ctl_stall no_stall(void *ctx)
{
	return (struct ctl_stall){0};
}

static void *node_run(struct env *env, struct loop *control, void *arg)
{
	struct node *n = arg;
	struct zk_config zc = {.connect = str_cstr(&n->connect), .session_timeout_ms = 6000, .op_timeout_ms = 4000, .on_event = on_event, .ctx = n};
	struct ctl_init ci = {.env = env, .loop = control, .config = &n->cfg, .version = "1", .events = {.ctx = n}, .stall = no_stall};
	n->ctl = ctl_new(&ci);
	CU_ASSERT_EQUAL(zk_open(control, &zc, &n->zk), 0);
	return n;
}

static void node_reap(void *root, void *arg)
{
	struct node *n = arg;
	(void)root;
	ctl_free(n->ctl);
	n->ctl = NULL;
}

static void node_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
}

/* The connection to ZooKeeper breaks at some moment of the first look, with replies on their way; the controller stays as it is, so that nothing
 * tells the broker to look again. */
static void test_found_after_a_loss(void)
{
	for (int64_t after_us = 0; after_us <= 6000; after_us += 100) {
		struct sim_config cfg;
		struct node n = {.cfg.broker_id = 1};
		sim_config_init(&cfg, 5);
		cfg.zk_servers = 1;
		struct sim_world *w = sim_world_new(&cfg);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm", (struct slice){0}), 0);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm/controllers", (struct slice){0}), 0);
		CU_ASSERT_EQUAL(sim_zk_create(w, "/klamm/controllers/101", slice_str("{\"version\":1,\"id\":101,\"host\":\"10.0.0.99\",\"port\":9093,\"incarnation\":\"0000000000000001\"}")), 0);
		sim_zk_connect_string(w, "", &n.connect);
		sim_process_start(sim_host_new(w, "broker"), &(struct sim_program){.name = "node", .start = node_run, .reap = node_reap, .on_exit = node_exit, .arg = &n});
		while (!n.session && sim_now_us(w) < 5000000)
			sim_world_run_until(w, sim_now_us(w) + 50);
		sim_world_run_until(w, sim_now_us(w) + after_us);
		(void)sim_zk_drop_connection(w, n.session);
		sim_world_run_until(w, sim_now_us(w) + 8000000);
		CU_ASSERT(n.ctl && !list_empty(&n.ctl->peers));
		sim_world_free(w);
		str_fini(&n.connect);
	}
}

/* ---- with controllers that say what a test tells them to ---- */

enum { DESKS = 2, DESK_PORT = 9093, ROWS = 2500 };

struct world;
struct desk { /* a controllerd as far as its links go */
	struct world *w;
	int32_t id;
	struct sim_host *host;
	struct sim_process *p;
	struct loop *loop;
	struct listener *ln;
	struct link *l;
	/* what it answers by itself: a hello with these, heartbeats with them and the next ones */
	bool active, mute, suspended, fenced, registration_missing;
	int32_t epoch;
	uint64_t seq;
	int64_t late; /* heartbeats are answered so many numbers too late */
	/* what it got */
	int links, hellos, beats, forwards, pid_requests, deletions, proposals;
	uint32_t rows;
	int32_t known_epoch;
	uint64_t known_seq, forward_number, pid_number;
	int probe_result; /* of the last reply; -1 none */
};

struct world {
	struct sim_world *sim;
	struct desk desks[DESKS];
	struct node n;
	struct sim_host *host;
	struct sim_process *p;
	struct log_dirs dirs;
	struct ctl_replica inventory[ROWS];
	uint32_t inventory_count;
	int images, snapshots, missing, confirmed, refused;
	bool fenced;
	int64_t confirmed_us;
};

static void desk_send(struct desk *d, pb_frame *f)
{
	size_t len = klamm__control__frame__get_packed_size(f);
	uint8_t *bytes = mem_alloc(len + 1);
	klamm__control__frame__pack(f, bytes);
	if (d->l)
		link_send_bytes(d->l, bytes, len);
	mem_free(bytes);
}

static void desk_greets(struct desk *d)
{
	Klamm__Control__HelloReply r = KLAMM__CONTROL__HELLO_REPLY__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	r.protocol = 1;
	r.controller_id = d->id;
	r.active = d->active;
	r.controller_epoch = d->epoch;
	r.incarnation = (uint64_t)d->id;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HELLO_REPLY;
	f.hello_reply = &r;
	d->hellos++;
	desk_send(d, &f);
}

static void desk_beats(struct desk *d, uint64_t number)
{
	Klamm__Control__HeartbeatReply r = KLAMM__CONTROL__HEARTBEAT_REPLY__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	d->beats++;
	if (d->mute || number <= (uint64_t)d->late)
		return;
	r.number = number - (uint64_t)d->late;
	r.controller_id = d->id;
	r.active = d->active;
	r.controller_epoch = d->epoch;
	r.seq = d->seq;
	r.suspended = d->suspended;
	r.fenced = d->fenced;
	r.registration_missing = d->registration_missing;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_HEARTBEAT_REPLY;
	f.heartbeat_reply = &r;
	desk_send(d, &f);
}

static void desk_frame(struct link *l, void *ctx, struct slice body)
{
	struct desk *d = ctx;
	pb_frame *f = klamm__control__frame__unpack(NULL, body.len, body.ptr);
	CU_ASSERT_FATAL(f != NULL);
	switch (f->body_case) {
	case KLAMM__CONTROL__FRAME__BODY_HELLO:
		d->known_epoch = f->hello->known_controller_epoch;
		d->known_seq = f->hello->known_seq;
		d->rows = (uint32_t)f->hello->n_inventory;
		if (!f->hello->inventory_more)
			desk_greets(d);
		break;
	case KLAMM__CONTROL__FRAME__BODY_INVENTORY:
		d->rows += (uint32_t)f->inventory->n_inventory;
		if (!f->inventory->more)
			desk_greets(d);
		break;
	case KLAMM__CONTROL__FRAME__BODY_HEARTBEAT: desk_beats(d, f->heartbeat->number); break;
	case KLAMM__CONTROL__FRAME__BODY_FORWARD:
		d->forwards++;
		d->forward_number = f->forward->number;
		break;
	case KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS:
		d->pid_requests++;
		d->pid_number = f->producer_ids->number;
		break;
	case KLAMM__CONTROL__FRAME__BODY_DELETION_DONE: d->deletions++; break;
	case KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION: d->proposals += (int)f->alter_partition->n_partitions; break;
	case KLAMM__CONTROL__FRAME__BODY_PROBE_REPLY: d->probe_result = (int)f->probe_reply->result; break;
	default: break;
	}
	klamm__control__frame__free_unpacked(f, NULL);
}
static void desk_closed(struct link *l, void *ctx, int err)
{
	struct desk *d = ctx;
	if (d->l == l)
		d->l = NULL;
	link_free(l);
}
static const struct link_handler desk_handler = {.frame = desk_frame, .closed = desk_closed};

static void desk_accept(struct listener *ln, struct conn *c, void *ctx)
{
	struct desk *d = ctx;
	d->links++;
	d->l = link_accept(c, &desk_handler, d);
}

static void *desk_run(struct env *env, struct loop *control, void *arg)
{
	struct desk *d = arg;
	struct listen_config lc = {.host = sim_host_ip(d->host), .port = DESK_PORT, .backlog = 8, .on_accept = desk_accept, .ctx = d};
	d->loop = control;
	d->l = NULL;
	CU_ASSERT_EQUAL_FATAL(listener_open(control, &lc, &d->ln), 0);
	return d;
}
static void desk_reap(void *root, void *arg) { ((struct desk *)arg)->l = NULL; }

static void on_image(void *ctx, struct image *im, struct image_changes *changes, bool snapshot)
{
	struct world *w = ctx;
	w->images++;
	w->snapshots += snapshot;
}
static void on_link_opened(void *ctx) { ctl_greet(((struct world *)ctx)->n.ctl, false); }
static bool on_hello(void *ctx, struct ctl_hello *ret)
{
	struct world *w = ctx;
	*ret = (struct ctl_hello){.cluster_id = "", .boot_epoch = 7, .broker_epoch = 7, .dirs = &w->dirs, .inventory = w->inventory, .inventory_count = w->inventory_count};
	return true;
}
static void on_admitted(void *ctx, bool admitted) {}
static void on_fenced(void *ctx, bool fenced) { ((struct world *)ctx)->fenced = fenced; }
static void on_missing(void *ctx) { ((struct world *)ctx)->missing++; }
static void on_refused(void *ctx, const char *why) { ((struct world *)ctx)->refused++; }
static void on_confirmed(void *ctx, int64_t sent_us)
{
	struct world *w = ctx;
	w->confirmed++;
	w->confirmed_us = sent_us;
}

static void world_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct world *w = ctx;
	on_event(zk, &w->n, ev);
}

static void *broker_run(struct env *env, struct loop *control, void *arg)
{
	struct world *w = arg;
	struct zk_config zc = {.connect = str_cstr(&w->n.connect), .session_timeout_ms = 6000, .op_timeout_ms = 4000, .on_event = world_event, .ctx = w};
	struct ctl_init ci = {.env = env, .loop = control, .config = &w->n.cfg, .version = "1", .stall = no_stall, .events = {.ctx = w, .image = on_image,
		.link_opened = on_link_opened, .hello = on_hello, .admitted = on_admitted, .fenced = on_fenced, .registration_missing = on_missing, .refused = on_refused, .confirmed = on_confirmed}};
	w->n.ctl = ctl_new(&ci);
	CU_ASSERT_EQUAL(zk_open(control, &zc, &w->n.zk), 0);
	return w;
}
static void broker_reap(void *root, void *arg)
{
	struct world *w = arg;
	ctl_free(w->n.ctl);
	w->n.ctl = NULL;
}

static void run_ms(struct world *w, int64_t ms) { sim_world_run_until(w->sim, sim_now_us(w->sim) + ms * 1000); }

static void desk_register(struct world *w, int i, const char *ip, bool make)
{
	char path[64], json[160];
	snprintf(path, sizeof(path), "/klamm/controllers/%d", w->desks[i].id);
	snprintf(json, sizeof(json), "{\"version\":1,\"id\":%d,\"host\":\"%s\",\"port\":%d,\"incarnation\":\"0000000000000001\"}", w->desks[i].id, ip, DESK_PORT);
	if (!make)
		CU_ASSERT_EQUAL(sim_zk_delete(w->sim, path, -1), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, path, slice_str(json)), 0);
}

static void desk_start(struct desk *d)
{
	d->p = sim_process_start(d->host, &(struct sim_program){.name = "desk", .start = desk_run, .reap = desk_reap, .on_exit = node_exit, .arg = d});
}

/* Desk 0 rules under epoch 5, desk 1 stands by. */
static struct world *world_new(uint64_t seed)
{
	struct world *w = MEM_NEW(struct world);
	struct sim_config cfg;
	sim_config_init(&cfg, seed);
	cfg.zk_servers = 1;
	w->sim = sim_world_new(&cfg);
	w->n.cfg.broker_id = 1;
	sim_zk_connect_string(w->sim, "", &w->n.connect);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/klamm", (struct slice){0}), 0);
	CU_ASSERT_EQUAL(sim_zk_create(w->sim, "/klamm/controllers", (struct slice){0}), 0);
	for (int i = 0; i < DESKS; i++) {
		struct desk *d = &w->desks[i];
		char name[16];
		snprintf(name, sizeof(name), "c%d", i);
		*d = (struct desk){.w = w, .id = 101 + i, .host = sim_host_new(w->sim, name), .active = i == 0, .epoch = 5, .probe_result = -1};
		desk_register(w, i, sim_host_ip(d->host), true);
		desk_start(d);
	}
	w->host = sim_host_new(w->sim, "broker");
	return w;
}

static void world_run(struct world *w)
{
	w->p = sim_process_start(w->host, &(struct sim_program){.name = "broker", .start = broker_run, .reap = broker_reap, .on_exit = node_exit, .arg = w});
	run_ms(w, 3000);
	CU_ASSERT_FATAL(w->n.ctl->active && w->n.ctl->active->id == w->desks[0].id);
}

static void world_free(struct world *w)
{
	sim_world_free(w->sim);
	str_fini(&w->n.connect);
	mem_free(w);
}

struct sending { struct desk *d; pb_frame *f; };
static void do_send(void *ctx)
{
	struct sending *q = ctx;
	desk_send(q->d, q->f);
}
static void say_frame(struct desk *d, pb_frame *f)
{
	struct sending q = {d, f};
	sim_process_run(d->p, do_send, &q);
	run_ms(d->w, 20);
}

static void say_delta(struct desk *d, int32_t epoch, uint64_t seq)
{
	Klamm__Control__Delta m = KLAMM__CONTROL__DELTA__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.controller_epoch = epoch;
	m.seq = seq;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_DELTA;
	f.delta = &m;
	say_frame(d, &f);
}

/* Partition 0 of topic "t", led by broker 1. */
static void say_snapshot(struct desk *d, int32_t epoch, uint64_t seq, bool first, bool last)
{
	static uint8_t id[16] = {1, 2, 3};
	static int32_t ids[] = {1, 2, 3};
	Klamm__Control__Snapshot m = KLAMM__CONTROL__SNAPSHOT__INIT;
	Klamm__Control__Changes ch = KLAMM__CONTROL__CHANGES__INIT;
	Klamm__Control__Topic t = KLAMM__CONTROL__TOPIC__INIT, *tp = &t;
	Klamm__Control__Partition p = KLAMM__CONTROL__PARTITION__INIT, *pp = &p;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.controller_epoch = epoch;
	m.seq = seq;
	m.first = first;
	m.last = last;
	m.changes = &ch;
	ch.topics = &tp;
	ch.n_topics = 1;
	t.topic_id = (ProtobufCBinaryData){sizeof(id), id};
	t.name = (char *)(uintptr_t)"t";
	t.full = t.config_set = true;
	t.partitions = &pp;
	t.n_partitions = 1;
	p.leader = 1;
	p.replicas = p.isr = ids;
	p.n_replicas = p.n_isr = 3;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_SNAPSHOT;
	f.snapshot = &m;
	say_frame(d, &f);
}

static void desk_kill(struct desk *d)
{
	sim_process_kill(d->p);
	run_ms(d->w, 50);
}

static void at(struct world *w, int32_t epoch, uint64_t seq)
{
	CU_ASSERT_EQUAL(image_controller_epoch(w->n.ctl->image), epoch);
	CU_ASSERT_EQUAL(image_seq(w->n.ctl->image), seq);
}

/* C7: each delta once and in order; behind a hole nothing is applied: the link is made anew, and its hello says how far the image is. */
static void test_deltas_in_order(void)
{
	struct world *w = world_new(1);
	struct desk *d = &w->desks[0];
	world_run(w);
	say_snapshot(d, 5, 10, true, false);
	CU_ASSERT_EQUAL(w->images, 0);
	say_snapshot(d, 5, 11, false, true);
	at(w, 5, 11);
	CU_ASSERT_EQUAL(w->snapshots, 1);
	say_delta(d, 5, 12);
	say_delta(d, 5, 12);
	say_delta(d, 5, 11);
	at(w, 5, 12);
	CU_ASSERT_EQUAL(w->images, 2);
	int hellos = d->hellos;
	say_delta(d, 5, 14);
	at(w, 5, 12);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(d->hellos, hellos + 1);
	CU_ASSERT(d->known_epoch == 5 && d->known_seq == 12);
	say_delta(d, 5, 13);
	at(w, 5, 13);
	/* deltas of a later reign need its snapshot first */
	say_delta(d, 6, 1);
	at(w, 5, 13);
	world_free(w);
}

/* C6: the highest epoch heard of is obeyed, whoever claims what; a reign that was overtaken changes nothing any more. */
static void test_highest_epoch_obeyed(void)
{
	for (int how = 0; how < 2; how++) {
		struct world *w = world_new(2);
		struct desk *old = &w->desks[0], *new = &w->desks[1];
		world_run(w);
		say_snapshot(old, 5, 10, true, true);
		at(w, 5, 10);
		say_snapshot(old, 5, 11, true, false); /* half of one is under way */
		new->active = true;
		new->epoch = 6;
		if (how == 0)
			run_ms(w, 500); /* by a heartbeat */
		else
			say_snapshot(new, 6, 1, true, false); /* by its first command */
		CU_ASSERT_EQUAL(w->n.ctl->active->id, new->id);
		say_delta(old, 5, 11);
		say_snapshot(old, 5, 12, false, true);
		say_snapshot(old, 5, 30, true, true);
		at(w, 5, 10);
		say_snapshot(new, 6, 1, true, true);
		at(w, 6, 1);
		say_delta(old, 5, 11);
		run_ms(w, 1000);
		CU_ASSERT_EQUAL(w->n.ctl->active->id, new->id);
		desk_kill(new); /* the old one still says that it rules */
		run_ms(w, 1000);
		CU_ASSERT(w->n.ctl->active == NULL);
		at(w, 6, 1);
		world_free(w);
	}
}

/* A snapshot is compared in slices; what another reign says meanwhile makes it void, what its own says behind it is applied behind it. */
static void test_deltas_behind_a_snapshot(void)
{
	struct world *w = world_new(3);
	struct desk *d = &w->desks[0];
	w->n.cfg.image_slice = 1;
	world_run(w);
	Klamm__Control__Snapshot m = KLAMM__CONTROL__SNAPSHOT__INIT;
	Klamm__Control__Delta delta = KLAMM__CONTROL__DELTA__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT, g = KLAMM__CONTROL__FRAME__INIT;
	m.controller_epoch = delta.controller_epoch = 5;
	m.seq = 10;
	delta.seq = 11;
	m.first = m.last = true;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_SNAPSHOT;
	f.snapshot = &m;
	g.body_case = KLAMM__CONTROL__FRAME__BODY_DELTA;
	g.delta = &delta;
	struct sending q[2] = {{d, &f}, {d, &g}};
	sim_process_run(d->p, do_send, &q[0]);
	sim_process_run(d->p, do_send, &q[1]);
	run_ms(w, 100);
	at(w, 5, 11);
	CU_ASSERT_EQUAL(w->images, 2);
	world_free(w);
}

/* B4: only an answer of the active one, with rights, that does not count us as dead, to a heartbeat of lately, with nothing newer than our image. */
static void test_confirmations(void)
{
	struct world *w = world_new(4);
	struct desk *d = &w->desks[0];
	world_run(w);
	say_snapshot(d, 5, 10, true, true);
	struct { bool *flag; bool confirms; } flags[] = {{&d->suspended, false}, {&d->fenced, false}, {&d->registration_missing, true}};
	d->seq = 10;
	run_ms(w, 1000);
	int before = w->confirmed;
	CU_ASSERT(before > 0 && sim_now_us(w->sim) - w->confirmed_us < 500000);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		*flags[i].flag = true;
		run_ms(w, 300);
		before = w->confirmed;
		run_ms(w, 1000);
		CU_ASSERT_EQUAL(w->confirmed > before, flags[i].confirms);
		CU_ASSERT_EQUAL(w->fenced, flags[i].flag == &d->fenced);
		*flags[i].flag = false;
	}
	CU_ASSERT(w->missing > 0);
	d->seq = 11; /* something newer than what we have */
	run_ms(w, 300);
	before = w->confirmed;
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(w->confirmed, before);
	d->seq = 10;
	run_ms(w, 1000);
	CU_ASSERT(w->confirmed > before);
	d->late = 3; /* it names the time at which that one was sent */
	run_ms(w, 1000);
	CU_ASSERT(sim_now_us(w->sim) - w->confirmed_us >= 3 * HEARTBEAT_MS * 1000);
	d->late = 16;
	run_ms(w, 300);
	before = w->confirmed;
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(w->confirmed, before); /* when was it sent? */
	d->late = 0;
	d->suspended = true;
	int missing = w->missing;
	d->registration_missing = d->fenced = true;
	run_ms(w, 1000);
	CU_ASSERT(w->missing == missing && !w->fenced); /* C5: whoever has no rights says nothing */
	world_free(w);
}

/* One that says nothing for long, though its connection stands: connected anew. */
static void test_silent_controller(void)
{
	struct world *w = world_new(5);
	world_run(w);
	int links = w->desks[0].links;
	sim_process_pause(w->desks[0].p);
	run_ms(w, 2000);
	CU_ASSERT(w->n.ctl->active != NULL);
	run_ms(w, 2000);
	CU_ASSERT(w->n.ctl->active == NULL);
	sim_process_resume(w->desks[0].p);
	run_ms(w, 3000);
	CU_ASSERT(w->desks[0].links > links && w->n.ctl->active != NULL);
	world_free(w);
}

/* New ones are found, and one that moved is followed. */
static void test_controllers_come_and_move(void)
{
	struct world *w = world_new(6);
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/klamm/controllers/102", -1), 0);
	world_run(w);
	CU_ASSERT_EQUAL(w->desks[1].links, 0);
	desk_register(w, 1, sim_host_ip(w->desks[1].host), true);
	run_ms(w, 1000);
	CU_ASSERT_EQUAL(w->desks[1].hellos, 1);
	desk_kill(&w->desks[0]);
	struct sim_host *other = sim_host_new(w->sim, "elsewhere");
	w->desks[0].host = other;
	desk_start(&w->desks[0]);
	desk_register(w, 0, sim_host_ip(other), false);
	run_ms(w, 2000);
	CU_ASSERT(w->n.ctl->active && w->n.ctl->active->id == 101 && !strcmp(w->n.ctl->active->host, sim_host_ip(other)));
	/* registration gone, process and link there: its session may just be slow */
	CU_ASSERT_EQUAL(sim_zk_delete(w->sim, "/klamm/controllers/101", -1), 0);
	run_ms(w, 1000);
	CU_ASSERT(w->n.ctl->active && w->n.ctl->active->id == 101);
	world_free(w);
}

/* D1: a large inventory in several frames. */
static void test_inventory_in_parts(void)
{
	for (uint32_t rows = 999; rows <= 2001; rows += rows % 1000 == 1 ? 998 : 1) {
		struct world *w = world_new(7);
		for (uint32_t i = 0; i < rows; i++)
			w->inventory[i] = (struct ctl_replica){.topic = "t", .partition = (int32_t)i};
		w->inventory_count = rows;
		world_run(w);
		CU_ASSERT_EQUAL(w->desks[0].rows, rows);
		CU_ASSERT_EQUAL(w->desks[0].hellos, 1);
		world_free(w);
	}
}

/* ---- what is asked of the active one ---- */

static void forward_back(struct msg *m) { CONTAINER_OF(m, struct ask_forward, msg)->ctx = m; }
static void ids_back(struct msg *m) { CONTAINER_OF(m, struct ask_producer_ids, msg)->ctx = m; }
struct asking { struct world *w; struct ask_forward *f; struct ask_producer_ids *p; };
static void forward_there(struct msg *m)
{
	struct ask_forward *f = CONTAINER_OF(m, struct ask_forward, msg);
	struct ctl *c = f->ctx;
	f->ctx = NULL;
	f->msg.deliver = forward_back;
	ctl_forward(c, f);
}
static void ids_there(struct msg *m)
{
	struct ask_producer_ids *p = CONTAINER_OF(m, struct ask_producer_ids, msg);
	struct ctl *c = p->ctx;
	p->ctx = NULL;
	p->msg.deliver = ids_back;
	ctl_producer_ids(c, p);
}
static void do_ask(void *ctx)
{
	struct asking *q = ctx;
	if (q->f) {
		*q->f = (struct ask_forward){.msg.deliver = forward_there, .request = slice_str("request"), .listener = "L", .timeout_ms = q->f->timeout_ms, .ctx = q->w->n.ctl};
		loop_post(q->w->n.ctl->loop, &q->f->msg);
	}
	if (q->p) {
		*q->p = (struct ask_producer_ids){.msg.deliver = ids_there, .ctx = q->w->n.ctl};
		loop_post(q->w->n.ctl->loop, &q->p->msg);
	}
}
static void ask(struct world *w, struct ask_forward *f, struct ask_producer_ids *p)
{
	struct asking q = {w, f, p};
	sim_process_run(w->p, do_ask, &q);
	run_ms(w, 20);
}

static void say_forward_reply(struct desk *d, uint64_t number, int32_t error)
{
	Klamm__Control__ForwardReply r = KLAMM__CONTROL__FORWARD_REPLY__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	r.number = number;
	r.error = error;
	r.response = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t)"ok"};
	f.body_case = KLAMM__CONTROL__FRAME__BODY_FORWARD_REPLY;
	f.forward_reply = &r;
	say_frame(d, &f);
}

/* L: a request is sent once. Before it was sent NOT_CONTROLLER says so; afterwards a lost link, another reign or silence leaves its outcome open. */
static void test_forwarded_once(void)
{
	struct world *w = world_new(8);
	struct desk *d = &w->desks[0];
	struct ask_forward f = {.timeout_ms = 1000};
	world_run(w);
	ask(w, &f, NULL);
	CU_ASSERT(d->forwards == 1 && !f.ctx);
	say_forward_reply(d, d->forward_number + 1, 0); /* of another one */
	CU_ASSERT(!f.ctx);
	say_forward_reply(d, d->forward_number, 0);
	CU_ASSERT(f.ctx && f.error == KERR_NONE && f.response_len == 2);
	mem_free(f.response);
	ask(w, &f, NULL); /* silence: its own time, and a little more */
	run_ms(w, 2500);
	CU_ASSERT(!f.ctx);
	run_ms(w, 1000);
	CU_ASSERT(f.ctx && f.error == KERR_REQUEST_TIMED_OUT);
	say_forward_reply(d, d->forward_number, 0); /* nobody's */
	f.timeout_ms = -1;
	ask(w, &f, NULL); /* the link is lost */
	int forwards = d->forwards;
	desk_kill(d);
	CU_ASSERT(f.ctx && f.error == KERR_REQUEST_TIMED_OUT);
	f.timeout_ms = -1;
	ask(w, &f, NULL); /* nobody rules: it waits */
	run_ms(w, 2000);
	CU_ASSERT(!f.ctx);
	desk_start(d);
	run_ms(w, 2000);
	CU_ASSERT_EQUAL(d->forwards, forwards + 1); /* this one, and none of the former ones */
	w->desks[1].active = true; /* another reign */
	w->desks[1].epoch = 6;
	run_ms(w, 500);
	CU_ASSERT(f.ctx && f.error == KERR_REQUEST_TIMED_OUT);
	CU_ASSERT_EQUAL(w->desks[1].forwards, 0);
	desk_kill(&w->desks[1]);
	f.timeout_ms = -1;
	ask(w, &f, NULL);
	run_ms(w, FORWARD_WAIT_MS + 500);
	CU_ASSERT(f.ctx && f.error == KERR_NOT_CONTROLLER);
	CU_ASSERT_EQUAL(d->forwards, forwards + 1);
	world_free(w);
}

static void say_ids(struct desk *d, int32_t error, int64_t first, int32_t count)
{
	Klamm__Control__ProducerIdsReply r = KLAMM__CONTROL__PRODUCER_IDS_REPLY__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	r.number = d->pid_number;
	r.error = error;
	r.first = first;
	r.count = count;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_PRODUCER_IDS_REPLY;
	f.producer_ids_reply = &r;
	say_frame(d, &f);
}

/* A block is handed out in chunks up to its last id and no further; a question that was lost with a link is asked again. */
static void test_producer_ids(void)
{
	struct world *w = world_new(9);
	struct desk *d = &w->desks[0];
	struct ask_producer_ids p[3];
	world_run(w);
	for (int i = 0; i < 3; i++)
		ask(w, NULL, &p[i]);
	CU_ASSERT_EQUAL(d->pid_requests, 1);
	desk_kill(d);
	desk_start(d);
	run_ms(w, 2000);
	CU_ASSERT_EQUAL(d->pid_requests, 2);
	say_ids(d, 0, 5000, 150);
	CU_ASSERT(p[0].ctx && p[0].error == 0 && p[0].first == 5000 && p[0].count == 100);
	CU_ASSERT(p[1].ctx && p[1].error == 0 && p[1].first == 5100 && p[1].count == 50);
	CU_ASSERT(!p[2].ctx);
	CU_ASSERT_EQUAL(d->pid_requests, 3);
	say_ids(d, KERR_STALE_BROKER_EPOCH, 0, 0);
	CU_ASSERT(p[2].ctx && p[2].error == KERR_COORDINATOR_LOAD_IN_PROGRESS);
	say_ids(d, 0, 9000, 1000); /* nobody asked */
	ask(w, NULL, &p[0]);
	CU_ASSERT(!p[0].ctx && d->pid_requests == 4);
	say_ids(d, 0, 7000, 1000);
	CU_ASSERT(p[0].ctx && p[0].first == 7000);
	world_free(w);
}

static void do_report(void *ctx)
{
	static const struct uuid id = {{1, 2, 3}}, gone = {{4, 5, 6}};
	static const int32_t isr[] = {1, 2};
	struct world *w = ctx;
	ctl_replica_deleted(w->n.ctl, &gone, "gone");
	ctl_propose(w->n.ctl, image_find_topic_id(w->n.ctl->image, &id), 0, 0, 0, isr, 2, 0);
}

/* What only a reign can settle is said to the next one again: ISR changes (C6), deletions (K1). */
static void test_next_reign_hears_it(void)
{
	struct world *w = world_new(10);
	struct desk *old = &w->desks[0], *new = &w->desks[1];
	world_run(w);
	say_snapshot(old, 5, 10, true, true);
	sim_process_run(w->p, do_report, w);
	run_ms(w, 300);
	CU_ASSERT(old->deletions == 1 && old->proposals == 1);
	run_ms(w, 2500);
	CU_ASSERT(old->proposals >= 2 && old->proposals <= 4); /* each second, while nobody has settled it */
	new->active = true;
	new->epoch = 6;
	run_ms(w, 500);
	CU_ASSERT(new->deletions == 1 && new->proposals >= 1);
	int before = new->proposals;
	Klamm__Control__AlterPartitionReply r = KLAMM__CONTROL__ALTER_PARTITION_REPLY__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	r.controller_epoch = 6;
	r.error = KERR_STALE_BROKER_EPOCH; /* of the whole request: nothing is settled by it */
	f.body_case = KLAMM__CONTROL__FRAME__BODY_ALTER_PARTITION_REPLY;
	f.alter_partition_reply = &r;
	say_frame(new, &f);
	run_ms(w, 1500);
	CU_ASSERT(new->proposals > before);
	world_free(w);
}

/* ---- probes of other brokers ---- */

struct target { int answers; uint8_t space[64]; }; /* 0: accepts and says nothing; 1: answers */
static bool target_space(struct conn *c, void *ctx, uint8_t **p, size_t *n)
{
	*p = ((struct target *)ctx)->space;
	*n = 64;
	return true;
}
static void target_data(struct conn *c, void *ctx, size_t n)
{
	struct chain out;
	if (((struct target *)ctx)->answers != 1)
		return;
	chain_init(&out);
	chain_add_copy(&out, "\0\0\0\4\0\0\0\1", 8);
	conn_send(c, &out);
}
static void target_closed(struct conn *c, void *ctx, int err) {}
static const struct conn_handler target_handler = {.on_space = target_space, .on_data = target_data, .on_closed = target_closed};
static void target_accept(struct listener *ln, struct conn *c, void *ctx)
{
	c->handler = &target_handler;
	c->ctx = ctx;
}
static void *target_run(struct env *env, struct loop *control, void *arg)
{
	struct listener *ln;
	CU_ASSERT_EQUAL_FATAL(listener_open(control, &(struct listen_config){.host = "0.0.0.0", .port = 9092, .backlog = 8, .on_accept = target_accept, .ctx = arg}, &ln), 0);
	return arg;
}

static int probe(struct world *w, struct sim_host *target, bool reset)
{
	Klamm__Control__Probe m = KLAMM__CONTROL__PROBE__INIT;
	pb_frame f = KLAMM__CONTROL__FRAME__INIT;
	m.number = 3;
	m.target = 2;
	m.host = (char *)(uintptr_t)sim_host_ip(target);
	m.port = 9092;
	m.timeout_ms = 250;
	f.body_case = KLAMM__CONTROL__FRAME__BODY_PROBE;
	f.probe = &m;
	w->desks[0].probe_result = -1;
	say_frame(&w->desks[0], &f);
	if (reset) { /* after connecting */
		CU_ASSERT_EQUAL(w->desks[0].probe_result, -1);
		sim_net_reset(w->sim, w->host, target);
	}
	run_ms(w, 500);
	return w->desks[0].probe_result;
}

/* A2: a byte of an answer proves that it lives; a kernel that refuses or resets, that the process is gone; a connection alone proves nothing. */
static void test_probes(void)
{
	struct world *w = world_new(11);
	struct target t = {0};
	struct sim_host *h = sim_host_new(w->sim, "target");
	world_run(w);
	CU_ASSERT_EQUAL(probe(w, h, false), KLAMM__CONTROL__PROBE_RESULT__REFUSED);
	struct sim_process *p = sim_process_start(h, &(struct sim_program){.name = "target", .start = target_run, .on_exit = node_exit, .arg = &t});
	run_ms(w, 500);
	CU_ASSERT_EQUAL(probe(w, h, false), KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
	CU_ASSERT_EQUAL(probe(w, h, true), KLAMM__CONTROL__PROBE_RESULT__REFUSED);
	t.answers = 1;
	CU_ASSERT_EQUAL(probe(w, h, false), KLAMM__CONTROL__PROBE_RESULT__ANSWERED);
	sim_process_pause(p); /* its kernel takes connections, nobody reads */
	CU_ASSERT_EQUAL(probe(w, h, false), KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
	sim_net_isolate(w->sim, h);
	CU_ASSERT_EQUAL(probe(w, h, false), KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
	world_free(w);
}

UNIT_MAIN("ctl", {"found_after_a_loss", test_found_after_a_loss}, {"deltas_in_order", test_deltas_in_order}, {"highest_epoch_obeyed", test_highest_epoch_obeyed},
	  {"deltas_behind_a_snapshot", test_deltas_behind_a_snapshot}, {"confirmations", test_confirmations}, {"silent_controller", test_silent_controller},
	  {"controllers_come_and_move", test_controllers_come_and_move}, {"inventory_in_parts", test_inventory_in_parts}, {"forwarded_once", test_forwarded_once},
	  {"producer_ids", test_producer_ids}, {"next_reign_hears_it", test_next_reign_hears_it}, {"probes", test_probes})
