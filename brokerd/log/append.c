/* append.c: the append path of a log: checks, offsets, rolling, gathered writes, completion.
 *
 *   log_append -> log_submit     producer state, offsets and epochs move; one piece per segment goes into log->pieces
 *   log_pump (end of the turn)   pieces at the front that need no write complete; the run of pieces of one segment becomes one
 *                                write; only one write is in flight
 *   write_done                   end offset, index and ring move; done() in order, or after the sync when flush.messages asks
 *
 * A new segment is decided on at submission and made (files, producer snapshot, names synced) by a job when everything before it is
 * written: a segment that exists never stands above the end of the one before it, whatever crash comes.
 */
#include <string.h>

#include "brokerd/log/log_priv.h"
#include "brokerd/log/record.h"

#define WRITE_BYTES_MAX ((uint64_t)4 << 20)
#define WRITE_PIECES_MAX 256

/* ---- pieces ---- */

static struct piece *piece_add(struct log *log, struct log_append *a, struct segment *seg, bool last)
{
	struct list *n = list_pop_front(&log->free_pieces);
	struct piece *p = n ? LIST_ENTRY(n, struct piece, link) : MEM_NEW(struct piece);

	*p = (struct piece){.a = a, .seg = seg ? segment_ref(seg) : NULL, .last = last, .next_offset = log->next_offset};
	list_init(&p->link);
	list_push_back(&log->pieces, &p->link);
	return p;
}

static void piece_free(struct log *log, struct piece *p)
{
	segment_unref(p->seg);
	list_push_front(&log->free_pieces, &p->link);
}

static void answer(struct log_append *a)
{
	buf_unref(a->buf);
	a->buf = NULL;
	a->done(a); /* a may be gone */
}

static void refuse(struct log *log, struct log_append *a, int err)
{
	a->err = err;
	a->base_offset = a->last_offset = -1;
	piece_add(log, a, NULL, true);
}

/* ---- rolling ---- */

static bool must_roll(const struct log *log, const struct segment *s, const struct batch *b, int64_t now_ms)
{
	const struct log_config *cfg = &log->cfg;

	if (b->base_offset + b->last_offset_delta - s->base_offset > INT32_MAX)
		return true;
	if (s->bytes_submitted == 0)
		return false;
	if (s->bytes_submitted + (uint64_t)b->total_bytes > (uint64_t)cfg->segment_bytes || segment_index_full(s, cfg))
		return true;
	/* Time since its first batch by timestamps; by the clock if these go back or there are none. */
	int64_t age = s->first_timestamp >= 0 && b->max_timestamp >= 0 ? b->max_timestamp - s->first_timestamp : -1;
	if (age < 0)
		age = now_ms - s->created_ms;
	return age > cfg->segment_ms - log->jitter_ms;
}

static void add_snapshot_offset(struct log_core *c, int64_t offset)
{
	if (c->snapshot_count && c->snapshots[c->snapshot_count - 1] >= offset)
		return;
	MEM_GROW(c->snapshots, c->snapshot_cap, c->snapshot_count + 1);
	c->snapshots[c->snapshot_count++] = offset;
}

/* The segment that takes a batch beginning at `base`; makes a new one (in memory) when it must. */
static struct segment *segment_for(struct log *log, const struct batch *b, int64_t now_ms)
{
	struct segment *s = log_active(log);

	if (!must_roll(log, s, b, now_ms))
		return s;
	log_roll(log, b->base_offset, now_ms);
	return log_active(log);
}

struct segment *log_roll(struct log *log, int64_t base_offset, int64_t now_ms)
{
	struct segment *s = segment_new(base_offset, now_ms);

	log->c.as_closed = false;
	/* The state as of the new base is now; later appends move it on. */
	s->snapshot = producers_snapshot(log->c.producers, &s->snapshot_len);
	MEM_GROW(log->c.segs, log->c.seg_cap, log->c.seg_count + 1);
	log->c.segs[log->c.seg_count++] = s;
	if (log->cfg.segment_jitter_ms > 0)
		log->jitter_ms = (int64_t)env_random_below(log->env, (uint64_t)log->cfg.segment_jitter_ms);
	return s;
}

static void create_run(struct side *s)
{
	char *p = segment_path(s->path, s->base_offset, ".snapshot", "");

	s->err = fs_write_file(s->env, p, s->bytes->data, s->len, 0644);
	/* The job has the segment for itself: nobody uses its files before it is ready. */
	if (!s->err)
		s->err = segment_create_now(s->env, s->path, s->seg);
	/* New names are durable before anything in them counts as synced. */
	if (!s->err)
		s->err = fs_sync_dir(s->env, s->path);
	mem_free(p);
}

