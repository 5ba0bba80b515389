/* commands.h: the commands of klamm. Each has its argp (for --help and for completion, complete.c) and its function: argv[0] is
 * the first word behind noun and verb; the result is the exit code. The words of args_doc and of options' arguments say what is
 * completed there: TOPIC, GROUP, BROKER, KIND, A|B|C.
 */
#pragma once

#include "klamm/cli.h"

struct command {
	const char *noun, *verb; /* verb NULL: the noun is the command */
	const char *help;
	int (*run)(struct cli *cli, int argc, char **argv);
	const struct argp *argp;
};

extern const struct command commands[];
extern const size_t command_count;

extern const struct argp_child cli_global_child[]; /* for every command's argp */

extern const struct argp topic_create_argp, topic_alter_argp, topic_delete_argp, topic_list_argp, topic_describe_argp;
extern const struct argp config_get_argp, config_set_argp, config_unset_argp;
extern const struct argp group_list_argp, group_describe_argp, group_reset_argp, group_delete_argp;
extern const struct argp produce_argp, consume_argp, status_argp;

int topic_create(struct cli *cli, int argc, char **argv);
int topic_alter(struct cli *cli, int argc, char **argv);
int topic_delete(struct cli *cli, int argc, char **argv);
int topic_list(struct cli *cli, int argc, char **argv);
int topic_describe(struct cli *cli, int argc, char **argv);
int config_get(struct cli *cli, int argc, char **argv);
int config_set(struct cli *cli, int argc, char **argv);
int config_unset(struct cli *cli, int argc, char **argv);
int group_list(struct cli *cli, int argc, char **argv);
int group_describe(struct cli *cli, int argc, char **argv);
int group_reset(struct cli *cli, int argc, char **argv);
int group_delete(struct cli *cli, int argc, char **argv);
int produce_run(struct cli *cli, int argc, char **argv);
int consume_run(struct cli *cli, int argc, char **argv);
int status_run(struct cli *cli, int argc, char **argv);

/* __complete INDEX WORD...: what may stand at word INDEX (0 = klamm itself), one per line, "word<tab>explanation". Silent when anything
 * fails. */
int complete_run(int argc, char **argv);
