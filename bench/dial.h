/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calling a server without waiting: a socket, connect(2), and a watch until it is decided. Embedded
 * in a client; its loop's thread.
 */
#ifndef BENCH_DIAL_H
#define BENCH_DIAL_H

#include "io/address.h"
#include "io/loop.h"
#include "io/status.h"

struct dial {
    struct loop_op op;
    int fd;
    /* STATUS_OK: `fd` is connected and the callee's. Else there is no descriptor any more. */
    void (*on_dialed)(struct dial *dial, enum status status, int fd);
};

/* STATUS_OK: connected at once, *out_fd is the caller's. STATUS_PENDING: on_dialed follows. Else it
 * has failed. */
MUST_CHECK enum status dial_start(struct dial *dial, struct loop *loop,
                                  const struct address *server, int *out_fd);

/* Gives up what is pending; on_dialed follows with STATUS_CANCELLED. Harmless otherwise. */
void dial_cancel(struct dial *dial, struct loop *loop);

#endif
