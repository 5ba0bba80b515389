/* broker.c: assembling a broker and leading it through its life. See broker.h for the states.
 *
 * Start: log directories (job) -> the id, if the file has none (ZooKeeper, job) -> shards load what is on disk -> ZooKeeper registration -> hello with
 * the inventory -> the controller admits us by a snapshot -> shards apply it -> the client port opens -> the controller hears that it was applied. Each
 * step waits for the one before (protocol.md D3).
 */
#include "brokerd/broker.h"

#include <stdio.h>

#include "brokerd/broker_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"

#define TICK_MS 100
#define SLEPT_MS 500            /* our loops did not run for so long: somebody may lead in our place (protocol.md B4) */
#define LOADS_AHEAD 4            /* logs of a directory that wait for a thread, beside those that have one */
#define UNCONFIRMED_MS 2000     /* no controller confirmed by then: ask ZooKeeper */
#define HANDOVER_MS 2500        /* a clean stop waits this long for its leaderships to go */
#define CHANGES_PER_TURN 200      /* that a data loop applies of an image in one turn */
#define STATUS_LOCKED 75
#define STATUS_CONFIG 78

struct round { /* one image on its way through the shards */
	struct list link;
	struct broker *b;
	int32_t controller_epoch;
	uint64_t seq;
	uint32_t waiting;
	struct image_changes changes;
	struct shard_apply *applies;
	struct image_change **split;
	uint32_t *counts; /* per loop */
	const char **deleted; /* names of topics, held by the changes */
	uint32_t deleted_count;
};

static void reason(struct broker *b, const char *text)
{
	snprintf(b->reason, sizeof(b->reason), "%s", text);
}

/* ---- images ---- */

struct image_msg {
	struct msg msg;
	struct data_loop *loop;
	struct image *image;
	const struct round *round; /* it lasts until our shard has applied it, which comes after this */
};

static void image_freed(struct msg *m)
{
	mem_free(CONTAINER_OF(m, struct image_msg, msg));
}

/* Connection limits that may have changed. */
static void limit_connections(struct data_loop *d, const struct running *r)
{
	if (d->limits_version == r->version + 1)
		return;
	d->limits_version = r->version + 1;
	struct net_limit_values v = {.total = (uint32_t)r->max_connections, .per_ip = (uint32_t)r->max_connections_per_ip};
	struct net_ip_limit *over = NULL;
	char address[CONFIG_ADDRESS_MAX];
	int32_t count;
	size_t cap = 0;
	for (const char *list = r->per_ip_overrides; config_next_ip_limit(&list, address, &count) == 0;) {
		MEM_GROW(over, cap, v.override_count + 1);
		over[v.override_count++] = (struct net_ip_limit){net_address_hash(address), (uint32_t)count};
	}
	v.overrides = over;
	net_loop_limit(d->net, &v);
	mem_free(over);
}

static void image_arrived(struct msg *m)
{
	struct image_msg *im = CONTAINER_OF(m, struct image_msg, msg);
	limit_connections(im->loop, running_of(&im->loop->running, im->image));
	coordinator_image(im->loop->coordinator, im->image, im->round->deleted, im->round->deleted_count);
	api_set_image(im->loop->api, im->image);
	im->msg.deliver = image_freed;
	loop_post(im->msg.from, m);
}

static void open_ports(struct broker *b);

static void rounds_finish(struct broker *b)
{
	while (!list_empty(&b->rounds)) {
		struct round *r = LIST_ENTRY(b->rounds.next, struct round, link);
		if (r->waiting)
			return;
		int32_t epoch = r->controller_epoch;
		uint64_t seq = r->seq;
		list_remove(&r->link);
		image_changes_free(&r->changes);
		for (uint32_t i = 0; i < b->loop_count; i++)
			mem_free(r->split[i]);
		mem_free(r->split);
		mem_free(r->deleted);
		mem_free(r->applies);
		mem_free(r->counts);
		mem_free(r);
		if (!b->listening && b->phase == PHASE_JOINING)
			open_ports(b); /* before the controller hears of it: whoever is told that we serve finds the port open */
		ctl_applied(b->ctl, epoch, seq);
	}
}

static void round_applied(struct shard_apply *m)
{
	struct round *r = m->ctx;
	r->waiting--;
	rounds_finish(r->b);
}

static void split_changes(struct broker *b, struct round *r)
{
	uint32_t *counts = mem_zalloc(sizeof(uint32_t) * b->loop_count);
	uint32_t *owner = mem_alloc(sizeof(uint32_t) * (r->changes.count + 1));
	for (uint32_t i = 0; i < r->changes.count; i++) {
		const struct image_change *ch = &r->changes.items[i];
		owner[i] = partition_owner(b->env->hash_seed, &ch->topic->id, slice_str(ch->topic->name), ch->partition, b->loop_count);
		counts[owner[i]]++;
	}
	for (uint32_t l = 0; l < b->loop_count; l++)
		r->split[l] = mem_alloc(sizeof(struct image_change) * (counts[l] + 1));
	memset(counts, 0, sizeof(uint32_t) * b->loop_count);
	for (int pass = 0; pass < 2; pass++) /* removals first: their names may be wanted again */
		for (uint32_t i = 0; i < r->changes.count; i++)
			if (r->changes.items[i].removed == (pass == 0))
				r->split[owner[i]][counts[owner[i]]++] = r->changes.items[i];
	r->counts = counts;
	mem_free(owner);
}

