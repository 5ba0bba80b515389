/* controller.h: controllerd as an object: one active or standby controller of a cluster, in the world that it is given.
 *
 * main.c builds the os world and runs one; the simulator builds its own world and runs several. No globals, no direct syscalls.
 * Thread: the control loop, for every call. Failure: what cannot be gone on in ends the process by env_exit (75: another process has
 * this controller.id); all else is ridden out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/str.h"
#include "common/env/env.h"
#include "common/env/loop.h"

struct controller_config {
	int32_t id;
	char *listen_host;     /* numeric or localhost; "" = all */
	uint16_t listen_port;
	char *advertised_host; /* how brokers reach it */
	uint16_t advertised_port;
	char *zookeeper_connect;
	int32_t zookeeper_session_timeout_ms;
	bool admin;            /* admin.listener is set */
	char *admin_host;
	uint16_t admin_port;
	int32_t link_closed_grace_ms, link_silence_ms;
	bool link_allow_remote; /* links from other machines without a proof of identity (protocol.md D1) */
	bool delete_topic_enable;
	bool leader_rebalance;
	int32_t leader_imbalance_check_s, leader_imbalance_percentage;
	size_t topic_watch_bytes; /* tests: budget of watched topic paths; 0 = the usual one */
	int32_t snapshot_slice;   /* tests: partitions of a snapshot that one turn encodes; 0 = the usual number */
};
/* Java properties. On failure (ERR_INVAL) *problem is one line: file, line, key, what is allowed. Warnings are lines in *warnings.
 * overrides: KEY=VALUE texts. */
MUST_CHECK int controller_config_parse(const char *file_name, struct slice text, const char *const *overrides, uint32_t override_count,
				       struct controller_config **ret_cfg, struct str *problem, struct str *warnings);
void controller_config_free(struct controller_config *cfg); /* NULL is fine */

struct controller;
/* Takes a copy of cfg. */
struct controller *controller_new(struct env *env, struct loop *control, const struct controller_config *cfg);
/* Opens the listener and the ZooKeeper session. ERR_EXIST: an address is in use; ERR_INVAL: a bad address or connect string. */
MUST_CHECK int controller_start(struct controller *c);
/* Steps down at once, closes the session; done(ctx) at the end, at latest after 2 s. */
void controller_stop(struct controller *c, void (*done)(void *ctx), void *ctx);
/* After controller_stop's done, or when its (simulated) process died. No callbacks. */
void controller_free(struct controller *c);

/* What it is now, for checkers and tests. */
struct controller_view {
	bool active;      /* leads a reign that has loaded */
	bool rights;
	int32_t epoch;
	uint64_t seq;
	const char *state, *reason; /* as /health says */
	uint16_t port, admin_port;
	int32_t topics, partitions, links;
};
void controller_look(const struct controller *c, struct controller_view *ret);
