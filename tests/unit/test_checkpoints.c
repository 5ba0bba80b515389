/* test_checkpoints.c: the checkpoint files of a broker in the simulated world: when they are written, what stands in them, who waits for that, and what
 * is left behind by a clean stop (brokerd/life/checkpoints.c); and what DeleteRecords may take away.
 */
#include "tests/unit/unit.h"

#include <string.h>

#include "brokerd/life/life.h"
#include "tests/unit/mini.h"

#define RECOVERY "/data/recovery-point-offset-checkpoint"
#define STARTS "/data/log-start-offset-checkpoint"
#define WATERMARKS "/data/replication-offset-checkpoint"
#define CLEAN "/data/.kafka_cleanshutdown"

static struct broker_config cfg;
static struct checkpoints *cp;

static bool produced(struct mini_world *mw, void *ctx) { return ((struct mini_produce *)ctx)->done; }

static bool leads(struct mini_world *mw, void *ctx)
{
	struct partition *p = mini_partition(mw, 1);
	return p && p->state == PARTITION_LEADER;
}

static void produce(struct mini_world *mw, int records)
{
	struct mini_produce p;
	mini_produce(mw, 1, &p, -1, 10000, records);
	CU_ASSERT_FATAL(mini_wait(mw, produced, &p, 10000));
	CU_ASSERT_EQUAL(p.error, 0);
}

static void new_run(void *ctx)
{
	struct mini *b = ctx;
	CU_ASSERT_EQUAL(log_dirs_confirm_now(b->dirs, b->id, "abcdefghijklmnopqrstuv"), 0); /* else no start counts as clean (E1) */
	cp = checkpoints_new(b->env, b->control, &cfg, b->dirs, b->shards, MINI_LOOPS, NULL, NULL);
	checkpoints_start(cp);
}

static void reap(struct mini *b)
{
	checkpoints_free(cp);
	cp = NULL;
}

static void begin(struct mini_world *mw, uint64_t seed, int64_t watermarks_ms, int64_t recovery_ms)
{
	memset(&cfg, 0, sizeof(cfg));
	cfg.replica.hw_checkpoint_interval_ms = watermarks_ms;
	cfg.recovery_checkpoint_ms = recovery_ms;
	mini_begin(mw, seed, 1);
	mw->reap = reap;
	mini_set(&mw->p, 1, "1", "1", "1");
	mini_publish(mw, "1", "1");
	CU_ASSERT_FATAL(mini_wait(mw, leads, NULL, 5000));
	sim_process_run(mw->b[1].proc, new_run, &mw->b[1]);
}

static bool file_is(struct mini_world *mw, const char *path, const char *text)
{
	struct str s;
	str_init(&s);
	bool same = sim_disk_read(mw->b[1].host, path, &s) == 0 && strcmp(str_cstr(&s), text) == 0;
	str_fini(&s);
	return same;
}

static bool there_is(struct mini_world *mw, const char *path)
{
	struct str s;
	str_init(&s);
	bool is = sim_disk_read(mw->b[1].host, path, &s) == 0;
	str_fini(&s);
	return is;
}

static void test_by_the_clock(void)
{
	struct mini_world mw;
	begin(&mw, 1, 1000, 5000);
	produce(&mw, 10);
	mini_run_ms(&mw, 1200);
	CU_ASSERT(file_is(&mw, WATERMARKS, "0\n1\nt 0 10\n"));
	CU_ASSERT(file_is(&mw, STARTS, "0\n0\n")); /* only logs that begin behind their first segment's base */
	CU_ASSERT(!there_is(&mw, RECOVERY));
	produce(&mw, 5);
	mini_run_ms(&mw, 1200);
	CU_ASSERT(file_is(&mw, WATERMARKS, "0\n1\nt 0 15\n"));
	mini_run_ms(&mw, 3500);
	CU_ASSERT(file_is(&mw, RECOVERY, "0\n1\nt 0 0\n")); /* nobody asked for a sync */
	mini_end(&mw);
}

/* ---- who waits for a file ---- */

struct deletion {
	struct delete_msg m;
	struct delete_part part;
	struct mini *b;
	bool done;
};

static void deletion_done(struct delete_msg *m)
{
	image_unref(m->image);
	CONTAINER_OF(m, struct deletion, m)->done = true;
}

static void deletion_run(void *ctx)
{
	struct deletion *d = ctx;
	d->m.image = image_ref(d->b->image);
	d->part.topic = image_find_topic(d->b->image, slice_str("t"));
	d->m.shard = d->b->shards[mini_owner(d->b->mw, d->b)];
	shard_post_delete(&d->m);
}

static bool deleted(struct mini_world *mw, void *ctx) { return ((struct deletion *)ctx)->done; }

static void compacted(struct log_config *log)
{
	log->cleanup_delete = false;
	log->cleanup_compact = true;
}

