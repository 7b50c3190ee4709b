/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the passwd-file: its owner writes it, and programs of other people's. Whatever is in it,
 * every line that is taken is found again under its name and says the same, names are of the list
 * of characters, and a table compared with itself has not changed.
 */
#include "auth/passwd_table.h"
#include "auth/secret.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct findings {
    struct passwd_table *table;
    uint64_t problems;
};

static void on_problem(void *owner, uint64_t line, const char *problem)
{
    struct findings *findings = owner;
    assert(line > 0 && problem[0] != '\0');
    findings->problems++;
}

static void on_changed(void *owner, const char *name)
{
    (void)owner;
    (void)name;
    abort(); /* a table differs from itself */
}

static void check_account(const struct account *account)
{
    struct identity identity;
    size_t length = strlen(account->name);
    assert(identity_from_login(account->name, length, NULL, &identity) == STATUS_OK);
    assert(strcmp(identity.name, account->name) == 0);
    assert(account->credential_count <= 1 && account->network_count <= AUTH_NETWORKS_MAX);
    assert(account->drop.volume == AUTH_VOLUME_NONE);
    for (const char *at = account->reason; *at != '\0'; at++) {
        assert((unsigned char)*at >= ' ' && *at != 0x7f);
    }
}

/* Each line by itself, in a block of its size; and then in the table. */
static uint64_t check_line(const struct passwd_table *table, const uint8_t *line, size_t length)
{
    struct account account, found;
    struct identity identity;
    const char *problem = NULL, *name_problem = NULL;
    char *copy = malloc(length > 0 ? length : 1);
    assert(copy != NULL);
    memcpy(copy, line, length);
    enum passwd_line_kind kind = passwd_line_read(copy, length, "localhost", &account, &problem);
    enum passwd_line_kind name_kind =
        passwd_line_name(copy, length, "localhost", &identity, &name_problem);
    assert((problem != NULL) == (kind == PASSWD_LINE_BAD || kind == PASSWD_LINE_LOCKED));
    bool is_taken = kind == PASSWD_LINE_USER || kind == PASSWD_LINE_LOCKED;
    if (is_taken) {
        assert(name_kind == PASSWD_LINE_USER);
        check_account(&account);
        assert(passwd_table_find(table, account.name, &found) == STATUS_OK);
        assert(strcmp(found.name, account.name) == 0);
        const char *domain = strchr(account.name, '@') + 1;
        assert(passwd_table_has_domain(table, domain, strlen(domain)));
    }
    free(copy);
    return is_taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct findings findings = {0};
    uint64_t taken = 0;
    char *text = malloc(size > 0 ? size : 1);
    assert(text != NULL && secret_start() == STATUS_OK);
    memcpy(text, data, size);
    enum status status =
        passwd_table_create(text, size, "localhost", on_problem, &findings, &findings.table);
    assert(status == STATUS_OK);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end == NULL ? size - at : (size_t)(end - data) - at;
        taken += check_line(findings.table, data + at, length);
        at += length + 1;
    }
    assert(passwd_table_count(findings.table) <= taken);
    assert(taken - passwd_table_count(findings.table) <= findings.problems);
    passwd_table_compare(findings.table, findings.table, on_changed, NULL);
    passwd_table_destroy(&findings.table);
    return 0;
}
