/* test_zk_script_os.c: the ZooKeeper script (zk_script.h) on a real server: the same text as the model gives (test_zk_sim.c). Session A
 * goes through a relay that can hold every byte back. Part of make check-cluster. Ports 21930 and 21931, unless
 * KLAMM_TEST_ZK_SCRIPT_PORT names another first one.
 */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/env/os/os.h"
#include "tests/unit/unit.h"
#include "tests/unit/zk_script.h"

static int port = 21930;

/* ---- the relay: one thread, pairs of sockets, nothing read while held ---- */

#define PAIRS_MAX 32

static struct relay {
	int listener, pairs[PAIRS_MAX][2], n;
	atomic_bool held, stop;
	pthread_t thread;
} relay;

static struct sockaddr_in loopback(int p)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)p), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static void relay_accept(void)
{
	struct sockaddr_in to = loopback(port);
	int a = accept(relay.listener, NULL, NULL), b = socket(AF_INET, SOCK_STREAM, 0);

	if (relay.n == PAIRS_MAX || a < 0 || connect(b, (struct sockaddr *)&to, sizeof(to)) != 0) {
		close(a);
		close(b);
		return;
	}
	relay.pairs[relay.n][0] = a;
	relay.pairs[relay.n++][1] = b;
}

static bool relay_copy(int from, int to)
{
	char bytes[65536];
	ssize_t n = read(from, bytes, sizeof(bytes));

	for (ssize_t done = 0, k; done < n; done += k)
		if ((k = write(to, bytes + done, (size_t)(n - done))) <= 0)
			return false;
	return n > 0;
}

static void relay_drop(int i)
{
	close(relay.pairs[i][0]);
	close(relay.pairs[i][1]);
	memmove(relay.pairs[i], relay.pairs[--relay.n], sizeof(relay.pairs[i]));
}

static void *relay_run(void *arg)
{
	while (!atomic_load(&relay.stop)) {
		struct pollfd fds[2 * PAIRS_MAX + 1];
		int pairs = relay.n;
		if (atomic_load(&relay.held)) {
			poll(NULL, 0, 10);
			continue;
		}
		fds[0] = (struct pollfd){.fd = relay.listener, .events = POLLIN};
		for (int i = 0; i < 2 * pairs; i++)
			fds[i + 1] = (struct pollfd){.fd = relay.pairs[i / 2][i % 2], .events = POLLIN};
		if (poll(fds, (nfds_t)(2 * pairs + 1), 10) <= 0 || atomic_load(&relay.held))
			continue;
		for (int i = pairs - 1; i >= 0; i--)
			if ((fds[2 * i + 1].revents && !relay_copy(relay.pairs[i][0], relay.pairs[i][1])) ||
			    (fds[2 * i + 2].revents && !relay_copy(relay.pairs[i][1], relay.pairs[i][0])))
				relay_drop(i);
		if (fds[0].revents)
			relay_accept();
	}
	return NULL;
}

static void relay_start(void)
{
	struct sockaddr_in at = loopback(port + 1);
	int on = 1;

	relay.listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(relay.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	CU_ASSERT_EQUAL_FATAL(bind(relay.listener, (struct sockaddr *)&at, sizeof(at)), 0);
	CU_ASSERT_EQUAL_FATAL(listen(relay.listener, 16), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&relay.thread, NULL, relay_run, NULL), 0);
}

static void relay_stop(void)
{
	atomic_store(&relay.stop, true);
	pthread_join(relay.thread, NULL);
	while (relay.n)
		relay_drop(0);
	close(relay.listener);
}

/* ---- the server, the world ---- */

static void zk_command(const char *cmd, const char *more)
{
	char line[1200];
	const char *src = getenv("srcdir");

	snprintf(line, sizeof(line), "%s/tests/tools/zk-start %s %s/zk %s", src ? src : ".", cmd, unit_tmpdir(), more);
	CU_ASSERT_EQUAL_FATAL(system(line), 0);
}

static struct os_world *w;
static struct zk *setup;

struct call {
	struct msg m;
	void (*fn)(void *arg);
	void *arg;
};

static void call_run(struct msg *m)
{
	struct call *c = CONTAINER_OF(m, struct call, m), copy = *c;

	mem_free(c);
	copy.fn(copy.arg);
}

static void script_run(void *ctx, int who, void (*fn)(void *arg), void *arg)
{
	struct call *c = MEM_NEW(struct call);

	c->m.deliver = call_run;
	c->fn = fn;
	c->arg = arg;
	loop_post(os_world_control_loop(w), &c->m);
}

static void script_cut(void *ctx, bool on)
{
	atomic_store(&relay.held, on);
}

static void script_done(void *ctx)
{
	os_world_stop(w, 0);
}

static void setup_closed(void *ctx)
{
	os_world_stop(w, 0);
}

static void setup_created(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	CU_ASSERT_EQUAL(err, 0);
	zk_close(setup, setup_closed, NULL);
}

static void setup_event(struct zk *zk, void *ctx, const struct zk_event_info *ev)
{
}

static void guard_fired(void *ctx)
{
	os_world_stop(w, 99);
}

static void test_script(void)
{
	char direct[64], relayed[64], more[64], line[1024];
	struct str want, got;
	struct timer guard;

	if (getenv("KLAMM_TEST_ZK_SCRIPT_PORT"))
		port = atoi(getenv("KLAMM_TEST_ZK_SCRIPT_PORT"));
	snprintf(direct, sizeof(direct), "127.0.0.1:%d/script", port);
	snprintf(relayed, sizeof(relayed), "127.0.0.1:%d/script", port + 1);
	snprintf(more, sizeof(more), "%d 2000", port);
	zk_command("start", more);
	relay_start();
	w = os_world_new(&(struct os_world_config){.min_level = LOG_ERROR});
	struct loop *ctl = os_world_control_loop(w);
	timer_init(&guard, ctl, guard_fired, NULL);
	timer_set_ms(&guard, 90000);

	struct zk_config cfg = {.connect = direct, .session_timeout_ms = ZK_SCRIPT_TIMEOUT_MS, .op_timeout_ms = 20000, .on_event = setup_event};
	CU_ASSERT_EQUAL_FATAL(zk_open(ctl, &cfg, &setup), 0);
	zk_create(setup, "/", (struct slice){0}, 0, setup_created, NULL);
	CU_ASSERT_EQUAL_FATAL(os_world_run(w), 0);

	struct zk_script_world world = {.loop = {ctl, ctl}, .connect = {relayed, direct}, .run = script_run, .cut = script_cut, .done = script_done};
	struct zk_script *s = zk_script_new(&world);
	zk_script_start(s);
	int status = os_world_run(w);
	CU_ASSERT_EQUAL(status, 0);
	if (status)
		printf("stuck at %s\n", zk_script_where(s));
	str_init(&want);
	str_init(&got);
	zk_script_text(s, &got);
	FILE *f = fopen(unit_golden("zk-script.txt"), "r");
	CU_ASSERT_PTR_NOT_NULL(f);
	while (f && fgets(line, sizeof(line), f))
		str_add(&want, line);
	if (f)
		fclose(f);
	CU_ASSERT_STRING_EQUAL(str_cstr(&got), str_cstr(&want));
	if (strcmp(str_cstr(&got), str_cstr(&want)) != 0)
		fputs(str_cstr(&got), stdout);
	str_fini(&want);
	str_fini(&got);
	relay_stop();
	os_world_free(w);
	zk_script_free(s);
	zk_command("kill", "");
}

UNIT_MAIN("zk_script_os", {"script", test_script})
