# common/env: the seam. Thin calls onto the vtables of the two backends (common/env/os, common/env/sim).
noinst_LIBRARIES += libkenv.a
libkenv_a_SOURCES = \
	common/env/conn.c common/env/conn.h \
	common/env/env.c common/env/env.h common/env/env_backend.h \
	common/env/fs.c common/env/fs.h \
	common/env/loop.c common/env/loop.h \
	common/env/zk.c common/env/zk.h
