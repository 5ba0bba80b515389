/* zk_script.c: see zk_script.h. A table of steps; each is submitted when the one before has completed. */
#include "tests/unit/zk_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"
#include "common/base/mem.h"

enum what {
	OPEN, CREATE, SET, DELETE, GET, EXISTS, CHILDREN, MULTI, BARRIER, OBSERVE, UNOBSERVE, LOOKS, NO_LOOKS, CUT, HEAL, EVENT, REMEMBER,
	END_SESSION, REOPEN, CLOSE, GET_LATER, GOT_LATER, END,
};
enum { A, B };
enum { NODE = ZK_OBSERVE_NODE, KIDS = ZK_OBSERVE_CHILDREN };
enum { UNORDERED = 1 };
#define BIG "(2 MB)"

struct step {
	enum what what;
	int who;
	const char *path, *data;
	int arg; /* version, flags, kind, event, number of a multi */
};

struct multi {
	size_t n;
	struct zk_op ops[5];
};
#define D(text) {(const uint8_t *)text, sizeof(text) - 1}

static const struct multi multis[] = {
	{4, {{.kind = ZK_OP_CHECK, .path = "/m", .version = 0}, {.kind = ZK_OP_CREATE, .path = "/m/a", .data = D("a")},
		{.kind = ZK_OP_SET, .path = "/m", .data = D("set"), .version = 0}, {.kind = ZK_OP_DELETE, .path = "/m/old", .version = -1}}},
	{3, {{.kind = ZK_OP_CREATE, .path = "/m/b", .data = D("b")}, {.kind = ZK_OP_CHECK, .path = "/m", .version = 7},
		{.kind = ZK_OP_DELETE, .path = "/m/a", .version = -1}}},
	{3, {{.kind = ZK_OP_CREATE, .path = "/m/c", .data = D("c")}, {.kind = ZK_OP_SET, .path = "/m/c", .data = D("c1"), .version = 0},
		{.kind = ZK_OP_CREATE, .path = "/m/seq-", .data = D("s"), .flags = ZK_SEQUENTIAL}}},
	{2, {{.kind = ZK_OP_DELETE, .path = "/m/c", .version = 0}, {.kind = ZK_OP_CREATE, .path = "/m/c", .data = D("again")}}},
	{2, {{.kind = ZK_OP_DELETE, .path = "/m/c", .version = 1}, {.kind = ZK_OP_CREATE, .path = "/m/c", .data = D("again")}}},
	{2, {{.kind = ZK_OP_CREATE, .path = "/m/e", .data = D("e"), .flags = ZK_EPHEMERAL}, {.kind = ZK_OP_CREATE, .path = "/m/e/x", .data = D("x")}}},
};

