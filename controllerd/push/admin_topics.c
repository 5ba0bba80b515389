/* admin_topics.c: CreateTopics, DeleteTopics, ListPartitionReassignments. See admin_priv.h.
 *
 * CreateTopics is answered when every partition has a leader in the published image, DeleteTopics when the topic left it, or by timeout;
 * the work goes on either way (replication.md 10).
 */
#include <string.h>

#include "common/base/mem.h"
#include "common/config/broker_key.h"
#include "common/config/topic_config.h"
#include "common/wire/kerr.h"
#include "controllerd/push/admin_priv.h"

/* q->own: per row of the response the topic id that is waited for. */
struct waits {
	struct uuid *ids;   /* zero = settled */
	int32_t first_open; /* all before it are settled */
	const bool *twice;
};
static const struct uuid open_row = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; /* no id is known yet */

static struct waits *waits_new(struct push_pending *q, int32_t rows)
{
	struct waits *w = q->own = ARENA_NEW(&q->arena, struct waits);
	w->ids = ARENA_ARRAY(&q->arena, struct uuid, (size_t)rows + 1);
	for (int32_t i = 0; i < rows; i++)
		w->ids[i] = open_row;
	q->rows = rows;
	return w;
}

/* ---- CreateTopics ---- */

static void fill_configs(struct push_pending *q, struct kp_create_topics_response_topics *row, const struct plan_config *set, int32_t set_count)
{
	if (q->version < 5)
		return;
	const struct plan_image *im = q->push->st->im;
	row->configs = ARENA_ARRAY(&q->arena, struct kp_create_topics_response_topics_configs, topic_config_key_count);
	row->configs_count = (int32_t)topic_config_key_count;
	for (size_t i = 0; i < topic_config_key_count; i++) {
		const struct topic_config_key *k = &topic_config_keys[i];
		struct kp_create_topics_response_topics_configs *c = &row->configs[i];
		kp_create_topics_response_topics_configs_init(c);
		const char *name = k->broker_key, *v = k->broker_key ? plan_cluster_setting(im, k->broker_key, &name) : NULL;
		int64_t ms;
		if (v && strcmp(name, k->broker_key) != 0 && broker_key_ms(name, v, &ms) == 0) { /* in hours or minutes: Kafka calls that a default */
			v = arena_printf(&q->arena, "%lld", (long long)ms);
			c->config_source = 5;
		} else {
			c->config_source = !v ? 5 : plan_configs_get(&im->default_config, name) ? 3 : 4; /* default, dynamic default, static broker config */
		}
		struct str shown = {0};
		v = v ? v : k->default_value;
		for (int32_t n = 0; n < set_count; n++)
			if (strcmp(set[n].key, k->name) == 0) {
				v = set[n].value;
				c->config_source = 1; /* topic */
			}
		c->name = slice_str(k->name);
		config_value_normal(k->type, v, &shown);
		c->value = slice_str(arena_strndup(&q->arena, shown.len ? shown.ptr : "", shown.len));
		str_fini(&shown);
	}
}

struct create_arg {
	struct push_pending *q;
	int32_t row;
};

static void on_topic_written(void *ctx, void *arg, int err)
{
	struct create_arg *ca = arg;
	struct push_pending *q = ca->q;
	int32_t row = ca->row;
	mem_free(ca);
	if (!admin_written(q))
		return;
	struct kp_create_topics_response *response = q->response;
	struct kp_create_topics_response_topics *r = &response->topics[row];
	struct uuid *wait = &((struct waits *)q->own)->ids[row];
	if (err) {
		*wait = (struct uuid){{0}};
		r->error_code = err == ERR_EXIST ? KERR_TOPIC_ALREADY_EXISTS : err == ERR_STALE ? KERR_NOT_CONTROLLER : err == ERR_LIMIT ? KERR_INVALID_PARTITIONS : KERR_UNKNOWN_SERVER_ERROR;
		r->error_message = slice_str(err == ERR_EXIST ? "Topic was created by somebody else at the same time." : err == ERR_STALE ? "This controller was replaced." : "ZooKeeper refused the topic.");
		return;
	}
	const struct plan_topic *t = plan_topic_find_slice(q->push->st->im, r->name);
	if (t)
		r->topic_id = *wait = t->id;
}

static const bool *named_twice(struct push_pending *q, const struct kp_create_topics_request *in)
{
	struct slice *names = ARENA_ARRAY(&q->arena, struct slice, (size_t)in->topics_count + 1);
	bool *twice = ARENA_ARRAY(&q->arena, bool, (size_t)in->topics_count + 1);
	for (int32_t i = 0; i < in->topics_count; i++)
		names[i] = in->topics[i].name;
	const int32_t *first = admin_first_named(q, names, in->topics_count);
	for (int32_t i = 0; i < in->topics_count; i++)
		if (first[i] != i)
			twice[i] = twice[first[i]] = true;
	return twice;
}

