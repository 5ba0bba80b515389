/* reset_plan.h: where a group's offsets go: the arithmetic of group reset-offsets, and its CSV. Pure. */
#pragma once

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"

enum reset_to {
	RESET_NONE,
	RESET_EARLIEST,
	RESET_LATEST,
	RESET_OFFSET,   /* value */
	RESET_TIME,     /* value: ms; the first record at or after it, else the end */
	RESET_SHIFT,    /* committed + value */
	RESET_CURRENT,  /* what is committed, within what there is */
	RESET_FILE,     /* as given per partition */
};

struct reset_row {
	const char *topic;
	int32_t partition;
	int64_t current;        /* committed, -1: none */
	int64_t first, end;     /* what there is; -1: not known */
	int64_t at_time;        /* RESET_TIME: the broker's answer, -1: no record that late */
	int64_t given;          /* RESET_FILE */
	int64_t wanted;         /* result, before it was brought into [first, end] */
	int64_t next;           /* result */
	bool absent;            /* there is no such partition */
	const char *problem;    /* why this partition cannot be reset; NULL = it can */
};

/* Sets wanted, next, problem. */
void reset_plan(enum reset_to to, int64_t value, struct reset_row *row);

/* One line of CSV: topic,partition,offset or group,topic,partition,offset (as kafka-consumer-groups writes and reads them); fields may be
 * "quoted". group NULL: none given. Strings are cut out of line. ERR_INVAL: none of these. */
MUST_CHECK int reset_csv_line(char *line, char **ret_group, char **ret_topic, int32_t *ret_partition, int64_t *ret_offset);
