/* log.c: formats an event and gives it to the sink. No time, no output here: those are the world's. */
#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"

#define LINE_MAX_BYTES 4096

const char *log_level_str(enum log_level level)
{
	switch (level) {
	case LOG_DEBUG: return "DEBUG";
	case LOG_INFO: return "INFO";
	case LOG_WARN: return "WARN";
	case LOG_ERROR: return "ERROR";
	}
	return "?";
}

void log_event(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list ap;

	if (level < l->min_level || !l->sink)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		text[0] = 0;
	else if ((size_t)n >= sizeof(text))
		memcpy(text + sizeof(text) - 4, "...", 4);
	/* whatever got into a value, an event stays one line */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	l->sink(l, level, subsystem, event, text);
}

static bool harmless(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '"' || *s == '\\' || *s == '=')
			return false;
	return true;
}

const char *log_quote(char *out, size_t cap, const char *text)
{
	if (cap < 8) {
		if (cap)
			out[0] = 0;
		return out;
	}
	if (!text) {
		memcpy(out, "-", 2);
		return out;
	}
	if (harmless(text) && strlen(text) < cap)
		return memcpy(out, text, strlen(text) + 1);
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	out[n++] = '"';
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		/* an escape takes four at most, then ~ " and NUL */
		if (n + 4 + 3 > cap) {
			out[n++] = '~';
			break;
		}
		if (c < ' ' || c == 0x7f) {
			out[n++] = '\\';
			out[n++] = 'x';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		} else {
			if (c == '"' || c == '\\')
				out[n++] = '\\';
			out[n++] = (char)c;
		}
	}
	out[n++] = '"';
	out[n] = 0;
	return out;
}
