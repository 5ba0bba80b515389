/* fuzz_zkdata.c: libFuzzer target for what others write to ZooKeeper: the first byte chooses the kind of node, the rest is its content.
 * What decodes is encoded and must decode again to the same text.
 */
#include <string.h>

#include "common/base/check.h"
#include "common/zk/zkdata.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Decode, encode, decode, encode: both texts equal. */
#define ROUND(type, name) \
	do { \
		struct type x, y; \
		if (name##_decode(data, &a, &x) == 0) { \
			name##_encode(&one, &x); \
			ASSERT(name##_decode(slice_make(str_cstr(&one), one.len), &a, &y) == 0); \
			name##_encode(&two, &y); \
		} \
	} while (0)
#define ROUND_FLAT(type, name) \
	do { \
		struct type x, y; \
		if (name##_decode(data, &x) == 0) { \
			name##_encode(&one, &x); \
			ASSERT(name##_decode(slice_make(str_cstr(&one), one.len), &y) == 0); \
			name##_encode(&two, &y); \
		} \
	} while (0)

static void paths(struct slice data, struct arena *a)
{
	const char *name;
	char *text = arena_strndup(a, (const char *)data.ptr, data.len);
	int64_t seq;
	int32_t id;
	struct zkd_entity e;
	if (zkp_parse_state(a, text, &name, &id) == 0)
		ASSERT(zkp_state(a, name, id) && id >= 0);
	if (zkp_id(text, &id) == 0)
		ASSERT(id >= 0);
	(void)!zkp_sequence(text, ZKP_CONFIG_CHANGE_PREFIX, &seq);
	if (zkp_unsanitise(a, data, &name) == 0)
		ASSERT(zkp_sanitise(a, name));
	if (zkp_entity_parse(a, data, &e) == 0)
		ASSERT(zkp_entity(a, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (len < 1)
		return 0;
	struct slice data = slice_make(bytes + 1, len - 1);
	struct arena a;
	struct str one, two;
	struct zkd_log_dir_event event;
	int32_t number;
	const char *text;
	arena_init(&a, 0);
	str_init(&one);
	str_init(&two);
	switch (bytes[0] % 20) {
	case 0: ROUND(zkd_broker, zkd_broker); break;
	case 1: ROUND(zkd_topic, zkd_topic); break;
	case 2: ROUND(zkd_state, zkd_state); break;
	case 3: ROUND(zkd_controller, zkd_controller); break;
	case 4: (void)!zkd_epoch_decode(data, &number); break;
	case 5: (void)!zkd_cluster_id_decode(data, &a, &text); break;
	case 6: ROUND(zkd_feature, zkd_feature); break;
	case 7: ROUND(zkd_config, zkd_config); break;
	case 8: ROUND(zkd_entity, zkd_config_change); break;
	case 9: ROUND(zkd_partition_list, zkd_reassign); break;
	case 10: ROUND(zkd_partition_list, zkd_partitions); break;
	case 11: (void)!zkd_log_dir_event_decode(data, &event); break;
	case 12: ROUND_FLAT(zkd_producer_ids, zkd_producer_ids); break;
	case 13: ROUND_FLAT(zkd_klamm_broker, zkd_klamm_broker); break;
	case 14: ROUND(zkd_deleted, zkd_deleted); break;
	case 15: (void)!zkd_lineage_decode(data, &number); break;
	case 16: ROUND(zkd_journal, zkd_journal); break;
	case 17: ROUND(zkd_status_broker, zkd_status_broker); break;
	case 18: ROUND(zkd_klamm_controller, zkd_klamm_controller); break;
	default: paths(data, &a); break;
	}
	ASSERT(one.len == two.len && (one.len == 0 || memcmp(one.ptr, two.ptr, one.len) == 0));
	str_fini(&one);
	str_fini(&two);
	arena_fini(&a);
	return 0;
}
