/* checkpoint.h: Kafka's text checkpoints: version, count, then lines of words (facts/ondisk.md 5). */
#pragma once

#include "common/base/err.h"

/* Calls line() with `fields` words for each entry. ERR_CORRUPT: version, count or a line is wrong; what line() returns else. */
MUST_CHECK int checkpoint_parse(const char *text, int fields, int (*line)(void *ctx, char **fields), void *ctx);
