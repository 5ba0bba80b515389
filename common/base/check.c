/* check.c: the end of a process that found a bug in itself.
 *
 * Failure model: the heap may be damaged, so nothing here allocates and nothing unwinds: text goes straight to descriptor 2.
 * A second failure while dumping (or on another thread meanwhile) ends the process at once. Exit status 70 (contract.md).
 */
#include "common/base/check.h"

#include <execinfo.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_BUG 70
#define FRAMES_MAX 64

static void (*dump_fn)(void *ctx);
static void *dump_ctx;
static atomic_flag failing = ATOMIC_FLAG_INIT;
static _Thread_local const char *context;

void check_set_dump(void (*dump)(void *ctx), void *ctx)
{
	dump_ctx = ctx;
	dump_fn = dump;
}

const char *check_set_context(const char *what)
{
	const char *before = context;
	context = what;
	return before;
}

static void say(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, text, len);
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

_Noreturn void check_failed(const char *cond, const char *file, int line, const char *func)
{
	char text[1024];
	void *frames[FRAMES_MAX];
	int n = snprintf(text, sizeof(text), "BUG: assertion failed: %s at %s:%d in %s%s%s\n", cond, file, line, func,
			 context ? ", while: " : "", context ? context : "");
	say(text, n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	if (atomic_flag_test_and_set(&failing))
		_exit(EXIT_BUG);
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
	if (dump_fn)
		dump_fn(dump_ctx);
	static const char advice[] = "This is a bug in Klamm; the process ends now and can be started again. Please report the lines above.\n";
	say(advice, sizeof(advice) - 1);
	_exit(EXIT_BUG);
}
