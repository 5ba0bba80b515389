/* compress.c: compressors in the forms that Kafka's own client writes, so that every reader of record batches takes them.
 * gzip: one member. snappy: xerial framing, blocks of 32 KiB. lz4: one frame, independent blocks of 64 KiB, no content size or
 * checksum. zstd: one frame, which says its size where it is known.
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

/* ---- the output ---- */

/* Room for `more` bytes behind what is written. */
static uint8_t *room(struct compressor *c, size_t more)
{
	if (c->out->cap - c->len < more) {
		size_t cap = c->out->cap * 2 > c->len + more ? c->out->cap * 2 : c->len + more;
		struct buf *b = buf_new(cap);
		memcpy(b->data + c->head, c->out->data + c->head, c->len - c->head);
		buf_unref(c->out);
		c->out = b;
	}
	return c->out->data + c->len;
}

/* ---- codecs: init, a piece of at most PIECE bytes, the end ---- */

#define PIECE (64 * 1024)
#define XERIAL_BLOCK (32 * 1024)

static int none_step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	(void)end;
	if (len)
		memcpy(room(c, len), bytes, len);
	c->len += len;
	return 0;
}

static int gzip_init(struct compressor *c, int32_t level)
{
	z_stream *z = MEM_NEW(z_stream);
	if (deflateInit2(z, clamp(level, 1, 9, Z_DEFAULT_COMPRESSION), Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		mem_free(z);
		return ERR_LIMIT;
	}
	c->state = z;
	return 0;
}

static int gzip_step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	z_stream *z = c->state;
	int rc = Z_OK;
	z->next_in = (Bytef *)(uintptr_t)bytes; /* only read */
	z->avail_in = (uInt)len;
	do {
		z->next_out = room(c, 4096);
		size_t cap = c->out->cap - c->len < PIECE ? c->out->cap - c->len : PIECE;
		z->avail_out = (uInt)cap;
		rc = deflate(z, end ? Z_FINISH : Z_NO_FLUSH);
		c->len += cap - z->avail_out;
	} while (rc == Z_OK && (z->avail_out == 0 || end)); /* Z_BUF_ERROR: nothing more to say yet */
	ASSERT(rc == (end ? Z_STREAM_END : Z_OK) || (rc == Z_BUF_ERROR && !end));
	return 0;
}

static int snappy_init(struct compressor *c)
{
	static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
	c->block = mem_alloc(XERIAL_BLOCK);
	return none_step(c, header, sizeof(header), false);
}

static void snappy_block(struct compressor *c)
{
	size_t len = snappy_max_compressed_length(c->block_len);
	uint8_t *out = room(c, 4 + len);
	snappy_status rc = snappy_compress((const char *)c->block, c->block_len, (char *)out + 4, &len);
	ASSERT(rc == SNAPPY_OK);
	be32_put(out, (uint32_t)len);
	c->len += 4 + len;
	c->block_len = 0;
}

static int snappy_step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	while (len) {
		size_t n = XERIAL_BLOCK - c->block_len < len ? XERIAL_BLOCK - c->block_len : len;
		memcpy(c->block + c->block_len, bytes, n);
		c->block_len += n;
		bytes += n;
		len -= n;
		if (c->block_len == XERIAL_BLOCK)
			snappy_block(c);
	}
	if (end && c->block_len)
		snappy_block(c);
	return 0;
}

static LZ4F_preferences_t lz4_preferences(int32_t level)
{
	return (LZ4F_preferences_t){
		.frameInfo = {.blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent},
		.compressionLevel = clamp(level, 1, LZ4HC_CLEVEL_MAX, 0),
	};
}

static int lz4_init(struct compressor *c, int32_t level)
{
	LZ4F_preferences_t prefs = lz4_preferences(level);
	LZ4F_cctx *x = NULL;
	if (LZ4F_isError(LZ4F_createCompressionContext(&x, LZ4F_VERSION)))
		return ERR_LIMIT;
	c->state = x;
	uint8_t *out = room(c, LZ4F_HEADER_SIZE_MAX);
	size_t n = LZ4F_compressBegin(x, out, c->out->cap - c->len, &prefs);
	if (LZ4F_isError(n))
		return ERR_LIMIT; /* no memory */
	c->len += n;
	return 0;
}

static int lz4_step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	LZ4F_preferences_t prefs = lz4_preferences(COMPRESS_LEVEL_DEFAULT); /* bounds depend on the form only */
	uint8_t *out = room(c, LZ4F_compressBound(len, &prefs));
	size_t cap = c->out->cap - c->len;
	size_t n = end ? LZ4F_compressEnd(c->state, out, cap, NULL) : LZ4F_compressUpdate(c->state, out, cap, bytes, len, NULL);
	if (LZ4F_isError(n))
		return ERR_LIMIT;
	c->len += n;
	return 0;
}

