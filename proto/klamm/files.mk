# The control link's messages, by protobuf-c.
noinst_LIBRARIES += libkcontrol.a
nodist_libkcontrol_a_SOURCES = proto/klamm/control.pb-c.c proto/klamm/control.pb-c.h
libkcontrol_a_CFLAGS = $(KLAMM_CFLAGS) -w
EXTRA_DIST += proto/klamm/control.proto
BUILT_SOURCES += proto/klamm/control.pb-c.h
CLEANFILES += proto/klamm/control.pb-c.c proto/klamm/control.pb-c.h
proto/klamm/control.pb-c.c: proto/klamm/control.proto
	$(AM_V_GEN)$(MKDIR_P) proto/klamm && $(PROTOC_C) --c_out=proto/klamm -I$(top_srcdir)/proto/klamm $(top_srcdir)/proto/klamm/control.proto
	$(AM_V_at)sed -i -e '1i #pragma GCC system_header' -e 's/(char \*)protobuf_c_empty_string/(char *)(uintptr_t)protobuf_c_empty_string/g' proto/klamm/control.pb-c.h
proto/klamm/control.pb-c.h: proto/klamm/control.pb-c.c
