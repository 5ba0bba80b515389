/* checks.h: what must hold, and the bookkeeping for it. Never switched off.
 *
 * Names, as VIOLATION prints them:
 *   durability       an acknowledged record (acks=all) is gone, and not every replica of its ISR lost it by a power cut
 *   read-gone        a record that a consumer got is gone or another one stands there, without that excuse
 *   duplicate        a record of an idempotent producer stands in the log twice
 *   order            records of one producer and partition stand in another order than they were sent
 *   sequence         an idempotent producer was told of a gap although nothing that it had acknowledged was lost
 *   refused          a well-formed request got an answer that no fault explains
 *   one-leader       two brokers lead one partition in one epoch
 *   epoch-back       the leader epoch of a partition in ZooKeeper went back
 *   isr              ISR empty, not within the replicas, or without the leader
 *   log-matching     two replicas (or a replica and a reader) have different records at one offset of one epoch
 *   prefix           replicas differ below their common end when everything is quiet
 *   high-watermark   it went back within one leader epoch, as seen on one connection
 *   idle             (by the runner) somebody is busy although everything is quiet
 *   daemon-exit      a daemon ended by itself with a status that no fault explains
 *   assertion        (by the runner) the process died
 *
 * The excuse, exactly contract.md's durability promise: a record may be lost only if every replica that was in the ISR when it was
 * acknowledged lost it by a power cut before syncing it. At each power cut the logs on disk are compared before and after; what
 * is gone is marked for that replica, together with who still has it. A record is excused when at one of those moments all
 * members of an ISR that was in force between its sending and its acknowledgement had lost it that way and none had it (again).
 * min.insync.replicas=1: protocol.md E3 takes the last leader as Kafka does once all of the ISR are lossy, without comparing logs: see
 * excused_min_one.
 * flush.messages=1: no excuse.
 */
#pragma once

#include "tests/sim/harness.h"

void checks_init(struct run *r);
void checks_free(struct run *r);
void checks_poll(struct run *r); /* znodes: ISR history, leaders, epochs */

/* Ids of records are 1.. ; they are the first 8 bytes of the value. */
uint64_t checks_record(struct run *r, int producer, int32_t tp, int8_t acks, bool idempotent);
void checks_resequenced(struct run *r, uint64_t id); /* sent again under a new producer epoch: duplicate and order are not looked at */
void checks_acked(struct run *r, int32_t tp, uint64_t first_id, int32_t count, int64_t base_offset, int64_t sent_us);
void checks_read(struct run *r, int32_t tp, int64_t offset, int32_t epoch, uint64_t id, int64_t sent_us);
void checks_leader(struct run *r, int32_t tp, int32_t epoch, int32_t broker);
/* A gap was reported in front of record `id`; last_acked_id 0: none was acknowledged. Judged at the end. */
void checks_gap(struct run *r, uint64_t id, uint64_t last_acked_id);

/* Cuts the power of a broker's host and notes what that lost. */
void checks_power_cut(struct run *r, int broker);
/* All replicas of all live topics have equal logs, their ends equal to what the consumers have read. */
bool checks_converged(struct run *r, struct str *what);
/* All partitions have a leader and a full ISR. */
bool checks_available(struct run *r, struct str *what);
void checks_final(struct run *r);
/* A replica's log on disk: calls fn for each record below the first thing that is not a whole, valid batch. */
typedef void checks_record_fn(void *ctx, int64_t offset, int32_t epoch, uint64_t id);
int64_t checks_disk_log(struct run *r, int broker, int32_t tp, checks_record_fn *fn, void *ctx); /* end offset, -1 no log */
