/* test_image.c: brokerd/meta/image: snapshots and deltas become images; positions only go forward, partitions never go back. */
#include <stdio.h>
#include <string.h>

#include "brokerd/meta/image.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "proto/klamm/control.pb-c.h"
#include "tests/unit/unit.h"

/* ---- messages, made in one arena of the test ---- */

typedef Klamm__Control__Changes pb_changes;
typedef Klamm__Control__Topic pb_topic;
typedef Klamm__Control__Partition pb_partition;

#define ITEMS 64
struct delta {
	pb_changes ch;
	pb_topic topics[ITEMS], *topic_ptrs[ITEMS];
	pb_partition partitions[ITEMS * 4], *partition_ptrs[ITEMS * 4];
	size_t partitions_used;
	Klamm__Control__Broker brokers[ITEMS], *broker_ptrs[ITEMS];
	Klamm__Control__Endpoint endpoints[ITEMS], *endpoint_ptrs[ITEMS];
	Klamm__Control__RemovedTopic gone[ITEMS], *gone_ptrs[ITEMS];
	Klamm__Control__ConfigEntry entries[ITEMS], *entry_ptrs[ITEMS];
	size_t entries_used;
	Klamm__Control__EntityConfig entities[ITEMS], *entity_ptrs[ITEMS];
	Klamm__Control__ClusterInfo cluster;
	char names[ITEMS][32];
	uint8_t ids[ITEMS * 2][16];
	size_t names_used, ids_used;
	int32_t removed_brokers[ITEMS];
};
static int32_t abc[] = {1, 2, 3}, ab[] = {1, 2}, only_a[] = {1};

static struct delta *delta_new(void)
{
	struct delta *d = MEM_NEW(struct delta);
	klamm__control__changes__init(&d->ch);
	d->ch.topics = d->topic_ptrs;
	d->ch.brokers = d->broker_ptrs;
	d->ch.removed_topics = d->gone_ptrs;
	d->ch.configs = d->entity_ptrs;
	d->ch.removed_brokers = d->removed_brokers;
	return d;
}

static uint8_t *id_of(struct delta *d, uint8_t id)
{
	uint8_t *b = d->ids[d->ids_used++];
	memset(b, id, 16);
	return b;
}

static struct uuid uuid_of(uint8_t id)
{
	struct uuid u;
	memset(u.b, id, 16);
	return u;
}

static pb_topic *delta_topic(struct delta *d, const char *name, uint8_t id, bool full)
{
	pb_topic *t = &d->topics[d->ch.n_topics];
	klamm__control__topic__init(t);
	char *copy = d->names[d->names_used++];
	snprintf(copy, sizeof(d->names[0]), "%s", name);
	t->name = copy;
	t->full = full;
	if (id) {
		t->topic_id.data = id_of(d, id);
		t->topic_id.len = 16;
	}
	t->partitions = &d->partition_ptrs[d->partitions_used];
	d->topic_ptrs[d->ch.n_topics++] = t;
	return t;
}

static pb_partition *delta_partition(struct delta *d, int32_t p, int32_t leader, int32_t leader_epoch, int32_t partition_epoch)
{
	pb_topic *t = d->topic_ptrs[d->ch.n_topics - 1];
	pb_partition *m = &d->partitions[d->partitions_used];
	klamm__control__partition__init(m);
	m->partition = p;
	m->leader = leader;
	m->leader_epoch = leader_epoch;
	m->partition_epoch = partition_epoch;
	m->replicas = abc;
	m->n_replicas = 3;
	m->isr = abc;
	m->n_isr = 3;
	m->min_isr = 2;
	d->partition_ptrs[d->partitions_used++] = m;
	t->n_partitions++;
	return m;
}

static void delta_config(struct delta *d, Klamm__Control__ConfigEntry ***list, size_t *count, const char *key, const char *value)
{
	Klamm__Control__ConfigEntry *e = &d->entries[d->entries_used];
	klamm__control__config_entry__init(e);
	e->key = (char *)(uintptr_t)key;
	e->value = (char *)(uintptr_t)value;
	if (!*list)
		*list = &d->entry_ptrs[d->entries_used];
	d->entry_ptrs[d->entries_used++] = e;
	(*count)++;
}

