/* elect.h: who is the active controller: the ZooKeeper session, standing and usurping, the reign and its barriers.
 *
 * States (enum elect_phase) and where they are entered from:
 *   WAITING    no session                           start, any state by expiry
 *   PREPARING  base paths, cluster id, own node     WAITING
 *   LOOKING    reading /controller                  PREPARING, and whenever /controller may have changed
 *   STANDING   election multi under way             LOOKING (nobody there, our own former life), STANDBY (the active is dead: A5)
 *   ACTIVE     our reign                            STANDING
 *   STANDBY    somebody else of ours rules          LOOKING
 *   FOREIGN    a /controller without our field: Kafka rules, hands off (H5)        LOOKING
 *   REFUSED    kraftControllerEpoch > 0 or /migration: we do not stand (H5)        LOOKING
 *   STOPPING   stepped down                         any
 *
 * A reign is fenced by the version of /controller_epoch, not by the ephemeral (design.md 2): losing /controller alone ends nothing.
 * Rights (C5): what ZooKeeper does not fence is said only while the last good barrier began less than a third of the session timeout
 * ago, by a fresh clock; one barrier runs each second. Past it the reign is suspended, and goes on by itself when a barrier succeeds.
 * Thread: the control loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/list.h"
#include "common/env/loop.h"
#include "common/env/zk.h"
#include "controllerd/state/calls.h"

struct link;

enum elect_phase { ELECT_WAITING, ELECT_PREPARING, ELECT_LOOKING, ELECT_STANDING, ELECT_ACTIVE, ELECT_STANDBY, ELECT_FOREIGN, ELECT_REFUSED, ELECT_STOPPING };
const char *elect_phase_str(enum elect_phase p);

struct elect_config {
	int32_t id;
	const char *host; /* where others reach our control listener */
	uint16_t port;
	uint64_t incarnation;
	const char *version;
	const char *zookeeper_connect;
	int32_t session_timeout_ms, silence_ms;
};
struct elect_host {
	void *ctx;
	/* Won; zk stays valid until reign_end. lineage_ok: no foreign controller ruled since our last one (E4, F2). */
	void (*reign_begin)(void *ctx, int32_t epoch, int32_t epoch_version, bool lineage_ok);
	void (*reign_end)(void *ctx, const char *why);
	/* What the brokers with a link to us say about controller `id`: how many there are, how many do not hear it (A5). */
	void (*brokers_say)(void *ctx, int32_t id, int32_t *ret_total, int32_t *ret_deaf);
	void (*phase_changed)(void *ctx, enum elect_phase p, const char *reason);
};

/* /controller as last read. */
struct elect_node {
	bool exists, ours;
	int32_t id, version;
	int64_t czxid, owner;
	char host[256];
	uint16_t port;
};
struct elect_standby { /* our link to the active controller */
	struct link *link;
	bool hello_done;
	uint64_t incarnation; /* of the active, once it said so */
	int64_t last_heard_us, closed_us, next_try_us;
	int32_t epoch;
	uint64_t seq;         /* of its delta stream */
	uint64_t beats;
};
struct elect {
	struct env *env;
	struct loop *loop;
	struct elect_config cfg;
	struct elect_host host;
	struct zk *zk;
	struct calls calls;
	struct arena scratch;
	enum elect_phase phase;
	const char *reason; /* static or owned by reason_text */
	char reason_text[256];
	int64_t phase_since_us;
	int64_t session; /* id, 0 none */
	int32_t timeout_ms;
	bool connected, prepared, look_again;
	int prepare_left, prepare_failed;
	char cluster_id[64];
	struct elect_node node;
	/* standing */
	int32_t stand_epoch, stand_version, stand_broker;
	bool stand_lineage_exists, stand_lineage_ok, stand_usurps;
	int64_t stand_began_us;
	/* reign */
	int32_t epoch, epoch_version, known_epoch;
	int64_t barrier_good_us; /* when the last good one began */
	bool barrier_running;
	struct list waiters;
	int32_t shown_broker;    /* brokerid in /controller (J1) */
	bool showing;
	int64_t usurped_us;
	int64_t usurp_backoff_us;
	struct timer barrier_timer, retry_timer, standby_timer;
	struct elect_standby standby;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

void elect_init(struct elect *e, struct loop *l, const struct elect_config *cfg, const struct elect_host *host);
MUST_CHECK int elect_start(struct elect *e); /* ERR_INVAL: bad connect string */
/* Steps down at once (deletes /controller under the epoch check), closes the session; closed(ctx) runs at the end. */
void elect_stop(struct elect *e, void (*closed)(void *ctx), void *ctx);
void elect_fini(struct elect *e); /* no callbacks */

bool elect_has_rights(const struct elect *e);
/* A barrier that begins now; fn(arg, 0) once one that began later than this call succeeded, ERR_STALE: the reign ended. */
void elect_barrier(struct elect *e, void (*fn)(void *arg, int err), void *arg);
void elect_deposed(struct elect *e); /* some fenced write failed its check */
void elect_show_broker(struct elect *e, int32_t broker_id); /* J1; -1 none lives */

/* standby.c */
void standby_follow(struct elect *e);
void standby_leave(struct elect *e);
void standby_init(struct elect *e);
/* elect.c, for standby.c */
void elect_usurp(struct elect *e, const char *why);
