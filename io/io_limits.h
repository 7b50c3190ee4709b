/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every bound of io/ that is not part of a contract header, with unit and source.
 */
#ifndef IO_IO_LIMITS_H
#define IO_IO_LIMITS_H

/* mem */
#define MEM_ARENA_BLOCK_FIRST \
    1024                          /* octets; a session's small strings fit into the first block \
                                   */
#define MEM_ARENA_BLOCK_MAX 32768 /* octets a block grows to by doubling */

#define MEM_DECAY_MS 1000 /* milliseconds freed memory is kept for reuse; jemalloc's own is 10 s */

/* log */
#define LOG_QUEUE_OCTETS (1024 * 1024) /* octets queued before lines are dropped: ~5,000 lines */
#define LOG_WRITE_OCTETS (64 * 1024)   /* octets of one write by the log thread */
#define LOG_REST_MS      10            /* between its writes: 100 a second, and nobody notices */

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
#define LISTEN_TAKEN_RETRY_MS   20     /* between two tries at an address that is taken */
#define LISTEN_PATIENCE_MS      2000   /* how long the ring of a killed server may hold it */
#define LISTEN_RETRY_MS         100    /* pause after running out of descriptors */
#define LISTEN_KEEPALIVE_IDLE_S 60     /* a silent peer is asked after this */
#define LISTEN_KEEPALIVE_STEP_S 15     /* and then this often */
#define LISTEN_KEEPALIVE_COUNT  4      /* before it counts as gone */
#define LISTEN_USER_TIMEOUT_MS  120000 /* output unacknowledged for so long ends it */

/* tls */
#define TLS_FILE_MAX        (1024 * 1024) /* octets of a file with certificates or a key */
#define TLS_CHAIN_MAX       16            /* certificates behind the first; real chains have 3 */
#define TLS_NAME_MAX        255           /* octets of a host name; RFC 1035 section 3.1 */
#define TLS_TICKET_KEYS_MAX 16            /* keys of a ticket key file */
#define TLS_RECORD_MAX      16384         /* octets of one record; RFC 8446 section 5.1 */

/* warm */
#define WARM_LOOK_STEP (64 * 1024) /* octets between two looks into the page cache */

/* conn */
#define CONN_HELD_FIRST             512 /* octets of the first buffer for input not taken */
#define CONN_HELD_MAX               (2 * 1024 * 1024) /* octets kept; more is an owner gone wrong */
#define CONN_WARM_MS                1000 /* how long a look into the page cache is believed */
#define CONN_TLS_INPUT_TURN         (64 * 1024)  /* octets decrypted for one connection in a turn */
#define CONN_TLS_OUTPUT_TURN        (128 * 1024) /* octets encrypted for one: 50 us */
#define CONN_TLS_HANDSHAKES_TURN_US 1000 /* then the next handshake waits for the next turn */
#define CONN_TLS_KEY_UPDATES_MAX    64 /* of one peer; an honest one makes one each 2^24 records */
#define CONN_BLOCKS_KEPT            32 /* free output blocks a worker keeps: 1 MiB */
#define CONN_CHUNKS_KEPT            1024 /* free chunk headers a worker keeps */

#endif
