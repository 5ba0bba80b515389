/* log.c: one partition's log on its owner loop: opening, numbers, epochs, events, failure. Appends are in append.c, syncs in sync.c. */
#include "brokerd/log/log.h"

#include <stdio.h>
#include <string.h>

#include "brokerd/log/log_priv.h"
#include "common/base/str.h"
#include "common/compress/compress.h"

char log_parked_op_tag;

void log_config_defaults(struct log_config *cfg)
{
	*cfg = (struct log_config){
		.segment_bytes = 1 << 30, .index_interval_bytes = 4096, .segment_index_bytes = 10 << 20, .max_message_bytes = 1048588,
		.segment_ms = INT64_C(604800000), .segment_jitter_ms = 0, .retention_ms = INT64_C(604800000), .retention_bytes = -1,
		.file_delete_delay_ms = 60000, .flush_messages = INT64_MAX, .flush_ms = INT64_MAX,
		.timestamp_before_max_ms = INT64_MAX, .timestamp_after_max_ms = INT64_MAX,
		.producer_id_expiration_ms = INT64_C(86400000), .cleanup_delete = true, .downconversion = true,
		.codec = LOG_CODEC_PRODUCER, .gzip_level = -1, .lz4_level = 9, .zstd_level = 3,
	};
}

int32_t log_config_level(const struct log_config *cfg, int8_t codec)
{
	switch (codec) {
	case CODEC_GZIP: return cfg->gzip_level == -1 ? COMPRESS_LEVEL_DEFAULT : cfg->gzip_level;
	case CODEC_LZ4: return cfg->lz4_level == 9 ? COMPRESS_LEVEL_DEFAULT : cfg->lz4_level; /* Kafka's 9, its default, is the fast one */
	case CODEC_ZSTD: return cfg->zstd_level;
	default: return COMPRESS_LEVEL_DEFAULT;
	}
}

/* ---- opening ---- */

int log_open_now(const struct log_open *o, struct log **ret_log)
{
	struct str path;
	struct log_core core;

	str_init(&path);
	str_printf(&path, "%s/%s-%d", o->dir->path, o->topic, o->partition);
	int err = log_load_now(o, str_cstr(&path), &core);
	if (err) {
		str_fini(&path);
		return err;
	}
	struct log *log = MEM_NEW(struct log);
	log->env = o->env;
	log->dir = o->dir;
	log->topic = mem_strdup(o->topic);
	log->partition = o->partition;
	log->path = str_steal(&path);
	log->topic_id = core.topic_id;
	log->cfg = o->config;
	log->flushed_ms = o->now_ms;
	struct list *lists[] = {&log->parked, &log->pieces, &log->free_pieces, &log->writing, &log->unsynced, &log->aborted_due, &log->sync_waiters,
		&log->sync_running, &log->to_delete, &log->reads_parked, &log->reads_done, &log->free_scans};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_init(lists[i]);
	log->high_watermark = o->high_watermark;
	log_set_core(log, &core);
	if (o->config.segment_jitter_ms > 0)
		log->jitter_ms = (int64_t)env_random_below(o->env, (uint64_t)o->config.segment_jitter_ms);
	*ret_log = log;
	return 0;
}

void log_set_core(struct log *log, struct log_core *c)
{
	log_core_fini(&log->c);
	log->c = *c;
	*c = (struct log_core){0};
	log->next_offset = log->c.end_offset;
	if (log->high_watermark > log->c.end_offset)
		log->high_watermark = log->c.end_offset;
	if (log->high_watermark < log->c.start_offset)
		log->high_watermark = log->c.start_offset;
	producers_on_high_watermark(log->c.producers, log->high_watermark);
	log->epochs_unwritten = false;
	log_ring_reset(log);
}

void log_events_flush(struct log *log)
{
	uint32_t due = log->events_due;

	log->events_due = 0;
	if (due & EV_END && log->ev.on_end_moved)
		log->ev.on_end_moved(log->ev.ctx);
	if (due & EV_START && log->ev.on_start_moved)
		log->ev.on_start_moved(log->ev.ctx);
	if (due & EV_SYNCED && log->ev.on_synced)
		log->ev.on_synced(log->ev.ctx);
	if (due & EV_FAILED && log->ev.on_dir_failed)
		log->ev.on_dir_failed(log->ev.ctx, log->fail_err);
}

static void run_events(void *ctx)
{
	log_events_flush(ctx);
}

