/* decode.c: the decoding half of the interpreter (contract in codec.h).
 *
 * One pass over the fields of a descriptor; a field that the version lacks gets its default at once, so nothing is touched
 * twice. The cursor's error is sticky and an allocation failure sets it too (remembered in `limited`): the loops look at it
 * where they could go on for long (per array element, per tag), not after every field.
 */
#include "common/base/check.h"
#include "common/wire/codec.h"
#include "common/wire/cursor.h"

struct decoder {
	struct cursor c;
	struct arena *arena;
	unsigned version;
	bool flexible;
	bool limited; /* the arena said no */
};

/* Size of one element in memory; of a fixed type also on the wire. */
static const uint8_t type_bytes[] = {
	[WIRE_BOOL] = 1,   [WIRE_INT8] = 1,    [WIRE_INT16] = 2, [WIRE_UINT16] = 2,
	[WIRE_INT32] = 4,  [WIRE_UINT32] = 4,  [WIRE_INT64] = 8, [WIRE_FLOAT64] = 8,
	[WIRE_UUID] = 16,  [WIRE_STRING] = sizeof(struct slice), [WIRE_BYTES] = sizeof(struct slice),
};

static void decode_struct(struct decoder *d, const struct wire_struct *desc, uint8_t *msg);

static void set_number(const struct wire_field *f, uint8_t *p)
{
	switch (type_bytes[f->type]) {
	case 1:
		*p = (uint8_t)f->def;
		break;
	case 2:
		memcpy(p, &(uint16_t){(uint16_t)f->def}, 2);
		break;
	case 4:
		memcpy(p, &(uint32_t){(uint32_t)f->def}, 4);
		break;
	default: /* a float64 has no default but 0, whose bits are 0 (the generator sees to it) */
		memcpy(p, &f->def, 8);
	}
}

static void set_default(const struct wire_field *f, uint8_t *msg)
{
	uint8_t *p = msg + f->pos;
	struct slice empty = (f->flags & WIRE_DEFAULT_NULL) ? (struct slice){NULL, 0} : slice_make("", 0);
	if (f->flags & WIRE_ARRAY) {
		memset(p, 0, sizeof(void *));
		memcpy(msg + f->count_pos, &(int32_t){(f->flags & WIRE_DEFAULT_NULL) ? -1 : 0}, 4);
		return;
	}
	switch (f->type) {
	case WIRE_STRUCT:
		if (f->flags & WIRE_POINTER)
			memset(p, 0, sizeof(void *));
		else
			wire_init(f->child, p);
		break;
	case WIRE_STRING:
	case WIRE_BYTES:
		memcpy(p, &empty, sizeof(empty));
		break;
	case WIRE_RECORDS:
		memcpy(p, &(struct wire_records){empty, NULL}, sizeof(struct wire_records));
		break;
	case WIRE_UUID:
		memset(p, 0, 16);
		break;
	default:
		set_number(f, p);
	}
}

void wire_init(const struct wire_struct *desc, void *msg)
{
	for (unsigned i = 0; i < desc->field_count; i++)
		set_default(&desc->fields[i], msg);
}

/* Fixed types, bytes swapped; p may be unaligned for nobody, but memcpy costs nothing. */
static void read_fixed(struct decoder *d, unsigned type, uint8_t *p)
{
	const uint8_t *in = cursor_take(&d->c, type_bytes[type]);
	if (!in)
		return;
	switch (type) {
	case WIRE_BOOL:
		*p = *in != 0;
		break;
	case WIRE_INT8:
		*p = *in;
		break;
	case WIRE_INT16:
	case WIRE_UINT16:
		memcpy(p, &(uint16_t){be16_get(in)}, 2);
		break;
	case WIRE_INT32:
	case WIRE_UINT32:
		memcpy(p, &(uint32_t){be32_get(in)}, 4);
		break;
	case WIRE_UUID:
		memcpy(p, in, 16);
		break;
	default:
		memcpy(p, &(uint64_t){be64_get(in)}, 8);
	}
}

