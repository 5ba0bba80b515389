/* frame.c: headers and frames; the headers are messages of the schemas like any other. */
#include "common/wire/frame.h"

#include "common/base/check.h"
#include "common/wire/cursor.h"
#include "proto/kafka/kp.h"

int wire_request_header_decode(struct slice *in, struct wire_request_header *ret)
{
	struct cursor c = cursor_make(*in);
	struct kp_request_header h;
	memset(ret, 0, sizeof(*ret));
	ret->api_key = cursor_i16(&c);
	ret->api_version = cursor_i16(&c);
	ret->correlation_id = cursor_i32(&c);
	if (c.bad)
		return ERR_CORRUPT;
	const struct wire_api *api = wire_api_find(ret->api_key);
	if (!api || !wire_api_has_version(api, ret->api_version)) {
		/* all header versions but 0 go on with a client id in the old form */
		ret->client_id = cursor_string(&c, true);
		return ERR_UNSUPPORTED;
	}
	/* a header has no arrays: no arena */
	int16_t header_version = wire_request_header_version(api, ret->api_version);
	int err = wire_decode(&kp_request_header_desc, header_version, in, NULL, &h);
	if (err)
		return err;
	if (header_version > 0)
		ret->client_id = h.client_id;
	return 0;
}

void wire_request_encode(const struct wire_api *api, int16_t version, int32_t correlation_id, struct slice client_id,
			 const void *msg, struct chain *out)
{
	struct kp_request_header h = {
		.request_api_key = api->key,
		.request_api_version = version,
		.correlation_id = correlation_id,
		.client_id = client_id,
	};
	ASSERT(wire_has_version(api->request, version));
	wire_encode_frame(&kp_request_header_desc, wire_request_header_version(api, version), &h, api->request, version, msg, out);
}

void wire_response_encode(const struct wire_api *api, int16_t version, int32_t correlation_id, const void *msg, struct chain *out)
{
	struct kp_response_header h = {.correlation_id = correlation_id};
	ASSERT(wire_has_version(api->response, version));
	wire_encode_frame(&kp_response_header_desc, wire_response_header_version(api, version), &h, api->response, version, msg, out);
}

int wire_response_header_decode(const struct wire_api *api, int16_t version, struct slice *in, int32_t *ret_correlation_id)
{
	struct kp_response_header h;
	if (!wire_has_version(api->response, version))
		return ERR_UNSUPPORTED;
	int err = wire_decode(&kp_response_header_desc, wire_response_header_version(api, version), in, NULL, &h);
	if (err)
		return err;
	*ret_correlation_id = h.correlation_id;
	return 0;
}
