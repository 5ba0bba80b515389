/* decompress.c: bounded streaming decompression of Kafka's codecs.
 *
 * Each codec is a step function: it puts up to `cap` bytes into out and says how many; fewer than cap (and no error) means that
 * the end was reached. The limits are checked once, in decompressor_read. Errors stick.
 */
#include "common/compress/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include "common/base/mem.h"

static void take(struct slice *s, size_t n)
{
	s->ptr += n;
	s->len -= n;
}

/* ---- none ---- */

static int none_step(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t n = d->in.len < cap ? d->in.len : cap;
	if (n)
		memcpy(out, d->in.ptr, n);
	take(&d->in, n);
	*ret_len = n;
	return 0;
}

/* ---- gzip ---- */

#define GZIP_ONLY (15 + 16) /* largest window; a gzip header and trailer are demanded */

static int gzip_init(struct decompressor *d)
{
	z_stream *z = MEM_NEW(z_stream);
	if (inflateInit2(z, GZIP_ONLY) != Z_OK) {
		mem_free(z);
		return ERR_LIMIT;
	}
	d->state = z;
	return 0;
}

static int gzip_step(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	z_stream *z = d->state;
	size_t n = 0;
	while (n < cap && !d->done) {
		size_t in = d->in.len < UINT32_MAX ? d->in.len : UINT32_MAX;
		size_t room = cap - n < UINT32_MAX ? cap - n : UINT32_MAX;
		z->next_in = (Bytef *)(uintptr_t)d->in.ptr; /* only read */
		z->avail_in = (uInt)in;
		z->next_out = out + n;
		z->avail_out = (uInt)room;
		int rc = inflate(z, Z_NO_FLUSH);
		size_t used = in - z->avail_in, made = room - z->avail_out;
		take(&d->in, used);
		n += made;
		if (rc == Z_STREAM_END) {
			if (d->in.len == 0)
				d->done = true;
			else if (inflateReset(z) != Z_OK) /* another member; anything else fails at its header */
				return ERR_CORRUPT;
		} else if (rc != Z_OK || (used == 0 && made == 0)) {
			return ERR_CORRUPT; /* Z_BUF_ERROR: the input ends early */
		}
	}
	*ret_len = n;
	return 0;
}

/* ---- snappy ---- */

static const uint8_t xerial_magic[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
#define XERIAL_HEADER 16 /* magic, version, lowest compatible version */
#define SNAPPY_RATIO 22  /* a copy of 64 bytes takes three */

/* Decodes one block into d->block. */
static int snappy_block(struct decompressor *d, struct slice in)
{
	size_t len;
	if (snappy_uncompressed_length((const char *)in.ptr, in.len, &len) != SNAPPY_OK)
		return ERR_CORRUPT;
	/* the claim is checked before memory is taken for it */
	if (len / SNAPPY_RATIO > in.len)
		return ERR_CORRUPT;
	if (len > d->out_max - d->out_bytes)
		return ERR_LIMIT;
	if (len > d->block_cap) {
		mem_free(d->block);
		d->block_cap = 0;
		d->block = mem_try_alloc(len);
		if (!d->block)
			return ERR_LIMIT;
		d->block_cap = len;
	}
	uint8_t none;
	size_t got = len;
	if (snappy_uncompress((const char *)in.ptr, in.len, (char *)(d->block ? d->block : &none), &got) != SNAPPY_OK || got != len)
		return ERR_CORRUPT;
	d->block_len = len;
	d->block_pos = 0;
	return 0;
}

static int snappy_next(struct decompressor *d)
{
	struct slice all = d->in;
	if (!d->framed) {
		take(&d->in, d->in.len);
		return snappy_block(d, all);
	}
	if (d->in.len < 4)
		return ERR_CORRUPT;
	if (d->in.len >= XERIAL_HEADER && !memcmp(d->in.ptr, xerial_magic, sizeof(xerial_magic))) {
		take(&d->in, XERIAL_HEADER); /* streams may be joined */
		return 0;
	}
	uint32_t len = be32_get(d->in.ptr);
	take(&d->in, 4);
	if (len > d->in.len)
		return ERR_CORRUPT;
	struct slice block = slice_make(d->in.ptr, len);
	take(&d->in, len);
	return snappy_block(d, block);
}

static int snappy_init(struct decompressor *d)
{
	d->framed = d->in.len >= XERIAL_HEADER && !memcmp(d->in.ptr, xerial_magic, sizeof(xerial_magic));
	if (d->framed)
		take(&d->in, XERIAL_HEADER);
	else if (d->in.len == 0)
		d->err = ERR_CORRUPT;
	return 0;
}

static int snappy_step(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t n = 0;
	while (n < cap) {
		size_t have = d->block_len - d->block_pos;
		if (have == 0) {
			if (d->in.len == 0)
				break;
			/* what this call made so far counts, before the next block's claim is compared with the limit */
			d->out_bytes += n;
			int err = snappy_next(d);
			d->out_bytes -= n;
			if (err < 0)
				return err;
			continue;
		}
		size_t part = have < cap - n ? have : cap - n;
		memcpy(out + n, d->block + d->block_pos, part);
		d->block_pos += part;
		n += part;
	}
	*ret_len = n;
	return 0;
}

/* ---- lz4 ---- */

#define LZ4_HEADER_MAX 19

static int lz4_init(struct decompressor *d)
{
	LZ4F_dctx *ctx;
	if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION)))
		return ERR_LIMIT;
	d->state = ctx;
	return 0;
}

