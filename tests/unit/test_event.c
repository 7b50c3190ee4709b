/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/event.h"

#include <criterion/criterion.h>
#include <string.h>

static struct event_batch batch;

static void end(void)
{
    event_batch_deinit(&batch);
}

TestSuite(event, .fini = end);

static struct record_bytes text(const char *value)
{
    return (struct record_bytes){(const uint8_t *)value, (uint32_t)strlen(value)};
}

static struct record_header header_of(uint8_t kind, uint64_t sequence, size_t meta_length)
{
    return (struct record_header){.kind = kind,
                                  .segment = 4,
                                  .offset = 1000,
                                  .sequence = sequence,
                                  .meta_length = (uint32_t)meta_length,
                                  .body_checksum = 0xabc};
}

static size_t encode_message(uint64_t uid, uint64_t blob, const char *uidl, uint8_t *meta)
{
    struct record_recipient recipients[] = {{.maildrop = 7, .address = text("a@b")},
                                            {.maildrop = 8, .address = text("c@d")}};
    struct record_delivered delivered = {.uid = uid,
                                         .blob = blob,
                                         .received_ms = 99,
                                         .octets = 50,
                                         .wire_length = 53,
                                         .header_length = 20,
                                         .message_flags = 1,
                                         .uidl = text(uidl),
                                         .recipient_count = 2};
    return record_encode_delivered(&delivered, recipients, meta);
}

Test(event, a_message_is_one_event_for_each_recipient)
{
    uint8_t meta[512];
    size_t length = encode_message(0, 0, "import", meta);
    struct record_header header = header_of(RECORD_DELIVERED, 42, length);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.count, 2);
    cr_assert_eq(batch.events[0].maildrop, 7);
    cr_assert_eq(batch.events[1].maildrop, 8);
    const struct message_entry *entry = batch.events[1].entry;
    cr_assert_eq(batch.events[1].kind, DELTA_MESSAGE_ADDED);
    cr_assert_eq(batch.events[1].uid, 42);
    cr_assert_eq(entry->uid, 42);
    cr_assert_eq(entry->segment, 4);
    cr_assert_eq(entry->offset, 1000 + RECORD_HEADER_SIZE + length);
    cr_assert_eq(entry->checksum, 0xabc);
    cr_assert_eq(entry->wire_length, 53);
    cr_assert_eq(entry->uidl_length, 6);
}

Test(event, a_moved_message_keeps_its_uid_and_has_a_new_place)
{
    uint8_t meta[512];
    size_t length = encode_message(5, 0, "", meta);
    struct record_header header = header_of(RECORD_MOVED, 42, length);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.events[0].kind, DELTA_MESSAGE_MOVED);
    cr_assert_eq(batch.events[0].uid, 5);
    cr_assert_eq(batch.events[0].sequence, 42);
    cr_assert_eq(batch.events[0].entry->uid, 5);
}

Test(event, a_blob_has_no_offset)
{
    uint8_t meta[512];
    size_t length = encode_message(0, 77, "", meta);
    struct record_header header = header_of(RECORD_DELIVERED, 42, length);
    header.flags = RECORD_IN_BLOB;
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.events[0].entry->blob, 77);
    cr_assert_eq(batch.events[0].entry->offset, 0);
    cr_assert_eq(batch.events[0].entry->segment, 4);
}

Test(event, an_expunge_is_one_event_for_each_uid)
{
    uint8_t meta[512];
    static const uint64_t uids[] = {3, 9, 4};
    size_t length = record_encode_expunged(7, uids, 3, meta);
    struct record_header header = header_of(RECORD_EXPUNGED, 50, length);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.count, 3);
    cr_assert_eq(batch.events[1].uid, 9);
    cr_assert_eq(batch.events[1].maildrop, 7);
}

Test(event, maildrops_segments_and_kinds_without_events)
{
    uint8_t meta[512];
    struct record_header header;
    size_t length = record_encode_drop(7, text("u@localhost"), meta);
    header = header_of(RECORD_DROP_CREATED, 1, length);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_str_eq(batch.events[0].name, "u@localhost");
    header.kind = RECORD_DROP_CHANGED;
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    header.kind = RECORD_DROP_REMOVED;
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_null(batch.events[2].name);
    length = record_encode_retired(9, meta);
    header = header_of(RECORD_RETIRED, 2, length);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.events[3].uid, 9);
    header = header_of(RECORD_RETRIEVED, 3, 0);
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    header.kind = 200;
    cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_OK);
    cr_assert_eq(batch.count, 4);
    event_batch_clear(&batch);
    cr_assert_eq(batch.count, 0);
}

Test(event, a_meta_that_does_not_decode_leaves_the_batch_as_it_was)
{
    uint8_t meta[512];
    size_t length = encode_message(0, 0, "", meta);
    for (size_t cut = 0; cut < length; cut++) {
        struct record_header header = header_of(RECORD_DELIVERED, 42, cut);
        cr_assert_eq(event_batch_add(&batch, &header, meta), STATUS_CORRUPT);
        cr_assert_eq(batch.count, 0);
    }
    struct record_header moved = header_of(RECORD_MOVED, 42, length); /* but has no uid */
    cr_assert_eq(event_batch_add(&batch, &moved, meta), STATUS_CORRUPT);
}
