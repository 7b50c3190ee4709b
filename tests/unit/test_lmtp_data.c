/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lmtp_data.h"

#include "storage/wire.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 256 /* octets of what the small tests send */

struct content {
    uint8_t data[TEXT_MAX * 2];
    size_t length;
    bool ended;
    size_t left; /* octets behind the end */
};

/* Feeds `length` octets, appends what comes out; returns the octets taken before the end. */
static size_t feed(struct lmtp_data *decoder, const uint8_t *data, size_t length,
                   struct content *content)
{
    size_t at = 0;
    unsigned idle = 0;
    while (at < length && decoder->state != LMTP_DATA_ENDED) {
        struct lmtp_run run;
        size_t taken = lmtp_data_take(decoder, data + at, length - at, &run);
        cr_assert_leq(taken, length - at);
        cr_assert_leq(content->length + run.length, sizeof content->data);
        memcpy(content->data + content->length, run.data, run.length);
        content->length += run.length;
        at += taken;
        idle = taken > 0 ? 0 : idle + 1;
        cr_assert_lt(idle, 2, "each call gets somewhere");
    }
    content->ended = decoder->state == LMTP_DATA_ENDED;
    return at;
}

/* What the rules say, written down without a state machine: cut at the first CRLF.CRLF (a message
 * may begin with the dot), then drop the dot behind each CRLF. */
static void expect(const uint8_t *data, size_t length, struct content *out_content)
{
    uint8_t stream[TEXT_MAX + 2] = {'\r', '\n'};
    memcpy(stream + 2, data, length);
    size_t size = length + 2;
    *out_content = (struct content){0};
    for (size_t i = 0; i < size;) {
        if (i + 5 <= size && memcmp(stream + i, "\r\n.\r\n", 5) == 0) {
            if (i > 0) {
                memcpy(out_content->data + out_content->length, "\r\n", 2);
                out_content->length += 2;
            }
            out_content->ended = true;
            out_content->left = size - i - 5;
            return;
        }
        bool is_end = i + 2 <= size && memcmp(stream + i, "\r\n", 2) == 0;
        size_t step = is_end ? 2 : 1;
        if (i > 0) {
            memcpy(out_content->data + out_content->length, stream + i, step);
            out_content->length += step;
        }
        i += step;
        if (is_end && i < size && stream[i] == '.') {
            i++;
        }
    }
}

/* Decodes `text` whole, cut in two at every place, and octet by octet; all agree with the rules. */
static void check(const uint8_t *text, size_t length)
{
    struct content expected;
    expect(text, length, &expected);
    cr_assert(expected.ended);
    for (size_t cut = 0; cut <= length + 1; cut++) {
        struct lmtp_data decoder;
        struct content content = {0};
        size_t taken = 0;
        lmtp_data_init(&decoder);
        if (cut <= length) {
            taken = feed(&decoder, text, cut, &content);
            taken += feed(&decoder, text + taken, length - taken, &content);
        } else {
            while (taken < length && feed(&decoder, text + taken, 1, &content) == 1) {
                taken++;
            }
        }
        cr_assert(content.ended);
        cr_assert_eq(length - taken, expected.left);
        cr_assert_eq(content.length, expected.length);
        cr_assert_eq(memcmp(content.data, expected.data, expected.length), 0);
        cr_assert_eq(decoder.octets, expected.length);
    }
}

/* The next mixture of CR, LF, dot and a letter: number `code` in base 4. */
static void mixture(uint32_t code, size_t length, uint8_t *out)
{
    for (size_t i = 0; i < length; i++) {
        out[i] = (uint8_t) "\r\n.a"[code & 3];
        code >>= 2;
    }
}

Test(lmtp_data, decodes_every_mixture_cut_at_every_place, .timeout = 120)
{
    uint8_t text[TEXT_MAX];
    for (size_t length = 0; length <= 8; length++) {
        for (uint32_t code = 0; code < 1u << (2 * length); code++) {
            mixture(code, length, text);
            memcpy(text + length, "\r\n.\r\nQ", 6);
            check(text, length + 6);
        }
    }
}

