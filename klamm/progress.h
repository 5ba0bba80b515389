/* progress.h: a bar on standard error for work that takes a while. Only on a terminal, never with --json; gone when the work is done. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	const char *label;  /* "reading t" */
	const char *unit;   /* "records" */
	uint64_t total;     /* 0 = unknown: no bar, a count */
	uint64_t start_ms, shown_ms;
	size_t width;       /* columns; 0 = silent */
	bool visible;
};

/* quiet = the caller's --json. Nothing is shown before half a second has passed. */
void progress_start(struct progress *p, bool quiet, const char *label, const char *unit, uint64_t total);
void progress_step(struct progress *p, uint64_t done);
void progress_end(struct progress *p); /* wipes the line */
/* Wipes the line for a message that is printed next; the bar comes back by itself. */
void progress_clear(struct progress *p);

/* The line for so much done after so long; fits in width columns. Pure. */
void progress_line(const struct progress *p, uint64_t done, uint64_t elapsed_ms, char *buf, size_t cap);
