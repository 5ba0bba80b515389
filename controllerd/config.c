/* config.c: controllerd's configuration file. See controller.h. One row per key. */
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/props.h"
#include "controllerd/controller.h"

enum key_class { KEY_USED, KEY_NO_EFFECT, KEY_SECURITY };
enum key_type { KEY_TEXT, KEY_INT, KEY_BOOL };
struct key {
	const char *name;
	enum key_type type;
	const char *default_value; /* NULL = must be given, or unset */
	int64_t lowest, highest;
	enum key_class cls;
};

/* X(name, type, default, lowest, highest, class) */
#define CONTROLLER_KEYS(X) \
	X("controller.id", INT, NULL, 0, INT32_MAX, USED) \
	X("listeners", TEXT, "CONTROL://127.0.0.1:19090", 0, 0, USED) \
	X("advertised.listeners", TEXT, NULL, 0, 0, USED) \
	X("zookeeper.connect", TEXT, NULL, 0, 0, USED) \
	X("zookeeper.session.timeout.ms", INT, "18000", 100, 3600000, USED) \
	X("zookeeper.connection.timeout.ms", INT, "18000", 1, INT32_MAX, NO_EFFECT) \
	X("zookeeper.max.in.flight.requests", INT, "10", 1, INT32_MAX, NO_EFFECT) \
	X("zookeeper.set.acl", BOOL, "false", 0, 0, SECURITY) \
	X("zookeeper.ssl.client.enable", BOOL, "false", 0, 0, SECURITY) \
	X("admin.listener", TEXT, NULL, 0, 0, USED) \
	X("controller.link.closed.grace.ms", INT, "300", 0, 600000, USED) \
	X("controller.link.silence.ms", INT, "1000", 200, 600000, USED) \
	X("controller.link.allow.remote", BOOL, "false", 0, 0, USED) \
	X("delete.topic.enable", BOOL, "true", 0, 0, USED) \
	X("auto.leader.rebalance.enable", BOOL, "true", 0, 0, USED) \
	X("leader.imbalance.check.interval.seconds", INT, "300", 1, INT32_MAX, USED) \
	X("leader.imbalance.per.broker.percentage", INT, "10", 0, INT32_MAX, USED) \
	X("unclean.leader.election.enable", BOOL, "false", 0, 0, NO_EFFECT) \
	X("controller.socket.timeout.ms", INT, "30000", 1, INT32_MAX, NO_EFFECT) \
	X("delegation.token.expiry.check.interval.ms", INT, "3600000", 1, INT32_MAX, NO_EFFECT) \
	X("authorizer.class.name", TEXT, "", 0, 0, SECURITY) \
	X("security.inter.broker.protocol", TEXT, "PLAINTEXT", 0, 0, SECURITY)

static const struct key keys[] = {
#define KEY_ROW(name, type, def, lo, hi, cls) {name, KEY_##type, def, lo, hi, KEY_##cls},
	CONTROLLER_KEYS(KEY_ROW)
#undef KEY_ROW
};
enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

