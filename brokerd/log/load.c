/* load.c: a partition directory: names, leftovers of interrupted work, small files, producer state; in a job.
 *
 * Order (facts/ondisk.md 6): look for old formats, leftovers, segments (recovery.c), leader epochs, producer state. Nothing is
 * changed before the look for old formats and the check of the topic id are over.
 */
#include "brokerd/log/load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brokerd/log/record.h"
#include "common/base/log.h"

#define SMALL_FILE_BYTES_MAX ((size_t)64 << 20)
#define SNAPSHOT_BYTES_MAX ((size_t)1 << 30)

void log_core_fini(struct log_core *c)
{
	for (size_t i = 0; i < c->seg_count; i++)
		segment_unref(c->segs[i]);
	mem_free(c->segs);
	mem_free(c->snapshots);
	producers_free(c->producers);
	epochs_fini(&c->epochs);
	*c = (struct log_core){0};
}

int snapshot_write_now(struct env *env, const char *path, int64_t offset, const struct producers *ps)
{
	size_t len;
	struct buf *b = producers_snapshot(ps, &len);
	char *p = segment_path(path, offset, ".snapshot", "");
	int err = fs_replace_file(env, p, b->data, len, 0644);

	mem_free(p);
	buf_unref(b);
	return err;
}

int epochs_write_now(struct env *env, const char *path, const struct epochs *e)
{
	struct str text;

	str_init(&text);
	epochs_format(e, &text);
	char *p = path_join(path, "leader-epoch-checkpoint");
	int err = fs_replace_file(env, p, str_cstr(&text), text.len, 0644);
	mem_free(p);
	str_fini(&text);
	return err;
}

int remove_tree_now(struct env *env, const char *path)
{
	struct fs_names names;

	int err = fs_list(env, path, &names);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	for (size_t i = 0; i < names.count && !err; i++) {
		char *p = path_join(path, names.names[i]);
		err = fs_unlink(env, p);
		mem_free(p);
	}
	fs_names_free(&names);
	return err ? err : fs_rmdir(env, path);
}

/* ---- looking before touching ---- */

static int first_message(struct env *env, const char *path, const char *name)
{
	struct scan sc;
	struct batch b;
	struct file *f = NULL;
	uint64_t bytes, pos;
	char *p = path_join(path, name);

	int err = fs_open(env, p, FS_READ, &f);
	mem_free(p);
	if (err)
		return err;
	err = file_size_now(f, &bytes);
	if (!err && bytes > 0) {
		scan_init(&sc, f, 0, bytes, 0, false);
		err = scan_next(&sc, &b, &pos);
		scan_fini(&sc);
		if (err == 1 || err == ERR_CORRUPT)
			err = 0; /* recovery will see */
	}
	file_unref(f);
	return err;
}

static int look_for_old_formats(struct env *env, const char *path, const struct fs_names *names)
{
	int64_t base;
	int err = 0;

	for (size_t i = 0; i < names->count && !err; i++)
		if (segment_name_parse(names->names[i], ".log", &base) || segment_name_parse(names->names[i], ".log.swap", &base))
			err = first_message(env, path, names->names[i]);
	return err;
}

static int read_partition_metadata(const struct log_open *o, const char *path, struct uuid *ret_id)
{
	char *p = path_join(path, "partition.metadata"), *text = NULL;
	size_t len;

	*ret_id = (struct uuid){0};
	int err = fs_read_file(o->env, p, 4096, &text, &len);
	mem_free(p);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	const char *at = strstr(text, "topic_id:");
	if (!at) {
		mem_free(text);
		return ERR_CORRUPT;
	}
	at += strlen("topic_id:");
	at += strspn(at, " \t");
	err = uuid_parse(slice_make(at, strcspn(at, " \t\r\n")), ret_id);
	mem_free(text);
	return err ? ERR_CORRUPT : 0;
}

static int write_partition_metadata(const struct log_open *o, const char *path)
{
	char text[64], id[UUID_TEXT_LEN + 1];

	uuid_format(&o->topic_id, id);
	int n = snprintf(text, sizeof(text), "version: 0\ntopic_id: %s", id);
	char *p = path_join(path, "partition.metadata");
	int err = fs_write_file(o->env, p, text, (size_t)n, 0644);
	mem_free(p);
	return err;
}

