/* home.c: heads of fetches on their home loop: sessions (KIP-227 with Kafka's cache rules), polls, and their ends (fetch_priv.h).
 *
 * Thread: the home loop. A session id is (n * homes + home's index): any loop can tell where a session lives and forwards to it.
 * A second request of a session while the first one waits (a follower that got more to fetch) ends the first one early: answers come
 * in order, each for its own request.
 */
#include <limits.h>
#include <xxhash.h>

#include "brokerd/fetch/fetch_priv.h"

#define TABLE_FIRST 16

struct call_state { /* in fetch_call.priv */
	struct msg msg;
	struct fetch_home *home, *origin;
	struct fetch_head *head;
	uint64_t serial;              /* of the origin: tells a call from a later one at the same address */
	bool cancelled;
};
_Static_assert(sizeof(struct call_state) <= sizeof(((struct fetch_call *)0)->priv), "fetch_call.priv is too small");
static struct call_state *state_of(struct fetch_call *c) { return (struct call_state *)(void *)c->priv; }
static struct fetch_call *call_of(struct msg *m) { return (struct fetch_call *)(void *)((char *)m - offsetof(struct fetch_call, priv)); }

static void begin(struct fetch_home *h, struct fetch_call *c);
static void head_check(struct fetch_head *hd);

struct fetch_home *fetch_home_new(struct loop *l, uint32_t idx, struct shard **shards, struct fetch_home **homes, uint32_t count, const struct fetch_homes_config *cfg)
{
	struct fetch_home *h = MEM_NEW(struct fetch_home);
	h->loop = l;
	h->env = l->env;
	h->idx = idx;
	h->count = count;
	h->shards = shards;
	h->homes = homes;
	h->config = *cfg;
	list_init(&h->sessions);
	list_init(&h->live);
	return h;
}

static void head_free(struct fetch_head *hd);

void fetch_home_free(struct fetch_home *h)
{
	if (!h)
		return;
	while (!list_empty(&h->sessions)) {
		struct fetch_head *hd = LIST_ENTRY(h->sessions.next, struct fetch_head, link);
		list_remove(&hd->link);
		head_free(hd);
	}
	mem_free(h);
}

/* ---- entries of a session ---- */

static uint64_t entry_hash(const struct fetch_home *h, const void *key, size_t len, int32_t partition)
{
	return XXH64(key, len, h->env->hash_seed) + (uint64_t)(uint32_t)partition * 0x9e3779b97f4a7c15u;
}

static bool same_entry(const struct fetch_entry *e, bool by_id, struct slice topic, const struct uuid *id, int32_t partition)
{
	if (e->partition != partition)
		return false;
	return by_id ? uuid_eq(&e->topic_id, id) : slice_eq(slice_make(e->topic, e->topic_len), topic);
}

static struct fetch_entry *table_find(struct fetch_head *hd, struct slice topic, const struct uuid *id, int32_t partition, uint64_t *ret_hash)
{
	uint64_t hash = hd->by_id ? entry_hash(hd->home, id->b, 16, partition) : entry_hash(hd->home, topic.ptr, topic.len, partition);
	*ret_hash = hash;
	for (struct fetch_entry *e = hd->table[hash & (hd->table_size - 1)]; e; e = e->hash_next)
		if (e->hash == hash && same_entry(e, hd->by_id, topic, id, partition))
			return e;
	return NULL;
}

static void table_add(struct fetch_head *hd, struct fetch_entry *e, uint64_t hash)
{
	if (hd->entry_count >= hd->table_size) {
		uint32_t n = hd->table_size * 2;
		struct fetch_entry **t = mem_zalloc(n * sizeof(*t));
		for (uint32_t i = 0; i < hd->table_size; i++)
			for (struct fetch_entry *x = hd->table[i], *next; x; x = next) {
				next = x->hash_next;
				x->hash_next = t[x->hash & (n - 1)];
				t[x->hash & (n - 1)] = x;
			}
		mem_free(hd->table);
		hd->table = t;
		hd->table_size = n;
	}
	e->hash = hash;
	e->hash_next = hd->table[hash & (hd->table_size - 1)];
	hd->table[hash & (hd->table_size - 1)] = e;
	hd->entry_count++;
}

static void table_remove(struct fetch_head *hd, struct fetch_entry *e)
{
	struct fetch_entry **slot = &hd->table[e->hash & (hd->table_size - 1)];
	while (*slot != e)
		slot = &(*slot)->hash_next;
	*slot = e->hash_next;
	hd->entry_count--;
}

