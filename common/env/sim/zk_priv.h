/* zk_priv.h: the ZooKeeper model, shared by zk_tree.c, zk_server.c and zk_client.c.
 *
 * One history of transactions, `truth`, is what the quorum has committed. Each server has a tree of its own that follows it with a
 * lag; a session is served from the tree of the server that it is connected to, and a server that is behind what a client has
 * seen refuses it: reads are stale, but never go back. A write goes to the leader; until it is committed it is in limbo: it waits
 * while there is no quorum, may be committed long after its client lost the connection, and is dropped if the session has moved to
 * another server by then. Its reply comes after the session's server has applied it.
 */
#pragma once

#include <uthash.h>

#include "common/env/sim/sim_priv.h"

#define ZK_SERVERS_MAX 5
#define ZK_REQUEST_BYTES_MAX 1000000u /* as the os backend counts, with 100 for each operation */
#define ZK_OP_OVERHEAD 100u

/* ---- zk_tree.c ---- */

struct zk_node {
	char *path;       /* key of the tree's hash */
	const char *name; /* in path */
	struct zk_node *parent;
	struct zk_node **kids; /* sorted by name */
	size_t kids_n, kids_cap;
	struct buf *data; /* NULL = null */
	size_t data_len;
	int64_t czxid, mzxid, pzxid, ctime_ms, mtime_ms, owner;
	int32_t version, creates; /* creates: children ever made; the number of the next sequential one */
	UT_hash_handle hh;
};

struct zk_tree {
	struct zk_node *by_path, *root;
	int64_t zxid;
};

enum zk_change_kind { ZK_CREATED, ZK_SET, ZK_DELETED };
struct zk_change {
	enum zk_change_kind kind;
	char *path;
	struct buf *data;
	size_t len;
	int64_t owner;
};
struct zk_txn {
	int64_t zxid, time_ms;
	struct zk_change *changes;
	size_t n;
};

void zk_tree_init(struct zk_tree *t);
void zk_tree_fini(struct zk_tree *t);
struct zk_node *zk_tree_find(const struct zk_tree *t, const char *path);
void zk_node_stat(const struct zk_node *n, struct zk_stat *st);
/* Applies a committed change. */
void zk_tree_apply(struct zk_tree *t, const struct zk_change *c, int64_t zxid, int64_t time_ms);
/* Checks and applies all operations or none; fills results (paths to be freed by the caller) and, on success, the transaction. */
int zk_tree_multi(struct zk_tree *t, const struct zk_op *ops, size_t n, int64_t session, int64_t zxid, int64_t time_ms,
	struct zk_op_result *results, struct zk_txn *ret_txn);
void zk_txn_fini(struct zk_txn *txn);
/* The deletion of all ephemerals of a session. */
void zk_tree_end_session(struct zk_tree *t, int64_t session, int64_t zxid, int64_t time_ms, struct zk_txn *ret_txn);

/* ---- sessions, links, requests ---- */

enum zk_req_kind { ZKR_CONNECT, ZKR_PING, ZKR_CLOSE, ZKR_ARM, ZKR_SET_WATCHES, ZKR_GET, ZKR_EXISTS, ZKR_CHILDREN, ZKR_MULTI };
/* What a single create, set or delete is called at the client; at the server it is a multi of one. */
enum zk_call { ZKC_NONE, ZKC_GET, ZKC_EXISTS, ZKC_CHILDREN, ZKC_CREATE, ZKC_SET, ZKC_DELETE, ZKC_MULTI };

enum { ZKW_NODE = 1, ZKW_CHILD = 2 };                 /* watch of a server: bits */
enum { ZKA_NONE, ZKA_DATA, ZKA_EXIST, ZKA_CHILD };    /* what an observation has at its server */

struct zk_rewatch {
	char *path;
	int armed;
};

