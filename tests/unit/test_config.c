/* test_config.c: brokerd/config: what a properties file becomes, what is refused and in which words, what is warned about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brokerd/config/running.h"
#include "common/base/check.h"
#include "common/compress/compress.h"
#include "proto/klamm/control.pb-c.h"
#include "tests/unit/unit.h"

static struct str problem, warnings;
static struct broker_config *cfg;

#define BASE "broker.id=1\nzookeeper.connect=localhost:2181/chroot\nlisteners=PLAINTEXT://127.0.0.1:9092\nlog.dirs=/data\n"

static int parse_with(const char *text, const char *const *overrides, uint32_t count)
{
	broker_config_free(cfg);
	cfg = NULL;
	str_fini(&problem);
	str_fini(&warnings);
	str_init(&problem);
	str_init(&warnings);
	int err = broker_config_parse("broker.properties", slice_str(text), overrides, count, &cfg, &problem, &warnings);
	CU_ASSERT((err == 0) == (cfg != NULL));
	CU_ASSERT((err == 0) == (problem.len == 0));
	CU_ASSERT_PTR_NULL(strchr(str_cstr(&problem), '\n')); /* one line */
	return err;
}

static int parse(const char *text) { return parse_with(text, NULL, 0); }

/* BASE and one more line. */
static int parse_more(const char *line)
{
	char text[2000];
	snprintf(text, sizeof(text), "%s%s\n", BASE, line);
	return parse(text);
}

static void finish(void)
{
	broker_config_free(cfg);
	cfg = NULL;
	str_fini(&problem);
	str_fini(&warnings);
}

static bool says(const struct str *s, const char *part)
{
	bool has = strstr(str_cstr(s), part) != NULL;
	if (!has)
		printf("    `%s` lacks `%s`\n", str_cstr(s), part);
	return has;
}

static int lines_of(const struct str *s)
{
	int n = 0;
	for (const char *p = str_cstr(s); *p; p++)
		n += *p == '\n';
	return n;
}

/* ---- cases ---- */

static void test_base(void)
{
	CU_ASSERT_EQUAL_FATAL(parse(BASE), 0);
	CU_ASSERT_EQUAL(warnings.len, 0);
	CU_ASSERT_EQUAL(cfg->broker_id, 1);
	CU_ASSERT_STRING_EQUAL(cfg->zookeeper_connect, "localhost:2181/chroot");
	CU_ASSERT_EQUAL(cfg->zookeeper_session_timeout_ms, 18000);
	CU_ASSERT_EQUAL(cfg->log_dir_count, 1);
	CU_ASSERT_STRING_EQUAL(cfg->log_dirs[0], "/data");
	CU_ASSERT_PTR_NULL(cfg->rack);
	CU_ASSERT_PTR_NULL(cfg->admin_host);
	CU_ASSERT_EQUAL(cfg->socket_request_max_bytes, 104857600);
	CU_ASSERT(cfg->auto_create_topics);
	CU_ASSERT_EQUAL(cfg->num_partitions, 1);
	CU_ASSERT_EQUAL(cfg->log.segment_bytes, 1073741824);
	CU_ASSERT_EQUAL(cfg->log.segment_ms, 168ll * 3600000);
	CU_ASSERT_EQUAL(cfg->log.retention_ms, 168ll * 3600000);
	CU_ASSERT_EQUAL(cfg->log.retention_bytes, -1);
	CU_ASSERT_EQUAL(cfg->log.max_message_bytes, 1048588);
	CU_ASSERT_EQUAL(cfg->replica.replica_lag_time_max_ms, 30000);
	CU_ASSERT_FALSE(cfg->log.log_append_time);
	finish();
}

/* Java's properties syntax: comments, separators, escapes, continued lines, later wins. */
static void test_syntax(void)
{
	CU_ASSERT_EQUAL_FATAL(parse("# a\n! b\n\n  broker.id : 7\nzookeeper.connect localhost:2181\nlog.dirs=/a,\\\n   /b\n"
		"listeners=PLAINTEXT\\://h:1\nbroker.rack=r\\u00e91\nnum.partitions=3\nnum.partitions=4\n"), 0);
	CU_ASSERT_EQUAL(cfg->broker_id, 7);
	CU_ASSERT_EQUAL(cfg->log_dir_count, 2);
	CU_ASSERT_STRING_EQUAL(cfg->log_dirs[1], "/b");
	CU_ASSERT_STRING_EQUAL(cfg->listeners[0].host, "h");
	CU_ASSERT_STRING_EQUAL(cfg->rack, "r\xc3\xa9""1");
	CU_ASSERT_EQUAL(cfg->num_partitions, 4);
	finish();
}

