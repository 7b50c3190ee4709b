/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/pop_replies.h"

#include "bench/generator.h"
#include "bench/pop_login.h"

#include <stdlib.h>
#include <string.h>

static struct pop_pending *pending_first(struct pop_client *client)
{
    return &client->pending[client->first];
}

/* The oldest command has its whole reply. */
static void reply_over(struct pop_client *client)
{
    struct pop_pending *pending = pending_first(client);
    tally_command(&client->generator->tally, (enum bench_command)pending->command, pending->sent_ns,
                  generator_now_ns());
    client->first = (uint8_t)((client->first + 1) % RUN_PIPELINE_MAX);
    client->in_flight--;
    client->multi = false;
    pop_client_advance(client);
}

/* Numbers */

/* Reads a number and the blank behind it; NULL when there is none. */
static const char *read_number(const char *at, const char *end, uint64_t *out_number)
{
    uint64_t number = 0;
    const char *begin = at;
    while (at < end && *at >= '0' && *at <= '9' && at - begin < 19) {
        number = number * 10 + (uint64_t)(*at++ - '0');
    }
    if (at == begin) {
        return NULL;
    }
    *out_number = number;
    return at < end && *at == ' ' ? at + 1 : at;
}

static size_t without_line_end(const char *line, size_t length)
{
    length -= length > 0 && line[length - 1] == '\n';
    length -= length > 0 && line[length - 1] == '\r';
    return length;
}

/* Listings */

static bool size_keep(struct pop_client *client, uint64_t octets)
{
    if (client->size_count == client->size_capacity) {
        uint32_t capacity = client->size_capacity == 0 ? 16 : client->size_capacity * 2;
        uint64_t *grown = reallocarray(client->sizes, capacity, sizeof grown[0]);
        if (grown == NULL) {
            return false;
        }
        client->sizes = grown;
        client->size_capacity = capacity;
    }
    client->sizes[client->size_count++] = octets;
    return true;
}

static void list_line(struct pop_client *client, const char *line, size_t length)
{
    uint64_t msgno, octets;
    const char *end = line + without_line_end(line, length);
    const char *at = read_number(line, end, &msgno);
    if (at == NULL || read_number(at, end, &octets) == NULL || msgno != client->listed + 1 ||
        !size_keep(client, octets)) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
        return;
    }
    client->listed++;
    if (client->generator->config->verify != RUN_VERIFY_NONE &&
        !bench_user_sized(client->user, (uint32_t)msgno - 1, octets)) {
        pop_client_fail(client, BENCH_ERROR_SIZE);
    }
}

static void uidl_line(struct pop_client *client, const char *line, size_t length)
{
    uint64_t msgno;
    const char *end = line + without_line_end(line, length);
    const char *at = read_number(line, end, &msgno);
    if (at == NULL || at >= end || msgno != client->listed + 1) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
        return;
    }
    client->listed++;
    if (client->generator->config->verify == RUN_VERIFY_FULL &&
        !bench_user_saw(client->user, (uint32_t)msgno - 1,
                        population_hash(at, (size_t)(end - at)))) {
        pop_client_fail(client, BENCH_ERROR_UIDL);
    }
}

/* Messages */

static void message_begin(struct pop_client *client, uint32_t msgno)
{
    const struct run_config *config = client->generator->config;
    if (client->examine == NULL) {
        client->examine = malloc(sizeof *client->examine);
        if (client->examine == NULL) {
            pop_client_fail(client, BENCH_ERROR_PROTOCOL);
            return;
        }
    }
    bool known = config->verify != RUN_VERIFY_NONE && msgno <= client->size_count;
    examine_begin(client->examine, client->user->number,
                  known ? client->sizes[msgno - 1] : UINT64_MAX, config->verify == RUN_VERIFY_FULL);
}

static void message_flaw(struct pop_client *client, enum examine_flaw flaw)
{
    static const enum bench_error errors[] = {[EXAMINE_SIZE] = BENCH_ERROR_SIZE,
                                              [EXAMINE_CONTENT] = BENCH_ERROR_CONTENT,
                                              [EXAMINE_MISPLACED] = BENCH_ERROR_MISPLACED};
    if (flaw == EXAMINE_UNMARKED) {
        client->generator->tally.unmarked++;
    } else {
        pop_client_fail(client, errors[flaw]);
    }
}

static void message_end(struct pop_client *client, uint32_t msgno)
{
    struct generator *generator = client->generator;
    uint64_t letter = 0;
    if (generator->config->verify == RUN_VERIFY_NONE) {
        return;
    }
    enum examine_flaw flaw = examine_end(client->examine, &letter);
    if (flaw != EXAMINE_GOOD) {
        message_flaw(client, flaw);
        return;
    }
    generator->tally.verified++;
    if (!bench_user_fetched(client->user, msgno - 1, letter)) {
        pop_client_fail(client, BENCH_ERROR_UIDL); /* another letter under an id seen before */
    }
}

/* Multi-line replies */

static void multi_line(struct pop_client *client, const char *line, size_t length)
{
    if (pending_first(client)->command == COMMAND_LIST) {
        list_line(client, line, length);
    } else {
        uidl_line(client, line, length);
    }
}

static void listing_end(struct pop_client *client)
{
    bool lists = pending_first(client)->command == COMMAND_LIST;
    if (lists) {
        client->messages = client->listed;
    } else if (client->generator->config->verify == RUN_VERIFY_FULL &&
               !bench_user_counted(client->user, client->listed)) {
        pop_client_fail(client, BENCH_ERROR_UIDL);
    }
}

static void multi_end(struct pop_client *client)
{
    struct pop_pending *pending = pending_first(client);
    if (pending->command == COMMAND_RETR) {
        message_end(client, pending->msgno);
    } else {
        listing_end(client);
    }
    if (client->state == POP_WORKING) {
        reply_over(client);
    }
}

