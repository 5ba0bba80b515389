/* coordinator.c: partitions won and lost, messages, timers. See coordinator.h. */
#include "brokerd/group/coordinator_priv.h"

#include <stdio.h>

#include "brokerd/meta/image.h"

#define SUB "group"
#define EXPIRE_BUDGET 200  /* groups looked at in one step (protocol.md G3) */
#define SWEEP_BUDGET 200
#define READ_US 600        /* of a turn, for reads of many groups */
#define READ_GROUPS 1000   /* also where time stands still while code runs */
#define LOOK_GROUPS 32     /* of a list, between looks at the clock */
#define CLOCK_SLEW 10      /* the clock follows the wall clock by at most a tenth of the time that passes */

/* ---- which partition ---- */

int32_t groups_partition_of(struct slice group, int32_t partitions)
{
	uint32_t h = 0;
	for (size_t i = 0; i < group.len;) {
		uint8_t b = group.ptr[i];
		size_t n = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
		uint32_t ch = n == 1 ? b : b & (0x7fu >> n);
		if (n > group.len - i)
			n = group.len - i; /* not UTF-8: any partition will do, as long as it is always the same */
		for (size_t k = 1; k < n; k++)
			ch = ch << 6 | (group.ptr[i + k] & 0x3f);
		i += n;
		if (ch >= 0x10000) {
			ch -= 0x10000;
			h = h * 31 + (0xd800 | (ch >> 10 & 0x3ff));
			ch = 0xdc00 | (ch & 0x3ff);
		}
		h = h * 31 + ch;
	}
	uint32_t magnitude = h == 0x80000000u ? 0 : (int32_t)h < 0 ? 0u - h : h;
	return (int32_t)(magnitude % (uint32_t)partitions);
}

/* ---- the clock ---- */

int64_t coordinator_now(struct coordinator *c)
{
	int64_t mono = loop_now_ms(c->loop), passed = mono - c->mono_ms, off = env_wall_ms(c->env) - (mono + c->ahead_ms);
	if (c->mono_ms && passed < CLOCK_SLEW)
		return mono + c->ahead_ms;
	int64_t most = passed / CLOCK_SLEW;
	if (!c->mono_ms || (off <= most && off >= -most))
		c->ahead_ms += off;
	else
		c->ahead_ms += off > 0 ? most : -most;
	c->mono_ms = mono;
	return mono + c->ahead_ms;
}

/* ---- timers ---- */

static void arm_due(struct coordinator *c)
{
	int64_t due = INT64_MAX;
	LIST_FOR(it, &c->owned) {
		const struct owned *o = LIST_ENTRY(it, struct owned, link);
		int64_t d = o->loaded ? groups_due_ms(o->g) : INT64_MAX;
		due = d < due ? d : due;
	}
	if (due == c->due_ms && (due == INT64_MAX || timer_armed(&c->due_timer)))
		return;
	c->due_ms = due;
	if (due == INT64_MAX) {
		timer_stop(&c->due_timer);
		return;
	}
	int64_t now = coordinator_now(c);
	timer_set_ms(&c->due_timer, due > now ? due - now : 0);
}

static void on_due(void *ctx)
{
	struct coordinator *c = ctx;
	int64_t now = coordinator_now(c);
	c->due_ms = 0;
	LIST_FOR_SAFE(it, tmp, &c->owned) {
		struct owned *o = LIST_ENTRY(it, struct owned, link);
		struct groups_out out;
		if (!o->loaded || groups_due_ms(o->g) > now)
			continue;
		groups_out_init(&out);
		groups_tick(o->g, now, &out);
		coordinator_take(o, &out);
	}
	arm_due(c);
}

/* One step of the work that goes through all groups of a partition; false when there is none. */
static bool step(struct owned *o)
{
	struct groups_out out;
	if (!o->loaded || (!o->expiring && !groups_sweeping(o->g)))
		return false;
	groups_out_init(&out);
	if (groups_sweeping(o->g)) {
		(void)groups_sweep(o->g, SWEEP_BUDGET, &out);
	} else if (groups_expire(o->g, coordinator_now(o->c), EXPIRE_BUDGET, &out)) {
		o->expiring = false;
	}
	coordinator_take(o, &out);
	return true;
}

static bool read_turn(struct coordinator *c);

