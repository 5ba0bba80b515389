/* partition.h: one partition replica on its owner loop: its log, its replica core, and what waits for it.
 *
 * Thread: the owner loop of its shard. Private to brokerd/replica and brokerd/fetch (owner side).
 *
 * States and their legal predecessors:
 *   absent      (begin), opening                       opening: a directory was found, but no log in it
 *   opening     absent
 *   idle        opening, follower, leader, truncating     log open, no role (no leader, not assigned, or no image yet)
 *   follower    idle, leader, truncating, (follower: other leader or epoch)
 *   truncating  follower                                  the log is being cut; states wait until it is done
 *   leader      idle, follower, (leader: new epoch)
 *   stopping    opening, idle, follower, truncating, leader, old-format    clean stop
 *   deleting    absent, opening, idle, follower, truncating, leader, failed, old-format
 *   failed      opening, idle, follower, truncating, leader    its directory is offline, or it broke a rule; nothing is served
 *   old-format  opening                                   record format 0/1 on disk: left untouched
 * Whatever an image says while the log is not at hand (opening, truncating) is kept as `want` and applied when it is.
 */
#pragma once

#include "brokerd/log/log.h"
#include "brokerd/meta/image.h"
#include "brokerd/replica/replica.h"
#include "common/base/list.h"

enum partition_state {
	PARTITION_ABSENT,
	PARTITION_OPENING,
	PARTITION_IDLE,
	PARTITION_FOLLOWER,
	PARTITION_TRUNCATING,
	PARTITION_LEADER,
	PARTITION_STOPPING,
	PARTITION_DELETING,
	PARTITION_FAILED,
	PARTITION_OLD_FORMAT,
};

struct shard;
struct shard_load;
struct fetcher;
struct open_job;

enum partition_news {
	NEWS_END = 1,    /* the end moved */
	NEWS_HW = 2,     /* the high watermark (and with it the last stable offset) moved */
	NEWS_START = 4,  /* the log start moved */
	NEWS_STATE = 8,  /* role, epoch or hosting changed: look at everything again */
};

/* Somebody who wants to hear of changes: an entry of a fetch. */
struct partition_watch {
	struct list link;                /* in partition.watches */
	struct partition *partition;     /* NULL once the partition is gone */
	void (*news)(struct partition_watch *w, unsigned news); /* may not unlink others; runs before the turn ends */
	/* A follower whose fetch waits at the end of the log without being looked at (I5): its silence is worth a fetch at *polled_ms. */
	int32_t follower;                /* -1 consumer */
	bool at_end;
	int64_t offset, start;
	const int64_t *polled_ms, *contact_ms, *polled_epoch; /* of the request that it came with */
};

enum follow_state {
	FOLLOW_READY,   /* to be fetched */
	FOLLOW_BUSY,    /* an append, a truncation or a question to the leader is under way */
	FOLLOW_DELAYED, /* until due_us */
	FOLLOW_FAILED,  /* until the next state (section 2) */
};
struct follow { /* as follower: see fetcher.c */
	struct fetcher *fetcher;     /* NULL: not followed */
	struct list link;            /* in fetcher.parts */
	struct list work;            /* in fetcher.changed or fetcher.delayed, or in none */
	enum follow_state state;
	bool in_session;             /* the leader's session holds it, with these: */
	int64_t sent_offset, sent_start;
	int32_t sent_epoch, sent_last_epoch;
	uint64_t sent_round;         /* the round that named it last: answers to earlier ones are not about these */
	int64_t due_us, since_us;    /* since_us: when this leader epoch became ours (B7) */
	int64_t leader_hw, leader_start;
	int64_t lag;
	uint32_t generation;         /* completions of an earlier leader epoch are recognised by it */
	bool appending, without_id;
	uint32_t append_generation;
	struct fetcher *append_fetcher; /* whose round it is; NULL once that one is gone */
	struct log_append append;
};

