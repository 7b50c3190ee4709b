/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bits that flip. A store of some hundred messages is made, once closed in order and once as a
 * kill leaves it; then, again and again, random bits of a copy's segments, blobs and index are
 * flipped, and every copy is checked, opened as it is, and rebuilt. Nothing may be wrong in
 * silence: the check finds the damage, or it changes nothing; each message is byte-identical or
 * refused, with its size and unique-id; none comes or goes, unless both the record in the log
 * and the row in the index were hit (of a store that was killed the row may not have been there
 * yet), and then the store says that the log is damaged. Nothing may end the process.
 *
 *     proof_flips --seed N --rounds 1        repeats one round, on stores of its own
 *     proof_flips --seed N --keep FOLDER     leaves the stores of a failed round in FOLDER
 */
#include "tests/proof/load.h"
#include "tests/proof/recorder.h"
#include "tests/proof/site.h"

#include "storage/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __SANITIZE_ADDRESS__
#define ROUNDS_SHORT 40
#else
#define ROUNDS_SHORT 150
#endif
#define ROUNDS_LONG 20000
#define FLIPS_MAX   6 /* bits of one round */
#define FLIPS_AT_END \
    3 /* ... where nobody knows of the last group: storage/README.md, "What is left" */
#define FILES_MAX     256 /* that bits may flip in */
#define MESSAGES_MAX  4096
#define HEADER_SEARCH (1u << 16) /* octets in which a header is looked for */

/* A message as it was before anything happened. */
struct known {
    uint64_t drop;
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1];
    uint64_t size;
    char *wire;
    size_t length;
};

/* A bit that was flipped: to be told when the round fails. */
struct flipped {
    char path[256];
    off_t at, size;
    uint8_t from, to;
};

static struct flipped flipped[FLIPS_MAX];
static unsigned flipped_count;
static struct known messages[MESSAGES_MAX];
static unsigned message_count;
static struct ledger ledger;
static struct store_config config;

/* What a child tells; the rest is its exit code. */
enum { ROUND_FAILED = 1, ROUND_HARMLESS = 10, ROUND_FOUND = 11, ROUND_LOST_TOLD = 12 };

static uint64_t clock_now;

static uint64_t tick(void)
{
    return ++clock_now;
}

/* --- before --- */

static struct view *view_of(struct fixture *site, uint64_t drop)
{
    struct view *view = NULL;
    return fixture_view(site, drop, STORE_LOCK_NONE, &view) == STATUS_OK ? view : NULL;
}

static void remember(struct fixture *site)
{
    for (uint32_t i = 0; i < ledger.drop_count; i++) {
        uint64_t drop = ledger.drops[i].id;
        struct view *view = view_of(site, drop);
        for (uint32_t k = 0; view != NULL && k < store_view_count(view); k++) {
            assert(message_count < MESSAGES_MAX);
            struct known *known = &messages[message_count++];
            *known = (struct known){.drop = drop, .size = store_view_size(view, k)};
            known->uidl[store_view_uidl(view, k, known->uidl)] = '\0';
            enum status status = site_read(site, view, k, &known->wire, &known->length);
            assert(status == STATUS_OK);
        }
        if (view != NULL) {
            store_view_close(&view);
        }
    }
}

/* In `path`, and as if it had been killed in `killed`. */
static void make_master(const char *path, const char *killed, uint64_t seed)
{
    struct fixture site;
    struct error error = {0};
    struct load load = {.site = &site,
                        .ledger = &ledger,
                        .chance = chance_make(seed, 1),
                        .position = tick,
                        .hold = recorder_hold,
                        .let_go = recorder_let_go,
                        .size_max = 50000};
    ledger_init(&ledger, seed);
    enum status status = site_open(&site, path, &config, &error);
    assert(status == STATUS_OK);
    while (load.delivered < 500) {
        load_run(&load, 50);
    }
    load_settle(&load);
    fixture_checkpoint(&site);
    load_run(&load, 20);
    load_settle(&load);
    remember(&site);
    site_copy(path, killed);
    site_close(&site);
}

/* --- flipping --- */

