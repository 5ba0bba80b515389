/* test_base.c: common/base. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/check.h"
#include "common/base/crc.h"
#include "common/base/err.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/props.h"
#include "common/base/rng.h"
#include "common/base/slice.h"
#include "common/base/str.h"
#include "common/base/uuid.h"

static void test_err(void)
{
	for (int e = ERR_ABORTED; e <= 0; e++)
		CU_ASSERT_STRING_NOT_EQUAL(err_str(e), "unknown error");
	CU_ASSERT_STRING_EQUAL(err_str(-1000), "unknown error");
	CU_ASSERT_STRING_EQUAL(err_str(ERR_NOENT), "no such entry");
	CU_ASSERT_EQUAL(err_from_errno(ENOSPC), ERR_NOSPACE);
	CU_ASSERT_EQUAL(err_from_errno(EIO), ERR_IO);
	CU_ASSERT_EQUAL(err_from_errno(12345), ERR_IO);
	CU_ASSERT_EQUAL(err_from_errno(ECONNREFUSED), ERR_REFUSED);
	CU_ASSERT_EQUAL(err_from_errno(0), 0);
}

static void dump_hook(void *ctx)
{
	const char *text = ctx;
	if (write(2, text, strlen(text)) < 0)
		_exit(1);
	ASSERT(text == NULL); /* a bug while dumping must not loop */
}

static void test_check(void)
{
	int fd[2], status = 0;
	char out[8192];
	size_t n = 0;
	char hook_text[] = "DUMPED\n";
	CU_ASSERT_EQUAL_FATAL(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(fd[1], 2);
		check_set_dump(dump_hook, hook_text);
		check_set_context("testing");
		ASSERT(1 + 1 == 3);
		_exit(0);
	}
	close(fd[1]);
	for (ssize_t r; n < sizeof(out) - 1 && (r = read(fd[0], out + n, sizeof(out) - 1 - n)) > 0;)
		n += (size_t)r;
	out[n] = 0;
	close(fd[0]);
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 70);
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "1 + 1 == 3 at "));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "test_base.c:"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "in test_check, while: testing"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "DUMPED"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "text == NULL"));
}

static void test_mem(void)
{
	int32_t *a = NULL;
	size_t cap = 0;
	for (size_t i = 0; i < 1000; i++) {
		MEM_GROW(a, cap, i + 1);
		CU_ASSERT_FATAL(cap > i);
		a[i] = (int32_t)i;
	}
	CU_ASSERT_EQUAL(a[999], 999);
	CU_ASSERT_EQUAL(cap, 1024);
	mem_free(a);
	char *s = mem_strndup("hello", 3);
	CU_ASSERT_STRING_EQUAL(s, "hel");
	mem_free(s);
	volatile size_t far_too_much = (size_t)1 << 60;
#if !defined(KLAMM_ASAN) && !defined(KLAMM_TSAN) && !defined(__SANITIZE_ADDRESS__) /* these abort instead */
	CU_ASSERT_PTR_NULL(mem_try_alloc(far_too_much));
#endif
	(void)far_too_much;
	mem_free(NULL);
}

static void test_slice(void)
{
	uint8_t b[8];
	be16_put(b, 0x1234);
	CU_ASSERT(b[0] == 0x12 && be16_get(b) == 0x1234);
	be32_put(b, 0xfedcba98u);
	CU_ASSERT(b[0] == 0xfe && be32_get(b) == 0xfedcba98u);
	be64_put(b, 0x0102030405060708u);
	CU_ASSERT(b[7] == 8 && be64_get(b) == 0x0102030405060708u);
	CU_ASSERT(slice_cmp(slice_str("a"), slice_str("ab")) < 0);
	CU_ASSERT(slice_cmp(slice_str("b"), slice_str("ab")) > 0);
	CU_ASSERT(slice_cmp(slice_str(""), slice_str("")) == 0);
	CU_ASSERT(slice_cmp(slice_str("\xff"), slice_str("a")) > 0);
	CU_ASSERT(slice_eq(slice_str(NULL), slice_str("")));
	CU_ASSERT(slice_eq_str(slice_str("x"), "x"));
}

