/* when.c: see when.h */
#include "klamm/when.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define WEEK (7 * DAY)

/* Days since 1970-01-01 of a date of the Gregorian calendar; eras of 400 years begin in March. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of(int64_t days, int64_t *ret_y, int64_t *ret_m, int64_t *ret_d)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

	*ret_d = doy - (153 * mp + 2) / 5 + 1;
	*ret_m = mp < 10 ? mp + 3 : mp - 9;
	*ret_y = yoe + era * 400 + (*ret_m <= 2);
}

static bool leap(int64_t y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Exactly n digits. */
static bool digits(const char **p, int n, int64_t *ret)
{
	*ret = 0;
	for (int i = 0; i < n; i++, (*p)++) {
		if (!isdigit((unsigned char)**p))
			return false;
		*ret = *ret * 10 + (**p - '0');
	}
	return true;
}

/* Z, +hh, +hhmm, +hh:mm or nothing; the end must follow. */
static bool zone(const char *p, int64_t *ret_ms)
{
	int64_t h, m = 0;
	int sign = *p == '-' ? -1 : 1;

	*ret_ms = 0;
	if (!*p || !strcmp(p, "Z") || !strcmp(p, "z"))
		return true;
	if (*p != '+' && *p != '-')
		return false;
	p++;
	if (!digits(&p, 2, &h))
		return false;
	if (*p == ':')
		p++;
	else if (!*p)
		p = "00";
	if (!digits(&p, 2, &m) || *p || h > 18 || m > 59)
		return false;
	*ret_ms = sign * (h * HOUR + m * MINUTE);
	return true;
}

static int parse_iso(const char *p, int64_t *ret_ms)
{
	static const int length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t y, mo, d, h = 0, mi = 0, s = 0, ms = 0, offset, scale = 100;

	if (!digits(&p, 4, &y) || *p++ != '-' || !digits(&p, 2, &mo) || *p++ != '-' || !digits(&p, 2, &d))
		return ERR_INVAL;
	if (mo < 1 || mo > 12 || d < 1 || d > length[mo - 1] || (mo == 2 && d == 29 && !leap(y)))
		return ERR_INVAL;
	if (*p == 'T' || *p == 't' || *p == ' ') {
		p++;
		if (!digits(&p, 2, &h) || *p++ != ':' || !digits(&p, 2, &mi))
			return ERR_INVAL;
		if (*p == ':' && (p++, !digits(&p, 2, &s)))
			return ERR_INVAL;
		if ((*p == '.' || *p == ',') && !isdigit((unsigned char)*++p))
			return ERR_INVAL;
		for (; isdigit((unsigned char)*p) && (p[-1] == '.' || p[-1] == ',' || scale < 100); p++, scale /= 10)
			ms += (*p - '0') * scale;
	}
	if (h > 23 || mi > 59 || s > 59 || !zone(p, &offset))
		return ERR_INVAL;
	*ret_ms = days_of(y, mo, d) * DAY + h * HOUR + mi * MINUTE + s * SECOND + ms - offset;
	return 0;
}

static bool whole(const char *p, int64_t *ret)
{
	*ret = 0;
	if (!*p)
		return false;
	for (; *p; p++)
		if (!isdigit((unsigned char)*p) || __builtin_mul_overflow(*ret, 10, ret) || __builtin_add_overflow(*ret, *p - '0', ret))
			return false;
	return true;
}

int when_parse(const char *text, int64_t now_ms, int64_t *ret_ms)
{
	int64_t ms;

	if (!strcmp(text, "now"))
		ms = now_ms;
	else if (*text == '-' && !when_parse_duration(text + 1, &ms))
		ms = now_ms - ms;
	else if (!whole(text, &ms) && parse_iso(text, &ms))
		return ERR_INVAL;
	if (ms < 0)
		return ERR_INVAL;
	*ret_ms = ms;
	return 0;
}

/* A number with up to three decimals, times unit. */
static bool amount(const char **p, int64_t *ret_thousandths)
{
	int64_t n = 0, scale = 100;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, **p - '0', &n))
			return false;
	if (__builtin_mul_overflow(n, 1000, &n))
		return false;
	if (**p == '.' || **p == ',') {
		(*p)++;
		if (!isdigit((unsigned char)**p))
			return false;
		for (; isdigit((unsigned char)**p); (*p)++, scale /= 10)
			n += (**p - '0') * scale;
	}
	*ret_thousandths = n;
	return true;
}

/* The unit at *p in ms, which p then is behind; 0 = none. Upper case is ISO 8601, where M is a minute only behind T. */
static int64_t unit_at(const char **p, bool iso, bool time)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR}, {"d", DAY}, {"w", WEEK}};
	char c = (char)toupper((unsigned char)**p);

	if (iso) {
		*p += c != 0;
		return time ? c == 'H' ? HOUR : c == 'M' ? MINUTE : c == 'S' ? SECOND : 0 : c == 'D' ? DAY : c == 'W' ? WEEK : 0;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (!strncmp(*p, units[i].name, strlen(units[i].name))) {
			*p += strlen(units[i].name);
			return units[i].ms;
		}
	return 0;
}

int when_parse_duration(const char *text, int64_t *ret_ms)
{
	bool iso = *text == 'P' || *text == 'p', time = false, any = false;
	const char *p = text + iso;
	int64_t total = 0, n, unit;

	while (*p) {
		if (iso && !time && (*p == 'T' || *p == 't')) {
			time = true;
			p++;
			any = false; /* something must follow */
			continue;
		}
		if (!amount(&p, &n) || !(unit = unit_at(&p, iso, time)) || __builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(total, n / 1000, &total))
			return ERR_INVAL;
		any = true;
	}
	if (!any)
		return ERR_INVAL;
	*ret_ms = total;
	return 0;
}

const char *when_text(int64_t ms, char *buf, size_t cap)
{
	int64_t days = ms / DAY - (ms % DAY < 0), rest = ms - days * DAY, y, m, d;

	date_of(days, &y, &m, &d);
	snprintf(buf, cap, "%04" PRId64 "-%02" PRId64 "-%02" PRId64 "T%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64 "Z", y, m, d, rest / HOUR,
	         rest / MINUTE % 60, rest / SECOND % 60, rest % SECOND);
	return buf;
}

const char *when_age(int64_t ms, char *buf, size_t cap)
{
	if (ms < 0)
		ms = 0;
	if (ms < SECOND)
		snprintf(buf, cap, "%" PRId64 " ms", ms);
	else if (ms < MINUTE)
		snprintf(buf, cap, "%" PRId64 ".%" PRId64 " s", ms / SECOND, ms % SECOND / 100);
	else if (ms < HOUR)
		snprintf(buf, cap, "%" PRId64 "m %" PRId64 "s", ms / MINUTE, ms % MINUTE / SECOND);
	else if (ms < DAY)
		snprintf(buf, cap, "%" PRId64 "h %" PRId64 "m", ms / HOUR, ms % HOUR / MINUTE);
	else
		snprintf(buf, cap, "%" PRId64 "d %" PRId64 "h", ms / DAY, ms % DAY / HOUR);
	return buf;
}
