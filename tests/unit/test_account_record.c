/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/account_record.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct account sample(void)
{
    return (struct account){.drop = {.volume = 3, .id = 0x1122334455667788},
                            .created_ms = 1,
                            .changed_ms = -2,
                            .generation = UINT64_MAX,
                            .disabled = true,
                            .reason = "unpaid",
                            .tls_required = true,
                            .network_count = 2,
                            .networks = {{false, 8, {10}}, {true, 32, {0x20, 1, 0xd, 0xb8}}},
                            .credential_count = 2,
                            .credentials = {{"{PLAIN}a"}, {"{PLAIN}b"}}};
}

/* Decodes from a block of exactly that size. */
static enum status decode(const uint8_t *data, size_t length, struct account *out_account)
{
    uint8_t *copy = malloc(length > 0 ? length : 1);
    cr_assert_not_null(copy);
    memcpy(copy, data, length);
    enum status status = account_record_decode(copy, length, out_account);
    free(copy);
    return status;
}

Test(account_record, comes_back_as_it_went)
{
    struct account account = sample(), back = {0};
    uint8_t record[ACCOUNT_RECORD_MAX];
    size_t length = account_record_encode(&account, record);
    cr_assert_eq(decode(record, length, &back), STATUS_OK);
    cr_expect(memcmp(&account, &back, sizeof back) == 0);
}

Test(account_record, has_the_octets_that_its_header_says)
{
    static const uint8_t expected[] = {
        2,    3,    2,    6,    3,    0,    0,    0,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
        0x22, 0x11, 1,    0,    0,    0,    0,    0,    0,    0,    0xfe, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,    0,
        0,    0,    0,    0,    0,    0,    'u',  'n',  'p',  'a',  'i',  'd',  4,    8,
        10,   0,    0,    0,    6,    32,   0x20, 1,    0xd,  0xb8, 0,    0,    0,    0,
        0,    0,    0,    0,    0,    0,    0,    0,    8,    0,    '{',  'P',  'L',  'A',
        'I',  'N',  '}',  'a',  8,    0,    '{',  'P',  'L',  'A',  'I',  'N',  '}',  'b'};
    struct account account = sample();
    uint8_t record[ACCOUNT_RECORD_MAX];
    cr_assert_eq(account_record_encode(&account, record), sizeof expected);
    cr_expect_arr_eq(record, expected, sizeof expected);
}

Test(account_record, reads_the_format_before_this_one)
{
    static const uint8_t older[] = {
        1,    1,    2,    6,    3,    0,    0,    0,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
        0x22, 0x11, 1,    0,    0,    0,    0,    0,    0,    0,    0xfe, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'u',  'n',
        'p',  'a',  'i',  'd',  8,    0,    '{',  'P',  'L',  'A',  'I',  'N',  '}',  'a',
        8,    0,    '{',  'P',  'L',  'A',  'I',  'N',  '}',  'b'};
    struct account account = sample(), back = {0};
    account.tls_required = false;
    account.network_count = 0;
    memset(account.networks, 0, sizeof account.networks);
    cr_assert_eq(decode(older, sizeof older, &back), STATUS_OK);
    cr_expect(memcmp(&account, &back, sizeof back) == 0);
    for (size_t cut = 0; cut < sizeof older; cut++) {
        cr_expect_eq(decode(older, cut, &back), STATUS_CORRUPT, "%zu", cut);
    }
}

Test(account_record, takes_the_largest_and_the_smallest)
{
    struct account account = {.credential_count = AUTH_CREDENTIALS_MAX}, back = {0};
    uint8_t record[ACCOUNT_RECORD_MAX];
    memset(account.reason, 'r', AUTH_REASON_MAX);
    account.network_count = AUTH_NETWORKS_MAX;
    for (int i = 0; i < AUTH_NETWORKS_MAX; i++) {
        account.networks[i].is_v6 = true;
    }
    for (int i = 0; i < AUTH_CREDENTIALS_MAX; i++) {
        memset(account.credentials[i].text, 'c', AUTH_CREDENTIAL_MAX);
    }
    account.disabled = true;
    cr_assert_eq(account_record_encode(&account, record), ACCOUNT_RECORD_MAX);
    cr_assert_eq(decode(record, ACCOUNT_RECORD_MAX, &back), STATUS_OK);
    cr_expect(memcmp(&account, &back, sizeof back) == 0);
    account = (struct account){0};
    cr_assert_eq(account_record_encode(&account, record), ACCOUNT_RECORD_HEADER);
    cr_assert_eq(decode(record, ACCOUNT_RECORD_HEADER, &back), STATUS_OK);
}

Test(account_record, refuses_every_cut_and_every_surplus)
{
    static const struct account empty;
    struct account account = sample(), back = {0};
    uint8_t record[ACCOUNT_RECORD_MAX];
    size_t length = account_record_encode(&account, record);
    for (size_t cut = 0; cut <= length + 1; cut++) {
        if (cut != length) {
            cr_expect_eq(decode(record, cut, &back), STATUS_CORRUPT, "%zu", cut);
            cr_expect(memcmp(back.credentials, empty.credentials, sizeof back.credentials) == 0);
        }
    }
}

Test(account_record, survives_every_octet_and_tells_a_later_format)
{
    struct account account = sample(), back;
    uint8_t record[ACCOUNT_RECORD_MAX];
    size_t length = account_record_encode(&account, record);
    for (size_t at = 0; at < length; at++) {
        uint8_t before = record[at];
        for (unsigned octet = 0; octet < 256; octet++) {
            record[at] = (uint8_t)octet;
            enum status status = decode(record, length, &back);
            cr_assert(status == STATUS_OK || status == STATUS_CORRUPT ||
                      (status == STATUS_UNSUPPORTED && at == 0 && octet > 2));
            if (status == STATUS_OK) {
                cr_assert_leq(back.credential_count, AUTH_CREDENTIALS_MAX);
            }
        }
        record[at] = before;
    }
}
