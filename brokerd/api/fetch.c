/* fetch.c: Fetch: hands the request to its session's home and encodes what comes back. */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"
#include "common/compress/compress.h"

struct fetching {
	struct api_call *c;
	struct fetch_call f;
};

static void gone(struct net_request *r)
{
	struct fetching *s = r->ctx;
	fetch_cancel(s->c->api->fetch, &s->f);
}

/* KIP-951: where the leaders are that the hints name. */
static void add_endpoints(struct api_call *c, struct kp_fetch_response *resp)
{
	for (int32_t i = 0; i < resp->responses_count; i++) {
		for (int32_t k = 0; k < resp->responses[i].partitions_count; k++) {
			const struct kp_fetch_response_responses_partitions *p = &resp->responses[i].partitions[k];
			bool hint = p->error_code == KERR_NOT_LEADER_OR_FOLLOWER || p->error_code == KERR_FENCED_LEADER_EPOCH;
			const struct image_broker *b;
			const struct image_endpoint *e = hint && p->current_leader.leader_id >= 0 ? api_leader_endpoint(c, p->current_leader.leader_id, &b) : NULL;
			bool listed = !e;
			for (int32_t n = 0; n < resp->node_endpoints_count && !listed; n++)
				listed = resp->node_endpoints[n].node_id == b->id;
			if (listed)
				continue;
			if (!resp->node_endpoints)
				resp->node_endpoints = ARENA_ARRAY(&c->r->arena, struct kp_fetch_response_node_endpoints, image_broker_count(c->image) + 1);
			struct kp_fetch_response_node_endpoints *o = &resp->node_endpoints[resp->node_endpoints_count++];
			o->node_id = b->id;
			o->host = slice_str(e->host);
			o->port = e->port;
			o->rack = b->rack ? slice_str(b->rack) : (struct slice){0};
		}
	}
}

/* What a topic's configuration forbids to old versions: conversion (message.downconversion.enable), zstd (by name, whatever its batches are, as Kafka).
 * True if there is something to convert. */
static bool refuse_old(struct api_call *c, struct kp_fetch_response *resp)
{
	bool convert = false;
	for (int32_t i = 0; i < resp->responses_count; i++) {
		const struct image_topic *t = image_find_topic(c->image, resp->responses[i].topic);
		struct log_config cfg;
		int16_t error = KERR_NONE;
		if (t)
			running_topic_log(c->api->running, c->image, t, &cfg);
		if (t && cfg.codec == CODEC_ZSTD)
			error = KERR_UNSUPPORTED_COMPRESSION_TYPE;
		else if (t && c->version < 4 && !cfg.downconversion)
			error = KERR_UNSUPPORTED_VERSION;
		for (int32_t k = 0; k < resp->responses[i].partitions_count; k++) {
			struct kp_fetch_response_responses_partitions *p = &resp->responses[i].partitions[k];
			if (error && !p->error_code) {
				if (p->records.chain)
					chain_clear(p->records.chain);
				p->records.chain = NULL;
				p->error_code = error;
				p->high_watermark = p->last_stable_offset = p->log_start_offset = -1;
			}
			convert |= c->version < 4 && p->records.chain;
		}
	}
	return convert;
}

static void answer(struct fetch_call *f)
{
	struct fetching *s = CONTAINER_OF(f, struct fetching, f);
	if (s->c->version >= 16)
		add_endpoints(s->c, &f->response);
	api_reply(s->c, &f->response);
}

static void done(struct fetch_call *f)
{
	struct fetching *s = CONTAINER_OF(f, struct fetching, f);
	s->c->r->on_gone = NULL;
	if (s->c->version < 10 && refuse_old(s->c, &f->response))
		fetch_convert(s->c->api->loop, f, answer);
	else
		answer(f);
}

void api_do_fetch(struct api_call *c)
{
	struct arena *ar = &c->r->arena;
	struct fetching *s = ARENA_NEW(ar, struct fetching);
	const struct kp_fetch_request *q = c->request;
	s->c = c;
	s->f.version = c->version;
	s->f.request = q;
	s->f.image = c->image;
	s->f.arena = ar;
	s->f.client_id = arena_strndup(ar, (const char *)c->client_id.ptr, c->client_id.len);
	s->f.rack = arena_strndup(ar, (const char *)q->rack_id.ptr, q->rack_id.len);
	/* Without authentication a replica id is believed, as Kafka does without an authorizer; the network is trusted then. */
	s->f.from_broker = true;
	s->f.done = done;
	kp_fetch_response_init(&s->f.response);
	c->r->ctx = s;
	c->r->on_gone = gone;
	fetch_submit(c->api->fetch, &s->f);
}
