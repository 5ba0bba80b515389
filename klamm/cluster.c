/* cluster.c: see cluster.h */
#include "klamm/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/wire/api.h"
#include "common/wire/frame.h"

#define ANSWER_MAX (1u << 30)
#define KEYS 128
#define RETRY_MS 100
#define DEAF_MS 10000

struct cluster_link {
	struct cluster_link *next;
	int32_t node; /* CLUSTER_ANY: the bootstrap connection */
	int fd;
	char host[256];
	int port;
	uint64_t deaf_until_ms; /* it swallowed what was sent: not tried again until then */
	int16_t min[KEYS], max[KEYS]; /* -1: not offered */
};

void cluster_pause(unsigned ms)
{
	struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

	nanosleep(&ts, NULL);
}

const char *cluster_text(struct cluster *c, struct slice s)
{
	return s.ptr ? arena_strndup(&c->arena, (const char *)s.ptr, s.len) : NULL;
}

static int failed(struct cluster *c, int err, const struct cluster_link *l, const char *what)
{
	snprintf(c->why, sizeof(c->why), "%s:%d: %s", l->host, l->port, what);
	return err;
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

static int wait_for(int fd, short events, uint64_t end_ms)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		uint64_t now = cli_now_ms();
		int n = poll(&p, 1, now >= end_ms ? 0 : (int)(end_ms - now));

		if (n > 0)
			return 0;
		if (n == 0)
			return ERR_TIMEOUT;
		if (errno != EINTR)
			return ERR_RESET;
	}
}

static int send_all(int fd, const uint8_t *bytes, size_t len, uint64_t end_ms)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int err = wait_for(fd, POLLOUT, end_ms);

			if (err)
				return err;
		} else {
			return ERR_RESET;
		}
	}
	return 0;
}

static int recv_all(int fd, uint8_t *bytes, size_t len, uint64_t end_ms)
{
	while (len) {
		ssize_t n = recv(fd, bytes, len, 0);

		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			int err = wait_for(fd, POLLIN, end_ms);

			if (err)
				return err;
		} else {
			return ERR_RESET;
		}
	}
	return 0;
}

static void close_link(struct cluster_link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static int connect_one(const struct addrinfo *a, uint64_t end_ms, int *ret_fd)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), e = 0;
	socklen_t len = sizeof(e);

	if (fd < 0)
		return errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) && errno != EINPROGRESS)
		e = errno;
	else if (wait_for(fd, POLLOUT, end_ms))
		e = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len))
		e = errno;
	if (e) {
		close(fd);
		return e;
	}
	*ret_fd = fd;
	return 0;
}

static int connect_link(struct cluster *c, struct cluster_link *l, uint64_t end_ms)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	char port[16];
	int e;

	snprintf(port, sizeof(port), "%d", l->port);
	e = getaddrinfo(l->host, port, &hints, &list);
	if (e)
		return failed(c, ERR_UNREACHABLE, l, gai_strerror(e));
	e = ECONNREFUSED;
	for (const struct addrinfo *a = list; a && e; a = a->ai_next)
		e = connect_one(a, end_ms, &l->fd);
	freeaddrinfo(list);
	return e ? failed(c, ERR_UNREACHABLE, l, strerror(e)) : 0;
}

/* --- calls --------------------------------------------------------------------------------------------------------- */

static int exchange(struct cluster *c, struct cluster_link *l, const struct wire_api *api, int16_t version, uint64_t end_ms, const void *req,
                    void *ret_resp)
{
	struct chain out;
	struct slice in;
	uint8_t size[4], *bytes;
	int32_t id = ++c->correlation_id, got;
	int err;

	chain_init(&out);
	wire_request_encode(api, version, id, slice_str("klamm"), req, &out);
	bytes = mem_alloc(out.bytes);
	chain_flatten(&out, bytes);
	err = send_all(l->fd, bytes, out.bytes, end_ms);
	chain_clear(&out);
	mem_free(bytes);
	if (!err)
		err = recv_all(l->fd, size, sizeof(size), end_ms);
	if (!err && be32_get(size) > ANSWER_MAX)
		err = ERR_CORRUPT;
	if (!err) {
		in.len = be32_get(size);
		bytes = arena_alloc(&c->arena, in.len ? in.len : 1);
		in.ptr = bytes;
		err = recv_all(l->fd, bytes, in.len, end_ms);
	}
	if (!err && (wire_response_header_decode(api, version, &in, &got) || got != id || wire_decode(api->response, version, &in, &c->arena, ret_resp)))
		err = ERR_CORRUPT;
	if (!err)
		return 0;
	close_link(l);
	snprintf(c->why, sizeof(c->why), "%s:%d: %s (%s)", l->host, l->port,
	         err == ERR_TIMEOUT ? "no answer in time" : err == ERR_CORRUPT ? "the answer is no Kafka protocol" : "the connection was closed",
	         api->name);
	return err;
}

