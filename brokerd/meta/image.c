/* image.c: building and reading the metadata image.
 *
 * An image holds two hash tables (by name, by id) of buckets; a bucket is a refcounted array of refcounted topics. A delta copies the tables of
 * pointers and only the buckets it touches, so that its cost follows what changed. The number of buckets follows the number of topics.
 */
#include "brokerd/meta/image.h"

#include <stdlib.h>
#include <xxhash.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "proto/klamm/control.pb-c.h"

#define TOPICS_PER_BUCKET 8

typedef Klamm__Control__Changes pb_changes;
typedef Klamm__Control__Topic pb_topic;
typedef Klamm__Control__Partition pb_partition;
typedef Klamm__Control__Broker pb_broker;

struct bucket {
	atomic_uint refs;
	uint32_t count;
	struct image_topic *topics[];
};

struct entity {
	char *name;
	struct image_config *config;
	uint32_t count;
};

struct entities {
	atomic_uint refs;
	uint32_t count;
	struct entity items[];
};

struct image {
	atomic_uint refs;
	int32_t controller_epoch;
	uint64_t seq;
	char *cluster_id;
	int32_t controller_broker;
	struct image_broker **brokers;
	uint32_t broker_count;
	struct bucket **by_name, **by_id;
	uint32_t bucket_count; /* power of two */
	uint32_t topic_count;
	struct entities *entities; /* NULL = none */
	uint64_t configs_version;
	bool building; /* nobody else has any of it yet */
};

/* ---- small parts ---- */

static bool drop_ref(atomic_uint *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

static void ids_free(struct image_ids *s)
{
	mem_free(s->ids);
}

static void configs_free(struct image_config *c, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		mem_free(c[i].key);
		mem_free(c[i].value);
	}
	mem_free(c);
}

static void partition_fini(struct image_partition *p)
{
	ids_free(&p->replicas);
	ids_free(&p->isr);
	ids_free(&p->adding);
	ids_free(&p->removing);
	ids_free(&p->elr);
	ids_free(&p->lossy);
	ids_free(&p->fresh);
	ids_free(&p->offline);
}

