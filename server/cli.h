/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line's commands, as a table. Each talks to an admin_client and prints for a person
 * or, with
 * --json, for a program. Private to restante.c and cli_*.c.
 */
#ifndef SERVER_CLI_H
#define SERVER_CLI_H

#include "server/admin_client.h"
#include "server/config.h"

#include <stdbool.h>

/* Exit codes: scripts rely on them. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1, /* of check: damage was found */
    CLI_USAGE = 2,
    CLI_COULD_NOT = 2, /* check could not be done */
};

struct cli {
    const char *password_file; /* --password-file; NULL: not given */
    const char *from;          /* --from; NULL: not given */
    bool tls, json;
    uint64_t rate;       /* --rate; 0: not given */
    const char *scratch; /* --scratch; NULL: not given */
    const struct config *config;
    struct admin_client *client; /* NULL for commands that work on a closed store */
    char *const *arguments;      /* behind the command's words */
    int argument_count;
};

/* Where a command works. */
enum cli_place {
    CLI_ASKS,   /* it asks an admin_client: a server's, or one of its own */
    CLI_CLOSED, /* on a store that nobody has open, without an admin_client */
    CLI_EITHER, /* asks a running server; without one it looks at the store as it lies there */
};

struct cli_command {
    const char *words[2]; /* "user", "add"; the second NULL where there is one word */
    const char *usage;    /* what follows them */
    const char *help;
    int arguments_min, arguments_max; /* -1: any number */
    bool needs_password;
    enum cli_place place;
    enum cli_exit (*run)(struct cli *cli);
};

extern const struct cli_command cli_commands[]; /* ends with a row without words */

/* Prints "restante: ..." to standard error and returns CLI_FAILED. */
enum cli_exit cli_fail(const struct error *error);

/* Asks; on a failure prints it. The caller frees the answer after true. */
MUST_CHECK bool cli_ask(struct cli *cli, struct doc *request, const void *data, size_t length,
                        struct doc *out_answer);

/* A request of a command, with "name" when that is not NULL. */
void cli_request(struct doc *out_request, const char *command, const char *name);

/* Prints a document: as JSON, or a line `key: value` for each member but "ok". */
void cli_print(const struct cli *cli, const struct doc *doc);

/* A whole file, or standard input for "-", into memory the caller frees. */
MUST_CHECK enum status cli_read_file(const char *path, char **out_data, size_t *out_length,
                                     struct error *out_error);

/* cli_user.c */
enum cli_exit cli_user_add(struct cli *cli);
enum cli_exit cli_user_passwd(struct cli *cli);
enum cli_exit cli_user_del(struct cli *cli);
enum cli_exit cli_user_list(struct cli *cli);
enum cli_exit cli_user_show(struct cli *cli);
enum cli_exit cli_user_import(struct cli *cli);
/* cli_auth.c */
enum cli_exit cli_auth_test(struct cli *cli);
enum cli_exit cli_auth_cache(struct cli *cli);
enum cli_exit cli_penalty_list(struct cli *cli);
enum cli_exit cli_penalty_clear(struct cli *cli);
enum cli_exit cli_pw(struct cli *cli);
enum cli_exit cli_user_disable(struct cli *cli);
enum cli_exit cli_user_enable(struct cli *cli);
enum cli_exit cli_user_require_tls(struct cli *cli);
enum cli_exit cli_user_allow(struct cli *cli);
enum cli_exit cli_master_add(struct cli *cli);
enum cli_exit cli_master_passwd(struct cli *cli);
enum cli_exit cli_master_del(struct cli *cli);
enum cli_exit cli_master_list(struct cli *cli);
enum cli_exit cli_alias_set(struct cli *cli);
enum cli_exit cli_alias_del(struct cli *cli);
enum cli_exit cli_alias_list(struct cli *cli);
/* cli_mail.c */
enum cli_exit cli_deliver(struct cli *cli);
enum cli_exit cli_import(struct cli *cli);
/* cli_care.c */
enum cli_exit cli_check(struct cli *cli);
enum cli_exit cli_damaged(struct cli *cli);
enum cli_exit cli_rebuild(struct cli *cli);
/* cli_store.c */
enum cli_exit cli_stat(struct cli *cli);
enum cli_exit cli_health(struct cli *cli);
enum cli_exit cli_checkpoint(struct cli *cli);
enum cli_exit cli_compact(struct cli *cli);

#endif
