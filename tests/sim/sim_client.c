/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/sim_client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECTED_MAX 512
#define MESSAGES_MAX 256 /* of a view, as a client keeps it */

/* What a reply must look like; they come in the order of the commands. */
enum reply_kind {
    REPLY_OK,   /* "+OK", one line */
    REPLY_PASS, /* "+OK", or in use */
    REPLY_ANY,  /* "+OK" or "-ERR" */
    REPLY_UIDL, /* a listing */
    REPLY_LIST,
    REPLY_RETR, /* of `index` */
    REPLY_TOP,
    REPLY_QUIT,
    REPLY_220, /* LMTP */
    REPLY_250,
    REPLY_354,
    REPLY_DONE, /* the answer for one recipient: `index` is the maildrop */
};

struct expected {
    enum reply_kind kind;
    uint32_t index;
};

struct sim_client {
    struct sim_socket *socket;
    struct chance chance;
    bool is_lmtp, over, is_dead, is_stalled;
    unsigned patience; /* in how many of a thousand acts it goes away */
    char *script;      /* what is still to be said */
    size_t script_length, script_done, script_capacity;
    struct expected expected[EXPECTED_MAX];
    unsigned expected_first, expected_count;
    size_t read; /* octets of what was heard that have been looked at */
    unsigned phase;
    /* POP3 */
    uint32_t drop;
    uint64_t asked; /* position before PASS was said */
    uint32_t count;
    bool is_in, quit_said;
    bool deleted[MESSAGES_MAX];
    uint32_t numbers[MESSAGES_MAX]; /* of messages read; UINT32_MAX: not known */
    uint64_t sizes[MESSAGES_MAX];
    /* LMTP */
    unsigned messages_left;
    uint32_t number, recipients;
};

struct sim_client_counters sim_client_counters;

/* --- saying --- */

static void add_octets(struct sim_client *client, const char *data, size_t length)
{
    if (client->script_length + length > client->script_capacity) {
        client->script_capacity = (client->script_length + length) * 2;
        client->script = realloc(client->script, client->script_capacity);
        assert(client->script != NULL);
    }
    memcpy(client->script + client->script_length, data, length);
    client->script_length += length;
}

static void expect(struct sim_client *client, enum reply_kind kind, uint32_t index)
{
    assert(client->expected_count < EXPECTED_MAX);
    client->expected[(client->expected_first + client->expected_count++) % EXPECTED_MAX] =
        (struct expected){kind, index};
}

static void ask(struct sim_client *client, const char *text, enum reply_kind kind, uint32_t index)
{
    add_octets(client, text, strlen(text));
    expect(client, kind, index);
}

/* --- POP3 --- */

static void log_in(struct sim_client *client)
{
    char user[32];
    (void)snprintf(user, sizeof user, "USER user%u\r\n", client->drop);
    ask(client, user, REPLY_OK, 0);
    ask(client, "PASS right\r\n", REPLY_PASS, 0);
    client->asked = sim_tick();
}

static void survey(struct sim_client *client)
{
    ask(client, "STAT\r\n", REPLY_ANY, 0);
    ask(client, "LIST\r\n", REPLY_LIST, 0);
    ask(client, "UIDL\r\n", REPLY_UIDL, 0);
}

static void say_numbered(struct sim_client *client, const char *verb, uint32_t index,
                         enum reply_kind kind)
{
    char text[40];
    (void)snprintf(text, sizeof text, kind == REPLY_TOP ? "%s %u 3\r\n" : "%s %u\r\n", verb,
                   index + 1);
    ask(client, text, kind, index);
}

static void work_on(struct sim_client *client, uint32_t index)
{
    switch (chance_below(&client->chance, 8)) {
    case 0:
        ask(client, "NOOP\r\n", REPLY_OK, 0);
        break;
    case 1:
        if (!client->deleted[index]) {
            say_numbered(client, "TOP", index, REPLY_TOP);
        }
        break;
    case 2:
        ask(client, "XYZZY\r\n", REPLY_ANY, 0);
        break;
    case 3:
        if (chance_percent(&client->chance, 20)) {
            ask(client, "RSET\r\n", REPLY_OK, 0);
            memset(client->deleted, 0, sizeof client->deleted);
        }
        break;
    case 4:
        if (!client->deleted[index] && client->numbers[index] != UINT32_MAX) {
            say_numbered(client, "DELE", index, REPLY_OK);
            client->deleted[index] = true;
        }
        break;
    default:
        if (!client->deleted[index]) {
            say_numbered(client, "RETR", index, REPLY_RETR);
        }
    }
}

