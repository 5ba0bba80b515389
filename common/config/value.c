/* value.c: configuration values. See value.h. */
#include "common/config/value.h"

#include <inttypes.h>
#include <string.h>

#define BLANKS " \t\r\n\f"

/* Copies `value` without the blanks around it; false if it is too long to be a number or a word for a flag. */
static bool trimmed(const char *value, char *out, size_t cap)
{
	value += strspn(value, BLANKS);
	size_t len = strlen(value);
	while (len && strchr(BLANKS, value[len - 1]))
		len--;
	if (len >= cap)
		return false;
	memcpy(out, value, len);
	out[len] = 0;
	return true;
}

int config_i64(const char *value, int64_t *ret)
{
	char text[64];
	return trimmed(value, text, sizeof(text)) ? str_to_i64(text, ret) : ERR_INVAL;
}

int config_bool(const char *value, bool *ret)
{
	char text[16];
	return trimmed(value, text, sizeof(text)) ? str_to_bool(text, ret) : ERR_INVAL;
}

static int read_double(const char *value, double *ret)
{
	char text[64];
	return trimmed(value, text, sizeof(text)) ? str_to_double(text, ret) : ERR_INVAL;
}

/* The next entry of a comma-separated list without its blanks; NULL at the end. */
static const char *next_entry(const char **list, size_t *ret_len)
{
	const char *p = *list;
	if (!p)
		return NULL;
	const char *comma = strchr(p, ',');
	const char *end = comma ? comma : p + strlen(p);
	*list = comma ? comma + 1 : NULL;
	while (p < end && strchr(BLANKS, *p))
		p++;
	while (end > p && strchr(BLANKS, end[-1]))
		end--;
	*ret_len = (size_t)(end - p);
	return p;
}

bool config_word_in(const char *words, const char *word, size_t len)
{
	size_t n;
	for (const char *w; (w = next_entry(&words, &n));)
		if (n == len && memcmp(w, word, n) == 0)
			return true;
	return false;
}

static bool numeric_address(const char *s, size_t len)
{
	bool v6 = memchr(s, ':', len) != NULL, any = false;
	for (size_t i = 0; i < len; i++) {
		bool hex = (s[i] >= 'a' && s[i] <= 'f') || (s[i] >= 'A' && s[i] <= 'F');
		if (!((s[i] >= '0' && s[i] <= '9') || s[i] == '.' || (v6 && (hex || s[i] == ':'))))
			return false;
		any |= s[i] == '.' || s[i] == ':';
	}
	return any;
}

int config_next_ip_limit(const char **list, char ret_address[CONFIG_ADDRESS_MAX], int32_t *ret_count)
{
	size_t len;
	const char *e = next_entry(list, &len);
	if (!e || (len == 0 && !*list))
		return ERR_NOENT;
	size_t host = len;
	while (host && e[host - 1] != ':')
		host--;
	char count[16];
	if (host < 2 || host > CONFIG_ADDRESS_MAX || len - host == 0 || len - host >= sizeof(count))
		return ERR_INVAL;
	memcpy(count, e + host, len - host);
	count[len - host] = 0;
	host--;
	if (host >= 2 && e[0] == '[' && e[host - 1] == ']') {
		e++;
		host -= 2;
	}
	if (!numeric_address(e, host) || str_to_i32(count, ret_count) || *ret_count < 0)
		return ERR_INVAL;
	memcpy(ret_address, e, host);
	ret_address[host] = 0;
	return 0;
}

static void add_entry(struct str *out, const char *entry, size_t len)
{
	if (out->len)
		str_add(out, ",");
	str_add_bytes(out, entry, len);
}

void config_list_append(struct str *out, const char *list, const char *more)
{
	size_t n;
	const char *old = list;
	for (const char *e; (e = next_entry(&list, &n));)
		if (n)
			add_entry(out, e, n);
	for (const char *e; (e = next_entry(&more, &n));)
		if (n && !config_word_in(old, e, n))
			add_entry(out, e, n);
}

void config_list_subtract(struct str *out, const char *list, const char *less)
{
	size_t n;
	for (const char *e; (e = next_entry(&list, &n));)
		if (n && !config_word_in(less, e, n))
			add_entry(out, e, n);
}

static const char *type_name(enum config_type t)
{
	return t == CONFIG_INT ? "INT" : t == CONFIG_SHORT ? "SHORT" : t == CONFIG_LONG ? "LONG" : "DOUBLE";
}