static void delta_broker(struct delta *d, int32_t id, int64_t epoch, bool available)
{
	size_t i = d->ch.n_brokers++;
	klamm__control__broker__init(&d->brokers[i]);
	klamm__control__endpoint__init(&d->endpoints[i]);
	d->endpoints[i].listener = (char *)(uintptr_t)"PLAINTEXT";
	d->endpoints[i].host = (char *)(uintptr_t)"h";
	d->endpoints[i].security = (char *)(uintptr_t)"PLAINTEXT";
	d->endpoints[i].port = 9000 + (uint32_t)id;
	d->endpoint_ptrs[i] = &d->endpoints[i];
	d->brokers[i].id = id;
	d->brokers[i].broker_epoch = epoch;
	d->brokers[i].available = available;
	d->brokers[i].endpoints = &d->endpoint_ptrs[i];
	d->brokers[i].n_endpoints = 1;
	d->broker_ptrs[i] = &d->brokers[i];
}

static void delta_remove_topic(struct delta *d, const char *name, uint8_t id)
{
	size_t i = d->ch.n_removed_topics++;
	klamm__control__removed_topic__init(&d->gone[i]);
	d->gone[i].name = (char *)(uintptr_t)name;
	d->gone[i].topic_id.data = id_of(d, id);
	d->gone[i].topic_id.len = 16;
	d->gone_ptrs[i] = &d->gone[i];
}

static void delta_cluster(struct delta *d, const char *id, int32_t broker)
{
	klamm__control__cluster_info__init(&d->cluster);
	d->cluster.cluster_id = (char *)(uintptr_t)id;
	d->cluster.controller_broker_id = broker;
	d->ch.cluster = &d->cluster;
}

static struct image_changes changes;

/* Applies d to *im (replaced on success), frees d; the changes stay in `changes`. */
static int apply(struct image **im, int32_t epoch, uint64_t seq, struct delta *d)
{
	struct image *next = NULL;
	image_changes_free(&changes);
	int err = image_apply(*im, epoch, seq, &d->ch, &next, &changes);
	mem_free(d);
	if (err) {
		CU_ASSERT_PTR_NULL(next);
		return err;
	}
	image_unref(*im);
	*im = next;
	return 0;
}

static int apply_snapshot(struct image **im, int32_t epoch, uint64_t seq, struct delta *d)
{
	struct image *next = NULL;
	const pb_changes *parts[] = {&d->ch};
	image_changes_free(&changes);
	int err = image_apply_snapshot(*im, epoch, seq, parts, 1, &next, &changes);
	mem_free(d);
	if (err)
		return err;
	image_unref(*im);
	*im = next;
	return 0;
}

/* Three brokers; topics "a" (id 1, 2 partitions), "b" (id 2, 1 partition). */
static struct delta *base_snapshot(void)
{
	struct delta *d = delta_new();
	delta_cluster(d, "the-cluster", 1);
	for (int32_t id = 1; id <= 3; id++)
		delta_broker(d, id, 100 + id, true);
	pb_topic *a = delta_topic(d, "a", 1, true);
	a->config_set = true;
	delta_config(d, &a->config, &a->n_config, "retention.ms", "1000");
	delta_config(d, &a->config, &a->n_config, "flush.messages", "1");
	delta_partition(d, 0, 1, 5, 10);
	delta_partition(d, 1, 2, 6, 11);
	delta_topic(d, "b", 2, true);
	delta_partition(d, 0, 3, 0, 0);
	return d;
}

static struct image *base_image(void)
{
	struct image *im = image_empty();
	CU_ASSERT_EQUAL_FATAL(apply_snapshot(&im, 7, 100, base_snapshot()), 0);
	return im;
}

static void done(struct image *im)
{
	image_unref(im);
	image_changes_free(&changes);
}

static const struct image_partition *part(const struct image *im, const char *topic, int32_t p)
{
	return image_topic_partition(image_find_topic(im, slice_str(topic)), p);
}

static bool changed(const char *topic, int32_t p, bool removed)
{
	for (uint32_t i = 0; i < changes.count; i++)
		if (!strcmp(changes.items[i].topic->name, topic) && changes.items[i].partition == p && changes.items[i].removed == removed)
			return true;
	return false;
}

static bool any_removed(void)
{
	for (uint32_t i = 0; i < changes.count; i++)
		if (changes.items[i].removed)
			return true;
	return false;
}

/* ---- cases ---- */

