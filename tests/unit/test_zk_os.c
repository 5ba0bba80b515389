/* test_zk_os.c: the os backend's ZooKeeper session against a real server (tests/tools/zk-start, Java). Part of make check-cluster.
 * Ports 21910 and 21911, unless KLAMM_TEST_ZK_PORT names another first one.
 */
#define _GNU_SOURCE 1
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/loop.h"
#include "common/env/os/os.h"
#include "common/env/zk.h"

static struct os_world *w;
static struct env *env;
static struct loop *ctl;
static struct timer guard;
static int port = 21910;

/* ---- the server ---- */

static const char *zk_dir(void)
{
	static char dir[300];

	snprintf(dir, sizeof(dir), "%s/zk", unit_tmpdir());
	return dir;
}

static int server(const char *cmd)
{
	char line[1200];
	const char *src = getenv("srcdir");

	/* Session timeouts from 1 s, 2 ticks of 500 ms, to what outlasts a slow machine. */
	snprintf(line, sizeof(line), "%s/tests/tools/zk-start %s %s %s", src ? src : ".", cmd, zk_dir(), "");
	if (strcmp(cmd, "start") == 0)
		snprintf(line + strlen(line), 64, "%d 500 maxSessionTimeout=120000", port);
	return system(line);
}

static pid_t server_pid(void)
{
	char path[400];
	int pid = 0;

	snprintf(path, sizeof(path), "%s/zookeeper.pid", zk_dir());
	FILE *f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	return pid;
}

static void server_down(void)
{
	if (server("kill")) {
	}
}

/* ---- the world ---- */

static void guard_fired(void *ctx)
{
	os_world_stop(w, 99);
}

static void world_up(void)
{
	static bool started;

	if (!started) {
		started = true;
		unit_tmpdir();
		atexit(server_down);
		if (getenv("KLAMM_TEST_ZK_PORT"))
			port = atoi(getenv("KLAMM_TEST_ZK_PORT"));
	}
	if (server("status") != 0)
		CU_ASSERT_EQUAL_FATAL(server("start"), 0);
	CU_ASSERT_EQUAL_FATAL(server("status"), 0);
	w = os_world_new(&(struct os_world_config){.min_level = LOG_ERROR});
	env = os_world_env(w);
	ctl = os_world_control_loop(w);
	timer_init(&guard, ctl, guard_fired, NULL);
	timer_set_ms(&guard, 120000);
}

static void run(void)
{
	CU_ASSERT_EQUAL_FATAL(os_world_run(w), 0);
}

/* ---- sessions that write down what happens ---- */

struct session {
	struct zk *zk;
	char events[400]; /* "connected resumed suspended rights expired" as C R S L E */
	struct zk_event_info last;
	char wait_for; /* the event that ends run() */
	char results[400];
	int left; /* results until run() ends */
	char text[200];
	int err;
	struct zk_stat stat;
	int looks;
	int looks_wanted;
	struct zk_op_result multi[8];
};

static void add(char *text, size_t bytes, const char *what)
{
	snprintf(text + strlen(text), bytes - strlen(text), "%s", what);
}

static void on_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
	struct session *s = ctx;
	char c = ev->event == ZK_CONNECTED ? (ev->resumed ? 'R' : 'C') : ev->event == ZK_SUSPENDED ? 'S' : ev->event == ZK_RIGHTS_LOST ? 'L' : 'E';
	char text[2] = {c, 0};

	CU_ASSERT_PTR_EQUAL(loop_current(), ctl);
	add(s->events, sizeof(s->events), text);
	s->last = *ev;
	CU_ASSERT_EQUAL(zk_connected(zk), ev->event == ZK_CONNECTED);
	if (c == s->wait_for)
		os_world_stop(w, 0);
}

static void open_session_patient(struct session *s, const char *chroot, int timeout_ms, int op_timeout_ms)
{
	char connect[200];

	memset(s, 0, sizeof(*s));
	snprintf(connect, sizeof(connect), "127.0.0.1:%d%s", port, chroot);
	struct zk_config cfg = {.connect = connect, .session_timeout_ms = timeout_ms, .op_timeout_ms = op_timeout_ms, .on_event = on_event, .ctx = s};
	CU_ASSERT_EQUAL_FATAL(zk_open(ctl, &cfg, &s->zk), 0);
}

static void open_session(struct session *s, const char *chroot, int timeout_ms)
{
	open_session_patient(s, chroot, timeout_ms, 60000);
}

