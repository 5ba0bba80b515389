/* probe.c: looking for the controller whether another broker lives (protocol.md A2): connect and ApiVersions, within one time limit. */
#include "brokerd/link/ctl_priv.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/frame.h"
#include "proto/kafka/kp.h"

struct probe {
	struct ctl *ctl;
	int32_t controller_id; /* the peer may be gone when the answer is known */
	uint64_t number;
	int32_t target;
	struct conn *conn;
	struct timer timer;    /* connecting and answering, both: a stopped process has a kernel that accepts */
	uint8_t scratch[256];
};

static void answer(struct probe *pr, Klamm__Control__ProbeResult result)
{
	timer_stop(&pr->timer);
	LIST_FOR(it, &pr->ctl->peers) {
		struct peer *p = LIST_ENTRY(it, struct peer, link);
		if (p->id != pr->controller_id || !p->open)
			continue;
		Klamm__Control__ProbeReply m = KLAMM__CONTROL__PROBE_REPLY__INIT;
		pb_frame f = KLAMM__CONTROL__FRAME__INIT;
		m.number = pr->number;
		m.target = pr->target;
		m.result = result;
		f.body_case = KLAMM__CONTROL__FRAME__BODY_PROBE_REPLY;
		f.probe_reply = &m;
		ctl_send(p, &f);
	}
	mem_free(pr);
}

static void on_open(struct conn *c, void *ctx)
{
	struct kp_api_versions_request q;
	struct chain out;
	(void)ctx;
	kp_api_versions_request_init(&q);
	chain_init(&out);
	wire_request_encode(wire_api_find(KP_API_API_VERSIONS), 0, 1, slice_str("klamm-probe"), &q, &out);
	conn_send(c, &out);
}

static bool on_space(struct conn *c, void *ctx, uint8_t **ret_ptr, size_t *ret_len)
{
	struct probe *pr = ctx;
	(void)c;
	*ret_ptr = pr->scratch;
	*ret_len = sizeof(pr->scratch);
	return true;
}

static void on_data(struct conn *c, void *ctx, size_t len)
{
	(void)len;
	/* Any byte of an answer proves a loop that serves; what it says does not matter. */
	conn_close(c);
	answer(ctx, KLAMM__CONTROL__PROBE_RESULT__ANSWERED);
}

static void on_closed(struct conn *c, void *ctx, int err)
{
	(void)c;
	/* Refused: a live kernel says that the process is gone. A reset after connecting says so as well. */
	answer(ctx, err == ERR_REFUSED || err == ERR_RESET ? KLAMM__CONTROL__PROBE_RESULT__REFUSED : KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
}

static void on_timeout(void *ctx)
{
	struct probe *pr = ctx;
	conn_close(pr->conn);
	answer(pr, KLAMM__CONTROL__PROBE_RESULT__UNANSWERED);
}

static const struct conn_handler probe_handler = {.on_space = on_space, .on_data = on_data, .on_open = on_open, .on_closed = on_closed};

void probe_start(struct peer *p, const Klamm__Control__Probe *m)
{
	struct probe *pr = MEM_NEW(struct probe);
	pr->ctl = p->ctl;
	pr->controller_id = p->id;
	pr->number = m->number;
	pr->target = m->target;
	int64_t timeout = m->timeout_ms > 0 && m->timeout_ms < 5000 ? m->timeout_ms : 500;
	timer_init(&pr->timer, p->ctl->loop, on_timeout, pr);
	timer_set_ms(&pr->timer, timeout);
	pr->conn = conn_connect(p->ctl->loop, m->host, (uint16_t)m->port, timeout, &probe_handler, pr);
}
