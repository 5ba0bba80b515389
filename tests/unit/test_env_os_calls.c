/* test_env_os_calls.c: the os backend when the kernel does less than it was asked: calls that are interrupted, do a part, or fail. The calls are
 * defined here, in front of the C library's, and go on to the kernel with what the test has put into `calls`. A real disk and a real socket do the same
 * seldom enough for a mistake to be shipped, and often enough for it to corrupt somebody's log.
 */
#define _GNU_SOURCE 1
#include "tests/unit/os_body.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/env/conn.h"
#include "common/env/fs.h"

/* ---- between the backend and the kernel ---- */

enum call { PREAD, PREADV2, PWRITE, PWRITEV, FTRUNCATE, FDATASYNC, SENDMSG, SENDFILE, RECV, CALLS };
static struct {
	atomic_int interrupts; /* so many calls end with EINTR */
	atomic_int error;      /* the others with this, unless 0 */
	atomic_size_t most;    /* bytes that one call takes, unless 0 */
	atomic_int made;
	void (*_Atomic before)(void);
} calls[CALLS];

static void calls_reset(void)
{
	for (int i = 0; i < CALLS; i++) {
		atomic_store(&calls[i].interrupts, 0);
		atomic_store(&calls[i].error, 0);
		atomic_store(&calls[i].most, 0);
		atomic_store(&calls[i].made, 0);
		atomic_store(&calls[i].before, NULL);
	}
}

static bool refused(enum call c)
{
	int left = atomic_load(&calls[c].interrupts);

	atomic_fetch_add(&calls[c].made, 1);
	void (*before)(void) = atomic_load(&calls[c].before);
	if (before)
		before();
	while (left > 0)
		if (atomic_compare_exchange_weak(&calls[c].interrupts, &left, left - 1)) {
			errno = EINTR;
			return true;
		}
	errno = atomic_load(&calls[c].error);
	return errno != 0;
}

static size_t part(enum call c, size_t len)
{
	size_t most = atomic_load(&calls[c].most);
	return most && most < len ? most : len;
}

/* The front of a vector, as far as one call takes it. */
static int front(enum call c, const struct iovec *iov, int count, struct iovec *out)
{
	size_t left = part(c, SIZE_MAX);
	int n = 0;

	for (; n < count && left > 0; n++) {
		out[n] = iov[n];
		if (out[n].iov_len > left)
			out[n].iov_len = left;
		left -= out[n].iov_len;
	}
	return n;
}

ssize_t pread(int fd, void *out, size_t len, off_t pos)
{
	return refused(PREAD) ? -1 : syscall(SYS_pread64, fd, out, part(PREAD, len), pos);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t pos, int flags)
{
	struct iovec some[64];
	/* not every file system can say what is in its cache: here it is what the test says */
	return refused(PREADV2) ? -1 : syscall(SYS_preadv2, fd, some, front(PREADV2, iov, count, some), pos, 0L, flags & ~RWF_NOWAIT);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t pos)
{
	return refused(PWRITE) ? -1 : syscall(SYS_pwrite64, fd, bytes, part(PWRITE, len), pos);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t pos)
{
	struct iovec some[1024];
	return refused(PWRITEV) ? -1 : syscall(SYS_pwritev, fd, some, front(PWRITEV, iov, count, some), pos, 0L);
}

int ftruncate(int fd, off_t bytes) { return refused(FTRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, bytes); }
int fdatasync(int fd) { return refused(FDATASYNC) ? -1 : (int)syscall(SYS_fdatasync, fd); }

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct iovec some[64];
	struct msghdr cut = *m;
	if (refused(SENDMSG))
		return -1;
	cut.msg_iovlen = (size_t)front(SENDMSG, m->msg_iov, (int)m->msg_iovlen, some);
	cut.msg_iov = some;
	return syscall(SYS_sendmsg, fd, &cut, flags);
}

ssize_t sendfile(int out, int in, off_t *pos, size_t len)
{
	return refused(SENDFILE) ? -1 : syscall(SYS_sendfile, out, in, pos, part(SENDFILE, len));
}

ssize_t recv(int fd, void *out, size_t len, int flags)
{
	return refused(RECV) ? -1 : syscall(SYS_recvfrom, fd, out, part(RECV, len), flags, NULL, NULL);
}

/* ---- files ---- */

