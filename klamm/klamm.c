/* klamm.c: the command line tool: finds the command and runs it.
 *
 * klamm [--bootstrap-server H:P,...] [--json] NOUN VERB ...; the options also stand behind the verb. Each command parses its
 * own arguments (argp). What is not built yet is refused as a usage error, never half done.
 */
#include <argp.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/version.h"
#include "klamm/commands.h"

const char *argp_program_version = "klamm " KLAMM_VERSION;
const struct argp_child cli_global_child[] = {{.argp = &cli_globals}, {0}};

const struct command commands[] = {
	{"topic", "list", "names, partitions, replicas", topic_list, &topic_list_argp},
	{"topic", "describe", "leaders, replicas, offsets, sizes, configuration", topic_describe, &topic_describe_argp},
	{"topic", "create", "make a topic", topic_create, &topic_create_argp},
	{"topic", "alter", "add partitions, change the configuration", topic_alter, &topic_alter_argp},
	{"topic", "delete", "remove a topic with its data", topic_delete, &topic_delete_argp},
	{"produce", NULL, "send lines of standard input", produce_run, &produce_argp},
	{"consume", NULL, "print records", consume_run, &consume_argp},
	{"group", "list", "consumer groups and their states", group_list, &group_list_argp},
	{"group", "describe", "members, offsets, lag in records and in time", group_describe, &group_describe_argp},
	{"group", "reset-offsets", "say where a group goes on (shows first, --execute does)", group_reset, &group_reset_argp},
	{"group", "delete", "remove a group with its offsets", group_delete, &group_delete_argp},
	{"config", "get", "configurations and where they come from", config_get, &config_get_argp},
	{"config", "set", "change configurations of a topic, a broker, all brokers", config_set, &config_set_argp},
	{"config", "unset", "take settings back", config_unset, &config_unset_argp},
	{"status", NULL, "is the cluster well? (exit 5 if not)", status_run, &status_argp},
};
const size_t command_count = sizeof(commands) / sizeof(commands[0]);

/* Words that belong to later versions: said as such instead of "unknown". */
static const char *const later[] = {"log", "migrate", "partition", "acl", "user", "quota", "broker"};

static const char doc[] =
	"Work with a Klamm (or Kafka) cluster from the command line.\v"
	"Commands:\n"
	"  topic list | topic describe [T] | topic create T | topic alter T | topic delete T\n"
	"  produce T          send lines of standard input\n"
	"  consume T          print records\n"
	"  group list | group describe G | group reset-offsets G | group delete G\n"
	"  config get | config set | config unset   of topic T, broker ID, broker default\n"
	"  status             brokers, controller, partitions that need help\n\n"
	"klamm NOUN --help shows what can be done with a noun, klamm NOUN VERB --help the options of a command. Exit status: 0 done, "
	"1 the cluster refused, 2 usage, 3 unreachable, 4 no such thing, 5 (status) something is offline or under-replicated.";

struct top {
	struct cli cli;
	int first; /* index of the noun in argv; 0 = none */
};

static error_t parse_top(int key, char *arg, struct argp_state *state)
{
	struct top *top = state->input;

	switch (key) {
	case ARGP_KEY_INIT: state->child_inputs[0] = &top->cli; break;
	case ARGP_KEY_ARG:
		top->first = state->next - 1;
		state->next = state->argc; /* the rest belongs to the command */
		break;
	case ARGP_KEY_NO_ARGS: argp_error(state, "what shall be done?"); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

/* klamm NOUN --help */
static bool noun_help(const char *noun)
{
	bool known = false;

	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].noun, noun) && commands[i].verb) {
			if (!known)
				printf("Usage: klamm %s VERB [OPTION...]\n\n", noun);
			printf("  %-14s %s\n", commands[i].verb, commands[i].help);
			known = true;
		}
	if (known)
		printf("\nklamm %s VERB --help shows the options of each.\n", noun);
	return known;
}

static int no_command(struct cli *cli, const char *noun, const char *verb)
{
	char verbs[200] = "";
	size_t n = 0;
	bool known = false;

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (!strcmp(noun, later[i]))
			return cli_fail(cli, CLI_USAGE, "klamm --help shows the commands that there are.", "'klamm %s' is not part of this version", noun);
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].noun, noun)) {
			known = true;
			n += (size_t)snprintf(verbs + n, sizeof(verbs) - n, "%s%s", n ? ", " : "It can ", commands[i].verb ? commands[i].verb : "");
		}
	snprintf(verbs + n, sizeof(verbs) - n, ": klamm %s --help.", noun);
	if (known)
		return cli_fail(cli, CLI_USAGE, verbs, verb ? "klamm %s has no '%s'" : "klamm %s: what?%.0s", noun, verb ? verb : "");
	return cli_fail(cli, CLI_USAGE, "klamm --help shows the commands that there are.", "no command '%s'", noun);
}

static const struct command *find(const char *noun, const char *verb)
{
	for (size_t i = 0; i < command_count; i++)
		if (!strcmp(commands[i].noun, noun) && (!commands[i].verb || (verb && !strcmp(commands[i].verb, verb))))
			return &commands[i];
	return NULL;
}

/* A standard descriptor that is closed would be given to the first connection. What stands in for it fails at every use. */
static void hold_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			abort();
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.parser = parse_top, .args_doc = "NOUN [VERB] ...", .doc = doc, .children = cli_global_child};
	static struct top top = {.cli = {.timeout_ms = 3000}};
	struct cli *cli = &top.cli;
	const struct command *command;
	const char *noun, *verb;
	int status, used;

	hold_standard_descriptors();
	setlocale(LC_CTYPE, "");
	if (argc > 1 && !strcmp(argv[1], "__complete"))
		return complete_run(argc - 2, argv + 2);
	cli->bootstrap = getenv("KLAMM_BOOTSTRAP");
	if (!cli->bootstrap || !*cli->bootstrap)
		cli->bootstrap = "localhost:9092";
	cli_parse_top(&argp, argc, argv, &top);
	noun = argv[top.first];
	verb = top.first + 1 < argc ? argv[top.first + 1] : NULL;
	command = find(noun, verb);
	if (command) {
		used = top.first + (command->verb ? 2 : 1);
		status = command->run(cli, argc - used, argv + used);
	} else if (verb && (!strcmp(verb, "--help") || !strcmp(verb, "-?")) && noun_help(noun)) {
		status = CLI_DONE;
	} else {
		status = no_command(cli, noun, verb);
	}
	cli_close(cli);
	if ((fflush(stdout) || ferror(stdout)) && status == CLI_DONE)
		status = cli_fail(cli, CLI_REFUSED, "Make room where it goes, and ask again.", "standard output took not all of the answer");
	return status;
}
