/* test_disk_sim.c: simulated disks: what is left after crashes and power cuts, faults, names, locks; jobs. */
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "tests/unit/sim_body.h"
#include "tests/unit/unit.h"

/* ---- disks ---- */

struct disk {
	struct env *env;
	struct loop *loop;
	struct file *f;
	struct file_op ops[64];
	int done[64], n, order_bad, last_err;
	struct job job;
	int step;
};

static struct disk *the_disk;

static void op_done(struct file_op *op)
{
	struct disk *d = the_disk;
	int i = (int)(op - d->ops);

	d->order_bad += i != d->n;
	d->done[i]++;
	d->n++;
	d->last_err = op->err ? op->err : d->last_err;
}

static void append_text(struct disk *d, int i, uint64_t pos, const char *text)
{
	struct chain ch;

	chain_init(&ch);
	chain_add_copy(&ch, text, strlen(text));
	d->ops[i].done = op_done;
	file_append(d->loop, d->f, &d->ops[i], pos, &ch);
	CU_ASSERT_EQUAL(ch.bytes, 0);
	CU_ASSERT_EQUAL(d->done[i], 0); /* never before it returns */
}

static void disk_body(struct env *env, struct loop *control, void *arg)
{
	struct disk *d = arg;

	d->env = env;
	d->loop = control;
	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), 0);
	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), ERR_EXIST);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(fs_open(env, "/data/absent", FS_READ, &d->f), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_open(env, "/data/log", FS_WRITE | FS_CREATE | FS_EXCL, &d->f), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/data"), 0);
	for (int i = 0; i < 10; i++)
		append_text(d, i, (uint64_t)i * 10, "0123456789");
	d->ops[10].done = op_done;
	file_sync(control, d->f, &d->ops[10]);
	for (int i = 11; i < 31; i++)
		append_text(d, i, (uint64_t)(i - 1) * 10, "abcdefghij");
}

static void read_body(struct env *env, struct loop *control, void *arg)
{
	struct str *out = arg;
	char *bytes;
	size_t len;

	str_clear(out);
	if (fs_read_file(env, "/data/log", 100000, &bytes, &len))
		return;
	str_add_bytes(out, bytes, len);
	mem_free(bytes);
}

/* Killing loses nothing that was written; a power cut keeps at least what was synced, and a prefix or torn end of the rest. */
static void test_disk_crash(void)
{
	int short_ones = 0, torn = 0, whole = 0;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim_world *w = quiet_world(seed, 0);
		struct sim_host *h = sim_host_new(w, "h");
		struct disk d = {0};
		struct body b = {.run = disk_body, .arg = &d};
		struct str got;

		the_disk = &d;
		str_init(&got);
		struct sim_process *p = run_body(h, &b);
		sim_world_run_until(w, 2000000);
		CU_ASSERT_EQUAL(d.n, 31);
		CU_ASSERT_EQUAL(d.order_bad, 0);
		CU_ASSERT_EQUAL(d.last_err, 0);
		struct body r = {.run = read_body, .arg = &got};
		sim_process_kill(p);
		run_body(h, &r);
		sim_world_run_until(w, 3000000);
		CU_ASSERT_EQUAL(got.len, 300);
		sim_host_power_cut(h);
		sim_world_run_until(w, 4000000);
		sim_host_power_on(h);
		run_body(h, &r);
		sim_world_run_until(w, 5000000);
		CU_ASSERT(got.len >= 100 && got.len <= 300);
		bool right = got.len >= 100;
		for (size_t i = 0; i < 100 && right; i++)
			right = got.ptr[i] == "0123456789"[i % 10];
		CU_ASSERT(right);
		bool prefix = true;
		for (size_t i = 100; i < got.len; i++)
			prefix &= got.ptr[i] == "abcdefghij"[i % 10];
		short_ones += got.len < 300;
		torn += !prefix;
		whole += got.len == 300 && prefix;
		str_fini(&got);
		sim_world_free(w);
	}
	CU_ASSERT(short_ones > 5);
	CU_ASSERT(torn > 3);
	CU_ASSERT(whole > 3);
}

