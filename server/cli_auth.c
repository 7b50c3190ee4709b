/* SPDX-License-Identifier: Apache-2.0 */
/* restante auth, penalty, pw, master, alias, and the terms of users. */
#include "auth/auth_limits.h"
#include "auth/password.h"
#include "io/mem.h"
#include "server/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first line of the password file, in memory the caller wipes and frees. */
static bool read_password(const struct cli *cli, char **out_text, size_t *out_size,
                          size_t *out_length)
{
    struct error error = {.status = STATUS_OK};
    if (cli_read_file(cli->password_file, out_text, out_size, &error) != STATUS_OK) {
        (void)cli_fail(&error); /* the caller's answer */
        return false;
    }
    size_t length = 0;
    while (length < *out_size && (*out_text)[length] != '\n' && (*out_text)[length] != '\r') {
        length++;
    }
    *out_length = length;
    return true;
}

/* Asks, with the password where one was given, and shows the answer or says it is done. */
static enum cli_exit ask(struct cli *cli, struct doc *request, const char *done)
{
    struct doc answer;
    char *password = NULL;
    size_t size = 0, length = 0;
    if (cli->password_file != NULL && !read_password(cli, &password, &size, &length)) {
        doc_free(request);
        return CLI_FAILED;
    }
    bool ok = cli_ask(cli, request, password, length, &answer);
    if (password != NULL) {
        mem_wipe(password, size);
        free(password);
    }
    if (!ok) {
        return CLI_FAILED;
    }
    if (cli->json || done == NULL) {
        cli_print(cli, &answer);
    } else {
        const char *name = doc_text(&answer, "name");
        printf("%s%s%s\n", done, name != NULL ? " " : "", name != NULL ? name : "");
    }
    doc_free(&answer);
    return CLI_OK;
}

/* --- auth --- */

static void print_steps(const struct doc *answer)
{
    struct doc steps, step;
    if (!doc_member(answer, "steps", &steps)) {
        return;
    }
    for (size_t i = 0; doc_item(&steps, i, &step); i++) {
        const char *what = doc_text(&step, "what"), *text = doc_text(&step, "text");
        printf("%-3s %-12s %s\n", doc_bool(&step, "good") ? "ok" : "NO", what != NULL ? what : "",
               text != NULL ? text : "");
    }
}

enum cli_exit cli_auth_test(struct cli *cli)
{
    struct doc request, answer;
    char *password = NULL;
    size_t size = 0, length = 0;
    if (cli->password_file != NULL && !read_password(cli, &password, &size, &length)) {
        return CLI_FAILED;
    }
    cli_request(&request, "auth_test", cli->arguments[0]);
    if (cli->from != NULL) {
        doc_put_text(&request, "from", cli->from);
    }
    doc_put_bool(&request, "tls", cli->tls);
    bool ok = cli_ask(cli, &request, password, length, &answer);
    if (password != NULL) {
        mem_wipe(password, size);
        free(password);
    }
    if (!ok) {
        return CLI_FAILED;
    }
    const char *verdict = doc_text(&answer, "verdict");
    bool good = verdict != NULL && (strcmp(verdict, "ok") == 0 || strcmp(verdict, "open") == 0);
    if (cli->json) {
        cli_print(cli, &answer);
    } else {
        print_steps(&answer);
    }
    doc_free(&answer);
    return good ? CLI_OK : CLI_FAILED;
}

enum cli_exit cli_auth_cache(struct cli *cli)
{
    struct doc request;
    bool flush = strcmp(cli->arguments[0], "flush") == 0;
    if (!flush && (strcmp(cli->arguments[0], "stats") != 0 || cli->argument_count > 1)) {
        fputs("restante: auth cache stats, or auth cache flush [NAME]\n", stderr);
        return CLI_USAGE;
    }
    cli_request(&request, flush ? "auth_flush" : "auth_cache",
                cli->argument_count > 1 ? cli->arguments[1] : NULL);
    return ask(cli, &request, flush ? "forgotten" : NULL);
}

/* --- penalties --- */

static void print_penalties(const struct doc *answer)
{
    struct doc list, one;
    if (!doc_member(answer, "penalties", &list)) {
        return;
    }
    for (size_t i = 0; doc_item(&list, i, &one); i++) {
        const char *kind = doc_text(&one, "kind"), *who = doc_text(&one, "who");
        printf("%-8s %-40s failures %llu, next reply after %.1f s, last %llu s ago\n",
               kind != NULL ? kind : "", who != NULL ? who : "",
               (unsigned long long)doc_number(&one, "failures", 0),
               (double)doc_number(&one, "delay_ms", 0) / 1000,
               (unsigned long long)doc_number(&one, "age_ms", 0) / 1000);
    }
}

enum cli_exit cli_penalty_list(struct cli *cli)
{
    struct doc request, answer;
    cli_request(&request, "penalty_list", NULL);
    if (!cli_ask(cli, &request, NULL, 0, &answer)) {
        return CLI_FAILED;
    }
    if (cli->json) {
        cli_print(cli, &answer);
    } else {
        print_penalties(&answer);
    }
    doc_free(&answer);
    return CLI_OK;
}

