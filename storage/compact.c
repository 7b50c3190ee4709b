/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/compact.h"

#include "io/log.h"
#include "storage/checkpoint.h"
#include "storage/compact_copy.h"
#include "storage/compact_plan.h"
#include "storage/index.h"
#include "storage/reclaim.h"
#include "storage/segment.h"
#include "storage/volume.h"
#include "storage/writer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define RECORD_ROOM       200 /* octets of header and meta of a message, about */
#define EXPUNGE_SHARE     10  /* a tenth of a segment in copied expunges: the oldest goes first */
#define GAIN_SHARE        10  /* and a copy must free at least a tenth, when the disk is low */
#define RESERVE_LEFT      4   /* and leave a quarter of the reserve */
#define BOUND_NUMERATOR   3   /* the log is beyond its bound above 3/2 of what is needed ... */
#define BOUND_DENOMINATOR 2
#define BOUND_SEGMENTS    2 /* ... and two segments */

/* What is known of a segment that was planned and not copied, until the next start. */
struct memo {
    uint32_t segment, older; /* `older`: then; another one now: expunges may be free */
    uint64_t references;     /* then */
    uint64_t needed;         /* octets, then */
    bool left;               /* damaged: never again */
};

/* A closed or open segment, as of one look. */
struct candidate {
    uint32_t segment, older; /* `older`: the unretired one before it, 0: none */
    uint64_t size, references;
    uint64_t needed; /* octets, by estimate */
    bool closed; /* the index covers it, what it retires is gone, a later one is being written */
};

struct compact {
    struct volume *volume;
    pthread_t thread;
    struct post_box box;
    struct post_message stop, ask;
    bool stopping;  /* the thread's */
    bool hurry;     /* the thread's: no rate */
    int64_t due_us; /* the thread's: when the octets so far are paid for */
    struct compact_look look;
    struct reclaim reclaim;
    struct memo *memos;
    size_t memo_count, memo_capacity;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t answer;
    uint64_t asked, answered;
    bool ask_posted, ask_all, ended;
    unsigned holds;
    bool busy; /* with a segment, or with unlinking */
    enum status last_status;
    struct compact_numbers numbers;
};

static int64_t now_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail with these clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- logging: this is a boundary file --- */

static void log_segment(enum log_level level, const char *event, const struct compact *compact,
                        uint32_t segment, const char *text)
{
    struct log_line line;
    log_begin(&line, level, event);
    log_text(&line, "volume", compact->volume->path);
    log_number(&line, "segment", segment);
    log_text(&line, "text", text);
    log_end(&line);
}

static void log_compacted(const struct compact *compact, const struct compact_plan *plan,
                          const struct compact_copied *copied)
{
    struct log_line line;
    log_begin(&line, LOG_LEVEL_INFO, "compacted");
    log_text(&line, "volume", compact->volume->path);
    log_number(&line, "segment", plan->segment);
    log_number(&line, "octets", (int64_t)plan->size);
    log_number(&line, "copied_octets", (int64_t)copied->octets);
    log_number(&line, "copied_records", (int64_t)copied->records);
    log_end(&line);
}

static void log_stopped(const struct compact *compact, enum status status, struct error *error)
{
    struct log_line line;
    error->status = status;
    log_begin(&line, LOG_LEVEL_ERROR, "compaction_stopped");
    log_text(&line, "volume", compact->volume->path);
    log_text(&line, "text", "no space comes back until a restart");
    log_error(&line, error);
    log_end(&line);
}

/* --- memos --- */

static struct memo *find_memo(const struct compact *compact, uint32_t segment)
{
    for (size_t i = 0; i < compact->memo_count; i++) {
        if (compact->memos[i].segment == segment) {
            return &compact->memos[i];
        }
    }
    return NULL;
}

