/* test_klamm.c: the pure parts of the command line tool: times, templates, JSON records, tables, progress, offset resets. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "klamm/format.h"
#include "klamm/progress.h"
#include "klamm/record.h"
#include "klamm/reset_plan.h"
#include "klamm/table.h"
#include "klamm/when.h"
#include "tests/unit/unit.h"

#define NOW INT64_C(1800000000000)

/* --- when ---------------------------------------------------------------------------------------------------------- */

static int64_t at(const char *text)
{
	int64_t ms = -1;

	return when_parse(text, NOW, &ms) ? -1 : ms;
}

static int64_t lasts(const char *text)
{
	int64_t ms = -1;

	return when_parse_duration(text, &ms) ? -1 : ms;
}

static void test_instants(void)
{
	CU_ASSERT_EQUAL(at("0"), 0);
	CU_ASSERT_EQUAL(at("1700000000123"), 1700000000123);
	CU_ASSERT_EQUAL(at("now"), NOW);
	CU_ASSERT_EQUAL(at("-90m"), NOW - 90 * 60000);
	CU_ASSERT_EQUAL(at("-P1D"), NOW - 86400000);
	CU_ASSERT_EQUAL(at("1970-01-01"), 0);
	CU_ASSERT_EQUAL(at("2023-11-14T22:13:20Z"), 1700000000000);
	CU_ASSERT_EQUAL(at("2023-11-14T22:13:20"), 1700000000000); /* no zone: UTC, as with Kafka's tools */
	CU_ASSERT_EQUAL(at("2023-11-14 22:13:20.5"), 1700000000500);
	CU_ASSERT_EQUAL(at("2023-11-14T22:13:20.1239Z"), 1700000000123);
	CU_ASSERT_EQUAL(at("2023-11-15T00:13:20+02:00"), 1700000000000);
	CU_ASSERT_EQUAL(at("2023-11-15T00:13:20+0200"), 1700000000000);
	CU_ASSERT_EQUAL(at("2023-11-14T20:13:20-02"), 1700000000000);
	CU_ASSERT_EQUAL(at("2024-02-29T00:00Z"), 1709164800000);
	CU_ASSERT_EQUAL(at("2000-02-29"), 951782400000);
	CU_ASSERT_EQUAL(at("9999-12-31T23:59:59.999"), 253402300799999);
}

static void test_no_instants(void)
{
	static const char *const bad[] = {"", "x", "12:00", "2023-13-01", "2023-02-29", "1900-02-29", "2023-11-31", "2023-11-14T24:00", "2023-11-14T22",
	                                  "2023-11-14T22:13:20.", "2023-11-14T22:13:20Q", "2023-11-14T22:13:20+2", "2023-11-14T22:13:20+02:0", "-5",
	                                  "1969-12-31", "99999999999999999999", "12a", "2023-1-1", "2023-11-14T22:13:451", "-", "now "};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(at(bad[i]), -1);
}

