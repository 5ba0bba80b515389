/* test_zkdata.c: paths and JSON codecs of all znodes; Kafka's own content as recorded (tests/golden/znodes-golden.txt); damage. */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/rng.h"
#include "common/zk/zkdata.h"

#define TOPIC_ID "hX0cVw6tTgqzPOIZBl4k9Q"

/* Decodes as the kind that the path tells and encodes again. ERR_UNSUPPORTED: not a path of ours. */
static int recode(struct arena *a, const char *path, struct slice data, struct str *out)
{
	int err = ERR_UNSUPPORTED;
	const char *topic;
	int32_t partition;
#define STARTS(p) (!strncmp(path, p, strlen(p)))
#define CODEC(type, name) \
	do { \
		struct type v; \
		err = name##_decode(data, a, &v); \
		if (err == 0) \
			name##_encode(out, &v); \
		return err; \
	} while (0)
#define CODEC_PLAIN(type, name) \
	do { \
		struct type v; \
		err = name##_decode(data, &v); \
		if (err == 0) \
			name##_encode(out, &v); \
		return err; \
	} while (0)
	if (STARTS("/brokers/ids/"))
		CODEC(zkd_broker, zkd_broker);
	if (zkp_parse_state(a, path, &topic, &partition) == 0)
		CODEC(zkd_state, zkd_state);
	if (STARTS("/brokers/topics/"))
		CODEC(zkd_topic, zkd_topic);
	if (STARTS("/config/changes/"))
		CODEC(zkd_entity, zkd_config_change);
	if (STARTS("/config/"))
		CODEC(zkd_config, zkd_config);
	if (!strcmp(path, ZKP_CONTROLLER))
		CODEC(zkd_controller, zkd_controller);
	if (!strcmp(path, ZKP_FEATURE))
		CODEC(zkd_feature, zkd_feature);
	if (!strcmp(path, ZKP_REASSIGN))
		CODEC(zkd_partition_list, zkd_reassign);
	if (!strcmp(path, ZKP_PREFERRED_ELECTION))
		CODEC(zkd_partition_list, zkd_partitions);
	if (!strcmp(path, ZKP_PRODUCER_IDS))
		CODEC_PLAIN(zkd_producer_ids, zkd_producer_ids);
	if (STARTS("/klamm/brokers/"))
		CODEC_PLAIN(zkd_klamm_broker, zkd_klamm_broker);
	if (STARTS("/klamm/deleted/"))
		CODEC(zkd_deleted, zkd_deleted);
	if (STARTS("/klamm/journal/"))
		CODEC(zkd_journal, zkd_journal);
	if (STARTS("/klamm/status/brokers/"))
		CODEC(zkd_status_broker, zkd_status_broker);
	if (!strcmp(path, ZKP_KLAMM_STATUS_CONTROLLER))
		CODEC(zkd_status_controller, zkd_status_controller);
	if (!strcmp(path, ZKP_CLUSTER_ID)) {
		const char *id;
		err = zkd_cluster_id_decode(data, a, &id);
		if (err == 0)
			zkd_cluster_id_encode(out, id);
	} else if (!strcmp(path, ZKP_CONTROLLER_EPOCH)) {
		int32_t epoch;
		err = zkd_epoch_decode(data, &epoch);
		if (err == 0)
			zkd_epoch_encode(out, epoch);
	} else if (!strcmp(path, ZKP_KLAMM_LINEAGE)) {
		int32_t epoch;
		err = zkd_lineage_decode(data, &epoch);
		if (err == 0)
			zkd_lineage_encode(out, epoch);
	} else if (STARTS(ZKP_LOG_DIR_EVENTS "/")) {
		struct zkd_log_dir_event e;
		err = zkd_log_dir_event_decode(data, &e);
		if (err == 0)
			str_printf(out, "{\"version\":1,\"broker\":%d,\"event\":%d}", e.broker, e.event);
	}
	return err;
}

