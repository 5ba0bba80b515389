/* table.c: see table.h */
#include "klamm/table.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "common/base/mem.h"

#define COLUMNS_MAX 16
#define GAP 2        /* blanks between columns */
#define NARROWEST 6  /* a column of text is not cut below this */

struct cli_table {
	char *head;
	const char *names[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX], columns, rows, cap;
	char **cells;
};

/* One character at p: its bytes, and the columns it takes. Bytes that are no text count as one column each. */
static size_t character(const char *p, size_t left, size_t *ret_columns)
{
	mbstate_t state = {0};
	wchar_t wc;
	size_t n = mbrtowc(&wc, p, left, &state);
	int w;

	if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
		*ret_columns = 1;
		return 1;
	}
	w = wcwidth(wc);
	*ret_columns = w < 0 ? 1 : (size_t)w;
	return n;
}

static size_t columns_of(const char *text)
{
	size_t len = strlen(text), total = 0, w;

	for (size_t i = 0; i < len;) {
		i += character(text + i, len - i, &w);
		total += w;
	}
	return total;
}

struct cli_table *cli_table_new(const char *columns)
{
	struct cli_table *t = MEM_NEW(struct cli_table);
	char *save = NULL;

	t->head = mem_strdup(columns);
	for (char *p = strtok_r(t->head, "|", &save); p && t->columns < COLUMNS_MAX; p = strtok_r(NULL, "|", &save)) {
		t->right[t->columns] = *p == '>';
		t->names[t->columns] = p + (*p == '>');
		t->width[t->columns] = strlen(t->names[t->columns]);
		t->columns++;
	}
	return t;
}

/* A copy without control characters. */
static char *clean(const char *text)
{
	char *copy = mem_strdup(text);

	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	for (char *p = copy; *p; p++) /* C1 controls as UTF-8: c2 80 to c2 9f */
		if ((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] >= 0x80 && (unsigned char)p[1] < 0xa0)
			p[0] = p[1] = '?';
	return copy;
}

void cli_table_row(struct cli_table *t, ...)
{
	va_list ap;

	if (t->rows == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->cells = mem_realloc(t->cells, t->cap * t->columns * sizeof(*t->cells));
	}
	va_start(ap, t);
	for (size_t i = 0; i < t->columns; i++) {
		const char *text = va_arg(ap, const char *);
		char *copy = clean(text ? text : "");
		size_t w = columns_of(copy);

		t->cells[t->rows * t->columns + i] = copy;
		if (w > t->width[i])
			t->width[i] = w;
	}
	va_end(ap);
	t->rows++;
}

static size_t total_of(const struct cli_table *t, const size_t *width)
{
	size_t total = 0;

	for (size_t i = 0; i < t->columns; i++)
		total += width[i] + (i ? GAP : 0);
	return total;
}

/* Takes from the widest column of text until the line fits, or none can give more. */
static void fit(const struct cli_table *t, size_t limit, size_t *width)
{
	for (size_t total = total_of(t, width); total > limit; total--) {
		size_t widest = t->columns;

		for (size_t i = 0; i < t->columns; i++)
			if (!t->right[i] && width[i] > NARROWEST && (widest == t->columns || width[i] > width[widest]))
				widest = i;
		if (widest == t->columns)
			return;
		width[widest]--;
	}
}

/* At most limit columns of text, with dots in place of what does not fit. Returns the columns added. */
static size_t add_cut(struct str *out, const char *text, size_t limit, const char *dots)
{
	size_t len = strlen(text), at = 0, total = 0, w, n;

	if (columns_of(text) <= limit) {
		str_add(out, text);
		return columns_of(text);
	}
	for (; at < len; at += n, total += w) {
		n = character(text + at, len - at, &w);
		if (total + w + 1 > limit)
			break;
	}
	str_add_bytes(out, text, at);
	str_add(out, dots);
	return total + 1;
}

static void add_blanks(struct str *out, size_t n)
{
	while (n--)
		str_add(out, " ");
}

static void add_line(const struct cli_table *t, const char *const *cells, const size_t *width, size_t limit, const char *dots, struct str *out)
{
	struct str line;

	str_init(&line);
	for (size_t i = 0; i < t->columns; i++) {
		size_t have = columns_of(cells[i]) < width[i] ? columns_of(cells[i]) : width[i];

		if (i)
			add_blanks(&line, GAP);
		if (t->right[i])
			add_blanks(&line, width[i] - have);
		have = add_cut(&line, cells[i], width[i], dots);
		if (!t->right[i])
			add_blanks(&line, width[i] - have);
	}
	while (line.len && line.ptr[line.len - 1] == ' ')
		line.ptr[--line.len] = 0;
	if (limit)
		add_cut(out, str_cstr(&line), limit, dots);
	else
		str_add(out, str_cstr(&line));
	str_add(out, "\n");
	str_fini(&line);
}

void cli_table_render(const struct cli_table *t, size_t width, const char *dots, struct str *out)
{
	size_t widths[COLUMNS_MAX];

	memcpy(widths, t->width, sizeof(widths));
	if (width)
		fit(t, width, widths);
	add_line(t, t->names, widths, width, dots, out);
	for (size_t r = 0; r < t->rows; r++)
		add_line(t, (const char *const *)t->cells + r * t->columns, widths, width, dots, out);
}

size_t cli_terminal_width(int fd)
{
	struct winsize ws;

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &ws) || !ws.ws_col ? 80 : ws.ws_col;
}

void cli_table_print(struct cli_table *t)
{
	struct str out;

	str_init(&out);
	cli_table_render(t, cli_terminal_width(STDOUT_FILENO), strcmp(nl_langinfo(CODESET), "UTF-8") ? "~" : "…", &out);
	fwrite(str_cstr(&out), 1, out.len, stdout);
	str_fini(&out);
	cli_table_free(t);
}

void cli_table_free(struct cli_table *t)
{
	for (size_t i = 0; i < t->rows * t->columns; i++)
		mem_free(t->cells[i]);
	mem_free(t->cells);
	mem_free(t->head);
	mem_free(t);
}
