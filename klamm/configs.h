/* configs.h: reading and changing configurations: DescribeConfigs, IncrementalAlterConfigs. */
#pragma once

#include <stdint.h>

#include "klamm/cluster.h"

enum { CONFIGS_TOPIC = 2, CONFIGS_BROKER = 4 }; /* resource types of the protocol */
enum { CONFIGS_FROM_TOPIC = 1 };                 /* config_source of the topic's own configuration */
enum { CONFIGS_SET = 0, CONFIGS_DELETE = 1, CONFIGS_APPEND = 2, CONFIGS_SUBTRACT = 3 };

struct configs_change {
	const char *name, *value; /* value NULL with CONFIGS_DELETE */
	int8_t op;
};

/* The broker that must be asked about the resource: a broker itself, any for topics and for the brokers' default (name ""). */
int32_t configs_home(int8_t type, const char *name);
const char *configs_source(int8_t source); /* Kafka's word, e.g. DYNAMIC_TOPIC_CONFIG */
const char *configs_type(int8_t type);     /* STRING, LONG, ... */
/* One resource. 0, or a negative error of cluster_call. */
MUST_CHECK int configs_read(struct cluster *c, int8_t type, const char *name, bool documentation, unsigned timeout_ms,
                            struct kp_describe_configs_response_results *ret);
/* Exit code (said); what = "topic t cannot be altered". */
MUST_CHECK int configs_change(struct cluster *c, int8_t type, const char *name, const struct configs_change *changes, int count, bool dry_run,
                              const char *what);
