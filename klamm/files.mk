# klamm: the command line tool.
bin_PROGRAMS += klamm/klamm
# "klamm" is a folder of the source tree, and so of the build tree: the program is built beside it as klamm/klamm.
klamm_klamm_SOURCES = \
	klamm/klamm.c klamm/cli.c klamm/cli.h klamm/consume.c klamm/produce.c klamm/status.c klamm/topic.c
klamm_klamm_LDADD = $(RDKAFKA_LIBS) $(JANSSON_LIBS)