static void entry_free(struct fetch_entry *e)
{
	mem_free(e->topic);
	mem_free(e);
}

/* ---- heads ---- */

static void timed_out(void *ctx);

static void head_init(struct fetch_head *hd, struct fetch_home *h, struct fetch_part **parts)
{
	*hd = (struct fetch_head){.home = h, .follower = -1, .parts = parts, .part_count = h->count};
	list_init(&hd->link);
	list_init(&hd->orphans);
	timer_init(&hd->timer, h->loop, timed_out, hd);
}

static void head_free(struct fetch_head *hd)
{
	for (uint32_t i = 0; i < hd->table_size; i++)
		for (struct fetch_entry *e = hd->table[i], *next; e; e = next) {
			next = e->hash_next;
			entry_free(e);
		}
	for (uint32_t i = 0; i < hd->part_count; i++)
		if (hd->parts[i]) {
			fetch_part_fini(hd->parts[i]);
			mem_free(hd->parts[i]);
		}
	mem_free(hd->table);
	mem_free(hd->parts);
	mem_free(hd);
}

/* All tokens are home: takes the watches off at the owners, then frees. */
static void head_close(struct fetch_head *hd)
{
	ASSERT(hd->session && !hd->call && hd->out == 0);
	hd->closing = true;
	timer_stop(&hd->timer);
	for (uint32_t i = 0; i < hd->part_count; i++)
		if (hd->parts[i] && hd->parts[i]->used) {
			hd->parts[i]->close = true;
			fetch_part_send(hd->parts[i]);
		}
	if (hd->out == 0)
		head_free(hd);
}

static void session_end(struct fetch_head *hd)
{
	if (hd->closed)
		return;
	hd->closed = true;
	list_remove(&hd->link);
	hd->home->session_count--;
	if (!hd->call)
		head_close(hd);
}

static struct fetch_head *session_find(struct fetch_home *h, int32_t id)
{
	LIST_FOR(it, &h->sessions) {
		struct fetch_head *hd = LIST_ENTRY(it, struct fetch_head, link);
		if (hd->id != id)
			continue;
		/* busy sessions stay in front: the search is short */
		list_remove(&hd->link);
		list_push_front(&h->sessions, &hd->link);
		return hd;
	}
	return NULL;
}

/* Kafka's order of value: followers over consumers, larger over smaller (replication.md 6). */
static bool less_valuable(const struct fetch_head *hd, bool privileged, uint32_t size)
{
	if (hd->privileged != privileged)
		return !hd->privileged;
	return hd->entry_count < size;
}

static bool make_room(struct fetch_home *h, bool privileged, uint32_t size, int64_t now_ms)
{
	int32_t share = h->config.slots_max / (int32_t)h->count;
	if (h->session_count < (uint32_t)(share > 0 ? share : 1))
		return true;
	struct fetch_head *stale = NULL, *cheap = NULL;
	LIST_FOR(it, &h->sessions) {
		struct fetch_head *hd = LIST_ENTRY(it, struct fetch_head, link);
		if (hd->call)
			continue;
		if (!stale || hd->used_ms < stale->used_ms)
			stale = hd;
		/* who lives long enough may be replaced by anybody, a consumer by a follower at any time */
		bool open = now_ms - hd->created_ms > h->config.evict_ms || (privileged && !hd->privileged);
		if (open && (!cheap || less_valuable(hd, cheap->privileged, cheap->entry_count)))
			cheap = hd;
	}
	if (stale && now_ms - stale->used_ms > h->config.evict_ms) {
		session_end(stale);
		return true;
	}
	if (cheap && less_valuable(cheap, privileged, size)) {
		session_end(cheap);
		return true;
	}
	return false;
}

static uint32_t request_size(const struct kp_fetch_request *r)
{
	uint32_t n = 0;
	for (int32_t i = 0; i < r->topics_count; i++)
		n += (uint32_t)r->topics[i].partitions_count;
	return n;
}

static int32_t follower_of(const struct fetch_call *c)
{
	int32_t id = c->version >= 15 ? c->request->replica_state.replica_id : c->request->replica_id;
	return id >= 0 && c->from_broker ? id : -1;
}

