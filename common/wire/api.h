/* api.h: the APIs that Klamm knows, by key: names, versions, headers, message descriptors.
 *
 * The rows come from the schemas in proto/kafka (generated into kp.c). min_version and max_version are what Kafka 3.9 in
 * ZooKeeper mode offers to clients; descriptors may describe more. What a broker of ours advertises is decided in
 * brokerd/api, within these.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/codec.h"

struct wire_api {
	int16_t key;
	int16_t min_version, max_version;
	int16_t first_flexible_version; /* of the request; -1 = none. Headers: ask wire_request_header_version */
	const char *name;               /* Kafka's, e.g. "ListOffsets" */
	uint32_t request_header_0, request_header_2; /* bit v: requests of version v have header version 0, 2 (else 1) */
	uint32_t response_header_1;                  /* bit v: responses have header version 1 (else 0) */
	const struct wire_struct *request, *response;
};

/* Generated rows, in key order; use the functions below. */
extern const struct wire_api kp_apis[];
extern const size_t kp_api_count;
extern const int16_t kp_api_key_max;
extern const uint8_t kp_api_slots[]; /* by key: index + 1, or 0 */

/* NULL if the key is unknown. */
static inline const struct wire_api *wire_api_find(int16_t key)
{
	if (key < 0 || key > kp_api_key_max || kp_api_slots[key] == 0)
		return NULL;
	return &kp_apis[kp_api_slots[key] - 1];
}

/* for (size_t i = 0; i < wire_api_count(); i++) ... wire_api_at(i): ascending keys */
static inline size_t wire_api_count(void) { return kp_api_count; }
static inline const struct wire_api *wire_api_at(size_t idx) { return &kp_apis[idx]; }

static inline bool wire_api_has_version(const struct wire_api *api, int16_t version)
{
	return version >= api->min_version && version <= api->max_version;
}

/* For a version of the descriptors. Requests: 0 (ControlledShutdown 0), 1 or 2; responses: 0 or 1 (ApiVersions always 0). */
static inline int16_t wire_request_header_version(const struct wire_api *api, int16_t version)
{
	return api->request_header_0 >> version & 1 ? 0 : api->request_header_2 >> version & 1 ? 2 : 1;
}
static inline int16_t wire_response_header_version(const struct wire_api *api, int16_t version)
{
	return api->response_header_1 >> version & 1 ? 1 : 0;
}
