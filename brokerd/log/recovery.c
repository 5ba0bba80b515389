/* recovery.c: loads one partition directory; in a job.
 *
 * What is done with a segment is a decision table in two steps (recovery_first, recovery_then):
 *   clean or flushed, indexes plausible        trusted as it is
 *   last segment of a clean log                headers behind the last index entry are read for the end offset
 *   else                                       every batch is read: size, checksum, order of offsets; indexes are made anew
 * The first bad batch at or above the recovery point ends the log: it is cut there and later segments go. Damage below the recovery
 * point is not ours to repair by throwing records away: the partition is refused and its files stay (ERR_CORRUPT).
 * A segment above the recovery point that does not begin where the one before ends (its predecessor lost unsynced bytes without
 * leaving a bad batch) would be a hole in the log: it goes too. On compacted topics holes are legal.
 *
 * Before anything is changed the first message of each segment is looked at: message formats 0 and 1 are not served, and such a
 * directory is left exactly as it is (LOG_ERR_OLD_FORMAT).
 */
#include <stdlib.h>
#include <string.h>

#include "brokerd/log/load.h"
#include "common/base/log.h"

/* ---- the table ---- */

enum recovery_step recovery_first(const struct recovery_case *rc)
{
	/*                         [clean][flushed][indexes_ok][last] */
	static const uint8_t table[2][2][2][2] = {
		[0] = { /* crashed */
			[0] = {{RECOVERY_SCAN, RECOVERY_SCAN}, {RECOVERY_SCAN, RECOVERY_SCAN}},
			[1] = {{RECOVERY_SCAN, RECOVERY_SCAN}, {RECOVERY_TRUST, RECOVERY_SCAN}}, /* the last one may have been written to */
		},
		[1] = { /* clean: all of it is flushed, whatever the checkpoint says */
			[0] = {{RECOVERY_SCAN, RECOVERY_SCAN}, {RECOVERY_TRUST, RECOVERY_TAIL}},
			[1] = {{RECOVERY_SCAN, RECOVERY_SCAN}, {RECOVERY_TRUST, RECOVERY_TAIL}},
		},
	};
	return (enum recovery_step)table[rc->clean][rc->flushed][rc->indexes_ok][rc->last];
}

enum recovery_verdict recovery_then(const struct recovery_case *rc, enum recovery_step step, enum recovery_found found, bool compacted)
{
	bool safe = (rc->clean || rc->flushed) && !rc->last; /* was said to be complete */

	switch (found) {
	case FOUND_OLD_FORMAT:
		return RECOVERY_REFUSE_OLD;
	case FOUND_GAP:
		if (safe || compacted || rc->clean)
			break;
		return RECOVERY_DROP;
	case FOUND_DAMAGED:
		if (step == RECOVERY_TAIL)
			return RECOVERY_RESCAN;
		return safe ? RECOVERY_REFUSE : RECOVERY_CUT;
	case FOUND_WHOLE:
		break;
	}
	return step == RECOVERY_SCAN ? RECOVERY_REBUILD : RECOVERY_KEEP;
}

/* ---- one segment ---- */

static int segment_read_txn(struct loading *ld, struct segment *s, bool *ret_ok)
{
	char *p = segment_path(ld->path, s->base_offset, segment_suffix[SEG_TXN], ""), *bytes = NULL;
	size_t len;

	*ret_ok = true;
	int err = fs_read_file(ld->o->env, p, (size_t)256 << 20, &bytes, &len);
	mem_free(p);
	if (err == ERR_NOENT)
		return 0;
	if (err)
		return err;
	for (size_t at = 0; at + TXN_ENTRY_BYTES <= len && *ret_ok; at += TXN_ENTRY_BYTES) {
		struct producer_aborted a;
		*ret_ok = txn_entry_get((const uint8_t *)bytes + at, &a);
		if (*ret_ok)
			segment_add_aborted(s, &a);
	}
	if (len % TXN_ENTRY_BYTES)
		*ret_ok = false;
	if (!*ret_ok)
		s->aborted_count = 0;
	mem_free(bytes);
	return 0;
}

/* Opens .index or .timeindex and reads its last entry. */
static int tail_entry(struct loading *ld, struct segment *s, enum segment_file which, size_t entry_bytes, uint8_t *entry, uint64_t *ret_bytes, struct file **ret_f)
{
	char *p = segment_path(ld->path, s->base_offset, segment_suffix[which], "");
	size_t got = 0;

	*ret_f = NULL;
	*ret_bytes = 0;
	int err = fs_open(ld->o->env, p, FS_WRITE, ret_f);
	mem_free(p);
	if (err)
		return err;
	err = file_size_now(*ret_f, ret_bytes);
	if (!err && *ret_bytes >= entry_bytes)
		err = file_read_now(*ret_f, *ret_bytes / entry_bytes * entry_bytes - entry_bytes, entry, entry_bytes, &got);
	return err;
}

