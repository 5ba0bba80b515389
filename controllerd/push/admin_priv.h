/* admin_priv.h: how a forwarded admin request is served: one row of struct admin_call per API.
 *
 * admin.c decodes the request, keeps it while it waits, and answers. A call's start function gets the decoded request (it lives as long as
 * the answer is owed) and fills q->response, the API's response message. What it still waits for it keeps in q->own; its settled function
 * is asked at each publication and tick, with `late` once the deadline has passed and nothing is on its way to ZooKeeper any more (or for too long), and then
 * puts codes where something is still open.
 * What each row of a request asks for is begun by `plan`, as many rows in a turn as fit into half a millisecond (protocol.md G3): a request may
 * name ten thousand topics. The rest follows also when the deadline has passed and the client was answered.
 * Writes on their way are counted in q->writing and come back through admin_written.
 * A new API: its row in a file of its kind, named in admin.c; api_forward_call in brokerd/api.
 * Thread: the control loop.
 */
#pragma once

#include "common/base/str.h"
#include "controllerd/push/push.h"
#include "proto/kafka/kp.h"

struct push_pending {
	struct list link, planning;
	struct push *push;
	const struct admin_call *call;
	uint32_t peer;       /* number of the link that asked */
	uint64_t number;
	int16_t version;
	int64_t deadline_us; /* INT64_MAX none */
	struct arena arena;  /* request, response, their texts */
	void *response;      /* NULL: not a forwarded request */
	void *own;           /* the call's */
	const void *request;
	int32_t rows;        /* that plan is to be called for; set by start */
	int32_t planned;     /* so many of them it was called for */
	int32_t writing;     /* nodes on their way; one more while rows are to be planned */
	int32_t undecided;   /* rows that wait for others before it is known what is to be done */
	bool dead;           /* answered; freed when the last write comes back */
};

struct admin_call {
	int16_t key;                                           /* -1: not a forwarded request */
	void (*start)(struct push_pending *q, const void *request);
	void (*plan)(struct push_pending *q, int32_t row);     /* NULL: start does all */
	bool (*settled)(struct push_pending *q, bool late);    /* NULL: once nothing is being written */
	void (*answer)(struct push_pending *q, int16_t error); /* NULL: q->response, or the error that stands for all of it */
};

/* ---- admin.c ---- */
struct push_pending *admin_pending_new(struct push_peer *peer, const struct admin_call *call, uint64_t number);
void admin_timeout(struct push_pending *q, int32_t timeout_ms);
/* A write came back. False: the request was answered before, and q may be gone. */
MUST_CHECK bool admin_written(struct push_pending *q);
struct slice admin_text(struct push_pending *q, const struct str *s); /* a copy that lives as long as q; null if empty */

/* Of each name the place of the first that is equal to it: requests may name the same thing again. In q's arena. */
const int32_t *admin_first_named(struct push_pending *q, const struct slice *names, int32_t count);

/* ---- admin_configs.c ---- */
extern const struct admin_call admin_alter_configs, admin_incremental_alter_configs;

/* ---- admin_topics.c ---- */
extern const struct admin_call admin_create_topics, admin_delete_topics, admin_list_partition_reassignments;

/* ---- admin_elect.c ---- */
extern const struct admin_call admin_elect_leaders;
/* ---- admin_partitions.c ---- */
extern const struct admin_call admin_create_partitions;
