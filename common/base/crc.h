/* crc.h: CRC-32C (Castagnoli, hardware via ISA-L) for record batches and snapshots; CRC-32 (zlib) for magic 0/1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *bytes, size_t len);
/* Continues: crc32c_update(crc32c(a), b) == crc32c(a||b). Start with 0. */
uint32_t crc32c_update(uint32_t crc, const void *bytes, size_t len);
/* CRC-32 as zlib has it (messages of magic 0 and 1). Start with 0; continues in the same way. */
uint32_t crc32z_update(uint32_t crc, const void *bytes, size_t len);
