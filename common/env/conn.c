/* conn.c: connections, listeners and the admin HTTP server, onto the backend's vtable. */
#include "common/env/env_backend.h"

#include "common/base/check.h"

struct conn *conn_connect(struct loop *l, const char *host, uint16_t port, int64_t timeout_ms, const struct conn_handler *h, void *ctx)
{
	loop_assert_owner(l);
	return l->env->ops->conn_connect(l, host, port, timeout_ms, h, ctx);
}

void conn_send(struct conn *c, struct chain *chain)
{
	loop_assert_owner(c->loop);
	c->loop->env->ops->conn_send(c, chain);
}

void conn_resume(struct conn *c)
{
	loop_assert_owner(c->loop);
	c->loop->env->ops->conn_resume(c);
}

void conn_close(struct conn *c)
{
	loop_assert_owner(c->loop);
	c->loop->env->ops->conn_close(c);
}

void conn_shutdown(struct conn *c)
{
	loop_assert_owner(c->loop);
	c->loop->env->ops->conn_shutdown(c);
}

void conn_move(struct conn *c, struct loop *to, void (*arrived)(struct conn *c, void *ctx))
{
	loop_assert_owner(c->loop);
	c->loop->env->ops->conn_move(c, to, arrived);
}

int listener_open(struct loop *l, const struct listen_config *cfg, struct listener **ret_ln)
{
	return l->env->ops->listener_open(l, cfg, ret_ln);
}

void listener_pause(struct listener *ln, bool paused)
{
	loop_assert_owner(ln->loop);
	ln->loop->env->ops->listener_pause(ln, paused);
}

void listener_close(struct listener *ln)
{
	loop_assert_owner(ln->loop);
	ln->loop->env->ops->listener_close(ln);
}

int http_open(struct loop *l, const char *host, uint16_t port, http_fn *fn, void *ctx, struct http **ret_http, uint16_t *ret_port)
{
	return l->env->ops->http_open(l, host, port, fn, ctx, ret_http, ret_port);
}

void http_close(struct http *h)
{
	h->loop->env->ops->http_close(h);
}