static struct image_topic *topic_ref(struct image_topic *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

static void topic_unref(struct image_topic *t)
{
	if (!t || !drop_ref(&t->refs))
		return;
	for (int32_t i = 0; i < t->partition_count; i++)
		partition_fini(&t->partitions[i]);
	mem_free(t->partitions);
	configs_free(t->config, t->config_count);
	mem_free(t->name);
	mem_free(t);
}

static void broker_unref(struct image_broker *b)
{
	if (!b || !drop_ref(&b->refs))
		return;
	for (uint32_t i = 0; i < b->endpoint_count; i++) {
		mem_free(b->endpoints[i].listener);
		mem_free(b->endpoints[i].host);
		mem_free(b->endpoints[i].security);
	}
	mem_free(b->endpoints);
	mem_free(b->rack);
	mem_free(b);
}

static void bucket_unref(struct bucket *b)
{
	if (!b || !drop_ref(&b->refs))
		return;
	for (uint32_t i = 0; i < b->count; i++)
		topic_unref(b->topics[i]);
	mem_free(b);
}

static struct bucket *bucket_new(uint32_t count)
{
	struct bucket *b = mem_zalloc(sizeof(*b) + count * sizeof(b->topics[0]));
	atomic_init(&b->refs, 1);
	b->count = count;
	return b;
}

static void entities_unref(struct entities *e)
{
	if (!e || !drop_ref(&e->refs))
		return;
	for (uint32_t i = 0; i < e->count; i++) {
		mem_free(e->items[i].name);
		configs_free(e->items[i].config, e->items[i].count);
	}
	mem_free(e);
}

struct image *image_empty(void)
{
	struct image *im = MEM_NEW(struct image);
	atomic_init(&im->refs, 1);
	im->cluster_id = mem_strdup("");
	im->controller_broker = -1;
	im->bucket_count = 4;
	im->by_name = mem_zalloc(sizeof(struct bucket *) * im->bucket_count);
	im->by_id = mem_zalloc(sizeof(struct bucket *) * im->bucket_count);
	return im;
}

struct image *image_ref(struct image *im)
{
	atomic_fetch_add_explicit(&im->refs, 1, memory_order_relaxed);
	return im;
}

void image_unref(struct image *im)
{
	if (!im || !drop_ref(&im->refs))
		return;
	for (uint32_t i = 0; i < im->bucket_count; i++) {
		bucket_unref(im->by_name[i]);
		bucket_unref(im->by_id[i]);
	}
	mem_free(im->by_name);
	mem_free(im->by_id);
	for (uint32_t i = 0; i < im->broker_count; i++)
		broker_unref(im->brokers[i]);
	mem_free(im->brokers);
	entities_unref(im->entities);
	mem_free(im->cluster_id);
	mem_free(im);
}

static uint32_t bucket_drop(struct bucket *b)
{
	uint32_t n = 1;
	for (uint32_t k = 0; b && k < b->count; k++)
		n += 1 + (uint32_t)b->topics[k]->partition_count;
	bucket_unref(b);
	return n;
}

bool image_drop_some(struct image *im, uint32_t partitions)
{
	if (atomic_load_explicit(&im->refs, memory_order_acquire) != 1)
		return false; /* whoever holds it may give it to others */
	for (uint32_t done = 0; im->bucket_count > 0 && done < partitions;) {
		uint32_t i = --im->bucket_count;
		done += bucket_drop(im->by_name[i]) + bucket_drop(im->by_id[i]);
	}
	if (im->bucket_count > 0)
		return false;
	image_unref(im);
	return true;
}

int32_t image_controller_epoch(const struct image *im) { return im->controller_epoch; }
uint64_t image_seq(const struct image *im) { return im->seq; }
const char *image_cluster_id(const struct image *im) { return im->cluster_id; }
int32_t image_controller_broker(const struct image *im) { return im->controller_broker; }
uint32_t image_broker_count(const struct image *im) { return im->broker_count; }
const struct image_broker *image_broker_at(const struct image *im, uint32_t i) { return im->brokers[i]; }
uint32_t image_topic_count(const struct image *im) { return im->topic_count; }

/* ---- look-ups ---- */

static uint32_t name_slot(const struct image *im, const void *name, size_t len)
{
	return (uint32_t)(XXH64(name, len, 1) & (im->bucket_count - 1));
}

static uint32_t id_slot(const struct image *im, const struct uuid *id)
{
	return (uint32_t)(XXH64(id->b, 16, 2) & (im->bucket_count - 1));
}

static struct image_topic *find_name(const struct image *im, struct slice name)
{
	const struct bucket *b = im->by_name[name_slot(im, name.ptr, name.len)];
	for (uint32_t i = 0; b && i < b->count; i++)
		if (slice_eq_str(name, b->topics[i]->name))
			return b->topics[i];
	return NULL;
}

static struct image_topic *find_id(const struct image *im, const struct uuid *id)
{
	if (uuid_is_zero(id))
		return NULL;
	const struct bucket *b = im->by_id[id_slot(im, id)];
	for (uint32_t i = 0; b && i < b->count; i++)
		if (uuid_eq(id, &b->topics[i]->id))
			return b->topics[i];
	return NULL;
}

const struct image_topic *image_find_topic(const struct image *im, struct slice name)
{
	return name.len ? find_name(im, name) : NULL;
}

const struct image_topic *image_find_topic_id(const struct image *im, const struct uuid *id)
{
	return find_id(im, id);
}

static uint32_t broker_pos(const struct image *im, int32_t id)
{
	uint32_t lo = 0, hi = im->broker_count;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (im->brokers[mid]->id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct image_broker *image_find_broker(const struct image *im, int32_t id)
{
	uint32_t pos = broker_pos(im, id);
	return pos < im->broker_count && im->brokers[pos]->id == id ? im->brokers[pos] : NULL;
}

const struct image_endpoint *image_broker_endpoint(const struct image_broker *b, const char *listener)
{
	for (uint32_t i = 0; b && i < b->endpoint_count; i++)
		if (!strcmp(b->endpoints[i].listener, listener))
			return &b->endpoints[i];
	return NULL;
}

static int by_topic_name(const void *a, const void *b)
{
	return strcmp((*(struct image_topic *const *)a)->name, (*(struct image_topic *const *)b)->name);
}

void image_each_topic(const struct image *im, bool (*fn)(void *ctx, const struct image_topic *t), void *ctx)
{
	const struct image_topic **all = mem_alloc(sizeof(*all) * (im->topic_count + 1));
	uint32_t n = 0;
	for (uint32_t i = 0; i < im->bucket_count; i++)
		for (uint32_t k = 0; im->by_name[i] && k < im->by_name[i]->count; k++)
			all[n++] = im->by_name[i]->topics[k];
	qsort(all, n, sizeof(*all), by_topic_name);
	for (uint32_t i = 0; i < n && fn(ctx, all[i]); i++)
		;
	mem_free(all);
}

static const char *config_find(const struct image_config *c, uint32_t count, const char *key)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(c[i].key, key))
			return c[i].value;
	return NULL;
}

const char *image_topic_config(const struct image_topic *t, const char *key)
{
	return config_find(t->config, t->config_count, key);
}

const char *image_entity_config(const struct image *im, const char *entity, const char *key)
{
	for (uint32_t i = 0; im->entities && i < im->entities->count; i++)
		if (!strcmp(im->entities->items[i].name, entity))
			return config_find(im->entities->items[i].config, im->entities->items[i].count, key);
	return NULL;
}

uint64_t image_configs_version(const struct image *im)
{
	return im->configs_version;
}

bool image_ids_has(const struct image_ids *s, int32_t id)
{
	for (int32_t i = 0; i < s->count; i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

uint32_t partition_owner(uint64_t hash_seed, const struct uuid *topic_id, struct slice topic, int32_t partition, uint32_t loops)
{
	/* Partitions of one topic go round the loops, so that a topic of N partitions loads N loops evenly; topics start anywhere.
	 * By name, not by id: a directory found on disk may have no id. */
	(void)topic_id;
	return (uint32_t)((XXH64(topic.ptr, topic.len, hash_seed) + (uint32_t)partition) % loops);
}

/* ---- building ---- */

static struct image_ids ids_copy(const int32_t *ids, size_t count)
{
	struct image_ids s = {NULL, (int32_t)count};
	if (count) {
		s.ids = mem_alloc(count * sizeof(int32_t));
		memcpy(s.ids, ids, count * sizeof(int32_t));
	}
	return s;
}

static void partition_from_pb(struct image_partition *p, const pb_partition *m)
{
	*p = (struct image_partition){
		.leader = m->leader,
		.leader_epoch = m->leader_epoch,
		.partition_epoch = m->partition_epoch,
		.min_isr = m->min_isr > 0 ? m->min_isr : 1,
		.recovery_state = (int8_t)m->recovery_state,
		.replicas = ids_copy(m->replicas, m->n_replicas),
		.isr = ids_copy(m->isr, m->n_isr),
		.adding = ids_copy(m->adding, m->n_adding),
		.removing = ids_copy(m->removing, m->n_removing),
		.elr = ids_copy(m->elr, m->n_elr),
		.lossy = ids_copy(m->lossy, m->n_lossy),
		.fresh = ids_copy(m->fresh, m->n_fresh),
		.offline = ids_copy(m->offline, m->n_offline),
	};
}

static void partition_copy(struct image_partition *to, const struct image_partition *p)
{
	*to = *p;
	to->replicas = ids_copy(p->replicas.ids, (size_t)p->replicas.count);
	to->isr = ids_copy(p->isr.ids, (size_t)p->isr.count);
	to->adding = ids_copy(p->adding.ids, (size_t)p->adding.count);
	to->removing = ids_copy(p->removing.ids, (size_t)p->removing.count);
	to->elr = ids_copy(p->elr.ids, (size_t)p->elr.count);
	to->lossy = ids_copy(p->lossy.ids, (size_t)p->lossy.count);
	to->fresh = ids_copy(p->fresh.ids, (size_t)p->fresh.count);
	to->offline = ids_copy(p->offline.ids, (size_t)p->offline.count);
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct image_config *)a)->key, ((const struct image_config *)b)->key);
}