static void remember(struct compact *compact, const struct memo *memo)
{
    struct memo *old = find_memo(compact, memo->segment);
    if (old != NULL) {
        *old = *memo;
        return;
    }
    if (compact->memo_count == compact->memo_capacity) {
        size_t capacity = compact->memo_capacity * 2 + 16;
        struct memo *larger = realloc(compact->memos, capacity * sizeof *larger);
        if (larger == NULL) {
            return; /* planned again the next time */
        }
        compact->memos = larger;
        compact->memo_capacity = capacity;
    }
    compact->memos[compact->memo_count++] = *memo;
}

static void leave(struct compact *compact, uint32_t segment, const char *text)
{
    log_segment(LOG_LEVEL_ERROR, "segment_left", compact, segment, text);
    remember(compact, &(struct memo){.segment = segment, .left = true});
    (void)pthread_mutex_lock(&compact->mutex);
    compact->numbers.left++;
    (void)pthread_mutex_unlock(&compact->mutex);
}

/* --- waiting --- */

/* Runs what arrives until `until_us`; false: told to stop. */
static bool idle_until(struct compact *compact, int64_t until_us)
{
    int64_t left_us = until_us - now_us(CLOCK_MONOTONIC);
    while (!compact->stopping && left_us > 0) {
        (void)post_wait(&compact->box, left_us / 1000 + 1);
        (void)post_run(&compact->box);
        left_us = until_us - now_us(CLOCK_MONOTONIC);
    }
    return !compact->stopping;
}

static bool on_pace(void *owner, uint64_t octets)
{
    struct compact *compact = owner;
    int64_t now = now_us(CLOCK_MONOTONIC);
    uint64_t rate = compact->volume->config.compact_rate;
    (void)post_run(&compact->box);
    bool low = atomic_load_explicit(&compact->volume->space_low, memory_order_relaxed);
    if (compact->hurry || low) {
        compact->due_us = now;
        return !compact->stopping;
    }
    if (compact->due_us < now) {
        compact->due_us = now; /* what was not used is not saved up */
    }
    compact->due_us += (int64_t)(octets * 1000000 / rate);
    /* A wait is a few milliseconds at least; shorter ones are added up. */
    return compact->due_us - now < 2000 ? !compact->stopping : idle_until(compact, compact->due_us);
}

static struct compact_pacer pacer_of(struct compact *compact)
{
    return (struct compact_pacer){.pace = on_pace, .owner = compact};
}

/* --- what there is --- */

static uint64_t file_size(const struct compact *compact, uint32_t segment)
{
    char path[SEGMENT_PATH_MAX];
    struct stat found;
    segment_path(compact->volume->segments_path, segment, path);
    return stat(path, &found) == 0 ? (uint64_t)found.st_size : 0;
}

static uint64_t estimate(const struct compact *compact, const struct candidate *candidate,
                         const struct index_file *file)
{
    const struct memo *memo = find_memo(compact, candidate->segment);
    uint64_t needed = file->octets + RECORD_ROOM * file->references;
    if (memo != NULL && !memo->left && memo->older == candidate->older) {
        needed = memo->references == 0
                     ? memo->needed
                     : (uint64_t)((double)memo->needed * (double)file->references /
                                  (double)memo->references);
    }
    return needed < candidate->size ? needed : candidate->size;
}

static enum status fill_candidates(struct compact *compact, struct candidate *candidates,
                                   const uint32_t *ids, uint32_t count)
{
    struct index_reader *reader = compact->look.reader;
    struct index_state state;
    enum status status = index_begin(reader, &state);
    if (status != STATUS_OK) {
        return status;
    }
    /* Not the position of this snapshot: a checkpoint since then may have told for the first time
     * of a segment that is retired, whose file must be gone before the record that says so. */
    uint32_t reached = compact->reclaim.reached;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        struct index_file file = {0};
        struct candidate *candidate = &candidates[i];
        status = index_segment(reader, ids[i], &file);
        status = status == STATUS_NOT_FOUND ? STATUS_OK : status;
        *candidate = (struct candidate){.segment = ids[i],
                                        .older = i > 0 ? ids[i - 1] : 0,
                                        .references = file.references,
                                        .closed = ids[i] < reached};
        candidate->size = file_size(compact, ids[i]);
        candidate->needed = estimate(compact, candidate, &file);
    }
    index_end(reader);
    return status;
}

