/* ask.h: what data loops ask of the control loop, and through it of the controller: messages that come back as the reply.
 *
 * Thread: filled and finished on the sender's loop; in between they belong to the control loop.
 */
#pragma once

#include "common/base/buf.h"
#include "common/env/loop.h"

/* A client's request for the controller (protocol.md L): posted to the control loop, comes back as the reply. */
struct ask_forward {
	struct msg msg;
	struct buf *buf;           /* holds request */
	struct slice request;      /* with its header, without size */
	char client_host[64];
	const char *listener;
	void (*done)(struct ask_forward *f); /* on the sender's loop; frees */
	void *ctx;
	/* out */
	int16_t error;             /* Kafka code: no answer from a controller (REQUEST_TIMED_OUT, ...) */
	uint8_t *response;         /* body without header; mem_free by done */
	size_t response_len;
};
/* A few producer ids for a data loop to hand out. */
struct ask_producer_ids {
	struct msg msg;
	void (*done)(struct ask_producer_ids *p);
	void *ctx;
	int16_t error;
	int64_t first;
	int32_t count;
};
struct ask_services {
	struct loop *control;
	void *ctx; /* of the two functions below: they run on the control loop, with msg->... */
	void (*forward)(void *ctx, struct ask_forward *f);
	void (*producer_ids)(void *ctx, struct ask_producer_ids *p);
};
