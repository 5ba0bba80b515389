/* fuzz_request.c: libFuzzer target for request frames: header, then the message of whatever API it names; then the same bytes
 * as a response and as an internal record. What decodes is encoded and decoded again and must be equal.
 *
 * Without libFuzzer (FUZZ_MAIN defined) the program runs the files given as arguments once: to replay a finding.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/frame.h"
#include "proto/kafka/kp.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int wire_fuzz_one(const uint8_t *bytes, size_t len);

enum { MESSAGE_MAX = 512 };

static void check_message(const struct wire_struct *desc, int16_t version, struct slice in)
{
	_Alignas(8) uint8_t x[MESSAGE_MAX], y[MESSAGE_MAX];
	struct arena a;
	struct chain out;
	size_t len = in.len;
	ASSERT(desc->size <= MESSAGE_MAX);
	arena_init(&a, 0);
	int err = wire_decode(desc, version, &in, &a, x);
	ASSERT(a.bytes_used <= WIRE_MEMORY_FACTOR * (len + 16));
	if (!err) {
		chain_init(&out);
		wire_encode(desc, version, x, &out);
		ASSERT(out.bytes == wire_size(desc, version, x));
		uint8_t *again = mem_alloc(out.bytes + 1);
		chain_flatten(&out, again);
		struct slice in2 = slice_make(again, out.bytes);
		err = wire_decode(desc, version, &in2, &a, y);
		ASSERT(!err && in2.len == 0 && wire_equal(desc, version, x, y));
		mem_free(again);
		chain_clear(&out);
	}
	arena_fini(&a);
}

/* As a broker reads a frame; then its bytes behind the first four as any message, chosen by these. Never fails but by ASSERT. */
int wire_fuzz_one(const uint8_t *bytes, size_t len)
{
	struct wire_request_header h;
	struct slice in = slice_make(bytes, len);
	if (wire_request_header_decode(&in, &h) == 0) {
		const struct wire_api *api = wire_api_find(h.api_key);
		check_message(api->request, h.api_version, in);
		check_message(api->response, h.api_version, in);
	}
	if (len >= 4) {
		const struct wire_struct *desc = kp_messages[be16_get(bytes) % kp_message_count];
		if (wire_has_version(desc, bytes[3] % 32))
			check_message(desc, bytes[3] % 32, slice_make(bytes + 4, len - 4));
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	return wire_fuzz_one(bytes, len);
}

#ifdef FUZZ_MAIN
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (!f) {
			perror(argv[i]);
			return 1;
		}
		static uint8_t bytes[1 << 20];
		size_t len = fread(bytes, 1, sizeof(bytes), f);
		fclose(f);
		wire_fuzz_one(bytes, len);
	}
	return 0;
}
#endif
