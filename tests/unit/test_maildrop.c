/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include "storage/index.h"

#include <criterion/criterion.h>

static struct fixture fixture;
static struct maildrop_reader reader;
static struct maildrop *maildrop;
static uint64_t drop;

static void start(void)
{
    fixture_start(&fixture);
    drop = fixture_create(&fixture, "u@localhost");
    cr_assert_eq(maildrop_reader_init(&reader, fixture_volume(&fixture)), STATUS_OK);
    maildrop = NULL;
}

static void end(void)
{
    maildrop_destroy(&maildrop);
    maildrop_reader_deinit(&reader);
    fixture_end(&fixture);
}

TestSuite(maildrop, .init = start, .fini = end);

static void merge(const struct maildrop_events *events)
{
    cr_assert_eq(maildrop_merge(&reader, drop, events, UINT64_MAX, true, &maildrop), STATUS_OK);
}

/* The reader's order: copy the delta, then begin the snapshot, then skip. Whatever happens between
 * the first two steps, nothing is lost and nothing is there twice. */

Test(maildrop, a_checkpoint_between_the_steps_doubles_nothing)
{
    struct maildrop_events events;
    fixture_deliver(&fixture, drop, "a");
    cr_assert_eq(maildrop_copy(&reader, drop, &events), STATUS_OK);
    cr_assert_eq(events.count, 2); /* its creation, too */
    fixture_checkpoint(&fixture);
    merge(&events);
    cr_assert_eq(maildrop->count, 1);
}

Test(maildrop, a_checkpoint_between_the_steps_loses_nothing)
{
    struct maildrop_events events;
    fixture_deliver(&fixture, drop, "a");
    fixture_checkpoint(&fixture);
    fixture_deliver(&fixture, drop, "b");
    cr_assert_eq(maildrop_copy(&reader, drop, &events), STATUS_OK);
    cr_assert_eq(events.count, 1);
    fixture_deliver(&fixture, drop, "c"); /* not in the copy, but the snapshot will have it */
    fixture_checkpoint(&fixture);
    merge(&events);
    cr_assert_eq(maildrop->count, 3);
}

Test(maildrop, the_other_order_would_lose_mail)
{
    /* What maildrop.c says about it, played: a snapshot first, a checkpoint, then the delta. */
    struct index_reader *snapshot = NULL;
    struct index_state state;
    struct maildrop_events events;
    struct message_entry entry;
    cr_assert_eq(index_reader_create(fixture_volume(&fixture)->index, &snapshot), STATUS_OK);
    cr_assert_eq(index_begin(snapshot, &state), STATUS_OK);
    fixture_deliver(&fixture, drop, "a");
    fixture_checkpoint(&fixture);
    cr_assert_eq(maildrop_copy(&reader, drop, &events), STATUS_OK);
    cr_assert_eq(events.count, 0);
    cr_assert_eq(index_first(snapshot, drop, &entry), STATUS_EOF);
    index_end(snapshot);
    index_reader_destroy(&snapshot);
    cr_assert_eq(fixture_count(&fixture, drop), 1); /* in our order it is there */
}

Test(maildrop, an_expunge_between_the_steps_is_seen_or_not_but_nothing_else)
{
    struct maildrop_events events;
    uint64_t first = fixture_deliver(&fixture, drop, "a");
    fixture_deliver(&fixture, drop, "b");
    cr_assert_eq(maildrop_copy(&reader, drop, &events), STATUS_OK);
    cr_assert_eq(fixture_expunge(&fixture, drop, 1), STATUS_OK); /* cancels in the delta */
    fixture_checkpoint(&fixture);
    merge(&events);
    cr_assert_eq(maildrop->count, 1);
    cr_assert_eq(maildrop->entries[0].uid, first);
}

Test(maildrop, messages_ascend_by_uid_across_index_and_delta)
{
    for (int i = 0; i < 30; i++) {
        fixture_deliver(&fixture, drop, "x");
        if (i % 7 == 3) {
            fixture_checkpoint(&fixture);
        }
    }
    cr_assert_eq(fixture_expunge(&fixture, drop, 2), STATUS_OK);  /* in the index */
    cr_assert_eq(fixture_expunge(&fixture, drop, 28), STATUS_OK); /* in the delta */
    cr_assert_eq(maildrop_read(&reader, drop, UINT64_MAX, &maildrop), STATUS_OK);
    cr_assert_eq(maildrop->count, 28);
    for (uint32_t i = 1; i < maildrop->count; i++) {
        cr_assert(maildrop->entries[i].uid > maildrop->entries[i - 1].uid);
    }
}

