/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches a server's metrics page and reads Prometheus' text form. Blocks, for two seconds at most:
 * not for a generator's thread.
 */
#ifndef BENCH_SCRAPE_H
#define BENCH_SCRAPE_H

#include "io/address.h"
#include "io/doc.h"
#include "io/status.h"

#define SCRAPE_OCTETS_MAX (4 * 1024 * 1024) /* of one page */

/* GET /metrics; the page as an object {series: number}. `out_metrics` is the caller's to free. */
MUST_CHECK enum status scrape_metrics(const struct address *server, struct doc *out_metrics);

/* The same for a page that is here: each line "name{labels} value" that is a number. */
void scrape_parse(const char *page, struct doc *metrics);

#endif