/* Committed offsets of deleted topics go (internal-topics.md 4.5): every coordinator may have some. */
static void find_deleted(struct round *r)
{
	const struct image_changes *ch = &r->changes;
	for (uint32_t i = 0; i < ch->count; i++) {
		if (!ch->items[i].removed || (i > 0 && ch->items[i].topic == ch->items[i - 1].topic))
			continue;
		if ((r->deleted_count & (r->deleted_count - 1)) == 0)
			r->deleted = mem_realloc(r->deleted, sizeof(char *) * (r->deleted_count ? r->deleted_count * 2 : 1));
		r->deleted[r->deleted_count++] = ch->items[i].topic->name;
	}
}

/* Topics that were deleted while this broker was away: what of them lies here goes now (K1). */
static void add_replicas_on_disk(struct broker *b, struct image_changes *ch)
{
	for (uint32_t g = 0; g < ch->gone_count; g++)
		for (uint32_t i = 0; i < b->inventory_count; i++)
			if (uuid_eq(&b->inventory[i].topic_id, &ch->gone[g].id))
				image_changes_add_removed(ch, &ch->gone[g], b->inventory[i].partition);
}

static uint32_t slice_of(const struct broker *b) { return b->cfg->image_slice ? b->cfg->image_slice : CHANGES_PER_TURN; }
static uint32_t slices(const struct broker *b, uint32_t changes) { return changes ? (changes + slice_of(b) - 1) / slice_of(b) : 1; }

/* The changes of one loop, in messages of a turn's size (G3). */
static struct shard_apply *post_applies(struct broker *b, struct round *r, struct image *im, uint32_t l, struct shard_apply *a)
{
	uint32_t count = r->counts[l], at = 0, most = slice_of(b);
	for (uint32_t left = slices(b, count); left > 0; left--, a++, at += most) {
		a->shard = b->shards[l];
		a->image = image_ref(im);
		a->changes = r->split[l] + at;
		a->change_count = count - at < most ? count - at : most;
		a->more = left > 1;
		a->configs_changed = r->changes.configs_changed && left == 1;
		a->brokers_changed = r->changes.brokers_changed && left == 1;
		a->done = round_applied;
		a->ctx = r;
		shard_post_apply(a);
	}
	return a;
}

static void on_image(void *ctx, struct image *im, struct image_changes *changes, bool snapshot)
{
	struct broker *b = ctx;
	struct round *r = MEM_NEW(struct round);
	(void)snapshot;
	r->b = b;
	r->controller_epoch = image_controller_epoch(im);
	r->seq = image_seq(im);
	r->changes = *changes;
	*changes = (struct image_changes){0};
	add_replicas_on_disk(b, &r->changes);
	r->split = mem_zalloc(sizeof(*r->split) * b->loop_count);
	list_init(&r->link);
	list_push_back(&b->rounds, &r->link);
	find_deleted(r);
	split_changes(b, r);
	for (uint32_t l = 0; l < b->loop_count; l++)
		r->waiting += slices(b, r->counts[l]);
	r->applies = mem_zalloc(sizeof(*r->applies) * r->waiting);
	struct shard_apply *a = r->applies;
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct image_msg *m = MEM_NEW(struct image_msg);
		m->loop = &b->loops[l];
		m->image = image_ref(im);
		m->round = r;
		m->msg.deliver = image_arrived;
		loop_post(b->loops[l].loop, &m->msg);
		a = post_applies(b, r, im, l, a);
	}
}

/* ---- listeners ---- */

struct port_msg {
	struct msg msg;
	struct broker *b;
	struct net_loop *net;
	int err;
	const char *host;
	uint16_t port;
};

static void port_result(struct msg *m)
{
	struct port_msg *p = CONTAINER_OF(m, struct port_msg, msg);
	if (p->err && p->b->phase != PHASE_STOPPING) {
		char why[256];
		snprintf(why, sizeof(why), "cannot listen on %s:%u (%s): free the port or change listeners", p->host, p->port, err_str(p->err));
		env_exit(p->b->env, p->err == ERR_EXIST ? STATUS_LOCKED : STATUS_CONFIG, why);
	}
	mem_free(p);
}

