/* progress.c: see progress.h */
#include "klamm/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "klamm/table.h"

#define QUIET_MS 500 /* work that is done sooner shows nothing */
#define EVERY_MS 100
#define BAR 24

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void progress_start(struct progress *p, bool quiet, const char *label, const char *unit, uint64_t total)
{
	const char *term = getenv("TERM");

	*p = (struct progress){.label = label, .unit = unit, .total = total, .start_ms = now_ms()};
	if (!quiet && (!term || strcmp(term, "dumb")))
		p->width = cli_terminal_width(STDERR_FILENO);
}

/* 1234567 -> "1.2M" */
static const char *count_text(uint64_t n, char *buf, size_t cap)
{
	if (n < 100000)
		snprintf(buf, cap, "%llu", (unsigned long long)n);
	else if (n < 10000000)
		snprintf(buf, cap, "%.1fk", (double)n / 1e3);
	else if (n < UINT64_C(10000000000))
		snprintf(buf, cap, "%.1fM", (double)n / 1e6);
	else
		snprintf(buf, cap, "%.1fG", (double)n / 1e9);
	return buf;
}

void progress_line(const struct progress *p, uint64_t done, uint64_t elapsed_ms, char *buf, size_t cap)
{
	char a[32], b[32], bar[BAR + 1];
	double rate = elapsed_ms ? (double)done * 1e3 / (double)elapsed_ms : 0;
	size_t limit = p->width < cap ? p->width : cap;

	count_text(done, a, sizeof(a));
	if (p->total) {
		uint64_t part = done < p->total ? done : p->total, left = p->total - part;
		size_t full = (size_t)((double)part / (double)p->total * BAR);

		memset(bar, '.', BAR);
		memset(bar, '#', full);
		bar[BAR] = 0;
		snprintf(buf, limit, "%s [%s] %3d%% %s of %s %s, %.0f s left", p->label, bar, (int)((double)part / (double)p->total * 100), a,
		         count_text(p->total, b, sizeof(b)), p->unit, rate > 0 ? (double)left / rate : 0);
	} else {
		snprintf(buf, limit, "%s: %s %s, %s/s", p->label, a, p->unit, count_text((uint64_t)rate, b, sizeof(b)));
	}
}

void progress_step(struct progress *p, uint64_t done)
{
	uint64_t now = p->width ? now_ms() : 0;
	char line[300];

	if (!p->width || now < p->start_ms + QUIET_MS || now < p->shown_ms + EVERY_MS)
		return;
	p->shown_ms = now;
	p->visible = true;
	progress_line(p, done, now - p->start_ms, line, sizeof(line));
	fprintf(stderr, "\r%s\033[K", line);
}

void progress_clear(struct progress *p)
{
	if (p->visible)
		fputs("\r\033[K", stderr);
	p->visible = false;
}

void progress_end(struct progress *p)
{
	progress_clear(p);
	p->width = 0;
}
