/* identity.c: the id of a broker whose file has none. See life.h.
 *
 * What meta.properties of one of its directories says; else a generated one, as Kafka makes it: a set of /brokers/seqid gives that node its next
 * version, and the id is as far above reserved.broker.max.id. It is written into every directory before anybody hears of it.
 *
 *   reading cluster id   (none)                            /cluster/id says that the base paths are there, and whose cluster this is
 *   counting             (reading cluster id, making)      the set
 *   making               (counting)                        /brokers/seqid was not there
 *   writing              (none, counting)                  a job
 *
 * One call at a time, and each is answered once: there are no late answers. A set whose reply is lost is made again, and a process that dies before
 * it has written the number takes another one next time: numbers are lost, none is given twice. While ZooKeeper is away this waits and says so.
 */
#include "brokerd/life/life.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/zk/zkdata.h"

#define RETRY_MS 200
#define STATUS_IO 74
#define STATUS_CONFIG 78

struct identity {
	struct env *env;
	struct loop *loop;
	const struct broker_config *cfg;
	struct zk *zk;
	struct log_dirs *dirs;
	struct identity_events ev;
	struct timer retry;
	struct job job;
	char cluster_id[64]; /* "" unknown */
	int32_t id;
	int job_err;
};

enum identity_source identity_decide(const struct log_dirs *dirs, const struct log_dir **ret_unread)
{
	if (dirs->broker_id >= 0)
		return IDENTITY_STORED;
	for (uint32_t i = 0; i < dirs->count; i++)
		if (atomic_load(&dirs->dirs[i]->offline)) {
			*ret_unread = dirs->dirs[i];
			return IDENTITY_UNREAD;
		}
	return IDENTITY_NEW;
}

int identity_of_version(int32_t reserved_broker_max_id, int32_t version, int32_t *ret_id)
{
	if (version < 1 || version > INT32_MAX - reserved_broker_max_id)
		return ERR_RANGE;
	*ret_id = reserved_broker_max_id + version;
	return 0;
}

static void wait_for(struct identity *d, const char *what)
{
	d->ev.waiting(d->ev.ctx, what);
	timer_set_ms(&d->retry, RETRY_MS);
}

/* ---- into the directories ---- */

static void write_run(struct job *j)
{
	struct identity *d = CONTAINER_OF(j, struct identity, job);
	d->job_err = log_dirs_write_id_now(d->dirs, d->id, d->cluster_id);
}

static void write_done(struct job *j)
{
	struct identity *d = CONTAINER_OF(j, struct identity, job);
	if (d->job_err)
		env_exit(d->env, STATUS_IO, "meta.properties cannot be written in any log directory: look at the disk, its permissions and log.dirs");
	else
		d->ev.known(d->ev.ctx, d->id);
}

static void write_id(struct identity *d, int32_t id)
{
	d->id = id;
	d->job.run = write_run;
	d->job.done = write_done;
	job_submit(d->loop, &d->job, JOB_IO);
}

/* ---- counting ---- */

static void count(struct identity *d);

static void on_made(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct identity *d = ctx;
	(void)path, (void)st;
	if (!err || err == ERR_EXIST)
		count(d);
	else if (err == ERR_NOENT)
		wait_for(d, WAIT_FOR_BASE_PATHS);
	else
		wait_for(d, "ZooKeeper to give this broker an id");
}

static void on_counted(void *ctx, int err, const struct zk_stat *st)
{
	struct identity *d = ctx;
	int32_t id;
	if (err == ERR_NOENT) { /* nobody but a hand takes it away: Kafka makes it again as well */
		zk_create(d->zk, ZKP_BROKER_SEQID, slice_str(""), ZK_PERSISTENT, on_made, d);
		return;
	}
	if (err) {
		wait_for(d, "ZooKeeper to give this broker an id");
		return;
	}
	if (identity_of_version(d->cfg->reserved_broker_max_id, st->version, &id)) {
		env_exit(d->env, STATUS_CONFIG, "no id above reserved.broker.max.id is left: lower it, or set broker.id");
		return;
	}
	LOG_AT(d->env->log, LOG_INFO, "broker", "id.generated", "broker=%d", id);
	write_id(d, id);
}

static void count(struct identity *d)
{
	zk_set(d->zk, ZKP_BROKER_SEQID, slice_str(""), -1, on_counted, d);
}

static void on_cluster_id(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct identity *d = ctx;
	struct arena a;
	const char *id;
	(void)st;
	arena_init(&a, 0);
	if (err || zkd_cluster_id_decode(data, &a, &id) || strlen(id) >= sizeof(d->cluster_id)) {
		wait_for(d, err == ERR_NOENT ? WAIT_FOR_CLUSTER_ID : "ZooKeeper to give this broker an id");
	} else if (!registration_other_cluster(d->env, d->dirs, id)) {
		strcpy(d->cluster_id, id);
		count(d);
	}
	arena_fini(&a);
}

static void on_retry(void *ctx)
{
	struct identity *d = ctx;
	if (*d->cluster_id)
		count(d);
	else
		zk_get(d->zk, ZKP_CLUSTER_ID, on_cluster_id, d);
}

/* ---- life ---- */

struct identity *identity_new(struct env *env, struct loop *l, const struct broker_config *cfg, struct zk *zk, struct log_dirs *dirs, const struct identity_events *ev)
{
	struct identity *d = MEM_NEW(struct identity);
	ASSERT(cfg->broker_id < 0);
	d->env = env;
	d->loop = l;
	d->cfg = cfg;
	d->zk = zk;
	d->dirs = dirs;
	d->ev = *ev;
	timer_init(&d->retry, l, on_retry, d);
	return d;
}

void identity_start(struct identity *d)
{
	const struct log_dir *unread;
	struct str why;
	switch (identity_decide(d->dirs, &unread)) {
	case IDENTITY_STORED:
		LOG_AT(d->env->log, LOG_INFO, "broker", "id.stored", "broker=%d dir=%s", d->dirs->broker_id, LOGQ(d->dirs->id_from));
		strcpy(d->cluster_id, d->dirs->cluster_id);
		write_id(d, d->dirs->broker_id);
		break;
	case IDENTITY_UNREAD:
		str_init(&why);
		str_printf(&why, "%s cannot be used (%s) and may hold the id of this broker, which broker.id does not say: repair it, or take it out of log.dirs", unread->path,
			err_str(atomic_load(&unread->offline_err)));
		env_exit(d->env, STATUS_IO, str_cstr(&why));
		str_fini(&why);
		break;
	case IDENTITY_NEW:
		d->ev.waiting(d->ev.ctx, "ZooKeeper to give this broker an id");
		on_retry(d);
		break;
	}
}

void identity_free(struct identity *d)
{
	if (!d)
		return;
	timer_stop(&d->retry);
	mem_free(d);
}
