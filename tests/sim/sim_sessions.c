/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole POP3 and LMTP sessions on the simulated loop, with a real store: thousands of seeds.
 *
 *     sim_sessions --seed N --seeds 1       repeats one
 */
#include "tests/sim/sim_client.h"

#include "io/log.h"

#include <assert.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 16
#define TURNS_MAX   400000
#define LIE_SEEDS   10
#ifdef __SANITIZE_ADDRESS__
#define SEEDS_SHORT 300 /* seeds run when nobody asks for more */
#else
#define SEEDS_SHORT 1000
#endif

static struct sim_counters total;

static void add_counters(const struct sim_counters *one)
{
    total.completions += one->completions;
    total.cuts += one->cuts;
    total.starved += one->starved;
    total.cancels += one->cancels;
    total.cold_reads += one->cold_reads;
    total.jumps += one->jumps;
}

static struct sim_client *some_client(uint64_t number)
{
    bool is_lmtp = number < 2 || chance_percent(&sim_world->chance, 40);
    return is_lmtp ? sim_client_lmtp(number) : sim_client_pop3(number);
}

/* All clients of a world: they come one after another, and several are there at a time. */
static void run_clients(void)
{
    struct sim_client *clients[CLIENTS_MAX] = {0};
    uint64_t started = 0, wanted = chance_between(&sim_world->chance, 4, CLIENTS_MAX);
    uint64_t ended = 0;
    for (unsigned turn = 0; ended < wanted; turn++) {
        bool all_wait = true;
        if (turn == TURNS_MAX) {
            sim_fail("the clients do not end");
            printf("seed %llu: %s\n", (unsigned long long)sim_world->seed, sim_world->failure);
            exit(1);
        }
        if (started < wanted && (started == ended || chance_below(&sim_world->chance, 30) == 0)) {
            clients[started] = some_client(started);
            started++;
        }
        for (uint64_t i = 0; i < started; i++) {
            if (clients[i] != NULL && !sim_client_act(clients[i])) {
                sim_client_free(clients[i]);
                clients[i] = NULL;
                ended++;
            }
            all_wait = all_wait && (clients[i] == NULL || sim_client_waits(clients[i]));
        }
        sim_world_turn(all_wait);
    }
}

static bool run_seed(uint64_t seed, enum sim_lie lie)
{
    struct sim_counters counters;
    sim_world_open(seed, lie);
    run_clients();
    sim_world_close(&counters);
    bool has_failed = sim_world->failures > 0;
    if (lie == SIM_HONEST) {
        add_counters(&counters);
    }
    if (has_failed && lie == SIM_HONEST) {
        printf("seed %llu: %u failures, first: %s\n", (unsigned long long)seed, sim_world->failures,
               sim_world->failure);
    }
    free(sim_world);
    return has_failed;
}

/* A network that lies must be noticed. */
static unsigned count_unnoticed(uint64_t seed)
{
    static const char *const texts[] = {"", "changes octets", "loses octets", "repeats octets"};
    unsigned unnoticed = 0;
    for (int lie = SIM_CHANGES; lie < SIM_LIES; lie++) {
        unsigned noticed = 0;
        for (unsigned i = 0; i < LIE_SEEDS; i++) {
            noticed += run_seed(seed + i, (enum sim_lie)lie);
        }
        printf("# simulated loop: a network that %s: noticed in %u of %u seeds\n", texts[lie],
               noticed, LIE_SEEDS);
        unnoticed += noticed == 0;
    }
    memset(&sim_client_counters, 0, sizeof sim_client_counters);
    return unnoticed;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"log", no_argument, NULL, 'l'},
                                            {0}};
    const char *from_runner = getenv("RESTANTE_SEED"), *is_long = getenv("RESTANTE_LONG");
    uint64_t seed = (uint64_t)time(NULL), seeds = SEEDS_SHORT, failed = 0;
    bool has_log = false;
    if (from_runner != NULL && from_runner[0] != '\0') {
        seed = strtoull(from_runner, NULL, 10);
    }
    if (is_long != NULL && is_long[0] == '1') {
        seeds = 50000;
    }
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?') {
            return 2;
        }
        if (option == 'l') {
            has_log = true;
        } else {
            *(option == 's' ? &seed : &seeds) = strtoull(optarg, NULL, 10);
        }
    }
    int fd = has_log ? STDERR_FILENO : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (log_start(fd, has_log ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR) != STATUS_OK) {
        return 2;
    }
    unsigned unnoticed = seeds > LIE_SEEDS ? count_unnoticed(seed) : 0;
    printf("# simulated loop: seeds %llu to %llu\n", (unsigned long long)seed,
           (unsigned long long)(seed + seeds - 1));
    for (uint64_t i = 0; i < seeds; i++) {
        failed += run_seed(seed + i, SIM_HONEST);
    }
    log_stop();
    const struct sim_client_counters *clients = &sim_client_counters;
    printf("# simulated loop: %llu sessions, %llu replies, %llu messages sent, %llu read, %llu "
           "deleted, %llu clients gone, %llu stalled\n",
           (unsigned long long)clients->sessions, (unsigned long long)clients->replies,
           (unsigned long long)clients->messages_sent, (unsigned long long)clients->messages_read,
           (unsigned long long)clients->deletions, (unsigned long long)clients->deaths,
           (unsigned long long)clients->stalls);
    printf("# simulated loop: %llu completions, %llu sends cut, %llu without a buffer, %llu "
           "cancels, %llu cold reads, %llu jumps of the clock; %llu seeds failed\n",
           (unsigned long long)total.completions, (unsigned long long)total.cuts,
           (unsigned long long)total.starved, (unsigned long long)total.cancels,
           (unsigned long long)total.cold_reads, (unsigned long long)total.jumps,
           (unsigned long long)failed);
    printf("%llu passed, %llu failed\n", (unsigned long long)(seeds - failed),
           (unsigned long long)(failed + unnoticed));
    return failed + unnoticed > 0;
}