static void port_open(struct msg *m)
{
	struct port_msg *p = CONTAINER_OF(m, struct port_msg, msg);
	const struct broker_config *cfg = p->b->cfg;
	uint16_t got;
	for (uint32_t i = 0; i < cfg->listener_count && !p->err; i++) {
		p->host = cfg->listeners[i].host;
		p->port = cfg->listeners[i].port;
		p->err = net_listen(p->net, cfg->listeners[i].name, p->host, p->port, cfg->listen_backlog, &got);
	}
	p->msg.deliver = port_result;
	loop_post(p->msg.from, m);
}

static void ports_open(struct broker *b)
{
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct port_msg *p = MEM_NEW(struct port_msg);
		p->b = b;
		p->net = b->nets[l];
		p->msg.deliver = port_open;
		loop_post(b->loops[l].loop, &p->msg);
	}
}

static void confirm_run(struct job *j)
{
	struct broker *b = CONTAINER_OF(j, struct broker, confirm_job);
	b->confirm_err = log_dirs_confirm_now(b->dirs, b->cfg->broker_id, b->cluster_id);
}

static void confirm_done(struct job *j)
{
	struct broker *b = CONTAINER_OF(j, struct broker, confirm_job);
	if (b->confirm_err)
		env_exit(b->env, b->confirm_err == ERR_INVAL ? STATUS_CONFIG : STATUS_IO,
			"meta.properties cannot be written in any log directory, or names another broker or cluster: look at the disk, its permissions and log.dirs");
}

static void open_ports(struct broker *b)
{
	/* Only now: the boot mark forgets how this life began, and the controller has worked that into the states before it admitted us (D2, E1). */
	b->confirm_job.run = confirm_run;
	b->confirm_job.done = confirm_done;
	job_submit(b->control, &b->confirm_job, JOB_IO);
	log_dirs_remove_deleted(b->dirs, b->control);
	b->listening = true;
	b->phase = PHASE_SERVING;
	reason(b, "");
	ports_open(b);
	checkpoints_start(b->checkpoints);
	LOG_AT(b->env->log, LOG_INFO, "broker", "running", "broker=%d epoch=%lld loops=%u", b->cfg->broker_id, (long long)b->broker_epoch, b->loop_count);
}

/* ---- the control link's questions and news ---- */

static bool on_hello(void *ctx, struct ctl_hello *ret)
{
	struct broker *b = ctx;
	if (!b->broker_epoch)
		return false;
	*ret = (struct ctl_hello){
		.cluster_id = b->cluster_id,
		.boot_epoch = b->boot_epoch,
		.broker_epoch = b->broker_epoch,
		.dirs = b->dirs,
		.inventory = b->inventory,
		.inventory_count = b->inventory_count,
	};
	return true;
}

static void on_admitted(void *ctx, bool admitted)
{
	struct broker *b = ctx;
	b->admitted = admitted;
	if (b->phase == PHASE_JOINING)
		reason(b, admitted ? "waiting for the metadata snapshot" : "waiting for the controller to admit this broker");
}

static void on_fenced(void *ctx, bool fenced) { ((struct broker *)ctx)->fenced = fenced; }

static void on_registration_missing(void *ctx)
{
	struct broker *b = ctx;
	registration_again(b->reg);
}

static void on_refused(void *ctx, const char *why)
{
	struct broker *b = ctx;
	LOG_AT(b->env->log, LOG_ERROR, "link", "refused", "why=\"%s\"", why);
	if (b->phase == PHASE_JOINING)
		reason(b, why);
}

static void suspend(struct broker *b, enum shard_order order);

static void on_confirmed(void *ctx, int64_t sent_us)
{
	struct broker *b = ctx;
	if (b->suspended_us && sent_us > b->suspended_us) {
		b->suspended_us = 0;
		suspend(b, SHARD_RESUME_ACKS01);
	}
}

static struct ctl_stall on_stall(void *ctx)
{
	struct broker *b = ctx;
	struct ctl_stall s = {0};
	int64_t now = env_now_us(b->env);
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct data_loop *d = &b->loops[l];
		if (!d->loop)
			break; /* log directories are still being opened */
		int64_t began = atomic_load_explicit(&d->loop->turn_began_us, memory_order_relaxed);
		int64_t age = d->ping.out ? now - d->ping.sent_us : 0;
		if (began && now - began > age)
			age = now - began;
		if (age / 1000 > s.loop_ms)
			s.loop_ms = (uint32_t)(age / 1000);
		if (d->stats.oldest_disk_op_us / 1000 > s.disk_ms)
			s.disk_ms = (uint32_t)(d->stats.oldest_disk_op_us / 1000);
	}
	return s;
}

/* ---- inventory ---- */

static void inventory_add(struct broker *b, const char *topic, int32_t partition, const struct uuid *id, int32_t last_epoch, int64_t end, const struct log_dir *dir)
{
	MEM_GROW(b->inventory, b->inventory_cap, b->inventory_count + 1);
	b->inventory[b->inventory_count++] = (struct ctl_replica){
		.topic_id = *id,
		.topic = mem_strdup(topic),
		.partition = partition,
		.last_epoch = last_epoch,
		.log_end_offset = end,
		.start_class = dir ? dir->start_class : LOG_START_LOSSY,
		.dir = dir,
	};
}