static void create_finish(struct side *s)
{
	struct log *log = s->log;

	log->create_busy = false;
	if (s->err == ERR_NOSPACE) {
		log->space_out = true;
		s->err = 0;
		return;
	}
	if (s->err || log->fail_err)
		return;
	s->seg->ready = s->seg->index_loaded = true;
	/* A sync that ran meanwhile took the one before for the active one: its indexes are still to be synced. */
	size_t i = log_find_segment(log, s->base_offset);
	if (i > 0 && i < log->c.seg_count)
		log->c.segs[i - 1]->unsynced = true;
	add_snapshot_offset(&log->c, s->base_offset);
	log_sync_wanted(log); /* of the segment that ended; moves the recovery point to the new base */
}

/* Everything before it is written: its files can be made. */
static void create_start(struct log *log, struct segment *seg)
{
	size_t i = log_find_segment(log, seg->base_offset);

	ASSERT(i < log->c.seg_count && log->c.segs[i] == seg);
	if (i > 0)
		segment_seal(log, log->c.segs[i - 1]);
	struct side *s = MEM_NEW(struct side);
	s->seg = segment_ref(seg);
	s->base_offset = seg->base_offset;
	s->bytes = seg->snapshot;
	s->len = seg->snapshot_len;
	seg->snapshot = NULL;
	s->run = create_run;
	s->finish = create_finish;
	log->create_busy = true;
	log_side_start(log, s, JOB_IO);
}

void log_create_active(struct log *log)
{
	if (!log->create_busy && !log_active(log)->ready)
		create_start(log, log_active(log));
}

/* ---- submission ---- */

/* Producer state and epochs for a batch whose offset is final. */
static void account(struct log *log, struct segment *s, const struct batch *b, struct slice raw)
{
	struct producer_aborted aborted;
	int type = -1;
	int32_t coordinator_epoch = -1;

	if ((b->leader_epoch > epochs_latest(&log->c.epochs) && epochs_assign(&log->c.epochs, b->leader_epoch, b->base_offset)) || log->epochs_unwritten)
		log_write_epochs(log);
	if (batch_is_control(b) && b->producer_id >= 0 && control_parse(raw, b, &type, &coordinator_epoch) != 0)
		type = -1;
	if (producers_apply(log->c.producers, b, type, coordinator_epoch, &aborted)) {
		struct aborted_due *d = MEM_NEW(struct aborted_due);
		d->a = aborted;
		d->seg = segment_ref(s);
		list_init(&d->link);
		list_push_back(&log->aborted_due, &d->link);
	}
	log->next_offset = batch_last_offset(b) + 1;
}

static void submit_own(struct log *log, struct log_append *a)
{
	struct batch *b = &a->batch;
	int64_t first = -1, last = -1, time = -1;
	int err = 0, type = -1;
	int32_t coordinator_epoch = -1;

	if (batch_is_control(b) && control_parse(a->records, b, &type, &coordinator_epoch) != 0)
		type = -1;
	enum producer_verdict v = producers_check(log->c.producers, b, a->origin == LOG_ORIGIN_CLIENT, type >= 0, coordinator_epoch, &first, &last, &time, &err);
	if (v == PRODUCER_REFUSED) {
		refuse(log, a, err);
		return;
	}
	if (v == PRODUCER_DUPLICATE) {
		/* Its original stands in front of it in the queue or is written: order alone makes it wait. */
		a->duplicate = true;
		a->base_offset = first;
		a->last_offset = last;
		a->log_append_time_ms = log->cfg.log_append_time ? time : -1;
		piece_add(log, a, NULL, true)->next_offset = last + 1;
		return;
	}
	if (b->total_bytes > log->cfg.segment_bytes) {
		refuse(log, a, LOG_ERR_OVER_SEGMENT);
		return;
	}
	/* The bytes are ours to patch: whoever shares the buffer reads other parts of it. */
	uint8_t *bytes = a->buf->data + (a->records.ptr - a->buf->data);
	if (a->origin == LOG_ORIGIN_CLIENT && !log->cfg.log_append_time)
		b->max_timestamp = a->max_timestamp;
	batch_assign(bytes, b, log->next_offset, a->leader_epoch, log->cfg.log_append_time, a->now_ms);
	a->base_offset = b->base_offset;
	a->last_offset = batch_last_offset(b);
	a->log_append_time_ms = log->cfg.log_append_time ? a->now_ms : -1;
	struct segment *s = segment_for(log, b, a->now_ms);
	account(log, s, b, a->records);
	if (s->bytes_submitted == 0)
		s->first_timestamp = b->max_timestamp;
	struct piece *p = piece_add(log, a, s, true);
	p->pos = s->bytes_submitted;
	p->len = (size_t)b->total_bytes;
	s->bytes_submitted += (uint64_t)b->total_bytes;
}

