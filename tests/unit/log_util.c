/* log_util.c: what the log tests share: directories, batches, appending and reading back. */
#include "tests/unit/log_util.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/crc.h"
#include "common/base/mem.h"
#include "common/compress/compress.h"
#include "tests/unit/unit.h"

/* ---- world ---- */

void tw_init(struct tw *t)
{
	*t = (struct tw){0};
	t->world = os_world_new(&(struct os_world_config){.min_level = LOG_ERROR});
	t->env = os_world_env(t->world);
	t->loop = os_world_control_loop(t->world);
	log_config_defaults(&t->cfg);
	t->cfg.producer_id_expiration_ms = INT64_MAX / 4; /* the timestamps of the tests are old */
	tw_new_dir(t);
}

void tw_use_dir(struct tw *t, const char *path)
{
	mem_free(t->dir.path);
	t->dir = (struct log_dir){.env = t->env, .path = mem_strdup(path)};
	atomic_store(&t->dir.bytes_free, UINT64_C(1) << 40);
}

void tw_new_dir(struct tw *t)
{
	static int serial;
	struct str s;

	str_init(&s);
	str_printf(&s, "%s/d%d", unit_tmpdir(), serial++);
	if (mkdir(str_cstr(&s), 0755) != 0)
		abort();
	tw_use_dir(t, str_cstr(&s));
	str_fini(&s);
}

void tw_fini(struct tw *t)
{
	mem_free(t->dir.path);
	os_world_free(t->world);
}

struct waking {
	struct os_world *world;
	bool fired;
};

static void stop_world(void *ctx)
{
	struct waking *w = ctx;
	w->fired = true;
	os_world_stop(w->world, 0);
}

void tw_wait(struct tw *t, bool *flag)
{
	while (!*flag) {
		struct waking w = {.world = t->world};
		struct timer tm;
		/* A turn at a time: whoever sets the flag need not know of the world. */
		timer_init(&tm, t->loop, stop_world, &w);
		timer_set_us(&tm, 200);
		os_world_run(t->world);
		timer_stop(&tm);
	}
}

void tw_spin(struct tw *t)
{
	tw_turns(t, 20);
}

void tw_turns(struct tw *t, int turns)
{
	for (int i = 0; i < turns; i++) {
		struct waking w = {.world = t->world};
		struct timer tm;
		timer_init(&tm, t->loop, stop_world, &w);
		timer_set_us(&tm, 200);
		while (!w.fired)
			os_world_run(t->world);
		timer_stop(&tm);
	}
}

/* ---- batches ---- */

struct tw_batch tw_defaults(struct tw_batch spec)
{
	if (spec.base_timestamp == 0)
		spec.base_timestamp = 1700000000000;
	if (spec.count == 0)
		spec.count = 1;
	if (spec.value_bytes == 0)
		spec.value_bytes = 10;
	if (spec.producer_id == 0)
		spec.producer_id = spec.producer_epoch = spec.base_sequence = -1;
	return spec;
}

static void put_varint(struct str *s, int64_t v)
{
	uint64_t u = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
	do {
		uint8_t b = (uint8_t)(u & 127);
		u >>= 7;
		if (u)
			b |= 128;
		str_add_bytes(s, &b, 1);
	} while (u);
}

static void put_record(struct str *out, int i, int64_t time_delta, const void *key, int key_len, const void *value, int value_len)
{
	struct str r;

	str_init(&r);
	str_add_bytes(&r, "\0", 1);
	put_varint(&r, time_delta);
	put_varint(&r, i);
	put_varint(&r, key_len);
	if (key_len > 0)
		str_add_bytes(&r, key, (size_t)key_len);
	put_varint(&r, value_len);
	if (value_len > 0)
		str_add_bytes(&r, value, (size_t)value_len);
	put_varint(&r, 0);
	put_varint(out, (int64_t)r.len);
	str_add_bytes(out, r.ptr, r.len);
	str_fini(&r);
}

void tw_fix_crc(uint8_t *batch, size_t len)
{
	be32_put(batch + 17, crc32c(batch + 21, len - 21));
}

static void put_control(struct str *records, struct tw_batch spec)
{
	uint8_t key[4], value[6];

	be16_put(key, 0);
	be16_put(key + 2, (uint16_t)(spec.control == 2 ? 1 : 0));
	be16_put(value, 0);
	be32_put(value + 2, (uint32_t)spec.coordinator_epoch);
	put_record(records, 0, 0, key, 4, value, 6);
}

struct buf *tw_batch(struct tw_batch spec, size_t *ret_len)
{
	struct str records;
	char key[32];

