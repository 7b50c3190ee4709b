/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/distribution.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024ull

struct named {
    const char *name;
    struct distribution distribution;
};

/*
 * sun-light-pop, sun-heavy-pop: Sun Java System Communications Services 6 2005Q4 Deployment
 * Planning Guide (819-2660), "Defining Your Messaging User Base". Light: about 80 % of messages of
 * 5 KB or less, about 20 % of 10 KB or more. Heavy: 65 % of 5 KB or less, 30 % between 5 and 10 KB,
 * 5 % above 1 MB. How sizes lie within a range, and where the open ranges end, is not published:
 * uniform, from 1 KB, up to 50 KB (light) and 2 MB (heavy).
 *
 * specmail2001-like: the architecture white paper of SPECmail2001 has the distribution as a
 * parameter (MSG_SIZE_DISTRIBUTION) whose values are not in the text that could be read; this one
 * is a stand-in of about 24 KB on average, and results are not SPECmail2001's.
 *
 * imaptest-pop3: imaptest takes its messages from a file of real mail; it publishes no sizes. A
 * lognormal stand-in.
 */
static const struct named named[] = {
    {"sun-light-pop",
     {.kind = DISTRIBUTION_TABLE,
      .part_count = 2,
      .parts = {{80, KIB, 5 * KIB}, {20, 10 * KIB, 50 * KIB}}}},
    {"sun-heavy-pop",
     {.kind = DISTRIBUTION_TABLE,
      .part_count = 3,
      .parts = {{65, KIB, 5 * KIB}, {30, 5 * KIB, 10 * KIB}, {5, 1024 * KIB, 2048 * KIB}}}},
    {"specmail2001-like",
     {.kind = DISTRIBUTION_TABLE,
      .part_count = 4,
      .parts = {{60, KIB, 5 * KIB},
                {30, 5 * KIB, 20 * KIB},
                {8, 20 * KIB, 150 * KIB},
                {2, 150 * KIB, 1200 * KIB}}}},
    {"imaptest-pop3", {.kind = DISTRIBUTION_LOGNORMAL, .log_median = 8.5, .sigma = 1.2}},
};

const char distribution_names[] = "sun-light-pop sun-heavy-pop specmail2001-like imaptest-pop3";

static bool read_octets(const char *text, char **out_end, uint64_t *out_octets)
{
    if (*text < '0' || *text > '9') {
        return false;
    }
    unsigned long long value = strtoull(text, out_end, 10);
    unsigned shift = **out_end == 'k' ? 10 : **out_end == 'm' ? 20 : 0;
    *out_end += shift > 0;
    *out_octets = value << shift;
    return value <= DISTRIBUTION_OCTETS_MAX >> shift;
}

static enum status parse_uniform(const char *text, struct distribution *out)
{
    char *end;
    struct distribution_part part = {.weight = 1};
    if (!read_octets(text, &end, &part.from) || *end != '-' ||
        !read_octets(end + 1, &end, &part.to) || *end != '\0' || part.to < part.from) {
        return STATUS_INVALID;
    }
    *out = (struct distribution){.kind = DISTRIBUTION_TABLE, .part_count = 1, .parts = {part}};
    return STATUS_OK;
}

static enum status parse_lognormal(const char *text, struct distribution *out)
{
    char *end;
    uint64_t median;
    if (!read_octets(text, &end, &median) || median == 0 || *end != ',') {
        return STATUS_INVALID;
    }
    const char *at = end + 1;
    double sigma = strtod(at, &end);
    if (end == at || *end != '\0' || !isfinite(sigma) || sigma <= 0 || sigma > 5) {
        return STATUS_INVALID;
    }
    *out = (struct distribution){
        .kind = DISTRIBUTION_LOGNORMAL, .log_median = log((double)median), .sigma = sigma};
    return STATUS_OK;
}

enum status distribution_parse(const char *text, struct distribution *out_distribution)
{
    for (size_t index = 0; index < sizeof named / sizeof named[0]; index++) {
        if (strcmp(text, named[index].name) == 0) {
            *out_distribution = named[index].distribution;
            return STATUS_OK;
        }
    }
    if (strncmp(text, "uniform:", 8) == 0) {
        return parse_uniform(text + 8, out_distribution);
    }
    if (strncmp(text, "lognormal:", 10) == 0) {
        return parse_lognormal(text + 10, out_distribution);
    }
    char *end;
    uint64_t octets;
    if (!read_octets(strncmp(text, "fixed:", 6) == 0 ? text + 6 : text, &end, &octets) ||
        *end != '\0' || octets == 0) {
        return STATUS_INVALID;
    }
    *out_distribution = (struct distribution){.kind = DISTRIBUTION_FIXED, .fixed = octets};
    return STATUS_OK;
}

static double total_weight(const struct distribution *distribution)
{
    double total = 0;
    for (unsigned index = 0; index < distribution->part_count; index++) {
        total += distribution->parts[index].weight;
    }
    return total;
}

static uint64_t draw_table(const struct distribution *distribution, struct dice *dice)
{
    double at = dice_share(dice) * total_weight(distribution);
    const struct distribution_part *part = &distribution->parts[0];
    for (unsigned index = 0; index < distribution->part_count; index++) {
        part = &distribution->parts[index];
        if (at < part->weight) {
            break;
        }
        at -= part->weight;
    }
    return part->from + dice_below(dice, part->to - part->from + 1);
}

uint64_t distribution_draw(const struct distribution *distribution, struct dice *dice)
{
    switch (distribution->kind) {
    case DISTRIBUTION_FIXED:
        return distribution->fixed;
    case DISTRIBUTION_TABLE:
        return draw_table(distribution, dice);
    case DISTRIBUTION_LOGNORMAL:
        break;
    }
    double size = exp(distribution->log_median + distribution->sigma * dice_normal(dice));
    return size < (double)DISTRIBUTION_OCTETS_MAX ? (uint64_t)size : DISTRIBUTION_OCTETS_MAX;
}

double distribution_mean(const struct distribution *distribution)
{
    if (distribution->kind == DISTRIBUTION_FIXED) {
        return (double)distribution->fixed;
    }
    if (distribution->kind == DISTRIBUTION_LOGNORMAL) {
        return exp(distribution->log_median + distribution->sigma * distribution->sigma / 2);
    }
    double sum = 0;
    for (unsigned index = 0; index < distribution->part_count; index++) {
        const struct distribution_part *part = &distribution->parts[index];
        sum += part->weight * ((double)part->from + (double)part->to) / 2;
    }
    return sum / total_weight(distribution);
}
