/* SPDX-License-Identifier: Apache-2.0 */
#include "io/doc.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_text(struct doc *doc, const char *expected)
{
    char *text = doc_write(doc, false);
    cr_assert_not_null(text);
    cr_expect_str_eq(text, expected);
    free(text);
    doc_free(doc);
    doc_free(doc);
}

Test(doc, writes_what_was_put)
{
    struct doc doc, list, item;
    doc_object(&doc);
    doc_put_text(&doc, "name", "demo1@localhost");
    doc_put_text(&doc, "missing", NULL);
    doc_put_number(&doc, "count", 12);
    doc_put_number(&doc, "huge", UINT64_MAX);
    doc_put_bool(&doc, "ok", true);
    doc_array(&list);
    doc_object(&item);
    doc_append(&list, &item);
    doc_put(&doc, "list", &list);
    expect_text(&doc, "{\"name\":\"demo1@localhost\",\"count\":12,\"huge\":9223372036854775807,"
                      "\"ok\":true,\"list\":[{}]}");
}

Test(doc, text_that_is_not_utf8_is_made_so)
{
    struct doc doc;
    doc_object(&doc);
    doc_put_text(&doc, "a", "caf\xe9!");
    doc_put_text(&doc, "b", "\xff\xc3");
    doc_put_text(&doc, "c", "gr\xc3\xbc\xc3\x9f");
    expect_text(&doc, "{\"a\":\"caf?!\",\"b\":\"??\",\"c\":\"gr\xc3\xbc\xc3\x9f\"}");
}

Test(doc, reads_members_of_the_right_kind_only)
{
    static const char text[] = "{\"t\":\"x\",\"n\":7,\"m\":-7,\"b\":true,\"f\":9.75,"
                               "\"l\":[{\"k\":\"v\"},\"w\"]}";
    struct doc doc, list, item;
    cr_assert_eq(doc_parse(text, strlen(text), &doc, NULL), STATUS_OK);
    cr_expect_str_eq(doc_text(&doc, "t"), "x");
    cr_expect_null(doc_text(&doc, "n"));
    cr_expect_null(doc_text(&doc, "absent"));
    cr_expect_eq(doc_number(&doc, "n", 1), 7);
    cr_expect_eq(doc_number(&doc, "m", 1), 1);
    cr_expect_eq(doc_number(&doc, "t", 1), 1);
    cr_expect_eq(doc_number(&doc, "f", 1), 9);
    cr_expect(doc_bool(&doc, "b"));
    cr_expect_not(doc_bool(&doc, "t"));
    cr_assert(doc_member(&doc, "l", &list));
    cr_assert(doc_item(&list, 0, &item));
    cr_expect_str_eq(doc_text(&item, "k"), "v");
    cr_expect_null(doc_own_text(&item));
    cr_assert(doc_item(&list, 1, &item));
    cr_expect_str_eq(doc_own_text(&item), "w");
    cr_expect_not(doc_item(&list, 2, &item));
    cr_expect_not(doc_member(&doc, "absent", &list));
    doc_free(&doc);
}

Test(doc, broken_text_is_refused_wherever_it_is_cut)
{
    static const char text[] = "{\"command\":\"deliver\",\"octets\":12}";
    struct doc doc;
    struct error error;
    for (size_t length = 0; length < strlen(text); length++) {
        cr_expect_eq(doc_parse(text, length, &doc, &error), STATUS_INVALID, "cut at %zu", length);
    }
    cr_expect_eq(doc_parse("{\"a\":1,\"a\":2}", 13, &doc, &error), STATUS_INVALID,
                 "twice the same");
}

static void on_pair(void *owner, const char *key, const char *value)
{
    char *out = owner;
    strcat(out, key);
    strcat(out, "=");
    strcat(out, value);
    strcat(out, ";");
}

Test(doc, each_gives_plain_members_in_order)
{
    char out[128] = "";
    struct doc doc, list;
    doc_object(&doc);
    doc_put_text(&doc, "t", "x");
    doc_put_number(&doc, "n", 7);
    doc_array(&list);
    doc_put(&doc, "l", &list);
    doc_put_bool(&doc, "b", false);
    doc_each(&doc, on_pair, out);
    cr_expect_str_eq(out, "t=x;n=7;b=false;");
    doc_free(&doc);
}

static void add_number(void *owner, const char *key, double value)
{
    *(double *)owner += value;
}

Test(doc, keeps_fractions_and_counts_items)
{
    struct doc doc, list, item;
    doc_object(&doc);
    doc_array(&list);
    doc_append_text(&list, "one");
    doc_append_text(&list, "\xff");
    cr_assert_eq(doc_count(&list), 2);
    cr_assert(doc_item(&list, 1, &item));
    cr_assert_str_eq(doc_own_text(&item), "?");
    doc_put_real(&doc, "rate", -12.25);
    doc_put_real(&doc, "nothing", (double)NAN);
    doc_put(&doc, "list", &list);
    cr_assert_eq(doc_real(&doc, "rate", 0), -12.25);
    double sum = 0;
    doc_put_number(&doc, "whole", 2);
    doc_each_number(&doc, add_number, &sum);
    cr_assert_eq(sum, -10.25);
    cr_assert_eq(doc_real(&doc, "nothing", 7), 7);
    cr_assert_eq(doc_count(&doc), 0);
    doc_free(&doc);
}
