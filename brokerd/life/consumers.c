/* consumers.c: committed offsets of clients that speak OffsetCommit and OffsetFetch version 0: /consumers/GROUP/offsets/TOPIC/PARTITION, a decimal
 * number each. The one thing beside its ephemerals that a broker writes in ZooKeeper (protocol.md J4).
 *
 * A write sets the node; where there is none it makes it, with what is above it. Two who do so at once both end with their offset written.
 * While ZooKeeper cannot be reached, and when its answer got lost, COORDINATOR_NOT_AVAILABLE: writing the same offset again does no harm.
 */
#include <inttypes.h>
#include <stdio.h>

#include "brokerd/life/life.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/wire/kerr.h"

struct one {
	struct zk *zk;
	struct ask_zk_offsets *a;
	struct ask_zk_offset *row;
	bool making; /* the node, after it was found missing */
};

static void row_over(struct one *o, int16_t error)
{
	struct ask_zk_offsets *a = o->a;
	o->row->error = error;
	mem_free(o);
	if (--a->waiting == 0)
		loop_post(a->msg.from, &a->msg);
}

static int16_t kafka_error(int err)
{
	switch (err) {
	case 0: return KERR_NONE;
	case ERR_INVAL: return KERR_INVALID_GROUP_ID; /* ZooKeeper takes no such name */
	default: return KERR_COORDINATOR_NOT_AVAILABLE;
	}
}

static void got(void *ctx, int err, struct slice data, const struct zk_stat *st)
{
	struct one *o = ctx;
	char text[32];
	(void)st;
	if (err == ERR_NOENT) {
		row_over(o, KERR_UNKNOWN_TOPIC_OR_PARTITION); /* Kafka's word for "nothing committed" */
		return;
	}
	snprintf(text, sizeof(text), "%.*s", (int)(data.len < sizeof(text) ? data.len : sizeof(text) - 1), data.ptr ? (const char *)data.ptr : "");
	row_over(o, err ? kafka_error(err) : str_to_i64(text, &o->row->offset) ? KERR_UNKNOWN_SERVER_ERROR : KERR_NONE);
}

static void was_set(void *ctx, int err, const struct zk_stat *st);

static void set(struct one *o)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%" PRId64, o->row->offset);
	zk_set(o->zk, o->row->path, slice_make(text, (size_t)len), -1, was_set, o);
}

static void parent_made(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	(void)ctx, (void)err, (void)path, (void)st; /* there already, or the node below will say what is wrong */
}

static void made(void *ctx, int err, const char *path, const struct zk_stat *st)
{
	struct one *o = ctx;
	(void)path, (void)st;
	if (err == ERR_EXIST)
		set(o);
	else
		row_over(o, kafka_error(err));
}

static void make(struct one *o)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%" PRId64, o->row->offset);
	char *path = mem_strdup(o->row->path);
	o->making = true;
	/* operations are carried out in the order of submission: /consumers stands, the three below it may not */
	for (char *at = strchr(path + 1, '/'); at && (at = strchr(at + 1, '/'));) {
		*at = 0;
		zk_create(o->zk, path, (struct slice){0}, ZK_PERSISTENT, parent_made, NULL);
		*at = '/';
	}
	zk_create(o->zk, path, slice_make(text, (size_t)len), ZK_PERSISTENT, made, o);
	mem_free(path);
}

static void was_set(void *ctx, int err, const struct zk_stat *st)
{
	struct one *o = ctx;
	(void)st;
	if (err == ERR_NOENT && !o->making)
		make(o);
	else
		row_over(o, kafka_error(err));
}

void consumers_serve(void *registration, struct ask_zk_offsets *a)
{
	struct zk *zk = registration_zk(registration);
	a->waiting = a->count + 1;
	for (uint32_t i = 0; i < a->count; i++) {
		struct one *o = MEM_NEW(struct one);
		o->zk = zk;
		o->a = a;
		o->row = &a->rows[i];
		if (!zk || !registration_connected(registration))
			row_over(o, KERR_COORDINATOR_NOT_AVAILABLE);
		else if (a->write)
			set(o);
		else
			zk_get(zk, o->row->path, got, o);
	}
	if (--a->waiting == 0)
		loop_post(a->msg.from, &a->msg);
}
