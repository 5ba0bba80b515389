/* world.c: the process as an object: clock, random numbers, log, exit, signals, and the life of the loops. */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

/* ---- clock, random, process ---- */

int64_t os_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t env_now(struct env *env)
{
	return os_now_us();
}

static int64_t wall_ms(struct env *env)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void random_bytes(struct env *env, void *out, size_t bytes)
{
	uint8_t *p = out;

	while (bytes > 0) {
		ssize_t n = getrandom(p, bytes, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			os_die("getrandom");
		p += n;
		bytes -= (size_t)n;
	}
}

/* A short file of /proc; NUL terminated, "" where it cannot be read. */
static void read_proc(const char *path, char *out, size_t out_bytes)
{
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		n = read(fd, out, out_bytes - 1);
		close(fd);
	}
	out[n > 0 ? n : 0] = '\0';
}

static void boot_id(struct env *env, char out[ENV_BOOT_ID_LEN + 1])
{
	read_proc("/proc/sys/kernel/random/boot_id", out, ENV_BOOT_ID_LEN + 1);
}

static int64_t own_pid(struct env *env)
{
	return getpid();
}

static uint64_t resident_bytes(struct env *env)
{
	char text[128];
	unsigned long long size, resident = 0;

	read_proc("/proc/self/statm", text, sizeof(text));
	if (sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

unsigned os_cpus(void)
{
	cpu_set_t set;

	/* More CPUs than the set has room for: an error, and the number of them all. */
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

void os_raise_nofile(uint64_t *ret_before, uint64_t *ret_now)
{
	struct rlimit lim = {0};

	getrlimit(RLIMIT_NOFILE, &lim);
	*ret_before = lim.rlim_cur;
	if (lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
		getrlimit(RLIMIT_NOFILE, &lim);
	}
	*ret_now = lim.rlim_cur;
}

/* ---- log and exit ---- */

static void log_line(int fd, enum log_level level, const char *subsystem, const char *event, const char *kv)
{
	static const char *const names[] = {"DEBUG", "INFO", "WARN", "ERROR"};
	char head[256];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	size_t n = strftime(head, sizeof(head), "%Y-%m-%dT%H:%M:%S", &tm);
	int m = snprintf(head + n, sizeof(head) - n, ".%03ldZ %-5s %.60s  %.100s%s", ts.tv_nsec / 1000000, names[level], subsystem, event,
			 kv[0] ? "  " : "");
	n += (size_t)m < sizeof(head) - n ? (size_t)m : sizeof(head) - n - 1;
	char *foreign = mem_strdup(kv);
	char newline = '\n';
	struct iovec iov[3] = {{head, n}, {foreign, strlen(foreign)}, {&newline, 1}};
	/* One call, so that lines of several threads do not mix. Nobody can be told if it fails. */
	ssize_t ignored = writev(fd, iov, 3);
	(void)ignored;
	mem_free(foreign);
}

static void log_sink(struct logger *log, enum log_level level, const char *subsystem, const char *event, const char *kv)
{
	struct os_world *w = log->ctx;

	log_line(w->log_fd, level, subsystem, event, kv);
}

static void env_exit_now(struct env *env, int status, const char *reason)
{
	log_line(os_world_of(env)->log_fd, status == 0 ? LOG_INFO : LOG_ERROR, "process", "exit", reason);
	_exit(status);
}

_Noreturn void os_die(const char *what)
{
	char text[200];

	snprintf(text, sizeof(text), "%s: %s", what, strerrordesc_np(errno));
	log_line(STDERR_FILENO, LOG_ERROR, "process", "exit", text);
	_exit(74);
}

/* ---- world ---- */

const struct env_ops os_env_ops = {
	.exit = env_exit_now,
	.random = random_bytes,
	.wall_ms = wall_ms,
	.now_us = env_now,
	.boot_id = boot_id,
	.pid = own_pid,
	.resident_bytes = resident_bytes,
	.loop_new = os_loop_new,
	.loop_now_us = os_loop_now_us,
	.loop_post = os_loop_post,
	.loop_defer = os_loop_defer,
	.deferred_cancel = os_deferred_cancel,
	.timer_set = os_timer_set,
	.timer_stop = os_timer_stop,
	.job_submit = os_job_submit,
	.conn_connect = os_conn_connect,
	.conn_send = os_conn_send,
	.conn_resume = os_conn_resume,
	.conn_close = os_conn_close,
	.conn_shutdown = os_conn_shutdown,
	.conn_move = os_conn_move,
	.listener_open = os_listener_open,
	.listener_pause = os_listener_pause,
	.listener_close = os_listener_close,
	.http_open = os_http_open,
	.http_close = os_http_close,
	.fs_open = os_fs_open,
	.fs_rename = os_fs_rename,
	.fs_unlink = os_fs_unlink,
	.fs_mkdir = os_fs_mkdir,
	.fs_rmdir = os_fs_rmdir,
	.fs_sync_dir = os_fs_sync_dir,
	.fs_stat = os_fs_stat,
	.fs_set_mtime = os_fs_set_mtime,
	.fs_list = os_fs_list,
	.fs_space = os_fs_space,
	.fs_lock = os_fs_lock,
	.fs_unlock = os_fs_unlock,
	.zk_open = os_zk_open,
};

static void on_signal_fd(struct ev_loop *ev, ev_io *io, int events)
{
	struct os_world *w = io->data;
	struct signalfd_siginfo si;

	while (read(w->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (!w->on_signal)
			_exit(128 + (int)si.ssi_signo); /* as a shell would report it */
		w->on_signal(w->signal_ctx, (int)si.ssi_signo);
	}
}

static void signals_open(struct os_world *w)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, &w->old_signals); /* threads made later inherit it */
	w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (w->signal_fd < 0)
		os_die("signalfd");
}

struct os_world *os_world_new(const struct os_world_config *cfg)
{
	static const struct os_world_config defaults = {.min_level = LOG_INFO};
	struct os_world *w = MEM_NEW(struct os_world);

	if (!cfg)
		cfg = &defaults;
	w->log_fd = cfg->log_fd ? cfg->log_fd : STDERR_FILENO;
	w->log = (struct logger){.min_level = cfg->min_level, .sink = log_sink, .ctx = w};
	w->env = (struct env){.ops = &os_env_ops, .log = &w->log, .hash_seed = 0x6b6c616d6d2d3031};
	list_init(&w->loops);
	pthread_mutex_init(&w->loops_lock, NULL);
	pthread_mutex_init(&w->ports_lock, NULL);
	signals_open(w);
	w->pool = os_pool_new(w, cfg->io_threads, cfg->long_threads);
	w->control = os_loop_make(w, -1, "control", false);
	ev_io_init(&w->signal_io, on_signal_fd, w->signal_fd, EV_READ);
	w->signal_io.data = w;
	ev_io_start(w->control->ev, &w->signal_io);
	loop_set_current(&w->control->loop);
	return w;
}

void os_world_load_threads(struct os_world *w, int count)
{
	os_pool_threads(w->pool, OS_POOL_LOAD, count);
}

struct env *os_world_env(struct os_world *w)
{
	return &w->env;
}

struct loop *os_world_control_loop(struct os_world *w)
{
	return &w->control->loop;
}

void os_world_on_signal(struct os_world *w, void (*fn)(void *ctx, int signo), void *ctx)
{
	w->on_signal = fn;
	w->signal_ctx = ctx;
}

int os_world_run(struct os_world *w)
{
	os_loop_run(w->control);
	/* It may run again (tests do). */
	atomic_store_explicit(&w->control->stop, false, memory_order_release);
	return atomic_load(&w->exit_status);
}

void os_world_stop(struct os_world *w, int status)
{
	atomic_store(&w->exit_status, status);
	atomic_store_explicit(&w->control->stop, true, memory_order_release);
	os_loop_wake(w->control);
}

void os_world_free(struct os_world *w)
{
	if (!w)
		return;
	LIST_FOR (it, &w->loops)
		os_loop_join(LIST_ENTRY(it, struct os_loop, link));
	if (w->zk)
		os_zk_thread_free(w->zk);
	os_pool_free(w->pool);
	ev_io_stop(w->control->ev, &w->signal_io);
	close(w->signal_fd);
	pthread_sigmask(SIG_SETMASK, &w->old_signals, NULL);
	LIST_FOR_SAFE (it, tmp, &w->loops)
		os_loop_free(LIST_ENTRY(it, struct os_loop, link));
	pthread_mutex_destroy(&w->loops_lock);
	pthread_mutex_destroy(&w->ports_lock);
	mem_free(w);
}