static void test_arena(void)
{
	struct arena a;
	uint8_t *p[300];
	arena_init(&a, 0);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 300; i++) {
			size_t n = i % 7 == 0 ? 5000 : i;
			p[i] = arena_alloc(&a, n);
			CU_ASSERT_EQUAL((uintptr_t)p[i] % 8, 0);
			memset(p[i], (int)i, n);
		}
		for (size_t i = 0; i < 300; i++)
			for (size_t k = 0, n = i % 7 == 0 ? 5000 : i; k < n; k++)
				if (p[i][k] != (uint8_t)i)
					CU_FAIL("objects overlap");
		CU_ASSERT(a.bytes_used >= 300 * 149);
		arena_reset(&a);
		CU_ASSERT_EQUAL(a.bytes_used, 0);
	}
	int32_t *z = ARENA_ARRAY(&a, int32_t, 100);
	for (int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(z[i], 0);
	CU_ASSERT_STRING_EQUAL(arena_printf(&a, "%s-%d", "x", 7), "x-7");
	CU_ASSERT_STRING_EQUAL(arena_strndup(&a, "abcdef", 4), "abcd");
	arena_fini(&a);
	arena_fini(&a);

	struct arena small;
	arena_init(&small, 1000);
	CU_ASSERT_PTR_NOT_NULL(arena_try_alloc(&small, 600));
	CU_ASSERT_PTR_NULL(arena_try_alloc(&small, 600));
	CU_ASSERT_PTR_NULL(arena_try_alloc(&small, SIZE_MAX));
	CU_ASSERT_PTR_NOT_NULL(arena_try_alloc(&small, 400));
	CU_ASSERT_PTR_NULL(arena_try_alloc(&small, 8));
	arena_reset(&small);
	CU_ASSERT_PTR_NOT_NULL(arena_try_alloc(&small, 1000));
	arena_fini(&small);
}

static void count_free(struct buf *b, void *ctx)
{
	(void)b;
	++*(int *)ctx;
}

static void test_buf(void)
{
	int freed = 0;
	struct buf *b = buf_copy("abc", 3);
	b->on_free = count_free;
	b->ctx = &freed;
	CU_ASSERT_FALSE(buf_shared(b));
	buf_ref(b);
	CU_ASSERT_TRUE(buf_shared(b));
	buf_unref(b);
	CU_ASSERT_EQUAL(freed, 0);
	buf_unref(b);
	CU_ASSERT_EQUAL(freed, 1);
	buf_unref(NULL);
	CU_ASSERT_PTR_NULL(buf_try_new(SIZE_MAX));
}

static unsigned pieces(const struct chain *c)
{
	unsigned n = 0;
	for (const struct chain_item *it = c->head; it; it = it->next)
		n++;
	return n;
}

