/* plant.c: the table of planted bugs, and which one is active. See plant.h. */
#include "common/base/plant.h"

#include <string.h>

#define PLANT_NAME_ROW(name, text) #name,
#define PLANT_TEXT_ROW(name, text) text,
static const char *const names[] = {"none", PLANT_TABLE(PLANT_NAME_ROW) NULL};
static const char *const texts[] = {"", PLANT_TABLE(PLANT_TEXT_ROW) NULL};

#ifdef KLAMM_PLANTS
enum plant plant_active = PLANT_NONE; /* a process is planted as a whole, before it starts */
#endif

static int plant_count(void)
{
	return PLANT_END - 1;
}

const char *plant_name(int plant)
{
	return plant >= 1 && plant <= plant_count() ? names[plant] : NULL;
}

const char *plant_text(int plant)
{
	return plant >= 1 && plant <= plant_count() ? texts[plant] : NULL;
}

bool plant_select(const char *name)
{
#ifdef KLAMM_PLANTS
	for (int i = PLANT_NONE + 1; i < PLANT_END; i++)
		if (strcmp(names[i], name) == 0) {
			plant_active = (enum plant)i;
			return true;
		}
#endif
	(void)name;
	return false;
}
