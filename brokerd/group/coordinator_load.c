/* coordinator_load.c: reading a partition of __consumer_offsets into its groups.
 *
 *   waiting    LOADS_AT_ONCE others of this loop are before it
 *   lookup     the log resolves an offset to a range of a file
 *   reading    the range is read into a buffer of its own
 *   batches    batch by batch, record by record, at most TURN_US and TURN_RECORDS a turn; what is compressed is inflated in pieces first
 *   paused     the end of the log is not there yet, or the log said no: tried again
 *   committing all is replayed, but the high watermark has not passed it: looked at again
 * waiting, paused -> lookup -> reading -> batches -> lookup ... -> committing -> loaded. Cancelled in every stage: nothing more is replayed, the memory goes
 * when what is under way has come back.
 *
 * Why committing: what the log had at the election and no other replica has is lost if this leader is lost in turn. Kafka shows it at once; an
 * offset that was read would be older at the next reading. While the ISR is below min.insync.replicas the high watermark stands still, and so do
 * the groups: neither commits nor assignments could be stored then anyway, and members that consume are not disturbed (4.1).
 *
 * The bytes are our own log's, and still nothing of them is believed: a batch whose checksum or structure is wrong is skipped and said aloud.
 */
#include "brokerd/group/coordinator_priv.h"

#define SUB "group"
#define LOADS_AT_ONCE 4
#define TURN_US 700               /* protocol.md L: at most 1 ms a turn; a step is short */
#define TURN_RECORDS 512          /* also where time stands still while code runs */
#define RECORDS_A_LOOK 16         /* records between looks at the clock */
#define READ_BYTES_MAX (512 << 10) /* so that copying from the page cache stays short */
#define PIECE_BYTES (64 << 10)    /* of inflating */
#define PLAIN_BYTES_MAX (256u << 20)
#define RETRY_MS 1000
#define END_RETRY_MS 2
#define COMMIT_RETRY_MS 5

static void turn(void *ctx);

/* ---- the end ---- */

static void start_waiting(struct coordinator *c)
{
	int running = 0;
	LIST_FOR(it, &c->loads) {
		struct load *l = LIST_ENTRY(it, struct load, link);
		if (l->stage == LOAD_WAITING && l->o) {
			l->stage = LOAD_BATCHES;
			timer_set_us(&l->turn, 0);
		}
		if (l->stage != LOAD_COMMITTING && ++running == LOADS_AT_ONCE)
			return;
	}
}

static void batch_end(struct load *l)
{
	if (l->inflating)
		decompressor_fini(&l->inflater);
	mem_free(l->plain);
	l->plain = NULL;
	l->plain_len = l->plain_cap = 0;
	l->in_batch = l->inflating = false;
}

static void load_free(struct load *l)
{
	list_remove(&l->link);
	batch_end(l);
	file_unref(l->file);
	buf_unref(l->buf);
	mem_free(l);
}

void load_drop(struct load *l)
{
	if (l)
		load_free(l);
}

void load_cancel(struct load *l)
{
	if (!l)
		return;
	struct coordinator *c = l->c;
	l->o->load = NULL;
	l->o = NULL;
	timer_stop(&l->turn);
	if (l->stage != LOAD_LOOKUP && l->stage != LOAD_READING) {
		load_free(l);
		start_waiting(c);
	}
}

/* What was under way came back: true when nobody wants it any more. */
static bool cancelled(struct load *l)
{
	struct coordinator *c = l->c;
	if (l->o)
		return false;
	load_free(l);
	start_waiting(c);
	return true;
}

static void finished(struct load *l)
{
	struct owned *o = l->o;
	struct coordinator *c = l->c;
	LOG_AT(c->env->log, l->corrupt ? LOG_ERROR : LOG_INFO, SUB, "loaded", "partition=%d epoch=%d end=%lld records=%llu bytes=%llu unknown=%llu corrupt=%llu ms=%lld", o->partition,
	       o->epoch, (long long)l->end, (unsigned long long)l->records_read, (unsigned long long)l->bytes, (unsigned long long)l->unknown, (unsigned long long)l->corrupt,
	       (long long)(env_now_us(c->env) - l->began_us) / 1000);
	o->load = NULL;
	load_free(l);
	start_waiting(c);
	coordinator_loaded(o);
}

