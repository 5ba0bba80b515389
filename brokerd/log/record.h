/* record.h: walking the records inside of one batch, plain or compressed, without taking memory for them.
 *
 * The reader streams: a compressed batch passes through a window of a few KiB inside of the struct (so keep it on a job's or a
 * loop's stack, not in an arena). What a length says is believed only as far as bytes are there. Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "brokerd/log/batch.h"
#include "common/base/slice.h"
#include "common/compress/compress.h"

#define RECORD_CODEC_ZSTD 4

struct record {
	int64_t timestamp;    /* of the record; the batch's with LogAppendTime */
	int32_t offset_delta;
	int32_t key_len, value_len; /* -1 null */
	int32_t headers;
	/* First bytes of key and value (record_prefix_bytes of them): enough for control records. */
	uint8_t key_prefix[8], value_prefix[8];
};

struct record_reader {
	const struct batch *batch;
	const uint8_t *ptr, *end;
	uint64_t left;        /* bytes of the current record that are not read yet */
	bool streaming;
	struct decompressor d;
	uint8_t window[4096];
};

/* one_batch: exactly one batch, parsed into b; both stay until fini. ERR_UNSUPPORTED: no such codec. */
MUST_CHECK int record_reader_init(struct record_reader *rr, struct slice one_batch, const struct batch *b, uint64_t decompressed_max);
/* ERR_CORRUPT: structure broken, or no more bytes; ERR_LIMIT. */
MUST_CHECK int record_read(struct record_reader *rr, struct record *ret_r);
/* 0 if nothing is left over, else ERR_CORRUPT. */
MUST_CHECK int record_reader_end(struct record_reader *rr);
void record_reader_fini(struct record_reader *rr);

enum { CONTROL_ABORT = 0, CONTROL_COMMIT = 1 };
/* The end-of-transaction marker in a control batch: its type and coordinator epoch. ERR_UNSUPPORTED: another kind of control record. */
MUST_CHECK int control_parse(struct slice one_batch, const struct batch *b, int *ret_type, int32_t *ret_coordinator_epoch);
