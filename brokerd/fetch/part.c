/* part.c: the owner's side of a fetch: looks at partitions, arms, wakes once, reads (fetch_priv.h).
 *
 * Thread: the owner loop of the part's shard, from fetch_part_send to the token's return.
 * Rules: facts/replication.md 3 (epochs), 4 (divergence), 5 (order of checks, limits), 10 (what ends the waiting).
 */
#include <stdlib.h>

#include "brokerd/fetch/fetch_priv.h"

struct fetch_read {
	struct log_read r;
	struct fetch_part *part;
	struct fetch_entry *entry;
};

static void look_again(void *ctx);
static void park_over(void *ctx);
static void entry_news(struct partition_watch *w, unsigned news);

void fetch_entry_init(struct fetch_entry *e)
{
	e->watch = (struct partition_watch){.news = entry_news, .follower = -1};
	list_init(&e->watch.link);
	list_init(&e->in_link);
	list_init(&e->link);
	list_init(&e->dirty_link);
	list_init(&e->result_link);
	e->sent_hw = e->sent_start = -1;
}

static void token_arrived(struct msg *m);
static void token_home(struct msg *m);

void fetch_part_init(struct fetch_part *p, struct fetch_head *h, struct shard *s)
{
	*p = (struct fetch_part){.head = h, .shard = s, .home = h->home->loop, .follower = -1};
	list_init(&p->fresh);
	list_init(&p->gone);
	list_init(&p->entries);
	list_init(&p->dirty);
	list_init(&p->results);
	deferred_init(&p->look, look_again, p);
	timer_init(&p->park_timer, s->loop, park_over, p);
	arena_init(&p->arena, 0);
}

void fetch_part_fini(struct fetch_part *p)
{
	arena_fini(&p->arena);
}

void fetch_part_send(struct fetch_part *p)
{
	ASSERT(!p->out);
	p->out = true;
	p->used = true;
	p->head->out++;
	p->msg.deliver = token_arrived;
	loop_post(p->shard->loop, &p->msg);
}

/* ---- entries ---- */

static void detach(struct fetch_entry *e)
{
	list_remove(&e->watch.link);
	e->watch.partition = NULL;
	e->watch.at_end = false;
	list_remove(&e->link);
	list_remove(&e->dirty_link);
	e->attached = e->dirty = false;
}

static void mark_dirty(struct fetch_part *part, struct fetch_entry *e)
{
	if (e->dirty)
		return;
	e->dirty = true;
	e->watch.at_end = false;
	list_push_back(&part->dirty, &e->dirty_link);
}

static void mark_clean(struct fetch_entry *e)
{
	e->dirty = false;
	list_remove(&e->dirty_link);
}

static void entry_news(struct partition_watch *w, unsigned news)
{
	struct fetch_entry *e = CONTAINER_OF(w, struct fetch_entry, watch);
	struct fetch_part *part = e->part;
	unsigned wakes = w->follower >= 0 ? NEWS_END | NEWS_START | NEWS_STATE : NEWS_HW | NEWS_STATE;
	/* a consumer sees what is committed: an end that moves is nothing to it */
	if (w->follower < 0 && !(news & ~(unsigned)NEWS_END))
		return;
	mark_dirty(part, e);
	/* Kafka's rule: a high watermark alone does not wake a follower; it travels with the next answer (section 5) */
	if ((news & wakes) && part->armed)
		loop_defer(part->shard->loop, &part->look);
}

static void attach(struct fetch_part *part, struct fetch_entry *e, struct partition *p)
{
	if (e->watch.partition == p)
		return;
	list_remove(&e->watch.link);
	e->watch.partition = p;
	if (p)
		list_push_back(&p->watches, &e->watch.link);
	e->watch.follower = part->follower;
	e->watch.polled_ms = &part->polled_ms;
	e->watch.polled_epoch = &part->polled_epoch;
	e->watch.contact_ms = &part->polled_contact_ms;
}

static void resolve(struct fetch_part *part, struct fetch_entry *e)
{
	struct slice name = slice_make(e->topic, e->topic_len);
	const struct image_topic *t = part->by_id ? image_find_topic_id(part->image, &e->topic_id) : image_find_topic(part->image, name);
	struct partition *p = t ? shard_adopt(part->shard, part->image, t, e->partition) : NULL;
	if (!t) {
		/* not (or no more) in the image of the request; what is here under that name may still be it */
		p = shard_find(part->shard, name, e->partition);
		if (p && part->by_id && !uuid_eq(&p->topic_id, &e->topic_id))
			p = NULL;
	}
	attach(part, e, p);
}