static int check_topic_id(const struct log_open *o, const char *path, struct uuid *ret_id)
{
	int err = read_partition_metadata(o, path, ret_id);
	if (err || uuid_is_zero(&o->topic_id))
		return err;
	if (!uuid_is_zero(ret_id))
		return uuid_eq(ret_id, &o->topic_id) ? 0 : ERR_BADVERSION;
	*ret_id = o->topic_id;
	return write_partition_metadata(o, path);
}

/* ---- leftovers (facts/ondisk.md 6.2) ---- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n >= m && strcmp(name + n - m, suffix) == 0;
}

static int unlink_name(struct env *env, const char *path, const char *name)
{
	char *p = path_join(path, name);
	int err = fs_unlink(env, p);
	mem_free(p);
	return err == ERR_NOENT ? 0 : err;
}

static bool leading_offset(const char *name, int64_t *ret_base)
{
	char head[21];

	if (strlen(name) < 20)
		return false;
	memcpy(head, name, 20);
	head[20] = '\0';
	return segment_name_parse(head, "", ret_base);
}

/* End offset of a complete .swap segment. */
static int swap_end(struct env *env, const char *path, const char *name, int64_t base, int64_t *ret_end)
{
	struct scan sc;
	struct batch b;
	struct file *f = NULL;
	uint64_t bytes = 0, pos;
	char *p = path_join(path, name);

	int err = fs_open(env, p, FS_READ, &f);
	mem_free(p);
	if (!err)
		err = file_size_now(f, &bytes);
	*ret_end = base;
	if (!err) {
		scan_init(&sc, f, 0, bytes, base, false);
		while ((err = scan_next(&sc, &b, &pos)) == 1)
			*ret_end = batch_last_offset(&b) + 1;
		scan_fini(&sc);
	}
	file_unref(f);
	return err;
}

/* Removes normal segment files that the .swap ones replace. */
static int remove_replaced(struct env *env, const char *path, const struct fs_names *names, int64_t from, int64_t to)
{
	int64_t base;
	int err = 0;

	for (size_t i = 0; i < names->count && !err; i++)
		for (int k = 0; k < SEG_FILES && !err; k++)
			if (segment_name_parse(names->names[i], segment_suffix[k], &base) && base >= from && base < to)
				err = unlink_name(env, path, names->names[i]);
	return err;
}

static int clear_leftovers(struct env *env, const char *path, const struct fs_names *names, bool *ret_changed)
{
	int64_t base, cleaned_min = INT64_MAX, swap_min = INT64_MAX, swap_end_max = -1;
	int err = 0;

	for (size_t i = 0; i < names->count; i++)
		if (has_suffix(names->names[i], ".cleaned") && leading_offset(names->names[i], &base) && base < cleaned_min)
			cleaned_min = base;
	for (size_t i = 0; i < names->count && !err; i++) {
		const char *n = names->names[i];
		bool swap = has_suffix(n, ".swap") && leading_offset(n, &base);
		if (has_suffix(n, ".deleted") || has_suffix(n, ".cleaned") || has_suffix(n, ".tmp") || (swap && base >= cleaned_min)) {
			*ret_changed = true;
			err = unlink_name(env, path, n);
		} else if (swap && has_suffix(n, ".log.swap")) {
			int64_t end;
			err = swap_end(env, path, n, base, &end);
			if (end <= base)
				end = base + 1;
			swap_min = base < swap_min ? base : swap_min;
			swap_end_max = end > swap_end_max ? end : swap_end_max;
		}
	}
	if (!err && swap_end_max >= 0)
		err = remove_replaced(env, path, names, swap_min, swap_end_max);
	for (size_t i = 0; i < names->count && !err; i++) {
		const char *n = names->names[i];
		if (!has_suffix(n, ".swap") || !leading_offset(n, &base) || base >= cleaned_min)
			continue;
		char *from = path_join(path, n), *to = mem_strndup(from, strlen(from) - strlen(".swap"));
		*ret_changed = true;
		err = fs_rename(env, from, to);
		mem_free(from);
		mem_free(to);
	}
	return err;
}

/* ---- the parts ---- */

static void core_add_segment(struct log_core *c, struct segment *s)
{
	MEM_GROW(c->segs, c->seg_cap, c->seg_count + 1);
	c->segs[c->seg_count++] = s;
}

