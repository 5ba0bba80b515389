/* lag.c: how old what a group has not read yet is: the timestamp of the first record at or behind each committed offset.
 *
 * Records are librdkafka's work: it reads one record of each lagging partition, whatever its codec or format, and skips the marks of
 * transactions. Where the committed offset is no longer there, the first record that is counts. The partitions of a group are
 * read at once; what has not come in time stays unknown, so that a partition without a leader does not hold up the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/group_read.h"
#include "klamm/progress.h"

#define WAIT_MS 5000
#define AT_ONCE 500 /* partitions that are read at the same time */

struct ages {
	struct cli *cli;
	rd_kafka_queue_t *queue;
	struct group_view *group;
	size_t open; /* partitions that have not answered */
	int64_t now_ms;
};

static bool wanted(const struct group_row *row)
{
	return row->lag > 0 && row->committed >= 0 && row->lag_ms < 0;
}

/* The age of the first record; 0 at the end: nothing but marks of transactions was left. */
static void take(struct ages *a, const rd_kafka_message_t *m)
{
	struct group_row *row = m->rkt ? group_row_at(a->group, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
	rd_kafka_timestamp_type_t type;
	int64_t ms;

	if (!row || !wanted(row) || (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF))
		return;
	if (m->err) {
		row->lag_ms = 0;
	} else {
		ms = rd_kafka_message_timestamp(m, &type);
		if (ms < 0)
			return; /* a record of Kafka 0.9 */
		row->lag_ms = ms < a->now_ms ? a->now_ms - ms : 0;
	}
	a->open--;
}

/* Reads rows [first, first + count) of the group; a partition is in a group once. */
static void read_some(struct ages *a, size_t first, size_t count, uint64_t end_ms, struct progress *bar)
{
	rd_kafka_topic_t **handles = mem_zalloc(count * sizeof(rd_kafka_topic_t *));

	a->open = 0;
	for (size_t i = 0; i < count; i++) {
		struct group_row *row = &a->group->rows[first + i];
		rd_kafka_topic_conf_t *conf;

		if (!wanted(row))
			continue;
		conf = rd_kafka_topic_conf_new();
		rd_kafka_topic_conf_set(conf, "auto.offset.reset", "earliest", NULL, 0);
		handles[i] = rd_kafka_topic_new(a->cli->rk, row->topic, conf);
		if (handles[i] && !rd_kafka_consume_start_queue(handles[i], row->partition, row->committed, a->queue))
			a->open++;
	}
	while (a->open && cli_now_ms() < end_ms) {
		rd_kafka_message_t *m = rd_kafka_consume_queue(a->queue, 100);

		if (m) {
			take(a, m);
			rd_kafka_message_destroy(m);
		}
		rd_kafka_poll(a->cli->rk, 0);
		progress_step(bar, 0);
	}
	for (size_t i = 0; i < count; i++) {
		if (!handles[i])
			continue;
		rd_kafka_consume_stop(handles[i], a->group->rows[first + i].partition);
		rd_kafka_topic_destroy(handles[i]);
	}
	mem_free(handles);
}

void lag_read_ages(struct cli *cli, struct group_view *groups, size_t count)
{
	/* of each partition only its first record is wanted */
	const char *props[] = {"enable.partition.eof", "true", "isolation.level", "read_uncommitted", "enable.auto.commit", "false",
	                       "fetch.message.max.bytes", "16384", "queued.min.messages", "1", "fetch.wait.max.ms", "100", "reconnect.backoff.ms", "50",
	                       NULL};
	struct ages a = {.cli = cli, .now_ms = cli_wall_ms()};
	uint64_t end = cli_now_ms() + WAIT_MS;
	size_t lagging = 0;
	struct progress bar;

	for (size_t i = 0; i < count; i++)
		for (size_t r = 0; r < groups[i].row_count; r++)
			lagging += wanted(&groups[i].rows[r]);
	if (!lagging || cli_open(cli, RD_KAFKA_CONSUMER, props))
		return;
	a.queue = rd_kafka_queue_new(cli->rk);
	progress_start(&bar, cli->json, "reading ages of groups", "groups", count > 1 ? count : 0);
	for (size_t i = 0; i < count; i++) {
		a.group = &groups[i];
		/* each part has its time, but one that had no answer at all leaves less for the next */
		for (size_t r = 0; r < groups[i].row_count; r += AT_ONCE) {
			uint64_t began = cli_now_ms();

			read_some(&a, r, groups[i].row_count - r < AT_ONCE ? groups[i].row_count - r : AT_ONCE, end > began ? end : began + 200, &bar);
			if (!a.open)
				end += cli_now_ms() - began;
		}
		progress_step(&bar, i + 1);
	}
	progress_end(&bar);
	rd_kafka_queue_destroy(a.queue);
}
