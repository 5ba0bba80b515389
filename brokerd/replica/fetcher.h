/* fetcher.h: the follower side of replication: one connection per (data loop, leader broker) over the Kafka protocol.
 *
 * Thread: the shard's loop. Rules: facts/replication.md 2, 4, 6; protocol.md B3, B4, B7, I1, I7.
 * The leader's session holds what is followed; a round names only what changed, so idle partitions cost nothing. One fetch is in flight;
 * when more is to be fetched while it waits at the leader, a second one is sent, which ends the first early.
 */
#pragma once

#include <stdint.h>

struct partition;
struct shard;

/* Follows p->core.leader at p->core.leader_epoch from the local end on (or truncates first). */
void fetcher_add(struct partition *p);
/* Stops: whatever is still in flight is ignored when it comes (B3). */
void fetcher_remove(struct partition *p);
/* A truncation is done: goes on. */
void fetcher_truncated(struct partition *p);
/* One Fetch at our new epoch to the old leader, so that it learns (B4). */
void fetcher_depose(struct shard *s, int32_t old_leader, const struct partition *p);
/* Endpoints may have moved. */
void fetchers_brokers_changed(struct shard *s);
void fetchers_free(struct shard *s);
