/* format.h: a record as text: raw, json, hex, or a template in the manner of kcat. Pure.
 *
 * Template fields: %t topic, %p partition, %o offset, %k key, %v or %s value, %K %V (%S) their lengths in bytes (-1: null), %R length of the
 * value as 4 bytes big-endian, %T timestamp in ms, %D timestamp as ISO 8601, %h headers (name=value,...), %% a percent sign; \n \r \t \0 \\
 * and \xHH. Null keys, values and header values print as nothing.
 */
#pragma once

#include "common/base/str.h"
#include "klamm/record.h"

enum format_kind {
	FORMAT_RAW,      /* the value and a newline */
	FORMAT_JSON,     /* one object per line */
	FORMAT_HEX,      /* partition, offset, key, value separated by tabs; key and value in hex, null = "null" */
	FORMAT_TEMPLATE,
};

/* raw, json and hex are words; everything else is a template. ERR_INVAL: *ret_bad points at what is wrong in it. */
MUST_CHECK int format_parse(const char *text, enum format_kind *ret_kind, const char **ret_bad);
/* Appends the record. text = what format_parse took. */
void format_record(enum format_kind kind, const char *text, const struct record *r, struct str *out);
