/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/passwd_table.h"

#include "auth/secret.h"
#include "io/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MIN 16 /* a power of two */

/* A line, or a domain: where in the text it stands. All zero: free. */
struct slot {
    uint64_t hash;
    uint64_t offset;
    uint32_t length;
    uint32_t is_used;
};

/* Open addressing, at most half full. */
struct slots {
    struct slot *items;
    size_t mask, used;
};

struct passwd_table {
    char *text;
    size_t length;
    char default_domain[AUTH_DOMAIN_MAX + 1];
    struct secret_key key;
    struct slots users;
    /* Names of domains as the lines' names have them, lower case, one after the other in `names`:
     * offsets into it. */
    struct slots domains;
    char *names;
    size_t names_length, names_size;
};

/* --- slots -------------------------------------------------------------------------------------
 */

static enum status slots_grow(struct slots *slots)
{
    size_t size = slots->items == NULL ? SLOTS_MIN : (slots->mask + 1) * 2;
    struct slot *items = calloc(size, sizeof *items);
    if (items == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; slots->items != NULL && i <= slots->mask; i++) {
        if (slots->items[i].is_used != 0) {
            size_t at = slots->items[i].hash & (size - 1);
            while (items[at].is_used != 0) {
                at = (at + 1) & (size - 1);
            }
            items[at] = slots->items[i];
        }
    }
    free(slots->items);
    slots->items = items;
    slots->mask = size - 1;
    return STATUS_OK;
}

static enum status slots_add(struct slots *slots, const struct slot *slot)
{
    if (slots->items == NULL || (slots->used + 1) * 2 > slots->mask + 1) {
        enum status status = slots_grow(slots);
        if (status != STATUS_OK) {
            return status;
        }
    }
    size_t at = slot->hash & slots->mask;
    while (slots->items[at].is_used != 0) {
        at = (at + 1) & slots->mask;
    }
    slots->items[at] = *slot;
    slots->used++;
    return STATUS_OK;
}

/* --- finding -----------------------------------------------------------------------------------
 */

static bool is_line_of(const struct passwd_table *table, const struct slot *slot, const char *name)
{
    struct identity identity;
    const char *problem;
    return passwd_line_name(table->text + slot->offset, slot->length, table->default_domain,
                            &identity, &problem) == PASSWD_LINE_USER &&
           strcmp(identity.name, name) == 0;
}

static const struct slot *find_user(const struct passwd_table *table, const char *name)
{
    const struct slots *slots = &table->users;
    if (slots->items == NULL) {
        return NULL;
    }
    uint64_t hash = secret_hash(&table->key, name, strlen(name));
    for (size_t at = hash & slots->mask; slots->items[at].is_used != 0;
         at = (at + 1) & slots->mask) {
        if (slots->items[at].hash == hash && is_line_of(table, &slots->items[at], name)) {
            return &slots->items[at];
        }
    }
    return NULL;
}

enum status passwd_table_find(const struct passwd_table *table, const char *name,
                              struct account *out_account)
{
    const struct slot *slot = find_user(table, name);
    const char *problem;
    if (slot == NULL) {
        return STATUS_NOT_FOUND;
    }
    enum passwd_line_kind kind = passwd_line_read(table->text + slot->offset, slot->length,
                                                  table->default_domain, out_account, &problem);
    assert(kind == PASSWD_LINE_USER || kind == PASSWD_LINE_LOCKED); /* it was when it was added */
    (void)kind;
    return STATUS_OK;
}

bool passwd_table_has_domain(const struct passwd_table *table, const char *domain, size_t length)
{
    const struct slots *slots = &table->domains;
    if (slots->items == NULL) {
        return false;
    }
    uint64_t hash = secret_hash(&table->key, domain, length);
    for (size_t at = hash & slots->mask; slots->items[at].is_used != 0;
         at = (at + 1) & slots->mask) {
        const struct slot *slot = &slots->items[at];
        if (slot->hash == hash && slot->length == length &&
            memcmp(table->names + slot->offset, domain, length) == 0) {
            return true;
        }
    }
    return false;
}

uint64_t passwd_table_count(const struct passwd_table *table)
{
    return table->users.used;
}

/* --- making ------------------------------------------------------------------------------------
 */

static enum status add_domain(struct passwd_table *table, const char *domain)
{
    size_t length = strlen(domain);
    if (passwd_table_has_domain(table, domain, length)) {
        return STATUS_OK;
    }
    if (table->names_size - table->names_length < length) {
        size_t size = table->names_size * 2 + length + 256;
        char *names = realloc(table->names, size);
        if (names == NULL) {
            return STATUS_NO_MEMORY;
        }
        table->names = names;
        table->names_size = size;
    }
    memcpy(table->names + table->names_length, domain, length);
    const struct slot slot = {.hash = secret_hash(&table->key, domain, length),
                              .offset = table->names_length,
                              .length = (uint32_t)length,
                              .is_used = 1};
    table->names_length += length;
    return slots_add(&table->domains, &slot);
}

