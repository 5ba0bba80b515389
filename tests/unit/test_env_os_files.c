/* test_env_os_files.c: the os backend of common/env against real files and names, the process, its little HTTP server. */
#define _GNU_SOURCE 1
#include "tests/unit/os_body.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/env/conn.h"
#include "common/env/fs.h"

/* ---- files ---- */

static struct file *ff;
static struct file_op ops[12];
static size_t ops_done, ops_wanted;

static void op_done(struct file_op *op)
{
	loop_assert_owner(ctl);
	note((char)('a' + (op - ops)));
	CU_ASSERT_EQUAL(op->err, 0);
	CU_ASSERT_EQUAL(op->chain.bytes, 0);
	if (++ops_done == ops_wanted)
		os_world_stop(w, 0);
}

static void append(size_t i, uint64_t pos, const char *text, int times)
{
	struct chain ch;

	chain_init(&ch);
	for (int k = 0; k < times; k++)
		chain_add_buf(&ch, buf_copy(text, strlen(text)), 0, strlen(text));
	file_append(ctl, ff, &ops[i], pos, &ch);
	CU_ASSERT_EQUAL(ch.bytes, 0);
}

static void ops_begin(size_t wanted)
{
	order_len = ops_done = 0;
	ops_wanted = wanted;
	memset(ops, 0, sizeof(ops));
	for (size_t i = 0; i < 12; i++)
		ops[i].done = op_done;
}

static void test_files_async(void)
{
	char text[64] = "";
	size_t got;
	uint64_t size;

	world_up();
	CU_ASSERT_EQUAL_FATAL(fs_open(env, path_of("f"), FS_WRITE | FS_CREATE, &ff), 0);
	/* append, sync, append, truncate, append, sync: the last append must not be cut off */
	ops_begin(7);
	append(0, 0, "aaaa", 1);
	file_sync(ctl, ff, &ops[1]);
	append(2, 4, "bbbb", 1);
	file_truncate(ctl, ff, &ops[3], 6);
	append(4, 6, "cc", 2);
	file_sync(ctl, ff, &ops[5]);
	file_sync(ctl, ff, &ops[6]);
	CU_ASSERT_EQUAL(order_len, 0); /* never inside the call */
	world_run();
	CU_ASSERT_EQUAL(file_read_now(ff, 0, text, sizeof(text), &got), 0);
	CU_ASSERT_EQUAL(got, 10);
	CU_ASSERT_NSTRING_EQUAL(text, "aaaabbcccc", 10);
	CU_ASSERT_TRUE(strchr(order, 'a') < strchr(order, 'c') && strchr(order, 'c') < strchr(order, 'e'));
	CU_ASSERT_TRUE(strchr(order, 'd') < strchr(order, 'e'));
	CU_ASSERT_TRUE(strchr(order, 'b') < strchr(order, 'f') && strchr(order, 'f') < strchr(order, 'g'));
	/* more pieces than one call takes */
	ops_begin(1);
	append(0, 10, "0123456789", 1000);
	world_run();
	CU_ASSERT_EQUAL(file_size_now(ff, &size), 0);
	CU_ASSERT_EQUAL(size, 10010);
	CU_ASSERT_TRUE(file_resident(ff, 10, 10000));
	/* reads: all, beyond the end, from a cold cache */
	struct buf *b = buf_new(20000);
	ops_begin(2);
	file_read(ctl, ff, &ops[0], 4, 6, b, 0);
	file_read(ctl, ff, &ops[1], 10005, 1000, b, 6);
	CU_ASSERT_EQUAL(order_len, 0);
	world_run();
	CU_ASSERT_EQUAL(ops[0].len, 6);
	CU_ASSERT_EQUAL(ops[1].len, 5);
	CU_ASSERT_NSTRING_EQUAL(b->data, "bbcccc56789", 11);
	file_writeback(ff, 0, 10010);
	CU_ASSERT_EQUAL(file_sync_now(ff), 0);
	int fd = open(path_of("f"), O_RDONLY);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	ops_begin(1);
	file_read(ctl, ff, &ops[0], 0, 10010, b, 0);
	world_run();
	CU_ASSERT_EQUAL(ops[0].len, 10010);
	CU_ASSERT_NSTRING_EQUAL(b->data + 10000, "0123456789", 10);
	buf_unref(b);
	file_unref(ff);
	world_down();
}