static const struct step steps[] = {
	{OPEN, A}, {EVENT, A, .arg = ZK_CONNECTED}, {OPEN, B}, {EVENT, B, .arg = ZK_CONNECTED},
	/* nodes */
	{CREATE, A, "/n", "one"}, {GET, A, "/n"}, {EXISTS, A, "/n"}, {EXISTS, A, "/none"}, {GET, A, "/none"}, {CHILDREN, A, "/none"},
	{CREATE, A, "/n", "two"}, {CREATE, A, "/none/x", "x"}, {SET, A, "/n", "two", -1}, {SET, A, "/n", "three", 1}, {SET, A, "/n", "four", 1},
	{SET, A, "/none", "x", -1}, {GET, A, "/n"}, {DELETE, A, "/n", NULL, 1}, {DELETE, A, "/none", NULL, -1},
	{CREATE, A, "/n/b", "b"}, {CREATE, A, "/n/a", ""}, {CREATE, A, "/n/null", NULL}, {GET, A, "/n/a"}, {GET, A, "/n/null"},
	{CHILDREN, A, "/n"}, {DELETE, A, "/n", NULL, -1}, {DELETE, A, "/n/a", NULL, 0}, {CHILDREN, A, "/n"}, {EXISTS, A, "/n"},
	{CREATE, A, "no-slash", "x"}, {CREATE, A, "/n/", "x"}, {SET, A, "/n", BIG, -1},
	/* sequence numbers and ephemerals */
	{CREATE, A, "/q", "q"}, {CREATE, A, "/q/s-", "1", ZK_SEQUENTIAL}, {CREATE, A, "/q/s-", "2", ZK_SEQUENTIAL}, {DELETE, A, "/q/s-0000000001", NULL, -1},
	{CREATE, A, "/q/s-", "3", ZK_SEQUENTIAL | ZK_EPHEMERAL}, {CREATE, A, "/q/plain", "4"}, {CREATE, A, "/q/s-", "5", ZK_SEQUENTIAL}, {CHILDREN, A, "/q"},
	{CREATE, A, "/e", "e", ZK_EPHEMERAL}, {CREATE, A, "/e/x", "x"}, {BARRIER, B}, {GET, B, "/e"}, {CREATE, B, "/e", "mine", ZK_EPHEMERAL},
	/* multis */
	{CREATE, B, "/m", "m"}, {CREATE, B, "/m/old", "o"}, {MULTI, B, .arg = 0}, {GET, B, "/m"}, {CHILDREN, B, "/m"}, {MULTI, B, .arg = 1},
	{CHILDREN, B, "/m"}, {MULTI, B, .arg = 2}, {GET, B, "/m/c"}, {MULTI, B, .arg = 3}, {MULTI, B, .arg = 4}, {GET, B, "/m/c"}, {MULTI, B, .arg = 5},
	{CHILDREN, B, "/m"}, {BARRIER, B},
	/* watches */
	{BARRIER, A}, {OBSERVE, A, "/w", .arg = NODE}, {OBSERVE, A, "/n", .arg = KIDS}, {EXISTS, A, "/w"}, {CHILDREN, A, "/n"},
	{CREATE, B, "/w", "w"}, {LOOKS, A, "node /w"}, {BARRIER, A}, {GET, A, "/w"}, {SET, B, "/w", "w1", -1}, {LOOKS, A, "node /w"}, {GET, A, "/w"},
	{CREATE, B, "/n/c", "c"}, {LOOKS, A, "children /n"}, {CHILDREN, A, "/n"}, {DELETE, B, "/n/c", NULL, -1}, {LOOKS, A, "children /n"},
	{DELETE, B, "/w", NULL, -1}, {LOOKS, A, "node /w"}, {BARRIER, A}, {EXISTS, A, "/w"}, {CREATE, B, "/w", "w2"}, {LOOKS, A, "node /w"},
	{OBSERVE, A, "/o", .arg = KIDS}, {OBSERVE, A, "/o/x", .arg = NODE}, {EXISTS, A, "/o/x"}, {CREATE, B, "/o", "o"}, {LOOKS, A, "children /o"},
	{BARRIER, A}, {CHILDREN, A, "/o"}, {CREATE, B, "/o/x", "x"}, {LOOKS, A, "node /o/x,children /o"}, {BARRIER, A}, {CHILDREN, A, "/o"},
	{OBSERVE, A, "/o/x", .arg = KIDS}, {CHILDREN, A, "/o/x"}, {DELETE, B, "/o/x", NULL, -1}, {LOOKS, A, "node /o/x,children /o/x,children /o", .arg = UNORDERED},
	{UNOBSERVE, A, "/w", .arg = NODE}, {EXISTS, A, "/w"}, {SET, B, "/w", "w3", -1}, {CREATE, B, "/o/y", "y"}, {LOOKS, A, "children /o"}, {NO_LOOKS, A, "/w"},
	/* a connection that is lost and comes back: what changed meanwhile is noticed, the session is the same */
	{CREATE, B, "/r", "r"}, {BARRIER, A}, {OBSERVE, A, "/r", .arg = NODE}, {OBSERVE, A, "/r", .arg = KIDS}, {OBSERVE, A, "/x1", .arg = NODE}, {GET, A, "/r"},
	{CUT, A}, {GET_LATER, A, "/r"}, {EVENT, A, .arg = ZK_SUSPENDED}, {GOT_LATER, A}, {GET_LATER, A, "/r"}, {SET, B, "/r", "r1", -1}, {CREATE, B, "/r/k", "k"},
	{CREATE, B, "/x1", "x"}, {DELETE, B, "/x1", NULL, -1}, {HEAL, A}, {EVENT, A, .arg = ZK_CONNECTED}, {LOOKS, A, "node /r,children /r", .arg = UNORDERED},
	{GOT_LATER, A}, {BARRIER, A}, {GET, A, "/r"}, {GET, A, "/e"}, {EXISTS, A, "/x1"}, {NO_LOOKS, A, ""}, {CREATE, B, "/x1", "x"}, {LOOKS, A, "node /x1"},
	/* a session that is ended by somebody who knows its password */
	{OBSERVE, B, "/e", .arg = NODE}, {EXISTS, B, "/e"}, {REMEMBER, A}, {CUT, A}, {END_SESSION, B}, {LOOKS, B, "node /e"}, {EXISTS, B, "/e"},
	{CHILDREN, B, "/q"}, {END_SESSION, B}, {HEAL, A}, {EVENT, A, .arg = ZK_EXPIRED}, {GET, A, "/r"}, {CREATE, A, "/late", "x"}, {REOPEN, A},
	{EVENT, A, .arg = ZK_CONNECTED}, {BARRIER, A}, {EXISTS, A, "/e"}, {CREATE, A, "/e", "new life", ZK_EPHEMERAL}, {LOOKS, B, "node /e"},
	/* closing ends the session at once (the barrier: B's watch is set again, else the two changes may be told as one) */
	{BARRIER, B}, {CLOSE, A}, {LOOKS, B, "node /e"}, {BARRIER, B}, {EXISTS, B, "/e"}, {CLOSE, B}, {END, B},
};

