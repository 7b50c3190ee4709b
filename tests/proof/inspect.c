/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/inspect.h"

#include <stdarg.h>

struct look {
    struct fixture *site;
    struct ledger *ledger;
    uint64_t position;
    bool settle;
    struct inspection *out;
    uint32_t *present; /* by message: the maildrops it was found in */
    uint32_t open;     /* maildrops that are there */
};

void inspect_complain(struct inspection *inspection, const char *format, ...)
{
    va_list arguments;
    if (inspection->violations++ == 0) {
        va_start(arguments, format);
        (void)vsnprintf(inspection->first, sizeof inspection->first, format, arguments);
        va_end(arguments);
    }
}

static unsigned long long number(uint64_t value)
{
    return value;
}

/* --- one message --- */

static void check_uidl(struct look *look, struct view *view, uint32_t index,
                       const struct ledger_message *message, uint64_t uid)
{
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1], expected[64];
    uidl[store_view_uidl(view, index, uidl)] = '\0';
    (void)snprintf(expected, sizeof expected, "%08x.%016llx",
                   fixture_volume(look->site)->identity.epoch, number(uid));
    const char *wanted = message->uidl[0] != '\0' ? message->uidl : expected;
    if (strcmp(uidl, wanted) != 0) {
        inspect_complain(look->out, "message %u has UIDL %s, not %s", message->number, uidl,
                         wanted);
    }
}

static void check_octets(struct look *look, const struct store_message *found,
                         struct ledger_message *message, const char *wire, size_t length)
{
    const struct ledger_octets *octets = ledger_octets(look->ledger, message);
    if (length != octets->wire_length || memcmp(wire, octets->wire, length) != 0) {
        inspect_complain(look->out, "message %u is changed", message->number);
    }
    if (found->octets != octets->text_length || found->header_length != octets->header_length) {
        inspect_complain(look->out, "message %u has %llu octets and a header of %llu",
                         message->number, number(found->octets), number(found->header_length));
    }
}

static void note_found(struct look *look, uint32_t drop, struct ledger_message *message,
                       uint64_t uid)
{
    if (message->uid != 0 && message->uid != uid) {
        inspect_complain(look->out, "message %u had uid %llx, now %llx", message->number,
                         number(message->uid), number(uid));
    }
    if ((look->present[message->number] & 1u << drop) != 0) {
        inspect_complain(look->out, "message %u is in maildrop %u twice", message->number, drop);
    }
    if (ledger_message_duty(message, drop, look->position) == LEDGER_MUST_NOT) {
        inspect_complain(look->out, "message %u is in maildrop %u and must not be (gone at %llu)",
                         message->number, drop, number(message->gone[drop]));
    }
    look->present[message->number] |= 1u << drop;
    if (look->settle) {
        message->uid = uid;
        message->leaving[drop] = LEDGER_NEVER;
        if (message->seen[drop] > look->position) {
            message->seen[drop] = look->position;
        }
    }
}

static void check_message(struct look *look, uint32_t drop, struct view *view, uint32_t index)
{
    struct store_message found;
    char *wire = NULL;
    size_t length = 0;
    store_view_message(view, index, &found);
    enum status status = site_read(look->site, view, index, &wire, &length);
    if (status != STATUS_OK) {
        inspect_complain(look->out, "uid %llx of maildrop %u cannot be read: %s", number(found.uid),
                         drop, status_name(status));
        return;
    }
    struct ledger_message *message = ledger_find(look->ledger, ledger_number_of(wire, length));
    if (message == NULL) {
        inspect_complain(look->out, "uid %llx of maildrop %u is none of ours", number(found.uid),
                         drop);
    } else {
        check_octets(look, &found, message, wire, length);
        check_uidl(look, view, index, message, found.uid);
        note_found(look, drop, message, found.uid);
    }
    free(wire);
    look->out->messages++;
    look->out->octets += found.octets;
    if (found.uid > look->out->uid_max) {
        look->out->uid_max = found.uid;
    }
}

/* --- a maildrop --- */

static void check_view(struct look *look, uint32_t drop, struct view *view)
{
    uint64_t last_uid = 0, octets = 0;
    for (uint32_t i = 0; i < store_view_count(view); i++) {
        struct store_message message;
        store_view_message(view, i, &message);
        if (message.uid <= last_uid) {
            inspect_complain(look->out, "maildrop %u is not in order", drop);
        }
        last_uid = message.uid;
        octets += store_view_size(view, i);
        check_message(look, drop, view, i);
    }
    if (octets != store_view_octets(view)) {
        inspect_complain(look->out, "maildrop %u says %llu octets, its messages %llu", drop,
                         number(store_view_octets(view)), number(octets));
    }
}

