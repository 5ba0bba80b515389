/* checkpoints.c: recovery-point-, log-start- and replication-offset-checkpoint of each directory. See life.h.
 *
 * The shards report; a job writes (temporary file, sync, rename). High watermarks and log starts go every
 * replica.high.watermark.checkpoint.interval.ms, recovery points every log.flush.offset.checkpoint.interval.ms; log starts also when DeleteRecords
 * asks, which is answered then. A file whose content did not change is not written again, so an idle broker leaves the disk alone.
 */
#include <xxhash.h>

#include "brokerd/life/life.h"
#include "brokerd/log/checkpoint.h"
#include "common/base/check.h"
#include "common/base/mem.h"

enum kind { RECOVERY_POINT, LOG_START, HIGH_WATERMARK, KINDS };
static const char *const file_names[KINDS] = {"recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"};

struct checkpoints {
	struct env *env;
	struct loop *loop;
	const struct broker_config *cfg;
	struct log_dirs *dirs;
	struct shard **shards;
	uint32_t count;
	void (*rows_seen)(void *ctx, const struct shard_checkpoint_row *rows, uint32_t count);
	void *ctx;
	struct timer tick;
	int64_t slow_due_us;
	struct shard_order_msg *orders;
	uint32_t waiting;
	bool collecting, writing, with_slow, final, final_asked, refresh_asked;
	struct shard_checkpoint_row *rows;
	uint32_t row_count;
	size_t row_cap;
	uint64_t *written; /* hash of what each file holds: [dir][kind]; 0 = unknown */
	struct list waiting_asks, served_asks; /* struct checkpoint_wait: for the next collection, of this one */
	struct job job;
	void (*done)(void *ctx);
	void *done_ctx;
};

static void collect(struct checkpoints *c);

static void rows_drop(struct checkpoints *c)
{
	for (uint32_t i = 0; i < c->row_count; i++)
		mem_free(c->rows[i].topic);
	c->row_count = 0;
}

static bool row_counts(const struct shard_checkpoint_row *r, enum kind k)
{
	return k == LOG_START ? r->log_start_past_first_segment : true;
}

static int64_t row_value(const struct shard_checkpoint_row *r, enum kind k)
{
	return k == RECOVERY_POINT ? r->recovery_point : k == LOG_START ? r->log_start_offset : r->high_watermark;
}

/* In the job: owns rows until it is done. */
static void write_file(struct checkpoints *c, uint32_t dir_idx, enum kind k)
{
	struct log_dir *dir = c->dirs->dirs[dir_idx];
	struct checkpoint_entry *e = mem_alloc(sizeof(*e) * (c->row_count + 1));
	uint32_t n = 0;
	uint64_t hash = 1469598103934665603ull;
	for (uint32_t i = 0; i < c->row_count; i++) {
		const struct shard_checkpoint_row *r = &c->rows[i];
		if (r->dir != dir || !row_counts(r, k) || row_value(r, k) < 0)
			continue;
		e[n++] = (struct checkpoint_entry){r->topic, r->partition, row_value(r, k)};
		int64_t nums[2] = {r->partition, row_value(r, k)};
		hash = XXH64(r->topic, strlen(r->topic), hash);
		hash = XXH64(nums, sizeof(nums), hash);
	}
	if (hash != c->written[dir_idx * KINDS + k]) {
		struct str path;
		str_init(&path);
		str_printf(&path, "%s/%s", dir->path, file_names[k]);
		int err = checkpoint_write_now(c->env, str_cstr(&path), e, n);
		str_fini(&path);
		if (err)
			log_dir_fail(dir, err); /* the shards learn it by their next write */
		else
			c->written[dir_idx * KINDS + k] = hash;
	}
	mem_free(e);
}

static void write_run(struct job *j)
{
	struct checkpoints *c = CONTAINER_OF(j, struct checkpoints, job);
	for (uint32_t d = 0; d < c->dirs->count; d++) {
		if (atomic_load(&c->dirs->dirs[d]->offline))
			continue;
		write_file(c, d, HIGH_WATERMARK);
		write_file(c, d, LOG_START); /* short, and seldom another one */
		if (c->with_slow)
			write_file(c, d, RECOVERY_POINT);
		if (c->final && !atomic_load(&c->dirs->dirs[d]->offline)) {
			int err = log_dir_mark_clean_now(c->dirs->dirs[d]);
			if (err)
				log_dir_fail(c->dirs->dirs[d], err);
		}
	}
}

static void write_done(struct job *j)
{
	struct checkpoints *c = CONTAINER_OF(j, struct checkpoints, job);
	c->writing = false;
	rows_drop(c);
	for (struct list *it; (it = list_pop_front(&c->served_asks));) {
		struct checkpoint_wait *w = LIST_ENTRY(it, struct checkpoint_wait, link);
		w->done(w);
	}
	if (c->final) {
		c->done(c->done_ctx);
		return;
	}
	if (c->final_asked) {
		c->final = true;
		collect(c);
	} else if (c->refresh_asked) {
		collect(c);
	}
}

