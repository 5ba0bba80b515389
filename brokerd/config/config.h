/* config.h: the broker's static configuration: parsed once, checked, immutable. What is in force over it: running.h.
 *
 * Kafka's keys in Java properties syntax (common/config/keys.h has one row per key). Problems are told in one line each: what is refused ends the start
 * with exit 78, what has no effect is a warning.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/group/group.h"
#include "brokerd/log/log.h"
#include "brokerd/meta/image.h"
#include "brokerd/replica/shard.h"
#include "common/base/props.h"
#include "common/base/str.h"
#include "common/config/broker_key.h"

struct config_listener { char *name, *host; uint16_t port; char *security; };

struct broker_config {
	struct props props;            /* what the file and the overrides say */
	int32_t broker_id;             /* -1: not in the file; see struct broker for the one in force */
	bool broker_id_generation;     /* then one may be generated, above the reserved ones */
	int32_t reserved_broker_max_id;
	uint32_t image_slice;          /* tests: partitions of an image that one turn works on; 0 = the usual number */
	char *rack;                    /* NULL none */
	char *zookeeper_connect;
	int32_t zookeeper_session_timeout_ms;
	struct config_listener *listeners, *advertised;
	uint32_t listener_count, advertised_count;
	char *inter_broker_listener;
	char **log_dirs;
	uint32_t log_dir_count;
	char *admin_host;              /* NULL: off */
	uint16_t admin_port;
	uint32_t data_loops;           /* 0 = one per CPU */
	int64_t log_dir_reserved_bytes;
	int32_t socket_request_max_bytes, listen_backlog, max_connections;
	int32_t socket_send_buffer_bytes, socket_receive_buffer_bytes; /* 0: not in the file, the kernel's choice */
	int64_t connections_max_idle_ms, queued_max_request_bytes;
	int32_t num_partitions, default_replication_factor;
	bool auto_create_topics;
	int32_t fetch_session_slots;
	bool controlled_shutdown;
	int32_t controlled_shutdown_retries;
	int64_t controlled_shutdown_backoff_ms;
	int64_t recovery_checkpoint_ms, start_checkpoint_ms;
	int32_t recovery_threads_per_dir;
	struct groups_config groups;
	struct {                       /* of __consumer_offsets */
		int32_t partitions, segment_bytes, codec, load_buffer_bytes, commit_timeout_ms;
		int16_t replication_factor;
		int64_t check_interval_ms;
	} offsets;
	struct log_config log;         /* topic defaults, as far as the file says */
	struct replica_config replica;
};

/* Parses and checks. On failure (ERR_INVAL) *problem is one line: file, line, key, what is allowed. Warnings are lines in *warnings. */
MUST_CHECK int broker_config_parse(const char *file_name, struct slice text, const char *const *overrides, uint32_t override_count,
	struct broker_config **ret_cfg, struct str *problem, struct str *warnings);
void broker_config_free(struct broker_config *c);

/* Value in force and where it comes from, for DescribeConfigs: the file's, else the default (may be NULL). */
const char *broker_config_value(const struct broker_config *c, const struct config_key *k, bool *ret_static);
/* The keys whose values must agree cluster-wide, for the hello (protocol.md D1). */
extern const char *const broker_hello_keys[];
extern const uint32_t broker_hello_key_count;
