/* configs.c: changes of configs. See configs.h. */
#include "controllerd/plan/configs.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/config/broker_key.h"
#include "common/config/topic_config.h"
#include "common/wire/kerr.h"

static int by_key(const void *a, const void *b) { return strcmp((*(const struct plan_config_change *const *)a)->key, (*(const struct plan_config_change *const *)b)->key); }

static bool key_twice(const struct plan_config_changes *c)
{
	const struct plan_config_change **sorted = mem_alloc(sizeof(struct plan_config_change *) * (size_t)(c->n + 1));
	bool twice = false;
	for (int32_t i = 0; i < c->n; i++)
		sorted[i] = &c->v[i];
	qsort(sorted, (size_t)c->n, sizeof(struct plan_config_change *), by_key);
	for (int32_t i = 1; i < c->n; i++)
		twice |= strcmp(sorted[i - 1]->key, sorted[i]->key) == 0;
	mem_free(sorted);
	return twice;
}

int16_t plan_config_precheck(const struct plan_config_changes *c, struct str *problem)
{
	bool null = false;
	if (key_twice(c)) {
		str_add(problem, "Error due to duplicate config keys");
		return KERR_INVALID_REQUEST;
	}
	for (int32_t i = 0; i < c->n; i++) {
		if (c->v[i].value || c->v[i].op == PLAN_CONFIG_DELETE)
			continue;
		str_printf(problem, "%s%s", null ? ", " : "Null value not supported for : ", c->v[i].key);
		null = true;
	}
	for (int32_t i = 0; i < c->n && !null; i++) {
		if (c->v[i].op >= PLAN_CONFIG_SET && c->v[i].op <= PLAN_CONFIG_SUBTRACT)
			continue;
		str_printf(problem, "Unknown operations type %d", c->v[i].op);
		return KERR_INVALID_REQUEST;
	}
	return null ? KERR_INVALID_REQUEST : KERR_NONE;
}

/* ---- values ---- */

static bool is_topic(enum plan_entity_kind kind) { return kind == PLAN_TOPIC || kind == PLAN_INTERNAL_TOPIC; }

static int16_t check_topic(enum plan_entity_kind kind, const char *key, const char *value, struct str *problem)
{
	return topic_config_check(key, value, kind == PLAN_INTERNAL_TOPIC, problem) ? KERR_INVALID_CONFIG : KERR_NONE;
}

/* Kafka says INVALID_REQUEST where it refuses; what it would take and Klamm does not is INVALID_CONFIG. */
static int16_t check_broker(enum plan_entity_kind kind, const char *key, const char *value, struct str *problem)
{
	if (strncmp(key, "listener.name.", 14) == 0) {
		str_printf(problem, "Settings of a listener (%s) are not in this version yet", key);
		return KERR_INVALID_CONFIG;
	}
	const struct config_key *k = broker_key_find(key);
	if (!k) {
		str_printf(problem, "Unknown broker config name: %s", key);
		return KERR_INVALID_CONFIG;
	}
	enum config_mode mode = broker_key_mode(k);
	if (mode == CONFIG_READ_ONLY) {
		str_printf(problem, "Cannot update these configs dynamically: Set(%s)", key);
		return KERR_INVALID_REQUEST;
	}
	if (strncmp(key, "ssl.keystore.", 13) == 0 || strncmp(key, "ssl.truststore.", 15) == 0 || strcmp(key, "ssl.key.password") == 0) {
		str_printf(problem, "These security configs can be dynamically updated only per-listener using the listener prefix: HashSet(%s)", key);
		return KERR_INVALID_REQUEST;
	}
	if (broker_key_check(k, value, problem))
		return KERR_INVALID_REQUEST;
	int64_t n;
	if (strcmp(key, "max.connections") == 0 && config_i64(value, &n) == 0 && n == 0) { /* a file may say it; nobody could take it back here */
		str_printf(problem, "Invalid %s %s", key, value);
		return KERR_INVALID_REQUEST;
	}
	if (mode == CONFIG_PER_BROKER && kind == PLAN_ALL_BROKERS) {
		str_printf(problem, "Cannot update these configs at default cluster level, broker id must be specified: Set(%s)", key);
		return KERR_INVALID_REQUEST;
	}
	if (!broker_key_live(k) && !broker_key_same_as_default(k, value)) {
		str_printf(problem, k->cls == CONFIG_USED ? "Configuration %s is read when the broker starts: change its file" : "Configuration %s has no effect in this version yet", key);
		return KERR_INVALID_CONFIG;
	}
	if (kind == PLAN_BROKER && strcmp(key, "unclean.leader.election.enable") == 0 && !broker_key_same_as_default(k, value)) {
		str_printf(problem, "Configuration %s is decided for the cluster, not by one broker: set it without a broker id", key);
		return KERR_INVALID_CONFIG;
	}
	if (strcmp(key, "log.cleanup.policy") == 0 && strstr(value, "compact")) {
		str_printf(problem, "Configuration %s: compaction is not in this version yet: only delete is taken", key);
		return KERR_INVALID_CONFIG;
	}
	return KERR_NONE;
}

