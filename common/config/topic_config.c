/* topic_config.c: topic configuration keys and their validators. See topic_config.h. */
#include "common/config/topic_config.h"

#include <stdlib.h>
#include <string.h>

const struct topic_config_key topic_config_keys[] = {
#define TOPIC_CONFIG_ROW(name, type, def, lo, hi, words, broker_key, effect, meaning) {name, CONFIG_##type, def, lo, hi, words, broker_key, effect, meaning},
	TOPIC_CONFIG_TABLE(TOPIC_CONFIG_ROW)
#undef TOPIC_CONFIG_ROW
};
const size_t topic_config_key_count = sizeof(topic_config_keys) / sizeof(topic_config_keys[0]);

enum { NAME_MAX_BYTES = 249 };

static bool name_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int topic_name_check(struct slice name, struct str *problem)
{
	if (name.len == 0) {
		str_add(problem, "Topic name is invalid: the empty string is not allowed");
		return ERR_INVAL;
	}
	if (slice_eq_str(name, ".") || slice_eq_str(name, "..")) {
		str_printf(problem, "Topic name is invalid: '%.*s' is not allowed", (int)name.len, (const char *)name.ptr);
		return ERR_INVAL;
	}
	if (name.len > NAME_MAX_BYTES) {
		str_printf(problem, "Topic name is invalid: the length of '%.*s' is longer than the max allowed length %d", (int)(name.len > 300 ? 300 : name.len), (const char *)name.ptr, NAME_MAX_BYTES);
		return ERR_INVAL;
	}
	for (size_t i = 0; i < name.len; i++) {
		if (name_byte(name.ptr[i]))
			continue;
		str_printf(problem, "Topic name is invalid: '%.*s' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
			   (int)name.len, (const char *)name.ptr);
		return ERR_INVAL;
	}
	return 0;
}

static int by_name(const void *key, const void *row)
{
	return strcmp(key, ((const struct topic_config_key *)row)->name);
}

const struct topic_config_key *topic_config_find(const char *name)
{
	return bsearch(name, topic_config_keys, topic_config_key_count, sizeof(topic_config_keys[0]), by_name);
}

const struct topic_config_key *topic_config_of_broker_key(const char *broker_key)
{
	for (size_t i = 0; i < topic_config_key_count; i++)
		if (topic_config_keys[i].broker_key && strcmp(topic_config_keys[i].broker_key, broker_key) == 0)
			return &topic_config_keys[i];
	return NULL;
}

/* The one key of which some values are built and some are not. */
static bool policy_built(const char *value, bool internal)
{
	return internal || !strstr(value, "compact");
}

int topic_config_check(const char *name, const char *value, bool internal, struct str *problem)
{
	struct str scrap = {0};
	int err = 0;
	problem = problem ? problem : &scrap;
	const struct topic_config_key *k = topic_config_find(name);
	if (!k) {
		str_printf(problem, "Unknown topic config name: %s", name);
		err = ERR_INVAL;
	} else if (config_value_check(name, value, &(struct config_rule){k->type, k->lowest, k->highest, k->words}, problem)) {
		err = ERR_INVAL;
	} else if (!k->effect && !config_value_same(k->type, value, k->default_value)) {
		str_printf(problem, "Configuration %s has no effect in this version yet: only its default %s is taken", name, *k->default_value ? k->default_value : "(empty)");
		err = ERR_INVAL;
	} else if (strcmp(name, "cleanup.policy") == 0 && !policy_built(value, internal)) {
		str_printf(problem, "Configuration %s: compaction is not in this version yet: only delete is taken", name);
		err = ERR_INVAL;
	}
	str_fini(&scrap);
	return err;
}
