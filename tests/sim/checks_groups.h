/* checks_groups.h: what must hold for consumer groups and committed offsets. Never switched off.
 *
 * Names, as VIOLATION prints them:
 *   commit-lost      an acknowledged commit is not in the log of its partition of __consumer_offsets, without the excuse of checks.h
 *   commit-gone      OffsetFetch gave nothing, or a commit that is not in the log, although a later one (or one at all) stood
 *   commit-back      OffsetFetch gave a commit that another one had replaced before; or a member of a later generation committed below what
 *                    members of earlier ones had (it went on behind its predecessor)
 *   commit-value     a commit came back, or stands in the log, with other contents than were sent, or nobody sent it
 *   fenced           a commit of an older generation was acknowledged after the first SyncGroup answer of a newer one was seen; or it stands
 *                    in the log behind one; or one that was made to be refused (see group_checks_forbid) was acknowledged, or stands in the log
 *   owner            two members own one partition in one generation
 *   member-id        one member id was given to two members
 *   generation       generations of a living group went back in the log
 *   assignment       SyncGroup gave an assignment that is not stored with that generation
 *
 * How: every commit carries a number in its metadata, so that the log of the offsets topic, read from a disk at the end, gives the order in
 * which the commits of one key (group, topic, partition) took effect. An acknowledgement, an OffsetFetch answer, an acknowledged deletion
 * each say: at some moment between request and answer the key had this value. The moments are placed in the order of the log, each not
 * before any that had ended when it began; where that fails, something was taken back. Commits that no client heard of may stand or not.
 * What a power cut may excuse: a commit like any record (checks.h). Deletions and group records are not followed one by one: they are
 * excused when at some power cut all of an ISR had lost something of that partition.
 *
 * What Kafka promises about generations and we hold it to: a generation counts from its first SyncGroup answer on (it is stored then). Joins
 * may name generations that never come to that, and, over a change of coordinator, the same one twice. A commit is accepted for a
 * generation until the next one is complete, so it stands in the log in front of the group's record of any newer one.
 * Heartbeats, joins and syncs may be answered by a deposed coordinator that does not know it yet: they promise nothing but what was stored.
 * So may OffsetFetch (reads need no lease: protocol.md B6): it then gives something that stood once, maybe not the newest.
 */
#pragma once

#include "common/base/slice.h"
#include "tests/sim/harness.h"

void group_checks_init(struct run *r);
void group_checks_free(struct run *r);

/* members: it has members (else commits without membership only); deletable: somebody may delete it while nobody is in it. Gives its number. */
int group_checks_add(struct run *r, const char *name, bool members, bool deletable);
const char *group_checks_name(struct run *r, int group);
int group_checks_count(struct run *r);
int32_t group_checks_tp(struct run *r, int group); /* its partition of the offsets topic */
bool group_checks_has_members(struct run *r, int group);
bool group_checks_deletable(struct run *r, int group);

/* A commit of one partition is about to be sent; its number, for the metadata. generation -1: without membership. rewound: the committer was
 * sent back by the partition itself (out of range), so that its offset may be lower than others before. */
uint64_t group_checks_commit(struct run *r, int group, int32_t tp, int64_t offset, int32_t leader_epoch, int32_t generation, bool rewound);
/* That commit is by somebody who is no member, or of a generation that its sender knows to be over: nobody may take it. */
void group_checks_forbid(struct run *r, uint64_t id);
void group_checks_committed(struct run *r, uint64_t id, int64_t sent_us);
/* A good answer of `broker` to OffsetFetch; offset -1: none. leader_epoch -2: the answer's version has none. */
void group_checks_fetched(struct run *r, int group, int32_t broker, int32_t tp, int64_t offset, int32_t leader_epoch, struct slice metadata, int64_t sent_us);
/* The key was deleted, or its group was, or there is no such group. */
void group_checks_deleted(struct run *r, int group, int32_t tp, int64_t sent_us);
/* process: a number that belongs to one life of one member. */
void group_checks_member_id(struct run *r, int group, struct slice id, int process);
void group_checks_synced(struct run *r, int group, int32_t generation, struct slice member, struct slice instance, struct slice assignment);
/* OffsetFetch has been answered for every key of the group since the quiet, and since its last commit. */
bool group_checks_read_back(struct run *r, int group, struct str *what);

/* At the end, when the logs are equal: judges all of it by the offsets topic's logs. Called by checks_final. */
void group_checks_final(struct run *r);
