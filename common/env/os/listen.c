/* listen.c: listeners. Several loops may listen on one port (SO_REUSEPORT); the kernel spreads the connections.
 *
 * SO_REUSEPORT alone would let a second broker of the same user take half of our connections unnoticed. So the first socket of a
 * port binds and listens without it, which fails if anybody listens there, and is opened for sharing only then; the further ones
 * are known to be ours by the list of ports of this process (os_world.ports).
 *
 * Out of descriptors, accepting pauses for PAUSE_MS: the listening socket stays readable, the loop would spin otherwise.
 */
#define _GNU_SOURCE 1
#include "common/env/os/os_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"

#define ACCEPT_TURN_MAX 64
#define PAUSE_MS 100

struct os_listener {
	struct listener ln; /* first */
	struct os_loop *l;
	struct list link;
	int fd;
	ev_io io;
	char *host;
	void (*on_accept)(struct listener *ln, struct conn *c, void *ctx);
	struct timer pause;
	bool paused;      /* by the user */
	bool out_of_fds;  /* by us */
	bool reported;    /* ... and said so, until the next success */
	bool accepting, closed;
	struct msg start;
};

/* ---- sockets ---- */

static struct os_port *find_port(struct os_world *w, const char *host, uint16_t port)
{
	struct os_port *p = w->ports;

	while (p && (p->port != port || strcmp(p->host, host) != 0))
		p = p->next;
	return p;
}

/* What overflows the backlog waits a second for its next SYN. Kafka's default of 50 is meant for a thread that does nothing but accept. */
#define BACKLOG_MIN 1024

static int bind_and_listen(const struct os_addr *a, int backlog, bool shared, bool joins, int *ret_fd, uint16_t *ret_port)
{
	int one = 1, zero = 0, err;
	struct os_addr got;
	char text[64];
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno == EAFNOSUPPORT ? ERR_INVAL : err_from_errno(errno);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (joins)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	got.len = sizeof(got.any);
	if (bind(fd, &a->sa, a->len) < 0 || listen(fd, backlog <= 0 ? SOMAXCONN : backlog < BACKLOG_MIN ? BACKLOG_MIN : backlog) < 0 ||
	    (shared && !joins && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) || getsockname(fd, &got.sa, &got.len) < 0) {
		err = errno == EADDRINUSE ? ERR_EXIST : errno == EADDRNOTAVAIL ? ERR_INVAL : err_from_errno(errno);
		close(fd);
		return err;
	}
	os_addr_text(&got, text, sizeof(text), ret_port);
	*ret_fd = fd;
	return 0;
}

static void port_unref(struct os_world *w, const char *host, uint16_t port)
{
	pthread_mutex_lock(&w->ports_lock);
	for (struct os_port **at = &w->ports; *at; at = &(*at)->next) {
		struct os_port *p = *at;
		if (p->port != port || strcmp(p->host, host) != 0)
			continue;
		if (--p->refs == 0) {
			*at = p->next;
			mem_free(p->host);
			mem_free(p);
		}
		break;
	}
	pthread_mutex_unlock(&w->ports_lock);
}

static int listen_once(struct os_world *w, const char *host, uint16_t port, int backlog, bool shared, int *ret_fd, uint16_t *ret_port)
{
	struct os_addr a;
	bool any = host[0] == '\0';
	int err;

	if (!os_addr_numeric(any ? "::" : host, port, &a))
		return ERR_INVAL;
	pthread_mutex_lock(&w->ports_lock);
	struct os_port *p = port && shared ? find_port(w, host, port) : NULL;
	err = bind_and_listen(&a, backlog, shared, p != NULL, ret_fd, ret_port);
	if (any && err && err != ERR_EXIST && os_addr_numeric("0.0.0.0", port, &a)) /* a kernel without IPv6 */
		err = bind_and_listen(&a, backlog, shared, p != NULL, ret_fd, ret_port);
	if (!err && shared) {
		if (!p) {
			p = MEM_NEW(struct os_port);
			p->host = mem_strdup(host);
			p->port = *ret_port;
			p->next = w->ports;
			w->ports = p;
		}
		p->refs++;
	}
	pthread_mutex_unlock(&w->ports_lock);
	return err;
}

