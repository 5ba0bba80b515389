/* fuzz_group.c: libFuzzer target for the coordinator's core: first records as a log might hold them, then calls of members, commits, deletions,
 * time and outcomes of writes in whatever order the bytes say. Every call is answered exactly once; nothing is left behind.
 *
 * Without libFuzzer (FUZZ_MAIN defined) the program runs the files given as arguments once: to replay a finding.
 */
#include <stdio.h>

#include "brokerd/group/group_priv.h"
#include "common/wire/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct caller {
	struct groups_call call;
	struct arena arena;
	struct caller *next;
	bool answered;
	_Alignas(8) uint8_t request[256], response[256];
	struct groups_offset rows[2];
	struct slice groups[2];
	int16_t errors[2];
};

struct fuzz {
	struct groups_list list; /* one group at a time, while others come and go */
	struct cursor in;
	struct groups *g;
	struct groups_config cfg;
	struct groups_out out;
	struct list writes;
	struct caller *callers;
	int64_t now, offset;
};

static const char *const names[] = {"g", "h", ""};
static const char *const topics[] = {"t", "u"};
static const char *const protocols[] = {"range", "rr", "x"};

static void take(struct fuzz *f)
{
	for (struct list *it; (it = list_pop_front(&f->out.answered));) {
		struct caller *c = CONTAINER_OF(LIST_ENTRY(it, struct groups_call, link), struct caller, call);
		ASSERT(!c->answered);
		c->answered = true;
	}
	for (struct list *it; (it = list_pop_front(&f->out.writes));)
		list_push_back(&f->writes, it);
}

static struct caller *caller_new(struct fuzz *f)
{
	struct caller *c = MEM_NEW(struct caller);
	c->next = f->callers;
	f->callers = c;
	arena_init(&c->arena, 0);
	c->call = (struct groups_call){.arena = &c->arena, .version = (int16_t)(cursor_u8(&f->in) % 10), .client_id = slice_str("c"), .client_host = "/h",
		.request = c->request, .response = c->response};
	return c;
}

static struct slice a_group(struct fuzz *f)
{
	return slice_str(names[cursor_u8(&f->in) % 3]);
}

static struct slice a_topic(struct fuzz *f)
{
	return slice_str(topics[cursor_u8(&f->in) % 2]);
}

/* An id that somebody has, or none. */
static struct slice a_member(struct fuzz *f, struct caller *c, struct slice group, struct slice *ret_instance)
{
	const struct group *gr = group_find(f->g, group);
	uint32_t n = cursor_u8(&f->in) % 8, i = 0;
	*ret_instance = slice_make(NULL, 0);
	if (!gr || !gr->roster || n == 0)
		return slice_make("", 0);
	for (int k = 0; k < 2; k++)
		LIST_FOR(it, k ? &gr->roster->pendings : &gr->roster->members) {
			const struct member *m = LIST_ENTRY(it, struct member, link);
			if (++i != n)
				continue;
			*ret_instance = group_copy_to(&c->arena, member_instance(m));
			return group_copy_to(&c->arena, member_id(m));
		}
	return slice_str("ghost");
}

static int32_t a_generation(struct fuzz *f, struct slice group)
{
	const struct group *gr = group_find(f->g, group);
	uint8_t b = cursor_u8(&f->in);
	return b < 200 && gr ? gr->generation : (int32_t)b - 201;
}

/* ---- the log ---- */

