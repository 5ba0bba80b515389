# brokerd/log: partitions in Kafka's on-disk format.
noinst_LIBRARIES += libklog.a
libklog_a_SOURCES = \
	brokerd/log/append.c \
	brokerd/log/batch.c brokerd/log/batch.h \
	brokerd/log/checkpoint.c brokerd/log/checkpoint.h \
	brokerd/log/downconvert.c brokerd/log/downconvert.h \
	brokerd/log/epochs.c brokerd/log/epochs.h \
	brokerd/log/index.c brokerd/log/index.h \
	brokerd/log/load.c brokerd/log/load.h \
	brokerd/log/log.c brokerd/log/log.h brokerd/log/log_err.h brokerd/log/log_priv.h \
	brokerd/log/log_dir.c brokerd/log/log_dir.h \
	brokerd/log/log_ops.c \
	brokerd/log/log_read.c \
	brokerd/log/log_time.c \
	brokerd/log/producers.c brokerd/log/producers.h \
	brokerd/log/recompress.c \
	brokerd/log/record.c brokerd/log/record.h \
	brokerd/log/recovery.c \
	brokerd/log/retention.c \
	brokerd/log/scan.c \
	brokerd/log/segment.c \
	brokerd/log/sync.c \
	brokerd/log/writeback.c brokerd/log/writeback.h
