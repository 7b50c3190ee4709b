/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of a passwd-file as Dovecot has it:
 *
 *   name:password:uid:gid:gecos:home:shell:extra
 *
 * Fields may be missing from the right. The name is read as a login name is (auth/identity.h). The
 * password is "{SCHEME}data" or, without braces, what crypt(3) made; empty or beginning with "!" or
 * "*" means that nobody can log in, though mail is taken. uid, gid, gecos, home and shell mean
 * nothing here. Extra fields are words "key" or "key=value" apart by spaces:
 *
 *   nologin        the right password is answered with a refusal ("nologin=n" and "=no": not so)
 *   reason=text    what the refusal says; "_" stands for a space in it
 *   allow_nets=    networks logins are admitted from, see terms_parse_networks
 *   tls_required   logins are admitted with TLS only (ours)
 *   userdb_...     and any other: no meaning here
 *   nopassword, proxy, proxy_maybe, host: cannot be honoured; the line is refused, for what they
 *                  say about the account is not what would happen
 *
 * Lines that are empty or begin with "#" say nothing. Pure; any thread.
 */
#ifndef AUTH_PASSWD_LINE_H
#define AUTH_PASSWD_LINE_H

#include "auth/account.h"
#include "auth/identity.h"

#include <stdbool.h>
#include <stddef.h>

enum passwd_line_kind {
    PASSWD_LINE_EMPTY,
    PASSWD_LINE_USER,
    PASSWD_LINE_LOCKED, /* a user whose password cannot be used: `out_problem` says why */
    PASSWD_LINE_BAD     /* not usable: `out_problem` says why */
};

/* Reads the name alone. `length` does not count the line's end; a CR before it is dropped.
 * `out_problem` is a constant text without anything of the line; untouched when there is none. */
enum passwd_line_kind passwd_line_name(const char *line, size_t length, const char *default_domain,
                                       struct identity *out_identity, const char **out_problem);

/* Reads all of it. The account's maildrop is AUTH_VOLUME_NONE and its generation 0. */
enum passwd_line_kind passwd_line_read(const char *line, size_t length, const char *default_domain,
                                       struct account *out_account, const char **out_problem);

#endif
