/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/ledger.h"

#include "tests/proof/chance.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_HEADER "X-Number: "

void ledger_init(struct ledger *ledger, uint64_t salt)
{
    *ledger = (struct ledger){.salt = salt};
}

static void free_octets(struct ledger_octets *octets)
{
    free(octets->text);
    free(octets->wire);
    *octets = (struct ledger_octets){0};
}

void ledger_deinit(struct ledger *ledger)
{
    for (uint32_t i = ledger->borrowed; i < ledger->count; i++) {
        free_octets(&ledger->messages[i].octets);
    }
    free(ledger->messages);
    *ledger = (struct ledger){0};
}

static void forget_later(uint64_t *position, uint64_t until)
{
    if (*position > until) {
        *position = LEDGER_NEVER;
    }
}

/* Begun at `until` is begun later: nothing of it had reached the disk. */
static void forget_begun(uint64_t *position, uint64_t until)
{
    if (*position >= until) {
        *position = LEDGER_NEVER;
    }
}

static void rewind_message(struct ledger_message *message, uint64_t position)
{
    forget_begun(&message->sent, position);
    forget_later(&message->delivered, position);
    for (uint32_t drop = 0; drop < LEDGER_DROPS_MAX; drop++) {
        forget_later(&message->seen[drop], position);
        forget_begun(&message->leaving[drop], position);
        forget_later(&message->gone[drop], position);
    }
}

void ledger_rewind(struct ledger *ledger, uint64_t position)
{
    for (uint32_t i = 0; i < ledger->drop_count; i++) {
        struct ledger_drop *drop = &ledger->drops[i];
        forget_begun(&drop->sent, position);
        drop->id = drop->sent != LEDGER_NEVER ? drop->id : 0; /* free to be given to another */
        forget_later(&drop->created, position);
        forget_begun(&drop->removing, position);
        forget_later(&drop->removed, position);
    }
    for (uint32_t i = 0; i < ledger->count; i++) {
        rewind_message(&ledger->messages[i], position);
    }
}

void ledger_copy_until(struct ledger *copy, struct ledger *ledger, uint64_t position)
{
    *copy = *ledger;
    copy->capacity = copy->borrowed = ledger->count;
    copy->messages = calloc(ledger->count + 1, sizeof *copy->messages);
    assert(copy->messages != NULL);
    for (uint32_t i = 0; i < ledger->count; i++) {
        (void)ledger_octets(ledger, &ledger->messages[i]);
        copy->messages[i] = ledger->messages[i];
    }
    ledger_rewind(copy, position);
}

uint32_t ledger_send(struct ledger *ledger, uint32_t drops, size_t size, const char *uidl,
                     uint64_t position)
{
    if (ledger->count == ledger->capacity) {
        ledger->capacity = ledger->capacity * 2 + 64;
        ledger->messages = realloc(ledger->messages, ledger->capacity * sizeof *ledger->messages);
        assert(ledger->messages != NULL);
    }
    struct ledger_message *message = &ledger->messages[ledger->count];
    *message = (struct ledger_message){.number = ledger->count,
                                       .drops = drops,
                                       .size = size,
                                       .sent = position,
                                       .delivered = LEDGER_NEVER};
    if (uidl != NULL) {
        assert(strlen(uidl) < sizeof message->uidl);
        strcpy(message->uidl, uidl);
    }
    for (uint32_t i = 0; i < LEDGER_DROPS_MAX; i++) {
        message->seen[i] = message->leaving[i] = message->gone[i] = LEDGER_NEVER;
    }
    return ledger->count++;
}

struct ledger_message *ledger_find(struct ledger *ledger, uint32_t number)
{
    return number < ledger->count ? &ledger->messages[number] : NULL;
}

/* One line into both forms; `length` without its end. */
static void add_line(struct ledger_octets *octets, const char *line, size_t length)
{
    memcpy(octets->text + octets->text_length, line, length);
    memcpy(octets->text + octets->text_length + length, "\r\n", 2);
    octets->text_length += length + 2;
    if (length > 0 && line[0] == '.') {
        octets->wire[octets->wire_length++] = '.';
    }
    memcpy(octets->wire + octets->wire_length, line, length);
    memcpy(octets->wire + octets->wire_length + length, "\r\n", 2);
    octets->wire_length += length + 2;
}

const struct ledger_octets *ledger_octets(struct ledger *ledger, struct ledger_message *message)
{
    static const char letters[] =
        "....abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234 ,;";
    struct ledger_octets *octets = &message->octets;
    char line[80];
    if (octets->text != NULL) {
        return octets;
    }
    struct chance chance = chance_make(ledger->salt, message->number);
    /* A line of n octets becomes at most n + 3; the shortest line is empty. */
    octets->text = malloc(message->size + 256);
    octets->wire = malloc(message->size * 2 + 512);
    assert(octets->text != NULL && octets->wire != NULL);
    int length = snprintf(line, sizeof line, NUMBER_HEADER "%010u", message->number);
    add_line(octets, line, (size_t)length);
    add_line(octets, "", 0);
    octets->header_length = octets->wire_length;
    for (size_t left = message->size; left > 2;) {
        size_t most = left - 2 < 72 ? left - 2 : 72;
        size_t line_length = chance_below(&chance, most + 1);
        for (size_t i = 0; i < line_length; i += 8) {
            uint64_t bits = chance_next(&chance);
            for (size_t j = i; j < i + 8 && j < line_length; j++, bits >>= 8) {
                line[j] = letters[bits & 63];
            }
        }
        add_line(octets, line, line_length);
        left -= line_length + 2;
    }
    memcpy(octets->wire + octets->wire_length, ".\r\n", 3);
    octets->wire_length += 3;
    return octets;
}

uint32_t ledger_number_of(const char *wire, size_t length)
{
    size_t start = sizeof NUMBER_HEADER - 1;
    uint32_t number = 0;
    if (length < start + 10 || memcmp(wire, NUMBER_HEADER, start) != 0) {
        return UINT32_MAX;
    }
    for (size_t i = start; i < start + 10; i++) {
        if (wire[i] < '0' || wire[i] > '9') {
            return UINT32_MAX;
        }
        number = number * 10 + (uint32_t)(wire[i] - '0');
    }
    return number;
}

uint32_t ledger_create(struct ledger *ledger, uint64_t position)
{
    if (ledger->drop_count == LEDGER_DROPS_MAX) {
        return LEDGER_DROPS_MAX;
    }
    ledger->drops[ledger->drop_count] = (struct ledger_drop){.sent = position,
                                                             .created = LEDGER_NEVER,
                                                             .removing = LEDGER_NEVER,
                                                             .removed = LEDGER_NEVER};
    return ledger->drop_count++;
}

enum ledger_duty ledger_drop_duty(const struct ledger_drop *drop, uint64_t position)
{
    if (drop->sent >= position || drop->refused || drop->removed <= position) {
        return LEDGER_MUST_NOT;
    }
    return drop->created <= position && drop->removing >= position ? LEDGER_MUST : LEDGER_MAY;
}

enum ledger_duty ledger_message_duty(const struct ledger_message *message, uint32_t drop,
                                     uint64_t position)
{
    if ((message->drops & 1u << drop) == 0 || message->sent >= position || message->refused ||
        message->gone[drop] <= position) {
        return LEDGER_MUST_NOT;
    }
    bool promised = message->delivered <= position || message->seen[drop] <= position;
    return promised && message->leaving[drop] >= position ? LEDGER_MUST : LEDGER_MAY;
}
