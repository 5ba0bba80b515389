/* zkdata.h: every znode path that Klamm uses, and the codec of its content, in one place.
 *
 * Layout and JSON are Kafka's (docs/FORMATS.md); what is ours is below /klamm, in /controller and in partition states
 * (protocol.md J2). Paths are relative to the chroot of zookeeper.connect.
 *
 * Decoding: content comes from whoever can write to ZooKeeper. Unknown keys are ignored, optional ones may be missing, anything
 * that does not make sense is ERR_CORRUPT; nothing is asserted. Data above ZKD_BYTES_MAX is ERR_CORRUPT too, so that memory is
 * bounded by a small multiple of that. Results live in the arena given; ret is written on success only.
 * Encoding: appends JSON with a fixed key order; arrays and maps in the order given. Text that is not UTF-8 gets U+FFFD.
 * zkd_ = data, zkp_ = path. Thread: any; no state.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/str.h"
#include "common/base/uuid.h"

/* ZooKeeper's own limit is 1 MB by default; operators raise it for large topics. */
#define ZKD_BYTES_MAX ((size_t)8 << 20)
#define ZKD_NAME_MAX 1024 /* bytes of a topic, host, listener, rack, cluster id text */

/* ---- fixed paths ---- */

#define ZKP_BROKERS "/brokers"
#define ZKP_BROKER_IDS "/brokers/ids"
#define ZKP_BROKER_SEQID "/brokers/seqid"
#define ZKP_TOPICS "/brokers/topics"
#define ZKP_CONTROLLER "/controller"
#define ZKP_CONTROLLER_EPOCH "/controller_epoch"
#define ZKP_CLUSTER "/cluster"
#define ZKP_CLUSTER_ID "/cluster/id"
#define ZKP_CONFIG "/config"
#define ZKP_CONFIG_TOPICS "/config/topics"
#define ZKP_CONFIG_BROKERS "/config/brokers"
#define ZKP_CONFIG_CLIENTS "/config/clients"
#define ZKP_CONFIG_USERS "/config/users"
#define ZKP_CONFIG_IPS "/config/ips"
#define ZKP_CONFIG_CHANGES "/config/changes"
#define ZKP_CONFIG_CHANGE_PREFIX "config_change_" /* child names; 10 digits follow */
#define ZKP_ADMIN "/admin"
#define ZKP_DELETE_TOPICS "/admin/delete_topics"
#define ZKP_REASSIGN "/admin/reassign_partitions"
#define ZKP_PREFERRED_ELECTION "/admin/preferred_replica_election"
#define ZKP_PRODUCER_IDS "/latest_producer_id_block"
#define ZKP_ISR_CHANGES "/isr_change_notification"
#define ZKP_ISR_CHANGE_PREFIX "isr_change_"
#define ZKP_LOG_DIR_EVENTS "/log_dir_event_notification"
#define ZKP_LOG_DIR_EVENT_PREFIX "log_dir_event_"
#define ZKP_FEATURE "/feature"
#define ZKP_MIGRATION "/migration"
#define ZKP_CONSUMERS "/consumers"
#define ZKP_KLAMM "/klamm"
#define ZKP_KLAMM_BROKERS "/klamm/brokers"
#define ZKP_KLAMM_CONTROLLERS "/klamm/controllers"
#define ZKP_KLAMM_DELETED "/klamm/deleted"
#define ZKP_KLAMM_JOURNAL "/klamm/journal"
#define ZKP_KLAMM_LINEAGE "/klamm/lineage"
#define ZKP_KLAMM_STATUS "/klamm/status"
#define ZKP_KLAMM_STATUS_BROKERS "/klamm/status/brokers"
#define ZKP_KLAMM_STATUS_CONTROLLER "/klamm/status/controller"

#define ZKD_JOURNAL_SLOTS 256 /* protocol.md F1 */
#define ZKD_DEFAULT_ENTITY "<default>"

/* What a controller creates before it stands for election (protocol.md J4), null data, parents first, then in Kafka's order; ours
 * last. NULL ends it. /cluster/id and /feature come with content and are not in it. */
extern const char *const zkp_base_paths[];

/* ---- paths with a variable part; in the arena ---- */

