/* fuzz_control.c: libFuzzer target for the control link as a broker sees it: the input is a run of frames (two bytes of length each),
 * whose snapshots and deltas are applied one after the other to a metadata image. An image only ever goes forward.
 */
#include "brokerd/meta/image.h"
#include "common/base/check.h"
#include "proto/klamm/control.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool count_topic(void *ctx, const struct image_topic *t)
{
	struct slice name = slice_str(t->name);
	ASSERT(name.len > 0 && t->partition_count >= 0);
	for (int32_t p = 0; p < t->partition_count; p++)
		ASSERT(partition_owner(1, &t->id, name, p, 4) < 4);
	(*(uint32_t *)ctx)++;
	return true;
}

static void take(struct image **im, int err, struct image *next, struct image_changes *ch, bool snapshot)
{
	uint32_t n = 0;
	if (err)
		return;
	ASSERT(image_controller_epoch(next) > image_controller_epoch(*im) ||
		(image_controller_epoch(next) == image_controller_epoch(*im) && image_seq(next) >= image_seq(*im) + (snapshot ? 0 : 1)));
	image_each_topic(next, count_topic, &n);
	ASSERT(n == image_topic_count(next));
	for (uint32_t i = 0; i + 1 < image_broker_count(next); i++)
		ASSERT(image_broker_at(next, i)->id < image_broker_at(next, i + 1)->id);
	image_unref(*im);
	*im = next;
	image_changes_free(ch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct image *im = image_empty();
	while (len >= 2) {
		size_t n = be16_get(bytes);
		bytes += 2;
		len -= 2;
		if (n > len)
			n = len;
		Klamm__Control__Frame *f = klamm__control__frame__unpack(NULL, n, bytes);
		bytes += n;
		len -= n;
		if (!f)
			continue;
		struct image *next = NULL;
		struct image_changes ch = {0};
		if (f->body_case == KLAMM__CONTROL__FRAME__BODY_DELTA && f->delta->changes) {
			int err = image_apply(im, f->delta->controller_epoch, f->delta->seq, f->delta->changes, &next, &ch);
			take(&im, err, next, &ch, false);
		} else if (f->body_case == KLAMM__CONTROL__FRAME__BODY_SNAPSHOT && f->snapshot->changes) {
			const Klamm__Control__Changes *parts[] = {f->snapshot->changes};
			int err = image_apply_snapshot(im, f->snapshot->controller_epoch, f->snapshot->seq, parts, 1, &next, &ch);
			take(&im, err, next, &ch, true);
		}
		klamm__control__frame__free_unpacked(f, NULL);
	}
	image_unref(im);
	return 0;
}
