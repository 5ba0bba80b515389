/* complete.c: what the shells' completions ask: klamm __complete INDEX WORD...
 *
 * The answers come from the table of commands and their argp, so that they cannot differ from what is understood. Names of topics, groups,
 * brokers and configurations are asked of the cluster if the line or KLAMM_BOOTSTRAP names one: within a second, or not at all.
 * Lines are "word<tab>explanation"; names of others are printed without control characters and are only data for the shell.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config/topic_config.h"
#include "klamm/cluster.h"
#include "klamm/commands.h"
#include "klamm/configs.h"

#define WORDS_MAX 8
#define CONNECT_MS 500
#define ANSWER_MS 1000
#define ALARM_S 2 /* a name server that hangs ends us */

struct line {
	const struct command *command;
	const char *noun;
	const char *words[WORDS_MAX]; /* behind noun and verb, without options */
	int count;
	const struct argp_option *waiting; /* the option that the current word is the argument of */
	const char *bootstrap;
};

static void offer(const char *word, const char *text)
{
	for (const char *p = word; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return;
	printf("%s\t%.*s\n", word, text ? (int)strcspn(text, ":;(\n") : 0, text ? text : "");
}

/* --- options ------------------------------------------------------------------------------------------------------- */

static bool last(const struct argp_option *o)
{
	return !o->name && !o->key && !o->doc && !o->group;
}

/* --NAME of the argp or its children; of an alias the option that it stands for. */
static const struct argp_option *option_named(const struct argp *argp, const char *name, size_t len)
{
	const struct argp_option *real = NULL, *found = NULL;

	for (const struct argp_option *o = argp->options; o && !last(o); o++) {
		real = o->flags & OPTION_ALIAS ? real : o;
		if (o->name && strlen(o->name) == len && !strncmp(o->name, name, len))
			return real;
		if (len == 1 && o->key == *name) /* short: -f */
			return real;
	}
	for (const struct argp_child *c = argp->children; c && c->argp && !found; c++)
		found = option_named(c->argp, name, len);
	return found;
}

static void offer_options(const struct argp *argp)
{
	const struct argp_option *real = NULL;
	char word[100];

	for (const struct argp_option *o = argp->options; o && !last(o); o++) {
		real = o->flags & OPTION_ALIAS ? real : o;
		snprintf(word, sizeof(word), "--%s", o->name);
		offer(word, real->doc);
	}
	for (const struct argp_child *c = argp->children; c && c->argp; c++)
		offer_options(c->argp);
}

/* --- names of the cluster ------------------------------------------------------------------------------------------ */

static struct cluster *reach(const struct line *l)
{
	static struct cli cli;

	cli.bootstrap = l->bootstrap ? l->bootstrap : getenv("KLAMM_BOOTSTRAP");
	cli.timeout_ms = CONNECT_MS;
	if (!cli.bootstrap || !*cli.bootstrap || cli.cluster)
		return NULL;
	return cluster_open(&cli) ? NULL : cli.cluster;
}

static void offer_topics(const struct line *l)
{
	struct cluster *c = reach(l);
	struct kp_metadata_response md;
	char text[40];

	if (!c || cluster_metadata(c, NULL, -1, &md))
		return;
	for (int i = 0; i < md.topics_count; i++) {
		snprintf(text, sizeof(text), "%d partitions", md.topics[i].partitions_count);
		offer(cluster_text(c, md.topics[i].name), text);
	}
}

static void offer_groups(const struct line *l)
{
	struct cluster *c = reach(l);
	struct kp_list_groups_request req;
	struct kp_list_groups_response resp;

	kp_list_groups_request_init(&req);
	for (int b = 0; c && b < c->broker_count; b++)
		if (!cluster_call(c, c->brokers[b].node_id, KP_API_LIST_GROUPS, ANSWER_MS, &req, &resp))
			for (int i = 0; i < resp.groups_count; i++)
				offer(cluster_text(c, resp.groups[i].group_id), cluster_text(c, resp.groups[i].group_state));
}

static void offer_brokers(const struct line *l)
{
	struct cluster *c = reach(l);
	char id[16];

	offer("default", "all brokers");
	for (int i = 0; c && i < c->broker_count; i++) {
		snprintf(id, sizeof(id), "%d", c->brokers[i].node_id);
		offer(id, cluster_text(c, c->brokers[i].host));
	}
}

/* Keys of what KIND NAME names; with "=" where a value must follow. */
static void offer_keys(const struct line *l, int8_t type, const char *name, const char *suffix)
{
	struct cluster *c = reach(l);
	struct kp_describe_configs_response_results r;
	char word[300];

	if (!c || configs_read(c, type, name, false, ANSWER_MS, &r) || r.error_code)
		return;
	for (int i = 0; i < r.configs_count; i++) {
		snprintf(word, sizeof(word), "%s%s", cluster_text(c, r.configs[i].name), suffix);
		offer(word, r.configs[i].is_sensitive ? "" : cluster_text(c, r.configs[i].value));
	}
}

/* Of a topic that need not be there yet. */
static void offer_topic_keys(const char *suffix)
{
	char word[300];

	for (size_t i = 0; i < topic_config_key_count; i++) {
		snprintf(word, sizeof(word), "%s%s", topic_config_keys[i].name, suffix);
		offer(word, topic_config_keys[i].meaning);
	}
}

/* --- what stands where --------------------------------------------------------------------------------------------- */

/* "A|B|C" */
static void offer_choices(const char *list)
{
	char word[64];

	for (const char *p = list; *p; p += strcspn(p, "|"), p += *p == '|') {
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(p, "|"), p);
		if (*word != '-' && !(*word >= 'A' && *word <= 'Z' && !(word[1] >= 'a' && word[1] <= 'z'))) /* not N, -N, TEMPLATE */
			offer(word, NULL);
	}
}

