/* disk.c: the disk of a host: a tree of directories and files in memory, with what a power cut would take away.
 *
 * What a process sees is kept as it is; beside it an undo log: per file one entry for each unsynced write or truncation (pure
 * appends that follow each other share one), per directory one for each unsynced change of a name. A sync drops the log. A power
 * cut keeps a random prefix of each log and takes the rest back, newest first; the write at the cut may stay in part, its end
 * torn: zeros or garbage in the last sector, or zeros up to the full size. A sync that failed leaves its entries for ever: the
 * kernel has marked the pages clean, and no later sync brings them back.
 *
 * An inode lives while a name, an open file or an undo entry refers to it; it counts as used space while a name or open file does.
 * No virtual time passes in this file.
 */
#include <string.h>

#include "common/env/sim/sim_priv.h"

#define CHUNK_BYTES 4096u
#define SECTOR_BYTES 512u
#define FILE_BYTES_MAX (1ull << 40)

struct undo {
	bool truncation;
	uint64_t pos, len;  /* of the write */
	uint64_t old_bytes; /* size before */
	uint8_t *old;       /* what was at pos (write), or from the new end on (truncation) */
	uint64_t old_len;
};

/* A name change: `name` had `ino` before (NULL: nobody). A rename inside one directory is one entry with two names. */
struct name_undo {
	char *name, *name2;
	struct sim_inode *ino, *ino2;
};

struct entry {
	char *name;
	struct sim_inode *ino;
};

struct sim_inode {
	struct sim_host *h;
	uint64_t id;
	bool is_dir, counted, sync_failed;
	uint32_t names, opens, refs; /* refs: all of them, undo entries included */
	int64_t mtime_ms;
	void *lock;
	/* a file */
	uint8_t **chunks; /* NULL = zeros */
	size_t chunks_n, chunks_used;
	uint64_t bytes;
	struct undo *undos;
	size_t undos_n, undos_cap;
	/* a directory */
	struct entry *entries; /* sorted by name */
	size_t entries_n, entries_cap;
	struct name_undo *name_undos;
	size_t name_undos_n, name_undos_cap;
};

struct sim_disk_fault {
	struct sim_disk_fault *next;
	int ops;
	char *prefix;
	int64_t count;
};

/* ---- inodes ---- */

static struct sim_inode *inode_new(struct sim_host *h, bool is_dir)
{
	struct sim_inode *ino = MEM_NEW(struct sim_inode);

	ino->h = h;
	ino->id = ++h->disk.next_ino;
	ino->is_dir = is_dir;
	ino->mtime_ms = h->w->cfg.wall_start_ms + h->clock_ms + sim_now(h->w) / 1000;
	return ino;
}

static void account(struct sim_inode *ino)
{
	bool live = ino->names > 0 || ino->opens > 0;

	if (live && !ino->counted)
		ino->h->disk.used += ino->chunks_used * CHUNK_BYTES;
	else if (!live && ino->counted)
		ino->h->disk.used -= ino->chunks_used * CHUNK_BYTES;
	ino->counted = live;
}

static void inode_ref(struct sim_inode *ino)
{
	ino->refs++;
}

static void drop_file_undos(struct sim_inode *ino)
{
	for (size_t i = 0; i < ino->undos_n; i++)
		mem_free(ino->undos[i].old);
	ino->undos_n = 0;
}

static void inode_unref(struct sim_inode *ino);

static void drop_name_undos(struct sim_inode *ino)
{
	size_t n = ino->name_undos_n;

	ino->name_undos_n = 0;
	for (size_t i = 0; i < n; i++) {
		struct name_undo *u = &ino->name_undos[i];
		mem_free(u->name);
		mem_free(u->name2);
		if (u->ino)
			inode_unref(u->ino);
		if (u->ino2)
			inode_unref(u->ino2);
	}
}

static void inode_unref(struct sim_inode *ino)
{
	ASSERT(ino->refs > 0);
	if (--ino->refs > 0)
		return;
	ino->names = ino->opens = 0;
	account(ino);
	for (size_t i = 0; i < ino->chunks_n; i++)
		mem_free(ino->chunks[i]);
	mem_free(ino->chunks);
	drop_file_undos(ino);
	mem_free(ino->undos);
	drop_name_undos(ino);
	mem_free(ino->name_undos);
	for (size_t i = 0; i < ino->entries_n; i++) {
		ino->entries[i].ino->names--;
		account(ino->entries[i].ino);
		inode_unref(ino->entries[i].ino);
		mem_free(ino->entries[i].name);
	}
	mem_free(ino->entries);
	mem_free(ino);
}