static unsigned list_files(const char *folder, char names[FILES_MAX][256], unsigned count)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL && count < FILES_MAX) {
        struct stat found;
        char path[256];
        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path ||
            stat(path, &found) != 0) {
            continue;
        }
        if (S_ISDIR(found.st_mode)) {
            count = list_files(path, names, count);
        } else if (found.st_size > 0 && strcmp(entry->d_name, "lock.mdb") != 0) {
            strcpy(names[count++], path);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
    return count;
}

/* A little behind where the next frame or record header seems to begin; `at` if there is none. */
static off_t near_header(struct chance *chance, int fd, off_t at)
{
    static uint8_t window[HEADER_SEARCH];
    ssize_t length = pread(fd, window, sizeof window, at);
    for (ssize_t i = 0; i + 4 <= length; i++) {
        if (memcmp(window + i, "RGRP", 4) == 0 || memcmp(window + i, "RREC", 4) == 0) {
            return at + i + (off_t)chance_below(chance, 120);
        }
    }
    return at;
}

/* Anywhere, but more often where files, pages, frames and records begin: little is about much. */
static off_t some_place(struct chance *chance, int fd, off_t size)
{
    off_t at = (off_t)chance_below(chance, (uint64_t)size);
    uint64_t kind = chance_below(chance, 4);
    if (kind == 0) {
        at = at / 4096 * 4096 + (off_t)chance_below(chance, 200);
    } else if (kind == 1) {
        at = near_header(chance, fd, at);
    }
    return at < size ? at : size - 1;
}

/* A bit of a random file of the folder; small files as often as large ones. */
static void flip(struct chance *chance, const char *folder)
{
    static char names[FILES_MAX][256];
    struct stat found;
    unsigned count = list_files(folder, names, 0);
    if (count == 0) {
        return;
    }
    struct flipped *flip = &flipped[flipped_count++];
    strcpy(flip->path, names[chance_below(chance, count)]);
    int fd = open(flip->path, O_RDWR | O_CLOEXEC);
    assert(fd >= 0 && fstat(fd, &found) == 0);
    flip->size = found.st_size;
    flip->at = some_place(chance, fd, found.st_size);
    ssize_t moved = pread(fd, &flip->from, 1, flip->at);
    flip->to = flip->from ^ (uint8_t)(1u << chance_below(chance, 8));
    moved += pwrite(fd, &flip->to, 1, flip->at);
    assert(moved == 2);
    (void)close(fd);
}

/* --- after --- */

struct comparison {
    unsigned same, refused, missing, extra, wrong;
    bool told; /* the store knows that its log is damaged */
};

static struct known *find(uint64_t drop, const char *uidl)
{
    for (unsigned i = 0; i < message_count; i++) {
        if (messages[i].drop == drop && strcmp(messages[i].uidl, uidl) == 0) {
            return &messages[i];
        }
    }
    return NULL;
}

static void compare_message(struct fixture *site, struct view *view, uint32_t index, uint64_t drop,
                            struct comparison *out)
{
    char uidl[STORAGE_UIDL_LENGTH_MAX + 1], *wire = NULL;
    size_t length = 0;
    uidl[store_view_uidl(view, index, uidl)] = '\0';
    const struct known *known = find(drop, uidl);
    if (known == NULL) {
        out->extra++;
        return;
    }
    if (store_view_size(view, index) != known->size) {
        out->wrong++;
        return;
    }
    enum status status = site_read(site, view, index, &wire, &length);
    if (status != STATUS_OK) {
        out->refused++;
    } else if (length == known->length && memcmp(wire, known->wire, length) == 0) {
        out->same++;
    } else {
        out->wrong++;
    }
    free(wire);
}

/* Opens the store as it lies there and looks at everything. False: it does not open. */
static bool compare(const char *path, struct comparison *out)
{
    struct fixture site;
    struct error error = {0};
    struct store_numbers numbers;
    *out = (struct comparison){0};
    struct store_config own = config;
    /* What is large and warm is not verified when it is read: the scrubber has to have been. */
    own.scrub_rate = 1ull << 40;
    if (site_open(&site, path, &own, &error) != STATUS_OK) {
        return false;
    }
    do {
        store_numbers(site.store, &numbers);
        usleep(200);
    } while (numbers.scrub_passes == 0 && !numbers.read_only);
    for (uint32_t i = 0; i < ledger.drop_count; i++) {
        uint64_t drop = ledger.drops[i].id;
        struct view *view = view_of(&site, drop);
        for (uint32_t k = 0; view != NULL && k < store_view_count(view); k++) {
            compare_message(&site, view, k, drop, out);
        }
        if (view != NULL) {
            store_view_close(&view);
        }
    }
    unsigned met = out->same + out->refused + out->wrong;
    out->missing = met < message_count ? message_count - met : 0;
    out->told = numbers.quarantined > 0;
    site_close(&site);
    return true;
}

