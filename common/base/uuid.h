/* uuid.h: Kafka's 16-byte ids (topic id, directory id, cluster id) and their 22-character URL-safe base64 text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/slice.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_LEN 22
static inline bool uuid_is_zero(const struct uuid *u) { static const struct uuid z; return memcmp(u, &z, 16) == 0; }
static inline bool uuid_eq(const struct uuid *a, const struct uuid *b) { return memcmp(a, b, 16) == 0; }
/* out: 22 characters and a NUL */
void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN + 1]);
MUST_CHECK int uuid_parse(struct slice text, struct uuid *ret_u);
/* From 16 random bytes; never zero, never a text that begins with '-' (Kafka's rule for topic ids). ERR_AGAIN: draw again. */
MUST_CHECK int uuid_from_random(const uint8_t bytes[16], struct uuid *ret_u);