static int zstd_init(struct compressor *c, int32_t level, uint64_t size)
{
	ZSTD_CCtx *x = ZSTD_createCCtx();
	if (!x)
		return ERR_LIMIT;
	c->state = x;
	bool ok = !ZSTD_isError(ZSTD_CCtx_setParameter(x, ZSTD_c_compressionLevel, clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel(), 3)));
	ok = ok && (size == COMPRESS_SIZE_UNKNOWN || !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(x, size)));
	return ok ? 0 : ERR_LIMIT;
}

static int zstd_step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	ZSTD_inBuffer in = {bytes, len, 0};
	size_t left;
	do {
		uint8_t *to = room(c, 4096);
		ZSTD_outBuffer out = {to, c->out->cap - c->len, 0};
		left = ZSTD_compressStream2(c->state, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return ERR_LIMIT; /* no memory, or not as many bytes as were announced */
		c->len += out.pos;
	} while (end ? left > 0 : in.pos < in.size);
	return 0;
}

/* ---- the stream ---- */

int compressor_init(struct compressor *c, enum codec codec, int32_t level, const struct compress_bounds *bounds)
{
	*c = (struct compressor){.codec = codec, .head = bounds->head, .len = bounds->head, .bytes_max = bounds->bytes_max};
	c->out = buf_new(bounds->head + 4096);
	switch (codec) {
	case CODEC_NONE: break;
	case CODEC_GZIP: c->err = gzip_init(c, level); break;
	case CODEC_SNAPPY: c->err = snappy_init(c); break;
	case CODEC_LZ4: c->err = lz4_init(c, level); break;
	case CODEC_ZSTD: c->err = zstd_init(c, level, bounds->size); break;
	case CODEC_COUNT:
	default: c->err = ERR_UNSUPPORTED; break;
	}
	int err = c->err;
	if (err)
		compressor_fini(c);
	return err;
}

static int step(struct compressor *c, const uint8_t *bytes, size_t len, bool end)
{
	switch (c->codec) {
	case CODEC_GZIP: return gzip_step(c, bytes, len, end);
	case CODEC_SNAPPY: return snappy_step(c, bytes, len, end);
	case CODEC_LZ4: return lz4_step(c, bytes, len, end);
	case CODEC_ZSTD: return zstd_step(c, bytes, len, end);
	case CODEC_NONE:
	case CODEC_COUNT:
	default: return none_step(c, bytes, len, end);
	}
}

int compressor_write(struct compressor *c, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	while (len && !c->err) {
		size_t n = len < PIECE ? len : PIECE;
		c->err = step(c, p, n, false);
		if (!c->err && c->len > c->bytes_max)
			c->err = ERR_LIMIT;
		p += n;
		len -= n;
	}
	return c->err;
}

int compressor_end(struct compressor *c, struct buf **ret_b, size_t *ret_len)
{
	if (!c->err)
		c->err = step(c, NULL, 0, true);
	if (!c->err && c->len > c->bytes_max)
		c->err = ERR_LIMIT;
	if (c->err)
		return c->err;
	*ret_b = c->out;
	*ret_len = c->len;
	c->out = NULL;
	return 0;
}

void compressor_fini(struct compressor *c)
{
	if (c->state) {
		switch (c->codec) {
		case CODEC_GZIP:
			deflateEnd(c->state);
			mem_free(c->state);
			break;
		case CODEC_LZ4: LZ4F_freeCompressionContext(c->state); break;
		case CODEC_ZSTD: ZSTD_freeCCtx(c->state); break;
		case CODEC_NONE:
		case CODEC_SNAPPY:
		case CODEC_COUNT:
		default: break;
		}
	}
	mem_free(c->block);
	buf_unref(c->out);
	*c = (struct compressor){0};
}

int compress_once(enum codec codec, int32_t level, struct slice in, struct chain *out)
{
	struct compressor c;
	struct buf *b = NULL;
	size_t len = 0;
	int err = compressor_init(&c, codec, level, &(struct compress_bounds){.size = in.len, .bytes_max = SIZE_MAX});
	if (!err)
		err = compressor_write(&c, in.ptr, in.len);
	if (!err)
		err = compressor_end(&c, &b, &len);
	compressor_fini(&c);
	if (!err)
		chain_add_buf(out, b, 0, len);
	return err;
}
