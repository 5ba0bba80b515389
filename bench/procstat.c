/* procstat.c: see procstat.h */
#include "bench/procstat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/hist.h"

#define CURVE_JSON 20u /* points of the curve that are printed */

bool procstat_parse(struct procstat *ps, const char *list)
{
	while (*list) {
		char *end;
		long v = strtol(list, &end, 10);

		if (end == list || v <= 0 || v > 1 << 30 || ps->pid_count == PROCSTAT_PIDS || (*end && *end != ','))
			return false;
		ps->pids[ps->pid_count++] = (int)v;
		list = *end ? end + 1 : end;
	}
	return ps->pid_count > 0;
}

/* Fields 14, 15 (utime, stime) and 24 (rss) of /proc/PID/stat; the name in field 2 may hold anything, so start behind it. */
static bool read_stat(int pid, double *ret_cpu_s, double *ret_rss_mb)
{
	char path[64], text[1024], *p;
	unsigned long long utime = 0, stime = 0;
	long long rss = 0;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	p = strrchr(text, ')');
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %lld", &utime,
	                 &stime, &rss) != 3)
		return false;
	*ret_cpu_s = (double)(utime + stime) / (double)sysconf(_SC_CLK_TCK);
	*ret_rss_mb = (double)rss * (double)sysconf(_SC_PAGESIZE) / 1e6;
	return true;
}

double procstat_cpu_of(int pid)
{
	double cpu, rss;

	return read_stat(pid, &cpu, &rss) ? cpu : -1;
}

double procstat_rss_of(int pid)
{
	double cpu, rss;

	return read_stat(pid, &cpu, &rss) ? rss : -1;
}

void procstat_start(struct procstat *ps, uint64_t now_ns)
{
	for (int i = 0; i < ps->pid_count; i++) {
		ps->cpu_start[i] = procstat_cpu_of(ps->pids[i]);
		if (ps->cpu_start[i] < 0)
			ps->lost = true;
	}
	ps->curve_len = 0;
	ps->sample_period_ns = UINT64_C(100000000);
	ps->next_sample_ns = now_ns;
}

void procstat_tick(struct procstat *ps, uint64_t now_ns)
{
	double sum = 0;

	if (!ps->pid_count || now_ns < ps->next_sample_ns)
		return;
	ps->next_sample_ns = now_ns + ps->sample_period_ns;
	for (int i = 0; i < ps->pid_count; i++) {
		double rss = procstat_rss_of(ps->pids[i]);

		sum += rss > 0 ? rss : 0;
	}
	if (ps->curve_len == PROCSTAT_CURVE) { /* thin out: keep every second sample, take half as many */
		for (uint32_t i = 0; i < PROCSTAT_CURVE / 2; i++)
			ps->curve[i] = ps->curve[2 * i];
		ps->curve_len = PROCSTAT_CURVE / 2;
		ps->sample_period_ns *= 2;
	}
	ps->curve[ps->curve_len++] = sum;
}

void procstat_stop(struct procstat *ps)
{
	ps->cpu_used = 0;
	for (int i = 0; i < ps->pid_count; i++) {
		double cpu = procstat_cpu_of(ps->pids[i]);

		if (cpu < 0 || ps->cpu_start[i] < 0)
			ps->lost = true;
		else
			ps->cpu_used += cpu - ps->cpu_start[i];
	}
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static json_t *curve_json(const struct procstat *ps)
{
	json_t *o = json_object(), *points = json_array();
	uint32_t n = ps->curve_len, shown = n < CURVE_JSON ? n : CURVE_JSON;
	double *sorted = malloc((n ? n : 1) * sizeof(*sorted));

	if (!sorted)
		abort();
	memcpy(sorted, ps->curve, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), cmp_double);
	json_object_set_new(o, "start", hist_round(n ? ps->curve[0] : 0));
	json_object_set_new(o, "min", hist_round(n ? sorted[0] : 0));
	json_object_set_new(o, "median", hist_round(n ? sorted[n / 2] : 0));
	json_object_set_new(o, "max", hist_round(n ? sorted[n - 1] : 0));
	json_object_set_new(o, "end", hist_round(n ? ps->curve[n - 1] : 0));
	for (uint32_t i = 0; i < shown; i++)
		json_array_append_new(points, hist_round(ps->curve[shown > 1 ? (uint64_t)i * (n - 1) / (shown - 1) : 0]));
	json_object_set_new(o, "curve", points);
	free(sorted);
	return o;
}

json_t *procstat_json(const struct procstat *ps, double gb, double requests)
{
	json_t *o;

	if (!ps->pid_count)
		return json_null();
	o = json_object();
	json_object_set_new(o, "cpu_s", hist_round(ps->cpu_used));
	if (gb > 0)
		json_object_set_new(o, "cpu_s_per_gb", hist_round(ps->cpu_used / gb));
	if (requests > 0)
		json_object_set_new(o, "cpu_us_per_request", hist_round(ps->cpu_used * 1e6 / requests));
	json_object_set_new(o, "rss_mb", curve_json(ps));
	if (ps->lost)
		json_object_set_new(o, "process_lost", json_true());
	return o;
}
