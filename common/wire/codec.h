/* codec.h: the Kafka message codec: one interpreter over the descriptor tables that proto/kafka/gen.py makes (kp.h).
 *
 * Decoding borrows: strings, bytes and records of the message point into the input, which must live as long as the message;
 * arrays (and nullable structs) come from the arena. Nothing is copied, nothing is freed one by one.
 * Encoding takes two passes over the message (sizes, then bytes) and writes into one buffer of the exact size; the pieces of
 * wire_records.chain are moved into the output between the bytes around them, never copied (file ranges stay file ranges).
 *
 * Bytes from a peer never make an assertion fail. Memory: a count that the remaining bytes cannot hold is an error before
 * anything is taken; an array starts with at most WIRE_ARRAY_HEADROOM bytes per byte left in the input (or one element) and
 * doubles as elements really decode. So a lying count costs at most WIRE_ARRAY_HEADROOM times the frame per nesting level, and
 * honest arrays at most 3 times their size in C. Small elements are the worst (an empty string is 1 byte there, 16 here):
 * WIRE_MEMORY_FACTOR times the frame, all in all, holds for every message (a test proves it); arena limits go below that.
 *
 * Thread: none of its own; everything is in the arguments. Descriptors are const.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/uuid.h"

enum { WIRE_ARRAY_HEADROOM = 2, WIRE_MEMORY_FACTOR = 64, WIRE_STRING_MAX = 32767 };

/* A "records" member. Decoded: bytes is a slice of the input, chain is NULL. To encode: chain if not NULL (emptied by it;
 * its bytes are the length), else bytes (copied); both null = null. */
struct wire_records {
	struct slice bytes;
	struct chain *chain;
};

enum wire_type {
	WIRE_BOOL,
	WIRE_INT8,
	WIRE_INT16,
	WIRE_UINT16,
	WIRE_INT32,
	WIRE_UINT32,
	WIRE_INT64,
	WIRE_FLOAT64,
	WIRE_UUID,
	WIRE_STRING,
	WIRE_BYTES,
	WIRE_RECORDS,
	WIRE_STRUCT,
};

enum wire_flag {
	WIRE_ARRAY = 1,        /* member is a pointer, its count at count_pos (-1 = null) */
	WIRE_POINTER = 2,      /* nullable struct: member is a pointer */
	WIRE_LEGACY = 4,       /* int16 length even in flexible versions */
	WIRE_DEFAULT_NULL = 8, /* absent = null */
};

struct wire_struct;

struct wire_field {
	const char *name;
	const struct wire_struct *child; /* WIRE_STRUCT */
	int64_t def;                     /* default of numbers and bools */
	uint32_t versions, nullable;     /* bit v: version v has the field; may be null in v */
	uint16_t pos, count_pos;         /* of the member and its count in the C struct */
	uint8_t type, flags;             /* enum wire_type; bits of enum wire_flag */
	int16_t tag;                     /* -1: not tagged */
};

struct wire_struct {
	const char *name; /* of the C struct */
	const struct wire_field *fields;
	const uint16_t *min_bytes; /* by version: the least that one takes on the wire */
	uint16_t size;             /* sizeof the C struct */
	uint16_t field_count;
	uint32_t versions, flexible;
};

static inline bool wire_has_version(const struct wire_struct *desc, int version)
{
	return version >= 0 && version < 32 && (desc->versions >> version & 1);
}

/* Sets all defaults; same as the generated X_init. */
void wire_init(const struct wire_struct *desc, void *msg);

/* Decodes one message from the front of *in and advances *in behind it (bytes may be left: the caller decides what they mean).
 * Members that the version lacks get their defaults. ERR_CORRUPT: truncated, bad length, null where none may be, bad tags;
 * ERR_UNSUPPORTED: the descriptor has no such version; ERR_LIMIT: the arena's limit. On error *in is unchanged and the message
 * holds defaults. */
MUST_CHECK int wire_decode(const struct wire_struct *desc, int16_t version, struct slice *in, struct arena *a, void *ret_msg);

/* Appends the message to out. Members that the version lacks are left out whatever they hold. A null where the version knows
 * none goes out as empty. Strings above WIRE_STRING_MAX bytes are cut there. The version must exist (asserted). */
void wire_encode(const struct wire_struct *desc, int16_t version, const void *msg, struct chain *out);

/* As wire_encode, with an int32 size and a head message in front: a whole frame. */
void wire_encode_frame(const struct wire_struct *head_desc, int16_t head_version, const void *head,
		       const struct wire_struct *desc, int16_t version, const void *msg, struct chain *out);

/* Bytes that wire_encode would append, moved records included. */
size_t wire_size(const struct wire_struct *desc, int16_t version, const void *msg);

/* Writes those bytes, wire_size of them, to memory of the caller's; gives the byte behind them. The message has no chains of records (asserted). */
uint8_t *wire_write(const struct wire_struct *desc, int16_t version, const void *msg, uint8_t *to);

/* Whether both would decode to the same after encoding in this version. Records are compared by bytes (chain must be NULL). */
bool wire_equal(const struct wire_struct *desc, int16_t version, const void *x, const void *y);