/* `may_lose`: what was hit explains that messages are missing, or back. */
static bool judge(const struct comparison *found, bool rebuilt_loudly, bool may_lose,
                  const char *when)
{
    bool told = found->told || rebuilt_loudly;
    bool right =
        found->wrong == 0 && ((found->missing == 0 && found->extra == 0) || (may_lose && told));
    if (!right) {
        printf("# %s: %u same, %u refused, %u missing, %u extra, %u wrong; told: %s\n", when,
               found->same, found->refused, found->missing, found->extra, found->wrong,
               told ? "yes" : "no");
    }
    return right;
}

/* A copy of a master, flipped as the seed wants it. Whether messages may be lost by that, or come
 * back: the log is hit, and so is the index, or it is behind the log. */
static bool make_flipped(const char *const masters[2], const char *path, uint64_t seed)
{
    struct chance chance = chance_make(seed, 2);
    char folder[128];
    unsigned where = (unsigned)chance_below(&chance, 3); /* the index, the log, or both */
    unsigned flips = 1 + (unsigned)chance_below(&chance, FLIPS_MAX);
    bool killed = chance_percent(&chance, 35);
    if (where == 1 && killed && flips > FLIPS_AT_END) {
        flips = FLIPS_AT_END;
    }
    site_remove(path);
    site_copy(masters[killed], path);
    flipped_count = 0;
    for (unsigned i = 0; i < flips; i++) {
        bool index = where == 0 || (where == 2 && i % 2 == 0);
        const char *part = index ? "index" : chance_percent(&chance, 15) ? "blobs" : "segments";
        (void)snprintf(folder, sizeof folder, "%s/volume/%s", path, part);
        flip(&chance, folder);
    }
    return where == 2 || (where == 1 && killed);
}

static int round_of(const char *const masters[2], const char *path, uint64_t seed)
{
    struct check_result result;
    struct check_options options = {0};
    struct comparison found;
    struct store_rebuilt rebuilt = {0};
    struct error error = {0};
    bool may_lose = make_flipped(masters, path, seed);
    struct store_config own = config;
    own.path = path;
    if (store_check_closed(&own, &options, &result, &error) != STATUS_OK) {
        printf("# the check could not look: %s\n", error.text);
        return ROUND_FAILED;
    }
    bool harmless = result.damages == 0;
    if (seed % 2 == 0) {
        if (!compare(path, &found)) {
            printf("# the store does not open\n");
            return ROUND_FAILED;
        }
        if (!judge(&found, false, may_lose, "opened") ||
            (harmless && found.same != message_count)) {
            return ROUND_FAILED;
        }
        (void)make_flipped(masters, path, seed); /* once more, for the rebuild */
    }
    if (store_rebuild(&own, NULL, NULL, &rebuilt, &error) != STATUS_OK) {
        printf("# the rebuild failed: %s\n", error.text);
        return ROUND_FAILED;
    }
    if (!compare(path, &found) || !judge(&found, rebuilt.damaged_places > 0, may_lose, "rebuilt") ||
        (harmless && found.same != message_count)) {
        return ROUND_FAILED;
    }
    return harmless                               ? ROUND_HARMLESS
           : found.missing > 0 || found.extra > 0 ? ROUND_LOST_TOLD
                                                  : ROUND_FOUND;
}

