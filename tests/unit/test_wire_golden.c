/* test_wire_golden.c: every frame recorded from a Kafka 3.9.1 broker and its clients decodes to its last byte and encodes back
 * to the same bytes.
 *
 * tests/golden/wire/MANIFEST names each recording and its number of frames; a file that is missing, has other frames than
 * promised or a line that is no frame is a failure. Recording: `> con=C api=KEY ver=V corr=N len=L` (request; `<` = the answer)
 * and the frame in hex, without its size; `#` = remark.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/frame.h"
#include "proto/kafka/kp.h"
#include "tests/unit/unit.h"

union any_message {
	uint8_t bytes[512];
	uint64_t align;
};

struct recording {
	struct arena arena;
	const char *file;
	int line, frames, bad;
	char direction; /* of the frame whose hex comes next; 0 = none */
	int api, version, correlation_id, len;
	uint8_t *seen; /* by api * 32 + version: bit 0 request, bit 1 response */
};

static void complain(struct recording *r, const char *what)
{
	fprintf(stderr, "%s:%d: %c api %d version %d: %s\n", r->file, r->line, r->direction, r->api, r->version, what);
	r->bad++;
}

static bool same_bytes(struct chain *out, struct slice frame)
{
	uint8_t *p = mem_alloc(out->bytes + 1);
	chain_flatten(out, p);
	bool same = out->bytes == frame.len + 4 && be32_get(p) == frame.len && memcmp(p + 4, frame.ptr, frame.len) == 0;
	mem_free(p);
	chain_clear(out);
	return same;
}

static void check_request(struct recording *r, struct slice frame)
{
	struct wire_request_header h;
	union any_message msg;
	struct slice in = frame;
	struct chain out;
	int err = wire_request_header_decode(&in, &h);
	if (h.api_key != r->api || h.api_version != r->version || h.correlation_id != r->correlation_id)
		complain(r, "header");
	if (err == ERR_UNSUPPORTED && r->api == KP_API_API_VERSIONS && r->version == 9)
		return; /* recorded on purpose */
	const struct wire_api *api = wire_api_find(h.api_key);
	if (err || wire_decode(api->request, h.api_version, &in, &r->arena, &msg) || in.len != 0) {
		complain(r, "does not decode");
		return;
	}
	chain_init(&out);
	wire_request_encode(api, h.api_version, h.correlation_id, h.client_id, &msg, &out);
	if (!same_bytes(&out, frame))
		complain(r, "encodes differently");
}