static int open_segment(struct loading *ld, int64_t base)
{
	struct segment *s = segment_new(base, ld->o->now_ms);
	char *p = segment_path(ld->path, base, segment_suffix[SEG_LOG], "");
	struct fs_stat st;

	core_add_segment(ld->core, s);
	int err = fs_open(ld->o->env, p, FS_WRITE, &s->log_file);
	if (!err)
		err = file_size_now(s->log_file, &s->bytes);
	if (!err)
		err = fs_stat(ld->o->env, p, &st);
	if (!err)
		s->mtime_ms = s->created_ms = st.mtime_ms;
	s->bytes_submitted = s->bytes;
	s->ready = true;
	mem_free(p);
	return err;
}

static void core_add_snapshot(struct log_core *c, int64_t offset)
{
	MEM_GROW(c->snapshots, c->snapshot_cap, c->snapshot_count + 1);
	size_t at = c->snapshot_count++;
	while (at > 0 && c->snapshots[at - 1] > offset) {
		c->snapshots[at] = c->snapshots[at - 1];
		at--;
	}
	c->snapshots[at] = offset;
}

static int open_all(struct loading *ld, const struct fs_names *names)
{
	int64_t base;
	int err = 0;

	for (size_t i = 0; i < names->count && !err; i++) {
		if (segment_name_parse(names->names[i], ".log", &base)) {
			err = open_segment(ld, base);
		} else if (segment_name_parse(names->names[i], ".snapshot", &base)) {
			core_add_snapshot(ld->core, base);
		}
	}
	/* Indexes without a log are what an interrupted deletion left. */
	for (size_t i = 0; i < names->count && !err; i++) {
		bool index = false, has_log = false;
		for (int k = SEG_INDEX; k < SEG_FILES; k++)
			index |= segment_name_parse(names->names[i], segment_suffix[k], &base);
		if (!index)
			continue;
		for (size_t k = 0; k < ld->core->seg_count; k++)
			has_log |= ld->core->segs[k]->base_offset == base;
		if (!has_log)
			err = unlink_name(ld->o->env, ld->path, names->names[i]);
	}
	return err;
}

static int load_epochs(struct loading *ld)
{
	char *p = path_join(ld->path, "leader-epoch-checkpoint"), *text = NULL;
	size_t len;

	int err = fs_read_file(ld->o->env, p, SMALL_FILE_BYTES_MAX, &text, &len);
	mem_free(p);
	if (err)
		return err == ERR_NOENT ? 0 : err;
	err = epochs_parse(&ld->core->epochs, text);
	mem_free(text);
	if (err)
		LOG_AT(ld->o->env->log, LOG_WARN, "log", "epochs.unreadable", "topic=%s partition=%d", LOGQ(ld->o->topic), ld->o->partition);
	return 0;
}

static void drop_snapshot(struct loading *ld, size_t i)
{
	struct log_core *c = ld->core;
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, c->snapshots[i], ".snapshot");
	/* If it stays, the next start tries again. */
	if (unlink_name(ld->o->env, ld->path, name) == 0)
		ld->changed = true;
	memmove(c->snapshots + i, c->snapshots + i + 1, (c->snapshot_count - i - 1) * sizeof(*c->snapshots));
	c->snapshot_count--;
}

/* Keeps the snapshots at segment bases and the newest; those above the end describe what is not there any more. */
static void drop_stray_snapshots(struct loading *ld)
{
	struct log_core *c = ld->core;
	int64_t last_base = c->segs[c->seg_count - 1]->base_offset;

	for (size_t i = c->snapshot_count; i-- > 0;) {
		int64_t at = c->snapshots[i];
		bool keep = at <= c->end_offset && (at > last_base ? i + 1 == c->snapshot_count : false);
		for (size_t k = 0; k < c->seg_count && !keep; k++)
			keep = c->segs[k]->base_offset == at && at <= c->end_offset;
		if (!keep)
			drop_snapshot(ld, i);
	}
}

static int read_snapshot(struct loading *ld, int64_t offset)
{
	char *p = segment_path(ld->path, offset, ".snapshot", ""), *bytes = NULL;
	size_t len;

	int err = fs_read_file(ld->o->env, p, SNAPSHOT_BYTES_MAX, &bytes, &len);
	mem_free(p);
	if (err)
		return err;
	producers_free(ld->core->producers);
	ld->core->producers = producers_new();
	err = producers_load(ld->core->producers, slice_make(bytes, len), offset, ld->o->now_ms, ld->o->config.producer_id_expiration_ms);
	mem_free(bytes);
	return err;
}

