/* SPDX-License-Identifier: Apache-2.0 */
/* restante user ... */
#include "io/mem.h"
#include "server/cli.h"
#include "server/server_limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A request that carries the first line of the password file. */
static enum cli_exit ask_with_password(struct cli *cli, const char *command, const char *done)
{
    struct error error = {.status = STATUS_OK};
    char *password;
    size_t length;
    if (cli_read_file(cli->password_file, &password, &length, &error) != STATUS_OK) {
        return cli_fail(&error);
    }
    size_t line = 0;
    while (line < length && password[line] != '\n' && password[line] != '\r') {
        line++;
    }
    struct doc request, answer;
    cli_request(&request, command, cli->arguments[0]);
    bool ok = cli_ask(cli, &request, password, line, &answer);
    mem_wipe(password, length);
    free(password);
    if (!ok) {
        return CLI_FAILED;
    }
    if (cli->json) {
        cli_print(cli, &answer);
    } else {
        printf("%s %s\n", done, doc_text(&answer, "name"));
    }
    doc_free(&answer);
    return CLI_OK;
}

enum cli_exit cli_user_add(struct cli *cli)
{
    return ask_with_password(cli, "user_add", "added");
}

enum cli_exit cli_user_passwd(struct cli *cli)
{
    return ask_with_password(cli, "user_passwd", "changed the password of");
}

enum cli_exit cli_user_del(struct cli *cli)
{
    struct doc request, answer;
    cli_request(&request, "user_del", cli->arguments[0]);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    if (cli->json) {
        cli_print(cli, &answer);
    } else {
        printf("removed %s and its mail\n", doc_text(&answer, "name"));
    }
    doc_free(&answer);
    return CLI_OK;
}

enum cli_exit cli_user_show(struct cli *cli)
{
    struct doc request, answer;
    cli_request(&request, "user_show", cli->arguments[0]);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    cli_print(cli, &answer);
    doc_free(&answer);
    return CLI_OK;
}

/* --- list --- */

/* Prints a page of users; returns how many, and in `last` the name of the last. */
static size_t print_page(const struct cli *cli, const struct doc *answer, bool first, char *last,
                         size_t last_size)
{
    struct doc users, user;
    size_t count = 0;
    if (!doc_member(answer, "users", &users)) {
        return 0;
    }
    for (; doc_item(&users, count, &user); count++) {
        const char *name = doc_text(&user, "name");
        if (name == NULL) {
            return 0;
        }
        (void)snprintf(last, last_size, "%s", name);
        if (!cli->json) {
            puts(name);
            continue;
        }
        char *text = doc_write(&user, false);
        printf("%s\n  %s", first && count == 0 ? "" : ",", text != NULL ? text : "null");
        free(text);
    }
    return count;
}

enum cli_exit cli_user_list(struct cli *cli)
{
    char last[512] = "";
    size_t count;
    bool first = true;
    if (cli->json) {
        fputs("{\"users\": [", stdout);
    }
    do {
        struct doc request, answer;
        cli_request(&request, "user_list", NULL);
        doc_put_text(&request, "after", last);
        if (!cli_ask(cli, &request, NULL, 0, &answer)) {
            return CLI_FAILED;
        }
        count = print_page(cli, &answer, first, last, sizeof last);
        first = false;
        doc_free(&answer);
    } while (count > 0);
    if (cli->json) {
        puts("\n]}");
    }
    return CLI_OK;
}

/* --- import --- */

struct user_import {
    struct cli *cli;
    const char *path;
    uint64_t sent, answered, added, failed;
    uint64_t lines[ADMIN_WINDOW]; /* of the requests without an answer, for messages */
    struct error error;
};

static enum status take_answer(struct user_import *import)
{
    struct doc answer;
    enum status status = admin_client_receive(import->cli->client, &answer, &import->error);
    if (status != STATUS_OK) {
        return status;
    }
    struct error refused = {.status = STATUS_OK};
    uint64_t line = import->lines[import->answered++ % ADMIN_WINDOW];
    if (admin_client_verdict(&answer, &refused) == STATUS_OK) {
        import->added++;
    } else {
        import->failed++;
        fprintf(stderr, "restante: %s:%llu: %s\n", import->path, (unsigned long long)line,
                refused.text);
    }
    doc_free(&answer);
    return STATUS_OK;
}

static enum status send_user(struct user_import *import, uint64_t line, const char *name,
                             const char *secret)
{
    struct doc request;
    char credential[1024];
    /* Without a scheme a passwd-file means crypt(3). */
    (void)snprintf(credential, sizeof credential, "%s%s", secret[0] == '{' ? "" : "{CRYPT}",
                   secret);
    while (import->sent - import->answered >= ADMIN_WINDOW) {
        enum status status = take_answer(import);
        if (status != STATUS_OK) {
            return status;
        }
    }
    cli_request(&request, "user_add", name);
    doc_put_text(&request, "credential", credential);
    import->lines[import->sent++ % ADMIN_WINDOW] = line;
    enum status status = admin_client_send(import->cli->client, &request, NULL, 0, &import->error);
    doc_free(&request);
    mem_wipe(credential, sizeof credential);
    return status;
}

/* name:secret:the rest, which is not ours. */
static enum status import_line(struct user_import *import, uint64_t number, char *line)
{
    char *rest = line;
    char *name = strsep(&rest, ":");
    char *secret = strsep(&rest, ":");
    if (name[0] == '\0' || name[0] == '#') {
        return STATUS_OK;
    }
    if (secret == NULL || secret[0] == '\0') {
        fprintf(stderr, "restante: %s:%llu: no password: write name:{SCHEME}hash\n", import->path,
                (unsigned long long)number);
        import->failed++;
        return STATUS_OK;
    }
    return send_user(import, number, name, secret);
}

static enum status import_lines(struct user_import *import, char *text)
{
    enum status status = STATUS_OK;
    uint64_t number = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line != NULL && status == STATUS_OK;
         line = strsep(&rest, "\n")) {
        line[strcspn(line, "\r")] = '\0';
        status = import_line(import, ++number, line);
    }
    while (status == STATUS_OK && import->answered < import->sent) {
        status = take_answer(import);
    }
    return status;
}

enum cli_exit cli_user_import(struct cli *cli)
{
    struct user_import import = {.cli = cli, .path = cli->arguments[0]};
    char *text;
    size_t length;
    if (cli_read_file(import.path, &text, &length, &import.error) != STATUS_OK) {
        return cli_fail(&import.error);
    }
    char *whole = realloc(text, length + 1);
    if (whole == NULL) {
        free(text);
        return CLI_FAILED;
    }
    whole[length] = '\0';
    enum status status = import_lines(&import, whole);
    mem_wipe(whole, length);
    free(whole);
    if (status != STATUS_OK) {
        return cli_fail(&import.error);
    }
    struct doc summary;
    doc_object(&summary);
    doc_put_number(&summary, "added", import.added);
    doc_put_number(&summary, "failed", import.failed);
    cli_print(cli, &summary);
    doc_free(&summary);
    return import.failed == 0 ? CLI_OK : CLI_FAILED;
}
