# bench: klamm-load, the load generator; make bench compares with Apache Kafka.
bin_PROGRAMS += klamm-load
klamm_load_SOURCES = \
	bench/klamm_load.c bench/load.c bench/load.h \
	bench/load_produce.c bench/load_fetch.c bench/load_e2e.c bench/load_probe.c bench/load_conns.c bench/load_create.c \
	bench/cluster.c bench/cluster.h \
	bench/hist.c bench/hist.h \
	bench/kwire.c bench/kwire.h \
	bench/net.c bench/net.h \
	bench/procstat.c bench/procstat.h
klamm_load_LDADD = libkbase.a $(JANSSON_LIBS) $(ISAL_LIBS) $(Z_LIBS) -lm
EXTRA_DIST += bench/run

bench: all
	builddir='$(abs_top_builddir)' '$(top_srcdir)/bench/run'
.PHONY: bench
