/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets. Opening them is start-up work on the main thread (low ports are bound before
 * privileges drop); accepting belongs to the worker.
 */
#ifndef IO_LISTEN_H
#define IO_LISTEN_H

#include "io/address.h"
#include "io/loop.h"
#include "io/status.h"

#include <stdbool.h>
#include <sys/types.h>

#define LISTEN_BACKLOG 4096 /* connections; the kernel caps it at net.core.somaxconn */

struct listen_config {
    struct address address;
    bool reuse_port;  /* one socket per worker (TCP); UNIX sockets are shared instead */
    bool once;        /* an address that is taken is not waited for */
    mode_t unix_mode; /* of a UNIX socket, e.g. 0660 */
    uid_t unix_owner; /* (uid_t)-1: as it comes */
    gid_t unix_group; /* (gid_t)-1: as it comes */
};

/*
 * Opens, binds and listens. A UNIX path that exists is removed first when it is a socket nobody
 * listens on; STATUS_EXISTS when somebody does. IPv6 sockets are V6ONLY unless the address is "*".
 * On success `*out_bound` (NULL is allowed) is the real address: port 0 has become a number.
 * An address that is taken is tried again for LISTEN_PATIENCE_MS, unless `once`: a server that was
 * killed a moment ago may still hold it. Blocks that long.
 */
MUST_CHECK enum status listen_open(const struct listen_config *config, int *out_fd,
                                   struct address *out_bound, struct error *out_error);

/* One worker's accepting end. Init, start, stop, wait for on_stopped, free. */
struct listener {
    struct loop *loop;
    struct loop_op op;
    struct deadline retry;    /* after running out of descriptors: 100 ms */
    struct loop_task stopped; /* calls on_stopped when there was nothing to cancel */
    int fd;                   /* not owned */
    struct address local;     /* length 0: differs from connection to connection */
    bool is_unix, stopping;
    void *owner;
    /* `fd` is non-blocking; peer and local are normalised. TCP has TCP_NODELAY, keep-alive and
     * TCP_USER_TIMEOUT set (see io_limits.h), all inherited from the listening socket; on a
     * loopback address also congestion control that does not pace. The callee owns fd. */
    void (*on_connection)(struct listener *listener, int fd, const struct address *peer,
                          const struct address *local);
    void (*on_stopped)(struct listener *listener); /* once after listener_stop; never inside it */
};

/* Sets the options that connections inherit on `fd`, which may come from listen_open or from
 * systemd. */
void listener_init(struct listener *listener, struct loop *loop, int fd, void *owner);
void listener_start(struct listener *listener);
void listener_stop(struct listener *listener);

#endif
