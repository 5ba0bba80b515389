/* api.h: what a broker answers: from a decoded Kafka request to its encoded response.
 *
 * One `struct api` per data loop; a request is decoded and answered on the loop of its connection, with one image from start to end. What belongs
 * to partitions is asked of their owners by message (brokerd/replica/shard.h), what belongs to the cluster of the controller through the control loop.
 * The table in api.c is the one place that says which APIs and versions are offered; ApiVersions answers it.
 * Internal failures become Kafka error codes here and nowhere else.
 *
 * Thread: everything belongs to the data loop, but for the two messages to the control loop.
 */
#pragma once

#include "brokerd/config/running.h"
#include "brokerd/fetch/fetch.h"
#include "brokerd/group/coordinator.h"
#include "brokerd/link/ask.h"
#include "brokerd/net/net.h"
#include "brokerd/replica/shard.h"
#include "common/wire/api.h"
#include "common/wire/frame.h"
#include "common/metrics/metrics.h"
#include "common/wire/kerr.h"
#include "proto/kafka/kp.h"

struct api;

struct api_init {
	struct env *env;
	struct loop *loop;
	uint32_t idx, shard_count;
	struct shard **shards;
	struct coordinator **coordinators; /* one per data loop */
	struct fetch_home *fetch;
	const struct broker_config *config;
	struct running_seat *running; /* of the loop */
	const struct ask_services *services;
};
struct api *api_new(const struct api_init *init);
void api_free(struct api *a);
/* The image that new requests use; one reference is taken over. */
void api_set_image(struct api *a, struct image *im);
/* net_handler_fn; ctx = struct api. */
enum net_verdict api_handle(void *ctx, struct net_request *r);

/* Latency in us from the whole request to its answer; written on the api's loop, read anywhere. */
struct api_stats_row { const char *name; uint64_t count; struct histogram *latency; };
#define API_STATS_ROWS 64
uint32_t api_stats(const struct api *a, struct api_stats_row *out, uint32_t cap);
