/* config.c: reading the broker's properties. See config.h. */
#include "brokerd/config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "brokerd/config/running.h"
#include "common/base/check.h"
#include "common/base/mem.h"
#include "common/config/topic_config.h"

const char *const broker_hello_keys[] = {
	"num.partitions", "default.replication.factor", "min.insync.replicas", "unclean.leader.election.enable", "auto.create.topics.enable",
	"log.cleanup.policy", "log.retention.ms", "log.retention.minutes", "log.retention.hours", "log.retention.bytes", "log.segment.bytes",
	"message.max.bytes", "log.flush.interval.messages", "log.flush.interval.ms", "log.flush.scheduler.interval.ms", "log.message.timestamp.type",
	"log.message.timestamp.before.max.ms", "log.message.timestamp.after.max.ms", "log.message.timestamp.difference.max.ms", "log.roll.ms",
	"log.roll.hours", "log.roll.jitter.ms", "log.roll.jitter.hours", "log.index.interval.bytes", "log.index.size.max.bytes", "log.segment.delete.delay.ms",
	"log.message.downconversion.enable",
};
const uint32_t broker_hello_key_count = ARRAY_LEN(broker_hello_keys);

/* Edit distance, for "did you mean"; both shorter than 64. */
static int distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	int row[65];
	if (la > 64 || lb > 64)
		return 64;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= la; i++) {
		int diag = row[0];
		row[0] = (int)i;
		for (size_t j = 1; j <= lb; j++) {
			int up = row[j], best = diag + (a[i - 1] != b[j - 1]);
			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diag = up;
			row[j] = best;
		}
	}
	return row[lb];
}

static const char *nearest_key(const char *name)
{
	const char *best = broker_keys[0].name;
	int least = 1000;
	for (uint32_t i = 0; i < broker_key_count; i++) {
		int d = distance(name, broker_keys[i].name);
		if (d < least) {
			least = d;
			best = broker_keys[i].name;
		}
	}
	return best;
}

/* ---- typed reading; the first problem is kept ---- */

struct reader {
	struct broker_config *c;
	const char *file;
	struct str *problem;
	bool failed;
};

static int line_of(const struct reader *r, const char *key)
{
	for (size_t i = 0; i < r->c->props.count; i++)
		if (!strcmp(r->c->props.items[i].key, key))
			return r->c->props.items[i].line;
	return 0;
}

static void PRINTF_LIKE(3, 4) fail(struct reader *r, const char *key, const char *fmt, ...)
{
	if (r->failed)
		return;
	r->failed = true;
	va_list ap;
	va_start(ap, fmt);
	int line = line_of(r, key);
	if (line)
		str_printf(r->problem, "%s:%d: %s: ", r->file, line, key);
	else
		str_printf(r->problem, "%s: %s: ", r->file, key);
	str_vprintf(r->problem, fmt, ap);
	va_end(ap);
}

static const char *text(struct reader *r, const char *key)
{
	const char *v = props_get(&r->c->props, key);
	if (v)
		return v;
	const struct config_key *k = broker_key_find(key);
	ASSERT(k);
	return k->default_value;
}

static int64_t number(struct reader *r, const char *key)
{
	const struct config_key *k = broker_key_find(key);
	const char *v = text(r, key);
	int64_t n = 0;
	if (!v)
		return 0;
	if (config_i64(v, &n) || n < k->least || n > k->greatest)
		fail(r, key, "`%s` is not a whole number from %lld to %lld", v, (long long)k->least, (long long)k->greatest);
	return n;
}

static bool flag(struct reader *r, const char *key)
{
	const char *v = text(r, key);
	bool b = false;
	if (v && config_bool(v, &b))
		fail(r, key, "`%s` is neither true nor false", v);
	return b;
}

static bool is_set(struct reader *r, const char *key)
{
	return props_get(&r->c->props, key) != NULL;
}

/* ---- listeners ---- */

static const char *security_of(struct reader *r, const char *listener, char *out, size_t cap)
{
	const char *map = text(r, "listener.security.protocol.map");
	size_t len = strlen(listener);
	for (const char *p = map; p && *p;) {
		const char *comma = strchr(p, ',');
		const char *end = comma ? comma : p + strlen(p);
		while (*p == ' ')
			p++;
		if ((size_t)(end - p) > len && !strncasecmp(p, listener, len) && p[len] == ':') {
			snprintf(out, cap, "%.*s", (int)(end - p - (ptrdiff_t)len - 1), p + len + 1);
			return out;
		}
		p = comma ? comma + 1 : end;
	}
	return NULL;
}

