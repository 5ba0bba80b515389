/* harness.h: what the files of klamm-sim share: one run of one seed.
 *
 * A run is a simulated world (common/env/sim) with a ZooKeeper ensemble, controllers, brokers and clients, a schedule of faults,
 * and checks. The daemons are the production objects; the clients speak the Kafka protocol with the product's codec, through
 * common/env like everybody else, as processes on hosts of their own. Clients, faults and checks share this struct: they are one
 * thread, and nothing that the daemons can see.
 *
 * Everything random comes from the seed: sim_rng() for the harness, env_random of its process for a client. No order depends on
 * addresses or real time, so that a seed gives the same run in every process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "common/base/str.h"
#include "common/base/uuid.h"
#include "common/env/sim/sim.h"

enum {
	BROKERS_MAX = 9,
	CONTROLLERS_MAX = 5,
	TOPICS_MAX = 24,
	PARTITIONS_MAX = 4,
	TPS_MAX = TOPICS_MAX * PARTITIONS_MAX,
	PRODUCERS_MAX = 12,
	CONSUMERS_MAX = 6,
	GROUPS_MAX = 6,
	MEMBERS_MAX = 8,
	COMMITTERS_MAX = 3,
};

enum fault_kind {
	FAULT_CRASH, FAULT_CRASHALL, FAULT_POWER, FAULT_POWERALL, FAULT_STOP, FAULT_CONTROLLER, FAULT_CUT, FAULT_ONEWAY, FAULT_ISOLATE,
	FAULT_ZKCUT, FAULT_DELAY, FAULT_RESET, FAULT_EXPIRE, FAULT_ZKDROP, FAULT_ZKLAG, FAULT_ZKSERVER, FAULT_ZKDOWN, FAULT_PAUSE, FAULT_STALL,
	FAULT_SLOWDISK, FAULT_DISKSTALL, FAULT_CLOCK, FAULT_TOPICS, FAULT_DEPOSE, FAULT_MEMBERS, FAULT_KINDS
};
extern const char *const fault_names[FAULT_KINDS];

struct options {
	uint64_t seed_first, seed_last;
	int jobs;
	int64_t seconds;
	int brokers, controllers, loops; /* loops 0 = by seed */
	uint64_t faults;                 /* bit per enum fault_kind */
	const char *trace_file;          /* NULL = none */
	bool verbose, json, no_fork, each;
};

enum outcome { OUTCOME_CLEAN = 0, OUTCOME_VIOLATION = 1, OUTCOME_NO_PROGRESS = 3 };

struct result {
	enum outcome outcome;
	bool done;
	char what[200];   /* name of the check, and a sentence */
	int64_t t_ms;     /* when it was seen */
	int64_t acked, read, faults, leader_changes, truncations, commits, rebalances, virtual_us, lost_excused;
	uint64_t events;
	uint8_t hash[32];
};

enum topic_state { TOPIC_WANTED, TOPIC_LIVE, TOPIC_DELETING, TOPIC_GONE };
struct topic {
	char name[24];
	enum topic_state state;
	struct uuid id;       /* zero until known */
	int32_t partitions, first_tp;
	int32_t min_isr;
	bool flush;           /* flush.messages=1 was accepted: nothing may be lost at all */
	bool grown;           /* half of its partitions come by CreatePartitions */
	bool churn;           /* comes and goes during the run */
	bool internal;        /* __consumer_offsets: made by the brokers, read from the disks by the checks alone */
	int64_t live_us;
};

struct cluster;
struct checks;
struct group_checks;
struct faults;
struct producer;
struct consumer;
struct admin;
struct member;
struct committer;

struct run {
	const struct options *opt;
	uint64_t seed;
	volatile int64_t *progress_us;
	struct sim_world *w;
	struct rng *rng;
	const char *chroot; /* "" or "/name" */
	int64_t faults_us, heal_us, quiet_us, end_us; /* faults from .. to, producers stop, the end; virtual time */
	bool healed, quiet;
	struct topic topics[TOPICS_MAX];
	int32_t topic_count, tp_count;
	struct cluster *cluster;
	struct checks *checks;
	struct group_checks *groups;
	struct faults *faults;
	struct admin *admin;
	struct producer *producers[PRODUCERS_MAX];
	int producer_count;
	struct consumer *consumers[CONSUMERS_MAX];
	int consumer_count;
	struct member *members[MEMBERS_MAX];
	int member_count;
	struct committer *committers[COMMITTERS_MAX];
	int committer_count;
	struct result res;
};

