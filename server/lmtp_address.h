/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of MAIL and RCPT: a path and ESMTP parameters (RFC 5321 section 4.1.2, with RFC
 * 1870, 6152, 6531 and 3461). Strict about what ends up in headers and look-ups: no octet of a
 * result is a control character, and beyond ASCII only well-formed UTF-8 comes through.
 *
 * Forgiven: spaces behind the colon, at the end and between parameters, dots anywhere in a local
 * part (addresses in use that RFC 5321 would have quoted), and a bare name without a domain.
 *
 * Pure: nothing is copied, results point into what was given. Any octets at all may be fed.
 */
#ifndef SERVER_LMTP_ADDRESS_H
#define SERVER_LMTP_ADDRESS_H

#include "server/command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lmtp_syntax {
    LMTP_SYNTAX_OK,
    LMTP_SYNTAX_COMMAND,          /* no FROM:<...> or TO:<...> */
    LMTP_SYNTAX_ADDRESS,          /* what stands between the angle brackets is no address */
    LMTP_SYNTAX_NOT_ASCII,        /* an internationalised address in a message without SMTPUTF8 */
    LMTP_SYNTAX_PARAMETER,        /* a parameter is malformed or given twice */
    LMTP_SYNTAX_UNKNOWN_PARAMETER /* not one of ours, or a value we do not offer */
};

struct lmtp_mail {
    struct command_word sender; /* without brackets and source route; empty for <> */
    uint64_t size;              /* SIZE: octets, the largest number when beyond; 0: not given */
    bool utf8;                  /* SMTPUTF8 */
};

struct lmtp_rcpt {
    struct command_word address; /* without brackets and source route */
    struct command_word orcpt;   /* ORCPT as given, xtext kept; empty when not given */
};

/* `rest` is what stands behind "MAIL ". Parameters SIZE BODY SMTPUTF8 RET ENVID. `out_mail` is only
 * touched by LMTP_SYNTAX_OK. */
enum lmtp_syntax lmtp_parse_mail(struct command_word rest, struct lmtp_mail *out_mail);

/* `rest` is what stands behind "RCPT "; `utf8` whether MAIL said SMTPUTF8. Parameters NOTIFY ORCPT,
 * which are not announced but harmless (RFC 3461; the MTA in front sends what they ask for). */
enum lmtp_syntax lmtp_parse_rcpt(struct command_word rest, bool utf8, struct lmtp_rcpt *out_rcpt);

/* "BDAT 123 LAST" behind "BDAT ". A `has_size` that is true with LMTP_SYNTAX_PARAMETER means that
 * so many octets follow although the command is wrong. */
struct lmtp_bdat {
    bool has_size;
    uint64_t size; /* octets of the chunk */
    bool last;
};
enum lmtp_syntax lmtp_parse_bdat(const struct command_line *line, struct lmtp_bdat *out_bdat);

#endif
