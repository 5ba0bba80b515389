# brokerd: everything but group/, log/ and replica/ (their own fragments)
noinst_LIBRARIES += libkbroker.a
libkbroker_a_SOURCES = \
	brokerd/broker.c brokerd/broker.h brokerd/broker_priv.h brokerd/lag.c brokerd/lost.c brokerd/status.c \
	brokerd/config/config.c brokerd/config/config.h brokerd/config/running.c brokerd/config/running.h \
	brokerd/meta/image.c brokerd/meta/image.h \
	brokerd/net/limits.c brokerd/net/limits.h brokerd/net/net.c brokerd/net/net.h \
	brokerd/api/api.c brokerd/api/api.h brokerd/api/api_priv.h brokerd/api/admin.c brokerd/api/configs.c brokerd/api/create.c brokerd/api/fetch.c \
	brokerd/api/group_offsets.c brokerd/api/groups.c \
	brokerd/api/logs.c brokerd/api/metadata.c brokerd/api/offsets.c brokerd/api/produce.c brokerd/api/records.c brokerd/api/versions.c \
	brokerd/link/ask.h brokerd/link/ctl.c brokerd/link/ctl.h brokerd/link/ctl_priv.h brokerd/link/forward.c brokerd/link/probe.c brokerd/link/proposals.c \
	brokerd/group/coordinator.c brokerd/group/coordinator.h brokerd/group/coordinator_load.c brokerd/group/coordinator_priv.h brokerd/group/coordinator_write.c \
	brokerd/life/life.h brokerd/life/checkpoints.c brokerd/life/consumers.c brokerd/life/identity.c brokerd/life/registration.c

# In link order; the world (libkenvos.a or libkenvsim.a) comes after, then DAEMON_LIBS.
BROKER_LIBS = libkbroker.a libkgroup.a libkreplica.a libklog.a
COMMON_LIBS = libklink.a libkenv.a libkcontrol.a libkwire.a libkproto.a libkcompress.a libkconfig.a libkbase.a
DAEMON_LIBS = $(PROTOBUF_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS) $(CODEC_LIBS)

bin_PROGRAMS += brokerd/brokerd
brokerd_brokerd_SOURCES = brokerd/main.c
brokerd_brokerd_LDADD = $(BROKER_LIBS) libklink.a libkenvos.a $(COMMON_LIBS) $(OS_LIBS) $(DAEMON_LIBS)
