/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line plot as SVG, to stand inside an HTML page whose style sheet has the classes axis, grid,
 * label, and line-0 to line-5. Pure, but for the file it writes.
 */
#ifndef BENCH_PLOT_H
#define BENCH_PLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PLOT_SERIES_MAX 6 /* as many lines as colours that can be told apart */

struct plot_series {
    const char *name;
    const double *x, *y;
    size_t count;
};

/* share: 0 to 1, stretched towards 1 by its logarithm */
enum plot_x { PLOT_X_SECONDS, PLOT_X_SHARE };
enum plot_y { PLOT_Y_TIME, PLOT_Y_COUNT, PLOT_Y_OCTETS }; /* time in microseconds, logarithmic */

struct plot {
    const char *title;
    enum plot_x x;
    enum plot_y y;
    bool half; /* two stand side by side */
    unsigned series_count;
    struct plot_series series[PLOT_SERIES_MAX];
};

/* Writes it; nothing when no series has two points. */
void plot_write(const struct plot *plot, FILE *file);

/* Text with what HTML takes for its own made harmless. */
void plot_text(const char *text, FILE *file);

#endif
