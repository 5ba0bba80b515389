# proto/kafka: message schemas and their generator. kp.h and kp.c are made in the build directory.
KP_SCHEMAS = \
	proto/kafka/AbortedTxn.kp \
	proto/kafka/AddOffsetsToTxn.kp \
	proto/kafka/AddPartitionsToTxn.kp \
	proto/kafka/AllocateProducerIds.kp \
	proto/kafka/AlterClientQuotas.kp \
	proto/kafka/AlterConfigs.kp \
	proto/kafka/AlterPartition.kp \
	proto/kafka/AlterPartitionReassignments.kp \
	proto/kafka/AlterReplicaLogDirs.kp \
	proto/kafka/AlterUserScramCredentials.kp \
	proto/kafka/ApiVersions.kp \
	proto/kafka/ConsumerGroupCurrentMemberAssignmentKey.kp \
	proto/kafka/ConsumerGroupCurrentMemberAssignmentValue.kp \
	proto/kafka/ConsumerGroupDescribe.kp \
	proto/kafka/ConsumerGroupHeartbeat.kp \
	proto/kafka/ConsumerGroupMemberMetadataKey.kp \
	proto/kafka/ConsumerGroupMemberMetadataValue.kp \
	proto/kafka/ConsumerGroupMetadataKey.kp \
	proto/kafka/ConsumerGroupMetadataValue.kp \
	proto/kafka/ConsumerGroupPartitionMetadataKey.kp \
	proto/kafka/ConsumerGroupPartitionMetadataValue.kp \
	proto/kafka/ConsumerGroupTargetAssignmentMemberKey.kp \
	proto/kafka/ConsumerGroupTargetAssignmentMemberValue.kp \
	proto/kafka/ConsumerGroupTargetAssignmentMetadataKey.kp \
	proto/kafka/ConsumerGroupTargetAssignmentMetadataValue.kp \
	proto/kafka/ConsumerProtocolAssignment.kp \
	proto/kafka/ConsumerProtocolSubscription.kp \
	proto/kafka/ControlRecordKey.kp \
	proto/kafka/ControlledShutdown.kp \
	proto/kafka/CreateAcls.kp \
	proto/kafka/CreateDelegationToken.kp \
	proto/kafka/CreatePartitions.kp \
	proto/kafka/CreateTopics.kp \
	proto/kafka/DefaultPrincipal.kp \
	proto/kafka/DeleteAcls.kp \
	proto/kafka/DeleteGroups.kp \
	proto/kafka/DeleteRecords.kp \
	proto/kafka/DeleteTopics.kp \
	proto/kafka/DescribeAcls.kp \
	proto/kafka/DescribeClientQuotas.kp \
	proto/kafka/DescribeCluster.kp \
	proto/kafka/DescribeConfigs.kp \
	proto/kafka/DescribeDelegationToken.kp \
	proto/kafka/DescribeGroups.kp \
	proto/kafka/DescribeLogDirs.kp \
	proto/kafka/DescribeProducers.kp \
	proto/kafka/DescribeTransactions.kp \
	proto/kafka/DescribeUserScramCredentials.kp \
	proto/kafka/ElectLeaders.kp \
	proto/kafka/EndTxn.kp \
	proto/kafka/EndTxnMarker.kp \
	proto/kafka/Envelope.kp \
	proto/kafka/ExpireDelegationToken.kp \
	proto/kafka/Fetch.kp \
	proto/kafka/FindCoordinator.kp \
	proto/kafka/GroupMetadataKey.kp \
	proto/kafka/GroupMetadataValue.kp \
	proto/kafka/Heartbeat.kp \
	proto/kafka/IncrementalAlterConfigs.kp \
	proto/kafka/InitProducerId.kp \
	proto/kafka/JoinGroup.kp \
	proto/kafka/LeaderAndIsr.kp \
	proto/kafka/LeaveGroup.kp \
	proto/kafka/ListGroups.kp \
	proto/kafka/ListOffsets.kp \
	proto/kafka/ListPartitionReassignments.kp \
	proto/kafka/ListTransactions.kp \
	proto/kafka/Metadata.kp \
	proto/kafka/OffsetCommit.kp \
	proto/kafka/OffsetCommitKey.kp \
	proto/kafka/OffsetCommitValue.kp \
	proto/kafka/OffsetDelete.kp \
	proto/kafka/OffsetFetch.kp \
	proto/kafka/OffsetForLeaderEpoch.kp \
	proto/kafka/Produce.kp \
	proto/kafka/ProducerSnapshot.kp \
	proto/kafka/RenewDelegationToken.kp \
	proto/kafka/RequestHeader.kp \
	proto/kafka/ResponseHeader.kp \
	proto/kafka/SaslAuthenticate.kp \
	proto/kafka/SaslHandshake.kp \
	proto/kafka/StopReplica.kp \
	proto/kafka/SyncGroup.kp \
	proto/kafka/TransactionLogKey.kp \
	proto/kafka/TransactionLogValue.kp \
	proto/kafka/TxnOffsetCommit.kp \
	proto/kafka/UpdateFeatures.kp \
	proto/kafka/UpdateMetadata.kp \
	proto/kafka/WriteTxnMarkers.kp

noinst_LIBRARIES += libkproto.a
libkproto_a_SOURCES =
nodist_libkproto_a_SOURCES = proto/kafka/kp.c proto/kafka/kp.h
BUILT_SOURCES += proto/kafka/kp.h
CLEANFILES += proto/kafka/kp.c proto/kafka/kp.h
EXTRA_DIST += proto/kafka/gen.py proto/kafka/README.md $(KP_SCHEMAS)

# one run of the generator writes both, kp.h last
proto/kafka/kp.h: proto/kafka/gen.py $(KP_SCHEMAS)
	$(AM_V_GEN)$(MKDIR_P) proto/kafka && $(PYTHON) $(srcdir)/proto/kafka/gen.py -o proto/kafka $(addprefix $(srcdir)/,$(KP_SCHEMAS))
proto/kafka/kp.c: proto/kafka/kp.h
	@test -f $@ || { rm -f proto/kafka/kp.h; $(MAKE) $(AM_MAKEFLAGS) proto/kafka/kp.h; }