void log_event_due(struct log *log, uint32_t ev)
{
	log->events_due |= ev;
	loop_defer(log->loop, &log->events);
}

static void run_pump(void *ctx)
{
	log_pump(ctx);
}

void log_attach(struct log *log, struct loop *owner, struct writeback *wb, const struct log_events *ev)
{
	loop_assert_owner(owner);
	log->loop = owner;
	log->writeback = wb;
	log->ev = *ev;
	deferred_init(&log->pump, run_pump, log);
	deferred_init(&log->events, run_events, log);
	deferred_init(&log->read_pump, log_reads_deliver, log);
}

/* A log that nobody attached (its opener changed its mind) or whose work is over. */
void log_free_now(struct log *log)
{
	struct list *n;

	if (log->loop) {
		deferred_cancel(log->loop, &log->pump);
		deferred_cancel(log->loop, &log->events);
		deferred_cancel(log->loop, &log->read_pump);
	}
	ASSERT(list_empty(&log->pieces) && list_empty(&log->writing) && list_empty(&log->parked) && list_empty(&log->unsynced));
	while ((n = list_pop_front(&log->free_pieces)))
		mem_free(LIST_ENTRY(n, struct piece, link));
	while ((n = list_pop_front(&log->aborted_due))) {
		struct aborted_due *d = LIST_ENTRY(n, struct aborted_due, link);
		segment_unref(d->seg);
		mem_free(d);
	}
	while ((n = list_pop_front(&log->to_delete)))
		log_side_free(LIST_ENTRY(n, struct side, link));
	for (size_t i = 0; i < log->sync_count; i++)
		file_unref(log->sync_files[i]);
	for (size_t i = 0; i < log->sync_seg_count; i++)
		segment_unref(log->sync_segs[i]);
	log_scans_free(log);
	mem_free(log->sync_files);
	mem_free(log->sync_segs);
	mem_free(log->ring);
	log_core_fini(&log->c);
	mem_free(log->topic);
	mem_free(log->path);
	mem_free(log);
}

/* ---- numbers ---- */

const struct log_config *log_get_config(const struct log *log)
{
	return &log->cfg;
}

void log_reconfigure(struct log *log, const struct log_config *cfg)
{
	bool sync_now = cfg->flush_messages == 1 && log->cfg.flush_messages != 1;

	log->cfg = *cfg;
	if (sync_now && log->loop)
		log_sync_wanted(log);
}

int64_t log_start_offset(const struct log *log)
{
	return log->c.start_offset;
}

int64_t log_end_offset(const struct log *log)
{
	return log->c.end_offset;
}

int64_t log_next_offset(const struct log *log)
{
	return log->next_offset;
}

int64_t log_synced_offset(const struct log *log)
{
	return log->c.recovery_point;
}

int64_t log_recovery_point(const struct log *log)
{
	return log->c.recovery_point;
}

uint64_t log_bytes(const struct log *log)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < log->c.seg_count; i++)
		sum += log->c.segs[i]->bytes;
	return sum;
}

uint32_t log_segments(const struct log *log)
{
	return (uint32_t)log->c.seg_count;
}

int64_t log_first_segment_base(const struct log *log)
{
	return log->c.segs[0]->base_offset;
}

struct log_dir *log_get_dir(const struct log *log)
{
	return log->dir;
}

const struct uuid *log_topic_id(const struct log *log)
{
	return &log->topic_id;
}

int64_t log_high_watermark(const struct log *log)
{
	return log->high_watermark;
}

int64_t log_last_stable_offset(const struct log *log)
{
	int64_t first = producers_first_unstable(log->c.producers);

	return first < log->high_watermark ? first : log->high_watermark;
}

void log_set_high_watermark(struct log *log, int64_t high_watermark)
{
	log->high_watermark = high_watermark;
	producers_on_high_watermark(log->c.producers, high_watermark);
}

uint32_t log_producers(const struct log *log, struct log_producer *out, uint32_t cap)
{
	uint32_t count = producers_count(log->c.producers);

	if (cap == 0)
		return count;
	struct producer_info *in = mem_alloc(cap * sizeof(*in));
	uint32_t n = producers_list(log->c.producers, in, cap);
	for (uint32_t i = 0; i < n && i < cap; i++)
		out[i] = (struct log_producer){
			.producer_id = in[i].producer_id, .last_timestamp = in[i].last_timestamp, .current_txn_first_offset = in[i].txn_first_offset,
			.epoch = in[i].epoch, .last_sequence = in[i].last_sequence, .coordinator_epoch = in[i].coordinator_epoch,
			.last_offset = in[i].last_offset,
		};
	mem_free(in);
	return n;
}