static bool parse_host_port(const char *s, char **ret_host, uint16_t *ret_port)
{
	const char *colon = strrchr(s, ':');
	int32_t port;
	if (!colon || str_to_i32(colon + 1, &port) || port < 0 || port > 65535)
		return false;
	size_t len = (size_t)(colon - s);
	if (len >= 2 && s[0] == '[' && s[len - 1] == ']') {
		s++;
		len -= 2;
	}
	*ret_host = mem_strndup(s, len);
	*ret_port = (uint16_t)port;
	return true;
}

static void parse_listeners(struct reader *r, const char *key, const char *value, struct config_listener **ret_list, uint32_t *ret_count)
{
	char *copy = mem_strdup(value), *save = NULL;
	size_t cap = 0;
	*ret_list = NULL;
	*ret_count = 0;
	for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		while (*t == ' ')
			t++;
		char *sep = strstr(t, "://");
		struct config_listener l = {0};
		char sec[64];
		if (!sep || sep == t || !parse_host_port(sep + 3, &l.host, &l.port)) {
			fail(r, key, "`%s` is not NAME://host:port", t);
			break;
		}
		l.name = mem_strndup(t, (size_t)(sep - t));
		for (char *p = l.name; *p; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 32);
		const char *s = security_of(r, l.name, sec, sizeof(sec));
		if (!s)
			fail(r, key, "listener %s has no entry in listener.security.protocol.map", l.name);
		else if (strcasecmp(s, "PLAINTEXT"))
			fail(r, key, "listener %s wants %s, which is not built yet: only PLAINTEXT listeners are served", l.name, s);
		for (uint32_t i = 0; i < *ret_count && !r->failed; i++) {
			const struct config_listener *o = &(*ret_list)[i];
			if (!strcmp(o->name, l.name))
				fail(r, key, "listener %s is named twice", l.name);
			else if (o->port && o->port == l.port && !strcmp(o->host, l.host))
				fail(r, key, "%s:%u is named twice: each listener needs a port of its own", l.host, l.port);
		}
		l.security = mem_strdup("PLAINTEXT");
		MEM_GROW(*ret_list, cap, *ret_count + 1);
		(*ret_list)[(*ret_count)++] = l;
	}
	mem_free(copy);
	if (*ret_count == 0)
		fail(r, key, "names no listener");
}

static void read_listeners(struct reader *r)
{
	struct broker_config *c = r->c;
	parse_listeners(r, "listeners", text(r, "listeners"), &c->listeners, &c->listener_count);
	if (r->failed)
		return;
	const char *adv = text(r, "advertised.listeners");
	parse_listeners(r, adv ? "advertised.listeners" : "listeners", adv ? adv : text(r, "listeners"), &c->advertised, &c->advertised_count);
	if (r->failed)
		return;
	for (uint32_t i = 0; i < c->advertised_count; i++) {
		bool bound = false;
		for (uint32_t k = 0; k < c->listener_count; k++)
			bound |= !strcmp(c->listeners[k].name, c->advertised[i].name);
		if (!bound)
			fail(r, "advertised.listeners", "%s is not among the listeners", c->advertised[i].name);
		if (!strcmp(c->advertised[i].host, "0.0.0.0"))
			fail(r, adv ? "advertised.listeners" : "listeners", "0.0.0.0 cannot be advertised: set advertised.listeners to what clients connect to");
		if (!c->advertised[i].host[0]) { /* Kafka advertises the host's name; loopback is ours until a name is given */
			mem_free(c->advertised[i].host);
			c->advertised[i].host = mem_strdup("localhost");
		}
	}
	const char *ibl = text(r, "inter.broker.listener.name");
	if (ibl) {
		c->inter_broker_listener = mem_strdup(ibl);
		bool found = false;
		for (uint32_t i = 0; i < c->advertised_count; i++)
			found |= !strcmp(c->advertised[i].name, ibl);
		if (!found)
			fail(r, "inter.broker.listener.name", "`%s` is not among the advertised listeners", ibl);
	} else {
		if (strcasecmp(text(r, "security.inter.broker.protocol"), "PLAINTEXT"))
			fail(r, "security.inter.broker.protocol", "only PLAINTEXT is built yet");
		c->inter_broker_listener = mem_strdup(c->advertised[0].name);
	}
}

