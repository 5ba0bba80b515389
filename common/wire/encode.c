/* encode.c: the encoding half of the interpreter, and comparison (contracts in codec.h).
 *
 * Two walks over the message with the same decisions: sizes first (needed anyway for tags and the frame's size), then bytes
 * into memory of exactly that size. The walks must agree byte for byte; wire_encode asserts it.
 */
#include "common/base/check.h"
#include "common/wire/codec.h"
#include "common/wire/cursor.h"

/* Frames up to this size are packed into the tail of the chain; larger ones get a buffer of their own. */
enum { PACK_MAX = 1024 };

/* Version and form of the message under way; `moved` counts the bytes of chains (sizes pass). */
struct form {
	unsigned version;
	bool flexible;
	size_t moved;
};

struct writer {
	struct form form;
	uint8_t *p;         /* next byte */
	uint8_t *piece;     /* first byte not yet handed to out */
	struct buf *buf;    /* what p points into; NULL = space reserved in the chain, nothing to hand over */
	struct chain *out;
};

static size_t struct_size(struct form *m, const struct wire_struct *desc, const uint8_t *msg);
static void write_struct(struct writer *w, const struct wire_struct *desc, const uint8_t *msg);

static const uint8_t fixed_bytes[] = {
	[WIRE_BOOL] = 1,  [WIRE_INT8] = 1,	[WIRE_INT16] = 2, [WIRE_UINT16] = 2,  [WIRE_INT32] = 4,
	[WIRE_UINT32] = 4, [WIRE_INT64] = 8, [WIRE_FLOAT64] = 8, [WIRE_UUID] = 16, [WIRE_STRUCT] = 0,
};

static bool compact(const struct form *m, const struct wire_field *f)
{
	return m->flexible && !(f->flags & WIRE_LEGACY);
}

static bool null_allowed(const struct form *m, const struct wire_field *f)
{
	return f->nullable >> m->version & 1;
}

/* The slice as it goes out: cut at the limit, and never null where the version has no null. */
static struct slice out_slice(const struct form *m, const struct wire_field *f, const uint8_t *p)
{
	struct slice s;
	memcpy(&s, p, sizeof(s));
	if (!s.ptr) {
		s.len = 0;
		if ((f->flags & WIRE_ARRAY) || !null_allowed(m, f))
			s.ptr = (const uint8_t *)"";
	}
	if (f->type == WIRE_STRING && s.len > WIRE_STRING_MAX)
		s.len = WIRE_STRING_MAX;
	return s;
}

static int32_t out_count(const struct form *m, const struct wire_field *f, const uint8_t *msg, const uint8_t **ret_items)
{
	int32_t n;
	memcpy(&n, msg + f->count_pos, 4);
	memcpy(ret_items, msg + f->pos, sizeof(*ret_items));
	return n < 0 ? (null_allowed(m, f) ? -1 : 0) : n;
}

static size_t memory_bytes(const struct wire_field *f)
{
	return f->type == WIRE_STRUCT ? f->child->size : fixed_bytes[f->type] ? fixed_bytes[f->type] : sizeof(struct slice);
}

/* Bytes of a length field for n (-1 = null). */
static size_t len_size(const struct form *m, const struct wire_field *f, int64_t n, bool is_string)
{
	if (compact(m, f))
		return uvarint_size((uint32_t)(n + 1));
	return is_string ? 2 : 4;
}

static size_t slice_size(const struct form *m, const struct wire_field *f, const uint8_t *p)
{
	struct slice s = out_slice(m, f, p);
	return len_size(m, f, s.ptr ? (int64_t)s.len : -1, f->type == WIRE_STRING) + s.len;
}

static size_t records_size(struct form *m, const struct wire_field *f, const uint8_t *p)
{
	struct wire_records r;
	memcpy(&r, p, sizeof(r));
	if (!r.chain)
		return slice_size(m, f, p + offsetof(struct wire_records, bytes));
	m->moved += r.chain->bytes;
	return len_size(m, f, (int64_t)r.chain->bytes, false) + r.chain->bytes;
}