/* Gives the frame header to the library. Clients of Kafka before 0.10 computed its checksum over the magic too; such a header is
 * given with the right one. */
static int lz4_header(struct decompressor *d)
{
	static const uint8_t magic[4] = {0x04, 0x22, 0x4d, 0x18};
	uint8_t header[LZ4_HEADER_MAX], none;
	if (d->in.len < 7 || memcmp(d->in.ptr, magic, 4) != 0)
		return ERR_CORRUPT;
	uint8_t flags = d->in.ptr[4];
	size_t descriptor = 2 + (flags & 8 ? 8 : 0);
	if (flags & 1) /* a dictionary that nobody has */
		return ERR_CORRUPT;
	if (d->in.len < 4 + descriptor + 1)
		return ERR_CORRUPT;
	memcpy(header, d->in.ptr, 4 + descriptor + 1);
	uint8_t *sum = &header[4 + descriptor];
	uint8_t right = (uint8_t)(XXH32(header + 4, descriptor, 0) >> 8);
	uint8_t old = (uint8_t)(XXH32(header, 4 + descriptor, 0) >> 8);
	if (*sum != right && *sum != old)
		return ERR_CORRUPT;
	*sum = right;
	size_t used = 4 + descriptor + 1, made = 0;
	size_t rc = LZ4F_decompress(d->state, &none, &made, header, &used, NULL);
	if (LZ4F_isError(rc) || used != 4 + descriptor + 1)
		return ERR_CORRUPT;
	take(&d->in, used);
	d->framed = true;
	return 0;
}

static int lz4_step(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t n = 0;
	if (!d->framed) {
		int err = lz4_header(d);
		if (err < 0)
			return err;
	}
	while (n < cap && !d->done) {
		size_t used = d->in.len, made = cap - n;
		size_t rc = LZ4F_decompress(d->state, out + n, &made, d->in.ptr, &used, NULL);
		if (LZ4F_isError(rc))
			return ERR_CORRUPT;
		take(&d->in, used);
		n += made;
		if (rc == 0) {
			d->done = true;
			if (d->in.len > 0)
				return ERR_CORRUPT;
		} else if (used == 0 && made == 0) {
			return ERR_CORRUPT; /* the input ends early */
		}
	}
	*ret_len = n;
	return 0;
}

/* ---- zstd ---- */

#define ZSTD_WINDOW_LOG_MAX 27

static int zstd_init(struct decompressor *d)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	if (!ctx)
		return ERR_LIMIT;
	d->state = ctx;
	return ZSTD_isError(ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)) ? ERR_UNSUPPORTED : 0;
}

