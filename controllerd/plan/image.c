/* image.c: the tables of the controller's image. See image.h. */
#include "controllerd/plan/image.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/base/str.h"
#include "common/config/broker_key.h"
#include "common/config/topic_config.h"

/* ---- ids ---- */

bool plan_ids_has(const struct plan_ids *s, int32_t id)
{
	for (int32_t i = 0; i < s->n; i++)
		if (s->v[i] == id)
			return true;
	return false;
}

bool plan_ids_eq(const struct plan_ids *a, const struct plan_ids *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->v, b->v, sizeof(int32_t) * (size_t)a->n) == 0);
}

bool plan_ids_same_members(const struct plan_ids *a, const struct plan_ids *b)
{
	if (a->n != b->n)
		return false;
	for (int32_t i = 0; i < a->n; i++)
		if (!plan_ids_has(b, a->v[i]))
			return false;
	return true;
}

void plan_ids_set(struct plan_ids *s, const int32_t *v, int32_t n)
{
	int32_t *copy = NULL;
	if (n > 0) {
		copy = mem_alloc(sizeof(int32_t) * (size_t)n);
		memcpy(copy, v, sizeof(int32_t) * (size_t)n);
	}
	mem_free(s->v);
	*s = (struct plan_ids){copy, n > 0 ? n : 0};
}

void plan_ids_copy(struct plan_ids *s, const struct plan_ids *from)
{
	plan_ids_set(s, from->v, from->n);
}

bool plan_ids_add(struct plan_ids *s, int32_t id)
{
	if (plan_ids_has(s, id))
		return false;
	s->v = mem_realloc(s->v, sizeof(int32_t) * (size_t)(s->n + 1));
	s->v[s->n++] = id;
	return true;
}

bool plan_ids_remove(struct plan_ids *s, int32_t id)
{
	for (int32_t i = 0; i < s->n; i++) {
		if (s->v[i] != id)
			continue;
		memmove(s->v + i, s->v + i + 1, sizeof(int32_t) * (size_t)(s->n - i - 1));
		s->n--;
		return true;
	}
	return false;
}

void plan_ids_fini(struct plan_ids *s)
{
	mem_free(s->v);
	*s = (struct plan_ids){NULL, 0};
}

void plan_state_copy(struct plan_state *s, const struct plan_state *from)
{
	s->leader = from->leader;
	s->leader_epoch = from->leader_epoch;
	s->controller_epoch = from->controller_epoch;
	s->recovery_state = from->recovery_state;
	plan_ids_copy(&s->isr, &from->isr);
	plan_ids_copy(&s->elr, &from->elr);
	plan_ids_copy(&s->lossy, &from->lossy);
}

void plan_state_fini(struct plan_state *s)
{
	plan_ids_fini(&s->isr);
	plan_ids_fini(&s->elr);
	plan_ids_fini(&s->lossy);
}

/* ---- configs ---- */