/* ---- topics.c ---- */
/* tp index -> topic */
struct topic *run_topic_of(struct run *r, int32_t tp);
static inline int32_t run_partition_of(struct run *r, int32_t tp) { return tp - run_topic_of(r, tp)->first_tp; }
/* Clients write and read it: live, not internal. */
static inline bool run_topic_is_data(const struct topic *t) { return t->state == TOPIC_LIVE && !t->internal; }
/* A topic that is wanted, live or being deleted; NULL if none has that name. */
struct topic *run_topic_find(struct run *r, struct slice name);
struct topic *run_topic_new(struct run *r, const char *name, int32_t partitions, int32_t min_isr, bool flush, bool churn);

/* ---- run.c ---- */
/* *progress_us follows virtual time, for whoever watches this process. */
void run_seed(const struct options *opt, uint64_t seed, volatile int64_t *progress_us, struct result *ret_res);
/* The first one counts; the run ends after the current event. */
void run_violation(struct run *r, const char *check, const char *fmt, ...) PRINTF_LIKE(3, 4);
static inline bool run_over(const struct run *r) { return r->res.outcome != OUTCOME_CLEAN; }

/* ---- cluster.c: the daemons ---- */
#define BROKER_PORT 9092
int32_t cluster_broker_id_of(int idx);
int cluster_broker_index_of(int32_t id); /* -1 unknown */
const char *cluster_broker_ip(struct run *r, int idx);
struct sim_host *cluster_broker_host(struct run *r, int idx);
struct sim_process *cluster_broker_process(struct run *r, int idx); /* NULL or dead: not running */
struct sim_host *cluster_controller_host(struct run *r, int idx);
struct sim_process *cluster_controller_process(struct run *r, int idx);
void cluster_init(struct run *r);
void cluster_free(struct run *r);
void cluster_broker_kill(struct run *r, int idx, int64_t restart_after_us);
void cluster_broker_power_cut(struct run *r, int idx, int64_t restart_after_us);
void cluster_broker_term(struct run *r, int idx, int64_t restart_after_us);
void cluster_controller_kill(struct run *r, int idx, int64_t restart_after_us);
/* Everything that is down comes up within a second; resumed, powered on. */
void cluster_heal(struct run *r);
bool cluster_broker_is_up(struct run *r, int idx); /* process alive, not paused */
/* For reports: states of all daemons in one line. */
void cluster_describe(struct run *r, struct str *out);

/* ---- faults.c ---- */
void faults_init(struct run *r);
void faults_free(struct run *r);
void faults_heal(struct run *r);

/* ---- client_admin.c: topics ---- */
void admin_init(struct run *r);
void admin_free(struct run *r);
void admin_churn(struct run *r); /* creates or deletes some topic */
bool admin_idle(struct run *r);

/* ---- client_producer.c, client_consumer.c ---- */
void sim_producers_init(struct run *r);
/* One more, for a churn topic. */
void sim_producer_for(struct run *r, struct topic *only);
void sim_producers_free(struct run *r);
/* Everything that was taken is answered, and something was acknowledged since the healing. *ret_what names one that is not. */
bool sim_producers_settled(struct run *r, struct str *what);
void sim_consumers_init(struct run *r);
void sim_consumers_free(struct run *r);
void sim_consumers_audit(struct run *r); /* starts one more, which reads everything from the start */
/* Position of the slowest consumer in tp; INT64_MAX if nobody reads it. */
int64_t sim_consumers_position(struct run *r, int32_t tp);

/* ---- client_group.c: members of groups; client_committer.c: committers without membership, and the admin of groups ---- */
void sim_members_init(struct run *r);
void sim_members_free(struct run *r);
void sim_members_heal(struct run *r); /* who is away comes back; from now on nobody goes */
/* Each group is stable in one generation, its members own every partition, have read to the end and committed that. */
bool sim_members_settled(struct run *r, struct str *what);
void sim_committers_init(struct run *r);
void sim_committers_free(struct run *r);
/* Another broker leads this partition of the offsets topic: it is asked for what is committed the moment it begins, and while it loads. */
void sim_committers_probe(struct run *r, int32_t tp);
bool sim_committers_settled(struct run *r, struct str *what); /* everything that was committed was read back since the quiet */