/* All batches of a replica's append, before any of them counts. *ret_len: whole batches. */
static int check_replica(const struct log *log, const struct log_append *a, size_t *ret_len)
{
	int64_t expected = log->next_offset;
	size_t at = 0;
	struct batch b;

	while (at < a->records.len) {
		struct slice rest = slice_make(a->records.ptr + at, a->records.len - at);
		int err = batch_parse(rest, &b);
		if (err == LOG_ERR_BAD_MAGIC)
			return err;
		if (err == ERR_RANGE || (!err && (size_t)b.total_bytes > rest.len))
			break; /* cut short by the leader's byte limit: comes again */
		if (err || !batch_crc_ok(slice_make(rest.ptr, (size_t)b.total_bytes)))
			return LOG_ERR_BAD_CRC;
		if (b.base_offset < expected)
			return LOG_ERR_NOT_CONTIGUOUS;
		if (b.last_offset_delta < 0 || b.base_offset > INT64_MAX - b.last_offset_delta - 1)
			return LOG_ERR_BAD_CRC;
		expected = batch_last_offset(&b) + 1;
		at += (size_t)b.total_bytes;
	}
	*ret_len = at;
	return at ? 0 : LOG_ERR_INVALID_RECORD;
}

static void submit_replica(struct log *log, struct log_append *a)
{
	struct piece *p = NULL;
	size_t len;
	struct batch b;

	int err = check_replica(log, a, &len);
	if (err) {
		refuse(log, a, err);
		return;
	}
	a->base_offset = -1;
	for (size_t at = 0; at < len; at += (size_t)b.total_bytes) {
		struct slice rest = slice_make(a->records.ptr + at, len - at);
		err = batch_parse(rest, &b);
		ASSERT(err == 0);
		struct segment *s = segment_for(log, &b, a->now_ms);
		if (!p || p->seg != s) {
			p = piece_add(log, a, s, false);
			p->pos = s->bytes_submitted;
			p->from = at;
		}
		account(log, s, &b, slice_make(rest.ptr, (size_t)b.total_bytes));
		if (s->bytes_submitted == 0)
			s->first_timestamp = b.max_timestamp;
		p->len += (size_t)b.total_bytes;
		p->next_offset = log->next_offset;
		s->bytes_submitted += (uint64_t)b.total_bytes;
		if (a->base_offset < 0)
			a->base_offset = b.base_offset;
	}
	a->last_offset = log->next_offset - 1;
	p->last = true;
}

void log_submit(struct log *log, struct log_append *a)
{
	log->c.as_closed = false;
	if (log->fail_err || atomic_load_explicit(&log->dir->offline, memory_order_relaxed))
		refuse(log, a, LOG_ERR_OFFLINE);
	else if (!log_dir_has_room(log->dir, a->records.len))
		refuse(log, a, ERR_NOSPACE);
	else if (a->origin == LOG_ORIGIN_REPLICA)
		submit_replica(log, a);
	else
		submit_own(log, a);
}

void log_append(struct log *log, struct log_append *a)
{
	loop_assert_owner(log->loop);
	a->err = 0;
	a->duplicate = false;
	a->base_offset = a->last_offset = a->log_append_time_ms = -1;
	a->priv[0] = NULL;
	list_init(&a->link);
	if (log->op || !list_empty(&log->parked))
		list_push_back(&log->parked, &a->link);
	else
		log_submit(log, a);
	loop_defer(log->loop, &log->pump);
}

/* ---- writing ---- */

static void write_done(struct file_op *op);

