/* crc.c: checksums over ISA-L, which picks the instructions at run time. ISA-L's iSCSI function has no inversions and takes an
 * int; its gzip function has both inversions built in.
 */
#include "common/base/crc.h"

#include <isa-l/crc.h>

#define STEP_MAX ((size_t)1 << 30)

uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t len)
{
	/* not const in its prototype, but only read */
	unsigned char *p = (unsigned char *)(uintptr_t)bytes;
	uint32_t v = ~crc;
	while (len > 0) {
		size_t n = len < STEP_MAX ? len : STEP_MAX;
		v = crc32_iscsi(p, (int)n, v);
		p += n;
		len -= n;
	}
	return ~v;
}

uint32_t crc32c(const void *bytes, size_t len)
{
	return crc32c_update(0, bytes, len);
}

uint32_t crc32z_update(uint32_t crc, const void *bytes, size_t len)
{
	return len ? crc32_gzip_refl(crc, bytes, len) : crc;
}