static void check_drop(struct look *look, uint32_t place)
{
    struct ledger_drop *drop = &look->ledger->drops[place];
    enum ledger_duty duty = ledger_drop_duty(drop, look->position);
    struct view *view = NULL;
    if (drop->id == 0) {
        return; /* nobody ever got to know its number */
    }
    enum status status = fixture_view(look->site, drop->id, STORE_LOCK_NONE, &view);
    if (status == STATUS_OK) {
        look->open |= 1u << place;
        look->out->drops++;
        if (duty == LEDGER_MUST_NOT) {
            inspect_complain(look->out, "maildrop %u is there and must not be", place);
        }
        check_view(look, place, view);
        store_view_close(&view);
    } else if (status != STATUS_NOT_FOUND) {
        inspect_complain(look->out, "maildrop %u cannot be opened: %s", place, status_name(status));
    } else if (duty == LEDGER_MUST) {
        inspect_complain(look->out, "maildrop %u was acknowledged and is lost", place);
    }
    if (look->settle && drop->sent < look->position) {
        bool is_open = status == STATUS_OK;
        drop->created = is_open ? drop->created < look->position ? drop->created : look->position
                                : drop->created;
        drop->removing = is_open ? LEDGER_NEVER : drop->removing;
        drop->removed = is_open ? LEDGER_NEVER : look->position;
    }
}

/* --- what should have been found --- */

static void check_absent(struct look *look, struct ledger_message *message, uint32_t drop)
{
    enum ledger_duty duty = ledger_message_duty(message, drop, look->position);
    bool named = (message->drops & 1u << drop) != 0 && message->sent < look->position;
    uint32_t present = look->present[message->number];
    if (!named || (look->open & 1u << drop) == 0 || (present & 1u << drop) != 0) {
        return;
    }
    if (duty == LEDGER_MUST) {
        inspect_complain(look->out, "message %u of maildrop %u was acknowledged (%llu) and is lost",
                         message->number, drop, number(message->delivered));
    } else if (present != 0 && message->leaving[drop] >= look->position &&
               ledger_drop_duty(&look->ledger->drops[drop], look->position) == LEDGER_MUST) {
        inspect_complain(look->out, "message %u was delivered to some of its recipients only",
                         message->number);
    }
    if (look->settle) {
        message->gone[drop] =
            message->gone[drop] < look->position ? message->gone[drop] : look->position;
    }
}

static void inspect(struct fixture *site, struct ledger *ledger, uint64_t position, bool settle,
                    struct inspection *out)
{
    struct look look = {.site = site,
                        .ledger = ledger,
                        .position = position,
                        .settle = settle,
                        .out = out,
                        .present = calloc(ledger->count + 1, sizeof(uint32_t))};
    assert(look.present != NULL);
    *out = (struct inspection){0};
    for (uint32_t i = 0; i < ledger->drop_count; i++) {
        check_drop(&look, i);
    }
    for (uint32_t i = 0; i < ledger->count; i++) {
        struct ledger_message *message = &ledger->messages[i];
        for (uint32_t drop = 0; drop < ledger->drop_count; drop++) {
            check_absent(&look, message, drop);
        }
        if (message->delivered <= position && message->uid > out->uid_max) {
            out->uid_max = message->uid;
        }
    }
    free(look.present);
}

void inspect_store(struct fixture *site, struct ledger *ledger, uint64_t position,
                   struct inspection *out)
{
    inspect(site, ledger, position, false, out);
}

void inspect_and_settle(struct fixture *site, struct ledger *ledger, uint64_t position,
                        struct inspection *out)
{
    inspect(site, ledger, position, true, out);
}

void inspect_numbers(struct fixture *site, struct inspection *inspection)
{
    struct store_numbers numbers;
    store_numbers(site->store, &numbers);
    if (numbers.maildrops != inspection->drops || numbers.messages != inspection->messages ||
        numbers.octets != inspection->octets) {
        inspect_complain(inspection,
                         "the index counts %llu maildrops, %llu messages, %llu octets, the views "
                         "%llu, %llu, %llu",
                         number(numbers.maildrops), number(numbers.messages),
                         number(numbers.octets), number(inspection->drops),
                         number(inspection->messages), number(inspection->octets));
    }
}
