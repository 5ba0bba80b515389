/* load.h: options and helpers that the commands of klamm-load share.
 *
 * A command is a function (options) -> exit status that prints one JSON object on the last line of stdout. Exit status:
 * 0 done, 1 the cluster refused or records are missing, 2 usage, 3 unreachable.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "bench/cluster.h"
#include "bench/hist.h"
#include "bench/net.h"
#include "bench/procstat.h"

struct load_opts {
	const char *command;
	const char *bootstrap, *topic, *key;
	struct procstat procs;
	unsigned connections, inflight, readers, partitions, rf;
	int acks;
	uint32_t batch_bytes, record_bytes, batch_records, fetch_bytes;
	double rate_mb, seconds, warmup_s;
	unsigned period_ms, timeout_ms;
	bool keyed, verify, auto_create, remove;
	uint64_t start_ns; /* of the process */
};

extern volatile sig_atomic_t load_stop; /* SIGINT or SIGTERM came: end the run, print the result */

int load_produce(struct load_opts *o);
int load_fetch(struct load_opts *o);
int load_e2e(struct load_opts *o);
int load_probe(struct load_opts *o);
int load_conns(struct load_opts *o);
int load_create(struct load_opts *o);

/* Connects and waits for metadata with all leaders; on failure says why and returns false. */
bool load_connect(struct load_opts *o, struct net *net, struct cluster *c, bool need_topic);
int load_print(struct load_opts *o, json_t *result, int status); /* frees result; returns status */
int64_t load_wall_ms(void);
double load_own_cpu_s(void);
/* Offsets of timestamp -1 (latest) or -2 (earliest) of every partition; ret has part_count entries. */
bool load_offsets(struct cluster *c, int64_t timestamp, int64_t *ret);
/* Fetch v11 of one partition from one offset, and its answer. */
void load_fetch_encode(struct kw_out *out, const char *topic, uint32_t part, int64_t offset, uint32_t max_bytes, uint32_t max_wait_ms);
struct load_fetched {
	int16_t error;
	int64_t high_watermark;
	struct slice records;
};
bool load_fetch_parse(struct slice answer, struct load_fetched *ret);
/* Body of Produce v7 up to the records of its one partition. */
void load_produce_begin(struct kw_out *out, const char *topic, int acks, unsigned timeout_ms, uint32_t part, size_t batch_len);
struct load_produced {
	uint32_t partitions, errors;
	int16_t first_error;
	int64_t base_offset; /* of the first partition */
};
bool load_produce_parse(struct slice answer, struct load_produced *ret);
