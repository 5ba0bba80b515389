/* cluster.h: the Kafka protocol over blocking sockets: everything that klamm asks and orders, except records.
 *
 * Records go through librdkafka (produce, consume, lag.c), because batching, codecs and rebalancing are its work. Administration
 * goes through here with the codec of the brokers, because librdkafka 2.0 lacks calls that klamm needs (incremental config
 * changes, log directories) and because one request to a named broker gives errors that can be told as they are.
 *
 * A connection is made when its broker is asked first and lives until cluster_close. On it the versions are agreed
 * (ApiVersions v0, which every broker answers). Each call has a deadline. Answers live as long as the cluster (one arena).
 * Failure: a negative ERR_ code, and cluster->why says what happened in words; cluster_fail turns that into an exit code.
 */
#pragma once

#include <stdint.h>

#include "common/base/arena.h"
#include "common/wire/kerr.h"
#include "klamm/cli.h"
#include "proto/kafka/kp.h"

enum {
	CLUSTER_ANY = -1,        /* whichever broker answered first */
	CLUSTER_CONTROLLER = -2, /* whom Metadata names as controller */
	CLUSTER_CALL_MS = 30000, /* for what was asked for */
	CLUSTER_LOOK_MS = 5000,  /* for what only completes a picture */
	CLUSTER_SETTLE_MS = 10000, /* how long answers of the moment (a leader or coordinator is changing) are asked for again */
};

struct cluster_link;

struct cluster {
	struct cli *cli;
	struct arena arena;
	struct cluster_link *links;
	const struct kp_metadata_response_brokers *brokers; /* of the last Metadata */
	int broker_count;
	int32_t controller;
	struct slice cluster_id;
	int32_t correlation_id;
	char why[400];
};

/* Connects to one of the bootstrap servers within cli->timeout_ms and learns the brokers. Exit code (said). */
MUST_CHECK int cluster_open(struct cli *cli);
void cluster_close(struct cli *cli);

/* One request and its answer, in the newest version that both know. 0 or ERR_UNREACHABLE, ERR_TIMEOUT (it may have happened),
 * ERR_RESET, ERR_UNSUPPORTED (the broker does not offer the API), ERR_CORRUPT, ERR_NOENT (no such broker). */
MUST_CHECK int cluster_call(struct cluster *c, int32_t node, int16_t api_key, unsigned timeout_ms, const void *req, void *ret_resp);
/* Whether the broker offers the API in at least this version; connects if need be. */
bool cluster_offers(struct cluster *c, int32_t node, int16_t api_key, int16_t version);
/* Says why a call failed; what = "group g cannot be deleted". Exit code. */
int cluster_fail(struct cluster *c, int err, const char *what);

/* Metadata of these topics, or of all with count < 0; errors per topic are the caller's. Exit code (said). */
MUST_CHECK int cluster_metadata(struct cluster *c, const char *const *topics, int count, struct kp_metadata_response *ret);
/* One topic, sorted by partition; waits while it has no leaders yet. Exit code (said); CLI_NO_SUCH when there is none. */
MUST_CHECK int cluster_topic(struct cluster *c, const char *name, const struct kp_metadata_response_topics **ret);
/* The partition's entry, or NULL. */
const struct kp_metadata_response_topics_partitions *cluster_partition(const struct kp_metadata_response_topics *t, int32_t id);
const struct kp_metadata_response_brokers *cluster_broker(const struct cluster *c, int32_t id); /* NULL: not up */

/* The error that an answer holds as a whole, for the two below; none of them asks twice after another error. */
typedef int16_t cluster_error_of(const void *resp);
/* Asks a group's coordinator, again while it moves or loads, or cannot be reached (all that we ask of it may be asked twice). *node: whom to ask
 * first, -1 to find out; holds who answered. Exit code (said, with what in front); an error that does not pass is in *resp. */
MUST_CHECK int cluster_ask_coordinator(struct cluster *c, const char *group, int32_t *node, int16_t api_key, const void *req, void *ret_resp,
                                       cluster_error_of *error_of, const char *what);
/* The same for the controller: again while it changes; not if an order may have arrived already. */
MUST_CHECK int cluster_ask_controller(struct cluster *c, int16_t api_key, const void *req, void *ret_resp, cluster_error_of *error_of, const char *what);
/* Answers that pass by themselves: leaders, coordinators, controllers on the move. */
bool cluster_passing(int16_t error_code);
void cluster_pause(unsigned ms);

/* Strings of answers as C text, kept in the arena; NULL for null. */
const char *cluster_text(struct cluster *c, struct slice s);