static void test_durations(void)
{
	static const char *const bad[] = {"", "5", "P", "PT", "P1DT", "1y", "-1h", "P1M", "P1H", "h", "1h30", "PT1D", "99999999999999999d", "1.h"};

	CU_ASSERT_EQUAL(lasts("90s"), 90000);
	CU_ASSERT_EQUAL(lasts("1h30m"), 5400000);
	CU_ASSERT_EQUAL(lasts("250ms"), 250);
	CU_ASSERT_EQUAL(lasts("1.5d"), 129600000);
	CU_ASSERT_EQUAL(lasts("2w"), 1209600000);
	CU_ASSERT_EQUAL(lasts("P1DT2H30M"), 95400000);
	CU_ASSERT_EQUAL(lasts("PT0.5S"), 500);
	CU_ASSERT_EQUAL(lasts("P0DT0H1M0S"), 60000);
	CU_ASSERT_EQUAL(lasts("P2W"), 1209600000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(lasts(bad[i]), -1);
}

static void test_times_as_text(void)
{
	char buf[64];

	CU_ASSERT_STRING_EQUAL(when_text(1700000000123, buf, sizeof(buf)), "2023-11-14T22:13:20.123Z");
	CU_ASSERT_STRING_EQUAL(when_text(0, buf, sizeof(buf)), "1970-01-01T00:00:00.000Z");
	CU_ASSERT_STRING_EQUAL(when_text(-1, buf, sizeof(buf)), "1969-12-31T23:59:59.999Z");
	for (int64_t ms = 1; ms < INT64_C(200000000000000); ms = ms * 7 + 86399999) /* what is printed is read back */
		CU_ASSERT_EQUAL(at(when_text(ms, buf, sizeof(buf))), ms);
	CU_ASSERT_STRING_EQUAL(when_age(17, buf, sizeof(buf)), "17 ms");
	CU_ASSERT_STRING_EQUAL(when_age(4250, buf, sizeof(buf)), "4.2 s");
	CU_ASSERT_STRING_EQUAL(when_age(192000, buf, sizeof(buf)), "3m 12s");
	CU_ASSERT_STRING_EQUAL(when_age(18120000, buf, sizeof(buf)), "5h 2m");
	CU_ASSERT_STRING_EQUAL(when_age(273600000, buf, sizeof(buf)), "3d 4h");
	CU_ASSERT_STRING_EQUAL(when_age(-5, buf, sizeof(buf)), "0 ms");
}

/* --- format, record ------------------------------------------------------------------------------------------------ */

static const struct record_header headers[] = {{{(const uint8_t *)"a", 1}, {(const uint8_t *)"1", 1}}, {{(const uint8_t *)"b", 1}, {NULL, 0}}};
static const struct record sample = {"t", 3, 42, 1700000000123, {(const uint8_t *)"k", 1}, {(const uint8_t *)"v\0w", 3}, headers, 2};

static void formats(const char *text, const struct record *r, const char *want, size_t len)
{
	enum format_kind kind;
	const char *bad;
	struct str out;

	str_init(&out);
	CU_ASSERT_EQUAL_FATAL(format_parse(text, &kind, &bad), 0);
	format_record(kind, text, r, &out);
	CU_ASSERT_EQUAL(out.len, len);
	CU_ASSERT(out.len == len && !memcmp(str_cstr(&out), want, len));
	str_fini(&out);
}

#define FORMATS(text, r, want) formats((text), (r), (want), sizeof(want) - 1)

static void test_templates(void)
{
	struct record null = {.topic = "t", .partition = 0, .offset = 0, .timestamp = -1};

	FORMATS("%t %p %o %k %h %T\\n", &sample, "t 3 42 k a=1,b= 1700000000123\n");
	FORMATS("%v|%s", &sample, "v\0w|v\0w");
	FORMATS("%K %V %S %%\\t\\0\\\\\\x41%D", &sample, "1 3 3 %\t\0\\A2023-11-14T22:13:20.123Z");
	FORMATS("%R%v", &sample, "\0\0\0\3v\0w");
	FORMATS("[%k][%v][%h]%K %V %T%D", &null, "[][][]-1 -1 -1");
	FORMATS("%R", &null, "\377\377\377\377");
	FORMATS("raw", &sample, "v\0w\n");
	FORMATS("raw", &null, "\n");
	FORMATS("hex", &sample, "3\t42\t6b\t760077\n");
	FORMATS("hex", &null, "0\t0\tnull\tnull\n");
	FORMATS("json", &null, "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":null,\"key\":null,\"value\":null}\n");
	FORMATS("no fields", &sample, "no fields");
}

static void test_bad_templates(void)
{
	static const char *const bad[] = {"%", "%q", "a%k%", "\\", "\\q", "\\x4", "\\xg0", "x\\"};
	enum format_kind kind;
	const char *where;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_NOT_EQUAL(format_parse(bad[i], &kind, &where), 0);
}

static bool same(struct slice a, struct slice b)
{
	return !a.ptr == !b.ptr && slice_eq(a, b);
}

/* Whatever a record holds comes back from its JSON. */
static void round_trip(const struct record *r)
{
	static struct record_text back;
	json_t *o = record_to_json(r);
	char *text = json_dumps(o, JSON_COMPACT), why[200] = "";

	CU_ASSERT_EQUAL_FATAL(record_from_json(text, strlen(text), &back, why, sizeof(why)), 0);
	CU_ASSERT_EQUAL(back.record.partition, r->partition);
	CU_ASSERT_EQUAL(back.record.timestamp, r->timestamp);
	CU_ASSERT(same(back.record.key, r->key));
	CU_ASSERT(same(back.record.value, r->value));
	CU_ASSERT_EQUAL(back.record.header_count, r->header_count);
	for (size_t i = 0; i < r->header_count; i++)
		CU_ASSERT(same(back.record.headers[i].name, r->headers[i].name) && same(back.record.headers[i].value, r->headers[i].value));
	record_text_free(&back);
	free(text);
	json_decref(o);
}

static void test_json_round_trip(void)
{
	static const uint8_t bytes[] = {0xff, 0xfe, 0, 1, 0x80};
	struct record_header binary[] = {{slice_make("h", 1), slice_make(bytes, 5)}, {slice_make("", 0), slice_make("", 0)}};

	round_trip(&sample);
	for (size_t n = 0; n <= 5; n++) {
		struct record r = {"t", (int32_t)n, 7, (int64_t)n - 1, slice_make(bytes, n), slice_make("\xc3\xa4\"\\\n", 5), binary, 2};

		round_trip(&r);
		r.key = slice_make(NULL, 0);
		r.value = slice_make(NULL, 0);
		r.header_count = 0;
		round_trip(&r);
	}
}

static void test_json_refused(void)
{
	static const char *const bad[] = {
		"", "x", "[]", "1", "{}", "{\"key\":\"k\"}", "{\"value\":1}", "{\"value\":{}}", "{\"value\":\"a\",\"value_base64\":\"YQ==\"}", "{\"value_base64\":\"Y\"}",
		"{\"value_base64\":null}", "{\"value\":\"a\",\"key\":1}", "{\"value\":\"a\",\"partition\":-1}", "{\"value\":\"a\",\"partition\":\"0\"}",
		"{\"value\":\"a\",\"partition\":4294967296}", "{\"value\":\"a\",\"timestamp\":1.5}", "{\"value\":\"a\",\"headers\":{}}",
		"{\"value\":\"a\",\"headers\":[1]}", "{\"value\":\"a\",\"headers\":[{\"value\":\"x\"}]}", "{\"value\":\"a\",\"headers\":[{\"name\":null}]}",
		"{\"value\":\"a\"} x", "{\"value\":\"a\",\"value\":\"b\"}"};
	static struct record_text r;
	char why[200];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		why[0] = 0;
		CU_ASSERT_EQUAL(record_from_json(bad[i], strlen(bad[i]), &r, why, sizeof(why)), ERR_INVAL);
		CU_ASSERT_NOT_EQUAL(why[0], 0);
		record_text_free(&r);
	}
	CU_ASSERT_EQUAL(record_from_json("{\"value\":null,\"more\":[1]}", 25, &r, why, sizeof(why)), 0);
	CU_ASSERT(!r.record.value.ptr && r.record.partition == -1 && r.record.timestamp == -1);
	record_text_free(&r);
}