const char *zkp_broker(struct arena *a, int32_t id);                 /* /brokers/ids/N */
const char *zkp_topic(struct arena *a, const char *topic);           /* /brokers/topics/T */
const char *zkp_partitions(struct arena *a, const char *topic);      /* .../T/partitions */
const char *zkp_partition(struct arena *a, const char *topic, int32_t partition); /* .../T/partitions/P */
const char *zkp_state(struct arena *a, const char *topic, int32_t partition);     /* .../T/partitions/P/state */
const char *zkp_delete_topic(struct arena *a, const char *topic);    /* /admin/delete_topics/T */
const char *zkp_config_topic(struct arena *a, const char *topic);    /* /config/topics/T */
const char *zkp_config_change(struct arena *a);                      /* prefix for a sequential create */
const char *zkp_config_change_node(struct arena *a, const char *name); /* /config/changes/NAME */
const char *zkp_consumer_offset(struct arena *a, const char *group, const char *topic, int32_t partition);
const char *zkp_klamm_broker(struct arena *a, int32_t id);           /* /klamm/brokers/N */
const char *zkp_klamm_controller(struct arena *a, int32_t id);       /* /klamm/controllers/N */
const char *zkp_status_broker(struct arena *a, int32_t id);          /* /klamm/status/brokers/N */
const char *zkp_deleted(struct arena *a, const struct uuid *topic_id); /* /klamm/deleted/ID */
const char *zkp_journal(struct arena *a, int64_t seq);               /* /klamm/journal/<seq mod 256> */
const char *zkp_child(struct arena *a, const char *parent, const char *name);

/* Number behind a prefix in a sequential child's name ("config_change_0000000042" -> 42); ERR_INVAL else. */
MUST_CHECK int zkp_sequence(const char *name, const char *prefix, int64_t *ret_seq);
/* A child name of /brokers/ids, /klamm/brokers, partitions: canonical decimal >= 0; ERR_INVAL else. */
MUST_CHECK int zkp_id(const char *name, int32_t *ret_id);
/* /brokers/topics/T/partitions/P/state -> T, P (T in the arena); ERR_INVAL else. */
MUST_CHECK int zkp_parse_state(struct arena *a, const char *path, const char **ret_topic, int32_t *ret_partition);

/* Entity names in /config paths: URL encoding with %20 and %2A. Unsanitise: ERR_CORRUPT on a bad escape. */
const char *zkp_sanitise(struct arena *a, const char *name);
MUST_CHECK int zkp_unsanitise(struct arena *a, struct slice text, const char **ret_name);

/* ---- configuration entities ---- */

enum zkd_entity_kind { ZKD_ENTITY_TOPIC, ZKD_ENTITY_BROKER, ZKD_ENTITY_CLIENT, ZKD_ENTITY_USER, ZKD_ENTITY_USER_CLIENT, ZKD_ENTITY_IP };
struct zkd_entity {
	enum zkd_entity_kind kind;
	const char *name;   /* as the user wrote it (not sanitised); NULL = the default entity */
	const char *client; /* USER_CLIENT only: the client id; NULL = default */
};
/* Path below /config ("users/a%20b/clients/<default>") and back. Decoding of an unknown type: ERR_UNSUPPORTED. */
const char *zkp_entity(struct arena *a, const struct zkd_entity *e);         /* without /config/ */
const char *zkp_config_entity(struct arena *a, const struct zkd_entity *e);  /* /config/... */
MUST_CHECK int zkp_entity_parse(struct arena *a, struct slice entity_path, struct zkd_entity *ret_e);

/* ---- /brokers/ids/N ---- */

struct zkd_endpoint {
	const char *listener; /* listener name */
	const char *protocol; /* security protocol: PLAINTEXT, SSL, ... */
	const char *host;     /* without brackets */
	int32_t port;
};
struct zkd_feature_range {
	const char *name;
	int32_t min_version, max_version;
};
struct zkd_broker {
	int32_t version; /* read: 1..; written: always 5 */
	int32_t jmx_port;
	int64_t timestamp_ms;
	const char *rack; /* NULL = none */
	const struct zkd_endpoint *endpoints;
	size_t endpoint_count;
	const struct zkd_feature_range *features;
	size_t feature_count;
};
/* Version 1 (host and port only) decodes to one PLAINTEXT endpoint. At least one endpoint is always there. */
MUST_CHECK int zkd_broker_decode(struct slice data, struct arena *a, struct zkd_broker *ret_b);
void zkd_broker_encode(struct str *out, const struct zkd_broker *b);

