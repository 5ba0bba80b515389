/* checks_disk.c: what the disks hold: power cuts, equality of replicas, and the verdict at the end. See checks.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sim/batch.h"
#include "tests/sim/checks_groups.h"
#include "tests/sim/checks_priv.h"
#include "tests/sim/offsets.h"

/* ---- reading a replica's log ---- */

/* The directory may be left from an earlier topic of that name. */
static bool same_topic(struct run *r, struct sim_host *h, const char *dir, const struct topic *t)
{
	char path[128], text[UUID_TEXT_LEN + 1];
	struct str meta;
	bool same = true;
	if (uuid_is_zero(&t->id))
		return true;
	str_init(&meta);
	snprintf(path, sizeof(path), "%s/partition.metadata", dir);
	uuid_format(&t->id, text);
	if (sim_disk_read(h, path, &meta) == 0 && meta.len)
		same = strstr(str_cstr(&meta), text) != NULL;
	str_fini(&meta);
	(void)r;
	return same;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Segment files of a directory in order of their base offsets; names point into `list`. */
static size_t segment_names(struct str *list, char **names, size_t cap)
{
	size_t n = 0;
	for (char *line = list->ptr; line && *line;) {
		char *end = strchr(line, '\n');
		if (end)
			*end = '\0';
		size_t len = strlen(line);
		if (len == 24 && strcmp(line + 20, ".log") == 0 && n < cap)
			names[n++] = line;
		line = end ? end + 1 : NULL;
	}
	qsort(names, n, sizeof(names[0]), by_name);
	return n;
}

/* False: something in it is cut short or broken; what follows does not count. */
static bool scan_segment(struct slice bytes, int64_t *next, checks_batch_fn *fn, void *ctx)
{
	while (bytes.len) {
		struct sim_batch b;
		if (sim_batch_parse(bytes, &b) || b.base_offset < *next || !fn(ctx, bytes, &b))
			return false;
		*next = b.base_offset + b.count;
		bytes = slice_make(bytes.ptr + b.total_bytes, bytes.len - (size_t)b.total_bytes);
	}
	return true;
}

int64_t checks_disk_batches(struct run *r, int broker, int32_t tp, checks_batch_fn *fn, void *ctx)
{
	enum { SEGMENTS_MAX = 4096 };
	struct topic *t = run_topic_of(r, tp);
	struct sim_host *h = cluster_broker_host(r, broker);
	char dir[64], path[128];
	struct str list, bytes;
	int64_t next = -1;
	snprintf(dir, sizeof(dir), "/data/%s-%d", t->name, run_partition_of(r, tp));
	str_init(&list);
	str_init(&bytes);
	sim_disk_list(h, dir, &list);
	char **names = mem_alloc(sizeof(char *) * SEGMENTS_MAX);
	size_t n = segment_names(&list, names, SEGMENTS_MAX);
	if (n && same_topic(r, h, dir, t)) {
		next = strtoll(names[0], NULL, 10);
		for (size_t i = 0; i < n; i++) {
			snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
			str_clear(&bytes);
			if (sim_disk_read(h, path, &bytes) || strtoll(names[i], NULL, 10) < next || !scan_segment(slice_make(bytes.ptr, bytes.len), &next, fn, ctx))
				break;
		}
	}
	mem_free(names);
	str_fini(&list);
	str_fini(&bytes);
	return next;
}

struct log_ids { checks_record_fn *fn; void *ctx; bool internal; };

static bool take_batch(void *ctx, struct slice bytes, const struct sim_batch *b)
{
	struct log_ids *i = ctx;
	return i->internal ? offsets_batch_records(bytes, b, i->fn, i->ctx) : sim_batch_records(bytes, b, i->fn, i->ctx);
}

int64_t checks_disk_log(struct run *r, int broker, int32_t tp, checks_record_fn *fn, void *ctx)
{
	struct log_ids i = {fn, ctx, run_topic_of(r, tp)->internal};
	return checks_disk_batches(r, broker, tp, take_batch, &i);
}

/* ---- power cuts ---- */

struct look { struct run *r; int32_t tp; uint16_t bit; };

static void see(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	struct look *l = ctx;
	if (run_topic_of(l->r, l->tp)->internal && id & OFFSETS_OTHER)
		; /* groups and deletions: what they are does not matter here */
	else if (id == 0 || id >= l->r->checks->rec_count || l->r->checks->recs[id].tp != l->tp)
		return; /* late request for an earlier topic of that name */
	else if (l->r->checks->recs[id].commit >= 0)
		l->r->checks->recs[id].offset = offset; /* nobody tells it to who commits */
	checks_inst(l->r, l->tp, offset, epoch, id, "is on a disk")->disk |= l->bit;
}

static void look_at(struct run *r, int broker)
{
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		struct look l = {r, tp, (uint16_t)(1u << broker)};
		if (run_topic_of(r, tp)->state == TOPIC_LIVE)
			checks_disk_log(r, broker, tp, see, &l);
	}
}

