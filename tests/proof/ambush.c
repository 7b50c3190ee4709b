/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/proof/ambush.h"

#include "storage/writer.h"
#include "tests/proof/recorder.h"

#include <pthread.h>
#include <stdatomic.h>

#define SEAL_MAX    200 /* deliveries that fill a segment, at most */
#define VICTIMS_MAX 3
#define LOOK_US     100 /* between two looks whether compaction has come that far */

static uint32_t segment_of(const struct load *load)
{
    return writer_position(fixture_volume(load->site)->writer).segment;
}

/* Mail for `drop`, none of it a blob, until the log goes on in another segment. */
static void seal(struct load *load, uint32_t drop)
{
    const struct store_config *config = &load->site->config;
    uint64_t most = config->blob_min / 2 < config->segment_size / 4 ? config->blob_min / 2
                                                                    : config->segment_size / 4;
    uint32_t segment = segment_of(load);
    for (unsigned i = 0; i < SEAL_MAX && segment_of(load) == segment; i++) {
        (void)load_deliver(load, 1u << drop, chance_between(&load->chance, most / 2, most));
    }
}

static void compact(struct load *load, bool all)
{
    enum status status = store_compact(load->site->store, all, NULL);
    if (status != STATUS_OK && status != STATUS_AGAIN && load->surprises++ == 0) {
        (void)snprintf(load->surprise, sizeof load->surprise, "compaction answered %s",
                       status_name(status));
    }
}

static void checkpoint(struct load *load)
{
    (void)!store_checkpoint(load->site->store, NULL); /* the next comparison tells */
}

/* --- a compaction beside the first thread --- */

struct beside {
    struct load *load;
    pthread_t thread;
    _Atomic bool has_ended;
};

static void *run_beside(void *owner)
{
    struct beside *beside = owner;
    (void)!store_compact(beside->load->site->store, true, NULL); /* the next one tells */
    beside->has_ended = true;
    return NULL;
}

/* Waits until it stands in front of the first body of that length, or has met none. */
static void begin_beside(struct beside *beside, struct load *load, size_t length)
{
    *beside = (struct beside){.load = load};
    recorder_hold_reads(length);
    int code = pthread_create(&beside->thread, NULL, run_beside, beside);
    assert(code == 0);
    while (recorder_held_reads() == 0 && !beside->has_ended) {
        (void)usleep(LOOK_US);
    }
}

static void end_beside(struct beside *beside)
{
    recorder_hold_reads(0);
    (void)pthread_join(beside->thread, NULL); /* our own, joined once */
}

/* --- the sequences --- */

/* A maildrop of its own; LEDGER_DROPS_MAX: there is no room for one. */
static uint32_t new_drop(struct load *load)
{
    uint32_t place = load->ledger->drop_count;
    load_create(load);
    bool made =
        load->ledger->drop_count > place && load->ledger->drops[place].created != LEDGER_NEVER;
    return made ? place : LEDGER_DROPS_MAX;
}

/* One that is not `drop`. */
static uint32_t other_drop(struct load *load, uint32_t drop)
{
    uint32_t other = load_any_drop(load);
    return other == drop ? new_drop(load) : other;
}

static void expunge_all(struct load *load, uint32_t drop)
{
    load_session(load, drop, 100);
    load_settle(load);
}

void ambush_copy(struct load *load)
{
    struct beside beside;
    load_settle(load);
    uint32_t drop = load_any_drop(load), other = other_drop(load, drop), number = 0;
    if (drop == LEDGER_DROPS_MAX || other == LEDGER_DROPS_MAX) {
        return;
    }
    size_t size = chance_between(&load->chance, 200, 1500);
    for (uint64_t i = chance_between(&load->chance, 1, VICTIMS_MAX); i > 0; i--) {
        number = load_deliver(load, 1u << drop, size);
    }
    size_t length = ledger_octets(load->ledger, ledger_find(load->ledger, number))->wire_length;
    seal(load, other);
    expunge_all(load, other); /* or so much is copied with them that the copies' segment ends */
    begin_beside(&beside, load, length);
    seal(load, other); /* the expunge comes into another segment than the copies before ... */
    expunge_all(load, drop);
    seal(load, other); /* ... and behind it */
    end_beside(&beside);
    /* All that is older goes, or it would keep the expunge; the newest, with the copies, stays. */
    compact(load, true);
}

void ambush_removal(struct load *load)
{
    load_settle(load);
    uint32_t keeper = load_any_drop(load), gone = new_drop(load), other = other_drop(load, keeper);
    other = other == gone ? new_drop(load) : other;
    if (keeper == LEDGER_DROPS_MAX || gone == LEDGER_DROPS_MAX || other == LEDGER_DROPS_MAX) {
        return;
    }
    seal(load, keeper);
    (void)load_deliver(load, 1u << gone | 1u << other, chance_between(&load->chance, 0, 400));
    seal(load, keeper); /* is full, and stays */
    load_remove(load, gone);
    expunge_all(load, other);
    seal(load, other); /* what is behind the removal and the expunge is not needed, either */
    expunge_all(load, other);
    checkpoint(load);
    compact(load, false);
}

void ambush_unlink(struct load *load)
{
    load_settle(load);
    uint32_t keeper = load_any_drop(load), other = other_drop(load, keeper);
    if (keeper == LEDGER_DROPS_MAX || other == LEDGER_DROPS_MAX) {
        return;
    }
    expunge_all(load, other);
    checkpoint(load);
    compact(load, false); /* all that would else go first */
    seal(load, keeper);
    seal(load, other);
    checkpoint(load);     /* comes to the segment that is to go, of which nothing is needed, ... */
    compact(load, false); /* forgets what is gone, or that were the checkpoint before */
    seal(load, other);
    expunge_all(load, other);
    checkpoint(load); /* ... and this one beyond it */
    compact(load, false);
}

void ambush_play(struct load *load, uint64_t which)
{
    switch (which % 3) {
    case 0:
        ambush_copy(load);
        break;
    case 1:
        ambush_removal(load);
        break;
    default:
        ambush_unlink(load);
        break;
    }
}