static void test_chain(void)
{
	struct chain c, d;
	uint8_t out[20000], want[20000];
	chain_init(&c);
	chain_init(&d);
	for (int i = 0; i < 100; i++) {
		chain_add_copy(&c, "0123456789", 10);
		memcpy(want + 10 * i, "0123456789", 10);
	}
	CU_ASSERT_EQUAL(c.bytes, 1000);
	CU_ASSERT_EQUAL(pieces(&c), 2); /* 512 bytes, then the rest in a large one */
	chain_flatten(&c, out);
	CU_ASSERT_EQUAL(memcmp(out, want, 1000), 0);

	/* nothing is packed into a buffer that somebody else holds */
	struct buf *held = buf_ref(c.tail->buf);
	chain_add_copy(&c, "x", 1);
	CU_ASSERT_EQUAL(pieces(&c), 3);
	buf_unref(held);
	want[1000] = 'x';

	/* neither into one that came from outside */
	struct buf *b = buf_new(100);
	memset(b->data, 'b', 100);
	chain_add_buf(&c, buf_ref(b), 10, 20);
	chain_add_buf(&c, buf_ref(b), 30, 20); /* adjacent: one piece */
	CU_ASSERT_EQUAL(pieces(&c), 4);
	chain_add_buf(&c, b, 0, 0); /* empty: only takes the reference */
	chain_add_copy(&c, "yz", 2);
	CU_ASSERT_EQUAL(pieces(&c), 5);
	memset(want + 1001, 'b', 40);
	memcpy(want + 1041, "yz", 2);
	memcpy(chain_reserve(&c, 4096), out, 1000); /* does not fit the tail: a new piece */
	memset(c.tail->buf->data + 1000, 0, 3096);
	CU_ASSERT_EQUAL(pieces(&c), 6);
	CU_ASSERT_EQUAL(c.bytes, 1043 + 4096);
	chain_flatten(&c, out);
	CU_ASSERT_EQUAL(memcmp(out, want, 1043), 0);

	chain_add_copy(&d, "front", 5);
	chain_append(&d, &c);
	CU_ASSERT(c.head == NULL && c.bytes == 0 && c.tail == NULL);
	chain_append(&d, &c);
	CU_ASSERT_EQUAL(d.bytes, 5 + 1043 + 4096);
	chain_consume(&d, 5 + 513);
	chain_flatten(&d, out);
	CU_ASSERT_EQUAL(memcmp(out, want + 513, 1043 - 513), 0);
	chain_consume(&d, d.bytes);
	CU_ASSERT(d.head == NULL && d.tail == NULL);
	chain_add_copy(&d, want, 1000); /* larger than the first buffer */
	CU_ASSERT_EQUAL(d.bytes, 1000);
	chain_clear(&d);
	CU_ASSERT_EQUAL(d.bytes, 0);
}

static void test_list(void)
{
	struct item {
		int v;
		struct list link;
	} it[5];
	struct list head;
	int sum = 0;
	list_init(&head);
	CU_ASSERT_TRUE(list_empty(&head));
	CU_ASSERT_PTR_NULL(list_pop_front(&head));
	for (int i = 0; i < 5; i++) {
		it[i].v = i;
		list_init(&it[i].link);
		list_push_back(&head, &it[i].link);
	}
	list_remove(&it[2].link);
	list_remove(&it[2].link);
	LIST_FOR (l, &head)
		sum = sum * 10 + LIST_ENTRY(l, struct item, link)->v;
	CU_ASSERT_EQUAL(sum, 134);
	LIST_FOR_SAFE (l, tmp, &head)
		list_remove(l);
	CU_ASSERT_TRUE(list_empty(&head));
}

static void test_str(void)
{
	struct str s;
	str_init(&s);
	CU_ASSERT_STRING_EQUAL(str_cstr(&s), "");
	str_printf(&s, "%s", "");
	for (int i = 0; i < 100; i++)
		str_printf(&s, "%d,", i);
	CU_ASSERT_EQUAL(s.len, 290);
	CU_ASSERT_STRING_EQUAL(s.ptr + 284, "98,99,");
	str_add(&s, "end");
	char *p = str_steal(&s);
	CU_ASSERT_STRING_EQUAL(p + 290, "end");
	mem_free(p);
	p = str_steal(&s);
	CU_ASSERT_STRING_EQUAL(p, "");
	mem_free(p);
	/* a text that ends exactly where the memory does */
	for (size_t n = 50; n < 140; n++) {
		str_clear(&s);
		for (size_t k = 0; k < n; k++)
			str_printf(&s, "%c", (char)('a' + k % 26));
		CU_ASSERT_EQUAL(strlen(str_cstr(&s)), n);
	}
	str_fini(&s);
	str_fini(&s);
}

