/* image.h: the metadata image: what this broker knows of the cluster (design.md 3, protocol.md C7).
 *
 * Immutable and refcounted. The control loop builds the next image from a delta (sharing what did not change) and posts the pointer to
 * every loop; a request uses one image from start to end. Position = (controller_epoch, seq); only ever replaced by a newer one.
 * Thread: building on the control loop; reading and ref/unref anywhere.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/slice.h"
#include "common/base/uuid.h"

struct image_endpoint {
	char *listener, *host, *security;
	uint16_t port;
};
struct image_broker {
	atomic_uint refs;
	int32_t id;
	int64_t broker_epoch; /* of its registration */
	int64_t boot_epoch;   /* of the first registration of its process: its life (D2) */
	bool available;      /* shown to clients, electable */
	bool shutting_down;
	char *rack;          /* NULL none */
	struct image_endpoint *endpoints;
	uint32_t endpoint_count;
};
struct image_ids { int32_t *ids; int32_t count; };
struct image_partition {
	int32_t leader, leader_epoch, partition_epoch, min_isr;
	int8_t recovery_state;
	struct image_ids replicas, isr, adding, removing, elr, lossy, fresh;
	struct image_ids offline; /* brokers whose log directory of it failed */
};
struct image_config { char *key, *value; };
struct image_topic {
	atomic_uint refs;
	char *name;
	struct uuid id;
	struct image_partition *partitions; /* [0, partition_count); a hole has replicas.count == 0 */
	int32_t partition_count;
	struct image_config *config;        /* overrides, sorted by key */
	uint32_t config_count;
	bool internal;
};

struct image; /* opaque but for these */
int32_t image_controller_epoch(const struct image *im);
uint64_t image_seq(const struct image *im);
static inline bool image_is_older(const struct image *a, const struct image *b)
{
	return image_controller_epoch(a) != image_controller_epoch(b) ? image_controller_epoch(a) < image_controller_epoch(b) : image_seq(a) < image_seq(b);
}
const char *image_cluster_id(const struct image *im);  /* "" until known */
int32_t image_controller_broker(const struct image *im); /* -1 none (J1) */

struct image *image_empty(void);
struct image *image_ref(struct image *im);
void image_unref(struct image *im); /* NULL is fine */
/* Unrefs in slices, for the last holder of a whole image: true when it is gone, false: call again later. Nothing else may be done with it meanwhile. */
MUST_CHECK bool image_drop_some(struct image *im, uint32_t partitions);

const struct image_broker *image_find_broker(const struct image *im, int32_t id); /* NULL if unknown */
uint32_t image_broker_count(const struct image *im);
const struct image_broker *image_broker_at(const struct image *im, uint32_t i); /* ascending ids */
const struct image_endpoint *image_broker_endpoint(const struct image_broker *b, const char *listener); /* NULL */
const struct image_topic *image_find_topic(const struct image *im, struct slice name);
const struct image_topic *image_find_topic_id(const struct image *im, const struct uuid *id);
static inline const struct image_partition *image_topic_partition(const struct image_topic *t, int32_t p)
{
	return t && p >= 0 && p < t->partition_count && t->partitions[p].replicas.count > 0 ? &t->partitions[p] : 0;
}
uint32_t image_topic_count(const struct image *im);
/* All topics in a fixed order (by name); stops when fn returns false. */
void image_each_topic(const struct image *im, bool (*fn)(void *ctx, const struct image_topic *t), void *ctx);
const char *image_topic_config(const struct image_topic *t, const char *key); /* override or NULL */
/* Dynamic broker config: entity "brokers/1" or "brokers/<default>"; NULL if not set. */
const char *image_entity_config(const struct image *im, const char *entity, const char *key);
/* Greater with each delta or snapshot that brought dynamic broker configs; 0 before the first. */
uint64_t image_configs_version(const struct image *im);

bool image_ids_has(const struct image_ids *s, int32_t id);

/* What changed from one image to the next. */
struct image_change {
	const struct image_topic *topic; /* of the new image; of the old one when it is gone. Held by the changes until image_changes_free */
	int32_t partition;
	bool removed;        /* named by a remove delta: the replica may go (protocol.md K1). Absence in a snapshot is never a removal */
};
/* A removed topic that the former image did not know: its replicas may lie on disk (the broker was away when it was deleted, K1). */
struct image_gone {
	struct uuid id;
	char *name;
};
struct image_changes {
	struct image_change *items;
	uint32_t count;
	struct image_gone *gone;
	uint32_t gone_count;
	bool brokers_changed, configs_changed; /* configs: of brokers; a topic's names all of its partitions */
};
void image_changes_free(struct image_changes *c);
/* Adds a removal of one partition of a topic that no image knows. */
void image_changes_add_removed(struct image_changes *c, const struct image_gone *topic, int32_t partition);

struct Klamm__Control__Changes;
/* A delta on top of `base`. ERR_CORRUPT: the delta makes no sense (the caller asks for a snapshot). A delta that is not newer than base is refused
 * with ERR_STALE (applied twice: nothing happens). Per partition only (leader epoch, partition epoch) >= its own is taken (C6). */
MUST_CHECK int image_apply(struct image *base, int32_t controller_epoch, uint64_t seq, const struct Klamm__Control__Changes *ch,
	struct image **ret_image, struct image_changes *ret_changes);
/* A snapshot in slices (G3): what the parts say is put together as they come, then compared with the image that is known by then, some partitions at a
 * time; that image serves meanwhile. With another base than at the last call the comparison begins anew. After a failure: only free. */
struct image_snapshot;
struct image_snapshot *image_snapshot_new(void);
MUST_CHECK int image_snapshot_add(struct image_snapshot *s, const struct Klamm__Control__Changes *part); /* ERR_CORRUPT */
MUST_CHECK bool image_snapshot_compare(struct image_snapshot *s, struct image *base, uint32_t partitions); /* true: it is done */
/* After that: as image_apply, on the base of the last comparison. */
MUST_CHECK int image_snapshot_take(struct image_snapshot *s, int32_t controller_epoch, uint64_t seq, struct image **ret_image, struct image_changes *ret_changes);
void image_snapshot_free(struct image_snapshot *s); /* NULL is fine */
/* A snapshot at once: everything it holds, applied as a difference (C7). Topics that are absent stay known to the log layer (K2). */
MUST_CHECK int image_apply_snapshot(struct image *base, int32_t controller_epoch, uint64_t seq, const struct Klamm__Control__Changes *const *parts, uint32_t part_count,
	struct image **ret_image, struct image_changes *ret_changes);

/* The one place that says which data loop owns a partition (protocol.md I1). */
uint32_t partition_owner(uint64_t hash_seed, const struct uuid *topic_id, struct slice topic, int32_t partition, uint32_t loops);