static void pause_for(struct load *l, int64_t ms)
{
	l->stage = LOAD_PAUSED;
	timer_set_ms(&l->turn, ms);
}

/* It does no work until then: the next one in line begins. */
static void wait_for_commit(struct load *l)
{
	pause_for(l, COMMIT_RETRY_MS);
	l->stage = LOAD_COMMITTING;
	start_waiting(l->c);
}

static void log_said_no(struct load *l, const char *what, int err)
{
	LOG_AT(l->c->env->log, LOG_ERROR, SUB, "load.failed", "partition=%d epoch=%d offset=%lld what=%s err=\"%s\"", l->o->partition, l->o->epoch, (long long)l->next, what, err_str(err));
	pause_for(l, RETRY_MS);
}

/* ---- reading ---- */

static void read_done(struct file_op *op)
{
	struct load *l = CONTAINER_OF(op, struct load, read);
	bool cut = file_generation(l->file) != l->generation;
	if (cancelled(l))
		return;
	file_unref(l->file);
	l->file = NULL;
	if (op->err || cut || op->len < l->len) {
		buf_unref(l->buf);
		l->buf = NULL;
		l->len = 0;
		log_said_no(l, "read", op->err ? op->err : ERR_CORRUPT);
		return;
	}
	l->stage = LOAD_BATCHES;
	turn(l);
}

static void lookup_done(struct log_read *r)
{
	struct load *l = CONTAINER_OF(r, struct load, lookup);
	if (!l->o)
		file_unref(r->file);
	if (cancelled(l))
		return;
	struct log *log = shard_led_log(l->c->shard, slice_str(GROUP_TOPIC), l->o->partition, l->o->epoch);
	if (r->err == LOG_ERR_OFFSET_OUT_OF_RANGE && log && log_start_offset(log) > l->next) {
		l->next = log_start_offset(log); /* retention was faster */
		pause_for(l, 0);
		return;
	}
	if (r->err) {
		log_said_no(l, "lookup", r->err);
		return;
	}
	if (!r->file || r->len == 0) {
		file_unref(r->file);
		pause_for(l, END_RETRY_MS); /* what was sent before the election is still being written */
		return;
	}
	l->file = r->file;
	l->generation = r->generation;
	l->len = (size_t)r->len;
	l->at = 0;
	l->bytes += r->len;
	buf_unref(l->buf);
	l->buf = buf_new(l->len);
	l->stage = LOAD_READING;
	file_read(l->c->loop, l->file, &l->read, r->pos, r->len, l->buf, 0);
}

static void look_up(struct load *l)
{
	struct log *log = shard_led_log(l->c->shard, slice_str(GROUP_TOPIC), l->o->partition, l->o->epoch);
	if (!log)
		return; /* lost: load_cancel is on its way */
	int64_t end = log_end_offset(log), most = l->c->init.load_buffer_bytes;
	if (l->next < log_start_offset(log))
		l->next = log_start_offset(log);
	if (l->next >= l->end) {
		if (shard_led_high_watermark(l->c->shard, slice_str(GROUP_TOPIC), l->o->partition, l->o->epoch) >= l->end)
			finished(l);
		else
			wait_for_commit(l);
		return;
	}
	if (l->next >= end) {
		pause_for(l, END_RETRY_MS);
		return;
	}
	l->stage = LOAD_LOOKUP;
	l->lookup = (struct log_read){
		.offset = l->next, .offset_max = l->end < end ? l->end : end, .bytes_max = (uint32_t)(most < READ_BYTES_MAX ? most : READ_BYTES_MAX), .whole_first = true,
		.done = lookup_done,
	};
	log_read(log, &l->lookup);
}

/* ---- batches ---- */

static void skip_batch(struct load *l, const char *why)
{
	LOG_AT(l->c->env->log, LOG_ERROR, SUB, "load.skipped", "partition=%d offset=%lld bytes=%d why=\"%s\"", l->o->partition, (long long)l->batch.base_offset, l->batch.total_bytes, why);
	l->corrupt++;
	batch_end(l);
}