static void inventory_clear(struct broker *b)
{
	for (uint32_t i = 0; i < b->inventory_count; i++)
		mem_free((char *)(uintptr_t)b->inventory[i].topic);
	b->inventory_count = 0;
}

static void on_rows(void *ctx, const struct shard_checkpoint_row *rows, uint32_t count)
{
	struct broker *b = ctx;
	inventory_clear(b);
	for (uint32_t i = 0; i < count; i++)
		inventory_add(b, rows[i].topic, rows[i].partition, &rows[i].topic_id, rows[i].last_epoch, rows[i].log_end_offset, rows[i].dir);
	ctl_greet(b->ctl, false);
}

static void checkpoint_returned(struct msg *msg)
{
	struct ask_checkpoint *k = CONTAINER_OF(msg, struct ask_checkpoint, msg);
	k->done(k);
}

struct checkpoint_ask { /* in ask_checkpoint.priv */
	struct checkpoint_wait wait;
	struct ask_checkpoint *k;
};
_Static_assert(sizeof(struct checkpoint_ask) <= sizeof(((struct ask_checkpoint *)0)->priv), "ask_checkpoint.priv is too small");

static void checkpoint_written(struct checkpoint_wait *w)
{
	struct ask_checkpoint *k = CONTAINER_OF(w, struct checkpoint_ask, wait)->k;
	k->msg.deliver = checkpoint_returned;
	loop_post(k->msg.from, &k->msg);
}

static void on_checkpoint_asked(void *ctx, struct ask_checkpoint *k)
{
	struct broker *b = ctx;
	struct checkpoint_ask *a = (struct checkpoint_ask *)(void *)k->priv;
	*a = (struct checkpoint_ask){.wait = {.done = checkpoint_written}, .k = k};
	checkpoints_ask(b->checkpoints, &a->wait);
}

static void on_file_starts(void *ctx, struct shard_starts *q)
{
	struct broker *b = ctl_owner(ctx);
	checkpoints_file_starts(b->checkpoints, q);
}

static void on_link_opened(void *ctx)
{
	struct broker *b = ctx;
	if (b->phase == PHASE_SERVING)
		checkpoints_refresh(b->checkpoints); /* on_rows greets */
	else
		ctl_greet(b->ctl, false); /* nothing was written since the logs were loaded */
}

/* ---- starting ---- */

static void on_session(void *ctx, bool connected)
{
	struct broker *b = ctx;
	LOG_AT(b->env->log, LOG_INFO, "zk", connected ? "connected" : "suspended", "broker=%d", b->cfg->broker_id);
}

static void on_new_session(void *ctx, struct zk *zk)
{
	struct broker *b = ctx;
	b->status_standing = false;
	ctl_watch_controllers(b->ctl, zk);
}

static void on_registered(void *ctx, int64_t broker_epoch, bool first, const char *cluster_id)
{
	struct broker *b = ctx;
	if (first) {
		b->boot_epoch = broker_epoch;
		snprintf(b->cluster_id, sizeof(b->cluster_id), "%s", cluster_id);
		reason(b, "waiting for a controller");
	}
	b->broker_epoch = broker_epoch;
	broker_status_new_session(b);
	ctl_greet(b->ctl, true);
}

static void waiting(struct broker *b, const char *for_what)
{
	char text[sizeof(b->reason)];
	snprintf(text, sizeof(text), "waiting for %s", for_what);
	if (strcmp(text, b->reason))
		LOG_AT(b->env->log, LOG_INFO, "broker", "waiting", "for=\"%s\"", for_what);
	reason(b, text);
}

static void on_waiting(void *ctx, const char *for_what)
{
	struct broker *b = ctx;
	if (b->phase == PHASE_JOINING && !b->broker_epoch)
		waiting(b, for_what);
}

static void recovered(struct broker *b)
{
	b->phase = PHASE_JOINING;
	reason(b, "waiting for ZooKeeper");
	LOG_AT(b->env->log, LOG_INFO, "broker", "logs.loaded", "partitions=%u bytes=%lld", b->loads_total, (long long)b->recovered_bytes);
	b->checkpoints = checkpoints_new(b->env, b->control, b->cfg, b->dirs, b->shards, b->loop_count, on_rows, b);
	registration_ready(b->reg, b->dirs);
}

static void load_one(struct broker *b, uint32_t d);

static void loaded(struct shard_load *m)
{
	struct broker *b = m->ctx;
	const struct log_found *f = m->found;
	uint32_t d = 0;
	if (m->err && m->err != LOG_ERR_OLD_FORMAT)
		LOG_AT(b->env->log, LOG_ERROR, "log", "load.failed", "topic=%s partition=%d err=\"%s\"", f->topic, f->partition, err_str(m->err));
	if (!m->err)
		inventory_add(b, f->topic, f->partition, &f->topic_id, m->last_epoch, m->log_end_offset, m->dir);
	while (b->dirs->dirs[d] != m->dir)
		d++;
	mem_free(m);
	load_one(b, d);
	if (--b->loads_left == 0 && b->phase == PHASE_RECOVERING)
		recovered(b);
}