int os_listen_socket(struct os_world *w, const char *host, uint16_t port, int backlog, bool shared, int *ret_fd, uint16_t *ret_port)
{
	for (int waited_ms = 0;; waited_ms += OS_TAKEN_STEP_MS) {
		int err = listen_once(w, host, port, backlog, shared, ret_fd, ret_port);
		if (err != ERR_EXIST || waited_ms >= OS_TAKEN_WAIT_MS)
			return err;
		usleep(OS_TAKEN_STEP_MS * 1000);
	}
}

/* ---- accepting ---- */

static void adjust(struct os_listener *ln)
{
	if (ln->paused || ln->out_of_fds)
		ev_io_stop(ln->l->ev, &ln->io);
	else
		ev_io_start(ln->l->ev, &ln->io);
}

static void listener_free(struct os_listener *ln)
{
	list_remove(&ln->link);
	mem_free(ln->host);
	mem_free(ln);
}

static void pause_over(void *ctx)
{
	struct os_listener *ln = ctx;

	ln->out_of_fds = false;
	adjust(ln);
}

static void pause_accepting(struct os_listener *ln, int e)
{
	ln->out_of_fds = true;
	timer_set_ms(&ln->pause, PAUSE_MS);
	adjust(ln);
	if (!ln->reported) {
		ln->reported = true;
		LOG_AT(ln->l->loop.env->log, LOG_WARN, "net", "accept.paused", "port=%u reason=\"%s\" retry_ms=%d", ln->ln.port,
		       strerrordesc_np(e), PAUSE_MS);
	}
}

static void on_acceptable(struct ev_loop *ev, ev_io *io, int events)
{
	struct os_listener *ln = io->data;

	ln->accepting = true;
	for (int i = 0; i < ACCEPT_TURN_MAX && !ln->closed && !ln->paused; i++) {
		struct os_addr peer;
		peer.len = sizeof(peer.any);
		int fd = accept4(ln->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(ln, errno);
			else if (errno == EINTR || errno == ECONNABORTED)
				continue;
			break;
		}
		ln->reported = false;
		struct conn *c = os_conn_accepted(ln->l, fd, &peer);
		ln->on_accept(&ln->ln, c, ln->ln.ctx);
		os_conn_start(c);
	}
	ln->accepting = false;
	if (ln->closed)
		listener_free(ln);
}

static void start(struct msg *m)
{
	struct os_listener *ln = CONTAINER_OF(m, struct os_listener, start);

	list_push_back(&ln->l->listeners, &ln->link);
	adjust(ln);
}

int os_listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln)
{
	int fd;
	uint16_t port;
	int err = os_listen_socket(os_world_of(l->env), cfg->host ? cfg->host : "", cfg->port, cfg->backlog, true, &fd, &port);

	if (err)
		return err;
	/* accepted sockets inherit them, and the window that is offered follows */
	if (cfg->send_buffer_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &cfg->send_buffer_bytes, sizeof(cfg->send_buffer_bytes));
	if (cfg->receive_buffer_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &cfg->receive_buffer_bytes, sizeof(cfg->receive_buffer_bytes));
	struct os_listener *ln = MEM_NEW(struct os_listener);
	ln->ln = (struct listener){.loop = l, .port = port, .ctx = cfg->ctx};
	ln->l = os_loop_of(l);
	ln->fd = fd;
	ln->host = mem_strdup(cfg->host ? cfg->host : "");
	ln->on_accept = cfg->on_accept;
	list_init(&ln->link);
	timer_init(&ln->pause, l, pause_over, ln);
	ev_io_init(&ln->io, on_acceptable, fd, EV_READ);
	ln->io.data = ln;
	*ret_ln = &ln->ln;
	/* A daemon's start may open the listeners of its data loops from the control loop. */
	ln->start.deliver = start;
	if (loop_current() == l)
		start(&ln->start);
	else
		loop_post(l, &ln->start);
	return 0;
}

void os_listener_pause(struct listener *listener, bool paused)
{
	struct os_listener *ln = (struct os_listener *)listener;

	ln->paused = paused;
	adjust(ln);
}

void os_listener_close(struct listener *listener)
{
	struct os_listener *ln = (struct os_listener *)listener;

	timer_stop(&ln->pause);
	ev_io_stop(ln->l->ev, &ln->io);
	close(ln->fd);
	port_unref(ln->l->world, ln->host, ln->ln.port);
	ln->closed = true;
	if (!ln->accepting)
		listener_free(ln);
}

void os_listeners_free(struct os_loop *l)
{
	while (!list_empty(&l->listeners))
		os_listener_close(&LIST_ENTRY(l->listeners.next, struct os_listener, link)->ln);
}
