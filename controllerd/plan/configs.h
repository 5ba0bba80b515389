/* configs.h: what AlterConfigs and IncrementalAlterConfigs make of a stored set of configs: Kafka 3.9's checks, codes and sentences. Pure.
 *
 * Only what a request changes is checked: a value that stands there already (a Kafka cluster taken over, a stock tool) may stay, and be
 * taken away, even if Klamm would not take it anew.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"
#include "controllerd/plan/image.h"

enum plan_entity_kind { PLAN_TOPIC, PLAN_INTERNAL_TOPIC, PLAN_BROKER, PLAN_ALL_BROKERS };
enum plan_config_op { PLAN_CONFIG_SET, PLAN_CONFIG_DELETE, PLAN_CONFIG_APPEND, PLAN_CONFIG_SUBTRACT };
struct plan_config_change {
	const char *key, *value; /* value NULL = null */
	int8_t op;               /* enum plan_config_op, or whatever the client sent */
};
struct plan_config_changes {
	const struct plan_config_change *v;
	int32_t n;
	bool replace; /* AlterConfigs: what is not named goes */
};
/* What can be said without the stored set: a key twice, a null value, an operation that is none: INVALID_REQUEST. 0: nothing. */
MUST_CHECK int16_t plan_config_precheck(const struct plan_config_changes *c, struct str *problem);
/* The set that comes of `now`: 0 and *ret (plan_configs_fini), or a Kafka code and a sentence. */
MUST_CHECK int16_t plan_config_alter(enum plan_entity_kind kind, const struct plan_config_changes *c, const struct plan_configs *now, struct plan_configs *ret, struct str *problem);
