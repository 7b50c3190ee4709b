/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O contract. One loop per worker thread; two back ends behind it (io/uring.c and io/epoll.c;
 * tests bring a simulated one). Above this header nothing knows which one runs.
 *
 * The rules, which tests/conformance holds against every back end:
 *
 *  - An operation is a struct loop_op inside its owner. The owner keeps it, and every buffer it
 * names, alive and unmoved until `on_done` has been called.
 *  - Each submit is answered by exactly one `on_done`, also after a cancel or a close, and never
 * from inside the submitting call (nor from inside loop_cancel or loop_close).
 *  - After `on_done` begins, the op is idle: it may be submitted again from there, or freed.
 *  - Results are an octet count or a status. Short reads and short sends are normal.
 *  - Callbacks run on the loop's thread, one at a time. All functions but loop_wake and loop_stop
 *    belong to that thread.
 *  - At most one send-type operation (send, send_file) and one receive-type operation (accept,
 *    receive, watch) in flight per descriptor; the caller sees to that (asserted). The two waits
 * for readiness count as one of each.
 *  - Descriptors of socket operations are non-blocking. They end by loop_close, or, when another
 * owns them (a listener), are closed only after their operations have been cancelled and answered.
 *  - The loop's thread has SIGPIPE blocked: sendfile(2) cannot be asked not to raise it.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "io/counter.h"
#include "io/deadline.h"
#include "io/list.h"
#include "io/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;
struct loop_op;

enum loop_kind { LOOP_AUTO, LOOP_IO_URING, LOOP_EPOLL };

enum loop_receive_mode {
    LOOP_RECEIVE_STREAM, /* stays armed, many on_data; small buffers; for commands */
    LOOP_RECEIVE_BULK /* one on_data of up to LOOP_BULK_BUFFER octets, then on_done; for bodies */
};

struct loop_op {
    /* Once per submit. `octets` is what was moved (send, send_file, read), else 0.
     * receive: STATUS_OK (bulk, after its on_data), STATUS_EOF, or why it ended. */
    void (*on_done)(struct loop_op *op, enum status status, size_t octets);
    union {
        /* accept: zero or more times before on_done; `fd` (non-blocking, close-on-exec) is the
         * callee's from here on. */
        void (*on_accept)(struct loop_op *op, int fd);
        /* receive: zero or more times before on_done; `data` is valid until it returns. */
        void (*on_data)(struct loop_op *op, const uint8_t *data, size_t length);
    };
    struct {
        struct list_link link;
        struct loop_op *sibling; /* next operation in the loop's table of descriptors */
        union {
            struct iovec send; /* the first piece: what is tried again when the socket was full */
            struct {
                uint64_t offset;
                size_t length;
                void *data; /* read only */
            } file;
        };
        int fd;
        int file_fd;
        uint32_t slot;  /* the back end's table entry; together with its generation, user_data */
        int32_t result; /* octets, kept until the completion is run */
        uint8_t kind;   /* enum loop_op_kind of loop_backend.h; 0 idle */
        uint8_t status; /* kept like `result` */
        uint8_t mode;
        uint8_t flags; /* the back end's */
    } own;             /* the back end's, between submit and on_done */
};

/* True between a submit and the start of its on_done. */
bool loop_op_busy(const struct loop_op *op);

struct loop_config {
    enum loop_kind kind;
    uint32_t connections_max; /* sizes the completion queue; 0 means LOOP_CONNECTIONS_DEFAULT */
    uint32_t
        stream_buffers; /* provided buffers of LOOP_STREAM_BUFFER octets; 0: default; tests use 2 */
    uint32_t bulk_buffers;        /* provided buffers of LOOP_BULK_BUFFER octets; 0: default */
    void (*on_wake)(void *owner); /* after loop_wake from anywhere; several wakes may be one call */
    void *owner;
};

#define LOOP_STREAM_BUFFER       4096  /* octets of one receive buffer for commands */
#define LOOP_BULK_BUFFER         65536 /* octets of one receive buffer for message bodies */
#define LOOP_CONNECTIONS_DEFAULT 16384

/* What a metrics page shows; written by the loop's thread. */
struct loop_counters {
    struct counter turns, submits, completions;
    struct counter buffers_starved;   /* receives that found the buffer ring empty (ENOBUFS) */
    struct counter overflows;         /* completion-queue overflows the kernel reported */
    struct counter stale_completions; /* completions of a generation that is gone: must stay 0 */
};

/*
 * Makes a loop for the calling thread (which must be the one that runs it). With LOOP_AUTO a
 * refused ring falls back to epoll and `out_error`, when given, tells the cause and the cure with a
 * status other than OK while the call itself returns STATUS_OK: the caller logs it once per
 * process. With LOOP_IO_URING a refused ring is the call's failure. ENOMEM is retried for some
 * seconds, then with smaller rings (memlock is given back late after an exit).
 */
