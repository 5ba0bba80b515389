/* check.h: assertions for bugs, on in every build.
 *
 * ASSERT is for what only a mistake in Klamm can make false. Never use it on what a peer, a file, ZooKeeper or a user
 * sent: those get an error. ASSERT_SLOW is for checks that cost more than a comparison (--enable-debug only).
 * A failed assertion prints the condition, the place, a stack and what check_set_context named, then exits 70.
 */
#pragma once

#include <stddef.h>

_Noreturn void check_failed(const char *cond, const char *file, int line, const char *func);

/* Called by check_failed before the process ends, on the failing thread: dumps state. One per process; set by main. */
void check_set_dump(void (*dump)(void *ctx), void *ctx);

/* Names what this thread is doing, for the message of check_failed; gives back what was named before, to restore it. The text
 * must stay valid until it is replaced (a literal, or memory of the caller's frame that restores it). NULL = nothing. */
const char *check_set_context(const char *what);

#define ASSERT(cond) \
	do { \
		if (__builtin_expect(!(cond), 0)) \
			check_failed(#cond, __FILE__, __LINE__, __func__); \
	} while (0)

#ifdef KLAMM_DEBUG
#define ASSERT_SLOW(cond) ASSERT(cond)
#else
#define ASSERT_SLOW(cond) ((void)0)
#endif

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
