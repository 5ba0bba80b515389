/* value.h: configuration values as text: types, Kafka's rules for them and Kafka's sentences about what breaks them. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/str.h"

enum config_type { CONFIG_BOOLEAN, CONFIG_STRING, CONFIG_INT, CONFIG_SHORT, CONFIG_LONG, CONFIG_DOUBLE, CONFIG_LIST, CONFIG_CLASS, CONFIG_PASSWORD };
struct config_rule {
	enum config_type type;
	int64_t lowest, highest; /* numbers; both 0: DOUBLE without bounds */
	const char *words;       /* STRING, LIST: the allowed ones, comma-separated; NULL any */
};
/* ERR_INVAL and one sentence in `problem`, else 0. Blanks around a value are not part of it. */
MUST_CHECK int config_value_check(const char *key, const char *value, const struct config_rule *rule, struct str *problem);
/* The same setting, however it is written. A number or flag that is none is no setting; a word is what it is without the blanks around it. */
bool config_value_same(enum config_type type, const char *a, const char *b);

/* Adds the value as Kafka shows it once it was parsed: without blanks around it and around entries, " +07" as 7, "TRUE" as true, ".50" as 0.5.
 * What does not parse stays as it is written. */
void config_value_normal(enum config_type type, const char *value, struct str *out);

/* Typed reading as Java does it (blanks around are ignored): ERR_INVAL if the text is none. */
MUST_CHECK int config_i64(const char *value, int64_t *ret);
MUST_CHECK int config_bool(const char *value, bool *ret);
/* The first byte that is no blank, and the length up to the last that is none. */
const char *config_trim(const char *value, size_t *ret_len);
/* The next entry of a comma-separated list without its blanks; NULL at the end. The empty list has one empty entry. */
const char *config_list_next(const char **list, size_t *ret_len);
bool config_word_in(const char *words, const char *word, size_t len);
/* The next HOST:COUNT of max.connections.per.ip.overrides. 0: *list moved on; ERR_NOENT: no more; ERR_INVAL: it is none. Only numeric
 * addresses are taken: a name would have to be looked up whenever somebody connects. */
enum { CONFIG_ADDRESS_MAX = 64 };
MUST_CHECK int config_next_ip_limit(const char **list, char ret_address[CONFIG_ADDRESS_MAX], int32_t *ret_count);
/* A list as Kafka appends to it (what is there already is left out) and subtracts from it (one for each that is named): text by text, so
 * " a" is not "a", and an empty entry is one. */
void config_list_append(struct str *out, const char *list, const char *more);
void config_list_subtract(struct str *out, const char *list, const char *less);