struct partition {
	struct partition *hash_next;
	uint64_t hash;
	struct list all_link;        /* in shard.all, or shard.old when it gave up its name */
	struct list create_link;     /* in shard.to_create: its log is to be made */
	struct shard *shard;
	char *topic;
	size_t topic_len;
	struct uuid topic_id;
	int32_t partition;
	enum partition_state state;
	bool retired;                /* out of the table: removed, or its name belongs to another topic id now */
	bool removed;                /* a remove delta named it (K1) */
	bool missing;                /* the image wants a replica that we do not have and may not make (E1) */
	struct log *log;
	struct log_dir *dir;
	struct open_job *job;
	struct replica core;
	int64_t high_watermark;
	/* what an image said while the log was not at hand */
	struct image *want_image;
	const struct image_topic *want_topic;
	const struct image_partition *want;
	/* waiting */
	struct list waits;           /* struct produce_wait, by offset: appended, not yet committed */
	struct list parked;          /* struct produce_wait, in order of arrival */
	struct list deletes;         /* struct delete_part: low watermarks that are waited for */
	struct list watches;
	struct list proposing_link;  /* in shard.proposing while a proposal is open or a suspension lasts */
	struct follow follow;
	/* Where the log begins by what stands in its files: a follower may say no more than that, since it may lead after a crash (starts.c). */
	int64_t start_filed, start_asked;
	struct list starts_link;     /* in shard.starts_due or shard.starts_asked */
	uint64_t bytes_in, records_in, bytes_out, records_out; /* statistics */
};

struct partition *partition_new(struct shard *s, struct slice topic, const struct uuid *id, int32_t partition);
void partition_free(struct partition *p);

/* Starts the job that opens a log found on disk (load != NULL) or makes an empty one. */
void partition_open(struct partition *p, struct log_dir *dir, bool create, struct shard_load *load);
/* A state from `im`; kept for later when the log is not at hand. Stale ones have no effect. */
void partition_apply(struct partition *p, struct image *im, const struct image_topic *t, const struct image_partition *ip);
/* The image does not name it any more: it loses its role and is kept (K2). */
void partition_unassign(struct partition *p);
/* A remove delta (K1): ends in replica_deleted and partition_free. */
void partition_remove(struct partition *p);
/* The partition gave up its name to another topic id, no remove delta seen: it is kept as a stray (K2). */
void partition_retire(struct partition *p);
/* Executes what the core asked for. */
void partition_do(struct partition *p, const struct replica_out *out);
void partition_set_hw(struct partition *p, int64_t high_watermark);
void partition_tell(struct partition *p, unsigned news);
/* Follower: cuts the log (or empties it to start at `offset`); done(p, err) on the owner, not when a new state came meanwhile. */
void partition_truncate(struct partition *p, int64_t offset, bool fully);
void partition_fail(struct partition *p, const char *why);
/* Its directory went offline. */
void partition_dir_failed(struct partition *p, int err);
void partition_refresh_eligible(struct partition *p);
/* Counts the silence of followers that wait at the end as fetches (I5). */
/* Whether a fetch of this follower is of the life that its broker has now (D2): what waits here may be left from one that lost power since, unheard.
 * epoch: broker epoch as the fetch said; a renewed registration (D4) is not older than its life's first. -1: it did not say (before Fetch 15), then it
 * counts if it came after we heard of this life. */
bool partition_follower_counts(const struct partition *p, int32_t id, int64_t epoch, int64_t polled_ms);
void partition_count_idle_followers(struct partition *p);
void partition_stop(struct partition *p); /* clean; shard_partition_stopped follows */
const char *partition_state_str(enum partition_state st);

static inline bool partition_is_leader(const struct partition *p) { return p->state == PARTITION_LEADER; }
static inline bool partition_is_open(const struct partition *p)
{
	return p->state == PARTITION_IDLE || p->state == PARTITION_FOLLOWER || p->state == PARTITION_LEADER || p->state == PARTITION_TRUNCATING;
}
/* Its log is being opened, made or cut, or its directory is about to be free: what it is asked now may be answered in a moment. */
bool partition_serves_soon(const struct partition *p);
/* How long such a request may wait for it: what a slow disk needs to make a log, or a moment. */
int32_t partition_soon_ms(const struct partition *p);
/* Which error a request gets that needs the log here (section 3): 0, 3, 6 or 56. */
int16_t partition_hosting_error(const struct partition *p);