static int append_txn(struct loading *ld, struct segment *s, const struct producer_aborted *a)
{
	uint8_t e[TXN_ENTRY_BYTES];
	char *p = segment_path(ld->path, s->base_offset, segment_suffix[SEG_TXN], "");
	struct file *f = NULL;

	int err = fs_open(ld->o->env, p, FS_WRITE | FS_CREATE | FS_MODE(0644), &f);
	mem_free(p);
	if (!err) {
		txn_entry_put(e, a);
		err = file_write_now(f, s->aborted_count * TXN_ENTRY_BYTES, e, sizeof(e));
		segment_add_aborted(s, a);
	}
	file_unref(f);
	return err;
}

/* Feeds one segment's batches from `from` on into the producer state. */
static int replay_segment(struct loading *ld, struct segment *s, int64_t from, bool collect)
{
	struct log_core *c = ld->core;
	struct producer_aborted a;
	struct file *f = NULL;
	struct scan sc;
	struct batch b;
	uint64_t pos;

	char *p = segment_path(ld->path, s->base_offset, segment_suffix[SEG_LOG], "");
	int err = fs_open(ld->o->env, p, FS_READ, &f);
	mem_free(p);
	if (err)
		return err;
	scan_init(&sc, f, 0, s->bytes, s->base_offset, false);
	while ((err = scan_next(&sc, &b, &pos)) == 1) {
		int type = -1;
		int32_t coordinator_epoch = -1;
		if (batch_last_offset(&b) < from)
			continue;
		if (batch_is_control(&b) && b.producer_id >= 0) {
			struct slice raw;
			err = scan_raw(&sc, &b, pos, &raw);
			if (err)
				break;
			/* What is no marker of a transaction (or a damaged one, in a batch that was trusted) changes nothing. */
			if (control_parse(raw, &b, &type, &coordinator_epoch) != 0)
				type = -1;
		}
		if (producers_apply(c->producers, &b, type, coordinator_epoch, &a) && collect) {
			err = append_txn(ld, s, &a);
			if (err)
				break;
		}
	}
	scan_fini(&sc);
	file_unref(f);
	return err == 1 ? 0 : err;
}

/* Removes the .txnindex files that are about to be made anew. */
static int clear_txn_indexes(struct loading *ld)
{
	int err = 0;

	for (size_t i = ld->rebuilt_from; i < ld->core->seg_count && !err; i++) {
		char *p = segment_path(ld->path, ld->core->segs[i]->base_offset, segment_suffix[SEG_TXN], "");
		err = fs_unlink(ld->o->env, p);
		if (err == ERR_NOENT)
			err = 0;
		mem_free(p);
		ld->core->segs[i]->aborted_count = 0;
	}
	return err;
}

#define RECALL_BYTES (1u << 20)

/* A place in the segment, at most RECALL_BYTES and an index interval before its end, where a batch begins. */
static uint64_t recall_from(struct loading *ld, const struct segment *s)
{
	char *p = segment_path(ld->path, s->base_offset, segment_suffix[SEG_INDEX], ""), *bytes = NULL;
	size_t len = 0;
	uint64_t from = 0;

	if (s->bytes > RECALL_BYTES && fs_read_file(ld->o->env, p, SNAPSHOT_BYTES_MAX, &bytes, &len) == 0) {
		for (size_t at = 0; at + 8 <= len; at += 8) {
			uint64_t pos = be32_get(bytes + at + 4);
			if (pos <= from || pos > s->bytes - RECALL_BYTES)
				break;
			from = pos;
		}
	}
	mem_free(bytes);
	mem_free(p);
	return from;
}

static void recall_segment(struct loading *ld, const struct segment *s, int64_t below)
{
	struct file *f = NULL;
	struct scan sc;
	struct batch b;
	uint64_t pos;

	char *p = segment_path(ld->path, s->base_offset, segment_suffix[SEG_LOG], "");
	int err = fs_open(ld->o->env, p, FS_READ, &f);
	mem_free(p);
	if (err)
		return;
	scan_init(&sc, f, recall_from(ld, s), s->bytes, s->base_offset, false);
	while (scan_next(&sc, &b, &pos) == 1 && batch_last_offset(&b) < below)
		producers_recall(ld->core->producers, &b);
	scan_fini(&sc);
	file_unref(f);
}

