/* segment.c: one segment: names, files, index writing.
 *
 * .index and .timeindex are written in order, without waiting for their completion, and a few dozen entries at a time: one entry a
 * batch would cost a write each. What is not written yet (struct index_tail) counts in index_bytes and time_bytes. Nobody misses
 * it: while the segment is active the index in memory serves readers, and after a crash the files are made anew or their end is
 * found by a scan. They must be complete when the segment is sealed, and durable once the recovery point passes it (sync.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "brokerd/log/log_priv.h"
#include "common/base/str.h"

const char *const segment_suffix[SEG_FILES] = {".log", ".index", ".timeindex", ".txnindex"};

struct segment *segment_new(int64_t base_offset, int64_t now_ms)
{
	struct segment *s = MEM_NEW(struct segment);
	s->refs = 1;
	s->base_offset = s->next_offset = base_offset;
	s->max_timestamp = s->max_timestamp_offset = s->first_timestamp = s->time_last = -1;
	s->created_ms = s->mtime_ms = s->used_ms = now_ms;
	list_init(&s->waiters);
	list_init(&s->dirty_link);
	return s;
}

void segment_unref(struct segment *s)
{
	if (!s || --s->refs > 0)
		return;
	ASSERT(list_empty(&s->waiters));
	writeback_forget(s);
	file_unref(s->log_file);
	file_unref(s->index_file);
	file_unref(s->time_file);
	index_fini(&s->index);
	mem_free(s->tail);
	mem_free(s->aborted);
	buf_unref(s->snapshot);
	mem_free(s);
}

void segment_name(char out[SEGMENT_NAME_BYTES], int64_t base_offset, const char *suffix)
{
	snprintf(out, SEGMENT_NAME_BYTES, "%020" PRId64 "%s", base_offset, suffix);
}

char *path_join(const char *dir, const char *name)
{
	struct str s;
	str_init(&s);
	str_printf(&s, "%s/%s", dir, name);
	return str_steal(&s);
}

char *segment_path(const char *dir, int64_t base_offset, const char *suffix, const char *more)
{
	struct str s;
	str_init(&s);
	str_printf(&s, "%s/%020" PRId64 "%s%s", dir, base_offset, suffix, more);
	return str_steal(&s);
}

bool segment_name_parse(const char *name, const char *suffix, int64_t *ret_base)
{
	int64_t v = 0;

	for (int i = 0; i < 20; i++) {
		if (name[i] < '0' || name[i] > '9')
			return false;
		if (v > (INT64_MAX - (name[i] - '0')) / 10)
			return false;
		v = v * 10 + (name[i] - '0');
	}
	if (strcmp(name + 20, suffix) != 0)
		return false;
	*ret_base = v;
	return true;
}

void segment_add_aborted(struct segment *s, const struct producer_aborted *a)
{
	MEM_GROW(s->aborted, s->aborted_cap, s->aborted_count + 1);
	s->aborted[s->aborted_count++] = *a;
}

void txn_entry_put(uint8_t out[TXN_ENTRY_BYTES], const struct producer_aborted *a)
{
	be16_put(out, 0);
	be64_put(out + 2, (uint64_t)a->producer_id);
	be64_put(out + 10, (uint64_t)a->first_offset);
	be64_put(out + 18, (uint64_t)a->last_offset);
	be64_put(out + 26, (uint64_t)a->last_stable_offset);
}

bool txn_entry_get(const uint8_t in[TXN_ENTRY_BYTES], struct producer_aborted *ret_a)
{
	*ret_a = (struct producer_aborted){(int64_t)be64_get(in + 2), (int64_t)be64_get(in + 10), (int64_t)be64_get(in + 18), (int64_t)be64_get(in + 26)};
	return be16_get(in) == 0 && ret_a->first_offset <= ret_a->last_offset;
}

/* ---- job side ---- */