static void read_log_dirs(struct reader *r)
{
	struct broker_config *c = r->c;
	const char *v = text(r, "log.dirs");
	const char *key = v ? "log.dirs" : "log.dir";
	char *copy = mem_strdup(v ? v : text(r, "log.dir")), *save = NULL;
	size_t cap = 0;
	for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		while (*t == ' ')
			t++;
		size_t len = strlen(t);
		while (len > 1 && (t[len - 1] == ' ' || t[len - 1] == '/'))
			t[--len] = 0;
		if (t[0] != '/')
			fail(r, key, "`%s` is not an absolute path", t);
		for (uint32_t i = 0; i < c->log_dir_count; i++)
			if (!strcmp(c->log_dirs[i], t))
				fail(r, key, "`%s` is named twice", t);
		MEM_GROW(c->log_dirs, cap, c->log_dir_count + 1);
		c->log_dirs[c->log_dir_count++] = mem_strdup(t);
	}
	mem_free(copy);
	if (!c->log_dir_count)
		fail(r, key, "names no directory");
}

/* Numbers that are read when they are wanted (running.h) are still refused here when they are none. */
static void check_values(struct reader *r)
{
	for (uint32_t i = 0; i < broker_key_count && !r->failed; i++) {
		const struct config_key *k = &broker_keys[i];
		const char *v = props_get(&r->c->props, k->name);
		struct str why = {0};
		if (!v || k->cls != CONFIG_USED || (!topic_config_of_broker_key(k->name) && strncmp(k->name, "log.retention.", 14)))
			continue;
		if (k->type == CONFIG_INT || k->type == CONFIG_LONG)
			(void)number(r, k->name);
		if (!r->failed && broker_key_check(k, v, &why))
			fail(r, k->name, "%s", str_cstr(&why));
		str_fini(&why);
	}
}

static void read_log_settings(struct reader *r)
{
	static const char *const numbers[] = {"log.roll.hours", "log.roll.jitter.hours", "log.retention.minutes", "log.retention.hours",
		"log.flush.scheduler.interval.ms", "producer.id.expiration.ms"};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		(void)number(r, numbers[i]);
	check_values(r);
	const char *cp = text(r, "log.cleanup.policy");
	if (!config_value_same(CONFIG_LIST, cp, "delete"))
		fail(r, "log.cleanup.policy", "only `delete` is built yet");
	if (!r->failed)
		running_log_defaults(r->c, NULL, &r->c->log);
}

static void read_replica_settings(struct reader *r)
{
	struct replica_config *p = &r->c->replica;
	p->broker_id = r->c->broker_id;
	p->replica_lag_time_max_ms = number(r, "replica.lag.time.max.ms");
	p->replica_fetch_wait_max_ms = number(r, "replica.fetch.wait.max.ms");
	p->replica_fetch_backoff_ms = number(r, "replica.fetch.backoff.ms");
	p->replica_fetch_min_bytes = (int32_t)number(r, "replica.fetch.min.bytes");
	p->replica_fetch_max_bytes = (int32_t)number(r, "replica.fetch.max.bytes");
	p->replica_fetch_response_max_bytes = (int32_t)number(r, "replica.fetch.response.max.bytes");
	p->fetch_max_bytes = (int32_t)number(r, "fetch.max.bytes");
	p->hw_checkpoint_interval_ms = number(r, "replica.high.watermark.checkpoint.interval.ms");
	p->retention_check_interval_ms = number(r, "log.retention.check.interval.ms");
	p->flush_check_interval_ms = 1000;
	p->receive_budget_bytes = 128 << 20;
	p->dirty_budget_bytes = 256 << 20;
	p->inter_broker_listener = r->c->inter_broker_listener;
}

static void read_group_settings(struct reader *r)
{
	struct broker_config *c = r->c;
	c->groups.min_session_timeout_ms = (int32_t)number(r, "group.min.session.timeout.ms");
	c->groups.max_session_timeout_ms = (int32_t)number(r, "group.max.session.timeout.ms");
	c->groups.max_size = (int32_t)number(r, "group.max.size");
	c->groups.initial_rebalance_delay_ms = (int32_t)number(r, "group.initial.rebalance.delay.ms");
	c->groups.offset_metadata_max_bytes = (int32_t)number(r, "offset.metadata.max.bytes");
	c->groups.offsets_retention_ms = number(r, "offsets.retention.minutes") * 60000;
	c->offsets.partitions = (int32_t)number(r, "offsets.topic.num.partitions");
	c->offsets.replication_factor = (int16_t)number(r, "offsets.topic.replication.factor");
	c->offsets.segment_bytes = (int32_t)number(r, "offsets.topic.segment.bytes");
	c->offsets.codec = (int32_t)number(r, "offsets.topic.compression.codec");
	c->offsets.load_buffer_bytes = (int32_t)number(r, "offsets.load.buffer.size");
	c->offsets.commit_timeout_ms = (int32_t)number(r, "offsets.commit.timeout.ms");
	c->offsets.check_interval_ms = number(r, "offsets.retention.check.interval.ms");
}

