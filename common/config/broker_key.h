/* broker_key.h: the broker's configuration keys (keys.h) as data: what values they take, which may change while brokers run, and which
 * are names of one setting. Used by brokerd (its file, DescribeConfigs) and controllerd (AlterConfigs). Thread: any; const tables only.
 */
#pragma once

#include "common/config/value.h"

enum config_class { CONFIG_USED, CONFIG_CONTROLLER, CONFIG_SECURITY, CONFIG_NO_EFFECT };
enum config_mode {
	CONFIG_READ_ONLY,    /* in the file alone */
	CONFIG_PER_BROKER,   /* may change on one broker */
	CONFIG_CLUSTER_WIDE, /* and for all of them at once */
	CONFIG_DYNAMIC_ONLY, /* the same, but no key of the file */
	CONFIG_AT_START,     /* as Kafka sees it cluster-wide; here the file alone counts, since it is needed before there is a controller */
};
struct config_key {
	const char *name;
	enum config_type type;
	const char *default_value; /* NULL = unset */
	int64_t least, greatest;
	enum config_class cls;
	const char *doc;
};
extern const struct config_key broker_keys[];
extern const uint32_t broker_key_count;
const struct config_key *broker_key_find(const char *name); /* NULL if unknown */
enum config_mode broker_key_mode(const struct config_key *k);
/* Kafka's own secret, or its authorizer's: shown only where it is set. */
bool broker_key_unlisted(const struct config_key *k);
/* Whether this broker does what the key says, at once, when it is changed while the broker runs. */
bool broker_key_live(const struct config_key *k);

/* Type and bounds: ERR_INVAL and Kafka's sentence in `problem`. */
MUST_CHECK int broker_key_check(const struct config_key *k, const char *value, struct str *problem);
bool broker_key_same_as_default(const struct config_key *k, const char *value);

/* The names under which the setting of `name` may be given, strongest first; `name` is one of them (log.retention.ms, .minutes, .hours). */
#define BROKER_KEY_SYNONYMS_MAX 3
uint32_t broker_key_synonyms(const char *name, const char *ret_names[BROKER_KEY_SYNONYMS_MAX]);
/* Milliseconds of a value of one of those names: minutes and hours are multiplied; negative ones are -1. ERR_INVAL: no number. */
MUST_CHECK int broker_key_ms(const char *name, const char *value, int64_t *ret_ms);