static void say_quit(struct sim_client *client)
{
    uint64_t now = sim_tick();
    for (uint32_t i = 0; i < client->count; i++) {
        struct ledger_message *message =
            client->deleted[i] ? ledger_find(&sim_world->ledger, client->numbers[i]) : NULL;
        if (message != NULL && message->leaving[client->drop] == LEDGER_NEVER) {
            message->leaving[client->drop] = now;
        }
    }
    ask(client, "QUIT\r\n", REPLY_QUIT, 0);
    client->quit_said = true;
}

static void plan_pop3(struct sim_client *client)
{
    switch (client->phase++) {
    case 0:
        log_in(client);
        break;
    case 1:
        if (client->is_in) {
            survey(client);
        }
        break;
    case 2: /* all messages, so that their numbers are known */
        for (uint32_t i = 0; i < client->count && client->is_in; i++) {
            say_numbered(client, "RETR", i, REPLY_RETR);
        }
        break;
    case 3:
        for (uint32_t i = 0; i < 12 && client->count > 0 && client->is_in; i++) {
            work_on(client, (uint32_t)chance_below(&client->chance, client->count));
        }
        break;
    case 4:
        if (chance_percent(&client->chance, 80)) {
            say_quit(client);
        }
        break;
    default:
        client->socket->finished = true;
    }
}

/* --- LMTP --- */

static void say_message(struct sim_client *client)
{
    static const size_t sizes[] = {0, 100, 400, 3000, 12000, 30000, 60000};
    client->recipients = 0;
    size_t size = sizes[chance_below(&client->chance, sizeof sizes / sizeof sizes[0])];
    ask(client, "MAIL FROM:<a@b.test>\r\n", REPLY_250, 0);
    for (uint64_t i = chance_between(&client->chance, 1, 3); i > 0; i--) {
        char text[40];
        uint32_t drop = (uint32_t)chance_below(&client->chance, SIM_USERS);
        if ((client->recipients & 1u << drop) == 0) {
            (void)snprintf(text, sizeof text, "RCPT TO:<user%u>\r\n", drop);
            ask(client, text, REPLY_250, 0);
            client->recipients |= 1u << drop;
        }
    }
    ask(client, "DATA\r\n", REPLY_354, 0);
    client->number = ledger_send(&sim_world->ledger, client->recipients, size, NULL, LEDGER_NEVER);
}

static void say_body(struct sim_client *client)
{
    struct ledger_message *message = ledger_find(&sim_world->ledger, client->number);
    const struct ledger_octets *octets = ledger_octets(&sim_world->ledger, message);
    message->sent = sim_tick();
    add_octets(client, octets->wire, octets->wire_length);
    for (uint32_t drop = 0; drop < SIM_USERS; drop++) {
        if ((message->drops & 1u << drop) != 0) {
            expect(client, REPLY_DONE, drop);
        }
    }
    sim_client_counters.messages_sent++;
}

static void plan_lmtp(struct sim_client *client)
{
    switch (client->phase++) {
    case 0:
        ask(client, "LHLO client.test\r\n", REPLY_250, 0);
        break;
    case 1:
        say_message(client);
        break;
    case 2:
        say_body(client);
        client->phase = --client->messages_left > 0 ? 1 : 3;
        break;
    case 3:
        ask(client, "QUIT\r\n", REPLY_QUIT, 0);
        break;
    default:
        client->socket->finished = true;
    }
}

/* --- hearing --- */

static void broken(struct sim_client *client, const char *what, const char *text, size_t length)
{
    sim_fail("%s: %s: %.*s", client->is_lmtp ? "lmtp" : "pop3", what,
             (int)(length < 60 ? length : 60), text);
    client->over = true;
}

static void hear_listing(struct sim_client *client, enum reply_kind kind, const char *text,
                         size_t length)
{
    uint32_t count = 0;
    const char *end = text + length, *line = text;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && line + 1 < end) {
        unsigned msgno = 0;
        unsigned long long size = 0;
        line++;
        if (*line == '.') {
            break;
        }
        int fields = sscanf(line, "%u %llu", &msgno, &size);
        if (fields < 1 || msgno != ++count || count > MESSAGES_MAX) {
            broken(client, "a wrong listing", line, (size_t)(end - line));
            return;
        }
        if (kind == REPLY_LIST) {
            client->sizes[msgno - 1] = size;
            client->numbers[msgno - 1] = UINT32_MAX;
        }
    }
    if (kind == REPLY_UIDL && count != client->count) {
        broken(client, "LIST and UIDL differ", text, length);
    }
    client->count = count;
}

/* Octets of a message as LIST counts them: without stuffing and the last line. */
static size_t octets_of(const char *wire, size_t length)
{
    size_t octets = length - 3;
    for (size_t i = 0; i + 3 < length; i++) {
        octets -= wire[i] == '.' && (i == 0 || wire[i - 1] == '\n');
    }
    return octets;
}

