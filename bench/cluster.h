/* cluster.h: what klamm-load knows of the cluster: brokers, and leader and epoch of each partition of one topic.
 *
 * Metadata is asked for without waiting (cluster_refresh, cluster_tick), from one broker after the other until one
 * answers within 250 ms, so that a probe goes on measuring the other partitions while a broker is dead. Leader epochs
 * only grow: an answer from a broker that lags never takes a leader back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/net.h"

#define CLUSTER_ADDRS 64

struct cluster_addr {
	char host[256];
	int port;
	int32_t id; /* -1: bootstrap */
};

struct cluster_part {
	int32_t leader; /* -1: none */
	int32_t epoch;
	int16_t error;
	uint32_t replicas, isr;
};

struct cluster {
	struct net *net;
	struct cluster_addr boot[CLUSTER_ADDRS], brokers[CLUSTER_ADDRS];
	unsigned boot_count, broker_count, next_addr;
	const char *topic;      /* NULL: no topic, brokers only */
	bool auto_create;
	struct cluster_part *parts;
	uint32_t part_count;
	int16_t topic_error;
	uint64_t generation;    /* answers applied */
	uint64_t last_answer_ns;
	struct net_conn *conn;
	bool asked;
	uint64_t asked_ns, retry_ns;
};

/* bootstrap = "host:port[,host:port]". False: cannot be read. */
bool cluster_init(struct cluster *c, struct net *net, const char *bootstrap, const char *topic);
void cluster_fini(struct cluster *c);
/* Asks for metadata unless a question is on its way. */
void cluster_refresh(struct cluster *c);
/* To be called often: gives up on a broker that does not answer and asks the next. */
void cluster_tick(struct cluster *c, uint64_t now);
/* Waits until metadata came and, if need_leaders, every partition of the topic has a leader. */
bool cluster_wait(struct cluster *c, bool need_leaders, unsigned timeout_ms);
const struct cluster_addr *cluster_broker(const struct cluster *c, int32_t id); /* NULL: unknown */
/* One sentence on why nothing came, for stderr. */
const char *cluster_why(const struct cluster *c);

/* Splits "host:port" (or "[v6]:port"). */
bool cluster_split(const char *text, size_t len, struct cluster_addr *ret);
/* Applies the answer to a Metadata request. False: does not parse. */
bool cluster_apply(struct cluster *c, struct slice answer);
void cluster_encode(const struct cluster *c, struct kw_out *out);
