/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A third back end of the loop: no kernel, no time of its own. Sockets are buffers that a test
 * fills and empties; a seed decides in which order completions come, how much of a send is taken,
 * when a receive finds no buffer, and whether a cancel or the completion wins. The clock stands
 * still while anything can happen and then jumps to the next timer.
 *
 * One loop at a time, on the thread that made it. Answers of other threads (the store's) are waited
 * for when the seed says so, in real time; what the loop sees of them is their arrival.
 */
#ifndef TESTS_SIM_SIM_LOOP_H
#define TESTS_SIM_SIM_LOOP_H

#include "tests/proof/chance.h"

#include "io/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The far end of a connection, the test's. */
struct sim_socket {
    int fd;        /* what the server knows it by; -1 once the server has closed it */
    uint8_t *said; /* octets on their way to the server */
    size_t said_length, said_taken, said_capacity;
    bool finished, reset; /* by the client */
    uint8_t *heard;       /* octets the server has sent */
    size_t heard_length, heard_capacity;
    size_t window;     /* octets the client takes before it is full; it opens by sim_open */
    bool server_ended; /* FIN or close has come from the server */
};

/* What the network does wrong, to see that clients notice. */
enum sim_lie { SIM_HONEST, SIM_CHANGES, SIM_LOSES, SIM_REPEATS, SIM_LIES };

struct sim_config {
    uint64_t seed;
    enum sim_lie lie;
    void (*on_wake)(void *owner);
    /* How many questions to other threads are open (those that the loop's own reads will answer
     * may be among them), and how many answers have arrived. */
    uint32_t (*asked)(void *owner);
    uint32_t (*answered)(void *owner);
    bool is_vague; /* `asked` may count what nobody will answer just now */
    void *owner;
};

struct sim_counters {
    uint64_t completions, cuts, starved, cancels, cold_reads, jumps;
};

MUST_CHECK enum status sim_loop_create(const struct sim_config *config, struct loop **out_loop);
const struct sim_counters *sim_loop_counters(const struct loop *loop);

/* A connection; the server's end is `fd`. The test frees it with sim_socket_free when fd is -1. */
struct sim_socket *sim_socket_make(void);
void sim_socket_free(struct sim_socket *socket);
void sim_say(struct sim_socket *socket, const void *data, size_t length);

/* Virtual milliseconds. */
int64_t sim_now_ms(void);

#endif
