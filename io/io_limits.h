/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound of io/ that is not part of a contract header, with unit and source.
 */
#ifndef IO_IO_LIMITS_H
#define IO_IO_LIMITS_H

/* mem */
#define MEM_ARENA_BLOCK_FIRST                                                                   \
    1024                          /* octets; a session's small strings fit into the first block \
                                   */
#define MEM_ARENA_BLOCK_MAX 32768 /* octets a block grows to by doubling */

/* log */
#define LOG_QUEUE_OCTETS (1024 * 1024) /* octets queued before lines are dropped: ~5,000 lines */
#define LOG_WRITE_OCTETS (64 * 1024)   /* octets of one write by the log thread */

/* loop */
#define LOOP_SQ_ENTRIES             256   /* submissions gathered before a forced submit */
#define LOOP_SQ_ENTRIES_MIN         32    /* what halving after ENOMEM stops at */
#define LOOP_CQ_ENTRIES_MIN         1024  /* completions */
#define LOOP_CQ_ENTRIES_MAX         16384 /* completions; 256 KiB of locked memory a ring */
#define LOOP_CQES_PER_BATCH         128   /* completions copied out of the ring at once */
#define LOOP_STREAM_BUFFERS_DEFAULT 256   /* buffers a worker: 1 MiB */
#define LOOP_BULK_BUFFERS_DEFAULT   32    /* buffers a worker: 2 MiB, touched only by deliveries */
#define LOOP_BUFFERS_MAX            32768 /* buffers in one group; the kernel's limit */
#define LOOP_SLOTS_FIRST            256   /* operations; the table doubles */
#define LOOP_MEMLOCK_RETRY_MS       5000  /* locked memory comes back some time after an exit */
#define LOOP_MEMLOCK_RETRY_STEP_MS  100
#define LOOP_SEND_FILE_MAX          (1 << 30) /* octets of one sendfile; below its own 2 GiB */

/* epoll */
#define EPOLL_EVENTS_PER_TURN  256 /* events of one epoll_wait */
#define EPOLL_READS_PER_TURN   4   /* receives from one socket in a turn: fairness */
#define EPOLL_ACCEPTS_PER_TURN 64  /* connections taken from one listener in a turn */
#define EPOLL_READ_THREADS     2   /* helper threads for cold reads */

/* listen */
#define LISTEN_RETRY_MS         100    /* pause after running out of descriptors */
#define LISTEN_KEEPALIVE_IDLE_S 60     /* a silent peer is asked after this */
#define LISTEN_KEEPALIVE_STEP_S 15     /* and then this often */
#define LISTEN_KEEPALIVE_COUNT  4      /* before it counts as gone */
#define LISTEN_USER_TIMEOUT_MS  120000 /* output unacknowledged for so long ends it */

/* conn */
#define CONN_HELD_FIRST  512               /* octets of the first buffer for input not taken */
#define CONN_HELD_MAX    (2 * 1024 * 1024) /* octets kept; above, the owner is broken: abort */
#define CONN_PROBE_STEP  (64 * 1024)       /* octets between two looks into the page cache */
#define CONN_BLOCKS_KEPT 64                /* free output blocks a worker keeps: 2 MiB */
#define CONN_CHUNKS_KEPT 1024              /* free chunk headers a worker keeps */

#endif