/* ---- /brokers/topics/T ---- */

struct zkd_ids {
	const int32_t *ids;
	size_t count;
};
struct zkd_partition {
	int32_t partition;
	struct zkd_ids replicas; /* at least one, all different */
	struct zkd_ids adding, removing;
};
struct zkd_topic {
	int32_t version;  /* read: any; written: 3 */
	bool has_topic_id;
	struct uuid topic_id;
	const struct zkd_partition *partitions; /* ascending */
	size_t partition_count;
};
MUST_CHECK int zkd_topic_decode(struct slice data, struct arena *a, struct zkd_topic *ret_t);
void zkd_topic_encode(struct str *out, const struct zkd_topic *t); /* topic_id left out unless has_topic_id */

/* ---- .../partitions/P/state ---- */

struct zkd_state {
	int32_t leader; /* -1 = none */
	int32_t leader_epoch, controller_epoch;
	int32_t leader_recovery_state; /* 0 recovered, 1 recovering */
	struct zkd_ids isr;            /* may be empty in foreign data */
	bool has_klamm;                /* our field was there (protocol.md E2); encode writes it if elr or lossy hold something */
	struct zkd_ids elr, lossy;
};
MUST_CHECK int zkd_state_decode(struct slice data, struct arena *a, struct zkd_state *ret_s);
void zkd_state_encode(struct str *out, const struct zkd_state *s);

/* ---- /controller, /controller_epoch, /cluster/id, /feature ---- */

struct zkd_controller {
	int32_t brokerid;
	int64_t timestamp_ms;
	int32_t kraft_controller_epoch; /* -1 = none; > 0: hands off (protocol.md H5) */
	bool has_klamm;                 /* ours; without it Kafka rules */
	int32_t klamm_id;
	const char *klamm_host;
	int32_t klamm_port;
	const char *klamm_version; /* of the software */
	uint64_t klamm_incarnation; /* random per process life (protocol.md A5), as 16 hex digits; 0 = not there */
};
MUST_CHECK int zkd_controller_decode(struct slice data, struct arena *a, struct zkd_controller *ret_c);
void zkd_controller_encode(struct str *out, const struct zkd_controller *c); /* version 2; with the klamm field if has_klamm */

/* Decimal text >= 0 as in /controller_epoch; surrounding blanks are taken as Kafka does not write them: ERR_CORRUPT. */
MUST_CHECK int zkd_epoch_decode(struct slice data, int32_t *ret_epoch);
void zkd_epoch_encode(struct str *out, int32_t epoch);

MUST_CHECK int zkd_cluster_id_decode(struct slice data, struct arena *a, const char **ret_id);
void zkd_cluster_id_encode(struct str *out, const char *id);

struct zkd_feature {
	int32_t version; /* 1: ranges; 2: max only (min_version reads as 1) */
	int32_t status;  /* 0 disabled, 1 enabled */
	const struct zkd_feature_range *features;
	size_t feature_count;
};
MUST_CHECK int zkd_feature_decode(struct slice data, struct arena *a, struct zkd_feature *ret_f);
void zkd_feature_encode(struct str *out, const struct zkd_feature *f);

/* ---- /config ---- */

struct zkd_config_entry {
	const char *key, *value;
};
struct zkd_config {
	const struct zkd_config_entry *entries; /* in file order */
	size_t count;
};
/* Read as Kafka reads it: whatever version it says, or none; no "config", or one that is no object, is no setting. A value that is no text: ERR_CORRUPT. */
MUST_CHECK int zkd_config_decode(struct slice data, struct arena *a, struct zkd_config *ret_c);
void zkd_config_encode(struct str *out, const struct zkd_config *c);
const char *zkd_config_get(const struct zkd_config *c, const char *key); /* NULL if absent */

/* Version 1 (entity_type, entity_name) and 2 (entity_path); written: 2. Unknown entity types: ERR_UNSUPPORTED. */
MUST_CHECK int zkd_config_change_decode(struct slice data, struct arena *a, struct zkd_entity *ret_e);
void zkd_config_change_encode(struct str *out, const struct zkd_entity *e);

