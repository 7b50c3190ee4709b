/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts: add, passwd, del, list, show. */
#include "io/mem.h"
#include "server/admin_request.h"

#include <string.h>

#define LIST_PAGE_MAX 1000 /* accounts of one answer: a page is about 100 KiB */

/* The failure of a change of the accounts, as their module explained it. */
static void refuse_change(struct admin_request *request, enum status status)
{
    admin_refuse(request, status, "%s: %s", request->identity.name,
                 request->error.text[0] != '\0' ? request->error.text
                                                : "the accounts could not be changed");
}

/* Fills in the credentials from the request's octets (a password) or its "credential". */
static bool read_secret(struct admin_request *request)
{
    struct account *account = &request->account;
    const char *credential = doc_text(&request->question, "credential");
    enum status status;
    if (credential != NULL) {
        status = account_set_credential(account, credential);
    } else {
        status = account_set_password(account, admin_payload(request), request->payload_length);
        if (request->payload != NULL) {
            mem_wipe(request->payload, request->payload_length);
        }
    }
    switch (status) {
    case STATUS_OK:
        return true;
    case STATUS_UNSUPPORTED:
        admin_refuse(request, status,
                     "%s: this password scheme is not supported; set a new password instead",
                     request->identity.name);
        return false;
    case STATUS_INVALID:
        admin_refuse(
            request, status,
            "%s: a password has 1 to %d octets and no line end, a hash a form of its scheme",
            request->identity.name, AUTH_CRYPT_MAX);
        return false;
    default:
        admin_refuse(request, status, "%s: the password could not be hashed",
                     request->identity.name);
        return false;
    }
}

/* --- add --- */

/* The maildrop of an account that could not be made has been removed again. */
static void on_add_undone(struct store_drop_change *change, enum status status)
{
    (void)status; /* an empty maildrop without an account is harmless */
    struct admin_request *request = list_entry(change, struct admin_request, change);
    refuse_change(request, request->failure);
}

static void on_drop_created(struct store_drop_change *change, enum status status)
{
    struct admin_request *request = list_entry(change, struct admin_request, change);
    if (status != STATUS_OK) {
        admin_refuse(request, status,
                     "%s: the maildrop could not be made (%s); see the server's log",
                     request->identity.name, status_name(status));
        return;
    }
    request->account.drop = change->drop;
    status = account_add(request->host->accounts, &request->account, &request->error);
    if (status == STATUS_OK) {
        doc_put_text(&request->answer, "name", request->account.name);
        admin_answer(request);
        return;
    }
    request->failure = status;
    change->on_done = on_add_undone;
    status = store_drop_remove(change);
    if (status != STATUS_PENDING) {
        on_add_undone(change, status);
    }
}

void admin_user_add(struct admin_request *request)
{
    if (!admin_read_name(request)) {
        return;
    }
    struct account *account = &request->account;
    enum status status = account_find(request->host->accounts, request->identity.name, account);
    if (status == STATUS_OK) {
        admin_refuse(request, STATUS_EXISTS,
                     "%s exists already; `restante user passwd` changes the password",
                     request->identity.name);
        return;
    }
    memset(account, 0, sizeof *account);
    memcpy(account->name, request->identity.name, request->identity.length + 1);
    if (!read_secret(request)) {
        return;
    }
    struct store_drop_change *change = &request->change;
    *change =
        (struct store_drop_change){.client = &request->host->client, .on_done = on_drop_created};
    memcpy(change->name, account->name, request->identity.length + 1);
    status = store_drop_create(change);
    if (status != STATUS_PENDING) {
        on_drop_created(change, status);
    }
}

/* --- passwd --- */

void admin_user_passwd(struct admin_request *request)
{
    if (!admin_read_account(request) || !read_secret(request)) {
        return;
    }
    enum status status =
        account_change(request->host->accounts, &request->account, &request->error);
    if (status != STATUS_OK) {
        refuse_change(request, status);
        return;
    }
    doc_put_text(&request->answer, "name", request->account.name);
    admin_answer(request);
}

/* --- del --- */

static void on_drop_removed(struct store_drop_change *change, enum status status)
{
    struct admin_request *request = list_entry(change, struct admin_request, change);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
        admin_refuse(
            request, status,
            "the account %s is removed, but its mail could not be (%s); it takes room and is "
            "out of reach",
            request->identity.name, status_name(status));
        return;
    }
    doc_put_text(&request->answer, "name", request->account.name);
    admin_answer(request);
}