static void wait_event(struct session *s, char c)
{
	s->wait_for = c;
	run();
	s->wait_for = 0;
}

static void closed(void *ctx)
{
	os_world_stop(w, 0);
}

static void close_session(struct session *s)
{
	zk_close(s->zk, closed, NULL);
	run();
	s->zk = NULL;
}

static void result(struct session *s, char kind, int err)
{
	char text[16];

	CU_ASSERT_PTR_EQUAL(loop_current(), ctl);
	s->err = err;
	snprintf(text, sizeof(text), "%c%d ", kind, err);
	add(s->results, sizeof(s->results), text);
	if (s->left > 0 && --s->left == 0)
		os_world_stop(w, 0);
}

static void got_data(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct session *s = ctx;

	snprintf(s->text, sizeof(s->text), "%s%.*s", data.ptr ? "" : "null", (int)data.len, data.ptr ? (const char *)data.ptr : "");
	if (st)
		s->stat = *st;
	result(s, 'g', err);
}

static void got_stat(void *ctx, int err, const struct zk_stat *st)
{
	struct session *s = ctx;

	if (st)
		s->stat = *st;
	result(s, 's', err);
}

static void got_names(void *ctx, int err, const struct zk_names *names, const struct zk_stat *st)
{
	struct session *s = ctx;

	s->text[0] = '\0';
	for (size_t i = 0; names && i < names->count; i++) {
		add(s->text, sizeof(s->text), names->names[i]);
		add(s->text, sizeof(s->text), " ");
	}
	result(s, 'n', err);
}

static void got_created(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct session *s = ctx;

	snprintf(s->text, sizeof(s->text), "%s", path ? path : "");
	if (st)
		s->stat = *st;
	result(s, 'c', err);
}

static void got_none(void *ctx, int err)
{
	result(ctx, 'v', err);
}

static void got_multi(void *ctx, int err, const struct zk_op_result *results, size_t count)
{
	struct session *s = ctx;

	for (size_t i = 0; i < count && i < 8; i++)
		s->multi[i] = results[i];
	if (count > 0 && results[0].path)
		snprintf(s->text, sizeof(s->text), "%s", results[0].path);
	result(s, 'm', err);
}

static void wait_results(struct session *s, int count)
{
	s->left = count;
	run();
}

static void create(struct session *s, const char *path, const char *data, int flags)
{
	zk_create(s->zk, path, slice_str(data), flags, got_created, s);
}

static void look(void *ctx, const char *path)
{
	struct session *s = ctx;

	snprintf(s->text, sizeof(s->text), "%s", path);
	s->looks++;
	if (s->looks_wanted && s->looks >= s->looks_wanted)
		os_world_stop(w, 0);
}

static void wait_looks(struct session *s, int count)
{
	s->looks_wanted = count;
	if (s->looks < count)
		run();
	s->looks_wanted = 0;
}

static struct session a, b;

/* ---- cases ---- */