static struct image_config *configs_from_pb(Klamm__Control__ConfigEntry **entries, size_t n)
{
	if (!n)
		return NULL;
	struct image_config *c = mem_alloc(n * sizeof(*c));
	for (size_t i = 0; i < n; i++)
		c[i] = (struct image_config){mem_strdup(entries[i]->key), mem_strdup(entries[i]->value)};
	qsort(c, n, sizeof(*c), by_key);
	return c;
}

static struct image_broker *broker_from_pb(const pb_broker *m)
{
	struct image_broker *b = MEM_NEW(struct image_broker);
	atomic_init(&b->refs, 1);
	b->id = m->id;
	b->broker_epoch = m->broker_epoch;
	b->boot_epoch = m->boot_epoch;
	b->available = m->available;
	b->shutting_down = m->shutting_down;
	b->rack = m->rack && *m->rack ? mem_strdup(m->rack) : NULL;
	b->endpoint_count = (uint32_t)m->n_endpoints;
	b->endpoints = mem_zalloc(sizeof(*b->endpoints) * (m->n_endpoints + 1));
	for (size_t i = 0; i < m->n_endpoints; i++)
		b->endpoints[i] = (struct image_endpoint){mem_strdup(m->endpoints[i]->listener), mem_strdup(m->endpoints[i]->host),
			mem_strdup(m->endpoints[i]->security), (uint16_t)m->endpoints[i]->port};
	return b;
}