/* Not from a topic that is compacted only; and "all" is what is committed, not what the leader alone has. */
static void test_deletes_no_more_than_allowed(void)
{
	for (int compact = 0; compact < 2; compact++) {
		struct mini_world mw;
		struct mini_produce p;
		mini_begin(&mw, 5, 2);
		mw.log_config = compact ? compacted : NULL;
		mini_set(&mw.p, 1, "12", "12", "12");
		mini_publish(&mw, "12", "12");
		CU_ASSERT_FATAL(mini_wait(&mw, leads, NULL, 5000));
		produce(&mw, 10);
		sim_net_isolate(mw.w, mw.b[2].host);
		mini_produce(&mw, 1, &p, 1, 10000, 1);
		CU_ASSERT_FATAL(mini_wait(&mw, produced, &p, 1000));
		struct deletion d = {.b = &mw.b[1], .part = {.offset = -1}};
		d.m = (struct delete_msg){.timeout_ms = 500, .parts = &d.part, .count = 1, .done = deletion_done};
		sim_process_run(mw.b[1].proc, deletion_run, &d);
		CU_ASSERT_FATAL(mini_wait(&mw, deleted, &d, 1000));
		CU_ASSERT_EQUAL(d.part.error, compact ? KERR_POLICY_VIOLATION : KERR_REQUEST_TIMED_OUT);
		CU_ASSERT_EQUAL(log_start_offset(mini_log(&mw, 1)), compact ? 0 : 10);
		mini_end(&mw);
	}
}

struct asking {
	struct checkpoint_wait w;
	struct mini_world *mw;
	bool done, right;
};

static void asking_done(struct checkpoint_wait *w)
{
	struct asking *a = CONTAINER_OF(w, struct asking, w);
	a->done = true;
	a->right = file_is(a->mw, STARTS, "0\n1\nt 0 7\n");
}

static void asking_run(void *ctx)
{
	struct asking *a = ctx;
	a->w.done = asking_done;
	checkpoints_ask(cp, &a->w);
}

static bool answered(struct mini_world *mw, void *ctx) { return ((struct asking *)ctx)->done; }

/* Whoever asks while the files are being written is answered when what holds at that time stands in them: by the writing that comes next, and
 * that comes at once. */
static void test_asked_while_writing(void)
{
	struct mini_world mw;
	begin(&mw, 2, 600000, 600000);
	struct asking first = {.mw = &mw}, second = {.mw = &mw};
	struct deletion d = {.b = &mw.b[1], .part = {.offset = 7}};
	produce(&mw, 10);
	sim_disk_slow(mw.b[1].host, 2000);
	sim_process_run(mw.b[1].proc, asking_run, &first);
	mini_run_ms(&mw, 5);
	CU_ASSERT_FATAL(!first.done);
	d.m = (struct delete_msg){.timeout_ms = 10000, .parts = &d.part, .count = 1, .done = deletion_done};
	sim_process_run(mw.b[1].proc, deletion_run, &d);
	CU_ASSERT_FATAL(mini_wait(&mw, deleted, &d, 100));
	CU_ASSERT_EQUAL(d.part.error, 0);
	CU_ASSERT_FATAL(!first.done);
	sim_process_run(mw.b[1].proc, asking_run, &second);
	CU_ASSERT_FATAL(mini_wait(&mw, answered, &first, 60000));
	CU_ASSERT(!second.done);
	CU_ASSERT_FATAL(mini_wait(&mw, answered, &second, 60000));
	CU_ASSERT(second.right);
	mini_end(&mw);
}

/* ---- a clean stop ---- */

static bool stopped;
static void stop_done(void *ctx) { stopped = true; }
static void stop_run(void *ctx) { checkpoints_final(cp, stop_done, NULL); }

/* The mark says that all is flushed and in its files: it never stands beside files that do not say so. */
static bool marked_too_soon(struct mini_world *mw, void *ctx)
{
	return there_is(mw, CLEAN) && !file_is(mw, RECOVERY, "0\n1\nt 0 12\n");
}

static void test_clean_stop(void)
{
	struct mini_world mw;
	begin(&mw, 3, 1000, 5000);
	produce(&mw, 12);
	sim_disk_slow(mw.b[1].host, 20);
	stopped = false;
	sim_process_run(mw.b[1].proc, stop_run, NULL);
	CU_ASSERT(!mini_wait(&mw, marked_too_soon, NULL, 10000));
	CU_ASSERT(stopped);
	CU_ASSERT(there_is(&mw, CLEAN));
	CU_ASSERT(file_is(&mw, WATERMARKS, "0\n1\nt 0 12\n"));
	CU_ASSERT(file_is(&mw, STARTS, "0\n0\n"));
	mini_end(&mw);
	/* a directory whose files could not be written was not left in good order */
	begin(&mw, 4, 1000, 5000);
	produce(&mw, 12);
	sim_disk_fail(mw.b[1].host, SIM_DISK_ALL, RECOVERY, INT64_MAX);
	stopped = false;
	sim_process_run(mw.b[1].proc, stop_run, NULL);
	mini_run_ms(&mw, 10000);
	CU_ASSERT(stopped);
	CU_ASSERT(!there_is(&mw, CLEAN));
	mini_end(&mw);
}

UNIT_MAIN("checkpoints", {"by_the_clock", test_by_the_clock}, {"deletes_no_more_than_allowed", test_deletes_no_more_than_allowed},
	  {"asked_while_writing", test_asked_while_writing}, {"clean_stop", test_clean_stop})