static struct fetch_head *session_new(struct fetch_home *h, struct fetch_call *c, uint32_t size)
{
	int64_t now = loop_now_ms(h->loop);
	bool privileged = follower_of(c) >= 0;
	if (!make_room(h, privileged, size, now))
		return NULL;
	struct fetch_head *hd = MEM_NEW(struct fetch_head);
	head_init(hd, h, mem_zalloc(h->count * sizeof(struct fetch_part *)));
	hd->session = true;
	hd->by_id = c->version >= 13;
	hd->privileged = privileged;
	hd->created_ms = hd->used_ms = now;
	hd->table_size = TABLE_FIRST;
	hd->table = mem_zalloc(TABLE_FIRST * sizeof(*hd->table));
	hd->epoch = 1;
	do {
		hd->id = (int32_t)(env_random_below(h->env, (uint64_t)INT32_MAX / h->count) * h->count + h->idx);
	} while (hd->id == 0 || session_find(h, hd->id));
	list_push_back(&h->sessions, &hd->link);
	h->session_count++;
	return hd;
}

static struct fetch_part *part_for(struct fetch_head *hd, uint32_t owner)
{
	struct fetch_part *p = hd->parts[owner];
	if (!p) {
		p = hd->session ? mem_alloc(sizeof(*p)) : arena_alloc(hd->call->arena, sizeof(*p));
		fetch_part_init(p, hd, hd->home->shards[owner]);
		hd->parts[owner] = p;
	}
	return p;
}

/* ---- the entries that a request names ---- */

/* Finds the owner; an entry whose topic id is unknown stays an orphan and is looked up again at each poll. */
static void place(struct fetch_head *hd, struct fetch_call *c, struct fetch_entry *e)
{
	list_remove(&e->in_link);
	if (!e->part) {
		if (hd->by_id) {
			const struct image_topic *t = image_find_topic_id(c->image, &e->topic_id);
			if (!t) {
				list_push_back(&hd->orphans, &e->in_link);
				return;
			}
			if (e->topic_len == 0) {
				size_t len = strlen(t->name);
				if (hd->session)
					mem_free(e->topic);
				e->topic = hd->session ? mem_strdup(t->name) : arena_strndup(c->arena, t->name, len);
				e->topic_len = len;
			}
		}
		uint32_t owner = partition_owner(hd->home->env->hash_seed, &e->topic_id, slice_make(e->topic, e->topic_len), e->partition, hd->home->count);
		e->part = part_for(hd, owner);
	}
	list_push_back(&e->part->fresh, &e->in_link);
}

static void set_params(struct fetch_entry *e, const struct kp_fetch_request_topics_partitions *rp)
{
	e->epoch = rp->current_leader_epoch < 0 ? -1 : rp->current_leader_epoch; /* Fetch alone takes any number below 0 for none */
	e->last_epoch = rp->last_fetched_epoch;
	e->offset = rp->fetch_offset;
	e->log_start = rp->log_start_offset;
	e->bytes_max = rp->partition_max_bytes;
}

static void take_partition(struct fetch_head *hd, struct fetch_call *c, const struct kp_fetch_request_topics *rt,
	const struct kp_fetch_request_topics_partitions *rp)
{
	struct fetch_entry *e = NULL;
	uint64_t hash = 0;
	if (hd->session)
		e = table_find(hd, rt->topic, &rt->topic_id, rp->partition, &hash);
	if (!e) {
		e = hd->session ? MEM_NEW(struct fetch_entry) : arena_zalloc(c->arena, sizeof(*e));
		fetch_entry_init(e);
		e->partition = rp->partition;
		e->topic_id = rt->topic_id;
		e->topic_len = hd->by_id ? 0 : rt->topic.len;
		/* borrowed of the request when it lives as long as we do */
		if (hd->session)
			e->topic = mem_strndup((const char *)rt->topic.ptr, e->topic_len);
		else
			e->topic = arena_strndup(c->arena, (const char *)rt->topic.ptr, e->topic_len);
		e->order = ++hd->order_next;
		if (hd->session)
			table_add(hd, e, hash);
	}
	set_params(e, rp);
	place(hd, c, e);
}