int segment_create_now(struct env *env, const char *path, struct segment *s)
{
	struct file **files[] = {&s->log_file, &s->index_file, &s->time_file};
	int err = 0;

	for (int i = 0; i < 3 && !err; i++) {
		char *p = segment_path(path, s->base_offset, segment_suffix[i], "");
		err = fs_open(env, p, FS_WRITE | FS_CREATE | FS_TRUNC | FS_MODE(0644), files[i]);
		mem_free(p);
	}
	return err;
}

int segment_unlink_now(struct env *env, const char *path, int64_t base_offset, const char *more)
{
	/* The log goes last: indexes without a log are removed at the next start, a log without indexes costs a scan. */
	static const enum segment_file order[] = {SEG_TXN, SEG_TIME, SEG_INDEX, SEG_LOG};
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(order) && !err; i++) {
		char *p = segment_path(path, base_offset, segment_suffix[order[i]], more);
		err = fs_unlink(env, p);
		if (err == ERR_NOENT)
			err = 0;
		mem_free(p);
	}
	return err;
}

/* Keeps the entries at the front of an index file for which keep() holds. */
static int cut_entries(struct env *env, const char *path, int64_t base, enum segment_file which, size_t entry_bytes,
	bool (*keep)(const uint8_t *entry, int64_t base, int64_t new_end, uint64_t new_bytes), int64_t new_end, uint64_t new_bytes)
{
	char *p = segment_path(path, base, segment_suffix[which], "");
	uint8_t chunk[8160]; /* a multiple of 8, 12 and 34 */
	struct file *f = NULL;
	uint64_t bytes = 0, kept = 0;
	uint8_t prev[8] = {0};
	bool more = true;

	int err = fs_open(env, p, FS_WRITE, &f);
	mem_free(p);
	if (err)
		return err == ERR_NOENT && which == SEG_TXN ? 0 : err;
	err = file_size_now(f, &bytes);
	while (!err && more && kept + entry_bytes <= bytes) {
		size_t got = 0;
		err = file_read_now(f, kept, chunk, sizeof(chunk) / entry_bytes * entry_bytes, &got);
		if (!err && got < entry_bytes)
			break;
		for (size_t at = 0; !err && more && at + entry_bytes <= got; at += entry_bytes) {
			/* Entries grow in their first 8 bytes (offset and position, timestamp); where they do not, one was lost. */
			more = keep(chunk + at, base, new_end, new_bytes) && (which == SEG_TXN || kept == 0 || memcmp(prev, chunk + at, 8) < 0);
			memcpy(prev, chunk + at, 8);
			if (more)
				kept += entry_bytes;
		}
	}
	if (!err && kept != bytes)
		err = file_truncate_now(f, kept);
	file_unref(f);
	return err;
}

static bool keep_index(const uint8_t *e, int64_t base, int64_t new_end, uint64_t new_bytes)
{
	return base + (int64_t)be32_get(e) < new_end && be32_get(e + 4) < new_bytes;
}

static bool keep_time(const uint8_t *e, int64_t base, int64_t new_end, uint64_t new_bytes)
{
	return base + (int64_t)be32_get(e + 8) < new_end;
}

static bool keep_txn(const uint8_t *e, int64_t base, int64_t new_end, uint64_t new_bytes)
{
	return (int64_t)be64_get(e + 18) < new_end;
}

int segment_cut_now(struct env *env, const char *path, int64_t base_offset, struct file *log_file, int64_t new_end, uint64_t new_bytes)
{
	/* Indexes first: what they name must be there. */
	int err = cut_entries(env, path, base_offset, SEG_INDEX, 8, keep_index, new_end, new_bytes);
	if (!err)
		err = cut_entries(env, path, base_offset, SEG_TIME, 12, keep_time, new_end, new_bytes);
	if (!err)
		err = cut_entries(env, path, base_offset, SEG_TXN, TXN_ENTRY_BYTES, keep_txn, new_end, new_bytes);
	if (!err)
		err = file_truncate_now(log_file, new_bytes);
	return err;
}

/* ---- owner side ---- */