static void create_one(struct push_pending *q, int32_t at)
{
	const struct kp_create_topics_request *in = q->request;
	struct push *p = q->push;
	struct arena *a = &q->arena;
	const struct kp_create_topics_request_topics *t = &in->topics[at];
	struct kp_create_topics_response *response = q->response;
	struct kp_create_topics_response_topics *row = &response->topics[at];
	struct waits *waits = q->own;
	struct plan_new_partition *manual = ARENA_ARRAY(a, struct plan_new_partition, (size_t)(t->assignments_count > 0 ? t->assignments_count : 0) + 1);
	for (int32_t i = 0; i < t->assignments_count; i++)
		manual[i] = (struct plan_new_partition){t->assignments[i].partition_index, {t->assignments[i].broker_ids, t->assignments[i].broker_ids_count}};
	struct plan_config *configs = ARENA_ARRAY(a, struct plan_config, (size_t)(t->configs_count > 0 ? t->configs_count : 0) + 1);
	for (int32_t i = 0; i < t->configs_count; i++)
		configs[i] = (struct plan_config){arena_strndup(a, (const char *)t->configs[i].name.ptr, t->configs[i].name.len),
						  t->configs[i].value.ptr ? arena_strndup(a, (const char *)t->configs[i].value.ptr, t->configs[i].value.len) : NULL};
	struct plan_new_topic n = {.name = row->name, .num_partitions = t->num_partitions, .replication_factor = t->replication_factor,
				   .manual = t->assignments_count > 0 ? manual : NULL, .manual_count = t->assignments_count, .configs = configs,
				   .config_count = t->configs_count > 0 ? t->configs_count : 0, .random = env_random_u64(p->env)};
	struct str problem = {0};
	if (slice_eq_str(row->name, "__cluster_metadata")) {
		str_add(&problem, "Creation of internal topic __cluster_metadata is prohibited.");
		row->error_code = KERR_INVALID_REQUEST;
	} else if (waits->twice[at]) {
		str_add(&problem, "Found multiple entries for this topic.");
		row->error_code = KERR_INVALID_REQUEST;
	} else if (state_creating(p->st, row->name)) {
		str_printf(&problem, "Topic '%.*s' already exists.", (int)row->name.len, (const char *)row->name.ptr);
		row->error_code = KERR_TOPIC_ALREADY_EXISTS;
	} else {
		row->error_code = plan_topic_validate(p->st->im, &n, &problem);
	}
	row->error_message = admin_text(q, &problem);
	str_fini(&problem);
	if (row->error_code || in->validate_only)
		waits->ids[at] = (struct uuid){{0}};
	if (row->error_code)
		return;
	row->num_partitions = n.partition_count;
	row->replication_factor = (int16_t)n.partitions[0].replicas.n;
	fill_configs(q, row, configs, n.config_count);
	if (!in->validate_only) {
		struct create_arg *ca = MEM_NEW(struct create_arg);
		*ca = (struct create_arg){q, at};
		q->writing++;
		state_create_topic(p->st, &n, on_topic_written, p, ca);
	}
	plan_new_topic_fini(&n);
}

static void create_start(struct push_pending *q, const void *request)
{
	const struct kp_create_topics_request *in = request;
	struct kp_create_topics_response *response = q->response;
	response->topics_count = in->topics_count;
	response->topics = ARENA_ARRAY(&q->arena, struct kp_create_topics_response_topics, (size_t)in->topics_count + 1);
	admin_timeout(q, in->timeout_ms);
	for (int32_t i = 0; i < in->topics_count; i++) {
		struct kp_create_topics_response_topics *row = &response->topics[i];
		kp_create_topics_response_topics_init(row);
		row->name = in->topics[i].name;
		row->error_message = (struct slice){NULL, 0};
		row->configs_count = 0; /* none when it is refused, but not null: as Kafka */
	}
	waits_new(q, in->topics_count)->twice = named_twice(q, in);
}

static bool all_led(const struct plan_topic *t)
{
	for (int32_t i = 0; i < t->partition_count; i++) {
		const struct plan_partition *p = &t->partitions[i];
		if (p->replicas.n && (!p->published || p->st.leader < 0))
			return false;
	}
	return t->published;
}