/* Connects and agrees on versions. */
static int start_link(struct cluster *c, struct cluster_link *l, uint64_t end_ms)
{
	const struct wire_api *api = wire_api_find(KP_API_API_VERSIONS);
	struct kp_api_versions_request req;
	struct kp_api_versions_response resp;
	int err = connect_link(c, l, end_ms);

	if (err)
		return err;
	kp_api_versions_request_init(&req);
	err = exchange(c, l, api, 0, end_ms, &req, &resp);
	if (!err && resp.error_code) {
		close_link(l);
		err = failed(c, ERR_UNREACHABLE, l, kerr_name(resp.error_code));
	}
	if (err)
		return err;
	for (int i = 0; i < KEYS; i++)
		l->min[i] = l->max[i] = -1;
	for (int i = 0; i < resp.api_keys_count; i++)
		if (resp.api_keys[i].api_key >= 0 && resp.api_keys[i].api_key < KEYS) {
			l->min[resp.api_keys[i].api_key] = resp.api_keys[i].min_version;
			l->max[resp.api_keys[i].api_key] = resp.api_keys[i].max_version;
		}
	return 0;
}

/* "host:port", "[::1]:port", or without port. */
static bool parse_address(const char *text, size_t len, struct cluster_link *l)
{
	const char *end = text + len, *host = text, *host_end = end, *colon = memrchr(text, ':', len);
	char *stop;

	l->port = 9092;
	if (len && *text == '[') {
		host++;
		host_end = memchr(text, ']', len);
		colon = host_end && host_end + 1 < end && host_end[1] == ':' ? host_end + 1 : NULL;
	} else if (colon) {
		host_end = colon;
	}
	if (colon) {
		l->port = (int)strtol(colon + 1, &stop, 10);
		if (stop != end || l->port < 1 || l->port > 65535)
			return false;
	}
	if (!host_end || host_end == host || (size_t)(host_end - host) >= sizeof(l->host))
		return false;
	if (*text != '[' && memchr(host, ':', (size_t)(host_end - host)))
		return false; /* an address of IPv6 wants brackets */
	memcpy(l->host, host, (size_t)(host_end - host));
	l->host[host_end - host] = 0;
	return true;
}

/* Goes round the bootstrap servers until one answers. */
static int start_any(struct cluster *c, struct cluster_link *l)
{
	uint64_t end = cli_now_ms() + c->cli->timeout_ms;
	int err = ERR_UNREACHABLE;

	for (;;) {
		for (const char *p = c->cli->bootstrap; *p;) {
			size_t n = strcspn(p, ",");
			uint64_t now = cli_now_ms();

			if (n && now < end) {
				(void)parse_address(p, n, l); /* cluster_open has checked them all */
				/* one that swallows packets must not take the time of the others */
				err = start_link(c, l, now + (end - now) / (p[n] ? 2 : 1));
				if (!err)
					return 0;
			}
			p += n + (p[n] == ',');
			if (cli_now_ms() >= end)
				return err;
		}
		cluster_pause(RETRY_MS);
		if (cli_now_ms() >= end)
			return err;
	}
}