static void hear_message(struct sim_client *client, uint32_t index, const char *text, size_t length)
{
    const char *wire = memchr(text, '\n', length);
    size_t left = length - (size_t)(wire + 1 - text);
    struct ledger_message *message = sim_recognise(wire + 1, left);
    if (message == NULL) {
        broken(client, "a message is changed", wire + 1, left);
        return;
    }
    if (octets_of(wire + 1, left) != client->sizes[index]) {
        broken(client, "LIST gave another size", text, length);
    }
    if (ledger_message_duty(message, client->drop, client->asked) == LEDGER_MUST_NOT &&
        message->sent < client->asked) {
        broken(client, "a message that is gone", text, length);
    }
    if (client->numbers[index] != UINT32_MAX && client->numbers[index] != message->number) {
        broken(client, "another message under the same number", text, length);
    }
    client->numbers[index] = message->number;
    if (message->seen[client->drop] == LEDGER_NEVER) {
        message->seen[client->drop] = sim_tick();
    }
    sim_client_counters.messages_read++;
}

/* Everything promised before PASS was said must be in the view. */
static void check_view(struct sim_client *client)
{
    uint32_t promised = 0;
    for (uint32_t i = 0; i < sim_world->ledger.count; i++) {
        const struct ledger_message *message = &sim_world->ledger.messages[i];
        promised += message->delivered <= client->asked &&
                    (message->drops & 1u << client->drop) != 0 &&
                    message->leaving[client->drop] == LEDGER_NEVER;
    }
    if (client->count < promised) {
        sim_fail("user%u was shown %u messages, %u were promised", client->drop, client->count,
                 promised);
    }
}

static void hear_quit(struct sim_client *client, bool ok)
{
    uint64_t now = sim_tick();
    for (uint32_t i = 0; i < client->count && !client->is_lmtp; i++) {
        struct ledger_message *message =
            client->deleted[i] ? ledger_find(&sim_world->ledger, client->numbers[i]) : NULL;
        if (message != NULL && ok) {
            message->gone[client->drop] =
                message->gone[client->drop] < now ? message->gone[client->drop] : now;
            sim_client_counters.deletions++;
        }
    }
}

static void hear_reply(struct sim_client *client, const struct expected *expected, const char *text,
                       size_t length)
{
    bool ok = text[0] == '+';
    sim_client_counters.replies++;
    switch (expected->kind) {
    case REPLY_PASS:
        client->is_in = ok;
        if (!ok && (length < 13 || memcmp(text, "-ERR [IN-USE]", 13) != 0)) {
            broken(client, "not let in", text, length);
        }
        break;
    case REPLY_LIST:
    case REPLY_UIDL:
        hear_listing(client, expected->kind, text, length);
        if (expected->kind == REPLY_UIDL) {
            check_view(client);
        }
        break;
    case REPLY_RETR:
        if (ok) {
            hear_message(client, expected->index, text, length);
        } else {
            broken(client, "RETR was refused", text, length);
        }
        break;
    case REPLY_QUIT:
        hear_quit(client, ok);
        break;
    case REPLY_DONE: {
        struct ledger_message *message = ledger_find(&sim_world->ledger, client->number);
        if (memcmp(text, "250", 3) != 0) {
            broken(client, "a delivery was refused", text, length);
        } else if (message->delivered == LEDGER_NEVER) {
            message->delivered = sim_tick();
        }
        break;
    }
    case REPLY_OK:
    case REPLY_TOP:
        if (!ok) {
            broken(client, "refused", text, length);
        }
        break;
    case REPLY_220:
    case REPLY_250:
    case REPLY_354:
        if (memcmp(text,
                   expected->kind == REPLY_220   ? "220"
                   : expected->kind == REPLY_250 ? "250"
                                                 : "354",
                   3) != 0) {
            broken(client, "another reply", text, length);
        }
        break;
    case REPLY_ANY:
        break;
    }
}

static bool is_listing(enum reply_kind kind)
{
    return kind == REPLY_LIST || kind == REPLY_UIDL || kind == REPLY_RETR || kind == REPLY_TOP;
}

/* Octets of the whole reply at the front, or 0 when it is not all there. */
static size_t whole_reply(const struct sim_client *client, enum reply_kind kind, const char *text,
                          size_t length)
{
    const char *end = memmem(text, length, "\r\n", 2);
    if (end != NULL && text[0] == '+' && is_listing(kind)) {
        end = memmem(end, length - (size_t)(end - text), "\r\n.\r\n", 5);
        return end != NULL ? (size_t)(end - text) + 5 : 0;
    }
    while (client->is_lmtp && end != NULL && end - text >= 4) {
        const char *line = end;
        while (line > text && line[-1] != '\n') {
            line--;
        }
        if (end - line < 4 || line[3] != '-') {
            break;
        }
        end = memmem(end + 2, length - (size_t)(end + 2 - text), "\r\n", 2);
    }
    return end != NULL ? (size_t)(end - text) + 2 : 0;
}

