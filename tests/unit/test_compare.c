/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/compare.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A result of 40 windows with about that rate and latency. */
static void make(double rate, double p99_us, bool bottleneck, struct doc *out_doc)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    fprintf(file,
            "{\"settings\":{\"workload\":\"login\",\"rate\":%f},\"runs\":[{\"generator\":"
            "{\"bottleneck\":%s},\"windows\":[",
            rate, bottleneck ? "true" : "false");
    for (unsigned index = 0; index < 40; index++) {
        double wave = 1 + 0.02 * (index % 5);
        fprintf(file,
                "%s{\"operations\":100,\"rate\":%f,\"p50_us\":100,\"p95_us\":200,"
                "\"p99_us\":%f,\"server_cpu_s\":0}",
                index == 0 ? "" : ",", rate * wave, p99_us * wave);
    }
    fprintf(file, "]}]}");
    fclose(file);
    cr_assert_eq(doc_parse(text, length, out_doc, NULL), STATUS_OK);
    free(text);
}

static const char *told(const struct doc *result, const char *figure)
{
    struct doc list, item;
    cr_assert(doc_member(result, "figures", &list));
    for (size_t index = 0; doc_item(&list, index, &item); index++) {
        if (strcmp(doc_text(&item, "figure"), figure) == 0) {
            return doc_text(&item, "b_is");
        }
    }
    return "absent";
}

Test(compare, says_better_worse_or_no_difference)
{
    struct doc a, b, result;
    make(1000, 500, false, &a);
    make(1200, 700, true, &b);
    cr_assert(compare_results(&a, &b, 30, &result), "p99 is 40 %% worse for sure");
    cr_assert_str_eq(told(&result, "rate"), "better");
    cr_assert_str_eq(told(&result, "latency p99"), "worse");
    cr_assert_str_eq(told(&result, "latency p50"), "no difference");
    cr_assert_str_eq(told(&result, "server memory"), "absent");
    cr_assert(doc_bool(&result, "bottleneck_b"));
    cr_assert_not(doc_bool(&result, "bottleneck_a"));
    doc_free(&result);
    cr_assert_not(compare_results(&a, &b, 60, &result));
    doc_free(&result);
    cr_assert_not(compare_results(&a, &b, -1, &result));
    doc_free(&a);
    doc_free(&b);
    doc_free(&result);
}

Test(compare, writes_a_table_that_names_what_is_not_alike)
{
    struct doc a, b, result;
    char *text = NULL;
    size_t length = 0;
    make(1000, 500, false, &a);
    make(1200, 500, true, &b);
    (void)compare_results(&a, &b, -1, &result);
    FILE *file = open_memstream(&text, &length);
    compare_write(&result, "a.json", "b.json", file);
    fclose(file);
    cr_assert_not_null(strstr(text, "rate"));
    cr_assert_not_null(strstr(text, "not alike: rate"));
    cr_assert_not_null(strstr(text, "in B the generator was the bottleneck"));
    free(text);
    doc_free(&a);
    doc_free(&b);
    doc_free(&result);
}