static void check_response(struct recording *r, struct slice frame)
{
	const struct wire_api *api = wire_api_find((int16_t)r->api);
	int16_t version = (int16_t)r->version;
	union any_message msg;
	struct slice in = frame;
	struct chain out;
	int32_t correlation_id;
	/* whoever asked in a version that the broker lacks is answered in version 0 */
	if (r->api == KP_API_API_VERSIONS && frame.len >= 6 && be16_get(frame.ptr + 4) == 35)
		version = 0;
	if (!api || wire_response_header_decode(api, version, &in, &correlation_id) || correlation_id != r->correlation_id ||
	    wire_decode(api->response, version, &in, &r->arena, &msg) || in.len != 0) {
		complain(r, "does not decode");
		return;
	}
	chain_init(&out);
	wire_response_encode(api, version, correlation_id, &msg, &out);
	if (!same_bytes(&out, frame))
		complain(r, "encodes differently");
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void check_frame(struct recording *r, const char *hex, size_t digits)
{
	size_t len = digits / 2;
	uint8_t *bytes = mem_alloc(len + (len == 0));
	bool good = digits % 2 == 0 && len == (size_t)r->len;
	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
		good = good && hi >= 0 && lo >= 0;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	if (!good) {
		complain(r, "bad hex or length");
	} else if (r->direction == '>') {
		check_request(r, slice_make(bytes, len));
	} else {
		check_response(r, slice_make(bytes, len));
	}
	if (r->api >= 0 && r->api < 100 && r->version >= 0 && r->version < 32)
		r->seen[r->api * 32 + r->version] |= r->direction == '>' ? 1 : 2;
	r->frames++;
	mem_free(bytes);
	arena_reset(&r->arena);
}

static void check_line(struct recording *r, const char *text, size_t len)
{
	int con;
	if (len == 0 || text[0] == '#')
		return;
	if (text[0] == '>' || text[0] == '<') {
		int n = sscanf(text + 1, " con=%d api=%d ver=%d corr=%d len=%d", &con, &r->api, &r->version, &r->correlation_id,
			       &r->len);
		if (r->direction || n != 5)
			complain(r, "bad head");
		r->direction = text[0];
		return;
	}
	if (!r->direction)
		complain(r, "neither head nor frame");
	else
		check_frame(r, text, len);
	r->direction = 0;
}

static bool check_file(struct recording *r, const char *name, int frames)
{
	char path[256];
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	snprintf(path, sizeof(path), "wire/%s", name);
	FILE *f = fopen(unit_golden(path), "r");
	if (!f) {
		fprintf(stderr, "%s is missing\n", path);
		return false;
	}
	r->file = name;
	r->line = r->frames = 0;
	r->direction = 0;
	while ((len = getline(&line, &cap, f)) >= 0) {
		r->line++;
		if (len > 0 && line[len - 1] == '\n')
			line[--len] = 0;
		check_line(r, line, (size_t)len);
	}
	free(line);
	fclose(f);
	if (r->direction || r->frames != frames)
		fprintf(stderr, "%s: %d frames, %d in the manifest\n", name, r->frames, frames);
	return !r->direction && r->frames == frames;
}

static void test_recordings(void)
{
	struct recording r = {.seen = mem_zalloc(100 * 32)};
	char name[200];
	int frames, files = 0, total = 0, versions = 0;
	FILE *manifest = fopen(unit_golden("wire/MANIFEST"), "r");
	CU_ASSERT_FATAL(manifest != NULL);
	while (fscanf(manifest, "%199s %d", name, &frames) == 2) {
		CU_ASSERT(check_file(&r, name, frames));
		files++;
		total += r.frames;
	}
	fclose(manifest);
	for (int i = 0; i < 100 * 32; i++)
		versions += r.seen[i] != 0;
	CU_ASSERT_EQUAL(files, 72);
	CU_ASSERT_EQUAL(total, 1561);
	CU_ASSERT_EQUAL(versions, 264); /* one of them is ApiVersions 9 */
	CU_ASSERT_EQUAL(r.bad, 0);
	mem_free(r.seen);
	arena_fini(&r.arena);
}

/* What Kafka said it offers is what the table says. */
static void test_advertised(void)
{
	struct arena a = {0};
	struct kp_api_versions_response resp;
	char head[200], *hex = NULL;
	size_t cap = 0, at;
	FILE *f = fopen(unit_golden("wire/probe-ApiVersions.txt"), "r");
	CU_ASSERT_FATAL(f != NULL);
	while (fgets(head, sizeof(head), f) && head[0] != '<')
		;
	ssize_t len = getline(&hex, &cap, f);
	fclose(f);
	CU_ASSERT_FATAL(len > 16);
	uint8_t *bytes = mem_alloc((size_t)len);
	for (at = 0; 2 * at + 1 < (size_t)len; at++)
		bytes[at] = (uint8_t)(hex_digit(hex[2 * at]) << 4 | hex_digit(hex[2 * at + 1]));
	struct slice in = slice_make(bytes + 4, at - 4);
	CU_ASSERT_EQUAL_FATAL(wire_decode(&kp_api_versions_response_desc, 0, &in, &a, &resp), 0);
	CU_ASSERT_EQUAL_FATAL((size_t)resp.api_keys_count, wire_api_count());
	for (size_t i = 0; i < wire_api_count(); i++) {
		const struct wire_api *api = wire_api_at(i);
		CU_ASSERT_EQUAL(resp.api_keys[i].api_key, api->key);
		CU_ASSERT_EQUAL(resp.api_keys[i].min_version, api->min_version);
		CU_ASSERT_EQUAL(resp.api_keys[i].max_version, api->max_version);
	}
	free(hex);
	mem_free(bytes);
	arena_fini(&a);
}

UNIT_MAIN("wire_golden", {"recordings", test_recordings}, {"advertised", test_advertised})
