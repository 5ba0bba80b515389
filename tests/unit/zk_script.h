/* zk_script.h: one scripted sequence of ZooKeeper operations over common/env/zk.h, with faults, that writes what it sees as text:
 * results, stats (zxids as ranks), contents, names, and the order in which watches fire. It must give the same text on the model
 * and on a real ZooKeeper (issue 3 part 3); tests/golden/zk-script.txt is that text.
 *
 * Two sessions: 0 ("A", whose way to the servers can be cut) and 1 ("B"). They may share a loop (os) or live in two processes (sim).
 * The chroot named in both connect strings must exist and be empty.
 */
#pragma once

#include "common/base/str.h"
#include "common/env/loop.h"
#include "common/env/zk.h"

#define ZK_SCRIPT_TIMEOUT_MS 10000

struct zk_script_world {
	struct loop *loop[2];
	const char *connect[2];
	/* Runs fn(arg) on loop[who], later. */
	void (*run)(void *ctx, int who, void (*fn)(void *arg), void *arg);
	/* on: no byte passes between session A and any server, connections stay open; off: all is well again. */
	void (*cut)(void *ctx, bool on);
	/* The script is over; both sessions are closed. */
	void (*done)(void *ctx);
	void *ctx;
};

struct zk_script;
struct zk_script *zk_script_new(const struct zk_script_world *world);
void zk_script_start(struct zk_script *s); /* from anywhere */
void zk_script_free(struct zk_script *s);
/* What it is waiting for, when it does not come to its end. */
const char *zk_script_where(const struct zk_script *s);
void zk_script_text(const struct zk_script *s, struct str *out);