/* All unretired segments; `*out_candidates` for free(). Sets the figures, and whether to hurry. */
static enum status survey(struct compact *compact, struct candidate **out_candidates,
                          uint32_t *out_count)
{
    uint32_t *ids = NULL, count = 0;
    uint64_t written = counter_read(&writer_counters(compact->volume->writer)->octets);
    enum status status = writer_unretired(compact->volume->writer, &ids, &count);
    if (status != STATUS_OK) {
        return status;
    }
    struct candidate *candidates = calloc((size_t)count + 1, sizeof *candidates);
    status =
        candidates != NULL ? fill_candidates(compact, candidates, ids, count) : STATUS_NO_MEMORY;
    free(ids);
    if (status != STATUS_OK) {
        free(candidates);
        return status;
    }
    uint64_t size = 0, needed = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += candidates[i].size;
        needed += candidates[i].needed;
    }
    (void)pthread_mutex_lock(&compact->mutex);
    compact->numbers.log_octets = size;
    compact->numbers.written_octets = written;
    compact->numbers.needed_octets = needed;
    bool asked = compact->answered < compact->asked;
    (void)pthread_mutex_unlock(&compact->mutex);
    uint64_t bound = needed / BOUND_DENOMINATOR * BOUND_NUMERATOR +
                     BOUND_SEGMENTS * compact->volume->config.segment_size;
    compact->hurry = asked || size > bound;
    *out_candidates = candidates;
    *out_count = count;
    return STATUS_OK;
}

/* --- one segment --- */

/* Whether it may be copied now, by what is free on the disk. */
static bool has_room(const struct compact *compact, const struct compact_plan *plan)
{
    const struct volume *volume = compact->volume;
    uint64_t free_octets, needed = compact_plan_needed(plan);
    uint64_t reserve = volume->config.space_reserve;
    if (disk_free_octets(volume->disk, volume->path, &free_octets, NULL) != STATUS_OK) {
        return true; /* the write itself will tell */
    }
    if (needed == 0 || free_octets >= needed + reserve) {
        return true;
    }
    return needed <= plan->size - plan->size / GAIN_SHARE &&
           free_octets >= needed + reserve / RESERVE_LEFT;
}

static void count_copied(struct compact *compact, const struct compact_copied *copied)
{
    (void)pthread_mutex_lock(&compact->mutex);
    compact->numbers.copied_octets += copied->octets;
    compact->numbers.copied_records += copied->records;
    (void)pthread_mutex_unlock(&compact->mutex);
}