struct line {
	char *text;
	bool has_stat;
	struct zk_stat st;
};

struct look {
	char *what;
	int who;
};

struct zk_script {
	struct zk_script_world world;
	struct zk *zk[2];
	struct zk_session_id session[2], old;
	size_t at;
	bool waiting;
	struct line *lines;
	size_t lines_n, lines_cap;
	struct look *looks;
	size_t looks_n, looks_cap;
	bool events[2][4];
	bool resumed[2];
	int later_err;
	bool later_done;
	char where[128];
};

static const char *const who_names[] = {"A", "B"};
static const char *const event_names[] = {"connected", "suspended", "rights lost", "expired"};

static void next_step(struct zk_script *s);

/* ---- recording ---- */

static void record(struct zk_script *s, const struct zk_stat *st, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void record(struct zk_script *s, const struct zk_stat *st, const char *fmt, ...)
{
	struct str text;
	va_list ap;

	str_init(&text);
	va_start(ap, fmt);
	str_vprintf(&text, fmt, ap);
	va_end(ap);
	MEM_GROW(s->lines, s->lines_cap, s->lines_n + 1);
	s->lines[s->lines_n++] = (struct line){.text = str_steal(&text), .has_stat = st != NULL, .st = st ? *st : (struct zk_stat){0}};
}

static int cmp_zxid(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static size_t rank_of(const int64_t *zxids, size_t n, int64_t zxid)
{
	size_t rank = 0;

	for (size_t i = 0; i < n && zxids[i] <= zxid; i++)
		rank += i == 0 || zxids[i] != zxids[i - 1];
	return rank;
}

void zk_script_text(const struct zk_script *s, struct str *out)
{
	int64_t *zxids = mem_alloc((s->lines_n * 3 + 1) * sizeof(*zxids));
	size_t n = 0;

	for (size_t i = 0; i < s->lines_n; i++)
		if (s->lines[i].has_stat && s->lines[i].st.czxid) {
			zxids[n++] = s->lines[i].st.czxid;
			zxids[n++] = s->lines[i].st.mzxid;
			zxids[n++] = s->lines[i].st.pzxid;
		}
	qsort(zxids, n, sizeof(*zxids), cmp_zxid);
	for (size_t i = 0; i < s->lines_n; i++) {
		const struct zk_stat *st = &s->lines[i].st;
		str_add(out, s->lines[i].text);
		if (s->lines[i].has_stat)
			str_printf(out, " c=%zu m=%zu p=%zu v=%d cv=%d len=%d kids=%d owner=%s", rank_of(zxids, n, st->czxid), rank_of(zxids, n, st->mzxid),
				rank_of(zxids, n, st->pzxid), st->version, st->cversion, st->data_len, st->num_children,
				!st->ephemeral_owner ? "-" : st->ephemeral_owner == s->old.id ? "A" : st->ephemeral_owner == s->session[0].id ? "A'" :
				st->ephemeral_owner == s->session[1].id ? "B" : "?");
		str_add(out, "\n");
	}
	mem_free(zxids);
}

static const struct step *step_of(const struct zk_script *s)
{
	return &steps[s->at];
}

static void advance(struct zk_script *s)
{
	s->waiting = false;
	s->at++;
	next_step(s);
}

/* ---- completions: each belongs to the step that is under way ---- */

static void done_stat(void *ctx, int err, const struct zk_stat *st)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	record(s, err ? NULL : st, "%s %s %s: %s", who_names[p->who], p->what == SET ? "set" : "exists", p->path, err_str(err));
	advance(s);
}

static void done_data(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	if (err)
		record(s, NULL, "%s get %s: %s", who_names[p->who], p->path, err_str(err));
	else
		record(s, st, "%s get %s: %s", who_names[p->who], p->path, data.ptr ? "" : "null");
	if (!err && data.ptr)
		record(s, NULL, "    \"%.*s\"", (int)data.len, (const char *)data.ptr);
	advance(s);
}

static void done_names(void *ctx, int err, const struct zk_names *names, const struct zk_stat *st)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	record(s, err ? NULL : st, "%s children %s: %s", who_names[p->who], p->path, err_str(err));
	for (size_t i = 0; !err && i < names->count; i++)
		record(s, NULL, "    %s", names->names[i]);
	advance(s);
}