void sim_inode_open(struct sim_inode *ino)
{
	ino->opens++;
	inode_ref(ino);
	account(ino);
}

void sim_inode_close(struct sim_inode *ino)
{
	ino->opens--;
	account(ino);
	inode_unref(ino);
}

bool sim_inode_is_dir(const struct sim_inode *ino)
{
	return ino->is_dir;
}

uint64_t sim_inode_id(const struct sim_inode *ino)
{
	return ino->id;
}

uint64_t sim_inode_size(const struct sim_inode *ino)
{
	return ino->bytes;
}

int64_t *sim_inode_mtime_ms(struct sim_inode *ino)
{
	return &ino->mtime_ms;
}

void **sim_inode_lock(struct sim_inode *ino)
{
	return &ino->lock;
}

size_t sim_inode_children(const struct sim_inode *ino)
{
	return ino->entries_n;
}

const char *sim_inode_child(const struct sim_inode *ino, size_t i)
{
	return ino->entries[i].name;
}

/* ---- directories ---- */

/* Index of the first entry >= name (of len bytes); *ret_hit: it is that name. */
static size_t entry_find(const struct sim_inode *dir, const char *name, size_t len, bool *ret_hit)
{
	size_t lo = 0, hi = dir->entries_n;

	*ret_hit = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int cmp = slice_cmp(slice_str(dir->entries[mid].name), slice_make(name, len));
		if (cmp == 0) {
			*ret_hit = true;
			return mid;
		}
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct sim_inode *entry_get(const struct sim_inode *dir, const char *name, size_t len)
{
	bool hit;
	size_t i = entry_find(dir, name, len, &hit);

	return hit ? dir->entries[i].ino : NULL;
}

/* Makes `name` mean ino (NULL: nothing), without a note in the undo log. */
static void entry_set(struct sim_inode *dir, const char *name, struct sim_inode *ino)
{
	bool hit;
	size_t i = entry_find(dir, name, strlen(name), &hit);

	if (ino) {
		ino->names++;
		inode_ref(ino);
		account(ino);
	}
	if (hit) {
		struct sim_inode *was = dir->entries[i].ino;
		was->names--;
		account(was);
		if (ino) {
			dir->entries[i].ino = ino;
		} else {
			mem_free(dir->entries[i].name);
			memmove(dir->entries + i, dir->entries + i + 1, (--dir->entries_n - i) * sizeof(*dir->entries));
		}
		inode_unref(was);
	} else if (ino) {
		MEM_GROW(dir->entries, dir->entries_cap, dir->entries_n + 1);
		memmove(dir->entries + i + 1, dir->entries + i, (dir->entries_n++ - i) * sizeof(*dir->entries));
		dir->entries[i] = (struct entry){.name = mem_strdup(name), .ino = ino};
	}
}

static void note_name(struct sim_inode *dir, const char *name, const char *name2)
{
	MEM_GROW(dir->name_undos, dir->name_undos_cap, dir->name_undos_n + 1);
	struct name_undo *u = &dir->name_undos[dir->name_undos_n++];
	*u = (struct name_undo){.name = mem_strdup(name), .ino = entry_get(dir, name, strlen(name))};
	if (u->ino)
		inode_ref(u->ino);
	if (name2) {
		u->name2 = mem_strdup(name2);
		u->ino2 = entry_get(dir, name2, strlen(name2));
		if (u->ino2)
			inode_ref(u->ino2);
	}
}

/* Walks to the directory that holds the last part of path; *ret_name is that part. NULL: not there. */
static struct sim_inode *parent_of(struct sim_host *h, const char *path, const char **ret_name)
{
	struct sim_inode *dir = h->disk.root;

	for (;;) {
		while (*path == '/')
			path++;
		size_t len = strcspn(path, "/");
		const char *rest = path + len;
		while (*rest == '/')
			rest++;
		if (*rest == '\0') {
			*ret_name = path;
			return dir;
		}
		dir = len == 1 && *path == '.' ? dir : entry_get(dir, path, len);
		if (!dir || !dir->is_dir)
			return NULL;
		path = rest;
	}
}

struct sim_inode *sim_inode_find(struct sim_host *h, const char *path)
{
	const char *name;
	struct sim_inode *dir = parent_of(h, path, &name);
	size_t len = dir ? strcspn(name, "/") : 0;

	if (!dir)
		return NULL;
	return len == 0 || (len == 1 && *name == '.') ? dir : entry_get(dir, name, len);
}

static bool bad_name(const char *name)
{
	return *name == '\0' || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255;
}

int sim_inode_create(struct sim_host *h, const char *path, bool is_dir, struct sim_inode **ret_ino)
{
	const char *name;
	struct sim_inode *dir = parent_of(h, path, &name);

	if (!dir)
		return ERR_NOENT;
	if (bad_name(name))
		return ERR_INVAL;
	if (entry_get(dir, name, strlen(name)))
		return ERR_EXIST;
	struct sim_inode *ino = inode_new(h, is_dir);
	inode_ref(ino);
	note_name(dir, name, NULL);
	entry_set(dir, name, ino);
	inode_unref(ino);
	*ret_ino = ino;
	return 0;
}

int sim_ns_remove(struct sim_host *h, const char *path, bool dir_wanted)
{
	const char *name;
	struct sim_inode *dir = parent_of(h, path, &name);
	struct sim_inode *ino = dir && !bad_name(name) ? entry_get(dir, name, strlen(name)) : NULL;

	if (!ino)
		return ERR_NOENT;
	if (ino->is_dir != dir_wanted)
		return ERR_INVAL;
	if (ino->entries_n)
		return ERR_NOTEMPTY;
	note_name(dir, name, NULL);
	entry_set(dir, name, NULL);
	return 0;
}

int sim_ns_rename(struct sim_host *h, const char *from, const char *to)
{
	const char *name, *name2;
	struct sim_inode *dir = parent_of(h, from, &name), *dir2 = parent_of(h, to, &name2);
	struct sim_inode *ino = dir && !bad_name(name) ? entry_get(dir, name, strlen(name)) : NULL;

	if (!ino || !dir2)
		return ERR_NOENT;
	if (bad_name(name2))
		return ERR_INVAL;
	struct sim_inode *there = entry_get(dir2, name2, strlen(name2));
	if (there == ino)
		return 0;
	if (there && there->is_dir != ino->is_dir)
		return ERR_INVAL;
	if (there && there->entries_n)
		return ERR_NOTEMPTY;
	if (dir == dir2) {
		note_name(dir, name, name2);
	} else {
		note_name(dir, name, NULL);
		note_name(dir2, name2, NULL);
	}
	inode_ref(ino);
	entry_set(dir2, name2, ino);
	entry_set(dir, name, NULL);
	inode_unref(ino);
	return 0;
}

void sim_inode_sync_dir(struct sim_inode *ino)
{
	drop_name_undos(ino);
}

/* ---- files ---- */

size_t sim_inode_read(const struct sim_inode *ino, uint64_t pos, void *out, size_t len)
{
	uint8_t *to = out;

	if (pos >= ino->bytes)
		return 0;
	if (len > ino->bytes - pos)
		len = (size_t)(ino->bytes - pos);
	for (size_t left = len; left > 0;) {
		size_t i = (size_t)(pos / CHUNK_BYTES), at = (size_t)(pos % CHUNK_BYTES);
		size_t part = CHUNK_BYTES - at < left ? CHUNK_BYTES - at : left;
		if (i < ino->chunks_n && ino->chunks[i])
			memcpy(to, ino->chunks[i] + at, part);
		else
			memset(to, 0, part);
		to += part;
		pos += part;
		left -= part;
	}
	return len;
}

/* Writes without undo; returns how many bytes fitted. */
static size_t put_bytes(struct sim_inode *ino, uint64_t pos, const uint8_t *from, size_t len, bool checked)
{
	struct sim_disk *d = &ino->h->disk;
	size_t done = 0;

	while (done < len) {
		size_t i = (size_t)(pos / CHUNK_BYTES), at = (size_t)(pos % CHUNK_BYTES);
		size_t part = CHUNK_BYTES - at < len - done ? CHUNK_BYTES - at : len - done;
		if (i >= ino->chunks_n) {
			size_t n = ino->chunks_n ? ino->chunks_n * 2 : 4;
			n = n > i ? n : i + 1;
			ino->chunks = mem_realloc(ino->chunks, n * sizeof(*ino->chunks));
			memset(ino->chunks + ino->chunks_n, 0, (n - ino->chunks_n) * sizeof(*ino->chunks));
			ino->chunks_n = n;
		}
		if (!ino->chunks[i]) {
			if (checked && d->used + CHUNK_BYTES > d->capacity)
				break;
			ino->chunks[i] = mem_zalloc(CHUNK_BYTES);
			ino->chunks_used++;
			if (ino->counted)
				d->used += CHUNK_BYTES;
		}
		memcpy(ino->chunks[i] + at, from + done, part);
		done += part;
		pos += part;
	}
	if (pos > ino->bytes && done > 0)
		ino->bytes = pos;
	return done;
}

static void cut_bytes(struct sim_inode *ino, uint64_t bytes)
{
	size_t keep = (size_t)((bytes + CHUNK_BYTES - 1) / CHUNK_BYTES);

	for (size_t i = keep; i < ino->chunks_n; i++) {
		if (!ino->chunks[i])
			continue;
		mem_free(ino->chunks[i]);
		ino->chunks[i] = NULL;
		ino->chunks_used--;
		if (ino->counted)
			ino->h->disk.used -= CHUNK_BYTES;
	}
	size_t at = (size_t)(bytes % CHUNK_BYTES);
	if (at && keep - 1 < ino->chunks_n && ino->chunks[keep - 1])
		memset(ino->chunks[keep - 1] + at, 0, CHUNK_BYTES - at);
	ino->bytes = bytes;
}

static struct undo *undo_add(struct sim_inode *ino)
{
	MEM_GROW(ino->undos, ino->undos_cap, ino->undos_n + 1);
	struct undo *u = &ino->undos[ino->undos_n++];
	*u = (struct undo){.old_bytes = ino->bytes};
	return u;
}

int sim_inode_write(struct sim_inode *ino, uint64_t pos, const void *bytes, size_t len)
{
	struct undo *last = ino->undos_n ? &ino->undos[ino->undos_n - 1] : NULL;

	if (len == 0)
		return 0;
	if (pos > FILE_BYTES_MAX || len > FILE_BYTES_MAX - pos)
		return ERR_INVAL;
	ino->mtime_ms = ino->h->w->cfg.wall_start_ms + ino->h->clock_ms + sim_now(ino->h->w) / 1000;
	if (last && !last->truncation && !last->old && pos == ino->bytes && last->pos + last->len == pos) {
		size_t done = put_bytes(ino, pos, bytes, len, true);
		last->len += done;
		return done < len ? ERR_NOSPACE : 0;
	}
	struct undo *u = undo_add(ino);
	u->pos = pos;
	if (pos < ino->bytes) {
		u->old_len = ino->bytes - pos < len ? ino->bytes - pos : len;
		u->old = mem_alloc((size_t)u->old_len);
		sim_inode_read(ino, pos, u->old, (size_t)u->old_len);
	}
	size_t done = put_bytes(ino, pos, bytes, len, true);
	u->len = done;
	if (u->old_len > done)
		u->old_len = done;
	return done < len ? ERR_NOSPACE : 0;
}

void sim_inode_truncate(struct sim_inode *ino, uint64_t bytes)
{
	if (bytes == ino->bytes)
		return;
	struct undo *u = undo_add(ino);
	u->truncation = true;
	u->pos = bytes;
	if (bytes < ino->bytes) {
		/* Beyond the last chunk that was ever written there are zeros only. */
		uint64_t end = (uint64_t)ino->chunks_n * CHUNK_BYTES < ino->bytes ? (uint64_t)ino->chunks_n * CHUNK_BYTES : ino->bytes;
		if (end > bytes) {
			u->old_len = end - bytes;
			u->old = mem_alloc((size_t)u->old_len);
			sim_inode_read(ino, bytes, u->old, (size_t)u->old_len);
		}
		cut_bytes(ino, bytes);
	} else {
		ino->bytes = bytes;
	}
}

void sim_inode_sync(struct sim_inode *ino, bool failed)
{
	if (failed)
		ino->sync_failed = true;
	if (!ino->sync_failed)
		drop_file_undos(ino);
}

/* ---- power cut ---- */

static size_t keep_how_many(struct rng *r, size_t n)
{
	uint64_t how = rng_below(r, 4);

	return how == 0 ? 0 : how == 1 ? n : (size_t)rng_below(r, n + 1);
}

static void undo_one(struct sim_inode *ino, const struct undo *u)
{
	if (!u->truncation && u->old_bytes < ino->bytes)
		cut_bytes(ino, u->old_bytes);
	ino->bytes = u->old_bytes;
	if (u->old_len)
		put_bytes(ino, u->pos, u->old, (size_t)u->old_len, false);
	ino->bytes = u->old_bytes;
}

/* The write at the cut: some of it arrived. */
static void tear(struct sim_inode *ino, const struct undo *u, struct rng *r)
{
	if (u->truncation || u->len == 0 || rng_below(r, 3) == 0) {
		undo_one(ino, u);
		return;
	}
	uint64_t part = rng_below(r, u->len + 1);
	uint8_t *got = mem_alloc((size_t)part + 1);
	sim_inode_read(ino, u->pos, got, (size_t)part);
	uint64_t how = rng_below(r, 4);
	if (how >= 2 && part > 0) {
		uint64_t sector = 1 + rng_below(r, part < SECTOR_BYTES ? part : SECTOR_BYTES);
		for (uint64_t i = part - sector; i < part; i++)
			got[i] = how == 2 ? 0 : (uint8_t)rng_u64(r);
	}
	undo_one(ino, u);
	put_bytes(ino, u->pos, got, (size_t)part, false);
	if (how == 1 && u->pos + u->len > ino->bytes)
		ino->bytes = u->pos + u->len; /* the size arrived, the blocks did not: zeros */
	mem_free(got);
}

static void cut_inode(struct sim_inode *ino, struct rng *r)
{
	if (ino->is_dir) {
		size_t keep = ino->name_undos_n ? keep_how_many(r, ino->name_undos_n) : 0;
		for (size_t i = ino->name_undos_n; i-- > keep;) {
			struct name_undo *u = &ino->name_undos[i];
			entry_set(ino, u->name, u->ino);
			if (u->name2)
				entry_set(ino, u->name2, u->ino2);
		}
		drop_name_undos(ino);
		for (size_t i = 0; i < ino->entries_n; i++)
			cut_inode(ino->entries[i].ino, r);
		return;
	}
	size_t n = ino->undos_n, keep = n ? keep_how_many(r, n) : 0;
	for (size_t i = n; i-- > keep;) {
		if (i == keep)
			tear(ino, &ino->undos[i], r);
		else
			undo_one(ino, &ino->undos[i]);
	}
	drop_file_undos(ino);
	ino->sync_failed = false;
	ino->lock = NULL;
}

void sim_disk_power_cut(struct sim_host *h)
{
	cut_inode(h->disk.root, &h->w->rng);
}

/* ---- the harness ---- */

static void make_durable(struct sim_inode *ino)
{
	drop_name_undos(ino);
	drop_file_undos(ino);
}

void sim_disk_init(struct sim_host *h)
{
	h->disk.root = inode_new(h, true);
	h->disk.root->refs = h->disk.root->names = 1;
	h->disk.capacity = h->w->cfg.disk_bytes;
	h->disk.slow = 1;
	h->disk.identity = rng_u64(&h->w->rng) | 1;
}

void sim_disk_fini(struct sim_host *h)
{
	if (h->disk.root)
		inode_unref(h->disk.root);
	h->disk.root = NULL;
	sim_disk_clear_faults(h);
}

int sim_disk_mkdirs(struct sim_host *h, const char *path)
{
	char *copy = mem_strdup(path);
	int err = 0;

	for (char *at = copy; !err && *at;) {
		while (*at == '/')
			at++;
		at += strcspn(at, "/");
		char was = *at;
		*at = '\0';
		struct sim_inode *ino = sim_inode_find(h, copy);
		if (!ino) {
			const char *name;
			err = sim_inode_create(h, copy, true, &ino);
			if (!err)
				make_durable(parent_of(h, copy, &name));
		} else if (!ino->is_dir) {
			err = ERR_EXIST;
		}
		*at = was;
	}
	mem_free(copy);
	return err;
}

int sim_disk_write(struct sim_host *h, const char *path, const void *bytes, size_t len)
{
	struct sim_inode *ino = sim_inode_find(h, path);
	const char *name;
	int err = ino ? 0 : sim_inode_create(h, path, false, &ino);

	if (err)
		return err;
	if (ino->is_dir)
		return ERR_INVAL;
	make_durable(parent_of(h, path, &name));
	cut_bytes(ino, 0);
	size_t done = put_bytes(ino, 0, bytes, len, true);
	make_durable(ino);
	return done < len ? ERR_NOSPACE : 0;
}

int sim_disk_read(struct sim_host *h, const char *path, struct str *out)
{
	struct sim_inode *ino = sim_inode_find(h, path);
	uint8_t part[4096];

	if (!ino || ino->is_dir)
		return ERR_NOENT;
	for (uint64_t pos = 0; pos < ino->bytes; pos += sizeof(part))
		str_add_bytes(out, part, sim_inode_read(ino, pos, part, sizeof(part)));
	return 0;
}

int sim_disk_remove(struct sim_host *h, const char *path)
{
	const char *name;
	struct sim_inode *dir = parent_of(h, path, &name);

	if (!dir || bad_name(name) || !entry_get(dir, name, strlen(name)))
		return ERR_NOENT;
	entry_set(dir, name, NULL);
	make_durable(dir);
	return 0;
}

void sim_disk_list(struct sim_host *h, const char *path, struct str *out)
{
	struct sim_inode *ino = sim_inode_find(h, path);

	for (size_t i = 0; ino && i < ino->entries_n; i++)
		str_printf(out, "%s\n", ino->entries[i].name);
}

void sim_disk_slow(struct sim_host *h, double factor)
{
	sim_fault(h->w, "disk of %s: time x %.1f", h->name, factor);
	h->disk.slow = factor;
}

void sim_disk_stall(struct sim_host *h, int64_t us)
{
	sim_fault(h->w, "disk of %s hangs for %lld us", h->name, (long long)us);
	h->disk.stall_until = sim_now(h->w) + us;
}

void sim_disk_fail(struct sim_host *h, int ops, const char *prefix, int64_t count)
{
	struct sim_disk_fault *f = MEM_NEW(struct sim_disk_fault);

	sim_fault(h->w, "disk of %s: operations %d fail below %s, %lld times", h->name, ops, prefix, (long long)count);
	f->ops = ops;
	f->prefix = mem_strdup(prefix);
	f->count = count;
	f->next = h->disk.faults;
	h->disk.faults = f;
}

void sim_disk_clear_faults(struct sim_host *h)
{
	while (h->disk.faults) {
		struct sim_disk_fault *f = h->disk.faults;
		h->disk.faults = f->next;
		mem_free(f->prefix);
		mem_free(f);
	}
	h->disk.slow = 1;
	h->disk.stall_until = 0;
}

bool sim_disk_faulty(struct sim_host *h, enum sim_disk_op op, const char *path)
{
	for (struct sim_disk_fault *f = h->disk.faults; f; f = f->next) {
		if (!(f->ops & (int)op) || f->count == 0 || strncmp(path, f->prefix, strlen(f->prefix)))
			continue;
		if (f->count > 0)
			f->count--;
		return true;
	}
	return false;
}

void sim_disk_capacity(struct sim_host *h, uint64_t bytes)
{
	sim_fault(h->w, "disk of %s holds %llu bytes", h->name, (unsigned long long)bytes);
	h->disk.capacity = bytes;
}

uint64_t sim_disk_used(struct sim_host *h)
{
	return h->disk.used;
}

int sim_disk_flip_bit(struct sim_host *h, const char *path, uint64_t pos, int bit)
{
	struct sim_inode *ino = sim_inode_find(h, path);
	uint8_t byte;

	if (!ino || ino->is_dir || sim_inode_read(ino, pos, &byte, 1) != 1)
		return ERR_NOENT;
	sim_fault(h->w, "bit %d of byte %llu of %s on %s flips", bit & 7, (unsigned long long)pos, path, h->name);
	byte = (uint8_t)(byte ^ (1u << (bit & 7)));
	put_bytes(ino, pos, &byte, 1, false);
	return 0;
}

void sim_disk_replace(struct sim_host *h)
{
	for (struct sim_process *p = h->w->procs; p; p = p->next)
		ASSERT(p->host != h || p->dead);
	sim_fault(h->w, "disk of %s is replaced by an empty one", h->name);
	sim_disk_fini(h);
	h->disk = (struct sim_disk){.next_ino = h->disk.next_ino, .used = 0};
	sim_disk_init(h);
}