/* A snapshot holds the last batch of each producer only. A retry of one before it, sent to us under a former leader or before we
 * stopped, is to be recognized all the same: the newest batches below the snapshot fill the windows again. Best effort: what is
 * unacknowledged is near the end. */
static void recall_windows(struct loading *ld, int64_t below)
{
	struct log_core *c = ld->core;
	size_t last = c->seg_count;

	while (last > 0 && c->segs[last - 1]->base_offset >= below)
		last--;
	if (last == 0 || producers_count(c->producers) == 0)
		return;
	if (last > 1 && c->segs[last - 1]->bytes < RECALL_BYTES)
		recall_segment(ld, c->segs[last - 2], below);
	recall_segment(ld, c->segs[last - 1], below);
}

static int load_producers(struct loading *ld)
{
	struct log_core *c = ld->core;
	bool rebuilt = ld->rebuilt_from != SIZE_MAX && ld->rebuilt_from < c->seg_count;
	int64_t limit = rebuilt ? c->segs[ld->rebuilt_from]->base_offset : c->end_offset;
	int err = 0;

	c->producers = producers_new();
	producers_set_end(c->producers, c->start_offset);
	/* In a log that was recovered, snapshots above the first scanned segment may be of bytes that were lost. */
	for (size_t i = c->snapshot_count; i-- > 0;)
		if (c->snapshots[i] > limit)
			drop_snapshot(ld, i);
	bool loaded = false;
	while (c->snapshot_count > 0 && !loaded) {
		int64_t at = c->snapshots[c->snapshot_count - 1];
		if (at < c->segs[0]->base_offset)
			break;
		err = read_snapshot(ld, at);
		if (err && err != ERR_CORRUPT)
			return err;
		loaded = !err;
		if (err)
			drop_snapshot(ld, c->snapshot_count - 1);
	}
	if (!loaded) {
		producers_free(c->producers);
		c->producers = producers_new();
		producers_set_end(c->producers, c->segs[0]->base_offset);
	}
	if (loaded)
		recall_windows(ld, producers_end(c->producers));
	if (rebuilt)
		err = clear_txn_indexes(ld);
	for (size_t i = 0; i < c->seg_count && !err; i++) {
		struct segment *s = c->segs[i];
		int64_t end = i + 1 < c->seg_count ? c->segs[i + 1]->base_offset : c->end_offset;
		if (rebuilt && i > ld->rebuilt_from && producers_end(c->producers) <= s->base_offset) {
			err = snapshot_write_now(ld->o->env, ld->path, s->base_offset, c->producers);
			core_add_snapshot(c, s->base_offset);
		}
		if (!err && end > producers_end(c->producers))
			err = replay_segment(ld, s, producers_end(c->producers), rebuilt && i >= ld->rebuilt_from);
	}
	producers_set_end(c->producers, c->end_offset);
	producers_expire(c->producers, ld->o->now_ms, ld->o->config.producer_id_expiration_ms);
	return err;
}

/* ---- whole directories ---- */

static int make_first_segment(struct loading *ld, int64_t base)
{
	struct segment *s = segment_new(base, ld->o->now_ms);

	core_add_segment(ld->core, s);
	int err = segment_create_now(ld->o->env, ld->path, s);
	s->ready = s->index_loaded = true;
	if (!err)
		err = fs_sync_dir(ld->o->env, ld->path);
	return err;
}

static int make_directory(const struct log_open *o, const char *path)
{
	int err = fs_mkdir(o->env, path, 0755);
	if (!err && !uuid_is_zero(&o->topic_id))
		err = write_partition_metadata(o, path);
	if (!err)
		err = fs_sync_dir(o->env, o->dir->path);
	return err;
}

/* Segments end below the start that the checkpoint names: what there is, is older than what was deleted. */
static int start_over(struct loading *ld, int64_t base)
{
	struct log_core *c = ld->core;
	int err = 0;

	while (!err && c->seg_count > 0) {
		struct segment *s = c->segs[c->seg_count - 1];
		err = segment_unlink_now(ld->o->env, ld->path, s->base_offset, "");
		segment_unref(s);
		c->seg_count--;
	}
	ld->changed = true;
	ld->rebuilt_from = SIZE_MAX;
	return err ? err : make_first_segment(ld, base);
}

