/* SPDX-License-Identifier: Apache-2.0 */
/* Terms of accounts, masters and aliases. */
#include "auth/account_alias.h"
#include "auth/terms.h"
#include "io/mem.h"
#include "server/admin_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_PAGE_MAX 1000 /* aliases or masters of one answer */

static void refuse_change(struct admin_request *request, const char *name, enum status status)
{
    admin_refuse(request, status, "%s: %s", name,
                 request->error.text[0] != '\0' ? request->error.text
                                                : "the accounts could not be changed");
}

/* --- terms: "disabled" with "reason", "tls", "networks"; what is not named stays --- */

static bool read_terms(struct admin_request *request)
{
    const struct doc *question = &request->question;
    struct account *account = &request->account;
    const char *networks = doc_text(question, "networks");
    const char *disabled = doc_text(question, "disabled"), *tls = doc_text(question, "tls");
    const char *reason = doc_text(question, "reason");
    if (disabled != NULL) {
        account->disabled = strcmp(disabled, "yes") == 0;
        (void)snprintf(account->reason, sizeof account->reason, "%s",
                       account->disabled && reason != NULL ? reason : "");
    }
    if (tls != NULL) {
        account->tls_required = strcmp(tls, "yes") == 0;
    }
    if (networks == NULL) {
        return true;
    }
    if (strcmp(networks, "any") == 0) {
        account->network_count = 0;
        return true;
    }
    enum status status = terms_parse_networks(networks, strlen(networks), account);
    if (status != STATUS_OK) {
        admin_refuse(
            request, status,
            "\"%.100s\" are not networks like 192.0.2.0/24,2001:db8::/32 or local, at most "
            "%d of them; any admits all",
            networks, AUTH_NETWORKS_MAX);
    }
    return status == STATUS_OK;
}

void admin_user_terms(struct admin_request *request)
{
    if (!admin_read_account(request) || !read_terms(request)) {
        return;
    }
    enum status status =
        account_change(request->host->accounts, &request->account, &request->error);
    if (status != STATUS_OK) {
        refuse_change(request, request->account.name, status);
        return;
    }
    doc_put_text(&request->answer, "name", request->account.name);
    admin_answer(request);
}

/* --- masters --- */

static bool read_password(struct admin_request *request)
{
    enum status status =
        account_set_password(&request->account, admin_payload(request), request->payload_length);
    if (request->payload != NULL) {
        mem_wipe(request->payload, request->payload_length);
    }
    if (status != STATUS_OK) {
        admin_refuse(request, status, "%s: a password has 1 to %d octets", request->identity.name,
                     AUTH_PASSWORD_MAX);
    }
    return status == STATUS_OK;
}

static void answer_master(struct admin_request *request, enum status status)
{
    if (status == STATUS_OK) {
        doc_put_text(&request->answer, "name", request->identity.name);
        admin_answer(request);
    } else if (status == STATUS_NOT_FOUND) {
        admin_refuse(request, status, "there is no master %s", request->identity.name);
    } else if (status == STATUS_EXISTS) {
        admin_refuse(request, status,
                     "the master %s exists already; `restante master passwd` changes the password",
                     request->identity.name);
    } else {
        refuse_change(request, request->identity.name, status);
    }
}

void admin_master_add(struct admin_request *request)
{
    if (!admin_read_name(request) || !read_password(request)) {
        return;
    }
    memcpy(request->account.name, request->identity.name, request->identity.length + 1);
    answer_master(request,
                  account_master_add(request->host->accounts, &request->account, &request->error));
}

void admin_master_passwd(struct admin_request *request)
{
    if (!admin_read_name(request)) {
        return;
    }
    enum status status =
        account_master_find(request->host->accounts, request->identity.name, &request->account);
    if (status != STATUS_OK) {
        answer_master(request, status);
    } else if (read_password(request)) {
        answer_master(request, account_master_change(request->host->accounts, &request->account,
                                                     &request->error));
    }
}

void admin_master_del(struct admin_request *request)
{
    if (admin_read_name(request)) {
        answer_master(request, account_master_remove(request->host->accounts,
                                                     request->identity.name, &request->error));
    }
}

struct page {
    struct doc items;
    unsigned left;
};

static bool on_master(void *owner, const struct account *account)
{
    struct page *page = owner;
    struct doc item;
    doc_object(&item);
    doc_put_text(&item, "name", account->name);
    doc_put_bool(&item, "disabled", account->disabled);
    doc_append(&page->items, &item);
    return --page->left > 0;
}

static void answer_page(struct admin_request *request, struct page *page, enum status status,
                        const char *key)
{
    if (status != STATUS_OK) {
        doc_free(&page->items);
        admin_refuse(request, status, "cannot read the accounts (%s)", status_name(status));
        return;
    }
    doc_put(&request->answer, key, &page->items);
    admin_answer(request);
}

