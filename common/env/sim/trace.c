/* trace.c: what happened: a running SHA-256 over compact records, and text for people when asked for.
 *
 * Records go into a buffer that is hashed when full, since hashing small pieces costs more than hashing them together. Numbers are
 * written byte by byte in one order, so the hash is the same on every machine.
 */
#include <openssl/evp.h>
#include <stdarg.h>
#include <string.h>

#include "common/env/sim/sim_priv.h"

#define TRACE_BYTES 65536u
#define REC_BYTES 29u

void sim_trace_init(struct sim_trace *tr)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	ASSERT(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	*tr = (struct sim_trace){.buf = mem_alloc(TRACE_BYTES), .md = md};
}

void sim_trace_fini(struct sim_trace *tr)
{
	EVP_MD_CTX_free(tr->md);
	mem_free(tr->buf);
	*tr = (struct sim_trace){0};
}

static void flush(struct sim_trace *tr)
{
	if (tr->len)
		ASSERT(EVP_DigestUpdate(tr->md, tr->buf, tr->len) == 1);
	tr->len = 0;
}

static void put(struct sim_trace *tr, const void *bytes, size_t len)
{
	if (len > TRACE_BYTES - tr->len)
		flush(tr);
	if (len > TRACE_BYTES) {
		ASSERT(EVP_DigestUpdate(tr->md, bytes, len) == 1);
		return;
	}
	if (len)
		memcpy(tr->buf + tr->len, bytes, len);
	tr->len += len;
}

void sim_rec(struct sim_world *w, enum sim_rec kind, uint32_t who, uint64_t a, uint64_t b)
{
	struct sim_trace *tr = &w->trace;

	if (TRACE_BYTES - tr->len < REC_BYTES)
		flush(tr);
	uint8_t *p = tr->buf + tr->len;
	p[0] = (uint8_t)kind;
	be64_put(p + 1, (uint64_t)sim_now(w));
	be32_put(p + 9, who);
	be64_put(p + 13, a);
	be64_put(p + 21, b);
	tr->len += REC_BYTES;
}

void sim_rec_bytes(struct sim_world *w, enum sim_rec kind, uint32_t who, uint64_t a, const void *bytes, size_t len)
{
	sim_rec(w, kind, who, a, len);
	put(&w->trace, bytes, len);
}

void sim_world_hash(struct sim_world *w, uint8_t out[32])
{
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	unsigned len = 32;

	flush(&w->trace);
	ASSERT(copy && EVP_MD_CTX_copy_ex(copy, w->trace.md) == 1);
	ASSERT(EVP_DigestFinal_ex(copy, out, &len) == 1 && len == 32);
	EVP_MD_CTX_free(copy);
}

void sim_world_hash_hex(struct sim_world *w, char out[65])
{
	static const char digits[] = "0123456789abcdef";
	uint8_t h[32];

	sim_world_hash(w, h);
	for (size_t i = 0; i < 32; i++) {
		out[2 * i] = digits[h[i] >> 4];
		out[2 * i + 1] = digits[h[i] & 15];
	}
	out[64] = '\0';
}

PRINTF_LIKE(3, 0) static void vtext(struct sim_world *w, const char *what, const char *fmt, va_list ap)
{
	fprintf(w->cfg.trace, "%12.6f %s", (double)sim_now(w) / 1e6, what);
	vfprintf(w->cfg.trace, fmt, ap);
	fputc('\n', w->cfg.trace);
}

void sim_text(struct sim_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vtext(w, "", fmt, ap);
	va_end(ap);
}

PRINTF_LIKE(4, 0) static void vnote(struct sim_world *w, enum sim_rec kind, const char *what, const char *fmt, va_list ap)
{
	struct str s;
	va_list again;

	va_copy(again, ap);
	str_init(&s);
	str_vprintf(&s, fmt, again);
	va_end(again);
	sim_rec_bytes(w, kind, 0, 0, str_cstr(&s), s.len);
	str_fini(&s);
	if (w->cfg.trace)
		vtext(w, what, fmt, ap);
}

void sim_note(struct sim_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(w, REC_NOTE, "note  ", fmt, ap);
	va_end(ap);
}

void sim_fault(struct sim_world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vnote(w, REC_FAULT, "fault ", fmt, ap);
	va_end(ap);
}

void sim_log_sink(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *kv)
{
	static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
	struct sim_process *p = l->ctx;
	const char *name = names[level <= LOG_ERROR ? level : LOG_ERROR];

	SIM_TEXT(p->w, "log   %s %s %-10s %s %s", p->name, name, subsystem, event, kv);
	if (p->w->cfg.verbose)
		fprintf(stderr, "%12.6f %s %s %-10s %s %s\n", (double)sim_now(p->w) / 1e6, p->name, name, subsystem, event, kv);
}