static void offer_argument(const struct line *l, const char *kind)
{
	bool topic = l->count && !strncmp(l->words[0], "topic", 5);
	const char *name = l->count > 1 ? l->words[1] : "";

	if (!strncmp(kind, "TOPIC", 5) || !strncmp(kind, "[TOPIC", 6))
		offer_topics(l);
	else if (!strncmp(kind, "GROUP", 5))
		offer_groups(l);
	else if (!strncmp(kind, "KIND", 4))
		offer_choices("topic|broker");
	else if (!strncmp(kind, "NAME", 4) && topic)
		offer_topics(l);
	else if (!strncmp(kind, "NAME", 4) && l->count)
		offer_brokers(l);
	else if (!strncmp(kind, "STATE", 5))
		offer_choices("Stable|Empty|PreparingRebalance|CompletingRebalance|Dead");
	else if (!strncmp(kind, "KEY", 3) && l->command && !strcmp(l->command->noun, "topic"))
		offer_topic_keys(strstr(kind, "=VALUE") ? "=" : "");
	else if (!strncmp(kind, "KEY", 3) || !strncmp(kind, "[KEY", 4))
		offer_keys(l, topic ? CONFIGS_TOPIC : CONFIGS_BROKER, topic ? name : strcmp(name, "default") ? name : "", strstr(kind, "=VALUE") ? "=" : "");
	else if (strchr(kind, '|'))
		offer_choices(kind);
}

/* The word of args_doc for the next argument; one that ends with "..." repeats. */
static void offer_positional(const struct line *l)
{
	const char *p = l->command->argp->args_doc;
	int skip = l->count;

	while (p && *p) {
		size_t n = strcspn(p, " ");
		bool repeats = n >= 3 && memmem(p, n, "...", 3);

		if (!skip || repeats) {
			offer_argument(l, p);
			return;
		}
		skip--;
		p += n + (p[n] == ' ');
	}
}

static void offer_words(const char *noun)
{
	for (size_t i = 0; i < command_count; i++) {
		if (noun && !strcmp(commands[i].noun, noun) && commands[i].verb)
			offer(commands[i].verb, commands[i].help);
		if (!noun && (!i || strcmp(commands[i - 1].noun, commands[i].noun) != 0))
			offer(commands[i].noun, commands[i].verb ? "" : commands[i].help);
	}
}

/* An option at word i: what follows may be its argument ("=" stands alone in bash). */
static int read_option(struct line *l, int i, int index, char **words)
{
	const char *name = words[i] + strspn(words[i], "-");
	const struct argp *argp = l->command ? l->command->argp : &cli_globals;
	const struct argp_option *o = option_named(argp, name, strcspn(name, "="));
	const char *value = strchr(name, '=');

	if (!o || !o->arg)
		return i;
	if (!value) {
		i++;
		if (i < index && !strcmp(words[i], "="))
			i++;
		value = i < index ? words[i] : NULL;
		if (i >= index)
			l->waiting = o;
	} else {
		value++;
	}
	if (value && !strcmp(o->name, "bootstrap-server"))
		l->bootstrap = value;
	return i;
}

static void read_line(struct line *l, int index, char **words)
{
	for (int i = 1; i < index; i++) {
		if (*words[i] == '-') {
			i = read_option(l, i, index, words);
		} else if (!l->noun) {
			l->noun = words[i];
			for (size_t k = 0; k < command_count; k++)
				if (!commands[k].verb && !strcmp(commands[k].noun, l->noun))
					l->command = &commands[k];
		} else if (!l->command) {
			for (size_t k = 0; k < command_count; k++)
				if (commands[k].verb && !strcmp(commands[k].noun, l->noun) && !strcmp(commands[k].verb, words[i]))
					l->command = &commands[k];
			if (!l->command)
				l->noun = "";
		} else if (l->count < WORDS_MAX) {
			l->words[l->count++] = words[i];
		}
	}
}

int complete_run(int argc, char **argv)
{
	struct line l = {0};
	int index = argc > 1 ? atoi(argv[0]) : 0;
	const char *word;

	if (index < 1 || index > argc - 1 || !freopen("/dev/null", "w", stderr))
		return 0;
	alarm(ALARM_S);
	read_line(&l, index, argv + 1);
	word = index < argc - 1 ? argv[1 + index] : "";
	if (l.waiting) {
		offer_argument(&l, l.waiting->arg);
	} else if (*word == '-') {
		offer_options(l.command ? l.command->argp : &cli_globals);
		offer("--help", "shows these options");
	} else if (!l.noun) {
		offer_words(NULL);
	} else if (!l.command) {
		offer_words(l.noun);
	} else {
		offer_positional(&l);
	}
	return 0;
}
