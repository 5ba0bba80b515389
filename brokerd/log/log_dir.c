/* log_dir.c: the log directories of a broker. See log_dir.h.
 *
 * Files of ours are dot-files (protocol.md J2): .klamm_boot says which kernel and file system wrote here last, so that a crash of the
 * process can be told from a loss of what was not synced (E1); .klamm_session names the ZooKeeper session to end (D5).
 */
#include "brokerd/log/log_dir.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "brokerd/log/log_priv.h"
#include "common/base/arena.h"
#include "common/base/props.h"
#include "common/base/str.h"

#define SMALL_BYTES_MAX ((size_t)64 << 10)
#define BOOT_FILE ".klamm_boot"
#define SESSION_FILE ".klamm_session"
#define CLEAN_FILE ".kafka_cleanshutdown"

/* ---- state ---- */

bool log_dir_fail(struct log_dir *dir, int err)
{
	bool was = atomic_exchange(&dir->offline, true);

	if (!was)
		atomic_store(&dir->offline_err, err);
	return !was;
}

bool log_dir_has_room(const struct log_dir *dir, uint64_t bytes)
{
	uint64_t bytes_free = atomic_load_explicit(&dir->bytes_free, memory_order_relaxed);

	return bytes_free > dir->bytes_reserved && bytes_free - dir->bytes_reserved > bytes;
}

int log_dir_space_now(const struct log_dir *dir, uint64_t *ret_total, uint64_t *ret_free)
{
	struct fs_space space;
	int err = fs_space(dir->env, dir->path, &space);
	if (err)
		return err;
	*ret_total = space.bytes_total;
	*ret_free = space.bytes_free;
	return 0;
}

int log_dir_poll_space_now(struct log_dir *dir)
{
	struct fs_space space;

	int err = fs_space(dir->env, dir->path, &space);
	if (!err)
		atomic_store_explicit(&dir->bytes_free, space.bytes_free, memory_order_relaxed);
	return err;
}

/* ---- small files ---- */

static int read_props(struct env *env, const char *dir, const char *name, struct props *p)
{
	char *path = path_join(dir, name), *text = NULL;
	size_t len;
	int line;

	props_init(p);
	int err = fs_read_file(env, path, SMALL_BYTES_MAX, &text, &len);
	mem_free(path);
	if (err)
		return err;
	err = props_parse(p, slice_make(text, len), &line) ? ERR_CORRUPT : 0;
	mem_free(text);
	return err;
}

static int write_small(struct env *env, const char *dir, const char *name, const struct str *text, int mode)
{
	char *path = path_join(dir, name);
	int err = fs_write_file(env, path, str_cstr(text), text->len, mode);

	mem_free(path);
	return err;
}

/* Whether kernel and file system are those that wrote .klamm_boot; takes the directory id from there. */
static bool same_boot(struct log_dir *dir)
{
	char boot[ENV_BOOT_ID_LEN + 1], fs[32];
	struct props p;
	bool same = false;

	env_boot_id(dir->env, boot);
	snprintf(fs, sizeof(fs), "%016" PRIx64, dir->fs_identity);
	if (read_props(dir->env, dir->path, BOOT_FILE, &p) == 0) {
		const char *b = props_get(&p, "boot.id"), *f = props_get(&p, "fs.identity"), *id = props_get(&p, "directory.id");
		same = b && f && strcmp(b, boot) == 0 && strcmp(f, fs) == 0;
		if (id && uuid_parse(slice_str(id), &dir->directory_id) != 0)
			dir->directory_id = (struct uuid){0};
	}
	props_fini(&p);
	return same;
}

static int write_boot(struct log_dir *dir)
{
	char boot[ENV_BOOT_ID_LEN + 1], id[UUID_TEXT_LEN + 1];
	struct str text;

	env_boot_id(dir->env, boot);
	uuid_format(&dir->directory_id, id);
	str_init(&text);
	str_printf(&text, "version=1\nboot.id=%s\nfs.identity=%016" PRIx64 "\ndirectory.id=%s\n", boot, dir->fs_identity, id);
	int err = write_small(dir->env, dir->path, BOOT_FILE, &text, 0644);
	str_fini(&text);
	return err;
}