/* ---- looking ---- */

enum look { LOOK_NOTHING, LOOK_NEWS, LOOK_NOW };

static enum look refuse(struct fetch_entry *e, int16_t error)
{
	e->answer.error = error;
	e->answer.high_watermark = e->answer.last_stable_offset = e->answer.log_start_offset = -1;
	return LOOK_NOW;
}

/* What the newest image known here says of the entry's topic: that of the request may be from before a deletion. */
static const struct image_topic *topic_now(const struct fetch_part *part, const struct fetch_entry *e)
{
	const struct image *im = part->shard->image && image_is_older(part->image, part->shard->image) ? part->shard->image : part->image;
	return part->by_id ? image_find_topic_id(im, &e->topic_id) : image_find_topic(im, slice_make(e->topic, e->topic_len));
}

static enum look refuse_moved(struct fetch_part *part, struct fetch_entry *e, const struct partition *p, int16_t error)
{
	if (p && p->core.leader_epoch >= 0) {
		e->answer.leader_id = p->core.leader;
		e->answer.leader_epoch = p->core.leader_epoch;
	} else {
		const struct image_partition *ip = image_topic_partition(topic_now(part, e), e->partition);
		if (ip) {
			e->answer.leader_id = ip->leader;
			e->answer.leader_epoch = ip->leader_epoch;
		}
	}
	return refuse(e, error);
}

static enum look refuse_unhosted(struct fetch_part *part, struct fetch_entry *e)
{
	const struct image_topic *t = topic_now(part, e);
	if (!t)
		return refuse(e, part->by_id ? KERR_UNKNOWN_TOPIC_ID : KERR_UNKNOWN_TOPIC_OR_PARTITION);
	if (!image_topic_partition(t, e->partition))
		return refuse(e, KERR_UNKNOWN_TOPIC_OR_PARTITION);
	struct partition *other = shard_find(part->shard, slice_str(t->name), e->partition);
	if (other && part->by_id && !uuid_is_zero(&other->topic_id) && !uuid_eq(&other->topic_id, &e->topic_id))
		return refuse(e, KERR_INCONSISTENT_TOPIC_ID);
	return refuse_moved(part, e, NULL, KERR_NOT_LEADER_OR_FOLLOWER);
}

/* Waits, for up to wait_ms, for what should come in a moment: a partition that opens; our metadata, when a follower is ahead of us (B7). True: it waits. */
static bool parks(struct fetch_part *part, struct fetch_entry *e, int32_t wait_ms)
{
	int64_t now = loop_now_us(part->shard->loop);
	if (part->nudged)
		return false;
	if (e->park_until_us == 0)
		e->park_until_us = now + (int64_t)wait_ms * 1000;
	if (now >= e->park_until_us)
		return false;
	if (!timer_armed(&part->park_timer) || part->park_timer.due_us > e->park_until_us)
		timer_set_us(&part->park_timer, e->park_until_us - now);
	return true;
}