static int refuse(struct str *problem, const char *key, const char *value, size_t len)
{
	str_printf(problem, "Invalid value %.*s for configuration %s: ", (int)len, value, key);
	return ERR_INVAL;
}

static int check_number(const char *key, const char *value, const struct config_rule *r, struct str *problem)
{
	int64_t n;
	bool wide = r->type == CONFIG_LONG;
	int64_t least = wide ? INT64_MIN : r->type == CONFIG_SHORT ? INT16_MIN : INT32_MIN, most = wide ? INT64_MAX : r->type == CONFIG_SHORT ? INT16_MAX : INT32_MAX;
	if (config_i64(value, &n) || n < least || n > most) {
		(void)refuse(problem, key, value, strlen(value));
		str_printf(problem, "Not a number of type %s", type_name(r->type));
		return ERR_INVAL;
	}
	if (n >= r->lowest && n <= r->highest)
		return 0;
	str_printf(problem, "Invalid value %" PRId64 " for configuration %s: Value must be %s %" PRId64, n, key, n < r->lowest ? "at least" : "no more than",
		   n < r->lowest ? r->lowest : r->highest);
	return ERR_INVAL;
}

static int check_double(const char *key, const char *value, const struct config_rule *r, struct str *problem)
{
	double d;
	if (read_double(value, &d)) {
		(void)refuse(problem, key, value, strlen(value));
		str_add(problem, "Not a number of type DOUBLE");
		return ERR_INVAL;
	}
	if ((!r->lowest && !r->highest) || (d >= (double)r->lowest && d <= (double)r->highest))
		return 0;
	(void)refuse(problem, key, value, strlen(value));
	str_printf(problem, "Value must be %s %" PRId64, d < (double)r->lowest ? "at least" : "no more than", d < (double)r->lowest ? r->lowest : r->highest);
	return ERR_INVAL;
}

static int check_word(const char *key, const char *word, size_t len, const struct config_rule *r, struct str *problem)
{
	size_t n;
	if (config_word_in(r->words, word, len))
		return 0;
	(void)refuse(problem, key, word, len);
	str_add(problem, "String must be one of: ");
	const char *words = r->words;
	for (const char *w; (w = next_entry(&words, &n));) {
		str_add_bytes(problem, w, n);
		if (words)
			str_add(problem, ", ");
	}
	return ERR_INVAL;
}

int config_value_check(const char *key, const char *value, const struct config_rule *r, struct str *problem)
{
	bool b;
	size_t n;
	switch (r->type) {
	case CONFIG_BOOLEAN:
		if (config_bool(value, &b) == 0)
			return 0;
		(void)refuse(problem, key, value, strlen(value));
		str_add(problem, "Expected value to be either true or false");
		return ERR_INVAL;
	case CONFIG_INT:
	case CONFIG_SHORT:
	case CONFIG_LONG: return check_number(key, value, r, problem);
	case CONFIG_DOUBLE: return check_double(key, value, r, problem);
	case CONFIG_STRING: {
		const char *word = next_entry(&value, &n); /* no key whose words are limited takes a comma */
		return !r->words ? 0 : value ? check_word(key, word, strlen(word), r, problem) : check_word(key, word, n, r, problem);
	}
	case CONFIG_LIST:
		if (!r->words || !value[strspn(value, BLANKS)]) /* the empty list is one */
			return 0;
		for (const char *e; (e = next_entry(&value, &n));)
			if (check_word(key, e, n, r, problem))
				return ERR_INVAL;
		return 0;
	case CONFIG_CLASS:
	case CONFIG_PASSWORD: return 0;
	}
	return ERR_INVAL;
}

bool config_value_same(enum config_type type, const char *a, const char *b)
{
	int64_t n, m;
	double x, y;
	bool p, q;
	switch (type) {
	case CONFIG_INT:
	case CONFIG_SHORT:
	case CONFIG_LONG:
		return config_i64(a, &n) == 0 && config_i64(b, &m) == 0 && n == m;
	case CONFIG_DOUBLE:
		return read_double(a, &x) == 0 && read_double(b, &y) == 0 && !(x < y) && !(x > y);
	case CONFIG_BOOLEAN:
		return config_bool(a, &p) == 0 && config_bool(b, &q) == 0 && p == q;
	case CONFIG_STRING:
	case CONFIG_LIST:
	case CONFIG_CLASS:
	case CONFIG_PASSWORD: break;
	}
	return strcmp(a, b) == 0;
}
