/* writeback.c: see writeback.h */
#include "brokerd/log/writeback.h"

#include "brokerd/log/log_priv.h"

void writeback_init(struct writeback *wb, uint64_t budget)
{
	*wb = (struct writeback){.budget = budget};
	list_init(&wb->dirty);
}

static void take_out(struct segment *seg)
{
	if (seg->writeback)
		seg->writeback->bytes -= seg->bytes_dirty;
	seg->writeback = NULL;
	seg->bytes_dirty = 0;
	list_remove(&seg->dirty_link);
}

void writeback_fini(struct writeback *wb)
{
	while (!list_empty(&wb->dirty))
		take_out(LIST_ENTRY(wb->dirty.next, struct segment, dirty_link));
}

static void ask(struct writeback *wb, struct segment *seg)
{
	file_writeback(seg->log_file, seg->bytes_written_back, seg->bytes - seg->bytes_written_back);
	if (wb)
		wb->asked++;
	writeback_forget(seg);
}

void writeback_wrote(struct writeback *wb, struct segment *seg)
{
	uint64_t dirty = seg->bytes - seg->bytes_written_back;

	if (dirty >= WRITEBACK_BYTES) {
		ask(wb, seg);
		return;
	}
	if (!wb)
		return;
	if (!seg->writeback) {
		seg->writeback = wb;
		list_push_back(&wb->dirty, &seg->dirty_link);
	}
	wb->bytes += dirty - seg->bytes_dirty;
	seg->bytes_dirty = dirty;
	while (wb->bytes > wb->budget)
		ask(wb, LIST_ENTRY(wb->dirty.next, struct segment, dirty_link));
}

void writeback_forget(struct segment *seg)
{
	seg->bytes_written_back = seg->bytes;
	take_out(seg);
}