static const char *page_after(const struct admin_request *request)
{
    const char *after = doc_text(&request->question, "after");
    return after != NULL ? after : "";
}

void admin_master_list(struct admin_request *request)
{
    struct page page = {.left = LIST_PAGE_MAX};
    doc_array(&page.items);
    enum status status =
        account_master_each(request->host->accounts, page_after(request), on_master, &page);
    answer_page(request, &page, status, "masters");
}

/* --- aliases --- */

/* A name as an alias has it: like a user's, or "@domain" for the catch-all. */
static bool read_alias_name(struct admin_request *request, const char *text,
                            char out_name[AUTH_NAME_MAX + 1])
{
    struct identity identity;
    char catch_all[AUTH_NAME_MAX + 2];
    bool all = text[0] == '@';
    (void)snprintf(catch_all, sizeof catch_all, "%s%.*s", all ? "x" : "", AUTH_NAME_MAX, text);
    enum status status =
        identity_from_login(catch_all, strlen(catch_all), request->host->default_domain, &identity);
    if (status != STATUS_OK) {
        admin_refuse(request, STATUS_INVALID,
                     "\"%.64s\" is neither a name nor @domain for all names of a domain", text);
        return false;
    }
    (void)snprintf(out_name, AUTH_NAME_MAX + 1, "%s", identity.name + (all ? 1 : 0));
    return true;
}

static bool read_targets(struct admin_request *request, struct alias *alias)
{
    const char *text = doc_text(&request->question, "targets");
    char *copy = strdup(text != NULL ? text : "");
    bool good = copy != NULL;
    if (!good) {
        admin_refuse(request, STATUS_NO_MEMORY, "out of memory");
    }
    char *rest = copy;
    for (char *target = good ? strsep(&rest, ", ") : NULL; good && target != NULL;
         target = strsep(&rest, ", ")) {
        if (*target == '\0') {
            continue;
        }
        if (alias->target_count == AUTH_ALIAS_TARGETS_MAX) {
            admin_refuse(request, STATUS_LIMIT, "an alias stands for at most %d names",
                         AUTH_ALIAS_TARGETS_MAX);
            good = false;
        } else {
            good = read_alias_name(request, target, alias->targets[alias->target_count++]);
        }
    }
    free(copy);
    return good;
}

void admin_alias_set(struct admin_request *request)
{
    const char *name = doc_text(&request->question, "name");
    struct alias *alias = calloc(1, sizeof *alias);
    if (alias == NULL || name == NULL) {
        admin_refuse(request, STATUS_INVALID, "the request has no \"name\"");
    } else if (read_alias_name(request, name, alias->name) && read_targets(request, alias)) {
        enum status status = account_alias_set(request->host->accounts, alias, &request->error);
        if (status == STATUS_OK) {
            doc_put_text(&request->answer, "name", alias->name);
            doc_put_number(&request->answer, "targets", alias->target_count);
            admin_answer(request);
        } else {
            refuse_change(request, alias->name, status);
        }
    }
    free(alias);
}

void admin_alias_del(struct admin_request *request)
{
    const char *name = doc_text(&request->question, "name");
    char key[AUTH_NAME_MAX + 1];
    if (name == NULL || !read_alias_name(request, name, key)) {
        if (name == NULL) {
            admin_refuse(request, STATUS_INVALID, "the request has no \"name\"");
        }
        return;
    }
    enum status status = account_alias_remove(request->host->accounts, key, &request->error);
    if (status == STATUS_NOT_FOUND) {
        admin_refuse(request, status, "there is no alias %s", key);
    } else if (status != STATUS_OK) {
        refuse_change(request, key, status);
    } else {
        doc_put_text(&request->answer, "name", key);
        admin_answer(request);
    }
}

static bool on_alias(void *owner, const struct alias *alias)
{
    struct page *page = owner;
    struct doc item;
    char *targets = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&targets, &length);
    for (uint32_t i = 0; stream != NULL && i < alias->target_count; i++) {
        fprintf(stream, "%s%s", i > 0 ? "," : "", alias->targets[i]);
    }
    if (stream != NULL) {
        (void)fclose(stream); /* a stream in memory */
    }
    doc_object(&item);
    doc_put_text(&item, "name", alias->name);
    doc_put_text(&item, "targets", targets);
    doc_append(&page->items, &item);
    free(targets);
    return --page->left > 0;
}

void admin_alias_list(struct admin_request *request)
{
    struct page page = {.left = LIST_PAGE_MAX};
    doc_array(&page.items);
    enum status status =
        account_alias_each(request->host->accounts, page_after(request), on_alias, &page);
    answer_page(request, &page, status, "aliases");
}
