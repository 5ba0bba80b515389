/* zk_outside.c: what the harness does to the ensemble and reads of it: servers stopped and started, sessions ended, connections
 * broken, lag; the truth for checkers; writes as an outside tool makes them.
 */
#include <string.h>

#include "common/env/sim/zk_priv.h"

void sim_zk_connect_string(struct sim_world *w, const char *chroot, struct str *out)
{
	for (int i = 0; i < w->zk->n; i++)
		str_printf(out, "%s%s:2181", i ? "," : "", w->zk->servers[i].host->ip);
	str_add(out, chroot ? chroot : "");
}

struct sim_host *sim_zk_host(struct sim_world *w, int server)
{
	ASSERT(server >= 0 && server < w->zk->n);
	return w->zk->servers[server].host;
}

int sim_zk_leader(struct sim_world *w)
{
	return w->zk->leader;
}

void sim_zk_stop_server(struct sim_world *w, int server)
{
	struct zk_server *s = &w->zk->servers[server];

	if (!s->up)
		return;
	sim_fault(w, "zk server %d stops", server + 1);
	s->up = s->serving = false;
	sim_unschedule(w, &s->apply_ev);
	zk_server_drop_clients(s);
	zk_check_leader(w->zk);
}

void sim_zk_start_server(struct sim_world *w, int server)
{
	struct zk_server *s = &w->zk->servers[server];

	if (s->up)
		return;
	sim_fault(w, "zk server %d starts", server + 1);
	s->up = true;
	s->joins_us = s->lost_us = 0;
}

void sim_zk_stop_all(struct sim_world *w)
{
	for (int i = 0; i < w->zk->n; i++)
		sim_zk_stop_server(w, i);
}

void sim_zk_start_all(struct sim_world *w)
{
	for (int i = 0; i < w->zk->n; i++)
		sim_zk_start_server(w, i);
}

int sim_zk_expire_session(struct sim_world *w, int64_t session_id)
{
	struct zk_session *s = zk_session_find(w->zk, session_id);

	if (!s)
		return ERR_NOENT;
	if (!zk_can_commit(w->zk))
		return ERR_TIMEOUT;
	sim_fault(w, "zk session %llx expires", (long long)session_id);
	zk_session_end(w->zk, s, "by the harness");
	return 0;
}

int sim_zk_drop_connection(struct sim_world *w, int64_t session_id)
{
	struct zk_session *s = zk_session_find(w->zk, session_id);

	if (!s || !s->owner)
		return ERR_NOENT;
	sim_fault(w, "zk connection of session %llx breaks", (long long)session_id);
	/* Only the client loses it at once: what it sent may still be done, until the session has moved. */
	zk_push_down(s->owner, ZKM_CLOSED, 0);
	return 0;
}

void sim_zk_set_drop_rate(struct sim_world *w, double rate)
{
	w->zk->drop_rate = rate;
}

void sim_zk_set_lag(struct sim_world *w, int server, int64_t extra_us)
{
	sim_fault(w, "zk server %d lags by %lld us", server + 1, (long long)extra_us);
	w->zk->servers[server].extra_lag_us = extra_us;
}

int sim_zk_read(struct sim_world *w, const char *path, struct str *data, struct zk_stat *ret_stat)
{
	struct zk_node *n = zk_tree_find(&w->zk->truth, path);

	if (!n)
		return ERR_NOENT;
	if (data && n->data)
		str_add_bytes(data, n->data->data, n->data_len);
	if (ret_stat)
		zk_node_stat(n, ret_stat);
	return 0;
}

static void walk(const struct zk_node *n, sim_zk_visit_fn *fn, void *ctx)
{
	struct zk_stat st;

	zk_node_stat(n, &st);
	fn(ctx, n->path, n->data ? slice_make(n->data->data, n->data_len) : (struct slice){0}, &st);
	for (size_t i = 0; i < n->kids_n; i++)
		walk(n->kids[i], fn, ctx);
}

void sim_zk_walk(struct sim_world *w, const char *path, sim_zk_visit_fn *fn, void *ctx)
{
	struct zk_node *n = zk_tree_find(&w->zk->truth, path);

	if (n)
		walk(n, fn, ctx);
}

static int outside_write(struct sim_world *w, const struct zk_op *op)
{
	struct zk_op_result result = {0};

	if (!zk_can_commit(w->zk))
		return ERR_TIMEOUT;
	sim_fault(w, "an outside tool writes %s", op->path);
	int err = zk_write_multi(w->zk, op, 1, 0, &result);
	mem_free((void *)(uintptr_t)result.path);
	return err;
}

int sim_zk_create(struct sim_world *w, const char *path, struct slice data)
{
	return outside_write(w, &(struct zk_op){.kind = ZK_OP_CREATE, .path = path, .data = data});
}

int sim_zk_set(struct sim_world *w, const char *path, struct slice data, int32_t version)
{
	return outside_write(w, &(struct zk_op){.kind = ZK_OP_SET, .path = path, .data = data, .version = version});
}

int sim_zk_delete(struct sim_world *w, const char *path, int32_t version)
{
	return outside_write(w, &(struct zk_op){.kind = ZK_OP_DELETE, .path = path, .version = version});
}
