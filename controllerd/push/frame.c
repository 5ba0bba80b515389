/* frame.c: control frames. See frame.h. */
#include "controllerd/push/frame.h"

struct buf *frame_encode(const Klamm__Control__Frame *f, size_t *ret_len)
{
	size_t len = klamm__control__frame__get_packed_size(f);
	struct buf *b = buf_new(len ? len : 1);
	klamm__control__frame__pack(f, b->data);
	*ret_len = len;
	return b;
}

void frame_send_buf(struct link *l, struct buf *b, size_t len)
{
	struct chain c;
	chain_init(&c);
	if (len)
		chain_add_buf(&c, buf_ref(b), 0, len);
	link_send(l, &c);
}

void frame_send(struct link *l, const Klamm__Control__Frame *f)
{
	size_t len;
	struct buf *b = frame_encode(f, &len);
	frame_send_buf(l, b, len);
	buf_unref(b);
}

Klamm__Control__Frame *frame_decode(struct slice body)
{
	Klamm__Control__Frame *f = klamm__control__frame__unpack(NULL, body.len, body.ptr);
	if (f && f->body_case == KLAMM__CONTROL__FRAME__BODY__NOT_SET) {
		frame_free(f);
		return NULL;
	}
	return f;
}

void frame_free(Klamm__Control__Frame *f)
{
	if (f)
		klamm__control__frame__free_unpacked(f, NULL);
}