static void test_unknown_key(void)
{
	CU_ASSERT_EQUAL(parse_more("zookeper.session.timeout.ms=6000"), 0);
	CU_ASSERT(says(&warnings, "zookeper.session.timeout.ms") && says(&warnings, "(nearest known: zookeeper.session.timeout.ms)"));
	CU_ASSERT(says(&warnings, "broker.properties:5:"));
	CU_ASSERT_EQUAL(lines_of(&warnings), 1);
	CU_ASSERT_EQUAL(cfg->zookeeper_session_timeout_ms, 18000);
	CU_ASSERT_EQUAL(parse_more("log.dirss=/x"), 0);
	CU_ASSERT(says(&warnings, "nearest known: log.dirs)"));
	char line[400] = "a";
	for (size_t i = 1; i < 300; i++)
		line[i] = 'a';
	strcpy(line + 300, "=1");
	CU_ASSERT_EQUAL(parse_more(line), 0);
	CU_ASSERT_EQUAL(lines_of(&warnings), 1);
	finish();
}

/* A refusal names file, line, key and what is allowed. */
static void test_bad_values(void)
{
	static const struct { const char *line, *key, *more; } rows[] = {
		{"num.partitions=many", "num.partitions", "`many`"}, {"num.partitions=0", "num.partitions", "1"},
		{"num.partitions=3 # three", "num.partitions", "3 # three"}, {"num.partitions=2147483648", "num.partitions", "2147483647"},
		{"num.partitions=", "num.partitions", "``"}, {"log.segment.bytes=13", "log.segment.bytes", "14"},
		{"data.loops=257", "data.loops", "256"}, {"auto.create.topics.enable=yes", "auto.create.topics.enable", "true nor false"},
		{"log.message.timestamp.type=now", "log.message.timestamp.type", "CreateTime"}, {"log.cleanup.policy=compact", "log.cleanup.policy", "delete"},
		{"log.dirs=relative/dir", "log.dirs", "absolute"}, {"log.dirs=/a,/b,/a/", "log.dirs", "twice"}, {"log.dirs=", "log.dirs", "names no directory"},
		{"admin.listener=9999", "admin.listener", "HOST:PORT"}, {"admin.listener=localhost:99999", "admin.listener", "HOST:PORT"},
		{"log.retention.ms=1d", "log.retention.ms", "`1d`"},
		{"max.connections.per.ip.overrides=localhost:5", "max.connections.per.ip.overrides", "ADDRESS:COUNT"},
		{"max.connections.per.ip.overrides=10.0.0.1", "max.connections.per.ip.overrides", "ADDRESS:COUNT"},
		{"max.connections.per.ip.overrides=10.0.0.1:-1", "max.connections.per.ip.overrides", "ADDRESS:COUNT"},
		{"max.connections.per.ip=0", "max.connections.per.ip", "overrides"},
		{"log.roll.ms=0", "log.roll.ms", "greater than or equal to 1"}, {"log.retention.ms=0", "log.retention.ms", "unlimited"},
		{"log.retention.minutes=0", "log.retention.minutes", "unlimited"}, {"log.retention.hours=0", "log.retention.hours", "unlimited"},
		 {"replica.fetch.max.bytes=-1", "replica.fetch.max.bytes", "0"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CU_ASSERT_EQUAL(parse_more(rows[i].line), ERR_INVAL);
		CU_ASSERT(says(&problem, "broker.properties:5: ") && says(&problem, rows[i].key) && says(&problem, rows[i].more));
	}
	finish();
}

static void test_what_must_be_set(void)
{
	CU_ASSERT_EQUAL(parse("broker.id=1\nlisteners=PLAINTEXT://h:1\n"), ERR_INVAL);
	CU_ASSERT(says(&problem, "zookeeper.connect"));
	CU_ASSERT_EQUAL(parse("node.id=4\nzookeeper.connect=z:1\n"), 0);
	CU_ASSERT_EQUAL(cfg->broker_id, 4);
	CU_ASSERT_STRING_EQUAL(cfg->log_dirs[0], "/tmp/kafka-logs");
	CU_ASSERT_EQUAL(cfg->listeners[0].port, 9092);
	finish();
}

#define NO_ID "zookeeper.connect=z:1\nlisteners=PLAINTEXT://h:1\n"

/* Kafka's rules for the id: none at all is fine, and then it is generated above those that a file may say. */
static void test_id(void)
{
	static const struct { const char *text; int32_t id; } good[] = {
		{NO_ID, -1}, {NO_ID "broker.id=-1\n", -1}, {NO_ID "node.id=-1\n", -1}, {NO_ID "broker.id=0\n", 0}, {NO_ID "broker.id=1000\n", 1000},
		{NO_ID "broker.id=7\nnode.id=7\n", 7}, {NO_ID "broker.id=7\nreserved.broker.max.id=7\n", 7}, {NO_ID "reserved.broker.max.id=0\n", -1},
		{NO_ID "broker.id=1001\nbroker.id.generation.enable=false\n", 1001}, {NO_ID "broker.id=0\nbroker.id.generation.enable=false\n", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		CU_ASSERT_EQUAL_FATAL(parse(good[i].text), 0);
		CU_ASSERT_EQUAL(cfg->broker_id, good[i].id);
		CU_ASSERT_EQUAL(cfg->replica.broker_id, good[i].id);
		CU_ASSERT_EQUAL(warnings.len, 0);
	}
	CU_ASSERT_EQUAL_FATAL(parse(NO_ID), 0);
	CU_ASSERT(cfg->broker_id_generation);
	CU_ASSERT_EQUAL(cfg->reserved_broker_max_id, 1000);
	static const struct { const char *text, *where, *more; } bad[] = {
		{NO_ID "broker.id=-2\n", "broker.properties:3: broker.id: ", "-1"}, {NO_ID "broker.id=1001\n", "broker.properties:3: broker.id: ", "reserved.broker.max.id (1000)"},
		{NO_ID "node.id=1001\n", "broker.properties:3: node.id: ", "broker.id.generation.enable=false"},
		{NO_ID "reserved.broker.max.id=5\nbroker.id=6\n", "broker.properties:4: broker.id: ", "reserved.broker.max.id (5)"},
		{NO_ID "broker.id.generation.enable=false\n", "broker.properties: broker.id: ", "must be set"},
		{NO_ID "broker.id=-1\nbroker.id.generation.enable=false\n", "broker.properties:3: broker.id: ", "must be set"},
		{NO_ID "broker.id=-5\nbroker.id.generation.enable=false\n", "broker.properties:3: broker.id: ", "must be set"},
		{NO_ID "broker.id=1\nnode.id=2\n", "broker.properties:4: node.id: ", "remove one"}, {NO_ID "broker.id=-1\nnode.id=2\n", "broker.properties:4: node.id: ", "remove one"},
		{NO_ID "broker.id=one\n", "broker.properties:3: broker.id: ", "`one`"}, {NO_ID "reserved.broker.max.id=-1\n", "broker.properties:3: reserved.broker.max.id: ", "0"},
		{NO_ID "broker.id.generation.enable=yes\n", "broker.properties:3: broker.id.generation.enable: ", "true nor false"},
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CU_ASSERT_EQUAL(parse(bad[i].text), ERR_INVAL);
		CU_ASSERT(says(&problem, bad[i].where) && says(&problem, bad[i].more));
	}
	/* DescribeConfigs: as in Kafka two names of one thing, and what the file says, not what was generated */
	bool is_static;
	CU_ASSERT_EQUAL_FATAL(parse(NO_ID "node.id=3\n"), 0);
	CU_ASSERT_STRING_EQUAL(broker_config_value(cfg, broker_key_find("broker.id"), &is_static), "3");
	CU_ASSERT(is_static);
	CU_ASSERT_EQUAL_FATAL(parse(NO_ID), 0);
	CU_ASSERT_STRING_EQUAL(broker_config_value(cfg, broker_key_find("broker.id"), &is_static), "-1");
	CU_ASSERT_FALSE(is_static);
	finish();
}

/* Whatever promises protection that is not there is refused: never an open port instead. */
static void test_security_refused(void)
{
	static const char *const lines[] = {
		"listeners=SSL://h:9093", "listeners=PLAINTEXT://h:9092,SASL_PLAINTEXT://h:9093", "listeners=SASL_SSL://h:1",
		"listeners=CLIENT://h:1\nlistener.security.protocol.map=CLIENT:SSL", "advertised.listeners=SSL://h:9092",
		"ssl.keystore.location=/k", "ssl.keystore.password=x", "ssl.client.auth=required", "ssl.some.future.key=1",
		"sasl.enabled.mechanisms=PLAIN", "sasl.jaas.config=x", "sasl.some.future.key=1",
		"listener.name.plaintext.ssl.keystore.location=/k", "listener.name.internal.plain.sasl.jaas.config=x",
		"authorizer.class.name=kafka.security.authorizer.AclAuthorizer", "super.users=User:a", "security.inter.broker.protocol=SSL",
		"zookeeper.set.acl=true", "password.encoder.secret=s", "delegation.token.secret.key=s", "connections.max.reauth.ms=1000",
		"principal.builder.class=x.Y", "zookeeper.ssl.client.enable=true", "zookeeper.ssl.truststore.location=/t", "delegation.token.master.key=s",
	};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int err = parse_more(lines[i]);
		CU_ASSERT_EQUAL(err, ERR_INVAL);
		if (!err)
			printf("    taken: %s\n", lines[i]);
		else
			CU_ASSERT(says(&problem, "broker.properties:"));
	}
	/* their defaults promise nothing */
	static const char *const fine[] = {"ssl.client.auth=none", "security.inter.broker.protocol=PLAINTEXT", "authorizer.class.name=",
		"zookeeper.set.acl=false", "allow.everyone.if.no.acl.found=false", "sasl.enabled.mechanisms=GSSAPI"};
	for (size_t i = 0; i < ARRAY_LEN(fine); i++)
		CU_ASSERT_EQUAL(parse_more(fine[i]), 0);
	finish();
}

/* Known, not the default, without effect: one warning each. The default is silent. */
static void test_no_effect(void)
{
	CU_ASSERT_EQUAL(parse_more("num.io.threads=16"), 0);
	CU_ASSERT(says(&warnings, "num.io.threads has no effect"));
	CU_ASSERT_EQUAL(lines_of(&warnings), 1);
	CU_ASSERT_EQUAL(parse_more("num.io.threads=8"), 0);
	CU_ASSERT_EQUAL(warnings.len, 0);
	CU_ASSERT_EQUAL(parse_more("log.cleaner.threads=2\nnum.io.threads=9\nnum.network.threads=3"), 0);
	CU_ASSERT_EQUAL(lines_of(&warnings), 2);
	/* controllerd's keys may stand in the common file */
	CU_ASSERT_EQUAL(parse_more("auto.leader.rebalance.enable=false"), 0);
	CU_ASSERT_EQUAL(warnings.len, 0);
	CU_ASSERT_EQUAL(parse_more("socket.send.buffer.bytes=4096\nmax.connections.per.ip=0\nmax.connections.per.ip.overrides=127.0.0.1:5, [::1]:6"), 0);
	CU_ASSERT_EQUAL(warnings.len, 0);
	CU_ASSERT_EQUAL(cfg->socket_send_buffer_bytes, 4096);
	CU_ASSERT_EQUAL(cfg->socket_receive_buffer_bytes, 0);
	finish();
}

static void test_listeners(void)
{
	CU_ASSERT_EQUAL_FATAL(parse_more("listeners=PLAINTEXT://127.0.0.1:0, INTERNAL://[::1]:9094\n"
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT\n"
		"advertised.listeners=PLAINTEXT://public.example:9092,INTERNAL://inside:19094\ninter.broker.listener.name=INTERNAL"), 0);
	CU_ASSERT_EQUAL(cfg->listener_count, 2);
	CU_ASSERT_EQUAL(cfg->listeners[0].port, 0);
	CU_ASSERT_STRING_EQUAL(cfg->listeners[1].name, "INTERNAL");
	CU_ASSERT_STRING_EQUAL(cfg->listeners[1].host, "::1");
	CU_ASSERT_EQUAL(cfg->advertised_count, 2);
	CU_ASSERT_STRING_EQUAL(cfg->advertised[0].host, "public.example");
	CU_ASSERT_EQUAL(cfg->advertised[1].port, 19094);
	CU_ASSERT_STRING_EQUAL(cfg->inter_broker_listener, "INTERNAL");
	/* what is bound everywhere cannot be told to clients */
	CU_ASSERT_EQUAL(parse_more("listeners=PLAINTEXT://0.0.0.0:9092"), ERR_INVAL);
	CU_ASSERT(says(&problem, "advertised.listeners"));
	CU_ASSERT_EQUAL(parse_more("listeners=PLAINTEXT://0.0.0.0:9092\nadvertised.listeners=PLAINTEXT://h:9092"), 0);
	CU_ASSERT_STRING_EQUAL(cfg->listeners[0].host, "0.0.0.0");
	CU_ASSERT_EQUAL(parse_more("listeners=PLAINTEXT://:9092"), 0);
	CU_ASSERT(cfg->advertised[0].host[0] != 0);
	static const char *const bad[] = {"listeners=", "listeners=h:9092", "listeners=PLAINTEXT://h", "listeners=PLAINTEXT://h:70000",
		"listeners=://h:1", "listeners=NEW://h:1", "inter.broker.listener.name=OTHER", "listeners=PLAINTEXT://h:1,PLAINTEXT://h:2",
		"listeners=PLAINTEXT://h:1,OTHER://h:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT",
		"advertised.listeners=OTHER://h:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int err = parse_more(bad[i]);
		CU_ASSERT_EQUAL(err, ERR_INVAL);
		if (!err)
			printf("    taken: %s\n", bad[i]);
	}
	finish();
}

static void test_overrides(void)
{
	static const char *const over[] = {"broker.id=9", "log.retention.ms=5", "broker.rack=a=b"};
	CU_ASSERT_EQUAL_FATAL(parse_with(BASE, over, 3), 0);
	CU_ASSERT_EQUAL(cfg->broker_id, 9);
	CU_ASSERT_EQUAL(cfg->log.retention_ms, 5);
	CU_ASSERT_STRING_EQUAL(cfg->rack, "a=b");
	static const char *const broken[] = {"broker.id"}, *const empty[] = {"=5"}, *const bad[] = {"num.partitions=x"};
	CU_ASSERT_EQUAL(parse_with(BASE, broken, 1), ERR_INVAL);
	CU_ASSERT(says(&problem, "key=value"));
	CU_ASSERT_EQUAL(parse_with(BASE, empty, 1), ERR_INVAL);
	CU_ASSERT_EQUAL(parse_with(BASE, bad, 1), ERR_INVAL);
	CU_ASSERT(says(&problem, "num.partitions"));
	finish();
}

/* Units that fall back on each other, as Kafka's. */
static void test_times(void)
{
	static const struct { const char *lines; int64_t retention, roll; } rows[] = {
		{"", 604800000, 604800000}, {"log.retention.hours=1", 3600000, 604800000}, {"log.retention.minutes=2\nlog.retention.hours=1", 120000, 604800000},
		{"log.retention.ms=3\nlog.retention.minutes=2", 3, 604800000}, {"log.retention.ms=-1", -1, 604800000}, {"log.retention.hours=-1", -1, 604800000},
		{"log.roll.hours=2", 604800000, 7200000}, {"log.roll.ms=9\nlog.roll.hours=2", 604800000, 9},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		CU_ASSERT_EQUAL_FATAL(parse_more(rows[i].lines), 0);
		CU_ASSERT_EQUAL(cfg->log.retention_ms, rows[i].retention);
		CU_ASSERT_EQUAL(cfg->log.segment_ms, rows[i].roll);
	}
	finish();
}

static void test_not_properties(void)
{
	CU_ASSERT_EQUAL(parse("broker.id=1\nbroker.rack=\\uZZZZ\n"), ERR_INVAL);
	CU_ASSERT(says(&problem, "broker.properties:2"));
	finish();
}

/* Every row of the table: its default passes its own type and bounds. */
static void test_table(void)
{
	CU_ASSERT(broker_key_count > 150);
	for (uint32_t i = 0; i < broker_key_count; i++) {
		const struct config_key *k = &broker_keys[i];
		int64_t n;
		double d;
		bool b;
		CU_ASSERT_PTR_EQUAL(broker_key_find(k->name), k); /* no name twice */
		CU_ASSERT(k->doc && *k->doc);
		if (!k->default_value)
			continue;
		bool good = true;
		if (k->type == CONFIG_INT || k->type == CONFIG_LONG || k->type == CONFIG_SHORT)
			good = str_to_i64(k->default_value, &n) == 0 && n >= k->least && n <= k->greatest;
		else if (k->type == CONFIG_DOUBLE)
			good = str_to_double(k->default_value, &d) == 0;
		else if (k->type == CONFIG_BOOLEAN)
			good = str_to_bool(k->default_value, &b) == 0;
		CU_ASSERT(good);
		if (!good)
			printf("    %s\n", k->name);
	}
	CU_ASSERT_PTR_NULL(broker_key_find("no.such.key"));
	for (uint32_t i = 0; i < broker_hello_key_count; i++)
		CU_ASSERT_PTR_NOT_NULL(broker_key_find(broker_hello_keys[i]));
	CU_ASSERT_EQUAL_FATAL(parse(BASE), 0);
	bool is_static;
	CU_ASSERT_STRING_EQUAL(broker_config_value(cfg, broker_key_find("broker.id"), &is_static), "1");
	CU_ASSERT(is_static);
	CU_ASSERT_STRING_EQUAL(broker_config_value(cfg, broker_key_find("num.partitions"), &is_static), "1");
	CU_ASSERT_FALSE(is_static);
	finish();
}

/* ---- what is in force ---- */

/* An image after `im` (given up) in which broker 1 or all brokers (id < 0) have these configs: key, value, ..., NULL. */
static struct image *with_configs(struct image *im, const char *entity, const char *const *pairs)
{
	Klamm__Control__ConfigEntry rows[8], *ptrs[8];
	Klamm__Control__EntityConfig e, *pe = &e;
	Klamm__Control__Changes ch;
	struct image_changes changes;
	struct image *next = NULL;
	klamm__control__changes__init(&ch);
	klamm__control__entity_config__init(&e);
	e.entity = (char *)(uintptr_t)entity;
	e.config = ptrs;
	for (; pairs[0]; pairs += 2) {
		Klamm__Control__ConfigEntry *r = &rows[e.n_config];
		klamm__control__config_entry__init(r);
		r->key = (char *)(uintptr_t)pairs[0];
		r->value = (char *)(uintptr_t)pairs[1];
		ptrs[e.n_config++] = r;
	}
	ch.configs = &pe;
	ch.n_configs = 1;
	CU_ASSERT_EQUAL_FATAL(image_apply(im, 1, image_seq(im) + 1, &ch, &next, &changes), 0);
	image_changes_free(&changes);
	image_unref(im);
	return next;
}

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* This broker's own, then the cluster's, then the file, then the default; the names of one setting stand in for each other. */
static void test_running(void)
{
	struct image *im = image_empty();
	CU_ASSERT_EQUAL_FATAL(parse_more("log.retention.hours=1\nmessage.max.bytes=500"), 0);
	struct running_seat seat = {.file = cfg};
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.retention_ms, 3600000);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.max_message_bytes, 500);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.segment_bytes, 1073741824);
	im = with_configs(im, "brokers/<default>", PAIRS("log.retention.ms", "7", "message.max.bytes", " 600 ", "max.connections", "9"));
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.retention_ms, 7);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.max_message_bytes, 600);
	CU_ASSERT_EQUAL(running_of(&seat, im)->max_connections, 9);
	im = with_configs(im, "brokers/1", PAIRS("log.retention.ms", "8", "log.message.timestamp.type", "LogAppendTime"));
	im = with_configs(im, "brokers/2", PAIRS("log.segment.bytes", "999")); /* another broker's */
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.retention_ms, 8);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.max_message_bytes, 600);
	CU_ASSERT(running_of(&seat, im)->log.log_append_time);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.segment_bytes, 1073741824);
	/* what ZooKeeper should not have: no number, out of bounds, not dynamic, no key */
	im = with_configs(im, "brokers/1", PAIRS("log.retention.ms", "x", "log.segment.bytes", "3", "log.retention.hours", "9", "no.such.key", "1"));
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.retention_ms, 7);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.segment_bytes, 1073741824);
	im = with_configs(im, "brokers/1", PAIRS(NULL));
	im = with_configs(im, "brokers/<default>", PAIRS(NULL));
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.retention_ms, 3600000);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.max_message_bytes, 500);
	struct image *old = image_empty(); /* a request that carries an older image does not bring old values back */
	CU_ASSERT_EQUAL(running_of(&seat, old)->version, image_configs_version(im));
	running_seat_fini(&seat);
	image_unref(old);
	image_unref(im);
	finish();
}

