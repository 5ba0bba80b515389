/* lag.c: how old what a group has not read yet is: the timestamp of the first record at or behind each committed offset.
 *
 * Records are librdkafka's work: it reads one record of each lagging partition, whatever its codec or format, and skips the marks of
 * transactions. Where the committed offset is no longer there, the first record that is counts. Rows of all groups that go on at the same
 * offset of a partition are one spot, read once; spots of different partitions are read at the same time, those of one partition one after
 * the other. What has not come in time stays unknown, so that a partition without a leader does not hold up the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/group_read.h"
#include "klamm/offsets.h"
#include "klamm/progress.h"

#define WAIT_MS 5000   /* without any answer */
#define AT_ONCE 500    /* partitions that are read at the same time */
#define PATIENCE_MS 1000

/* A row that lags, and where its group goes on: what is committed, or the first offset if that is gone. */
struct behind {
	struct group_row *row;
	int64_t from;
};

/* An offset of a partition, and the rows whose groups go on there. */
struct spot {
	struct behind *rows;
	size_t count;
	bool over;                /* answered, or given up */
	rd_kafka_topic_t *handle; /* held to the end: librdkafka may lose a topic that is let go and taken again at once */
};

struct ages {
	struct cli *cli;
	rd_kafka_queue_t *queue;
	struct behind *rows; /* all that are wanted, by place and offset */
	size_t row_count;
	struct spot *spots;  /* in the same order */
	size_t spot_count;
	struct spot *round[AT_ONCE]; /* what is read now, by place */
	size_t round_count, open;    /* open: no answer yet */
	uint64_t answer_ms;          /* when the last answer came */
	int64_t now_ms;
};

static bool wanted(const struct group_row *row)
{
	return row->lag > 0 && row->committed >= 0 && row->lag_ms < 0;
}

static int place_order(const char *topic, int32_t partition, const struct group_row *row)
{
	int cmp = strcmp(topic, row->topic);

	return cmp ? cmp : (partition > row->partition) - (partition < row->partition);
}

static int row_order(const void *a, const void *b)
{
	const struct behind *x = a, *y = b;
	int cmp = place_order(x->row->topic, x->row->partition, y->row);

	return cmp ? cmp : (x->from > y->from) - (x->from < y->from);
}

/* Moves the rows up to the first offset of their partition, one request per leader; where it cannot be had reading finds it. */
static void skip_what_is_gone(struct ages *a)
{
	struct offset_spot *firsts = mem_zalloc(a->row_count * sizeof(*firsts));
	size_t n = 0;

	for (size_t i = 0; i < a->row_count; i++)
		if (!i || place_order(a->rows[i - 1].row->topic, a->rows[i - 1].row->partition, a->rows[i].row) != 0)
			firsts[n++] = (struct offset_spot){.topic = a->rows[i].row->topic, .partition = a->rows[i].row->partition, .time = OFFSETS_EARLIEST};
	if (!offsets_find(a->cli->cluster, firsts, n, PATIENCE_MS))
		for (size_t i = 0, k = 0; i < a->row_count; i++) {
			k += place_order(firsts[k].topic, firsts[k].partition, a->rows[i].row) != 0;
			if (firsts[k].offset > a->rows[i].from)
				a->rows[i].from = firsts[k].offset;
		}
	mem_free(firsts);
}

/* Puts the rows in order and those that go on together into spots. */
static void make_spots(struct ages *a)
{
	qsort(a->rows, a->row_count, sizeof(*a->rows), row_order);
	skip_what_is_gone(a);
	a->spots = mem_zalloc(a->row_count * sizeof(*a->spots));
	for (size_t i = 0; i < a->row_count; i++) {
		if (!i || row_order(&a->rows[i - 1], &a->rows[i]) != 0)
			a->spots[a->spot_count++].rows = &a->rows[i];
		a->spots[a->spot_count - 1].count++;
	}
}

static struct spot *spot_of(struct ages *a, const char *topic, int32_t partition)
{
	size_t lo = 0, hi = a->round_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int cmp = place_order(topic, partition, a->round[mid]->rows[0].row);