/* The last look before there is no way back: after a checkpoint nothing may refer to it. */
static enum status check_unused(struct compact *compact, uint32_t segment, bool *out_unused)
{
    struct index_state state;
    struct index_file file = {0};
    enum status status = checkpoint_now(compact->volume->checkpoint);
    if (status == STATUS_OK) {
        status = index_begin(compact->look.reader, &state);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = index_segment(compact->look.reader, segment, &file);
    index_end(compact->look.reader);
    *out_unused = file.references == 0;
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool is_unreadable(enum status status)
{
    return status == STATUS_CORRUPT || status == STATUS_IO || status == STATUS_UNSUPPORTED ||
           status == STATUS_INVALID;
}

static void publish_reclaimed(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    struct compact_numbers *numbers = &compact->numbers;
    const struct reclaim *reclaim = &compact->reclaim;
    if (reclaim->segments + reclaim->blobs != numbers->segments + numbers->blobs) {
        numbers->last_ms = now_us(CLOCK_REALTIME) / 1000;
    }
    numbers->segments = reclaim->segments;
    numbers->blobs = reclaim->blobs;
    numbers->reclaimed_octets = reclaim->octets;
    numbers->waiting_blobs = reclaim->waiting_count;
    (void)pthread_mutex_unlock(&compact->mutex);
}

static enum status reclaim_all(struct compact *compact, struct error *error)
{
    enum status status = reclaim_run(&compact->reclaim, error);
    publish_reclaimed(compact);
    return status;
}

/* Copies, retires and unlinks. */
static enum status carry_out(struct compact *compact, const struct compact_plan *plan,
                             struct error *error)
{
    struct compact_pacer pacer = pacer_of(compact);
    struct compact_copied copied = {0};
    bool unused = false;
    enum status status = compact_copy(&compact->look, plan, &compact->box, &pacer, &copied, error);
    count_copied(compact, &copied);
    if (is_unreadable(status)) {
        leave(compact, plan->segment,
              copied.damaged_offset != 0
                  ? "a message in it is damaged: run 'restante check'; the segment stays"
                  : "it cannot be read: run 'restante check'; the segment stays");
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = check_unused(compact, plan->segment, &unused);
    }
    if (status == STATUS_OK && !unused) {
        leave(compact, plan->segment,
              "everything has been copied, yet the index still refers to it: run "
              "'restante rebuild'; the segment stays");
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = compact_retire(compact->volume, plan->segment, &compact->box);
    }
    if (status == STATUS_OK) {
        log_compacted(compact, plan, &copied);
        status = checkpoint_now(compact->volume->checkpoint); /* the first of two */
    }
    return status == STATUS_OK ? reclaim_all(compact, error) : status;
}

/* What is needed of a segment, for the next look. Expunges that older segments will free do not
 * count: the look that finds it too full must find it again, for their sake. */
static void remember_plan(struct compact *compact, const struct candidate *candidate,
                          const struct compact_plan *plan, bool with_expunges)
{
    uint64_t needed = compact_plan_needed(plan) - (with_expunges ? 0 : plan->expunge_octets);
    remember(compact, &(struct memo){.segment = candidate->segment,
                                     .older = candidate->older,
                                     .references = candidate->references,
                                     .needed = needed});
}

static enum status plan_segment(struct compact *compact, const struct candidate *candidate,
                                struct compact_plan *out_plan, struct error *error)
{
    struct compact_pacer pacer = pacer_of(compact);
    enum status status = compact_plan_make(&compact->look, candidate->segment, candidate->older,
                                           &pacer, out_plan, error);
    if (is_unreadable(status) || status == STATUS_NOT_FOUND) {
        leave(compact, candidate->segment,
              "part of it is damaged: run 'restante check'; the segment stays");
        return STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        remember_plan(compact, candidate, out_plan, false);
    }
    return status;
}

/* --- choosing --- */

static bool is_sparse(const struct compact *compact, uint64_t needed, uint64_t size)
{
    uint64_t live = compact->volume->config.compact_live;
    live = live < STORAGE_COMPACT_LIVE_MAX ? live : STORAGE_COMPACT_LIVE_MAX;
    return needed <= size * live / 100;
}

static bool is_left(const struct compact *compact, uint32_t segment)
{
    const struct memo *memo = find_memo(compact, segment);
    return memo != NULL && memo->left;
}

/* The emptiest that is worth it; NULL: none. With `until`, the oldest up to that one, however full.
 */
static struct candidate *choose(const struct compact *compact, struct candidate *candidates,
                                uint32_t count, uint32_t until)
{
    struct candidate *best = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct candidate *candidate = &candidates[i];
        if (!candidate->closed || is_left(compact, candidate->segment)) {
            continue;
        }
        if (until != 0) {
            if (candidate->segment <= until) {
                return candidate;
            }
            continue;
        }
        if (is_sparse(compact, candidate->needed, candidate->size) &&
            (best == NULL || (double)candidate->needed / (double)(candidate->size + 1) <
                                 (double)best->needed / (double)(best->size + 1))) {
            best = candidate;
        }
    }
    return best;
}

static bool has_many_expunges(const struct compact_plan *plan)
{
    return plan->expunge_octets > plan->size / EXPUNGE_SHARE;
}

/* Whom this one's plan says to take first: NULL, or one whose going makes it cheaper. */
static struct candidate *ahead_of(const struct compact *compact, const struct compact_plan *plan,
                                  struct candidate *candidates, uint32_t count)
{
    uint32_t wanted = plan->waits_for;
    bool oldest = has_many_expunges(plan);
    for (uint32_t i = 0; i < count && candidates[i].segment < plan->segment; i++) {
        struct candidate *candidate = &candidates[i];
        bool is_wanted = wanted != 0 ? candidate->segment == wanted : oldest;
        if (is_wanted && candidate->closed && !is_left(compact, candidate->segment)) {
            return candidate;
        }
    }
    return NULL;
}

/* Plans a segment, or whoever must go before it. */
static enum status plan_in_order(struct compact *compact, struct candidate *candidates,
                                 uint32_t count, const struct candidate **chosen,
                                 struct compact_plan *plan, struct error *error)
{
    enum status status = plan_segment(compact, *chosen, plan, error);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        const struct candidate *first = ahead_of(compact, plan, candidates, count);
        if (first == NULL) {
            break;
        }
        *chosen = first;
        status = plan_segment(compact, first, plan, error);
    }
    return status;
}