struct index_write {
	struct file_op op;
	struct log *log;
};

static void index_written(struct file_op *op)
{
	struct index_write *w = CONTAINER_OF(op, struct index_write, op);
	struct log *log = w->log;
	int err = op->err;

	mem_free(w);
	log->sides--;
	if (err == ERR_NOSPACE)
		log->space_out = true; /* an entry is missing: the cut brings the file in order */
	else if (err)
		log_fail(log, err);
	log_pump(log);
}

static void index_write(struct log *log, struct file *f, uint64_t end, const uint8_t *entries, size_t len)
{
	struct chain chain;

	if (len == 0)
		return;
	chain_init(&chain);
	chain_add_copy(&chain, entries, len);
	struct index_write *w = MEM_NEW(struct index_write);
	w->log = log;
	w->op.done = index_written;
	log->sides++;
	file_append(log->loop, f, &w->op, end - len, &chain);
}

void segment_flush_tail(struct log *log, struct segment *s)
{
	struct index_tail *t = s->tail;

	if (!t)
		return;
	s->tail = NULL; /* writing may end inside of the call */
	index_write(log, s->index_file, s->index_bytes, t->index, t->index_len);
	index_write(log, s->time_file, s->time_bytes, t->time, t->time_len);
	mem_free(t);
}

static struct index_tail *tail_of(struct log *log, struct segment *s)
{
	if (s->tail && (s->tail->index_len == sizeof(s->tail->index) || s->tail->time_len == sizeof(s->tail->time)))
		segment_flush_tail(log, s);
	if (!s->tail)
		s->tail = MEM_NEW(struct index_tail);
	return s->tail;
}

static void time_append(struct log *log, struct segment *s)
{
	if (s->max_timestamp <= s->time_last || !s->time_file)
		return;
	struct index_tail *t = tail_of(log, s);
	be64_put(t->time + t->time_len, (uint64_t)s->max_timestamp);
	be32_put(t->time + t->time_len + 8, (uint32_t)(s->max_timestamp_offset - s->base_offset));
	t->time_len += 12;
	s->time_bytes += 12;
	s->time_last = s->max_timestamp;
}

static void index_append(struct log *log, struct segment *s, uint32_t rel, uint32_t pos)
{
	if (!s->index_file)
		return;
	struct index_tail *t = tail_of(log, s);
	be32_put(t->index + t->index_len, rel);
	be32_put(t->index + t->index_len + 4, pos);
	t->index_len += 8;
	s->index_bytes += 8;
}

void segment_written(struct log *log, struct segment *s, const struct batch *b, uint64_t pos)
{
	int64_t last = batch_last_offset(b);

	if (s->bytes == 0)
		s->first_timestamp = b->max_timestamp;
	if (b->max_timestamp > s->max_timestamp) {
		s->max_timestamp = b->max_timestamp;
		s->max_timestamp_offset = last;
	}
	if (s->bytes_since_index > (uint64_t)log->cfg.index_interval_bytes) {
		index_append(log, s, (uint32_t)(last - s->base_offset), (uint32_t)pos);
		index_add(&s->index, (uint32_t)(last - s->base_offset), (uint32_t)pos);
		time_append(log, s);
		s->bytes_since_index = 0;
	}
	s->bytes_since_index += (uint64_t)b->total_bytes;
	s->bytes = pos + (uint64_t)b->total_bytes;
	s->next_offset = last + 1;
	s->unsynced = true;
}

/* No more appends: its last timestamp goes into the time index. */
void segment_seal(struct log *log, struct segment *s)
{
	time_append(log, s);
	segment_flush_tail(log, s);
	s->unsynced = true;
}

bool segment_index_full(const struct segment *s, const struct log_config *cfg)
{
	uint64_t max = (uint64_t)cfg->segment_index_bytes;
	/* One slot of the time index is kept for the last entry. */
	return s->index_bytes / 8 >= max / 8 || s->time_bytes / 12 + 1 >= max / 12;
}