static void test_empty(void)
{
	struct image *im = image_empty();
	CU_ASSERT_EQUAL(image_controller_epoch(im), 0);
	CU_ASSERT_EQUAL(image_seq(im), 0);
	CU_ASSERT_EQUAL(image_topic_count(im), 0);
	CU_ASSERT_EQUAL(image_broker_count(im), 0);
	CU_ASSERT_EQUAL(image_controller_broker(im), -1);
	CU_ASSERT_STRING_EQUAL(image_cluster_id(im), "");
	CU_ASSERT_PTR_NULL(image_find_topic(im, slice_str("a")));
	CU_ASSERT_PTR_NULL(image_find_topic(im, slice_make("", 0)));
	struct uuid zero = {{0}};
	CU_ASSERT_PTR_NULL(image_find_topic_id(im, &zero));
	CU_ASSERT_PTR_NULL(image_find_broker(im, 1));
	image_unref(im);
	image_unref(NULL);
}

static void test_snapshot(void)
{
	struct image *im = base_image();
	CU_ASSERT_EQUAL(image_controller_epoch(im), 7);
	CU_ASSERT_EQUAL(image_seq(im), 100);
	CU_ASSERT_STRING_EQUAL(image_cluster_id(im), "the-cluster");
	CU_ASSERT_EQUAL(image_controller_broker(im), 1);
	CU_ASSERT_EQUAL(image_broker_count(im), 3);
	CU_ASSERT_EQUAL(image_broker_at(im, 2)->id, 3);
	const struct image_endpoint *ep = image_broker_endpoint(image_find_broker(im, 2), "PLAINTEXT");
	CU_ASSERT(ep && ep->port == 9002 && !strcmp(ep->host, "h"));
	CU_ASSERT_PTR_NULL(image_broker_endpoint(image_find_broker(im, 2), "SSL"));
	CU_ASSERT_PTR_NULL(image_broker_endpoint(NULL, "PLAINTEXT"));
	const struct image_topic *a = image_find_topic(im, slice_str("a"));
	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	struct uuid one = uuid_of(1);
	CU_ASSERT_PTR_EQUAL(a, image_find_topic_id(im, &one));
	CU_ASSERT_EQUAL(a->partition_count, 2);
	CU_ASSERT_STRING_EQUAL(image_topic_config(a, "retention.ms"), "1000");
	CU_ASSERT_STRING_EQUAL(image_topic_config(a, "flush.messages"), "1");
	CU_ASSERT_PTR_NULL(image_topic_config(a, "segment.bytes"));
	const struct image_partition *p = image_topic_partition(a, 1);
	CU_ASSERT(p && p->leader == 2 && p->leader_epoch == 6 && p->partition_epoch == 11 && p->min_isr == 2);
	CU_ASSERT(p->isr.count == 3 && image_ids_has(&p->isr, 3) && !image_ids_has(&p->isr, 4));
	CU_ASSERT_PTR_NULL(image_topic_partition(a, 2));
	CU_ASSERT_PTR_NULL(image_topic_partition(a, -1));
	CU_ASSERT_PTR_NULL(image_topic_partition(NULL, 0));
	CU_ASSERT(changed("a", 0, false) && changed("a", 1, false) && changed("b", 0, false) && changes.brokers_changed);
	CU_ASSERT_FALSE(any_removed());
	done(im);
}

