/* epochs.c: the leader-epoch cache. See epochs.h. */
#include "brokerd/log/epochs.h"

#include <stdlib.h>
#include <string.h>

#include "brokerd/log/checkpoint.h"
#include "common/base/mem.h"

void epochs_fini(struct epochs *e)
{
	mem_free(e->entries);
	*e = (struct epochs){0};
}

bool epochs_assign(struct epochs *e, int32_t epoch, int64_t start_offset)
{
	if (epoch < 0)
		return false;
	if (e->count) {
		const struct epoch_entry *last = &e->entries[e->count - 1];
		if (epoch == last->epoch && start_offset >= last->start_offset)
			return false;
	}
	/* What contradicts the new entry was never true here: a reign without a record, or one that was truncated away. */
	size_t keep = e->count;
	while (keep > 0 && (e->entries[keep - 1].epoch >= epoch || e->entries[keep - 1].start_offset >= start_offset))
		keep--;
	e->count = keep;
	MEM_GROW(e->entries, e->cap, keep + 1);
	e->entries[e->count++] = (struct epoch_entry){epoch, start_offset};
	return true;
}

bool epochs_truncate_from_end(struct epochs *e, int64_t end_offset)
{
	size_t before = e->count;

	while (e->count > 0 && e->entries[e->count - 1].start_offset >= end_offset)
		e->count--;
	return e->count != before;
}

bool epochs_truncate_from_start(struct epochs *e, int64_t start_offset)
{
	size_t covers = 0;

	if (e->count == 0 || e->entries[0].start_offset >= start_offset)
		return false;
	while (covers + 1 < e->count && e->entries[covers + 1].start_offset <= start_offset)
		covers++;
	memmove(e->entries, e->entries + covers, (e->count - covers) * sizeof(*e->entries));
	e->count -= covers;
	e->entries[0].start_offset = start_offset;
	return true;
}

int32_t epochs_latest(const struct epochs *e)
{
	return e->count ? e->entries[e->count - 1].epoch : -1;
}

void epochs_lookup(const struct epochs *e, int32_t epoch, int64_t log_end_offset, int32_t *ret_epoch, int64_t *ret_end)
{
	*ret_epoch = -1;
	*ret_end = -1;
	if (epoch < 0 || e->count == 0 || epoch > epochs_latest(e))
		return;
	if (epoch == epochs_latest(e)) {
		*ret_epoch = epoch;
		*ret_end = log_end_offset;
		return;
	}
	if (epoch < e->entries[0].epoch) {
		*ret_epoch = epoch;
		*ret_end = e->entries[0].start_offset;
		return;
	}
	size_t i = 0;
	while (e->entries[i + 1].epoch <= epoch)
		i++;
	*ret_epoch = e->entries[i].epoch;
	*ret_end = e->entries[i + 1].start_offset;
}

int32_t epochs_at(const struct epochs *e, int64_t offset)
{
	for (size_t i = e->count; i-- > 0;)
		if (e->entries[i].start_offset <= offset)
			return e->entries[i].epoch;
	return -1;
}

void epochs_format(const struct epochs *e, struct str *out)
{
	str_printf(out, "0\n%zu\n", e->count);
	for (size_t i = 0; i < e->count; i++)
		str_printf(out, "%d %lld\n", e->entries[i].epoch, (long long)e->entries[i].start_offset);
}

static int epoch_line(void *ctx, char **fields)
{
	struct epochs *e = ctx;
	int32_t epoch;
	int64_t start;

	if (str_to_i32(fields[0], &epoch) || str_to_i64(fields[1], &start) || epoch < 0 || start < 0)
		return ERR_CORRUPT;
	if (e->count && (epoch <= e->entries[e->count - 1].epoch || start <= e->entries[e->count - 1].start_offset)) {
		/* Kafka's own files may hold an epoch without records: the later entry is the true one. */
		if (!epochs_assign(e, epoch, start))
			return ERR_CORRUPT;
		return 0;
	}
	MEM_GROW(e->entries, e->cap, e->count + 1);
	e->entries[e->count++] = (struct epoch_entry){epoch, start};
	return 0;
}

int epochs_parse(struct epochs *e, const char *text)
{
	e->count = 0;
	int err = checkpoint_parse(text, 2, epoch_line, e);
	if (err)
		e->count = 0;
	return err;
}
