/* compress.c: one-shot compressors in the forms that Kafka's own client writes, so that every reader of record batches takes them.
 * gzip: one member. snappy: xerial framing, blocks of 32 KiB. lz4: one frame, independent blocks of 64 KiB, no content size or
 * checksum. zstd: one frame.
 */
#include "common/compress/compress.h"

#include <lz4frame.h>
#include <lz4hc.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

static const char *const names[CODEC_COUNT] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *codec_name(enum codec codec)
{
	return (unsigned)codec < CODEC_COUNT ? names[codec] : "unknown";
}

int codec_parse(const char *name, enum codec *ret_codec)
{
	for (unsigned i = 0; i < CODEC_COUNT; i++) {
		if (!strcmp(name, names[i])) {
			*ret_codec = (enum codec)i;
			return 0;
		}
	}
	if (strcmp(name, "uncompressed") != 0)
		return ERR_INVAL;
	*ret_codec = CODEC_NONE;
	return 0;
}

static int32_t clamp(int32_t level, int32_t lo, int32_t hi, int32_t absent)
{
	if (level == COMPRESS_LEVEL_DEFAULT)
		return absent;
	return level < lo ? lo : level > hi ? hi : level;
}

static int gzip_once(int32_t level, struct slice in, struct buf **ret_b, size_t *ret_len)
{
	z_stream z = {0};
	if (in.len > UINT32_MAX / 2)
		return ERR_LIMIT;
	if (deflateInit2(&z, clamp(level, 1, 9, Z_DEFAULT_COMPRESSION), Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return ERR_LIMIT;
	size_t bound = deflateBound(&z, in.len);
	struct buf *b = buf_new(bound);
	z.next_in = (Bytef *)(uintptr_t)in.ptr; /* only read */
	z.avail_in = (uInt)in.len;
	z.next_out = b->data;
	z.avail_out = (uInt)bound;
	int rc = deflate(&z, Z_FINISH);
	*ret_len = bound - z.avail_out;
	deflateEnd(&z);
	ASSERT(rc == Z_STREAM_END); /* deflateBound promised room */
	*ret_b = b;
	return 0;
}

#define XERIAL_BLOCK (32 * 1024)

static int snappy_once(struct slice in, struct buf **ret_b, size_t *ret_len)
{
	static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
	size_t blocks = (in.len + XERIAL_BLOCK - 1) / XERIAL_BLOCK;
	struct buf *b = buf_new(sizeof(header) + blocks * (4 + snappy_max_compressed_length(XERIAL_BLOCK)));
	size_t at = sizeof(header);
	memcpy(b->data, header, sizeof(header));
	for (size_t pos = 0; pos < in.len; pos += XERIAL_BLOCK) {
		size_t n = in.len - pos < XERIAL_BLOCK ? in.len - pos : XERIAL_BLOCK;
		size_t len = b->cap - at - 4;
		snappy_status rc = snappy_compress((const char *)in.ptr + pos, n, (char *)b->data + at + 4, &len);
		ASSERT(rc == SNAPPY_OK);
		be32_put(b->data + at, (uint32_t)len);
		at += 4 + len;
	}
	*ret_b = b;
	*ret_len = at;
	return 0;
}

static int lz4_once(int32_t level, struct slice in, struct buf **ret_b, size_t *ret_len)
{
	LZ4F_preferences_t prefs = {
		.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
		.compressionLevel = clamp(level, 1, LZ4HC_CLEVEL_MAX, 0),
	};
	struct buf *b = buf_new(LZ4F_compressFrameBound(in.len, &prefs));
	size_t n = LZ4F_compressFrame(b->data, b->cap, in.ptr, in.len, &prefs);
	if (LZ4F_isError(n)) {
		buf_unref(b);
		return ERR_LIMIT; /* no memory for its context */
	}
	*ret_b = b;
	*ret_len = n;
	return 0;
}

static int zstd_once(int32_t level, struct slice in, struct buf **ret_b, size_t *ret_len)
{
	struct buf *b = buf_new(ZSTD_compressBound(in.len));
	size_t n = ZSTD_compress(b->data, b->cap, in.ptr, in.len, clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel(), 3));
	if (ZSTD_isError(n)) {
		buf_unref(b);
		return ERR_LIMIT;
	}
	*ret_b = b;
	*ret_len = n;
	return 0;
}

int compress_once(enum codec codec, int32_t level, struct slice in, struct chain *out)
{
	struct buf *b = NULL;
	size_t len = 0;
	int err = 0;
	if (!in.ptr)
		in = slice_make("", 0);
	switch (codec) {
	case CODEC_NONE:
		b = buf_copy(in.ptr, in.len);
		len = in.len;
		break;
	case CODEC_GZIP: err = gzip_once(level, in, &b, &len); break;
	case CODEC_SNAPPY: err = snappy_once(in, &b, &len); break;
	case CODEC_LZ4: err = lz4_once(level, in, &b, &len); break;
	case CODEC_ZSTD: err = zstd_once(level, in, &b, &len); break;
	case CODEC_COUNT:
	default: err = ERR_UNSUPPORTED; break;
	}
	if (err == 0)
		chain_add_buf(out, b, 0, len);
	return err;
}