Test(lmtp_data, finds_the_end_at_every_place_of_a_long_text, .timeout = 120)
{
    static const char *const endings[] = {"\r\n.\r\n", "\n.\r\n", "\r\n.x", "\r\n..\r\n.\r\n"};
    enum { LENGTH = 150 };
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t ending = strlen(endings[i]);
        for (size_t at = 0; at + ending <= LENGTH; at++) {
            uint8_t text[LENGTH + 5];
            memset(text, 'x', LENGTH);
            memcpy(text + at, endings[i], ending);
            memcpy(text + LENGTH, "\r\n.\r\n", 5);
            check(text, sizeof text);
        }
    }
}

/* The stored form of what `content` holds. */
static size_t store(const struct content *content, uint8_t *out, size_t capacity)
{
    struct wire_encoder encoder;
    size_t written = 0;
    wire_init(&encoder);
    size_t taken = wire_encode(&encoder, content->data, content->length, out, capacity, &written);
    cr_assert_eq(taken, content->length);
    return written + wire_finish(&encoder, out + written);
}

Test(lmtp_data, leaves_no_end_inside_what_is_stored, .timeout = 120)
{
    uint8_t text[TEXT_MAX], wire[TEXT_MAX * 4];
    for (size_t length = 0; length <= 8; length++) {
        for (uint32_t code = 0; code < 1u << (2 * length); code++) {
            struct lmtp_data decoder;
            struct content content = {0};
            mixture(code, length, text);
            memcpy(text + length, "\r\n.\r\n", 5);
            lmtp_data_init(&decoder);
            (void)feed(&decoder, text, length + 5, &content);
            size_t size = store(&content, wire, sizeof wire);
            const uint8_t *end = memmem(wire, size, "\r\n.\r\n", 5);
            bool is_empty = size == 3 && memcmp(wire, ".\r\n", 3) == 0;
            cr_assert(is_empty || end == wire + size - 5);
            cr_assert(is_empty || memcmp(wire, ".\r\n", 3) != 0);
        }
    }
}

Test(lmtp_data, ends_only_at_a_dot_between_two_crlf)
{
    static const char *const fakes[] = {"\n.\n",      "\n.\r\n",   "\r\n.\n", "\r.\r",
                                        "\r\n.\r",    "\n.\r",     "\r.\r\n", "\r\n..\r\n",
                                        "\r\n .\r\n", "\r\r\n.\r", "\n\n.\n", "\r\n.\r\r\n"};
    for (size_t i = 0; i < sizeof fakes / sizeof fakes[0]; i++) {
        struct lmtp_data decoder;
        struct content content = {0};
        lmtp_data_init(&decoder);
        (void)feed(&decoder, (const uint8_t *)"text", 4, &content);
        (void)feed(&decoder, (const uint8_t *)fakes[i], strlen(fakes[i]), &content);
        (void)feed(&decoder, (const uint8_t *)"more", 4, &content);
        cr_assert_not(content.ended, "number %zu", i);
    }
}

Test(lmtp_data, ends_an_empty_message_at_a_dot_at_the_start)
{
    struct lmtp_data decoder;
    struct content content = {0};
    lmtp_data_init(&decoder);
    cr_assert_eq(feed(&decoder, (const uint8_t *)".\r\nNOOP", 7, &content), 3);
    cr_assert(content.ended);
    cr_assert_eq(content.length, 0);
}

Test(lmtp_data, passes_long_stretches_in_one_run)
{
    size_t length = 1u << 20;
    uint8_t *data = malloc(length);
    cr_assert_not_null(data);
    memset(data, 'x', length);
    for (size_t i = 78; i < length; i += 78) {
        memcpy(data + i - 2, "\r\n", 2);
    }
    struct lmtp_data decoder;
    struct lmtp_run run;
    lmtp_data_init(&decoder);
    cr_assert_eq(lmtp_data_take(&decoder, data, length, &run), length);
    cr_assert(run.data == data && run.length == length);
    free(data);
}
