/* convert.c: answers to Fetch below version 4: records of format v2 made message sets of format 0 or 1 (fetch.h, brokerd/log/downconvert.h).
 *
 * Thread: the caller's loop; reading and converting is a job, which owns the call until it is done.
 */
#include "brokerd/fetch/fetch.h"
#include "brokerd/log/downconvert.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

#define DECOMPRESSED_MAX ((uint64_t)128 << 20) /* of one batch */

typedef struct kp_fetch_response_responses_partitions part;

struct converting {
	struct job job;
	struct fetch_call *call;
	void (*done)(struct fetch_call *c);
};

static int16_t refused(int err)
{
	switch (err) {
	case LOG_ERR_BAD_CODEC: return KERR_UNSUPPORTED_COMPRESSION_TYPE;
	case ERR_LIMIT: return KERR_MESSAGE_TOO_LARGE;
	case ERR_IO: return KERR_NOT_LEADER_OR_FOLLOWER; /* what a storage error is to these versions */
	default: return KERR_CORRUPT_MESSAGE;
	}
}

/* The range of the log, as bytes. */
static int read_range(const struct chain_item *it, struct buf **ret_b, size_t *ret_len)
{
	struct buf *b = buf_try_new(it->len);
	if (!b)
		return ERR_LIMIT;
	int err = file_read_now(it->file, it->pos, b->data, it->len, ret_len);
	if (!err && it->generation != file_generation(it->file))
		err = ERR_IO; /* it was cut or replaced meanwhile (protocol.md G4): the client asks again */
	if (err) {
		buf_unref(b);
		return err == ERR_LIMIT ? err : ERR_IO;
	}
	*ret_b = b;
	return 0;
}

static int convert(part *p, const struct downconvert *how)
{
	struct buf *b = NULL;
	size_t len = 0;
	struct str out;
	int err = read_range(p->records.chain->head, &b, &len);
	if (err)
		return err;
	str_init(&out);
	err = log_downconvert(slice_make(b->data, len), how, &out);
	buf_unref(b);
	chain_clear(p->records.chain);
	if (!err && out.len) {
		b = buf_new(out.len);
		memcpy(b->data, out.ptr, out.len);
		chain_add_buf(p->records.chain, b, 0, out.len);
	}
	str_fini(&out);
	return err;
}

/* Sessions do not exist below version 7: the answer has the partitions of the request, in its order. */
static void run(struct job *j)
{
	struct fetch_call *c = CONTAINER_OF(j, struct converting, job)->call;
	const struct kp_fetch_request *q = c->request;
	int32_t qt = 0, qp = -1;
	for (int32_t i = 0; i < c->response.responses_count; i++) {
		for (int32_t k = 0; k < c->response.responses[i].partitions_count; k++) {
			part *p = &c->response.responses[i].partitions[k];
			for (qp++; qt < q->topics_count && qp >= q->topics[qt].partitions_count; qp = 0)
				qt++;
			if (!p->records.chain || qt >= q->topics_count)
				continue;
			const struct kp_fetch_request_topics_partitions *asked = &q->topics[qt].partitions[qp];
			struct downconvert how = {.magic = c->version < 2 ? 0 : 1, .from_offset = asked->fetch_offset, .decompressed_max = DECOMPRESSED_MAX,
				.bytes_max = asked->partition_max_bytes > 0 ? (uint64_t)asked->partition_max_bytes : 0};
			int err = convert(p, &how);
			if (!err && p->records.chain->bytes)
				continue;
			chain_clear(p->records.chain);
			p->records.chain = NULL;
			if (err) {
				p->error_code = refused(err);
				p->high_watermark = -1;
			}
		}
	}
}

static void over(struct job *j)
{
	struct converting *k = CONTAINER_OF(j, struct converting, job);
	k->done(k->call);
}

void fetch_convert(struct loop *l, struct fetch_call *c, void (*done)(struct fetch_call *c))
{
	struct converting *k = arena_zalloc(c->arena, sizeof(*k));
	k->call = c;
	k->done = done;
	k->job.run = run;
	k->job.done = over;
	job_submit(l, &k->job, JOB_LONG);
}