static bool create_settled(struct push_pending *q, bool late)
{
	struct kp_create_topics_response *response = q->response;
	struct waits *waits = q->own;
	for (int32_t i = waits->first_open; i < response->topics_count; i++) {
		struct uuid *wait = &waits->ids[i];
		bool written = !uuid_eq(wait, &open_row);
		const struct plan_topic *t = written ? plan_topic_find_id(q->push->st->im, wait) : NULL;
		if (written && (!t || all_led(t))) {
			*wait = (struct uuid){{0}};
		} else if (!late) {
			waits->first_open = i; /* asked at each publication: what is behind it waits for it anyway */
			return false;
		} else {
			struct kp_create_topics_response_topics *row = &response->topics[i];
			row->error_code = KERR_REQUEST_TIMED_OUT; /* the work goes on; Kafka tells the id with it, and nothing else */
			row->error_message = (struct slice){NULL, 0};
			row->num_partitions = -1;
			row->replication_factor = -1;
			row->configs_count = 0;
		}
	}
	return true;
}

const struct admin_call admin_create_topics = {KP_API_CREATE_TOPICS, create_start, create_one, create_settled, NULL};

/* ---- DeleteTopics ---- */

static bool by_row(const struct push_pending *q) { return q->version >= 6; }

static struct slice name_of(const struct push_pending *q, int32_t at)
{
	const struct kp_delete_topics_request *in = q->request;
	return by_row(q) ? in->topics[at].name : in->topic_names[at].ptr ? in->topic_names[at] : slice_make("", 0);
}

static void delete_one(struct push_pending *q, int32_t at)
{
	static const struct uuid none;
	const struct kp_delete_topics_request *in = q->request;
	struct slice name = name_of(q, at);
	const struct uuid *id = by_row(q) ? &in->topics[at].topic_id : &none;
	struct push *p = q->push;
	struct kp_delete_topics_response *response = q->response;
	struct kp_delete_topics_response_responses *row = &response->responses[at];
	struct uuid *wait = &((struct waits *)q->own)->ids[at];
	*wait = (struct uuid){{0}};
	struct plan_topic *t = name.ptr ? plan_topic_find_slice(p->st->im, name) : plan_topic_find_id(p->st->im, id);
	if (name.ptr && !uuid_is_zero(id)) {
		row->error_code = KERR_INVALID_REQUEST;
		row->error_message = slice_str("Topic name and topic id can not both be set.");
	} else if (!p->st->delete_enabled) {
		row->error_code = q->version < 3 ? KERR_INVALID_REQUEST : KERR_TOPIC_DELETION_DISABLED;
	} else if (!t || t->vanished || uuid_is_zero(&t->id)) { /* one that has no id yet is not known to any client */
		row->error_code = name.ptr ? KERR_UNKNOWN_TOPIC_OR_PARTITION : KERR_UNKNOWN_TOPIC_ID;
	} else {
		row->name = slice_make(arena_strndup(&q->arena, t->name, strlen(t->name)), strlen(t->name));
		row->topic_id = *wait = t->id;
		if (!t->deleting)
			state_delete_topic(p->st, t);
	}
}

static void delete_start(struct push_pending *q, const void *request)
{
	const struct kp_delete_topics_request *in = request;
	struct kp_delete_topics_response *response = q->response;
	int32_t n = by_row(q) ? in->topics_count : in->topic_names_count;
	n = n > 0 ? n : 0;
	response->responses_count = n;
	response->responses = ARENA_ARRAY(&q->arena, struct kp_delete_topics_response_responses, (size_t)n + 1);
	admin_timeout(q, in->timeout_ms);
	for (int32_t i = 0; i < n; i++) {
		struct kp_delete_topics_response_responses *row = &response->responses[i];
		kp_delete_topics_response_responses_init(row);
		row->error_message = (struct slice){NULL, 0};
		row->name = name_of(q, i);
		if (by_row(q))
			row->topic_id = in->topics[i].topic_id;
	}
	(void)waits_new(q, n);
}

static bool delete_settled(struct push_pending *q, bool late)
{
	struct kp_delete_topics_response *response = q->response;
	struct waits *waits = q->own;
	for (int32_t i = waits->first_open; i < response->responses_count; i++) {
		struct uuid *wait = &waits->ids[i];
		if (!uuid_eq(wait, &open_row) && !plan_topic_find_id(q->push->st->im, wait)) {
			*wait = (struct uuid){{0}};
		} else if (late) {
			response->responses[i].error_code = KERR_REQUEST_TIMED_OUT;
		} else {
			waits->first_open = i;
			return false;
		}
	}
	return true;
}

const struct admin_call admin_delete_topics = {KP_API_DELETE_TOPICS, delete_start, delete_one, delete_settled, NULL};

/* ---- ListPartitionReassignments ---- */

/* Nothing is ever being reassigned: the empty answer is the true one. */
static void list_start(struct push_pending *q, const void *request)
{
	struct kp_list_partition_reassignments_response *response = q->response;
	response->error_message = (struct slice){NULL, 0};
}

const struct admin_call admin_list_partition_reassignments = {KP_API_LIST_PARTITION_REASSIGNMENTS, list_start, NULL, NULL, NULL};