static void disk_full_done(struct file_op *op)
{
	os_world_stop(w, 0);
}

static void test_files_no_space(void)
{
	struct chain ch;

	world_up();
	if (fs_open(env, "/dev/full", FS_WRITE, &ff) == 0) {
		chain_init(&ch);
		chain_add_copy(&ch, "x", 1);
		ops[0].done = disk_full_done;
		file_append(ctl, ff, &ops[0], 0, &ch);
		world_run();
		CU_ASSERT_EQUAL(ops[0].err, ERR_NOSPACE);
		file_unref(ff);
	}
	world_down();
}

static void test_fs_names(void)
{
	struct fs_names names;
	struct fs_stat st;
	struct fs_space space;
	struct file *f, *lock, *lock2;
	char *text;
	size_t len;

	world_up();
	char dir[512];
	snprintf(dir, sizeof(dir), "%s", path_of("dir"));
	CU_ASSERT_EQUAL(fs_mkdir(env, dir, 0700), 0);
	CU_ASSERT_EQUAL(fs_mkdir(env, dir, 0700), ERR_EXIST);
	CU_ASSERT_EQUAL(fs_mkdir(env, path_of("no/parent"), 0700), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_write_file(env, path_of("dir/b"), "hello", 5, 0644), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, path_of("dir/B"), "", 0, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, path_of("dir/a"), "x", 1, 0600), 0);
	CU_ASSERT_EQUAL(fs_write_file(env, path_of("dir/a"), "yy", 2, 0600), 0);
	CU_ASSERT_EQUAL(fs_list(env, dir, &names), 0);
	CU_ASSERT_EQUAL_FATAL(names.count, 3);
	CU_ASSERT_STRING_EQUAL(names.names[0], "B");
	CU_ASSERT_STRING_EQUAL(names.names[1], "a");
	CU_ASSERT_STRING_EQUAL(names.names[2], "b");
	fs_names_free(&names);
	CU_ASSERT_EQUAL(fs_read_file(env, path_of("dir/a"), 2, &text, &len), 0);
	CU_ASSERT_STRING_EQUAL(text, "yy");
	mem_free(text);
	CU_ASSERT_EQUAL(fs_read_file(env, path_of("dir/a"), 1, &text, &len), ERR_LIMIT);
	CU_ASSERT_EQUAL(fs_read_file(env, path_of("dir/none"), 1, &text, &len), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_set_mtime(env, path_of("dir/b"), 1234567890123), 0);
	CU_ASSERT_EQUAL(fs_stat(env, path_of("dir/b"), &st), 0);
	CU_ASSERT_EQUAL(st.mtime_ms, 1234567890123);
	CU_ASSERT_EQUAL(st.bytes, 5);
	CU_ASSERT_FALSE(st.is_dir);
	CU_ASSERT_EQUAL(fs_rename(env, path_of("dir/b"), path_of("dir/a")), 0);
	CU_ASSERT_EQUAL(fs_sync_dir(env, dir), 0);
	CU_ASSERT_EQUAL(fs_rmdir(env, dir), ERR_NOTEMPTY);
	CU_ASSERT_EQUAL(fs_unlink(env, path_of("dir/a")), 0);
	CU_ASSERT_EQUAL(fs_unlink(env, path_of("dir/a")), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_unlink(env, path_of("dir/B")), 0);
	CU_ASSERT_EQUAL(fs_rmdir(env, dir), 0);
	CU_ASSERT_EQUAL(fs_space(env, unit_tmpdir(), &space), 0);
	CU_ASSERT_TRUE(space.bytes_total >= space.bytes_free && space.bytes_total > 0);
	CU_ASSERT_EQUAL(fs_open(env, path_of("none"), FS_READ, &f), ERR_NOENT);
	CU_ASSERT_EQUAL(fs_open(env, path_of("new"), FS_WRITE | FS_CREATE | FS_EXCL, &f), 0);
	CU_ASSERT_EQUAL(file_write_now(f, 3, "abc", 3), 0);
	CU_ASSERT_EQUAL(file_truncate_now(f, 5), 0);
	file_unref(f);
	CU_ASSERT_EQUAL(fs_open(env, path_of("new"), FS_WRITE | FS_CREATE | FS_EXCL, &f), ERR_EXIST);
	CU_ASSERT_EQUAL(fs_lock(env, path_of("lock"), &lock), 0);
	CU_ASSERT_EQUAL(fs_lock(env, path_of("lock"), &lock2), ERR_LOCKED);
	fs_unlock(lock);
	CU_ASSERT_EQUAL(fs_lock(env, path_of("lock"), &lock2), 0);
	fs_unlock(lock2);
	world_down();
}

