/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of the configuration as data: one row says a key's section, name, kind, bounds, default
 * and where its value belongs. Reading a file, an override, a check and the list of known keys all
 * go through these rows. Pure; any thread.
 */
#ifndef SERVER_SETTING_H
#define SERVER_SETTING_H

#include "io/mem.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_kind {
    SETTING_TEXT,         /* const char *: copied into the arena */
    SETTING_COUNT,        /* uint32_t */
    SETTING_SIZE,         /* uint64_t octets; k, M, G and T are powers of 1024 */
    SETTING_SECONDS,      /* uint32_t; s (also without), m, h, d */
    SETTING_MILLISECONDS, /* uint32_t; ms, s (also without), m */
    SETTING_BOOL,         /* bool; true or false, yes or no, on or off */
    SETTING_CHARACTER,    /* char; empty means none */
    SETTING_CHOICE,       /* an enum; `choices` in the order of its values */
    SETTING_MODE,         /* mode_t, octal */
    SETTING_LIST          /* struct setting_list: texts; setting_read adds one */
};

#define SETTING_LIST_MAX 256 /* texts */

/* Texts in the arena. */
struct setting_list {
    const char **items;
    size_t count;
};

struct setting {
    const char *section; /* "" for a key outside of every section */
    const char *name;
    enum setting_kind kind;
    size_t offset; /* into the struct the value belongs to */
    uint64_t min, max;
    const char *fallback; /* the default, as a file would say it */
    const char *choices;  /* "auto|io_uring|epoll" */
};

/* The keys of struct config, those of the listeners left out. */
extern const struct setting settings[];
extern const size_t settings_count;

/* The keys of struct config_listener that hold one value. */
extern const struct setting listener_settings[];
extern const size_t listener_settings_count;

#define SETTING_WHY_MAX 160 /* octets of an explanation */

/* Reads `text` into its place in `base`. On failure `*out_why` (a buffer of SETTING_WHY_MAX) says
 * what is wrong with it and what would be right. STATUS_INVALID, STATUS_NO_MEMORY. */
MUST_CHECK enum status setting_read(const struct setting *setting, const char *text, void *base,
                                    struct mem_arena *arena, char out_why[SETTING_WHY_MAX]);

/* The row of `settings` of that name; settings_count: there is none. */
size_t setting_find(const char *section, const char *name);

/* A decimal number with a unit: "64M" by "kMGT" and 1024, at most `max`. */
MUST_CHECK enum status setting_size(const char *text, uint64_t max, uint64_t *out_octets);

/* A time in milliseconds; a bare number counts seconds. */
MUST_CHECK enum status setting_time_ms(const char *text, uint64_t max, uint64_t *out_ms);

#define SETTING_NAME_MAX 40 /* octets of a key */

/* How many letters must be added, dropped, changed or swapped with their neighbour to make `b` of
 * `a`; words longer than SETTING_NAME_MAX count as infinitely far. */
unsigned setting_distance(const char *a, const char *b);

/* The nearest of the names that `next` gives one by one (NULL ends them), or NULL when none is
 * near. */
const char *setting_nearest(const char *word, const char *(*next)(void *owner), void *owner);

#endif