static void start_write(struct log *log, struct segment *seg)
{
	struct chain chain;
	uint64_t pos = LIST_ENTRY(log->pieces.next, struct piece, link)->pos;
	int count = 0;

	ASSERT(pos == seg->bytes);
	chain_init(&chain);
	while (!list_empty(&log->pieces) && count < WRITE_PIECES_MAX && chain.bytes < WRITE_BYTES_MAX) {
		struct piece *p = LIST_ENTRY(log->pieces.next, struct piece, link);
		if (p->seg && p->seg != seg)
			break;
		list_remove(&p->link);
		list_push_back(&log->writing, &p->link);
		if (p->seg) {
			size_t at = (size_t)(p->a->records.ptr - p->a->buf->data) + p->from;
			chain_add_buf(&chain, buf_ref(p->a->buf), at, p->len);
			count++;
		}
	}
	log->write_busy = true;
	log->write_seg = segment_ref(seg);
	log->write_op.done = write_done;
	file_append(log->loop, seg->log_file, &log->write_op, pos, &chain);
}

static void answer_all(struct list *answers)
{
	struct list *n;

	while ((n = list_pop_front(answers)))
		answer(LIST_ENTRY(n, struct log_append, link));
}

/* Pieces at the front that need no write. Their answers may come back into the log: they run from a list of their own. */
static void complete_idle(struct log *log)
{
	struct list answers;

	list_init(&answers);
	while (!list_empty(&log->pieces)) {
		struct piece *p = LIST_ENTRY(log->pieces.next, struct piece, link);
		if (p->seg)
			break;
		list_remove(&p->link);
		struct log_append *a = p->a;
		piece_free(log, p);
		if (!list_empty(&log->unsynced) && !log->fail_err)
			list_push_back(&log->unsynced, &a->link);
		else
			list_push_back(&answers, &a->link);
	}
	answer_all(&answers);
}

void log_pump(struct log *log)
{
	if (log->freeing)
		return;
	if (log->space_out && !log->write_busy && !log->create_busy) {
		log->space_out = false;
		if (!log->fail_err)
			log_out_of_space(log);
	}
	if (!log->write_busy && !list_empty(&log->pieces)) {
		complete_idle(log);
		if (!log->write_busy && !list_empty(&log->pieces)) {
			struct segment *seg = LIST_ENTRY(log->pieces.next, struct piece, link)->seg;
			if (seg && seg->ready)
				start_write(log, seg);
			else if (seg && !log->create_busy && !log->fail_err)
				create_start(log, seg);
		}
	}
	log_sync_try(log);
	log_op_try(log);
}

/* Recorded aborts whose marker is written: into memory, and to .txnindex in the background. */
static void txn_run(struct side *s)
{
	char *p = segment_path(s->path, s->base_offset, segment_suffix[SEG_TXN], "");
	struct file *f = NULL;

	s->err = fs_open(s->env, p, FS_WRITE | FS_CREATE | FS_MODE(0644), &f);
	mem_free(p);
	if (!s->err)
		s->err = file_write_now(f, s->pos, s->bytes->data, s->len);
	if (!s->err)
		s->err = file_sync_now(f);
	if (!s->err && s->pos == 0)
		s->err = fs_sync_dir(s->env, s->path);
	file_unref(f);
}

static void record_aborted(struct log *log)
{
	while (!list_empty(&log->aborted_due)) {
		struct aborted_due *d = LIST_ENTRY(log->aborted_due.next, struct aborted_due, link);
		if (d->a.last_offset >= log->c.end_offset)
			break;
		list_remove(&d->link);
		struct side *s = MEM_NEW(struct side);
		s->base_offset = d->seg->base_offset;
		s->pos = d->seg->aborted_count * TXN_ENTRY_BYTES;
		s->bytes = buf_new(TXN_ENTRY_BYTES);
		s->len = TXN_ENTRY_BYTES;
		txn_entry_put(s->bytes->data, &d->a);
		s->run = txn_run;
		segment_add_aborted(d->seg, &d->a);
		log_side_start(log, s, JOB_IO);
		segment_unref(d->seg);
		mem_free(d);
	}
}

/* What a written piece changes for readers. */
static void piece_written(struct log *log, struct piece *p)
{
	struct log_append *a = p->a;

	if (a->origin != LOG_ORIGIN_REPLICA) {
		log_ring_push(log, p->seg, &a->batch, p->pos);
		segment_written(log, p->seg, &a->batch, p->pos);
	} else {
		struct batch b;
		for (size_t at = 0; at < p->len; at += (size_t)b.total_bytes) {
			int err = batch_parse(slice_make(a->records.ptr + p->from + at, p->len - at), &b);
			ASSERT(err == 0);
			log_ring_push(log, p->seg, &b, p->pos + at);
			segment_written(log, p->seg, &b, p->pos + at);
		}
	}
	log->c.end_offset = p->next_offset;
}