int log_dir_mark_failed_now(struct log_dir *dir)
{
	char *path = path_join(dir->path, BOOT_FILE);
	int err = fs_unlink(dir->env, path);

	mem_free(path);
	if (!err)
		err = fs_sync_dir(dir->env, dir->path);
	return err == ERR_NOENT ? 0 : err;
}

int log_dir_mark_clean_now(struct log_dir *dir)
{
	struct str text;

	if (atomic_load(&dir->offline))
		return ERR_IO;
	if (dir->start_class == LOG_START_LOSSY && !dir->confirmed)
		return 0;
	str_init(&text);
	str_add(&text, "{\"version\":0,\"brokerEpoch\":-1}");
	int err = write_small(dir->env, dir->path, CLEAN_FILE, &text, 0644);
	str_fini(&text);
	return err;
}

static int take_clean_mark(struct log_dir *dir, bool *ret_clean)
{
	char *path = path_join(dir->path, CLEAN_FILE);
	int err = fs_unlink(dir->env, path);

	mem_free(path);
	*ret_clean = err == 0;
	if (err == ERR_NOENT)
		return 0;
	/* Gone for good before anything is loaded: a crash while loading counts as unclean. */
	return err ? err : fs_sync_dir(dir->env, dir->path);
}

/* ---- what is found ---- */

/* TOPIC-P.32 hex digits + mark: being deleted, moved, or found without an assignment. */
static bool ends_in(const char *name, const char *mark)
{
	size_t n = strlen(name), m = strlen(mark);

	return n >= m + 33 && strcmp(name + n - m, mark) == 0 && name[n - m - 33] == '.'
		&& strspn(name + n - m - 32, "0123456789abcdef") >= 32;
}

static bool parse_dir_name(const char *name, char **ret_topic, int32_t *ret_partition)
{
	const char *dash = strrchr(name, '-');

	/* "-01" would be found under another name than it has. */
	if (dash && dash[1] == '0' && dash[2])
		return false;
	if (!dash || dash == name || dash - name > 249 || name[0] == '.' || ends_in(name, "-future") || ends_in(name, "-stray"))
		return false;
	if (dash[1] < '0' || dash[1] > '9' || str_to_i32(dash + 1, ret_partition) != 0)
		return false;
	*ret_topic = mem_strndup(name, (size_t)(dash - name));
	return true;
}

static void read_topic_id(struct log_dir *dir, const char *name, struct uuid *ret_id)
{
	char *at = path_join(dir->path, name), *path = path_join(at, "partition.metadata"), *text = NULL;
	size_t len;

	*ret_id = (struct uuid){0};
	if (fs_read_file(dir->env, path, SMALL_BYTES_MAX, &text, &len) == 0) {
		const char *p = strstr(text, "topic_id:");
		if (p) {
			p += strlen("topic_id:");
			p += strspn(p, " \t");
			if (uuid_parse(slice_make(p, strcspn(p, " \t\r\n")), ret_id) != 0)
				*ret_id = (struct uuid){0};
		}
		mem_free(text);
	}
	mem_free(at);
	mem_free(path);
}

#define DIR_NAME_BYTES 288

/* found[] is in order of the directories' names. */
static struct log_found *find_found(struct log_dir *dir, const char *topic, int32_t partition)
{
	char want[DIR_NAME_BYTES], name[DIR_NAME_BYTES];
	uint32_t lo = 0, hi = dir->found_count;

