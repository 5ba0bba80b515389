/* load.h: what load.c (a directory) and recovery.c (its segments) share while a partition is loaded, in one job. */
#pragma once

#include "brokerd/log/log_priv.h"
#include "common/base/str.h"

struct loading {
	const struct log_open *o;
	const char *path;
	struct log_core *core;
	bool clean;
	bool made;                 /* there was no segment: the log begins here */
	int64_t recovery_point;
	bool prev_scanned;
	bool changed;              /* segments or bytes were removed */
	size_t rebuilt_from;       /* first segment whose indexes were made anew; SIZE_MAX none */
	struct str index_text, time_text;
};

/* Loads core->segs, which hold base offsets, sizes and open .log files. */
MUST_CHECK int load_segments(struct loading *ld);
/* Reads .index into s->index. */
MUST_CHECK int segment_load_index_now(struct env *env, const char *path, struct segment *s, uint64_t bytes_max, uint64_t *ret_pos);
