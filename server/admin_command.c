/* SPDX-License-Identifier: Apache-2.0 */
/* The administrator's commands, and what several of them need. */
#include "server/admin_request.h"

#include <string.h>

const struct admin_command admin_commands[] = {
    {"user_add", NULL, NULL, admin_user_add, NULL},
    {"user_passwd", NULL, NULL, admin_user_passwd, NULL},
    {"user_del", NULL, NULL, admin_user_del, NULL},
    {"user_list", NULL, NULL, admin_user_list, NULL},
    {"user_show", NULL, NULL, admin_user_show, NULL},
    {"user_terms", NULL, NULL, admin_user_terms, NULL},
    {"auth_test", NULL, NULL, admin_auth_test, NULL},
    {"auth_cache", NULL, NULL, admin_auth_cache, NULL},
    {"auth_flush", NULL, NULL, admin_auth_flush, NULL},
    {"penalty_list", NULL, NULL, admin_penalty_list, NULL},
    {"penalty_clear", NULL, NULL, admin_penalty_clear, NULL},
    {"master_add", NULL, NULL, admin_master_add, NULL},
    {"master_passwd", NULL, NULL, admin_master_passwd, NULL},
    {"master_del", NULL, NULL, admin_master_del, NULL},
    {"master_list", NULL, NULL, admin_master_list, NULL},
    {"alias_set", NULL, NULL, admin_alias_set, NULL},
    {"alias_del", NULL, NULL, admin_alias_del, NULL},
    {"alias_list", NULL, NULL, admin_alias_list, NULL},
    {"deliver", admin_deliver_begin, admin_deliver_octets, admin_deliver_run, admin_deliver_cancel},
    {"stat", NULL, NULL, admin_stat, NULL},
    {"health", NULL, NULL, admin_health, NULL},
    {"checkpoint", NULL, NULL, admin_checkpoint, NULL},
    {"compact", NULL, NULL, admin_compact, NULL},
    {"check", NULL, NULL, admin_check, NULL},
    {"check_state", NULL, NULL, admin_check_state, NULL},
    {"check_cancel", NULL, NULL, admin_check_cancel, NULL},
    {"damaged", NULL, NULL, admin_damaged, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

bool admin_read_name(struct admin_request *request)
{
    const char *name = doc_text(&request->question, "name");
    if (name == NULL) {
        admin_refuse(request, STATUS_INVALID, "the request has no \"name\"");
        return false;
    }
    enum status status =
        identity_from_login(name, strlen(name), request->host->default_domain, &request->identity);
    if (status != STATUS_OK) {
        admin_refuse(
            request, status,
            "\"%.64s\" cannot be a user's name: letters, digits and .-_+ before an @ and a "
            "domain, at most %d octets",
            name, AUTH_NAME_MAX);
        return false;
    }
    return true;
}

bool admin_read_account(struct admin_request *request)
{
    if (!admin_read_name(request)) {
        return false;
    }
    enum status status =
        account_find(request->host->accounts, request->identity.name, &request->account);
    if (status == STATUS_NOT_FOUND) {
        admin_refuse(request, status,
                     "there is no user %s; `restante user list` shows who there is",
                     request->identity.name);
    } else if (status != STATUS_OK) {
        admin_refuse(request, status, "cannot read the account of %s", request->identity.name);
    }
    return status == STATUS_OK;
}