/* A copy that shares all buckets and brokers: refs are taken. */
static struct image *image_clone(const struct image *base)
{
	struct image *im = MEM_NEW(struct image);
	/* field by field: other threads count references of base meanwhile */
	atomic_init(&im->refs, 1);
	im->controller_epoch = base->controller_epoch;
	im->seq = base->seq;
	im->cluster_id = mem_strdup(base->cluster_id);
	im->controller_broker = base->controller_broker;
	im->broker_count = base->broker_count;
	im->bucket_count = base->bucket_count;
	im->topic_count = base->topic_count;
	im->entities = base->entities;
	im->configs_version = base->configs_version;
	im->by_name = mem_alloc(sizeof(struct bucket *) * im->bucket_count);
	im->by_id = mem_alloc(sizeof(struct bucket *) * im->bucket_count);
	for (uint32_t i = 0; i < im->bucket_count; i++) {
		im->by_name[i] = base->by_name[i];
		im->by_id[i] = base->by_id[i];
		if (im->by_name[i])
			atomic_fetch_add_explicit(&im->by_name[i]->refs, 1, memory_order_relaxed);
		if (im->by_id[i])
			atomic_fetch_add_explicit(&im->by_id[i]->refs, 1, memory_order_relaxed);
	}
	im->brokers = mem_alloc(sizeof(*im->brokers) * (im->broker_count + 1));
	for (uint32_t i = 0; i < im->broker_count; i++) {
		im->brokers[i] = base->brokers[i];
		atomic_fetch_add_explicit(&im->brokers[i]->refs, 1, memory_order_relaxed);
	}
	if (im->entities)
		atomic_fetch_add_explicit(&im->entities->refs, 1, memory_order_relaxed);
	return im;
}

/* Replaces `old` by `new` (either may be NULL) in a bucket; takes its own reference on `new`. */
static void bucket_put(struct bucket **slot, struct image_topic *old, struct image_topic *new)
{
	struct bucket *b = *slot;
	uint32_t n = b ? b->count : 0;
	struct bucket *copy = bucket_new(n + (new ? 1 : 0));
	uint32_t k = 0;
	for (uint32_t i = 0; i < n; i++)
		if (b->topics[i] != old)
			copy->topics[k++] = topic_ref(b->topics[i]);
	if (new)
		copy->topics[k++] = topic_ref(new);
	copy->count = k;
	bucket_unref(b);
	if (k == 0) {
		bucket_unref(copy);
		copy = NULL;
	}
	*slot = copy;
}

/* All topics of the `n` buckets by name, in as many buckets as the image has now; each is made once, at its size. */
static struct bucket **spread(const struct image *im, struct bucket *const *from, uint32_t n, bool by_id)
{
	struct bucket **to = mem_zalloc(sizeof(struct bucket *) * im->bucket_count);
	uint32_t *counts = mem_zalloc(sizeof(uint32_t) * im->bucket_count);
	for (int pass = 0; pass < 2; pass++)
		for (uint32_t i = 0; i < n; i++)
			for (uint32_t k = 0; from[i] && k < from[i]->count; k++) {
				struct image_topic *t = from[i]->topics[k];
				if (by_id && uuid_is_zero(&t->id))
					continue;
				uint32_t slot = by_id ? id_slot(im, &t->id) : name_slot(im, t->name, strlen(t->name));
				if (pass == 0) {
					counts[slot]++;
					continue;
				}
				if (!to[slot]) {
					to[slot] = bucket_new(counts[slot]);
					to[slot]->count = 0;
				}
				to[slot]->topics[to[slot]->count++] = topic_ref(t);
			}
	mem_free(counts);
	return to;
}

static void image_rehash(struct image *im, uint32_t buckets)
{
	struct bucket **old = im->by_name, **old_ids = im->by_id;
	uint32_t n = im->bucket_count;
	im->bucket_count = buckets;
	im->by_name = spread(im, old, n, false);
	im->by_id = spread(im, old, n, true);
	for (uint32_t i = 0; i < n; i++) {
		bucket_unref(old[i]);
		bucket_unref(old_ids[i]);
	}
	mem_free(old);
	mem_free(old_ids);
}

