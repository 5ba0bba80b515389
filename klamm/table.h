/* table.h: columns of text for people.
 *
 * On a terminal the lines fit its width: columns of text are shortened at their end (… last), the widest first; numbers (right-aligned
 * columns) stay whole as long as anything else can give way. Elsewhere nothing is shortened. Control characters in
 * cells are shown as '?': names come from others and must not drive a terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/str.h"

struct cli_table;
/* Columns separated by '|'; a leading '>' right-aligns. */
struct cli_table *cli_table_new(const char *columns);
void cli_table_row(struct cli_table *t, ...) __attribute__((sentinel)); /* const char * per column (NULL = ""), then NULL */
/* The table as lines of at most width columns (0 = any); dots = "…", or "~" where that cannot be shown. */
void cli_table_render(const struct cli_table *t, size_t width, const char *dots, struct str *out);
/* Prints to stdout, for its terminal if it is one, and frees. */
void cli_table_print(struct cli_table *t);
void cli_table_free(struct cli_table *t); /* without printing */

/* Columns of the terminal that fd is; 0 if it is none. */
size_t cli_terminal_width(int fd);
