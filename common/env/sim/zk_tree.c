/* zk_tree.c: a ZooKeeper tree, and multis on it: checks, stats, sequence numbers, all or nothing.
 *
 * Counting is ZooKeeper's: a node keeps how many children were ever made below it; that number goes into sequential names, and the
 * cversion of a stat is twice that number less the children that are there (creations plus deletions).
 */
#include <string.h>

#include "common/env/sim/zk_priv.h"

struct zk_node *zk_tree_find(const struct zk_tree *t, const char *path)
{
	struct zk_node *n;

	HASH_FIND_STR(t->by_path, path, n);
	return n;
}

static size_t kid_find(const struct zk_node *parent, const char *name, bool *ret_hit)
{
	size_t lo = 0, hi = parent->kids_n;

	*ret_hit = false;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int cmp = strcmp(parent->kids[mid]->name, name);
		if (cmp == 0) {
			*ret_hit = true;
			return mid;
		}
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void node_attach(struct zk_tree *t, struct zk_node *n)
{
	struct zk_node *p = n->parent;
	bool hit;
	size_t i = kid_find(p, n->name, &hit);

	ASSERT(!hit);
	MEM_GROW(p->kids, p->kids_cap, p->kids_n + 1);
	memmove(p->kids + i + 1, p->kids + i, (p->kids_n++ - i) * sizeof(*p->kids));
	p->kids[i] = n;
	HASH_ADD_KEYPTR(hh, t->by_path, n->path, strlen(n->path), n);
}

static void node_detach(struct zk_tree *t, struct zk_node *n)
{
	struct zk_node *p = n->parent;
	bool hit;
	size_t i = kid_find(p, n->name, &hit);

	ASSERT(hit && n->kids_n == 0);
	memmove(p->kids + i, p->kids + i + 1, (--p->kids_n - i) * sizeof(*p->kids));
	HASH_DEL(t->by_path, n);
}

static void node_free(struct zk_node *n)
{
	buf_unref(n->data);
	mem_free(n->kids);
	mem_free(n->path);
	mem_free(n);
}

void zk_tree_init(struct zk_tree *t)
{
	*t = (struct zk_tree){0};
	t->root = MEM_NEW(struct zk_node);
	t->root->path = mem_strdup("/");
	t->root->name = t->root->path + 1;
	HASH_ADD_KEYPTR(hh, t->by_path, t->root->path, strlen(t->root->path), t->root);
}

void zk_tree_fini(struct zk_tree *t)
{
	struct zk_node *n, *tmp;

	HASH_ITER (hh, t->by_path, n, tmp) {
		HASH_DEL(t->by_path, n);
		node_free(n);
	}
	t->root = NULL;
}

void zk_node_stat(const struct zk_node *n, struct zk_stat *st)
{
	*st = (struct zk_stat){
		.czxid = n->czxid, .mzxid = n->mzxid, .pzxid = n->pzxid, .ctime_ms = n->ctime_ms, .mtime_ms = n->mtime_ms,
		.version = n->version, .cversion = n->creates * 2 - (int32_t)n->kids_n, .ephemeral_owner = n->owner,
		.data_len = (int32_t)n->data_len, .num_children = (int32_t)n->kids_n,
	};
}

static struct zk_node *parent_of(const struct zk_tree *t, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == path)
		return path[1] ? t->root : NULL;
	char *up = mem_strndup(path, (size_t)(slash - path));
	struct zk_node *n = zk_tree_find(t, up);
	mem_free(up);
	return n;
}