static void forget(struct run *r, uint16_t mask)
{
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		struct tp_check *t = &r->checks->tps[tp];
		for (size_t i = 0; i < t->offset_cap; i++)
			for (struct inst *in = t->offsets[i]; in; in = in->next)
				in->disk &= (uint16_t)~mask;
	}
}

void checks_power_cut(struct run *r, int broker)
{
	struct checks *k = r->checks;
	uint16_t bit = (uint16_t)(1u << broker);
	checks_poll(r);
	forget(r, 0xffff);
	for (int b = 0; b < r->opt->brokers; b++)
		look_at(r, b);
	/* remember in `lost` bit 15 who had it before the cut */
	for (int32_t tp = 0; tp < r->tp_count; tp++)
		for (size_t i = 0; i < k->tps[tp].offset_cap; i++)
			for (struct inst *in = k->tps[tp].offsets[i]; in; in = in->next)
				in->lost = (uint16_t)((in->lost & 0x7fff) | (in->disk & bit ? 0x8000 : 0));
	sim_host_power_cut(cluster_broker_host(r, broker));
	MEM_GROW(k->cuts, k->cut_cap, k->cut_count + 1);
	k->cuts[k->cut_count++] = (struct cut){sim_now_us(r->w), broker};
	forget(r, bit);
	look_at(r, broker);
	for (int32_t tp = 0; tp < r->tp_count; tp++) {
		struct tp_check *t = &k->tps[tp];
		int64_t first = -1, count = 0;
		for (size_t i = 0; i < t->offset_cap; i++) {
			for (struct inst *in = t->offsets[i]; in; in = in->next) {
				if ((in->lost & 0x8000) && !(in->disk & bit)) {
					struct loss *l = ARENA_NEW(&k->arena, struct loss);
					in->lost |= bit;
					*l = (struct loss){.next = in->losses, .lost = in->lost & 0x7fff, .holders = in->disk, .isr = t->isr, .t_us = sim_now_us(r->w)};
					in->losses = l;
					first = first < 0 ? (int64_t)i : first;
					count++;
				}
				in->lost &= 0x7fff;
			}
		}
		if (count)
			sim_note(r->w, "power cut of broker %d: tp %d (%s-%d) lost %lld records from offset %lld on", cluster_broker_id_of(broker), tp,
				run_topic_of(r, tp)->name, run_partition_of(r, tp), (long long)count, (long long)first);
	}
}

/* ---- the end ---- */

struct entry { int64_t offset; uint64_t id; int32_t epoch; };
struct entries { struct entry *items; size_t count, cap; };

static void collect(void *ctx, int64_t offset, int32_t epoch, uint64_t id)
{
	struct entries *e = ctx;
	MEM_GROW(e->items, e->cap, e->count + 1);
	e->items[e->count++] = (struct entry){offset, id, epoch};
}