/* One line, or a part of a long one, of a multi-line reply. */
static void multi_feed(struct pop_client *client, const char *line, size_t length)
{
    bool at_start = client->line_start;
    client->line_start = line[length - 1] == '\n';
    if (at_start && line[0] == '.') {
        if (length == 3 && memcmp(line, ".\r\n", 3) == 0) {
            multi_end(client);
            return;
        }
        line++; /* RFC 1939 section 3 */
        length--;
    }
    if (pending_first(client)->command != COMMAND_RETR) {
        multi_line(client, line, length);
    } else if (client->generator->config->verify != RUN_VERIFY_NONE && length > 0) {
        examine_feed(client->examine, client->generator->config->corpus, line, length, at_start);
    }
}

/* First lines */

static bool begins(const char *line, size_t length, const char *word)
{
    size_t wanted = strlen(word);
    return length >= wanted && memcmp(line, word, wanted) == 0;
}

static void refused(struct pop_client *client, const char *line, size_t length)
{
    enum bench_command command = (enum bench_command)pending_first(client)->command;
    bool in_use = length > 13 && memmem(line, length, "[IN-USE]", 8) != NULL;
    generator_note(client->generator, bench_command_name(command), line,
                   without_line_end(line, length));
    if (client->state == POP_AUTH) {
        pop_client_fail(client, in_use ? BENCH_ERROR_IN_USE : BENCH_ERROR_AUTH);
    } else {
        pop_client_fail(client, BENCH_ERROR_REFUSED);
    }
}

static void stat_reply(struct pop_client *client, const char *line, size_t length)
{
    uint64_t messages, octets;
    const char *end = line + without_line_end(line, length);
    const char *at = length > 4 ? read_number(line + 4, end, &messages) : NULL;
    if (at == NULL || read_number(at, end, &octets) == NULL || messages > UINT32_MAX) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
        return;
    }
    client->messages = (uint32_t)messages;
    reply_over(client);
}

static void good_reply(struct pop_client *client, const char *line, size_t length)
{
    struct pop_pending *pending = pending_first(client);
    switch ((enum bench_command)pending->command) {
    case COMMAND_STAT:
        stat_reply(client, line, length);
        break;
    case COMMAND_RETR:
        message_begin(client, pending->msgno);
        client->multi = client->line_start = true;
        break;
    case COMMAND_UIDL:
    case COMMAND_LIST:
        client->listed = 0;
        client->multi = client->line_start = true;
        if (pending->command == COMMAND_LIST) {
            client->size_count = 0;
        }
        break;
    case COMMAND_DELE:
        client->deleted++;
        reply_over(client);
        break;
    default:
        reply_over(client);
        break;
    }
}

/* Behind "+ " is the challenge. */
static void auth_reply(struct pop_client *client, bool more, const char *line, size_t length)
{
    client->first = (uint8_t)((client->first + 1) % RUN_PIPELINE_MAX);
    client->in_flight--;
    size_t head = more && length > 2 ? 2 : length;
    pop_login_reply(client, more, line + head, length - head);
}

static void greeting(struct pop_client *client)
{
    tally_command(&client->generator->tally, COMMAND_CONNECT, client->began_ns, generator_now_ns());
    pop_login_greeted(client);
}

static void stls_agreed(struct pop_client *client)
{
    client->in_flight--;
    client->first = (uint8_t)((client->first + 1) % RUN_PIPELINE_MAX);
    client->state = POP_HANDSHAKE;
    client->began_ns = generator_now_ns();
    if (conn_start_tls_client(&client->conn, client->generator->tls) != STATUS_OK) {
        pop_client_fail(client, BENCH_ERROR_TLS);
    }
}

static void first_line(struct pop_client *client, const char *line, size_t length)
{
    bool good = begins(line, length, "+OK"),
         more = begins(line, length, "+ ") || (length == 3 && line[0] == '+');
    bool bad = begins(line, length, "-ERR");
    if (client->state == POP_GREETING && good) {
        greeting(client);
    } else if (client->state == POP_GREETING && bad) {
        pop_client_fail(client, BENCH_ERROR_CONNECT);
    } else if (client->in_flight == 0 || !(good || bad || (more && client->state == POP_AUTH))) {
        pop_client_fail(client, BENCH_ERROR_PROTOCOL);
    } else if (bad) {
        refused(client, line, length);
    } else if (client->state == POP_AUTH) {
        auth_reply(client, more, line, length);
    } else if (client->state == POP_STLS) {
        stls_agreed(client);
    } else {
        good_reply(client, line, length);
    }
}

size_t pop_replies_input(struct conn *conn, const uint8_t *data, size_t length)
{
    struct pop_client *client = list_entry(conn, struct pop_client, conn);
    const char *text = (const char *)data;
    size_t taken = 0;
    while (taken < length && client->state != POP_ENDING) {
        const char *line = text + taken;
        const char *feed = memchr(line, '\n', length - taken);
        size_t piece = feed != NULL ? (size_t)(feed - line) + 1 : length - taken;
        if (feed == NULL && (!client->multi || piece < POP_LINE_MAX)) {
            if (piece >= POP_LINE_MAX) {
                pop_client_fail(client, BENCH_ERROR_PROTOCOL);
                break;
            }
            break; /* the rest of the line is on its way */
        }
        taken += piece;
        if (client->multi) {
            multi_feed(client, line, piece);
        } else {
            first_line(client, line, piece);
        }
    }
    if (client->state == POP_ENDING) {
        taken = length; /* nobody will look at it */
    }
    tally_octets(&client->generator->tally, taken, 0, generator_now_ns());
    return taken;
}