static void test_numbers(void)
{
	static const char *const bad[] = {"", "-", "+", " 1", "1 ", "1x", "0x10", "9223372036854775808", "--1", "1.0"};
	int64_t v = 7;
	int32_t w = 7;
	double d = 7;
	bool b = false;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CU_ASSERT_EQUAL(str_to_i64(bad[i], &v), ERR_INVAL);
	CU_ASSERT_EQUAL(v, 7);
	CU_ASSERT(str_to_i64("-9223372036854775808", &v) == 0 && v == INT64_MIN);
	CU_ASSERT(str_to_i64("+5", &v) == 0 && v == 5);
	CU_ASSERT_EQUAL(str_to_i32("2147483648", &w), ERR_INVAL);
	CU_ASSERT(str_to_i32("-2147483648", &w) == 0 && w == INT32_MIN);
	CU_ASSERT(str_to_double("0.25", &d) == 0 && d == 0.25);
	CU_ASSERT(str_to_double("-1e3", &d) == 0 && d == -1000);
	CU_ASSERT_EQUAL(str_to_double("inf", &d), ERR_INVAL);
	CU_ASSERT_EQUAL(str_to_double("1e999", &d), ERR_INVAL);
	CU_ASSERT_EQUAL(str_to_double("0x1", &d), ERR_INVAL);
	CU_ASSERT_EQUAL(str_to_double("e", &d), ERR_INVAL);
	CU_ASSERT(str_to_bool("TRUE", &b) == 0 && b);
	CU_ASSERT(str_to_bool("false", &b) == 0 && !b);
	CU_ASSERT_EQUAL(str_to_bool("yes", &b), ERR_INVAL);
}

static void test_uuid(void)
{
	struct uuid u, v;
	char text[UUID_TEXT_LEN + 1];
	struct rng r;
	/* Kafka's own constant: the topic id of the metadata topic */
	memset(&u, 0, sizeof(u));
	CU_ASSERT_TRUE(uuid_is_zero(&u));
	u.b[15] = 1;
	uuid_format(&u, text);
	CU_ASSERT_STRING_EQUAL(text, "AAAAAAAAAAAAAAAAAAAAAQ");
	rng_init(&r, 1);
	for (int i = 0; i < 1000; i++) {
		uint8_t raw[16];
		for (size_t k = 0; k < 16; k++)
			raw[k] = (uint8_t)rng_u64(&r);
		int err = uuid_from_random(raw, &u);
		if (raw[0] >> 2 == 62) {
			CU_ASSERT_EQUAL(err, ERR_AGAIN);
			continue;
		}
		CU_ASSERT_EQUAL(err, 0);
		uuid_format(&u, text);
		CU_ASSERT_EQUAL(strlen(text), UUID_TEXT_LEN);
		CU_ASSERT_NOT_EQUAL(text[0], '-');
		CU_ASSERT_EQUAL(uuid_parse(slice_str(text), &v), 0);
		CU_ASSERT_TRUE(uuid_eq(&u, &v));
	}
	CU_ASSERT_EQUAL(uuid_parse(slice_str("short"), &v), ERR_INVAL);
	CU_ASSERT_EQUAL(uuid_parse(slice_str("AAAAAAAAAA+AAAAAAAAAAQ"), &v), ERR_INVAL);
	CU_ASSERT_EQUAL(uuid_parse(slice_str("AAAAAAAAAAAAAAAAAAAAAQ=="), &v), 0);
	CU_ASSERT_EQUAL(uuid_parse(slice_make(NULL, 0), &v), ERR_INVAL);
	const uint8_t zero[16] = {0};
	CU_ASSERT_EQUAL(uuid_from_random(zero, &u), 0);
	CU_ASSERT_FALSE(uuid_is_zero(&u));
}

