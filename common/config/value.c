/* value.c: configuration values. See value.h. */
#include "common/config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLANKS " \t\r\n\f\v"

const char *config_trim(const char *value, size_t *ret_len)
{
	value += strspn(value, BLANKS);
	size_t len = strlen(value);
	while (len && strchr(BLANKS, value[len - 1]))
		len--;
	*ret_len = len;
	return value;
}

/* Copies `value` without the blanks around it; false if it is too long to be a number or a word for a flag. */
static bool trimmed(const char *value, char *out, size_t cap)
{
	size_t len;
	value = config_trim(value, &len);
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

/* As Java reads it, which takes "0.5f" and "0.5D". */
static int read_double(const char *value, double *ret)
{
	char text[64];
	if (!trimmed(value, text, sizeof(text)))
		return ERR_INVAL;
	size_t len = strlen(text);
	if (len > 1 && strchr("fFdD", text[len - 1]))
		text[len - 1] = 0;
	return str_to_double(text, ret);
}

const char *config_list_next(const char **list, size_t *ret_len)
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
	for (const char *w; (w = config_list_next(&words, &n));)
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
	const char *e = config_list_next(list, &len);
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

/* Entries as Java splits them for append and subtract: blanks belong to them, empty ones at the end are none, but the empty text is one. */
struct entries {
	const char *next;
	size_t left; /* bytes that hold entries, plus one while there is another */
};

static struct entries entries_of(const char *list)
{
	size_t len = strlen(list);
	while (len && list[len - 1] == ',')
		len--;
	return (struct entries){list, len || !*list ? len + 1 : 0};
}

static const char *entry_next(struct entries *s, size_t *ret_len)
{
	const char *e = s->next;
	if (!s->left)
		return NULL;
	const char *comma = memchr(e, ',', s->left - 1);
	*ret_len = comma ? (size_t)(comma - e) : s->left - 1;
	s->next += *ret_len + 1;
	s->left -= *ret_len + 1;
	return e;
}

static size_t times_in(const char *list, size_t list_len, const char *entry, size_t len)
{
	struct entries all = entries_of(list);
	size_t n, times = 0;
	for (const char *e; (e = entry_next(&all, &n)) && (size_t)(e - list) < list_len;)
		times += n == len && memcmp(e, entry, n) == 0;
	return times;
}

static void add_entry(struct str *out, bool *first, const char *entry, size_t len)
{
	str_add(out, *first ? "" : ",");
	str_add_bytes(out, entry, len);
	*first = false;
}

void config_list_append(struct str *out, const char *list, const char *more)
{
	size_t n;
	bool first = true;
	struct entries old = *list ? entries_of(list) : (struct entries){list, 0}, added = entries_of(more);
	for (const char *e; (e = entry_next(&old, &n));)
		add_entry(out, &first, e, n);
	for (const char *e; (e = entry_next(&added, &n));)
		if (!*list || !times_in(list, SIZE_MAX, e, n))
			add_entry(out, &first, e, n);
}

void config_list_subtract(struct str *out, const char *list, const char *less)
{
	size_t n;
	bool first = true;
	struct entries old = entries_of(list);
	for (const char *e; (e = entry_next(&old, &n));) /* what stands in `less` k times loses its first k */
		if (times_in(list, (size_t)(e - list), e, n) >= times_in(less, SIZE_MAX, e, n))
			add_entry(out, &first, e, n);
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
	for (const char *w; (w = config_list_next(&words, &n));) {
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
		const char *word = config_trim(value, &n);
		return r->words ? check_word(key, word, n, r, problem) : 0;
	}
	case CONFIG_LIST:
		if (!r->words || !value[strspn(value, BLANKS)]) /* the empty list is one */
			return 0;
		for (const char *e; (e = config_list_next(&value, &n));)
			if (check_word(key, e, n, r, problem))
				return ERR_INVAL;
		return 0;
	case CONFIG_CLASS:
	case CONFIG_PASSWORD: return 0;
	}
	return ERR_INVAL;
}

/* As Java writes it: the fewest digits that mean this number, with at least one behind the point, and an exponent outside of 10^-3 to 10^7. */
static void add_double(double d, struct str *out)
{
	char text[40], digits[24];
	int n = 0, exponent = 0;
	for (int precision = 1; precision <= 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision - 1, d);
		double back = strtod(text, NULL);
		if (!(back < d) && !(back > d))
			break;
	}
	const char *e = strchr(text, 'e');
	for (const char *p = text; e && p < e; p++)
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	digits[n] = 0;
	exponent = e ? atoi(e + 1) : 0;
	str_add(out, *text == '-' ? "-" : "");
	if (strspn(digits, "0") == (size_t)n)
		str_add(out, "0.0");
	else if (exponent < -3 || exponent >= 7)
		str_printf(out, "%c.%sE%d", digits[0], n > 1 ? digits + 1 : "0", exponent);
	else if (exponent < 0)
		str_printf(out, "0.%.*s%s", -exponent - 1, "000", digits);
	else if (n <= exponent + 1)
		str_printf(out, "%s%.*s.0", digits, exponent + 1 - n, "0000000");
	else
		str_printf(out, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
}

void config_value_normal(enum config_type type, const char *value, struct str *out)
{
	int64_t n;
	double d;
	bool b;
	size_t len;
	const char *sep = "";
	switch (type) {
	case CONFIG_BOOLEAN:
		if (config_bool(value, &b))
			break;
		str_add(out, b ? "true" : "false");
		return;
	case CONFIG_INT:
	case CONFIG_SHORT:
	case CONFIG_LONG:
		if (config_i64(value, &n))
			break;
		str_printf(out, "%" PRId64, n);
		return;
	case CONFIG_DOUBLE:
		if (read_double(value, &d))
			break;
		add_double(d, out);
		return;
	case CONFIG_LIST:
		for (const char *e; (e = config_list_next(&value, &len)); sep = ",") {
			str_add(out, sep);
			str_add_bytes(out, e, len);
		}
		return;
	case CONFIG_STRING:
	case CONFIG_CLASS:
	case CONFIG_PASSWORD:
		value = config_trim(value, &len);
		str_add_bytes(out, value, len);
		return;
	}
	str_add(out, value);
}

bool config_value_same(enum config_type type, const char *a, const char *b)
{
	int64_t n;
	double d;
	bool flag, set = true;
	if (type == CONFIG_INT || type == CONFIG_SHORT || type == CONFIG_LONG)
		set = config_i64(a, &n) == 0;
	else if (type == CONFIG_DOUBLE)
		set = read_double(a, &d) == 0;
	else if (type == CONFIG_BOOLEAN)
		set = config_bool(a, &flag) == 0;
	struct str x = {0}, y = {0};
	config_value_normal(type, a, &x);
	config_value_normal(type, b, &y);
	bool same = set && strcmp(str_cstr(&x), str_cstr(&y)) == 0;
	str_fini(&x);
	str_fini(&y);
	return same;
}