/* What our encoder writes for each node: decoding and encoding gives the same bytes. */
static const struct {
	const char *path, *json;
} own[] = {
	{"/brokers/ids/1", "{\"version\":5,\"host\":\"h1\",\"port\":9092,\"jmx_port\":-1,\"timestamp\":\"1690000000000\","
			   "\"endpoints\":[\"SSL://h1:9093\",\"IN://h1:9092\",\"V6://[fe80::1]:7\"],"
			   "\"listener_security_protocol_map\":{\"SSL\":\"SSL\",\"IN\":\"PLAINTEXT\",\"V6\":\"SSL\"},\"rack\":\"r \\\"1\\\"\","
			   "\"features\":{\"f\":{\"min_version\":1,\"max_version\":3}}}"},
	{"/brokers/ids/2", "{\"version\":5,\"host\":null,\"port\":-1,\"jmx_port\":9,\"timestamp\":\"1\",\"endpoints\":[\"SSL://h1:9093\"],"
			   "\"listener_security_protocol_map\":{\"SSL\":\"SSL\"},\"features\":{}}"},
	{"/brokers/topics/t", "{\"version\":3,\"partitions\":{\"0\":[2,3,1],\"1\":[2,1],\"10\":[1]},\"adding_replicas\":{\"0\":[2,3]},"
			      "\"removing_replicas\":{\"0\":[1]},\"topic_id\":\"" TOPIC_ID "\"}"},
	{"/brokers/topics/t", "{\"version\":3,\"partitions\":{},\"adding_replicas\":{},\"removing_replicas\":{}}"},
	{"/brokers/topics/t/partitions/0/state", "{\"version\":1,\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1,2]}"},
	{"/brokers/topics/t/partitions/0/state",
	 "{\"version\":1,\"leader\":-1,\"leader_epoch\":7,\"controller_epoch\":3,\"isr\":[1],\"leader_recovery_state\":1,"
	 "\"klamm\":{\"elr\":[2],\"lossy\":[1,3]}}"},
	{"/controller", "{\"version\":2,\"brokerid\":1,\"timestamp\":\"1690000000000\",\"kraftControllerEpoch\":-1}"},
	{"/controller", "{\"version\":2,\"brokerid\":1,\"timestamp\":\"1690000000000\",\"kraftControllerEpoch\":-1,"
			"\"klamm\":{\"id\":100,\"host\":\"127.0.0.1\",\"port\":9190,\"version\":\"0.1.0\",\"incarnation\":\"00ff00ff12345678\"}}"},
	{"/controller_epoch", "2147483647"},
	{"/controller_epoch", "0"},
	{"/cluster/id", "{\"version\":\"1\",\"id\":\"0F6ZK2J9SpGqUvEKcdI2Pw\"}"},
	{"/feature", "{\"version\":2,\"status\":1,\"features\":{}}"},
	{"/feature", "{\"version\":1,\"status\":0,\"features\":{\"f\":{\"min_version_level\":1,\"max_version_level\":3}}}"},
	{"/config/topics/t", "{\"version\":1,\"config\":{\"z\":\"1\",\"a\":\"\",\"m\":\"\\u0001\\\\\xc3\xa4\"}}"},
	{"/config/changes/config_change_0000000001", "{\"version\":2,\"entity_path\":\"users/a%20b%2Ac/clients/<default>\"}"},
	{"/admin/reassign_partitions", "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[3,4]},"
				       "{\"topic\":\"t\",\"partition\":1,\"replicas\":[]}]}"},
	{"/admin/preferred_replica_election", "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0}]}"},
	{"/latest_producer_id_block", "{\"version\":1,\"broker\":1,\"block_start\":\"9223372036854774000\",\"block_end\":\"9223372036854774999\"}"},
	{"/log_dir_event_notification/log_dir_event_0000000000", "{\"version\":1,\"broker\":1,\"event\":1}"},
	{"/klamm/brokers/1", "{\"version\":1,\"boot_epoch\":4294967297}"},
	{"/klamm/deleted/" TOPIC_ID, "{\"version\":1,\"topic\":\"t\",\"partitions\":{\"0\":[1,2],\"1\":[]}}"},
	{"/klamm/lineage", "{\"version\":1,\"epoch\":12}"},
	{"/klamm/journal/7", "{\"version\":1,\"epoch\":2,\"seq\":263,\"nodes\":[\"/brokers/topics/t/partitions/0/state\",\"/controller\"]}"},
	{"/klamm/status/brokers/1", "{\"version\":1,\"state\":\"running\",\"reason\":\"\",\"incarnation\":\"000000000000002a\",\"led\":3,"
				    "\"under_replicated\":1,\"offline\":0,\"bytes\":123456789012,\"max_lag\":5,\"updated_ms\":1690000000000}"},
	{"/klamm/status/controller", "{\"version\":1,\"id\":100,\"epoch\":4,\"state\":\"active\",\"last_failover\":null,\"updated_ms\":1}"},
	{"/klamm/status/controller", "{\"version\":1,\"id\":100,\"epoch\":4,\"state\":\"active\",\"last_failover\":{\"broker\":2,\"reason\":\"link closed\","
				     "\"partitions\":10,\"took_ms\":312},\"updated_ms\":1}"},
};
#define OWN_COUNT (sizeof(own) / sizeof(own[0]))

