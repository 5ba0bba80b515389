/* frame.h: Kafka frames: int32 size, header, message.
 *
 * Encoders write whole frames into an output chain, size in front. Decoders get the frame without its size (whoever reads the
 * connection has cut it out and capped it) and leave `in` at the message. What the message holds then is read by wire_decode
 * with api->request or api->response and the same version.
 * A broker that cannot speak the version of an ApiVersions request answers in version 0 (facts of Kafka: any client can read it).
 */
#pragma once

#include <stdint.h>

#include "common/base/slice.h"
#include "common/wire/api.h"

struct wire_request_header {
	int16_t api_key, api_version;
	int32_t correlation_id;
	struct slice client_id; /* borrowed; null if null or unreadable */
};

/* Advances *in to the message. ERR_UNSUPPORTED: API or version not in the table (min_version..max_version); the fields that
 * could be read are filled in, *in is unchanged. ERR_CORRUPT: shorter than a header, or a broken one (fields as above, zero
 * where the bytes did not reach). */
MUST_CHECK int wire_request_header_decode(struct slice *in, struct wire_request_header *ret);

/* A whole request or response frame, appended to out. The version must exist in the descriptors (asserted). */
void wire_request_encode(const struct wire_api *api, int16_t version, int32_t correlation_id, struct slice client_id,
			 const void *msg, struct chain *out);
void wire_response_encode(const struct wire_api *api, int16_t version, int32_t correlation_id, const void *msg,
			  struct chain *out);

/* Advances *in to the message. */
MUST_CHECK int wire_response_header_decode(const struct wire_api *api, int16_t version, struct slice *in,
					   int32_t *ret_correlation_id);
