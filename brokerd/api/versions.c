/* versions.c: ApiVersions. Lists exactly what the table in api.c serves. */
#include "brokerd/api/api_priv.h"

static bool software_text_ok(struct slice s)
{
	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t ch = s.ptr[i];
		bool alnum = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
		bool inner = (ch == '-' || ch == '.') && i > 0 && i + 1 < s.len;
		if (!alnum && !inner)
			return false;
	}
	return true;
}

void api_do_api_versions(struct api_call *c)
{
	const struct kp_api_versions_request *q = c->request;
	struct kp_api_versions_response resp;
	kp_api_versions_response_init(&resp);
	if (c->version >= 3 && (!software_text_ok(q->client_software_name) || !software_text_ok(q->client_software_version))) {
		resp.error_code = KERR_INVALID_REQUEST;
		api_reply(c, &resp);
		return;
	}
	resp.api_keys = ARENA_ARRAY(&c->r->arena, struct kp_api_versions_response_api_keys, api_row_count);
	resp.api_keys_count = (int32_t)api_row_count;
	for (uint32_t i = 0; i < api_row_count; i++) {
		kp_api_versions_response_api_keys_init(&resp.api_keys[i]);
		resp.api_keys[i].api_key = api_rows[i].key;
		resp.api_keys[i].min_version = api_rows[i].min_version;
		resp.api_keys[i].max_version = api_rows[i].max_version;
	}
	resp.finalized_features_epoch = 0; /* as a 3.9 broker in ZooKeeper mode: the version of /feature, no features */
	api_reply(c, &resp);
}