static void test_round_trip(void)
{
	struct arena a;
	struct str out;
	arena_init(&a, 0);
	str_init(&out);
	for (size_t i = 0; i < OWN_COUNT; i++) {
		str_clear(&out);
		CU_ASSERT_EQUAL(recode(&a, own[i].path, slice_str(own[i].json), &out), 0);
		CU_ASSERT_STRING_EQUAL(str_cstr(&out), own[i].json);
		if (strcmp(str_cstr(&out), own[i].json) != 0)
			printf("    %s\n    %s\n", own[i].json, str_cstr(&out));
		arena_reset(&a);
	}
	arena_fini(&a);
	str_fini(&out);
}

/* Each cut and each changed byte: an error or a value that survives its own round trip, never a crash. */
static void test_damage(void)
{
	struct arena a;
	struct str out, again;
	struct rng r;
	uint8_t text[1024];
	arena_init(&a, 0);
	str_init(&out);
	str_init(&again);
	rng_init(&r, 7);
	for (size_t i = 0; i < OWN_COUNT; i++) {
		size_t len = strlen(own[i].json);
		CU_ASSERT_FATAL(len < sizeof(text));
		bool number = !strcmp(own[i].path, ZKP_CONTROLLER_EPOCH);
		for (size_t cut = 1; cut < len && !number; cut++)
			CU_ASSERT_EQUAL(recode(&a, own[i].path, slice_make(own[i].json, cut), &out), ERR_CORRUPT);
		for (int k = 0; k < 3000; k++) {
			memcpy(text, own[i].json, len);
			for (uint64_t n = 1 + rng_below(&r, 3); n > 0; n--)
				text[rng_below(&r, len)] = rng_chance(&r, 0.5) ? (uint8_t)rng_u64(&r) : (uint8_t)"{}[]\":,0-1e.\\u"[rng_below(&r, 14)];
			str_clear(&out);
			str_clear(&again);
			int err = recode(&a, own[i].path, slice_make(text, len), &out);
			CU_ASSERT(err == 0 || err == ERR_CORRUPT || err == ERR_UNSUPPORTED);
			if (err == 0) {
				CU_ASSERT_EQUAL(recode(&a, own[i].path, slice_str(str_cstr(&out)), &again), 0);
				CU_ASSERT_STRING_EQUAL(str_cstr(&out), str_cstr(&again));
			}
			arena_reset(&a);
		}
	}
	arena_fini(&a);
	str_fini(&out);
	str_fini(&again);
}

