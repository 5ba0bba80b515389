/* broker.h: one broker, whole: what brokerd/main.c runs in the os world and klamm-sim runs eight of in the simulated one.
 *
 * States (each with its legal predecessors):
 *   starting   (none)                     opening log directories
 *   recovering (starting)                 loading and recovering logs
 *   joining    (recovering)               registering, waiting for a controller to admit it; shown as `starting` with the reason
 *   running    (joining, degraded, fenced) serving, a controller rules
 *   degraded   (running)                  serving without a controller or without ZooKeeper, since when and why
 *   fenced     (running, degraded)        the controller counts us as dead; admitted again by itself
 *   stopping   (any)                      SIGTERM: leaderships handed over, logs closed
 * Thread: everything in this header runs on the control loop.
 */
#pragma once

#include "brokerd/config/config.h"
#include "common/env/conn.h"
#include "common/env/env.h"

struct broker;
/* cfg stays the caller's and must outlive the broker. Data loops are made here (loop_new). */
struct broker *broker_new(struct env *env, struct loop *control, const struct broker_config *cfg);
void broker_start(struct broker *b);
/* SIGTERM: hands over, flushes, marks clean, closes the session; then env_exit(0). */
void broker_stop(struct broker *b);
/* After the process of a simulated world died (dead env: calls vanish), or at the end of main. */
void broker_free(struct broker *b);

/* For the simulator's checks and /health. */
const char *broker_state(const struct broker *b);
void broker_http(void *broker, const char *method, const char *path, struct http_reply *reply);