/* Sections 3 and 5, up to the read: KERR_NONE, an error that is set in the answer, or waiting. */
static bool may_read(struct fetch_part *part, struct fetch_entry *e, struct partition *p, enum look *ret_look)
{
	int16_t error = partition_hosting_error(p);
	if (error == KERR_NOT_LEADER_OR_FOLLOWER && partition_serves_soon(p) && parks(part, e, part->follower < 0 ? partition_soon_ms(p) : PARK_MS)) {
		*ret_look = LOOK_NOTHING;
		return false;
	}
	if (error == KERR_UNKNOWN_TOPIC_OR_PARTITION || error == KERR_NOT_LEADER_OR_FOLLOWER) {
		*ret_look = error == KERR_NOT_LEADER_OR_FOLLOWER ? refuse_moved(part, e, p, error) : refuse_unhosted(part, e);
		return false;
	}
	if (!error) {
		error = replica_check_epoch(&p->core, e->epoch);
		if (error == KERR_UNKNOWN_LEADER_EPOCH && part->follower >= 0) {
			/* B4: whoever was told of a newer epoch tells us that we may be deposed */
			replica_on_higher_epoch(&p->core, part->follower, e->epoch, shard_now_ms(part->shard));
			if (replica_suspended(&p->core))
				shard_watch_proposal(part->shard, p);
			if (parks(part, e, PARK_MS)) {
				*ret_look = LOOK_NOTHING;
				return false;
			}
		}
	}
	bool leader_only = part->follower >= 0 || (part->version < 11 && !part->debug_consumer);
	if (!error && leader_only && !partition_is_leader(p))
		error = KERR_NOT_LEADER_OR_FOLLOWER;
	if (!error && part->follower >= 0) {
		const struct replica_peer *peer = replica_peer_find(&p->core, part->follower);
		if (!peer || !peer->assigned || part->follower == p->core.self)
			error = e->epoch >= 0 ? KERR_UNKNOWN_LEADER_EPOCH : KERR_NOT_LEADER_OR_FOLLOWER;
	}
	if (error == KERR_KAFKA_STORAGE_ERROR && part->version <= 5)
		error = KERR_NOT_LEADER_OR_FOLLOWER;
	if (!error)
		return true;
	*ret_look = error == KERR_NOT_LEADER_OR_FOLLOWER || error == KERR_FENCED_LEADER_EPOCH ? refuse_moved(part, e, p, error) : refuse(e, error);
	return false;
}

/* Section 4. True: error or divergence is set. */
static bool diverges(struct fetch_entry *e, struct partition *p)
{
	int32_t epoch = -1;
	int64_t end = -1;
	if (e->last_epoch < 0)
		return false;
	if (e->last_epoch == p->core.leader_epoch && partition_is_leader(p)) {
		epoch = e->last_epoch;
		end = log_end_offset(p->log);
	} else {
		log_epoch_end(p->log, e->last_epoch, &epoch, &end);
	}
	if (epoch < 0 || end < 0 || e->offset < log_start_offset(p->log)) {
		refuse(e, KERR_OFFSET_OUT_OF_RANGE);
		return true;
	}
	if (epoch < e->last_epoch || end < e->offset) {
		e->answer.diverging_epoch = epoch;
		e->answer.diverging_end = end;
		return true;
	}
	return false;
}

static enum look look_at(struct fetch_part *part, struct fetch_entry *e, bool first)
{
	struct fetch_answer *a = &e->answer;
	*a = (struct fetch_answer){.diverging_epoch = -1, .diverging_end = -1, .leader_id = -1, .leader_epoch = -1};
	if (!e->watch.partition || e->watch.partition->retired)
		resolve(part, e);
	struct partition *p = e->watch.partition;
	if (!p)
		return refuse_unhosted(part, e);
	enum look result = LOOK_NOW;
	if (!may_read(part, e, p, &result))
		return result;
	e->park_until_us = 0;
	a->high_watermark = p->high_watermark;
	a->last_stable_offset = log_last_stable_offset(p->log);
	a->log_start_offset = log_start_offset(p->log);
	if (diverges(e, p))
		return LOOK_NOW;
	int64_t end = log_end_offset(p->log);
	if (e->offset < a->log_start_offset || e->offset > end)
		return refuse(e, KERR_OFFSET_OUT_OF_RANGE);
	/* once a fetch: at the first look, or when what it was parked for has come */
	if ((first || e->parked) && part->follower >= 0 && partition_follower_counts(p, part->follower, part->polled_epoch, part->polled_ms)) {
		struct replica_out out;
		if (replica_on_fetch(&p->core, part->follower, e->offset, e->log_start, part->polled_ms, part->polled_contact_ms, &out))
			partition_do(p, &out);
		a->high_watermark = p->high_watermark;
		a->last_stable_offset = log_last_stable_offset(p->log);
	}
	int64_t bound = part->follower >= 0 ? end : part->read_committed ? a->last_stable_offset : a->high_watermark;
	if (e->offset < bound && e->bytes_max >= 0) {
		a->available = log_available_bytes(p->log, e->offset, bound, (uint64_t)e->bytes_max);
		if (a->available == 0)
			a->available = 1; /* an estimate may not put off what is there */
	}
	/* A follower that still has what was deleted may lead next: it is told at once, and once. */
	if (part->follower >= 0 && e->log_start < a->log_start_offset && e->sent_start != a->log_start_offset)
		return LOOK_NOW;
	if (a->available == 0 && a->high_watermark == e->sent_hw && a->log_start_offset == e->sent_start)
		return LOOK_NOTHING;
	return LOOK_NEWS;
}