static void test_operations(void)
{
	world_up();
	open_session(&a, "/deep/root", 30000);
	struct zk *none;
	struct zk_config bad = {.connect = "nohost", .session_timeout_ms = 1, .op_timeout_ms = 1};
	CU_ASSERT_EQUAL(zk_open(ctl, &bad, &none), ERR_INVAL);
	/* all submitted before there is a connection: they wait, and answer in order */
	create(&a, "/", NULL, 0);
	create(&a, "/x", "one", 0);
	create(&a, "/x", "two", 0);
	zk_get(a.zk, "/x", got_data, &a);
	CU_ASSERT_STRING_EQUAL(a.results, "");
	wait_results(&a, 4);
	CU_ASSERT_STRING_EQUAL(a.results, "c0 c0 c-6 g0 ");
	CU_ASSERT_STRING_EQUAL(a.text, "one");
	CU_ASSERT_STRING_EQUAL(a.events, "C");
	CU_ASSERT_EQUAL(a.last.timeout_ms, 30000);
	CU_ASSERT_TRUE(a.last.session.id != 0 && zk_connected(a.zk));
	CU_ASSERT_TRUE(env_now_us(env) - zk_last_contact_us(a.zk) < 5000000);
	CU_ASSERT_TRUE(a.stat.czxid > 0 && a.stat.czxid == a.stat.mzxid && a.stat.data_len == 3);
	a.results[0] = '\0';
	create(&a, "/x/eph", "", ZK_EPHEMERAL);
	create(&a, "/x/seq-", NULL, ZK_SEQUENTIAL);
	wait_results(&a, 2);
	CU_ASSERT_STRING_EQUAL(a.text, "/x/seq-0000000001");
	create(&a, "/x/eph/child", "", 0);
	zk_get(a.zk, "/x/seq-0000000001", got_data, &a);
	wait_results(&a, 2);
	CU_ASSERT_STRING_EQUAL(a.text, "null");
	zk_get(a.zk, "/x/eph", got_data, &a);
	wait_results(&a, 1);
	CU_ASSERT_STRING_EQUAL(a.text, "");
	CU_ASSERT_EQUAL(a.stat.ephemeral_owner, a.last.session.id);
	zk_children(a.zk, "/x", got_names, &a);
	wait_results(&a, 1);
	CU_ASSERT_STRING_EQUAL(a.text, "eph seq-0000000001 ");
	zk_set(a.zk, "/x", slice_str("v1"), 0, got_stat, &a);
	zk_set(a.zk, "/x", slice_str("v2"), 0, got_stat, &a);
	zk_exists(a.zk, "/none", got_stat, &a);
	zk_delete(a.zk, "/x", -1, got_none, &a);
	zk_delete(a.zk, "/x/seq-0000000001", 0, got_none, &a);
	zk_get(a.zk, "bad", got_data, &a);
	zk_get(a.zk, "/bad//path", got_data, &a);
	uint8_t *much = mem_zalloc(1000001);
	zk_set(a.zk, "/x", slice_make(much, 1000001), -1, got_stat, &a);
	zk_set(a.zk, "/x", slice_make(much, 900000), -1, got_stat, &a);
	mem_free(much);
	wait_results(&a, 9);
	CU_ASSERT_STRING_EQUAL(a.results, "c0 c0 c-1 g0 g0 n0 s0 s-13 s-5 v-14 v0 g-1 g-1 s-9 s0 ");
	CU_ASSERT_EQUAL(a.stat.version, 2);
	/* seen from outside of the chroot, and gone with the session */
	open_session(&b, "", 30000);
	zk_children(b.zk, "/deep/root/x", got_names, &b);
	wait_results(&b, 1);
	CU_ASSERT_STRING_EQUAL(b.text, "eph ");
	create(&a, "/", "", 0); /* the chroot is there */
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, ERR_EXIST);
	create(&b, "/", "", 0); /* and this is always there */
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, ERR_EXIST);
	close_session(&a);
	zk_children(b.zk, "/deep/root/x", got_names, &b);
	wait_results(&b, 1);
	CU_ASSERT_STRING_EQUAL(b.text, "");
	close_session(&b);
	os_world_free(w);
}

static void test_multi(void)
{
	world_up();
	open_session(&a, "/deep/root", 30000);
	struct zk_op good[] = {
		{.kind = ZK_OP_CREATE, .path = "/m-", .data = slice_str("d"), .flags = ZK_SEQUENTIAL},
		{.kind = ZK_OP_CREATE, .path = "/m", .data = slice_str("d")},
		{.kind = ZK_OP_SET, .path = "/m", .data = slice_str("dd"), .version = 0},
		{.kind = ZK_OP_CHECK, .path = "/m", .version = 1},
	};
	zk_multi(a.zk, good, 4, got_multi, &a);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, 0);
	CU_ASSERT_NSTRING_EQUAL(a.text, "/m-0", 4);
	CU_ASSERT_EQUAL(a.multi[2].stat.version, 1);
	struct zk_op bad[] = {
		{.kind = ZK_OP_SET, .path = "/m", .data = slice_str("no"), .version = -1},
		{.kind = ZK_OP_CHECK, .path = "/m", .version = 7},
		{.kind = ZK_OP_DELETE, .path = "/m", .version = -1},
	};
	zk_multi(a.zk, bad, 3, got_multi, &a);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, ERR_BADVERSION);
	CU_ASSERT_EQUAL(a.multi[0].err, ERR_ABORTED);
	CU_ASSERT_EQUAL(a.multi[1].err, ERR_BADVERSION);
	CU_ASSERT_EQUAL(a.multi[2].err, ERR_ABORTED);
	zk_get(a.zk, "/m", got_data, &a);
	wait_results(&a, 1);
	CU_ASSERT_STRING_EQUAL(a.text, "dd");
	zk_multi(a.zk, &good[3], 1, got_multi, &a); /* a barrier (protocol.md C2) */
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, 0);
	close_session(&a);
	os_world_free(w);
}

