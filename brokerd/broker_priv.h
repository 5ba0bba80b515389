/* broker_priv.h: for brokerd/broker.c and brokerd/status.c: how the parts of a broker hang together. */
#pragma once

#include "brokerd/api/api.h"
#include "brokerd/broker.h"
#include "brokerd/config/running.h"
#include "brokerd/fetch/fetch.h"
#include "brokerd/group/coordinator.h"
#include "brokerd/life/life.h"
#include "brokerd/link/ctl.h"
#include "brokerd/net/net.h"
#include "brokerd/replica/shard.h"
#include "common/base/version.h"

#define STATUS_IO 74

enum broker_phase { PHASE_STARTING, PHASE_RECOVERING, PHASE_JOINING, PHASE_SERVING, PHASE_STOPPING };

struct ping { /* control loop -> data loop -> control loop: how late that loop is (protocol.md A1) */
	struct msg msg;
	struct broker *broker;
	uint32_t idx;
	bool out;
	int64_t sent_us;
	/* numbers of the loop's own parts, taken on that loop */
	struct net_stats net_stats;
	struct api_stats_row counts[API_STATS_ROWS];
	uint32_t count_rows;
	struct coordinator_stats groups;
};

struct data_loop {
	struct loop *loop;
	struct shard *shard;
	struct coordinator *coordinator;
	struct fetch_home *home;
	struct net_loop *net;
	struct api *api;
	struct running_seat running;
	uint64_t limits_version;  /* of the configs whose connection limits are set, and one more; 0 none */
	struct ping ping;
	uint32_t farewells;       /* loops whose coordinator has given its last answers to this one */
	struct shard_order_msg stats_order;
	bool stats_out;
	/* as of the last answers */
	struct shard_stats stats;
	struct shard_topic_row *topics;
	uint32_t topic_count;
	struct net_stats net_stats;
	struct api_stats_row counts[API_STATS_ROWS];
	uint32_t count_rows;
	struct coordinator_stats groups;
};

struct broker {
	struct env *env;
	struct loop *control;
	const struct broker_config *cfg; /* own */
	struct broker_config own;        /* the caller's, to whom belongs what it points to; and the id, before there are data loops */
	struct log_dirs *dirs;           /* once the id is known */
	uint32_t loop_count;
	struct data_loop *loops;
	struct shard **shards;
	struct coordinator **coordinators;
	struct fetch_home **homes;
	struct net_loop **nets;
	struct net_limits *limits;
	struct shard_host host;
	struct ask_services services;
	struct registration *reg;
	struct identity *identity;       /* NULL: the file says the id */
	struct ctl *ctl;
	struct checkpoints *checkpoints;
	struct http *http;
	struct lag *lag;
	struct lost *lost;
	uint64_t incarnation;

	enum broker_phase phase;
	bool listening, admitted, fenced;
	char reason[256];
	char shown[16];          /* state last shown */
	int64_t shown_since_ms;
	int64_t broker_epoch, boot_epoch;
	char cluster_id[64];
	_Atomic int64_t recovered_bytes;
	uint64_t found_bytes;
	uint32_t loads_left, loads_total;
	uint32_t *load_next;     /* per directory: the next of its logs that is to be loaded */
	struct ctl_replica *inventory;
	uint32_t inventory_count;
	size_t inventory_cap;

	struct list rounds;      /* images on their way through the shards, oldest first */
	struct timer tick;
	int64_t last_tick_us;
	int64_t suspended_us;    /* since when acks 0/1 are suspended (B4); 0 = not */
	struct timer stop_timer;
	int64_t stop_began_us;
	uint32_t stop_left;
	bool leaving;            /* nothing is served any more */
	uint32_t stop_loops;     /* whose connections are not closed yet */
	bool status_standing, status_writing;
	int64_t status_written_ms;
	uint32_t status_turn;    /* topics are asked for every fifth time */
	struct str status_last;
	struct job open_job, confirm_job, space_job;
	int confirm_err;
	bool space_out;
	struct log_dirs *opened;
	int open_err;
	char *open_why;
};

/* lag.c: consumer lag for /metrics */
struct lag *lag_new(struct broker *b); /* once there are loops */
void lag_round(struct lag *g);         /* no effect while one is under way */
void lag_metrics(const struct lag *g, struct str *o);
void lag_free(struct lag *g);

/* lost.c: log directories that fail */
struct lost *lost_new(struct broker *b); /* once there are directories and loops */
void lost_look(struct lost *x);          /* often, and when somebody says that one failed */
void lost_free(struct lost *x);

/* status.c */
void broker_status_tick(struct broker *b);     /* each second */
void broker_status_new_session(struct broker *b);
struct shard_stats broker_sum(const struct broker *b);
void broker_topics_drop(struct data_loop *d);
