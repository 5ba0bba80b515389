/* topic_config.c: topic configuration keys and their validators. See topic_config.h. */
#include "common/config/topic_config.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

const struct topic_config_key topic_config_keys[] = {
#define TOPIC_CONFIG_ROW(name, type, def, lo, hi, words, broker_key, effect, meaning) {name, CONFIG_##type, def, lo, hi, words, broker_key, TOPIC_CONFIG_##effect, meaning},
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

/* ---- forms that are more than a type ---- */

/* The releases whose name may stand in message.format.version, and how many -IVn of each Kafka 3.9 knows; `plain`: also without -IVn. */
static const struct {
	const char *release;
	int levels;
	bool plain;
} releases[] = {
	{"0.8.0", 0, true}, {"0.8.1", 0, true}, {"0.8.2", 0, true}, {"0.9.0", 0, true}, {"0.10.0", 2, true}, {"0.10.1", 3, true}, {"0.10.2", 1, true}, {"0.11.0", 3, true},
	{"1.0", 1, true}, {"1.1", 1, true}, {"2.0", 2, true}, {"2.1", 3, true}, {"2.2", 2, true}, {"2.3", 2, true}, {"2.4", 2, true}, {"2.5", 1, true}, {"2.6", 1, true},
	{"2.7", 3, true}, {"2.8", 2, true}, {"3.0", 2, true}, {"3.1", 1, true}, {"3.2", 1, true}, {"3.3", 4, true}, {"3.4", 1, true}, {"3.5", 3, true}, {"3.6", 3, true},
	{"3.7", 5, true}, {"3.8", 1, true}, {"3.9", 1, true}, {"4.0", 2, false},
};

static int check_version(const char *name, const char *value, size_t len, struct str *problem)
{
	size_t n = 0;
	int dots = len > 1 && value[0] == '0' && value[1] == '.' ? 3 : 2; /* what follows, 2.0.1's last number, does not count */
	while (n < len && (value[n] != '.' || --dots))
		n++;
	for (size_t i = 0; i < ARRAY_LEN(releases); i++) {
		size_t r = strlen(releases[i].release);
		if (n < r || memcmp(value, releases[i].release, r) != 0)
			continue;
		if (n == r && releases[i].plain)
			return 0;
		if (n == r + 4 && !memcmp(value + r, "-IV", 3) && value[r + 3] >= '0' && value[r + 3] - '0' < releases[i].levels)
			return 0;
	}
	str_printf(problem, "Invalid value %.*s for configuration %s: Version %.*s is not a valid version", (int)len, value, name, (int)len, value);
	return ERR_INVAL;
}

/* PARTITION:BROKER or nothing */
static bool is_replica(const char *s, size_t len)
{
	size_t a = 0, b;
	while (a < len && s[a] >= '0' && s[a] <= '9')
		a++;
	for (b = a + 1; b < len && s[b] >= '0' && s[b] <= '9'; b++)
		;
	return len == 0 || (a > 0 && a + 1 < len && s[a] == ':' && b == len);
}

static int check_replicas(const char *name, const char *value, struct str *problem)
{
	size_t n, stars = 0, others = 0, bad = 0;
	const char *list = value;
	for (const char *e; (e = config_list_next(&list, &n));) {
		stars += n == 1 && *e == '*';
		others += n > 0 && !(n == 1 && *e == '*');
		bad += !is_replica(e, n);
	}
	if (!bad || (stars == 1 && !others))
		return 0;
	str_printf(problem, "Invalid value [");
	const char *sep = "";
	for (const char *e; (e = config_list_next(&value, &n)); sep = ", ")
		str_printf(problem, "%s%.*s", sep, (int)n, e);
	str_printf(problem, "] for configuration %s: %s must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...", name, name);
	return ERR_INVAL;
}

int topic_config_check_form(const char *name, const char *value, struct str *problem)
{
	int64_t n;
	if (strcmp(name, "message.format.version") == 0 || strcmp(name, "log.message.format.version") == 0) {
		size_t len;
		value = config_trim(value, &len);
		return check_version(name, value, len, problem);
	}
	if (strcmp(name, "leader.replication.throttled.replicas") == 0 || strcmp(name, "follower.replication.throttled.replicas") == 0)
		return check_replicas(name, value, problem);
	if (strcmp(name, "compression.gzip.level") == 0 && config_i64(value, &n) == 0 && n != -1 && (n < 1 || n > 9)) {
		str_printf(problem, "Invalid value %lld for configuration %s: Value must be between 1 and 9 or equal to -1", (long long)n, name);
		return ERR_INVAL;
	}
	return 0;
}

bool topic_config_usable(const struct topic_config_key *k, const char *value)
{
	struct str scrap = {0};
	bool usable = config_value_check(k->name, value, &(struct config_rule){k->type, k->lowest, k->highest, k->words}, &scrap) == 0 &&
	              topic_config_check_form(k->name, value, &scrap) == 0;
	str_fini(&scrap);
	return usable;
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
	} else if (topic_config_check_form(name, value, problem)) {
		err = ERR_INVAL;
	} else if (k->effect == TOPIC_CONFIG_NOT_BUILT && !config_value_same(k->type, value, k->default_value)) {
		str_printf(problem, "Configuration %s has no effect in this version yet: only its default %s is taken", name, *k->default_value ? k->default_value : "(empty)");
		err = ERR_INVAL;
	} else if (strcmp(name, "cleanup.policy") == 0 && !policy_built(value, internal)) {
		str_printf(problem, "Configuration %s: compaction is not in this version yet: only delete is taken", name);
		err = ERR_INVAL;
	}
	str_fini(&scrap);
	return err;
}