static bool equal_replicas(struct run *r, int32_t tp, struct str *what)
{
	struct tp_check *t = &r->checks->tps[tp];
	struct entries first = {0}, other = {0};
	int64_t first_end = -1;
	int first_broker = -1;
	bool equal = true;
	for (int b = 0; b < r->opt->brokers && equal; b++) {
		if (!(t->replicas >> b & 1))
			continue;
		struct entries *e = first_broker < 0 ? &first : &other;
		e->count = 0;
		int64_t end = checks_disk_log(r, b, tp, collect, e);
		if (first_broker < 0) {
			first_broker = b;
			first_end = end;
			continue;
		}
		size_t n = e->count < first.count ? e->count : first.count;
		for (size_t i = 0; i < n; i++) {
			if (e->items[i].offset != first.items[i].offset || e->items[i].id != first.items[i].id || e->items[i].epoch != first.items[i].epoch) {
				str_printf(what, "tp %d (%s-%d): brokers %d and %d differ at offset %lld: record %llu epoch %d, record %llu epoch %d", tp,
					run_topic_of(r, tp)->name, run_partition_of(r, tp), cluster_broker_id_of(first_broker), cluster_broker_id_of(b), (long long)first.items[i].offset,
					(unsigned long long)first.items[i].id, first.items[i].epoch, (unsigned long long)e->items[i].id, e->items[i].epoch);
				equal = false;
				break;
			}
		}
		if (equal && end != first_end) {
			str_printf(what, "tp %d (%s-%d): broker %d ends at %lld, broker %d at %lld", tp, run_topic_of(r, tp)->name, run_partition_of(r, tp),
				cluster_broker_id_of(first_broker), (long long)first_end, cluster_broker_id_of(b), (long long)end);
			equal = false;
		}
	}
	int64_t position = sim_consumers_position(r, tp);
	if (equal && position != INT64_MAX && position != (first_end < 0 ? 0 : first_end)) {
		str_printf(what, "tp %d (%s-%d) ends at %lld, a consumer is at %lld", tp, run_topic_of(r, tp)->name, run_partition_of(r, tp), (long long)first_end,
			(long long)position);
		equal = false;
	}
	mem_free(first.items);
	mem_free(other.items);
	return equal;
}

bool checks_converged(struct run *r, struct str *what)
{
	for (int32_t tp = 0; tp < r->tp_count; tp++)
		if (run_topic_of(r, tp)->state == TOPIC_LIVE && !equal_replicas(r, tp, what))
			return false;
	return true;
}

/* The log of a partition, by offset, and what is wrong in it by itself. */
static void judge_log(struct run *r, int32_t tp, const struct entries *e, uint8_t *seen, uint64_t *last_first)
{
	struct checks *k = r->checks;
	for (int i = 0; i < PRODUCERS_MAX; i++)
		last_first[i] = 0;
	for (size_t i = 0; i < e->count && !run_over(r); i++) {
		uint64_t id = e->items[i].id;
		if (run_topic_of(r, tp)->internal && id & OFFSETS_OTHER)
			continue;
		if (id == 0 || id >= k->rec_count || k->recs[id].tp != tp) {
			/* a request for a deleted topic may have come late to a new one of its name */
			if (id == 0 || id >= k->rec_count || !run_topic_of(r, tp)->churn)
				run_violation(r, "read-gone", "tp %d offset %lld holds record %llu, which nobody sent there", tp, (long long)e->items[i].offset,
					(unsigned long long)id);
			continue;
		}
		struct rec *rec = &k->recs[id];
		if (seen[id] && rec->idempotent && !rec->resequenced)
			run_violation(r, "duplicate", "tp %d (%s-%d): record %llu of producer %d stands twice, once at offset %lld", tp, run_topic_of(r, tp)->name,
				run_partition_of(r, tp), (unsigned long long)id, rec->producer, (long long)e->items[i].offset);
		if (!seen[id] && rec->acks == -1 && rec->commit < 0 && !rec->resequenced) {
			if (id < last_first[rec->producer])
				run_violation(r, "order", "tp %d (%s-%d) offset %lld: record %llu of producer %d behind its record %llu", tp, run_topic_of(r, tp)->name,
					run_partition_of(r, tp), (long long)e->items[i].offset, (unsigned long long)id, rec->producer,
					(unsigned long long)last_first[rec->producer]);
			last_first[rec->producer] = id;
		}
		if (seen[id] < 255)
			seen[id]++;
	}
}

struct inst *checks_find_inst(struct run *r, int32_t tp, int64_t offset, uint64_t id)
{
	struct tp_check *t = &r->checks->tps[tp];
	if (offset < 0 || (size_t)offset >= t->offset_cap)
		return NULL;
	for (struct inst *in = t->offsets[offset]; in; in = in->next)
		if (in->id == id)
			return in;
	return NULL;
}

