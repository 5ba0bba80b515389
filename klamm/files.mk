# klamm: the command line tool.
bin_PROGRAMS += klamm/klamm
# "klamm" is a folder of the source tree, and so of the build tree: the program is built beside it as klamm/klamm.
KLAMM_PURE_SOURCES = \
	klamm/format.c klamm/format.h klamm/progress.c klamm/progress.h klamm/record.c klamm/record.h \
	klamm/reset_plan.c klamm/reset_plan.h klamm/table.c klamm/table.h klamm/when.c klamm/when.h
klamm_klamm_SOURCES = $(KLAMM_PURE_SOURCES) \
	klamm/cli.c klamm/cli.h klamm/cluster.c klamm/cluster.h klamm/commands.h klamm/complete.c klamm/config.c klamm/configs.c klamm/configs.h \
	klamm/consume.c klamm/group.c klamm/group_read.c klamm/group_read.h klamm/group_reset.c klamm/klamm.c klamm/lag.c klamm/offsets.c klamm/offsets.h \
	klamm/produce.c klamm/sizes.c klamm/sizes.h klamm/status.c klamm/topic.c klamm/topic_change.c
klamm_klamm_LDADD = libkconfig.a libkwire.a libkproto.a libkbase.a $(ISAL_LIBS) $(RDKAFKA_LIBS) $(JANSSON_LIBS)