static void test_base64(void)
{
	static const char *const bad[] = {"A", "AA", "AAA", "A===", "AA=A", "AB==", "AAB=", "AA==AAAA", "A A=", "AA-_"};
	uint8_t bytes[256], *back;
	size_t len;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + 13);
	for (size_t n = 0; n <= sizeof(bytes); n++) {
		char *text = base64_encode(bytes, n);

		CU_ASSERT_EQUAL_FATAL(base64_decode(text, strlen(text), &back, &len), 0);
		CU_ASSERT(len == n && !memcmp(back, bytes, n));
		mem_free(back);
		mem_free(text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(base64_decode(bad[i], strlen(bad[i]), &back, &len), ERR_INVAL);
}

/* --- table --------------------------------------------------------------------------------------------------------- */

static struct cli_table *a_table(void)
{
	struct cli_table *t = cli_table_new("NAME|>COUNT|HOST");

	cli_table_row(t, "a-rather-long-name-of-something", "1234567", "host-one.example", NULL);
	cli_table_row(t, "b", "5", "h", NULL);
	return t;
}

static void renders(struct cli_table *t, size_t width, const char *want)
{
	struct str out;

	str_init(&out);
	cli_table_render(t, width, "~", &out);
	CU_ASSERT_STRING_EQUAL(str_cstr(&out), want);
	str_fini(&out);
}

static void test_table(void)
{
	struct cli_table *t = a_table();

	renders(t, 0, "NAME                               COUNT  HOST\n"
	              "a-rather-long-name-of-something  1234567  host-one.example\n"
	              "b                                      5  h\n");
	renders(t, 58, "NAME                               COUNT  HOST\n"
	               "a-rather-long-name-of-something  1234567  host-one.example\n"
	               "b                                      5  h\n");
	/* the widest column of text gives way, numbers stay whole */
	renders(t, 47, "NAME                    COUNT  HOST\n"
	               "a-rather-long-name-~  1234567  host-one.example\n"
	               "b                           5  h\n");
	renders(t, 30, "NAME         COUNT  HOST\n"
	               "a-rather~  1234567  host-one.~\n"
	               "b                5  h\n");
	cli_table_free(t);
}

static void test_table_always_fits(void)
{
	struct cli_table *t = a_table();

	for (size_t width = 1; width < 70; width++) {
		struct str out;

		str_init(&out);
		cli_table_render(t, width, "~", &out);
		for (const char *p = str_cstr(&out); *p; p += strcspn(p, "\n") + 1)
			CU_ASSERT(strcspn(p, "\n") <= width);
		str_fini(&out);
	}
	cli_table_free(t);
}

static void test_table_is_clean(void)
{
	struct cli_table *t = cli_table_new("A|B");

	cli_table_row(t, "x\033[31m\ny\x7f", "\xc2\x9b" "31m", NULL);
	renders(t, 0, "A          B\nx?[31m?y?  ??31m\n");
	cli_table_free(t);
	CU_ASSERT_PTR_NOT_NULL(setlocale(LC_CTYPE, "C.UTF-8")); /* letters of two bytes take one column */
	t = cli_table_new("A|B");
	cli_table_row(t, "\xc3\xa4\xc3\xb6", "x", NULL);
	cli_table_row(t, "abc", "y", NULL);
	renders(t, 0, "A    B\n\xc3\xa4\xc3\xb6   x\nabc  y\n");
	cli_table_free(t);
	setlocale(LC_CTYPE, "C");
}

static void test_progress(void)
{
	struct progress p = {.label = "reading t", .unit = "records", .total = 2000000, .width = 120};
	char line[200];

	progress_line(&p, 500000, 1000, line, sizeof(line));
	CU_ASSERT_STRING_EQUAL(line, "reading t [######..................]  25% 500.0k of 2000.0k records, 3 s left");
	progress_line(&p, 3000000, 1000, line, sizeof(line)); /* more than was thought */
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "100%"));
	p.total = 0;
	progress_line(&p, 1234, 2000, line, sizeof(line));
	CU_ASSERT_STRING_EQUAL(line, "reading t: 1234 records, 617/s");
	progress_line(&p, 0, 0, line, sizeof(line));
	for (p.width = 1; p.width < 60; p.width++) {
		progress_line(&p, 1234, 2000, line, sizeof(line));
		CU_ASSERT(strlen(line) < p.width);
	}
}

