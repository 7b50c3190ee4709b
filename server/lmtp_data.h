/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows DATA: message octets with dots stuffed, up to CRLF "." CRLF (RFC 5321
 * section 4.5.2). Nothing else ends a message: a lenient end (LF "." LF and its kin) would let one
 * message smuggle in another. A dot is dropped only where a line begins behind CRLF; all other
 * octets are content.
 *
 * Pure: octets stay where they are; one decoder a message; fed in pieces cut anywhere.
 */
#ifndef SERVER_LMTP_DATA_H
#define SERVER_LMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lmtp_data_state {
    LMTP_DATA_LINE_START, /* behind CRLF, or at the very start */
    LMTP_DATA_TEXT,
    LMTP_DATA_CR,     /* behind a CR that has been passed on */
    LMTP_DATA_DOT,    /* behind a dot at the start of a line, which was dropped */
    LMTP_DATA_DOT_CR, /* behind such a dot and a CR that is held back */
    LMTP_DATA_ENDED
};

struct lmtp_data {
    enum lmtp_data_state state;
    uint64_t octets; /* of content so far */
};

/* A stretch of content: within what was given, or a constant. */
struct lmtp_run {
    const uint8_t *data;
    size_t length; /* octets; may be 0 */
};

/* A new message. */
void lmtp_data_init(struct lmtp_data *decoder);

/*
 * Reads on in `length` (at least 1) octets at `data` until a run of content ends; sets `*out_run`
 * and returns the octets done with, which may be 0 when the run is a constant: call again until all
 * is taken or the state is LMTP_DATA_ENDED. What stands behind the end is not taken.
 */
size_t lmtp_data_take(struct lmtp_data *decoder, const uint8_t *data, size_t length,
                      struct lmtp_run *out_run);

#endif