static struct file *ff;
static struct file_op ops[4];
static int ops_left;

static void op_done(struct file_op *op)
{
	(void)op;
	if (--ops_left == 0)
		os_world_stop(w, 0);
}

static void ops_begin(int count)
{
	memset(ops, 0, sizeof(ops));
	for (int i = 0; i < count; i++)
		ops[i].done = op_done;
	ops_left = count;
}

static uint8_t pattern(uint64_t i) { return (uint8_t)(i * 131 + (i >> 8) * 7); }

static void expect_file(uint64_t bytes)
{
	uint8_t *got = mem_alloc(bytes + 1);
	size_t n, bad = 0;

	calls_reset();
	CU_ASSERT_EQUAL(file_read_now(ff, 0, got, bytes + 1, &n), 0);
	CU_ASSERT_EQUAL(n, bytes);
	for (size_t i = 0; i < n; i++)
		bad += got[i] != pattern(i);
	CU_ASSERT_EQUAL(bad, 0);
	mem_free(got);
}

static void begin_file(void)
{
	calls_reset();
	world_up();
	CU_ASSERT_EQUAL_FATAL(fs_open(env, path_of("f"), FS_WRITE | FS_CREATE | FS_TRUNC, &ff), 0);
}

static void end_file(void)
{
	file_unref(ff);
	world_down();
	calls_reset();
}

static void test_calls_of_jobs(void)
{
	uint8_t bytes[100], back[200];
	size_t got = 0;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = pattern(i);
	begin_file();
	atomic_store(&calls[PWRITE].most, 7);
	atomic_store(&calls[PWRITE].interrupts, 2);
	CU_ASSERT_EQUAL(file_write_now(ff, 0, bytes, sizeof(bytes)), 0);
	CU_ASSERT_EQUAL(atomic_load(&calls[PWRITE].made), 2 + 15);
	expect_file(sizeof(bytes));
	atomic_store(&calls[PREAD].most, 9);
	atomic_store(&calls[PREAD].interrupts, 2);
	CU_ASSERT_EQUAL(file_read_now(ff, 0, back, sizeof(back), &got), 0);
	CU_ASSERT(got == sizeof(bytes) && memcmp(back, bytes, got) == 0);
	atomic_store(&calls[FTRUNCATE].interrupts, 3);
	CU_ASSERT_EQUAL(file_truncate_now(ff, 60), 0);
	expect_file(60);
	/* errors are told */
	atomic_store(&calls[PWRITE].error, ENOSPC);
	CU_ASSERT_EQUAL(file_write_now(ff, 0, bytes, 1), ERR_NOSPACE);
	atomic_store(&calls[PREAD].error, EIO);
	CU_ASSERT_EQUAL(file_read_now(ff, 0, back, 1, &got), ERR_IO);
	atomic_store(&calls[FTRUNCATE].error, EIO);
	CU_ASSERT_EQUAL(file_truncate_now(ff, 1), ERR_IO);
	atomic_store(&calls[FDATASYNC].error, EIO);
	CU_ASSERT_EQUAL(file_sync_now(ff), ERR_IO);
	end_file();
}

static void append(size_t i, uint64_t pos, int pieces, int piece_bytes)
{
	struct chain ch;

	chain_init(&ch);
	for (int k = 0; k < pieces; k++) {
		struct buf *b = buf_new((size_t)piece_bytes);
		for (int at = 0; at < piece_bytes; at++)
			b->data[at] = pattern(pos + (uint64_t)(k * piece_bytes + at));
		chain_add_buf(&ch, b, 0, (size_t)piece_bytes);
	}
	file_append(ctl, ff, &ops[i], pos, &ch);
}

/* Cuts at each place of a piece: within it, at its end, over several. */
static void test_appends(void)
{
	for (size_t most = 1; most < 40; most++) {
		begin_file();
		atomic_store(&calls[PWRITEV].most, most);
		atomic_store(&calls[PWRITEV].interrupts, 2);
		ops_begin(2);
		append(0, 0, 20, 11);
		append(1, 220, 1, 100);
		world_run();
		CU_ASSERT(ops[0].err == 0 && ops[1].err == 0);
		expect_file(320);
		end_file();
	}
	begin_file();
	atomic_store(&calls[PWRITEV].error, EIO);
	ops_begin(1);
	append(0, 0, 2, 10);
	world_run();
	CU_ASSERT_EQUAL(ops[0].err, ERR_IO);
	CU_ASSERT_EQUAL(ops[0].chain.bytes, 0);
	end_file();
}

