/* fetcher_priv.h: between fetcher.c (connection, session, rounds) and follow.c (what answers do to partitions). */
#pragma once

#include "brokerd/replica/fetcher.h"
#include "brokerd/replica/shard_priv.h"
#include "proto/kafka/kp.h"

struct fetch_round { /* one Fetch in flight */
	struct peer_request req;
	struct fetcher *f;
	bool in_use, full;
	uint32_t session_generation;
	uint64_t number;
};

struct fetcher {
	struct list link;            /* shard.fetchers */
	struct shard *s;
	int32_t broker;
	char *host;
	uint16_t port;
	int64_t broker_epoch;        /* of the life that we are connected to */
	char client_id[64], software[64];
	struct peer *peer;
	bool ready, closing;
	int64_t retry_due_us;        /* not before this: connect, or fetch after a failed round */
	int64_t idle_since_us;
	struct timer timer;
	struct deferred run;
	/* partitions: those in `changed` are to be named in the next round */
	struct list parts, changed, delayed;
	uint32_t part_count, no_id_count;
	uint32_t busy;               /* appends and truncations of this round that are under way */
	struct list forget;          /* struct forget_item */
	struct list deposes;         /* struct depose_item */
	/* the leader's session */
	int32_t session_id, session_epoch;
	bool session_by_id;
	uint32_t session_generation;
	struct fetch_round rounds[2];
	uint32_t in_flight;
	uint64_t round_number;       /* of the last one sent, over all connections */
};

struct forget_item {
	struct list link;
	char *topic;
	struct uuid topic_id;
	int32_t partition;
};
struct depose_item {
	struct list link;
	char *topic;
	struct uuid topic_id;
	int32_t partition, epoch, last_epoch;
	int64_t offset, log_start;
};

/* fetcher.c */
void fetcher_kick(struct fetcher *f);                 /* looks for work at the end of the turn */
void fetcher_mark(struct partition *p);               /* ready: to be named in the next round if the session has something else */
void fetcher_delay(struct partition *p, int64_t us);
void fetcher_start_filed(struct partition *p);        /* the leader may hear of a newer start */
void fetcher_set_busy(struct partition *p);           /* out of the rounds until fetcher_mark */
void fetcher_set_failed(struct partition *p);
void fetcher_unbusy(struct fetcher *f);
/* follow.c */
int32_t follow_last_epoch(const struct partition *p); /* of the last record here; -1 none or unknown */
void follow_response(struct fetcher *f, uint64_t round, const struct kp_fetch_response *resp, struct buf *frame);
void follow_start(struct partition *p);
int64_t follow_retry_us(const struct partition *p, int16_t error);