static void done_create(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	record(s, err ? NULL : st, "%s create %s: %s%s%s", who_names[p->who], p->path, err_str(err), err ? "" : " ", err ? "" : path);
	advance(s);
}

static void done_delete(void *ctx, int err)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	record(s, NULL, "%s delete %s: %s", who_names[p->who], p->path, err_str(err));
	advance(s);
}

static void done_multi(void *ctx, int err, const struct zk_op_result *results, size_t count)
{
	struct zk_script *s = ctx;
	const struct step *p = step_of(s);

	if (p->what == BARRIER) {
		if (err)
			record(s, NULL, "%s barrier: %s", who_names[p->who], err_str(err));
		advance(s);
		return;
	}
	record(s, NULL, "%s multi %d: %s", who_names[p->who], p->arg, err_str(err));
	for (size_t i = 0; i < count; i++) {
		enum zk_op_kind kind = multis[p->arg].ops[i].kind;
		bool stat = !err && (kind == ZK_OP_CREATE || kind == ZK_OP_SET);
		record(s, stat ? &results[i].stat : NULL, "    %s%s%s", err_str(results[i].err), results[i].path ? " " : "", results[i].path ? results[i].path : "");
	}
	advance(s);
}

static void done_end(void *ctx, int err)
{
	struct zk_script *s = ctx;

	record(s, NULL, "B ends the session of A: %s", err_str(err));
	advance(s);
}

static void done_close(void *ctx)
{
	struct zk_script *s = ctx;

	record(s, NULL, "%s closed", who_names[step_of(s)->who]);
	s->zk[step_of(s)->who] = NULL;
	advance(s);
}

static void done_later(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct zk_script *s = ctx;

	s->later_done = true;
	s->later_err = err;
	if (s->waiting)
		next_step(s);
}

/* ---- watches and events ---- */

static void looked(struct zk_script *s, int who, const char *kind, const char *path)
{
	struct str what;

	str_init(&what);
	str_printf(&what, "%s %s", kind, path);
	for (size_t i = 0; i < s->looks_n; i++)
		if (s->looks[i].who == who && !strcmp(s->looks[i].what, str_cstr(&what))) {
			str_fini(&what); /* once more: allowed, and not news */
			return;
		}
	MEM_GROW(s->looks, s->looks_cap, s->looks_n + 1);
	s->looks[s->looks_n++] = (struct look){.what = str_steal(&what), .who = who};
	if (s->waiting)
		next_step(s);
}