static void judge_reads(struct run *r, int32_t tp, const uint64_t *final, size_t end)
{
	struct tp_check *t = &r->checks->tps[tp];
	for (size_t o = 0; o < t->offset_cap && !run_over(r); o++) {
		for (struct inst *in = t->offsets[o]; in; in = in->next) {
			if (!in->read || (o < end && final[o] == in->id))
				continue;
			if (!checks_excused(r, tp, in, &in->isr) && !checks_excused(r, tp, in, &r->checks->recs[in->id].isr))
				run_violation(r, "read-gone", "tp %d (%s-%d) offset %zu: record %llu was read, at the end record %llu stands there", tp, run_topic_of(r, tp)->name,
					run_partition_of(r, tp), o, (unsigned long long)in->id, o < end ? (unsigned long long)final[o] : 0ull);
		}
	}
}

static void judge_acked(struct run *r, uint64_t *const *finals, const size_t *ends)
{
	struct checks *k = r->checks;
	for (uint64_t id = 1; id < k->rec_count && !run_over(r); id++) {
		struct rec *rec = &k->recs[id];
		if (!rec->acked || rec->acks != -1 || rec->commit >= 0 || run_topic_of(r, rec->tp)->state != TOPIC_LIVE)
			continue;
		if (rec->offset >= 0 && (size_t)rec->offset < ends[rec->tp] && finals[rec->tp][rec->offset] == id)
			continue;
		if (checks_excused(r, rec->tp, checks_find_inst(r, rec->tp, rec->offset, id), &rec->isr)) {
			r->res.lost_excused++;
			continue;
		}
		struct topic *t = run_topic_of(r, rec->tp);
		run_violation(r, "durability", "tp %d (%s-%d) offset %lld: record %llu of producer %d was acknowledged (isr %#x) and is not there", rec->tp, t->name,
			run_partition_of(r, rec->tp), (long long)rec->offset, (unsigned long long)id, rec->producer, rec->isr.count ? rec->isr.mask[0] : 0u);
	}
}

static void judge_gaps(struct run *r, uint64_t *const *finals, const size_t *ends)
{
	struct checks *k = r->checks;
	for (size_t i = 0; i < k->gap_count && !run_over(r); i++) {
		struct rec *rec = &k->recs[k->gaps[i].last_acked_id];
		struct rec *next = &k->recs[k->gaps[i].id];
		if (run_topic_of(r, next->tp)->state != TOPIC_LIVE)
			continue;
		bool lost = k->gaps[i].last_acked_id && !(rec->offset >= 0 && (size_t)rec->offset < ends[rec->tp] && finals[rec->tp][rec->offset] == k->gaps[i].last_acked_id);
		if (!lost)
			run_violation(r, "sequence", "tp %d: a gap was reported in front of record %llu, but record %llu was not lost", next->tp,
				(unsigned long long)k->gaps[i].id, (unsigned long long)k->gaps[i].last_acked_id);
	}
}

void checks_final(struct run *r)
{
	struct checks *k = r->checks;
	uint8_t *seen = mem_zalloc(k->rec_count);
	uint64_t *finals[TPS_MAX] = {0};
	size_t ends[TPS_MAX] = {0};
	for (int32_t tp = 0; tp < r->tp_count && !run_over(r); tp++) {
		struct tp_check *t = &k->tps[tp];
		struct entries e = {0};
		uint64_t last_first[PRODUCERS_MAX];
		if (run_topic_of(r, tp)->state != TOPIC_LIVE || !t->replicas)
			continue;
		int64_t end = checks_disk_log(r, __builtin_ctz(t->replicas), tp, collect, &e);
		ends[tp] = end > 0 ? (size_t)end : 0;
		finals[tp] = mem_zalloc(sizeof(uint64_t) * (ends[tp] + 1));
		for (size_t i = 0; i < e.count; i++)
			finals[tp][e.items[i].offset] = e.items[i].id;
		judge_log(r, tp, &e, seen, last_first);
		judge_reads(r, tp, finals[tp], ends[tp]);
		mem_free(e.items);
	}
	judge_acked(r, finals, ends);
	judge_gaps(r, finals, ends);
	if (!run_over(r) && group_checks_count(r))
		group_checks_final(r);
	for (int i = 0; i < TPS_MAX; i++)
		mem_free(finals[i]);
	mem_free(seen);
}
