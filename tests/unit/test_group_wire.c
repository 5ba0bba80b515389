/* test_group_wire.c: the calls of members that a real Kafka 3.9.1 answered (golden/wire), given to the core: the same bytes come back, in every
 * version of JoinGroup, SyncGroup, Heartbeat, LeaveGroup and DescribeGroups. Member ids are random: recorded ones and ours are exchanged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire/frame.h"
#include "tests/unit/group_world.h"

#define FRAME_MAX 65536
#define IDS_MAX 64
#define ASKED_MAX 4

struct replay {
	struct world w;
	struct arena arena;
	struct { int con, corr; size_t len; uint8_t bytes[FRAME_MAX]; } asked[ASKED_MAX]; /* by connection and correlation: several may be open */
	struct { uint8_t recorded[128], ours[128]; size_t len; } ids[IDS_MAX];
	int id_count, checked, bad;
};

static void exchange(struct replay *r, uint8_t *bytes, size_t len, bool to_ours)
{
	for (int i = 0; i < r->id_count; i++) {
		const uint8_t *from = to_ours ? r->ids[i].recorded : r->ids[i].ours, *to = to_ours ? r->ids[i].ours : r->ids[i].recorded;
		for (uint8_t *p; (p = memmem(bytes, len, from, r->ids[i].len));)
			memcpy(p, to, r->ids[i].len);
	}
}

static void learn_id(struct replay *r, struct slice recorded, struct slice ours)
{
	if (!recorded.len || slice_eq(recorded, ours))
		return;
	CU_ASSERT_EQUAL_FATAL(recorded.len, ours.len);
	CU_ASSERT_FATAL(r->id_count < IDS_MAX && ours.len <= 128);
	memcpy(r->ids[r->id_count].recorded, recorded.ptr, recorded.len);
	memcpy(r->ids[r->id_count].ours, ours.ptr, ours.len);
	r->ids[r->id_count++].len = ours.len;
}

/* Our answer to the request, or false: not one of ours. */
static bool answer_to(struct replay *r, const struct wire_request_header *h, const void *req, void *ret_resp, struct gcall *c)
{
	struct world *w = &r->w;
	c->call.version = h->api_version;
	c->call.client_id = h->client_id;
	c->call.request = req;
	c->call.response = ret_resp;
	switch (h->api_key) {
	case KP_API_JOIN_GROUP: groups_join(w->g, &c->call, w->now, &w->out); break;
	case KP_API_SYNC_GROUP: groups_sync(w->g, &c->call, w->now, &w->out); break;
	case KP_API_HEARTBEAT: groups_heartbeat(w->g, &c->call, w->now, &w->out); break;
	case KP_API_LEAVE_GROUP: groups_leave(w->g, &c->call, w->now, &w->out); break;
	case KP_API_DESCRIBE_GROUPS: {
		const struct kp_describe_groups_request *d = req;
		struct kp_describe_groups_response *resp = ret_resp;
		kp_describe_groups_response_init(resp);
		resp->groups_count = d->groups_count;
		resp->groups = ARENA_ARRAY(&c->arena, struct kp_describe_groups_response_groups, (size_t)d->groups_count);
		for (int32_t i = 0; i < d->groups_count; i++) {
			groups_describe(w->g, d->groups[i], h->api_version, &c->arena, &resp->groups[i]);
			if (d->include_authorized_operations)
				resp->groups[i].authorized_operations = 0x148; /* the API layer's */
		}
		c->answered = true;
		break;
	}
	default:
		c->answered = true;
		return false;
	}
	world_take(w);
	world_written(w, 0);
	CU_ASSERT(c->answered);
	return true;
}

