/* kerr.c: names and meanings of Kafka's error codes. Codes are dense from -1; the table is indexed by code + 1. */
#include "common/wire/kerr.h"

#include <stddef.h>

struct kerr_row {
	const char *name, *message;
	bool retriable;
};

static const struct kerr_row rows[] = {
#define KERR_ROW(name, code, retriable, meaning) [(code) + 1] = {#name, meaning, retriable},
	KERR_TABLE(KERR_ROW)
#undef KERR_ROW
};

static const struct kerr_row *find(int16_t code)
{
	static const struct kerr_row none = {"UNKNOWN_ERROR_CODE", "", false};
	if (code < -1 || (size_t)(code + 1) >= sizeof(rows) / sizeof(rows[0]) || !rows[code + 1].name)
		return &none;
	return &rows[code + 1];
}

const char *kerr_name(int16_t code)
{
	return find(code)->name;
}

const char *kerr_message(int16_t code)
{
	return find(code)->message;
}

bool kerr_retriable(int16_t code)
{
	return find(code)->retriable;
}

bool kerr_known(int16_t code)
{
	const struct kerr_row *r = find(code);
	return r >= rows && r < rows + sizeof(rows) / sizeof(rows[0]);
}
