/* kwire.h: the few Kafka requests that klamm-load sends, encoded straight into the memory that is sent.
 *
 * Deliberately apart from proto/kafka: the generator has to cost next to nothing beside the broker that it measures, sends
 * record batches that were encoded once, and must not share a mistake with the broker's own codec. Only old, not
 * flexible versions: Produce 7, Fetch 11, ListOffsets 5, Metadata 7, ApiVersions 0, CreateTopics 4, DeleteTopics 1.
 *
 * The reader is a cursor with a sticky error: after running out of bytes everything reads as 0 and `bad` is set.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/slice.h"

enum kwire_api {
	KW_PRODUCE = 0,
	KW_FETCH = 1,
	KW_LIST_OFFSETS = 2,
	KW_METADATA = 3,
	KW_API_VERSIONS = 18,
	KW_CREATE_TOPICS = 19,
	KW_DELETE_TOPICS = 20,
};

struct kw_out { /* grows; kw_out_free at the end */
	uint8_t *data;
	size_t len, cap;
};

void kw_out_free(struct kw_out *o);
void kw_raw(struct kw_out *o, const void *bytes, size_t len);
void kw_i8(struct kw_out *o, int8_t v);
void kw_i16(struct kw_out *o, int16_t v);
void kw_i32(struct kw_out *o, int32_t v);
void kw_i64(struct kw_out *o, int64_t v);
void kw_varint(struct kw_out *o, int64_t v); /* zigzag */
void kw_str(struct kw_out *o, const char *s); /* NULL = null */
/* Frame size and request header; size and correlation id are set by kw_finish. */
void kw_begin(struct kw_out *o, enum kwire_api api);
/* extra = payload bytes that follow this buffer on the wire. */
void kw_finish(struct kw_out *o, int32_t correlation_id, size_t extra);

struct kw_in {
	const uint8_t *p, *end;
	bool bad;
};

struct kw_in kw_in_make(struct slice s);
int8_t kw_get_i8(struct kw_in *in);
int16_t kw_get_i16(struct kw_in *in);
int32_t kw_get_i32(struct kw_in *in);
int64_t kw_get_i64(struct kw_in *in);
int64_t kw_get_varint(struct kw_in *in);
struct slice kw_get_str(struct kw_in *in);   /* ptr NULL = null */
struct slice kw_get_bytes(struct kw_in *in); /* int32 length */
void kw_skip(struct kw_in *in, size_t bytes);

#define KW_BATCH_HEADER 61u

struct kw_batch_spec {
	uint32_t records;
	uint32_t value_bytes;
	const char *key;        /* NULL = null */
	int64_t timestamp_ms;
	const uint8_t *stamp;   /* copied over the first stamp_len bytes of every value; may be NULL */
	size_t stamp_len;
	size_t stamp_step;      /* from the stamp of one record to that of the next; 0 = the same for all */
	uint64_t seed;          /* of the filler */
};

/* Appends one record batch v2, CRC included. Returns its length. */
size_t kw_batch(struct kw_out *o, const struct kw_batch_spec *spec);
/* Records of value_bytes that fit into a batch of batch_bytes, at least 1. */
uint32_t kw_batch_fit(uint32_t batch_bytes, uint32_t value_bytes);
void kw_batch_seal(uint8_t *batch, size_t len); /* recomputes the CRC */

/* One batch inside a fetch answer. */
struct kw_batch_view {
	struct slice bytes; /* whole batch */
	int64_t base_offset, last_offset;
	int32_t count;
	int16_t attributes;
};

/* Takes the next whole batch off the front; false at the end or when only a fragment is left. */
bool kw_next_batch(struct slice *records, struct kw_batch_view *ret);
bool kw_batch_crc_ok(const struct kw_batch_view *b);
/* Calls fn for each record of an uncompressed batch. False: the batch does not parse. */
bool kw_batch_records(const struct kw_batch_view *b, void (*fn)(void *ctx, int64_t offset, struct slice key, struct slice value), void *ctx);
const char *kw_error_name(int16_t code); /* "NOT_LEADER_OR_FOLLOWER"; "ERROR_n" for what this tool never meets */
