/* SPDX-License-Identifier: Apache-2.0 */
#include "server/prometheus.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void expect_page(struct prometheus *page, const char *expected)
{
    cr_assert_not(page->failed);
    cr_expect_str_eq(page->text, expected);
    free(page->text);
}

Test(prometheus, a_counter_has_help_type_and_one_sample)
{
    struct prometheus page = {.text = NULL};
    prometheus_counter(&page, "things_total", "Things.", 12);
    expect_page(&page, "# HELP restante_things_total Things.\n"
                       "# TYPE restante_things_total counter\n"
                       "restante_things_total 12\n");
}

Test(prometheus, labels_stand_in_braces)
{
    struct prometheus page = {.text = NULL};
    prometheus_number(&page, "x", "a=\"b\"", UINT64_MAX);
    expect_page(&page, "restante_x{a=\"b\"} 18446744073709551615\n");
}

Test(prometheus, scaled_numbers_keep_their_microseconds)
{
    struct prometheus page = {.text = NULL};
    prometheus_scaled(&page, "a", "", 1500000, 1000000);
    prometheus_scaled(&page, "a", "", 7, 1000);
    prometheus_scaled(&page, "a", "", 123456789000001, 1000000);
    expect_page(&page, "restante_a 1.500000\nrestante_a 0.007000\n"
                       "restante_a 123456789.000001\n");
}

Test(prometheus, histograms_are_cumulative_and_end_in_infinity)
{
    struct histogram histogram = {0};
    struct prometheus_histogram sum = {.sum = 0};
    struct prometheus page = {.text = NULL};
    histogram_add(&histogram, 1);
    histogram_add(&histogram, 3);
    histogram_add(&histogram, 4);
    histogram_add(&histogram, UINT64_C(1) << 60);
    prometheus_histogram_add(&sum, &histogram);
    prometheus_histogram_add(&sum, &histogram);
    prometheus_histogram(&page, "h", "H.", &sum, 0, 1);
    cr_assert_not(page.failed);
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"1\"} 2\n"));
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"2\"} 2\n"));
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"4\"} 6\n"));
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"67108864\"} 6\n"));
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"+Inf\"} 8\n"));
    cr_expect_not_null(strstr(page.text, "restante_h_count 8\n"));
    free(page.text);
}

Test(prometheus, the_first_bucket_takes_what_is_smaller)
{
    struct histogram histogram = {0};
    struct prometheus_histogram sum = {.sum = 0};
    struct prometheus page = {.text = NULL};
    histogram_add(&histogram, 1);
    prometheus_histogram_add(&sum, &histogram);
    prometheus_histogram(&page, "h", "H.", &sum, 4, 1000000);
    cr_expect_null(strstr(page.text, "le=\"8e-06\""));
    cr_expect_not_null(strstr(page.text, "restante_h_bucket{le=\"1.6e-05\"} 1\n"));
    free(page.text);
}

Test(prometheus, a_page_grows_without_losing_anything)
{
    struct prometheus page = {.text = NULL};
    for (unsigned i = 0; i < 5000; i++) {
        prometheus_number(&page, "x", "", i);
    }
    cr_assert_not(page.failed);
    cr_expect_eq(strlen(page.text), page.length);
    const char *last = "restante_x 4999\n";
    cr_expect_str_eq(page.text + page.length - strlen(last), last);
    free(page.text);
}
