/* broker_key.c: the broker's configuration keys. See broker_key.h. */
#include "common/config/broker_key.h"

#include <string.h>

#include "common/base/check.h"
#include "common/config/keys.h"
#include "common/config/topic_config.h"

#define ROW(name_, type_, def_, lo_, hi_, cls_, doc_) {name_, CONFIG_##type_, def_, lo_, hi_, CONFIG_##cls_, doc_},
const struct config_key broker_keys[] = {BROKER_KEYS(ROW)};
const uint32_t broker_key_count = ARRAY_LEN(broker_keys);

#define MODE_ROW(name_, mode_) {name_, CONFIG_##mode_},
static const struct {
	const char *name;
	enum config_mode mode;
} modes[] = {BROKER_DYNAMIC_KEYS(MODE_ROW)};

const struct config_key *broker_key_find(const char *name)
{
	for (uint32_t i = 0; i < broker_key_count; i++)
		if (!strcmp(broker_keys[i].name, name))
			return &broker_keys[i];
	return NULL;
}

enum config_mode broker_key_mode(const struct config_key *k)
{
	for (size_t i = 0; i < ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, k->name))
			return modes[i].mode;
	return CONFIG_READ_ONLY;
}

bool broker_key_unlisted(const struct config_key *k)
{
#define NAME(name_) name_,
	static const char *const names[] = {BROKER_UNLISTED_KEYS(NAME)};
#undef NAME
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], k->name))
			return true;
	return false;
}

bool broker_key_live(const struct config_key *k)
{
	/* listeners and their map are read once: ports do not move under clients */
	return k->cls == CONFIG_USED && broker_key_mode(k) == CONFIG_CLUSTER_WIDE;
}

static int check_ip_limits(const char *key, const char *value, struct str *problem)
{
	char address[CONFIG_ADDRESS_MAX];
	int32_t count;
	int err;
	const char *list = value;
	while ((err = config_next_ip_limit(&list, address, &count)) == 0)
		;
	if (err == ERR_NOENT)
		return 0;
	str_printf(problem, "Invalid value %s for configuration %s: It must be a list of ADDRESS:COUNT with numeric addresses", value, key);
	return ERR_INVAL;
}

/* What Kafka requires of times beyond their bounds, with its sentences. */
static int check_times(const char *key, const char *value, struct str *problem)
{
	int64_t n;
	const char *must = NULL;
	if (config_i64(value, &n))
		return 0;
	if (!strcmp(key, "log.roll.ms") && n < 1)
		must = "greater than or equal to 1";
	else if (!strcmp(key, "log.roll.jitter.ms") && n < 0)
		must = "greater than or equal to 0";
	else if (!strncmp(key, "log.retention.", 14) && n == 0 && (!strcmp(key + 14, "ms") || !strcmp(key + 14, "minutes") || !strcmp(key + 14, "hours")))
		must = "unlimited (-1) or, greater than or equal to 1";
	if (!must)
		return 0;
	str_printf(problem, "requirement failed: %s must be %s", key, must);
	return ERR_INVAL;
}

int broker_key_check(const struct config_key *k, const char *value, struct str *problem)
{
	if (!strcmp(k->name, "max.connections.per.ip.overrides"))
		return check_ip_limits(k->name, value, problem);
	const struct topic_config_key *t = topic_config_of_broker_key(k->name);
	struct config_rule rule = {k->type, k->least, k->greatest, t ? t->words : NULL};
	if (t && k->type == CONFIG_DOUBLE) {
		rule.lowest = t->lowest;
		rule.highest = t->highest;
	}
	int err = config_value_check(k->name, value, &rule, problem);
	if (!err)
		err = check_times(k->name, value, problem);
	return err ? err : topic_config_check_form(k->name, value, problem);
}

bool broker_key_same_as_default(const struct config_key *k, const char *value)
{
	return k->default_value ? config_value_same(k->type, k->default_value, value) : !*value;
}

static const char *const synonyms[][BROKER_KEY_SYNONYMS_MAX] = {
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
};

uint32_t broker_key_synonyms(const char *name, const char *ret_names[BROKER_KEY_SYNONYMS_MAX])
{
	if (!strcmp(name, "log.flush.interval.ms")) { /* a default, but not the other way round */
		ret_names[0] = name;
		ret_names[1] = "log.flush.scheduler.interval.ms";
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(synonyms); i++) {
		uint32_t n = 0;
		bool found = false;
		while (n < BROKER_KEY_SYNONYMS_MAX && synonyms[i][n]) {
			ret_names[n] = synonyms[i][n];
			found |= !strcmp(name, synonyms[i][n++]);
		}
		if (found)
			return n;
	}
	ret_names[0] = name;
	return 1;
}

int broker_key_ms(const char *name, const char *value, int64_t *ret_ms)
{
	size_t len = strlen(name);
	int64_t n, unit = len > 6 && !strcmp(name + len - 6, ".hours") ? 3600000 : len > 8 && !strcmp(name + len - 8, ".minutes") ? 60000 : 1;
	if (config_i64(value, &n))
		return ERR_INVAL;
	*ret_ms = n < 0 ? -1 : n > INT64_MAX / unit ? INT64_MAX : n * unit;
	return 0;
}