/* A length or count in the form that f has here; -1 = null. Anything else below 0 comes back as -2. */
static int64_t read_len(struct decoder *d, const struct wire_field *f, bool is_string)
{
	int64_t n;
	if (d->flexible && !(f->flags & WIRE_LEGACY))
		n = (int64_t)cursor_uvarint(&d->c) - 1;
	else
		n = is_string ? cursor_i16(&d->c) : cursor_i32(&d->c);
	return n < -1 ? -2 : n;
}

static struct slice read_slice(struct decoder *d, const struct wire_field *f)
{
	bool is_string = f->type == WIRE_STRING;
	int64_t n = read_len(d, f, is_string);
	if (d->c.bad)
		return (struct slice){NULL, 0};
	/* an element of an array of strings is never null */
	if (n == -1 && !(f->flags & WIRE_ARRAY) && (f->nullable >> d->version & 1))
		return (struct slice){NULL, 0};
	if (is_string && n > WIRE_STRING_MAX)
		n = -2;
	return cursor_bytes(&d->c, n);
}

static void *take_memory(struct decoder *d, size_t bytes)
{
	void *p = arena_try_alloc(d->arena, bytes);
	if (!p) {
		d->limited = true;
		cursor_fail(&d->c);
	}
	return p;
}

/* The least that one element takes on the wire. */
static size_t element_min(const struct decoder *d, const struct wire_field *f)
{
	if (f->type == WIRE_STRUCT)
		return f->child->min_bytes[d->version];
	if (f->type == WIRE_STRING || f->type == WIRE_BYTES)
		return d->flexible ? 1 : f->type == WIRE_STRING ? 2 : 4;
	return type_bytes[f->type];
}

static void read_element(struct decoder *d, const struct wire_field *f, uint8_t *p)
{
	if (f->type == WIRE_STRUCT) {
		decode_struct(d, f->child, p);
	} else if (f->type == WIRE_STRING || f->type == WIRE_BYTES) {
		struct slice s = read_slice(d, f);
		memcpy(p, &s, sizeof(s));
	} else {
		read_fixed(d, f->type, p);
	}
}

/* Room for a lying count: never more than the bytes left times a constant at first; doubles as elements decode. */
static size_t first_capacity(const struct decoder *d, size_t count, size_t element_bytes)
{
	size_t fits = cursor_left(&d->c) * WIRE_ARRAY_HEADROOM / element_bytes + 1;
	return count < fits ? count : fits;
}

static void read_array(struct decoder *d, const struct wire_field *f, uint8_t *msg)
{
	int64_t n = read_len(d, f, false);
	size_t element_bytes = f->type == WIRE_STRUCT ? f->child->size : type_bytes[f->type];
	uint8_t *items = NULL;
	if (d->c.bad)
		return;
	if (n < 0 && (n < -1 || !(f->nullable >> d->version & 1))) {
		cursor_fail(&d->c);
		return;
	}
	if (n > 0) {
		if ((uint64_t)n > cursor_left(&d->c) / element_min(d, f)) {
			cursor_fail(&d->c);
			return;
		}
		size_t cap = first_capacity(d, (size_t)n, element_bytes);
		items = take_memory(d, cap * element_bytes);
		for (size_t i = 0; i < (size_t)n && !d->c.bad; i++) {
			if (i == cap) {
				size_t more = cap * 2 < (size_t)n ? cap * 2 : (size_t)n;
				uint8_t *bigger = take_memory(d, more * element_bytes);
				if (!bigger)
					return;
				memcpy(bigger, items, cap * element_bytes);
				items = bigger;
				cap = more;
			}
			read_element(d, f, items + i * element_bytes);
		}
	}
	memcpy(msg + f->pos, &items, sizeof(items));
	memcpy(msg + f->count_pos, &(int32_t){(int32_t)n}, 4);
}

