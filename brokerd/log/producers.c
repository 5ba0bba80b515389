/* producers.c: idempotence and transactions of one partition. See producers.h.
 *
 * Rules are Kafka 3.9's (ProducerStateManager, ProducerAppendInfo):
 *   duplicate    same epoch and the first and last sequence of one of the last five batches
 *   in sequence  same epoch: last sequence + 1 (2^31-1 wraps to 0); a new epoch starts at 0; an unknown producer anywhere
 *   fenced       lower epoch
 * Transactions: open ones are kept in order of their first offset; ended ones until the high watermark has passed their marker.
 */
#include "brokerd/log/producers.h"

#define uthash_fatal(msg) check_failed(msg, __FILE__, __LINE__, __func__)
#include "common/base/check.h"
#include <uthash.h>

#include "brokerd/log/record.h"
#include "common/base/crc.h"
#include "common/base/list.h"
#include "common/base/mem.h"

#define SNAPSHOT_HEADER_BYTES 10
#define SNAPSHOT_ENTRY_BYTES 46
#define NO_EPOCH (-1)

struct producer_batch {
	int32_t last_sequence, offset_delta;
	int64_t last_offset, timestamp;
};

struct producer {
	int64_t id;
	int16_t epoch;
	uint8_t head, count; /* window: newest at head */
	int32_t coordinator_epoch;
	int64_t last_timestamp;
	int64_t txn_first_offset; /* -1 none */
	struct producer_batch window[PRODUCER_WINDOW];
	struct list open; /* producers.open while a transaction is open */
	UT_hash_handle hh;
};

/* An ended transaction whose marker is not below the high watermark. */
struct ended {
	struct list link;
	int64_t first_offset, last_offset;
};

struct producers {
	struct producer *table;
	struct list open;  /* by first offset */
	struct list ended;
	int64_t end_offset;
};

struct producers *producers_new(void)
{
	struct producers *ps = MEM_NEW(struct producers);
	list_init(&ps->open);
	list_init(&ps->ended);
	return ps;
}

static void producer_drop(struct producers *ps, struct producer *p)
{
	list_remove(&p->open);
	HASH_DEL(ps->table, p);
	mem_free(p);
}

void producers_free(struct producers *ps)
{
	struct producer *p, *tmp;
	struct list *n;

	if (!ps)
		return;
	HASH_ITER (hh, ps->table, p, tmp)
		producer_drop(ps, p);
	while ((n = list_pop_front(&ps->ended)))
		mem_free(LIST_ENTRY(n, struct ended, link));
	mem_free(ps);
}

static struct producer *producer_find(const struct producers *ps, int64_t id)
{
	struct producer *p;
	HASH_FIND(hh, ps->table, &id, sizeof(id), p);
	return p;
}

static struct producer *producer_make(struct producers *ps, int64_t id)
{
	struct producer *p = MEM_NEW(struct producer);
	p->id = id;
	p->epoch = NO_EPOCH;
	p->coordinator_epoch = -1;
	p->last_timestamp = -1;
	p->txn_first_offset = -1;
	list_init(&p->open);
	HASH_ADD(hh, ps->table, id, sizeof(p->id), p);
	return p;
}

static const struct producer_batch *newest(const struct producer *p)
{
	return p->count ? &p->window[p->head] : NULL;
}

static int32_t first_sequence(const struct producer_batch *w)
{
	int64_t first = (int64_t)w->last_sequence - w->offset_delta;
	return (int32_t)(first < 0 ? first + (int64_t)INT32_MAX + 1 : first);
}

static const struct producer_batch *find_duplicate(const struct producer *p, const struct batch *b)
{
	if (p->epoch != b->producer_epoch)
		return NULL;
	for (uint8_t i = 0; i < p->count; i++) {
		const struct producer_batch *w = &p->window[(p->head + PRODUCER_WINDOW - i) % PRODUCER_WINDOW];
		if (first_sequence(w) == b->base_sequence && w->last_sequence == batch_last_sequence(b))
			return w;
	}
	return NULL;
}

