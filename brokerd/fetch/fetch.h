/* fetch.h: one Fetch request from its decoded form to its answer, consumers and followers alike (facts/replication.md 5, 6, 10; protocol.md I5).
 *
 * A fetch session is a head on its home loop (the number of the loop is in the session id) and one part per owner loop with its partitions
 * and a dirty list: an append marks dirty and wakes the part once; a poll costs what changed, not what is subscribed; min_bytes is summed at
 * the head; cancel is a message. A request without a session is a session that ends with its answer.
 * A request that names a session whose home is another loop is forwarded there.
 */
#pragma once

#include "brokerd/meta/image.h"
#include "brokerd/replica/shard.h"
#include "common/base/arena.h"
#include "proto/kafka/kp.h"

struct fetch_home; /* of one data loop: the heads that live there */
struct fetch_homes_config { int32_t slots_max; int64_t evict_ms; int32_t fetch_max_bytes; };
struct fetch_home *fetch_home_new(struct loop *l, uint32_t idx, struct shard **shards, struct fetch_home **homes, uint32_t count, const struct fetch_homes_config *cfg);
void fetch_home_free(struct fetch_home *h);

struct fetch_call {
	/* in */
	int16_t version;
	const struct kp_fetch_request *request; /* lives in the caller's arena until done */
	struct image *image;     /* borrowed until done */
	struct arena *arena;     /* for the response */
	const char *client_id;   /* for limits and logs */
	const char *rack;
	bool from_broker;        /* the peer is an authenticated broker: replica ids are believed */
	void (*done)(struct fetch_call *c);
	void *ctx;
	/* out: encode at once; records are chains of file ranges */
	struct kp_fetch_response response;
	void *priv[16];
};
/* Below version 4, before the answer is encoded: what there is of records becomes message sets of the old formats, in a job; then done(c), on l. */
void fetch_convert(struct loop *l, struct fetch_call *c, void (*done)(struct fetch_call *c));
void fetch_submit(struct fetch_home *h, struct fetch_call *c); /* done never runs inside */
void fetch_cancel(struct fetch_home *h, struct fetch_call *c); /* the connection is gone; done still runs, soon */
