/* record.c: see record.h */
#include "klamm/record.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

/* --- base64 -------------------------------------------------------------------------------------------------------- */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *bytes, size_t len)
{
	const uint8_t *b = bytes;
	char *out = mem_alloc((len + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)b[i] << 16 | (i + 1 < len ? (uint32_t)b[i + 1] << 8 : 0) | (i + 2 < len ? b[i + 2] : 0);

		*p++ = base64_digits[v >> 18];
		*p++ = base64_digits[v >> 12 & 63];
		*p++ = i + 1 < len ? base64_digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < len ? base64_digits[v & 63] : '=';
	}
	*p = 0;
	return out;
}

int base64_decode(const char *text, size_t len, uint8_t **ret, size_t *ret_len)
{
	uint8_t *out, *p;

	if (len % 4)
		return ERR_INVAL;
	out = p = mem_alloc(len / 4 * 3 + 1);
	for (size_t i = 0; i < len; i += 4) {
		uint32_t v = 0, pad = 0;

		for (size_t j = 0; j < 4; j++) {
			const char *d = text[i + j] ? strchr(base64_digits, text[i + j]) : NULL;

			if (text[i + j] == '=' && j >= 2 && i + 4 == len)
				pad++;
			else if (!d || pad)
				goto bad;
			v = v << 6 | (d ? (uint32_t)(d - base64_digits) : 0);
		}
		if ((pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff))
			goto bad; /* bits that nobody would get back */
		*p++ = (uint8_t)(v >> 16);
		if (pad < 2)
			*p++ = (uint8_t)(v >> 8);
		if (pad < 1)
			*p++ = (uint8_t)v;
	}
	*ret = out;
	*ret_len = (size_t)(p - out);
	return 0;
bad:
	mem_free(out);
	return ERR_INVAL;
}

/* --- to JSON ------------------------------------------------------------------------------------------------------- */

/* name: text, or name_base64 when the bytes are no UTF-8. */
static void put_bytes(json_t *o, const char *name, struct slice s)
{
	json_t *text = s.ptr ? json_stringn((const char *)s.ptr, s.len) : json_null();
	char longer[32], *code;

	if (text) {
		json_object_set_new(o, name, text);
		return;
	}
	code = base64_encode(s.ptr, s.len);
	snprintf(longer, sizeof(longer), "%s_base64", name);
	json_object_set_new(o, longer, json_string(code));
	mem_free(code);
}

json_t *record_to_json(const struct record *r)
{
	json_t *o = json_pack("{s:s,s:i,s:I,s:o}", "topic", r->topic, "partition", (int)r->partition, "offset", (json_int_t)r->offset, "timestamp",
	                      r->timestamp < 0 ? json_null() : json_integer(r->timestamp));

	put_bytes(o, "key", r->key);
	put_bytes(o, "value", r->value);
	if (r->header_count) {
		json_t *list = json_array();

		for (size_t i = 0; i < r->header_count; i++) {
			json_t *h = json_object();

			put_bytes(h, "name", r->headers[i].name);
			put_bytes(h, "value", r->headers[i].value);
			json_array_append_new(list, h);
		}
		json_object_set_new(o, "headers", list);
	}
	return o;
}

/* --- from JSON ----------------------------------------------------------------------------------------------------- */

static struct slice own(struct record_text *r, void *bytes, size_t len)
{
	MEM_GROW(r->owned, r->owned_cap, r->owned_count + 1);
	r->owned[r->owned_count++] = bytes;
	return slice_make(bytes, len);
}