		if (!cmp)
			return a->round[mid];
		if (cmp < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* The age of the first record; 0 at the end: nothing but marks of transactions was left. */
static void take(struct ages *a, const rd_kafka_message_t *m)
{
	struct spot *s = m->rkt ? spot_of(a, rd_kafka_topic_name(m->rkt), m->partition) : NULL;
	rd_kafka_timestamp_type_t type;
	int64_t ms, age = 0;

	if (!s || s->over || (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF))
		return;
	if (!m->err) {
		ms = rd_kafka_message_timestamp(m, &type);
		if (ms < 0)
			return; /* a record of Kafka 0.9 */
		age = ms < a->now_ms ? a->now_ms - ms : 0;
	}
	for (size_t i = 0; i < s->count; i++)
		s->rows[i].row->lag_ms = age;
	s->over = true;
	a->answer_ms = cli_now_ms();
	a->open--;
}

/* The first spot of each partition that has one left. */
static void start_round(struct ages *a)
{
	const struct group_row *last = NULL;

	a->round_count = a->open = 0;
	for (size_t i = 0; i < a->spot_count && a->round_count < AT_ONCE; i++) {
		struct spot *s = &a->spots[i];
		const struct group_row *row = s->rows[0].row;
		rd_kafka_topic_conf_t *conf;

		if (s->over || (last && !place_order(row->topic, row->partition, last)))
			continue;
		last = row;
		a->round[a->round_count++] = s;
		conf = rd_kafka_topic_conf_new();
		rd_kafka_topic_conf_set(conf, "auto.offset.reset", "earliest", NULL, 0);
		s->handle = rd_kafka_topic_new(a->cli->rk, row->topic, conf);
		if (s->handle && !rd_kafka_consume_start_queue(s->handle, row->partition, s->rows[0].from, a->queue))
			a->open++;
		else
			s->over = true;
	}
}

/* What has no answer by now has none for the other spots of its partition either. */
static void end_round(struct ages *a)
{
	for (size_t i = 0; i < a->round_count; i++) {
		struct spot *s = a->round[i];

		for (struct spot *n = s; !s->over && n < a->spots + a->spot_count; n++)
			if (!place_order(n->rows[0].row->topic, n->rows[0].row->partition, s->rows[0].row) && n != s)
				n->over = true;
		s->over = true;
		if (s->handle)
			rd_kafka_consume_stop(s->handle, s->rows[0].row->partition);
	}
}

/* Reads until all have answered, or none of those that are left has for a while. */
static void read_ages(struct ages *a, struct progress *bar)
{
	uint64_t done = 0;

	a->answer_ms = cli_now_ms();
	for (start_round(a); a->round_count; start_round(a)) {
		while (a->open && cli_now_ms() < a->answer_ms + WAIT_MS) {
			rd_kafka_message_t *m = rd_kafka_consume_queue(a->queue, 100);

			if (m) {
				take(a, m);
				rd_kafka_message_destroy(m);
			}
			rd_kafka_poll(a->cli->rk, 0);
			progress_step(bar, done + a->round_count - a->open);
		}
		done += a->round_count;
		end_round(a);
	}
}

void lag_read_ages(struct cli *cli, struct group_view *groups, size_t count)
{
	/* of each partition only its first record is wanted */
	const char *props[] = {"enable.partition.eof", "true", "isolation.level", "read_uncommitted", "enable.auto.commit", "false",
	                       "fetch.message.max.bytes", "16384", "queued.min.messages", "1", "fetch.wait.max.ms", "100", "reconnect.backoff.ms", "50",
	                       NULL};
	struct ages a = {.cli = cli, .now_ms = cli_wall_ms()};
	size_t cap = 0;
	struct progress bar;

	for (size_t i = 0; i < count; i++)
		for (size_t r = 0; r < groups[i].row_count; r++)
			if (wanted(&groups[i].rows[r])) {
				MEM_GROW(a.rows, cap, a.row_count + 1);
				a.rows[a.row_count++] = (struct behind){&groups[i].rows[r], groups[i].rows[r].committed};
			}
	if (a.row_count && !cli_open(cli, RD_KAFKA_CONSUMER, props)) {
		a.queue = rd_kafka_queue_new(cli->rk);
		make_spots(&a);
		progress_start(&bar, cli->json, "reading ages of groups", "places", a.spot_count);
		read_ages(&a, &bar);
		progress_end(&bar);
		for (size_t i = 0; i < a.spot_count; i++)
			if (a.spots[i].handle)
				rd_kafka_topic_destroy(a.spots[i].handle);
		rd_kafka_queue_destroy(a.queue);
	}
	mem_free(a.spots);
	mem_free(a.rows);
}
