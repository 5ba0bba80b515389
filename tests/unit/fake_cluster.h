/* fake_cluster.h: whole controllers in the simulated world, with brokers that are as small as the control link allows: they register, say hello,
 * beat, apply what they are told, and remember it over deaths as a log directory would. They check that no state is published before ZooKeeper has it.
 * For tests of controllerd. */
#pragma once

#include "common/base/uuid.h"
#include "common/env/sim/sim.h"
#include "controllerd/controller.h"

enum { CONTROL_PORT = 19090, KAFKA_PORT = 9092, PARTS = 1024, BROKERS_MAX = 4, SECOND = 1000000 };

struct fake_world;

struct part_view {
	char topic[64];
	uint8_t id[16];
	int32_t partition, leader, leader_epoch, partition_epoch, min_isr, isr[8], isr_count, fresh;
};
struct fake_link {
	struct fake *f;
	int controller;
	struct link *l;
	bool open;
};
struct fake {
	struct fake_world *w;
	struct env *env;
	struct loop *loop;
	int32_t id;
	struct zk *zk;
	struct listener *ln;
	struct timer beat;
	int64_t boot_epoch, broker_epoch;
	bool lossy, mute, registered, admitted, leaving;
	struct fake_link links[2];
	int32_t active, epoch; /* index of the active controller; its epoch */
	uint64_t seq, beats, deltas, snapshots, stale;
	struct part_view parts[PARTS];
	int part_count, removed;
	char reply[65536];
	int reply_len, reply_error;
	uint64_t reply_number, reply_seq; /* reply_seq: how far its image was when the reply came */
	int64_t pid_first;
	int shutdown_remaining, rejections;
	char refused[128];
	uint32_t stall_ms;     /* as its heartbeats say */
	bool suspended;        /* as their answers say; confirmed: with a seq */
	uint64_t confirmed;
};

struct fake_world {
	struct sim_world *sim;
	struct sim_host *controllers[2], *brokers[BROKERS_MAX];
	struct sim_process *cp[2], *bp[BROKERS_MAX];
	struct controller_config cfg[2];
	struct str zk, host[2];
	bool broker_lossy[BROKERS_MAX];
	const char *cluster_id; /* in hellos; NULL: not known */
	bool broker_dir_offline[BROKERS_MAX]; /* its hellos name a directory that cannot be looked into, and no logs */
	int64_t boot[BROKERS_MAX];
	struct sim_program cprog[2], bprog[BROKERS_MAX];
	struct { struct fake_world *w; int idx; } args[2 + BROKERS_MAX];
	struct part_view disk[BROKERS_MAX][PARTS]; /* what the brokers' logs hold: outlives processes */
	int disk_count[BROKERS_MAX];
};

/* ---- the world: two controllers, up to BROKERS_MAX brokers, none of them started ---- */

struct fake_world *fake_world_new(uint64_t seed);
void fake_world_free(struct fake_world *w);
void fake_start_controller(struct fake_world *w, int i);
void fake_start_broker(struct fake_world *w, int id);
void fake_run_ms(struct fake_world *w, int64_t ms);
struct fake *fake_broker(struct fake_world *w, int id);
struct part_view *fake_view(struct fake *f, const char *topic, int32_t partition);
bool fake_active(struct fake_world *w, int i, struct controller_view *v);
int fake_active_idx(struct fake_world *w);
/* All of it started and ready. */
struct fake_world *fake_cluster(uint64_t seed, int brokers);
bool fake_zk_text(struct fake_world *w, const char *path, struct str *out);
bool fake_zk_there(struct fake_world *w, const char *path);
struct fake_state { int32_t leader, leader_epoch, controller_epoch, version, isr[8], isr_count; bool there; };
struct fake_state fake_state_of(struct fake_world *w, const char *topic, int32_t partition);

/* ---- requests of clients, forwarded by broker `id`; number: to tell replies apart ---- */

void fake_ask(struct fake_world *w, int id, int16_t api, int16_t version, const void *msg, uint64_t number);
void fake_ask_create(struct fake_world *w, int id, const char *topic, int32_t partitions, int16_t rf, uint64_t number, const char *key, const char *value);
/* Its error code. */
int16_t fake_created(struct fake_world *w, int id, uint64_t number, int64_t within_ms);
int16_t fake_create(struct fake_world *w, const char *topic, int32_t partitions, int16_t rf);
/* The leader proposes an ISR. */
void fake_alter(struct fake_world *w, const char *topic, int32_t partition, const int32_t *isr, int32_t n);
/* The broker has removed one replica of a deleted topic; by themselves these brokers never say so. */
void fake_deletion_done(struct fake_world *w, int id, const struct uuid *topic);
/* For sim_process_run on a broker, ctx its struct fake. */
void fake_ask_pids(void *ctx);
void fake_ask_shutdown(void *ctx);