static int link_to(struct cluster *c, int32_t node, struct cluster_link **ret)
{
	const struct kp_metadata_response_brokers *b = NULL;
	struct cluster_link *l = c->links;
	int err;

	if (node == CLUSTER_CONTROLLER)
		node = c->controller >= 0 ? c->controller : CLUSTER_ANY;
	while (l && l->node != node)
		l = l->next;
	if (!l) {
		l = MEM_NEW(struct cluster_link);
		l->fd = -1;
		l->node = node;
		l->next = c->links;
		c->links = l;
	}
	*ret = l;
	if (l->fd >= 0)
		return 0;
	if (node == CLUSTER_ANY) {
		err = start_any(c, l);
		return err == ERR_TIMEOUT ? ERR_UNREACHABLE : err; /* nothing was asked yet */
	}
	b = cluster_broker(c, node);
	if (!b) {
		snprintf(c->why, sizeof(c->why), "no broker %d is up", (int)node);
		return ERR_NOENT;
	}
	snprintf(l->host, sizeof(l->host), "%.*s", (int)b->host.len, (const char *)b->host.ptr);
	l->port = b->port;
	if (cli_now_ms() < l->deaf_until_ms)
		return failed(c, ERR_UNREACHABLE, l, "no answer in time");
	err = start_link(c, l, cli_now_ms() + c->cli->timeout_ms);
	if (err == ERR_TIMEOUT)
		l->deaf_until_ms = cli_now_ms() + DEAF_MS;
	return err == ERR_TIMEOUT ? ERR_UNREACHABLE : err;
}

int cluster_call(struct cluster *c, int32_t node, int16_t api_key, unsigned timeout_ms, const void *req, void *ret_resp)
{
	const struct wire_api *api = wire_api_find(api_key);
	struct cluster_link *l;
	int16_t version;
	int err = link_to(c, node, &l);

	if (err)
		return err;
	version = l->max[api_key] < api->max_version ? l->max[api_key] : api->max_version;
	if (version < api->min_version || version < l->min[api_key]) {
		snprintf(c->why, sizeof(c->why), "%s:%d does not offer %s in a version that klamm speaks", l->host, l->port, api->name);
		return ERR_UNSUPPORTED;
	}
	return exchange(c, l, api, version, cli_now_ms() + timeout_ms, req, ret_resp);
}

bool cluster_offers(struct cluster *c, int32_t node, int16_t api_key, int16_t version)
{
	struct cluster_link *l;

	return !link_to(c, node, &l) && l->max[api_key] >= version;
}

int cluster_fail(struct cluster *c, int err, const char *what)
{
	switch (err) {
	case ERR_UNREACHABLE:
		return cli_fail(c->cli, CLI_UNREACHABLE, "Is the address right and the broker up? klamm status shows the brokers.", "%s: %s", what, c->why);
	case ERR_NOENT: return cli_fail(c->cli, CLI_NO_SUCH, "klamm status shows the brokers.", "%s: %s", what, c->why);
	case ERR_TIMEOUT:
		return cli_fail(c->cli, CLI_REFUSED, "It may still happen: look again; klamm status shows whether the cluster is well.", "%s: %s", what,
		                c->why);
	case ERR_UNSUPPORTED: return cli_fail(c->cli, CLI_REFUSED, "Use brokers that have it, all of the same version.", "%s: %s", what, c->why);
	default: return cli_fail(c->cli, CLI_REFUSED, "klamm status shows whether the cluster is well.", "%s: %s", what, c->why);
	}
}

/* --- metadata ------------------------------------------------------------------------------------------------------ */

bool cluster_passing(int16_t error_code)
{
	switch (error_code) {
	case KERR_LEADER_NOT_AVAILABLE:
	case KERR_NOT_LEADER_OR_FOLLOWER:
	case KERR_OFFSET_NOT_AVAILABLE:
	case KERR_FENCED_LEADER_EPOCH:
	case KERR_UNKNOWN_LEADER_EPOCH:
	case KERR_COORDINATOR_LOAD_IN_PROGRESS:
	case KERR_COORDINATOR_NOT_AVAILABLE:
	case KERR_NOT_COORDINATOR:
	case KERR_NOT_CONTROLLER: return true;
	default: return false;
	}
}

