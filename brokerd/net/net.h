/* net.h: client connections of one data loop: framing, pipelining with answers in order, bounds.
 *
 * Knows frames (int32 size, bytes) and nothing of what is in them: each complete frame becomes a net_request for the handler, which
 * answers it once, whenever it likes; answers leave in the order in which the requests came.
 *
 * Zero copy: small frames are slices of a shared receive slab of the loop, large ones get a buffer of their own; a request holds a
 * reference, so whoever needs the bytes longer takes another one. Memory is taken as bytes arrive, never as a size promises; the
 * total of receive buffers is bounded by a byte budget (protocol.md I7), a connection's by its requests in flight.
 * A silent connection costs its two structs.
 *
 * Thread: a net_loop, its connections and their requests belong to one data loop.
 */
#pragma once

#include "brokerd/net/limits.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/env/conn.h"
#include "common/env/loop.h"

struct net_loop;
struct net_conn;

struct net_config {
	int32_t frame_bytes_max;    /* socket.request.max.bytes */
	int64_t idle_max_ms;        /* connections.max.idle.ms; <= 0 never */
	uint32_t inflight_max;      /* requests of one connection that are not answered; then it is not read */
	uint64_t receive_bytes_max; /* receive buffers of this loop, together */
	struct net_limits *limits;  /* shared by all loops */
	uint32_t connections_max;   /* until net_loop_limit says otherwise */
	const char *free_listener;  /* whose connections connections_max does not concern; NULL none */
	int32_t send_buffer_bytes, receive_buffer_bytes; /* of sockets; 0 or less: as the kernel thinks best */
	uint64_t request_arena_max; /* memory that decoding one request may take, beside its bytes */
};

struct net_request {
	struct net_conn *conn;  /* NULL once the connection is gone: the answer will be dropped, but must still be given */
	struct net_loop *net;
	struct buf *buf;        /* one reference */
	struct slice frame;     /* without the size */
	struct arena arena;     /* lives until the request is answered */
	int64_t received_us;
	const char *listener;   /* name of the listener that the connection came through */
	/* the handler's */
	int16_t api_key, api_version;
	int32_t correlation_id;
	void *ctx;
	void (*on_gone)(struct net_request *r); /* the connection died while the request is in flight; may be NULL; the answer is still due */
	/* net's */
	struct list link;
	struct chain out;
	uint8_t kind; /* given to net_may_start; 0 = none */
	bool answered, silent, close_after;
};
#define NET_KINDS 8 /* requests of a connection are told apart by a kind from 1 to 7; 0 is not counted */

enum net_verdict {
	NET_TAKEN, /* will be answered by one of the net_answer calls (maybe it was already) */
	NET_CLOSE, /* close the connection without an answer; the request is freed by net */
	NET_LATER, /* net_may_start said no; the frame is handed out again when its time has come, nothing behind it is before */
	NET_MOVE,  /* serve this connection, this request first, on the loop net_request_set_target named */
};
/* Runs for every frame. */
typedef enum net_verdict net_handler_fn(void *ctx, struct net_request *r);

struct net_loop *net_loop_new(struct loop *l, uint32_t idx, const struct net_config *cfg, net_handler_fn *fn, void *ctx);
void net_loop_free(struct net_loop *n);
/* Other limits (copied); connections that are there stay. On the loop. */
void net_loop_limit(struct net_loop *n, const struct net_limit_values *v);
/* All net loops of the broker, in order of idx, so that connections can move. */
void net_loop_set_peers(struct net_loop *n, struct net_loop **peers, uint32_t count);
/* Opens a listener; port 0 = any (ret_port). Runs on the loop. */
MUST_CHECK int net_listen(struct net_loop *n, const char *name, const char *host, uint16_t port, int backlog, uint16_t *ret_port);
void net_stop_listening(struct net_loop *n);
/* Ends all connections, each once its answers are sent; what is not answered by now is not answered. No frame is handed out any more. */
void net_shut_all(struct net_loop *n);
/* Closes all connections. */
void net_close_all(struct net_loop *n);

/* Answers: exactly one of these per request; frees the request (now, or when its turn to be sent comes). */
void net_answer(struct net_request *r, struct chain *out);  /* moves the pieces: a whole frame, size included */
void net_answer_none(struct net_request *r);                /* acks=0: nothing is sent */
void net_answer_close(struct net_request *r);               /* answers before it are sent, then the connection closes; later requests are dropped */

/* Order of effects within a connection. Says of what kind the request is, and which kinds (bits 1 << kind) must not be under way before it: true if
 * none is, and the request counts until it is answered (or refused by NET_CLOSE); false: return NET_LATER. Once per request, before its work begins. */
MUST_CHECK bool net_may_start(struct net_request *r, uint8_t kind, uint32_t not_beside);
void net_request_set_target(struct net_request *r, uint32_t loop_idx); /* with NET_MOVE */
const char *net_request_peer(const struct net_request *r);  /* numeric address; "" when gone */
/* Stops handing out further frames of this connection until released: order across asynchronous checks (protocol.md I3). */
void net_hold(struct net_request *r);
void net_release(struct net_loop *n, struct net_conn *c);
/* Per-connection word of the handler (e.g. "a broker"), kept across requests and moves. */
uintptr_t *net_conn_word(struct net_request *r);

struct net_stats { uint32_t connections; uint64_t receive_bytes; uint64_t accepted, closed_idle, refused, requests; };
const struct net_stats *net_loop_stats(struct net_loop *n);