static void go_home(struct fetch_part *part, bool complete)
{
	part->here = part->armed = part->reading = false;
	part->complete = complete;
	deferred_cancel(part->shard->loop, &part->look);
	timer_stop(&part->park_timer);
	if (complete && part->once)
		LIST_FOR_SAFE(it, tmp, &part->entries)
			detach(LIST_ENTRY(it, struct fetch_entry, link));
	part->msg.deliver = token_home;
	loop_post(part->home, &part->msg);
}

/* ---- reading ---- */

static void read_over(struct fetch_part *part)
{
	if (--part->reads_left == 0)
		go_home(part, true);
}

static void read_done(struct log_read *r)
{
	struct fetch_read *fr = CONTAINER_OF(r, struct fetch_read, r);
	struct fetch_part *part = fr->part;
	struct fetch_answer *a = &fr->entry->answer;
	if (r->err) {
		int16_t error = shard_log_error(r->err);
		if (r->err == LOG_ERR_OFFLINE && fr->entry->watch.partition)
			partition_dir_failed(fr->entry->watch.partition, r->err);
		refuse(fr->entry, error == KERR_KAFKA_STORAGE_ERROR && part->version <= 5 ? KERR_NOT_LEADER_OR_FOLLOWER : error);
	} else if (r->file && r->len > 0) {
		a->file = r->file;
		a->pos = r->pos;
		a->len = r->len;
		a->generation = r->generation;
		a->aborted = r->aborted;
		a->aborted_count = r->aborted_count;
		part->shard->bytes_out += r->len;
		struct partition *p = fr->entry->watch.partition;
		if (p) {
			p->bytes_out += r->len;
			p->records_out += (uint64_t)(r->next_offset - r->offset);
		}
	} else {
		file_unref(r->file);
	}
	mem_free(fr);
	read_over(part);
}

static void start_read(struct fetch_part *part, struct fetch_entry *e)
{
	struct partition *p = e->watch.partition;
	struct fetch_read *fr = MEM_NEW(struct fetch_read);
	fr->part = part;
	fr->entry = e;
	fr->r.offset = e->offset;
	fr->r.offset_max = part->follower >= 0 ? log_end_offset(p->log) : part->read_committed ? e->answer.last_stable_offset : e->answer.high_watermark;
	fr->r.bytes_max = (uint32_t)((uint64_t)e->bytes_max < part->budget ? (uint64_t)e->bytes_max : part->budget);
	fr->r.whole_first = true; /* versions 0 to 2 could do with a part of a batch, but it has to be converted for them */
	fr->r.want_aborted = part->read_committed;
	fr->r.arena = &part->arena;
	fr->r.done = read_done;
	fr->r.ctx = fr;
	part->reads_left++;
	log_read(p->log, &fr->r);
}

static int by_order(const void *x, const void *y)
{
	const struct fetch_entry *a = *(struct fetch_entry *const *)x, *b = *(struct fetch_entry *const *)y;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Everything that has news becomes a result, in the session's order; ranges are looked up while the byte budget lasts. */
static void collect(struct fetch_part *part)
{
	size_t n = 0, cap = 0;
	struct fetch_entry **list = NULL;
	part->armed = false;
	part->reading = true;
	part->reads_left = 1;
	LIST_FOR(it, &part->dirty) {
		struct fetch_entry *e = LIST_ENTRY(it, struct fetch_entry, dirty_link);
		if (!e->told)
			continue;
		if (e->parked) { /* it waits no more: others have something to say */
			if (partition_serves_soon(e->watch.partition))
				refuse_moved(part, e, e->watch.partition, KERR_NOT_LEADER_OR_FOLLOWER);
			else
				refuse(e, KERR_UNKNOWN_LEADER_EPOCH);
		}
		MEM_GROW(list, cap, n + 1);
		list[n++] = e;
	}
	if (n > 1)
		qsort(list, n, sizeof(*list), by_order);
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) {
		struct fetch_entry *e = list[i];
		bool wants = !e->answer.error && e->answer.diverging_epoch < 0 && e->answer.available > 0;
		list_push_back(&part->results, &e->result_link);
		if (wants && (sum < part->budget || sum == 0)) { /* one batch comes whatever the limit */
			sum += e->answer.available;
			start_read(part, e);
		}
	}
	mem_free(list);
	read_over(part);
}