/* Whether the indexes are there and plausible; sets what they tell. */
static int segment_check_indexes(struct loading *ld, struct segment *s, bool *ret_ok)
{
	uint8_t e[12] = {0};
	bool txn_ok;

	*ret_ok = false;
	int err = segment_read_txn(ld, s, &txn_ok);
	if (err)
		return err;
	err = tail_entry(ld, s, SEG_INDEX, 8, e, &s->index_bytes, &s->index_file);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	bool ok = txn_ok && s->index_bytes % 8 == 0;
	if (s->index_bytes >= 8 && (be32_get(e + 4) >= s->bytes || (be32_get(e) == 0 && be32_get(e + 4) == 0)))
		ok = false;
	err = tail_entry(ld, s, SEG_TIME, 12, e, &s->time_bytes, &s->time_file);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	if (s->time_bytes % 12)
		ok = false;
	if (s->time_bytes >= 12) {
		s->max_timestamp = s->time_last = (int64_t)be64_get(e);
		s->max_timestamp_offset = s->base_offset + (int64_t)be32_get(e + 8);
		if (s->max_timestamp <= 0 && s->max_timestamp_offset == s->base_offset)
			ok = false; /* zeroes: was not trimmed */
	}
	*ret_ok = ok;
	return 0;
}

/* Reads .index into memory; *ret_pos: position of the last entry. */
int segment_load_index_now(struct env *env, const char *path, struct segment *s, uint64_t bytes_max, uint64_t *ret_pos)
{
	char *p = segment_path(path, s->base_offset, segment_suffix[SEG_INDEX], "");
	uint8_t chunk[8192];
	struct file *f = NULL;
	uint64_t at = 0, prev_pos = 0;
	int64_t prev_rel = -1;

	*ret_pos = 0;
	int err = fs_open(env, p, FS_READ, &f);
	mem_free(p);
	for (size_t got = sizeof(chunk); !err && got == sizeof(chunk); at += got) {
		err = file_read_now(f, at, chunk, sizeof(chunk), &got);
		for (size_t i = 0; !err && i + 8 <= got; i += 8) {
			uint32_t rel = be32_get(chunk + i), pos = be32_get(chunk + i + 4);
			/* Entries that do not grow, or point behind the end, are not believed: the scan finds its way without them. */
			if ((int64_t)rel <= prev_rel || pos < prev_pos || pos >= bytes_max)
				continue;
			index_add(&s->index, rel, pos);
			prev_rel = rel;
			prev_pos = pos;
			*ret_pos = pos;
		}
	}
	file_unref(f);
	if (!err)
		s->index_loaded = true;
	return err;
}

static enum recovery_found found_of(int err)
{
	return err == LOG_ERR_OLD_FORMAT ? FOUND_OLD_FORMAT : FOUND_DAMAGED;
}

/* Headers behind the last index entry of the last segment of a clean log. */
static int segment_scan_tail(struct loading *ld, struct segment *s, enum recovery_found *ret_found)
{
	struct scan sc;
	struct batch b;
	uint64_t from, pos;

	int err = segment_load_index_now(ld->o->env, ld->path, s, s->bytes, &from);
	if (err)
		return err;
	s->bytes_since_index = s->bytes - from;
	scan_init(&sc, s->log_file, from, s->bytes, s->base_offset, false);
	while ((err = scan_next(&sc, &b, &pos)) == 1) {
		if (pos == 0)
			s->first_timestamp = b.max_timestamp;
		if (b.max_timestamp > s->max_timestamp) {
			s->max_timestamp = b.max_timestamp;
			s->max_timestamp_offset = batch_last_offset(&b);
		}
		s->next_offset = batch_last_offset(&b) + 1;
	}
	scan_fini(&sc);
	*ret_found = err ? found_of(err) : FOUND_WHOLE;
	if (!err && s->first_timestamp < 0 && s->bytes > 0) {
		scan_init(&sc, s->log_file, 0, s->bytes, s->base_offset, false);
		if (scan_next(&sc, &b, &pos) == 1)
			s->first_timestamp = b.max_timestamp;
		scan_fini(&sc);
	}
	return err == ERR_CORRUPT || err == LOG_ERR_OLD_FORMAT ? 0 : err;
}