	str_init(&records);
	int64_t max = spec.base_timestamp;
	char *value = mem_zalloc((size_t)spec.value_bytes + 1);
	for (int i = 0; i < spec.count && !spec.control; i++) {
		int n = snprintf(key, sizeof(key), "key-%d", i);
		memset(value, 'a' + i % 26, (size_t)spec.value_bytes);
		int64_t delta = i * spec.timestamp_step;
		if (spec.base_timestamp + delta > max)
			max = spec.base_timestamp + delta;
		put_record(&records, i, delta, key, spec.null_keys ? -1 : n, value, spec.value_bytes);
	}
	if (spec.control)
		put_control(&records, spec);
	mem_free(value);
	if (spec.codec) {
		struct chain c;
		chain_init(&c);
		int err = compress_once((enum codec)spec.codec, COMPRESS_LEVEL_DEFAULT, slice_make(records.ptr, records.len), &c);
		ASSERT(!err);
		size_t n = c.bytes;
		uint8_t *flat = mem_alloc(n);
		chain_flatten(&c, flat);
		chain_clear(&c);
		str_clear(&records);
		str_add_bytes(&records, flat, n);
		mem_free(flat);
	}
	int count = spec.control ? 1 : spec.count;
	size_t len = BATCH_HEADER_BYTES + records.len;
	struct buf *b = buf_new(len);
	uint8_t *p = b->data;
	be64_put(p, (uint64_t)spec.base_offset);
	be32_put(p + 8, (uint32_t)(len - 12));
	be32_put(p + 12, (uint32_t)spec.leader_epoch);
	p[16] = 2;
	be16_put(p + 21, (uint16_t)(spec.codec | (spec.transactional ? 16 : 0) | (spec.control ? 48 : 0) | spec.attributes));
	be32_put(p + 23, (uint32_t)(count - 1));
	be64_put(p + 27, (uint64_t)spec.base_timestamp);
	be64_put(p + 35, (uint64_t)max);
	be64_put(p + 43, (uint64_t)spec.producer_id);
	be16_put(p + 51, (uint16_t)spec.producer_epoch);
	be32_put(p + 53, (uint32_t)spec.base_sequence);
	be32_put(p + 57, (uint32_t)count);
	memcpy(p + 61, records.ptr, records.len);
	tw_fix_crc(p, len);
	str_fini(&records);
	*ret_len = len;
	return b;
}

/* ---- calls that wait ---- */

static void ev_end(void *ctx) { ((struct tw *)ctx)->end_moved++; }
static void ev_start(void *ctx) { ((struct tw *)ctx)->start_moved++; }
static void ev_synced(void *ctx) { ((struct tw *)ctx)->synced++; }
static void ev_failed(void *ctx, int err) { ((struct tw *)ctx)->failed++; (void)err; }

int tw_open(struct tw *t, const char *topic, bool create, bool clean, int64_t recovery_point, int64_t start, int64_t hw, struct log **ret_log)
{
	struct log_open o = {
		.env = t->env, .dir = &t->dir, .topic = topic, .partition = 0, .config = t->cfg, .create = create, .clean = clean,
		.recovery_point = recovery_point < 0 ? 0 : recovery_point, .log_start_offset = start, .high_watermark = hw, .now_ms = 1700000000000,
	};
	struct log_events ev = {ev_end, ev_start, ev_synced, ev_failed, t};
	int err = log_open_now(&o, ret_log);
	if (!err)
		log_attach(*ret_log, t->loop, t->writeback, &ev);
	return err;
}

struct outcome {
	bool done;
	int err;
};

static void set_outcome(void *ctx, int err)
{
	struct outcome *o = ctx;
	o->done = true;
	o->err = err;
}

int tw_close(struct tw *t, struct log *log, bool clean)
{
	struct outcome o = {0};
	log_close(log, clean, set_outcome, &o);
	tw_wait(t, &o.done);
	return o.err;
}

int tw_delete(struct tw *t, struct log *log)
{
	struct outcome o = {0};
	log_delete(log, set_outcome, &o);
	tw_wait(t, &o.done);
	return o.err;
}

int tw_truncate(struct tw *t, struct log *log, int64_t offset)
{
	struct outcome o = {0};
	log_truncate(log, offset, set_outcome, &o);
	tw_wait(t, &o.done);
	return o.err;
}

int tw_truncate_fully(struct tw *t, struct log *log, int64_t offset)
{
	struct outcome o = {0};
	log_truncate_fully(log, offset, set_outcome, &o);
	tw_wait(t, &o.done);
	return o.err;
}

int tw_sync(struct tw *t, struct log *log)
{
	struct outcome o = {0};
	log_sync(log, set_outcome, &o);
	tw_wait(t, &o.done);
	return o.err;
}

static void append_done(struct log_append *a)
{
	*(bool *)a->ctx = true;
}