/* Put together in parts, compared in slices; the image that is known changes between two of them, and what it has newer stays. */
static void test_snapshot_in_slices(void)
{
	struct image *im = base_image(), *next;
	struct image_snapshot *s = image_snapshot_new();
	struct delta *parts[40];
	for (int32_t i = 0; i < 40; i++) { /* one topic of 40 partitions, a part for each; and removals of what was, in between */
		parts[i] = delta_new();
		delta_topic(parts[i], "large", 9, true);
		delta_partition(parts[i], i, 1 + i % 3, 2, 3);
	}
	delta_remove_topic(parts[20], "b", 2);
	delta_topic(parts[30], "a", 1, true);
	delta_partition(parts[30], 0, 2, 6, 12);
	for (int32_t i = 0; i < 40; i++)
		CU_ASSERT_EQUAL(image_snapshot_add(s, &parts[i]->ch), 0);
	for (int32_t i = 0; i < 40; i++)
		mem_free(parts[i]);
	int slices = 0;
	CU_ASSERT_FALSE(image_snapshot_compare(s, im, 1));
	struct delta *d = delta_new();
	delta_topic(d, "a", 1, false);
	delta_partition(d, 0, 3, 7, 13);
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	for (; !image_snapshot_compare(s, im, 1); slices++)
		;
	CU_ASSERT(slices > 2);
	image_changes_free(&changes);
	CU_ASSERT_EQUAL_FATAL(image_snapshot_take(s, 8, 1, &next, &changes), 0);
	image_snapshot_free(s);
	CU_ASSERT_EQUAL(image_topic_count(im), 2); /* the former one is as it was */
	image_ref(im);
	CU_ASSERT_FALSE(image_drop_some(im, 1)); /* somebody reads it */
	CU_ASSERT_PTR_NOT_NULL(image_find_topic(im, slice_str("b")));
	image_unref(im);
	for (slices = 1; !image_drop_some(im, 1); slices++)
		;
	CU_ASSERT(slices > 1);
	im = next;
	CU_ASSERT(image_controller_epoch(im) == 8 && image_seq(im) == 1);
	CU_ASSERT_EQUAL(image_topic_count(im), 2);
	for (int32_t i = 0; i < 40; i++)
		CU_ASSERT(part(im, "large", i)->leader == 1 + i % 3 && changed("large", i, false));
	CU_ASSERT(part(im, "a", 0)->leader == 3 && part(im, "a", 0)->leader_epoch == 7 && changed("a", 0, false));
	CU_ASSERT(changed("b", 0, true) && !changed("b", 0, false));
	/* an older position is refused at the end */
	s = image_snapshot_new();
	while (!image_snapshot_compare(s, im, 1000))
		;
	CU_ASSERT_EQUAL(image_snapshot_take(s, 7, 200, &next, &changes), ERR_STALE);
	image_snapshot_free(s);
	done(im);
}

static bool in_order(void *ctx, const struct image_topic *t)
{
	str_printf(ctx, "%s ", t->name);
	return strcmp(t->name, "t05") != 0;
}

static void test_each_topic_is_ordered(void)
{
	struct image *im = image_empty();
	struct str names;
	for (int i = 30; i > 0; i--) { /* enough for the table to grow */
		char name[16];
		struct delta *d = delta_new();
		snprintf(name, sizeof(name), "t%02d", i);
		delta_topic(d, name, (uint8_t)(i + 100), true);
		delta_partition(d, 0, 1, 0, 0);
		CU_ASSERT_EQUAL(apply(&im, 1, (uint64_t)(31 - i), d), 0);
	}
	CU_ASSERT_EQUAL(image_topic_count(im), 30);
	str_init(&names);
	image_each_topic(im, in_order, &names);
	CU_ASSERT_STRING_EQUAL(str_cstr(&names), "t01 t02 t03 t04 t05 ");
	str_fini(&names);
	for (int i = 1; i <= 30; i++) {
		char name[16];
		struct uuid id = uuid_of((uint8_t)(i + 100));
		snprintf(name, sizeof(name), "t%02d", i);
		CU_ASSERT_PTR_NOT_NULL(image_find_topic(im, slice_str(name)));
		CU_ASSERT_PTR_EQUAL(image_find_topic(im, slice_str(name)), image_find_topic_id(im, &id));
	}
	done(im);
}

static void test_delta(void)
{
	struct image *im = base_image();
	struct image *before = image_ref(im);
	struct delta *d = delta_new();
	delta_topic(d, "a", 1, false);
	pb_partition *p = delta_partition(d, 1, 3, 7, 12);
	p->isr = ab;
	p->n_isr = 2;
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	CU_ASSERT_EQUAL(image_seq(im), 101);
	CU_ASSERT_EQUAL(changes.count, 1);
	CU_ASSERT(changed("a", 1, false));
	CU_ASSERT_EQUAL(part(im, "a", 1)->leader, 3);
	CU_ASSERT_EQUAL(part(im, "a", 1)->isr.count, 2);
	CU_ASSERT_EQUAL(part(im, "a", 0)->leader_epoch, 5);
	CU_ASSERT_STRING_EQUAL(image_topic_config(image_find_topic(im, slice_str("a")), "retention.ms"), "1000");
	/* what did not change is shared, and an image that somebody reads does not move */
	CU_ASSERT_PTR_EQUAL(image_find_topic(im, slice_str("b")), image_find_topic(before, slice_str("b")));
	CU_ASSERT_EQUAL(part(before, "a", 1)->leader, 2);
	CU_ASSERT_EQUAL(image_seq(before), 100);
	image_unref(before);
	done(im);
}

