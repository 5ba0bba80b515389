# common: what both daemons and the tool use. libkbase.a needs no I/O.
noinst_LIBRARIES += libkbase.a
libkbase_a_SOURCES = \
	common/base/arena.c common/base/arena.h \
	common/base/buf.c common/base/buf.h \
	common/base/check.c common/base/check.h \
	common/base/crc.c common/base/crc.h \
	common/base/err.c common/base/err.h \
	common/base/list.h \
	common/base/log.c common/base/log.h \
	common/base/mem.c common/base/mem.h \
	common/base/plant.c common/base/plant.h \
	common/base/props.c common/base/props.h \
	common/base/rng.c common/base/rng.h \
	common/base/slice.c common/base/slice.h \
	common/base/str.c common/base/str.h \
	common/base/uuid.c common/base/uuid.h \
	common/base/version.h \
	common/metrics/metrics.c common/metrics/metrics.h \
	common/zk/zkdata.c common/zk/zkdata.h common/zk/zkjson.c common/zk/zkjson.h common/zk/zkpath.c

# Frames over a connection: above common/env.
noinst_LIBRARIES += libklink.a
libklink_a_SOURCES = common/link/link.c common/link/link.h

# Kafka's compression codecs.
noinst_LIBRARIES += libkcompress.a
libkcompress_a_SOURCES = common/compress/compress.c common/compress/compress.h common/compress/decompress.c
