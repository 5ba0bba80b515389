/* log.h: the daemons' event log: one line an event:
 *   2026-11-20T12:00:00.123Z INFO  replica  isr.shrink  topic=t partition=3 isr=1,2
 * The sink is the world's (stderr in os, the trace in sim). common/ and the pure cores never log: the daemon logs once.
 * Values with blanks or quotes are quoted by the writer of fmt (use LOGQ for foreign text).
 */
#pragma once

#include <stdbool.h>

#include <stddef.h>

#include "common/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct logger {
	enum log_level min_level;
	/* Thread: any; text is one line without newline. */
	void (*sink)(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *kv);
	void *ctx;
};

void log_event(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *fmt, ...) PRINTF_LIKE(5, 6);
#define LOG_AT(l, level, sub, ev, ...) \
	do { \
		if ((level) >= (l)->min_level) \
			log_event((l), (level), (sub), (ev), __VA_ARGS__); \
	} while (0)
/* Foreign text as a value of a pair: as it is when harmless, else "quoted", with \xNN for control bytes; cut at cap - 1 bytes
 * with a trailing ~. text NULL gives "-". Returns out. */
const char *log_quote(char *out, size_t cap, const char *text);
#define LOGQ(text) log_quote((char[192]){0}, 192, (text))
/* "DEBUG", "INFO", "WARN", "ERROR" */
const char *log_level_str(enum log_level level);
