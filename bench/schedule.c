/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool read_rate(const char *text, char **out_end, double *out_rate)
{
    *out_rate = strtod(text, out_end);
    return *out_end != text && isfinite(*out_rate) && *out_rate > 0;
}

enum status schedule_parse_shape(const char *text, double rate, struct schedule_shape *out_shape)
{
    struct schedule_shape shape = {.rate_count = 1, .rates = {rate}};
    if (strcmp(text, "flat") == 0) {
        *out_shape = shape;
        return STATUS_OK;
    }
    shape.ramp = strncmp(text, "ramp:", 5) == 0;
    if (!shape.ramp && strncmp(text, "step:", 5) != 0) {
        return STATUS_INVALID;
    }
    const char *at = text + 5;
    for (;;) {
        char *end;
        if (shape.rate_count == SCHEDULE_STEPS_MAX ||
            !read_rate(at, &end, &shape.rates[shape.rate_count])) {
            return STATUS_INVALID;
        }
        shape.rate_count++;
        if (*end == '\0') {
            break;
        }
        if (*end != ',') {
            return STATUS_INVALID;
        }
        at = end + 1;
    }
    if (shape.ramp && shape.rate_count != 2) {
        return STATUS_INVALID;
    }
    *out_shape = shape;
    return STATUS_OK;
}

void schedule_scale(struct schedule_shape *shape, double factor)
{
    for (unsigned index = 0; index < shape->rate_count; index++) {
        shape->rates[index] *= factor;
    }
}

void schedule_init(struct schedule *schedule, const struct schedule_shape *shape, bool poisson,
                   double length_s, unsigned part, unsigned parts, uint64_t seed)
{
    *schedule = (struct schedule){.shape = *shape,
                                  .poisson = poisson,
                                  .length_s = length_s,
                                  .parts = parts,
                                  .dice = {.state = seed + part * 0x632be59bd9b4e019ull}};
    schedule->operational = poisson ? dice_gap(&schedule->dice) * parts : part;
}

double schedule_expected(const struct schedule_shape *shape, double length_s, double seconds)
{
    double inside = seconds < length_s ? seconds : length_s;
    double last = shape->rates[shape->rate_count - 1];
    double after = (seconds - inside) * last;
    if (shape->ramp) {
        double slope = (last - shape->rates[0]) / length_s;
        return shape->rates[0] * inside + slope * inside * inside / 2 + after;
    }
    double step_s = length_s / shape->rate_count, total = after;
    for (unsigned index = 0; index < shape->rate_count && inside > 0; index++) {
        double here = inside < step_s ? inside : step_s;
        total += here * shape->rates[index];
        inside -= here;
    }
    return total;
}

/* When the ramp has brought `arrivals`: the root of a square equation, in the form that does not
 * lose digits when the slope is small. */
static double ramp_time_s(const struct schedule_shape *shape, double length_s, double arrivals)
{
    double first = shape->rates[0];
    double slope = (shape->rates[1] - first) / length_s;
    double root = sqrt(fmax(0, first * first + 2 * slope * arrivals));
    return 2 * arrivals / (first + root);
}

static double step_time_s(const struct schedule_shape *shape, double length_s, double arrivals)
{
    double step_s = length_s / shape->rate_count, from_s = 0;
    for (unsigned index = 0; index + 1 < shape->rate_count; index++) {
        double here = step_s * shape->rates[index];
        if (arrivals < here) {
            return from_s + arrivals / shape->rates[index];
        }
        arrivals -= here;
        from_s += step_s;
    }
    return from_s + arrivals / shape->rates[shape->rate_count - 1];
}

int64_t schedule_next_ns(struct schedule *schedule)
{
    const struct schedule_shape *shape = &schedule->shape;
    double arrivals = schedule->operational, time_s;
    double whole = schedule_expected(shape, schedule->length_s, schedule->length_s);
    if (arrivals >= whole) {
        time_s = schedule->length_s + (arrivals - whole) / shape->rates[shape->rate_count - 1];
    } else if (shape->ramp) {
        time_s = ramp_time_s(shape, schedule->length_s, arrivals);
    } else {
        time_s = step_time_s(shape, schedule->length_s, arrivals);
    }
    double gap = schedule->poisson ? dice_gap(&schedule->dice) : 1;
    schedule->operational += gap * schedule->parts;
    return (int64_t)(time_s * 1e9);
}