static int load_content(struct loading *ld)
{
	struct log_core *c = ld->core;
	const struct log_open *o = ld->o;

	int err = load_epochs(ld);
	struct epochs before = {0};
	for (size_t i = 0; i < c->epochs.count; i++)
		epochs_assign(&before, c->epochs.entries[i].epoch, c->epochs.entries[i].start_offset);
	if (!err)
		err = c->seg_count ? load_segments(ld) : make_first_segment(ld, o->log_start_offset > 0 ? o->log_start_offset : 0);
	if (!err && c->seg_count == 0)
		err = make_first_segment(ld, o->log_start_offset > 0 ? o->log_start_offset : 0);
	if (!err && c->segs[c->seg_count - 1]->next_offset < o->log_start_offset)
		err = start_over(ld, o->log_start_offset);
	if (err)
		goto out;
	c->end_offset = c->segs[c->seg_count - 1]->next_offset;
	c->start_offset = o->log_start_offset > c->segs[0]->base_offset ? o->log_start_offset : c->segs[0]->base_offset;
	epochs_truncate_from_end(&c->epochs, c->end_offset);
	epochs_truncate_from_start(&c->epochs, c->start_offset);
	drop_stray_snapshots(ld);
	err = load_producers(ld);
	if (!err && !ld->clean) {
		err = snapshot_write_now(o->env, ld->path, c->end_offset, c->producers);
		if (c->snapshot_count == 0 || c->snapshots[c->snapshot_count - 1] != c->end_offset)
			core_add_snapshot(c, c->end_offset);
	}
	bool stale = before.count != c->epochs.count;
	for (size_t i = 0; !stale && i < before.count; i++) /* field by field: there is padding between them */
		stale = before.entries[i].epoch != c->epochs.entries[i].epoch || before.entries[i].start_offset != c->epochs.entries[i].start_offset;
	if (!err && (stale || ld->made)) /* Kafka has the file from the beginning */
		err = epochs_write_now(o->env, ld->path, &c->epochs);
	bool rebuilt = ld->rebuilt_from != SIZE_MAX;
	if (!err && (ld->changed || stale || ld->made || rebuilt || !ld->clean))
		err = fs_sync_dir(o->env, ld->path);
	c->recovery_point = ld->clean || o->config.flush_messages == 1 ? c->end_offset : c->segs[c->seg_count - 1]->base_offset;
	c->as_closed = ld->clean && !ld->changed && !stale && !rebuilt;
	if (!ld->clean && ld->recovery_point > c->recovery_point && ld->recovery_point <= c->end_offset)
		c->recovery_point = ld->recovery_point;
out:
	epochs_fini(&before);
	return err;
}

int log_load_now(const struct log_open *o, const char *path, struct log_core *ret_core)
{
	struct log_core core = {0};
	struct loading ld = {.o = o, .path = path, .core = &core, .clean = o->clean, .recovery_point = o->recovery_point, .rebuilt_from = SIZE_MAX};
	struct fs_names names = {0};
	int64_t base;
	bool any = false;

	int err = fs_list(o->env, path, &names);
	if (err == ERR_NOENT && o->create) {
		err = make_directory(o, path);
		if (!err)
			err = fs_list(o->env, path, &names);
	}
	if (err)
		return err;
	for (size_t i = 0; i < names.count; i++)
		any |= segment_name_parse(names.names[i], ".log", &base) || segment_name_parse(names.names[i], ".log.swap", &base);
	ld.made = !any;
	ld.clean |= ld.made; /* there is nothing that a crash could have left half done */
	err = any || o->create ? look_for_old_formats(o->env, path, &names) : ERR_NOENT;
	if (!err)
		err = check_topic_id(o, path, &core.topic_id);
	if (!err)
		err = clear_leftovers(o->env, path, &names, &ld.changed);
	fs_names_free(&names);
	if (!err)
		err = fs_list(o->env, path, &names);
	if (!err)
		err = open_all(&ld, &names);
	if (!err)
		err = load_content(&ld);
	fs_names_free(&names);
	str_fini(&ld.index_text);
	str_fini(&ld.time_text);
	if (err) {
		log_core_fini(&core);
		return err;
	}
	*ret_core = core;
	return 0;
}