/* One step of one partition a turn, round and round, and one of the reads. */
static void on_steps(void *ctx)
{
	struct coordinator *c = ctx;
	if (read_turn(c))
		timer_set_us(&c->steps_timer, 0);
	LIST_FOR_SAFE(it, tmp, &c->owned) {
		struct owned *o = LIST_ENTRY(it, struct owned, link);
		if (!step(o))
			continue;
		list_remove(&o->link);
		list_push_back(&c->owned, &o->link);
		timer_set_us(&c->steps_timer, 0);
		return;
	}
}

static void on_expiry(void *ctx)
{
	struct coordinator *c = ctx;
	LIST_FOR(it, &c->owned)
		LIST_ENTRY(it, struct owned, link)->expiring = true;
	timer_set_us(&c->steps_timer, 0);
	timer_set_ms(&c->expiry_timer, c->init.expiry_interval_ms);
}

static void activate(struct coordinator *c)
{
	if (c->active)
		return;
	loop_assert_owner(c->loop);
	c->active = true;
	timer_init(&c->due_timer, c->loop, on_due, c);
	timer_init(&c->steps_timer, c->loop, on_steps, c);
	timer_init(&c->expiry_timer, c->loop, on_expiry, c);
	timer_set_ms(&c->expiry_timer, c->init.expiry_interval_ms);
}

/* ---- answers ---- */

static void msg_returned(struct msg *msg)
{
	struct group_msg *m = CONTAINER_OF(msg, struct group_msg, msg);
	m->done(m);
}

static void msg_reply(struct group_msg *m)
{
	m->msg.deliver = msg_returned;
	loop_post(m->sender, &m->msg);
}

void coordinator_take(struct owned *o, struct groups_out *out)
{
	struct list *it;
	while ((it = list_pop_front(&out->answered)))
		msg_reply(CONTAINER_OF(LIST_ENTRY(it, struct groups_call, link), struct group_msg, call));
	while ((it = list_pop_front(&out->writes)))
		write_start(o, LIST_ENTRY(it, struct groups_write, link));
	if (groups_sweeping(o->g) && !timer_armed(&o->c->steps_timer))
		timer_set_us(&o->c->steps_timer, 0);
	arm_due(o->c);
}

/* ---- partitions won and lost ---- */

struct owned *coordinator_find(const struct coordinator *c, int32_t partition)
{
	return partition >= 0 && (size_t)partition < c->by_partition_cap ? c->by_partition[partition] : NULL;
}

static void resign(struct owned *o)
{
	struct coordinator *c = o->c;
	struct groups_out out;
	struct list *it;
	c->by_partition[o->partition] = NULL;
	list_remove(&o->link);
	load_cancel(o->load);
	write_forget_all(o);
	struct groups_stats st = groups_stats(o->g);
	c->past.rebalances += st.rebalances;
	c->past.expired_offsets += st.expired_offsets;
	groups_out_init(&out);
	groups_resign(o->g, &out);
	while ((it = list_pop_front(&out.answered)))
		msg_reply(CONTAINER_OF(LIST_ENTRY(it, struct groups_call, link), struct group_msg, call));
	ASSERT(list_empty(&out.writes));
	groups_free(o->g);
	mem_free(o);
	arm_due(c);
}

static const char *quoted(char out[192], struct slice s)
{
	char text[192];
	snprintf(text, sizeof(text), "%.*s", (int)s.len, s.ptr ? (const char *)s.ptr : "");
	return log_quote(out, 192, s.ptr ? text : NULL);
}

static void on_group_event(void *ctx, const struct groups_event *e)
{
	static const char *const names[] = {
		[GROUPS_REBALANCE] = "rebalance", [GROUPS_GENERATION] = "generation", [GROUPS_STABLE] = "stable", [GROUPS_EMPTY] = "empty",
		[GROUPS_NOT_WRITTEN] = "not_written", [GROUPS_MEMBER_OUT] = "member_out",
	};
	const struct owned *o = ctx;
	struct logger *l = o->c->env->log;
	enum log_level level = e->kind == GROUPS_NOT_WRITTEN ? LOG_WARN : LOG_INFO;
	char group[192], member[192], protocol[192];
	LOG_AT(l, level, SUB, names[e->kind], "group=%s partition=%d generation=%d members=%u protocol=%s member=%s error=%d why=\"%s\"", quoted(group, e->group), o->partition,
	       e->generation, e->members, quoted(protocol, e->protocol), quoted(member, e->member), e->error, e->why ? e->why : "");
}