static void test_garbage(void)
{
	static const struct {
		const char *path, *json;
	} bad[] = {
		{"/controller", ""}, {"/controller", "x"}, {"/controller", "[]"}, {"/controller", "null"}, {"/controller", "{}"}, {"/controller", "{\"brokerid\":\"1\"}"},
		{"/controller", "{\"brokerid\":1}x"}, {"/controller", "{\"brokerid\":1.0}"}, {"/controller", "{\"brokerid\":99999999999}"},
		{"/controller", "{\"brokerid\":1,\"klamm\":{}}"}, {"/controller", "{\"brokerid\":1,\"klamm\":[]}"}, {"/controller", "{\"brokerid\":1,\"timestamp\":\"x\"}"},
		{"/controller", "{\"brokerid\":1,\"kraftControllerEpoch\":99999999999999999999}"},
		{"/controller", "{\"brokerid\":1,\"klamm\":{\"id\":1,\"host\":\"\xff\",\"port\":1,\"version\":\"\"}}"},
		{"/controller_epoch", ""}, {"/controller_epoch", "-1"}, {"/controller_epoch", "1 "}, {"/controller_epoch", "2147483648"}, {"/controller_epoch", "01"},
		{"/cluster/id", "{\"version\":\"1\",\"id\":\"\"}"}, {"/cluster/id", "{\"version\":\"1\",\"id\":7}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[]}"}, {"/brokers/ids/1", "{\"version\":0,\"host\":\"h\",\"port\":1}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"h:1\"]}"}, {"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://h\"]}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://::1:9\"]}"}, {"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://h:65536\"]}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://h:x\"]}"}, {"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://[::1:9\"]}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[7]}"}, {"/brokers/ids/1", "{\"version\":1,\"host\":null,\"port\":1}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://h:1\"],\"listener_security_protocol_map\":{\"B\":\"SSL\"}}"},
		{"/brokers/ids/1", "{\"version\":5,\"endpoints\":[\"A://h:1\"],\"features\":{\"f\":1}}"},
		{"/brokers/topics/t", "{\"partitions\":{\"0\":[]}}"}, {"/brokers/topics/t", "{\"partitions\":{\"0\":[1,1]}}"}, {"/brokers/topics/t", "{\"partitions\":{\"-1\":[1]}}"},
		{"/brokers/topics/t", "{\"partitions\":{\"00\":[1]}}"}, {"/brokers/topics/t", "{\"partitions\":{\"a\":[1]}}"}, {"/brokers/topics/t", "{\"partitions\":[]}"},
		{"/brokers/topics/t", "{\"partitions\":{\"0\":[-1]}}"}, {"/brokers/topics/t", "{\"partitions\":{\"0\":1}}"}, {"/brokers/topics/t", "{\"version\":3}"},
		{"/brokers/topics/t", "{\"partitions\":{\"0\":[1]},\"topic_id\":\"short\"}"}, {"/brokers/topics/t", "{\"partitions\":{\"0\":[1]},\"adding_replicas\":[]}"},
		{"/brokers/topics/t", "{\"partitions\":{\"0\":[1]},\"topic_id\":\"AAAAAAAAAAAAAAAAAAAAAA\"}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":-2,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1,2]}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":-1,\"controller_epoch\":3,\"isr\":[1,2]}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1,2,1]}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1],\"klamm\":{\"elr\":[\"1\"]}}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1],\"klamm\":5}"},
		{"/brokers/topics/t/partitions/0/state", "{\"leader\":1,\"leader_epoch\":0,\"controller_epoch\":3,\"isr\":[1],\"leader_recovery_state\":2}"},
		{"/config/topics/t", ""}, {"/config/topics/t", "[]"}, {"/config/topics/t", "{\"version\":1,\"config\":{\"a\":1}}"},
		{"/config/topics/t", "{\"version\":1,\"config\":{\"a\":\"\\u0000\"}}"},
		{"/config/changes/c", "{\"version\":3,\"entity_path\":\"topics/t\"}"}, {"/config/changes/c", "{\"version\":2,\"entity_path\":\"topics\"}"},
		{"/config/changes/c", "{\"version\":2,\"entity_path\":\"topics/\"}"}, {"/config/changes/c", "{\"version\":2,\"entity_path\":\"topics/a/b\"}"},
		{"/config/changes/c", "{\"version\":2,\"entity_path\":\"users/%2\"}"}, {"/config/changes/c", "{\"version\":2,\"entity_path\":\"users/%00\"}"},
		{"/config/changes/c", "{\"version\":2,\"entity_path\":\"users/a/clients\"}"}, {"/config/changes/c", "{\"version\":2,\"entity_path\":\"topics/<default>\"}"},
		{"/config/changes/c", "{\"version\":2,\"entity_path\":\"users/a/clients/b/c\"}"}, {"/config/changes/c", "{\"version\":2,\"entity_path\":\"\"}"},
		{"/config/changes/c", "{\"version\":1,\"entity_type\":\"topics\"}"},
		{"/admin/reassign_partitions", "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0}]}"},
		{"/admin/reassign_partitions", "{\"version\":1,\"partitions\":[7]}"}, {"/admin/reassign_partitions", "{\"partitions\":{}}"},
		{"/admin/preferred_replica_election", "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":-1}]}"},
		{"/latest_producer_id_block", "{\"version\":1,\"broker\":1,\"block_start\":\"10\",\"block_end\":\"9\"}"},
		{"/latest_producer_id_block", "{\"version\":1,\"broker\":1,\"block_start\":\"a\",\"block_end\":\"9\"}"},
		{"/klamm/brokers/1", "{\"version\":1}"}, {"/klamm/lineage", "{\"epoch\":-1}"}, {"/klamm/deleted/x", "{\"topic\":\"t\"}"},
		{"/klamm/journal/0", "{\"epoch\":1,\"seq\":1,\"nodes\":[\"relative\"]}"}, {"/klamm/journal/0", "{\"epoch\":1,\"seq\":1,\"nodes\":[1]}"},
		{"/klamm/status/brokers/1", "{\"state\":\"x\",\"incarnation\":\"zz\"}"},
	};
	struct arena a;
	struct str out;
	arena_init(&a, 0);
	str_init(&out);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		bool no_block = !strcmp(bad[i].path, ZKP_PRODUCER_IDS) && !bad[i].json[0];
		int err = recode(&a, bad[i].path, slice_str(bad[i].json), &out);
		CU_ASSERT_EQUAL(err, no_block ? ERR_NOENT : ERR_CORRUPT);
		if (err != ERR_CORRUPT)
			printf("    %s %s: %d\n", bad[i].path, bad[i].json, err);
	}
	CU_ASSERT_EQUAL(out.len, 0);
	for (size_t i = 0; i < OWN_COUNT; i++)
		if (strcmp(own[i].path, ZKP_PRODUCER_IDS) != 0)
			CU_ASSERT_EQUAL(recode(&a, own[i].path, slice_make(NULL, 0), &out), ERR_CORRUPT);
	struct str wide = {0}; /* a name longer than any may be */
	str_add(&wide, "{\"version\":1,\"partitions\":[{\"partition\":0,\"topic\":\"");
	for (int i = 0; i <= ZKD_NAME_MAX; i++)
		str_add(&wide, "t");
	str_add(&wide, "\"}]}");
	CU_ASSERT_EQUAL(recode(&a, "/admin/preferred_replica_election", slice_make(wide.ptr, wide.len), &out), ERR_CORRUPT);
	str_fini(&wide);
	struct zkd_producer_ids p;
	CU_ASSERT_EQUAL(zkd_producer_ids_decode(slice_make(NULL, 0), &p), ERR_NOENT);
	/* nesting that would blow a stack, and more bytes than any node may have */
	char *deep = mem_alloc(100001);
	memset(deep, '[', 100000);
	memcpy(deep, "{\"partitions\":", 14);
	deep[100000] = 0;
	CU_ASSERT_EQUAL(recode(&a, "/brokers/topics/t", slice_str(deep), &out), ERR_CORRUPT);
	mem_free(deep);
	char *big = mem_alloc(ZKD_BYTES_MAX + 100);
	memset(big, ' ', ZKD_BYTES_MAX + 100);
	memcpy(big, "{\"brokerid\":1}", 14);
	CU_ASSERT_EQUAL(recode(&a, "/controller", slice_make(big, ZKD_BYTES_MAX + 1), &out), ERR_CORRUPT);
	CU_ASSERT_EQUAL(recode(&a, "/controller", slice_make(big, ZKD_BYTES_MAX), &out), 0);
	mem_free(big);
	arena_fini(&a);
	str_fini(&out);
}