static void read_nullable_struct(struct decoder *d, const struct wire_field *f, uint8_t *p)
{
	uint8_t *child = NULL;
	int8_t there = cursor_i8(&d->c);
	if (there >= 0 && !d->c.bad) {
		/* room in memory only for what can be there */
		if (cursor_left(&d->c) < f->child->min_bytes[d->version])
			cursor_fail(&d->c);
		else
			child = take_memory(d, f->child->size);
		if (child)
			decode_struct(d, f->child, child);
	}
	memcpy(p, &child, sizeof(child));
}

static void read_field(struct decoder *d, const struct wire_field *f, uint8_t *msg)
{
	uint8_t *p = msg + f->pos;
	struct slice s;
	if (f->flags & WIRE_ARRAY) {
		read_array(d, f, msg);
		return;
	}
	switch (f->type) {
	case WIRE_STRUCT:
		if (f->flags & WIRE_POINTER)
			read_nullable_struct(d, f, p);
		else
			decode_struct(d, f->child, p);
		break;
	case WIRE_STRING:
	case WIRE_BYTES:
		s = read_slice(d, f);
		memcpy(p, &s, sizeof(s));
		break;
	case WIRE_RECORDS:
		s = read_slice(d, f);
		memcpy(p, &(struct wire_records){s, NULL}, sizeof(struct wire_records));
		break;
	default:
		read_fixed(d, f->type, p);
	}
}

static const struct wire_field *find_tag(const struct wire_struct *desc, unsigned version, uint32_t tag)
{
	for (unsigned i = 0; i < desc->field_count; i++) {
		const struct wire_field *f = &desc->fields[i];
		if (f->tag >= 0 && (uint32_t)f->tag == tag && (f->versions >> version & 1))
			return f;
	}
	return NULL;
}

/* Count, then (number, size, bytes) in ascending numbers; a known tag has to use its bytes up. */
static void read_tags(struct decoder *d, const struct wire_struct *desc, uint8_t *msg)
{
	uint32_t count = cursor_uvarint(&d->c);
	int64_t last = -1;
	while (count-- > 0 && !d->c.bad) {
		uint32_t tag = cursor_uvarint(&d->c), bytes = cursor_uvarint(&d->c);
		if (d->c.bad || tag <= last || bytes > cursor_left(&d->c)) {
			cursor_fail(&d->c);
			return;
		}
		last = tag;
		const struct wire_field *f = find_tag(desc, d->version, tag);
		if (!f) {
			cursor_skip(&d->c, bytes);
			continue;
		}
		const uint8_t *end = d->c.end;
		d->c.end = d->c.p + bytes;
		read_field(d, f, msg);
		if (d->c.bad || d->c.p != d->c.end) {
			cursor_fail(&d->c);
			return;
		}
		d->c.end = end;
	}
}

static void decode_struct(struct decoder *d, const struct wire_struct *desc, uint8_t *msg)
{
	const struct wire_field *f = desc->fields;
	for (unsigned i = 0; i < desc->field_count; i++, f++) {
		if (f->tag < 0 && (f->versions >> d->version & 1))
			read_field(d, f, msg);
		else
			set_default(f, msg);
	}
	if (d->flexible)
		read_tags(d, desc, msg);
}

int wire_decode(const struct wire_struct *desc, int16_t version, struct slice *in, struct arena *a, void *ret_msg)
{
	if (!wire_has_version(desc, version)) {
		wire_init(desc, ret_msg);
		return ERR_UNSUPPORTED;
	}
	struct decoder d = {
		.c = cursor_make(*in),
		.arena = a,
		.version = (unsigned)version,
		.flexible = desc->flexible >> version & 1,
	};
	decode_struct(&d, desc, ret_msg);
	if (d.c.bad) {
		wire_init(desc, ret_msg);
		return d.limited ? ERR_LIMIT : ERR_CORRUPT;
	}
	*in = cursor_rest(&d.c);
	return 0;
}