static void names_body(struct env *env, struct loop *control, void *arg)
{
	struct file *f;

	CU_ASSERT_EQUAL(fs_mkdir(env, "/data", 0700), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/data/kept", "one", 3, 0600), 0); /* durable on return */
	CU_ASSERT_EQUAL(fs_open(env, "/data/new", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "two", 3), 0);
	CU_ASSERT_EQUAL(file_sync_now(f), 0); /* the bytes, not the name */
	file_unref(f);
	if (arg)
		CU_ASSERT_EQUAL(fs_sync_dir(env, "/data"), 0);
}

static void test_names_need_directory_sync(void)
{
	int lost = 0;

	for (uint64_t seed = 1; seed <= 40; seed++)
		for (int sync = 0; sync < 2; sync++) {
			struct sim_world *w = quiet_world(seed, 0);
			struct sim_host *h = sim_host_new(w, "h");
			struct body b = {.run = names_body, .arg = sync ? &lost : NULL};
			struct str s;

			str_init(&s);
			run_body(h, &b);
			sim_world_run_until(w, 1000000);
			sim_host_power_cut(h);
			CU_ASSERT_EQUAL(sim_disk_read(h, "/data/kept", &s), 0);
			CU_ASSERT_STRING_EQUAL(str_cstr(&s), "one");
			str_clear(&s);
			int err = sim_disk_read(h, "/data/new", &s);
			if (sync)
				CU_ASSERT_EQUAL(err, 0);
			if (!err)
				CU_ASSERT_STRING_EQUAL(str_cstr(&s), "two");
			lost += !sync && err == ERR_NOENT;
			str_fini(&s);
			sim_world_free(w);
		}
	CU_ASSERT(lost > 5 && lost < 40);
}

static void renames_body(struct env *env, struct loop *control, void *arg)
{
	struct fs_names names;
	struct fs_stat st;

	CU_ASSERT_EQUAL(fs_mkdir(env, "/d", 0700), 0);
	CU_ASSERT_EQUAL(fs_mkdir(env, "/d/t-0", 0700), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/t-0/a", "A", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/b", "B", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, "/d/c", "C", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_rename(env, "/d/c", "/d/b"), 0);
	CU_ASSERT_EQUAL(fs_rename(env, "/d/t-0", "/d/t-0-delete"), 0);
	CU_ASSERT_EQUAL(fs_stat(env, "/d/t-0/a", &st), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_stat(env, "/d/t-0-delete/a", &st), 0);
	CU_ASSERT(st.bytes == 1 && !st.is_dir && st.mtime_ms > 1700000000000);
	CU_ASSERT_EQUAL(fs_rmdir(env, "/d/t-0-delete"), ERR_NOTEMPTY);
	CU_ASSERT_EQUAL(fs_list(env, "/d", &names), 0);
	CU_ASSERT_EQUAL(names.count, 2);
	CU_ASSERT_STRING_EQUAL(names.names[0], "b");
	CU_ASSERT_STRING_EQUAL(names.names[1], "t-0-delete");
	fs_names_free(&names);
	CU_ASSERT_EQUAL(fs_unlink(env, "/d/t-0-delete/a"), 0);
	CU_ASSERT_EQUAL(fs_rmdir(env, "/d/t-0-delete"), 0);
	CU_ASSERT_EQUAL(fs_unlink(env, "/d/x"), ERR_NOENT);
	struct file *lock, *again;
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &lock), 0);
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &again), ERR_LOCKED);
	fs_unlock(lock);
	CU_ASSERT_EQUAL(fs_lock(env, "/d/.lock", &lock), 0);
}

static void lock_body(struct env *env, struct loop *control, void *arg)
{
	struct file *lock;

	*(int *)arg = fs_lock(env, "/d/.lock", &lock);
}