int tw_append_origin(struct tw *t, struct log *log, struct tw_batch spec, enum log_origin origin, int32_t leader_epoch, struct log_append *a)
{
	bool done = false;
	size_t len;
	struct buf *b = tw_batch(spec, &len);

	*a = (struct log_append){.origin = origin, .buf = b, .records = slice_make(b->data, len), .leader_epoch = leader_epoch,
		.now_ms = 1700000000000, .done = append_done, .ctx = &done};
	int err = batch_parse(a->records, &a->batch);
	ASSERT(!err);
	a->max_timestamp = a->batch.max_timestamp;
	log_append(log, a);
	ASSERT(!done);
	tw_wait(t, &done);
	return a->err;
}

int tw_append(struct tw *t, struct log *log, struct tw_batch spec, int32_t leader_epoch, struct log_append *a)
{
	return tw_append_origin(t, log, spec, LOG_ORIGIN_CLIENT, leader_epoch, a);
}

int tw_append_replica(struct tw *t, struct log *log, struct buf *buf, size_t len, struct log_append *a)
{
	bool done = false;

	*a = (struct log_append){.origin = LOG_ORIGIN_REPLICA, .buf = buf, .records = slice_make(buf->data, len), .now_ms = 1700000000000,
		.done = append_done, .ctx = &done};
	log_append(log, a);
	tw_wait(t, &done);
	return a->err;
}

static void read_done(struct log_read *r)
{
	*(bool *)r->ctx = true;
}

int tw_read(struct tw *t, struct log *log, struct log_read *r, struct str *out)
{
	bool done = false;

	r->done = read_done;
	r->ctx = &done;
	log_read(log, r);
	ASSERT(!done);
	tw_wait(t, &done);
	if (r->file && out) {
		uint8_t *bytes = mem_alloc(r->len);
		size_t got;
		int err = file_read_now(r->file, r->pos, bytes, r->len, &got);
		ASSERT(!err && got == r->len);
		str_add_bytes(out, bytes, got);
		mem_free(bytes);
	}
	file_unref(r->file);
	return r->err;
}

static void time_done(struct log_time_query *q)
{
	*(bool *)q->ctx = true;
}

int tw_find_time(struct tw *t, struct log *log, int64_t timestamp, struct log_time_query *q)
{
	bool done = false;

	*q = (struct log_time_query){.timestamp = timestamp, .offset_max = log_end_offset(log), .done = time_done, .ctx = &done};
	log_find_time(log, q);
	tw_wait(t, &done);
	return q->err;
}

/* ---- files ---- */

char *tw_path(const struct tw *t, const char *fmt, ...)
{
	struct str s;
	va_list ap;

	str_init(&s);
	str_printf(&s, "%s/", t->dir.path);
	va_start(ap, fmt);
	str_vprintf(&s, fmt, ap);
	va_end(ap);
	return str_steal(&s);
}

static void put_file(const char *path, const char *mode, const void *bytes, size_t len)
{
	FILE *f = fopen(path, mode);
	if (!f || fwrite(bytes, 1, len, f) != len || fclose(f) != 0) {
		perror(path);
		abort();
	}
}

void tw_file_write(const char *path, const void *bytes, size_t len)
{
	put_file(path, "wb", bytes, len);
}

void tw_file_append(const char *path, const void *bytes, size_t len)
{
	put_file(path, "ab", bytes, len);
}

char *tw_file_read(const char *path, size_t *ret_len)
{
	struct str s;
	char chunk[4096];
	size_t n;
	FILE *f = fopen(path, "rb");

	str_init(&s);
	if (!f) {
		perror(path);
		abort();
	}
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		str_add_bytes(&s, chunk, n);
	fclose(f);
	*ret_len = s.len;
	return str_steal(&s);
}

bool tw_file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

void tw_copy_tree(const char *from, const char *to)
{
	DIR *d = opendir(from);
	struct dirent *e;

	if (!d) {
		perror(from);
		abort();
	}
	mkdir(to, 0755);
	while ((e = readdir(d))) {
		struct str a, b;
		struct stat st;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		str_init(&a);
		str_init(&b);
		str_printf(&a, "%s/%s", from, e->d_name);
		str_printf(&b, "%s/%s", to, e->d_name);
		if (stat(str_cstr(&a), &st) == 0 && S_ISDIR(st.st_mode)) {
			tw_copy_tree(str_cstr(&a), str_cstr(&b));
		} else {
			size_t len;
			char *bytes = tw_file_read(str_cstr(&a), &len);
			tw_file_write(str_cstr(&b), bytes, len);
			mem_free(bytes);
		}
		str_fini(&a);
		str_fini(&b);
	}
	closedir(d);
}