enum cli_exit cli_penalty_clear(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "penalty_clear", NULL);
    if (cli->argument_count > 0) {
        doc_put_text(&request, "who", cli->arguments[0]);
    }
    return ask(cli, &request, NULL);
}

/* --- pw: a credential to paste elsewhere --- */

enum cli_exit cli_pw(struct cli *cli)
{
    const char *scheme = cli->argument_count > 0 ? cli->arguments[0] : "";
    char credential[AUTH_CREDENTIAL_MAX + 1];
    char *password;
    size_t size, length;
    if (!read_password(cli, &password, &size, &length)) {
        return CLI_FAILED;
    }
    enum status status = password_make_for(scheme, password, length, credential, sizeof credential);
    mem_wipe(password, size);
    free(password);
    if (status == STATUS_OK) {
        puts(credential);
        mem_wipe(credential, sizeof credential);
        return CLI_OK;
    }
    fprintf(stderr, "restante: %s\n",
            status == STATUS_UNSUPPORTED ? "this scheme is not made here; there are:"
                                         : "this password cannot be stored so");
    for (size_t i = 0; status == STATUS_UNSUPPORTED && password_schemes[i] != NULL; i++) {
        fprintf(stderr, "  %s\n", password_schemes[i]);
    }
    return CLI_FAILED;
}

/* --- terms --- */

enum cli_exit cli_user_disable(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "user_terms", cli->arguments[0]);
    doc_put_text(&request, "disabled", "yes");
    doc_put_text(&request, "reason", cli->argument_count > 1 ? cli->arguments[1] : "");
    return ask(cli, &request, "disabled");
}

enum cli_exit cli_user_enable(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "user_terms", cli->arguments[0]);
    doc_put_text(&request, "disabled", "no");
    return ask(cli, &request, "enabled");
}

enum cli_exit cli_user_require_tls(struct cli *cli)
{
    struct doc request;
    const char *word = cli->arguments[1];
    if (strcmp(word, "yes") != 0 && strcmp(word, "no") != 0) {
        fputs("restante: user require-tls NAME yes, or no\n", stderr);
        return CLI_USAGE;
    }
    cli_request(&request, "user_terms", cli->arguments[0]);
    doc_put_text(&request, "tls", word);
    return ask(cli, &request, "changed");
}

enum cli_exit cli_user_allow(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "user_terms", cli->arguments[0]);
    doc_put_text(&request, "networks", cli->arguments[1]);
    return ask(cli, &request, "changed");
}

/* --- masters and aliases --- */

enum cli_exit cli_master_add(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "master_add", cli->arguments[0]);
    return ask(cli, &request, "added master");
}

enum cli_exit cli_master_passwd(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "master_passwd", cli->arguments[0]);
    return ask(cli, &request, "changed the password of master");
}

enum cli_exit cli_master_del(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "master_del", cli->arguments[0]);
    return ask(cli, &request, "removed master");
}

/* Prints a page of a list; returns how many, and in `last` the name of the last. */
static size_t print_page(const struct cli *cli, const struct doc *answer, const char *key,
                         char *last, size_t last_size)
{
    struct doc items, item;
    size_t count = 0;
    if (!doc_member(answer, key, &items)) {
        return 0;
    }
    for (; doc_item(&items, count, &item); count++) {
        const char *name = doc_text(&item, "name"), *targets = doc_text(&item, "targets");
        (void)snprintf(last, last_size, "%s", name != NULL ? name : "");
        if (cli->json) {
            cli_print(cli, &item);
        } else {
            printf("%s%s%s\n", last, targets != NULL ? ": " : "", targets != NULL ? targets : "");
        }
    }
    return count;
}

static enum cli_exit list_pages(struct cli *cli, const char *command, const char *key)
{
    char last[AUTH_NAME_MAX + 1] = "";
    size_t count;
    do {
        struct doc request, answer;
        cli_request(&request, command, NULL);
        doc_put_text(&request, "after", last);
        if (!cli_ask(cli, &request, NULL, 0, &answer)) {
            return CLI_FAILED;
        }
        count = print_page(cli, &answer, key, last, sizeof last);
        doc_free(&answer);
    } while (count > 0);
    return CLI_OK;
}

enum cli_exit cli_master_list(struct cli *cli)
{
    return list_pages(cli, "master_list", "masters");
}

enum cli_exit cli_alias_list(struct cli *cli)
{
    return list_pages(cli, "alias_list", "aliases");
}

enum cli_exit cli_alias_set(struct cli *cli)
{
    struct doc request;
    char *targets = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&targets, &length);
    for (int i = 1; stream != NULL && i < cli->argument_count; i++) {
        fprintf(stream, "%s%s", i > 1 ? "," : "", cli->arguments[i]);
    }
    if (stream == NULL || fclose(stream) != 0) {
        fputs("restante: out of memory\n", stderr);
        return CLI_FAILED;
    }
    cli_request(&request, "alias_set", cli->arguments[0]);
    doc_put_text(&request, "targets", targets);
    free(targets);
    return ask(cli, &request, "set");
}

enum cli_exit cli_alias_del(struct cli *cli)
{
    struct doc request;
    cli_request(&request, "alias_del", cli->arguments[0]);
    return ask(cli, &request, "removed");
}