static int ask_metadata(struct cluster *c, const char *const *topics, int count, struct kp_metadata_response *ret)
{
	struct kp_metadata_request req;
	int err;

	kp_metadata_request_init(&req);
	req.allow_auto_topic_creation = false;
	req.topics_count = count < 0 ? -1 : count;
	if (count > 0)
		req.topics = ARENA_ARRAY(&c->arena, struct kp_metadata_request_topics, (size_t)count);
	for (int i = 0; i < count; i++) {
		kp_metadata_request_topics_init(&req.topics[i]);
		req.topics[i].name = slice_str(topics[i]);
	}
	err = cluster_call(c, CLUSTER_ANY, KP_API_METADATA, CLUSTER_CALL_MS, &req, ret);
	if (err == ERR_RESET) /* the broker that we began with went down: another one is asked */
		err = cluster_call(c, CLUSTER_ANY, KP_API_METADATA, CLUSTER_CALL_MS, &req, ret);
	if (err)
		return err;
	c->brokers = ret->brokers;
	c->broker_count = ret->brokers_count;
	c->controller = ret->controller_id;
	c->cluster_id = ret->cluster_id;
	return 0;
}

int cluster_metadata(struct cluster *c, const char *const *topics, int count, struct kp_metadata_response *ret)
{
	int err = ask_metadata(c, topics, count, ret);

	return err ? cluster_fail(c, err, "metadata cannot be had") : 0;
}

int cluster_open(struct cli *cli)
{
	struct cluster *c = MEM_NEW(struct cluster);
	struct cluster_link probe, *l;
	struct kp_metadata_response md;
	int err;

	cli->cluster = c;
	c->cli = cli;
	c->controller = -1;
	arena_init(&c->arena, 0);
	for (const char *p = cli->bootstrap; *p; p += strcspn(p, ","), p += *p == ',')
		if (!parse_address(p, strcspn(p, ","), &probe))
			return cli_fail(cli, CLI_USAGE, "Give HOST:PORT[,HOST:PORT].", "'%.*s' is no address of a broker", (int)strcspn(p, ","), p);
	err = link_to(c, CLUSTER_ANY, &l);
	if (!err)
		err = ask_metadata(c, NULL, 0, &md);
	if (!err)
		return 0;
	return cli_fail(cli, CLI_UNREACHABLE, "Is the address right and a broker up? Give another one with --bootstrap-server or KLAMM_BOOTSTRAP.",
	                "no broker reachable: %s", c->why);
}

void cluster_close(struct cli *cli)
{
	struct cluster *c = cli->cluster;

	if (!c)
		return;
	while (c->links) {
		struct cluster_link *l = c->links;

		c->links = l->next;
		close_link(l);
		mem_free(l);
	}
	arena_fini(&c->arena);
	mem_free(c);
	cli->cluster = NULL;
}

static int by_index(const void *a, const void *b)
{
	const struct kp_metadata_response_topics_partitions *x = a, *y = b;

	return (x->partition_index > y->partition_index) - (x->partition_index < y->partition_index);
}

int cluster_topic(struct cluster *c, const char *name, const struct kp_metadata_response_topics **ret)
{
	uint64_t end = cli_now_ms() + c->cli->timeout_ms;
	struct kp_metadata_response md;
	char what[320];

	for (;;) {
		struct kp_metadata_response_topics *t;
		int code = cluster_metadata(c, &name, 1, &md);

		if (code)
			return code;
		t = md.topics_count == 1 ? &md.topics[0] : NULL;
		snprintf(what, sizeof(what), "topic %s", name);
		if (!t)
			return cli_fail_kafka(c->cli, KERR_UNKNOWN_TOPIC_OR_PARTITION, NULL, name, what);
		if (t->error_code && t->error_code != KERR_LEADER_NOT_AVAILABLE)
			return cli_fail_kafka(c->cli, t->error_code, NULL, name, what);
		if (!t->error_code && t->partitions_count > 0) {
			qsort(t->partitions, (size_t)t->partitions_count, sizeof(*t->partitions), by_index);
			*ret = t;
			return 0;
		}
		if (cli_now_ms() >= end)
			return cli_fail_kafka(c->cli, KERR_LEADER_NOT_AVAILABLE, NULL, name, what);
		cluster_pause(RETRY_MS);
	}
}

