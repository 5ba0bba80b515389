/* topic_config.h: every topic configuration key of Kafka 3.9, one row each: type, default, bounds, what it is called in the broker's
 * file, and what comes of it.
 *
 * Used by controllerd (CreateTopics validation) and brokerd (DescribeConfigs, log settings). HONOURED: what Kafka does. NOT_BUILT: takes
 * only its default, since what is not built is refused, never half accepted (docs/ARCHITECTURE.md). IDLE: any good value is taken, and
 * nothing comes of it, exactly as in a Kafka 3.9 where the switch that the key waits for cannot be on (a throttle's rate, remote.storage.enable,
 * cleanup.policy=compact, an old inter.broker.protocol.version): Klamm refuses the switch.
 * Thread: any; const tables only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/str.h"
#include "common/config/value.h"

/* X(key, type, default, lowest, highest, allowed words (for STRING and LIST; NULL any), broker key, what comes of it, meaning) */
#define TOPIC_CONFIG_TABLE(X) \
	X("cleanup.policy", LIST, "delete", 0, 0, "compact,delete", "log.cleanup.policy", HONOURED, "How old data goes: by retention, by key compaction, or both.") \
	X("compression.gzip.level", INT, "-1", INT32_MIN, INT32_MAX, NULL, "compression.gzip.level", HONOURED, "Level when the broker recompresses to gzip.") \
	X("compression.lz4.level", INT, "9", 1, 17, NULL, "compression.lz4.level", HONOURED, "Level when the broker recompresses to lz4.") \
	X("compression.type", STRING, "producer", 0, 0, "uncompressed,zstd,lz4,snappy,gzip,producer", "compression.type", HONOURED, "Codec kept on disk; producer keeps what was sent.") \
	X("compression.zstd.level", INT, "3", -131072, 22, NULL, "compression.zstd.level", HONOURED, "Level when the broker recompresses to zstd.") \
	X("delete.retention.ms", LONG, "86400000", 0, INT64_MAX, NULL, "log.cleaner.delete.retention.ms", IDLE, "How long tombstones survive after first being cleaned.") \
	X("file.delete.delay.ms", LONG, "60000", 0, INT64_MAX, NULL, "log.segment.delete.delay.ms", HONOURED, "Wait between renaming a segment to .deleted and unlinking it.") \
	X("flush.messages", LONG, "9223372036854775807", 1, INT64_MAX, NULL, "log.flush.interval.messages", HONOURED, "fsync after this many records.") \
	X("flush.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.flush.interval.ms", HONOURED, "fsync after this time.") \
	X("follower.replication.throttled.replicas", LIST, "", 0, 0, NULL, NULL, IDLE, "Replicas whose follower side is under the replication quota.") \
	X("index.interval.bytes", INT, "4096", 0, INT32_MAX, NULL, "log.index.interval.bytes", HONOURED, "Bytes of log between two index entries.") \
	X("leader.replication.throttled.replicas", LIST, "", 0, 0, NULL, NULL, IDLE, "Replicas whose leader side is under the replication quota.") \
	X("local.retention.bytes", LONG, "-2", -2, INT64_MAX, NULL, "log.local.retention.bytes", IDLE, "Local part of a tiered log by size.") \
	X("local.retention.ms", LONG, "-2", -2, INT64_MAX, NULL, "log.local.retention.ms", IDLE, "Local part of a tiered log by time.") \
	X("max.compaction.lag.ms", LONG, "9223372036854775807", 1, INT64_MAX, NULL, "log.cleaner.max.compaction.lag.ms", IDLE, "A dirty record older than this forces compaction.") \
	X("max.message.bytes", INT, "1048588", 0, INT32_MAX, NULL, "message.max.bytes", HONOURED, "Largest batch accepted, after compression, header included.") \
	X("message.downconversion.enable", BOOLEAN, "true", 0, 0, NULL, "log.message.downconversion.enable", HONOURED, "Convert to old formats for old Fetch versions.") \
	X("message.format.version", STRING, "3.0-IV1", 0, 0, NULL, "log.message.format.version", IDLE, "Ignored by Kafka since 3.0; the format is always v2.") \
	X("message.timestamp.after.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.after.max.ms", HONOURED, "How far in the future a CreateTime may be.") \
	X("message.timestamp.before.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.before.max.ms", HONOURED, "How far in the past a CreateTime may be.") \
	X("message.timestamp.difference.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.difference.max.ms", HONOURED, "Old single bound for both directions; used where the newer one is at its default.") \
	X("message.timestamp.type", STRING, "CreateTime", 0, 0, "CreateTime,LogAppendTime", "log.message.timestamp.type", HONOURED, "Keep the producer's time or stamp at the leader.") \
	X("min.cleanable.dirty.ratio", DOUBLE, "0.5", 0, 1, NULL, "log.cleaner.min.cleanable.ratio", IDLE, "Dirty share of the log needed before compaction.") \
	X("min.compaction.lag.ms", LONG, "0", 0, INT64_MAX, NULL, "log.cleaner.min.compaction.lag.ms", IDLE, "Records younger than this are not compacted.") \
	X("min.insync.replicas", INT, "1", 1, INT32_MAX, NULL, "min.insync.replicas", HONOURED, "Smallest ISR for acks=all writes and for progress of the high watermark.") \
	X("preallocate", BOOLEAN, "false", 0, 0, NULL, "log.preallocate", NOT_BUILT, "Allocate the segment file at full size when it is created.") \
	X("remote.log.copy.disable", BOOLEAN, "false", 0, 0, NULL, NULL, NOT_BUILT, "Tiered topic becomes read-only on the remote side.") \
	X("remote.log.delete.on.disable", BOOLEAN, "false", 0, 0, NULL, NULL, NOT_BUILT, "Delete remote data when tiering is turned off.") \
	X("remote.storage.enable", BOOLEAN, "false", 0, 0, NULL, NULL, NOT_BUILT, "Tier this topic.") \
	X("retention.bytes", LONG, "-1", INT64_MIN, INT64_MAX, NULL, "log.retention.bytes", HONOURED, "Size limit per partition; -1 none.") \
	X("retention.ms", LONG, "604800000", -1, INT64_MAX, NULL, "log.retention.ms", HONOURED, "Age limit by largest timestamp of a segment; -1 none.") \
	X("segment.bytes", INT, "1073741824", 14, INT32_MAX, NULL, "log.segment.bytes", HONOURED, "Roll size.") \
	X("segment.index.bytes", INT, "10485760", 4, INT32_MAX, NULL, "log.index.size.max.bytes", HONOURED, "Size of the indexes of the active segment.") \
	X("segment.jitter.ms", LONG, "0", 0, INT64_MAX, NULL, "log.roll.jitter.ms", HONOURED, "Random amount taken off segment.ms.") \
	X("segment.ms", LONG, "604800000", 1, INT64_MAX, NULL, "log.roll.ms", HONOURED, "Roll age.") \
	X("unclean.leader.election.enable", BOOLEAN, "false", 0, 0, NULL, "unclean.leader.election.enable", HONOURED, "Allow a leader outside the ISR when no ISR member lives.")