static void segment_forget(struct segment *s)
{
	index_fini(&s->index);
	s->index_loaded = false;
	s->max_timestamp = s->max_timestamp_offset = s->first_timestamp = s->time_last = -1;
	s->bytes_since_index = 0;
	s->next_offset = s->base_offset;
}

static void add_time_entry(struct loading *ld, struct segment *s)
{
	if (s->max_timestamp <= s->time_last)
		return;
	uint8_t e[12];
	be64_put(e, (uint64_t)s->max_timestamp);
	be32_put(e + 8, (uint32_t)(s->max_timestamp_offset - s->base_offset));
	str_add_bytes(&ld->time_text, e, sizeof(e));
	s->time_last = s->max_timestamp;
}

/* Every batch; indexes are collected in ld. *ret_good: bytes up to the first bad batch. */
static int segment_scan(struct loading *ld, struct segment *s, bool last, uint64_t *ret_good, enum recovery_found *ret_found)
{
	struct scan sc;
	struct batch b;
	uint64_t pos;

	segment_forget(s);
	str_clear(&ld->index_text);
	str_clear(&ld->time_text);
	scan_init(&sc, s->log_file, 0, s->bytes, s->base_offset, true);
	sc.progress = ld->o->progress_bytes;
	int err;
	while ((err = scan_next(&sc, &b, &pos)) == 1) {
		int64_t end = batch_last_offset(&b);
		if (end - s->base_offset > INT32_MAX) {
			sc.pos = pos;
			err = ERR_CORRUPT;
			break;
		}
		if (pos == 0)
			s->first_timestamp = b.max_timestamp;
		if (b.max_timestamp > s->max_timestamp) {
			s->max_timestamp = b.max_timestamp;
			s->max_timestamp_offset = end;
		}
		if (s->bytes_since_index > (uint64_t)ld->o->config.index_interval_bytes) {
			uint8_t e[8];
			be32_put(e, (uint32_t)(end - s->base_offset));
			be32_put(e + 4, (uint32_t)pos);
			str_add_bytes(&ld->index_text, e, sizeof(e));
			index_add(&s->index, (uint32_t)(end - s->base_offset), (uint32_t)pos);
			add_time_entry(ld, s);
			s->bytes_since_index = 0;
		}
		s->bytes_since_index += (uint64_t)b.total_bytes;
		s->next_offset = end + 1;
		if (b.leader_epoch > epochs_latest(&ld->core->epochs))
			epochs_assign(&ld->core->epochs, b.leader_epoch, b.base_offset);
	}
	*ret_good = sc.pos;
	scan_fini(&sc);
	if (!last)
		add_time_entry(ld, s);
	*ret_found = err ? found_of(err) : FOUND_WHOLE;
	return err == ERR_CORRUPT || err == LOG_ERR_OLD_FORMAT ? 0 : err;
}

static int write_index_file(struct loading *ld, struct segment *s, enum segment_file which, const struct str *text, bool sync, struct file **f, uint64_t *ret_bytes)
{
	char *p = segment_path(ld->path, s->base_offset, segment_suffix[which], "");

	file_unref(*f);
	*f = NULL;
	int err = fs_open(ld->o->env, p, FS_WRITE | FS_CREATE | FS_TRUNC | FS_MODE(0644), f);
	mem_free(p);
	if (!err && text->len)
		err = file_write_now(*f, 0, text->ptr, text->len);
	if (!err && sync)
		err = file_sync_now(*f);
	*ret_bytes = text->len;
	return err;
}

static int segment_write_indexes(struct loading *ld, struct segment *s, bool sync)
{
	int err = write_index_file(ld, s, SEG_INDEX, &ld->index_text, sync, &s->index_file, &s->index_bytes);
	if (!err)
		err = write_index_file(ld, s, SEG_TIME, &ld->time_text, sync, &s->time_file, &s->time_bytes);
	if (!err && sync)
		err = file_sync_now(s->log_file);
	s->index_loaded = true;
	return err;
}

/* Later segments go, from the last one on, so that a crash in between leaves no hole. */
static int drop_from(struct loading *ld, size_t first)
{
	struct log_core *c = ld->core;
	int err = 0;

	while (!err && c->seg_count > first) {
		struct segment *s = c->segs[c->seg_count - 1];
		LOG_AT(ld->o->env->log, LOG_WARN, "log", "recovery.drop_segment", "topic=%s partition=%d base_offset=%lld bytes=%llu",
			LOGQ(ld->o->topic), ld->o->partition, (long long)s->base_offset, (unsigned long long)s->bytes);
		err = segment_unlink_now(ld->o->env, ld->path, s->base_offset, "");
		segment_unref(s);
		c->seg_count--;
		ld->changed = true;
	}
	return err;
}

