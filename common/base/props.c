/* props.c: Java properties text.
 *
 * The rules of java.util.Properties: natural lines end with LF, CR or CRLF; a line whose first visible character is # or ! is a
 * comment; an odd number of backslashes before the end joins the next line, whose leading blanks go; the key ends at the first
 * unescaped = : or blank. Bytes above 0x7f pass as they are (files are UTF-8 today), \uXXXX becomes UTF-8.
 * Failure model: text of a user; the first thing that makes no sense is ERR_INVAL with its line, and p keeps what came before.
 */
#include "common/base/props.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/str.h"

struct reader {
	const uint8_t *p, *end;
	int line;
};

void props_init(struct props *p)
{
	*p = (struct props){0};
}

void props_fini(struct props *p)
{
	for (size_t i = 0; i < p->count; i++) {
		mem_free(p->items[i].key);
		mem_free(p->items[i].value);
	}
	mem_free(p->items);
	props_init(p);
}

static struct prop *find(const struct props *p, const char *key)
{
	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->items[i].key, key))
			return &p->items[i];
	return NULL;
}

static void set(struct props *p, const char *key, const char *value, int line)
{
	struct prop *it = find(p, key);
	char *copy = mem_strdup(value);
	if (it) {
		mem_free(it->value);
	} else {
		MEM_GROW(p->items, p->cap, p->count + 1);
		it = &p->items[p->count++];
		it->key = mem_strdup(key);
	}
	it->value = copy;
	it->line = line;
}

void props_set(struct props *p, const char *key, const char *value)
{
	set(p, key, value, 0);
}

const char *props_get(const struct props *p, const char *key)
{
	const struct prop *it = find(p, key);
	return it ? it->value : NULL;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\f';
}

static void skip_blanks(struct reader *r)
{
	while (r->p < r->end && is_blank(*r->p))
		r->p++;
}

/* Steps over one line end if there is one. */
static bool skip_eol(struct reader *r)
{
	if (r->p == r->end || (*r->p != '\n' && *r->p != '\r'))
		return false;
	if (*r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n')
		r->p++;
	r->p++;
	r->line++;
	return true;
}

/* Blanks within a logical line, over joined line ends too. */
static void skip_blanks_joined(struct reader *r)
{
	for (skip_blanks(r); r->end - r->p >= 2 && r->p[0] == '\\' && (r->p[1] == '\n' || r->p[1] == '\r'); skip_blanks(r)) {
		r->p++;
		skip_eol(r);
	}
}

static int hex4(struct reader *r, uint32_t *ret_v)
{
	uint32_t v = 0;
	if (r->end - r->p < 4)
		return ERR_INVAL;
	for (int i = 0; i < 4; i++) {
		uint8_t c = *r->p++;
		uint8_t low = c | 0x20;
		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if (low >= 'a' && low <= 'f')
			v = v << 4 | (uint32_t)(low - 'a' + 10);
		else
			return ERR_INVAL;
	}
	*ret_v = v;
	return 0;
}

static void add_utf8(struct str *s, uint32_t c)
{
	uint8_t b[4];
	size_t n = 0;
	if (c < 0x80) {
		b[n++] = (uint8_t)c;
	} else if (c < 0x800) {
		b[n++] = (uint8_t)(0xc0 | c >> 6);
		b[n++] = (uint8_t)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		b[n++] = (uint8_t)(0xe0 | c >> 12);
		b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
		b[n++] = (uint8_t)(0x80 | (c & 63));
	} else {
		b[n++] = (uint8_t)(0xf0 | c >> 18);
		b[n++] = (uint8_t)(0x80 | (c >> 12 & 63));
		b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
		b[n++] = (uint8_t)(0x80 | (c & 63));
	}
	str_add_bytes(s, b, n);
}

/* Behind "\u". */
static int read_unicode(struct reader *r, struct str *out)
{
	uint32_t c, low;
	int err = hex4(r, &c);
	if (err < 0 || c == 0 || (c >= 0xdc00 && c < 0xe000))
		return ERR_INVAL;
	if (c >= 0xd800 && c < 0xdc00) {
		if (r->end - r->p < 2 || r->p[0] != '\\' || r->p[1] != 'u')
			return ERR_INVAL;
		r->p += 2;
		err = hex4(r, &low);
		if (err < 0 || low < 0xdc00 || low >= 0xe000)
			return ERR_INVAL;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(out, c);
	return 0;
}

/* Behind a backslash. */
static int read_escape(struct reader *r, struct str *out)
{
	if (r->p == r->end)
		return 0; /* a last line that wants to go on ends there, as in Java */
	if (skip_eol(r)) {
		skip_blanks(r);
		return 0;
	}
	uint8_t c = *r->p++;
	switch (c) {
	case 'u': return read_unicode(r, out);
	case 't': c = '\t'; break;
	case 'n': c = '\n'; break;
	case 'r': c = '\r'; break;
	case 'f': c = '\f'; break;
	}
	str_add_bytes(out, &c, 1);
	return 0;
}

/* Up to the end of the logical line, or for a key up to its separator. Does not step over what ended it. */
static int read_part(struct reader *r, struct str *out, bool is_key)
{
	while (r->p < r->end) {
		uint8_t c = *r->p;
		if (c == '\n' || c == '\r' || (is_key && (c == '=' || c == ':' || is_blank(c))))
			return 0;
		if (c == 0)
			return ERR_INVAL;
		r->p++;
		if (c != '\\') {
			str_add_bytes(out, &c, 1);
			continue;
		}
		int err = read_escape(r, out);
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_pair(struct reader *r, struct props *p, struct str *key, struct str *value)
{
	int line = r->line;
	str_clear(key);
	str_clear(value);
	int err = read_part(r, key, true);
	if (err < 0)
		return err;
	skip_blanks_joined(r);
	if (r->p < r->end && (*r->p == '=' || *r->p == ':')) {
		r->p++;
		skip_blanks_joined(r);
	}
	err = read_part(r, value, false);
	if (err < 0)
		return err;
	if (key->len == 0)
		return ERR_INVAL;
	set(p, str_cstr(key), str_cstr(value), line);
	return 0;
}

int props_parse(struct props *p, struct slice text, int *ret_line)
{
	struct str key, value;
	int err = 0;

	if (text.len == 0)
		return 0;
	struct reader r = {text.ptr, text.ptr + text.len, 1};
	str_init(&key);
	str_init(&value);
	while (r.p < r.end && err == 0) {
		skip_blanks(&r);
		if (r.p == r.end || skip_eol(&r))
			continue;
		if (*r.p == '#' || *r.p == '!') {
			while (r.p < r.end && *r.p != '\n' && *r.p != '\r')
				r.p++;
			continue;
		}
		err = read_pair(&r, p, &key, &value);
	}
	if (err < 0)
		*ret_line = r.line;
	str_fini(&key);
	str_fini(&value);
	return err;
}