/* Carries a plan out: as asked for, for another one's sake, or because it is worth it. */
static enum status decide(struct compact *compact, const struct candidate *candidate,
                          const struct compact_plan *plan, bool forced, struct error *error)
{
    if (!forced && !is_sparse(compact, compact_plan_needed(plan), plan->size)) {
        remember_plan(compact, candidate, plan, true); /* fuller than it looked */
        return STATUS_OK;
    }
    if (plan->waits_for != 0) {
        leave(compact, plan->segment, "it says where a damaged segment ends; it stays with that");
        return STATUS_OK;
    }
    return has_room(compact, plan) ? carry_out(compact, plan, error) : STATUS_NO_SPACE;
}

/* Takes one segment through all its steps. STATUS_NOT_FOUND: none is worth it. */
static enum status compact_one(struct compact *compact, uint32_t until, struct error *error)
{
    struct candidate *candidates = NULL;
    struct compact_plan plan;
    uint32_t count = 0;
    enum status status = survey(compact, &candidates, &count);
    if (status != STATUS_OK) {
        return status;
    }
    const struct candidate *first = choose(compact, candidates, count, until), *chosen = first;
    status = chosen != NULL ? plan_in_order(compact, candidates, count, &chosen, &plan, error)
                            : STATUS_NOT_FOUND;
    if (status == STATUS_OK) {
        status = decide(compact, chosen, &plan, until != 0 || chosen != first, error);
    } else if (is_unreadable(status)) {
        status = STATUS_OK; /* left, and remembered: on with the next */
    }
    free(candidates);
    return status;
}

/* --- a look --- */

/* For the figures alone. */
static enum status count_up(struct compact *compact)
{
    struct candidate *candidates = NULL;
    uint32_t count = 0;
    enum status status = survey(compact, &candidates, &count);
    free(candidates);
    return status;
}

/* Around all that changes which segments there are. */
static void begin_work(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    while (compact->holds > 0) {
        (void)pthread_cond_wait(&compact->answer, &compact->mutex);
    }
    compact->busy = true;
    (void)pthread_mutex_unlock(&compact->mutex);
}

static void end_work(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    compact->busy = false;
    (void)pthread_mutex_unlock(&compact->mutex);
}

