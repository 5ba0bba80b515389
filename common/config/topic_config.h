/* topic_config.h: every topic configuration key of Kafka 3.9, one row each: type, default, bounds, what it is called in the broker's
 * file, and whether Klamm honours it.
 *
 * Used by controllerd (CreateTopics validation) and brokerd (DescribeConfigs, log settings). A key that Klamm does not honour yet takes
 * only its default: what is not built is refused, never half accepted (docs/ARCHITECTURE.md).
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

/* X(key, type, default, lowest, highest, allowed words (for STRING and LIST; NULL any), broker key, effect, meaning) */
#define TOPIC_CONFIG_TABLE(X) \
	X("cleanup.policy", LIST, "delete", 0, 0, "compact,delete", "log.cleanup.policy", true, "How old data goes: by retention, by key compaction, or both.") \
	X("compression.gzip.level", INT, "-1", -1, 9, NULL, "compression.gzip.level", false, "Level when the broker recompresses to gzip.") \
	X("compression.lz4.level", INT, "9", 1, 17, NULL, "compression.lz4.level", false, "Level when the broker recompresses to lz4.") \
	X("compression.type", STRING, "producer", 0, 0, "uncompressed,zstd,lz4,snappy,gzip,producer", "compression.type", false, "Codec kept on disk; producer keeps what was sent.") \
	X("compression.zstd.level", INT, "3", -131072, 22, NULL, "compression.zstd.level", false, "Level when the broker recompresses to zstd.") \
	X("delete.retention.ms", LONG, "86400000", 0, INT64_MAX, NULL, "log.cleaner.delete.retention.ms", false, "How long tombstones survive after first being cleaned.") \
	X("file.delete.delay.ms", LONG, "60000", 0, INT64_MAX, NULL, "log.segment.delete.delay.ms", true, "Wait between renaming a segment to .deleted and unlinking it.") \
	X("flush.messages", LONG, "9223372036854775807", 1, INT64_MAX, NULL, "log.flush.interval.messages", true, "fsync after this many records.") \
	X("flush.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.flush.interval.ms", true, "fsync after this time.") \
	X("follower.replication.throttled.replicas", LIST, "", 0, 0, NULL, NULL, false, "Replicas whose follower side is under the replication quota.") \
	X("index.interval.bytes", INT, "4096", 0, INT32_MAX, NULL, "log.index.interval.bytes", true, "Bytes of log between two index entries.") \
	X("leader.replication.throttled.replicas", LIST, "", 0, 0, NULL, NULL, false, "Replicas whose leader side is under the replication quota.") \
	X("local.retention.bytes", LONG, "-2", -2, INT64_MAX, NULL, "log.local.retention.bytes", false, "Local part of a tiered log by size.") \
	X("local.retention.ms", LONG, "-2", -2, INT64_MAX, NULL, "log.local.retention.ms", false, "Local part of a tiered log by time.") \
	X("max.compaction.lag.ms", LONG, "9223372036854775807", 1, INT64_MAX, NULL, "log.cleaner.max.compaction.lag.ms", false, "A dirty record older than this forces compaction.") \
	X("max.message.bytes", INT, "1048588", 0, INT32_MAX, NULL, "message.max.bytes", true, "Largest batch accepted, after compression, header included.") \
	X("message.downconversion.enable", BOOLEAN, "true", 0, 0, NULL, "log.message.downconversion.enable", true, "Convert to old formats for old Fetch versions.") \
	X("message.format.version", STRING, "3.0-IV1", 0, 0, NULL, "log.message.format.version", false, "Ignored by Kafka since 3.0; the format is always v2.") \
	X("message.timestamp.after.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.after.max.ms", true, "How far in the future a CreateTime may be.") \
	X("message.timestamp.before.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.before.max.ms", true, "How far in the past a CreateTime may be.") \
	X("message.timestamp.difference.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, NULL, "log.message.timestamp.difference.max.ms", true, "Old single bound for both directions; used where the newer one is at its default.") \
	X("message.timestamp.type", STRING, "CreateTime", 0, 0, "CreateTime,LogAppendTime", "log.message.timestamp.type", true, "Keep the producer's time or stamp at the leader.") \
	X("min.cleanable.dirty.ratio", DOUBLE, "0.5", 0, 1, NULL, "log.cleaner.min.cleanable.ratio", false, "Dirty share of the log needed before compaction.") \
	X("min.compaction.lag.ms", LONG, "0", 0, INT64_MAX, NULL, "log.cleaner.min.compaction.lag.ms", false, "Records younger than this are not compacted.") \
	X("min.insync.replicas", INT, "1", 1, INT32_MAX, NULL, "min.insync.replicas", true, "Smallest ISR for acks=all writes and for progress of the high watermark.") \
	X("preallocate", BOOLEAN, "false", 0, 0, NULL, "log.preallocate", false, "Allocate the segment file at full size when it is created.") \
	X("remote.log.copy.disable", BOOLEAN, "false", 0, 0, NULL, NULL, false, "Tiered topic becomes read-only on the remote side.") \
	X("remote.log.delete.on.disable", BOOLEAN, "false", 0, 0, NULL, NULL, false, "Delete remote data when tiering is turned off.") \
	X("remote.storage.enable", BOOLEAN, "false", 0, 0, NULL, NULL, false, "Tier this topic.") \
	X("retention.bytes", LONG, "-1", INT64_MIN, INT64_MAX, NULL, "log.retention.bytes", true, "Size limit per partition; -1 none.") \
	X("retention.ms", LONG, "604800000", -1, INT64_MAX, NULL, "log.retention.ms", true, "Age limit by largest timestamp of a segment; -1 none.") \
	X("segment.bytes", INT, "1073741824", 14, INT32_MAX, NULL, "log.segment.bytes", true, "Roll size.") \
	X("segment.index.bytes", INT, "10485760", 4, INT32_MAX, NULL, "log.index.size.max.bytes", true, "Size of the indexes of the active segment.") \
	X("segment.jitter.ms", LONG, "0", 0, INT64_MAX, NULL, "log.roll.jitter.ms", true, "Random amount taken off segment.ms.") \
	X("segment.ms", LONG, "604800000", 1, INT64_MAX, NULL, "log.roll.ms", true, "Roll age.") \
	X("unclean.leader.election.enable", BOOLEAN, "false", 0, 0, NULL, "unclean.leader.election.enable", true, "Allow a leader outside the ISR when no ISR member lives.")

struct topic_config_key {
	const char *name;
	enum config_type type;
	const char *default_value;
	int64_t lowest, highest;
	const char *words;      /* allowed ones, comma-separated; NULL any */
	const char *broker_key; /* the broker config that gives the default; NULL none */
	bool effect;            /* honoured; else only the default is taken */
	const char *meaning;
};
extern const struct topic_config_key topic_config_keys[]; /* ascending names */
extern const size_t topic_config_key_count;

const struct topic_config_key *topic_config_find(const char *name); /* NULL if unknown */
const struct topic_config_key *topic_config_of_broker_key(const char *broker_key); /* whose default it gives; NULL if none */
/* Whether Klamm takes this value for this key. ERR_INVAL: no (unknown key, wrong type, out of bounds, no effect yet); then a sentence
 * is added to `problem` (may be NULL), Kafka's where Kafka refuses as well. internal: __consumer_offsets and the like may be compacted before compaction exists. */
MUST_CHECK int topic_config_check(const char *name, const char *value, bool internal, struct str *problem);
/* ERR_INVAL and Kafka's sentence in `problem` if no topic can have that name. */
MUST_CHECK int topic_name_check(struct slice name, struct str *problem);
