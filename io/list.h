/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list: the link lives inside the element, so nothing is allocated and an
 * element can leave its list knowing only itself. A list is a link that points at itself when
 * empty. One thread at a time.
 */
#ifndef IO_LIST_H
#define IO_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_link {
    struct list_link *prev, *next;
};

/* The element of type `type` that holds the link `link` as its member `member`. */
#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list_link *list)
{
    list->prev = list->next = list;
}

static inline bool list_empty(const struct list_link *list)
{
    return list->next == list;
}

static inline void list_push_back(struct list_link *list, struct list_link *link)
{
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

/* Takes `link` out of whatever list it is in and leaves it pointing at itself: harmless twice. */
static inline void list_remove(struct list_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* The first link, or NULL when the list is empty; it stays in the list. */
static inline struct list_link *list_first(struct list_link *list)
{
    return list_empty(list) ? NULL : list->next;
}

/* Takes the first link out and returns it, or NULL. */
static inline struct list_link *list_pop_front(struct list_link *list)
{
    struct list_link *link = list_first(list);
    if (link != NULL) {
        list_remove(link);
    }
    return link;
}

#endif
