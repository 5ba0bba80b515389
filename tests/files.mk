# Unit tests. Each program: check_PROGRAMS += tests/unit/test_X, tests_unit_test_X_SOURCES, _LDADD; then TESTS += it.
UNIT_SOURCES = tests/unit/unit.c tests/unit/unit.h
AM_TESTS_ENVIRONMENT = srcdir='$(abs_top_srcdir)'; builddir='$(abs_top_builddir)'; export srcdir builddir;

# common/base, common/zk, common/metrics, common/link, common/compress
check_PROGRAMS += tests/unit/test_base
tests_unit_test_base_SOURCES = tests/unit/test_base.c $(UNIT_SOURCES)
tests_unit_test_base_LDADD = libkbase.a $(ISAL_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_base

# common/wire, proto/kafka
check_PROGRAMS += tests/unit/test_wire tests/unit/test_wire_golden
tests_unit_test_wire_SOURCES = tests/unit/test_wire.c $(UNIT_SOURCES)
tests_unit_test_wire_LDADD = libkwire.a libkproto.a libkbase.a $(ISAL_LIBS) $(CUNIT_LIBS)
tests_unit_test_wire_golden_SOURCES = tests/unit/test_wire_golden.c $(UNIT_SOURCES)
tests_unit_test_wire_golden_LDADD = libkwire.a libkproto.a libkbase.a $(ISAL_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_wire tests/unit/test_wire_golden
EXTRA_DIST += tests/golden/wire tests/fuzz/fuzz_request.c

check_PROGRAMS += tests/unit/test_zkdata tests/unit/test_metrics tests/unit/test_link tests/unit/test_compress
tests_unit_test_zkdata_SOURCES = tests/unit/test_zkdata.c $(UNIT_SOURCES)
tests_unit_test_zkdata_LDADD = libkbase.a $(JANSSON_LIBS) $(ISAL_LIBS) $(CUNIT_LIBS)
EXTRA_DIST += tests/golden/znodes-golden.txt
tests_unit_test_metrics_SOURCES = tests/unit/test_metrics.c $(UNIT_SOURCES)
tests_unit_test_metrics_LDADD = libkbase.a $(CUNIT_LIBS)
tests_unit_test_link_SOURCES = tests/unit/test_link.c $(UNIT_SOURCES)
tests_unit_test_link_LDADD = libklink.a libkenv.a libkbase.a $(CUNIT_LIBS)
tests_unit_test_compress_SOURCES = tests/unit/test_compress.c $(UNIT_SOURCES)
tests_unit_test_compress_LDADD = libkcompress.a libkbase.a $(CODEC_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_zkdata tests/unit/test_metrics tests/unit/test_link tests/unit/test_compress

# common/env/os. test_zk_os needs Java and a ZooKeeper: it runs in check-cluster, not in check.
OS_BODY_SOURCES = tests/unit/os_body.c tests/unit/os_body.h $(UNIT_SOURCES)
check_PROGRAMS += tests/unit/test_env_os tests/unit/test_env_os_calls tests/unit/test_env_os_files tests/unit/test_zk_os
tests_unit_test_env_os_SOURCES = tests/unit/test_env_os.c $(OS_BODY_SOURCES)
tests_unit_test_env_os_LDADD = libkenvos.a libkenv.a libkbase.a $(OS_LIBS) $(CUNIT_LIBS)
tests_unit_test_zk_os_SOURCES = tests/unit/test_zk_os.c $(UNIT_SOURCES)
tests_unit_test_zk_os_LDADD = libkenvos.a libkenv.a libkbase.a $(OS_LIBS) $(CUNIT_LIBS)
# Its own pread and so on stand in front of the C library's.
tests_unit_test_env_os_calls_SOURCES = tests/unit/test_env_os_calls.c $(OS_BODY_SOURCES)
tests_unit_test_env_os_calls_LDADD = $(tests_unit_test_env_os_LDADD)
tests_unit_test_env_os_files_SOURCES = tests/unit/test_env_os_files.c $(OS_BODY_SOURCES)
tests_unit_test_env_os_files_LDADD = $(tests_unit_test_env_os_LDADD)
TESTS += tests/unit/test_env_os tests/unit/test_env_os_calls tests/unit/test_env_os_files
EXTRA_DIST += tests/tools/zk-start

# common/env/sim; and the seam itself
SIM_BODY_SOURCES = tests/unit/sim_body.c tests/unit/sim_body.h $(UNIT_SOURCES)
check_PROGRAMS += tests/unit/test_disk_sim tests/unit/test_env_sim tests/unit/test_net_sim tests/unit/test_zk_sim
tests_unit_test_disk_sim_SOURCES = tests/unit/test_disk_sim.c $(SIM_BODY_SOURCES)
tests_unit_test_disk_sim_LDADD = libkenvsim.a libkenv.a libkbase.a $(CRYPTO_LIBS) $(CUNIT_LIBS)
tests_unit_test_env_sim_SOURCES = tests/unit/test_env_sim.c $(SIM_BODY_SOURCES)
tests_unit_test_env_sim_LDADD = libkenvsim.a libkenv.a libkbase.a $(CRYPTO_LIBS) $(CUNIT_LIBS)
tests_unit_test_net_sim_SOURCES = tests/unit/test_net_sim.c $(SIM_BODY_SOURCES)
tests_unit_test_net_sim_LDADD = libkenvsim.a libkenv.a libkbase.a $(CRYPTO_LIBS) $(CUNIT_LIBS)
tests_unit_test_zk_sim_SOURCES = tests/unit/test_zk_sim.c tests/unit/zk_script.c tests/unit/zk_script.h $(UNIT_SOURCES)
tests_unit_test_zk_sim_LDADD = libkenvsim.a libkenv.a libkbase.a $(CRYPTO_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_disk_sim tests/unit/test_env_sim tests/unit/test_net_sim tests/unit/test_zk_sim
# The same script on a real ZooKeeper: as test_zk_os, part of check-cluster.
check_PROGRAMS += tests/unit/test_zk_script_os
tests_unit_test_zk_script_os_SOURCES = tests/unit/test_zk_script_os.c tests/unit/zk_script.c tests/unit/zk_script.h $(UNIT_SOURCES)
tests_unit_test_zk_script_os_LDADD = libkenvos.a libkenv.a libkbase.a $(OS_LIBS) $(CUNIT_LIBS)
EXTRA_DIST += tests/golden/zk-script.txt tests/tools/check-seam

# What the daemons and the simulator are made of calls the outside only through common/env.
check-seam: all
	$(PYTHON) '$(top_srcdir)/tests/tools/check-seam' --self-test '$(CC)'
	$(PYTHON) '$(top_srcdir)/tests/tools/check-seam' '$(abs_top_builddir)'
.PHONY: check-seam

# klamm: what needs no cluster
check_PROGRAMS += tests/unit/test_klamm
tests_unit_test_klamm_SOURCES = tests/unit/test_klamm.c $(KLAMM_PURE_SOURCES) $(UNIT_SOURCES)
tests_unit_test_klamm_LDADD = libkbase.a $(JANSSON_LIBS) $(ISAL_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_klamm

# bench
check_PROGRAMS += tests/unit/test_bench
tests_unit_test_bench_SOURCES = tests/unit/test_bench.c bench/cluster.c bench/hist.c bench/kwire.c bench/net.c $(UNIT_SOURCES)
tests_unit_test_bench_LDADD = libkbase.a $(JANSSON_LIBS) $(ISAL_LIBS) $(CUNIT_LIBS) -lm
TESTS += tests/unit/test_bench
EXTRA_DIST += tests/interop/kafka-start tests/interop/klamm-cli tests/interop/run tests/interop/confluent_client.py tests/interop/golden.py
EXTRA_DIST += tests/interop/franz/go.mod tests/interop/franz/go.sum tests/interop/franz/main.go
EXTRA_DIST += tests/interop/card.py tests/interop/cli.py tests/interop/differences.tsv tests/interop/differential.py tests/interop/differential_cases.py
EXTRA_DIST += tests/interop/differential_bounds.py tests/interop/differential_stories.py tests/interop/handover.py tests/interop/javatools.py tests/interop/messages.py tests/interop/pair.py
EXTRA_DIST += tests/interop/librdkafka tests/interop/records.py tests/interop/suite.py tests/interop/clients/Scenarios.java tests/interop/clients/Tools.java tests/interop/clients/aio.py tests/interop/clients/confluent.py
EXTRA_DIST += tests/interop/clients/kafka_python.py tests/interop/clients/kafkajs.js tests/interop/clients/kcat.py tests/interop/clients/scenarios.py
EXTRA_DIST += tests/interop/clients/go/card/card.go tests/interop/clients/go/franz/main.go tests/interop/clients/go/go.mod tests/interop/clients/go/go.sum
EXTRA_DIST += tests/interop/clients/go/kafkago/main.go tests/interop/clients/go/sarama/main.go

# Stock clients, Kafka's tools, the report card, the differential test, Kafka and Klamm in turn on one log directory (see tests/interop/suite.py).
check-interop: all
	$(PYTHON) '$(top_srcdir)/tests/interop/suite.py' --build '$(abs_top_builddir)' $(if $(ONLY),--only '$(ONLY)') $(if $(RESUME),--resume) $(if $(WRITE),--write) $(if $(PORTS),--ports '$(PORTS)')
.PHONY: check-interop

# brokerd/group: the coordinator's core
GROUP_SOURCES = tests/unit/group_world.c tests/unit/group_world.h $(UNIT_SOURCES)
GROUP_LIBS = libkgroup.a libkwire.a libkproto.a libkbase.a $(XXHASH_LIBS) $(ISAL_LIBS) $(CUNIT_LIBS)
check_PROGRAMS += tests/unit/test_group tests/unit/test_group_offsets tests/unit/test_group_records tests/unit/test_group_size tests/unit/test_group_sync tests/unit/test_group_table tests/unit/test_group_wire
tests_unit_test_group_SOURCES = tests/unit/test_group.c $(GROUP_SOURCES)
tests_unit_test_group_LDADD = $(GROUP_LIBS)
tests_unit_test_group_offsets_SOURCES = tests/unit/test_group_offsets.c $(GROUP_SOURCES)
tests_unit_test_group_offsets_LDADD = $(GROUP_LIBS)
tests_unit_test_group_records_SOURCES = tests/unit/test_group_records.c $(GROUP_SOURCES)
tests_unit_test_group_records_LDADD = $(GROUP_LIBS)
tests_unit_test_group_size_SOURCES = tests/unit/test_group_size.c $(UNIT_SOURCES)
tests_unit_test_group_size_LDADD = $(GROUP_LIBS)
tests_unit_test_group_sync_SOURCES = tests/unit/test_group_sync.c $(GROUP_SOURCES)
tests_unit_test_group_sync_LDADD = $(GROUP_LIBS)
tests_unit_test_group_table_SOURCES = tests/unit/test_group_table.c $(GROUP_SOURCES)
tests_unit_test_group_table_LDADD = $(GROUP_LIBS)
tests_unit_test_group_wire_SOURCES = tests/unit/test_group_wire.c $(GROUP_SOURCES)
tests_unit_test_group_wire_LDADD = $(GROUP_LIBS)
TESTS += tests/unit/test_group tests/unit/test_group_offsets tests/unit/test_group_records tests/unit/test_group_size tests/unit/test_group_sync tests/unit/test_group_table tests/unit/test_group_wire

# brokerd/net, brokerd/meta, brokerd/config; and what holds for every source file
check_PROGRAMS += tests/unit/test_net tests/unit/test_net_order tests/unit/test_image tests/unit/test_config
tests_unit_test_net_SOURCES = tests/unit/test_net.c tests/unit/fake_net.c tests/unit/fake_net.h $(UNIT_SOURCES)
tests_unit_test_net_LDADD = libkbroker.a libkenv.a libkbase.a $(ISAL_LIBS) $(CUNIT_LIBS)
tests_unit_test_net_order_SOURCES = tests/unit/test_net_order.c tests/unit/fake_net.c tests/unit/fake_net.h $(UNIT_SOURCES)
tests_unit_test_net_order_LDADD = libkbroker.a libkenv.a libkbase.a $(ISAL_LIBS) $(CUNIT_LIBS)
tests_unit_test_image_SOURCES = tests/unit/test_image.c $(UNIT_SOURCES)
tests_unit_test_image_LDADD = libkbroker.a libkcontrol.a libkbase.a $(PROTOBUF_LIBS) $(XXHASH_LIBS) $(ISAL_LIBS) $(CUNIT_LIBS)
tests_unit_test_config_SOURCES = tests/unit/test_config.c $(UNIT_SOURCES)
tests_unit_test_config_LDADD = $(BROKER_LIBS) $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
# brokerd/life/identity.c and brokerd/link/ctl.c in the simulated world
check_PROGRAMS += tests/unit/test_ctl tests/unit/test_identity
tests_unit_test_ctl_SOURCES = tests/unit/test_ctl.c $(UNIT_SOURCES)
tests_unit_test_ctl_LDADD = $(BROKER_LIBS) libklink.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
tests_unit_test_identity_SOURCES = tests/unit/test_identity.c $(UNIT_SOURCES)
tests_unit_test_identity_LDADD = $(BROKER_LIBS) libklink.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
TESTS += tests/unit/test_ctl tests/unit/test_identity
TESTS += tests/unit/test_net tests/unit/test_net_order tests/unit/test_image tests/unit/test_config tests/tools/check-includes tests/tools/check-style tests/tools/config-table
EXTRA_DIST += tests/golden/broker-configs.tsv tests/golden/config-keys.tsv
EXTRA_DIST += tests/tools/config-table tests/tools/check-includes tests/tools/check-style tests/tools/check-mutants tests/mutants tests/cluster tests/run .ci/run
EXTRA_DIST += tests/fuzz/run tests/fuzz/make-corpus tests/tools/lsan.supp

# Fuzz targets: configure --enable-fuzz CC=clang; tests/fuzz/run SECONDS BUILDDIR
EXTRA_DIST += tests/fuzz/fuzz_batch.c tests/fuzz/fuzz_zkdata.c tests/fuzz/fuzz_control.c tests/fuzz/fuzz_group.c
if FUZZ
FUZZ_LINK = $(KLAMM_LDFLAGS) -fsanitize=fuzzer
noinst_PROGRAMS += tests/fuzz/fuzz_request tests/fuzz/fuzz_batch tests/fuzz/fuzz_zkdata tests/fuzz/fuzz_control tests/fuzz/fuzz_group
tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c
tests_fuzz_fuzz_request_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_request_LDADD = libkwire.a libkproto.a libkbase.a $(ISAL_LIBS)
tests_fuzz_fuzz_batch_SOURCES = tests/fuzz/fuzz_batch.c
tests_fuzz_fuzz_batch_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_batch_LDADD = libklog.a libkenv.a libkcompress.a libkbase.a $(CODEC_LIBS)
tests_fuzz_fuzz_zkdata_SOURCES = tests/fuzz/fuzz_zkdata.c
tests_fuzz_fuzz_zkdata_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_zkdata_LDADD = libkbase.a $(JANSSON_LIBS) $(ISAL_LIBS)
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz_control.c
tests_fuzz_fuzz_control_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_control_LDADD = libkbroker.a libkcontrol.a libkbase.a $(PROTOBUF_LIBS) $(XXHASH_LIBS) $(ISAL_LIBS)
tests_fuzz_fuzz_group_SOURCES = tests/fuzz/fuzz_group.c
tests_fuzz_fuzz_group_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_group_LDADD = libkgroup.a libkwire.a libkproto.a libkbase.a $(XXHASH_LIBS) $(ISAL_LIBS)
endif

# brokerd/replica, brokerd/fetch: the pure core, then shards and fetches in the simulated world
check_PROGRAMS += tests/unit/test_replica tests/unit/test_shard tests/unit/test_fetch tests/unit/test_coordinator tests/unit/test_checkpoints
MINI_SOURCES = tests/unit/mini.c tests/unit/mini.h $(UNIT_SOURCES)
MINI_LIBS = libkreplica.a libkbroker.a libkgroup.a libkreplica.a libklog.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
tests_unit_test_replica_SOURCES = tests/unit/test_replica.c $(UNIT_SOURCES)
tests_unit_test_replica_LDADD = libkreplica.a libkbase.a $(CUNIT_LIBS)
tests_unit_test_shard_SOURCES = tests/unit/test_shard.c $(MINI_SOURCES)
tests_unit_test_shard_LDADD = $(MINI_LIBS)
tests_unit_test_fetch_SOURCES = tests/unit/test_fetch.c $(MINI_SOURCES)
tests_unit_test_fetch_LDADD = $(MINI_LIBS)
tests_unit_test_coordinator_SOURCES = tests/unit/test_coordinator.c $(MINI_SOURCES)
tests_unit_test_coordinator_LDADD = $(MINI_LIBS)
tests_unit_test_checkpoints_SOURCES = tests/unit/test_checkpoints.c $(MINI_SOURCES)
tests_unit_test_checkpoints_LDADD = libkbroker.a $(MINI_LIBS)
TESTS += tests/unit/test_replica tests/unit/test_shard tests/unit/test_fetch tests/unit/test_coordinator tests/unit/test_checkpoints

# Real ZooKeeper, real processes on loopback.
check-cluster: all $(check_PROGRAMS)
	$(PYTHON) '$(top_srcdir)/tests/cluster/run' --build '$(abs_top_builddir)' $(CASES)
	$(PYTHON) '$(top_srcdir)/tests/cluster/hostile.py' --build '$(abs_top_builddir)'
check-chaos: all $(check_PROGRAMS)
	$(PYTHON) '$(top_srcdir)/tests/cluster/run' --build '$(abs_top_builddir)' --long failover leader_paused leader_and_controller zookeeper_stopped kill_everything
# Hours, not minutes: for a release; its report goes to docs/reports.
check-long: check-chaos klamm-sim
	./klamm-sim --seeds 1..50000 --jobs $(JOBS)
check-mutants:
	$(PYTHON) '$(top_srcdir)/tests/tools/check-mutants' --work '$(abs_top_builddir)/mutants-work' $(M)
# For make PROGRAM in a fresh build directory: what is generated comes first.
built-sources: $(BUILT_SOURCES)
.PHONY: check-cluster check-chaos check-long check-mutants built-sources

# brokerd/log
LOG_TEST_SOURCES = tests/unit/log_util.c tests/unit/log_util.h $(UNIT_SOURCES)
LOG_TEST_LIBS = libklog.a libkcompress.a libkenvos.a libkenv.a libkbase.a $(OS_LIBS) $(CODEC_LIBS) $(CUNIT_LIBS)
LOG_TESTS = tests/unit/test_batch tests/unit/test_producer_state tests/unit/test_log tests/unit/test_log_close tests/unit/test_log_model tests/unit/test_log_recovery tests/unit/test_log_golden
check_PROGRAMS += $(LOG_TESTS)
tests_unit_test_batch_SOURCES = tests/unit/test_batch.c $(LOG_TEST_SOURCES)
tests_unit_test_batch_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_producer_state_SOURCES = tests/unit/test_producer_state.c $(LOG_TEST_SOURCES)
tests_unit_test_producer_state_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_log_SOURCES = tests/unit/test_log.c tests/unit/log_spy.h $(LOG_TEST_SOURCES)
tests_unit_test_log_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_log_close_SOURCES = tests/unit/test_log_close.c $(LOG_TEST_SOURCES)
tests_unit_test_log_close_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_log_model_SOURCES = tests/unit/test_log_model.c tests/unit/log_spy.h $(LOG_TEST_SOURCES)
tests_unit_test_log_model_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_log_recovery_SOURCES = tests/unit/test_log_recovery.c $(LOG_TEST_SOURCES)
tests_unit_test_log_recovery_LDADD = $(LOG_TEST_LIBS)
tests_unit_test_log_golden_SOURCES = tests/unit/test_log_golden.c $(LOG_TEST_SOURCES)
tests_unit_test_log_golden_LDADD = $(LOG_TEST_LIBS)
TESTS += $(LOG_TESTS)
EXTRA_DIST += tests/golden/log-3.9 tests/golden/log-3.9-unclean tests/golden/check-log.py

# controllerd: the pure core; election and fenced writes, then whole controllers, in the simulated world
CONTROLLER_TESTS = tests/unit/test_plan tests/unit/test_plan_admin tests/unit/test_elect tests/unit/test_controller tests/unit/test_controller_admin tests/unit/test_controller_configs
CONTROLLER_TEST_LIBS = $(CONTROLLER_LIBS) libklink.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
check_PROGRAMS += $(CONTROLLER_TESTS)
tests_unit_test_plan_SOURCES = tests/unit/test_plan.c $(UNIT_SOURCES)
tests_unit_test_plan_LDADD = $(CONTROLLER_LIBS) libkwire.a libkbase.a $(XXHASH_LIBS) $(CUNIT_LIBS)
tests_unit_test_plan_admin_SOURCES = tests/unit/test_plan_admin.c $(UNIT_SOURCES)
tests_unit_test_plan_admin_LDADD = $(CONTROLLER_LIBS) libkwire.a libkbase.a $(XXHASH_LIBS) $(CUNIT_LIBS)
tests_unit_test_elect_SOURCES = tests/unit/test_elect.c $(UNIT_SOURCES)
tests_unit_test_elect_LDADD = $(CONTROLLER_TEST_LIBS)
tests_unit_test_controller_SOURCES = tests/unit/test_controller.c tests/unit/fake_cluster.c tests/unit/fake_cluster.h $(UNIT_SOURCES)
tests_unit_test_controller_LDADD = $(CONTROLLER_TEST_LIBS)
tests_unit_test_controller_admin_SOURCES = tests/unit/test_controller_admin.c tests/unit/fake_cluster.c tests/unit/fake_cluster.h $(UNIT_SOURCES)
tests_unit_test_controller_admin_LDADD = $(CONTROLLER_TEST_LIBS)
tests_unit_test_controller_configs_SOURCES = tests/unit/test_controller_configs.c tests/unit/fake_cluster.c tests/unit/fake_cluster.h $(UNIT_SOURCES)
tests_unit_test_controller_configs_LDADD = $(CONTROLLER_TEST_LIBS)
TESTS += $(CONTROLLER_TESTS)