/* --- reset --------------------------------------------------------------------------------------------------------- */

static int64_t goes_to(enum reset_to to, int64_t value, int64_t current, int64_t at_time)
{
	struct reset_row row = {.current = current, .first = 100, .end = 200, .at_time = at_time, .given = value};

	reset_plan(to, value, &row);
	return row.problem ? -1 : row.next;
}

static void test_reset(void)
{
	struct reset_row gone = {.current = 5, .first = -1, .end = -1};

	CU_ASSERT_EQUAL(goes_to(RESET_EARLIEST, 0, 150, -1), 100);
	CU_ASSERT_EQUAL(goes_to(RESET_LATEST, 0, 150, -1), 200);
	CU_ASSERT_EQUAL(goes_to(RESET_OFFSET, 170, -1, -1), 170);
	CU_ASSERT_EQUAL(goes_to(RESET_OFFSET, 99, 150, -1), 100);
	CU_ASSERT_EQUAL(goes_to(RESET_OFFSET, 201, 150, -1), 200);
	CU_ASSERT_EQUAL(goes_to(RESET_TIME, 1, 150, 160), 160);
	CU_ASSERT_EQUAL(goes_to(RESET_TIME, 1, 150, -1), 200); /* no record that late */
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, 10, 150, -1), 160);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, -10, 150, -1), 140);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, -100, 150, -1), 100);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, 100, 150, -1), 200);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, INT64_MAX, 150, -1), 200);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, -INT64_MAX, 50, -1), 100);
	CU_ASSERT_EQUAL(goes_to(RESET_SHIFT, 1, -1, -1), -1); /* nothing to shift */
	CU_ASSERT_EQUAL(goes_to(RESET_CURRENT, 0, 150, -1), 150);
	CU_ASSERT_EQUAL(goes_to(RESET_CURRENT, 0, 50, -1), 100);
	CU_ASSERT_EQUAL(goes_to(RESET_CURRENT, 0, -1, -1), 200);
	CU_ASSERT_EQUAL(goes_to(RESET_FILE, 123, 150, -1), 123);
	CU_ASSERT_EQUAL(goes_to(RESET_NONE, 0, 150, -1), -1);
	reset_plan(RESET_LATEST, 0, &gone);
	CU_ASSERT_PTR_NOT_NULL(gone.problem);
}

