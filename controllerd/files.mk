# controllerd: the controller of a cluster. libkcontroller.a is all of it but main.c: klamm-sim links it as well.
# libkconfig.a: configuration keys that both daemons know.
noinst_LIBRARIES += libkconfig.a libkcontroller.a
libkconfig_a_SOURCES = \
	common/config/broker_key.c common/config/broker_key.h common/config/keys.h \
	common/config/topic_config.c common/config/topic_config.h \
	common/config/value.c common/config/value.h
libkcontroller_a_SOURCES = \
	controllerd/config.c controllerd/controller.c controllerd/controller.h \
	controllerd/elect/elect.c controllerd/elect/elect.h controllerd/elect/standby.c \
	controllerd/plan/assign.c controllerd/plan/assign.h \
	controllerd/plan/configs.c controllerd/plan/configs.h \
	controllerd/plan/elect.c controllerd/plan/elect.h controllerd/plan/isr.c \
	controllerd/plan/grow.c controllerd/plan/grow.h \
	controllerd/plan/image.c controllerd/plan/image.h \
	controllerd/plan/prefer.c controllerd/plan/prefer.h \
	controllerd/plan/topics.c controllerd/plan/topics.h \
	controllerd/push/admin.c controllerd/push/admin_broker.c controllerd/push/admin_configs.c controllerd/push/admin_elect.c \
	controllerd/push/admin_partitions.c controllerd/push/admin_priv.h controllerd/push/admin_topics.c \
	controllerd/push/frame.c controllerd/push/frame.h controllerd/push/live.c \
	controllerd/push/push.h controllerd/push/ring.c controllerd/push/server.c \
	controllerd/state/calls.c controllerd/state/calls.h controllerd/state/configs.c controllerd/state/growth.c \
	controllerd/state/life.c controllerd/state/load.c controllerd/state/pids.c controllerd/state/prefer.c \
	controllerd/state/state.c controllerd/state/state.h controllerd/state/topics.c \
	controllerd/state/writer.c controllerd/state/writer.h

bin_PROGRAMS += controllerd/controllerd
controllerd_controllerd_SOURCES = controllerd/main.c
CONTROLLER_LIBS = libkcontroller.a libkconfig.a
controllerd_controllerd_LDADD = $(CONTROLLER_LIBS) libklink.a libkenvos.a $(COMMON_LIBS) $(OS_LIBS) $(DAEMON_LIBS)
