/* zk_priv.h: between the two halves of the ZooKeeper session: zk.c (control loop) and zk_thread.c (the thread of libzookeeper).
 *
 * A command goes to the thread by a lock-free list and comes back as a message on the loop; while it is away the thread owns all
 * of it except `fifo`. Events and "look again" are notes, allocated by the thread and freed by the loop. Answers and notes travel
 * the same way, so their order is the order in which the server said it.
 */
#pragma once

#include <stdatomic.h>
#include <uthash.h>

#include "common/base/list.h"
#include "common/env/os/os_priv.h"

enum zk_cmd_kind {
	ZKC_OPEN, /* makes the session */
	ZKC_GET,
	ZKC_EXISTS,
	ZKC_CHILDREN,
	ZKC_CREATE,
	ZKC_SET,
	ZKC_DELETE,
	ZKC_MULTI,
	ZKC_OBSERVE,
	ZKC_UNOBSERVE,
	ZKC_REOPEN,
	ZKC_CLOSE,
	ZKC_END_SESSION,
};

struct zk_cmd {
	struct zk_cmd *next; /* the thread's inbox and queues */
	struct msg msg;      /* the way back */
	struct os_zk *zk;
	enum zk_cmd_kind kind;
	/* request; paths are full ones (with chroot) */
	char *path;
	uint8_t *data; /* NULL = null data */
	size_t data_len;
	int32_t version;
	int flags; /* or enum zk_observe_kind */
	struct zk_op *ops;
	size_t ops_count;
	struct zk_session_id session;
	int64_t deadline_us; /* for what waits for a connection */
	/* answer */
	int err;
	struct zk_stat stat;
	uint8_t *out;
	size_t out_len;
	bool out_null;
	char *out_path;
	char **names;
	size_t names_count;
	struct zk_op_result *results;
	/* the loop's */
	struct list fifo;
	bool answered;
	union {
		zk_data_fn *data;
		zk_stat_fn *stat;
		zk_names_fn *names;
		zk_create_fn *create;
		zk_void_fn *none;
		zk_multi_fn *multi;
		void (*closed)(void *ctx);
	} fn;
	void *ctx;
};

struct zk_note {
	struct msg msg;
	struct os_zk *zk;
	uint32_t era; /* of the session: notes of a former one are dropped */
	bool look;    /* else an event */
	struct zk_event_info ev;
	enum zk_observe_kind kind;
	char path[]; /* full */
};

struct os_zk {
	struct zk zk; /* first */
	char *chroot; /* "" or "/a/b" */
	char *hosts;  /* host:port,host:port */
	int32_t session_timeout_ms, op_timeout_ms;
	void (*on_event)(struct zk *zk, void *ctx, const struct zk_event_info *ev);
	void *ctx;
	struct os_zk_thread *thread;
	_Atomic int64_t last_contact_us; /* written by the thread */
	/* the loop's */
	uint32_t era;
	bool established, connected, rights_lost, expired, closing;
	struct zk_event_info last;
	struct timer rights;
	struct list fifo; /* commands in submission order */
	struct zk_observer *observers;
	/* the thread's */
	struct zk_sess *sess;
};

/* zk.c */
void os_zk_on_note(struct msg *m); /* deliver of a note */
/* zk_thread.c */
struct os_zk_thread *os_zk_thread_new(void);
void os_zk_thread_submit(struct os_zk_thread *t, struct zk_cmd *cmd); /* Thread: any */
bool os_zk_hosts_valid(const char *hosts);                            /* host:port,... */