static void take_request(struct fetch_head *hd, struct fetch_call *c)
{
	const struct kp_fetch_request *r = c->request;
	/* orphans of earlier polls: their topic may be known now */
	struct list again;
	list_init(&again);
	while (!list_empty(&hd->orphans)) {
		struct list *it = list_pop_front(&hd->orphans);
		list_push_back(&again, it);
	}
	while (!list_empty(&again))
		place(hd, c, LIST_ENTRY(again.next, struct fetch_entry, in_link));
	for (int32_t i = 0; i < r->topics_count; i++)
		for (int32_t k = 0; k < r->topics[i].partitions_count; k++)
			take_partition(hd, c, &r->topics[i], &r->topics[i].partitions[k]);
	for (int32_t i = 0; hd->session && i < r->forgotten_topics_data_count; i++) {
		const struct kp_fetch_request_forgotten_topics_data *f = &r->forgotten_topics_data[i];
		for (int32_t k = 0; k < f->partitions_count; k++) {
			uint64_t hash;
			struct fetch_entry *e = table_find(hd, f->topic, &f->topic_id, f->partitions[k], &hash);
			if (!e)
				continue;
			table_remove(hd, e);
			list_remove(&e->in_link);
			if (e->part)
				list_push_back(&e->part->gone, &e->in_link);
			else
				entry_free(e);
		}
	}
}

/* ---- polls ---- */

static void start_arrived(struct msg *m)
{
	struct fetch_head *hd = CONTAINER_OF(m, struct fetch_head, start);
	hd->out--;
	head_check(hd);
}

static void send_tokens(struct fetch_head *hd, struct fetch_call *c, bool full, bool now)
{
	uint32_t with_entries = 0;
	for (uint32_t i = 0; i < hd->part_count; i++)
		with_entries += hd->parts[i] != NULL;
	for (uint32_t i = 0; i < hd->part_count; i++) {
		struct fetch_part *p = hd->parts[i];
		if (!p)
			continue;
		p->round = hd->round;
		p->first = true;
		p->now = now;
		p->full = full;
		p->incremental = hd->session && !full;
		p->close = false;
		p->once = !hd->session;
		p->any_growth = with_entries > 1 && hd->min_bytes > 1;
		p->min_bytes = (uint64_t)hd->min_bytes;
		p->budget = (uint64_t)hd->max_bytes;
		p->version = c->version;
		p->follower = hd->follower;
		p->follower_epoch = c->version >= 15 ? c->request->replica_state.replica_epoch : -1;
		p->debug_consumer = c->request->replica_id == -2;
		p->read_committed = hd->follower < 0 && c->request->isolation_level == 1;
		p->by_id = hd->by_id;
		p->image = c->image;
		p->contact_ms = hd->contact_ms;
		p->bytes = p->reported = 0;
		fetch_part_send(p);
	}
}

/* A request of this head begins; all tokens are home. `full`: everything is in the answer, not only what changed. */
static void poll_begin(struct fetch_head *hd, struct fetch_call *c, bool full)
{
	const struct kp_fetch_request *r = c->request;
	int64_t max = c->version >= 3 ? r->max_bytes : INT32_MAX;
	hd->call = c;
	hd->round++;
	hd->satisfied = false;
	hd->follower = follower_of(c);
	hd->max_bytes = max < hd->home->config.fetch_max_bytes ? (max > 0 ? max : 0) : hd->home->config.fetch_max_bytes;
	hd->min_bytes = r->min_bytes < hd->max_bytes ? r->min_bytes : hd->max_bytes;
	hd->used_ms = loop_now_ms(hd->home->loop);
	state_of(c)->head = hd;
	take_request(hd, c);
	hd->cancelled = state_of(c)->cancelled;
	bool now = r->max_wait_ms <= 0 || hd->min_bytes <= 0 || !list_empty(&hd->orphans) || hd->cancelled;
	/* answers never come in the turn of the question */
	hd->out++;
	hd->start.deliver = start_arrived;
	loop_post(hd->home->loop, &hd->start);
	send_tokens(hd, c, full, now);
	if (now || hd->out == 1)
		hd->satisfied = true;
	else
		timer_set_ms(&hd->timer, r->max_wait_ms);
}

static void nudge_all(struct fetch_head *hd)
{
	hd->satisfied = true;
	for (uint32_t i = 0; i < hd->part_count; i++)
		if (hd->parts[i] && hd->parts[i]->out)
			fetch_part_nudge(hd->parts[i]);
}

static void timed_out(void *ctx)
{
	struct fetch_head *hd = ctx;
	if (hd->call)
		nudge_all(hd);
}