static int16_t check_value(enum plan_entity_kind kind, const char *key, const char *value, struct str *problem)
{
	return is_topic(kind) ? check_topic(kind, key, value, problem) : check_broker(kind, key, value, problem);
}

/* ---- operations ---- */

/* Type and default of a key; false: unknown. */
static bool key_info(enum plan_entity_kind kind, const char *key, enum config_type *ret_type, const char **ret_default)
{
	const struct topic_config_key *t = is_topic(kind) ? topic_config_find(key) : NULL;
	const struct config_key *b = is_topic(kind) ? NULL : broker_key_find(key);
	if (t) {
		*ret_type = t->type;
		*ret_default = t->default_value;
	} else if (b) {
		*ret_type = b->type;
		*ret_default = b->default_value ? b->default_value : "";
	}
	return t || b;
}

static int16_t change_list(enum plan_entity_kind kind, const struct plan_config_change *c, const struct plan_configs *now, struct str *value, struct str *problem)
{
	enum config_type type;
	const char *old = plan_configs_get(now, c->key), *def, *word = c->op == PLAN_CONFIG_APPEND ? "append" : "subtract";
	if (!key_info(kind, c->key, &type, &def)) {
		str_printf(problem, "Unknown config name: %s", c->key);
		return KERR_INVALID_CONFIG;
	}
	if (type != CONFIG_LIST) {
		str_printf(problem, "Config value %s is not allowed for config key: %s", word, c->key);
		return KERR_INVALID_CONFIG;
	}
	if (c->op == PLAN_CONFIG_APPEND)
		config_list_append(value, old ? old : def, c->value);
	else
		config_list_subtract(value, old ? old : def, c->value);
	return KERR_NONE;
}

static int16_t change_one(enum plan_entity_kind kind, const struct plan_config_change *c, const struct plan_configs *now, struct plan_configs *set, struct str *problem)
{
	struct str list = {0};
	const char *value = c->value, *old = plan_configs_get(now, c->key);
	int16_t error = KERR_NONE;
	if (c->op == PLAN_CONFIG_DELETE) {
		plan_configs_remove(set, c->key);
		return KERR_NONE;
	}
	if (c->op != PLAN_CONFIG_SET) {
		error = change_list(kind, c, now, &list, problem);
		value = str_cstr(&list);
	}
	if (!error && (!old || strcmp(old, value) != 0))
		error = check_value(kind, c->key, value, problem);
	if (!error)
		plan_configs_put(set, c->key, value);
	str_fini(&list);
	return error;
}

/* Nobody from an address that no override names: Kafka allows that only where there are overrides. */
static bool shuts_out(const struct plan_configs *set)
{
	const char *limit = plan_configs_get(set, "max.connections.per.ip"), *overrides = plan_configs_get(set, "max.connections.per.ip.overrides");
	int64_t n;
	return limit && config_i64(limit, &n) == 0 && n == 0 && (!overrides || !*overrides);
}

int16_t plan_config_alter(enum plan_entity_kind kind, const struct plan_config_changes *c, const struct plan_configs *now, struct plan_configs *ret, struct str *problem)
{
	struct plan_configs set = {0};
	for (int32_t i = 0; i < now->n && !c->replace; i++)
		plan_configs_put(&set, now->v[i].key, now->v[i].value);
	for (int32_t i = 0; i < c->n; i++) {
		int16_t error = change_one(kind, &c->v[i], now, &set, problem);
		if (!error)
			continue;
		plan_configs_fini(&set);
		return error;
	}
	if (!is_topic(kind) && shuts_out(&set) && !shuts_out(now)) {
		str_add(problem, "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.");
		plan_configs_fini(&set);
		return KERR_INVALID_REQUEST;
	}
	*ret = set;
	return KERR_NONE;
}