static bool csv(const char *line, const char *group, const char *topic, int32_t partition, int64_t offset)
{
	char copy[200], *g, *t;
	int32_t p;
	int64_t o;

	snprintf(copy, sizeof(copy), "%s", line);
	return !reset_csv_line(copy, &g, &t, &p, &o) && (group ? g && !strcmp(g, group) : !g) && !strcmp(t, topic) && p == partition && o == offset;
}

static void test_csv(void)
{
	static const char *const bad[] = {"", "t", "t,1", "t,1,", "t,,5", ",1,5", "t,x,5", "t,-1,5", "t,1,-5", "a,b,c,d", "g,t,1,5,6", "\"t,1,5", "\"t\"x,1,5",
	                                  "t,1,5x"};
	char copy[200], *g, *t;
	int32_t p;
	int64_t o;

	CU_ASSERT(csv("t,1,5", NULL, "t", 1, 5));
	CU_ASSERT(csv("t,1,5\r\n", NULL, "t", 1, 5));
	CU_ASSERT(csv("g,t,1,5\n", "g", "t", 1, 5));
	CU_ASSERT(csv("\"t\",1,\"5\"", NULL, "t", 1, 5));
	CU_ASSERT(csv("\"a,b \"\"c\"\"\",t.x-y_z,0,0", "a,b \"c\"", "t.x-y_z", 0, 0));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(copy, sizeof(copy), "%s", bad[i]);
		CU_ASSERT_EQUAL(reset_csv_line(copy, &g, &t, &p, &o), ERR_INVAL);
	}
}

UNIT_MAIN("klamm", {"instants", test_instants}, {"no_instants", test_no_instants}, {"durations", test_durations}, {"times_as_text", test_times_as_text},
          {"templates", test_templates}, {"bad_templates", test_bad_templates}, {"json_round_trip", test_json_round_trip},
          {"json_refused", test_json_refused}, {"base64", test_base64}, {"table", test_table}, {"table_always_fits", test_table_always_fits},
          {"table_is_clean", test_table_is_clean}, {"progress", test_progress}, {"reset", test_reset}, {"csv", test_csv})
