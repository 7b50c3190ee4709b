/* SPDX-License-Identifier: Apache-2.0 */
#include "server/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_command cli_commands[] = {
    {{"user", "add"},
     "NAME --password-file FILE",
     "make an account and its maildrop",
     1,
     1,
     true,
     CLI_ASKS,
     cli_user_add},
    {{"user", "passwd"},
     "NAME --password-file FILE",
     "set a new password",
     1,
     1,
     true,
     CLI_ASKS,
     cli_user_passwd},
    {{"user", "del"},
     "NAME",
     "remove an account and all its mail, without asking",
     1,
     1,
     false,
     CLI_ASKS,
     cli_user_del},
    {{"user", "list"}, "", "the accounts' names", 0, 0, false, CLI_ASKS, cli_user_list},
    {{"user", "show"},
     "NAME",
     "an account and the size of its maildrop",
     1,
     1,
     false,
     CLI_ASKS,
     cli_user_show},
    {{"user", "import"},
     "FILE",
     "make accounts of passwd-file lines, name:{SCHEME}hash:...",
     1,
     1,
     false,
     CLI_ASKS,
     cli_user_import},
    {{"user", "disable"},
     "NAME [REASON]",
     "refuse logins, with a reason the user is told",
     1,
     2,
     false,
     CLI_ASKS,
     cli_user_disable},
    {{"user", "enable"}, "NAME", "admit logins again", 1, 1, false, CLI_ASKS, cli_user_enable},
    {{"user", "require-tls"},
     "NAME yes|no",
     "admit the user with TLS only",
     2,
     2,
     false,
     CLI_ASKS,
     cli_user_require_tls},
    {{"user", "allow"},
     "NAME NETWORKS|any",
     "admit the user from these networks only",
     2,
     2,
     false,
     CLI_ASKS,
     cli_user_allow},
    {{"master", "add"},
     "NAME --password-file FILE",
     "make a master, who may log in as user*NAME",
     1,
     1,
     true,
     CLI_ASKS,
     cli_master_add},
    {{"master", "passwd"},
     "NAME --password-file FILE",
     "set a master's password",
     1,
     1,
     true,
     CLI_ASKS,
     cli_master_passwd},
    {{"master", "del"}, "NAME", "remove a master", 1, 1, false, CLI_ASKS, cli_master_del},
    {{"master", "list"}, "", "the masters' names", 0, 0, false, CLI_ASKS, cli_master_list},
    {{"alias", "set"},
     "ADDRESS TARGET...",
     "deliver mail for ADDRESS, or for all of @DOMAIN, to these",
     2,
     -1,
     false,
     CLI_ASKS,
     cli_alias_set},
    {{"alias", "del"}, "ADDRESS", "remove an alias", 1, 1, false, CLI_ASKS, cli_alias_del},
    {{"alias", "list"},
     "",
     "the aliases and whom they stand for",
     0,
     0,
     false,
     CLI_ASKS,
     cli_alias_list},
    {{"auth", "test"},
     "NAME [--password-file FILE] [--from ADDRESS] [--tls]",
     "explain a login, step by step",
     1,
     1,
     false,
     CLI_ASKS,
     cli_auth_test},
    {{"auth", "cache"},
     "stats|flush [NAME]",
     "what is remembered of verified credentials; forget it",
     1,
     2,
     false,
     CLI_ASKS,
     cli_auth_cache},
    {{"penalty", "list"},
     "",
     "whose failed logins are answered late",
     0,
     0,
     false,
     CLI_ASKS,
     cli_penalty_list},
    {{"penalty", "clear"},
     "[ADDRESS|NAME]",
     "forget a penalty, or all of them",
     0,
     1,
     false,
     CLI_ASKS,
     cli_penalty_clear},
    {{"pw", NULL},
     "[SCHEME] --password-file FILE",
     "print a credential made of a password",
     0,
     1,
     true,
     CLI_CLOSED,
     cli_pw},
    {{"deliver", NULL},
     "NAME [FILE...]",
     "put messages into a maildrop, as they are",
     1,
     -1,
     false,
     CLI_ASKS,
     cli_deliver},
    {{"import", NULL},
     "maildir|mbox|eml NAME PATH...",
     "put a mailbox into a maildrop, in order and with its dates",
     3,
     -1,
     false,
     CLI_ASKS,
     cli_import},
    {{"stat", NULL}, "", "the store in figures", 0, 0, false, CLI_ASKS, cli_stat},
    {{"health", NULL}, "", "exit code 0 when all is well", 0, 0, false, CLI_ASKS, cli_health},
    {{"checkpoint", NULL},
     "",
     "write everything to the index now",
     0,
     0,
     false,
     CLI_ASKS,
     cli_checkpoint},
    {{"compact", NULL},
     "[all]",
     "give back the space of deleted mail now; all: copy every closed segment, however full",
     0,
     1,
     false,
     CLI_ASKS,
     cli_compact},
    {{"check", NULL},
     "[--rate OCTETS] [--scratch DIR]",
     "look for damage: all checksums, and the index against the log",
     0,
     0,
     false,
     CLI_EITHER,
     cli_check},
    {{"damaged", NULL},
     "",
     "the messages that are known to be damaged",
     0,
     0,
     false,
     CLI_ASKS,
     cli_damaged},
    {{"rebuild", NULL},
     "",
     "make the index anew from the log; with --store, while no server runs",
     0,
     0,
     false,
     CLI_CLOSED,
     cli_rebuild},
    {{NULL, NULL}, NULL, NULL, 0, 0, false, CLI_ASKS, NULL},
};

