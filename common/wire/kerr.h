/* kerr.h: Kafka's error codes: one row each in KERR_TABLE.
 *
 * KERR_X(name, code, retriable, meaning): retriable as clients see it.
 * The numbers travel on the wire as int16; -1 is a code like any other.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define KERR_TABLE(KERR_X) \
	KERR_X(UNKNOWN_SERVER_ERROR, -1, false, "Unexpected failure on the broker; anything without its own code maps to " \
	       "this; details only in the broker log or error_message.") \
	KERR_X(NONE, 0, false, "Success.") \
	KERR_X(OFFSET_OUT_OF_RANGE, 1, false, "Offset asked for is below the log start or above the log end of the " \
	       "replica asked; consumer applies its reset policy.") \
	KERR_X(CORRUPT_MESSAGE, 2, true, "Batch fails its checksum or cannot be parsed. Producer may resend; also " \
	       "answered when records are cut.") \
	KERR_X(UNKNOWN_TOPIC_OR_PARTITION, 3, true, "Broker does not know the topic or partition (not in its metadata), " \
	       "or it is being deleted.") \
	KERR_X(INVALID_FETCH_SIZE, 4, false, "Fetch size not acceptable (not produced by current brokers).") \
	KERR_X(LEADER_NOT_AVAILABLE, 5, true, "Partition has no leader now: election under way, or topic was just " \
	       "created; also sent instead of 78 to ListOffsets below v5.") \
	KERR_X(NOT_LEADER_OR_FOLLOWER, 6, true, "Leader-only request sent to a non-leader, or any-replica request sent " \
	       "to a non-replica (old name NOT_LEADER_FOR_PARTITION). Also replaces 56 for Fetch v5 and below.") \
	KERR_X(REQUEST_TIMED_OUT, 7, true, "Time limit of the request passed; the work may still have been done (produce " \
	       "acks -1, topic admin with short timeout).") \
	KERR_X(BROKER_NOT_AVAILABLE, 8, false, "Named broker is not alive (controlled shutdown of an unknown broker; old " \
	       "consumer metadata).") \
	KERR_X(REPLICA_NOT_AVAILABLE, 9, true, "Some replica or ISR member has no live endpoint (Metadata v0 only), or " \
	       "AlterReplicaLogDirs for a replica not on this broker.") \
	KERR_X(MESSAGE_TOO_LARGE, 10, false, "A batch is larger than max.message.bytes (also after recompression). " \
	       "Producers split batch of several records and retry.") \
	KERR_X(STALE_CONTROLLER_EPOCH, 11, false, "Control request from a controller with an outdated controller epoch; " \
	       "also LeaderAndIsr with an outdated or equal leader epoch.") \
	KERR_X(OFFSET_METADATA_TOO_LARGE, 12, false, "Commit metadata string longer than offset.metadata.max.bytes.") \
	KERR_X(NETWORK_EXCEPTION, 13, true, "Connection lost before the answer; made locally by clients, seldom on the wire.") \
	KERR_X(COORDINATOR_LOAD_IN_PROGRESS, 14, true, "Coordinator partition is being read into memory; retry the same " \
	       "broker after backoff.") \
	KERR_X(COORDINATOR_NOT_AVAILABLE, 15, true, "Coordinator topic absent/without leader, or its write failed for " \
	       "lack of replicas; look it up again.") \
	KERR_X(NOT_COORDINATOR, 16, true, "Broker does not lead the coordinator partition of this group or transactional " \
	       "id; look it up again.") \
	KERR_X(INVALID_TOPIC_EXCEPTION, 17, false, "Topic name illegal, or write to an internal topic, or topic queued " \
	       "for deletion (partitions, elections).") \
	KERR_X(RECORD_LIST_TOO_LARGE, 18, false, "Batch set larger than segment.bytes.") \
	KERR_X(NOT_ENOUGH_REPLICAS, 19, true, "acks -1 and ISR smaller than min.insync.replicas; nothing was written. " \
	       "Also stand-in for retriable errors of transaction verification (Produce).") \
	KERR_X(NOT_ENOUGH_REPLICAS_AFTER_APPEND, 20, true, "acks -1, data is written but ISR fell below " \
	       "min.insync.replicas before commit; a resend may duplicate unless idempotent.") \
	KERR_X(INVALID_REQUIRED_ACKS, 21, false, "acks not in {-1,0,1}.") \
	KERR_X(ILLEGAL_GENERATION, 22, false, "Generation id in Heartbeat/Sync/Commit is not the current one; member " \
	       "must rejoin.") \
	KERR_X(INCONSISTENT_GROUP_PROTOCOL, 23, false, "Joining member shares no protocol with the group, or protocol " \
	       "type differs or is empty (Join, Sync v5+).") \
	KERR_X(INVALID_GROUP_ID, 24, false, "Group id empty or not allowed for this operation.") \
	KERR_X(UNKNOWN_MEMBER_ID, 25, false, "Member id not in the group; rejoin with empty member id.") \
	KERR_X(INVALID_SESSION_TIMEOUT, 26, false, "session timeout outside group.min/max.session.timeout.ms.") \
	KERR_X(REBALANCE_IN_PROGRESS, 27, false, "Group is rebalancing: rejoin; commits in CompletingRebalance also get it.") \
	KERR_X(INVALID_COMMIT_OFFSET_SIZE, 28, false, "Offset commit record would exceed the offsets topic message " \
	       "limit, or batch too large.") \
	KERR_X(TOPIC_AUTHORIZATION_FAILED, 29, false, "Topic operation denied, per topic; topic names denied for " \
	       "Describe are hidden behind this or left out.") \
	KERR_X(GROUP_AUTHORIZATION_FAILED, 30, false, "Group operation denied.") \
	KERR_X(CLUSTER_AUTHORIZATION_FAILED, 31, false, "Cluster operation denied; also InitProducerId without " \
	       "transactional id and without any write right.") \
	KERR_X(INVALID_TIMESTAMP, 32, false, "Record timestamp outside message.timestamp.before/after.max.ms, or " \
	       "producer set the append-time flag.") \
	KERR_X(UNSUPPORTED_SASL_MECHANISM, 33, false, "SASL mechanism not enabled; handshake answer lists the enabled " \
	       "ones; connection then closes.") \
	KERR_X(ILLEGAL_SASL_STATE, 34, false, "SASL request at a wrong moment (handshake/authenticate when done, other " \
	       "API before being authenticated).") \
	KERR_X(UNSUPPORTED_VERSION, 35, false, "API version not supported. ApiVersions: body is v0 with a list. Else " \
	       "used for unsupported fields/timestamps or features off.") \
	KERR_X(TOPIC_ALREADY_EXISTS, 36, false, "CreateTopics for an existing topic (a name that differs only in . and _ " \
	       "gets 17).") \
	KERR_X(INVALID_PARTITIONS, 37, false, "Partition count < 1, or new count not larger than current.") \
	KERR_X(INVALID_REPLICATION_FACTOR, 38, false, "Replication factor < 1 or more than live brokers.") \
	KERR_X(INVALID_REPLICA_ASSIGNMENT, 39, false, "Manual assignment wrong: duplicates, gaps, uneven sizes, unknown " \
	       "or dead brokers, empty list.") \
	KERR_X(INVALID_CONFIG, 40, false, "Config name or value not valid.") \
	KERR_X(NOT_CONTROLLER, 41, true, "Broker is not the active controller; also AlterPartition from the future.") \
	KERR_X(INVALID_REQUEST, 42, false, "Request content contradictory or unparsable for its API; some brokers close " \
	       "the connection instead.") \
	KERR_X(UNSUPPORTED_FOR_MESSAGE_FORMAT, 43, false, "Old magic in the log or request cannot do this (idempotence, " \
	       "timestamp search, txn).") \
	KERR_X(POLICY_VIOLATION, 44, false, "Create/alter policy plugin refused, or DeleteRecords on a compact-only topic.") \
	KERR_X(OUT_OF_ORDER_SEQUENCE_NUMBER, 45, false, "Idempotent sequence is not last+1 and not a known duplicate.") \
	KERR_X(DUPLICATE_SEQUENCE_NUMBER, 46, false, "Sequence already written and too old to find (kept for clients; " \
	       "current broker answers duplicates with success and the old offset).") \
	KERR_X(INVALID_PRODUCER_EPOCH, 47, false, "Producer epoch older than the one known by partition or coordinator " \
	       "(Produce; InitProducerId below v4 etc. in place of 90).") \
	KERR_X(INVALID_TXN_STATE, 48, false, "Transaction state does not allow this; also Produce for a partition not " \
	       "added to the transaction.") \
	KERR_X(INVALID_PRODUCER_ID_MAPPING, 49, false, "Producer id is not the one bound to the transactional id (or id " \
	       "expired).") \
	KERR_X(INVALID_TRANSACTION_TIMEOUT, 50, false, "transaction timeout above transaction.max.timeout.ms or <= 0.") \
	KERR_X(CONCURRENT_TRANSACTIONS, 51, true, "Previous transaction of this id is still completing, or another " \
	       "request is in progress; retry soon.") \
	KERR_X(TRANSACTION_COORDINATOR_FENCED, 52, false, "WriteTxnMarkers from an outdated transaction coordinator epoch.") \
	KERR_X(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, 53, false, "Transactional id operation denied.") \
	KERR_X(SECURITY_DISABLED, 54, false, "ACL API while no authorizer is set.") \
	KERR_X(OPERATION_NOT_ATTEMPTED, 55, false, "Item skipped as part of a batch; old AlterPartition code for a not " \
	       "eligible replica.") \
	KERR_X(KAFKA_STORAGE_ERROR, 56, true, "Log directory of the partition is offline / I/O error.") \
	KERR_X(LOG_DIR_NOT_FOUND, 57, false, "Log directory path is not one of log.dirs.") \
	KERR_X(SASL_AUTHENTICATION_FAILED, 58, false, "Credentials refused (SaslAuthenticate v1 handshake path); " \
	       "connection closes after the answer.") \
	KERR_X(UNKNOWN_PRODUCER_ID, 59, false, "Producer id unknown to the partition; not produced by 2.8+ brokers, " \
	       "clients still handle it.") \
	KERR_X(REASSIGNMENT_IN_PROGRESS, 60, false, "Partition reassignment under way (CreatePartitions).") \
	KERR_X(DELEGATION_TOKEN_AUTH_DISABLED, 61, false, "Delegation tokens are off (no secret key).") \
	KERR_X(DELEGATION_TOKEN_NOT_FOUND, 62, false, "Token unknown.") \
	KERR_X(DELEGATION_TOKEN_OWNER_MISMATCH, 63, false, "Requester is neither owner nor renewer.") \
	KERR_X(DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, 64, false, "Token API on a not authenticated or token-authenticated " \
	       "connection.") \
	KERR_X(DELEGATION_TOKEN_AUTHORIZATION_FAILED, 65, false, "Token operation denied.") \
	KERR_X(DELEGATION_TOKEN_EXPIRED, 66, false, "Token expired or over max lifetime.") \
	KERR_X(INVALID_PRINCIPAL_TYPE, 67, false, "Principal type not supported (only User).") \
	KERR_X(NON_EMPTY_GROUP, 68, false, "DeleteGroups on a group that still has members.") \
	KERR_X(GROUP_ID_NOT_FOUND, 69, false, "Group does not exist.") \
	KERR_X(FETCH_SESSION_ID_NOT_FOUND, 70, true, "Incremental fetch session unknown (evicted or broker restarted); " \
	       "open a full one.") \
	KERR_X(INVALID_FETCH_SESSION_EPOCH, 71, true, "Fetch session epoch is not the expected one; open a full one.") \
	KERR_X(LISTENER_NOT_FOUND, 72, true, "Leader has no listener with the name the client uses (Metadata v6+; lower " \
	       "gets 5).") \
	KERR_X(TOPIC_DELETION_DISABLED, 73, false, "delete.topic.enable is false (DeleteTopics v3+; lower gets 42).") \
	KERR_X(FENCED_LEADER_EPOCH, 74, true, "current_leader_epoch in the request is older than the broker's; refresh " \
	       "metadata.") \
	KERR_X(UNKNOWN_LEADER_EPOCH, 75, true, "current_leader_epoch in the request is newer than the broker's; retry. " \
	       "Also unknown follower with epoch.") \
	KERR_X(UNSUPPORTED_COMPRESSION_TYPE, 76, false, "Codec not possible for this API version (zstd with Produce < 7 " \
	       "or Fetch < 10) or down-conversion impossible.") \
	KERR_X(STALE_BROKER_EPOCH, 77, false, "Broker epoch in the request is not the registered one.") \
	KERR_X(OFFSET_NOT_AVAILABLE, 78, true, "HW still below the start of the leader's epoch; retry (ListOffsets v5+).") \
	KERR_X(MEMBER_ID_REQUIRED, 79, false, "First join without member id: answer carries the generated id to use " \
	       "(JoinGroup v4+).") \
	KERR_X(PREFERRED_LEADER_NOT_AVAILABLE, 80, true, "Preferred replica not alive or not in ISR.") \
	KERR_X(GROUP_MAX_SIZE_REACHED, 81, false, "Group has group.max.size members.") \
	KERR_X(FENCED_INSTANCE_ID, 82, false, "group.instance.id is now owned by another member id; fatal to the older " \
	       "instance.") \
	KERR_X(ELIGIBLE_LEADERS_NOT_AVAILABLE, 83, true, "No eligible leader (none in ISR alive).") \
	KERR_X(ELECTION_NOT_NEEDED, 84, true, "Partition already has the wanted leader.") \
	KERR_X(NO_REASSIGNMENT_IN_PROGRESS, 85, false, "Nothing to cancel / no reassignment for the partition.") \
	KERR_X(GROUP_SUBSCRIBED_TO_TOPIC, 86, false, "OffsetDelete for a topic the live group subscribes to.") \
	KERR_X(INVALID_RECORD, 87, false, "Record refused: null key on compacted topic, bad count/offset/magic/control; " \
	       "per-record detail in record_errors (Produce v8+).") \
	KERR_X(UNSTABLE_OFFSET_COMMIT, 88, true, "Pending transactional offsets exist and require_stable was set; retry " \
	       "(OffsetFetch v7+).") \
	KERR_X(THROTTLING_QUOTA_EXCEEDED, 89, true, "Controller mutation quota exceeded; throttle_time_ms says when " \
	       "(strict API versions).") \
	KERR_X(PRODUCER_FENCED, 90, false, "A newer producer with this transactional id exists; fatal to this one.") \
	KERR_X(RESOURCE_NOT_FOUND, 91, false, "Thing named does not exist (SCRAM user, client metrics resource, feature).") \
	KERR_X(DUPLICATE_RESOURCE, 92, false, "Thing named twice in one request.") \
	KERR_X(UNACCEPTABLE_CREDENTIAL, 93, false, "SCRAM iterations/salt/name not acceptable, or empty.") \
	KERR_X(INCONSISTENT_VOTER_SET, 94, false, "Raft voter set mismatch.") \
	KERR_X(INVALID_UPDATE_VERSION, 95, false, "AlterPartition with outdated partition epoch, or feature update with " \
	       "wrong level.") \
	KERR_X(FEATURE_UPDATE_FAILED, 96, false, "Feature update could not be stored.") \
	KERR_X(PRINCIPAL_DESERIALIZATION_FAILURE, 97, false, "Envelope: forwarded principal cannot be decoded.") \
	KERR_X(SNAPSHOT_NOT_FOUND, 98, false, "Raft snapshot unknown.") \
	KERR_X(POSITION_OUT_OF_RANGE, 99, false, "Raft snapshot position out of range.") \
	KERR_X(UNKNOWN_TOPIC_ID, 100, true, "Topic id unknown to this broker (Metadata v12+, Fetch v13+, Produce v13+ " \
	       "and others).") \
	KERR_X(DUPLICATE_BROKER_REGISTRATION, 101, false, "Broker id registered by another incarnation.") \
	KERR_X(BROKER_ID_NOT_REGISTERED, 102, false, "Broker id not registered.") \
	KERR_X(INCONSISTENT_TOPIC_ID, 103, true, "Topic id in request or session is not the log's.") \
	KERR_X(INCONSISTENT_CLUSTER_ID, 104, false, "Cluster id in request differs.") \
	KERR_X(TRANSACTIONAL_ID_NOT_FOUND, 105, false, "Transactional id unknown to the coordinator (DescribeTransactions).") \
	KERR_X(FETCH_SESSION_TOPIC_ID_ERROR, 106, true, "Session mixes topic names and ids; open a new full session.") \
	KERR_X(INELIGIBLE_REPLICA, 107, false, "Proposed ISR has a fenced, dead or shutting-down broker.") \
	KERR_X(NEW_LEADER_ELECTED, 108, false, "AlterPartition was applied but led to another leader (KRaft).") \
	KERR_X(OFFSET_MOVED_TO_TIERED_STORAGE, 109, false, "Offset is only in remote storage; follower must build its " \
	       "state from there.") \
	KERR_X(FENCED_MEMBER_EPOCH, 110, false, "KIP-848: member epoch fenced; give up all partitions, rejoin with epoch 0.") \
	KERR_X(UNRELEASED_INSTANCE_ID, 111, false, "KIP-848: static id still held by a member that did not leave.") \
	KERR_X(UNSUPPORTED_ASSIGNOR, 112, false, "KIP-848: server assignor name unknown.") \
	KERR_X(STALE_MEMBER_EPOCH, 113, false, "KIP-848: member epoch in commit/fetch is old; learn it by heartbeat and " \
	       "retry.") \
	KERR_X(MISMATCHED_ENDPOINT_TYPE, 114, false, "Request sent to broker endpoint but meant for controllers, or the " \
	       "reverse.") \
	KERR_X(UNSUPPORTED_ENDPOINT_TYPE, 115, false, "Endpoint type not known.") \
	KERR_X(UNKNOWN_CONTROLLER_ID, 116, false, "Controller id not known.") \
	KERR_X(UNKNOWN_SUBSCRIPTION_ID, 117, false, "Telemetry subscription id outdated; get a new one.") \
	KERR_X(TELEMETRY_TOO_LARGE, 118, false, "Telemetry payload over telemetry.max.bytes.") \
	KERR_X(INVALID_REGISTRATION, 119, false, "Broker registration refused by the controller.") \
	KERR_X(TRANSACTION_ABORTABLE, 120, false, "KIP-890: error that allows aborting and going on with the same id " \
	       "(newest API versions only).") \
	KERR_X(INVALID_RECORD_STATE, 121, false, "Share group: acknowledge for records not in the Acquired state or not " \
	       "owned.") \
	KERR_X(SHARE_SESSION_NOT_FOUND, 122, true, "Share session unknown; open a new one with epoch 0.") \
	KERR_X(INVALID_SHARE_SESSION_EPOCH, 123, true, "Share session epoch not the expected one.") \
	KERR_X(FENCED_STATE_EPOCH, 124, false, "Share state epoch/leader epoch mismatch at the share coordinator.") \
	KERR_X(INVALID_VOTER_KEY, 125, false, "Raft voter key (directory id) mismatch.") \
	KERR_X(DUPLICATE_VOTER, 126, false, "Voter already present.") \
	KERR_X(VOTER_NOT_FOUND, 127, false, "Voter not present.") \
	KERR_X(INVALID_REGULAR_EXPRESSION, 128, false, "KIP-848 v1: subscribed regex does not compile (RE2).") \
	KERR_X(REBOOTSTRAP_REQUIRED, 129, false, "KIP-1102: client must start again from its bootstrap servers.") \
	KERR_X(STREAMS_INVALID_TOPOLOGY, 130, false, "KIP-1071 streams group: topology invalid.") \
	KERR_X(STREAMS_INVALID_TOPOLOGY_EPOCH, 131, false, "KIP-1071: topology epoch invalid.") \
	KERR_X(STREAMS_TOPOLOGY_FENCED, 132, false, "KIP-1071: topology epoch outdated.") \
	KERR_X(SHARE_SESSION_LIMIT_REACHED, 133, true, "Share sessions limit of the broker reached.")

enum kerr {
#define KERR_ENUM_ROW(name, code, retriable, meaning) KERR_##name = code,
	KERR_TABLE(KERR_ENUM_ROW)
#undef KERR_ENUM_ROW
};

/* Kafka's name, e.g. "OFFSET_OUT_OF_RANGE"; "UNKNOWN_ERROR_CODE" for a code without a row. Never NULL. */
const char *kerr_name(int16_t code);
/* A sentence for people; "" if unknown. */
const char *kerr_message(int16_t code);
bool kerr_retriable(int16_t code);
/* Whether there is such a code. */
bool kerr_known(int16_t code);
