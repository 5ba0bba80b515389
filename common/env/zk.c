/* zk.c: the ZooKeeper session, onto the vtable that each object carries. */
#include "common/env/env_backend.h"

#include "common/base/check.h"

int zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk)
{
	return l->env->ops->zk_open(l, cfg, ret_zk);
}

void zk_reopen(struct zk *zk)
{
	loop_assert_owner(zk->loop);
	zk->ops->reopen(zk);
}

void zk_close(struct zk *zk, void (*closed)(void *ctx), void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->close(zk, closed, ctx);
}

void zk_end_session(struct zk *zk, const struct zk_session_id *old, void (*done)(void *ctx, int err), void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->end_session(zk, old, done, ctx);
}

bool zk_connected(const struct zk *zk)
{
	return zk->ops->connected(zk);
}

int64_t zk_last_contact_us(const struct zk *zk)
{
	return zk->ops->last_contact_us(zk);
}

void zk_get(struct zk *zk, const char *path, zk_data_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->get(zk, path, fn, ctx);
}

void zk_exists(struct zk *zk, const char *path, zk_stat_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->exists(zk, path, fn, ctx);
}

void zk_children(struct zk *zk, const char *path, zk_names_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->children(zk, path, fn, ctx);
}

void zk_create(struct zk *zk, const char *path, struct slice data, int flags, zk_create_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->create(zk, path, data, flags, fn, ctx);
}

void zk_set(struct zk *zk, const char *path, struct slice data, int32_t version, zk_stat_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->set(zk, path, data, version, fn, ctx);
}

void zk_delete(struct zk *zk, const char *path, int32_t version, zk_void_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->del(zk, path, version, fn, ctx);
}

void zk_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_multi_fn *fn, void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->multi(zk, ops, count, fn, ctx);
}

void zk_observe(struct zk *zk, const char *path, enum zk_observe_kind kind, void (*look_again)(void *ctx, const char *path), void *ctx)
{
	loop_assert_owner(zk->loop);
	zk->ops->observe(zk, path, kind, look_again, ctx);
}

void zk_unobserve(struct zk *zk, const char *path, enum zk_observe_kind kind)
{
	loop_assert_owner(zk->loop);
	zk->ops->unobserve(zk, path, kind);
}