static enum status look_once(struct compact *compact, bool all, struct error *error)
{
    uint32_t until = 0;
    enum status status = STATUS_OK;
    if (all) {
        /* Those that are closed now; what is copied makes new ones. */
        status = checkpoint_now(compact->volume->checkpoint);
        until = writer_position(compact->volume->writer).segment;
        until = until > 0 ? until - 1 : 0;
    }
    if (status == STATUS_OK) {
        begin_work(compact);
        status = reclaim_all(compact, error);
        end_work(compact);
    }
    if (all && until == 0) {
        return status;
    }
    while (status == STATUS_OK && !compact->stopping) {
        begin_work(compact);
        status = compact_one(compact, until, error);
        end_work(compact);
    }
    if (status == STATUS_NOT_FOUND) {
        status = count_up(compact);
    }
    return status;
}

/* What the next look may cure by itself. */
static bool passes(enum status status)
{
    return status == STATUS_OK || status == STATUS_NO_SPACE || status == STATUS_AGAIN ||
           status == STATUS_CANCELLED || status == STATUS_NO_MEMORY || status == STATUS_LIMIT;
}

/* --- the thread --- */

static void on_stop(struct post_message *message)
{
    ((struct compact *)(void *)((char *)message - offsetof(struct compact, stop)))->stopping = true;
}

static void on_ask(struct post_message *message)
{
    struct compact *compact =
        (struct compact *)(void *)((char *)message - offsetof(struct compact, ask));
    (void)pthread_mutex_lock(&compact->mutex);
    compact->ask_posted = false;
    (void)pthread_mutex_unlock(&compact->mutex);
}

static void answer(struct compact *compact, uint64_t round, enum status status, bool ended)
{
    (void)pthread_mutex_lock(&compact->mutex);
    compact->answered = round;
    compact->last_status = status;
    compact->ended = ended;
    compact->numbers.looks++;
    compact->numbers.stopped = compact->numbers.stopped || !passes(status);
    (void)pthread_cond_broadcast(&compact->answer);
    (void)pthread_mutex_unlock(&compact->mutex);
}

static uint64_t asked_round(struct compact *compact, bool *out_all)
{
    (void)pthread_mutex_lock(&compact->mutex);
    uint64_t round = compact->asked;
    *out_all = compact->ask_all;
    compact->ask_all = false;
    (void)pthread_mutex_unlock(&compact->mutex);
    return round;
}

static bool is_asked(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    bool asked = compact->answered < compact->asked;
    (void)pthread_mutex_unlock(&compact->mutex);
    return asked;
}

/* Until it is time for a look. */
static void await_time(struct compact *compact)
{
    uint32_t every_ms = compact->volume->config.compact_ms;
    int64_t until_us = now_us(CLOCK_MONOTONIC) + (int64_t)every_ms * 1000;
    (void)post_run(&compact->box);
    while (!compact->stopping && !is_asked(compact)) {
        int64_t left_us = until_us - now_us(CLOCK_MONOTONIC);
        if (every_ms != VOLUME_COMPACT_ASKED && left_us <= 0) {
            return;
        }
        (void)post_wait(&compact->box, every_ms == VOLUME_COMPACT_ASKED ? -1 : left_us / 1000 + 1);
        (void)post_run(&compact->box);
    }
}

static void *run(void *owner)
{
    struct compact *compact = owner;
    enum status status = STATUS_OK;
    for (;;) {
        await_time(compact);
        if (compact->stopping || !passes(status)) {
            break;
        }
        struct error error = {0};
        bool all;
        uint64_t round = asked_round(compact, &all);
        bool read_only = atomic_load(&compact->volume->read_only);
        status = read_only ? STATUS_READ_ONLY : look_once(compact, all, &error);
        if (!passes(status) && !atomic_load(&compact->volume->read_only)) {
            log_stopped(compact, status, &error); /* else the volume has said so itself */
        }
        if (passes(status)) {
            answer(compact, round, status, false);
        } else {
            answer(compact, round, status, true);
            break;
        }
    }
    bool all;
    answer(compact, asked_round(compact, &all), STATUS_READ_ONLY, true);
    return NULL;
}