static void test_old_versions(void)
{
	struct arena a;
	struct zkd_broker b;
	struct zkd_topic t;
	struct zkd_controller c;
	struct zkd_entity e;
	struct zkd_state s;
	arena_init(&a, 0);
	CU_ASSERT_EQUAL_FATAL(zkd_broker_decode(slice_str("{\"version\":1,\"host\":\"h\",\"port\":9092,\"jmx_port\":-1,\"new\":[{}]}"), &a, &b), 0);
	CU_ASSERT_EQUAL(b.endpoint_count, 1);
	CU_ASSERT_STRING_EQUAL(b.endpoints[0].protocol, "PLAINTEXT");
	CU_ASSERT_STRING_EQUAL(b.endpoints[0].host, "h");
	CU_ASSERT_EQUAL(b.endpoints[0].port, 9092);
	CU_ASSERT_PTR_NULL(b.rack);
	CU_ASSERT_EQUAL_FATAL(zkd_broker_decode(slice_str("{\"version\":3,\"endpoints\":[\"SSL://h:1\",\"PLAINTEXT://[::]:2\"],\"rack\":\"r\"}"), &a, &b), 0);
	CU_ASSERT_EQUAL(b.endpoint_count, 2);
	CU_ASSERT_STRING_EQUAL(b.endpoints[0].protocol, "SSL");
	CU_ASSERT_STRING_EQUAL(b.endpoints[1].host, "::");
	CU_ASSERT_STRING_EQUAL(b.rack, "r");
	CU_ASSERT_EQUAL_FATAL(zkd_topic_decode(slice_str("{\"version\":1,\"partitions\":{\"10\":[1],\"2\":[2,1],\"0\":[3]}}"), &a, &t), 0);
	CU_ASSERT_FALSE(t.has_topic_id);
	CU_ASSERT_EQUAL(t.partition_count, 3);
	CU_ASSERT_EQUAL(t.partitions[1].partition, 2);
	CU_ASSERT_EQUAL(t.partitions[1].replicas.ids[0], 2);
	CU_ASSERT_EQUAL(t.partitions[2].partition, 10);
	/* moves of partitions that are not there are passed over */
	CU_ASSERT_EQUAL(zkd_topic_decode(slice_str("{\"partitions\":{\"1\":[1]},\"adding_replicas\":{\"0\":[4],\"1\":[5]}}"), &a, &t), 0);
	CU_ASSERT_EQUAL(t.partitions[0].adding.count, 1);
	CU_ASSERT_EQUAL(t.partitions[0].adding.ids[0], 5);
	CU_ASSERT_EQUAL_FATAL(zkd_controller_decode(slice_str("{\"version\":1,\"brokerid\":3,\"timestamp\":\"17\"}"), &a, &c), 0);
	CU_ASSERT(c.brokerid == 3 && c.timestamp_ms == 17 && c.kraft_controller_epoch == -1 && !c.has_klamm);
	CU_ASSERT_EQUAL_FATAL(zkd_config_change_decode(slice_str("{\"version\":1,\"entity_type\":\"clients\",\"entity_name\":\"c%2A\"}"), &a, &e), 0);
	CU_ASSERT(e.kind == ZKD_ENTITY_CLIENT);
	CU_ASSERT_STRING_EQUAL(e.name, "c*");
	CU_ASSERT_EQUAL(zkd_config_change_decode(slice_str("{\"version\":2,\"entity_path\":\"client-metrics/x\"}"), &a, &e), ERR_UNSUPPORTED);
	CU_ASSERT_EQUAL_FATAL(zkd_state_decode(slice_str("{\"leader\":1,\"leader_epoch\":2,\"controller_epoch\":3,\"isr\":[],\"klamm\":{}}"), &a, &s), 0);
	CU_ASSERT(s.has_klamm && s.elr.count == 0 && s.isr.count == 0);
	arena_fini(&a);
}

