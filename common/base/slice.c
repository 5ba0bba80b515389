/* slice.c: comparing slices. */
#include "common/base/slice.h"

int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int d = n ? memcmp(a.ptr, b.ptr, n) : 0;
	if (d)
		return d;
	return (a.len > b.len) - (a.len < b.len);
}
