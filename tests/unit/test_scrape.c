/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/scrape.h"

#include <criterion/criterion.h>

Test(scrape, reads_series_with_and_without_labels)
{
    struct doc metrics;
    doc_object(&metrics);
    scrape_parse("# HELP x what it is 5\n"
                 "# TYPE x counter\n"
                 "x 12\n"
                 "y_bucket{le=\"+Inf\",listener=\"a b\"} 3.5\n"
                 "z NaN\n"
                 "broken\n"
                 "w 1e3\r\n"
                 "v 12 12x\n",
                 &metrics);
    cr_assert_float_eq(doc_real(&metrics, "x", 0), 12, 1e-9);
    cr_assert_float_eq(doc_real(&metrics, "y_bucket{le=\"+Inf\",listener=\"a b\"}", 0), 3.5, 1e-9);
    cr_assert_float_eq(doc_real(&metrics, "w", 0), 1000, 1e-9);
    cr_assert_float_eq(doc_real(&metrics, "z", -1), -1, 1e-9);
    cr_assert_float_eq(doc_real(&metrics, "v", -1), -1, 1e-9);
    doc_free(&metrics);
}
