/* epochs.h: the leader-epoch cache of a log: which leader epoch began at which offset (facts/ondisk.md 5, replication.md 4).
 *
 * Entries are strictly increasing in epoch and in offset. Pure; the file is text made and parsed here, written by others.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"
#include "common/base/str.h"

struct epoch_entry {
	int32_t epoch;
	int64_t start_offset;
};
struct epochs {
	struct epoch_entry *entries;
	size_t count, cap;
};

void epochs_fini(struct epochs *e);
/* A batch or a reign of this epoch begins at offset. True if an entry was made (the file is stale). */
bool epochs_assign(struct epochs *e, int32_t epoch, int64_t start_offset);
bool epochs_truncate_from_end(struct epochs *e, int64_t end_offset);     /* drops entries with start >= end_offset */
bool epochs_truncate_from_start(struct epochs *e, int64_t start_offset); /* the entry that covers start_offset now starts there */
int32_t epochs_latest(const struct epochs *e);                           /* -1 none */
/* OffsetForLeaderEpoch. */
void epochs_lookup(const struct epochs *e, int32_t epoch, int64_t log_end_offset, int32_t *ret_epoch, int64_t *ret_end);
int32_t epochs_at(const struct epochs *e, int64_t offset);
void epochs_format(const struct epochs *e, struct str *out);
MUST_CHECK int epochs_parse(struct epochs *e, const char *text); /* ERR_CORRUPT: e is left empty */