static int cut_segment(struct loading *ld, size_t i, uint64_t good)
{
	struct segment *s = ld->core->segs[i];

	LOG_AT(ld->o->env->log, LOG_WARN, "log", "recovery.cut", "topic=%s partition=%d segment=%lld end_offset=%lld bytes_cut=%llu",
		LOGQ(ld->o->topic), ld->o->partition, (long long)s->base_offset, (long long)s->next_offset, (unsigned long long)(s->bytes - good));
	int err = drop_from(ld, i + 1);
	if (!err)
		err = file_truncate_now(s->log_file, good);
	s->bytes = good;
	ld->changed = true;
	return err;
}

/* One segment through the table. *ret_stop: what comes after it is gone. */
static int load_segment(struct loading *ld, size_t i, bool *ret_stop)
{
	struct log_core *c = ld->core;
	struct segment *s = c->segs[i];
	bool compacted = ld->o->config.cleanup_compact;
	struct recovery_case rc = {.clean = ld->clean, .last = i + 1 == c->seg_count};
	enum recovery_found found = FOUND_WHOLE;
	uint64_t good = s->bytes;

	rc.flushed = !rc.last && c->segs[i + 1]->base_offset <= ld->recovery_point;
	int err = segment_check_indexes(ld, s, &rc.indexes_ok);
	if (err)
		return err;
	enum recovery_step step = recovery_first(&rc);
	/* A gap counts only behind a segment that was scanned, and only if this one would be scanned too. */
	if (i > 0 && step == RECOVERY_SCAN && ld->prev_scanned && c->segs[i - 1]->next_offset != s->base_offset
	    && recovery_then(&rc, step, FOUND_GAP, compacted) == RECOVERY_DROP) {
		*ret_stop = true;
		return drop_from(ld, i);
	}
	if (step == RECOVERY_TAIL) {
		err = segment_scan_tail(ld, s, &found);
		if (err)
			return err;
		if (recovery_then(&rc, step, found, compacted) == RECOVERY_RESCAN)
			step = RECOVERY_SCAN;
	}
	if (step == RECOVERY_TRUST)
		s->next_offset = c->segs[i + 1]->base_offset;
	if (step == RECOVERY_SCAN)
		err = segment_scan(ld, s, rc.last, &good, &found);
	if (err)
		return err;
	ld->prev_scanned = step == RECOVERY_SCAN;
	switch (recovery_then(&rc, step, found, compacted)) {
	case RECOVERY_REFUSE_OLD:
		return LOG_ERR_OLD_FORMAT;
	case RECOVERY_REFUSE:
		return ERR_CORRUPT;
	case RECOVERY_CUT:
		err = cut_segment(ld, i, good);
		*ret_stop = true;
		break;
	default:
		break;
	}
	if (!err && step == RECOVERY_SCAN) {
		if (ld->rebuilt_from == SIZE_MAX)
			ld->rebuilt_from = i;
		s->aborted_count = 0;
		err = segment_write_indexes(ld, s, i + 1 < c->seg_count || ld->o->config.flush_messages == 1);
	}
	return err;
}

/* The last segment takes appends, the others need no open files. */
static int settle_files(struct loading *ld)
{
	struct log_core *c = ld->core;

	for (size_t i = 0; i + 1 < c->seg_count; i++) {
		struct segment *s = c->segs[i];
		file_unref(s->index_file);
		file_unref(s->time_file);
		file_unref(s->log_file);
		s->index_file = s->time_file = s->log_file = NULL;
		index_fini(&s->index);
		s->index_loaded = false;
	}
	struct segment *s = c->segs[c->seg_count - 1];
	s->bytes_submitted = s->bytes_written_back = s->bytes;
	s->unsynced = !ld->clean && ld->o->config.flush_messages != 1;
	s->ready = true;
	if (s->index_loaded)
		return 0;
	uint64_t pos;
	return segment_load_index_now(ld->o->env, ld->path, s, s->bytes, &pos);
}

int load_segments(struct loading *ld)
{
	bool stop = false;
	int err = 0;

	ld->rebuilt_from = SIZE_MAX;
	for (size_t i = 0; !err && !stop && i < ld->core->seg_count; i++)
		err = load_segment(ld, i, &stop);
	return err ? err : settle_files(ld);
}