/* False when the buffer holds no further whole batch. */
static bool next_batch(struct load *l)
{
	struct slice rest = slice_make(l->buf->data + l->at, l->len - l->at);
	int err = rest.len ? batch_parse(rest, &l->batch) : ERR_RANGE;
	if (err == ERR_RANGE || (!err && (size_t)l->batch.total_bytes > rest.len))
		return false;
	if (err) { /* the log made a range of batches of it: cannot be, and cannot be passed over either */
		l->corrupt++;
		l->next = l->lookup.next_offset;
		l->at = l->len;
		return false;
	}
	l->whole = slice_make(rest.ptr, (size_t)l->batch.total_bytes);
	l->at += l->whole.len;
	int64_t first = l->next;
	l->next = batch_last_offset(&l->batch) + 1;
	if (l->next <= first)
		return true; /* replayed before: the range began in front of what was asked */
	l->in_batch = true;
	l->left = l->batch.record_count;
	l->records = cursor_make(slice_make(l->whole.ptr + BATCH_HEADER_BYTES, l->whole.len - BATCH_HEADER_BYTES));
	if (!batch_crc_ok(l->whole)) {
		skip_batch(l, "checksum");
	} else if (batch_is_control(&l->batch)) {
		int type;
		int32_t epoch;
		if (control_parse(l->whole, &l->batch, &type, &epoch) == 0)
			groups_replay_marker(l->o->g, l->batch.producer_id, type == CONTROL_COMMIT, l->batch.base_offset);
		batch_end(l);
	} else if (batch_codec(&l->batch)) {
		if (decompressor_init(&l->inflater, (enum codec)batch_codec(&l->batch), cursor_rest(&l->records), PLAIN_BYTES_MAX)) {
			skip_batch(l, "codec");
			return true;
		}
		l->inflating = true;
	}
	return true;
}

/* One piece; the records can be read once it is whole. */
static void inflate(struct load *l)
{
	size_t got = 0;
	MEM_GROW(l->plain, l->plain_cap, l->plain_len + PIECE_BYTES);
	int err = decompressor_read(&l->inflater, l->plain + l->plain_len, PIECE_BYTES, &got);
	l->plain_len += got;
	if (err) {
		skip_batch(l, "compressed bytes");
	} else if (got < PIECE_BYTES) {
		decompressor_fini(&l->inflater);
		l->inflating = false;
		l->records = cursor_make(slice_make(l->plain, l->plain_len));
	}
}

static void one_record(struct load *l)
{
	struct cursor *c = &l->records;
	struct cursor in = cursor_make(cursor_bytes(c, cursor_varint(c)));
	cursor_u8(&in);
	cursor_varlong(&in);
	int32_t delta = cursor_varint(&in), n = cursor_varint(&in);
	struct slice key = n < 0 ? (struct slice){0} : cursor_bytes(&in, n);
	n = cursor_varint(&in);
	struct slice value = n < 0 ? (struct slice){0} : cursor_bytes(&in, n);
	if (c->bad || in.bad || delta < 0) {
		skip_batch(l, "record");
		return;
	}
	l->records_read++;
	int err = key.ptr ? groups_replay(l->o->g, key, value, l->batch.base_offset + delta, batch_is_transactional(&l->batch) ? l->batch.producer_id : -1) : ERR_CORRUPT;
	if (err == ERR_UNSUPPORTED)
		l->unknown++;
	else if (err)
		l->corrupt++;
	if (--l->left <= 0)
		batch_end(l);
}

static void turn(void *ctx)
{
	struct load *l = ctx;
	int64_t until = env_now_us(l->c->env) + TURN_US;
	l->stage = LOAD_BATCHES;
	for (int n = 0; n < TURN_RECORDS && (n % RECORDS_A_LOOK || env_now_us(l->c->env) < until);) {
		if (l->inflating) {
			inflate(l);
			n += RECORDS_A_LOOK - n % RECORDS_A_LOOK;
		} else if (l->in_batch && l->left > 0) {
			one_record(l);
			n++;
		} else {
			batch_end(l);
			if (!l->buf || !next_batch(l)) {
				look_up(l);
				return;
			}
			n++;
		}
	}
	timer_set_us(&l->turn, 0);
}

void load_start(struct owned *o, int64_t end)
{
	struct coordinator *c = o->c;
	struct load *l = MEM_NEW(struct load);
	l->c = c;
	l->o = o;
	l->end = end;
	l->stage = LOAD_WAITING;
	l->began_us = env_now_us(c->env);
	l->read.done = read_done;
	timer_init(&l->turn, c->loop, turn, l);
	o->load = l;
	list_init(&l->link);
	list_push_back(&c->loads, &l->link);
	start_waiting(c);
}