/* One call does several syncs that wait; when it fails, none of them has happened. */
static void test_syncs_fail_together(void)
{
	begin_file();
	atomic_store(&calls[FDATASYNC].error, EIO);
	ops_begin(4);
	for (int i = 0; i < 4; i++)
		file_sync(ctl, ff, &ops[i]);
	world_run();
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(ops[i].err, ERR_IO);
	CU_ASSERT_EQUAL(atomic_load(&calls[FDATASYNC].made), 2);
	end_file();
}

static void test_reads(void)
{
	struct buf *b = buf_new(500);

	begin_file();
	ops_begin(1);
	append(0, 0, 40, 10);
	world_run();
	/* a part of it is in the page cache, or nothing: the rest is waited for; a short file is not */
	for (int how = 0; how < 3; how++) {
		calls_reset();
		if (how == 1)
			atomic_store(&calls[PREADV2].most, 50);
		if (how == 2)
			atomic_store(&calls[PREADV2].error, EAGAIN);
		atomic_store(&calls[PREAD].most, 33);
		atomic_store(&calls[PREAD].interrupts, 2);
		memset(b->data, 0, 500);
		ops_begin(2);
		file_read(ctl, ff, &ops[0], 100, 200, b, 0);
		file_read(ctl, ff, &ops[1], 350, 100, b, 200);
		world_run();
		CU_ASSERT(ops[0].err == 0 && ops[0].len == 200);
		CU_ASSERT(ops[1].err == 0 && ops[1].len == 50);
		for (size_t i = 0; i < 200; i++)
			CU_ASSERT_EQUAL(b->data[i], pattern(100 + i));
		for (size_t i = 0; i < 50; i++)
			CU_ASSERT_EQUAL(b->data[200 + i], pattern(350 + i));
	}
	atomic_store(&calls[PREAD].error, EIO);
	ops_begin(1);
	file_read(ctl, ff, &ops[0], 0, 10, b, 0);
	world_run();
	CU_ASSERT(ops[0].err == ERR_IO && ops[0].len == 0);
	buf_unref(b);
	end_file();
}

/* What was cut off is not taken for resident because it was written a moment ago: the loop would wait for the disk. */
static void test_resident(void)
{
	begin_file();
	ops_begin(1);
	append(0, 0, 10, 10);
	world_run();
	atomic_store(&calls[PREADV2].error, EAGAIN);
	CU_ASSERT_TRUE(file_resident(ff, 0, 100));
	CU_ASSERT_FALSE(file_resident(ff, 0, 101));
	CU_ASSERT_EQUAL(file_truncate_now(ff, 40), 0);
	CU_ASSERT_TRUE(file_resident(ff, 0, 40));
	CU_ASSERT_FALSE(file_resident(ff, 0, 41));
	end_file();
}

/* ---- connections ---- */

struct end {
	struct conn *c;
	uint8_t space[4096];
	uint64_t received, bad;
	int closed, err;
};
static struct end server, client;
static struct listener *ln;

static bool end_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct end *e = ctx;
	*ret_ptr = e->space;
	*ret_len = sizeof(e->space);
	return true;
}

static void end_data(struct conn *c, void *ctx, size_t len)
{
	struct end *e = ctx;
	for (size_t i = 0; i < len; i++)
		e->bad += e->space[i] != pattern(e->received + i);
	e->received += len;
}

static void end_closed(struct conn *c, void *ctx, int err)
{
	struct end *e = ctx;
	e->err = err;
	e->closed = 1;
	if (server.closed && client.closed)
		os_world_stop(w, 0);
}

static const struct conn_handler handler = {end_space, end_data, NULL, NULL, end_closed};
static struct chain to_send;
static void (*after_send)(void);

static void on_accept(struct listener *l, struct conn *c, void *ctx)
{
	server.c = c;
	c->handler = &handler;
	c->ctx = &server;
	conn_send(c, &to_send);
	conn_shutdown(c);
	if (after_send)
		after_send();
}

#define BYTES 200000u /* not so many that conn_send writes at once */

