/* compress.h: Kafka's codecs, for reading foreign record data within bounds and for writing our own (tools, load generator, tests).
 *
 * Reading streams: init with the whole compressed input (it is in memory, at most a request), then read pieces of any size. What
 * comes out is bounded twice: by bytes_max, and by a ratio (RATIO_MAX times the input plus a fixed allowance), both ERR_LIMIT; so
 * a bomb costs at most what an honest batch may. Input that does not decode, ends early or has bytes behind its end is
 * ERR_CORRUPT. Memory held is bounded by the codec: gzip 40 KiB, lz4 blocks of 4 MiB, snappy one block (never
 * more than its input could decode to), zstd a window of up to 128 MiB (what Java's clients may use) of which only the pages
 * that output reached are touched.
 * Formats are those that Kafka's clients write: gzip (concatenated members too); snappy in xerial framing, or one bare block as
 * some clients send; lz4 in frame format, header checksum right or of the old wrong kind (magic 0) alike; zstd frames.
 * Thread: one owner. No state outside of the structs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/slice.h"

/* The low three bits of a batch's attributes. */
enum codec { CODEC_NONE = 0, CODEC_GZIP = 1, CODEC_SNAPPY = 2, CODEC_LZ4 = 3, CODEC_ZSTD = 4, CODEC_COUNT };

const char *codec_name(enum codec codec); /* "none", "gzip", ... */
MUST_CHECK int codec_parse(const char *name, enum codec *ret_codec); /* also "uncompressed"; ERR_INVAL */

#define DECOMPRESS_RATIO_MAX 2048           /* more than gzip (1032), lz4 (255) or snappy (22) can do; zstd of equal records can do more */
#define DECOMPRESS_ALLOWANCE ((uint64_t)8 << 20) /* bytes of output that are always within the ratio */

struct decompressor {
	enum codec codec;
	struct slice in;     /* what is not consumed yet */
	uint64_t out_bytes;  /* given out so far */
	uint64_t out_max;    /* the smaller of bytes_max and what the ratio allows */
	int err;             /* sticky */
	bool done;
	void *state;         /* of the codec's library */
	uint8_t *block;      /* snappy: the block being given out */
	size_t block_len, block_pos, block_cap;
	bool framed;         /* snappy: xerial; lz4: the header was consumed */
};

/* input must stay until fini. ERR_UNSUPPORTED: no such codec. */
MUST_CHECK int decompressor_init(struct decompressor *d, enum codec codec, struct slice input, uint64_t bytes_max);
/* Up to cap bytes into out; *ret_len < cap only at the end, 0 = end. ERR_CORRUPT or ERR_LIMIT, the same again at every later call.
 * Bytes that came before the damage may have been given out by then. */
MUST_CHECK int decompressor_read(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len);
void decompressor_fini(struct decompressor *d); /* zeroed or failed init is accepted */

/* All of it into a new buffer (ret_b->cap may be larger than *ret_len). */
MUST_CHECK int decompress_once(enum codec codec, struct slice input, uint64_t bytes_max, struct buf **ret_b, size_t *ret_len);

#define COMPRESS_LEVEL_DEFAULT INT32_MIN
#define COMPRESS_SIZE_UNKNOWN UINT64_MAX

struct compress_bounds {
	size_t head;      /* bytes left free in front of what is written, for the caller */
	uint64_t size;    /* bytes that will be written, exactly; COMPRESS_SIZE_UNKNOWN: zstd then takes more memory, by its level */
	size_t bytes_max; /* of head and output together */
};
struct compressor {
	enum codec codec;
	size_t head, bytes_max;
	struct buf *out;
	size_t len;          /* of out: head and what is written */
	int err;             /* sticky */
	void *state;         /* of the codec's library */
	uint8_t *block;      /* snappy: the block being filled */
	size_t block_len;
};
/* Writing streams, in pieces of any size. level: gzip 1..9, lz4 1..17, zstd -131072..22, else ignored; out of range is clamped. ERR_UNSUPPORTED: no such
 * codec. ERR_LIMIT: the output is larger than bytes_max (memory beyond it stays within one piece of 64 KiB and its doubling), or no memory. */
MUST_CHECK int compressor_init(struct compressor *c, enum codec codec, int32_t level, const struct compress_bounds *bounds);
MUST_CHECK int compressor_write(struct compressor *c, const void *bytes, size_t len);
/* A buffer of the caller's own; the first `head` bytes of it are not set. */
MUST_CHECK int compressor_end(struct compressor *c, struct buf **ret_b, size_t *ret_len);
void compressor_fini(struct compressor *c); /* zeroed or failed init is accepted */

/* All at once: appends the compressed input to out. */
MUST_CHECK int compress_once(enum codec codec, int32_t level, struct slice input, struct chain *out);
