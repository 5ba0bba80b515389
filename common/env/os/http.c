/* http.c: the admin HTTP server: libmicrohttpd driven by the loop (epoll descriptor + timeout), GET and HEAD only.
 *
 * The handler is a pure function (method, path) -> body that runs on the loop. At most CONNECTIONS_MAX connections, each idle for
 * TIMEOUT_S at most, with POOL_BYTES of memory.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <microhttpd.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define CONNECTIONS_MAX 64
#define TIMEOUT_S 10
#define POOL_BYTES (16 * 1024)

struct os_http {
	struct http h; /* first */
	struct os_loop *l;
	struct MHD_Daemon *daemon;
	ev_io io;
	struct timer timer;
	http_fn *fn;
	void *ctx;
	bool running, closed;
};

static void http_free(struct os_http *h)
{
	timer_stop(&h->timer);
	ev_io_stop(h->l->ev, &h->io);
	MHD_stop_daemon(h->daemon); /* closes the listening socket too */
	mem_free(h);
}

static enum MHD_Result answer(struct os_http *h, struct MHD_Connection *mc, const char *method, const char *path)
{
	struct str body;
	struct http_reply reply = {.status = 200, .content_type = "text/plain; charset=utf-8", .body = &body};
	bool allowed = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;

	str_init(&body);
	if (allowed) {
		h->fn(h->ctx, MHD_HTTP_METHOD_GET, path, &reply);
	} else {
		reply.status = 405;
		str_add(&body, "only GET\n");
	}
	struct MHD_Response *r = MHD_create_response_from_buffer(body.len, body.ptr ? body.ptr : &(char){0}, MHD_RESPMEM_MUST_COPY);
	str_fini(&body);
	if (!r)
		return MHD_NO;
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, reply.content_type);
	if (!allowed)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	enum MHD_Result res = MHD_queue_response(mc, (unsigned)reply.status, r);
	MHD_destroy_response(r);
	return res;
}

/* First call: the head is there. Calls with body bytes: thrown away. Last call: answer. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *mc, const char *path, const char *method, const char *version,
				  const char *body, size_t *body_bytes, void **state)
{
	static char seen;

	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*body_bytes > 0) {
		*body_bytes = 0;
		return MHD_YES;
	}
	return answer(cls, mc, method, path);
}

static void run(struct os_http *h)
{
	unsigned long long wait_ms;

	h->running = true;
	MHD_run(h->daemon);
	h->running = false;
	if (h->closed) {
		http_free(h);
		return;
	}
	if (MHD_get_timeout(h->daemon, &wait_ms) == MHD_YES)
		timer_set_ms(&h->timer, (int64_t)(wait_ms > 60000 ? 60000 : wait_ms));
	else
		timer_stop(&h->timer);
}

static void on_epoll(struct ev_loop *ev, ev_io *io, int events)
{
	run(io->data);
}

static void on_timer(void *ctx)
{
	run(ctx);
}

int os_http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port)
{
	int fd;
	uint16_t bound;

	loop_assert_owner(l);
	int err = os_listen_socket(os_world_of(l->env), host, port, 32, false, &fd, &bound);
	if (err)
		return err;
	struct os_http *h = MEM_NEW(struct os_http);
	h->h.loop = l;
	h->l = os_loop_of(l);
	h->fn = fn;
	h->ctx = ctx;
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL, bound, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)POOL_BYTES, MHD_OPTION_END);
	if (!h->daemon) {
		close(fd);
		mem_free(h);
		return ERR_IO;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	timer_init(&h->timer, l, on_timer, h);
	ev_io_init(&h->io, on_epoll, info->epoll_fd, EV_READ);
	h->io.data = h;
	ev_io_start(h->l->ev, &h->io);
	*ret_http = &h->h;
	*ret_port = bound;
	return 0;
}

void os_http_close(struct http *http)
{
	struct os_http *h = (struct os_http *)http;

	if (h->running)
		h->closed = true; /* called by the handler */
	else
		http_free(h);
}