/* The file holds the pattern; the chain sends it in turn from the file and from memory. */
static void begin_conn(void)
{
	uint8_t *all = mem_alloc(BYTES);

	begin_file();
	for (uint64_t i = 0; i < BYTES; i++)
		all[i] = pattern(i);
	CU_ASSERT_EQUAL_FATAL(file_write_now(ff, 0, all, BYTES), 0);
	chain_init(&to_send);
	for (uint64_t pos = 0, n = 0; pos < BYTES; n++) {
		uint64_t len = n % 3 == 0 ? 13 : n % 3 == 1 ? 2000 : 40000;
		len = len < BYTES - pos ? len : BYTES - pos;
		if (n % 3 == 2)
			chain_add_file(&to_send, ff, pos, len);
		else
			chain_add_buf(&to_send, buf_copy(all + pos, len), 0, len);
		pos += len;
	}
	mem_free(all);
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	after_send = NULL;
	atomic_store(&calls[PWRITE].made, 0);
	CU_ASSERT_EQUAL_FATAL(listener_open(ctl, &(struct listen_config){.host = "127.0.0.1", .backlog = 4, .on_accept = on_accept}, &ln), 0);
}

/* Until both ends are gone. */
static void run_conn(void)
{
	client.c = conn_connect(ctl, "127.0.0.1", ln->port, 5000, &handler, &client);
	world_run();
	CU_ASSERT_EQUAL(client.bad, 0);
	listener_close(ln);
	end_file();
}

static void test_conn_parts(void)
{
	for (int cold = 0; cold < 2; cold++) {
		begin_conn();
		atomic_store(&calls[SENDMSG].most, 700);
		atomic_store(&calls[SENDMSG].interrupts, 5);
		atomic_store(&calls[SENDFILE].most, 3000);
		atomic_store(&calls[SENDFILE].interrupts, 5);
		atomic_store(&calls[RECV].most, 999);
		atomic_store(&calls[RECV].interrupts, 5);
		if (cold) { /* ranges go through the pool, in front of what waits behind them */
			atomic_store(&calls[PREADV2].error, EAGAIN);
			atomic_store(&calls[PREAD].most, 7000);
			atomic_store(&calls[PREAD].interrupts, 5);
		}
		run_conn();
		CU_ASSERT_EQUAL(client.received, BYTES);
		CU_ASSERT(server.err == ERR_CLOSED && client.err == ERR_CLOSED);
	}
}

static void bump(void) { file_generation_bump(ff); }

/* The range is changed before it is sent, while it is sent, or while it is read for that: what its reader was promised is not there any more (G4). */
static void test_conn_generations(void)
{
	for (int when = 0; when < 3; when++) {
		begin_conn();
		if (when == 0)
			after_send = bump;
		if (when == 1) { /* the last one, so that nobody looks after it */
			chain_clear(&to_send);
			chain_add_file(&to_send, ff, 0, 30000);
			atomic_store(&calls[SENDFILE].before, bump);
		}
		if (when == 2) {
			atomic_store(&calls[PREADV2].error, EAGAIN);
			atomic_store(&calls[PREAD].before, bump);
		}
		run_conn();
		CU_ASSERT_EQUAL(server.err, ERR_IO);
		CU_ASSERT(client.received < 60000);
		/* of a range that was read from the disk for it, nothing; of one that was already on its way the frame is cut, which its reader sees */
		CU_ASSERT(when == 1 || client.received <= 13 + 2000);
	}
}

/* A range that the file does not hold, cold: what there is of it is not padded. And a disk that fails. */
static void test_conn_cold_failures(void)
{
	for (int how = 0; how < 2; how++) {
		begin_conn();
		atomic_store(&calls[PREADV2].error, EAGAIN);
		CU_ASSERT_EQUAL(file_truncate_now(ff, how ? BYTES : 3000), 0);
		if (how)
			atomic_store(&calls[PREAD].error, EIO);
		run_conn();
		CU_ASSERT_EQUAL(server.err, ERR_IO);
		CU_ASSERT(client.received <= 13 + 2000);
	}
}

UNIT_MAIN("env_os_calls", {"calls_of_jobs", test_calls_of_jobs}, {"appends", test_appends}, {"syncs_fail_together", test_syncs_fail_together},
	  {"reads", test_reads}, {"resident", test_resident}, {"conn_parts", test_conn_parts}, {"conn_generations", test_conn_generations},
	  {"conn_cold_failures", test_conn_cold_failures})
