# tests/sim: klamm-sim, the simulator: whole clusters on virtual time
bin_PROGRAMS += klamm-sim
klamm_sim_SOURCES = \
	tests/sim/batch.c tests/sim/batch.h \
	tests/sim/checks.c tests/sim/checks.h tests/sim/checks_disk.c tests/sim/checks_priv.h \
	tests/sim/checks_groups.c tests/sim/checks_groups.h tests/sim/checks_groups_log.c tests/sim/checks_groups_priv.h \
	tests/sim/client.c tests/sim/client.h tests/sim/client_admin.c tests/sim/client_consumer.c tests/sim/client_producer.c \
	tests/sim/client_committer.c tests/sim/client_coord.c tests/sim/client_coord.h \
	tests/sim/client_group.c tests/sim/client_group.h tests/sim/client_group_assign.c tests/sim/client_group_read.c \
	tests/sim/cluster.c \
	tests/sim/faults.c \
	tests/sim/harness.h \
	tests/sim/main.c \
	tests/sim/offsets.c tests/sim/offsets.h \
	tests/sim/run.c \
	tests/sim/topics.c
klamm_sim_LDADD = libkbroker.a libkgroup.a libkcontroller.a libkreplica.a libklog.a libklink.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS)

# A range of seeds in `make check`, and the checks themselves.
TESTS += tests/sim/check-sim
EXTRA_DIST += tests/sim/check-sim
check_PROGRAMS += tests/unit/test_sim_checks tests/unit/test_sim_groups
SIM_CHECK_SOURCES = tests/sim/batch.c tests/sim/checks.c tests/sim/checks_disk.c tests/sim/checks_groups.c tests/sim/checks_groups_log.c \
	tests/sim/offsets.c tests/sim/topics.c $(UNIT_SOURCES)
SIM_CHECK_LIBS = libklink.a libkenvsim.a $(COMMON_LIBS) $(DAEMON_LIBS) $(CUNIT_LIBS)
tests_unit_test_sim_checks_SOURCES = tests/unit/test_sim_checks.c $(SIM_CHECK_SOURCES)
tests_unit_test_sim_checks_LDADD = $(SIM_CHECK_LIBS)
tests_unit_test_sim_groups_SOURCES = tests/unit/test_sim_groups.c $(SIM_CHECK_SOURCES)
tests_unit_test_sim_groups_LDADD = $(SIM_CHECK_LIBS)
TESTS += tests/unit/test_sim_checks tests/unit/test_sim_groups

# make sim SEEDS=A..B JOBS=J
SEEDS = 1..1000
JOBS = 2
sim: klamm-sim
	./klamm-sim --seeds $(SEEDS) --jobs $(JOBS)
.PHONY: sim
