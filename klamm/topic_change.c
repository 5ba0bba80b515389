/* topic_change.c: klamm topic create, alter, delete: what the controller decides. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/configs.h"

#define CONFIGS_MAX 100
#define CONTROLLER_MS 25000 /* the controller's own limit, below that of the call */

enum { OPT_PARTITIONS = 1, OPT_RF, OPT_CONFIG, OPT_UNSET, OPT_IF, OPT_DRY_RUN };

struct change {
	struct cli *cli;
	struct cluster *cluster;
	const char *name;
	int partitions, rf;
	struct configs_change configs[CONFIGS_MAX];
	int config_count;
	bool lenient, dry_run;
	bool as_it_was; /* lenient: it was there already, or gone already */
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct change *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = a->cli; break;
	case OPT_PARTITIONS: a->partitions = (int)cli_number(state, arg, 1, 100000); break;
	case OPT_RF: a->rf = (int)cli_number(state, arg, 1, 32767); break;
	case OPT_IF: a->lenient = true; break;
	case OPT_DRY_RUN: a->dry_run = true; break;
	case OPT_CONFIG:
	case OPT_UNSET:
		if (key == OPT_CONFIG)
			cli_key_value(state, "--config", arg);
		if (a->config_count == CONFIGS_MAX)
			argp_error(state, "more than %d configurations", CONFIGS_MAX);
		a->configs[a->config_count] = (struct configs_change){.name = arg, .op = key == OPT_CONFIG ? CONFIGS_SET : CONFIGS_DELETE};
		if (key == OPT_CONFIG) {
			arg = strchr(arg, '=');
			*arg = 0; /* the name ends here */
			a->configs[a->config_count].value = arg + 1;
		}
		a->config_count++;
		break;
	case ARGP_KEY_ARG:
		if (a->name)
			argp_error(state, "'%s' is too much", arg);
		a->name = arg;
		break;
	case ARGP_KEY_END:
		if (!a->name)
			argp_error(state, "which topic?");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int start(struct change *a)
{
	int code = cluster_open(a->cli);

	a->cluster = a->cli->cluster;
	return code;
}

static int done(struct change *a, const char *word, const char *text)
{
	if (a->cli->json)
		cli_json(json_pack("{s:s,s:b}", "topic", a->name, word, !a->as_it_was));
	else
		printf("topic %s %s\n", a->name, text);
	return 0;
}

/* --- create -------------------------------------------------------------------------------------------------------- */

static int16_t create_topics_error(const void *resp)
{
	const struct kp_create_topics_response *r = resp;

	return r->topics_count == 1 ? r->topics[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
}

static int create(struct change *a)
{
	struct kp_create_topics_request req;
	struct kp_create_topics_request_topics topic;
	struct kp_create_topics_request_topics_configs configs[CONFIGS_MAX];
	struct kp_create_topics_response resp;
	char what[320];
	int16_t error;
	int code;

	kp_create_topics_request_init(&req);
	kp_create_topics_request_topics_init(&topic);
	topic.name = slice_str(a->name);
	topic.num_partitions = a->partitions;
	topic.replication_factor = (int16_t)a->rf;
	topic.configs = configs;
	topic.configs_count = a->config_count;
	for (int i = 0; i < a->config_count; i++) {
		kp_create_topics_request_topics_configs_init(&configs[i]);
		configs[i].name = slice_str(a->configs[i].name);
		configs[i].value = slice_str(a->configs[i].value);
	}
	req.topics = &topic;
	req.topics_count = 1;
	req.timeout_ms = CONTROLLER_MS;
	req.validate_only = a->dry_run;
	snprintf(what, sizeof(what), "topic %s cannot be created", a->name);
	if ((code = cluster_ask_controller(a->cluster, KP_API_CREATE_TOPICS, &req, &resp, create_topics_error, what)))
		return code;
	error = create_topics_error(&resp);
	a->as_it_was = a->lenient && error == KERR_TOPIC_ALREADY_EXISTS;
	if (!error || a->as_it_was)
		return 0;
	return cli_fail_kafka(a->cli, error, resp.topics_count == 1 ? cluster_text(a->cluster, resp.topics[0].error_message) : NULL, a->name, what);
}

static const struct argp_option create_options[] = {
	{"partitions", OPT_PARTITIONS, "N", 0, "partitions (default: the brokers' num.partitions)", 0},
	{"replication-factor", OPT_RF, "R", 0, "replicas of each (default: the brokers' default.replication.factor)", 0},
	{"config", OPT_CONFIG, "KEY=VALUE", 0, "configuration of the topic; may be repeated", 0},
	{"if-not-exists", OPT_IF, NULL, 0, "a topic that is there already is fine", 0},
	{"dry-run", OPT_DRY_RUN, NULL, 0, "only ask whether it could be made", 0},
	{0},
};
const struct argp topic_create_argp = {create_options, parse, "TOPIC", "Makes a topic.", cli_global_child, NULL, NULL};

int topic_create(struct cli *cli, int argc, char **argv)
{
	struct change a = {.cli = cli, .partitions = -1, .rf = -1};
	int code;

	cli_parse(&topic_create_argp, "klamm topic create", argc, argv, &a);
	if ((code = start(&a)) || (code = create(&a)))
		return code;
	if (a.dry_run) {
		a.as_it_was = false; /* there is nothing that speaks against it */
		return done(&a, "valid", "can be created");
	}
	return done(&a, "created", a.as_it_was ? "is there already" : "created");
}

/* --- delete -------------------------------------------------------------------------------------------------------- */

static int16_t delete_topics_error(const void *resp)
{
	const struct kp_delete_topics_response *r = resp;

	return r->responses_count == 1 ? r->responses[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
}

static int delete(struct change *a)
{
	struct kp_delete_topics_request req;
	struct kp_delete_topics_request_topics topic;
	struct kp_delete_topics_response resp;
	struct slice name = slice_str(a->name);
	char what[320];
	int16_t error;
	int code;

	kp_delete_topics_request_init(&req);
	kp_delete_topics_request_topics_init(&topic);
	topic.name = name;
	req.topics = &topic; /* from v6 */
	req.topics_count = 1;
	req.topic_names = &name;
	req.topic_names_count = 1;
	req.timeout_ms = CONTROLLER_MS;
	snprintf(what, sizeof(what), "topic %s cannot be deleted", a->name);
	if ((code = cluster_ask_controller(a->cluster, KP_API_DELETE_TOPICS, &req, &resp, delete_topics_error, what)))
		return code;
	error = delete_topics_error(&resp);
	a->as_it_was = a->lenient && error == KERR_UNKNOWN_TOPIC_OR_PARTITION;
	if (!error || a->as_it_was)
		return 0;
	return cli_fail_kafka(a->cli, error, resp.responses_count == 1 ? cluster_text(a->cluster, resp.responses[0].error_message) : NULL, a->name, what);
}

static const struct argp_option delete_options[] = {
	{"if-exists", OPT_IF, NULL, 0, "a topic that is not there is fine", 0},
	{0},
};
const struct argp topic_delete_argp = {delete_options, parse, "TOPIC", "Removes a topic with its data.", cli_global_child, NULL, NULL};

int topic_delete(struct cli *cli, int argc, char **argv)
{
	struct change a = {.cli = cli};
	int code;

	cli_parse(&topic_delete_argp, "klamm topic delete", argc, argv, &a);
	if ((code = start(&a)) || (code = delete(&a)))
		return code;
	return done(&a, "deleted", a.as_it_was ? "is not there" : "deleted");
}

/* --- alter --------------------------------------------------------------------------------------------------------- */

static int16_t create_partitions_error(const void *resp)
{
	const struct kp_create_partitions_response *r = resp;

	return r->results_count == 1 ? r->results[0].error_code : KERR_UNKNOWN_SERVER_ERROR;
}

static int add_partitions(struct change *a)
{
	struct kp_create_partitions_request req;
	struct kp_create_partitions_request_topics topic;
	struct kp_create_partitions_response resp;
	char what[320];
	int16_t error;
	int code;

	kp_create_partitions_request_init(&req);
	kp_create_partitions_request_topics_init(&topic);
	topic.name = slice_str(a->name);
	topic.count = a->partitions;
	topic.assignments_count = -1; /* the controller chooses */
	req.topics = &topic;
	req.topics_count = 1;
	req.timeout_ms = CONTROLLER_MS;
	req.validate_only = a->dry_run;
	snprintf(what, sizeof(what), "topic %s cannot have %d partitions", a->name, a->partitions);
	if ((code = cluster_ask_controller(a->cluster, KP_API_CREATE_PARTITIONS, &req, &resp, create_partitions_error, what)))
		return code;
	error = create_partitions_error(&resp);
	if (!error)
		return 0;
	return cli_fail_kafka(a->cli, error, resp.results_count == 1 ? cluster_text(a->cluster, resp.results[0].error_message) : NULL, a->name, what);
}

/* Configurations are asked about first, so that a wrong one leaves the partitions as they are. */
static int alter(struct change *a)
{
	char what[320];
	int code = 0;

	snprintf(what, sizeof(what), "topic %s cannot be altered", a->name);
	if (a->config_count && (a->dry_run || a->partitions > 0))
		code = configs_change(a->cluster, CONFIGS_TOPIC, a->name, a->configs, a->config_count, true, what);
	if (!code && a->partitions > 0)
		code = add_partitions(a);
	if (!code && a->config_count && !a->dry_run)
		code = configs_change(a->cluster, CONFIGS_TOPIC, a->name, a->configs, a->config_count, false, what);
	return code;
}

static const struct argp_option alter_options[] = {
	{"partitions", OPT_PARTITIONS, "N", 0, "how many there shall be: more than now; keys then go to other partitions", 0},
	{"config", OPT_CONFIG, "KEY=VALUE", 0, "set a configuration; may be repeated", 0},
	{"unset", OPT_UNSET, "KEY", 0, "back to the default; may be repeated", 0},
	{"dry-run", OPT_DRY_RUN, NULL, 0, "only ask whether it would be done", 0},
	{0},
};
const struct argp topic_alter_argp = {alter_options, parse, "TOPIC", "Changes a topic: adds partitions, sets or unsets configurations.", cli_global_child,
                                      NULL, NULL};

int topic_alter(struct cli *cli, int argc, char **argv)
{
	struct change a = {.cli = cli, .partitions = -1};
	const struct kp_metadata_response_topics *t;
	int code;

	cli_parse(&topic_alter_argp, "klamm topic alter", argc, argv, &a);
	if (a.partitions < 0 && !a.config_count)
		return cli_fail(cli, CLI_USAGE, "Give --partitions N, --config KEY=VALUE or --unset KEY.", "topic %s: what shall change?", a.name);
	if ((code = start(&a)) || (code = cluster_topic(a.cluster, a.name, &t)) || (code = alter(&a)))
		return code;
	return done(&a, a.dry_run ? "valid" : "altered", a.dry_run ? "can be altered so" : "altered");
}
