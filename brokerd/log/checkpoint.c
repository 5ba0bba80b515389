/* checkpoint.c: text checkpoints: parsing lines, and the offset checkpoints of a log directory (log_dir.h). */
#include "brokerd/log/checkpoint.h"

#include <string.h>

#include "brokerd/log/log_dir.h"
#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/base/str.h"

#define CHECKPOINT_BYTES_MAX ((size_t)64 << 20)
#define FIELDS_MAX 4

/* Cuts the line at *at into words; moves *at behind it. Returns how many; more than FIELDS_MAX counts as FIELDS_MAX + 1. */
static int split_line(char **at, char **words)
{
	char *p = *at;
	int n = 0;

	while (*p && *p != '\n') {
		while (*p == ' ' || *p == '\t' || *p == '\r')
			*p++ = '\0';
		if (!*p || *p == '\n')
			break;
		if (n < FIELDS_MAX)
			words[n] = p;
		n++;
		while (*p && *p != '\n' && *p != ' ' && *p != '\t' && *p != '\r')
			p++;
	}
	if (*p == '\n')
		*p++ = '\0';
	*at = p;
	return n > FIELDS_MAX ? FIELDS_MAX + 1 : n;
}

int checkpoint_parse(const char *text, int fields, int (*line)(void *ctx, char **fields), void *ctx)
{
	char *copy = mem_strdup(text), *at = copy, *words[FIELDS_MAX];
	int64_t version, count, seen = 0;
	int err = ERR_CORRUPT;

	if (split_line(&at, words) != 1 || str_to_i64(words[0], &version) || version != 0)
		goto out;
	if (split_line(&at, words) != 1 || str_to_i64(words[0], &count) || count < 0)
		goto out;
	while (*at) {
		int n = split_line(&at, words);
		if (n == 0 && !*at)
			break;
		if (n != fields || seen == count)
			goto out;
		int line_err = line(ctx, words);
		if (line_err) {
			err = line_err;
			goto out;
		}
		seen++;
	}
	err = seen == count ? 0 : ERR_CORRUPT;
out:
	mem_free(copy);
	return err;
}

int checkpoint_write_now(struct env *env, const char *path, const struct checkpoint_entry *entries, uint32_t count)
{
	struct str text;

	str_init(&text);
	str_printf(&text, "0\n%u\n", count);
	for (uint32_t i = 0; i < count; i++)
		str_printf(&text, "%s %d %lld\n", entries[i].topic, entries[i].partition, (long long)entries[i].offset);
	int err = fs_write_file(env, path, str_cstr(&text), text.len, 0644);
	str_fini(&text);
	return err;
}

struct reading {
	struct arena *a;
	struct checkpoint_entry *entries;
	size_t count, cap;
};

static int offset_line(void *ctx, char **fields)
{
	struct reading *r = ctx;
	int32_t partition;
	int64_t offset;

	if (str_to_i32(fields[1], &partition) || str_to_i64(fields[2], &offset) || partition < 0)
		return ERR_CORRUPT;
	MEM_GROW(r->entries, r->cap, r->count + 1);
	r->entries[r->count++] = (struct checkpoint_entry){arena_strndup(r->a, fields[0], strlen(fields[0])), partition, offset};
	return 0;
}

int checkpoint_read_now(struct env *env, const char *path, struct arena *a, struct checkpoint_entry **ret_entries, uint32_t *ret_count)
{
	struct reading r = {.a = a};
	char *text = NULL;
	size_t len;

	*ret_entries = NULL;
	*ret_count = 0;
	int err = fs_read_file(env, path, CHECKPOINT_BYTES_MAX, &text, &len);
	if (err)
		return err == ERR_LIMIT ? ERR_CORRUPT : err;
	err = strlen(text) == len ? checkpoint_parse(text, 3, offset_line, &r) : ERR_CORRUPT;
	if (!err && r.count) {
		*ret_entries = ARENA_ARRAY(a, struct checkpoint_entry, r.count);
		memcpy(*ret_entries, r.entries, r.count * sizeof(*r.entries));
		*ret_count = (uint32_t)r.count;
	}
	mem_free(r.entries);
	mem_free(text);
	return err;
}