static void on_led(void *ctx, struct slice topic, int32_t partition, int32_t leader_epoch, int64_t end)
{
	struct coordinator *c = ctx;
	if (!slice_eq_str(topic, GROUP_TOPIC) || c->stopped)
		return;
	activate(c);
	struct owned *o = coordinator_find(c, partition);
	if (o)
		resign(o); /* another reign of ours: nothing of the former one counts */
	size_t cap = c->by_partition_cap;
	MEM_GROW(c->by_partition, cap, (size_t)partition + 1);
	if (cap > c->by_partition_cap)
		memset(c->by_partition + c->by_partition_cap, 0, (cap - c->by_partition_cap) * sizeof(struct owned *));
	c->by_partition_cap = cap;
	o = MEM_NEW(struct owned);
	o->c = c;
	o->partition = partition;
	o->epoch = leader_epoch;
	o->g = groups_new(partition, leader_epoch, env_random_u64(c->env), c->init.config);
	groups_on_event(o->g, on_group_event, o);
	list_init(&o->link);
	list_init(&o->writes);
	c->by_partition[partition] = o;
	list_push_back(&c->owned, &o->link);
	load_start(o, end);
}

static void on_lost(void *ctx, struct slice topic, int32_t partition)
{
	struct coordinator *c = ctx;
	struct owned *o = slice_eq_str(topic, GROUP_TOPIC) ? coordinator_find(c, partition) : NULL;
	if (!o)
		return;
	LOG_AT(c->env->log, LOG_INFO, SUB, "resigned", "partition=%d epoch=%d", partition, o->epoch);
	resign(o);
}

void coordinator_resign(struct coordinator *c)
{
	c->stopped = true;
	while (!list_empty(&c->owned))
		resign(LIST_ENTRY(c->owned.next, struct owned, link));
}

void coordinator_loaded(struct owned *o)
{
	struct groups_out out;
	o->loaded = true;
	groups_out_init(&out);
	groups_loaded(o->g, coordinator_now(o->c), &out);
	coordinator_take(o, &out);
	if (o->expiring)
		timer_set_us(&o->c->steps_timer, 0);
}

/* ---- messages ---- */

static bool same_topic(const struct image *a, const struct image *b, struct slice name)
{
	const struct image_topic *x = image_find_topic(a, name), *y = image_find_topic(b, name);
	return x && y && uuid_eq(&x->id, &y->id);
}

/* The image of the sender's loop is older or newer than ours. */
static void refuse_other_topics(const struct coordinator *c, const struct group_msg *m)
{
	struct groups_commit *req = m->call.response;
	struct slice last = {0};
	bool same = false;
	if (!c->image || m->image == c->image)
		return;
	for (uint32_t i = 0; i < req->count; i++) {
		struct slice topic = req->rows[i].topic;
		if (topic.ptr != last.ptr || topic.len != last.len)
			same = same_topic(m->image, c->image, topic);
		last = topic;
		if (!same)
			req->rows[i].error = KERR_UNKNOWN_TOPIC_OR_PARTITION;
	}
}

static void call_core(struct owned *o, struct group_msg *m)
{
	int64_t now = coordinator_now(o->c);
	struct groups_out out;
	groups_out_init(&out);
	switch (m->kind) {
	case GROUP_JOIN: groups_join(o->g, &m->call, now, &out); break;
	case GROUP_SYNC: groups_sync(o->g, &m->call, now, &out); break;
	case GROUP_HEARTBEAT: groups_heartbeat(o->g, &m->call, now, &out); break;
	case GROUP_LEAVE: groups_leave(o->g, &m->call, now, &out); break;
	case GROUP_COMMIT:
		refuse_other_topics(o->c, m);
		groups_commit(o->g, &m->call, now, &out);
		break;
	case GROUP_DELETE_OFFSETS: groups_delete_offsets(o->g, &m->call, now, &out); break;
	case GROUP_DELETE: groups_delete(o->g, &m->call, now, &out); break;
	case GROUP_FETCH:
	case GROUP_DESCRIBE:
	case GROUP_LIST:
	case GROUP_LAG: ASSERT(false); /* reads */
	}
	coordinator_take(o, &out);
}