/* --- from outside --- */

static void destroy(struct compact *compact)
{
    (void)post_run(&compact->box); /* who was posted to after the thread had ended */
    index_reader_destroy(&compact->look.reader);
    compact_look_deinit(&compact->look);
    reclaim_deinit(&compact->reclaim);
    free(compact->memos);
    post_box_deinit(&compact->box);
    (void)pthread_cond_destroy(&compact->answer); /* nobody waits */
    (void)pthread_mutex_destroy(&compact->mutex);
    free(compact);
}

enum status compact_start(struct volume *volume, struct compact **out_compact,
                          struct error *out_error)
{
    struct compact *compact = calloc(1, sizeof *compact);
    if (compact == NULL) {
        return error_set(out_error, STATUS_NO_MEMORY, 0, volume->path, "starting compaction");
    }
    enum status status = post_box_init_thread(&compact->box);
    if (status != STATUS_OK) {
        free(compact);
        return error_set(out_error, status, 0, volume->path, "starting compaction");
    }
    compact->volume = volume;
    compact->stop.on_receive = on_stop;
    compact->ask.on_receive = on_ask;
    (void)pthread_mutex_init(&compact->mutex, NULL); /* cannot fail with defaults */
    (void)pthread_cond_init(&compact->answer, NULL);
    status = index_reader_create(volume->index, &compact->look.reader);
    compact->look.volume = volume;
    compact->reclaim =
        (struct reclaim){.volume = volume, .reader = compact->look.reader, .box = &compact->box};
    if (status == STATUS_OK) {
        status = count_up(compact);
    }
    if (status == STATUS_OK && pthread_create(&compact->thread, NULL, run, compact) != 0) {
        status = STATUS_LIMIT;
    }
    if (status != STATUS_OK) {
        destroy(compact);
        return error_set(out_error, status, 0, volume->path, "starting compaction");
    }
    *out_compact = compact;
    return STATUS_OK;
}

void compact_stop(struct compact **compact)
{
    if (*compact == NULL) {
        return;
    }
    post_send(&(*compact)->box, &(*compact)->stop);
    (void)pthread_join((*compact)->thread, NULL); /* our own thread, joined once */
    destroy(*compact);
    *compact = NULL;
}

enum status compact_now(struct compact *compact, bool all)
{
    (void)pthread_mutex_lock(&compact->mutex);
    uint64_t round = ++compact->asked;
    bool post = !compact->ask_posted && !compact->ended;
    compact->ask_all = compact->ask_all || all;
    compact->ask_posted = compact->ask_posted || post;
    if (post) {
        post_send(&compact->box, &compact->ask);
    }
    while (compact->answered < round && !compact->ended) {
        (void)pthread_cond_wait(&compact->answer, &compact->mutex);
    }
    enum status status = compact->ended ? STATUS_READ_ONLY : compact->last_status;
    (void)pthread_mutex_unlock(&compact->mutex);
    return status;
}

void compact_hold(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    compact->holds++;
    (void)pthread_mutex_unlock(&compact->mutex);
}

bool compact_is_still(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    bool still = compact->holds > 0 && !compact->busy;
    (void)pthread_mutex_unlock(&compact->mutex);
    return still;
}

void compact_let_go(struct compact *compact)
{
    (void)pthread_mutex_lock(&compact->mutex);
    assert(compact->holds > 0);
    compact->holds--;
    (void)pthread_cond_broadcast(&compact->answer);
    (void)pthread_mutex_unlock(&compact->mutex);
}

void compact_numbers(struct compact *compact, struct compact_numbers *out_numbers)
{
    (void)pthread_mutex_lock(&compact->mutex);
    *out_numbers = compact->numbers;
    (void)pthread_mutex_unlock(&compact->mutex);
}