/* Entries that were forgotten are off the owners' lists when the token is back. */
static void free_gone(struct fetch_part *p)
{
	while (!list_empty(&p->gone)) {
		struct fetch_entry *e = LIST_ENTRY(p->gone.next, struct fetch_entry, in_link);
		list_remove(&e->in_link);
		entry_free(e);
	}
}

void fetch_head_token(struct fetch_part *p)
{
	struct fetch_head *hd = p->head;
	p->out = false;
	hd->out--;
	free_gone(p);
	if (hd->closing) {
		if (hd->out == 0)
			head_free(hd);
		return;
	}
	if (p->complete) {
		if (!hd->satisfied)
			nudge_all(hd);
	} else {
		/* it has more than before, though not enough alone: min_bytes is summed here (I5) */
		uint64_t sum = 0;
		p->reported = p->bytes;
		for (uint32_t i = 0; i < hd->part_count; i++)
			sum += hd->parts[i] ? hd->parts[i]->reported : 0;
		p->first = false;
		p->now = hd->satisfied;
		if (sum >= (uint64_t)hd->min_bytes)
			p->now = true;
		fetch_part_send(p);
		if (p->now && !hd->satisfied)
			nudge_all(hd);
	}
	head_check(hd);
}

void fetch_head_nudged(struct fetch_part *p)
{
	struct fetch_head *hd = p->head;
	p->nudge_out = false;
	hd->out--;
	if (hd->closing) {
		if (hd->out == 0)
			head_free(hd);
		return;
	}
	/* the token came back and went down again before this nudge was served */
	if (hd->call && hd->satisfied && p->out)
		fetch_part_nudge(p);
	head_check(hd);
}

static void call_returned(struct msg *m)
{
	struct fetch_call *c = call_of(m);
	c->done(c);
}

static void finish_call(struct fetch_home *h, struct fetch_call *c)
{
	struct call_state *st = state_of(c);
	st->head = NULL;
	if (st->origin == h) {
		c->done(c);
		return;
	}
	st->msg.deliver = call_returned;
	loop_post(st->origin->loop, &st->msg);
}

/* Ends the poll when everything is home. */
static void head_check(struct fetch_head *hd)
{
	if (hd->out > 0 || !hd->call)
		return;
	struct fetch_call *c = hd->call;
	struct fetch_home *h = hd->home;
	timer_stop(&hd->timer);
	if (hd->cancelled) {
		fetch_answer_drop(hd);
		kp_fetch_response_init(&c->response);
	} else {
		fetch_answer_build(hd, c);
	}
	hd->contact_ms = loop_now_ms(h->loop);
	hd->used_ms = hd->contact_ms;
	hd->call = NULL;
	struct fetch_call *next = hd->next_call;
	hd->next_call = NULL;
	if (!hd->session) {
		for (uint32_t i = 0; i < hd->part_count; i++)
			if (hd->parts[i])
				fetch_part_fini(hd->parts[i]);
		list_remove(&hd->link);
		finish_call(h, c);
		return;
	}
	/* a session that was emptied by forgets is closed and says so with id 0 */
	if (hd->entry_count == 0 && !hd->closed && c->request->session_epoch > 0) {
		c->response.session_id = 0;
		session_end(hd);
		finish_call(h, c);
	} else if (hd->closed) {
		finish_call(h, c);
		head_close(hd);
	} else {
		finish_call(h, c);
	}
	if (next)
		begin(h, next);
}

/* ---- requests ---- */

static void refused(struct msg *m)
{
	struct fetch_call *c = call_of(m);
	c->done(c);
}

/* Answers with a top-level error, in a turn of its own. */
static void refuse(struct fetch_call *c, int16_t error)
{
	struct call_state *st = state_of(c);
	fetch_answer_error(c, error);
	st->msg.deliver = refused;
	loop_post(st->origin->loop, &st->msg);
}

static void full_fetch(struct fetch_home *h, struct fetch_call *c, bool wants_session)
{
	const struct kp_fetch_request *r = c->request;
	if (r->session_id != 0) {
		struct fetch_head *old = session_find(h, r->session_id);
		if (old)
			session_end(old);
	}
	struct fetch_head *hd = wants_session ? session_new(h, c, request_size(r)) : NULL;
	if (!hd) {
		hd = arena_zalloc(c->arena, sizeof(*hd));
		head_init(hd, h, arena_zalloc(c->arena, h->count * sizeof(struct fetch_part *)));
		hd->by_id = c->version >= 13;
		hd->call = c;
		list_push_back(&h->live, &hd->link);
	}
	poll_begin(hd, c, true);
}

