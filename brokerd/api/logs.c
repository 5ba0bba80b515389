/* logs.c: DescribeLogDirs, DescribeProducers: about the logs that lie on this broker, asked of their owners, one message per loop.
 *
 * Sizes of file systems are asked in a job. A directory that is offline is named with its error and nothing else.
 */
#include <stdlib.h>

#include "brokerd/api/api_priv.h"
#include "common/config/topic_config.h"

/* ---- DescribeLogDirs ---- */

struct wanted { /* a partition that the request names */
	struct slice topic;
	int32_t partition;
};
struct dirs_call {
	struct api_call *c;
	struct job job;
	struct logs_msg *msgs; /* one per loop */
	uint32_t waiting;
	bool all;
	struct wanted *wanted; /* sorted */
	size_t wanted_count;
	struct { int err; uint64_t total, free; } *space; /* per directory */
	struct kp_describe_log_dirs_response resp;
};

static int by_place(const struct slice *a, int32_t a_partition, const struct slice *b, int32_t b_partition)
{
	int c = slice_cmp(*a, *b);
	return c ? c : (a_partition > b_partition) - (a_partition < b_partition);
}

static int wanted_cmp(const void *x, const void *y)
{
	const struct wanted *a = x, *b = y;
	return by_place(&a->topic, a->partition, &b->topic, b->partition);
}

static int row_cmp(const void *x, const void *y)
{
	const struct logs_row *a = *(const struct logs_row *const *)x, *b = *(const struct logs_row *const *)y;
	return by_place(&a->topic, a->partition, &b->topic, b->partition);
}

static bool is_wanted(const struct dirs_call *s, const struct logs_row *r)
{
	struct wanted key = {r->topic, r->partition};
	return s->all || (s->wanted_count && bsearch(&key, s->wanted, s->wanted_count, sizeof(key), wanted_cmp));
}

static void fill_topics(struct dirs_call *s, struct kp_describe_log_dirs_response_results *out, const struct logs_row **rows, size_t n)
{
	struct arena *ar = &s->c->r->arena;
	struct kp_describe_log_dirs_response_results_topics *t = NULL;
	struct kp_describe_log_dirs_response_results_topics_partitions *p = ARENA_ARRAY(ar, struct kp_describe_log_dirs_response_results_topics_partitions, n + 1);
	out->topics = ARENA_ARRAY(ar, struct kp_describe_log_dirs_response_results_topics, n + 1);
	for (size_t i = 0; i < n; i++, p++) {
		if (!t || !slice_eq(t->name, rows[i]->topic)) {
			t = &out->topics[out->topics_count++];
			kp_describe_log_dirs_response_results_topics_init(t);
			t->name = slice_make(arena_strndup(ar, (const char *)rows[i]->topic.ptr, rows[i]->topic.len), rows[i]->topic.len);
			t->partitions = p;
		}
		kp_describe_log_dirs_response_results_topics_partitions_init(p);
		p->partition_index = rows[i]->partition;
		p->partition_size = (int64_t)rows[i]->bytes;
		p->offset_lag = rows[i]->lag;
		t->partitions_count++;
	}
}

static void dirs_answer(struct dirs_call *s)
{
	struct api *a = s->c->api;
	const struct log_dirs *dirs = a->services->dirs;
	struct arena *ar = &s->c->r->arena;
	size_t total = 0;
	for (uint32_t i = 0; i < a->shard_count; i++)
		total += s->msgs[i].count;
	const struct logs_row **rows = ARENA_ARRAY(ar, const struct logs_row *, total + 1);
	s->resp.results = ARENA_ARRAY(ar, struct kp_describe_log_dirs_response_results, dirs->count + 1);
	for (uint32_t d = 0; d < dirs->count; d++) {
		struct log_dir *dir = dirs->dirs[d];
		struct kp_describe_log_dirs_response_results *out = &s->resp.results[s->resp.results_count++];
		kp_describe_log_dirs_response_results_init(out);
		out->log_dir = slice_str(dir->path);
		if (atomic_load(&dir->offline) || s->space[d].err) {
			out->error_code = KERR_KAFKA_STORAGE_ERROR;
			continue;
		}
		out->total_bytes = (int64_t)s->space[d].total;
		out->usable_bytes = (int64_t)s->space[d].free;
		size_t n = 0;
		for (uint32_t i = 0; i < a->shard_count; i++)
			for (uint32_t k = 0; k < s->msgs[i].count; k++)
				if (s->msgs[i].rows[k].dir == dir && is_wanted(s, &s->msgs[i].rows[k]))
					rows[n++] = &s->msgs[i].rows[k];
		if (n > 1)
			qsort(rows, n, sizeof(*rows), row_cmp);
		fill_topics(s, out, rows, n);
	}
	for (uint32_t i = 0; i < a->shard_count; i++)
		arena_fini(&s->msgs[i].arena);
	api_reply(s->c, &s->resp);
}