static void check_answer(struct replay *r, const char *file, uint8_t *request, size_t request_len, struct slice recorded)
{
	static uint8_t ours[FRAME_MAX];
	union { uint8_t bytes[512]; uint64_t align; } req, resp, want;
	struct wire_request_header h;
	struct chain out;
	exchange(r, request, request_len, true);
	struct slice in = slice_make(request, request_len);
	CU_ASSERT_EQUAL_FATAL(wire_request_header_decode(&in, &h), 0);
	const struct wire_api *api = wire_api_find(h.api_key);
	struct gcall *c = new_call(&r->w, 0);
	if (!api || wire_decode(api->request, h.api_version, &in, &c->arena, &req) || !answer_to(r, &h, &req, &resp, c)) {
		c->answered = true;
		return;
	}
	if (h.api_key == KP_API_JOIN_GROUP) {
		int32_t correlation_id;
		struct slice left = recorded;
		CU_ASSERT_EQUAL_FATAL(wire_response_header_decode(api, h.api_version, &left, &correlation_id), 0);
		CU_ASSERT_EQUAL_FATAL(wire_decode(api->response, h.api_version, &left, &c->arena, &want), 0);
		learn_id(r, ((struct kp_join_group_response *)want.bytes)->member_id, ((struct kp_join_group_response *)resp.bytes)->member_id);
	}
	chain_init(&out);
	wire_response_encode(api, h.api_version, h.correlation_id, &resp, &out);
	size_t len = (size_t)out.bytes;
	CU_ASSERT_FATAL(len <= FRAME_MAX);
	chain_flatten(&out, ours);
	chain_clear(&out);
	exchange(r, ours, len, false);
	r->checked++;
	if (len == recorded.len + 4 && memcmp(ours + 4, recorded.ptr, recorded.len) == 0)
		return;
	r->bad++;
	printf("    %s: api %d version %d correlation %d differs\n      is   ", file, h.api_key, h.api_version, h.correlation_id);
	for (size_t i = 4; i < len; i++)
		printf("%02x", ours[i]);
	printf("\n      want ");
	for (size_t i = 0; i < recorded.len; i++)
		printf("%02x", recorded.ptr[i]);
	printf("\n");
}

static size_t unhex(const char *hex, uint8_t *to)
{
	size_t n = 0;
	for (unsigned v; n < FRAME_MAX && sscanf(hex + 2 * n, "%2x", &v) == 1; n++)
		to[n] = (uint8_t)v;
	return n;
}

static void replay_file(const char *file, int want)
{
	static struct replay r;
	static char line[2 * FRAME_MAX + 2];
	static uint8_t frame[FRAME_MAX];
	char path[600];
	memset(&r, 0, sizeof(r));
	world_begin(&r.w);
	snprintf(path, sizeof(path), "%s/%s", unit_golden("wire"), file);
	FILE *f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		int con, api, version, corr, slot = 0;
		if (sscanf(line + 1, " con=%d api=%d ver=%d corr=%d", &con, &api, &version, &corr) != 4)
			continue;
		bool asks = line[0] == '>';
		while (slot < ASKED_MAX && (asks ? r.asked[slot].len != 0 : r.asked[slot].con != con || r.asked[slot].corr != corr || !r.asked[slot].len))
			slot++;
		if (slot == ASKED_MAX || !fgets(line, sizeof(line), f))
			break;
		if (asks) {
			r.asked[slot].con = con;
			r.asked[slot].corr = corr;
			r.asked[slot].len = unhex(line, r.asked[slot].bytes);
		} else {
			size_t n = unhex(line, frame);
			check_answer(&r, file, r.asked[slot].bytes, r.asked[slot].len, slice_make(frame, n));
			r.asked[slot].len = 0;
		}
	}
	fclose(f);
	CU_ASSERT_EQUAL(r.bad, 0);
	CU_ASSERT_EQUAL(r.checked, want);
	world_end(&r.w);
}

static void test_probe(void)
{
	replay_file("probe-ClassicGroup.txt", 66);
}

static void test_kcat(void)
{
	replay_file("kcat-group.txt", 5);
}

static void test_java(void)
{
	replay_file("java-console-consumer-group.txt", 5);
}

UNIT_MAIN("group_wire", {"probe", test_probe}, {"kcat", test_kcat}, {"java", test_java})
