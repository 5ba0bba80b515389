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
	int32_t timeout_ms;        /* of the request itself; -1: it has none */
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
/* Offsets of OffsetCommit and OffsetFetch version 0: /consumers/GROUP/offsets/TOPIC/PARTITION in ZooKeeper (protocol.md J4). */
struct ask_zk_offset {
	const char *path;
	int64_t offset;            /* in; out when read: -1 none */
	int16_t error;             /* out */
};
struct ask_zk_offsets {
	struct msg msg;
	void (*done)(struct ask_zk_offsets *a); /* on the sender's loop */
	void *ctx;
	bool write;
	struct ask_zk_offset *rows;
	uint32_t count;
	uint32_t waiting;          /* the control loop's */
};
struct log_dirs;

/* The log starts that were moved before this was posted are in the checkpoint files when it comes back. */
struct ask_checkpoint {
	struct msg msg;
	void (*done)(struct ask_checkpoint *k); /* on the sender's loop */
	void *ctx;
	void *priv[4];             /* the control loop's */
};
struct ask_services {
	struct loop *control;
	const struct log_dirs *dirs; /* of this broker */
	void *broker; /* of the next one */
	void (*checkpoint)(void *broker, struct ask_checkpoint *k);
	void *ctx; /* of the two functions below: they run on the control loop, with msg->... */
	void (*forward)(void *ctx, struct ask_forward *f);
	void (*producer_ids)(void *ctx, struct ask_producer_ids *p);
	void *zk_ctx;
	void (*zk_offsets)(void *zk_ctx, struct ask_zk_offsets *a);
};
