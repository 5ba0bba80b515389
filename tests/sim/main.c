/* main.c: klamm-sim: options, ranges of seeds over child processes, the report.
 *
 * A range is worked off by child processes of a few seeds each (what killed daemons leak ends with them, and a failed assertion takes
 * only its seed with it); results come back through shared memory, so that the report does not depend on who was quicker. --no-fork runs
 * a single seed in this process.
 */
#include <argp.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/plant.h"
#include "tests/sim/harness.h"

enum { SEEDS_PER_CHILD = 20, JOBS_MAX = 256, CRASHED_STATUS = 70 };

/* ---- options ---- */

enum { KEY_SEED = 256, KEY_SEEDS, KEY_JOBS, KEY_SECONDS, KEY_BROKERS, KEY_CONTROLLERS, KEY_LOOPS, KEY_FAULTS, KEY_TRACE, KEY_PLANT, KEY_LIST_PLANTS, KEY_JSON, KEY_VERBOSE, KEY_NO_FORK, KEY_EACH };

static const struct argp_option option_table[] = {
	{"seed", KEY_SEED, "N", 0, "run one seed", 0},
	{"seeds", KEY_SEEDS, "A..B", 0, "run a range of seeds", 0},
	{"jobs", KEY_JOBS, "J", 0, "child processes for a range (default 1)", 0},
	{"seconds", KEY_SECONDS, "S", 0, "virtual seconds per seed (default 60)", 0},
	{"brokers", KEY_BROKERS, "B", 0, "brokers (default 3)", 0},
	{"controllers", KEY_CONTROLLERS, "C", 0, "controllers (default 2)", 0},
	{"loops", KEY_LOOPS, "L", 0, "data loops per broker (default 2; without this option some seeds take 1 to 4)", 0},
	{"faults", KEY_FAULTS, "LIST", 0, "faults to inject: all (default), none, or a comma list of names", 0},
	{"trace", KEY_TRACE, "FILE", 0, "write everything that happens, one line an event (one seed only; - is standard output)", 0},
	{"plant", KEY_PLANT, "NAME", 0, "turn a planted bug on (builds with --enable-plants)", 0},
	{"list-plants", KEY_LIST_PLANTS, NULL, 0, "list the planted bugs of this build", 0},
	{"json", KEY_JSON, NULL, 0, "report as one JSON object", 0},
	{"each", KEY_EACH, NULL, 0, "one line per seed in front of the last line", 0},
	{"no-fork", KEY_NO_FORK, NULL, 0, "run one seed in this process, for a debugger", 0},
	{"verbose", KEY_VERBOSE, NULL, 0, "log lines of the daemons to standard error", 0},
	{0},
};

static int64_t number(const char *text, int64_t lo, int64_t hi, const char *option, struct argp_state *state)
{
	int64_t v;
	if (str_to_i64(text, &v) || v < lo || v > hi)
		argp_error(state, "--%s: '%s' is not a number from %lld to %lld", option, text, (long long)lo, (long long)hi);
	return v;
}

static void parse_seeds(struct options *o, char *text, struct argp_state *state)
{
	char *dots = strstr(text, "..");
	if (!dots) {
		argp_error(state, "--seeds: '%s' is not of the form A..B", text);
		return;
	}
	*dots = '\0';
	o->seed_first = (uint64_t)number(text, 0, INT64_MAX, "seeds", state);
	o->seed_last = (uint64_t)number(dots + 2, 0, INT64_MAX, "seeds", state);
	if (o->seed_last < o->seed_first || o->seed_last - o->seed_first >= 100000000)
		argp_error(state, "--seeds: from the smaller to the larger, at most 100000000 of them");
}

