/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/store_fixture.h"

#include <criterion/criterion.h>

#define TEXT "Subject: x\r\n\r\nHello\r\n.dot\r\n"
#define WIRE "Subject: x\r\n\r\nHello\r\n..dot\r\n.\r\n"

Test(local, delivers_and_opens_and_fetches)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    uint64_t uid = fixture_deliver(&fixture, drop, TEXT);
    struct view *view = fixture_view_ok(&fixture, drop);
    cr_assert_eq(store_view_count(view), 1);
    cr_assert_eq(store_view_octets(view), sizeof TEXT - 1);
    struct store_message message;
    store_view_message(view, 0, &message);
    cr_assert_eq(message.uid, uid);
    cr_assert_eq(message.octets, sizeof TEXT - 1);
    cr_assert_eq(message.wire_length, sizeof WIRE - 1);
    cr_assert_eq(message.received_ms, 1234567890123);
    uint8_t buffer[256];
    struct store_fetch fetch = {.client = &fixture.client,
                                .view = view,
                                .index = 0,
                                .length = message.wire_length,
                                .buffer = buffer};
    cr_assert_eq(store_fetch(&fetch), STATUS_OK);
    cr_assert_eq(fetch.range.kind, STORE_RANGE_BUFFER);
    cr_assert_arr_eq(buffer, WIRE, sizeof WIRE - 1);
    store_view_close(&view);
    fixture_end(&fixture);
}

Test(local, survives_a_restart)
{
    struct fixture fixture;
    fixture_start(&fixture);
    uint64_t drop = fixture_create(&fixture, "u@localhost");
    for (int i = 0; i < 10; i++) {
        fixture_deliver(&fixture, drop, TEXT);
    }
    cr_assert_eq(fixture_expunge(&fixture, drop, 3), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        fixture_close(&fixture);
        fixture_open(&fixture);
        cr_assert_eq(fixture_count(&fixture, drop), 9u + (unsigned)i);
        fixture_deliver(&fixture, drop, TEXT);
    }
    fixture_end(&fixture);
}
