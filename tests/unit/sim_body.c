/* sim_body.c: see sim_body.h. */
#include "tests/unit/sim_body.h"

#include <stdlib.h>

struct sim_world *quiet_world(uint64_t seed, int zk_servers)
{
	struct sim_config cfg;

	sim_config_init(&cfg, seed);
	cfg.zk_servers = zk_servers;
	if (getenv("SIM_TRACE"))
		cfg.trace = stderr;
	return sim_world_new(&cfg);
}

static void *body_start(struct env *env, struct loop *control, void *arg)
{
	struct body *b = arg;

	b->run(env, control, b->arg);
	return b;
}

static void body_reap(void *root, void *arg)
{
	struct body *b = arg;

	b->reaped++;
}

static void body_exit(struct sim_process *p, int status, const char *reason, void *arg)
{
	((struct body *)arg)->exit_status = status;
}

struct sim_process *run_body(struct sim_host *h, struct body *b)
{
	struct sim_program prog = {.name = "body", .start = body_start, .reap = body_reap, .on_exit = body_exit, .arg = b};

	b->exit_status = -1;
	return sim_process_start(h, &prog);
}