static size_t element_size(struct form *m, const struct wire_field *f, const uint8_t *p)
{
	if (f->type == WIRE_STRUCT)
		return struct_size(m, f->child, p);
	if (f->type == WIRE_STRING || f->type == WIRE_BYTES)
		return slice_size(m, f, p);
	if (f->type == WIRE_RECORDS)
		return records_size(m, f, p);
	return fixed_bytes[f->type];
}

static size_t field_size(struct form *m, const struct wire_field *f, const uint8_t *msg)
{
	if (f->flags & WIRE_ARRAY) {
		const uint8_t *items;
		int32_t n = out_count(m, f, msg, &items);
		size_t total = len_size(m, f, n, false), step = memory_bytes(f);
		if (n > 0 && fixed_bytes[f->type])
			return total + step * (size_t)n;
		for (int32_t i = 0; i < n; i++)
			total += element_size(m, f, items + (size_t)i * step);
		return total;
	}
	if (f->flags & WIRE_POINTER) {
		const uint8_t *child;
		memcpy(&child, msg + f->pos, sizeof(child));
		return child ? 1 + struct_size(m, f->child, child) : 1;
	}
	return element_size(m, f, msg + f->pos);
}

static bool struct_is_default(const struct form *m, const struct wire_struct *desc, const uint8_t *msg);

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "number_is_default and common/base/slice.h");
static bool number_is_default(const struct wire_field *f, const uint8_t *p)
{
	uint64_t v = 0, def = (uint64_t)f->def;
	unsigned bytes = fixed_bytes[f->type];
	if (f->type == WIRE_UUID)
		return uuid_is_zero((const struct uuid *)p);
	memcpy(&v, p, bytes); /* little-endian: the low bytes */
	return bytes == 8 ? v == def : ((v ^ def) & (((uint64_t)1 << bytes * 8) - 1)) == 0;
}

/* Whether the reader would assume this value if the field were left out. */
static bool field_is_default(const struct form *m, const struct wire_field *f, const uint8_t *msg)
{
	const uint8_t *p = msg + f->pos;
	bool null_default = (f->flags & WIRE_DEFAULT_NULL) && null_allowed(m, f);
	if (f->flags & WIRE_ARRAY) {
		const uint8_t *items;
		return out_count(m, f, msg, &items) == (null_default ? -1 : 0);
	}
	if (f->flags & WIRE_POINTER) {
		const void *child;
		memcpy(&child, p, sizeof(child));
		return !child;
	}
	if (f->type == WIRE_STRUCT)
		return struct_is_default(m, f->child, p);
	if (f->type == WIRE_RECORDS)
		return false; /* never tagged */
	if (f->type == WIRE_STRING || f->type == WIRE_BYTES) {
		struct slice s = out_slice(m, f, p);
		return null_default ? !s.ptr : s.ptr && s.len == 0;
	}
	return number_is_default(f, p);
}

static bool struct_is_default(const struct form *m, const struct wire_struct *desc, const uint8_t *msg)
{
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if ((f->versions >> m->version & 1) && !field_is_default(m, f, msg))
			return false;
	}
	return true;
}

/* The next tagged field to send, in ascending tag order after `after`; NULL = no more. Few structs have tags, and few of them. */
static const struct wire_field *next_tag(const struct form *m, const struct wire_struct *desc, const uint8_t *msg, int after)
{
	const struct wire_field *best = NULL;
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->tag > after && (f->versions >> m->version & 1) && (!best || f->tag < best->tag) && !field_is_default(m, f, msg))
			best = f;
	}
	return best;
}

static size_t struct_size(struct form *m, const struct wire_struct *desc, const uint8_t *msg)
{
	size_t total = 0, tags = 0;
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (!(f->versions >> m->version & 1))
			continue;
		if (f->tag < 0) {
			total += field_size(m, f, msg);
		} else if (!field_is_default(m, f, msg)) {
			size_t bytes = field_size(m, f, msg);
			total += uvarint_size((uint32_t)f->tag) + uvarint_size((uint32_t)bytes) + bytes;
			tags++;
		}
	}
	return m->flexible ? total + uvarint_size((uint32_t)tags) : total;
}

static void write_len(struct writer *w, const struct wire_field *f, int64_t n, bool is_string)
{
	if (compact(&w->form, f))
		w->p = put_uvarint(w->p, (uint32_t)(n + 1));
	else if (is_string)
		w->p = put_i16(w->p, (int16_t)n);
	else
		w->p = put_i32(w->p, (int32_t)n);
}

