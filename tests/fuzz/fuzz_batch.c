/* fuzz_batch.c: libFuzzer target for what producers send as records: one partition's field of a Produce request goes through
 * batch_validate as at a leader, and what passes is assigned and read back. The first four bytes choose the limits.
 *
 * A CRC would stop nearly everything that a fuzzer makes, so each input is tried twice: as it is, and with length and CRC made right.
 */
#include <string.h>

#include "brokerd/log/batch.h"
#include "brokerd/log/record.h"
#include "common/base/check.h"
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/compress/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { DECOMPRESSED_MAX = 4 << 20 };

static void check_one(uint8_t *records, size_t len, const uint8_t knobs[4])
{
	struct batch_limits lim = {
		.bytes_max = (knobs[0] & 1) ? 1 << 20 : 1000,
		.now_ms = 1700000000000,
		.before_max_ms = (knobs[0] & 2) ? 1000 : INT64_MAX,
		.after_max_ms = (knobs[0] & 4) ? 1000 : INT64_MAX,
		.compacted = knobs[0] & 8,
		.log_append_time = knobs[0] & 16,
		.produce_version = (knobs[0] & 32) ? 11 : 3,
		.decompressed_max = DECOMPRESSED_MAX,
	};
	struct batch b, again;
	struct batch_verdict v;
	batch_validate(slice_make(records, len), &lim, &b, &v);
	ASSERT(v.record_error_count >= 0 && v.record_error_count <= BATCH_RECORD_ERRORS_MAX);
	if (v.err)
		return;
	/* what a leader takes is one whole batch with a good CRC, and stays so when offsets are assigned */
	ASSERT((size_t)b.total_bytes == len && b.magic == 2 && b.record_count > 0 && b.last_offset_delta == b.record_count - 1);
	ASSERT(batch_crc_ok(slice_make(records, len)));
	batch_assign(records, &b, 1000000, 7, lim.log_append_time, lim.now_ms);
	ASSERT(batch_crc_ok(slice_make(records, len)));
	ASSERT(batch_parse(slice_make(records, len), &again) == 0);
	ASSERT(again.base_offset == 1000000 && again.leader_epoch == 7 && again.record_count == b.record_count);
	struct record_reader rr;
	struct record r;
	ASSERT(record_reader_init(&rr, slice_make(records, len), &again, DECOMPRESSED_MAX) == 0);
	for (int32_t i = 0; i < again.record_count; i++)
		ASSERT(record_read(&rr, &r) == 0 && r.offset_delta == i);
	ASSERT(record_reader_end(&rr) == 0);
	record_reader_fini(&rr);
}

static void decompress(const uint8_t *bytes, size_t len, uint8_t codec)
{
	struct decompressor d;
	uint8_t out[4096];
	uint64_t total = 0;
	size_t n = 1;
	if (decompressor_init(&d, codec % (CODEC_COUNT + 1), slice_make(bytes, len), DECOMPRESSED_MAX))
		return;
	while (n > 0 && decompressor_read(&d, out, sizeof(out), &n) == 0)
		total += n;
	ASSERT(total <= DECOMPRESSED_MAX);
	decompressor_fini(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 4 || len > (1 << 20))
		return 0;
	size_t n = len - 4;
	uint8_t *copy = mem_alloc(n + 1);
	memcpy(copy, bytes + 4, n);
	check_one(copy, n, bytes);
	if (n >= BATCH_HEADER_BYTES) {
		memcpy(copy, bytes + 4, n);
		be32_put(copy + 8, (uint32_t)(n - BATCH_LOG_OVERHEAD));
		copy[16] = 2;
		be32_put(copy + 17, crc32c(copy + 21, n - 21));
		check_one(copy, n, bytes);
		decompress(bytes + 4 + BATCH_HEADER_BYTES, n - BATCH_HEADER_BYTES, bytes[1]);
	}
	decompress(bytes + 4, n, bytes[1]);
	mem_free(copy);
	return 0;
}
