/* topic_config.c: topic configuration keys and their validators. See topic_config.h. */
#include "common/config/topic_config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const struct topic_config_key topic_config_keys[] = {
#define TOPIC_CONFIG_ROW(name, type, def, lo, hi, words, broker_key, effect, meaning) {name, TOPIC_CONFIG_##type, def, lo, hi, words, broker_key, effect, meaning},
	TOPIC_CONFIG_TABLE(TOPIC_CONFIG_ROW)
#undef TOPIC_CONFIG_ROW
};
const size_t topic_config_key_count = sizeof(topic_config_keys) / sizeof(topic_config_keys[0]);

static int by_name(const void *key, const void *row)
{
	return strcmp(key, ((const struct topic_config_key *)row)->name);
}

const struct topic_config_key *topic_config_find(const char *name)
{
	return bsearch(name, topic_config_keys, topic_config_key_count, sizeof(topic_config_keys[0]), by_name);
}

static bool word_in(const char *words, const char *w, size_t len)
{
	for (const char *p = words; *p;) {
		size_t n = strcspn(p, ",");
		if (n == len && memcmp(p, w, n) == 0)
			return true;
		p += n;
		p += *p == ',';
	}
	return false;
}

static bool list_in(const char *words, const char *value)
{
	bool any = false;
	for (const char *p = value; *p;) {
		p += strspn(p, " ");
		size_t n = strcspn(p, ","), len = n;
		while (len && p[len - 1] == ' ')
			len--;
		if (!word_in(words, p, len))
			return false;
		any = true;
		p += n;
		p += *p == ',';
	}
	return any;
}

static bool value_fits(const struct topic_config_key *k, const char *value, struct str *why)
{
	int64_t n;
	double d;
	bool b;
	switch (k->type) {
	case TOPIC_CONFIG_BOOLEAN:
		str_add(why, "true or false");
		return str_to_bool(value, &b) == 0;
	case TOPIC_CONFIG_DOUBLE:
		str_printf(why, "a number from %" PRId64 " to %" PRId64, k->lowest, k->highest);
		return str_to_double(value, &d) == 0 && d >= (double)k->lowest && d <= (double)k->highest;
	case TOPIC_CONFIG_INT:
	case TOPIC_CONFIG_LONG: {
		int64_t lo = k->type == TOPIC_CONFIG_INT && k->lowest < INT32_MIN ? INT32_MIN : k->lowest;
		str_printf(why, "a whole number from %" PRId64 " to %" PRId64, lo, k->highest);
		return str_to_i64(value, &n) == 0 && n >= lo && n <= k->highest;
	}
	case TOPIC_CONFIG_STRING:
		str_printf(why, "one of %s", k->words ? k->words : "any text");
		return !k->words || word_in(k->words, value, strlen(value));
	case TOPIC_CONFIG_LIST:
		str_printf(why, "a list of %s", k->words ? k->words : "entries");
		return !k->words || list_in(k->words, value);
	}
	return false;
}

static bool same_value(const struct topic_config_key *k, const char *value)
{
	int64_t a, b;
	double x, y;
	if (k->type == TOPIC_CONFIG_INT || k->type == TOPIC_CONFIG_LONG)
		return str_to_i64(value, &a) == 0 && str_to_i64(k->default_value, &b) == 0 && a == b;
	if (k->type == TOPIC_CONFIG_DOUBLE)
		return str_to_double(value, &x) == 0 && str_to_double(k->default_value, &y) == 0 && !(x < y) && !(x > y);
	if (k->type == TOPIC_CONFIG_BOOLEAN) {
		bool p, q;
		return str_to_bool(value, &p) == 0 && str_to_bool(k->default_value, &q) == 0 && p == q;
	}
	return strcmp(value, k->default_value) == 0;
}

/* The one key of which some values are built and some are not. */
static bool policy_built(const char *value, bool internal)
{
	return internal || !strstr(value, "compact");
}

int topic_config_check(const char *name, const char *value, bool internal, struct str *problem)
{
	struct str why = {0}, scrap = {0};
	int err = 0;
	problem = problem ? problem : &scrap;
	const struct topic_config_key *k = topic_config_find(name);
	if (!k) {
		str_printf(problem, "Unknown topic config name: %s", name);
		err = ERR_INVAL;
	} else if (!value_fits(k, value, &why)) {
		str_printf(problem, "Invalid value %s for configuration %s: must be %s", value, name, str_cstr(&why));
		err = ERR_INVAL;
	} else if (!k->effect && !same_value(k, value)) {
		str_printf(problem, "Configuration %s has no effect in this version yet: only its default %s is taken", name, *k->default_value ? k->default_value : "(empty)");
		err = ERR_INVAL;
	} else if (strcmp(name, "cleanup.policy") == 0 && !policy_built(value, internal)) {
		str_printf(problem, "Configuration %s: compaction is not in this version yet: only delete is taken", name);
		err = ERR_INVAL;
	}
	str_fini(&why);
	str_fini(&scrap);
	return err;
}
