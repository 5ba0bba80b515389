/* main.c: brokerd: reads the configuration, builds the os world and one broker in it. Wires, decides nothing. */
#include <argp.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "brokerd/broker.h"
#include "common/base/mem.h"
#include "common/base/version.h"
#include "common/env/fs.h"
#include "common/env/os/os.h"

#define STATUS_CONFIG 78
#define CONFIG_BYTES_MAX (1 << 20)
#define MMAP_FROM (256 << 10)
#define TRIM_FROM (1 << 20)

struct arguments {
	const char *file;
	const char **overrides;
	size_t override_count, override_cap;
};

const char *argp_program_version = "brokerd " KLAMM_VERSION;
static const struct argp_option options[] = {
	{"override", 'o', "KEY=VALUE", 0, "Take this value instead of the file's; may be given again", 0},
	{0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;
	switch (key) {
	case 'o':
		MEM_GROW(a->overrides, a->override_cap, a->override_count + 1);
		a->overrides[a->override_count++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (a->file)
			argp_usage(state);
		a->file = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->file)
			argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void on_signal(void *ctx, int signo)
{
	(void)signo;
	broker_stop(ctx);
}

static struct broker_config *read_config(struct env *env, const struct arguments *a)
{
	char *text;
	size_t len;
	int err = fs_read_file(env, a->file, CONFIG_BYTES_MAX, &text, &len);
	if (err) {
		fprintf(stderr, "%s: cannot be read: %s\n", a->file, err_str(err));
		exit(STATUS_CONFIG);
	}
	struct broker_config *cfg;
	struct str problem, warnings;
	str_init(&problem);
	str_init(&warnings);
	err = broker_config_parse(a->file, slice_make(text, len), a->overrides, (uint32_t)a->override_count, &cfg, &problem, &warnings);
	fputs(str_cstr(&warnings), stderr);
	if (err) {
		fprintf(stderr, "%s\n", str_cstr(&problem));
		exit(STATUS_CONFIG);
	}
	str_fini(&problem);
	str_fini(&warnings);
	mem_free(text);
	if (!cfg->data_loops)
		cfg->data_loops = os_cpus();
	return cfg;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	const struct argp argp = {options, parse, "FILE", "Klamm broker: serves the Kafka protocol from the log directories that FILE names.", NULL, NULL, NULL};
	argp_parse(&argp, argc, argv, 0, NULL, &args);
	struct os_world *w = os_world_new(&(struct os_world_config){.min_level = LOG_INFO});
	struct env *env = os_world_env(w);
	struct broker_config *cfg = read_config(env, &args);
	/* for each directory as many; a directory keeps that many of its logs and a few more in the queue (broker.c) */
	os_world_load_threads(w, (cfg->recovery_threads_per_dir < 64 ? cfg->recovery_threads_per_dir : 64) * (int)cfg->log_dir_count);
	uint64_t before, now;
	os_raise_nofile(&before, &now);
	/* Fixed, or the C library would learn from the first large frame to keep such memory in its heaps. */
	mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
	mallopt(M_TRIM_THRESHOLD, TRIM_FROM);
	LOG_AT(env->log, now < 10000 ? LOG_WARN : LOG_INFO, "broker", "files.limit", "before=%llu now=%llu", (unsigned long long)before, (unsigned long long)now);
	struct broker *b = broker_new(env, os_world_control_loop(w), cfg);
	os_world_on_signal(w, on_signal, b);
	broker_start(b);
	return os_world_run(w);
}