/* In a process of its own, for a crash is one of the things that may not be. */
static int run_round(const char *const masters[2], const char *path, uint64_t seed)
{
    (void)fflush(stdout);
    pid_t child = fork();
    assert(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
#ifndef __SANITIZE_ADDRESS__
        (void)dup2(nowhere, STDERR_FILENO); /* the store's log: all of it is damage */
#else
        (void)nowhere; /* the sanitizer's report goes there, too */
#endif
        int code = round_of(masters, path, seed);
        for (unsigned i = 0; code == ROUND_FAILED && i < flipped_count; i++) {
            printf("# flipped: octet %jd of %jd of %s, %02x to %02x\n", (intmax_t)flipped[i].at,
                   (intmax_t)flipped[i].size, flipped[i].path, flipped[i].from, flipped[i].to);
        }
        (void)fflush(stdout);
        _exit(code);
    }
    int code = 0;
    pid_t ended = waitpid(child, &code, 0);
    assert(ended == child);
    site_remove(path);
    if (WIFSIGNALED(code)) {
        printf("# seed %" PRIu64 ": ended by signal %d\n", seed, WTERMSIG(code));
        return ROUND_FAILED;
    }
    return WEXITSTATUS(code);
}

struct wanted {
    uint64_t seed, rounds;
    const char *keep; /* or NULL */
};

static bool read_options(int argc, char **argv, struct wanted *out)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"rounds", required_argument, NULL, 'n'},
                                            {"keep", required_argument, NULL, 'k'},
                                            {0}};
    const char *from_runner = getenv("RESTANTE_SEED"), *is_long = getenv("RESTANTE_LONG");
    bool at_length = is_long != NULL && strcmp(is_long, "1") == 0;
    *out = (struct wanted){.seed = (uint64_t)time(NULL),
                           .rounds = at_length ? ROUNDS_LONG : ROUNDS_SHORT};
    if (from_runner != NULL && from_runner[0] != '\0') {
        out->seed = strtoull(from_runner, NULL, 10);
    }
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's') {
            out->seed = strtoull(optarg, NULL, 10);
        } else if (option == 'n') {
            out->rounds = strtoull(optarg, NULL, 10);
        } else if (option == 'k') {
            out->keep = optarg;
        } else {
            return false;
        }
    }
    return true;
}

/* All rounds on the two masters; how many failed. */
static unsigned run_rounds(const struct wanted *wanted, const char *const masters[2],
                           const char *path)
{
    unsigned outcomes[ROUND_LOST_TOLD + 1] = {0};
    for (uint64_t i = 0; i < wanted->rounds; i++) {
        int outcome = run_round(masters, path, wanted->seed + i);
        if (outcome < ROUND_HARMLESS) {
            printf("# seed %" PRIu64 " failed (%d)\n", wanted->seed + i, outcome);
            outcome = ROUND_FAILED;
        }
        outcomes[outcome]++;
    }
    printf("# flips: %" PRIu64 " rounds: %u found and nothing lost, %u harmless, "
           "%u with messages lost or back, which was told; %u failed\n",
           wanted->rounds, outcomes[ROUND_FOUND], outcomes[ROUND_HARMLESS],
           outcomes[ROUND_LOST_TOLD], outcomes[ROUND_FAILED]);
    return outcomes[ROUND_FAILED];
}

int main(int argc, char **argv)
{
    struct wanted wanted;
    char folder[64], master[96], killed[96], path[96];
    const char *const masters[2] = {master, killed};
    if (!read_options(argc, argv, &wanted)) {
        return 2;
    }
    site_make_folder(folder);
    (void)snprintf(master, sizeof master, "%s/master", folder);
    (void)snprintf(killed, sizeof killed, "%s/killed", folder);
    (void)snprintf(path, sizeof path, "%s/flipped", folder);
    int code = mkdir(master, 0700);
    assert(code == 0);
    config = (struct store_config){.segment_size = 1u << 20, .blob_min = 65536};
    config.map_size = 1ull << 28;
    config.checkpoint_ms = 3600000;
    config.compact_off = true; /* but when the load asks: nothing may change while it is copied */
    make_master(master, killed, wanted.seed);
    printf("# flips: seeds %" PRIu64 " to %" PRIu64 ", %u messages\n", wanted.seed,
           wanted.seed + wanted.rounds - 1, message_count);
    unsigned failed = run_rounds(&wanted, masters, path);
    if (failed > 0 && wanted.keep != NULL) {
        site_copy(folder, wanted.keep);
    }
    for (unsigned i = 0; i < message_count; i++) {
        free(messages[i].wire);
    }
    ledger_deinit(&ledger);
    site_remove(folder);
    printf("%" PRIu64 " passed, %u failed\n", wanted.rounds - failed, failed);
    return failed > 0;
}