/* Text with what the recorder replaced put back. */
static char *unmask(const char *line)
{
	static const struct {
		const char *mark, *text;
	} marks[] = {{"<MS>", "1690000000000"}, {"<CLUSTER-ID>", "0F6ZK2J9SpGqUvEKcdI2Pw"}, {"<TID-", TOPIC_ID}};
	struct str s;
	str_init(&s);
	for (const char *p = line; *p;) {
		size_t i = 0;
		while (i < 3 && strncmp(p, marks[i].mark, strlen(marks[i].mark)) != 0)
			i++;
		if (i < 3) {
			str_add(&s, marks[i].text);
			p = strchr(p, '>') + 1;
		} else {
			str_add_bytes(&s, p++, 1);
		}
	}
	return str_steal(&s);
}

static void test_golden(void)
{
	static const struct {
		const char *prefix;
		int count;
	} want[] = {{"/brokers/ids/", 5}, {"/brokers/topics/", 43}, {"/config/changes/", 39}, {"/config/", 80}, {"/controller", 4}, {"/cluster/id", 1},
		    {"/latest_producer_id_block", 1}};
	int got[7] = {0};
	struct arena a;
	struct str out, again;
	char line[4096];
	FILE *f = fopen(unit_golden("znodes-golden.txt"), "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	arena_init(&a, 0);
	str_init(&out);
	str_init(&again);
	while (fgets(line, sizeof(line), f)) {
		char path[512], version[32];
		int data_at = 0;
		char *p = line;
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(p, "+ ", 2) || !strncmp(p, "~ ", 2))
			p += 2;
		if (p[0] != '/')
			continue;
		if (sscanf(p, "%511s P %31s %n", path, version, &data_at) < 2 || !data_at)
			if (sscanf(p, "%511s E %31s %n", path, version, &data_at) < 2 || !data_at)
				if (sscanf(p, "%511s %31s %n", path, version, &data_at) < 2 || !data_at)
					continue;
		if (!strcmp(p + data_at, "null"))
			continue;
		char *data = unmask(p + data_at);
		str_clear(&out);
		str_clear(&again);
		int err = recode(&a, path, slice_str(data), &out);
		if (err != ERR_UNSUPPORTED) {
			CU_ASSERT_EQUAL(err, 0);
			CU_ASSERT_EQUAL(recode(&a, path, slice_str(str_cstr(&out)), &again), 0);
			CU_ASSERT_STRING_EQUAL(str_cstr(&out), str_cstr(&again));
			/* the same length: the same keys and values, only their order differs */
			CU_ASSERT_EQUAL(out.len, strlen(data));
			if (err != 0 || out.len != strlen(data))
				printf("    %s %s\n    %s\n", path, data, str_cstr(&out));
			for (size_t i = 0; i < 7; i++)
				if (!strncmp(path, want[i].prefix, strlen(want[i].prefix)))
					got[i]++;
		}
		mem_free(data);
		arena_reset(&a);
	}
	fclose(f);
	for (size_t i = 0; i < 7; i++) {
		CU_ASSERT_EQUAL(got[i], want[i].count);
		if (got[i] != want[i].count)
			printf("    %s: %d\n", want[i].prefix, got[i]);
	}
	arena_fini(&a);
	str_fini(&out);
	str_fini(&again);
}