static void test_observe(void)
{
	world_up();
	open_session(&a, "", 30000);
	open_session(&b, "", 30000);
	zk_observe(a.zk, "/obs", ZK_OBSERVE_NODE, look, &a);
	zk_observe(a.zk, "/obs/dir", ZK_OBSERVE_CHILDREN, look, &a);
	zk_get(a.zk, "/obs", got_data, &a); /* the watches are set */
	wait_results(&a, 1);
	const struct {
		const char *path;
		char what; /* create, set, delete, child create */
		const char *seen;
	} steps[] = {
		{"/obs", 'c', "/obs"}, {"/obs", 's', "/obs"}, {"/obs", 's', "/obs"}, {"/obs/dir", 'c', "/obs/dir"}, {"/obs/dir/1", 'c', "/obs/dir"},
		{"/obs/dir/2", 'c', "/obs/dir"}, {"/obs/dir/1", 'd', "/obs/dir"}, {"/obs/dir/2", 'd', "/obs/dir"}, {"/obs/dir", 'd', "/obs/dir"},
		{"/obs/dir", 'c', "/obs/dir"}, {"/obs/dir/3", 'c', "/obs/dir"}, {"/obs", 's', "/obs"},
	};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		zk_get(a.zk, "/", got_data, &a); /* armed again */
		wait_results(&a, 1);
		int before = a.looks;
		a.text[0] = '\0';
		if (steps[i].what == 'c')
			create(&b, steps[i].path, "", 0);
		else if (steps[i].what == 's')
			zk_set(b.zk, steps[i].path, slice_str("v"), -1, got_stat, &b);
		else
			zk_delete(b.zk, steps[i].path, -1, got_none, &b);
		wait_looks(&a, before + 1);
		CU_ASSERT_STRING_EQUAL(a.text, steps[i].seen);
	}
	/* not observed any more: nothing, and what is read afterwards proves that it would have come before */
	zk_unobserve(a.zk, "/obs", ZK_OBSERVE_NODE);
	zk_get(a.zk, "/", got_data, &a);
	wait_results(&a, 1);
	b.left = 0;
	zk_set(b.zk, "/obs", slice_str("w"), -1, got_stat, &b);
	wait_results(&b, 1);
	int before = a.looks;
	zk_get(a.zk, "/obs", got_data, &a);
	wait_results(&a, 1);
	CU_ASSERT_STRING_EQUAL(a.text, "w");
	CU_ASSERT_EQUAL(a.looks, before);
	close_session(&a);
	close_session(&b);
	os_world_free(w);
}

/* Who was killed leaves its session: its successor ends it by id and password (protocol.md D5). */
static void test_end_session(void)
{
	world_up();
	open_session(&a, "", 30000);
	create(&a, "/left", "", ZK_EPHEMERAL);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, 0);
	open_session(&b, "", 30000);
	wait_event(&b, 'C');
	int64_t began = env_now_us(env);
	zk_end_session(b.zk, &a.last.session, got_none, &b);
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, 0);
	zk_exists(b.zk, "/left", got_stat, &b);
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, ERR_NOENT);
	CU_ASSERT_TRUE(env_now_us(env) - began < 3000000);
	/* again: gone is fine; with a wrong password as well */
	struct zk_session_id wrong = b.last.session;
	wrong.password[3] ^= 1;
	zk_end_session(b.zk, &a.last.session, got_none, &b);
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, 0);
	zk_end_session(b.zk, &wrong, got_none, &b);
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, 0);
	zk_exists(b.zk, "/", got_stat, &b);
	wait_results(&b, 1);
	CU_ASSERT_EQUAL(b.err, 0);
	/* the former life notices */
	if (!strchr(a.events, 'E'))
		wait_event(&a, 'E');
	CU_ASSERT_PTR_NOT_NULL(strstr(a.events, "LE"));
	close_session(&a);
	close_session(&b);
	os_world_free(w);
}