enum topic_config_effect { TOPIC_CONFIG_HONOURED, TOPIC_CONFIG_NOT_BUILT, TOPIC_CONFIG_IDLE };
struct topic_config_key {
	const char *name;
	enum config_type type;
	const char *default_value;
	int64_t lowest, highest;
	const char *words;      /* allowed ones, comma-separated; NULL any */
	const char *broker_key; /* the broker config that gives the default; NULL none */
	enum topic_config_effect effect;
	const char *meaning;
};
extern const struct topic_config_key topic_config_keys[]; /* ascending names */
extern const size_t topic_config_key_count;

const struct topic_config_key *topic_config_find(const char *name); /* NULL if unknown */
const struct topic_config_key *topic_config_of_broker_key(const char *broker_key); /* whose default it gives; NULL if none */
/* Whether Klamm takes this value for this key. ERR_INVAL: no (unknown key, wrong type, out of bounds, no effect yet); then a sentence
 * is added to `problem` (may be NULL), Kafka's where Kafka refuses as well. internal: __consumer_offsets and the like may be compacted before compaction exists. */
MUST_CHECK int topic_config_check(const char *name, const char *value, bool internal, struct str *problem);
/* Whether a value that stands in ZooKeeper, where anybody may have written it, means something: of Kafka's type and within its bounds. */
bool topic_config_usable(const struct topic_config_key *k, const char *value);
/* What Kafka checks beyond type and bounds, also of the broker key that gives the default. ERR_INVAL and its sentence. */
MUST_CHECK int topic_config_check_form(const char *name, const char *value, struct str *problem);
/* ERR_INVAL and Kafka's sentence in `problem` if no topic can have that name. */
MUST_CHECK int topic_name_check(struct slice name, struct str *problem);