/* The next log of a directory, if there is one. */
static void load_one(struct broker *b, uint32_t d)
{
	struct log_dir *dir = b->dirs->dirs[d];
	if (b->load_next[d] >= dir->found_count || b->phase != PHASE_RECOVERING)
		return;
	const struct log_found *f = &dir->found[b->load_next[d]++];
	struct shard_load *m = MEM_NEW(struct shard_load);
	m->shard = b->shards[partition_owner(b->env->hash_seed, &f->topic_id, slice_str(f->topic), f->partition, b->loop_count)];
	m->dir = dir;
	m->found = f;
	m->progress_bytes = &b->recovered_bytes;
	m->done = loaded;
	m->ctx = b;
	shard_post_load(m);
}

/* Each directory has as many logs under way as num.recovery.threads.per.data.dir says, and a few more so that no thread waits for the next:
 * all directories are read at the same time, however many logs each has. */
static void load_all(struct broker *b)
{
	b->phase = PHASE_RECOVERING;
	reason(b, "recovering logs");
	b->load_next = mem_zalloc(sizeof(*b->load_next) * (b->dirs->count + 1));
	for (uint32_t d = 0; d < b->dirs->count; d++) {
		if (atomic_load(&b->dirs->dirs[d]->offline)) /* it failed after it was looked through */
			b->load_next[d] = b->dirs->dirs[d]->found_count;
		b->loads_left += b->dirs->dirs[d]->found_count - b->load_next[d];
	}
	b->loads_total = b->loads_left;
	for (uint32_t d = 0; d < b->dirs->count; d++)
		for (int64_t i = 0; i < (int64_t)b->cfg->recovery_threads_per_dir + LOADS_AHEAD && b->load_next[d] < b->dirs->dirs[d]->found_count; i++)
			load_one(b, d);
	if (!b->loads_total)
		recovered(b);
}

static void make_loops(struct broker *b)
{
	const struct broker_config *cfg = b->cfg;
	b->limits = net_limits_new();
	struct net_config nc = {
		.frame_bytes_max = cfg->socket_request_max_bytes,
		.idle_max_ms = cfg->connections_max_idle_ms,
		.inflight_max = 128,
		.receive_bytes_max = (cfg->queued_max_request_bytes > 0 ? (uint64_t)cfg->queued_max_request_bytes : 512ull << 20) / b->loop_count,
		.limits = b->limits,
		.connections_max = (uint32_t)cfg->max_connections,
		/* as Kafka: brokers that have a listener of their own get in even when clients have taken all places */
		.free_listener = cfg->listener_count > 1 ? cfg->inter_broker_listener : NULL,
		.send_buffer_bytes = cfg->socket_send_buffer_bytes,
		.receive_buffer_bytes = cfg->socket_receive_buffer_bytes,
		.request_arena_max = 16 << 20,
	};
	struct fetch_homes_config fc = {.slots_max = cfg->fetch_session_slots, .evict_ms = 120000, .fetch_max_bytes = cfg->replica.fetch_max_bytes};
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct data_loop *d = &b->loops[l];
		char name[32];
		snprintf(name, sizeof(name), "data-%u", l);
		d->loop = loop_new(b->env, (int32_t)l, name);
		d->running.file = cfg;
		struct shard_init si = {
			.env = b->env,
			.loop = d->loop,
			.control = b->control,
			.idx = l,
			.shard_count = b->loop_count,
			.config = &cfg->replica,
			.host = &b->host,
			.dirs = b->dirs,
			.log_config = running_topic_log,
			.log_config_ctx = &d->running,
		};
		d->shard = b->shards[l] = shard_new(&si);
	}
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct coordinator_init ci = {
			.env = b->env,
			.loop = b->loops[l].loop,
			.shard = b->shards[l],
			.idx = l,
			.shard_count = b->loop_count,
			.peers = b->coordinators,
			.config = &cfg->groups,
			.commit_timeout_ms = cfg->offsets.commit_timeout_ms,
			.load_buffer_bytes = cfg->offsets.load_buffer_bytes,
			.expiry_interval_ms = cfg->offsets.check_interval_ms,
			.codec = cfg->offsets.codec,
		};
		b->loops[l].coordinator = b->coordinators[l] = coordinator_new(&ci);
	}
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct data_loop *d = &b->loops[l];
		d->home = b->homes[l] = fetch_home_new(d->loop, l, b->shards, b->homes, b->loop_count, &fc);
		struct api_init ai = {.env = b->env, .loop = d->loop, .idx = l, .shard_count = b->loop_count, .shards = b->shards, .coordinators = b->coordinators,
			.fetch = d->home, .config = cfg, .running = &d->running, .services = &b->services};
		d->api = api_new(&ai);
		d->net = b->nets[l] = net_loop_new(d->loop, l, &nc, api_handle, d->api);
	}
	for (uint32_t l = 0; l < b->loop_count; l++)
		net_loop_set_peers(b->nets[l], b->nets, b->loop_count);
	b->lag = lag_new(b);
	b->lost = lost_new(b);
}

