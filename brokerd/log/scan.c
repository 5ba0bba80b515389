/* scan.c: walks the batches of a segment file, in a job. All bytes are foreign: a length is believed only as far as the file
 * reaches, and memory is bounded by the window unless a batch whose checksum is right is larger.
 */
#include <string.h>

#include "brokerd/log/log_priv.h"
#include "common/base/crc.h"

#define WINDOW_HEADERS ((size_t)16 << 10)
#define WINDOW_BYTES ((size_t)128 << 10)
#define RAW_BYTES_MAX ((size_t)256 << 20)

void scan_init(struct scan *sc, struct file *f, uint64_t pos, uint64_t bytes, int64_t offset_min, bool check_crc)
{
	*sc = (struct scan){.file = f, .pos = pos, .bytes = bytes, .offset_min = offset_min, .check_crc = check_crc};
	sc->cap = check_crc ? WINDOW_BYTES : WINDOW_HEADERS;
	sc->buf = mem_alloc(sc->cap);
}

void scan_fini(struct scan *sc)
{
	mem_free(sc->buf);
	sc->buf = NULL;
}

/* Makes the window begin at pos; fills it as far as the file goes. */
static int fill(struct scan *sc, uint64_t pos)
{
	uint64_t want = sc->bytes - pos;
	size_t got = 0;

	if (want > sc->cap)
		want = sc->cap;
	int err = file_read_now(sc->file, pos, sc->buf, (size_t)want, &got);
	if (err)
		return err;
	sc->buf_pos = pos;
	sc->have = got;
	return got < want ? ERR_CORRUPT : 0; /* shorter than it was said to be */
}

static bool held(const struct scan *sc, uint64_t pos, size_t len)
{
	return pos >= sc->buf_pos && pos + len <= sc->buf_pos + sc->have;
}

/* Checksum of [pos, pos + len) through the window. */
static int sum(struct scan *sc, uint64_t pos, uint64_t len, uint32_t (*update)(uint32_t, const void *, size_t), uint32_t *ret)
{
	uint32_t crc = 0;

	while (len > 0) {
		if (!held(sc, pos, 1)) {
			int err = fill(sc, pos);
			if (err)
				return err;
		}
		size_t n = (size_t)(sc->buf_pos + sc->have - pos);
		if (n > len)
			n = (size_t)len;
		crc = update(crc, sc->buf + (pos - sc->buf_pos), n);
		pos += n;
		len -= n;
	}
	*ret = crc;
	return 0;
}

static int check_old(struct scan *sc, const struct batch *b)
{
	uint8_t head[4];
	uint32_t crc;

	if ((uint64_t)b->total_bytes > sc->bytes - sc->pos || b->total_bytes < 26)
		return ERR_CORRUPT;
	memcpy(head, sc->buf + (sc->pos - sc->buf_pos) + 12, 4);
	int err = sum(sc, sc->pos + 16, (uint64_t)b->total_bytes - 16, crc32z_update, &crc);
	if (err)
		return err;
	return crc == be32_get(head) ? LOG_ERR_OLD_FORMAT : ERR_CORRUPT;
}

int scan_raw(struct scan *sc, const struct batch *b, uint64_t pos, struct slice *ret_raw)
{
	if (!held(sc, pos, (size_t)b->total_bytes)) {
		if ((size_t)b->total_bytes > sc->cap) {
			if ((size_t)b->total_bytes > RAW_BYTES_MAX)
				return ERR_LIMIT;
			mem_free(sc->buf);
			sc->cap = (size_t)b->total_bytes;
			sc->have = 0;
			sc->buf = mem_alloc(sc->cap);
		}
		int err = fill(sc, pos);
		if (err)
			return err;
	}
	*ret_raw = slice_make(sc->buf + (pos - sc->buf_pos), (size_t)b->total_bytes);
	return 0;
}

int scan_next(struct scan *sc, struct batch *ret_b, uint64_t *ret_pos)
{
	int err = 0;

	if (sc->pos >= sc->bytes)
		return 0;
	size_t need = BATCH_HEADER_BYTES;
	if (sc->bytes - sc->pos < need)
		need = (size_t)(sc->bytes - sc->pos);
	if (!held(sc, sc->pos, need))
		err = fill(sc, sc->pos);
	if (err)
		return err;
	err = batch_parse(slice_make(sc->buf + (sc->pos - sc->buf_pos), (size_t)(sc->buf_pos + sc->have - sc->pos)), ret_b);
	if (err == LOG_ERR_BAD_MAGIC)
		return check_old(sc, ret_b);
	if (err)
		return ERR_CORRUPT; /* cut short or senseless */
	if ((uint64_t)ret_b->total_bytes > sc->bytes - sc->pos || ret_b->base_offset < sc->offset_min || ret_b->last_offset_delta < 0
	    || ret_b->base_offset > INT64_MAX - ret_b->last_offset_delta - 1)
		return ERR_CORRUPT;
	if (sc->check_crc) {
		uint32_t crc;
		err = sum(sc, sc->pos + 21, (uint64_t)ret_b->total_bytes - 21, crc32c_update, &crc);
		if (!err && crc != ret_b->crc)
			err = ERR_CORRUPT;
		if (err)
			return err;
	}
	*ret_pos = sc->pos;
	sc->pos += (uint64_t)ret_b->total_bytes;
	sc->offset_min = batch_last_offset(ret_b) + 1;
	if (sc->progress)
		atomic_fetch_add(sc->progress, ret_b->total_bytes);
	return 1;
}
