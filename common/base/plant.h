/* plant.h: bugs planted on purpose, to prove that the simulator finds them. Only in builds with --enable-plants; in all others
 * PLANT() is the constant false and nothing of this is compiled.
 *
 * A plant is a row in PLANT_TABLE and one `if (PLANT(name))` at the place where the rule is kept. `klamm-sim --list-plants` prints the rows,
 * `klamm-sim --plant NAME` turns one on for the process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* X(name, what it breaks). Rows are added together with their PLANT(name). */
#define PLANT_TABLE(X) \
	X(group_load_short, "a new group coordinator loads to the high watermark it knows, not to its log's end at the election") \
	X(group_answer_at_append, "commits and assignments are answered when the coordinator's own log has them")

#define PLANT_ENUM_ROW(name, text) PLANT_##name,
enum plant { PLANT_NONE, PLANT_TABLE(PLANT_ENUM_ROW) PLANT_END };

#ifdef KLAMM_PLANTS
extern enum plant plant_active;
#define PLANT(name) (__builtin_expect(plant_active == PLANT_##name, 0))
#else
#define PLANT(name) false
#endif

/* The rows; name NULL past the end. Also in builds without plants (then none can be selected). */
const char *plant_name(int plant);
const char *plant_text(int plant);
/* false: no such plant, or a build without them. Call before anything runs. */
bool plant_select(const char *name);
