# common/wire: cursor, message codec, frames, error codes. Needs libkproto.a (tables) and libkbase.a behind it when linking.
noinst_LIBRARIES += libkwire.a
libkwire_a_SOURCES = \
	common/wire/api.h \
	common/wire/codec.h \
	common/wire/cursor.c common/wire/cursor.h \
	common/wire/decode.c \
	common/wire/encode.c \
	common/wire/frame.c common/wire/frame.h \
	common/wire/kerr.c common/wire/kerr.h