/* Takes one line in; `out_problem` is set when there is something to say. */
static enum status add_line(struct passwd_table *table, size_t offset, size_t length,
                            struct account *account, const char **out_problem)
{
    enum passwd_line_kind kind =
        passwd_line_read(table->text + offset, length, table->default_domain, account, out_problem);
    if (kind == PASSWD_LINE_EMPTY || kind == PASSWD_LINE_BAD) {
        return STATUS_OK;
    }
    if (find_user(table, account->name) != NULL) {
        *out_problem = "there is a line for this name further up; this one is not used";
        return STATUS_OK;
    }
    const struct slot slot = {.hash =
                                  secret_hash(&table->key, account->name, strlen(account->name)),
                              .offset = offset,
                              .length = (uint32_t)length,
                              .is_used = 1};
    enum status status = slots_add(&table->users, &slot);
    return status == STATUS_OK ? add_domain(table, strchr(account->name, '@') + 1) : status;
}

static enum status add_lines(struct passwd_table *table, passwd_table_on_problem on_problem,
                             void *owner)
{
    struct account account;
    enum status status = STATUS_OK;
    uint64_t line = 0;
    for (size_t at = 0; at < table->length && status == STATUS_OK;) {
        const char *end = memchr(table->text + at, '\n', table->length - at);
        size_t length = end == NULL ? table->length - at : (size_t)(end - table->text) - at;
        const char *problem = NULL;
        line++;
        status = add_line(table, at, length, &account, &problem);
        if (problem != NULL) {
            on_problem(owner, line, problem);
        }
        at += length + 1;
    }
    mem_wipe(&account, sizeof account);
    return status;
}

enum status passwd_table_create(char *text, size_t length, const char *default_domain,
                                passwd_table_on_problem on_problem, void *owner,
                                struct passwd_table **out_table)
{
    size_t domain_length = strlen(default_domain);
    struct passwd_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        mem_wipe(text, length);
        free(text);
        return STATUS_NO_MEMORY;
    }
    assert(domain_length <= AUTH_DOMAIN_MAX && length <= AUTH_PASSWD_FILE_MAX);
    memcpy(table->default_domain, default_domain, domain_length);
    table->text = text;
    table->length = length;
    secret_key_make(&table->key);
    enum status status = add_lines(table, on_problem, owner);
    if (status != STATUS_OK) {
        passwd_table_destroy(&table);
        return status;
    }
    *out_table = table;
    return STATUS_OK;
}

void passwd_table_destroy(struct passwd_table **table)
{
    if (*table == NULL) {
        return;
    }
    if ((*table)->text != NULL) {
        mem_wipe((*table)->text, (*table)->length); /* some schemes are the password itself */
    }
    free((*table)->text);
    free((*table)->users.items);
    free((*table)->domains.items);
    free((*table)->names);
    free(*table);
    *table = NULL;
}

/* --- comparing ---------------------------------------------------------------------------------
 */

/* Whether `other` has the same line for the name in `slot`; says the name. */
static bool is_unchanged(const struct passwd_table *table, const struct slot *slot,
                         const struct passwd_table *other, struct identity *out_identity,
                         bool *out_is_there)
{
    const char *problem;
    /* It was a name when it was added. */
    (void)passwd_line_name(table->text + slot->offset, slot->length, table->default_domain,
                           out_identity, &problem);
    const struct slot *there = find_user(other, out_identity->name);
    *out_is_there = there != NULL;
    return there != NULL && there->length == slot->length &&
           memcmp(table->text + slot->offset, other->text + there->offset, slot->length) == 0;
}

void passwd_table_compare(const struct passwd_table *before, const struct passwd_table *now,
                          void (*on_changed)(void *owner, const char *name), void *owner)
{
    struct identity identity;
    bool is_there;
    for (size_t i = 0; before->users.items != NULL && i <= before->users.mask; i++) {
        const struct slot *slot = &before->users.items[i];
        if (slot->is_used != 0 && !is_unchanged(before, slot, now, &identity, &is_there)) {
            on_changed(owner, identity.name);
        }
    }
    for (size_t i = 0; now->users.items != NULL && i <= now->users.mask; i++) {
        const struct slot *slot = &now->users.items[i];
        if (slot->is_used != 0 && !is_unchanged(now, slot, before, &identity, &is_there) &&
            !is_there) {
            on_changed(owner, identity.name);
        }
    }
}
