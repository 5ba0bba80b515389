/* keys.h: every broker configuration key of Kafka 3.9 (as its DescribeConfigs lists them: tests/golden/broker-configs.tsv) and ours, one row each:
 *   X(name, type, default (NULL = unset), least, greatest, class, documentation)
 * class: USED honoured; CONTROLLER is controllerd's; SECURITY promises protection: refused (exit 78) until it is honoured;
 * NO_EFFECT known, warned about when it is not the default.
 * A key that is refused or without effect stands here as well: DescribeConfigs shows what is in force, and that is its default.
 * Below it: the keys that Kafka changes without restart, X(name, where it may be set); and those that it shows only where a file names
 * them. Read through broker_key.h.
 */
#pragma once

#define BROKER_KEYS(X) \
	X("broker.id", INT, "-1", INT32_MIN, INT32_MAX, USED, "Id of this broker; -1 = generate from ZooKeeper if allowed (first id = reserved.broker.max.id + 1).") \
	X("broker.id.generation.enable", BOOLEAN, "true", 0, 0, USED, "Allow generated ids (from /brokers/seqid).") \
	X("reserved.broker.max.id", INT, "1000", 0, INT32_MAX, USED, "Largest id a user may set while generation is on.") \
	X("broker.rack", STRING, NULL, 0, 0, USED, "Rack name, for placement and follower fetching.") \
	X("node.id", INT, "-1", INT32_MIN, INT32_MAX, USED, "KRaft name for the id; in ZK mode equal to broker.id.") \
	X("zookeeper.connect", STRING, NULL, 0, 0, USED, "host:port list with optional chroot; required in ZK mode.") \
	X("zookeeper.connection.timeout.ms", INT, NULL, INT32_MIN, INT32_MAX, NO_EFFECT, "Time to connect; null = session timeout.") \
	X("zookeeper.session.timeout.ms", INT, "18000", INT32_MIN, INT32_MAX, USED, "ZooKeeper session timeout.") \
	X("zookeeper.set.acl", BOOLEAN, "false", 0, 0, SECURITY, "Write znodes with secure ACLs.") \
	X("zookeeper.max.in.flight.requests", INT, "10", 1, INT32_MAX, NO_EFFECT, "Pipelined requests to ZooKeeper.") \
	X("listeners", STRING, "PLAINTEXT://:9092", 0, 0, USED, "Bind list NAME://host:port; names unique; ports unique (except one IPv4 + one IPv6); empty host = default interface.") \
	X("advertised.listeners", STRING, NULL, 0, 0, USED, "Addresses given to clients and stored in the registration; null = listeners; 0.0.0.0 not allowed.") \
	X("listener.security.protocol.map", STRING, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", 0, 0, USED, "Listener name to security protocol.") \
	X("inter.broker.listener.name", STRING, NULL, 0, 0, USED, "Listener for broker-to-broker; exclusive with security.inter.broker.protocol.") \
	X("security.inter.broker.protocol", STRING, "PLAINTEXT", 0, 0, USED, "Protocol (and so listener) for broker-to-broker.") \
	X("control.plane.listener.name", STRING, NULL, 0, 0, NO_EFFECT, "Extra listener and thread for controller requests only.") \
	X("inter.broker.protocol.version", STRING, "3.9-IV0", 0, 0, NO_EFFECT, "Level of request versions and formats between brokers.") \
	X("num.network.threads", INT, "3", 1, INT32_MAX, NO_EFFECT, "Network threads per listener.") \
	X("num.io.threads", INT, "8", 1, INT32_MAX, NO_EFFECT, "Request handler threads.") \
	X("background.threads", INT, "10", 1, INT32_MAX, NO_EFFECT, "Scheduler threads.") \
	X("num.replica.fetchers", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Fetcher threads per source broker.") \
	X("num.recovery.threads.per.data.dir", INT, "1", 1, INT32_MAX, USED, "Threads per log dir for recovery at start and flush at stop.") \
	X("num.replica.alter.log.dirs.threads", INT, NULL, INT32_MIN, INT32_MAX, NO_EFFECT, "Threads moving replicas between dirs; null = number of dirs.") \
	X("queued.max.requests", INT, "500", 1, INT32_MAX, NO_EFFECT, "Requests waiting for handlers before network threads stop reading.") \
	X("queued.max.request.bytes", LONG, "-1", INT64_MIN, INT64_MAX, USED, "Memory for waiting requests; -1 no limit.") \
	X("request.timeout.ms", INT, "30000", INT32_MIN, INT32_MAX, USED, "Time the broker waits for answers as a client (also auto topic creation).") \
	X("socket.request.max.bytes", INT, "104857600", 1, INT32_MAX, USED, "Largest request; larger or negative size closes the connection.") \
	X("socket.receive.buffer.bytes", INT, "102400", INT32_MIN, INT32_MAX, USED, "SO_RCVBUF; -1 OS default.") \
	X("socket.send.buffer.bytes", INT, "102400", INT32_MIN, INT32_MAX, USED, "SO_SNDBUF; -1 OS default.") \
	X("socket.listen.backlog.size", INT, "50", 1, INT32_MAX, USED, "listen() backlog.") \
	X("connections.max.idle.ms", LONG, "600000", INT64_MIN, INT64_MAX, USED, "Close connections idle this long.") \
	X("connections.max.reauth.ms", LONG, "0", INT64_MIN, INT64_MAX, SECURITY, "SASL session lifetime told to clients (0 none); settable per listener and mechanism; longer use without re-authentication closes the connection.") \
	X("connection.failed.authentication.delay.ms", INT, "100", 0, INT32_MAX, NO_EFFECT, "Delay before closing after a failed authentication; less than connections.max.idle.ms.") \
	X("max.connections", INT, "2147483647", 0, INT32_MAX, USED, "Connections in total or per listener (prefix); inter-broker listener may exceed by closing others.") \
	X("max.connections.per.ip", INT, "2147483647", 0, INT32_MAX, USED, "Connections per address; 0 only with overrides.") \
	X("max.connections.per.ip.overrides", STRING, "", 0, 0, USED, "host:count list.") \
	X("max.connection.creation.rate", INT, "2147483647", 0, INT32_MAX, NO_EFFECT, "New connections per second, total or per listener.") \
	X("log.dir", STRING, "/tmp/kafka-logs", 0, 0, USED, "Data dir when log.dirs is not set.") \
	X("log.dirs", STRING, NULL, 0, 0, USED, "Comma list of data dirs.") \
	X("log.dir.failure.timeout.ms", LONG, "30000", 1, INT64_MAX, NO_EFFECT, "KRaft: stop the broker if a dir failure cannot be reported in time.") \
	X("num.partitions", INT, "1", 1, INT32_MAX, USED, "Partitions of auto-created topics and of CreateTopics with -1.") \
	X("default.replication.factor", INT, "1", INT32_MIN, INT32_MAX, USED, "RF for the same cases.") \
	X("auto.create.topics.enable", BOOLEAN, "true", 0, 0, USED, "Create unknown topics on Metadata requests that allow it.") \
	X("delete.topic.enable", BOOLEAN, "true", 0, 0, CONTROLLER, "Accept topic deletion.") \
	X("create.topic.policy.class.name", CLASS, NULL, 0, 0, NO_EFFECT, "Plugin checking topic creation (POLICY_VIOLATION).") \
	X("alter.config.policy.class.name", CLASS, NULL, 0, 0, NO_EFFECT, "Plugin checking config changes.") \
	X("message.max.bytes", INT, "1048588", 0, INT32_MAX, USED, "Broker default of max.message.bytes.") \
	X("fetch.max.bytes", INT, "57671680", 1024, INT32_MAX, USED, "Upper bound of the bytes of a Fetch answer (first batch may exceed).") \
	X("max.incremental.fetch.session.cache.slots", INT, "1000", 0, INT32_MAX, USED, "Fetch sessions kept.") \
	X("max.request.partition.size.limit", INT, "2000", 1, INT32_MAX, NO_EFFECT, "Partitions per DescribeTopicPartitions answer.") \
	X("log.segment.bytes", INT, "1073741824", 14, INT32_MAX, USED, "Default of segment.bytes.") \
	X("log.roll.ms", LONG, NULL, INT64_MIN, INT64_MAX, USED, "Default of segment.ms; null = log.roll.hours.") \
	X("log.roll.hours", INT, "168", 1, INT32_MAX, USED, "Same in hours.") \
	X("log.roll.jitter.ms", LONG, NULL, INT64_MIN, INT64_MAX, USED, "Default of segment.jitter.ms; null = log.roll.jitter.hours (0).") \
	X("log.roll.jitter.hours", INT, "0", 0, INT32_MAX, USED, "Same in hours.") \
	X("log.retention.ms", LONG, NULL, INT64_MIN, INT64_MAX, USED, "Default of retention.ms; null = minutes, then hours.") \
	X("log.retention.minutes", INT, NULL, INT32_MIN, INT32_MAX, USED, "Same in minutes.") \
	X("log.retention.hours", INT, "168", INT32_MIN, INT32_MAX, USED, "Same in hours.") \
	X("log.retention.bytes", LONG, "-1", INT64_MIN, INT64_MAX, USED, "Default of retention.bytes.") \
	X("log.retention.check.interval.ms", LONG, "300000", 1, INT64_MAX, USED, "Period of the retention task.") \
	X("log.cleanup.policy", LIST, "delete", 0, 0, USED, "Default of cleanup.policy.") \
	X("log.segment.delete.delay.ms", LONG, "60000", 0, INT64_MAX, USED, "Default of file.delete.delay.ms.") \
	X("log.index.size.max.bytes", INT, "10485760", 4, INT32_MAX, USED, "Default of segment.index.bytes.") \
	X("log.index.interval.bytes", INT, "4096", 0, INT32_MAX, USED, "Default of index.interval.bytes.") \
	X("log.flush.interval.messages", LONG, "9223372036854775807", 1, INT64_MAX, USED, "Default of flush.messages.") \
	X("log.flush.interval.ms", LONG, NULL, INT64_MIN, INT64_MAX, USED, "Default of flush.ms; null = log.flush.scheduler.interval.ms.") \
	X("log.flush.scheduler.interval.ms", LONG, "9223372036854775807", INT64_MIN, INT64_MAX, USED, "Period of the time-based flush task.") \
	X("log.flush.offset.checkpoint.interval.ms", INT, "60000", 0, INT32_MAX, USED, "Period of writing recovery-point-offset-checkpoint.") \
	X("log.flush.start.offset.checkpoint.interval.ms", INT, "60000", 0, INT32_MAX, USED, "Period of writing log-start-offset-checkpoint.") \
	X("log.preallocate", BOOLEAN, "false", 0, 0, NO_EFFECT, "Default of preallocate.") \
	X("log.message.timestamp.type", STRING, "CreateTime", 0, 0, USED, "Default of message.timestamp.type.") \
	X("log.message.timestamp.before.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, USED, "Default of message.timestamp.before.max.ms.") \
	X("log.message.timestamp.after.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, USED, "Default of message.timestamp.after.max.ms.") \
	X("log.message.timestamp.difference.max.ms", LONG, "9223372036854775807", 0, INT64_MAX, USED, "Old single bound for both directions; used where the newer one is at its default.") \
	X("log.message.downconversion.enable", BOOLEAN, "true", 0, 0, USED, "Default of message.downconversion.enable.") \
	X("log.local.retention.bytes", LONG, "-2", -2, INT64_MAX, NO_EFFECT, "Default of local.retention.bytes.") \
	X("log.local.retention.ms", LONG, "-2", -2, INT64_MAX, NO_EFFECT, "Default of local.retention.ms.") \
	X("log.cleaner.enable", BOOLEAN, "true", 0, 0, NO_EFFECT, "Run the cleaner (needed for __consumer_offsets).") \
	X("log.cleaner.threads", INT, "1", 0, INT32_MAX, NO_EFFECT, "Cleaner threads.") \
	X("log.cleaner.dedupe.buffer.size", LONG, "134217728", INT64_MIN, INT64_MAX, NO_EFFECT, "Memory for key maps, all threads; 24 bytes per key (16 hash + 8 offset); over 1 MiB per thread.") \
	X("log.cleaner.io.buffer.size", INT, "524288", 0, INT32_MAX, NO_EFFECT, "Copy buffers, all threads.") \
	X("log.cleaner.io.buffer.load.factor", DOUBLE, "0.9", 0, 0, NO_EFFECT, "Fill limit of the key map.") \
	X("log.cleaner.io.max.bytes.per.second", DOUBLE, "1.7976931348623157E308", 0, 0, NO_EFFECT, "Cleaner I/O throttle.") \
	X("log.cleaner.backoff.ms", LONG, "15000", 0, INT64_MAX, NO_EFFECT, "Sleep when nothing is to clean.") \
	X("log.cleaner.min.cleanable.ratio", DOUBLE, "0.5", 0, 0, NO_EFFECT, "Default of min.cleanable.dirty.ratio.") \
	X("log.cleaner.min.compaction.lag.ms", LONG, "0", 0, INT64_MAX, NO_EFFECT, "Default of min.compaction.lag.ms.") \
	X("log.cleaner.max.compaction.lag.ms", LONG, "9223372036854775807", 1, INT64_MAX, NO_EFFECT, "Default of max.compaction.lag.ms.") \
	X("log.cleaner.delete.retention.ms", LONG, "86400000", 0, INT64_MAX, NO_EFFECT, "Default of delete.retention.ms.") \
	X("compression.type", STRING, "producer", 0, 0, USED, "Default of the topic config.") \
	X("compression.gzip.level", INT, "-1", INT32_MIN, INT32_MAX, USED, "Default of the topic config.") \
	X("compression.lz4.level", INT, "9", 1, 17, USED, "Default of the topic config.") \
	X("compression.zstd.level", INT, "3", -131072, 22, USED, "Default of the topic config.") \
	X("min.insync.replicas", INT, "1", 1, INT32_MAX, USED, "Default of the topic config.") \
	X("unclean.leader.election.enable", BOOLEAN, "false", 0, 0, USED, "Default of the topic config.") \
	X("auto.leader.rebalance.enable", BOOLEAN, "true", 0, 0, CONTROLLER, "Move leadership back to preferred replicas by itself.") \
	X("leader.imbalance.check.interval.seconds", LONG, "300", 1, INT64_MAX, CONTROLLER, "Its period.") \
	X("leader.imbalance.per.broker.percentage", INT, "10", INT32_MIN, INT32_MAX, CONTROLLER, "Its threshold per broker (ZK mode).") \
	X("controlled.shutdown.enable", BOOLEAN, "true", 0, 0, USED, "Hand over leadership before stopping.") \
	X("controlled.shutdown.max.retries", INT, "3", INT32_MIN, INT32_MAX, USED, "Tries.") \
	X("controlled.shutdown.retry.backoff.ms", LONG, "5000", INT64_MIN, INT64_MAX, USED, "Wait between tries.") \
	X("controller.socket.timeout.ms", INT, "30000", INT32_MIN, INT32_MAX, NO_EFFECT, "Socket timeout controller to brokers.") \
	X("replica.lag.time.max.ms", LONG, "30000", INT64_MIN, INT64_MAX, USED, "ISR lag limit.") \
	X("replica.fetch.max.bytes", INT, "1048576", 0, INT32_MAX, USED, "Per-partition bytes of a follower fetch.") \
	X("replica.fetch.response.max.bytes", INT, "10485760", 0, INT32_MAX, USED, "Total bytes of a follower fetch.") \
	X("replica.fetch.min.bytes", INT, "1", INT32_MIN, INT32_MAX, USED, "min_bytes of a follower fetch.") \
	X("replica.fetch.wait.max.ms", INT, "500", INT32_MIN, INT32_MAX, USED, "max_wait of a follower fetch; not above replica.lag.time.max.ms or replica.socket.timeout.ms.") \
	X("replica.fetch.backoff.ms", INT, "1000", 0, INT32_MAX, USED, "Delay after a fetch error.") \
	X("replica.socket.timeout.ms", INT, "30000", INT32_MIN, INT32_MAX, NO_EFFECT, "Socket timeout of fetchers.") \
	X("replica.socket.receive.buffer.bytes", INT, "65536", INT32_MIN, INT32_MAX, NO_EFFECT, "SO_RCVBUF of fetchers.") \
	X("replica.high.watermark.checkpoint.interval.ms", LONG, "5000", INT64_MIN, INT64_MAX, USED, "Period of writing replication-offset-checkpoint.") \
	X("replica.selector.class", STRING, NULL, 0, 0, NO_EFFECT, "Preferred read replica plugin (rack-aware one ships).") \
	X("offsets.topic.num.partitions", INT, "50", 1, INT32_MAX, USED, "Partitions of __consumer_offsets; do not change later.") \
	X("offsets.topic.replication.factor", SHORT, "3", 1, INT16_MAX, USED, "Its RF; creation fails until so many brokers live.") \
	X("offsets.topic.segment.bytes", INT, "104857600", 1, INT32_MAX, USED, "Its segment size.") \
	X("offsets.topic.compression.codec", INT, "0", 0, 4, USED, "Codec id of its batches: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.") \
	X("offsets.retention.minutes", INT, "10080", 1, INT32_MAX, USED, "Offsets of an empty group, or of a not subscribed topic, die after this.") \
	X("offsets.retention.check.interval.ms", LONG, "600000", 1, INT64_MAX, USED, "Period of offset expiry.") \
	X("offsets.load.buffer.size", INT, "5242880", 1, INT32_MAX, USED, "Read size while loading (a larger batch is still read).") \
	X("offsets.commit.timeout.ms", INT, "5000", 1, INT32_MAX, USED, "Wait for commit replication.") \
	X("offsets.commit.required.acks", SHORT, "-1", INT16_MIN, INT16_MAX, NO_EFFECT, "Acks for commits: always -1, as in Kafka 4.") \
	X("offset.metadata.max.bytes", INT, "4096", 0, INT32_MAX, USED, "Longest commit metadata.") \
	X("group.min.session.timeout.ms", INT, "6000", INT32_MIN, INT32_MAX, USED, "Smallest session timeout (classic).") \
	X("group.max.session.timeout.ms", INT, "1800000", INT32_MIN, INT32_MAX, USED, "Largest session timeout (classic).") \
	X("group.initial.rebalance.delay.ms", INT, "3000", 0, INT32_MAX, USED, "Wait for more members of an empty group.") \
	X("group.max.size", INT, "2147483647", 1, INT32_MAX, USED, "Members per group.") \
	X("group.coordinator.new.enable", BOOLEAN, "false", 0, 0, NO_EFFECT, "New coordinator (KRaft only in 3.9).") \
	X("group.coordinator.rebalance.protocols", LIST, "classic", 0, 0, NO_EFFECT, "Protocols offered.") \
	X("group.consumer.session.timeout.ms", INT, "45000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848 session timeout (min 45000, max 60000 by own configs).") \
	X("group.consumer.heartbeat.interval.ms", INT, "5000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848 heartbeat interval (5000..15000).") \
	X("transaction.state.log.num.partitions", INT, "50", 1, INT32_MAX, NO_EFFECT, "Partitions of __transaction_state; do not change later.") \
	X("transaction.state.log.replication.factor", SHORT, "3", 1, INT16_MAX, NO_EFFECT, "Its RF.") \
	X("transaction.state.log.min.isr", INT, "2", 1, INT32_MAX, NO_EFFECT, "Its min.insync.replicas.") \
	X("transaction.state.log.segment.bytes", INT, "104857600", 1, INT32_MAX, NO_EFFECT, "Its segment size.") \
	X("transaction.max.timeout.ms", INT, "900000", 1, INT32_MAX, NO_EFFECT, "Largest transaction timeout a client may ask.") \
	X("transactional.id.expiration.ms", INT, "604800000", 1, INT32_MAX, NO_EFFECT, "Idle transactional ids are forgotten after this.") \
	X("transaction.abort.timed.out.transaction.cleanup.interval.ms", INT, "10000", 1, INT32_MAX, NO_EFFECT, "Period of aborting timed-out transactions.") \
	X("transaction.remove.expired.transaction.cleanup.interval.ms", INT, "3600000", 1, INT32_MAX, NO_EFFECT, "Period of forgetting expired ids.") \
	X("transaction.partition.verification.enable", BOOLEAN, "true", 0, 0, NO_EFFECT, "KIP-890: ask the coordinator before the first append of a transaction.") \
	X("producer.id.expiration.ms", INT, "86400000", 1, INT32_MAX, USED, "Partition forgets an idle producer id after this.") \
	X("producer.id.expiration.check.interval.ms", INT, "600000", 1, INT32_MAX, NO_EFFECT, "Period of that.") \
	X("authorizer.class.name", STRING, "", 0, 0, SECURITY, "ACL plugin; kafka.security.authorizer.AclAuthorizer in ZK mode (removed in 4.x: StandardAuthorizer).") \
	X("super.users", STRING, "", 0, 0, SECURITY, "Semicolon list Type:name that pass every check.") \
	X("allow.everyone.if.no.acl.found", BOOLEAN, "false", 0, 0, SECURITY, "Result for a resource without ACLs.") \
	X("principal.builder.class", CLASS, "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder", 0, 0, SECURITY, "Builds User:name from TLS/SASL.") \
	X("sasl.enabled.mechanisms", LIST, "GSSAPI", 0, 0, SECURITY, "Mechanisms offered (per listener prefix).") \
	X("sasl.mechanism.inter.broker.protocol", STRING, "GSSAPI", 0, 0, SECURITY, "Mechanism used between brokers.") \
	X("sasl.jaas.config", PASSWORD, NULL, 0, 0, SECURITY, "listener.name.{name}.{mechanism}.sasl.jaas.config on the server.") \
	X("sasl.server.max.receive.size", INT, "524288", INT32_MIN, INT32_MAX, SECURITY, "Largest SASL token message.") \
	X("ssl.client.auth", STRING, "none", 0, 0, SECURITY, "none, requested, required.") \
	X("ssl.keystore.location", STRING, NULL, 0, 0, SECURITY, "Key store path (also ssl.keystore.type JKS, .password, ssl.key.password; PEM types PEM).") \
	X("ssl.truststore.location", STRING, NULL, 0, 0, SECURITY, "Trust store path.") \
	X("ssl.enabled.protocols", LIST, "TLSv1.2,TLSv1.3", 0, 0, SECURITY, "TLS versions.") \
	X("ssl.principal.mapping.rules", STRING, "DEFAULT", 0, 0, SECURITY, "Rules from the certificate DN to a user name.") \
	X("password.encoder.secret", PASSWORD, NULL, 0, 0, SECURITY, "Key encrypting dynamic password configs in ZooKeeper.") \
	X("delegation.token.secret.key", PASSWORD, NULL, 0, 0, SECURITY, "Turns tokens on; same on all brokers (old name delegation.token.master.key).") \
	X("delegation.token.max.lifetime.ms", LONG, "604800000", 1, INT64_MAX, SECURITY, "Longest life of a token.") \
	X("delegation.token.expiry.time.ms", LONG, "86400000", 1, INT64_MAX, SECURITY, "Life until renewal.") \
	X("quota.window.num", INT, "11", 1, INT32_MAX, NO_EFFECT, "Samples of client quotas.") \
	X("quota.window.size.seconds", INT, "1", 1, INT32_MAX, NO_EFFECT, "Length of a sample.") \
	X("controller.quota.window.num", INT, "11", 1, INT32_MAX, NO_EFFECT, "Samples of the mutation quota.") \
	X("leader.replication.throttled.rate", LONG, "9223372036854775807", 0, INT64_MAX, NO_EFFECT, "Replication quota as leader, bytes/s.") \
	X("follower.replication.throttled.rate", LONG, "9223372036854775807", 0, INT64_MAX, NO_EFFECT, "Replication quota as follower, bytes/s.") \
	X("replica.alter.log.dirs.io.max.bytes.per.second", LONG, "9223372036854775807", 0, INT64_MAX, NO_EFFECT, "Quota for moves between dirs.") \
	X("metric.reporters", LIST, "", 0, 0, NO_EFFECT, "Metric plugins; one that implements client telemetry turns APIs 71/72 on.") \
	X("telemetry.max.bytes", INT, "1048576", 1, INT32_MAX, NO_EFFECT, "Largest telemetry push.") \
	X("alter.log.dirs.replication.quota.window.num", INT, "11", INT32_MIN, INT32_MAX, NO_EFFECT, "Samples of the quota for moves between directories.") \
	X("alter.log.dirs.replication.quota.window.size.seconds", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Length of each of those samples.") \
	X("auto.include.jmx.reporter", BOOLEAN, "true", 0, 0, NO_EFFECT, "Report metrics by JMX even if metric.reporters does not name it.") \
	X("broker.heartbeat.interval.ms", INT, "2000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: time between heartbeats to the controller.") \
	X("broker.session.timeout.ms", INT, "9000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: without heartbeats for this long a broker is fenced.") \
	X("client.quota.callback.class", CLASS, NULL, 0, 0, NO_EFFECT, "Plugin that decides on client quotas.") \
	X("controller.listener.names", STRING, NULL, 0, 0, NO_EFFECT, "KRaft: names of the controllers' listeners.") \
	X("controller.quorum.append.linger.ms", INT, "25", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: how long the quorum's leader gathers writes.") \
	X("controller.quorum.bootstrap.servers", LIST, "", 0, 0, NO_EFFECT, "KRaft: where the quorum is found.") \
	X("controller.quorum.election.backoff.max.ms", INT, "1000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: longest wait before another election.") \
	X("controller.quorum.election.timeout.ms", INT, "1000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: longest time without a leader before an election.") \
	X("controller.quorum.fetch.timeout.ms", INT, "2000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: longest time without an answer of the quorum's leader.") \
	X("controller.quorum.request.timeout.ms", INT, "2000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: wait for the answer to a request of the quorum.") \
	X("controller.quorum.retry.backoff.ms", INT, "20", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: wait before a request of the quorum is sent again.") \
	X("controller.quorum.voters", LIST, "", 0, 0, NO_EFFECT, "KRaft: the voters as ID@HOST:PORT.") \
	X("controller.quota.window.size.seconds", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Length of a sample of the mutation quota.") \
	X("delegation.token.expiry.check.interval.ms", LONG, "3600000", INT64_MIN, INT64_MAX, SECURITY, "Period of looking for expired tokens.") \
	X("delegation.token.master.key", PASSWORD, NULL, 0, 0, SECURITY, "Old name of delegation.token.secret.key.") \
	X("delete.records.purgatory.purge.interval.requests", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Requests between two cleanings of the queue of waiting DeleteRecords.") \
	X("early.start.listeners", STRING, NULL, 0, 0, NO_EFFECT, "Listeners that accept before the authorizer has finished starting.") \
	X("eligible.leader.replicas.enable", BOOLEAN, "false", 0, 0, NO_EFFECT, "KRaft: keep replicas that left the ISR eligible. Klamm always does (docs/PROTOCOL.md).") \
	X("fetch.purgatory.purge.interval.requests", INT, "1000", INT32_MIN, INT32_MAX, NO_EFFECT, "Requests between two cleanings of the queue of waiting Fetches.") \
	X("group.consumer.assignors", LIST, "org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor", 0, 0, NO_EFFECT, "KIP-848: assignors that the server offers, by name or class.") \
	X("group.consumer.max.heartbeat.interval.ms", INT, "15000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848: largest heartbeat interval.") \
	X("group.consumer.max.session.timeout.ms", INT, "60000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848: largest session timeout.") \
	X("group.consumer.max.size", INT, "2147483647", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848: members per group.") \
	X("group.consumer.min.heartbeat.interval.ms", INT, "5000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848: smallest heartbeat interval.") \
	X("group.consumer.min.session.timeout.ms", INT, "45000", INT32_MIN, INT32_MAX, NO_EFFECT, "KIP-848: smallest session timeout.") \
	X("group.coordinator.append.linger.ms", INT, "10", INT32_MIN, INT32_MAX, NO_EFFECT, "New coordinator: how long it gathers writes.") \
	X("group.coordinator.threads", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "New coordinator: its threads.") \
	X("group.share.delivery.count.limit", INT, "5", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: deliveries of a record before it is given up.") \
	X("group.share.heartbeat.interval.ms", INT, "5000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: heartbeat interval.") \
	X("group.share.max.groups", SHORT, "10", INT16_MIN, INT16_MAX, NO_EFFECT, "Share groups: how many there may be.") \
	X("group.share.max.heartbeat.interval.ms", INT, "15000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: largest heartbeat interval.") \
	X("group.share.max.record.lock.duration.ms", INT, "60000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: longest lock of a record.") \
	X("group.share.max.session.timeout.ms", INT, "60000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: largest session timeout.") \
	X("group.share.max.size", SHORT, "200", INT16_MIN, INT16_MAX, NO_EFFECT, "Share groups: members per group.") \
	X("group.share.min.heartbeat.interval.ms", INT, "5000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: smallest heartbeat interval.") \
	X("group.share.min.record.lock.duration.ms", INT, "15000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: shortest lock of a record.") \
	X("group.share.min.session.timeout.ms", INT, "45000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: smallest session timeout.") \
	X("group.share.partition.max.record.locks", INT, "200", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: locked records per partition.") \
	X("group.share.record.lock.duration.ms", INT, "30000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: how long a delivered record stays locked.") \
	X("group.share.session.timeout.ms", INT, "45000", INT32_MIN, INT32_MAX, NO_EFFECT, "Share groups: session timeout.") \
	X("initial.broker.registration.timeout.ms", INT, "60000", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: a broker that cannot register for this long stops.") \
	X("kafka.metrics.polling.interval.secs", INT, "10", INT32_MIN, INT32_MAX, NO_EFFECT, "Period of the Yammer metrics reporters.") \
	X("kafka.metrics.reporters", LIST, "", 0, 0, NO_EFFECT, "Yammer metrics reporters, by class.") \
	X("metadata.log.dir", STRING, NULL, 0, 0, NO_EFFECT, "KRaft: directory of the metadata log.") \
	X("metadata.log.max.record.bytes.between.snapshots", LONG, "20971520", INT64_MIN, INT64_MAX, NO_EFFECT, "KRaft: bytes of metadata after which a snapshot is made.") \
	X("metadata.log.max.snapshot.interval.ms", LONG, "3600000", INT64_MIN, INT64_MAX, NO_EFFECT, "KRaft: time after which a snapshot is made.") \
	X("metadata.log.segment.bytes", INT, "1073741824", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: roll size of the metadata log.") \
	X("metadata.log.segment.ms", LONG, "604800000", INT64_MIN, INT64_MAX, NO_EFFECT, "KRaft: roll age of the metadata log.") \
	X("metadata.max.idle.interval.ms", INT, "500", INT32_MIN, INT32_MAX, NO_EFFECT, "KRaft: period of empty records in an idle metadata log.") \
	X("metadata.max.retention.bytes", LONG, "104857600", INT64_MIN, INT64_MAX, NO_EFFECT, "KRaft: size at which old snapshots and segments go.") \
	X("metadata.max.retention.ms", LONG, "604800000", INT64_MIN, INT64_MAX, NO_EFFECT, "KRaft: age at which old snapshots and segments go.") \
	X("metrics.num.samples", INT, "2", INT32_MIN, INT32_MAX, NO_EFFECT, "Samples behind a metric of the JVM.") \
	X("metrics.recording.level", STRING, "INFO", 0, 0, NO_EFFECT, "Detail of the metrics of the JVM: INFO, DEBUG or TRACE.") \
	X("metrics.sample.window.ms", LONG, "30000", INT64_MIN, INT64_MAX, NO_EFFECT, "Length of such a sample.") \
	X("password.encoder.cipher.algorithm", STRING, "AES/CBC/PKCS5Padding", 0, 0, SECURITY, "Cipher for dynamic passwords in ZooKeeper.") \
	X("password.encoder.iterations", INT, "4096", INT32_MIN, INT32_MAX, SECURITY, "Rounds of deriving its key.") \
	X("password.encoder.key.length", INT, "128", INT32_MIN, INT32_MAX, SECURITY, "Bits of its key.") \
	X("password.encoder.keyfactory.algorithm", STRING, NULL, 0, 0, SECURITY, "How its key is derived.") \
	X("password.encoder.old.secret", PASSWORD, NULL, 0, 0, SECURITY, "The secret before password.encoder.secret was changed.") \
	X("process.roles", LIST, "", 0, 0, NO_EFFECT, "KRaft: broker, controller or both; empty is ZooKeeper mode, the only one here.") \
	X("producer.purgatory.purge.interval.requests", INT, "1000", INT32_MIN, INT32_MAX, NO_EFFECT, "Requests between two cleanings of the queue of waiting Produces.") \
	X("remote.fetch.max.wait.ms", INT, "500", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: longest wait of a Fetch for remote data.") \
	X("remote.log.index.file.cache.total.size.bytes", LONG, "1073741824", INT64_MIN, INT64_MAX, NO_EFFECT, "Tiered storage: local disk for remote indexes.") \
	X("remote.log.manager.copier.thread.pool.size", INT, "-1", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: threads that copy segments; -1 = remote.log.manager.thread.pool.size.") \
	X("remote.log.manager.copy.max.bytes.per.second", LONG, "9223372036854775807", INT64_MIN, INT64_MAX, NO_EFFECT, "Tiered storage: throttle of copying.") \
	X("remote.log.manager.copy.quota.window.num", INT, "11", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: samples of the copy quota.") \
	X("remote.log.manager.copy.quota.window.size.seconds", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: length of such a sample.") \
	X("remote.log.manager.expiration.thread.pool.size", INT, "-1", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: threads that delete segments; -1 = remote.log.manager.thread.pool.size.") \
	X("remote.log.manager.fetch.max.bytes.per.second", LONG, "9223372036854775807", INT64_MIN, INT64_MAX, NO_EFFECT, "Tiered storage: throttle of reading.") \
	X("remote.log.manager.fetch.quota.window.num", INT, "11", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: samples of the fetch quota.") \
	X("remote.log.manager.fetch.quota.window.size.seconds", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: length of such a sample.") \
	X("remote.log.manager.task.interval.ms", LONG, "30000", INT64_MIN, INT64_MAX, NO_EFFECT, "Tiered storage: period of copying and deleting.") \
	X("remote.log.manager.thread.pool.size", INT, "10", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: threads of that.") \
	X("remote.log.metadata.custom.metadata.max.bytes", INT, "128", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: longest metadata that a plugin may add to a segment.") \
	X("remote.log.metadata.manager.class.name", STRING, "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", 0, 0, NO_EFFECT, "Tiered storage: plugin that keeps the metadata.") \
	X("remote.log.metadata.manager.class.path", STRING, NULL, 0, 0, NO_EFFECT, "Tiered storage: where that plugin is.") \
	X("remote.log.metadata.manager.impl.prefix", STRING, "rlmm.config.", 0, 0, NO_EFFECT, "Tiered storage: prefix of that plugin's own keys.") \
	X("remote.log.metadata.manager.listener.name", STRING, NULL, 0, 0, NO_EFFECT, "Tiered storage: listener through which that plugin speaks to brokers.") \
	X("remote.log.reader.max.pending.tasks", INT, "100", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: waiting reads before more are refused.") \
	X("remote.log.reader.threads", INT, "10", INT32_MIN, INT32_MAX, NO_EFFECT, "Tiered storage: threads that read.") \
	X("remote.log.storage.manager.class.name", STRING, NULL, 0, 0, NO_EFFECT, "Tiered storage: plugin that stores segments.") \
	X("remote.log.storage.manager.class.path", STRING, NULL, 0, 0, NO_EFFECT, "Tiered storage: where that plugin is.") \
	X("remote.log.storage.manager.impl.prefix", STRING, "rsm.config.", 0, 0, NO_EFFECT, "Tiered storage: prefix of that plugin's own keys.") \
	X("remote.log.storage.system.enable", BOOLEAN, "false", 0, 0, NO_EFFECT, "Tiered storage: whether this broker has any.") \
	X("replication.quota.window.num", INT, "11", INT32_MIN, INT32_MAX, NO_EFFECT, "Samples of the replication quotas.") \
	X("replication.quota.window.size.seconds", INT, "1", INT32_MIN, INT32_MAX, NO_EFFECT, "Length of each of those samples.") \
	X("sasl.client.callback.handler.class", CLASS, NULL, 0, 0, SECURITY, "SASL: plugin for the client's side.") \
	X("sasl.kerberos.kinit.cmd", STRING, "/usr/bin/kinit", 0, 0, SECURITY, "Kerberos: the kinit command.") \
	X("sasl.kerberos.min.time.before.relogin", LONG, "60000", INT64_MIN, INT64_MAX, SECURITY, "Kerberos: shortest time between logins, in ms.") \
	X("sasl.kerberos.principal.to.local.rules", LIST, "DEFAULT", 0, 0, SECURITY, "Kerberos: rules from principals to user names.") \
	X("sasl.kerberos.service.name", STRING, NULL, 0, 0, SECURITY, "Kerberos: the principal that brokers run as.") \
	X("sasl.kerberos.ticket.renew.jitter", DOUBLE, "0.05", 0, 0, SECURITY, "Kerberos: random share added to the time of renewal.") \
	X("sasl.kerberos.ticket.renew.window.factor", DOUBLE, "0.8", 0, 0, SECURITY, "Kerberos: share of a ticket's life after which it is renewed.") \
	X("sasl.login.callback.handler.class", CLASS, NULL, 0, 0, SECURITY, "SASL: plugin for logins.") \
	X("sasl.login.class", CLASS, NULL, 0, 0, SECURITY, "SASL: class that logs in.") \
	X("sasl.login.connect.timeout.ms", INT, NULL, INT32_MIN, INT32_MAX, SECURITY, "OAuth: wait for a connection to the identity provider.") \
	X("sasl.login.read.timeout.ms", INT, NULL, INT32_MIN, INT32_MAX, SECURITY, "OAuth: wait for its answer.") \
	X("sasl.login.refresh.buffer.seconds", SHORT, "300", INT16_MIN, INT16_MAX, SECURITY, "OAuth: time left of a token's life at which it is renewed at the latest.") \
	X("sasl.login.refresh.min.period.seconds", SHORT, "60", INT16_MIN, INT16_MAX, SECURITY, "OAuth: shortest time between renewals.") \
	X("sasl.login.refresh.window.factor", DOUBLE, "0.8", 0, 0, SECURITY, "OAuth: share of a token's life after which it is renewed.") \
	X("sasl.login.refresh.window.jitter", DOUBLE, "0.05", 0, 0, SECURITY, "OAuth: random share added to that.") \
	X("sasl.login.retry.backoff.max.ms", LONG, "10000", INT64_MIN, INT64_MAX, SECURITY, "OAuth: longest wait before another login.") \
	X("sasl.login.retry.backoff.ms", LONG, "100", INT64_MIN, INT64_MAX, SECURITY, "OAuth: first wait before another login.") \
	X("sasl.mechanism.controller.protocol", STRING, "GSSAPI", 0, 0, SECURITY, "KRaft: SASL mechanism towards controllers.") \
	X("sasl.oauthbearer.clock.skew.seconds", INT, "30", INT32_MIN, INT32_MAX, SECURITY, "OAuth: tolerated difference of clocks.") \
	X("sasl.oauthbearer.expected.audience", LIST, NULL, 0, 0, SECURITY, "OAuth: audiences that a token must name.") \
	X("sasl.oauthbearer.expected.issuer", STRING, NULL, 0, 0, SECURITY, "OAuth: issuer that a token must name.") \
	X("sasl.oauthbearer.jwks.endpoint.refresh.ms", LONG, "3600000", INT64_MIN, INT64_MAX, SECURITY, "OAuth: period of reading the keys.") \
	X("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", LONG, "10000", INT64_MIN, INT64_MAX, SECURITY, "OAuth: longest wait before the keys are read again.") \
	X("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", LONG, "100", INT64_MIN, INT64_MAX, SECURITY, "OAuth: first wait before the keys are read again.") \
	X("sasl.oauthbearer.jwks.endpoint.url", STRING, NULL, 0, 0, SECURITY, "OAuth: where the keys are.") \
	X("sasl.oauthbearer.scope.claim.name", STRING, "scope", 0, 0, SECURITY, "OAuth: claim that holds the scope.") \
	X("sasl.oauthbearer.sub.claim.name", STRING, "sub", 0, 0, SECURITY, "OAuth: claim that holds the subject.") \
	X("sasl.oauthbearer.token.endpoint.url", STRING, NULL, 0, 0, SECURITY, "OAuth: where tokens come from.") \
	X("sasl.server.callback.handler.class", CLASS, NULL, 0, 0, SECURITY, "SASL: plugin for the server's side.") \
	X("security.providers", STRING, NULL, 0, 0, SECURITY, "Providers of security algorithms for the JVM, by class.") \
	X("socket.connection.setup.timeout.max.ms", LONG, "30000", INT64_MIN, INT64_MAX, NO_EFFECT, "Longest wait for a connection to another broker.") \
	X("socket.connection.setup.timeout.ms", LONG, "10000", INT64_MIN, INT64_MAX, NO_EFFECT, "First wait for a connection to another broker.") \
	X("ssl.allow.dn.changes", BOOLEAN, "false", 0, 0, SECURITY, "TLS: a new key store may bear another name.") \
	X("ssl.allow.san.changes", BOOLEAN, "false", 0, 0, SECURITY, "TLS: a new key store may bear other alternative names.") \
	X("ssl.cipher.suites", LIST, "", 0, 0, SECURITY, "TLS: cipher suites; empty = those of the JVM.") \
	X("ssl.endpoint.identification.algorithm", STRING, "https", 0, 0, SECURITY, "TLS: how the name of a server is checked.") \
	X("ssl.engine.factory.class", CLASS, NULL, 0, 0, SECURITY, "TLS: plugin that makes the engine.") \
	X("ssl.key.password", PASSWORD, NULL, 0, 0, SECURITY, "TLS: password of the private key.") \
	X("ssl.keymanager.algorithm", STRING, "SunX509", 0, 0, SECURITY, "TLS: algorithm of the key manager.") \
	X("ssl.keystore.certificate.chain", PASSWORD, NULL, 0, 0, SECURITY, "TLS: certificate chain, as PEM.") \
	X("ssl.keystore.key", PASSWORD, NULL, 0, 0, SECURITY, "TLS: private key, as PEM.") \
	X("ssl.keystore.password", PASSWORD, NULL, 0, 0, SECURITY, "TLS: password of the key store.") \
	X("ssl.keystore.type", STRING, "JKS", 0, 0, SECURITY, "TLS: format of the key store.") \
	X("ssl.protocol", STRING, "TLSv1.3", 0, 0, SECURITY, "TLS: version of the context.") \
	X("ssl.provider", STRING, NULL, 0, 0, SECURITY, "TLS: provider of the JVM.") \
	X("ssl.secure.random.implementation", STRING, NULL, 0, 0, SECURITY, "TLS: source of random numbers.") \
	X("ssl.trustmanager.algorithm", STRING, "PKIX", 0, 0, SECURITY, "TLS: algorithm of the trust manager.") \
	X("ssl.truststore.certificates", PASSWORD, NULL, 0, 0, SECURITY, "TLS: trusted certificates, as PEM.") \
	X("ssl.truststore.password", PASSWORD, NULL, 0, 0, SECURITY, "TLS: password of the trust store.") \
	X("ssl.truststore.type", STRING, "JKS", 0, 0, SECURITY, "TLS: format of the trust store.") \
	X("transaction.state.log.load.buffer.size", INT, "5242880", INT32_MIN, INT32_MAX, NO_EFFECT, "Read size while transactions are loaded.") \
	X("zookeeper.clientCnxnSocket", STRING, NULL, 0, 0, NO_EFFECT, "Java class of the ZooKeeper connection.") \
	X("zookeeper.metadata.migration.enable", BOOLEAN, "false", 0, 0, NO_EFFECT, "Move the metadata from ZooKeeper to KRaft.") \
	X("zookeeper.ssl.cipher.suites", LIST, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: cipher suites.") \
	X("zookeeper.ssl.client.enable", BOOLEAN, "false", 0, 0, SECURITY, "TLS to ZooKeeper: on or off.") \
	X("zookeeper.ssl.crl.enable", BOOLEAN, "false", 0, 0, SECURITY, "TLS to ZooKeeper: look at revocation lists.") \
	X("zookeeper.ssl.enabled.protocols", LIST, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: versions.") \
	X("zookeeper.ssl.endpoint.identification.algorithm", STRING, "HTTPS", 0, 0, SECURITY, "TLS to ZooKeeper: how the name is checked.") \
	X("zookeeper.ssl.keystore.location", STRING, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: key store path.") \
	X("zookeeper.ssl.keystore.password", PASSWORD, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: password of the key store.") \
	X("zookeeper.ssl.keystore.type", STRING, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: format of the key store.") \
	X("zookeeper.ssl.ocsp.enable", BOOLEAN, "false", 0, 0, SECURITY, "TLS to ZooKeeper: ask for revocation.") \
	X("zookeeper.ssl.protocol", STRING, "TLSv1.2", 0, 0, SECURITY, "TLS to ZooKeeper: version of the context.") \
	X("zookeeper.ssl.truststore.location", STRING, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: trust store path.") \
	X("zookeeper.ssl.truststore.password", PASSWORD, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: password of the trust store.") \
	X("zookeeper.ssl.truststore.type", STRING, NULL, 0, 0, SECURITY, "TLS to ZooKeeper: format of the trust store.") \
	X("admin.listener", STRING, NULL, 0, 0, USED, "HOST:PORT for /health and /metrics; off when unset.") \
	X("data.loops", INT, "0", 0, 256, USED, "Data loops; 0 = one per CPU that the process may use.") \
	X("log.dir.reserved.bytes", LONG, "1073741824", 0, INT64_MAX, USED, "Free space below which producers are refused.") \
	X("log.scrub.bytes.per.second", LONG, "0", 0, INT64_MAX, NO_EFFECT, "Background verification of logs.") \
	X("log.message.format.version", STRING, "3.0-IV1", 0, 0, NO_EFFECT, "Ignored by Kafka 3.x as well: the format is v2.")

#define BROKER_DYNAMIC_KEYS(X) \
	X("listeners", PER_BROKER) \
	X("advertised.listeners", PER_BROKER) \
	X("listener.security.protocol.map", PER_BROKER) \
	X("num.network.threads", CLUSTER_WIDE) \
	X("num.io.threads", CLUSTER_WIDE) \
	X("background.threads", CLUSTER_WIDE) \
	X("num.replica.fetchers", CLUSTER_WIDE) \
	X("num.recovery.threads.per.data.dir", AT_START) \
	X("max.connections", CLUSTER_WIDE) \
	X("max.connections.per.ip", CLUSTER_WIDE) \
	X("max.connections.per.ip.overrides", CLUSTER_WIDE) \
	X("max.connection.creation.rate", CLUSTER_WIDE) \
	X("message.max.bytes", CLUSTER_WIDE) \
	X("log.segment.bytes", CLUSTER_WIDE) \
	X("log.roll.ms", CLUSTER_WIDE) \
	X("log.roll.jitter.ms", CLUSTER_WIDE) \
	X("log.retention.ms", CLUSTER_WIDE) \
	X("log.retention.bytes", CLUSTER_WIDE) \
	X("log.cleanup.policy", CLUSTER_WIDE) \
	X("log.segment.delete.delay.ms", CLUSTER_WIDE) \
	X("log.index.size.max.bytes", CLUSTER_WIDE) \
	X("log.index.interval.bytes", CLUSTER_WIDE) \
	X("log.flush.interval.messages", CLUSTER_WIDE) \
	X("log.flush.interval.ms", CLUSTER_WIDE) \
	X("log.preallocate", CLUSTER_WIDE) \
	X("log.message.timestamp.type", CLUSTER_WIDE) \
	X("log.message.timestamp.before.max.ms", CLUSTER_WIDE) \
	X("log.message.timestamp.after.max.ms", CLUSTER_WIDE) \
	X("log.cleaner.threads", CLUSTER_WIDE) \
	X("log.cleaner.dedupe.buffer.size", CLUSTER_WIDE) \
	X("log.cleaner.io.buffer.size", CLUSTER_WIDE) \
	X("log.cleaner.io.buffer.load.factor", CLUSTER_WIDE) \
	X("log.cleaner.io.max.bytes.per.second", CLUSTER_WIDE) \
	X("log.cleaner.backoff.ms", CLUSTER_WIDE) \
	X("log.cleaner.min.cleanable.ratio", CLUSTER_WIDE) \
	X("log.cleaner.min.compaction.lag.ms", CLUSTER_WIDE) \
	X("log.cleaner.max.compaction.lag.ms", CLUSTER_WIDE) \
	X("log.cleaner.delete.retention.ms", CLUSTER_WIDE) \
	X("compression.type", CLUSTER_WIDE) \
	X("min.insync.replicas", CLUSTER_WIDE) \
	X("unclean.leader.election.enable", CLUSTER_WIDE) \
	X("transaction.partition.verification.enable", CLUSTER_WIDE) \
	X("producer.id.expiration.ms", CLUSTER_WIDE) \
	X("principal.builder.class", PER_BROKER) \
	X("sasl.enabled.mechanisms", PER_BROKER) \
	X("sasl.mechanism.inter.broker.protocol", PER_BROKER) \
	X("sasl.jaas.config", PER_BROKER) \
	X("ssl.client.auth", PER_BROKER) \
	X("ssl.keystore.location", PER_BROKER) \
	X("ssl.truststore.location", PER_BROKER) \
	X("ssl.enabled.protocols", PER_BROKER) \
	X("leader.replication.throttled.rate", DYNAMIC_ONLY) \
	X("follower.replication.throttled.rate", DYNAMIC_ONLY) \
	X("replica.alter.log.dirs.io.max.bytes.per.second", DYNAMIC_ONLY) \
	X("metric.reporters", CLUSTER_WIDE) \
	X("remote.fetch.max.wait.ms", CLUSTER_WIDE) \
	X("remote.log.index.file.cache.total.size.bytes", CLUSTER_WIDE) \
	X("remote.log.manager.copy.max.bytes.per.second", CLUSTER_WIDE) \
	X("remote.log.manager.fetch.max.bytes.per.second", CLUSTER_WIDE) \
	X("sasl.kerberos.kinit.cmd", PER_BROKER) \
	X("sasl.kerberos.min.time.before.relogin", PER_BROKER) \
	X("sasl.kerberos.principal.to.local.rules", PER_BROKER) \
	X("sasl.kerberos.service.name", PER_BROKER) \
	X("sasl.kerberos.ticket.renew.jitter", PER_BROKER) \
	X("sasl.kerberos.ticket.renew.window.factor", PER_BROKER) \
	X("sasl.login.refresh.buffer.seconds", PER_BROKER) \
	X("sasl.login.refresh.min.period.seconds", PER_BROKER) \
	X("sasl.login.refresh.window.factor", PER_BROKER) \
	X("sasl.login.refresh.window.jitter", PER_BROKER) \
	X("ssl.cipher.suites", PER_BROKER) \
	X("ssl.endpoint.identification.algorithm", PER_BROKER) \
	X("ssl.engine.factory.class", PER_BROKER) \
	X("ssl.key.password", PER_BROKER) \
	X("ssl.keymanager.algorithm", PER_BROKER) \
	X("ssl.keystore.certificate.chain", PER_BROKER) \
	X("ssl.keystore.key", PER_BROKER) \
	X("ssl.keystore.password", PER_BROKER) \
	X("ssl.keystore.type", PER_BROKER) \
	X("ssl.protocol", PER_BROKER) \
	X("ssl.provider", PER_BROKER) \
	X("ssl.secure.random.implementation", PER_BROKER) \
	X("ssl.trustmanager.algorithm", PER_BROKER) \
	X("ssl.truststore.certificates", PER_BROKER) \
	X("ssl.truststore.password", PER_BROKER) \
	X("ssl.truststore.type", PER_BROKER) \
	X("log.message.timestamp.difference.max.ms", CLUSTER_WIDE) \
	X("log.message.downconversion.enable", CLUSTER_WIDE) \
	X("log.local.retention.bytes", CLUSTER_WIDE) \
	X("log.local.retention.ms", CLUSTER_WIDE) \
	X("compression.gzip.level", CLUSTER_WIDE) \
	X("compression.lz4.level", CLUSTER_WIDE) \
	X("compression.zstd.level", CLUSTER_WIDE)

#define BROKER_UNLISTED_KEYS(X) \
	X("allow.everyone.if.no.acl.found") \
	X("group.coordinator.new.enable") \
	X("producer.id.expiration.check.interval.ms") \
	X("super.users")