/* A delta applied twice, or one of an older reign, changes nothing (C7). */
static void test_delta_twice(void)
{
	struct image *im = base_image();
	for (int turn = 0; turn < 2; turn++) {
		struct delta *d = delta_new();
		delta_topic(d, "c", 3, true);
		delta_partition(d, 0, 1, 0, 0);
		int err = apply(&im, 7, 101, d);
		CU_ASSERT_EQUAL(err, turn == 0 ? 0 : ERR_STALE);
	}
	CU_ASSERT_EQUAL(changes.count, 0);
	static const struct { int32_t epoch; uint64_t seq; } old[] = {{7, 101}, {7, 100}, {7, 1}, {6, 500}, {0, 0}};
	for (size_t i = 0; i < ARRAY_LEN(old); i++) {
		struct delta *d = delta_new();
		delta_remove_topic(d, "c", 3);
		delta_topic(d, "a", 1, false);
		delta_partition(d, 0, -1, 99, 99);
		CU_ASSERT_EQUAL(apply(&im, old[i].epoch, old[i].seq, d), ERR_STALE);
	}
	CU_ASSERT_PTR_NOT_NULL(image_find_topic(im, slice_str("c")));
	CU_ASSERT_EQUAL(part(im, "a", 0)->leader_epoch, 5);
	CU_ASSERT_EQUAL(image_seq(im), 101);
	done(im);
}

/* A new reign may start its numbers again: the epoch orders first. */
static void test_new_reign(void)
{
	struct image *im = base_image();
	CU_ASSERT_EQUAL(apply_snapshot(&im, 8, 1, base_snapshot()), 0);
	CU_ASSERT_EQUAL(image_controller_epoch(im), 8);
	CU_ASSERT_EQUAL(image_seq(im), 1);
	CU_ASSERT_EQUAL(apply_snapshot(&im, 7, 1000, base_snapshot()), ERR_STALE);
	CU_ASSERT_EQUAL(apply(&im, 7, 1001, delta_new()), ERR_STALE);
	CU_ASSERT_EQUAL(image_controller_epoch(im), 8);
	done(im);
}

/* Per partition only what is not older is taken (C6), in deltas and in snapshots. */
static void test_partition_never_back(void)
{
	static const struct { int32_t le, pe; bool taken; } rows[] = {
		{4, 99, false}, {5, 9, false}, {5, 10, true}, {5, 11, true}, {6, 0, true}, {5, 100, false}, {6, 1, true}, {7, 0, true}};
	struct image *im = base_image();
	uint64_t seq = 101;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (int snap = 0; snap < 2; snap++) {
			struct image_partition was = *part(im, "a", 0);
			struct delta *d = snap ? base_snapshot() : delta_new();
			if (snap) {
				d->partitions[0].leader_epoch = rows[i].le;
				d->partitions[0].partition_epoch = rows[i].pe;
				CU_ASSERT_EQUAL(apply_snapshot(&im, 7, seq++, d), 0);
			} else {
				delta_topic(d, "a", 1, false);
				delta_partition(d, 0, 1, rows[i].le, rows[i].pe);
				CU_ASSERT_EQUAL(apply(&im, 7, seq++, d), 0);
				CU_ASSERT_EQUAL(changed("a", 0, false), rows[i].taken);
			}
			const struct image_partition *p = part(im, "a", 0);
			CU_ASSERT_EQUAL(p->leader_epoch, rows[i].taken ? rows[i].le : was.leader_epoch);
			CU_ASSERT_EQUAL(p->partition_epoch, rows[i].taken ? rows[i].pe : was.partition_epoch);
		}
	}
	done(im);
}

