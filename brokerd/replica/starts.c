/* starts.c: log starts that followers took over, and the checkpoint files.
 *
 * DeleteRecords is answered when every live replica begins at the new start. A follower says so by its fetch; were its start in memory only, a crash of
 * everybody could make it lead with what was deleted. So it names a start only when that stands in its files: as the base of the first segment, or in the
 * checkpoint. One question to the control loop at a time; starts that move meanwhile go with the next.
 */
#include "brokerd/replica/fetcher_priv.h"
#include "brokerd/replica/shard_priv.h"

int64_t partition_filed_start(const struct partition *p)
{
	int64_t start = log_start_offset(p->log), base = log_first_segment_base(p->log), filed = p->start_filed > base ? p->start_filed : base;
	return start < filed ? start : filed;
}

static void on_control(struct msg *m)
{
	struct shard_starts *q = CONTAINER_OF(m, struct shard_starts, msg);
	const struct shard_host *h = q->shard->init.host;
	h->file_starts(h->ctx, q);
}

static void ask(struct shard *s)
{
	if (s->starts_out || list_empty(&s->starts_due) || s->stopping)
		return;
	for (struct list *it; (it = list_pop_front(&s->starts_due));) {
		struct partition *p = LIST_ENTRY(it, struct partition, starts_link);
		if (!partition_is_open(p))
			continue;
		p->start_asked = log_start_offset(p->log);
		list_push_back(&s->starts_asked, &p->starts_link);
	}
	s->starts_out = true;
	s->starts.shard = s;
	s->starts.msg.deliver = on_control;
	loop_post(s->init.control, &s->starts.msg);
}

static void returned(struct msg *m)
{
	struct shard *s = CONTAINER_OF(m, struct shard_starts, msg)->shard;
	shard_activate(s);
	s->starts_out = false;
	for (struct list *it; (it = list_pop_front(&s->starts_asked));) {
		struct partition *p = LIST_ENTRY(it, struct partition, starts_link);
		p->start_filed = p->start_asked > p->start_filed ? p->start_asked : p->start_filed;
		if (!partition_is_open(p))
			continue;
		fetcher_start_filed(p);
		starts_file(p);
	}
	ask(s);
}

void shard_starts_filed(struct shard_starts *q)
{
	q->msg.deliver = returned;
	loop_post(q->shard->loop, &q->msg);
}

void starts_file(struct partition *p)
{
	struct shard *s = p->shard;
	if (!s->init.host->file_starts) {
		p->start_filed = log_start_offset(p->log);
		return;
	}
	if (partition_filed_start(p) == log_start_offset(p->log) || !list_empty(&p->starts_link))
		return;
	list_push_back(&s->starts_due, &p->starts_link);
	ask(s);
}