Test(maildrop, imported_unique_ids_are_kept_and_the_others_made)
{
    char uidl[STORAGE_UIDL_LENGTH_MAX], expected[64];
    uint64_t uids[4];
    static const char longest[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    uids[0] = fixture_deliver(&fixture, drop, "a");
    cr_assert_eq(fixture_import(&fixture, drop, "b", "!id~", &uids[1]), STATUS_OK);
    fixture_checkpoint(&fixture);
    uids[2] = fixture_deliver(&fixture, drop, "c");
    cr_assert_eq(fixture_import(&fixture, drop, "d", longest, &uids[3]), STATUS_OK);
    cr_assert_eq(maildrop_read(&reader, drop, UINT64_MAX, &maildrop), STATUS_OK);
    for (uint32_t i = 0; i < 4; i += 2) {
        snprintf(expected, sizeof expected, "%08x.%016llx",
                 fixture_volume(&fixture)->identity.epoch, (unsigned long long)uids[i]);
        cr_assert_eq(maildrop_uidl(maildrop, i, uidl), MAILDROP_UIDL_LENGTH);
        cr_assert_eq(memcmp(uidl, expected, MAILDROP_UIDL_LENGTH), 0);
    }
    cr_assert_eq(maildrop_uidl(maildrop, 1, uidl), 4);
    cr_assert_eq(memcmp(uidl, "!id~", 4), 0);
    cr_assert_eq(maildrop_uidl(maildrop, 3, uidl), 70);
    cr_assert_eq(memcmp(uidl, longest, 70), 0);
}

Test(maildrop, made_unique_ids_are_recognised)
{
    char uidl[MAILDROP_UIDL_LENGTH];
    uint64_t uid = 0;
    maildrop_make_uidl(0xabcdef01, 0x123456789abcdef0, uidl);
    cr_assert_eq(memcmp(uidl, "abcdef01.123456789abcdef0", sizeof uidl), 0);
    cr_assert(maildrop_parse_uidl(uidl, sizeof uidl, 0xabcdef01, &uid));
    cr_assert_eq(uid, 0x123456789abcdef0);
    cr_assert_not(maildrop_parse_uidl(uidl, sizeof uidl, 0xabcdef02, &uid));
    cr_assert_not(maildrop_parse_uidl(uidl, sizeof uidl - 1, 0xabcdef01, &uid));
    for (size_t i = 0; i < sizeof uidl; i++) {
        char changed[MAILDROP_UIDL_LENGTH];
        memcpy(changed, uidl, sizeof uidl);
        changed[i] = 'G';
        cr_assert_not(maildrop_parse_uidl(changed, sizeof changed, 0xabcdef01, &uid));
    }
}

Test(maildrop, one_that_is_removed_or_unknown_is_not_found)
{
    cr_assert_eq(maildrop_read(&reader, 12345, UINT64_MAX, &maildrop), STATUS_NOT_FOUND);
    fixture_deliver(&fixture, drop, "a");
    fixture_checkpoint(&fixture);
    cr_assert_eq(fixture_remove(&fixture, drop), STATUS_OK);
    cr_assert_eq(maildrop_read(&reader, drop, UINT64_MAX, &maildrop), STATUS_NOT_FOUND);
    fixture_checkpoint(&fixture);
    cr_assert_eq(maildrop_read(&reader, drop, UINT64_MAX, &maildrop), STATUS_NOT_FOUND);
}

Test(maildrop, a_large_one_is_left_to_a_thread_with_time)
{
    for (int i = 0; i < 5; i++) {
        fixture_deliver(&fixture, drop, "a");
    }
    fixture_checkpoint(&fixture);
    cr_assert_eq(maildrop_read(&reader, drop, 4, &maildrop), STATUS_LIMIT);
    cr_assert_eq(maildrop_read(&reader, drop, 5, &maildrop), STATUS_OK);
}

Test(maildrop, a_missing_segment_damages_its_messages_only)
{
    char path[SEGMENT_PATH_MAX];
    struct volume *volume = fixture_volume(&fixture);
    fixture_deliver(&fixture, drop, "a");
    segment_path(volume->segments_path, writer_position(volume->writer).segment, path);
    segment_forget(volume->segments, writer_position(volume->writer).segment);
    cr_assert_eq(unlink(path), 0);
    struct maildrop_events events;
    cr_assert_eq(maildrop_copy(&reader, drop, &events), STATUS_OK);
    cr_assert_eq(maildrop_merge(&reader, drop, &events, UINT64_MAX, false, &maildrop),
                 STATUS_AGAIN);
    merge(&events);
    cr_assert_eq(maildrop->count, 1);
    cr_assert_null(maildrop->files[0]);
}

Test(maildrop, times_before_1970_stay_what_they_are)
{
    struct store_message message;
    struct maildrop_entry *entry;
    fixture_deliver(&fixture, drop, "a");
    cr_assert_eq(maildrop_read(&reader, drop, UINT64_MAX, &maildrop), STATUS_OK);
    maildrop_message(maildrop, 0, &message);
    cr_assert_eq(message.received_ms, 1234567890123);
    entry = &maildrop->entries[0];
    entry->received_low = (uint32_t)-5;
    entry->received_high = UINT16_MAX;
    maildrop_message(maildrop, 0, &message);
    cr_assert_eq(message.received_ms, -5);
}
