/* log_dir.h: the log directories of a broker: lock, meta.properties, boot mark, checkpoints, health, space (facts/ondisk.md 1, 5-7, protocol.md D5, E1, G1).
 *
 * Thread: opened in a job at start; afterwards struct log_dir is shared by all data loops: its fields that change are atomic.
 * Checkpoint files are written by jobs of the control loop from numbers that the data loops report.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"
#include "common/base/uuid.h"
#include "common/env/fs.h"

enum log_start_class { LOG_START_CLEAN, LOG_START_CRASHED, LOG_START_LOSSY }; /* protocol.md E1 */

struct log_found { /* one partition directory found at start */
	char *topic;
	int32_t partition;
	struct uuid topic_id;      /* zero when partition.metadata is absent */
	int64_t recovery_point, log_start_offset, high_watermark; /* checkpoints; 0, -1, -1 when absent */
};

struct log_dir {
	struct env *env;
	char *path;
	struct uuid directory_id;  /* in the dot-file .klamm_boot (meta.properties stays Kafka's) */
	enum log_start_class start_class;
	bool confirmed;            /* log_dirs_confirm_now was through with it: the boot mark is of this start */
	struct log_found *found;
	uint32_t found_count;
	char **deleted;            /* paths of directories of deleted partitions (TOPIC-P.UUID-delete) that are still there */
	uint32_t deleted_count;
	atomic_bool offline;
	atomic_int offline_err;
	_Atomic uint64_t bytes_free;    /* refreshed by log_dir_poll_space */
	uint64_t bytes_reserved;        /* log.dir.reserved.bytes: producers are refused below it */
	uint64_t fs_identity;
	struct file *lock;
};

struct log_dirs_open {
	struct env *env;
	const char *const *paths;
	uint32_t count;
	int32_t broker_id;         /* -1: take it from meta.properties, else must agree */
	uint64_t bytes_reserved;
};
struct loop;
struct log_dirs {
	struct log_dir **dirs;
	uint32_t count;
	int32_t broker_id;         /* -1 if none was found */
	const char *id_from;       /* the directory whose meta.properties gave it; NULL: it was configured, or there is none */
	char cluster_id[64];       /* from meta.properties, "" if none */
};
/* Blocking (job). Creates missing directories (0700), locks, reads everything, classifies the start, removes .kafka_cleanshutdown. A directory that fails is
 * offline, not fatal, unless all do. On error *ret_why (free with mem_free) is one sentence naming file and remedy.
 * ERR_LOCKED: another process uses it; ERR_INVAL: ids disagree. */
MUST_CHECK int log_dirs_open_now(const struct log_dirs_open *o, struct log_dirs **ret_dirs, char **ret_why);
/* Writes meta.properties where it is missing or lacks the id, for an id that no file of configuration says: before the broker registers under it.
 * On return it survives a power cut.
 * Blocking. cluster_id "": not known yet. A directory that fails is offline; an error only if all do. */
MUST_CHECK int log_dirs_write_id_now(struct log_dirs *dirs, int32_t broker_id, const char *cluster_id);
/* Writes meta.properties where missing (broker id, cluster id are known now) and the boot mark: blocking. The boot mark forgets that this start was
 * lossy: call it when the controller has admitted us (D2). ERR_INVAL: ids disagree with what was found. */
MUST_CHECK int log_dirs_confirm_now(struct log_dirs *dirs, int32_t broker_id, const char *cluster_id);
void log_dirs_free(struct log_dirs *dirs); /* releases locks */
/* Starts the removal of dir->deleted in the background; once, after the start. */
void log_dirs_remove_deleted(struct log_dirs *dirs, struct loop *loop);
/* After a directory failed while the process goes on: takes the boot mark away, so that the next start is lossy (E1). Blocking, best effort. */
MUST_CHECK int log_dir_mark_failed_now(struct log_dir *dir);
/* Takes a directory offline (first caller true). */
bool log_dir_fail(struct log_dir *dir, int err);
/* Room for bytes above the reserve? */
bool log_dir_has_room(const struct log_dir *dir, uint64_t bytes);
MUST_CHECK int log_dir_poll_space_now(struct log_dir *dir);
/* Of its file system; blocking. */
MUST_CHECK int log_dir_space_now(const struct log_dir *dir, uint64_t *ret_total, uint64_t *ret_free);

struct checkpoint_entry { const char *topic; int32_t partition; int64_t offset; };
MUST_CHECK int checkpoint_write_now(struct env *env, const char *path, const struct checkpoint_entry *entries, uint32_t count);
/* Absent, unreadable, wrong count or version: 0 entries and ERR_NOENT / ERR_CORRUPT. Names are in the arena. */
struct arena;
MUST_CHECK int checkpoint_read_now(struct env *env, const char *path, struct arena *a, struct checkpoint_entry **ret_entries, uint32_t *ret_count);
/* The last step of a clean stop: .kafka_cleanshutdown, synced. Not after a lossy start that nobody was told of (not confirmed): the next start has to
 * be lossy as well. */
MUST_CHECK int log_dir_mark_clean_now(struct log_dir *dir);
/* The ZooKeeper session that must be ended at the next start (protocol.md D5): 0600 dot-file in the first directory that works. */
MUST_CHECK int log_dirs_save_session_now(struct log_dirs *dirs, int64_t id, const uint8_t password[16]);
MUST_CHECK int log_dirs_load_session_now(struct log_dirs *dirs, int64_t *ret_id, uint8_t ret_password[16]); /* ERR_NOENT */