/* ---- reads of many groups ---- */

static void add_row(void *ctx, const struct groups_list_row *row)
{
	struct group_msg *m = ctx;
	struct kp_list_groups_response_groups out = {row->group, row->protocol_type, slice_str(row->state), slice_str("classic")};
	wire_encode(&kp_list_groups_response_groups_desc, m->call.version, &out, &m->body);
	m->row_count++;
}

/* Some groups of the partition at hand, which may have been lost since the last turn, with what it had; true when all partitions are through. */
static bool list_some(struct coordinator *c, struct group_msg *m)
{
	if (m->list.g) {
		if (!groups_list(&m->list, LOOK_GROUPS, add_row, m))
			return false;
		groups_list_end(&m->list);
		m->at++;
	}
	for (; (size_t)m->at < c->by_partition_cap; m->at++) {
		struct owned *o = c->by_partition[m->at];
		if (o && o->loaded) {
			groups_list_begin(o->g, &m->list);
			return false;
		}
		if (o)
			m->error = KERR_COORDINATOR_LOAD_IN_PROGRESS;
	}
	if (c->stopped)
		m->error = KERR_COORDINATOR_NOT_AVAILABLE;
	return true;
}

/* One group: it may have thousands of members, or of offsets. */
static bool read_one(struct coordinator *c, struct group_msg *m)
{
	const struct owned *o = coordinator_find(c, m->partition);
	if (!o || !o->loaded) {
		m->error = o ? KERR_COORDINATOR_LOAD_IN_PROGRESS : KERR_NOT_COORDINATOR;
		return true;
	}
	if ((uint32_t)m->at >= m->count)
		return true;
	if (m->kind == GROUP_FETCH)
		groups_fetch(o->g, &m->fetches[m->at], m->call.arena);
	else
		groups_describe(o->g, m->describes[m->at].group, m->call.version, m->call.arena, &m->describes[m->at].ret);
	return (uint32_t)++m->at >= m->count;
}

/* A turn's worth of it; true when it was answered. */
static bool read_go_on(struct coordinator *c, struct group_msg *m)
{
	int64_t until = env_now_us(c->env) + READ_US;
	for (int n = 0; n < READ_GROUPS && (n == 0 || env_now_us(c->env) < until); n += m->kind == GROUP_LIST ? LOOK_GROUPS : 1) {
		if (!(m->kind == GROUP_LIST ? list_some(c, m) : read_one(c, m)))
			continue;
		list_remove(&m->link);
		msg_reply(m);
		return true;
	}
	return false;
}

static void read_begin(struct coordinator *c, struct group_msg *m)
{
	m->at = 0;
	m->list.g = NULL;
	m->row_count = 0;
	list_init(&m->link);
	if (read_go_on(c, m))
		return;
	list_push_back(&c->reads, &m->link);
	timer_set_us(&c->steps_timer, 0);
}

/* False: there are none. */
static bool read_turn(struct coordinator *c)
{
	struct list *it = list_pop_front(&c->reads);
	if (!it)
		return false;
	struct group_msg *m = LIST_ENTRY(it, struct group_msg, link);
	if (!read_go_on(c, m))
		list_push_back(&c->reads, &m->link);
	return true;
}

/* ---- images and messages ---- */

void coordinator_image(struct coordinator *c, struct image *im, const char *const *deleted, uint32_t count)
{
	image_ref(im);
	image_unref(c->image);
	c->image = im;
	if (!count)
		return;
	activate(c);
	LIST_FOR(it, &c->owned)
		for (uint32_t i = 0; i < count; i++)
			groups_topic_gone(LIST_ENTRY(it, struct owned, link)->g, slice_str(deleted[i]));
	timer_set_us(&c->steps_timer, 0);
}

static void add_offset(void *ctx, struct slice group, struct slice topic, int32_t partition, int64_t offset)
{
	struct group_msg *m = ctx;
	if (m->offset_count == m->count)
		return;
	m->offsets[m->offset_count++] = (struct group_offset_row){
		mem_strndup((const char *)group.ptr, group.len), mem_strndup((const char *)topic.ptr, topic.len), partition, offset,
	};
}

