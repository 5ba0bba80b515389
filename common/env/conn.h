/* conn.h: stream connections and listeners. Thread: the loop that the connection belongs to.
 *
 * Receiving is pull-free: the backend asks the handler for memory (on_space) and fills it (on_data), so that a frame body can
 * be read straight into its own buffer. Sending takes a chain of bytes and file ranges.
 */
#pragma once

#include "common/base/buf.h"
#include "common/env/env.h"

struct conn_handler {
	/* Where to put what comes next. Return false to stop reading until conn_resume. *ret_len > 0. */
	bool (*on_space)(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len);
	/* len bytes were written to the place given by the last on_space. May call conn_close. */
	void (*on_data)(struct conn *c, void *ctx, size_t len);
	/* The chain given to conn_send became shorter; `left` bytes are still queued. May be NULL. */
	void (*on_sent)(struct conn *c, void *ctx, uint64_t left);
	/* Outgoing only: connected. May be NULL for accepted ones. */
	void (*on_open)(struct conn *c, void *ctx);
	/* Gone; last call. err: ERR_CLOSED (end of stream), ERR_RESET, ERR_REFUSED, ERR_TIMEOUT, ERR_UNREACHABLE, ERR_IO (a file
	 * range could not be sent). Not called after conn_close by ourselves. The conn is freed by the backend afterwards. */
	void (*on_closed)(struct conn *c, void *ctx, int err);
};

struct conn {
	struct loop *loop;
	const struct conn_handler *handler;
	void *ctx;
	char peer[64];   /* "127.0.0.1" or "::1": address without port, numeric */
	uint16_t peer_port;
	uint64_t queued; /* bytes given to conn_send and not yet taken by the kernel (sim: by the network) */
};

/* Connects; the result comes as on_open or on_closed. host may be a name (resolved off the loop). timeout_ms covers all of it. */
struct conn *conn_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx);
/* Queues the pieces of `chain` (empty afterwards). File ranges go by sendfile; a range whose generation is old, or whose file is
 * too short, closes the connection with ERR_IO (protocol.md G4). Flushed at the end of the turn, or at once when large. */
void conn_send(struct conn *c, struct chain *chain);
/* Lets reading go on after on_space returned false. */
void conn_resume(struct conn *c);
/* Closes now; queued bytes are dropped; no callback follows. The pointer is invalid afterwards. */
void conn_close(struct conn *c);
/* Closes once everything queued was sent; reads nothing more; on_closed(ERR_CLOSED) follows. */
void conn_shutdown(struct conn *c);
/* Moves the connection to another loop: after this call the old loop may not touch it; arrived(c, ctx) runs on the new one, where
 * handler and ctx may be replaced by writing to the struct. Only from within on_data with nothing queued to send. */
void conn_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx));

struct listen_config {
	const char *host; /* "" or "0.0.0.0": all */
	uint16_t port;    /* 0 = any (see ret_port) */
	int backlog;
	int32_t send_buffer_bytes, receive_buffer_bytes; /* of accepted sockets; 0 or less: as the kernel thinks best */
	/* A new connection; set c->handler and c->ctx here, or conn_close it. */
	void (*on_accept)(struct listener *ln, struct conn *c, void *ctx);
	void *ctx;
};
struct listener {
	struct loop *loop;
	uint16_t port;
	void *ctx;
};
/* One listener accepts on one loop; several loops may listen on the same port (SO_REUSEPORT), the world spreads connections.
 * ERR_EXIST address in use, ERR_INVAL bad address. The name must be numeric or "localhost". */
MUST_CHECK int listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln);
void listener_pause(struct listener *ln, bool paused); /* stop accepting while out of descriptors or credit */
void listener_close(struct listener *ln);

/* ---- HTTP (admin.listener): a pure function (method, path) -> body, on the loop ---- */
struct str;
struct http_reply {
	int status;
	const char *content_type; /* static */
	struct str *body;         /* filled by the handler */
};
typedef void http_fn(void *ctx, const char *method, const char *path, struct http_reply *reply);
struct http;
MUST_CHECK int http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port);
void http_close(struct http *h);