static void test_paths(void)
{
	struct arena a;
	struct uuid id;
	const char *topic = NULL, *name = NULL;
	int32_t n = 0;
	int64_t seq = 0;
	arena_init(&a, 0);
	CU_ASSERT_STRING_EQUAL(zkp_broker(&a, 7), "/brokers/ids/7");
	CU_ASSERT_STRING_EQUAL(zkp_topic(&a, "t"), "/brokers/topics/t");
	CU_ASSERT_STRING_EQUAL(zkp_partitions(&a, "t"), "/brokers/topics/t/partitions");
	CU_ASSERT_STRING_EQUAL(zkp_partition(&a, "t", 3), "/brokers/topics/t/partitions/3");
	CU_ASSERT_STRING_EQUAL(zkp_state(&a, "t", 3), "/brokers/topics/t/partitions/3/state");
	CU_ASSERT_STRING_EQUAL(zkp_delete_topic(&a, "t"), "/admin/delete_topics/t");
	CU_ASSERT_STRING_EQUAL(zkp_config_topic(&a, "t"), "/config/topics/t");
	CU_ASSERT_STRING_EQUAL(zkp_config_change(&a), "/config/changes/config_change_");
	CU_ASSERT_STRING_EQUAL(zkp_config_change_node(&a, "x"), "/config/changes/x");
	CU_ASSERT_STRING_EQUAL(zkp_consumer_offset(&a, "g", "t", 0), "/consumers/g/offsets/t/0");
	CU_ASSERT_STRING_EQUAL(zkp_klamm_broker(&a, 1), "/klamm/brokers/1");
	CU_ASSERT_STRING_EQUAL(zkp_status_broker(&a, 1), "/klamm/status/brokers/1");
	CU_ASSERT_STRING_EQUAL(zkp_journal(&a, 256 * 5 + 3), "/klamm/journal/3");
	CU_ASSERT_EQUAL(uuid_parse(slice_str(TOPIC_ID), &id), 0);
	CU_ASSERT_STRING_EQUAL(zkp_deleted(&a, &id), "/klamm/deleted/" TOPIC_ID);

	CU_ASSERT(zkp_sequence("config_change_0000000042", ZKP_CONFIG_CHANGE_PREFIX, &seq) == 0 && seq == 42);
	CU_ASSERT(zkp_sequence("config_change_-2147483647", ZKP_CONFIG_CHANGE_PREFIX, &seq) == 0 && seq == -2147483647);
	CU_ASSERT_EQUAL(zkp_sequence("config_change_", ZKP_CONFIG_CHANGE_PREFIX, &seq), ERR_INVAL);
	CU_ASSERT_EQUAL(zkp_sequence("other_1", ZKP_CONFIG_CHANGE_PREFIX, &seq), ERR_INVAL);
	CU_ASSERT(zkp_id("12", &n) == 0 && n == 12);
	CU_ASSERT(zkp_id("0", &n) == 0 && n == 0);
	CU_ASSERT(zkp_id("", &n) < 0 && zkp_id("-1", &n) < 0 && zkp_id("01", &n) < 0 && zkp_id("x", &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a.b/partitions/12/state", &topic, &n) == 0 && n == 12);
	CU_ASSERT_STRING_EQUAL(topic, "a.b");
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a/partitions/x/state", &topic, &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a/partitions/state", &topic, &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics//partitions/0/state", &topic, &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a/partitions//state", &topic, &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a/partitions/0/stat", &topic, &n) < 0);
	CU_ASSERT(zkp_parse_state(&a, "/brokers/topics/a", &topic, &n) < 0);

	CU_ASSERT_STRING_EQUAL(zkp_sanitise(&a, "a b*c"), "a%20b%2Ac");
	CU_ASSERT_STRING_EQUAL(zkp_sanitise(&a, "x._-Z9~/\xc3\xa4"), "x._-Z9%7E%2F%C3%A4");
	CU_ASSERT(zkp_unsanitise(&a, slice_str("a%20b%2ac+d"), &name) == 0);
	CU_ASSERT_STRING_EQUAL(name, "a b*c d");
	CU_ASSERT_EQUAL(zkp_unsanitise(&a, slice_str("%zz"), &name), ERR_CORRUPT);
	CU_ASSERT_EQUAL(zkp_unsanitise(&a, slice_make("a%4142", 3), &name), ERR_CORRUPT); /* what lies behind it is not its */

	static const char *const entities[] = {"topics/t", "brokers/1", "brokers/<default>", "clients/c%20d", "users/u", "users/<default>/clients/<default>", "ips/10.0.0.1"};
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		struct zkd_entity e;
		CU_ASSERT_EQUAL(zkp_entity_parse(&a, slice_str(entities[i]), &e), 0);
		CU_ASSERT_STRING_EQUAL(zkp_entity(&a, &e), entities[i]);
		CU_ASSERT_STRING_EQUAL(zkp_config_entity(&a, &e), arena_printf(&a, "/config/%s", entities[i]));
	}
	arena_fini(&a);
}

/* Every node is created after its parent, none twice. */
static void test_base_paths(void)
{
	size_t n = 0;
	for (; zkp_base_paths[n]; n++) {
		const char *slash = strrchr(zkp_base_paths[n], '/');
		size_t parent = (size_t)(slash - zkp_base_paths[n]);
		bool found = parent == 0;
		for (size_t i = 0; i < n; i++) {
			CU_ASSERT_STRING_NOT_EQUAL(zkp_base_paths[i], zkp_base_paths[n]);
			found |= strlen(zkp_base_paths[i]) == parent && !strncmp(zkp_base_paths[i], zkp_base_paths[n], parent);
		}
		CU_ASSERT_TRUE(found);
	}
	CU_ASSERT(n > 20);
}

static void test_bad_text(void)
{
	struct arena a;
	struct str out;
	struct zkd_config c;
	const struct zkd_config_entry entries[] = {{"k\xff\xc0\x80", "\xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"}, {"ok\x7f", "\xe2\x82\xac\t\xf0\x9f\x98\x80"}};
	arena_init(&a, 0);
	str_init(&out);
	/* Kafka looks for "config" and at nothing else */
	static const struct {
		const char *json;
		size_t count;
	} lenient[] = {{"{\"config\":{\"a\":\"1\"}}", 1}, {"{\"version\":9,\"config\":{\"a\":\"1\",\"b\":\"\"}}", 2}, {"{\"version\":1}", 0}, {"{}", 0},
	               {"{\"version\":1,\"config\":[]}", 0}, {"{\"version\":1,\"config\":null}", 0}};
	for (size_t i = 0; i < sizeof(lenient) / sizeof(lenient[0]); i++) {
		CU_ASSERT_EQUAL_FATAL(zkd_config_decode(slice_str(lenient[i].json), &a, &c), 0);
		CU_ASSERT_EQUAL(c.count, lenient[i].count);
	}
	c = (struct zkd_config){entries, 2};
	zkd_config_encode(&out, &c);
	CU_ASSERT_EQUAL_FATAL(zkd_config_decode(slice_str(str_cstr(&out)), &a, &c), 0);
	CU_ASSERT_EQUAL(c.count, 2);
	CU_ASSERT_STRING_EQUAL(c.entries[0].key, "k\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	CU_ASSERT_STRING_EQUAL(zkd_config_get(&c, "ok\x7f"), "\xe2\x82\xac\t\xf0\x9f\x98\x80");
	CU_ASSERT_PTR_NULL(zkd_config_get(&c, "none"));
	arena_fini(&a);
	str_fini(&out);
}

UNIT_MAIN("zkdata", {"round_trip", test_round_trip}, {"damage", test_damage}, {"garbage", test_garbage}, {"old_versions", test_old_versions},
	  {"golden", test_golden}, {"paths", test_paths}, {"base_paths", test_base_paths}, {"bad_text", test_bad_text})