/* Replaces old by new in both tables. Takes over the caller's reference on `new`. */
static void image_put_topic(struct image *im, struct image_topic *old, struct image_topic *new)
{
	if (old) {
		topic_ref(old); /* it must outlive its removal from the buckets */
		bucket_put(&im->by_name[name_slot(im, old->name, strlen(old->name))], old, NULL);
		if (!uuid_is_zero(&old->id))
			bucket_put(&im->by_id[id_slot(im, &old->id)], old, NULL);
		im->topic_count--;
		topic_unref(old);
	}
	if (new) {
		bucket_put(&im->by_name[name_slot(im, new->name, strlen(new->name))], NULL, new);
		if (!uuid_is_zero(&new->id))
			bucket_put(&im->by_id[id_slot(im, &new->id)], NULL, new);
		im->topic_count++;
		if (im->topic_count > im->bucket_count * TOPICS_PER_BUCKET)
			image_rehash(im, im->bucket_count * 4);
		topic_unref(new);
	}
}

static void changes_add(struct image_changes *c, size_t *cap, const struct image_topic *t, int32_t p, bool removed)
{
	size_t n = c->count;
	MEM_GROW(c->items, *cap, n + 1);
	/* The change keeps the topic alive on its own: it may stand in neither of the images that the reader holds. */
	c->items[c->count++] = (struct image_change){topic_ref((struct image_topic *)(uintptr_t)t), p, removed};
}

void image_changes_free(struct image_changes *c)
{
	for (uint32_t i = 0; i < c->count; i++)
		topic_unref((struct image_topic *)(uintptr_t)c->items[i].topic);
	mem_free(c->items);
	for (uint32_t i = 0; i < c->gone_count; i++)
		mem_free(c->gone[i].name);
	mem_free(c->gone);
	*c = (struct image_changes){0};
}

void image_changes_add_removed(struct image_changes *c, const struct image_gone *topic, int32_t partition)
{
	struct image_topic *t = MEM_NEW(struct image_topic);
	atomic_init(&t->refs, 1);
	t->name = mem_strdup(topic->name);
	t->id = topic->id;
	c->items = mem_realloc(c->items, sizeof(*c->items) * (c->count + 1));
	c->items[c->count++] = (struct image_change){t, partition, true};
}

static void gone_add(struct image_changes *c, const struct uuid *id, const char *name)
{
	c->gone = mem_realloc(c->gone, sizeof(*c->gone) * (c->gone_count + 1));
	c->gone[c->gone_count++] = (struct image_gone){*id, mem_strdup(name)};
}

static struct uuid removed_id(const Klamm__Control__RemovedTopic *r)
{
	struct uuid id = {{0}};
	if (r->topic_id.len == 16)
		memcpy(id.b, r->topic_id.data, 16);
	return id;
}

static void changes_add_all(struct image_changes *c, size_t *cap, const struct image_topic *t, bool removed)
{
	for (int32_t p = 0; p < t->partition_count; p++)
		if (t->partitions[p].replicas.count)
			changes_add(c, cap, t, p, removed);
}

static bool newer_or_same(const pb_partition *m, const struct image_partition *have)
{
	if (m->leader_epoch != have->leader_epoch)
		return m->leader_epoch > have->leader_epoch;
	return m->partition_epoch >= have->partition_epoch;
}

static int topic_check(const pb_topic *m)
{
	if (m->topic_id.len != 0 && m->topic_id.len != 16)
		return ERR_CORRUPT;
	size_t len = strlen(m->name);
	if (len == 0 || len > 249)
		return ERR_CORRUPT;
	for (size_t i = 0; i < m->n_partitions; i++)
		if (m->partitions[i]->partition < 0 || m->partitions[i]->partition > 200000 || m->partitions[i]->n_replicas == 0)
			return ERR_CORRUPT;
	return 0;
}

