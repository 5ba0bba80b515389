/* shard_apply.c: states from images: deltas that the control loop posts, verdicts on proposals, and images that requests carry (I2). */
#include "brokerd/replica/fetcher.h"
#include "brokerd/replica/shard_priv.h"

void shard_see_image(struct shard *s, struct image *im)
{
	if (im == s->image || (s->image && !image_is_older(s->image, im)))
		return;
	image_ref(im);
	image_unref(s->image);
	s->image = im;
}

void shard_apply_partition(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition)
{
	const struct image_partition *ip = image_topic_partition(t, partition);
	struct slice name = slice_str(t->name);
	struct partition *p = shard_find(s, name, partition);
	if (!ip || s->stopping)
		return;
	if (p && !uuid_is_zero(&p->topic_id) && !uuid_is_zero(&t->id) && !uuid_eq(&p->topic_id, &t->id)) {
		/* another topic of that name is on disk: it is kept until a remove delta names it (K1, K2) */
		partition_retire(p);
		p = NULL;
	}
	if (!p) {
		if (!image_ids_has(&ip->replicas, s->config->broker_id))
			return;
		p = shard_add(s, name, &t->id, partition);
	}
	if (partition_is_open(p)) {
		struct log_config cfg;
		shard_config_of(s, im, t, &cfg);
		log_reconfigure(p->log, &cfg);
	}
	partition_apply(p, im, t, ip);
}

struct partition *shard_adopt(struct shard *s, struct image *im, const struct image_topic *t, int32_t partition)
{
	struct partition *p = shard_find_topic(s, t, partition);
	if (im == s->image && p && !s->applying)
		return p;
	const struct image_partition *ip = image_topic_partition(t, partition);
	bool newest = !s->image || !image_is_older(im, s->image);
	if (!ip || s->stopping)
		return p;
	if (p ? ip->leader_epoch < p->core.leader_epoch || (ip->leader_epoch == p->core.leader_epoch && ip->partition_epoch <= p->core.partition_epoch)
	      : !newest) /* an old image must not bring back what was removed */
		return p;
	shard_see_image(s, im);
	shard_apply_partition(s, im, t, partition);
	return shard_find_topic(s, t, partition);
}

static void apply_removed(struct shard *s, const struct image_change *ch)
{
	struct partition *p = shard_find_topic(s, ch->topic, ch->partition);
	if (p) {
		partition_remove(p);
		return;
	}
	LIST_FOR_SAFE(it, tmp, &s->old) {
		struct partition *q = LIST_ENTRY(it, struct partition, all_link);
		if (q->topic && q->partition == ch->partition && slice_eq(slice_make(q->topic, q->topic_len), slice_str(ch->topic->name)) &&
		    (uuid_is_zero(&q->topic_id) || uuid_is_zero(&ch->topic->id) || uuid_eq(&q->topic_id, &ch->topic->id)))
			partition_remove(q);
	}
}

/* A change may name a topic of the former image: left out of a snapshot, or its name went to another topic. */
static void apply_change(struct shard *s, struct image *im, const struct image_change *ch)
{
	const struct image_topic *t = image_find_topic(im, slice_str(ch->topic->name));
	if (t && (uuid_is_zero(&t->id) || uuid_is_zero(&ch->topic->id) || uuid_eq(&t->id, &ch->topic->id))) {
		shard_apply_partition(s, im, t, ch->partition);
		return;
	}
	struct partition *p = shard_find_topic(s, ch->topic, ch->partition);
	if (p)
		partition_unassign(p);
}

static void apply_returned(struct msg *msg)
{
	struct shard_apply *m = CONTAINER_OF(msg, struct shard_apply, msg);
	m->done(m);
}

static void reconfigure_all(struct shard *s)
{
	LIST_FOR(it, &s->all) {
		struct partition *p = LIST_ENTRY(it, struct partition, all_link);
		const struct image_topic *t = image_find_topic(s->image, slice_make(p->topic, p->topic_len));
		if (!t || !partition_is_open(p))
			continue;
		struct log_config cfg;
		shard_config_of(s, s->image, t, &cfg);
		log_reconfigure(p->log, &cfg);
	}
}

static void shard_on_apply(struct msg *msg)
{
	struct shard_apply *m = CONTAINER_OF(msg, struct shard_apply, msg);
	struct shard *s = m->shard;
	shard_activate(s);
	shard_see_image(s, m->image);
	s->applying = m->more;
	if (!s->stopping) {
		for (uint32_t i = 0; i < m->change_count; i++)
			if (m->changes[i].removed)
				apply_removed(s, &m->changes[i]);
		for (uint32_t i = 0; i < m->change_count; i++)
			if (!m->changes[i].removed)
				apply_change(s, m->image, &m->changes[i]);
		if (m->configs_changed)
			reconfigure_all(s);
		if (m->brokers_changed) {
			LIST_FOR_SAFE(it, tmp, &s->all) {
				struct partition *p = LIST_ENTRY(it, struct partition, all_link);
				if (partition_is_leader(p))
					partition_refresh_eligible(p);
			}
			fetchers_brokers_changed(s);
		}
	}
	image_unref(m->image);
	m->image = NULL;
	m->msg.deliver = apply_returned;
	loop_post(msg->from, &m->msg);
}

void shard_post_apply(struct shard_apply *m)
{
	m->msg.deliver = shard_on_apply;
	loop_post(m->shard->loop, &m->msg);
}

/* ---- verdicts ---- */

static void verdict_returned(struct msg *msg)
{
	struct shard_verdict *m = CONTAINER_OF(msg, struct shard_verdict, msg);
	m->done(m);
}

static void shard_on_verdict(struct msg *msg)
{
	struct shard_verdict *m = CONTAINER_OF(msg, struct shard_verdict, msg);
	struct shard *s = m->shard;
	struct partition *p = shard_find(s, slice_str(m->topic), m->partition);
	shard_activate(s);
	if (p && partition_is_leader(p) && (uuid_is_zero(&m->topic_id) || uuid_is_zero(&p->topic_id) || uuid_eq(&m->topic_id, &p->topic_id))) {
		struct replica_out out;
		LOG_AT(s->env->log, LOG_INFO, "replica", "isr.rejected", "topic=%s partition=%d epoch=%d partition_epoch=%d error=%s", p->topic, p->partition,
		       m->leader_epoch, m->partition_epoch, kerr_name(m->error));
		replica_on_rejected(&p->core, m->leader_epoch, m->partition_epoch, shard_now_ms(s), &out);
		partition_do(p, &out);
	}
	m->msg.deliver = verdict_returned;
	loop_post(msg->from, &m->msg);
}

void shard_post_verdict(struct shard_verdict *m)
{
	m->msg.deliver = shard_on_verdict;
	loop_post(m->shard->loop, &m->msg);
}
