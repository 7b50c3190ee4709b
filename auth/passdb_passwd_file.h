/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Dovecot-style passwd-file as a user database. It is read whole when it is opened and answers
 * from memory; a thread of its own looks every AUTH_PASSWD_FILE_CHECK_S whether the file is another
 * one or has changed, waits until it has been the same for two looks (it may be half written),
 * reads it and swaps the tables. Only for names whose lines differ are remembered verdicts
 * forgotten. When it cannot be read any more the last state goes on and a notice says so.
 *
 * Users have no maildrops here: auth/auth_drop.h. The file must stay readable for the server after
 * it has given up its privileges.
 */
#ifndef AUTH_PASSDB_PASSWD_FILE_H
#define AUTH_PASSDB_PASSWD_FILE_H

#include "auth/passdb.h"

struct auth_notice;

struct passdb_passwd_file_config {
    const char *path;
    const char *default_domain; /* appended to bare names */
    /* Bad lines, readings that failed and that succeeded. On the caller's thread while it is
     * opened, then on the file's own. NULL: nobody listens. */
    void (*on_notice)(void *owner, const struct auth_notice *notice);
    void *owner;
    uint32_t check_ms; /* 0: AUTH_PASSWD_FILE_CHECK_S; tests want less */
};

/* Reads the file and starts the thread. Blocking. STATUS_NOT_FOUND, STATUS_DENIED, STATUS_TOO_BIG,
 * STATUS_IO, STATUS_NO_MEMORY: nothing is left running and `out_error` says what to do. End it by
 * its ops: `stop`, then `destroy`. */
MUST_CHECK enum status passdb_passwd_file_create(const struct passdb_passwd_file_config *config,
                                                 struct passdb **out_passdb,
                                                 struct error *out_error);

#endif
