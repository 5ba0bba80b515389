/* coordinator_write.c: records that the core gave out -> one batch -> the produce path -> the core.
 *
 * Outcomes are told in the order in which the writes were given out, whatever the produce path is done with first. A write whose leadership ended
 * is forgotten: its outcome, known or not, no longer matters to anybody here (group.h), only its memory does.
 */
#include "brokerd/group/coordinator_priv.h"

#include "brokerd/meta/image.h"
#include "common/base/crc.h"
#include "common/base/plant.h"

struct writing {
	struct list link;        /* in owned.writes or coordinator.forgotten */
	struct coordinator *c;
	struct owned *o;         /* NULL: forgotten */
	struct groups_write *w;
	struct produce_msg m;
	struct produce_part part;
	struct deferred refused; /* when it never reached the produce path */
	bool over;
	int16_t error;
	int64_t base_offset;
};

static void writing_free(struct writing *x)
{
	list_remove(&x->link);
	image_unref(x->m.image);
	if (x->w)
		groups_write_free(x->w);
	mem_free(x);
}

/* ---- the batch ---- */

static size_t record_body_bytes(const struct groups_record *r, int32_t delta)
{
	size_t n = 1 + varlong_size(0) + varint_size(delta) + varint_size((int32_t)r->key.len) + r->key.len + varint_size(0);
	return n + (r->tombstone ? varint_size(-1) : varint_size((int32_t)r->value.len) + r->value.len);
}

static size_t records_bytes(const struct groups_write *w)
{
	size_t total = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		size_t n = record_body_bytes(&w->records[i], (int32_t)i);
		total += varint_size((int32_t)n) + n;
	}
	return total;
}

static void put_records(uint8_t *p, const struct groups_write *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		const struct groups_record *r = &w->records[i];
		p = put_varint(p, (int32_t)record_body_bytes(r, (int32_t)i));
		p = put_u8(p, 0);
		p = put_varlong(p, 0);
		p = put_varint(p, (int32_t)i);
		p = put_varint(p, (int32_t)r->key.len);
		p = put_bytes(p, r->key.ptr, r->key.len);
		p = put_varint(p, r->tombstone ? -1 : (int32_t)r->value.len);
		if (!r->tombstone)
			p = put_bytes(p, r->value.ptr, r->value.len);
		p = put_varint(p, 0);
	}
}

static void put_header(uint8_t *p, size_t total, int codec, uint32_t count, int64_t now_ms)
{
	p = put_i64(p, 0);
	p = put_i32(p, (int32_t)(total - BATCH_LOG_OVERHEAD));
	p = put_i32(p, -1);
	p = put_u8(p, 2);
	p = put_i32(p, 0); /* the checksum */
	p = put_i16(p, (int16_t)codec);
	p = put_i32(p, (int32_t)count - 1);
	p = put_i64(p, now_ms);
	p = put_i64(p, now_ms);
	p = put_i64(p, -1);
	p = put_i16(p, -1);
	p = put_i32(p, -1);
	put_i32(p, (int32_t)count);
}

static struct buf *make_batch(const struct groups_write *w, int codec, int32_t level, int64_t now_ms)
{
	size_t plain = records_bytes(w), total = BATCH_HEADER_BYTES + plain;
	struct buf *b = buf_new(total);
	put_records(b->data + BATCH_HEADER_BYTES, w);
	if (codec) {
		struct chain small;
		chain_init(&small);
		if (compress_once((enum codec)codec, level, slice_make(b->data + BATCH_HEADER_BYTES, plain), &small) == 0) {
			struct buf *packed = buf_new(BATCH_HEADER_BYTES + (size_t)small.bytes);
			chain_flatten(&small, packed->data + BATCH_HEADER_BYTES);
			total = packed->cap;
			buf_unref(b);
			b = packed;
		} else {
			codec = 0;
		}
		chain_clear(&small);
	}
	put_header(b->data, total, codec, w->count, now_ms);
	be32_put(b->data + 17, crc32c(b->data + 21, total - 21));
	return b;
}

/* ---- outcomes ---- */

