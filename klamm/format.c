/* format.c: see format.h */
#include "klamm/format.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/when.h"

static const char fields[] = "tpokvsKVSRTDh%";

int format_parse(const char *text, enum format_kind *ret_kind, const char **ret_bad)
{
	*ret_kind = !strcmp(text, "raw") ? FORMAT_RAW : !strcmp(text, "json") ? FORMAT_JSON : !strcmp(text, "hex") ? FORMAT_HEX : FORMAT_TEMPLATE;
	if (*ret_kind != FORMAT_TEMPLATE)
		return 0;
	for (const char *p = text; *p; p++) {
		*ret_bad = p;
		if (*p == '%' && (!p[1] || !strchr(fields, *++p)))
			return ERR_INVAL;
		if (*p == '\\') {
			if (!*++p || !strchr("nrt0\\x", *p) || (*p == 'x' && (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))))
				return ERR_INVAL;
			p += *p == 'x' ? 2 : 0;
		}
	}
	return 0;
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* The escape behind a backslash at p; returns the last character that it takes. */
static const char *add_escape(struct str *out, const char *p)
{
	char c = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : *p == '0' ? '\0' : '\\';

	if (*p == 'x') {
		c = (char)(hex_digit(p[1]) << 4 | hex_digit(p[2]));
		p += 2;
	}
	str_add_bytes(out, &c, 1);
	return p;
}

static void add_slice(struct str *out, struct slice s)
{
	if (s.ptr)
		str_add_bytes(out, s.ptr, s.len);
}

static void add_headers(struct str *out, const struct record *r)
{
	for (size_t i = 0; i < r->header_count; i++) {
		if (i)
			str_add(out, ",");
		add_slice(out, r->headers[i].name);
		str_add(out, "=");
		add_slice(out, r->headers[i].value);
	}
}

static long long length_of(struct slice s)
{
	return s.ptr ? (long long)s.len : -1;
}

static void add_field(struct str *out, char field, const struct record *r)
{
	uint8_t be[4];
	char text[40];

	switch (field) {
	case 't': str_add(out, r->topic); break;
	case 'p': str_printf(out, "%" PRId32, r->partition); break;
	case 'o': str_printf(out, "%" PRId64, r->offset); break;
	case 'k': add_slice(out, r->key); break;
	case 'v':
	case 's': add_slice(out, r->value); break;
	case 'K': str_printf(out, "%lld", length_of(r->key)); break;
	case 'V':
	case 'S': str_printf(out, "%lld", length_of(r->value)); break;
	case 'R':
		be32_put(be, (uint32_t)length_of(r->value));
		str_add_bytes(out, be, sizeof(be));
		break;
	case 'T': str_printf(out, "%" PRId64, r->timestamp); break;
	case 'D': str_add(out, r->timestamp < 0 ? "" : when_text(r->timestamp, text, sizeof(text))); break;
	case 'h': add_headers(out, r); break;
	default: str_add(out, "%"); break;
	}
}

static void add_hex(struct str *out, struct slice s)
{
	static const char hex[] = "0123456789abcdef";

	if (!s.ptr)
		str_add(out, "null");
	for (size_t i = 0; s.ptr && i < s.len; i++) {
		char two[2] = {hex[s.ptr[i] >> 4], hex[s.ptr[i] & 15]};

		str_add_bytes(out, two, 2);
	}
}

static void add_json(struct str *out, const struct record *r)
{
	json_t *o = record_to_json(r);
	char *text = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);

	if (!text)
		abort();
	str_add(out, text);
	free(text);
	json_decref(o);
}

void format_record(enum format_kind kind, const char *text, const struct record *r, struct str *out)
{
	if (kind == FORMAT_TEMPLATE) {
		for (const char *p = text; *p; p++) {
			if (*p == '\\')
				p = add_escape(out, p + 1);
			else if (*p == '%')
				add_field(out, *++p, r);
			else
				str_add_bytes(out, p, 1);
		}
		return;
	}
	if (kind == FORMAT_RAW) {
		add_slice(out, r->value);
	} else if (kind == FORMAT_HEX) {
		str_printf(out, "%" PRId32 "\t%" PRId64 "\t", r->partition, r->offset);
		add_hex(out, r->key);
		str_add(out, "\t");
		add_hex(out, r->value);
	} else {
		add_json(out, r);
	}
	str_add(out, "\n");
}