static int zstd_step(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	ZSTD_outBuffer o = {out, cap, 0};
	if (d->in.len == 0 && !d->framed)
		return ERR_CORRUPT;
	d->framed = true;
	while (o.pos < cap && !d->done) {
		ZSTD_inBuffer i = {d->in.ptr, d->in.len, 0};
		size_t before = o.pos;
		size_t rc = ZSTD_decompressStream(d->state, &o, &i);
		if (ZSTD_isError(rc))
			return ERR_CORRUPT;
		take(&d->in, i.pos);
		if (rc == 0) {
			/* a frame is complete; the next one follows at once or never */
			if (d->in.len == 0)
				d->done = true;
		} else if (i.pos == 0 && o.pos == before) {
			return ERR_CORRUPT;
		}
	}
	*ret_len = o.pos;
	return 0;
}

/* ---- all ---- */

static const struct {
	int (*init)(struct decompressor *d);
	int (*step)(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len);
} codecs[CODEC_COUNT] = {
	[CODEC_NONE] = {NULL, none_step},      [CODEC_GZIP] = {gzip_init, gzip_step}, [CODEC_SNAPPY] = {snappy_init, snappy_step},
	[CODEC_LZ4] = {lz4_init, lz4_step},    [CODEC_ZSTD] = {zstd_init, zstd_step},
};

int decompressor_init(struct decompressor *d, enum codec codec, struct slice input, uint64_t bytes_max)
{
	*d = (struct decompressor){.codec = codec, .in = input};
	if ((unsigned)codec >= CODEC_COUNT)
		return ERR_UNSUPPORTED;
	if (!d->in.ptr)
		d->in = slice_make("", 0);
	uint64_t by_ratio = (uint64_t)input.len * DECOMPRESS_RATIO_MAX + DECOMPRESS_ALLOWANCE;
	d->out_max = bytes_max < by_ratio ? bytes_max : by_ratio;
	int err = codecs[codec].init ? codecs[codec].init(d) : 0;
	if (err < 0)
		decompressor_fini(d);
	return err;
}

int decompressor_read(struct decompressor *d, uint8_t *out, size_t cap, size_t *ret_len)
{
	size_t n = 0;
	if (d->err < 0)
		return d->err;
	if (cap > 0) {
		d->err = codecs[d->codec].step(d, out, cap, &n);
		if (d->err < 0)
			return d->err;
		if (n > d->out_max - d->out_bytes) {
			d->err = ERR_LIMIT;
			return d->err;
		}
		d->out_bytes += n;
	}
	*ret_len = n;
	return 0;
}

void decompressor_fini(struct decompressor *d)
{
	if (d->state && d->codec == CODEC_GZIP) {
		inflateEnd(d->state);
		mem_free(d->state);
	} else if (d->state && d->codec == CODEC_LZ4) {
		LZ4F_freeDecompressionContext(d->state);
	} else if (d->state && d->codec == CODEC_ZSTD) {
		ZSTD_freeDCtx(d->state);
	}
	mem_free(d->block);
	d->state = NULL;
	d->block = NULL;
	d->block_len = d->block_pos = d->block_cap = 0;
	d->err = ERR_CLOSED;
}

/* A larger buffer with the same first bytes; NULL on shortage (the old one is gone then). */
static struct buf *regrow(struct buf *old, size_t len, size_t cap)
{
	struct buf *b = buf_try_new(cap);
	if (b && len)
		memcpy(b->data, old->data, len);
	buf_unref(old);
	return b;
}

int decompress_once(enum codec codec, struct slice input, uint64_t bytes_max, struct buf **ret_b, size_t *ret_len)
{
	struct decompressor d;
	struct buf *b = NULL;
	size_t len = 0;
	int err = decompressor_init(&d, codec, input, bytes_max);
	if (err < 0)
		return err;
	/* one byte more than the limit: so that reading into it tells end from limit */
	uint64_t most = d.out_max + 1;
	uint64_t cap = input.len < 1024 ? 4096 : (uint64_t)input.len * 4;
	for (;;) {
		size_t n;
		cap = cap < most ? cap : most;
		b = regrow(b, len, (size_t)cap);
		if (!b) {
			err = ERR_LIMIT;
			break;
		}
		err = decompressor_read(&d, b->data + len, (size_t)cap - len, &n);
		if (err < 0)
			break;
		len += n;
		if (len < cap)
			break;
		cap *= 2;
	}
	decompressor_fini(&d);
	if (err < 0) {
		buf_unref(b);
		return err;
	}
	*ret_b = b;
	*ret_len = len;
	return 0;
}