static bool in_sequence(const struct producer *p, const struct batch *b)
{
	if (p->epoch == NO_EPOCH)
		return true;
	if (p->epoch != b->producer_epoch)
		return b->base_sequence == 0;
	const struct producer_batch *w = newest(p);
	int32_t last = w ? w->last_sequence : -1;
	return last == INT32_MAX ? b->base_sequence == 0 : b->base_sequence == last + 1;
}

enum producer_verdict producers_check(const struct producers *ps, const struct batch *b, bool check_sequence, bool marker, int32_t coordinator_epoch,
	int64_t *ret_first, int64_t *ret_last, int64_t *ret_timestamp, int *ret_err)
{
	if (b->producer_id < 0)
		return PRODUCER_OK;
	const struct producer *p = producer_find(ps, b->producer_id);
	if (!p)
		return PRODUCER_OK;
	const struct producer_batch *w = check_sequence && !marker ? find_duplicate(p, b) : NULL;
	if (w) {
		*ret_first = w->last_offset - w->offset_delta;
		*ret_last = w->last_offset;
		*ret_timestamp = w->timestamp;
		return PRODUCER_DUPLICATE;
	}
	if (b->producer_epoch < p->epoch) {
		*ret_err = LOG_ERR_STALE_PRODUCER_EPOCH;
		return PRODUCER_REFUSED;
	}
	if (marker) {
		if (coordinator_epoch < p->coordinator_epoch) {
			*ret_err = LOG_ERR_COORDINATOR_FENCED;
			return PRODUCER_REFUSED;
		}
		return PRODUCER_OK;
	}
	if (check_sequence && !in_sequence(p, b)) {
		*ret_err = LOG_ERR_OUT_OF_ORDER_SEQUENCE;
		return PRODUCER_REFUSED;
	}
	if (p->txn_first_offset >= 0 && !batch_is_transactional(b)) {
		*ret_err = LOG_ERR_TXN_STATE;
		return PRODUCER_REFUSED;
	}
	return PRODUCER_OK;
}

static void set_epoch(struct producer *p, int16_t epoch)
{
	if (p->epoch == epoch)
		return;
	p->epoch = epoch;
	p->count = 0;
}

static void apply_data(struct producers *ps, struct producer *p, const struct batch *b)
{
	set_epoch(p, b->producer_epoch);
	p->head = p->count ? (uint8_t)((p->head + 1) % PRODUCER_WINDOW) : 0;
	if (p->count < PRODUCER_WINDOW)
		p->count++;
	p->window[p->head] = (struct producer_batch){
		.last_sequence = batch_last_sequence(b),
		.offset_delta = b->last_offset_delta,
		.last_offset = batch_last_offset(b),
		.timestamp = b->max_timestamp,
	};
	p->last_timestamp = b->max_timestamp;
	if (batch_is_transactional(b) && p->txn_first_offset < 0) {
		p->txn_first_offset = b->base_offset;
		list_push_back(&ps->open, &p->open);
	}
}

void producers_recall(struct producers *ps, const struct batch *b)
{
	struct producer *p = b->producer_id >= 0 && !batch_is_control(b) ? producer_find(ps, b->producer_id) : NULL;
	if (!p || p->count == 0 || p->epoch != b->producer_epoch || batch_last_offset(b) >= p->window[p->head].last_offset)
		return;
	/* in front of the newest, which moves on */
	struct producer_batch newest_one = p->window[p->head];
	p->window[p->head] = (struct producer_batch){
		.last_sequence = batch_last_sequence(b),
		.offset_delta = b->last_offset_delta,
		.last_offset = batch_last_offset(b),
		.timestamp = b->max_timestamp,
	};
	p->head = (uint8_t)((p->head + 1) % PRODUCER_WINDOW);
	if (p->count < PRODUCER_WINDOW)
		p->count++;
	p->window[p->head] = newest_one;
}

