/* api_priv.h: for the files of brokerd/api. */
#pragma once

#include "brokerd/api/api.h"

struct api_call {
	struct api *api;
	struct net_request *r;
	const struct wire_api *wire;
	int16_t version;
	struct slice client_id;
	struct image *image; /* one reference */
	void *request;       /* decoded, in r->arena */
	void *state;         /* the handler's */
};

#define API_KEY_MAX 80
struct api {
	struct env *env;
	struct loop *loop;
	uint32_t idx, shard_count;
	struct shard **shards;
	struct coordinator **coordinators;
	struct fetch_home *fetch;
	const struct broker_config *config;
	struct running_seat *running; /* of this loop */
	const struct ask_services *services;
	struct image *image;
	/* producer ids in hand; waiting InitProducerId calls */
	int64_t pid_next, pid_end;
	bool pid_asked;
	struct list pid_waiting;
	struct list creating; /* topics whose auto-creation is under way */
	struct list group_calls; /* struct group_part: messages with memory of their own that are out */
	struct list group_answers; /* struct group_split: answers that are being made */
	uint64_t counts[API_KEY_MAX];
	struct histogram *latency; /* by row of the table */
};

/* What a request may run beside on its connection. Answers leave in order anyway; this is about effects: what a client did before, on the same
 * connection, it sees, as in Kafka, which handles one request of a connection after the other (docs/ARCHITECTURE.md, "Order within a connection"). */
enum api_order {
	API_FREE = 0,   /* neither reads nor changes what others change: runs beside everything */
	API_APPEND = 1, /* Produce: beside reads and other appends (their owners keep the order of each partition: I3), after changes */
	API_READ = 2,   /* after appends and changes, beside other reads */
	API_POLL = 3,   /* Fetch: a read that may take long; nobody waits for it */
	API_CHANGE = 4, /* changes the state of the cluster, of groups, of a log other than at its end: after appends, changes and reads */
};

struct api_row {
	int16_t key, min_version, max_version;
	enum api_order order;
	void (*handle)(struct api_call *c);
};
extern const struct api_row api_rows[];
extern const uint32_t api_row_count;

/* Answers with the message and frees the call. */
void api_reply(struct api_call *c, const void *response);
/* Answers with a body that is encoded already (forwarded requests). */
void api_reply_body(struct api_call *c, const uint8_t *body, size_t len);
void api_reply_chain(struct api_call *c, struct chain *body); /* the same; emptied */
void api_close(struct api_call *c);  /* no answer: the connection ends after the answers before it */
void api_silent(struct api_call *c); /* acks=0 */

uint32_t api_owner(const struct api *a, const struct image_topic *t, int32_t partition);
/* The topic a request names by id (version speaks ids) or by name. *ret_error says why NULL. */
const struct image_topic *api_topic(struct api_call *c, struct slice name, const struct uuid *id, bool by_id, int16_t *ret_error);
#define API_NO_TIMEOUT INT32_MIN /* the request has no timeout of its own */
/* A request of ours for the controller; done as in ask_forward. */
void api_forward_call(struct api_call *c, int32_t timeout_ms, void (*done)(struct api_call *c, int16_t error, const uint8_t *body, size_t len));
/* What a topic configuration makes of the checks on a batch. */
void api_batch_limits(struct api *a, const struct image_topic *t, int16_t produce_version, struct batch_limits *ret_lim, struct log_config *ret_cfg);
/* KIP-951: endpoints of the leaders that were named in hints. */
const struct image_endpoint *api_leader_endpoint(struct api_call *c, int32_t leader_id, const struct image_broker **ret_broker);


/* ---- topics made on use: create.c ---- */
/* What the client is told meanwhile, as by Kafka: the broker that is called controller says that the leader is missing yet (or that there are too few
 * brokers), others that there is no such topic. Clients ask again in either case; also when too many creations are under way. */
int16_t api_auto_create(struct api_call *c, struct slice name);
/* False: not asked for just now (too few brokers live, or it was asked for already). */
bool api_create_offsets_topic(struct api_call *c);
void api_creating_free(struct api *a);

/* ---- groups.c: calls to coordinators ---- */
/* One group's call, carried to its coordinator and back: finish(c, 0) with the response filled by the core, or with the coordinator's error. */
void api_group_call(struct api_call *c, enum group_kind kind, struct slice group, const void *request, void *response, void (*finish)(struct api_call *c, int16_t error));
/* Several groups of one request, split by partition of the offsets topic. */
struct group_part {
	struct group_msg m;
	struct list link;      /* in api.group_calls, so that the dead can be buried */
	struct arena arena;    /* answers, until they are encoded */
	struct group_split *split;
	uint32_t *groups;      /* which of the request's, in order; m.count of them */
};
/* Where the answer for a group of the request is: i-th of the part; part NULL: there is no offsets topic. */
struct group_place { struct group_part *part; uint32_t i; };
struct group_split {
	struct api_call *c;
	struct group_part **parts;
	uint32_t part_count, waiting;
	struct group_place *places; /* by group of the request */
	uint32_t count;             /* groups of the request */
	void (*finish)(struct group_split *s);
	/* api_group_rows */
	struct list link;           /* in api.group_answers */
	const struct wire_struct *row;
	void (*fill)(struct group_split *s, uint32_t i, void *ret_row);
	uint32_t next;
	struct chain body;
	struct timer turn;
};
struct group_split *api_group_split(struct api_call *c, enum group_kind kind, uint32_t count, struct slice (*group_at)(const void *request, uint32_t i));
void api_group_send(struct group_split *s, void (*finish)(struct group_split *s)); /* once the parts' messages are filled; finish ends with one of these: */
void api_group_reply(struct group_split *s, const void *response);
/* The answer is (throttle time,) an array with a row per group of the request: filled and encoded over as many turns as it takes (protocol.md G3). */
void api_group_rows(struct group_split *s, const struct wire_struct *row, void (*fill)(struct group_split *s, uint32_t i, void *ret_row));
void api_groups_free(struct api *a);

void api_do_api_versions(struct api_call *c);
void api_do_metadata(struct api_call *c);
void api_do_produce(struct api_call *c);
void api_do_fetch(struct api_call *c);
void api_do_list_offsets(struct api_call *c);
void api_do_offset_for_leader_epoch(struct api_call *c);
void api_do_incremental_alter_configs(struct api_call *c);
void api_do_init_producer_id(struct api_call *c);
void api_do_alter_configs(struct api_call *c);
void api_do_create_topics(struct api_call *c);
void api_do_delete_topics(struct api_call *c);
void api_do_delete_records(struct api_call *c);
void api_do_describe_log_dirs(struct api_call *c);
void api_do_describe_producers(struct api_call *c);
void api_do_create_partitions(struct api_call *c);
void api_do_elect_leaders(struct api_call *c);
void api_do_describe_configs(struct api_call *c);
void api_do_describe_cluster(struct api_call *c);
void api_do_list_partition_reassignments(struct api_call *c);
void api_do_find_coordinator(struct api_call *c);
void api_do_join_group(struct api_call *c);
void api_do_sync_group(struct api_call *c);
void api_do_heartbeat(struct api_call *c);
void api_do_leave_group(struct api_call *c);
void api_do_describe_groups(struct api_call *c);
void api_do_list_groups(struct api_call *c);
void api_do_delete_groups(struct api_call *c);
void api_do_offset_commit(struct api_call *c);
void api_do_offset_fetch(struct api_call *c);
void api_do_offset_delete(struct api_call *c);