static void test_crc(void)
{
	static const char nine[] = "123456789";
	uint8_t zero[32] = {0};
	CU_ASSERT_EQUAL(crc32c(nine, 9), 0xe3069283u);
	CU_ASSERT_EQUAL(crc32c(zero, 32), 0x8a9136aau); /* RFC 3720, B.4 */
	CU_ASSERT_EQUAL(crc32c("", 0), 0);
	CU_ASSERT_EQUAL(crc32z_update(0, nine, 9), 0xcbf43926u);
	for (size_t i = 0; i <= 9; i++) {
		CU_ASSERT_EQUAL(crc32c_update(crc32c(nine, i), nine + i, 9 - i), 0xe3069283u);
		CU_ASSERT_EQUAL(crc32z_update(crc32z_update(0, nine, i), nine + i, 9 - i), 0xcbf43926u);
	}
}

static void test_rng(void)
{
	struct rng a, b;
	int hits[10] = {0}, yes = 0;
	rng_init(&a, 42);
	rng_init(&b, 42);
	/* splitmix64(0) and xoshiro256** from the published reference */
	struct rng ref = {{1, 2, 3, 4}};
	CU_ASSERT_EQUAL(rng_u64(&ref), 11520u);
	CU_ASSERT_EQUAL(rng_u64(&ref), 0u);
	CU_ASSERT_EQUAL(rng_u64(&ref), 1509978240u);
	CU_ASSERT_EQUAL(rng_u64(&ref), 1215971899390074240u);
	for (int i = 0; i < 100000; i++) {
		CU_ASSERT_FATAL(rng_u64(&a) == rng_u64(&b));
		hits[rng_below(&a, 10)]++;
		(void)rng_u64(&b);
		yes += rng_chance(&a, 0.25);
		(void)rng_u64(&b);
	}
	for (int i = 0; i < 10; i++)
		CU_ASSERT(hits[i] > 9500 && hits[i] < 10500);
	CU_ASSERT(yes > 24000 && yes < 26000);
	CU_ASSERT_EQUAL(rng_between(&a, -5, -5), -5);
	for (int i = 0; i < 1000; i++) {
		int64_t v = rng_between(&a, -3, 3);
		CU_ASSERT(v >= -3 && v <= 3);
	}
	(void)rng_between(&a, INT64_MIN, INT64_MAX);
	CU_ASSERT_FALSE(rng_chance(&a, 0));
	CU_ASSERT_TRUE(rng_chance(&a, 1));
}

static void test_props(void)
{
	static const char text[] =
		"# comment\n! another \\\n"
		"broker.id=1\r\n"
		"  log.dirs : /a,\\\n     /b\n"
		"\n \t \n"
		"empty\n"
		"spaced   value with blanks \r"
		"path=C\\:\\\\x\\ty\n"
		"uni=\\u00e4\\ud83d\\ude00\n"
		"key\\ with\\=odd=v=w\n"
		"broker.id=2\n"
		"joined \\\n  = late\n"
		"last=end\\";
	struct props p;
	int line = -1;
	props_init(&p);
	CU_ASSERT_EQUAL(props_parse(&p, slice_str(text), &line), 0);
	CU_ASSERT_EQUAL(p.count, 9);
	CU_ASSERT_STRING_EQUAL(props_get(&p, "broker.id"), "2");
	CU_ASSERT_STRING_EQUAL(p.items[0].key, "broker.id");
	CU_ASSERT_EQUAL(p.items[0].line, 13);
	CU_ASSERT_STRING_EQUAL(props_get(&p, "log.dirs"), "/a,/b");
	CU_ASSERT_EQUAL(p.items[1].line, 4);
	CU_ASSERT_STRING_EQUAL(props_get(&p, "empty"), "");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "spaced"), "value with blanks ");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "path"), "C:\\x\ty");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "uni"), "\xc3\xa4\xf0\x9f\x98\x80");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "key with=odd"), "v=w");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "joined"), "late");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "last"), "end");
	CU_ASSERT_PTR_NULL(props_get(&p, "absent"));
	props_set(&p, "broker.id", "3");
	CU_ASSERT_STRING_EQUAL(props_get(&p, "broker.id"), "3");
	CU_ASSERT_EQUAL(p.items[0].line, 0);
	CU_ASSERT_EQUAL(line, -1);
	CU_ASSERT_EQUAL(props_parse(&p, slice_str("a=1\nb=\\u12"), &line), ERR_INVAL);
	CU_ASSERT_EQUAL(line, 2);
	CU_ASSERT_EQUAL(props_parse(&p, slice_str("b=\\ud800x"), &line), ERR_INVAL);
	CU_ASSERT_EQUAL(props_parse(&p, slice_str("b=\\u0000"), &line), ERR_INVAL);
	CU_ASSERT_EQUAL(props_parse(&p, slice_str("\n\n=x"), &line), ERR_INVAL);
	CU_ASSERT_EQUAL(line, 3);
	CU_ASSERT_EQUAL(props_parse(&p, slice_make("a=\0b", 4), &line), ERR_INVAL);
	CU_ASSERT_EQUAL(props_parse(&p, slice_make(NULL, 0), &line), 0);
	props_fini(&p);
}