const char *plan_configs_get(const struct plan_configs *c, const char *key)
{
	int32_t lo = 0, hi = c->n;
	while (lo < hi) {
		int32_t mid = (lo + hi) / 2;
		int cmp = strcmp(c->v[mid].key, key);
		if (cmp == 0)
			return c->v[mid].value;
		if (cmp < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

void plan_configs_put(struct plan_configs *c, const char *key, const char *value)
{
	int32_t i = 0;
	while (i < c->n && strcmp(c->v[i].key, key) < 0)
		i++;
	if (i < c->n && strcmp(c->v[i].key, key) == 0) {
		mem_free(c->v[i].value);
		c->v[i].value = mem_strdup(value);
		return;
	}
	c->v = mem_realloc(c->v, sizeof(*c->v) * (size_t)(c->n + 1));
	memmove(c->v + i + 1, c->v + i, sizeof(*c->v) * (size_t)(c->n - i));
	c->v[i] = (struct plan_config){mem_strdup(key), mem_strdup(value)};
	c->n++;
}

bool plan_configs_put_topic(struct plan_configs *c, const char *key, const char *value)
{
	const struct topic_config_key *k = topic_config_find(key);
	struct str text = {0};
	if (k && !topic_config_usable(k, value))
		return false;
	if (k)
		config_value_normal(k->type, value, &text);
	plan_configs_put(c, key, k ? str_cstr(&text) : value);
	str_fini(&text);
	return true;
}

void plan_configs_remove(struct plan_configs *c, const char *key)
{
	for (int32_t i = 0; i < c->n; i++) {
		if (strcmp(c->v[i].key, key) != 0)
			continue;
		mem_free(c->v[i].key);
		mem_free(c->v[i].value);
		memmove(c->v + i, c->v + i + 1, sizeof(*c->v) * (size_t)(c->n - i - 1));
		c->n--;
		return;
	}
}

void plan_configs_fini(struct plan_configs *c)
{
	for (int32_t i = 0; i < c->n; i++) {
		mem_free(c->v[i].key);
		mem_free(c->v[i].value);
	}
	mem_free(c->v);
	*c = (struct plan_configs){NULL, 0};
}

/* ---- brokers ---- */

struct plan_broker *plan_broker_find(const struct plan_image *im, int32_t id)
{
	struct plan_broker *b;
	HASH_FIND_INT(im->brokers, &id, b);
	return b;
}

static int broker_by_id(const struct plan_broker *a, const struct plan_broker *b)
{
	return a->id < b->id ? -1 : a->id > b->id;
}

struct plan_broker *plan_broker_get(struct plan_image *im, int32_t id)
{
	struct plan_broker *b = plan_broker_find(im, id);
	if (b)
		return b;
	b = MEM_NEW(struct plan_broker);
	b->id = id;
	b->boot_version = -1;
	list_init(&b->change);
	HASH_ADD_INT(im->brokers, id, b);
	HASH_SORT(im->brokers, broker_by_id);
	return b;
}

void plan_broker_clear_endpoints(struct plan_broker *b)
{
	for (int32_t i = 0; i < b->endpoint_count; i++) {
		mem_free(b->endpoints[i].listener);
		mem_free(b->endpoints[i].host);
		mem_free(b->endpoints[i].security);
	}
	mem_free(b->endpoints);
	b->endpoints = NULL;
	b->endpoint_count = 0;
}

void plan_broker_clear_inventory(struct plan_broker *b)
{
	mem_free(b->inventory);
	b->inventory = NULL;
	b->inventory_count = b->inventory_cap = 0;
	b->inventory_known = false;
}

void plan_broker_add_inventory(struct plan_broker *b, const struct plan_inventory *row)
{
	MEM_GROW(b->inventory, b->inventory_cap, b->inventory_count + 1);
	b->inventory[b->inventory_count++] = *row;
}

static int inventory_cmp(const void *x, const void *y)
{
	const struct plan_inventory *a = x, *b = y;
	int c = memcmp(&a->topic_id, &b->topic_id, sizeof(a->topic_id));
	if (c)
		return c;
	return a->partition < b->partition ? -1 : a->partition > b->partition;
}

void plan_broker_sort_inventory(struct plan_broker *b)
{
	if (b->inventory_count)
		qsort(b->inventory, b->inventory_count, sizeof(*b->inventory), inventory_cmp);
	b->inventory_known = true;
}

const struct plan_inventory *plan_broker_inventory(const struct plan_broker *b, const struct uuid *topic_id, int32_t partition)
{
	if (!b->inventory_count)
		return NULL;
	struct plan_inventory key = {.topic_id = *topic_id, .partition = partition};
	return bsearch(&key, b->inventory, b->inventory_count, sizeof(*b->inventory), inventory_cmp);
}

static int inventory_topic_cmp(const void *x, const void *y)
{
	const struct plan_inventory *a = x, *b = y;
	return memcmp(&a->topic_id, &b->topic_id, sizeof(a->topic_id));
}

bool plan_broker_holds(const struct plan_broker *b, const struct uuid *topic_id)
{
	struct plan_inventory key = {.topic_id = *topic_id};
	return b->inventory_count && bsearch(&key, b->inventory, b->inventory_count, sizeof(*b->inventory), inventory_topic_cmp);
}

uint64_t plan_name_hash(const char *topic) { return XXH64(topic, strlen(topic), 0); }

static void broker_free(struct plan_broker *b)
{
	plan_broker_clear_endpoints(b);
	plan_broker_clear_inventory(b);
	plan_configs_fini(&b->statics);
	mem_free(b->rack);
	mem_free(b);
}

int32_t plan_lowest_live_broker(const struct plan_image *im)
{
	for (const struct plan_broker *b = im->brokers; b; b = b->hh.next)
		if (b->available)
			return b->id;
	return -1;
}

/* ---- topics ---- */

struct plan_topic *plan_topic_find_slice(const struct plan_image *im, struct slice name)
{
	struct plan_topic *t;
	if (!name.ptr)
		return NULL;
	HASH_FIND(by_name, im->by_name, name.ptr, name.len, t);
	return t;
}

struct plan_topic *plan_topic_find(const struct plan_image *im, const char *name)
{
	return plan_topic_find_slice(im, slice_str(name));
}

struct plan_topic *plan_topic_find_id(const struct plan_image *im, const struct uuid *id)
{
	struct plan_topic *t;
	HASH_FIND(by_id, im->by_id, id, sizeof(*id), t);
	return t;
}

struct plan_topic *plan_topic_add(struct plan_image *im, const char *name, const struct uuid *id)
{
	ASSERT(!plan_topic_find(im, name));
	struct plan_topic *t = MEM_NEW(struct plan_topic);
	t->name = mem_strdup(name);
	t->version = -1;
	list_init(&t->change);
	HASH_ADD_KEYPTR(by_name, im->by_name, t->name, strlen(t->name), t);
	im->topic_count++;
	if (id && !uuid_is_zero(id))
		plan_topic_set_id(im, t, id);
	return t;
}

void plan_topic_set_id(struct plan_image *im, struct plan_topic *t, const struct uuid *id)
{
	if (!uuid_is_zero(&t->id) && plan_topic_find_id(im, &t->id) == t)
		HASH_DELETE(by_id, im->by_id, t);
	t->id = *id;
	if (!uuid_is_zero(id) && !plan_topic_find_id(im, id))
		HASH_ADD(by_id, im->by_id, id, sizeof(t->id), t);
}

static void partition_fini(struct plan_partition *p)
{
	plan_ids_fini(&p->replicas);
	plan_ids_fini(&p->adding);
	plan_ids_fini(&p->removing);
	plan_ids_fini(&p->ending);
	plan_ids_fini(&p->lossy_new);
	plan_ids_fini(&p->offline);
	plan_ids_fini(&p->fresh);
	plan_state_fini(&p->st);
	mem_free(p->proposal);
}

void plan_topic_remove(struct plan_image *im, struct plan_topic *t)
{
	struct uuid none = {{0}};
	plan_topic_set_id(im, t, &none);
	HASH_DELETE(by_name, im->by_name, t);
	im->topic_count--;
	for (int32_t i = 0; i < t->partition_count; i++) {
		struct plan_partition *p = &t->partitions[i];
		if (p->replicas.n)
			im->partition_count--;
		list_remove(&p->work);
		list_remove(&p->change);
		partition_fini(p);
	}
	list_remove(&t->change);
	mem_free(t->partitions);
	mem_free(t->deletion);
	plan_configs_fini(&t->config);
	mem_free(t->name);
	mem_free(t);
}

static void list_rehome(struct list *n, const struct list *was)
{
	/* the array moved: neighbours (or the node itself when it is alone) still point to the old place */
	if (n->next == was) {
		list_init(n);
		return;
	}
	n->next->prev = n;
	n->prev->next = n;
}

/* They come one by one: room grows by half, so that ten thousand of them are not moved ten thousand times. */
static void partitions_room(struct plan_topic *t, int32_t count)
{
	if (count <= t->partition_cap)
		return;
	int32_t cap = t->partition_cap + t->partition_cap / 2;
	cap = cap < count ? count : cap > PLAN_PARTITION_MAX ? PLAN_PARTITION_MAX : cap;
	struct plan_partition *old = t->partitions, *grown = mem_zalloc(sizeof(*grown) * (size_t)cap);
	for (int32_t i = 0; i < t->partition_count; i++) {
		grown[i] = old[i];
		list_rehome(&grown[i].work, &old[i].work);
		list_rehome(&grown[i].change, &old[i].change);
	}
	mem_free(old);
	t->partitions = grown;
	t->partition_cap = cap;
}

static void partitions_grow(struct plan_topic *t, int32_t count)
{
	partitions_room(t, count);
	for (int32_t i = t->partition_count; i < count; i++) {
		struct plan_partition *p = &t->partitions[i];
		list_init(&p->work);
		list_init(&p->change);
		p->topic = t;
		p->idx = i;
		p->version = -1;
		p->st.leader = -1;
	}
	t->partition_count = count;
}

bool plan_topic_make_room(struct plan_topic *t, int32_t idx)
{
	if (idx < 0 || idx >= PLAN_PARTITION_MAX)
		return false;
	if (idx >= t->partition_count)
		partitions_grow(t, idx + 1);
	return true;
}

struct plan_partition *plan_partition_add(struct plan_image *im, struct plan_topic *t, int32_t idx, const struct plan_ids *replicas)
{
	if (replicas->n == 0 || !plan_topic_make_room(t, idx))
		return NULL;
	struct plan_partition *p = &t->partitions[idx];
	if (p->replicas.n == 0) {
		plan_ids_copy(&p->replicas, replicas);
		im->partition_count++;
	}
	return p;
}

struct plan_partition *plan_partition_find(const struct plan_topic *t, int32_t idx)
{
	if (idx < 0 || idx >= t->partition_count || t->partitions[idx].replicas.n == 0)
		return NULL;
	return &t->partitions[idx];
}

/* ---- image ---- */

struct plan_image *plan_image_new(void)
{
	struct plan_image *im = MEM_NEW(struct plan_image);
	im->default_min_isr = 1;
	return im;
}

void plan_image_free(struct plan_image *im)
{
	if (!im)
		return;
	while (im->by_name)
		plan_topic_remove(im, im->by_name);
	struct plan_broker *b, *next;
	HASH_ITER(hh, im->brokers, b, next) {
		HASH_DEL(im->brokers, b);
		broker_free(b);
	}
	while (im->entities) {
		struct plan_entity *e = im->entities;
		im->entities = e->next;
		plan_configs_fini(&e->config);
		mem_free(e);
	}
	plan_configs_fini(&im->default_config);
	mem_free(im);
}

struct plan_entity *plan_entity_get(struct plan_image *im, int32_t id)
{
	struct plan_entity **at = &im->entities;
	while (*at && (*at)->id < id)
		at = &(*at)->next;
	if (*at && (*at)->id == id)
		return *at;
	struct plan_entity *e = MEM_NEW(struct plan_entity);
	e->id = id;
	e->next = *at;
	*at = e;
	return e;
}

static int32_t positive(const char *text, int32_t otherwise)
{
	int64_t v; /* of a broker's file or /config/brokers it stands here as written */
	return text && config_i64(text, &v) == 0 && v >= 1 && v <= INT32_MAX ? (int32_t)v : otherwise;
}

#define MIN_ISR_KEY "min.insync.replicas"

int32_t plan_default_min_isr(const struct plan_image *im)
{
	int32_t v = positive(plan_configs_get(&im->default_config, MIN_ISR_KEY), 0);
	if (v)
		return v;
	for (const struct plan_entity *e = im->entities; e; e = e->next) {
		int32_t x = positive(plan_configs_get(&e->config, MIN_ISR_KEY), 0);
		v = x > v ? x : v;
	}
	if (v)
		return v;
	bool any = false;
	for (const struct plan_broker *b = im->brokers; b; b = b->hh.next) {
		if (!b->alive || !b->hello_seen)
			continue;
		const char *text = plan_configs_get(&b->statics, MIN_ISR_KEY);
		int32_t x = positive(text, 1);
		any |= b->hello_seen;
		v = x > v ? x : v;
	}
	return any ? v : im->default_min_isr;
}

int32_t plan_topic_min_isr(const struct plan_image *im, const struct plan_topic *t)
{
	return positive(plan_configs_get(&t->config, MIN_ISR_KEY), im->default_min_isr);
}

int32_t plan_effective_min_isr(const struct plan_image *im, const struct plan_partition *p)
{
	int32_t min = plan_topic_min_isr(im, p->topic);
	return min > p->replicas.n ? p->replicas.n : min;
}

const char *plan_cluster_config(const struct plan_image *im, const struct plan_topic *t, const char *topic_key, const char *broker_key, const char *def)
{
	const char *v = t && topic_key ? plan_configs_get(&t->config, topic_key) : NULL;
	if (!v)
		v = plan_configs_get(&im->default_config, broker_key);
	for (const struct plan_broker *b = im->brokers; b && !v; b = b->hh.next)
		if (b->alive)
			v = plan_configs_get(&b->statics, broker_key);
	return v ? v : def;
}

const char *plan_cluster_setting(const struct plan_image *im, const char *broker_key, const char **ret_name)
{
	const char *names[BROKER_KEY_SYNONYMS_MAX];
	uint32_t n = broker_key_synonyms(broker_key, names);
	const char *dynamic = plan_configs_get(&im->default_config, broker_key), *v = NULL;
	*ret_name = broker_key;
	for (uint32_t i = 0; i < n && !dynamic && !v; i++) {
		v = plan_cluster_config(im, NULL, NULL, names[i], NULL);
		*ret_name = names[i];
	}
	return dynamic ? dynamic : v;
}

bool plan_unclean_allowed(const struct plan_image *im, const struct plan_topic *t)
{
	bool on = false;
	const char *key = "unclean.leader.election.enable";
	return config_bool(plan_cluster_config(im, t, key, key, "false"), &on) == 0 && on;
}