static void write_slice(struct writer *w, const struct wire_field *f, const uint8_t *p)
{
	struct slice s = out_slice(&w->form, f, p);
	write_len(w, f, s.ptr ? (int64_t)s.len : -1, f->type == WIRE_STRING);
	w->p = put_bytes(w->p, s.ptr, s.len);
}

/* Hands what has been written to the chain, so that something else may follow there. */
static void flush_piece(struct writer *w)
{
	if (w->buf && w->p > w->piece)
		chain_add_buf(w->out, buf_ref(w->buf), (size_t)(w->piece - w->buf->data), (size_t)(w->p - w->piece));
	w->piece = w->p;
}

static void write_records(struct writer *w, const struct wire_field *f, const uint8_t *p)
{
	struct wire_records r;
	memcpy(&r, p, sizeof(r));
	if (!r.chain) {
		write_slice(w, f, p + offsetof(struct wire_records, bytes));
		return;
	}
	write_len(w, f, (int64_t)r.chain->bytes, false);
	if (r.chain->bytes) {
		ASSERT(w->buf);
		flush_piece(w);
		chain_append(w->out, r.chain);
	}
}

static void write_fixed(struct writer *w, unsigned type, const uint8_t *p)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;
	switch (fixed_bytes[type]) {
	case 1:
		*w->p = type == WIRE_BOOL ? *p != 0 : *p;
		break;
	case 2:
		memcpy(&v16, p, 2);
		be16_put(w->p, v16);
		break;
	case 4:
		memcpy(&v32, p, 4);
		be32_put(w->p, v32);
		break;
	case 8:
		memcpy(&v64, p, 8);
		be64_put(w->p, v64);
		break;
	default:
		memcpy(w->p, p, 16);
	}
	w->p += fixed_bytes[type];
}

static void write_element(struct writer *w, const struct wire_field *f, const uint8_t *p)
{
	if (f->type == WIRE_STRUCT)
		write_struct(w, f->child, p);
	else if (f->type == WIRE_STRING || f->type == WIRE_BYTES)
		write_slice(w, f, p);
	else if (f->type == WIRE_RECORDS)
		write_records(w, f, p);
	else
		write_fixed(w, f->type, p);
}

static void write_field(struct writer *w, const struct wire_field *f, const uint8_t *msg)
{
	if (f->flags & WIRE_ARRAY) {
		const uint8_t *items;
		int32_t n = out_count(&w->form, f, msg, &items);
		size_t step = memory_bytes(f);
		write_len(w, f, n, false);
		for (int32_t i = 0; i < n; i++)
			write_element(w, f, items + (size_t)i * step);
	} else if (f->flags & WIRE_POINTER) {
		const uint8_t *child;
		memcpy(&child, msg + f->pos, sizeof(child));
		*w->p++ = child ? 1 : 0xff;
		if (child)
			write_struct(w, f->child, child);
	} else {
		write_element(w, f, msg + f->pos);
	}
}

static void write_tags(struct writer *w, const struct wire_struct *desc, const uint8_t *msg)
{
	uint32_t count = 0;
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->tag >= 0 && (f->versions >> w->form.version & 1) && !field_is_default(&w->form, f, msg))
			count++;
	}
	w->p = put_uvarint(w->p, count);
	for (int after = -1; count > 0; count--) {
		const struct wire_field *f = next_tag(&w->form, desc, msg, after);
		ASSERT(f);
		w->p = put_uvarint(w->p, (uint32_t)f->tag);
		w->p = put_uvarint(w->p, (uint32_t)field_size(&w->form, f, msg));
		write_field(w, f, msg);
		after = f->tag;
	}
}

static void write_struct(struct writer *w, const struct wire_struct *desc, const uint8_t *msg)
{
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->tag < 0 && (f->versions >> w->form.version & 1))
			write_field(w, f, msg);
	}
	if (w->form.flexible)
		write_tags(w, desc, msg);
}

static struct form form_make(const struct wire_struct *desc, int16_t version)
{
	ASSERT(wire_has_version(desc, version));
	return (struct form){(unsigned)version, desc->flexible >> version & 1, 0};
}