/* Removal is said by name and id in a delta; absence from a snapshot is never one (K1, K2). */
static void test_removal_and_absence(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	delta_remove_topic(d, "a", 1);
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	CU_ASSERT(changed("a", 0, true) && changed("a", 1, true));
	CU_ASSERT_EQUAL(changes.count, 2);
	CU_ASSERT_PTR_NULL(image_find_topic(im, slice_str("a")));
	struct uuid one = uuid_of(1);
	CU_ASSERT_PTR_NULL(image_find_topic_id(im, &one));
	CU_ASSERT_EQUAL(image_topic_count(im), 1);
	/* the change keeps the topic: both images may be gone by the time a loop reads it */
	image_unref(im);
	im = image_empty();
	CU_ASSERT_STRING_EQUAL(changes.items[0].topic->name, "a");

	CU_ASSERT_EQUAL(apply_snapshot(&im, 8, 1, base_snapshot()), 0);
	d = delta_new();
	delta_topic(d, "b", 2, true);
	delta_partition(d, 0, 3, 0, 0);
	CU_ASSERT_EQUAL(apply_snapshot(&im, 8, 2, d), 0);
	CU_ASSERT_PTR_NULL(image_find_topic(im, slice_str("a")));
	CU_ASSERT(changed("a", 0, false));
	CU_ASSERT_FALSE(any_removed());
	CU_ASSERT_STRING_EQUAL(image_cluster_id(im), "the-cluster"); /* a snapshot without it does not unlearn it */
	done(im);
}

/* A removal that names another id is of an older life of that name: nothing goes. */
static void test_removal_of_another_life(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	delta_remove_topic(d, "a", 9);
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	CU_ASSERT_PTR_NOT_NULL(image_find_topic(im, slice_str("a")));
	CU_ASSERT_FALSE(changed("a", 0, true));
	done(im);
}

/* Deleted while we were away: neither image knows it, but a replica may lie on disk, so the removal is told (K1). */
static void test_removal_of_the_unknown(void)
{
	struct image *im = image_empty();
	struct delta *d = base_snapshot();
	struct uuid nine = uuid_of(9);
	delta_remove_topic(d, "old", 9);
	CU_ASSERT_EQUAL(apply_snapshot(&im, 7, 100, d), 0);
	CU_ASSERT_EQUAL_FATAL(changes.gone_count, 1);
	CU_ASSERT(uuid_eq(&changes.gone[0].id, &nine));
	CU_ASSERT_STRING_EQUAL(changes.gone[0].name, "old");
	CU_ASSERT_FALSE(any_removed());
	image_changes_add_removed(&changes, &changes.gone[0], 3);
	CU_ASSERT(changed("old", 3, true));
	/* a snapshot may name one that we still had */
	d = delta_new();
	delta_topic(d, "b", 2, true);
	delta_partition(d, 0, 3, 0, 0);
	delta_remove_topic(d, "a", 1);
	CU_ASSERT_EQUAL(apply_snapshot(&im, 7, 105, d), 0);
	CU_ASSERT(changed("a", 0, true));
	CU_ASSERT_EQUAL(changes.gone_count, 0);
	done(im);
}

/* A snapshot that was made while things changed: later parts have the word, also when they remove what an earlier one named. */
static void test_snapshot_in_parts(void)
{
	for (int known = 0; known < 2; known++) {
		struct image *im = known ? base_image() : image_empty();
		struct delta *one = base_snapshot(), *two = delta_new();
		delta_remove_topic(two, "a", 1);
		delta_topic(two, "b", 2, true);
		delta_partition(two, 0, 1, 4, 9);
		delta_topic(two, "a", 8, true);
		delta_partition(two, 0, 2, 0, 0);
		const pb_changes *parts[] = {&one->ch, &two->ch};
		struct image *next = NULL;
		image_changes_free(&changes);
		CU_ASSERT_EQUAL_FATAL(image_apply_snapshot(im, 8, 1, parts, 2, &next, &changes), 0);
		mem_free(one);
		mem_free(two);
		const struct image_topic *a = image_find_topic(next, slice_str("a")), *b = image_find_topic(next, slice_str("b"));
		struct uuid first = uuid_of(1), again = uuid_of(8);
		CU_ASSERT_FATAL(a && b);
		CU_ASSERT(uuid_eq(&a->id, &again) && a->partition_count == 1);
		CU_ASSERT(b->partitions[0].leader == 1 && b->partitions[0].leader_epoch == 4);
		CU_ASSERT_PTR_NULL(image_find_topic_id(next, &first));
		/* what lies on disk of the removed one goes (K1), whether we knew of it or not */
		bool named = known ? changed("a", 0, true) && changed("a", 1, true) && changes.gone_count == 0 : changes.gone_count == 1 && uuid_eq(&changes.gone[0].id, &first);
		CU_ASSERT(named);
		CU_ASSERT_FALSE(changed("b", 0, true));
		image_unref(im);
		done(next);
	}
}