/* ctx is the ctl, as for the other callbacks of the host. */
static void on_dir_failed(void *ctx, struct log_dir *dir)
{
	struct broker *b = ctl_owner(ctx);
	(void)dir;
	lost_look(b->lost);
}

static void dirs_run(struct job *j)
{
	struct broker *b = CONTAINER_OF(j, struct broker, open_job);
	struct log_dirs_open o = {
		.env = b->env,
		.paths = (const char *const *)b->cfg->log_dirs,
		.count = b->cfg->log_dir_count,
		.broker_id = b->cfg->broker_id,
		.bytes_reserved = (uint64_t)b->cfg->log_dir_reserved_bytes,
	};
	b->open_err = log_dirs_open_now(&o, &b->opened, &b->open_why);
}

/* The id is known: everything that bears it is made. */
static void take_dirs(struct broker *b)
{
	b->dirs = b->opened;
	b->host = (struct shard_host){.ctx = b->ctl, .propose = ctl_propose, .dir_failed = on_dir_failed, .replica_deleted = ctl_replica_deleted, .file_starts = on_file_starts};
	b->services = (struct ask_services){.control = b->control, .ctx = b->ctl, .forward = ctl_forward, .producer_ids = ctl_producer_ids, .zk_ctx = b->reg, .zk_offsets = consumers_serve,
					     .broker = b, .checkpoint = on_checkpoint_asked, .dirs = b->dirs};
	make_loops(b);
	load_all(b);
}

static void on_id_waiting(void *ctx, const char *for_what)
{
	struct broker *b = ctx;
	if (b->phase == PHASE_STARTING)
		waiting(b, for_what);
}

static void on_id_known(void *ctx, int32_t id)
{
	struct broker *b = ctx;
	if (b->phase != PHASE_STARTING)
		return;
	b->own.broker_id = b->own.replica.broker_id = id;
	take_dirs(b);
}

static void dirs_done(struct job *j)
{
	struct broker *b = CONTAINER_OF(j, struct broker, open_job);
	if (b->open_err) {
		int status = b->open_err == ERR_LOCKED ? STATUS_LOCKED : b->open_err == ERR_INVAL ? STATUS_CONFIG : STATUS_IO;
		env_exit(b->env, status, b->open_why ? b->open_why : "the log directories cannot be opened: look at log.dirs");
		mem_free(b->open_why);
		b->open_why = NULL;
		return;
	}
	if (b->cfg->broker_id >= 0) {
		take_dirs(b);
		return;
	}
	struct identity_events ie = {.ctx = b, .waiting = on_id_waiting, .known = on_id_known};
	b->identity = identity_new(b->env, b->control, b->cfg, registration_zk(b->reg), b->opened, &ie);
	identity_start(b->identity);
}

/* ---- each 100 ms ---- */

static void order_done(struct shard_order_msg *m)
{
	mem_free(m);
}

static void suspend(struct broker *b, enum shard_order order)
{
	for (uint32_t l = 0; l < b->loop_count; l++) {
		struct shard_order_msg *m = MEM_NEW(struct shard_order_msg);
		m->shard = b->shards[l];
		m->order = order;
		m->done = order_done;
		shard_post_order(m);
	}
}

static void on_checked(void *ctx, bool known, bool stands)
{
	struct broker *b = ctx;
	if (!b->suspended_us || ctl_has_active(b->ctl))
		return;
	/* No controller to ask: our registration stands, so nobody was told that we are dead; or ZooKeeper is away too, and then nobody can have been
	 * elected meanwhile (every election is a write there). */
	if (!known || stands) {
		b->suspended_us = 0;
		suspend(b, SHARD_RESUME_ACKS01);
	}
}

static void ping_back(struct msg *m)
{
	struct ping *p = CONTAINER_OF(m, struct ping, msg);
	struct data_loop *d = &p->broker->loops[p->idx];
	p->out = false;
	d->net_stats = p->net_stats;
	d->count_rows = p->count_rows;
	memcpy(d->counts, p->counts, sizeof(d->counts));
	d->groups = p->groups;
}

static void ping_there(struct msg *m)
{
	struct ping *p = CONTAINER_OF(m, struct ping, msg);
	struct data_loop *d = &p->broker->loops[p->idx];
	p->net_stats = *net_loop_stats(d->net);
	p->count_rows = api_stats(d->api, p->counts, ARRAY_LEN(p->counts));
	p->groups = coordinator_stats(d->coordinator);
	m->deliver = ping_back;
	loop_post(m->from, m);
}

