/* running.h: the broker configuration in force: the file under the dynamic configs of an image.
 *
 * Strongest first, as in Kafka: this broker's own (/config/brokers/N), the cluster's default (/config/brokers/<default>), the file, Kafka's
 * default. A dynamic value that is none, or of a key that cannot be changed dynamically, is passed over: ZooKeeper may hold anything.
 * A `struct running` is immutable; each data loop has a seat that holds the one of the newest image it has seen, so nothing is shared.
 */
#pragma once

#include "brokerd/config/config.h"

enum config_source { CONFIG_FROM_BROKER = 2, CONFIG_FROM_CLUSTER = 3, CONFIG_FROM_FILE = 4, CONFIG_FROM_DEFAULT = 5 }; /* as on the wire */

/* What one source says about a key under that very name; NULL: nothing. im may be NULL: no dynamic configs. */
const char *running_value_of(const struct broker_config *cfg, const struct image *im, const char *key, enum config_source source);
/* The value in force of a setting, under whichever of its names. NULL: unset. Both outputs may be NULL. */
const char *running_value(const struct broker_config *cfg, const struct image *im, const char *key, const char **ret_name, enum config_source *ret_source);
/* The same as milliseconds or a number; what is not set is `unset`. */
int64_t running_ms(const struct broker_config *cfg, const struct image *im, const char *key, int64_t unset);

/* The values that topics start from. */
void running_log_defaults(const struct broker_config *cfg, const struct image *im, struct log_config *ret);

struct running {
	uint64_t version; /* image_configs_version that it was made from */
	struct log_config log;
	int64_t timestamp_before_max_ms, timestamp_after_max_ms, timestamp_difference_max_ms; /* as set; log has what comes of them */
	int32_t max_connections, max_connections_per_ip;
	char *per_ip_overrides; /* text, as config_next_ip_limit reads it */
};
struct running_seat { /* one per data loop; zeroed but for the file */
	const struct broker_config *file;
	struct running now;
	bool taken;
};
void running_seat_fini(struct running_seat *seat);
/* Of the image or a newer one; valid until the next call. */
const struct running *running_of(struct running_seat *seat, const struct image *im);
/* The log settings of a topic: its overrides over the broker's values. ctx is a seat of the calling loop (shard.h). */
void running_topic_log(void *seat, const struct image *im, const struct image_topic *t, struct log_config *ret);