/* Segment that holds offset: the last one whose base is not above it. */
size_t log_find_segment(const struct log *log, int64_t offset)
{
	size_t lo = 0, hi = log->c.seg_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (log->c.segs[mid]->base_offset <= offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : log->c.seg_count;
}

/* ---- leader epochs ---- */

int32_t log_latest_epoch(const struct log *log)
{
	return epochs_latest(&log->c.epochs);
}

void log_begin_epoch(struct log *log, int32_t epoch)
{
	/* Written with its first record: an epoch without one is dropped at the next start anyway, and who comes to lead a thousand partitions would
	 * keep every other file job waiting for theirs. */
	if (epochs_assign(&log->c.epochs, epoch, log->next_offset))
		log->epochs_unwritten = true;
}

void log_epoch_end(const struct log *log, int32_t epoch, int32_t *ret_epoch, int64_t *ret_end)
{
	epochs_lookup(&log->c.epochs, epoch, log->c.end_offset, ret_epoch, ret_end);
}

int32_t log_epoch_at(const struct log *log, int64_t offset)
{
	return epochs_at(&log->c.epochs, offset);
}

static void epochs_run(struct side *s)
{
	char *p = path_join(s->path, "leader-epoch-checkpoint");
	s->err = fs_write_file(s->env, p, s->bytes->data, s->len, 0644);
	mem_free(p);
}

static void epochs_finish(struct side *s)
{
	s->log->epochs_busy = false;
	if (s->err == ERR_NOSPACE) {
		/* The old file is whole; nothing counts as synced until the new one could be written. */
		s->err = 0;
		s->log->epochs_dirty = true;
		return;
	}
	if (s->log->epochs_dirty && !s->log->fail_err)
		log_write_epochs(s->log);
}

/* Writes the file in the background, the newest state once; syncs wait for it. */
void log_write_epochs(struct log *log)
{
	struct str text;

	log->epochs_unwritten = false;
	log->epochs_dirty = true;
	if (log->epochs_busy || log->op_started || !log->loop)
		return;
	log->epochs_dirty = false;
	log->epochs_busy = true;
	str_init(&text);
	epochs_format(&log->c.epochs, &text);
	struct side *s = MEM_NEW(struct side);
	s->bytes = buf_copy(str_cstr(&text), text.len);
	s->len = text.len;
	s->run = epochs_run;
	s->finish = epochs_finish;
	str_fini(&text);
	log_side_start(log, s, JOB_IO);
}

/* ---- background jobs ---- */

static void side_run(struct job *j)
{
	struct side *s = CONTAINER_OF(j, struct side, job);
	s->run(s);
}

void log_side_free(struct side *s)
{
	for (size_t i = 0; i < s->count; i++)
		segment_unref(s->segs[i]);
	segment_unref(s->seg);
	mem_free(s->segs);
	mem_free(s->offsets);
	mem_free(s->path);
	buf_unref(s->bytes);
	mem_free(s);
}

static void side_done(struct job *j)
{
	struct side *s = CONTAINER_OF(j, struct side, job);
	struct log *log = s->log;

	log->sides--;
	if (s->finish)
		s->finish(s); /* may deal with the error and clear it */
	if (s->err)
		log_fail(log, s->err);
	if (list_empty(&s->link))
		log_side_free(s);
	log_pump(log);
}

void log_side_start(struct log *log, struct side *s, enum job_class cls)
{
	s->log = log;
	s->env = log->env;
	if (!s->path)
		s->path = mem_strdup(log->path);
	list_init(&s->link);
	s->job.run = side_run;
	s->job.done = side_done;
	log->sides++;
	job_submit(log->loop, &s->job, cls);
}

/* ---- failure ---- */

/* A write, sync or rename failed: the directory is lost for this process (protocol.md G1). */
void log_fail(struct log *log, int err)
{
	if (log->fail_err)
		return;
	log->fail_err = err;
	if (log_dir_fail(log->dir, err))
		log_event_due(log, EV_FAILED);
	log_refuse_all(log, LOG_ERR_OFFLINE);
}