MUST_CHECK enum status loop_create(const struct loop_config *config, struct loop **out_loop,
                                   struct error *out_error);

/* Asks whether a ring can be made here, without keeping one; fills `out_error` with cause and cure.
 */
MUST_CHECK enum status loop_probe_uring(struct error *out_error);

/* No operation may be in flight (asserted). */
void loop_destroy(struct loop **loop);

/* "io_uring" or "epoll". */
const char *loop_backend_name(const struct loop *loop);

/* Readable from any thread for as long as the loop lives. */
const struct loop_counters *loop_counters(const struct loop *loop);

/* Monotonic milliseconds, read once per turn. */
int64_t loop_now_ms(const struct loop *loop);
struct deadline_wheel *loop_wheel(struct loop *loop);

/* Turns until loop_stop. */
void loop_run(struct loop *loop);

/* One turn: waits at most `wait_ms` (-1: until the next timer or event; 0: not at all), runs
 * completions, timers, the wake callback, then deferred tasks and the completions these caused. */
void loop_turn(struct loop *loop, int64_t wait_ms);

/* Ends loop_run after the current turn. Any thread. */
void loop_stop(struct loop *loop);

/* Makes the loop call on_wake soon. Any thread; async-signal-safe. */
void loop_wake(struct loop *loop);

/* Work for the end of this turn, run once, in order, before the loop waits again; used to flush
 * every touched connection with one send. A task already queued stays where it is. One queued by a
 * task is run in the next turn, which then does not wait. */
struct loop_task {
    struct list_link link;
    void (*on_run)(struct loop_task *task);
};
void loop_task_init(struct loop_task *task, void (*on_run)(struct loop_task *task));
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_task_cancel(struct loop_task *task);

/* Accepts connections on `listen_fd` until cancelled or failed. on_done: STATUS_CANCELLED, or
 * STATUS_LIMIT (out of descriptors or memory: back off, submit again), or STATUS_IO. */
void loop_accept(struct loop *loop, struct loop_op *op, int listen_fd);

/* Receives from `fd`. See enum loop_receive_mode. A starved receive is re-armed by the back end. */
void loop_receive(struct loop *loop, struct loop_op *op, int fd, enum loop_receive_mode mode);

#define LOOP_IOV_MAX 16 /* pieces of one send */

/* Sends what `iov` names (at most LOOP_IOV_MAX entries). The entries are read inside this call and
 * may be reused after it; the data they name stays alive until on_done. Completes with at least one
 * octet sent, or a failure: a full socket is waited for. `more`: more output follows at once
 * (MSG_MORE). */
void loop_send(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov,
               unsigned iov_count, bool more);

/* Sends octets of a file that are believed to be in the page cache, by sendfile(2), without a copy.
 * Completes with at least one octet, or a failure; STATUS_EOF when the file ends at or before
 * `offset`. It pushes out what a send with `more` held back. A file that proves cold blocks. */
void loop_send_file(struct loop *loop, struct loop_op *op, int fd, int file_fd, uint64_t offset,
                    size_t length);

/* The same on a socket for which the kernel encrypts. A full one is pushed before it is waited for:
 * up to Linux 6.4 a sendfile(2) that is cut short under kernel TLS leaves whole records queued and
 * starts nothing that would send them, so that room would never come. */
void loop_send_file_encrypted(struct loop *loop, struct loop_op *op, int fd, int file_fd,
                              uint64_t offset, size_t length);

/* Waits, in the place of a receive, until the peer of `fd` is gone: STATUS_RESET after a reset (or
 * a close of a UNIX peer), STATUS_EOF when it has sent FIN (it may still read). Takes no input. For
 * connections that do not want input now but must not outlive their peer. */
void loop_watch(struct loop *loop, struct loop_op *op, int fd);

/* Waits until a read from `fd` would not block: there is input, or the peer's end, or an error, all
 * of which the read will tell. STATUS_OK; takes no input; in the place of a receive. For those that
 * read by themselves, as TLS does. */
void loop_wait_readable(struct loop *loop, struct loop_op *op, int fd);

/* The same for room to write, in the place of a send. */
void loop_wait_writable(struct loop *loop, struct loop_op *op, int fd);

/* Reads a file where it may have to come from the disk; never blocks the loop. 0 octets with
 * STATUS_EOF at the end of the file. Cannot be cancelled once begun, but answers all the same. */
void loop_read(struct loop *loop, struct loop_op *op, int file_fd, void *data, size_t length,
               uint64_t offset);

/* Asks that `op` end early; its on_done follows (CANCELLED, or what it had reached by then).
 * Harmless when idle. */
void loop_cancel(struct loop *loop, struct loop_op *op);

/* Ends a socket: when anything is in flight on it, shutdown(2), cancels every operation on `fd`,
 * and when the last of them has been answered closes it and answers `op` (always STATUS_OK), last
 * of all. */
void loop_close(struct loop *loop, struct loop_op *op, int fd);

#endif