static bool apply_marker(struct producers *ps, struct producer *p, const struct batch *b, int type, int32_t coordinator_epoch, struct producer_aborted *ret_aborted)
{
	int64_t first = p->txn_first_offset;

	set_epoch(p, b->producer_epoch);
	p->coordinator_epoch = coordinator_epoch;
	p->last_timestamp = b->max_timestamp;
	if (first < 0)
		return false;
	p->txn_first_offset = -1;
	list_remove(&p->open);
	struct ended *e = MEM_NEW(struct ended);
	e->first_offset = first;
	e->last_offset = batch_last_offset(b);
	list_push_back(&ps->ended, &e->link);
	if (type != CONTROL_ABORT)
		return false;
	/* The LSO right after this abort: another transaction that is still open, or behind the marker. */
	int64_t lso = e->last_offset + 1;
	if (!list_empty(&ps->open))
		lso = LIST_ENTRY(ps->open.next, struct producer, open)->txn_first_offset;
	*ret_aborted = (struct producer_aborted){p->id, first, e->last_offset, lso};
	return true;
}

bool producers_apply(struct producers *ps, const struct batch *b, int marker_type, int32_t coordinator_epoch, struct producer_aborted *ret_aborted)
{
	bool aborted = false;

	ps->end_offset = batch_last_offset(b) + 1;
	if (b->producer_id < 0)
		return false;
	if (batch_is_control(b) && marker_type < 0)
		return false;
	struct producer *p = producer_find(ps, b->producer_id);
	if (!p)
		p = producer_make(ps, b->producer_id);
	if (batch_is_control(b))
		aborted = apply_marker(ps, p, b, marker_type, coordinator_epoch, ret_aborted);
	else
		apply_data(ps, p, b);
	return aborted;
}

int64_t producers_end(const struct producers *ps)
{
	return ps->end_offset;
}

void producers_set_end(struct producers *ps, int64_t offset)
{
	ps->end_offset = offset;
}

int64_t producers_first_unstable(const struct producers *ps)
{
	int64_t first = INT64_MAX;

	if (!list_empty(&ps->open))
		first = LIST_ENTRY(ps->open.next, struct producer, open)->txn_first_offset;
	LIST_FOR (it, &ps->ended) {
		struct ended *e = LIST_ENTRY(it, struct ended, link);
		if (e->first_offset < first)
			first = e->first_offset;
	}
	return first;
}

void producers_on_high_watermark(struct producers *ps, int64_t hw)
{
	LIST_FOR_SAFE (it, tmp, &ps->ended) {
		struct ended *e = LIST_ENTRY(it, struct ended, link);
		if (e->last_offset >= hw)
			break; /* in order of their markers */
		list_remove(&e->link);
		mem_free(e);
	}
}

static bool expired(const struct producer *p, int64_t now_ms, int64_t expiration_ms)
{
	return p->txn_first_offset < 0 && now_ms - p->last_timestamp >= expiration_ms;
}

void producers_expire(struct producers *ps, int64_t now_ms, int64_t expiration_ms)
{
	struct producer *p, *tmp;

	HASH_ITER (hh, ps->table, p, tmp)
		if (expired(p, now_ms, expiration_ms))
			producer_drop(ps, p);
}

uint32_t producers_count(const struct producers *ps)
{
	return HASH_COUNT(ps->table);
}

uint32_t producers_list(const struct producers *ps, struct producer_info *out, uint32_t cap)
{
	uint32_t n = 0;

	for (const struct producer *p = ps->table; p; p = p->hh.next) {
		const struct producer_batch *w = newest(p);
		if (n < cap)
			out[n] = (struct producer_info){
				.producer_id = p->id, .last_timestamp = p->last_timestamp, .txn_first_offset = p->txn_first_offset,
				.last_offset = w ? w->last_offset : -1, .epoch = p->epoch, .last_sequence = w ? w->last_sequence : -1,
				.coordinator_epoch = p->coordinator_epoch,
			};
		n++;
	}
	return n;
}

