/* unit.h: CUnit with one table per program.
 *
 *   static void test_grows(void) { CU_ASSERT_EQUAL(1 + 1, 2); }
 *   UNIT_MAIN("vec", {"grows", test_grows}, {"shrinks", test_shrinks})
 *
 * Prints one line per case and ends with `N passed, M failed`; exit 1 if any failed. `PROG NAME...` runs only these cases.
 */
#pragma once

#include <CUnit/CUnit.h>

#include <stddef.h>

struct unit_case {
	const char *name;
	void (*fn)(void);
};

int unit_run(const char *suite, const struct unit_case *cases, size_t count, int argc, char **argv);
/* A fresh directory below the build's test directory, removed at exit unless a case failed. */
const char *unit_tmpdir(void);
/* tests/golden/NAME as a path, from $srcdir. */
const char *unit_golden(const char *name);

#define UNIT_MAIN(suite, ...) \
	int main(int argc, char **argv) \
	{ \
		static const struct unit_case cases[] = {__VA_ARGS__}; \
		return unit_run(suite, cases, sizeof(cases) / sizeof(cases[0]), argc, argv); \
	}