/* Kafka parses and shows the result; pairs as Kafka 3.9.1 answered them. */
static void test_as_parsed(void)
{
	static const struct { enum config_type type; const char *value, *shown; } rows[] = {
		{CONFIG_BOOLEAN, " TRUE ", "true"}, {CONFIG_BOOLEAN, " False", "false"}, {CONFIG_BOOLEAN, "yes", "yes"},
		{CONFIG_LONG, " 5 ", "5"}, {CONFIG_LONG, "+5", "5"}, {CONFIG_LONG, "007", "7"}, {CONFIG_LONG, "-0", "0"}, {CONFIG_INT, "x", "x"}, {CONFIG_LONG, "", ""},
		{CONFIG_LONG, "-9223372036854775808", "-9223372036854775808"},
		{CONFIG_LIST, "delete , compact", "delete,compact"}, {CONFIG_LIST, " ", ""}, {CONFIG_LIST, "0:1,", "0:1,"}, {CONFIG_LIST, ",0:1", ",0:1"}, {CONFIG_LIST, " a ", "a"},
		{CONFIG_STRING, " CreateTime ", "CreateTime"}, {CONFIG_CLASS, " a.B", "a.B"}, {CONFIG_PASSWORD, "s ", "s"},
		{CONFIG_DOUBLE, "0.50", "0.5"}, {CONFIG_DOUBLE, " .5 ", "0.5"}, {CONFIG_DOUBLE, "5e-1", "0.5"}, {CONFIG_DOUBLE, "0.5f", "0.5"}, {CONFIG_DOUBLE, "1", "1.0"},
		{CONFIG_DOUBLE, "1e-5", "1.0E-5"}, {CONFIG_DOUBLE, "0.1234567890123456789", "0.12345678901234568"}, {CONFIG_DOUBLE, "0", "0.0"}, {CONFIG_DOUBLE, "0.001", "0.001"},
		{CONFIG_DOUBLE, "0.00025", "2.5E-4"}, {CONFIG_DOUBLE, "9999999", "9999999.0"}, {CONFIG_DOUBLE, "10000000", "1.0E7"}, {CONFIG_DOUBLE, "1500.25", "1500.25"},
		{CONFIG_DOUBLE, "-20", "-20.0"}, {CONFIG_DOUBLE, "1.7976931348623157E308", "1.7976931348623157E308"}, {CONFIG_DOUBLE, "half", "half"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str got = {0};
		config_value_normal(rows[i].type, rows[i].value, &got);
		bool good = !strcmp(str_cstr(&got), rows[i].shown);
		CU_ASSERT(good);
		if (!good)
			printf("    `%s` became `%s`, not `%s`\n", rows[i].value, str_cstr(&got), rows[i].shown);
		str_fini(&got);
	}
	/* append and subtract, as java.lang.String splits */
	static const struct { const char *list, *more, *appended, *subtracted; } lists[] = {
		{"a,b", "c", "a,b,c", "a,b"}, {"a,b", "b,a", "a,b", ""}, {"", "a", "a", ""}, {"a", "", "a,", "a"}, {"a,,", ",", "a", "a"}, {"", "", "", ""},
		{"a,a,b", "a", "a,a,b", "a,b"}, {"a, b", "b", "a, b,b", "a, b"}, {"a", "c,c", "a,c,c", "a"}, {",a", "", ",a", "a"}, {",", "a", "a", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct str more = {0}, less = {0};
		config_list_append(&more, lists[i].list, lists[i].more);
		config_list_subtract(&less, lists[i].list, lists[i].more);
		bool good = !strcmp(str_cstr(&more), lists[i].appended) && !strcmp(str_cstr(&less), lists[i].subtracted);
		CU_ASSERT(good);
		if (!good)
			printf("    `%s`, `%s`: `%s`, `%s`\n", lists[i].list, lists[i].more, str_cstr(&more), str_cstr(&less));
		str_fini(&more);
		str_fini(&less);
	}
	CU_ASSERT(config_value_same(CONFIG_STRING, "producer ", "producer"));
	CU_ASSERT(config_value_same(CONFIG_DOUBLE, "1", "1.00"));
	CU_ASSERT_FALSE(config_value_same(CONFIG_LONG, "x", "x")); /* is no setting at all */
}

/* What Kafka takes in spite of blanks and capitals takes effect. */
static void test_running_blanks(void)
{
	struct image *im = with_configs(image_empty(), "brokers/<default>",
		PAIRS("log.message.timestamp.type", " LogAppendTime ", "log.message.downconversion.enable", "FALSE", "message.max.bytes", " +700"));
	struct image_config over[] = {{(char *)(uintptr_t)"message.downconversion.enable", (char *)(uintptr_t)" True"}, {(char *)(uintptr_t)"message.timestamp.type", (char *)(uintptr_t)" CreateTime"}};
	struct image_topic t = {.name = (char *)(uintptr_t)"t", .config = over, .config_count = ARRAY_LEN(over)};
	struct log_config l;
	CU_ASSERT_EQUAL_FATAL(parse(BASE), 0);
	struct running_seat seat = {.file = cfg};
	CU_ASSERT(running_of(&seat, im)->log.log_append_time);
	CU_ASSERT_FALSE(running_of(&seat, im)->log.downconversion);
	CU_ASSERT_EQUAL(running_of(&seat, im)->log.max_message_bytes, 700);
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT(l.downconversion);
	CU_ASSERT_FALSE(l.log_append_time);
	running_seat_fini(&seat);
	image_unref(im);
	finish();
}

static void test_running_topic(void)
{
	struct image *im = with_configs(image_empty(), "brokers/<default>", PAIRS("log.segment.bytes", "5000", "log.message.timestamp.difference.max.ms", "60"));
	struct image_config over[] = {{(char *)(uintptr_t)"cleanup.policy", (char *)(uintptr_t)""}, {(char *)(uintptr_t)"message.timestamp.after.max.ms", (char *)(uintptr_t)"5"},
		{(char *)(uintptr_t)"retention.ms", (char *)(uintptr_t)"11"}, {(char *)(uintptr_t)"segment.bytes", (char *)(uintptr_t)"no"}};
	struct image_topic t = {.name = (char *)(uintptr_t)"t", .config = over, .config_count = ARRAY_LEN(over)};
	struct log_config l;
	CU_ASSERT_EQUAL_FATAL(parse(BASE), 0);
	struct running_seat seat = {.file = cfg};
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT_EQUAL(l.retention_ms, 11);
	CU_ASSERT_EQUAL(l.segment_bytes, 5000); /* what does not parse keeps the broker's value */
	CU_ASSERT_FALSE(l.cleanup_delete || l.cleanup_compact);
	CU_ASSERT_EQUAL(l.timestamp_before_max_ms, 60); /* the old key, where the newer one is not set */
	CU_ASSERT_EQUAL(l.timestamp_after_max_ms, 5);
	running_seat_fini(&seat);
	image_unref(im);
	finish();
}

/* compression.type and the levels: the topic's, the broker's, as sent; what compress.h is told. */
static void test_running_codec(void)
{
	struct image *im = with_configs(image_empty(), "brokers/<default>", PAIRS("compression.type", " zstd ", "compression.zstd.level", "-7"));
	struct image_config over[] = {{(char *)(uintptr_t)"compression.type", (char *)(uintptr_t)"gzip "}, {(char *)(uintptr_t)"compression.gzip.level", (char *)(uintptr_t)"9"}};
	struct image_topic t = {.name = (char *)(uintptr_t)"t"};
	struct log_config l;
	CU_ASSERT_EQUAL_FATAL(parse(BASE), 0);
	struct running_seat seat = {.file = cfg};
	running_log_defaults(cfg, NULL, &l);
	CU_ASSERT_EQUAL(l.codec, LOG_CODEC_PRODUCER);
	CU_ASSERT_EQUAL(log_config_level(&l, CODEC_GZIP), COMPRESS_LEVEL_DEFAULT);
	CU_ASSERT_EQUAL(log_config_level(&l, CODEC_LZ4), COMPRESS_LEVEL_DEFAULT); /* Kafka's 9 is its fast one */
	CU_ASSERT_EQUAL(log_config_level(&l, CODEC_ZSTD), 3);
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT_EQUAL(l.codec, CODEC_ZSTD);
	CU_ASSERT_EQUAL(log_config_level(&l, l.codec), -7);
	t.config = over;
	t.config_count = ARRAY_LEN(over);
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT_EQUAL(l.codec, CODEC_GZIP);
	CU_ASSERT_EQUAL(log_config_level(&l, l.codec), 9);
	over[0].value = (char *)(uintptr_t)"uncompressed";
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT_EQUAL(l.codec, CODEC_NONE);
	over[0].value = (char *)(uintptr_t)"producer";
	running_topic_log(&seat, im, &t, &l);
	CU_ASSERT_EQUAL(l.codec, LOG_CODEC_PRODUCER);
	running_seat_fini(&seat);
	image_unref(im);
	finish();
}

static void test_modes(void)
{
	CU_ASSERT_EQUAL(broker_key_mode(broker_key_find("listeners")), CONFIG_PER_BROKER);
	CU_ASSERT_EQUAL(broker_key_mode(broker_key_find("log.retention.ms")), CONFIG_CLUSTER_WIDE);
	CU_ASSERT_EQUAL(broker_key_mode(broker_key_find("log.retention.hours")), CONFIG_READ_ONLY);
	CU_ASSERT(broker_key_live(broker_key_find("message.max.bytes")));
	CU_ASSERT_FALSE(broker_key_live(broker_key_find("num.io.threads")));
	uint32_t dynamic = 0;
	for (uint32_t i = 0; i < broker_key_count; i++) {
		struct str why = {0};
		dynamic += broker_key_mode(&broker_keys[i]) != CONFIG_READ_ONLY;
		if (broker_keys[i].default_value)
			CU_ASSERT_EQUAL(broker_key_check(&broker_keys[i], broker_keys[i].default_value, &why), 0);
		str_fini(&why);
	}
	CU_ASSERT_EQUAL(dynamic, 92); /* as many as have a row of their own: no name is misspelt */
}

UNIT_MAIN("config", {"base", test_base}, {"syntax", test_syntax}, {"unknown_key", test_unknown_key}, {"bad_values", test_bad_values},
	{"what_must_be_set", test_what_must_be_set}, {"id", test_id}, {"security_refused", test_security_refused}, {"no_effect", test_no_effect},
	{"listeners", test_listeners}, {"overrides", test_overrides}, {"times", test_times}, {"not_properties", test_not_properties}, {"table", test_table},
	{"running", test_running}, {"as_parsed", test_as_parsed}, {"running_blanks", test_running_blanks}, {"running_topic", test_running_topic}, {"running_codec", test_running_codec}, {"modes", test_modes})