const struct kp_metadata_response_topics_partitions *cluster_partition(const struct kp_metadata_response_topics *t, int32_t id)
{
	if (id >= 0 && id < t->partitions_count && t->partitions[id].partition_index == id)
		return &t->partitions[id]; /* nearly always in order */
	for (int i = 0; i < t->partitions_count; i++)
		if (t->partitions[i].partition_index == id)
			return &t->partitions[i];
	return NULL;
}

const struct kp_metadata_response_brokers *cluster_broker(const struct cluster *c, int32_t id)
{
	for (int i = 0; i < c->broker_count; i++)
		if (c->brokers[i].node_id == id)
			return &c->brokers[i];
	return NULL;
}

/* --- coordinator --------------------------------------------------------------------------------------------------- */

static int ask_coordinator(struct cluster *c, const char *group, int32_t *ret_node, int16_t *ret_error)
{
	struct kp_find_coordinator_request req;
	struct kp_find_coordinator_response resp;
	struct slice key = slice_str(group);
	struct kp_metadata_response md;
	int err;

	kp_find_coordinator_request_init(&req);
	req.key = key; /* up to v3 */
	req.coordinator_keys = &key;
	req.coordinator_keys_count = 1;
	err = cluster_call(c, CLUSTER_ANY, KP_API_FIND_COORDINATOR, CLUSTER_CALL_MS, &req, &resp);
	if (err)
		return err;
	*ret_error = resp.coordinators_count == 1 ? resp.coordinators[0].error_code : resp.error_code;
	*ret_node = resp.coordinators_count == 1 ? resp.coordinators[0].node_id : resp.node_id;
	if (!*ret_error && !cluster_broker(c, *ret_node)) {
		err = ask_metadata(c, NULL, 0, &md);
		if (!cluster_broker(c, *ret_node))
			*ret_error = KERR_COORDINATOR_NOT_AVAILABLE;
	}
	return err;
}

/* Finds the coordinator. Exit code (said). */
static int find_coordinator(struct cluster *c, const char *group, uint64_t end_ms, int32_t *ret_node, const char *what)
{
	for (;;) {
		int16_t error = 0;
		int err = ask_coordinator(c, group, ret_node, &error);

		if (err == ERR_RESET && cli_now_ms() < end_ms)
			continue; /* the broker that we began with went down */
		if (err)
			return cluster_fail(c, err, what);
		if (!error)
			return 0;
		if (!cluster_passing(error) || cli_now_ms() >= end_ms)
			return cli_fail_kafka(c->cli, error, NULL, NULL, what);
		cluster_pause(RETRY_MS);
	}
}

int cluster_ask_coordinator(struct cluster *c, const char *group, int32_t *node, int16_t api_key, const void *req, void *ret_resp,
                            cluster_error_of *error_of, const char *what)
{
	uint64_t end = cli_now_ms() + CLUSTER_SETTLE_MS;

	for (;;) {
		int code = *node >= 0 && cluster_broker(c, *node) ? 0 : find_coordinator(c, group, end, node, what), err;

		if (code)
			return code;
		err = cluster_call(c, *node, api_key, CLUSTER_CALL_MS, req, ret_resp);
		if (err && ((err != ERR_UNREACHABLE && err != ERR_RESET) || cli_now_ms() >= end))
			return cluster_fail(c, err, what);
		if (!err && (!cluster_passing(error_of(ret_resp)) || cli_now_ms() >= end))
			return 0;
		*node = -1;
		cluster_pause(RETRY_MS);
	}
}

int cluster_ask_controller(struct cluster *c, int16_t api_key, const void *req, void *ret_resp, cluster_error_of *error_of, const char *what)
{
	uint64_t end = cli_now_ms() + CLUSTER_SETTLE_MS;
	struct kp_metadata_response md;

	for (;;) {
		int err = cluster_call(c, CLUSTER_CONTROLLER, api_key, CLUSTER_CALL_MS, req, ret_resp), code;

		if (err && ((err != ERR_UNREACHABLE && err != ERR_NOENT) || cli_now_ms() >= end))
			return cluster_fail(c, err, what);
		if (!err && (error_of(ret_resp) != KERR_NOT_CONTROLLER || cli_now_ms() >= end))
			return 0;
		cluster_pause(RETRY_MS);
		if ((code = cluster_metadata(c, NULL, 0, &md)))
			return code;
	}
}
