/* procstat.h: CPU time and memory of the processes under test, from /proc/PID/stat.
 *
 * Kernel threads that write back the page cache are outside of it; both brokers of a comparison are measured the same way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#define PROCSTAT_PIDS 16
#define PROCSTAT_CURVE 4096

struct procstat {
	int pids[PROCSTAT_PIDS];
	int pid_count;
	double cpu_start[PROCSTAT_PIDS];
	double cpu_used;              /* seconds, filled by procstat_stop */
	uint64_t next_sample_ns, sample_period_ns;
	uint32_t curve_len;
	double curve[PROCSTAT_CURVE]; /* RSS of all together, MB */
	bool lost;                    /* a process was gone when it was looked at */
};

/* "12,34" -> pids. False: not a list of at most PROCSTAT_PIDS process ids. */
bool procstat_parse(struct procstat *ps, const char *list);
void procstat_start(struct procstat *ps, uint64_t now_ns);
/* Cheap when it is not time yet (every 100 ms; rarer when the curve is full). */
void procstat_tick(struct procstat *ps, uint64_t now_ns);
void procstat_stop(struct procstat *ps);
double procstat_cpu_of(int pid); /* seconds; -1 when there is no such process */
double procstat_rss_of(int pid); /* MB; -1 when there is no such process */
/* {"cpu_s","cpu_s_per_gb","cpu_us_per_request","rss_mb":{...,"curve":[...]}} or null without pids. */
json_t *procstat_json(const struct procstat *ps, double gb, double requests);