static void hear_all(struct sim_client *client)
{
    while (!client->over) {
        const char *text = (const char *)client->socket->heard + client->read;
        size_t length = client->socket->heard_length - client->read;
        if (length == 0) {
            return;
        }
        if (client->expected_count == 0) {
            if (!client->is_lmtp || memcmp(text, "421", length < 3 ? length : 3) != 0) {
                broken(client, "something that nobody asked for", text, length);
            }
            return;
        }
        struct expected expected = client->expected[client->expected_first];
        size_t whole = whole_reply(client, expected.kind, text, length);
        if (whole == 0) {
            return;
        }
        client->expected_first = (client->expected_first + 1) % EXPECTED_MAX;
        client->expected_count--;
        client->read += whole;
        if (client->is_lmtp && memcmp(text, "421", 3) == 0) {
            client->expected_count = 0; /* idle for too long */
            return;
        }
        hear_reply(client, &expected, text, whole);
    }
}

/* --- life --- */

static struct sim_client *make(uint64_t number, struct worker_listener *listener)
{
    struct sim_client *client = calloc(1, sizeof *client);
    assert(client != NULL);
    client->chance = chance_make(sim_world->seed, 100 + number);
    client->socket = sim_world_connect(listener);
    client->socket->window = 1000;
    client->patience = chance_percent(&client->chance, 25) ? 8 : 0;
    for (uint32_t i = 0; i < MESSAGES_MAX; i++) {
        client->numbers[i] = UINT32_MAX;
    }
    sim_client_counters.sessions++;
    return client;
}

struct sim_client *sim_client_pop3(uint64_t number)
{
    struct sim_client *client = make(number, &sim_world->pop3);
    client->drop = (uint32_t)chance_below(&client->chance, SIM_USERS);
    expect(client, REPLY_OK, 0);
    return client;
}

struct sim_client *sim_client_lmtp(uint64_t number)
{
    struct sim_client *client = make(number, &sim_world->lmtp);
    client->is_lmtp = true;
    client->messages_left = (unsigned)chance_between(&client->chance, 1, 6);
    expect(client, REPLY_220, 0);
    return client;
}

static void hang_up(struct sim_client *client)
{
    client->is_dead = true;
    if (chance_percent(&client->chance, 50)) {
        client->socket->reset = true;
    } else {
        client->socket->finished = true;
        client->socket->window += 1u << 30; /* and whatever still comes is dropped */
    }
}

static void say_some(struct sim_client *client)
{
    size_t left = client->script_length - client->script_done;
    size_t length =
        chance_percent(&client->chance, 40) ? chance_between(&client->chance, 1, left) : left;
    sim_say(client->socket, client->script + client->script_done, length);
    client->script_done += length;
}

static void read_some(struct sim_client *client)
{
    if (chance_below(&client->chance, 5000) == 0) {
        client->is_stalled = true; /* for ever, or for as long as the server allows */
        sim_client_counters.stalls++;
    }
    if (!client->is_stalled && client->socket->window < 100000) {
        client->socket->window += chance_percent(&client->chance, 30)
                                      ? chance_between(&client->chance, 1, 200)
                                      : chance_between(&client->chance, 1000, 60000);
    }
}

bool sim_client_act(struct sim_client *client)
{
    struct sim_socket *socket = client->socket;
    if (socket->fd < 0) {
        return false;
    }
    if (client->is_dead) {
        return true;
    }
    hear_all(client);
    if (client->over || socket->server_ended) {
        hang_up(client);
        return true;
    }
    if (client->patience > 0 && chance_below(&client->chance, 1000) < client->patience) {
        sim_client_counters.deaths++;
        hang_up(client);
        return true;
    }
    read_some(client);
    if (client->script_done < client->script_length) {
        say_some(client);
    } else if (client->expected_count == 0 && !socket->finished) {
        client->is_lmtp ? plan_lmtp(client) : plan_pop3(client);
    }
    return true;
}

bool sim_client_waits(const struct sim_client *client)
{
    if (client->socket->fd < 0 || client->is_dead || client->is_stalled) {
        return true;
    }
    return client->script_done == client->script_length &&
           (client->expected_count > 0 || client->socket->finished) &&
           client->socket->window >= 100000;
}

void sim_client_free(struct sim_client *client)
{
    sim_socket_free(client->socket);
    free(client->script);
    free(client);
}