/* ---- process ---- */

static void got_signal(void *ctx, int signo)
{
	loop_assert_owner(ctl);
	*(int *)ctx = signo;
	os_world_stop(w, 0);
}

static void test_process(void)
{
	char boot[ENV_BOOT_ID_LEN + 1];
	uint64_t before, now;
	int signo = 0;

	world_up();
	env_boot_id(env, boot);
	CU_ASSERT_EQUAL(strlen(boot), ENV_BOOT_ID_LEN);
	CU_ASSERT_EQUAL(env_pid(env), getpid());
	CU_ASSERT_TRUE(env_resident_bytes(env) > 100000);
	CU_ASSERT_TRUE(env_wall_ms(env) > 1500000000000);
	CU_ASSERT_NOT_EQUAL(env_random_u64(env), env_random_u64(env));
	for (int i = 0; i < 100; i++)
		CU_ASSERT_TRUE(env_random_below(env, 3) < 3);
	os_raise_nofile(&before, &now);
	CU_ASSERT_TRUE(now >= before);
	os_world_on_signal(w, got_signal, &signo);
	kill(getpid(), SIGTERM);
	world_run();
	CU_ASSERT_EQUAL(signo, SIGTERM);
	world_down();
}

/* ---- HTTP ---- */

static void http_answer(void *ctx, const char *method, const char *path, struct http_reply *reply)
{
	loop_assert_owner(ctl);
	reply->status = strcmp(path, "/health") == 0 ? 503 : 404;
	reply->content_type = "application/json";
	str_printf(reply->body, "{\"path\":\"%s\"}", path);
}

struct http_client {
	uint16_t port;
	const char *request;
	char reply[2048];
};

static void *http_thread(void *arg)
{
	struct http_client *h = arg;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(h->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	size_t n = 0;
	ssize_t got;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && write(fd, h->request, strlen(h->request)) > 0) {
		while (n < sizeof(h->reply) - 1 && (got = read(fd, h->reply + n, sizeof(h->reply) - 1 - n)) > 0)
			n += (size_t)got;
	}
	h->reply[n] = '\0';
	close(fd);
	os_world_stop(w, 0);
	return NULL;
}

static void test_http(void)
{
	struct http *h;
	struct http_client c = {0};
	pthread_t t;

	world_up();
	CU_ASSERT_EQUAL_FATAL(http_open(ctl, "127.0.0.1", 0, http_answer, NULL, &h, &c.port), 0);
	c.request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	pthread_create(&t, NULL, http_thread, &c);
	world_run();
	pthread_join(t, NULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.reply, "HTTP/1.1 503"));
	CU_ASSERT_PTR_NOT_NULL(strstr(c.reply, "application/json"));
	CU_ASSERT_PTR_NOT_NULL(strstr(c.reply, "\r\n\r\n{\"path\":\"/health\"}"));
	c.request = "POST /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
	pthread_create(&t, NULL, http_thread, &c);
	world_run();
	pthread_join(t, NULL);
	CU_ASSERT_PTR_NOT_NULL(strstr(c.reply, "HTTP/1.1 405"));
	uint16_t other_port;
	struct http *h2;
	CU_ASSERT_EQUAL(http_open(ctl, "127.0.0.1", c.port, http_answer, NULL, &h2, &other_port), ERR_EXIST);
	http_close(h);
	world_down();
}

UNIT_MAIN("env_os_files", {"files_async", test_files_async}, {"files_no_space", test_files_no_space}, {"fs_names", test_fs_names}, {"process", test_process},
	  {"http", test_http})