static const struct key *key_find(const char *name)
{
	for (int i = 0; i < KEY_COUNT; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* Edit distance, for the nearest known key; keys are short. */
static int distance(const char *a, const char *b)
{
	enum { MOST = 128 };
	int row[MOST + 1], n = (int)strlen(b);
	if (n > MOST)
		return MOST;
	for (int i = 0; i <= n; i++)
		row[i] = i;
	for (int i = 1; a[i - 1]; i++) {
		int diagonal = row[0];
		row[0] = i;
		for (int k = 1; k <= n; k++) {
			int keep = row[k], cost = diagonal + (a[i - 1] != b[k - 1]);
			if (row[k] + 1 < cost)
				cost = row[k] + 1;
			if (row[k - 1] + 1 < cost)
				cost = row[k - 1] + 1;
			row[k] = cost;
			diagonal = keep;
		}
	}
	return row[n];
}

static const char *nearest(const char *name)
{
	const char *best = keys[0].name;
	int least = 1 << 30;
	for (int i = 0; i < KEY_COUNT; i++) {
		int d = distance(name, keys[i].name);
		if (d < least) {
			least = d;
			best = keys[i].name;
		}
	}
	return best;
}

struct parse {
	const char *file;
	struct props props;
	struct str *problem, *warnings;
};

static int bad(struct parse *p, const char *key, const char *allowed)
{
	int line = 0;
	for (size_t i = 0; i < p->props.count; i++)
		if (strcmp(p->props.items[i].key, key) == 0)
			line = p->props.items[i].line;
	const char *value = props_get(&p->props, key);
	if (!value)
		str_printf(p->problem, "%s: %s is missing: %s", p->file, key, allowed);
	else if (line)
		str_printf(p->problem, "%s:%d: %s=%s: %s", p->file, line, key, value, allowed);
	else
		str_printf(p->problem, "--override %s=%s: %s", key, value, allowed);
	return ERR_INVAL;
}

static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

static bool is_security(const char *name)
{
	return starts(name, "ssl.") || starts(name, "sasl.") || starts(name, "zookeeper.ssl.") || starts(name, "listener.name.");
}

static int check_value(struct parse *p, const struct key *k, const char *value)
{
	int64_t n;
	bool b;
	if (k->type == KEY_INT && (str_to_i64(value, &n) || n < k->lowest || n > k->highest)) {
		char text[80];
		snprintf(text, sizeof(text), "a whole number from %lld to %lld", (long long)k->lowest, (long long)k->highest);
		return bad(p, k->name, text);
	}
	if (k->type == KEY_BOOL && str_to_bool(value, &b))
		return bad(p, k->name, "true or false");
	return 0;
}

static int check_one(struct parse *p, const struct prop *item)
{
	const struct key *k = key_find(item->key);
	if (!k && is_security(item->key))
		return bad(p, item->key, "security settings are not honoured yet; a link is protected by staying on this machine");
	if (!k) {
		str_printf(p->warnings, "%s:%d: unknown key %s; the nearest known one is %s\n", p->file, item->line, item->key, nearest(item->key));
		return 0;
	}
	int err = check_value(p, k, item->value);
	if (err)
		return err;
	bool is_default = k->default_value && strcmp(k->default_value, item->value) == 0;
	if (k->cls == KEY_SECURITY && !is_default)
		return bad(p, k->name, "not honoured yet: only its default is taken");
	if (k->cls == KEY_NO_EFFECT && !is_default)
		str_printf(p->warnings, "%s has no effect\n", k->name);
	return 0;
}

/* HOST:PORT or [V6]:PORT; the host may be empty. */
static bool host_port(const char *text, char **ret_host, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	int64_t port;
	if (!colon || str_to_i64(colon + 1, &port) || port < 0 || port > 65535)
		return false;
	size_t len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return false;
	}
	*ret_host = mem_strndup(text, len);
	*ret_port = (uint16_t)port;
	return true;
}

static const char *text_of(struct parse *p, const char *key)
{
	const char *v = props_get(&p->props, key);
	const struct key *k = key_find(key);
	return v ? v : k->default_value;
}

static int32_t int_of(struct parse *p, const char *key)
{
	int32_t v = 0;
	const char *text = text_of(p, key);
	return text && str_to_i32(text, &v) == 0 ? v : 0;
}

static bool bool_of(struct parse *p, const char *key)
{
	bool v = false;
	return str_to_bool(text_of(p, key), &v) == 0 && v;
}

static int fill(struct parse *p, struct controller_config *c)
{
	static const char listener_form[] = "CONTROL://HOST:PORT, one listener, e.g. CONTROL://127.0.0.1:19090";
	if (!props_get(&p->props, "controller.id"))
		return bad(p, "controller.id", "a number that no broker has as broker.id");
	if (!props_get(&p->props, "zookeeper.connect") || !*props_get(&p->props, "zookeeper.connect"))
		return bad(p, "zookeeper.connect", "host:port[,host:port]...[/chroot]");
	c->id = int_of(p, "controller.id");
	c->zookeeper_connect = mem_strdup(text_of(p, "zookeeper.connect"));
	c->zookeeper_session_timeout_ms = int_of(p, "zookeeper.session.timeout.ms");
	const char *l = text_of(p, "listeners");
	if (!starts(l, "CONTROL://") || !host_port(l + 10, &c->listen_host, &c->listen_port))
		return bad(p, "listeners", listener_form);
	const char *adv = text_of(p, "advertised.listeners");
	if (adv && (!starts(adv, "CONTROL://") || !host_port(adv + 10, &c->advertised_host, &c->advertised_port) || !*c->advertised_host))
		return bad(p, "advertised.listeners", listener_form);
	bool all = !*c->listen_host || strcmp(c->listen_host, "0.0.0.0") == 0 || strcmp(c->listen_host, "::") == 0;
	if (!adv && all)
		return bad(p, "listeners", "a listener on all addresses needs advertised.listeners=CONTROL://HOST:PORT");
	if (!adv) {
		c->advertised_host = mem_strdup(c->listen_host);
		c->advertised_port = c->listen_port;
	}
	const char *admin = text_of(p, "admin.listener");
	c->admin = admin && *admin;
	if (c->admin && !host_port(admin, &c->admin_host, &c->admin_port))
		return bad(p, "admin.listener", "HOST:PORT");
	c->link_closed_grace_ms = int_of(p, "controller.link.closed.grace.ms");
	c->link_silence_ms = int_of(p, "controller.link.silence.ms");
	c->link_allow_remote = bool_of(p, "controller.link.allow.remote");
	c->leader_rebalance = bool_of(p, "auto.leader.rebalance.enable");
	c->leader_imbalance_check_s = int_of(p, "leader.imbalance.check.interval.seconds");
	c->leader_imbalance_percentage = int_of(p, "leader.imbalance.per.broker.percentage");
	c->delete_topic_enable = bool_of(p, "delete.topic.enable");
	return 0;
}

int controller_config_parse(const char *file_name, struct slice text, const char *const *overrides, uint32_t override_count, struct controller_config **ret_cfg,
			    struct str *problem, struct str *warnings)
{
	struct parse p = {.file = file_name, .problem = problem, .warnings = warnings};
	int line = 0;
	props_init(&p.props);
	int err = props_parse(&p.props, text, &line);
	if (err)
		str_printf(problem, "%s:%d: not a KEY=VALUE line", file_name, line);
	for (uint32_t i = 0; !err && i < override_count; i++) {
		const char *eq = strchr(overrides[i], '=');
		if (!eq) {
			str_printf(problem, "--override %s: must be KEY=VALUE", overrides[i]);
			err = ERR_INVAL;
			break;
		}
		char *key = mem_strndup(overrides[i], (size_t)(eq - overrides[i]));
		props_set(&p.props, key, eq + 1);
		mem_free(key);
	}
	for (size_t i = 0; !err && i < p.props.count; i++)
		err = check_one(&p, &p.props.items[i]);
	struct controller_config *c = MEM_NEW(struct controller_config);
	if (!err)
		err = fill(&p, c);
	props_fini(&p.props);
	if (err) {
		controller_config_free(c);
		return err;
	}
	*ret_cfg = c;
	return 0;
}

void controller_config_free(struct controller_config *c)
{
	if (!c)
		return;
	mem_free(c->listen_host);
	mem_free(c->advertised_host);
	mem_free(c->zookeeper_connect);
	mem_free(c->admin_host);
	mem_free(c);
}
