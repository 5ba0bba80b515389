/* zkjson.h: what the codecs of zkdata.c are made of; for common/zk only.
 *
 * Reading is by jansson with a sticky error: every getter gives a harmless value once something made no sense, and the caller
 * looks at `bad` once at the end. Writing is by hand, so that key order and bytes are fixed.
 */
#pragma once

#include <jansson.h>

#include "common/zk/zkdata.h"

struct jin {
	json_t *root; /* an object; NULL when the text was no JSON object */
	struct arena *a;
	bool bad;
};

void jin_begin(struct jin *j, struct slice data, struct arena *a);
int jin_end(struct jin *j); /* frees; 0 or ERR_CORRUPT */

enum { J_OPTIONAL = 0, J_REQUIRED = 1 };

/* NULL if absent or null (bad if required) or of another type (bad). */
json_t *jin_object(struct jin *j, json_t *obj, const char *key, int required);
json_t *jin_array(struct jin *j, json_t *obj, const char *key, int required);
int64_t jin_int(struct jin *j, json_t *obj, const char *key, int required, int64_t lo, int64_t hi, int64_t absent);
int32_t jin_i32(struct jin *j, json_t *obj, const char *key, int required, int32_t absent);
int64_t jin_int_value(struct jin *j, const json_t *v, int64_t lo, int64_t hi); /* a JSON integer in range */
/* A number in a string, as Kafka writes times and producer ids; a plain number is taken as well. */
int64_t jin_int_text(struct jin *j, json_t *obj, const char *key, int required, int64_t absent);
const char *jin_str(struct jin *j, json_t *obj, const char *key, int required, size_t len_max); /* in the arena; NULL if absent */
const char *jin_str_value(struct jin *j, const json_t *v, size_t len_max);
uint64_t jin_hex(struct jin *j, json_t *obj, const char *key);
/* Broker ids: each >= 0, all different. */
struct zkd_ids jin_ids(struct jin *j, const json_t *array);
/* {"0":[1,2],...} ascending. */
struct zkd_partition *jin_assignment(struct jin *j, json_t *map, bool allow_empty, size_t *ret_count);

void jout_str(struct str *out, const char *text); /* quoted and escaped */
void jout_ids(struct str *out, struct zkd_ids ids);
