/* SPDX-License-Identifier: Apache-2.0 */
#include "server/prometheus.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_FIRST 16384 /* octets; a page with all families takes about this */

static bool make_room(struct prometheus *page, size_t length)
{
    if (page->capacity - page->length > length) {
        return true;
    }
    size_t capacity = page->capacity == 0 ? PAGE_FIRST : page->capacity;
    while (capacity - page->length <= length) {
        capacity *= 2;
    }
    char *text = realloc(page->text, capacity);
    if (text == NULL) {
        page->failed = true;
        return false;
    }
    page->text = text;
    page->capacity = capacity;
    return true;
}

__attribute__((format(printf, 2, 3))) static void add(struct prometheus *page, const char *format,
                                                      ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof line) {
        page->failed = true; /* half a line would be a broken page */
    } else if (!page->failed && make_room(page, (size_t)length)) {
        memcpy(page->text + page->length, line, (size_t)length + 1);
        page->length += (size_t)length;
    }
}

void prometheus_family(struct prometheus *page, const char *name, const char *type,
                       const char *help)
{
    add(page, "# HELP restante_%s %s\n# TYPE restante_%s %s\n", name, help, name, type);
}

static void add_name(struct prometheus *page, const char *name, const char *labels)
{
    bool some = labels[0] != '\0';
    add(page, "restante_%s%s%s%s ", name, some ? "{" : "", labels, some ? "}" : "");
}

void prometheus_number(struct prometheus *page, const char *name, const char *labels,
                       uint64_t value)
{
    add_name(page, name, labels);
    add(page, "%" PRIu64 "\n", value);
}

void prometheus_scaled(struct prometheus *page, const char *name, const char *labels,
                       uint64_t value, uint64_t per)
{
    add_name(page, name, labels);
    /* Nine significant digits would lose microseconds of a long uptime; integers do not. */
    add(page, "%" PRIu64 ".%06" PRIu64 "\n", value / per, value % per * 1000000 / per);
}

void prometheus_counter(struct prometheus *page, const char *name, const char *help, uint64_t value)
{
    prometheus_family(page, name, "counter", help);
    prometheus_number(page, name, "", value);
}

void prometheus_gauge(struct prometheus *page, const char *name, const char *help, uint64_t value)
{
    prometheus_family(page, name, "gauge", help);
    prometheus_number(page, name, "", value);
}

void prometheus_histogram_add(struct prometheus_histogram *sum, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum->buckets[i] += counter_read(&from->buckets[i]);
    }
    sum->sum += counter_read(&from->sum);
}

void prometheus_histogram(struct prometheus *page, const char *name, const char *help,
                          const struct prometheus_histogram *histogram, unsigned first,
                          uint64_t per)
{
    uint64_t count = 0;
    char bucket[128];
    (void)snprintf(bucket, sizeof bucket, "%s_bucket", name);
    prometheus_family(page, name, "histogram", help);
    /* The last bucket takes what is larger than all: it is the +Inf one. */
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        char label[64];
        count += histogram->buckets[i];
        if (i < first) {
            continue;
        }
        (void)snprintf(label, sizeof label, "le=\"%.9g\"",
                       (double)(UINT64_C(1) << i) / (double)per);
        prometheus_number(page, bucket, label, count);
    }
    count += histogram->buckets[HISTOGRAM_BUCKETS - 1];
    prometheus_number(page, bucket, "le=\"+Inf\"", count);
    char part[128];
    (void)snprintf(part, sizeof part, "%s_sum", name);
    prometheus_scaled(page, part, "", histogram->sum, per);
    (void)snprintf(part, sizeof part, "%s_count", name);
    prometheus_number(page, part, "", count);
}