enum cli_exit cli_fail(const struct error *error)
{
    if (error->path[0] != '\0') {
        fprintf(stderr, "restante: %s: %s", error->path, error->text);
    } else {
        fprintf(stderr, "restante: %s", error->text);
    }
    if (error->errno_value != 0) {
        fprintf(stderr, " (%s)", strerror(error->errno_value));
    }
    fputc('\n', stderr);
    return CLI_FAILED;
}

bool cli_ask(struct cli *cli, struct doc *request, const void *data, size_t length,
             struct doc *out_answer)
{
    struct error error = {.status = STATUS_OK};
    if (admin_client_ask(cli->client, request, data, length, out_answer, &error) != STATUS_OK) {
        cli_fail(&error);
        return false;
    }
    return true;
}

void cli_request(struct doc *out_request, const char *command, const char *name)
{
    doc_object(out_request);
    doc_put_text(out_request, "command", command);
    doc_put_text(out_request, "name", name);
}

static void print_pair(void *owner, const char *key, const char *value)
{
    (void)owner;
    if (strcmp(key, "ok") != 0) {
        printf("%s: %s\n", key, value);
    }
}

void cli_print(const struct cli *cli, const struct doc *doc)
{
    if (!cli->json) {
        doc_each(doc, print_pair, NULL);
        return;
    }
    char *text = doc_write(doc, true);
    puts(text != NULL ? text : "{\"ok\": false, \"error\": \"out of memory\"}");
    free(text);
}

#define READ_FIRST 65536 /* octets */

static enum status read_stream(FILE *file, char **out_data, size_t *out_length)
{
    size_t capacity = READ_FIRST, length = 0;
    char *data = malloc(capacity);
    while (data != NULL) {
        length += fread(data + length, 1, capacity - length, file);
        if (length < capacity) {
            break;
        }
        capacity *= 2;
        char *larger = realloc(data, capacity);
        if (larger == NULL) {
            free(data);
        }
        data = larger;
    }
    if (data == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (ferror(file)) {
        free(data);
        return STATUS_IO;
    }
    *out_data = data;
    *out_length = length;
    return STATUS_OK;
}

enum status cli_read_file(const char *path, char **out_data, size_t *out_length,
                          struct error *out_error)
{
    bool is_input = strcmp(path, "-") == 0;
    FILE *file = is_input ? stdin : fopen(path, "re");
    if (file == NULL) {
        return error_set(out_error, status_from_errno(errno), errno, path, "cannot open it");
    }
    enum status status = read_stream(file, out_data, out_length);
    if (status != STATUS_OK) {
        (void)error_set(out_error, status, errno, path, "cannot read it"); /* returned below */
    }
    if (!is_input) {
        (void)fclose(file); /* it was only read */
    }
    return status;
}
