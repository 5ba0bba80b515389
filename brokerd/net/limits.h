/* limits.h: how many connections a broker takes, in all and from one address (max.connections, max.connections.per.ip).
 *
 * Counted over all of its loops without locks: one counter, and a table of counters by address. A place of the table is one word, the
 * address's hash above, its connections below; a place without connections may be taken by any address. The connections of an address are
 * the sum over the few places where its hash may stand, since two loops may have made a place for it at the same time. Whoever enters
 * counts itself first and looks then, so that a limit is never exceeded; two at the last place may both be sent away. An address that
 * finds no place (thousands of others are connected) is not counted.
 * Thread: any.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct net_ip_limit {
	uint64_t address; /* net_address_hash */
	uint32_t most;
};
struct net_limit_values { /* of one loop; changed as a whole */
	uint32_t total, per_ip;
	const struct net_ip_limit *overrides;
	uint32_t override_count;
};
uint64_t net_address_hash(const char *address); /* numeric text; never 0 */

struct net_limits;
struct net_limits *net_limits_new(void);
void net_limits_free(struct net_limits *l); /* NULL is fine */
/* One more connection from this address. False: over a limit, nothing was counted. free_of_total: the total does not concern it (and it
 * counts), as for brokers that come through a listener of their own. */
bool net_limits_enter(struct net_limits *l, const struct net_limit_values *v, const char *address, bool free_of_total, uint32_t *ret_place);
void net_limits_leave(struct net_limits *l, uint32_t place);
uint32_t net_limits_total(const struct net_limits *l);