/* The member name or name_base64 of o. ret_given: there is one. */
static int get_bytes(struct record_text *r, json_t *o, const char *name, struct slice *ret, bool *ret_given, char *why, size_t cap)
{
	char longer[32];
	json_t *text = json_object_get(o, name), *code;
	uint8_t *bytes;
	size_t len;

	snprintf(longer, sizeof(longer), "%s_base64", name);
	code = json_object_get(o, longer);
	*ret = slice_make(NULL, 0);
	*ret_given = text || code;
	if (text && code) {
		snprintf(why, cap, "%s and %s are both given", name, longer);
		return ERR_INVAL;
	}
	if (text && json_is_string(text)) {
		len = json_string_length(text); /* it may hold NULs */
		bytes = mem_alloc(len + 1);
		memcpy(bytes, json_string_value(text), len);
		*ret = own(r, bytes, len);
	} else if (text && !json_is_null(text)) {
		snprintf(why, cap, "%s must be text or null (or give %s)", name, longer);
		return ERR_INVAL;
	}
	if (code) {
		if (!json_is_string(code) || base64_decode(json_string_value(code), json_string_length(code), &bytes, &len)) {
			snprintf(why, cap, "%s is not base64", longer);
			return ERR_INVAL;
		}
		*ret = own(r, bytes, len);
	}
	return 0;
}

static int get_number(json_t *o, const char *name, int64_t max, int64_t *ret, char *why, size_t cap)
{
	json_t *v = json_object_get(o, name);

	*ret = -1;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > max) {
		snprintf(why, cap, "%s must be a whole number", name);
		return ERR_INVAL;
	}
	*ret = json_integer_value(v);
	return 0;
}

static int get_headers(struct record_text *r, json_t *o, char *why, size_t cap)
{
	json_t *list = json_object_get(o, "headers"), *h;
	size_t i;
	bool given;

	if (!list || json_is_null(list))
		return 0;
	if (!json_is_array(list) || json_array_size(list) > RECORD_HEADERS_MAX) {
		snprintf(why, cap, "headers must be a list of at most %d", RECORD_HEADERS_MAX);
		return ERR_INVAL;
	}
	json_array_foreach(list, i, h) {
		if (!json_is_object(h) || get_bytes(r, h, "name", &r->headers[i].name, &given, why, cap) || !r->headers[i].name.ptr) {
			snprintf(why, cap, "a header must be {\"name\":text,\"value\":text or null}");
			return ERR_INVAL;
		}
		if (get_bytes(r, h, "value", &r->headers[i].value, &given, why, cap))
			return ERR_INVAL;
	}
	r->record.headers = r->headers;
	r->record.header_count = json_array_size(list);
	return 0;
}

static int get_record(struct record_text *r, json_t *o, char *why, size_t cap)
{
	int64_t partition;
	bool given;

	if (!json_is_object(o)) {
		snprintf(why, cap, "not a JSON object");
		return ERR_INVAL;
	}
	if (get_bytes(r, o, "key", &r->record.key, &given, why, cap) || get_bytes(r, o, "value", &r->record.value, &given, why, cap))
		return ERR_INVAL;
	if (!given) {
		snprintf(why, cap, "value is missing (null is one)");
		return ERR_INVAL;
	}
	if (get_number(o, "partition", INT32_MAX, &partition, why, cap) || get_number(o, "timestamp", INT64_MAX, &r->record.timestamp, why, cap))
		return ERR_INVAL;
	r->record.partition = (int32_t)partition;
	r->record.offset = -1;
	return get_headers(r, o, why, cap);
}

int record_from_json(const char *line, size_t len, struct record_text *ret, char *ret_why, size_t why_cap)
{
	json_error_t error;
	json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	int err;

	ret->record = (struct record){.partition = -1, .offset = -1, .timestamp = -1};
	ret->owned = NULL;
	ret->owned_count = ret->owned_cap = 0;
	if (!o) {
		snprintf(ret_why, why_cap, "not a JSON object: %s", error.text);
		return ERR_INVAL;
	}
	err = get_record(ret, o, ret_why, why_cap);
	json_decref(o);
	return err;
}

void record_text_free(struct record_text *r)
{
	for (size_t i = 0; i < r->owned_count; i++)
		mem_free(r->owned[i]);
	mem_free(r->owned);
	r->owned = NULL;
	r->owned_count = r->owned_cap = 0;
}
