/* unit.c: runs the table of cases of one test program. See unit.h. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char tmpdir[256];
static int failed_cases;

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void remove_tmpdir(void)
{
	if (tmpdir[0] && !failed_cases)
		nftw(tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *unit_tmpdir(void)
{
	if (!tmpdir[0]) {
		const char *base = getenv("TMPDIR");
		snprintf(tmpdir, sizeof(tmpdir), "%s/klamm-unit-XXXXXX", base ? base : "/tmp");
		if (!mkdtemp(tmpdir)) {
			perror(tmpdir);
			exit(2);
		}
		atexit(remove_tmpdir);
	}
	return tmpdir;
}

const char *unit_golden(const char *name)
{
	static char path[4][512];
	static unsigned turn;
	const char *src = getenv("srcdir");
	char *out = path[turn++ % 4];
	snprintf(out, sizeof(path[0]), "%s/tests/golden/%s", src ? src : ".", name);
	return out;
}

static int wanted(const char *name, int argc, char **argv)
{
	if (argc < 2)
		return 1;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	return 0;
}

int unit_run(const char *suite, const struct unit_case *cases, size_t count, int argc, char **argv)
{
	int passed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 2;
	CU_pSuite s = CU_add_suite(suite, NULL, NULL);
	for (size_t i = 0; i < count; i++) {
		if (!wanted(cases[i].name, argc, argv))
			continue;
		CU_pTest t = CU_add_test(s, cases[i].name, cases[i].fn);
		unsigned before = CU_get_number_of_failure_records();
		CU_run_test(s, t);
		/* CUnit clears its counters at each run, so what it reports is of this case alone */
		unsigned fails = CU_get_number_of_failures();
		(void)before;
		if (fails == 0) {
			passed++;
			printf("ok %s.%s\n", suite, cases[i].name);
		} else {
			failed_cases++;
			printf("FAILED %s.%s\n", suite, cases[i].name);
			for (CU_pFailureRecord f = CU_get_failure_list(); f; f = f->pNext)
				printf("    %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
		}
	}
	printf("%d passed, %d failed\n", passed, failed_cases);
	CU_cleanup_registry();
	return failed_cases || passed == 0;
}