static void test_names_and_locks(void)
{
	struct sim_world *w = quiet_world(3, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = renames_body};
	int err = 1;
	struct body second = {.run = lock_body, .arg = &err};
	struct str s;

	str_init(&s);
	struct sim_process *p = run_body(h, &b);
	sim_world_run_until(w, 1000000);
	sim_disk_list(h, "/d", &s);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), ".lock\nb\n");
	str_clear(&s);
	CU_ASSERT_EQUAL(sim_disk_read(h, "/d/b", &s), 0);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "C");
	run_body(h, &second);
	sim_world_run_until(w, 2000000);
	CU_ASSERT_EQUAL(err, ERR_LOCKED);
	sim_process_kill(p); /* lets the lock go */
	run_body(h, &second);
	sim_world_run_until(w, 3000000);
	CU_ASSERT_EQUAL(err, 0);
	str_fini(&s);
	sim_world_free(w);
}

static void faulty_body(struct env *env, struct loop *control, void *arg)
{
	struct sim_host *h = arg;
	struct fs_space space;
	struct file *f;
	char buf[8];
	size_t got;
	static const char big[100000];

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "12345678", 8), 0);
	sim_disk_fail(h, SIM_DISK_READ, "/f", 1);
	CU_ASSERT_EQUAL(file_read_now(f, 0, buf, 8, &got), ERR_IO);
	CU_ASSERT_EQUAL(file_read_now(f, 4, buf, 8, &got), 0);
	CU_ASSERT_EQUAL(got, 4);
	CU_ASSERT(memcmp(buf, "5678", 4) == 0);
	CU_ASSERT_EQUAL(sim_disk_flip_bit(h, "/f", 0, 1), 0);
	CU_ASSERT_EQUAL(file_read_now(f, 0, buf, 1, &got), 0);
	CU_ASSERT_EQUAL(buf[0], '1' ^ 2);
	sim_disk_fail(h, SIM_DISK_SYNC, "/", 1);
	CU_ASSERT_EQUAL(file_sync_now(f), ERR_IO);
	sim_disk_fail(h, SIM_DISK_WRITE, "/f", -1);
	CU_ASSERT_EQUAL(file_write_now(f, 8, "x", 1), ERR_IO);
	CU_ASSERT_EQUAL(file_write_now(f, 8, "x", 1), ERR_IO);
	sim_disk_clear_faults(h);
	sim_disk_capacity(h, 50000);
	CU_ASSERT_EQUAL(file_write_now(f, 8, big, sizeof(big)), ERR_NOSPACE);
	CU_ASSERT_EQUAL(fs_space(env, "/", &space), 0);
	CU_ASSERT(space.bytes_total == 50000 && space.bytes_free < 4096);
	CU_ASSERT_EQUAL(file_truncate_now(f, 8), 0);
	CU_ASSERT_EQUAL(fs_space(env, "/", &space), 0);
	CU_ASSERT(space.bytes_free > 40000);
	/* sparse: prealloc reads as zeros and costs nothing */
	CU_ASSERT_EQUAL(file_truncate_now(f, 10000000), 0);
	CU_ASSERT_EQUAL(file_read_now(f, 9000000, buf, 8, &got), 0);
	CU_ASSERT(got == 8 && buf[0] == 0 && buf[7] == 0);
	CU_ASSERT(sim_disk_used(h) < 10000);
	file_unref(f);
	CU_ASSERT_EQUAL(fs_unlink(env, "/f"), 0);
	CU_ASSERT_EQUAL(sim_disk_used(h), 0);
}

static void test_disk_faults(void)
{
	struct sim_world *w = quiet_world(4, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = faulty_body, .arg = h};

	run_body(h, &b);
	sim_world_run_until(w, 5000000);
	CU_ASSERT_EQUAL(b.reaped, 0);
	sim_world_free(w);
}