void zk_tree_apply(struct zk_tree *t, const struct zk_change *c, int64_t zxid, int64_t time_ms)
{
	struct zk_node *n = c->kind == ZK_CREATED ? MEM_NEW(struct zk_node) : zk_tree_find(t, c->path);

	ASSERT(n);
	t->zxid = zxid;
	if (c->kind == ZK_DELETED) {
		n->parent->pzxid = zxid;
		node_detach(t, n);
		node_free(n);
		return;
	}
	if (c->kind == ZK_CREATED) {
		n->parent = parent_of(t, c->path);
		ASSERT(n->parent);
		n->path = mem_strdup(c->path);
		n->name = strrchr(n->path, '/') + 1;
		n->czxid = n->pzxid = zxid;
		n->ctime_ms = time_ms;
		n->owner = c->owner;
		n->parent->creates++;
		n->parent->pzxid = zxid;
		node_attach(t, n);
	} else {
		n->version++;
		buf_unref(n->data);
	}
	n->mzxid = zxid;
	n->mtime_ms = time_ms;
	n->data = c->data ? buf_ref(c->data) : NULL;
	n->data_len = c->len;
}

void zk_txn_fini(struct zk_txn *txn)
{
	for (size_t i = 0; i < txn->n; i++) {
		mem_free(txn->changes[i].path);
		buf_unref(txn->changes[i].data);
	}
	mem_free(txn->changes);
	*txn = (struct zk_txn){0};
}

/* ---- multi ---- */

/* How to take one change back: the node as it was, and its parent's counts. */
struct taken {
	struct zk_node before; /* SET: fields; DELETED: where it hung */
	struct zk_node *node;  /* DELETED: kept, unhooked */
	int32_t parent_creates;
	int64_t parent_pzxid;
};

static int check_version(const struct zk_node *n, int32_t version)
{
	return version != -1 && version != n->version ? ERR_BADVERSION : 0;
}

static int check_create(const struct zk_tree *t, const struct zk_op *op, char **ret_path)
{
	struct zk_node *parent = parent_of(t, op->path);
	struct str s;

	if (!parent)
		return strcmp(op->path, "/") ? ERR_NOENT : ERR_EXIST;
	str_init(&s);
	str_add(&s, op->path);
	if (op->flags & ZK_SEQUENTIAL)
		str_printf(&s, "%010d", parent->creates);
	int err = zk_tree_find(t, str_cstr(&s)) ? ERR_EXIST : parent->owner ? ERR_INVAL : 0;
	*ret_path = str_steal(&s);
	return err;
}

/* Checks one operation on the tree as the ones before it left it, and names the change. */
static int check_op(const struct zk_tree *t, const struct zk_op *op, int64_t session, struct zk_change *c)
{
	struct zk_node *n = op->kind == ZK_OP_CREATE ? NULL : zk_tree_find(t, op->path);

	*c = (struct zk_change){0};
	if (op->kind == ZK_OP_CREATE) {
		c->kind = ZK_CREATED;
		c->owner = op->flags & ZK_EPHEMERAL ? session : 0;
		return check_create(t, op, &c->path);
	}
	if (!n)
		return ERR_NOENT;
	if (n == t->root && op->kind == ZK_OP_DELETE)
		return ERR_INVAL;
	int err = check_version(n, op->version);
	if (err || op->kind == ZK_OP_CHECK)
		return err;
	if (op->kind == ZK_OP_DELETE && n->kids_n)
		return ERR_NOTEMPTY;
	c->kind = op->kind == ZK_OP_SET ? ZK_SET : ZK_DELETED;
	c->path = mem_strdup(op->path);
	return 0;
}

static void take(struct zk_tree *t, const struct zk_change *c, struct taken *u, int64_t zxid, int64_t time_ms)
{
	struct zk_node *n = c->kind == ZK_CREATED ? NULL : zk_tree_find(t, c->path);
	struct zk_node *parent = n ? n->parent : parent_of(t, c->path);

	*u = (struct taken){0};
	if (parent) {
		u->parent_creates = parent->creates;
		u->parent_pzxid = parent->pzxid;
	}
	if (c->kind == ZK_DELETED) {
		u->node = n;
		parent->pzxid = zxid;
		node_detach(t, n);
		return;
	}
	if (n) {
		u->before = *n;
		if (n->data)
			buf_ref(n->data);
	}
	zk_tree_apply(t, c, zxid, time_ms);
}