/* The same name with another id is another topic: its epochs start again, and nothing of the old one is inherited. */
static void test_created_again(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	delta_topic(d, "a", 9, true);
	delta_partition(d, 0, 3, 0, 0);
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	const struct image_topic *a = image_find_topic(im, slice_str("a"));
	struct uuid one = uuid_of(1), nine = uuid_of(9);
	CU_ASSERT(uuid_eq(&a->id, &nine));
	CU_ASSERT_EQUAL(a->partition_count, 1);
	CU_ASSERT_EQUAL(a->config_count, 0);
	CU_ASSERT_EQUAL(a->partitions[0].leader_epoch, 0);
	CU_ASSERT_PTR_NULL(image_find_topic_id(im, &one));
	CU_ASSERT_EQUAL(image_topic_count(im), 2);
	CU_ASSERT_FALSE(any_removed());
	done(im);
}

static void test_configs(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	pb_topic *a = delta_topic(d, "a", 1, false);
	a->config_set = true;
	delta_config(d, &a->config, &a->n_config, "segment.bytes", "4096");
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	const struct image_topic *t = image_find_topic(im, slice_str("a"));
	CU_ASSERT_STRING_EQUAL(image_topic_config(t, "segment.bytes"), "4096");
	CU_ASSERT_PTR_NULL(image_topic_config(t, "retention.ms"));
	CU_ASSERT(!changes.configs_changed && changed("a", 0, false) && changed("a", 1, false)); /* it concerns every partition of its own */
	uint64_t version = image_configs_version(im);
	CU_ASSERT_FALSE(changed("b", 0, false));
	CU_ASSERT_EQUAL(part(im, "a", 0)->leader_epoch, 5);

	d = delta_new();
	for (int i = 0; i < 2; i++) {
		Klamm__Control__EntityConfig *e = &d->entities[i];
		klamm__control__entity_config__init(e);
		e->entity = (char *)(uintptr_t)(i ? "brokers/<default>" : "brokers/1");
		delta_config(d, &e->config, &e->n_config, "log.retention.ms", i ? "2" : "1");
		d->entity_ptrs[i] = e;
	}
	d->ch.n_configs = 2;
	CU_ASSERT_EQUAL(apply(&im, 7, 102, d), 0);
	CU_ASSERT_STRING_EQUAL(image_entity_config(im, "brokers/1", "log.retention.ms"), "1");
	CU_ASSERT_STRING_EQUAL(image_entity_config(im, "brokers/<default>", "log.retention.ms"), "2");
	CU_ASSERT_PTR_NULL(image_entity_config(im, "brokers/2", "log.retention.ms"));
	CU_ASSERT(changes.configs_changed);
	CU_ASSERT_EQUAL(image_configs_version(im), version + 1);
	d = delta_new(); /* an empty one takes the entity's configs away, the other stays */
	klamm__control__entity_config__init(&d->entities[0]);
	d->entities[0].entity = (char *)(uintptr_t)"brokers/1";
	d->entity_ptrs[0] = &d->entities[0];
	d->ch.n_configs = 1;
	CU_ASSERT_EQUAL(apply(&im, 7, 103, d), 0);
	CU_ASSERT_PTR_NULL(image_entity_config(im, "brokers/1", "log.retention.ms"));
	CU_ASSERT_STRING_EQUAL(image_entity_config(im, "brokers/<default>", "log.retention.ms"), "2");
	/* a snapshot holds them all: whoever had others hears of it by the version, even when there are none */
	version = image_configs_version(im);
	CU_ASSERT_EQUAL(apply_snapshot(&im, 7, 200, base_snapshot()), 0);
	CU_ASSERT_PTR_NULL(image_entity_config(im, "brokers/<default>", "log.retention.ms"));
	CU_ASSERT(changes.configs_changed && image_configs_version(im) > version);
	done(im);
}

