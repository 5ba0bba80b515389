/* main.c: controllerd FILE [--override key=value]...: reads the file, builds the os world, runs one controller in it.
 *
 * Exit codes (docs, contract): 0 stopped by a signal; 64 usage; 70 a bug; 74 the environment; 75 another process has the id;
 * 78 configuration.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/env/fs.h"
#include "common/env/os/os.h"
#include "controllerd/controller.h"

enum { EXIT_IO = 74, EXIT_CONFIG = 78, CONFIG_BYTES_MAX = 4 << 20 };

struct options {
	const char *file;
	const char **overrides;
	uint32_t count;
	size_t cap;
};

static error_t on_option(int key, char *arg, struct argp_state *st)
{
	struct options *o = st->input;
	switch (key) {
	case 'o':
		MEM_GROW(o->overrides, o->cap, (size_t)o->count + 1);
		o->overrides[o->count++] = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (o->file)
			argp_error(st, "one configuration file, not two");
		o->file = arg;
		return 0;
	case ARGP_KEY_END:
		if (!o->file)
			argp_error(st, "the configuration file is missing");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct run {
	struct os_world *world;
	struct controller *controller;
};

static void on_stopped(void *ctx)
{
	struct run *r = ctx;
	os_world_stop(r->world, 0);
}

static void on_signal(void *ctx, int signo)
{
	struct run *r = ctx;
	controller_stop(r->controller, on_stopped, r); /* at once: a standby takes over */
}

static struct controller_config *configure(struct env *env, const struct options *o)
{
	struct str problem = {0}, warnings = {0};
	char *text = NULL;
	size_t len = 0;
	struct controller_config *cfg = NULL;
	int err = fs_read_file(env, o->file, CONFIG_BYTES_MAX, &text, &len);
	if (err)
		str_printf(&problem, "%s: cannot be read: %s", o->file, err_str(err));
	else if (controller_config_parse(o->file, slice_make(text, len), o->overrides, o->count, &cfg, &problem, &warnings))
		cfg = NULL;
	fputs(str_cstr(&warnings), stderr);
	if (!cfg)
		fprintf(stderr, "controllerd: %s\n", str_cstr(&problem));
	mem_free(text);
	str_fini(&problem);
	str_fini(&warnings);
	return cfg;
}

int main(int argc, char **argv)
{
	static const struct argp_option table[] = {
		{.name = "override", .key = 'o', .arg = "KEY=VALUE", .doc = "sets a key over the file; may be repeated"},
		{0},
	};
	static const struct argp argp = {.options = table, .parser = on_option, .args_doc = "FILE",
					 .doc = "controllerd: the controller of a Klamm cluster. FILE holds Java properties: controller.id, listeners, zookeeper.connect, ..."};
	struct options o = {0};
	argp_parse(&argp, argc, argv, 0, NULL, &o);
	struct run r = {.world = os_world_new(NULL)};
	struct controller_config *cfg = configure(os_world_env(r.world), &o);
	mem_free(o.overrides);
	if (!cfg)
		return EXIT_CONFIG;
	uint64_t before, now;
	os_raise_nofile(&before, &now);
	r.controller = controller_new(os_world_env(r.world), os_world_control_loop(r.world), cfg);
	os_world_on_signal(r.world, on_signal, &r);
	int err = controller_start(r.controller);
	if (err) {
		fprintf(stderr, "controllerd: cannot start: %s: is CONTROL://%s:%d in use, or zookeeper.connect=%s wrong?\n", err_str(err), cfg->listen_host, cfg->listen_port,
			cfg->zookeeper_connect);
		return err == ERR_EXIST ? EXIT_IO : EXIT_CONFIG;
	}
	int status = os_world_run(r.world);
	controller_free(r.controller);
	controller_config_free(cfg);
	os_world_free(r.world);
	return status;
}
