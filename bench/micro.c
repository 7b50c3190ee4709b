/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-micro: what single pieces of the server cost. See bench/README.md.
 */
#include "bench/micro.h"

#include "bench/instructions.h"
#include "io/log.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 3 /* of a measurement; the fastest counts */

static const struct micro_piece *const lists[] = {micro_parts, micro_storage, micro_sessions};

struct options {
    const char *pattern; /* of names */
    const char *folder;
    double seconds; /* of each measurement */
    bool json, has_counter;
};

struct figures {
    double wall_ns, cpu_ns, instructions; /* of one operation */
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct figures run_round(const struct micro_piece *piece, struct stage *stage,
                                double seconds)
{
    uint64_t count = 0, instructions = instructions_read();
    uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), now;
    do {
        piece->run(stage, piece->count);
        count += piece->count;
        now = clock_ns(CLOCK_MONOTONIC);
    } while ((double)(now - wall) < seconds * 1e9);
    double operations = (double)count;
    return (struct figures){(double)(now - wall) / operations,
                            (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / operations,
                            (double)(instructions_read() - instructions) / operations};
}

static void measure(const struct micro_piece *piece, struct stage *stage,
                    const struct options *options)
{
    struct figures best = {0};
    piece->run(stage, piece->count); /* caches, credentials, memory */
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct figures one = run_round(piece, stage, options->seconds / ROUNDS);
        best = i == 0 || one.cpu_ns < best.cpu_ns ? one : best;
    }
    if (options->json) {
        printf("{\"name\":\"%s\",\"operation\":\"%s\",\"wall_ns\":%.1f,\"cpu_ns\":%.1f,"
               "\"instructions\":%.0f}\n",
               piece->name, piece->operation, best.wall_ns, best.cpu_ns, best.instructions);
        return;
    }
    printf("%-13s %12.1f ns CPU %12.1f ns ", piece->name, best.cpu_ns, best.wall_ns);
    if (options->has_counter) {
        printf("%10.0f instructions ", best.instructions);
    }
    printf(" %s\n", piece->operation);
    (void)fflush(stdout); /* what cannot be printed cannot be told either */
}

/* Twice under callgrind, with different numbers of operations: the difference is what they cost. */
static void count(const struct micro_piece *piece, struct stage *stage)
{
    char mark[64];
    piece->run(stage, piece->count);
    for (unsigned times = 1; times <= 2; times++) {
        unsigned operations = times * piece->count;
        (void)snprintf(mark, sizeof mark, "%s/%u", piece->name, operations);
        instructions_start_marks();
        piece->run(stage, operations);
        instructions_mark(mark);
        instructions_stop_marks();
    }
}

static void run_pieces(const struct options *options, enum loop_kind loop)
{
    struct stage stage;
    bool under_callgrind = instructions_marked();
    stage_open(&stage, options->folder, loop);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (const struct micro_piece *piece = lists[i]; piece->name != NULL; piece++) {
            if (piece->loop != loop || fnmatch(options->pattern, piece->name, 0) != 0 ||
                (under_callgrind && !piece->is_steady)) {
                continue;
            }
            if (piece->open != NULL) {
                piece->open(&stage);
            }
            if (under_callgrind) {
                count(piece, &stage);
            } else {
                measure(piece, &stage, options);
            }
            if (piece->close != NULL) {
                piece->close(&stage);
            }
        }
    }
    stage_close(&stage);
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *walk)
{
    return remove(path);
}

static void usage(FILE *out)
{
    static const char text[] =
        "Usage: bench-micro [--only PATTERN] [--time SECONDS] [--json] [--dir DIR]\n"
        "       bench-micro --prepare DIR\n\n"
        "Measures pieces of the server: nanoseconds and, where the processor's counter may be "
        "read,\ninstructions of the calling thread, for one operation; the best of three rounds.\n"
        "Under callgrind it marks each piece in callgrind's output instead (tests/guard).\n\n"
        "  --only PATTERN   pieces whose names match, such as 'open-*'\n"
        "  --time SECONDS   length of each measurement (default 1)\n"
        "  --json           one JSON object a line\n"
        "  --prepare DIR    fill the empty folder DIR with users and mail, and stop\n"
        "  --dir DIR        use such a folder (default: a temporary one, made and removed)\n";
    (void)fputs(text, out); /* nobody to tell */
}

static void measure_all(struct options *options)
{
    char folder[] = "/tmp/restante-micro-XXXXXX";
    bool is_temporary = options->folder == NULL;
    if (is_temporary) {
        options->folder = mkdtemp(folder);
        stage_check(options->folder != NULL, "no temporary folder");
        stage_fill(options->folder);
    }
    options->has_counter = !instructions_marked() && instructions_open();
    run_pieces(options, LOOP_EPOLL);
    if (!instructions_marked() && loop_probe_uring(NULL) == STATUS_OK) {
        run_pieces(options, LOOP_IO_URING);
    }
    if (is_temporary) {
        (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* best effort */
    }
}

int main(int argc, char **argv)
{
    static const struct option table[] = {{"only", required_argument, NULL, 'o'},
                                          {"time", required_argument, NULL, 't'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"prepare", required_argument, NULL, 'p'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct options options = {.pattern = "*", .seconds = 1};
    const char *prepare = NULL;
    for (int option; (option = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        switch (option) {
        case 'o':
            options.pattern = optarg;
            break;
        case 't':
            options.seconds = strtod(optarg, NULL);
            break;
        case 'd':
            options.folder = optarg;
            break;
        case 'j':
            options.json = true;
            break;
        case 'p':
            prepare = optarg;
            break;
        default:
            usage(option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    stage_check(log_start(null, LOG_LEVEL_INFO) == STATUS_OK, "no log");
    if (prepare != NULL) {
        stage_fill(prepare);
    } else {
        measure_all(&options);
    }
    log_stop();
    return 0;
}