static void collected(struct shard_order_msg *m)
{
	struct checkpoints *c = m->ctx;
	for (uint32_t i = 0; i < m->row_count; i++) {
		MEM_GROW(c->rows, c->row_cap, c->row_count + 1);
		c->rows[c->row_count++] = m->rows[i];
	}
	mem_free(m->rows);
	m->rows = NULL;
	m->row_count = 0;
	if (--c->waiting)
		return;
	c->collecting = false;
	if (c->rows_seen)
		c->rows_seen(c->ctx, c->rows, c->row_count);
	c->writing = true;
	c->job.run = write_run;
	c->job.done = write_done;
	job_submit(c->loop, &c->job, JOB_IO);
}

static void collect(struct checkpoints *c)
{
	c->collecting = true;
	c->refresh_asked = false;
	for (struct list *it; (it = list_pop_front(&c->waiting_asks));)
		list_push_back(&c->served_asks, it);
	c->with_slow = c->final || loop_now_us(c->loop) >= c->slow_due_us;
	if (c->with_slow)
		c->slow_due_us = loop_now_us(c->loop) + c->cfg->recovery_checkpoint_ms * 1000;
	c->waiting = c->count;
	for (uint32_t i = 0; i < c->count; i++) {
		struct shard_order_msg *m = &c->orders[i];
		*m = (struct shard_order_msg){.shard = c->shards[i], .order = c->final ? SHARD_STOP : SHARD_CHECKPOINT, .done = collected, .ctx = c};
		shard_post_order(m);
	}
}

static void on_tick(void *ctx)
{
	struct checkpoints *c = ctx;
	if (c->final_asked)
		return;
	if (!c->collecting && !c->writing)
		collect(c);
	timer_set_ms(&c->tick, c->cfg->replica.hw_checkpoint_interval_ms);
}

struct checkpoints *checkpoints_new(struct env *env, struct loop *l, const struct broker_config *cfg, struct log_dirs *dirs, struct shard **shards, uint32_t count,
	void (*rows_seen)(void *ctx, const struct shard_checkpoint_row *rows, uint32_t count), void *ctx)
{
	struct checkpoints *c = MEM_NEW(struct checkpoints);
	c->env = env;
	c->loop = l;
	c->cfg = cfg;
	c->dirs = dirs;
	c->shards = shards;
	c->count = count;
	c->rows_seen = rows_seen;
	c->ctx = ctx;
	c->orders = mem_zalloc(sizeof(*c->orders) * count);
	c->written = mem_zalloc(sizeof(uint64_t) * KINDS * dirs->count);
	list_init(&c->waiting_asks);
	list_init(&c->served_asks);
	timer_init(&c->tick, l, on_tick, c);
	return c;
}

void checkpoints_start(struct checkpoints *c)
{
	c->slow_due_us = loop_now_us(c->loop) + c->cfg->recovery_checkpoint_ms * 1000;
	timer_set_ms(&c->tick, c->cfg->replica.hw_checkpoint_interval_ms);
}

void checkpoints_refresh(struct checkpoints *c)
{
	c->refresh_asked = true;
	if (!c->collecting && !c->writing && !c->final_asked)
		collect(c);
}

void checkpoints_ask(struct checkpoints *c, struct checkpoint_wait *w)
{
	list_init(&w->link);
	list_push_back(&c->waiting_asks, &w->link);
	checkpoints_refresh(c);
}

struct starts_ask { /* in shard_starts.priv */
	struct checkpoint_wait wait;
	struct shard_starts *q;
};
_Static_assert(sizeof(struct starts_ask) <= sizeof(((struct shard_starts *)0)->priv), "shard_starts.priv is too small");

static void starts_written(struct checkpoint_wait *w)
{
	shard_starts_filed(CONTAINER_OF(w, struct starts_ask, wait)->q);
}

void checkpoints_file_starts(struct checkpoints *c, struct shard_starts *q)
{
	struct starts_ask *a = (struct starts_ask *)(void *)q->priv;
	*a = (struct starts_ask){.wait = {.done = starts_written}, .q = q};
	checkpoints_ask(c, &a->wait);
}

void checkpoints_final(struct checkpoints *c, void (*done)(void *ctx), void *ctx)
{
	c->done = done;
	c->done_ctx = ctx;
	c->final_asked = true;
	timer_stop(&c->tick);
	if (!c->collecting && !c->writing) {
		c->final = true;
		collect(c);
	}
}

void checkpoints_free(struct checkpoints *c)
{
	if (!c)
		return;
	timer_stop(&c->tick);
	rows_drop(c);
	mem_free(c->rows);
	mem_free(c->orders);
	mem_free(c->written);
	mem_free(c);
}