/* Looks at whatever is dirty; then answers, reports growth, or arms. */
static void look(struct fetch_part *part, bool first)
{
	uint64_t bytes = 0;
	bool immediate = false, parked = false;
	part->armed = false;
	LIST_FOR_SAFE(it, tmp, &part->dirty) {
		struct fetch_entry *e = LIST_ENTRY(it, struct fetch_entry, dirty_link);
		enum look l = look_at(part, e, first);
		e->told = l != LOOK_NOTHING || part->full;
		e->parked = l == LOOK_NOTHING && e->park_until_us > 0;
		parked |= e->parked;
		immediate |= l == LOOK_NOW;
		bytes += e->answer.available;
		if (l != LOOK_NOTHING)
			continue;
		if (!e->parked && part->incremental) {
			/* nothing until something changes; a follower that waits at the end counts as fetching (I5) */
			mark_clean(e);
			e->watch.offset = e->offset;
			e->watch.start = e->log_start;
			e->watch.at_end = part->follower >= 0 && e->watch.partition && partition_is_leader(e->watch.partition) && e->offset >= e->watch.partition->core.end;
		}
	}
	if (immediate || (part->now && !parked) || (bytes >= part->min_bytes && (bytes || !parked))) {
		part->bytes = bytes;
		collect(part);
	} else if (part->any_growth && bytes > part->bytes) {
		part->bytes = bytes;
		go_home(part, false);
	} else {
		part->armed = true;
	}
}

static void look_again(void *ctx)
{
	struct fetch_part *part = ctx;
	if (part->here && part->armed)
		look(part, false);
}

static void park_over(void *ctx)
{
	struct fetch_part *part = ctx;
	if (part->here && part->armed)
		look(part, false);
}

/* ---- token ---- */

static void take_over(struct fetch_part *part)
{
	LIST_FOR(it, &part->gone)
		detach(LIST_ENTRY(it, struct fetch_entry, in_link));
	while (!list_empty(&part->fresh)) {
		struct fetch_entry *e = LIST_ENTRY(part->fresh.next, struct fetch_entry, in_link);
		list_remove(&e->in_link);
		if (!e->attached) {
			e->attached = true;
			list_push_back(&part->entries, &e->link);
		}
		e->park_until_us = 0;
		resolve(part, e);
		mark_dirty(part, e);
	}
}

static void token_arrived(struct msg *m)
{
	struct fetch_part *part = CONTAINER_OF(m, struct fetch_part, msg);
	part->here = true;
	if (part->close) {
		LIST_FOR_SAFE(it, tmp, &part->entries)
			detach(LIST_ENTRY(it, struct fetch_entry, link));
		go_home(part, true);
		return;
	}
	part->nudged = part->now && !part->first;
	take_over(part);
	if (part->first) {
		part->polled_ms = shard_now_ms(part->shard);
		part->polled_epoch = part->follower_epoch;
		part->polled_contact_ms = part->contact_ms;
	}
	look(part, part->first);
}

static void token_home(struct msg *m)
{
	fetch_head_token(CONTAINER_OF(m, struct fetch_part, msg));
}

static void nudge_home(struct msg *m)
{
	fetch_head_nudged(CONTAINER_OF(m, struct fetch_part, nudge));
}

static void nudge_arrived(struct msg *m)
{
	struct fetch_part *part = CONTAINER_OF(m, struct fetch_part, nudge);
	if (part->here && part->armed && part->round == part->nudge_round) {
		part->now = part->nudged = true;
		look(part, false);
	}
	part->nudge.deliver = nudge_home;
	loop_post(part->home, &part->nudge);
}

void fetch_part_nudge(struct fetch_part *p)
{
	if (!p->out || p->nudge_out)
		return;
	p->nudge_out = true;
	p->nudge_round = p->head->round;
	p->head->out++;
	p->nudge.deliver = nudge_arrived;
	loop_post(p->shard->loop, &p->nudge);
}
