/* fake_net.h: the seam of tests of brokerd/net. The test itself is the kernel: it decides which bytes arrive when, and sees every byte that
 * leaves. Two loops; their calls run at once, nothing waits. And the user of brokerd/net: answers frames by what their first byte says.
 *
 * A test: fake_net_begin; fake_connect, frames into conn.in, fake_pump; looks at conn.out and at fake; fake_net_end.
 */
#pragma once

#include "brokerd/net/net.h"
#include "common/base/str.h"
#include "common/env/env_backend.h"

struct fake_conn {
	struct conn c;
	struct list link;
	struct str in;       /* sent by the peer, not yet read */
	size_t in_pos;
	struct str out;      /* what the peer got */
	bool paused, closed, shutdown, gone;
	bool unread;         /* the peer does not read: what is sent stays queued */
	size_t piece;        /* bytes per read at most; 0 = as many as fit */
	uint8_t *read_end;   /* where the last read ended */
	uint32_t new_places; /* reads that did not go on where the one before ended */
	struct loop *move_to;
	void (*arrived)(struct conn *c, void *ctx);
};

enum { ECHO = 'e', KEEP = 'k', CLOSE = 'c', MOVE = 'm', HOLD = 'h', ORDERED = 'o' /* kind, bits of kinds not beside it: kept */ };

#define KEPT_MAX 4096
extern struct fake_net {
	struct loop loops[2];
	struct net_loop *nets[2];
	struct net_limits *limits;
	int64_t now_us;
	struct list conns, timers;
	struct net_request *kept[KEPT_MAX]; /* in the order in which they were handed out */
	int kept_count, handed_out, gone_calls;
	struct str seen; /* all frames, in the order in which they were handed out */
	int seen_on_loop[2];
} fake;

struct net_config fake_net_config(void); /* the usual one */
void fake_net_begin(const struct net_config *given);
void fake_net_end(void); /* nothing may be left over */
void fake_sleep_ms(int64_t ms); /* lets time pass and runs what is due */

struct fake_conn *fake_connect(int loop);
void fake_peer_sends(struct fake_conn *f, const void *bytes, size_t len);
void fake_peer_closes(struct fake_conn *f);
bool fake_pump(struct fake_conn *f); /* the kernel offers what has arrived; true if anything was taken */
void fake_pump_all(void);

void fake_frame_add(struct str *s, const void *body, size_t len);
void fake_fill(uint8_t *p, size_t len, uint8_t first, unsigned salt);
bool fake_got(const struct fake_conn *f, const struct str *want);
struct net_request *fake_take(int i); /* the i-th that was kept: the caller answers it */
void fake_echo(struct net_request *r);