static void space_run(struct job *j)
{
	struct dirs_call *s = CONTAINER_OF(j, struct dirs_call, job);
	const struct api *a = s->c->api;
	for (uint32_t d = 0; d < a->services->dirs->count; d++)
		s->space[d].err = log_dir_space_now(a->services->dirs->dirs[d], &s->space[d].total, &s->space[d].free);
}

static void step(struct dirs_call *s)
{
	if (--s->waiting == 0)
		dirs_answer(s);
}

static void space_done(struct job *j) { step(CONTAINER_OF(j, struct dirs_call, job)); }
static void logs_done(struct logs_msg *m) { step(m->ctx); }

void api_do_describe_log_dirs(struct api_call *c)
{
	const struct kp_describe_log_dirs_request *q = c->request;
	struct api *a = c->api;
	struct arena *ar = &c->r->arena;
	struct dirs_call *s = ARENA_NEW(ar, struct dirs_call);
	uint32_t dirs = a->services->dirs->count;
	s->c = c;
	s->all = q->topics_count < 0;
	kp_describe_log_dirs_response_init(&s->resp);
	size_t wanted = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		wanted += (size_t)q->topics[i].partitions_count;
	s->wanted = ARENA_ARRAY(ar, struct wanted, wanted + 1);
	for (int32_t i = 0; i < q->topics_count; i++)
		for (int32_t k = 0; k < q->topics[i].partitions_count; k++)
			s->wanted[s->wanted_count++] = (struct wanted){q->topics[i].topic, q->topics[i].partitions[k]};
	if (s->wanted_count > 1)
		qsort(s->wanted, s->wanted_count, sizeof(*s->wanted), wanted_cmp);
	s->space = arena_zalloc(ar, sizeof(*s->space) * (dirs + 1));
	s->msgs = ARENA_ARRAY(ar, struct logs_msg, a->shard_count);
	s->waiting = a->shard_count + 1;
	for (uint32_t i = 0; i < a->shard_count; i++) {
		s->msgs[i].shard = a->shards[i];
		s->msgs[i].done = logs_done;
		s->msgs[i].ctx = s;
		shard_post_logs(&s->msgs[i]);
	}
	s->job.run = space_run;
	s->job.done = space_done;
	job_submit(a->loop, &s->job, JOB_IO);
}

/* ---- DescribeProducers ---- */

struct producers_call {
	struct api_call *c;
	struct producers_msg *msgs; /* one per loop; those without questions are not sent */
	uint32_t waiting, total;
	struct producers_question **asked; /* per partition of the request, in order; NULL: answered already */
	struct kp_describe_producers_response resp;
};

static void producers_answer(struct producers_call *s)
{
	struct api *a = s->c->api;
	struct arena *ar = &s->c->r->arena;
	uint32_t n = 0;
	for (int32_t i = 0; i < s->resp.topics_count; i++)
		for (int32_t k = 0; k < s->resp.topics[i].partitions_count; k++, n++) {
			struct kp_describe_producers_response_topics_partitions *out = &s->resp.topics[i].partitions[k];
			const struct producers_question *q = s->asked[n];
			if (!q)
				continue;
			out->error_code = q->error;
			out->active_producers_count = (int32_t)q->count;
			out->active_producers = ARENA_ARRAY(ar, struct kp_describe_producers_response_topics_partitions_active_producers, q->count + 1);
			for (uint32_t x = 0; x < q->count; x++) {
				const struct log_producer *from = &q->rows[x];
				out->active_producers[x] = (struct kp_describe_producers_response_topics_partitions_active_producers){
					.producer_id = from->producer_id, .producer_epoch = from->epoch, .last_sequence = from->last_sequence, .last_timestamp = from->last_timestamp,
					.coordinator_epoch = from->coordinator_epoch, .current_txn_start_offset = from->current_txn_first_offset};
			}
		}
	for (uint32_t i = 0; i < a->shard_count; i++)
		if (s->msgs[i].question_count) {
			arena_fini(&s->msgs[i].arena);
			image_unref(s->msgs[i].image);
		}
	api_reply(s->c, &s->resp);
}

