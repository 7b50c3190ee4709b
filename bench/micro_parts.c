/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces that need neither a session nor a store: lines, replies, output, a turn of the loop. */
#include "bench/micro.h"

#include "io/sendq.h"
#include "server/command.h"
#include "server/line.h"
#include "server/pop3.h"
#include "server/session.h"
#include "storage/checksum.h"
#include "storage/wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- lines --- */

static const char commands[] = "USER demo1@localhost\r\nPASS a password\r\nSTAT\r\nLIST\r\nUIDL\r\n"
                               "RETR 17\r\nDELE 17\r\nNOOP\r\nTOP 4711 10\r\nQUIT\r\n";
#define COMMANDS 10

static void parse_commands(void)
{
    const struct session_protocol *protocol = &pop3_protocol;
    const uint8_t *data = (const uint8_t *)commands;
    size_t length = sizeof commands - 1, found = 0;
    struct line_reader reader;
    line_reader_init(&reader, protocol->line_length_max);
    while (length > 0) {
        const char *text;
        size_t text_length, taken;
        struct command_line line;
        (void)line_next(&reader, data, length, &text, &text_length, &taken);
        command_parse(text, text_length, &line);
        found += command_find(protocol->commands, protocol->command_count, line.verb) != NULL;
        data += taken;
        length -= taken;
    }
    stage_check(found == COMMANDS, "a command was not found");
}

static void run_lines(struct stage *stage, unsigned count)
{
    for (unsigned done = 0; done < count; done += COMMANDS) {
        parse_commands();
    }
}

/* --- output --- */

#define REPLIES 8 /* queued before they are sent together */

static struct sendq_pools pools;
static struct sendq queue;

static void open_queue(struct stage *stage)
{
    sendq_pools_init(&pools);
    sendq_init(&queue, &pools);
}

static void close_queue(struct stage *stage)
{
    sendq_clear(&queue, STATUS_OK);
    sendq_pools_deinit(&pools);
}

static void run_queue(struct stage *stage, unsigned count)
{
    static const char reply[] = "+OK 2 messages (320 octets)\r\n";
    for (unsigned done = 0; done < count; done += REPLIES) {
        struct iovec iov[16];
        size_t length = 0;
        for (unsigned i = 0; i < REPLIES; i++) {
            stage_check(sendq_copy(&queue, reply, sizeof reply - 1) == STATUS_OK, "no memory");
        }
        unsigned pieces = sendq_gather(&queue, iov, 16);
        for (unsigned i = 0; i < pieces; i++) {
            length += iov[i].iov_len;
        }
        sendq_sent(&queue, length);
        stage_check(sendq_empty(&queue), "output was left");
    }
}

/* --- what a body costs on the way in --- */

static void run_wire(struct stage *stage, unsigned count)
{
    static uint8_t out[WIRE_EXPANSION_MAX(STAGE_MESSAGE_OCTETS) + WIRE_TAIL_MAX];
    for (unsigned i = 0; i < count; i++) {
        struct wire_encoder encoder;
        size_t written;
        wire_init(&encoder);
        size_t taken = wire_encode(&encoder, (const uint8_t *)stage->message, STAGE_MESSAGE_OCTETS,
                                   out, sizeof out, &written);
        stage_check(taken == STAGE_MESSAGE_OCTETS, "the wire form has no room");
        (void)wire_finish(&encoder, out + written);
    }
}

/* --- a turn of the loop: an octet comes, an octet goes --- */

static struct loop_op receiving, sending;
static struct loop *loop;
static int pair[2];

static void on_sent(struct loop_op *op, enum status status, size_t octets)
{
    stage_check(status == STATUS_OK && octets == 1, "an octet was not sent");
}

static void on_octet(struct loop_op *op, const uint8_t *data, size_t length)
{
    static char answer;
    const struct iovec iov = {&answer, 1};
    loop_send(loop, &sending, pair[0], &iov, 1, false);
}

static void on_received(struct loop_op *op, enum status status, size_t octets)
{
}

static void open_loop(struct stage *stage)
{
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    stage_check(failed == 0, "no socket pair");
    loop = stage->worker.loop;
    receiving = (struct loop_op){.on_done = on_received, .on_data = on_octet};
    sending = (struct loop_op){.on_done = on_sent};
    loop_receive(loop, &receiving, pair[0], LOOP_RECEIVE_STREAM);
}

static void close_loop(struct stage *stage)
{
    (void)close(pair[1]); /* ends the receive */
    while (loop_op_busy(&receiving)) {
        loop_turn(loop, 1000);
    }
    (void)close(pair[0]); /* nothing is in flight on it */
}

static void run_loop(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char octet = 'x';
        bool heard = false;
        stage_check(send(pair[1], &octet, 1, 0) == 1, "an octet was not said");
        while (!heard || loop_op_busy(&sending)) {
            loop_turn(loop, heard ? 0 : 1000);
            heard = heard || recv(pair[1], &octet, 1, 0) == 1;
        }
    }
}

const struct micro_piece micro_parts[] = {
    {"line-parse", "command line parsed and looked up", 1000, true, LOOP_EPOLL, NULL, run_lines,
     NULL},
    {"sendq", "reply queued, gathered, sent (8 at a time)", 800, true, LOOP_EPOLL, open_queue,
     run_queue, close_queue},
    {"wire-4k", "body of 4 KB brought into wire form", 20, true, LOOP_EPOLL, NULL, run_wire, NULL},
    {"loop-epoll", "octet received and answered", 400, true, LOOP_EPOLL, open_loop, run_loop,
     close_loop},
    {"loop-uring", "octet received and answered", 400, false, LOOP_IO_URING, open_loop, run_loop,
     close_loop},
    {0}};