static void parse_faults(struct options *o, char *text, struct argp_state *state)
{
	o->faults = 0;
	if (strcmp(text, "none") == 0)
		return;
	if (strcmp(text, "all") == 0) {
		o->faults = (1ull << FAULT_KINDS) - 1;
		return;
	}
	for (char *save = NULL, *name = strtok_r(text, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		int k = 0;
		while (k < FAULT_KINDS && strcmp(fault_names[k], name) != 0)
			k++;
		if (k == FAULT_KINDS) {
			struct str names;
			str_init(&names);
			for (int i = 0; i < FAULT_KINDS; i++)
				str_printf(&names, " %s", fault_names[i]);
			argp_error(state, "--faults: no fault is called '%s'; there are:%s", name, str_cstr(&names));
		}
		o->faults |= 1ull << k;
	}
}

static void list_plants(void)
{
	for (int i = 1; plant_name(i); i++)
		printf("%s\t%s\n", plant_name(i), plant_text(i));
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;
	switch (key) {
	case KEY_SEED: o->seed_first = o->seed_last = (uint64_t)number(arg, 0, INT64_MAX, "seed", state); break;
	case KEY_SEEDS: parse_seeds(o, arg, state); break;
	case KEY_JOBS: o->jobs = (int)number(arg, 1, JOBS_MAX, "jobs", state); break;
	case KEY_SECONDS: o->seconds = number(arg, 10, 100000, "seconds", state); break;
	case KEY_BROKERS: o->brokers = (int)number(arg, 1, BROKERS_MAX, "brokers", state); break;
	case KEY_CONTROLLERS: o->controllers = (int)number(arg, 1, CONTROLLERS_MAX, "controllers", state); break;
	case KEY_LOOPS: o->loops = (int)number(arg, 1, 16, "loops", state); break;
	case KEY_FAULTS: parse_faults(o, arg, state); break;
	case KEY_TRACE: o->trace_file = arg; break;
	case KEY_PLANT:
		if (!plant_select(arg))
			argp_error(state, "--plant: this build has no planted bug '%s' (see --list-plants)", arg);
		break;
	case KEY_LIST_PLANTS:
		list_plants();
		exit(0);
	case KEY_JSON: o->json = true; break;
	case KEY_EACH: o->each = true; break;
	case KEY_NO_FORK: o->no_fork = true; break;
	case KEY_VERBOSE: o->verbose = true; break;
	case ARGP_KEY_ARG: argp_error(state, "'%s' is not an option", arg); break;
	case ARGP_KEY_END:
		if (o->seed_first == UINT64_MAX)
			argp_error(state, "--seed N or --seeds A..B is needed");
		if (o->trace_file && o->seed_first != o->seed_last)
			argp_error(state, "--trace goes with one seed");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {.options = option_table, .parser = parse_option,
	.doc = "klamm-sim: runs whole Klamm clusters, from a seed, on virtual time, with faults, and checks what must hold.\v"
	       "Exit status: 0 clean, 1 a check was violated (VIOLATION lines say which), 2 wrong usage, 3 something was not available again after "
	       "everything had healed."};

/* ---- children ---- */

/* Shared between the processes of one invocation. */
struct board {
	volatile int64_t now_us[JOBS_MAX]; /* virtual time of the seed that a child is at */
	volatile uint64_t at[JOBS_MAX];    /* index of that seed */
	struct result results[];
};

struct child {
	pid_t pid; /* 0 = none */
	uint64_t first, end; /* seeds by index */
};

static void child_main(const struct options *o, struct board *board, int slot, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		board->at[slot] = i;
		board->now_us[slot] = 0;
		run_seed(o, o->seed_first + i, &board->now_us[slot], &board->results[i]);
	}
	fflush(NULL);
	_exit(0);
}

static void child_start(const struct options *o, struct board *board, struct child *c, int slot)
{
	board->at[slot] = c->first;
	fflush(NULL);
	c->pid = fork();
	ASSERT(c->pid >= 0);
	if (c->pid == 0)
		child_main(o, board, slot, c->first, c->end);
}

/* A child that died took one seed with it; the rest of its share is for the next. */
static void child_ended(const struct options *o, struct board *board, struct child *c, int slot, int status)
{
	c->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	struct result *res = &board->results[board->at[slot]];
	if (!res->done) {
		res->done = true;
		res->outcome = OUTCOME_VIOLATION;
		res->t_ms = board->now_us[slot] / 1000;
		res->virtual_us = board->now_us[slot];
		if (WIFSIGNALED(status))
			snprintf(res->what, sizeof(res->what), "assertion the process died of signal %d", WTERMSIG(status));
		else
			snprintf(res->what, sizeof(res->what), "assertion the process ended with status %d%s", WEXITSTATUS(status),
				WEXITSTATUS(status) == CRASHED_STATUS ? " (see above)" : "");
	}
	c->first = board->at[slot] + 1;
	if (c->first < c->end)
		child_start(o, board, c, slot);
}

static void show_progress(uint64_t done, uint64_t count)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%llu of %llu seeds", (unsigned long long)done, (unsigned long long)count);
}

static void run_range(const struct options *o, struct board *board, uint64_t count)
{
	struct child children[JOBS_MAX] = {0};
	uint64_t next = 0;
	int running = 0;
	for (;;) {
		for (int s = 0; s < o->jobs && next < count; s++) {
			if (children[s].pid)
				continue;
			children[s].first = next;
			next = next + SEEDS_PER_CHILD < count ? next + SEEDS_PER_CHILD : count;
			children[s].end = next;
			child_start(o, board, &children[s], s);
			running++;
		}
		if (!running)
			break;
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		if (pid < 0 && errno == EINTR)
			continue;
		for (int s = 0; s < o->jobs; s++) {
			if (children[s].pid != pid || pid <= 0)
				continue;
			child_ended(o, board, &children[s], s, status);
			if (!children[s].pid)
				running--;
		}
		show_progress(next, count);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* ---- report ---- */

static void hex(const uint8_t in[32], char out[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

/* One seed: the hash of its trace. A range: the SHA-256 of the seeds' hashes in order. */
static void range_hash(const struct board *board, uint64_t count, char out[65])
{
	uint8_t sum[32];
	unsigned len = sizeof(sum);
	if (count == 1) {
		hex(board->results[0].hash, out);
		return;
	}
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	ASSERT(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	for (uint64_t i = 0; i < count; i++)
		ASSERT(EVP_DigestUpdate(md, board->results[i].hash, 32) == 1);
	ASSERT(EVP_DigestFinal_ex(md, sum, &len) == 1);
	EVP_MD_CTX_free(md);
	hex(sum, out);
}

static void json_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= 0x20)
			putchar(*text);
	}
	putchar('"');
}

static void tell_failures(const struct options *o, const struct board *board, uint64_t count, enum outcome kind)
{
	bool first = true;
	for (uint64_t i = 0; i < count; i++) {
		const struct result *res = &board->results[i];
		if (res->outcome != kind)
			continue;
		const char *space = strchr(res->what, ' ');
		int len = space ? (int)(space - res->what) : (int)strlen(res->what);
		unsigned long long seed = (unsigned long long)(o->seed_first + i);
		if (o->json) {
			printf("%s{\"seed\":%llu,\"t_ms\":%lld,", first ? "" : ",", seed, (long long)res->t_ms);
			if (kind == OUTCOME_VIOLATION)
				printf("\"invariant\":\"%.*s\",", len, res->what);
			printf("\"text\":");
			json_text(kind == OUTCOME_VIOLATION && space ? space + 1 : res->what);
			putchar('}');
		} else if (kind == OUTCOME_VIOLATION) {
			printf("VIOLATION %.*s t=%lld seed=%llu\n", len, res->what, (long long)res->t_ms, seed);
			printf("  %s\n", space ? space + 1 : "");
		} else {
			printf("NO-PROGRESS t=%lld seed=%llu\n  %s\n", (long long)res->t_ms, seed, res->what);
		}
		first = false;
	}
}

static void tell_each(const struct options *o, const struct board *board, uint64_t count)
{
	static const char *const outcomes[] = {[OUTCOME_CLEAN] = "clean", [OUTCOME_VIOLATION] = "violation", [OUTCOME_NO_PROGRESS] = "no-progress"};
	for (uint64_t i = 0; i < count; i++) {
		const struct result *res = &board->results[i];
		char hash[65];
		hex(res->hash, hash);
		printf("seed=%llu %s acked=%lld read=%lld commits=%lld rebalances=%lld faults=%lld leader_changes=%lld truncations=%lld lost_excused=%lld virtual_s=%.1f events=%llu hash=%s\n",
			(unsigned long long)(o->seed_first + i), outcomes[res->outcome], (long long)res->acked, (long long)res->read, (long long)res->commits, (long long)res->rebalances, (long long)res->faults,
			(long long)res->leader_changes, (long long)res->truncations, (long long)res->lost_excused, (double)res->virtual_us / 1e6,
			(unsigned long long)res->events, hash);
	}
}

static int report(const struct options *o, const struct board *board, uint64_t count, double wall_s)
{
	struct result sum = {0};
	char hash[65];
	for (uint64_t i = 0; i < count; i++) {
		const struct result *res = &board->results[i];
		if (res->outcome == OUTCOME_VIOLATION || (res->outcome == OUTCOME_NO_PROGRESS && sum.outcome == OUTCOME_CLEAN))
			sum.outcome = res->outcome;
		sum.acked += res->acked;
		sum.read += res->read;
		sum.commits += res->commits;
		sum.rebalances += res->rebalances;
		sum.faults += res->faults;
		sum.leader_changes += res->leader_changes;
		sum.truncations += res->truncations;
		sum.virtual_us += res->virtual_us;
	}
	range_hash(board, count, hash);
	if (o->each)
		tell_each(o, board, count);
	if (o->json) {
		printf("{\"seeds\":%llu,\"acked\":%lld,\"read\":%lld,\"faults\":%lld,\"leader_changes\":%lld,\"truncations\":%lld,\"virtual_s\":%.1f,\"wall_s\":%.2f,"
		       "\"commits\":%lld,\"rebalances\":%lld,\"hash\":\"%s\",\"violations\":[", (unsigned long long)count, (long long)sum.acked, (long long)sum.read, (long long)sum.faults,
			(long long)sum.leader_changes, (long long)sum.truncations, (double)sum.virtual_us / 1e6, wall_s, (long long)sum.commits, (long long)sum.rebalances, hash);
		tell_failures(o, board, count, OUTCOME_VIOLATION);
		printf("],\"no_progress\":[");
		tell_failures(o, board, count, OUTCOME_NO_PROGRESS);
		printf("]}\n");
	} else {
		tell_failures(o, board, count, OUTCOME_VIOLATION);
		tell_failures(o, board, count, OUTCOME_NO_PROGRESS);
		printf("groups: commits=%lld rebalances=%lld\n", (long long)sum.commits, (long long)sum.rebalances);
		printf("seeds=%llu acked=%lld read=%lld faults=%lld leader_changes=%lld truncations=%lld virtual_s=%.1f wall_s=%.2f hash=%s\n",
			(unsigned long long)count, (long long)sum.acked, (long long)sum.read, (long long)sum.faults, (long long)sum.leader_changes,
			(long long)sum.truncations, (double)sum.virtual_us / 1e6, wall_s, hash);
	}
	return (int)sum.outcome;
}

static double wall_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct options o = {.seed_first = UINT64_MAX, .jobs = 1, .seconds = 60, .brokers = 3, .controllers = 2, .faults = (1ull << FAULT_KINDS) - 1};
	argp_err_exit_status = 2;
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	uint64_t count = o.seed_last - o.seed_first + 1;
	size_t bytes = sizeof(struct board) + count * sizeof(struct result);
	struct board *board = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (board == MAP_FAILED) {
		fprintf(stderr, "klamm-sim: no memory for the results of %llu seeds; take a smaller range\n", (unsigned long long)count);
		return 2;
	}
	double began = wall_now();
	if (count == 1 && o.no_fork)
		run_seed(&o, o.seed_first, &board->now_us[0], &board->results[0]);
	else
		run_range(&o, board, count);
	return report(&o, board, count, wall_now() - began);
}
