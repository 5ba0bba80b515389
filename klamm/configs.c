/* configs.c: see configs.h */
#include "klamm/configs.h"

#include <stdlib.h>
#include <string.h>

int32_t configs_home(int8_t type, const char *name)
{
	return type == CONFIGS_BROKER && *name ? (int32_t)strtol(name, NULL, 10) : CLUSTER_ANY;
}

const char *configs_source(int8_t source)
{
	static const char *const names[] = {"UNKNOWN", "DYNAMIC_TOPIC_CONFIG", "DYNAMIC_BROKER_CONFIG", "DYNAMIC_DEFAULT_BROKER_CONFIG",
	                                    "STATIC_BROKER_CONFIG", "DEFAULT_CONFIG", "DYNAMIC_BROKER_LOGGER_CONFIG", "DYNAMIC_CLIENT_METRICS_CONFIG",
	                                    "DYNAMIC_GROUP_CONFIG"};

	return source > 0 && (size_t)source < sizeof(names) / sizeof(names[0]) ? names[source] : names[0];
}

const char *configs_type(int8_t type)
{
	static const char *const names[] = {"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"};

	return type > 0 && (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] : names[0];
}

int configs_read(struct cluster *c, int8_t type, const char *name, bool documentation, unsigned timeout_ms,
                 struct kp_describe_configs_response_results *ret)
{
	struct kp_describe_configs_request req;
	struct kp_describe_configs_request_resources resource;
	struct kp_describe_configs_response resp;
	int err;

	kp_describe_configs_request_init(&req);
	kp_describe_configs_request_resources_init(&resource);
	resource.resource_type = type;
	resource.resource_name = slice_str(name);
	resource.configuration_keys_count = -1;
	req.resources = &resource;
	req.resources_count = 1;
	req.include_synonyms = true;
	req.include_documentation = documentation;
	err = cluster_call(c, configs_home(type, name), KP_API_DESCRIBE_CONFIGS, timeout_ms, &req, &resp);
	if (err)
		return err;
	if (resp.results_count != 1)
		return ERR_CORRUPT;
	*ret = resp.results[0];
	return 0;
}

int configs_change(struct cluster *c, int8_t type, const char *name, const struct configs_change *changes, int count, bool dry_run, const char *what)
{
	struct kp_incremental_alter_configs_request req;
	struct kp_incremental_alter_configs_request_resources resource;
	struct kp_incremental_alter_configs_response resp;
	uint64_t end = cli_now_ms() + CLUSTER_SETTLE_MS;
	int err;

	kp_incremental_alter_configs_request_init(&req);
	kp_incremental_alter_configs_request_resources_init(&resource);
	resource.resource_type = type;
	resource.resource_name = slice_str(name);
	resource.configs = ARENA_ARRAY(&c->arena, struct kp_incremental_alter_configs_request_resources_configs, (size_t)count);
	resource.configs_count = count;
	for (int i = 0; i < count; i++) {
		kp_incremental_alter_configs_request_resources_configs_init(&resource.configs[i]);
		resource.configs[i].name = slice_str(changes[i].name);
		resource.configs[i].config_operation = changes[i].op;
		resource.configs[i].value = changes[i].value ? slice_str(changes[i].value) : slice_make(NULL, 0);
	}
	req.resources = &resource;
	req.resources_count = 1;
	req.validate_only = dry_run;
	for (;;) {
		err = cluster_call(c, configs_home(type, name), KP_API_INCREMENTAL_ALTER_CONFIGS, CLUSTER_CALL_MS, &req, &resp);
		if (err)
			return cluster_fail(c, err, what);
		if (resp.responses_count != 1)
			return cli_fail(c->cli, CLI_REFUSED, NULL, "%s: the answer is about something else", what);
		if (!resp.responses[0].error_code)
			return 0;
		if (!cluster_passing(resp.responses[0].error_code) || cli_now_ms() >= end)
			break;
		cluster_pause(100);
	}
	return cli_fail_kafka(c->cli, resp.responses[0].error_code, cluster_text(c, resp.responses[0].error_message), type == CONFIGS_TOPIC ? name : NULL,
	                      what);
}