struct caught {
	struct logger l;
	int count;
	enum log_level level;
	char text[5000];
};

static void catch_line(struct logger *l, enum log_level level, const char *subsystem, const char *event, const char *kv)
{
	struct caught *c = CONTAINER_OF(l, struct caught, l);
	c->count++;
	c->level = level;
	snprintf(c->text, sizeof(c->text), "%s %s %s", subsystem, event, kv);
}

static void test_log(void)
{
	struct caught *c = MEM_NEW(struct caught);
	c->l = (struct logger){.min_level = LOG_INFO, .sink = catch_line};
	LOG_AT(&c->l, LOG_DEBUG, "a", "b", "x=%d", 1);
	CU_ASSERT_EQUAL(c->count, 0);
	LOG_AT(&c->l, LOG_WARN, "replica", "isr.shrink", "topic=%s n=%d", LOGQ("a b\n\""), 3);
	CU_ASSERT_EQUAL(c->count, 1);
	CU_ASSERT_EQUAL(c->level, LOG_WARN);
	CU_ASSERT_STRING_EQUAL(c->text, "replica isr.shrink topic=\"a b\\x0a\\\"\" n=3");
	log_event(&c->l, LOG_ERROR, "s", "e", "two\nlines");
	CU_ASSERT_STRING_EQUAL(c->text, "s e two?lines");
	char *big = mem_alloc(10001);
	memset(big, 'q', 10000);
	big[10000] = 0;
	log_event(&c->l, LOG_ERROR, "s", "e", "%s", big);
	CU_ASSERT_STRING_EQUAL(c->text + strlen(c->text) - 4, "q...");
	char out[16];
	CU_ASSERT_STRING_EQUAL(log_quote(out, sizeof(out), big), "\"qqqqqqqqq~\"");
	CU_ASSERT_STRING_EQUAL(log_quote(out, sizeof(out), "plain"), "plain");
	CU_ASSERT_STRING_EQUAL(log_quote(out, sizeof(out), ""), "\"\"");
	CU_ASSERT_STRING_EQUAL(log_quote(out, sizeof(out), NULL), "-");
	mem_free(big);
	mem_free(c);
}

UNIT_MAIN("base", {"err", test_err}, {"check", test_check}, {"mem", test_mem}, {"slice", test_slice}, {"arena", test_arena},
	  {"buf", test_buf}, {"chain", test_chain}, {"list", test_list}, {"str", test_str}, {"numbers", test_numbers},
	  {"uuid", test_uuid}, {"crc", test_crc}, {"rng", test_rng}, {"props", test_props}, {"log", test_log})