static void incremental_fetch(struct fetch_home *h, struct fetch_call *c)
{
	const struct kp_fetch_request *r = c->request;
	struct fetch_head *hd = session_find(h, r->session_id);
	if (!hd) {
		refuse(c, KERR_FETCH_SESSION_ID_NOT_FOUND);
		return;
	}
	if (hd->epoch != r->session_epoch) {
		refuse(c, KERR_INVALID_FETCH_SESSION_EPOCH);
		return;
	}
	if (hd->by_id != (c->version >= 13)) {
		refuse(c, KERR_FETCH_SESSION_TOPIC_ID_ERROR);
		return;
	}
	if (hd->call) {
		if (hd->next_call) {
			refuse(c, KERR_INVALID_FETCH_SESSION_EPOCH);
			return;
		}
		hd->next_call = c;
		state_of(c)->head = hd;
		nudge_all(hd);
		return;
	}
	hd->epoch = hd->epoch == INT32_MAX ? 1 : hd->epoch + 1;
	poll_begin(hd, c, false);
}

static void begin(struct fetch_home *h, struct fetch_call *c)
{
	const struct kp_fetch_request *r = c->request;
	loop_assert_owner(h->loop);
	int32_t epoch = c->version >= 7 ? r->session_epoch : -1;
	if (epoch == 0 || epoch == -1)
		full_fetch(h, c, epoch == 0);
	else
		incremental_fetch(h, c);
}

static void forwarded(struct msg *m)
{
	struct fetch_call *c = call_of(m);
	begin(state_of(c)->home, c);
}

void fetch_submit(struct fetch_home *h, struct fetch_call *c)
{
	struct call_state *st = state_of(c);
	loop_assert_owner(h->loop);
	*st = (struct call_state){.home = h, .origin = h, .serial = ++h->serial};
	kp_fetch_response_init(&c->response);
	int32_t id = c->version >= 7 ? c->request->session_id : 0;
	uint32_t home = id > 0 ? (uint32_t)id % h->count : h->idx;
	if (home == h->idx) {
		begin(h, c);
		return;
	}
	st->home = h->homes[home];
	st->msg.deliver = forwarded;
	loop_post(st->home->loop, &st->msg);
}

struct cancel_msg {
	struct msg msg;
	struct fetch_home *home, *origin;
	struct fetch_call *call;
	uint64_t serial;
};

static bool same_call(struct fetch_call *a, const struct fetch_call *c, const struct fetch_home *origin, uint64_t serial)
{
	return a && a == c && state_of(a)->origin == origin && state_of(a)->serial == serial;
}

static void cancel_at(struct fetch_head *hd, const struct fetch_call *c)
{
	if (hd->call == c) {
		hd->cancelled = true;
		nudge_all(hd);
	} else if (hd->next_call == c) {
		state_of(hd->next_call)->cancelled = true;
	}
}

/* From another loop: the call is looked for, as it may be over. */
static void cancel_here(struct fetch_home *h, const struct fetch_call *c, const struct fetch_home *origin, uint64_t serial)
{
	struct list *lists[] = {&h->live, &h->sessions};
	for (unsigned i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOR(it, lists[i]) {
			struct fetch_head *hd = LIST_ENTRY(it, struct fetch_head, link);
			if (same_call(hd->call, c, origin, serial) || same_call(hd->next_call, c, origin, serial)) {
				cancel_at(hd, c);
				return;
			}
		}
}

static void cancel_arrived(struct msg *m)
{
	struct cancel_msg *cm = CONTAINER_OF(m, struct cancel_msg, msg);
	cancel_here(cm->home, cm->call, cm->origin, cm->serial);
	mem_free(cm);
}

void fetch_cancel(struct fetch_home *h, struct fetch_call *c)
{
	struct call_state *st = state_of(c);
	if (st->home == h) {
		/* only what is the call's own is touched: the daemon may be going down around us */
		if (st->head)
			cancel_at(st->head, c);
		return;
	}
	/* the call may be over by the time this arrives: it is not looked into before it is found */
	struct cancel_msg *cm = MEM_NEW(struct cancel_msg);
	cm->home = st->home;
	cm->origin = h;
	cm->serial = st->serial;
	cm->call = c;
	cm->msg.deliver = cancel_arrived;
	loop_post(st->home->loop, &cm->msg);
}
