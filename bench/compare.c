/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/compare.h"

#include "bench/interval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct figure {
    const char *name, *key; /* of a window; NULL key: server CPU for an operation */
    bool more_is_better;
    const char *unit;
};

static const struct figure figures[] = {
    {"rate", "rate", true, "/s"},
    {"latency p50", "p50_us", false, "us"},
    {"latency p95", "p95_us", false, "us"},
    {"latency p99", "p99_us", false, "us"},
    {"server CPU an operation", NULL, false, "us"},
    {"server memory", "server_rss_octets", false, "octets"},
};

struct samples {
    double *values;
    size_t count;
};

static void add_window(const struct doc *window, const struct figure *figure,
                       struct samples *samples)
{
    double operations = doc_real(window, "operations", 0), value;
    if (figure->key != NULL) {
        value = doc_real(window, figure->key, 0);
    } else {
        value = operations > 0 ? doc_real(window, "server_cpu_s", 0) * 1e6 / operations : 0;
    }
    /* A window without operations has no latency; one of a server not watched no processor time. */
    if (value > 0 || figure->more_is_better) {
        samples->values[samples->count++] = value;
    }
}

static size_t window_total(const struct doc *result)
{
    struct doc runs, run, windows;
    size_t total = 0;
    if (doc_member(result, "runs", &runs)) {
        for (size_t index = 0; doc_item(&runs, index, &run); index++) {
            total += doc_member(&run, "windows", &windows) ? doc_count(&windows) : 0;
        }
    }
    return total;
}

static bool gather(const struct doc *result, const struct figure *figure,
                   struct samples *out_samples)
{
    struct doc runs, run, windows, window;
    *out_samples = (struct samples){0};
    out_samples->values = calloc(window_total(result) + 1, sizeof(double));
    if (out_samples->values == NULL || !doc_member(result, "runs", &runs)) {
        return false;
    }
    for (size_t index = 0; doc_item(&runs, index, &run); index++) {
        if (doc_member(&run, "windows", &windows)) {
            for (size_t at = 0; doc_item(&windows, at, &window); at++) {
                add_window(&window, figure, out_samples);
            }
        }
    }
    return out_samples->count > 0;
}

/* How much worse b is at least, in percent; below 0 when it may be better. */
static double surely_worse(const struct figure *figure, const struct interval *interval)
{
    if (isnan(interval->low)) {
        return -1;
    }
    return 100 * (figure->more_is_better ? 1 - interval->high : interval->low - 1);
}

static const char *meaning(const struct figure *figure, const struct interval *interval)
{
    if (isnan(interval->low)) {
        return "too few windows";
    }
    if (interval->low <= 1 && interval->high >= 1) {
        return "no difference";
    }
    return surely_worse(figure, interval) > 0 ? "worse" : "better";
}

static void put_figure(struct doc *list, const struct figure *figure,
                       const struct interval *interval)
{
    struct doc object;
    doc_object(&object);
    doc_put_text(&object, "figure", figure->name);
    doc_put_text(&object, "unit", figure->unit);
    doc_put_real(&object, "a", interval->mean_a);
    doc_put_real(&object, "b", interval->mean_b);
    doc_put_real(&object, "ratio", interval->ratio);
    doc_put_real(&object, "low", interval->low);
    doc_put_real(&object, "high", interval->high);
    doc_put_text(&object, "b_is", meaning(figure, interval));
    doc_append(list, &object);
}

