/* lost.c: log directories that fail: what lies there is offline, the broker goes on with the others, the last one ends the process.
 *
 * Whoever meets a failure marks the directory (log_dir_fail); it is noticed here at the next look. Shards are asked which of their replicas lie there
 * (or may lie there: those that are assigned, not new and not found, when a directory could not be opened), and the controller is told; each second
 * again until the image shows it, so that neither a lost message nor a new reign leaves such a replica in the lead.
 * A directory comes back by a restart only.
 * Thread: the control loop.
 */
#include "brokerd/broker_priv.h"
#include "common/base/mem.h"

#define AGAIN_MS 1000

struct lost {
	struct broker *b;
	bool *down;                    /* per directory: it was noticed */
	bool any, due, out;
	int64_t asked_us;
	uint32_t waiting;
	struct shard_order_msg *asks;  /* per loop */
	struct ctl_replica *rows;
	uint32_t row_count;
	size_t row_cap;
};

struct mark_job {
	struct job job;
	struct log_dir *dir;
	int err; /* nobody asks: the disk may be gone for good */
};

static void mark_run(struct job *j)
{
	struct mark_job *m = CONTAINER_OF(j, struct mark_job, job);
	m->err = log_dir_mark_failed_now(m->dir);
}

static void mark_done(struct job *j)
{
	mem_free(CONTAINER_OF(j, struct mark_job, job));
}

static void noticed(struct lost *x, struct log_dir *dir)
{
	struct broker *b = x->b;
	struct mark_job *m = MEM_NEW(struct mark_job);
	LOG_AT(b->env->log, LOG_ERROR, "log", "dir.failed", "dir=%s err=\"%s\" what=\"its replicas are offline until it works and the broker is started again\"", LOGQ(dir->path),
	       err_str(atomic_load(&dir->offline_err)));
	m->dir = dir;
	m->job.run = mark_run;
	m->job.done = mark_done;
	job_submit(b->control, &m->job, JOB_IO);
}

static void rows_drop(struct lost *x)
{
	for (uint32_t i = 0; i < x->row_count; i++)
		mem_free((char *)(uintptr_t)x->rows[i].topic);
	x->row_count = 0;
}

/* Assigned to us, and the controller does not know yet. */
static bool unknown(const struct lost *x, const struct shard_checkpoint_row *r)
{
	const struct image_topic *t = image_find_topic(ctl_image(x->b->ctl), slice_str(r->topic));
	const struct image_partition *p = image_topic_partition(t, r->partition);
	int32_t id = x->b->cfg->broker_id;
	return p && (uuid_is_zero(&r->topic_id) || uuid_eq(&t->id, &r->topic_id)) && image_ids_has(&p->replicas, id) && !image_ids_has(&p->offline, id);
}

static void told(struct shard_order_msg *m)
{
	struct lost *x = m->ctx;
	for (uint32_t i = 0; i < m->row_count; i++) {
		struct shard_checkpoint_row *r = &m->rows[i];
		if (!unknown(x, r)) {
			mem_free(r->topic);
			continue;
		}
		MEM_GROW(x->rows, x->row_cap, x->row_count + 1);
		x->rows[x->row_count++] = (struct ctl_replica){.topic_id = image_find_topic(ctl_image(x->b->ctl), slice_str(r->topic))->id, .topic = r->topic,
			.partition = r->partition, .last_epoch = -1, .start_class = LOG_START_LOSSY, .missing = true, .dir = r->dir};
	}
	mem_free(m->rows);
	m->rows = NULL;
	m->row_count = 0;
	if (--x->waiting)
		return;
	ctl_replicas_offline(x->b->ctl, x->rows, x->row_count);
	rows_drop(x);
	x->out = false;
}

void lost_look(struct lost *x)
{
	struct broker *b = x->b;
	int64_t now = env_now_us(b->env);
	uint32_t left = 0;
	bool news = false;
	for (uint32_t i = 0; i < b->dirs->count; i++) {
		struct log_dir *dir = b->dirs->dirs[i];
		bool down = atomic_load(&dir->offline);
		left += !down;
		if (down && !x->down[i]) {
			x->down[i] = x->any = x->due = news = true;
			noticed(x, dir);
		}
	}
	if (!left && news)
		env_exit(b->env, STATUS_IO, "the last log directory failed: look at the disk, then start again");
	if (!x->any || x->out || b->phase != PHASE_SERVING || (!x->due && now - x->asked_us < AGAIN_MS * 1000))
		return;
	x->due = false;
	x->out = true;
	x->asked_us = now;
	x->waiting = b->loop_count;
	for (uint32_t l = 0; l < b->loop_count; l++) {
		x->asks[l] = (struct shard_order_msg){.shard = b->shards[l], .order = SHARD_LOST, .done = told, .ctx = x};
		shard_post_order(&x->asks[l]);
	}
}

struct lost *lost_new(struct broker *b)
{
	struct lost *x = MEM_NEW(struct lost);
	x->b = b;
	x->down = mem_zalloc(sizeof(bool) * b->dirs->count);
	x->asks = mem_zalloc(sizeof(*x->asks) * b->loop_count);
	return x;
}

void lost_free(struct lost *x)
{
	if (!x)
		return;
	rows_drop(x);
	mem_free(x->rows);
	mem_free(x->asks);
	mem_free(x->down);
	mem_free(x);
}
