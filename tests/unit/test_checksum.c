/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/checksum.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif
#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

static void fill(uint8_t *data, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        data[i] = (uint8_t)(i * 131 + i / 251);
    }
}

Test(checksum, of_pieces_equals_that_of_the_whole_cut_anywhere)
{
    uint8_t data[1500];
    fill(data, sizeof data);
    uint64_t whole = checksum_body(data, sizeof data);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        struct checksum_stream stream;
        checksum_stream_init(&stream);
        checksum_stream_add(&stream, data, cut);
        checksum_stream_add(&stream, data + cut, sizeof data - cut);
        cr_assert_eq(checksum_stream_result(&stream), whole, "cut at %zu", cut);
    }
}

Test(checksum, of_single_octets_equals_that_of_the_whole)
{
    uint8_t data[3000];
    struct checksum_stream stream;
    fill(data, sizeof data);
    checksum_stream_init(&stream);
    for (size_t i = 0; i < sizeof data; i++) {
        checksum_stream_add(&stream, data + i, 1);
    }
    cr_assert_eq(checksum_stream_result(&stream), checksum_body(data, sizeof data));
}

Test(checksum, of_nothing_is_that_of_an_empty_stream)
{
    struct checksum_stream stream;
    checksum_stream_init(&stream);
    cr_assert_eq(checksum_stream_result(&stream), checksum_body("", 0));
}

Test(checksum, is_that_of_xxh3_for_ever)
{
    /* What is on disks must stay readable after a change of library and with any processor's
     * instructions: from 241 octets on there are several ways to the same sum. */
    static const struct {
        size_t length;
        uint64_t plain, keyed;
    } known[] = {
        {0, 0x2d06800538d394c2u, 0},
        {240, 0xb80284837259eee4u, 0x7d23695c53257d4bu},
        {241, 0x44dbd3180a664e27u, 0xcb6fd0876898e078u},
        {1024, 0x7117c50da8f5f7dfu, 0x32c080c4d79955f7u},
        {5000, 0xb9d5cf500f67dddeu, 0x59dad87b4ed79289u},
    };
    uint8_t data[5000];
    struct checksum_key key;
    fill(data, sizeof data);
    fill(key.octets, sizeof key.octets);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        cr_assert_eq(checksum_body(data, known[i].length), known[i].plain, "at %zu",
                     known[i].length);
        cr_assert(i == 0 || checksum_keyed(&key, data, known[i].length) == known[i].keyed);
    }
}

Test(checksum, keyed_depends_on_every_octet_of_data_and_on_the_key)
{
    uint8_t data[300];
    struct checksum_key key, other;
    fill(data, sizeof data);
    fill(key.octets, sizeof key.octets);
    memset(&other, 0x5a, sizeof other);
    uint64_t right = checksum_keyed(&key, data, sizeof data);
    cr_assert_neq(right, checksum_keyed(&other, data, sizeof data));
    cr_assert_neq(right, checksum_body(data, sizeof data));
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] ^= 1;
        cr_assert_neq(right, checksum_keyed(&key, data, sizeof data), "octet %zu", i);
        data[i] ^= 1;
    }
}

#ifdef __x86_64__

#define STATE_UPPER_HALVES ((1u << 2) | (1u << 6)) /* of AVX and of AVX-512 (Intel SDM 13.1) */

/* Parts of the processor's state that are in use. */
static uint32_t state_in_use(void)
{
    uint32_t a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a;
}

/* Whether the processor tells (CPUID 0DH.1, EAX bit 2), and exactly: it may always say so. */
static bool tells_state(void)
{
    uint32_t a, b, c, d;
    if (!__builtin_cpu_supports("avx") || __get_cpuid_count(13, 1, &a, &b, &c, &d) == 0 ||
        (a & 4) == 0) {
        return false;
    }
    __asm__ volatile("vzeroupper");
    return (state_in_use() & STATE_UPPER_HALVES) == 0;
}

/* What is left in use slows down everything that comes after: see checksum.c. */
Test(checksum, leaves_no_upper_half_of_a_register_in_use)
{
    static uint8_t data[4096];
    struct checksum_stream stream;
    struct checksum_key key = {{1}};
    uint32_t parts[4];
    if (!tells_state()) {
        cr_skip_test("this processor does not tell what is in use");
    }
    uint64_t sum = checksum_body(data, sizeof data);
    parts[0] = state_in_use();
    sum ^= checksum_keyed(&key, data, sizeof data);
    parts[1] = state_in_use();
    checksum_stream_init(&stream);
    checksum_stream_add(&stream, data, sizeof data);
    parts[2] = state_in_use();
    sum ^= checksum_stream_result(&stream);
    parts[3] = state_in_use();
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(parts[i] & STATE_UPPER_HALVES, 0, "after call %u (sum %d)", i, (int)sum);
    }
}

#endif
