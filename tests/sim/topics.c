/* topics.c: the topics of a run, and which partition is which index (tp). */
#include <stdio.h>

#include "common/base/check.h"
#include "tests/sim/harness.h"

struct topic *run_topic_of(struct run *r, int32_t tp)
{
	for (int32_t i = r->topic_count; i-- > 0;)
		if (tp >= r->topics[i].first_tp)
			return &r->topics[i];
	return &r->topics[0];
}

struct topic *run_topic_find(struct run *r, struct slice name)
{
	for (int32_t i = 0; i < r->topic_count; i++)
		if (r->topics[i].state != TOPIC_GONE && slice_eq_str(name, r->topics[i].name))
			return &r->topics[i];
	return NULL;
}

struct topic *run_topic_new(struct run *r, const char *name, int32_t partitions, int32_t min_isr, bool flush, bool churn)
{
	ASSERT(r->topic_count < TOPICS_MAX && partitions <= PARTITIONS_MAX);
	struct topic *t = &r->topics[r->topic_count++];
	*t = (struct topic){.state = TOPIC_WANTED, .partitions = partitions, .first_tp = r->tp_count, .min_isr = min_isr, .flush = flush, .churn = churn};
	snprintf(t->name, sizeof(t->name), "%s", name);
	r->tp_count += partitions;
	sim_note(r->w, "topic %s is wanted: %d partitions, min isr %d%s", name, partitions, min_isr, flush ? ", flush" : "");
	return t;
}