/* Shared by the client, who waits for it, and the link that carries it: two references. The server fills in the result. */
struct zk_req {
	struct zk_req *next; /* queue of the client */
	uint32_t refs;
	enum zk_req_kind kind;
	enum zk_call call;
	bool local;          /* fails at the client with err, in its turn */
	char *path;          /* absolute */
	struct zk_op *ops;   /* absolute paths */
	size_t ops_n;
	int64_t deadline;
	union {
		zk_data_fn *data;
		zk_stat_fn *stat;
		zk_names_fn *names;
		zk_create_fn *create;
		zk_void_fn *done;
		zk_multi_fn *multi;
	} fn;
	void *ctx;
	struct zk_obs *obs;  /* ARM: for whom; owned by the client, NULL when it is gone */
	enum zk_observe_kind obs_kind;
	struct zk_rewatch *rewatch;
	size_t rewatch_n;
	int64_t session, last_zxid; /* CONNECT, SET_WATCHES */
	uint8_t password[16];
	int32_t timeout_ms;
	/* result */
	int err, armed;
	struct zk_stat stat;
	struct buf *data;
	size_t data_len;
	char **names;
	size_t names_n;
	struct zk_op_result *results;
};
void zk_req_unref(struct zk_req *r);

enum zk_msg_kind { ZKM_REQUEST, ZKM_REPLY, ZKM_WATCH, ZKM_EXPIRED, ZKM_CLOSED };
struct zk_msg {
	struct zk_msg *next;
	int64_t t, zxid;
	enum zk_msg_kind kind;
	struct zk_req *req;
	char *path;
	int bits;
};
struct zk_fifo {
	struct zk_msg *head, *tail;
	int64_t last;
};

struct zk_session {
	struct zk_session *next;
	int64_t id;
	uint8_t password[16];
	int32_t timeout_ms;
	int64_t heard_us;
	bool ended;
	struct zk_link *owner; /* the connection that may write for it */
};

/* A connection from a client to a server. Lives until the server has let it go and the client too. */
struct zk_link {
	struct list link; /* of the ensemble */
	struct sim_zk *zk;
	uint32_t id;
	struct zk_client *client; /* NULL: it has closed, or is dead */
	struct sim_host *client_host, *server_host;
	struct zk_server *server; /* NULL: it has closed */
	struct zk_session *session;
	struct zk_fifo up, work, down; /* to the server; being served; to the client */
	struct sim_event up_ev, work_ev, down_ev;
	struct list watches;
	int64_t rto_up, rto_down, orphaned_us;
};

struct zk_server {
	struct sim_zk *zk;
	int idx;
	struct sim_host *host;
	bool up, serving;
	struct zk_tree tree;
	uint64_t applied; /* index in the log */
	struct sim_event apply_ev;
	int64_t extra_lag_us, lost_us, joins_us;
	struct zk_watched *watched; /* by path */
};

struct sim_zk {
	struct sim_world *w;
	struct zk_server servers[ZK_SERVERS_MAX];
	int n, leader;
	int64_t elect_us; /* when a leader may be there; 0: nobody stands */
	struct zk_tree truth;
	struct zk_txn *log;
	size_t log_n, log_cap;
	uint64_t log_first;
	int64_t zxid;
	uint32_t epoch;
	struct zk_session *sessions;
	int64_t next_session;
	struct list links;
	struct sim_event tick;
	uint32_t next_link;
	double drop_rate;
};

/* ---- zk_server.c ---- */
struct zk_link *zk_link_open(struct sim_zk *zk, struct zk_client *client, struct sim_host *from, struct sim_loop *l, struct zk_server *s);
void zk_link_send(struct zk_link *k, struct zk_req *r); /* takes a reference of its own */
void zk_link_client_gone(struct zk_link *k);            /* what was sent may still arrive */
/* What a session end by id and password gives right now at this server: 0 (also: gone before), ERR_AGAIN. */
int zk_server_end_session(struct zk_server *s, struct sim_host *from, const struct zk_session_id *id);

/* for zk_outside.c */
struct zk_session *zk_session_find(struct sim_zk *zk, int64_t id); /* NULL: none, or ended */
void zk_session_end(struct sim_zk *zk, struct zk_session *s, const char *why);
bool zk_can_commit(struct sim_zk *zk);
int zk_write_multi(struct sim_zk *zk, const struct zk_op *ops, size_t n, int64_t session, struct zk_op_result *results);
struct zk_msg *zk_push_down(struct zk_link *k, enum zk_msg_kind kind, int64_t extra_us);
void zk_server_drop_clients(struct zk_server *s);
void zk_check_leader(struct sim_zk *zk);

/* ---- zk_client.c: what arrives, on the client's loop ---- */
void zk_client_reply(struct zk_client *z, struct zk_req *r, int64_t zxid);
void zk_client_watch(struct zk_client *z, const char *path, int bits, int64_t zxid);
void zk_client_expired(struct zk_client *z);
void zk_client_lost(struct zk_client *z);
