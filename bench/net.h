/* net.h: non-blocking connections with pipelined requests on one epoll, for klamm-load. One thread.
 *
 * A request is a head (copied) and an optional payload (borrowed until the answer, or owned: freed here). Answers come in
 * order. When a connection ends, every request that was not answered gets its callback with an empty answer; the
 * connection object stays, in the state closed, and may be opened again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/kwire.h"

#define NET_NS_PER_MS UINT64_C(1000000)
#define NET_NS_PER_S UINT64_C(1000000000)

struct net;
struct net_conn;

enum net_state { NET_CLOSED, NET_CONNECTING, NET_OPEN };

/* answer.ptr NULL = the connection ended first. The answer starts behind the correlation id; valid during the call. */
typedef void (*net_answer_fn)(void *ctx, uint64_t tag, struct slice answer);

struct net *net_new(void);
void net_free(struct net *n);
uint64_t net_now(void); /* CLOCK_MONOTONIC, ns */
/* Handles what is ready; waits until then_ns at most. Returns early on a signal. */
void net_poll(struct net *n, uint64_t then_ns);

/* host is copied. Starts to connect; state CONNECTING or CLOSED (refused at once, unknown host). */
struct net_conn *net_conn_new(struct net *n, const char *host, int port);
void net_conn_free(struct net_conn *c); /* pending callbacks are not called */
void net_conn_open(struct net_conn *c); /* again, after CLOSED */
void net_conn_close(struct net_conn *c);
enum net_state net_conn_state(const struct net_conn *c);
unsigned net_conn_pending(const struct net_conn *c);
bool net_conn_unsent(const struct net_conn *c); /* bytes wait for the socket */
bool net_conn_is(const struct net_conn *c, const char *host, int port);

/* Takes the request that kw_begin started; sets its size and correlation id. A payload must stay untouched until the
 * callback unless owned. fn NULL = no answer comes (acks=0). May be called while connecting. On a closed connection the
 * callback comes at once. */
void net_request(struct net_conn *c, struct kw_out *head, const uint8_t *payload, size_t len, bool owned, net_answer_fn fn, void *ctx,
                 uint64_t tag);
/* One request, waiting for the answer up to timeout_ms. The answer is malloc'ed. False: no answer (the connection is closed then). */
bool net_call(struct net_conn *c, struct kw_out *head, unsigned timeout_ms, uint8_t **ret_answer, size_t *ret_len);