/* ---- snapshots ---- */

struct buf *producers_snapshot(const struct producers *ps, size_t *ret_len)
{
	uint32_t count = HASH_COUNT(ps->table);
	size_t len = SNAPSHOT_HEADER_BYTES + (size_t)count * SNAPSHOT_ENTRY_BYTES;
	struct buf *out = buf_new(len);
	uint8_t *at = out->data + SNAPSHOT_HEADER_BYTES;

	be16_put(out->data, 1);
	be32_put(out->data + 6, count);
	for (const struct producer *p = ps->table; p; p = p->hh.next, at += SNAPSHOT_ENTRY_BYTES) {
		const struct producer_batch *w = newest(p);
		be64_put(at, (uint64_t)p->id);
		be16_put(at + 8, (uint16_t)p->epoch);
		be32_put(at + 10, (uint32_t)(w ? w->last_sequence : -1));
		be64_put(at + 14, (uint64_t)(w ? w->last_offset : -1));
		be32_put(at + 22, (uint32_t)(w ? w->offset_delta : 0));
		be64_put(at + 26, (uint64_t)p->last_timestamp);
		be32_put(at + 34, (uint32_t)p->coordinator_epoch);
		be64_put(at + 38, (uint64_t)p->txn_first_offset);
	}
	be32_put(out->data + 2, crc32c(out->data + 6, len - 6));
	*ret_len = len;
	return out;
}

/* Keeps the list of open transactions in order of their first offsets: a snapshot holds producers in any order. */
static void open_insert(struct producers *ps, struct producer *p)
{
	struct list *pos = &ps->open;

	while (pos->prev != &ps->open && LIST_ENTRY(pos->prev, struct producer, open)->txn_first_offset > p->txn_first_offset)
		pos = pos->prev;
	list_insert_before(pos, &p->open);
}

int producers_load(struct producers *ps, struct slice bytes, int64_t end_offset, int64_t now_ms, int64_t expiration_ms)
{
	ASSERT(ps->table == NULL);
	if (bytes.len < SNAPSHOT_HEADER_BYTES || be16_get(bytes.ptr) != 1)
		return ERR_CORRUPT;
	if (crc32c(bytes.ptr + 6, bytes.len - 6) != be32_get(bytes.ptr + 2))
		return ERR_CORRUPT;
	uint32_t count = be32_get(bytes.ptr + 6);
	if ((uint64_t)count * SNAPSHOT_ENTRY_BYTES != bytes.len - SNAPSHOT_HEADER_BYTES)
		return ERR_CORRUPT;
	const uint8_t *at = bytes.ptr + SNAPSHOT_HEADER_BYTES;
	for (uint32_t i = 0; i < count; i++, at += SNAPSHOT_ENTRY_BYTES) {
		int64_t id = (int64_t)be64_get(at);
		if (producer_find(ps, id))
			continue;
		struct producer *p = producer_make(ps, id);
		p->epoch = (int16_t)be16_get(at + 8);
		p->last_timestamp = (int64_t)be64_get(at + 26);
		p->coordinator_epoch = (int32_t)be32_get(at + 34);
		p->txn_first_offset = (int64_t)be64_get(at + 38);
		int32_t last_sequence = (int32_t)be32_get(at + 10);
		if (last_sequence >= 0) {
			p->count = 1;
			p->window[0] = (struct producer_batch){last_sequence, (int32_t)be32_get(at + 22), (int64_t)be64_get(at + 14), p->last_timestamp};
		}
		if (expired(p, now_ms, expiration_ms))
			producer_drop(ps, p);
		else if (p->txn_first_offset >= 0)
			open_insert(ps, p);
	}
	ps->end_offset = end_offset;
	return 0;
}
