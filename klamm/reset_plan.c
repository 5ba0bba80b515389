/* reset_plan.c: see reset_plan.h */
#include "klamm/reset_plan.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/str.h"

static int64_t goal(enum reset_to to, int64_t value, struct reset_row *row)
{
	int64_t shifted;

	switch (to) {
	case RESET_EARLIEST: return row->first;
	case RESET_LATEST: return row->end;
	case RESET_OFFSET: return value;
	case RESET_TIME: return row->at_time >= 0 ? row->at_time : row->end;
	case RESET_CURRENT: return row->current >= 0 ? row->current : row->end;
	case RESET_FILE: return row->given;
	case RESET_SHIFT:
		if (row->current < 0) {
			row->problem = "nothing is committed that could be shifted";
			return 0;
		}
		return __builtin_add_overflow(row->current, value, &shifted) ? (value < 0 ? row->first : row->end) : shifted;
	default: row->problem = "no destination"; return 0;
	}
}

void reset_plan(enum reset_to to, int64_t value, struct reset_row *row)
{
	row->problem = NULL;
	row->wanted = row->next = -1;
	if (row->first < 0 || row->end < 0) {
		row->problem = "there is no such partition, or it has no leader";
		return;
	}
	row->wanted = goal(to, value, row);
	if (row->problem)
		return;
	row->next = row->wanted < row->first ? row->first : row->wanted > row->end ? row->end : row->wanted;
}

/* The next field of *p; ends it and moves *p behind, or to NULL at the end of the line. */
static char *field(char **p)
{
	char *start = *p, *out;

	if (*start != '"') {
		char *comma = strchr(start, ',');

		*p = comma ? comma + 1 : NULL;
		if (comma)
			*comma = 0;
		return start;
	}
	out = ++start;
	for (char *in = start;; in++) {
		if (!*in)
			return NULL; /* the quote is not closed */
		if (*in == '"' && *++in != '"') {
			if (*in && *in != ',')
				return NULL;
			*p = *in ? in + 1 : NULL;
			*out = 0;
			return start;
		}
		*out++ = *in; /* "" stands for " */
	}
}

int reset_csv_line(char *line, char **ret_group, char **ret_topic, int32_t *ret_partition, int64_t *ret_offset)
{
	char *fields[4], *p = line;
	int n = 0;

	line[strcspn(line, "\r\n")] = 0;
	for (; p && n < 4; n++) {
		fields[n] = field(&p);
		if (!fields[n])
			return ERR_INVAL;
	}
	if (p || n < 3)
		return ERR_INVAL;
	*ret_group = n == 4 ? fields[0] : NULL;
	*ret_topic = fields[n - 3];
	if (!**ret_topic || str_to_i32(fields[n - 2], ret_partition) || str_to_i64(fields[n - 1], ret_offset) || *ret_partition < 0 || *ret_offset < 0)
		return ERR_INVAL;
	return 0;
}
