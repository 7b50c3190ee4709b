/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/plot.h"

#include "bench/units.h"

#include <math.h>
#include <string.h>

#define WIDTH_WHOLE 960.0
#define WIDTH_HALF  480.0
#define HEIGHT      270.0
#define LEFT        64.0
#define RIGHT       14.0
#define TOP         14.0
#define BOTTOM      34.0

/* Where values lie: after the axes' own stretching. */
struct frame {
    const struct plot *plot;
    double width;
    double x_min, x_max, y_min, y_max;
};

void plot_text(const char *text, FILE *file)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            (void)fputs("&lt;", file);
            break;
        case '&':
            (void)fputs("&amp;", file);
            break;
        case '"':
            (void)fputs("&quot;", file);
            break;
        default:
            (void)fputc(*text, file);
            break;
        }
    }
}

static double stretch_x(const struct plot *plot, double x)
{
    return plot->x == PLOT_X_SHARE ? -log10(1 - (x < 1 ? x : 0.9999999)) : x;
}

static bool is_log(const struct plot *plot)
{
    return plot->y == PLOT_Y_TIME;
}

static double stretch_y(const struct plot *plot, double y)
{
    return is_log(plot) ? log10(y > 0.1 ? y : 0.1) : y;
}

static double place_x(const struct frame *frame, double x)
{
    double share = (stretch_x(frame->plot, x) - frame->x_min) / (frame->x_max - frame->x_min);
    return LEFT + share * (frame->width - LEFT - RIGHT);
}

static double place_y(const struct frame *frame, double y)
{
    double share = (stretch_y(frame->plot, y) - frame->y_min) / (frame->y_max - frame->y_min);
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
}

static bool frame_find(const struct plot *plot, struct frame *out_frame)
{
    struct frame frame = {.plot = plot,
                          .width = plot->half ? WIDTH_HALF : WIDTH_WHOLE,
                          .x_min = HUGE_VAL,
                          .x_max = -HUGE_VAL,
                          .y_min = HUGE_VAL,
                          .y_max = -HUGE_VAL};
    bool drawable = false;
    for (unsigned index = 0; index < plot->series_count; index++) {
        const struct plot_series *series = &plot->series[index];
        drawable = drawable || series->count > 1;
        for (size_t at = 0; at < series->count; at++) {
            frame.x_min = fmin(frame.x_min, stretch_x(plot, series->x[at]));
            frame.x_max = fmax(frame.x_max, stretch_x(plot, series->x[at]));
            frame.y_min = fmin(frame.y_min, stretch_y(plot, series->y[at]));
            frame.y_max = fmax(frame.y_max, stretch_y(plot, series->y[at]));
        }
    }
    frame.x_min = plot->x == PLOT_X_SECONDS ? 0 : frame.x_min;
    if (is_log(plot)) {
        frame.y_min = floor(frame.y_min);
        frame.y_max = fmax(ceil(frame.y_max), frame.y_min + 1);
    } else {
        frame.y_min = 0;
        frame.y_max = frame.y_max > 0 ? frame.y_max * 1.08 : 1;
    }
    *out_frame = frame;
    return drawable && frame.x_max > frame.x_min;
}

/* A step of 1, 2 or 5 times a power of ten that cuts `range` into about `parts`. */
static double round_step(double range, double parts)
{
    double raw = range / parts, power = pow(10, floor(log10(raw)));
    double times = raw / power;
    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

static void write_y_tick(const struct frame *frame, double value, FILE *file)
{
    char text[24];
    double y = place_y(frame, value);
    const char *name = frame->plot->y == PLOT_Y_TIME     ? units_time(value, text)
                       : frame->plot->y == PLOT_Y_OCTETS ? units_octets(value, text)
                                                         : units_count(value, text);
    fprintf(file,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            LEFT, frame->width - RIGHT, y, y, LEFT - 7, y + 4, name);
}

static void write_y_axis(const struct frame *frame, FILE *file)
{
    if (is_log(frame->plot)) {
        for (double power = frame->y_min; power <= frame->y_max + 0.01; power += 1) {
            write_y_tick(frame, pow(10, power), file);
        }
        return;
    }
    double step = round_step(frame->y_max, 5);
    if (frame->plot->y == PLOT_Y_OCTETS) { /* powers of two read better in KiB and MiB */
        step = pow(2, round(log2(frame->y_max / 4)));
    }
    for (double value = 0; value <= frame->y_max; value += step) {
        write_y_tick(frame, value, file);
    }
}

static void write_x_tick(const struct frame *frame, double value, const char *name, FILE *file)
{
    double x = place_x(frame, value);
    fprintf(file,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
            "<text class=\"label\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            x, x, TOP, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, name);
}

static void write_x_axis(const struct frame *frame, FILE *file)
{
    static const struct {
        double share;
        const char *name;
    } shares[] = {{0, "0 %"},        {0.5, "50 %"},       {0.9, "90 %"},        {0.99, "99 %"},
                  {0.999, "99.9 %"}, {0.9999, "99.99 %"}, {0.99999, "99.999 %"}};
    if (frame->plot->x == PLOT_X_SHARE) {
        for (size_t index = 0; index < sizeof shares / sizeof shares[0]; index++) {
            if (stretch_x(frame->plot, shares[index].share) <= frame->x_max) {
                write_x_tick(frame, shares[index].share, shares[index].name, file);
            }
        }
        return;
    }
    double step = round_step(frame->x_max, frame->plot->half ? 6 : 12);
    for (double value = 0; value <= frame->x_max * 1.0001; value += step) {
        char name[32];
        (void)snprintf(name, sizeof name, "%g s", value);
        write_x_tick(frame, value, name, file);
    }
}

static void write_series(const struct frame *frame, unsigned index, FILE *file)
{
    const struct plot_series *series = &frame->plot->series[index];
    fprintf(file, "<polyline class=\"line line-%u\" points=\"", index);
    for (size_t at = 0; at < series->count; at++) {
        fprintf(file, "%.1f,%.1f ", place_x(frame, series->x[at]), place_y(frame, series->y[at]));
    }
    fprintf(file, "\"/>\n");
}

void plot_write(const struct plot *plot, FILE *file)
{
    struct frame frame;
    if (!frame_find(plot, &frame)) {
        return;
    }
    fprintf(file, "<figure><figcaption>");
    plot_text(plot->title, file);
    for (unsigned index = 0; index < plot->series_count; index++) {
        fprintf(file, "<span class=\"key\"><i class=\"line-%u\"></i>", index);
        plot_text(plot->series[index].name, file);
        fprintf(file, "</span>");
    }
    fprintf(file, "</figcaption>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"",
            frame.width, HEIGHT);
    plot_text(plot->title, file);
    fprintf(file, "\">\n");
    write_y_axis(&frame, file);
    write_x_axis(&frame, file);
    for (unsigned index = 0; index < plot->series_count; index++) {
        write_series(&frame, index, file);
    }
    fprintf(file, "</svg></figure>\n");
}
