/* recompress.c: a batch in the codec of its topic. See batch.h, batch_recompress. */
#include <string.h>

#include "brokerd/log/batch.h"
#include "common/base/crc.h"
#include "common/base/slice.h"
#include "common/compress/compress.h"

#define WINDOW (64 * 1024)
#define AT_LENGTH 8
#define AT_CRC 17
#define AT_ATTRIBUTES 21

/* Everything inside of the batch, from one codec into the other. */
static int pour(struct decompressor *d, struct compressor *c)
{
	struct buf *window = buf_new(WINDOW);
	size_t n = WINDOW;
	int err = 0;
	while (!err && n == WINDOW) {
		err = decompressor_read(d, window->data, WINDOW, &n);
		if (err) {
			err = LOG_ERR_INVALID_RECORD;
		} else if (n) {
			err = compressor_write(c, window->data, n);
			err = err ? LOG_ERR_TOO_LARGE : 0;
		}
	}
	buf_unref(window);
	return err;
}

static void put_header(uint8_t *to, size_t total, const uint8_t *from, int8_t codec, struct batch *b)
{
	memcpy(to, from, BATCH_HEADER_BYTES);
	b->total_bytes = (int32_t)total;
	b->attributes = (int16_t)((b->attributes & ~7) | codec);
	be32_put(to + AT_LENGTH, (uint32_t)(total - BATCH_LOG_OVERHEAD));
	be16_put(to + AT_ATTRIBUTES, (uint16_t)b->attributes);
	b->crc = crc32c(to + AT_ATTRIBUTES, total - AT_ATTRIBUTES);
	be32_put(to + AT_CRC, b->crc);
}

int batch_recompress(struct slice one_batch, const struct batch_target *target, struct batch *b, struct buf **ret_buf, size_t *ret_len)
{
	struct slice in = slice_make(one_batch.ptr + BATCH_HEADER_BYTES, one_batch.len - BATCH_HEADER_BYTES);
	struct compress_bounds bounds = {.head = BATCH_HEADER_BYTES, .size = target->inside_bytes, .bytes_max = (size_t)target->bytes_max};
	struct decompressor d;
	struct compressor c;
	if (decompressor_init(&d, (enum codec)batch_codec(b), in, target->inside_bytes))
		return LOG_ERR_INVALID_RECORD;
	int err = compressor_init(&c, (enum codec)target->codec, target->level, &bounds) ? LOG_ERR_TOO_LARGE : 0;
	if (!err)
		err = pour(&d, &c);
	if (!err && compressor_end(&c, ret_buf, ret_len))
		err = LOG_ERR_TOO_LARGE;
	if (!err)
		put_header((*ret_buf)->data, *ret_len, one_batch.ptr, target->codec, b);
	compressor_fini(&c);
	decompressor_fini(&d);
	return err;
}
