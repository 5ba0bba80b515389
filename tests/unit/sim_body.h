/* sim_body.h: for tests of the simulated world: a world with quiet defaults, and processes whose body is a function. */
#pragma once

#include "common/env/sim/sim.h"

struct sim_world *quiet_world(uint64_t seed, int zk_servers); /* SIM_TRACE in the environment: its trace goes to stderr */

struct body {
	void (*run)(struct env *env, struct loop *control, void *arg);
	void *arg;
	int exit_status; /* -1: it runs */
	int reaped;
};
/* b lives as long as the world. */
struct sim_process *run_body(struct sim_host *h, struct body *b);
