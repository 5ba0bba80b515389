/* client.h: what producing, consuming and admin clients share: connections to brokers, requests in order, metadata.
 *
 * One struct client per simulated client process, on its control loop. Like the usual clients it keeps one connection per broker,
 * pipelines, gives up a connection when an answer takes too long, and refreshes metadata by itself and when told to.
 * What may be answered late (joining a group) has connections of its own, as with the usual clients: node + CLIENT_COORDINATOR.
 * Callbacks: done(ctx, err, msg) once per request, in order per connection; msg is the decoded answer (valid during the call),
 * NULL when err is not 0. Callbacks may send.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/wire/api.h"
#include "tests/sim/harness.h"

#define CLIENT_COORDINATOR BROKERS_MAX

struct client;
typedef void client_done_fn(void *ctx, int err, const void *msg);

struct client_node {
	struct client *client;
	int idx;
	struct link *link;
	struct list requests;
	int32_t next_correlation;
	int64_t retry_us;   /* no connecting before this */
	uint32_t serial;    /* counts connections */
};

struct client_partition {
	int32_t leader; /* broker index, -1 none */
	int32_t epoch;
};

struct client {
	struct run *r;
	struct env *env;
	struct loop *loop;
	char id[24];
	struct client_node nodes[2 * BROKERS_MAX];
	struct client_partition parts[TPS_MAX];
	struct timer tick, meta_timer;
	bool meta_busy, meta_again;
	int64_t meta_us;           /* of the last good answer */
	int16_t meta_version;
	struct arena arena;
	int arena_depth;
	void (*on_metadata)(void *ctx);
	void *ctx;
};

void client_init(struct client *c, struct run *r, struct env *env, struct loop *loop, const char *id, void (*on_metadata)(void *ctx), void *ctx);
/* For reap: the world is dead, only memory is left. */
void client_fini(struct client *c);
/* False: no connection can be had now (backoff): nothing was sent, done is not called. done NULL: no answer is expected. */
bool client_send(struct client *c, int node, const struct wire_api *api, int16_t version, const void *msg, int64_t timeout_us, client_done_fn *done, void *ctx);
/* Soon, whatever the timer says; at most every 20..100 ms. */
void client_refresh(struct client *c);
void client_drop(struct client *c, int node); /* closes the connection; its requests fail */
int client_any_node(struct client *c);        /* a random one */

/* A simulated host and process for a client; restarted by nobody. */
struct sim_process *client_process(struct run *r, const char *host, const struct sim_program *prog);