static void look_node_a(void *ctx, const char *path) { looked(ctx, A, "node", path); }
static void look_node_b(void *ctx, const char *path) { looked(ctx, B, "node", path); }
static void look_kids_a(void *ctx, const char *path) { looked(ctx, A, "children", path); }
static void look_kids_b(void *ctx, const char *path) { looked(ctx, B, "children", path); }

static void forget_looks(struct zk_script *s)
{
	for (size_t i = 0; i < s->looks_n; i++)
		mem_free(s->looks[i].what);
	s->looks_n = 0;
}

static bool in_list(const char *list, const char *what)
{
	size_t len = strlen(what);

	for (const char *c = list; c; c = strchr(c, ','), c = c ? c + 1 : NULL)
		if (!strncmp(c, what, len) && (c[len] == ',' || c[len] == '\0'))
			return true;
	return false;
}

/* All looks of the list are there: writes them down in the order in which they came (one event that concerns two observations of a
 * node gives them in any order: UNORDERED). */
static bool take_looks(struct zk_script *s, const struct step *p)
{
	size_t want = 1, got = 0;

	for (const char *c = p->path; *c; c++)
		want += *c == ',';
	for (size_t i = 0; i < s->looks_n; i++)
		got += s->looks[i].who == p->who && in_list(p->path, s->looks[i].what);
	if (got < want)
		return false;
	for (size_t i = 0; i < s->looks_n && p->arg != UNORDERED; i++)
		if (s->looks[i].who == p->who && in_list(p->path, s->looks[i].what))
			record(s, NULL, "%s looks again: %s", who_names[p->who], s->looks[i].what);
	if (p->arg == UNORDERED)
		record(s, NULL, "%s looks again, in any order: %s", who_names[p->who], p->path);
	forget_looks(s);
	return true;
}

static void on_event(struct zk_script *s, int who, const struct zk_event_info *ev)
{
	s->events[who][ev->event] = true;
	if (ev->event == ZK_CONNECTED) {
		s->session[who] = ev->session;
		s->resumed[who] = ev->resumed;
	}
	if (s->waiting)
		next_step(s);
}

static void event_a(struct zk *zk, void *ctx, const struct zk_event_info *ev) { on_event(ctx, A, ev); }
static void event_b(struct zk *zk, void *ctx, const struct zk_event_info *ev) { on_event(ctx, B, ev); }

/* ---- steps ---- */

/* Those that wait: true when what they wait for has come. */
static bool step_met(struct zk_script *s, const struct step *p)
{
	switch (p->what) {
	case LOOKS:
		return take_looks(s, p);
	case GOT_LATER:
		if (!s->later_done)
			return false;
		record(s, NULL, "A get sent %s: %s", s->later_err ? "before the loss" : "while suspended", err_str(s->later_err));
		s->later_done = false;
		return true;
	case EVENT:
		if (!s->events[p->who][p->arg])
			return false;
		s->events[p->who][p->arg] = false;
		record(s, NULL, "%s %s%s", who_names[p->who], event_names[p->arg], p->arg == ZK_CONNECTED && s->resumed[p->who] ? ", same session" : "");
		return true;
	default:
		return false;
	}
}

static void do_write(struct zk_script *s, const struct step *p)
{
	struct zk *zk = s->zk[p->who];
	struct slice data = slice_str(p->data);
	char *big = NULL;

	if (p->data && !strcmp(p->data, BIG)) {
		big = mem_zalloc(2000000);
		data = slice_make(big, 2000000);
	}
	if (p->what == CREATE)
		zk_create(zk, p->path, data, p->arg, done_create, s);
	else
		zk_set(zk, p->path, data, p->arg, done_stat, s);
	mem_free(big);
}

static void do_open(struct zk_script *s, const struct step *p)
{
	struct zk_config cfg = {.connect = s->world.connect[p->who], .session_timeout_ms = ZK_SCRIPT_TIMEOUT_MS, .op_timeout_ms = 20000,
		.on_event = p->who == A ? event_a : event_b, .ctx = s};

	int err = zk_open(s->world.loop[p->who], &cfg, &s->zk[p->who]);
	ASSERT(err == 0);
}

