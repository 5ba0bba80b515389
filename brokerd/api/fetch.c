/* fetch.c: Fetch: hands the request to its session's home and encodes what comes back. */
#include "brokerd/api/api_priv.h"
#include "common/base/check.h"

struct fetching {
	struct api_call *c;
	struct fetch_call f;
};

static void gone(struct net_request *r)
{
	struct fetching *s = r->ctx;
	fetch_cancel(s->c->api->fetch, &s->f);
}

static void done(struct fetch_call *f)
{
	struct fetching *s = CONTAINER_OF(f, struct fetching, f);
	s->c->r->on_gone = NULL;
	api_reply(s->c, &f->response);
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
