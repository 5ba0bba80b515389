/* group_read.h: what a consumer group is and where it stands: coordinator, members, committed offsets, ends, lag. */
#pragma once

#include <stdint.h>

#include "klamm/cluster.h"

struct group_member {
	const char *id, *instance_id; /* instance_id NULL: not static */
	const char *client_id, *host;
	int partition_count;
};

/* One partition that the group has committed to or is assigned. */
struct group_row {
	const char *topic;
	int32_t partition;
	int64_t committed; /* -1: nothing committed */
	const char *metadata;
	int64_t end;       /* -1: not known (no such topic, no leader) */
	int64_t lag;       /* records; -1: not known */
	int64_t lag_ms;    /* age of the first uncommitted record, 0 when there is none; -1: not known */
	const struct group_member *member; /* whose it is now, or NULL */
};

struct group_view {
	const char *name, *state, *protocol_type, *protocol;
	int32_t coordinator;
	struct group_member *members;
	int member_count;
	struct group_row *rows; /* by topic and partition */
	size_t row_count, row_cap;
	bool committed_read;
};

struct progress;

/* Both of the following for many groups, of which name and coordinator (or -1) are set: groups of one coordinator are asked about together. Exit
 * code (said). */
MUST_CHECK int group_read_many(struct cluster *c, struct group_view *groups, size_t count, struct progress *bar);
/* State, members, assignments: DescribeGroups. coordinator = whom to ask first, -1: not known. A group that does not exist has the state
 * "Dead". Exit code (said). */
MUST_CHECK int group_read(struct cluster *c, const char *name, int32_t coordinator, struct group_view *ret);
/* Adds the committed offsets: OffsetFetch. Exit code (said). */
MUST_CHECK int group_read_committed(struct cluster *c, struct group_view *g);
/* Ends and lags in records of all rows of these groups, one request per leader. Exit code (said). */
MUST_CHECK int group_read_ends(struct cluster *c, struct group_view *groups, size_t count);
struct group_row *group_row_at(struct group_view *g, const char *topic, int32_t partition); /* NULL: none */
struct group_row *group_row_add(struct group_view *g, const char *topic, int32_t partition);
void group_sort(struct group_view *g);
void group_free(struct group_view *g);
/* Whether nobody is in it, so that offsets may be changed: Empty, or Dead (never used). */
bool group_idle(const struct group_view *g);

/* lag.c: fills lag_ms of the rows that lag, by reading the first record behind each committed offset. What has not come within some
 * seconds stays unknown. */
void lag_read_ages(struct cli *cli, struct group_view *groups, size_t count);
