/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many may be here at once: connections that have not logged in, for each address prefix
 * (io/address.h); sessions of one user; sessions of one user from one prefix. A bounded counting
 * table: what a session holds it gives back when it ends, whichever way.
 *
 * Any thread; a lock of one of AUTH_CAPS_SHARDS shards is held for some dozen instructions. Nothing
 * is allocated after caps_create. Should the table be full, which takes more sessions than it was
 * made for, nobody is refused for it, and that is counted.
 */
#ifndef AUTH_CAPS_H
#define AUTH_CAPS_H

#include "io/address.h"
#include "io/status.h"

#include <stdbool.h>
#include <stdint.h>

struct caps;

enum caps_kind { CAPS_PREFIX, CAPS_USER, CAPS_USER_PREFIX, CAPS_KINDS };

struct caps_config {
    uint32_t max[CAPS_KINDS]; /* 0: no cap of this kind */
    uint32_t sessions_max;    /* that there may be in all: the table's size */
    bool exempt_loopback;     /* peers on this machine are not counted */
};

/* What is held: in its session. All zero: nothing. */
struct caps_hold {
    uint32_t place; /* the table's */
};

/* STATUS_NO_MEMORY. */
MUST_CHECK enum status caps_create(const struct caps_config *config, struct caps **out_caps);
/* Everything must have been given back (asserted). NULLs. */
void caps_destroy(struct caps **caps);

/* A connection that has not logged in. False: its prefix has as many as it may, and `hold` holds
 * nothing. To be given back at the login and at the connection's end. */
bool caps_connect(struct caps *caps, const struct address *peer, struct caps_hold *hold);

/* A session of `name`. False: `out_kind` says of what there are too many, and nothing is held. */
struct caps_session {
    struct caps_hold user, user_prefix;
};
bool caps_log_in(struct caps *caps, const char *name, const struct address *peer,
                 struct caps_session *session, enum caps_kind *out_kind);

/* Give back; harmless when nothing is held. */
void caps_disconnect(struct caps *caps, struct caps_hold *hold);
void caps_log_out(struct caps *caps, struct caps_session *session);

struct caps_numbers {
    uint64_t held[CAPS_KINDS];    /* counted now */
    uint64_t refused[CAPS_KINDS]; /* since the start */
    uint64_t uncounted;           /* the table was full */
};
void caps_numbers(struct caps *caps, struct caps_numbers *out_numbers);

#endif