static void committed_offsets(struct coordinator *c, struct group_msg *m)
{
	m->offset_count = 0;
	m->offsets = mem_alloc(sizeof(*m->offsets) * (m->count + 1));
	LIST_FOR(it, &c->owned) {
		const struct owned *o = LIST_ENTRY(it, struct owned, link);
		if (o->loaded && m->offset_count < m->count)
			groups_each_offset(o->g, m->count - m->offset_count, add_offset, m);
	}
}

static void on_msg(struct msg *msg)
{
	struct group_msg *m = CONTAINER_OF(msg, struct group_msg, msg);
	struct coordinator *c = m->coordinator;
	activate(c);
	m->error = KERR_NONE;
	if (m->kind >= GROUP_LIST) {
		if (m->kind == GROUP_LIST) {
			read_begin(c, m);
		} else {
			committed_offsets(c, m);
			msg_reply(m);
		}
		return;
	}
	const struct image_topic *t = image_find_topic(m->image, slice_str(GROUP_TOPIC));
	uint32_t owner = t ? partition_owner(c->env->hash_seed, &t->id, slice_str(t->name), m->partition, c->init.shard_count) : c->init.idx;
	if (owner != c->init.idx) {
		m->coordinator = c->init.peers[owner];
		loop_post(m->coordinator->loop, &m->msg);
		return;
	}
	bool led = t && shard_leads(c->shard, m->image, t, m->partition);
	struct owned *o = led ? coordinator_find(c, m->partition) : NULL;
	if (!o || !o->loaded) {
		/* a log that is about to be there is like one that is read: whoever is sent elsewhere by NOT_COORDINATOR is sent here again */
		bool soon = o || (t && !led && !c->stopped && shard_leads_soon(c->shard, t, m->partition));
		m->error = soon ? KERR_COORDINATOR_LOAD_IN_PROGRESS : KERR_NOT_COORDINATOR;
		msg_reply(m);
		return;
	}
	if (m->kind >= GROUP_FETCH)
		read_begin(c, m);
	else
		call_core(o, m);
}

void group_post(struct group_msg *m)
{
	m->sender = loop_current();
	list_init(&m->call.link);
	m->msg.deliver = on_msg;
	loop_post(m->coordinator->loop, &m->msg);
}

/* ---- life ---- */

struct coordinator *coordinator_new(const struct coordinator_init *init)
{
	struct coordinator *c = MEM_NEW(struct coordinator);
	c->init = *init;
	c->env = init->env;
	c->loop = init->loop;
	c->shard = init->shard;
	c->due_ms = INT64_MAX;
	list_init(&c->owned);
	list_init(&c->reads);
	list_init(&c->loads);
	list_init(&c->forgotten);
	struct shard_listener ln = {.ctx = c, .led = on_led, .lost = on_lost};
	shard_set_listener(c->shard, &ln);
	return c;
}

void coordinator_free(struct coordinator *c)
{
	struct shard_listener nobody = {0};
	if (!c)
		return;
	shard_set_listener(c->shard, &nobody);
	/* The process is dead, or its loops have ended: nothing comes back from log or produce path, and nobody is left to be answered. */
	while (!list_empty(&c->owned)) {
		struct owned *o = LIST_ENTRY(c->owned.next, struct owned, link);
		list_remove(&o->link);
		load_drop(o->load);
		write_drop_all(c, &o->writes);
		groups_free(o->g);
		mem_free(o);
	}
	while (!list_empty(&c->loads)) /* cancelled ones whose last answer never came are in it too */
		load_drop(CONTAINER_OF(c->loads.next, struct load, link));
	write_drop_all(c, &c->forgotten);
	image_unref(c->image);
	mem_free(c->by_partition);
	mem_free(c);
}

struct coordinator_stats coordinator_stats(const struct coordinator *c)
{
	struct coordinator_stats st = {.groups = c->past};
	LIST_FOR(it, &c->owned) {
		const struct owned *o = LIST_ENTRY(it, struct owned, link);
		st.partitions++;
		if (!o->loaded) {
			st.loading++;
			continue;
		}
		struct groups_stats g = groups_stats(o->g);
		st.groups.groups += g.groups;
		st.groups.members += g.members;
		st.groups.rebalancing += g.rebalancing;
		st.groups.offsets += g.offsets;
		st.groups.bytes += g.bytes;
		st.groups.rebalances += g.rebalances;
		st.groups.expired_offsets += g.expired_offsets;
	}
	return st;
}
