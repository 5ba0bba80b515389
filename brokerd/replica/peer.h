/* peer.h: the client side of one connection to a broker: connect, ApiVersions, requests, answers in order.
 *
 * Thread: the loop that opened it. Used by fetchers and by probes (a probe is: connect, wait for on_ready or on_closed).
 * Frames: sizes are checked against frame_bytes_max before memory is taken, and counted against a budget when there is one (I7): without
 * room the connection is not read until there is.
 */
#pragma once

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/env/conn.h"
#include "common/env/loop.h"
#include "common/wire/api.h"

/* Bytes that receive buffers may hold; outlives its owner while a buffer lives. Thread: any. */
struct recv_budget;
struct recv_budget *recv_budget_new(int64_t max);
void recv_budget_unref(struct recv_budget *b);
/* A buffer counted against the budget; NULL when there is no room now (the first one is always admitted). */
struct buf *recv_budget_buf(struct recv_budget *b, size_t bytes);

struct peer;
struct peer_config {
	const char *host;             /* copied by the backend */
	uint16_t port;
	const char *client_id;        /* lives as long as the peer */
	const char *software_version; /* "0.1.0", or "0.1.0-loop.N" to be served by that loop (I1) */
	int64_t connect_timeout_ms;   /* covers ApiVersions too */
	uint32_t frame_bytes_max;
	struct recv_budget *budget;   /* NULL: none */
};
struct peer_events {
	void (*on_ready)(void *ctx);           /* ApiVersions was answered */
	void (*on_closed)(void *ctx, int err); /* last call; all requests were failed before; the peer frees itself afterwards */
};
struct peer_request { /* the caller's until done */
	struct list link;
	const struct wire_api *api;
	int16_t version;
	int32_t correlation_id;
	int64_t due_us;
	/* err 0: `body` is the message behind the header, inside `frame` (take a reference to keep it). May call peer_close. */
	void (*done)(struct peer_request *r, int err, struct slice body, struct buf *frame);
	void *ctx;
};
struct peer *peer_open(struct loop *l, const struct peer_config *cfg, const struct peer_events *ev, void *ctx);
/* After on_ready. The highest version that both sides have, at most `most`; -1: the peer lacks the API. */
int16_t peer_version(const struct peer *p, int16_t api_key, int16_t most);
void peer_send(struct peer *p, struct peer_request *r, int16_t api_key, int16_t version, const void *msg, int64_t timeout_ms);
/* Closes now; requests under way are forgotten (done does not run). */
void peer_close(struct peer *p);