static bool wants_sync(const struct log *log, const struct log_append *a)
{
	if (log->cfg.flush_messages == INT64_MAX || a->err)
		return false;
	return a->last_offset >= log->c.recovery_point && log->c.end_offset - log->c.recovery_point >= log->cfg.flush_messages;
}

static void write_done(struct file_op *op)
{
	struct log *log = CONTAINER_OF(op, struct log, write_op);
	struct segment *seg = log->write_seg;
	struct list answers, *n;
	bool sync = false;

	log->write_busy = false;
	log->write_seg = NULL;
	list_init(&answers);
	if (op->err && op->err != ERR_NOSPACE && !log->fail_err)
		log_fail(log, op->err);
	if (op->err == ERR_NOSPACE && !log->fail_err) {
		log->space_out = true;
		segment_unref(seg);
		log_pump(log);
		return;
	}
	while ((n = list_pop_front(&log->writing))) {
		struct piece *p = LIST_ENTRY(n, struct piece, link);
		struct log_append *a = p->a;
		bool last = p->last;
		if (log->fail_err && p->seg)
			a->err = LOG_ERR_OFFLINE;
		else if (p->seg)
			piece_written(log, p);
		piece_free(log, p);
		if (!last)
			continue;
		bool wants = !log->fail_err && wants_sync(log, a);
		sync |= wants;
		a->priv[0] = wants ? a : NULL;
		if (!log->fail_err && (wants || !list_empty(&log->unsynced)))
			list_push_back(&log->unsynced, &a->link);
		else
			list_push_back(&answers, &a->link);
	}
	if (!log->fail_err) {
		seg->mtime_ms = env_wall_ms(log->env);
		writeback_wrote(log->writeback, seg);
		record_aborted(log);
		log_event_due(log, EV_END);
		if (sync)
			log_sync_wanted(log);
	}
	segment_unref(seg);
	answer_all(&answers);
	log_pump(log);
}

/* ---- giving up ---- */

static void refuse_list(struct log *log, struct list *pieces, struct list *answers, int err)
{
	struct list *n;

	while ((n = list_pop_front(pieces))) {
		struct piece *p = LIST_ENTRY(n, struct piece, link);
		struct log_append *a = p->a;
		if (p->seg || a->duplicate)
			a->err = a->err ? a->err : err;
		if (p->last)
			list_push_back(answers, &a->link);
		piece_free(log, p);
	}
}

/* Answers everything that was submitted and is not written with err, except the write in flight, whose completion comes. */
void log_refuse_all(struct log *log, int err)
{
	struct list answers, *n;

	list_init(&answers);
	while ((n = list_pop_front(&log->unsynced))) {
		LIST_ENTRY(n, struct log_append, link)->err = err;
		list_push_back(&answers, n);
	}
	if (!log->write_busy)
		refuse_list(log, &log->writing, &answers, err);
	/* Behind a write in flight they stay in line. */
	if (log->write_busy) {
		LIST_FOR (it, &log->pieces) {
			struct piece *p = LIST_ENTRY(it, struct piece, link);
			if (p->seg && !p->a->err)
				p->a->err = err;
			segment_unref(p->seg);
			p->seg = NULL;
		}
	} else {
		refuse_list(log, &log->pieces, &answers, err);
	}
	answer_all(&answers);
	loop_defer(log->loop, &log->pump);
}

/* A write found the disk full: what was submitted is taken back, the file is cut to what was complete (LOG_OP_CUT_BACK). */
void log_out_of_space(struct log *log)
{
	struct list answers;

	list_init(&answers);
	refuse_list(log, &log->writing, &answers, ERR_NOSPACE);
	refuse_list(log, &log->pieces, &answers, ERR_NOSPACE);
	struct list *n;
	while ((n = list_pop_front(&log->aborted_due))) {
		struct aborted_due *d = LIST_ENTRY(n, struct aborted_due, link);
		segment_unref(d->seg);
		mem_free(d);
	}
	/* Before the answers: what they submit waits until the log is cut. */
	log_cut_back(log);
	/* Not before those that are written and wait for their sync. */
	if (!list_empty(&log->unsynced))
		while ((n = list_pop_front(&answers)))
			list_push_back(&log->unsynced, n);
	answer_all(&answers);
}