static void test_brokers(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	delta_broker(d, 2, 555, false);
	delta_broker(d, 0, 700, true);
	d->removed_brokers[0] = 3;
	d->removed_brokers[1] = 77; /* nobody */
	d->ch.n_removed_brokers = 2;
	delta_cluster(d, "the-cluster", 0);
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	CU_ASSERT(changes.brokers_changed);
	CU_ASSERT_EQUAL(image_broker_count(im), 3);
	for (uint32_t i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(image_broker_at(im, i)->id, (int32_t)i);
	CU_ASSERT_EQUAL(image_find_broker(im, 2)->broker_epoch, 555);
	CU_ASSERT_FALSE(image_find_broker(im, 2)->available);
	CU_ASSERT_PTR_NULL(image_find_broker(im, 3));
	CU_ASSERT_EQUAL(image_controller_broker(im), 0);
	done(im);
}

/* Deltas that make no sense are refused whole: the image stays what it was. */
static void test_nonsense(void)
{
	struct image *im = base_image();
	static int32_t none[1];
	for (int what = 0; what < 7; what++) {
		struct delta *d = delta_new();
		delta_topic(d, "b", 2, false);
		delta_partition(d, 0, 1, 50, 50); /* sound, and before the other */
		pb_topic *t = delta_topic(d, what == 0 ? "never-seen" : what == 1 ? "" : "x", 5, what != 0);
		pb_partition *p = delta_partition(d, what == 2 ? -1 : what == 3 ? INT32_MAX : 0, 1, 1, 1);
		char long_name[300];
		memset(long_name, 'n', sizeof(long_name) - 1);
		long_name[299] = 0;
		if (what == 4) {
			p->replicas = none;
			p->n_replicas = 0;
		}
		if (what == 5)
			t->topic_id.len = 15;
		if (what == 6)
			t->name = long_name;
		CU_ASSERT_EQUAL(apply(&im, 7, 101, d), ERR_CORRUPT);
		CU_ASSERT_EQUAL(image_seq(im), 100);
		CU_ASSERT_EQUAL(part(im, "b", 0)->leader_epoch, 0);
	}
	done(im);
}

/* A topic grows by a delta that names only the new partitions; a hole is none. */
static void test_more_partitions(void)
{
	struct image *im = base_image();
	struct delta *d = delta_new();
	delta_topic(d, "b", 2, false);
	pb_partition *p = delta_partition(d, 3, 1, 0, 0);
	p->replicas = p->isr = p->fresh = only_a;
	p->n_replicas = p->n_isr = p->n_fresh = 1;
	CU_ASSERT_EQUAL(apply(&im, 7, 101, d), 0);
	CU_ASSERT_EQUAL(image_find_topic(im, slice_str("b"))->partition_count, 4);
	CU_ASSERT_PTR_NOT_NULL(part(im, "b", 0));
	CU_ASSERT_PTR_NULL(part(im, "b", 1));
	CU_ASSERT_PTR_NULL(part(im, "b", 2));
	CU_ASSERT(part(im, "b", 3) && image_ids_has(&part(im, "b", 3)->fresh, 1));
	done(im);
}

/* One owner per partition, whoever asks; a topic's partitions go round the loops. */
static void test_owner(void)
{
	struct uuid none = {{0}}, one = uuid_of(1);
	for (uint32_t n = 1; n <= 8; n++) {
		int load[8] = {0};
		for (int32_t p = 0; p < 64; p++) {
			uint32_t o = partition_owner(42, &one, slice_str("topic"), p, n);
			CU_ASSERT_FATAL(o < n);
			CU_ASSERT_EQUAL(o, partition_owner(42, &none, slice_str("topic"), p, n)); /* a folder on disk may know no id */
			load[o]++;
		}
		for (uint32_t i = 0; i < n; i++)
			CU_ASSERT(load[i] >= 64 / (int)n && load[i] <= 64 / (int)n + 1);
	}
}

UNIT_MAIN("image", {"empty", test_empty}, {"snapshot", test_snapshot}, {"snapshot_in_slices", test_snapshot_in_slices},
	  {"snapshot_in_parts", test_snapshot_in_parts}, {"each_topic_is_ordered", test_each_topic_is_ordered}, {"delta", test_delta},
	{"delta_twice", test_delta_twice}, {"new_reign", test_new_reign}, {"partition_never_back", test_partition_never_back},
	{"removal_and_absence", test_removal_and_absence}, {"removal_of_another_life", test_removal_of_another_life}, {"removal_of_the_unknown", test_removal_of_the_unknown},
	{"created_again", test_created_again}, {"configs", test_configs}, {"brokers", test_brokers}, {"nonsense", test_nonsense},
	{"more_partitions", test_more_partitions}, {"owner", test_owner})
