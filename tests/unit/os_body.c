/* os_body.c: see os_body.h */
#include "tests/unit/os_body.h"

#include <stdio.h>

struct os_world *w;
struct env *env;
struct loop *ctl;
static struct timer guard;

static void guard_fired(void *ctx)
{
	os_world_stop(w, 99);
}

void world_up(void)
{
	w = os_world_new(&(struct os_world_config){.min_level = LOG_ERROR});
	env = os_world_env(w);
	ctl = os_world_control_loop(w);
	timer_init(&guard, ctl, guard_fired, NULL);
	timer_set_ms(&guard, 30000);
}

void world_run(void)
{
	CU_ASSERT_EQUAL(os_world_run(w), 0);
}

void world_down(void)
{
	os_world_free(w);
}

const char *path_of(const char *name)
{
	static char text[4][512];
	static unsigned turn;
	char *out = text[turn++ % 4];

	snprintf(out, sizeof(text[0]), "%s/%s", unit_tmpdir(), name);
	return out;
}

char order[64];
size_t order_len;

void note(char c)
{
	if (order_len < sizeof(order) - 1)
		order[order_len++] = c;
	order[order_len] = '\0';
}
