/* fetch_priv.h: how a head (home loop) and its parts (owner loops) share one fetch.
 *
 * A part's message is a token: whoever holds it may touch the part and its entries. At rest the head has all tokens. A poll sends them to
 * the owners; an owner keeps its token while there is not enough to answer (that is the long poll: look, arm, and every change of a
 * partition that is watched looks again on the same loop, so no wake-up is lost) and returns it with results. When one token came back
 * with enough, or the time is over, the head nudges the others: they look once more and return what there is. Only when all tokens
 * (and nudges) are home the answer is made.
 *
 * Owner's fields of an entry are used only on the owner loop; `in_link` lists (fresh, gone) carry entries down with the token.
 */
#pragma once

#include "brokerd/fetch/fetch.h"
#include "brokerd/replica/shard_priv.h"

struct fetch_head;
struct fetch_part;

struct fetch_answer {
	int16_t error;
	int64_t high_watermark, last_stable_offset, log_start_offset;
	int32_t diverging_epoch;      /* -1 none */
	int64_t diverging_end;
	int32_t leader_id, leader_epoch;
	uint64_t available;           /* bytes that a read would give at least, capped by the partition's limit */
	struct file *file;            /* one reference, or NULL */
	uint64_t pos, len;
	uint32_t generation;
	struct log_aborted *aborted;
	int32_t aborted_count;
};

struct fetch_entry {
	/* the request's; written by the head while it holds the token */
	char *topic;                  /* the head's memory; "" when only an id is known */
	size_t topic_len;
	struct uuid topic_id;
	int32_t partition, epoch, last_epoch, bytes_max;
	int64_t offset, log_start;
	struct list in_link;          /* part.fresh, part.gone, head.orphans or nothing */
	/* head's */
	struct fetch_part *part;      /* NULL: an orphan, its topic is unknown */
	struct fetch_entry *hash_next;
	uint64_t hash;
	uint64_t order;
	int64_t sent_hw, sent_start;
	/* owner's */
	struct partition_watch watch;
	struct list link;             /* part.entries */
	struct list dirty_link;       /* part.dirty */
	bool attached, dirty, fresh, told;
	bool parked;
	int64_t park_until_us;        /* B7: parked at a newer epoch than ours, or while the partition opens; 0 not */
	/* result: valid while listed in part.results */
	struct list result_link;
	struct fetch_answer answer;
};

struct fetch_part {
	struct msg msg;               /* the token */
	struct msg nudge;
	struct fetch_head *head;
	struct shard *shard;
	struct loop *home;
	/* head's */
	bool out, nudge_out, used;
	uint64_t reported;            /* bytes, as its token said last in this round */
	/* with the token, down */
	uint64_t round;
	bool first, now, full, incremental, close, once, any_growth;
	uint64_t min_bytes, budget;
	int16_t version;
	int32_t follower;             /* -1 consumer */
	int64_t follower_epoch;       /* its broker epoch, as it says; -1 it does not */
	bool debug_consumer, read_committed, by_id;
	struct image *image;          /* borrowed of the call */
	int64_t contact_ms;
	struct list fresh, gone;
	/* owner's */
	bool here, armed, reading;
	bool nudged;                  /* it is not to wait any more */
	uint64_t nudge_round;
	int64_t polled_ms, polled_contact_ms, polled_epoch;
	struct list entries, dirty;
	struct deferred look;
	struct timer park_timer;
	uint32_t reads_left;
	/* with the token, up */
	struct list results;
	bool complete;                /* results are there; false: only `bytes` */
	uint64_t bytes;
	struct arena arena;           /* of aborted lists */
};

struct fetch_head {
	struct fetch_home *home;
	struct list link;             /* home.sessions or home.live */
	struct fetch_call *call;      /* NULL at rest */
	struct fetch_call *next_call; /* came while `call` was waiting: ends it early */
	bool session;                 /* heap; else in the arena of its call */
	bool closed;                  /* the session is over: frees itself when at rest */
	bool cancelled, closing;
	/* session */
	int32_t id, epoch;
	bool by_id, privileged;
	int64_t created_ms, used_ms;
	struct fetch_entry **table;
	uint32_t table_size, entry_count;
	/* poll */
	uint64_t round, order_next;
	uint32_t out;                 /* tokens and nudges not home */
	bool satisfied;
	int32_t follower;
	int64_t min_bytes, max_bytes;
	struct timer timer;
	int64_t contact_ms;           /* when the last answer went out */
	struct list orphans;          /* entries whose topic is unknown */
	struct msg start;             /* lets a poll without parts end in a turn of its own */
	uint32_t part_count;
	struct fetch_part **parts;    /* by shard, NULL until used */
};

struct fetch_home {
	struct loop *loop;
	struct env *env;
	uint32_t idx, count;
	struct shard **shards;
	struct fetch_home **homes;
	struct fetch_homes_config config;
	struct list sessions, live;
	uint32_t session_count;
	uint64_t serial;
};

/* part.c */
void fetch_part_init(struct fetch_part *p, struct fetch_head *h, struct shard *s);
void fetch_part_fini(struct fetch_part *p);
void fetch_part_send(struct fetch_part *p);  /* the token goes down */
void fetch_part_nudge(struct fetch_part *p);
void fetch_entry_init(struct fetch_entry *e);
/* home.c: a token or a nudge came home */
void fetch_head_token(struct fetch_part *p);
void fetch_head_nudged(struct fetch_part *p);
/* answer.c: fills call->response from what the parts brought and releases it. */
void fetch_answer_build(struct fetch_head *h, struct fetch_call *c);
void fetch_answer_drop(struct fetch_head *h);
void fetch_answer_error(struct fetch_call *c, int16_t error);