/* The account first: whoever logs in between the two steps would find a maildrop about to vanish.
 */
void admin_user_del(struct admin_request *request)
{
    if (!admin_read_account(request)) {
        return;
    }
    enum status status =
        account_remove(request->host->accounts, request->account.name, &request->error);
    if (status != STATUS_OK) {
        refuse_change(request, status);
        return;
    }
    struct store_drop_change *change = &request->change;
    *change = (struct store_drop_change){.client = &request->host->client,
                                         .on_done = on_drop_removed,
                                         .drop = request->account.drop};
    memcpy(change->name, request->account.name, request->identity.length + 1);
    status = store_drop_remove(change);
    if (status != STATUS_PENDING) {
        on_drop_removed(change, status);
    }
}

/* --- list and show --- */

struct listing {
    struct doc users;
    uint64_t left;
};

static void describe(struct doc *user, const struct account *account)
{
    doc_put_text(user, "name", account->name);
    doc_put_number(user, "created_ms", (uint64_t)account->created_ms);
    doc_put_number(user, "changed_ms", (uint64_t)account->changed_ms);
    doc_put_bool(user, "disabled", account->disabled);
    if (account->disabled) {
        doc_put_text(user, "reason", account->reason);
    }
    if (account->tls_required) {
        doc_put_bool(user, "tls_required", true);
    }
    if (account->network_count > 0) {
        doc_put_number(user, "networks", account->network_count);
    }
}

static bool on_listed(void *owner, const struct account *account)
{
    struct listing *listing = owner;
    struct doc user;
    doc_object(&user);
    describe(&user, account);
    doc_append(&listing->users, &user);
    return --listing->left > 0;
}

/* One page; the client asks for the next with "after", the last name it got, until one is empty. */
void admin_user_list(struct admin_request *request)
{
    const char *after = doc_text(&request->question, "after");
    struct listing listing = {.left = doc_number(&request->question, "limit", LIST_PAGE_MAX)};
    if (listing.left == 0 || listing.left > LIST_PAGE_MAX) {
        listing.left = LIST_PAGE_MAX;
    }
    doc_array(&listing.users);
    enum status status =
        account_each(request->host->accounts, after != NULL ? after : "", on_listed, &listing);
    if (status != STATUS_OK) {
        doc_free(&listing.users);
        admin_refuse(request, status, "cannot read the accounts (%s)", status_name(status));
        return;
    }
    doc_put(&request->answer, "users", &listing.users);
    admin_answer(request);
}

/* "{SCHEME}" without what it hides. */
static void put_schemes(struct doc *answer, const struct account *account)
{
    char schemes[AUTH_CREDENTIALS_MAX * 32] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < account->credential_count; i++) {
        const char *text = account->credentials[i].text;
        const char *end = strchr(text, '}');
        size_t scheme = end == NULL ? 0 : (size_t)(end - text);
        if (scheme > 1 && length + scheme + 1 < sizeof schemes) {
            if (length > 0) {
                schemes[length++] = ' ';
            }
            memcpy(schemes + length, text + 1, scheme - 1);
            length += scheme - 1;
            schemes[length] = '\0';
        }
    }
    doc_put_text(answer, "schemes", schemes);
}

static void on_show_opened(struct store_open_request *open, enum status status)
{
    struct admin_request *request = list_entry(open, struct admin_request, open);
    if (status != STATUS_OK) {
        admin_refuse(request, status, "%s: the maildrop cannot be read (%s)", request->account.name,
                     status_name(status));
        return;
    }
    describe(&request->answer, &request->account);
    put_schemes(&request->answer, &request->account);
    doc_put_number(&request->answer, "messages", store_view_count(open->view));
    doc_put_number(&request->answer, "octets", store_view_octets(open->view));
    store_view_close(&open->view);
    admin_answer(request);
}

void admin_user_show(struct admin_request *request)
{
    if (!admin_read_account(request)) {
        return;
    }
    struct store_open_request *open = &request->open;
    *open = (struct store_open_request){.client = &request->host->client,
                                        .on_done = on_show_opened,
                                        .drop = request->account.drop,
                                        .policy = STORE_LOCK_NONE};
    enum status status = store_open_drop(open);
    if (status != STATUS_PENDING) {
        on_show_opened(open, status);
    }
}