static void on_tick(void *ctx)
{
	struct broker *b = ctx;
	int64_t now = env_now_us(b->env);
	if (b->phase == PHASE_SERVING && now - b->last_tick_us > (TICK_MS + SLEPT_MS) * 1000) {
		LOG_AT(b->env->log, LOG_WARN, "broker", "slept", "ms=%lld", (long long)(now - b->last_tick_us) / 1000);
		b->suspended_us = now;
		suspend(b, SHARD_SUSPEND_ACKS01);
	}
	b->last_tick_us = now;
	if (b->suspended_us && now - b->suspended_us > UNCONFIRMED_MS * 1000 && !ctl_has_active(b->ctl))
		registration_check(b->reg, on_checked, b);
	for (uint32_t l = 0; b->dirs && l < b->loop_count; l++) {
		struct ping *p = &b->loops[l].ping;
		if (p->out)
			continue;
		p->broker = b;
		p->idx = l;
		p->out = true;
		p->sent_us = now;
		p->msg.deliver = ping_there;
		loop_post(b->loops[l].loop, &p->msg);
	}
	if (b->lost)
		lost_look(b->lost);
	broker_status_tick(b);
	timer_set_ms(&b->tick, TICK_MS);
}

/* ---- stopping ---- */

static void stop_gone(void *ctx)
{
	struct broker *b = ctx;
	env_exit(b->env, 0, "stopped");
}

static void stop_closed(void *ctx)
{
	struct broker *b = ctx;
	ctl_unwatch_controllers(b->ctl); /* replies come while it closes */
	registration_close(b->reg, stop_gone, b);
}

static void stop_logs(struct broker *b)
{
	if (b->checkpoints)
		checkpoints_final(b->checkpoints, stop_closed, b);
	else
		stop_closed(b); /* still recovering: nothing was promised, the next start recovers */
}

/* Connections close when the calls that wait at the coordinators are answered (protocol.md L2). The way of these messages is that of the answers,
 * from the coordinator's loop to the connection's, and comes behind them. */
struct farewell {
	struct msg msg;
	struct broker *b;
	uint32_t loop; /* that it goes to */
};

static void farewell_post(struct broker *b, uint32_t loop, struct loop *to, void (*deliver)(struct msg *m))
{
	struct farewell *f = MEM_NEW(struct farewell);
	f->b = b;
	f->loop = loop;
	f->msg.deliver = deliver;
	loop_post(to, &f->msg);
}

static void connections_closed(struct msg *m)
{
	struct farewell *f = CONTAINER_OF(m, struct farewell, msg);
	struct broker *b = f->b;
	mem_free(f);
	if (--b->stop_loops == 0)
		stop_logs(b);
}

static void coordinator_said_farewell(struct msg *m)
{
	struct farewell *f = CONTAINER_OF(m, struct farewell, msg);
	struct broker *b = f->b;
	struct data_loop *d = &b->loops[f->loop];
	if (++d->farewells == b->loop_count) {
		net_stop_listening(d->net);
		net_shut_all(d->net);
		farewell_post(b, f->loop, b->control, connections_closed);
	}
	mem_free(f);
}

static void coordinator_farewell(struct msg *m)
{
	struct farewell *f = CONTAINER_OF(m, struct farewell, msg);
	struct broker *b = f->b;
	coordinator_resign(b->coordinators[f->loop]);
	for (uint32_t l = 0; l < b->loop_count; l++)
		farewell_post(b, l, b->loops[l].loop, coordinator_said_farewell);
	mem_free(f);
}

static void stop_serving(struct broker *b)
{
	timer_stop(&b->stop_timer);
	if (b->leaving)
		return;
	b->leaving = true;
	b->stop_loops = b->loop_count;
	for (uint32_t l = 0; l < b->loop_count; l++)
		farewell_post(b, l, b->loops[l].loop, coordinator_farewell);
}

static void handed_over(void *ctx, int16_t error, uint32_t remaining)
{
	struct broker *b = ctx;
	LOG_AT(b->env->log, LOG_INFO, "broker", "handover", "error=%d remaining=%u", error, remaining);
	if (!error && !remaining)
		stop_serving(b);
	else if (!b->leaving)
		timer_set_ms(&b->stop_timer, TICK_MS);
}

static void on_stop_timer(void *ctx)
{
	struct broker *b = ctx;
	if (!b->cfg->controlled_shutdown || env_now_us(b->env) - b->stop_began_us > HANDOVER_MS * 1000)
		stop_serving(b);
	else
		ctl_controlled_shutdown(b->ctl, handed_over, b);
	if (!b->leaving && !timer_armed(&b->stop_timer) && !b->stop_left++)
		timer_set_ms(&b->stop_timer, HANDOVER_MS); /* an answer that never comes */
}

