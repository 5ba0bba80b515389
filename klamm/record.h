/* record.h: one record as klamm shows and reads it, and its JSON. Pure.
 *
 * JSON (klamm.1): {"topic","partition","offset","timestamp","key","value","headers":[{"name","value"}]}. Text that is not UTF-8 stands as
 * key_base64, value_base64 (name_base64) instead, so that what consume --json prints is what produce --input json reads, to the byte.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "common/base/err.h"
#include "common/base/slice.h"

enum { RECORD_HEADERS_MAX = 1000 };

struct record_header {
	struct slice name, value; /* value null = null */
};

struct record {
	const char *topic;
	int32_t partition; /* -1: none given */
	int64_t offset;
	int64_t timestamp; /* ms; -1: none */
	struct slice key, value;
	const struct record_header *headers;
	size_t header_count;
};

/* A new object; members in the order above, headers only when there are some. */
json_t *record_to_json(const struct record *r);

/* A record read from JSON; owns its bytes. */
struct record_text {
	struct record record;
	struct record_header headers[RECORD_HEADERS_MAX];
	void **owned;
	size_t owned_count, owned_cap;
};

/* One line. A value must be given (null is one); topic and offset and unknown members are ignored, key, partition, timestamp and headers may
 * be missing. ERR_INVAL: ret_why says what is wrong. Free in any case. */
MUST_CHECK int record_from_json(const char *line, size_t len, struct record_text *ret, char *ret_why, size_t why_cap);
void record_text_free(struct record_text *r);

/* Of len bytes; the caller frees with mem_free. */
char *base64_encode(const void *bytes, size_t len);
/* Standard alphabet with padding, nothing else. The caller frees *ret. */
MUST_CHECK int base64_decode(const char *text, size_t len, uint8_t **ret, size_t *ret_len);
