/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A passwd-file in memory: its octets and where each name's line is. Immutable once made; any
 * thread may read it. It takes the file's size and some 40 octets a user.
 */
#ifndef AUTH_PASSWD_TABLE_H
#define AUTH_PASSWD_TABLE_H

#include "auth/passwd_line.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct passwd_table;

/* A line that is not, or not wholly, usable. Of two lines of one name the first counts. */
typedef void (*passwd_table_on_problem)(void *owner, uint64_t line, const char *problem);

/* Takes over `text` (of malloc, `length` octets) whatever comes of it. STATUS_NO_MEMORY. */
MUST_CHECK enum status passwd_table_create(char *text, size_t length, const char *default_domain,
                                           passwd_table_on_problem on_problem, void *owner,
                                           struct passwd_table **out_table);
void passwd_table_destroy(struct passwd_table **table); /* wipes and NULLs */

/* STATUS_NOT_FOUND. */
MUST_CHECK enum status passwd_table_find(const struct passwd_table *table, const char *name,
                                         struct account *out_account);
bool passwd_table_has_domain(const struct passwd_table *table, const char *domain, size_t length);
uint64_t passwd_table_count(const struct passwd_table *table);

/* Calls `on_changed` for each name that is in one of the tables only, or has another line. */
void passwd_table_compare(const struct passwd_table *before, const struct passwd_table *now,
                          void (*on_changed)(void *owner, const char *name), void *owner);

#endif
