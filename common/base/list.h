/* list.h: intrusive doubly linked list. A node is in one list at most; an unlinked node points to itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline void list_insert_before(struct list *pos, struct list *n) { n->prev = pos->prev; n->next = pos; pos->prev->next = n; pos->prev = n; }
static inline void list_push_back(struct list *head, struct list *n) { list_insert_before(head, n); }
static inline void list_push_front(struct list *head, struct list *n) { list_insert_before(head->next, n); }
/* Unlinks; harmless on a node that is in no list (but initialised). */
static inline void list_remove(struct list *n) { n->prev->next = n->next; n->next->prev = n->prev; list_init(n); }
static inline struct list *list_pop_front(struct list *head) { struct list *n = head->next; if (n == head) return NULL; list_remove(n); return n; }

#define LIST_ENTRY(ptr, type, member) CONTAINER_OF(ptr, type, member)
#define LIST_FOR(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOR_SAFE(it, tmp, head) for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = it->next)
