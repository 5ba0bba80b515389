/* env.c: process-level calls of env.h, onto the backend's vtable. */
#include "common/env/env_backend.h"

#include "common/base/check.h"

void env_exit(struct env *env, int status, const char *reason)
{
	env->ops->exit(env, status, reason);
}

void env_random(struct env *env, void *out, size_t bytes)
{
	env->ops->random(env, out, bytes);
}

uint64_t env_random_u64(struct env *env)
{
	uint64_t v;

	env->ops->random(env, &v, sizeof(v));
	return v;
}

uint64_t env_random_below(struct env *env, uint64_t n)
{
	ASSERT(n > 0);
	/* The numbers below 2^64 mod n would make the first residues a little likelier. */
	uint64_t unfair = -n % n, v;
	do
		v = env_random_u64(env);
	while (v < unfair);
	return v % n;
}

int64_t env_wall_ms(struct env *env)
{
	return env->ops->wall_ms(env);
}

int64_t env_now_us(struct env *env)
{
	return env->ops->now_us(env);
}

void env_boot_id(struct env *env, char out[ENV_BOOT_ID_LEN + 1])
{
	env->ops->boot_id(env, out);
}

int64_t env_pid(struct env *env)
{
	return env->ops->pid(env);
}

uint64_t env_resident_bytes(struct env *env)
{
	return env->ops->resident_bytes(env);
}
