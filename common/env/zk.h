/* zk.h: the ZooKeeper session as an interface (protocol.md H). Two backends: libzookeeper on a thread of its own (os), and a model
 * with several lagging servers (sim).
 *
 * Thread: everything here belongs to one loop (the control loop). Each operation completes exactly once, in submission order,
 * with OK, a definite error, or ERR_UNKNOWN (connection lost after it was sent: it may have happened). Operations submitted
 * while SUSPENDED wait for the next connection (they were not sent, so they are not UNKNOWN) up to op_timeout_ms, then ERR_TIMEOUT.
 * After EXPIRED every operation fails with ERR_EXPIRED until zk_reopen makes a new session on the same object.
 * Paths are relative to the chroot of zookeeper.connect; the chroot is never shown. zk_create("/") makes the chroot itself, all its
 * levels (ERR_EXIST when it is there already, and always without a chroot).
 */
#pragma once

#include "common/base/slice.h"
#include "common/env/env.h"

struct zk_stat {
	int64_t czxid, mzxid, pzxid;
	int64_t ctime_ms, mtime_ms;
	int32_t version, cversion;
	int64_t ephemeral_owner; /* session id, 0 = persistent */
	int32_t data_len, num_children;
};

struct zk_session_id {
	int64_t id;
	uint8_t password[16];
};

enum zk_event {
	ZK_CONNECTED,   /* new or resumed (see resumed) */
	ZK_SUSPENDED,   /* connection lost; the session may live */
	ZK_RIGHTS_LOST, /* own timer: 2/3 of the negotiated timeout without contact; stop acting on ephemerals; comes before EXPIRED */
	ZK_EXPIRED,     /* the server said so: ephemerals are gone */
};
struct zk_event_info {
	enum zk_event event;
	struct zk_session_id session;
	int32_t timeout_ms; /* negotiated */
	bool resumed;       /* CONNECTED: same session as before */
};

struct zk_config {
	const char *connect;     /* host:port,host:port[/chroot] */
	int32_t session_timeout_ms;
	int32_t op_timeout_ms;
	void (*on_event)(struct zk *zk, void *ctx, const struct zk_event_info *ev);
	void *ctx;
};

MUST_CHECK int zk_open(struct loop *l, const struct zk_config *cfg, struct zk **ret_zk); /* ERR_INVAL: bad connect string */
void zk_reopen(struct zk *zk);            /* after EXPIRED: new session; observations are dropped, set them again */
void zk_close(struct zk *zk, void (*closed)(void *ctx), void *ctx); /* ends the session at the server (ephemerals go), then frees; closed may be NULL */
/* Resumes session `old` by id and password and closes it (protocol.md D5): its ephemerals go. done(err): 0 also if it was gone. */
void zk_end_session(struct zk *zk, const struct zk_session_id *old, void (*done)(void *ctx, int err), void *ctx);
bool zk_connected(const struct zk *zk);
/* env_now_us of the last proof of contact with a server (reply or ping). */
int64_t zk_last_contact_us(const struct zk *zk);

struct zk_names {
	const char *const *names; /* sorted bytewise */
	size_t count;
};

/* Results are valid during the callback only. err: 0, ERR_NOENT, ERR_EXIST, ERR_BADVERSION, ERR_NOTEMPTY, ERR_INVAL (NoChildrenForEphemerals,
 * bad arguments), ERR_LIMIT (request over 1 MB, refused locally), ERR_UNKNOWN, ERR_TIMEOUT, ERR_EXPIRED, ERR_UNSUPPORTED (ACL). */
typedef void zk_data_fn(void *ctx, int err, struct slice data, const struct zk_stat *st);
typedef void zk_stat_fn(void *ctx, int err, const struct zk_stat *st);
typedef void zk_names_fn(void *ctx, int err, const struct zk_names *names, const struct zk_stat *st);
typedef void zk_create_fn(void *ctx, int err, const char *path, const struct zk_stat *st);
typedef void zk_void_fn(void *ctx, int err);

enum zk_create_flags { ZK_PERSISTENT = 0, ZK_EPHEMERAL = 1, ZK_SEQUENTIAL = 2 };

void zk_get(struct zk *zk, const char *path, zk_data_fn *fn, void *ctx);
void zk_exists(struct zk *zk, const char *path, zk_stat_fn *fn, void *ctx);
void zk_children(struct zk *zk, const char *path, zk_names_fn *fn, void *ctx);
void zk_create(struct zk *zk, const char *path, struct slice data, int flags, zk_create_fn *fn, void *ctx); /* data.ptr NULL = null data */
void zk_set(struct zk *zk, const char *path, struct slice data, int32_t version, zk_stat_fn *fn, void *ctx); /* version -1 = any */
void zk_delete(struct zk *zk, const char *path, int32_t version, zk_void_fn *fn, void *ctx);

enum zk_op_kind { ZK_OP_CHECK, ZK_OP_CREATE, ZK_OP_SET, ZK_OP_DELETE };
struct zk_op {
	enum zk_op_kind kind;
	const char *path;
	struct slice data;
	int32_t version;
	int flags;
};
struct zk_op_result {
	int err; /* of a failed multi: the failing op has its code, the others ERR_ABORTED */
	struct zk_stat stat; /* SET: all; CREATE: only version 0, data_len and ephemeral_owner (the client library returns no more) */
	const char *path;    /* created name (CREATE) */
};
typedef void zk_multi_fn(void *ctx, int err, const struct zk_op_result *results, size_t count);
/* All or nothing. ops and what they point to are copied. err = 0, or the first failing op's code, or a whole-request code. */
void zk_multi(struct zk *zk, const struct zk_op *ops, size_t count, zk_multi_fn *fn, void *ctx);

/* After any change of what was observed, at least one `look again` runs, maybe spurious or merged, and before any reply of this
 * session that shows the change. Stays until zk_unobserve or a new session; watches are re-armed by the backend (one-shot
 * watches, re-registered after a reconnect). */
enum zk_observe_kind { ZK_OBSERVE_NODE /* data, creation, deletion */, ZK_OBSERVE_CHILDREN };
void zk_observe(struct zk *zk, const char *path, enum zk_observe_kind kind, void (*look_again)(void *ctx, const char *path), void *ctx);
void zk_unobserve(struct zk *zk, const char *path, enum zk_observe_kind kind);