static void take_back(struct zk_tree *t, const struct zk_change *c, struct taken *u)
{
	struct zk_node *n = c->kind == ZK_DELETED ? u->node : zk_tree_find(t, c->path), *parent = n->parent;

	if (c->kind == ZK_DELETED) {
		node_attach(t, n);
		u->node = NULL;
	} else if (c->kind == ZK_CREATED) {
		node_detach(t, n);
		node_free(n);
	} else {
		buf_unref(n->data);
		n->data = u->before.data;
		n->data_len = u->before.data_len;
		n->version = u->before.version;
		n->mzxid = u->before.mzxid;
		n->mtime_ms = u->before.mtime_ms;
		u->before.data = NULL;
	}
	if (parent) {
		parent->creates = u->parent_creates;
		parent->pzxid = u->parent_pzxid;
	}
}

static void taken_fini(struct taken *u)
{
	if (u->node)
		node_free(u->node);
	buf_unref(u->before.data);
}

int zk_tree_multi(struct zk_tree *t, const struct zk_op *ops, size_t n, int64_t session, int64_t zxid, int64_t time_ms,
	struct zk_op_result *results, struct zk_txn *ret_txn)
{
	struct zk_txn txn = {.zxid = zxid, .time_ms = time_ms, .changes = mem_zalloc((n + 1) * sizeof(struct zk_change))};
	struct taken *undo = mem_zalloc((n + 1) * sizeof(*undo));
	int64_t was = t->zxid;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		struct zk_change *c = &txn.changes[txn.n];
		err = check_op(t, &ops[i], session, c);
		results[i].err = err;
		if (err || ops[i].kind == ZK_OP_CHECK) {
			mem_free(c->path);
			*c = (struct zk_change){0};
			if (err)
				for (size_t k = 0; k < n; k++)
					if (k != i)
						results[k].err = ERR_ABORTED;
			continue;
		}
		if (ops[i].data.ptr && c->kind != ZK_DELETED) {
			c->data = buf_copy(ops[i].data.ptr, ops[i].data.len);
			c->len = ops[i].data.len;
		}
		take(t, c, &undo[txn.n++], zxid, time_ms);
		struct zk_node *made = c->kind == ZK_DELETED ? NULL : zk_tree_find(t, c->path);
		if (made)
			zk_node_stat(made, &results[i].stat);
		if (c->kind == ZK_CREATED)
			results[i].path = mem_strdup(c->path);
	}
	if (err)
		for (size_t i = txn.n; i-- > 0;)
			take_back(t, &txn.changes[i], &undo[i]);
	for (size_t i = 0; i < txn.n; i++)
		taken_fini(&undo[i]);
	mem_free(undo);
	t->zxid = err ? was : zxid;
	if (err)
		zk_txn_fini(&txn);
	else
		*ret_txn = txn;
	return err;
}

static void collect_owned(const struct zk_node *n, int64_t session, struct zk_txn *txn, size_t *cap)
{
	for (size_t i = 0; i < n->kids_n; i++)
		collect_owned(n->kids[i], session, txn, cap);
	if (n->owner == session) {
		MEM_GROW(txn->changes, *cap, txn->n + 1);
		txn->changes[txn->n++] = (struct zk_change){.kind = ZK_DELETED, .path = mem_strdup(n->path)};
	}
}

void zk_tree_end_session(struct zk_tree *t, int64_t session, int64_t zxid, int64_t time_ms, struct zk_txn *ret_txn)
{
	struct zk_txn txn = {.zxid = zxid, .time_ms = time_ms};
	size_t cap = 0;

	collect_owned(t->root, session, &txn, &cap);
	for (size_t i = 0; i < txn.n; i++)
		zk_tree_apply(t, &txn.changes[i], zxid, time_ms);
	t->zxid = zxid;
	*ret_txn = txn;
}
