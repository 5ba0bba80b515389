# common/env/sim: the simulated world (virtual time, network, disks, ZooKeeper) behind the seam; linked by klamm-sim and tests only
noinst_LIBRARIES += libkenvsim.a
libkenvsim_a_SOURCES = \
	common/env/sim/disk.c \
	common/env/sim/files.c \
	common/env/sim/jobs.c \
	common/env/sim/loops.c \
	common/env/sim/net.c \
	common/env/sim/process.c \
	common/env/sim/sim.h common/env/sim/sim_priv.h \
	common/env/sim/trace.c \
	common/env/sim/world.c \
	common/env/sim/zk_client.c \
	common/env/sim/zk_outside.c \
	common/env/sim/zk_server.c \
	common/env/sim/zk_tree.c common/env/sim/zk_priv.h