/* True: done with it, on to the next. */
static bool do_local(struct zk_script *s, const struct step *p)
{
	struct zk *zk = s->zk[p->who];

	switch (p->what) {
	case OPEN:
		do_open(s, p);
		return true;
	case OBSERVE:
		zk_observe(zk, p->path, (enum zk_observe_kind)p->arg, p->arg == NODE ? (p->who == A ? look_node_a : look_node_b) :
			(p->who == A ? look_kids_a : look_kids_b), s);
		return true;
	case UNOBSERVE:
		zk_unobserve(zk, p->path, (enum zk_observe_kind)p->arg);
		return true;
	case NO_LOOKS:
		for (size_t i = 0; i < s->looks_n; i++)
			if (p->path[0] && strstr(s->looks[i].what, p->path))
				record(s, NULL, "%s looked at %s after it had unobserved it", who_names[p->who], p->path);
		forget_looks(s);
		return true;
	case CUT:
	case HEAL:
		memset(s->events[A], 0, sizeof(s->events[A]));
		s->world.cut(s->world.ctx, p->what == CUT);
		return true;
	case REMEMBER:
		s->old = s->session[p->who];
		return true;
	case REOPEN:
		memset(s->events[A], 0, sizeof(s->events[A]));
		zk_reopen(zk);
		return true;
	case GET_LATER:
		zk_get(zk, p->path, done_later, s);
		return true;
	default:
		return false;
	}
}

static void do_step(void *arg)
{
	struct zk_script *s = arg;
	const struct step *p = step_of(s);
	struct zk *zk = s->zk[p->who];

	if (do_local(s, p)) {
		advance(s);
		return;
	}
	switch (p->what) {
	case CREATE:
	case SET:
		do_write(s, p);
		break;
	case DELETE:
		zk_delete(zk, p->path, p->arg, done_delete, s);
		break;
	case GET:
		zk_get(zk, p->path, done_data, s);
		break;
	case EXISTS:
		zk_exists(zk, p->path, done_stat, s);
		break;
	case CHILDREN:
		zk_children(zk, p->path, done_names, s);
		break;
	case MULTI:
		zk_multi(zk, multis[p->arg].ops, multis[p->arg].n, done_multi, s);
		break;
	case BARRIER: {
		struct zk_op op = {.kind = ZK_OP_CHECK, .path = "/n", .version = -1};
		zk_multi(zk, &op, 1, done_multi, s);
		break;
	}
	case END_SESSION:
		zk_end_session(zk, &s->old, done_end, s);
		break;
	case CLOSE:
		zk_close(zk, done_close, s);
		break;
	case END:
		s->world.done(s->world.ctx);
		break;
	default:
		s->waiting = true;
		if (step_met(s, p))
			advance(s);
		break;
	}
}

static void next_step(struct zk_script *s)
{
	const struct step *p = step_of(s);

	if (s->waiting) { /* something came: is it what the step waits for? */
		if (!step_met(s, p))
			return;
		s->waiting = false;
		s->at++;
		p = step_of(s);
	}
	snprintf(s->where, sizeof(s->where), "step %zu of %zu: %d %s %s %d", s->at, ARRAY_LEN(steps), (int)p->what, who_names[p->who], p->path ? p->path : "", p->arg);
	s->world.run(s->world.ctx, p->who, do_step, s);
}

struct zk_script *zk_script_new(const struct zk_script_world *world)
{
	struct zk_script *s = MEM_NEW(struct zk_script);

	s->world = *world;
	return s;
}

void zk_script_start(struct zk_script *s)
{
	next_step(s);
}

void zk_script_free(struct zk_script *s)
{
	for (size_t i = 0; i < s->lines_n; i++)
		mem_free(s->lines[i].text);
	mem_free(s->lines);
	forget_looks(s);
	mem_free(s->looks);
	mem_free(s);
}

const char *zk_script_where(const struct zk_script *s)
{
	return s->where;
}
