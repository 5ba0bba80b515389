/* downconvert.h: records of format v2 as message sets of format 0 or 1, for consumers that know no other (Fetch below version 4).
 *
 * Messages come out plain, whatever codec they were stored with, with their own offsets; headers and control records have no place in these
 * formats and are left out. zstd has none either: LOG_ERR_BAD_CODEC, as in Kafka. Pure; for a job: records are decompressed and copied.
 */
#pragma once

#include "brokerd/log/log_err.h"
#include "common/base/slice.h"
#include "common/base/str.h"

struct downconvert {
	int8_t magic;        /* 0 or 1 */
	int64_t from_offset; /* earlier records of the first batch are left out */
	uint64_t bytes_max;  /* of the output; one message comes whatever its size */
	uint64_t decompressed_max; /* of one batch */
};
/* batches: as read from a log, the last one may be cut. Appends to out. An error is one of the first batch that has something to say; a
 * later one ends the output in front of it. LOG_ERR_BAD_CODEC, ERR_CORRUPT, ERR_LIMIT. */
MUST_CHECK int log_downconvert(struct slice batches, const struct downconvert *how, struct str *out);
