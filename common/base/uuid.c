/* uuid.c: 16 bytes <-> 22 characters of URL-safe base64 without padding. Texts that Java's decoder takes are taken: with "=="
 * behind, and with any last four bits.
 */
#include "common/base/uuid.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void uuid_format(const struct uuid *u, char out[UUID_TEXT_LEN + 1])
{
	uint32_t acc = 0;
	int bits = 0, n = 0;
	for (int i = 0; i < 16; i++) {
		acc = acc << 8 | u->b[i];
		for (bits += 8; bits >= 6; bits -= 6)
			out[n++] = digits[acc >> (bits - 6) & 63];
	}
	out[n++] = digits[acc << (6 - bits) & 63];
	out[n] = 0;
}

static int digit_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

int uuid_parse(struct slice text, struct uuid *ret_u)
{
	struct uuid u;
	uint32_t acc = 0;
	int bits = 0, n = 0;

	if (text.len == UUID_TEXT_LEN + 2 && text.ptr[UUID_TEXT_LEN] == '=' && text.ptr[UUID_TEXT_LEN + 1] == '=')
		text.len = UUID_TEXT_LEN;
	if (text.len != UUID_TEXT_LEN)
		return ERR_INVAL;
	for (size_t i = 0; i < text.len; i++) {
		int v = digit_value(text.ptr[i]);
		if (v < 0)
			return ERR_INVAL;
		acc = acc << 6 | (uint32_t)v;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			u.b[n++] = (uint8_t)(acc >> bits);
		}
	}
	*ret_u = u;
	return 0;
}

int uuid_from_random(const uint8_t bytes[16], struct uuid *ret_u)
{
	struct uuid u;
	memcpy(u.b, bytes, 16);
	/* random (version 4) as Java makes them; so it is neither zero nor one of Kafka's reserved small ids */
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	if (digits[u.b[0] >> 2] == '-')
		return ERR_AGAIN;
	*ret_u = u;
	return 0;
}
