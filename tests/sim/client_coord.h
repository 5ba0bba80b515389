/* client_coord.h: what members and committers of groups share: finding the coordinator, OffsetCommit and OffsetFetch, told to the checks.
 *
 * One struct coord per simulated process and group, on its control loop; it lives as long as the process. Calls go to the coordinator over
 * the connections for it (client.h). done runs once per accepted call, with error 0 or what the whole call failed with (NETWORK_EXCEPTION:
 * no answer; it may have taken effect).
 */
#pragma once

#include "tests/sim/client.h"

struct coord {
	struct client *c;
	int group;             /* its number in checks_groups.h */
	int node;              /* of the coordinator; -1 to be found */
	bool finding;
	int64_t retry_us;      /* nothing is asked before this */
	int16_t find_version, commit_version, fetch_version;
	bool require_stable;
	struct list calls;
	void (*kick)(void *ctx); /* there is something to go on with */
	void *ctx;
};

/* Versions are drawn here. members: of the kinds that members use. */
void coord_init(struct coord *co, struct client *c, int group, void (*kick)(void *ctx), void *ctx);
void coord_fini(struct coord *co); /* when the process is dead */

/* Whether the coordinator is known and may be asked now; if not, looks for it. */
bool coord_ready(struct coord *co);
/* An answer, or none, said that it is another broker, or that it is not ready: asks anew, or waits a little. False: error is of another kind. */
bool coord_error(struct coord *co, int16_t error);
/* A call to the coordinator, made by the caller. */
bool coord_send(struct coord *co, int16_t api, int16_t version, const void *msg, int64_t timeout_us, client_done_fn *done, void *ctx);

struct coord_item {
	int32_t tp, leader_epoch; /* leader_epoch -1: none */
	int64_t offset;           /* fetch: -1 none */
	bool rewound;             /* commit: see checks_groups.h */
	int16_t error;
	uint64_t id;              /* coord's */
};
typedef void coord_done_fn(void *ctx, int16_t error, const struct coord_item *items, int count);

/* generation -1: nobody's. forbidden: it must be refused (checks_groups.h). */
struct coord_who { int32_t generation; struct slice member, instance; bool forbidden; };
/* False: it could not be sent; done is not called. */
bool coord_commit(struct coord *co, const struct coord_who *who, const struct coord_item *items, int count, coord_done_fn *done, void *ctx);
/* all: every partition of the group is asked for (items and count do not matter); what is not in the answer has nothing. */
bool coord_fetch(struct coord *co, const struct coord_item *items, int count, bool all, coord_done_fn *done, void *ctx);
