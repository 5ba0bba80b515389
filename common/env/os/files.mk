# common/env/os: the real world. The only objects that may call the system, libev, libzookeeper and libmicrohttpd (make check-seam).
noinst_LIBRARIES += libkenvos.a
libkenvos_a_SOURCES = \
	common/env/os/addr.c \
	common/env/os/conn.c \
	common/env/os/file.c \
	common/env/os/fs.c \
	common/env/os/http.c \
	common/env/os/listen.c \
	common/env/os/loop.c \
	common/env/os/os.h \
	common/env/os/os_priv.h \
	common/env/os/pool.c \
	common/env/os/world.c \
	common/env/os/zk.c \
	common/env/os/zk_priv.h \
	common/env/os/zk_thread.c