static int apply_topic(struct image *im, const pb_topic *m, struct image_changes *ch, size_t *cap)
{
	int err = topic_check(m);
	if (err)
		return err;
	struct uuid id = {{0}};
	if (m->topic_id.len)
		memcpy(id.b, m->topic_id.data, 16);
	struct image_topic *old = find_name(im, slice_str(m->name));
	bool same = old && (uuid_eq(&old->id, &id) || uuid_is_zero(&old->id));
	if (old && !same) { /* created again under its name: the old one is not removed here (K2), only no longer assigned */
		changes_add_all(ch, cap, old, false);
		image_put_topic(im, old, NULL);
		old = NULL;
	}
	if (!old && !m->full)
		return ERR_CORRUPT; /* a part of a topic that we never saw: the stream has a hole */
	int32_t count = old ? old->partition_count : 0;
	for (size_t i = 0; i < m->n_partitions; i++)
		if (m->partitions[i]->partition >= count)
			count = m->partitions[i]->partition + 1;

	struct image_topic *t = MEM_NEW(struct image_topic);
	atomic_init(&t->refs, 1);
	t->name = mem_strdup(m->name);
	t->id = id;
	t->internal = !strcmp(m->name, "__consumer_offsets") || !strcmp(m->name, "__transaction_state");
	t->partition_count = count;
	t->partitions = mem_zalloc(sizeof(*t->partitions) * (size_t)(count + 1));
	for (int32_t p = 0; old && p < old->partition_count && !im->building; p++)
		partition_copy(&t->partitions[p], &old->partitions[p]);
	if (old && im->building) { /* a large topic comes in many parts */
		memcpy(t->partitions, old->partitions, sizeof(*t->partitions) * (size_t)old->partition_count);
		old->partition_count = 0;
	}
	if (m->config_set || !old) {
		t->config = configs_from_pb(m->config, m->n_config);
		t->config_count = (uint32_t)m->n_config;
	} else {
		t->config_count = old->config_count;
		t->config = mem_alloc(sizeof(*t->config) * (old->config_count + 1));
		for (uint32_t i = 0; i < old->config_count; i++)
			t->config[i] = (struct image_config){mem_strdup(old->config[i].key), mem_strdup(old->config[i].value)};
	}
	bool whole = old && m->config_set; /* a config change concerns every partition */
	for (size_t i = 0; i < m->n_partitions; i++) {
		const pb_partition *pm = m->partitions[i];
		struct image_partition *p = &t->partitions[pm->partition];
		if (p->replicas.count && !newer_or_same(pm, p))
			continue;
		partition_fini(p);
		partition_from_pb(p, pm);
		if (!whole)
			changes_add(ch, cap, t, pm->partition, false);
	}
	if (whole)
		changes_add_all(ch, cap, t, false);
	image_put_topic(im, old, t);
	return 0;
}

static void apply_broker(struct image *im, const pb_broker *m)
{
	uint32_t pos = broker_pos(im, m->id);
	struct image_broker *b = broker_from_pb(m);
	if (pos < im->broker_count && im->brokers[pos]->id == m->id) {
		broker_unref(im->brokers[pos]);
		im->brokers[pos] = b;
		return;
	}
	im->brokers = mem_realloc(im->brokers, sizeof(*im->brokers) * (im->broker_count + 2));
	memmove(&im->brokers[pos + 1], &im->brokers[pos], sizeof(*im->brokers) * (im->broker_count - pos));
	im->brokers[pos] = b;
	im->broker_count++;
}

static void remove_broker(struct image *im, int32_t id)
{
	uint32_t pos = broker_pos(im, id);
	if (pos >= im->broker_count || im->brokers[pos]->id != id)
		return;
	broker_unref(im->brokers[pos]);
	memmove(&im->brokers[pos], &im->brokers[pos + 1], sizeof(*im->brokers) * (im->broker_count - pos - 1));
	im->broker_count--;
}

static void apply_entities(struct image *im, const pb_changes *ch)
{
	if (!ch->n_configs)
		return;
	uint32_t have = im->entities ? im->entities->count : 0;
	struct entities *e = mem_zalloc(sizeof(*e) + sizeof(struct entity) * (have + ch->n_configs));
	atomic_init(&e->refs, 1);
	for (uint32_t i = 0; i < have; i++) {
		const struct entity *o = &im->entities->items[i];
		bool replaced = false;
		for (size_t k = 0; k < ch->n_configs; k++)
			replaced |= !strcmp(ch->configs[k]->entity, o->name);
		if (replaced)
			continue;
		struct entity *n = &e->items[e->count++];
		n->name = mem_strdup(o->name);
		n->count = o->count;
		n->config = mem_alloc(sizeof(*n->config) * (o->count + 1));
		for (uint32_t k = 0; k < o->count; k++)
			n->config[k] = (struct image_config){mem_strdup(o->config[k].key), mem_strdup(o->config[k].value)};
	}
	for (size_t k = 0; k < ch->n_configs; k++) {
		if (!ch->configs[k]->n_config)
			continue;
		struct entity *n = &e->items[e->count++];
		n->name = mem_strdup(ch->configs[k]->entity);
		n->config = configs_from_pb(ch->configs[k]->config, ch->configs[k]->n_config);
		n->count = (uint32_t)ch->configs[k]->n_config;
	}
	entities_unref(im->entities);
	im->entities = e;
	im->configs_version++;
}

