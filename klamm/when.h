/* when.h: times and durations as people write them. Pure. All times are ms since 1970, UTC. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* A point in time: ms since 1970 as a whole number; ISO 8601 (2026-01-31, 2026-01-31T23:59[:59[.123]], then Z, +02:00, +0200, +02 or
 * nothing = UTC; a blank for T is fine); now; or -DURATION = that long before now. ERR_INVAL else. */
MUST_CHECK int when_parse(const char *text, int64_t now_ms, int64_t *ret_ms);
/* A duration: ISO 8601 (P1DT2H30M, PT0.5S, P2W) or numbers with units ms, s, m, h, d, w in a row (90s, 1h30m). ERR_INVAL else. */
MUST_CHECK int when_parse_duration(const char *text, int64_t *ret_ms);
/* 2026-01-31T23:59:59.123Z */
const char *when_text(int64_t ms, char *buf, size_t cap);
/* 17 ms, 4.2 s, 3m 12s, 5h 2m, 3d 4h: at most two units */
const char *when_age(int64_t ms, char *buf, size_t cap);