static void producers_done(struct producers_msg *m)
{
	struct producers_call *s = m->ctx;
	if (--s->waiting == 0)
		producers_answer(s);
}

static int16_t topic_error(struct api_call *c, struct slice name, const struct image_topic *t, struct slice *ret_message)
{
	struct str why = {0};
	int16_t error = KERR_NONE;
	if (topic_name_check(name, &why)) {
		error = KERR_INVALID_TOPIC_EXCEPTION;
		*ret_message = slice_make(arena_strndup(&c->r->arena, why.ptr, why.len), why.len);
	} else if (!t) {
		error = KERR_UNKNOWN_TOPIC_OR_PARTITION;
		*ret_message = slice_str("This server does not host this topic-partition.");
	}
	str_fini(&why);
	return error;
}

static void question(struct producers_call *s, const struct image_topic *t, int32_t partition, struct kp_describe_producers_response_topics_partitions *out)
{
	if (!out->error_code && !image_topic_partition(t, partition))
		out->error_code = KERR_UNKNOWN_TOPIC_OR_PARTITION;
	if (!out->error_code) {
		struct producers_msg *m = &s->msgs[api_owner(s->c->api, t, partition)];
		s->asked[s->total] = &m->questions[m->question_count];
		m->questions[m->question_count++] = (struct producers_question){.topic = t, .partition = partition};
	}
	s->total++;
}

void api_do_describe_producers(struct api_call *c)
{
	const struct kp_describe_producers_request *q = c->request;
	struct api *a = c->api;
	struct arena *ar = &c->r->arena;
	struct producers_call *s = ARENA_NEW(ar, struct producers_call);
	size_t total = 0;
	for (int32_t i = 0; i < q->topics_count; i++)
		total += (size_t)q->topics[i].partition_indexes_count;
	s->c = c;
	s->asked = ARENA_ARRAY(ar, struct producers_question *, total + 1);
	s->msgs = ARENA_ARRAY(ar, struct producers_msg, a->shard_count);
	for (uint32_t i = 0; i < a->shard_count; i++)
		s->msgs[i] = (struct producers_msg){.shard = a->shards[i], .questions = ARENA_ARRAY(ar, struct producers_question, total + 1), .done = producers_done, .ctx = s};
	kp_describe_producers_response_init(&s->resp);
	s->resp.topics = ARENA_ARRAY(ar, struct kp_describe_producers_response_topics, (size_t)q->topics_count + 1);
	s->resp.topics_count = q->topics_count;
	for (int32_t i = 0; i < q->topics_count; i++) {
		const struct kp_describe_producers_request_topics *in = &q->topics[i];
		struct kp_describe_producers_response_topics *o = &s->resp.topics[i];
		const struct image_topic *t = image_find_topic(c->image, in->name);
		struct slice message = {NULL, 0};
		int16_t error = topic_error(c, in->name, t, &message);
		kp_describe_producers_response_topics_init(o);
		o->name = in->name;
		o->partitions_count = in->partition_indexes_count;
		o->partitions = ARENA_ARRAY(ar, struct kp_describe_producers_response_topics_partitions, (size_t)in->partition_indexes_count + 1);
		for (int32_t k = 0; k < in->partition_indexes_count; k++) {
			kp_describe_producers_response_topics_partitions_init(&o->partitions[k]);
			o->partitions[k].partition_index = in->partition_indexes[k];
			o->partitions[k].error_code = error;
			o->partitions[k].error_message = message;
			question(s, t, in->partition_indexes[k], &o->partitions[k]);
		}
	}
	for (uint32_t i = 0; i < a->shard_count; i++)
		s->waiting += s->msgs[i].question_count > 0;
	if (!s->waiting) {
		producers_answer(s);
		return;
	}
	for (uint32_t i = 0, left = s->waiting; left && i < a->shard_count; i++) {
		if (!s->msgs[i].question_count)
			continue;
		left--;
		s->msgs[i].image = image_ref(c->image);
		shard_post_producers(&s->msgs[i]);
	}
}
