/* os_body.h: what the tests of the os backend share: a world with its control loop, a time limit, notes of what happened in which order. */
#pragma once

#include "tests/unit/unit.h"

#include <string.h>

#include "common/env/loop.h"
#include "common/env/os/os.h"

extern struct os_world *w;
extern struct env *env;
extern struct loop *ctl;
void world_up(void);
void world_run(void); /* until os_world_stop(w, 0) */
void world_down(void);

/* Below the test's temporary directory; good for the next three calls. */
const char *path_of(const char *name);

extern char order[64];
extern size_t order_len;
void note(char c);
