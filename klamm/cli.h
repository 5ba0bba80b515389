/* cli.h: what the commands of klamm share: options, exit codes, errors, librdkafka's client.
 *
 * Contract (klamm.1): exit 0 done, 1 the cluster refused, 2 usage, 3 unreachable, 4 no such thing, 5 (status) something is
 * offline or under-replicated. An error is one line on stderr: what went wrong, then what to do next; with --json
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

struct cluster; /* cluster.h */

struct cli {
	const char *bootstrap;
	bool json;
	unsigned timeout_ms; /* to reach the cluster */
	struct cluster *cluster;
	rd_kafka_t *rk;
	bool down;           /* librdkafka said that no broker is reachable */
	char reason[256];    /* its last connection error */
	void *ctx;           /* of the command that runs, for its callbacks */
};

/* --bootstrap-server and --json, to be a child of every command's argp; its input is struct cli. */
extern const struct argp cli_globals;

/* Creates librdkafka's client, for records. props = name, value, ..., NULL beyond bootstrap. Exit code, 0 = fine. */
MUST_CHECK int cli_open(struct cli *cli, rd_kafka_type_t type, const char *const *props);
MUST_CHECK int cli_open_conf(struct cli *cli, rd_kafka_type_t type, rd_kafka_conf_t *conf); /* takes over conf */
void cli_close(struct cli *cli); /* the client and the cluster */
uint64_t cli_now_ms(void); /* monotonic */
int64_t cli_wall_ms(void); /* since 1970 */

/* Prints cause and next step (may be NULL); returns code. */
int cli_fail(struct cli *cli, enum cli_exit code, const char *next, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The same for what librdkafka or a broker answered (a code of either): picks exit code and next step. text = the broker's own words, or
 * NULL. what = "topic t cannot be created". */
int cli_fail_kafka(struct cli *cli, int err, const char *text, const char *topic, const char *what);
/* Prints one JSON object on one line and frees it. */
void cli_json(json_t *o);
/* A whole number of an option's argument; argp_error (exit 2) when it is none or out of range. */
long long cli_number(struct argp_state *state, const char *arg, long long lo, long long hi);
/* KEY=VALUE, or argp_error. */
void cli_key_value(struct argp_state *state, const char *option, const char *arg);
/* Parses the command's arguments; input may be any struct whose children know it. Ends the process with CLI_USAGE, told like any other error,
 * when they are wrong, and after --help. */
void cli_parse(const struct argp *argp, const char *name, int argc, char **argv, void *input);
/* The same for what stands in front of the command: stops at the first word. */
void cli_parse_top(const struct argp *argp, int argc, char **argv, void *input);