/* After a failed sync the bytes are lost in a power cut, whatever later syncs say. */
static void failed_sync_body(struct env *env, struct loop *control, void *arg)
{
	struct file *f;

	CU_ASSERT_EQUAL(fs_open(env, "/f", FS_WRITE | FS_CREATE, &f), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, "/"), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 0, "12345678", 8), 0);
	sim_disk_fail(arg, SIM_DISK_SYNC, "/f", 1);
	CU_ASSERT_EQUAL(file_sync_now(f), ERR_IO);
	CU_ASSERT_EQUAL(file_sync_now(f), 0);
	file_unref(f);
}

static void test_failed_sync(void)
{
	int lost = 0;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_world *w = quiet_world(seed, 0);
		struct sim_host *h = sim_host_new(w, "h");
		struct body b = {.run = failed_sync_body, .arg = h};
		struct str s;

		str_init(&s);
		run_body(h, &b);
		sim_world_run_until(w, 1000000);
		sim_host_power_cut(h);
		CU_ASSERT_EQUAL(sim_disk_read(h, "/f", &s), 0);
		lost += strcmp(str_cstr(&s), "12345678") != 0;
		str_fini(&s);
		sim_world_free(w);
	}
	CU_ASSERT(lost > 5);
}

/* ---- jobs ---- */

static void job_run(struct job *j)
{
	struct disk *d = CONTAINER_OF(j, struct disk, job);
	struct file *f;

	CU_ASSERT_PTR_NULL(loop_current());
	d->step = 1;
	CU_ASSERT_EQUAL(fs_open(d->env, "/j", FS_WRITE | FS_CREATE, &f), 0);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(file_write_now(f, (uint64_t)i * 4, "abcd", 4), 0);
		d->step = 2 + i;
	}
	CU_ASSERT_EQUAL(file_sync_now(f), 0);
	file_unref(f);
	d->step = 1000;
}

static void job_done(struct job *j)
{
	struct disk *d = CONTAINER_OF(j, struct disk, job);

	CU_ASSERT_PTR_EQUAL(loop_current(), d->loop);
	d->n++;
}

static void job_body(struct env *env, struct loop *control, void *arg)
{
	struct disk *d = arg;

	d->env = env;
	d->loop = control;
	d->job = (struct job){.run = job_run, .done = job_done};
	job_submit(control, &d->job, JOB_LONG);
	CU_ASSERT_EQUAL(d->step, 0);
}

static void test_jobs(void)
{
	struct disk d = {0};
	struct sim_world *w = quiet_world(5, 0);
	struct sim_host *h = sim_host_new(w, "h");
	struct body b = {.run = job_body, .arg = &d};

	struct sim_process *p = run_body(h, &b);
	sim_world_run_until(w, 2000000);
	CU_ASSERT_EQUAL(d.step, 1000);
	CU_ASSERT_EQUAL(d.n, 1);
	sim_process_kill(p);
	/* Killed on the way: the job stops at a call and is never done; what it wrote is there. */
	d.step = d.n = 0;
	p = run_body(h, &b);
	while (d.step < 20)
		CU_ASSERT_FATAL(sim_world_step(w));
	sim_process_pause(p);
	int at = d.step;
	sim_world_run_until(w, sim_now_us(w) + 1000000);
	CU_ASSERT_EQUAL(d.step, at);
	sim_process_resume(p);
	while (d.step < 40)
		CU_ASSERT_FATAL(sim_world_step(w));
	sim_process_kill(p);
	at = d.step;
	sim_world_run_until(w, sim_now_us(w) + 1000000);
	CU_ASSERT_EQUAL(d.step, at);
	CU_ASSERT_EQUAL(d.n, 0);
	struct str s;
	str_init(&s);
	CU_ASSERT_EQUAL(sim_disk_read(h, "/j", &s), 0);
	CU_ASSERT(s.len >= 38 * 4);
	str_fini(&s);
	sim_world_free(w);
}

UNIT_MAIN("disk_sim", {"disk_crash", test_disk_crash}, {"names_need_directory_sync", test_names_need_directory_sync},
	{"names_and_locks", test_names_and_locks}, {"disk_faults", test_disk_faults}, {"failed_sync", test_failed_sync}, {"jobs", test_jobs})