/* Differences of how they were measured, which a comparison of servers should not have. */
static void put_differences(const struct doc *a, const struct doc *b, struct doc *result)
{
    static const char *const keys[] = {"workload", "loop", "arrivals", "shape",
                                       "tls",      "auth", "sizes",    "verify"};
    static const char *const numbers[] = {"rate", "connections", "threads", "pipeline"};
    struct doc list, set_a, set_b;
    doc_array(&list);
    if (doc_member(a, "settings", &set_a) && doc_member(b, "settings", &set_b)) {
        for (size_t index = 0; index < sizeof keys / sizeof keys[0]; index++) {
            const char *left = doc_text(&set_a, keys[index]),
                       *right = doc_text(&set_b, keys[index]);
            if (strcmp(left != NULL ? left : "", right != NULL ? right : "") != 0) {
                doc_append_text(&list, keys[index]);
            }
        }
        for (size_t index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
            if (fabs(doc_real(&set_a, numbers[index], 0) - doc_real(&set_b, numbers[index], 0)) >
                0) {
                doc_append_text(&list, numbers[index]);
            }
        }
    }
    doc_put(result, "settings_that_differ", &list);
}

static bool any_bottleneck(const struct doc *result)
{
    struct doc runs, run, generator;
    bool any = false;
    if (doc_member(result, "runs", &runs)) {
        for (size_t index = 0; doc_item(&runs, index, &run); index++) {
            any = any ||
                  (doc_member(&run, "generator", &generator) && doc_bool(&generator, "bottleneck"));
        }
    }
    return any;
}

bool compare_results(const struct doc *a, const struct doc *b, double max_regression,
                     struct doc *out_result)
{
    struct doc list;
    bool worse = false;
    doc_object(out_result);
    doc_array(&list);
    for (size_t index = 0; index < sizeof figures / sizeof figures[0]; index++) {
        struct samples from_a, from_b;
        struct interval interval;
        bool both = gather(a, &figures[index], &from_a);
        both = gather(b, &figures[index], &from_b) && both;
        if (both && interval_ratio(from_a.values, from_a.count, from_b.values, from_b.count,
                                   &interval) == STATUS_OK) {
            put_figure(&list, &figures[index], &interval);
            worse = worse || (max_regression >= 0 &&
                              surely_worse(&figures[index], &interval) > max_regression);
        }
        free(from_a.values);
        free(from_b.values);
    }
    doc_put_text(out_result, "schema", "restante-bench-comparison/1");
    doc_put_bool(out_result, "bottleneck_a", any_bottleneck(a));
    doc_put_bool(out_result, "bottleneck_b", any_bottleneck(b));
    put_differences(a, b, out_result);
    doc_put(out_result, "figures", &list);
    doc_put_bool(out_result, "worse", worse);
    return worse;
}

void compare_write(const struct doc *result, const char *name_a, const char *name_b, FILE *file)
{
    struct doc list, item;
    fprintf(file, "A: %s\nB: %s\n%-24s %12s %12s %8s  %-16s %s\n", name_a, name_b, "", "A", "B",
            "B/A", "95 % interval", "B is");
    (void)doc_member(result, "figures", &list); /* compare_results put it */
    for (size_t index = 0; doc_item(&list, index, &item); index++) {
        double low = doc_real(&item, "low", (double)NAN);
        fprintf(file, "%-24s %12.6g %12.6g %8.3f  ", doc_text(&item, "figure"),
                doc_real(&item, "a", 0), doc_real(&item, "b", 0), doc_real(&item, "ratio", 0));
        if (isnan(low)) {
            fprintf(file, "%-16s ", "");
        } else {
            fprintf(file, "%.3f .. %-7.3f ", low, doc_real(&item, "high", 0));
        }
        fprintf(file, "%s\n", doc_text(&item, "b_is"));
    }
    (void)doc_member(result, "settings_that_differ", &list); /* likewise */
    for (size_t index = 0; doc_item(&list, index, &item); index++) {
        fprintf(file, "not alike: %s\n", doc_own_text(&item));
    }
    if (doc_bool(result, "bottleneck_a") || doc_bool(result, "bottleneck_b")) {
        fprintf(file, "in %s%s%s the generator was the bottleneck\n",
                doc_bool(result, "bottleneck_a") ? "A" : "",
                doc_bool(result, "bottleneck_a") && doc_bool(result, "bottleneck_b") ? " and " : "",
                doc_bool(result, "bottleneck_b") ? "B" : "");
    }
}
