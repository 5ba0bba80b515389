/* config.c: klamm config get, set, unset: configurations of topics, of single brokers and of all brokers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/configs.h"
#include "klamm/table.h"

#define KEYS_MAX 100

enum { OPT_ALL = 1, OPT_DOCS, OPT_DRY_RUN };

struct config_args {
	struct cli *cli;
	struct cluster *cluster;
	const char *kind, *name; /* as written */
	const char *verb;
	int8_t type;
	const char *resource; /* as the protocol names it: "" = all brokers */
	char label[300];      /* "topic t", "broker 1", "all brokers" */
	const char *keys[KEYS_MAX];
	int key_count;
	bool all, docs, dry_run;
};

/* KIND NAME: topic T, broker N, broker default. */
static void parse_entity(struct config_args *a, struct argp_state *state)
{
	if (!strcmp(a->kind, "topic") || !strcmp(a->kind, "topics")) {
		a->type = CONFIGS_TOPIC;
		a->resource = a->name;
		snprintf(a->label, sizeof(a->label), "topic %s", a->name);
	} else if (!strcmp(a->name, "default")) {
		a->type = CONFIGS_BROKER;
		a->resource = "";
		snprintf(a->label, sizeof(a->label), "all brokers");
	} else {
		cli_number(state, a->name, 0, INT32_MAX);
		a->type = CONFIGS_BROKER;
		a->resource = a->name;
		snprintf(a->label, sizeof(a->label), "broker %s", a->name);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct config_args *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = a->cli; break;
	case OPT_ALL: a->all = true; break;
	case OPT_DOCS: a->docs = true; break;
	case OPT_DRY_RUN: a->dry_run = true; break;
	case ARGP_KEY_ARG:
		if (!a->kind) {
			a->kind = arg;
			if (strcmp(arg, "topic") && strcmp(arg, "topics") && strcmp(arg, "broker") && strcmp(arg, "brokers"))
				argp_error(state, "'%s' has no configurations: want topic NAME, broker ID or broker default", arg);
		} else if (!a->name) {
			a->name = arg;
			parse_entity(a, state);
		} else {
			if (!strcmp(a->verb, "set"))
				cli_key_value(state, a->label, arg);
			if (a->key_count == KEYS_MAX)
				argp_error(state, "more than %d keys", KEYS_MAX);
			a->keys[a->key_count++] = arg;
		}
		break;
	case ARGP_KEY_END:
		if (!a->name)
			argp_error(state, "of what? want topic NAME, broker ID or broker default");
		if (!a->key_count && strcmp(a->verb, "get") != 0)
			argp_error(state, "%s: which configuration?", a->label);
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int start(struct config_args *a)
{
	int code = cluster_open(a->cli);

	a->cluster = a->cli->cluster;
	if (!code && a->type == CONFIGS_BROKER && *a->resource && !cluster_broker(a->cluster, configs_home(a->type, a->resource)))
		return cli_fail(a->cli, CLI_NO_SUCH, "klamm status shows the brokers.", "no broker %s is up", a->resource);
	return code;
}

/* --- get ----------------------------------------------------------------------------------------------------------- */

typedef struct kp_describe_configs_response_results_configs entry;

static int by_name(const void *a, const void *b)
{
	return slice_cmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Whether the entry is asked for: by its name; all; else what somebody has set for this entity, or for broker default anything. */
static bool wanted(const struct config_args *a, const entry *e)
{
	for (int i = 0; i < a->key_count; i++)
		if (slice_eq_str(e->name, a->keys[i]))
			return true;
	return !a->key_count && (a->all || (e->config_source != 5 && e->config_source > 0));
}

static json_t *entry_json(struct cluster *c, const entry *e, bool docs)
{
	const char *value = cluster_text(c, e->value), *doc = cluster_text(c, e->documentation);
	json_t *synonyms = json_array(), *o;

	for (int i = 0; i < e->synonyms_count; i++)
		json_array_append_new(synonyms, json_pack("{s:s,s:s?,s:s}", "name", cluster_text(c, e->synonyms[i].name), "value",
		                                          cluster_text(c, e->synonyms[i].value), "source", configs_source(e->synonyms[i].source)));
	o = json_pack("{s:s,s:s?,s:s,s:b,s:b,s:s,s:o}", "name", cluster_text(c, e->name), "value", value, "source", configs_source(e->config_source),
	              "read_only", (int)e->read_only, "sensitive", (int)e->is_sensitive, "type", configs_type(e->config_type), "synonyms", synonyms);
	if (docs)
		json_object_set_new(o, "documentation", doc ? json_string(doc) : json_null());
	return o;
}

/* "ms" of log.retention.ms */
static const char *unit(const char *key)
{
	const char *dot = strrchr(key, '.');

	return dot ? dot + 1 : key;
}

/* What the value would be without its own setting: the second of the synonyms, with its name if it counts in something else (log.retention.hours). */
static const char *fallback(struct cluster *c, const entry *e, char *buf, size_t cap)
{
	const char *name;
	bool other;

	if (e->synonyms_count < 2 || e->is_sensitive)
		return "";
	name = cluster_text(c, e->synonyms[1].name);
	other = strcmp(unit(name), unit(cluster_text(c, e->name))) != 0;
	snprintf(buf, cap, "%s%s%s (%s)", other ? name : "", other ? "=" : "", e->synonyms[1].value.ptr ? cluster_text(c, e->synonyms[1].value) : "",
	         configs_source(e->synonyms[1].source));
	return buf;
}

static void print_entries(struct config_args *a, const struct kp_describe_configs_response_results *r)
{
	struct cli_table *table = a->cli->json ? NULL : cli_table_new(a->docs ? "KEY|VALUE|SOURCE|ELSE|MEANING" : "KEY|VALUE|SOURCE|ELSE");
	json_t *list = a->cli->json ? json_array() : NULL;
	char other[400];
	int shown = 0;

	for (int i = 0; i < r->configs_count; i++) {
		const entry *e = &r->configs[i];
		const char *value = e->is_sensitive ? "(hidden)" : cluster_text(a->cluster, e->value);

		if (!wanted(a, e))
			continue;
		shown++;
		if (list)
			json_array_append_new(list, entry_json(a->cluster, e, a->docs));
		else if (a->docs)
			cli_table_row(table, cluster_text(a->cluster, e->name), value, configs_source(e->config_source), fallback(a->cluster, e, other, sizeof(other)),
			              cluster_text(a->cluster, e->documentation), NULL);
		else
			cli_table_row(table, cluster_text(a->cluster, e->name), value, configs_source(e->config_source), fallback(a->cluster, e, other, sizeof(other)),
			              NULL);
	}
	if (list) {
		cli_json(json_pack("{s:s,s:s,s:o}", "resource", a->type == CONFIGS_TOPIC ? "topic" : "broker", "name", *a->resource ? a->resource : "default",
		                   "configs", list));
	} else if (shown) {
		cli_table_print(table);
	} else {
		cli_table_free(table);
		fprintf(stderr, "klamm: %s: nothing is set; --all shows the defaults too.\n", a->label);
	}
}

static const struct argp_option get_options[] = {
	{"all", OPT_ALL, NULL, 0, "defaults too (without it: what is set somewhere)", 0},
	{"docs", OPT_DOCS, NULL, 0, "with the meaning of each", 0},
	{0},
};
const struct argp config_get_argp = {get_options, parse, "KIND NAME [KEY...]",
                                     "Shows configurations, where each comes from, and what would hold without it.\v"
                                     "KIND NAME is topic T, broker ID, or broker default (the defaults for all brokers).",
                                     cli_global_child, NULL, NULL};

int config_get(struct cli *cli, int argc, char **argv)
{
	struct config_args a = {.cli = cli, .verb = "get"};
	struct kp_describe_configs_response_results r;
	char what[400];
	int code, err;

	cli_parse(&config_get_argp, "klamm config get", argc, argv, &a);
	if ((code = start(&a)))
		return code;
	snprintf(what, sizeof(what), "configurations of %s cannot be had", a.label);
	if ((err = configs_read(a.cluster, a.type, a.resource, a.docs, CLUSTER_CALL_MS, &r)))
		return cluster_fail(a.cluster, err, what);
	if (r.error_code)
		return cli_fail_kafka(cli, r.error_code, cluster_text(a.cluster, r.error_message), a.type == CONFIGS_TOPIC ? a.resource : NULL, what);
	if (r.configs_count > 0)
		qsort(r.configs, (size_t)r.configs_count, sizeof(*r.configs), by_name);
	for (int i = 0; i < a.key_count; i++) {
		bool found = false;

		for (int j = 0; j < r.configs_count; j++)
			found |= slice_eq_str(r.configs[j].name, a.keys[i]);
		if (!found)
			return cli_fail(cli, CLI_NO_SUCH, "klamm config get --all shows the names.", "%s has no configuration %s", a.label, a.keys[i]);
	}
	print_entries(&a, &r);
	return 0;
}

/* --- set, unset ---------------------------------------------------------------------------------------------------- */

static int change(struct config_args *a)
{
	struct configs_change changes[KEYS_MAX];
	json_t *keys;
	char what[400];
	int code = start(a);

	if (code)
		return code;
	for (int i = 0; i < a->key_count; i++) {
		const char *eq = strchr(a->keys[i], '=');
		size_t len = eq ? (size_t)(eq - a->keys[i]) : strlen(a->keys[i]);

		changes[i] = (struct configs_change){.value = eq ? eq + 1 : NULL, .op = eq ? CONFIGS_SET : CONFIGS_DELETE};
		if (eq && len > 1 && (eq[-1] == '+' || eq[-1] == '-')) { /* KEY+=ELEMENT, KEY-=ELEMENT */
			changes[i].op = eq[-1] == '+' ? CONFIGS_APPEND : CONFIGS_SUBTRACT;
			len--;
		}
		changes[i].name = arena_strndup(&a->cluster->arena, a->keys[i], len);
	}
	snprintf(what, sizeof(what), "%s cannot be configured so", a->label);
	if ((code = configs_change(a->cluster, a->type, a->resource, changes, a->key_count, a->dry_run, what)))
		return code;
	if (!a->cli->json) {
		printf("%s: %d configuration%s %s\n", a->label, a->key_count, a->key_count == 1 ? "" : "s",
		       a->dry_run ? "could be changed so" : !strcmp(a->verb, "set") ? "set" : "unset");
		return 0;
	}
	keys = json_array();
	for (int i = 0; i < a->key_count; i++)
		json_array_append_new(keys, json_string(changes[i].name));
	cli_json(json_pack("{s:s,s:s,s:s,s:o,s:b}", "resource", a->type == CONFIGS_TOPIC ? "topic" : "broker", "name", *a->resource ? a->resource : "default",
	                   "verb", a->verb, "keys", keys, "changed", (int)!a->dry_run));
	return 0;
}

static const struct argp_option change_options[] = {
	{"dry-run", OPT_DRY_RUN, NULL, 0, "only ask whether it would be done", 0},
	{0},
};
const struct argp config_set_argp = {change_options, parse, "KIND NAME KEY=VALUE...",
                                     "Sets configurations; others stay as they are.\v"
                                     "KIND NAME is topic T, broker ID, or broker default (for all brokers). "
                                     "KEY+=ELEMENT and KEY-=ELEMENT add to and take from a list.",
                                     cli_global_child, NULL, NULL};
const struct argp config_unset_argp = {change_options, parse, "KIND NAME KEY...",
                                       "Takes settings back: what holds then is what stands behind (broker default, the brokers' file, Kafka's default).",
                                       cli_global_child, NULL, NULL};

int config_set(struct cli *cli, int argc, char **argv)
{
	struct config_args a = {.cli = cli, .verb = "set"};

	cli_parse(&config_set_argp, "klamm config set", argc, argv, &a);
	return change(&a);
}

int config_unset(struct cli *cli, int argc, char **argv)
{
	struct config_args a = {.cli = cli, .verb = "unset"};

	cli_parse(&config_unset_argp, "klamm config unset", argc, argv, &a);
	return change(&a);
}