static int apply_changes(struct image *im, const pb_changes *ch, struct image_changes *out, size_t *cap)
{
	for (size_t i = 0; i < ch->n_removed_topics; i++) {
		const Klamm__Control__RemovedTopic *r = ch->removed_topics[i];
		struct uuid id = removed_id(r);
		struct image_topic *old = uuid_is_zero(&id) ? find_name(im, slice_str(r->name)) : find_id(im, &id);
		if (old) {
			changes_add_all(out, cap, old, true);
			image_put_topic(im, old, NULL);
		} else if (!uuid_is_zero(&id)) {
			gone_add(out, &id, r->name);
		}
	}
	for (size_t i = 0; i < ch->n_topics; i++) {
		int err = apply_topic(im, ch->topics[i], out, cap);
		if (err)
			return err;
	}
	for (size_t i = 0; i < ch->n_removed_brokers; i++)
		remove_broker(im, ch->removed_brokers[i]);
	for (size_t i = 0; i < ch->n_brokers; i++)
		apply_broker(im, ch->brokers[i]);
	out->brokers_changed |= ch->n_removed_brokers || ch->n_brokers;
	out->configs_changed |= ch->n_configs > 0;
	apply_entities(im, ch);
	if (ch->cluster) {
		mem_free(im->cluster_id);
		im->cluster_id = mem_strdup(ch->cluster->cluster_id);
		im->controller_broker = ch->cluster->controller_broker_id;
	}
	return 0;
}

static bool is_newer(const struct image *base, int32_t controller_epoch, uint64_t seq)
{
	return controller_epoch > base->controller_epoch || (controller_epoch == base->controller_epoch && seq > base->seq);
}

int image_apply(struct image *base, int32_t controller_epoch, uint64_t seq, const pb_changes *ch, struct image **ret_image, struct image_changes *ret_changes)
{
	if (!is_newer(base, controller_epoch, seq))
		return ERR_STALE;
	struct image *im = image_clone(base);
	struct image_changes out = {0};
	size_t cap = 0;
	int err = apply_changes(im, ch, &out, &cap);
	if (err) {
		image_changes_free(&out);
		image_unref(im);
		return err;
	}
	im->controller_epoch = controller_epoch;
	im->seq = seq;
	*ret_image = im;
	*ret_changes = out;
	return 0;
}

static bool listed(const struct image_changes *c, uint32_t count, const struct image_topic *t)
{
	for (uint32_t i = 0; i < count; i++)
		if (c->items[i].topic == t)
			return true;
	return false;
}

/* ---- snapshots ---- */

struct image_snapshot {
	struct image *im;               /* what the parts say, from nothing */
	struct image_changes said;      /* removals that they name */
	size_t said_cap;
	/* the comparison with what is known */
	struct image *base;
	struct image_changes out;
	size_t out_cap;
	uint32_t removals, bucket;
	bool second;                    /* the new image's topics are through, the base's follow */
};

struct image_snapshot *image_snapshot_new(void)
{
	struct image_snapshot *s = MEM_NEW(struct image_snapshot);
	s->im = image_empty();
	s->im->building = true;
	return s;
}

void image_snapshot_free(struct image_snapshot *s)
{
	if (!s)
		return;
	image_changes_free(&s->said);
	image_changes_free(&s->out);
	image_unref(s->base);
	image_unref(s->im);
	mem_free(s);
}

int image_snapshot_add(struct image_snapshot *s, const pb_changes *part)
{
	uint32_t kept = s->said.count;
	int err = apply_changes(s->im, part, &s->said, &s->said_cap);
	for (uint32_t i = kept; i < s->said.count; i++) {
		if (s->said.items[i].removed)
			s->said.items[kept++] = s->said.items[i];
		else
			topic_unref((struct image_topic *)(uintptr_t)s->said.items[i].topic);
	}
	s->said.count = kept;
	return err;
}

static void removal(struct image_snapshot *s, const struct uuid *id, const char *name)
{
	const struct image_topic *old = find_id(s->base, id);
	if (old)
		changes_add_all(&s->out, &s->out_cap, old, true);
	else
		gone_add(&s->out, id, name);
}