void broker_stop(struct broker *b)
{
	if (b->phase == PHASE_STOPPING)
		return;
	bool serving = b->phase == PHASE_SERVING;
	b->phase = PHASE_STOPPING;
	b->stop_began_us = env_now_us(b->env);
	reason(b, "stopping");
	LOG_AT(b->env->log, LOG_INFO, "broker", "stopping", "broker=%d", b->cfg->broker_id);
	if (!b->dirs)
		env_exit(b->env, 0, "stopped before it began to serve");
	else if (!serving)
		stop_serving(b);
	else
		on_stop_timer(b);
}

/* ---- life ---- */

struct broker *broker_new(struct env *env, struct loop *control, const struct broker_config *cfg)
{
	struct broker *b = MEM_NEW(struct broker);
	b->env = env;
	b->control = control;
	b->own = *cfg;
	b->cfg = &b->own;
	b->incarnation = env_random_u64(env);
	b->loop_count = cfg->data_loops ? cfg->data_loops : 1;
	b->loops = mem_zalloc(sizeof(*b->loops) * b->loop_count);
	b->shards = mem_zalloc(sizeof(*b->shards) * b->loop_count);
	b->coordinators = mem_zalloc(sizeof(*b->coordinators) * b->loop_count);
	b->homes = mem_zalloc(sizeof(*b->homes) * b->loop_count);
	b->nets = mem_zalloc(sizeof(*b->nets) * b->loop_count);
	list_init(&b->rounds);
	str_init(&b->status_last);
	timer_init(&b->tick, control, on_tick, b);
	timer_init(&b->stop_timer, control, on_stop_timer, b);
	struct registration_events re = {.ctx = b, .session = on_session, .new_session = on_new_session, .registered = on_registered, .waiting = on_waiting};
	b->reg = registration_new(env, control, b->cfg, &re);
	struct ctl_init ci = {
		.env = env,
		.loop = control,
		.config = b->cfg,
		.shards = b->shards,
		.shard_count = b->loop_count,
		.incarnation = b->incarnation,
		.version = KLAMM_VERSION,
		.events = {
			.ctx = b,
			.image = on_image,
			.link_opened = on_link_opened,
			.hello = on_hello,
			.admitted = on_admitted,
			.fenced = on_fenced,
			.registration_missing = on_registration_missing,
			.refused = on_refused,
			.confirmed = on_confirmed,
		},
		.stall = on_stall,
	};
	b->ctl = ctl_new(&ci);
	return b;
}

void broker_start(struct broker *b)
{
	b->phase = PHASE_STARTING;
	reason(b, "opening log directories");
	b->shown_since_ms = env_wall_ms(b->env);
	if (b->cfg->admin_host) {
		uint16_t port;
		int err = http_open(b->control, b->cfg->admin_host, b->cfg->admin_port, broker_http, b, &b->http, &port);
		if (err) {
			env_exit(b->env, err == ERR_EXIST ? STATUS_LOCKED : STATUS_CONFIG, "admin.listener cannot be opened: free the port or change it");
			return;
		}
	}
	b->last_tick_us = env_now_us(b->env);
	timer_set_ms(&b->tick, TICK_MS);
	registration_start(b->reg);
	b->open_job.run = dirs_run;
	b->open_job.done = dirs_done;
	job_submit(b->control, &b->open_job, JOB_LONG);
}

void broker_free(struct broker *b)
{
	if (!b)
		return;
	timer_stop(&b->tick);
	timer_stop(&b->stop_timer);
	if (b->http)
		http_close(b->http);
	registration_free(b->reg);
	identity_free(b->identity); /* after the session, whose answers go to it */
	ctl_free(b->ctl);
	checkpoints_free(b->checkpoints);
	/* Connections first: their requests in flight are cancelled at the homes. Then owners before what they hold on to: net's receive
	 * buffers are counted by its loops. */
	for (uint32_t l = 0; l < b->loop_count; l++)
		if (b->nets[l])
			net_close_all(b->nets[l]);
	for (uint32_t l = 0; l < b->loop_count; l++)
		if (b->loops[l].home)
			fetch_home_free(b->loops[l].home);
	lag_free(b->lag);
	lost_free(b->lost);
	for (uint32_t l = 0; l < b->loop_count; l++)
		coordinator_free(b->coordinators[l]);
	for (uint32_t l = 0; l < b->loop_count; l++)
		if (b->shards[l])
			shard_free(b->shards[l]);
	for (uint32_t l = 0; l < b->loop_count; l++) {
		broker_topics_drop(&b->loops[l]);
		net_loop_free(b->nets[l]);
		api_free(b->loops[l].api);
		running_seat_fini(&b->loops[l].running);
	}
	net_limits_free(b->limits);
	inventory_clear(b);
	mem_free(b->inventory);
	mem_free(b->load_next);
	log_dirs_free(b->opened);
	str_fini(&b->status_last);
	mem_free(b->loops);
	mem_free(b->shards);
	mem_free(b->coordinators);
	mem_free(b->homes);
	mem_free(b->nets);
	mem_free(b);
}