	snprintf(want, sizeof(want), "%s-%d", topic, partition);
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		snprintf(name, sizeof(name), "%s-%d", dir->found[mid].topic, dir->found[mid].partition);
		int cmp = strcmp(name, want);
		if (cmp == 0)
			return &dir->found[mid];
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* Unreadable checkpoints count as empty. */
static void read_checkpoint(struct log_dir *dir, const char *name, size_t field)
{
	struct checkpoint_entry *entries;
	struct arena a;
	uint32_t count;
	char *path = path_join(dir->path, name);

	arena_init(&a, 0);
	if (checkpoint_read_now(dir->env, path, &a, &entries, &count) == 0) {
		for (uint32_t i = 0; i < count; i++) {
			struct log_found *f = find_found(dir, entries[i].topic, entries[i].partition);
			if (f)
				memcpy((char *)f + field, &entries[i].offset, sizeof(int64_t));
		}
	}
	arena_fini(&a);
	mem_free(path);
}

static int look_around(struct log_dir *dir)
{
	struct fs_names names;
	size_t cap = 0, deleted_cap = 0;

	int err = fs_list(dir->env, dir->path, &names);
	if (err)
		return err;
	for (size_t i = 0; i < names.count && !err; i++) {
		struct log_found f = {.recovery_point = 0, .log_start_offset = -1, .high_watermark = -1};
		struct fs_stat st;
		char *path = path_join(dir->path, names.names[i]);
		err = fs_stat(dir->env, path, &st);
		if (!err && st.is_dir && ends_in(names.names[i], "-delete")) {
			size_t want = dir->deleted_count + 1;
			MEM_GROW(dir->deleted, deleted_cap, want);
			dir->deleted[dir->deleted_count++] = path;
			continue;
		}
		mem_free(path);
		if (err || !st.is_dir || !parse_dir_name(names.names[i], &f.topic, &f.partition))
			continue;
		read_topic_id(dir, names.names[i], &f.topic_id);
		size_t need = dir->found_count + 1;
		MEM_GROW(dir->found, cap, need);
		dir->found[dir->found_count++] = f;
	}
	fs_names_free(&names);
	if (err)
		return err;
	read_checkpoint(dir, "recovery-point-offset-checkpoint", offsetof(struct log_found, recovery_point));
	read_checkpoint(dir, "log-start-offset-checkpoint", offsetof(struct log_found, log_start_offset));
	read_checkpoint(dir, "replication-offset-checkpoint", offsetof(struct log_found, high_watermark));
	return 0;
}

/* ---- opening ---- */

static char *sentence(const char *fmt, ...) PRINTF_LIKE(1, 2);
static char *sentence(const char *fmt, ...)
{
	struct str s;
	va_list ap;

	str_init(&s);
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	return str_steal(&s);
}

/* One level; its name is durable on return: without that a power cut takes the directory with all that was synced below it. */
static int make_one(struct env *env, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash && slash > path ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(slash ? "/" : ".");
	int err = fs_mkdir(env, path, 0700);

	if (err == ERR_EXIST)
		err = 0;
	if (!err)
		err = fs_sync_dir(env, parent);
	mem_free(parent);
	return err;
}

static int make_path(struct env *env, const char *path)
{
	char *p = mem_strdup(path);
	struct fs_stat st;
	int err = 0;

	if (fs_stat(env, path, &st) == 0) {
		mem_free(p);
		return st.is_dir ? 0 : ERR_EXIST;
	}
	for (char *at = p + 1; !err && *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (fs_stat(env, p, &st) != 0)
			err = make_one(env, p);
		*at = '/';
	}
	if (!err)
		err = make_one(env, path);
	mem_free(p);
	return err;
}

/* The id in meta.properties is another one than the configured, or than an earlier directory has. */
static char *other_id(const struct log_dirs *dirs, const struct log_dir *dir, int32_t id)
{
	if (!dirs->id_from)
		return sentence("%s/meta.properties says broker.id=%d, but %d is configured: correct broker.id (left out, this is broker %d), or take another log.dirs",
			dir->path, id, dirs->broker_id, id);
	return sentence("%s/meta.properties says broker.id=%d, %s/meta.properties says broker.id=%d: a broker's directories have one id; take the one of "
			"another broker out of log.dirs", dir->path, id, dirs->id_from, dirs->broker_id);
}

/* meta.properties against what the others say. ERR_INVAL with *ret_why; ERR_NOENT: there is none. */
static int check_meta(struct log_dirs *dirs, struct log_dir *dir, char **ret_why)
{
	struct props p;
	int32_t id = -1;

	int err = read_props(dir->env, dir->path, "meta.properties", &p);
	if (err)
		goto out;
	const char *version = props_get(&p, "version"), *broker = props_get(&p, "broker.id"), *cluster = props_get(&p, "cluster.id");
	if (version && strcmp(version, "0") != 0) {
		err = ERR_INVAL;
		*ret_why = sentence("%s/meta.properties has version %s: this directory belongs to a KRaft cluster; use another log.dirs", dir->path, version);
		goto out;
	}
	if (broker && (str_to_i32(broker, &id) != 0 || id < 0)) {
		err = ERR_INVAL;
		*ret_why = sentence("%s/meta.properties has no valid broker.id: correct or remove the file", dir->path);
		goto out;
	}
	if (id >= 0 && dirs->broker_id >= 0 && id != dirs->broker_id) {
		err = ERR_INVAL;
		*ret_why = other_id(dirs, dir, id);
		goto out;
	}
	if (id >= 0 && dirs->broker_id < 0) {
		dirs->broker_id = id;
		dirs->id_from = dir->path;
	}
	if (cluster && dirs->cluster_id[0] && strcmp(cluster, dirs->cluster_id) != 0) {
		err = ERR_INVAL;
		*ret_why = sentence("%s/meta.properties says cluster.id=%s, another log directory says %s: each broker needs directories of one cluster",
			dir->path, cluster, dirs->cluster_id);
		goto out;
	}
	if (cluster)
		snprintf(dirs->cluster_id, sizeof(dirs->cluster_id), "%s", cluster);
out:
	props_fini(&p);
	return err;
}

static int open_dir(struct log_dirs *dirs, struct log_dir *dir, char **ret_why)
{
	struct fs_space space;
	bool clean;

	int err = make_path(dir->env, dir->path);
	char *lock = path_join(dir->path, ".lock");
	if (!err)
		err = fs_lock(dir->env, lock, &dir->lock);
	mem_free(lock);
	if (err == ERR_LOCKED) {
		*ret_why = sentence("%s is locked by another process: stop the other broker, or give this one its own log.dirs", dir->path);
		return err;
	}
	if (!err)
		err = fs_space(dir->env, dir->path, &space);
	if (err)
		return err;
	dir->fs_identity = space.identity;
	atomic_store(&dir->bytes_free, space.bytes_free);
	err = check_meta(dirs, dir, ret_why);
	if (err && err != ERR_NOENT)
		return err;
	bool crashed = same_boot(dir);
	err = look_around(dir);
	if (!err)
		err = take_clean_mark(dir, &clean);
	if (err)
		return err;
	dir->start_class = clean ? LOG_START_CLEAN : crashed ? LOG_START_CRASHED : LOG_START_LOSSY;
	while (uuid_is_zero(&dir->directory_id)) {
		uint8_t raw[16];
		env_random(dir->env, raw, sizeof(raw));
		if (uuid_from_random(raw, &dir->directory_id) != 0)
			dir->directory_id = (struct uuid){0};
	}
	return 0;
}

static int check_duplicates(const struct log_dirs *dirs, char **ret_why)
{
	for (uint32_t i = 0; i < dirs->count; i++)
		for (uint32_t k = 0; k < dirs->dirs[i]->found_count; k++)
			for (uint32_t j = i + 1; j < dirs->count; j++) {
				const struct log_found *f = &dirs->dirs[i]->found[k];
				if (!find_found(dirs->dirs[j], f->topic, f->partition))
					continue;
				*ret_why = sentence("%s-%d is in %s and in %s: move one of the two away", f->topic, f->partition, dirs->dirs[i]->path, dirs->dirs[j]->path);
				return ERR_INVAL;
			}
	return 0;
}

int log_dirs_open_now(const struct log_dirs_open *o, struct log_dirs **ret_dirs, char **ret_why)
{
	struct log_dirs *dirs = MEM_NEW(struct log_dirs);
	uint32_t working = 0;
	char *why = NULL;
	int err = o->count ? 0 : ERR_INVAL, last = 0;

	dirs->broker_id = o->broker_id;
	dirs->dirs = mem_zalloc((o->count ? o->count : 1) * sizeof(*dirs->dirs));
	for (uint32_t i = 0; i < o->count && !err; i++) {
		struct log_dir *dir = MEM_NEW(struct log_dir);
		dir->env = o->env;
		dir->path = mem_strdup(o->paths[i]);
		dir->bytes_reserved = o->bytes_reserved;
		dirs->dirs[dirs->count++] = dir;
		int dir_err = open_dir(dirs, dir, &why);
		if (dir_err == ERR_LOCKED || dir_err == ERR_INVAL) {
			err = dir_err;
		} else if (dir_err) {
			log_dir_fail(dir, dir_err);
			last = dir_err;
		} else {
			working++;
		}
	}
	if (!err && working == 0) {
		err = last ? last : ERR_IO;
		why = sentence("no log directory can be used (%s: %s): check that it exists and can be written", o->paths[0], err_str(err));
	}
	if (!err)
		err = check_duplicates(dirs, &why);
	if (err) {
		*ret_why = why ? why : sentence("log.dirs names no usable directory: %s", err_str(err));
		log_dirs_free(dirs);
		return err;
	}
	*ret_dirs = dirs;
	return 0;
}

/* cluster_id "": not known yet. */
static int write_meta(struct log_dir *dir, int32_t broker_id, const char *cluster_id)
{
	struct str text;
	struct props p;
	char date[64];
	time_t now = (time_t)(env_wall_ms(dir->env) / 1000);
	struct tm tm;

	int err = read_props(dir->env, dir->path, "meta.properties", &p);
	const char *known = err ? NULL : props_get(&p, "cluster.id");
	bool whole = !err && props_get(&p, "broker.id") && (known || !*cluster_id);
	if (whole || (err && err != ERR_NOENT)) {
		props_fini(&p);
		return err;
	}
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a %b %d %H:%M:%S UTC %Y", &tm);
	str_init(&text);
	str_printf(&text, "#\n#%s\nbroker.id=%d\nversion=0\n", date, broker_id);
	if (known || *cluster_id)
		str_printf(&text, "cluster.id=%s\n", known ? known : cluster_id);
	/* Whatever else was there stays. */
	for (size_t i = 0; i < p.count; i++)
		if (strcmp(p.items[i].key, "broker.id") != 0 && strcmp(p.items[i].key, "version") != 0 && strcmp(p.items[i].key, "cluster.id") != 0)
			str_printf(&text, "%s=%s\n", p.items[i].key, p.items[i].value);
	err = write_small(dir->env, dir->path, "meta.properties", &text, 0644);
	str_fini(&text);
	props_fini(&p);
	return err;
}

int log_dirs_write_id_now(struct log_dirs *dirs, int32_t broker_id, const char *cluster_id)
{
	uint32_t working = 0;
	int last = ERR_IO;

	for (uint32_t i = 0; i < dirs->count; i++) {
		struct log_dir *dir = dirs->dirs[i];
		if (atomic_load(&dir->offline))
			continue;
		int err = write_meta(dir, broker_id, cluster_id);
		if (!err) /* the one that is there may be of a process that died between giving it its name and syncing that */
			err = fs_sync_dir(dir->env, dir->path);
		if (err) {
			log_dir_fail(dir, err);
			last = err;
		} else {
			working++;
		}
	}
	if (working == 0)
		return last;
	dirs->broker_id = broker_id;
	return 0;
}

int log_dirs_confirm_now(struct log_dirs *dirs, int32_t broker_id, const char *cluster_id)
{
	uint32_t working = 0;
	int last = ERR_IO;

	if (dirs->cluster_id[0] && strcmp(dirs->cluster_id, cluster_id) != 0)
		return ERR_INVAL;
	if (dirs->broker_id >= 0 && dirs->broker_id != broker_id)
		return ERR_INVAL;
	for (uint32_t i = 0; i < dirs->count; i++) {
		struct log_dir *dir = dirs->dirs[i];
		if (atomic_load(&dir->offline))
			continue;
		int err = write_meta(dir, broker_id, cluster_id);
		if (!err)
			err = write_boot(dir);
		if (err) {
			log_dir_fail(dir, err);
			last = err;
		} else {
			dir->confirmed = true;
			working++;
		}
	}
	if (working == 0)
		return last;
	dirs->broker_id = broker_id;
	snprintf(dirs->cluster_id, sizeof(dirs->cluster_id), "%s", cluster_id);
	return 0;
}

void log_dirs_free(struct log_dirs *dirs)
{
	if (!dirs)
		return;
	for (uint32_t i = 0; i < dirs->count; i++) {
		struct log_dir *dir = dirs->dirs[i];
		fs_unlock(dir->lock);
		for (uint32_t k = 0; k < dir->found_count; k++)
			mem_free(dir->found[k].topic);
		mem_free(dir->found);
		for (uint32_t k = 0; k < dir->deleted_count; k++)
			mem_free(dir->deleted[k]);
		mem_free(dir->deleted);
		mem_free(dir->path);
		mem_free(dir);
	}
	mem_free(dirs->dirs);
	mem_free(dirs);
}

void log_dirs_remove_deleted(struct log_dirs *dirs, struct loop *loop)
{
	for (uint32_t i = 0; i < dirs->count; i++)
		for (uint32_t k = 0; k < dirs->dirs[i]->deleted_count; k++)
			log_remove_directory(loop, dirs->dirs[i]->deleted[k]);
}

/* ---- the ZooKeeper session ---- */

int log_dirs_save_session_now(struct log_dirs *dirs, int64_t id, const uint8_t password[16])
{
	struct str text;
	int err = ERR_IO;

	str_init(&text);
	str_printf(&text, "session=%016" PRIx64 "\npassword=", (uint64_t)id);
	for (int i = 0; i < 16; i++)
		str_printf(&text, "%02x", password[i]);
	str_add(&text, "\n");
	for (uint32_t i = 0; i < dirs->count && err; i++)
		if (!atomic_load(&dirs->dirs[i]->offline))
			err = write_small(dirs->dirs[i]->env, dirs->dirs[i]->path, SESSION_FILE, &text, 0600);
	str_fini(&text);
	return err;
}

static bool parse_hex(const char *text, uint8_t *out, size_t len)
{
	if (!text || strlen(text) != 2 * len)
		return false;
	for (size_t i = 0; i < 2 * len; i++) {
		const char *digits = "0123456789abcdef", *d = strchr(digits, text[i]);
		if (!d)
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | (d - digits) : (d - digits) << 4);
	}
	return true;
}

int log_dirs_load_session_now(struct log_dirs *dirs, int64_t *ret_id, uint8_t ret_password[16])
{
	for (uint32_t i = 0; i < dirs->count; i++) {
		struct props p;
		uint8_t id[8], password[16];
		bool ok = false;
		if (atomic_load(&dirs->dirs[i]->offline))
			continue;
		if (read_props(dirs->dirs[i]->env, dirs->dirs[i]->path, SESSION_FILE, &p) == 0)
			ok = parse_hex(props_get(&p, "session"), id, sizeof(id)) && parse_hex(props_get(&p, "password"), password, sizeof(password));
		props_fini(&p);
		if (ok) {
			*ret_id = (int64_t)be64_get(id);
			memcpy(ret_password, password, sizeof(password));
			return 0;
		}
	}
	return ERR_NOENT;
}
