/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/check_private.h"

#include "storage/delta.h"
#include "storage/salvage.h"
#include "storage/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TELL_US 200000 /* microseconds between two reports of progress */

static int64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool tell(struct check *check)
{
    const struct check_options *options = check->options;
    int64_t now = now_us();
    if (options->on_progress == NULL || now - check->told_us < TELL_US) {
        return true;
    }
    check->told_us = now;
    return options->on_progress(options->owner, &check->progress);
}

enum status check_pace(struct check *check, uint64_t octets)
{
    uint64_t rate = check->options->rate;
    check->paced += octets;
    check->result.octets += octets;
    check->progress.octets_done += octets;
    for (;;) {
        if (!tell(check)) {
            return error_set(check->out_error, STATUS_CANCELLED, 0, NULL, "the check was ended");
        }
        int64_t due =
            rate == 0 ? 0
                      : check->started_us + (int64_t)((double)check->paced * 1e6 / (double)rate);
        int64_t wait = due - now_us();
        if (wait <= 1000) {
            return STATUS_OK;
        }
        wait = wait < TELL_US ? wait : TELL_US;
        struct timespec pause = {.tv_nsec = wait * 1000};
        (void)nanosleep(&pause, NULL); /* shorter is harmless */
    }
}

void check_report(struct check *check, const struct damage *damage)
{
    check->result.damages++;
    if (check->options->on_damage != NULL) {
        check->options->on_damage(check->options->owner, damage);
    }
}

/* --- the index of our own --- */

static void scratch_path(const struct check *check, char out_path[VOLUME_PATH_MAX + 16])
{
    const char *directory =
        check->options->scratch != NULL ? check->options->scratch : check->shadow.path;
    (void)stpcpy(stpcpy(out_path, directory), "/index.check"); /* fits, see begin() */
}

static enum status remove_scratch(const struct check *check, struct error *out_error)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "data.mdb.new"};
    char directory[VOLUME_PATH_MAX + 16], path[VOLUME_PATH_MAX + 32];
    scratch_path(check, directory);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)stpcpy(stpcpy(stpcpy(path, directory), "/"), names[i]); /* fits */
        enum status status = disk_unlink(check->shadow.disk, path, out_error);
        if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
            return status;
        }
    }
    (void)rmdir(directory); /* empty or not there */
    return STATUS_OK;
}

static enum status make_scratch(struct check *check)
{
    char directory[VOLUME_PATH_MAX + 16];
    scratch_path(check, directory);
    enum status status = remove_scratch(check, check->out_error);
    if (status == STATUS_OK) {
        status = disk_mkdir(check->shadow.disk, directory, 0700, check->out_error);
    }
    struct index_config config = {.path = directory,
                                  .map_size = check->shadow.config.map_size,
                                  .volume_id = check->shadow.identity.id,
                                  .scratch = true};
    return status == STATUS_OK ? index_open(&config, &check->shadow.index, check->out_error)
                               : status;
}

/* --- beginning and ending --- */

static enum status begin(struct check *check)
{
    const char *scratch = check->options->scratch;
    if (scratch != NULL && strlen(scratch) + 16 > VOLUME_PATH_MAX) {
        return error_set(check->out_error, STATUS_TOO_BIG, 0, scratch, "the path is too long");
    }
    check->shadow.observed = true;
    check->started_us = now_us();
    check->progress.step = "log";
    check->forget = malloc(CHECK_FORGET_BATCH * sizeof *check->forget);
    if (check->forget == NULL) {
        return error_set(check->out_error, STATUS_NO_MEMORY, 0, NULL, "checking the volume");
    }
    enum status status = make_scratch(check);
    if (status == STATUS_NO_SPACE || status == STATUS_READ_ONLY || status == STATUS_DENIED) {
        char path[VOLUME_PATH_MAX + 16];
        scratch_path(check, path);
        (void)error_set(check->out_error, status, check->out_error->errno_value, path,
                        "no place for the check's own index: name a directory with --scratch");
    }
    return status;
}

static void end(struct check *check)
{
    index_close(&check->shadow.index);
    (void)!remove_scratch(check, NULL); /* the next start removes it, too */
    replay_deinit(&check->replay);
    idset_deinit(&check->gone);
    idset_deinit(&check->missing);
    idset_deinit(&check->blobs_seen);
    idset_deinit(&check->blobs_bad);
    free(check->places);
    free(check->forget);
    free(check->unretired);
}

/* The steps; the log's end is set. */
static enum status run(struct check *check)
{
    enum status status = check_log(check);
    if (status == STATUS_OK) {
        status = check_forget_gone(check);
    }
    if (status == STATUS_OK) {
        status = check_blobs(check);
    }
    return status == STATUS_OK ? check_index(check) : status;
}

enum status check_running(struct volume *volume, const struct check_options *options,
                          struct check_result *out_result, struct error *out_error)
{
    struct error local = {0};
    struct check check = {
        .options = options, .out_error = out_error != NULL ? out_error : &local, .live = volume};
    check.shadow.config = volume->config;
    check.shadow.disk = volume->disk;
    check.shadow.identity = volume->identity;
    strcpy(check.shadow.path, volume->path);
    strcpy(check.shadow.segments_path, volume->segments_path);
    strcpy(check.shadow.blobs_path, volume->blobs_path);
    strcpy(check.shadow.index_path, volume->index_path);
    check_set_end(&check);
    enum status status = begin(&check);
    if (status == STATUS_OK) {
        status = run(&check);
    }
    end(&check);
    *out_result = check.result;
    return status;
}

enum status check_closed(const struct volume_config *config, const struct check_options *options,
                         struct check_result *out_result, struct error *out_error)
{
    struct error local = {0};
    struct check check = {.options = options, .out_error = out_error != NULL ? out_error : &local};
    struct volume *volume = NULL;
    enum status status = volume_observe(config, &volume, check.out_error);
    if (status != STATUS_OK) {
        return status;
    }
    check.shadow = *volume;
    struct index_state state;
    bool older;
    salvage_state(volume, &state, &older); /* what is wrong there is told later */
    check.replay.known = state.position;
    if (!older) {
        check.state = state;
        check.replay.until_sequence = state.position.sequence;
    }
    status = begin(&check);
    if (status == STATUS_OK) {
        status = run(&check);
    }
    end(&check);
    volume_release(&volume);
    *out_result = check.result;
    return status;
}
