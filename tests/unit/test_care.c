/* SPDX-License-Identifier: Apache-2.0 */
#include "server/care.h"

#include <criterion/criterion.h>

Test(care, a_finding_says_what_is_known_and_leaves_out_the_rest)
{
    struct damage damage = {.kind = DAMAGE_BODY, .segment = 3, .offset = 0, .octets = 99};
    struct doc doc;
    care_put_damage(&doc, &damage);
    cr_assert_str_eq(doc_text(&doc, "kind"), "body");
    cr_assert_not_null(doc_text(&doc, "cure"));
    cr_assert_eq(doc_number(&doc, "segment", 0), 3);
    cr_assert_eq(doc_number(&doc, "offset", 7), 0);
    cr_assert_eq(doc_number(&doc, "maildrop", 7), 7);
    cr_assert_null(doc_text(&doc, "name"));
    doc_free(&doc);
    damage = (struct damage){.kind = DAMAGE_MESSAGE, .maildrop = 5, .uid = 6, .blob = 8};
    care_put_damage(&doc, &damage);
    cr_assert_eq(doc_number(&doc, "blob", 0), 8);
    cr_assert_eq(doc_number(&doc, "offset", 7), 7);
    doc_free(&doc);
}

Test(care, the_figures_of_a_check_are_all_there)
{
    struct check_result result = {.segments = 1, .octets = 2, .messages = 3, .damages = 4};
    struct doc doc;
    doc_object(&doc);
    care_put_result(&doc, &result);
    cr_assert_eq(doc_number(&doc, "segments", 0), 1);
    cr_assert_eq(doc_number(&doc, "octets", 0), 2);
    cr_assert_eq(doc_number(&doc, "messages", 0), 3);
    cr_assert_eq(doc_number(&doc, "damages", 0), 4);
    cr_assert_eq(doc_number(&doc, "torn_octets", 9), 0);
    doc_free(&doc);
}
