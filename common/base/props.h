/* props.h: Java properties text: the daemons' configuration, meta.properties. Keeps file order and line numbers. */
#pragma once

#include <stddef.h>

#include "common/base/err.h"
#include "common/base/slice.h"

struct prop {
	char *key, *value;
	int line; /* 1-based; 0 = from --override or code */
};
struct props {
	struct prop *items;
	size_t count, cap;
};

void props_init(struct props *p);
void props_fini(struct props *p);
/* '#' and '!' comments, '=' ':' or blank as separator, '\' escapes and line continuation, \uXXXX. Later keys override.
 * ERR_INVAL: *ret_line says where. */
MUST_CHECK int props_parse(struct props *p, struct slice text, int *ret_line);
void props_set(struct props *p, const char *key, const char *value);
const char *props_get(const struct props *p, const char *key); /* NULL if absent */