static void read_ip_limits(struct reader *r)
{
	struct str why = {0};
	const char *overrides = text(r, "max.connections.per.ip.overrides");
	if (broker_key_check(broker_key_find("max.connections.per.ip.overrides"), overrides, &why))
		fail(r, "max.connections.per.ip.overrides", "`%s` is not a list of ADDRESS:COUNT with numeric addresses", overrides);
	else if (number(r, "max.connections.per.ip") == 0 && !*overrides)
		fail(r, "max.connections.per.ip", "0 is allowed only when max.connections.per.ip.overrides is set");
	str_fini(&why);
}

/* Kafka's rules. Ids above reserved.broker.max.id are those that ZooKeeper counts out, so that the two kinds cannot meet. */
static void read_id(struct reader *r)
{
	struct broker_config *c = r->c;
	const char *key = is_set(r, "broker.id") || !is_set(r, "node.id") ? "broker.id" : "node.id";
	c->broker_id = (int32_t)number(r, key);
	c->broker_id_generation = flag(r, "broker.id.generation.enable");
	c->reserved_broker_max_id = (int32_t)number(r, "reserved.broker.max.id");
	if (is_set(r, "broker.id") && is_set(r, "node.id") && number(r, "node.id") != c->broker_id)
		fail(r, "node.id", "is another number than broker.id, and both name this broker: remove one of the two");
	else if (is_set(r, "broker.id") != is_set(r, "node.id")) /* two names of one thing, as Kafka shows them */
		props_set(&c->props, is_set(r, "broker.id") ? "node.id" : "broker.id", text(r, key));
	if (!c->broker_id_generation && c->broker_id < 0)
		fail(r, key, "must be set to a number that no other broker of the cluster has, since broker.id.generation.enable=false");
	else if (c->broker_id < -1)
		fail(r, key, "`%d` is neither -1 (an id is generated) nor an id from 0 to reserved.broker.max.id (%d)", c->broker_id, c->reserved_broker_max_id);
	else if (c->broker_id_generation && c->broker_id > c->reserved_broker_max_id)
		fail(r, key, "`%d` is greater than reserved.broker.max.id (%d), where generated ids begin: take a lower one, or leave it out to go on under the id in "
			"meta.properties, or set broker.id.generation.enable=false", c->broker_id, c->reserved_broker_max_id);
}

static void read_all(struct reader *r)
{
	struct broker_config *c = r->c;
	read_id(r);
	const char *rack = text(r, "broker.rack");
	c->rack = rack ? mem_strdup(rack) : NULL;
	const char *zk = text(r, "zookeeper.connect");
	if (!zk || !*zk)
		fail(r, "zookeeper.connect", "must be set, as host:port[,host:port...][/chroot]");
	c->zookeeper_connect = mem_strdup(zk ? zk : "");
	c->zookeeper_session_timeout_ms = (int32_t)number(r, "zookeeper.session.timeout.ms");
	read_listeners(r);
	read_log_dirs(r);
	const char *admin = text(r, "admin.listener");
	if (admin && !parse_host_port(admin, &c->admin_host, &c->admin_port))
		fail(r, "admin.listener", "`%s` is not HOST:PORT", admin);
	c->data_loops = (uint32_t)number(r, "data.loops");
	c->log_dir_reserved_bytes = number(r, "log.dir.reserved.bytes");
	c->socket_request_max_bytes = (int32_t)number(r, "socket.request.max.bytes");
	c->listen_backlog = (int32_t)number(r, "socket.listen.backlog.size");
	c->max_connections = (int32_t)number(r, "max.connections");
	c->socket_send_buffer_bytes = is_set(r, "socket.send.buffer.bytes") ? (int32_t)number(r, "socket.send.buffer.bytes") : 0;
	c->socket_receive_buffer_bytes = is_set(r, "socket.receive.buffer.bytes") ? (int32_t)number(r, "socket.receive.buffer.bytes") : 0;
	read_ip_limits(r);
	c->connections_max_idle_ms = number(r, "connections.max.idle.ms");
	c->queued_max_request_bytes = number(r, "queued.max.request.bytes");
	c->num_partitions = (int32_t)number(r, "num.partitions");
	c->default_replication_factor = (int32_t)number(r, "default.replication.factor");
	c->auto_create_topics = flag(r, "auto.create.topics.enable");
	(void)flag(r, "unclean.leader.election.enable");
	(void)number(r, "min.insync.replicas");
	c->fetch_session_slots = (int32_t)number(r, "max.incremental.fetch.session.cache.slots");
	c->controlled_shutdown = flag(r, "controlled.shutdown.enable");
	c->controlled_shutdown_retries = (int32_t)number(r, "controlled.shutdown.max.retries");
	c->controlled_shutdown_backoff_ms = number(r, "controlled.shutdown.retry.backoff.ms");
	c->recovery_checkpoint_ms = number(r, "log.flush.offset.checkpoint.interval.ms");
	c->start_checkpoint_ms = number(r, "log.flush.start.offset.checkpoint.interval.ms");
	c->recovery_threads_per_dir = (int32_t)number(r, "num.recovery.threads.per.data.dir");
	if (r->failed)
		return;
	read_log_settings(r);
	read_replica_settings(r);
	read_group_settings(r);
}