static void replay(struct fuzz *f)
{
	uint8_t kind = cursor_u8(&f->in), key[64];
	struct slice group = a_group(f), topic = a_topic(f);
	uint8_t *p = put_i16(key, kind & 1 ? 2 : 1);
	p = put_bytes(put_i16(p, (int16_t)group.len), group.ptr, group.len);
	if (!(kind & 1)) {
		p = put_bytes(put_i16(p, (int16_t)topic.len), topic.ptr, topic.len);
		p = put_i32(p, cursor_u8(&f->in) % 3);
	}
	struct slice value = cursor_bytes(&f->in, cursor_u16(&f->in) % 300);
	if (kind & 2)
		value = slice_make(NULL, 0);
	int err = groups_replay(f->g, slice_make(key, (size_t)(p - key)), value, f->offset++, kind & 4 ? kind >> 6 : -1);
	ASSERT(err == 0 || err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
}

static void replay_raw(struct fuzz *f)
{
	struct slice key = cursor_bytes(&f->in, cursor_u8(&f->in) % 40), value = cursor_bytes(&f->in, cursor_u8(&f->in));
	int err = groups_replay(f->g, key, value, f->offset++, -1);
	ASSERT(err <= 0);
}

/* ---- calls ---- */

static void fuzz_join(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct kp_join_group_request *r = (struct kp_join_group_request *)c->request;
	kp_join_group_request_init(r);
	r->group_id = a_group(f);
	r->member_id = a_member(f, c, r->group_id, &r->group_instance_id);
	uint8_t how = cursor_u8(&f->in);
	if (how & 1)
		r->group_instance_id = slice_str(how & 2 ? "i" : "j");
	r->protocol_type = slice_str(how & 4 ? "consumer" : "connect");
	r->session_timeout_ms = 6000 + how * 10;
	r->rebalance_timeout_ms = cursor_u8(&f->in) * 100;
	r->protocols_count = how >> 3 & 3;
	r->protocols = ARENA_ARRAY(&c->arena, struct kp_join_group_request_protocols, 3);
	for (int i = 0; i < r->protocols_count; i++) {
		r->protocols[i].name = slice_str(protocols[(how >> 5) % 2 + i > 2 ? 2 : (how >> 5) % 2 + i]);
		r->protocols[i].metadata = cursor_bytes(&f->in, cursor_u8(&f->in) % 30);
	}
	groups_join(f->g, &c->call, f->now, &f->out);
}

static void fuzz_sync(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct kp_sync_group_request *r = (struct kp_sync_group_request *)c->request;
	kp_sync_group_request_init(r);
	r->group_id = a_group(f);
	r->member_id = a_member(f, c, r->group_id, &r->group_instance_id);
	r->generation_id = a_generation(f, r->group_id);
	r->assignments_count = 1;
	r->assignments = ARENA_ARRAY(&c->arena, struct kp_sync_group_request_assignments, 1);
	r->assignments[0] = (struct kp_sync_group_request_assignments){r->member_id, cursor_bytes(&f->in, cursor_u8(&f->in) % 20)};
	groups_sync(f->g, &c->call, f->now, &f->out);
}

static void fuzz_beat(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct kp_heartbeat_request *r = (struct kp_heartbeat_request *)c->request;
	r->group_id = a_group(f);
	r->member_id = a_member(f, c, r->group_id, &r->group_instance_id);
	r->generation_id = a_generation(f, r->group_id);
	groups_heartbeat(f->g, &c->call, f->now, &f->out);
}

static void fuzz_leave(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct kp_leave_group_request *r = (struct kp_leave_group_request *)c->request;
	struct slice instance;
	kp_leave_group_request_init(r);
	r->group_id = a_group(f);
	r->member_id = a_member(f, c, r->group_id, &instance);
	r->members_count = 2;
	r->members = ARENA_ARRAY(&c->arena, struct kp_leave_group_request_members, 2);
	r->members[0] = (struct kp_leave_group_request_members){.member_id = r->member_id, .group_instance_id = instance};
	r->members[1] = (struct kp_leave_group_request_members){.member_id = slice_str(""), .group_instance_id = slice_str("i")};
	groups_leave(f->g, &c->call, f->now, &f->out);
}

static uint32_t put_rows(struct fuzz *f, struct caller *c)
{
	for (int i = 0; i < 2; i++)
		c->rows[i] = (struct groups_offset){.topic = a_topic(f), .partition = cursor_u8(&f->in) % 20, .offset = cursor_u8(&f->in), .commit_timestamp = -1, .leader_epoch = -1};
	return 1 + cursor_u8(&f->in) % 2;
}

static void fuzz_commit(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct groups_commit *r = (struct groups_commit *)c->request;
	r->group = a_group(f);
	r->member = a_member(f, c, r->group, &r->instance);
	r->generation = a_generation(f, r->group);
	r->retention_ms = (cursor_u8(&f->in) & 3) - 1;
	r->rows = c->rows;
	r->count = put_rows(f, c);
	c->call.response = r;
	groups_commit(f->g, &c->call, f->now, &f->out);
}

static void fuzz_delete(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct groups_delete *r = (struct groups_delete *)c->request;
	c->groups[0] = a_group(f);
	c->groups[1] = a_group(f);
	*r = (struct groups_delete){.groups = c->groups, .errors = c->errors, .count = 2};
	c->call.response = r;
	groups_delete(f->g, &c->call, f->now, &f->out);
}

static void fuzz_delete_offsets(struct fuzz *f)
{
	struct caller *c = caller_new(f);
	struct groups_offset_delete *r = (struct groups_offset_delete *)c->request;
	r->group = a_group(f);
	r->rows = c->rows;
	r->count = put_rows(f, c);
	c->call.response = r;
	groups_delete_offsets(f->g, &c->call, f->now, &f->out);
}

static void fuzz_written(struct fuzz *f)
{
	static const int16_t errors[] = {0, 0, 0, 0, 0, KERR_NOT_ENOUGH_REPLICAS, KERR_NOT_LEADER_OR_FOLLOWER, KERR_REQUEST_TIMED_OUT};
	struct list *it = list_pop_front(&f->writes);
	if (!it)
		return;
	struct groups_write *w = LIST_ENTRY(it, struct groups_write, link);
	int64_t base = f->offset;
	f->offset += w->count;
	groups_written(f->g, w, errors[cursor_u8(&f->in) % 8], base, f->now, &f->out);
}

static void listed(void *ctx, const struct groups_list_row *row)
{
	(void)ctx;
	(void)row;
}

static void fuzz_reads(struct fuzz *f)
{
	struct arena a;
	struct groups_fetch fetch = {.group = a_group(f), .all = true, .require_stable = true};
	struct kp_describe_groups_response_groups d;
	arena_init(&a, 0);
	groups_fetch(f->g, &fetch, &a);
	groups_describe(f->g, a_group(f), 6, &a, &d);
	arena_fini(&a);
	if (f->list.g && groups_list(&f->list, 1, listed, f))
		groups_list_end(&f->list);
	else if (!f->list.g)
		groups_list_begin(f->g, &f->list);
}

static void step(struct fuzz *f)
{
	switch (cursor_u8(&f->in) % 15) {
	case 0: case 1: fuzz_join(f); break;
	case 2: fuzz_sync(f); break;
	case 3: fuzz_beat(f); break;
	case 4: fuzz_leave(f); break;
	case 5: fuzz_commit(f); break;
	case 6: fuzz_delete(f); break;
	case 7: fuzz_delete_offsets(f); break;
	case 8: case 9: case 10: fuzz_written(f); break;
	case 11:
		f->now += cursor_u16(&f->in);
		groups_tick(f->g, f->now, &f->out);
		break;
	case 12:
		f->now += (int64_t)cursor_u8(&f->in) * 10000;
		groups_expire(f->g, f->now, 1 + cursor_u8(&f->in) % 3, &f->out);
		break;
	case 13:
		if (!groups_sweep(f->g, 1, &f->out))
			break;
		groups_topic_gone(f->g, a_topic(f));
		break;
	default:
		fuzz_reads(f);
		if (cursor_u8(&f->in) & 1)
			replay(f);
		else
			groups_replay_marker(f->g, cursor_u8(&f->in) & 3, cursor_u8(&f->in) & 1, f->offset++);
	}
	take(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct fuzz f = {.in = cursor_make(slice_make(bytes, len)), .now = 1000000, .cfg = {.min_session_timeout_ms = 6000, .max_session_timeout_ms = 1800000,
		.offset_metadata_max_bytes = 10, .offsets_retention_ms = 1000000}};
	groups_out_init(&f.out);
	list_init(&f.writes);
	f.cfg.max_size = 1 + cursor_u8(&f.in) % 6;
	f.cfg.initial_rebalance_delay_ms = cursor_u8(&f.in) % 4 * 1000;
	f.g = groups_new(0, 1, 2, &f.cfg);
	for (int n = cursor_u8(&f.in) % 12; n > 0 && !cursor_err(&f.in); n--) {
		uint8_t b = cursor_u8(&f.in);
		if (b < 40)
			groups_replay_marker(f.g, b & 3, b & 4, f.offset++);
		else if (b < 80)
			replay_raw(&f);
		else
			replay(&f);
	}
	groups_loaded(f.g, f.now, &f.out);
	take(&f);
	while (!cursor_err(&f.in) && cursor_left(&f.in))
		step(&f);
	groups_resign(f.g, &f.out);
	take(&f);
	for (struct caller *c = f.callers, *next; c; c = next) {
		next = c->next;
		ASSERT(c->answered);
		arena_fini(&c->arena);
		mem_free(c);
	}
	groups_free(f.g);
	for (struct list *it; (it = list_pop_front(&f.writes));)
		groups_write_free(LIST_ENTRY(it, struct groups_write, link));
	return 0;
}

#ifdef FUZZ_MAIN
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		static uint8_t bytes[1 << 20];
		FILE *f = fopen(argv[i], "rb");
		size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
		if (f)
			fclose(f);
		LLVMFuzzerTestOneInput(bytes, n);
	}
	return 0;
}
#endif