size_t wire_size(const struct wire_struct *desc, int16_t version, const void *msg)
{
	struct form m = form_make(desc, version);
	return struct_size(&m, desc, msg);
}

/* Memory for `copied` bytes: in the chain's tail when nothing has to come between them, else a buffer. */
static struct writer writer_make(struct chain *out, size_t copied, bool one_piece)
{
	struct writer w = {.out = out};
	if (one_piece && copied <= PACK_MAX) {
		w.p = copied ? chain_reserve(out, copied) : NULL;
	} else {
		w.buf = buf_new(copied);
		w.p = w.buf->data;
	}
	w.piece = w.p;
	return w;
}

static void writer_finish(struct writer *w, const uint8_t *begin, size_t copied)
{
	ASSERT((size_t)(w->p - begin) == copied);
	flush_piece(w);
	buf_unref(w->buf);
}

void wire_encode(const struct wire_struct *desc, int16_t version, const void *msg, struct chain *out)
{
	struct form m = form_make(desc, version);
	size_t total = struct_size(&m, desc, msg), copied = total - m.moved;
	if (total == 0)
		return;
	struct writer w = writer_make(out, copied, m.moved == 0);
	const uint8_t *begin = w.p;
	w.form = m;
	write_struct(&w, desc, msg);
	writer_finish(&w, begin, copied);
}

uint8_t *wire_write(const struct wire_struct *desc, int16_t version, const void *msg, uint8_t *to)
{
	struct writer w = {.form = form_make(desc, version), .p = to, .piece = to};
	write_struct(&w, desc, msg);
	return w.p;
}

void wire_encode_frame(const struct wire_struct *head_desc, int16_t head_version, const void *head,
		       const struct wire_struct *desc, int16_t version, const void *msg, struct chain *out)
{
	struct form hm = form_make(head_desc, head_version), m = form_make(desc, version);
	size_t total = struct_size(&hm, head_desc, head) + struct_size(&m, desc, msg), copied = 4 + total - m.moved;
	ASSERT(hm.moved == 0 && total <= INT32_MAX);
	struct writer w = writer_make(out, copied, m.moved == 0);
	const uint8_t *begin = w.p;
	w.p = put_i32(w.p, (int32_t)total);
	w.form = hm;
	write_struct(&w, head_desc, head);
	w.form = m;
	write_struct(&w, desc, msg);
	writer_finish(&w, begin, copied);
}

static bool element_equal(const struct form *m, const struct wire_field *f, const uint8_t *x, const uint8_t *y)
{
	if (f->type == WIRE_STRUCT)
		return wire_equal(f->child, (int16_t)m->version, x, y);
	if (f->type == WIRE_STRING || f->type == WIRE_BYTES || f->type == WIRE_RECORDS) {
		struct slice a = out_slice(m, f, x), b = out_slice(m, f, y);
		return !a.ptr == !b.ptr && slice_eq(a, b);
	}
	if (f->type == WIRE_BOOL)
		return !*x == !*y;
	return memcmp(x, y, fixed_bytes[f->type]) == 0;
}

static bool field_equal(const struct form *m, const struct wire_field *f, const uint8_t *x, const uint8_t *y)
{
	const uint8_t *a, *b;
	if (f->flags & WIRE_ARRAY) {
		int32_t n = out_count(m, f, x, &a);
		size_t step = memory_bytes(f);
		if (n != out_count(m, f, y, &b))
			return false;
		for (int32_t i = 0; i < n; i++)
			if (!element_equal(m, f, a + (size_t)i * step, b + (size_t)i * step))
				return false;
		return true;
	}
	if (f->flags & WIRE_POINTER) {
		memcpy(&a, x + f->pos, sizeof(a));
		memcpy(&b, y + f->pos, sizeof(b));
		return !a == !b && (!a || wire_equal(f->child, (int16_t)m->version, a, b));
	}
	return element_equal(m, f, x + f->pos, y + f->pos);
}

bool wire_equal(const struct wire_struct *desc, int16_t version, const void *x, const void *y)
{
	struct form m = form_make(desc, version);
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if ((f->versions >> m.version & 1) && !field_equal(&m, f, x, y))
			return false;
	}
	return true;
}
