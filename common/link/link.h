/* link.h: the control link's stream part (design.md section 1): frames over one connection.
 *
 * A frame is a 4-byte big-endian length and that many bytes of body (one protobuf message of proto/klamm, which this file knows
 * nothing about). Bodies of 0 bytes are frames too.
 *
 * Memory is taken for bytes that arrived, not for what a length announces: the receive buffer starts at 4 KiB and doubles as it
 * fills. A length above the limit closes the link with ERR_LIMIT.
 * Thread: the loop of the connection. Callbacks may call link_send and link_free; after link_free nothing is called again.
 * A link that closed by itself (peer, error) calls closed once and then only waits for link_free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/env/conn.h"

#define LINK_FRAME_MAX ((uint32_t)64 << 20)
#define LINK_HEADER_BYTES 4

struct link;
struct link_handler {
	void (*opened)(struct link *l, void *ctx); /* outgoing links only: connected. May be NULL */
	/* A whole frame; body is valid during the call, unless the callee takes link_frame_buf. */
	void (*frame)(struct link *l, void *ctx, struct slice body);
	void (*closed)(struct link *l, void *ctx, int err); /* ERR_CLOSED, ERR_RESET, ERR_REFUSED, ..., ERR_LIMIT: frame too long */
	void (*sent)(struct link *l, void *ctx, uint64_t left); /* fewer bytes are queued. May be NULL */
};

struct link_stats {
	uint64_t bytes_in, bytes_out; /* headers included; out = given to link_send */
	uint64_t frames_in, frames_out;
	int64_t last_receive_us; /* loop_now_us of the last bytes; of the start before any came */
};

/* Outgoing: connects now. */
struct link *link_connect(struct loop *loop, const char *host, uint16_t port, int64_t timeout_ms, const struct link_handler *h, void *ctx);
/* Incoming: takes over an accepted connection (within on_accept, or when nothing was read yet). */
struct link *link_accept(struct conn *c, const struct link_handler *h, void *ctx);
/* Another owner for the same link, e.g. once hello told whose it is. */
void link_set_handler(struct link *l, const struct link_handler *h, void *ctx);
/* For the time before a peer is known: a smaller limit for frames (at most LINK_FRAME_MAX). */
void link_set_frame_max(struct link *l, uint32_t bytes_max);

/* Sends one frame whose body is the chain (empty afterwards). On a closed link the chain is dropped. Larger than LINK_FRAME_MAX: ASSERT. */
void link_send(struct link *l, struct chain *body);
void link_send_bytes(struct link *l, const void *body, size_t len);

bool link_is_open(const struct link *l);      /* frames can be sent (an outgoing one: connected or connecting) */
uint64_t link_queued(const struct link *l);   /* bytes not yet taken by the kernel */
const char *link_peer(const struct link *l);  /* numeric address, "" when gone */
const struct link_stats *link_stats(const struct link *l);

/* Within frame(): the buffer that holds body, with a reference of its own for the caller; body.ptr points into its data. */
struct buf *link_frame_buf(struct link *l);

/* Closes at once without the closed callback; frees when no callback of this link is running any more. */
void link_free(struct link *l); /* NULL is fine */
/* Closes once everything queued was sent; closed(ERR_CLOSED) follows. */
void link_shutdown(struct link *l);
