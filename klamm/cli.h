/* cli.h: what the commands of klamm share: options, exit codes, errors, the connection.
 *
 * Contract (klamm.1): exit 0 done, 1 the cluster refused, 2 usage, 3 unreachable, 4 no such thing, 5 (status) something is
 * offline or under-replicated. An error is one line on what went wrong and one on what to do next, on stderr; with --json
 * also {"error":{...}} on stdout. Results go to stdout only. One thread (librdkafka has its own).
 */
#pragma once

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <librdkafka/rdkafka.h>

#include "common/base/err.h"

enum cli_exit {
	CLI_DONE = 0,
	CLI_REFUSED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
	CLI_NO_SUCH = 4,
	CLI_UNHEALTHY = 5,
};

struct cli {
	uint64_t patience_ends_ms; /* until when answers of the moment are asked for again; 0 = not begun */
	const char *bootstrap;
	bool json;
	unsigned timeout_ms; /* to reach the cluster */
	rd_kafka_t *rk;
	bool down;           /* librdkafka said that no broker is reachable */
	char reason[256];    /* its last connection error */
	void *ctx;           /* of the command that runs, for its callbacks */
};

/* --bootstrap-server and --json, to be a child of every command's argp; its input is struct cli. */
extern const struct argp cli_globals;

/* Creates the client. props = name, value, ..., NULL beyond bootstrap. Exit code, 0 = fine. */
MUST_CHECK int cli_open(struct cli *cli, rd_kafka_type_t type, const char *const *props);
MUST_CHECK int cli_open_conf(struct cli *cli, rd_kafka_type_t type, rd_kafka_conf_t *conf); /* takes over conf */
void cli_close(struct cli *cli);
uint64_t cli_now_ms(void); /* monotonic */
/* Metadata of one topic, or of all with topic NULL. Exit code; *ret is to be freed with rd_kafka_metadata_destroy. A topic
 * that does not exist is CLI_NO_SUCH, said already. */
MUST_CHECK int cli_metadata(struct cli *cli, const char *topic, const struct rd_kafka_metadata **ret);

/* Prints cause and next step (may be NULL); returns code. */
int cli_fail(struct cli *cli, enum cli_exit code, const char *next, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The same for what librdkafka or a broker answered: picks code and next step. what = "topic t cannot be created". */
int cli_fail_kafka(struct cli *cli, rd_kafka_resp_err_t err, const char *text, const char *topic, const char *what);
/* Prints one JSON object on one line and frees it. */
void cli_json(json_t *o);
/* A whole number of an option's argument; argp_error (exit 2) when it is none or out of range. */
long long cli_number(struct argp_state *state, const char *arg, long long lo, long long hi);
/* Parses the command's arguments; input may be any struct whose children know it. */
void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);

struct cli_table;
/* Columns separated by '|'; a leading '>' right-aligns. */
struct cli_table *cli_table_new(const char *columns);
void cli_table_row(struct cli_table *t, ...) __attribute__((sentinel)); /* const char * per column, then NULL */
/* Prints to stdout and frees. On a terminal the widest column is cut so that lines fit. */
void cli_table_print(struct cli_table *t);
void cli_table_free(struct cli_table *t); /* without printing */

/* The commands: argv[0] is the first word behind noun and verb. */
int topic_create(struct cli *cli, int argc, char **argv);
int topic_list(struct cli *cli, int argc, char **argv);
int topic_describe(struct cli *cli, int argc, char **argv);
int topic_delete(struct cli *cli, int argc, char **argv);
int produce_run(struct cli *cli, int argc, char **argv);
int consume_run(struct cli *cli, int argc, char **argv);
int status_run(struct cli *cli, int argc, char **argv);
