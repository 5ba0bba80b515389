/* frame.h: one protobuf Frame of proto/klamm/control.proto on its way to a link. */
#pragma once

#include "common/base/buf.h"
#include "common/link/link.h"
#include "proto/klamm/control.pb-c.h"

/* Encoded once; may be sent on several links (frame_send_buf). refs = 1. */
struct buf *frame_encode(const Klamm__Control__Frame *f, size_t *ret_len);
void frame_send(struct link *l, const Klamm__Control__Frame *f);
void frame_send_buf(struct link *l, struct buf *b, size_t len); /* takes a reference of its own */
/* NULL: no frame, or one without a body. Free with frame_free. */
Klamm__Control__Frame *frame_decode(struct slice body);
void frame_free(Klamm__Control__Frame *f);