/* ---- requests of tools and old brokers ---- */

struct zkd_partition_ref {
	const char *topic;
	int32_t partition;
	struct zkd_ids replicas; /* reassignment only */
};
struct zkd_partition_list {
	const struct zkd_partition_ref *items;
	size_t count;
};
MUST_CHECK int zkd_reassign_decode(struct slice data, struct arena *a, struct zkd_partition_list *ret_l);
void zkd_reassign_encode(struct str *out, const struct zkd_partition_list *l);
/* /admin/preferred_replica_election and /isr_change_notification/isr_change_N */
MUST_CHECK int zkd_partitions_decode(struct slice data, struct arena *a, struct zkd_partition_list *ret_l);
void zkd_partitions_encode(struct str *out, const struct zkd_partition_list *l);

struct zkd_log_dir_event {
	int32_t broker, event; /* event 1 = failure */
};
MUST_CHECK int zkd_log_dir_event_decode(struct slice data, struct zkd_log_dir_event *ret_e);

struct zkd_producer_ids {
	int32_t broker;
	int64_t block_start, block_end; /* inclusive */
};
/* Null or empty data (no block yet): ERR_NOENT. */
MUST_CHECK int zkd_producer_ids_decode(struct slice data, struct zkd_producer_ids *ret_p);
void zkd_producer_ids_encode(struct str *out, const struct zkd_producer_ids *p);

/* ---- /klamm ---- */

struct zkd_klamm_broker {
	int64_t boot_epoch; /* protocol.md D2 */
};
MUST_CHECK int zkd_klamm_broker_decode(struct slice data, struct zkd_klamm_broker *ret_b);
void zkd_klamm_broker_encode(struct str *out, const struct zkd_klamm_broker *b);

/* /klamm/controllers/<id>, ephemeral: where each controllerd, active or standby, takes control links (protocol.md A1). */
struct zkd_klamm_controller {
	int32_t id;
	const char *host;
	int32_t port;
	uint64_t incarnation; /* random per process life; as 16 hex digits */
};
MUST_CHECK int zkd_klamm_controller_decode(struct slice data, struct arena *a, struct zkd_klamm_controller *ret_c);
void zkd_klamm_controller_encode(struct str *out, const struct zkd_klamm_controller *c);

/* Replicas that have not yet confirmed the removal (protocol.md K1). */
struct zkd_deleted {
	const char *topic;
	const struct zkd_partition *partitions; /* ascending; adding and removing unused; replicas may be empty */
	size_t partition_count;
};
MUST_CHECK int zkd_deleted_decode(struct slice data, struct arena *a, struct zkd_deleted *ret_d);
void zkd_deleted_encode(struct str *out, const struct zkd_deleted *d);

MUST_CHECK int zkd_lineage_decode(struct slice data, int32_t *ret_epoch);
void zkd_lineage_encode(struct str *out, int32_t epoch);

struct zkd_journal {
	int32_t epoch;
	int64_t seq;
	const char *const *nodes; /* paths touched */
	size_t node_count;
};
MUST_CHECK int zkd_journal_decode(struct slice data, struct arena *a, struct zkd_journal *ret_j);
void zkd_journal_encode(struct str *out, const struct zkd_journal *j);

struct zkd_status_broker {
	const char *state, *reason;
	uint64_t incarnation; /* as 16 hex digits */
	int32_t led, under_replicated, offline;
	int64_t bytes, max_lag, updated_ms;
};
MUST_CHECK int zkd_status_broker_decode(struct slice data, struct arena *a, struct zkd_status_broker *ret_s);
void zkd_status_broker_encode(struct str *out, const struct zkd_status_broker *s);

struct zkd_status_controller {
	int32_t id, epoch;
	const char *state;
	bool has_failover; /* else last_failover is null */
	int32_t failover_broker;
	const char *failover_reason;
	int32_t failover_partitions;
	int64_t failover_took_ms;
	int64_t updated_ms;
};
MUST_CHECK int zkd_status_controller_decode(struct slice data, struct arena *a, struct zkd_status_controller *ret_s);
void zkd_status_controller_encode(struct str *out, const struct zkd_status_controller *s);
