/* klamm.c: the command line tool: finds the command and runs it.
 *
 * klamm [--bootstrap-server H:P,...] [--json] NOUN VERB ...; the options also stand behind the verb. Each command parses its
 * own arguments (argp). What is not built yet is refused as a usage error, never half done.
 */
#include <argp.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "klamm/cli.h"

static const struct command {
	const char *noun, *verb, *help;
	int (*run)(struct cli *cli, int argc, char **argv);
} commands[] = {
	{"topic", "create", "make a topic", topic_create},
	{"topic", "list", "names, partitions, replicas", topic_list},
	{"topic", "describe", "leaders, replicas, offsets, configuration", topic_describe},
	{"topic", "delete", "remove a topic with its data", topic_delete},
	{"produce", NULL, "send lines of standard input", produce_run},
	{"consume", NULL, "print records", consume_run},
	{"status", NULL, "is the cluster well? (exit 5 if not)", status_run},
};

/* Words that belong to later versions: said as such instead of "unknown". */
static const char *const later[] = {"group", "config", "log", "migrate", "partition", "acl", "user", "quota", "broker"};

static const char doc[] =
	"Work with a Klamm (or Kafka) cluster from the command line.\v"
	"Commands:\n"
	"  topic create T --partitions N --replication-factor R [--config K=V]...\n"
	"  topic list | topic describe [T] | topic delete T\n"
	"  produce T          send lines of standard input\n"
	"  consume T          print records\n"
	"  status             brokers, controller, partitions that need help\n\n"
	"klamm NOUN VERB --help shows the options of a command. Exit status: 0 done, 1 the cluster refused, 2 usage, "
	"3 unreachable, 4 no such thing, 5 (status) something is offline or under-replicated.";

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
	case ARGP_KEY_NO_ARGS: argp_usage(state); break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static int no_command(struct cli *cli, const char *noun, const char *verb)
{
	bool known = false;

	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (!strcmp(noun, later[i]))
			return cli_fail(cli, CLI_USAGE, "klamm --help shows the commands that there are.", "'klamm %s' is not part of this version", noun);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		known |= !strcmp(commands[i].noun, noun);
	if (known && verb && !strcmp(verb, "alter"))
		return cli_fail(cli, CLI_USAGE, "klamm --help shows the commands that there are.", "'klamm %s alter' is not part of this version", noun);
	if (known)
		return cli_fail(cli, CLI_USAGE, "klamm topic create, list, describe or delete.", verb ? "klamm %s: no '%s'" : "klamm %s: what?%.0s", noun,
		                verb ? verb : "");
	return cli_fail(cli, CLI_USAGE, "klamm --help shows the commands that there are.", "no command '%s'", noun);
}

int main(int argc, char **argv)
{
	static const struct argp_child children[] = {{.argp = &cli_globals}, {0}};
	static const struct argp argp = {.parser = parse_top, .args_doc = "NOUN [VERB] ...", .doc = doc, .children = children};
	struct top top = {.cli = {.bootstrap = getenv("KLAMM_BOOTSTRAP"), .timeout_ms = 3000}};
	struct cli *cli = &top.cli;
	const char *noun, *verb;
	int status = -1;

	setlocale(LC_CTYPE, "");
	if (!cli->bootstrap || !*cli->bootstrap)
		cli->bootstrap = "localhost:9092";
	argp_err_exit_status = CLI_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &top);
	noun = argv[top.first];
	verb = top.first + 1 < argc ? argv[top.first + 1] : NULL;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && status < 0; i++) {
		const struct command *c = &commands[i];
		int used = top.first + (c->verb ? 2 : 1);

		if (!strcmp(c->noun, noun) && (!c->verb || (verb && !strcmp(c->verb, verb))))
			status = c->run(cli, argc - used, argv + used);
	}
	if (status < 0)
		status = no_command(cli, noun, verb);
	cli_close(cli);
	if (fflush(stdout) && status == CLI_DONE)
		status = CLI_REFUSED;
	return status;
}