static void hand_out(struct owned *o)
{
	if (o->handing_out)
		return;
	o->handing_out = true;
	while (!list_empty(&o->writes)) {
		struct writing *x = LIST_ENTRY(o->writes.next, struct writing, link);
		struct groups_write *w = x->w;
		struct groups_out out;
		int16_t error = x->error;
		int64_t base = x->base_offset;
		if (!x->over)
			break;
		x->w = NULL;
		writing_free(x);
		groups_out_init(&out);
		groups_written(o->g, w, error, base, coordinator_now(o->c), &out);
		coordinator_take(o, &out);
	}
	o->handing_out = false;
}

static void over(struct writing *x, int16_t error, int64_t base_offset)
{
	if (!x->o) {
		writing_free(x);
		return;
	}
	x->over = true;
	x->error = error;
	x->base_offset = base_offset;
	hand_out(x->o);
}

static void produced(struct produce_msg *m)
{
	struct writing *x = CONTAINER_OF(m, struct writing, m);
	over(x, x->part.error, x->part.base_offset);
}

static void refused(void *ctx)
{
	struct writing *x = ctx;
	over(x, x->error, -1);
}

static bool holds_members(const struct groups_write *w)
{
	for (uint32_t i = 0; i < w->count; i++)
		if (w->records[i].key.len >= 2 && be16_get(w->records[i].key.ptr) == 2)
			return true;
	return false;
}

static void refuse(struct writing *x, int16_t error)
{
	x->error = error;
	deferred_init(&x->refused, refused, x);
	loop_defer(x->c->loop, &x->refused);
}

void write_start(struct owned *o, struct groups_write *w)
{
	struct coordinator *c = o->c;
	struct writing *x = MEM_NEW(struct writing);
	struct image *im = shard_image(c->shard);
	const struct image_topic *t = im ? image_find_topic(im, slice_str(GROUP_TOPIC)) : NULL;
	struct log *log = shard_led_log(c->shard, slice_str(GROUP_TOPIC), o->partition, o->epoch);
	x->c = c;
	x->o = o;
	x->w = w;
	list_init(&x->link);
	list_push_back(&o->writes, &x->link);
	if (!t || !log) {
		refuse(x, KERR_NOT_LEADER_OR_FOLLOWER);
		return;
	}
	if (records_bytes(w) + BATCH_HEADER_BYTES > (size_t)log_get_config(log)->max_message_bytes && !holds_members(w)) {
		refuse(x, KERR_MESSAGE_TOO_LARGE);
		return;
	}
	const struct log_config *cfg = log_get_config(log);
	int codec = cfg->codec == LOG_CODEC_PRODUCER ? c->init.codec : cfg->codec; /* the topic's word counts, as in Kafka */
	struct buf *b = make_batch(w, codec, log_config_level(cfg, cfg->codec), env_wall_ms(c->env));
	x->part = (struct produce_part){.topic = t, .partition = o->partition, .buf = b, .records = slice_make(b->data, b->cap)};
	int err = batch_parse(x->part.records, &x->part.batch);
	ASSERT(err == 0);
	x->part.max_timestamp = x->part.batch.max_timestamp;
	x->m = (struct produce_msg){
		.shard = c->shard, .image = image_ref(im), .origin = LOG_ORIGIN_COORDINATOR, .acks = PLANT(group_answer_at_append) ? 1 : -1, .timeout_ms = c->init.commit_timeout_ms, .parts = &x->part, .count = 1,
		.done = produced,
	};
	shard_post_produce(&x->m);
}

void write_forget_all(struct owned *o)
{
	struct coordinator *c = o->c;
	while (!list_empty(&o->writes)) {
		struct writing *x = LIST_ENTRY(o->writes.next, struct writing, link);
		list_remove(&x->link);
		x->o = NULL;
		if (x->over)
			writing_free(x); /* it waited for its turn */
		else
			list_push_back(&c->forgotten, &x->link);
	}
}

void write_drop_all(struct coordinator *c, struct list *writes)
{
	(void)c;
	while (!list_empty(writes))
		writing_free(LIST_ENTRY(writes->next, struct writing, link));
}