static void test_restart(void)
{
	world_up();
	open_session(&a, "", 30000);
	create(&a, "/restart", "1", 0);
	create(&a, "/restart/eph", "1", ZK_EPHEMERAL);
	zk_observe(a.zk, "/restart", ZK_OBSERVE_NODE, look, &a);
	wait_results(&a, 2);
	CU_ASSERT_EQUAL(server("kill"), 0);
	wait_event(&a, 'S');
	CU_ASSERT_FALSE(zk_connected(a.zk));
	a.results[0] = '\0';
	a.looks = 0;
	/* these wait for the server */
	zk_get(a.zk, "/restart", got_data, &a);
	zk_exists(a.zk, "/restart/eph", got_stat, &a);
	CU_ASSERT_EQUAL(server("start"), 0);
	wait_results(&a, 2);
	CU_ASSERT_STRING_EQUAL(a.results, "g0 s0 ");
	/* a server that takes two thirds of the session to start: rights ended meanwhile, the session did not */
	CU_ASSERT_TRUE(!strcmp(a.events, "CSR") || !strcmp(a.events, "CSLR"));
	CU_ASSERT_TRUE(a.looks >= 1);
	/* and the watch works on */
	int before = a.looks;
	zk_set(a.zk, "/restart", slice_str("2"), -1, got_stat, &a);
	wait_looks(&a, before + 1);
	/* no server for longer than the operation's patience */
	open_session_patient(&b, "", 30000, 1000);
	wait_event(&b, 'C');
	CU_ASSERT_EQUAL(server("kill"), 0);
	wait_event(&b, 'S');
	zk_get(b.zk, "/restart", got_data, &b);
	wait_results(&b, 1);
	CU_ASSERT_STRING_EQUAL(b.results, "g-8 ");
	CU_ASSERT_EQUAL(server("start"), 0);
	wait_event(&b, 'R');
	close_session(&b);
	close_session(&a);
	os_world_free(w);
}

/* A server that hangs: the outcome of what was sent is unknown; rights end by our own timer; then the session expires. */
static void test_expiry(void)
{
	world_up();
	open_session(&a, "", 2000);
	create(&a, "/expiry", "1", ZK_EPHEMERAL);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, 0);
	CU_ASSERT_EQUAL(a.last.timeout_ms, 2000);
	int64_t first = a.last.session.id;
	kill(server_pid(), SIGSTOP);
	a.results[0] = '\0';
	zk_set(a.zk, "/expiry", slice_str("2"), -1, got_stat, &a);
	wait_results(&a, 1);
	CU_ASSERT_STRING_EQUAL(a.results, "s-15 ");
	if (!strchr(a.events, 'L'))
		wait_event(&a, 'L');
	int64_t silent = env_now_us(env) - zk_last_contact_us(a.zk);
	CU_ASSERT_TRUE(silent >= 1333000 && silent < 2000000);
	kill(server_pid(), SIGCONT);
	/* back in time, or not: depends on how long the server's own clock stood still. End it for sure. */
	if (!zk_connected(a.zk) && !strchr(a.events, 'E'))
		wait_event(&a, 'R');
	open_session(&b, "", 30000);
	struct zk_session_id id = a.last.session;
	id.id = first;
	zk_end_session(b.zk, &id, got_none, &b);
	wait_results(&b, 1);
	if (!strchr(a.events, 'E'))
		wait_event(&a, 'E');
	zk_get(a.zk, "/", got_data, &a);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, ERR_EXPIRED);
	zk_reopen(a.zk);
	wait_event(&a, 'C');
	CU_ASSERT_NOT_EQUAL(a.last.session.id, first);
	zk_exists(a.zk, "/expiry", got_stat, &a);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, ERR_NOENT);
	close_session(&a);
	close_session(&b);
	os_world_free(w);
}

/* No server at all: opening, waiting and closing work. */
static void test_nobody(void)
{
	world_up();
	memset(&a, 0, sizeof(a));
	struct zk_config cfg = {.connect = "127.0.0.1:21919,no-such-host.invalid:2181", .session_timeout_ms = 6000, .op_timeout_ms = 300, .on_event = on_event, .ctx = &a};
	CU_ASSERT_EQUAL_FATAL(zk_open(ctl, &cfg, &a.zk), 0);
	zk_get(a.zk, "/", got_data, &a);
	wait_results(&a, 1);
	CU_ASSERT_EQUAL(a.err, ERR_TIMEOUT);
	zk_get(a.zk, "/", got_data, &a);
	a.results[0] = '\0';
	zk_end_session(a.zk, &(struct zk_session_id){.id = 0x1234567}, got_none, &a);
	close_session(&a);
	CU_ASSERT_STRING_EQUAL(a.results, "v-7 g-7 ");
	CU_ASSERT_STRING_EQUAL(a.events, "");
	os_world_free(w);
}

UNIT_MAIN("zk_os", {"operations", test_operations}, {"multi", test_multi}, {"observe", test_observe}, {"end_session", test_end_session},
	  {"restart", test_restart}, {"expiry", test_expiry}, {"nobody", test_nobody})