/* Keys that nobody listed but whose name promises protection. */
static bool promises_security(const char *key)
{
	static const char *const prefixes[] = {"ssl.", "sasl.", "zookeeper.ssl.", "delegation.token.", "password.encoder.", "authorizer."};
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		if (!strncmp(key, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

/* Warns of what is unknown or has no effect; refuses security that would not be there. */
static void check_keys(struct reader *r, struct str *warnings)
{
	for (size_t i = 0; i < r->c->props.count; i++) {
		const struct prop *p = &r->c->props.items[i];
		/* listener-scoped keys: listener.name.X.KEY are all about security */
		if (!strncmp(p->key, "listener.name.", 14)) {
			fail(r, p->key, "security settings of a listener are not built yet; remove the line");
			continue;
		}
		const struct config_key *k = broker_key_find(p->key);
		if (!k) {
			if (promises_security(p->key))
				fail(r, p->key, "TLS and SASL are not built yet; remove the line and keep the port private");
			else
				str_printf(warnings, "%s:%d: unknown key %s (nearest known: %s)\n", r->file, p->line, p->key, nearest_key(p->key));
			continue;
		}
		if (k->cls == CONFIG_SECURITY && !broker_key_same_as_default(k, p->value))
			fail(r, p->key, "this protection is not built yet; remove the line and keep the port private");
		if (k->cls == CONFIG_NO_EFFECT && !broker_key_same_as_default(k, p->value))
			str_printf(warnings, "%s:%d: %s has no effect\n", r->file, p->line, p->key);
	}
}

int broker_config_parse(const char *file_name, struct slice file_text, const char *const *overrides, uint32_t override_count, struct broker_config **ret_cfg,
	struct str *problem, struct str *warnings)
{
	struct broker_config *c = MEM_NEW(struct broker_config);
	struct reader r = {c, file_name, problem, false};
	int line = 0;
	props_init(&c->props);
	if (props_parse(&c->props, file_text, &line)) {
		str_printf(problem, "%s:%d: not a properties line: key=value is expected", file_name, line);
		broker_config_free(c);
		return ERR_INVAL;
	}
	for (uint32_t i = 0; i < override_count; i++) {
		const char *eq = strchr(overrides[i], '=');
		if (!eq || eq == overrides[i]) {
			str_printf(problem, "--override %s: key=value is expected", overrides[i]);
			broker_config_free(c);
			return ERR_INVAL;
		}
		char *key = mem_strndup(overrides[i], (size_t)(eq - overrides[i]));
		props_set(&c->props, key, eq + 1);
		mem_free(key);
	}
	check_keys(&r, warnings);
	if (!r.failed)
		read_all(&r);
	if (r.failed) {
		broker_config_free(c);
		return ERR_INVAL;
	}
	*ret_cfg = c;
	return 0;
}

static void listeners_free(struct config_listener *l, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		mem_free(l[i].name);
		mem_free(l[i].host);
		mem_free(l[i].security);
	}
	mem_free(l);
}

void broker_config_free(struct broker_config *c)
{
	if (!c)
		return;
	props_fini(&c->props);
	listeners_free(c->listeners, c->listener_count);
	listeners_free(c->advertised, c->advertised_count);
	for (uint32_t i = 0; i < c->log_dir_count; i++)
		mem_free(c->log_dirs[i]);
	mem_free(c->log_dirs);
	mem_free(c->rack);
	mem_free(c->zookeeper_connect);
	mem_free(c->inter_broker_listener);
	mem_free(c->admin_host);
	mem_free(c);
}

const char *broker_config_value(const struct broker_config *c, const struct config_key *k, bool *ret_static)
{
	const char *v = props_get(&c->props, k->name);
	*ret_static = v != NULL;
	return v ? v : k->default_value;
}