static void compare_begin(struct image_snapshot *s, struct image *base)
{
	image_changes_free(&s->out);
	image_unref(s->base);
	s->base = image_ref(base);
	s->out_cap = 0;
	s->bucket = 0;
	s->second = false;
	/* Removals that the snapshot names (those that wait for our confirmation): of topics that we knew, or of what may lie on disk. */
	for (uint32_t i = 0; i < s->said.gone_count; i++)
		removal(s, &s->said.gone[i].id, s->said.gone[i].name);
	/* And of topics that stood in an earlier part: removed while the snapshot was made. */
	for (uint32_t i = 0; i < s->said.count; i++)
		if (i == 0 || s->said.items[i].topic != s->said.items[i - 1].topic)
			removal(s, &s->said.items[i].topic->id, s->said.items[i].topic->name);
	s->removals = s->out.count;
}

/* What is newer in the base is taken over, so that a partition never goes back. */
static void compare_new(struct image_snapshot *s, struct image_topic *t)
{
	struct image_topic *old = find_name(s->base, slice_str(t->name));
	bool same = old && (uuid_eq(&old->id, &t->id) || uuid_is_zero(&old->id));
	if (old && !same && !listed(&s->out, s->removals, old))
		changes_add_all(&s->out, &s->out_cap, old, false);
	for (int32_t p = 0; same && p < t->partition_count && p < old->partition_count; p++) {
		struct image_partition *np = &t->partitions[p];
		const struct image_partition *op = &old->partitions[p];
		if (np->replicas.count && op->replicas.count &&
			(op->leader_epoch > np->leader_epoch || (op->leader_epoch == np->leader_epoch && op->partition_epoch > np->partition_epoch))) {
			partition_fini(np);
			partition_copy(np, op);
		}
	}
	/* Applying a state twice changes nothing at the replica, so every partition may be named. */
	changes_add_all(&s->out, &s->out_cap, t, false);
}

bool image_snapshot_compare(struct image_snapshot *s, struct image *base, uint32_t partitions)
{
	if (s->base != base)
		compare_begin(s, base);
	uint32_t done = 0;
	while (done < partitions) {
		const struct image *of = s->second ? base : s->im;
		if (s->bucket == of->bucket_count) {
			if (s->second)
				return true;
			s->second = true;
			s->bucket = 0;
			continue;
		}
		const struct bucket *b = of->by_name[s->bucket++];
		for (uint32_t k = 0; b && k < b->count; k++) {
			struct image_topic *t = b->topics[k];
			done += 1 + (uint32_t)t->partition_count;
			if (!s->second)
				compare_new(s, t);
			else if (!find_name(s->im, slice_str(t->name)) && !listed(&s->out, s->removals, t))
				changes_add_all(&s->out, &s->out_cap, t, false);
		}
		done++;
	}
	return false;
}

int image_snapshot_take(struct image_snapshot *s, int32_t controller_epoch, uint64_t seq, struct image **ret_image, struct image_changes *ret_changes)
{
	struct image *im = s->im, *base = s->base;
	if (!is_newer(base, controller_epoch, seq) && !(controller_epoch == base->controller_epoch && seq == base->seq))
		return ERR_STALE;
	s->out.brokers_changed = s->out.configs_changed = true;
	im->configs_version = base->configs_version + 1; /* a snapshot holds them all, even when there are none */
	if (!im->cluster_id[0]) {
		mem_free(im->cluster_id);
		im->cluster_id = mem_strdup(base->cluster_id);
	}
	im->controller_epoch = controller_epoch;
	im->seq = seq;
	im->building = false;
	*ret_image = im;
	*ret_changes = s->out;
	s->im = NULL;
	s->out = (struct image_changes){0};
	return 0;
}

int image_apply_snapshot(struct image *base, int32_t controller_epoch, uint64_t seq, const pb_changes *const *parts, uint32_t part_count, struct image **ret_image,
	struct image_changes *ret_changes)
{
	struct image_snapshot *s = image_snapshot_new();
	int err = 0;
	for (uint32_t i = 0; i < part_count && !err; i++)
		err = image_snapshot_add(s, parts[i]);
	while (!err && !image_snapshot_compare(s, base, 1000))
		;
	if (!err)
		err = image_snapshot_take(s, controller_epoch, seq, ret_image, ret_changes);
	image_snapshot_free(s);
	return err;
}
